package control

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/leastwise/leastwise/internal/forest"
)

// never is what days answers for a time that is not set.
const never = 1 << 31

// methods lists the functions of the expression language.
func methods() []method {
	return slices.Concat(objectMethods(), membershipMethods(), descriptorMethods(), forestMethods(), powerMethods(), hostMethods(), policyMethods())
}

var (
	strList  = cel.ListType(cel.StringType)
	objList  = cel.ListType(objectType)
	aceList  = cel.ListType(aceType)
	holdList = cel.ListType(holderType)
)

// onObject makes a method of objects whose receiver is part of the snapshot;
// asked of an object that is not, it answers unknown.
func onObject(name string, args []*cel.Type, out *cel.Type, doc string, f func(o object, args []ref.Val) ref.Val) method {
	return method{objectType, name, args, out, doc, func(args []ref.Val) ref.Val {
		o := args[0].(object)
		if o.id == forest.None {
			return o.ev.unknown("members", o.why)
		}
		return f(o, args[1:])
	}}
}

func str(v ref.Val) string {
	if l, ok := v.(*literal); ok {
		return string(l.String)
	}
	return string(v.(types.String))
}

// A literal is a text that the catalogue gives as an argument of a function, with
// what it may name looked up once.
type literal struct {
	types.String
	attr      forest.Attr
	isAttr    bool
	flag      int64 // of userAccountControl; 0 if it names none
	principal principalName
}

func newLiteral(text types.String) *literal {
	l := &literal{String: text, flag: accountFlags[string(text)], principal: findPrincipalName(string(text))}
	l.attr, l.isAttr = forest.AttrByName(string(text))
	return l
}

// named looks up what v may name, unless that was done before.
func named(v ref.Val) *literal {
	if l, ok := v.(*literal); ok {
		return l
	}
	return newLiteral(v.(types.String))
}

func none() []*cel.Type { return nil }

func one(t *cel.Type) []*cel.Type { return []*cel.Type{t} }

// attr resolves an attribute by name; asking for one that snapshots do not hold
// is an error in the catalogue.
func attr(v ref.Val) (forest.Attr, ref.Val) {
	if l, ok := v.(*literal); ok && l.isAttr {
		return l.attr, nil
	}
	a, ok := forest.AttrByName(str(v))
	if !ok {
		return 0, types.NewErr("attribute %q is not part of snapshots", str(v))
	}
	return a, nil
}

// sawAttr records that an attribute was looked at.
func (ev *evaluation) sawAttr(id forest.ID, a forest.Attr) {
	ev.facts = append(ev.facts, fact{kind: attrFact, id: id, attr: a})
}

func (ev *evaluation) unreadable(id forest.ID, a forest.Attr) ref.Val {
	why := ev.w.s.Why(id, a)
	if assumed, ok := ev.w.s.Assumed(a.String()); ok {
		why = assumed
	}
	if why == "" {
		why = "not readable"
	}
	return ev.unknown("attribute", fmt.Sprintf("%s of %s: %s", a, ev.w.s.DN(id), why))
}

// onAttr makes a method that asks for an attribute by name.
func onAttr(name string, more []*cel.Type, out *cel.Type, doc string, f func(o object, a forest.Attr, args []ref.Val) ref.Val) method {
	return onObject(name, append(one(cel.StringType), more...), out, doc, func(o object, args []ref.Val) ref.Val {
		a, bad := attr(args[0])
		if bad != nil {
			return bad
		}
		if _, assumed := o.ev.w.s.Assumed(a.String()); assumed {
			return o.ev.unreadable(o.id, a)
		}
		o.ev.sawAttr(o.id, a)
		return f(o, a, args[1:])
	})
}

func objectMethods() []method {
	return slices.Concat(attributeMethods(), []method{
		onObject("dn", none(), cel.StringType, "distinguished name", func(o object, _ []ref.Val) ref.Val {
			return types.String(o.ev.w.s.DN(o.id))
		}),
		onObject("name", none(), cel.StringType, "sAMAccountName, or the name of the object", func(o object, _ []ref.Val) ref.Val {
			return types.String(o.ev.w.accountName(o.id))
		}),
		onObject("sid", none(), cel.StringType, "objectSid, empty if there is none", func(o object, _ []ref.Val) ref.Val {
			return types.String(o.ev.w.s.SID(o.id).String())
		}),
		onObject("rid", none(), cel.IntType, "last part of objectSid, -1 if there is none", func(o object, _ []ref.Val) ref.Val {
			if rid, ok := o.ev.w.s.SID(o.id).RID(); ok {
				return types.Int(rid)
			}
			return types.Int(-1)
		}),
		onObject("kind", none(), cel.StringType, "user, computer, gmsa, msa, dmsa, group, foreign, gpo, domain, container or the class", func(o object, _ []ref.Val) ref.Val {
			kind := o.ev.w.kind(o.id)
			o.ev.saw(Evidence{Kind: "attribute", DN: o.ev.w.s.DN(o.id), Attr: "objectClass", Value: o.ev.w.s.Class(o.id), Text: "the object is a " + kind})
			return types.String(kind)
		}),
		onObject("is", one(cel.StringType), cel.BoolType, "whether a class is among objectClass", func(o object, args []ref.Val) ref.Val {
			return types.Bool(o.ev.w.s.IsA(o.id, str(args[0])))
		}),
		onObject("isGroup", none(), cel.BoolType, "kind is group", kindIs("group")),
		onObject("isUser", none(), cel.BoolType, "kind is user", kindIs("user")),
		onObject("isForeign", none(), cel.BoolType, "a principal from outside the forest", func(o object, _ []ref.Val) ref.Val {
			return types.Bool(o.ev.w.kind(o.id) == "foreign" && o.ev.w.s.SID(o.id).IsDomainRelative())
		}),
		onObject("isDomainController", none(), cel.BoolType, "a domain controller by userAccountControl or primaryGroupID", func(o object, _ []ref.Val) ref.Val {
			switch {
			case o.ev.w.kind(o.id) != "computer":
				return types.False
			case o.ev.w.isDC(o.id):
				return types.True
			case o.ev.w.roleUnread(o.id):
				return o.ev.unreadable(o.id, forest.UserAccountControl)
			}
			return types.False
		}),
		onObject("isPrincipal", one(cel.StringType), cel.BoolType, "the principal of that name, of any domain", func(o object, args []ref.Val) ref.Val {
			sid := o.ev.w.s.SID(o.id)
			return types.Bool(!sid.IsZero() && o.ev.w.sidIs(sid, named(args[0]).principal))
		}),
		onObject("isPrincipalOf", []*cel.Type{objectType, cel.StringType}, cel.BoolType, "the principal of that name of a domain", func(o object, args []ref.Val) ref.Val {
			d := o.ev.w.domainIndex(args[0].(object).id)
			sid := o.ev.w.s.SID(o.id)
			return types.Bool(!sid.IsZero() && o.ev.w.sidOf(d, str(args[1])) == sid)
		}),
		onObject("domain", none(), objectType, "the domain that holds the object", func(o object, _ []ref.Val) ref.Val {
			return o.ev.domain(o.ev.w.domainIndex(o.id))
		}),
		onObject("isRoot", none(), cel.BoolType, "the root domain of the forest", func(o object, _ []ref.Val) ref.Val {
			return types.Bool(o.ev.w.root >= 0 && o.ev.w.domains[o.ev.w.root].Head == o.id)
		}),
		onObject("principal", one(cel.StringType), objectType, "the principal of that name of a domain", func(o object, args []ref.Val) ref.Val {
			return o.ev.principalOf(o.ev.w.domainIndex(o.id), str(args[0]))
		}),
		onObject("sameUPN", none(), objList, "other objects with the same userPrincipalName", func(o object, _ []ref.Val) ref.Val {
			o.ev.sawAttr(o.id, forest.UserPrincipalName)
			return o.ev.sameUPN(o.id)
		}),
		onObject("shadowedByUPN", none(), objList, "other objects whose sAMAccountName@domain is the userPrincipalName", func(o object, _ []ref.Val) ref.Val {
			o.ev.sawAttr(o.id, forest.UserPrincipalName)
			return o.ev.shadowedByUPN(o.id)
		}),
		onObject("delegationTargets", none(), objList, "accounts whose services msDS-AllowedToDelegateTo names", delegationTargets),
		onObject("remoteControl", none(), cel.IntType, "CtxShadow in userParameters: 0 if sessions of the account can be neither watched nor steered, 1 (on, with consent) where the account says nothing", remoteControl),
		onObject("sidHistory", none(), holdList, "identifiers in sIDHistory", sidHistory),
	})
}

func kindIs(kind string) func(object, []ref.Val) ref.Val {
	return func(o object, _ []ref.Val) ref.Val { return types.Bool(o.ev.w.kind(o.id) == kind) }
}

func attributeMethods() []method {
	return []method{
		onAttr("has", none(), cel.BoolType, "whether the attribute has a value", func(o object, a forest.Attr, _ []ref.Val) ref.Val {
			return o.ev.has(o.id, a)
		}),
		onAttr("int", none(), cel.IntType, "a number; 0 if there is none", func(o object, a forest.Attr, _ []ref.Val) ref.Val {
			v, st := o.ev.w.s.Int(o.id, a)
			if st == forest.Unreadable {
				return o.ev.unreadable(o.id, a)
			}
			return types.Int(v)
		}),
		onAttr("bool", none(), cel.BoolType, "a boolean; false if there is none", func(o object, a forest.Attr, _ []ref.Val) ref.Val {
			v, st := o.ev.w.s.Bool(o.id, a)
			if st == forest.Unreadable {
				return o.ev.unreadable(o.id, a)
			}
			return types.Bool(v)
		}),
		onAttr("bits", one(cel.IntType), cel.IntType, "the bits of a number under a mask; 0 if there is none", func(o object, a forest.Attr, args []ref.Val) ref.Val {
			v, st := o.ev.w.s.Int(o.id, a)
			if st == forest.Unreadable {
				return o.ev.unreadable(o.id, a)
			}
			return types.Int(v & int64(args[0].(types.Int)))
		}),
		onAttr("text", none(), cel.StringType, "the first text; empty if there is none", func(o object, a forest.Attr, _ []ref.Val) ref.Val {
			v, st := o.ev.w.s.Str(o.id, a)
			if st == forest.Unreadable {
				return o.ev.unreadable(o.id, a)
			}
			return types.String(v)
		}),
		onAttr("texts", none(), strList, "all texts", func(o object, a forest.Attr, _ []ref.Val) ref.Val {
			v, st := o.ev.w.s.Strs(o.id, a)
			if st == forest.Unreadable {
				return o.ev.unreadable(o.id, a)
			}
			return types.NewStringList(types.DefaultTypeAdapter, v)
		}),
		onAttr("links", none(), objList, "objects that a link attribute names", func(o object, a forest.Attr, _ []ref.Val) ref.Val {
			ids, st := o.ev.w.s.Links(o.id, a)
			if st == forest.Unreadable {
				return o.ev.unreadable(o.id, a)
			}
			return o.ev.objects(ids)
		}),
		onAttr("days", none(), cel.IntType, "whole days since a time; 2147483648 if it is not set", func(o object, a forest.Attr, _ []ref.Val) ref.Val {
			d, st := o.ev.w.days(o.id, a)
			if st == forest.Unreadable {
				return o.ev.unreadable(o.id, a)
			}
			return types.Int(d)
		}),
		onAttr("changedDays", none(), cel.IntType, "whole days since the attribute was last changed (replication metadata)", func(o object, a forest.Attr, _ []ref.Val) ref.Val {
			c, ok := o.ev.w.s.LastChange(o.id, a)
			if !ok {
				return o.ev.unknown("metadata", fmt.Sprintf("when %s of %s was changed", a, o.ev.w.s.DN(o.id)))
			}
			return types.Int(o.ev.w.since(c.Time))
		}),
		onObject("flag", one(cel.StringType), cel.BoolType, "a flag of userAccountControl, by name", accountFlag),
		onObject("enabled", none(), cel.BoolType, "userAccountControl lacks ACCOUNTDISABLE", func(o object, _ []ref.Val) ref.Val {
			v, st := o.ev.w.s.Int(o.id, forest.UserAccountControl)
			o.ev.sawAttr(o.id, forest.UserAccountControl)
			if st != forest.Known {
				return o.ev.unreadable(o.id, forest.UserAccountControl)
			}
			return types.Bool(v&2 == 0)
		}),
	}
}

func accountFlag(o object, args []ref.Val) ref.Val {
	bit := named(args[0]).flag
	if bit == 0 {
		return types.NewErr("userAccountControl has no flag %q", str(args[0]))
	}
	o.ev.sawAttr(o.id, forest.UserAccountControl)
	v, st := o.ev.w.s.Int(o.id, forest.UserAccountControl)
	if _, assumed := o.ev.w.s.Assumed(forest.UserAccountControl.String()); st != forest.Known || assumed {
		return o.ev.unreadable(o.id, forest.UserAccountControl)
	}
	return types.Bool(v&bit != 0)
}

// has answers for every syntax; "never" of a time is a value like any other.
func (ev *evaluation) has(id forest.ID, a forest.Attr) ref.Val {
	st := ev.w.attrState(id, a)
	if st == forest.Unreadable && !ev.w.s.OutsideSchema(a) {
		return ev.unreadable(id, a)
	}
	return types.Bool(st == forest.Known)
}

// attrState says whether an attribute of any syntax has a value.
func (w *world) attrState(id forest.ID, a forest.Attr) (st forest.State) {
	switch a.Syntax() {
	case forest.Link:
		_, st = w.s.Links(id, a)
	case forest.Text, forest.Octets:
		_, st = w.s.Str(id, a)
	case forest.Descriptor:
		_, st = w.s.Desc(id, a)
	default:
		_, st = w.s.Int(id, a)
		if st == forest.Known && isTimestamp[a] {
			_, st = w.s.Time(id, a)
		}
	}
	return st
}

// isTimestamp marks attributes whose value 0 means that nothing happened yet.
var isTimestamp = map[forest.Attr]bool{
	forest.LastLogonTimestamp: true, forest.PwdLastSet: true, forest.LockoutTime: true,
	forest.MsLAPSPasswordExpirationTime: true, forest.MsMcsAdmPwdExpirationTime: true,
}

func (w *world) since(t time.Time) int { return int(w.now.Sub(t) / (24 * time.Hour)) }

// days returns the whole days since a time, or never if it is not set.
func (w *world) days(id forest.ID, a forest.Attr) (int, forest.State) {
	t, st := w.s.Time(id, a)
	switch st {
	case forest.Known:
		return w.since(t), st
	case forest.Absent:
		return never, st
	}
	return 0, st
}

func (ev *evaluation) objects(ids []forest.ID) ref.Val {
	if len(ids) == 0 {
		return noObjects
	}
	out := make([]ref.Val, len(ids))
	for i, id := range ids {
		out[i] = ev.object(id)
	}
	return types.NewRefValList(types.DefaultTypeAdapter, out)
}

// noObjects is the empty list.
var noObjects = types.NewRefValList(types.DefaultTypeAdapter, nil)

// objectsAnd is a list of objects and of objects that are not known, each with why.
func (ev *evaluation) objectsAnd(ids []forest.ID, hidden []string) ref.Val {
	out := make([]ref.Val, 0, len(ids)+len(hidden))
	for _, id := range ids {
		out = append(out, ev.object(id))
	}
	for _, why := range hidden {
		out = append(out, object{base: base{ev}, id: forest.None, group: forest.None, why: why})
	}
	return types.NewRefValList(types.DefaultTypeAdapter, out)
}

// domain returns domain d, or an object that is not known.
func (ev *evaluation) domain(d int) ref.Val {
	if d < 0 || ev.w.domains[d].Head == forest.None {
		return object{base: base{ev}, id: forest.None, group: forest.None, why: "the domain is not part of the snapshot"}
	}
	return ev.object(ev.w.domains[d].Head)
}

func (ev *evaluation) principalOf(d int, name string) ref.Val {
	if !isPrincipalName(name) {
		return types.NewErr("principal %q is not known", name)
	}
	id := ev.w.principalID(d, name)
	if id == forest.None {
		return object{base: base{ev}, id: forest.None, group: forest.None, why: name + " is not part of the snapshot"}
	}
	return ev.object(id)
}

// delegationTargets resolves the services of msDS-AllowedToDelegateTo to the
// accounts that run them. HOST and the like are written with any service class,
// so that a name is first looked for as it is and then by its host.
func delegationTargets(o object, _ []ref.Val) ref.Val {
	ev, s := o.ev, o.ev.w.s
	ev.sawAttr(o.id, forest.MsDSAllowedToDelegateTo)
	spns, st := s.Strs(o.id, forest.MsDSAllowedToDelegateTo)
	if st == forest.Unreadable {
		return ev.unreadable(o.id, forest.MsDSAllowedToDelegateTo)
	}
	var ids []forest.ID
	var out []ref.Val
	for _, spn := range spns {
		found := ev.w.spnOwners(spn)
		if len(found) == 0 {
			out = append(out, object{base: base{ev}, id: forest.None, group: forest.None, why: "who runs the service " + spn})
		}
		ids = append(ids, found...)
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		out = append(out, ev.object(id))
	}
	return types.NewRefValList(types.DefaultTypeAdapter, out)
}

func (w *world) spnOwners(spn string) []forest.ID {
	if ids := w.s.BySPN(spn); len(ids) > 0 {
		return ids
	}
	parts := strings.SplitN(spn, "/", 3)
	if len(parts) < 2 {
		return nil
	}
	host, _, _ := strings.Cut(parts[1], ":")
	for _, try := range []string{parts[0] + "/" + host, "HOST/" + host} {
		if ids := w.s.BySPN(try); len(ids) > 0 {
			return ids
		}
	}
	short, _, _ := strings.Cut(host, ".")
	var out []forest.ID
	for _, id := range w.s.BySAMAccountName(short + "$") {
		if dns, _ := w.s.Str(id, forest.DNSHostName); dns == "" || strings.EqualFold(dns, host) || !strings.Contains(host, ".") {
			out = append(out, id)
		}
	}
	return out
}

// A nameIndex has the user principal names that several objects have, in lower
// case, with those objects in ID order.
type nameIndex struct {
	shared map[string][]forest.ID
	unread string // why there may be more
}

func (w *world) indexNames() *nameIndex {
	ids := w.s.With(forest.UserPrincipalName)
	first := make(map[string]forest.ID, len(ids))
	x := &nameIndex{shared: map[string][]forest.ID{}}
	for _, id := range ids {
		v, st := w.s.Str(id, forest.UserPrincipalName)
		if st != forest.Known {
			continue
		}
		k := strings.ToLower(v)
		one, taken := first[k]
		switch {
		case !taken:
			first[k] = id
		case x.shared[k] == nil:
			x.shared[k] = []forest.ID{one, id}
		default:
			x.shared[k] = append(x.shared[k], id)
		}
	}
	if flawed := w.s.Flawed(forest.UserPrincipalName); len(flawed) > 0 {
		x.unread = "userPrincipalName of " + counted(len(flawed), w.s.DN(flawed[0]), "objects") + ": " + w.s.Why(flawed[0], forest.UserPrincipalName)
	}
	return x
}

// sameUPN lists the other objects with the name of id. That there is none is not
// known if the names of some could not be read.
func (ev *evaluation) sameUPN(id forest.ID) ref.Val {
	w := ev.w
	upn, st := w.s.Str(id, forest.UserPrincipalName)
	if st == forest.Unreadable {
		return ev.unreadable(id, forest.UserPrincipalName)
	}
	names := w.upns()
	var found []forest.ID
	if len(names.shared) > 0 {
		found = w.without(names.shared[strings.ToLower(upn)], id)
	}
	if len(found) == 0 && names.unread != "" {
		return ev.unknown("attribute", names.unread)
	}
	return ev.objects(found)
}

// shadowedByUPN lists the accounts whose name@domain is the name of id.
func (ev *evaluation) shadowedByUPN(id forest.ID) ref.Val {
	w := ev.w
	upn, st := w.s.Str(id, forest.UserPrincipalName)
	if st == forest.Unreadable {
		return ev.unreadable(id, forest.UserPrincipalName)
	}
	at := strings.LastIndexByte(upn, '@')
	if at < 0 {
		return ev.objects(nil)
	}
	var out []forest.ID
	for _, o := range w.without(w.s.BySAMAccountName(upn[:at]), id) {
		if strings.EqualFold(w.domainDNS(o), upn[at+1:]) {
			out = append(out, o)
		}
	}
	if why := w.namesUnread(); len(out) == 0 && why != "" {
		return ev.unknown("attribute", why)
	}
	return ev.objects(out)
}

// findNamesUnread says why an account may have a name that is not known.
func (w *world) findNamesUnread() string {
	if !w.s.Collected(forest.SAMAccountName) {
		return "attribute sAMAccountName is not part of this snapshot"
	}
	flawed := w.s.Flawed(forest.SAMAccountName)
	if len(flawed) == 0 {
		return ""
	}
	return "sAMAccountName of " + counted(len(flawed), w.s.DN(flawed[0]), "objects") + ": " + w.s.Why(flawed[0], forest.SAMAccountName)
}

func (w *world) without(ids []forest.ID, id forest.ID) []forest.ID {
	if len(ids) == 0 || len(ids) == 1 && ids[0] == id {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(ids), func(x forest.ID) bool { return x == id })
}
