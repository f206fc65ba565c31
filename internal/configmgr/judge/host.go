package judge

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
)

// A host is a computer, or a class of computers of which policy makes the same.
type host struct {
	w      *world
	name   string // DNS name, or what the class is in words
	id     forest.ID
	class  []forest.ID // of a class: its computers
	fact   *configmgr.Host
	scope  gpo.ScopeID
	scoped bool
	dc     bool
	server bool
	tier0  bool           // of a class: it can gain Tier 0
	doubt  *types.Unknown // an element of a list that may not belong there
	peer   *host          // of a named computer without facts: it and those with the same policies, for questions that policies answer
}

// asked is the host of which to ask what policies make of an account of the directory.
func (h *host) asked(p *principal) *host {
	if h.peer != nil && h.fact == nil && p.host == "" {
		return h.peer
	}
	return h
}

// ConvertToNative refuses.
func (h *host) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("a host has no native form %s", t)
}

// ConvertToType refuses.
func (h *host) ConvertToType(ref.Type) ref.Val { return types.NewErr("facts cannot be converted") }

// Type is host.
func (h *host) Type() ref.Type { return hostType }

// Value returns h itself.
func (h *host) Value() any { return h }

// Equal compares computers by name. A class equals nothing but itself.
func (h *host) Equal(o ref.Val) ref.Val {
	x, ok := o.(*host)
	if !ok {
		return types.False
	}
	return types.Bool(strings.EqualFold(h.name, x.name) || h.id != forest.None && h.id == x.id)
}

// maybe is h as an element that may not belong to its list.
func (h *host) maybe(u *types.Unknown) *host {
	x := *h
	x.doubt = u
	return &x
}

// host finds a computer by name.
func (w *world) host(name string) *host {
	name = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(name), `\\`), ".")
	key := strings.ToLower(name)
	if h := w.hosts[key]; h != nil {
		return h
	}
	h := &host{w: w, name: name, id: forest.None}
	if id, ok := w.byDNS()[key]; ok {
		h.id = id
	} else if first, _, dotted := strings.Cut(name, "."); !dotted {
		if ids := w.s.BySAMAccountName(first + "$"); len(ids) == 1 {
			h.id = ids[0]
		}
	}
	if h.id != forest.None {
		if dns, st := w.s.Str(h.id, forest.DNSHostName); st == forest.Known && !strings.EqualFold(dns, name) {
			full := w.host(dns)
			w.hosts[key] = full
			return full
		}
		h.scope, h.scoped = w.gpo.ScopeOf(h.id)
		h.dc, h.server = w.isDC(h.id), w.isServer(h.id)
	}
	w.hosts[key] = h
	return h
}

// indexComputers finds computers by DNS name.
func (w *world) indexComputers() map[string]forest.ID {
	out := map[string]forest.ID{}
	for _, id := range w.s.With(forest.DNSHostName) {
		if v, st := w.s.Str(id, forest.DNSHostName); st == forest.Known && w.s.IsA(id, "computer") {
			out[strings.ToLower(v)] = id
		}
	}
	return out
}

func (w *world) isDC(id forest.ID) bool {
	uac, _ := w.s.Int(id, forest.UserAccountControl)
	pg, _ := w.s.Int(id, forest.PrimaryGroupID)
	return uac&(0x2000|0x4000000) != 0 || pg == 516 || pg == 521
}

func (w *world) isServer(id forest.ID) bool {
	system, _ := w.s.Str(id, forest.OperatingSystem)
	return w.isDC(id) || strings.Contains(strings.ToLower(system), "server")
}

// account is the computer account of h as a principal.
func (h *host) account() ref.Val {
	if h.id == forest.None {
		return h.missing()
	}
	return h.w.ofObject(h.id)
}

// missing says that the computer account is not known.
func (h *host) missing() ref.Val {
	if h.w.hidden != "" {
		return h.w.ldap("the computer account of " + h.name + " was not found, and " + h.w.hidden)
	}
	return h.w.ldap("the computer account of " + h.name + " is not part of the snapshot: scan its domain")
}

// isDCValue tells whether h is a domain controller.
func (h *host) isDCValue() ref.Val {
	if h.id == forest.None && h.class == nil {
		return h.missing()
	}
	return h.sure(h.dc)
}

// sure is a property of h that counts against it; of a host that may not belong to its
// list, a property that it has is not certain to matter.
func (h *host) sure(has bool) ref.Val {
	if has && h.doubt != nil {
		return h.doubt
	}
	return types.Bool(has)
}

// isTier0 tells whether h belongs to Tier 0: a domain controller, or a computer whose
// account can gain Tier 0.
func (h *host) isTier0() ref.Val {
	switch {
	case h.class != nil:
		return h.sure(h.tier0)
	case h.dc:
		return h.sure(true)
	}
	p, ok := h.account().(*principal)
	if !ok {
		return h.missing()
	}
	v := h.w.inTierZero(p)
	if v == types.True {
		return h.sure(true)
	}
	return v
}

// A namedHost is a computer that the document names, and the sites that it has a part
// in, by upper-case code; "" stands for all.
type namedHost struct {
	host  *host
	sites map[string]bool
}

// findNamed lists the computers of the directory that the document names: site
// systems, hosts of slots, and those to which task sequences go. Conditions about a
// site tell its own from others with the same policies.
func (w *world) findNamed() map[forest.ID]namedHost {
	out := map[forest.ID]namedHost{}
	see := func(name, site string) {
		if name == "" {
			return
		}
		if h := w.host(name); h.id != forest.None {
			if out[h.id].host == nil {
				out[h.id] = namedHost{h, map[string]bool{}}
			}
			out[h.id].sites[strings.ToUpper(site)] = true
		}
	}
	for i := range w.doc.Hosts {
		see(w.doc.Hosts[i].Name, "")
	}
	for i := range w.doc.Sites {
		s := &w.doc.Sites[i]
		see(s.Server, s.Code)
		see(s.Passive, s.Code)
		for _, x := range s.Systems {
			see(x.Host, s.Code)
		}
		for _, key := range hostSettings {
			for _, name := range listOf(s.Settings[key]) {
				see(name, s.Code)
			}
		}
	}
	for _, a := range w.doc.Assignments {
		see(a.Host, a.Site)
	}
	for _, s := range w.doc.Sequences {
		for _, name := range s.Targets {
			see(name, "")
		}
	}
	return out
}

// hostSettings are the settings of sites that name hosts.
var hostSettings = []string{"pxe.hosts", "pxe.password_hosts", "migration.source_provider"}

// computers are the enabled computers of the directory, divided by what policy makes of
// them: those that the document does not name in classes, those that it names each with
// a peer that stands for the named ones with the same policies.
type computers struct {
	classes []*host
	peers   []*host
	named   []namedHost
}

// findClasses divides the enabled computers.
func (w *world) findClasses() computers {
	byKey, peers := map[string]*host{}, map[string]*host{}
	named := w.findNamed()
	var out computers
	prints := map[gpo.ScopeID]string{}
	t := w.tierZero()
	for sc := range w.gpo.Scopes() {
		id := gpo.ScopeID(sc)
		alike := w.gpo.Alike(id)
		print, ok := prints[alike]
		if !ok {
			print = w.fingerprint(alike)
			prints[alike] = print
		}
		for _, c := range w.gpo.Computers(id) {
			if uac, st := w.s.Int(c, forest.UserAccountControl); st == forest.Known && uac&2 != 0 || !w.s.IsA(c, "computer") {
				continue
			}
			dc := w.isDC(c)
			tier0 := dc || t.reach.Has(c)
			key := fmt.Sprint(dc, tier0, w.isServer(c), print)
			if n := named[c]; n.host != nil {
				h := n.host
				if h.fact != nil {
					continue // it is listed with the others of which there are facts
				}
				if peers[key] == nil {
					peers[key] = &host{w: w, id: forest.None, scope: alike, scoped: true, dc: dc, server: h.server, tier0: tier0}
				}
				h.peer = peers[key]
				h.peer.class = append(h.peer.class, c)
				out.named = append(out.named, n)
				continue
			}
			h := byKey[key]
			if h == nil {
				h = &host{w: w, id: forest.None, scope: alike, scoped: true, dc: dc, server: w.isServer(c), tier0: tier0}
				byKey[key] = h
			}
			h.class = append(h.class, c)
		}
	}
	out.classes, out.peers = nameClasses(w, byKey), nameClasses(w, peers)
	slices.SortFunc(out.named, func(a, b namedHost) int { return cmp.Compare(a.host.id, b.host.id) })
	return out
}

// nameClasses lists classes in the order of their first computer, with their names.
func nameClasses[K comparable](w *world, by map[K]*host) []*host {
	out := make([]*host, 0, len(by))
	for _, h := range by {
		slices.Sort(h.class)
		h.name = w.className(h)
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b *host) int { return cmp.Compare(a.class[0], b.class[0]) })
	return out
}

// hostsFor are all computers as conditions about a site see them: its own one by one,
// and of other named ones a class of those with the same policies.
func (w *world) hostsFor(s *configmgr.Site) []*host {
	if l, ok := w.perSite[s]; ok {
		return l
	}
	c, code := w.classes(), strings.ToUpper(s.Code)
	out := slices.Clone(c.classes)
	others := map[*host]*host{}
	for _, n := range c.named {
		if n.sites[""] || n.sites[code] {
			out = append(out, n.host)
			continue
		}
		peer := n.host.peer
		if others[peer] == nil {
			rest := *peer
			rest.class, rest.peer = nil, peer
			others[peer] = &rest
		}
		others[peer].class = append(others[peer].class, n.host.id)
	}
	out = append(out, nameClasses(w, others)...)
	slices.SortFunc(out, func(a, b *host) int { return cmp.Compare(a.first(), b.first()) })
	w.perSite[s] = append(out, w.factHosts()...)
	return w.perSite[s]
}

// first is the computer that stands for h where computers are put in order.
func (h *host) first() forest.ID {
	if h.class != nil {
		return h.class[0]
	}
	return h.id
}

// unknownServer says of which computers it was not read whether they are servers; nil
// if of all.
func (w *world) unknownServer() ref.Val {
	return w.remember("unknown servers", func() ref.Val {
		for sc := range w.gpo.Scopes() {
			for _, c := range w.gpo.Computers(gpo.ScopeID(sc)) {
				if _, st := w.s.Str(c, forest.OperatingSystem); st == forest.Unreadable && !w.isDC(c) {
					return w.unreadable(c, forest.OperatingSystem)
				}
			}
		}
		return types.True
	})
}

// className puts a class into words: one computer and how many more there are.
func (w *world) className(h *host) string {
	name, st := w.s.Str(h.class[0], forest.DNSHostName)
	if st != forest.Known {
		name = w.s.Name(h.class[0])
	}
	if n := len(h.class) - 1; n > 0 {
		return fmt.Sprintf("%s and %d more with the same policies", name, n)
	}
	return name
}

// fingerprint is equal for scopes that are alike in user rights, local groups and what
// else conditions ask of policy.
func (w *world) fingerprint(id gpo.ScopeID) string {
	r := w.gpo.Result(id)
	var b strings.Builder
	put := func(s gpo.Setting) {
		fmt.Fprintf(&b, "%s %d %q %q %d;", s.Name, s.State, s.Value, s.Reasons, len(s.Outcomes))
		for _, p := range s.Principals {
			fmt.Fprintf(&b, "%s %s,", p.Raw, p.SID)
		}
		for _, o := range s.Outcomes {
			if s.State == gpo.Undecided {
				fmt.Fprintf(&b, "%v %v %q,", o.Defined, o.Readable, o.Value)
			}
		}
	}
	for _, s := range r.Rights() {
		put(s)
	}
	put(r.Registry(profileKey, profileValue))
	put(r.Registry(signingKey, signingValue))
	for _, g := range r.Groups() {
		fmt.Fprintf(&b, "%s %s %d %q;", g.Group.Raw, g.Group.SID, g.Exact, g.Problems)
		for _, m := range g.Members {
			fmt.Fprintf(&b, "%s %s %d %q,", m.Raw, m.SID, m.In, m.Reasons)
		}
	}
	fmt.Fprint(&b, r.Domain.DNS)
	return b.String()
}
