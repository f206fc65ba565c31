package store_test

import (
	"context"
	"testing"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/store/storetest"
)

// BenchmarkAppend measures entries a transaction of one and of a hundred.
func BenchmarkAppend(b *testing.B) {
	for name, open := range map[string]func(testing.TB) storetest.DB{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		for size, n := range map[string]int{"1": 1, "100": 100} {
			b.Run(name+"/"+size, func(b *testing.B) {
				s := open(b).Open(b)
				entries := make([]audit.Entry, n)
				for i := range entries {
					entries[i] = anEntry("because")
				}
				for b.Loop() {
					err := s.Update(b.Context(), func(ctx context.Context, tx *store.Tx) error {
						_, err := audit.Append(ctx, tx, entries...)
						return err
					})
					if err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "entries/s")
				if r := verify(b, s, nil); !r.Sound() {
					b.Error(r.Problems)
				}
			})
		}
	}
}
