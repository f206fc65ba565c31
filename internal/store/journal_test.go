package store_test

import (
	"errors"
	"testing"

	"github.com/leastwise/leastwise/internal/apply"
	"github.com/leastwise/leastwise/internal/apply/applytest"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/store/storetest"
)

func TestJournalConforms(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s *store.Store) {
		applytest.Conform(t, func(t *testing.T, name string) apply.Journal {
			t.Helper()
			j, err := s.Journal(t.Context(), t.Name()+name)
			if err != nil {
				t.Fatal(err)
			}
			return j
		})
	})
}

// Of two holders of one journal the second to write is refused, and stays so.
func TestJournalHasOneWriter(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		a, err := s.Journal(ctx, "plan")
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.Journal(ctx, "plan")
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Append(ctx, apply.Entry{Event: apply.Ended}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := b.Append(ctx, apply.Entry{Event: apply.Ended}); !errors.Is(err, apply.ErrJournal) {
				t.Errorf("the second holder: %v", err)
			}
		}
		if err := a.Append(ctx, apply.Entry{Event: apply.Ended}); err != nil {
			t.Errorf("the first holder: %v", err)
		}
		if _, err := s.Journal(ctx, ""); err == nil {
			t.Error("a journal without a name")
		}
	})
}
