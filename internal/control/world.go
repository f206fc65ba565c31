package control

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A world is what all evaluations of one assessment share: the snapshot and what
// the other engines derive from it. It is safe for concurrent use.
type world struct {
	s          *forest.Snapshot
	workers    int // goroutines
	reach      *reach.Index
	gpo        *gpo.Engine
	now        time.Time // when the directory was read: ages count from it
	options    Options
	variables  map[string]any // options as texts see them; read only
	optionsVal ref.Val
	optionVals map[string]ref.Val // the same, one by one

	domains      []forest.Domain
	unreadDomain bool                   // the SID of a domain of the forest is not known
	root         int                    // index of the forest root domain, -1 if unknown
	builtins     []map[uint32]forest.ID // by domain: RID → object of CN=Builtin
	kindOf       []string               // by object

	graph        func() *reach.Graph
	tierZero     func() *tierZero
	privilege    func() *privilege
	hostSets     func() []*hostSet
	management   func() *management
	upns         func() *nameIndex
	baseline     func() []baselineEntry
	policies     func() []*policyFacts
	linkGaps     func() []string // why links of policies may be missing
	listing      func() *listing
	protectedGap func() string // why an object that is known in no protected group may be in one
	namesUnread  func() string // why an account may have a name that is not known
}

func newWorld(in Input) *world {
	s := in.Snapshot
	w := &world{s: s, workers: in.Workers, now: in.Now, options: in.Options.filled(), domains: s.Domains(), root: -1}
	if read := s.Info().Finished; !read.IsZero() {
		w.now = read
	}
	if w.workers <= 0 {
		w.workers = 2
	}
	parallel(w.workers, 2, func() func(int) {
		return func(i int) {
			if i == 0 {
				w.reach = indexOf(in)
				return
			}
			w.findKinds()
		}
	})
	w.variables = w.options.variables()
	w.optionsVal = types.DefaultTypeAdapter.NativeToValue(w.variables)
	w.optionVals = make(map[string]ref.Val, len(w.variables))
	for name, v := range w.variables {
		w.optionVals[name] = types.DefaultTypeAdapter.NativeToValue(v)
	}
	if in.Graph != nil {
		w.gpo = in.Graph.Policies()
	}
	if w.gpo == nil {
		w.gpo = gpo.New(s, w.reach)
	}
	w.builtins = make([]map[uint32]forest.ID, len(w.domains))
	for i, d := range w.domains {
		w.unreadDomain = w.unreadDomain || d.SID.IsZero()
		if d.Root {
			w.root = i
		}
		w.builtins[i] = w.readBuiltins(d)
	}
	w.graph = sync.OnceValue(func() *reach.Graph {
		if in.Graph != nil {
			return in.Graph
		}
		return reach.NewGraph(w.reach, w.gpo)
	})
	w.tierZero = sync.OnceValue(w.findTierZero)
	w.privilege = sync.OnceValue(w.findPrivilege)
	w.hostSets = sync.OnceValue(w.findHostSets)
	w.management = sync.OnceValue(w.findManagement)
	w.upns = sync.OnceValue(w.indexNames)
	w.baseline = sync.OnceValue(w.readBaseline)
	w.policies = sync.OnceValue(w.readPolicies)
	w.linkGaps = sync.OnceValue(w.findLinkGaps)
	w.listing = sync.OnceValue(w.findListing)
	w.protectedGap = sync.OnceValue(w.findProtectedGap)
	w.namesUnread = sync.OnceValue(w.findNamesUnread)
	return w
}

// indexOf returns the memberships of the snapshot.
func indexOf(in Input) *reach.Index {
	if in.Graph != nil {
		return in.Graph.Index()
	}
	return reach.New(in.Snapshot)
}

// readBuiltins finds the groups S-1-5-32-… of a domain. Every domain has groups
// with these identifiers, so the snapshot's index of SIDs cannot tell them apart.
func (w *world) readBuiltins(d forest.Domain) map[uint32]forest.ID {
	out := map[uint32]forest.ID{}
	if d.Head == forest.None {
		return out
	}
	for c := range w.s.Children(d.Head) {
		if !strings.EqualFold(w.s.Name(c), "Builtin") {
			continue
		}
		for id := range w.s.Children(c) {
			if sid := w.s.SID(id); sid.Domain() == builtinDomain {
				rid, _ := sid.RID()
				out[rid] = id
			}
		}
	}
	return out
}

// domainIndex returns the index of the domain that holds id, or -1.
func (w *world) domainIndex(id forest.ID) int {
	if id == forest.None {
		return -1
	}
	d, ok := w.s.DomainOf(id)
	if !ok {
		return -1
	}
	return slices.IndexFunc(w.domains, func(x forest.Domain) bool { return x.Head == d.Head })
}

// domainDNS returns the DNS name of the domain that holds id, or "".
func (w *world) domainDNS(id forest.ID) string {
	if i := w.domainIndex(id); i >= 0 {
		return w.domains[i].DNS
	}
	return ""
}

// Kinds by class, most specific first.
var kindsByClass = []struct{ class, kind string }{
	{"msDS-DelegatedManagedServiceAccount", "dmsa"},
	{"msDS-GroupManagedServiceAccount", "gmsa"},
	{"msDS-ManagedServiceAccount", "msa"},
	{"computer", "computer"},
	{"user", "user"},
	{"group", "group"},
	{"foreignSecurityPrincipal", "foreign"},
	{"groupPolicyContainer", "gpo"},
	{"domainDNS", "domain"},
	{"organizationalUnit", "container"},
	{"container", "container"},
	{"builtinDomain", "container"},
}

// kind returns what an object is to an administrator, or its class.
func (w *world) kind(id forest.ID) string {
	if id == forest.None {
		return ""
	}
	return w.kindOf[id]
}

// findKinds decides once for each distinct list of classes.
func (w *world) findKinds() {
	w.kindOf = make([]string, w.s.Len())
	seen := map[*string]string{}
	for id := range forest.ID(w.s.Len()) {
		classes := w.s.Classes(id)
		if len(classes) == 0 {
			continue
		}
		kind, ok := seen[&classes[0]]
		if !ok {
			kind = w.s.Class(id)
			for _, k := range kindsByClass {
				if w.s.IsA(id, k.class) {
					kind = k.kind
					break
				}
			}
			seen[&classes[0]] = kind
		}
		w.kindOf[id] = kind
	}
}

// Bits of userAccountControl ([MS-ADTS] 2.2.16).
var accountFlags = map[string]int64{
	"ACCOUNTDISABLE":                 0x2,
	"LOCKOUT":                        0x10,
	"PASSWD_NOTREQD":                 0x20,
	"ENCRYPTED_TEXT_PWD_ALLOWED":     0x80,
	"NORMAL_ACCOUNT":                 0x200,
	"INTERDOMAIN_TRUST_ACCOUNT":      0x800,
	"WORKSTATION_TRUST_ACCOUNT":      0x1000,
	"SERVER_TRUST_ACCOUNT":           0x2000,
	"DONT_EXPIRE_PASSWORD":           0x10000,
	"SMARTCARD_REQUIRED":             0x40000,
	"TRUSTED_FOR_DELEGATION":         0x80000,
	"NOT_DELEGATED":                  0x100000,
	"USE_DES_KEY_ONLY":               0x200000,
	"DONT_REQ_PREAUTH":               0x400000,
	"TRUSTED_TO_AUTH_FOR_DELEGATION": 0x1000000,
	"PARTIAL_SECRETS_ACCOUNT":        0x4000000,
}

func (w *world) isDC(id forest.ID) bool {
	uac, _ := w.s.Int(id, forest.UserAccountControl)
	pg, _ := w.s.Int(id, forest.PrimaryGroupID)
	return uac&(0x2000|0x4000000) != 0 || pg == 516 || pg == 521
}

// roleUnread reports whether it is not known if a computer for which isDC is false
// is a domain controller: every domain controller has their primary group.
func (w *world) roleUnread(id forest.ID) bool {
	_, uac := w.s.Int(id, forest.UserAccountControl)
	_, group := w.s.Int(id, forest.PrimaryGroupID)
	return uac != forest.Known && group != forest.Known
}

// groupsNamed resolves names of groups given in options.
func (w *world) groupsNamed(names []string) []forest.ID {
	var out []forest.ID
	for _, n := range names {
		out = append(out, w.groupNamed(n)...)
	}
	return out
}

// groupNamed resolves a distinguished name, a SID or an account name, which
// several domains may have.
func (w *world) groupNamed(name string) []forest.ID {
	name = strings.TrimSpace(name)
	if sid, err := secdesc.ParseSID(name); err == nil {
		if id := w.s.BySID(sid); id != forest.None {
			return []forest.ID{id}
		}
	}
	if id := w.s.Lookup(name); id != forest.None {
		return []forest.ID{id}
	}
	return w.s.BySAMAccountName(name)
}

// A privilege says which objects are protected and who is privileged.
type privilege struct {
	groups    []forest.ID               // protected groups of all domains, in ID order
	excluded  map[forest.ID]bool        // groups that dSHeuristics takes out of the protection
	members   map[forest.ID][]forest.ID // account → protected groups it is an effective member of
	accounts  []forest.ID               // keys of members, in ID order
	protected []forest.ID               // what AdminSDHolder protects, in ID order
	admins    []forest.ID               // accounts, and effective members of Options.AdminGroups
	vips      []forest.ID
	inSet     map[forest.ID]bool   // protected as a set
	maybe     map[forest.ID]string // may be in that set: why it is not known
	listed    map[forest.ID]string // protected through distribution groups too: "", or why it is not known
	listGap   string               // why listed may be too short
	unread    [][]string           // by domain: protected groups that may exist and were not read
}

// findPrivilege lists protected groups and their effective members. Groups whose
// members are domain controllers protect only themselves (guide, app. C).
func (w *world) findPrivilege() *privilege {
	p := &privilege{
		excluded: map[forest.ID]bool{}, members: map[forest.ID][]forest.ID{}, inSet: map[forest.ID]bool{},
		maybe: map[forest.ID]string{}, listed: map[forest.ID]string{}, unread: make([][]string, len(w.domains)),
	}
	mask, why := w.excludedMask()
	for d := range w.domains {
		for _, name := range protectedNames {
			switch id := w.principalID(d, name); {
			case forestWide[name] && d != w.root:
			case id == forest.None:
				p.unread[d] = append(p.unread[d], w.principalGaps(name, d)...)
			case w.kind(id) != "group":
				p.inSet[id] = true
			case excludable[name]&mask != 0:
				p.groups = append(p.groups, id)
				p.excluded[id] = true
				p.addMembers(w, id, "")
			case excludable[name] != 0 && why != "":
				p.groups = append(p.groups, id)
				p.addDoubtful(w, id, why)
			default:
				p.groups = append(p.groups, id)
				p.addMembers(w, id, name)
			}
		}
	}
	for id := range p.members {
		if w.kind(id) != "foreign" {
			p.accounts = append(p.accounts, id)
		}
	}
	for id := range p.inSet {
		delete(p.maybe, id)
		p.protected = append(p.protected, id)
	}
	for id := range p.maybe {
		p.protected = append(p.protected, id)
	}
	slices.Sort(p.groups)
	slices.Sort(p.accounts)
	slices.Sort(p.protected)
	p.admins = w.union(p.accounts, w.options.AdminGroups)
	p.vips = w.union(nil, w.options.VIPGroups)
	return p
}

// addMembers takes the effective members of a protected group; they are protected
// too if name says so, which is empty for a group that is excluded.
func (p *privilege) addMembers(w *world, group forest.ID, name string) {
	if name != "" {
		p.inSet[group] = true
	}
	if name == "domain-controllers" || name == "read-only-domain-controllers" {
		return
	}
	for _, m := range w.reach.Members(group) {
		p.members[m] = append(p.members[m], group)
		if name != "" && w.kind(m) != "foreign" {
			p.inSet[m] = true
		}
	}
	if name != "" {
		for _, g := range w.reach.Nested(group) {
			p.inSet[g] = true
		}
		p.addListed(w, group, "")
	}
}

// addListed takes what lies below a protected group through groups of any type. The
// protection follows every member attribute and then takes users and security groups
// ([MS-ADTS] 3.1.1.6.1.2), while a distribution group gives its members no power.
func (p *privilege) addListed(w *world, group forest.ID, why string) {
	for queue, seen := []forest.ID{group}, map[forest.ID]bool{group: true}; len(queue) > 0; queue = queue[1:] {
		g := queue[0]
		if _, st := w.s.Links(g, forest.Member); st == forest.Unreadable || len(w.s.LinksOutside(g, forest.Member)) > 0 {
			p.listGap = cmp.Or(p.listGap, "members of "+w.s.DN(g)+": not all of them could be read")
		}
		for _, m := range w.reach.DirectMembers(g) {
			if seen[m] {
				continue
			}
			seen[m] = true
			typ, _ := w.s.Int(m, forest.GroupType)
			switch kind := w.kind(m); {
			case kind == "":
				p.listGap = cmp.Or(p.listGap, "objectClass of "+w.s.DN(m)+", a member of "+w.s.DN(g)+", could not be read")
			case kind == "group":
				queue = append(queue, m)
				if typ&groupSecurityEnabled != 0 {
					p.list(m, why)
				}
			case w.s.IsA(m, "user"):
				p.list(m, why)
			}
		}
	}
}

// list notes that id is protected, or why it may be.
func (p *privilege) list(id forest.ID, why string) {
	if old, ok := p.listed[id]; !ok || old != "" {
		p.listed[id] = why
	}
}

// groupSecurityEnabled marks groups that access decisions look at ([MS-ADTS] 2.2.12).
const groupSecurityEnabled = 0x80000000

// addDoubtful takes a group that may be excluded from the protection.
func (p *privilege) addDoubtful(w *world, group forest.ID, why string) {
	p.addMembers(w, group, "")
	p.maybe[group] = why
	for _, m := range w.reach.Members(group) {
		if w.kind(m) != "foreign" {
			p.maybe[m] = why
		}
	}
	for _, g := range w.reach.Nested(group) {
		p.maybe[g] = why
	}
	p.addListed(w, group, why)
}

// union adds the effective members of groups to ids.
func (w *world) union(ids []forest.ID, groups []string) []forest.ID {
	out := slices.Clone(ids)
	for _, g := range w.groupsNamed(groups) {
		out = append(out, w.reach.Members(g)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// heuristic returns character n (from 1) of dSHeuristics, "0" if it is too short.
func (w *world) heuristic(n int) (char string, id forest.ID, st forest.State) {
	if with := w.s.With(forest.DSHeuristics); len(with) > 0 {
		id := with[0]
		text, st := w.s.Str(id, forest.DSHeuristics)
		if st != forest.Known {
			return "", id, st
		}
		if n >= 1 && n <= len(text) {
			return text[n-1 : n], id, forest.Known
		}
		return "0", id, forest.Known
	}
	for id := range forest.ID(w.s.Len()) {
		if w.s.Class(id) == "nTDSService" {
			if _, st := w.s.Str(id, forest.DSHeuristics); st == forest.Absent {
				return "0", id, forest.Known
			}
			return "", id, forest.Unreadable
		}
	}
	return "", forest.None, forest.Unreadable
}

// excludedMask returns the bits of excludable, or why they are not known.
func (w *world) excludedMask() (mask int, why string) {
	char, _, st := w.heuristic(16)
	if st != forest.Known {
		return 0, "dSHeuristics of the directory service was not read, so it is not known which groups are excluded from the protection"
	}
	return max(0, strings.Index("0123456789abcdef", strings.ToLower(char))), "" // another character excludes nobody
}
