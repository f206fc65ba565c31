package store_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/internal/store"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 123456789, time.UTC)

// anEntry is a valid entry.
func anEntry(reason string) audit.Entry {
	return audit.Entry{
		Time: noon, Phase: audit.Fact, Action: "grant.request", Reason: reason,
		Actor:  audit.Actor{Name: `CONTOSO\alice`, Method: audit.Kerberos},
		Target: secdesc.MustGUID("11111111-2222-3333-4444-555555555555"),
	}
}

func TestWhatFailsLeavesNoEntry(t *testing.T) {
	ctx := t.Context()
	s, err := store.Open(ctx, store.Options{Database: filepath.Join(t.TempDir(), "a b?#%.db"), Migrate: true, Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	stop := errors.New("stop")
	for range 3 {
		err := s.Update(ctx, func(ctx context.Context, tx *store.Tx) error {
			if _, err := audit.Append(ctx, tx, anEntry("x")); err != nil {
				return err
			}
			return stop
		})
		if !errors.Is(err, stop) {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		err := s.Update(ctx, func(ctx context.Context, tx *store.Tx) error {
			first, err := audit.Append(ctx, tx, anEntry("x"), anEntry("y"))
			if want := int64(2*i + 1); first != want {
				t.Errorf("first is %d, want %d", first, want)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	err = s.View(ctx, func(ctx context.Context, tx *store.Tx) error {
		root, err := audit.Root(ctx, tx, 41)
		t.Logf("%v", root)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
