package bloodhound

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// SourceKind marks what an export adds to a BloodHound database.
const SourceKind = "Leastwise"

// EdgePrefix stands before the kinds of edges that an export writes.
const EdgePrefix = "LW_"

// A Node is a node of OpenGraph: an object under BloodHound's own identifier, so
// that it meets what a collection brought of it, or a part of an object.
type Node struct {
	ID         string         `json:"id"`
	Kinds      []string       `json:"kinds"`
	Properties map[string]any `json:"properties"` // texts, numbers, true and false, lists of texts
}

// An Edge is an edge of OpenGraph.
type Edge struct {
	Start      Endpoint       `json:"start"`
	End        Endpoint       `json:"end"`
	Kind       string         `json:"kind"`
	Properties map[string]any `json:"properties"`
}

// An Endpoint names a node.
type Endpoint struct {
	MatchBy string `json:"match_by"` // always id
	Value   string `json:"value"`
}

// An OpenGraph is a graph in the form of BloodHound OpenGraph. Make one with
// NewOpenGraph.
type OpenGraph struct {
	Nodes []Node // by identifier
	Edges []Edge // by start, end and kind; no two are alike
}

// NewOpenGraph makes the graph of everything by which something can gain one of
// goals. The same snapshot and goals give the same graph.
func NewOpenGraph(s *forest.Snapshot, g *reach.Graph, goals []forest.ID) *OpenGraph {
	e := exporter{s: s, nodes: map[string]Node{}, edges: map[[3]string]Edge{}}
	for _, id := range goals {
		e.node(reach.Place{ID: id, Name: s.DN(id)})
	}
	for _, h := range g.Edges(goals) {
		e.edge(h)
	}
	out := &OpenGraph{}
	for _, id := range sortedKeys(e.nodes) {
		out.Nodes = append(out.Nodes, e.nodes[id])
	}
	for _, edge := range e.edges {
		out.Edges = append(out.Edges, edge)
	}
	slices.SortFunc(out.Edges, func(a, b Edge) int {
		return cmp.Or(strings.Compare(a.Start.Value, b.Start.Value), strings.Compare(a.End.Value, b.End.Value), strings.Compare(a.Kind, b.Kind))
	})
	return out
}

type exporter struct {
	s     *forest.Snapshot
	nodes map[string]Node
	edges map[[3]string]Edge
}

// node adds the node of a place and returns its identifier.
func (e *exporter) node(p reach.Place) string {
	switch {
	case p.ID != forest.None && int(p.ID) < e.s.Len() && p.Name == e.s.DN(p.ID):
		id := e.identifier(p.ID)
		if _, ok := e.nodes[id]; !ok {
			e.nodes[id] = Node{ID: id, Kinds: []string{e.kind(p.ID), "Base"}, Properties: e.properties(p.ID)}
		}
		return id
	case !p.SID.IsZero():
		id := e.wellKnown(p.SID, "")
		if _, ok := e.nodes[id]; !ok {
			e.nodes[id] = Node{ID: id, Kinds: []string{"Group", "Base"}, Properties: map[string]any{"name": strings.ToUpper(p.Name), "objectid": id}}
		}
		return id
	}
	id := EdgePrefix + strings.ToUpper(p.Name)
	if _, ok := e.nodes[id]; !ok {
		e.nodes[id] = Node{ID: id, Kinds: []string{EdgePrefix + "Part"}, Properties: map[string]any{"name": p.Name}}
	}
	return id
}

// identifier is what BloodHound calls an object: by SID, that of well-known
// principals with the domain before it, by GUID, or else by distinguished name.
func (e *exporter) identifier(id forest.ID) string {
	if sid := e.s.SID(id); !sid.IsZero() {
		d, _ := e.s.DomainOf(id)
		return e.wellKnown(sid, d.DNS)
	}
	if g := e.s.GUID(id); g != (secdesc.GUID{}) {
		return strings.ToUpper(g.String())
	}
	return strings.ToUpper(e.s.DN(id))
}

func (e *exporter) wellKnown(sid secdesc.SID, domain string) string {
	if sid.IsDomainRelative() {
		return sid.String()
	}
	if len(e.s.Domains()) > 0 && domain == "" {
		domain = e.s.Domains()[0].DNS
	}
	if domain == "" {
		return sid.String()
	}
	return strings.ToUpper(domain) + "-" + sid.String()
}

// kindOf are BloodHound's kinds for the classes that it knows.
var kindOf = map[string]string{
	"user": "User", "inetorgperson": "User", "msds-managedserviceaccount": "User", "msds-groupmanagedserviceaccount": "User",
	"msds-delegatedmanagedserviceaccount": "User", "computer": "Computer", "group": "Group", "foreignsecurityprincipal": "Group",
	"domaindns": "Domain", "organizationalunit": "OU", "container": "Container", "builtindomain": "Container", "configuration": "Container",
	"grouppolicycontainer": "GPO", "pkicertificatetemplate": "CertTemplate", "pkienrollmentservice": "EnterpriseCA",
	"mspki-enterprise-oid": "IssuancePolicy",
}

func (e *exporter) kind(id forest.ID) string {
	if e.s.IsA(id, "certificationAuthority") {
		return map[bool]string{true: "NTAuthStore", false: "RootCA"}[strings.EqualFold(e.s.Name(id), "NTAuthCertificates")]
	}
	if k, ok := kindOf[strings.ToLower(e.s.Class(id))]; ok {
		return k
	}
	return EdgePrefix + "Object"
}

func (e *exporter) properties(id forest.ID) map[string]any {
	d, _ := e.s.DomainOf(id)
	name, st := e.s.Str(id, forest.SAMAccountName)
	if st != forest.Known {
		name = e.s.Name(id)
	}
	out := map[string]any{
		"objectid": e.identifier(id), "distinguishedname": strings.ToUpper(e.s.DN(id)), "objectclass": e.s.Class(id),
		"name": strings.ToUpper(name),
	}
	switch {
	case d.Head == id:
		out["name"] = strings.ToUpper(d.DNS)
	case d.DNS != "":
		out["name"] = strings.ToUpper(name + "@" + d.DNS)
	}
	if d.DNS != "" {
		out["domain"] = strings.ToUpper(d.DNS)
	}
	if st == forest.Known {
		out["samaccountname"] = name
	}
	return out
}

// EdgeKind is the kind of the edges of k: LW_ResetPassword for reset-password.
func EdgeKind(k reach.Kind) string {
	var b strings.Builder
	b.WriteString(EdgePrefix)
	for word := range strings.SplitSeq(k.String(), "-") {
		if word != "" {
			b.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return b.String()
}

// edge adds a step. Of several of one kind between the same nodes the first stays,
// a certain one before those with conditions.
func (e *exporter) edge(h reach.Hop) {
	from, to := e.node(h.From), e.node(h.To)
	if from == to {
		return
	}
	key := [3]string{from, to, EdgeKind(h.Kind)}
	have, again := e.edges[key]
	if again && (have.Properties["certain"] == true || h.If != "" || len(h.First) > 0) {
		return
	}
	info := h.Kind.Info()
	p := map[string]any{"description": info.Text, "certain": h.If == "" && reach.Path{h}.Certain()}
	for name, text := range map[string]string{"needs": info.Needs, "yields": info.Yields, "remove": info.Remove, "condition": h.If} {
		if text != "" {
			p[name] = text
		}
	}
	if len(h.Evidence) > 0 {
		e.evidence(p, h.Evidence)
	}
	var first []string
	for _, way := range h.First {
		if len(way) > 0 {
			first = append(first, way[len(way)-1].To.Name)
		}
	}
	if first != nil {
		p["also_gain"] = first
	}
	e.edges[key] = Edge{Endpoint{"id", from}, Endpoint{"id", to}, key[2], p}
}

// evidence adds the entries and attributes that make an edge.
func (e *exporter) evidence(p map[string]any, list []reach.Evidence) {
	var entries, details []string
	for _, v := range list {
		if v.SDDL != "" {
			text := v.SDDL
			if v.Over != forest.None {
				text = fmt.Sprintf("%s, entry %d: %s", e.s.DN(v.Over), v.ACE, v.SDDL)
			}
			entries = append(entries, text)
		}
		if v.Detail != "" {
			details = append(details, v.Detail)
		}
	}
	if entries != nil {
		p["entries"] = entries
	}
	if details != nil {
		p["details"] = details
	}
	if o := list[0].Origin; o != forest.None {
		p["inherited_from"] = e.s.DN(o)
		p["isinherited"] = true
	}
}

// Write writes the graph as JSON, one node or edge a line.
func (o *OpenGraph) Write(w io.Writer) error {
	b := bufio.NewWriter(w) // keeps the first error for Flush
	put := func(format string, args ...any) { _, _ = fmt.Fprintf(b, format, args...) }
	put(`{"metadata":{"source_kind":%q},"graph":{"nodes":[`, SourceKind)
	if err := lines(put, o.Nodes); err != nil {
		return err
	}
	put("\n],\"edges\":[")
	if err := lines(put, o.Edges); err != nil {
		return err
	}
	put("\n]}}\n")
	if err := b.Flush(); err != nil {
		return fmt.Errorf("writing OpenGraph: %w", err)
	}
	return nil
}

// lines prints the elements of a list.
func lines[T any](put func(string, ...any), list []T) error {
	comma := ""
	for i := range list {
		data, err := json.Marshal(&list[i])
		if err != nil {
			return fmt.Errorf("writing OpenGraph: %w", err)
		}
		put("%s\n%s", comma, data)
		comma = ","
	}
	return nil
}
