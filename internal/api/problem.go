package api

import (
	"net/http"
	"strings"
)

// ProblemPrefix begins the type of every problem.
const ProblemPrefix = "urn:leastwise:problem:"

// A Code is the last part of a problem's type. It is stable: programs may decide by it.
type Code string

// Codes of problems.
const (
	CodeInvalid       Code = "invalid"         // the request is not of the form that the document describes
	CodeTooLarge      Code = "too-large"       // the body is larger than any valid one
	CodeTooSlow       Code = "too-slow"        // the body did not come in time
	CodeMediaType     Code = "media-type"      // the body is not JSON
	CodeUnauthorized  Code = "unauthorized"    // nobody is signed in, or not any more
	CodeStepUp        Code = "step-up"         // the factor has to be shown again for this
	CodeForbidden     Code = "forbidden"       // the caller may not do this, or it could not be found out whether
	CodeCrossOrigin   Code = "cross-origin"    // a browser sent it on behalf of another site
	CodeNotFound      Code = "not-found"       // there is none, or none that the caller may see
	CodeMethod        Code = "method"          // there is such a path, but not this method
	CodeConflict      Code = "conflict"        // not possible in the present state
	CodePolicy        Code = "policy"          // the policy allows this to nobody
	CodeKeyReused     Code = "key-reused"      // the idempotency key belongs to another request
	CodeKeyUnfinished Code = "key-unfinished"  // the first request with the key has not ended, or its end is not known
	CodeTooMany       Code = "too-many"        // slow down: Retry-After says for how long
	CodeDirectory     Code = "directory-away"  // the directory could not be asked
	CodeStore         Code = "store-away"      // the database could not be asked, or cannot take an entry of the log
	CodeUnavailable   Code = "unavailable"     // this server cannot do it as it is configured
	CodeInternal      Code = "internal"        // a fault of the server: its log tells more, under the request's ID
	CodeUnknown       Code = "outcome-unknown" // it may or may not have been done: look before asking again
)

// titles are the problems' titles and status codes.
var titles = map[Code]struct {
	status int
	title  string
}{
	CodeInvalid:       {http.StatusUnprocessableEntity, "The request is not valid"},
	CodeTooLarge:      {http.StatusRequestEntityTooLarge, "The request is too large"},
	CodeTooSlow:       {http.StatusRequestTimeout, "The request did not come in time"},
	CodeMediaType:     {http.StatusUnsupportedMediaType, "The request's body is not JSON"},
	CodeUnauthorized:  {http.StatusUnauthorized, "Nobody is signed in"},
	CodeStepUp:        {http.StatusForbidden, "The second factor is needed again"},
	CodeForbidden:     {http.StatusForbidden, "Not allowed"},
	CodeCrossOrigin:   {http.StatusForbidden, "The request comes from another site"},
	CodeNotFound:      {http.StatusNotFound, "Not found"},
	CodeMethod:        {http.StatusMethodNotAllowed, "The method is not possible here"},
	CodeConflict:      {http.StatusConflict, "Not possible in the present state"},
	CodePolicy:        {http.StatusUnprocessableEntity, "Against the policy"},
	CodeKeyReused:     {http.StatusUnprocessableEntity, "The idempotency key belongs to another request"},
	CodeKeyUnfinished: {http.StatusConflict, "The first request with this idempotency key has not ended"},
	CodeTooMany:       {http.StatusTooManyRequests, "Too many requests"},
	CodeDirectory:     {http.StatusServiceUnavailable, "The directory cannot be reached"},
	CodeStore:         {http.StatusServiceUnavailable, "The database cannot be used"},
	CodeUnavailable:   {http.StatusNotImplemented, "Not available on this server"},
	CodeInternal:      {http.StatusInternalServerError, "The server has a fault"},
	CodeUnknown:       {http.StatusServiceUnavailable, "It is not known whether it was done"},
}

// Codes returns all codes, for the documentation.
func Codes() map[Code]string {
	out := map[Code]string{}
	for c, t := range titles {
		out[c] = t.title
	}
	return out
}

// A Problem is an error as the API tells it (RFC 9457). It repeats nothing of what
// the request held but names of fields.
type Problem struct {
	Type    string         `json:"type" doc:"urn:leastwise:problem: and a stable code"`
	Title   string         `json:"title" doc:"what the code means"`
	Status  int            `json:"status" doc:"the HTTP status"`
	Detail  string         `json:"detail,omitempty" doc:"what happened, for people"`
	Request string         `json:"request,omitempty" doc:"the request's ID, which the server's log and the audit log name"`
	Fields  []FieldProblem `json:"fields,omitempty" doc:"what is wrong with which field"`
	Retry   int            `json:"retry_after,omitempty" doc:"seconds after which to try again"`
}

// A FieldProblem says what is wrong with one field of a request.
type FieldProblem struct {
	Field string `json:"field" doc:"such as body.reason, path.id or query.limit"`
	Text  string `json:"text"`
}

// NewProblem returns a problem with a code.
func NewProblem(code Code, detail string) *Problem {
	t, ok := titles[code]
	if !ok {
		code, t = CodeInternal, titles[CodeInternal]
	}
	return &Problem{Type: ProblemPrefix + string(code), Title: t.title, Status: t.status, Detail: detail}
}

// Code returns the code of a problem, CodeInternal if it has none of ours.
func (p *Problem) Code() Code {
	c, ok := strings.CutPrefix(p.Type, ProblemPrefix)
	if !ok {
		return CodeInternal
	}
	return Code(c)
}

// Error returns title and detail.
func (p *Problem) Error() string {
	text := p.Title
	if p.Detail != "" {
		text += ": " + p.Detail
	}
	for _, f := range p.Fields {
		text += "; " + f.Field + ": " + f.Text
	}
	return text
}

// GetStatus returns the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is that of problems.
func (p *Problem) ContentType(string) string { return "application/problem+json" }
