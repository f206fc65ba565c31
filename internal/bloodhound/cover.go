package bloodhound

import (
	"fmt"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
)

// cover states what the collection cannot tell.
func (c *Collection) cover(b *forest.Builder) {
	b.Cover(forest.Coverage{
		Area: forest.AreaDescriptor, Subject: forest.SubjectDescriptor, State: forest.StateAssumed, Count: c.stats.described,
		Reason: "the collection has rights in words, from which the descriptors were put together: without the entries that deny, so that some ways may be barred; " +
			"without reading, creating, deleting and other rights that the collector passes over, and those of SYSTEM and SELF, so that there may be others",
	})
	if c.stats.bare > 0 {
		b.Cover(forest.Coverage{
			Area: forest.AreaDescriptor, Subject: "objects without rights", State: "not collected", Count: c.stats.bare,
			Reason: "the collection has no right on them, not even an owner: collect with the method ACL",
		})
	}
	b.Cover(forest.Coverage{Area: forest.AreaSACL, Subject: forest.SubjectDescriptor, State: "not collected", Reason: "collections have no audit entries"})
	b.Cover(forest.Coverage{Area: forest.AreaFile, Subject: "SYSVOL", State: "not collected", Reason: "collections hold no policy files: what policies set, and who may write their files, is not known"})
	b.Cover(forest.Coverage{
		Area: forest.AreaPartition, Subject: forest.SubjectSchema, State: forest.StateAssumed,
		Reason: "collections hold no schema: rights are judged by the definitions of Windows Server 2012 R2, without extensions of the forest",
	})
	b.Cover(forest.Coverage{
		Area: forest.AreaPartition, Subject: "configuration", State: "partial",
		Reason: "collections hold no sites, servers, services and directory settings (dSHeuristics), and of certificate services only what version 6 has",
	})
	b.Cover(forest.Coverage{
		Area: forest.AreaContainer, Subject: "containers", State: "partial",
		Reason: "collectors leave out most of CN=System, among it AdminSDHolder, and CN=Program Data",
	})
	c.coverAssumptions(b)
	c.coverOmissions(b)
	c.coverAttributes(b)
}

// coverAssumptions states whose values were put in place of those not collected.
func (c *Collection) coverAssumptions(b *forest.Builder) {
	assumed := func(a forest.Attr, n int, reason string) {
		if n > 0 {
			b.Cover(forest.Coverage{Area: forest.AreaAttribute, Subject: a.String(), State: forest.StateAssumed, Count: n, Reason: reason})
		}
	}
	assumed(forest.GroupType, c.stats.groups, "collections do not have it: groups count as security groups, those that are not well-known as universal ones")
	assumed(forest.UserAccountControl, c.stats.flags, "put together from the flags that the collection has; those that it lacks (in version 5: smart card required and others) count as off")
	assumed(forest.TrustAttributes, c.stats.trusts, "put together from the type of the trust, whether it is transitive and whether SIDs are filtered")
	if c.stats.laps {
		assumed(forest.MsLAPSPasswordExpirationTime, 1, "the collection says only whether there is a local administrator's password, not which LAPS keeps it or until when it holds")
	}
}

// coverOmissions states what of the collection was not taken over.
func (c *Collection) coverOmissions(b *forest.Builder) {
	for _, word := range sortedKeys(c.stats.rights) {
		b.Cover(forest.Coverage{
			Area: forest.AreaDescriptor, Subject: "right " + word, State: "not read", Count: c.stats.rights[word],
			Reason: "the collection has this right in words, which stands for no entry of a descriptor that is known",
		})
	}
	for _, name := range sortedKeys(c.stats.without) {
		b.Cover(forest.Coverage{
			Area: forest.AreaSnapshot, Subject: "method " + name, State: "not collected", Count: c.stats.without[name],
			Reason: "the collector was not asked for what this method reads of these objects: collect with it too",
		})
	}
	for _, what := range sortedKeys(c.stats.skipped) {
		b.Cover(forest.Coverage{Area: forest.AreaSnapshot, Subject: what, State: "not read", Count: c.stats.skipped[what], Reason: "left out of the collection"})
	}
	if c.stats.outside > 0 {
		b.Cover(forest.Coverage{
			Area: forest.AreaSnapshot, Subject: "objects that others name", State: "partial", Count: c.stats.outside,
			Reason: "members, linked policies, templates and the like that are not among the collected objects, or named by no identifier",
		})
	}
	if c.stats.hosts > 0 {
		b.Cover(forest.Coverage{
			Area: forest.AreaHost, Subject: "sessions, local groups, user rights", State: "not read", Count: c.stats.hosts,
			Reason: "the collection has what was found on these hosts; it is not taken over",
		})
	}
}

// coverAttributes lists the attributes that no object has.
func (c *Collection) coverAttributes(b *forest.Builder) {
	have := map[forest.Attr]bool{}
	for i := range c.list {
		for a := range c.list[i].asked {
			have[a] = true
		}
	}
	var never []string
	for _, a := range forest.Attrs() {
		if !have[a] && !ofSchema[a] {
			never = append(never, a.String())
		}
	}
	slices.Sort(never)
	b.Cover(forest.Coverage{
		Area: forest.AreaAttribute, Subject: "attributes that collections do not have", State: "not collected", Count: len(never),
		Reason: fmt.Sprintf("not known of any object: %s", strings.Join(never, ", ")),
	})
}

// ofSchema are the attributes that only definitions have.
var ofSchema = map[forest.Attr]bool{
	forest.AppliesTo: true, forest.AttributeSecurityGUID: true, forest.AttributeSyntax: true, forest.AuxiliaryClass: true,
	forest.DefaultSecurityDescriptor: true, forest.IsDefunct: true, forest.LDAPDisplayName: true, forest.LinkID: true,
	forest.MayContain: true, forest.MustContain: true, forest.ObjectClassCategory: true, forest.ObjectVersion: true,
	forest.OMSyntax: true, forest.PossSuperiors: true, forest.RightsGUID: true, forest.SchemaIDGUID: true,
	forest.SearchFlags: true, forest.SubClassOf: true, forest.SystemAuxiliaryClass: true, forest.SystemMayContain: true,
	forest.SystemMustContain: true, forest.SystemOnly: true, forest.SystemPossSuperiors: true, forest.ValidAccesses: true,
}
