//go:build linux

// The lab runs on Linux only.

package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/client"
	krbconfig "github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/spnego"
	"github.com/pquerna/otp/totp"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/operator/operatortest"
	"github.com/leastwise/leastwise/lab/labtest"
	"github.com/leastwise/leastwise/lab/need"
)

// A scene is a lab with accounts of the test's own, and operators on it.
type scene struct {
	*labtest.Lab
	t       *testing.T
	mark    string // at the end of all names
	service string // principal name of the service
	o       *Operators
	store   *operatortest.Memory
	s       *operator.Service
}

const scenePassword = "Correct-Horse-7-Battery"

func (x *scene) name(n string) string { return n + x.mark }

func (x *scene) user(n string) string {
	x.t.Helper()
	name := x.name(n)
	x.SambaTool("user", "create", name, scenePassword)
	x.t.Cleanup(func() { _, _ = x.Lab.Lab.SambaTool(context.Background(), "user", "delete", name) })
	return name
}

func (x *scene) group(n string, args ...string) string {
	x.t.Helper()
	name := x.name(n)
	x.SambaTool(append([]string{"group", "add", name}, args...)...)
	x.t.Cleanup(func() { _, _ = x.Lab.Lab.SambaTool(context.Background(), "group", "delete", name) })
	return name
}

func (x *scene) member(group, of string) {
	x.t.Helper()
	x.SambaTool("group", "addmembers", of, group)
}

// write replaces one value of an account.
func (x *scene) write(account, attribute, value string) {
	x.t.Helper()
	x.Python(`
import json, os, sys, ldb
from samba.samdb import SamDB
from samba.param import LoadParm
from samba.credentials import Credentials
lab = json.load(open(os.environ['LAB_FILE']))
lp = LoadParm(lab['client_conf'])
c = Credentials()
c.guess(lp)
c.set_username(os.environ['USER'])
c.set_password(open(os.environ['PASSWD_FILE']).read().strip())
db = SamDB('ldap://' + lab['hosts'][0]['fqdn'], credentials=c, lp=lp)
m = ldb.Message(db.search(expression='(sAMAccountName=%s)' % sys.argv[1], attrs=[])[0].dn)
m['v'] = ldb.MessageElement(sys.argv[3], ldb.FLAG_MOD_REPLACE, sys.argv[2])
db.modify(m)
`, nil, account, attribute, value)
}

// ownLab has one domain controller: what is written on it, it knows at once.
var ownLab = labtest.Package{Options: labtest.Options{Single: true, Fresh: true}}

func TestMain(m *testing.M) {
	code := m.Run()
	if err := ownLab.Down(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func newScene(t *testing.T, policies string) *scene {
	t.Helper()
	need.Long(t)
	x := &scene{Lab: ownLab.Start(t), t: t, mark: "-" + strings.ToLower(rand.Text()[:6])}
	svc := x.user("svc")
	x.service = "HTTP/web" + x.mark + "." + x.Domain
	x.SambaTool("spn", "add", x.service, svc)
	x.write(svc, "msDS-SupportedEncryptionTypes", "24") // else tickets for it are RC4
	keytab := filepath.Join(t.TempDir(), "keytab")
	cmd := x.Command(t.Context(), "samba-tool", "domain", "exportkeytab", keytab, "--principal="+svc, "-s", x.DCs()[0].SmbConf)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("exporting a keytab: %v\n%s", err, out)
	}
	o, err := OpenOperators(t.Context(), OperatorSettings{
		Directory: dc.Config{Domain: x.Domain, DNS: x.DNS, CAFile: x.CAFile, Credentials: dc.Password(x.Reader.Name, x.ReaderPassword())},
		Keytab:    keytab,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close() })
	x.o, x.store = o, operatortest.NewMemory()
	x.use(policies)
	return x
}

// use makes the service anew, with policies.
func (x *scene) use(policies string) {
	x.t.Helper()
	p, err := operator.ParsePolicies("test.cedar", []byte(strings.ReplaceAll(policies, "MARK", x.mark)))
	if err != nil {
		x.t.Fatal(err)
	}
	text, err := operator.GenerateKeys()
	if err != nil {
		x.t.Fatal(err)
	}
	keys, err := operator.ReadKeys(text)
	if err != nil {
		x.t.Fatal(err)
	}
	if x.s, err = operator.New(operator.Options{Store: x.store, Membership: x.o, Authenticator: x.o, Policies: p, Keys: keys}); err != nil {
		x.t.Fatal(err)
	}
}

func (x *scene) visit() operator.Visit {
	return operator.Visit{From: netip.MustParseAddr("192.0.2.1"), Request: "r1", Now: time.Now().UTC()}
}

// token returns what a client sends: made by gokrb5's client, which shares nothing with
// the acceptor but the library's messages.
func (x *scene) token(user string) []byte {
	x.t.Helper()
	conf, err := krbconfig.Load(x.Krb5Conf)
	if err != nil {
		x.t.Fatal(err)
	}
	c := client.NewWithPassword(user, x.Realm, scenePassword, conf, client.DisablePAFXFAST(true))
	defer c.Destroy()
	if err := c.Login(); err != nil {
		x.t.Fatal(err)
	}
	tok, err := spnego.SPNEGOClient(c, x.service).InitSecContext()
	if err != nil {
		x.t.Fatal(err)
	}
	b, err := tok.Marshal()
	if err != nil {
		x.t.Fatal(err)
	}
	return b
}

// refused returns the reason in the newest refusal of the log.
func (x *scene) refused() string {
	x.t.Helper()
	log := x.store.Log()
	if len(log.Entries) == 0 || log.Entries[len(log.Entries)-1].Phase != audit.Refusal {
		x.t.Fatal("the newest entry is no refusal")
	}
	return log.Entries[len(log.Entries)-1].Reason
}

// strong gives a session a fresh second factor.
func (x *scene) strong(in operator.SignIn) operator.SignIn {
	x.t.Helper()
	must := func(err error) {
		x.t.Helper()
		if err != nil {
			x.t.Fatal(err)
		}
	}
	who := func(later time.Duration) operator.Caller {
		v := x.visit()
		v.Now = v.Now.Add(later)
		c, err := x.s.Identify(x.t.Context(), v, in.Secret)
		must(err)
		return c
	}
	e, err := x.s.BeginTOTP(x.t.Context(), who(0), "app", operator.Secret{})
	must(err)
	code, err := totp.GenerateCode(e.Secret.Reveal(), time.Now())
	must(err)
	_, err = x.s.ConfirmTOTP(x.t.Context(), who(0), e.Factor.ID, code)
	must(err)
	const step = 30 * time.Second // the code of the confirmation is used up
	code, err = totp.GenerateCode(e.Secret.Reveal(), time.Now().Add(step))
	must(err)
	in, err = x.s.StepUpTOTP(x.t.Context(), who(step), code)
	must(err)
	return in
}

// lockout sets the domain's threshold for the time of a test.
func (x *scene) lockout(threshold string) {
	x.t.Helper()
	x.SambaTool("domain", "passwordsettings", "set", "--account-lockout-threshold="+threshold)
	x.t.Cleanup(func() {
		_, _ = x.Lab.Lab.SambaTool(context.Background(), "domain", "passwordsettings", "set", "--account-lockout-threshold=0")
	})
}

// However many wrong passwords come at once, and from wherever, the account is not locked:
// they are tried one after the other, and the count is read before each.
func TestOperatorsPasswordAtOnce(t *testing.T) {
	x := newScene(t, operator.DefaultPolicies())
	x.lockout("6")
	anna := x.user("anna")
	a, err := x.o.Account(t.Context(), operator.AccountRef{Name: anna})
	if err != nil {
		t.Fatal(err)
	}
	var tried atomic.Int64
	var group sync.WaitGroup
	for i := range 12 {
		group.Go(func() {
			switch err := x.o.Password(t.Context(), a, operator.NewSecret(fmt.Sprint("wrong ", i))); {
			case errors.Is(err, operator.ErrSignIn):
				tried.Add(1)
			case !errors.Is(err, operator.ErrRetry):
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := tried.Load(); n != 4 {
		t.Errorf("%d of 12 were tried, want all but the two that are the owner's", n)
	}
	if err := dc.VerifyPassword(t.Context(), x.o.cfg, x.o.reader.Server(), a.DN, scenePassword); err != nil {
		t.Errorf("the owner himself: %v", err)
	}
}

// Wrong passwords that the primary domain controller has counted are counted, whichever
// domain controller is asked.
func TestOperatorsPasswordAsksThePrimary(t *testing.T) {
	need.Long(t)
	l := labtest.Start(t, labtest.Options{})
	dcs := l.DCs()
	name := "primary-" + strings.ToLower(rand.Text()[:6])
	undo := func(args ...string) { t.Cleanup(func() { _, _ = l.Lab.SambaTool(context.Background(), args...) }) }
	admin, err := l.Admin.Password()
	if err != nil {
		t.Fatal(err)
	}
	l.SambaTool("user", "create", name, scenePassword)
	undo("user", "delete", name)
	l.SambaTool("domain", "passwordsettings", "pso", "create", name, "9", "--account-lockout-threshold=6")
	undo("domain", "passwordsettings", "pso", "delete", name)
	l.SambaTool("domain", "passwordsettings", "pso", "apply", name, name)
	l.SambaTool("dsacl", "set", "--objectdn=CN="+name+",CN=Password Settings Container,CN=System,"+l.BaseDN, "--sddl=(A;;GR;;;AU)", "-H", "ldap://"+dcs[0].FQDN, "-U", l.Admin.Name+"%"+admin)
	cfg := dc.Config{Server: dcs[1].FQDN, DNS: l.DNS, CAFile: l.CAFile, Credentials: dc.Password(l.Reader.Name, l.ReaderPassword())}
	o, err := OpenOperators(t.Context(), OperatorSettings{Directory: cfg})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	var a operator.Account
	for begin := time.Now(); ; time.Sleep(time.Second) { // replication
		if a, err = o.Account(t.Context(), operator.AccountRef{Name: name}); err != nil {
			t.Fatal(err)
		}
		if a.Exists {
			if near, _, err := o.reader.Lockout(t.Context(), a.DN, time.Now()); err == nil && near.Threshold == 6 {
				break
			}
		}
		if time.Since(begin) > 2*time.Minute {
			t.Fatal("the account and its password settings did not arrive")
		}
	}
	for range 4 {
		if err := dc.VerifyPassword(t.Context(), cfg, dc.Server{Name: dcs[0].FQDN}, a.DN, "wrong"); !errors.Is(err, dc.ErrWrongPassword) {
			t.Fatal(err)
		}
	}
	if err := o.Password(t.Context(), a, operator.NewSecret("wrong")); !errors.Is(err, operator.ErrRetry) {
		t.Errorf("the fifth, through the other domain controller: %v", err)
	}
	o.primary.fail()
	if err := o.Password(t.Context(), a, operator.NewSecret(scenePassword)); err != nil {
		t.Errorf("while the primary cannot be asked: %v", err)
	}
}

// Kerberos: the ticket's SID says who it is; a token is good once, for this service, as
// it was sent.
func TestOperatorsKerberos(t *testing.T) {
	x := newScene(t, operator.DefaultPolicies())
	anna := x.user("anna")
	token := x.token(anna)
	in, err := x.s.SignInKerberos(t.Context(), x.visit(), token, nil)
	if err != nil {
		t.Fatal(err, x.refused())
	}
	if want := "CONTOSO\\" + anna; in.Session.Name != want || in.Session.Method != audit.Kerberos {
		t.Errorf("signed in %s by %s, want %s", in.Session.Name, in.Session.Method, want)
	}
	if _, err := x.s.SignInKerberos(t.Context(), x.visit(), token, nil); !errors.Is(err, operator.ErrSignIn) || !strings.Contains(x.refused(), "used before") {
		t.Errorf("a repeated token: %v, %s", err, x.refused())
	}
	for _, at := range []int{len(token) - 1, len(token) / 2, len(token) - 40} {
		bad := slices.Clone(token)
		bad[at] ^= 1
		if _, err := x.s.SignInKerberos(t.Context(), x.visit(), bad, nil); !errors.Is(err, operator.ErrSignIn) {
			t.Errorf("a token with byte %d changed: %v", at, err)
		}
	}
	x.service = "HOST/" + x.DCs()[0].FQDN
	if _, err := x.s.SignInKerberos(t.Context(), x.visit(), x.token(anna), nil); !errors.Is(err, operator.ErrSignIn) {
		t.Errorf("a ticket for another service: %v", err)
	}
}

// The directory's password: only the right one, of an account in use, whatever name is
// typed; a name that two accounts claim is nobody's.
func TestOperatorsPassword(t *testing.T) {
	x := newScene(t, operator.DefaultPolicies())
	anna, off := x.user("anna"), x.user("off")
	x.SambaTool("user", "disable", off)
	upn := anna + "@" + x.Domain
	for _, name := range []string{anna, strings.ToUpper(anna), `CONTOSO\` + anna, x.Domain + `\` + anna, upn} {
		in, err := x.s.SignInPassword(t.Context(), x.visit(), name, operator.NewSecret(scenePassword))
		if err != nil || in.Session.Name != `CONTOSO\`+anna {
			t.Errorf("%s: %s, %v", name, in.Session.Name, err)
		}
	}
	for _, c := range []struct{ name, password string }{
		{anna, "wrong"},
		{off, scenePassword},
		{x.name("nobody"), scenePassword},
		{`OTHER\` + anna, scenePassword},
		{"*", scenePassword},
		{anna + ")(cn=*", scenePassword},
		{`\`, scenePassword},
		{"@", scenePassword},
	} {
		if _, err := x.s.SignInPassword(t.Context(), x.visit(), c.name, operator.NewSecret(c.password)); !errors.Is(err, operator.ErrSignIn) {
			t.Errorf("%q: %v", c.name, err)
		}
	}
	if strings.Contains(x.store.Dump(), scenePassword) {
		t.Error("the store holds the password")
	}
}

const nestedPolicies = `
@id("approvers") permit (principal in Group::"CONTOSO\\approversMARK", action == Action::"audit.read", resource);
@id("not-these") forbid (principal in Group::"CONTOSO\\bannedMARK", action, resource);
`

// Membership is asked of the directory, through nested groups, at each decision that
// counts; and what is taken away there is taken away here.
func TestOperatorsNestedGroup(t *testing.T) {
	x := newScene(t, `@id("none") permit (principal, action == Action::"grant.request", resource);`)
	anna := x.user("anna")
	approvers, inner, banned := x.group("approvers"), x.group("inner"), x.group("banned")
	x.member(anna, inner)
	x.use(nestedPolicies)
	in, err := x.s.SignInPassword(t.Context(), x.visit(), anna, operator.NewSecret(scenePassword))
	if err != nil {
		t.Fatal(err)
	}
	ask := func() (operator.Decision, error) {
		v := x.visit()
		c, err := x.s.Identify(t.Context(), v, in.Secret)
		if err != nil {
			t.Fatal(err)
		}
		c.Now = c.Now.Add(time.Duration(len(x.store.Log().Entries)) * time.Minute) // the cache is over
		return x.s.Authorize(t.Context(), c, operator.AuditRead, operator.Server())
	}
	if _, err := ask(); !errors.Is(err, operator.ErrForbidden) {
		t.Errorf("before the group is nested: %v", err)
	}
	x.member(inner, approvers)
	if d, err := ask(); err != nil || len(d.Policies) != 1 || d.Policies[0].ID != "approvers" {
		t.Errorf("in a nested group: %+v, %v", d, err)
	}
	x.SambaTool("group", "addmembers", banned, anna)
	x.use(nestedPolicies) // another node, whose cache is empty
	if d, err := ask(); !errors.Is(err, operator.ErrForbidden) || !strings.Contains(x.refused(), "not-these") {
		t.Errorf("in a forbidden group: %+v, %v", d, err)
	}
	x.SambaTool("group", "removemembers", banned, anna)
	if _, err := ask(); err != nil {
		t.Error(err)
	}
	x.SambaTool("group", "delete", banned)
	x.use(nestedPolicies)
	if _, err := ask(); !errors.Is(err, operator.ErrForbidden) || !strings.Contains(x.refused(), "does not have") {
		t.Errorf("a forbidding policy names a group that is gone: %v", err)
	}
}

// The account that is disabled while its token lives may do nothing, and its sessions and
// tokens end.
func TestOperatorsDisabledMeanwhile(t *testing.T) {
	x := newScene(t, operator.DefaultPolicies())
	job := x.user("job")
	in, err := x.s.SignInKerberos(t.Context(), x.visit(), x.token(job), nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x.s.Identify(t.Context(), x.visit(), x.strong(in).Secret)
	if err != nil {
		t.Fatal(err)
	}
	_, secret, err := x.s.IssueToken(t.Context(), c, operator.TokenOrder{Label: "nightly", Scope: []operator.Action{operator.GrantRequest}})
	if err != nil {
		t.Fatal(err)
	}
	use := func(later time.Duration) error {
		v := x.visit()
		v.Now = v.Now.Add(later)
		c, err := x.s.Identify(t.Context(), v, secret)
		if err != nil {
			return err
		}
		_, err = x.s.Authorize(t.Context(), c, operator.GrantRequest, operator.Resource{Kind: operator.OnGrantPolicy, ID: "quick"})
		return err
	}
	if err := use(0); err != nil {
		t.Fatal(err)
	}
	x.SambaTool("user", "disable", job)
	if err := use(31 * time.Second); !errors.Is(err, operator.ErrForbidden) {
		t.Errorf("the cache is at most 30 s old: %v", err)
	}
	for _, s := range []operator.Secret{secret, in.Secret} {
		if _, err := x.s.Identify(t.Context(), x.visit(), s); !errors.Is(err, operator.ErrSignedOut) {
			t.Errorf("after that: %v", err)
		}
	}
	x.SambaTool("user", "enable", job)
	if err := use(time.Minute); !errors.Is(err, operator.ErrSignedOut) {
		t.Errorf("an account that is enabled again gets its token back: %v", err)
	}
}

// A group is found by SID, by objectGUID and by name; one that does not exist is said to
// be absent, which is not the same as not being in it.
func TestOperatorsGroupNames(t *testing.T) {
	x := newScene(t, operator.DefaultPolicies())
	anna, g, other := x.user("anna"), x.group("g"), x.group("other", "--group-scope=Domain")
	x.member(anna, g)
	a, err := x.o.Account(t.Context(), operator.AccountRef{Name: anna})
	if err != nil || !a.Exists {
		t.Fatal(a, err)
	}
	known, err := x.o.groups(t.Context(), []string{g})
	if err != nil || len(known) == 0 {
		t.Fatal(known, err)
	}
	sid := known[strings.ToLower(g)].String()
	var guid string
	for key := range known {
		if strings.Count(key, "-") == 4 && len(key) == 36 {
			guid = key
		}
	}
	yes := []string{sid, guid, g, strings.ToUpper(g), `CONTOSO\` + g, x.Domain + `\` + g, `CONTOSO\Domain Users`}
	no := []string{`CONTOSO\` + other, "S-1-5-32-544"}
	absent := []string{`OTHER\` + g, x.name("none"), "S-1-5-21-1-2-3-4", "00000000-0000-4000-9000-000000000001", "*"}
	st, err := x.o.Standing(t.Context(), a.GUID, slices.Concat(yes, no, absent))
	if err != nil || !slices.Equal(st.In, yes) || !slices.Equal(st.Absent, absent) {
		t.Errorf("in %q\nwant %q\nabsent %q\nwant %q (%v)", st.In, yes, st.Absent, absent, err)
	}
	var many []string
	for i := range 250 {
		many = append(many, fmt.Sprintf("none-%d", i))
	}
	st, err = x.o.Standing(t.Context(), a.GUID, append(many, g))
	if err != nil || len(st.Absent) != 250 || !slices.Equal(st.In, []string{g}) {
		t.Errorf("in %q, %d absent, %v", st.In, len(st.Absent), err)
	}
	for _, ref := range []operator.AccountRef{{GUID: a.GUID}, {SID: a.SID}, {Name: anna}} {
		if b, err := x.o.Account(t.Context(), ref); err != nil || b != a {
			t.Errorf("%+v: %+v, %v", ref, b, err)
		}
	}
	for _, ref := range []operator.AccountRef{{GUID: operatortest.GUID(1)}, {Name: g}, {Name: ""}} {
		if b, err := x.o.Account(t.Context(), ref); err != nil || b.Exists {
			t.Errorf("%+v: %+v, %v", ref, b, err)
		}
	}
}
