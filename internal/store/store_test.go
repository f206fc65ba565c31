package store_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/store/storetest"
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

func TestMain(m *testing.M) {
	if os.Getenv(crashEnv) != "" {
		writeUntilKilled()
	}
	os.Exit(storetest.Main(m))
}

// An entry is kept with the state that it describes or not at all, and leaves no
// gap in the log.
func TestWhatFailsLeavesNoEntry(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s *store.Store) {
		ctx, stop := t.Context(), errors.New("stop")
		for i := range 20 {
			err := s.Update(ctx, func(ctx context.Context, tx *store.Tx) error {
				if _, err := audit.Append(ctx, tx, anEntry("lost")); err != nil {
					return err
				}
				return stop
			})
			if !errors.Is(err, stop) {
				t.Fatal(err)
			}
			err = s.Update(ctx, func(ctx context.Context, tx *store.Tx) error {
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
	})
}
