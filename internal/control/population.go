package control

import (
	"cmp"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
)

// population counts the members of every protected group (guide, app. C), the
// three most powerful first.
func (w *world) population() []Population {
	out := []Population{}
	rank := func(g forest.ID) int {
		for i, n := range []string{"enterprise-admins", "domain-admins", "administrators"} {
			if w.isPrincipal(g, n) {
				return i
			}
		}
		return 3
	}
	groups := slices.Clone(w.privilege().groups)
	slices.SortStableFunc(groups, func(a, b forest.ID) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(w.domainIndex(a), w.domainIndex(b)),
			strings.Compare(w.accountName(a), w.accountName(b)))
	})
	for _, g := range groups {
		out = append(out, w.populationOf(g))
	}
	return out
}

func (w *world) populationOf(g forest.ID) Population {
	members := w.reach.Members(g)
	p := Population{
		Group: w.accountName(g), DN: w.s.DN(g), SID: w.s.SID(g).String(), Domain: w.domainDNS(g),
		Direct: len(w.reach.DirectMembers(g)), Effective: len(members), Standing: len(w.reach.Standing(g)),
		Control: w.groupControl(g), Members: []Member{}, Unknown: w.memberGaps(g),
	}
	p.Temporary = p.Effective - p.Standing
	for _, m := range members {
		uac, st := w.s.Int(m, forest.UserAccountControl)
		p.Members = append(p.Members, Member{
			Name: w.accountName(m), DN: w.s.DN(m), SID: w.s.SID(m).String(), Kind: w.kind(m),
			Enabled: st == forest.Known && uac&2 == 0, Unsure: st != forest.Known, Temporary: w.temporary(m, g), Chain: w.chain(m, g),
		})
	}
	slices.SortStableFunc(p.Members, func(a, b Member) int {
		return cmp.Or(strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), strings.Compare(a.DN, b.DN))
	})
	return p
}

// matrix turns the cells of all controls into rows, host set by host set.
func (w *world) matrix(cells []cell) []MatrixRow {
	type place struct {
		set       *hostSet
		principal string
	}
	at := map[place]*MatrixRow{}
	rows := map[*hostSet][]*MatrixRow{}
	for _, c := range cells {
		p := place{c.set, c.principal}
		r := at[p]
		if r == nil {
			r = &MatrixRow{Hosts: c.set.subject, Role: c.set.role, Principal: c.principal, Cells: map[string]Outcome{}}
			at[p] = r
			rows[c.set] = append(rows[c.set], r)
		}
		r.Cells[c.right] = worse(r.Cells[c.right], c.outcome)
	}
	out := make([]MatrixRow, 0, len(at))
	for _, h := range w.hostSets() {
		for _, r := range rows[h] {
			out = append(out, *r)
		}
	}
	return out
}

// worse joins two outcomes for one cell; either may be empty.
func worse(a, b Outcome) Outcome {
	for _, o := range []Outcome{Fail, Unknown, Pass} {
		if a == o || b == o {
			return o
		}
	}
	return ""
}
