package server

import (
	"context"
	"encoding/json"
	"html/template"
	"net/http"
	"reflect"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/leastwise/leastwise/internal/api"
	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/store"
)

// Patterns of the routes that are no part of the document.
const (
	routeHealth   = "GET /healthz"
	routeReady    = "GET /readyz"
	routeMetrics  = "GET /metrics"
	routeDocument = "GET /openapi.json"
	routePage     = "GET /{$}"
)

// plainRoutes lists them.
func plainRoutes() []string {
	return []string{routeHealth, routeReady, routeMetrics, routeDocument, routePage}
}

// Types of schemas that are made by hand.
var (
	reflectProblem = reflect.TypeFor[api.Problem]()
	reflectEvent   = reflect.TypeFor[api.Event]()
)

func (s *Server) registerPlain() {
	s.mux.HandleFunc(routeHealth, func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, api.Health{Status: "ok"}) })
	s.mux.HandleFunc(routeReady, s.serveReady())
	s.mux.HandleFunc(routeMetrics, s.through(s.serveMetrics))
	s.mux.HandleFunc(routeDocument, s.through(s.serveDocument()))
	s.mux.HandleFunc(routePage, s.through(s.servePage))
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may be gone
}

// readyFor is how long an answer about readiness is kept, since anybody may ask.
const readyFor = 2 * time.Second

// serveReady tells whether the server can do its work: not why not, which the log does.
// One request looks; the others meanwhile get the answer before, or wait for the first.
func (s *Server) serveReady() http.HandlerFunc {
	var (
		mu    sync.Mutex // guards what follows
		last  api.Health
		at    time.Time
		first = make(chan struct{}) // closed when there is an answer
		busy  bool
	)
	ask := func() (h api.Health, look, known bool) {
		mu.Lock()
		defer mu.Unlock()
		known = last.Status != ""
		now := s.cfg.Now()
		if look = !busy && (!known || now.Sub(at) > readyFor || now.Before(at)); look {
			busy = true
		}
		return last, look, known
	}
	keep := func(h api.Health) {
		mu.Lock()
		defer mu.Unlock()
		if last.Status == "" {
			close(first)
		}
		last, at, busy = h, s.cfg.Now(), false
	}
	return func(w http.ResponseWriter, r *http.Request) {
		h, look, known := ask()
		switch {
		case look:
			h = s.readiness(r.Context())
			keep(h)
		case !known:
			select {
			case <-first:
			case <-r.Context().Done():
				return
			}
			mu.Lock()
			h = last
			mu.Unlock()
		}
		status := http.StatusOK
		if h.Status != "ok" {
			status = http.StatusServiceUnavailable
		}
		writeJSON(w, status, h)
	}
}

func (s *Server) readiness(ctx context.Context) api.Health {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	h := api.Health{Status: "ok", Checks: map[string]string{}}
	for name, check := range map[string]func() error{
		"database":  func() error { _, err := s.head(ctx); return err },
		"directory": func() error { _, err := s.cfg.Directory.Time(ctx); return err },
		"worker": func() error {
			if s.cfg.Ready == nil {
				return nil
			}
			return s.cfg.Ready()
		},
	} {
		h.Checks[name] = "ok"
		if err := check(); err != nil {
			h.Checks[name], h.Status = "away", "not-ready"
			s.cfg.Log.WarnContext(ctx, "not ready", "check", name, "error", err.Error())
		}
	}
	return h
}

// serveMetrics answers programs on this machine, and callers who may read assessments.
func (s *Server) serveMetrics(w http.ResponseWriter, r *http.Request) {
	if !loopback(r) {
		c, err := s.identify(r)
		if err == nil {
			err = s.may(r.Context(), c, operator.AssessRead, onServer)
		}
		if err != nil {
			writeProblem(w, r, s.problem(r.Context(), err))
			return
		}
	}
	s.metrics.handler().ServeHTTP(w, r)
}

// Describe implements [prometheus.Collector].
func (s *Server) Describe(ch chan<- *prometheus.Desc) { s.metrics.grants.Describe(ch) }

// Collect implements [prometheus.Collector]: grants are counted when they are asked for.
func (s *Server) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, st := range grant.States() {
		if st == grant.None || st.Finished() {
			continue
		}
		list, err := s.cfg.Grants.List(ctx, grant.Page{States: []grant.State{st}, Limit: maxScanned})
		if err != nil {
			ch <- prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(store.ErrUnreachable), store.ErrUnreachable)
			return
		}
		s.metrics.grants.WithLabelValues(string(st)).Set(float64(len(list)))
	}
	s.metrics.grants.Collect(ch)
}

// Document returns the OpenAPI document as indented JSON.
func (s *Server) Document() ([]byte, error) { return json.MarshalIndent(s.huma.OpenAPI(), "", "  ") }

func (s *Server) serveDocument() http.HandlerFunc {
	text := sync.OnceValues(s.Document)
	return func(w http.ResponseWriter, r *http.Request) {
		b, err := text()
		if err != nil {
			writeProblem(w, r, s.problem(r.Context(), err))
			return
		}
		w.Header().Set("Content-Type", "application/vnd.oai.openapi+json;version=3.1")
		_, _ = w.Write(b)
	}
}

// page is what a browser sees: what there is, without scripts.
var page = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>leastwise</title>
<style>body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1b1b1b;background:#fff}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #ddd;vertical-align:top}code{font-size:.9em}
@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}td,th{border-color:#444}a{color:#8cf}}</style></head>
<body><h1>leastwise</h1><p>This is the server of leastwise {{.Version}}. Its API is described in <a href="/openapi.json">openapi.json</a> (OpenAPI 3.1);
<code>leastwise grant --help</code> is a client of it.</p>
<table><thead><tr><th>Call</th><th>What it does</th></tr></thead><tbody>{{range .Routes}}<tr><td><code>{{.Method}} {{.Path}}</code></td><td>{{.Summary}}</td></tr>{{end}}</tbody></table></body></html>
`))

// A pageRoute is a line of the page.
type pageRoute struct{ Method, Path, Summary string }

func (s *Server) servePage(w http.ResponseWriter, _ *http.Request) {
	v := struct {
		Version string
		Routes  []pageRoute
	}{Version: s.cfg.Version}
	for _, r := range s.routes {
		v.Routes = append(v.Routes, pageRoute{r.method, r.path, r.summary})
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = page.Execute(w, v) // the client may be gone
}
