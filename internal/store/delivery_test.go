package store_test

import (
	"context"
	"testing"

	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/notify/notifytest"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/store/storetest"
)

func TestDeliveriesConform(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s *store.Store) {
		notifytest.Conform(t, s.Deliveries(), func(list ...grant.Notice) {
			t.Helper()
			err := s.Grants().Update(t.Context(), func(ctx context.Context, tx grant.Tx) error {
				for _, n := range list {
					if err := tx.Notify(ctx, n); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	})
}
