package control

import (
	"cmp"
	"fmt"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// membershipMethods are the questions about groups.
func membershipMethods() []method {
	return []method{
		onObject("members", none(), objList, "accounts that are effective members of the group", func(o object, _ []ref.Val) ref.Val {
			return o.ev.memberList(o.id, o.ev.w.reach.Members(o.id))
		}),
		onObject("direct", none(), objList, "direct members of the group, by primary group too", func(o object, _ []ref.Val) ref.Val {
			return o.ev.memberList(o.id, o.ev.w.reach.DirectMembers(o.id))
		}),
		onObject("hasDirect", one(cel.StringType), cel.BoolType, "whether the principal of that name is a direct member", func(o object, args []ref.Val) ref.Val {
			return o.ev.direct(o.ev.principalIn(o.id, str(args[0])), o.id)
		}),
		onObject("directIn", one(cel.StringType), cel.BoolType, "whether the object is a direct member of the principal of that name in its domain", func(o object, args []ref.Val) ref.Val {
			return o.ev.direct(o.id, o.ev.principalIn(o.id, str(args[0])))
		}),
		onObject("memberOf", one(cel.StringType), cel.BoolType, "whether the object is an effective member of the principal of that name of any domain", memberOf),
		onObject("inGroup", one(objectType), cel.BoolType, "whether the object is an effective member of a group, or is it", func(o object, args []ref.Val) ref.Val {
			g := args[0].(object)
			if g.id == forest.None {
				return o.ev.unknown("members", g.why)
			}
			return o.ev.effective(o.id, g.id)
		}),
		onObject("temporaryIn", one(objectType), cel.BoolType, "an effective member of the group by time-bound links only", func(o object, args []ref.Val) ref.Val {
			g := args[0].(object)
			if g.id == forest.None {
				return o.ev.unknown("members", g.why)
			}
			return types.Bool(o.ev.w.temporary(o.id, g.id))
		}),
		onObject("privileged", none(), cel.BoolType, "an effective member of a protected group (guide, app. C), or such a group", privileged),
		onObject("protected", none(), cel.BoolType, "protected by AdminSDHolder, by groups of any type", func(o object, _ []ref.Val) ref.Val {
			o.ev.sawAttr(o.id, forest.AdminCount)
			return protected(o)
		}),
		onObject("primaryGroupProtected", none(), cel.BoolType, "whether primaryGroupID is that of a protected group", primaryGroupProtected),
	}
}

// memberList turns members of group into a list; what the snapshot could not
// tell is an element that answers unknown.
func (ev *evaluation) memberList(group forest.ID, ids []forest.ID) ref.Val {
	out := make([]ref.Val, 0, len(ids))
	for _, id := range ids {
		out = append(out, object{base: base{ev}, id: id, group: group})
	}
	for _, why := range ev.w.memberGaps(group) {
		out = append(out, object{base: base{ev}, id: forest.None, group: group, why: why})
	}
	return types.NewRefValList(types.DefaultTypeAdapter, out)
}

// gaps says why the members of group may be more than are known.
func (w *world) gaps(group forest.ID) []string {
	var out []string
	for _, g := range w.reach.Gaps(group) {
		text := fmt.Sprintf("members of %s: %s", w.s.DN(g.Group), g.Why)
		if g.DN != "" {
			text = fmt.Sprintf("member %s of %s: %s", g.DN, w.s.DN(g.Group), g.Why)
		}
		out = append(out, text)
	}
	return out
}

// memberGaps says why a list of the members of group may be too short: besides
// what hides known members, an account that was not listed may have the group, or
// one nested in it, as its primary group.
func (w *world) memberGaps(group forest.ID) []string {
	out := w.gaps(group)
	seen := map[int]bool{}
	for _, g := range append([]forest.ID{group}, w.reach.Nested(group)...) {
		d := w.domainIndex(g)
		if d < 0 || seen[d] || len(w.listing().accounts[d]) == 0 {
			continue
		}
		const globalOrUniversal = 0xA // [MS-ADTS] 2.2.12
		if typ, st := w.s.Int(g, forest.GroupType); st == forest.Known && typ&globalOrUniversal == 0 {
			continue
		}
		seen[d] = true
		for _, why := range w.listing().accounts[d] {
			out = append(out, fmt.Sprintf("accounts whose primary group is %s: %s", w.s.DN(g), why))
		}
	}
	return out
}

// principalIn finds the principal called name in the domain that holds id.
func (ev *evaluation) principalIn(id forest.ID, name string) forest.ID {
	return ev.w.principalID(ev.w.domainIndex(id), name)
}

// direct answers whether member is a direct member of group.
func (ev *evaluation) direct(member, group forest.ID) ref.Val {
	if member == forest.None || group == forest.None {
		return ev.unknown("members", "a group or account that every domain has is not part of the snapshot")
	}
	ev.facts = append(ev.facts, fact{kind: directFact, id: member, other: group})
	if slices.Contains(ev.w.reach.DirectMembers(group), member) {
		return types.True
	}
	for _, g := range ev.w.reach.Gaps(group) {
		if g.Group == group {
			return ev.unknown("members", fmt.Sprintf("members of %s: %s", ev.w.s.DN(group), g.Why))
		}
	}
	return types.False
}

// effective answers whether member is an effective member of group, or is it.
func (ev *evaluation) effective(member, group forest.ID) ref.Val {
	if member == group {
		return types.True
	}
	ev.facts = append(ev.facts, fact{kind: memberFact, id: member, other: group})
	if ev.w.inGroup(member, group) {
		return types.True
	}
	if why := ev.w.gaps(group); len(why) > 0 {
		return ev.unknown("members", why[0])
	}
	return types.False
}

func (w *world) inGroup(member, group forest.ID) bool {
	_, ok := slices.BinarySearch(w.reach.GroupsOf(member), group)
	return ok
}

func memberOf(o object, args []ref.Val) ref.Val {
	name := str(args[0])
	if !isPrincipalName(name) {
		return types.NewErr("principal %q is not known", name)
	}
	var result ref.Val = types.False
	found := false
	for d := range o.ev.w.domains {
		g := o.ev.w.principalID(d, name)
		if forestWide[name] && d != o.ev.w.root {
			continue
		}
		if g == forest.None {
			if why := o.ev.w.principalGaps(name, d); len(why) > 0 {
				found, result = true, o.ev.unknown("members", why[0])
			}
			continue
		}
		found = true
		switch v := o.ev.effective(o.id, g); {
		case v == types.True:
			return v
		case types.IsUnknown(v):
			result = v
		}
	}
	if !found {
		// A forest that is older than the group has nobody in it.
		return types.False
	}
	return result
}

// temporary reports whether member is in group by time-bound links only.
func (w *world) temporary(member, group forest.ID) bool {
	_, standing := slices.BinarySearch(w.reach.Standing(group), member)
	return !standing && w.inGroup(member, group)
}

func privileged(o object, _ []ref.Val) ref.Val {
	p := o.ev.w.privilege()
	if slices.Contains(p.groups, o.id) {
		return types.True
	}
	for _, g := range p.members[o.id] {
		o.ev.facts = append(o.ev.facts, fact{kind: memberFact, id: o.id, other: g})
	}
	if len(p.members[o.id]) > 0 {
		return types.True
	}
	if why := o.ev.w.protectedGap(); why != "" {
		return o.ev.unknown("members", why)
	}
	return types.False
}

// findProtectedGap says why an object that is known in no protected group may be in
// one; "" if it cannot.
func (w *world) findProtectedGap() string {
	p := w.privilege()
	for _, unread := range p.unread {
		if len(unread) > 0 {
			return unread[0]
		}
	}
	for _, g := range p.groups {
		if why := w.gaps(g); len(why) > 0 {
			return why[0]
		}
	}
	return ""
}

// protected answers for the set that AdminSDHolder protects.
func protected(o object) ref.Val {
	p := o.ev.w.privilege()
	if p.maybe[o.id] != "" {
		return o.ev.unknown("attribute", p.maybe[o.id])
	}
	if p.inSet[o.id] {
		return types.True
	}
	if why, ok := p.listed[o.id]; ok && why == "" {
		return types.True
	} else if ok {
		return o.ev.unknown("attribute", why)
	}
	if why := cmp.Or(o.ev.w.protectedGap(), p.listGap); why != "" {
		return o.ev.unknown("members", why)
	}
	return types.False
}

func primaryGroupProtected(o object, _ []ref.Val) ref.Val {
	w := o.ev.w
	o.ev.sawAttr(o.id, forest.PrimaryGroupID)
	rid, st := w.s.Int(o.id, forest.PrimaryGroupID)
	if st == forest.Unreadable {
		return o.ev.unreadable(o.id, forest.PrimaryGroupID)
	}
	d := w.domainIndex(o.id)
	if st == forest.Absent || d < 0 {
		return types.False
	}
	sid := w.domains[d].SID.Child(uint32(rid))
	return types.Bool(slices.ContainsFunc(protectedNames, func(n string) bool { return w.sidIsPrincipal(sid, n) }))
}

// sidHistory lists the identifiers of sIDHistory as principals.
func sidHistory(o object, _ []ref.Val) ref.Val {
	ev := o.ev
	ev.sawAttr(o.id, forest.SIDHistory)
	vals, st := ev.w.s.Strs(o.id, forest.SIDHistory)
	if st == forest.Unreadable {
		return ev.unreadable(o.id, forest.SIDHistory)
	}
	var out []ref.Val
	for _, v := range vals {
		h := holder{base: base{ev}}
		sid, err := secdesc.SIDFromBytes([]byte(v))
		if err != nil {
			h.why = "a value of sIDHistory is no security identifier"
		}
		h.p = gpo.Principal{Raw: sid.String(), Kind: gpo.BySID, SID: sid, ID: forest.None}
		if !sid.IsZero() {
			h.p.ID = ev.w.s.BySID(sid)
		}
		out = append(out, h)
	}
	return types.NewRefValList(types.DefaultTypeAdapter, out)
}
