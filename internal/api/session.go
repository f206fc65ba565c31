package api

import "time"

// CookieName is the name of the cookie that holds a session. The prefix makes browsers
// keep it to this host, and to HTTPS; PlainCookieName is used on loopback without TLS.
const (
	CookieName      = "__Host-leastwise"
	PlainCookieName = "leastwise"
)

// A PasswordSignIn is a name and a password of the directory.
type PasswordSignIn struct {
	Name     string `json:"name" minLength:"1" maxLength:"256" doc:"DOMAIN\\name, name@domain or the bare name"`
	Password string `json:"password" minLength:"1" maxLength:"1024" format:"password"`
}

// A Session is a person signed in. Its secret is in the cookie of the answer, and
// nowhere else.
type Session struct {
	ID         string    `json:"id" doc:"names the session; it is not its secret"`
	Account    string    `json:"account" format:"uuid"`
	SID        string    `json:"sid,omitempty"`
	Name       string    `json:"name"`
	Method     string    `json:"method" doc:"kerberos, password, certificate or token"`
	Since      time.Time `json:"since"`
	Factor     string    `json:"factor,omitempty" doc:"second factor of this session"`
	FactorAt   time.Time `json:"factor_at,omitzero"`
	StepUp     time.Time `json:"step_up_until,omitzero" doc:"until when that factor is fresh enough to decide with"`
	Used       time.Time `json:"used,omitzero"`
	Ends       time.Time `json:"ends,omitzero"`
	From       string    `json:"from,omitempty" doc:"address where it was begun"`
	Factors    []string  `json:"factors,omitempty" doc:"second factors that the account has: totp, webauthn"`
	Scope      []string  `json:"scope,omitempty" doc:"of an API token: what it may be used for"`
	Permission []string  `json:"permissions,omitempty" doc:"what the caller may do on the server as a whole"`
}

// Sessions are the sessions of an account.
type Sessions struct {
	Items []Session `json:"items"`
}

// A CodeAnswer is a one-time code of a second factor.
type CodeAnswer struct {
	Code string `json:"code" minLength:"6" maxLength:"32" format:"password" doc:"what the authenticator shows"`
}
