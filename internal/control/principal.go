package control

import (
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Names of principals in catalogues: accounts and groups of each domain by RID,
// of its Builtin container by RID, and identities without an object.
var (
	domainRIDs = map[string]uint32{
		"builtin-administrator":        500,
		"guest":                        501,
		"krbtgt":                       502,
		"domain-admins":                512,
		"domain-users":                 513,
		"domain-guests":                514,
		"domain-computers":             515,
		"domain-controllers":           516,
		"cert-publishers":              517,
		"schema-admins":                518,
		"enterprise-admins":            519,
		"group-policy-creator-owners":  520,
		"read-only-domain-controllers": 521,
		"protected-users":              525,
		"key-admins":                   526,
		"enterprise-key-admins":        527,
		"ras-servers":                  553,
		"allowed-rodc":                 571,
		"denied-rodc":                  572,
	}
	builtinRIDs = map[string]uint32{
		"administrators":                  544,
		"users":                           545,
		"guests":                          546,
		"account-operators":               548,
		"server-operators":                549,
		"print-operators":                 550,
		"backup-operators":                551,
		"replicator":                      552,
		"pre-windows-2000":                554,
		"remote-desktop-users":            555,
		"windows-authorization-access":    560,
		"terminal-server-license-servers": 561,
		"distributed-com-users":           562,
		"certificate-service-dcom-access": 574,
		"remote-management-users":         580,
		"incoming-forest-trust-builders":  557,
		"network-configuration-operators": 556,
		"cryptographic-operators":         569,
		"event-log-readers":               573,
		"performance-log-users":           559,
		"performance-monitor-users":       558,
		"access-control-assistance":       579,
		"hyper-v-administrators":          578,
		"storage-replica-administrators":  582,
		"iis-users":                       568,
		"rds-remote-access-servers":       575,
		"rds-endpoint-servers":            576,
		"rds-management-servers":          577,
		"openssh-users":                   585,
		"device-owners":                   583,
		"user-mode-hardware-operators":    584,
		"system-managed-accounts":         581,
		"all-cryptographic-operators":     569,
	}
	identities = map[string]secdesc.SID{
		"everyone":                      secdesc.MustSID("S-1-1-0"),
		"anonymous":                     secdesc.MustSID("S-1-5-7"),
		"authenticated-users":           secdesc.MustSID("S-1-5-11"),
		"interactive":                   secdesc.MustSID("S-1-5-4"),
		"self":                          secdesc.MustSID("S-1-5-10"),
		"system":                        secdesc.MustSID("S-1-5-18"),
		"creator-owner":                 secdesc.MustSID("S-1-3-0"),
		"owner-rights":                  secdesc.MustSID("S-1-3-4"),
		"enterprise-domain-controllers": secdesc.MustSID("S-1-5-9"),
	}
)

// forestWide are the principals that exist in the root domain only.
var forestWide = map[string]bool{
	"enterprise-admins": true, "schema-admins": true, "enterprise-key-admins": true,
}

func isPrincipalName(name string) bool {
	_, d := domainRIDs[name]
	_, b := builtinRIDs[name]
	_, i := identities[name]
	return d || b || i
}

// isPrincipalSet reports whether name may stand in an entry's principals.
func isPrincipalSet(name string) bool {
	return name == "local-administrator" || name == "management-accounts" || isPrincipalName(name)
}

// protectedNames are the accounts and groups that AdminSDHolder protects, guide,
// app. C; [MS-ADTS] 3.1.1.6.1.
var protectedNames = []string{
	"account-operators", "administrators", "backup-operators", "builtin-administrator",
	"domain-admins", "domain-controllers", "enterprise-admins", "enterprise-key-admins",
	"key-admins", "krbtgt", "print-operators", "read-only-domain-controllers", "replicator",
	"schema-admins", "server-operators",
}

// excludable are the groups that dSHeuristics can take out of the protection,
// with their bit in its sixteenth character.
var excludable = map[string]int{
	"account-operators": 1, "server-operators": 2, "print-operators": 4, "backup-operators": 8,
}

// sidOf returns the SID that name has in domain d (index into w.domains); for
// forest-wide principals that of the root domain.
func (w *world) sidOf(d int, name string) secdesc.SID {
	if sid, ok := identities[name]; ok {
		return sid
	}
	if rid, ok := builtinRIDs[name]; ok {
		return builtinDomain.Child(rid)
	}
	rid, ok := domainRIDs[name]
	if !ok {
		return secdesc.SID{}
	}
	if forestWide[name] {
		d = w.root
	}
	if d < 0 || d >= len(w.domains) || w.domains[d].SID.IsZero() {
		return secdesc.SID{}
	}
	return w.domains[d].SID.Child(rid)
}

var builtinDomain = secdesc.MustSID("S-1-5-32")

// principal finds the object that name means in domain d; None if it was not read.
func (w *world) principalID(d int, name string) forest.ID {
	if rid, ok := builtinRIDs[name]; ok {
		if d < 0 {
			return forest.None
		}
		if id, ok := w.builtins[d][rid]; ok {
			return id
		}
		return forest.None
	}
	sid := w.sidOf(d, name)
	if sid.IsZero() {
		return forest.None
	}
	return w.s.BySID(sid)
}

// isPrincipal reports whether id is the principal called name, in any domain.
func (w *world) isPrincipal(id forest.ID, name string) bool {
	sid := w.s.SID(id)
	if sid.IsZero() {
		return false
	}
	return w.sidIsPrincipal(sid, name)
}

func (w *world) sidIsPrincipal(sid secdesc.SID, name string) bool {
	return w.sidIs(sid, findPrincipalName(name))
}

// A principalName is a name of a principal that was looked up.
type principalName struct {
	sid        secdesc.SID // of the identity or the built-in group; zero if every domain has its own
	rid        uint32      // in the domain
	forestWide bool
	known      bool
}

func findPrincipalName(name string) principalName {
	if sid, ok := identities[name]; ok {
		return principalName{sid: sid, known: true}
	}
	if rid, ok := builtinRIDs[name]; ok {
		return principalName{sid: builtinDomain.Child(rid), known: true}
	}
	rid, ok := domainRIDs[name]
	return principalName{rid: rid, forestWide: forestWide[name], known: ok}
}

func findPrincipalNames(names []string) []principalName {
	out := make([]principalName, len(names))
	for i, n := range names {
		out[i] = findPrincipalName(n)
	}
	return out
}

// sidIs reports whether sid is that of p, in any domain.
func (w *world) sidIs(sid secdesc.SID, p principalName) bool {
	if !p.sid.IsZero() {
		return sid == p.sid
	}
	rid, has := sid.RID()
	if !p.known || !has || rid != p.rid {
		return false
	}
	for i := range w.domains {
		if (!p.forestWide || i == w.root) && sid.Domain() == w.domains[i].SID {
			return true
		}
	}
	return false
}

// sidIsOneOf answers whether sid is one of the named principals, of any
// domain. It is unknown if it may be one of a domain that was not read.
func (ev *evaluation) sidIsOneOf(sid secdesc.SID, names ...principalName) ref.Val {
	var rids []uint32
	for _, n := range names {
		if ev.w.sidIs(sid, n) {
			return types.True
		}
		if ev.w.unreadDomain && n.rid != 0 {
			rids = append(rids, n.rid)
		}
	}
	if why := ev.w.inUnreadDomain(sid, rids); why != "" {
		return ev.unknown("dacl", why)
	}
	return types.False
}

// inUnreadDomain says that sid may be a principal with one of the RIDs in a domain
// of the forest whose identifier was not read; "" if that cannot be.
func (w *world) inUnreadDomain(sid secdesc.SID, rids []uint32) string {
	if !w.unreadDomain {
		return ""
	}
	rid, ok := sid.RID()
	if !ok || !sid.IsDomainRelative() || !slices.Contains(rids, rid) {
		return ""
	}
	for _, d := range w.domains {
		if d.SID == sid.Domain() {
			return ""
		}
	}
	for _, d := range w.domains {
		if d.SID.IsZero() {
			return sid.String() + " may belong to the domain " + d.DNS + ", which is not part of the snapshot"
		}
	}
	return ""
}

// forestWideRIDs are the RIDs of the principals of the root domain.
func forestWideRIDs() []uint32 {
	var out []uint32
	for name := range forestWide {
		out = append(out, domainRIDs[name])
	}
	return out
}

// mayBeHidden says why sid, for which the snapshot has no object, may have one all
// the same; "" if it has one or is known to have none.
func (w *world) mayBeHidden(sid secdesc.SID) string {
	if !sid.IsDomainRelative() || w.s.BySID(sid) != forest.None {
		return ""
	}
	unread := ""
	for d, dom := range w.domains {
		switch {
		case dom.SID == sid.Domain():
			if why := w.listing().accounts[d]; len(why) > 0 {
				return sid.String() + " may be among " + why[0]
			}
			return ""
		case dom.SID.IsZero():
			unread = sid.String() + " may be of the domain " + dom.DNS + ", which is not part of the snapshot"
		}
	}
	return unread
}

// trusteeName puts a SID into words: DOMAIN\name if it is known.
func (w *world) trusteeName(sid secdesc.SID) string {
	if sid.IsZero() {
		return "nobody"
	}
	if id := w.s.BySID(sid); id != forest.None && !w.s.IsA(id, "foreignSecurityPrincipal") {
		return w.qualified(id)
	}
	if name, ok := secdesc.WellKnownName(sid); ok {
		return name
	}
	return sid.String()
}

// accountName returns the name under which an object is known to administrators.
func (w *world) accountName(id forest.ID) string {
	if id == forest.None {
		return ""
	}
	if name, st := w.s.Str(id, forest.SAMAccountName); st == forest.Known && name != "" {
		return name
	}
	if w.kind(id) == "gpo" {
		if name, st := w.s.Str(id, forest.DisplayName); st == forest.Known {
			return name
		}
	}
	if sid := w.s.SID(id); w.kind(id) == "foreign" {
		if name, ok := secdesc.WellKnownName(sid); ok {
			return name
		}
	}
	if w.kind(id) == "domain" {
		if d := w.domainIndex(id); d >= 0 {
			return w.domains[d].DNS
		}
	}
	return w.s.Name(id)
}

// qualified returns DOMAIN\name.
func (w *world) qualified(id forest.ID) string {
	name := w.accountName(id)
	if strings.Contains(name, `\`) {
		return name
	}
	sid := w.s.SID(id)
	if sid.Domain() == builtinDomain {
		return `BUILTIN\` + name
	}
	for _, d := range w.domains {
		if !d.SID.IsZero() && sid.Domain() == d.SID && d.NetBIOS != "" {
			return d.NetBIOS + `\` + name
		}
	}
	return name
}
