package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/control"
)

// A TrendPoint is one run in a series of them.
type TrendPoint = control.TrendPoint

// Limits of comparing runs.
const (
	lookBack  = 30  // runs before the first that is asked for, for what they left open
	trendRuns = 500 // the newest, at most
)

// Trend returns the runs of a forest that finished since a time, at most 500 and oldest
// first, each compared with those before it, also where they are older than since. In the
// first run of all nothing has appeared.
func (tx *Tx) Trend(ctx context.Context, forest string, since time.Time) ([]TrendPoint, error) {
	rows, err := tx.runsOf(ctx, forest)
	if err != nil {
		return nil, err
	}
	from := slices.IndexFunc(rows, func(r runRow) bool { return r.Finished >= micros(since) })
	if from < 0 {
		return []TrendPoint{}, nil
	}
	from = max(from, len(rows)-trendRuns)
	first := max(0, from-lookBack)
	past, err := tx.past(ctx, rows[first:])
	if err != nil {
		return nil, err
	}
	points, _ := control.Trace(past)
	return points[from-first:], nil
}

// A RunStep is what became of a failure in a run, with the finding as the last run says
// that had it.
type RunStep struct {
	Key     string          `json:"key"`
	Fate    control.Fate    `json:"fate"`
	First   string          `json:"first_run"` // of those that were looked at
	Seen    string          `json:"last_run"`
	Why     string          `json:"why,omitempty"` // why it is undecided
	Finding control.Finding `json:"finding"`
}

// RunSteps says what became in a run of the failures of the runs before it, and which are
// new, worst first; [ErrNotFound] if there is no such run.
func (tx *Tx) RunSteps(ctx context.Context, run string) (TrendPoint, []RunStep, error) {
	var forest string
	err := tx.tx.NewRaw("SELECT forest FROM runs WHERE id = ?", run).Scan(ctx, &forest)
	if errors.Is(err, sql.ErrNoRows) {
		return TrendPoint{}, nil, fmt.Errorf("run %s: %w", run, ErrNotFound)
	}
	if err != nil {
		return TrendPoint{}, nil, fmt.Errorf("reading run %s: %w", run, tx.store.explain(err))
	}
	rows, err := tx.runsOf(ctx, forest)
	if err != nil {
		return TrendPoint{}, nil, err
	}
	at := slices.IndexFunc(rows, func(r runRow) bool { return r.ID == run })
	past, err := tx.past(ctx, rows[max(0, at-lookBack):at+1])
	if err != nil {
		return TrendPoint{}, nil, err
	}
	points, steps := control.Trace(past)
	out, err := tx.withFindings(ctx, steps)
	return points[len(points)-1], out, err
}

// withFindings reads the findings that steps are about.
func (tx *Tx) withFindings(ctx context.Context, steps []control.FailureStep) ([]RunStep, error) {
	wanted := map[string][]string{} // keys by run
	for _, s := range steps {
		wanted[s.Seen] = append(wanted[s.Seen], s.Key)
	}
	found := map[[2]string]control.Finding{}
	for run, keys := range wanted {
		for part := range slices.Chunk(keys, 200) {
			var rows []findingRow
			err := tx.tx.NewSelect().Model(&rows).Where("?TableAlias.run = ?", run).Where("?TableAlias.finding IN (?)", bun.List(part)).Scan(ctx)
			if err != nil {
				return nil, fmt.Errorf("reading findings of run %s: %w", run, tx.store.explain(err))
			}
			for _, r := range rows {
				var f control.Finding
				if err := json.Unmarshal([]byte(r.Body), &f); err != nil {
					return nil, fmt.Errorf("run %s, finding %s: %w: %w", run, r.Finding, ErrCorrupt, err)
				}
				found[[2]string{run, r.Finding}] = f
			}
		}
	}
	out := make([]RunStep, len(steps))
	for i, s := range steps {
		out[i] = RunStep{s.Key, s.Fate, s.First, s.Seen, s.Why, found[[2]string{s.Seen, s.Key}]}
	}
	return out, nil
}

// runsOf returns the rows of a forest's runs, oldest first.
func (tx *Tx) runsOf(ctx context.Context, forest string) ([]runRow, error) {
	var rows []runRow
	err := tx.tx.NewSelect().Model(&rows).Where("?TableAlias.forest = ?", forest).OrderExpr("?TableAlias.finished, ?TableAlias.id").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading runs: %w", tx.store.explain(err))
	}
	return rows, nil
}

// past reads of runs what they are compared by.
func (tx *Tx) past(ctx context.Context, rows []runRow) ([]control.Past, error) {
	out := make([]control.Past, len(rows))
	for i := range rows {
		run, err := rows[i].run()
		if err != nil {
			return nil, err
		}
		p := control.Past{ID: run.ID, Finished: run.Finished, Summary: run.Summary, Coverage: run.Coverage}
		if err := json.Unmarshal([]byte(rows[i].ControlsJSON), &p.Controls); err != nil {
			return nil, fmt.Errorf("run %s: %w: %w", run.ID, ErrCorrupt, err)
		}
		if p.Groups, err = tx.populations(ctx, run.ID); err != nil {
			return nil, fmt.Errorf("reading populations of run %s: %w", run.ID, tx.store.explain(err))
		}
		var findings []findingRow
		err = tx.tx.NewSelect().Model(&findings).ExcludeColumn("run", "body").Where("?TableAlias.run = ?", run.ID).Scan(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading findings of run %s: %w", run.ID, tx.store.explain(err))
		}
		for _, f := range findings {
			p.Findings = append(p.Findings, control.PastFinding{
				Key: f.Finding, Control: f.Control, Kind: f.Kind, Severity: control.Severity(f.Severity), Outcome: control.Outcome(f.Outcome), Accepted: f.Accepted == 1,
			})
		}
		out[i] = p
	}
	return out, nil
}

func (tx *Tx) populations(ctx context.Context, run string) ([]control.PopulationPoint, error) {
	var rows []populationRow
	if err := tx.tx.NewSelect().Model(&rows).Where("?TableAlias.run = ?", run).OrderExpr("?TableAlias.domain, ?TableAlias.name, ?TableAlias.sid").Scan(ctx); err != nil {
		return nil, err
	}
	out := make([]control.PopulationPoint, len(rows))
	for i, r := range rows {
		out[i] = control.PopulationPoint{SID: r.SID, Name: r.Name, Domain: r.Domain, Direct: r.Direct, Effective: r.Effective, Standing: r.Standing, Temporary: r.Temporary}
		if err := json.Unmarshal([]byte(r.Unknown), &out[i].Unknown); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
	return out, nil
}

// Forests returns the names of the forests that runs were kept of.
func (tx *Tx) Forests(ctx context.Context) ([]string, error) {
	var names []string
	if err := tx.tx.NewRaw("SELECT DISTINCT forest FROM runs ORDER BY forest").Scan(ctx, &names); err != nil {
		return nil, fmt.Errorf("reading runs: %w", tx.store.explain(err))
	}
	return names, nil
}

// VerifyAudit is [audit.Verify] of the whole database: of the log, and of what is stored
// beside it that entries hold the hash of.
func (tx *Tx) VerifyAudit(ctx context.Context, kept []string, keys ...audit.Key) (*audit.Report, error) {
	r, err := audit.Verify(ctx, tx, kept, keys...)
	if err != nil {
		return nil, err
	}
	return r, tx.checkRuns(ctx, r)
}

// checkRuns compares every run with the entry of the audit log that was written with it,
// and adds to the report what was changed, deleted or put in behind the log's back. The
// report is about the entries themselves.
func (tx *Tx) checkRuns(ctx context.Context, report *audit.Report) error {
	kept, err := tx.keptRuns(ctx)
	if err != nil {
		return err
	}
	var rows []runRow
	if err := tx.tx.NewSelect().Model(&rows).OrderExpr("?TableAlias.id").Scan(ctx); err != nil {
		return fmt.Errorf("reading runs: %w", tx.store.explain(err))
	}
	for _, row := range rows {
		e, known := kept[runRecord(row.ID)]
		delete(kept, runRecord(row.ID))
		if !known {
			report.Contradict(-1, "run %s is there, and no entry says that it was kept", row.ID)
			continue
		}
		sum, err := tx.storedDigest(ctx, row)
		if err != nil {
			return err
		}
		if sum != e.Digest {
			report.Contradict(e.Index, "run %s, its populations or its findings are not what was kept", row.ID)
		}
	}
	for record, e := range kept {
		report.Contradict(e.Index, "%s was kept, and is not there", record)
	}
	return nil
}

// keptRuns are the entries about runs that should be there, by their record. Entries that
// cannot be read are reported by verification.
func (tx *Tx) keptRuns(ctx context.Context) (map[string]audit.Entry, error) {
	var rows []auditRow
	err := tx.tx.NewSelect().Model(&rows).Where("?TableAlias.action IN (?)", bun.List([]string{ActionKeep, ActionForget})).OrderExpr("?TableAlias.id").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading audit entries about runs: %w", tx.store.explain(err))
	}
	kept := map[string]audit.Entry{}
	for _, r := range rows {
		e, err := audit.Decode(r.Body)
		switch {
		case err != nil:
		case e.Action == ActionKeep:
			kept[e.Record] = e
		case e.Action == ActionForget:
			delete(kept, e.Record)
		}
	}
	return kept, nil
}

func (tx *Tx) storedDigest(ctx context.Context, row runRow) (sum [32]byte, err error) {
	r := runRows{run: row}
	err = tx.tx.NewSelect().Model(&r.populations).Where("?TableAlias.run = ?", row.ID).Scan(ctx)
	if err == nil {
		err = tx.tx.NewSelect().Model(&r.findings).Where("?TableAlias.run = ?", row.ID).Scan(ctx)
	}
	if err != nil {
		return sum, fmt.Errorf("reading run %s: %w", row.ID, tx.store.explain(err))
	}
	r.sort() // a database may order text in its own way
	return r.digest()
}
