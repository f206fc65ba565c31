package configmgr

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxDeclared limits a declared file, in bytes: people write it.
const maxDeclared = 8 << 20

// ReadDeclared reads a declared file: a document in YAML that people keep. What such a
// file may leave out is filled in: the version, the source of assignments, when they
// were seen (at), and one reading per site that lists assignments. It is as strict as
// ReadDocument; errors name file, line and path.
//
// A slot counts as declared for a site if the file says so: under `complete` of a
// reading of class assignments, or by at least one assignment of that slot.
func ReadDeclared(name string, data []byte, c *Catalogue, p Provenance) (*Document, error) {
	if len(data) > maxDeclared {
		return nil, fmt.Errorf("%w: %s: larger than %d bytes", ErrDocument, name, maxDeclared)
	}
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrDocument, yamlFault(name, err))
	}
	src := &source{name, data}
	if len(file.Docs) > 1 {
		return nil, fmt.Errorf("%w: %s: holds more than one document", ErrDocument, name)
	}
	for _, doc := range file.Docs {
		if line := aliasLine(doc.Body); line > 0 {
			return nil, fmt.Errorf("%w: %s:%d: anchors and aliases are not allowed here", ErrDocument, name, line)
		}
	}
	var tree any
	if err := yaml.Unmarshal(data, &tree); err != nil {
		return nil, fmt.Errorf("%w: %s", ErrDocument, yamlFault(name, err))
	}
	m, ok := tree.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%w: %s: should be an object, is %s", ErrDocument, name, kindOf(tree))
	}
	fillDeclared(m, p)
	fillDays(m)
	d, err := documentOf(m)
	if err == nil {
		err = d.Check(c)
	}
	if err != nil {
		return nil, located(src, err)
	}
	d.declare(p)
	d.normalize()
	return d, nil
}

// aliasLine returns the line of the first anchor or alias below a node, 0 if there is
// none. They are refused, since a few lines of them can stand for gigabytes.
func aliasLine(node ast.Node) int {
	if node == nil {
		return 0
	}
	f := &aliasFinder{}
	ast.Walk(f, node)
	return f.line
}

type aliasFinder struct{ line int }

// Visit implements ast.Visitor.
func (f *aliasFinder) Visit(n ast.Node) ast.Visitor {
	if f.line > 0 {
		return nil
	}
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		f.line = n.GetToken().Position.Line
		return nil
	}
	return f
}

// fillDeclared adds what a person need not write.
func fillDeclared(m map[string]any, p Provenance) {
	if _, ok := m["version"]; !ok {
		m["version"] = uint64(DocumentVersion)
	}
	for _, key := range []string{"assignments", "readings"} {
		list, _ := m[key].([]any)
		for _, e := range list {
			one, ok := e.(map[string]any)
			if !ok {
				continue
			}
			if _, ok := one["source"]; !ok {
				one["source"] = string(Declared)
			}
			if _, ok := one["at"]; !ok && key == "readings" {
				one["at"] = p.At.Format("2006-01-02T15:04:05Z07:00")
			}
			if _, ok := one["collector"]; !ok && key == "readings" {
				one["collector"] = p.Collector
			}
		}
	}
}

// fillDays completes days, such as 2026-11-30, to times: people write days.
func fillDays(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			fillDays(e)
		}
	case map[string]any:
		for key, e := range v {
			s, ok := e.(string)
			switch {
			case !ok || !slices.Contains(timeFields(), key) || !dayForm.MatchString(s):
			case key == "expires": // it holds on that day
				v[key] = s + "T23:59:59Z"
			default:
				v[key] = s + "T00:00:00Z"
			}
			fillDays(e)
		}
	}
}

func timeFields() []string {
	return []string{"at", "firstSeen", "lastSeen", "removed", "made", "expires", "modified", "exposedAt"}
}

var dayForm = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}$`)

// declare completes a document that was read from a declared file: one reading for each
// slot and site that it names.
func (d *Document) declare(p Provenance) {
	for i := range d.Assignments {
		a := &d.Assignments[i]
		if a.LastSeen.IsZero() {
			a.LastSeen = p.At
		}
		if a.FirstSeen.IsZero() {
			a.FirstSeen = a.LastSeen
		}
		if _, ok := d.Read(ClassAssignments, a.Site, a.Entry); !ok {
			d.Readings = append(d.Readings, Reading{
				Source: Declared, Collector: p.Collector, Class: ClassAssignments, Scope: a.Site, Part: a.Entry, At: p.At, File: p.File,
			})
		}
	}
	for i := range d.Readings {
		if d.Readings[i].File == "" {
			d.Readings[i].File = p.File
		}
	}
	if len(d.Sites) > 0 {
		if _, ok := d.Read(ClassSites, "", ""); !ok {
			d.Readings = append(d.Readings, Reading{Source: Declared, Collector: p.Collector, Class: ClassSites, At: p.At, File: p.File})
		}
	}
}

// located adds the line of a YAML file to an error that names a path.
func located(src *source, err error) error {
	text := strings.TrimPrefix(err.Error(), ErrDocument.Error()+": ")
	path, rest, ok := strings.Cut(text, ": ")
	if !ok || !strings.HasPrefix(path, "$") {
		return fmt.Errorf("%w: %s: %s", ErrDocument, src.name, text)
	}
	line := src.line(path)
	for at := path; line == 0 && strings.ContainsAny(at, ".["); {
		at = at[:strings.LastIndexAny(at, ".[")]
		line = src.line(at)
	}
	return fmt.Errorf("%w: %s:%d: %s: %s", ErrDocument, src.name, max(line, 1), path, rest)
}
