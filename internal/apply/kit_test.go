//go:build linux

// The lab runs on Linux only.

package apply

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	ldap "github.com/go-ldap/ldap/v3"
	"go.uber.org/goleak"

	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/plan"
	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/lab/labtest"
	"github.com/leastwise/leastwise/lab/need"
	"github.com/leastwise/leastwise/lab/samba"
)

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		child()
		return
	}
	if os.Getenv(useVariable) != "" {
		if err := useChild(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// A memory is a journal for tests that survives the Run but not the process. It can
// fail from an entry on.
type memory struct {
	entries []Entry
	failAt  int
}

var errFull = errors.New("disk full")

func (m *memory) Append(_ context.Context, e Entry) error {
	e.Number = len(m.entries) + 1
	if m.failAt > 0 && e.Number >= m.failAt {
		return errFull
	}
	m.entries = append(m.entries, e)
	return nil
}

func (m *memory) Entries(context.Context) ([]Entry, error) { return m.entries, nil }

// A yard is an organizational unit of its own in the lab, and a connection as
// Administrator that shares no code with what is tested.
type yard struct {
	t    testing.TB
	lab  *labtest.Lab
	conn *ldap.Conn
	ou   string
}

func newYard(t testing.TB, lab *labtest.Lab) *yard {
	t.Helper()
	need.Long(t)
	conn, err := lab.Dial(t.Context(), lab.DCs()[0], lab.Admin)
	if err != nil {
		t.Fatal(err)
	}
	y := &yard{t: t, lab: lab, conn: conn, ou: "OU=apply-" + rand.Text()[:10] + "," + lab.BaseDN}
	y.add(y.ou, "organizationalUnit")
	t.Cleanup(func() {
		del := ldap.NewDelRequest(y.ou, []ldap.Control{ldap.NewControlString("1.2.840.113556.1.4.805", true, "")})
		if err := y.conn.Del(del); err != nil {
			t.Error(err)
		}
		y.conn.Close()
	})
	return y
}

// reconnect is for when the domain controller was away.
func (y *yard) reconnect() {
	y.t.Helper()
	y.conn.Close()
	conn, err := y.lab.Dial(y.t.Context(), y.lab.DCs()[0], y.lab.Admin)
	if err != nil {
		y.t.Fatal(err)
	}
	y.conn = conn
}

func (y *yard) add(dn, class string, attrs ...string) {
	y.t.Helper()
	r := ldap.NewAddRequest(dn, nil)
	r.Attribute("objectClass", []string{class})
	for i := 0; i+1 < len(attrs); i += 2 {
		r.Attribute(attrs[i], []string{attrs[i+1]})
	}
	if err := y.conn.Add(r); err != nil {
		y.t.Fatalf("adding %s: %v", dn, err)
	}
}

const userPassword = "Lw1-first-Passw0rd"

// user makes an enabled account.
func (y *yard) user(name string) plan.Target {
	y.t.Helper()
	dn := "CN=" + name + "," + y.ou
	quoted := "\""
	for _, b := range []byte(userPassword + "\"") {
		quoted += "\x00" + string(rune(b))
	}
	y.add(dn, "user", "sAMAccountName", name+"-"+rand.Text()[:6], "userAccountControl", "512", "unicodePwd", quoted+"\x00")
	return y.target(dn)
}

func (y *yard) group(name string) plan.Target {
	y.t.Helper()
	dn := "CN=" + name + "," + y.ou
	y.add(dn, "group", "sAMAccountName", name+"-"+rand.Text()[:6])
	return y.target(dn)
}

func (y *yard) target(dn string) plan.Target {
	y.t.Helper()
	e := y.read(dn)
	g, err := secdesc.GUIDFromBytes(e.GetRawAttributeValue("objectGUID"))
	if err != nil {
		y.t.Fatal(err)
	}
	sid, err := secdesc.SIDFromBytes(e.GetRawAttributeValue("objectSid"))
	if err != nil && len(e.GetRawAttributeValue("objectSid")) > 0 {
		y.t.Fatal(err)
	}
	return plan.Target{GUID: g, DN: e.DN, SID: sid}
}

func (y *yard) read(dn string) *ldap.Entry {
	y.t.Helper()
	r, err := y.conn.Search(ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"*", "nTSecurityDescriptor", "uSNChanged", "whenChanged"}, nil))
	if err != nil || len(r.Entries) != 1 {
		y.t.Fatalf("reading %s: %v", dn, err)
	}
	return r.Entries[0]
}

func (y *yard) exists(dn string) bool {
	y.t.Helper()
	_, err := y.conn.Search(ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"cn"}, nil))
	if err != nil && !ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject) {
		y.t.Fatalf("looking for %s: %v", dn, err)
	}
	return err == nil
}

func (y *yard) modify(dn, attr string, values ...string) {
	y.t.Helper()
	r := ldap.NewModifyRequest(dn, nil)
	r.Replace(attr, values)
	if err := y.conn.Modify(r); err != nil {
		y.t.Fatalf("writing %s of %s: %v", attr, dn, err)
	}
}

func (y *yard) members(group plan.Target) []string {
	return y.read(group.DN).GetAttributeValues("member")
}

func (y *yard) number(o plan.Target, attr string) int64 {
	y.t.Helper()
	v, err := strconv.ParseInt(y.read(o.DN).GetAttributeValue(attr), 10, 64)
	if err != nil {
		y.t.Fatal(err)
	}
	return v
}

func (y *yard) hasEntry(o plan.Target, e *plan.Entry) bool {
	y.t.Helper()
	sd, err := secdesc.Parse(y.read(o.DN).GetRawAttributeValue("nTSecurityDescriptor"))
	if err != nil {
		y.t.Fatal(err)
	}
	return indexOf(sd, e.ACE) >= 0
}

// config writes through dc1, where the yard makes its objects, as an account.
func (y *yard) config(a samba.Account) dc.Config {
	y.t.Helper()
	pw, err := a.Password()
	if err != nil {
		y.t.Fatal(err)
	}
	return y.configFor(a.Name, pw)
}

func (y *yard) configFor(user, password string) dc.Config {
	return dc.Config{
		Domain: y.lab.Domain, DNS: y.lab.DNS, Server: y.lab.DCs()[0].FQDN, CAFile: y.lab.CAFile, Timeout: 20 * time.Second,
		Credentials: dc.Password(user, password),
	}
}

func (y *yard) open(cfg dc.Config) *Directory {
	y.t.Helper()
	d, err := Open(y.t.Context(), cfg)
	if err != nil {
		y.t.Fatalf("%v\nhint: %s", err, dc.Hint(err))
	}
	y.t.Cleanup(func() { _ = d.Close() })
	return d
}

// run is a Run as Administrator with a journal in memory.
func (y *yard) run() (*Run, *memory) {
	y.t.Helper()
	j := &memory{}
	return &Run{Directory: y.open(y.config(y.lab.Admin)), Journal: j, Now: time.Now, Password: newPassword}, j
}

const secondPassword = "Lw1-second-Passw0rd-ü"

func newPassword(context.Context, int, plan.Target) ([]byte, error) {
	return []byte(secondPassword), nil
}

func (y *yard) plan(changes ...plan.Change) *plan.Plan {
	y.t.Helper()
	p, err := plan.New(y.lab.Domain, "test", time.Now(), changes)
	if err != nil {
		y.t.Fatal(err)
	}
	return p
}

func apply(t *testing.T, r *Run, p *plan.Plan) *Report {
	t.Helper()
	rep, err := r.Apply(t.Context(), p, p.Digest())
	if err != nil {
		t.Fatalf("%v\n%+v", err, rep)
	}
	return rep
}

// entry is an entry of SDDL with a trustee.
func entry(t *testing.T, format string, sid secdesc.SID) *plan.Entry {
	t.Helper()
	ace, err := secdesc.ParseACE(fmt.Sprintf(format, sid), secdesc.SID{}, secdesc.SID{})
	if err != nil {
		t.Fatal(err)
	}
	return &plan.Entry{ACE: ace}
}

func canSignIn(y *yard, user plan.Target, password string) error {
	name := y.read(user.DN).GetAttributeValue("sAMAccountName")
	d, err := Open(y.t.Context(), y.configFor(name, password))
	if err == nil {
		_ = d.Close()
	}
	return err
}
