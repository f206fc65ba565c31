package reach_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A wildForest is the plan of a small forest in which everybody may do something
// to somebody, and is denied something else.
type wildForest struct {
	objects    []wildObject
	blockOwner bool // dSHeuristics sets BlockOwnerImplicitRights
}

// A wildObject is one object of a plan. Others name it by its name.
type wildObject struct {
	name    string
	classes string
	parent  string // "" for the heads
	domain  int
	sid     secdesc.SID
	attrs   []string // name=value
	members []string
	fsps    []secdesc.SID
	history []secdesc.SID
	fixed   bool   // every forest has it
	home    string // name in the forest as it was planned first, if it may be moved

	owner     secdesc.SID
	null      bool
	protected bool
	aces      []secdesc.ACE // explicit
	readers   []secdesc.ACE // msDS-GroupMSAMembership
}

var (
	wildDomains = [...]secdesc.SID{secdesc.MustSID("S-1-5-21-1-2-3"), secdesc.MustSID("S-1-5-21-4-5-6")}
	wildHeads   = [...]string{"DC=a", "DC=b,DC=a"}
	elsewhere   = secdesc.MustSID("S-1-5-21-7-7-7-1234") // a principal of no domain of the forest
)

const (
	userClasses     = "top person organizationalPerson user"
	computerClasses = userClasses + " computer"
)

// wildClasses, wildAttrs are the schema: names with their GUID and, of attributes,
// property set and searchFlags.
var (
	wildClasses = [][2]string{
		{"domainDNS", "19195a5b-6da0-11d0-afd3-00c04fd930c9"},
		{"organizationalUnit", "bf967aa5-0de6-11d0-a285-00aa003049e2"},
		{"container", "bf967a8b-0de6-11d0-a285-00aa003049e2"},
		{"user", "bf967aba-0de6-11d0-a285-00aa003049e2"},
		{"inetOrgPerson", "4828cc14-1437-45bc-9b07-ad6f015e5f28"},
		{"computer", "bf967a86-0de6-11d0-a285-00aa003049e2"},
		{"group", "bf967a9c-0de6-11d0-a285-00aa003049e2"},
		{"msDS-GroupManagedServiceAccount", "7b8b558a-93a5-4af7-adca-c017e67f1057"},
	}
	wildAttrs = [][4]string{
		{"member", refGUIDMember, "bc0ac240-79a9-11d0-9020-00c04fc2d4cf", "0"},
		{"gPLink", "f30e3bbe-9ff0-11d1-b603-0000f80367c1", "", "0"},
		{"msDS-KeyCredentialLink", "5b47d60f-6090-40b2-9f37-2a4de88f3063", "9b026da6-0d3c-465c-8bee-5199d7165cba", "0"},
		{"msDS-AllowedToActOnBehalfOfOtherIdentity", "3f78c3e5-f79a-46bd-a0b8-9d18116ddc79", "4c164200-20c0-11d0-a768-00aa006e0529", "0"},
		{"userAccountControl", "bf967a68-0de6-11d0-a285-00aa003049e2", "4c164200-20c0-11d0-a768-00aa006e0529", "0"},
		{"servicePrincipalName", "f3a64788-5306-11d1-a9c5-0000f80367c1", "e48d0154-bcf8-11d1-8702-00c04fb96050", "0"},
		{"scriptPath", "bf9679a8-0de6-11d0-a285-00aa003049e2", "5f202010-79a5-11d0-9020-00c04fc2d4cf", "0"},
		{"msDS-GroupMSAMembership", "888eedd6-ce04-df40-b462-b8a50e41ba38", "", "0"},
		{"ms-Mcs-AdmPwd", "11111111-aaaa-4bbb-8ccc-000000000001", "", "904"},
	}
	// wildRights are what entries are about: rights and object type.
	wildRights = []struct {
		mask secdesc.Mask
		typ  string
	}{
		{secdesc.WriteDAC, ""},
		{secdesc.WriteOwner, ""},
		{secdesc.FullControl, ""},
		{secdesc.GenericAll, ""},
		{secdesc.GenericWrite, ""},
		{secdesc.WriteDAC | secdesc.WriteOwner, ""},
		{secdesc.WriteDAC, "bf967a9c-0de6-11d0-a285-00aa003049e2"},
		{secdesc.WriteProperty, ""},
		{secdesc.WriteProperty, refGUIDMember},
		{secdesc.WriteProperty, "bc0ac240-79a9-11d0-9020-00c04fc2d4cf"},
		{secdesc.WriteProperty, "bf967a9c-0de6-11d0-a285-00aa003049e2"},
		{secdesc.SelfWrite, refGUIDMember},
		{secdesc.SelfWrite, ""},
		{secdesc.ControlAccess, ""},
		{secdesc.ControlAccess, refGUIDReset},
		{secdesc.ControlAccess, refGUIDChanges},
		{secdesc.ControlAccess, refGUIDAll},
		{secdesc.WriteProperty, "5b47d60f-6090-40b2-9f37-2a4de88f3063"},
		{secdesc.WriteProperty, "4c164200-20c0-11d0-a768-00aa006e0529"},
		{secdesc.WriteProperty, "e48d0154-bcf8-11d1-8702-00c04fb96050"},
		{secdesc.WriteProperty, "f30e3bbe-9ff0-11d1-b603-0000f80367c1"},
		{secdesc.WriteProperty, "888eedd6-ce04-df40-b462-b8a50e41ba38"},
		{secdesc.ReadProperty, ""},
		{secdesc.ReadProperty | secdesc.ControlAccess, "11111111-aaaa-4bbb-8ccc-000000000001"},
		{secdesc.ReadProperty, "11111111-aaaa-4bbb-8ccc-000000000001"},
		{secdesc.ControlAccess, "11111111-aaaa-4bbb-8ccc-000000000001"},
		{secdesc.ReadControl | secdesc.Delete | secdesc.ListContents, ""},
	}
)

// newWildForest plans a forest from a seed.
func newWildForest(seed uint64) *wildForest {
	m := &wildMaker{r: rand.New(rand.NewPCG(seed, 1)), f: &wildForest{}}
	m.f.blockOwner = m.one(4)
	for d := range 1 + m.r.IntN(2) {
		m.skeleton(d)
	}
	m.population()
	m.memberships()
	for i := range m.f.objects {
		m.descriptor(&m.f.objects[i])
	}
	for range 1 + m.r.IntN(3) {
		m.contest()
	}
	return m.f
}

// contest gives some object what groups may do and others are denied: what counts
// then is who can come to hold the one and not the other, or both of two.
func (m *wildMaker) contest() {
	groups := m.named("top group", false)
	if len(groups) == 0 {
		return
	}
	pick := func() secdesc.SID { return groups[m.r.IntN(len(groups))].sid }
	targets := []string{"DA0", "DC=a", "AdminSDHolder", groups[m.r.IntN(len(groups))].name}
	target := targets[m.r.IntN(len(targets))]
	i := slices.IndexFunc(m.f.objects, func(o wildObject) bool { return o.name == target })
	o := &m.f.objects[i]
	var list []secdesc.ACE
	for range m.r.IntN(3) {
		deny := m.entry()
		deny.SID, deny.Flags = pick(), 0
		if deny.IsAllow() {
			deny.Type++
		}
		if m.one(2) {
			deny = secdesc.ACE{Type: secdesc.Deny, Mask: secdesc.FullControl, SID: deny.SID}
			if m.one(4) {
				deny.SID = secdesc.Everyone
			}
		}
		list = append(list, deny)
	}
	if o.name == "DC=a" {
		for _, right := range []string{refGUIDChanges, refGUIDAll} {
			list = append(list, secdesc.ACE{Type: secdesc.AllowObject, Mask: secdesc.ControlAccess, SID: pick(), ObjectType: secdesc.MustGUID(right)})
		}
	} else {
		list = append(list, secdesc.ACE{Type: secdesc.Allow, Mask: []secdesc.Mask{secdesc.FullControl, secdesc.WriteDAC, secdesc.GenericWrite}[m.r.IntN(3)], SID: pick()})
	}
	o.aces = append(list, o.aces...)
	// Somebody can add members, or itself, to one of the groups.
	of := list[m.r.IntN(len(list))].SID
	g := slices.IndexFunc(m.f.objects, func(o wildObject) bool { return o.sid == of })
	if g < 0 {
		return
	}
	mask := []secdesc.Mask{secdesc.WriteProperty, secdesc.SelfWrite}[m.r.IntN(2)]
	m.f.objects[g].aces = append(m.f.objects[g].aces, secdesc.ACE{
		Type: secdesc.AllowObject, Mask: mask, SID: m.trustee(), ObjectType: secdesc.MustGUID(refGUIDMember),
	})
}

// named returns the objects of the forest's own that have the classes.
func (m *wildMaker) named(classes string, fixed bool) []wildObject {
	var out []wildObject
	for _, o := range m.f.objects {
		if o.classes == classes && o.fixed == fixed {
			out = append(out, o)
		}
	}
	return out
}

// undenied is the forest without entries that deny.
func (f *wildForest) undenied() *wildForest {
	c := &wildForest{blockOwner: f.blockOwner, objects: slices.Clone(f.objects)}
	for i := range c.objects {
		c.objects[i].aces = slices.DeleteFunc(slices.Clone(c.objects[i].aces), secdesc.ACE.IsDeny)
		c.objects[i].readers = slices.DeleteFunc(slices.Clone(c.objects[i].readers), secdesc.ACE.IsDeny)
	}
	return c
}

type wildMaker struct {
	r *rand.Rand
	f *wildForest
}

func (m *wildMaker) one(n int) bool { return m.r.IntN(n) == 0 }

func (m *wildMaker) add(o wildObject) {
	o.owner = secdesc.Administrators
	m.f.objects = append(m.f.objects, o)
}

// skeleton is what every domain has.
func (m *wildMaker) skeleton(d int) {
	head := wildHeads[d]
	tag := strconv.Itoa(d)
	fixed := func(name, classes, parent string, rid uint32, attrs ...string) {
		o := wildObject{name: name, classes: classes, parent: parent, domain: d, attrs: attrs, fixed: true}
		if rid != 0 {
			o.sid = wildDomains[d].Child(rid)
		}
		if rid == 544 {
			o.sid = secdesc.Administrators
		}
		m.add(o)
	}
	m.add(wildObject{name: head, classes: "top domain domainDNS", domain: d, sid: wildDomains[d], attrs: []string{"instanceType=5"}, fixed: true})
	fixed("System"+tag, "top container", head, 0)
	fixed("AdminSDHolder", "top container", "System"+tag, 0)
	global := fmt.Sprintf("groupType=%d", globalGroup)
	fixed("Administrators"+tag, "top group", "System"+tag, 544, fmt.Sprintf("groupType=%d", localGroup))
	fixed("DA"+tag, "top group", "System"+tag, 512, global)
	fixed("DCs"+tag, "top group", "System"+tag, 516, global)
	fixed("Administrator"+tag, userClasses, "System"+tag, 500, "userAccountControl=512")
	fixed("krbtgt"+tag, userClasses, "System"+tag, 502, "userAccountControl=514")
	fixed("DC"+tag, computerClasses, "System"+tag, 1000, "userAccountControl=532480", "primaryGroupID=516")
	m.member("Administrators"+tag, "DA"+tag)
	m.member("DA"+tag, "Administrator"+tag)
}

func (m *wildMaker) member(group, member string) {
	i := slices.IndexFunc(m.f.objects, func(o wildObject) bool { return o.name == group })
	o := &m.f.objects[i]
	if !slices.Contains(o.members, member) {
		o.members = append(o.members, member)
	}
}

// population adds units, users, computers, service accounts and groups.
func (m *wildMaker) population() {
	domains := 1
	if slices.ContainsFunc(m.f.objects, func(o wildObject) bool { return o.domain == 1 }) {
		domains = 2
	}
	containers := [2][]string{{wildHeads[0]}, {wildHeads[1]}}
	rid := uint32(1100)
	add := func(name, classes string, attrs ...string) {
		d := m.r.IntN(domains)
		o := wildObject{name: name, classes: classes, domain: d, parent: containers[d][m.r.IntN(len(containers[d]))], attrs: attrs}
		if !strings.Contains(classes, "Unit") {
			rid++
			o.sid = wildDomains[d].Child(rid)
		} else {
			containers[d] = append(containers[d], name)
		}
		m.add(o)
	}
	for i := range 1 + m.r.IntN(4) {
		add("ou"+strconv.Itoa(i), "top organizationalUnit")
	}
	for i := range 3 + m.r.IntN(6) {
		uac := []string{"512", "512", "512", "514", "262656"}[m.r.IntN(5)]
		classes := userClasses
		if m.one(8) {
			classes += " inetOrgPerson"
		}
		add("u"+strconv.Itoa(i), classes, "userAccountControl="+uac)
	}
	for i := range m.r.IntN(3) {
		add("pc"+strconv.Itoa(i), computerClasses, "userAccountControl=4096")
	}
	for i := range m.r.IntN(2) {
		add("gmsa"+strconv.Itoa(i), computerClasses+" msDS-GroupManagedServiceAccount", "userAccountControl=4096")
	}
	for i := range 2 + m.r.IntN(7) {
		kind := []int32{globalGroup, globalGroup, localGroup, universalGroup, universalGroup, globalGroup & 0x7fffffff}[m.r.IntN(6)]
		add("g"+strconv.Itoa(i), "top group", fmt.Sprintf("groupType=%d", kind))
	}
}

// memberships nests groups as the directory allows it, gives some accounts another
// primary group, and some a SID history.
func (m *wildMaker) memberships() {
	objects := m.f.objects
	for i := range objects {
		o := &objects[i]
		if o.sid.IsZero() || o.parent == "" {
			continue
		}
		if m.one(8) && !o.fixed {
			o.history = append(o.history, m.past())
		}
		for range m.r.IntN(3) {
			if g := &objects[m.r.IntN(len(objects))]; g.classes == "top group" && g.mayHold(o) && (!g.fixed || m.one(6)) {
				m.member(g.name, o.name)
			}
		}
		if g := &objects[m.r.IntN(len(objects))]; o.classes != "top group" && g.groupType() == globalGroup && g.domain == o.domain && !g.fixed && m.one(3) {
			rid, _ := g.sid.RID()
			o.attrs = append(slices.DeleteFunc(o.attrs, func(a string) bool { return strings.HasPrefix(a, "primaryGroupID=") }), fmt.Sprintf("primaryGroupID=%d", rid))
		}
	}
	if g := &objects[m.r.IntN(len(objects))]; g.groupType() == localGroup && m.one(2) {
		g.fsps = append(g.fsps, []secdesc.SID{secdesc.AuthenticatedUsers, elsewhere}[m.r.IntN(2)])
	}
}

// past is a SID of the past: of nobody, or of a group or account that is there.
func (m *wildMaker) past() secdesc.SID {
	o := &m.f.objects[m.r.IntN(len(m.f.objects))]
	if m.one(2) || o.sid.IsZero() || o.parent == "" || o.fixed {
		return elsewhere
	}
	return o.sid
}

func (o *wildObject) groupType() int32 {
	for _, a := range o.attrs {
		if v, ok := strings.CutPrefix(a, "groupType="); ok {
			n, _ := strconv.ParseInt(v, 10, 64)
			return int32(n)
		}
	}
	return 0
}

// mayHold reports whether o may be a member of group g by the rules of scope.
func (g *wildObject) mayHold(o *wildObject) bool {
	switch {
	case g.name == o.name:
		return false
	case o.groupType() == localGroup:
		return g.groupType() == localGroup && g.domain == o.domain
	case g.groupType() == globalGroup:
		return g.domain == o.domain && o.groupType() != universalGroup
	}
	return true
}

// trustee picks whom an entry names.
func (m *wildMaker) trustee() secdesc.SID {
	switch m.r.IntN(14) {
	case 0:
		return []secdesc.SID{secdesc.Everyone, secdesc.AuthenticatedUsers}[m.r.IntN(2)]
	case 1:
		return []secdesc.SID{secdesc.Self, secdesc.OwnerRights, secdesc.CreatorOwner, secdesc.System}[m.r.IntN(4)]
	case 2:
		return []secdesc.SID{secdesc.OwnerRights, elsewhere, secdesc.EnterpriseDomainControllers}[m.r.IntN(3)]
	}
	for {
		if o := m.f.objects[m.r.IntN(len(m.f.objects))]; !o.sid.IsZero() && o.parent != "" && (!o.fixed || m.one(4)) {
			return o.sid
		}
	}
}

func (m *wildMaker) entry() secdesc.ACE {
	what := wildRights[m.r.IntN(len(wildRights))]
	a := secdesc.ACE{Type: secdesc.Allow, Mask: what.mask, SID: m.trustee()}
	if a.SID == secdesc.Everyone || a.SID == secdesc.AuthenticatedUsers {
		if m.one(2) {
			a.Type = secdesc.Deny
		}
	} else if m.one(3) {
		a.Type = secdesc.Deny
	}
	if what.typ != "" {
		a.Type += secdesc.AllowObject - secdesc.Allow
		a.ObjectType = secdesc.MustGUID(what.typ)
	}
	a.Flags = []secdesc.ACEFlags{0, 0, 0, secdesc.ContainerInherit, secdesc.ContainerInherit, secdesc.ContainerInherit | secdesc.InheritOnly, secdesc.ContainerInherit | secdesc.NoPropagateInherit}[m.r.IntN(7)]
	if a.Flags != 0 && m.one(2) {
		if what.typ == "" {
			a.Type += secdesc.AllowObject - secdesc.Allow
		}
		a.InheritedObjectType = secdesc.MustGUID(wildClasses[3+m.r.IntN(4)][1])
	}
	if m.one(12) {
		a.Type += secdesc.AllowCallback - secdesc.Allow
		if a.Type >= secdesc.DenyCallback+2 {
			a.Type = map[bool]secdesc.ACEType{true: secdesc.DenyCallbackObject, false: secdesc.AllowCallbackObject}[a.Type == secdesc.DenyObject+9]
		}
		c, err := secdesc.ParseCondition(`(@User.team == "ops")`, wildDomains[0], wildDomains[0])
		if err != nil {
			panic(err)
		}
		a.Data = c.Bytes()
	}
	return a
}

func (m *wildMaker) descriptor(o *wildObject) {
	n := max(0, m.r.IntN(5)-2)
	if o.fixed {
		n = max(0, m.r.IntN(8)-6)
	}
	for range n {
		o.aces = append(o.aces, m.entry())
	}
	if m.one(2) { // as tools write it: denials first
		slices.SortStableFunc(o.aces, func(a, b secdesc.ACE) int {
			return map[bool]int{true: 0, false: 1}[a.IsDeny()] - map[bool]int{true: 0, false: 1}[b.IsDeny()]
		})
	}
	if !o.fixed {
		if m.one(3) {
			o.owner = m.trustee()
		}
		o.null = m.one(50)
		o.protected = m.one(6)
	} else if strings.Contains(o.classes, "group") || o.name == "AdminSDHolder" || strings.Contains(o.classes, "user") {
		o.protected = true
	}
	if strings.HasSuffix(o.classes, "GroupManagedServiceAccount") {
		for range m.r.IntN(3) {
			a := secdesc.ACE{Type: secdesc.Allow, Mask: secdesc.FullControl, SID: m.trustee()}
			if m.one(4) {
				a.Type = secdesc.Deny
			}
			o.readers = append(o.readers, a)
		}
	}
}

// dn returns the name of an object of the plan.
func (f *wildForest) dn(name string) string {
	for i := range f.objects {
		o := &f.objects[i]
		switch {
		case o.name != name:
		case o.parent == "":
			return o.name
		case strings.Contains(o.classes, "organizationalUnit"):
			return "OU=" + name + "," + f.dn(o.parent)
		case strings.HasPrefix(name, "System"):
			return "CN=System," + f.dn(o.parent)
		default:
			return "CN=" + name + "," + f.dn(o.parent)
		}
	}
	return ""
}

// dnOf is dn for names that several domains have.
func (f *wildForest) dnOf(o *wildObject) string {
	if o.name == "AdminSDHolder" {
		return "CN=AdminSDHolder," + f.dn(o.parent)
	}
	return f.dn(o.name)
}

func (f *wildForest) classGUID(o *wildObject) []secdesc.GUID {
	class := o.classes[strings.LastIndexByte(o.classes, ' ')+1:]
	for _, c := range wildClasses {
		if c[0] == class {
			return []secdesc.GUID{secdesc.MustGUID(c[1])}
		}
	}
	return nil
}

// build makes the snapshot; what containers hand down is computed as a domain
// controller does.
func (f *wildForest) build(t testing.TB) *forest.Snapshot {
	w := &world{t, forest.NewBuilder(forest.Info{Started: start})}
	w.b.Collected(forest.Attrs()...)
	none := string((&secdesc.Descriptor{
		Control: secdesc.SelfRelative | secdesc.DACLPresent | secdesc.DACLProtected, Owner: secdesc.Administrators, DACL: &secdesc.ACL{Revision: secdesc.ACLRevisionDS},
	}).Bytes())
	w.add("CN=Configuration,DC=a", "top configuration", secdesc.SID{}, "instanceType=13", "nTSecurityDescriptor="+none)
	services := "CN=Services,CN=Configuration,DC=a"
	heuristics := "dSHeuristics=0000000001000000000200000000"
	if f.blockOwner {
		heuristics += "1"
	}
	w.add(services, "top container", secdesc.SID{}, "nTSecurityDescriptor="+none)
	w.add("CN=Directory Service,"+services, "top nTDSService", secdesc.SID{}, heuristics, "nTSecurityDescriptor="+none)
	schema := "CN=Schema,CN=Configuration,DC=a"
	w.add(schema, "top dMD", secdesc.SID{}, "instanceType=13", "nTSecurityDescriptor="+none)
	binary := func(text string) string { g := secdesc.MustGUID(text); return string(g[:]) }
	for _, c := range wildClasses {
		w.add("CN="+c[0]+","+schema, "top classSchema", secdesc.SID{}, "lDAPDisplayName="+c[0], "schemaIDGUID="+binary(c[1]), "nTSecurityDescriptor="+none)
	}
	for _, a := range wildAttrs {
		attrs := []string{"lDAPDisplayName=" + a[0], "schemaIDGUID=" + binary(a[1]), "searchFlags=" + a[3], "nTSecurityDescriptor=" + none}
		if a[2] != "" {
			attrs = append(attrs, "attributeSecurityGUID="+binary(a[2]))
		}
		w.add("CN="+a[0]+","+schema, "top attributeSchema", secdesc.SID{}, attrs...)
	}
	fsp := "CN=ForeignSecurityPrincipals,DC=a"
	w.add(fsp, "top container", secdesc.SID{}, "nTSecurityDescriptor="+none)
	for _, sid := range []secdesc.SID{secdesc.AuthenticatedUsers, elsewhere} {
		w.add("CN="+sid.String()+","+fsp, "top foreignSecurityPrincipal", sid, "nTSecurityDescriptor="+none)
	}
	descs := map[string]*secdesc.Descriptor{}
	for i := range f.objects {
		o := &f.objects[i]
		d := f.describe(o, descs[f.dn(o.parent)])
		descs[f.dnOf(o)] = d
		attrs := append(slices.Clone(o.attrs), "nTSecurityDescriptor="+string(d.Bytes()))
		for _, m := range o.members {
			attrs = append(attrs, "member="+f.dn(m))
		}
		for _, sid := range o.fsps {
			attrs = append(attrs, "member=CN="+sid.String()+","+fsp)
		}
		for _, sid := range o.history {
			attrs = append(attrs, "sIDHistory="+string(sid.Bytes()))
		}
		if len(o.readers) > 0 {
			attrs = append(attrs, "msDS-GroupMSAMembership="+string((&secdesc.Descriptor{
				Control: secdesc.SelfRelative | secdesc.DACLPresent, Owner: secdesc.Administrators,
				DACL: &secdesc.ACL{Revision: secdesc.ACLRevisionDS, ACEs: o.readers},
			}).Bytes()))
		}
		w.add(f.dnOf(o), o.classes, o.sid, attrs...)
	}
	s, err := w.b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (f *wildForest) describe(o *wildObject, parent *secdesc.Descriptor) *secdesc.Descriptor {
	d := &secdesc.Descriptor{Control: secdesc.SelfRelative | secdesc.DACLPresent, Owner: o.owner, Group: secdesc.Administrators}
	if o.protected {
		d.Control |= secdesc.DACLProtected
	}
	if o.null {
		return d
	}
	d.DACL = &secdesc.ACL{Revision: secdesc.ACLRevisionDS, ACEs: slices.Clone(o.aces)}
	if parent != nil && parent.DACL == nil { // NULL hands nothing down
		parent = nil
	}
	return secdesc.Propagate(parent, d, f.classGUID(o))
}

// String spells the plan out.
func (f *wildForest) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "block owner %v\n", f.blockOwner)
	descs := map[string]*secdesc.Descriptor{}
	for i := range f.objects {
		o := &f.objects[i]
		d := f.describe(o, descs[f.dn(o.parent)])
		descs[f.dnOf(o)] = d
		if o.fixed && len(o.aces) == 0 && len(o.members) < 2 && len(o.history)+len(o.fsps) == 0 && len(d.SDDL(secdesc.SID{})) < 14 {
			continue
		}
		fmt.Fprintf(&b, "%s [%s] %s %v members %v %v history %v\n    %s\n", f.dnOf(o), o.classes[strings.LastIndexByte(o.classes, ' ')+1:], o.sid, o.attrs, o.members, o.fsps, o.history, d.SDDL(secdesc.SID{}))
		for _, a := range o.readers {
			fmt.Fprintf(&b, "    reader %s\n", a.SDDL(secdesc.SID{}))
		}
	}
	return b.String()
}

// without returns the plans that have one thing less.
func (f *wildForest) without() []*wildForest {
	var out []*wildForest
	change := func(edit func(c *wildForest)) {
		c := &wildForest{blockOwner: f.blockOwner, objects: slices.Clone(f.objects)}
		for i := range c.objects {
			o := &c.objects[i]
			o.members, o.history, o.fsps = slices.Clone(o.members), slices.Clone(o.history), slices.Clone(o.fsps)
			o.aces, o.readers, o.attrs = slices.Clone(o.aces), slices.Clone(o.readers), slices.Clone(o.attrs)
		}
		edit(c)
		out = append(out, c)
	}
	for i := range f.objects {
		o := &f.objects[i]
		if !o.fixed && !slices.ContainsFunc(f.objects, func(x wildObject) bool { return x.parent == o.name }) {
			change(func(c *wildForest) {
				c.objects = slices.Delete(c.objects, i, i+1)
				for k := range c.objects {
					c.objects[k].members = slices.DeleteFunc(c.objects[k].members, func(m string) bool { return m == o.name })
				}
			})
		}
		for k := range o.aces {
			change(func(c *wildForest) { c.objects[i].aces = slices.Delete(c.objects[i].aces, k, k+1) })
			if o.aces[k].Flags != 0 {
				change(func(c *wildForest) { c.objects[i].aces[k].Flags = 0 })
			}
		}
		for k := range o.members {
			change(func(c *wildForest) { c.objects[i].members = slices.Delete(c.objects[i].members, k, k+1) })
		}
		for k := range o.readers {
			change(func(c *wildForest) { c.objects[i].readers = slices.Delete(c.objects[i].readers, k, k+1) })
		}
		if len(o.history)+len(o.fsps) > 0 {
			change(func(c *wildForest) { c.objects[i].history, c.objects[i].fsps = nil, nil })
		}
		if o.owner != secdesc.Administrators {
			change(func(c *wildForest) { c.objects[i].owner = secdesc.Administrators })
		}
		if o.protected && !o.fixed {
			change(func(c *wildForest) { c.objects[i].protected = false })
		}
		if len(o.attrs) > 1 && !o.fixed {
			change(func(c *wildForest) { c.objects[i].attrs = c.objects[i].attrs[:1] })
		}
	}
	if f.blockOwner {
		change(func(c *wildForest) { c.blockOwner = false })
	}
	return out
}
