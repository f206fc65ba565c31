package configmgr

import (
	"slices"
	"time"
)

// Update returns what is known after now was read, with the history that previous has:
// an assignment that both name keeps the time it was first seen; one that only previous
// names is marked as removed if now read the whole slot from the same source, and is
// kept as it is if it did not, since nobody looked. Of other facts, what now read
// completely replaces what previous knew; what now did not read stays, with the
// reading that tells how old it is. Statements and exceptions of both are kept.
func Update(previous, now *Document) *Document {
	old := *previous
	for _, one := range []struct {
		class Class
		part  string
		drop  func()
	}{
		{ClassAdmins, "", func() { old.Admins = nil }},
		{ClassRoles, "", func() { old.Roles = nil }},
		{ClassPackages, "", func() { old.Packages = nil }},
		{ClassSequences, PartSequences, func() { old.Sequences = nil }},
		{ClassVariables, "", func() { old.Variables = nil }},
		{ClassClient, "", func() { old.Client = nil }},
		{ClassSiteRoles, "", func() { old.Sites = withoutSystems(old.Sites) }},
		{ClassSites, "", func() { old.Sites = onlySites(old.Sites, now.Sites) }},
	} {
		if _, ok := now.Read(one.class, "", one.part); ok {
			one.drop()
		}
	}
	if slices.ContainsFunc(now.Readings, func(r Reading) bool { return r.Source == Directory }) {
		old.Sightings = nil
	}
	old.Readings = slices.DeleteFunc(slices.Clone(old.Readings), func(r Reading) bool {
		return slices.ContainsFunc(now.Readings, func(n Reading) bool {
			return n.Source == r.Source && n.Class == r.Class && n.Scope == r.Scope && n.Part == r.Part && (n.Missing == "" || r.Missing != "" || r.At.Equal(n.At))
		})
	})
	old.Assignments = ended(old.Assignments, now)
	return Merge(now, &old)
}

// ended marks the assignments that a reading of their slot did not find again.
func ended(list []Assignment, now *Document) []Assignment {
	have := map[slotKey]bool{}
	for _, a := range now.Assignments {
		have[keyOf(a)] = true
	}
	bySource := map[Source]*Document{}
	out := slices.Clone(list)
	for i := range out {
		a := &out[i]
		if !a.Removed.IsZero() || have[keyOf(*a)] {
			continue
		}
		if bySource[a.Source] == nil {
			bySource[a.Source] = now.told(a.Source)
		}
		if at, ok := bySource[a.Source].filledAt(*a); ok && at.After(a.LastSeen) {
			a.Removed = at
		}
	}
	return out
}

// told returns the readings of one source.
func (d *Document) told(s Source) *Document {
	out := &Document{}
	for _, r := range d.Readings {
		if r.Source == s {
			out.Readings = append(out.Readings, r)
		}
	}
	return out
}

// filledAt tells whether the slot of an assignment was read as a whole, and when last.
// A stored account without a slot is of the list of accounts.
func (d *Document) filledAt(a Assignment) (at time.Time, ok bool) {
	if a.Entry == "" {
		_, ok = d.Read(ClassAccounts, a.Site, "")
	} else {
		_, ok = d.Filled(a.Entry, a.Site)
	}
	if !ok {
		return time.Time{}, false
	}
	for _, r := range d.Readings {
		if r.At.After(at) {
			at = r.At
		}
	}
	return at, true
}

func withoutSystems(sites []Site) []Site {
	out := slices.Clone(sites)
	for i := range out {
		out[i].Systems = nil
	}
	return out
}

// onlySites returns the sites that are still there.
func onlySites(old, now []Site) []Site {
	return slices.DeleteFunc(slices.Clone(old), func(s Site) bool {
		return !slices.ContainsFunc(now, func(n Site) bool { return n.Code == s.Code })
	})
}
