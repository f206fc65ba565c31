package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/control"
	"github.com/leastwise/leastwise/internal/report"
	"github.com/leastwise/leastwise/internal/store"
)

// ErrHistory reports a question about runs that has no one answer; the text says why.
var ErrHistory = errors.New("history")

// Keep stores an assessment in the configured database, once. kept tells whether it was
// new there; h is how the forest's runs went, this one included.
func Keep(ctx context.Context, cfg *Config, a *control.Assessment, now time.Time) (kept bool, h *report.History, err error) {
	s, err := OpenStore(ctx, cfg, store.Options{})
	if err != nil {
		return false, nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return keepIn(ctx, s, a, localEntry(store.ActionKeep, now))
}

func keepIn(ctx context.Context, s *store.Store, a *control.Assessment, by audit.Entry) (kept bool, h *report.History, err error) {
	err = s.Update(ctx, func(ctx context.Context, tx *store.Tx) error {
		kept, err = tx.KeepRun(ctx, a, by)
		return err
	})
	if err != nil {
		return false, nil, err
	}
	forest := store.ForestOf(a.Run.Domains)
	err = s.View(ctx, func(ctx context.Context, tx *store.Tx) error {
		points, err := tx.Trend(ctx, forest, time.Time{})
		h = report.NewHistory(forest, points)
		return err
	})
	return kept, h, err
}

// CanKeep reports why an assessment could not be kept, before the work of making one.
func CanKeep(ctx context.Context, cfg *Config) error {
	s, err := OpenStore(ctx, cfg, store.Options{})
	if err != nil {
		return err
	}
	return s.Close()
}

// A HistoryQuery says which runs are asked for.
type HistoryQuery struct {
	Forest string    // as [store.ForestOf] names it, or one of its domains; empty: the only one
	Since  time.Time // runs that ended since
}

// HistoryOf returns how the runs of a forest went.
func HistoryOf(ctx context.Context, cfg *Config, q HistoryQuery) (h *report.History, err error) {
	err = viewStore(ctx, cfg, func(ctx context.Context, tx *store.Tx) error {
		forest, err := oneForest(ctx, tx, q.Forest)
		if err != nil {
			return err
		}
		points, err := tx.Trend(ctx, forest, q.Since)
		h = report.NewHistory(forest, points)
		return err
	})
	return h, err
}

// viewStore reads the configured database.
func viewStore(ctx context.Context, cfg *Config, fn func(context.Context, *store.Tx) error) (err error) {
	s, err := OpenStore(ctx, cfg, store.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.View(ctx, fn)
}

// LastRun stands for the newest run.
const LastRun = "last"

// ChangeOf returns what one run found against those before it: its ID, the beginning of
// one, or [LastRun].
func ChangeOf(ctx context.Context, cfg *Config, q HistoryQuery, run string) (c *report.RunChange, err error) {
	err = viewStore(ctx, cfg, func(ctx context.Context, tx *store.Tx) error {
		forest, err := oneForest(ctx, tx, q.Forest)
		if err != nil {
			return err
		}
		id, err := oneRun(ctx, tx, forest, run)
		if err != nil {
			return err
		}
		point, steps, err := tx.RunSteps(ctx, id)
		if err != nil {
			return err
		}
		c = &report.RunChange{Version: 1, Forest: forest, Run: point, Failures: make([]report.RunFailure, len(steps))}
		for i, s := range steps {
			f := &s.Finding
			c.Failures[i] = report.RunFailure{
				Key: s.Key, Fate: s.Fate, Control: f.Control, Title: f.Title, Severity: f.Severity, Subject: f.Subject, Detail: f.Detail,
				First: s.First, Seen: s.Seen, Why: s.Why,
			}
		}
		return nil
	})
	return c, err
}

// oneForest finds the forest that is meant.
func oneForest(ctx context.Context, tx *store.Tx, asked string) (string, error) {
	names, err := tx.Forests(ctx)
	if err != nil {
		return "", err
	}
	var fit []string
	for _, n := range names {
		if asked == "" || strings.EqualFold(n, asked) || containsWord(n, asked) {
			fit = append(fit, n)
		}
	}
	switch {
	case len(fit) == 1:
		return fit[0], nil
	case len(names) == 0:
		return "", fmt.Errorf("%w: no run was kept yet: leastwise assess --keep", ErrHistory)
	case len(fit) == 0:
		return "", fmt.Errorf("%w: no run was kept of %q, but of: %s", ErrHistory, asked, strings.Join(names, "; "))
	}
	return "", fmt.Errorf("%w: runs were kept of several forests, or of different parts of one: choose with --forest: %s", ErrHistory, strings.Join(fit, "; "))
}

func containsWord(list, word string) bool {
	for w := range strings.FieldsSeq(list) {
		if strings.EqualFold(w, word) {
			return true
		}
	}
	return false
}

// oneRun finds the run that is meant.
func oneRun(ctx context.Context, tx *store.Tx, forest, run string) (string, error) {
	runs, err := tx.Runs(ctx, forest, 0)
	if err != nil {
		return "", err
	}
	if run == LastRun && len(runs) > 0 {
		return runs[0].ID, nil
	}
	var fit []string
	for _, r := range runs {
		if r.ID == run {
			return run, nil
		}
		if run != "" && strings.HasPrefix(r.ID, run) {
			fit = append(fit, r.ID)
		}
	}
	switch len(fit) {
	case 1:
		return fit[0], nil
	case 0:
		return "", fmt.Errorf("%w: there is no run %q of %s", ErrHistory, run, forest)
	}
	return "", fmt.Errorf("%w: %q begins several runs: %s", ErrHistory, run, strings.Join(fit, ", "))
}

// ForgetRuns deletes the runs that ended before a time, of one forest or of all, and
// returns their IDs.
func ForgetRuns(ctx context.Context, cfg *Config, forest string, before, now time.Time) (ids []string, err error) {
	s, err := OpenStore(ctx, cfg, store.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	err = s.Update(ctx, func(ctx context.Context, tx *store.Tx) error {
		if forest != "" {
			if forest, err = oneForest(ctx, tx, forest); err != nil {
				return err
			}
		}
		ids, err = tx.ForgetRuns(ctx, forest, before, localEntry(store.ActionForget, now))
		return err
	})
	return ids, err
}
