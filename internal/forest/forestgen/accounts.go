package forestgen

import (
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Class lists.
var (
	classUser      = []string{"top", "person", "organizationalPerson", "user"}
	classComputer  = []string{"top", "person", "organizationalPerson", "user", "computer"}
	classGroup     = []string{"top", "group"}
	classOU        = []string{"top", "organizationalUnit"}
	classContainer = []string{"top", "container"}
)

// Group types ([MS-ADTS] 2.2.12).
const (
	globalGroup      = "-2147483646"
	domainLocalGroup = "-2147483644"
	universalGroup   = "-2147483640"
	builtinGroup     = "-2147483643"
)

// wellKnownGroups are those of every domain: name, RID, type, container.
var wellKnownGroups = []struct {
	name string
	rid  uint32
	kind string
}{
	{"Domain Admins", 512, globalGroup},
	{"Domain Users", 513, globalGroup},
	{"Domain Guests", 514, globalGroup},
	{"Domain Computers", 515, globalGroup},
	{"Domain Controllers", 516, globalGroup},
	{"Cert Publishers", 517, domainLocalGroup},
	{"Schema Admins", 518, universalGroup},
	{"Enterprise Admins", 519, universalGroup},
	{"Group Policy Creator Owners", 520, globalGroup},
	{"Read-only Domain Controllers", 521, globalGroup},
	{"Protected Users", 525, globalGroup},
	{"Key Admins", 526, globalGroup},
	{"Enterprise Key Admins", 527, universalGroup},
	{"Administrators", 544, builtinGroup},
	{"Users", 545, builtinGroup},
	{"Guests", 546, builtinGroup},
	{"Account Operators", 548, builtinGroup},
	{"Server Operators", 549, builtinGroup},
	{"Print Operators", 550, builtinGroup},
	{"Backup Operators", 551, builtinGroup},
	{"Replicator", 552, builtinGroup},
	{"Remote Desktop Users", 555, builtinGroup},
	{"Network Configuration Operators", 556, builtinGroup},
}

// adminCount marks accounts that AdminSDHolder protects.
var protectedRIDs = map[uint32]bool{
	500: true, 502: true, 512: true, 516: true, 518: true, 519: true, 526: true, 527: true,
	544: true, 548: true, 549: true, 550: true, 551: true, 552: true,
}

// wellKnown makes the domain's root and what every domain has.
func (g *generator) wellKnown() {
	plain := g.descriptor(sdKey{kind: kindOther})
	g.add("CN=Users,"+DomainDN, classContainer, nil, plain)
	g.add("CN=Builtin,"+DomainDN, []string{"top", "builtinDomain"}, nil, plain)
	g.add("CN=Computers,"+DomainDN, classContainer, nil, plain)
	g.add("CN=ForeignSecurityPrincipals,"+DomainDN, classContainer, nil, plain)
	g.add("CN=System,"+DomainDN, classContainer, nil, plain)
	g.add("CN=AdminSDHolder,CN=System,"+DomainDN, classContainer, nil, g.descriptor(sdKey{kind: kindProtected}))
	g.add("CN=S-1-5-11,CN=ForeignSecurityPrincipals,"+DomainDN, []string{"top", "foreignSecurityPrincipal"},
		attrs{"objectSid", wire(secdesc.AuthenticatedUsers)}, plain)
	members := map[string][]string{
		"Administrators":              {"CN=Domain Admins,CN=Users," + DomainDN, "CN=Enterprise Admins,CN=Users," + DomainDN, "CN=Administrator,CN=Users," + DomainDN},
		"Users":                       {"CN=Domain Users,CN=Users," + DomainDN, "CN=S-1-5-11,CN=ForeignSecurityPrincipals," + DomainDN},
		"Guests":                      {"CN=Domain Guests,CN=Users," + DomainDN, "CN=Guest,CN=Users," + DomainDN},
		"Domain Admins":               {"CN=Administrator,CN=Users," + DomainDN},
		"Enterprise Admins":           {"CN=Administrator,CN=Users," + DomainDN},
		"Schema Admins":               {"CN=Administrator,CN=Users," + DomainDN},
		"Group Policy Creator Owners": {"CN=Administrator,CN=Users," + DomainDN},
	}
	// The first user accounts are the overpopulation that every forest has.
	for i := range min(40, g.objects/100) {
		who := []string{"Domain Admins", "Domain Admins", "Enterprise Admins", "Administrators", "Account Operators", "Backup Operators"}[i%6]
		members[who] = append(members[who], g.userDN(i))
	}
	if g.power != nil {
		members["Domain Admins"] = append(members["Domain Admins"], g.chainEnds()...)
		members["Server Operators"] = append(members["Server Operators"], g.portalDN())
	}
	for _, w := range wellKnownGroups {
		sid, container := g.domain.Child(w.rid), "CN=Users,"
		if w.kind == builtinGroup {
			sid, container = secdesc.Builtin.Child(w.rid), "CN=Builtin,"
		}
		a := attrs{"objectSid", wire(sid), "sAMAccountName", w.name, "groupType", w.kind, "isCriticalSystemObject", "TRUE"}
		kind := kindGroup
		if protectedRIDs[w.rid] {
			a, kind = append(a, "adminCount", "1"), kindProtected
		}
		for _, m := range members[w.name] {
			a = append(a, "member", m)
		}
		g.add("CN="+w.name+","+container+DomainDN, classGroup, a, g.descriptor(sdKey{kind: kind}))
	}
	g.builtinAccount("Administrator", 500, "66048")
	g.builtinAccount("Guest", 501, "66082")
	g.builtinAccount("krbtgt", 502, "514")
}

func (g *generator) builtinAccount(name string, rid uint32, uac string) {
	a := attrs{
		"objectSid", wire(g.domain.Child(rid)), "sAMAccountName", name, "userAccountControl", uac, "primaryGroupID", "513",
		"pwdLastSet", filetime(g.past(3000)), "isCriticalSystemObject", "TRUE", "accountExpires", "0",
	}
	kind := kindUser
	if protectedRIDs[rid] {
		a, kind = append(a, "adminCount", "1"), kindProtected
	}
	g.add("CN="+name+",CN=Users,"+DomainDN, classUser, a, g.descriptor(sdKey{kind: kind}))
}

// units places the departments: regions, then departments in them.
func (g *generator) units() {
	plain := g.descriptor(sdKey{kind: kindOther})
	n := g.unitCount()
	regions := max(1, min(40, n/8))
	for i := range regions {
		g.add(fmt.Sprintf("OU=Region %02d,%s", i, DomainDN), classOU, attrs{"gPLink", g.gpLink(i)}, plain)
	}
	for i := range n {
		u := unit{dn: unitDN(i, regions), admin: g.nextSID()}
		g.ous = append(g.ous, u)
		a := attrs{"gPLink", g.gpLink(i + 7)}
		if g.one(20) {
			a = append(a, "gPOptions", "1")
		}
		g.add(u.dn, classOU, a, g.descriptor(sdKey{kind: kindOU, unit: i + 1}))
		for _, sub := range []string{"Users", "Workstations", "Servers", "Groups"} {
			var link attrs
			if sub == "Workstations" || sub == "Servers" {
				link = attrs{"gPLink", g.gpLink(i*3 + len(sub))}
			}
			g.add("OU="+sub+","+u.dn, classOU, link, g.descriptor(sdKey{kind: kindOU, unit: i + 1}))
		}
		g.add("CN=Admins of "+strconv.Itoa(i)+",OU=Groups,"+u.dn, classGroup,
			attrs{"objectSid", wire(u.admin), "sAMAccountName", "ou-admins-" + strconv.Itoa(i), "groupType", globalGroup, "member", g.userDN(i * 3)},
			g.descriptor(sdKey{kind: kindGroup, unit: i + 1}))
	}
}

func (g *generator) unitCount() int {
	if g.power != nil {
		return max(4, g.objects/400)
	}
	return max(4, g.objects/600)
}

// dcCount is how many domain controllers there are.
func (g *generator) dcCount() int { return 2 + g.objects/100_000 }

func unitDN(i, regions int) string {
	return fmt.Sprintf("OU=Department %04d,OU=Region %02d,%s", i, i%regions, DomainDN)
}

// userDN returns the name of user i; users are spread over the units.
func (g *generator) userDN(i int) string {
	n := g.unitCount()
	name := fmt.Sprintf("User %07d", i)
	if i%997 == 1 {
		name = fmt.Sprintf("Müller, \u05D0\u05D1 #%d ", i)
	}
	return "CN=" + forest.EscapeRDN(name) + ",OU=Users," + unitDN(i%n, max(1, min(40, n/8)))
}

func (g *generator) accounts() {
	g.add("OU=Domain Controllers,"+DomainDN, classOU, attrs{"gPLink", g.gpLink(1)}, g.descriptor(sdKey{kind: kindOther}))
	for i := range g.dcCount() {
		name := "DC" + strconv.Itoa(i+1)
		g.computer("CN="+name+",OU=Domain Controllers,"+DomainDN, name, "532480", 0)
	}
	for i := range g.objects * 60 / 100 {
		g.user(i)
	}
	for i := range g.objects * 30 / 100 {
		u, name := i%len(g.ous), fmt.Sprintf("PC%07d", i)
		sub := "OU=Workstations,"
		if i%8 == 0 {
			sub, name = "OU=Servers,", fmt.Sprintf("SRV%07d", i)
		}
		g.computer("CN="+name+","+sub+g.ous[u].dn, name, "4096", u+1)
	}
}

func (g *generator) user(i int) {
	u := i % len(g.ous)
	uac := 512
	switch {
	case g.one(12):
		uac |= 2 // disabled
	case g.one(15):
		uac |= 0x10000 // password never expires
	case g.one(300):
		uac |= 0x400000 // no pre-authentication
	}
	name := "user" + strconv.Itoa(i)
	a := attrs{
		"objectSid", wire(g.nextSID()), "sAMAccountName", name, "userPrincipalName", name + "@" + DNS,
		"displayName", "User " + strconv.Itoa(i), "userAccountControl", strconv.Itoa(uac), "primaryGroupID", "513",
		"pwdLastSet", filetime(g.past(900)), "lastLogonTimestamp", filetime(g.past(400)), "accountExpires", "9223372036854775807",
		"sAMAccountType", "805306368", "instanceType", "4",
	}
	key := sdKey{kind: kindUser, unit: u + 1}
	switch {
	case i < 40:
		a, key = append(a, "adminCount", "1"), sdKey{kind: kindProtected}
	case g.one(20):
		key.variant = 1 + g.r.IntN(8)
	}
	if i%50 == 7 {
		a = append(a, "servicePrincipalName", "http/"+name+"."+DNS)
	}
	g.add(g.userDN(i), classUser, a, g.extra(key))
	g.users = append(g.users, g.userDN(i))
}

func (g *generator) computer(dn, name, uac string, unit int) {
	host := name + "." + DNS
	os := []string{"Windows 11 Enterprise", "Windows 10 Enterprise", "Windows Server 2022 Standard", "Windows Server 2012 R2 Standard"}[g.r.IntN(4)]
	primary := "515"
	if uac == "532480" {
		primary = "516"
	}
	a := attrs{
		"objectSid", wire(g.nextSID()), "sAMAccountName", name + "$", "dNSHostName", host, "userAccountControl", uac,
		"primaryGroupID", primary, "operatingSystem", os, "operatingSystemVersion", "10.0 (22631)",
		"pwdLastSet", filetime(g.past(60)), "lastLogonTimestamp", filetime(g.past(120)), "sAMAccountType", "805306369",
		"servicePrincipalName", "HOST/" + host, "servicePrincipalName", "HOST/" + name, "instanceType", "4",
	}
	if !g.one(5) {
		a = append(a, "msLAPS-PasswordExpirationTime", filetime(finished.AddDate(0, 0, g.r.IntN(30))))
	}
	key := sdKey{kind: kindComputer, unit: unit, variant: g.r.IntN(2)}
	if v := g.power.variety(20, 6); v > 0 {
		key.variant += 1 + v
	}
	g.add(dn, classComputer, a, g.extra(key))
}

// nestedGroups makes groups in layers: those of a layer contain groups of the
// layer below and users; sizes follow Zipf's law.
func (g *generator) nestedGroups() {
	n := g.objects * 8 / 100
	if n == 0 || len(g.users) == 0 {
		return
	}
	zipf := rand.NewZipf(g.r, 1.9, 6, uint64(max(20, min(len(g.users)/2, 50_000))))
	var ranks []int
	if g.power != nil {
		ranks = g.power.r.Perm(n)
	}
	for i := range n {
		layer := i * depth / n
		u := g.r.IntN(len(g.ous))
		dn := fmt.Sprintf("CN=Group %06d,OU=Groups,%s", i, g.ous[u].dn)
		a := attrs{
			"objectSid", wire(g.nextSID()), "sAMAccountName", "group" + strconv.Itoa(i),
			"groupType", []string{globalGroup, domainLocalGroup, universalGroup}[i%3], "sAMAccountType", "268435456", "instanceType", "4",
		}
		var size int
		if g.power != nil {
			size = g.power.sizes[ranks[i]]
		} else {
			size = 1 + int(zipf.Uint64())
		}
		for range size {
			a = append(a, "member", g.users[g.r.IntN(len(g.users))])
		}
		below := (layer - 1) * n / depth
		for range g.r.IntN(4) {
			if width := n/depth - 1; layer > 0 && below+width < len(g.groups) && width > 0 {
				a = append(a, "member", g.groups[below+g.r.IntN(width)])
			}
		}
		g.add(dn, classGroup, a, g.extra(sdKey{kind: kindGroup, unit: u + 1, variant: g.power.variety(4, 8)}))
		g.groups = append(g.groups, dn)
	}
}
