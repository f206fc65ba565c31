package apply

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leastwise/leastwise/internal/plan"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Errors that callers may test for.
var (
	ErrDigest  = errors.New("the plan is not the one that was shown")
	ErrJournal = errors.New("the journal does not fit")
	ErrStopped = errors.New("the plan was not carried out to its end")
)

// A Journal keeps what a run intends and what became of it, for one plan. Package store
// has one in a database, this package one in a file (see [OpenFile]). Methods are called
// from one goroutine.
type Journal interface {
	// Append adds an entry and returns when it would survive a loss of power. The
	// journal numbers entries from 1.
	Append(ctx context.Context, e Entry) error
	// Entries returns all entries in the order in which they were added.
	Entries(ctx context.Context) ([]Entry, error)
}

// An Event says what an entry notes.
type Event string

// Events.
const (
	Begun   Event = "begun"   // a plan is carried out: Plan, Digest
	Intent  Event = "intent"  // a change will be written: Change, Facts, Server
	Outcome Event = "outcome" // what became of a change: Change, Result
	Ended   Event = "ended"   // the run came to the end of the plan, or of its undoing
)

// A Result is what became of a change.
type Result string

// Results. Done, Already and Irreversible are final; after the others another run tries
// again.
const (
	Done         Result = "done"         // the directory did it
	Already      Result = "already"      // it was so before; undo leaves it alone
	Refused      Result = "refused"      // a precondition was not true; nothing was sent
	Failed       Result = "failed"       // the directory refused it, or was not reached: not done
	Uncertain    Result = "uncertain"    // sent, and no answer: done or not
	Irreversible Result = "irreversible" // it cannot be undone, and stays
)

// An Entry is one line of a journal. It holds no password.
type Entry struct {
	Number   int         `json:"number"`
	Time     time.Time   `json:"time"`
	Event    Event       `json:"event"`
	Undo     bool        `json:"undo,omitempty"` // of undoing
	Digest   string      `json:"digest,omitempty"`
	Plan     *plan.Plan  `json:"plan,omitempty"`
	Change   int         `json:"change,omitempty"` // number in the plan, from 1
	Server   string      `json:"server,omitempty"` // domain controller that is written to
	Facts    *plan.Facts `json:"facts,omitempty"`  // read right before
	Result   Result      `json:"result,omitempty"`
	Verified bool        `json:"verified,omitempty"` // reading back showed it
	Why      string      `json:"why,omitempty"`
	// Made is the GUID of the object that the change created, so that undoing deletes
	// no other one.
	Made secdesc.GUID `json:"made,omitzero"`
}

// A trace is what a journal says of one change in one direction.
type trace struct {
	intent *Entry // the last one, nil if none
	result Result // the last one, empty if none since the intent
	first  *Entry // the first intent: its facts are from before any write
	made   secdesc.GUID
}

// final reports whether nothing is left to do.
func (t trace) final() bool {
	return t.result == Done || t.result == Already || t.result == Irreversible
}

// open reports whether a write may have been sent whose outcome is not known.
func (t trace) open() bool {
	return t.intent != nil && (t.result == "" || t.result == Uncertain)
}

// A history is what a journal says.
type history struct {
	plan      *plan.Plan
	digest    string
	forth     []trace // by change, from 0
	back      []trace
	undoBegan bool
	ended     bool // the last run in the last direction came to its end
}

// readHistory understands the entries of a journal.
func readHistory(entries []Entry) (*history, error) {
	h := &history{}
	for i, e := range entries {
		if e.Number != i+1 {
			return nil, fmt.Errorf("%w: entry %d has the number %d", ErrJournal, i+1, e.Number)
		}
		if err := h.add(e); err != nil {
			return nil, fmt.Errorf("%w: entry %d: %w", ErrJournal, e.Number, err)
		}
	}
	return h, nil
}

func (h *history) add(e Entry) error {
	switch e.Event {
	case Begun:
		return h.begin(e)
	case Ended:
		h.ended = true
		return nil
	case Intent, Outcome:
	default:
		return fmt.Errorf("there is no event %q", e.Event)
	}
	if h.plan == nil || e.Change < 1 || e.Change > len(h.plan.Changes) {
		return fmt.Errorf("there is no change %d", e.Change)
	}
	list := h.forth
	if e.Undo {
		list = h.back
	}
	t := &list[e.Change-1]
	if e.Event == Intent {
		if e.Facts == nil {
			return errors.New("an intent without facts")
		}
		t.intent, t.result = &e, ""
		if t.first == nil {
			t.first = &e
		}
		return nil
	}
	t.result = e.Result
	if !e.Made.IsZero() {
		t.made = e.Made
	}
	if t.result == Failed || t.result == Refused { // nothing was changed: the next intent is the first again
		t.intent, t.first = nil, nil
	}
	return nil
}

func (h *history) begin(e Entry) error {
	if e.Undo {
		h.undoBegan, h.ended = true, false
		return nil
	}
	switch {
	case e.Plan == nil:
		return errors.New("no plan")
	case h.plan != nil:
		return errors.New("a second plan")
	}
	if err := e.Plan.Validate(); err != nil {
		return err
	}
	if got := e.Plan.Digest(); got != e.Digest {
		return fmt.Errorf("its plan has the digest %s, not %s: it was changed", got, e.Digest)
	}
	h.plan, h.digest = e.Plan, e.Digest
	h.forth, h.back = make([]trace, len(e.Plan.Changes)), make([]trace, len(e.Plan.Changes))
	return nil
}
