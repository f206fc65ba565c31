package control

import (
	"cmp"
	"slices"

	"github.com/leastwise/leastwise/internal/forest"
)

// NotConcerned is the outcome of a control for a subject that it does not concern: an
// account that is not privileged any more is no subject of what privileged accounts
// have to be. Only a [Turn] has it.
const NotConcerned Outcome = "none"

// mostTurnsTold is how many turns of one control come with what a finding says. Each
// costs another evaluation.
const mostTurnsTold = 100

// A Simulation says which outcomes of controls changes would turn; see
// [Catalogue.Simulate]. Exceptions turn no outcome: a failure that was accepted
// carries its exception.
type Simulation struct {
	Before   Tally         `json:"before"`   // outcomes of all controls, by subject
	After    Tally         `json:"after"`    // the same
	Controls []ControlTurn `json:"controls"` // those whose outcome for the whole forest is another
	Failing  []Turn        `json:"failing"`  // subjects that fail and did not, or fail by more than before
	Passing  []Turn        `json:"passing"`  // that failed, or were not decided, and now pass or are not concerned
	Unknown  []Turn        `json:"unknown"`  // that cannot be decided any more
}

// A ControlTurn is a control whose outcome for the whole forest is another: it fails if
// it fails for anything, else is unknown if anything is not decided, else passes; none
// if it concerns nothing.
type ControlTurn struct {
	ID       string   `json:"id"`
	Title    string   `json:"title"`
	Section  string   `json:"section"`
	Severity Severity `json:"severity"`
	Before   Outcome  `json:"before"`
	After    Outcome  `json:"after"`
}

// A Turn is a subject for which a control has another outcome. Of hosts it is about
// those with this turn only.
type Turn struct {
	Control   string     `json:"control"`
	Title     string     `json:"title"`
	Section   string     `json:"section"`
	Severity  Severity   `json:"severity"`
	Subject   Subject    `json:"subject"`
	Before    Outcome    `json:"before"`
	After     Outcome    `json:"after"`
	Detail    string     `json:"detail,omitempty"`    // about what it is now; of what passes about what it was; for the first 100 of a control
	Missing   []string   `json:"missing,omitempty"`   // for what is unknown, as for Detail
	Exception *Exception `json:"exception,omitempty"` // that accepts what fails
}

// A Watch lets others follow work that takes long and end it. Its functions may be nil.
type Watch struct {
	Progress func(phase string, done, all int) // how many parts of a phase are done; one call at a time
	Stopped  func() error                      // why to end the work, nil to go on; called from several goroutines
}

func (w Watch) stopped() error {
	if w.Stopped == nil {
		return nil
	}
	return w.Stopped()
}

// Simulate evaluates every control on a snapshot and on a view of it with changes, and
// compares the outcomes. Options and exceptions are those of before. The order of the
// result is fixed: worst severity first, then by control and subject.
//
// It costs two evaluations of the catalogue, but no texts of findings beyond those that
// turn. An error of watch.Stopped ends it.
func (c *Catalogue) Simulate(before, after Input, watch Watch) (*Simulation, error) {
	after.Options, after.Exceptions, after.Now = before.Options, before.Exceptions, before.Now
	if err := checkExceptions(before.Exceptions); err != nil {
		return nil, err
	}
	was, err := c.book(before, watch, "controls as it is")
	if err != nil {
		return nil, err
	}
	now, err := c.book(after, watch, "controls with the changes")
	if err != nil {
		return nil, err
	}
	s := &Simulation{Controls: []ControlTurn{}, Failing: []Turn{}, Passing: []Turn{}, Unknown: []Turn{}}
	pairs := pairHosts(was.w, now.w)
	for i, e := range c.entries {
		if err := watch.stopped(); err != nil {
			return nil, err
		}
		d := &turning{e: e, was: was, now: now, a: &was.pages[i], b: &now.pages[i], out: s}
		for _, step := range []func() error{d.objects, func() error { return d.hosts(pairs) }, d.rest} {
			if err := step(); err != nil {
				return nil, err
			}
		}
		s.Before.addAll(d.a.tally)
		s.After.addAll(d.b.tally)
		if a, b := d.a.tally.outcome(), d.b.tally.outcome(); a != b {
			s.Controls = append(s.Controls, ControlTurn{e.ID, e.Title, e.Section, e.Severity, a, b})
		}
	}
	s.settle(now.w, before)
	return s, nil
}

func (t *Tally) addAll(o Tally) {
	t.Pass, t.Fail, t.Unknown = t.Pass+o.Pass, t.Fail+o.Fail, t.Unknown+o.Unknown
}

// outcome is that of a control for all its subjects together.
func (t Tally) outcome() Outcome {
	switch {
	case t.Fail > 0:
		return Fail
	case t.Unknown > 0:
		return Unknown
	case t.Pass > 0:
		return Pass
	}
	return NotConcerned
}

// settle orders the turns and names the exceptions that accept failures.
func (s *Simulation) settle(w *world, in Input) {
	at := in.Now
	if at.IsZero() {
		at = w.now
	}
	for i := range s.Failing {
		t := &s.Failing[i]
		f := &Finding{Control: t.Control, Subject: t.Subject}
		for _, x := range in.Exceptions {
			if !x.expired(at) && x.covers(w.s, f) {
				t.Exception = &x
				break
			}
		}
	}
	for _, list := range [][]Turn{s.Failing, s.Passing, s.Unknown} {
		slices.SortStableFunc(list, func(a, b Turn) int {
			return cmp.Or(
				cmp.Compare(severityRank[a.Severity], severityRank[b.Severity]), cmp.Compare(a.Control, b.Control),
				cmp.Compare(a.Subject.Domain, b.Subject.Domain), compareFold(a.Subject.DN, b.Subject.DN),
				cmp.Compare(a.Subject.Scope, b.Subject.Scope), cmp.Compare(a.Before, b.Before), cmp.Compare(a.After, b.After))
		})
	}
	slices.SortStableFunc(s.Controls, func(a, b ControlTurn) int {
		return cmp.Or(cmp.Compare(severityRank[a.Severity], severityRank[b.Severity]), cmp.Compare(a.ID, b.ID))
	})
}

// A turning compares the outcomes of one control.
type turning struct {
	e        *Entry
	was, now *book
	a, b     *page
	told     int // turns with the texts of a finding
	out      *Simulation
}

// add puts a turn where it belongs; it reports whether it is one. Beyond what already
// failed, more counts as grown.
func (d *turning) add(s Subject, before, after Outcome, grown bool) *Turn {
	t := Turn{
		Control: d.e.ID, Title: d.e.Title, Section: d.e.Section, Severity: d.e.Severity,
		Subject: s, Before: before, After: after,
	}
	list := &d.out.Passing
	switch {
	case before == after && !grown:
		return nil
	case after == Fail:
		list = &d.out.Failing
	case after == Unknown:
		list = &d.out.Unknown
	case before != Fail && before != Unknown:
		return nil // it comes to concern what passes, or concerns no longer what did
	}
	*list = append(*list, t)
	return &(*list)[len(*list)-1]
}

// tell gives a turn the texts of a finding.
func (d *turning) tell(t *Turn, f *Finding) {
	if f == nil || d.told >= mostTurnsTold {
		return
	}
	d.told++
	t.Detail, t.Severity = f.Detail, f.Severity
	if t.After == Unknown {
		t.Missing = f.Missing
	}
}

// objects compares what objects have that did not pass, before or after.
func (d *turning) objects() error {
	for _, id := range objectsOf(d.a.objects, d.b.objects) {
		a, isA := d.a.objects[id]
		b, isB := d.b.objects[id]
		if isA && isB && a == b {
			continue
		}
		var err error
		if !isA {
			a.outcome, err = d.was.ask(d.e, id)
		}
		if !isB && err == nil {
			b.outcome, err = d.now.ask(d.e, id)
		}
		if err == nil {
			err = d.object(id, a.outcome, b.outcome)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *turning) object(id forest.ID, before, after Outcome) error {
	grown := false
	var old, f *Finding
	var err error
	if before == Fail && after == Fail {
		if old, err = d.was.finding(d.e, id); err != nil {
			return err
		}
		if f, err = d.now.finding(d.e, id); err != nil {
			return err
		}
		grown = (FindingChange{*old, *f}).Grown()
	}
	t := d.add(d.now.w.objectSubject(id), before, after, grown)
	if t == nil || d.told >= mostTurnsTold {
		return nil
	}
	from := d.now
	if after != Fail && after != Unknown {
		from = d.was
	}
	if f == nil {
		if f, err = from.finding(d.e, id); err != nil {
			return err
		}
	}
	d.tell(t, f)
	return nil
}

// A hostPair is the computers that were in one host set and are in another, or the
// same; nil if they are in none.
type hostPair struct {
	was, now  *hostSet
	computers []forest.ID
}

// pairHosts follows each computer from its host set to that which it is in with the
// changes, so that a set which is only cut otherwise turns nothing.
func pairHosts(was, now *world) []hostPair {
	type key struct{ was, now *hostSet }
	var order []key
	pairs := map[key][]forest.ID{}
	before := map[forest.ID]*hostSet{}
	for _, h := range was.hostSets() {
		for _, c := range h.computers {
			before[c] = h
		}
	}
	put := func(k key, c forest.ID) {
		if _, ok := pairs[k]; !ok {
			order = append(order, k)
		}
		pairs[k] = append(pairs[k], c)
	}
	for _, h := range now.hostSets() {
		for _, c := range h.computers {
			put(key{before[c], h}, c)
			delete(before, c)
		}
	}
	for _, h := range was.hostSets() {
		for _, c := range h.computers {
			if before[c] == h {
				put(key{h, nil}, c)
			}
		}
	}
	out := make([]hostPair, len(order))
	for i, k := range order {
		out[i] = hostPair{k.was, k.now, pairs[k]}
	}
	return out
}

// hosts compares the outcomes of computers.
func (d *turning) hosts(pairs []hostPair) error {
	if !selectors[d.e.Select].hosts {
		return nil
	}
	for _, p := range pairs {
		before, old := d.a.onHosts(p.was)
		after, f := d.b.onHosts(p.now)
		grown := false
		if before == Fail && after == Fail {
			grown = holdsMore(old.offenders, f.offenders) || severityRank[f.Severity] < severityRank[old.Severity]
		}
		of := *cmp.Or(p.now, p.was)
		of.computers = p.computers
		w := d.now.w
		if p.now == nil {
			w = d.was.w
		}
		t := d.add(w.hostsSubject(&of), before, after, grown)
		switch {
		case t == nil:
		case after == Fail || after == Unknown:
			d.tell(t, f)
		default:
			d.tell(t, old)
		}
	}
	return nil
}

// rest compares the outcomes of the forest as a whole and of what could not be listed.
func (d *turning) rest() error {
	for key := range mergedKeys(d.a.rest, d.b.rest) {
		old, f := d.a.rest[key], d.b.rest[key]
		before, after := d.a.whole, d.b.whole
		subject := cmp.Or(f, old).Subject
		if subject.Scope == unlistedScope {
			before, after = NotConcerned, NotConcerned
		}
		if old != nil {
			before = old.Outcome
		}
		if f != nil {
			after = f.Outcome
		}
		grown := before == Fail && after == Fail && (FindingChange{*old, *f}).Grown()
		t := d.add(subject, before, after, grown)
		switch {
		case t == nil:
		case f != nil:
			d.tell(t, f)
		default:
			d.tell(t, old)
		}
	}
	return nil
}
