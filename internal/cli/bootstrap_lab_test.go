//go:build linux

// The lab runs on Linux only.

package cli_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	ldap "github.com/go-ldap/ldap/v3"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/apply"
	"github.com/leastwise/leastwise/internal/cli"
	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/plan"
	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/lab/labtest"
	"github.com/leastwise/leastwise/lab/need"
	"github.com/leastwise/leastwise/lab/samba"
)

// An estate is what is bootstrapped in the lab: an organizational unit of its own, an
// ordinary group, Domain Admins, and an account that nobody must touch.
type estate struct {
	t                                *testing.T
	lab                              *labtest.Lab
	admin                            *ldap.Conn
	ou, dir, tag                     string
	helpers, other, admins, stranger string // distinguished names
	service, manager                 samba.Account
	serviceDN, managerDN, managersDN string
	holder                           string // AdminSDHolder
	journals                         []string
	policies                         string
	digest                           *regexp.Regexp
}

func newEstate(t *testing.T) *estate {
	need.Long(t)
	lab := labtest.Start(t, labtest.Options{Single: true, Fresh: true}) // what one domain controller was told, another may not know yet
	tag := strings.ToLower(rand.Text()[:6])
	e := &estate{
		t: t, lab: lab, tag: tag, dir: t.TempDir(), ou: "OU=boot-" + tag + "," + lab.BaseDN,
		admins: "CN=Domain Admins,CN=Users," + lab.BaseDN, holder: "CN=AdminSDHolder,CN=System," + lab.BaseDN,
		digest: regexp.MustCompile(`digest (sha256:[0-9a-f]{64})`),
	}
	var err error
	if e.admin, err = lab.Dial(t.Context(), lab.DCs()[0], lab.Admin); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		del := ldap.NewDelRequest(e.ou, []ldap.Control{ldap.NewControlString("1.2.840.113556.1.4.805", true, "")})
		if err := e.admin.Del(del); err != nil {
			t.Error(err)
		}
		e.admin.Close()
	})
	e.helpers, e.other, e.stranger = "CN=helpers,"+e.ou, "CN=other,"+e.ou, "CN=stranger,"+e.ou
	e.serviceDN, e.managerDN, e.managersDN = "CN=lw-"+tag+","+e.ou, "CN=mgmt-"+tag+","+e.ou, "CN=managers-"+tag+","+e.ou
	e.add(e.ou, "organizationalUnit")
	e.add(e.helpers, "group", "sAMAccountName", "helpers-"+tag)
	e.add(e.other, "group", "sAMAccountName", "other-"+tag)
	e.add(e.stranger, "user", "sAMAccountName", "stranger-"+tag, "userAccountControl", "512", "unicodePwd", unicodePwd("Lw1-stranger-Passw0rd"))
	e.service = samba.Account{Name: "lw-" + tag, PasswordFile: filepath.Join(e.dir, "service")}
	e.manager = samba.Account{Name: "mgmt-" + tag, PasswordFile: filepath.Join(e.dir, "manager")}
	e.write("service", "Lw1-service-Passw0rd\n")
	e.write("manager", "Lw1-manager-Passw0rd")
	e.policies = e.write("grants.yaml", fmt.Sprintf(`grants: 1
policies:
  - name: domain-admins
    title: Domain Admins for an hour
    group: '%s'
    requesters: ['%[2]s\stranger-%[3]s']
    duration: {longest: 1h}
    approval: {needed: 0}
    through: '%[2]s\mgmt-%[3]s'
  - name: helpers
    title: Helpers
    group: '%[2]s\helpers-%[3]s'
    requesters: ['%[2]s\stranger-%[3]s']
    duration: {longest: 1h}
    approval: {needed: 0}
`, e.admins, lab.NetBIOS, tag))
	return e
}

func unicodePwd(password string) string {
	var b strings.Builder
	for _, r := range `"` + password + `"` {
		b.WriteString(string(r) + "\x00")
	}
	return b.String()
}

func (e *estate) write(name, text string) string {
	e.t.Helper()
	file := filepath.Join(e.dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		e.t.Fatal(err)
	}
	return file
}

func (e *estate) add(dn, class string, attrs ...string) {
	e.t.Helper()
	r := ldap.NewAddRequest(dn, nil)
	r.Attribute("objectClass", []string{class})
	for i := 0; i+1 < len(attrs); i += 2 {
		r.Attribute(attrs[i], []string{attrs[i+1]})
	}
	if err := e.admin.Add(r); err != nil {
		e.t.Fatalf("adding %s: %v", dn, err)
	}
}

func (e *estate) read(dn string) *ldap.Entry {
	e.t.Helper()
	r, err := e.admin.Search(ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"*", "nTSecurityDescriptor", "uSNChanged"}, nil))
	if err != nil || len(r.Entries) != 1 {
		e.t.Fatalf("reading %s: %v", dn, err)
	}
	return r.Entries[0]
}

func (e *estate) target(dn string) plan.Target {
	e.t.Helper()
	o := e.read(dn)
	g, err := secdesc.GUIDFromBytes(o.GetRawAttributeValue("objectGUID"))
	if err != nil {
		e.t.Fatal(err)
	}
	return plan.Target{GUID: g, DN: dn}
}

func (e *estate) sddl(dn string) string {
	e.t.Helper()
	d, err := secdesc.Parse(e.read(dn).GetRawAttributeValue("nTSecurityDescriptor"))
	if err != nil {
		e.t.Fatal(err)
	}
	return d.SDDL(secdesc.SID{})
}

// run runs leastwise as Administrator.
func (e *estate) run(want int, args ...string) (out, errs string) {
	e.t.Helper()
	args = append(args, "--dns", e.lab.DNS, "--ca", e.lab.CAFile, "--user", e.lab.Admin.Name, "--password-file", e.lab.Admin.PasswordFile, "-q")
	var o, x bytes.Buffer
	code := cli.Run(e.t.Context(), args, cli.Environment{Version: "test", In: strings.NewReader(""), Out: &o, Err: &x, Now: time.Now})
	if code != want {
		e.t.Fatalf("%q: exit code %d, want %d\n%s\n%s", args, code, want, o.String(), x.String())
	}
	return o.String(), x.String()
}

func (e *estate) bootstrap(want int, more ...string) (out, errs string) {
	e.t.Helper()
	return e.run(want, append([]string{
		"bootstrap", "--domain", e.lab.Domain, "--policies", e.policies, "--container", e.ou,
		"--service-account", e.service.Name, "--management-group", "managers-" + e.tag,
	}, more...)...)
}

// applyAll bootstraps until nothing is left to do, and returns how many plans it took.
func (e *estate) applyAll() int {
	e.t.Helper()
	for round := 1; ; round++ {
		file := filepath.Join(e.dir, fmt.Sprintf("plan-%d.json", round))
		_ = os.Remove(file)
		e.bootstrap(0, "--output", "json", "--out", file)
		b, err := os.ReadFile(file)
		if err != nil {
			e.t.Fatal(err)
		}
		if len(b) == 0 {
			return round - 1
		}
		if round > 5 {
			e.t.Fatalf("it goes on and on: %s", b)
		}
		p, err := plan.Parse(b)
		if err != nil {
			e.t.Fatal(err)
		}
		args := []string{"apply", file, "--digest", p.Digest(), "--domain", e.lab.Domain}
		if bytes.Contains(b, []byte(plan.ResetPassword)) {
			args = append(args, "--new-password-file", e.service.PasswordFile)
		}
		e.run(0, args...)
		e.journals = append(e.journals, file+".journal")
	}
}

// Bootstrapping gives exactly what is needed, says when nothing is left to do, and is
// taken back to the last byte; in between leastwise's account can do what it is for and,
// tried by doing, nothing else.
func TestBootstrap(t *testing.T) {
	e := newEstate(t)
	before := map[string]string{}
	for _, dn := range []string{e.helpers, e.admins, e.holder, e.ou, e.lab.BaseDN} {
		before[dn] = e.sddl(dn)
	}
	out, _ := e.bootstrap(1, "--verify")
	if !strings.Contains(out, "create group") || !strings.Contains(out, "Left for the next run") {
		t.Errorf("the first plan: %s", out)
	}
	if rounds := e.applyAll(); rounds != 3 {
		t.Errorf("%d plans, want 3", rounds)
	}
	out, _ = e.bootstrap(0, "--verify")
	if !strings.HasPrefix(out, "Nothing is left to do.") || !strings.Contains(out, "every group that AdminSDHolder protects") || strings.Contains(out, "To look at") {
		t.Errorf("the last run: %s", out)
	}
	if got := e.read(e.managerDN).GetAttributeValue("userAccountControl"); got != "1049090" {
		t.Errorf("userAccountControl of the management account is %s", got)
	}
	t.Run("identity", e.testIdentity)
	t.Run("surplus", e.testSurplus)
	t.Run("proof", e.testProof)
	for i := len(e.journals) - 1; i >= 0; i-- {
		e.run(0, "undo", e.journals[i], "--domain", e.lab.Domain)
	}
	for dn, was := range before {
		if now := e.sddl(dn); now != was {
			t.Errorf("%s: permissions after undoing\n%s, want\n%s", dn, now, was)
		}
	}
	r, err := e.admin.Search(ldap.NewSearchRequest(e.ou, ldap.ScopeSingleLevel, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"cn"}, nil))
	if err != nil || len(r.Entries) != 3 {
		t.Errorf("objects are left: %v, %v", r.Entries, err)
	}
}

func (e *estate) config(a samba.Account) dc.Config {
	e.t.Helper()
	pw, err := a.Password()
	if err != nil {
		e.t.Fatal(err)
	}
	return dc.Config{Domain: e.lab.Domain, DNS: e.lab.DNS, CAFile: e.lab.CAFile, Timeout: 20 * time.Second, Credentials: dc.Password(a.Name, pw)}
}

func (e *estate) duties() app.Duties {
	var d app.Duties

	name := func(n string) string { return e.lab.NetBIOS + `\` + n + "-" + e.tag }
	d.Add(app.Duty{Group: grantRef(e.admins), Through: grantRef(name("mgmt"))})
	d.Add(app.Duty{Group: grantRef(name("helpers"))})
	return d
}

func (e *estate) identity(t *testing.T) *app.Identity {
	t.Helper()
	id, err := app.CompareIdentity(t.Context(), e.config(e.service), e.duties())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// doctor returns the checks of rights as an account, one a line.
func (e *estate) doctor(t *testing.T, want int, a samba.Account) string {
	t.Helper()
	var o, x bytes.Buffer
	code := cli.Run(t.Context(), []string{
		"doctor", "--domain", e.lab.Domain, "--dns", e.lab.DNS, "--ca", e.lab.CAFile, "--user", a.Name, "--password-file", a.PasswordFile, "--policies", e.policies,
	}, cli.Environment{Version: "test", In: strings.NewReader(""), Out: &o, Err: &x, Now: time.Now})
	_, rights, ok := strings.Cut(o.String(), " rights ")
	if code != want || !ok {
		t.Errorf("doctor as %s: exit code %d, want %d\n%s\n%s", a.Name, code, want, o.String(), x.String())
	}
	return rights
}

// The bootstrapped account has what it needs, no more, and may start a server.
func (e *estate) testIdentity(t *testing.T) {
	if got := e.doctor(t, 0, e.service); !strings.Contains(got, "has what it needs for 2 groups and 1 management accounts, and no more") {
		t.Errorf("doctor: %s", got)
	}
	id := e.identity(t)
	if len(id.Missing)+len(id.Surplus)+len(id.Unread)+len(id.Powers) > 0 || id.Refusal() != nil {
		t.Errorf("%+v, %v", id, id.Refusal())
	}
	if !strings.EqualFold(id.DN, e.serviceDN) {
		t.Errorf("it takes itself for %s", id.DN)
	}
	// An account without any delegation lacks all of it, and is told what cannot be done.
	poor, err := app.CompareIdentity(t.Context(), e.config(samba.Account{Name: e.lab.Reader.Name, PasswordFile: e.lab.Reader.PasswordFile}), e.duties())
	if err != nil {
		t.Fatal(err)
	}
	if len(poor.Missing) != 3 || poor.Refusal() != nil || !strings.Contains(poor.Missing[0].String(), "no group can be written through it") {
		t.Errorf("%+v", poor)
	}
	// Administrator is refused.
	rich, err := app.CompareIdentity(t.Context(), e.config(e.lab.Admin), e.duties())
	if err != nil {
		t.Fatal(err)
	}
	if err := rich.Refusal(); !errors.Is(err, app.ErrPrivileged) || !strings.Contains(err.Error(), "Domain Admins") || len(rich.Surplus) == 0 {
		t.Errorf("%v, %+v", err, rich)
	}
}

// Every way of holding too much is reported with the entry, or refuses.
func (e *estate) testSurplus(t *testing.T) {
	member := func(group string, add bool) {
		t.Helper()
		r := ldap.NewModifyRequest(group, nil)
		if add {
			r.Add("member", []string{e.serviceDN})
		} else {
			r.Delete("member", []string{e.serviceDN})
		}
		if err := e.admin.Modify(r); err != nil {
			t.Fatal(err)
		}
	}
	nested := "CN=other," + e.ou
	backup := "CN=Backup Operators,CN=Builtin," + e.lab.BaseDN
	r := ldap.NewModifyRequest(backup, nil)
	r.Add("member", []string{nested})
	if err := e.admin.Modify(r); err != nil {
		t.Fatal(err)
	}
	member(nested, true)
	if err := e.identity(t).Refusal(); !errors.Is(err, app.ErrPrivileged) || !strings.Contains(err.Error(), "Backup Operators") {
		t.Errorf("nested in a protected group: %v", err)
	}
	member(nested, false)
	r = ldap.NewModifyRequest(backup, nil)
	r.Delete("member", []string{nested})
	if err := e.admin.Modify(r); err != nil {
		t.Fatal(err)
	}
	sid, err := secdesc.SIDFromBytes(e.read(e.serviceDN).GetRawAttributeValue("objectSid"))
	if err != nil {
		t.Fatal(err)
	}
	extra := fmt.Sprintf("(OA;;WP;f30e3bc2-9ff0-11d1-b603-0000f80367c1;;%s)", sid)
	e.run(0, "plan", "--domain", e.lab.Domain, "--grant", fmt.Sprintf(`"%s" %s`, e.helpers, extra), "--output", "json", "--out", filepath.Join(e.dir, "extra.json"))
	p, err := app.ReadPlan(filepath.Join(e.dir, "extra.json"))
	if err != nil {
		t.Fatal(err)
	}
	e.run(0, "apply", filepath.Join(e.dir, "extra.json"), "--digest", p.Digest(), "--domain", e.lab.Domain)
	id := e.identity(t)
	if len(id.Surplus) != 1 || id.Surplus[0].Entry != extra || id.Surplus[0].Object != e.helpers || id.Refusal() != nil {
		t.Errorf("an entry too many: %+v", id)
	}
	before, err := secdesc.Parse(e.read(e.other).GetRawAttributeValue("nTSecurityDescriptor"))
	if err != nil {
		t.Fatal(err)
	}
	owns := func(sid secdesc.SID) {
		t.Helper()
		r := ldap.NewModifyRequest(e.other, []ldap.Control{ldap.NewControlString("1.2.840.113556.1.4.801", true, "0\x03\x02\x01\x01")})
		r.Replace("nTSecurityDescriptor", []string{string((&secdesc.Descriptor{Owner: sid}).Bytes())})
		if err := e.admin.Modify(r); err != nil {
			t.Fatal(err)
		}
	}
	owns(sid)
	defer owns(before.Owner)
	if got := e.doctor(t, 0, e.service); !strings.Contains(got, extra) || !strings.Contains(got, e.other+": owns it") || !strings.Contains(got, "2 rights:") {
		t.Errorf("doctor does not see what is too much: %s", got)
	}
	out, _ := e.bootstrap(1, "--verify")
	if !strings.Contains(out, "To look at") || !strings.Contains(out, extra) {
		t.Errorf("bootstrap does not see it: %s", out)
	}
	e.run(0, "undo", filepath.Join(e.dir, "extra.json.journal"), "--domain", e.lab.Domain)
	count := ldap.NewModifyRequest(e.serviceDN, nil)
	count.Replace("adminCount", []string{"1"})
	if err := e.admin.Modify(count); err != nil {
		t.Fatal(err)
	}
	if err := e.identity(t).Refusal(); !errors.Is(err, app.ErrPrivileged) || !strings.Contains(err.Error(), "adminCount") {
		t.Errorf("adminCount: %v", err)
	}
	count = ldap.NewModifyRequest(e.serviceDN, nil)
	count.Replace("adminCount", nil)
	if err := e.admin.Modify(count); err != nil {
		t.Fatal(err)
	}
}

// through is used by the proof: what the service account does with a management account.
func (e *estate) through(t *testing.T, change plan.Kind) {
	t.Helper()
	d, err := apply.Open(t.Context(), e.config(e.service))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	who, group := e.target(e.stranger), e.target(e.admins)
	p, err := plan.New(e.lab.Domain, "", time.Now(), []plan.Change{{Kind: change, Object: group, Member: &who}})
	if err != nil {
		t.Fatal(err)
	}
	done, err := d.Through(t.Context(), apply.Use{Account: e.target(e.managerDN), Object: group.GUID, Do: func(ctx ctxt, lent *apply.Directory) error {
		j, err := apply.OpenFile(filepath.Join(t.TempDir(), "journal"))
		if err != nil {
			return err
		}
		defer j.Close()
		_, err = (&apply.Run{Directory: lent, Journal: j, Now: time.Now}).Apply(ctx, p, p.Digest())
		return err
	}})
	if !done || err != nil {
		t.Errorf("%s through the management account: %t, %v", change, done, err)
	}
}
