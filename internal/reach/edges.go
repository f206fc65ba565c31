package reach

import (
	"github.com/leastwise/leastwise/internal/forest"
)

// Edges returns every step on a way to one of goals that the search comes across,
// in the order in which it does: nearest to the goals first. Steps that depend on
// conditions are among them, and those between an object and a part of it (kind
// Includes), which paths leave out. It is the picture of who can gain goals.
func (g *Graph) Edges(goals []forest.ID) []Hop {
	q := g.search(goals, true, true)
	var out []Hop
	for _, v := range q.queue {
		for _, st := range q.every[v] {
			if st.kind != goalKind && st.next != noNode {
				out = append(out, q.hop(v, st))
			}
		}
	}
	return out
}
