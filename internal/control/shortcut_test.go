package control

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"cel.dev/cel-go/cel"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/forest/forestgen"
)

// withoutShortcuts returns a catalogue that asks the interpreter everything, and
// how many of its expressions had a shortcut.
func withoutShortcuts(c *Catalogue) (plain *Catalogue, had, all int) {
	strip := func(x *expression) *expression {
		if x == nil {
			return nil
		}
		all++
		if x.shortcut != nil {
			had++
		}
		return &expression{program: x.program}
	}
	plain = &Catalogue{}
	for _, e := range c.entries {
		one := *e
		one.when, one.pass, one.lesser = strip(e.when), strip(e.pass), strip(e.lesser)
		plain.entries = append(plain.entries, &one)
	}
	return plain, had, all
}

// TestShortcutsAgree compares whole assessments, evidence included, with those of
// the interpreter alone.
func TestShortcutsAgree(t *testing.T) {
	c := builtinCatalogue(t)
	plain, had, all := withoutShortcuts(c)
	if had*10 < all*9 {
		t.Errorf("%d of %d expressions have a shortcut, want nine of ten", had, all)
	}
	f, err := os.Open("../../examples/contoso.lws")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	contoso, err := forest.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string]Input{
		"sound":     {Snapshot: changed(t, ""), Options: testOptions()},
		"contoso":   {Snapshot: contoso},
		"synthetic": {Snapshot: forestgen.Generate(3, 3_000)},
	} {
		want, err := json.MarshalIndent(assess(t, plain, in), "", " ")
		if err != nil {
			t.Fatal(err)
		}
		got, err := json.MarshalIndent(assess(t, c, in), "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if string(got) == string(want) {
			continue
		}
		g, w := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
		for i := range min(len(g), len(w)) {
			if g[i] != w[i] {
				t.Errorf("%s: line %d is %q, the interpreter says %q", name, i, g[i], w[i])
				break
			}
		}
	}
}

// TestShortcutExpressions asks both for expressions that the catalogue lacks.
func TestShortcutExpressions(t *testing.T) {
	s := changed(t, "")
	w := newWorld(Input{Snapshot: s, Now: testNow})
	for pass, takes := range map[string]bool{ // takes: the shortcut answers by itself
		`subject.rid() > 0 && subject.rid() + 1 > subject.rid()`:                                      true,
		`subject.rid() - 1 == subject.rid()`:                                                          true,
		`subject.name() == "ordinary" || false`:                                                       true,
		`subject.name() < "a" ? true : subject.isUser() != subject.isGroup()`:                         true,
		`[1, 2, 3].all(x, [1, 2].exists(y, y == x))`:                                                  true,
		`[1, 2, 3].exists_one(x, x > 2)`:                                                              true,
		`[1, 2, 3].every(x, x != 2 && subject.enabled())`:                                             true,
		`[1, 2].every(x, [x, 3].every(y, y > 1))`:                                                     false, // a list of variables
		`subject.domain().principal("domain-admins").members().every(m, m.flag("NOT_DELEGATED"))`:     true,
		`subject.domain().principal("domain-admins").direct().exists(m, m.memberOf("schema-admins"))`: true,
		`options.staleDays + 9223372036854775807 > 0 || true`:                                         false, // overflows
		`options.staleDays == 90.0`:                                                                   false,
		`options.maxPrivileged in [5, 6]`:                                                             false,
		`subject.name().startsWith("ord")`:                                                            false,
		`forest.evidence("a") && subject.isGroup()`:                                                   false,
		`subject.isUser() && forest.evidence("a")`:                                                    false,
		`subject.isUser() || forest.evidence("a")`:                                                    true,
		`[subject.name()].every(x, x == "")`:                                                          false,
		`forest.managementAccounts().size() == 0`:                                                     false,
	} {
		c, err := compile([]Source{own(pass)})
		if err != nil {
			t.Fatal(err)
		}
		x := c.Entry("X-01-test").pass
		evaluate := func(x *expression) string {
			ev := &evaluation{w: w}
			ev.reset(ev.object(s.BySAMAccountName("ordinary")[0]), nil)
			out, lacks, err := ev.run(x)
			said, _ := json.Marshal(ev.evidence())
			return strings.Join([]string{string(out), (&Entry{}).text(lacks), string(said)}, " ") + " " + errorText(err)
		}
		if got, want := evaluate(x), evaluate(&expression{program: x.program}); got != want {
			t.Errorf("%s: %s\nthe interpreter says %s", pass, got, want)
		}
		ev := &evaluation{w: w}
		ev.reset(ev.object(s.BySAMAccountName("ordinary")[0]), nil)
		took := false
		if x.shortcut != nil {
			_, took = x.shortcut.try(ev)
		}
		if took != takes {
			t.Errorf("%s: shortcut answers: %v, want %v", pass, took, takes)
		}
		if !took && len(ev.facts)+len(ev.missing)+len(ev.scopes)+len(ev.offenders)+len(ev.args) > 0 {
			t.Errorf("%s: a shortcut that did not answer left %+v", pass, ev)
		}
	}
}

func (e *Entry) text(lacks []missing) string { return strings.Join(e.missingTexts(lacks), "; ") }

func errorText(err error) string {
	if err != nil {
		return err.Error()
	}
	return ""
}

// TestOverloadsAreDistinct holds because shortcuts find functions by overload.
func TestOverloadsAreDistinct(t *testing.T) {
	var names []string
	for _, m := range methods() {
		names = append(names, m.overload())
	}
	slices.Sort(names)
	if n := len(slices.Compact(slices.Clone(names))); n != len(names) {
		t.Errorf("%d functions have %d names", len(names), n)
	}
	if _, err := cel.NewEnv(methods()[0].option()); err != nil {
		t.Error(err)
	}
}
