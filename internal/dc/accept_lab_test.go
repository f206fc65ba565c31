//go:build linux

// The lab runs on Linux only.

package dc

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/lab/labtest"
)

const labPassword = "Correct-Horse-7-Battery"

// labWrite replaces one value of an account.
func labWrite(l *labtest.Lab, account, attribute, value string) {
	l.Python(`
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

// A real ticket proves who the client is, tied to a TLS connection or not, and the
// client takes the reply as proof of the service.
func TestAcceptOnLab(t *testing.T) {
	l := lab(t)
	l.SambaTool("user", "create", "acc-web", labPassword)
	l.SambaTool("user", "create", "acc-anna", labPassword)
	l.SambaTool("spn", "add", "HTTP/acc-web."+l.Domain, "acc-web")
	labWrite(l, "acc-web", "msDS-SupportedEncryptionTypes", "24")
	path := filepath.Join(t.TempDir(), "keytab")
	cmd := l.Command(t.Context(), "samba-tool", "domain", "exportkeytab", path, "--principal=acc-web", "-s", l.DCs()[0].SmbConf)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cfg, err := (Config{Domain: l.Domain, DNS: l.DNS, CAFile: l.CAFile, Credentials: Password("acc-anna", labPassword)}).withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	k := newKerberos(cfg)
	tkt, err := k.service(t.Context(), l.Domain, netip.MustParseAddr(l.DCs()[0].Address), "HTTP/acc-web."+l.Domain)
	if err != nil {
		t.Fatal(err)
	}
	here, there := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	var once [][32]byte
	for _, c := range []struct {
		what     string
		bound    []byte // what the client ties its token to
		endpoint []byte // of the server
		strict   bool
		want     string // empty: accepted
	}{
		{"not tied", nil, here, false, ""},
		{"tied", bindings(here), here, true, ""},
		{"tied elsewhere", bindings(there), here, false, "somebody stands between"},
		{"not tied, but it must be", nil, here, true, "not tied"},
	} {
		a, err := NewAcceptor(path, c.strict)
		if err != nil {
			t.Fatal(err)
		}
		g, token, err := k.newGSS(tkt, gssInteg, c.bound)
		if err != nil {
			t.Fatal(err)
		}
		acc, err := a.Accept(negotiationInit(token), c.endpoint)
		if c.want != "" {
			if !errors.Is(err, ErrTicket) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v", c.what, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		sid := strings.TrimSpace(l.SambaTool("user", "show", "acc-anna", "--attributes=objectSid"))
		if !strings.HasSuffix(sid, "objectSid: "+acc.SID.String()) || acc.Client != "acc-anna@"+l.Realm || acc.Bound != (c.bound != nil) {
			t.Errorf("%s: %+v, want %s", c.what, acc, sid)
		}
		if proved, err := g.finish(acc.Reply); err != nil || !proved {
			t.Errorf("%s: the client does not take the reply: %v, %v", c.what, proved, err)
		}
		once = append(once, acc.Once)
		// The same token is the same to who remembers it.
		again, err := a.Accept(negotiationInit(token), c.endpoint)
		if err != nil || again.Once != acc.Once || !again.Until.After(time.Now().Add(5*time.Minute)) {
			t.Errorf("%s, again: %+v, %v", c.what, again, err)
		}
	}
	if len(once) != 2 || once[0] == once[1] {
		t.Errorf("two tokens have the identifiers %x", once)
	}
}

// A password is verified where the count of wrong ones was read, and not tried when one
// more could lock the account; the owner keeps tries of his own.
func TestLockoutOnLab(t *testing.T) {
	l := lab(t)
	l.SambaTool("user", "create", "lock-anna", labPassword)
	l.SambaTool("domain", "passwordsettings", "pso", "create", "lock-pso", "1", "--account-lockout-threshold=5", "--account-lockout-duration=30", "--reset-account-lockout-after=30")
	l.SambaTool("domain", "passwordsettings", "pso", "apply", "lock-pso", "lock-anna")
	cfg := Config{Domain: l.Domain, DNS: l.DNS, CAFile: l.CAFile, Credentials: Password(l.Admin.Name, password(t, l.Admin))}
	r, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	const rdn = "CN=lock-anna,CN=Users,"
	dn := rdn + l.BaseDN
	for bad := 0; ; bad++ {
		near, server, err := r.Lockout(t.Context(), dn, time.Now())
		if err != nil || near.Threshold != 5 || near.Bad != bad || near.Window != 30*time.Minute {
			t.Fatalf("after %d wrong passwords: %+v, %v", bad, near, err)
		}
		if near.Near() {
			if bad != 3 {
				t.Errorf("%d wrong passwords were tried", bad)
			}
			if err := VerifyPassword(t.Context(), cfg, server, dn, labPassword); err != nil {
				t.Errorf("the account is locked: %v", err)
			}
			break
		}
		if err := VerifyPassword(t.Context(), cfg, server, dn, "wrong"); !Refused(err) || !errors.Is(err, ErrWrongPassword) {
			t.Fatal(err)
		}
	}
	if near, _, err := r.Lockout(t.Context(), dn, time.Now()); err != nil || near.Bad != 0 {
		t.Errorf("after the right one: %+v, %v", near, err)
	}
	// The domain's own policy has no threshold in the lab.
	if near, _, err := r.Lockout(t.Context(), "CN=Guest,CN=Users,"+l.BaseDN, time.Now()); err != nil || near.Threshold != 0 || near.Near() {
		t.Errorf("%+v, %v", near, err)
	}
	if _, _, err := r.Lockout(t.Context(), "CN=nobody,CN=Users,"+l.BaseDN, time.Now()); !errors.Is(err, ErrNoSuchObject) {
		t.Error(err)
	}
	// Who may not read the policy does not know how near it is.
	cfg.Credentials = Password(l.Reader.Name, l.ReaderPassword())
	reader, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	near, _, err := reader.Lockout(t.Context(), dn, time.Now())
	if !near.Near() && err == nil {
		t.Errorf("an ordinary reader: %+v, %v", near, err)
	}
	t.Logf("an ordinary reader: %+v, %v", near, err)
}

// What the account may not see is not known, and counts as near: neither the count of wrong
// passwords nor the password settings object is taken for absent because it is hidden.
func TestLockoutThatIsHidden(t *testing.T) {
	l := lab(t)
	r, err := Open(t.Context(), Config{Server: l.DCs()[0].FQDN, DNS: l.DNS, CAFile: l.CAFile, Credentials: Password(l.Reader.Name, l.ReaderPassword())})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	who, err := r.WhoAmI(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sid, err := secdesc.SIDFromBytes(who.SID)
	if err != nil {
		t.Fatal(err)
	}
	const policy = "lock-veiled"
	hide := "(OD;;RP;%s;;" + sid.String() + ")"
	cases := map[string]struct {
		entry  string
		known  bool
		unread string
	}{
		"veiled-none":  {"", true, ""},
		"veiled-count": {fmt.Sprintf(hide, "bf96792e-0de6-11d0-a285-00aa003049e2"), false, "badPwdCount"},
		"veiled-set":   {fmt.Sprintf(hide, "5f202010-79a5-11d0-9020-00c04fc2d4cf"), false, "badPwdCount"},
		"veiled-pso":   {fmt.Sprintf(hide, "b77ea093-88d0-4780-9a98-911f8e8b1dca"), false, "msDS-ResultantPSO"},
		"veiled-all":   {"(D;;RPRC;;;" + sid.String() + ")", false, "msDS-ResultantPSO"},
	}
	l.SambaTool("domain", "passwordsettings", "pso", "create", policy, "7", "--account-lockout-threshold=5")
	args := []string{policy, "(A;;GR;;;" + sid.String() + ")", labPassword}
	for name, c := range cases {
		args = append(args, name+" "+c.entry)
	}
	l.Python(`
import json, os, sys, ldb
from samba.samdb import SamDB
from samba.param import LoadParm
from samba.credentials import Credentials
from samba.dcerpc import security
from samba.ndr import ndr_pack, ndr_unpack
lab = json.load(open(os.environ['LAB_FILE']))
lp = LoadParm(lab['client_conf'])
c = Credentials()
c.guess(lp)
c.set_username(os.environ['USER'])
c.set_password(open(os.environ['PASSWD_FILE']).read().strip())
db = SamDB('ldap://' + lab['hosts'][0]['fqdn'], credentials=c, lp=lp)
domain = security.dom_sid(db.get_domain_sid())
def entry(dn, text):
    raw = db.search(base=dn, scope=ldb.SCOPE_BASE, attrs=['nTSecurityDescriptor'])[0]['nTSecurityDescriptor'][0]
    sddl = ndr_unpack(security.descriptor, raw).as_sddl(domain)
    at = sddl.index('(', sddl.index('D:'))
    m = ldb.Message(ldb.Dn(db, dn))
    sd = security.descriptor.from_sddl(sddl[:at] + text + sddl[at:], domain)
    m['v'] = ldb.MessageElement(ndr_pack(sd), ldb.FLAG_MOD_REPLACE, 'nTSecurityDescriptor')
    db.modify(m, ['sd_flags:1:4'])
policy = 'CN=%s,CN=Password Settings Container,CN=System,%s' % (sys.argv[1], db.domain_dn())
entry(policy, sys.argv[2])
for a in sys.argv[4:]:
    name, _, text = a.partition(' ')
    dn = 'CN=%s,CN=Users,%s' % (name, db.domain_dn())
    db.newuser(name, sys.argv[3])
    m = ldb.Message(ldb.Dn(db, policy))
    m['v'] = ldb.MessageElement(dn, ldb.FLAG_MOD_ADD, 'msDS-PSOAppliesTo')
    db.modify(m)
    if text:
        entry(dn, text)
`, nil, args...)
	for name, c := range cases {
		near, _, err := r.Lockout(t.Context(), "CN="+name+",CN=Users,"+l.BaseDN, time.Now())
		if err != nil || near.Known() != c.known || near.Near() == c.known || !strings.Contains(near.Unread, c.unread) {
			t.Errorf("%s: %+v, %v", name, near, err)
		}
	}
}

// The primary domain controller is found, and is nobody's other than the one in use where
// that is it.
func TestPrimary(t *testing.T) {
	l := lab(t)
	for i, d := range l.DCs() {
		r, err := Open(t.Context(), Config{Server: d.FQDN, DNS: l.DNS, CAFile: l.CAFile, Credentials: Password(l.Reader.Name, l.ReaderPassword())})
		if err != nil {
			t.Fatal(err)
		}
		name, err := r.Primary(t.Context())
		if want := map[bool]string{true: "", false: l.DCs()[0].FQDN}[i == 0]; err != nil || !strings.EqualFold(name, want) {
			t.Errorf("through %s: %q, %v, want %q", d.FQDN, name, err, want)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}
