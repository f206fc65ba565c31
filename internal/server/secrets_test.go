package server

import (
	"bytes"
	"context"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/leastwise/leastwise/internal/api"
	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/store"
)

// rows returns what every table of the database holds, value after value, by table.
func (w *world) rows() map[string][]byte {
	w.t.Helper()
	out := map[string][]byte{}
	w.ok(w.db.View(w.t.Context(), func(ctx context.Context, tx *store.Tx) error {
		var names []string
		err := query(ctx, tx, "SELECT name FROM sqlite_master WHERE type = 'table'", func(v []any) { names = append(names, fmt.Sprint(v[0])) })
		for _, n := range names {
			if err == nil {
				err = query(ctx, tx, `SELECT * FROM "`+n+`"`, func(row []any) {
					for _, v := range row {
						b, is := v.([]byte)
						if !is {
							b = fmt.Append(nil, v)
						}
						out[n] = append(append(out[n], b...), 0)
					}
				})
			}
		}
		return err
	}))
	return out
}

func query(ctx context.Context, tx *store.Tx, text string, f func([]any)) error {
	rows, err := tx.SQL().QueryContext(ctx, text)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	for rows.Next() {
		row := make([]any, len(columns))
		at := make([]any, len(columns))
		for i := range row {
			at[i] = &row[i]
		}
		if err := rows.Scan(at...); err != nil {
			return err
		}
		f(row)
	}
	return rows.Err()
}

// forms are the ways in which somebody could have written a secret down.
func forms(secret []byte) [][]byte {
	text := string(secret)
	return [][]byte{
		secret, []byte(fmt.Sprintf("%q", text)[1 : len(fmt.Sprintf("%q", text))-1]), []byte(hex.EncodeToString(secret)), fmt.Appendf(nil, "%X", secret),
		[]byte(base64.RawStdEncoding.EncodeToString(secret)), []byte(base64.RawURLEncoding.EncodeToString(secret)),
		[]byte(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)),
	}
}

// Every secret that this test uses, in every form, is looked for in every value of every
// table, in the captured log, in the metrics and in every answer but the one that shows
// it: passwords right and wrong, sessions old and new, the secret of an authenticator app,
// API tokens, enrolment codes, also where an idempotency key came with the request.
func TestSecretsInNoTable(t *testing.T) {
	w := newWorld(t)
	secrets := map[string]string{"password": password, "wrong password": "wrong-password-canary", "wrong name": "password-typed-as-name"}
	var answers bytes.Buffer
	note := func(what, secret string) {
		t.Helper()
		if len(secret) < 8 {
			t.Fatalf("%s: there is no secret", what)
		}
		secrets[what] = secret
	}
	ask := func(c *client, method, path string, body any) answer {
		a := c.do(method, path, body)
		answers.Write(a.Body.Bytes())
		return a
	}
	ask(w.nobody(), "POST", "/v1/session/password", api.PasswordSignIn{Name: "dora", Password: secrets["wrong password"]})
	ask(w.nobody(), "POST", "/v1/session/password", api.PasswordSignIn{Name: secrets["wrong name"], Password: "x"})
	dora := w.as("dora")
	note("session at sign-in", dora.secret)
	root := w.strong("root")
	note("session after the step-up", root.secret)
	dora.header = http.Header{headerKey: {"enrol-1"}}
	dora = w.strong("dora")
	note("app", w.otp["dora"])
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(w.otp["dora"])
	w.ok(err)
	note("app, its bytes", string(raw))
	note("session of dora", dora.secret)
	var shown struct{ Secret, Code string }
	dora.header = http.Header{headerKey: {"token-1"}}
	dora.do("POST", "/v1/tokens", map[string]any{"label": "x", "scope": []string{"grant.read"}}).into(t, &shown)
	note("API token", shown.Secret)
	token := &client{w: w, header: http.Header{"Authorization": {"Bearer " + shown.Secret}}}
	ask(token, "GET", "/v1/grants", nil)
	ask(token, "POST", "/v1/grants", api.GrantRequest{Policy: "quick", Reason: "x"})
	ben := w.as("ben")
	note("session of ben", ben.secret)
	g := ben.request("quick")
	ben.header = http.Header{headerKey: {"end-1"}}
	if a := ask(ben, "POST", "/v1/grants/"+g.ID+"/give-back", api.Note{Reason: "done"}); a.Code != http.StatusOK {
		t.Fatalf("giving back: %d %s", a.Code, a.Body)
	}
	root.header = http.Header{headerKey: {"invite-1"}}
	root.do("POST", "/v1/accounts/"+w.find("carl").GUID.String()+"/invite", api.Note{Reason: "called back"}).into(t, &shown)
	note("enrolment code", shown.Code)
	ask(w.as("carl"), "POST", "/v1/factors/totp", map[string]string{"label": "x", "code": shown.Code + "x"})
	for _, path := range []string{"/v1/session", "/v1/sessions", "/v1/factors", "/v1/tokens", "/v1/grants"} {
		ask(root, "GET", path, nil)
		ask(dora, "GET", path, nil)
	}
	ask(dora, "POST", "/v1/session/step-up/totp", map[string]any{"code": secrets["wrong password"]})
	ask(&client{w: w, secret: dora.secret + "x"}, "GET", "/v1/session", nil)
	rec := httptest.NewRecorder()
	w.srv.metrics.handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))

	places := w.rows()
	for _, table := range []string{"operator_records", "audit_entries", "replies", "grants"} {
		if _, ok := places[table]; !ok {
			t.Fatalf("the table %s was not looked at, or is empty", table)
		}
	}
	if !bytes.Contains(places["operator_records"], []byte(`"account"`)) || !bytes.Contains(places["audit_entries"], []byte("token.issue")) {
		t.Fatal("the values are not what they should be")
	}
	places["the log"], places["the metrics"], places["the answers"] = []byte(w.log.String()), rec.Body.Bytes(), answers.Bytes()
	for place, held := range places {
		for what, secret := range secrets {
			for i, f := range forms([]byte(secret)) {
				if bytes.Contains(held, f) {
					t.Errorf("%s holds %s in form %d", place, what, i)
				}
			}
		}
	}
}

// Who issued a token does not decide on what was requested by it: neither himself, nor
// under his other account, nor as somebody who is an approver through a group.
func TestSelfApprovalThroughAToken(t *testing.T) {
	w := newWorld(t)
	w.mu.Lock()
	svc := w.dir.NewObject("svc", false)
	w.dir.Groups[`CONTOSO\Staff`] = append(w.dir.Groups[`CONTOSO\Staff`], svc)
	w.dir.Groups[`CONTOSO\Approvers`] = append(w.dir.Groups[`CONTOSO\Approvers`], w.dir.Staff[1]) // adm-anna
	w.mu.Unlock()
	// anna is an approver, and issues a token to svc; the test's policies let her.
	pol, err := operator.ParsePolicies("own.cedar", []byte(operator.DefaultPolicies()+own+`
@id("anna") permit (principal, action == Action::"token.issue", resource) when { principal.name == "CONTOSO\\anna" };`))
	w.ok(err)
	w.ok(w.ops.Use(t.Context(), operator.Local("installer", "r", w.now()), pol))
	anna := w.strong("anna")
	var shown struct {
		Token  operator.Token
		Secret string
	}
	anna.do("POST", "/v1/tokens", map[string]any{"label": "x", "scope": []string{"grant.request", "grant.read", "grant.end"}, "account": svc.String()}).into(t, &shown)
	if shown.Token.Issuer != w.find("anna").GUID {
		t.Fatalf("issued by %s", shown.Token.Issuer)
	}
	token := &client{w: w, name: "svc", header: http.Header{"Authorization": {"Bearer " + shown.Secret}}}
	g := token.request("guarded")
	for _, name := range []string{"anna", "adm-anna"} {
		c := anna
		if name != "anna" {
			c = w.strong(name)
		}
		for _, what := range []string{"observe", "approve"} {
			if a := c.do("POST", "/v1/grants/"+g.ID+"/"+what, api.Note{Reason: "x"}); a.Code != http.StatusForbidden {
				t.Errorf("%s of what was asked for by %s's token: %d %s", what, name, a.Code, a.Body)
			}
		}
		if a := c.do("POST", "/v1/grants/"+g.ID+"/cancel", api.Note{Reason: "x"}); a.Code != http.StatusForbidden {
			t.Errorf("%s acts as the requester: %d %s", name, a.Code, a.Body)
		}
	}
	if a := w.strong("dora").do("POST", "/v1/grants/"+g.ID+"/approve", api.Note{}); a.Code != http.StatusOK {
		t.Errorf("dora: %d %s", a.Code, a.Body)
	}
}

// A requester who is among the approvers only because his group was put into theirs is a
// requester all the same. The simulated directory knows no nesting: what it says of
// memberships is what a domain controller says of nested ones.
func TestSelfApprovalThroughANestedGroup(t *testing.T) {
	w := newWorld(t)
	ben := w.strong("ben")
	g := ben.request("guarded")
	w.mu.Lock()
	inner := slices.Clone(w.dir.Groups[`CONTOSO\Staff`]) // Staff becomes a member of Approvers
	w.dir.Groups[`CONTOSO\Approvers`] = append(w.dir.Groups[`CONTOSO\Approvers`], inner...)
	w.mu.Unlock()
	for _, what := range []string{"observe", "approve"} {
		if a := ben.do("POST", "/v1/grants/"+g.ID+"/"+what, api.Note{Reason: "x"}); a.Code != http.StatusForbidden {
			t.Errorf("%s: %d %s", what, a.Code, a.Body)
		}
	}
	if a := w.strong("carl").do("POST", "/v1/grants/"+g.ID+"/approve", api.Note{}); a.Code != http.StatusOK {
		t.Errorf("carl, who is one, too: %d %s", a.Code, a.Body)
	}
}

// What came out of a stolen cookie is worth nothing after the owner has signed out: not
// the cookie, not a token that the thief issued while the second factor was fresh, not an
// enrolment that he began.
func TestStolenCookieLeavesNothing(t *testing.T) {
	w := newWorld(t)
	dora := w.strong("dora")
	thief := &client{w: w, secret: dora.secret}
	var token struct{ Secret string }
	thief.do("POST", "/v1/tokens", map[string]any{"label": "x", "scope": []string{"grant.read"}}).into(t, &token)
	var e struct {
		Factor operator.Factor
		Secret string
	}
	thief.do("POST", "/v1/factors/totp", map[string]string{"label": "thief's"}).into(t, &e)
	byToken := &client{w: w, header: http.Header{"Authorization": {"Bearer " + token.Secret}}}
	if a := byToken.do("GET", "/v1/grants", nil); a.Code != http.StatusOK {
		t.Fatalf("the token before: %d %s", a.Code, a.Body)
	}
	if a := dora.do("POST", "/v1/session/end", nil); a.Code != http.StatusNoContent {
		t.Fatalf("signing out: %d %s", a.Code, a.Body)
	}
	for what, a := range map[string]answer{
		"the cookie":    thief.do("GET", "/v1/session", nil),
		"the token":     byToken.do("GET", "/v1/grants", nil),
		"the enrolment": thief.do("POST", "/v1/factors/totp/"+e.Factor.ID+"/confirm", api.CodeAnswer{Code: w.code(e.Secret)}),
	} {
		if a.Code != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", what, a.Code, a.Body)
		}
	}
	again := w.strong("dora")
	if a := again.do("POST", "/v1/factors/totp/"+e.Factor.ID+"/confirm", api.CodeAnswer{Code: w.code(e.Secret)}); a.Code != http.StatusNotFound {
		t.Errorf("the enrolment, in another session: %d %s", a.Code, a.Body)
	}
	// Without a fresh second factor a stolen cookie makes no token at all.
	plain := w.as("dora")
	if a := plain.do("POST", "/v1/tokens", map[string]any{"label": "x", "scope": []string{"grant.read"}}); a.code() != api.CodeStepUp {
		t.Errorf("a token by a session alone: %d %s", a.Code, a.Body)
	}
}
