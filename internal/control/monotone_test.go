package control

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/forest/fixture"
)

// contoso builds the demonstration company with faults of every kind.
func contoso(t testing.TB) *forest.Snapshot {
	t.Helper()
	f, err := fixture.ParseFS(os.DirFS("../../examples"), "contoso.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Snapshot(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func contosoOptions() Options {
	return Options{
		ExemptOUs: []string{"OU=Jump Servers,DC=contoso,DC=test"}, ServerOUs: []string{"OU=Servers,DC=contoso,DC=test"},
		WorkstationOUs: []string{"OU=Workstations,DC=contoso,DC=test"},
	}
}

// A monotony compares assessments of copies that lack evidence with that of the
// whole. Evidence that is taken away may make an outcome unknown and nothing else:
// a failure never turns into a pass, nor a pass or an unknown into a failure.
type monotony struct {
	c       *Catalogue
	whole   *copyist
	options Options
	before  *Assessment
	known   map[string]Outcome // by Finding.Key
}

func newMonotony(t *testing.T, c *Catalogue, s *forest.Snapshot, o Options) *monotony {
	t.Helper()
	m := &monotony{c: c, whole: newCopyist(s), options: o, known: map[string]Outcome{}}
	m.before = assess(t, c, Input{Snapshot: s, Options: o})
	for i := range m.before.Findings {
		m.known[place(&m.before.Findings[i])] = m.before.Findings[i].Outcome
	}
	return m
}

// place identifies a subject without what names of policies add to it.
func place(f *Finding) string {
	scope := f.Subject.Scope
	if f.Subject.Kind == "hosts" {
		scope = ""
	}
	return f.Control + "\x00" + strings.ToLower(f.Subject.DN) + "\x00" + scope
}

// check assesses the whole without the evidence.
func (m *monotony) check(t *testing.T, what string, x blank) *Assessment {
	t.Helper()
	a := assess(t, m.c, Input{Snapshot: m.whole.without(t, x), Options: m.options})
	after, covered := map[string]Outcome{}, map[string]bool{}
	for i := range a.Findings {
		f := &a.Findings[i]
		if k := place(f); after[k] != Fail {
			after[k] = f.Outcome
		}
		if f.Outcome == Unknown && (f.Subject.Kind == "domain" || f.Subject.Kind == "forest") {
			covered[f.Control] = true
		}
		if f.Outcome == Unknown && len(f.Missing) == 0 {
			t.Errorf("without %s: %s [%s] is unknown and does not say what is missing", what, f.Control, f.Subject.Name)
		}
		if f.Outcome == Fail && m.known[place(f)] != Fail {
			t.Errorf("without %s: %s [%s %s] fails and did not before: %s", what, f.Control, f.Subject.Name, f.Subject.DN, f.Detail)
		}
	}
	for i := range m.before.Findings {
		f := &m.before.Findings[i]
		if after[place(f)] == "" && !covered[f.Control] {
			t.Errorf("without %s: %s of %s [%s] is gone: %s", what, f.Outcome, f.Control, f.Subject.Name, f.Detail)
		}
	}
	return a
}

// some picks about a third of the objects, always the same.
func some(id forest.ID) bool { return uint32(id)*2654435761>>16%3 == 0 }

func always(forest.ID) bool { return true }

// evidenceKinds lists what a scan of a whole forest can lack.
func evidenceKinds(s *forest.Snapshot) map[string]blank {
	out := map[string]blank{
		"descriptors":         {descriptor: always},
		"descriptors of some": {descriptor: some},
		"classes of some":     {class: func(id forest.ID) bool { return some(id) && s.Class(id) != "domainDNS" && inDomain(s, id) }},
		"SYSVOL":              {file: func(*forest.File) bool { return true }},
		"CN=Configuration":    without(s, "CN=Configuration,DC=contoso,DC=test", forest.AreaPartition),
		"CN=Schema":           without(s, "CN=Schema,CN=Configuration,DC=contoso,DC=test", forest.AreaPartition),
	}
	for _, a := range forest.Attrs() {
		if len(s.With(a)) == 0 {
			continue
		}
		out[a.String()+" of all"] = blank{attr: func(_ forest.ID, b forest.Attr) bool { return a == b }}
		out[a.String()+" of some"] = blank{attr: func(id forest.ID, b forest.Attr) bool { return a == b && some(id) }}
		out[a.String()+", which was not asked for"] = blank{notAsked: map[forest.Attr]bool{a: true}}
	}
	for _, name := range []string{"GPT.INI", "GptTmpl.inf", "Registry.pol", "Groups.xml", "audit.csv"} {
		out["every "+name] = blank{file: func(f *forest.File) bool { return strings.HasSuffix(strings.ToLower(f.Path), strings.ToLower(name)) }}
	}
	for id := range s.Children(s.Lookup("DC=contoso,DC=test")) {
		out["what "+s.DN(id)+" contains"] = unlistedContainer(s, s.DN(id))
	}
	return out
}

func inDomain(s *forest.Snapshot, id forest.ID) bool { _, ok := s.DomainOf(id); return ok }

// unlistedContainer hides what a container holds, as a directory does.
func unlistedContainer(s *forest.Snapshot, dn string) blank {
	x := without(s, dn, forest.AreaContainer)
	top, gone := s.Lookup(dn), x.object
	x.object = func(id forest.ID) bool {
		return id != top && gone(id) && (dn != "DC=contoso,DC=test" || inDomain(s, id))
	}
	return x
}

// without hides a partition or container with its root.
func without(s *forest.Snapshot, dn string, area forest.Area) blank {
	top := s.Lookup(dn)
	return blank{
		object: func(id forest.ID) bool { return id >= top && id < s.SubtreeEnd(top) },
		cover:  []forest.Coverage{{Area: area, Subject: s.DN(top), State: "unreadable", Reason: blankWhy}},
	}
}

func TestEvidenceTakenAway(t *testing.T) {
	s := contoso(t)
	m := newMonotony(t, builtinCatalogue(t), s, contosoOptions())
	kinds := evidenceKinds(s)
	names := make([]string, 0, len(kinds))
	for name := range kinds {
		names = append(names, name)
	}
	slices.Sort(names)
	m.check(t, "nothing", blank{})
	for i, name := range names {
		if raceEnabled && i%16 != 0 {
			continue // scripts/test runs them all without the race detector
		}
		t.Run(name, func(t *testing.T) { m.check(t, name, kinds[name]) })
	}
	t.Run("everything", func(t *testing.T) { // options name containers that the scan then does not show
		m := newMonotony(t, m.c, s, Options{})
		m.check(t, "what the domain contains", unlistedContainer(s, "DC=contoso,DC=test"))
	})
}
