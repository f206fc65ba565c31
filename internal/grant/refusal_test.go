package grant_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/grant"
)

// Whoever is refused again and again fills the log with a bounded number of entries, and
// what got none is counted there. Others are logged as ever.
func TestFloodOfRefusals(t *testing.T) {
	r := newRig(t)
	g := r.quick("g", time.Hour)
	const tries, each = 5000, 60
	for range tries {
		if err := r.do(r.w.Staff[3], g.ID, grant.Approve); err == nil {
			t.Fatal("it was not refused")
		}
	}
	if err := r.do(r.w.Staff[1], g.ID, grant.Approve); err == nil {
		t.Fatal("it was not refused")
	}
	if n := r.logged(grant.Approve, grant.Refusal); n != each+1 {
		t.Errorf("%d entries, want %d and one of somebody else", n, each)
	}
	r.pass(11 * time.Minute)
	if n := r.logged(grant.Refusals, grant.Refusal); n != 1 {
		t.Fatalf("%d entries say how many were counted, want 1", n)
	}
	for _, e := range r.shim.Log {
		if e.Action == grant.Refusals && (!strings.HasPrefix(e.Detail, "4940 more") || e.Actor.Account != r.w.Staff[3]) {
			t.Errorf("of %s: %s", e.Actor.Name, e.Detail)
		}
	}
	if err := r.do(r.w.Staff[3], g.ID, grant.Approve); err == nil || r.logged(grant.Approve, grant.Refusal) != each+2 {
		t.Errorf("%v; a new window begins with entries again", err)
	}
}

// A failure is no refusal: what could not be stored, or may have been stored, is not
// called refused in the log.
func TestFailureIsNoRefusal(t *testing.T) {
	r := newRig(t)
	lost := errors.New("the answer to a commit was lost")
	for name, f := range map[string]func() error{
		"request": func() error {
			_, err := r.svc.Request(t.Context(), r.w.Caller(r.w.Staff[2]), grant.Order{ID: "x", Policy: "quick", For: time.Minute, Reason: "test"}, r.now())
			return err
		},
		"command": func() error { return r.do(r.w.Staff[2], "g", grant.GiveBack) },
	} {
		if name == "command" {
			r.quick("g", time.Hour)
		}
		r.shim.Lost = lost
		err := f()
		if !errors.Is(err, lost) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, e := range r.shim.Log {
		if e.Kind == grant.Refusal {
			t.Errorf("refused: %s %s", e.Action, e.Detail)
		}
	}
}

// What the directory or the database said is for the logs: whoever asked gets the
// sentence without it.
func TestSaid(t *testing.T) {
	r := newRig(t)
	g := r.quick("g", time.Hour)
	err := r.do(r.w.Staff[3], g.ID, grant.Approve)
	if said := grant.Said(err); said == "" || !strings.Contains(err.Error(), said) || strings.Contains(said, "granted") {
		t.Errorf("%q of %v", said, err)
	}
	if said := grant.Said(errors.New("SQLITE_IOERR")); said != "" {
		t.Errorf("said %q", said)
	}
}
