//go:build linux

package dc

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/lab/standin"
)

// webGet asks for a class of the stand-in.
func webGet(ctx context.Context, w *Web, url string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	resp, err := w.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

const webPath = "/AdminService/wmi/SMS_Identification"

// Every kind of credentials against a server whose keys the lab's KDC gave it: it
// opens our tickets, sees that they are tied to the connection, and we see its proof.
func TestLabWeb(t *testing.T) {
	l := lab(t)
	s := standin.NewAdminService(t, l, "web1")
	s.Set("SMS_Identification", standin.Table{Rows: []standin.Row{{"ThisSiteCode": "P01"}}})
	pw := password(t, l.Reader)
	dir := t.TempDir()
	cache, table := filepath.Join(dir, "cc"), filepath.Join(dir, "keytab")
	run(t, l, pw+"\n", "kinit", "-c", "FILE:"+cache, l.Reader.Name+"@"+l.Realm)
	run(t, l, "", "samba-tool", "domain", "exportkeytab", table, "--principal="+l.Reader.Name, "-s", l.DCs()[0].SmbConf)
	pin := Fingerprint(s.Fingerprint)
	for name, cred := range map[string]Credentials{"ccache": CCache(cache), "keytab": Keytab("", table), "password": Password(l.Reader.Name, pw)} {
		for _, pinned := range []bool{false, true} {
			tap := &wiretap{port: ":" + port(s.Port)}
			cfg := Config{DNS: l.DNS, Credentials: cred, Timeout: 20 * time.Second, Dial: tap.dial}
			server := WebServer{Host: s.Host, Port: s.Port}
			if pinned {
				server.Pin = &pin
			} else {
				cfg.CAFile = s.CAFile
			}
			w := openWeb(t, cfg, server)
			for range 3 { // with one ticket, on one connection, each with its own token
				status, err := webGet(t.Context(), w, w.URL(webPath))
				if err != nil || status != http.StatusOK {
					t.Fatalf("%s: %d, %v\nhint: %s", name, status, err, Hint(err))
				}
			}
			if w.Proofs() != 3 || !strings.EqualFold(w.Principal(), l.Reader.Name+"@"+l.Realm) {
				t.Errorf("%s: %d proofs of identity, as %s", name, w.Proofs(), w.Principal())
			}
			for _, q := range s.Requests() {
				if !strings.EqualFold(q.Principal, l.Reader.Name+"@"+l.Realm) {
					t.Errorf("%s: asked as %q", name, q.Principal)
				}
			}
			if tap.sees("SMS_Identification") || tap.sees("Negotiate") {
				t.Errorf("%s: the request passed in clear", name)
			}
		}
	}
}

func port(n uint16) string {
	_, p, _ := net.SplitHostPort(WebServer{Host: "h", Port: n}.address())
	return p
}

func openWeb(t *testing.T, cfg Config, server WebServer) *Web {
	t.Helper()
	w, err := NewWeb(cfg, server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// What is refused, with what is said, and that nothing was asked of the server.
func TestLabWebRefusals(t *testing.T) {
	l := lab(t)
	s := standin.NewAdminService(t, l, "web2")
	s.Set("SMS_Identification", standin.Table{Rows: []standin.Row{{"ThisSiteCode": "P01"}}})
	pin := Fingerprint(s.Fingerprint)
	good := Config{DNS: l.DNS, CAFile: s.CAFile, Credentials: Password(l.Reader.Name, password(t, l.Reader)), Timeout: 20 * time.Second}
	for _, c := range []struct {
		name   string
		change func(*Config, *WebServer)
		url    string
		kind   Kind
		hint   string
	}{
		{"unknown authority", func(c *Config, _ *WebServer) { c.CAFile = l.CAFile }, "", ErrUntrusted, pin.String()},
		{"wrong pin", func(_ *Config, w *WebServer) { w.Pin = new(Fingerprint) }, "", ErrUntrusted, "read its SHA-256"},
		{"expired", func(c *Config, w *WebServer) {
			c.Now = func() time.Time { return time.Now().AddDate(0, 0, 2) }
		}, "", ErrCertExpired, "renew"},
		{"pinned and expired", func(c *Config, w *WebServer) {
			w.Pin, c.Now = &pin, func() time.Time { return time.Now().AddDate(0, 0, 2) }
		}, "", ErrCertExpired, "pin the new one"},
		{"clock", func(c *Config, _ *WebServer) { c.Now = func() time.Time { return time.Now().Add(20 * time.Minute) } }, "", ErrClockSkew, "clock"},
		{"wrong password", func(c *Config, _ *WebServer) { c.Credentials = Password(l.Reader.Name, "no") }, "", ErrWrongPassword, "password"},
		{"no such host", func(_ *Config, w *WebServer) { w.Host = "nothing." + l.Domain }, "", ErrDNS, ""},
		{"nobody listens", func(_ *Config, w *WebServer) { w.Port = 1 }, "", ErrUnreachable, "firewall"},
		{"another host", func(*Config, *WebServer) {}, "https://dc1.contoso.test/AdminService", ErrConfig, "not sent elsewhere"},
		{"another port", func(*Config, *WebServer) {}, "https://" + s.Host + "/AdminService", ErrConfig, "not sent elsewhere"},
		{"without TLS", func(*Config, *WebServer) {}, "http://" + WebServer{Host: s.Host, Port: s.Port}.address() + "/AdminService", ErrConfig, "not sent elsewhere"},
	} {
		cfg, server := good, WebServer{Host: s.Host, Port: s.Port}
		c.change(&cfg, &server)
		w := openWeb(t, cfg, server)
		if c.url == "" {
			c.url = w.URL(webPath)
		}
		_, err := webGet(t.Context(), w, c.url)
		if KindOf(err) != c.kind || !strings.Contains(Hint(err), c.hint) {
			t.Errorf("%s: %v (hint %q), want %v", c.name, err, Hint(err), c.kind)
		}
		if n := len(s.Requests()); n != 0 {
			t.Errorf("%s: %d requests came through", c.name, n)
		}
	}
}

// A service principal name that belongs to another account than the service's: the
// server cannot open the ticket, and the error says so.
func TestLabWebWrongKey(t *testing.T) {
	l := lab(t)
	s := standin.NewAdminService(t, l, "web3")
	s.Set("SMS_Identification", standin.Table{})
	l.SambaTool("user", "setpassword", "web3$", "--newpassword=An0ther-passw0rd!")
	w := openWeb(t, Config{DNS: l.DNS, CAFile: s.CAFile, Credentials: Password(l.Reader.Name, password(t, l.Reader))}, WebServer{Host: s.Host, Port: s.Port})
	_, err := webGet(t.Context(), w, w.URL(webPath))
	if err == nil || !strings.Contains(err.Error(), "cannot open the ticket") || !strings.Contains(Hint(err), "setspn -Q") {
		t.Errorf("%v (hint %q)", err, Hint(err))
	}
}

// A proof of identity that is forged, or was another request's, is an error even though
// the answer looks good.
func TestLabWebForgedProof(t *testing.T) {
	l := lab(t)
	s := standin.NewAdminService(t, l, "web4")
	s.Set("SMS_Identification", standin.Table{})
	w := openWeb(t, Config{DNS: l.DNS, CAFile: s.CAFile, Credentials: Password(l.Reader.Name, password(t, l.Reader))}, WebServer{Host: s.Host, Port: s.Port})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.URL(webPath), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := w.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	for name, header := range map[string]string{
		"of another request": resp.Header.Get("WWW-Authenticate"),
		"no Kerberos":        "Negotiate oRQwEqADCgEAogsECWAHBgUrBgEFBQ==",
		"a rejection":        "Negotiate oQcwBaADCgEC",
	} {
		s.Fail("", standin.Fault{Status: http.StatusOK, Body: "{}", Header: http.Header{"Www-Authenticate": {header}}})
		if _, err := webGet(t.Context(), w, w.URL(webPath)); !errors.Is(err, ErrTampered) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if w.Proofs() != 1 {
		t.Errorf("%d proofs", w.Proofs())
	}
}
