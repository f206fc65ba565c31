package judge

import (
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A tierZero is the answer to who can gain Tier 0.
type tierZero struct {
	reach    *reach.Reach
	sure     map[secdesc.SID]bool // identities without an object
	possible map[secdesc.SID]bool
	gap      string // why more may gain it; "" if that is certain
}

func (w *world) findTierZero() *tierZero {
	g := w.graph
	t := &tierZero{reach: g.WhoCan(g.Resolve(reach.TierZero())), sure: map[secdesc.SID]bool{}, possible: map[secdesc.SID]bool{}}
	sure, possible := t.reach.Identities()
	for _, s := range sure {
		t.sure[s] = true
	}
	for _, s := range possible {
		t.possible[s] = true
	}
	t.gap = w.tierGap(t)
	return t
}

// tierGap says what was not read that may let more gain Tier 0.
func (w *world) tierGap(t *tierZero) string {
	for _, id := range t.reach.Unread() {
		return "the permissions of " + w.s.DN(id) + " were not read"
	}
	for _, id := range t.reach.Goals() {
		if !w.s.IsA(id, "group") {
			continue
		}
		for _, gap := range w.x.Gaps(id) {
			return "members of " + w.s.DN(id) + ": " + gap.Why
		}
	}
	if missing := reach.Unasked(w.s); len(missing) > 0 {
		return missing[0].String() + " of all objects was not collected"
	}
	for _, b := range reach.Blanks(w.s) {
		if w.s.Collected(b.Attr) {
			return b.Attr.String() + " of " + w.s.DN(b.First) + ": " + b.Why
		}
	}
	return w.hidden
}

// inTierZero tells whether p can gain Tier 0.
func (w *world) inTierZero(p *principal) ref.Val {
	if p.tier == nil {
		p.tier = w.findInTierZero(p)
	}
	return p.tier
}

func (w *world) findInTierZero(p *principal) ref.Val {
	t := w.tierZero()
	if p.id == forest.None {
		switch {
		case t.sure[p.sid] && !p.sid.IsZero():
			return types.True
		case p.host != "":
			return types.False // of a host's own database
		case t.possible[p.sid] && !p.sid.IsZero():
			return w.ldap(p.text() + " can gain Tier 0 if something holds that the snapshot does not tell")
		}
		return p.known()
	}
	switch {
	case t.reach.Has(p.id):
		return types.True
	case t.reach.MayHave(p.id):
		why := "a condition that the snapshot does not tell"
		for _, h := range t.reach.Path(p.id) {
			if h.If != "" {
				why = h.If
				break
			}
		}
		return w.ldap(p.text() + " can gain Tier 0 if " + why)
	case t.gap != "":
		return w.ldap(t.gap)
	}
	return types.False
}

// permissions are the entries of all descriptors that let somebody write, by trustee,
// and the objects by owner.
type permissions struct {
	writes  map[secdesc.SID][]entry
	owned   map[secdesc.SID][]forest.ID
	objects map[uint32][]forest.ID // of descriptors in writes
	unread  string                 // why there may be more
}

// An entry is an explicit access control entry that allows writing.
type entry struct {
	desc   uint32
	mask   secdesc.Mask
	typ    secdesc.GUID
	of     secdesc.GUID // class of the objects below that inherit it; zero: all
	here   bool         // it counts for the object itself
	below  bool         // objects below inherit it
	denied []denial     // entries before it that may take away from it
}

// A denial is an entry that denies writing.
type denial struct {
	sid   secdesc.SID
	mask  secdesc.Mask
	whole bool // for everything that the entry allows with those bits, wherever it counts
}

// denialsOf lists those of some denials that concern an entry, to whomever.
func denialsOf(a secdesc.ACE, denials []secdesc.ACE) []denial {
	var out []denial
	for _, d := range denials {
		mask := d.Mask.MapGeneric() & a.Mask.MapGeneric()
		if mask == 0 || !d.ObjectType.IsZero() && !a.ObjectType.IsZero() && d.ObjectType != a.ObjectType {
			continue
		}
		const where = secdesc.InheritOnly | secdesc.ContainerInherit | secdesc.NoPropagateInherit
		out = append(out, denial{d.SID, mask, (d.ObjectType.IsZero() || d.ObjectType == a.ObjectType) &&
			d.InheritedObjectType == a.InheritedObjectType && d.Flags&where == a.Flags&where})
	}
	return out
}

// writeMask are the rights by which an object can be changed.
const writeMask = secdesc.CreateChild | secdesc.DeleteChild | secdesc.SelfWrite | secdesc.WriteProperty | secdesc.DeleteTree |
	secdesc.ControlAccess | secdesc.Delete | secdesc.WriteDAC | secdesc.WriteOwner

// changePassword is the right to change a password that one knows ([MS-ADTS] 5.1.3.2.1).
var changePassword = secdesc.MustGUID("ab721a53-1e2f-11d0-9819-00aa0040529b")

// readPermissions looks at each distinct descriptor once.
func (w *world) readPermissions() *permissions {
	p := &permissions{writes: map[secdesc.SID][]entry{}, owned: map[secdesc.SID][]forest.ID{}, objects: map[uint32][]forest.ID{}}
	owners := make([]secdesc.SID, w.s.NumDescriptors())
	wanted := make([]bool, w.s.NumDescriptors())
	var r secdesc.Reader
	for i := range uint32(w.s.NumDescriptors()) {
		d := w.s.ReadDescriptorAt(i, &r)
		if d == nil {
			continue
		}
		owners[i] = d.Owner
		if d.DACL == nil {
			continue
		}
		var denials []secdesc.ACE
		for _, a := range d.DACL.ACEs {
			if a.IsDeny() {
				denials = append(denials, a)
			}
			mask := a.Mask.MapGeneric() & writeMask
			if !a.IsAllow() || a.IsInherited() || mask == 0 || mask == secdesc.ControlAccess && a.ObjectType == changePassword {
				continue
			}
			p.writes[a.SID] = append(p.writes[a.SID], entry{
				desc: i, mask: a.Mask.MapGeneric(), typ: a.ObjectType, of: a.InheritedObjectType,
				here: !a.Flags.Has(secdesc.InheritOnly), below: a.Flags.Has(secdesc.ContainerInherit), denied: denialsOf(a, denials),
			})
			wanted[i] = true
		}
	}
	for id := range forest.ID(w.s.Len()) {
		i, ok := w.s.DescriptorIndex(id)
		if !ok {
			if p.unread == "" && len(w.s.Classes(id)) > 0 {
				p.unread = "the permissions of " + w.s.DN(id) + " were not read"
			}
			continue
		}
		if wanted[i] {
			p.objects[i] = append(p.objects[i], id)
		}
		if o := owners[i]; !o.IsZero() {
			p.owned[o] = append(p.owned[o], id)
		}
	}
	if p.unread == "" {
		p.unread = w.hidden
	}
	return p
}

// gap is what keeps a list of permissions from being complete.
func (w *world) permissionGap() ref.Val {
	if why := w.perms().unread; why != "" {
		return w.ldap(why)
	}
	return nil
}

// isCommon reports whether every account of the forest holds sid: what it is given is
// no property of one account.
func (w *world) isCommon(sid secdesc.SID) bool {
	switch sid {
	case everyone, authenticated, interactive, network, selfIdentity, localUsers, preWindows2000, guests, anonymous, secdesc.MustSID("S-1-3-0"), secdesc.MustSID("S-1-5-32-560"), secdesc.MustSID("S-1-5-15"):
		return true
	}
	rid, ok := sid.RID()
	return ok && sid.IsDomainRelative() && (rid == 513 || rid == 514 || rid == 515)
}

// An adACE is a right to write that an entry gives.
type adACE struct {
	dn, kind, right string
	of              secdesc.GUID // class of the objects below that inherit it; zero: all
	here, below     bool         // it counts for the object itself, and is inherited
}

// left is what of an entry is not denied to p, and what may be: denied to a group in
// which p may be, or on some objects only.
func (e entry) left(p *principal) (sure, maybe secdesc.Mask, why ref.Val) {
	sure = e.mask
	for _, d := range e.denied {
		in := p.in(d.sid)
		switch {
		case in == types.False:
			continue
		case in == types.True && d.whole:
			sure, maybe = sure&^d.mask, maybe&^d.mask
			continue
		}
		maybe |= sure & d.mask
		sure &^= d.mask
		if isUnknown(in) {
			why = in
		}
	}
	return sure, maybe, why
}

// writeACEs lists what the entries for p and its groups let it write: one for each
// right, descriptor and container. What is denied to p is left out; what may be denied,
// wholly or for a part, makes the list incomplete.
func (w *world) writeACEs(p *principal) *list {
	if p.aces != nil {
		return p.aces
	}
	perms := w.perms()
	var out []ref.Val
	seen := map[adACE]bool{}
	gap, _ := w.permissionGap().(*types.Unknown)
	for sid := range p.sids() {
		if w.isCommon(sid) {
			continue
		}
		for _, e := range perms.writes[sid] {
			if len(e.denied) > 0 {
				sure, maybe, why := e.left(p)
				if maybe&writeMask != 0 && len(perms.objects[e.desc]) > 0 {
					u, _ := orElse(why, w.ldap("an entry of "+w.s.DN(perms.objects[e.desc][0])+" denies "+p.text()+" a part of what another allows")).(*types.Unknown)
					gap = merge(gap, u)
				}
				if e.mask = sure; sure&writeMask == 0 {
					continue
				}
			}
			parents := map[forest.ID]bool{}
			for _, id := range perms.objects[e.desc] {
				if !w.isContainer(id) { // of objects in one container one is enough
					if up := w.s.Parent(id); up != forest.None && parents[up] {
						continue
					}
					parents[w.s.Parent(id)] = true
				}
				for _, k := range w.kindsOf(e) {
					k.dn, k.of, k.here, k.below = w.s.DN(id), e.of, e.here, e.below
					if !seen[k] {
						seen[k] = true
						out = append(out, record{nil, aceType, k, k.kind + " on " + k.dn})
					}
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b ref.Val) int { return strings.Compare(a.(record).str, b.(record).str) })
	p.aces = &list{out, gap}
	return p.aces
}

// sids yields what p's token holds.
func (p *principal) sids() map[secdesc.SID]bool {
	p.holds(everyone)
	return p.token
}

// Property sets, validated writes and rights that joining computers needs ([MS-ADTS]
// 5.1.3.2.1, 5.1.3.2.2, 3.1.1.2.3.3).
var kindNames = map[secdesc.GUID]string{
	secdesc.MustGUID("4c164200-20c0-11d0-a768-00aa006e0529"): "account-restrictions",
	secdesc.MustGUID("72e39547-7b18-11d1-adef-00c04fd8d5cd"): "validated-dns-host-name",
	secdesc.MustGUID("f3a64788-5306-11d1-a9c5-0000f80367c1"): "validated-spn",
	secdesc.MustGUID("00299570-246d-11d0-a768-00aa006e0529"): "reset-password",
}

// kindsOf names the rights of an entry.
func (w *world) kindsOf(e entry) []adACE {
	if e.mask&secdesc.FullControl == secdesc.FullControl && e.typ.IsZero() {
		return []adACE{{kind: "full-control", right: "full-control"}}
	}
	name := kindNames[e.typ]
	if name == "" {
		name = strings.ToLower(w.s.Schema().NameOf(e.typ))
	}
	var out []adACE
	for _, r := range []struct {
		bit        secdesc.Mask
		all, of    string
		always, on bool
	}{
		{bit: secdesc.CreateChild, all: "create-child", of: "create-child-"},
		{bit: secdesc.DeleteChild, all: "delete-child", of: "delete-child-"},
		{bit: secdesc.WriteProperty, all: "write-all-properties", of: "write-"},
		{bit: secdesc.SelfWrite, all: "all-validated-writes"},
		{bit: secdesc.ControlAccess, all: "all-extended-rights"},
		{bit: secdesc.WriteDAC, all: "write-dacl", always: true},
		{bit: secdesc.WriteOwner, all: "write-owner", always: true},
		{bit: secdesc.Delete, all: "delete", always: true},
		{bit: secdesc.DeleteTree, all: "delete-tree", always: true},
	} {
		if e.mask&r.bit == 0 {
			continue
		}
		kind := r.all
		if !e.typ.IsZero() && !r.always {
			kind = r.of + name
			if kindNames[e.typ] != "" {
				kind = name
			}
		}
		out = append(out, adACE{kind: kind, right: kind})
	}
	return out
}

// object finds an object by name: None and an unknown value if it is not certain that
// there is none.
func (w *world) object(dn string) (forest.ID, ref.Val) {
	if id := w.s.Lookup(dn); id != forest.None {
		return id, nil
	}
	if w.hidden != "" {
		return forest.None, w.ldap(dn + " was not found, and " + w.hidden)
	}
	for _, d := range w.domains {
		if strings.HasSuffix(strings.ToLower(dn), strings.ToLower(d.DN)) {
			return forest.None, nil
		}
	}
	return forest.None, w.ldap(dn + " is not part of the snapshot: scan its forest")
}

// Rights of the directory that conditions name.
var rightMasks = map[string][]secdesc.Mask{
	"read":         {secdesc.ReadProperty | secdesc.ListContents},
	"write":        {secdesc.WriteProperty, secdesc.CreateChild, secdesc.DeleteChild, secdesc.Delete, secdesc.WriteDAC, secdesc.WriteOwner},
	"full-control": {secdesc.FullControl},
}

// adRight decides whether p has a right on an object, by its descriptor.
func (w *world) adRight(p *principal, dn, right string) ref.Val {
	masks, ok := rightMasks[right]
	if !ok {
		return types.NewErr("%q is no right that conditions can ask for", right)
	}
	if u := p.known(); u != nil {
		return u
	}
	id, u := w.object(dn)
	if id == forest.None {
		return orElse(u, types.False)
	}
	d, st := w.s.Descriptor(id)
	if st != forest.Known {
		return w.ldap("the permissions of " + w.s.DN(id) + " were not read")
	}
	out := ref.Val(types.False)
	for _, m := range masks {
		if out = or(out, w.access(p, d, m, id)); out == types.True {
			return out
		}
	}
	return out
}

// access decides whether a descriptor gives p all of a mask. Where p may be in a group
// that is allowed or denied some of it, the answer must not hang on that.
func (w *world) access(p *principal, d *secdesc.Descriptor, m secdesc.Mask, id forest.ID) ref.Val {
	may := map[secdesc.SID]bool{} // groups that p may be in: whether one is denied something
	var why ref.Val
	if d.DACL != nil {
		for _, a := range d.DACL.ACEs {
			if u := p.in(a.SID); a.InEffect() && isUnknown(u) {
				may[a.SID], why = may[a.SID] || a.IsDeny(), u
			}
		}
	}
	ask := func(holds func(secdesc.SID) bool) secdesc.Outcome {
		return d.Access(holds, secdesc.Request{Mask: m}).Outcome
	}
	out := ask(p.holds)
	for _, denied := range []bool{true, false} {
		if why != nil && out != ask(func(s secdesc.SID) bool { v, ok := may[s]; return p.holds(s) || ok && v == denied }) {
			return why
		}
	}
	switch out {
	case secdesc.Granted:
		return types.True
	case secdesc.Undecided:
		return w.ldap("an entry of " + w.s.DN(id) + " depends on a condition")
	}
	return types.False
}

// orElse is u unless that is nil.
func orElse(u, v ref.Val) ref.Val {
	if u != nil {
		return u
	}
	return v
}

// adRightInherits tells whether an entry gives p full control of an object and all below it.
func (w *world) adRightInherits(p *principal, dn, scope string) ref.Val {
	if scope != "this-and-all-descendants" {
		return types.NewErr("%q is no scope of inheritance that conditions can ask for", scope)
	}
	masks := rightMasks["full-control"]
	if u := p.known(); u != nil {
		return u
	}
	id, u := w.object(dn)
	if id == forest.None {
		return orElse(u, types.False)
	}
	d, st := w.s.Descriptor(id)
	if st != forest.Known {
		return w.ldap("the permissions of " + w.s.DN(id) + " were not read")
	}
	if d.DACL == nil {
		return types.False
	}
	here, below := false, false // an entry with generic rights is stored as two
	for _, a := range d.DACL.ACEs {
		if a.IsDeny() && !below && a.Flags.Has(secdesc.ContainerInherit) && a.Mask.MapGeneric()&masks[0] != 0 {
			if in := p.in(a.SID); in != types.False {
				return not(in) // some of it is, or may be, denied below
			}
		}
		if !a.IsAllow() || a.Mask.MapGeneric()&masks[0] != masks[0] || !a.ObjectType.IsZero() || !a.InheritedObjectType.IsZero() || !p.holds(a.SID) {
			continue
		}
		here = here || !a.Flags.Has(secdesc.InheritOnly)
		below = below || a.Flags.Has(secdesc.ContainerInherit) && !a.Flags.Has(secdesc.NoPropagateInherit)
	}
	return types.Bool(here && below)
}

// memberAttribute is the schemaIDGUID of member ([MS-ADA2] 2.43).
var memberAttribute = secdesc.MustGUID("bf9679c0-0de6-11d0-a285-00aa003049e2")

// writersOf lists the trustees of entries that let change an object or what is made
// below it; of a group only those that let change who is in it. Entries that are denied
// to the same trustee as a whole do not count.
func (w *world) writersOf(id forest.ID, group bool) ref.Val {
	d, st := w.s.Descriptor(id)
	if st != forest.Known {
		return w.ldap("the permissions of " + w.s.DN(id) + " were not read")
	}
	var out []ref.Val
	seen := map[secdesc.SID]bool{}
	add := func(sid secdesc.SID) {
		if !sid.IsZero() && !seen[sid] {
			seen[sid] = true
			out = append(out, w.ofSID(sid))
		}
	}
	add(d.Owner)
	if d.DACL == nil {
		add(everyone)
		return lst(out, nil)
	}
	deniedHere, deniedBelow := map[secdesc.SID]secdesc.Mask{}, map[secdesc.SID]secdesc.Mask{}
	for _, a := range d.DACL.ACEs {
		mask, here, below := a.Mask.MapGeneric(), a.InEffect(), !group && a.Flags.Has(secdesc.ContainerInherit)
		if a.IsDeny() && a.ObjectType.IsZero() && a.InheritedObjectType.IsZero() {
			if here {
				deniedHere[a.SID] |= mask
			}
			if below {
				deniedBelow[a.SID] |= mask
			}
		}
		want := writeMask
		if group {
			want = secdesc.WriteDAC | secdesc.WriteOwner
			if a.ObjectType.IsZero() || a.ObjectType == memberAttribute || w.s.Schema().NameOf(a.ObjectType) == "Self-Membership" {
				want |= secdesc.WriteProperty | secdesc.SelfWrite
			}
		}
		var left secdesc.Mask
		if here {
			left |= mask &^ deniedHere[a.SID]
		}
		if below && w.ofProduct(a.InheritedObjectType) {
			left |= mask &^ deniedBelow[a.SID]
		}
		if a.IsAllow() && left&want != 0 && !(left&want == secdesc.WriteProperty && w.isOfOthers(id, a.ObjectType)) {
			add(a.SID)
		}
	}
	return lst(out, nil)
}

// ofProduct reports whether entries for objects of a class concern those that
// Configuration Manager publishes.
func (w *world) ofProduct(class secdesc.GUID) bool {
	c := w.s.Schema().ClassByGUID(class)
	return class.IsZero() || c != nil && isProductClass(c.Name)
}

func isProductClass(name string) bool { return strings.HasPrefix(strings.ToLower(name), "mssms") }

// isOfOthers reports whether an attribute is none that an object, or what Configuration
// Manager publishes below it, can have: an entry for it that all of a domain inherits
// lets nothing be written there.
func (w *world) isOfOthers(id forest.ID, g secdesc.GUID) bool {
	schema := w.s.Schema()
	attr := schema.AttrByGUID(g)
	if attr == nil || !w.s.Collected(forest.MayContain) {
		return false
	}
	classes := slices.Clone(w.s.Classes(id))
	for _, c := range schema.AllowedChildren("container") {
		if isProductClass(c.Name) {
			classes = append(classes, c.Name)
		}
	}
	can := schema.AllowedAttributes(classes)
	return len(can) > 0 && !slices.Contains(can, attr)
}

// defaultAdministrators are those whom a domain lets change everything.
func (w *world) defaultAdministrators() []ref.Val {
	out := []ref.Val{w.ofSID(administrators), w.ofSID(systemAccount), w.ofSID(secdesc.MustSID("S-1-5-9")), w.ofSID(secdesc.MustSID("S-1-3-0")), w.ofSID(selfIdentity)}
	for _, d := range w.domains {
		if d.SID.IsZero() {
			continue
		}
		out = append(out, w.ofSID(d.SID.Child(512)))
		if d.Root {
			out = append(out, w.ofSID(d.SID.Child(518)), w.ofSID(d.SID.Child(519)))
		}
	}
	return out
}

// broad are the identities and groups that stand for everybody.
func (w *world) broad() []ref.Val {
	out := []ref.Val{
		w.ofSID(everyone), w.ofSID(authenticated), w.ofSID(localUsers), w.ofSID(interactive), w.ofSID(network),
		w.ofSID(guests), w.ofSID(anonymous), w.ofSID(preWindows2000),
	}
	for _, d := range w.domains {
		if !d.SID.IsZero() {
			out = append(out, w.ofSID(d.SID.Child(513)), w.ofSID(d.SID.Child(514)), w.ofSID(d.SID.Child(515)))
		}
	}
	return out
}

// joins tells whether p can join computers or take over their accounts: by the quota,
// by creating computer accounts in some container, or by rights on existing ones.
func (w *world) joins(p *principal) ref.Val {
	if u := p.known(); u != nil {
		if p.host != "" {
			return types.False
		}
		return u
	}
	out := or(w.joinsByQuota(p), w.joinsByDelegation(p))
	if out == types.True {
		return out
	}
	for _, id := range w.perms().owned[p.sid] {
		if w.s.IsA(id, "computer") {
			return types.True
		}
	}
	return or(out, orElse(w.permissionGap(), types.False))
}

// joinsByQuota tells whether the quota and the privilege on domain controllers let p join.
func (w *world) joinsByQuota(p *principal) ref.Val {
	d, ok := w.s.DomainOf(p.id)
	if !ok || d.Head == forest.None {
		return types.False
	}
	quota := w.quota(d)
	if q, ok := quota.(types.Int); ok && q == 0 {
		return types.False
	}
	priv, seen := ref.Val(types.False), false
	for _, h := range w.allHosts() {
		if !h.dc {
			continue
		}
		if own, ok := w.s.DomainOf(h.first()); !ok || own.Head != d.Head {
			continue
		}
		seen = true
		priv = or(priv, w.granted(p, h, "SeMachineAccountPrivilege"))
	}
	if !seen {
		return w.ldap("the snapshot has no domain controller of " + d.DNS + ": whom they let join computers is not known")
	}
	if isUnknown(quota) {
		return and(quota, priv)
	}
	return priv
}

// quota is ms-DS-MachineAccountQuota of a domain; a domain without it has 10 ([MS-ADTS]
// 3.1.1.8.1 lets none join then, Windows counts the default of its head).
func (w *world) quota(d forest.Domain) ref.Val {
	if d.Head == forest.None {
		return w.ldap("the domain " + d.DNS + " is not part of the snapshot")
	}
	switch q, st := w.s.Int(d.Head, forest.MsDSMachineAccountQuota); st {
	case forest.Known:
		return types.Int(q)
	case forest.Absent:
		return types.Int(0)
	}
	return w.ldap("ms-DS-MachineAccountQuota of " + d.DNS + ": " + w.s.Why(d.Head, forest.MsDSMachineAccountQuota))
}

// joinKinds are the entries by which computers can be joined or taken over.
var joinKinds = []string{"create-child-computer", "create-child", "full-control", "reset-password", "all-extended-rights", "write-dacl", "write-owner", "write-all-properties", "account-restrictions"}

// joinsByDelegation tells whether entries let p create or take over computers.
func (w *world) joinsByDelegation(p *principal) ref.Val {
	l := w.writeACEs(p)
	for _, v := range l.known {
		x := v.(record).v.(adACE)
		if slices.Contains(joinKinds, x.kind) && w.mattersToComputers(w.s.Lookup(x.dn), x) {
			return types.True
		}
	}
	return orUnknown(l.gap, types.False)
}

// mattersToComputers tells whether a right on an object lets computers be created or
// taken over there: on a computer itself, or on a container whose computers inherit it
// or in which they are created.
func (w *world) mattersToComputers(id forest.ID, x adACE) bool {
	switch {
	case w.s.IsA(id, "computer"):
		return x.here
	case !w.isContainer(id):
		return false
	case x.here && slices.Contains([]string{"create-child-computer", "create-child", "full-control", "write-dacl", "write-owner"}, x.kind):
		return true
	}
	return x.below && (w.inheritedBy(x, "computer") || w.inheritedBy(x, "organizationalUnit") || w.inheritedBy(x, "container"))
}

// isContainer reports whether computers can be created in an object.
func (w *world) isContainer(id forest.ID) bool {
	return w.s.IsA(id, "organizationalUnit") || w.s.IsA(id, "container") || w.s.IsA(id, "domainDNS")
}

// inheritedBy reports whether objects of a class inherit a right; what the schema does
// not know may be any class.
func (w *world) inheritedBy(x adACE, class string) bool {
	c := w.s.Schema().ClassByGUID(x.of)
	return x.of.IsZero() || c == nil || strings.EqualFold(c.Name, class)
}

// trusts tells whether domain b lets accounts of domain a in: within a forest always.
func (w *world) trusts(a, b string) ref.Val {
	if strings.EqualFold(a, b) {
		return types.True
	}
	to := w.domainNamed(b)
	if to == nil || to.Head == forest.None {
		return w.ldap("the trusts of " + b + " were not read: scan that domain")
	}
	if w.domainNamed(a) != nil {
		return types.True
	}
	for _, id := range w.s.With(forest.TrustPartner) {
		own, ok := w.s.DomainOf(id)
		partner, _ := w.s.Str(id, forest.TrustPartner)
		flat, _ := w.s.Str(id, forest.FlatName)
		if !ok || own.Head != to.Head || !strings.EqualFold(partner, a) && !strings.EqualFold(flat, a) && !isBelow(a, partner) {
			continue
		}
		direction, st := w.s.Int(id, forest.TrustDirection)
		if st != forest.Known {
			return w.ldap("trustDirection of " + w.s.DN(id) + " was not read")
		}
		if direction&2 != 0 { // outbound: this domain trusts the other ([MS-ADTS] 6.1.6.7.12)
			return types.True
		}
	}
	if !w.s.Collected(forest.TrustPartner) {
		return w.ldap("the trusts of " + b + " were not collected")
	}
	return orElse(w.hiddenTrusts(), types.False)
}

func (w *world) hiddenTrusts() ref.Val {
	if w.hidden != "" {
		return w.ldap(w.hidden)
	}
	return nil
}

func isBelow(child, parent string) bool {
	return parent != "" && strings.HasSuffix(strings.ToLower(child), "."+strings.ToLower(parent))
}

// isUnder reports whether a distinguished name is another or below it.
func isUnder(dn, top string) bool {
	dn, top = strings.ToLower(dn), strings.ToLower(top)
	return dn == top || strings.HasSuffix(dn, ","+top)
}

// madeOf tells whether p is a group that holds nobody but principals of a list.
func (w *world) madeOf(p *principal, list ref.Val) ref.Val {
	if u := p.known(); u != nil {
		return u
	}
	if !w.s.IsA(p.id, "group") {
		return types.False
	}
	out, some := ref.Val(types.True), false
	for _, id := range w.x.Members(p.id) {
		if !w.s.IsA(id, "group") {
			out, some = and(out, isIn(w.ofObject(id), list)), true
		}
	}
	if gaps := w.x.Gaps(p.id); len(gaps) > 0 {
		out = and(out, w.ldap("not all members of "+p.text()+" were read"))
	}
	if !some {
		return and(out, types.False)
	}
	return out
}
