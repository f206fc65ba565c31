package server

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/api"
)

// What a route may answer to somebody.
const (
	yes      = "yes"      // he may: whatever else is the matter with the request
	no       = "no"       // 403
	hidden   = "hidden"   // 404: he is not told that it exists
	stepUp   = "step-up"  // 403, until he shows his second factor again
	unsigned = "unsigned" // 401
)

// roles, in the order of the table's columns. ben has requested the grant and holds it;
// dora approves, and dora+ has just shown her second factor; sam is of the security team;
// ulla reads the audit log; root is the first administrator; token is an API token of
// ben's for everything that tokens may do.
var roles = []string{"nobody", "carl", "ben", "dora", "dora+", "sam", "ulla", "root", "root+", "token"}

// access says for each route what it answers to whom. A route that is missing here, or
// one here that there is not, fails the test.
var access = map[string]struct {
	body any
	want string
}{
	//                                 nobody carl ben dora dora+ sam ulla root root+ token
	"sign-in-kerberos":    {nil, "unsigned unsigned unsigned unsigned unsigned unsigned unsigned unsigned unsigned unsigned"}, // no ticket
	"sign-in-password":    {api.PasswordSignIn{Name: "ghost", Password: "wrong"}, "unsigned unsigned unsigned unsigned unsigned unsigned unsigned unsigned unsigned unsigned"},
	"sign-in-certificate": {nil, "unsigned unsigned unsigned unsigned unsigned unsigned unsigned unsigned unsigned unsigned"}, // no certificate
	"show-session":        {nil, "unsigned yes yes yes yes yes yes yes yes yes"},
	"sign-out":            {nil, "unsigned yes yes yes yes yes yes yes yes yes"},
	"step-up-totp":        {api.CodeAnswer{Code: "000000"}, "unsigned yes no no no yes yes no no no"}, // wrong, or no factor; a token has none
	"challenge-webauthn":  {nil, "unsigned yes yes yes yes yes yes yes yes yes"},                      // not offered here
	"step-up-webauthn":    {"{}", "unsigned yes yes yes yes yes yes yes yes yes"},

	"list-policies":        {nil, "unsigned yes yes yes yes yes yes yes yes yes"},
	"request-grant":        {api.GrantRequest{Policy: "quick", Reason: "x"}, "unsigned yes yes no no no no no no yes"},
	"list-grants":          {nil, "unsigned yes yes yes yes yes yes yes yes yes"},
	"show-grant":           {nil, "unsigned hidden yes yes yes yes hidden yes yes yes"},
	"power-of-grant":       {nil, "unsigned hidden no yes yes yes hidden yes yes no"},
	"changes-during-grant": {nil, "unsigned hidden no yes yes yes hidden yes yes no"},
	"log-of-grant":         {nil, "unsigned hidden yes yes yes yes hidden yes yes yes"},
	"approve-grant":        {api.Note{}, "unsigned hidden no stepup yes stepup hidden no no no"},
	"deny-grant":           {api.Note{}, "unsigned hidden no stepup yes stepup hidden no no no"},
	"withdraw-grant":       {api.Note{}, "unsigned hidden no stepup no stepup hidden no no no"}, // dora has not approved it
	"observe-grant":        {api.Note{}, "unsigned hidden no yes yes no hidden no no no"},
	"leave-grant":          {api.Note{}, "unsigned hidden no no no no hidden no no no"}, // nobody observes it
	"activate-grant":       {api.Note{}, "unsigned hidden yes no no no hidden no no yes"},
	"extend-grant":         {api.ExtensionRequest{For: "1m"}, "unsigned hidden yes no no no hidden no no yes"},
	"give-back-grant":      {api.Note{}, "unsigned hidden yes no no no hidden no no yes"},
	"cancel-grant":         {api.Note{}, "unsigned hidden yes no no no hidden no no yes"},
	"revoke-grant":         {api.Note{}, "unsigned hidden no yes yes yes hidden no no no"},
	"review-grant":         {api.Verdict{}, "unsigned hidden no stepup yes stepup hidden no no no"},
	"follow-events":        {nil, "unsigned yes yes yes yes yes yes yes yes yes"},

	"list-audit-entries":      {nil, "unsigned no no no no no yes yes yes no"},
	"prove-audit-entry":       {nil, "unsigned no no no no no yes yes yes no"},
	"prove-audit-consistency": {map[string]string{"checkpoint": "x"}, "unsigned no no no no no yes yes yes no"},
	"verify-audit":            {map[string]string{}, "unsigned no no no no no yes yes yes no"},
	"latest-checkpoint":       {nil, "unsigned no no no no no yes yes yes no"},
	"sign-checkpoint":         {nil, "unsigned no no no no no yes yes yes no"},
	"export-audit":            {nil, "unsigned no no no no no yes yes yes no"},
	"list-runs":               {nil, "unsigned no no no no no yes yes yes no"},
	"trend-of-runs":           {nil, "unsigned no no no no no yes yes yes no"},

	// With another account's ID or objectGUID (see ids).
	"list-sessions":    {nil, "unsigned no no no no no no yes yes no"},
	"end-session":      {api.Note{}, "unsigned no no no no no no stepup yes no"},
	"end-everything":   {api.Note{Reason: "x"}, "unsigned no no no no no no stepup yes no"},
	"list-factors":     {nil, "unsigned no no no no no no yes yes no"},
	"enrol-totp":       {map[string]string{"label": "x"}, "unsigned yes stepup stepup yes yes yes stepup yes no"},
	"confirm-totp":     {api.CodeAnswer{Code: "000000"}, "unsigned hidden hidden hidden hidden hidden hidden hidden hidden hidden"},
	"enrol-webauthn":   {map[string]string{"label": "x"}, "unsigned yes yes yes yes yes yes yes yes yes"}, // not offered here
	"confirm-webauthn": {"{}", "unsigned yes yes yes yes yes yes yes yes yes"},
	"remove-factor":    {api.Note{}, "unsigned no no no no no no stepup yes no"},
	"invite-account":   {api.Note{Reason: "x"}, "unsigned no no no no no no stepup yes no"},
	"recover-account":  {api.Note{Reason: "x"}, "unsigned no no no no no no stepup yes no"},
	"list-tokens":      {nil, "unsigned no no no no no no yes yes no"},
	"issue-token":      {map[string]any{"label": "x", "scope": []string{"grant.read"}, "account": "OTHER"}, "unsigned no no no no no no no no no"}, // of a person: nobody
	"revoke-token":     {api.Note{}, "unsigned no no no no no no stepup yes no"},
}

// plain routes: nobody needs to be signed in, but for metrics.
var plain = map[string]string{
	routeHealth: yes, routeReady: yes, routeDocument: yes, routePage: yes, routeMetrics: unsigned,
}

// victims are the routes that take something away from another account, so that each
// try needs a new one.
var victims = map[string]bool{"end-session": true, "end-everything": true, "remove-factor": true, "recover-account": true, "revoke-token": true, "list-sessions": true, "list-tokens": true, "list-factors": true}

// verdict reads an answer.
func verdict(a answer) string {
	switch {
	case a.Code == http.StatusUnauthorized:
		return unsigned
	case a.Code == http.StatusForbidden && a.code() == api.CodeStepUp:
		return "stepup"
	case a.Code == http.StatusForbidden:
		return no
	case a.Code == http.StatusNotFound && a.code() == api.CodeNotFound:
		return hidden
	case a.Code >= 500:
		return "fault"
	}
	return yes
}

// Every route, for every role: what is not meant to be allowed is refused, and what one
// may not see does not exist.
func TestEveryRouteForEveryRole(t *testing.T) {
	w := newWorld(t)
	have, routes := map[string]operation{}, w.operations()
	for _, r := range routes {
		have[r.id] = r
	}
	for _, id := range slices.Sorted(maps.Keys(access)) {
		if _, ok := have[id]; !ok {
			t.Errorf("there is no route %s", id)
		}
	}
	if _, err := w.srv.Sign(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.strong("root")
	ids := idsOf(t, w.strong("fay")) // whose sessions, factors and tokens others are after
	kept := map[string]*client{}
	var ben *client
	for _, r := range routes {
		row, ok := access[r.id]
		if !ok {
			t.Errorf("route %s (%s %s) is not in the table", r.id, r.method, r.path)
			continue
		}
		want := strings.Fields(row.want)
		if len(want) != len(roles) {
			t.Fatalf("%s: %d columns, want %d", r.id, len(want), len(roles))
		}
		for i, role := range roles {
			if victims[r.id] {
				name := fmt.Sprintf("victim-%s-%d", r.id, i)
				w.person(name)
				ids = idsOf(t, w.strong(name))
			}
			if ben == nil || w.now().Sub(ben.since) > 20*time.Minute {
				ben = w.as("ben")
			}
			g := ben.request("guarded")
			c := kept[role]
			if c == nil || r.tag == tagOperators || w.now().Sub(c.since) > 20*time.Minute {
				c = w.role(role)
			}
			kept[role] = c
			if r.method != http.MethodGet && r.tag != tagGrants && r.tag != tagAudit || strings.HasSuffix(role, "+") || role == "dora" || role == "root" {
				delete(kept, role) // its session may end, or its factor be stale
			}
			a := c.try(&r, row.body, g.ID, ids)
			if got := verdict(a); got != want[i] {
				t.Errorf("%s (%s %s) as %s: %s (%d %s), want %s", r.id, r.method, r.path, role, got, a.Code, strings.TrimSpace(a.Body.String()), want[i])
			}
		}
	}
	for _, pattern := range plainRoutes() {
		method, path, _ := strings.Cut(pattern, " ")
		if got, want := verdict(w.nobody().do(method, strings.TrimSuffix(path, "{$}"), nil)), plain[pattern]; got != want {
			t.Errorf("%s: %s, want %q", pattern, got, want)
		}
	}
}

// others are IDs of what belongs to another account.
type others struct{ account, session, factor, token string }

func idsOf(t *testing.T, c *client) others {
	t.Helper()
	o := others{account: c.w.find(c.name).GUID.String()}
	var list struct {
		Items []struct {
			ID string `json:"id"`
		} `json:"items"`
	}
	c.do("POST", "/v1/tokens", map[string]any{"label": "x", "scope": []string{"grant.read"}})
	for path, to := range map[string]*string{"/v1/sessions": &o.session, "/v1/factors": &o.factor, "/v1/tokens": &o.token} {
		c.do("GET", path, nil).into(t, &list)
		if len(list.Items) == 0 {
			t.Fatalf("%s is empty", path)
		}
		*to = list.Items[0].ID
	}
	return o
}

// role signs somebody in afresh, since routes end sessions.
func (w *world) role(name string) *client {
	w.t.Helper()
	switch bare, strong := strings.CutSuffix(name, "+"); {
	case name == "nobody":
		return w.nobody()
	case name == "token":
		var out struct {
			Secret string `json:"secret"`
		}
		a := w.strong("ben").do("POST", "/v1/tokens", map[string]any{"label": "t", "scope": []string{"grant.read", "grant.request", "grant.end", "audit.read", "assess.read"}, "for": "1h"})
		a.into(w.t, &out)
		return &client{w: w, name: name, since: w.now(), header: http.Header{"Authorization": {"Bearer " + out.Secret}}}
	case strong || bare == "dora" || bare == "root":
		c := w.strong(bare)
		if !strong { // the factor is there, but not fresh
			w.pass(6 * time.Minute)
		}
		return c
	}
	return w.as(name)
}

// target is a route's path, about a grant or about what belongs to another account.
func (r *operation) target(grant string, o others) string {
	path := r.path
	switch {
	case strings.HasPrefix(path, "/v1/grants/"):
		path = strings.Replace(path, "{id}", grant, 1)
	case strings.HasPrefix(path, "/v1/sessions/"):
		path = strings.Replace(path, "{id}", o.session, 1)
	case strings.HasPrefix(path, "/v1/factors/totp/"):
		path = strings.Replace(path, "{id}", "0123456789abcdef01234567", 1)
	case strings.HasPrefix(path, "/v1/factors/"):
		path = strings.Replace(path, "{id}", o.factor, 1)
	case strings.HasPrefix(path, "/v1/tokens/"):
		path = strings.Replace(path, "{id}", o.token, 1)
	}
	return strings.NewReplacer("{guid}", o.account, "{index}", "0").Replace(path)
}

// try calls a route with valid input.
func (c *client) try(r *operation, body any, grant string, o others) answer {
	path := r.target(grant, o)
	switch r.id {
	case "list-sessions", "list-factors", "list-tokens":
		path += "?account=" + o.account
	case "trend-of-runs":
		path += "?forest=contoso.com"
	case "follow-events":
		close(c.w.srv.closing) // the stream ends at once
		defer func() { c.w.srv.closing = make(chan struct{}) }()
	case "issue-token":
		body = map[string]any{"label": "x", "scope": []string{"grant.read"}, "account": o.account}
	}
	return c.do(r.method, path, body)
}
