package report

import (
	"fmt"
	"io"
	"slices"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Power is who can gain something, or how one principal can, in a form for reading
// and for JSON. Make one with NewPower or NewPaths.
type Power struct {
	Version  int          `json:"version"` // 1; grows when a field changes its meaning or goes away
	From     *PowerPlace  `json:"from,omitempty"`
	Target   string       `json:"target"` // as asked for: a zone or an object
	Goals    []PowerPlace `json:"goals"`
	Certain  []PowerWay   `json:"certain"`
	Possible []PowerWay   `json:"possible"` // ways that depend on what the snapshot does not tell
	Unread   []PowerPlace `json:"unread"`   // objects on the way whose permissions or links were not read: more may reach the goals
	Paths    bool         `json:"-"`        // Text writes every step
}

// A PowerPlace is an object, or an identity or part of an object.
type PowerPlace struct {
	Name  string `json:"name"`
	DN    string `json:"dn,omitempty"`
	SID   string `json:"sid,omitempty"`
	Class string `json:"class,omitempty"`
}

// A PowerWay is how one principal comes to a goal.
type PowerWay struct {
	Principal PowerPlace  `json:"principal"`
	Steps     []PowerStep `json:"steps"` // empty for a goal itself
}

// A PowerStep is one step of a way.
type PowerStep struct {
	From     PowerPlace      `json:"from"`
	Kind     string          `json:"kind"` // see docs/paths.md
	Text     string          `json:"text"` // what From can do to To
	To       PowerPlace      `json:"to"`
	Needs    string          `json:"needs,omitempty"`  // what is needed to use it
	Yields   string          `json:"yields,omitempty"` // what it gives
	If       string          `json:"if,omitempty"`     // what must hold besides and is not known
	Evidence []PowerEvidence `json:"evidence"`
	Remove   string          `json:"remove,omitempty"` // how to take it away
	First    [][]PowerStep   `json:"first,omitempty"`  // what must be gained first
}

// A PowerEvidence is an entry or attribute that makes a step.
type PowerEvidence struct {
	Object        string `json:"object,omitempty"`
	Entry         *int   `json:"entry,omitempty"` // index in the DACL, from 0
	SDDL          string `json:"sddl,omitempty"`
	InheritedFrom string `json:"inherited_from,omitempty"`
	Detail        string `json:"detail,omitempty"`
}

// NewPower puts into words who can gain the goals of r.
func NewPower(s *forest.Snapshot, target string, r *reach.Reach) *Power {
	out := newPower(s, target, r.Goals(), r.Unread())
	isGoal := func(id forest.ID) bool { return slices.Contains(r.Goals(), id) }
	n := powerNames{s}
	for _, id := range r.Certain() {
		if !isGoal(id) {
			out.Certain = append(out.Certain, n.way(id, r.Path(id)))
		}
	}
	for _, id := range r.Possible() {
		out.Possible = append(out.Possible, n.way(id, r.Path(id)))
	}
	sure, possible := r.Identities()
	for _, sid := range sure {
		out.Certain = append(out.Certain, n.identity(sid, r.PathOf(sid)))
	}
	for _, sid := range possible {
		out.Possible = append(out.Possible, n.identity(sid, r.PathOf(sid)))
	}
	return out
}

// NewPaths puts into words how from can gain one of goals.
func NewPaths(s *forest.Snapshot, target string, from forest.ID, goals []forest.ID, paths []reach.Path, unread []forest.ID) *Power {
	out := newPower(s, target, goals, unread)
	n := powerNames{s}
	place := n.object(from)
	out.From, out.Paths = &place, true
	for _, p := range paths {
		if p.Certain() {
			out.Certain = append(out.Certain, n.way(from, p))
		} else {
			out.Possible = append(out.Possible, n.way(from, p))
		}
	}
	return out
}

func newPower(s *forest.Snapshot, target string, goals, unread []forest.ID) *Power {
	out := &Power{Version: 1, Target: target, Goals: []PowerPlace{}, Certain: []PowerWay{}, Possible: []PowerWay{}, Unread: []PowerPlace{}}
	n := powerNames{s}
	for _, id := range goals {
		out.Goals = append(out.Goals, n.object(id))
	}
	for _, id := range unread {
		out.Unread = append(out.Unread, n.object(id))
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

// powerNames finds the words for objects of a snapshot.
type powerNames struct{ s *forest.Snapshot }

func (n powerNames) object(id forest.ID) PowerPlace {
	out := PowerPlace{Name: rightsNames{n.s}.account(id), DN: n.s.DN(id), Class: n.s.Class(id)}
	if sid := n.s.SID(id); !sid.IsZero() {
		out.SID = sid.String()
	}
	return out
}

func (n powerNames) place(p reach.Place) PowerPlace {
	if p.ID != forest.None && p.Name == n.s.DN(p.ID) {
		return n.object(p.ID)
	}
	out := PowerPlace{Name: p.Name}
	if !p.SID.IsZero() {
		out.SID = p.SID.String()
	}
	return out
}

func (n powerNames) way(id forest.ID, p reach.Path) PowerWay {
	return PowerWay{Principal: n.object(id), Steps: n.steps(p)}
}

func (n powerNames) identity(sid secdesc.SID, p reach.Path) PowerWay {
	out := PowerWay{Principal: PowerPlace{Name: sid.String(), SID: sid.String(), Class: "identity"}, Steps: n.steps(p)}
	if name, ok := secdesc.WellKnownName(sid); ok {
		out.Principal.Name = name
	}
	return out
}

func (n powerNames) steps(p reach.Path) []PowerStep {
	out := []PowerStep{}
	for _, h := range p {
		info := h.Kind.Info()
		st := PowerStep{
			From: n.place(h.From), Kind: h.Kind.String(), Text: info.Text, To: n.place(h.To),
			Needs: info.Needs, Yields: info.Yields, If: h.If, Remove: info.Remove, Evidence: []PowerEvidence{},
		}
		for _, e := range h.Evidence {
			st.Evidence = append(st.Evidence, n.evidence(e))
		}
		for _, f := range h.First {
			st.First = append(st.First, n.steps(f))
		}
		out = append(out, st)
	}
	return out
}

func (n powerNames) evidence(e reach.Evidence) PowerEvidence {
	out := PowerEvidence{SDDL: e.SDDL, Detail: e.Detail}
	if e.Over != forest.None {
		out.Object = n.s.DN(e.Over)
	}
	if e.ACE >= 0 {
		out.Entry = &e.ACE
	}
	if e.Origin != forest.None {
		out.InheritedFrom = n.s.DN(e.Origin)
	}
	return out
}
