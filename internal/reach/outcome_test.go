package reach_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// smallForest is a domain with AdminSDHolder's entry on the group that it covers, a
// unit with a user in it, and another user.
func smallForest() *wildForest {
	f := &wildForest{}
	(&wildMaker{f: f}).skeleton(0)
	owner := wildDomains[0].Child(1101)
	full := secdesc.ACE{Type: secdesc.Allow, Mask: secdesc.FullControl, SID: owner}
	for i := range f.objects {
		o := &f.objects[i]
		o.protected = o.name == "AdminSDHolder" || o.name == "DA0"
		if o.protected {
			o.aces = []secdesc.ACE{full}
		}
	}
	unit := wildObject{name: "ou0", classes: "top organizationalUnit", parent: "DC=a", owner: owner}
	f.objects = append(f.objects, unit)
	for i, name := range []string{"u0", "u1"} {
		f.objects = append(f.objects, wildObject{
			name: name, classes: userClasses, parent: []string{"DC=a", "ou0"}[i], sid: wildDomains[0].Child(1101 + uint32(i)),
			owner: secdesc.Administrators, attrs: []string{"userAccountControl=512"},
		})
	}
	return f
}

// What changes lock out, close and give is told.
func TestOutcome(t *testing.T) {
	f := smallForest()
	s := f.build(t)
	id := func(name string) forest.ID {
		return f.find(s, &f.objects[slices.IndexFunc(f.objects, func(o wildObject) bool { return o.name == name })])
	}
	for _, c := range []struct {
		change reach.Change
		goal   string
		want   string
	}{
		{reach.Change{Kind: reach.FlagSet, Object: id("Administrator0"), Flag: 2}, "DA0", "out DA0; out Administrators0"},
		{reach.Change{Kind: reach.MemberRemoved, Object: id("DA0"), Other: id("Administrator0")}, "DA0", "lost Administrators0 member; lost DA0 member; out DA0; out Administrators0"},
		{reach.Change{Kind: reach.OwnerChanged, Object: id("ou0"), Owner: secdesc.System}, "ou0", "lost ou0 owner; gained ou0 owner; out ou0"},
		{reach.Change{Kind: reach.EntryRemoved, Object: id("AdminSDHolder"), Index: 0}, "DA0", "closed u0 certain-no; lost AdminSDHolder full-control"},
		{reach.Change{Kind: reach.MemberAdded, Object: id("DA0"), Other: id("u1")}, "DA0", "opened u1 no-certain; gained Administrators0 member; gained DA0 member"},
	} {
		g := graphOf(s)
		after, err := g.With([]reach.Change{c.change})
		if err != nil {
			t.Fatal(err)
		}
		o := reach.Compare(g, after, []forest.ID{id(c.goal)})
		var got []string
		name := func(id forest.ID) string { return s.Name(id) }
		for _, x := range o.Closed {
			if n := name(x.ID); strings.HasPrefix(n, "u") {
				got = append(got, fmt.Sprintf("closed %s %s-%s", n, x.Before, x.After))
			}
		}
		for _, x := range o.Opened {
			got = append(got, fmt.Sprintf("opened %s %s-%s", name(x.ID), x.Before, x.After))
		}
		seen := map[string]bool{}
		for _, r := range o.Rights {
			text := fmt.Sprintf("%s %s %s", map[bool]string{true: "lost", false: "gained"}[r.Lost], name(r.Object), r.Kind)
			if k := r.Kind.String(); !seen[text] && (k == "member" || k == "owner" || k == "full-control") {
				got = append(got, text)
			}
			seen[text] = true
		}
		for _, l := range o.LockOuts {
			got = append(got, "out "+name(l.Object))
			if l.Unsure != "" {
				t.Errorf("%s may be administered: %s", name(l.Object), l.Unsure)
			}
		}
		if text := strings.Join(got, "; "); text != c.want {
			t.Errorf("kind %d: %s\nwant %s", c.change.Kind, text, c.want)
		}
	}
}

// Changes that do not fit are refused, with the reason.
func TestUnfitChanges(t *testing.T) {
	f := smallForest()
	f.objects[slices.IndexFunc(f.objects, func(o wildObject) bool { return o.name == "ou0" })].aces = []secdesc.ACE{
		{Type: secdesc.Allow, Mask: secdesc.WriteDAC, SID: wildDomains[0].Child(1101), Flags: secdesc.ContainerInherit},
	}
	s := f.build(t)
	id := func(name string) forest.ID {
		return f.find(s, &f.objects[slices.IndexFunc(f.objects, func(o wildObject) bool { return o.name == name })])
	}
	everyone := secdesc.ACE{Type: secdesc.Allow, Mask: secdesc.WriteDAC, SID: secdesc.Everyone}
	g := graphOf(s)
	for _, c := range []struct {
		change reach.Change
		want   string
	}{
		{reach.Change{Kind: reach.MemberRemoved, Object: id("DA0"), Other: id("u0")}, "CN=u0,DC=a is not a member of"},
		{reach.Change{Kind: reach.MemberRemoved, Object: id("Administrators0"), Other: id("Administrator0")}, "only through another group"},
		{reach.Change{Kind: reach.MemberRemoved, Object: id("DCs0"), Other: id("DC0")}, "by its primary group"},
		{reach.Change{Kind: reach.MemberAdded, Object: id("DA0"), Other: id("Administrator0")}, "is a member of CN=DA0,CN=System,DC=a already"},
		{reach.Change{Kind: reach.MemberAdded, Object: id("DA0"), Other: id("Administrators0")}, "only for domain-local groups"},
		{reach.Change{Kind: reach.MemberAdded, Object: id("u0"), Other: id("u1")}, "is no group"},
		{reach.Change{Kind: reach.EntryRemoved, Object: id("ou0"), Entry: everyone, Index: -1}, "has no such entry"},
		{reach.Change{Kind: reach.EntryRemoved, Object: id("ou0"), Index: 7}, "has entries 0 to 0 only"},
		{reach.Change{Kind: reach.EntryRemoved, Object: id("u1"), Index: 0}, "it has to be changed at OU=ou0,DC=a"},
		{reach.Change{Kind: reach.LinkRemoved, Object: id("ou0"), Other: id("u0")}, "is no group policy"},
		{reach.Change{Kind: reach.LinkAdded, Object: id("u0"), Other: id("u0")}, "policies cannot be linked to"},
		{reach.Change{Kind: reach.FlagCleared, Object: id("u0"), Flag: 2}, "is not disabled"},
		{reach.Change{Kind: reach.FlagSet, Object: id("u0"), Flag: 0x2000}, "cannot be changed here"},
		{reach.Change{Kind: reach.Moved, Object: id("DC=a"), Other: id("ou0")}, "cannot be moved"},
		{reach.Change{Kind: reach.Moved, Object: id("u1"), Other: id("ou0")}, "already"},
		{reach.Change{Kind: reach.OwnerChanged, Object: id("u0"), Owner: secdesc.Administrators}, "already"},
		{reach.Change{Kind: reach.MemberAdded, Object: forest.None, Other: id("u0")}, "there is no object"},
		{reach.Change{}, "kind 0 is not known"},
	} {
		_, err := g.With([]reach.Change{c.change})
		if !errors.Is(err, reach.ErrUnfit) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("kind %d: %v\nwant %s", c.change.Kind, err, c.want)
		}
	}
}
