package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/leastwise/leastwise/internal/apply"
)

// A Journal of package apply in the database: what one plan intends and what became of
// it. It is for one goroutine. Another holder of the same journal, in whatever process, is
// noticed at the next Append of either: that fails, and nothing is written that was not
// noted.
type Journal struct {
	s      *Store
	name   string
	count  int
	broken error // of an Append: whether it was kept may not be known
}

var _ apply.Journal = (*Journal)(nil)

// journalRow is a row of journal_entries.
type journalRow struct {
	bun.BaseModel `bun:"table:journal_entries,alias:j"`

	Journal string `bun:",pk"`
	Number  int64  `bun:",pk"`
	Body    []byte
}

// Journal returns the journal with a name, such as the digest of its plan. One that has
// no entries yet is not there.
func (s *Store) Journal(ctx context.Context, name string) (*Journal, error) {
	if name == "" {
		return nil, errors.New("opening a journal: it has no name")
	}
	j := &Journal{s: s, name: name}
	entries, err := j.Entries(ctx)
	j.count = len(entries)
	return j, err
}

// Append implements [apply.Journal].
func (j *Journal) Append(ctx context.Context, e apply.Entry) error {
	if j.broken != nil {
		return j.broken
	}
	e.Number = j.count + 1
	body, err := json.Marshal(e)
	if err == nil {
		err = j.s.Update(ctx, func(ctx context.Context, tx *Tx) error {
			var last int64
			if err := tx.tx.NewRaw("SELECT COALESCE(MAX(number), 0) FROM journal_entries WHERE journal = ?", j.name).Scan(ctx, &last); err != nil {
				return tx.store.explain(err)
			}
			if last != int64(j.count) {
				return fmt.Errorf("%w: another run has written entry %d", apply.ErrJournal, last)
			}
			_, err := tx.tx.NewInsert().Model(&journalRow{Journal: j.name, Number: int64(e.Number), Body: body}).Exec(ctx)
			return tx.store.explain(err)
		})
	}
	if err != nil {
		j.broken = fmt.Errorf("writing the journal %s: %w", j.name, err)
		return j.broken
	}
	j.count++
	return nil
}

// Entries implements [apply.Journal].
func (j *Journal) Entries(ctx context.Context) (out []apply.Entry, err error) {
	err = j.s.View(ctx, func(ctx context.Context, tx *Tx) error {
		var rows []journalRow
		if err := tx.tx.NewSelect().Model(&rows).Where("?TableAlias.journal = ?", j.name).OrderExpr("?TableAlias.number").Scan(ctx); err != nil {
			return tx.store.explain(err)
		}
		out = make([]apply.Entry, len(rows))
		for i, r := range rows {
			if err := json.Unmarshal(r.Body, &out[i]); err != nil {
				return fmt.Errorf("%w: entry %d: %w", ErrCorrupt, r.Number, err)
			}
			if r.Number != int64(i+1) || out[i].Number != i+1 {
				return fmt.Errorf("%w: entry %d has the number %d", ErrCorrupt, i+1, r.Number)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the journal %s: %w", j.name, err)
	}
	return out, nil
}
