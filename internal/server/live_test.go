package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
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
