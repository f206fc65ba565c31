package configmgr

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// normalize puts the lists of a document into an order that does not depend on the
// order of reading, and joins what says the same.
func (d *Document) normalize() {
	slices.SortStableFunc(d.Sites, func(x, y Site) int { return strings.Compare(x.Code, y.Code) })
	for i := range d.Sites {
		slices.SortFunc(d.Sites[i].Systems, func(x, y SiteSystem) int { return strings.Compare(x.Host, y.Host) })
		for j := range d.Sites[i].Systems {
			slices.Sort(d.Sites[i].Systems[j].Roles)
		}
	}
	d.Assignments = joinAssignments(d.Assignments)
	slices.SortStableFunc(d.Sightings, func(x, y Sighting) int {
		return cmp.Or(strings.Compare(x.Kind, y.Kind), strings.Compare(x.Domain, y.Domain), compareFold(x.Name, y.Name))
	})
	slices.SortStableFunc(d.Admins, func(x, y Admin) int { return compareFold(x.Name, y.Name) })
	slices.SortStableFunc(d.Roles, func(x, y Role) int { return strings.Compare(x.ID, y.ID) })
	slices.SortStableFunc(d.Hosts, func(x, y Host) int { return strings.Compare(x.Name, y.Name) })
	slices.SortStableFunc(d.Databases, func(x, y Database) int { return strings.Compare(x.Name, y.Name) })
	slices.SortStableFunc(d.Packages, func(x, y Package) int { return strings.Compare(x.ID, y.ID) })
	slices.SortStableFunc(d.Sequences, func(x, y Sequence) int { return strings.Compare(x.ID, y.ID) })
	slices.SortStableFunc(d.Variables, func(x, y Variable) int {
		return cmp.Or(strings.Compare(x.Of, y.Of), strings.Compare(x.Name, y.Name))
	})
	slices.SortStableFunc(d.Readings, compareReadings)
}

func compareFold(a, b string) int {
	return cmp.Or(strings.Compare(strings.ToLower(a), strings.ToLower(b)), strings.Compare(a, b))
}

// slotKey is what makes two assignments of one source the same.
type slotKey struct{ entry, site, host, location, name, source string }

func keyOf(a Assignment) slotKey {
	return slotKey{a.Entry, strings.ToUpper(a.Site), strings.ToLower(a.Host), strings.ToLower(a.Location), strings.ToLower(a.Name), string(a.Source)}
}

// joinAssignments sorts assignments and joins those that one source tells twice, such
// as a push account in the list of accounts and in the push properties.
func joinAssignments(list []Assignment) []Assignment {
	at := map[slotKey]int{}
	var out []Assignment
	for _, a := range list {
		k := keyOf(a)
		if i, ok := at[k]; ok {
			join(&out[i], a)
			continue
		}
		at[k] = len(out)
		a.Usage = slices.Clone(a.Usage)
		out = append(out, a)
	}
	slices.SortStableFunc(out, compareAssignments)
	return out
}

func compareAssignments(x, y Assignment) int {
	return cmp.Or(strings.Compare(x.Site, y.Site), strings.Compare(x.Entry, y.Entry), strings.Compare(x.Host, y.Host),
		strings.Compare(x.Location, y.Location), compareFold(x.Name, y.Name), strings.Compare(string(x.Source), string(y.Source)))
}

// join adds to an assignment what another of the same key says.
func join(to *Assignment, a Assignment) {
	for _, u := range a.Usage {
		if !slices.Contains(to.Usage, u) {
			to.Usage = append(to.Usage, u)
		}
	}
	to.Stored = to.Stored || a.Stored
	if to.SID == nil {
		to.SID, to.Kind = a.SID, cmp.Or(to.Kind, a.Kind)
	}
	if !a.FirstSeen.IsZero() && (to.FirstSeen.IsZero() || a.FirstSeen.Before(to.FirstSeen)) {
		to.FirstSeen = a.FirstSeen
	}
	if a.LastSeen.After(to.LastSeen) {
		to.LastSeen = a.LastSeen
	}
	switch { // in force if either is
	case a.Removed.IsZero() || to.Removed.IsZero():
		to.Removed = time.Time{}
	case a.Removed.After(to.Removed):
		to.Removed = a.Removed
	}
}
