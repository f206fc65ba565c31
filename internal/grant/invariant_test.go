package grant_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/grant/granttest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// rig is a service on a simulated directory and a store in memory.
type rig struct {
	*testing.T
	w    *granttest.World
	shim *granttest.Shim
	svc  *grant.Service
}

func newRig(t *testing.T) *rig {
	r := &rig{T: t, w: granttest.NewWorld(), shim: &granttest.Shim{Store: granttest.NewMemory()}}
	r.restart()
	return r
}

func (r *rig) restart() { r.svc = grant.New(r.shim, r.w, granttest.Policies()) }

func (r *rig) now() grant.Instant { return r.w.Instant(0) }

// quick requests and starts a grant that nobody needs to approve.
func (r *rig) quick(id grant.ID, d time.Duration) grant.Grant {
	r.Helper()
	_, err := r.svc.Request(r.Context(), r.w.Caller(r.w.Staff[2]), grant.Order{ID: id, Policy: "quick", For: d, Reason: "test"}, r.now())
	if err != nil {
		r.Fatal(err)
	}
	g, err := r.svc.Advance(r.Context(), id, r.now())
	if err != nil {
		r.Fatal(err)
	}
	return g
}

// pass lets seconds pass, each with a tick.
func (r *rig) pass(d time.Duration) {
	r.Helper()
	for range int(d / time.Second) {
		r.w.Pass(time.Second)
		if _, err := r.svc.Tick(r.Context(), r.now()); err != nil && !errors.Is(err, granttest.ErrDown) {
			r.Fatal(err)
		}
	}
}

func (r *rig) state(id grant.ID, want grant.State) grant.Grant {
	r.Helper()
	g, err := r.svc.Grant(r.Context(), id)
	if err != nil || g.State != want {
		r.Fatalf("%s is %s (%v), want %s", id, g.State, err, want)
	}
	return g
}

func (r *rig) member(g *grant.Grant) bool {
	_, ok := r.w.Made[g.Key]
	return ok
}

func (r *rig) do(who secdesc.GUID, id grant.ID, ev grant.Event) error {
	_, err := r.svc.Do(r.Context(), r.w.Caller(who), id, grant.Command{Event: ev, Reason: "test", For: time.Minute, Accept: true}, r.now())
	return err
}

// logged counts the entries of an action.
func (r *rig) logged(ev grant.Event, k grant.Kind) (n int) {
	for _, e := range r.shim.Log {
		if e.Action == ev && e.Kind == k {
			n++
		}
	}
	return n
}

func TestI3StaleActionsAreInert(t *testing.T) {
	r := newRig(t)
	g := r.quick("a", 2*time.Minute)
	old := grant.Job{Grant: "a", Target: g.Key.Member, Generation: g.Generation}
	if err := r.do(r.w.Staff[2], "a", grant.Extend); err != nil {
		t.Fatal(err)
	}
	before, entries, writes := r.state("a", grant.Active), len(r.shim.Log), r.w.Writes
	r.w.Pass(2*time.Minute + time.Second) // when the job would have ended it
	if _, err := r.svc.Carry(t.Context(), old, r.now()); !errors.Is(err, grant.ErrStale) {
		t.Errorf("stale job: %v", err)
	}
	after := r.state("a", grant.Active)
	if after.Generation != before.Generation || r.w.Writes != writes || !r.member(&g) {
		t.Errorf("a stale job did something: %+v", after)
	}
	if len(r.shim.Log) != entries+1 || r.shim.Log[entries].Kind != grant.Stale {
		t.Errorf("a stale job left %d entries", len(r.shim.Log)-entries)
	}
	wrong := grant.Job{Grant: "a", Target: r.w.Staff[3], Generation: after.Generation}
	if _, err := r.svc.Carry(t.Context(), wrong, r.now()); !errors.Is(err, grant.ErrStale) {
		t.Errorf("job for another account: %v", err)
	}
	r.w.Pass(2 * time.Minute)
	if _, err := r.svc.Carry(t.Context(), grant.Job{Grant: "a", Target: g.Key.Member, Generation: after.Generation}, r.now()); err != nil {
		t.Error(err)
	}
	r.state("a", grant.Ended)
}

// Giving back ends one's own grant only, in the transaction that says so.
func TestI4GivingBackEndsOnesOwn(t *testing.T) {
	r := newRig(t)
	r.quick("a", 2*time.Minute)
	if err := r.do(r.w.Staff[3], "a", grant.GiveBack); !errors.Is(err, grant.ErrForbidden) {
		t.Errorf("somebody else gives it back: %v", err)
	}
	if err := r.do(r.w.Staff[2], "a", grant.GiveBack); err != nil {
		t.Fatal(err)
	}
	g := r.state("a", grant.Ending)
	if err := r.do(r.w.Staff[2], "a", grant.GiveBack); !errors.Is(err, grant.ErrIllegal) {
		t.Errorf("twice: %v", err)
	}
	r.pass(time.Second)
	r.state("a", grant.Ended)
	if r.member(&g) {
		t.Error("still a member")
	}
}

// An account is its objectGUID, whatever it is called.
func TestI5AccountIsItsGUID(t *testing.T) {
	r := newRig(t)
	g := r.quick("a", time.Minute)
	o := r.w.Objects[g.Key.Member]
	o.Name, o.DN = `CONTOSO\renamed`, "CN=renamed,OU=Elsewhere,DC=contoso,DC=com"
	r.w.Objects[g.Key.Member] = o
	if _, err := r.svc.Sweep(t.Context(), r.now()); err != nil {
		t.Fatal(err)
	}
	if got := r.state("a", grant.Active); got.Holder.Name != o.Name || r.logged(grant.TargetRenamed, grant.Notable) != 1 || r.logged(grant.TargetMoved, grant.Notable) != 1 {
		t.Errorf("after renaming: %+v", got.Holder)
	}
	r.pass(61 * time.Second)
	r.state("a", grant.Ended)
	if r.member(&g) {
		t.Error("the renamed account is still a member")
	}
}

// A membership that is not the grant's any more is not written.
func TestI6NotMineNotTouched(t *testing.T) {
	for name, c := range map[string]struct {
		before, during bool
		basis          grant.Basis
	}{
		"it was there before":           {true, false, grant.Standing},
		"removed and made anew by hand": {false, true, grant.Added},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			k := grant.Key{Group: r.w.Powers[0], Member: r.w.Staff[2]}
			if c.before {
				r.w.Put(k, time.Time{})
			}
			if g := r.quick("a", time.Minute); g.State != grant.Active || g.Basis != c.basis {
				t.Fatalf("%s, basis %s", g.State, g.Basis)
			}
			if c.during {
				r.w.Drop(k)
				r.w.Put(k, time.Time{})
			}
			r.pass(2 * time.Minute)
			g := r.state("a", grant.Ended)
			if !r.member(&g) || len(r.w.Removed) != 0 {
				t.Error("a membership that no grant made was removed")
			}
		})
	}
}

// Ends are never given up: through two days of absence, and at once when it is over.
func TestI7EndsAreNeverGivenUp(t *testing.T) {
	for name, sick := range map[string]bool{"away": false, "answers, but does nothing": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			g := r.quick("a", time.Minute)
			r.pass(30 * time.Second)
			r.w.Away, r.w.Sick = !sick, sick
			r.pass(48 * time.Minute)
			if !r.member(&g) {
				t.Fatal("the directory did something while it was away")
			}
			r.w.Away, r.w.Sick = false, false
			back := r.w.Now
			for r.member(&g) {
				r.pass(time.Second)
				if r.w.Now-back > 5*time.Second {
					t.Fatalf("still a member %s after the directory is back", r.w.Now-back)
				}
			}
			r.pass(time.Second)
			r.state("a", grant.Ended)
		})
	}
}

// The state and what is known of the membership are one commit: a death at any of them
// leaves no membership without a grant that sees to it.
func TestI8DeathAtEveryCommit(t *testing.T) {
	for at := 1; ; at++ {
		r := newRig(t)
		left := at
		hook := func() {
			if left--; left == 0 {
				panic("dies here")
			}
		}
		r.shim.OnCommit, r.w.OnWrite = hook, hook
		died := func() (died bool) {
			defer func() { died = recover() != nil }()
			r.quick("a", time.Minute)
			r.pass(70 * time.Second)
			return
		}()
		if !died {
			if at < 6 {
				t.Fatalf("only %d places to die at", at)
			}
			return
		}
		r.shim.OnCommit, r.w.OnWrite = nil, nil
		r.restart()
		if _, err := r.svc.Sweep(t.Context(), r.now()); err != nil {
			t.Fatal(err)
		}
		r.pass(3 * time.Minute)
		g := r.state("a", grant.Ended)
		if r.member(&g) {
			t.Errorf("death at place %d: still a member", at)
		}
	}
}

// Without an entry nothing is granted; removals and emergencies go ahead, logged late.
func TestI9IntentBeforeTheAct(t *testing.T) {
	r := newRig(t)
	g := r.quick("a", time.Minute)
	intent := slices.IndexFunc(r.shim.Log, func(e grant.Entry) bool { return e.Kind == grant.Intent })
	outcome := slices.IndexFunc(r.shim.Log, func(e grant.Entry) bool { return e.Kind == grant.Outcomes })
	if intent < 0 || outcome < intent {
		t.Errorf("intent at %d, outcome at %d", intent, outcome)
	}
	r.shim.LogDown = true
	if _, err := r.svc.Request(t.Context(), r.w.Caller(r.w.Staff[3]), grant.Order{ID: "b", Policy: "quick", Reason: "x"}, r.now()); !errors.Is(err, grant.ErrLog) {
		t.Errorf("request without a log: %v", err)
	}
	e, err := r.svc.Request(t.Context(), r.w.Caller(r.w.Staff[3]), grant.Order{ID: "e", Policy: "guarded", Emergency: true, For: time.Minute, Reason: "fire"}, r.now())
	if err != nil {
		t.Fatal(err)
	}
	if e, err = r.svc.Advance(t.Context(), "e", r.now()); err != nil || !r.member(&e) {
		t.Fatalf("emergency without a log: %s, %v", e.State, err)
	}
	r.pass(65 * time.Second)
	if r.member(&g) || r.member(&e) {
		t.Error("removals waited for the log")
	}
	r.shim.LogDown = false
	r.pass(5 * time.Second)
	late := 0
	for _, e := range r.shim.Log {
		if e.Late {
			late++
		}
	}
	if late < 8 {
		t.Errorf("%d late entries", late)
	}
	r.state("a", grant.Ended)
	r.state("e", grant.UnderReview)
}

// The whole store is away when a grant ends: the membership goes all the same.
func TestI9EndsWithoutStore(t *testing.T) {
	r := newRig(t)
	g := r.quick("a", time.Minute)
	r.pass(10 * time.Second)
	r.shim.Down = true
	r.pass(55 * time.Second)
	if r.member(&g) {
		t.Fatal("the end waited for the store")
	}
	r.shim.Down = false
	r.pass(3 * time.Second)
	r.state("a", grant.Ended)
	if r.logged(grant.Remove, grant.Outcomes) != 1 {
		t.Error("the removal is not in the log")
	}
}

// The controller's clock decides; set back, the monotonic clock stands guard; a jump is
// in the log.
func TestI12ControllersTimeDecides(t *testing.T) {
	r := newRig(t)
	r.w.Offset = 3 * time.Hour // another time than this machine's
	g := r.quick("a", 2*time.Minute)
	if want := r.w.Clock().Add(2 * time.Minute); !g.Ends.Equal(want) {
		t.Errorf("ends %s, want %s", g.Ends, want)
	}
	r.pass(30 * time.Second)
	r.w.Offset -= time.Hour
	r.pass(80 * time.Second)
	r.state("a", grant.Active)
	r.pass(15 * time.Second)
	r.state("a", grant.Ended) // though by the controller's clock an hour is left
	if r.logged(grant.ClockJump, grant.Notable) == 0 {
		t.Error("the jump is not in the log")
	}
	r.quick("b", 2*time.Minute)
	r.w.Offset += time.Hour
	r.pass(2 * time.Second)
	r.state("b", grant.Ended) // by the controller's clock its time is over
}

// The clock of a grant starts when it becomes active; its record stays.
func TestI13ClockStartsAtActivation(t *testing.T) {
	r := newRig(t)
	_, err := r.svc.Request(t.Context(), r.w.Caller(r.w.Staff[2]), grant.Order{ID: "a", Policy: "guarded", For: 3 * time.Minute, Reason: "test"}, r.now())
	if err != nil {
		t.Fatal(err)
	}
	r.pass(10 * time.Minute)
	for _, who := range r.w.Approvers[:2] {
		if err := r.do(who, "a", grant.Approve); err != nil {
			t.Fatal(err)
		}
	}
	r.pass(10 * time.Minute) // nobody observes
	r.state("a", grant.Approved)
	if err := r.do(r.w.Approvers[2], "a", grant.Observe); err != nil {
		t.Fatal(err)
	}
	r.pass(2 * time.Second)
	g := r.state("a", grant.Active)
	if g.Ends.Sub(g.Activated) != 3*time.Minute || r.w.Clock().Sub(g.Activated) > 3*time.Second {
		t.Errorf("active from %s to %s at %s", g.Activated, g.Ends, r.w.Clock())
	}
	r.pass(4 * time.Minute)
	r.state("a", grant.Ended)
	r.pass(time.Minute)
	if _, err := r.svc.Grant(t.Context(), "a"); err != nil {
		t.Errorf("the record: %v", err)
	}
}

// The end of membership is not the end of access: it is said until when.
func TestI14AccessAfterTheEnd(t *testing.T) {
	r := newRig(t)
	g := r.quick("a", time.Minute)
	a := grant.AccessAfter(&g)
	if !a.Known || !a.Tickets.Equal(g.Ends.Add(10*time.Hour)) || !a.Renewed.Equal(g.Ends.Add(7*24*time.Hour)) || !strings.Contains(a.Text, "renewed") {
		t.Errorf("%+v", a)
	}
	g.Native = g.Ends.Add(2 * time.Minute)
	if a = grant.AccessAfter(&g); !a.Renewed.Equal(g.Native) {
		t.Errorf("with an expiring link: %+v", a)
	}
	g.Tickets = grant.Tickets{Why: "no right to read the policy"}
	if a = grant.AccessAfter(&g); a.Known || !a.Tickets.IsZero() || !strings.Contains(a.Text, "no right") {
		t.Errorf("unknown: %+v", a)
	}
	g.Basis = grant.Standing
	if a = grant.AccessAfter(&g); !a.Ends.IsZero() || !strings.Contains(a.Text, "stays one") {
		t.Errorf("standing: %+v", a)
	}
}

// Nobody decides about himself, in any disguise.
func TestNobodyApprovesHimself(t *testing.T) {
	r := newRig(t)
	adm := r.w.Staff[1] // adm-anna; anna herself is an approver
	if _, err := r.svc.Request(t.Context(), r.w.Caller(adm), grant.Order{ID: "a", Policy: "guarded", Reason: "test"}, r.now()); err != nil {
		t.Fatal(err)
	}
	for _, ev := range []grant.Event{grant.Approve, grant.Observe} {
		if err := r.do(r.w.Staff[0], "a", ev); !errors.Is(err, grant.ErrForbidden) {
			t.Errorf("%s under another account: %v", ev, err)
		}
	}
	if err := r.do(r.w.Approvers[0], "a", grant.Approve); err != nil {
		t.Fatal(err)
	}
	if err := r.do(r.w.Approvers[0], "a", grant.Approve); !errors.Is(err, grant.ErrForbidden) {
		t.Errorf("twice: %v", err)
	}
	token := r.w.Caller(r.w.Approvers[1])
	token.Token = true
	if _, err := r.svc.Do(t.Context(), token, "a", grant.Command{Event: grant.Approve}, r.now()); !errors.Is(err, grant.ErrForbidden) {
		t.Errorf("by token: %v", err)
	}
	r.w.Sick = true
	if err := r.do(r.w.Approvers[1], "a", grant.Approve); !errors.Is(err, grant.ErrForbidden) {
		t.Errorf("while the directory cannot be asked: %v", err)
	}
	if n := r.logged(grant.Approve, grant.Refusal); n != 4 {
		t.Errorf("%d refusals in the log", n)
	}
	r.state("a", grant.Requested)
}

// Overlapping grants share a membership; it goes with the last.
func TestOverlap(t *testing.T) {
	r := newRig(t)
	g := r.quick("a", time.Minute)
	if b := r.quick("b", 3*time.Minute); b.Basis != grant.Shared {
		t.Fatalf("basis of the second: %s", b.Basis)
	}
	r.pass(90 * time.Second)
	r.state("a", grant.Ended)
	if !r.member(&g) {
		t.Fatal("the first took the membership with it")
	}
	r.pass(100 * time.Second)
	r.state("b", grant.Ended)
	if r.member(&g) {
		t.Error("the last left the membership")
	}
}

// An approver who loses the right before the start loses his approval.
func TestApproverLosesTheRight(t *testing.T) {
	r := newRig(t)
	_, err := r.svc.Request(t.Context(), r.w.Caller(r.w.Staff[2]), grant.Order{ID: "a", Policy: "guarded", Reason: "test"}, r.now())
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range r.w.Approvers[:2] {
		if err := r.do(who, "a", grant.Approve); err != nil {
			t.Fatal(err)
		}
	}
	r.pass(time.Minute)
	r.w.Groups[`CONTOSO\Approvers`] = slices.DeleteFunc(slices.Clone(r.w.Groups[`CONTOSO\Approvers`]), func(g secdesc.GUID) bool { return g == r.w.Approvers[1] })
	if err := r.do(r.w.Approvers[2], "a", grant.Observe); err != nil {
		t.Fatal(err)
	}
	r.pass(2 * time.Second)
	if g := r.state("a", grant.Requested); len(g.Approvals) != 1 {
		t.Errorf("approvals left: %v", g.Approvals)
	}
}

// A deleted account takes its membership with it, and brings it back when restored.
func TestRestoredAccount(t *testing.T) {
	r := newRig(t)
	g := r.quick("a", time.Minute)
	o := r.w.Objects[g.Key.Member]
	o.Exists = false
	r.w.Objects[g.Key.Member] = o
	if _, err := r.svc.Sweep(t.Context(), r.now()); err != nil {
		t.Fatal(err)
	}
	r.pass(time.Second)
	r.state("a", grant.Ended)
	r.pass(10 * time.Minute)
	o.Exists = true
	r.w.Objects[g.Key.Member] = o
	if _, err := r.svc.Sweep(t.Context(), r.now()); err != nil {
		t.Fatal(err)
	}
	r.state("a", grant.Ended)
	if r.member(&g) || r.logged(grant.Reappeared, grant.Notable) != 1 {
		t.Error("the restored membership stays")
	}
}

// The same order again is the same request; another one with its ID is refused.
func TestIdempotentRequest(t *testing.T) {
	r := newRig(t)
	a := r.quick("a", time.Minute)
	again, err := r.svc.Request(t.Context(), r.w.Caller(r.w.Staff[2]), grant.Order{ID: "a", Policy: "quick", For: time.Minute, Reason: "test"}, r.now())
	if err != nil || again.Generation != a.Generation {
		t.Errorf("again: generation %d, %v", again.Generation, err)
	}
	if _, err := r.svc.Request(context.Background(), r.w.Caller(r.w.Staff[3]), grant.Order{ID: "a", Policy: "quick", For: time.Minute, Reason: "test"}, r.now()); !errors.Is(err, grant.ErrExists) {
		t.Errorf("by somebody else: %v", err)
	}
}

// A start that was put off by a clock that was an hour ahead does not wait for that hour:
// the next comparison begins it.
func TestI12AWrongClockPutsNoStartOff(t *testing.T) {
	r := newRig(t)
	ahead := r.w.Instant(time.Hour)
	if _, err := r.svc.Request(t.Context(), r.w.Caller(r.w.Staff[2]), grant.Order{ID: "a", Policy: "quick", For: time.Minute, Reason: "test"}, ahead); err != nil {
		t.Fatal(err)
	}
	r.w.Sick = true
	if _, err := r.svc.Advance(t.Context(), "a", ahead); err != nil {
		t.Fatal(err)
	}
	r.w.Sick = false
	if g := r.state("a", grant.Approved); g.Wake.Sub(r.now().Wall) < 30*time.Minute {
		t.Fatalf("it is to be looked at in %s already", g.Wake.Sub(r.now().Wall))
	}
	r.restart() // by then the clock is right again
	if _, err := r.svc.Sweep(t.Context(), r.now()); err != nil {
		t.Fatal(err)
	}
	r.state("a", grant.Active)
}

// A round that takes longer than an announced write may wait sends all its writes all the
// same: each part of it looks at the clock anew.
func TestI7LongRoundsSendInTime(t *testing.T) {
	r := newRig(t)
	slow := &slowLinks{World: r.w}
	r.svc = grant.New(r.shim, slow, granttest.Policies())
	r.svc.Clocked(r.now)
	a := r.quick("a", time.Minute)
	o := grant.Order{ID: "b", Policy: "guarded", For: time.Minute, Reason: "test", Emergency: true}
	if _, err := r.svc.Request(t.Context(), r.w.Caller(r.w.Staff[2]), o, r.now()); err != nil {
		t.Fatal(err)
	}
	b, err := r.svc.Advance(t.Context(), "b", r.now())
	if err != nil || !r.member(&a) || !r.member(&b) {
		t.Fatal(b.State, err)
	}
	r.w.Pass(time.Minute + time.Second)
	slow.by = 6 * time.Second
	if _, err := r.svc.Tick(t.Context(), r.now()); err != nil {
		t.Fatal(err)
	}
	if r.member(&a) || r.member(&b) || r.logged(grant.NotEnded, grant.Outcomes) > 0 {
		t.Errorf("members: %t, %t; %d writes were not sent", r.member(&a), r.member(&b), r.logged(grant.NotEnded, grant.Outcomes))
	}
}

// slowLinks takes its time to read links.
type slowLinks struct {
	*granttest.World
	by time.Duration
}

func (s *slowLinks) Memberships(ctx context.Context, keys []grant.Key) (map[secdesc.GUID]grant.Links, error) {
	return granttest.Memberships(ctx, s, keys)
}

func (s *slowLinks) Links(ctx context.Context, g secdesc.GUID, m []secdesc.GUID) (grant.Links, error) {
	s.Pass(s.by)
	return s.World.Links(ctx, g, m)
}

// Who announced an addition dies before its answer is stored, the grant ends, and only
// then the addition takes effect: it is removed again.
func TestI8AdditionOfTheDeadComesLate(t *testing.T) {
	r := newRig(t)
	r.w.OnWrite = func() { panic("dies here") }
	func() {
		defer func() { _ = recover() }()
		r.quick("a", 10*time.Minute)
	}()
	r.w.OnWrite = nil
	r.restart()
	g := r.state("a", grant.Activating)
	r.w.Drop(g.Key)
	if err := r.do(r.w.Staff[2], "a", grant.GiveBack); err != nil {
		t.Fatal(err)
	}
	r.pass(3 * time.Second)
	r.state("a", grant.Ended)
	r.w.Put(g.Key, time.Time{})
	r.pass(5 * time.Second)
	if r.member(&g) {
		t.Error("an addition that came late outlives its grant")
	}
}

// A node that has no store does not remove again what it, or another, has removed: a
// membership that is there later is somebody else's.
func TestI6EndedElsewhereIsNotRemovedAgain(t *testing.T) {
	r := newRig(t)
	r.w.Blind = true // nothing tells one membership from the next
	g := r.quick("a", time.Minute)
	r.pass(10 * time.Second)
	other := grant.New(&granttest.Shim{Store: r.shim.Store}, r.w, granttest.Policies())
	r.shim.Down = true
	r.w.Pass(51 * time.Second)
	if _, err := other.Tick(t.Context(), r.now()); err != nil || r.member(&g) {
		t.Fatalf("still a member, %v", err)
	}
	r.pass(5 * time.Second)
	r.w.Put(g.Key, time.Time{})
	r.pass(30 * time.Second)
	if !r.member(&g) {
		t.Error("somebody else's membership is gone")
	}
}
