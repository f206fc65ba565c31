package reach

import (
	"slices"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// privilegedRIDs are the groups of a domain that the guide protects (guide, app.
// C): Domain Admins, Domain Controllers, Schema Admins, Enterprise Admins,
// Group Policy Creator Owners (not protected, yet as powerful over every host),
// Read-only Domain Controllers, Key Admins, Enterprise Key Admins.
var privilegedRIDs = []uint32{512, 516, 518, 519, 520, 521, 526, 527}

// privilegedAliases are the built-in groups among them: Administrators, Account
// Operators, Server Operators, Print Operators, Backup Operators, Replicator.
var privilegedAliases = []uint32{544, 548, 549, 550, 551, 552}

var builtin = secdesc.MustSID("S-1-5-32")

// IsPrivileged reports whether sid is a group whose membership is power over the
// domain.
func IsPrivileged(s *forest.Snapshot, sid secdesc.SID) bool {
	if !PrivilegedName(sid) {
		return false
	}
	return sid.Domain() == builtin || slices.ContainsFunc(s.Domains(), func(d forest.Domain) bool { return d.SID == sid.Domain() })
}

// PrivilegedName reports whether sid has the form of such a group, in whatever domain:
// for those who have no snapshot.
func PrivilegedName(sid secdesc.SID) bool {
	rid, ok := sid.RID()
	if !ok {
		return false
	}
	if sid.Domain() == builtin {
		return slices.Contains(privilegedAliases, rid)
	}
	return sid.IsDomainRelative() && slices.Contains(privilegedRIDs, rid)
}
