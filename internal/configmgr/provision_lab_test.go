package configmgr

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/lab/need"
)

// TestProvisionInSamba carries a plan out on the database of a Samba domain that the test
// provisions and nothing serves: the LDIF makes the account as planned, the entries in
// SDDL arrive as they were written, and the inverse takes the account away.
func TestProvisionInSamba(t *testing.T) {
	need.Long(t) // provisioning a domain
	tools := map[string]string{}
	for _, name := range []string{"samba-tool", "ldbmodify", "ldbsearch"} {
		path, err := exec.LookPath(name)
		if err != nil {
			need.Missing(t, fmt.Errorf("there is no %s (Debian: samba samba-ad-dc samba-ad-provision ldb-tools): %w", name, err))
		}
		tools[name] = path
	}
	dir := filepath.Join(t.TempDir(), "dc")
	run := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.Command(tools[name], args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	run("samba-tool", "domain", "provision", "--realm=EXAMPLE.TEST", "--domain=EXAMPLE", "--server-role=dc", "--dns-backend=SAMBA_INTERNAL",
		"--host-name=dc1", "--host-ip=127.0.20.1", "--targetdir="+dir, "--option=interfaces=127.0.20.1/8", "--option=bind interfaces only=yes")
	db := filepath.Join(dir, "private", "sam.ldb")
	ldif := func(text string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "change.ldif")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		run("ldbmodify", "-H", db, file)
	}
	req := provisionRequest("ts-domain-joining")
	req.OU = `OU=Dienst'e\, Ü,DC=example,DC=test`
	var before strings.Builder
	for _, dn := range []string{req.OU, "OU=Groups,DC=example,DC=test", req.JoinOUs[0]} {
		before.WriteString(ldifLine("dn", dn) + "changetype: add\nobjectClass: organizationalUnit\n\n")
	}
	ldif(before.String() + ldifLine("dn", req.DenyGroup) + "changetype: add\nobjectClass: group\nsAMAccountName: Deny Logon\n")

	p := mustProvision(t, provisionSite("current-branch"), req)
	f := forms(t, p)
	ldif(f["ldif"])
	made := run("ldbsearch", "-H", db, "(sAMAccountName=svc-cm-new)", "userAccountControl", "msDS-SupportedEncryptionTypes", "memberOf", "objectSid")
	for _, want := range []string{"userAccountControl: 1049090\n", "msDS-SupportedEncryptionTypes: 24\n", "memberOf: " + req.DenyGroup + "\n"} {
		if !strings.Contains(made, want) {
			t.Errorf("the account lacks %q:\n%s", want, made)
		}
	}
	m := regexp.MustCompile(`objectSid: (S-[0-9-]+)`).FindStringSubmatch(made)
	if m == nil {
		t.Fatalf("the account has no SID:\n%s", made)
	}
	var want []secdesc.ACE
	for _, a := range p.Actions {
		if a.ACE == nil {
			continue
		}
		sddl := strings.ReplaceAll(a.ACE.SDDL, "{SID}", m[1])
		ace, err := secdesc.ParseACE(sddl, secdesc.SID{}, secdesc.SID{})
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, ace)
		run("samba-tool", "dsacl", "set", "-H", db, "--objectdn="+a.ACE.DN, "--sddl="+sddl)
	}
	got := run("samba-tool", "dsacl", "get", "-H", db, "--objectdn="+req.JoinOUs[0])
	found := 0
	for _, text := range regexp.MustCompile(`\([^()]*`+m[1]+`\)`).FindAllString(got, -1) {
		ace, err := secdesc.ParseACE(text, secdesc.SID{}, secdesc.SID{})
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if ace.SDDL(secdesc.SID{}) == w.SDDL(secdesc.SID{}) {
				found++
			}
		}
	}
	if len(want) != 5 || found != len(want) {
		t.Errorf("%d of %d entries arrived:\n%s", found, len(want), got)
	}
	ldif(f["ldif undo"])
	if left := run("ldbsearch", "-H", db, "(sAMAccountName=svc-cm-new)", "dn"); !strings.Contains(left, "# 0 entries") {
		t.Errorf("the inverse left the account:\n%s", left)
	}
}
