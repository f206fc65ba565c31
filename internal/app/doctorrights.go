package app

import (
	"context"
	"fmt"

	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/delegation"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// shownRights are how many rights that are too much are shown one by one.
const shownRights = 20

// rights compares what the account may do with what a server with these duties does,
// first where it works and then on every object of the scan.
func (d *doctor) rights(ctx context.Context, r *dc.Reader, s *forest.Snapshot, duties Duties) {
	id, err := compareIdentity(ctx, r, duties)
	if err != nil {
		d.add("rights", "comparison", err, "")
		return
	}
	if err := id.Refusal(); err != nil {
		c := Check{Area: "rights", Name: id.Account, State: CheckFail, Detail: err.Error(), Hint: "take the account out of these groups; a server does not start as it, unless --allow-privileged-identity says so"}
		d.put(c)
	}
	for _, m := range id.Missing {
		d.put(Check{Area: "rights", Name: m.Object, State: CheckFail, Detail: m.String(), Hint: "leastwise bootstrap plans what is missing"})
	}
	for _, text := range id.Unread {
		d.warn("rights", id.Account, "could not be found out: "+text, "")
	}
	surplus := id.Surplus
	known := map[string]bool{}
	for _, x := range surplus {
		known[x.String()] = true
	}
	for _, x := range elsewhere(s, id, duties) {
		if !known[x.String()] {
			surplus = append(surplus, x)
		}
	}
	if len(surplus) > 0 {
		c := Check{Area: "rights", Name: id.Account, State: CheckWarn, Total: len(surplus), Detail: fmt.Sprintf("may do more than its duties need: %d entries or ownerships", len(surplus)), Hint: "take these entries away, unless something else needs them"}
		for _, x := range surplus[:min(len(surplus), shownRights)] {
			c.Objects = append(c.Objects, x.String())
		}
		c.What = "rights"
		d.put(c)
	}
	if len(id.Missing)+len(surplus)+len(id.Unread) == 0 && id.Refusal() == nil {
		d.add("rights", id.Account, nil, fmt.Sprintf("has what it needs for %d groups and %d management accounts, and no more", len(duties.Groups), len(duties.Accounts)))
	}
}

// elsewhere lists what the account may do on objects that are none of its duties. Its
// own object is left out: every user may write some of its own attributes.
func elsewhere(s *forest.Snapshot, id *Identity, duties Duties) []SurplusRight {
	var out []SurplusRight
	cache := map[uint32][]delegation.Extra{}
	for n := range s.Len() {
		o := forest.ID(n)
		i, ok := s.DescriptorIndex(o)
		if !ok || s.SID(o) == id.SID && !id.SID.IsZero() || id.works[s.DN(o)] {
			continue
		}
		extras, ok := cache[i]
		if !ok {
			if desc := s.DescriptorAt(i); desc != nil {
				extras = delegation.Surplus(desc, id.holds)
			}
			cache[i] = extras
		}
		for _, x := range extras {
			if r := surplusRight(s.DN(o), x); !delegation.Broad(x.ACE.SID) {
				out = append(out, r)
			}
		}
	}
	return out
}

// surplusRight words what is too much on an object.
func surplusRight(dn string, x delegation.Extra) SurplusRight {
	r := SurplusRight{Object: dn, Trustee: x.ACE.SID, Right: x.Text(), Index: x.Index}
	if x.Index >= 0 {
		r.Entry = x.ACE.SDDL(secdesc.SID{})
	}
	return r
}
