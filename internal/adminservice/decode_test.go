package adminservice

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func all(string) bool { return true }

func TestDecodePage(t *testing.T) {
	in := "\ufeff" + `{"@odata.context":"x","value":[
		{"UserName":"CONTOSO\\svc-\u00e4","AccountUsage":["a","b"],"Reserved2":"c2VjcmV0","SiteCode":"P01","deep":{"a":[1,{"b":null}]}},
		{"username":"second","Flag":true,"n":-1.5e3}
	], "@odata.nextLink":"https://elsewhere/"}`
	p, err := decodePage([]byte(in), func(c string) bool { return strings.EqualFold(c, "UserName") || c == "AccountUsage" || c == "n" }, false)
	if err != nil {
		t.Fatal(err)
	}
	want := []map[string]any{
		{"UserName": `CONTOSO\svc-ä`, "AccountUsage": []any{"a", "b"}},
		{"username": "second", "n": json.Number("-1.5e3")},
	}
	for i, w := range want {
		if !reflect.DeepEqual(map[string]any(p.rows[i]), w) {
			t.Errorf("row %d: %v", i, p.rows[i])
		}
	}
	if len(p.rows) != 2 || !p.more || !bytes.HasPrefix(p.ids[1], []byte(`{"username"`)) {
		t.Errorf("%+v", p)
	}
}

// Embedded members whose names say what they are do not become values, whatever
// column they stand in.
func TestDecodeStepsOverSecrets(t *testing.T) {
	p, err := decodePage([]byte(`{"value":[{"Props":[{"PropertyName":"x","UserPassword":"geheim"}]}]}`), all, false)
	if err != nil || !reflect.DeepEqual(p.rows[0]["Props"], []any{map[string]any{"PropertyName": "x"}}) {
		t.Errorf("%v, %v", p.rows, err)
	}
}

func TestDecodeErrors(t *testing.T) {
	for in, want := range map[string]string{
		``:                               "ends in the middle",
		`{`:                              "ends in the middle",
		`{"value":[{"a":"b`:              "ends in the middle",
		`{"value":[{"a":tru`:             "ends in the middle",
		`{"value":[{"a":1}`:              "ends in the middle",
		`{"value":[{"a":1},]}`:           `'{' is missing`,
		`{"value":[1]}`:                  `'{' is missing`,
		`{"value":[{"a" 1}]}`:            `':' is missing`,
		`{"value":[{"a":1 "b":2}]}`:      `',' is missing`,
		`{"value":[{"a":1,}]}`:           `'"' is missing`,
		`{"value":[{"a":nope}]}`:         "neither a number",
		`{"value":[{"a":01}]}`:           "neither a number",
		`{"value":[{"a":}]}`:             "value is missing",
		`{"value":[{"a":"\x"}]}`:         "escape that does not exist",
		"{\"value\":[{\"a\":\"\x01\"}]}": "control character",
		`{"value":[]}{}`:                 "something follows",
		`{"error":{"code":""}}`:          `no list "value"`,
		`{"value":{"a":1}}`:              `no list "value"`,
		`[]`:                             `'{' is missing`,
		`{"value":[{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}]}`: "nested deeper",
		`{"b":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `,"value":[]}`:  "nested deeper",
		`{"value":[{"a":"` + strings.Repeat("x", maxText) + `"}]}`:                    "a text of more",
	} {
		_, err := decodePage([]byte(in), all, false)
		var de *DecodeError
		if !errors.As(err, &de) || !strings.Contains(err.Error(), want) || de.Short != strings.Contains(want, "ends in") {
			t.Errorf("%.60q: %v, want %q", in, err, want)
		}
	}
	if p, err := decodePage([]byte(`{"RoleID":"SMS0001R"}`), all, true); err != nil || p.rows[0]["RoleID"] != "SMS0001R" {
		t.Errorf("a single row: %v, %v", p, err)
	}
}

// Whatever arrives, the decoder ends, quotes nothing, takes what encoding/json takes,
// and reads the same values.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{"value":[{"a":"b","c":[1,2,{"d":null}],"e":true}]}`, `{"value":[{"a":"\u00e4\ud83d\ude00\\"}],"@odata.nextLink":"x"}`,
		`{"value":[{"a":1}`, `{"value":[{}],"value":[]}`, "\ufeff{\"value\":[]}", `{"value":[{"a":"` + "\xff" + `"}]}`, `{"value":[{"a":-0.5e+7}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodePage(b, all, false)
		trimmed := bytes.TrimPrefix(b, []byte("\ufeff"))
		var want struct {
			Value []map[string]any `json:"value"`
		}
		d := json.NewDecoder(bytes.NewReader(trimmed))
		d.UseNumber()
		valid := json.Valid(trimmed) && d.Decode(&want) == nil
		if err != nil {
			var de *DecodeError
			if !errors.As(err, &de) {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		if len(p.rows) != len(p.ids) {
			t.Fatalf("%d rows, %d fingerprints", len(p.rows), len(p.ids))
		}
		if !valid || strings.Contains(strings.ToLower(string(b)), "pass") || bytes.Count(b, []byte("alue")) != 1 || bytes.Contains(b, []byte(`\u`)) || bytes.Contains(bytes.ToLower(b), []byte("secret")) || bytes.Contains(bytes.ToLower(b), []byte("key")) || bytes.Contains(bytes.ToLower(b), []byte("cipher")) {
			return // encoding/json joins names without regard to case, and knows no secrets
		}
		for i := range want.Value {
			if want.Value[i] == nil || !reflect.DeepEqual(map[string]any(p.rows[i]), want.Value[i]) {
				t.Errorf("row %d: %v, encoding/json reads %v", i, p.rows[i], want.Value[i])
			}
		}
	})
}
