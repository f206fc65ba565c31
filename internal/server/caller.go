package server

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/leastwise/leastwise/internal/api"
	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/operator"
)

// maxSecret bounds what is taken for a session's or token's secret, in bytes.
const maxSecret = 256

// cookieName is the name of the session's cookie.
func cookieName(tls bool) string {
	if tls {
		return api.CookieName
	}
	return api.PlainCookieName
}

// A caller is who makes a request, and the secret by which he was known.
type caller struct {
	operator.Caller
	secret operator.Secret
	cookie bool // it came as a cookie
}

// callerOf returns the caller of a request, nil if it has none.
func callerOf(ctx context.Context) *caller {
	c, _ := ctx.Value(keyCaller).(*caller)
	return c
}

// grantCaller is the caller in the words of package grant.
func (c *caller) grantCaller() grant.Caller {
	method := string(c.Method)
	return grant.Caller{
		Actor: grant.Actor{Party: grant.Party{Account: c.Account, SID: c.SID, Name: c.Name}, Method: method, Request: c.Request},
		Token: c.Token,
	}
}

// visit is a request in the words of package operator.
func (s *Server) visit(ctx context.Context) operator.Visit {
	i := info(ctx)
	return operator.Visit{From: i.from, Request: i.id, Now: s.cfg.Now(), Old: i.old}
}

// secretOf returns what a request shows to be known by. A header counts before the
// cookie; two of either are none.
func secretOf(r *http.Request) (secret operator.Secret, cookie, ok bool) {
	if h := r.Header.Values("Authorization"); len(h) > 0 {
		scheme, text, found := strings.Cut(h[0], " ")
		if len(h) > 1 || !found || !strings.EqualFold(scheme, "Bearer") || len(text) > maxSecret {
			return operator.Secret{}, false, false
		}
		return operator.NewSecret(strings.TrimSpace(text)), false, true
	}
	list := r.CookiesNamed(cookieName(r.TLS != nil))
	if len(list) != 1 || list[0].Value == "" || len(list[0].Value) > maxSecret {
		return operator.Secret{}, false, false
	}
	return operator.NewSecret(list[0].Value), true, true
}

// admit is the middleware that lets callers in: it finds out who it is, and asks for
// the permission that the route names.
func (s *Server) admit(rt route) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		if rt.public {
			next(ctx)
			return
		}
		r, w := humago.Unwrap(ctx)
		c, err := s.identify(r)
		if err == nil && rt.may != "" {
			err = s.may(r.Context(), c, rt.may, onServer)
		}
		if err != nil {
			s.refuse(ctx, s.problem(r.Context(), err))
			return
		}
		next(humago.NewContext(ctx.Operation(), r.WithContext(context.WithValue(r.Context(), keyCaller, c)), w))
	}
}

// identify finds out who makes a request.
func (s *Server) identify(r *http.Request) (*caller, error) {
	secret, cookie, ok := secretOf(r)
	if !ok {
		return nil, api.NewProblem(api.CodeUnauthorized, "sign in first, or send an API token")
	}
	c, err := s.cfg.Operators.Identify(r.Context(), s.visit(r.Context()), secret)
	if err != nil {
		return nil, err
	}
	info(r.Context()).caller = c.Name
	return &caller{Caller: c, secret: secret, cookie: cookie}, nil
}

// may asks whether the caller may do something.
func (s *Server) may(ctx context.Context, c *caller, a operator.Action, on operator.Resource) error {
	_, err := s.cfg.Operators.Authorize(ctx, c.Caller, a, on)
	return err
}

// classifyOperator tells what an error of package operator means to a client.
func classifyOperator(err error) (*api.Problem, bool) {
	var retry *operator.RetryError
	switch {
	case errors.As(err, &retry):
		p := api.NewProblem(api.CodeTooMany, operator.ErrRetry.Error())
		p.Retry = max(1, int(retry.After.Seconds()+0.999))
		return p, true
	case errors.Is(err, operator.ErrRetry):
		return api.NewProblem(api.CodeTooMany, operator.ErrRetry.Error()), true
	case errors.Is(err, operator.ErrSignIn):
		return api.NewProblem(api.CodeUnauthorized, operator.ErrSignIn.Error()), true
	case errors.Is(err, operator.ErrSignedOut):
		return api.NewProblem(api.CodeUnauthorized, operator.ErrSignedOut.Error()), true
	case errors.Is(err, operator.ErrStepUp):
		return api.NewProblem(api.CodeStepUp, operator.ErrStepUp.Error()), true
	case errors.Is(err, operator.ErrFactor):
		return api.NewProblem(api.CodeForbidden, operator.ErrFactor.Error()), true
	case errors.Is(err, operator.ErrNoFactor):
		return api.NewProblem(api.CodeConflict, operator.ErrNoFactor.Error()), true
	case errors.Is(err, operator.ErrForbidden):
		return api.NewProblem(api.CodeForbidden, operator.ErrForbidden.Error()), true
	case errors.Is(err, operator.ErrInvalid):
		return api.NewProblem(api.CodeInvalid, err.Error()), true
	case errors.Is(err, operator.ErrNotFound):
		return api.NewProblem(api.CodeNotFound, "there is none"), true
	case errors.Is(err, operator.ErrInitialized), errors.Is(err, operator.ErrConflict):
		return api.NewProblem(api.CodeConflict, "it was changed at the same time"), true
	case errors.Is(err, operator.ErrUnavailable):
		return api.NewProblem(api.CodeDirectory, operator.ErrUnavailable.Error()), true
	}
	return nil, false
}
