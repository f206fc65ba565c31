package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"regexp"

	"github.com/danielgtaylor/huma/v2"

	"github.com/leastwise/leastwise/internal/api"
	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/store"
)

// problem is the one place where errors become answers. What an answer says is written
// here, or is a sentence that the package which decided made for the caller
// ([grant.Said], [operator.Said]); no other text of an error leaves the server. That goes
// to its log.
func (s *Server) problem(ctx context.Context, err error) *api.Problem {
	p := tell(err)
	p.Request = requestID(ctx)
	level := slog.LevelWarn
	switch p.Code() {
	case api.CodeInternal:
		level = slog.LevelError
	case api.CodeDirectory, api.CodeStore, api.CodeUnknown:
	default:
		return p
	}
	if ctx.Err() == nil || level == slog.LevelWarn {
		s.cfg.Log.Log(ctx, level, "request failed", "request", p.Request, "code", string(p.Code()), "error", err.Error())
	}
	return p
}

// tell makes a problem of an error.
func tell(err error) *api.Problem {
	var made *api.Problem // by this package
	if errors.As(err, &made) {
		p := *made
		return &p
	}
	var retry *operator.RetryError
	if errors.As(err, &retry) {
		p := api.NewProblem(api.CodeTooMany, operator.ErrRetry.Error())
		p.Retry = max(1, int(retry.After.Seconds()+0.999))
		return p
	}
	for _, k := range kinds() {
		if !errors.Is(err, k.err) {
			continue
		}
		text := k.text
		if k.said != nil {
			if said := k.said(err); said != "" {
				text = said
			}
		}
		p := api.NewProblem(k.code, text)
		if k.code == api.CodeDirectory || k.code == api.CodeStore {
			p.Retry = 5
		}
		return p
	}
	return api.NewProblem(api.CodeInternal, "")
}

// A kind is what an error of the packages below means to a client.
type kind struct {
	err  error
	code api.Code
	text string             // what the client is told
	said func(error) string // a sentence that counts before text, if there is one
}

// kinds lists them. The first one that fits counts: whether something may have been done
// stands before why it failed.
func kinds() []kind {
	const (
		noDirectory = "the directory could not be asked; nothing was changed that the grant does not say"
		noStore     = "the database could not be used"
		changed     = "it was changed at the same time: look again"
		tooLong     = "it took too long, and was given up"
	)
	return []kind{
		{err: store.ErrCommitUnknown, code: api.CodeUnknown, text: "the connection to the database was lost while it was stored"},
		{err: operator.ErrRetry, code: api.CodeTooMany, text: operator.ErrRetry.Error()},
		{err: operator.ErrSignIn, code: api.CodeUnauthorized, text: operator.ErrSignIn.Error()},
		{err: operator.ErrSignedOut, code: api.CodeUnauthorized, text: operator.ErrSignedOut.Error()},
		{err: operator.ErrStepUp, code: api.CodeStepUp, text: operator.ErrStepUp.Error()},
		{err: operator.ErrFactor, code: api.CodeForbidden, text: operator.ErrFactor.Error()},
		{err: operator.ErrNoFactor, code: api.CodeConflict, text: operator.ErrNoFactor.Error()},
		{err: operator.ErrForbidden, code: api.CodeForbidden, text: operator.ErrForbidden.Error()},
		{err: operator.ErrInvalid, code: api.CodeInvalid, text: operator.ErrInvalid.Error(), said: operator.Said},
		{err: operator.ErrUnavailable, code: api.CodeDirectory, text: operator.ErrUnavailable.Error()},
		{err: operator.ErrNotFound, code: api.CodeNotFound, text: "there is none"},
		{err: operator.ErrInitialized, code: api.CodeConflict, text: operator.ErrInitialized.Error()},
		{err: operator.ErrConflict, code: api.CodeConflict, text: changed},

		{err: grant.ErrUnreachable, code: api.CodeDirectory, text: noDirectory},
		{err: grant.ErrLog, code: api.CodeStore, text: "the audit log cannot be written, and without it nothing is decided"},
		{err: grant.ErrForbidden, code: api.CodeForbidden, text: "it is not allowed", said: grant.Said},
		{err: grant.ErrNotFound, code: api.CodeNotFound, text: "there is no such grant or policy"},
		{err: grant.ErrIllegal, code: api.CodeConflict, text: "not in this state", said: grant.Said},
		{err: grant.ErrStale, code: api.CodeConflict, text: changed, said: grant.Said},
		{err: grant.ErrExists, code: api.CodeKeyReused, text: "another request was made with this key"},
		{err: grant.ErrConflict, code: api.CodeConflict, text: changed},
		{err: grant.ErrPolicy, code: api.CodePolicy, text: "the policy does not allow it", said: grant.Said},

		{err: store.ErrTooMany, code: api.CodeTooMany, text: "too many idempotency keys in a day: do without, or wait"},
		{err: store.ErrNotFound, code: api.CodeNotFound, text: "there is none"},
		{err: store.ErrStale, code: api.CodeConflict, text: changed},
		{err: store.ErrBusy, code: api.CodeStore, text: noStore},
		{err: store.ErrFull, code: api.CodeStore, text: noStore},
		{err: store.ErrUnreachable, code: api.CodeStore, text: noStore},
		{err: store.ErrReadOnly, code: api.CodeStore, text: noStore},
		{err: store.ErrCorrupt, code: api.CodeStore, text: noStore},
		{err: context.DeadlineExceeded, code: api.CodeUnknown, text: tooLong},
		{err: context.Canceled, code: api.CodeUnknown, text: tooLong},
	}
}

// plainField is a name of a field that may be repeated to the client.
var plainField = regexp.MustCompile(`^[A-Za-z0-9_.\[\]-]{1,120}$`)

// plainProblem turns what the framework says about a request that it refused into a
// problem of ours. The framework repeats values, even whole bodies; only the
// names of fields and its own sentences are kept.
func plainProblem(ctx context.Context, m *huma.ErrorModel) *api.Problem {
	code := api.CodeInvalid
	switch m.Status {
	case http.StatusRequestEntityTooLarge:
		code = api.CodeTooLarge
	case http.StatusRequestTimeout:
		code = api.CodeTooSlow
	case http.StatusUnsupportedMediaType:
		code = api.CodeMediaType
	case http.StatusInternalServerError:
		code = api.CodeInternal
	}
	p := api.NewProblem(code, "")
	if code != api.CodeInvalid {
		m.Errors = nil
	}
	for _, e := range m.Errors {
		if e == nil || len(p.Fields) == maxFields {
			continue
		}
		f := api.FieldProblem{Field: e.Location, Text: e.Message}
		if !plainField.MatchString(f.Field) {
			f.Field = "body"
		}
		if f.Field == "body" { // syntax errors quote what they met
			f.Text = "not the JSON object that the document describes"
		}
		p.Fields = append(p.Fields, f)
	}
	if code == api.CodeInvalid && len(p.Fields) == 0 {
		p.Detail = "the request could not be read"
	}
	p.Request = requestID(ctx)
	return p
}

// maxFields is how many fields a problem speaks of.
const maxFields = 20

// transform is run on every answer before it is written.
func transform(ctx huma.Context, _ string, v any) (any, error) {
	if m, ok := v.(*huma.ErrorModel); ok {
		return plainProblem(ctx.Context(), m), nil
	}
	return v, nil
}
