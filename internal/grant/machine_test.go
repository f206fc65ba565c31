package grant

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC) // a Monday

func party(n int) Party {
	return Party{Account: secdesc.MustGUID(fmt.Sprintf("00000000-0000-4000-8000-%012x", n)), Name: fmt.Sprintf("CONTOSO\\p%d", n)}
}

// Those who appear in the cases.
const (
	requester = 1
	approver1 = 2
	approver2 = 3
	watcher   = 4
	other     = 5
	group     = 9
)

// someGrant returns a grant in a state, with everything that the guards of that state
// may ask for.
func someGrant(s State) Grant {
	p := Policy{
		Name: "p", Title: "P", Group: "X\\g", Requesters: []Ref{"X\\r"}, Duration: Durations{Longest: Span(4 * time.Hour)}, Within: Span(time.Hour),
		Approval: Consent{Needed: 2, From: []Ref{"X\\a"}, Within: Span(time.Hour)}, Observer: Watch{Needed: true, From: []Ref{"X\\o"}, Leaves: LeavingNoted},
		Extension: Prolong{Times: 2, Longest: Span(time.Hour), Approval: ApprovalAnew}, Activation: AtApproval, Ahead: Span(24 * time.Hour),
		Emergency: Emergency{From: []Ref{"X\\r"}, Longest: Span(time.Hour), Review: []Ref{"X\\a"}, Within: Span(time.Hour)},
	}
	if s == None {
		return Grant{}
	}
	who := party(requester)
	g := Grant{
		ID: "g", Generation: 5, State: s, Policy: "p", Terms: p, Key: Key{party(group).Account, who.Account}, Group: Object{GUID: party(group).Account, Exists: true, Group: true},
		Holder: who, Requester: who, Account: Object{GUID: who.Account, Name: who.Name, Exists: true}, Reason: "why", Duration: time.Hour, RequestedAt: noon.Add(-time.Hour),
		ApproveBy: noon.Add(time.Hour), ActivateBy: noon.Add(time.Hour),
		Approvals: []Approval{{By: party(approver1)}, {By: party(approver2)}}, Observers: []Observer{{By: party(watcher)}},
	}
	switch s {
	case Requested:
		g.Approvals = g.Approvals[:1]
	case Activating:
		g.Tries, g.IntentDC = 1, noon
	case Active:
		g.Basis, g.Activated, g.Ends = Added, noon.Add(-time.Minute), noon.Add(59*time.Minute)
	case Ending, UnderReview:
		g.Basis, g.Activated, g.Ends, g.EndSince = Added, noon.Add(-time.Hour), noon, noon
		g.ReviewBy = noon.Add(time.Hour)
	}
	return g
}

// someInput returns what a decision depends on, all in favour.
func someInput(g *Grant) input {
	o := &Order{ID: "g", Policy: "p", For: time.Hour, Reason: "why", group: Object{Exists: true, Group: true}, holder: party(requester), object: Object{Exists: true}}
	p := someGrant(Requested).Terms
	return input{
		now: Instant{Wall: noon}, dc: noon, order: o, policy: &p, holding: &Holding{}, generation: g.Generation, extend: time.Minute,
		facts: Facts{Entitled: Yes, Self: No, Repeat: No}, object: Object{GUID: g.Key.Member, Exists: true, Name: "CONTOSO\\new"},
		link: Link{Present: true, Expires: noon.Add(10 * time.Hour)}, reason: "because", accept: true, proven: true,
	}
}

// favour changes grant and input so that a condition or guard holds.
func favour(name string, g *Grant, in *input) {
	switch name {
	case isEmergency.name:
		in.order.Emergency = true
	case preapprovedLater.name:
		in.policy.Approval.Needed, in.order.Start = 0, noon.Add(time.Hour)
	case isPreapproved.name:
		in.policy.Approval.Needed = 0
	case lastApprovalLater.name:
		g.Start = noon.Add(time.Hour)
	case tooFewWithout.name:
		in.party = party(approver1)
	case extensionFree.name:
		g.Terms.Extension.Approval = ApprovalNone
	case lastOfExtension.name:
		g.Extensions[0].Approvals = []Approval{{By: party(approver1)}}
	case lastLeavesEnds.name:
		g.Terms.Observer.Leaves = LeavingEnds
	case needsReview.name:
		g.Emergency = true
	case isSelf.name, holderOwn.name:
		in.facts.Self = Yes
	case hasApproved.name:
		if len(g.Approvals) == 0 || in.party.Account.IsZero() {
			in.party = party(approver1)
		}
	case isObserving.name:
		in.party = party(watcher)
	case notObserving.name:
		in.actor.Party, in.party = party(other), party(other)
	case timeUp.name:
		g.ApproveBy, g.ActivateBy, g.ReviewBy, g.Ends = noon, noon, noon, noon
	case extensionPending.name, extensionFits.name:
		if len(g.Extensions) == 0 {
			g.Extensions = []Extension{{By: party(requester), For: time.Minute}}
		}
	}
}

// against changes grant and input so that a guard does not hold.
func against(name string, g *Grant, in *input) {
	switch name {
	case validOrder.name:
		in.order.For = 100 * time.Hour
	case callerEntitled.name:
		in.facts.Entitled = Unknown
	case holderOwn.name, isSelf.name:
		in.facts.Self = No
	case holderUsable.name:
		in.order.object.Disabled = true
	case inPerson.name:
		in.token = true
	case notSelf.name:
		in.facts.Self = Unknown
	case notRepeated.name:
		in.facts.Repeat = Yes
	case hasApproved.name, isObserving.name:
		in.party = party(other)
	case notObserving.name:
		in.party = party(watcher)
	case byServer.name:
		in.actor.Party = party(requester)
	case byHolder.name:
		in.actor.Party = party(other)
	case current.name:
		in.generation = 0
	case startReached.name:
		g.Start = noon.Add(time.Second)
	case windowOpen.name:
		g.Terms.Windows = []Window{{From: "13:00", To: "14:00", Zone: "UTC"}}
	case observerThere.name:
		g.Observers = nil
	case approvalsEnough.name:
		g.Approvals = g.Approvals[:1]
	case holderEnabled.name:
		in.object.Disabled = true
	case membershipFree.name:
		in.holding.Busy, in.holding.Last = noon.Add(time.Second), "another"
	case timeUp.name:
		g.ApproveBy, g.ActivateBy, g.ReviewBy, g.Ends = noon.Add(1), noon.Add(1), noon.Add(1), noon.Add(1)
	case extensionAllowed.name:
		in.extend = 100 * time.Hour
	case extensionPending.name:
		g.Extensions = nil
	case extensionFits.name:
		g.Extensions[0].For = 100 * time.Hour
	}
}

// prepared returns grant and input with which a row counts: its own condition holds,
// those of the rows before it do not.
func prepared(r row) (Grant, input) {
	g := someGrant(r.from)
	in := someInput(&g)
	if strings.HasPrefix(string(r.event), "found-time") && r.when.name == "" {
		in.link.Expires = noon.Add(time.Minute)
	}
	if r.event == Approve && r.from == Requested && r.to == Requested {
		g.Approvals = nil
	}
	if r.event == ApproverLost || r.event == Withdraw {
		in.party = party(approver1)
		if r.when.name == "" && r.from != Requested {
			g.Approvals = append(g.Approvals, Approval{By: party(8)}) // more than needed
		}
	}
	if r.event == ObserverLost {
		in.party = party(watcher)
	}
	for _, gd := range r.guards {
		favour(gd.name, &g, &in)
	}
	favour(r.when.name, &g, &in)
	return g, in
}

// Every row leads where it says, and each of its guards can refuse it, changing nothing.
func TestTransitions(t *testing.T) {
	for i, r := range table() {
		name := fmt.Sprintf("%d %s %s to %s %s", i, r.from, r.event, r.to, r.when.name)
		g, in := prepared(r)
		st, err := decide(g, r.event, in)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if st.to != r.to || st.g.State != r.to || st.g.Generation != g.Generation+1 {
			t.Errorf("%s: leads to %s, generation %d", name, st.to, st.g.Generation)
		}
		entries := 0
		for _, e := range st.effects {
			if e, ok := e.(Entry); ok {
				entries++
				if e.From != r.from || e.To != r.to || e.Action != r.event || e.Generation != st.g.Generation {
					t.Errorf("%s: the entry says %+v", name, e)
				}
			}
		}
		if want := 1; r.quiet == (entries == want) {
			t.Errorf("%s: %d entries, quiet %v", name, entries, r.quiet)
		}
		for _, gd := range r.guards {
			g, in := prepared(r)
			against(gd.name, &g, &in)
			before := fmt.Sprintf("%+v", g)
			if _, err := decide(g, r.event, in); err == nil || !harmless(err) {
				t.Errorf("%s: against %q: %v", name, gd.name, err)
			}
			if fmt.Sprintf("%+v", g) != before {
				t.Errorf("%s: refused by %q, and changed", name, gd.name)
			}
		}
	}
}

// Every pair of state and event that is not in the table is refused; the table names no
// state or event that does not exist, and every state is reached.
func TestPairsNotInTheTable(t *testing.T) {
	legal := map[[2]string]bool{}
	reached := map[State]bool{None: true}
	for _, r := range table() {
		legal[[2]string{string(r.from), string(r.event)}] = true
		reached[r.to] = true
	}
	pairs, refused := 0, 0
	for _, s := range States() {
		if !reached[s] {
			t.Errorf("nothing leads to %s", s)
		}
		for _, ev := range Events() {
			pairs++
			key := [2]string{string(s), string(ev)}
			if legal[key] {
				delete(legal, key)
				continue
			}
			refused++
			g := someGrant(s)
			if st, err := decide(g, ev, someInput(&g)); !errors.Is(err, ErrIllegal) {
				t.Errorf("%s of %s: %v, %+v", ev, s, err, st)
			}
		}
	}
	if len(legal) > 0 {
		t.Errorf("the table has states or events that do not exist: %v", legal)
	}
	t.Logf("%d pairs, %d of them refused, %d rows", pairs, refused, len(table()))
}

// A grant that is ending leads nowhere but to its end.
func TestEndingOnlyEnds(t *testing.T) {
	for _, r := range table() {
		if r.from == Ending && r.to != Ending && r.to != Ended && r.to != UnderReview {
			t.Errorf("ending: %s leads to %s", r.event, r.to)
		}
	}
}

// Delays double up to a cap, are shifted, and never stop.
func TestBackoff(t *testing.T) {
	differ := false
	for n := 1; n < 100; n++ {
		d := backoff("a", n)
		base := min(firstDelay<<min(n-1, 20), lastDelay)
		if d < base*3/4 || d > base*5/4 {
			t.Errorf("try %d: %s", n, d)
		}
		differ = differ || backoff("b", n) != d
	}
	if !differ {
		t.Error("all grants come back in the same moment")
	}
}
