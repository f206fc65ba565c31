package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/api"
)

var update = flag.Bool("update", false, "write docs/schema/openapi.json anew")

// The published document is what the server serves, and names every route.
func TestDocument(t *testing.T) {
	w := newWorld(t)
	got, err := w.srv.Document()
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	name := filepath.Join("..", "..", "docs", "schema", "openapi.json")
	if *update {
		w.ok(os.WriteFile(name, got, 0o644))
	}
	want, err := os.ReadFile(name)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not what the server serves (%v): go test ./internal/server -run TestDocument -update", name, err)
	}
	for _, r := range w.srv.routes {
		if !strings.Contains(string(got), `"`+r.path+`"`) || !strings.Contains(string(got), `"operationId": "`+r.id+`"`) {
			t.Errorf("%s is not in the document", r.id)
		}
	}
	if strings.Contains(string(got), "ErrorModel") || !strings.Contains(string(got), `"3.1.0"`) {
		t.Error("the document speaks of the framework's errors, or is of another version")
	}
}

// live serves over TLS on loopback and returns a client of ben's, and how to end it.
func (w *world) live() (c *api.Client, stop func() error) {
	w.t.Helper()
	dir := w.t.TempDir()
	certs, err := OpenAuthority(dir, []string{"127.0.0.1"}, time.Now)
	w.ok(err)
	w.srv.cfg.Certificates = certs
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.ok(err)
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- w.srv.Serve(ctx, l, 5*time.Second) }()
	pem, err := os.ReadFile(filepath.Join(dir, AuthorityFile))
	w.ok(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	w.roots, w.at = roots, l.Addr().String()
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	w.t.Cleanup(tr.CloseIdleConnections)
	c, err = api.NewClient("https://"+l.Addr().String(), tr)
	w.ok(err)
	stop = func() error {
		cancel()
		return <-done
	}
	return c, stop
}

// Over TLS, as a program would: sign in, request, follow what happens and go on where it
// stopped; the end of the server ends streams and lets requests finish.
func TestServe(t *testing.T) {
	w := newWorld(t)
	c, stop := w.live()
	ctx := t.Context()
	w.ok(c.Do(ctx, api.Call{Method: "POST", Path: "/v1/session/password", In: api.PasswordSignIn{Name: "ben", Password: password}}))
	var g api.Grant
	w.ok(c.Do(ctx, api.Call{Method: "POST", Path: "/v1/grants", In: api.GrantRequest{Policy: "quick", Reason: "live"}, Out: &g}))
	w.as("carl").request("quick") // which ben does not see
	enough := errors.New("enough")
	var seen []api.Event
	err := c.Follow(ctx, "0", "", func(e api.Event) error {
		seen = append(seen, e)
		if e.Action == "grant.activated" {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
	for _, e := range seen {
		if e.Grant != g.ID {
			t.Errorf("ben is told of %s: %s", e.Grant, e.Account)
		}
	}
	// Go on behind the last but one: the last comes again, and nothing before it.
	follow := make(chan api.Event, 10)
	ended := make(chan error, 1)
	go func() {
		ended <- c.Follow(ctx, strconv.FormatInt(seen[len(seen)-2].Index, 10), g.ID, func(e api.Event) error { follow <- e; return nil })
	}()
	if e := <-follow; e.Index != seen[len(seen)-1].Index {
		t.Errorf("event %d, want %d", e.Index, seen[len(seen)-1].Index)
	}
	w.ok(c.Do(ctx, api.Call{Method: "POST", Path: "/v1/grants/" + g.ID + "/give-back", In: api.Note{Reason: "done"}}))
	if e := <-follow; e.Action != "grant.give-back" || e.Actor != `CONTOSO\ben` {
		t.Errorf("%+v", e)
	}
	if err := stop(); err != nil {
		t.Errorf("the end: %v", err)
	}
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("the stream ended with %v", err)
	}
}

// A stream ends with its session.
func TestStreamEndsWithItsSession(t *testing.T) {
	w := newWorld(t)
	c, stop := w.live()
	w.ok(c.Do(t.Context(), api.Call{Method: "POST", Path: "/v1/session/password", In: api.PasswordSignIn{Name: "ben", Password: password}}))
	ended := make(chan error, 1)
	first := make(chan bool, 100)
	w.as("ben").request("quick")
	go func() {
		ended <- c.Follow(t.Context(), "0", "", func(api.Event) error { first <- true; return nil })
	}()
	<-first
	other := w.as("ben")
	if a := other.do("POST", "/v1/accounts/"+w.find("ben").GUID.String()+"/end", map[string]string{"reason": "lost"}); a.Code != 200 {
		t.Fatalf("%d %s", a.Code, a.Body)
	}
	w.pass(time.Minute)
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("the stream goes on")
	}
	w.ok(stop())
}

// Plain HTTP is for loopback.
func TestPlainOnlyOnLoopback(t *testing.T) {
	for address, ok := range map[string]bool{"127.0.0.1:80": true, "[::1]:80": true, "0.0.0.0:80": false, "192.0.2.1:80": false, ":80": false, "localhost:80": false, "nonsense": false} {
		if err := CheckListen(address, true); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
	if err := CheckListen("0.0.0.0:443", false); err != nil {
		t.Errorf("with TLS: %v", err)
	}
}

// A stream on which nothing happens outlives the time that a write may take, over HTTP/2
// too, and what happens then arrives. A client that is cut off before its first event
// goes on where it was.
func TestQuietStreamGoesOn(t *testing.T) {
	w := newWorld(t)
	w.srv.pace = pace{poll: 5 * time.Millisecond, ping: time.Hour, write: 50 * time.Millisecond}
	c, stop := w.live()
	ctx := t.Context()
	w.ok(c.Do(ctx, api.Call{Method: "POST", Path: "/v1/session/password", In: api.PasswordSignIn{Name: "ben", Password: password}}))
	ben := w.as("ben")
	events := make(chan api.Event, 100)
	enough := errors.New("enough")
	ended := make(chan error, 1)
	go func() {
		ended <- c.Follow(ctx, "", "", func(e api.Event) error {
			events <- e
			if e.Action == "grant.activated" {
				return enough
			}
			return nil
		})
	}()
	for w.streams() == 0 {
		time.Sleep(time.Millisecond)
	}
	select {
	case err := <-ended:
		t.Fatalf("the stream ended: %v", err)
	case <-time.After(4 * w.srv.pace.write):
	}
	ben.request("quick")
	if err := <-ended; !errors.Is(err, enough) || len(events) == 0 {
		t.Fatalf("%v after %d events", err, len(events))
	}
	w.ok(stop())
}

func (w *world) streams() int {
	w.srv.events.mu.Lock()
	defer w.srv.events.mu.Unlock()
	return w.srv.events.all
}

// The first block of a stream, and each ping, say up to where the log was seen.
func TestStreamSaysWhereItIs(t *testing.T) {
	w := newWorld(t)
	ben := w.as("ben")
	head, err := w.srv.head(t.Context())
	w.ok(err)
	close(w.srv.closing)
	a := ben.do("GET", "/v1/events", nil)
	if want := fmt.Sprintf("id: %d\n", head-1); !strings.HasPrefix(a.Body.String(), "retry: 3000\n"+want) || strings.Count(a.Body.String(), want) != 1 {
		t.Errorf("%q, want %q first", a.Body, want)
	}
}

// A Kerberos token is compared with the certificate that the connection was made with,
// also when the server has another one meanwhile.
func TestEndpointIsTheConnections(t *testing.T) {
	w := newWorld(t)
	c, stop := w.live()
	seen := make(chan []byte, 2)
	w.srv.mux.HandleFunc("GET /test-endpoint", func(rw http.ResponseWriter, r *http.Request) {
		seen <- endpointOf(r.Context())
		rw.WriteHeader(http.StatusNoContent)
	})
	ask := func() []byte {
		t.Helper()
		w.ok(c.Do(t.Context(), api.Call{Method: "GET", Path: "/test-endpoint"}))
		return <-seen
	}
	first := ask()
	if !bytes.Equal(first, endpointHash(w.srv.cfg.Certificates.Leaf())) {
		t.Error("it is not that of the present certificate")
	}
	certs := w.srv.cfg.Certificates
	certs.mu.Lock()
	certs.leaf = nil // the next handshake has another
	certs.mu.Unlock()
	if bytes.Equal(first, endpointHash(certs.Leaf())) {
		t.Fatal("there is no other certificate")
	}
	if !bytes.Equal(ask(), first) {
		t.Error("the same connection has another endpoint")
	}
	w.ok(stop())
	left := 0
	w.srv.endpoints.conns.Range(func(any, any) bool { left++; return true })
	if left > 0 {
		t.Errorf("%d connections are remembered", left)
	}
}
