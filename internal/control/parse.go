package control

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxExpansion is how many entries one "for" of a catalogue file may make.
const maxExpansion = 200

// A sourceFile is the form of a catalogue file.
type sourceFile struct {
	Section  string  `yaml:"section"` // default for controls
	Controls []Entry `yaml:"controls"`
}

// parseSource decodes a file strictly and fills in the placeholders of "for".
func parseSource(src Source) ([]*Entry, error) {
	if err := CheckYAML(src.Name, src.Data); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCatalogue, err)
	}
	var f sourceFile
	dec := yaml.NewDecoder(bytes.NewReader(src.Data), yaml.Strict())
	if err := dec.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: %s", ErrCatalogue, yamlFault(src.Name, err))
	}
	if err := dec.Decode(&sourceFile{}); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: %s: holds more than one document", ErrCatalogue, src.Name)
	}
	lines := entryLines(src.Data)
	var out []*Entry
	for i := range f.Controls {
		e := &f.Controls[i]
		e.source = src.Name
		if i < len(lines) {
			e.line = lines[i]
		}
		if e.Section == "" {
			e.Section = f.Section
		}
		expanded, err := e.expand()
		if err != nil {
			return nil, err
		}
		out = append(out, expanded...)
	}
	return out, nil
}

// yamlFault says on which line a file is wrong, in one line.
func yamlFault(name string, err error) string {
	var e yaml.Error
	if errors.As(err, &e) && e.GetToken() != nil {
		return fmt.Sprintf("%s:%d: %s", name, e.GetToken().Position.Line, e.GetMessage())
	}
	return fmt.Sprintf("%s: %s", name, strings.ReplaceAll(err.Error(), "\n", " "))
}

// entryLines returns the line on which each element of controls begins.
func entryLines(data []byte) []int {
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil
	}
	p, err := yaml.PathString("$.controls")
	if err != nil {
		return nil
	}
	node, err := p.FilterFile(file)
	if err != nil {
		return nil
	}
	seq, ok := node.(*ast.SequenceNode)
	if !ok {
		return nil
	}
	lines := make([]int, 0, len(seq.Values))
	for _, v := range seq.Values {
		tok := v.GetToken()
		if m, ok := v.(*ast.MappingNode); ok && len(m.Values) > 0 {
			tok = m.Values[0].Key.GetToken()
		}
		lines = append(lines, tok.Position.Line)
	}
	return lines
}

// expand returns one entry for each element of For, or the entry itself.
func (e *Entry) expand() ([]*Entry, error) {
	if len(e.For) == 0 {
		return []*Entry{e}, e.noPlaceholder()
	}
	if len(e.For) > maxExpansion {
		return nil, e.errorf("for has more than %d elements", maxExpansion)
	}
	out := make([]*Entry, 0, len(e.For))
	for _, vars := range e.For {
		pairs := make([]string, 0, 2*len(vars))
		for _, k := range slices.Sorted(maps.Keys(vars)) {
			pairs = append(pairs, "${"+k+"}", fmt.Sprint(vars[k]))
		}
		c := e.replaced(strings.NewReplacer(pairs...))
		if err := c.noPlaceholder(); err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// strings lists pointers to the texts in which placeholders are filled in.
func (e *Entry) strings() []*string {
	return []*string{
		&e.ID, &e.Title, &e.Section, (*string)(&e.Severity), &e.Reason, &e.Rationale,
		&e.Select, &e.When, &e.Pass, &e.Lesser, &e.Principals, &e.Right, &e.Detail, &e.Fix, &e.ChangeEach, &e.Verify,
	}
}

func (e *Entry) replaced(r *strings.Replacer) *Entry {
	c := *e
	c.For = nil
	for _, p := range c.strings() {
		*p = r.Replace(*p)
	}
	c.Changes = slices.Clone(e.Changes)
	for i := range c.Changes {
		c.Changes[i] = r.Replace(c.Changes[i])
	}
	return &c
}

func (e *Entry) noPlaceholder() error {
	for _, p := range e.strings() {
		if _, rest, found := strings.Cut(*p, "${"); found {
			name, _, _ := strings.Cut(rest, "}")
			return e.errorf("placeholder %q has no value in for", name)
		}
	}
	return nil
}
