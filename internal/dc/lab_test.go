//go:build linux

// The lab runs on Linux only.

package dc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/leastwise/leastwise/lab/labtest"
	"github.com/leastwise/leastwise/lab/need"
	"github.com/leastwise/leastwise/lab/samba"
)

// ownLab is what the tests of this package share: they change accounts and
// services.
var ownLab = labtest.Package{Options: labtest.Options{Single: true}}

func TestMain(m *testing.M) {
	code := m.Run()
	if err := ownLab.Down(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// lab returns a running Samba forest.
func lab(t *testing.T) *labtest.Lab {
	t.Helper()
	need.Long(t)
	return ownLab.Start(t)
}

func password(t *testing.T, a samba.Account) string {
	t.Helper()
	p, err := a.Password()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// labConfig reads the lab as its administrator.
func labConfig(t *testing.T, l *labtest.Lab) Config {
	return Config{Domain: l.Domain, DNS: l.DNS, CAFile: l.CAFile, Timeout: 20 * time.Second, Credentials: Password(l.Admin.Name, password(t, l.Admin))}
}

func openLab(t *testing.T, cfg Config) *Reader {
	t.Helper()
	r, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatalf("%v\nhint: %s", err, Hint(err))
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// run runs a command in the lab.
func run(t *testing.T, l *labtest.Lab, stdin, name string, args ...string) {
	t.Helper()
	cmd := l.Command(t.Context(), name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// A wiretap records what passes on the connections to one port.
type wiretap struct {
	port string
	mu   sync.Mutex
	data bytes.Buffer
}

type tappedConn struct {
	net.Conn
	w *wiretap
}

func (w *wiretap) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil || !strings.HasSuffix(addr, w.port) {
		return c, err
	}
	return &tappedConn{c, w}, nil
}

func (c *tappedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.w.record(p[:n])
	return n, err
}

func (c *tappedConn) Write(p []byte) (int, error) {
	c.w.record(p)
	return c.Conn.Write(p)
}

func (w *wiretap) record(b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.data.Write(b)
}

// sees reports whether a text passed in clear.
func (w *wiretap) sees(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Contains(bytes.ToLower(w.data.Bytes()), []byte(strings.ToLower(text)))
}

// Every way of authenticating over every transport, each recorded on the wire:
// after the rootDSE, which is public, nothing of the directory is readable.
func TestLabAuthentication(t *testing.T) {
	l := lab(t)
	pw := password(t, l.Admin)
	dir := t.TempDir()
	cache, table := filepath.Join(dir, "cc"), filepath.Join(dir, "keytab")
	principal := l.Admin.Name + "@" + l.Realm
	run(t, l, pw+"\n", "kinit", "-c", "FILE:"+cache, principal)
	run(t, l, "", "samba-tool", "domain", "exportkeytab", table, "--principal="+l.Admin.Name, "-s", l.DCs()[0].SmbConf)
	ways := map[string]Config{
		"ccache":   {Credentials: CCache("FILE:" + cache)},
		"keytab":   {Credentials: Keytab(l.Admin.Name, table)},
		"password": {Credentials: Password(l.Admin.Name, pw)},
		"simple":   {Credentials: Password(l.Admin.Name+"@"+l.Domain, pw), Bind: Simple},
	}
	for name, way := range ways {
		for transport, port := range map[Transport]string{Sealed: ":389", LDAPS: ":636", StartTLS: ":389"} {
			t.Run(name+" "+transport.String(), func(t *testing.T) {
				tap := &wiretap{port: port}
				cfg := labConfig(t, l)
				cfg.Credentials, cfg.Bind, cfg.Transport, cfg.Dial = way.Credentials, way.Bind, transport, tap.dial
				r, err := Open(t.Context(), cfg)
				if way.Bind == Simple && transport == Sealed {
					if !errors.Is(err, ErrPlaintext) || tap.data.Len() != 0 {
						t.Fatalf("%v, want %v and nothing sent; %d bytes were", err, ErrPlaintext, tap.data.Len())
					}
					return
				}
				if err != nil {
					t.Fatalf("%v\nhint: %s", err, Hint(err))
				}
				defer func() { _ = r.Close() }()
				checkLabSearch(t, l, r)
				sealed, version := r.Security()
				if sealed != (transport == Sealed) || (version != "") == sealed {
					t.Errorf("sealed %v, TLS %q", sealed, version)
				}
				for _, secret := range []string{"CN=Domain Admins", "sAMAccountName", pw} {
					if tap.sees(secret) {
						t.Errorf("%q passed in clear", secret)
					}
				}
			})
		}
	}
}

// checkLabSearch finds the domain admins and who we are.
func checkLabSearch(t *testing.T, l *labtest.Lab, r *Reader) {
	t.Helper()
	found := false
	_, err := r.Search(t.Context(), Request{Base: l.BaseDN, Scope: ScopeSubtree, PageSize: 50, SDFlags: SDOwner | SDGroup | SDDACL, Attributes: []string{"sAMAccountName", "nTSecurityDescriptor"}}, func(e Entry) error {
		found = found || e.Value("sAMAccountName") == "Domain Admins" && len(e.Values("ntsecuritydescriptor")) == 1
		return nil
	})
	if err != nil || !found {
		t.Errorf("Domain Admins with descriptor found: %v, %v", found, err)
	}
	a, err := r.WhoAmI(t.Context())
	if err != nil || !strings.HasPrefix(a.DN, "CN=Administrator,") || len(a.SID) != 28 || len(a.TokenGroups) < 5 {
		t.Errorf("%+v, %v", a, err)
	}
}

// The same objects whatever the page size, in every partition.
func TestLabPaging(t *testing.T) {
	l := lab(t)
	r := openLab(t, labConfig(t, l))
	if n := len(r.Root().NamingContexts); n != 5 {
		t.Errorf("%d naming contexts", n)
	}
	for _, base := range r.Root().NamingContexts {
		counts := map[int]int{}
		for _, size := range []int{7, 1000} {
			res, err := r.Search(t.Context(), Request{Base: base, Scope: ScopeSubtree, PageSize: size, Attributes: []string{"objectGUID"}}, func(Entry) error { return nil })
			if err != nil || res.Pages < res.Entries/size {
				t.Errorf("%s by %d: %+v, %v", base, size, res, err)
			}
			counts[size] = res.Entries
		}
		if counts[7] != counts[1000] || counts[7] == 0 {
			t.Errorf("%s: %v", base, counts)
		}
	}
	one, err := r.Search(t.Context(), Request{Base: "CN=Users," + l.BaseDN, Scope: ScopeOne, PageSize: 1, Attributes: []string{"cn"}}, func(Entry) error { return nil })
	if err != nil || one.Pages < one.Entries { // Samba adds an empty last page
		t.Errorf("pages of 1: %+v, %v", one, err)
	}
}

// Samba returns at most 1,500 values at a time when asked by range; the group is
// complete all the same.
func TestLabLargeGroup(t *testing.T) {
	l := lab(t)
	const members = 5000
	l.Python(fmt.Sprintf(`
from samba.samdb import SamDB
from samba.param import LoadParm
from samba.auth import system_session
lp = LoadParm(); lp.load(%q)
db = SamDB(url=%q, session_info=system_session(), lp=lp)
db.transaction_start()
ou = "OU=Large,%s"
db.add({"dn": ou, "objectClass": "organizationalUnit"})
for i in range(%d):
    db.add({"dn": "CN=c%%d,%%s" %% (i, ou), "objectClass": "contact"})
db.add({"dn": "CN=Large," + ou, "objectClass": "group", "sAMAccountName": "Large", "member": ["CN=c%%d,%%s" %% (i, ou) for i in range(%d)]})
db.transaction_commit()
`, l.DCs()[0].SmbConf, filepath.Join(l.DCs()[0].Dir, "private", "sam.ldb"), l.BaseDN, members, members), nil)
	r := openLab(t, labConfig(t, l))
	var all, ranged [][]byte
	q := Request{Base: "OU=Large," + l.BaseDN, Scope: ScopeSubtree, Filter: "(objectClass=group)", Attributes: []string{"member", "objectGUID"}}
	if _, err := r.Search(t.Context(), q, func(e Entry) error { all = e.Values("member"); return nil }); err != nil {
		t.Fatal(err)
	}
	q.Attributes = []string{"member;range=0-1499", "objectGUID"}
	if _, err := r.Search(t.Context(), q, func(e Entry) error { ranged = e.Values("member"); return nil }); err != nil {
		t.Fatal(err)
	}
	for name, values := range map[string][][]byte{"plain": all, "by ranges": ranged} {
		distinct := map[string]bool{}
		for _, v := range values {
			distinct[string(v)] = true
		}
		if len(values) != members || len(distinct) != members {
			t.Errorf("%s: %d values, %d distinct, want %d", name, len(values), len(distinct), members)
		}
	}
}

// The reasons for which a logon is refused, as the DC tells them.
func TestLabRefusals(t *testing.T) {
	l := lab(t)
	const pw = "Str0ng-enough!"
	local := []string{"-H", filepath.Join(l.DCs()[0].Dir, "private", "sam.ldb")}
	for _, u := range []string{"disabled", "expired", "mustchange"} {
		l.SambaTool(append([]string{"user", "create", "dc-" + u, pw}, local...)...)
	}
	for _, args := range [][]string{{"user", "disable", "dc-disabled"}, {"user", "setexpiry", "dc-expired", "--days=-2"}, {"user", "setpassword", "dc-mustchange", "--newpassword=" + pw, "--must-change-at-next-login"}} {
		l.SambaTool(append(args, local...)...)
	}
	for _, c := range []struct {
		user, pw string
		kerberos []Kind
		simple   []Kind
	}{
		{l.Reader.Name, "wrong", []Kind{ErrWrongPassword}, []Kind{ErrWrongPassword}},
		{"nobody-there", pw, []Kind{ErrUnknownUser}, []Kind{ErrWrongPassword, ErrUnknownUser}}, // the DC does not tell over LDAP
		{"dc-disabled", pw, []Kind{ErrDisabled}, []Kind{ErrDisabled}},
		{"dc-expired", pw, []Kind{ErrAccountExpired}, []Kind{ErrAccountExpired}},
		{"dc-mustchange", pw, []Kind{ErrPasswordExpired}, []Kind{ErrPasswordExpired}},
	} {
		for bind, want := range map[Bind][]Kind{Kerberos: c.kerberos, Simple: c.simple} {
			cfg := labConfig(t, l)
			cfg.Credentials, cfg.Bind = Password(c.user+"@"+l.Domain, c.pw), bind
			if bind == Simple {
				cfg.Transport = LDAPS
			}
			r, err := Open(t.Context(), cfg)
			if err == nil {
				_ = r.Close()
			}
			ok := false
			for _, k := range want {
				ok = ok || KindOf(err) == k
			}
			if !ok || Hint(err) == "" || strings.Contains(err.Error(), c.pw) && c.pw == pw {
				t.Errorf("%s, bind %d: %v (hint %q), want %v", c.user, bind, err, Hint(err), want)
			}
		}
	}
}

// An ordinary user reads SYSVOL with signing; what is missing says so.
func TestLabSysvol(t *testing.T) {
	l := lab(t)
	for name, change := range map[string]func(*Config){
		"Kerberos":    func(*Config) {},
		"simple bind": func(c *Config) { c.Bind, c.Transport = Simple, LDAPS },
	} {
		cfg := labConfig(t, l)
		cfg.Credentials = Password(l.Reader.Name+"@"+l.Domain, password(t, l.Reader))
		change(&cfg)
		r := openLab(t, cfg)
		s, err := r.Sysvol(t.Context(), Limits{})
		if err != nil {
			t.Fatalf("%s: %v\nhint: %s", name, err, Hint(err))
		}
		files := map[string]File{}
		err = s.Walk(t.Context(), l.Domain, WalkOption{Descriptors: true}, func(f File) error { files[f.Path] = f; return nil })
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		ini := files[l.Domain+"/Policies/{31B2F340-016D-11D2-945F-00C04FB984F9}/GPT.INI"]
		if !bytes.Contains(ini.Data, []byte("Version=")) || len(ini.Descriptor) < 20 || ini.Err != nil || ini.DescriptorErr != nil {
			t.Errorf("%s: GPT.INI: %+v", name, ini)
		}
		if _, err := s.ReadFile(t.Context(), l.Domain+"/nothing"); !errors.Is(err, ErrNoSuchObject) {
			t.Errorf("%s: missing file: %v", name, err)
		}
		short := &Sysvol{server: s.server, timeout: s.timeout, limits: s.limits, nc: s.nc, session: s.session, share: s.share}
		short.limits.FileSize = 5
		if _, err := short.ReadFile(t.Context(), ini.Path); !errors.Is(err, ErrLimit) {
			t.Errorf("%s: large file: %v", name, err)
		}
		short.limits.Files = 2
		err = short.Walk(t.Context(), l.Domain, WalkOption{}, func(File) error { return nil })
		if !errors.Is(err, ErrTruncated) || KindOf(err) != ErrLimit {
			t.Errorf("%s: too many files: %v", name, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Walk(ctx, l.Domain, WalkOption{}, func(File) error { return nil }); !errors.Is(err, ErrCanceled) {
			t.Errorf("%s: canceled: %v", name, err)
		}
		_ = s.nc.Close() // the wire is cut
		if err := s.Walk(t.Context(), l.Domain, WalkOption{}, func(File) error { return nil }); !errors.Is(err, ErrTruncated) || !errors.Is(err, ErrConnectionLost) {
			t.Errorf("%s: cut: %v", name, err)
		}
		_ = s.Close()
	}
}

func TestLabProbe(t *testing.T) {
	l := lab(t)
	cfg := labConfig(t, l)
	servers, err := Discover(t.Context(), cfg)
	if err != nil || len(servers) != 1 || servers[0].Name != l.DCs()[0].FQDN {
		t.Fatalf("%v, %v", servers, err)
	}
	p, err := ProbeServer(t.Context(), cfg, servers[0])
	if err != nil || p.RootErr != nil || p.Root.Domain() != l.Domain || p.Root.Skew.Abs() > 3*time.Second {
		t.Errorf("%+v, %v", p, err)
	}
	for _, port := range p.Ports {
		if port.Err != nil {
			t.Errorf("port %d: %v", port.Port, port.Err)
		}
	}
	for _, x := range p.TLS {
		if x.Err != nil || len(x.Chain) == 0 || x.Expires().Before(time.Now()) {
			t.Errorf("TLS on %d: %+v", x.Port, x)
		}
	}
	cfg.CAFile = ""
	if p, err = ProbeServer(t.Context(), cfg, servers[0]); err != nil {
		t.Fatal(err)
	}
	for _, x := range p.TLS {
		if !errors.Is(x.Err, ErrUntrusted) || len(x.Chain) == 0 {
			t.Errorf("TLS on %d without the authority: %+v", x.Port, x)
		}
	}
	for _, a := range ProbeAuth(t.Context(), labConfig(t, l)) {
		if a.Err != nil || a.Skipped {
			t.Errorf("%+v", a)
		}
	}
	cfg = labConfig(t, l)
	cfg.Credentials = Password("nobody-there", "x")
	for i, a := range ProbeAuth(t.Context(), cfg) {
		if a.Skipped != (i > 0) {
			t.Errorf("after a refusal: %+v", a)
		}
	}
}

// A connection to the real DC that is cut in the middle of a page.
func TestLabConnectionCut(t *testing.T) {
	l := lab(t)
	for _, transport := range []Transport{Sealed, LDAPS} {
		cutter := &cutDialer{after: 200_000}
		cfg := labConfig(t, l)
		cfg.Transport, cfg.Dial = transport, cutter.dial
		r := openLab(t, cfg)
		n := 0
		_, err := r.Search(t.Context(), Request{Base: r.Root().SchemaNC, Scope: ScopeSubtree, PageSize: 1000}, func(Entry) error { n++; return nil })
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, ErrTruncated) || e.Kind != ErrConnectionLost || e.At == nil || e.At.Entries != n || n == 0 {
			t.Errorf("%v: %d entries, %v", transport, n, err)
		}
	}
}

// A cutDialer closes LDAP connections after so many bytes from the server.
type cutDialer struct{ after int }

type cutConn struct {
	net.Conn
	left int
}

func (d *cutDialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil || !strings.HasSuffix(addr, "89") && !strings.HasSuffix(addr, ":636") {
		return c, err
	}
	return &cutConn{c, d.after}, nil
}

func (c *cutConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		_ = c.Close()
	}
	n, err := c.Conn.Read(p[:min(len(p), max(c.left, 1))])
	c.left -= n
	return n, err
}

// A meddler alters what passes in clear: it takes a control off the rootDSE.
type meddler struct {
	net.Conn
	altered *atomic.Int32
}

const dirSyncControl = "1.2.840.113556.1.4.841"

func (m meddler) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	if i := bytes.Index(p[:n], []byte(dirSyncControl)); i >= 0 {
		copy(p[i:], "9.9")
		m.altered.Add(1)
	}
	return n, err
}

// What a server says of itself before the connection is encrypted is not believed
// afterwards: somebody on the way may have altered it.
func TestLabRootIsReadEncrypted(t *testing.T) {
	l := lab(t)
	var altered atomic.Int32
	cfg := labConfig(t, l)
	cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil || !strings.HasSuffix(addr, ":389") {
			return c, err
		}
		return meddler{c, &altered}, nil
	}
	r := openLab(t, cfg)
	if altered.Load() == 0 {
		t.Fatal("nothing was altered: the test proves nothing")
	}
	if !r.Root().Supports(dirSyncControl) {
		t.Error("the rootDSE that was altered in clear is believed")
	}
}
