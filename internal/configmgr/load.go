package configmgr

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// ErrCatalogue reports a catalogue that cannot be used; the text says which file and
// line, and what is wrong there.
var ErrCatalogue = errors.New("catalogue of Configuration Manager is not valid")

// maxFileBytes limits a catalogue file.
const maxFileBytes = 1 << 20

//go:embed catalogue/*.yaml catalogue/entries/*.yaml
var builtin embed.FS

// commonFile is the form of common.yaml.
type commonFile struct {
	Collectors map[string]Collector `yaml:"collectors"`
	Parameters Parameters           `yaml:"parameters"`
	Settings   map[string]string    `yaml:"settings"`
	Techniques map[string]Technique `yaml:"techniques"`
}

// crossFile is the form of cross.yaml.
type crossFile struct {
	Controls []*Control `yaml:"controls"`
}

// linesFile is the form of lines.yaml.
type linesFile struct {
	Headings []int  `yaml:"headings"`
	Lines    []Line `yaml:"lines"`
}

// Load reads the built-in catalogue. It is strict: a key, a name or a reference that is
// not understood is an error, as is a file over 1 MiB. Each call reads anew.
func Load() (*Catalogue, error) {
	sub, err := fs.Sub(builtin, "catalogue")
	if err != nil {
		return nil, fmt.Errorf("opening the built-in catalogue: %w", err)
	}
	return load(sub)
}

// load reads a catalogue from common.yaml, cross.yaml, lines.yaml and entries/*.yaml.
func load(fsys fs.FS) (*Catalogue, error) {
	var (
		common commonFile
		cross  crossFile
		lines  linesFile
	)
	commonSource, err := decodeFile(fsys, "common.yaml", &common)
	if err != nil {
		return nil, err
	}
	if err := common.check(commonSource); err != nil {
		return nil, err
	}
	crossSource, err := decodeFile(fsys, "cross.yaml", &cross)
	if err != nil {
		return nil, err
	}
	linesSource, err := decodeFile(fsys, "lines.yaml", &lines)
	if err != nil {
		return nil, err
	}
	c := &Catalogue{
		Cross:      cross.Controls,
		Collectors: common.Collectors,
		Parameters: common.Parameters,
		Settings:   common.Settings,
		Techniques: common.Techniques,
		Lines:      lines.Lines,
		Headings:   lines.Headings,
		entries:    map[string]*Entry{},
		controls:   map[string]*Control{},
	}
	sources, err := c.readEntries(fsys)
	if err != nil {
		return nil, err
	}
	k := &checker{cat: c}
	for _, e := range c.Entries {
		if err := k.register(sources[e], e.Controls, e); err != nil {
			return nil, err
		}
	}
	if err := k.register(crossSource, c.Cross, nil); err != nil {
		return nil, err
	}
	for _, e := range c.Entries {
		if err := k.entry(sources[e], e); err != nil {
			return nil, err
		}
	}
	if err := k.controls(crossSource, c.Cross); err != nil {
		return nil, err
	}
	return c, k.lines(linesSource)
}

// readEntries reads the files of entries, and says where each came from.
func (c *Catalogue) readEntries(fsys fs.FS) (map[*Entry]*source, error) {
	files, err := fs.Glob(fsys, "entries/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("listing the catalogue: %w", err)
	}
	sources := map[*Entry]*source{}
	for _, f := range files {
		e := &Entry{}
		src, err := decodeFile(fsys, f, e)
		if err != nil {
			return nil, err
		}
		if want := strings.TrimSuffix(path.Base(f), ".yaml"); e.ID != want {
			return nil, src.errorf("$.id", "id is %q, but the file is named for %q", e.ID, want)
		}
		sources[e] = src
		c.Entries = append(c.Entries, e)
		c.entries[e.ID] = e
	}
	slices.SortStableFunc(c.Entries, byReference)
	return sources, nil
}

// byReference orders entries as the reference does; those that it lacks come last, by ID.
func byReference(a, b *Entry) int {
	switch {
	case a.InReference() && b.InReference():
		return a.Span[0] - b.Span[0]
	case a.InReference():
		return -1
	case b.InReference():
		return 1
	}
	return strings.Compare(a.ID, b.ID)
}

// A source is a file, kept to say where something stands.
type source struct {
	name string
	data []byte
}

// decodeFile reads one YAML document strictly.
func decodeFile(fsys fs.FS, name string, into any) (*source, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCatalogue, err)
	}
	defer f.Close() //nolint:errcheck // read only
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if len(data) > maxFileBytes {
		return nil, fmt.Errorf("%w: %s: larger than %d bytes", ErrCatalogue, name, maxFileBytes)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict())
	if err := dec.Decode(into); err != nil {
		return nil, fmt.Errorf("%w: %s", ErrCatalogue, yamlFault(name, err))
	}
	if err := dec.Decode(&struct{}{}); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: %s: holds more than one document", ErrCatalogue, name)
	}
	return &source{name, data}, nil
}

// yamlFault says on which line a file is wrong, in one line.
func yamlFault(name string, err error) string {
	var e yaml.Error
	if errors.As(err, &e) && e.GetToken() != nil {
		return fmt.Sprintf("%s:%d: %s", name, e.GetToken().Position.Line, e.GetMessage())
	}
	return fmt.Sprintf("%s: %s", name, strings.ReplaceAll(err.Error(), "\n", " "))
}

// line finds the line of a YAML path such as $.controls[3].id; 0 if the file has none.
func (s *source) line(at string) int {
	p, err := yaml.PathString(at)
	if err != nil {
		return 0
	}
	file, err := parser.ParseBytes(s.data, 0)
	if err != nil {
		return 0
	}
	node, err := p.FilterFile(file)
	if err != nil {
		return 0
	}
	if m, ok := node.(*ast.MappingNode); ok && len(m.Values) > 0 {
		return m.Values[0].Key.GetToken().Position.Line
	}
	return node.GetToken().Position.Line
}

// errorf makes an error that says where it stands. If the path has no node, the nearest
// one above it is named.
func (s *source) errorf(at, format string, args ...any) error {
	line := s.line(at)
	for line == 0 && strings.ContainsAny(at, ".[") {
		at = at[:strings.LastIndexAny(at, ".[")]
		line = s.line(at)
	}
	return fmt.Errorf("%w: %s:%d: %s", ErrCatalogue, s.name, max(line, 1), fmt.Sprintf(format, args...))
}
