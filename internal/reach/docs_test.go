package reach_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/reach"
)

var update = flag.Bool("update", false, "write docs/paths.md anew")

// docs/paths.md lists the kinds of steps, as the program knows them.
func TestDocsOfKinds(t *testing.T) {
	const path = "../../docs/paths.md"
	var b strings.Builder
	b.WriteString(`# Steps of paths

Made from the program by ` + "`go test ./internal/reach -run Docs -update`" + `. *Who can gain what* (` + "`who-can`, `explain`, `reach`" + `) is answered with these steps.
A step leads from who acts to what is gained: an account's identity, membership of a group, full control of any other object, or a part of an object
(the policies linked to a container, the files of a policy, certificates of a template). Every attribute and class is looked up in the forest's own schema.

A step is *certain*, or it depends on something that the snapshot does not tell: then the answer is *possible*, and says what must hold.
Denials, the order of entries, object types, property sets, inherited-only entries, owners, OWNER RIGHTS and BlockOwnerImplicitRights are decided as a domain
controller does, over the whole token of the account that acts. Conditional entries (claims) are not evaluated: what hangs on one is possible.

| kind | from … to | needs | gives | to remove |
|---|---|---|---|---|
`)
	for _, k := range reach.Kinds() {
		i := k.Info()
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", i.Name, i.Text, i.Needs, i.Yields, i.Remove)
	}
	b.WriteString("\nConditions of possible steps:\n\n")
	for _, c := range reach.Conditions() {
		fmt.Fprintf(&b, "- %s\n", c)
	}
	b.WriteString(`
Not followed, because the directory and SYSVOL do not tell: sessions, services and tasks on hosts, local accounts, relayed authentication, permissions and
registry settings of certification authorities (ESC6, 8, 11, 12, 16, and the authority's own officers of ESC7), the principal that an encrypted local password was
encrypted for. Writing gPOptions (blocking inheritance) takes protection away but gives no control and is no step. Writing
msDS-AllowedToDelegateTo, or TRUSTED_FOR_DELEGATION into userAccountControl, is one only with SeEnableDelegationPrivilege on domain controllers: where no policy
sets that right Administrators have it, and nobody else. Enabling an account and resetting its password is certain for whoever holds both rights, or joins one
group that brings both; with one right from each of two accounts or memberships it stays possible.
`)
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != b.String() {
		t.Errorf("%s is not current: run go test ./internal/reach -run Docs -update", path)
	}
}
