package store_test

import (
	"testing"

	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/operator/operatortest"
	"github.com/leastwise/leastwise/internal/store/storetest"
)

func TestOperatorsConform(t *testing.T) {
	storetest.Each(t, func(t *testing.T, _ storetest.DB) {
		sqlite := t.Name() == "TestOperatorsConform/sqlite"
		operatortest.Conform(t, func(t *testing.T) operator.Store {
			if sqlite {
				return storetest.SQLite(t).Open(t).Operators()
			}
			return storetest.Postgres(t).Open(t).Operators()
		})
	})
}
