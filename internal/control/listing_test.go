package control

import (
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
)

// What every domain hides from ordinary users leaves no control undecided; one
// other object that shows nothing but its name does, because it may be an account.
func TestHiddenByDefault(t *testing.T) {
	s := contoso(t)
	c := builtinCatalogue(t)
	unlisted := func(hide func(dn string) bool) (hidden, gaps int) {
		x := blank{class: func(id forest.ID) bool {
			if hide(s.DN(id)) {
				hidden++
				return true
			}
			return false
		}}
		a := assess(t, c, Input{Snapshot: x.of(t, s), Options: contosoOptions()})
		for _, f := range a.Findings {
			if f.Subject.Scope == "not listed" && strings.Contains(strings.Join(f.Missing, "\n"), "objectClass of ") {
				gaps++
			}
		}
		return hidden, gaps
	}
	byDefault := func(dn string) bool {
		switch {
		case strings.HasSuffix(dn, ",CN=IP Security,CN=System,DC=contoso,DC=test"):
			return true
		case dn == "CN=NTDS Quotas,DC=contoso,DC=test", dn == "CN=MicrosoftDNS,CN=System,DC=contoso,DC=test",
			dn == "CN=Password Settings Container,CN=System,DC=contoso,DC=test":
			return true
		}
		return false
	}
	if hidden, gaps := unlisted(byDefault); hidden < 10 || gaps != 0 {
		t.Errorf("%d objects hidden as by default: %d controls say that not all was listed", hidden, gaps)
	}
	for _, dn := range []string{"CN=Policies,CN=System,DC=contoso,DC=test", "CN=Vera Lutz,OU=Executives,OU=Staff,DC=contoso,DC=test"} {
		if hidden, gaps := unlisted(func(x string) bool { return x == dn }); hidden != 1 || gaps == 0 {
			t.Errorf("%s: %d objects hidden, and every control is sure of what it saw", dn, hidden)
		}
	}
}
