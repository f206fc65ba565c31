package control

import (
	"slices"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
)

// ecCases are one change of the sound forest each, with the outcome of the controls of
// effective control and a text that its evidence or its lack must have.
var ecCases = []struct {
	name, control, subject string
	outcome                Outcome
	says                   string
	change                 string
}{
	{"nobody", "EC-01-no-way-to-tier-0", "", Pass, "", ""},
	{"nobody without an account", "EC-02-no-identity-to-tier-0", "", Pass, "", ""},
	{"management accounts and who enables them", "EC-01-no-way-to-tier-0", "", Pass, "", managed("")},
	{"a right below Tier 0", "EC-01-no-way-to-tier-0", "", Pass, "", "changes: [{object: hadmin, permissions: ['allow ordinary reset-password']}]"},
	{"a right that a denial takes back", "EC-01-no-way-to-tier-0", "", Pass, "", "changes: [{object: Domain Admins, sdprop: false, permissions: ['deny ordinary write member', 'allow ordinary write member']}]"},
	{
		"who adds members", "EC-01-no-way-to-tier-0", "ordinary", Fail, "remove entry 7 from the DACL of CN=Domain Admins,CN=Users,DC=contoso,DC=test",
		"changes: [{object: Domain Admins, sdprop: false, permissions: ['allow ordinary write member']}]",
	},
	{
		"the entry of AdminSDHolder", "EC-01-no-way-to-tier-0", "ordinary", Fail, "from CN=AdminSDHolder,CN=System,DC=contoso,DC=test, from which it is copied",
		"changes: [{object: 'CN=AdminSDHolder,CN=System', permissions: ['allow ordinary write-permissions']}]",
	},
	{
		"an inherited entry", "EC-01-no-way-to-tier-0", "ordinary", Fail, "from OU=Admins,DC=contoso,DC=test, from which it is inherited",
		"permissions: [{on: Admins, lines: ['allow ordinary full-control on everything below']}]\nusers: [{name: keeper, in: Admins}]\nchanges: [{object: Administrators, sdprop: false, permissions: ['allow keeper write member']}]",
	},
	{
		"an owner", "EC-01-no-way-to-tier-0", "ordinary", Fail, "give CN=Administrator,CN=Users,DC=contoso,DC=test an owner of Tier 0",
		"changes: [{object: Administrator, sdprop: false, owner: ordinary}]",
	},
	{
		"a member of who adds members", "EC-01-no-way-to-tier-0", "hadmin", Fail, "remove CN=Host Admin,OU=Admins,DC=contoso,DC=test from the members of CN=Host Admins,OU=Admins,DC=contoso,DC=test",
		"changes: [{object: Domain Admins, sdprop: false, permissions: ['allow \"Host Admins\" write member']}]",
	},
	{
		"two entries together", "EC-01-no-way-to-tier-0", "ordinary", Fail, "rests on this entry, too",
		"groups: [{name: One, in: Staff, members: [ordinary]}, {name: Other, in: Staff, members: [ordinary]}]\npermissions: [{on: domain, lines: ['allow One replicate-changes', 'allow Other replicate-changes-all']}]",
	},
	{
		"who controls who enables", "EC-01-no-way-to-tier-0", "ordinary", Fail, "Enablers",
		managed("changes: [{object: mgmt1, drop-flags: [disabled]}, {object: Enablers, permissions: ['allow ordinary manage-members']}]"),
	},
	{
		"only if the script runs", "EC-01-no-way-to-tier-0", "ordinary", Unknown, "whether the user logs on",
		"changes: [{object: Administrator, sdprop: false, permissions: ['allow ordinary write scriptPath']}]",
	},
	{
		"a principal that is gone", "EC-02-no-identity-to-tier-0", "contoso.test", Fail, "S-1-5-21-1-2-3-9999 may add members to CONTOSO\\Domain Admins",
		"changes: [{object: Domain Admins, sdprop: false, permissions: ['allow S-1-5-21-1-2-3-9999 write member']}]",
	},
	{
		"everybody, if the script runs", "EC-02-no-identity-to-tier-0", "contoso.test", Unknown, "Authenticated Users: whether the user logs on",
		"changes: [{object: Administrator, sdprop: false, permissions: ['allow \"Authenticated Users\" write scriptPath']}]",
	},
}

func TestEffectiveControlCases(t *testing.T) {
	c := builtinCatalogue(t)
	for _, tt := range ecCases {
		t.Run(tt.name, func(t *testing.T) {
			only := &Catalogue{entries: []*Entry{c.Entry(tt.control)}}
			a := assess(t, only, Input{Snapshot: changed(t, tt.change), Options: testOptions()})
			if tt.outcome == Pass {
				if r := a.Controls[0]; r.Pass == 0 || r.Fail+r.Unknown != 0 {
					t.Errorf("%d passes, %d failures, %d unknown: %+v", r.Pass, r.Fail, r.Unknown, a.Findings)
				}
				return
			}
			i := slices.IndexFunc(a.Findings, func(f Finding) bool { return strings.EqualFold(f.Subject.Name, tt.subject) && f.Outcome == tt.outcome })
			if i < 0 {
				t.Fatalf("no %s for %s; findings: %+v", tt.outcome, tt.subject, a.Findings)
			}
			f := a.Findings[i]
			checkFinding(t, &f)
			checkPathEvidence(t, &f)
			if text := evidenceText(&f); !strings.Contains(text, tt.says) {
				t.Errorf("neither evidence nor lack says %q:\n%s", tt.says, text)
			}
		})
	}
}

func evidenceText(f *Finding) string {
	var b strings.Builder
	for _, e := range f.Evidence {
		b.WriteString(e.Text + "; " + e.Remove + "\n")
	}
	return b.String() + strings.Join(f.Missing, "\n")
}

// checkPathEvidence demands that each step says what takes it away, and that steps
// by entries show the entry.
func checkPathEvidence(t *testing.T, f *Finding) {
	t.Helper()
	steps := 0
	for _, e := range f.Evidence {
		if e.Kind != "path" {
			continue
		}
		steps++
		if e.Remove == "" && !strings.Contains(e.Text, "rests on") && !strings.Contains(e.Text, "always holds") && !strings.Contains(e.Text, "holds the database") {
			t.Errorf("%q does not say what removes it", e.Text)
		}
		if strings.Contains(e.Remove, "entry") && (e.ACE == nil || e.ACE.SDDL == "" || e.ACE.Trustee == "" || e.DN == "") {
			t.Errorf("%q does not show the entry: %+v", e.Text, e)
		}
	}
	if steps == 0 {
		t.Errorf("%s of %s has no path: %+v", f.Outcome, f.Subject.Name, f.Evidence)
	}
}

// What was not read makes the passes unknown and leaves the failures, and no
// management account fails because it is not known whether it is one.
func TestEffectiveControlUnread(t *testing.T) {
	c := builtinCatalogue(t)
	only := &Catalogue{entries: []*Entry{c.Entry("EC-01-no-way-to-tier-0"), c.Entry("EC-02-no-identity-to-tier-0")}}
	s := changed(t, managed("changes: [{object: Domain Admins, sdprop: false, permissions: ['allow ordinary write member']}]"))
	hidden := s.BySAMAccountName("mgmt1")[0]
	a := assess(t, only, Input{Snapshot: blank{descriptor: func(id forest.ID) bool { return id == hidden }}.of(t, s), Options: testOptions()})
	for _, r := range a.Controls {
		if r.Pass != 0 && r.ID == "EC-02-no-identity-to-tier-0" || r.Fail != 0 || r.Unknown == 0 {
			t.Errorf("%s: %d passes, %d failures, %d unknown: %+v", r.ID, r.Pass, r.Fail, r.Unknown, a.Findings)
		}
	}
	for _, f := range a.Findings {
		if len(f.Missing) == 0 || !strings.Contains(strings.Join(f.Missing, " "), "mgmt1") {
			t.Errorf("%s does not say what was not read: %q", f.Control, f.Missing)
		}
	}
}
