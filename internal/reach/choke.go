package reach

import (
	"cmp"
	"slices"

	"github.com/leastwise/leastwise/internal/forest"
)

// A Choke is a unit with the principals that it alone lets through.
type Choke struct {
	Unit
	Principals int         // accounts and groups that can gain no goal without it
	Sample     []forest.ID // the first ten of them, in ID order
}

// sampleSize bounds the sample of a choke point.
const sampleSize = 10

// Chokes is that of the answer to who can gain goals.
func (g *Graph) Chokes(goals []forest.ID, limit int) []Choke { return g.WhoCan(goals).Chokes(limit) }

// Chokes returns the units that by themselves cut most principals off from the
// goals, largest first, up to limit. A unit that only its own holder needs counts
// one. Each is a dominator of the graph of everything that leads to goals for
// certain. Steps that need several gains count by their last one, and of several
// entries of one object that give a principal the same only the first counts.
func (r *Reach) Chokes(limit int) []Choke {
	if limit < 1 {
		return nil
	}
	f := chokeFinder{w: newWeb(r.sureWays().whole())}
	f.tree = f.w.dominators()
	f.count()
	found := f.largest(limit)
	slices.SortFunc(found, func(a, b foundChoke) int {
		return cmp.Or(
			cmp.Compare(b.Principals, a.Principals), cmp.Compare(a.Object, b.Object), cmp.Compare(a.ACE, b.ACE),
			cmp.Compare(a.Member, b.Member), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Detail, b.Detail))
	})
	out := make([]Choke, min(limit, len(found)))
	for i := range out {
		out[i] = found[i].Choke
		out[i].Sample = f.sample(found[i].place)
	}
	return out
}

// A chokeFinder finds the choke points of a web.
type chokeFinder struct {
	w          *web
	tree       *domTree
	principals []uint32 // at or below each place
	entered    []uint32 // the places, by their enters; made when it is first needed
}

type foundChoke struct {
	Choke
	place uint32 // of the vertex below which everything needs it
}

func (f *chokeFinder) count() {
	f.principals = make([]uint32, len(f.tree.order))
	for p := len(f.tree.order) - 1; p > 0; p-- {
		if f.w.principal(f.tree.order[p]) != forest.None {
			f.principals[p]++
		}
		f.principals[f.tree.above[p]] += f.principals[p]
	}
}

// largest returns at least limit choke points, if there are so many: with one all
// that are as large.
func (f *chokeFinder) largest(limit int) []foundChoke {
	var out []foundChoke
	last := uint32(0)
	for _, p := range f.bySize() {
		n := f.principals[p]
		if n == 0 || n < last && len(out) >= limit {
			break
		}
		last = n
		if u, ok := f.choke(p); ok {
			out = append(out, foundChoke{Choke{Unit: u, Principals: int(n)}, p})
		}
	}
	return out
}

// bySize returns the places by how many principals are at or below them, largest
// first.
func (f *chokeFinder) bySize() []uint32 {
	n := len(f.tree.order)
	begin := make([]uint32, n+2)
	for _, c := range f.principals {
		begin[uint32(n)-c+1]++
	}
	for i := 1; i < len(begin); i++ {
		begin[i] += begin[i-1]
	}
	out := make([]uint32, n)
	for p, c := range f.principals {
		out[begin[uint32(n)-c]] = uint32(p)
		begin[uint32(n)-c]++
	}
	return out
}

// choke returns the unit that is at a place, or by whose edge alone everything gets
// there.
func (f *chokeFinder) choke(p uint32) (u Unit, ok bool) {
	v := f.tree.order[p]
	if f.w.isUnit(v) {
		return f.w.unitOf(v), true
	}
	if v <= f.w.goals || v > f.w.nodes {
		return Unit{}, false
	}
	only := nowhere
	for _, e := range f.tree.in.of(v) {
		from := f.tree.place[e>>markBits]
		switch {
		case e == only || from == nowhere || f.tree.dominates(p, from):
		case only != nowhere:
			return Unit{}, false
		default:
			only = e
		}
	}
	m := mark(only & marks)
	if only == nowhere || m == plain {
		return Unit{}, false
	}
	return f.w.unitOfEdge(only>>markBits, v, m), true
}

// sample returns the first principals, in ID order, at or below a place.
func (f *chokeFinder) sample(top uint32) []forest.ID {
	if f.entered == nil {
		f.entered = make([]uint32, len(f.tree.order))
		for p, at := range f.tree.enters {
			f.entered[at] = uint32(p)
		}
	}
	var out []forest.ID
	begin := f.tree.enters[top]
	for _, p := range f.entered[begin : begin+f.tree.size[top]] {
		v := f.tree.order[p]
		if len(out) == sampleSize && (v > f.w.nodes || forest.ID(f.w.node[v]) > out[sampleSize-1]) {
			continue
		}
		id := f.w.principal(v)
		if id == forest.None {
			continue
		}
		i, _ := slices.BinarySearch(out, id)
		if out = slices.Insert(out, i, id); len(out) > sampleSize {
			out = out[:sampleSize]
		}
	}
	return out
}
