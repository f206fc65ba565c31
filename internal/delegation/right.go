package delegation

import (
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/plan"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// GUIDs of Microsoft's schema, the same in every forest ([MS-ADSC], [MS-ADA1] to
// [MS-ADA3], [MS-ADTS] 5.1.3.2.1).
var (
	classGroup = secdesc.MustGUID("bf967a9c-0de6-11d0-a285-00aa003049e2")
	classUser  = secdesc.MustGUID("bf967aba-0de6-11d0-a285-00aa003049e2")

	attrMember = secdesc.MustGUID("bf9679c0-0de6-11d0-a285-00aa003049e2")
	setMembers = secdesc.MustGUID("bc0ac240-79a9-11d0-9020-00c04fc2d4cf")
	attrFlags  = secdesc.MustGUID("bf967a68-0de6-11d0-a285-00aa003049e2")
	setAccount = secdesc.MustGUID("4c164200-20c0-11d0-a768-00aa006e0529")

	rightReset  = secdesc.MustGUID("00299570-246d-11d0-a768-00aa006e0529")
	rightChange = secdesc.MustGUID("ab721a53-1e2f-11d0-9819-00aa0040529b")
)

// harmless are control access rights that every user has in a domain by default and
// that nothing can be gained by: to change a password by telling the old one, to apply a
// policy, to unexpire one's own password and its companions on the head of the domain.
var harmless = []secdesc.GUID{
	rightChange,
	secdesc.MustGUID("edacfd8f-ffb3-11d1-b41d-00a0c968f939"), // Apply-Group-Policy
	secdesc.MustGUID("ccc2dc7d-a6ad-4a7a-8846-c04e3cc53501"), // Unexpire-Password
	secdesc.MustGUID("280f369c-67c7-438e-ae98-1d46f3c6f541"), // Update-Password-Not-Required-Bit
	secdesc.MustGUID("05c74c5e-4deb-43b4-bd9f-86664c2a7fd5"), // Enable-Per-User-Reversibly-Encrypted-Password
}

// A Right is something that an account needs on an object.
type Right struct {
	Name  string // as in "write its members"
	mask  secdesc.Mask
	types []secdesc.GUID // class, property set, attribute or right: see secdesc.Request
}

// The rights that leastwise needs somewhere (guide, app. I).
var (
	WriteMembers  = Right{"write its members", secdesc.ReadProperty | secdesc.WriteProperty, []secdesc.GUID{classGroup, setMembers, attrMember}}
	WriteFlags    = Right{"enable and disable it", secdesc.ReadProperty | secdesc.WriteProperty, []secdesc.GUID{classUser, setAccount, attrFlags}}
	ResetPassword = Right{"reset its password", secdesc.ControlAccess, []secdesc.GUID{classUser, rightReset}}
)

// Entry is the one access control entry that gives the right and nothing else.
func (r Right) Entry(trustee secdesc.SID) plan.Entry {
	return plan.Entry{ACE: secdesc.ACE{
		Type: secdesc.AllowObject, Mask: r.mask, SID: trustee, ObjectType: r.types[len(r.types)-1],
	}}
}

// Check says whether the descriptor of an object gives the right to whom the token
// describes, and by which entry.
func (r Right) Check(d *secdesc.Descriptor, token func(secdesc.SID) bool) secdesc.Decision {
	return d.Access(token, secdesc.Request{Mask: r.mask, Types: r.types})
}

// reading are the rights that change nothing.
const reading = secdesc.ReadProperty | secdesc.ListContents | secdesc.ListObject | secdesc.ReadControl | secdesc.Synchronize

// An Extra is a right beyond those that are needed.
type Extra struct {
	Owner bool         // the account owns the object, and so may write its DACL
	Index int          // of the entry in the DACL; -1 for the owner
	ACE   secdesc.ACE  // the entry
	Mask  secdesc.Mask // what of it is too much
}

// Surplus lists what the descriptor of an object gives to whom the token describes
// beyond reading and beyond the rights in needed. Entries that a denial makes void are
// not among them. An object without DACL gives everything: that is one Extra whose entry
// has no trustee.
func Surplus(d *secdesc.Descriptor, token func(secdesc.SID) bool, needed ...Right) []Extra {
	if d.DACL == nil {
		return []Extra{{Index: -1, Mask: secdesc.FullControl}}
	}
	var out []Extra
	view := d.View(token, secdesc.OwnersDecide)
	if !d.Owner.IsZero() && token(d.Owner) {
		if r := view.Check(secdesc.Request{Mask: secdesc.WriteDAC}); r.Outcome != secdesc.Refused {
			out = append(out, Extra{Owner: true, Index: -1, Mask: secdesc.WriteDAC})
		}
	}
	for i, a := range d.DACL.ACEs {
		if !a.Type.IsAllow() || a.Flags.Has(secdesc.InheritOnly) || !token(a.SID) {
			continue
		}
		rest := a.Mask.MapGeneric() &^ reading &^ wanted(a, needed)
		if a.IsObject() && slices.Contains(harmless, a.ObjectType) {
			rest &^= secdesc.ControlAccess
		}
		if rest == 0 {
			continue
		}
		var types []secdesc.GUID
		if !a.ObjectType.IsZero() {
			types = []secdesc.GUID{a.ObjectType}
		}
		if r := view.Check(secdesc.Request{Mask: rest, Types: types}); r.Outcome == secdesc.Refused {
			continue
		}
		out = append(out, Extra{Index: i, ACE: a, Mask: rest})
	}
	return out
}

// wanted is what of an entry's mask one of the rights needs.
func wanted(a secdesc.ACE, needed []Right) secdesc.Mask {
	for _, r := range needed {
		if a.ObjectType == r.types[len(r.types)-1] {
			return r.mask
		}
	}
	return 0
}

// Broad reports whether a SID stands for everybody in the domain, or nearly so: what it
// is granted is no privilege of one account.
func Broad(sid secdesc.SID) bool {
	broad := []secdesc.SID{
		secdesc.Everyone, secdesc.AuthenticatedUsers, secdesc.ThisOrganization, secdesc.Network, secdesc.Users,
		secdesc.PreWindows2000CompatibleAccess,
	}
	rid, ok := sid.RID()
	return slices.Contains(broad, sid) || ok && sid.IsDomainRelative() && rid == secdesc.RIDDomainUsers
}

// Text says in words what the account may do.
func (x Extra) Text() string {
	switch {
	case x.Owner:
		return "owns it, and may write its permissions"
	case x.Index < 0:
		return "may do everything, because it has no DACL"
	}
	words := []struct {
		mask secdesc.Mask
		text string
	}{
		{secdesc.WriteProperty, "write attributes"},
		{secdesc.SelfWrite, "make validated writes"},
		{secdesc.ControlAccess, "use extended rights"},
		{secdesc.WriteDAC, "write the permissions"},
		{secdesc.WriteOwner, "take ownership"},
		{secdesc.CreateChild, "create objects below"},
		{secdesc.DeleteChild, "delete objects below"},
		{secdesc.Delete, "delete it"},
		{secdesc.DeleteTree, "delete it with all below"},
	}
	var list []string
	rest := x.Mask
	for _, w := range words {
		if rest&w.mask != 0 {
			list = append(list, w.text)
			rest &^= w.mask
		}
	}
	if rest != 0 {
		list = append(list, rest.String())
	}
	text := "may " + strings.Join(list, ", ")
	if x.ACE.IsObject() {
		text += " (only " + x.ACE.ObjectType.String() + ")"
	}
	return text
}
