//go:build linux

package reach_test

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"unicode/utf16"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A grove is a small random forest below one organizational unit of a lab: users
// who log on, nested groups, containers and objects of many classes whose
// descriptors are random. The same number gives the same grove.
type grove struct {
	n      int
	rng    *rand.Rand
	root   string // DN
	schema *forest.Schema
	domain secdesc.SID

	actors  []string // sAMAccountName of the users who log on
	people  []groveObject
	objects []groveObject
	sids    []secdesc.SID // of people
}

type groveObject struct {
	dn, class, parent string // class of the object and of its container
}

// A groveChange is one write into the database of a domain controller.
type groveChange struct {
	DN    string              `json:"dn"`
	New   bool                `json:"new"`
	Attrs map[string][]string `json:"attrs"` // values in base64
}

const (
	groveActors  = 20
	groveGroups  = 14
	groveFolders = 15
	groveLeaves  = 70
)

// What stands below which container ([MS-ADSC]: possible superiors).
var groveClasses = map[string][]string{
	"organizationalUnit": {"user", "user", "group", "group", "computer", "computer", "contact", "inetOrgPerson", "printQueue", "serviceConnectionPoint", "volume"},
	"container":          {"user", "group", "computer", "contact", "groupPolicyContainer", "pKICertificateTemplate", "inetOrgPerson", "serviceConnectionPoint", "classStore", "nTFRSSettings"},
}

func newGrove(n int, base string, schema *forest.Schema, domain secdesc.SID) *grove {
	return &grove{
		n: n, rng: rand.New(rand.NewPCG(uint64(n), 20261121)), schema: schema, domain: domain,
		root: fmt.Sprintf("OU=grove%d,%s", n, base),
	}
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func groveAdd(dn, class string, attrs ...string) groveChange {
	c := groveChange{DN: dn, New: true, Attrs: map[string][]string{"objectClass": {b64(class)}}}
	for i := 0; i < len(attrs); i += 2 {
		c.Attrs[attrs[i]] = append(c.Attrs[attrs[i]], b64(attrs[i+1]))
	}
	return c
}

// plant makes the containers, the users who log on and the groups.
func (g *grove) plant(password string) []groveChange {
	home := "OU=people," + g.root
	out := []groveChange{groveAdd(g.root, "organizationalUnit"), groveAdd(home, "organizationalUnit")}
	var dns []string
	for i := range groveActors {
		name := fmt.Sprintf("gr%d-u%d", g.n, i)
		dn := "CN=" + name + "," + home
		out = append(out, groveAdd(dn, "user", "sAMAccountName", name, "userAccountControl", "512", "unicodePwd", quotedPassword(password)))
		g.actors = append(g.actors, name)
		g.people = append(g.people, groveObject{dn, "user", "organizationalUnit"})
		dns = append(dns, dn)
	}
	for i := range groveGroups {
		name := fmt.Sprintf("gr%d-g%d", g.n, i)
		dn := "CN=" + name + "," + home
		kind := groupKinds[i%len(groupKinds)]
		add := groveAdd(dn, "group", "sAMAccountName", name, "groupType", fmt.Sprint(kind))
		members := map[string]bool{}
		for range 2 + g.rng.IntN(4) {
			members[dns[g.rng.IntN(groveActors)]] = true
		}
		for j := range i { // those before it, where scopes allow it
			from := groupKinds[j%len(groupKinds)]
			if g.rng.IntN(4) == 0 && (kind == localGroup || from == kind && from != distribution) {
				members[dns[groveActors+j]] = true
			}
		}
		for m := range members {
			add.Attrs["member"] = append(add.Attrs["member"], b64(m))
		}
		slices.Sort(add.Attrs["member"])
		out = append(out, add)
		g.people = append(g.people, groveObject{dn, "group", "organizationalUnit"})
		dns = append(dns, dn)
	}
	return out
}

// quotedPassword is the form of unicodePwd.
func quotedPassword(pw string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(`"` + pw + `"`)) {
		b = append(b, byte(u), byte(u>>8))
	}
	return string(b)
}

// grow makes everything else, with random descriptors, once the identifiers of the
// people are known. Containers come before what they hold, so that the directory
// computes what is inherited.
func (g *grove) grow(sids []secdesc.SID) []groveChange {
	g.sids = sids
	out := []groveChange{g.describe("OU=people,"+g.root, "organizationalUnit")}
	g.objects = append(g.objects, groveObject{"OU=people," + g.root, "organizationalUnit", "organizationalUnit"})
	for _, p := range g.people {
		if g.rng.IntN(3) > 0 {
			out = append(out, g.describe(p.dn, p.class))
		}
	}
	folders := []groveObject{{g.root, "organizationalUnit", ""}}
	for i := range groveFolders {
		in := folders[g.rng.IntN(len(folders))]
		class, rdn := "container", "CN"
		if in.class == "organizationalUnit" && g.rng.IntN(3) > 0 {
			class, rdn = "organizationalUnit", "OU"
		}
		dn := fmt.Sprintf("%s=f%d,%s", rdn, i, in.dn)
		folders = append(folders, groveObject{dn, class, in.class})
		out = append(out, g.new(dn, class))
	}
	for i := range groveLeaves {
		in := folders[g.rng.IntN(len(folders))]
		class := g.leafClass(in.class)
		dn := fmt.Sprintf("CN=o%d,%s", i, in.dn)
		g.objects = append(g.objects, groveObject{dn, class, in.class})
		var attrs []string
		switch class {
		case "user", "inetOrgPerson", "group":
			attrs = []string{"sAMAccountName", fmt.Sprintf("gr%d-o%d", g.n, i)}
			if class != "group" {
				attrs = append(attrs, "unixUserPassword", "confidential", "userAccountControl", "512", "unicodePwd", quotedPassword("Lw1-"+fmt.Sprint(g.rng.Uint64())))
			}
		case "computer":
			attrs = []string{"sAMAccountName", fmt.Sprintf("GR%d-O%d$", g.n, i), "userAccountControl", "4096"}
		case "printQueue":
			attrs = []string{"uNCName", `\\x\y`, "serverName", "x", "shortServerName", "x", "printerName", "y", "versionNumber", "1"}
		case "volume":
			attrs = []string{"uNCName", `\\x\y`}
		}
		out = append(out, g.new(dn, class, attrs...))
	}
	g.objects = append(g.objects, folders[1:]...)
	g.objects = append(g.objects, g.people...)
	return out
}

// leafClass picks a class that the schema admits below a container of class in.
func (g *grove) leafClass(in string) string {
	for {
		class := groveClasses[in][g.rng.IntN(len(groveClasses[in]))]
		if slices.ContainsFunc(g.schema.AllowedChildren(in), func(c *forest.ClassDef) bool { return c.Name == class }) {
			return class
		}
	}
}

func (g *grove) new(dn, class string, attrs ...string) groveChange {
	c := groveAdd(dn, class, attrs...)
	c.Attrs["nTSecurityDescriptor"] = g.descriptor(class)
	return c
}

func (g *grove) describe(dn, class string) groveChange {
	return groveChange{DN: dn, Attrs: map[string][]string{"nTSecurityDescriptor": g.descriptor(class)}}
}

// descriptor makes a random one. Its first entry lets everybody look.
func (g *grove) descriptor(class string) []string {
	d := &secdesc.Descriptor{
		Control: secdesc.SelfRelative | secdesc.DACLPresent,
		Owner:   g.domain.Child(secdesc.RIDDomainAdmins), Group: g.domain.Child(secdesc.RIDDomainAdmins),
	}
	if g.rng.IntN(2) == 0 {
		d.Owner = g.sids[g.rng.IntN(len(g.sids))]
	}
	if g.rng.IntN(5) == 0 {
		d.Control |= secdesc.DACLProtected
	}
	d.DACL = &secdesc.ACL{Revision: secdesc.ACLRevisionDS, ACEs: []secdesc.ACE{{
		Type: secdesc.Allow, SID: secdesc.AuthenticatedUsers,
		Mask: secdesc.ReadProperty | secdesc.ListContents | secdesc.ListObject | secdesc.ReadControl,
	}}}
	for range 2 + g.rng.IntN(8) {
		d.DACL.ACEs = append(d.DACL.ACEs, g.entry(class))
	}
	return []string{base64.StdEncoding.EncodeToString(d.Bytes())}
}

// pick returns one of the values, each as likely as its weight.
func pick[T any](rng *rand.Rand, weights []int, values []T) T {
	sum := 0
	for _, w := range weights {
		sum += w
	}
	n := rng.IntN(sum)
	for i, w := range weights {
		if n < w {
			return values[i]
		}
		n -= w
	}
	panic("unreachable")
}

func (g *grove) trustee() secdesc.SID {
	switch n := g.rng.IntN(100); {
	case n < 65:
		return g.sids[g.rng.IntN(len(g.sids))]
	case n < 75:
		return secdesc.Self
	case n < 80:
		return secdesc.OwnerRights
	case n < 83:
		return secdesc.CreatorOwner
	}
	return []secdesc.SID{
		secdesc.Everyone, secdesc.AuthenticatedUsers, secdesc.Network,
		g.domain.Child(secdesc.RIDDomainUsers), secdesc.MustSID("S-1-5-32-545"),
	}[g.rng.IntN(5)]
}

// Attributes and rights that entries are about: in property sets and in none, of
// many classes, those of validated writes.
var (
	groveAttrs = []string{
		"member", "servicePrincipalName", "userPrincipalName", "userAccountControl", "msDS-KeyCredentialLink",
		"msDS-AllowedToActOnBehalfOfOtherIdentity", "gPLink", "gPOptions", "description", "displayName", "scriptPath",
		"dNSHostName", "telephoneNumber", "info", "altSecurityIdentities", "unixUserPassword", "managedBy", "gPCFileSysPath",
		"versionNumber", "groupType", "cn", "name", "sAMAccountName", "primaryGroupID", "msDS-AdditionalDnsHostName",
	}
	groveRights = []string{"User-Force-Change-Password", "User-Change-Password", "Send-As", "Apply-Group-Policy", "Allowed-To-Authenticate", "Certificate-Enrollment"}
	groveSets   = []string{"General-Information", "Public-Information", "Personal-Information", "Membership", "User-Account-Restrictions", "User-Logon", "Web-Information", "Private-Information"}
	groveWrites = []string{"Self-Membership", "Validated-SPN", "Validated-DNS-Host-Name"}
	groveKinds  = []string{"user", "group", "computer", "contact", "organizationalUnit", "container", "inetOrgPerson", "serviceConnectionPoint"}
)

// entry makes a random entry for an object of a class.
func (g *grove) entry(class string) secdesc.ACE {
	a := secdesc.ACE{SID: g.trustee()}
	if class == "group" && g.rng.IntN(5) == 0 {
		a.SID = secdesc.Self
	}
	deny := g.rng.IntN(3) == 0
	a.Type = secdesc.Allow
	if deny {
		a.Type = secdesc.Deny
	}
	if g.rng.IntN(3) == 0 {
		for range 1 + g.rng.IntN(2) {
			a.Mask |= pick(g.rng, []int{4, 2, 3, 2, 2, 4, 4, 2, 2, 2, 1, 2}, []secdesc.Mask{
				secdesc.WriteProperty, secdesc.SelfWrite, secdesc.CreateChild, secdesc.DeleteChild, secdesc.ControlAccess,
				secdesc.WriteDAC, secdesc.WriteOwner, secdesc.Delete, secdesc.GenericWrite, secdesc.ListObject, secdesc.GenericAll, secdesc.ReadProperty,
			})
		}
	} else {
		a.Type = secdesc.AllowObject
		if deny {
			a.Type = secdesc.DenyObject
		}
		g.aim(&a, class)
	}
	if deny { // of reading, nothing is denied: the directory would tell nothing
		a.Mask &^= secdesc.ReadProperty
	}
	if a.Mask == 0 {
		a.Mask = secdesc.WriteProperty
	}
	const oi, ci, np, io = secdesc.ObjectInherit, secdesc.ContainerInherit, secdesc.NoPropagateInherit, secdesc.InheritOnly
	a.Flags = pick(g.rng, []int{10, 6, 3, 2, 2, 1}, []secdesc.ACEFlags{0, ci, ci | io, ci | np, ci | io | np, oi | io})
	if a.Type.IsObject() && (a.ObjectType.IsZero() || a.Flags.Has(ci) && g.rng.IntN(2) == 0) {
		a.InheritedObjectType = g.schema.Class(groveKinds[g.rng.IntN(len(groveKinds))]).GUID
	}
	return a
}

func (g *grove) attr(name string) secdesc.GUID {
	a := g.schema.Attr(name)
	if a == nil {
		panic("the lab has no attribute " + name)
	}
	return a.GUID
}

// aim gives an entry an object type with the rights that fit it, most of the time.
func (g *grove) aim(a *secdesc.ACE, class string) {
	right := func(names []string) secdesc.GUID {
		name := names[g.rng.IntN(len(names))]
		r := g.schema.RightNamed(name)
		if r == nil {
			panic("the lab has no right " + name)
		}
		return r.GUID
	}
	switch n := g.rng.IntN(100); {
	case n < 25 && slices.Contains([]string{"organizationalUnit", "container"}, class):
		a.ObjectType, a.Mask = g.schema.Class(groveKinds[g.rng.IntN(6)]).GUID, secdesc.CreateChild
	case n < 35 && class == "organizationalUnit":
		a.ObjectType, a.Mask = g.attr("gPLink"), secdesc.WriteProperty
	case n < 15 && slices.Contains([]string{"user", "inetOrgPerson"}, class):
		a.ObjectType, a.Mask = right(groveRights[:1]), secdesc.ControlAccess
	case n < 15 && class == "computer":
		a.ObjectType, a.Mask = g.attr(groveAttrs[g.rng.IntN(len(groveAttrs))]), secdesc.WriteProperty
	case n < 32:
		a.ObjectType, a.Mask = g.attr(groveAttrs[g.rng.IntN(len(groveAttrs))]), secdesc.WriteProperty
		if g.rng.IntN(8) == 0 {
			a.Mask = secdesc.ReadProperty | secdesc.ControlAccess
		}
	case n < 50:
		a.ObjectType, a.Mask = right(groveSets), secdesc.WriteProperty|secdesc.ReadProperty
	case n < 68:
		a.ObjectType, a.Mask = g.schema.Class(groveKinds[g.rng.IntN(len(groveKinds))]).GUID, secdesc.CreateChild|secdesc.DeleteChild
	case n < 78:
		a.ObjectType, a.Mask = right(groveRights), secdesc.ControlAccess
	case n < 86:
		a.ObjectType, a.Mask = right(groveWrites), secdesc.SelfWrite
	case n < 90: // the class of the object itself: the root of its tree of types
		a.ObjectType, a.Mask = g.schema.Class(class).GUID, secdesc.WriteProperty|secdesc.WriteDAC|secdesc.WriteOwner
		if g.rng.IntN(2) == 0 { // of rights that are checked by their own GUID, it says nothing
			a.Mask = secdesc.ControlAccess | secdesc.SelfWrite | secdesc.CreateChild
		}
	case n < 92:
		a.ObjectType, a.Mask = g.schema.Attr("nTSecurityDescriptor").GUID, secdesc.WriteDAC|secdesc.WriteProperty
	default: // all that the rights cover, for heirs of one class
		a.Mask = []secdesc.Mask{secdesc.WriteProperty, secdesc.CreateChild, secdesc.ControlAccess, secdesc.FullControl, secdesc.SelfWrite, secdesc.WriteDAC}[g.rng.IntN(6)]
	}
}
