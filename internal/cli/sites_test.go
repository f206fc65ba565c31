package cli_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/leastwise/leastwise/internal/adminservice"
	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/cli"
	"github.com/leastwise/leastwise/lab/standin"
)

// siteNow is the moment from which the ages in the fixture sites count, and at which
// they are judged.
var siteNow = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// plantedSecret stands in every source of the fixture sites where a site has secrets:
// in columns, properties and attributes that are never to be read, and in comments.
const plantedSecret = "Pl4nted-Secret"

// siteSources are the ways in which a site becomes known, in the order of the columns of
// the golden files.
var siteSources = []string{"declared", "imported", "collected", "directory"}

// sourceLetters are the sources as the golden files of findings write them.
var sourceLetters = map[string]string{"declared": "d", "imported": "i", "collected": "c", "directory": "s"}

// A fixtureSite is a folder of testdata/sites: a hierarchy, by each of the sources.
type fixtureSite struct {
	name    string // of the folder, and of the fixture of the directory
	dir     string
	exports []string // arguments of import
}

func fixtureSites() []fixtureSite {
	var out []fixtureSite
	for _, s := range []fixtureSite{
		{name: "well"},
		{name: "shared"},
		{name: "grown", exports: []string{"--site-code", "R12"}},
	} {
		s.dir = filepath.Join("testdata", "sites", s.name)
		out = append(out, s)
	}
	return out
}

// fixture is the file with the site's directory.
func (s fixtureSite) fixture() string { return s.dir + ".yaml" }

// TestSites judges the fixture sites on the directories that their fixtures describe.
// TestSitesInLab does the same with a real directory.
func TestSites(t *testing.T) {
	t.Parallel()
	for _, s := range fixtureSites() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			r := &siteRun{t: t, site: s, dir: t.TempDir()}
			web := standin.NewOpen(t)
			s.serve(t, web)
			c, err := adminservice.New(web, adminservice.Options{Now: func() time.Time { return siteNow }})
			if err != nil {
				t.Fatal(err)
			}
			got, err := adminservice.Collect(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if err := app.WriteConfigMgr(t.Context(), filepath.Join(r.dir, "collected.json"), got.Document); err != nil {
				t.Fatal(err)
			}
			r.check(s.fixture())
		})
	}
}

// serve gives a stand-in the answers of the site.
func (s fixtureSite) serve(t *testing.T, to *standin.AdminService) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, "answers.json"))
	if err != nil {
		t.Fatal(err)
	}
	var answers map[string]struct {
		Rows        []standin.Row `json:"rows"`
		Lazy        bool          `json:"lazy"`
		Key         string        `json:"key"`
		LazyColumns []string      `json:"lazyColumns"`
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&answers); err != nil {
		t.Fatal(err)
	}
	for class, a := range answers {
		to.Set(class, standin.Table{Rows: a.Rows, Lazy: a.Lazy, Key: a.Key, LazyColumns: a.LazyColumns})
	}
}

// A siteRun takes one site through its sources.
type siteRun struct {
	t    *testing.T
	site fixtureSite
	dir  string // what is written, and scanned for secrets
}

// run runs the program, and keeps what it says for the search for secrets.
func (r *siteRun) run(args ...string) (code int, out string) {
	r.t.Helper()
	return r.runAt(func() time.Time { return siteNow }, args...)
}

func (r *siteRun) runAt(now func() time.Time, args ...string) (code int, out string) {
	r.t.Helper()
	var stdout, stderr bytes.Buffer
	code = cli.Run(r.t.Context(), args, cli.Environment{Version: "test", In: strings.NewReader(""), Out: &stdout, Err: &stderr, Now: now})
	r.noSecret(strings.Join(args, " "), stdout.Bytes())
	r.noSecret(strings.Join(args, " "), stderr.Bytes())
	if code != 0 {
		r.t.Fatalf("leastwise %s: exit code %d\n%s", strings.Join(args, " "), code, stderr.String())
	}
	return code, stdout.String()
}

// noSecret demands that nothing of what was planted has come through.
func (r *siteRun) noSecret(where string, text []byte) {
	r.t.Helper()
	for _, s := range []string{plantedSecret, "0C0100000B"} {
		if bytes.Contains(text, []byte(s)) || bytes.Contains(text, []byte(strings.ReplaceAll(s, "-", ""))) {
			r.t.Errorf("%s: a planted secret came through", where)
		}
	}
}

// check judges the site by each source and compares with the golden files. snapshot is
// the directory; collected.json is there already.
func (r *siteRun) check(snapshot string) {
	r.t.Helper()
	r.imported()
	evidence := filepath.Join(r.site.dir, "evidence.yaml")
	documents := map[string][]string{
		"declared":  {filepath.Join(r.site.dir, "site.yaml"), evidence},
		"imported":  {filepath.Join(r.dir, "imported.json"), evidence},
		"collected": {filepath.Join(r.dir, "collected.json"), evidence},
	}
	got := map[string]*assessed{}
	for _, source := range siteSources {
		args := []string{"configmgr", "assess", "--snapshot", snapshot, "--output", "json", "--out", filepath.Join(r.dir, source+".assess.json")}
		slots := []string{"configmgr", "slots", "--snapshot", snapshot, "--all"}
		for _, d := range documents[source] {
			args = append(args, "--document", d)
			slots = append(slots, "--document", d)
		}
		r.run(args...)
		r.run(slots...)
		got[source] = readAssessed(r.t, filepath.Join(r.dir, source+".assess.json"))
	}
	r.files()
	r.compare(got)
}

// imported makes a document of the site's exports. Files with .utf16 in their names are
// stored in UTF-8 and become what Windows PowerShell writes.
func (r *siteRun) imported() {
	r.t.Helper()
	files, err := filepath.Glob(filepath.Join(r.site.dir, "exports", "*"))
	if err != nil || len(files) == 0 {
		r.t.Fatalf("no exports: %v", err)
	}
	args := append([]string{"configmgr", "import"}, r.site.exports...)
	for _, f := range files {
		if strings.Contains(f, ".utf16.") {
			f = r.wide(f)
		}
		args = append(args, f)
	}
	r.run(append(args, "--out", filepath.Join(r.dir, "imported.json"))...)
}

// wide writes a file anew in UTF-16 with byte order mark and the line ends of Windows.
func (r *siteRun) wide(file string) string {
	r.t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		r.t.Fatal(err)
	}
	out := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(strings.ReplaceAll(string(text), "\n", "\r\n"))) {
		out = append(out, byte(u), byte(u>>8))
	}
	// Outside the folder that is searched for secrets: this is a source.
	to := filepath.Join(r.t.TempDir(), strings.Replace(filepath.Base(file), ".utf16.", ".", 1))
	if err := os.WriteFile(to, out, 0o600); err != nil {
		r.t.Fatal(err)
	}
	return to
}

// files searches what was written for planted secrets; snapshots as LDIF, since they are
// compressed.
func (r *siteRun) files() {
	r.t.Helper()
	names, err := filepath.Glob(filepath.Join(r.dir, "*"))
	if err != nil || len(names) < 5 {
		r.t.Fatalf("%d files: %v", len(names), err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			r.t.Fatal(err)
		}
		if filepath.Ext(name) == ".lws" {
			s, err := app.Load(r.t.Context(), name, "test", siteNow)
			if err != nil {
				r.t.Fatal(err)
			}
			var ldif bytes.Buffer
			if err := s.WriteLDIF(&ldif); err != nil {
				r.t.Fatal(err)
			}
			data = ldif.Bytes()
		}
		r.noSecret(filepath.Base(name), data)
	}
}

// An assessed is what assess printed.
type assessed struct {
	Sites []struct {
		Code     string `json:"code"`
		Outcomes []struct {
			Control   string `json:"control"`
			Verdict   string `json:"verdict"`
			Instances []struct {
				Verdict string `json:"verdict"`
				Subject struct {
					Name     string `json:"name"`
					Entry    string `json:"entry"`
					Host     string `json:"host"`
					Location string `json:"location"`
				} `json:"subject"`
			} `json:"instances"`
		} `json:"outcomes"`
	} `json:"sites"`
	Separations []struct {
		Rule    string `json:"rule"`
		Verdict string `json:"verdict"`
		A       slot   `json:"a"`
		B       slot   `json:"b"`
	} `json:"separations"`
}

// A slot is a side of a rule between slots.
type slot struct {
	Entry string `json:"entry"`
	Site  string `json:"site"`
	Name  string `json:"name"`
}

func readAssessed(t *testing.T, file string) *assessed {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	a := &assessed{}
	if err := json.Unmarshal(data, a); err != nil {
		t.Fatal(err)
	}
	return a
}

// letters are verdicts as the golden files write them.
var letters = map[string]string{"pass": "P", "fail": "F", "unknown": "U", "not-applicable": "-"}

// compare holds what each source gave against the golden files of the site:
//
//   - findings.golden, written by hand: every failure, which sources show it, and why;
//   - differences.golden, written by hand: every control on which the documents of two
//     sources give different outcomes, and why;
//   - outcomes.golden: every control on every site by each source. It is written anew if
//     LEASTWISE_UPDATE is set.
func (r *siteRun) compare(got map[string]*assessed) {
	r.t.Helper()
	findings := map[string]string{} // site, control, entry, principal, host or location → letters of the sources
	outcomes := map[string]string{} // site, control → letters
	add := func(source string, about ...string) {
		for i := range about {
			about[i] = cmp.Or(about[i], "-")
		}
		key := strings.Join(about, " | ")
		if letter := sourceLetters[source]; !strings.HasSuffix(findings[key], letter) {
			findings[key] += letter
		}
	}
	for i, source := range siteSources {
		for _, s := range got[source].Sites {
			for _, o := range s.Outcomes {
				key := s.Code + " " + o.Control
				outcomes[key] += strings.Repeat(".", i-len(outcomes[key])) + letters[o.Verdict]
				for _, in := range o.Instances {
					if in.Verdict == "fail" {
						add(source, s.Code, o.Control, in.Subject.Entry, in.Subject.Name, cmp.Or(in.Subject.Host, in.Subject.Location))
					}
				}
			}
		}
		for _, x := range got[source].Separations {
			if x.Verdict == "violated" {
				add(source, "*", x.Rule, x.A.Entry, x.A.Name, x.B.Entry)
			}
		}
	}
	differences := map[string]string{}
	var all []string
	for _, key := range slices.Sorted(maps.Keys(outcomes)) {
		v := outcomes[key]
		all = append(all, key+" "+v)
		if d := v[:min(3, len(v))]; strings.Trim(d, d[:1]) != "" {
			differences[key] = d
		}
	}
	r.golden("findings.golden", findings)
	r.golden("differences.golden", differences)
	r.outcomes(strings.Join(all, "\n") + "\n")
}

// golden compares with a file of lines "key = value # why".
func (r *siteRun) golden(name string, got map[string]string) {
	r.t.Helper()
	data, err := os.ReadFile(filepath.Join(r.site.dir, name))
	if err != nil {
		r.t.Error(err)
	}
	want := map[string]string{}
	for n, line := range strings.Split(string(data), "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fact, why, _ := strings.Cut(line, " # ")
		key, value, ok := strings.Cut(fact, " = ")
		if !ok || strings.TrimSpace(why) == "" {
			r.t.Fatalf("%s:%d: want: key = value # why", name, n+1)
		}
		if want[key] != "" {
			r.t.Errorf("%s:%d: %s is there twice", name, n+1, key)
		}
		want[key] = strings.TrimSpace(value)
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if want[key] != got[key] {
			r.t.Errorf("%s: got  %s = %s", name, key, got[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if got[key] != want[key] {
			r.t.Errorf("%s: want %s = %s", name, key, want[key])
		}
	}
}

// outcomes compares all outcomes, and counts them by source for the reader.
func (r *siteRun) outcomes(got string) {
	r.t.Helper()
	counts := ""
	for i, source := range siteSources {
		n := map[byte]int{}
		for line := range strings.Lines(got) {
			if v := strings.TrimSpace(line[strings.LastIndexByte(line, ' ')+1:]); i < len(v) {
				n[v[i]]++
			}
		}
		counts += fmt.Sprintf("# %s: %d pass, %d fail, %d unknown, %d not applicable\n", source, n['P'], n['F'], n['U'], n['-'])
	}
	got = "# Every control on every site: declared, imported, collected, directory alone.\n# P pass, F fail, U unknown, - not applicable, . the source does not show the site.\n" + counts + got
	name := filepath.Join(r.site.dir, "outcomes.golden")
	if os.Getenv("LEASTWISE_UPDATE") != "" {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			r.t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		r.t.Fatal(err)
	}
	w, g := strings.Split(string(want), "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		if i >= len(w) || i >= len(g) || w[i] != g[i] {
			r.t.Errorf("outcomes.golden, line %d: got %q, want %q", i+1, strings.Join(g[min(i, len(g)):min(i+1, len(g))], ""), strings.Join(w[min(i, len(w)):min(i+1, len(w))], ""))
		}
	}
}
