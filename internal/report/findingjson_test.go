package report

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/control"
)

// filled gives every field of a type a value: numbers, lists of two, texts that
// need escaping. It knows the kinds that findings and rows are made of.
func filled(t *testing.T, v reflect.Value, n int) {
	texts := []string{"CN=plain,DC=contoso", "a\\,b \"<&>\" \u2028\u2029", "bad \xff\xc0 end", "\x00\x1f\b\f\n\r\t\x7f", "דוד 𝄞 é"}
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Date(2026, 1, 2, 3, 4, 5, n*1000, time.FixedZone("", 3600*(n%3)))))
	case v.Kind() == reflect.String:
		v.SetString(texts[n%len(texts)])
	case v.Kind() == reflect.Int:
		v.SetInt(int64(-7 * n))
	case v.Kind() == reflect.Uint32:
		v.SetUint(uint64(n) * 1e6)
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		filled(t, v.Elem(), n)
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		filled(t, v.Index(0), n+1)
		filled(t, v.Index(1), n+2)
	case v.Kind() == reflect.Map:
		v.Set(reflect.ValueOf(map[string]control.Outcome{"SeB": "pass", "SeA": "fail", "\"": "unknown"}))
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() { // others are not part of the JSON
				filled(t, v.Field(i), n+i)
			}
		}
	default:
		t.Fatalf("a field is %s: teach it to the writer and to this test", v.Type())
	}
}

func standard(t *testing.T, v any) string {
	t.Helper()
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSuffix(buf.Bytes(), []byte("\n")))
}

// TestWriterEqualsStandard fails too if a field is added to the types and not to
// the writer.
func TestWriterEqualsStandard(t *testing.T) {
	var w jsonWriter
	check := func(want string) {
		t.Helper()
		if w.err != nil || string(w.b) != want {
			t.Errorf("got  %s, %v\nwant %s", w.b, w.err, want)
		}
		w.b = w.b[:0]
	}
	for n := range 12 {
		var f control.Finding
		filled(t, reflect.ValueOf(&f).Elem(), n)
		w.finding(&f)
		check(standard(t, f))
		f.Subject.Hosts, f.Subject.SID, f.Subject.Scope, f.Exception = nil, "", "", nil
		f.Evidence = []control.Evidence{{}, {Kind: "ace", ACE: &control.ACERef{}}, {Changed: &control.Changed{}}}
		w.finding(&f)
		check(standard(t, f))
		var r control.MatrixRow
		filled(t, reflect.ValueOf(&r).Elem(), n)
		w.row(&r)
		check(standard(t, r))
	}
	w.finding(&control.Finding{})
	check(standard(t, control.Finding{Evidence: []control.Evidence{}, Missing: []string{}, Fix: control.Fix{Changes: []string{}}}))
	w.row(&control.MatrixRow{})
	check(standard(t, control.MatrixRow{Cells: map[string]control.Outcome{}}))
}

func TestWriterReportsBadTime(t *testing.T) {
	a := &control.Assessment{Findings: []control.Finding{{Evidence: []control.Evidence{{Changed: &control.Changed{Time: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}}}}}}
	if err := JSON(&bytes.Buffer{}, a); err == nil {
		t.Error("a year of five digits was written")
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"", "plain", "\"\\/<>&", "\x00\x1f\x7f\x80\xff", "\u2027\u2028\u2029\u202a", "\xed\xa0\x80", "é\xe2\x80", "\ufffd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var w jsonWriter
		w.text(s)
		if want := standard(t, s); string(w.b) != want {
			t.Errorf("got %s, want %s", w.b, want)
		}
	})
}
