package forestgen

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Facts say what a forest made by Control holds, beside the random part. Names are
// distinguished names.
type Facts struct {
	Staff       string   // group of 40 % of all objects, by direct membership
	Portal      string   // account whose password Staff may reset, Contractors may not; a member of Server Operators
	Contractors string   // group of every tenth of those that are in Staff
	Chains      []Chain  // long ways to Domain Admins
	Replicates  []string // who holds both halves of the right to replicate secrets, or can get them
	HalfOnly    []string // who holds one half, and nothing else
}

// A Chain is a way to Domain Admins from an account that has no shorter one.
type Chain struct {
	From  string
	Steps int // rights to use and memberships to follow, one after the other
}

// chainSteps are the lengths of the chains: shorter than any search may stop at.
var chainSteps = []int{14, 15, 16, 18, 22, 26, 30}

// A power is what Control adds to a forest.
type power struct {
	facts     Facts
	r         *rand.Rand // of its own: what Generate makes does not depend on it
	users     uint32     // RID of the first user
	groups    uint32     // RID of the first nested group
	numGroups int
	fresh     uint32 // next RID for what is added
	sizes     []int  // of groups, by rank
}

// Control returns a forest of about the given number of objects, at least some
// 1,000, for measuring and testing effective control, and what is known of it. It is
// like those of Generate, with
//
//   - more departments and more variety of descriptors: about 7 % as many distinct
//     ones as objects;
//   - about four times as many memberships as objects, group sizes falling with
//     their rank, and one group of 40 % of all objects;
//   - on 2 % of the objects a delegation of every kind that is common: full
//     control, write access to DACL, owner or all properties, password reset,
//     member by attribute, property set and validated write, key credentials,
//     resource-based delegation, ownership, entries for owners, for other classes
//     and for inheritance only; a third of them behind entries that deny the same to
//     a user or a group, in whole or by object type;
//   - the right to replicate secrets, split over two groups;
//   - ways of 14 to 30 steps to Domain Admins.
//
// The same arguments give equal snapshots.
func Control(seed uint64, objects int) (*forest.Snapshot, Facts) {
	g := newGenerator(seed, objects)
	g.power = &power{r: rand.New(rand.NewPCG(seed^0xC0117801, uint64(objects))), fresh: 1 << 30}
	s := g.run()
	return s, g.power.facts
}

// plan fixes relative identifiers before the objects that have them are made.
func (g *generator) plan() {
	p := g.power
	if p == nil {
		return
	}
	p.users = g.rid + uint32(g.dcCount()) + 1
	p.groups = p.users + uint32(g.objects*60/100) + uint32(g.objects*30/100)
	p.numGroups = g.objects * 8 / 100
	p.sizes = zipfSizes(p.numGroups, 39*g.objects/10-g.objects*4/10, g.objects/20)
}

// zipfSizes returns n group sizes that fall with the rank and add up to about
// total, none above most.
func zipfSizes(n, total, most int) []int {
	weight, sum := make([]float64, n), 0.0
	for i := range weight {
		weight[i] = math.Pow(float64(i+8), -0.85)
		sum += weight[i]
	}
	out := make([]int, n)
	for i, w := range weight {
		out[i] = min(most, 1+int(w/sum*float64(total-n)))
	}
	return out
}

// variety returns one of several variants for some of the objects of a kind.
func (p *power) variety(one, of int) int {
	if p == nil || p.r.IntN(one) != 0 {
		return 0
	}
	return 1 + p.r.IntN(of)
}

// someone returns a user or a group that is not special.
func (g *generator) someone() secdesc.SID {
	p := g.power
	if p.r.IntN(2) == 0 && p.numGroups > 0 {
		return g.domain.Child(p.groups + p.r.Uint32N(uint32(p.numGroups)))
	}
	return g.domain.Child(p.users + 40 + p.r.Uint32N(uint32(max(1, g.objects*60/100-40))))
}

// extra returns the descriptor of key for one of 50 objects with a delegation of
// its own, and the shared one for the rest.
func (g *generator) extra(key sdKey) []byte {
	p := g.power
	if p == nil || p.r.IntN(50) != 0 || key.kind == kindProtected {
		return g.descriptor(key)
	}
	who := g.someone()
	d := g.make(key)
	var deny, inherited []secdesc.ACE
	allowed, owner := delegation(p.r.IntN(14), key.kind, who)
	if !owner.IsZero() {
		d.Owner = owner
	}
	if p.r.IntN(3) == 0 && len(allowed) > 0 {
		a := allowed[0]
		a.SID = g.someone()
		switch a.Type = secdesc.DenyObject; {
		case p.r.IntN(4) == 0: // the whole of the right, whatever the type
			a.Type, a.ObjectType = secdesc.Deny, secdesc.GUID{}
		case a.ObjectType.IsZero():
			a.Type = secdesc.Deny
		}
		deny = append(deny, a)
	}
	rest := d.DACL.ACEs
	if i := slices.IndexFunc(rest, secdesc.ACE.IsInherited); i >= 0 {
		rest, inherited = rest[:i], rest[i:]
	}
	d.DACL.ACEs = slices.Concat(deny, rest, allowed, inherited)
	return g.bytes(d)
}

// delegation returns what somebody gave who on one object.
func delegation(n int, k kind, who secdesc.SID) (entries []secdesc.ACE, owner secdesc.SID) {
	none, wp := secdesc.GUID{}, secdesc.WriteProperty
	one := func(mask secdesc.Mask, object secdesc.GUID) []secdesc.ACE {
		return []secdesc.ACE{allowObject(who, mask, object, none)}
	}
	switch n {
	case 0:
		return []secdesc.ACE{allow(who, fullControl)}, owner
	case 1:
		return []secdesc.ACE{allow(who, secdesc.WriteDAC)}, owner
	case 2:
		return []secdesc.ACE{allow(who, secdesc.WriteOwner)}, owner
	case 3:
		return []secdesc.ACE{allow(who, wp)}, owner
	case 4:
		return nil, who
	case 5: // for what is below, not for the object
		a := allow(who, fullControl)
		a.Flags = secdesc.ContainerInherit | secdesc.InheritOnly
		return []secdesc.ACE{a}, owner
	case 6: // owners may read, and no more; and someone owns it
		return []secdesc.ACE{allow(secdesc.OwnerRights, secdesc.ReadControl)}, who
	case 7:
		return one(wp, guidKeyCredential), owner
	}
	switch {
	case k == kindGroup && n%3 == 0:
		return one(wp, guidMember), owner
	case k == kindGroup && n%3 == 1:
		return one(wp, guidMembership), owner
	case k == kindGroup:
		return one(secdesc.SelfWrite, guidMember), owner
	case n%3 == 0:
		return one(secdesc.ControlAccess, guidResetPwd), owner
	case n%3 == 1 && k == kindComputer:
		return one(wp, guidActsFor), owner
	case n%3 == 1:
		return one(wp, guidSPN), owner
	}
	return one(secdesc.ControlAccess, none), owner // all extended rights
}

// special makes what Facts names.
func (g *generator) special() {
	p := g.power
	if p == nil {
		return
	}
	g.staff()
	g.chains()
	g.replication()
}

// place returns the name of a special object in a department.
func (g *generator) place(name string, unit int) string {
	return "CN=" + name + ",OU=Groups," + g.ous[unit%len(g.ous)].dn
}

func (p *power) nextRID() uint32 {
	p.fresh++
	return p.fresh
}

// rights is a descriptor that gives nobody but the usual administrators anything,
// and entries.
func (g *generator) rights(entries ...secdesc.ACE) []byte {
	d := g.make(sdKey{kind: kindProtected})
	d.DACL.ACEs = append(entries, d.DACL.ACEs...)
	return g.bytes(d)
}

func (g *generator) group(dn string, rid uint32, sd []byte, members ...string) {
	a := attrs{
		"objectSid", wire(g.domain.Child(rid)), "sAMAccountName", "special-" + strconv.FormatUint(uint64(rid), 36),
		"groupType", globalGroup, "sAMAccountType", "268435456", "instanceType", "4",
	}
	for _, m := range members {
		a = append(a, "member", m)
	}
	g.add(dn, classGroup, a, sd)
}

func (g *generator) account(dn string, rid uint32, sd []byte) {
	g.add(dn, classUser, attrs{
		"objectSid", wire(g.domain.Child(rid)), "sAMAccountName", "special-" + strconv.FormatUint(uint64(rid), 36),
		"userAccountControl", "512", "primaryGroupID", "513", "sAMAccountType", "805306368", "instanceType", "4",
	}, sd)
}

// portalDN is known before the account is made: Server Operators lists it.
func (g *generator) portalDN() string {
	n := g.unitCount()
	return "CN=Portal,OU=Groups," + unitDN(0, max(1, min(40, n/8)))
}

// staff makes the group of 40 % of all objects, and what it can do: reset the
// password of an account, unless an entry before denies it.
func (g *generator) staff() {
	p := g.power
	staff, contractors := p.nextRID(), p.nextRID()
	p.facts.Staff, p.facts.Contractors = g.place("Staff", 1), g.place("Contractors", 2)
	p.facts.Portal = g.portalDN()
	var all, some []string
	for i, dn := range g.users {
		if i%3 == 0 {
			continue
		}
		if all = append(all, dn); len(all)%10 == 0 {
			some = append(some, dn)
		}
	}
	g.group(p.facts.Staff, staff, g.rights(), all...)
	g.group(p.facts.Contractors, contractors, g.rights(), some...)
	deny := allowObject(g.domain.Child(contractors), secdesc.ControlAccess, guidResetPwd, secdesc.GUID{})
	deny.Type = secdesc.DenyObject
	g.account(p.facts.Portal, p.nextRID(), g.rights(deny,
		allowObject(g.domain.Child(staff), secdesc.ControlAccess, guidResetPwd, secdesc.GUID{})))
}

// chains makes ways to Domain Admins: each object gives a right on itself to the
// one before it, in turn by members, permissions, owner and password.
func (g *generator) chains() {
	for n, steps := range chainSteps {
		g.chain(n, steps)
	}
}

func (g *generator) chain(n, steps int) {
	p := g.power
	rids := make([]uint32, steps) // a right from each to the next; the last is a member of Domain Admins
	for i := range rids {
		rids[i] = p.nextRID()
	}
	name := func(i int) string { return g.place(fmt.Sprintf("Chain %d-%02d", n, i), n*7+i) }
	p.facts.Chains = append(p.facts.Chains, Chain{From: name(0), Steps: steps})
	before := func(i int) secdesc.SID { return g.domain.Child(rids[i-1]) }
	reset := func(i int) secdesc.ACE {
		return allowObject(before(i), secdesc.ControlAccess, guidResetPwd, secdesc.GUID{})
	}
	for i := range rids {
		switch {
		case i == 0:
			g.account(name(i), rids[i], g.rights())
		case i == steps-1:
			g.account(name(i), rids[i], g.rights(reset(i)))
		case i%4 == 1: // members of a group
			g.group(name(i), rids[i], g.rights(allowObject(before(i), secdesc.WriteProperty, guidMember, secdesc.GUID{})))
		case i%4 == 2:
			g.account(name(i), rids[i], g.rights(allow(before(i), secdesc.WriteDAC)))
		case i%4 == 3:
			g.account(name(i), rids[i], g.rights(allow(before(i), secdesc.WriteOwner)))
		default:
			g.account(name(i), rids[i], g.rights(reset(i)))
		}
	}
}

// chainEnds are the last objects of the chains, before they are made.
func (g *generator) chainEnds() []string {
	if g.power == nil {
		return nil
	}
	n := g.unitCount()
	var out []string
	for k, steps := range chainSteps {
		i := steps - 1
		out = append(out, fmt.Sprintf("CN=Chain %d-%02d,OU=Groups,%s", k, i, unitDN((k*7+i)%n, max(1, min(40, n/8)))))
	}
	return out
}

// replication makes the two groups that hold one half each of the right to
// replicate secrets: who is in both, can add itself to the second, or is in one.
func (g *generator) replication() {
	p := g.power
	var who [4]uint32
	var dn [4]string
	for i, name := range []string{"Both", "Nested", "Joins", "One"} {
		who[i], dn[i] = p.nextRID(), g.place("Replica "+name, 10+i)
		g.account(dn[i], who[i], g.rights())
	}
	inner := g.place("Replica Inner", 14)
	g.group(inner, p.nextRID(), g.rights(), dn[1])
	g.group(g.place("Replica Changes", 15), uint32(replicaRID), g.rights(), dn[0], dn[1], dn[2], dn[3])
	g.group(g.place("Replica Secrets", 16), uint32(replicaRID+1),
		g.rights(allowObject(g.domain.Child(who[2]), secdesc.SelfWrite, guidMember, secdesc.GUID{})), dn[0], inner)
	p.facts.Replicates, p.facts.HalfOnly = dn[:3], dn[3:]
}

// replicaRID is the first of the two groups that may replicate.
const replicaRID = 1<<30 - 16

// headDescriptor is the one of the domain's root.
func (g *generator) headDescriptor(plain []byte) []byte {
	if g.power == nil {
		return plain
	}
	d := g.make(sdKey{kind: kindOther})
	none := secdesc.GUID{}
	d.DACL.ACEs = append([]secdesc.ACE{
		allowObject(g.domain.Child(replicaRID), secdesc.ControlAccess, guidGetChanges, none),
		allowObject(g.domain.Child(replicaRID+1), secdesc.ControlAccess, guidGetChangesAll, none),
		allowObject(secdesc.Administrators, secdesc.ControlAccess, guidGetChanges, none),
		allowObject(secdesc.Administrators, secdesc.ControlAccess, guidGetChangesAll, none),
	}, d.DACL.ACEs...)
	return g.bytes(d)
}

// GUIDs that only delegations of Control name.
var (
	guidKeyCredential = secdesc.MustGUID("5b47d60f-6090-40b2-9f37-2a4de88f3063")
	guidActsFor       = secdesc.MustGUID("3f78c3e5-f79a-46bd-a0b8-9d18116ddc79")
	guidGetChanges    = secdesc.MustGUID("1131f6aa-9c07-11d1-f79f-00c04fc2dcd2")
	guidGetChangesAll = secdesc.MustGUID("1131f6ad-9c07-11d1-f79f-00c04fc2dcd2")
)

// moreAttributes are attributes of the schema that control is decided by.
var moreAttributes = [][4]string{
	{"altSecurityIdentities", "00fbf30c-91fe-11d1-aebc-0000f80367c1", "e48d0154-bcf8-11d1-8702-00c04fb96050", ""},
	{"userPrincipalName", "28630ebb-41d5-11d1-a9c1-0000f80367c1", "e48d0154-bcf8-11d1-8702-00c04fb96050", ""},
	{"scriptPath", "bf9679a8-0de6-11d0-a285-00aa003049e2", "5f202010-79a5-11d0-9020-00c04fc2d4cf", ""},
	{"profilePath", "bf967a05-0de6-11d0-a285-00aa003049e2", "5f202010-79a5-11d0-9020-00c04fc2d4cf", ""},
	{"gPCFileSysPath", "f30e3bc1-9ff0-11d1-b603-0000f80367c1", "", ""},
	{"gPCMachineExtensionNames", "32ff8ecc-783f-11d2-9916-0000f87a57d4", "", ""},
	{"gPCUserExtensionNames", "42a75fc6-783f-11d2-9916-0000f87a57d4", "", ""},
}
