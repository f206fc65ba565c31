package adminservice

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/dc"
)

// A Kind says what sort of failure an [Error] is. Kinds are errors, so that
// errors.Is(err, adminservice.ErrForbidden) works.
type Kind uint8

// The kinds of failure.
const (
	ErrTransport    Kind = iota + 1 // no answer: name, connection, certificate or ticket; the cause says which
	ErrUnauthorized                 // 401
	ErrForbidden                    // 403
	ErrNoService                    // 404 for the probe: no administration service here
	ErrNoClass                      // 404: the site does not have the class
	ErrWMIDenied                    // 404 or 500 that says that WMI refused
	ErrSelect                       // 400 or 500 for a request that selects columns, which lazy ones refuse
	ErrServer                       // another refusal
	ErrBusy                         // 429 or 503, again and again
	ErrRedirect                     // 3xx
	ErrNotJSON                      // a page for people, or something else that is no JSON
	ErrMalformed                    // JSON that is not what it should be
	ErrTruncated                    // the answer ended in the middle
	ErrPaging                       // pages do not make a whole
	ErrLimit                        // an answer or a class is larger than is read
	ErrTimeout                      // the time for the class passed
	ErrRow                          // a row that lacks what it must have
	ErrPartial                      // rows came that do not tell everything
	ErrRefused                      // leastwise refuses to ask for this
)

var kindText = [...]string{
	ErrTransport:    "no answer",
	ErrUnauthorized: "the service does not accept the account (401)",
	ErrForbidden:    "the account may not read this (403)",
	ErrNoService:    "there is no administration service (404)",
	ErrNoClass:      "the site does not have this class (404)",
	ErrWMIDenied:    "the service was refused access to WMI",
	ErrSelect:       "the service could not answer a request for single columns",
	ErrServer:       "the service could not answer",
	ErrBusy:         "the service is too busy",
	ErrRedirect:     "the service wants to send the request elsewhere",
	ErrNotJSON:      "the answer is no JSON",
	ErrMalformed:    "the answer is malformed",
	ErrTruncated:    "the answer was cut short",
	ErrPaging:       "the pages do not make a whole",
	ErrLimit:        "the answer is larger than is read",
	ErrTimeout:      "the time for this class is over",
	ErrRow:          "a row lacks what it must have",
	ErrPartial:      "the rows do not tell everything",
	ErrRefused:      "this is never asked for",
}

// Error returns what the kind means, in a few words.
func (k Kind) Error() string {
	if int(k) < len(kindText) && kindText[k] != "" {
		return kindText[k]
	}
	return fmt.Sprintf("kind of failure %d", uint8(k))
}

// hints are the advice per kind.
var hints = [...]string{
	ErrUnauthorized: "check, in this order: the clock of this machine; that HTTP or HOST with the provider's full name is registered for its computer account (setspn -Q HTTP/NAME); " +
		"that the account is an administrative user of the site or in a group that is; and the site's authentication level of the SMS Provider: if it demands a certificate or Windows Hello, passwords and keytabs are refused. " +
		"NTLM is no way out: release 2509 and later are said to refuse it, and leastwise does not use it. Each refusal leaves status message 11618 in the site",
	ErrForbidden: "give the account a security role with Read on what the class holds; Read-only Analyst has it for most classes, stored accounts may need Full or Operations Administrator",
	ErrNoService: "name the server that has the SMS Provider role (Administration, Site Configuration, Servers and Site System Roles); the service needs release 1810 or later",
	ErrNoClass:   "the release of this site may not have it; the rest was read",
	ErrWMIDenied: "the group SMS Admins on the provider must have Enable Account, Remote Enable, Execute Methods and Provider Write on the WMI namespaces Root\\SMS and below (WMI Control, Security), and the account must be in it; a site reset puts that right",
	ErrSelect:    "look at the time of the request in AdminService.log and SMSProv.log on the provider; every column is not asked for instead, because one of them holds secrets",
	ErrServer:    "look at the time of the request in AdminService.log and SMSProv.log on the provider",
	ErrBusy:      "try again later",
	ErrRedirect:  "name the provider itself and no load balancer or gateway: tickets are not sent elsewhere",
	ErrNotJSON:   "a proxy, a sign-in page or another web site answers at this address: name the provider itself, and its port if it is not 443",
	ErrMalformed: "make sure that nothing between here and the provider changes answers; then report this with the release of the site",
	ErrTruncated: "try again; if it stays so, look at SMSProv.log on the provider at the time of the request",
	ErrPaging:    "try again while nobody changes the site",
	ErrLimit:     "a site of this size was not foreseen: report it",
	ErrTimeout:   "raise the time with --class-timeout; SMS_SCI_Reserved is slow on many sites",
	ErrRow:       "report this with the release of the site",
	ErrPartial:   "read the rest with the cmdlets of the console: leastwise configmgr export-script",
}

// An Error is a failure to read a class. It holds nothing that the service sent but
// its status and what of its text is known to be harmless.
type Error struct {
	Kind   Kind
	Host   string
	Class  string // "" if none is meant
	Status int    // of HTTP; 0 if there was no answer
	Detail string
	Advice string // replaces the hint of the kind
	Err    error  // cause, may be nil
}

// Error returns one line without the hint.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "asking %s", e.Host)
	if e.Class != "" {
		fmt.Fprintf(&b, " for %s", e.Class)
	}
	fmt.Fprintf(&b, ": %s", e.reason())
	return b.String()
}

// reason is the error without where it happened.
func (e *Error) reason() string {
	text := e.Kind.Error()
	if e.Kind == ErrTransport && e.Err != nil {
		return e.Err.Error()
	}
	if e.Status != 0 && !strings.Contains(text, "(") {
		text += fmt.Sprintf(" (%d)", e.Status)
	}
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Hint returns what an administrator can do about it.
func (e *Error) Hint() string {
	if e.Advice != "" {
		return e.Advice
	}
	if h := dc.Hint(e.Err); h != "" {
		return h
	}
	if int(e.Kind) < len(hints) {
		return hints[e.Kind]
	}
	return ""
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is the kind of e.
func (e *Error) Is(target error) bool {
	k, ok := target.(Kind)
	return ok && k == e.Kind
}

// Hint returns the hint of the first [Error] in the chain of err, else that of
// package dc.
func Hint(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Hint()
	}
	return dc.Hint(err)
}

// missing says in one line why a class is not complete, with what to do.
func missing(err error) string {
	var e *Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	if h := e.Hint(); h != "" {
		return e.reason() + " (" + h + ")"
	}
	return e.reason()
}

// known lists what of a server's own words is repeated: whole phrases that can hold no
// value of a row. Everything else that it says is dropped.
var known = []string{
	"access denied wmi query", "access denied", "access is denied", "lazy", "quota violation", "invalid class", "invalid query", "generic failure",
	"not found", "timed out", "timeout", "out of memory", "shutting down", "not supported", "not authorized", "unauthorized",
	"no route", "syntax error", "could not find a property",
}

// hresult matches the error codes of COM and WMI.
var hresult = regexp.MustCompile(`(?i)\b0x8[0-9a-f]{7}\b`)

// harmless returns what is known of a server's text, in quotation marks, "" if nothing.
func harmless(body []byte) string {
	low := strings.ToLower(string(body[:min(len(body), 64<<10)]))
	var out []string
	for _, phrase := range known {
		if strings.Contains(low, phrase) && !slices.ContainsFunc(out, func(s string) bool { return strings.Contains(s, phrase) }) {
			out = append(out, phrase)
		}
	}
	for _, code := range hresult.FindAllString(low, 3) {
		if !slices.Contains(out, code) {
			out = append(out, code)
		}
	}
	if len(out) == 0 {
		return ""
	}
	return `it says "` + strings.Join(out, `", "`) + `"`
}
