package configmgr

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ErrDocument reports a document that cannot be used; the text says where and why.
var ErrDocument = errors.New("document of Configuration Manager is not valid")

// Limits of a document.
const (
	MaxDocument = 256 << 20 // bytes
	maxDepth    = 16        // of lists and objects within each other
	maxElements = 2_000_000 // of one list or object
	maxText     = 64 << 10  // bytes of one text
)

// ReadDocument reads a document in JSON. It is strict: a field that the form does not
// have, a value of another type, and anything beyond the limits is an error with its
// path, such as $.assignments[3].entry. The result has been checked by Check without
// a catalogue.
func ReadDocument(data []byte) (*Document, error) {
	if len(data) > MaxDocument {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrDocument, MaxDocument)
	}
	if err := plainJSON(data); err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return nil, fmt.Errorf("%w: %s", ErrDocument, jsonFault(data, dec.InputOffset(), err))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: %s: something follows the document", ErrDocument, position(data, dec.InputOffset()))
	}
	return documentOf(tree)
}

// documentOf makes a document of decoded JSON or YAML.
func documentOf(tree any) (*Document, error) {
	if err := checkShape(tree, reflect.TypeFor[Document](), "$", 0); err != nil {
		return nil, err
	}
	text, err := json.Marshal(tree)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	d := &Document{}
	if err := json.Unmarshal(text, d); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	d.settle()
	if err := d.Check(nil); err != nil {
		return nil, err
	}
	return d, nil
}

// settle gives the values of settings the types that readers of rows give them: int64
// for whole numbers, []string for lists.
func (d *Document) settle() {
	for i := range d.Sites {
		settleValues(d.Sites[i].Settings)
	}
	for _, m := range d.Client {
		settleValues(m)
	}
	for i := range d.Hosts {
		settleValues(d.Hosts[i].Registry)
	}
}

func settleValues(m map[string]any) {
	for k, v := range m {
		switch v := v.(type) {
		case float64:
			if n, ok := numberOf(v); ok {
				m[k] = n
			}
		case []any:
			list := make([]string, 0, len(v))
			for _, e := range v {
				list = append(list, textOf(e))
			}
			m[k] = list
		}
	}
}

// Write writes the document as JSON, one field a line, with a newline at its end. A
// document that was read and written again has the same bytes.
func (d *Document) Write(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(d); err != nil {
		return fmt.Errorf("writing a document: %w", err)
	}
	return nil
}

// plainJSON refuses, before anything is decoded, what is not UTF-8 and what is nested
// deeper than a document is.
func plainJSON(data []byte) error {
	if !utf8.Valid(data) {
		return fmt.Errorf("%w: not UTF-8", ErrDocument)
	}
	depth, inText := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inText && c == '\\':
			i++
		case c == '"':
			inText = !inText
		case inText:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return fmt.Errorf("%w: %s: nested deeper than %d", ErrDocument, position(data, int64(i)), maxDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// jsonFault says where JSON is wrong.
func jsonFault(data []byte, at int64, err error) string {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		at = syntax.Offset
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "unexpected end of JSON") {
		return position(data, int64(len(data))) + ": cut short"
	}
	return position(data, at) + ": " + err.Error()
}

// position returns an offset as line and column, both from 1.
func position(data []byte, at int64) string {
	before := data[:min(max(at, 0), int64(len(data)))]
	line := bytes.Count(before, []byte{'\n'}) + 1
	column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	return fmt.Sprintf("line %d, column %d", line, column)
}

// checkShape compares a decoded value with the type that it is for.
func checkShape(v any, t reflect.Type, path string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: %s: nested deeper than %d", ErrDocument, path, maxDepth)
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if s, ok := v.(string); ok && len(s) > maxText {
		return fmt.Errorf("%w: %s: longer than %d bytes", ErrDocument, path, maxText)
	}
	if v == nil {
		return fmt.Errorf("%w: %s: has no value; leave it out if it is not known", ErrDocument, path)
	}
	if reflect.PointerTo(t).Implements(textUnmarshaler) {
		return checkText(v, t, path)
	}
	switch t.Kind() {
	case reflect.Struct:
		return checkObject(v, t, path, depth)
	case reflect.Map:
		return checkMap(v, t, path, depth)
	case reflect.Slice:
		list, ok := v.([]any)
		if !ok {
			return misfit(path, "a list", v)
		}
		if len(list) > maxElements {
			return fmt.Errorf("%w: %s: more than %d elements", ErrDocument, path, maxElements)
		}
		for i, e := range list {
			if err := checkShape(e, t.Elem(), path+"["+strconv.Itoa(i)+"]", depth+1); err != nil {
				return err
			}
		}
		return nil
	case reflect.Interface:
		return checkSetting(v, path)
	}
	return checkScalar(v, t, path)
}

var textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()

func checkText(v any, t reflect.Type, path string) error {
	s, ok := v.(string)
	if !ok {
		return misfit(path, "a text", v)
	}
	if err := reflect.New(t).Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s)); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDocument, path, err)
	}
	return nil
}

func checkObject(v any, t reflect.Type, path string, depth int) error {
	m, ok := v.(map[string]any)
	if !ok {
		return misfit(path, "an object", v)
	}
	fields := fieldsOf(t)
	for _, name := range sortedKeys(m) {
		f, ok := fields[name]
		if !ok {
			return fmt.Errorf("%w: %s: there is no field of this name%s", ErrDocument, joinPath(path, name), nearest(name, sortedKeys(fields)))
		}
		if err := checkShape(m[name], f, joinPath(path, name), depth+1); err != nil {
			return err
		}
	}
	return nil
}

func checkMap(v any, t reflect.Type, path string, depth int) error {
	m, ok := v.(map[string]any)
	if !ok {
		return misfit(path, "an object", v)
	}
	if len(m) > maxElements {
		return fmt.Errorf("%w: %s: more than %d fields", ErrDocument, path, maxElements)
	}
	for _, name := range sortedKeys(m) {
		if err := checkShape(m[name], t.Elem(), joinPath(path, name), depth+1); err != nil {
			return err
		}
	}
	return nil
}

func checkScalar(v any, t reflect.Type, path string) error {
	switch t.Kind() {
	case reflect.String:
		if _, ok := v.(string); !ok {
			return misfit(path, "a text", v)
		}
	case reflect.Bool:
		if _, ok := v.(bool); !ok {
			return misfit(path, "true or false", v)
		}
	default:
		n, ok := wholeNumber(v)
		if !ok {
			return misfit(path, "a whole number", v)
		}
		if n < -1<<31 || n >= 1<<31 {
			return fmt.Errorf("%w: %s: out of range", ErrDocument, path)
		}
	}
	return nil
}

// checkSetting allows text, number, boolean and list of texts.
func checkSetting(v any, path string) error {
	switch v := v.(type) {
	case string, bool:
		return nil
	case []any:
		for i, e := range v {
			if s, ok := e.(string); !ok || len(s) > maxText {
				return misfit(path+"["+strconv.Itoa(i)+"]", "a text", e)
			}
		}
		return nil
	}
	if _, ok := wholeNumber(v); ok {
		return nil
	}
	return misfit(path, "a text, a whole number, true or false, or a list of texts", v)
}

func wholeNumber(v any) (int64, bool) {
	switch v := v.(type) {
	case json.Number:
		n, err := v.Int64()
		return n, err == nil && n > -1<<53 && n < 1<<53
	case int64:
		return v, true
	case uint64:
		return int64(v), v < 1<<53 //nolint:gosec // compared in the same breath
	case int:
		return int64(v), true
	case float64:
		return numberOf(v)
	}
	return 0, false
}

func misfit(path, want string, v any) error {
	return fmt.Errorf("%w: %s: should be %s, is %s", ErrDocument, path, want, kindOf(v))
}

func kindOf(v any) string {
	switch v.(type) {
	case map[string]any:
		return "an object"
	case []any:
		return "a list"
	case string:
		return "a text"
	case bool:
		return "true or false"
	case nil:
		return "nothing"
	}
	return "a number"
}

// fieldsOf returns the types of the fields of a struct by their JSON names, with those
// of embedded structs.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	out := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous || !f.IsExported() {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && name != "-" {
			out[name] = f.Type
		}
	}
	return out
}

func joinPath(path, name string) string {
	if strings.IndexFunc(name, func(r rune) bool {
		return r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) >= 0 || name == "" {
		return path + ".'" + strings.ReplaceAll(clipName(name), "'", `\'`) + "'"
	}
	return path + "." + clipName(name)
}

// nearest suggests a name for one that is misspelt.
func nearest(name string, names []string) string {
	i := slices.IndexFunc(names, func(n string) bool { return strings.EqualFold(n, name) || strings.HasPrefix(n, name) && len(name) > 3 })
	if i < 0 {
		i = slices.IndexFunc(names, func(n string) bool { return oneOff(n, name) })
	}
	if i < 0 {
		return ""
	}
	return " (is " + names[i] + " meant?)"
}

// oneOff reports whether two names differ by one letter more, less or other.
func oneOff(a, b string) bool {
	if len(a) < len(b) {
		a, b = b, a
	}
	i := 0
	for i < len(b) && a[i] == b[i] {
		i++
	}
	switch len(a) - len(b) {
	case 0:
		return i < len(a) && a[i+1:] == b[i+1:]
	case 1:
		return a[i+1:] == b[i:]
	}
	return false
}
