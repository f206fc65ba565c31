package labtest_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/leastwise/leastwise/internal/forest/fixture"
	"github.com/leastwise/leastwise/lab/labtest"
	"github.com/leastwise/leastwise/lab/samba"
)

// One lab of its own, and every promise of it in turn.
func TestLab(t *testing.T) {
	bystander := startBystander(t)
	before := hostFiles(t)
	l := labtest.Start(t, labtest.Options{Fresh: true})

	t.Run("a user made on dc1 arrives on dc2", func(t *testing.T) { arrives(t, l, 1, 2, "arrival.one") })
	t.Run("a user made on dc2 arrives on dc1", func(t *testing.T) { arrives(t, l, 2, 1, "arrival.two") })
	t.Run("LDAPS verifies with the lab's authority only", func(t *testing.T) { verifies(t, l) })
	t.Run("Kerberos", func(t *testing.T) { kerberos(t, l) })
	t.Run("simple binds without TLS are refused", func(t *testing.T) { refusesClear(t, l) })
	t.Run("the member server names its local administrators", func(t *testing.T) { localAdmins(t, l) })
	t.Run("policy files are the same on both", func(t *testing.T) { sameSysvol(t, l) })
	t.Run("a fixture reaches both", func(t *testing.T) { seeds(t, l) })
	t.Run("audit log", func(t *testing.T) { audits(t, l) })
	t.Run("up again changes nothing", func(t *testing.T) { upAgain(t, l) })
	t.Run("a second lab beside it", func(t *testing.T) { beside(t, l) })
	t.Run("a domain controller stops and starts", func(t *testing.T) { stops(t, l) })
	t.Run("down leaves nothing and ends nobody else", func(t *testing.T) { down(t, l, bystander) })

	for name, sum := range hostFiles(t) {
		if before[name] != sum {
			t.Errorf("%s of the machine was changed", name)
		}
	}
}

// startBystander starts a process that no lab may touch, with a name that a
// careless one would.
func startBystander(t *testing.T) *exec.Cmd {
	t.Helper()
	bin, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	cmd := &exec.Cmd{Path: bin, Args: []string{"samba", "600"}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

func hostFiles(t *testing.T) map[string]string {
	t.Helper()
	sums := map[string]string{}
	for _, name := range []string{"/etc/krb5.conf", "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/passwd", "/etc/samba/smb.conf"} {
		b, err := os.ReadFile(name)
		if err != nil {
			sums[name] = "absent"
			continue
		}
		sums[name] = fmt.Sprintf("%x", sha256.Sum256(b))
	}
	return sums
}

func dial(t *testing.T, l *labtest.Lab, dc int, a samba.Account) *ldap.Conn {
	t.Helper()
	c, err := l.Dial(t.Context(), l.DCs()[dc-1], a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func arrives(t *testing.T, l *labtest.Lab, from, to int, name string) {
	req := ldap.NewAddRequest("CN="+name+",CN=Users,"+l.BaseDN, nil)
	req.Attribute("objectClass", []string{"user"})
	req.Attribute("sAMAccountName", []string{name})
	if err := dial(t, l, from, l.Admin).Add(req); err != nil {
		t.Fatal(err)
	}
	l.Converge()
	if out := l.LdapSearch(to, l.Reader, "(sAMAccountName="+name+")", "sAMAccountName"); !strings.Contains(out, "sAMAccountName: "+name) {
		t.Errorf("dc%d does not know %s: %q", to, name, out)
	}
}

func verifies(t *testing.T, l *labtest.Lab) {
	dial(t, l, 1, l.Reader)
	dial(t, l, 2, l.Reader)
	other := *l.Lab
	other.CAFile = filepath.Join(l.DCs()[1].Dir, "tls", "cert.pem") // not an authority
	if c, err := other.Dial(t.Context(), l.DCs()[0], l.Reader); err == nil {
		c.Close()
		t.Error("dc1 was trusted with the certificate of dc2 as root")
	}
	imposter := l.DCs()[0]
	imposter.FQDN = "dc9.contoso.test"
	if c, err := l.Dial(t.Context(), imposter, l.Reader); err == nil {
		c.Close()
		t.Error("dc1 was accepted as dc9")
	}
}

func kerberos(t *testing.T, l *labtest.Lab) {
	cache := filepath.Join(t.TempDir(), "ccache")
	kinit := l.Command(t.Context(), "kinit", "-c", cache, l.Reader.Name)
	kinit.Stdin = strings.NewReader(l.ReaderPassword() + "\n")
	if out, err := kinit.CombinedOutput(); err != nil {
		t.Fatalf("kinit: %v\n%s", err, out)
	}
	for _, h := range l.DCs() {
		cmd := l.Command(t.Context(), "ldapsearch", "-LLL", "-Q", "-Y", "GSSAPI", "-H", "ldap://"+h.FQDN, "-b", "", "-s", "base", "defaultNamingContext")
		cmd.Env = append(cmd.Env, "KRB5CCNAME="+cache)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), l.BaseDN) {
			t.Errorf("Kerberos to %s: %v\n%s", h.Name, err, out)
		}
	}
}

func refusesClear(t *testing.T, l *labtest.Lab) {
	c, err := ldap.DialURL("ldap://" + l.DCs()[0].Address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = c.Bind(l.Reader.Name+"@"+l.Domain, l.ReaderPassword())
	if !ldap.IsErrorWithCode(err, ldap.LDAPResultStrongAuthRequired) {
		t.Errorf("simple bind in the clear: %v, want strongerAuthRequired", err)
	}
}

func localAdmins(t *testing.T, l *labtest.Lab) {
	cmd := l.AsAdmin(l.Command(t.Context(), "rpcclient", l.Members()[0].FQDN, "-s", l.ClientConf, "-c", "queryaliasmem builtin 544"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("rpcclient: %v\n%s", err, out)
	}
	if !strings.Contains(string(out), "-512]") {
		t.Errorf("Domain Admins is not among the local administrators:\n%s", out)
	}
}

// sysvolTree lists the files of a SYSVOL with their content and Windows
// permissions (the attribute in which Samba keeps them).
func sysvolTree(t *testing.T, h samba.Host) map[string]string {
	t.Helper()
	root := filepath.Join(h.Dir, "state", "sysvol")
	tree := map[string]string{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var b []byte
		if !d.IsDir() {
			if b, err = os.ReadFile(p); err != nil {
				return err
			}
		}
		tree[strings.TrimPrefix(p, root)] = fmt.Sprintf("%x", sha256.Sum256(b))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func sameSysvol(t *testing.T, l *labtest.Lab) {
	one, two := sysvolTree(t, l.DCs()[0]), sysvolTree(t, l.DCs()[1])
	if len(one) < 10 {
		t.Fatalf("SYSVOL of dc1 has only %d entries", len(one))
	}
	for name, sum := range one {
		if two[name] != sum {
			t.Errorf("%s differs on dc2", name)
		}
	}
	for name := range two {
		if _, ok := one[name]; !ok {
			t.Errorf("%s is on dc2 only", name)
		}
	}
	for _, path := range []string{"", "/Policies/{31B2F340-016D-11D2-945F-00C04FB984F9}/GPT.INI"} {
		acls := map[string]bool{}
		for _, h := range l.DCs() {
			acls[sysvolACL(t, l, h, path)] = true
		}
		if len(acls) != 1 {
			t.Errorf("permissions of %q differ: %v", path, acls)
		}
	}
}

// sysvolACL reads permissions through the file server, as a client sees them.
func sysvolACL(t *testing.T, l *labtest.Lab, h samba.Host, path string) string {
	t.Helper()
	cmd := l.AsAdmin(l.Command(t.Context(), "smbcacls", "//"+h.FQDN+"/sysvol", l.Domain+path, "-s", l.ClientConf, "--sddl"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("smbcacls on %s: %v\n%s", h.Name, err, out)
	}
	if !strings.HasPrefix(string(out), "O:") {
		t.Fatalf("smbcacls on %s: %s", h.Name, out)
	}
	return string(out)
}

func seeds(t *testing.T, l *labtest.Lab) {
	const file = "../../examples/small.yaml"
	f, err := fixture.ParseFS(os.DirFS(filepath.Dir(file)), filepath.Base(file))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if err := l.SeedFile(t.Context(), file, now, func(string) {}); err != nil {
		t.Fatal(err)
	}
	adds, err := f.Adds(now)
	if err != nil || len(adds) == 0 {
		t.Fatalf("the fixture adds %d objects, %v", len(adds), err)
	}
	for dc := 1; dc <= 2; dc++ {
		c := dial(t, l, dc, l.Admin)
		for _, a := range adds {
			_, err := c.Search(ldap.NewSearchRequest(a.DN, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 10, false, "(objectClass=*)", []string{"1.1"}, nil))
			if err != nil {
				t.Errorf("dc%d: %s: %v", dc, a.DN, err)
			}
		}
	}
	sameSysvol(t, l)
	policies, err := filepath.Glob(filepath.Join(l.DCs()[1].Dir, "state", "sysvol", l.Domain, "Policies", "{*}"))
	if err != nil || len(policies) < 2 {
		t.Fatalf("policies on dc2: %v, %v", policies, err)
	}
	for _, p := range policies {
		one, two := sysvolACL(t, l, l.DCs()[0], "/Policies/"+filepath.Base(p)), sysvolACL(t, l, l.DCs()[1], "/Policies/"+filepath.Base(p))
		if one != two {
			t.Errorf("permissions of %s differ:\n%s%s", filepath.Base(p), one, two)
		}
	}
	sum, err := samba.FixtureSum(file)
	if err != nil || l.Fixture != sum {
		t.Errorf("the lab remembers %q, not %q (%v)", l.Fixture, sum, err)
	}
	if err := l.SeedFile(t.Context(), file, now, func(string) {}); err == nil {
		t.Error("a second fixture went into the same lab")
	}
}

func audits(t *testing.T, l *labtest.Lab) {
	b, err := os.ReadFile(l.DCs()[0].AuditLog)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"dsdbChange"`, `"Authentication"`, "CN=arrival.one,CN=Users"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the audit log says nothing of %s", want)
		}
	}
}

func upAgain(t *testing.T, l *labtest.Lab) {
	began := time.Now()
	again, err := samba.Up(t.Context(), samba.Options{Dir: l.Dir, Net: l.Net})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("up of a running lab took %v", time.Since(began).Round(time.Millisecond))
	if out := l.LdapSearch(1, l.Reader, "(sAMAccountName=arrival.one)", "dn"); !strings.Contains(out, "arrival.one") {
		t.Error("the directory was built anew")
	}
	if again.Admin != l.Admin {
		t.Errorf("accounts differ: %v, %v", again.Admin, l.Admin)
	}
	st, err := l.Status(t.Context())
	if err != nil || !st.OK {
		t.Errorf("status: %+v, %v", st, err)
	}
	if _, err := samba.Up(t.Context(), samba.Options{Dir: l.Dir, Net: "127.0.149"}); err == nil {
		t.Error("the lab moved to other addresses")
	}
	if _, err := samba.Up(t.Context(), samba.Options{Dir: l.Dir + "-x", Net: l.Net}); err == nil {
		t.Error("two labs at the same addresses")
	}
}

func beside(t *testing.T, l *labtest.Lab) {
	other := labtest.Start(t, labtest.Options{Fresh: true, Single: true})
	if other.Net == l.Net || other.Dir == l.Dir {
		t.Fatalf("the second lab is at %s in %s, like the first", other.Net, other.Dir)
	}
	if out := other.LdapSearch(1, other.Reader, "(sAMAccountName=arrival.one)", "dn"); strings.Contains(out, "arrival.one") {
		t.Error("the second lab shows the directory of the first")
	}
	if out := other.SambaTool("user", "list"); !strings.Contains(out, other.Reader.Name) {
		t.Errorf("samba-tool user list: %s", out)
	}
	st, err := l.Status(t.Context())
	if err != nil || !st.OK {
		t.Errorf("the first lab suffers: %+v, %v", st, err)
	}
}

func stops(t *testing.T, l *labtest.Lab) {
	l.StopDC(2)
	if _, err := l.Dial(t.Context(), l.DCs()[1], l.Reader); err == nil {
		t.Error("a stopped domain controller answers")
	}
	dial(t, l, 1, l.Reader)
	st, err := l.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if st.OK || st.Hosts[1].Running || !st.Hosts[0].Running {
		t.Errorf("status with dc2 stopped: %+v", st)
	}
	l.StartDC(2)
	arrives(t, l, 2, 1, "after.restart")
}

func down(t *testing.T, l *labtest.Lab, bystander *exec.Cmd) {
	members := namespaceMembers(t, l)
	if len(members) < 10 {
		t.Fatalf("the lab has only %d processes", len(members))
	}
	if err := l.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, pid := range members {
		if cmdline, err := os.ReadFile("/proc/" + pid + "/cmdline"); err == nil && strings.Contains(string(cmdline), l.Dir) {
			t.Errorf("process %s is left: %q", pid, cmdline)
		}
	}
	if left := namespaceMembers(t, l); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
	if _, err := os.Stat(l.Dir); !os.IsNotExist(err) {
		t.Errorf("the folder %s is left (%v)", l.Dir, err)
	}
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", bystander.Process.Pid)); err != nil || strings.Contains(string(stat), ") Z") {
		t.Errorf("another process was ended: %v", err)
	}
}

// namespaceMembers returns the processes that speak of the lab's folder in
// their arguments or hold a file in it open.
func namespaceMembers(t *testing.T, l *labtest.Lab) []string {
	t.Helper()
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var pids []string
	for _, p := range procs {
		fds, err := filepath.Glob(p + "/fd/*")
		if err != nil {
			t.Fatal(err)
		}
		cmdline, _ := os.ReadFile(p + "/cmdline") // it may end while we look
		mine := strings.Contains(string(cmdline), l.Dir+"/")
		for _, fd := range fds {
			if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, l.Dir+"/") {
				mine = true
			}
		}
		if mine {
			pids = append(pids, filepath.Base(p))
		}
	}
	return pids
}
