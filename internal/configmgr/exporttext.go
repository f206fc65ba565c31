package configmgr

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/encoding/unicode"
)

// plainText returns the text of a file that PowerShell wrote: UTF-8 or UTF-16, with or
// without byte order mark.
func plainText(data []byte) (string, error) {
	switch {
	case bytes.HasPrefix(data, []byte{0xef, 0xbb, 0xbf}):
		data = data[3:]
	case bytes.HasPrefix(data, []byte{0xff, 0xfe}), bytes.HasPrefix(data, []byte{0xfe, 0xff}):
		return wideText(data, unicode.LittleEndian)
	case len(data) >= 4 && data[1] == 0 && data[3] == 0:
		return wideText(data, unicode.LittleEndian)
	case len(data) >= 4 && data[0] == 0 && data[2] == 0:
		return wideText(data, unicode.BigEndian)
	}
	if !utf8.Valid(data) {
		at := 0
		for at < len(data) {
			r, n := utf8.DecodeRune(data[at:])
			if r == utf8.RuneError && n == 1 {
				break
			}
			at += n
		}
		return "", fmt.Errorf("%s: neither UTF-8 nor UTF-16: write it with -Encoding UTF8", position(data, int64(at)))
	}
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return "", fmt.Errorf("%s: a zero byte: not a text, or in an encoding other than UTF-8 and UTF-16", position(data, int64(i)))
	}
	return string(data), nil
}

// zeroUnit finds two zero bytes where UTF-16 has one character, which no text in UTF-8
// or UTF-16 has; -1 if there are none.
func zeroUnit(data []byte) int {
	for i := 0; i+1 < len(data); i += 2 {
		if data[i] == 0 && data[i+1] == 0 {
			return i
		}
	}
	return -1
}

func wideText(data []byte, order unicode.Endianness) (string, error) {
	if i := zeroUnit(data); i >= 0 {
		return "", fmt.Errorf("byte %d: a zero character: not a text", i)
	}
	if len(data)%2 != 0 {
		return "", errors.New("UTF-16 with half a character at its end: the file was cut short")
	}
	out, err := unicode.UTF16(order, unicode.UseBOM).NewDecoder().Bytes(data)
	if err != nil {
		return "", fmt.Errorf("reading UTF-16: %w", err)
	}
	if bytes.ContainsRune(out, utf8.RuneError) {
		return "", errors.New("not UTF-16: it has characters that are none")
	}
	return string(out), nil
}

// bundle is what the export script writes.
type bundle struct {
	Leastwise int               `json:"leastwise"` // version of the form
	Exported  string            `json:"exported"`
	Site      string            `json:"site"`
	Classes   map[string][]Row  `json:"classes"`
	Missing   map[string]string `json:"missing"`
}

// bundleVersion is the version of the form of bundles.
const bundleVersion = 1

// jsonTables reads JSON: an object, an array of objects, an answer of the AdminService
// or a bundle of the export script.
func jsonTables(name, text string, p Provenance) ([]table, Provenance, error) {
	if err := shallow(name, text); err != nil {
		return nil, p, err
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	if text[0] == '{' {
		var one Row
		if err := dec.Decode(&one); err != nil {
			return nil, p, jsonError(name, text, 0, dec, err)
		}
		if err := atEnd(name, text, dec); err != nil {
			return nil, p, err
		}
		if one.has("leastwise") && one.has("classes") {
			return bundleTables(name, text, p)
		}
		if list, ok := one["value"].([]any); ok {
			t, err := rowsTable(name, list)
			t.class = contextClass(one.text("@odata.context"))
			return []table{t}, p, err
		}
		return []table{{rows: []Row{one}}}, p, nil
	}
	t := table{}
	if _, err := dec.Token(); err != nil {
		return nil, p, jsonError(name, text, 0, dec, err)
	}
	for dec.More() {
		var e any
		if err := dec.Decode(&e); err != nil {
			return nil, p, jsonError(name, text, len(t.rows)+1, dec, err)
		}
		row, ok := e.(map[string]any)
		if !ok {
			return nil, p, &ImportError{File: name, Row: len(t.rows) + 1, Why: "should be an object, is " + kindOf(e)}
		}
		if len(t.rows) == maxExportRows {
			return nil, p, &ImportError{File: name, Why: fmt.Sprintf("more than %d rows", maxExportRows)}
		}
		t.rows = append(t.rows, row)
	}
	if _, err := dec.Token(); err != nil {
		return nil, p, jsonError(name, text, len(t.rows)+1, dec, err)
	}
	return []table{t}, p, atEnd(name, text, dec)
}

// contextClass returns the class of an AdminService answer from its context, which ends
// in $metadata#Class.
func contextClass(s string) string {
	_, class, _ := strings.Cut(s, "$metadata#")
	class, _, _ = strings.Cut(class, "(")
	if ask, ok := askFor(class); ok {
		return ask.Class
	}
	return ""
}

func rowsTable(name string, list []any) (table, error) {
	t := table{}
	for i, e := range list {
		row, ok := e.(map[string]any)
		if !ok {
			return t, &ImportError{File: name, Row: i + 1, Why: "should be an object, is " + kindOf(e)}
		}
		t.rows = append(t.rows, row)
	}
	return t, nil
}

// shallow refuses JSON that is nested deeper than any export.
func shallow(name, text string) error {
	depth, inText := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inText && c == '\\':
			i++
		case c == '"':
			inText = !inText
		case inText:
		case c == '{' || c == '[':
			if depth++; depth > exportDepth {
				return &ImportError{File: name, Why: fmt.Sprintf("%s: nested deeper than %d", position([]byte(text), int64(i)), exportDepth)}
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

func jsonError(name, text string, row int, dec *json.Decoder, err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return &ImportError{File: name, Row: row, Why: jsonFault([]byte(text), dec.InputOffset(), err)}
}

func atEnd(name, text string, dec *json.Decoder) error {
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return &ImportError{File: name, Why: position([]byte(text), dec.InputOffset()) + ": something follows: write all rows as one array"}
	}
	return nil
}

// bundleTables reads what the export script writes. It is strict: the script is ours.
func bundleTables(name, text string, p Provenance) ([]table, Provenance, error) {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	dec.DisallowUnknownFields()
	var b bundle
	if err := dec.Decode(&b); err != nil {
		return nil, p, &ImportError{File: name, Why: "is no bundle of the export script: " + jsonFault([]byte(text), dec.InputOffset(), err)}
	}
	if b.Leastwise != bundleVersion {
		return nil, p, &ImportError{File: name, Why: fmt.Sprintf("is a bundle of version %d; this leastwise reads version %d", b.Leastwise, bundleVersion)}
	}
	at, ok := timeOf(b.Exported)
	if !ok {
		return nil, p, &ImportError{File: name, Column: "exported", Why: "is no time"}
	}
	p.At, p.Site = at.Truncate(time.Second), strings.ToUpper(b.Site)
	var out []table
	for _, class := range sortedKeys(b.Classes) {
		ask, ok := askFor(class)
		if !ok {
			return nil, p, &ImportError{File: name, Column: clipName(class), Why: "is no class that is read"}
		}
		out = append(out, table{class: ask.Class, rows: b.Classes[class], missing: clipName(b.Missing[class]), whole: true})
	}
	for _, class := range sortedKeys(b.Missing) {
		if ask, ok := askFor(class); ok && b.Classes[class] == nil {
			out = append(out, table{class: ask.Class, missing: clipName(b.Missing[class]), whole: true})
		}
	}
	return out, p, nil
}

// csvTables reads what Export-Csv wrote.
func csvTables(name, text string) ([]table, error) {
	t := table{}
	skipped := 0
	for {
		line, rest, _ := strings.Cut(text, "\n")
		low := strings.ToLower(strings.TrimSpace(line))
		if !strings.HasPrefix(low, "#type") && !strings.HasPrefix(low, "sep=") {
			break
		}
		if strings.HasPrefix(low, "#type") {
			t.class = classWithin(strings.TrimSpace(line))
		}
		text, skipped = rest, skipped+1
	}
	head, _, _ := strings.Cut(text, "\n")
	r := csv.NewReader(strings.NewReader(text))
	r.Comma, r.FieldsPerRecord = separator(head), -1
	columns, err := r.Read()
	if err != nil {
		return nil, csvError(name, 0, skipped, err)
	}
	if err := checkHeader(name, columns); err != nil {
		return nil, err
	}
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return []table{t}, nil
		}
		if err != nil {
			return nil, csvError(name, len(t.rows)+1, skipped, err)
		}
		line, _ := r.FieldPos(0)
		if len(record) != len(columns) {
			return nil, &ImportError{File: name, Row: len(t.rows) + 1, Line: line + skipped, Why: fmt.Sprintf("has %d values for %d columns: the file was cut short, or its separator is not %q", len(record), len(columns), r.Comma)}
		}
		if len(t.rows) == maxExportRows {
			return nil, &ImportError{File: name, Why: fmt.Sprintf("more than %d rows", maxExportRows)}
		}
		row := make(Row, len(columns))
		for i, c := range columns {
			row[c] = record[i]
		}
		t.rows, t.lines = append(t.rows, row), append(t.lines, line+skipped)
	}
}

// separator tells what separates the columns of a header: which of the separators that
// Export-Csv uses in any culture occurs most outside quotes.
func separator(head string) rune {
	count := map[rune]int{}
	quoted := false
	for _, r := range head {
		switch {
		case r == '"':
			quoted = !quoted
		case !quoted:
			count[r]++
		}
	}
	best := ','
	for _, r := range []rune{';', '\t', '|'} {
		if count[r] > count[best] {
			best = r
		}
	}
	return best
}

func checkHeader(name string, columns []string) error {
	seen := map[string]bool{}
	for i, c := range columns {
		columns[i] = strings.TrimSpace(c)
		low := strings.ToLower(columns[i])
		if low == "" {
			return &ImportError{File: name, Why: fmt.Sprintf("column %d has no name: is the first line the header?", i+1)}
		}
		if seen[low] {
			return &ImportError{File: name, Column: clipName(columns[i]), Why: "is there twice"}
		}
		seen[low] = true
	}
	return nil
}

func csvError(name string, row, skipped int, err error) error {
	var pe *csv.ParseError
	if errors.As(err, &pe) {
		why := pe.Err.Error()
		if errors.Is(pe.Err, csv.ErrQuote) {
			why = "a quotation mark is not closed or stands within a value: the file was cut short, or not written by Export-Csv"
		}
		return &ImportError{File: name, Row: row, Line: pe.StartLine + skipped, Why: why}
	}
	return &ImportError{File: name, Row: row, Why: err.Error()}
}
