package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	ldap "github.com/go-ldap/ldap/v3"

	"github.com/leastwise/leastwise/internal/api"
	"github.com/leastwise/leastwise/lab/samba"
)

// What the server is measured with.
const (
	crowd     = 200              // clients at once, each with an account of its own
	crowdTime = 60 * time.Second // so long
	pairs     = 100              // of a bare write and a grant, in turn
	groups    = 4                // that they request
	lookEvery = 500 * time.Millisecond
	soakCrowd = 40 // clients of the soak
	soakThink = 100 * time.Millisecond
)

// A host is a server that is measured, and what it works on.
type host struct {
	b        *bench
	lab      *samba.Lab
	ou       string // of its own in the lab
	dir      string
	password string
	address  string
	cmd      *exec.Cmd
	roots    *x509.CertPool
	admin    *ldap.Conn
	people   int // accounts, each for one client
}

// server measures grants over the API: many clients at once, how long a grant takes
// beside the bare write, and, if soak is set, memory over that time.
func (b *bench) server(ctx context.Context) (err error) {
	l, err := b.empty(ctx)
	if err != nil {
		return err
	}
	if !b.keep {
		defer func() { err = errors.Join(err, l.Down(context.WithoutCancel(ctx))) }()
	}
	h := &host{b: b, lab: l, password: "Lw1-" + rand.Text(), people: crowd}
	if b.only == "soak" {
		h.people = soakCrowd
	}
	if err := h.build(ctx); err != nil {
		return fmt.Errorf("preparing the directory: %w", err)
	}
	defer func() { err = errors.Join(err, h.clear()) }()
	if err := h.start(ctx); err != nil {
		return fmt.Errorf("starting the server: %w", err)
	}
	defer func() { err = errors.Join(err, h.end()) }()
	clients, err := h.signIn(ctx, h.people)
	if err != nil {
		return err
	}
	if b.only == "soak" {
		return h.soak(ctx, clients)
	}
	if err := h.latency(ctx, clients[0]); err != nil {
		return err
	}
	if err := h.crowd(ctx, clients); err != nil {
		return err
	}
	if b.soak > 0 {
		return h.soak(ctx, clients[:soakCrowd])
	}
	return nil
}

// empty starts a lab for the server, without the objects of the live scan.
func (b *bench) empty(ctx context.Context) (*samba.Lab, error) {
	b.say("starting a domain controller on %s", b.net)
	return samba.Up(ctx, samba.Options{Dir: b.dir, Net: b.net, Single: true})
}

// build makes people, a group, and the account that the server runs as, which may write
// the members of that group.
func (h *host) build(ctx context.Context) (err error) {
	h.b.say("making %d accounts", h.people+1)
	if h.admin, err = h.lab.Dial(ctx, h.lab.DCs()[0], h.lab.Admin); err != nil {
		return err
	}
	h.ou = "OU=bench-" + strings.ToLower(rand.Text()[:6]) + "," + h.lab.BaseDN
	if err := h.add(h.ou, "organizationalUnit"); err != nil {
		return err
	}
	members := []string{}
	for i := range h.people + 1 {
		name := fmt.Sprintf("u%d", i)
		if i == h.people {
			name = "svc"
		}
		if err := h.user(name); err != nil {
			return err
		}
		if i < h.people {
			members = append(members, "CN="+name+","+h.ou)
		}
	}
	if err := h.add("CN=staff,"+h.ou, "group", ldap.EntryAttribute{Name: "sAMAccountName", Values: []string{h.name("staff")}}, ldap.EntryAttribute{Name: "member", Values: members}); err != nil {
		return err
	}
	names := []string{"bare"}
	for i := range groups {
		names = append(names, fmt.Sprintf("power%d", i))
	}
	for _, g := range names {
		if err := h.add("CN="+g+","+h.ou, "group", ldap.EntryAttribute{Name: "sAMAccountName", Values: []string{h.name(g)}}); err != nil {
			return err
		}
		if _, err := h.lab.Python(ctx, delegate, nil, "CN="+g+","+h.ou, h.name("svc")); err != nil {
			return err
		}
	}
	return nil
}

// delegate lets an account write the members of a group.
const delegate = `
import json, os, sys
from samba.samdb import SamDB
from samba.param import LoadParm
from samba.credentials import Credentials
from samba.sd_utils import SDUtils
from samba.ndr import ndr_unpack
from samba.dcerpc import security
lab = json.load(open(os.environ['LAB_FILE']))
lp = LoadParm(lab['client_conf'])
c = Credentials()
c.guess(lp)
c.set_username(os.environ['USER'])
c.set_password(open(os.environ['PASSWD_FILE']).read().strip())
db = SamDB('ldap://' + lab['hosts'][0]['fqdn'], credentials=c, lp=lp)
found = db.search(expression='(sAMAccountName=%s)' % sys.argv[2], attrs=['objectSid'])
sid = ndr_unpack(security.dom_sid, found[0]['objectSid'][0])
SDUtils(db).dacl_add_ace(sys.argv[1], '(OA;;RPWP;bf9679c0-0de6-11d0-a285-00aa003049e2;;%s)' % sid)
`

// name is the sAMAccountName of what is made.
func (h *host) name(n string) string { return n + "-" + h.ou[len("OU=bench-"):len("OU=bench-")+6] }

func (h *host) add(dn, class string, attrs ...ldap.EntryAttribute) error {
	r := ldap.NewAddRequest(dn, nil)
	r.Attribute("objectClass", []string{class})
	for _, a := range attrs {
		r.Attribute(a.Name, a.Values)
	}
	if err := h.admin.Add(r); err != nil {
		return fmt.Errorf("adding %s: %w", dn, err)
	}
	return nil
}

func (h *host) user(name string) error {
	var quoted strings.Builder
	for _, r := range `"` + h.password + `"` {
		quoted.WriteString(string(r) + "\x00")
	}
	return h.add("CN="+name+","+h.ou, "user", ldap.EntryAttribute{Name: "sAMAccountName", Values: []string{h.name(name)}},
		ldap.EntryAttribute{Name: "userAccountControl", Values: []string{"512"}}, ldap.EntryAttribute{Name: "unicodePwd", Values: []string{quoted.String()}})
}

// clear removes what was made.
func (h *host) clear() error {
	defer h.admin.Close()
	return h.admin.Del(ldap.NewDelRequest(h.ou, []ldap.Control{ldap.NewControlString("1.2.840.113556.1.4.805", true, "")}))
}

// start starts the server as it is built, and waits until it is ready.
func (h *host) start(ctx context.Context) (err error) {
	if h.dir, err = os.MkdirTemp("", "leastwise-bench"); err != nil {
		return err
	}
	l, err := net.Listen("tcp", h.b.net+".9:0")
	if err != nil {
		return err
	}
	h.address = l.Addr().String()
	if err := l.Close(); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"pw": h.password + "\n",
		"leastwise.yaml": fmt.Sprintf("domain: %s\ndns: %s\nca: %s\nserver: %s\nuser: %s\npassword-file: pw\nlisten: %s\nnames: [%s]\nlog-level: warn\n",
			h.lab.Domain, h.lab.DNS, h.lab.CAFile, h.lab.DCs()[0].FQDN, h.name("svc"), h.address, h.b.net+".9"),
		"grants.yaml": h.policies(),
	} {
		if err := os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	out, err := os.Create(filepath.Join(h.dir, "log"))
	if err != nil {
		return err
	}
	defer out.Close()
	h.cmd = exec.CommandContext(ctx, h.b.program, "serve")
	h.cmd.Dir, h.cmd.Stdout, h.cmd.Stderr = h.dir, out, out
	h.cmd.Cancel = func() error { return h.cmd.Process.Signal(syscall.SIGTERM) }
	h.cmd.Env = append(os.Environ(), "KRB5_CONFIG="+h.lab.Krb5Conf)
	if err := h.cmd.Start(); err != nil {
		return err
	}
	return h.ready(ctx)
}

// policies let everybody have each group without approval.
func (h *host) policies() string {
	var b strings.Builder
	b.WriteString("grants: 1\npolicies:\n")
	for i := range groups {
		fmt.Fprintf(&b, "  - name: power%[1]d\n    title: Power\n    group: '%[2]s\\%[3]s'\n    requesters: ['%[2]s\\%[4]s']\n    duration: {longest: 1h, usual: 30m}\n",
			i, h.lab.NetBIOS, h.name(fmt.Sprintf("power%d", i)), h.name("staff"))
	}
	return b.String()
}

func (h *host) ready(ctx context.Context) error {
	var last error
	for range 600 {
		if err := ctx.Err(); err != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
		pem, err := os.ReadFile(filepath.Join(h.dir, "tls", "ca.pem"))
		if last = err; err != nil {
			continue
		}
		h.roots = x509.NewCertPool()
		h.roots.AppendCertsFromPEM(pem)
		c, err := h.client(0)
		if err != nil {
			return err
		}
		if last = c.Do(ctx, api.Call{Method: http.MethodGet, Path: "/readyz"}); last == nil {
			return nil
		}
	}
	said, _ := os.ReadFile(filepath.Join(h.dir, "log"))
	return fmt.Errorf("it does not become ready: %w\n%s", last, said)
}

// client returns a client with a connection of its own, from one of 200 addresses: tries
// to sign in are counted by address.
func (h *host) client(n int) (*api.Client, error) {
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(fmt.Sprintf("%s.%d", h.b.net, 20+n%200))}}
	tr := &http.Transport{DialContext: d.DialContext, TLSClientConfig: &tls.Config{RootCAs: h.roots}, ForceAttemptHTTP2: true, IdleConnTimeout: time.Minute}
	return api.NewClient("https://"+h.address, tr)
}

// end ends the server, which must be without an error.
func (h *host) end() error {
	err := errors.Join(h.cmd.Process.Signal(syscall.SIGTERM), h.cmd.Wait())
	said, _ := os.ReadFile(filepath.Join(h.dir, "log"))
	if err != nil {
		err = fmt.Errorf("the server: %w\n%s", err, said)
	}
	n := strings.Count(string(said), `"level":"ERROR"`)
	h.b.table.under("errors in the server's log", "%.0f", float64(n), 0)
	if n > 0 {
		_, first, _ := strings.Cut(string(said), `"level":"ERROR"`)
		h.b.say("the first error of its log: %.500s", first)
	}
	return errors.Join(err, os.RemoveAll(h.dir))
}

// signIn signs clients in, each with an account of its own.
func (h *host) signIn(ctx context.Context, n int) ([]*api.Client, error) {
	h.b.say("signing %d clients in", n)
	out := make([]*api.Client, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	slots := make(chan struct{}, 8)
	for i := range out {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			c, err := h.client(i)
			if err == nil {
				err = c.Do(ctx, api.Call{Method: http.MethodPost, Path: "/v1/session/password", In: api.PasswordSignIn{Name: h.name(fmt.Sprintf("u%d", i)), Password: h.password}})
			}
			out[i], errs[i] = c, err
		})
	}
	wg.Wait()
	return out, errors.Join(errs...)
}
