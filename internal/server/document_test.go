package server

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/api"
	"github.com/leastwise/leastwise/internal/grant"
)

// An operation is what the OpenAPI document says of one.
type operation struct {
	id, method, path, tag string
	public                bool
	query, inPath         []string          // names of parameters
	body                  map[string]string // type of each field of the body by name; nil: no body
}

// schema is the part of a JSON schema that tests look at.
type schema struct {
	Ref        string            `json:"$ref"`
	Type       any               `json:"type"`
	Properties map[string]schema `json:"properties"`
}

func (s *schema) kind() string {
	switch t := s.Type.(type) {
	case string:
		return t
	case []any: // "null" beside another
		for _, x := range t {
			if name, ok := x.(string); ok && name != "null" {
				return name
			}
		}
	}
	return ""
}

// operations reads the document that the server serves: whatever is not in it, tests that
// go by it do not see.
func (w *world) operations() (out []operation) {
	w.t.Helper()
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string   `json:"operationId"`
			Tags        []string `json:"tags"`
			Security    []any    `json:"security"`
			Parameters  []struct{ Name, In string }
			RequestBody *struct {
				Content map[string]struct{ Schema schema }
			} `json:"requestBody"`
		}
		Components struct{ Schemas map[string]schema }
	}
	w.nobody().do("GET", "/openapi.json", nil).into(w.t, &doc)
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		for _, method := range slices.Sorted(maps.Keys(doc.Paths[path])) {
			o := doc.Paths[path][method]
			op := operation{id: o.OperationID, method: strings.ToUpper(method), path: path, public: len(o.Security) == 0}
			if len(o.Tags) > 0 {
				op.tag = o.Tags[0]
			}
			for _, p := range o.Parameters {
				switch p.In {
				case "query":
					op.query = append(op.query, p.Name)
				case "path":
					op.inPath = append(op.inPath, p.Name)
				}
			}
			if o.RequestBody != nil {
				op.body = map[string]string{}
				s := o.RequestBody.Content["application/json"].Schema
				if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
					s = doc.Components.Schemas[name]
				}
				for name, p := range s.Properties {
					op.body[name] = p.kind()
				}
			}
			out = append(out, op)
		}
	}
	return out
}

// The document has every route that the server answers, and says of each whether somebody
// has to be signed in. So tests that go by the document go by the server.
func TestDocumentIsTheServer(t *testing.T) {
	w := newWorld(t)
	ops := map[string]operation{}
	for _, o := range w.operations() {
		ops[o.id] = o
	}
	if len(ops) != len(w.srv.routes) || len(ops) < 40 {
		t.Errorf("%d operations in the document, %d routes", len(ops), len(w.srv.routes))
	}
	for _, r := range w.srv.routes {
		if o := ops[r.id]; o.method != r.method || o.path != r.path || o.public != r.public {
			t.Errorf("%s: the document says %s %s, public %v; the server %s %s, %v", r.id, o.method, o.path, o.public, r.method, r.path, r.public)
		}
	}
}

// valid is a body that the operation takes.
func (o *operation) valid(t *testing.T) map[string]any {
	t.Helper()
	out := map[string]any{}
	switch b := access[o.id].body.(type) {
	case nil, string:
	default:
		data, err := json.Marshal(b)
		if err != nil || json.Unmarshal(data, &out) != nil {
			t.Fatal(o.id, err)
		}
	}
	return out
}

// No operation that changes something can be sent by a browser for another site.
func TestCrossSiteEverywhere(t *testing.T) {
	w := newWorld(t)
	g := w.as("ben").request("guarded")
	of := idsOf(t, w.strong("fay"))
	root := w.strong("root")
	for _, o := range w.operations() {
		if o.method == http.MethodGet {
			continue
		}
		for name, h := range map[string]http.Header{
			"by a browser that tells": {"Sec-Fetch-Site": {"cross-site"}}, "by one that tells the origin": {"Origin": {"https://evil.test"}},
			"as a form": {"Origin": {"https://evil.test"}, "Content-Type": {"application/x-www-form-urlencoded"}},
		} {
			root.header = h
			before := root.secret
			a := root.do(o.method, o.target(g.ID, of), o.valid(t))
			if a.code() != api.CodeCrossOrigin || root.secret != before {
				t.Errorf("%s %s: %d %s", o.id, name, a.Code, a.Body)
			}
		}
	}
	root.header = nil
	if a := root.do("GET", "/v1/session", nil); a.Code != http.StatusOK {
		t.Errorf("the session: %d %s", a.Code, a.Body)
	}
}

// Bodies that are too large, or are not what the document describes, are refused by every
// operation, with a problem that repeats nothing of them.
func TestBadBodiesEverywhere(t *testing.T) {
	w := newWorld(t)
	g := w.as("ben").request("guarded")
	of := idsOf(t, w.strong("fay"))
	const canary = "s3cr3t-canary"
	bodies := map[string]string{
		"too large": `{"reason":"` + strings.Repeat("x", maxBody) + `"}`, "no JSON": canary, "cut short": `{"reason":"` + canary, "a list": `["` + canary + `"]`,
		"unknown field": `{"no-such-field":"` + canary + `"}`, "deep": strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000),
		"not UTF-8": "{\"reason\":\"" + canary + "\xff", "two": `{}{"` + canary + `":1}`,
	}
	for _, o := range w.operations() {
		if o.body == nil {
			continue
		}
		for name, body := range bodies {
			c := w.as("root")
			a := c.do(o.method, o.target(g.ID, of), body)
			raw := len(o.body) == 0 // any JSON: what an authenticator says
			switch {
			case name == "too large" && a.code() != api.CodeTooLarge, name != "too large" && !raw && a.code() != api.CodeInvalid, a.Code < 400, a.Code >= 500:
				t.Errorf("%s, %s: %d %s", o.id, name, a.Code, a.Body)
			case strings.Contains(a.Body.String(), canary), a.Header().Get("Content-Type") != "application/problem+json":
				t.Errorf("%s, %s: %s %s", o.id, name, a.Header().Get("Content-Type"), a.Body)
			}
			w.pass(1e9)
		}
		for field, kind := range o.body { // of another type each
			body := o.valid(t)
			body[field] = map[string]any{canary: 1}
			if kind == "object" {
				body[field] = canary
			}
			a := w.as("root").do(o.method, o.target(g.ID, of), body)
			if a.code() != api.CodeInvalid || strings.Contains(a.Body.String(), canary) {
				t.Errorf("%s, %s of another type: %d %s", o.id, field, a.Code, a.Body)
			}
			w.pass(1e9)
		}
	}
	if strings.Contains(w.log.String(), canary) {
		t.Error("the log repeats the input")
	}
}

// Texts that mean something to LDAP, SQL, JSON, terminals and paths mean nothing in any
// string that an operation takes, in body, query or path: the server does not fault, finds
// nobody by them, and does nothing to anybody else.
func TestInjectionEverywhere(t *testing.T) {
	w := newWorld(t)
	g := w.as("ben").request("guarded")
	of := idsOf(t, w.strong("fay"))
	ops := w.operations()
	fields := 0
	for i, x := range injections {
		for _, name := range []string{"ben", "root"} {
			c := w.as(name)
			try := func(what string, a answer) {
				t.Helper()
				fields++
				if a.Code >= 500 && a.Code != http.StatusNotImplemented {
					t.Errorf("%s as %s, %q: %d %s", what, name, x, a.Code, a.Body)
				}
			}
			for _, o := range ops {
				if o.id == "sign-out" || o.public && i%4 > 0 { // limits of tries
					continue
				}
				if o.id == "follow-events" {
					close(w.srv.closing)
				}
				for field, kind := range o.body {
					body := o.valid(t)
					switch kind {
					case "string":
						body[field] = x
					case "array":
						body[field] = []string{x}
					default:
						continue
					}
					try(o.id+" "+field, c.do(o.method, o.target(g.ID, of), body))
				}
				for _, p := range o.query {
					try(o.id+" ?"+p, c.do(o.method, o.target(g.ID, of)+"?"+p+"="+escape(x), nil))
				}
				for _, p := range o.inPath {
					try(o.id+" {"+p+"}", c.do(o.method, strings.ReplaceAll(o.path, "{"+p+"}", url.PathEscape(x)), nil))
				}
				if o.id == "follow-events" {
					w.srv.closing = make(chan struct{})
				}
			}
		}
		w.pass(3600e9)
	}
	if fields < 2000 {
		t.Errorf("%d fields were tried", fields)
	}
	list, err := w.db.Grants().List(t.Context(), grant.Page{Limit: 1000})
	w.ok(err)
	for _, x := range list {
		if holder := x.Holder.Account; holder != w.find("ben").GUID {
			t.Errorf("a grant for %s came about", x.Holder.Name)
		}
	}
	var s api.Sessions
	w.as("fay").do("GET", "/v1/sessions", nil).into(t, &s)
	if len(s.Items) == 0 {
		t.Error("somebody's sessions ended")
	}
}
