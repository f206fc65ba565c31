package control

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
)

// powerMethods are the questions about effective control.
func powerMethods() []method {
	onForest := func(name string, out *cel.Type, doc string, f func(ev *evaluation) ref.Val) method {
		return method{forestType, name, none(), out, doc, func(args []ref.Val) ref.Val { return f(args[0].(forestVal).ev) }}
	}
	return []method{
		onObject("gainsTierZero", none(), cel.BoolType, "whether the account or group, in no protected group, can gain Tier 0; unknown if that depends on a condition, or on what was not read", func(o object, _ []ref.Val) ref.Val {
			return o.ev.gainsTierZero(o.id)
		}),
		onObject("managesMembers", none(), cel.BoolType, "a management account of appendix I, a group that may enable one, or an effective member of such a group", managesMembers),
		onForest("identitiesGainingTierZero", holdList, "well-known, foreign and lost identities that surely can gain Tier 0 and stand in no protected group", (*evaluation).identitiesGaining),
		onForest("tierZeroRead", cel.BoolType, "true if nobody can be missing from identitiesGainingTierZero, else unknown", (*evaluation).tierZeroRead),
	}
}

// gainsTierZero answers for one principal. A way that holds only under a condition
// makes the answer unknown, with the condition and the way: possible is not certain,
// and what may be so is no pass.
func (ev *evaluation) gainsTierZero(id forest.ID) ref.Val {
	t, n := ev.w.tierZero(), WayNames{ev.w.s}
	switch {
	case t.inside[id]:
		return types.False
	case t.reach.Has(id) && t.members != "":
		return ev.unknown("power", t.members)
	case t.reach.Has(id):
		ev.sawWay(n.Steps(t.reach.Path(id)))
		return types.True
	case t.reach.MayHave(id):
		way := n.Steps(t.reach.Path(id))
		ev.sawWay(way)
		return ev.unknown("condition", conditionText(way))
	}
	return ev.noGain()
}

// noGain is false, unless something was not read.
func (ev *evaluation) noGain() ref.Val {
	if gaps := ev.w.tierZero().gaps; len(gaps) > 0 {
		return ev.unknown("power", gaps[0])
	}
	return types.False
}

func (ev *evaluation) tierZeroRead() ref.Val {
	if v := ev.noGain(); v != types.False {
		return v
	}
	t := ev.w.tierZero()
	if _, possible := t.identities(); len(possible) > 0 {
		n := WayNames{ev.w.s}
		way := n.Steps(t.reach.PathOf(possible[0]))
		ev.sawWay(way)
		return ev.unknown("condition", "for "+n.Identity(possible[0]).Name+": "+conditionText(way))
	}
	return types.True
}

func (ev *evaluation) identitiesGaining() ref.Val {
	t, n := ev.w.tierZero(), WayNames{ev.w.s}
	sure, _ := t.identities()
	if len(sure) > 0 && t.members != "" {
		return ev.unknown("power", t.members)
	}
	var out []ref.Val
	for _, sid := range sure {
		ev.sawWay(n.Steps(t.reach.PathOf(sid)))
		out = append(out, holder{base: base{ev}, p: gpo.Principal{Raw: sid.String(), Kind: gpo.BySID, SID: sid, ID: forest.None}})
	}
	return types.NewRefValList(types.DefaultTypeAdapter, out)
}

// conditionText says on what a way depends.
func conditionText(way []WayStep) string {
	return "whether " + strings.Join(wayConditions(way), " and ")
}

// wayConditions lists what must hold for steps, each once.
func wayConditions(steps []WayStep) []string {
	var out []string
	add := func(text string) {
		if text != "" && !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	for _, st := range steps {
		add(st.If)
		for _, f := range st.First {
			for _, text := range wayConditions(f) {
				add(text)
			}
		}
	}
	return out
}

// sawWay records the steps of a way as evidence, each with the entries and
// attributes that make it and with what takes it away.
func (ev *evaluation) sawWay(steps []WayStep) { ev.sawSteps(steps, "step ") }

func (ev *evaluation) sawSteps(steps []WayStep, prefix string) {
	for i, st := range steps {
		number := fmt.Sprintf("%s%d", prefix, i+1)
		for k, f := range st.First {
			ev.sawSteps(f, fmt.Sprintf("%s first (%d), step ", number, k+1))
		}
		e := Evidence{Kind: "path", DN: st.To.DN, Text: number + ": " + st.From.Name + " " + st.Text + " " + st.To.Name, Remove: st.Remove}
		if st.If != "" {
			e.Text += ", if " + st.If
		}
		var more []Evidence
		for _, x := range st.Evidence {
			switch {
			case x.Entry != nil && e.ACE == nil:
				e.ACE = &ACERef{SDDL: x.SDDL, Index: *x.Entry, List: "dacl", Inherited: x.InheritedFrom, Trustee: st.From.Name}
				if x.Object != "" {
					e.DN = x.Object
				}
			case x.Entry != nil:
				ace := &ACERef{SDDL: x.SDDL, Index: *x.Entry, List: "dacl", Inherited: x.InheritedFrom, Trustee: st.From.Name}
				more = append(more, Evidence{Kind: "path", DN: x.Object, Text: number + " rests on this entry, too", ACE: ace})
			case x.Detail != "":
				e.Text += " (" + x.Detail + ")"
			}
		}
		ev.saw(e)
		for _, m := range more {
			ev.saw(m)
		}
	}
}

// managesMembers answers for those who gain Tier 0 by design: the guide's own way
// to hand out membership for a time. Appendix I has controls of their own for them.
func managesMembers(o object, _ []ref.Val) ref.Val {
	m := o.ev.w.management()
	if slices.Contains(m.accounts, o.id) || slices.Contains(m.groups, o.id) {
		return types.True
	}
	for _, g := range m.groups {
		if o.ev.w.inGroup(o.id, g) {
			return types.True
		}
	}
	for _, unread := range [][][]string{m.unread, m.unreadGroups} {
		for _, why := range unread {
			if len(why) > 0 {
				return o.ev.unknown("power", why[0])
			}
		}
	}
	for _, g := range m.groups {
		if why := o.ev.w.gaps(g); len(why) > 0 {
			return o.ev.unknown("power", why[0])
		}
	}
	return types.False
}
