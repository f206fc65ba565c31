package report

import (
	"fmt"
	"io"
	"slices"

	"github.com/leastwise/leastwise/internal/control"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Power is who can gain something, or how one principal can, in a form for reading
// and for JSON. Make one with NewPower or NewPaths.
type Power struct {
	Version  int             `json:"version"` // 1; grows when a field changes its meaning or goes away
	From     *control.Place  `json:"from,omitempty"`
	Target   string          `json:"target"` // as asked for: a zone or an object
	Goals    []control.Place `json:"goals"`
	Certain  []control.Way   `json:"certain"`
	Possible []control.Way   `json:"possible"` // ways that depend on what the snapshot does not tell
	Unread   []control.Place `json:"unread"`   // objects on the way whose permissions or links were not read: more may reach the goals
	Missing  []string        `json:"missing"`  // what else the snapshot lacks that may hold further ways
	Paths    bool            `json:"-"`        // Text writes every step
}

// NewPower puts into words who can gain the goals of r.
func NewPower(s *forest.Snapshot, target string, r *reach.Reach) *Power {
	out := newPower(s, target, r.Goals(), r.Unread())
	n := control.WayNames{Snapshot: s}
	for _, id := range r.Certain() {
		if _, isGoal := slices.BinarySearch(r.Goals(), id); !isGoal {
			out.Certain = append(out.Certain, control.Way{Principal: n.Object(id), Steps: n.Steps(r.Path(id))})
		}
	}
	for _, id := range r.Possible() {
		out.Possible = append(out.Possible, control.Way{Principal: n.Object(id), Steps: n.Steps(r.Path(id))})
	}
	sure, possible := r.Identities()
	for _, sid := range sure {
		out.Certain = append(out.Certain, control.Way{Principal: n.Identity(sid), Steps: n.Steps(r.PathOf(sid))})
	}
	for _, sid := range possible {
		out.Possible = append(out.Possible, control.Way{Principal: n.Identity(sid), Steps: n.Steps(r.PathOf(sid))})
	}
	return out
}

// NewPaths puts into words how from can gain one of goals.
func NewPaths(s *forest.Snapshot, target string, from forest.ID, goals []forest.ID, paths []reach.Path, unread []forest.ID) *Power {
	return newPaths(s, target, control.WayNames{Snapshot: s}.Object(from), goals, paths, unread)
}

// NewPathsOf puts into words how an identity without an object can gain one of goals.
func NewPathsOf(s *forest.Snapshot, target string, from secdesc.SID, goals []forest.ID, paths []reach.Path, unread []forest.ID) *Power {
	return newPaths(s, target, control.WayNames{Snapshot: s}.Identity(from), goals, paths, unread)
}

func newPaths(s *forest.Snapshot, target string, place control.Place, goals []forest.ID, paths []reach.Path, unread []forest.ID) *Power {
	out := newPower(s, target, goals, unread)
	n := control.WayNames{Snapshot: s}
	out.From, out.Paths = &place, true
	for _, p := range paths {
		if p.Certain() {
			out.Certain = append(out.Certain, control.Way{Principal: place, Steps: n.Steps(p)})
		} else {
			out.Possible = append(out.Possible, control.Way{Principal: place, Steps: n.Steps(p)})
		}
	}
	return out
}

func newPower(s *forest.Snapshot, target string, goals, unread []forest.ID) *Power {
	out := &Power{Version: 1, Target: target, Goals: []control.Place{}, Certain: []control.Way{}, Possible: []control.Way{}, Unread: []control.Place{}, Missing: Missing(s)}
	n := control.WayNames{Snapshot: s}
	for _, id := range goals {
		out.Goals = append(out.Goals, n.Object(id))
	}
	for _, id := range unread {
		out.Unread = append(out.Unread, n.Object(id))
	}
	return out
}

// JSON writes the answer as indented JSON.
func (p *Power) JSON(w io.Writer) error {
	if err := writeJSON(w, p); err != nil {
		return fmt.Errorf("writing the paths as JSON: %w", err)
	}
	return nil
}
