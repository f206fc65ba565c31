package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// A FenceKey names what is fenced: one object, or a pair such as group and member.
// It is what an object is, its objectGUID, never what it is called.
type FenceKey struct {
	Kind   string // account, membership, …
	Object secdesc.GUID
	Other  secdesc.GUID // zero unless Kind is about pairs
}

// String is for errors.
func (k FenceKey) String() string {
	if k.Other.IsZero() {
		return k.Kind + " " + k.Object.String()
	}
	return k.Kind + " " + k.Object.String() + " " + k.Other.String()
}

// A Fence says who manages something and in which generation.
type Fence struct {
	Manager    string // empty: nobody
	Generation uint64 // 0: never fenced
}

// Fence returns the fence of a key. Inside [Store.Update] nobody can change it
// before the transaction has ended.
func (tx *Tx) Fence(ctx context.Context, k FenceKey) (Fence, error) {
	var f Fence
	err := tx.tx.NewRaw("SELECT manager, generation FROM fences WHERE kind = ? AND object = ? AND other = ?",
		k.Kind, guidText(k.Object), guidText(k.Other)).Scan(ctx, &f.Manager, &f.Generation)
	if errors.Is(err, sql.ErrNoRows) {
		return Fence{}, nil
	}
	return f, tx.store.explain(err)
}

// Claim makes manager the one that acts on k and returns the new generation, with
// which its actions are to be checked; all earlier ones are stale from now on. What
// another manages is refused with [ErrManaged]; claiming again what manager has
// already only moves the generation on.
func (tx *Tx) Claim(ctx context.Context, k FenceKey, manager string) (uint64, error) {
	if manager == "" || k.Kind == "" || k.Object.IsZero() {
		return 0, fmt.Errorf("claiming %s: manager, kind or object is missing", k)
	}
	f, err := tx.Fence(ctx, k)
	if err != nil {
		return 0, fmt.Errorf("claiming %s: %w", k, err)
	}
	if f.Manager != "" && f.Manager != manager {
		return 0, fmt.Errorf("claiming %s for %s: %w: %s", k, manager, ErrManaged, f.Manager)
	}
	return f.Generation + 1, tx.setFence(ctx, k, Fence{manager, f.Generation + 1})
}

// CheckFence returns nil if manager still manages k in this very generation, else
// [ErrStale]. Whoever is about to journal a write to the directory calls it in the
// same transaction.
func (tx *Tx) CheckFence(ctx context.Context, k FenceKey, manager string, generation uint64) error {
	f, err := tx.Fence(ctx, k)
	if err != nil {
		return fmt.Errorf("checking the generation of %s: %w", k, err)
	}
	if f.Manager != manager || f.Generation != generation || manager == "" {
		return fmt.Errorf("%s of %s, generation %d: %w (now %q, %d)", k, manager, generation, ErrStale, f.Manager, f.Generation)
	}
	return nil
}

// Release ends the management of k, if manager has it in this generation, and
// makes every action on it stale.
func (tx *Tx) Release(ctx context.Context, k FenceKey, manager string, generation uint64) error {
	if err := tx.CheckFence(ctx, k, manager, generation); err != nil {
		return err
	}
	return tx.setFence(ctx, k, Fence{"", generation + 1})
}

func (tx *Tx) setFence(ctx context.Context, k FenceKey, f Fence) error {
	_, err := tx.tx.NewRaw(`INSERT INTO fences (kind, object, other, manager, generation) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (kind, object, other) DO UPDATE SET manager = excluded.manager, generation = excluded.generation`,
		k.Kind, guidText(k.Object), guidText(k.Other), f.Manager, f.Generation).Exec(ctx)
	if err != nil {
		return fmt.Errorf("fencing %s: %w", k, tx.store.explain(err))
	}
	return nil
}
