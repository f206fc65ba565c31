package reach_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A planChange is a change of a plan and the same change of its snapshot.
type planChange struct {
	edit   func(*wildForest)
	change reach.Change
	text   string
}

// A view with changes answers as the graph of a forest that was built with them.
func TestWhatIfOfWildForests(t *testing.T) {
	count, seed := number("LEASTWISE_FORESTS", 60), number("LEASTWISE_SEED", 1)
	done, moved, steered := map[reach.ChangeKind]int{}, 0, 0
	for i := range count {
		r := rand.New(rand.NewPCG(uint64(seed+i), 7))
		f := newWildForest(uint64(seed + i)).withPolicies(r)
		s := f.build(t)
		g := graphOf(s)
		before := answers(f, g) + nestingOf(s, g.Index())
		for range 4 {
			plan := f.copy()
			var changes []reach.Change
			var texts []string
			for range 1 + r.IntN(3) {
				kind := reach.ChangeKind(1 + r.IntN(int(reach.OwnerChanged)))
				var c planChange
				fits := false
				for try := 0; !fits && try < 30; try++ {
					if c, fits = plan.randomChange(r, s, kind); !fits {
						continue
					}
					_, err := g.With(append(slices.Clone(changes), c.change))
					if fits = err == nil; !fits && !errors.Is(err, reach.ErrUnfit) {
						t.Fatal(err)
					}
				}
				if !fits {
					continue
				}
				c.edit(plan)
				changes, texts = append(changes, c.change), append(texts, c.text)
				done[c.change.Kind]++
			}
			after, err := g.With(changes)
			if err != nil {
				t.Fatal(err)
			}
			got, want := answers(plan, after), answers(plan, graphOf(plan.build(t)))
			if got != want {
				t.Fatalf("seed %d, after %s:\n%s\n%s", seed+i, strings.Join(texts, "; "), differing(got, want), plan)
			}
			if !strings.HasPrefix(before, got) {
				moved++
			}
			who := []int{r.IntN(len(f.objects)), r.IntN(len(f.objects))}
			if got, want := gained(plan, after, who), gained(plan, graphOf(plan.build(t)), who); got != want {
				t.Fatalf("seed %d, after %s:\n%s\n%s", seed+i, strings.Join(texts, "; "), differing(got, want), plan)
			}
			v := after.Snapshot()
			if got, want := nestingOf(v, after.Index()), nestingOf(v, reach.New(v)); got != want {
				t.Fatalf("seed %d, after %s: memberships\n%s\n%s", seed+i, strings.Join(texts, "; "), differing(got, want), plan)
			}
			if policiesOf(v, after.Policies()) != policiesOf(s, g.Policies()) {
				steered++
			}
			if got, want := policiesOf(v, after.Policies()), policiesOf(v, gpo.New(v, reach.New(v))); got != want {
				t.Fatalf("seed %d, after %s: policies\n%s\n%s", seed+i, strings.Join(texts, "; "), differing(got, want), plan)
			}
		}
		if now := answers(f, g) + nestingOf(s, g.Index()); now != before {
			t.Fatalf("seed %d: the graph that was changed answers otherwise than before:\n%s", seed+i, differing(now, before))
		}
	}
	t.Logf("changes: %v; %d of %d sets change an answer, %d the policies of a computer", done, moved, 4*count, steered)
	for k := reach.MemberAdded; k <= reach.OwnerChanged; k++ {
		if done[k] < count/30 {
			t.Errorf("only %d changes of kind %d", done[k], k)
		}
	}
	if moved < count/4 || steered < count/10 {
		t.Error("the changes prove too little")
	}
}

// What policy depends on is found again where something else follows later: a container
// that is empty when it is moved, and a group that a filter names by its SID history.
func TestWhatIfPolicies(t *testing.T) {
	const text = `
ous: [{name: A}, {name: B}, {name: C}]
computers:
  - {name: PC1, in: A}
  - {name: PC2, in: B}
groups:
  - {name: migrated, in: C, scope: universal, sid-history: [S-1-5-21-9-9-9-1500]}
policies:
  - {name: P, rights: {SeDebugPrivilege: [Administrators]}}
  - {name: Q, rights: {SeBackupPrivilege: [Administrators]}, permissions: ["(OD;;CR;edacfd8f-ffb3-11d1-b41d-00a0c968f939;;S-1-5-21-9-9-9-1500)"]}
links: [{on: B, policies: [P, Q]}]`
	s := offline(t, text)
	g := graphOf(s)
	at := func(name string) forest.ID { return named(t, s, name) }
	move := func(name, to string) reach.Change {
		return reach.Change{Kind: reach.Moved, Object: at(name), Other: at("OU=" + to)}
	}
	for name, changes := range map[string][]reach.Change{
		"emptied before":       {move("PC1", "C"), move("OU=A", "B"), move("PC1", "A")},
		"filled by another":    {move("PC1", "C"), move("OU=A", "B"), move("PC2", "A")},
		"by SID history":       {{Kind: reach.MemberAdded, Object: at("migrated"), Other: at("PC2")}},
		"out of where it acts": {move("PC2", "C")},
	} {
		steps := [][]reach.Change{changes}
		for _, c := range changes {
			steps = append(steps, []reach.Change{c})
		}
		whole := viewOf(t, g, steps[:1])
		for _, v := range []*reach.Graph{whole, viewOf(t, g, steps[1:])} {
			s := v.Snapshot()
			if got, want := policiesOf(s, v.Policies()), policiesOf(s, gpo.New(s, reach.New(s))); got != want {
				t.Errorf("%s: %s", name, differing(got, want))
			}
		}
		if policiesOf(s, g.Policies()) == policiesOf(whole.Snapshot(), whole.Policies()) {
			t.Errorf("%s: nothing changes", name)
		}
	}
}

// Nothing is said of a move into a container of which nobody knows what it hands down;
// that the moved object's own permissions were not read is.
func TestWhatIfMovesOfUnread(t *testing.T) {
	w := newWorld(t)
	w.b.Collected(forest.Attrs()...)
	own, err := secdesc.ParseSDDL("O:BAD:(A;CI;WD;;;S-1-5-21-1-2-3-1100)", contoso, contoso)
	if err != nil {
		t.Fatal(err)
	}
	sd := "nTSecurityDescriptor=" + string(own.Bytes())
	w.add("OU=read,DC=a", "top organizationalUnit", secdesc.SID{}, sd)
	w.add("OU=unread,DC=a", "top organizationalUnit", secdesc.SID{})
	w.add("OU=home,DC=a", "top organizationalUnit", secdesc.SID{}, sd)
	w.add("CN=seen,OU=home,DC=a", "top person organizationalPerson user", contoso.Child(1101), sd)
	w.add("CN=unseen,OU=home,DC=a", "top person organizationalPerson user", contoso.Child(1102))
	s, x := w.build()
	g := reach.NewGraph(x, nil)
	move := func(name, to string) (*reach.Graph, error) {
		return g.With([]reach.Change{{Kind: reach.Moved, Object: s.Lookup("CN=" + name + ",OU=home,DC=a"), Other: s.Lookup("OU=" + to + ",DC=a")}})
	}
	if _, err := move("seen", "unread"); !errors.Is(err, reach.ErrUnfit) {
		t.Errorf("moved into a container whose permissions were not read: %v", err)
	}
	for name, want := range map[string]int{"seen": 0, "unseen": 1} {
		after, err := move(name, "read")
		if err != nil {
			t.Fatal(err)
		}
		if got := reach.Compare(g, after, nil).Unread; got != want {
			t.Errorf("moving %s: permissions of %d objects were not read, want %d", name, got, want)
		}
	}
}

// viewOf makes a view of a view of g, and so on.
func viewOf(t *testing.T, g *reach.Graph, steps [][]reach.Change) *reach.Graph {
	t.Helper()
	for _, changes := range steps {
		var err error
		if g, err = g.With(changes); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

// answers spells out who can gain Tier 0, and each group and unit of the plan.
func answers(f *wildForest, g *reach.Graph) string {
	s := g.Snapshot()
	var b strings.Builder
	goals := map[string][]forest.ID{"Tier 0": g.Resolve(reach.TierZero())}
	names := []string{"Tier 0"}
	for i := range f.objects {
		o := &f.objects[i]
		if !o.fixed && (o.groupType() != 0 || strings.HasPrefix(o.name, "ou")) {
			goals[o.name] = []forest.ID{f.find(s, o)}
			names = append(names, o.name)
		}
	}
	for _, name := range names {
		r := g.WhoCan(goals[name])
		fmt.Fprintf(&b, "%s:", name)
		for i := range f.objects {
			o := &f.objects[i]
			if id := f.find(s, o); r.Has(id) {
				fmt.Fprintf(&b, " %s%d", o.name, o.domain)
			} else if r.MayHave(id) {
				fmt.Fprintf(&b, " ?%s%d", o.name, o.domain)
			}
		}
		sure, possible := r.Identities()
		fmt.Fprintf(&b, " %v ?%v\n", sure, possible)
	}
	return b.String()
}

// gained spells out what some objects of the plan can gain, and hold.
func gained(f *wildForest, g *reach.Graph, who []int) string {
	s := g.Snapshot()
	names := map[forest.ID]string{}
	for i := range f.objects {
		o := &f.objects[i]
		names[f.find(s, o)] = o.name + strconv.Itoa(o.domain)
	}
	var b strings.Builder
	for _, i := range who {
		id := f.find(s, &f.objects[i])
		if id == forest.None {
			continue
		}
		for _, possible := range []bool{false, true} {
			var list []string
			for _, to := range g.Gains(id, possible) {
				list = append(list, names[to])
			}
			slices.Sort(list)
			fmt.Fprintf(&b, "%s gains %v\n", names[id], list)
		}
		for _, h := range g.Holdings(id, nil) {
			fmt.Fprintf(&b, "%s holds %v\n", names[id], h)
		}
	}
	return b.String()
}

// nestingOf spells out which groups are above and below each object.
func nestingOf(s *forest.Snapshot, x *reach.Index) string {
	var b strings.Builder
	for id := range forest.ID(s.Len()) {
		fmt.Fprintf(&b, "%d in %v, over %v\n", id, x.GroupsOf(id), x.Nested(id))
	}
	return b.String()
}

// policiesOf spells out which policies each computer applies and which it rejects.
func policiesOf(s *forest.Snapshot, e *gpo.Engine) string {
	var b strings.Builder
	listed := map[forest.ID]gpo.ScopeID{}
	for sc := range e.Scopes() {
		if !slices.IsSorted(e.Computers(gpo.ScopeID(sc))) {
			fmt.Fprintf(&b, "scope %d is out of order\n", sc)
		}
		for _, c := range e.Computers(gpo.ScopeID(sc)) {
			listed[c] = gpo.ScopeID(sc)
		}
	}
	for c := range forest.ID(s.Len()) {
		scope, ok := e.ScopeOf(c)
		if in, is := listed[c]; is != ok || in != scope {
			fmt.Fprintf(&b, "%s: listed in %d, found in %d\n", s.DN(c), in, scope)
		}
		if !ok {
			continue
		}
		r := e.Result(scope)
		fmt.Fprintf(&b, "%s: in %d", s.DN(c), r.Container)
		for _, p := range r.Policies {
			fmt.Fprintf(&b, " + %s %+v %q", p.Policy, p.Link, p.When)
		}
		for _, x := range r.Rejected {
			fmt.Fprintf(&b, " - %s %+v %v %d %q", x.Policy, x.Link, x.Reason, x.ACE, x.Text)
		}
		b.WriteString("\n")
	}
	for _, p := range e.Policies() {
		fmt.Fprintf(&b, "%s %d\n", p, p.ID)
	}
	return b.String()
}

// find finds an object of the plan: by SID if it has one that is its alone, for it
// may have been moved.
func (f *wildForest) find(s *forest.Snapshot, o *wildObject) forest.ID {
	if o.sid.IsDomainRelative() && o.parent != "" {
		return s.BySID(o.sid)
	}
	at := s.Lookup(f.dnOf(o))
	if o.home != "" {
		if id := s.Lookup(o.home); id != forest.None {
			return id
		}
	}
	return at
}

func differing(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			return fmt.Sprintf("view    %s\nrebuilt %s", g[i], w[i])
		}
	}
	return ""
}

func (f *wildForest) copy() *wildForest {
	c := &wildForest{blockOwner: f.blockOwner, objects: slices.Clone(f.objects)}
	for i := range c.objects {
		o := &c.objects[i]
		o.members, o.aces, o.attrs = slices.Clone(o.members), slices.Clone(o.aces), slices.Clone(o.attrs)
	}
	return c
}

// withPolicies adds policies, linked to some containers.
func (f *wildForest) withPolicies(r *rand.Rand) *wildForest {
	m := &wildMaker{r: r, f: f}
	var names []string
	for i := range 3 {
		name := "policy" + strconv.Itoa(i)
		names = append(names, name)
		o := wildObject{name: name, classes: "top container groupPolicyContainer", parent: "System0", owner: secdesc.Administrators, attrs: []string{
			"gPCFileSysPath=\\\\a\\sysvol\\a\\Policies\\{" + name + "}", "versionNumber=1", "flags=0", "gPCFunctionalityVersion=2",
			"gPCMachineExtensionNames=[{827D319E-6EAC-11D2-A4EA-00C04F79F83A}{803E14A0-B4FB-11D0-A0D0-00A0C90F574B}]",
		}}
		for range 1 + r.IntN(2) {
			o.aces = append(o.aces, m.entry())
		}
		if r.IntN(4) > 0 { // the members of a group pass the filter, or do not
			o.aces = []secdesc.ACE{{Mask: secdesc.ReadProperty | secdesc.ControlAccess, SID: f.someGroup(r).sid}}
			if r.IntN(2) == 0 {
				o.aces = []secdesc.ACE{
					{Type: secdesc.Deny, Mask: secdesc.ControlAccess, SID: f.someGroup(r).sid},
					{Mask: secdesc.ReadProperty | secdesc.ControlAccess, SID: secdesc.AuthenticatedUsers},
				}
			}
		}
		f.objects = append(f.objects, o)
	}
	for i := range f.objects {
		o := &f.objects[i]
		if strings.HasPrefix(o.name, "pc") {
			if group := f.someGroup(r); group.mayHold(o) && !slices.Contains(group.members, o.name) {
				group.members = append(group.members, o.name)
			}
		}
		o.home = f.dnOf(o)
		if (strings.HasPrefix(o.name, "ou") || o.parent == "") && r.IntN(2) == 0 {
			o.attrs = append(slices.Clone(o.attrs), "gPLink="+gpo.FormatLinks([]gpo.LinkEntry{{DN: f.dn(names[r.IntN(len(names))])}}))
		}
	}
	return f
}

// someGroup returns a group of the plan that policies may be filtered by.
func (f *wildForest) someGroup(r *rand.Rand) *wildObject {
	for {
		o := &f.objects[r.IntN(len(f.objects))]
		if o.groupType() != 0 && !o.sid.IsZero() {
			return o
		}
	}
}

// set gives an object of the plan an attribute.
func (o *wildObject) set(name, value string) {
	o.attrs = slices.DeleteFunc(slices.Clone(o.attrs), func(a string) bool { return strings.HasPrefix(a, name+"=") })
	if value != "" {
		o.attrs = append(o.attrs, name+"="+value)
	}
}

func (o *wildObject) get(name string) string {
	for _, a := range o.attrs {
		if v, ok := strings.CutPrefix(a, name+"="); ok {
			return v
		}
	}
	return ""
}

// randomChange proposes a change; it may not fit.
func (f *wildForest) randomChange(r *rand.Rand, s *forest.Snapshot, kind reach.ChangeKind) (planChange, bool) {
	i, k := r.IntN(len(f.objects)), r.IntN(len(f.objects))
	o, other := &f.objects[i], &f.objects[k]
	c := planChange{change: reach.Change{Kind: kind, Object: f.find(s, o), Other: f.find(s, other), Index: -1}}
	ok := false
	switch c.change.Kind {
	case reach.MemberAdded:
		if pc := slices.IndexFunc(f.objects, func(x wildObject) bool { return x.name == "pc0" }); pc >= 0 && r.IntN(2) == 0 {
			other = &f.objects[pc]
			c.change.Other = f.find(s, other)
		}
		c.edit = func(f *wildForest) { f.objects[i].members = append(f.objects[i].members, other.name) }
		ok = o.groupType() != 0 && !other.sid.IsZero() && other.parent != "" && o.mayHold(other)
	case reach.MemberRemoved:
		if ok = len(o.members) > 0; ok {
			name := o.members[r.IntN(len(o.members))]
			k = slices.IndexFunc(f.objects, func(x wildObject) bool { return x.name == name })
			other, c.change.Other = &f.objects[k], f.find(s, &f.objects[k])
			c.edit = func(f *wildForest) {
				f.objects[i].members = slices.DeleteFunc(slices.Clone(f.objects[i].members), func(m string) bool { return m == name })
			}
		}
	case reach.EntryAdded, reach.EntryRemoved:
		ok = o.name != "AdminSDHolder" && !o.null && f.randomEntry(r, i, &c)
	case reach.LinkAdded, reach.LinkRemoved, reach.LinkDisabled:
		c, ok = f.randomLink(r, s, i, c)
	case reach.FlagSet, reach.FlagCleared:
		flags := reach.AccountFlags()
		flag := flags[r.IntN(len(flags))]
		c.change.Flag = flag.Bit
		uac, err := strconv.ParseInt(o.get("userAccountControl"), 10, 64)
		ok = err == nil
		c.edit = func(f *wildForest) { f.objects[i].set("userAccountControl", fmt.Sprint(uac^flag.Bit)) }
	case reach.Moved:
		c.edit = func(f *wildForest) { f.objects[i].parent = other.name }
		ok = !o.fixed && (strings.HasPrefix(other.name, "ou") || other.parent == "") && k < i && !strings.HasPrefix(o.name, "policy")
	case reach.OwnerChanged:
		c.change.Owner = (&wildMaker{r: r, f: f}).trustee()
		c.edit = func(f *wildForest) { f.objects[i].owner = c.change.Owner }
		ok = !slices.ContainsFunc(f.objects, func(x wildObject) bool { // who would become the new owner's, too
			return slices.ContainsFunc(x.aces, func(a secdesc.ACE) bool { return a.SID == secdesc.CreatorOwner })
		})
	}
	c.text = fmt.Sprintf("kind %d of %s, %s %s %s", c.change.Kind, o.name, other.name, c.change.Entry.SDDL(secdesc.SID{}), c.change.Owner)
	return c, ok
}

// randomEntry proposes to add or remove an entry.
func (f *wildForest) randomEntry(r *rand.Rand, i int, c *planChange) bool {
	o := &f.objects[i]
	if c.change.Kind == reach.EntryAdded {
		a, err := secdesc.ParseACE((&wildMaker{r: r, f: f}).entry().SDDL(secdesc.SID{}), secdesc.SID{}, secdesc.SID{})
		if err != nil {
			return false
		}
		at := len(o.aces)
		if a.IsDeny() {
			if n := slices.IndexFunc(o.aces, secdesc.ACE.IsAllow); n >= 0 {
				at = n
			}
		}
		c.change.Entry = a
		c.edit = func(f *wildForest) { f.objects[i].aces = slices.Insert(slices.Clone(f.objects[i].aces), at, a) }
		return true
	}
	if len(o.aces) == 0 {
		return false
	}
	at := r.IntN(len(o.aces))
	text := o.aces[at].SDDL(secdesc.SID{})
	a, err := secdesc.ParseACE(text, secdesc.SID{}, secdesc.SID{})
	twice := slices.ContainsFunc(o.aces[at+1:], func(b secdesc.ACE) bool { return b.SDDL(secdesc.SID{}) == text })
	generic := a.Mask&(secdesc.GenericAll|secdesc.GenericWrite) != 0 || a.SID == secdesc.CreatorOwner // stored otherwise
	c.change.Entry = a
	c.edit = func(f *wildForest) { f.objects[i].aces = slices.Delete(slices.Clone(f.objects[i].aces), at, at+1) }
	return err == nil && !twice && !generic && slices.IndexFunc(o.aces, func(b secdesc.ACE) bool { return b.SDDL(secdesc.SID{}) == text }) == at
}

// randomLink proposes a change of a link.
func (f *wildForest) randomLink(r *rand.Rand, s *forest.Snapshot, i int, c planChange) (planChange, bool) {
	o, policy := &f.objects[i], "policy"+strconv.Itoa(r.IntN(3))
	if o.parent != "" && !strings.HasPrefix(o.name, "ou") {
		return c, false
	}
	c.change.Other, c.change.Enforced = s.Lookup(f.dn(policy)), r.IntN(2) == 0
	links, _ := gpo.ParseLinks(o.get("gPLink"))
	at := slices.IndexFunc(links, func(l gpo.LinkEntry) bool { return l.DN == f.dn(policy) })
	switch c.change.Kind {
	case reach.LinkAdded:
		flags := gpo.LinkFlags(0)
		if c.change.Enforced {
			flags = gpo.LinkFlagEnforced
		}
		links = slices.Insert(links, 0, gpo.LinkEntry{DN: f.dn(policy), Flags: flags})
	case reach.LinkRemoved:
		if at >= 0 {
			links = slices.Delete(links, at, at+1)
		}
	default:
		if at >= 0 {
			links[at].Flags |= gpo.LinkFlagDisabled
		}
	}
	c.edit = func(f *wildForest) { f.objects[i].set("gPLink", gpo.FormatLinks(links)) }
	return c, true
}
