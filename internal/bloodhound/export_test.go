package bloodhound

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/forest/fixture"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/reach"
)

func contoso(t *testing.T) (*forest.Snapshot, *reach.Graph) {
	t.Helper()
	f, err := fixture.ParseFS(os.DirFS("../../examples"), "contoso.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Snapshot(time.Unix(1.7e9, 0))
	if err != nil {
		t.Fatal(err)
	}
	x := reach.New(s)
	return s, reach.NewGraph(x, gpo.New(s, x))
}

// payload is an OpenGraph file as BloodHound reads it.
type payload struct {
	Metadata struct {
		SourceKind string `json:"source_kind"`
	} `json:"metadata"`
	Graph struct {
		Nodes []map[string]any
		Edges []map[string]any
	}
}

func exported(t *testing.T, o *OpenGraph) (payload, []byte) {
	t.Helper()
	var b bytes.Buffer
	if err := o.Write(&b); err != nil {
		t.Fatal(err)
	}
	var p payload
	dec := json.NewDecoder(bytes.NewReader(b.Bytes()))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		t.Fatal(err)
	}
	return p, b.Bytes()
}

// The files keep the rules of BloodHound's schemas for OpenGraph (node.json,
// edge.json, metadata.json of its upload service) and the rules beyond them: values
// are no objects, lists are of one type, no kind is in the reserved namespace, and
// every edge ends at nodes of the file.
func TestOpenGraphIsValid(t *testing.T) {
	s, g := contoso(t)
	p, _ := exported(t, NewOpenGraph(s, g, g.Resolve(reach.TierZero())))
	if p.Metadata.SourceKind != SourceKind || len(p.Graph.Nodes) == 0 || len(p.Graph.Edges) == 0 {
		t.Fatalf("%+v with %d nodes, %d edges", p.Metadata, len(p.Graph.Nodes), len(p.Graph.Edges))
	}
	known := map[string]bool{}
	for _, n := range p.Graph.Nodes {
		id, _ := n["id"].(string)
		if id == "" || known[id] {
			t.Errorf("node %v has no identifier of its own", n)
		}
		known[id] = true
		kinds, _ := n["kinds"].([]any)
		if len(kinds) < 1 || len(kinds) > 3 {
			t.Errorf("%s has %d kinds", id, len(kinds))
		}
		for _, k := range kinds {
			checkKind(t, k)
		}
		checkProperties(t, id, n["properties"])
	}
	for _, e := range p.Graph.Edges {
		for _, end := range []string{"start", "end"} {
			at, _ := e[end].(map[string]any)
			if at["match_by"] != "id" || !known[at["value"].(string)] || len(at) != 2 {
				t.Errorf("%s of %v", end, e)
			}
		}
		checkKind(t, e["kind"])
		if len(e) != 4 {
			t.Errorf("edge %v", e)
		}
		checkProperties(t, "edge", e["properties"])
	}
}

var kindForm = regexp.MustCompile(`^[A-Za-z0-9_]+$`)

func checkKind(t *testing.T, k any) {
	t.Helper()
	name, _ := k.(string)
	if low := strings.ToLower(name); !kindForm.MatchString(name) || low == "tag" || strings.HasPrefix(low, "tag_") {
		t.Errorf("kind %v", k)
	}
}

func checkProperties(t *testing.T, of string, v any) {
	t.Helper()
	p, ok := v.(map[string]any)
	if !ok {
		t.Errorf("%s: properties %v", of, v)
	}
	for name, value := range p {
		switch x := value.(type) {
		case string, float64, bool:
		case []any:
			for _, one := range x {
				if _, ok := one.(string); !ok {
					t.Errorf("%s: %s holds %v", of, name, one)
				}
			}
		default:
			t.Errorf("%s: %s is %v", of, name, value)
		}
		if name != strings.ToLower(name) {
			t.Errorf("%s: %s is not in lower case", of, name)
		}
	}
}

// Whoever can gain the goals is connected with one in the file, and whoever is
// connected by edges that are certain can for certain.
func TestOpenGraphHoldsTheWays(t *testing.T) {
	s, g := contoso(t)
	for name, goals := range map[string][]forest.ID{
		"tier 0":        g.Resolve(reach.TierZero()),
		"Domain Admins": {find(t, s, "CN=Domain Admins,CN=Users,DC=contoso,DC=test")},
		"a server":      s.BySAMAccountName("DC1$"),
	} {
		o := NewOpenGraph(s, g, goals)
		reached := map[string]bool{}
		e := exporter{s: s, nodes: map[string]Node{}}
		for _, id := range goals {
			reached[e.identifier(id)] = true
		}
		for more := true; more; {
			more = false
			for _, edge := range o.Edges {
				if reached[edge.End.Value] && !reached[edge.Start.Value] {
					reached[edge.Start.Value], more = true, true
				}
			}
		}
		r := g.WhoCan(goals)
		sure, maybe := r.Certain(), r.Possible()
		for _, id := range append(sure, maybe...) {
			if !reached[e.identifier(id)] {
				t.Errorf("%s: the file has no way from %s", name, s.DN(id))
			}
		}
		if len(sure) < 2 {
			t.Errorf("%s: %d principals are too few for a test", name, len(sure))
		}
		for _, edge := range o.Edges {
			if edge.Properties["certain"] == true && edge.Properties["condition"] != nil {
				t.Errorf("%v is certain and has a condition", edge)
			}
		}
	}
}

// The same snapshot gives the same bytes.
func TestOpenGraphIsDeterministic(t *testing.T) {
	s, g := contoso(t)
	_, a := exported(t, NewOpenGraph(s, g, g.Resolve(reach.TierZero())))
	s, g = contoso(t)
	_, b := exported(t, NewOpenGraph(s, g, g.Resolve(reach.TierZero())))
	if !bytes.Equal(a, b) {
		t.Error("two exports differ")
	}
}

// What was imported goes back under the identifiers that it came with.
func TestExportMeetsImport(t *testing.T) {
	s := snapshotOf(t, example(t))
	g := reach.NewGraph(reach.New(s), nil)
	o := NewOpenGraph(s, g, g.Resolve(reach.TierZero()))
	given := map[string]bool{}
	for _, data := range example(t) {
		var f struct {
			Data []struct{ ObjectIdentifier string }
		}
		if err := json.Unmarshal(data, &f); err != nil {
			t.Fatal(err)
		}
		for _, x := range f.Data {
			given[x.ObjectIdentifier] = true
		}
	}
	met := 0
	for _, n := range o.Nodes {
		if given[n.ID] {
			met++
		} else if n.Kinds[0] != EdgePrefix+"Part" && n.Kinds[0] != "Container" && n.Kinds[0] != EdgePrefix+"Object" {
			t.Errorf("%s (%v) is under another identifier than in the collection", n.ID, n.Properties["name"])
		}
	}
	if met < 15 {
		t.Errorf("%d objects met", met)
	}
}
