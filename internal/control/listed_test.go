package control

import (
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
)

// TestProtectedThroughDistributionGroup: the protection follows distribution
// groups, power does not.
func TestProtectedThroughDistributionGroup(t *testing.T) {
	s := changed(t, `
groups:
  - {name: Mailing, in: Staff, scope: universal, type: distribution, members: [ordinary, Behind]}
  - {name: Behind, in: Staff, members: [hadmin]}
changes:
  - {object: Domain Admins, add-members: [Mailing]}
  - {object: Mailing, set: {adminCount: ["1"]}}
  - {object: Behind, set: {adminCount: ["1"]}}
  - {object: ordinary, set: {adminCount: ["1"]}}
  - {object: hadmin, set: {adminCount: ["1"]}}
  - {object: vip, set: {adminCount: ["1"]}}
`)
	c := builtinCatalogue(t)
	only := &Catalogue{entries: []*Entry{c.Entry("C-13-admincount-orphan")}}
	check := func(s *forest.Snapshot, want map[string]Outcome) {
		t.Helper()
		got := map[string]Outcome{}
		for _, f := range assess(t, only, Input{Snapshot: s, Options: testOptions()}).Findings {
			got[f.Subject.Name] = f.Outcome
		}
		for name, o := range want {
			if got[name] != o {
				t.Errorf("%s: %q, want %q", name, got[name], o)
			}
		}
	}
	check(s, map[string]Outcome{"ordinary": "", "hadmin": "", "Behind": "", "Mailing": Fail, "vip": Fail})
	w := newWorld(Input{Snapshot: s, Now: testNow, Options: testOptions()})
	for _, name := range []string{"ordinary", "hadmin", "Behind", "Mailing"} {
		if id := s.BySAMAccountName(name)[0]; len(w.privilege().members[id]) > 0 || w.privilege().inSet[id] {
			t.Errorf("%s is privileged", name)
		}
	}
	mailing := s.BySAMAccountName("Mailing")[0]
	unread := blank{attr: func(id forest.ID, a forest.Attr) bool { return id == mailing && a == forest.Member }}.of(t, s)
	check(unread, map[string]Outcome{"ordinary": Unknown, "hadmin": Unknown, "vip": Unknown})
}
