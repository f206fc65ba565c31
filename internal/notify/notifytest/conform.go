package notifytest

import (
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/notify"
)

// Origin is the time of the conformance tests.
var Origin = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

// Conform tests an outbox; owe stores notices in it as grants do.
func Conform(t *testing.T, box notify.Outbox, owe func(...grant.Notice)) {
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	notice := grant.Notice{Time: Origin, Grant: "g1", Event: grant.Approve, State: grant.Approved, To: []grant.Audience{grant.ToSecurity}, Loud: true, Text: "größe \"x\""}
	other := notice
	other.Text = "another"
	owe(notice)
	owed, err := box.Owed(ctx, 10)
	must(err)
	if len(owed) != 1 || owed[0].Text != notice.Text || !owed[0].Loud || owed[0].To[0] != grant.ToSecurity {
		t.Fatalf("owed %+v", owed)
	}
	message := notify.Message{ID: "d1", Time: Origin, Grant: "g1", Event: grant.Approve, Text: notice.Text, Loud: true}
	d1 := notify.Delivery{ID: "d1", Target: "mail", Recipient: "a@x", Message: message, Created: Origin, Next: Origin}
	d2 := d1
	d2.ID, d2.Recipient, d2.Next, d2.Created = "d2", "b@x", Origin.Add(time.Second), Origin.Add(time.Second)
	d3 := d1
	d3.ID, d3.Target, d3.Recipient = "d3", "hook", ""
	must(box.Route(ctx, owed[0], []notify.Delivery{d1, d2, d3}))
	// The number of a notice that is gone may name another one.
	owe(other)
	again, err := box.Owed(ctx, 10)
	must(err)
	stale := owed[0]
	stale.ID = again[0].ID
	must(box.Route(ctx, stale, []notify.Delivery{{ID: "d9", Target: "mail", Message: message, Created: Origin, Next: Origin}}))
	if left, err := box.Owed(ctx, 10); err != nil || len(left) != 1 || left[0].Text != "another" {
		t.Fatalf("a notice was taken for another: %+v, %v", left, err)
	}
	must(box.Route(ctx, again[0], nil))
	if left, err := box.Owed(ctx, 10); err != nil || len(left) != 0 {
		t.Fatalf("left %+v, %v", left, err)
	}

	claim := func(target string, now time.Time, want ...string) []notify.Delivery {
		t.Helper()
		got, err := box.Claim(ctx, target, now, now.Add(time.Minute), 10)
		must(err)
		ids := []string{}
		for _, d := range got {
			ids = append(ids, d.ID)
		}
		if len(ids) != len(want) {
			t.Fatalf("claimed %q, want %q", ids, want)
		}
		for i := range want {
			if ids[i] != want[i] {
				t.Fatalf("claimed %q, want %q", ids, want)
			}
		}
		return got
	}
	got := claim("mail", Origin, "d1")
	if got[0].Message.Text != notice.Text || got[0].Recipient != "a@x" || !got[0].Message.Time.Equal(Origin) {
		t.Errorf("%+v", got[0])
	}
	claim("mail", Origin.Add(2*time.Second), "d2")                     // d1 is under way
	claim("mail", Origin.Add(61*time.Second), "d1")                    // its lease is over
	claim("mail", Origin.Add(2*time.Minute+2*time.Second), "d2", "d1") // so are both
	failed := got[0]
	failed.Attempts, failed.Next, failed.Fault = 1, Origin.Add(time.Hour), "no such host"
	must(box.Settle(ctx, failed, false))
	must(box.Settle(ctx, d2, true))
	claim("mail", Origin.Add(59*time.Minute))
	got = claim("mail", Origin.Add(time.Hour), "d1")
	if got[0].Attempts != 1 || got[0].Fault != "no such host" {
		t.Errorf("%+v", got[0])
	}
	dying := got[0]
	dying.Dead, dying.Attempts = true, notify.MaxAttempts
	must(box.Settle(ctx, dying, false))
	claim("mail", Origin.Add(48*time.Hour))
	dead, waiting, err := box.Undelivered(ctx, 10)
	if err != nil || len(dead) != 1 || dead[0].ID != "d1" || waiting != 1 {
		t.Errorf("dead %+v, waiting %d, %v", dead, waiting, err)
	}
	for _, want := range []bool{true, false} {
		if ok, err := box.Revive(ctx, "d1", Origin); ok != want || err != nil {
			t.Errorf("revived %t, want %t: %v", ok, want, err)
		}
	}
	if got := claim("mail", Origin.Add(48*time.Hour), "d1"); got[0].Attempts != 0 {
		t.Errorf("%+v", got[0])
	}
}
