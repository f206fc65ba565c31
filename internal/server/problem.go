package server

import (
	"context"
	"errors"
	"net/http"
	"regexp"

	"github.com/danielgtaylor/huma/v2"

	"github.com/leastwise/leastwise/internal/api"
	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/store"
)

// problem is the one place where errors become answers. What is not known here is an
// internal fault: its text goes to the server's log and nowhere else.
func (s *Server) problem(ctx context.Context, err error) *api.Problem {
	var p *api.Problem
	if errors.As(err, &p) {
		q := *p
		q.Request = requestID(ctx)
		return &q
	}
	if p, ok := classifyOperator(err); ok {
		p.Request = requestID(ctx)
		return p
	}
	code, detail := classify(err)
	if code == api.CodeInternal && ctx.Err() == nil {
		s.cfg.Log.ErrorContext(ctx, "request failed", "request", requestID(ctx), "error", err.Error())
	}
	p = api.NewProblem(code, detail)
	p.Request = requestID(ctx)
	switch code {
	case api.CodeDirectory, api.CodeStore:
		p.Retry = 5
	}
	return p
}

// classify tells what an error of the packages below means to a client. The details
// of package grant are sentences about what was asked, made for the caller.
func classify(err error) (api.Code, string) {
	switch {
	case errors.Is(err, grant.ErrUnreachable):
		return api.CodeDirectory, "the directory could not be asked; nothing was changed that the grant does not say"
	case errors.Is(err, grant.ErrLog):
		return api.CodeStore, "the audit log cannot be written, and without it nothing is decided"
	case errors.Is(err, grant.ErrForbidden):
		return api.CodeForbidden, err.Error()
	case errors.Is(err, grant.ErrNotFound):
		return api.CodeNotFound, "there is no such grant or policy"
	case errors.Is(err, store.ErrNotFound):
		return api.CodeNotFound, "there is none"
	case errors.Is(err, grant.ErrIllegal), errors.Is(err, grant.ErrStale):
		return api.CodeConflict, err.Error()
	case errors.Is(err, grant.ErrExists):
		return api.CodeKeyReused, "another request was made with this key"
	case errors.Is(err, grant.ErrConflict):
		return api.CodeConflict, "it was changed at the same time: look again"
	case errors.Is(err, grant.ErrPolicy):
		return api.CodePolicy, err.Error()
	case errors.Is(err, store.ErrCommitUnknown):
		return api.CodeUnknown, "the connection to the database was lost while it was stored"
	case errors.Is(err, store.ErrBusy), errors.Is(err, store.ErrFull), errors.Is(err, store.ErrUnreachable), errors.Is(err, store.ErrReadOnly), errors.Is(err, store.ErrCorrupt):
		return api.CodeStore, "the database could not be used"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return api.CodeUnknown, "it took too long, and was given up"
	}
	return api.CodeInternal, ""
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
