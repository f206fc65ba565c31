package grant_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/grant/granttest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// unreadable is a directory that does not tell who is a member of some groups.
type unreadable struct {
	*granttest.World
	groups []secdesc.GUID
	before func() // of a look
}

var errUnreadable = errors.New("the account may not read the attribute member")

func (d *unreadable) Links(ctx context.Context, g secdesc.GUID, m []secdesc.GUID) (grant.Links, error) {
	if before := d.before; before != nil {
		d.before = nil
		before()
	}
	if slices.Contains(d.groups, g) {
		return grant.Links{}, errUnreadable
	}
	return d.World.Links(ctx, g, m)
}

func (d *unreadable) Memberships(ctx context.Context, keys []grant.Key) (map[secdesc.GUID]grant.Links, error) {
	return granttest.Memberships(ctx, d, keys)
}

// emergency requests and starts a grant of the other group.
func (r *rig) emergency(id grant.ID, who secdesc.GUID) grant.Grant {
	r.Helper()
	o := grant.Order{ID: id, Policy: "guarded", For: time.Minute, Reason: "test", Emergency: true}
	_, err := r.svc.Request(r.Context(), r.w.Caller(who), o, r.now())
	if err != nil {
		r.Fatal(err)
	}
	g, err := r.svc.Advance(r.Context(), id, r.now())
	if err != nil || g.State != grant.Active {
		r.Fatal(g.State, err)
	}
	return g
}

// A group of which leastwise may no longer read who is a member keeps no other from its
// ends; the end that cannot be seen to is in the log, and the security team is told.
func TestI7OneUnreadableGroup(t *testing.T) {
	r := newRig(t)
	a, b := r.quick("a", time.Minute), r.emergency("b", r.w.Staff[3])
	d := &unreadable{World: r.w, groups: []secdesc.GUID{b.Key.Group}}
	svc := grant.New(r.shim, d, granttest.Policies())
	r.w.Pass(time.Minute)
	_, err := svc.Tick(t.Context(), r.now())
	if err != nil || r.member(&a) || !r.member(&b) {
		t.Fatalf("%v; members: %t, %t", err, r.member(&a), r.member(&b))
	}
	if slices.ContainsFunc(r.shim.Log, func(e grant.Entry) bool { return e.Grant == "a" && e.Action == grant.NotEnded }) {
		t.Error("the other end was put off")
	}
	r.passOn(svc, 10*time.Second)
	report, err := svc.Sweep(t.Context(), r.now())
	if err != nil {
		t.Fatal(err)
	}
	g := r.state("b", grant.Ending)
	if g.EndWhy != string(grant.Expire) || g.Fault != errUnreadable.Error() || r.logged(grant.NotEnded, grant.Outcomes) < 3 || report.Late < 10*time.Second {
		t.Errorf("ends for %q (%s), %d entries, late by %s", g.EndWhy, g.Fault, r.logged(grant.NotEnded, grant.Outcomes), report.Late)
	}
	if !slices.ContainsFunc(r.shim.Notices, func(n grant.Notice) bool { return n.Grant == "b" && n.Event == grant.NotEnded && n.Loud }) {
		t.Error("the security team was not told")
	}
	d.groups = nil
	r.passOn(svc, 4*time.Second)
	if r.member(&b) {
		t.Error("still a member after it could be read again")
	}
}

// A group that cannot be read keeps no late write of another from being seen.
func TestI9WatchBesideAnUnreadableGroup(t *testing.T) {
	r := newRig(t)
	b := r.emergency("b", r.w.Staff[3])
	if err := r.do(r.w.Staff[3], "b", grant.GiveBack); err != nil {
		t.Fatal(err)
	}
	r.pass(2 * time.Second)
	r.state("b", grant.UnderReview)
	err := r.shim.Update(t.Context(), func(ctx context.Context, tx grant.Tx) error {
		h, err := tx.Holding(ctx, b.Key)
		h.Watch = r.w.Clock().Add(time.Hour)
		return errors.Join(err, tx.PutHolding(ctx, h))
	})
	if err != nil {
		t.Fatal(err)
	}
	r.w.Next, r.w.LateBy = granttest.Delay, 5*time.Second
	r.ask(r.svc, "a", time.Minute)
	if err := r.do(r.w.Staff[2], "a", grant.GiveBack); err != nil {
		t.Fatal(err)
	}
	r.pass(2 * time.Second)
	a := r.state("a", grant.Ended)
	svc := grant.New(r.shim, &unreadable{World: r.w, groups: []secdesc.GUID{b.Key.Group}}, granttest.Policies())
	r.passOn(svc, 6*time.Second)
	if r.member(&a) || r.logged(grant.Reappeared, grant.Notable) != 1 {
		t.Errorf("a late write stays: %t", r.member(&a))
	}
}

// An extension that another node stored counts for the guard that measures by this node's
// clock.
func TestI3ExtendedOnAnotherNode(t *testing.T) {
	r := newRig(t)
	g := r.quick("a", time.Minute)
	other, _ := r.node()
	if _, err := other.Sweep(t.Context(), r.now()); err != nil { // remembers the old end
		t.Fatal(err)
	}
	if err := r.do(r.w.Staff[2], "a", grant.Extend); err != nil {
		t.Fatal(err)
	}
	r.passOn(other, 70*time.Second)
	r.state("a", grant.Active)
	if !r.member(&g) {
		t.Error("the membership is gone before its time")
	}
	r.passOn(other, 51*time.Second)
	if r.state("a", grant.Ended); r.member(&g) {
		t.Error("the membership outlives its grant")
	}
}

// What others have made of a membership since it was looked at is not judged by that look.
func TestI6EndsLookAgain(t *testing.T) {
	r := newRig(t)
	a := r.quick("a", time.Minute)
	r.w.Drop(a.Key)
	r.w.Pass(10 * time.Second)
	other, _ := r.node()
	d := &unreadable{World: r.w}
	then := func() { // the look says that it is gone; then another grant adds it
		r.ask(other, "b", 10*time.Minute)
		r.state("b", grant.Active)
	}
	svc := grant.New(r.shim, &lookedAt{unreadable: d, then: then}, granttest.Policies())
	if _, err := svc.Sweep(t.Context(), r.now()); err != nil {
		t.Fatal(err)
	}
	r.passOn(svc, time.Minute)
	r.state("a", grant.Ended)
	if h := r.holding(a.Key); !h.Ours || h.Stamp == "" {
		t.Fatalf("no grant's, although one has it: %+v", h)
	}
	r.passOn(svc, 11*time.Minute)
	if b := r.state("b", grant.Ended); r.member(&b) {
		t.Error("the membership outlives both grants")
	}
}

// lookedAt lets something happen after the first look.
type lookedAt struct {
	*unreadable
	then func()
}

func (d *lookedAt) Memberships(ctx context.Context, keys []grant.Key) (map[secdesc.GUID]grant.Links, error) {
	out, err := d.unreadable.Memberships(ctx, keys)
	if then := d.then; then != nil {
		d.then = nil
		then()
	}
	return out, err
}

// A look that fails while another node's addition is on its way leaves the grant to that
// node.
func TestI10FailedLookLeavesTheWriterAlone(t *testing.T) {
	r := newRig(t)
	d := &unreadable{World: r.w, groups: r.w.Powers}
	other := grant.New(r.shim, d, granttest.Policies())
	writes := 0
	r.w.OnWrite = func() {
		if writes++; writes > 1 {
			return
		}
		if _, err := other.Sweep(t.Context(), r.now()); err != nil {
			t.Fatal(err)
		}
		r.passOn(other, 2*time.Second)
		d.groups = nil
		r.passOn(other, 2*time.Second)
	}
	r.ask(r.svc, "a", time.Minute)
	if a := r.state("a", grant.Active); a.Basis != grant.Added || writes != 1 {
		t.Errorf("rests on %s, %d writes", a.Basis, writes)
	}
}

// An addition that was not sent made no membership: one that an administrator makes while
// the next try is waited for is his, and stays.
func TestI6NotSentIsNotAdded(t *testing.T) {
	r := newRig(t)
	r.w.Next = granttest.Busy
	r.ask(r.svc, "a", time.Minute)
	a := r.state("a", grant.Activating)
	if h := r.holding(a.Key); a.Tries != 0 || !h.Watch.IsZero() || h.Busy.After(r.w.Clock()) {
		t.Errorf("%d tries; watched until %s, held back until %s", a.Tries, h.Watch, h.Busy)
	}
	r.w.Put(a.Key, time.Time{})
	r.pass(4 * time.Second)
	if a = r.state("a", grant.Active); a.Basis != grant.Standing {
		t.Errorf("rests on %s", a.Basis)
	}
	r.pass(2 * time.Minute)
	if r.state("a", grant.Ended); !r.member(&a) {
		t.Error("the administrator's membership was removed")
	}
}

// A grant that is given back before anything was sent for it ends, and takes nothing with
// it.
func TestI6GivenBackBeforeItWasSent(t *testing.T) {
	for _, there := range []bool{false, true} {
		r := newRig(t)
		r.w.Next = granttest.Busy
		r.ask(r.svc, "a", time.Minute)
		a := r.state("a", grant.Activating)
		if there {
			r.w.Put(a.Key, time.Time{})
		}
		if err := r.do(r.w.Staff[2], "a", grant.GiveBack); err != nil {
			t.Fatal(err)
		}
		r.pass(2 * time.Second)
		if r.state("a", grant.Ended); r.member(&a) != there {
			t.Errorf("a member: %t, before: %t", r.member(&a), there)
		}
		if n := r.logged(grant.FoundPermanent, grant.Decision); n != 0 {
			t.Errorf("the account is said to stay a member by a membership that was found; it was there: %t", there)
		}
	}
}

// A grant whose time is up is not extended, even while its end waits for the directory.
func TestI4NoExtensionAfterTheEnd(t *testing.T) {
	r := newRig(t)
	r.quick("a", time.Minute)
	r.w.Pass(time.Minute)
	if err := r.do(r.w.Staff[2], "a", grant.Extend); !errors.Is(err, grant.ErrPolicy) {
		t.Errorf("extended after its end: %v", err)
	}
	r.pass(time.Second)
	r.state("a", grant.Ended)
}
