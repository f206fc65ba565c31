package grant

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/leastwise/leastwise/docs/schema"
)

const example = "../../examples/grants/policies.yaml"

func readExample(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(schema.Grants()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("grants.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("grants.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestExampleFitsSchema(t *testing.T) {
	p, err := ParsePolicies("policies.yaml", readExample(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Policies) != 3 || p.Policies[0].Approval.Needed != 2 || time.Duration(p.Policies[0].Observer.Grace) != 10*time.Minute {
		t.Errorf("read: %+v", p.Policies[0])
	}
	var tree any
	if err := yaml.Unmarshal(readExample(t), &tree); err != nil {
		t.Fatal(err)
	}
	j, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(j))
	if err != nil {
		t.Fatal(err)
	}
	if err := compileSchema(t).Validate(v); err != nil {
		t.Error(err)
	}
}

// keysOf returns the YAML keys of a type and of all below it.
func keysOf(ty reflect.Type) (keys []string) {
	for ty.Kind() == reflect.Slice {
		ty = ty.Elem()
	}
	if ty.Kind() != reflect.Struct {
		return nil
	}
	for i := range ty.NumField() {
		f := ty.Field(i)
		if key := f.Tag.Get("yaml"); key != "" {
			keys = append(keys, key)
			keys = append(keys, keysOf(f.Type)...)
		}
	}
	return keys
}

// Every key of the format is in the schema, the reference and the example, and the
// schema has no other.
func TestKeysArePublished(t *testing.T) {
	keys := keysOf(reflect.TypeFor[Policies]())
	reference, err := os.ReadFile("../../docs/GRANTS.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if !strings.Contains(schema.Grants(), `"`+k+`": {`) {
			t.Errorf("the schema lacks %q", k)
		}
		if !strings.Contains(string(reference), "`"+k+"`") {
			t.Errorf("docs/GRANTS.md lacks %q", k)
		}
		if !bytes.Contains(readExample(t), []byte(k+":")) {
			t.Errorf("the example lacks %q", k)
		}
	}
	var doc struct {
		Properties map[string]json.RawMessage `json:"properties"`
		Defs       map[string]struct {
			Properties map[string]json.RawMessage `json:"properties"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal([]byte(schema.Grants()), &doc); err != nil {
		t.Fatal(err)
	}
	doc.Defs[""] = struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}{doc.Properties}
	for _, d := range doc.Defs {
		for k := range d.Properties {
			if !slices.Contains(keys, k) {
				t.Errorf("the schema has %q, which no type has", k)
			}
		}
	}
}

// Faults are told with their line.
func TestPolicyFaults(t *testing.T) {
	good := string(readExample(t))
	for _, c := range []struct{ old, new, want string }{
		{"grants: 1", "grants: 2", "policies.yaml:4: grants: should be 1"},
		{"  - name: domain-admins", "  - name: Domain Admins", "policies.yaml:18: policies[0].name"},
		{"longest: 4h, usual: 1h", "longest: 4h, usual: 5h", "policies.yaml:22: policies[0].duration.usual: 5h should be 1m to 4h"},
		{"longest: 4h, usual", "longest: 4hours, usual", "policies.yaml:22:"},
		{"needed: 2", "needed: 20", "policies.yaml:24: policies[0].approval.needed"},
		{"needed: 2\n      from: ['CONTOSO\\Tier 0 Approvers']", "needed: 2", "policies[0].approval.from: nobody is named"},
		{"leaves: grace", "leaves: now", "policies.yaml:30: policies[0].observer.leaves"},
		{"(CHG|INC)", "(CHG|INC", "policies.yaml:33: policies[0].ticket.pattern"},
		{"(CHG|INC)", strings.Repeat("x", 201), "longer than 200"},
		{"Europe/Berlin}\n    emergency", "Europe/Nowhere}\n    emergency", "policies.yaml:35: policies[0].windows[0].zone"},
		{`from: "07:00"`, `from: "25:00"`, "policies.yaml:35:"},
		{"[mon-fri]", "[mon-foo]", "policies[0].windows[0].days"},
		{"group: CONTOSO\\Domain Admins", "group: Domain Admins", "could be in any domain"},
		{"security-team: ['CONTOSO\\Security Operations']", "", "an emergency must be loud"},
		{"    role: service-desk", "    role: service-desk\n    group: S-1-5-32-551", "not both"},
		{"  - name: desk", "  - name: domain-admins", "is there twice"},
		{"extension: {times: 1, ", "extension: {", "times is missing"},
		{"activation: by-holder", "activation: sometimes", "activation"},
		{"S-1-5-32-551", "S-1-5-x", "policies.yaml:51: policies[1].group"},
		{"grants: 1", "grants: 1\nnonsense: true", "policies.yaml:5:"},
		{"person-attribute: employeeID", "person-attribute: &x employeeID", "anchors"},
	} {
		bad := strings.Replace(good, c.old, c.new, 1)
		if bad == good {
			t.Errorf("%q is not in the example", c.old)
			continue
		}
		_, err := ParsePolicies("policies.yaml", []byte(bad))
		if !errors.Is(err, ErrPolicies) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s -> %s:\n got %v\nwant %s", c.old, c.new, err, c.want)
		}
	}
}

// What was read, written and read again is the same.
func TestPoliciesRoundTrip(t *testing.T) {
	p, err := ParsePolicies("policies.yaml", readExample(t))
	if err != nil {
		t.Fatal(err)
	}
	again := roundTrip(t, p)
	if !reflect.DeepEqual(p, again) {
		t.Errorf("got  %+v\nwant %+v", again, p)
	}
}

func roundTrip(t testing.TB, p *Policies) *Policies {
	t.Helper()
	b, err := yaml.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParsePolicies("again.yaml", dropEmpty(b))
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	return again
}

// dropEmpty removes the keys of empty values, which Marshal writes and the format does
// not have.
func dropEmpty(b []byte) []byte {
	var tree any
	if err := yaml.Unmarshal(b, &tree); err != nil {
		return b
	}
	out, err := yaml.Marshal(trim(tree))
	if err != nil {
		return b
	}
	return out
}

func trim(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			e = trim(e)
			if r := reflect.ValueOf(e); !r.IsValid() || r.IsZero() || e == "0s" || (r.Kind() == reflect.Map || r.Kind() == reflect.Slice) && r.Len() == 0 {
				delete(v, k)
				continue
			}
			v[k] = e
		}
	case []any:
		for i := range v {
			v[i] = trim(v[i])
		}
	}
	return v
}

func FuzzParsePolicies(f *testing.F) {
	f.Add(readExample(f))
	f.Add([]byte("grants: 1\npolicies:\n  - {name: a, title: b, group: S-1-5-32-544, requesters: [S-1-1-0], duration: {longest: 1h}}\n"))
	f.Add([]byte("grants: 1\npolicies: [{windows: [{from: \"23:00\", to: \"01:00\", zone: UTC}]}]"))
	f.Add([]byte("- - - {"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParsePolicies("fuzz.yaml", data)
		if err != nil {
			if !errors.Is(err, ErrPolicies) || !strings.Contains(err.Error(), "fuzz.yaml") {
				t.Fatalf("error without class or place: %v", err)
			}
			return
		}
		if f := p.check(); f != nil {
			t.Fatalf("accepted, and then not: %+v", f)
		}
		for i := range p.Policies {
			if _, _, err := p.Policies[i].WindowAt(time.Unix(1_800_000_000, 0)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestSpans(t *testing.T) {
	for in, want := range map[string]time.Duration{"30m": 30 * time.Minute, "1h30m": 90 * time.Minute, "7d": 168 * time.Hour, "0s": 0, "90s": 90 * time.Second} {
		got, err := ParseSpan(in)
		if err != nil || time.Duration(got) != want {
			t.Errorf("%s: %s, %v", in, got, err)
		}
		if again, err := ParseSpan(got.String()); err != nil || again != got {
			t.Errorf("%s: again %s, %v", in, again, err)
		}
	}
	for _, bad := range []string{"", "1", "-1h", "1.5h", "1h ", "m", "1w", "1m1h", "99999999h"} {
		if got, err := ParseSpan(bad); err == nil {
			t.Errorf("%q is read as %s", bad, got)
		}
	}
}

// Windows follow the clock on the wall: across midnight, and where clocks are changed.
func TestWindows(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	office := []Window{{Days: []string{"mon-fri"}, From: "08:00", To: "18:00", Zone: "Europe/Berlin"}}
	night := []Window{{Days: []string{"sat"}, From: "22:00", To: "04:00", Zone: "Europe/Berlin"}}
	skipped := []Window{{From: "02:15", To: "02:45", Zone: "Europe/Berlin"}}
	for _, c := range []struct {
		name  string
		list  []Window
		at    string
		open  bool
		until string
	}{
		{"winter, just open", office, "2026-01-05T07:00:00Z", true, "2026-01-05T17:00:00Z"},
		{"winter, not yet", office, "2026-01-05T06:59:59Z", false, "2026-01-05T07:00:00Z"},
		{"last second", office, "2026-01-05T16:59:59Z", true, "2026-01-05T17:00:00Z"},
		{"closed at its end", office, "2026-01-05T17:00:00Z", false, "2026-01-06T07:00:00Z"},
		{"summer is an hour earlier", office, "2026-07-06T06:00:00Z", true, "2026-07-06T16:00:00Z"},
		{"weekend across the change to summer time", office, "2026-03-27T17:00:00Z", false, "2026-03-30T06:00:00Z"},
		{"weekend across the change to winter time", office, "2026-10-23T16:00:00Z", false, "2026-10-26T07:00:00Z"},
		{"across midnight, before", night, "2026-06-06T20:00:00Z", true, "2026-06-07T02:00:00Z"},
		{"across midnight, after", night, "2026-06-07T01:00:00Z", true, "2026-06-07T02:00:00Z"},
		{"the night after is closed", night, "2026-06-07T21:00:00Z", false, "2026-06-13T20:00:00Z"},
		{"night with one hour less", night, "2026-03-28T21:00:00Z", true, "2026-03-29T02:00:00Z"},
		{"night with one hour more", night, "2026-10-24T20:00:00Z", true, "2026-10-25T03:00:00Z"},
		{"a span that a clock change leaves out", skipped, "2026-03-29T00:30:00Z", false, "2026-03-30T00:15:00Z"},
		{"a span that a clock change repeats, first", skipped, "2026-10-25T00:20:00Z", true, "2026-10-25T00:45:00Z"},
		{"a span that a clock change repeats, again", skipped, "2026-10-25T01:20:00Z", true, "2026-10-25T01:45:00Z"},
		{"no windows", nil, "2026-01-05T06:59:59Z", true, ""},
		{"always", []Window{{From: "00:00", To: "24:00", Zone: "UTC"}}, "2026-01-05T06:59:59Z", true, ""},
	} {
		open, until, err := windowAt(c.list, at(c.at))
		want := time.Time{}
		if c.until != "" {
			want = at(c.until)
		}
		if err != nil || open != c.open || !until.Equal(want) {
			t.Errorf("%s: open %v until %s (%v), want %v until %s", c.name, open, until.UTC(), err, c.open, want)
		}
	}
}

func TestTextRules(t *testing.T) {
	rule := Text{Needed: true, Shortest: 5, Pattern: `(CHG|INC)\d+`}
	for in, ok := range map[string]bool{
		"CHG123": true, " CHG123 ": true, "": false, "CHG1": false, "see CHG123": false, "CHG123\nINC1": false,
		"CHG123\x00": false, strings.Repeat("CHG1", 600): false, "CHG\xff": false,
	} {
		if why := rule.accepts("the ticket", in); (why == "") != ok {
			t.Errorf("%q: %q", in, why)
		}
	}
}
