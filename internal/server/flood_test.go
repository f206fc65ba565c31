package server

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/api"
	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/store"
)

// entries returns what the audit log has under an action.
func (w *world) entries(action string) (list []audit.Entry) {
	w.t.Helper()
	w.ok(w.db.View(w.t.Context(), func(ctx context.Context, tx *store.Tx) (err error) {
		list, err = tx.AuditEntries(ctx, store.AuditFilter{Action: action})
		return err
	}))
	return list
}

// Whoever is signed in and asks for what he may not have fills the log with a bounded
// number of entries, whatever he asks for, and the rest is counted there.
func TestRefusalsCannotFillTheLog(t *testing.T) {
	w := newWorld(t)
	g := w.as("ben").request("guarded")
	carl, ulla := w.as("carl"), w.as("ulla")
	head := func() int64 {
		n, err := w.srv.head(t.Context())
		w.ok(err)
		return n
	}
	before := head()
	const tries = 150
	for range tries {
		for path, body := range map[string]any{
			"/v1/grants/" + g.ID + "/give-back": api.Note{}, "/v1/audit/verify": map[string]string{}, "/v1/session/step-up/totp": api.CodeAnswer{Code: "000000"},
		} {
			if a := carl.do("POST", path, body); a.Code < 400 {
				t.Fatalf("%s: %d %s", path, a.Code, a.Body)
			}
		}
		if a := ulla.do("POST", "/v1/grants", api.GrantRequest{Policy: "nothing", Reason: "x"}); a.Code != http.StatusNotFound && a.Code != http.StatusForbidden {
			t.Fatalf("%d %s", a.Code, a.Body)
		}
	}
	if n := head() - before; n > 300 {
		t.Errorf("%d requests made %d entries", 4*tries, n)
	}
	w.ok(w.ops.Sweep(t.Context(), w.now()))
	counted := w.entries("operator.refusals")
	if len(counted) == 0 || !strings.HasPrefix(counted[0].Actor.Name, `CONTOSO\`) {
		t.Errorf("nothing says how many were not logged: %v", counted)
	}
}

// An account keeps a bounded number of results for its keys; others are not concerned.
func TestKeysOfOneAccountAreBounded(t *testing.T) {
	w := newWorld(t)
	ben := w.as("ben")
	account := w.find("ben").GUID
	for i := range store.MaxReplies {
		if _, _, err := w.db.BeginReply(t.Context(), store.Reply{Account: account, Key: fmt.Sprint("k", i), At: w.now()}); err != nil {
			t.Fatal(err)
		}
	}
	g := ben.request("quick")
	ben.header = http.Header{headerKey: {"one-more"}}
	if a := ben.do("POST", "/v1/grants/"+g.ID+"/give-back", api.Note{}); a.code() != api.CodeTooMany {
		t.Errorf("one more: %d %s", a.Code, a.Body)
	}
	carl := w.as("carl")
	h := carl.request("quick")
	carl.header = ben.header
	if a := carl.do("POST", "/v1/grants/"+h.ID+"/give-back", api.Note{}); a.Code != http.StatusOK {
		t.Errorf("somebody else: %d %s", a.Code, a.Body)
	}
	ben.header = nil
	if a := ben.do("POST", "/v1/grants/"+g.ID+"/give-back", api.Note{}); a.Code != http.StatusOK {
		t.Errorf("without a key: %d %s", a.Code, a.Body)
	}
}

// However many sign-ins wait for their bodies or the directory, whoever is signed in works
// on, also from their address, and the pages are there.
func TestSignInsKeepNobodyOut(t *testing.T) {
	w := newWorld(t)
	for _, g := range []*gate{w.srv.door, w.srv.signs, w.srv.pages} {
		g.wait = 10 * time.Millisecond
	}
	ben := w.as("ben")
	w.srv.door.places, w.srv.door.share = signPlaces, signShare
	held, end := make(chan bool), make(chan bool)
	w.bind = func(context.Context) error {
		held <- true
		<-end
		return operator.ErrUnavailable
	}
	var done sync.WaitGroup
	for i := range signPlaces {
		done.Go(func() {
			c := w.nobody()
			c.from = fmt.Sprintf("203.0.113.%d:99", 7+i/signShare)
			c.do("POST", "/v1/session/password", api.PasswordSignIn{Name: fmt.Sprint("nobody", i), Password: password})
		})
	}
	for range signPlaces {
		<-held
	}
	if a := ben.do("POST", "/v1/session/password", api.PasswordSignIn{Name: "ben", Password: password}); a.Code != http.StatusServiceUnavailable {
		t.Errorf("one more sign-in: %d %s", a.Code, a.Body)
	}
	g := ben.request("quick")
	if a := ben.do("POST", "/v1/grants/"+g.ID+"/give-back", api.Note{}); a.Code != http.StatusOK {
		t.Errorf("from the same address: %d %s", a.Code, a.Body)
	}
	for _, path := range []string{"/readyz", "/openapi.json"} {
		if a := w.nobody().do("GET", path, nil); a.Code != http.StatusOK {
			t.Errorf("%s: %d %s", path, a.Code, a.Body)
		}
	}
	close(end)
	done.Wait()
	if n := w.srv.signs.inside; n != 0 {
		t.Errorf("%d sign-ins have not left", n)
	}
}

// Whoever looks for many sessions at once, from one address, leaves everybody else a place.
func TestDoorIsShared(t *testing.T) {
	w := newWorld(t)
	w.srv.door.wait = 10 * time.Millisecond
	ben := w.as("ben")
	ctx := t.Context()
	var leave []func()
	for range doorShare {
		l, ok := w.srv.door.enter(ctx, "203.0.113.7")
		if !ok {
			t.Fatal("there is place")
		}
		leave = append(leave, l)
	}
	if a := ben.do("GET", "/v1/session", nil); a.Code != http.StatusServiceUnavailable || a.Header().Get("Retry-After") != "1" {
		t.Errorf("from the same address: %d %s", a.Code, a.Body)
	}
	ben.from = "198.51.100.1:99"
	if a := ben.do("GET", "/v1/session", nil); a.Code != http.StatusOK {
		t.Errorf("from another: %d %s", a.Code, a.Body)
	}
	for _, l := range leave {
		l()
	}
	if a := ben.do("GET", "/v1/events?grant=!", nil); a.code() != api.CodeInvalid {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	if w.srv.door.inside != 0 || w.srv.desk.inside != 0 {
		t.Errorf("%d stand in the door, %d at the desk", w.srv.door.inside, w.srv.desk.inside)
	}
}

// The whole log is read by few at once, and by each account once.
func TestWholeLogOneAtATime(t *testing.T) {
	w := newWorld(t)
	ulla := w.as("ulla")
	leave, ok := w.srv.logs.enter(t.Context(), w.find("ulla").GUID.String())
	if !ok {
		t.Fatal("nobody reads it")
	}
	for _, a := range []answer{ulla.do("GET", "/v1/audit/export", nil), ulla.do("POST", "/v1/audit/verify", map[string]string{})} {
		if a.code() != api.CodeTooMany || a.Header().Get("Retry-After") == "" {
			t.Errorf("%d %s", a.Code, a.Body)
		}
	}
	leave()
	if a := ulla.do("GET", "/v1/audit/export", nil); a.Code != http.StatusOK || w.srv.logs.inside != 0 {
		t.Errorf("%d %s", a.Code, a.Body)
	}
}

// What the log says of a command names how its caller was authenticated: second factor,
// session and address beside the method.
func TestEntriesSayHow(t *testing.T) {
	w := newWorld(t)
	g := w.as("ben").request("guarded")
	dora := w.strong("dora")
	if a := dora.do("POST", "/v1/grants/"+g.ID+"/approve", api.Note{Reason: "agreed"}); a.Code != http.StatusOK {
		t.Fatalf("%d %s", a.Code, a.Body)
	}
	var own api.Session
	dora.do("GET", "/v1/session", nil).into(t, &own)
	list := w.entries("grant." + string(grant.Approve))
	if len(list) != 1 {
		t.Fatalf("%d entries", len(list))
	}
	if a := list[0].Actor; a.Method != audit.Password || a.Factor != audit.TOTP || a.Session != own.ID || a.From != "203.0.113.7" {
		t.Errorf("%+v", a)
	}
	if a := w.entries("grant." + string(grant.Request))[0].Actor; a.Factor != "" || a.Session == "" || a.From != "203.0.113.7" {
		t.Errorf("%+v", a)
	}
}

// A sign-in by Kerberos ends the session of the cookie that the browser sends along.
func TestKerberosEndsTheOldSession(t *testing.T) {
	w := newWorld(t)
	ben := w.as("ben")
	planted := ben.secret
	ben.header = http.Header{"Authorization": {"Negotiate YmVu"}} // "ben"
	if a := ben.do("POST", "/v1/session/kerberos", nil); a.Code != http.StatusCreated || ben.secret == planted {
		t.Fatalf("%d %s", a.Code, a.Body)
	}
	if a := (&client{w: w, secret: planted}).do("GET", "/v1/session", nil); a.Code != http.StatusUnauthorized {
		t.Errorf("the old session lives: %d", a.Code)
	}
	ben.header = nil
	if a := ben.do("GET", "/v1/session", nil); a.Code != http.StatusOK {
		t.Errorf("the new one does not: %d", a.Code)
	}
}

// A kept answer is only for who may still do what it answers, and only what was done is
// kept.
func TestReplayAsksAgain(t *testing.T) {
	w := newWorld(t)
	g := w.as("ben").request("guarded")
	dora := w.strong("dora")
	path := "/v1/grants/" + g.ID + "/"
	dora.header = http.Header{headerKey: {"first"}}
	if a := dora.do("POST", path+"leave", api.Note{}); a.Code != http.StatusForbidden && a.Code != http.StatusConflict {
		t.Fatalf("leaving what she does not observe: %d %s", a.Code, a.Body)
	}
	dora.header = http.Header{headerKey: {"second"}}
	if a := dora.do("POST", path+"observe", api.Note{}); a.Code != http.StatusOK {
		t.Fatalf("%d %s", a.Code, a.Body)
	}
	dora.header = http.Header{headerKey: {"first"}}
	if a := dora.do("POST", path+"leave", api.Note{}); a.Code != http.StatusOK || a.Header().Get(headerReplayed) != "" {
		t.Errorf("a refusal was kept: %d %s", a.Code, a.Body)
	}
	if a := dora.do("POST", path+"leave", api.Note{}); a.Code != http.StatusOK || a.Header().Get(headerReplayed) != "true" {
		t.Errorf("the same again: %d %s", a.Code, a.Body)
	}
	w.mu.Lock()
	w.dir.Groups[`CONTOSO\Approvers`] = nil
	w.mu.Unlock()
	w.pass(time.Minute)
	if a := dora.do("POST", path+"leave", api.Note{}); a.Code != http.StatusNotFound || strings.Contains(a.Body.String(), "guarded") {
		t.Errorf("after she lost the right: %d %s", a.Code, a.Body)
	}
}

// While one request finds out whether the server is ready, the others get the answer
// before, and none waits for a directory that does not answer.
func TestReadyIsNotAQueue(t *testing.T) {
	w := newWorld(t)
	if a := w.nobody().do("GET", "/readyz", nil); a.Code != http.StatusOK {
		t.Fatalf("%d %s", a.Code, a.Body)
	}
	w.pass(time.Minute)
	begun, end := make(chan bool), make(chan bool)
	w.srv.cfg.Ready = func() error {
		begun <- true
		<-end
		return nil
	}
	done := make(chan int)
	go func() { done <- w.nobody().do("GET", "/readyz", nil).Code }()
	<-begun
	for range 3 {
		if a := w.nobody().do("GET", "/readyz", nil); a.Code != http.StatusOK {
			t.Errorf("%d %s", a.Code, a.Body)
		}
	}
	close(end)
	if code := <-done; code != http.StatusOK {
		t.Error(code)
	}
}
