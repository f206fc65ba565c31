package operatortest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Origin is when the tests of this package take place.
var Origin = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant that Go cannot write

// GUID returns the n-th objectGUID for tests.
func GUID(n int) secdesc.GUID {
	return secdesc.MustGUID(fmt.Sprintf("00000000-0000-4000-9000-%012x", n))
}

// Conform checks that a store does what [operator.Store] asks. open returns an empty one.
func Conform(t *testing.T, open func(*testing.T) operator.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, operator.Store)
	}{
		{"RoundTrip", conformRoundTrip},
		{"Conflicts", conformConflicts},
		{"Rollback", conformRollback},
		{"Search", conformSearch},
		{"Trim", conformTrim},
		{"Concurrent", conformConcurrent},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func update(t *testing.T, s operator.Store, f func(context.Context, operator.Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

func puts(t *testing.T, s operator.Store, list ...operator.Record) {
	t.Helper()
	update(t, s, func(ctx context.Context, tx operator.Tx) error {
		for _, r := range list {
			if err := tx.Put(ctx, r); err != nil {
				return err
			}
		}
		return nil
	})
}

func conformRoundTrip(t *testing.T, s operator.Store) {
	for i, kind := range operator.Kinds() {
		r := operator.Record{Kind: kind, ID: fmt.Sprintf("r-%d", i), Account: GUID(i), Until: Origin.Add(time.Duration(i) * time.Microsecond), Body: []byte(`{"a":"ä"}`)}
		if i == 0 {
			r.Account, r.Until = secdesc.GUID{}, time.Time{}
		}
		puts(t, s, r)
		err := s.View(t.Context(), func(ctx context.Context, tx operator.Tx) error {
			got, err := tx.Record(ctx, kind, r.ID)
			if r.Revision = 1; err != nil || fmt.Sprint(got) != fmt.Sprint(r) {
				t.Errorf("got  %v (%v)\nwant %v", got, err, r)
			}
			if _, err := tx.Record(ctx, kind, "other"); !errors.Is(err, operator.ErrNotFound) {
				t.Errorf("reading what is not there: %v", err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func conformConflicts(t *testing.T, s operator.Store) {
	k := operator.Kinds()[0]
	puts(t, s, operator.Record{Kind: k, ID: "a", Body: []byte("1")})
	for _, c := range []struct {
		id       string
		revision int64
		want     error
	}{
		{"a", 0, operator.ErrConflict},
		{"a", 2, operator.ErrConflict},
		{"b", 1, operator.ErrConflict},
		{"a", 1, nil},
		{"a", 1, operator.ErrConflict},
		{"a", 2, nil},
	} {
		err := s.Update(t.Context(), func(ctx context.Context, tx operator.Tx) error {
			return tx.Put(ctx, operator.Record{Kind: k, ID: c.id, Revision: c.revision, Body: []byte("2")})
		})
		if !errors.Is(err, c.want) {
			t.Errorf("put %s in place of %d: %v, want %v", c.id, c.revision, err, c.want)
		}
	}
	// A record that was dropped may be made anew, and only anew.
	update(t, s, func(ctx context.Context, tx operator.Tx) error {
		if err := errors.Join(tx.Drop(ctx, k, "a"), tx.Drop(ctx, k, "a")); err != nil {
			return err
		}
		if err := tx.Put(ctx, operator.Record{Kind: k, ID: "a", Revision: 3, Body: []byte("3")}); !errors.Is(err, operator.ErrConflict) {
			t.Errorf("put in place of what was dropped: %v", err)
		}
		return tx.Put(ctx, operator.Record{Kind: k, ID: "a", Body: []byte("3")})
	})
}

// conformRollback: records and entries of the log are kept or lost together.
func conformRollback(t *testing.T, s operator.Store) {
	k := operator.Kinds()[0]
	puts(t, s, operator.Record{Kind: k, ID: "kept", Body: []byte("1")})
	stop := errors.New("stop")
	entry := audit.Entry{Time: Origin, Phase: audit.Fact, Action: "session.begin", Actor: audit.Actor{Name: "x", Method: audit.Kerberos}}
	for _, fail := range []bool{true, false} {
		err := s.Update(t.Context(), func(ctx context.Context, tx operator.Tx) error {
			if err := errors.Join(tx.Drop(ctx, k, "kept"), tx.Put(ctx, operator.Record{Kind: k, ID: "new", Body: []byte("2")})); err != nil {
				return err
			}
			first, err := audit.Append(ctx, tx, entry)
			if first != 1 {
				t.Errorf("entry %d, want 1: the one before was not rolled back", first)
			}
			if err == nil && fail {
				err = stop
			}
			return err
		})
		if fail != errors.Is(err, stop) || !fail && err != nil {
			t.Fatal(err)
		}
		err = s.View(t.Context(), func(ctx context.Context, tx operator.Tx) error {
			list, err := tx.Records(ctx, operator.Search{Kind: k, Limit: 10})
			if want := map[bool]string{true: "kept", false: "new"}[fail]; len(list) != 1 || list[0].ID != want {
				t.Errorf("failed %v: %v", fail, list)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func conformSearch(t *testing.T, s operator.Store) {
	a, b := operator.Kinds()[0], operator.Kinds()[1]
	for i := range 5 {
		puts(t, s, operator.Record{Kind: a, ID: fmt.Sprintf("%d", i), Account: GUID(i % 2), Body: []byte("1")})
	}
	puts(t, s, operator.Record{Kind: b, ID: "9", Account: GUID(0), Body: []byte("1")})
	for _, c := range []struct {
		search operator.Search
		want   []string
	}{
		{operator.Search{Kind: a, Limit: 10}, []string{"0", "1", "2", "3", "4"}},
		{operator.Search{Kind: a, Limit: 2}, []string{"0", "1"}},
		{operator.Search{Kind: a, Limit: 2, After: "1"}, []string{"2", "3"}},
		{operator.Search{Kind: a, Limit: 10, Account: GUID(1)}, []string{"1", "3"}},
		{operator.Search{Kind: a, Limit: 10, Account: GUID(1), After: "1"}, []string{"3"}},
		{operator.Search{Kind: a, Limit: 10, Account: GUID(7)}, nil},
		{operator.Search{Kind: b, Limit: 10}, []string{"9"}},
	} {
		err := s.View(t.Context(), func(ctx context.Context, tx operator.Tx) error {
			list, err := tx.Records(ctx, c.search)
			var got []string
			for _, r := range list {
				got = append(got, r.ID)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%+v: %v, want %v", c.search, got, c.want)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func conformTrim(t *testing.T, s operator.Store) {
	k := operator.Kinds()[0]
	puts(
		t, s, operator.Record{Kind: k, ID: "never", Body: []byte("1")},
		operator.Record{Kind: k, ID: "past", Until: Origin.Add(-time.Microsecond), Body: []byte("1")},
		operator.Record{Kind: k, ID: "present", Until: Origin, Body: []byte("1")},
		operator.Record{Kind: k, ID: "future", Until: Origin.Add(time.Microsecond), Body: []byte("1")},
		operator.Record{Kind: operator.Kinds()[1], ID: "other", Until: Origin, Body: []byte("1")},
	)
	update(t, s, func(ctx context.Context, tx operator.Tx) error {
		n, err := tx.Trim(ctx, k, Origin)
		if n != 2 {
			t.Errorf("%d trimmed, want 2", n)
		}
		list, err2 := tx.Records(ctx, operator.Search{Kind: k, Limit: 10})
		if len(list) != 2 || list[0].ID != "future" || list[1].ID != "never" {
			t.Errorf("left: %v", list)
		}
		_, err3 := tx.Record(ctx, operator.Kinds()[1], "other")
		return errors.Join(err, err2, err3)
	})
}

// conformConcurrent: no change is lost, and a conflict is said.
func conformConcurrent(t *testing.T, s operator.Store) {
	k := operator.Kinds()[0]
	puts(t, s, operator.Record{Kind: k, ID: "a", Body: []byte("0")})
	const workers, each = 4, 10
	done := make(chan error, workers)
	for range workers {
		go func() {
			var err error
			for range each {
				if err = s.Update(t.Context(), func(ctx context.Context, tx operator.Tx) error {
					r, err := tx.Record(ctx, k, "a")
					if err != nil {
						return err
					}
					return tx.Put(ctx, r)
				}); err != nil {
					break
				}
			}
			done <- err
		}()
	}
	for range workers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	err := s.View(t.Context(), func(ctx context.Context, tx operator.Tx) error {
		r, err := tx.Record(ctx, k, "a")
		if r.Revision != 1+workers*each {
			t.Errorf("revision %d, want %d", r.Revision, 1+workers*each)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
