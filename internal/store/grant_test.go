package store_test

import (
	"context"
	"flag"
	"os"
	"testing"

	"pgregory.net/rapid"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/grant/granttest"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/store/storetest"
	"github.com/leastwise/leastwise/lab/need"
)

func TestGrantsConform(t *testing.T) {
	storetest.Each(t, func(t *testing.T, _ storetest.DB) {
		sqlite := t.Name() == "TestGrantsConform/sqlite"
		granttest.Conform(t, func(t *testing.T) grant.Store {
			if sqlite {
				return storetest.SQLite(t).Open(t).Grants()
			}
			return storetest.Postgres(t).Open(t).Grants()
		})
	})
}

// Random histories on real databases, a few here; LEASTWISE_GRANT_RUNS asks for more.
func TestGrantHistories(t *testing.T) {
	need.Long(t)
	runs := os.Getenv("LEASTWISE_GRANT_RUNS")
	if runs == "" {
		runs = "3"
	}
	for name, value := range map[string]string{"rapid.checks": runs, "rapid.seed": "20261122", "rapid.nofailfile": "true"} {
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	storetest.Stores(t, func(t *testing.T, s *store.Store) {
		var f granttest.Figures
		rapid.Check(t, func(rt *rapid.T) {
			if err := s.Update(t.Context(), emptyGrants); err != nil {
				rt.Fatal(err)
			}
			granttest.Simulate(rt, s.Grants(), &f)
		})
		t.Logf("%+v", f)
		if err := s.View(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			entries, err := tx.AuditEntries(ctx, store.AuditFilter{Action: "grant"})
			if err != nil {
				return err
			}
			outcomes := 0
			for _, e := range entries {
				if e.Phase == audit.Outcome {
					outcomes++
				}
			}
			if outcomes == 0 {
				t.Error("the log has no outcome of a write")
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// emptyGrants removes the grants of the history before.
func emptyGrants(ctx context.Context, tx *store.Tx) error {
	for _, q := range []string{"DELETE FROM grants", "DELETE FROM grant_holdings", "DELETE FROM grant_notices"} {
		if _, err := tx.SQL().ExecContext(ctx, q); err != nil {
			return err
		}
	}
	return nil
}
