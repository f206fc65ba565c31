package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/leastwise/leastwise/internal/api"
	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/internal/store"
)

// ErrListen reports an address that the server does not listen on.
var ErrListen = errors.New("listening")

// A Config is what a server stands on. Store, Grants, Directory, Operators, Now and Log
// are required.
type Config struct {
	Version   string
	Store     *store.Store
	Grants    Grants
	Directory grant.Directory
	Operators *operator.Service
	Now       func() time.Time
	Log       *slog.Logger

	// Certificates of the server; nil serves plain HTTP, which is for loopback.
	Certificates *Certificates
	// Signer signs checkpoints of the audit log; nil: this server does not.
	Signer *audit.Signer
	// Witness is given each new checkpoint; nil: nobody is.
	Witness func(signed string) error
	// Seen returns the newest checkpoint that a witness has, empty if there is none: a log
	// that does not begin with it is not signed. nil: nobody has any.
	Seen func() (string, error)
	// Power says what membership of a group brings, by the newest snapshot; nil:
	// there is none.
	Power func(ctx context.Context, group secdesc.SID) (Power, error)
	// Changes says what changed in the directory between two moments; nil: it is not
	// looked at.
	Changes func(ctx context.Context, since, until time.Time) (Changes, error)
	// Ready says why the work on grants does not go on, nil if it does; may be nil.
	Ready func() error
}

// Grants is what the server needs of whoever works on grants.
type Grants interface {
	// Request asks for a grant and begins what follows from it, see [grant.Service.Request].
	Request(ctx context.Context, c grant.Caller, o grant.Order) (grant.Grant, error)
	// Do carries a command out and begins what follows from it, see [grant.Service.Do].
	Do(ctx context.Context, c grant.Caller, id grant.ID, cmd grant.Command) (grant.Grant, error)
	Grant(ctx context.Context, id grant.ID) (grant.Grant, error)
	List(ctx context.Context, p grant.Page) ([]grant.Grant, error)
	Policies() *grant.Policies
}

// A Server answers requests. Make one with New.
type Server struct {
	cfg     Config
	read    time.Duration // so long a body may take
	mux     *http.ServeMux
	huma    huma.API
	metrics *metrics
	events  *hub
	routes  []route // in the order of their registration

	closing  chan struct{} // closed when streams have to end
	closeAll sync.Once
	power    powerCache

	door, desk, logs *gate
	signs, pages     *gate
	pace             pace
	endpoints        endpoints
	among            amongCache
}

// New returns a server. It panics if a required part is missing, because that is a
// wiring bug.
func New(cfg Config) *Server { return newServer(cfg, readTimeout) }

// newServer is New for bodies that take so long.
func newServer(cfg Config, read time.Duration) *Server {
	if cfg.Store == nil || cfg.Grants == nil || cfg.Directory == nil || cfg.Operators == nil || cfg.Now == nil || cfg.Log == nil {
		panic("server.New: a required part is missing")
	}
	s := &Server{
		cfg: cfg, read: read, mux: http.NewServeMux(), metrics: newMetrics(), closing: make(chan struct{}),
		door: newGate(doorPlaces, doorShare, patience), desk: newGate(deskPlaces, deskShare, patience), logs: newGate(logPlaces, logShare, 0),
		signs: newGate(signPlaces, signShare, patience), pages: newGate(pagePlaces, pageShare, patience),
		pace: pace{poll: pollEvents, ping: pingEvery, write: eventWrite},
	}
	s.events = newHub(s)
	s.metrics.registry.MustRegister(s)
	hc := huma.DefaultConfig("leastwise", apiVersion)
	hc.Info.Description = description
	hc.DocsPath, hc.SchemasPath, hc.OpenAPIPath, hc.CreateHooks = "", "", "", nil
	hc.RejectUnknownQueryParameters = true
	hc.Transformers = []huma.Transformer{transform}
	hc.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaName)
	hc.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		schemeSession: {Type: "apiKey", In: "cookie", Name: api.CookieName, Description: "A session that a sign-in began. Browsers keep it; other clients may send the same value as a bearer token."},
		schemeBearer:  {Type: "http", Scheme: "bearer", Description: "An API token, or the value of a session."},
	}
	s.huma = humago.New(s.mux, hc)
	s.registerSessions()
	s.registerGrants()
	s.registerEvents()
	s.registerAudit()
	s.registerRuns()
	s.registerOperators()
	s.registerPlain()
	s.document()
	return s
}

// apiVersion is that of the API's form, not of the program.
const apiVersion = "1"

// description is the head of the OpenAPI document.
const description = `Power for minutes: who may have which privileged membership, for how long, who said so, and proof of it.

Sign in with Kerberos, a password or a client certificate, or send an API token. Errors are
problem details (RFC 9457) whose type is urn:leastwise:problem: and a stable code. Requests
that change something take an Idempotency-Key: the same request with the same key is done
once. Lists are read in pages: next holds the cursor of the following one.`

// Handler returns everything that the server answers.
func (s *Server) Handler() http.Handler {
	return s.around(s.bound(sameOrigin(find(s.mux))))
}

// Serve answers requests on l until ctx ends, and then lets those that run come to
// their end, for up to grace. It closes l. Streams are told to end at once.
func (s *Server) Serve(ctx context.Context, l net.Listener, grace time.Duration) error {
	if err := CheckListen(l.Addr().String(), s.cfg.Certificates == nil); err != nil {
		_ = l.Close()
		return err
	}
	h := &http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: headerTimeout, ReadTimeout: s.read, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		ConnContext: s.endpoints.begin, ConnState: s.endpoints.end,
	}
	done := make(chan error, 1)
	go func() {
		if s.cfg.Certificates == nil {
			done <- h.Serve(l)
			return
		}
		h.TLSConfig = s.endpoints.noting(s.cfg.Certificates.TLS())
		done <- h.ServeTLS(l, "", "")
	}()
	select {
	case err := <-done:
		s.endStreams()
		return fmt.Errorf("serving on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	s.endStreams()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := h.Shutdown(stop)
	if err != nil {
		err = errors.Join(fmt.Errorf("requests that had not ended after %s were cut off: %w", grace, err), h.Close())
	}
	return errors.Join(err, served(<-done))
}

// served is why a server ended, nil if it was told to.
func served(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (s *Server) endStreams() { s.closeAll.Do(func() { close(s.closing) }) }
