package operator

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Kind says what a [Record] holds.
type Kind string

// The kinds of records.
const (
	sessions       Kind = "session"
	tokens         Kind = "token"
	factors        Kind = "factor"
	ceremonies     Kind = "ceremony"      // challenges of WebAuthn that wait for their answer
	codes          Kind = "code"          // enrolment codes, by account
	attempts       Kind = "attempt"       // limits of tries
	onces          Kind = "once"          // what must not be taken twice
	places         Kind = "place"         // networks from which an account's second factor was right
	administrators Kind = "administrator" // made by Init, by account
)

// Kinds lists the kinds of records.
func Kinds() []Kind {
	return []Kind{sessions, tokens, factors, ceremonies, codes, attempts, onces, places, administrators}
}

// A Record is one thing that this package remembers.
type Record struct {
	Kind     Kind
	ID       string       // unique within the kind; at most 64 bytes of letters, digits and hyphens
	Account  secdesc.GUID // whose it is; zero for nobody's
	Until    time.Time    // when it may be forgotten, in whole microseconds; zero: never
	Revision int64        // see Tx.Put
	Body     []byte       // JSON
}

// A Search chooses records of one kind, in the order of their IDs.
type Search struct {
	Kind    Kind
	Account secdesc.GUID // zero: all
	After   string       // those with a greater ID
	Limit   int          // 1 to 1000
}

// Store keeps records. It may be used by several goroutines and several nodes at once.
type Store interface {
	// Update runs f in one transaction, as if alone: everything that f wrote is there
	// afterwards, or nothing of it. It returns f's error. f has no effect but through
	// its Tx, since it may run more than once.
	Update(ctx context.Context, f func(ctx context.Context, tx Tx) error) error
	// View runs f, which only reads, on one moment of the store.
	View(ctx context.Context, f func(ctx context.Context, tx Tx) error) error
}

// Tx is the part of a transaction that this package uses. Reads see the writes of the
// same transaction.
type Tx interface {
	audit.Tx
	// Record returns one record, ErrNotFound if there is none.
	Record(ctx context.Context, kind Kind, id string) (Record, error)
	// Records returns those that a search chooses.
	Records(ctx context.Context, s Search) ([]Record, error)
	// Put stores a record if the stored revision is still r.Revision (0: there is
	// none), and raises that; ErrConflict otherwise.
	Put(ctx context.Context, r Record) error
	// Drop removes a record; removing what is not there is no error.
	Drop(ctx context.Context, kind Kind, id string) error
	// Trim removes the records of a kind whose Until is set and not after now, and
	// returns how many it removed.
	Trim(ctx context.Context, kind Kind, now time.Time) (int64, error)
}

// load reads a record into a value; the record is for put.
func load[T any](ctx context.Context, tx Tx, kind Kind, id string) (v T, r Record, err error) {
	if r, err = tx.Record(ctx, kind, id); err != nil {
		return v, r, err
	}
	if err := json.Unmarshal(r.Body, &v); err != nil {
		return v, r, fmt.Errorf("reading %s %s: %w", kind, id, err)
	}
	return v, r, nil
}

// put stores a value in a record.
func put(ctx context.Context, tx Tx, r Record, v any) (err error) {
	if r.Body, err = json.Marshal(v); err == nil {
		r.Until = r.Until.Truncate(time.Microsecond)
		err = tx.Put(ctx, r)
	}
	if err != nil {
		return fmt.Errorf("storing %s %s: %w", r.Kind, r.ID, err)
	}
	return nil
}

// all reads the records of a kind that an account has; of all accounts if it is zero.
func all[T any](ctx context.Context, tx Tx, kind Kind, account secdesc.GUID) (list []T, records []Record, err error) {
	const page = 500
	for after := ""; ; {
		rows, err := tx.Records(ctx, Search{Kind: kind, Account: account, After: after, Limit: page})
		if err != nil {
			return nil, nil, fmt.Errorf("reading %ss: %w", kind, err)
		}
		for _, r := range rows {
			var v T
			if err := json.Unmarshal(r.Body, &v); err != nil {
				return nil, nil, fmt.Errorf("reading %s %s: %w", kind, r.ID, err)
			}
			list, records = append(list, v), append(records, r)
			after = r.ID
		}
		if len(rows) < page {
			return list, records, nil
		}
	}
}
