package server

import (
	"context"
	"net/http"
	"path"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/leastwise/leastwise/internal/api"
	"github.com/leastwise/leastwise/internal/operator"
)

// Names of security schemes in the document.
const (
	schemeSession = "session"
	schemeBearer  = "token"
)

// A route is one operation: how it is called, and what it asks of the caller before
// its handler runs.
type route struct {
	id, method, path, tag, summary, text string

	public bool // nobody needs to be signed in
	// may is permitted for the whole server; empty: the handler asks, since it depends
	// on what the request is about.
	may   operator.Action
	keyed bool // takes an idempotency key
	// still: what the caller has to be permitted on the grant for a kept answer to be
	// repeated to him; of keyed routes.
	still  operator.Action
	status int // of success; 0: 200, or 204 without a body
	codes  []api.Code
}

// handler answers a request of a caller, who is nil on public routes.
type handler[I, O any] func(ctx context.Context, c *caller, in *I) (*O, error)

// add registers a route. Every error passes through Server.problem.
func add[I, O any](s *Server, r route, h handler[I, O]) {
	op := huma.Operation{
		OperationID: r.id, Method: r.method, Path: r.path, Summary: r.summary, Description: r.text, Tags: []string{r.tag},
		DefaultStatus: r.status, MaxBodyBytes: maxBody, BodyReadTimeout: s.read,
		Middlewares: huma.Middlewares{s.admit(r)},
	}
	if !r.public {
		op.Security = []map[string][]string{{schemeSession: {}}, {schemeBearer: {}}}
	}
	if r.keyed {
		op.Middlewares = append(op.Middlewares, s.once(r))
		op.Parameters = append(op.Parameters, &huma.Param{
			Name: headerKey, In: "header", Description: "Chosen by the client, 1 to 64 letters, digits, hyphens and underscores: the same request with the same key is done once.",
			Schema: &huma.Schema{Type: huma.TypeString, Pattern: "^[A-Za-z0-9_-]{1,64}$"},
		})
	}
	s.routes = append(s.routes, r)
	huma.Register(s.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := h(ctx, callerOf(ctx), in)
		if err != nil {
			p := s.problem(ctx, err)
			info(ctx).code = p.Code()
			return nil, headed(p)
		}
		return out, nil
	})
}

// headed gives a problem the headers that belong to it.
func headed(p *api.Problem) error {
	h := http.Header{}
	if p.Retry > 0 {
		h.Set("Retry-After", strconv.Itoa(p.Retry))
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Negotiate")
		h.Add("WWW-Authenticate", "Bearer")
	}
	if len(h) == 0 {
		return p
	}
	return huma.ErrorWithHeaders(p, h)
}

// refuse writes a problem from a middleware.
func (s *Server) refuse(ctx huma.Context, p *api.Problem) {
	r, w := humago.Unwrap(ctx)
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Negotiate")
		w.Header().Add("WWW-Authenticate", "Bearer")
	}
	info(r.Context()).code = p.Code()
	writeProblem(w, r, p)
}

// problems are the codes that a route may answer with, for the document.
func (r *route) problems() []api.Code {
	out := []api.Code{api.CodeInvalid, api.CodeInternal, api.CodeTooMany}
	if r.method == http.MethodPost {
		out = append(out, api.CodeTooSlow)
	}
	if !r.public {
		out = append(out, api.CodeUnauthorized, api.CodeForbidden, api.CodeDirectory, api.CodeStore)
	}
	if strings.Contains(r.path, "{") {
		out = append(out, api.CodeNotFound)
	}
	if r.keyed {
		out = append(out, api.CodeConflict)
	}
	return append(out, r.codes...)
}

// schemaName names a type in the document: those of package api by themselves, others
// with their package before.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if pkg := path.Base(t.PkgPath()); t.Name() != "" && pkg != "." && pkg != "api" && pkg != "server" {
		name = strings.ToUpper(pkg[:1]) + pkg[1:] + name
	}
	return name
}

// document completes the OpenAPI document: every answer that is an error is a problem.
func (s *Server) document() {
	doc := s.huma.OpenAPI()
	schema := doc.Components.Schemas.Schema(reflectProblem, true, "Problem")
	for _, r := range s.routes {
		item := doc.Paths[r.path]
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Delete} {
			if op == nil || op.OperationID != r.id {
				continue
			}
			delete(op.Responses, "default")
			for _, c := range r.problems() {
				p := api.NewProblem(c, "")
				key := strconv.Itoa(p.Status)
				text := p.Title
				if was := op.Responses[key]; was != nil && !strings.Contains(was.Description, text) {
					text = was.Description + ", or: " + text
				}
				op.Responses[key] = &huma.Response{Description: text, Content: map[string]*huma.MediaType{"application/problem+json": {Schema: schema}}}
			}
		}
	}
	delete(doc.Components.Schemas.Map(), "V2ErrorModel")
	delete(doc.Components.Schemas.Map(), "V2ErrorDetail")
}
