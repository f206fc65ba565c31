//go:build linux

// The lab runs on Linux only.

package app

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/api"
	"github.com/leastwise/leastwise/internal/notify"
)

// A sink collects what arrives at a stand-in on loopback.
type sink struct {
	net.Listener
	mu  sync.Mutex
	got []string
}

func newSink(t *testing.T, serve func(*sink, net.Conn)) *sink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{Listener: l}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				serve(s, c)
			})
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return s
}

func (s *sink) add(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, text)
}

func (s *sink) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

func (s *sink) port() int { return s.Addr().(*net.TCPAddr).Port }

// smtp takes mail: recipient and text are one element.
func smtp(s *sink, c net.Conn) {
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	r := bufio.NewReader(c)
	fmt.Fprint(c, "220 stand-in\r\n")
	to, data := "", (*strings.Builder)(nil)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		switch {
		case data != nil && line != ".":
			data.WriteString(line + "\n")
			continue
		case data != nil:
			s.add(to + "\n" + data.String())
			data = nil
		case strings.HasPrefix(line, "RCPT TO:"):
			to = strings.Trim(strings.TrimPrefix(line, "RCPT TO:"), "<> ")
		case line == "DATA":
			data = &strings.Builder{}
			fmt.Fprint(c, "354 go on\r\n")
			continue
		case line == "QUIT":
			fmt.Fprint(c, "221 bye\r\n")
			return
		}
		fmt.Fprint(c, "250 ok\r\n")
	}
}

// syslogTCP takes messages with counted octets (RFC 6587 3.4.1).
func syslogTCP(s *sink, c net.Conn) {
	_ = c.SetDeadline(time.Now().Add(5 * time.Minute))
	r := bufio.NewReader(c)
	for {
		count, err := r.ReadString(' ')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(strings.TrimSpace(count))
		if err != nil || n > 1<<16 {
			s.add("not counted: " + count)
			return
		}
		line := make([]byte, n)
		if _, err := io.ReadFull(r, line); err != nil {
			return
		}
		s.add(string(line))
	}
}

const hookKey = "0123456789abcdef0123456789abcdef-key"

// From the server to the people: a grant's start and end reach requester, approvers and
// security by mail, webhook and syslog, with no secret in them; a receiver that refuses
// delays nothing and can be seen in metrics and in the list of notices. The scheduled scan
// of the same server is kept and can be seen, too.
func TestServeTellsPeopleAndScans(t *testing.T) {
	s := newSite(t)
	x := s.x
	boss := x.user("boss")
	x.group("bosses")
	x.member(boss, x.name("bosses"))
	x.write(s.user, "mail", "anna@contoso.test")
	x.write(boss, "mail", "boss@contoso.test")
	x.Python(allowMember, nil, x.name("power"), x.Reader.Name)

	mail, log := newSink(t, smtp), newSink(t, syslogTCP)
	hooks := &sink{}
	good := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = notify.Verify([]byte(hookKey), r.Header, body, time.Now(), time.Minute)
		}
		if err != nil {
			t.Errorf("a webhook: %v", err)
		}
		hooks.add(string(body))
	}))
	defer good.Close()
	bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) }))
	defer bad.Close()
	for name, text := range map[string]string{
		"hook.key": hookKey,
		"notify.yaml": fmt.Sprintf(`notify: 1
mail:
  - {name: mail, server: 127.0.0.1, port: %d, tls: none, from: lw@contoso.test, per-minute: 6000, to: {requester: [directory], approvers: [directory], security: [soc@contoso.test]}}
webhooks:
  - {name: hook, url: %q, key-file: %q, per-minute: 6000, to: [all]}
  - {name: refuses, url: %q, key-file: %q, per-minute: 6000, to: [all]}
syslog:
  - {name: log, address: "127.0.0.1:%d", transport: tcp, per-minute: 6000, to: [security]}
`, mail.port(), good.URL, s.file("hook.key"), bad.URL+"/secret-path", s.file("hook.key"), log.port()),
		"grants.yaml": fmt.Sprintf(`grants: 1
policies:
  - name: power
    title: Power
    group: '%[1]s\%[2]s'
    requesters: ['%[1]s\%[3]s']
    duration: {longest: 1h}
    approval: {needed: 1, from: ['%[1]s\%[4]s']}
    schedules:
      - {name: always, for: ['%[1]s\%[3]s'], longest: 1h, windows: [{days: [mon-sun], from: "00:00", to: "24:00", zone: UTC}]}
`, x.NetBIOS, x.name("power"), x.name("staff"), x.name("bosses")),
	} {
		if err := os.WriteFile(s.file(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set(t, s.cfg, "notify", s.file("notify.yaml"))
	set(t, s.cfg, "scan-every", "24h")
	set(t, s.cfg, "scan-snapshot", s.file("scan.lws"))
	set(t, s.cfg, "witness", s.file("witness.jsonl"))

	r := s.start()
	r.ready()
	r.do("POST", "/v1/session/password", api.PasswordSignIn{Name: s.user, Password: scenePassword}, nil)
	var g api.Grant
	r.do("POST", "/v1/grants", api.GrantRequest{Policy: "power", For: "10m", Reason: "unlock the desk", Schedule: "always"}, &g)
	await := func(state string) {
		t.Helper()
		for range 300 {
			r.do("GET", "/v1/grants/"+g.ID, nil, &g)
			if g.State == state {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Fatalf("it is %s (%s), and not %s", g.State, g.Fault, state)
	}
	await("active")
	r.do("POST", "/v1/grants/"+g.ID+"/give-back", api.Note{Reason: "done"}, nil)
	await("ended")

	want := []string{}
	for _, to := range []string{"anna@contoso.test", "boss@contoso.test", "soc@contoso.test"} {
		for _, event := range []string{"activated", "ended"} {
			want = append(want, to+" "+event)
		}
	}
	var metrics string
	eventually(t, "mail, webhook, syslog and metrics", func() string {
		if got := mails(mail, g.ID); !slices.Equal(got, want) {
			return fmt.Sprintf("mail to %q, want %q", got, want)
		}
		if got := events(hooks); !slices.Contains(got, "activated") || !slices.Contains(got, "ended") {
			return fmt.Sprintf("webhooks %q", got)
		}
		if got := strings.Join(log.all(), "\n"); !strings.Contains(got, `event="activated" state="active"`) || !strings.Contains(got, `event="ended" state="ended"`) {
			return "syslog " + got
		}
		metrics = s.metrics(t, r)
		for _, m := range []string{`leastwise_notification_failures_total{target="refuses"}`, `leastwise_notifications_sent_total{target="hook"}`, "leastwise_notifications_waiting", "leastwise_scan_last_success_timestamp_seconds", `leastwise_witness_checkpoints_total{witness="file"}`, "leastwise_audit_signed_timestamp_seconds"} {
			if v := value(metrics, m); v <= 0 {
				return fmt.Sprintf("%s is %v", m, v)
			}
		}
		return ""
	})
	if strings.Contains(metrics, s.user) || strings.Contains(metrics, "secret-path") {
		t.Error("metrics name a person or an address")
	}
	left, err := Notices(t.Context(), s.cfg)
	if err != nil || left.Waiting == 0 {
		t.Errorf("what the receiver refused: %+v, %v", left, err)
	}
	everything := strings.Join(slices.Concat(mail.all(), hooks.all(), log.all()), "\n")
	for _, secret := range []string{scenePassword, hookKey, x.ReaderPassword(), "secret-path"} {
		if strings.Contains(everything, secret) {
			t.Error("a message holds a secret")
		}
	}
	h, err := HistoryOf(t.Context(), s.cfg, HistoryQuery{})
	if err != nil || len(h.Runs) != 1 || h.Runs[0].Fail == 0 || h.Forest != strings.ToLower(x.Domain) {
		t.Errorf("the scheduled scan: %+v, %v", h, err)
	}
	if _, err := Load(t.Context(), s.file("scan.lws"), "test", time.Now()); err != nil {
		t.Error(err)
	}
	r.end()
	d := &doctor{}
	d.keeping(t.Context(), s.cfg, time.Now())
	for _, c := range d.checks {
		if c.State != CheckOK {
			t.Errorf("the doctor says %+v", c)
		}
	}
	if len(d.checks) != 4 {
		t.Errorf("%d checks", len(d.checks))
	}
}

// allowMember lets an account write who is a member of a group.
const allowMember = `
import json, os, sys
from samba.samdb import SamDB
from samba.param import LoadParm
from samba.credentials import Credentials
from samba.dcerpc import security
from samba.ndr import ndr_pack, ndr_unpack
import ldb
lab = json.load(open(os.environ['LAB_FILE']))
lp = LoadParm(lab['client_conf'])
c = Credentials()
c.guess(lp)
c.set_username(os.environ['USER'])
c.set_password(open(os.environ['PASSWD_FILE']).read().strip())
db = SamDB('ldap://' + lab['hosts'][0]['fqdn'], credentials=c, lp=lp)
who = db.search(expression='(sAMAccountName=%s)' % sys.argv[2], attrs=['objectSid'])[0]
sid = ndr_unpack(security.dom_sid, who['objectSid'][0])
group = db.search(expression='(sAMAccountName=%s)' % sys.argv[1], attrs=['nTSecurityDescriptor'])[0]
sd = ndr_unpack(security.descriptor, group['nTSecurityDescriptor'][0])
new = security.descriptor.from_sddl('D:(OA;;RPWP;bf9679c0-0de6-11d0-a285-00aa003049e2;;%s)' % sid, security.dom_sid(db.get_domain_sid()))
sd.dacl_add(new.dacl.aces[0])
m = ldb.Message(group.dn)
m['v'] = ldb.MessageElement(ndr_pack(sd), ldb.FLAG_MOD_REPLACE, 'nTSecurityDescriptor')
db.modify(m)
`

// mails lists recipient and event of the mails about the start and end of a grant.
func mails(s *sink, grant string) []string {
	var out []string
	for _, m := range s.all() {
		to, text, _ := strings.Cut(m, "\n")
		for _, event := range []string{"activated", "ended"} {
			if strings.Contains(text, "Event    "+event) && strings.Contains(text, grant) {
				out = append(out, to+" "+event)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out) // at least once
}

func events(s *sink) (out []string) {
	for _, body := range s.all() {
		var m notify.Message
		if err := json.Unmarshal([]byte(body), &m); err != nil {
			out = append(out, err.Error())
		}
		out = append(out, string(m.Event))
	}
	return out
}

// metrics reads what the server counts.
func (s *site) metrics(t *testing.T, r *running) string {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // on loopback; who it is was verified before
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Get("https://" + r.c.Host() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("metrics: %d, %v", resp.StatusCode, err)
	}
	return b.String()
}

// value is that of a metric, -1 if it is not there.
func value(metrics, name string) float64 {
	for line := range strings.Lines(metrics) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			if v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64); err == nil {
				return v
			}
		}
	}
	return -1
}

// eventually waits until there is nothing left to complain of.
func eventually(t *testing.T, what string, complaint func() string) {
	t.Helper()
	last := ""
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if last = complaint(); last == "" {
			return
		}
	}
	t.Fatalf("%s: %s", what, last)
}
