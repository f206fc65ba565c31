package configmgr

import (
	"fmt"
	"strings"
)

// Pages are the documentation of the catalogue, in Markdown, by name of file.
func (c *Catalogue) Pages() map[string]string {
	return map[string]string{
		"README.md":   c.indexPage(),
		"groups.md":   c.entriesPage("Groups", func(e *Entry) bool { return e.Kind == WindowsGroup }),
		"accounts.md": c.entriesPage("Accounts", func(e *Entry) bool { return e.Kind != WindowsGroup && e.InReference() }),
		"added.md":    c.entriesPage("Accounts of the current branch", func(e *Entry) bool { return !e.InReference() }),
		"controls.md": c.crossPage(),
		"lines.md":    c.linesPage(),
	}
}

const generated = "Made from the catalogue; do not edit.\n"

func (c *Catalogue) indexPage() string {
	b := &strings.Builder{}
	groups, accounts, added, own := 0, 0, 0, 0
	for _, e := range c.Entries {
		own += len(e.Controls)
		switch {
		case !e.InReference():
			added++
		case e.Kind == WindowsGroup:
			groups++
		default:
			accounts++
		}
	}
	fmt.Fprintf(b, "# Slots of Configuration Manager\n\n%s\n", generated)
	fmt.Fprintf(b, "%d groups and %d accounts of the reference of 2015, and %d accounts that the current branch added. %d controls belong to one slot, %d concern many: %d in all.\n\n",
		groups, accounts, added, own, len(c.Cross), len(c.Controls()))
	b.WriteString("- [Groups](groups.md)\n- [Accounts](accounts.md)\n- [Accounts of the current branch](added.md)\n- [Controls that concern many slots](controls.md)\n- [The reference, line by line](lines.md)\n- [Corrections](corrections.md)\n\n")
	b.WriteString("| slot | kind | lines | current branch | controls |\n|---|---|---|---|---|\n")
	for _, e := range c.Entries {
		page := "accounts.md"
		switch {
		case !e.InReference():
			page = "added.md"
		case e.Kind == WindowsGroup:
			page = "groups.md"
		}
		lines := ""
		if e.InReference() {
			lines = fmt.Sprintf("%d–%d", e.Span[0], e.Span[1])
		}
		fmt.Fprintf(b, "| [%s](%s#%s) | %s | %s | %s | %d |\n", e.ID, page, e.ID, e.Kind, lines, e.Current, len(e.Controls))
	}
	b.WriteString("\n## Evidence\n\n| collector | tier | needs |\n|---|---|---|\n")
	for _, name := range sortedKeys(c.Collectors) {
		fmt.Fprintf(b, "| %s | %s | %s |\n", name, c.Collectors[name].Tier, cell(c.Collectors[name].Needs))
	}
	b.WriteString("\nTiers: T0 a user of the domain, T1 an administrative user of the site, T2 an administrator of hosts, T3 other systems, M a statement of a person.\n")
	b.WriteString("\n## Techniques\n\n| name | kind | what |\n|---|---|---|\n")
	for _, id := range sortedKeys(c.Techniques) {
		fmt.Fprintf(b, "| %s | %s | %s |\n", id, c.Techniques[id].Kind, cell(c.Techniques[id].Summary))
	}
	return b.String()
}

// cell escapes a text for a table.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "<", `\<`, "\n", " ").Replace(s)
}

// prose escapes a text for a paragraph.
func prose(s string) string { return strings.ReplaceAll(s, "<", `\<`) }

func (c *Catalogue) entriesPage(title string, keep func(*Entry) bool) string {
	b := &strings.Builder{}
	fmt.Fprintf(b, "# %s\n\n%s", title, generated)
	for _, e := range c.Entries {
		if keep(e) {
			writeEntry(b, e)
		}
	}
	return b.String()
}

// from says where a fact comes from, in brackets.
func (o Origin) from() string {
	parts := make([]string, 0, len(o.Kinds)+1)
	for _, k := range o.Kinds {
		if k != FromReference || len(o.Kinds) > 1 {
			parts = append(parts, string(k))
		}
	}
	if len(o.Lines) > 0 {
		word := "lines "
		if len(o.Lines) == 1 {
			word = "line "
		}
		parts = append(parts, word+strings.Trim(strings.Join(strings.Fields(fmt.Sprint(o.Lines)), ", "), "[]"))
	}
	parts = append(parts, o.Refs...)
	return "(" + strings.Join(parts, "; ") + ")"
}

func writeEntry(b *strings.Builder, e *Entry) {
	fmt.Fprintf(b, "\n## %s\n\n**%s**\n\n%s %s\n\n", e.ID, prose(e.Name), prose(e.Purpose.Text), e.Purpose.from())
	item := func(format string, args ...any) {
		b.WriteString("- " + strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ") + "\n")
	}
	item("Kind: %s. Releases: %s. Current branch: %s. %s", e.Kind, strings.Join(e.Releases, ", "), e.Current, prose(e.CurrentNote))
	if e.Kind == WindowsGroup {
		item("Where: %s %s", prose(e.Location.Text), e.Location.from())
		item("Members: %s Kept by: %s. %s", prose(e.Lifecycle.Members.Text), e.Lifecycle.ManagedBy, e.Lifecycle.Members.from())
	}
	if e.Default.Identity != "" {
		item("If nobody is configured: %s. %s %s", prose(e.Default.Identity), prose(e.Default.Note), e.Default.from())
	}
	for _, f := range e.Explicit {
		item("An account is needed: %s %s", prose(f.Text), f.from())
	}
	for _, f := range e.Optional {
		item("An account is possible: %s %s", prose(f.Text), f.from())
	}
	writeTypes(b, e)
	if e.Multiplicity.Per != "" {
		limit := "no limit known"
		if e.Multiplicity.Max > 0 {
			limit = fmt.Sprintf("at most %d", e.Multiplicity.Max)
		}
		item("How many: %s per %s; %s. %s %s", limit, e.Multiplicity.Per, prose(e.Multiplicity.Selection), prose(e.Multiplicity.Note), e.Multiplicity.from())
	}
	for _, r := range e.Required {
		item("Needs: %s on %s (%s). %s", strings.Join(r.Permissions, ", "), prose(r.Where), r.Target, strings.TrimSpace(prose(whenText(r.When)+r.Note)+" "+r.from()))
	}
	for _, f := range e.Forbidden {
		item("Must not: %s – %s %s", f.Right, prose(f.Text), f.from())
	}
	for _, s := range e.Separation {
		item("Stands to %s: %s. %s %s", s.Other, s.Rule, prose(s.Text), s.from())
	}
	for _, s := range e.Secrets {
		item("Its secret rests in: %s (%s) %s", prose(s.Where), s.Confidence, s.from())
	}
	for _, f := range e.Cleanup {
		item("Clean up: %s %s", prose(f.Text), f.from())
	}
	for _, u := range e.Uncertain {
		item("Uncertain: %s", prose(u))
	}
	writeRotation(b, e.Rotation)
	if len(e.CrossControls) > 0 {
		fmt.Fprintf(b, "\nAlso: %s.\n", strings.Join(e.CrossControls, ", "))
	}
	for _, ctl := range e.Controls {
		writeControl(b, "###", ctl)
	}
}

func whenText(when string) string {
	if when == "" {
		return ""
	}
	return "If " + when + ". "
}

func writeTypes(b *strings.Builder, e *Entry) {
	for _, l := range []struct {
		head  string
		types []AccountType
	}{{"Takes", e.Allowed}, {"Does not take", e.Disallowed}} {
		for _, t := range l.types {
			fmt.Fprintf(b, "- %s: %s. %s %s\n", l.head, t.Type, prose(t.Note), t.from())
		}
	}
}

func writeRotation(b *strings.Builder, r Rotation) {
	if r.Strategy == RotateNothing {
		return
	}
	fmt.Fprintf(b, "\nRotation: %s %s\n\n", r.Strategy, r.from())
	for i, s := range r.Steps {
		fmt.Fprintf(b, "%d. %s", i+1, prose(s.Do))
		if s.Each != "" {
			fmt.Fprintf(b, " (each %s)", s.Each)
		}
		b.WriteString("\n")
		if s.Gate != "" {
			fmt.Fprintf(b, "   - Go on when: %s Seen in: %s\n", prose(s.Gate), prose(s.See))
		}
	}
	if r.Never != "" {
		fmt.Fprintf(b, "\nNever: %s\n", prose(r.Never))
	}
	if r.Caution != "" {
		fmt.Fprintf(b, "\nCaution: %s\n", prose(r.Caution))
	}
}

func writeControl(b *strings.Builder, level string, ctl *Control) {
	fmt.Fprintf(b, "\n%s %s\n\n**%s**\n\n", level, ctl.ID, prose(ctl.Title))
	fmt.Fprintf(b, "- Severity: %s. Asked about each: %s. %s\n", ctl.Severity, ctl.Scope, ctl.from())
	if ctl.Concerns != "" {
		fmt.Fprintf(b, "- Concerns: %s\n", prose(ctl.Concerns))
	}
	for _, n := range ctl.Evidence {
		fmt.Fprintf(b, "- Evidence (%s): %s\n", n.Collector, prose(n.Query))
	}
	fmt.Fprintf(b, "- To fix: %s\n", prose(ctl.Remediation))
	if ctl.Note != "" {
		fmt.Fprintf(b, "- Note: %s\n", prose(ctl.Note))
	}
	b.WriteString("\n```cel\n")
	if ctl.When != "" {
		fmt.Fprintf(b, "when: %s\n", strings.TrimSpace(ctl.When))
	}
	fmt.Fprintf(b, "pass: %s\n```\n", strings.TrimSpace(ctl.Condition))
}

func (c *Catalogue) crossPage() string {
	b := &strings.Builder{}
	fmt.Fprintf(b, "# Controls that concern many slots\n\n%s", generated)
	for _, ctl := range c.Cross {
		writeControl(b, "##", ctl)
		var ids []string
		for _, e := range c.Concerned(ctl) {
			ids = append(ids, e.ID)
		}
		if len(ids) > 0 {
			fmt.Fprintf(b, "\nSlots: %s.\n", strings.Join(ids, ", "))
		}
	}
	return b.String()
}

func (c *Catalogue) linesPage() string {
	b := &strings.Builder{}
	fmt.Fprintf(b, "# The reference, line by line\n\n%s\n", generated)
	fmt.Fprintf(b, "%d lines of the reference say something, %d only head or introduce others. What is said stands here in our words.\n\n", len(c.Lines), len(c.Headings))
	b.WriteString("| line | says | controls | or why none |\n|---|---|---|---|\n")
	for _, l := range c.Lines {
		fmt.Fprintf(b, "| %d | %s | %s | %s |\n", l.Line, cell(l.Says), strings.Join(l.Controls, ", "), cell(l.Why))
	}
	return b.String()
}
