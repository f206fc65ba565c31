package server

import (
	"context"
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
}

// callerOf returns the caller of a request, nil if it has none.
func callerOf(ctx context.Context) *caller {
	c, _ := ctx.Value(keyCaller).(*caller)
	return c
}

// grantCaller is the caller in the words of package grant.
func (c *caller) grantCaller() grant.Caller {
	a := c.Actor()
	return grant.Caller{
		Actor: grant.Actor{
			Party: grant.Party{Account: c.Account, SID: c.SID, Name: c.Name, Issuer: c.Issuer}, Method: string(a.Method), Factor: string(a.Factor), Session: a.Session, From: a.From,
			Request: c.Request,
		},
		Token: c.Token,
	}
}

// visit is a request in the words of package operator.
func (s *Server) visit(ctx context.Context) operator.Visit {
	i := info(ctx)
	return operator.Visit{From: i.from, Request: i.id, Now: s.cfg.Now(), Clock: s.cfg.Now, Old: i.old}
}

// secretOf returns what a request shows to be known by. A header counts before the
// cookie; two of either are none.
func secretOf(r *http.Request) (secret operator.Secret, ok bool) {
	if h := r.Header.Values("Authorization"); len(h) > 0 {
		scheme, text, found := strings.Cut(h[0], " ")
		if len(h) > 1 || !found || !strings.EqualFold(scheme, "Bearer") || len(text) > maxSecret {
			return operator.Secret{}, false
		}
		return operator.NewSecret(strings.TrimSpace(text)), true
	}
	return cookieOf(r)
}

func cookieOf(r *http.Request) (secret operator.Secret, ok bool) {
	list := r.CookiesNamed(cookieName(r.TLS != nil))
	if len(list) != 1 || list[0].Value == "" || len(list[0].Value) > maxSecret {
		return operator.Secret{}, false
	}
	return operator.NewSecret(list[0].Value), true
}

// oldSecret is that of the session which a sign-in takes the place of: the cookie's, since
// the answer replaces that, also where the header holds something else, such as a
// Kerberos ticket.
func oldSecret(r *http.Request) operator.Secret {
	if secret, ok := cookieOf(r); ok {
		return secret
	}
	secret, _ := secretOf(r)
	return secret
}

// admit is the middleware that lets callers in: it finds out who it is, waits for a place,
// and asks for the permission that the route names. Nobody's body is read before it is
// known who sends it, but for a sign-in: those have places of their own, so that they keep
// out nobody who is signed in, however long bodies and the directory let them wait.
func (s *Server) admit(rt route) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(ctx)
		gate := s.door
		if rt.public {
			gate = s.signs
		}
		leave, ok := gate.enter(r.Context(), neighbourhood(info(r.Context()).from))
		if !ok {
			s.refuse(ctx, busy())
			return
		}
		if rt.public {
			defer leave()
			next(ctx)
			return
		}
		c, err := s.identifyAndLeave(r, leave)
		if err != nil {
			s.refuse(ctx, s.problem(r.Context(), err))
			return
		}
		if rt.path != pathEvents {
			leave, ok := s.desk.enter(r.Context(), c.Account.String())
			if !ok {
				s.refuse(ctx, busy())
				return
			}
			defer leave()
		}
		if rt.may != "" {
			if err := s.may(r.Context(), c, rt.may, onServer); err != nil {
				s.refuse(ctx, s.problem(r.Context(), err))
				return
			}
		}
		next(humago.NewContext(ctx.Operation(), r.WithContext(context.WithValue(r.Context(), keyCaller, c)), w))
	}
}

// identifyAndLeave is identify for somebody who stands in the door meanwhile.
func (s *Server) identifyAndLeave(r *http.Request, leave func()) (*caller, error) {
	defer leave()
	return s.identify(r)
}

// identify finds out who makes a request.
func (s *Server) identify(r *http.Request) (*caller, error) {
	secret, ok := secretOf(r)
	if !ok {
		return nil, api.NewProblem(api.CodeUnauthorized, "sign in first, or send an API token")
	}
	c, err := s.cfg.Operators.Identify(r.Context(), s.visit(r.Context()), secret)
	if err != nil {
		return nil, err
	}
	info(r.Context()).caller = c.Name
	return &caller{Caller: c, secret: secret}, nil
}

// may asks whether the caller may do something.
func (s *Server) may(ctx context.Context, c *caller, a operator.Action, on operator.Resource) error {
	_, err := s.cfg.Operators.Authorize(ctx, c.Caller, a, on)
	return err
}
