package dc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// A Reader reads one domain through one domain controller at a time. It cannot
// write. It is safe for concurrent use: each search uses a connection of its
// own, and connections are kept for the next one.
type Reader struct {
	cfg  Config
	auth *kerberos // nil for a simple bind

	mu      sync.Mutex
	servers []Server // candidates, best first
	server  Server   // in use
	root    RootDSE
	idle    []*conn
	closed  bool

	security struct {
		sealed bool
		tls    string
	}
}

// maxIdle bounds the connections that wait for another search.
const maxIdle = 4

// Open finds a domain controller, authenticates to it and reads its rootDSE.
// Controllers that do not answer are passed over; a refused logon is not tried
// elsewhere, because each attempt counts towards the lockout of the account.
// The context bounds the opening only.
func Open(ctx context.Context, cfg Config) (*Reader, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	servers, err := cfg.discover(ctx)
	if err != nil {
		return nil, err
	}
	r := &Reader{cfg: cfg, servers: servers}
	if cfg.Bind == Kerberos {
		r.auth = newKerberos(cfg)
	}
	if err := r.useAny(ctx, Server{}); err != nil {
		return nil, err
	}
	return r, nil
}

// Close closes the idle connections. Searches that still run fail.
func (r *Reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, c := range r.idle {
		c.close()
	}
	r.idle = nil
	return nil
}

// Server returns the domain controller that answers now.
func (r *Reader) Server() Server {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.server
}

// Servers returns the candidates in the order of preference.
func (r *Reader) Servers() []Server {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.servers)
}

// Root returns the rootDSE of the domain controller that answers now, as it was
// when the Reader began to use it.
func (r *Reader) Root() RootDSE {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.root
}

// Domain returns the DNS name of the domain.
func (r *Reader) Domain() string {
	if r.cfg.Domain != "" {
		return r.cfg.Domain
	}
	return r.Root().Domain()
}

// useAny makes the first candidate that answers the one in use, leaving out bad.
func (r *Reader) useAny(ctx context.Context, bad Server) error {
	var errs []error
	for _, s := range r.Servers() {
		if s == bad {
			continue
		}
		c, root, err := r.connect(ctx, s)
		if err == nil {
			r.use(c, root)
			return nil
		}
		if !tryElsewhere(err) || ctx.Err() != nil {
			return err
		}
		errs = append(errs, err)
	}
	if len(errs) == 1 {
		return errs[0]
	}
	if len(errs) == 0 {
		return &Error{Kind: ErrUnreachable, Op: "changing to another domain controller", Detail: "no other one is known"}
	}
	return &Error{Kind: KindOf(errs[0]), Op: "connecting to any of the domain controllers", Err: errors.Join(errs...)}
}

// use switches to the server of c. Idle connections to another one are closed.
func (r *Reader) use(c *conn, root RootDSE) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.server != c.server {
		for _, old := range r.idle {
			old.close()
		}
		r.idle = nil
	}
	r.server, r.root = c.server, root
	r.security.sealed = c.sealed
	if c.tls != nil {
		r.security.tls = tls.VersionName(c.tls.Version)
	}
	// The candidate may have been an address without a name.
	for i, s := range r.servers {
		if s.Addr == c.server.Addr {
			r.servers[i] = c.server
		}
	}
	r.idle = append(r.idle, c)
}

// tryElsewhere reports whether another domain controller may do better.
func tryElsewhere(err error) bool {
	switch KindOf(err) {
	case ErrUnreachable, ErrConnectionLost, ErrTimeout, ErrBusy, ErrUnavailable, ErrTLS, ErrCertExpired, ErrProtocol:
		return true
	}
	return false
}

// connect dials and authenticates, and reads the rootDSE: without TLS twice,
// because what came in clear is only good for authenticating.
func (r *Reader) connect(ctx context.Context, s Server) (*conn, RootDSE, error) {
	return signIn{r.cfg, r.auth}.connect(ctx, s)
}

// A signIn makes authenticated connections, for reading or writing.
type signIn struct {
	cfg  Config
	auth *kerberos // nil for a simple bind
}

func (r signIn) connect(ctx context.Context, s Server) (*conn, RootDSE, error) {
	c, err := dialConn(ctx, r.cfg, s)
	if err != nil {
		return nil, RootDSE{}, err
	}
	root, err := c.rootDSE(ctx, r.cfg.Now)
	if err == nil {
		c.server.Name = fullName(s.Name, root.DNSHostName)
		err = r.checkDomain(c.server, root)
	}
	if err == nil {
		err = r.bind(ctx, c, root)
	}
	if err == nil && c.sealed {
		if root, err = c.rootDSE(ctx, r.cfg.Now); err == nil {
			err = r.checkDomain(c.server, root)
		}
	}
	if err != nil {
		c.close()
		return nil, RootDSE{}, err
	}
	return c, root, nil
}

// fullName prefers the name that the caller or DNS gave; the server's own word
// only completes a short name or stands in for an address.
func fullName(given, announced string) string {
	if given == "" || !strings.Contains(given, ".") && strings.HasPrefix(announced, given+".") {
		return announced
	}
	return given
}

// checkDomain refuses a domain controller of another domain.
func (r signIn) checkDomain(s Server, root RootDSE) error {
	if r.cfg.Domain == "" || strings.EqualFold(r.cfg.Domain, root.Domain()) {
		return nil
	}
	return &Error{
		Kind: ErrConfig, Op: "connecting", Server: s.String(),
		Detail: fmt.Sprintf("it serves the domain %s, not %s", root.Domain(), r.cfg.Domain),
	}
}

// bind authenticates a new connection.
func (r signIn) bind(ctx context.Context, c *conn, root RootDSE) error {
	if r.auth == nil {
		return c.simpleBind(ctx, r.cfg.Credentials)
	}
	return r.auth.bind(ctx, c, root.Domain())
}

// acquire returns a connection to the server in use.
func (r *Reader) acquire(ctx context.Context) (*conn, error) {
	for {
		r.mu.Lock()
		if r.closed {
			r.mu.Unlock()
			return nil, &Error{Kind: ErrConfig, Op: "searching", Detail: "the reader is closed"}
		}
		server := r.server
		n := len(r.idle)
		if n == 0 {
			r.mu.Unlock()
			c, _, err := r.connect(ctx, server)
			return c, err
		}
		c := r.idle[n-1]
		r.idle = r.idle[:n-1]
		r.mu.Unlock()
		if !c.stale() {
			return c, nil
		}
		c.close()
	}
}

// release keeps a connection that is in order for the next search.
func (r *Reader) release(c *conn) {
	r.mu.Lock()
	keep := !c.broken && !r.closed && c.server == r.server && len(r.idle) < maxIdle
	if keep {
		r.idle = append(r.idle, c)
	}
	r.mu.Unlock()
	if !keep {
		c.close()
	}
}

// failover changes to another domain controller, unless another search has
// already done so since bad failed.
func (r *Reader) failover(ctx context.Context, bad Server) (Server, error) {
	if now := r.Server(); now != bad {
		return now, nil
	}
	if err := r.useAny(ctx, bad); err != nil {
		return Server{}, err
	}
	return r.Server(), nil
}
