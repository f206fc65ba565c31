package bloodhound

import (
	"strings"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// A grant is what the name of a right stands for: the least that an entry must have
// for SharpHound to write that name (SharpHoundCommon, ACLProcessor).
type grant struct {
	mask  secdesc.Mask
	types []secdesc.GUID // an entry for each; none: one without type
}

// Attributes, property sets and rights that are the same in every forest ([MS-ADTS]
// 5.1.3.2.1, [MS-ADA1] to [MS-ADA3]).
var (
	attrMember          = secdesc.MustGUID("bf9679c0-0de6-11d0-a285-00aa003049e2")
	attrAllowedToAct    = secdesc.MustGUID("3f78c3e5-f79a-46bd-a0b8-9d18116ddc79")
	attrSPN             = secdesc.MustGUID("f3a64788-5306-11d1-a9c5-0000f80367c1")
	attrKeyCredential   = secdesc.MustGUID("5b47d60f-6090-40b2-9f37-2a4de88f3063")
	attrGPLink          = secdesc.MustGUID("f30e3bbe-9ff0-11d1-b603-0000f80367c1")
	attrAltSecurity     = secdesc.MustGUID("00fbf30c-91fe-11d1-aebc-0000f80367c1")
	attrNameFlag        = secdesc.MustGUID("ea1dddc4-60ff-416e-8cc0-17cee534bce7")
	attrEnrollmentFlag  = secdesc.MustGUID("d15ef7d8-f226-46db-ae79-b34e560bd12c")
	setRestrictions     = secdesc.MustGUID("4c164200-20c0-11d0-a768-00aa006e0529")
	setPublic           = secdesc.MustGUID("e48d0154-bcf8-11d1-8702-00c04fb96050")
	rightReset          = secdesc.MustGUID("00299570-246d-11d0-a768-00aa006e0529")
	rightGetChanges     = secdesc.MustGUID("1131f6aa-9c07-11d1-f79f-00c04fc2dcd2")
	rightGetChangesAll  = secdesc.MustGUID("1131f6ad-9c07-11d1-f79f-00c04fc2dcd2")
	rightGetFiltered    = secdesc.MustGUID("89e95b76-444d-4c62-991a-0facbeda640c")
	rightEnroll         = secdesc.MustGUID("0e10c968-78fb-11d2-90d4-00c04f79dc55")
	rightAutoEnroll     = secdesc.MustGUID("a05b8cc2-17bc-4802-a710-e7c15ab866a2")
	attrLAPSPlaceholder = secdesc.MustGUID("7f1c1d6e-5a0b-4c3e-9d53-6c6561737477") // no forest's own: its GUID is not in collections
)

// grants are the rights in words.
var grants = map[string]grant{
	"genericall":                 {mask: secdesc.FullControl},
	"genericwrite":               {mask: secdesc.WriteProperty},
	"writedacl":                  {mask: secdesc.WriteDAC},
	"writeowner":                 {mask: secdesc.WriteOwner},
	"writeownerraw":              {mask: secdesc.WriteOwner},
	"allextendedrights":          {mask: secdesc.ControlAccess},
	"forcechangepassword":        {secdesc.ControlAccess, []secdesc.GUID{rightReset}},
	"getchanges":                 {secdesc.ControlAccess, []secdesc.GUID{rightGetChanges}},
	"getchangesall":              {secdesc.ControlAccess, []secdesc.GUID{rightGetChangesAll}},
	"getchangesinfilteredset":    {secdesc.ControlAccess, []secdesc.GUID{rightGetFiltered}},
	"enroll":                     {secdesc.ControlAccess, []secdesc.GUID{rightEnroll}},
	"autoenroll":                 {secdesc.ControlAccess, []secdesc.GUID{rightAutoEnroll}},
	"addmember":                  {secdesc.WriteProperty, []secdesc.GUID{attrMember}},
	"addself":                    {secdesc.SelfWrite, []secdesc.GUID{attrMember}},
	"addallowedtoact":            {secdesc.WriteProperty, []secdesc.GUID{attrAllowedToAct}},
	"writespn":                   {secdesc.WriteProperty, []secdesc.GUID{attrSPN}},
	"addkeycredentiallink":       {secdesc.WriteProperty, []secdesc.GUID{attrKeyCredential}},
	"writeaccountrestrictions":   {secdesc.WriteProperty, []secdesc.GUID{setRestrictions}},
	"writepublicinformation":     {secdesc.WriteProperty, []secdesc.GUID{setPublic}},
	"writealtsecurityidentities": {secdesc.WriteProperty, []secdesc.GUID{attrAltSecurity}},
	"writegplink":                {secdesc.WriteProperty, []secdesc.GUID{attrGPLink}},
	"writepkinameflag":           {secdesc.WriteProperty, []secdesc.GUID{attrNameFlag}},
	"writepkienrollmentflag":     {secdesc.WriteProperty, []secdesc.GUID{attrEnrollmentFlag}},
	"readlapspassword":           {secdesc.ReadProperty | secdesc.ControlAccess, []secdesc.GUID{attrLAPSPlaceholder}},
}

// Subjects of coverage for rights that are passed over.
const (
	rightOfNoSID = "of a principal that is named by no SID"
	otherRights  = "of many other names"
)

// maxWords bounds how many unknown rights are named; no collector has so many.
const maxWords = 100

// passOver counts a right in words that is not known.
func (s *stats) passOver(word string) {
	word = clip(word)
	if _, had := s.rights[word]; !had && len(s.rights) >= maxWords {
		word = otherRights
	}
	s.rights[word]++
}

// Rights in words that are kept elsewhere than in the object's DACL.
const (
	wordOwns     = "owns"
	wordOwnsRaw  = "ownsraw"
	wordReadGMSA = "readgmsapassword"
)

// parseSID reads the identifier of a principal: a SID, or one with the name of its
// domain before it. ok is false for GUIDs and names.
func parseSID(id string) (sid secdesc.SID, ok bool) {
	if i := strings.LastIndex(id, "-S-1-"); i >= 0 {
		id = id[i+1:]
	}
	if len(id) < 2 || id[0] != 'S' && id[0] != 's' {
		return sid, false
	}
	sid, err := secdesc.ParseSID(id)
	return sid, err == nil
}

// described is what the rights of one object in words come to.
type described struct {
	d       *secdesc.Descriptor // nil: the collection has no rights on the object
	readers *secdesc.Descriptor // who reads the password of a group managed service account; nil: nobody
}

// describe puts the descriptors of an object together. A file without any right on
// an object, not even that of its owner, was collected without permissions.
func (c *Collection) describe(k kind, o *object) described {
	var out described
	if len(o.Aces) == 0 {
		return out
	}
	var explicit, inherited, readers []secdesc.ACE
	d := &secdesc.Descriptor{Control: secdesc.SelfRelative | secdesc.DACLPresent | secdesc.DACLAutoInherited}
	for _, a := range o.Aces {
		word := strings.ToLower(a.RightName)
		sid, ok := parseSID(a.PrincipalSID)
		if !ok {
			c.stats.rights[rightOfNoSID]++
			continue
		}
		switch word {
		case wordOwns, wordOwnsRaw:
			d.Owner = sid
			continue
		case wordReadGMSA:
			readers = append(readers, secdesc.ACE{Type: secdesc.Allow, Mask: secdesc.FullControl, SID: sid})
			continue
		}
		entries := entriesOf(k, o, word, sid)
		if entries == nil {
			c.stats.passOver(a.RightName)
			continue
		}
		for _, e := range entries {
			if a.IsInherited {
				e.Flags |= secdesc.Inherited
				inherited = append(inherited, e)
			} else {
				explicit = append(explicit, e)
			}
		}
	}
	if on, _ := o.Properties.flag("isaclprotected"); on || o.IsACLProtected {
		d.Control |= secdesc.DACLProtected
	}
	d.DACL = &secdesc.ACL{Revision: secdesc.ACLRevisionDS, ACEs: append(explicit, inherited...)}
	out.d = d
	if readers != nil {
		out.readers = readersDescriptor(readers)
	}
	return out
}

// readersDescriptor is the value of an attribute that lists principals in a DACL.
func readersDescriptor(entries []secdesc.ACE) *secdesc.Descriptor {
	return &secdesc.Descriptor{
		Control: secdesc.SelfRelative | secdesc.DACLPresent, Owner: secdesc.Administrators,
		DACL: &secdesc.ACL{Revision: secdesc.ACLRevisionDS, ACEs: entries},
	}
}

// entriesOf returns the entries that a right in words stands for; nil if the word is
// not known.
func entriesOf(k kind, o *object, word string, sid secdesc.SID) []secdesc.ACE {
	g, ok := grants[word]
	if !ok {
		return nil
	}
	var out []secdesc.ACE
	if len(g.types) == 0 {
		out = append(out, secdesc.ACE{Type: secdesc.Allow, Mask: g.mask, SID: sid})
	}
	for _, t := range g.types {
		out = append(out, secdesc.ACE{Type: secdesc.AllowObject, Mask: g.mask, ObjectType: t, SID: sid})
	}
	// Collectors write this word for computers only where the password is kept, and
	// mean that it can be read.
	if laps, _ := o.Properties.flag("haslaps"); word == "allextendedrights" && k == computerKind && laps {
		out = append(out, secdesc.ACE{Type: secdesc.AllowObject, Mask: secdesc.ReadProperty, ObjectType: attrLAPSPlaceholder, SID: sid})
	}
	return out
}
