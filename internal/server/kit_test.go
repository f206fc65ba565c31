package server

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/api"
	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/grant/granttest"
	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/store/storetest"
	"github.com/pquerna/otp/totp"
)

// A world is a server over a database of its own and a simulated directory.
type world struct {
	t    *testing.T
	mu   sync.Mutex
	dir  *granttest.World
	srv  *Server
	h    http.Handler
	db   *store.Store
	log  *lockedBuffer
	ops  *operator.Service
	step map[string]time.Duration // of the last code of each person
	otp  map[string]string        // secrets of authenticator apps

	at    string         // address of the server that live has started
	roots *x509.CertPool // and whom it is known by

	blind func([]grant.Ref) error     // why the directory does not say who is among them; nil: it does
	bind  func(context.Context) error // before an account is looked for; nil: nothing
}

// lockedBuffer takes what the server logs.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// own are policies of operators for groups of the simulated directory.
const own = `
@id("auditors")
permit (principal in Group::"CONTOSO\\Auditors", action in [Action::"audit.read", Action::"assess.read"], resource);
`

// password is everybody's.
const password = "correct horse battery staple"

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: granttest.NewWorld(), db: storetest.SQLite(t).Open(t), log: &lockedBuffer{}, otp: map[string]string{}, step: map[string]time.Duration{}}
	w.person("ulla", `CONTOSO\Auditors`)
	w.person("root")
	w.person("stranger")
	w.dir.Life = grant.Tickets{Known: true, Ticket: 10 * time.Hour, Renewal: 7 * 24 * time.Hour, Service: 10 * time.Hour}
	pol, err := operator.ParsePolicies("own.cedar", []byte(operator.DefaultPolicies()+own))
	w.ok(err)
	text, err := operator.GenerateKeys()
	w.ok(err)
	keys, err := operator.ReadKeys(text)
	w.ok(err)
	w.ops, err = operator.New(operator.Options{
		Store: w.db.Operators(), Membership: members{w}, Policies: pol, Keys: keys, Authenticator: authenticator{w},
	})
	w.ok(err)
	_, err = w.ops.Init(t.Context(), operator.Local("installer", "first", w.now()), `CONTOSO\root`)
	w.ok(err)
	secret, _, err := audit.GenerateKey(strings.NewReader(strings.Repeat("k", 4096)), "log.test")
	w.ok(err)
	signer, err := audit.NewSigner(secret)
	w.ok(err)
	w.srv = New(Config{
		Version: "test", Store: w.db, Grants: &runner{w, grant.New(w.db.Grants(), directory{w}, granttest.Policies())}, Directory: directory{w},
		Operators: w.ops, Now: w.now, Log: slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Signer: signer,
		Power: func(context.Context, secdesc.SID) (Power, error) {
			return Power{Taken: w.now().Add(-time.Hour), Known: true, Extent: json.RawMessage(`{"version":1}`)}, nil
		},
		Changes: func(context.Context, time.Time, time.Time) (Changes, error) {
			return Changes{Server: "dc1", Items: []api.Change{{Object: "CN=x", Attribute: "member"}}}, nil
		},
	})
	w.h = w.srv.Handler()
	return w
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// person adds an account to the directory.
func (w *world) person(name string, groups ...grant.Ref) secdesc.GUID {
	g := w.dir.NewObject(name, false)
	for _, r := range groups {
		w.dir.Groups[r] = append(w.dir.Groups[r], g)
	}
	return g
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dir.Clock()
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dir.Pass(d)
}

// find returns an account by its bare name.
func (w *world) find(name string) grant.Object {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.dir.Objects {
		if strings.EqualFold(o.Name, `CONTOSO\`+name) || strings.EqualFold(o.Name, name) {
			return o
		}
	}
	return grant.Object{}
}

// directory is the world's, for several goroutines.
type directory struct{ w *world }

func (d directory) with(f func(*granttest.World)) {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	f(d.w.dir)
}

func (d directory) Time(ctx context.Context) (t time.Time, err error) {
	d.with(func(w *granttest.World) { t, err = w.Time(ctx) })
	return t, err
}

// Find knows accounts by name, as the real one does; the simulation does not.
func (d directory) Find(ctx context.Context, ref grant.Ref) (o grant.Object, err error) {
	d.with(func(w *granttest.World) { o, err = w.Find(ctx, ref) })
	if err == nil && !o.Exists {
		o = d.w.find(string(ref))
	}
	return o, err
}

func (d directory) Object(ctx context.Context, g secdesc.GUID) (o grant.Object, err error) {
	d.with(func(w *granttest.World) { o, err = w.Object(ctx, g) })
	return o, err
}

func (d directory) Within(ctx context.Context, g secdesc.GUID, refs []grant.Ref) (is bool, err error) {
	d.with(func(w *granttest.World) {
		if d.w.blind != nil {
			if err = d.w.blind(refs); err != nil {
				return
			}
		}
		is, err = w.Within(ctx, g, refs)
	})
	return is, err
}

func (d directory) Links(ctx context.Context, g secdesc.GUID, m []secdesc.GUID) (l grant.Links, err error) {
	d.with(func(w *granttest.World) { l, err = w.Links(ctx, g, m) })
	return l, err
}

func (d directory) Home(g secdesc.GUID) (s string) {
	d.with(func(w *granttest.World) { s = w.Home(g) })
	return s
}

func (d directory) Memberships(ctx context.Context, keys []grant.Key) (l map[secdesc.GUID]grant.Links, err error) {
	d.with(func(w *granttest.World) { l, err = w.Memberships(ctx, keys) })
	return l, err
}

func (d directory) Tickets(ctx context.Context, g secdesc.GUID) (t grant.Tickets, err error) {
	d.with(func(w *granttest.World) { t, err = w.Tickets(ctx, g) })
	return t, err
}

func (d directory) Add(ctx context.Context, x grant.Write) (r grant.Result) {
	d.with(func(w *granttest.World) { r = w.Add(ctx, x) })
	return r
}

func (d directory) Remove(ctx context.Context, list []grant.Write) (r []grant.Result) {
	d.with(func(w *granttest.World) { r = w.Remove(ctx, list) })
	return r
}

// runner works on grants at once, as the program does.
type runner struct {
	w *world
	*grant.Service
}

func (r *runner) instant() grant.Instant {
	now := r.w.now()
	return grant.Instant{Wall: now, Mono: now.Sub(granttest.Origin)}
}

func (r *runner) Request(ctx context.Context, c grant.Caller, o grant.Order) (grant.Grant, error) {
	return r.on(ctx)(r.Service.Request(ctx, c, o, r.instant()))
}

func (r *runner) Do(ctx context.Context, c grant.Caller, id grant.ID, cmd grant.Command) (grant.Grant, error) {
	return r.on(ctx)(r.Service.Do(ctx, c, id, cmd, r.instant()))
}

func (r *runner) on(ctx context.Context) func(grant.Grant, error) (grant.Grant, error) {
	return func(g grant.Grant, err error) (grant.Grant, error) {
		if err != nil || !slices.Contains([]grant.State{grant.Approved, grant.Activating, grant.Ending}, g.State) {
			return g, err
		}
		return r.Advance(ctx, g.ID, r.instant())
	}
}

// members answers questions of package operator from the same simulation.
type members struct{ w *world }

func (m members) Account(ctx context.Context, ref operator.AccountRef) (operator.Account, error) {
	if m.w.bind != nil && strings.HasPrefix(ref.Name, "nobody") {
		if err := m.w.bind(ctx); err != nil {
			return operator.Account{}, err
		}
	}
	m.w.mu.Lock()
	away := m.w.dir.Away
	m.w.mu.Unlock()
	if away {
		return operator.Account{}, grant.ErrUnreachable
	}
	var o grant.Object
	switch {
	case ref.Name != "":
		o = m.w.find(ref.Name)
	default:
		m.w.mu.Lock()
		for _, x := range m.w.dir.Objects {
			if x.GUID == ref.GUID && !ref.GUID.IsZero() || x.SID.String() == ref.SID.String() && !ref.SID.IsZero() {
				o = x
			}
		}
		m.w.mu.Unlock()
	}
	if !o.Exists || o.Group {
		return operator.Account{}, nil
	}
	return operator.Account{GUID: o.GUID, SID: o.SID, Name: o.Name, Kind: operator.User, Exists: true, Disabled: o.Disabled}, nil
}

func (m members) Standing(ctx context.Context, g secdesc.GUID, groups []string) (operator.Standing, error) {
	a, err := m.Account(ctx, operator.AccountRef{GUID: g})
	st := operator.Standing{Account: a}
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	for _, n := range groups {
		if slices.Contains(m.w.dir.Groups[grant.Ref(n)], g) {
			st.In = append(st.In, n)
		}
	}
	return st, err
}

// authenticator knows one password, and tickets that are the name of an account.
type authenticator struct{ w *world }

func (a authenticator) Kerberos(_ context.Context, token, _ []byte) (operator.Ticket, error) {
	o := a.w.find(string(token))
	if !o.Exists {
		return operator.Ticket{}, operator.ErrSignIn
	}
	return operator.Ticket{SID: o.SID, Name: o.Name, Reply: []byte("reply"), Once: [32]byte([]byte(a.w.now().String() + strings.Repeat(".", 32))), Until: a.w.now().Add(time.Hour)}, nil
}

func (a authenticator) Password(_ context.Context, _ operator.Account, p operator.Secret) error {
	if p.Reveal() != password {
		return operator.ErrSignIn
	}
	return nil
}

// A client is somebody who calls the server.
type client struct {
	w      *world
	name   string
	secret string
	header http.Header // sent with every request
	from   string      // address and port; empty: always the same
	since  time.Time
}

// An answer is what the server said.
type answer struct {
	*httptest.ResponseRecorder
}

func (a answer) code() api.Code {
	var p api.Problem
	if json.Unmarshal(a.Body.Bytes(), &p) != nil || p.Type == "" {
		return ""
	}
	return p.Code()
}

func (a answer) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(a.Body.Bytes(), v); err != nil {
		t.Fatalf("%d %s: %v", a.Code, a.Body, err)
	}
}

// do sends a request as a browser's session would; body nil sends none.
func (c *client) do(method, path string, body any) answer {
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(b)
	default:
		data, err := json.Marshal(b)
		c.w.ok(err)
		r = bytes.NewReader(data)
	}
	req := httptest.NewRequestWithContext(c.w.t.Context(), method, "https://leastwise.test"+path, r)
	req.RemoteAddr = cmp.Or(c.from, "203.0.113.7:1234")
	req.TLS = &tls.ConnectionState{}
	if r != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.secret != "" {
		req.AddCookie(&http.Cookie{Name: api.CookieName, Value: c.secret})
	}
	for k, v := range c.header {
		req.Header[k] = v
	}
	rec := httptest.NewRecorder()
	c.w.h.ServeHTTP(rec, req)
	for _, k := range rec.Result().Cookies() {
		c.secret = k.Value
	}
	return answer{rec}
}

// nobody is somebody who is not signed in.
func (w *world) nobody() *client { return &client{w: w, name: "nobody", since: w.now()} }

// as signs somebody in.
func (w *world) as(name string) *client {
	w.t.Helper()
	c := &client{w: w, name: name, since: w.now()}
	if a := c.do("POST", "/v1/session/password", api.PasswordSignIn{Name: name, Password: password}); a.Code != http.StatusCreated {
		w.t.Fatalf("signing %s in: %d %s", name, a.Code, a.Body)
	}
	return c
}

// strong signs somebody in who has shown a second factor just now.
func (w *world) strong(name string) *client {
	w.t.Helper()
	c := w.as(name)
	if w.otp[name] == "" {
		var e struct {
			Factor operator.Factor `json:"factor"`
			Secret string          `json:"secret"`
		}
		a := c.do("POST", "/v1/factors/totp", map[string]string{"label": "phone"})
		a.into(w.t, &e)
		if a = c.do("POST", "/v1/factors/totp/"+e.Factor.ID+"/confirm", api.CodeAnswer{Code: w.code(e.Secret)}); a.Code != http.StatusOK {
			w.t.Fatalf("enrolling: %d %s", a.Code, a.Body)
		}
		w.otp[name] = e.Secret
		w.pass(31 * time.Second)
	}
	c.stepUp()
	return c
}

func (w *world) code(secret string) string {
	code, err := totp.GenerateCode(secret, w.now())
	w.ok(err)
	return code
}

// stepUp shows the second factor; the next code is half a minute later.
func (c *client) stepUp() {
	c.w.t.Helper()
	if a := c.do("POST", "/v1/session/step-up/totp", api.CodeAnswer{Code: c.w.code(c.w.otp[c.name])}); a.Code != http.StatusOK {
		c.w.t.Fatalf("stepping %s up: %d %s", c.name, a.Code, a.Body)
	}
	c.w.pass(31 * time.Second)
}

// request asks for a grant and returns it.
func (c *client) request(policy string) api.Grant {
	c.w.t.Helper()
	a := c.do("POST", "/v1/grants", api.GrantRequest{Policy: policy, Reason: "a test"})
	if a.Code != http.StatusCreated {
		c.w.t.Fatalf("requesting: %d %s", a.Code, a.Body)
	}
	var g api.Grant
	a.into(c.w.t, &g)
	return g
}
