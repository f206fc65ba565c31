package notify_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/notify"
	"github.com/leastwise/leastwise/internal/notify/notifytest"
)

const evil = "größe\r\nBcc: thief@evil.test\r\n.\r\nDATA \x1b[31m\u202e\x00\xff end"

func message() notify.Message {
	return notify.Message{
		ID: "0123456789abcdef0123456789abcdef", Time: notifytest.Origin, Grant: "g-1", Event: grant.Approve, State: grant.Approved, Loud: true,
		Audiences: []grant.Audience{grant.ToSecurity}, Text: evil,
	}
}

// certificate returns one for loopback, and the settings that trust it.
func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates}, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// A smtpServer is a stand-in that takes mail from one connection after another.
type smtpServer struct {
	net.Listener
	t        *testing.T
	tls      *tls.Config // nil: it offers no STARTTLS
	password string      // that AUTH PLAIN wants
	answer   string      // to RCPT; empty: accepted
	lines    []string    // of the last mail, headers and body
	to       []string
	secure   bool // the mail came inside TLS
	done     chan struct{}
}

func newSMTP(t *testing.T, s *smtpServer) *smtpServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Listener, s.t, s.done = l, t, make(chan struct{})
	go func() {
		defer close(s.done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.serve(c)
		}
	}()
	t.Cleanup(func() { l.Close(); <-s.done })
	return s
}

func (s *smtpServer) port() int { return s.Addr().(*net.TCPAddr).Port }

func (s *smtpServer) serve(c net.Conn) {
	defer func() { c.Close() }()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReader(c)
	say := func(format string, args ...any) { fmt.Fprintf(c, format+"\r\n", args...) }
	say("220 stand-in")
	secure := false
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb := strings.ToUpper(strings.SplitN(line, " ", 2)[0])
		switch {
		case verb == "EHLO":
			say("250-stand-in")
			if s.tls != nil && !secure {
				say("250-STARTTLS")
			}
			if s.password != "" && secure {
				say("250-AUTH PLAIN")
			}
			say("250 8BITMIME")
		case verb == "STARTTLS" && s.tls != nil:
			say("220 go on")
			sc := tls.Server(c, s.tls)
			if sc.Handshake() != nil {
				return
			}
			c, r, secure = sc, bufio.NewReader(sc), true
		case verb == "AUTH":
			if s.password != "" && strings.Contains(line, s.password) {
				say("235 welcome")
				break
			}
			say("535 no, %s", strings.TrimPrefix(line, "AUTH "))
		case strings.HasPrefix(strings.ToUpper(line), "RCPT TO:"):
			if s.answer != "" {
				say("%s", s.answer)
				break
			}
			s.to = append(s.to, line)
			say("250 ok")
		case verb == "DATA":
			say("354 go on")
			s.lines, s.secure = nil, secure
			for {
				l, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if l = strings.TrimRight(l, "\r\n"); l == "." {
					break
				}
				s.lines = append(s.lines, l)
			}
			say("250 taken")
		case verb == "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func newMail(t *testing.T, set notify.MailSettings) *notify.Mail {
	t.Helper()
	set.Name, set.From = "mail", "leastwise@contoso.test"
	m, err := notify.NewMail(set)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Mail goes inside TLS, to one recipient, with headers that text from outside cannot add to.
func TestMail(t *testing.T) {
	server, client := certificate(t)
	s := newSMTP(t, &smtpServer{tls: server})
	m := newMail(t, notify.MailSettings{Host: "127.0.0.1", Port: s.port(), TLS: client})
	if err := m.Send(t.Context(), "anna@contoso.test", message()); err != nil {
		t.Fatal(err)
	}
	s.Close()
	<-s.done
	if !s.secure || len(s.to) != 1 || !strings.Contains(s.to[0], "<anna@contoso.test>") {
		t.Errorf("secure %t, to %q", s.secure, s.to)
	}
	head, _, _ := strings.Cut(strings.Join(s.lines, "\n"), "\n\n")
	for _, want := range []string{
		"Message-ID: <0123456789abcdef0123456789abcdef@contoso.test>", "X-Leastwise-Id: 0123456789abcdef0123456789abcdef", "Auto-Submitted: auto-generated",
		"Content-Type: text/plain", "From: <leastwise@contoso.test>", "To: <anna@contoso.test>",
	} {
		if !strings.Contains(head, want) {
			t.Errorf("the head lacks %q:\n%s", want, head)
		}
	}
	for _, line := range s.lines {
		if strings.HasPrefix(line, "Bcc") || strings.HasPrefix(line, "DATA") || strings.Contains(line, "\x1b") {
			t.Errorf("text from outside became a line: %q", line)
		}
	}
	if !regexp.MustCompile(`(?m)^Subject:\s+.*URGENT`).MatchString(head) {
		t.Errorf("the subject: %s", head)
	}
}

// Without STARTTLS, or with a certificate that is not trusted, nothing is sent; a refused
// password is not repeated in the error.
func TestMailRefuses(t *testing.T) {
	server, client := certificate(t)
	plain := newSMTP(t, &smtpServer{})
	m := newMail(t, notify.MailSettings{Host: "127.0.0.1", Port: plain.port(), TLS: client})
	if err := m.Send(t.Context(), "anna@contoso.test", message()); err == nil || !strings.Contains(strings.ToUpper(err.Error()), "STARTTLS") {
		t.Errorf("without STARTTLS: %v", err)
	}
	s := newSMTP(t, &smtpServer{tls: server, password: "AGJvb3QAcmlnaHQ="})
	m = newMail(t, notify.MailSettings{Host: "127.0.0.1", Port: s.port()})
	if err := m.Send(t.Context(), "anna@contoso.test", message()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate that nobody knows: %v", err)
	}
	m = newMail(t, notify.MailSettings{Host: "127.0.0.1", Port: s.port(), TLS: client, User: "boot", Password: "wrong-s3cret"})
	if err := m.Send(t.Context(), "anna@contoso.test", message()); err == nil || strings.Contains(err.Error(), "wrong-s3cret") || strings.Contains(err.Error(), "AGJvb3QAd3JvbmctczNjcmV0") {
		t.Errorf("a wrong password: %v", err)
	}
	m = newMail(t, notify.MailSettings{Host: "127.0.0.1", Port: s.port(), TLS: client, User: "boot", Password: "right"})
	if err := m.Send(t.Context(), "anna@contoso.test", message()); err != nil {
		t.Errorf("the right password: %v", err)
	}
	for _, to := range []string{"", "anna@contoso.test\r\nRCPT TO:<thief@evil.test>", "Anna <anna@contoso.test>", "anna@contoso.test, thief@evil.test", "a b@c"} {
		if err := m.Send(t.Context(), to, message()); err == nil || to != "" && strings.Contains(err.Error(), to) {
			t.Errorf("recipient %q: %v", to, err)
		}
	}
	for why, set := range map[string]notify.MailSettings{
		"loopback only":   {Host: "mail.contoso.test", From: "a@b.test", Encrypt: "none"},
		"from":            {Host: "mail.contoso.test", From: "a"},
		"none of":         {Host: "mail.contoso.test", From: "a@b.test", Encrypt: "ssl"},
		"no name":         {Host: "mail:25", From: "a@b.test"},
		"belong together": {Host: "mail", From: "a@b.test", User: "x"},
	} {
		if _, err := notify.NewMail(set); !errors.Is(err, notify.ErrConfig) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", why, err)
		}
	}
}

var hookKey = []byte("0123456789abcdef0123456789abcdef")

// What a webhook sends can be verified by this package, and by openssl as the
// documentation says; a changed or old one cannot.
func TestWebhook(t *testing.T) {
	var got *http.Request
	var body []byte
	s := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
	}))
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	now := notifytest.Origin
	w, err := notify.NewWebhook(notify.WebhookSettings{Name: "hook", URL: s.URL + "/in", Key: hookKey, TLS: &tls.Config{RootCAs: pool}, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Send(t.Context(), "", message()); err != nil {
		t.Fatal(err)
	}
	var m notify.Message
	if err := json.Unmarshal(body, &m); err != nil || m.ID != message().ID || m.Grant != "g-1" {
		t.Errorf("%s: %v", body, err)
	}
	verify := func(key, body []byte, at time.Time) error {
		return notify.Verify(key, got.Header, body, at, 5*time.Minute)
	}
	if err := verify(hookKey, body, now.Add(time.Minute)); err != nil {
		t.Error(err)
	}
	other := append([]byte("x"), hookKey...)
	for what, err := range map[string]error{
		"another key": verify(other, body, now), "another body": verify(hookKey, append(body, ' '), now), "later": verify(hookKey, body, now.Add(6*time.Minute)),
	} {
		if !errors.Is(err, notify.ErrSignature) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Log("openssl is not there: its recipe was not tried")
		return
	}
	file := filepath.Join(t.TempDir(), "signed")
	signed := got.Header.Get(notify.HeaderTimestamp) + "." + got.Header.Get(notify.HeaderID) + "." + string(body)
	if err := os.WriteFile(file, []byte(signed), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "openssl", "dgst", "-sha256", "-hmac", string(hookKey), file).Output()
	if err != nil || !strings.Contains(string(out), strings.TrimPrefix(got.Header.Get(notify.HeaderSignature), "v1=")) {
		t.Errorf("openssl: %s, %v; header %s", out, err, got.Header.Get(notify.HeaderSignature))
	}
}

// Anything but success is a failure, a redirect too, and no error holds the path, which
// may be a secret.
func TestWebhookFails(t *testing.T) {
	hits := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits++
		switch r.URL.Path {
		case "/t0ken/busy":
			w.Header().Set("Retry-After", "7200")
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/t0ken/moved":
			http.Redirect(w, r, "/t0ken/elsewhere", http.StatusTemporaryRedirect)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer s.Close()
	for _, path := range []string{"/t0ken/busy", "/t0ken/moved", "/t0ken/none"} {
		w, err := notify.NewWebhook(notify.WebhookSettings{Name: "hook", URL: s.URL + path, Key: hookKey, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Send(t.Context(), "", message()); err == nil || strings.Contains(err.Error(), "t0ken") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if hits != 3 {
		t.Errorf("%d requests: a redirect was followed", hits)
	}
	gone := s.URL
	s.Close()
	w, err := notify.NewWebhook(notify.WebhookSettings{Name: "hook", URL: gone + "/t0ken", Key: hookKey, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Send(t.Context(), "", message()); err == nil || strings.Contains(err.Error(), "t0ken") {
		t.Errorf("nobody there: %v", err)
	}
	for url, why := range map[string]string{
		"http://contoso.test/": "only https", "https://u:p@contoso.test/": "without user", "ftp://127.0.0.1/": "only https", "contoso.test": "none such as",
	} {
		if _, err := notify.NewWebhook(notify.WebhookSettings{Name: "hook", URL: url, Key: hookKey, Now: time.Now}); !errors.Is(err, notify.ErrConfig) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", url, err)
		}
	}
	if _, err := notify.NewWebhook(notify.WebhookSettings{Name: "hook", URL: "https://contoso.test/", Key: hookKey[:31], Now: time.Now}); !errors.Is(err, notify.ErrConfig) {
		t.Errorf("a short key: %v", err)
	}
}

// frame reads one message in octet counting.
func frame(r *bufio.Reader) (string, error) {
	n, err := r.ReadString(' ')
	if err != nil {
		return "", err
	}
	length, err := strconv.Atoi(strings.TrimSuffix(n, " "))
	if err != nil {
		return "", err
	}
	b := make([]byte, length)
	_, err = io.ReadFull(r, b)
	return string(b), err
}

var syslogForm = regexp.MustCompile(`^<(\d+)>1 2026-11-22T08:00:00\.000000Z host_1 leastwise \d+ approve \[leastwise@32473 id="[0-9a-f]{32}" grant="g\\"\\\\\\\]1" event="approve" state="approved"\] \x{feff}(.*)$`)

// Syslog messages have the form of RFC 5424, whatever the text, over TLS, TCP and UDP; a
// connection that the server closed is made anew.
func TestSyslog(t *testing.T) {
	server, client := certificate(t)
	m := message()
	m.Grant = `g"\]1`
	for _, way := range []string{notify.SyslogTCP, notify.SyslogTLS} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if way == notify.SyslogTLS {
			l = tls.NewListener(l, server)
		}
		got := make(chan string)
		done := make(chan struct{})
		go func() { // takes one message of each connection, and closes it
			defer close(done)
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				line, err := frame(bufio.NewReader(c))
				c.Close()
				if err == nil {
					got <- line
				}
			}
		}()
		s, err := notify.NewSyslog(notify.SyslogSettings{Name: "log", Address: l.Addr().String(), Way: way, TLS: client, Host: "host 1"})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := s.Send(t.Context(), "", m); err != nil {
				t.Fatalf("%s: %v", way, err)
			}
			line := <-got
			form := syslogForm.FindStringSubmatch(line)
			if form == nil || form[1] != "81" || strings.ContainsAny(form[2], "\r\n\x1b\x00") {
				t.Errorf("%s: %q", way, line)
			}
			time.Sleep(20 * time.Millisecond) // until its end of the connection is here
		}
		l.Close()
		<-done
		s.Close()
	}
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	s, err := notify.NewSyslog(notify.SyslogSettings{Name: "log", Address: u.LocalAddr().String(), Way: notify.SyslogUDP, Host: "host 1"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	m.Text = strings.Repeat("long ", 1000)
	if err := s.Send(t.Context(), "", m); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1<<16)
	n, _, err := u.ReadFrom(b)
	if err != nil || n != 2048 || !syslogForm.Match(b[:n]) {
		t.Errorf("UDP: %d bytes, %v: %q", n, err, b[:n])
	}
	for _, set := range []notify.SyslogSettings{{Address: "x", Way: "tcp"}, {Address: "x:1", Way: "telnet"}, {Address: "x:1", Way: "tls"}} {
		if _, err := notify.NewSyslog(set); !errors.Is(err, notify.ErrConfig) {
			t.Errorf("%+v: %v", set, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	nobody, err := notify.NewSyslog(notify.SyslogSettings{Name: "log", Address: "127.0.0.1:1", Way: notify.SyslogTCP})
	if err != nil {
		t.Fatal(err)
	}
	if err := nobody.Send(ctx, "", m); err == nil {
		t.Error("nobody listens, and it was sent")
	}
}
