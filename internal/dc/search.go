package dc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Scope says how deep a search goes (RFC 4511 4.5.1.2).
type Scope uint8

// The scopes of a search.
const (
	ScopeBase Scope = iota
	ScopeOne
	ScopeSubtree
)

// SDFlags choose the parts of security descriptors ([MS-ADTS] 3.1.1.3.4.1.11).
// Reading the SACL needs SeSecurityPrivilege or the matching grant; without it a
// domain controller leaves out the whole descriptor.
type SDFlags uint8

// The parts of a security descriptor.
const (
	SDOwner SDFlags = 1 << iota
	SDGroup
	SDDACL
	SDSACL
)

// A Request is one search.
type Request struct {
	Base       string // distinguished name of any partition of the server; empty: rootDSE
	Scope      Scope
	Filter     string   // RFC 4515; empty: (objectClass=*)
	Attributes []string // empty: all user attributes
	SDFlags    SDFlags  // 0: no descriptor control is sent
	// ShowDeleted and ShowRecycled include deleted objects, ExtendedDN asks for
	// <GUID=…>;<SID=…>;dn, LinkTTL for <TTL=…> on time-bound links. LinkTTL is
	// left out where the server does not know it; see Result.LinkTTL.
	ShowDeleted  bool
	ShowRecycled bool
	ExtendedDN   bool
	LinkTTL      bool
	TypesOnly    bool
	SizeLimit    int           // entries; 0: no limit of ours. Reaching it is ErrSizeLimit.
	PageSize     int           // 0: the Reader's
	Timeout      time.Duration // for the whole search; 0: the context's only

	// Restart allows the search to begin again on another domain controller
	// after the one in use has failed. It is called first and must forget every
	// entry of this search; an error from it ends the search. Without it a
	// failure ends the search, so that two servers' answers never mix.
	Restart func(Restart) error
}

func (q Request) filter() string {
	if q.Filter == "" {
		return "(objectClass=*)"
	}
	return q.Filter
}

// A Restart tells that a search begins again on another domain controller.
type Restart struct {
	From, To Server
	At       Position // where the search on From had stopped
	Cause    error
}

// A Result tells how a search went.
type Result struct {
	Server    Server   // that gave every entry of this result
	Entries   int      //
	Pages     int      //
	Referrals []string // LDAP URLs that the server named and nobody followed
	Restarts  []Restart
	LinkTTL   bool // the link TTL control was in force
}

// Search calls fn for each entry, in the server's order, from one goroutine.
// Multivalued attributes that the server returns in ranges are complete. It
// returns nil only after the server has confirmed the end of the last page;
// otherwise the error is [ErrTruncated] and tells the position, or of another
// kind if no entry can have been missed. An error from fn ends the search and
// is returned as it is.
func (r *Reader) Search(ctx context.Context, q Request, fn func(Entry) error) (Result, error) {
	if q.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, q.Timeout)
		defer cancel()
	}
	if q.PageSize <= 0 {
		q.PageSize = r.cfg.PageSize
	}
	filter, err := encodeFilter(q.filter())
	if err != nil {
		return Result{}, err
	}
	var restarts []Restart
	for {
		s := &search{r: r, q: q, filter: filter, fn: fn}
		err := s.run(ctx)
		s.res.Restarts = restarts
		if err == nil || s.callerFailed || !r.mayRestart(ctx, q, err, len(restarts)) {
			return s.res, err
		}
		from := s.res.Server
		to, ferr := r.failover(ctx, from)
		if ferr != nil {
			return s.res, joinFailover(err, ferr)
		}
		again := Restart{From: from, To: to, At: s.position(), Cause: err}
		if err := q.Restart(again); err != nil {
			return s.res, err
		}
		restarts = append(restarts, again)
	}
}

// mayRestart reports whether a failed search may begin again elsewhere.
func (r *Reader) mayRestart(ctx context.Context, q Request, err error, restarts int) bool {
	return q.Restart != nil && !r.cfg.NoFailover && ctx.Err() == nil &&
		tryElsewhere(err) && restarts < len(r.Servers())
}

// joinFailover adds to the error that ended a search why no other domain
// controller could go on.
func joinFailover(err, ferr error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	c := *e
	c.Err = errors.Join(e.Err, fmt.Errorf("no other domain controller can take over: %w", ferr))
	return &c
}

// A search is one attempt on one domain controller.
type search struct {
	r      *Reader
	q      Request
	filter []byte
	fn     func(Entry) error
	res    Result
	lastDN string
	ranges *conn // second connection, for ranged values

	callerFailed bool // fn returned an error
	begun        bool // an entry had arrived that was not handed over
}

// A batch is a run of entries with what ended it. Batches carry entries from
// the goroutine that reads to the one that calls fn, so that the server's next
// page is on its way while this one is worked on.
type batch struct {
	entries []Entry
	refs    []string
	pages   int // that ended in this batch
	err     error
}

func (s *search) position() Position {
	return Position{Partition: s.q.Base, Entries: s.res.Entries, LastDN: s.lastDN}
}

const (
	batchEntries = 128
	batchQueue   = 16
)

// run performs the search on the server in use.
func (s *search) run(ctx context.Context) error {
	s.res.Server = s.r.Server()
	c, err := s.r.acquire(ctx)
	if err != nil {
		return s.cut(ctx, err)
	}
	s.res.Server = c.server
	controls := s.controls()
	inner, cancel := context.WithCancel(ctx)
	batches := make(chan batch, batchQueue)
	go func() {
		defer close(batches)
		produce(inner, c, s.q, s.filter, controls, batches)
	}()
	err = s.consume(inner, batches)
	cancel()
	for range batches { // wait for the goroutine; it has closed or finished its request
	}
	s.r.release(c)
	if s.ranges != nil {
		s.r.release(s.ranges)
	}
	if err == nil || s.callerFailed {
		return err
	}
	return s.cut(ctx, err)
}

// cut says where the search stopped. Refusals before the first page, about the
// base or the request itself, are not truncations.
func (s *search) cut(ctx context.Context, err error) error {
	err = ioError(ctx, fmt.Sprintf("searching %q", s.q.Base), s.res.Server.String(), err)
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Kind {
	case ErrNoSuchObject, ErrAccessDenied, ErrReferral, ErrUnsupported, ErrConfig, ErrServer, ErrStrongAuthRequired:
		if s.res.Entries == 0 && s.res.Pages == 0 && !s.begun {
			return err
		}
	}
	c := *e
	at := s.position()
	c.At = &at
	return &c
}

// controls encodes the request's controls, without paging.
func (s *search) controls() []byte {
	var b []byte
	q := s.q
	if q.SDFlags != 0 {
		b = append(b, encodeControl(oidSDFlags, true, tlv(0x30, berInt(0x02, int64(q.SDFlags))))...)
	}
	if q.ShowDeleted {
		b = append(b, encodeControl(oidShowDeleted, true, nil)...)
	}
	if q.ShowRecycled {
		b = append(b, encodeControl(oidShowRecycled, true, nil)...)
	}
	if q.ExtendedDN {
		b = append(b, encodeControl(oidExtendedDN, true, tlv(0x30, berInt(0x02, 1)))...)
	}
	if q.LinkTTL && s.r.Root().Supports(oidLinkTTL) {
		b = append(b, encodeControl(oidLinkTTL, true, nil)...)
		s.res.LinkTTL = true
	}
	return b
}

// consume hands the entries over.
func (s *search) consume(ctx context.Context, batches <-chan batch) error {
	for b := range batches {
		for _, e := range b.entries {
			if err := s.complete(ctx, &e); err != nil {
				s.begun = true
				return err
			}
			if err := s.fn(e); err != nil {
				s.callerFailed = true
				return err
			}
			s.res.Entries++
			s.lastDN = e.DN
		}
		s.res.Referrals = append(s.res.Referrals, b.refs...)
		s.res.Pages += b.pages
		if b.err != nil {
			return b.err
		}
	}
	return nil
}

// produce reads pages until the server confirms the end. The last batch carries
// the error, if there is one. It returns early only when ctx ends.
func produce(ctx context.Context, c *conn, q Request, filter, controls []byte, out chan<- batch) {
	p := &pager{c: c, q: q, names: names{}, out: out}
	defer c.watch(ctx)()
	op := encodeSearch(q, filter)
	var cookie []byte
	for {
		all := controls
		if q.paged() {
			all = append(slices.Clone(controls), encodePaging(q.PageSize, cookie)...)
		}
		id, err := c.send(ctx, op, all)
		if err == nil {
			cookie, err = p.page(ctx, id)
		}
		if err != nil || len(cookie) == 0 {
			p.b.err = err
			p.flush(ctx)
			return
		}
	}
}

func (q Request) paged() bool { return q.Scope != ScopeBase }

// A pager reads the answers to one search.
type pager struct {
	c     *conn
	q     Request
	names names
	b     batch
	out   chan<- batch
}

// flush hands the batch over. When the context has ended nobody waits for it,
// and the connection stands in the middle of a request.
func (p *pager) flush(ctx context.Context) {
	select {
	case p.out <- p.b:
	case <-ctx.Done():
		select {
		case p.out <- p.b:
		default:
		}
		p.c.broken = true
	}
	p.b = batch{}
}

// page reads the answers to one request and returns the cookie for the next
// page, empty at the end.
func (p *pager) page(ctx context.Context, id int64) (cookie []byte, err error) {
	for {
		m, err := p.c.receive(ctx, id)
		if err != nil {
			return nil, err
		}
		switch m.op {
		case opSearchEntry:
			e, err := parseEntry(m.body, p.names)
			if err != nil {
				return nil, p.c.protocolError("reading entry", err)
			}
			p.b.entries = append(p.b.entries, e)
			if len(p.b.entries) >= batchEntries {
				p.flush(ctx)
				if err := ctx.Err(); err != nil {
					return nil, err
				}
				p.b.entries = make([]Entry, 0, batchEntries)
			}
		case opSearchReference:
			uris, err := parseURIs(m.body)
			if err != nil {
				return nil, p.c.protocolError("reading referral", err)
			}
			p.b.refs = append(p.b.refs, uris...)
		case opSearchDone:
			return p.done(m)
		default:
			return nil, p.c.protocolError("searching", fmt.Errorf("answer has tag %#02x", m.op))
		}
	}
}

// done judges the end of a page. Success without a paging control does not
// prove that there is no more: it is a truncation.
func (p *pager) done(m message) (cookie []byte, err error) {
	r, err := parseResult(m.body)
	if err != nil {
		return nil, p.c.protocolError("reading end of page", err)
	}
	if r.code != resultSuccess {
		return nil, resultError(fmt.Sprintf("searching %q", p.q.Base), p.c.server.String(), r)
	}
	p.b.pages++
	if !p.q.paged() {
		return nil, nil
	}
	value, found, err := m.control(oidPaging)
	if err != nil {
		return nil, p.c.protocolError("reading end of page", err)
	}
	if !found {
		return nil, &Error{
			Kind: ErrTruncated, Op: fmt.Sprintf("searching %q", p.q.Base), Server: p.c.server.String(),
			Detail: "the server ended the search without the paging control that proves its end",
		}
	}
	cookie, err = parsePaging(value)
	if err != nil {
		return nil, p.c.protocolError("reading end of page", err)
	}
	return slices.Clone(cookie), nil
}

// rangeOption splits "member;range=0-1499" into name, first and last; last is -1
// for "*".
func rangeOption(name string) (base string, first, last int, ok bool) {
	base, opt, found := strings.Cut(name, ";")
	if !found || len(opt) < 6 || !strings.EqualFold(opt[:6], "range=") {
		return name, 0, 0, false
	}
	from, to, found := strings.Cut(opt[6:], "-")
	first, err := strconv.Atoi(from)
	if !found || err != nil || first < 0 {
		return name, 0, 0, false
	}
	if to == "*" {
		return base, first, -1, true
	}
	if last, err = strconv.Atoi(to); err != nil || last < first {
		return name, 0, 0, false
	}
	return base, first, last, true
}
