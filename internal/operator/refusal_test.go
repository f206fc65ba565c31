package operator_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/operator"
)

// Who is signed in cannot fill the log with what he is refused, by whichever way; what got
// no entry is counted there, and others are logged as ever.
func TestCallersCannotFillTheLog(t *testing.T) {
	w := newWorld(t)
	anna, ben := w.caller(w.signIn(w.dir.Add("anna")).Secret), w.caller(w.signIn(w.dir.Add("ben")).Secret)
	const n = 2000
	for i := range n {
		_, err := w.Authorize(t.Context(), anna, operator.Administer, operator.Server())
		if i%2 == 0 {
			_, err = w.StepUpTOTP(t.Context(), anna, "000000")
		}
		if err == nil {
			t.Fatal("it was allowed")
		}
	}
	logged := 0
	for _, e := range w.store.Log().Entries {
		if e.Phase == audit.Refusal && e.Actor.Name == anna.Name {
			logged++
		}
	}
	if logged < 50 || logged > 120 {
		t.Errorf("%d entries", logged)
	}
	if _, err := w.Authorize(t.Context(), ben, operator.Administer, operator.Server()); err == nil {
		t.Error("it was allowed")
	}
	if got := w.lastRefusal("operator.administer"); got[:len(ben.Name)] != ben.Name {
		t.Errorf("the last is %s", got)
	}
	if err := w.Sweep(t.Context(), w.now); err != nil {
		t.Fatal(err)
	}
	// Half of the tries refuse twice: the permission, and the factor.
	if got, want := w.lastRefusal("operator.refusals"), fmt.Sprintf("%s: %d more requests were refused and not logged one by one", anna.Name, n+n/2-logged); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	w.pass(2 * time.Hour)
	anna = w.caller(w.signIn(w.must("anna")).Secret)
	before := len(w.entries(audit.Refusal, "operator.administer"))
	if _, err := w.Authorize(t.Context(), anna, operator.Administer, operator.Server()); err == nil || len(w.entries(audit.Refusal, "operator.administer")) != before+1 {
		t.Errorf("%v; later refusals are logged again", err)
	}
}
