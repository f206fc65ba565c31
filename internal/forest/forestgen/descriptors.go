package forestgen

import (
	"math/rand/v2"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// kind is a class of objects with a common default descriptor.
type kind uint8

const (
	kindOther kind = iota
	kindProtected
	kindUser
	kindComputer
	kindGroup
	kindOU
	kindPolicy
)

// An sdKey names a distinct descriptor: that of a kind of object in a unit
// (from 1; 0 outside units), with one of a few additions.
type sdKey struct {
	kind    kind
	unit    int
	variant int
}

// GUIDs in entries.
var (
	guidUser         = secdesc.MustGUID("bf967aba-0de6-11d0-a285-00aa003049e2")
	guidComputer     = secdesc.MustGUID("bf967a86-0de6-11d0-a285-00aa003049e2")
	guidGroup        = secdesc.MustGUID("bf967a9c-0de6-11d0-a285-00aa003049e2")
	guidMember       = secdesc.MustGUID("bf9679c0-0de6-11d0-a285-00aa003049e2")
	guidSPN          = secdesc.MustGUID("f3a64788-5306-11d1-a9c5-0000f80367c1")
	guidPwdLastSet   = secdesc.MustGUID("bf967a0a-0de6-11d0-a285-00aa003049e2")
	guidLockoutTime  = secdesc.MustGUID("28630ebf-41d5-11d1-a9c1-0000f80367c1")
	guidDNSHost      = secdesc.MustGUID("72e39547-7b18-11d1-adef-00c04fd8d5cd")
	guidResetPwd     = secdesc.MustGUID("00299570-246d-11d0-a768-00aa006e0529")
	guidChangePwd    = secdesc.MustGUID("ab721a53-1e2f-11d0-9819-00aa0040529b")
	guidPersonal     = secdesc.MustGUID("77b5b886-944a-11d1-aebd-0000f80367c1")
	guidPublic       = secdesc.MustGUID("e48d0154-bcf8-11d1-8702-00c04fb96050")
	guidRestrictions = secdesc.MustGUID("4c164200-20c0-11d0-a768-00aa006e0529")
	guidGeneral      = secdesc.MustGUID("59ba2f42-79a2-11d0-9020-00c04fc2d3cf")
	guidLogon        = secdesc.MustGUID("5f202010-79a5-11d0-9020-00c04fc2d4cf")
	guidMembership   = secdesc.MustGUID("bc0ac240-79a9-11d0-9020-00c04fc2d4cf")
	guidTokenGroups  = secdesc.MustGUID("b7c69e6d-2cc7-11d2-854e-00a0c983f608")
	guidApplyPolicy  = secdesc.MustGUID("edacfd8f-ffb3-11d1-b41d-00a0c968f939")
)

const (
	fullControl = secdesc.FullControl
	genericRead = secdesc.ReadControl | secdesc.ListContents | secdesc.ReadProperty | secdesc.ListObject
)

// descriptor returns the bytes of the descriptor of key.
func (g *generator) descriptor(key sdKey) []byte {
	if b, ok := g.sds[key]; ok {
		return b
	}
	g.sds[key] = g.bytes(g.make(key))
	return g.sds[key]
}

// make returns the descriptor of key.
func (g *generator) make(key sdKey) *secdesc.Descriptor {
	d := &secdesc.Descriptor{
		Control: secdesc.SelfRelative | secdesc.DACLPresent | secdesc.DACLAutoInherited,
		Owner:   g.domain.Child(512), Group: g.domain.Child(512),
	}
	d.DACL = &secdesc.ACL{Revision: secdesc.ACLRevisionDS, ACEs: g.entries(key)}
	if key.kind == kindProtected {
		d.Control |= secdesc.DACLProtected
	}
	return d
}

func (g *generator) bytes(d *secdesc.Descriptor) []byte {
	if err := d.Check(); err != nil {
		panic("forestgen: " + err.Error())
	}
	return d.Bytes()
}

func (g *generator) entries(key sdKey) []secdesc.ACE {
	out := g.explicit(key)
	if key.kind == kindProtected {
		return out
	}
	return append(out, g.inherited(key)...)
}

func allow(sid secdesc.SID, mask secdesc.Mask) secdesc.ACE {
	return secdesc.ACE{Type: secdesc.Allow, Mask: mask, SID: sid}
}

func allowObject(sid secdesc.SID, mask secdesc.Mask, object, class secdesc.GUID) secdesc.ACE {
	return secdesc.ACE{Type: secdesc.AllowObject, Mask: mask, SID: sid, ObjectType: object, InheritedObjectType: class}
}

// explicit are the entries of the class's default descriptor and the variant's.
func (g *generator) explicit(key sdKey) []secdesc.ACE {
	none := secdesc.GUID{}
	out := []secdesc.ACE{
		allow(g.domain.Child(512), fullControl),
		allow(secdesc.System, fullControl),
		allow(secdesc.AuthenticatedUsers, genericRead),
	}
	rp := secdesc.ReadProperty
	switch key.kind {
	case kindUser, kindComputer:
		for _, set := range []secdesc.GUID{guidPersonal, guidPublic, guidRestrictions, guidGeneral, guidLogon, guidMembership} {
			out = append(out, allowObject(secdesc.AuthenticatedUsers, rp, set, none))
		}
		out = append(
			out,
			allowObject(secdesc.Self, secdesc.ControlAccess, guidChangePwd, none),
			allowObject(secdesc.Everyone, secdesc.ControlAccess, guidChangePwd, none),
			allowObject(secdesc.Self, rp|secdesc.WriteProperty, guidPersonal, none),
			allow(secdesc.AccountOperators, fullControl),
		)
		if key.kind == kindComputer {
			out = append(
				out,
				allowObject(secdesc.Self, secdesc.SelfWrite, guidSPN, none),
				allowObject(secdesc.Self, secdesc.SelfWrite, guidDNSHost, none),
			)
		}
	case kindGroup:
		out = append(
			out,
			allowObject(secdesc.AuthenticatedUsers, secdesc.ControlAccess, secdesc.MustGUID("ab721a55-1e2f-11d0-9819-00aa0040529b"), none),
			allow(secdesc.AccountOperators, fullControl),
		)
	case kindPolicy:
		out = append(out, allowObject(secdesc.AuthenticatedUsers, secdesc.ControlAccess, guidApplyPolicy, none))
	case kindProtected:
		out = append(
			out,
			allow(g.domain.Child(519), fullControl&^secdesc.DeleteTree),
			allow(secdesc.Administrators, fullControl&^secdesc.DeleteTree),
		)
	}
	if key.variant > 0 { // someone was given a right on single objects
		who := g.domain.Child(uint32(1104 + (key.unit*8+key.variant)%max(1, g.objects/2)))
		right := allowObject(who, secdesc.ControlAccess, guidResetPwd, none)
		if g.power != nil && key.kind == kindGroup {
			right = allowObject(who, secdesc.WriteProperty, guidMember, none)
		}
		out = append(out, right)
	}
	return out
}

// inherited are the entries that come down from the domain and from the unit.
func (g *generator) inherited(key sdKey) []secdesc.ACE {
	none := secdesc.GUID{}
	wp := secdesc.WriteProperty
	var out []secdesc.ACE
	put := func(a secdesc.ACE) {
		a.Flags = secdesc.ContainerInherit | secdesc.Inherited
		out = append(out, a)
	}
	if key.unit > 0 {
		admin := g.ous[key.unit-1].admin
		put(allowObject(admin, secdesc.ControlAccess, guidResetPwd, guidUser))
		put(allowObject(admin, wp, guidPwdLastSet, guidUser))
		put(allowObject(admin, wp, guidLockoutTime, guidUser))
		put(allowObject(admin, wp, guidMember, guidGroup))
		put(allowObject(admin, secdesc.CreateChild|secdesc.DeleteChild, guidComputer, none))
		more := rand.New(rand.NewPCG(g.seed, uint64(key.unit)))
		for range more.IntN(10) {
			put(allowObject(g.domain.Child(1104+more.Uint32N(uint32(max(1, g.objects/4)))), wp, guidRestrictions, guidComputer))
		}
	}
	for _, class := range []secdesc.GUID{guidUser, guidGroup, guidComputer} {
		put(allowObject(secdesc.EnterpriseDomainControllers, secdesc.ReadProperty, guidTokenGroups, class))
		put(allowObject(g.domain.Child(526), secdesc.ReadProperty, guidPublic, class))
	}
	put(allowObject(secdesc.Self, secdesc.ReadProperty|wp|secdesc.ControlAccess, guidPersonal, none))
	put(allow(g.domain.Child(519), fullControl))
	put(allow(secdesc.Administrators, fullControl&^secdesc.DeleteTree))
	put(allow(secdesc.MustSID("S-1-5-32-554"), secdesc.ListContents))
	for _, set := range []secdesc.GUID{guidRestrictions, guidGeneral, guidLogon, guidMembership} {
		put(allowObject(secdesc.MustSID("S-1-5-32-554"), secdesc.ReadProperty, set, guidUser))
	}
	return out
}
