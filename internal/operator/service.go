package operator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Times says how long things hold. Zero fields mean the defaults.
type Times struct {
	Idle    time.Duration // a session without a request ends; default 30 minutes
	Longest time.Duration // and each at this age; default 10 hours
	StepUp  time.Duration // a second factor counts as fresh; default 5 minutes
	Fresh   time.Duration // a first factor is fresh enough to enrol a second; default 10 minutes
	Token   time.Duration // the longest life of an API token; default 12 hours
	Code    time.Duration // an enrolment code; default 24 hours
	Cache   time.Duration // age of what the directory said, where it may be cached; at most and by default 30 seconds
}

// maxCache is how old the directory's answer may be at most.
const maxCache = 30 * time.Second

func (t Times) withDefaults() Times {
	for _, d := range []struct {
		at   *time.Duration
		is   time.Duration
		most time.Duration
	}{
		{&t.Idle, 30 * time.Minute, 24 * time.Hour},
		{&t.Longest, 10 * time.Hour, 24 * time.Hour},
		{&t.StepUp, 5 * time.Minute, time.Hour},
		{&t.Fresh, 10 * time.Minute, time.Hour},
		{&t.Token, 12 * time.Hour, 24 * time.Hour},
		{&t.Code, 24 * time.Hour, 7 * 24 * time.Hour},
		{&t.Cache, maxCache, maxCache},
	} {
		if *d.at <= 0 {
			*d.at = d.is
		}
		*d.at = min(*d.at, d.most)
	}
	return t
}

// Options are what a Service is made of.
type Options struct {
	Store      Store      // required
	Membership Membership // required
	Policies   *Policies  // required
	Keys       *Keys      // seal what must be kept readable; required

	Authenticator Authenticator // nil: no sign-in by Kerberos or password
	Certificates  *Certificates // nil: none by client certificate
	RelyingParty  RelyingParty  // zero: no WebAuthn
	Issuer        string        // name in authenticator apps; default "leastwise"
	Times         Times
	// Invite demands an enrolment code ([Service.Invite]) for the first second factor
	// of every account, not only after a recovery.
	Invite bool
	Random io.Reader // nil: crypto/rand
}

// Service keeps callers, sessions, second factors and tokens, and decides what each may
// do. Its methods may be called from several goroutines; several services, on several
// nodes, may share one store.
type Service struct {
	store   Store
	members Membership
	auth    Authenticator
	certs   *Certificates
	keys    *Keys
	web     *webauthn.WebAuthn // nil: none
	issuer  string
	invite  bool
	times   Times
	random  io.Reader

	mu       sync.Mutex // guards what follows
	policies *Policies
	cache    map[secdesc.GUID]asked
	silent   map[string]int // refusals without an entry, by address
	muted    map[secdesc.GUID]*muted
}

// New returns a service.
func New(o Options) (*Service, error) {
	if o.Store == nil || o.Membership == nil || o.Policies == nil || o.Keys == nil {
		return nil, errors.New("making the service of operators: store, membership, policies and keys are required")
	}
	if o.Certificates != nil {
		if err := o.Certificates.Check(); err != nil {
			return nil, err
		}
	}
	web, err := o.RelyingParty.open()
	if err != nil {
		return nil, fmt.Errorf("setting up WebAuthn: %w", err)
	}
	s := &Service{
		store: o.Store, members: o.Membership, auth: o.Authenticator, certs: o.Certificates, keys: o.Keys, web: web, issuer: o.Issuer,
		invite: o.Invite, times: o.Times.withDefaults(), random: o.Random, policies: o.Policies, cache: map[secdesc.GUID]asked{}, silent: map[string]int{},
		muted: map[secdesc.GUID]*muted{},
	}
	if s.random == nil {
		s.random = rand.Reader
	}
	if s.issuer == "" {
		s.issuer = "leastwise"
	}
	return s, nil
}

// Use replaces the policies, and logs that: c may administer.
func (s *Service) Use(ctx context.Context, c Caller, p *Policies) error {
	if _, err := s.Authorize(ctx, c, Administer, Server()); err != nil {
		return err
	}
	e := c.entry(audit.Fact, "operator.policies", fmt.Sprintf("%d policies", len(p.List())))
	e.Digest = p.digest
	if err := s.append(ctx, e); err != nil {
		return fmt.Errorf("replacing policies: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policies = p
	clear(s.cache)
	return nil
}

// Policies returns the policies in use.
func (s *Service) Policies() *Policies {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.policies
}

// Times returns how long things hold.
func (s *Service) Times() Times { return s.times }

// append writes entries by themselves.
func (s *Service) append(ctx context.Context, entries ...audit.Entry) error {
	return s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		_, err := audit.Append(ctx, tx, entries...)
		return err
	})
}

// entry returns an entry of the log about what a caller did.
func (c *Caller) entry(phase audit.Phase, action, reason string) audit.Entry {
	return audit.Entry{Time: c.Now, Phase: phase, Action: action, Actor: c.Actor(), Request: c.Request, Reason: reason}
}

// systemEntry is an entry about what leastwise did by itself during a caller's request.
func systemEntry(c *Caller, reason string) audit.Entry {
	return audit.Entry{Time: c.Now, Phase: audit.Fact, Action: "session.end", Actor: systemActor(), Request: c.Request, Reason: reason}
}

// asked is what the directory said of an account, and when.
type asked struct {
	Standing
	at time.Time
}

// maxCached bounds the cache.
const maxCached = 10_000

// standing returns what the directory says of the caller's account.
func (s *Service) standing(ctx context.Context, c *Caller, p *Policies, live bool) (asked, error) {
	if !live {
		s.mu.Lock()
		a, ok := s.cache[c.Account]
		s.mu.Unlock()
		if age := c.Now.Sub(a.at); ok && age >= 0 && age <= s.times.Cache {
			return a, nil
		}
	}
	st, err := s.members.Standing(ctx, c.Account, p.groups)
	if err != nil {
		return asked{}, unavailable("asking for the groups of "+c.Name, err)
	}
	a := asked{st, c.Now}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.policies != p { // replaced meanwhile: the answer is about other groups
		return a, nil
	}
	if len(s.cache) >= maxCached {
		clear(s.cache)
	}
	s.cache[c.Account] = a
	return a, nil
}

// forget drops what is cached of an account.
func (s *Service) forget(account secdesc.GUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.cache, account)
}

// usable asks the directory whether an account may be used now. Where it may not, the
// error is ErrForbidden.
func (s *Service) usable(ctx context.Context, guid secdesc.GUID) (Account, error) {
	a, err := s.members.Account(ctx, AccountRef{GUID: guid})
	if err != nil {
		return a, unavailable("asking for an account", err)
	}
	if !a.usable() {
		return a, fmt.Errorf("%w: %s", ErrForbidden, a.state())
	}
	return a, nil
}
