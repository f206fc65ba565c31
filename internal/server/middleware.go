package server

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/leastwise/leastwise/internal/api"
	"github.com/leastwise/leastwise/internal/operator"
)

// Limits of requests.
const (
	maxBody       = 64 << 10 // bytes; no valid body is near it
	maxHeader     = 128 << 10
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second // a body is small
	writeTimeout  = 90 * time.Second
	idleTimeout   = 2 * time.Minute
	callTimeout   = 60 * time.Second // of one request's work; streams have none
)

type contextKey uint8

const (
	keyRequest  contextKey = iota // *requestInfo
	keyCaller                     // *caller
	keyEndpoint                   // *endpoint
)

// A requestInfo is what is known of a request beside its content.
type requestInfo struct {
	id     string
	from   netip.Addr
	route  string // pattern, not the path: paths hold names
	caller string // who it is, once that is known
	code   api.Code
	tls    *tls.ConnectionState // nil without TLS
	old    operator.Secret      // of the session that a sign-in takes the place of, whether it is any good or not
}

func info(ctx context.Context) *requestInfo {
	if i, ok := ctx.Value(keyRequest).(*requestInfo); ok {
		return i
	}
	return &requestInfo{}
}

func requestID(ctx context.Context) string { return info(ctx).id }

// peer is the address that a request came from. Headers of proxies are not believed.
func peer(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// viaProxy reports whether a request says that somebody passed it on: then loopback
// says nothing about who asks.
func viaProxy(r *http.Request) bool {
	for _, h := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if r.Header.Get(h) != "" {
			return true
		}
	}
	return false
}

// A statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for [http.ResponseController].
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush is for streams.
func (w *statusWriter) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

// around is the outermost handler: an ID for the request, the log, metrics, and an
// answer if something panics.
func (s *Server) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		began := s.cfg.Now()
		i := &requestInfo{id: rand.Text(), from: peer(r), route: "none", tls: r.TLS}
		i.old = oldSecret(r)
		w := &statusWriter{ResponseWriter: rw}
		r = r.WithContext(context.WithValue(r.Context(), keyRequest, i))
		secure(w.Header())
		w.Header().Set("X-Request-Id", i.id)
		s.metrics.inFlight.Inc()
		defer func() {
			s.metrics.inFlight.Dec()
			if v := recover(); v != nil {
				if v == http.ErrAbortHandler { //nolint:errorlint // the very value
					panic(v)
				}
				s.cfg.Log.Error("request panicked", "request", i.id, "route", i.route, "panic", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
				if w.status == 0 {
					writeProblem(w, r, api.NewProblem(api.CodeInternal, ""))
				}
			}
			took := s.cfg.Now().Sub(began)
			s.metrics.request(i.route, r.Method, w.status, took)
			s.logRequest(r, i, w.status, took)
		}()
		next.ServeHTTP(w, r)
	})
}

// logRequest writes one line. It names the route, not the path, and neither headers
// nor queries nor bodies.
func (s *Server) logRequest(r *http.Request, i *requestInfo, status int, took time.Duration) {
	level := slog.LevelInfo
	switch {
	case status >= http.StatusInternalServerError:
		level = slog.LevelWarn
	case i.route == routeHealth || i.route == routeReady || i.route == routeMetrics:
		level = slog.LevelDebug
	}
	attrs := []slog.Attr{
		slog.String("request", i.id), slog.String("method", method(r)), slog.String("route", i.route), slog.Int("status", status),
		slog.Duration("took", took.Round(time.Microsecond)), slog.String("from", i.from.String()),
	}
	if i.caller != "" {
		attrs = append(attrs, slog.String("caller", i.caller))
	}
	s.cfg.Log.LogAttrs(context.WithoutCancel(r.Context()), level, "request", attrs...)
}

// method returns the method if it is one that clients use.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete, http.MethodPut, http.MethodPatch, http.MethodOptions:
		return r.Method
	}
	return "other"
}

// secure sets the headers that every answer has. The API shows nothing in a browser
// but its own small page, which needs neither scripts nor anything from elsewhere.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Cache-Control", "no-store")
	h.Set("Strict-Transport-Security", "max-age=31536000")
}

// bound limits how large requests are, and how long they take. Streams and exports take
// as long as they take. How many there are at once is bounded where it is known whose
// they are: see gate.
func (s *Server) bound(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = &timedBody{http.MaxBytesReader(w, r.Body, maxBody), w}
		if r.URL.Path == pathEvents || r.URL.Path == pathExport {
			next.ServeHTTP(w, r)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// A timedBody is a body that has to come in time. The framework sets that time also for a
// body that has none of its bytes to come; on a connection of HTTP/1 it would then end the
// work that the request asked for.
type timedBody struct {
	io.ReadCloser
	w http.ResponseWriter
}

// Read implements [io.Reader].
func (b *timedBody) Read(p []byte) (n int, err error) {
	n, err = b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		_ = http.NewResponseController(b.w).SetReadDeadline(time.Time{}) // a test's recorder knows none
	}
	return n, err
}

// busy is the answer to whoever found no place in time.
func busy() *api.Problem {
	p := api.NewProblem(api.CodeTooMany, "the server is busy")
	p.Status, p.Retry = http.StatusServiceUnavailable, 1
	return p
}

// through lets a request of somebody unknown in, outside the framework.
func (s *Server) through(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		leave, ok := s.pages.enter(r.Context(), neighbourhood(info(r.Context()).from))
		if !ok {
			writeProblem(w, r, busy())
			return
		}
		defer leave()
		next(w, r)
	}
}

// sameOrigin refuses what a browser sends on behalf of another site. Clients that are
// no browsers send neither of the headers that tell, and pass.
func sameOrigin(next http.Handler) http.Handler {
	c := http.NewCrossOriginProtection()
	c.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, r, api.NewProblem(api.CodeCrossOrigin, "open the server's own address"))
	}))
	return c.Handler(next)
}

// find answers for paths that there are not, as problems, and notes the route.
func find(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, pattern := mux.Handler(r)
		if pattern != "" && !plainQuery(r) {
			writeProblem(w, r, api.NewProblem(api.CodeInvalid, "the query cannot be read, or holds control characters"))
			return
		}
		if pattern != "" {
			info(r.Context()).route = pattern
			mux.ServeHTTP(w, r)
			return
		}
		probe := &discard{header: http.Header{}}
		h.ServeHTTP(probe, r)
		if probe.status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", probe.header.Get("Allow"))
			writeProblem(w, r, api.NewProblem(api.CodeMethod, ""))
			return
		}
		writeProblem(w, r, api.NewProblem(api.CodeNotFound, "there is no such path"))
	})
}

// plainQuery reports whether a query can be read and holds no control characters, which
// no parameter has a use for.
func plainQuery(r *http.Request) bool {
	q, err := url.ParseQuery(r.URL.RawQuery)
	for name, values := range q {
		for _, v := range append(values, name) {
			if strings.ContainsFunc(v, unicode.IsControl) || !utf8.ValidString(v) {
				return false
			}
		}
	}
	return err == nil
}

// A discard keeps nothing but status and header.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

// writeProblem answers outside the framework.
func writeProblem(w http.ResponseWriter, r *http.Request, p *api.Problem) {
	p.Request = requestID(r.Context())
	if p.Retry > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(p.Retry))
	}
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client may be gone
}

// loopback reports whether a request comes from this machine, and not through a proxy
// on it.
func loopback(r *http.Request) bool { return peer(r).IsLoopback() && !viaProxy(r) }

// CheckListen refuses to serve plain HTTP elsewhere than on loopback.
func CheckListen(address string, plain bool) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%w: %q is no address to listen on, such as 0.0.0.0:8443", ErrListen, address)
	}
	ip, err := netip.ParseAddr(host)
	if plain && (err != nil || !ip.IsLoopback()) {
		return fmt.Errorf("%w: plain HTTP is served on loopback only, by its address: %q is not", ErrListen, host)
	}
	return nil
}
