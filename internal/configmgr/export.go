package configmgr

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// ErrImport reports a file that cannot be imported. The text names the file and, where
// they are known, row and column.
var ErrImport = errors.New("not an export of Configuration Manager")

// An Export is one file that a cmdlet of Configuration Manager or the export script
// wrote, through ConvertTo-Json or Export-Csv.
type Export struct {
	Name   string // of the file, for errors and readings
	Data   []byte
	Cmdlet string // such as Get-CMAccount, or a class such as SMS_Admin; "" recognises it by what is in the file
}

// Limits of an export.
const (
	MaxExport     = 512 << 20
	maxExportRows = 1_000_000
	exportDepth   = 64
)

// An ImportError says where a file is wrong. It wraps ErrImport and holds no value of
// the file.
type ImportError struct {
	File   string
	Row    int // from 1, without header; 0 if the file as a whole is meant
	Line   int // of a CSV file, from 1; 0 for JSON
	Column string
	Why    string
}

// Error implements error.
func (e *ImportError) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Row > 0 {
		fmt.Fprintf(&b, ": row %d", e.Row)
		if e.Line > 0 {
			fmt.Fprintf(&b, " (line %d)", e.Line)
		}
	}
	if e.Column != "" {
		fmt.Fprintf(&b, ", column %s", e.Column)
	}
	return b.String() + ": " + e.Why
}

// Unwrap returns ErrImport.
func (*ImportError) Unwrap() error { return ErrImport }

// ReadExport reads a file for Import, and refuses what is larger than MaxExport. What
// begins with bytes of no text is refused at once, without the rest.
func ReadExport(name string, from io.Reader) ([]byte, error) {
	head := make([]byte, 64<<10)
	n, err := io.ReadFull(from, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	if i := zeroUnit(head[:n]); i >= 0 {
		return nil, &ImportError{File: name, Why: fmt.Sprintf("byte %d: a zero character: not a text", i)}
	}
	data, err := io.ReadAll(io.LimitReader(io.MultiReader(bytes.NewReader(head[:n]), from), MaxExport+1))
	if err == nil && len(data) > MaxExport {
		err = &ImportError{File: name, Why: fmt.Sprintf("larger than %d bytes", MaxExport)}
	}
	return data, err
}

// Import reads exports and returns the document that they make together. Each file may
// be JSON (one object, an array, an AdminService answer with its value, or what the
// export script writes) or CSV (with or without the #TYPE line; comma, semicolon or
// tab), in UTF-8 or UTF-16. The first file that cannot be read ends it with an
// *ImportError; nothing of the others is lost quietly: what a cmdlet leaves out or
// PowerShell cut short is missing in the readings and told in the notices.
//
// p.File is not used: each reading names its own file. A bundle of the export script
// brings its own time, which then counts instead of p.At.
func Import(exports []Export, p Provenance) (*Document, []Notice, error) {
	var docs []*Document
	var notices []Notice
	for _, x := range exports {
		d, n, err := importFile(x, p)
		if err != nil {
			return nil, nil, err
		}
		docs = append(docs, d)
		for _, one := range n {
			one.Class = x.Name + ": " + one.Class
			notices = append(notices, one)
		}
	}
	return Merge(docs...), notices, nil
}

// table is what a file holds: rows of one class, and how they were found.
type table struct {
	class   string // "" until it is recognised
	part    string
	missing string
	whole   bool // it says itself which class it is of, and that it is all of that
	rows    []Row
	lines   []int // of each row, for CSV
}

func importFile(x Export, p Provenance) (*Document, []Notice, error) {
	fail := func(why string) (*Document, []Notice, error) { return nil, nil, &ImportError{File: x.Name, Why: why} }
	if len(x.Data) > MaxExport {
		return fail(fmt.Sprintf("larger than %d bytes", MaxExport))
	}
	text, err := plainText(x.Data)
	if err != nil {
		return fail(err.Error())
	}
	body := strings.TrimSpace(text)
	var tables []table
	switch {
	case body == "":
		return fail("is empty: the file was cut short, or the cmdlet returned nothing, which means that " + nothingRead +
			". If there is none, write [] into it and name it after the cmdlet, such as Get-CMMigrationSource.json; else run the cmdlet as an administrative user who may read the whole site")
	case body == "null": // what ConvertTo-Json makes of nothing
		tables = []table{{}}
	case strings.HasPrefix(body, "<"):
		return fail(markup(body))
	case body[0] == '{' || body[0] == '[':
		tables, p, err = jsonTables(x.Name, body, p)
	default:
		tables, err = csvTables(x.Name, body)
	}
	if err != nil {
		return nil, nil, err
	}
	p.File = path.Base(strings.ReplaceAll(x.Name, `\`, "/"))
	b := NewBuilder(p)
	for _, t := range tables {
		if err := importTable(b, x, t); err != nil {
			return nil, nil, err
		}
	}
	return b.Document(), b.Notices(), nil
}

// markup says what a file with markup is.
func markup(body string) string {
	low := strings.ToLower(body[:min(len(body), 2000)])
	switch {
	case strings.Contains(low, "<html") || strings.Contains(low, "<!doctype html"):
		return "is a web page, probably of an error, and not what a cmdlet wrote" + pageTitle(low)
	case strings.Contains(low, "schemas.microsoft.com/powershell"):
		return "is what Export-Clixml wrote: write it with ConvertTo-Json -Depth 5 or use the export script"
	}
	return "is XML or HTML: write it with ConvertTo-Json -Depth 5 or use the export script"
}

// pageTitle tells the status number of an error page, if its title has one; nothing
// else of a page is repeated.
func pageTitle(low string) string {
	_, rest, _ := strings.Cut(low, "<title>")
	title, _, _ := strings.Cut(rest, "</title>")
	for _, status := range []string{"401", "403", "404", "500", "502", "503"} {
		if strings.Contains(title, status) {
			return " (its title says " + status + ")"
		}
	}
	return ""
}

// importTable adds the rows of one table to a document.
func importTable(b *Builder, x Export, t table) error {
	known, err := recognise(x, &t)
	if err != nil {
		return err
	}
	if len(t.rows) == 0 && !t.whole {
		b.note(t.class, "", "no rows, which was taken to mean that there is none: a cmdlet returns nothing also where whoever ran it may not read them")
	}
	seen := map[string]bool{}
	for i, row := range t.rows {
		row = unfold(row)
		if err := b.Add(t.class, row); err != nil {
			return rowFault(x, t, i, err)
		}
		key := rowKey(Reduce(t.class, row))
		if seen[key] {
			b.note(t.class, "", "the row is there more than once")
		}
		seen[key] = true
	}
	parts := []string{t.part}
	if t.part == "" && !known {
		parts = partsOf(t)
	}
	for _, part := range parts {
		if err := b.Done(t.class, "", part, t.missing); err != nil {
			return rowFault(x, t, 0, err)
		}
	}
	return nil
}

func rowKey(row Row) string { return fmt.Sprint(map[string]any(row)) }

// rowFault gives an error of a row its file.
func rowFault(x Export, t table, i int, err error) error {
	e := &ImportError{File: x.Name, Row: i + 1, Why: err.Error()}
	var re *RowError
	if errors.As(err, &re) {
		e.Column, e.Why = re.Column, re.Why
		if e.Column != "" && i < len(t.rows) && !t.rows[i].has(e.Column) {
			e.Why = "the column is missing: " + t.class + " needs it (columns: " + strings.Join(columnNames(t.rows[i]), ", ") + ")"
		}
	}
	if i < len(t.lines) {
		e.Line = t.lines[i]
	}
	return e
}

// columnNames lists names of columns for an error, a few of them.
func columnNames(row Row) []string {
	names := sortedKeys(row)
	for i := range names {
		names[i] = clipName(names[i])
	}
	if len(names) > 12 {
		names = append(names[:12], "…")
	}
	return names
}

// partsOf tells which roles or components the rows of a table are of, for a table that
// may be all of its class or only what one cmdlet chose. It is all if the site server
// and the site systems are among the roles, since no cmdlet but Get-CMSiteRole without
// a filter lists both.
func partsOf(t table) []string {
	var parts []string
	add := func(p string) {
		if p != "" && !slices.Contains(parts, p) {
			parts = append(parts, p)
		}
	}
	switch t.class {
	case sciSysResUse:
		for _, row := range t.rows {
			add(row.text("RoleName"))
		}
		if slices.Contains(parts, roleSiteServer) && slices.Contains(parts, roleSiteSystem) {
			return []string{""}
		}
	case sciComponent:
		for _, row := range t.rows {
			name := row.text("ComponentName")
			if name == "" {
				name, _, _ = strings.Cut(row.text("ItemName"), "|")
			}
			add(strings.ToUpper(name))
			kept := Reduce(sciComponent, unfold(row))
			if kept.property("EnableSmtpSetting", "Value") != "" {
				add(PartMail)
			}
			if _, ok := kept.embeddedList(listPush); ok {
				add(PartPush)
			}
		}
	case sciClientComp:
		for _, row := range t.rows {
			add(row.text("ItemName"))
		}
	case sciPropertyList:
		for _, row := range t.rows {
			if strings.EqualFold(row.text("PropertyListName"), listAccess) {
				add(PartAccess)
			} else if strings.EqualFold(row.text("PropertyListName"), listPush) {
				add(PartPush)
			}
		}
	case smsStep:
		return []string{PartSteps}
	case smsSequence:
		return []string{PartSequences}
	}
	if len(parts) == 0 {
		return []string{""}
	}
	return parts
}
