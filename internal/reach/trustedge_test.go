package reach_test

import (
	"slices"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

const trustForest = `
ous: [{name: Staff}]
users:
  - {name: eve, in: Staff}
  - {name: ann, in: Staff}
  - {name: bob, in: Staff}
  - {name: krbtgt_77, in: Staff, flags: [disabled]}
groups:
  - {name: Branch, in: Staff, members: [ann, bob]}
  - {name: Never, in: Staff, members: [bob]}
  - {name: Managers, in: Staff, members: [eve]}
computers:
  - name: RODC1
    in: Domain Controllers
    role: rodc
    managed-by: Managers
    reveal: [Branch]
    never-reveal: [Never]
    attributes: {msDS-KrbTgtLink: [krbtgt_77]}
`

// A read-only domain controller may hold the secrets on its list, less those that
// it must never have; who manages it administers it.
func TestReadOnlyController(t *testing.T) {
	ask(t, trustForest,
		question{"RODC1", "ann", "certain", "reveals-secrets"},
		question{"RODC1", "bob", "none", ""},
		question{"eve", "ann", "certain", "member manages-rodc reveals-secrets"})
	ask(t, trustForest+`
permissions: [{on: "CN=RODC1,OU=Domain Controllers", lines: [allow bob write msDS-RevealOnDemandGroup, allow ann write managedBy]}]`,
		question{"bob", "eve", "possible", ""},
		question{"ann", "RODC1", "certain", "manages-rodc"})
}

const forestTrust = `fixture: 1
domain: contoso.test
sid: S-1-5-21-1-2-3
settings: {machine-account-quota: 0}
users: [{name: eve, in: CN=Users}]
domains:
  - domain: child.contoso.test
    parent: contoso.test
    sid: S-1-5-21-4-5-6
    users: [{name: kim, in: CN=Users, member-of: [Domain Admins]}, {name: lee, in: CN=Users}]
`

// Whoever holds one domain of a forest holds the others.
func TestForestTrust(t *testing.T) {
	ask(t, forestTrust,
		question{"kim", fixtureBase, "certain", ""},
		question{"lee", fixtureBase, "none", ""})
}

// A partner of a trust that does not filter may come with foreign SIDs; one that
// filters, or that only trusts us, may not.
func TestForeignTrust(t *testing.T) {
	const head = `
objects:
  - name: partner.test
    in: CN=System
    classes: [top, leaf, trustedDomain]
    attributes: {securityIdentifier: ["base64:AQQAAAAAAAUVAAAACQAAAAgAAAAHAAAA"], trustPartner: [partner.test], flatName: [PARTNER], trustType: ["2"], trustDirection: ["%D"], trustAttributes: ["%A"]}
ous: [{name: Staff}]
groups: [{name: Operators, in: Staff, member-of: [Server Operators], members: [S-1-5-21-9-8-7-1107]}]
`
	for _, c := range []struct{ direction, attributes, want string }{
		{"2", "0", "possible"},    // external, not quarantined
		{"2", "4", "none"},        // quarantined
		{"2", "8", "none"},        // forest trust: filtered
		{"2", "72", "possible"},   // forest trust treated as external
		{"1", "0", "none"},        // we trust nobody
		{"3", "2056", "possible"}, // forest trust with delegation
	} {
		s := offline(t, replace(replace(head, "%D", c.direction), "%A", c.attributes))
		if got := foreignReach(s, "S-1-5-21-9-8-7"); got != c.want {
			t.Errorf("direction %s, attributes %s: %s, want %s", c.direction, c.attributes, got, c.want)
		}
	}
}

func foreignReach(s *forest.Snapshot, sid string) string {
	x := reach.New(s)
	g := reach.NewGraph(x, gpo.New(s, x))
	sure, possible := g.WhoCan(g.Resolve(reach.TierZero())).Identities()
	switch {
	case slices.Contains(sure, secdesc.MustSID(sid)):
		return "certain"
	case slices.Contains(possible, secdesc.MustSID(sid)):
		return "possible"
	}
	return "none"
}

// A principal of another forest is listed by its SID.
func TestForeignMember(t *testing.T) {
	s := offline(t, `
ous: [{name: Staff}]
groups: [{name: Operators, in: Staff, scope: domain-local, member-of: [Server Operators], members: [S-1-5-21-9-8-7-1107]}]`)
	if got := foreignReach(s, "S-1-5-21-9-8-7-1107"); got != "certain" {
		t.Error(got)
	}
}

// Over a trust with selective authentication principals act on the directory only if
// a domain controller lets them authenticate.
func TestSelectiveAuthentication(t *testing.T) {
	const text = `
objects:
  - name: partner.test
    in: CN=System
    classes: [top, leaf, trustedDomain]
    attributes: {securityIdentifier: ["base64:AQQAAAAAAAUVAAAACQAAAAgAAAAHAAAA"], trustPartner: [partner.test], flatName: [PARTNER], trustType: ["2"], trustDirection: ["2"], trustAttributes: ["%A"]}
ous: [{name: Staff}]
groups:
  - {name: Operators, in: Staff, scope: domain-local, member-of: [Server Operators], members: [S-1-5-21-9-8-7-1107]}
  - {name: Guests of ours, in: Staff, scope: domain-local, members: [S-1-5-21-9-8-7-1107]}
permissions: [{on: "CN=DC1,OU=Domain Controllers", lines: [%P]}]
`
	const right = " right Allowed-To-Authenticate"
	for name, c := range map[string]struct{ attributes, lines, want string }{
		"not selective":       {"8", "", "certain"},
		"nobody let in":       {"24", "", "none"},
		"itself":              {"24", "allow S-1-5-21-9-8-7-1107" + right, "certain"},
		"another":             {"24", "allow S-1-5-21-9-8-7-1108" + right, "none"},
		"by group":            {"24", `allow "Guests of ours"` + right, "certain"},
		"everybody":           {"24", `allow "Authenticated Users"` + right, "certain"},
		"denied":              {"24", `deny "Guests of ours"` + right + `, allow "Authenticated Users"` + right, "none"},
		"this organization":   {"24", `allow "This Organization"` + right, "none"},
		"another right":       {"24", "allow S-1-5-21-9-8-7-1107 reset-password", "none"},
		"all extended rights": {"24", "allow S-1-5-21-9-8-7-1107 all-extended-rights", "certain"},
	} {
		s := offline(t, replace(replace(text, "%A", c.attributes), "%P", c.lines))
		if got := foreignReach(s, "S-1-5-21-9-8-7-1107"); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// Whether a host lets a principal in whom policy makes its administrator is not
// looked at.
func TestSelectiveHost(t *testing.T) {
	const text = `
objects:
  - name: partner.test
    in: CN=System
    classes: [top, leaf, trustedDomain]
    attributes: {securityIdentifier: ["base64:AQQAAAAAAAUVAAAACQAAAAgAAAAHAAAA"], trustPartner: [partner.test], flatName: [PARTNER], trustType: ["2"], trustDirection: ["2"], trustAttributes: ["%A"]}
ous: [{name: Servers}]
computers: [{name: SRV1, in: Servers, role: server}]
policies: [{name: P, restricted: {Administrators: {members: [S-1-5-21-9-8-7-1107]}}}]
links: [{on: Servers, policies: [P]}]
`
	for attributes, want := range map[string]bool{"8": true, "24": false} {
		s := offline(t, replace(text, "%A", attributes))
		sure, possible := graphOf(s).WhoCan([]forest.ID{named(t, s, "SRV1")}).Identities()
		sid := secdesc.MustSID("S-1-5-21-9-8-7-1107")
		if slices.Contains(sure, sid) != want || slices.Contains(possible, sid) == want {
			t.Errorf("attributes %s: for sure %v, possibly %v", attributes, sure, possible)
		}
	}
}
