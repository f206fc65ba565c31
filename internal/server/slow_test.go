package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/api"
	"github.com/leastwise/leastwise/internal/grant"
)

// Whoever sends headers and holds the body back is answered in time and leaves his place,
// over HTTP/1 and HTTP/2, signed in or not, with and without an idempotency key.
func TestBodiesThatDoNotCome(t *testing.T) {
	w := newWorld(t)
	w.srv = newServer(w.srv.cfg, 300*time.Millisecond)
	w.h = w.srv.Handler()
	ben := w.as("ben")
	_, stop := w.live()
	for name, c := range map[string]struct {
		protocol, path string
		header         map[string]string
	}{
		"sign-in, HTTP/1": {"http/1.1", "/v1/session/password", nil},
		"sign-in, HTTP/2": {"h2", "/v1/session/password", nil},
		"command, HTTP/1": {"http/1.1", "/v1/grants", map[string]string{"Authorization": "Bearer " + ben.secret}},
		"command, HTTP/2": {"h2", "/v1/grants", map[string]string{"Authorization": "Bearer " + ben.secret}},
		"a key, HTTP/1":   {"http/1.1", "/v1/grants/x/approve", map[string]string{"Authorization": "Bearer " + ben.secret, headerKey: "k1"}},
		"a key, HTTP/2":   {"h2", "/v1/grants/x/approve", map[string]string{"Authorization": "Bearer " + ben.secret, headerKey: "k2"}},
	} {
		t.Run(name, func(t *testing.T) {
			body, hold := io.Pipe()
			defer hold.Close()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+w.at+c.path, body)
			w.ok(err)
			req.ContentLength = 100
			req.Header.Set("Content-Type", "application/json")
			for k, v := range c.header {
				req.Header.Set(k, v)
			}
			status, text := w.answerTo(t, req, c.protocol)
			if status != http.StatusRequestTimeout || !strings.Contains(text, string(api.CodeTooSlow)) {
				t.Errorf("%d %s", status, text)
			}
		})
	}
	w.ok(stop())
	for name, g := range map[string]*gate{"door": w.srv.door, "desk": w.srv.desk} {
		if g.inside != 0 {
			t.Errorf("%d stand at the %s", g.inside, name)
		}
	}
}

// answerTo sends a request over one protocol and wants an answer within seconds.
func (w *world) answerTo(t *testing.T, req *http.Request, protocol string) (status int, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(req.Context(), 5*time.Second)
	defer cancel()
	config := &tls.Config{RootCAs: w.roots, NextProtos: []string{protocol}}
	if protocol == "h2" {
		tr := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
		defer tr.CloseIdleConnections()
		res, err := tr.RoundTrip(req.WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		return read(t, res)
	}
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", req.URL.Host)
	w.ok(err)
	defer func(c net.Conn) { _ = c.Close() }(conn)
	deadline, _ := ctx.Deadline()
	w.ok(conn.SetDeadline(deadline))
	var head strings.Builder
	fmt.Fprintf(&head, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", req.URL.Path, req.URL.Host, req.ContentLength)
	w.ok(req.Header.Write(&head))
	_, err = io.WriteString(conn, head.String()+"\r\n")
	w.ok(err)
	res, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, res)
}

func read(t *testing.T, res *http.Response) (status int, text string) {
	t.Helper()
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
	}
	if p := res.ProtoMajor; p != 1 && p != 2 {
		t.Errorf("HTTP/%d", p)
	}
	return res.StatusCode, string(b)
}

// slowGrants takes longer to decide than bodies may take to come.
type slowGrants struct{ Grants }

func (s slowGrants) Do(ctx context.Context, c grant.Caller, id grant.ID, cmd grant.Command) (grant.Grant, error) {
	select {
	case <-ctx.Done():
		return grant.Grant{}, ctx.Err()
	case <-time.After(400 * time.Millisecond):
		return s.Grants.Do(ctx, c, id, cmd)
	}
}

// The time that a body may take is not the time that the work may take, also where the
// body was read before the framework looks at it.
func TestWorkOutlastsReading(t *testing.T) {
	w := newWorld(t)
	w.srv.cfg.Grants = slowGrants{w.srv.cfg.Grants}
	w.srv = newServer(w.srv.cfg, 100*time.Millisecond)
	w.h = w.srv.Handler()
	ben := w.as("ben")
	_, stop := w.live()
	for _, protocol := range []string{"http/1.1", "h2"} {
		for _, key := range []string{"", "key-" + protocol[:2]} {
			tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.roots, NextProtos: []string{protocol}}, ForceAttemptHTTP2: protocol == "h2"}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+w.at+"/v1/grants/"+ben.request("quick").ID+"/give-back", strings.NewReader(`{}`))
			w.ok(err)
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Authorization", "Bearer "+ben.secret)
			if key != "" {
				req.Header.Set(headerKey, key)
			}
			res, err := tr.RoundTrip(req)
			w.ok(err)
			if status, text := read(t, res); status != http.StatusOK {
				t.Errorf("%s, key %q: %d %s", protocol, key, status, text)
			}
			tr.CloseIdleConnections()
		}
	}
	w.ok(stop())
}
