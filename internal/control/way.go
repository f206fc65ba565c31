package control

import (
	"fmt"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A Place is an object, or an identity or part of an object.
type Place struct {
	Name  string `json:"name"`
	DN    string `json:"dn,omitempty"`
	SID   string `json:"sid,omitempty"`
	Class string `json:"class,omitempty"`

	Disabled bool `json:"disabled,omitempty"` // an account that cannot log on as it is
}

// Label names a place: by its distinguished name if it has one.
func (p Place) Label() string {
	if p.DN != "" {
		return p.DN
	}
	return p.Name
}

// A Way is how one principal comes to a goal.
type Way struct {
	Principal Place     `json:"principal"`
	Steps     []WayStep `json:"steps"` // empty for a goal itself
}

// A WayStep is one step of a way.
type WayStep struct {
	From     Place          `json:"from"`
	Kind     string         `json:"kind"` // see docs/paths.md
	Text     string         `json:"text"` // what From can do to To
	To       Place          `json:"to"`
	Needs    string         `json:"needs,omitempty"`  // what is needed to use it
	Yields   string         `json:"yields,omitempty"` // what it gives
	If       string         `json:"if,omitempty"`     // what must hold besides and is not known
	Evidence []StepEvidence `json:"evidence"`
	Remove   string         `json:"remove,omitempty"` // how to take it away, where it is set
	First    [][]WayStep    `json:"first,omitempty"`  // what must be gained first
}

// A StepEvidence is an entry or attribute that makes a step.
type StepEvidence struct {
	Object        string `json:"object,omitempty"`
	Entry         *int   `json:"entry,omitempty"` // index in the DACL, from 0
	SDDL          string `json:"sddl,omitempty"`
	InheritedFrom string `json:"inherited_from,omitempty"`
	Detail        string `json:"detail,omitempty"`
}

// WayNames puts paths through a snapshot into words.
type WayNames struct{ Snapshot *forest.Snapshot }

// Account is the name of an object as Windows shows it: domain\name.
func (n WayNames) Account(id forest.ID) string {
	s := n.Snapshot
	name, st := s.Str(id, forest.SAMAccountName)
	if st != forest.Known {
		name = s.Name(id)
	}
	sid := s.SID(id)
	if known, ok := secdesc.WellKnownName(sid); ok && !strings.HasPrefix(sid.String(), "S-1-5-21-") {
		return known
	}
	if s.Class(id) == "foreignSecurityPrincipal" { // named by a SID of another domain
		return name
	}
	if d, ok := s.DomainOf(id); ok && d.NetBIOS != "" {
		return d.NetBIOS + `\` + name
	}
	return name
}

// Object is the place of an object.
func (n WayNames) Object(id forest.ID) Place {
	out := Place{Name: n.Account(id), DN: n.Snapshot.DN(id), Class: n.Snapshot.Class(id)}
	if sid := n.Snapshot.SID(id); !sid.IsZero() {
		out.SID = sid.String()
	}
	if uac, st := n.Snapshot.Int(id, forest.UserAccountControl); st == forest.Known && uac&accountFlags["ACCOUNTDISABLE"] != 0 {
		out.Disabled = true
	}
	return out
}

// Identity is the place of a principal without an object.
func (n WayNames) Identity(sid secdesc.SID) Place {
	out := Place{Name: sid.String(), SID: sid.String(), Class: "identity"}
	if name, ok := secdesc.WellKnownName(sid); ok {
		out.Name = name
	}
	return out
}

func (n WayNames) place(p reach.Place) Place {
	if p.ID != forest.None && p.Name == n.Snapshot.DN(p.ID) {
		return n.Object(p.ID)
	}
	out := Place{Name: p.Name}
	if !p.SID.IsZero() {
		out.SID = p.SID.String()
	}
	return out
}

// Steps are those of a path.
func (n WayNames) Steps(p reach.Path) []WayStep {
	out := []WayStep{}
	for _, h := range p {
		info := h.Kind.Info()
		st := WayStep{
			From: n.place(h.From), Kind: h.Kind.String(), Text: info.Text, To: n.place(h.To),
			Needs: info.Needs, Yields: info.Yields, If: h.If, Remove: n.takeAway(h), Evidence: []StepEvidence{},
		}
		for _, e := range h.Evidence {
			st.Evidence = append(st.Evidence, n.evidence(e))
		}
		for _, f := range h.First {
			st.First = append(st.First, n.Steps(f))
		}
		out = append(out, st)
	}
	return out
}

func (n WayNames) evidence(e reach.Evidence) StepEvidence {
	out := StepEvidence{SDDL: e.SDDL, Detail: e.Detail}
	if e.Over != forest.None {
		out.Object = n.Snapshot.DN(e.Over)
	}
	if e.ACE >= 0 {
		out.Entry = &e.ACE
	}
	if e.Origin != forest.None {
		out.InheritedFrom = n.Snapshot.DN(e.Origin)
	}
	return out
}

// takeAway says what removes a step, where it is set: an entry that is inherited goes
// away at its origin, one that AdminSDHolder stamps goes away there. A step that takes
// several entries is gone without one of them.
func (n WayNames) takeAway(h reach.Hop) string {
	var entries []string
	for _, e := range h.Evidence {
		if e.ACE < 0 {
			continue
		}
		over := e.Over
		if over == forest.None {
			over = h.To.ID
		}
		if over == forest.None {
			return h.Kind.Info().Remove
		}
		if text := n.removal(over, e); !slices.Contains(entries, text) {
			entries = append(entries, text)
		}
	}
	if len(entries) > 0 {
		return strings.Join(entries, ", or ")
	}
	from, to := n.place(h.From).Label(), n.place(h.To).Label()
	switch h.Kind {
	case reach.Membership:
		return "remove " + from + " from the members of " + to
	case reach.PrimaryMembership:
		return "choose another primary group than " + to + " for " + from
	case reach.Owner:
		return "give " + to + " an owner of Tier 0"
	case reach.ReadLAPS:
		return "" // by replication: what can be removed is the step before
	}
	return h.Kind.Info().Remove
}

// removal says how the entry that is evidence goes away.
func (n WayNames) removal(over forest.ID, e reach.Evidence) string {
	switch holder := n.stampOf(over, e.ACE); {
	case e.Origin != forest.None:
		return "remove the entry from " + n.Snapshot.DN(e.Origin) + ", from which it is inherited"
	case holder != forest.None:
		return "remove the entry from " + n.Snapshot.DN(holder) + ", from which it is copied"
	}
	return fmt.Sprintf("remove entry %d from the DACL of %s", e.ACE, n.Snapshot.DN(over))
}

// stampOf returns the AdminSDHolder that has an entry of a protected object, too, and
// copies it there within the hour; None if there is none ([MS-ADTS] 3.1.1.6.1).
func (n WayNames) stampOf(id forest.ID, index int) forest.ID {
	s := n.Snapshot
	if id == forest.None {
		return forest.None
	}
	if count, st := s.Int(id, forest.AdminCount); st != forest.Known || count == 0 {
		return forest.None
	}
	domain, ok := s.DomainOf(id)
	if !ok {
		return forest.None
	}
	holder := s.Lookup("CN=AdminSDHolder,CN=System," + domain.DN)
	if holder == forest.None || holder == id {
		return forest.None
	}
	own, st := s.Descriptor(id)
	template, known := s.Descriptor(holder)
	if st != forest.Known || known != forest.Known || own.DACL == nil || template.DACL == nil || index >= len(own.DACL.ACEs) {
		return forest.None
	}
	if slices.ContainsFunc(template.DACL.ACEs, own.DACL.ACEs[index].Equal) {
		return holder
	}
	return forest.None
}
