package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"github.com/leastwise/leastwise/internal/control"
	"github.com/leastwise/leastwise/internal/forest"
)

// JSON writes the assessment as JSON that follows the published schema (package
// docs/schema): indented, but each finding and each element of the other lists on
// a line of its own, because a large forest has very many. Lists that are empty
// are written as [], never as null. It holds a few hundred elements at a time in
// memory.
func JSON(w io.Writer, a *control.Assessment) error { return JSONWith(w, a, nil) }

// JSONWith is JSON with the assessment of Configuration Manager under configmgr, if
// there is one.
func JSONWith(w io.Writer, a *control.Assessment, c *ConfigMgr) error {
	b := bufio.NewWriterSize(w, 1<<16)
	if err := writeLines(b, reflect.ValueOf(complete(a)).Elem(), c); err != nil {
		return fmt.Errorf("writing assessment as JSON: %w", err)
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("writing assessment as JSON: %w", err)
	}
	return nil
}

// writeLines writes a struct as an object, the elements of its lists one a line, and c
// after it if there is one.
func writeLines(w *bufio.Writer, v reflect.Value, c *ConfigMgr) error {
	e := lineEncoder{w: w}
	e.enc = json.NewEncoder(&e.buf)
	e.enc.SetEscapeHTML(false)
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		e.text(pick(i == 0, "{\n  ", ",\n  "))
		e.text(strconv.Quote(name) + ": ")
		if f := v.Field(i); f.Kind() == reflect.Slice {
			e.list(f)
		} else {
			e.enc.SetIndent("  ", "  ")
			e.value(f)
			e.enc.SetIndent("", "")
		}
	}
	if c != nil {
		e.text(",\n  \"configmgr\": ")
		e.enc.SetIndent("  ", "  ")
		e.value(reflect.ValueOf(c).Elem())
	}
	e.text("\n}\n")
	return e.err
}

// A lineEncoder writes values; it keeps the first error.
type lineEncoder struct {
	w   *bufio.Writer
	buf bytes.Buffer // one value
	enc *json.Encoder
	err error
}

func (e *lineEncoder) text(s string) {
	if e.err == nil {
		_, e.err = e.w.WriteString(s)
	}
}

func (e *lineEncoder) value(v reflect.Value) {
	if e.err != nil {
		return
	}
	e.buf.Reset()
	if e.err = e.enc.Encode(v.Addr().Interface()); e.err == nil {
		_, e.err = e.w.Write(bytes.TrimSuffix(e.buf.Bytes(), []byte("\n")))
	}
}

// list writes the elements of a slice, one a line. Blocks of them are encoded side
// by side and written in order; at most two blocks a processor wait.
func (e *lineEncoder) list(v reflect.Value) {
	if v.Len() == 0 {
		e.text("[]")
		return
	}
	blocks := make(chan chan *jsonWriter, 2*runtime.GOMAXPROCS(0))
	var spare sync.Pool // of *jsonWriter
	go func() {
		defer close(blocks)
		for lo := 0; lo < v.Len(); lo += blockSize {
			done := make(chan *jsonWriter, 1)
			blocks <- done
			go func() {
				w, ok := spare.Get().(*jsonWriter)
				if !ok {
					w = &jsonWriter{}
				}
				w.b = w.b[:0]
				w.elements(v.Slice(lo, min(lo+blockSize, v.Len())).Interface())
				done <- w
			}()
		}
	}()
	first := true
	for done := range blocks { // to the end even after an error, so that nobody is left waiting
		b := <-done
		if e.err == nil {
			e.err = b.err
		}
		e.text(pick(first, "[\n    ", ",\n    "))
		if e.err == nil {
			_, e.err = e.w.Write(b.b)
		}
		first = false
		spare.Put(b)
	}
	e.text("\n  ]")
}

// blockSize is how many elements of a list are encoded in one go.
const blockSize = 128

func pick(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}

// writeJSON writes v indented and with <, > and & as they are: the output is
// read by people and programs, not by HTML parsers.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// complete returns a copy of a in which no list or map is nil, but for those in
// findings and in rows of the matrix, which jsonWriter completes.
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
	p := &c.Paths
	p.Goals, p.Certain, p.Possible, p.Unread = list(p.Goals), list(p.Certain), list(p.Possible), list(p.Unread)
	p.Chokes, p.Cut.Removals = list(p.Chokes), list(p.Cut.Removals)
	c.Matrix = list(c.Matrix)
	c.Controls = list(c.Controls)
	c.Findings = list(c.Findings)
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
