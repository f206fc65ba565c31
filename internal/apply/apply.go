package apply

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/plan"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A Run carries one plan out, or back. Directory, Journal and Now are required.
type Run struct {
	Directory *Directory
	Journal   Journal
	Now       func() time.Time
	// Password gives the value of a password that is reset; change is the number in
	// the plan. The value must be the same each time until the run has ended, and must
	// be known to the caller for good before it is returned: the directory may take it
	// and this process not live to say so. Run wipes what it is given.
	Password func(ctx context.Context, change int, account plan.Target) ([]byte, error)
	// Progress is told of each numbered step before it is taken, and of each outcome;
	// nil: nobody listens.
	Progress func(Step)
}

// A StepName says what is about to happen.
type StepName string

// Steps, in the order in which each change takes them.
const (
	StepBegin   StepName = "begin"   // the journal is begun
	StepRead    StepName = "read"    // the facts are read
	StepIntent  StepName = "intent"  // the intent is noted
	StepWrite   StepName = "write"   // the request is sent
	StepOutcome StepName = "outcome" // the outcome is noted
	StepNoted   StepName = "noted"   // it has been: Result says what
	StepEnd     StepName = "end"     // the end is noted
)

// A Step is where a run is.
type Step struct {
	Number int // counts all steps of the run, from 1
	Name   StepName
	Change int // number in the plan, 0 if none
	Of     int // changes in the plan
	Undo   bool
	Text   string // what the change does
	Result Result // with StepNoted
	Why    string
}

// A Report says what a run did, change by change in the order of the plan.
type Report struct {
	Digest  string
	Undo    bool
	Changes []Changed
}

// Changed is what became of one change.
type Changed struct {
	Number   int // in the plan, from 1
	Change   plan.Change
	Result   Result // empty: not come to
	Server   string
	Verified bool
	Earlier  bool // by an earlier run, as the journal says
	Why      string
	Err      error        // behind Why, if the directory or the way to it is the reason
	Made     secdesc.GUID // the object that was created; zero if none was, or it could not be read
}

// A StopError says at which change a run ended. It is [ErrStopped], and what the
// directory said.
type StopError struct {
	Change int // number in the plan
	Result Result
	Why    string
	Err    error // what the directory or the way to it said, nil if a precondition refused
}

// Error says where and why in a line.
func (e *StopError) Error() string {
	return fmt.Sprintf("%v: change %d is %s: %s", ErrStopped, e.Change, e.Result, e.Why)
}

// Unwrap returns ErrStopped and the cause.
func (e *StopError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrStopped}
	}
	return []error{ErrStopped, e.Err}
}

// Count returns how many changes have a result.
func (r *Report) Count(of Result) int {
	n := 0
	for _, c := range r.Changes {
		if c.Result == of {
			n++
		}
	}
	return n
}

// writeTime bounds what must not be interrupted: one write with its reading back and
// its line in the journal.
const writeTime = 2 * time.Minute

// attempts are how often a run sends a write whose answer was lost.
const attempts = 3

// state is a run in progress.
type state struct {
	*Run
	h      *history
	undo   bool
	steps  int
	report *Report
}

// Apply carries a plan out, from where the journal says that an earlier call came to.
// digest is the one that was shown. It ends at the first change that is not done, with
// [ErrStopped]; the report says what was. When ctx ends, the write in flight is
// finished and noted first.
func (r *Run) Apply(ctx context.Context, p *plan.Plan, digest string) (*Report, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if got := p.Digest(); got != digest {
		return nil, fmt.Errorf("%w: its digest is %s, not %s", ErrDigest, got, digest)
	}
	if d := r.Directory.Domain(); !strings.EqualFold(d, p.Domain) {
		return nil, fmt.Errorf("%w: it is for %s, and the directory is %s", plan.ErrPlan, p.Domain, d)
	}
	s, err := r.start(ctx, false)
	if err != nil {
		return nil, err
	}
	switch {
	case s.h.plan == nil:
		s.step(Step{Name: StepBegin, Of: len(p.Changes)})
		e := Entry{Event: Begun, Digest: digest, Plan: p}
		if err := s.note(ctx, e); err != nil {
			return nil, err
		}
		if err := s.h.add(e); err != nil {
			return nil, err
		}
	case s.h.digest != digest:
		return nil, fmt.Errorf("%w: it is of the plan %s", ErrJournal, s.h.digest)
	case s.h.undoBegan:
		return nil, fmt.Errorf("%w: the plan was undone: make a new one", ErrJournal)
	}
	s.report = newReport(s.h, false)
	for i := range s.h.plan.Changes {
		if err := s.one(ctx, i, s.h.plan.Changes[i], &s.h.forth[i]); err != nil {
			return s.report, err
		}
	}
	return s.report, s.end(ctx)
}

// Undo takes back what the journal says was done, last first: changes that were done by
// a run of this journal, and those whose outcome is not known: if somebody else has made
// the same change since, that is taken back, too. What was so before stays.
// It can be called again after a crash, too.
func (r *Run) Undo(ctx context.Context) (*Report, error) {
	s, err := r.start(ctx, true)
	if err != nil {
		return nil, err
	}
	if s.h.plan == nil {
		return nil, fmt.Errorf("%w: it is empty", ErrJournal)
	}
	if d := r.Directory.Domain(); !strings.EqualFold(d, s.h.plan.Domain) {
		return nil, fmt.Errorf("%w: it is of a plan for %s, and the directory is %s", ErrJournal, s.h.plan.Domain, d)
	}
	if !s.h.undoBegan {
		s.step(Step{Name: StepBegin, Of: len(s.h.plan.Changes)})
		if err := s.note(ctx, Entry{Event: Begun, Undo: true, Digest: s.h.digest}); err != nil {
			return nil, err
		}
	}
	s.report = newReport(s.h, true)
	for i := len(s.h.plan.Changes) - 1; i >= 0; i-- {
		if err := s.takeBack(ctx, i); err != nil {
			return s.report, err
		}
	}
	return s.report, s.end(ctx)
}

// start reads the journal.
func (r *Run) start(ctx context.Context, undo bool) (*state, error) {
	if r.Directory == nil || r.Journal == nil || r.Now == nil {
		panic("apply: a Run without Directory, Journal or Now")
	}
	entries, err := r.Journal.Entries(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the journal: %w", err)
	}
	h, err := readHistory(entries)
	if err != nil {
		return nil, err
	}
	return &state{Run: r, h: h, undo: undo}, nil
}

func newReport(h *history, undo bool) *Report {
	out := &Report{Digest: h.digest, Undo: undo, Changes: make([]Changed, len(h.plan.Changes))}
	for i, c := range h.plan.Changes {
		out.Changes[i] = Changed{Number: i + 1, Change: c}
	}
	return out
}

// step tells where the run is.
func (s *state) step(v Step) {
	s.steps++
	if s.Progress != nil {
		v.Number, v.Undo = s.steps, s.undo
		s.Progress(v)
	}
}

// note appends an entry, also when ctx has ended: what was done must be noted.
func (s *state) note(ctx context.Context, e Entry) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTime)
	defer cancel()
	e.Time = s.Now().UTC()
	if err := s.Journal.Append(ctx, e); err != nil {
		return fmt.Errorf("noting in the journal: %w", err)
	}
	return nil
}

func (s *state) end(ctx context.Context) error {
	if s.h.ended {
		return nil
	}
	s.step(Step{Name: StepEnd, Of: len(s.h.plan.Changes)})
	return s.note(ctx, Entry{Event: Ended, Undo: s.undo, Digest: s.h.digest})
}

// one carries one change out, if that is not done yet, as often as its answer is lost.
func (s *state) one(ctx context.Context, i int, c plan.Change, t *trace) error {
	out := &s.report.Changes[i]
	if t.final() {
		out.Result, out.Earlier = t.result, true
		if t.intent != nil {
			out.Server = t.intent.Server
		}
		return nil
	}
	if t.intent != nil && t.intent.Server != "" { // go on where it was begun
		if err := s.Directory.w.Pin(c.Object.GUID, t.intent.Server); err != nil {
			return fmt.Errorf("change %d: %w", i+1, err)
		}
	}
	for try := 1; ; try++ {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%w: interrupted before change %d: %w", ErrStopped, i+1, context.Cause(ctx))
		}
		err := s.attempt(ctx, i, c, t)
		if err != nil {
			return err
		}
		if t.final() {
			return nil
		}
		if t.result != Uncertain || try == attempts {
			return &StopError{i + 1, out.Result, out.Why, out.Err}
		}
	}
}

// attempt is one passage through the steps of a change. Its error is of the journal;
// everything else is in the trace.
func (s *state) attempt(ctx context.Context, i int, c plan.Change, t *trace) error {
	at := Step{Change: i + 1, Of: len(s.h.plan.Changes), Text: c.Text()}
	at.Name = StepRead
	s.step(at)
	f, err := s.Directory.facts(ctx, c)
	if err != nil {
		result := Failed
		if t.open() {
			result = Uncertain // an earlier write may have been done
		}
		return s.conclude(ctx, at, t, Changed{Result: result, Server: s.Directory.w.ServerFor(c.Object.GUID).Name, Why: err.Error(), Err: err})
	}
	if t.open() && c.Kind == plan.ResetPassword {
		c.Require.PasswordSet = nil // the open write may have set it
	}
	verdict, why := c.Judge(f)
	switch {
	case verdict == plan.Already && t.open():
		out := Changed{Result: Done, Server: f.Server, Verified: true, Why: "found done after its answer was lost"}
		if c.Kind == plan.CreateObject {
			out.Made = f.Child.GUID
		}
		return s.conclude(ctx, at, t, out)
	case verdict == plan.Already:
		return s.conclude(ctx, at, t, Changed{Result: Already, Server: f.Server, Verified: true})
	case verdict == plan.Refused:
		result := Refused
		if t.open() && !explains(c, f) {
			result = Uncertain
		}
		return s.conclude(ctx, at, t, Changed{Result: result, Server: f.Server, Why: why})
	}
	at.Name = StepIntent
	s.step(at)
	intent := Entry{Event: Intent, Undo: s.undo, Change: i + 1, Server: f.Server, Facts: &f}
	if err := s.note(ctx, intent); err != nil {
		return err
	}
	if t.first == nil {
		t.first = &intent
	}
	t.intent, t.result = &intent, ""
	return s.send(ctx, at, c, t)
}

// explains reports whether facts that refuse a change whose earlier write is open also
// tell what became of that write: the fact itself was read and is not as wanted, or the
// object is gone.
func explains(c plan.Change, f plan.Facts) bool {
	if c.Kind == plan.ResetPassword {
		return f.Deleted
	}
	c.Require = plan.Require{}
	verdict, _ := c.Judge(f)
	return verdict == plan.Fits || f.Deleted
}

// send writes, reads back and notes the outcome. From here on ctx no longer counts.
func (s *state) send(ctx context.Context, at Step, c plan.Change, t *trace) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTime)
	defer cancel()
	at.Name = StepWrite
	s.step(at)
	w := s.Directory.write(ctx, c, *t.intent.Facts, func() ([]byte, error) { return s.password(ctx, at.Change, c.Object) })
	out := Changed{Server: w.Server.Name, Verified: w.Verified, Err: w.Err}
	switch w.Outcome {
	case dc.Done:
		out.Result = Done
		if c.Kind == plan.CreateObject {
			out.Made = s.made(ctx, c)
		}
		if !w.Verified {
			out.Why = "the domain controller confirmed it, but it could not be read back: " + errText(w.Unread)
		}
	case dc.Already:
		// It was not so when the facts were read: either an earlier attempt of ours
		// did it, or somebody else just now.
		out.Result = Already
		if t.first != t.intent {
			out.Result = Done
		}
	case dc.NotDone:
		out.Result, out.Why = Failed, errText(w.Err)
	case dc.Uncertain:
		out.Result, out.Why = Uncertain, errText(w.Err)
	}
	at.Name = StepOutcome
	s.step(at)
	return s.conclude(ctx, at, t, out)
}

// made reads the GUID of an object that was just created.
func (s *state) made(ctx context.Context, c plan.Change) secdesc.GUID {
	var f plan.Facts
	if err := s.Directory.childFacts(ctx, c, &f); err != nil || f.Child == nil {
		return secdesc.GUID{} // undoing then goes by name, class and account name
	}
	return f.Child.GUID
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (s *state) password(ctx context.Context, change int, account plan.Target) ([]byte, error) {
	if s.Password == nil {
		return nil, fmt.Errorf("no password is given for %s", account.Name())
	}
	return s.Password(ctx, change, account)
}

// conclude notes the outcome of an attempt.
func (s *state) conclude(ctx context.Context, at Step, t *trace, out Changed) error {
	i := at.Change - 1
	out.Number, out.Change = at.Change, s.h.plan.Changes[i]
	err := s.note(ctx, Entry{
		Event: Outcome, Undo: s.undo, Change: at.Change, Server: out.Server,
		Result: out.Result, Verified: out.Verified, Why: out.Why, Made: out.Made,
	})
	if err != nil {
		return err
	}
	s.report.Changes[i] = out
	t.result = out.Result
	if !out.Made.IsZero() {
		t.made = out.Made
	}
	if out.Result == Failed || out.Result == Refused {
		t.intent, t.first = nil, nil
	}
	at.Name, at.Result, at.Why = StepNoted, out.Result, out.Why
	s.step(at)
	return nil
}

// takeBack undoes one change, if a run of this journal did it or may have.
func (s *state) takeBack(ctx context.Context, i int) error {
	forth, back := s.h.forth[i], &s.h.back[i]
	if forth.result != Done && !forth.open() {
		return nil // never sent, or so before
	}
	out := &s.report.Changes[i]
	if back.final() {
		out.Result, out.Earlier = back.result, true
		return nil
	}
	c := s.h.plan.Changes[i]
	inverse, err := c.Inverse(*forth.first.Facts)
	if err != nil {
		at := Step{Name: StepOutcome, Change: i + 1, Of: len(s.h.plan.Changes), Text: c.Text()}
		s.step(at)
		return s.conclude(ctx, at, back, Changed{Result: Irreversible, Why: err.Error()})
	}
	if inverse.Kind == plan.DeleteObject {
		inverse.Require.Made = forth.made
	}
	if forth.intent.Server != "" {
		if err := s.Directory.w.Pin(c.Object.GUID, forth.intent.Server); err != nil {
			return fmt.Errorf("change %d: %w", i+1, err)
		}
	}
	return s.one(ctx, i, inverse, back)
}

// ttl is the time to live of a member.
func ttl(c plan.Change) time.Duration { return time.Duration(c.Seconds) * time.Second }
