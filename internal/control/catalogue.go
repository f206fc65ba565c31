package control

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
)

// ErrCatalogue reports a catalogue that cannot be used; the text says which file,
// line and control.
var ErrCatalogue = errors.New("catalogue is not valid")

//go:embed catalogue/*.yaml
var builtin embed.FS

// A Source is one catalogue file.
type Source struct {
	Name string // shown in errors
	Data []byte // YAML
}

// A Catalogue is a set of compiled controls. It is immutable and safe for
// concurrent use. Make one with New.
type Catalogue struct {
	entries []*Entry // in order of ID
}

// An Entry is one control of a catalogue, placeholders filled in. docs/FORMATS.md
// describes the fields.
type Entry struct {
	ID         string            `yaml:"id"`
	Title      string            `yaml:"title"`
	Section    string            `yaml:"section"`
	Severity   Severity          `yaml:"severity"`
	Reason     string            `yaml:"reason"`    // why this severity
	Rationale  string            `yaml:"rationale"` // why it matters
	Select     string            `yaml:"select"`    // kind of subject
	When       string            `yaml:"when"`      // CEL: does the control concern the subject?
	Pass       string            `yaml:"pass"`      // CEL: does the subject pass?
	Lesser     string            `yaml:"lesser"`    // CEL: is a failure one step less severe?
	Principals string            `yaml:"principals"`
	Right      string            `yaml:"right"`
	Detail     string            `yaml:"detail"`
	Missing    map[string]string `yaml:"missing"`
	Fix        string            `yaml:"fix"`
	Changes    []string          `yaml:"changes"`
	ChangeEach string            `yaml:"change_each"`
	Verify     string            `yaml:"verify"`
	Tags       []string          `yaml:"tags"`
	For        []map[string]any  `yaml:"for"`

	source string
	line   int
	when   *expression // nil: always
	pass   *expression
	lesser *expression // nil: never
	texts  entryTexts
}

// New compiles the built-in catalogue of the guide and the given ones beside it.
// Two controls with one ID are an error, as is everything in a file that is not
// understood.
func New(sources ...Source) (*Catalogue, error) {
	own, err := builtinSources()
	if err != nil {
		return nil, err
	}
	return compile(append(own, sources...))
}

func builtinSources() ([]Source, error) {
	var out []Source
	files, err := fs.Glob(builtin, "catalogue/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("listing the built-in catalogue: %w", err)
	}
	for _, f := range files {
		data, err := builtin.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("reading the built-in catalogue: %w", err)
		}
		out = append(out, Source{path.Base(f), data})
	}
	return out, nil
}

func compile(sources []Source) (*Catalogue, error) {
	envs, err := newEnvs()
	if err != nil {
		return nil, fmt.Errorf("preparing the expression language: %w", err)
	}
	c := &Catalogue{}
	seen := map[string]*Entry{}
	for _, src := range sources {
		entries, err := parseSource(src)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if old := seen[e.ID]; old != nil {
				return nil, e.errorf("id is already used at %s:%d", old.source, old.line)
			}
			if err := e.compile(envs); err != nil {
				return nil, err
			}
			seen[e.ID] = e
			c.entries = append(c.entries, e)
		}
	}
	slices.SortFunc(c.entries, func(a, b *Entry) int { return strings.Compare(a.ID, b.ID) })
	return c, nil
}

// Entries lists the controls in order of ID. The caller must not change them.
func (c *Catalogue) Entries() []*Entry { return c.entries }

// Entry finds a control by ID; nil if there is none.
func (c *Catalogue) Entry(id string) *Entry {
	i, ok := slices.BinarySearchFunc(c.entries, id, func(e *Entry, id string) int { return strings.Compare(e.ID, id) })
	if !ok {
		return nil
	}
	return c.entries[i]
}

func (e *Entry) errorf(format string, args ...any) error {
	return fmt.Errorf("%w: %s:%d: control %q: %s", ErrCatalogue, e.source, e.line, e.ID, fmt.Sprintf(format, args...))
}

var (
	idPattern       = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*(-[a-z0-9]+)+$`)
	evidencePattern = regexp.MustCompile(`forest\.evidence\("([^"]*)"\)`)
)

// check validates what needs no compiler.
func (e *Entry) check() error {
	for _, f := range []struct{ name, value string }{
		{"id", e.ID},
		{"title", e.Title},
		{"section", e.Section},
		{"reason", e.Reason},
		{"rationale", e.Rationale},
		{"select", e.Select},
		{"pass", e.Pass},
		{"fix", e.Fix},
		{"verify", e.Verify},
	} {
		if strings.TrimSpace(f.value) == "" {
			return e.errorf("%s is missing", f.name)
		}
	}
	if !idPattern.MatchString(e.ID) {
		return e.errorf("id must look like D-01-sensitive")
	}
	if !slices.Contains([]Severity{Critical, High, Medium, Low}, e.Severity) {
		return e.errorf("severity %q is not critical, high, medium or low", e.Severity)
	}
	sel, ok := selectors[e.Select]
	if !ok && !isPrincipalName(e.Select) {
		return e.errorf("select %q is not known", e.Select)
	}
	if e.Principals != "" {
		if !sel.hosts {
			return e.errorf("principals needs a select of hosts")
		}
		if !isPrincipalSet(e.Principals) {
			return e.errorf("principals %q is not known", e.Principals)
		}
	}
	if fault := userRightNames.fault(e.Right); e.Right != "" && fault != "" {
		return e.errorf("right: %s", fault)
	}
	for _, m := range evidencePattern.FindAllStringSubmatch(e.Pass+e.When, -1) {
		if e.Missing[m[1]] == "" {
			return e.errorf("missing lacks a text for the evidence %q", m[1])
		}
	}
	return nil
}

// compile checks the entry and prepares its programs and texts.
func (e *Entry) compile(envs environments) error {
	if err := e.check(); err != nil {
		return err
	}
	var err error
	if e.When != "" {
		if e.when, err = e.expression(envs, "when", e.When); err != nil {
			return err
		}
	}
	if e.pass, err = e.expression(envs, "pass", e.Pass); err != nil {
		return err
	}
	if e.Lesser != "" {
		if e.lesser, err = e.expression(envs, "lesser", e.Lesser); err != nil {
			return err
		}
	}
	return e.parseTexts()
}

// An expression is a condition, ready to be evaluated.
type expression struct {
	program  cel.Program
	shortcut *shortcut // nil: the program must be asked
}

func (e *Entry) expression(envs environments, field, text string) (*expression, error) {
	env := envs.of(e)
	ast, issues := env.Compile(text)
	if err := issues.Err(); err != nil {
		return nil, e.errorf("%s: %v", field, err)
	}
	if !ast.OutputType().IsExactType(cel.BoolType) {
		return nil, e.errorf("%s yields %s, not bool", field, ast.OutputType())
	}
	if faults := misspelt(ast, envs.methods); len(faults) > 0 {
		return nil, e.errorf("%s: %s", field, strings.Join(faults, "; "))
	}
	p, err := env.Program(ast, cel.EvalOptions(cel.OptPartialEval))
	if err != nil {
		return nil, e.errorf("%s: %v", field, err)
	}
	return &expression{p, newShortcut(ast, envs.methods)}, nil
}
