package dc

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// A Writer changes objects of one domain. It is a type of its own beside [Reader],
// so that whoever holds a Reader cannot write.
//
// An object is addressed by its objectGUID, whatever it is called, and is written to
// and read through one domain controller, chosen by a rule that gives the same answer
// in every process (see [Writer.ServerFor]): two writes to one object never race
// through replication. Connections are bound, sealed by Kerberos or inside verified
// TLS, and kept for the next request.
//
// It is safe for concurrent use. At most one write is in flight for one object and
// attribute value; others wait.
type Writer struct {
	sign signIn

	mu      sync.Mutex
	servers []Server         // candidates, sorted by name
	lanes   map[string]*lane // by the candidate's key
	pinned  map[secdesc.GUID]string
	flights map[flight]chan struct{}
	closed  bool
}

// A lane is what a Writer has of one domain controller.
type lane struct {
	server   Server // name completed once connected
	root     RootDSE
	known    bool // root was read
	readOnly bool
	bare     bool // it tells no metadata of links
	idle     []*conn
	age      int           // grows when the connections that stand are given up
	slots    chan struct{} // as many as connections may be open
}

// A flight is a write that nobody else may make at the same time.
type flight struct{ object, value secdesc.GUID }

// maxWriterConns bounds the connections of a Writer to one domain controller.
const maxWriterConns = 8

// oidPartialSecrets is the capability of read-only domain controllers
// ([MS-ADTS] 3.1.1.3.4.3, LDAP_CAP_ACTIVE_DIRECTORY_PARTIAL_SECRETS_OID).
const oidPartialSecrets = "1.2.840.113556.1.4.1920"

// OpenWriter finds the domain controllers of a domain and signs in to one of them,
// to know at once that the account is good. With Config.Server only that one is
// ever written to; with Config.Site those of the site, if it has any. The context
// bounds the opening only.
func OpenWriter(ctx context.Context, cfg Config) (*Writer, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	servers, err := cfg.writable(ctx)
	if err != nil {
		return nil, err
	}
	w := &Writer{
		sign: signIn{cfg: cfg}, servers: servers, lanes: map[string]*lane{},
		pinned: map[secdesc.GUID]string{}, flights: map[flight]chan struct{}{},
	}
	if cfg.Bind == Kerberos {
		w.sign.auth = newKerberos(cfg)
	}
	for _, s := range servers {
		w.lanes[serverKey(s)] = &lane{server: s, slots: make(chan struct{}, maxWriterConns)}
	}
	return w, w.try(ctx)
}

// writable returns the candidates for writing in an order that does not depend on
// the answers of DNS, which come in turns.
func (c Config) writable(ctx context.Context) ([]Server, error) {
	servers, err := c.discover(ctx)
	if err != nil {
		return nil, err
	}
	if c.Site != "" && c.Server == "" {
		near, err := c.lookupSRV(ctx, "_ldap._tcp."+c.Site+"._sites.dc._msdcs."+c.Domain)
		if err != nil {
			return nil, err
		}
		inSite := slices.DeleteFunc(slices.Clone(servers), func(s Server) bool { return !slices.Contains(near, s.Name) })
		if len(inSite) > 0 {
			servers = inSite
		}
	}
	slices.SortFunc(servers, func(a, b Server) int { return cmp.Compare(serverKey(a), serverKey(b)) })
	return servers, nil
}

// serverKey names a candidate: its DNS name, which stays when its address changes.
func serverKey(s Server) string {
	if s.Name != "" {
		return strings.ToLower(s.Name)
	}
	return s.Addr.String()
}

// try signs in to the first candidate that answers.
func (w *Writer) try(ctx context.Context) error {
	var first error
	for _, s := range w.servers {
		l := w.lanes[serverKey(s)]
		c, err := w.take(ctx, l)
		if err == nil {
			w.put(l, c)
			return nil
		}
		if !tryElsewhere(err) && KindOf(err) != ErrReadOnly || ctx.Err() != nil {
			return err
		}
		first = cmpError(first, err)
	}
	return first
}

// Close closes the idle connections. Writes that still run end uncertain.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for _, l := range w.lanes {
		for _, c := range l.idle {
			c.close()
		}
		l.idle = nil
	}
	return nil
}

// Servers returns the domain controllers that may be written to.
func (w *Writer) Servers() []Server {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]Server, 0, len(w.servers))
	for _, s := range w.servers {
		if l := w.lanes[serverKey(s)]; !l.readOnly {
			out = append(out, l.server)
		}
	}
	return out
}

// Domain returns the DNS name of the domain, empty if only a server was named that
// has not answered yet.
func (w *Writer) Domain() string {
	if w.sign.cfg.Domain != "" {
		return w.sign.cfg.Domain
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.lanes {
		if l.known {
			return l.root.Domain()
		}
	}
	return ""
}

// ServerFor returns the domain controller that an object is written through: the one
// it was pinned to, else the one with the greatest hash of its name and the object's
// GUID. So every node makes the same choice, objects are spread over all domain
// controllers, and when one more is added only few objects move.
func (w *Writer) ServerFor(object secdesc.GUID) Server {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.laneFor(object).server
}

// Pin makes a domain controller, by DNS name or address, the one through which an
// object is written from now on. It is for going on where a journal says that an
// earlier write went, and for moving away from one that will not come back: a write
// that ended uncertain there may then still arrive by replication.
func (w *Writer) Pin(object secdesc.GUID, server string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, l := range w.lanes {
		if l == w.named(server) {
			w.pinned[object] = key
			return nil
		}
	}
	return &Error{Kind: ErrConfig, Op: "choosing the domain controller of object " + object.String(), Server: server, Detail: "it is none of those that may be written to"}
}

// laneFor is ServerFor; w.mu is held.
func (w *Writer) laneFor(object secdesc.GUID) *lane {
	if key, ok := w.pinned[object]; ok {
		return w.lanes[key]
	}
	var best *lane
	var most [sha256.Size]byte
	for _, s := range w.servers {
		key := serverKey(s)
		l := w.lanes[key]
		if l.readOnly && len(w.servers) > 1 {
			continue
		}
		h := sha256.Sum256(append([]byte(key), object[:]...))
		if best == nil || slices.Compare(h[:], most[:]) > 0 {
			best, most = l, h
		}
	}
	if best == nil {
		return w.lanes[serverKey(w.servers[0])]
	}
	return best
}

// acquire returns a connection to the domain controller of an object. A read-only one
// is found out by connecting, and passed over from then on.
func (w *Writer) acquire(ctx context.Context, object secdesc.GUID) (*lane, *conn, error) {
	for {
		w.mu.Lock()
		l := w.laneFor(object)
		w.mu.Unlock()
		c, err := w.take(ctx, l)
		if KindOf(err) == ErrReadOnly {
			w.mu.Lock()
			again := w.laneFor(object) != l
			w.mu.Unlock()
			if again {
				continue
			}
		}
		return l, c, err
	}
}

func (w *Writer) serverOf(l *lane) Server {
	w.mu.Lock()
	defer w.mu.Unlock()
	return l.server
}

// queue waits for the turn to have a connection of a lane, at most half of the time that there
// is: what is left is the server's, and a server that was not asked has not been slow.
func (w *Writer) queue(ctx context.Context, l *lane) error {
	select {
	case l.slots <- struct{}{}:
		return nil
	default:
	}
	wait := ctx
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		wait, cancel = context.WithTimeout(ctx, time.Until(end)/2)
		defer cancel()
	}
	select {
	case l.slots <- struct{}{}:
		return nil
	case <-wait.Done():
		return &Error{Kind: ErrCanceled, Op: "waiting for a connection", Server: w.serverOf(l).String(), Detail: "all connections are in use", Err: context.Cause(ctx)}
	}
}

// take returns a connection of a lane; put gives it back.
func (w *Writer) take(ctx context.Context, l *lane) (*conn, error) {
	if err := w.queue(ctx, l); err != nil {
		return nil, err
	}
	for {
		w.mu.Lock()
		if w.closed {
			w.mu.Unlock()
			<-l.slots
			return nil, &Error{Kind: ErrConfig, Op: "writing", Detail: "the writer is closed"}
		}
		n := len(l.idle)
		if n == 0 {
			break
		}
		c := l.idle[n-1]
		l.idle = l.idle[:n-1]
		w.mu.Unlock()
		if !c.stale() {
			return c, nil
		}
		c.close()
	}
	s := l.server
	w.mu.Unlock()
	c, err := w.connect(ctx, l, s)
	if err != nil {
		<-l.slots
	}
	return c, err
}

// Renew gives up the connections to a domain controller that stand, which may be dead without
// anybody having noticed, makes a new one beside all that are in use, and returns
// the controller's time as it tells it there. It is for who wants to know whether a domain
// controller that did not answer is back.
func (w *Writer) Renew(ctx context.Context, server string) (time.Time, error) {
	w.mu.Lock()
	l := w.named(server)
	if l == nil || w.closed {
		w.mu.Unlock()
		return time.Time{}, &Error{Kind: ErrConfig, Op: "choosing a domain controller", Server: server, Detail: "it is none of those that may be written to, or the writer is closed"}
	}
	idle := l.idle
	l.idle = nil
	l.age++
	s := l.server
	w.mu.Unlock()
	for _, c := range idle {
		c.close()
	}
	c, err := w.connect(ctx, l, s)
	if err != nil {
		return time.Time{}, err
	}
	t, err := c.time(ctx)
	if err != nil {
		c.close()
		return time.Time{}, err
	}
	w.keep(l, c)
	return t, nil
}

// connect signs in, and refuses what must not or cannot be written to.
func (w *Writer) connect(ctx context.Context, l *lane, s Server) (*conn, error) {
	c, root, err := w.sign.connect(ctx, s)
	if err != nil {
		return nil, err
	}
	if !c.sealed && (c.tls == nil || len(c.tls.VerifiedChains) == 0) { // the binds see to it; nothing is written if they did not
		c.close()
		return nil, &Error{Kind: ErrPlaintext, Op: "connecting for writing", Server: c.server.String()}
	}
	readOnly := slices.Contains(root.Capabilities, oidPartialSecrets)
	w.mu.Lock()
	l.server, l.root, l.known, l.readOnly = c.server, root, true, readOnly
	c.age = l.age
	w.mu.Unlock()
	if readOnly {
		c.close()
		return nil, &Error{Kind: ErrReadOnly, Op: "connecting for writing", Server: c.server.String()}
	}
	return c, nil
}

// put gives a connection back; a broken one is closed.
func (w *Writer) put(l *lane, c *conn) {
	w.keep(l, c)
	<-l.slots
}

// keep makes a connection one for the next request, if it is good and not one too many.
func (w *Writer) keep(l *lane, c *conn) {
	w.mu.Lock()
	keep := !c.broken && !w.closed && c.age == l.age && len(l.idle) < maxWriterConns
	if keep {
		l.idle = append(l.idle, c)
	}
	w.mu.Unlock()
	if !keep {
		c.close()
	}
}

// begin waits until no other write of this Writer is in flight for f. The returned
// function ends the flight.
func (w *Writer) begin(ctx context.Context, f flight) (end func(), err error) {
	for {
		w.mu.Lock()
		other, busy := w.flights[f]
		if !busy {
			mine := make(chan struct{})
			w.flights[f] = mine
			w.mu.Unlock()
			return func() {
				w.mu.Lock()
				delete(w.flights, f)
				w.mu.Unlock()
				close(mine)
			}, nil
		}
		w.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, &Error{Kind: ErrCanceled, Op: fmt.Sprintf("waiting for another write to object %s", f.object), Err: context.Cause(ctx)}
		}
	}
}

// Read reads attributes of an object on the domain controller that it is written
// through. The error is of kind [ErrNoSuchObject] if the object does not exist, is
// deleted, or may not be seen.
func (w *Writer) Read(ctx context.Context, object secdesc.GUID, q Request) (Entry, Server, error) {
	return w.ReadVia(ctx, object, object, q)
}

// ReadVia is Read on the domain controller that another object, via, is written through.
func (w *Writer) ReadVia(ctx context.Context, via, object secdesc.GUID, q Request) (Entry, Server, error) {
	l, c, err := w.acquire(ctx, via)
	if err != nil {
		return Entry{}, w.serverOf(l), err
	}
	e, err := c.readObject(ctx, object, q)
	w.put(l, c)
	return e, c.server, err
}

// guidDN is the name of an object that no renaming changes ([MS-ADTS] 3.1.1.3.1.2.4).
func guidDN(g secdesc.GUID) string { return fmt.Sprintf("<GUID=%x>", g[:]) }

// readObject reads one object by its GUID; a filter in q that it does not fit counts
// as no such object.
func (c *conn) readObject(ctx context.Context, object secdesc.GUID, q Request) (Entry, error) {
	q.Base, q.Scope = guidDN(object), ScopeBase
	doing := "reading object " + object.String()
	var controls []byte
	if q.SDFlags != 0 {
		controls = append(controls, encodeControl(oidSDFlags, true, tlv(0x30, berInt(0x02, int64(q.SDFlags))))...)
	}
	if q.ShowDeleted {
		controls = append(controls, encodeControl(oidShowDeleted, true, nil)...)
	}
	entries, r, err := c.lookup(ctx, q, controls)
	switch {
	case err != nil:
		return Entry{}, err
	case r.code != resultSuccess:
		return Entry{}, resultError(doing, c.server.String(), r)
	case len(entries) != 1:
		return Entry{}, &Error{Kind: ErrNoSuchObject, Op: doing, Server: c.server.String()}
	}
	return entries[0], nil
}
