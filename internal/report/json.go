package report

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/leastwise/leastwise/internal/control"
	"github.com/leastwise/leastwise/internal/forest"
)

// JSON writes the assessment as indented JSON that follows the published schema
// (package docs/schema). Lists that are empty are written as [], never as null.
func JSON(w io.Writer, a *control.Assessment) error {
	if err := writeJSON(w, complete(a)); err != nil {
		return fmt.Errorf("writing assessment as JSON: %w", err)
	}
	return nil
}

// writeJSON writes v indented and with <, > and & as they are: the output is
// read by people and programs, not by HTML parsers.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// complete returns a copy of a in which no list or map is nil.
func complete(a *control.Assessment) *control.Assessment {
	c := *a
	c.Run.Domains = list(c.Run.Domains)
	c.Run.Coverage = append([]forest.Coverage{}, c.Run.Coverage...)
	if c.Summary.BySeverity == nil {
		c.Summary.BySeverity = map[control.Severity]int{}
	}
	if c.Summary.BySection == nil {
		c.Summary.BySection = map[string]control.Tally{}
	}
	c.Population = append([]control.Population{}, c.Population...)
	for i := range c.Population {
		p := &c.Population[i]
		p.Members = append([]control.Member{}, p.Members...)
		for j := range p.Members {
			p.Members[j].Chain = list(p.Members[j].Chain)
		}
	}
	c.Matrix = append([]control.MatrixRow{}, c.Matrix...)
	for i := range c.Matrix {
		if c.Matrix[i].Cells == nil {
			c.Matrix[i].Cells = map[string]control.Outcome{}
		}
	}
	c.Controls = list(c.Controls)
	c.Findings = append([]control.Finding{}, c.Findings...)
	for i := range c.Findings {
		f := &c.Findings[i]
		f.Evidence, f.Missing, f.Fix.Changes = list(f.Evidence), list(f.Missing), list(f.Fix.Changes)
	}
	c.Exceptions = list(c.Exceptions)
	return &c
}

// list returns l, or an empty list for nil.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}
