package reach_test

import (
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
)

// schemaAttributes defines what the captured schema lacks.
const schemaAttributes = `
objects:
  - {name: lw-expires, in: "CN=Schema,CN=Configuration", classes: [top, attributeSchema], attributes: {lDAPDisplayName: [ms-Mcs-AdmPwdExpirationTime], schemaIDGUID: ["guid:0a2b3c4d-1111-4222-8333-444455559999"], attributeSyntax: ["2.5.5.16"], oMSyntax: ["65"], searchFlags: ["0"]}}
  - {name: lw-before, in: "CN=Schema,CN=Configuration", classes: [top, attributeSchema], attributes: {lDAPDisplayName: [msDS-ManagedAccountPrecededByLink], schemaIDGUID: ["guid:a0945b2b-57a2-43bd-b327-4d112a4e8bd1"], searchFlags: ["0"]}}
  - {name: lw-state, in: "CN=Schema,CN=Configuration", classes: [top, attributeSchema], attributes: {lDAPDisplayName: [msDS-DelegatedMSAState], schemaIDGUID: ["guid:2f5c138a-bd38-4016-88b4-0ec87cbb4919"], searchFlags: ["0"]}}
  - {name: lw-dmsa, in: "CN=Schema,CN=Configuration", classes: [top, classSchema], attributes: {lDAPDisplayName: [msDS-DelegatedManagedServiceAccount], schemaIDGUID: ["guid:0feb936f-47b3-49f2-9386-1dedc2c23765"], subClassOf: [computer]}}
  - {name: next, in: Staff, classes: [top, person, organizationalPerson, user, computer, msDS-DelegatedManagedServiceAccount], attributes: {sAMAccountName: [next$]}, permissions: [%]}
ous: [{name: Staff}]
users: [{name: eve, in: Staff}, {name: ann, in: Staff}]
groups: [{name: Half, in: Staff, members: [eve]}]
computers:
  - {name: MANAGED, in: Staff, attributes: {ms-Mcs-AdmPwdExpirationTime: ["133000000000000000"]}}
  - {name: PLAIN, in: Staff}
`

// Replication with the filtered attributes tells the passwords that computers keep
// in the directory; it takes two rights, of one token.
func TestReplicatedPasswords(t *testing.T) {
	ask(t, replace(schemaAttributes, "%", "")+`
permissions: [{on: domain, lines: [allow eve replicate-changes, allow Half replicate-changes-in-filter-set, allow ann replicate-changes-in-filter-set]}]`,
		question{"eve", "MANAGED", "certain", "replicate-laps read-laps"},
		question{"eve", "PLAIN", "none", ""},
		question{"eve", "tier0", "none", ""},
		question{"ann", "MANAGED", "none", ""})
}

// Whoever holds both rights by one SID is shown with both entries.
func TestBothEntriesAreEvidence(t *testing.T) {
	s := offline(t, replace(schemaAttributes, "%", "")+`
permissions: [{on: domain, lines: [allow eve replicate-changes, allow eve replicate-changes-in-filter-set, allow ann replicate-changes, allow ann replicate-changes-all]}]`)
	g := graphOf(s)
	for _, c := range []struct{ from, to, first, second string }{
		{"eve", "MANAGED", "1131f6aa-9c07-11d1-f79f-00c04fc2dcd2", "89e95b76-444d-4c62-991a-0facbeda640c"},
		{"ann", "MANAGED", "1131f6aa-9c07-11d1-f79f-00c04fc2dcd2", "1131f6ad-9c07-11d1-f79f-00c04fc2dcd2"},
	} {
		p := g.WhoCan([]forest.ID{named(t, s, c.to)}).Path(named(t, s, c.from))
		if len(p) == 0 || len(p[0].Evidence) != 2 || !strings.Contains(p[0].Evidence[0].SDDL, c.first) || !strings.Contains(p[0].Evidence[1].SDDL, c.second) {
			t.Errorf("%s: %+v", c.from, p)
		}
	}
}

// The right to write SID history is power if the rest of DsAddSidHistory's
// conditions hold.
func TestMigrateSIDHistory(t *testing.T) {
	ask(t, replace(schemaAttributes, "%", "")+`
permissions: [{on: domain, lines: [allow eve right Migrate-SID-History]}]`,
		question{"eve", "tier0", "possible", "migrate-sid-history"})
}

// A delegated managed service account becomes any account's successor by two
// attributes; one of them is not enough.
func TestSuccession(t *testing.T) {
	ask(t, replace(schemaAttributes, "%", "allow eve write msDS-ManagedAccountPrecededByLink, allow eve write msDS-DelegatedMSAState, allow ann write msDS-DelegatedMSAState"),
		question{"eve", "tier0", "possible", "write-dmsa succeeds"},
		question{"ann", "tier0", "none", ""})
}
