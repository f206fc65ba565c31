package granttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Figures count what simulations did; a run that did nothing would prove nothing.
type Figures struct {
	Runs, Requests, Active, Ended, Removals, Writes, Faults, Crashes, Pauses, Jumps, Absences, Externals, StoreFailures int
	Inferred                                                                                                            int           // removals of links that the log calls inferred and that somebody else had made
	LateRemovals                                                                                                        int           // removals of links of somebody else by a write that was held back on its way
	Outlived                                                                                                            time.Duration // the longest that a membership outlived its grant while the directory was there
	LateEntries, Expired                                                                                                int
}

// Simulate runs one random history against a store and fails t when an invariant does
// not hold at some second of it.
func Simulate(t *rapid.T, store grant.Store, f *Figures) {
	s := &sim{t: t, w: NewWorld(), shim: &Shim{Store: store}, f: f, expired: map[grant.ID]bool{}, exposed: map[grant.Key]time.Duration{}, restored: map[secdesc.GUID]time.Duration{}, ctx: context.Background()}
	s.w.Blind = rapid.IntRange(0, 4).Draw(t, "blind") == 0
	s.shim.OnCommit = s.interrupt
	s.w.OnWrite = s.interrupt
	s.nodes = []*node{{}, {}}
	for _, n := range s.nodes {
		s.start(n)
	}
	for range rapid.IntRange(10, 40).Draw(t, "steps") {
		s.act()
		for range rapid.IntRange(1, 12).Draw(t, "seconds") {
			s.second()
		}
	}
	s.calm()
	f.Runs++
}

// sim is one history.
type sim struct {
	t     *rapid.T
	ctx   context.Context //nolint:containedctx // the simulation is the program
	w     *World
	shim  *Shim
	nodes []*node
	f     *Figures
	ids   []grant.ID

	running  *node // whose turn it is
	depth    int
	crashIn  int // interruptions until the running node dies; 0: never
	pauseIn  int
	restored map[secdesc.GUID]time.Duration // when an account was restored: the next sweep finds its memberships
	expired  map[grant.ID]bool              // seen already
	ahead    time.Duration                  // the furthest that the controller's clock has ever been ahead
	exposed  map[grant.Key]time.Duration    // how long a membership has been there without a grant
}

// sweepEvery is how often nodes compare everything on schedule.
const sweepEvery = 30 * time.Second

// node is one server. It is dead while svc is nil.
type node struct {
	svc    *grant.Service
	offset time.Duration
}

// crash is what a dying node panics with.
type crash struct{}

// interrupt is called at every commit and before every write.
func (s *sim) interrupt() {
	if s.crashIn > 0 {
		if s.crashIn--; s.crashIn == 0 && s.running != nil {
			s.f.Crashes++
			panic(crash{})
		}
	}
	if s.pauseIn > 0 && s.depth == 1 {
		if s.pauseIn--; s.pauseIn == 0 {
			s.f.Pauses++
			s.pause()
		}
	}
}

// pause stops the running node for a while, in which another one works.
func (s *sim) pause() {
	stopped := s.running
	for range rapid.IntRange(1, 15).Draw(s.t, "pause") {
		s.w.Pass(time.Second)
		for _, n := range s.nodes {
			if n != stopped {
				_ = s.run(n, func(svc *grant.Service, now grant.Instant) error { _, err := svc.Tick(s.ctx, now); return err })
			}
		}
	}
	s.running = stopped
}

// run lets a node do something; it may die of it.
func (s *sim) run(n *node, f func(*grant.Service, grant.Instant) error) (err error) {
	if n.svc == nil {
		return nil
	}
	s.running = n
	s.depth++
	defer func() {
		s.depth--
		s.running = nil
		if r := recover(); r != nil {
			if _, ok := r.(crash); !ok {
				panic(r)
			}
			n.svc = nil
		}
	}()
	return f(n.svc, s.w.Instant(n.offset))
}

// second lets a second pass: both nodes look at what is due.
func (s *sim) second() {
	s.w.Pass(time.Second)
	for _, n := range s.nodes {
		_ = s.run(n, func(svc *grant.Service, now grant.Instant) error {
			if s.w.Now%sweepEvery < time.Second {
				if _, err := svc.Sweep(s.ctx, now); err != nil && !errors.Is(err, ErrDown) {
					s.t.Fatalf("sweep: %v", err)
				}
			}
			for range 4 {
				r, err := svc.Tick(s.ctx, now)
				if err != nil && !errors.Is(err, ErrDown) {
					s.t.Fatalf("tick: %v", err)
				}
				if r.Sweep {
					if _, err := svc.Sweep(s.ctx, now); err != nil && !errors.Is(err, ErrDown) {
						s.t.Fatalf("sweep: %v", err)
					}
				}
				if !r.More {
					break
				}
			}
			return nil
		})
	}
	s.check()
}

// start makes the service of a node. It looks at its clock, as servers do: a round may stand
// still between reading the clocks and writing.
func (s *sim) start(n *node) {
	n.svc = grant.New(s.shim, s.w, Policies())
	n.svc.Clocked(func() grant.Instant { return s.w.Instant(n.offset) })
}

func (s *sim) restart(n *node) {
	s.start(n)
	_ = s.run(n, func(svc *grant.Service, now grant.Instant) error { _, err := svc.Sweep(s.ctx, now); return err })
}

// pick returns one of a list.
func pick[T any](t *rapid.T, list []T, label string) T {
	return list[rapid.IntRange(0, len(list)-1).Draw(t, label)]
}

// act does one random thing.
func (s *sim) act() {
	n := pick(s.t, s.nodes, "node")
	switch rapid.IntRange(0, 19).Draw(s.t, "act") {
	case 0, 1, 2, 3:
		s.request(n)
	case 4, 5, 6, 7, 8, 9:
		s.command(n)
	case 10:
		s.w.Next = pick(s.t, []Fault{Busy, CutBefore, CutAfter, Delay, Double, Refuse}, "fault")
		s.w.LateBy = time.Duration(rapid.IntRange(1, 100).Draw(s.t, "late by")) * time.Second
		s.f.Faults++
	case 11:
		s.crashIn = rapid.IntRange(1, 12).Draw(s.t, "crash in")
	case 12:
		s.pauseIn = rapid.IntRange(1, 6).Draw(s.t, "pause in")
	case 13, 14:
		for _, n := range s.nodes {
			if n.svc == nil {
				s.restart(n)
			}
		}
	case 15:
		s.away()
	case 16:
		s.shim.Down = !s.shim.Down && rapid.Bool().Draw(s.t, "down")
		s.shim.LogDown = !s.shim.LogDown && rapid.Bool().Draw(s.t, "log down")
		s.f.StoreFailures++
	case 17:
		s.jump(n)
	case 18, 19:
		s.external()
	}
}

func (s *sim) away() {
	s.f.Absences++
	switch rapid.IntRange(0, 2).Draw(s.t, "directory") {
	case 0:
		s.w.Away, s.w.Sick = true, false
	case 1:
		s.w.Away, s.w.Sick = false, true
	case 2:
		s.w.Away, s.w.Sick = false, false
	}
}

// jump sets a clock. A controller's clock that jumps while a lost write is still on its
// way is the one thing that is left out: how long to watch is measured by that clock.
func (s *sim) jump(n *node) {
	by := time.Duration(rapid.IntRange(-3600, 3600).Draw(s.t, "jump")) * time.Second
	if rapid.Bool().Draw(s.t, "whose") {
		n.offset = by
	} else if !s.w.Pending() {
		s.w.Offset = by
		s.ahead = max(s.ahead, by)
	}
	s.f.Jumps++
}

// external is what other administrators do.
func (s *sim) external() {
	k := grant.Key{Group: pick(s.t, s.w.Powers, "group"), Member: pick(s.t, s.w.Staff, "member")}
	s.f.Externals++
	o := s.w.Objects[k.Member]
	switch rapid.IntRange(0, 7).Draw(s.t, "external") {
	case 0, 1:
		s.w.Put(k, time.Time{})
	case 2:
		s.w.Put(k, s.w.Clock().Add(time.Duration(rapid.IntRange(1, 90).Draw(s.t, "ttl"))*time.Minute))
	case 3:
		s.w.Drop(k)
	case 4:
		o.Disabled = !o.Disabled
	case 5:
		o.Name += "x"
	case 6:
		o.Exists = !o.Exists // deleted; restored with its memberships
		if o.Exists {
			s.restored[k.Member] = s.w.Now
		}
	case 7:
		a := pick(s.t, s.w.Approvers, "approver")
		list := s.w.Groups[`CONTOSO\Approvers`]
		if i := slices.Index(list, a); i >= 0 {
			s.w.Groups[`CONTOSO\Approvers`] = slices.Delete(slices.Clone(list), i, i+1)
		} else {
			s.w.Groups[`CONTOSO\Approvers`] = append(slices.Clone(list), a)
		}
	}
	s.w.Objects[k.Member] = o
}

func (s *sim) request(n *node) {
	s.f.Requests++
	id := grant.ID(fmt.Sprintf("g%d", len(s.ids)+1))
	policy := pick(s.t, []string{"quick", "quick", "guarded", "nightly"}, "policy")
	o := grant.Order{ID: id, Policy: policy, Reason: "simulation", For: time.Duration(rapid.IntRange(1, 4).Draw(s.t, "for")) * time.Minute}
	switch {
	case policy == "guarded" && rapid.Bool().Draw(s.t, "emergency"):
		o.Emergency, o.For = true, time.Minute
	case policy == "nightly" && rapid.Bool().Draw(s.t, "schedule"):
		o.Schedule = "mornings"
	}
	who := pick(s.t, s.w.Staff, "requester")
	err := s.run(n, func(svc *grant.Service, now grant.Instant) error {
		_, err := svc.Request(s.ctx, s.w.Caller(who), o, now)
		if err == nil {
			_, err = svc.Advance(s.ctx, id, now)
		}
		return err
	})
	_ = err // refused, or not: the check looks at what is stored
	s.ids = append(s.ids, id)
}

func (s *sim) command(n *node) {
	if len(s.ids) == 0 {
		return
	}
	id := pick(s.t, s.ids, "grant")
	cmd := grant.Command{
		Event: pick(s.t, []grant.Event{
			grant.Approve, grant.Approve, grant.Approve, grant.Approve, grant.Observe, grant.Observe, grant.Activate, grant.Deny, grant.Withdraw, grant.Leave,
			grant.Extend, grant.Extend, grant.GiveBack, grant.GiveBack, grant.Cancel, grant.Revoke, grant.Review,
		}, "command"),
		For: time.Minute, Reason: "simulation",
	}
	g, ok := s.grants()[id]
	if !ok {
		return
	}
	who := pick(s.t, append(slices.Clone(s.w.Approvers), s.w.Staff...), "caller")
	if slices.Contains([]grant.Event{grant.Activate, grant.Extend, grant.GiveBack, grant.Cancel}, cmd.Event) && rapid.IntRange(0, 3).Draw(s.t, "self") > 0 {
		who = g.Requester.Account
	}
	_ = s.run(n, func(svc *grant.Service, now grant.Instant) error {
		_, err := svc.Do(s.ctx, s.w.Caller(who), id, cmd, now)
		if err == nil && slices.Contains([]grant.Event{grant.Approve, grant.Review, grant.Observe}, cmd.Event) && s.self(who, &g) {
			s.t.Fatalf("%s of %s by the person who asked", cmd.Event, id)
		}
		return err
	})
}

// self reports whether an account is the requester's or holder's person.
func (s *sim) self(who secdesc.GUID, g *grant.Grant) bool {
	anna := s.w.Staff[:2]
	for _, a := range []secdesc.GUID{g.Requester.Account, g.Holder.Account} {
		if who == a || slices.Contains(anna, who) && slices.Contains(anna, a) {
			return true
		}
	}
	return false
}

// grants returns everything that is stored, as the store itself sees it.
func (s *sim) grants() map[grant.ID]grant.Grant {
	list, err := s.shim.Store.List(s.ctx, grant.Page{Limit: 1000})
	if err != nil {
		s.t.Fatalf("listing: %v", err)
	}
	out := map[grant.ID]grant.Grant{}
	for _, g := range list {
		out[g.ID] = g
	}
	return out
}
