package control

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// onACE makes a method of entries.
func onACE(name string, args []*cel.Type, out *cel.Type, doc string, f func(a ace, args []ref.Val) ref.Val) method {
	return method{aceType, name, args, out, doc, func(args []ref.Val) ref.Val {
		return f(args[0].(ace), args[1:])
	}}
}

func descriptorMethods() []method {
	return []method{
		onObject("dacl", none(), aceList, "entries of the discretionary access control list", func(o object, _ []ref.Val) ref.Val {
			d, bad := o.descriptor("dacl")
			if bad != nil {
				return bad
			}
			if d.DACL != nil {
				o.ev.searched = &Evidence{Kind: "descriptor", DN: o.ev.w.s.DN(o.id), Text: fmt.Sprintf("none of the %d entries of the DACL is of that kind", len(d.DACL.ACEs))}
			}
			return o.ev.entries(o.id, "dacl", d.DACL)
		}),
		onObject("daclProtected", none(), cel.BoolType, "whether permissions of the container are not inherited", func(o object, _ []ref.Val) ref.Val {
			d, bad := o.descriptor("dacl")
			if bad != nil {
				return bad
			}
			on := d.Control.Has(secdesc.DACLProtected)
			o.ev.saw(Evidence{Kind: "descriptor", DN: o.ev.w.s.DN(o.id), Text: fmt.Sprintf("inheritance of permissions is %s", map[bool]string{true: "blocked", false: "on"}[on])})
			return types.Bool(on)
		}),
		onObject("sameDACL", one(objectType), cel.BoolType, "whether the explicit entries equal those of another object", sameDACL),
		onObject("ownerIs", one(strList), cel.BoolType, "whether the owner is one of the named principals, of any domain", ownerIs),
		onObject("audits", []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType, "whether success of a right by a principal is audited", audits),
		onObject("managers", none(), objList, "who may reset the account's password or write its userAccountControl beside the defaults", managers),
		onObject("allowedToAct", none(), objList, "who msDS-AllowedToActOnBehalfOfOtherIdentity allows", allowedToAct),
		onObject("adminSDHolder", none(), objectType, "AdminSDHolder of a domain", func(o object, _ []ref.Val) ref.Val {
			id := o.ev.w.adminSDHolder(o.ev.w.domainIndex(o.id))
			if id == forest.None {
				return object{base: o.base, id: id, group: forest.None, why: "AdminSDHolder is not part of the snapshot"}
			}
			return o.ev.object(id)
		}),
		onACE("allows", none(), cel.BoolType, "whether the entry grants something", func(a ace, _ []ref.Val) ref.Val { return types.Bool(a.ace.Type.IsAllow()) }),
		onACE("inheritOnly", none(), cel.BoolType, "whether the entry is only for children", func(a ace, _ []ref.Val) ref.Val {
			return types.Bool(a.ace.Flags.Has(secdesc.InheritOnly))
		}),
		onACE("denies", one(cel.StringType), cel.BoolType, "whether the entry denies a right, written like CR:User-Change-Password", func(a ace, args []ref.Val) ref.Val {
			if !a.ace.Type.IsDeny() || a.ace.Flags.Has(secdesc.InheritOnly) {
				return types.False
			}
			r, bad := a.ev.w.parseRight(str(args[0]))
			if bad != nil {
				return bad
			}
			return types.Bool(r.within(a.ace))
		}),
		onACE("only", one(strList), cel.BoolType, "whether the entry grants nothing beyond the listed rights", func(a ace, args []ref.Val) ref.Val {
			return a.only(args[0])
		}),
		onACE("trusteeIs", one(cel.StringType), cel.BoolType, "whether the trustee is the principal of that name, of any domain", func(a ace, args []ref.Val) ref.Val {
			return a.ev.sidIsOneOf(a.ace.SID, named(args[0]).principal)
		}),
		onACE("trusteeIn", one(strList), cel.BoolType, "whether the trustee is one of the named principals, of any domain", func(a ace, args []ref.Val) ref.Val {
			return a.ev.sidIsOneOf(a.ace.SID, findPrincipalNames(texts(args[0]))...)
		}),
		onACE("trusteeIsGroup", none(), cel.BoolType, "whether the trustee is a group of the forest", func(a ace, _ []ref.Val) ref.Val {
			if why := a.ev.w.mayBeHidden(a.ace.SID); why != "" {
				return a.ev.unknown("dacl", why)
			}
			return types.Bool(a.ev.w.kind(a.ev.w.s.BySID(a.ace.SID)) == "group")
		}),
		onACE("trusteeKnown", none(), cel.BoolType, "whether the trustee has a name", func(a ace, _ []ref.Val) ref.Val { return a.trusteeKnown() }),
		onACE("isDefault", none(), cel.BoolType, "whether the entry is within the baseline of AdminSDHolder", func(a ace, _ []ref.Val) ref.Val {
			return a.isDefault()
		}),
		onACE("managesMembers", none(), cel.BoolType, "whether the entry is that of a management account: read and write member, nothing else", func(a ace, _ []ref.Val) ref.Val {
			if why := a.ev.w.mayBeHidden(a.ace.SID); why != "" && managesMembersForm(a.ace) {
				return a.ev.unknown("dacl", why)
			}
			return types.Bool(a.ev.w.managesMembers(a.ace))
		}),
	}
}

// saw records a fact that is already in words.
func (ev *evaluation) saw(e Evidence) {
	ev.facts = append(ev.facts, fact{kind: readyFact, ready: &e})
}

// descriptor returns the security descriptor, or unknown under the given key.
func (o object) descriptor(key string) (*secdesc.Descriptor, ref.Val) {
	d, st := o.ev.w.s.Descriptor(o.id)
	if st != forest.Known {
		return nil, o.ev.unknown(key, "the security descriptor of "+o.ev.w.s.DN(o.id)+" was not read")
	}
	if why, assumed := o.ev.w.s.Assumed(forest.SubjectDescriptor); assumed {
		return nil, o.ev.unknown(key, "the security descriptor of "+o.ev.w.s.DN(o.id)+" was not read: "+why)
	}
	return d, nil
}

func (ev *evaluation) entries(owner forest.ID, list string, acl *secdesc.ACL) ref.Val {
	var out []ref.Val
	if acl == nil {
		e := secdesc.ACE{Type: secdesc.Allow, Mask: secdesc.FullControl, SID: identities["everyone"]}
		if list == "dacl" {
			out = append(out, ace{base: base{ev}, owner: owner, list: list, index: 0, ace: e})
		}
		return types.NewRefValList(types.DefaultTypeAdapter, out)
	}
	for i, e := range acl.ACEs {
		out = append(out, ace{base: base{ev}, owner: owner, list: list, index: i, ace: e})
	}
	return types.NewRefValList(types.DefaultTypeAdapter, out)
}

func texts(v ref.Val) []string {
	l, ok := v.(interface {
		Get(ref.Val) ref.Val
		Size() ref.Val
	})
	if !ok {
		return nil
	}
	n := int(l.Size().(types.Int))
	out := make([]string, 0, n)
	for i := range n {
		if s, ok := l.Get(types.Int(i)).(types.String); ok {
			out = append(out, string(s))
		}
	}
	return out
}

// explicit returns the entries of a DACL without inherited ones, flags that only
// matter to children cleared.
func explicit(d *secdesc.Descriptor) []secdesc.ACE {
	if d.DACL == nil {
		return nil
	}
	var out []secdesc.ACE
	for _, e := range d.DACL.ACEs {
		if !e.Flags.Has(secdesc.Inherited) {
			out = append(out, e)
		}
	}
	return out
}

// sameDACL compares explicit entries as a multiset: the order of canonical lists
// may differ between tools without a change of meaning.
func sameDACL(o object, args []ref.Val) ref.Val {
	other := args[0].(object)
	if other.id == forest.None {
		return o.ev.unknown("dacl", other.why)
	}
	a, bad := o.descriptor("dacl")
	if bad != nil {
		return bad
	}
	b, bad := other.descriptor("dacl")
	if bad != nil {
		return bad
	}
	surplus, lacking := difference(explicit(a), explicit(b)), difference(explicit(b), explicit(a))
	for _, e := range surplus {
		o.ev.saw(o.ev.w.aceEvidence(o.id, "dacl", slices.IndexFunc(a.DACL.ACEs, e.Equal), e, "only on the object: "))
	}
	for _, e := range lacking {
		o.ev.saw(o.ev.w.aceEvidence(other.id, "dacl", slices.IndexFunc(b.DACL.ACEs, e.Equal), e, "only on AdminSDHolder: "))
	}
	return types.Bool(len(surplus)+len(lacking) == 0 && a.HasNullDACL() == b.HasNullDACL())
}

// difference returns the entries of a that b lacks.
func difference(a, b []secdesc.ACE) []secdesc.ACE {
	rest := slices.Clone(b)
	var out []secdesc.ACE
	for _, e := range a {
		if i := slices.IndexFunc(rest, e.Equal); i >= 0 {
			rest = slices.Delete(rest, i, i+1)
		} else {
			out = append(out, e)
		}
	}
	return out
}

func ownerIs(o object, args []ref.Val) ref.Val {
	d, bad := o.descriptor("owner")
	if bad != nil {
		return bad
	}
	if d.Owner.IsZero() {
		return o.ev.unknown("owner", "the owner of "+o.ev.w.s.DN(o.id)+" was not read")
	}
	o.ev.saw(Evidence{
		Kind: "descriptor", DN: o.ev.w.s.DN(o.id), Value: d.Owner.String(),
		Text: "owner is " + o.ev.w.trusteeName(d.Owner),
	})
	return o.ev.sidIsOneOf(d.Owner, findPrincipalNames(texts(args[0]))...)
}

// audits asks the system access control list. A descriptor that was read without
// one does not tell whether there is one.
func audits(o object, args []ref.Val) ref.Val {
	r, badRight := o.ev.w.parseRight(str(args[1]))
	if badRight != nil {
		return badRight
	}
	d, bad := o.descriptor("sacl")
	if bad != nil {
		return bad
	}
	if d.SACL == nil && !o.ev.w.saclRead(o.id, d) {
		return o.ev.unknown("sacl", "the SACL of "+o.ev.w.s.DN(o.id)+" was not read")
	}
	if d.SACL != nil {
		for i, e := range d.SACL.ACEs {
			if e.Type.IsAudit() && e.Flags.Has(secdesc.SuccessfulAccess) && !e.Flags.Has(secdesc.InheritOnly) &&
				o.ev.w.sidIsPrincipal(e.SID, str(args[0])) && r.within(e) {
				o.ev.facts = append(o.ev.facts, fact{kind: aceFact, id: o.id, index: i, list: "sacl"})
				return types.True
			}
		}
	}
	o.ev.saw(Evidence{Kind: "descriptor", DN: o.ev.w.s.DN(o.id), Text: "the SACL has no entry that audits success of " + str(args[1]) + " by " + str(args[0])})
	return types.False
}

// saclRead reports whether the lack of a SACL is known: coverage says that SACLs
// were read, or this descriptor says that it has a NULL one.
func (w *world) saclRead(id forest.ID, d *secdesc.Descriptor) bool {
	if d.Control.Has(secdesc.SACLPresent) {
		return true
	}
	for _, c := range w.s.Coverage() {
		if c.Area == forest.AreaSACL && c.Complete() {
			return true
		}
	}
	return false
}

// managers lists who may reset the password or write userAccountControl of an
// account by an entry of its own, the default administrators left out.
func managers(o object, _ []ref.Val) ref.Val {
	d, bad := o.descriptor("dacl")
	if bad != nil {
		return bad
	}
	ids, hidden := o.ev.w.managersOf(d)
	return o.ev.objectsAnd(ids, hidden)
}

var defaultAdministrators = []string{"system", "domain-admins", "enterprise-admins", "administrators", "self", "account-operators"}

// managersOf lists who may reset the password or write userAccountControl by d, and
// says of whom it is not known who they are.
func (w *world) managersOf(d *secdesc.Descriptor) (out []forest.ID, hidden []string) {
	if d.DACL == nil {
		return nil, nil
	}
	for _, e := range d.DACL.ACEs {
		if !e.Type.IsAllow() || e.Flags.Has(secdesc.InheritOnly) ||
			slices.ContainsFunc(defaultAdministrators, func(n string) bool { return w.sidIsPrincipal(e.SID, n) }) {
			continue
		}
		if !resetPassword.within(e) && !writeUAC.within(e) {
			continue
		}
		if t := w.s.BySID(e.SID); t != forest.None {
			out = append(out, t)
		} else if why := w.mayBeHidden(e.SID); why != "" {
			hidden = append(hidden, why)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), hidden
}

func allowedToAct(o object, _ []ref.Val) ref.Val {
	ev := o.ev
	d, st := ev.w.s.Desc(o.id, forest.MsDSAllowedToActOnBehalfOfOtherIdentity)
	if st == forest.Unreadable {
		return ev.unknown("descriptor", "msDS-AllowedToActOnBehalfOfOtherIdentity of "+ev.w.s.DN(o.id)+" was not read")
	}
	var out []ref.Val
	if st == forest.Known && d.DACL != nil {
		for _, e := range d.DACL.ACEs {
			if !e.Type.IsAllow() {
				continue
			}
			ev.saw(Evidence{
				Kind: "attribute", DN: ev.w.s.DN(o.id), Attr: "msDS-AllowedToActOnBehalfOfOtherIdentity",
				Value: e.SDDL(secdesc.SID{}), Text: "allows " + ev.w.trusteeName(e.SID),
			})
			if id := ev.w.s.BySID(e.SID); id != forest.None {
				out = append(out, ev.object(id))
			} else {
				out = append(out, object{base: o.base, id: forest.None, group: forest.None, why: "who is " + e.SID.String()})
			}
		}
	}
	return types.NewRefValList(types.DefaultTypeAdapter, out)
}

func (a ace) trusteeKnown() ref.Val {
	w, sid := a.ev.w, a.ace.SID
	if _, ok := secdesc.WellKnownName(sid); ok || w.s.BySID(sid) != forest.None {
		return types.True
	}
	if why := w.mayBeHidden(sid); why != "" {
		return a.ev.unknown("dacl", why)
	}
	if sid.IsDomainRelative() && len(w.s.With(forest.SecurityIdentifier)) > 0 {
		for _, t := range w.s.With(forest.SecurityIdentifier) {
			if v, _ := w.s.Str(t, forest.SecurityIdentifier); v == string(sid.Domain().Bytes()) {
				return a.ev.unknown("dacl", sid.String()+" belongs to a trusted domain that is not part of the snapshot")
			}
		}
	}
	return types.False
}

// only reports whether an entry grants nothing beyond the listed rights.
func (a ace) only(list ref.Val) ref.Val {
	rest := a.ace.Mask.MapGeneric()
	for _, t := range texts(list) {
		r, bad := a.ev.w.parseRight(t)
		if bad != nil {
			return bad
		}
		if r.object.IsZero() || r.object == a.ace.ObjectType {
			rest &^= r.mask
		}
	}
	return types.Bool(rest == 0)
}

// A wantedRight is a right as catalogues write it: a two-letter SDDL right, and
// perhaps the attribute, property set or extended right that it is for.
type wantedRight struct {
	mask   secdesc.Mask
	object secdesc.GUID // zero: any
}

var (
	resetPassword = wantedRight{secdesc.ControlAccess, secdesc.MustGUID("00299570-246d-11d0-a768-00aa006e0529")}
	writeUAC      = wantedRight{secdesc.WriteProperty, secdesc.MustGUID("bf967a68-0de6-11d0-a285-00aa003049e2")}
	memberGUID    = secdesc.MustGUID("bf9679c0-0de6-11d0-a285-00aa003049e2")
)

// within reports whether an entry covers the right. An entry without object type
// covers every object.
func (r wantedRight) within(e secdesc.ACE) bool {
	return e.Mask.MapGeneric()&r.mask == r.mask && (e.ObjectType.IsZero() || e.ObjectType == r.object)
}

var rightsByName = map[string]secdesc.Mask{
	"CC": secdesc.CreateChild, "DC": secdesc.DeleteChild, "LC": secdesc.ListContents, "SW": secdesc.SelfWrite,
	"RP": secdesc.ReadProperty, "WP": secdesc.WriteProperty, "DT": secdesc.DeleteTree, "LO": secdesc.ListObject,
	"CR": secdesc.ControlAccess, "SD": secdesc.Delete, "RC": secdesc.ReadControl, "WD": secdesc.WriteDAC, "WO": secdesc.WriteOwner,
}

// wellKnownGUIDs serve where the snapshot has no schema.
var wellKnownGUIDs = map[string]secdesc.GUID{
	"user-change-password":           secdesc.MustGUID("ab721a53-1e2f-11d0-9819-00aa0040529b"),
	"user-force-change-password":     resetPassword.object,
	"send-to":                        secdesc.MustGUID("ab721a55-1e2f-11d0-9819-00aa0040529b"),
	"useraccountcontrol":             writeUAC.object,
	"member":                         memberGUID,
	"usercertificate":                secdesc.MustGUID("bf967a7f-0de6-11d0-a285-00aa003049e2"),
	"terminalserver":                 secdesc.MustGUID("6db69a1c-9422-11d1-aebd-0000f80367c1"),
	"terminal-server-license-server": secdesc.MustGUID("5805bc62-bdc9-4428-a5e2-856a0f4c185e"),
}

func (w *world) parseRight(text string) (wantedRight, ref.Val) {
	name, object, named := strings.Cut(text, ":")
	mask, ok := rightsByName[name]
	if !ok {
		return wantedRight{}, types.NewErr("%q is no right such as WP or CR:User-Change-Password", text)
	}
	r := wantedRight{mask: mask}
	if !named {
		return r, nil
	}
	if a := w.s.Schema().Attr(object); a != nil {
		r.object = a.GUID
	} else if g, ok := wellKnownGUIDs[strings.ToLower(object)]; ok {
		r.object = g
	} else {
		return wantedRight{}, types.NewErr("%q is no attribute or right of the forest", object)
	}
	return r, nil
}

// A baselineEntry is an entry that AdminSDHolder may have.
type baselineEntry struct {
	trustee string // account name of a product's group; empty: the entry's own SID
	ace     secdesc.ACE
	domain  int
}

//go:embed baseline/adminsdholder.txt
var baselineText string

// sambaSection is the part of the baseline for domains that Samba provisioned.
const sambaSection = "[Samba]"

// onSamba reports whether domain controllers of domain d say that they run Samba.
func (w *world) onSamba(d int) bool {
	for id, k := range w.kindOf {
		if id := forest.ID(id); k == "computer" && w.isDC(id) && w.domainIndex(id) == d {
			if system, _ := w.s.Str(id, forest.OperatingSystem); strings.HasPrefix(system, "Samba") {
				return true
			}
		}
	}
	return false
}

// readBaseline parses the baseline for each domain.
func (w *world) readBaseline() []baselineEntry {
	var out []baselineEntry
	root := secdesc.SID{}
	if w.root >= 0 {
		root = w.domains[w.root].SID
	}
	for d := range w.domains {
		if w.domains[d].SID.IsZero() {
			continue
		}
		counts := true
		for line := range strings.Lines(baselineText) {
			line = strings.TrimSpace(line)
			switch {
			case line == "" || line[0] == '#':
			case line[0] == '[':
				counts = line != sambaSection || w.onSamba(d)
			case counts:
				trustee, text, named := strings.Cut(line, ": ")
				if !named {
					trustee, text = "", line
				}
				e, err := secdesc.ParseACE(text, w.domains[d].SID, root)
				if err != nil {
					continue // the embedded text is tested to parse
				}
				out = append(out, baselineEntry{trustee, e, d})
			}
		}
	}
	return out
}

// isDefault is unknown if the baseline knows the entry for a group of a product
// and it is not known whether the trustee is that group.
func (a ace) isDefault() ref.Val {
	w, d := a.ev.w, a.ev.w.domainIndex(a.owner)
	if w.inBaseline(d, a.ace) {
		return types.True
	}
	why := w.mayBeHidden(a.ace.SID)
	if why != "" && slices.ContainsFunc(w.baseline(), func(b baselineEntry) bool { return b.trustee != "" && b.domain == d && b.grants(a.ace) }) {
		return a.ev.unknown("dacl", why)
	}
	if text := w.inUnreadDomain(a.ace.SID, forestWideRIDs()); text != "" {
		return a.ev.unknown("dacl", text)
	}
	return types.False
}

// grants reports whether b, for whomever, covers the entry.
func (b *baselineEntry) grants(e secdesc.ACE) bool {
	return e.ObjectType == b.ace.ObjectType && e.Type.IsDeny() == b.ace.Type.IsDeny() && e.InheritedObjectType == b.ace.InheritedObjectType &&
		e.Type.IsCallback() == b.ace.Type.IsCallback() && e.Mask.MapGeneric()&^b.ace.Mask.MapGeneric() == 0
}

// inBaseline reports whether an entry of AdminSDHolder of domain d grants no more
// than one of the baseline does to the same trustee.
func (w *world) inBaseline(d int, e secdesc.ACE) bool {
	for _, b := range w.baseline() {
		if b.domain != d || !b.grants(e) {
			continue
		}
		if b.trustee == "" && e.SID == b.ace.SID || b.trustee != "" && w.sidNamed(e.SID, b.trustee) {
			return true
		}
	}
	return false
}

func (w *world) sidNamed(sid secdesc.SID, name string) bool {
	id := w.s.BySID(sid)
	return id != forest.None && strings.EqualFold(w.accountName(id), name)
}

// managesMembers reports whether an entry has the form of appendix I for an account
// or group that exists.
func (w *world) managesMembers(e secdesc.ACE) bool {
	k := w.kind(w.s.BySID(e.SID))
	return managesMembersForm(e) && (k == "user" || k == "group")
}

// managesMembersForm reports whether an entry grants a principal of a domain the
// right to read and write the attribute member, and nothing else.
func managesMembersForm(e secdesc.ACE) bool {
	if e.Type != secdesc.AllowObject || e.ObjectType != memberGUID || !e.InheritedObjectType.IsZero() {
		return false
	}
	return e.Mask&^(secdesc.ReadProperty|secdesc.WriteProperty) == 0 && e.Mask&secdesc.WriteProperty != 0 && e.SID.IsDomainRelative()
}

func (w *world) adminSDHolder(d int) forest.ID {
	if d < 0 {
		return forest.None
	}
	return w.s.Lookup("CN=AdminSDHolder,CN=System," + w.domains[d].DN)
}

// management lists the management accounts of appendix I and the groups that may
// enable them.
type management struct {
	accounts, groups []forest.ID
	unread           [][]string // by domain: why accounts may be too short, and so groups
	unreadGroups     [][]string // by domain: why groups may be too short
}

func (w *world) findManagement() *management {
	m := &management{unread: make([][]string, len(w.domains)), unreadGroups: make([][]string, len(w.domains))}
	for d, dom := range w.domains {
		if dom.Head == forest.None {
			continue // listing says so
		}
		holder := w.adminSDHolder(d)
		if holder == forest.None {
			m.unread[d] = append(m.unread[d], "AdminSDHolder of "+dom.DNS+" is not part of the snapshot")
			continue
		}
		desc, st := w.s.Descriptor(holder)
		if st != forest.Known {
			m.unread[d] = append(m.unread[d], "the security descriptor of "+w.s.DN(holder)+" was not read")
			continue
		}
		for _, e := range explicit(desc) {
			if !managesMembersForm(e) || w.inBaseline(d, e) {
				continue
			}
			if why := w.mayBeHidden(e.SID); why != "" {
				m.unread[d] = append(m.unread[d], why)
			}
			if w.managesMembers(e) {
				m.add(w, d, w.s.BySID(e.SID))
			}
		}
	}
	for _, g := range w.groupsNamed(w.options.ManagementGroups) {
		m.members(w, max(0, w.domainIndex(g)), g)
	}
	slices.Sort(m.accounts)
	m.accounts = slices.Compact(m.accounts)
	for _, a := range m.accounts {
		desc, st := w.s.Descriptor(a)
		if st != forest.Known {
			if d := w.domainIndex(a); d >= 0 {
				m.unreadGroups[d] = append(m.unreadGroups[d], "the security descriptor of "+w.s.DN(a)+" was not read, so not who may enable it")
			}
			continue
		}
		managers, hidden := w.managersOf(desc)
		for _, g := range managers {
			if w.kind(g) == "group" {
				m.groups = append(m.groups, g)
			}
		}
		if d := w.domainIndex(a); d >= 0 {
			m.unreadGroups[d] = append(m.unreadGroups[d], hidden...)
		}
	}
	slices.Sort(m.groups)
	m.groups = slices.Compact(m.groups)
	return m
}

// add takes a trustee: an account, or a group with its members.
func (m *management) add(w *world, d int, id forest.ID) {
	if w.kind(id) == "group" {
		m.groups = append(m.groups, id)
		m.members(w, d, id)
		return
	}
	m.accounts = append(m.accounts, id)
}

// members takes the members of a group that domain d or the options name.
func (m *management) members(w *world, d int, group forest.ID) {
	m.accounts = append(m.accounts, w.reach.Members(group)...)
	m.unread[d] = append(m.unread[d], w.memberGaps(group)...)
}
