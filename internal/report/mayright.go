package report

import (
	"fmt"
	"io"
	"strconv"

	"github.com/leastwise/leastwise/internal/control"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Holders is who has a right on an object, by its descriptor alone, in a form for
// reading and for JSON. Make one with NewHolders.
type Holders struct {
	Version   int           `json:"version"` // 1; grows when a field changes its meaning or goes away
	Object    control.Place `json:"object"`
	Right     HeldRight     `json:"right"`
	Bar       string        `json:"bar,omitempty"` // why nobody can do it, whatever entries say
	Certain   []Holder      `json:"certain"`
	Undecided []Holder      `json:"undecided"` // it depends on a condition, or was not read
	Missing   []string      `json:"missing"`   // what the snapshot lacks that may hold further ones
}

// HeldRight is a right.
type HeldRight struct {
	Verb string `json:"verb"`           // write, use, create, … as --right takes it
	Name string `json:"name,omitempty"` // attribute, class or right, as the schema has it
	GUID string `json:"guid,omitempty"`
}

// String is the right as --right takes it.
func (r HeldRight) String() string {
	switch {
	case r.Name != "":
		return r.Verb + ":" + r.Name
	case r.GUID != "":
		return r.Verb + ":" + r.GUID
	}
	return r.Verb
}

// A Holder is an account that has the right, and by what.
type Holder struct {
	Principal control.Place        `json:"principal"`
	By        string               `json:"by"`              // entry, owner, null DACL, condition, not read
	Trustee   *control.Place       `json:"trustee"`         // whom the entry names: the account or a group that it is in
	Entry     control.StepEvidence `json:"entry,omitzero"`  // the deciding entry
	Reason    string               `json:"reason,omitzero"` // in words
}

// reasons are what decides, in words.
var reasons = map[secdesc.Reason][2]string{
	secdesc.EntryDecides:     {"entry", "an entry grants it"},
	secdesc.OwnerDecides:     {"owner", "it owns the object"},
	secdesc.NullDACLDecides:  {"null DACL", "the object has no DACL: everyone has full control"},
	secdesc.ConditionDecides: {"condition", "an entry grants it if its condition holds"},
	secdesc.DACLNotRead:      {"not read", "the permissions of the object were not read"},
}

// NewHolders finds who has the right act on an object.
func NewHolders(s *forest.Snapshot, x *reach.Index, object forest.ID, act reach.Action) *Holders {
	n := control.WayNames{Snapshot: s}
	e := reach.NewEffective(x)
	out := &Holders{
		Version: 1, Object: n.Object(object), Certain: []Holder{}, Undecided: []Holder{}, Missing: Missing(s),
		Right: HeldRight{Verb: act.Verb.String(), Name: s.Schema().NameOf(act.Type)},
	}
	if !act.Type.IsZero() {
		out.Right.GUID = act.Type.String()
	}
	origins := map[int]string{}
	e.WhoMay(object, act, func(account forest.ID, ans reach.Answer) bool {
		h := Holder{Principal: n.Object(account), By: reasons[ans.Reason][0], Reason: reasons[ans.Reason][1]}
		if ans.ACE != nil {
			h.Trustee, h.Entry = trusteePlace(s, n, ans.ACE.SID), entryOf(s, object, ans.Decision, origins)
		}
		if ans.Outcome == secdesc.Granted {
			out.Certain = append(out.Certain, h)
		} else {
			out.Undecided = append(out.Undecided, h)
		}
		return true
	})
	if len(out.Certain)+len(out.Undecided) == 0 && len(s.Domains()) > 0 {
		for _, head := range s.Domains()[:1] {
			if head.Head != forest.None {
				out.Bar = e.Account(head.Head).May(object, act).Bar
			}
		}
	}
	return out
}

func trusteePlace(s *forest.Snapshot, n control.WayNames, sid secdesc.SID) *control.Place {
	p := n.Identity(sid)
	if id := s.BySID(sid); id != forest.None {
		p = n.Object(id)
	}
	return &p
}

// entryOf describes the deciding entry; origins remembers where entries came from.
func entryOf(s *forest.Snapshot, object forest.ID, d secdesc.Decision, origins map[int]string) control.StepEvidence {
	index := d.Index
	out := control.StepEvidence{Object: s.DN(object), Entry: &index, SDDL: d.ACE.SDDL(secdesc.SID{})}
	from, known := origins[index]
	if !known {
		if d.ACE.Flags.Has(secdesc.Inherited) {
			if o, ok := reach.OriginOf(s, object, index); ok {
				from = s.DN(o)
			}
		}
		origins[index] = from
	}
	out.InheritedFrom = from
	return out
}

// JSON writes the answer as indented JSON.
func (h *Holders) JSON(w io.Writer) error {
	if err := writeJSON(w, h); err != nil {
		return fmt.Errorf("writing who has a right as JSON: %w", err)
	}
	return nil
}

// Text writes the answer for reading in a terminal.
func (h *Holders) Text(w io.Writer, s Screen) error {
	p := &page{screen: s}
	p.line("%s", p.strong("Who has the right "+h.Right.String()+" on "+visible(h.Object.Label())))
	p.line("%s for certain, %s undecided", plural(len(h.Certain), "account", "accounts"), strconv.Itoa(len(h.Undecided)))
	for _, part := range []struct {
		title string
		list  []Holder
	}{{"For certain", h.Certain}, {"Undecided", h.Undecided}} {
		if len(part.list) == 0 {
			continue
		}
		p.heading(part.title)
		var rows [][]cellInk
		for _, x := range part.list {
			trustee, entry, from := "", "", ""
			if x.Trustee != nil {
				trustee, entry, from = visible(x.Trustee.Name), fmt.Sprintf("%d: %s", *x.Entry.Entry, visible(x.Entry.SDDL)), visible(x.Entry.InheritedFrom)
			}
			rows = append(rows, []cellInk{{visible(x.Principal.Name), ""}, {x.By, ""}, {trustee, ""}, {entry, ""}, {from, gray}})
		}
		p.grid([]string{"Account", "By", "Trustee", "Entry", "Inherited from"}, rows)
	}
	switch {
	case h.Bar != "":
		p.heading(p.ink(green, "Nobody: "+visible(h.Bar)))
	case len(h.Certain)+len(h.Undecided) == 0 && len(h.Missing) == 0:
		p.heading(p.ink(green, "No account has it."))
	case len(h.Certain)+len(h.Undecided) == 0:
		p.heading(p.ink(yellow, "No account has it by what was read."))
	}
	p.line("")
	p.line("This is what the descriptor grants to accounts; identities without one, such as SYSTEM, are not listed.")
	p.line("Who can come by it in more steps: who-can without --right.")
	p.missing(h.Missing)
	return p.flush(w, "who has a right")
}
