package reach

import (
	"fmt"
	"sync"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// An Effective answers what accounts may do to objects, by the descriptors of the
// objects, the tokens of the accounts and the forest's schema ([MS-ADTS] 5.1.3.3).
// Every answer names the entry that decides it. It is safe for concurrent use.
//
// It judges one object at a time: what follows from a power (a password that was
// reset gives the account) is for [Graph]. Privileges are no part of it, such as
// that of administrators to take ownership. Whether an account sees the object at
// all (list rights on what contains it) is another question, too.
type Effective struct {
	x       *Index
	blocked bool // fBlockOwnerImplicitRights is set

	mu      sync.Mutex // of classes
	classes map[int]*classPowers
}

// classPowers is what the schema says of a class of objects.
type classPowers struct {
	guid       secdesc.GUID
	attributes []*forest.AttrDef // that somebody could write
	barred     map[secdesc.GUID]string
	children   []*forest.ClassDef
	rights     []*forest.RightDef // extended rights and validated writes that apply to it
}

// NewEffective prepares the answers for the snapshot whose memberships are x.
func NewEffective(x *Index) *Effective {
	return &Effective{x: x, blocked: blocksOwner(x.s), classes: map[int]*classPowers{}}
}

// An Answer says whether an account may do something to an object.
type Answer struct {
	Action Action
	Name   string // of the attribute, class or right; "" if the schema has none
	Bar    string // why nobody may do it, whatever the descriptor says; "" if nothing stands against it
	secdesc.Decision
}

// An Account is an account with its token. Make one with [Effective.Account]. It is
// safe for concurrent use.
type Account struct {
	e      *Effective
	id     forest.ID
	tokens []token // by domain of the snapshot; at least one
}

// ID returns the account.
func (a *Account) ID() forest.ID { return a.id }

type token map[secdesc.SID]struct{}

func (t token) has(sid secdesc.SID) bool { _, ok := t[sid]; return ok }

// Account returns the account (or group: then what its members may do) with the
// token that it has on the domain controllers of each domain.
func (e *Effective) Account(id forest.ID) *Account {
	a := &Account{e: e, id: id}
	for dom := range int16(max(1, len(e.x.s.Domains()))) {
		t := token{}
		for _, sid := range e.x.tokenIn(id, dom) {
			t[sid] = struct{}{}
		}
		a.tokens = append(a.tokens, t)
	}
	return a
}

// May decides whether the account may do something to an object. A partition that
// several domains have (configuration, schema) is written on any domain controller
// that grants it.
func (a *Account) May(object forest.ID, act Action) Answer {
	d, _ := a.e.x.s.Descriptor(object)
	return a.may(object, d, act)
}

// may decides it if object has the descriptor d; nil: it was not read.
func (a *Account) may(object forest.ID, d *secdesc.Descriptor, act Action) Answer {
	schema, kind := a.e.x.s.Schema(), a.e.kindOf(object)
	out := Answer{Action: act, Name: schema.NameOf(act.Type), Bar: kind.bar(schema, act)}
	req := a.e.request(kind, act)
	out.Decision = unread(req)
	if d != nil {
		for i, t := range a.tokensFor(object) {
			if c := a.view(object, d, t).Check(req); i == 0 || better(c, out.Decision) {
				out.Decision = c
			}
		}
	}
	if out.Bar != "" {
		out.Outcome = secdesc.Refused
	}
	return out
}

// unread is the decision where no descriptor was read.
func unread(r secdesc.Request) secdesc.Decision {
	return secdesc.Decision{Outcome: secdesc.Undecided, Reason: secdesc.DACLNotRead, Index: -1, Missing: r.Mask}
}

// better reports whether b grants more than a.
func better(b, a secdesc.Decision) bool {
	rank := func(o secdesc.Outcome) int {
		return [...]int{secdesc.Refused: 0, secdesc.Granted: 2, secdesc.Undecided: 1}[o]
	}
	return rank(b.Outcome) > rank(a.Outcome)
}

// tokensFor returns the tokens that the account has where the object is kept.
func (a *Account) tokensFor(object forest.ID) []token {
	if dom := a.e.x.domain[object]; dom >= 0 {
		return a.tokens[dom : dom+1]
	}
	return a.tokens
}

// view returns the descriptor of object as the account meets it. [secdesc.Self]
// stands for the object, and so for everybody who holds its SID: the members of a
// group, too ([MS-ADTS] 5.1.3.3).
func (a *Account) view(object forest.ID, d *secdesc.Descriptor, t token) *secdesc.View {
	self := a.e.x.s.SID(object)
	return d.View(func(sid secdesc.SID) bool {
		if sid == secdesc.Self {
			return !self.IsZero() && t.has(self)
		}
		return t.has(sid)
	}, a.e.ownership(object, d))
}

// ownership says what the owner of object may do without an entry: on computers,
// owners who are no administrators may do nothing if the forest says so ([MS-ADTS]
// 6.1.1.2.4.1.2, fBlockOwnerImplicitRights).
func (e *Effective) ownership(object forest.ID, d *secdesc.Descriptor) secdesc.Ownership {
	if e.blocked && e.x.s.IsA(object, "computer") && !ownsAnyway(d.Owner) {
		return secdesc.OwnersBlocked
	}
	return secdesc.OwnersDecide
}

// ownsAnyway reports whether sid keeps an owner's rights where they are blocked.
func ownsAnyway(sid secdesc.SID) bool {
	rid, ok := sid.RID()
	return sid == secdesc.Administrators ||
		ok && sid.IsDomainRelative() && (rid == secdesc.RIDDomainAdmins || rid == secdesc.RIDEnterpriseAdmins)
}

// Powers are what an account may do to an object: answers that are not Refused, in
// the order of their names.
type Powers struct {
	// Unread says why nothing of it is known; "" if the descriptor was read. Gaps
	// says what is missing of the lists: they name what they can.
	Unread string
	Gaps   []string

	Attributes []Answer // [WriteAttribute]
	Validated  []Answer // [ValidatedWrite], whether or not the attribute can be written anyhow
	Children   []Answer // [CreateChildOf]
	Rights     []Answer // [UseRight]
	Standard   []Answer // [ChangeDACL], [ChangeOwner], [DeleteObject], [DeleteSubtree]
}

// Powers returns everything that the account may do to an object. Attributes and
// Children are what a directory computes as allowedAttributesEffective ([MS-ADTS]
// 3.1.1.4.5.7, without what only the system writes), allowedChildClassesEffective
// (3.1.1.4.5.5); ChangeDACL and ChangeOwner are the bits of sDRightsEffective
// (3.1.1.4.5.4).
func (a *Account) Powers(object forest.ID) Powers {
	s := a.e.x.s
	d, st := s.Descriptor(object)
	if st != forest.Known {
		return Powers{Unread: fmt.Sprintf("the security descriptor of %s could not be read", s.DN(object))}
	}
	if len(s.Classes(object)) == 0 {
		return Powers{Unread: fmt.Sprintf("objectClass of %s could not be read", s.DN(object))}
	}
	return a.powers(object, d)
}

// powers lists what the account could do if object had the descriptor d.
func (a *Account) powers(object forest.ID, d *secdesc.Descriptor) Powers {
	l := lister{a: a, kind: a.e.kindOf(object)}
	for _, t := range a.tokensFor(object) {
		l.views = append(l.views, a.view(object, d, t))
	}
	out := Powers{Gaps: a.e.gaps()}
	for _, def := range l.kind.attributes {
		out.Attributes = l.list(out.Attributes, WriteAttribute, def.GUID, def.Name)
	}
	for _, c := range l.kind.children {
		out.Children = l.list(out.Children, CreateChildOf, c.GUID, c.Name)
	}
	for _, r := range l.kind.rights {
		if r.ValidAccesses&int64(secdesc.ControlAccess) != 0 {
			out.Rights = l.list(out.Rights, UseRight, r.GUID, r.Name)
		}
		if r.ValidAccesses&int64(secdesc.SelfWrite) != 0 {
			out.Validated = l.list(out.Validated, ValidatedWrite, r.GUID, r.Name)
		}
	}
	for _, v := range []Verb{ChangeDACL, ChangeOwner, DeleteObject, DeleteSubtree} {
		out.Standard = l.list(out.Standard, v, secdesc.GUID{}, "")
	}
	return out
}

// lister asks one question after the other about one object.
type lister struct {
	a     *Account
	kind  *classPowers
	views []*secdesc.View
}

// list appends the best answer of the views, unless it is Refused.
func (l *lister) list(to []Answer, v Verb, g secdesc.GUID, name string) []Answer {
	ans := Answer{Action: Action{v, g}, Name: name}
	req := l.a.e.request(l.kind, ans.Action)
	for i, view := range l.views {
		if d := view.Check(req); i == 0 || better(d, ans.Decision) {
			ans.Decision = d
		}
	}
	if ans.Outcome == secdesc.Refused {
		return to
	}
	return append(to, ans)
}

// gaps says what of the schema was not read.
func (e *Effective) gaps() []string {
	var out []string
	for _, a := range []forest.Attr{forest.SystemMayContain, forest.SystemOnly, forest.PossSuperiors, forest.AppliesTo} {
		if !e.x.s.Collected(a) {
			out = append(out, fmt.Sprintf("%s of the schema is not part of the snapshot", a))
		} else if n := len(e.x.s.Flawed(a)); n > 0 {
			out = append(out, fmt.Sprintf("%s of %d objects could not be read", a, n))
		}
	}
	return out
}

// WhoMay calls yield for each account that may, or perhaps may, do something to an
// object, in ID order, until yield returns false. It goes through all accounts,
// but looks only at the SIDs that the descriptor has entries for.
func (e *Effective) WhoMay(object forest.ID, act Action, yield func(account forest.ID, ans Answer) bool) {
	schema, kind := e.x.s.Schema(), e.kindOf(object)
	if kind.bar(schema, act) != "" {
		return
	}
	who := asker{e: e, object: object, req: e.request(kind, act)}
	who.d, _ = e.x.s.Descriptor(object)
	if who.d != nil {
		who.owner = e.ownership(object, who.d)
	}
	if who.domains = []int16{e.x.domain[object]}; who.domains[0] < 0 {
		who.domains = who.domains[:0]
		for i := range e.x.s.Domains() {
			who.domains = append(who.domains, int16(i))
		}
	}
	for id := range forest.ID(e.x.s.Len()) {
		if !e.x.isAccount(id) {
			continue
		}
		ans := Answer{Action: act, Name: schema.NameOf(act.Type), Decision: who.decide(id)}
		if ans.Outcome != secdesc.Refused && !yield(id, ans) {
			return
		}
	}
}

// asker asks the same about one account after the other.
type asker struct {
	e       *Effective
	object  forest.ID
	d       *secdesc.Descriptor // nil: not read
	owner   secdesc.Ownership
	req     secdesc.Request
	domains []int16 // where the object is kept
}

func (w *asker) decide(account forest.ID) secdesc.Decision {
	out := unread(w.req)
	if w.d == nil {
		return out
	}
	self := w.e.x.s.SID(w.object)
	for i, dom := range w.domains {
		c := w.d.View(func(sid secdesc.SID) bool {
			if sid == secdesc.Self {
				sid = self
			}
			return !sid.IsZero() && w.e.x.holdsIn(account, sid, dom)
		}, w.owner).Check(w.req)
		if i == 0 || better(c, out) {
			out = c
		}
	}
	return out
}
