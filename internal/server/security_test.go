package server

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/api"
	"github.com/leastwise/leastwise/internal/store"
)

// Nobody approves for himself: not as himself, not under another account of his, not by
// an API token, not for somebody whose request it is not but who is to hold it.
func TestSelfApprovalInItsDisguises(t *testing.T) {
	w := newWorld(t)
	// anna is an approver; adm-anna is declared to be the same person.
	w.mu.Lock()
	w.dir.Groups[`CONTOSO\Approvers`] = append(w.dir.Groups[`CONTOSO\Approvers`], w.dir.Staff[1])
	w.mu.Unlock()
	anna := w.strong("anna")
	g := anna.request("guarded")
	refused := func(who string, a answer) {
		t.Helper()
		if a.Code != http.StatusForbidden {
			t.Errorf("%s: %d %s", who, a.Code, a.Body)
		}
	}
	refused("as herself", anna.do("POST", "/v1/grants/"+g.ID+"/approve", api.Note{}))
	refused("under her other account", w.strong("adm-anna").do("POST", "/v1/grants/"+g.ID+"/approve", api.Note{}))
	var out struct{ Secret string }
	a := anna.do("POST", "/v1/tokens", map[string]any{"label": "x", "scope": []string{"grant.read"}})
	a.into(t, &out)
	token := &client{w: w, header: http.Header{"Authorization": {"Bearer " + out.Secret}}}
	refused("by a token", token.do("POST", "/v1/grants/"+g.ID+"/approve", api.Note{}))
	if a := anna.do("POST", "/v1/tokens", map[string]any{"label": "x", "scope": []string{"grant.approve"}}); a.Code != http.StatusUnprocessableEntity {
		t.Errorf("a token for approving: %d %s", a.Code, a.Body)
	}
	// Somebody else's approval counts once, and again not under his other session.
	dora := w.strong("dora")
	if a := dora.do("POST", "/v1/grants/"+g.ID+"/approve", api.Note{}); a.Code != http.StatusOK {
		t.Fatalf("dora: %d %s", a.Code, a.Body)
	}
	refused("a second time", w.strong("dora").do("POST", "/v1/grants/"+g.ID+"/approve", api.Note{}))
	var now api.Grant
	anna.do("GET", "/v1/grants/"+g.ID, nil).into(t, &now)
	if now.State != "requested" || len(now.Approvals) != 1 {
		t.Errorf("%s with %d approvals", now.State, len(now.Approvals))
	}
}

// A cookie is worth nothing after its session was signed out, stepped up or ended, and
// a session does not survive its account.
func TestStolenCookie(t *testing.T) {
	w := newWorld(t)
	out := func(name string, c *client, secret string) {
		t.Helper()
		thief := &client{w: w, secret: secret}
		if a := thief.do("GET", "/v1/session", nil); a.Code != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", name, a.Code, a.Body)
		}
	}
	ben := w.as("ben")
	stolen := ben.secret
	if a := ben.do("POST", "/v1/session/end", nil); a.Code != http.StatusNoContent {
		t.Fatalf("signing out: %d %s", a.Code, a.Body)
	}
	out("after signing out", ben, stolen)
	dora := w.strong("dora")
	stolen = dora.secret
	dora.stepUp()
	out("after stepping up", dora, stolen)
	if a := dora.do("GET", "/v1/session", nil); a.Code != http.StatusOK {
		t.Errorf("the session itself: %d", a.Code)
	}
	carl := w.as("carl")
	var list api.Sessions
	carl.do("GET", "/v1/sessions", nil).into(t, &list)
	stolen = carl.secret
	carl2 := w.as("carl")
	carl2.do("POST", "/v1/sessions/"+list.Items[0].ID+"/end", api.Note{})
	out("after it was ended from another session", carl, stolen)
	guid := w.find("carl").GUID
	w.mu.Lock()
	o := w.dir.Objects[guid]
	o.Disabled = true
	w.dir.Objects[guid] = o
	w.mu.Unlock()
	w.pass(31 * 1e9)
	if a := carl2.do("GET", "/v1/grants", nil); a.Code != http.StatusForbidden && a.Code != http.StatusUnauthorized {
		t.Errorf("a disabled account: %d %s", a.Code, a.Body)
	}
}

// A browser cannot be made to send a request for another site, signed in or not.
func TestCrossSiteRequests(t *testing.T) {
	w := newWorld(t)
	ben := w.as("ben")
	for name, h := range map[string]http.Header{
		"cross-site":      {"Sec-Fetch-Site": {"cross-site"}},
		"same-site":       {"Sec-Fetch-Site": {"same-site"}},
		"another origin":  {"Origin": {"https://evil.test"}},
		"an opaque one":   {"Origin": {"null"}},
		"a look-alike":    {"Origin": {"https://leastwise.test.evil.test"}},
		"another scheme":  {"Origin": {"http://leastwise.test:81"}},
		"form, as a blob": {"Sec-Fetch-Site": {"cross-site"}, "Content-Type": {"text/plain"}},
	} {
		ben.header = h
		for _, path := range []string{"/v1/grants", "/v1/session/end", "/v1/session/password"} {
			a := ben.do("POST", path, api.GrantRequest{Policy: "quick", Reason: "x"})
			if a.Code != http.StatusForbidden || a.code() != api.CodeCrossOrigin {
				t.Errorf("%s, %s: %d %s", name, path, a.Code, a.Body)
			}
		}
	}
	ben.header = http.Header{"Sec-Fetch-Site": {"same-origin"}, "Origin": {"https://leastwise.test"}}
	if a := ben.do("POST", "/v1/grants", api.GrantRequest{Policy: "quick", Reason: "x"}); a.Code != http.StatusCreated {
		t.Errorf("from the server's own pages: %d %s", a.Code, a.Body)
	}
	ben.header = http.Header{"Content-Type": {"text/plain"}}
	if a := ben.do("POST", "/v1/grants", api.GrantRequest{Policy: "quick", Reason: "x"}); a.Code != http.StatusUnsupportedMediaType {
		t.Errorf("a form's content type: %d %s", a.Code, a.Body)
	}
}

// Bodies that are too large, or no requests, are refused with a problem, and nothing of
// them is repeated.
func TestBadBodies(t *testing.T) {
	w := newWorld(t)
	ben := w.as("ben")
	const canary = "s3cr3t-canary"
	deep := strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000)
	for name, c := range map[string]struct {
		body string
		code api.Code
	}{
		"too large":        {`{"policy":"quick","reason":"` + strings.Repeat("x", maxBody) + `"}`, api.CodeTooLarge},
		"no JSON":          {canary, api.CodeInvalid},
		"cut short":        {`{"policy":"` + canary, api.CodeInvalid},
		"a list":           {`["` + canary + `"]`, api.CodeInvalid},
		"unknown field":    {`{"policy":"quick","password":"` + canary + `"}`, api.CodeInvalid},
		"wrong type":       {`{"policy":{"` + canary + `":1}}`, api.CodeInvalid},
		"number":           {`{"policy":1,"reason":"` + canary + `"}`, api.CodeInvalid},
		"deep":             {deep, api.CodeInvalid},
		"empty":            {``, api.CodeInvalid},
		"null":             {`null`, api.CodeInvalid},
		"bad duration":     {`{"policy":"quick","for":"` + canary + `","reason":"x"}`, api.CodeInvalid},
		"bad time":         {`{"policy":"quick","start":"` + canary + `","reason":"x"}`, api.CodeInvalid},
		"upper-case name":  {`{"policy":"` + strings.ToUpper(canary) + `","reason":"x"}`, api.CodeInvalid},
		"twice":            {`{"policy":"quick","reason":"x"}{"policy":"quick"}`, api.CodeInvalid},
		"invalid encoding": {"{\"policy\":\"quick\",\"reason\":\"" + canary + "\xff\"", api.CodeInvalid},
	} {
		a := ben.do("POST", "/v1/grants", c.body)
		if a.code() != c.code {
			t.Errorf("%s: %d %s", name, a.Code, a.Body)
		}
		if strings.Contains(a.Body.String(), canary) || strings.Contains(a.Body.String(), strings.ToUpper(canary)) {
			t.Errorf("%s: the answer repeats the input: %s", name, a.Body)
		}
		if got := a.Header().Get("Content-Type"); got != "application/problem+json" {
			t.Errorf("%s: %s", name, got)
		}
	}
	if strings.Contains(w.log.String(), canary) {
		t.Error("the log repeats the input")
	}
}

// injections are texts that mean something to LDAP, SQL, JSON, terminals and paths.
var injections = []string{
	`*`, `*)(objectClass=*)`, `anna)(|(objectClass=*`, `\2a`, `CONTOSO\*`, `CN=a,CN=Users,DC=contoso,DC=com)(cn=*`, `"; DROP TABLE grants; --`, `' OR '1'='1`,
	"a\x00b", "\x1b[31mred", "../../etc/passwd", `{{.}}`, "${jndi:ldap://x}", strings.Repeat("(", 200), "<GUID=00000000000000000000000000000000>", "<WKGUID=a,DC=x>", "<SID=S-1-5-32-544>",
}

func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

// Secrets are in no log, no error, no metric, not in the audit log and not in a backup.
func TestSecretsStayAbsent(t *testing.T) {
	w := newWorld(t)
	dora := w.strong("dora")
	secrets := []string{password, dora.secret, w.otp["dora"]}
	code := w.code(w.otp["dora"])
	dora.do("POST", "/v1/session/step-up/totp", api.CodeAnswer{Code: code})
	secrets = append(secrets, dora.secret)
	var out struct{ Secret string }
	dora.do("POST", "/v1/tokens", map[string]any{"label": "x", "scope": []string{"grant.read"}}).into(t, &out)
	secrets = append(secrets, out.Secret)
	const wrong = "wrong-password-canary"
	var seen strings.Builder
	for _, a := range []answer{
		w.nobody().do("POST", "/v1/session/password", api.PasswordSignIn{Name: "dora", Password: wrong}),
		w.nobody().do("POST", "/v1/session/password", map[string]any{"name": "dora", "password": []string{wrong}}),
		w.nobody().do("POST", "/v1/session/password", `{"name":"dora","password":"`+wrong),
		(&client{w: w, secret: dora.secret + "x"}).do("GET", "/v1/session", nil),
		dora.do("POST", "/v1/session/step-up/totp", map[string]any{"code": wrong}),
		dora.do("GET", "/v1/session", nil), dora.do("GET", "/v1/sessions", nil), dora.do("GET", "/v1/factors", nil), dora.do("GET", "/v1/tokens", nil),
	} {
		seen.WriteString(a.Body.String())
	}
	secrets = append(secrets, wrong)
	rec := httptest.NewRecorder()
	w.srv.metrics.handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	seen.WriteString(rec.Body.String())
	seen.WriteString(w.log.String())
	ulla := w.as("ulla")
	seen.WriteString(ulla.do("GET", "/v1/audit/export", nil).Body.String())
	var dump strings.Builder
	if _, err := w.db.Backup(t.Context(), &dump, w.now()); err != nil {
		t.Fatal(err)
	}
	seen.WriteString(dump.String())
	if !strings.Contains(seen.String(), "session.begin") || !strings.Contains(seen.String(), "leastwise_http_requests_total") {
		t.Fatal("what was looked through is not what it should be")
	}
	for i, s := range secrets {
		if s == "" || strings.Contains(seen.String(), s) {
			t.Errorf("secret %d is empty or seen", i)
		}
	}
}

// A key makes one request of two, and tells them apart.
func TestIdempotencyKeys(t *testing.T) {
	w := newWorld(t)
	ben := w.as("ben")
	ben.header = http.Header{headerKey: {"job-1"}}
	body := api.GrantRequest{Policy: "quick", Reason: "x", For: "1m"}
	var first, second api.Grant
	ben.do("POST", "/v1/grants", body).into(t, &first)
	ben.do("POST", "/v1/grants", body).into(t, &second)
	if first.ID == "" || first.ID != second.ID {
		t.Errorf("%s and %s", first.ID, second.ID)
	}
	body.Reason = "another"
	if a := ben.do("POST", "/v1/grants", body); a.code() != api.CodeKeyReused {
		t.Errorf("another request: %d %s", a.Code, a.Body)
	}
	carl := w.as("carl")
	carl.header = ben.header
	var third api.Grant
	carl.do("POST", "/v1/grants", body).into(t, &third)
	if third.ID == "" || third.ID == first.ID {
		t.Errorf("carl's: %q", third.ID)
	}
	// Commands: the result is kept, refusals that may pass are not.
	ben.header = http.Header{headerKey: {"end-1"}}
	path := "/v1/grants/" + first.ID + "/give-back"
	a := ben.do("POST", path, api.Note{Reason: "done"})
	b := ben.do("POST", path, api.Note{Reason: "done"})
	if a.Code != 200 || b.Code != 200 || b.Header().Get(headerReplayed) != "true" || a.Body.String() != b.Body.String() {
		t.Errorf("%d %s\n%d %s", a.Code, a.Body, b.Code, b.Body)
	}
	if a := ben.do("POST", path, api.Note{Reason: "other"}); a.code() != api.CodeKeyReused {
		t.Errorf("another body: %d %s", a.Code, a.Body)
	}
	ben.header = nil
	if a := ben.do("POST", path, api.Note{}); a.code() != api.CodeConflict {
		t.Errorf("without a key it is a new request: %d %s", a.Code, a.Body)
	}
	ben.header = http.Header{headerKey: {"half"}}
	r := store.Reply{Account: w.find("ben").GUID, Key: "half", At: w.now()}
	r.Request = fingerprint(httptest.NewRequest(http.MethodPost, path, nil), []byte(`{"reason":"z"}`))
	if _, _, err := w.db.BeginReply(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if a := ben.do("POST", path, `{"reason":"z"}`); a.code() != api.CodeKeyUnfinished {
		t.Errorf("while it runs: %d %s", a.Code, a.Body)
	}
	w.pass(2 * callTimeout)
	if a := ben.do("POST", path, `{"reason":"z"}`); a.code() != api.CodeUnknown {
		t.Errorf("after it died: %d %s", a.Code, a.Body)
	}
	ben.header = http.Header{headerKey: {"not a key!"}}
	if a := ben.do("POST", path, api.Note{}); a.code() != api.CodeInvalid {
		t.Errorf("no key: %d %s", a.Code, a.Body)
	}
}

// Lists go on where they stopped, show each grant once, and take no foreign cursor.
func TestPages(t *testing.T) {
	w := newWorld(t)
	ben := w.as("ben")
	want := map[string]bool{}
	for range 7 {
		want[ben.request("guarded").ID] = true
		w.pass(1e9)
	}
	w.as("carl").request("guarded") // ben does not see it
	got, next := map[string]bool{}, ""
	for pages := 0; ; pages++ {
		var page api.Grants
		ben.do("GET", "/v1/grants?limit=3&cursor="+next, nil).into(t, &page)
		for _, g := range page.Items {
			if got[g.ID] || !want[g.ID] {
				t.Errorf("grant %s of %s", g.ID, g.Holder.Name)
			}
			got[g.ID] = true
		}
		if next = page.Next; next == "" {
			break
		}
		if pages > 5 {
			t.Fatal("the pages do not end")
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d grants, want %d", len(got), len(want))
	}
	ulla := w.as("ulla")
	var entries api.AuditEntries
	seen, last := 0, int64(1<<62)
	for next = ""; ; {
		ulla.do("GET", "/v1/audit/entries?limit=5&cursor="+next, nil).into(t, &entries)
		for _, e := range entries.Items {
			if e.Index >= last {
				t.Errorf("entry %d after %d", e.Index, last)
			}
			last = e.Index
			seen++
		}
		if next = entries.Next; next == "" {
			break
		}
		entries = api.AuditEntries{}
	}
	if last != 0 || seen < 10 {
		t.Errorf("%d entries down to %d", seen, last)
	}
	c := api.Cursor{List: "audit", After: "3"}.String()
	if a := ben.do("GET", "/v1/grants?cursor="+c, nil); a.code() != api.CodeInvalid {
		t.Errorf("a cursor of another list: %d %s", a.Code, a.Body)
	}
}

// The cookie is out of reach of scripts, other sites and other hosts, and every answer
// has the headers that keep browsers from mischief.
func TestHeaders(t *testing.T) {
	w := newWorld(t)
	a := w.nobody().do("POST", "/v1/session/password", api.PasswordSignIn{Name: "ben", Password: password})
	k := a.Result().Cookies()[0]
	if k.Name != api.CookieName || !k.HttpOnly || !k.Secure || k.SameSite != http.SameSiteStrictMode || k.Path != "/" || k.Domain != "" {
		t.Errorf("%+v", k)
	}
	if strings.Contains(a.Body.String(), k.Value) {
		t.Error("the secret is in the body")
	}
	for _, path := range []string{"/", "/v1/grants", "/nowhere", "/healthz", "/openapi.json"} {
		h := w.nobody().do("GET", path, nil).Header()
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"} {
			if h.Get(name) != want {
				t.Errorf("%s: %s: %q", path, name, h.Get(name))
			}
		}
		if !strings.HasPrefix(h.Get("Content-Security-Policy"), "default-src 'none'") || len(h.Get("X-Request-Id")) < 20 {
			t.Errorf("%s: %v", path, h)
		}
	}
	if a := w.nobody().do("GET", "/nowhere", nil); a.code() != api.CodeNotFound {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	if a := w.nobody().do("DELETE", "/v1/grants", nil); a.code() != api.CodeMethod || !strings.Contains(a.Header().Get("Allow"), "POST") {
		t.Errorf("%d %s %v", a.Code, a.Body, a.Header())
	}
}

// Metrics are for this machine, and a proxy on it does not make others of it.
func TestMetricsAreLocal(t *testing.T) {
	w := newWorld(t)
	for from, want := range map[string]int{"127.0.0.1:9": 200, "[::1]:9": 200, "192.0.2.1:9": 401} {
		for _, proxied := range []bool{false, true} {
			r := httptest.NewRequest(http.MethodGet, "https://leastwise.test/metrics", nil)
			r.RemoteAddr, r.TLS = from, &tls.ConnectionState{}
			want := want
			if proxied {
				r.Header.Set("X-Forwarded-For", "192.0.2.1")
				want = 401
			}
			rec := httptest.NewRecorder()
			w.h.ServeHTTP(rec, r)
			if rec.Code != want {
				t.Errorf("from %s, proxied %v: %d", from, proxied, rec.Code)
			}
		}
	}
}

// While the directory is away nothing is allowed that it would have to allow, and the
// answer says so.
func TestDirectoryAway(t *testing.T) {
	w := newWorld(t)
	ben := w.as("ben")
	g := ben.request("guarded")
	w.pass(31e9)
	w.mu.Lock()
	w.dir.Away = true
	w.mu.Unlock()
	for _, path := range []string{"/v1/grants/" + g.ID, "/v1/grants", "/v1/policies"} {
		if a := ben.do("GET", path, nil); a.code() != api.CodeDirectory {
			t.Errorf("%s: %d %s", path, a.Code, a.Body)
		}
	}
	if a := ben.do("POST", "/v1/grants", api.GrantRequest{Policy: "quick", Reason: "x"}); a.code() != api.CodeDirectory {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	a := w.nobody().do("GET", "/readyz", nil)
	var h api.Health
	if err := json.Unmarshal(a.Body.Bytes(), &h); err != nil || a.Code != 503 || h.Checks["directory"] != "away" || h.Checks["database"] != "ok" {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	if a := w.nobody().do("GET", "/healthz", nil); a.Code != 200 {
		t.Errorf("it lives: %d", a.Code)
	}
}
