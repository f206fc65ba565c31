//go:build linux

// The lab runs on Linux only.

package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/api"
	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/store"
)

// A site is a folder from which a server of a test is started, again and again.
type site struct {
	x      *scene
	dir    string
	user   string
	cfg    *Config
	reload chan struct{}
}

// A running server.
type running struct {
	s    *site
	stop context.CancelFunc
	done chan error
	c    *api.Client
}

func newSite(t *testing.T) *site {
	t.Helper()
	x := newScene(t, operator.DefaultPolicies())
	s := &site{x: x, dir: t.TempDir(), user: x.user("u"), cfg: NewConfig(), reload: make(chan struct{}, 1)}
	x.group("staff")
	x.group("power")
	x.member(s.user, x.name("staff"))
	s.policies("1h")
	for name, value := range map[string]string{
		"domain": x.Domain, "dns": x.DNS, "ca": x.CAFile, "user": x.Reader.Name, "password-file": x.Reader.PasswordFile, "listen": "127.0.0.1:0", "names": "127.0.0.1",
		"database": s.file("lw.db"), "audit-key": s.file("audit.key"), "operator-keys": s.file("operator.keys"), "tls-folder": s.file("tls"), "grant-policies": s.file("grants.yaml"),
	} {
		if err := s.cfg.Set(name, value, "test"); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *site) file(name string) string { return filepath.Join(s.dir, name) }

func (s *site) policies(longest string) {
	s.x.t.Helper()
	text := fmt.Sprintf("grants: 1\npolicies:\n  - name: power\n    title: Power\n    group: '%[1]s\\%[2]s'\n    requesters: ['%[1]s\\%[3]s']\n    duration: {longest: %[4]s}\n    approval: {needed: 1, from: ['%[1]s\\%[3]s']}\n",
		s.x.NetBIOS, s.x.name("power"), s.x.name("staff"), longest)
	if err := os.WriteFile(s.file("grants.yaml"), []byte(text), 0o600); err != nil {
		s.x.t.Fatal(err)
	}
}

// start starts a server and waits until it answers.
func (s *site) start() *running {
	t := s.x.t
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r := &running{s: s, stop: stop, done: make(chan error, 1)}
	started := make(chan string, 1)
	go func() {
		r.done <- Serve(ctx, s.cfg, Caller{Now: time.Now}, ServeOptions{
			Version: "test", Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Reload: s.reload, Started: func(address string) { started <- address },
		})
	}()
	select {
	case address := <-started:
		pem, err := os.ReadFile(s.file("tls/ca.pem"))
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
		t.Cleanup(tr.CloseIdleConnections)
		if r.c, err = api.NewClient("https://"+address, tr); err != nil {
			t.Fatal(err)
		}
	case err := <-r.done:
		t.Fatalf("it ended at once: %v", err)
	case <-time.After(time.Minute):
		t.Fatal("it does not start")
	}
	return r
}

// end ends it, which must be without an error and soon.
func (r *running) end() {
	t := r.s.x.t
	t.Helper()
	r.stop()
	select {
	case err := <-r.done:
		if err != nil {
			t.Errorf("the end: %v", err)
		}
	case <-time.After(closeTime):
		t.Fatal("it does not end")
	}
}

func (r *running) do(method, path string, in, out any) {
	r.s.x.t.Helper()
	if err := r.c.Do(r.s.x.t.Context(), api.Call{Method: method, Path: path, In: in, Out: out}); err != nil {
		r.s.x.t.Fatalf("%s %s: %v", method, path, err)
	}
}

// ready waits until the server can do its work.
func (r *running) ready() {
	t := r.s.x.t
	t.Helper()
	for range 300 {
		var h api.Health
		if err := r.c.Do(t.Context(), api.Call{Method: http.MethodGet, Path: "/readyz", Out: &h}); err == nil && h.Status == "ok" && len(h.Checks) == 3 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("it does not become ready")
}

func (s *site) log() (list []audit.Entry) {
	s.x.t.Helper()
	list, err := ShowLog(s.x.t.Context(), s.cfg, store.AuditFilter{Action: "server"})
	if err != nil {
		s.x.t.Fatal(err)
	}
	return list
}

// A server starts from an empty folder, becomes ready, takes its policies again when it is
// told to, lets a stream and a request come to their end, and starts a second time with
// what it had: keys, authority, grants. Two of them do not share a folder.
func TestServeStartsEndsAndStartsAgain(t *testing.T) {
	s := newSite(t)
	r := s.start()
	r.ready()
	authority, err := os.ReadFile(s.file("tls/ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if err := Serve(t.Context(), s.cfg, Caller{Now: time.Now}, ServeOptions{Version: "second", Log: slog.New(slog.DiscardHandler)}); !errors.Is(err, store.ErrInUse) {
		t.Errorf("a second server in the same folder: %v", err)
	}
	r.do("POST", "/v1/session/password", api.PasswordSignIn{Name: s.user, Password: scenePassword}, nil)
	var g api.Grant
	r.do("POST", "/v1/grants", api.GrantRequest{Policy: "power", For: "10m"}, &g)
	if g.State != "requested" {
		t.Errorf("it is %s", g.State)
	}

	s.policies("2h")
	s.reload <- struct{}{}
	var list api.Policies
	for range 100 {
		r.do("GET", "/v1/policies", nil, &list)
		if len(list.Items) == 1 && list.Items[0].Longest == "2h" {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if list.Items[0].Longest != "2h" {
		t.Errorf("the policies were not read again: %+v", list)
	}
	if err := os.WriteFile(s.file("grants.yaml"), []byte("grants: 1\nnonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.reload <- struct{}{} // what cannot be used changes nothing

	events := make(chan api.Event, 10)
	followed := make(chan error, 1)
	go func() {
		followed <- r.c.Follow(context.WithoutCancel(t.Context()), "0", g.ID, func(e api.Event) error { events <- e; return nil })
	}()
	if e := <-events; e.Action != "grant.request" {
		t.Errorf("%+v", e)
	}
	r.end()
	if err := <-followed; !errors.Is(err, io.EOF) {
		t.Errorf("the stream ended with %v", err)
	}
	s.checkFirst()

	s.policies("2h")
	r = s.start()
	r.ready()
	if now, err := os.ReadFile(s.file("tls/ca.pem")); err != nil || string(now) != string(authority) {
		t.Errorf("it has another authority (%v)", err)
	}
	r.do("POST", "/v1/session/password", api.PasswordSignIn{Name: s.user, Password: scenePassword}, nil)
	var again api.Grant
	r.do("GET", "/v1/grants/"+g.ID, nil, &again)
	if again.State != "requested" || again.Generation != g.Generation {
		t.Errorf("the grant is %s", again.State)
	}
	r.end()
	if newest := s.log(); newest[len(newest)-1].Action != "server.stop" || !strings.Contains(fmt.Sprint(newest), "in force, as before") {
		t.Errorf("the log of the second time: %v", newest)
	}
}

// checkFirst looks at what the first run left.
func (s *site) checkFirst() {
	t := s.x.t
	t.Helper()
	var actions []string
	texts := 0
	for _, e := range s.log() {
		actions = append(actions, e.Action+" "+e.Record)
		if e.Record == grantPolicies && e.Digest != [32]byte{} && strings.Contains(e.Reason, "longest: ") {
			texts++
		}
	}
	want := "server.start ,server.policies policies/operators,server.policies policies/grants,server.policies policies/grants,server.policies policies/operators,server.stop "
	// The policies of operators are longer than one entry.
	var folded []string
	for i, a := range actions {
		if i == 0 || a != actions[i-1] || a == "server.policies "+grantPolicies {
			folded = append(folded, a)
		}
	}
	if got := strings.Join(folded, ","); got != want || texts != 2 {
		t.Errorf("the log says\n%s, want\n%s; %d texts of policies, want 2", got, want, texts)
	}
	rep, err := VerifyLog(t.Context(), s.cfg, nil, nil)
	if err != nil || !rep.Sound() || rep.Covered == 0 {
		t.Errorf("the log: %+v, %v", rep, err)
	}
}
