package server

import (
	"context"
	"net/http"

	"github.com/leastwise/leastwise/internal/api"
	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/secdesc"
)

const tagOperators = "operators"

type (
	accountIn struct {
		Account string `query:"account" maxLength:"36" doc:"objectGUID of another account; absent: the caller's own"`
	}
	idReasonIn struct {
		ID   string   `path:"id" minLength:"1" maxLength:"64" pattern:"^[A-Za-z0-9_-]+$"`
		Body api.Note `required:"false"`
	}
	guidReasonIn struct {
		GUID string `path:"guid" format:"uuid" maxLength:"36"`
		Body struct {
			Reason string `json:"reason" minLength:"1" maxLength:"2000"`
		}
	}
	sessionsOut struct{ Body api.Sessions }
	factorsOut  struct {
		Body struct {
			Items []operator.Factor `json:"items"`
		}
	}
	factorOut struct{ Body operator.Factor }
	tokensOut struct {
		Body struct {
			Items []operator.Token `json:"items"`
		}
	}
	enrolIn struct {
		Body struct {
			Label string `json:"label" minLength:"1" maxLength:"256" doc:"what the owner calls it"`
			Code  string `json:"code,omitempty" maxLength:"256" format:"password" doc:"enrolment code, where one is needed"`
		}
	}
	enrolledOut struct {
		Body struct {
			Factor operator.Factor `json:"factor"`
			Secret string          `json:"secret" doc:"to be typed into an authenticator app; shown this once"`
			URL    string          `json:"url" doc:"the same as otpauth URL, for a QR code"`
		}
	}
	confirmIn struct {
		ID   string `path:"id" minLength:"1" maxLength:"64" pattern:"^[A-Za-z0-9_-]+$"`
		Body api.CodeAnswer
	}
	tokenIn struct {
		Body struct {
			Account string   `json:"account,omitempty" format:"uuid" maxLength:"36" doc:"objectGUID of the account that the token is bound to; absent: the caller's own"`
			Label   string   `json:"label" minLength:"1" maxLength:"256" doc:"what it is for"`
			Scope   []string `json:"scope" minItems:"1" maxItems:"16" doc:"what it may be used for"`
			For     string   `json:"for,omitempty" maxLength:"32" doc:"how long, such as 8h; absent: the longest"`
		}
	}
	tokenOut struct {
		Body struct {
			Token  operator.Token `json:"token"`
			Secret string         `json:"secret" doc:"shown this once"`
		}
	}
	inviteOut struct {
		Body struct {
			Code string `json:"code" doc:"enrolment code for the account's owner; shown this once"`
		}
	}
	countOut struct {
		Body struct {
			Ended int `json:"ended"`
		}
	}
)

// registerOperators registers what is about sessions, factors and tokens. Whether the
// caller may see or end another account's is decided in package operator.
func (s *Server) registerOperators() {
	get := func(id, path, summary string) route {
		return route{id: id, method: http.MethodGet, path: path, tag: tagOperators, summary: summary}
	}
	post := func(id, path, summary string) route {
		return route{id: id, method: http.MethodPost, path: path, tag: tagOperators, summary: summary, codes: []api.Code{api.CodeStepUp, api.CodeConflict}}
	}
	add(s, get("list-sessions", "/v1/sessions", "Sessions of the caller, or of another account"), s.listSessions)
	add(s, post("end-session", "/v1/sessions/{id}/end", "End one session"), func(ctx context.Context, c *caller, in *idReasonIn) (*struct{}, error) {
		return nil, s.cfg.Operators.EndSession(ctx, c.Caller, in.ID, in.Body.Reason)
	})
	add(s, post("end-everything", "/v1/accounts/{guid}/end", "End all sessions and tokens of an account"), s.endAll)
	add(s, get("list-factors", "/v1/factors", "Second factors of the caller, or of another account"), s.listFactors)
	add(s, post("enrol-totp", "/v1/factors/totp", "Enrol an authenticator app"), s.enrolTOTP)
	add(s, post("confirm-totp", "/v1/factors/totp/{id}/confirm", "Confirm an authenticator app by a code of it"), func(ctx context.Context, c *caller, in *confirmIn) (*factorOut, error) {
		f, err := s.cfg.Operators.ConfirmTOTP(ctx, c.Caller, in.ID, in.Body.Code)
		return &factorOut{f}, err
	})
	add(s, post("enrol-webauthn", "/v1/factors/webauthn/challenge", "Begin to enrol a security key or passkey: options for navigator.credentials.create"), func(ctx context.Context, c *caller, in *enrolIn) (*rawOut, error) {
		raw, err := s.cfg.Operators.BeginWebAuthn(ctx, c.Caller, in.Body.Label, operator.NewSecret(in.Body.Code))
		return &rawOut{raw}, err
	})
	add(s, post("confirm-webauthn", "/v1/factors/webauthn", "Confirm it by the answer of navigator.credentials.create"), func(ctx context.Context, c *caller, in *answerIn) (*factorOut, error) {
		f, err := s.cfg.Operators.ConfirmWebAuthn(ctx, c.Caller, in.Body)
		return &factorOut{f}, err
	})
	add(s, post("remove-factor", "/v1/factors/{id}/remove", "Remove a second factor"), func(ctx context.Context, c *caller, in *idReasonIn) (*struct{}, error) {
		return nil, s.cfg.Operators.RemoveFactor(ctx, c.Caller, in.ID, in.Body.Reason)
	})
	add(s, post("invite-account", "/v1/accounts/{guid}/invite", "Make an enrolment code for an account without second factor"), func(ctx context.Context, c *caller, in *guidReasonIn) (*inviteOut, error) {
		return s.code(ctx, c, in, s.cfg.Operators.Invite)
	})
	add(s, post("recover-account", "/v1/accounts/{guid}/recover", "Remove the lost second factors of an account, end its sessions and tokens, and make an enrolment code"), func(ctx context.Context, c *caller, in *guidReasonIn) (*inviteOut, error) {
		return s.code(ctx, c, in, s.cfg.Operators.Recover)
	})
	add(s, get("list-tokens", "/v1/tokens", "API tokens of the caller, or of another account"), s.listTokens)
	add(s, post("issue-token", "/v1/tokens", "Issue an API token"), s.issueToken)
	add(s, post("revoke-token", "/v1/tokens/{id}/revoke", "End an API token"), func(ctx context.Context, c *caller, in *idReasonIn) (*struct{}, error) {
		return nil, s.cfg.Operators.RevokeToken(ctx, c.Caller, in.ID, in.Body.Reason)
	})
}

// whose reads the account that a request is about: the caller's own if it names none.
func whose(c *caller, field, text string) (secdesc.GUID, error) {
	if text == "" {
		return c.Account, nil
	}
	g, err := secdesc.ParseGUID(text)
	if err != nil {
		return g, invalidField(field, "not an objectGUID")
	}
	return g, nil
}

func (s *Server) listSessions(ctx context.Context, c *caller, in *accountIn) (*sessionsOut, error) {
	g, err := whose(c, "query.account", in.Account)
	if err != nil {
		return nil, err
	}
	list, err := s.cfg.Operators.Sessions(ctx, c.Caller, g)
	out := &sessionsOut{api.Sessions{Items: []api.Session{}}}
	for _, v := range list {
		out.Body.Items = append(out.Body.Items, sessionView(v))
	}
	return out, err
}

func (s *Server) endAll(ctx context.Context, c *caller, in *guidReasonIn) (*countOut, error) {
	g, err := whose(c, "path.guid", in.GUID)
	if err != nil {
		return nil, err
	}
	out := &countOut{}
	out.Body.Ended, err = s.cfg.Operators.EndAll(ctx, c.Caller, g, in.Body.Reason)
	return out, err
}

func (s *Server) listFactors(ctx context.Context, c *caller, in *accountIn) (*factorsOut, error) {
	g, err := whose(c, "query.account", in.Account)
	if err != nil {
		return nil, err
	}
	out := &factorsOut{}
	list, err := s.cfg.Operators.Factors(ctx, c.Caller, g)
	out.Body.Items = append([]operator.Factor{}, list...)
	return out, err
}

func (s *Server) enrolTOTP(ctx context.Context, c *caller, in *enrolIn) (*enrolledOut, error) {
	e, err := s.cfg.Operators.BeginTOTP(ctx, c.Caller, in.Body.Label, operator.NewSecret(in.Body.Code))
	out := &enrolledOut{}
	out.Body.Factor, out.Body.Secret, out.Body.URL = e.Factor, e.Secret.Reveal(), e.URL.Reveal()
	return out, err
}

func (s *Server) code(ctx context.Context, c *caller, in *guidReasonIn, make func(context.Context, operator.Caller, secdesc.GUID, string) (operator.Secret, error)) (*inviteOut, error) {
	g, err := whose(c, "path.guid", in.GUID)
	if err != nil {
		return nil, err
	}
	secret, err := make(ctx, c.Caller, g, in.Body.Reason)
	out := &inviteOut{}
	out.Body.Code = secret.Reveal()
	return out, err
}

func (s *Server) listTokens(ctx context.Context, c *caller, in *accountIn) (*tokensOut, error) {
	g, err := whose(c, "query.account", in.Account)
	if err != nil {
		return nil, err
	}
	out := &tokensOut{}
	list, err := s.cfg.Operators.Tokens(ctx, c.Caller, g)
	out.Body.Items = append([]operator.Token{}, list...)
	return out, err
}

func (s *Server) issueToken(ctx context.Context, c *caller, in *tokenIn) (*tokenOut, error) {
	g, err := whose(c, "body.account", in.Body.Account)
	if err != nil {
		return nil, err
	}
	o := operator.TokenOrder{Account: g, Label: in.Body.Label}
	if o.For, err = span("body.for", in.Body.For); err != nil {
		return nil, err
	}
	for _, a := range in.Body.Scope {
		o.Scope = append(o.Scope, operator.Action(a))
	}
	out := &tokenOut{}
	t, secret, err := s.cfg.Operators.IssueToken(ctx, c.Caller, o)
	out.Body.Token, out.Body.Secret = t, secret.Reveal()
	return out, err
}
