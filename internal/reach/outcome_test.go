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
	const owned = "; out a; out Configuration; out Services; out ForeignSecurityPrincipals; out S-1-5-11; out System; out Administrator0; out Administrators0; out DC0; out krbtgt0" // by Administrators, whose last account goes
	for _, c := range []struct {
		change reach.Change
		goal   string
		want   string
	}{
		{reach.Change{Kind: reach.FlagSet, Object: id("Administrator0"), Flag: 2}, "DA0", "out DA0; out Administrators0" + owned + "; out u0"},
		{reach.Change{Kind: reach.MemberRemoved, Object: id("DA0"), Other: id("Administrator0")}, "DA0", "lost Administrators0 member; lost DA0 member; out DA0; out Administrators0" + owned},
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

// Who loses the last account is told from who keeps one, with denials, owners and
// nested groups; permissions of several objects count once.
func TestLockOuts(t *testing.T) {
	const text = `
ous: [{name: A}, {name: B}]
users:
  - {name: keeper}
  - {name: second}
  - {name: off, flags: [disabled]}
groups:
  - {name: Keepers, members: [keeper]}
  - {name: Both, members: [Keepers, second]}
  - {name: Mixed, members: [Keepers, off]}
  - {name: Stopped, members: [second]}`
	s := offline(t, text)
	at := func(name string) forest.ID { return named(t, s, name) }
	for _, c := range []struct {
		name string
		dacl string // of the unit A, with names for SIDs
		want bool   // nobody is left when keeper is disabled
	}{
		{"alone", "(A;;WD;;;keeper)", true},
		{"through a group", "(A;;WD;;;Keepers)", true},
		{"through nested groups", "(A;;WD;;;Mixed)", true},
		{"with another member", "(A;;WD;;;Both)", false},
		{"with another entry", "(A;;WD;;;keeper)(A;;WD;;;second)", false},
		{"with an entry that is inherited only", "(A;;WD;;;keeper)(A;CIIO;WD;;;second)", true},
		{"with an entry of other rights", "(A;;WD;;;keeper)(A;;RPWP;;;second)", true},
		{"with another member who is denied", "(D;;WD;;;Stopped)(A;;WD;;;Both)", true},
		{"with another member who is denied too late", "(A;;WD;;;Both)(D;;WD;;;Stopped)", false},
		{"with another member who is denied something else", "(D;;WO;;;Stopped)(A;;WD;;;Both)", false},
		{"not even before", "(D;;WD;;;keeper)(A;;WD;;;keeper)", false},
		{"only the operating system", "(A;;WD;;;SY)", false},
	} {
		dacl := c.dacl
		for _, name := range []string{"keeper", "second", "Keepers", "Both", "Mixed", "Stopped"} {
			dacl = strings.ReplaceAll(dacl, ";"+name+")", ";"+s.SID(at(name)).String()+")")
		}
		d, err := secdesc.ParseSDDL("O:SYG:SYD:P"+dacl, secdesc.SID{}, secdesc.SID{})
		if err != nil {
			t.Fatal(err)
		}
		e := s.Edit()
		i := e.AddDescriptor(d)
		e.SetDescriptor(at("OU=A"), i)
		e.SetDescriptor(at("OU=B"), i)
		g := graphOf(e.View())
		after, err := g.With([]reach.Change{{Kind: reach.FlagSet, Object: at("keeper"), Flag: 2}})
		if err != nil {
			t.Fatal(err)
		}
		out := false
		for _, l := range reach.Compare(g, after, nil).LockOuts {
			if l.Object != at("OU=A") || l.Others != 1 || l.Unsure != "" {
				t.Errorf("%s: %s and %d others, %q", c.name, s.DN(l.Object), l.Others, l.Unsure)
			}
			out = true
		}
		if out != c.want {
			t.Errorf("%s: locked out %t", c.name, out)
		}
	}
}

// Who is denied by a membership loses what nobody else has, and who is among those that
// all accounts, or all domain controllers, stand for loses it with the last of them.
func TestLockOutsByDenialAndIdentity(t *testing.T) {
	s := offline(t, `
ous: [{name: A}]
users: [{name: keeper}, {name: second}]
computers: [{name: dc, role: dc}]
groups: [{name: Stopped, members: [second]}, {name: Outer, members: [Stopped]}, {name: Inner}]`)
	at := func(name string) forest.ID { return named(t, s, name) }
	join := func(group, who string) []reach.Change {
		return []reach.Change{{Kind: reach.MemberAdded, Object: at(group), Other: at(who)}}
	}
	off := func(accounts ...string) (out []reach.Change) {
		for _, who := range accounts {
			out = append(out, reach.Change{Kind: reach.FlagSet, Object: at(who), Flag: 2})
		}
		return out
	}
	for _, c := range []struct {
		name, dacl string
		changes    []reach.Change
		want       bool
	}{
		{"denied from now on", "(D;;WD;;;Stopped)(A;;WD;;;keeper)", join("Stopped", "keeper"), true},
		{"denied through another group", "(D;;WD;;;Outer)(A;;WD;;;keeper)", join("Stopped", "keeper"), true},
		{"denied too late", "(A;;WD;;;keeper)(D;;WD;;;Stopped)", join("Stopped", "keeper"), false},
		{"denied, and another is not", "(D;;WD;;;Inner)(A;;WD;;;keeper)(A;;WD;;;second)", join("Inner", "keeper"), false},
		{"all domain controllers", "(A;;WD;;;ED)", off("dc$", "DC1$"), true},
		{"one domain controller", "(A;;WD;;;ED)", off("dc$"), false},
		{"all accounts", "(A;;WD;;;AU)", off("keeper"), false},
	} {
		for _, name := range []string{"keeper", "second", "Stopped", "Outer", "Inner"} {
			c.dacl = strings.ReplaceAll(c.dacl, ";"+name+")", ";"+s.SID(at(name)).String()+")")
		}
		d, err := secdesc.ParseSDDL("O:SYG:SYD:P"+c.dacl, secdesc.SID{}, secdesc.SID{})
		if err != nil {
			t.Fatal(err)
		}
		e := s.Edit()
		e.SetDescriptor(at("OU=A"), e.AddDescriptor(d))
		g := graphOf(e.View())
		after, err := g.With(c.changes)
		if err != nil {
			t.Fatal(err)
		}
		out := slices.ContainsFunc(reach.Compare(g, after, nil).LockOuts, func(l reach.LockOut) bool { return l.Object == at("OU=A") })
		if out != c.want {
			t.Errorf("%s: locked out %t", c.name, out)
		}
	}
}

// A right that a stronger one makes needless is neither lost when that comes nor gained
// when that goes.
func TestRightsBesideStrongerOnes(t *testing.T) {
	s := offline(t, "users: [{name: helper}]\ngroups: [{name: Staff}]")
	group, helper := named(t, s, "Staff"), s.SID(named(t, s, "helper")).String()
	const add, full, dac = "(OA;;WP;bf9679c0-0de6-11d0-a285-00aa003049e2;;helper)", "(A;;GA;;;helper)", "(A;;WD;;;helper)"
	for _, c := range []struct {
		has, change, want string
		removed           bool
	}{
		{has: add, change: full, want: "gained full-control"},
		{has: add + full, change: full, removed: true, want: "lost full-control"},
		{has: dac + full, change: full, removed: true, want: "lost full-control"},
		{has: add + dac, change: dac, removed: true, want: "lost write-dac"},
		{has: full + add, change: add, removed: true, want: ""},
		{has: "", change: add, want: "gained add-member"},
		{has: add, change: add, removed: true, want: "lost add-member"},
		{has: add, change: "(D;;WP;;;helper)", want: "lost add-member"},
	} {
		parse := func(text string) []secdesc.ACE {
			d, err := secdesc.ParseSDDL("O:SYG:SYD:P"+strings.ReplaceAll(text, "helper", helper), secdesc.SID{}, secdesc.SID{})
			if err != nil {
				t.Fatal(err)
			}
			return d.DACL.ACEs
		}
		e := s.Edit()
		e.SetDescriptor(group, e.AddDescriptor(&secdesc.Descriptor{Owner: secdesc.System, Control: secdesc.DACLPresent | secdesc.DACLProtected, DACL: &secdesc.ACL{ACEs: parse(c.has)}}))
		g := graphOf(e.View())
		change := reach.Change{Kind: reach.EntryAdded, Object: group, Entry: parse(c.change)[0]}
		if c.removed {
			change.Kind, change.Index = reach.EntryRemoved, -1
		}
		after, err := g.With([]reach.Change{change})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range reach.Compare(g, after, nil).Rights {
			got = append(got, map[bool]string{true: "lost ", false: "gained "}[r.Lost]+r.Kind.String())
		}
		if text := strings.Join(got, "; "); text != c.want {
			t.Errorf("%s, then %s: %s, want %s", c.has, c.change, text, c.want)
		}
	}
}

// AdminSDHolder puts back what is changed on objects that it covers, hands on what is
// changed on itself, and takes in new members; others keep what they get.
func TestStamps(t *testing.T) {
	f := smallForest()
	s := f.build(t)
	id := func(name string) forest.ID {
		return f.find(s, &f.objects[slices.IndexFunc(f.objects, func(o wildObject) bool { return o.name == name })])
	}
	g := graphOf(s)
	write := secdesc.ACE{Type: secdesc.Allow, Mask: secdesc.WriteDAC, SID: s.SID(id("u1"))}
	for _, c := range []struct {
		change reach.Change
		want   string
	}{
		{reach.Change{Kind: reach.EntryAdded, Object: id("DA0"), Entry: write}, "put back DA0"},
		{reach.Change{Kind: reach.EntryAdded, Object: id("u0"), Entry: write}, ""},
		{reach.Change{Kind: reach.EntryAdded, Object: id("AdminSDHolder"), Entry: write}, "handed on DA0"},
		{reach.Change{Kind: reach.MemberAdded, Object: id("DA0"), Other: id("u1")}, "covered u1"},
		{reach.Change{Kind: reach.MemberRemoved, Object: id("DA0"), Other: id("Administrator0")}, ""},
		{reach.Change{Kind: reach.OwnerChanged, Object: id("DA0"), Owner: s.SID(id("u1"))}, ""},
	} {
		after, err := g.With([]reach.Change{c.change})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, x := range reach.Compare(g, after, nil).Stamps {
			got = append(got, string(x.Kind)+" "+s.Name(x.Object))
			if x.Holder != id("AdminSDHolder") || x.Unsure != "" {
				t.Errorf("%s by %s, unsure %q", s.Name(x.Object), s.DN(x.Holder), x.Unsure)
			}
		}
		if text := strings.Join(got, "; "); text != c.want {
			t.Errorf("kind %d of %s: %s, want %s", c.change.Kind, s.Name(c.change.Object), text, c.want)
		}
	}
}

// Members of operators' groups that dSHeuristics takes out of the protection may keep
// what they get; who is in another protected group as well does not.
func TestStampsExcluded(t *testing.T) {
	const text = `
users: [{name: both, member-of: [Account Operators, Domain Admins]}, {name: operator, member-of: [Account Operators]}, {name: other}]
changes: [{object: "CN=Directory Service,CN=Windows NT,CN=Services,CN=Configuration", set: {dSHeuristics: ["%s"]}}]`
	for mask, unsure := range map[string]bool{"0": false, "1": true, "2": false} {
		s := offline(t, fmt.Sprintf(text, "000000000100000"+mask))
		g := graphOf(s)
		write := secdesc.ACE{Type: secdesc.Allow, Mask: secdesc.WriteDAC, SID: s.SID(named(t, s, "other"))}
		for _, who := range []string{"both", "operator"} {
			after, err := g.With([]reach.Change{{Kind: reach.EntryAdded, Object: named(t, s, who), Entry: write}})
			if err != nil {
				t.Fatal(err)
			}
			got := reach.Compare(g, after, nil).Stamps
			if len(got) != 1 || got[0].Kind != reach.PutBack || (got[0].Unsure != "") != (unsure && who == "operator") {
				t.Errorf("mask %s, %s: %+v", mask, who, got)
			}
		}
	}
}
