package control

import (
	"fmt"
	"slices"
	"strings"
)

// Pages returns the documentation of the catalogue in Markdown, by file name: one
// page for each section, and an index.
func (c *Catalogue) Pages() map[string]string {
	bySection := map[string][]*Entry{}
	var sections []string
	for _, e := range c.entries {
		if bySection[e.Section] == nil {
			sections = append(sections, e.Section)
		}
		bySection[e.Section] = append(bySection[e.Section], e)
	}
	slices.Sort(sections)
	pages := map[string]string{}
	var index strings.Builder
	fmt.Fprintf(&index, "# Controls\n\nMade from the catalogue in `internal/control/catalogue`; do not edit. %d controls.\n", len(c.entries))
	for _, s := range sections {
		name := pageName(s)
		pages[name] = sectionPage(s, bySection[s])
		fmt.Fprintf(&index, "\n## [%s](%s)\n\n| control | severity | title |\n|---|---|---|\n", s, name)
		for _, e := range bySection[s] {
			fmt.Fprintf(&index, "| [%s](%s#%s) | %s | %s |\n", e.ID, name, strings.ToLower(e.ID), e.Severity, e.Title)
		}
	}
	index.WriteString("\nWhat conditions are made of: [language.md](language.md).\n")
	pages["README.md"] = index.String()
	pages["language.md"] = languagePage()
	return pages
}

func pageName(section string) string {
	return strings.NewReplacer(" ", "-", ".", "").Replace(strings.ToLower(section)) + ".md"
}

func sectionPage(section string, entries []*Entry) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Controls: %s\n\nMade from the catalogue; do not edit.\n", section)
	for _, e := range entries {
		fmt.Fprintf(&b, "\n## %s\n\n**%s**\n\n%s\n\n", e.ID, e.Title, e.Rationale)
		fmt.Fprintf(&b, "- Severity: %s. %s\n- Subjects: %s\n", e.Severity, e.Reason, selectorText(e.Select))
		if e.Principals != "" {
			fmt.Fprintf(&b, "- For each of: %s\n", e.Principals)
		}
		fmt.Fprintf(&b, "- To fix: %s\n- To verify: %s\n", e.Fix, e.Verify)
		for _, k := range sortedKeys(e.Missing) {
			fmt.Fprintf(&b, "- Unknown without: %s\n", e.Missing[k])
		}
		b.WriteString("\n```cel\n")
		if e.When != "" {
			fmt.Fprintf(&b, "when: %s\n", strings.TrimSpace(e.When))
		}
		fmt.Fprintf(&b, "pass: %s\n", strings.TrimSpace(e.Pass))
		if e.Lesser != "" {
			fmt.Fprintf(&b, "lesser: %s\n", strings.TrimSpace(e.Lesser))
		}
		b.WriteString("```\n")
	}
	return b.String()
}

func selectorText(name string) string {
	if s, ok := selectors[name]; ok {
		return s.doc
	}
	return name + " of each domain"
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// evidenceOf says what the functions of a type need, for the reference.
var evidenceOf = map[string]string{
	"object": "the attribute, membership or descriptor asked for, and the descriptor's SACL for audits",
	"ace":    "nothing beyond the descriptor; trusteeKnown needs the trustee's domain",
	"hosts":  "the policies that apply, their files, and the memberships that filter them",
	"right":  "the same", "principal": "the same", "localgroup": "the same",
	"link":   "gPLink",
	"forest": "the object asked for",
}

// languagePage lists the subjects and functions of the expression language.
func languagePage() string {
	var b strings.Builder
	b.WriteString("# The language of controls\n\nMade from the program; do not edit. docs/FORMATS.md describes catalogue files.\n\n" +
		"## Subjects of select\n\n| name | objects |\n|---|---|\n")
	names := make([]string, 0, len(selectors))
	for name := range selectors {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "| `%s` | %s |\n", name, selectors[name].doc)
	}
	b.WriteString("\n## Functions by the type of their receiver\n\n| function | yields | meaning |\n|---|---|---|\n")
	last := ""
	for _, m := range methods() {
		recv := m.recv.TypeName()
		if recv != last {
			fmt.Fprintf(&b, "| **%s** | | needs: %s |\n", recv, evidenceOf[recv])
			last = recv
		}
		args := make([]string, len(m.args))
		for i, a := range m.args {
			args[i] = a.String()
		}
		fmt.Fprintf(&b, "| `%s(%s)` | %s | %s |\n", m.name, strings.Join(args, ", "), m.out, m.doc)
	}
	return b.String()
}
