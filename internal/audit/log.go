package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// A Record is an entry as the log keeps it.
type Record struct {
	Index  int64
	Body   []byte      // the encoded entry, which is what is hashed
	Hashes []tlog.Hash // of the record, then of each subtree that it completes, lowest first
}

// A Tx is the part of a transaction that the log needs. All methods work inside
// the one transaction; what they write is kept or lost with it.
type Tx interface {
	Hashes
	// LockAudit returns the number of entries and keeps every other transaction
	// from appending until this one has ended.
	LockAudit(ctx context.Context) (int64, error)
	// AppendAudit stores records at the end of the log. Entries are the same as
	// the records' bodies, for whatever columns the storage wants to search by.
	AppendAudit(ctx context.Context, records []Record, entries []Entry) error
}

// Hashes reads the Merkle tree.
type Hashes interface {
	// ReadAuditHashes returns the hashes with the given indexes, which are those
	// of [tlog.StoredHashIndex]: see [Locate].
	ReadAuditHashes(ctx context.Context, indexes []int64) ([]tlog.Hash, error)
}

// Locate says in which record a stored hash is kept and at which place of its
// Hashes.
func Locate(index int64) (record int64, level int) {
	level, n := tlog.SplitStoredHashIndex(index)
	return (n+1)<<level - 1, level
}

// BeginAction is the action of entry 0, which [Append] writes by itself.
const BeginAction = "log.begin"

// Append adds entries to the end of the log inside the caller's transaction and
// returns the index of the first. Time and texts are normalised: microseconds of
// UTC, free text cut visibly at its limit. Nothing is stored if one of the entries
// is not valid ([ErrEntry]).
//
// Transactions that append wait for each other from here to their end, so that
// Append is best among the last things that a transaction does.
func Append(ctx context.Context, tx Tx, entries ...Entry) (first int64, err error) {
	if len(entries) == 0 {
		return 0, errors.New("appending to the audit log: no entry")
	}
	size, err := tx.LockAudit(ctx)
	if err != nil {
		return 0, fmt.Errorf("locking the audit log: %w", err)
	}
	first = size
	if size == 0 {
		entries = append([]Entry{begin(entries[0].Time)}, entries...)
		first = 1
	}
	all := make([]Entry, len(entries))
	tree := growing{tx: tx, ctx: ctx, added: map[int64]tlog.Hash{}}
	records := make([]Record, len(entries))
	for i, e := range entries {
		e = e.normal()
		e.Index = size + int64(i)
		if all[i], records[i], err = tree.record(e); err != nil {
			return 0, err
		}
	}
	if err := tx.AppendAudit(ctx, records, all); err != nil {
		return 0, fmt.Errorf("appending to the audit log: %w", err)
	}
	return first, nil
}

// begin is entry 0.
func begin(at time.Time) Entry {
	return Entry{Time: at, Phase: Fact, Action: BeginAction, Actor: Actor{Name: "leastwise", Method: System}}
}

// growing is the tree while records are being added to it. It lives for one call
// of Append.
type growing struct {
	ctx   context.Context //nolint:containedctx // tlog.HashReader takes none
	tx    Hashes
	added map[int64]tlog.Hash
}

func (g *growing) record(e Entry) (Entry, Record, error) {
	body, err := Encode(e)
	if err != nil {
		return e, Record{}, fmt.Errorf("entry %d, %s: %w", e.Index, clip(e.Action, MaxAction), err)
	}
	hashes, err := tlog.StoredHashes(e.Index, body, g)
	if err != nil {
		return e, Record{}, fmt.Errorf("hashing audit entry %d: %w", e.Index, err)
	}
	at := tlog.StoredHashIndex(0, e.Index)
	for i, h := range hashes {
		g.added[at+int64(i)] = h
	}
	return e, Record{e.Index, body, hashes}, nil
}

// ReadHashes implements tlog.HashReader.
func (g *growing) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	var missing, places []int64
	for i, index := range indexes {
		if h, ok := g.added[index]; ok {
			out[i] = h
			continue
		}
		missing, places = append(missing, index), append(places, int64(i))
	}
	if len(missing) == 0 {
		return out, nil
	}
	read, err := g.tx.ReadAuditHashes(g.ctx, missing)
	if err != nil {
		return nil, err
	}
	if len(read) != len(missing) {
		return nil, fmt.Errorf("%d of %d hashes are there", len(read), len(missing))
	}
	for i, h := range read {
		out[places[i]] = h
		g.added[missing[i]] = h
	}
	return out, nil
}

// Root returns the root hash of the first size entries.
func Root(ctx context.Context, h Hashes, size int64) (tlog.Hash, error) {
	root, err := tlog.TreeHash(size, &growing{ctx: ctx, tx: h, added: map[int64]tlog.Hash{}})
	if err != nil {
		return tlog.Hash{}, fmt.Errorf("hashing %d audit entries: %w", size, err)
	}
	return root, nil
}
