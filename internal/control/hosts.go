package control

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Roles of hosts.
const (
	roleWorkstation = "workstation"
	roleServer      = "server"
	roleDC          = "domain-controller"
	roleExempt      = "exempt"
)

// A hostSet is the computers of one container that have one role and the same
// policies.
type hostSet struct {
	container forest.ID
	scope     gpo.ScopeID // one of those that are alike
	role      string
	computers []forest.ID
	tag       string // tells apart the sets of one container
	subject   Subject
	doubt     string // why the set may be none: not known whether a computer is enabled, or its role
}

// findHostSets groups the enabled computers. Disabled accounts apply no policy.
func (w *world) findHostSets() []*hostSet {
	roles := w.roleRules()
	type key struct {
		container forest.ID
		scope     gpo.ScopeID
		role      string
	}
	sets := map[key]*hostSet{}
	for sc := range w.gpo.Scopes() {
		for _, c := range w.gpo.Computers(gpo.ScopeID(sc)) {
			uac, st := w.s.Int(c, forest.UserAccountControl)
			if w.kind(c) != "computer" || st == forest.Known && uac&2 != 0 {
				continue
			}
			k := key{w.s.Parent(c), w.gpo.Alike(gpo.ScopeID(sc)), roles.of(w, c)}
			if sets[k] == nil {
				sets[k] = &hostSet{container: k.container, scope: k.scope, role: k.role, doubt: "userAccountControl of " + w.s.DN(c) + ": " + w.s.Why(c, forest.UserAccountControl)}
			}
			if st == forest.Known {
				sets[k].doubt = ""
			}
			sets[k].computers = append(sets[k].computers, c)
		}
	}
	out := make([]*hostSet, 0, len(sets))
	for _, h := range sets {
		slices.Sort(h.computers)
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b *hostSet) int {
		return cmp.Or(cmp.Compare(a.container, b.container), cmp.Compare(a.role, b.role), cmp.Compare(a.computers[0], b.computers[0]))
	})
	w.tagHostSets(out)
	for _, h := range out {
		h.subject = w.hostsSubject(h)
	}
	return out
}

// tagHostSets names what tells the sets of one container apart: the role, and
// where that is not enough the policies that are applied.
func (w *world) tagHostSets(sets []*hostSet) {
	count := map[string]int{}
	for _, h := range sets {
		h.tag = h.role
		count[fmt.Sprint(h.container, h.role)]++
	}
	used := map[string]bool{}
	for _, h := range sets {
		if count[fmt.Sprint(h.container, h.role)] > 1 {
			h.tag += ": " + w.scopeText(h.scope)
		}
		for n := 2; used[fmt.Sprint(h.container, h.tag)]; n++ {
			h.tag = strings.TrimSuffix(h.tag, fmt.Sprintf(" (%d)", n-1)) + fmt.Sprintf(" (%d)", n)
		}
		used[fmt.Sprint(h.container, h.tag)] = true
	}
}

func (w *world) scopeText(id gpo.ScopeID) string {
	var names []string
	for _, p := range w.gpo.Result(id).Policies {
		if p.Policy != nil {
			names = append(names, p.Policy.Name)
		}
	}
	return strings.Join(names, " < ")
}

// roleRules decides the role of a computer: domain controllers by their account,
// then the nearest OU named in the options, then the operating system.
type roleRules struct {
	exempt, servers, workstations []forest.ID
}

func (w *world) roleRules() *roleRules {
	r := &roleRules{}
	r.exempt = lookups(w.s, w.options.ExemptOUs)
	r.servers = lookups(w.s, w.options.ServerOUs)
	r.workstations = lookups(w.s, w.options.WorkstationOUs)
	return r
}

func (r *roleRules) of(w *world, id forest.ID) string {
	if w.isDC(id) {
		return roleDC
	}
	role, nearest := "", 1<<30
	for _, rule := range []struct {
		ous  []forest.ID
		role string
	}{{r.exempt, roleExempt}, {r.servers, roleServer}, {r.workstations, roleWorkstation}} {
		if depth, ok := under(w.s, w.s.Parent(id), rule.ous); ok && depth < nearest {
			role, nearest = rule.role, depth
		}
	}
	if role != "" {
		return role
	}
	if system, _ := w.s.Str(id, forest.OperatingSystem); strings.Contains(strings.ToLower(system), "server") {
		return roleServer
	}
	return roleWorkstation
}

func onHosts(name string, args []*cel.Type, out *cel.Type, doc string, f func(h hosts, args []ref.Val) ref.Val) method {
	return method{hostsType, name, args, out, doc, func(args []ref.Val) ref.Val {
		return f(args[0].(hosts), args[1:])
	}}
}

func hostMethods() []method {
	return slices.Concat([]method{
		onHosts("right", one(cel.StringType), rightType, "the resultant of a user right on these hosts", func(h hosts, args []ref.Val) ref.Val {
			s := h.ev.w.gpo.Result(h.set.scope).Right(str(args[0]))
			h.ev.sawSetting("user right "+s.Name, s)
			return right{h.base, s, h.set}
		}),
		onHosts("setting", one(cel.StringType), cel.StringType, "a value of [System Access], without quotes; empty if no policy sets it", func(h hosts, args []ref.Val) ref.Val {
			s := h.ev.w.gpo.Result(h.set.scope).SystemAccess(str(args[0]))
			h.ev.sawSetting(s.Name, s)
			if s.State == gpo.Undecided {
				return h.ev.unknown("settings", reasons(s.Reasons))
			}
			return types.String(strings.Trim(s.Value, `"`))
		}),
		onHosts("auditsSuccess", []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType, "whether policy audits success of a subcategory, named with its category", func(h hosts, args []ref.Val) ref.Val {
			return h.auditsSuccess(str(args[0]), str(args[1]))
		}),
		onHosts("localAdministrators", none(), groupType, "Administrators of the hosts as policy determines it", func(h hosts, _ []ref.Val) ref.Val {
			g, found := h.ev.w.gpo.Result(h.set.scope).Group(builtinDomain.Child(544))
			return localGroup{h.base, g, found}
		}),
		onHosts("computers", none(), objList, "the computers", func(h hosts, _ []ref.Val) ref.Val {
			return h.ev.objects(h.set.computers)
		}),
		onHosts("domain", none(), objectType, "their domain", func(h hosts, _ []ref.Val) ref.Val {
			return h.ev.domain(h.ev.w.domainIndex(h.set.computers[0]))
		}),
		onHosts("role", none(), cel.StringType, "workstation, server, domain-controller or exempt", func(h hosts, _ []ref.Val) ref.Val {
			return types.String(h.set.role)
		}),
	}, rightMethods(), holderMethods(), localGroupMethods())
}

func reasons(list []string) string {
	if len(list) == 0 {
		return "the policies do not decide it"
	}
	return strings.Join(list, "; ")
}

func rightMethods() []method {
	return []method{
		{rightType, "defined", none(), cel.BoolType, "whether a policy defines the right", func(args []ref.Val) ref.Val {
			r := args[0].(right)
			if r.setting.State == gpo.Undecided {
				return r.ev.unknown("rights", r.setting.Name+": "+reasons(r.setting.Reasons))
			}
			return types.Bool(r.setting.State == gpo.Defined)
		}},
		{rightType, "holders", none(), holdList, "who holds the right by policy", func(args []ref.Val) ref.Val {
			r := args[0].(right)
			return r.ev.rightHolders(r.setting)
		}},
		{rightType, "covers", one(objectType), cel.BoolType, "whether the list holds a principal, or a group that it is an effective member of; of the groups that each host has of its own those count that policy or default puts it into", func(args []ref.Val) ref.Val {
			return covers(args[0].(right), args[1].(object))
		}},
		{rightType, "coversLocalAdministrator", none(), cel.BoolType, "whether the list holds a group that the built-in Administrator of each host is always in", func(args []ref.Val) ref.Val {
			r := args[0].(right)
			v := r.truth(func(p gpo.Principal) bool { return slices.Contains(localAdministratorGroups, p.SID) })
			if v == types.True {
				r.sawLocalCover()
			}
			return v
		}},
		{rightType, "lists", one(objectType), cel.BoolType, "whether the list names a principal itself", func(args []ref.Val) ref.Val {
			r, o := args[0].(right), args[1].(object)
			if o.id == forest.None {
				return r.ev.unknown("members", o.why)
			}
			sid := r.ev.w.s.SID(o.id)
			why := ""
			v := r.truth(func(p gpo.Principal) bool {
				why = cmp.Or(why, r.ev.w.nameless(p))
				return p.Is(sid)
			})
			if v == types.False && why != "" {
				return r.ev.unknown("members", why)
			}
			return v
		}},
	}
}

// truth asks whether the list holds a principal that match accepts.
func (r right) truth(match func(gpo.Principal) bool) ref.Val {
	switch r.setting.Holds(match) {
	case gpo.Yes:
		return types.True
	case gpo.No:
		return types.False
	}
	return r.ev.unknown("rights", r.setting.Name+": "+reasons(r.setting.Reasons))
}

// holds reports whether whoever logs on as o, or as a member of o, has sid in
// the token: Everyone and Authenticated Users cover groups too.
func (w *world) holds(id forest.ID, sid secdesc.SID) bool {
	return sid == identities["everyone"] || sid == identities["authenticated-users"] || w.reach.Holds(id, sid)
}

// rightHolders lists the principals of a right. Of an undecided one the list
// holds those of every possible outcome, and one element that is not known.
func (ev *evaluation) rightHolders(s gpo.Setting) ref.Val {
	var out []ref.Val
	if s.State != gpo.Undecided {
		for _, p := range s.Principals {
			out = append(out, holder{base: base{ev}, p: p, source: s.Winner})
		}
		return types.NewRefValList(types.DefaultTypeAdapter, out)
	}
	if len(s.Outcomes) > 0 {
		for _, p := range s.Outcomes[0].Principals {
			if s.Holds(func(q gpo.Principal) bool { return q.Raw == p.Raw || q.Is(p.SID) }) == gpo.Yes {
				out = append(out, holder{base: base{ev}, p: p, source: s.Outcomes[0].Source})
			}
		}
	}
	out = append(out, holder{base: base{ev}, why: s.Name + ": " + reasons(s.Reasons)})
	return types.NewRefValList(types.DefaultTypeAdapter, out)
}

func onHolder(name string, args []*cel.Type, out *cel.Type, doc string, f func(h holder, args []ref.Val) ref.Val) method {
	return method{holderType, name, args, out, doc, func(args []ref.Val) ref.Val {
		h := args[0].(holder)
		if h.why != "" {
			return h.ev.unknown("rights", h.why)
		}
		return f(h, args[1:])
	}}
}

func holderMethods() []method {
	return []method{
		onHolder("sid", none(), cel.StringType, "the identifier, empty for a name that means nothing to the forest", func(h holder, _ []ref.Val) ref.Val {
			return types.String(h.p.SID.String())
		}),
		onHolder("rid", none(), cel.IntType, "last part of the identifier, -1 if there is none", func(h holder, _ []ref.Val) ref.Val {
			if rid, ok := h.p.SID.RID(); ok {
				return types.Int(rid)
			}
			return types.Int(-1)
		}),
		onHolder("name", none(), cel.StringType, "as the policy writes it", func(h holder, _ []ref.Val) ref.Val {
			return types.String(strings.TrimPrefix(h.p.Raw, "*"))
		}),
		onHolder("isLocalAdministrator", none(), cel.BoolType, "the built-in Administrator of each host, or S-1-5-113 or S-1-5-114", func(h holder, _ []ref.Val) ref.Val {
			return types.Bool(h.p.IsHostAdministrator())
		}),
		onHolder("isUser", none(), cel.BoolType, "a user account of the forest", func(h holder, _ []ref.Val) ref.Val {
			if why := h.ev.w.mayBeHidden(h.p.SID); why != "" {
				return h.ev.unknown("members", why)
			}
			if why := h.ev.w.nameless(h.p); why != "" {
				return h.ev.unknown("members", why)
			}
			return types.Bool(h.ev.w.kind(h.p.ID) == "user")
		}),
		onHolder("isPrincipal", one(cel.StringType), cel.BoolType, "the principal of that name, of any domain", func(h holder, args []ref.Val) ref.Val {
			if why := h.ev.w.nameless(h.p); why != "" {
				return h.ev.unknown("members", why)
			}
			if h.p.SID.IsZero() {
				return types.False
			}
			return h.ev.sidIsOneOf(h.p.SID, named(args[0]).principal)
		}),
		onHolder("privileged", none(), cel.BoolType, "a protected account or group, or an effective member of one", func(h holder, _ []ref.Val) ref.Val {
			if h.p.ID == forest.None {
				if why := cmp.Or(h.ev.w.mayBeHidden(h.p.SID), h.ev.w.nameless(h.p)); why != "" {
					return h.ev.unknown("members", why)
				}
				return types.False
			}
			if p := h.ev.w.privilege(); p.inSet[h.p.ID] || len(p.members[h.p.ID]) > 0 {
				return types.True
			}
			if why := h.ev.w.protectedGap(); why != "" {
				return h.ev.unknown("members", why)
			}
			return types.False
		}),
	}
}

func localGroupMethods() []method {
	return []method{
		{groupType, "replaced", none(), cel.BoolType, "whether a policy sets the list and removes everyone else", func(args []ref.Val) ref.Val {
			g := args[0].(localGroup)
			if !g.found {
				return types.False
			}
			if g.group.Exact == gpo.Unknown {
				return g.ev.unknown("local-groups", reasons(g.group.Problems))
			}
			return types.Bool(g.group.Exact == gpo.Yes)
		}},
		{groupType, "holds", one(objectType), cel.BoolType, "whether the group holds a principal by policy or by default", func(args []ref.Val) ref.Val {
			return groupHolds(args[0].(localGroup), args[1].(object))
		}},
		{groupType, "holders", none(), holdList, "the members that policies add", func(args []ref.Val) ref.Val {
			return args[0].(localGroup).holders()
		}},
	}
}

func groupHolds(g localGroup, o object) ref.Val {
	if o.id == forest.None {
		return g.ev.unknown("members", o.why)
	}
	sid := g.ev.w.s.SID(o.id)
	unread := ""
	for _, m := range g.group.Members {
		if m.In != gpo.No {
			unread = cmp.Or(unread, g.ev.w.nameless(m.Principal))
		}
		if m.Is(sid) {
			g.ev.sawMember(g.group, m)
			if m.In == gpo.Unknown {
				return g.ev.unknown("local-groups", reasons(m.Reasons))
			}
			return types.Bool(m.In == gpo.Yes)
		}
	}
	if len(g.group.Problems) > 0 {
		return g.ev.unknown("local-groups", reasons(g.group.Problems))
	}
	if unread != "" {
		return g.ev.unknown("members", unread)
	}
	return types.False
}

func (g localGroup) holders() ref.Val {
	var out []ref.Val
	for _, m := range g.group.Members {
		switch {
		case m.Default || m.In == gpo.No:
		case m.In == gpo.Yes:
			out = append(out, holder{base: g.base, p: m.Principal, source: m.Source})
		default:
			out = append(out, holder{base: g.base, p: m.Principal, why: m.Raw + ": " + reasons(m.Reasons)})
		}
	}
	for _, p := range g.group.Problems {
		out = append(out, holder{base: g.base, why: p})
	}
	return types.NewRefValList(types.DefaultTypeAdapter, out)
}

// Subcategories of the audit policy ([MS-GPAC] 2.2.1.4) and the categories of the
// older policy ([MS-GPSB] 2.2.4) that hold them.
var (
	auditSubcategories = map[string]secdesc.GUID{
		"User Account Management":      secdesc.MustGUID("0cce9235-69ae-11d9-bed3-505054503030"),
		"Computer Account Management":  secdesc.MustGUID("0cce9236-69ae-11d9-bed3-505054503030"),
		"Security Group Management":    secdesc.MustGUID("0cce9237-69ae-11d9-bed3-505054503030"),
		"Directory Service Access":     secdesc.MustGUID("0cce923b-69ae-11d9-bed3-505054503030"),
		"Directory Service Changes":    secdesc.MustGUID("0cce923c-69ae-11d9-bed3-505054503030"),
		"Audit Policy Change":          secdesc.MustGUID("0cce922f-69ae-11d9-bed3-505054503030"),
		"Authentication Policy Change": secdesc.MustGUID("0cce9230-69ae-11d9-bed3-505054503030"),
	}
	auditCategories = map[string]string{
		"Account Management": "AuditAccountManage", "DS Access": "AuditDSAccess", "Policy Change": "AuditPolicyChange",
	}
)

// auditsSuccess asks the subcategory first: where one is defined it overrides its
// category.
func (h hosts) auditsSuccess(category, sub string) ref.Val {
	g, ok := auditSubcategories[sub]
	key, ok2 := auditCategories[category]
	if !ok || !ok2 {
		return types.NewErr("%q is no subcategory of %q that leastwise knows", sub, category)
	}
	r := h.ev.w.gpo.Result(h.set.scope)
	for _, s := range []gpo.Setting{r.AuditSubcategory(g), r.AuditCategory(key)} {
		h.ev.sawSetting("audit of "+sub, s)
		switch {
		case s.State == gpo.Undecided:
			return h.ev.unknown("settings", sub+": "+reasons(s.Reasons))
		case s.State == gpo.Defined && strings.TrimSpace(s.Value) != "0" || s.State == gpo.Defined && s.Name == key:
			v := strings.TrimSpace(s.Value)
			return types.Bool(v == "1" || v == "3")
		}
	}
	return h.ev.unknown("host-audit", "no policy decides the audit of "+sub)
}
