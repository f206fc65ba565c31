package control

import (
	"strings"
	"testing"
)

// TestCoveredByBuiltinGroup: BUILTIN\Administrators in a deny right means the group
// of each host, or on domain controllers that of the domain.
func TestCoveredByBuiltinGroup(t *testing.T) {
	const (
		deny    = "rights: {SeDenyNetworkLogonRight: [Administrators]"
		members = "policies: [{name: Deny privileged, " + deny + "}}]"
		dcs     = "policies: [{name: Domain controllers, " + deny + "}}]"
		emptied = "policies: [{name: Deny privileged, " + deny + "}, restricted: {Administrators: {members: [Host Admins]}}}]"
		granted = "policies: [{name: Deny privileged, " + deny + "}, restricted: {Administrators: {members: [Enterprise Admins]}}}]"
	)
	c := builtinCatalogue(t)
	for _, tt := range []struct {
		name, id, change, detail string
		severity                 Severity // "" if there is no finding
	}{
		{"default", "D-04-deny-network-members", members, `BUILTIN\Administrators (which holds CONTOSO\Domain Admins by default)`, Medium},
		{"default", "F-04-deny-network", members, `CONTOSO\Domain Admins itself is not in`, Medium},
		{"not by default", "E-04-deny-network", members, `CONTOSO\Enterprise Admins may connect`, High},
		{"emptied", "D-04-deny-network-members", emptied, `CONTOSO\Administrator may`, High},
		{"granted", "E-04-deny-network", granted, `BUILTIN\Administrators (which holds CONTOSO\Enterprise Admins), of which`, Medium},
		{"local account", "H-01-deny-network", members, `The local Administrator itself is not in SeDenyNetworkLogonRight: today covered through BUILTIN\Administrators, of which it is a member`, Medium},
		{"domain", "D-08-deny-network-dc", dcs, `covered through BUILTIN\Administrators, of which`, Low},
		{"lockout", "E-09-not-denied-on-dc", dcs, `deny logon to Enterprise Admins`, High},
		{"lockout", "F-09-not-denied-on-dc", dcs, `deny logon to Domain Admins`, High},
		{"sound", "E-09-not-denied-on-dc", members, "", ""},
	} {
		a := assess(t, &Catalogue{entries: []*Entry{c.Entry(tt.id)}}, Input{Snapshot: changed(t, tt.change), Options: testOptions()})
		fs := find(a, tt.id)
		if len(fs) == 0 || tt.severity == "" {
			if len(fs) > 0 || tt.severity != "" {
				t.Errorf("%s %s: %d findings", tt.name, tt.id, len(fs))
			}
			continue
		}
		if f := fs[0]; f.Outcome != Fail || f.Severity != tt.severity || !strings.Contains(f.Detail, tt.detail) {
			t.Errorf("%s %s: %s %s: %s", tt.name, tt.id, f.Outcome, f.Severity, f.Detail)
		}
	}
}
