package granttest

import (
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/grant"
)

// Allowed is how long a membership may outlive its grant while the directory is there.
const Allowed = 5 * time.Second

// check is called once a second.
func (s *sim) check() {
	grants := s.grants()
	s.checkOutlived(grants)
	s.checkEarly(grants)
	s.checkRemoved()
}

// checkEarly: no grant's time is up before its end by the controller's clock, in any of the
// settings that it has had.
func (s *sim) checkEarly(grants map[grant.ID]grant.Grant) {
	for id, g := range grants {
		if g.EndWhy != string(grant.Expire) || g.Ends.IsZero() || !g.ObserveBy.IsZero() || s.expired[id] {
			continue
		}
		s.expired[id] = true
		s.f.Expired++
		if latest := Origin.Add(s.w.Now + s.ahead); latest.Before(g.Ends) {
			s.t.Fatalf("%s: the time of %s was up %s before its end: %+v", s.w.Now, id, g.Ends.Sub(latest), s.about(g.Key))
		}
	}
}

// there reports whether anything can be done: the directory answers, the store too, and
// a node lives.
func (s *sim) there() bool {
	alive := slices.ContainsFunc(s.nodes, func(n *node) bool { return n.svc != nil })
	return alive && !s.w.Away && !s.w.Sick && !s.shim.Down
}

// checkOutlived: no membership that a grant made outlives it by more than the absence of
// the directory (or of all nodes, or of the store) and what is allowed.
func (s *sim) checkOutlived(grants map[grant.ID]grant.Grant) {
	for k, l := range s.w.Made {
		switch {
		case l.By == External, s.wanted(grants, k), !s.there(), !s.w.there(k), s.w.Next != NoFault, s.w.Now < s.restored[k.Member]+sweepEvery:
			s.exposed[k] = 0
			continue
		}
		s.exposed[k] += time.Second
		s.f.Outlived = max(s.f.Outlived, s.exposed[k])
		if s.exposed[k] > Allowed {
			s.t.Fatalf("%s: the membership of %s is there %s after nobody has it any more: %+v", s.w.Now, k, s.exposed[k], s.about(k))
		}
	}
	for k := range s.exposed {
		if _, ok := s.w.Made[k]; !ok {
			delete(s.exposed, k)
		}
	}
}

// wanted reports whether a grant has a membership by right, by the controller's clock.
func (s *sim) wanted(grants map[grant.ID]grant.Grant, k grant.Key) bool {
	for _, g := range grants {
		if g.Key == k && (g.State == grant.Activating || g.State == grant.Active && s.w.Clock().Before(g.Ends)) {
			return true
		}
	}
	return false
}

// checkRemoved: none is removed that no grant added.
func (s *sim) checkRemoved() {
	for _, r := range s.w.Removed {
		s.f.Removals++
		if r.Link.By != External {
			continue
		}
		if r.Late {
			s.f.LateRemovals++
			continue
		}
		if !s.w.Blind && !s.inferred(r.Key) {
			s.t.Fatalf("%s: %s removed the membership of %s, which somebody else had made: %+v", r.At, r.By, r.Key, s.about(r.Key))
		}
		s.f.Inferred++
	}
	s.w.Removed = nil
}

// inferred reports whether the log says that a membership was only taken for a grant's:
// a write to it was cut off.
func (s *sim) inferred(k grant.Key) bool {
	return slices.ContainsFunc(s.shim.Log, func(e grant.Entry) bool {
		return e.Group == k.Group && e.Target == k.Member &&
			(e.Action == grant.Reappeared || strings.Contains(e.Detail, "inferred") || e.Action == grant.MaybeActive)
	}) || s.unanswered(k)
}

// unanswered reports whether an intent to add a membership has no outcome.
func (s *sim) unanswered(k grant.Key) bool {
	open := map[grant.ID]bool{}
	for _, e := range s.shim.Log {
		if e.Group != k.Group || e.Target != k.Member {
			continue
		}
		if e.Action == grant.Activate && e.Kind == grant.Intent {
			if open[e.Grant] {
				return true
			}
			open[e.Grant] = true
		} else if e.Kind == grant.Outcomes || strings.HasPrefix(string(e.Action), "found-") {
			delete(open, e.Grant)
		} else if open[e.Grant] && e.To == grant.Ending {
			return true
		}
	}
	return false
}

// about returns the log of a membership, for failures.
func (s *sim) about(k grant.Key) (out []string) {
	for _, e := range s.shim.Log {
		if e.Group == k.Group && e.Target == k.Member || e.Grant == "" {
			out = append(out, "\n"+e.Time.Format("15:04:05")+" "+string(e.Grant)+" "+string(e.Kind)+" "+string(e.Action)+": "+string(e.From)+" -> "+string(e.To)+" "+e.Detail)
		}
	}
	return out
}

// calm ends all disturbances and lets everything come to its end.
func (s *sim) calm() {
	s.crashIn, s.pauseIn, s.shim.Down, s.shim.LogDown = 0, 0, false, false
	s.w.Away, s.w.Sick, s.w.Next = false, false, NoFault
	for _, n := range s.nodes {
		n.offset = 0
		if n.svc == nil {
			s.restart(n)
		}
	}
	for range 200 { // late writes arrive, watches run out
		s.second()
	}
	// Two days: requests expire, grants that are active end.
	for range 24 {
		s.w.Pass(2 * time.Hour)
		s.exposed = map[grant.Key]time.Duration{}
		for range 4 {
			s.second()
		}
	}
	s.checkEnd()
}

// checkEnd: everything is over, nothing is left, and the log tells it all.
func (s *sim) checkEnd() {
	grants := s.grants()
	for _, g := range grants {
		if !g.State.Finished() && g.State != grant.UnderReview {
			s.t.Fatalf("%s is %s in the end: %+v", g.ID, g.State, s.about(g.Key))
		}
		if len(g.Owed) > 0 {
			s.t.Fatalf("%s still owes %d entries to the log", g.ID, len(g.Owed))
		}
		if !g.EndedAt.IsZero() {
			s.f.Ended++
		}
		if !g.Activated.IsZero() {
			s.f.Active++
		}
		s.checkLog(&g)
	}
	for k, l := range s.w.Made {
		if l.By != External && s.w.there(k) {
			s.t.Fatalf("the membership of %s is left: %+v", k, s.about(k))
		}
	}
	s.f.Writes += s.w.Writes
}

// checkLog: no state is lost, every decision is in the entries: they lead from none to
// the state that is stored, each from where the one before it led.
func (s *sim) checkLog(g *grant.Grant) {
	at, generation := grant.None, int64(0)
	for _, e := range s.shim.Log {
		if e.Grant != g.ID || e.Kind == grant.Refusal || e.Kind == grant.Stale {
			continue
		}
		if e.Late {
			s.f.LateEntries++
		}
		if e.Kind == grant.Outcomes && e.Action == grant.Remove {
			continue // made from memory, while the store was away
		}
		if e.From != at || e.Generation <= generation {
			s.t.Fatalf("%s: the log goes from %s (generation %d) to %s by %s from %s (generation %d): %v", g.ID, at, generation, e.To, e.Action, e.From, e.Generation, s.about(g.Key))
		}
		at, generation = e.To, e.Generation
	}
	if at != g.State {
		s.t.Fatalf("%s is %s, and the log ends with %s", g.ID, g.State, at)
	}
}
