package control

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/forest/fixture"
	"github.com/leastwise/leastwise/internal/reach"
)

func zoneForest(t *testing.T) (*forest.Snapshot, *reach.Index, *reach.Graph) {
	t.Helper()
	data, err := os.ReadFile("../../examples/small.yaml")
	if err != nil {
		t.Fatal(err)
	}
	f, err := fixture.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Snapshot(time.Unix(1.7e9, 0))
	if err != nil {
		t.Fatal(err)
	}
	x := reach.New(s)
	return s, x, reach.NewGraph(x, nil)
}

// The file that is the default holds what the engine takes for Tier 0.
func TestDefaultZonesAreTierZero(t *testing.T) {
	zones, err := ParseZones("zones.yaml", DefaultZones)
	if err != nil {
		t.Fatal(err)
	}
	s, x, g := zoneForest(t)
	got, unknown := zones[0].Resolve(g, x, s)
	if want := g.Resolve(reach.TierZero()); !slices.Equal(got, want) || len(unknown) > 0 {
		t.Errorf("%d objects, want %d; not found: %v", len(got), len(want), unknown)
	}
}

// Each list of a zone names objects in its own way; what names nothing is reported.
func TestZoneResolve(t *testing.T) {
	s, x, g := zoneForest(t)
	dn := s.Domains()[0].DN
	has := func(z Zone, name string) bool {
		ids, _ := z.Resolve(g, x, s)
		return slices.Contains(ids, s.Lookup(name+","+dn))
	}
	for name, c := range map[string]struct {
		z       Zone
		in, out string
	}{
		"rids":     {Zone{RIDs: []uint32{512}}, "CN=Domain Admins,CN=Users", "CN=Domain Users,CN=Users"},
		"sids":     {Zone{SIDs: []string{"S-1-5-32-544"}}, "CN=Administrators,CN=Builtin", "CN=Users,CN=Builtin"},
		"dn":       {Zone{Objects: []string{"CN=Guest,CN=Users," + dn}}, "CN=Guest,CN=Users", "CN=krbtgt,CN=Users"},
		"name":     {Zone{Objects: []string{s.Domains()[0].NetBIOS + `\krbtgt`}}, "CN=krbtgt,CN=Users", "CN=Guest,CN=Users"},
		"subtrees": {Zone{Subtrees: []string{"CN=Builtin,{domain}"}}, "CN=Backup Operators,CN=Builtin", "CN=Domain Admins,CN=Users"},
		"members":  {Zone{Members: []string{"Administrators"}}, "CN=Administrator,CN=Users", "CN=Guest,CN=Users"},
	} {
		if !has(c.z, c.in) || has(c.z, c.out) {
			t.Errorf("%s: %s in is %v, %s in is %v", name, c.in, has(c.z, c.in), c.out, has(c.z, c.out))
		}
	}
	z := Zone{Objects: []string{`NOWHERE\anna`, "CN=No,{domain}"}, SIDs: []string{"S-1-5-21-1-2-3-4"}, Subtrees: []string{"OU=No,{domain}"}, Members: []string{"nobody"}}
	ids, unknown := z.Resolve(g, x, s)
	if want := []string{`NOWHERE\anna`, "S-1-5-21-1-2-3-4", "OU=No,{domain}", "nobody"}; len(ids) != 0 || !slices.Equal(unknown, want) {
		t.Errorf("%v, not found %v, want %v", ids, unknown, want)
	}
}

func TestParseZonesRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"zones: []":                          "0 zones",
		"":                                   "0 zones",
		"zones:\n  - name: a\n    rid: [5]":  "z.yaml:3: ",
		"zones:\n  - name: A\n    rids: [5]": "zone 1 (A): name must be",
		"zones:\n  - name: a":                "it holds nothing",
		"zones:\n  - {name: a, rids: [5], level: -1}":                               "level -1",
		"zones:\n  - {name: a, sids: [x]}":                                          `"x" is no SID`,
		"zones:\n  - {name: a, subtrees: [x]}":                                      "no distinguished name",
		"zones:\n  - {name: a, objects: [\"\"]}":                                    "an entry is empty",
		"zones:\n  - {name: a, rids: [5]}\n  - {name: a, rids: [5]}":                "a second zone",
		"zones:\n  - {name: a, rids: [5]}\n---\nx: 1":                               "more than one document",
		"zones:\n  - {name: a, rids: [" + strings.Repeat("5,", 10_001) + "5]}":      "10000 are the most",
		"zones:\n" + strings.Repeat("  - {name: a, rids: [5]}\n", maxZones+1):       "101 zones",
		"zones:\n  - {name: a, rids: [-1]}":                                         "z.yaml:2: ",
		"zones:\n  - {name: " + strings.Repeat("a", 41) + ", rids: [5]}":            "name must be",
		"zones:\n  - {name: a, rids: [5]}\n#" + strings.Repeat("x", maxSourceBytes): "larger than",
	} {
		if z, err := ParseZones("z.yaml", []byte(text)); !errors.Is(err, ErrZones) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v %v, want an error with %q", text, z, err, want)
		}
	}
}

// Whatever the text is, there are zones that resolve, or an error.
func FuzzParseZones(f *testing.F) {
	f.Add(DefaultZones)
	f.Add([]byte("zones: [{name: a, rids: [5], subtrees: ['OU=x,{domain}']}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		zones, err := ParseZones("z", data)
		if (err == nil) != (len(zones) > 0) || err != nil && !errors.Is(err, ErrZones) {
			t.Errorf("%v, %v", zones, err)
		}
	})
}
