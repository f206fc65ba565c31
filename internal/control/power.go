package control

import (
	"fmt"
	"slices"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// How much of the ways to Tier 0 an assessment spells out; numbers are of all.
const (
	mostWays   = 500
	mostChokes = 20
	mostUnread = 100
)

// ControlPaths says who can gain Tier 0 without being a member of its groups.
type ControlPaths struct {
	Target        string       `json:"target"` // name of the zone
	Goals         []Place      `json:"goals"`  // objects of the zone
	CertainTotal  int          `json:"certain_total"`
	PossibleTotal int          `json:"possible_total"` // further ones, under conditions
	UnreadTotal   int          `json:"unread_total"`
	Certain       []Way        `json:"certain"`  // a shortest way of each, up to 500
	Possible      []Way        `json:"possible"` // the same, up to 500
	Chokes        []ChokePoint `json:"choke_points"`
	Cut           SmallestCut  `json:"smallest_cut"`
	Unread        []string     `json:"unread"` // what was not read, so that more may be possible; up to 100
}

// A Removal is one thing to take away.
type Removal struct {
	Kind   string `json:"kind"` // of the step that it makes
	Object Place  `json:"object"`
	Entry  *int   `json:"entry,omitempty"` // index in the DACL of Object, from 0
	SDDL   string `json:"sddl,omitempty"`
	Member *Place `json:"member,omitempty"` // who loses a membership
	Detail string `json:"detail,omitempty"` // attribute or policy
	Text   string `json:"text"`             // what to do
	Lost   string `json:"lost"`             // what goes away with it
}

// A ChokePoint is something that principals need for every way to Tier 0.
type ChokePoint struct {
	Removal
	Principals int     `json:"principals"` // accounts and groups that it alone lets through, members included
	Sample     []Place `json:"sample"`     // up to ten of them
}

// SmallestCut lists the fewest things to take away so that nobody gains Tier 0 for
// certain but members of its groups and what runs the domains.
type SmallestCut struct {
	Removals []Removal `json:"removals"`
	Stay     int       `json:"stay"` // accounts and groups that still gain it
}

// GroupControl counts who can gain membership of a group without having it.
type GroupControl struct {
	Certain  int `json:"certain"`  // accounts, groups and identities that are no members
	Outside  int `json:"outside"`  // of Certain: members of no protected group and no domain controllers
	Possible int `json:"possible"` // further ones, under conditions
	Unread   int `json:"unread"`   // objects on the way whose permissions were not read
}

// A tierZero is the answer to who can gain Tier 0.
type tierZero struct {
	reach   *reach.Reach
	inside  map[forest.ID]bool   // members of its groups and of protected ones, and what runs the domains
	foreign map[secdesc.SID]bool // identities among them
	gaps    []string             // why more may gain it
	members string               // why somebody may be a member who is not known to be one; "" if nobody
}

// enterpriseControllers is the identity of every domain controller of the forest
// ([MS-DTYP] 2.4.2.4), which replicates secrets because it runs the domains.
var enterpriseControllers = secdesc.MustSID("S-1-5-9")

func (w *world) findTierZero() *tierZero {
	g := w.graph()
	t := &tierZero{
		reach: g.WhoCan(g.Resolve(reach.TierZero())), inside: map[forest.ID]bool{},
		foreign: map[secdesc.SID]bool{enterpriseControllers: true},
	}
	goals := t.reach.Goals()
	for _, id := range sorted(goals, w.privilege().groups) {
		t.inside[id] = true
		if w.kind(id) != "group" {
			continue
		}
		for _, m := range sorted(w.reach.Members(id), w.reach.Nested(id)) {
			t.inside[m] = true
			if w.kind(m) == "foreign" {
				t.foreign[w.s.SID(m)] = true
			}
		}
		if gaps := w.memberGaps(id); len(gaps) > 0 && t.members == "" {
			t.members = gaps[0]
		}
	}
	if t.members == "" {
		t.members = w.protectedGap()
	}
	for _, id := range t.reach.Certain() {
		if !t.inside[id] && runsForest(t.reach.Path(id)) {
			t.inside[id] = true
		}
	}
	t.gaps = w.powerGaps(t)
	return t
}

// runsForest reports whether a path is no more than how the directory works: the
// account is that of a domain controller or certification authority.
func runsForest(p reach.Path) bool {
	return len(p) > 0 && !slices.ContainsFunc(p, func(h reach.Hop) bool {
		return h.Kind != reach.RunsDomain && h.Kind != reach.IssuesCertificates
	})
}

// certain lists the principals outside that surely gain Tier 0, and possible those
// that gain it under conditions.
func (t *tierZero) certain() []forest.ID  { return t.outside(t.reach.Certain()) }
func (t *tierZero) possible() []forest.ID { return t.outside(t.reach.Possible()) }

func (t *tierZero) outside(ids []forest.ID) []forest.ID {
	return slices.DeleteFunc(ids, func(id forest.ID) bool { return t.inside[id] })
}

// identities lists the same of principals without an object.
func (t *tierZero) identities() (sure, possible []secdesc.SID) {
	sure, possible = t.reach.Identities()
	in := func(sid secdesc.SID) bool { return t.foreign[sid] }
	return slices.DeleteFunc(sure, in), slices.DeleteFunc(possible, in)
}

// schemaAttrs are the attributes by which the schema says what an entry is about.
var schemaAttrs = []forest.Attr{forest.LDAPDisplayName, forest.SchemaIDGUID, forest.AttributeSecurityGUID}

// powerGaps says what was not read that may let more principals gain Tier 0.
func (w *world) powerGaps(t *tierZero) []string {
	var out []string
	for _, id := range t.reach.Unread() {
		out = append(out, "permissions of "+w.s.DN(id))
	}
	for _, id := range t.reach.Goals() {
		if w.kind(id) == "group" {
			out = append(out, w.memberGaps(id)...)
		}
	}
	out = append(out, w.unreadAttrs()...)
	n, first := 0, ""
	for _, f := range w.s.Files() {
		if f.State == forest.Unreadable {
			if n++; n == 1 {
				first = f.Path
			}
		}
	}
	if n > 0 {
		out = append(out, "permissions or content of "+counted(n, first, "files"))
	}
	l := w.listing()
	for d := range w.domains {
		out = append(append(out, l.accounts[d]...), l.policies[d]...)
	}
	out = append(out, l.forest...)
	seen := map[string]bool{}
	return slices.DeleteFunc(out, func(s string) bool {
		had := seen[s]
		seen[s] = true
		return had
	})
}

// unreadAttrs says which attributes that control is decided by were not read.
func (w *world) unreadAttrs() []string {
	var out []string
	missing := reach.Unasked(w.s)
	for _, a := range schemaAttrs {
		if !w.s.Collected(a) {
			missing = append(missing, a)
		} else if ids := w.s.Flawed(a); len(ids) > 0 {
			out = append(out, a.String()+" of "+counted(len(ids), w.s.DN(ids[0]), "objects")+": "+w.s.Why(ids[0], a))
		}
	}
	for _, a := range missing {
		if !w.s.OutsideSchema(a) {
			out = append(out, a.String()+" of all objects: not collected")
		}
	}
	for _, b := range reach.Blanks(w.s) {
		if w.s.Collected(b.Attr) {
			out = append(out, b.Attr.String()+" of "+counted(b.Objects, w.s.DN(b.First), "objects")+": "+b.Why)
		}
	}
	return out
}

// controlPaths puts into words who can gain Tier 0.
func (w *world) controlPaths() ControlPaths {
	t, n := w.tierZero(), WayNames{w.s}
	goals := t.reach.Goals()
	out := ControlPaths{
		Target: reach.TierZero().Name, Goals: []Place{}, Certain: []Way{}, Possible: []Way{}, Chokes: []ChokePoint{},
		Cut: SmallestCut{Removals: []Removal{}}, Unread: []string{}, UnreadTotal: len(t.gaps),
	}
	for _, id := range goals {
		out.Goals = append(out.Goals, n.Object(id))
	}
	sure, possible := t.identities()
	out.Certain, out.CertainTotal = w.ways(t, t.certain(), sure)
	out.Possible, out.PossibleTotal = w.ways(t, t.possible(), possible)
	for _, c := range t.reach.Chokes(mostChokes) {
		p := ChokePoint{Removal: w.removal(c.Unit), Principals: c.Principals, Sample: []Place{}}
		for _, id := range c.Sample {
			p.Sample = append(p.Sample, n.Object(id))
		}
		out.Chokes = append(out.Chokes, p)
	}
	cut := t.reach.SmallestCut()
	out.Cut.Stay = cut.Stay
	for _, u := range cut.Units {
		out.Cut.Removals = append(out.Cut.Removals, w.removal(u))
	}
	out.Unread = append(out.Unread, t.gaps[:min(len(t.gaps), mostUnread)]...)
	return out
}

func (w *world) ways(t *tierZero, ids []forest.ID, sids []secdesc.SID) (list []Way, total int) {
	n := WayNames{w.s}
	list, total = []Way{}, len(ids)+len(sids)
	if total > mostWays { // then groups first, which say more than their members
		rank := func(id forest.ID) int {
			if w.kind(id) == "group" {
				return 0
			}
			return 1
		}
		slices.SortStableFunc(ids, func(a, b forest.ID) int { return rank(a) - rank(b) })
	}
	sids = sids[:min(len(sids), mostWays)] // few, and they say most: everybody may be among them
	for _, id := range ids[:min(len(ids), mostWays-len(sids))] {
		list = append(list, Way{n.Object(id), n.Steps(t.reach.Path(id))})
	}
	for _, sid := range sids {
		list = append(list, Way{n.Identity(sid), n.Steps(t.reach.PathOf(sid))})
	}
	return list, total
}

// removal says what to take away, and what goes away with it.
func (w *world) removal(u reach.Unit) Removal {
	n := WayNames{w.s}
	info := u.Kind.Info()
	out := Removal{Kind: u.Kind.String(), SDDL: u.SDDL, Detail: u.Detail, Text: info.Remove, Lost: info.Yields}
	if u.Object != forest.None {
		out.Object = n.Object(u.Object)
	}
	switch {
	case u.ACE >= 0:
		ace := u.ACE
		out.Entry = &ace
		out.Text = fmt.Sprintf("remove entry %d, %s, from the DACL of %s", u.ACE, u.SDDL, out.Object.Label())
		out.Lost = w.entryLost(u)
	case u.Member != forest.None:
		m := n.Object(u.Member)
		out.Member = &m
		out.Text = fmt.Sprintf("remove %s from the members of %s", m.Label(), out.Object.Label())
		if u.Kind == reach.PrimaryMembership {
			out.Text = fmt.Sprintf("choose another primary group than %s for %s", out.Object.Label(), m.Label())
		}
		out.Lost = w.memberLost(u, m, out.Object)
	case u.Kind == reach.Owner:
		out.Text = "give " + out.Object.Label() + " an owner of Tier 0"
		out.Lost = "the owner's right to change the permissions"
		if d, st := w.s.Descriptor(u.Object); st == forest.Known {
			out.Lost += ", which " + w.trusteeName(d.Owner) + " has"
		}
	case u.Kind == reach.NullDACL:
		out.Text = "give " + out.Object.Label() + " a DACL"
		out.Lost = "everybody's full control"
	case u.Detail != "":
		out.Text += " (" + u.Detail + ")"
	}
	return out
}

// entryLost says what an entry gives to whom.
func (w *world) entryLost(u reach.Unit) string {
	d, st := w.s.Descriptor(u.Object)
	if st != forest.Known || d.DACL == nil || u.ACE >= len(d.DACL.ACEs) {
		return "what the entry gives"
	}
	e := d.DACL.ACEs[u.ACE]
	over := WayNames{w.s}.Object(u.Object).Label()
	switch {
	case u.Object == w.adminSDHolder(w.domainIndex(u.Object)):
		over = "all that AdminSDHolder protects"
	case e.IsInheritable():
		over += " and what inherits from it"
	}
	return w.trusteeName(e.SID) + " " + u.Kind.Info().Text + " " + over
}

// memberLost says what a membership gives.
func (w *world) memberLost(u reach.Unit, member, group Place) string {
	if w.kind(u.Member) != "group" {
		return member.Name + ": all that " + group.Name + " gives"
	}
	n := len(w.reach.Members(u.Member))
	if n == 1 {
		return member.Name + " with 1 account: all that " + group.Name + " gives"
	}
	return fmt.Sprintf("%s with %d accounts: all that %s gives", member.Name, n, group.Name)
}

// groupControl counts who can gain membership of g.
func (w *world) groupControl(g forest.ID) GroupControl {
	r := w.graph().WhoCan([]forest.ID{g})
	t := w.tierZero()
	member, foreign := map[forest.ID]bool{g: true}, map[secdesc.SID]bool{}
	for _, m := range sorted(w.reach.Members(g), w.reach.Nested(g)) {
		member[m] = true
		if w.kind(m) == "foreign" {
			foreign[w.s.SID(m)] = true
		}
	}
	out := GroupControl{Unread: len(r.Unread())}
	for _, id := range r.Certain() {
		if !member[id] {
			out.Certain++
			if !t.inside[id] {
				out.Outside++
			}
		}
	}
	for _, id := range r.Possible() {
		if !member[id] {
			out.Possible++
		}
	}
	sure, possible := r.Identities()
	for _, sid := range sure {
		if !foreign[sid] {
			out.Certain++
			if !t.foreign[sid] {
				out.Outside++
			}
		}
	}
	for _, sid := range possible {
		if !foreign[sid] {
			out.Possible++
		}
	}
	return out
}
