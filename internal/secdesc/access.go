package secdesc

import "slices"

// An Outcome is the answer of an access check.
type Outcome uint8

// Outcomes. The zero value refuses.
const (
	Refused   Outcome = iota
	Granted           // everything asked for is allowed
	Undecided         // it depends on a condition, or on a DACL that was not read
)

// String returns the outcome in lower case.
func (o Outcome) String() string {
	switch o {
	case Granted:
		return "granted"
	case Undecided:
		return "undecided"
	default:
		return "refused"
	}
}

// A Reason says what decided an access check.
type Reason uint8

// Reasons.
const (
	NothingGrants    Reason = iota // no entry grants the missing rights
	EntryDecides                   // Decision.ACE grants the last right, or denies
	OwnerDecides                   // the owner's implicit rights suffice
	NullDACLDecides                // the DACL is NULL: everyone has full control
	ConditionDecides               // Decision.ACE has a condition that was not evaluated
	DACLNotRead                    // the descriptor has no DACL that could be looked at
)

// A Request is what an access check is about.
type Request struct {
	// Mask is what is wanted; generic rights are mapped. [MaximumAllowed] is not
	// understood: see [Descriptor.Rights].
	Mask Mask
	// Types is the path in the object's tree of types ([MS-ADTS] 5.1.3.3.3) to
	// what is asked for: the object's class, then, say, a property set and an
	// attribute, or the GUID of an extended right. Entries for any of them count.
	Types []GUID
}

// A Decision is the answer of an access check with what decided it.
type Decision struct {
	Outcome Outcome
	Reason  Reason
	ACE     *ACE // the deciding entry of the DACL, which it points into; nil if none
	Index   int  // of ACE in the DACL; -1 if none
	Missing Mask // what was asked for and not granted
}

// implicitOwnerRights are the owner's without any entry ([MS-DTYP] 2.5.3.2).
const implicitOwnerRights = ReadControl | WriteDAC

// Ownership says what the owner of an object may do without any entry.
type Ownership uint8

const (
	// OwnersDecide is the rule: the owner may read the descriptor and write the
	// DACL, unless an entry for [OwnerRights] says what owners may do.
	OwnersDecide Ownership = iota
	// OwnersBlocked leaves the owner nothing but what entries say: where
	// fBlockOwnerImplicitRights of dSHeuristics is in force ([MS-ADTS] 6.1.1.2.4.1.2).
	OwnersBlocked
)

// A View is a descriptor as one principal meets it: the entries of the DACL that
// count for its token. Make one with [Descriptor.View]; ask it as often as there
// are things to be asked about the object. It is safe for concurrent use.
type View struct {
	d       *Descriptor
	owner   Mask // what the principal has as owner
	entries []viewed
}

// viewed is an entry in effect for the principal.
type viewed struct {
	ace   *ACE
	mask  Mask // generic rights mapped
	index int
}

// View returns the descriptor as a principal meets it whose token reports which
// SIDs it holds. Asked for [Self], the token reports whether it holds the SID of the
// object itself ([MS-ADTS] 5.1.3.3).
func (d *Descriptor) View(token func(SID) bool, o Ownership) *View {
	v := &View{d: d}
	if d.DACL == nil {
		return v
	}
	owns := !d.Owner.IsZero() && token(d.Owner)
	limited := false // entries say what owners may do
	for i := range d.DACL.ACEs {
		a := &d.DACL.ACEs[i]
		if a.Flags.Has(InheritOnly) || !a.Type.IsAllow() && !a.Type.IsDeny() {
			continue
		}
		holds := owns
		if a.SID == OwnerRights {
			limited = true
		} else {
			holds = token(a.SID)
		}
		if holds {
			v.entries = append(v.entries, viewed{ace: a, mask: a.Mask.MapGeneric(), index: i})
		}
	}
	if owns && !limited && o == OwnersDecide {
		v.owner = implicitOwnerRights
	}
	return v
}

// Access decides whether a principal has access to an object with the descriptor d
// ([MS-DTYP] 2.5.3.2, [MS-ADTS] 5.1.3.3). token reports whether the principal's
// token holds a SID: see [Descriptor.View]. Privileges (backup, take ownership,
// security) do not count here.
//
// Entries count in their order: the first that mentions a right decides it. An
// entry that is not inherit-only counts whatever its inherited object type, as on
// Windows. The owner may read the descriptor and write the DACL unless an entry
// for [OwnerRights] says what owners may do.
//
// A condition is not evaluated: if the answer hangs on one, it is Undecided.
func (d *Descriptor) Access(token func(SID) bool, r Request) Decision {
	return d.View(token, OwnersDecide).Check(r)
}

// Rights returns every right that a principal has for sure on what the types
// name; maybe are those that hang on a condition. Of a descriptor whose DACL was
// not read, all are maybe. See [Descriptor.Access].
func (d *Descriptor) Rights(token func(SID) bool, types []GUID) (sure, maybe Mask) {
	return d.View(token, OwnersDecide).Rights(types)
}

// Check decides whether the principal has the access that r asks for: see
// [Descriptor.Access].
func (v *View) Check(r Request) Decision {
	if v.d.DACL == nil {
		if v.d.HasNullDACL() {
			return Decision{Outcome: Granted, Reason: NullDACLDecides, Index: -1}
		}
		return Decision{Outcome: Undecided, Reason: DACLNotRead, Index: -1, Missing: r.Mask}
	}
	w := walker{view: v, types: r.Types}
	worst := w.walk(r.Mask.MapGeneric(), false)
	if w.condition == nil {
		return worst
	}
	best := w.walk(r.Mask.MapGeneric(), true)
	if best.Outcome == worst.Outcome {
		return worst
	}
	return Decision{
		Outcome: Undecided, Reason: ConditionDecides, Missing: worst.Missing,
		ACE: w.condition.ace, Index: w.condition.index,
	}
}

// Rights returns every right that the principal has for sure on what the types
// name, and those that hang on a condition: see [Descriptor.Rights].
func (v *View) Rights(types []GUID) (sure, maybe Mask) {
	const all = FullControl | Synchronize
	if v.d.DACL == nil {
		if v.d.HasNullDACL() {
			return all, 0
		}
		return 0, all
	}
	w := walker{view: v, types: types}
	sure = w.rights(all, false)
	if w.condition != nil {
		maybe = w.rights(all, true) &^ sure
	}
	return sure, maybe
}

// walker goes through the entries of a view for one request.
type walker struct {
	view      *View
	types     []GUID
	condition *viewed // the first entry with a condition that would count
}

// counts reports whether an entry is about what is asked for.
func (w *walker) counts(a *ACE) bool {
	return a.objectFlags()&objectTypePresent == 0 || !a.Type.IsObject() || slices.Contains(w.types, a.ObjectType)
}

// conditional notes an entry whose condition would have to be known, and reports
// whether e is one.
func (w *walker) conditional(e *viewed) bool {
	if !e.ace.Type.IsCallback() {
		return false
	}
	if w.condition == nil {
		w.condition = e
	}
	return true
}

// walk decides with all conditions turning out for the principal (hopeful) or
// against it.
func (w *walker) walk(want Mask, hopeful bool) Decision {
	missing := want &^ w.view.owner
	if missing == 0 { // also if nothing is wanted
		return Decision{Outcome: Granted, Reason: OwnerDecides, Index: -1}
	}
	for i := range w.view.entries {
		e := &w.view.entries[i]
		if e.mask&missing == 0 || !w.counts(e.ace) {
			continue
		}
		if w.conditional(e) && e.ace.Type.IsAllow() != hopeful {
			continue
		}
		if e.ace.Type.IsDeny() {
			return Decision{Outcome: Refused, Reason: EntryDecides, ACE: e.ace, Index: e.index, Missing: missing}
		}
		if missing &^= e.mask; missing == 0 {
			return Decision{Outcome: Granted, Reason: EntryDecides, ACE: e.ace, Index: e.index}
		}
	}
	return Decision{Outcome: Refused, Reason: NothingGrants, Index: -1, Missing: missing}
}

// rights returns every right of all that is granted.
func (w *walker) rights(all Mask, hopeful bool) Mask {
	granted := w.view.owner
	open := all &^ granted
	for i := range w.view.entries {
		e := &w.view.entries[i]
		mask := e.mask & open
		if mask == 0 || !w.counts(e.ace) {
			continue
		}
		if w.conditional(e) && e.ace.Type.IsAllow() != hopeful {
			continue
		}
		open &^= mask
		if e.ace.Type.IsAllow() {
			granted |= mask
		}
	}
	return granted
}

// A ReadTarget is an attribute of an object that somebody wants to read.
type ReadTarget struct {
	Classes      []GUID // schemaIDGUIDs of the object's classes
	Attribute    GUID   // schemaIDGUID of the attribute
	PropertySet  GUID   // its attributeSecurityGUID; zero if it is in no set
	Confidential bool   // its searchFlags have fCONFIDENTIAL (0x80)
}

// CanRead decides whether a principal may read an attribute of the object with
// the descriptor d ([MS-ADTS] 3.1.1.4.3): it needs the right to read the property,
// and for a confidential attribute control access too. deciding is the entry that
// grants or denies; nil if there is none. What hangs on a condition counts as not
// granted, with the entry that has it: [Descriptor.Access] tells the two apart.
//
// Whether the principal can see the object at all (list contents of its parent)
// is another question, and so is nTSecurityDescriptor, which needs [ReadControl].
func CanRead(d *Descriptor, token func(SID) bool, object ReadTarget) (granted bool, deciding *ACE) {
	types := make([]GUID, 0, len(object.Classes)+2)
	types = append(types, object.Classes...)
	for _, g := range []GUID{object.PropertySet, object.Attribute} {
		if !g.IsZero() {
			types = append(types, g)
		}
	}
	want := ReadProperty
	if object.Confidential {
		want |= ControlAccess
	}
	r := d.Access(token, Request{Mask: want, Types: types})
	return r.Outcome == Granted, r.ACE
}

// IsAllow reports whether the entry grants access, perhaps under a condition.
func (a ACE) IsAllow() bool { return a.Type.IsAllow() }

// IsDeny reports whether the entry denies access, perhaps under a condition.
func (a ACE) IsDeny() bool { return a.Type.IsDeny() }

// IsObject reports whether the entry is limited to an object type: a property, a
// set of them, an extended right, a class of children, a validated write.
func (a ACE) IsObject() bool { return a.Type.IsObject() && a.objectFlags()&objectTypePresent != 0 }

// IsInherited reports whether the entry comes from an ancestor.
func (a ACE) IsInherited() bool { return a.Flags.Has(Inherited) }

// InEffect reports whether the entry counts for access to the object that has it,
// and is not only there to be inherited.
func (a ACE) InEffect() bool { return !a.Flags.Has(InheritOnly) }

// IsInheritable reports whether children of the object get the entry.
func (a ACE) IsInheritable() bool { return a.Flags&(ContainerInherit|ObjectInherit) != 0 }

// Covers reports whether the entry is about any of the types, because it names
// one of them or because it names none.
func (a ACE) Covers(types ...GUID) bool { return !a.IsObject() || slices.Contains(types, a.ObjectType) }

// Grants reports whether the entry by itself grants all of want on any of the
// types: it is an allow entry without a condition and in effect. Entries before
// it may still deny.
func (a ACE) Grants(want Mask, types ...GUID) bool {
	return a.IsAllow() && !a.Type.IsCallback() && a.InEffect() && a.Mask.MapGeneric()&want == want && a.Covers(types...)
}
