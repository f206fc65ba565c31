package reach

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A node is something that a principal can gain. Objects of the snapshot come
// first, by ID: the identity of a principal, full control of anything else. Then
// come the things that are no objects: see virtual.
type node uint32

const noNode = ^node(0)

// A virtual node is an identity without an object, or a facet of an object.
type virtual struct {
	sid    secdesc.SID // identity, if not zero
	object forest.ID   // the object of which it is a facet
	facet  facet
	text   string
}

// A Graph answers who can become or control what in a snapshot. It is safe for
// concurrent use.
//
// It is never spelt out edge by edge: objects with equal descriptors, classes and
// states share a list of grants, which is made when it is first asked for.
type Graph struct {
	s          *forest.Snapshot
	x          *Index
	n          node // objects are 0 … n-1
	rules      *[numAspects][]rule
	classes    []classInfo // by ClassIndex
	isHead     map[forest.ID]bool
	blockOwner bool

	sharer     []uint32                   // by object: index into shared; objects with equal grants share
	shared     []*sharedGrants            //
	compilers  sync.Pool                  // of *compiler
	named      trusteeSet                 // by shared; of a view: none
	traits     []atomic.Uint32            // of each of shared, once that was compiled
	marked     []uint64                   // objects of extra and joints, by ID, one bit each
	laps       *idSet                     // computers whose local administrator's password is in the directory
	gpo        *gpo.Engine                // nil: policy is not looked at
	sites      []forest.ID                //
	delegators []forest.ID                // accounts that are trusted for delegation; of a view, some that were
	rodcs      []forest.ID                //
	stamp      map[forest.ID]forest.ID    // AdminSDHolder of the objects that it covers
	files      map[forest.ID][]fileGrants // by policy
	selective  map[secdesc.SID]selective  // by the domain that is trusted
	nobody     node                       // who is not let in by any domain controller
	unnamed    []forest.ID                // published templates whose certificates name nobody for sure
	past       map[secdesc.SID]node       // SIDs that are in somebody's SID history
	local      map[forest.ID][]forest.ID  // domain-local groups that principals are in by SID history
	extra      map[node][]edge            // edges of links and structure, by where they lead
	outward    map[node][]edge            // the same, by where they begin
	joints     map[node][]joint           // edges that need several things, by where they lead
	mu         sync.Mutex                 // of what follows
	linkedAt   map[forest.ID]linkedList
	policies   map[string]forest.ID // that links name
	prospects  [2]*prospect         // of certain and of all grants; see prospect
	virtual    []virtual            // by node-n, but for those of beneath
	beneath    node                 // of a view: how many virtual nodes it has from its graph
	byFacet    map[facetKey]node    //
	bySID      map[secdesc.SID]node
	everyID    []forest.ID // accounts

	closures   closures
	components components
	traces     traces

	changes   *bend // of a view: what was changed
	byWhoOnce sync.Once
	byWho     *trustees // by the principals that hold them
	keptOnce  sync.Once
	keptBy    map[secdesc.SID][]keeper // see keepersBySID
}

type classInfo struct {
	aspect aspect
	guid   secdesc.GUID
	site   bool
}

type sharedGrants struct {
	once  sync.Once
	first forest.ID // one of the objects
	desc  uint32    // index of their descriptor in the snapshot, or noIndex
	next  uint32    // 1 + another one of the same descriptor; 0 if there is none
	sub   subject
	dom   int16 // of the objects: built-in groups differ from domain to domain
	g     *grants
}

type facetKey struct {
	id    forest.ID
	facet facet
}

// An edge says that who gains from gains to.
type edge struct {
	from, to node
	kind     Kind
	cond     cond
	via      forest.ID // the object that says so; None if it is from or to
	text     string    // which attribute, policy, …: for people
}

// Of prepares the answers for s: its memberships, its policies and a graph of both.
func Of(s *forest.Snapshot) *Graph {
	x := New(s)
	g := newGraph(x)
	var ahead sync.WaitGroup
	var enough atomic.Bool
	if runtime.GOMAXPROCS(0) > 1 {
		ahead.Go(func() { g.compileAhead(&enough) })
	}
	g.complete(gpo.New(s, x))
	enough.Store(true)
	ahead.Wait()
	return g
}

// NewGraph prepares the answers for the snapshot whose memberships are x. What
// policy does on hosts comes from e, which may be nil: then user rights, local
// groups and the files of policies play no part.
func NewGraph(x *Index, e *gpo.Engine) *Graph {
	g := newGraph(x)
	g.complete(e)
	return g
}

// newGraph returns a graph without edges of structure.
func newGraph(x *Index) *Graph {
	s := x.s
	g := &Graph{
		s: s, x: x, n: node(s.Len()),
		rules:    makeRules(s.Schema()),
		isHead:   map[forest.ID]bool{},
		past:     map[secdesc.SID]node{},
		local:    map[forest.ID][]forest.ID{},
		extra:    map[node][]edge{},
		outward:  map[node][]edge{},
		joints:   map[node][]joint{},
		stamp:    map[forest.ID]forest.ID{},
		files:    map[forest.ID][]fileGrants{},
		linkedAt: map[forest.ID]linkedList{},
		policies: map[string]forest.ID{},
		byFacet:  map[facetKey]node{},
		bySID:    map[secdesc.SID]node{},
		named:    trusteeSet{domains: max(1, len(s.Domains())), bySID: map[secdesc.SID]*trustee{}},
	}
	for _, d := range s.Domains() {
		if d.Head != forest.None {
			g.isHead[d.Head] = true
		}
	}
	g.blockOwner = blocksOwner(s)
	g.classify()
	g.share()
	return g
}

// complete adds the edges of structure, and what e says of policy.
func (g *Graph) complete(e *gpo.Engine) {
	g.gpo = e
	g.structure()
}

// Snapshot returns the snapshot that g answers for; of a view, with its changes.
func (g *Graph) Snapshot() *forest.Snapshot { return g.s }

// Policies returns what g knows of policy on hosts; nil if it was told nothing.
func (g *Graph) Policies() *gpo.Engine { return g.gpo }

// Index returns the memberships that g counts with.
func (g *Graph) Index() *Index { return g.x }

// blocksOwner reads fBlockOwnerImplicitRights of dSHeuristics ([MS-ADTS] 6.1.1.2.4.1.2).
func blocksOwner(s *forest.Snapshot) bool {
	for _, id := range s.With(forest.DSHeuristics) {
		if v, _ := s.Str(id, forest.DSHeuristics); len(v) >= 29 && v[28] == '1' {
			return true
		}
	}
	return false
}

func (g *Graph) classify() {
	seen := map[int]bool{}
	for id := range forest.ID(g.s.Len()) {
		i := g.s.ClassIndex(id)
		if seen[i] {
			continue
		}
		seen[i] = true
		for len(g.classes) <= i {
			g.classes = append(g.classes, classInfo{})
		}
		info := classInfo{aspect: g.aspectOf(id), site: g.s.IsA(id, "site")}
		if c := g.s.Schema().Class(g.s.Class(id)); c != nil {
			info.guid = c.GUID
		}
		g.classes[i] = info
	}
	for id := range forest.ID(g.s.Len()) {
		if g.classes[g.s.ClassIndex(id)].site {
			g.sites = append(g.sites, id)
		}
	}
}

func (g *Graph) aspectOf(id forest.ID) aspect {
	is := func(class string) bool { return g.s.IsA(id, class) }
	switch {
	case is("msDS-GroupManagedServiceAccount"), is("msDS-DelegatedManagedServiceAccount"), is("msDS-ManagedServiceAccount"):
		return serviceAccountAspect
	case is("computer"):
		return computerAspect
	case is("user"):
		return userAspect
	case is("group"):
		return groupAspect
	case is("groupPolicyContainer"):
		return policyAspect
	case is("pKICertificateTemplate"):
		return templateAspect
	case is("certificationAuthority"):
		return storeAspect
	case is("pKIEnrollmentService"):
		return authorityAspect
	case is("organizationalUnit"), is("domainDNS"), is("container"), is("builtinDomain"), is("site"):
		return containerAspect
	}
	return otherAspect
}

// share finds the objects that have the same grants.
func (g *Graph) share() {
	heads := make([]uint32, g.s.NumDescriptors()+1) // 1 + the last one made, by descriptor; then of those without
	g.sharer = make([]uint32, g.n)
	g.shared = make([]*sharedGrants, 0, len(heads)+len(heads)/8)
	for id := range forest.ID(g.n) {
		sub, dom := g.subjectOf(id), g.x.domain[id]
		d, ok := g.s.DescriptorIndex(id)
		if !ok {
			d = uint32(len(heads) - 1)
		}
		i := heads[d]
		for i != 0 && (g.shared[i-1].dom != dom || g.shared[i-1].sub != sub) {
			i = g.shared[i-1].next
		}
		if i == 0 {
			g.shared = append(g.shared, &sharedGrants{sub: sub, dom: dom, first: id, desc: d, next: heads[d]})
			if !ok {
				g.shared[len(g.shared)-1].desc = noIndex
			}
			i = uint32(len(g.shared))
			heads[d] = i
		}
		g.sharer[id] = i - 1
	}
	g.traits, g.marked = make([]atomic.Uint32, len(g.shared)), make([]uint64, (g.n+63)/64)
	g.laps = newIDSet(int(g.n))
	for _, a := range []forest.Attr{forest.MsMcsAdmPwdExpirationTime, forest.MsLAPSPasswordExpirationTime} {
		for _, id := range g.s.With(a) {
			if g.has(id, a) {
				g.laps.add(id)
			}
		}
	}
}

// What searches ask of shared grants for each object, without touching them.
const (
	isCompiled uint32 = 1 << iota
	isUnread
	isProtected
	handsOn // whoever controls the container controls the object, for certain
)

// traitsAt returns what is to be known of shared grants.
func (g *Graph) traitsAt(i uint32) uint32 {
	t := g.traits[i].Load()
	if t != 0 {
		return t
	}
	gr := g.grantsAt(i)
	t = isCompiled
	if gr.unread {
		t |= isUnread
	}
	if gr.protected {
		t |= isProtected
	}
	if slices.ContainsFunc(gr.handed, func(one grant) bool { return len(one.deny) == 0 && one.cond == certain }) {
		t |= handsOn
	}
	g.traits[i].Store(t)
	return t
}

// grantsOf returns what the descriptor of id gives.
func (g *Graph) grantsOf(id forest.ID) *grants { return g.grantsAt(g.sharer[id]) }

func (g *Graph) grantsAt(i uint32) *grants { return g.compiled(i, nil) }

// compiled is grantsAt, by a compiler if it has to be made; nil: any.
func (g *Graph) compiled(i uint32, by *compiler) *grants {
	h := g.shared[i]
	h.once.Do(func() {
		if by == nil {
			if by, _ = g.compilers.Get().(*compiler); by == nil {
				by = g.newCompiler()
			}
			defer g.compilers.Put(by)
		}
		var d *secdesc.Descriptor
		if h.desc != noIndex {
			d = g.s.ReadDescriptorAt(h.desc, &by.reader)
		}
		if d == nil {
			h.g = &grants{unread: true, missing: true, protected: true}
			return
		}
		h.g = by.compile(d, h.sub, g.rules[h.sub.aspect])
		h.g.protected = d.Control.Has(secdesc.DACLProtected)
	})
	return h.g
}

func (g *Graph) newCompiler() *compiler {
	c := &compiler{isTrusted: g.isTrustedOwner}
	if g.changes == nil {
		c.trustee = g.named.of
	}
	return c
}

// compileAhead makes the grants that a wide search will ask for, beside whatever else
// is done, until it is enough.
func (g *Graph) compileAhead(enough *atomic.Bool) {
	by := g.newCompiler()
	for i := range g.shared {
		if enough.Load() {
			return
		}
		g.compiled(uint32(i), by)
	}
}

// isTrustedOwner reports whether sid stays an owner with rights where
// BlockOwnerImplicitRights is set.
func (g *Graph) isTrustedOwner(sid secdesc.SID) bool {
	if sid == secdesc.Administrators {
		return true
	}
	rid, ok := sid.RID()
	return ok && sid.IsDomainRelative() && (rid == secdesc.RIDDomainAdmins || rid == secdesc.RIDEnterpriseAdmins)
}

// protected reports whether the DACL of id takes nothing from its container.
func (g *Graph) protected(id forest.ID) bool {
	return g.traitsAt(g.sharer[id])&isProtected != 0
}

// holders calls yield for each node whose gain makes a token hold sid against an
// object of domain dom (-1: an object of all domains).
func (g *Graph) holders(sid secdesc.SID, dom int16, yield func(node)) {
	if v, ok := g.past[sid]; ok {
		yield(v)
	}
	groups := g.x.groups[sid]
	for _, id := range groups {
		if dom < 0 || g.x.counts(id, dom) {
			yield(node(id))
		}
	}
	id := g.s.BySID(sid)
	switch {
	case id != forest.None && !g.x.isForeign(id) && g.x.group[id] == notGroup:
		yield(node(id))
	case len(groups) == 0:
		yield(g.acting(sid))
	}
}

// identity returns the node of a SID that has no object of its own.
func (g *Graph) identity(sid secdesc.SID) node {
	if v, ok := g.known(sid); ok {
		return v
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	v, ok := g.bySID[sid]
	if !ok {
		v = g.addVirtual(virtual{sid: sid, object: forest.None})
		g.bySID[sid] = v
	}
	return v
}

// facetOf returns the node of a facet of id.
func (g *Graph) facetOf(id forest.ID, f facet) node {
	if f == control {
		return node(id)
	}
	key := facetKey{id, f}
	if v, ok := g.inherited(func(of *Graph) (node, bool) { return of.knownFacet(key) }); ok {
		return v
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	v, ok := g.byFacet[key]
	if !ok {
		v = g.addVirtual(virtual{object: id, facet: f})
		g.byFacet[key] = v
	}
	return v
}

func (g *Graph) addVirtual(v virtual) node {
	g.virtual = append(g.virtual, v)
	return g.n + g.beneath + node(len(g.virtual)) - 1
}

// inherited returns a virtual node that a view has from its graph: they have the
// same number in both.
func (g *Graph) inherited(find func(*Graph) (node, bool)) (node, bool) {
	if g.beneath == 0 {
		return 0, false
	}
	v, ok := find(g.changes.g)
	return v, ok && v < g.n+g.beneath
}

// knownFacet returns the node of a facet, if there is one already.
func (g *Graph) knownFacet(key facetKey) (node, bool) {
	if v, ok := g.inherited(func(of *Graph) (node, bool) { return of.knownFacet(key) }); ok {
		return v, true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	v, ok := g.byFacet[key]
	return v, ok
}

// countVirtual returns how many virtual nodes there are.
func (g *Graph) countVirtual() node {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.beneath + node(len(g.virtual))
}

// what returns the virtual node v; ok is false for objects.
func (g *Graph) what(v node) (what virtual, ok bool) {
	if v < g.n {
		return virtual{}, false
	}
	if v < g.n+g.beneath {
		return g.changes.g.what(v)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.virtual[v-g.n-g.beneath], true
}

// accounts lists everything that can log on.
func (g *Graph) accounts() []forest.ID {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.everyID == nil {
		for id := range forest.ID(g.n) {
			if g.x.isAccount(id) {
				g.everyID = append(g.everyID, id)
			}
		}
	}
	return g.everyID
}

// link adds an edge of structure.
func (g *Graph) link(e edge) {
	g.mark(e.to)
	g.extra[e.to] = append(g.extra[e.to], e)
	g.outward[e.from] = append(g.outward[e.from], e)
}

// join adds an edge that needs several things.
func (g *Graph) join(j joint) {
	g.mark(j.to)
	g.joints[j.to] = append(g.joints[j.to], j)
}

// mark notes that an edge of structure or a joint leads to v.
func (g *Graph) mark(v node) {
	if v < g.n {
		g.marked[v/64] |= 1 << (v % 64)
	}
}

func (g *Graph) isMarked(v node) bool { return v >= g.n || g.marked[v/64]&(1<<(v%64)) != 0 }

// leading returns the edges of structure that lead to v.
func (g *Graph) leading(v node) []edge {
	if !g.isMarked(v) {
		return nil
	}
	return g.extra[v]
}

// joinedAt returns the joints that lead to v.
func (g *Graph) joinedAt(v node) []joint {
	if !g.isMarked(v) {
		return nil
	}
	return g.joints[v]
}

// isIdentity reports whether accounts hold sid without any link: every account, all
// but guests, or all domain controllers.
func isIdentity(sid secdesc.SID) bool {
	return slices.Contains([]secdesc.SID{secdesc.Everyone, secdesc.Network, secdesc.AuthenticatedUsers, secdesc.ThisOrganization, secdesc.EnterpriseDomainControllers}, sid)
}

// nameOf names a node for people.
func (g *Graph) nameOf(v node) string {
	w, ok := g.what(v)
	switch {
	case !ok:
		return g.s.DN(forest.ID(v))
	case !w.sid.IsZero():
		if name, known := secdesc.WellKnownName(w.sid); known {
			return name
		}
		return w.sid.String()
	case w.text != "":
		return w.text
	}
	return facetNames[w.facet] + g.s.DN(w.object)
}

// facetNames stand before the name of the object that a facet is of.
var facetNames = [numFacets]string{
	linking:    "policies of ",
	filing:     "files of the policy ",
	enrolling:  "certificates of ",
	filtered:   "the filtered attributes of ",
	naming:     "name of ",
	revealing:  "replicated secrets of ",
	managing:   "administrators of ",
	creating:   "new service accounts in ",
	promoting:  "a computer for a domain controller of ",
	delegating: "an account for delegation in ",
}
