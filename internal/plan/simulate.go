package plan

import (
	"fmt"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A Simulation is what a plan would bring about in a snapshot.
type Simulation struct {
	Before, After *reach.Graph
	// Left are the changes, by their number from 1, that have no counterpart in what
	// is simulated (passwords and expiry), each with why.
	Left map[int]string
}

// Simulate applies the plan to a view of the snapshot that before was made of. The
// changes go by GUID. The error is reach's, see [reach.ErrUnfit], or [ErrPlan] if an
// object is not in the snapshot.
func (p *Plan) Simulate(before *reach.Graph, s *forest.Snapshot) (*Simulation, error) {
	sim := &Simulation{Before: before, Left: map[int]string{}}
	var changes []reach.Change
	for i, c := range p.Changes {
		if c.Kind == ResetPassword || c.Kind == SetExpiry {
			sim.Left[i+1] = "who can gain what does not depend on it"
			continue
		}
		if c.New != nil {
			sim.Left[i+1] = "a new object has no identity before it is there: plan again once it is"
			continue
		}
		r, err := c.foresee(s)
		if err != nil {
			return nil, fmt.Errorf("change %d: %w", i+1, err)
		}
		changes = append(changes, r)
	}
	var err error
	sim.After, err = before.With(changes)
	return sim, err
}

// foresee is the change as reach knows it.
func (c Change) foresee(s *forest.Snapshot) (reach.Change, error) {
	out := reach.Change{Index: -1}
	var err error
	if out.Object, err = find(s, c.Object); err != nil {
		return out, err
	}
	switch c.Kind {
	case AddMember, RemoveMember:
		out.Kind = map[Kind]reach.ChangeKind{AddMember: reach.MemberAdded, RemoveMember: reach.MemberRemoved}[c.Kind]
		out.Other, err = find(s, *c.Member)
	case GrantEntry, RevokeEntry:
		out.Kind = map[Kind]reach.ChangeKind{GrantEntry: reach.EntryAdded, RevokeEntry: reach.EntryRemoved}[c.Kind]
		out.Entry = c.Entry.ACE
	case EnableAccount, DisableAccount:
		out.Kind = map[Kind]reach.ChangeKind{EnableAccount: reach.FlagCleared, DisableAccount: reach.FlagSet}[c.Kind]
		out.Flag = int64(AccountDisabled)
	case ResetPassword, SetExpiry, CreateObject, DeleteObject:
		return out, badPlan("%s cannot be simulated", c.Kind)
	}
	return out, err
}

func find(s *forest.Snapshot, t Target) (forest.ID, error) {
	id := forest.None
	if !t.GUID.IsZero() {
		id = s.ByGUID(t.GUID)
	}
	if id == forest.None && t.GUID == (secdesc.GUID{}) && !t.SID.IsZero() {
		id = s.BySID(t.SID)
	}
	if id == forest.None {
		return id, badPlan("%s is not in the snapshot", t.Name())
	}
	return id, nil
}
