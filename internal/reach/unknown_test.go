package reach_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// TestGapsOfUnreadFacts: what hides members is a gap, whatever fact was not read.
func TestGapsOfUnreadFacts(t *testing.T) {
	for _, c := range []struct {
		name  string
		build func(w *world)
		want  string // in a gap of "outer"; empty: there is none
	}{
		{"all read", func(w *world) {
			w.group("inner", 1101, globalGroup, "alice")
			w.user("alice", 1000, "primaryGroupID=513")
		}, ""},
		{"kind of a nested group", func(w *world) {
			w.group("inner", 1101, globalGroup, "alice")
			w.b.MarkUnreadable(forest.GroupType, "groupType hidden")
			w.user("alice", 1000, "primaryGroupID=513")
		}, "groupType hidden"},
		{"SID of a nested group", func(w *world) {
			w.groupAt("CN=inner,DC=a", secdesc.SID{}, globalGroup, "alice")
			w.user("alice", 1000, "primaryGroupID=513")
		}, "objectSid"},
		{"class of a member", func(w *world) { w.add("CN=inner,DC=a", "", secdesc.SID{}) }, "objectClass"},
		{"primary group of an account", func(w *world) {
			w.group("inner", 1101, globalGroup)
			w.user("alice", 1000)
			w.b.MarkUnreadable(forest.PrimaryGroupID, "primaryGroupID hidden")
		}, "primaryGroupID hidden"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.group("outer", 1100, globalGroup, "inner")
			c.build(w)
			s, x := w.build()
			var all []string
			for _, g := range x.Gaps(s.Lookup("CN=outer,DC=a")) {
				all = append(all, g.Why)
			}
			if got := strings.Join(all, "; "); c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("gaps are %q, want %q among them", got, c.want)
			}
		})
	}
}

// TestGapOfTheGroupItself: a group whose kind was not read has no known members,
// and that is a gap.
func TestGapOfTheGroupItself(t *testing.T) {
	w := newWorld(t)
	w.group("outer", 1100, globalGroup, "alice")
	w.b.MarkUnreadable(forest.GroupType, "groupType hidden")
	w.user("alice", 1000, "primaryGroupID=513")
	s, x := w.build()
	gaps := x.Gaps(s.Lookup("CN=outer,DC=a"))
	if len(gaps) == 0 || !strings.Contains(gaps[0].Why, "groupType hidden") {
		t.Errorf("gaps are %v, want one for groupType", gaps)
	}
	if why := x.Unsure(contoso.Child(1100)); !strings.Contains(why, "groupType hidden") {
		t.Errorf("Unsure is %q, want groupType", why)
	}
}

// TestHoldsHistoryOfGroups: the SID history of a group is part of the tokens of
// its members.
func TestHoldsHistoryOfGroups(t *testing.T) {
	old := secdesc.MustSID("S-1-5-21-8-8-8-1100")
	w := newWorld(t)
	w.group("outer", 1100, universalGroup, "alice")
	w.add("CN=moved,DC=a", "top group", contoso.Child(1101), "groupType=-2147483640", "member=CN=alice,DC=a", "sIDHistory="+string(old.Bytes()))
	w.user("alice", 1000, "primaryGroupID=513")
	w.user("bob", 1001, "primaryGroupID=513")
	s, x := w.build()
	if !x.Holds(s.Lookup("CN=alice,DC=a"), old) {
		t.Error("alice does not hold the SID history of her group")
	}
	if x.Holds(s.Lookup("CN=bob,DC=a"), old) {
		t.Error("bob holds the SID history of a group that he is not in")
	}
}

// Every object on the way whose permissions were not read is named, whether it is the
// first of its kind or not, and whether it leads to the goal or to what is needed first.
func TestUnreadObjectsAreNamed(t *testing.T) {
	own, err := secdesc.ParseSDDL("O:S-1-5-18D:PAI(D;;WD;;;S-1-5-21-1-2-3-1109)(A;;WD;;;S-1-5-21-1-2-3-1103)", contoso, contoso)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.b.Collected(forest.Attrs()...)
	w.group("goal", 1100, universalGroup, "first", "second")
	w.group("first", 1101, universalGroup)
	w.group("second", 1102, universalGroup)
	w.add("CN=guarded,DC=a", "top group", contoso.Child(1104), "groupType=-2147483640", "nTSecurityDescriptor="+string(own.Bytes()))
	w.group("keepers", 1103, universalGroup)
	s, x := w.build()
	g := reach.NewGraph(x, nil)
	for name, want := range map[string][]string{"goal": {"first", "goal", "second"}, "guarded": {"keepers"}} {
		for again := range 2 {
			got := names(s, g.WhoCan([]forest.ID{s.Lookup("CN=" + name + ",DC=a")}).Unread())
			got = slices.DeleteFunc(got, func(n string) bool { return n == "a" }) // the domain
			if !slices.Equal(got, want) {
				t.Errorf("on the way to %s, question %d: %q was not read, want %q", name, again+1, got, want)
			}
		}
	}
}
