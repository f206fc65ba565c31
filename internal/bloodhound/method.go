package bloodhound

import (
	"slices"

	"github.com/leastwise/leastwise/internal/forest"
)

// Methods of a collector, as bits of meta.methods (SharpHoundCommon, CollectionMethod).
// Collectors that do not say by which methods they worked write 0.
const (
	methodGroup       = 1 << 0
	methodTrusts      = 1 << 5
	methodContainer   = 1 << 7
	methodObjectProps = 1 << 9
)

// A method is what one method of a collector reads, beside properties and rights,
// which show by themselves whether they were read: without it SharpHound writes
// empty lists, which must not pass for none.
type method struct {
	bit   int64
	name  string
	attrs []forest.Attr
}

var methods = []method{
	{methodGroup, "Group", []forest.Attr{forest.Member}},
	{methodContainer, "Container", []forest.Attr{forest.GPLink}},
	{methodObjectProps, "ObjectProps", []forest.Attr{
		forest.MsDSAllowedToActOnBehalfOfOtherIdentity, forest.MsDSHostServiceAccount, forest.MsDSOIDToGroupLink,
	}},
}

// unread takes back, for the objects of one file from the index first on, what the
// methods that the file names cannot have read.
func (c *Collection) unread(first int, used int64) {
	if used == 0 {
		return
	}
	for i := first; i < len(c.list); i++ {
		it := &c.list[i]
		for _, m := range methods {
			if used&m.bit == 0 && it.forget(m.attrs) {
				c.stats.without[m.name]++
			}
		}
		if used&methodTrusts == 0 && it.kind == domainKind {
			c.stats.without["Trusts"]++
		}
	}
}

// forget makes attributes without values unknown and reports whether there were any.
func (it *item) forget(attrs []forest.Attr) (any bool) {
	for _, a := range attrs {
		if it.asked[a] && !it.has(a) {
			delete(it.asked, a)
			any = true
		}
	}
	return any
}

// has reports whether an attribute has values.
func (it *item) has(a forest.Attr) bool {
	if a == forest.GPLink && len(it.links) > 0 {
		return true
	}
	name := a.String()
	return slices.ContainsFunc(it.refs, func(r reference) bool { return r.attr == a }) ||
		slices.ContainsFunc(it.entry.Attrs, func(v forest.Values) bool { return v.Name == name })
}
