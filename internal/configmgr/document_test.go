package configmgr

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/leastwise/leastwise/docs/schema"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// fullDocument has a value in every field of the form, so that a field that is lost on
// the way shows.
func fullDocument(t *testing.T) *Document {
	t.Helper()
	d := &Document{}
	fillValue(t, reflect.ValueOf(d).Elem(), "")
	d.Version = DocumentVersion
	d.Sites[0].Settings = map[string]any{"push.filters": int64(2), "push.automatic": true, "pxe.hosts": []string{"a.contoso.com", "b.contoso.com"}, "provider.auth_level": "Windows"}
	d.Attestations[0].Expires = d.Attestations[0].Made.AddDate(1, 0, 0)
	return d
}

func fillValue(t *testing.T, v reflect.Value, name string) {
	t.Helper()
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(readAt))
		return
	case *secdesc.SID:
		sid := secdesc.MustSID("S-1-5-21-1-2-3-1104")
		v.Set(reflect.ValueOf(&sid))
		return
	case Source:
		v.SetString(string(Imported))
		return
	case Class:
		v.SetString(string(ClassAccounts))
		return
	case SiteKind:
		v.SetString(string(PrimarySite))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fillValue(t, v.Field(i), v.Type().Field(i).Name)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fillValue(t, v.Index(0), name)
	case reflect.Map:
		e := reflect.New(v.Type().Elem()).Elem()
		fillValue(t, e, name)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("key"), e)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillValue(t, v.Elem(), name)
	case reflect.Interface:
		v.Set(reflect.ValueOf("text"))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(7)
	case reflect.String:
		switch name {
		case "Code", "Parent", "Site":
			v.SetString("PS1")
		case "Release":
			v.SetString("current-branch")
		default:
			v.SetString("x" + name)
		}
	default:
		t.Fatalf("no value for %s", v.Type())
	}
}

func TestDocumentsComeBackAsTheyWere(t *testing.T) {
	d := fullDocument(t)
	var text bytes.Buffer
	if err := d.Write(&text); err != nil {
		t.Fatal(err)
	}
	back, err := ReadDocument(text.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(d, back) {
		t.Errorf("read:\n%+v\nwrote:\n%+v", back, d)
	}
	var again bytes.Buffer
	if err := back.Write(&again); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(text.Bytes(), again.Bytes()) {
		t.Error("written again it is other bytes")
	}
}

func TestDocumentErrorsSayWhere(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`{"version":1,"asignments":[]}`, `$.asignments: there is no field of this name (is assignments meant?)`},
		{`{"version":1,"assignments":[{"name":"x","source":"declared","entry":"a"},{"nme":"y"}]}`, `$.assignments[1].nme: there is no field`},
		{`{"version":1,"sites":[{"code":1}]}`, `$.sites[0].code: should be a text, is a number`},
		{`{"version":1,"attestations":[{"topic":"x","value":true,"owner":"Anna","site":"../x","made":"2026-01-01T00:00:00Z","expires":"2027-01-01T00:00:00Z"}]}`, `$.attestations[0].site: "../x" is no site code`},
		{`{"version":1,"sites":[{"code":"ps1x"}]}`, `$.sites[0].code: "ps1x" is no site code`},
		{`{"version":1,"sites":[{"code":"PS1","settings":{"a":{"b":1}}}]}`, `$.sites[0].settings.a: should be a text`},
		{`{"version":1,"sites":[{"code":"PS1","settings":{"a":1.5}}]}`, `$.sites[0].settings.a: should be`},
		{`{"version":2}`, `$.version: is 2`},
		{`{"version":1,"hierarchy":null}`, `$.hierarchy: has no value`},
		{"{\"version\":1,\n\"sites\":[", `line 2, column 10: cut short`},
		{"{\"version\":1,\n\"sites\":[},", `line 2, column`},
		{`{"version":1} {}`, `something follows`},
		{strings.Repeat("[", 40), `nested deeper than 16`},
		{"{\"version\":1,\"hierarchy\":\"\xff\"}", `not UTF-8`},
		{`{"version":1,"assignments":[{"entry":"a","name":"x","sid":"S-9","source":"declared"}]}`, `$.assignments[0].sid: `},
		{`{"version":1,"assignments":[{"entry":"a","name":"x","source":"guessed"}]}`, `"guessed" is no source`},
		{`{"version":1,"attestations":[{"topic":"a","value":true,"owner":"x","made":"2026-01-02T00:00:00Z","expires":"2026-01-01T00:00:00Z"}]}`, `is not after it was made`},
		{`<html><body>401</body></html>`, `line 1, column 2`},
	} {
		_, err := ReadDocument([]byte(c.text))
		if !errors.Is(err, ErrDocument) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60s: %v, want …%s…", c.text, err, c.want)
		}
	}
}

const declaredFile = `# what the operators of PS1 say
hierarchy: contoso
sites:
- code: PS1
  name: Primary
  release: current-branch
  settings:
    push.automatic: false
    push.filters: 2
readings:
- class: assignments
  scope: PS1
  part: network-access # nobody
assignments:
- entry: client-push-installation
  site: PS1
  name: CONTOSO\svc-push
  firstSeen: 2025-03-01
exceptions:
- topic: password-age
  name: CONTOSO\svc-push
  owner: Ada
  reason: retired in spring
  expires: 2027-03-31
`

func TestDeclaredFilesNeedOnlyWhatPeopleKnow(t *testing.T) {
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	d, err := ReadDeclared("site.yaml", []byte(declaredFile), c, Provenance{Collector: "attestation", File: "site.yaml", At: readAt})
	if err != nil {
		t.Fatal(err)
	}
	a := d.Assignments[0]
	if a.Source != Declared || !a.FirstSeen.Equal(time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)) || !a.LastSeen.Equal(readAt) {
		t.Errorf("assignment %+v", a)
	}
	if _, ok := d.Filled(entryPush, "PS1"); !ok {
		t.Error("the file names the push account, and yet it is unknown who it is")
	}
	if _, ok := d.Filled(entryNetworkAccess, "PS1"); !ok {
		t.Error("the file says that there is no network access account")
	}
	if why, ok := d.Filled(entryForest, "PS1"); ok || why == "" {
		t.Error("the file says nothing of forest accounts")
	}
	if d.Sites[0].Settings["push.filters"] != int64(2) {
		t.Errorf("settings %v", d.Sites[0].Settings)
	}
}

func TestDeclaredErrorsNameTheLine(t *testing.T) {
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ from, to, want string }{
		{"client-push-installation", "client-push-instalation", `site.yaml:15: $.assignments[0].entry: "client-push-instalation" is no group or account`},
		{"  name: CONTOSO\\svc-push\n  first", "  nam: CONTOSO\\svc-push\n  first", `$.assignments[0].nam: there is no field of this name (is name meant?)`},
		{"push.filters", "push.filter", `site.yaml:9: $.sites[0].settings.'push.filter'`},
		{"hierarchy: contoso", "hierarchy: &a contoso", `site.yaml:2: anchors and aliases`},
		{"  owner: Ada\n", "", `$.exceptions[0]: has no owner`},
		{"hierarchy: contoso", "hierarchy: [contoso", `site.yaml:`},
	} {
		text := strings.Replace(declaredFile, x.from, x.to, 1)
		_, err := ReadDeclared("site.yaml", []byte(text), c, Provenance{At: readAt})
		if !errors.Is(err, ErrDocument) || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want …%s…", x.to, err, x.want)
		}
	}
}

// schemaOf compiles the published schema.
func schemaOf(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(schema.ConfigMgr()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("configmgr.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("configmgr.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSchemaIsThatOfTheTypes(t *testing.T) {
	s := schemaOf(t)
	var text bytes.Buffer
	if err := fullDocument(t).Write(&text); err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(&text)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(v); err != nil {
		t.Errorf("a document with every field does not follow the schema: %v", err)
	}
	var declared any
	if err := yaml.Unmarshal([]byte(strings.NewReplacer("2025-03-01", "2025-03-01T00:00:00Z", "2027-03-31", "2027-03-31T23:59:59Z").Replace(declaredFile)), &declared); err != nil {
		t.Fatal(err)
	}
	plain, err := json.Marshal(declared)
	if err != nil {
		t.Fatal(err)
	}
	if v, err = jsonschema.UnmarshalJSON(bytes.NewReader(plain)); err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(v); err != nil {
		t.Errorf("a declared file does not follow the schema: %v", err)
	}
	var tree struct {
		Properties map[string]any
		Defs       map[string]struct{ Properties map[string]any } `json:"$defs"`
	}
	if err := json.Unmarshal([]byte(schema.ConfigMgr()), &tree); err != nil {
		t.Fatal(err)
	}
	types := map[string]reflect.Type{}
	collectTypes(reflect.TypeFor[Document](), types)
	for name, typ := range types {
		props := tree.Properties
		if name != "document" {
			props = tree.Defs[name].Properties
		}
		have, want := sortedKeys(props), sortedKeys(fieldsOf(typ))
		if !reflect.DeepEqual(have, want) {
			t.Errorf("%s: the schema has %v, the type %v", name, have, want)
		}
	}
}

func collectTypes(typ reflect.Type, into map[string]reflect.Type) {
	switch typ.Kind() {
	case reflect.Slice, reflect.Map, reflect.Pointer:
		collectTypes(typ.Elem(), into)
	case reflect.Struct:
		name := strings.ToLower(typ.Name()[:1]) + typ.Name()[1:]
		if typ.Name() == "ACL" {
			name = "acl"
		}
		if reflect.PointerTo(typ).Implements(textUnmarshaler) || into[name] != nil {
			return
		}
		into[name] = typ
		for _, f := range fieldsOf(typ) {
			collectTypes(f, into)
		}
	}
}

func FuzzReadDocument(f *testing.F) {
	f.Add([]byte(`{"version":1,"sites":[{"code":"PS1","settings":{"a":["b"],"c":1}}],"assignments":[{"entry":"x","name":"C\\a","source":"declared"}]}`))
	f.Add([]byte(`{"version":1,"hosts":[{"name":"h","groups":{"g":[{"sid":"S-1-5-32-544"}]}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := ReadDocument(data)
		if err != nil {
			if !errors.Is(err, ErrDocument) {
				t.Fatalf("error without its kind: %v", err)
			}
			return
		}
		var text bytes.Buffer
		if err := d.Write(&text); err != nil {
			t.Fatal(err)
		}
		back, err := ReadDocument(text.Bytes())
		if err != nil {
			t.Fatalf("written, it cannot be read: %v\n%s", err, text.Bytes())
		}
		var again bytes.Buffer
		if err := back.Write(&again); err != nil || !bytes.Equal(text.Bytes(), again.Bytes()) {
			t.Fatalf("not the same again: %v", err)
		}
	})
}

func FuzzReadDeclared(f *testing.F) {
	f.Add([]byte(declaredFile))
	f.Add([]byte("sites: [{code: A01}]\nassignments:\n- {entry: x, name: y, made: 2020-01-01}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := ReadDeclared("f.yaml", data, nil, Provenance{At: readAt}); err != nil && !errors.Is(err, ErrDocument) {
			t.Fatalf("error without its kind: %v", err)
		}
	})
}

// A statement or exception whose last day is named holds until that day is over.
func TestDayOfExpiry(t *testing.T) {
	text := "version: 1\nattestations:\n  - {topic: gmsa-tested, value: true, owner: x, made: 2026-01-02, expires: 2026-01-02}\nexceptions:\n  - {topic: password-age, name: a, owner: x, reason: y, expires: 2026-01-03}\n"
	d, err := ReadDeclared("f.yaml", []byte(text), mustLoad(t), Provenance{Source: Declared})
	if err != nil {
		t.Fatal(err)
	}
	for got, want := range map[string]string{
		d.Attestations[0].Made.Format(time.RFC3339):    "2026-01-02T00:00:00Z",
		d.Attestations[0].Expires.Format(time.RFC3339): "2026-01-02T23:59:59Z",
		d.Exceptions[0].Expires.Format(time.RFC3339):   "2026-01-03T23:59:59Z",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
