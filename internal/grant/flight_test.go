package grant_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/grant/granttest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// node is another service on the same store and directory.
func (r *rig) node() (*grant.Service, *granttest.Shim) {
	shim := &granttest.Shim{Store: r.shim.Store}
	return grant.New(shim, r.w, granttest.Policies()), shim
}

// passOn lets seconds pass, each with a tick of one node.
func (r *rig) passOn(svc *grant.Service, d time.Duration) {
	r.Helper()
	for range int(d / time.Second) {
		r.w.Pass(time.Second)
		if _, err := svc.Tick(r.Context(), r.now()); err != nil {
			r.Fatal(err)
		}
	}
}

// ask requests a grant of the policy quick for ben and has a node begin with it.
func (r *rig) ask(svc *grant.Service, id grant.ID, d time.Duration) {
	r.Helper()
	_, err := svc.Request(r.Context(), r.w.Caller(r.w.Staff[2]), grant.Order{ID: id, Policy: "quick", For: d, Reason: "test"}, r.now())
	if err == nil {
		_, err = svc.Advance(r.Context(), id, r.now())
	}
	if err != nil {
		r.Fatal(err)
	}
}

// At most one write of a membership is sent at a time: as long as one that was announced
// may be sent, other nodes leave the grant alone, comparing or not.
func TestI10OneWriteAtATime(t *testing.T) {
	r := newRig(t)
	g := r.quick("a", time.Minute)
	other, _ := r.node()
	r.w.Pass(61 * time.Second)
	before := r.w.Writes
	r.w.OnWrite = func() {
		r.w.OnWrite = nil
		r.w.Pass(time.Second)
		if _, err := other.Tick(t.Context(), r.now()); err != nil {
			t.Fatal(err)
		}
		if _, err := other.Sweep(t.Context(), r.now()); err != nil {
			t.Fatal(err)
		}
		if r.w.Writes != before {
			t.Error("another node wrote, too")
		}
	}
	if _, err := r.svc.Tick(t.Context(), r.now()); err != nil {
		t.Fatal(err)
	}
	if r.member(&g) || r.w.Writes != before+1 {
		t.Errorf("member: %t, %d writes", r.member(&g), r.w.Writes-before)
	}
	r.state("a", grant.Ended)
}

// Who announced a write dies, and another node takes over soon, though not at once; a
// controller's clock that was set back in between delays nothing.
func TestI10TakenOver(t *testing.T) {
	for name, back := range map[string]time.Duration{"": 0, "clock set back": time.Hour} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			g := r.quick("a", time.Minute)
			other, _ := r.node()
			r.w.Pass(61 * time.Second)
			r.w.OnWrite = func() { panic("dies here") }
			func() {
				defer func() { _ = recover() }()
				_, _ = r.svc.Tick(t.Context(), r.now())
			}()
			r.w.OnWrite = nil
			r.w.Offset -= back
			if _, err := other.Sweep(t.Context(), r.now()); err != nil {
				t.Fatal(err)
			}
			r.passOn(other, 4*time.Second)
			if r.member(&g) {
				t.Error("still a member after four seconds")
			}
		})
	}
}

// A removal is on its way when its node dies. Another node removes the membership: nobody
// adds it again until the first removal can no longer come.
func TestI10LateRemovalHitsNothing(t *testing.T) {
	r := newRig(t)
	g := r.quick("a", time.Minute)
	other, _ := r.node()
	r.w.Pass(61 * time.Second)
	r.w.OnWrite = func() {
		r.w.OnWrite, r.w.Next, r.w.LateBy = nil, granttest.Delay, 30*time.Second
		r.shim.Down = true // the outcome is never stored
	}
	_, _ = r.svc.Tick(t.Context(), r.now())
	r.passOn(other, 5*time.Second)
	if r.member(&g) {
		t.Fatal("the other node did not remove it")
	}
	r.ask(other, "b", 30*time.Minute)
	r.passOn(other, 4*time.Minute)
	r.shim.Down = false
	if b := r.state("b", grant.Active); !r.member(&b) {
		t.Error("the second grant has lost its membership")
	}
}

// Until when the membership is held back is counted from when the answer was given up, not
// from when the round began.
func TestI10HeldBackFromTheAnswer(t *testing.T) {
	r := newRig(t)
	slow := &slowWrites{World: r.w, by: 9 * time.Second}
	r.svc = grant.New(r.shim, slow, granttest.Policies())
	r.svc.Clocked(r.now)
	g := r.quick("a", time.Minute)
	r.w.Pass(time.Minute)
	if _, err := r.svc.Tick(t.Context(), r.now()); err != nil {
		t.Fatal(err)
	}
	h := r.holding(g.Key)
	if want := r.w.Clock().Add(2 * time.Minute); h.Busy.Before(want) {
		t.Errorf("held back until %s, want %s", h.Busy, want)
	}
}

func (r *rig) holding(k grant.Key) (h grant.Holding) {
	r.Helper()
	err := r.shim.Update(r.Context(), func(ctx context.Context, tx grant.Tx) (err error) {
		h, err = tx.Holding(ctx, k)
		return err
	})
	if err != nil {
		r.Fatal(err)
	}
	return h
}

// slowWrites takes its time to remove, and then gives no answer.
type slowWrites struct {
	*granttest.World
	by time.Duration
}

func (s *slowWrites) Remove(_ context.Context, list []grant.Write) []grant.Result {
	s.Pass(s.by)
	return make([]grant.Result, len(list))
}

// An addition of a grant that is over arrives just before another grant's: that one finds
// the account a member, and takes the membership with it when it ends.
func TestI6FoundWhatAnotherGrantMade(t *testing.T) {
	r := newRig(t)
	r.w.Blind = true
	r.w.Next, r.w.LateBy = granttest.Delay, 14*time.Second
	r.ask(r.svc, "a", time.Minute)
	r.state("a", grant.Activating)
	if err := r.do(r.w.Staff[2], "a", grant.GiveBack); err != nil {
		t.Fatal(err)
	}
	r.pass(time.Second)
	r.state("a", grant.Ended)
	r.ask(r.svc, "b", 10*time.Minute)
	arrived := false
	r.w.OnWrite = func() {
		if !arrived {
			r.w.Pass(6 * time.Second)
		}
		arrived = true
	}
	r.pass(15 * time.Second)
	b := r.state("b", grant.Active)
	if !arrived || b.Basis == grant.Standing {
		t.Fatalf("rests on %s; the first addition had arrived: %t", b.Basis, arrived)
	}
	r.w.OnWrite = nil
	r.pass(11 * time.Minute)
	r.state("b", grant.Ended)
	if r.member(&b) {
		t.Error("the membership outlives both grants")
	}
}

// released ends another grant between the look at the membership and what is made of it.
type released struct {
	*granttest.World
	then func()
}

func (s *released) Links(ctx context.Context, g secdesc.GUID, m []secdesc.GUID) (grant.Links, error) {
	l, err := s.World.Links(ctx, g, m)
	if then := s.then; then != nil {
		s.then = nil
		then()
	}
	return l, err
}

// A membership that another grant gives up while it is looked at was not there before.
func TestI6WhatWasGivenUpWasNotThereBefore(t *testing.T) {
	r := newRig(t)
	r.quick("a", time.Minute)
	d := &released{World: r.w}
	svc := grant.New(r.shim, d, granttest.Policies())
	d.then = func() {
		if err := r.do(r.w.Staff[2], "a", grant.GiveBack); err != nil {
			t.Fatal(err)
		}
		if _, err := r.svc.Advance(t.Context(), "a", r.now()); err != nil {
			t.Fatal(err)
		}
		r.state("a", grant.Ended)
	}
	r.ask(svc, "b", 5*time.Minute)
	if b := r.state("b", grant.Active); b.Basis != grant.Added || !r.member(&b) {
		t.Errorf("rests on %q, member: %t", b.Basis, r.member(&b))
	}
}

// An emergency whose addition is refused does not take away what another grant's made.
func TestI6RefusalTakesNothingAway(t *testing.T) {
	r := newRig(t)
	r.w.Blind = true
	who := r.w.Staff[2]
	if _, err := r.svc.Request(t.Context(), r.w.Caller(who), grant.Order{ID: "a", Policy: "guarded", For: 3 * time.Minute, Reason: "test"}, r.now()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.do(r.w.Approvers[0], "a", grant.Approve), r.do(r.w.Approvers[1], "a", grant.Approve), r.do(r.w.Approvers[2], "a", grant.Observe)); err != nil {
		t.Fatal(err)
	}
	r.w.Next, r.w.LateBy = granttest.Delay, 3*time.Second
	r.pass(time.Second)
	r.state("a", grant.Activating)
	other, _ := r.node()
	e := grant.Order{ID: "e", Policy: "guarded", For: time.Minute, Reason: "fire", Emergency: true}
	if _, err := r.svc.Request(t.Context(), r.w.Caller(who), e, r.now()); err != nil {
		t.Fatal(err)
	}
	r.w.OnWrite = func() { // the first addition arrives, and is found
		r.w.OnWrite = nil
		r.passOn(other, 6*time.Second)
		r.state("a", grant.Active)
		r.w.Next = granttest.Refuse
	}
	if _, err := r.svc.Advance(t.Context(), "e", r.now()); err != nil {
		t.Fatal(err)
	}
	r.state("e", grant.Failed)
	r.passOn(other, 5*time.Minute)
	if a := r.state("a", grant.Ended); r.member(&a) {
		t.Error("the membership outlives its grant")
	}
}

// refusing refuses removals, as a controller does whose permissions are being changed.
type refusing struct {
	*granttest.World
	on bool
}

func (d *refusing) Remove(ctx context.Context, list []grant.Write) []grant.Result {
	if !d.on {
		return d.World.Remove(ctx, list)
	}
	out := make([]grant.Result, len(list))
	for i := range out {
		out[i] = grant.Result{Outcome: grant.OutcomeRefused, Detail: "insufficient access rights"}
	}
	return out
}

// Removals that were refused for long are tried soon after they no longer are, however long
// the delays have become.
func TestI7RefusalsAreTriedAgainSoon(t *testing.T) {
	r := newRig(t)
	d := &refusing{World: r.w}
	r.svc = grant.New(r.shim, d, granttest.Policies())
	g := r.quick("a", time.Minute)
	d.on = true
	r.pass(20 * time.Minute)
	d.on = false
	r.pass(4 * time.Second)
	if r.member(&g) {
		t.Errorf("still a member: %+v", r.state("a", grant.Ending))
	}
}

// One of several domain controllers is back, and the others were there all the time: what
// waits for it is tried at once.
func TestI7OneOfSeveralIsBack(t *testing.T) {
	r := newRig(t)
	d := &refusing{World: r.w}
	r.svc = grant.New(r.shim, d, granttest.Policies())
	g := r.quick("a", time.Minute)
	d.on = true
	r.pass(20*time.Minute + time.Second)
	d.on = false
	r.svc.Returned()
	if report, err := r.svc.Tick(t.Context(), r.now()); err != nil || !report.Sweep || r.member(&g) {
		t.Errorf("%+v, %v; still a member: %t", report, err, r.member(&g))
	}
}

// However many grants wait for something else, ends are seen to.
func TestI7EndsDoNotQueueBehindStarts(t *testing.T) {
	r := newRig(t)
	g := r.quick("a", time.Minute)
	waiting := g
	waiting.State, waiting.Basis, waiting.Generation, waiting.WakeDC = grant.Approved, grant.NoBasis, 1, time.Time{}
	waiting.Terms.Activation, waiting.ActivateBy, waiting.Wake = grant.ByHolder, r.now().Wall.Add(time.Hour), r.now().Wall
	err := r.shim.Update(t.Context(), func(ctx context.Context, tx grant.Tx) error {
		for i := range 300 {
			w := waiting
			w.ID = grant.ID(fmt.Sprintf("w%d", i))
			if err := tx.Put(ctx, w, 0); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r.w.Pass(time.Minute)
	if _, err := r.svc.Tick(t.Context(), r.now()); err != nil || r.member(&g) {
		t.Errorf("still a member: %t, %v", r.member(&g), err)
	}
}

// partly fails for one grant.
type partly struct {
	grant.Store
	broken grant.ID
}

var errBroken = errors.New("this row cannot be read")

func (s *partly) Read(ctx context.Context, id grant.ID) (grant.Grant, error) {
	if id == s.broken {
		return grant.Grant{}, errBroken
	}
	return s.Store.Read(ctx, id)
}

func (s *partly) ReadAll(ctx context.Context, ids []grant.ID) ([]grant.Grant, error) {
	if slices.Contains(ids, s.broken) {
		return nil, errBroken
	}
	return s.Store.ReadAll(ctx, ids)
}

// One part of a round that the store cannot take does not keep the others from their ends.
func TestI7OneErrorEndsNoRound(t *testing.T) {
	r := newRig(t)
	a := r.quick("a", time.Minute)
	o := grant.Order{ID: "b", Policy: "guarded", For: time.Minute, Reason: "test", Emergency: true}
	if _, err := r.svc.Request(t.Context(), r.w.Caller(r.w.Staff[2]), o, r.now()); err != nil {
		t.Fatal(err)
	}
	b, err := r.svc.Advance(t.Context(), "b", r.now())
	if err != nil || !r.member(&b) {
		t.Fatal(b.State, err)
	}
	r.w.Pass(time.Minute)
	svc := grant.New(&partly{r.shim, "a"}, r.w, granttest.Policies())
	if _, err := svc.Tick(t.Context(), r.now()); !errors.Is(err, errBroken) || !r.member(&a) || r.member(&b) {
		t.Errorf("%v; members: %t, %t", err, r.member(&a), r.member(&b))
	}
}

// counting counts what is asked.
type counting struct {
	*granttest.World
	links, within int
	onWithin      func()
}

func (c *counting) Links(ctx context.Context, g secdesc.GUID, m []secdesc.GUID) (grant.Links, error) {
	c.links++
	return c.World.Links(ctx, g, m)
}

func (c *counting) Memberships(ctx context.Context, keys []grant.Key) (map[secdesc.GUID]grant.Links, error) {
	return granttest.Memberships(ctx, c, keys)
}

func (c *counting) Within(ctx context.Context, a secdesc.GUID, refs []grant.Ref) (bool, error) {
	c.within++
	if c.onWithin != nil {
		c.onWithin()
	}
	return c.World.Within(ctx, a, refs)
}

// overtaken lets somebody else be quicker between listing and working.
type overtaken struct {
	grant.Store
	by func()
}

func (s *overtaken) Due(ctx context.Context, d grant.Due) ([]grant.Grant, error) {
	list, err := s.Store.Due(ctx, d)
	s.by()
	return list, err
}

// What another node has seen to since it was listed costs no question.
func TestStaleListsAreReadAgain(t *testing.T) {
	r := newRig(t)
	r.quick("a", time.Minute)
	r.w.Pass(time.Minute)
	c := &counting{World: r.w}
	late := grant.New(&overtaken{r.shim, func() {
		if _, err := r.svc.Tick(t.Context(), r.now()); err != nil {
			t.Fatal(err)
		}
	}}, c, granttest.Policies())
	if _, err := late.Tick(t.Context(), r.now()); err != nil || c.links != 0 {
		t.Errorf("%d questions about what was done, %v", c.links, err)
	}
	r.state("a", grant.Ended)
}

// updates counts transactions.
type updates struct {
	grant.Store
	n int
}

func (s *updates) Update(ctx context.Context, f func(context.Context, grant.Tx) error) error {
	s.n++
	return s.Store.Update(ctx, f)
}

// Watching memberships that nobody has takes no turn to write, and those that grants have
// are not asked about.
func TestWatchingWritesNothing(t *testing.T) {
	r := newRig(t)
	r.w.Next, r.w.LateBy = granttest.Delay, time.Hour
	r.ask(r.svc, "a", time.Minute)
	if err := r.do(r.w.Staff[2], "a", grant.GiveBack); err != nil {
		t.Fatal(err)
	}
	r.pass(2 * time.Second)
	r.state("a", grant.Ended)
	count, c := &updates{Store: r.shim}, &counting{World: r.w}
	svc := grant.New(count, c, granttest.Policies())
	if _, err := svc.Tick(t.Context(), r.now()); err != nil || count.n != 0 || c.links != 1 {
		t.Errorf("%d transactions, %d questions, %v", count.n, c.links, err)
	}
	b := grant.Order{ID: "b", Policy: "guarded", For: time.Minute, Reason: "test", Emergency: true}
	if _, err := r.svc.Request(t.Context(), r.w.Caller(r.w.Staff[3]), b, r.now()); err != nil {
		t.Fatal(err)
	}
	if g, err := r.svc.Advance(t.Context(), "b", r.now()); err != nil || g.State != grant.Active {
		t.Fatal(g.State, err)
	}
	if list, err := r.shim.Holdings(t.Context(), r.w.Clock(), true); err != nil || len(list) != 1 {
		t.Errorf("watched: %+v, %v", list, err)
	}
}

// A comparison sees to ends before it asks for rights, and asks once about each person.
func TestComparisonEndsFirst(t *testing.T) {
	r := newRig(t)
	g := r.quick("a", time.Minute)
	for i := range 5 {
		r.ask(r.svc, grant.ID(fmt.Sprintf("b%d", i)), 10*time.Minute)
	}
	o := grant.Order{ID: "e", Policy: "guarded", For: time.Minute, Reason: "test", Emergency: true}
	if _, err := r.svc.Request(t.Context(), r.w.Caller(r.w.Staff[3]), o, r.now()); err != nil {
		t.Fatal(err)
	}
	e, err := r.svc.Advance(t.Context(), "e", r.now())
	if err != nil || !r.member(&e) || !r.member(&g) {
		t.Fatal(e.State, err)
	}
	r.w.Pass(time.Minute)
	c := &counting{World: r.w}
	c.onWithin = func() {
		if r.member(&e) {
			t.Error("rights were asked for while an end was due")
		}
	}
	svc := grant.New(r.shim, c, granttest.Policies())
	if _, err := svc.Sweep(t.Context(), r.now()); err != nil {
		t.Fatal(err)
	}
	if c.within != 1 {
		t.Errorf("%d questions about the rights of one person", c.within)
	}
}
