package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/leastwise/leastwise/internal/api"
	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/operator"
)

const tagSession = "session"

type (
	sessionOut struct {
		Cookie    string `header:"Set-Cookie"`
		Negotiate string `header:"WWW-Authenticate"`
		Body      api.Session
	}
	endedOut struct {
		Cookie string `header:"Set-Cookie"`
	}
	kerberosIn struct {
		Authorization string `header:"Authorization" maxLength:"100000" doc:"Negotiate and a token (RFC 4559)"`
	}
	passwordIn struct{ Body api.PasswordSignIn }
	codeIn     struct{ Body api.CodeAnswer }
	answerIn   struct {
		Body json.RawMessage `doc:"what navigator.credentials answered, as JSON"`
	}
	rawOut struct{ Body json.RawMessage }
)

func (s *Server) registerSessions() {
	begin := func(r route) route {
		r.tag, r.method, r.public, r.status = tagSession, http.MethodPost, true, http.StatusCreated
		r.codes = append(r.codes, api.CodeUnauthorized, api.CodeDirectory, api.CodeStore)
		return r
	}
	add(s, begin(route{
		id: "sign-in-kerberos", path: "/v1/session/kerberos", summary: "Sign in with Kerberos",
		text: "Without a token the answer is 401 and asks for one.",
	}), s.signInKerberos)
	add(s, begin(route{id: "sign-in-password", path: "/v1/session/password", summary: "Sign in with a password of the directory"}), s.signInPassword)
	add(s, begin(route{id: "sign-in-certificate", path: "/v1/session/certificate", summary: "Sign in with the client certificate of the TLS connection"}), s.signInCertificate)
	own := func(r route) route {
		r.tag = tagSession
		return r
	}
	add(s, own(route{id: "show-session", method: http.MethodGet, path: "/v1/session", summary: "Who the caller is, and what he may do"}), s.showSession)
	add(s, own(route{id: "sign-out", method: http.MethodPost, path: "/v1/session/end", summary: "Sign out"}), s.signOut)
	step := func(r route) route {
		r.tag, r.method = tagSession, http.MethodPost
		r.codes = []api.Code{api.CodeConflict}
		return r
	}
	add(s, step(route{
		id: "step-up-totp", path: "/v1/session/step-up/totp", summary: "Show the second factor: a code of an authenticator app",
		text: "The session goes on under a new secret, which the cookie of the answer holds; the old one is dead.",
	}), func(ctx context.Context, c *caller, in *codeIn) (*sessionOut, error) {
		out, err := s.cfg.Operators.StepUpTOTP(ctx, c.Caller, in.Body.Code)
		return s.begun(ctx, "totp", out, err)
	})
	add(s, step(route{
		id: "challenge-webauthn", path: "/v1/session/step-up/webauthn/challenge", summary: "Begin to show the second factor: options for navigator.credentials.get",
	}), func(ctx context.Context, c *caller, _ *struct{}) (*rawOut, error) {
		raw, err := s.cfg.Operators.ChallengeWebAuthn(ctx, c.Caller)
		return &rawOut{raw}, err
	})
	add(s, step(route{
		id: "step-up-webauthn", path: "/v1/session/step-up/webauthn", summary: "Show the second factor: the answer of navigator.credentials.get",
	}), func(ctx context.Context, c *caller, in *answerIn) (*sessionOut, error) {
		out, err := s.cfg.Operators.StepUpWebAuthn(ctx, c.Caller, in.Body)
		return s.begun(ctx, "webauthn", out, err)
	})
}

func (s *Server) signInKerberos(ctx context.Context, _ *caller, in *kerberosIn) (*sessionOut, error) {
	scheme, text, _ := strings.Cut(in.Authorization, " ")
	if !strings.EqualFold(scheme, "Negotiate") || text == "" {
		return nil, api.NewProblem(api.CodeUnauthorized, "send a token of Kerberos")
	}
	token, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return nil, invalidField("header.Authorization", "the token is not base64")
	}
	si, err := s.cfg.Operators.SignInKerberos(ctx, s.visit(ctx), token, endpointOf(ctx))
	return s.begun(ctx, "kerberos", si, err)
}

func (s *Server) signInPassword(ctx context.Context, _ *caller, in *passwordIn) (*sessionOut, error) {
	si, err := s.cfg.Operators.SignInPassword(ctx, s.visit(ctx), in.Body.Name, operator.NewSecret(in.Body.Password))
	return s.begun(ctx, "password", si, err)
}

func (s *Server) signInCertificate(ctx context.Context, _ *caller, _ *struct{}) (*sessionOut, error) {
	t := info(ctx).tls
	if t == nil || len(t.PeerCertificates) == 0 {
		return nil, api.NewProblem(api.CodeUnauthorized, "the connection shows no client certificate")
	}
	si, err := s.cfg.Operators.SignInCertificate(ctx, s.visit(ctx), t.PeerCertificates)
	return s.begun(ctx, "certificate", si, err)
}

// begun answers with a session that has begun, or goes on under a new secret.
func (s *Server) begun(ctx context.Context, method string, si operator.SignIn, err error) (*sessionOut, error) {
	if err != nil {
		s.metrics.signIns.WithLabelValues(method, "refused").Inc()
		return nil, err
	}
	s.metrics.signIns.WithLabelValues(method, "accepted").Inc()
	info(ctx).caller = si.Session.Name
	out := &sessionOut{Cookie: s.cookie(ctx, si.Secret.Reveal(), int(si.Session.Ends.Sub(s.cfg.Now()).Seconds())), Body: sessionView(si.Session)}
	for _, f := range si.Factors {
		out.Body.Factors = append(out.Body.Factors, string(f))
	}
	if len(si.Reply) > 0 {
		out.Negotiate = "Negotiate " + base64.StdEncoding.EncodeToString(si.Reply)
	}
	return out, nil
}

// cookie is the header that keeps a session's secret in a browser: out of the reach of
// scripts, of other sites and, with TLS, of other hosts.
func (s *Server) cookie(ctx context.Context, value string, age int) string {
	tls := info(ctx).tls != nil
	if value == "" {
		age = -1
	}
	return (&http.Cookie{Name: cookieName(tls), Value: value, Path: "/", MaxAge: age, Secure: tls, HttpOnly: true, SameSite: http.SameSiteStrictMode}).String()
}

func sessionView(v operator.Session) api.Session {
	out := api.Session{
		ID: v.ID, Account: v.Account.String(), Name: v.Name, Method: string(v.Method), Since: v.Since.UTC(),
		Factor: string(v.Factor), FactorAt: v.FactorAt, StepUp: v.StepUp, Used: v.Used, Ends: v.Ends, From: v.From,
	}
	if !v.SID.IsZero() {
		out.SID = v.SID.String()
	}
	return out
}

func (s *Server) showSession(ctx context.Context, c *caller, _ *struct{}) (*sessionOut, error) {
	out := &sessionOut{Body: sessionView(operator.Session{
		ID: c.Session, Account: c.Account, SID: c.SID, Name: c.Name, Method: c.Method, Since: c.Since, Factor: c.Factor, FactorAt: c.FactorAt, StepUp: c.StepUp,
	})}
	for _, a := range c.Scope {
		out.Body.Scope = append(out.Body.Scope, string(a))
	}
	for _, r := range operator.Rules() {
		for _, kind := range r.On {
			if kind != operator.OnServer {
				continue
			}
			d, err := s.cfg.Operators.May(ctx, c.Caller, r.Action, onServer)
			if err != nil {
				return nil, err
			}
			if d.Allowed {
				out.Body.Permission = append(out.Body.Permission, string(r.Action))
			}
		}
	}
	if c.Token {
		return out, nil
	}
	list, err := s.cfg.Operators.Factors(ctx, c.Caller, c.Account)
	if err != nil {
		return nil, err
	}
	seen := map[audit.Method]bool{}
	for _, f := range list {
		if f.Confirmed && !seen[f.Kind] {
			seen[f.Kind] = true
			out.Body.Factors = append(out.Body.Factors, string(f.Kind))
		}
	}
	return out, nil
}

func (s *Server) signOut(ctx context.Context, c *caller, _ *struct{}) (*endedOut, error) {
	if err := s.cfg.Operators.SignOut(ctx, c.Caller); err != nil {
		return nil, err
	}
	return &endedOut{Cookie: s.cookie(ctx, "", 0)}, nil
}
