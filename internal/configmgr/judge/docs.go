package judge

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"

	"github.com/leastwise/leastwise/internal/configmgr"
)

// LanguagePage returns the documentation of what conditions are made of, in Markdown:
// variables, records with their fields, functions with the evidence that they need, and
// the settings of sites.
func LanguagePage(c *configmgr.Catalogue) string {
	var b strings.Builder
	b.WriteString("# The language of the conditions on Configuration Manager\n\nMade from the program; do not edit.\n\n" +
		"Conditions are CEL. What cannot be answered is unknown, and the logic of CEL carries it: `false && unknown` is false, `true && unknown` is unknown. " +
		"A list may have a gap, elements that are not known. `size`, `in` and `==` know nothing of gaps, so that conditions may not ask lists for them: " +
		"`empty`, `at_most`, `exactly`, `in_set`, `subset`, `set_equal` and `none` answer as far as what is known allows. " +
		"`list.every(x, condition)` is true if the condition holds for each element; it looks at all of them and names those that fail.\n\n" +
		"## Variables\n\n| name | type | meaning |\n|---|---|---|\n")
	for _, v := range variables() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", v.name, typeText(v.typ), v.doc)
	}
	b.WriteString("\n## Records\n")
	records := recordTypes()
	for _, name := range sortedKeys(records) {
		r := records[name]
		fmt.Fprintf(&b, "\n### %s\n\nIt is %s.\n", typeText(r.typ), r.doc)
		if len(r.fields) == 0 {
			continue
		}
		b.WriteString("\n| field | type | meaning |\n|---|---|---|\n")
		for _, f := range r.fields {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.name, typeText(f.typ), f.doc)
		}
	}
	b.WriteString("\n## Functions\n\n| function | yields | meaning | needs |\n|---|---|---|---|\n")
	list := functions()
	slices.SortStableFunc(list, func(x, y *function) int { return strings.Compare(x.name, y.name) })
	for _, f := range list {
		args := make([]string, len(f.args))
		for i, a := range f.args {
			args[i] = typeText(a)
		}
		fmt.Fprintf(&b, "| `%s(%s)` | %s | %s | %s |\n", f.name, strings.Join(args, ", "), typeText(f.out), f.doc, f.needs)
	}
	b.WriteString("\n## Settings of sites\n\n| name | meaning |\n|---|---|\n")
	for _, name := range sortedKeys(c.Settings) {
		fmt.Fprintf(&b, "| `%s` | %s |\n", name, c.Settings[name])
	}
	return b.String()
}

// typeText is the name of a type as authors know it.
func typeText(t *cel.Type) string {
	return strings.NewReplacer("cm.", "", "google.protobuf.Timestamp", "time", "timestamp", "time", "list(A)", "list").Replace(t.String())
}
