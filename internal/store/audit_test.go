package store_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/store/storetest"
)

func aSigner(t testing.TB, seed byte) *audit.Signer {
	t.Helper()
	secret, _, err := audit.GenerateKey(rand.NewChaCha8([32]byte{seed}), "contoso")
	if err != nil {
		t.Fatal(err)
	}
	s, err := audit.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func update(t testing.TB, s *store.Store, fn func(context.Context, *store.Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func view(t testing.TB, s *store.Store, fn func(context.Context, *store.Tx) error) {
	t.Helper()
	if err := s.View(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func add(t testing.TB, s *store.Store, entries ...audit.Entry) (first int64) {
	t.Helper()
	update(t, s, func(ctx context.Context, tx *store.Tx) (err error) {
		first, err = audit.Append(ctx, tx, entries...)
		return err
	})
	return first
}

func checkpoint(t testing.TB, s *store.Store, signer *audit.Signer) (signed string) {
	t.Helper()
	update(t, s, func(ctx context.Context, tx *store.Tx) (err error) {
		signed, err = audit.MakeCheckpoint(ctx, tx, signer, noon)
		return err
	})
	return signed
}

func verify(t testing.TB, s *store.Store, kept []string, keys ...audit.Key) (r *audit.Report) {
	t.Helper()
	view(t, s, func(ctx context.Context, tx *store.Tx) (err error) {
		r, err = audit.Verify(ctx, tx, kept, keys...)
		return err
	})
	return r
}

// Whoever can write to the database is found out, and where.
func TestTamperingWithTheDatabaseIsLocated(t *testing.T) {
	cases := []struct{ name, sqlite, postgres, want string }{
		{name: "nothing", sqlite: "SELECT 1"},
		{
			"a byte of an entry", "UPDATE audit_entries SET body = CAST(replace(CAST(body AS TEXT), 'reason 13', 'reason 31') AS BLOB) WHERE id = 13",
			`UPDATE audit_entries SET body = convert_to(replace(convert_from(body, 'UTF8'), 'reason 13', 'reason 31'), 'UTF8') WHERE id = 13`, "entry-changed 13 13",
		},
		{"a column to search by", "UPDATE audit_entries SET actor = 'mallory' WHERE id = 13", "", "columns-changed 13 13"},
		{"another column", "UPDATE audit_entries SET at = at + 1, answers = 3 WHERE id = 13", "", "columns-changed 13 13"},
		{"an entry deleted", "DELETE FROM audit_entries WHERE id = 13", "", "entry-deleted 13 13"},
		{"the end cut off", "DELETE FROM audit_entries WHERE id >= 20", "", "log-truncated 20 24, log-truncated 20 24"},
		{"the end cut off with the count", "DELETE FROM audit_entries WHERE id >= 20; UPDATE audit_head SET size = 20", "", "log-truncated 20 24"},
		{"the count changed", "UPDATE audit_head SET size = 20", "", "log-extended 20 24"},
		{
			"two entries swapped", "UPDATE audit_entries SET id = -1 WHERE id = 12; UPDATE audit_entries SET id = 12 WHERE id = 13; UPDATE audit_entries SET id = 13 WHERE id = -1", "",
			"entry-moved 12 12, hash-changed 12 12, entry-moved 13 13, hash-changed 13 13",
		},
		{"a hash changed", "UPDATE audit_entries SET hashes = CAST(zeroblob(32) AS BLOB) WHERE id = 12", `UPDATE audit_entries SET hashes = decode(repeat('00', 32), 'hex') WHERE id = 12`, "hash-changed 12 12"},
		{"hashes of subtrees removed", "UPDATE audit_entries SET hashes = substr(hashes, 1, 32) WHERE id = 15", `UPDATE audit_entries SET hashes = substring(hashes for 32) WHERE id = 15`, "hash-changed 15 15"},
		{"a checkpoint changed", "UPDATE audit_checkpoints SET note = replace(note, 'contoso', 'fabrikam')", "", "checkpoint-forged 0 0"},
	}
	storetest.Each(t, func(t *testing.T, d storetest.DB) {
		signer := aSigner(t, 1)
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				again, query := storetest.SQLite, c.sqlite
				if !d.IsSQLite() {
					again, query = storetest.Postgres, cmp.Or(c.postgres, c.sqlite)
				}
				d := again(t)
				s := d.Open(t)
				for i := 1; i < 25; i++ {
					add(t, s, anEntry(fmt.Sprintf("reason %d", i)))
				}
				checkpoint(t, s, signer)
				for q := range strings.SplitSeq(query, "; ") {
					d.Exec(t, q)
				}
				var got []string
				for _, p := range verify(t, s, nil, signer.Key()).Problems {
					got = append(got, fmt.Sprintf("%s %d %d", p.Kind, p.First, p.Last))
				}
				if strings.Join(got, ", ") != c.want {
					t.Errorf("got %q, want %q", strings.Join(got, ", "), c.want)
				}
			})
		}
	})
}

// Many writers at once, on several stores of one database as on several nodes, get
// a log without gap or fork.
func TestWritersTakeTurns(t *testing.T) {
	storetest.Each(t, func(t *testing.T, d storetest.DB) {
		const writers, each = 4, 25
		stores := []*store.Store{d.Open(t), d.OpenWith(t, store.Options{})}
		key := store.FenceKey{Kind: "account", Object: secdesc.GUID{1}}
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for range each {
					err := stores[w%2].Update(t.Context(), func(ctx context.Context, tx *store.Tx) error {
						g, err := tx.Claim(ctx, key, "grants")
						if err != nil {
							return err
						}
						e := anEntry("claim")
						e.Generation = g
						_, err = audit.Append(ctx, tx, e)
						return err
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if r := verify(t, stores[0], nil); !r.Sound() || r.Entries != 1+writers*each {
			t.Errorf("%+v", r)
		}
		view(t, stores[1], func(ctx context.Context, tx *store.Tx) error {
			entries, err := tx.AuditEntries(ctx, store.AuditFilter{Action: "grant"})
			for i, e := range entries { // each saw what the one before committed
				if e.Generation != uint64(i+1) {
					t.Errorf("entry %d is of generation %d", e.Index, e.Generation)
				}
			}
			return err
		})
	})
}

// A view is one moment, whatever is written meanwhile, and does not make writers
// wait; nothing can be written in it.
func TestViewIsOneMomentAndReadsOnly(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s *store.Store) {
		add(t, s, anEntry("before"))
		view(t, s, func(ctx context.Context, tx *store.Tx) error {
			before, err := tx.AuditHead(ctx)
			if err != nil {
				return err
			}
			add(t, s, anEntry("meanwhile"))
			after, err := tx.AuditHead(ctx)
			if err != nil || before != after || after != 2 {
				t.Errorf("%d entries, then %d, %v", before, after, err)
			}
			return nil
		})
		err := s.View(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.Claim(ctx, store.FenceKey{Kind: "account", Object: secdesc.GUID{1}}, "grants")
			return err
		})
		if !errors.Is(err, store.ErrReadOnly) {
			t.Errorf("writing in a view: %v", err)
		}
	})
}

func TestAuditEntriesFilters(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s *store.Store) {
		entry := func(change func(*audit.Entry)) audit.Entry {
			e := anEntry("x")
			change(&e)
			return e
		}
		nasty := `it's "quoted"; DROP TABLE audit_entries; -- ? $1 \\ ünï` + "\x00\n\x1b[2J"
		group, member := secdesc.MustGUID("aaaaaaaa-0000-0000-0000-000000000001"), secdesc.MustGUID("bbbbbbbb-0000-0000-0000-000000000002")
		add(
			t, s,
			entry(func(e *audit.Entry) { e.Phase, e.Target, e.Subject = audit.Intent, group, member }),                    // 1
			entry(func(e *audit.Entry) { e.Phase, e.Action = audit.Intent, "grants.other" }),                              // 2
			entry(func(e *audit.Entry) { e.Actor.Name, e.Reason, e.Time = nasty, nasty, noon.Add(time.Hour) }),            // 3
			entry(func(e *audit.Entry) { e.Record, e.Request, e.Phase = "grant/7", "req-9", audit.Refusal }),              // 4
			entry(func(e *audit.Entry) { e.Phase, e.Answers, e.Result, e.Target = audit.Outcome, 1, audit.Done, member }), // 5
		)
		clean := strings.ReplaceAll(nasty, "\x00", "\uFFFD")
		for name, c := range map[string]struct {
			filter store.AuditFilter
			want   []int64
		}{
			"all":         {store.AuditFilter{}, []int64{0, 1, 2, 3, 4, 5}},
			"newest":      {store.AuditFilter{Limit: 2}, []int64{4, 5}},
			"action":      {store.AuditFilter{Action: "grant"}, []int64{1, 3, 4, 5}},
			"full action": {store.AuditFilter{Action: "grants.other"}, []int64{2}},
			"object":      {store.AuditFilter{Object: member}, []int64{1, 5}},
			"actor":       {store.AuditFilter{Actor: clean}, []int64{3}},
			"record":      {store.AuditFilter{Record: "grant/7"}, []int64{4}},
			"request":     {store.AuditFilter{Request: "req-9"}, []int64{4}},
			"phase":       {store.AuditFilter{Phase: audit.Refusal}, []int64{4}},
			"open":        {store.AuditFilter{Open: true}, []int64{2}},
			"since":       {store.AuditFilter{Since: noon.Add(time.Minute)}, []int64{3}},
			"before":      {store.AuditFilter{Before: noon.Add(-time.Hour)}, nil},
			"both":        {store.AuditFilter{Action: "grant", Phase: audit.Outcome}, []int64{5}},
		} {
			view(t, s, func(ctx context.Context, tx *store.Tx) error {
				entries, err := tx.AuditEntries(ctx, c.filter)
				var got []int64
				for _, e := range entries {
					got = append(got, e.Index)
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("%s: got %v, want %v", name, got, c.want)
				}
				if name == "actor" && entries[0].Reason != clean {
					t.Errorf("reason %q", entries[0].Reason)
				}
				return err
			})
		}
	})
}

// Fences: one manager for an object at a time, and no action of an earlier
// generation (invariants I3, I5, I6).
func TestStaleGenerationsAndOtherManagersAreRefused(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s *store.Store) {
		key := store.FenceKey{Kind: "membership", Object: secdesc.GUID{1}, Other: secdesc.GUID{2}}
		other := store.FenceKey{Kind: "membership", Object: secdesc.GUID{1}, Other: secdesc.GUID{3}}
		update(t, s, func(ctx context.Context, tx *store.Tx) error {
			first, err1 := tx.Claim(ctx, key, "grants")
			second, err2 := tx.Claim(ctx, key, "grants")
			if err := errors.Join(err1, err2); err != nil {
				return err
			}
			if first != 1 || second != 2 {
				t.Errorf("generations %d, %d", first, second)
			}
			if err := tx.CheckFence(ctx, key, "grants", second); err != nil {
				t.Error(err)
			}
			for name, err := range map[string]error{
				"earlier generation": tx.CheckFence(ctx, key, "grants", first),
				"later generation":   tx.CheckFence(ctx, key, "grants", second+1),
				"other manager":      tx.CheckFence(ctx, key, "vault", second),
				"other pair":         tx.CheckFence(ctx, other, "grants", second),
				"nobody":             tx.CheckFence(ctx, other, "", 0),
				"stale release":      tx.Release(ctx, key, "grants", first),
			} {
				if !errors.Is(err, store.ErrStale) {
					t.Errorf("%s: %v", name, err)
				}
			}
			if _, err := tx.Claim(ctx, key, "vault"); !errors.Is(err, store.ErrManaged) {
				t.Errorf("claimed by another: %v", err)
			}
			if err := tx.Release(ctx, key, "grants", second); err != nil {
				return err
			}
			if err := tx.CheckFence(ctx, key, "grants", second); !errors.Is(err, store.ErrStale) {
				t.Errorf("after the release: %v", err)
			}
			g, err := tx.Claim(ctx, key, "vault")
			if g != 4 {
				t.Errorf("generation %d after a release", g)
			}
			return err
		})
	})
}

// TestProofsFromTheDatabase shows that proofs made from stored rows hold.
func TestProofsFromTheDatabase(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s *store.Store) {
		signer := aSigner(t, 1)
		for i := range 12 {
			add(t, s, anEntry(fmt.Sprint(i)))
		}
		earlier := checkpoint(t, s, signer)
		for i := range 7 {
			add(t, s, anEntry(fmt.Sprint(i)))
		}
		later := checkpoint(t, s, signer)
		view(t, s, func(ctx context.Context, tx *store.Tx) error {
			r, err := tx.AuditRecord(ctx, 5)
			if err != nil {
				return err
			}
			p, err := audit.ProveEntry(ctx, tx, signer.Keys(), later, 5, r.Body)
			if err != nil {
				return err
			}
			if _, err := p.Check(signer.Key()); err != nil {
				t.Error(err)
			}
			if p, err = audit.ProveConsistency(ctx, tx, signer.Keys(), earlier, later); err != nil {
				return err
			}
			if c, err := p.Check(signer.Key()); err != nil || c.Size != 20 {
				t.Errorf("%+v, %v", c, err)
			}
			if _, err := tx.AuditRecord(ctx, 20); !errors.Is(err, store.ErrNotFound) {
				t.Error(err)
			}
			return nil
		})
	})
}
