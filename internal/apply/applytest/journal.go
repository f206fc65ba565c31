// Package applytest checks what package apply asks of others: that a journal keeps what a
// run relies on. It is for the tests of those that implement one.
package applytest

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/apply"
	"github.com/leastwise/leastwise/internal/plan"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Conform checks a journal. open returns the journal of a name, the same one each time,
// as a process does that starts anew; the journal before is not closed.
func Conform(t *testing.T, open func(t *testing.T, name string) apply.Journal) {
	t.Run("KeepsEntriesInOrder", func(t *testing.T) { order(t, open) })
	t.Run("ApartByName", func(t *testing.T) { apart(t, open) })
	t.Run("RefusesWhenGivenUp", func(t *testing.T) { givenUp(t, open) })
}

// entries are one of each kind, with something in every field.
func entries(t *testing.T) []apply.Entry {
	t.Helper()
	group := plan.Target{GUID: secdesc.MustGUID("00000000-0000-4000-8000-000000000001"), DN: "CN=Ädmins,DC=contoso,DC=com", SID: secdesc.MustSID("S-1-5-21-1-2-3-1104")}
	member := plan.Target{GUID: secdesc.MustGUID("00000000-0000-4000-8000-000000000002"), DN: "CN=anna,DC=contoso,DC=com", SID: secdesc.MustSID("S-1-5-21-1-2-3-1105")}
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	p, err := plan.New("contoso.com", "test", at, []plan.Change{{Kind: plan.AddMember, Object: group, Member: &member}})
	if err != nil {
		t.Fatal(err)
	}
	flags := uint32(512)
	return []apply.Entry{
		{Time: at, Event: apply.Begun, Digest: p.Digest(), Plan: p},
		{Time: at, Event: apply.Intent, Change: 1, Server: "dc1.contoso.com", Facts: &plan.Facts{Server: "dc1.contoso.com", DN: group.DN, SID: group.SID, Flags: &flags}},
		{Time: at, Event: apply.Outcome, Change: 1, Server: "dc1.contoso.com", Result: apply.Done, Verified: true, Why: "line 1\nline 2"},
		{Time: at, Event: apply.Ended},
	}
}

func order(t *testing.T, open func(*testing.T, string) apply.Journal) {
	ctx := t.Context()
	var want []apply.Entry
	for i, e := range entries(t) {
		j := open(t, "order") // each by a process of its own
		if got, err := j.Entries(ctx); err != nil || len(got) != i {
			t.Fatalf("%d entries, %v; want %d", len(got), err, i)
		}
		e.Number = 99 // the journal numbers
		if err := j.Append(ctx, e); err != nil {
			t.Fatal(err)
		}
		e.Number = i + 1
		want = append(want, e)
		got, err := j.Entries(ctx)
		if err != nil || len(got) != len(want) {
			t.Fatalf("%d entries, %v", len(got), err)
		}
		for k := range want {
			if a, b := plain(got[k]), plain(want[k]); !reflect.DeepEqual(a, b) {
				t.Errorf("entry %d\n got %+v\nwant %+v", k+1, a, b)
			}
		}
		if closer, ok := j.(interface{ Close() error }); ok {
			if err := closer.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// plain is an entry with its plan as the digest, which stands for all of it.
func plain(e apply.Entry) apply.Entry {
	if e.Plan != nil {
		e.Why = e.Plan.Digest()
		e.Plan = nil
	}
	return e
}

func apart(t *testing.T, open func(*testing.T, string) apply.Journal) {
	ctx := t.Context()
	a, b := open(t, "a"), open(t, "b")
	for i, e := range entries(t) {
		if err := a.Append(ctx, e); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			continue
		}
		if err := b.Append(ctx, e); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := b.Entries(ctx); err != nil || len(got) != 1 {
		t.Errorf("%d entries, %v", len(got), err)
	}
}

// givenUp: an entry that could not be written is not there, or the journal takes no more.
func givenUp(t *testing.T, open func(*testing.T, string) apply.Journal) {
	j := open(t, "given-up")
	list := entries(t)
	if err := j.Append(t.Context(), list[0]); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the caller went away"))
	first := j.Append(ctx, list[1])
	second := j.Append(t.Context(), list[2])
	got, err := j.Entries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := 3 // it does not look at the context
	switch {
	case first != nil && second != nil:
		want = 1
	case first != nil || second != nil:
		want = 2
	}
	if len(got) != want {
		t.Errorf("%d entries after %v and %v", len(got), first, second)
	}
	for i, e := range got {
		if e.Number != i+1 {
			t.Errorf("entry %d has the number %d", i+1, e.Number)
		}
	}
}
