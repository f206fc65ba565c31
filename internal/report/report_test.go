package report_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"charm.land/lipgloss/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/leastwise/leastwise/docs/schema"
	"github.com/leastwise/leastwise/internal/control"
	"github.com/leastwise/leastwise/internal/report"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s differs (-want +got); if the change is meant, run with -update and read the file:\n%s", name, diff)
	}
}

// small is the sample with one or two findings of each kind and few members.
func small() *control.Assessment {
	a := sample()
	n := map[string]int{}
	kept := []string{"LW-F-001", "LW-I-003", "LW-F-010", "LW-A-001", "LW-E-009", "LW-C-001"}
	a.Findings = slices.DeleteFunc(a.Findings, func(f control.Finding) bool {
		n[f.Control+string(f.Outcome)]++
		return !slices.Contains(kept, f.Control) || len(f.Subject.Name) > 1000 || n[f.Control+string(f.Outcome)] > 1 && f.Exception == nil && !strings.ContainsAny(f.Subject.Name, "\u202E=\n")
	})
	for i := range a.Population {
		p := &a.Population[i]
		p.Members = slices.DeleteFunc(slices.Clone(p.Members), func(m control.Member) bool {
			return len(m.Name) > 1000 || m.Enabled && !m.Temporary && strings.Contains(m.Name, ".") || strings.HasPrefix(m.Name, "staff") && m.Name > "staff0002"
		})
	}
	a.Matrix = a.Matrix[:12]
	return a
}

func render(t *testing.T, write func(io.Writer, *control.Assessment) error, a *control.Assessment) string {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b, a); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func text(s report.Screen) func(io.Writer, *control.Assessment) error {
	return func(w io.Writer, a *control.Assessment) error { return report.Text(w, a, s) }
}

var renderers = map[string]func(io.Writer, *control.Assessment) error{
	"json": report.JSON, "csv": report.CSV, "sarif": report.SARIF, "html": report.HTML,
	"plain": text(report.Screen{Evidence: true}), "wide": text(report.Screen{Width: 110, Color: true, Findings: 9, Evidence: true}),
}

func TestGolden(t *testing.T) {
	golden(t, "plain.txt", render(t, renderers["plain"], small()))
	golden(t, "wide.ansi", render(t, renderers["wide"], small()))
	golden(t, "findings.csv", render(t, report.CSV, small()))
	golden(t, "findings.sarif", render(t, report.SARIF, small()))
	page := render(t, report.HTML, small())
	main := regexp.MustCompile(`(?s)<main.*</main>`).FindString(page)
	golden(t, "main.html", main)
}

func TestEqualInputGivesEqualBytes(t *testing.T) {
	for name, write := range renderers {
		first, second := render(t, write, sample()), render(t, write, sample())
		if first != second {
			t.Errorf("%s differs between two runs", name)
		}
	}
}

// TestNothingFound renders assessments that are empty or partly so.
func TestNothingFound(t *testing.T) {
	for name, write := range renderers {
		for _, a := range []*control.Assessment{{}, {Version: 1, Findings: []control.Finding{{}}, Matrix: []control.MatrixRow{{}}, Population: []control.Population{{}}}} {
			out := render(t, write, a)
			if strings.Contains(out, "%!") || strings.Contains(out, "null") && name == "json" {
				t.Errorf("%s of %+v: %s", name, a, out)
			}
		}
	}
}

type broken struct{ n int }

var errBroken = errors.New("disk full")

func (b *broken) Write(p []byte) (int, error) {
	if b.n -= len(p); b.n < 0 {
		return 0, errBroken
	}
	return len(p), nil
}

func TestWriterFails(t *testing.T) {
	for name, write := range renderers {
		if err := write(&broken{}, sample()); !errors.Is(err, errBroken) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestJSONFollowsSchema(t *testing.T) {
	sch := compile(t)
	for _, a := range []*control.Assessment{sample(), small(), {Version: 1}} {
		out := render(t, report.JSON, a)
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(out))
		if err != nil {
			t.Fatal(err)
		}
		if err := sch.Validate(v); err != nil {
			t.Errorf("the output does not follow the schema: %#v", err)
		}
	}
	var back control.Assessment
	if err := json.Unmarshal([]byte(render(t, report.JSON, sample())), &back); err != nil {
		t.Fatal(err)
	}
	if render(t, report.JSON, &back) != render(t, report.JSON, sample()) {
		t.Error("reading and writing the JSON again changes it")
	}
	for what, change := range map[string]func(*control.Assessment){
		"outcome":            func(a *control.Assessment) { a.Findings[0].Outcome = "maybe" },
		"pass as finding":    func(a *control.Assessment) { a.Findings[0].Outcome = control.Pass },
		"severity":           func(a *control.Assessment) { a.Findings[0].Severity = "" },
		"state":              func(a *control.Assessment) { a.Run.Coverage[0].State = "fine" },
		"version":            func(a *control.Assessment) { a.Version = 2 },
		"unknown for no why": func(a *control.Assessment) { a.Findings[0].Outcome, a.Findings[0].Missing = control.Unknown, nil },
	} {
		a := sample()
		change(a)
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(render(t, report.JSON, a)))
		if err != nil {
			t.Fatal(err)
		}
		if sch.Validate(v) == nil {
			t.Errorf("the schema accepts a wrong %s", what)
		}
	}
}

func compile(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	for name, text := range map[string]string{"assessment": schema.Assessment(), "configmgr-output": schema.ConfigMgrOutput()} {
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource(schemaBase+name+".schema.json", doc); err != nil {
			t.Fatal(err)
		}
	}
	sch, err := c.Compile(schemaBase + "assessment.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return sch
}

// TestSchemaNamesEveryField walks the types: a field without an entry in the
// schema is one that nobody was told of.
func TestSchemaNamesEveryField(t *testing.T) {
	published := schema.Assessment()
	seen := map[reflect.Type]bool{}
	var walk func(reflect.Type)
	walk = func(ty reflect.Type) {
		for ty.Kind() == reflect.Pointer || ty.Kind() == reflect.Slice || ty.Kind() == reflect.Map {
			ty = ty.Elem()
		}
		if ty.Kind() != reflect.Struct || seen[ty] || ty == reflect.TypeFor[time.Time]() {
			return
		}
		seen[ty] = true
		for i := range ty.NumField() {
			f := ty.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if !f.Anonymous && !f.IsExported() {
				continue // not part of the JSON
			}
			if !f.Anonymous && name != "-" && !strings.Contains(published, fmt.Sprintf("%q:", name)) {
				t.Errorf("docs/schema/assessment.schema.json lacks %q (%s.%s)", name, ty, f.Name)
			}
			walk(f.Type)
		}
	}
	walk(reflect.TypeFor[control.Assessment]())
}

func TestCSV(t *testing.T) {
	out := render(t, report.CSV, sample())
	if strings.Count(out, "\r\n") < len(sample().Findings)+1 {
		t.Error("records do not end in CRLF")
	}
	records, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(records) != len(sample().Findings)+1 {
		t.Errorf("%d records for %d findings", len(records), len(sample().Findings))
	}
	formula := false
	for _, r := range records {
		for _, c := range r {
			if c != "" && strings.ContainsRune("=+-@\t\r", rune(c[0])) {
				t.Errorf("a cell begins with %q: %q", c[0], c)
			}
			formula = formula || strings.HasPrefix(c, "'=HYPERLINK")
			checkVisible(t, c)
		}
	}
	if !formula {
		t.Error("the formula among the names is gone")
	}
}

// checkVisible fails for characters that a reader cannot see.
func checkVisible(t *testing.T, s string) {
	t.Helper()
	for _, r := range s {
		if r != '\n' && (unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r)) {
			t.Errorf("%q holds U+%04X", s, r)
			return
		}
	}
}

func TestSARIF(t *testing.T) {
	a := sample()
	out := render(t, report.SARIF, a)
	log, err := sarif.FromString(out)
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Validate(); err != nil {
		t.Errorf("the log does not follow SARIF 2.1.0: %v", err)
	}
	run := log.Runs[0]
	if len(run.Results) != len(a.Findings) || len(run.Tool.Driver.Rules) != len(a.Controls) {
		t.Errorf("%d results for %d findings, %d rules for %d controls", len(run.Results), len(a.Findings), len(run.Tool.Driver.Rules), len(a.Controls))
	}
	open, suppressed, files := 0, 0, 0
	for i, r := range run.Results {
		f := a.Findings[i]
		if *run.Tool.Driver.Rules[r.RuleIndex].ID != f.Control || *r.RuleID != f.Control {
			t.Errorf("result %d has rule %s, want %s", i, *r.RuleID, f.Control)
		}
		if r.Fingerprints["leastwise/v1"] != report.Key(f) {
			t.Errorf("result %d has fingerprint %v", i, r.Fingerprints)
		}
		if got := *r.Locations[0].LogicalLocations[0].FullyQualifiedName; got != f.Subject.DN {
			t.Errorf("result %d is at %q, want %q", i, got, f.Subject.DN)
		}
		if r.Kind == "open" && r.Level == "none" {
			open++
		}
		suppressed += len(r.Suppressions)
		files += len(r.RelatedLocations)
	}
	if open != a.Summary.Unknown || suppressed != 1 || files == 0 {
		t.Errorf("%d open, want %d; %d suppressed, want 1; %d files", open, a.Summary.Unknown, suppressed, files)
	}
	if !strings.Contains(out, `"uri": "contoso.test/Policies/%7B3E0E6B9D`) {
		t.Error("policy files are not written as URIs")
	}
}

// TestHostileNames looks for anything in the page that a name could have put there.
func TestHostileNames(t *testing.T) {
	page := render(t, report.HTML, sample())
	if n := strings.Count(page, "<script"); n != 1 {
		t.Errorf("%d script elements, want the page's own", n)
	}
	for _, bad := range []string{"<img", "onerror=alert(1)>", "\u202E", "\u200B", "javascript:", "http://", "https://"} {
		if strings.Contains(page, bad) && bad != "http://" {
			t.Errorf("the page holds %q", bad)
		}
	}
	for _, good := range []string{
		"helpdesk<span class=\"ctl\">U+202E</span>xe.nimda", "svc<span class=\"ctl\">U+000A</span>backup", "Domain<span class=\"ctl\">U+200B</span> Admins",
		"&lt;script&gt;alert(&#34;x&#34;)&lt;", "<bdi>דוד לוי</bdi>", "more characters)",
	} {
		if !strings.Contains(page, good) {
			t.Errorf("the page lacks %q", good)
		}
	}
	for _, name := range []string{"plain", "wide"} {
		checkVisible(t, regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(render(t, renderers[name], sample()), ""))
	}
}

// TestTextFitsScreen renders for several widths: no line is wider, and nothing
// but the caller's wish brings colour.
func TestTextFitsScreen(t *testing.T) {
	for _, width := range []int{72, 80, 110, 200} {
		for i, l := range strings.Split(render(t, text(report.Screen{Width: width, Evidence: true}), sample()), "\n") {
			if lipgloss.Width(l) > width {
				t.Errorf("width %d: line %d is %d wide: %s", width, i+1, lipgloss.Width(l), l)
				break
			}
		}
	}
	for _, s := range []report.Screen{{}, {Width: 100}} {
		if strings.Contains(render(t, text(s), sample()), "\x1b") {
			t.Errorf("escape sequences without colour: %+v", s)
		}
	}
	if !strings.Contains(render(t, text(report.Screen{Findings: 3}), sample()), "3 of 88 findings listed; the JSON output has all.") {
		t.Error("a shortened list does not say so")
	}
}

// TestLargeReport is the size that a large forest gives: the page stays small,
// says what it leaves out, and is made quickly.
func TestLargeReport(t *testing.T) {
	a := sample()
	for len(a.Findings) < 500 {
		f := a.Findings[len(a.Findings)%80]
		f.Subject.SID = fmt.Sprintf("%s-%d", domSID, 90000+len(a.Findings))
		a.Findings = append(a.Findings, f)
	}
	start := time.Now()
	page := render(t, report.HTML, a)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("made in %v", took)
	}
	if len(page) > 3<<20 {
		t.Errorf("the page has %d bytes", len(page))
	}
	if n := strings.Count(page, `<details class="finding"`); n != 500 {
		t.Errorf("%d findings in the page", n)
	}
	if !strings.Contains(page, "150 of 5,000 members are listed here; the JSON output lists all of them") {
		t.Error("the cut list of members does not say so")
	}
}

// TestUnknownStandsApart: an assessment in which something is unknown never
// reads like one in which nothing is.
func TestUnknownStandsApart(t *testing.T) {
	page := render(t, report.HTML, sample())
	for _, want := range []string{"Not everything could be read.", "4 areas are missing or incomplete", "Could not be decided", `<td class="unknown g"><span>unknown</span>`, "at least</span> 2"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	a := sample()
	a.Population[0].Unknown = []string{"unreadable"}
	if page := render(t, report.HTML, a); !strings.Contains(page, "At least 32 accounts hold full power") {
		t.Error("the headline gives a number that is only a lower bound as if it were exact")
	}
	a = sample()
	a.Run.Coverage = a.Run.Coverage[:2]
	if page := render(t, report.HTML, a); strings.Contains(page, "Not everything could be read") {
		t.Error("a complete reading is called incomplete")
	}
}

func TestKey(t *testing.T) {
	f := control.Finding{Control: "C", Subject: control.Subject{DN: "CN=a,DC=x", SID: "S-1-5-21-1-2-3-4", Kind: "user"}}
	moved, other, host := f, f, f
	moved.Subject.DN, moved.Subject.Name, moved.Outcome = "CN=b,OU=y,DC=x", "b", control.Unknown
	if report.Key(f) != report.Key(moved) {
		t.Error("a renamed subject has another key")
	}
	other.Control = "D"
	host.Subject.SID, host.Subject.Scope = "", "filtered"
	upper := host
	upper.Subject.DN = "cn=A,dc=X"
	if report.Key(f) == report.Key(other) || report.Key(f) == report.Key(host) || report.Key(host) != report.Key(upper) {
		t.Error("keys of different findings are equal, or of equal ones differ")
	}
	builtin := control.Finding{Control: "C", Subject: control.Subject{DN: "CN=Administrators,CN=Builtin,DC=a", SID: "S-1-5-32-544", Kind: "group"}}
	elsewhere := builtin
	elsewhere.Subject.DN = "CN=Administrators,CN=Builtin,DC=b"
	if report.Key(builtin) == report.Key(elsewhere) {
		t.Error("Administrators of two domains share a key")
	}
	seen := map[string]control.Finding{}
	for _, f := range sample().Findings {
		if was, dup := seen[report.Key(f)]; dup && was.Subject.Kind != "hosts" && was.Subject.Kind != "container" {
			t.Errorf("%s and %s share a key", was.Subject.DN, f.Subject.DN)
		}
		seen[report.Key(f)] = f
	}
}

// What a snapshot file says of its own reading is foreign text, too.
func TestTextObeysNothing(t *testing.T) {
	a := sample()
	a.Run.Source = "scan\x1b[2J"
	a.Run.Coverage[0].State = "partial\x1b[3J"
	a.Run.Coverage[0].Area = "file\x1b[4J"
	var text bytes.Buffer
	if err := report.Text(&text, a, report.Screen{Width: 120}); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsRune(text.String(), '\x1b') {
		t.Errorf("text reaches the terminal as it is:\n%.600q", text.String())
	}
}

// An account of which it could not be read whether it is disabled is not shown as
// disabled.
func TestHTMLUnsureMember(t *testing.T) {
	a := sample()
	m := &a.Population[0].Members[0]
	m.Name, m.Enabled, m.Unsure = "unsure-member", false, true
	var page bytes.Buffer
	if err := report.HTML(&page, a); err != nil {
		t.Fatal(err)
	}
	_, row, _ := strings.Cut(page.String(), `<th scope="row"><bdi>unsure-member</bdi></th>`)
	row, _, _ = strings.Cut(row, "</tr>")
	if strings.Contains(row, "disabled") || !strings.Contains(row, "unknown") {
		t.Errorf("its row is %q, want a state that is unknown", row)
	}
}
