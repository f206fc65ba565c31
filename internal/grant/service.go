package grant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// A Caller is who asks for something.
type Caller struct {
	Actor
	Token bool // by an API token, not in person
}

// Service decides grants and sees them through. Make one with New. Its methods may be
// called from several goroutines; several services may share one store.
type Service struct {
	store Store
	dir   Directory

	sweeping sync.Mutex // one Sweep at a time; ends do not wait for it
	watching sync.Mutex // one look at a time at the memberships that nobody has

	mu       sync.Mutex // guards what follows
	policies *Policies
	memory   memory
	together int                      // how many groups are worked on at once
	clock    func() Instant           // nil: the time of a round is that of its begin
	halted   bool                     // no further part of a round is begun
	turns    map[string]chan struct{} // to write to domain controllers, see await
	turn     uint64                   // with which part a round begins
	returned bool                     // a domain controller is back, and no round has known it yet
	flying   map[ID]chan struct{}     // grants whose membership is being written; closed when it was
}

// New returns a service. All three are required: nil is a wiring bug, and New panics.
func New(store Store, dir Directory, policies *Policies) *Service {
	if store == nil || dir == nil || policies == nil {
		panic("grant.New: store, directory and policies are required")
	}
	return &Service{store: store, dir: dir, policies: policies, memory: newMemory(), together: 1, flying: map[ID]chan struct{}{}}
}

// Together sets how many groups a round of work may write to at once, so that a domain
// controller that answers slowly does not keep the others waiting; 1 from the start.
func (s *Service) Together(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.together = max(1, n)
}

// Turn sets with which part of its work a round begins. Nodes with different numbers do
// not all begin with the same.
func (s *Service) Turn(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn = n
}

// Returned tells that a domain controller answers again, though others did all the time:
// the next round tries at once what waits for its next turn.
func (s *Service) Returned() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.returned = true
}

func (s *Service) takeReturned() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.returned
	s.returned = false
	return was
}

// Clocked gives the service a clock to look at before each part of a round: the Instant
// of a call is that of its begin, and a round may take longer than a write that was
// announced may wait. It must count like the Instants of the calls.
func (s *Service) Clocked(clock func() Instant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = clock
}

// present returns the time now, if the service has a clock, else began.
func (s *Service) present(began Instant) Instant {
	s.mu.Lock()
	clock := s.clock
	s.mu.Unlock()
	if clock == nil {
		return began
	}
	return clock()
}

// Halt makes rounds end early: what was begun comes to its end, nothing further is begun.
// Whoever ends a process calls it, and then waits for the rounds.
func (s *Service) Halt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.halted = true
}

func (s *Service) isHalted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.halted
}

// claim keeps the other rounds of this service from writing the membership of a grant;
// false if one of them does so now.
func (s *Service) claim(id ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flying[id] != nil {
		return false
	}
	s.flying[id] = make(chan struct{})
	return true
}

// landed waits until no round of this service writes the membership of a grant.
func (s *Service) landed(ctx context.Context, id ID) error {
	s.mu.Lock()
	flight := s.flying[id]
	s.mu.Unlock()
	if flight == nil {
		return nil
	}
	select {
	case <-flight:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *Service) release(ids ...ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		close(s.flying[id])
		delete(s.flying, id)
	}
}

// Use replaces the policies. Grants that exist keep the terms under which they were
// requested, but none starts under a policy that is gone or is about another group.
func (s *Service) Use(p *Policies) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policies = p
}

// Policies returns the policies in use.
func (s *Service) Policies() *Policies {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.policies
}

// Grant returns one grant, ErrNotFound if there is none.
func (s *Service) Grant(ctx context.Context, id ID) (g Grant, err error) {
	if g, err = s.store.Read(ctx, id); err != nil {
		return Grant{}, fmt.Errorf("reading grant %s: %w", id, err)
	}
	return g, nil
}

// List returns grants, newest request first.
func (s *Service) List(ctx context.Context, p Page) ([]Grant, error) {
	list, err := s.store.List(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("listing grants: %w", err)
	}
	return list, nil
}

// Request asks for a grant. The same order with the same ID again returns the grant
// that it made; another order with that ID is ErrExists.
func (s *Service) Request(ctx context.Context, c Caller, o Order, now Instant) (Grant, error) {
	g, err := s.request(ctx, c, &o, now)
	if err != nil {
		err = fmt.Errorf("requesting %s: %w", o.Policy, err)
		about := Grant{ID: o.ID, State: None, Policy: o.Policy, Key: Key{Group: o.group.GUID, Member: o.Holder}}
		return Grant{}, s.refused(ctx, c, &about, input{now: now, reason: o.Reason}, Request, err)
	}
	return g, nil
}

func (s *Service) request(ctx context.Context, c Caller, o *Order, now Instant) (Grant, error) {
	policies := s.Policies()
	p, ok := policies.Policy(o.Policy)
	if !ok {
		return Grant{}, fmt.Errorf("policy %q: %w", o.Policy, ErrNotFound)
	}
	if !o.ID.Valid() {
		return Grant{}, say(ErrPolicy, "the ID should be 1 to 64 letters, digits, hyphens and underscores")
	}
	if o.Holder.IsZero() {
		o.Holder = c.Account
	}
	if o.For == 0 {
		o.For = time.Duration(p.Duration.Usual)
		if o.Emergency {
			o.For = min(o.For, time.Duration(p.Emergency.Longest))
		}
	}
	if err := s.lookUp(ctx, p, o); err != nil {
		return Grant{}, err
	}
	in := input{actor: c.Actor, token: c.Token, now: now, order: o, policy: p}
	in.facts = s.requestFacts(ctx, c, p, o)
	var out Grant
	err := s.commit(ctx, o.Emergency, func(ctx context.Context, tx Tx, owe bool) error {
		was, err := tx.Grant(ctx, o.ID)
		switch {
		case err == nil && was.Requester.Account == c.Account && o.same(&was):
			out = was
			return nil
		case err == nil:
			return ErrExists
		case !errors.Is(err, ErrNotFound):
			return err
		}
		st, err := decide(Grant{}, Request, in)
		if err != nil {
			return err
		}
		out = st.g
		return s.save(ctx, tx, &saving{was: 0, g: &out, effects: st.effects, owe: owe})
	})
	return out, err
}

// lookUp finds group and holder.
func (s *Service) lookUp(ctx context.Context, p *Policy, o *Order) (err error) {
	if o.group, err = s.dir.Find(ctx, p.Target()); err != nil {
		return fmt.Errorf("finding %s: %w", p.Target(), err)
	}
	if o.object, err = s.dir.Object(ctx, o.Holder); err != nil {
		return fmt.Errorf("reading the account %s: %w", o.Holder, err)
	}
	o.holder = Party{Account: o.Holder, SID: o.object.SID, Name: o.object.Name}
	return nil
}

func (s *Service) requestFacts(ctx context.Context, c Caller, p *Policy, o *Order) Facts {
	who := p.Requesters
	if o.Emergency {
		who = p.Emergency.From
	} else if o.Schedule != "" {
		if sched := p.schedule(o.Schedule); sched != nil {
			who = sched.For
		}
	}
	f := &factFinder{s: s, ctx: ctx}
	f.Entitled = f.within(c.Account, who)
	f.Self = f.samePerson(c.Account, o.Holder)
	return f.Facts
}

// Command is what a person may do with a grant that exists.
type Command struct {
	Event  Event         // Approve, Deny, Withdraw, Observe, Leave, Activate, Extend, GiveBack, Cancel, Revoke, Review
	Reason string        // in the caller's words
	For    time.Duration // Extend: how much longer
	Accept bool          // Review: it was in order
}

// commands are the events that people cause, with who is asked for.
func (g *Grant) entitled(ev Event, p *Policies) []Ref {
	t := &g.Terms
	switch ev {
	case Approve, Deny:
		return t.Approval.From
	case Observe:
		return t.Observer.From
	case Revoke:
		return slices.Concat(t.Approval.From, t.Revokers, t.Emergency.Review, p.Security)
	case Review:
		return t.Emergency.Review
	}
	return nil
}

// Do carries a caller's command out. What the caller may do is asked of the directory
// now; refusals are logged.
func (s *Service) Do(ctx context.Context, c Caller, id ID, cmd Command, now Instant) (Grant, error) {
	if !slices.Contains([]Event{Approve, Deny, Withdraw, Observe, Leave, Activate, Extend, GiveBack, Cancel, Revoke, Review}, cmd.Event) {
		return Grant{}, say(ErrIllegal, "%q is nothing that people do", cmd.Event)
	}
	if why := (Text{}).accepts("the reason", cmd.Reason); why != "" {
		return Grant{}, say(ErrPolicy, "%s", why)
	}
	var g Grant
	var err error
	in := input{actor: c.Actor, token: c.Token, now: now, reason: cmd.Reason, extend: cmd.For, accept: cmd.Accept, party: c.Party}
	for range 8 { // the grant changed while the directory was asked: ask again
		if g, err = s.Grant(ctx, id); err != nil {
			return Grant{}, err
		}
		if cmd.Event == Activate {
			return s.activateFor(ctx, c, &g, in)
		}
		in.facts = s.callerFacts(ctx, c, &g, cmd.Event)
		var out Grant
		out, err = s.apply(ctx, &g, cmd.Event, in)
		if err == nil {
			return out, nil
		}
		if !errors.Is(err, ErrConflict) {
			break
		}
	}
	return Grant{}, s.refused(ctx, c, &g, in, cmd.Event, err)
}

// callerFacts finds out what the guards of an event ask.
func (s *Service) callerFacts(ctx context.Context, c Caller, g *Grant, ev Event) Facts {
	f := &factFinder{s: s, ctx: ctx}
	refs := g.entitled(ev, s.Policies())
	if refs != nil {
		f.Entitled = f.within(c.Account, refs)
	} else {
		f.Entitled = No
	}
	f.Self = f.behind(c.Account, g, refs != nil)
	if ev != Approve {
		return f.Facts
	}
	f.Repeat = No
	counted := g.Approvals
	if i := g.pendingExtension(); g.State == Active && i >= 0 {
		counted = g.Extensions[i].Approvals
	}
	for _, a := range counted {
		f.Repeat = either(f.Repeat, f.samePerson(c.Account, a.By.Account))
	}
	return f.Facts
}

// behind reports whether an account is of a person who holds a grant or asked for
// something of it. For who decides, that is also whoever issued the API tokens by which
// it was asked for; those may not act as its requester all the same.
func (f *factFinder) behind(account secdesc.GUID, g *Grant, decides bool) Answer {
	parties := []Party{g.Requester, g.Holder}
	for _, x := range g.Extensions {
		if decides && x.pending() {
			parties = append(parties, x.By)
		}
	}
	is := No
	for _, p := range parties {
		if is != Yes {
			is = either(is, f.samePerson(account, p.Account))
		}
		if is != Yes && decides && !p.Issuer.IsZero() {
			is = either(is, f.samePerson(account, p.Issuer))
		}
	}
	return is
}

// either is Yes if one of them is, and No only if both are.
func either(a, b Answer) Answer {
	switch {
	case a == Yes || b == Yes:
		return Yes
	case a == No && b == No:
		return No
	}
	return Unknown
}

// factFinder asks the directory and keeps the first reason why it could not say.
type factFinder struct {
	Facts
	s   *Service
	ctx context.Context
}

func (f *factFinder) note(what string, err error) {
	if err != nil && f.Why == "" {
		f.Why = fmt.Sprintf("%s: %v", what, err)
	}
}

func (f *factFinder) within(account secdesc.GUID, refs []Ref) Answer {
	if len(refs) == 0 {
		return No
	}
	yes, err := f.s.dir.Within(f.ctx, account, refs)
	f.note("asking for group memberships", err)
	return answer(yes, err)
}

// samePerson reports whether two accounts are one person's: the same account, both
// declared for one person, or with the same value of the attribute that tells persons
// apart.
func (f *factFinder) samePerson(a, b secdesc.GUID) Answer {
	if a == b {
		return Yes
	}
	policies := f.s.Policies()
	result := No
	for _, p := range policies.People {
		result = either(result, both(f.within(a, p.Accounts), func() Answer { return f.within(b, p.Accounts) }))
	}
	if policies.PersonAttribute == "" || result == Yes {
		return result
	}
	x, err := f.s.dir.Object(f.ctx, a)
	f.note("reading an account", err)
	y, err2 := f.s.dir.Object(f.ctx, b)
	f.note("reading an account", err2)
	switch {
	case err != nil || err2 != nil:
		return Unknown
	case x.Person != "" && x.Person == y.Person:
		return Yes
	}
	return result
}

func both(a Answer, b func() Answer) Answer {
	if a == No {
		return No
	}
	switch x := b(); {
	case x == No:
		return No
	case a == Yes && x == Yes:
		return Yes
	}
	return Unknown
}

// move is an event and what it depends on.
type move struct {
	event Event
	in    input
}

// moves chooses events for a grant as the transaction sees it.
type moves func(ctx context.Context, tx Tx, g *Grant, h *Holding) ([]move, error)

// apply decides one event on the grant as it was read, in one transaction. ErrConflict
// if it changed since.
func (s *Service) apply(ctx context.Context, g *Grant, ev Event, in input) (Grant, error) {
	out, _, err := s.applyMoves(ctx, g, doing{in.now, owable(g, ev)}, func(context.Context, Tx, *Grant, *Holding) ([]move, error) {
		return []move{{ev, in}}, nil
	})
	return out, err
}

// doing says when something is done, and whether it goes ahead without the log.
type doing struct {
	now    Instant
	owable bool
}

// applyMoves is apply for events that are chosen inside the transaction.
func (s *Service) applyMoves(ctx context.Context, g *Grant, d doing, choose moves) (out Grant, effects []Effect, err error) {
	err = s.commit(ctx, d.owable, func(ctx context.Context, tx Tx, owe bool) (err error) {
		out, effects, err = s.applyIn(ctx, tx, g, owe, choose)
		return err
	})
	if err != nil {
		return Grant{}, nil, err
	}
	s.remember(&out, d.now)
	return out, effects, nil
}

// applyIn decides events on one grant within a transaction and stores the result.
func (s *Service) applyIn(ctx context.Context, tx Tx, g *Grant, owe bool, choose moves) (Grant, []Effect, error) {
	now, err := tx.Grant(ctx, g.ID)
	if err != nil {
		return Grant{}, nil, err
	}
	if now.Generation != g.Generation {
		return Grant{}, nil, ErrConflict
	}
	h, err := tx.Holding(ctx, g.Key)
	if err != nil {
		return Grant{}, nil, err
	}
	before, was := h, now.Generation
	list, err := choose(ctx, tx, &now, &h)
	if err != nil || len(list) == 0 {
		return now, nil, err
	}
	var effects []Effect
	for _, m := range list {
		m.in.holding = &h
		if m.in.generation != 0 {
			m.in.generation = now.Generation
		}
		st, err := decide(now, m.event, m.in)
		if err != nil {
			return Grant{}, nil, err
		}
		now, effects = st.g, append(effects, st.effects...)
	}
	return now, effects, s.save(ctx, tx, &saving{was: was, g: &now, effects: effects, owe: owe, holding: changed(before, h)})
}

func changed(before, after Holding) *Holding {
	if before == after {
		return nil
	}
	return &after
}

// owable reports whether an event goes ahead when the log cannot take its entry: the
// way to an end, and emergencies.
func owable(g *Grant, ev Event) bool {
	if g.Emergency {
		return true
	}
	switch ev {
	case GiveBack, Revoke, Expire, Remove, HasEnded, NotEnded, MaybeEnded, Lost, Reappeared, TargetDeleted, TargetDisabled, GroupDeleted, Activated:
		return g.State == Active || g.State == Activating || g.State == Ending || g.State.Finished()
	case FoundOther, FoundPermanent:
		return g.State == Ending
	}
	return false
}

// commit runs f in a transaction. If the log cannot take the entries and owable is set,
// f runs again with owe set: the entries stay with the grant, marked late.
func (s *Service) commit(ctx context.Context, owable bool, f func(ctx context.Context, tx Tx, owe bool) error) error {
	err := s.store.Update(ctx, func(ctx context.Context, tx Tx) error { return f(ctx, tx, false) })
	if owable && errors.Is(err, ErrLog) {
		return s.store.Update(ctx, func(ctx context.Context, tx Tx) error { return f(ctx, tx, true) })
	}
	return err
}

// saving is what one transaction stores of one grant.
type saving struct {
	was     int64
	g       *Grant
	effects []Effect
	holding *Holding // nil: unchanged
	owe     bool
}

// save stores a grant with its entries and notices. Entries that are owed come first.
func (s *Service) save(ctx context.Context, tx Tx, v *saving) error {
	entries := v.g.Owed
	v.g.Owed = nil
	for _, e := range v.effects {
		if entry, ok := e.(Entry); ok {
			entry.Late = entry.Late || v.owe
			entries = append(entries, entry)
		}
	}
	if v.owe {
		v.g.Owed = entries
		soon := entries[len(entries)-1].Time.Add(firstDelay)
		if v.g.Wake.IsZero() || v.g.Wake.After(soon) {
			v.g.Wake = soon
		}
	}
	if err := tx.Put(ctx, *v.g, v.was); err != nil {
		return err
	}
	if v.holding != nil {
		if err := tx.PutHolding(ctx, *v.holding); err != nil {
			return err
		}
	}
	for _, e := range v.effects {
		if n, ok := e.(Notice); ok {
			if err := tx.Notify(ctx, n); err != nil {
				return err
			}
		}
	}
	if v.owe {
		return nil
	}
	for _, e := range entries {
		if err := tx.Record(ctx, e); err != nil {
			return fmt.Errorf("%w: %w", ErrLog, err)
		}
	}
	return nil
}

// record appends an entry by itself.
func (s *Service) record(ctx context.Context, e Entry) error {
	err := s.store.Update(context.WithoutCancel(ctx), func(ctx context.Context, tx Tx) error { return tx.Record(ctx, e) })
	if err != nil {
		return fmt.Errorf("logging %s of grant %s: %w", e.Action, e.Grant, err)
	}
	return nil
}
