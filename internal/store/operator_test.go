package store_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/operator/operatortest"
	"github.com/leastwise/leastwise/internal/store"
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

// An operator's way through everything, on two nodes and both databases; the log tells it
// and verifies.
func TestOperatorsStory(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s *store.Store) {
		operatortest.Story(t, s.Operators(), func(secret string, at time.Time) string {
			code, err := totp.GenerateCode(secret, at)
			if err != nil {
				t.Fatal(err)
			}
			return code
		})
		err := s.View(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			entries, err := tx.AuditEntries(ctx, store.AuditFilter{})
			if err != nil {
				return err
			}
			if r, err := audit.Verify(ctx, tx, nil); err != nil || !r.Sound() || r.Entries == 0 {
				t.Errorf("the log: %+v, %v", r, err)
			}
			var told []string
			for _, e := range entries {
				told = append(told, e.Phase.String()+" "+e.Action)
				if e.Phase == audit.Intent || e.Phase == audit.Outcome {
					t.Errorf("%s is no act on something outside", e.Action)
				}
			}
			const want = "fact operator.init|refusal operator.init|fact session.begin|refusal session.begin|fact factor.enrol|fact factor.confirm|" +
				"fact factor.accept|refusal factor.accept|fact token.issue|refusal session.begin"
			if got := strings.Join(told, "|"); !strings.Contains(got, want) || !strings.Contains(got, "fact session.end|fact token.revoke") {
				t.Errorf("the log tells\n%s\nwant\n%s", got, want)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// A restore signs nobody in: a session or token that was revoked after the backup is not
// good again. Second factors stay.
func TestRestoreEndsSessions(t *testing.T) {
	storetest.Each(t, func(t *testing.T, d storetest.DB) {
		s := d.Open(t)
		err := s.Operators().Update(t.Context(), func(ctx context.Context, tx operator.Tx) error {
			for _, kind := range operator.Kinds() {
				if err := tx.Put(ctx, operator.Record{Kind: kind, ID: "a", Body: []byte("{}")}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		b, _ := backup(t, s)
		to := storetest.SQLite(t)
		if _, err := store.Restore(t.Context(), store.Options{Database: to.Name}, bytes.NewReader(b), restored()); err != nil {
			t.Fatal(err)
		}
		err = to.Open(t).Operators().View(t.Context(), func(ctx context.Context, tx operator.Tx) error {
			for _, kind := range operator.Kinds() {
				_, err := tx.Record(ctx, kind, "a")
				ends := kind == "session" || kind == "token" || kind == "ceremony"
				if errors.Is(err, operator.ErrNotFound) != ends {
					t.Errorf("%s: %v", kind, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
