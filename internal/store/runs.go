package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/control"
	"github.com/leastwise/leastwise/internal/forest"
)

// A Run is an assessment that was kept.
type Run struct {
	ID       string            `json:"id"`
	Kept     time.Time         `json:"kept"`
	Started  time.Time         `json:"started"`
	Finished time.Time         `json:"finished"`
	Forest   string            `json:"forest"` // DNS names of its domains, in order, joined by spaces
	Tool     string            `json:"tool"`
	Source   string            `json:"source"`
	Summary  control.Summary   `json:"summary"`
	Coverage []forest.Coverage `json:"coverage"`
}

// A runRow is a row of runs.
type runRow struct {
	bun.BaseModel `bun:"table:runs,alias:r"`

	ID                            string `bun:",pk"`
	Kept, Started, Finished       int64
	Forest, Tool, Source          string
	Pass, Fail, Unknown, Excepted int
	SummaryJSON                   string `bun:"summary"`
	CoverageJSON                  string `bun:"coverage"`
	ControlsJSON                  string `bun:"controls" json:",omitempty"`
}

// A populationRow is a row of run_populations.
type populationRow struct {
	bun.BaseModel `bun:"table:run_populations,alias:p"`

	Run       string
	SID       string `bun:"sid"`
	Name      string
	Domain    string
	Direct    int
	Effective int
	Standing  int
	Temporary int
	Unknown   string
}

// A findingRow is a row of run_findings.
type findingRow struct {
	bun.BaseModel `bun:"table:run_findings,alias:f"`

	Run      string
	Finding  string
	Control  string
	Severity string
	Outcome  string
	Accepted int64
	Kind     string `json:",omitempty"` // of the subject
	Body     string
}

// Actions of the audit log about runs; each names the run as its record.
const (
	ActionKeep   = "run.keep"   // the digest is that of the run's rows
	ActionForget = "run.forget" // the run was deleted
)

func runRecord(id string) string { return "run/" + id }

// KeepRun stores an assessment: its summary, the populations (counts, not members)
// and every finding, with an entry of the audit log that holds the run to what was
// stored. by says who keeps it and when. An assessment of the same snapshot with the same
// options has the same ID and is kept once; kept tells whether this call stored it.
func (tx *Tx) KeepRun(ctx context.Context, a *control.Assessment, by audit.Entry) (kept bool, err error) {
	r, err := newRunRows(a, by.Time)
	if err != nil {
		return false, fmt.Errorf("keeping run %s: %w", a.Run.ID, err)
	}
	id := r.run.ID
	res, err := tx.tx.NewInsert().Model(&r.run).On("CONFLICT (id) DO NOTHING").Exec(ctx)
	if err != nil {
		return false, fmt.Errorf("keeping run %s: %w", id, tx.store.explain(err))
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return false, err
	}
	if err := insertAll(ctx, tx, r.populations); err != nil {
		return false, fmt.Errorf("keeping populations of run %s: %w", id, err)
	}
	if err := insertAll(ctx, tx, r.findings); err != nil {
		return false, fmt.Errorf("keeping findings of run %s: %w", id, err)
	}
	by.Phase, by.Action, by.Record = audit.Fact, ActionKeep, runRecord(id)
	if by.Digest, err = r.digest(); err != nil {
		return false, fmt.Errorf("keeping run %s: %w", id, err)
	}
	_, err = audit.Append(ctx, tx, by)
	return err == nil, err
}

// ForgetRuns deletes the runs of a forest, of all if it is empty, that ended before a
// time, and returns their IDs. by says who does so and when.
func (tx *Tx) ForgetRuns(ctx context.Context, forest string, before time.Time, by audit.Entry) ([]string, error) {
	var ids []string
	q := tx.tx.NewSelect().Model((*runRow)(nil)).Column("id").Where("?TableAlias.finished < ?", micros(before)).OrderExpr("?TableAlias.finished, ?TableAlias.id")
	if forest != "" {
		q.Where("?TableAlias.forest = ?", forest)
	}
	if err := q.Scan(ctx, &ids); err != nil {
		return nil, fmt.Errorf("reading runs: %w", tx.store.explain(err))
	}
	entries := make([]audit.Entry, len(ids))
	for i, id := range ids {
		entries[i] = by
		entries[i].Phase, entries[i].Action, entries[i].Record = audit.Fact, ActionForget, runRecord(id)
		for _, table := range []string{"run_findings", "run_populations"} {
			if _, err := tx.tx.NewRaw("DELETE FROM ? WHERE run = ?", bun.Ident(table), id).Exec(ctx); err != nil {
				return nil, fmt.Errorf("forgetting run %s: %w", id, tx.store.explain(err))
			}
		}
		if _, err := tx.tx.NewRaw("DELETE FROM runs WHERE id = ?", id).Exec(ctx); err != nil {
			return nil, fmt.Errorf("forgetting run %s: %w", id, tx.store.explain(err))
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	_, err := audit.Append(ctx, tx, entries...)
	return ids, err
}

// runRows are the rows of a run, in the order of their keys.
type runRows struct {
	run         runRow
	populations []populationRow
	findings    []findingRow
}

// digest is the hash of what is stored of a run. A column that is added later is left out
// where it is empty, so that digests of older runs hold.
func (r *runRows) digest() (sum [32]byte, err error) {
	h := sha256.New()
	enc := json.NewEncoder(h)
	run := r.run
	if run.ControlsJSON == "[]" {
		run.ControlsJSON = ""
	}
	err = enc.Encode(run)
	for _, p := range r.populations {
		err = errors.Join(err, enc.Encode(p))
	}
	for _, f := range r.findings {
		err = errors.Join(err, enc.Encode(f))
	}
	return [32]byte(h.Sum(nil)), err
}

func newRunRows(a *control.Assessment, now time.Time) (*runRows, error) {
	run, err := newRunRow(a, now)
	if err != nil {
		return nil, err
	}
	r := &runRows{run: *run}
	for _, p := range a.Population {
		unknown, err := json.Marshal(p.Unknown)
		if err != nil {
			return nil, err
		}
		r.populations = append(r.populations, populationRow{
			Run: run.ID, SID: p.SID, Name: p.Group, Domain: p.Domain, Direct: p.Direct, Effective: p.Effective,
			Standing: p.Standing, Temporary: p.Temporary, Unknown: string(unknown),
		})
	}
	if r.findings, err = newFindingRows(run.ID, a.Findings); err != nil {
		return nil, err
	}
	r.sort()
	return r, nil
}

func (r *runRows) sort() {
	slices.SortFunc(r.populations, func(a, b populationRow) int { return strings.Compare(a.SID, b.SID) })
	slices.SortFunc(r.findings, func(a, b findingRow) int { return strings.Compare(a.Finding, b.Finding) })
}

// insertAll inserts rows, a few hundred with each statement.
func insertAll[R any](ctx context.Context, tx *Tx, rows []R) error {
	for part := range slices.Chunk(rows, 200) {
		if _, err := tx.tx.NewInsert().Model(&part).Exec(ctx); err != nil {
			return tx.store.explain(err)
		}
	}
	return nil
}

func newRunRow(a *control.Assessment, now time.Time) (*runRow, error) {
	if a.Run.ID == "" {
		return nil, errors.New("it has no ID")
	}
	summary, err := json.Marshal(a.Summary)
	if err != nil {
		return nil, err
	}
	coverage, err := json.Marshal(a.Run.Coverage)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(a.Controls))
	for i, c := range a.Controls {
		names[i] = c.ID
	}
	controls, err := json.Marshal(names)
	if err != nil {
		return nil, err
	}
	s := a.Summary
	return &runRow{
		ID: a.Run.ID, Kept: micros(now), Started: micros(a.Run.Started), Finished: micros(a.Run.Finished), Forest: ForestOf(a.Run.Domains),
		Tool: a.Run.Tool, Source: a.Run.Source, Pass: s.Pass, Fail: s.Fail, Unknown: s.Unknown, Excepted: s.Excepted,
		SummaryJSON: string(summary), CoverageJSON: string(coverage), ControlsJSON: string(controls),
	}, nil
}

// ForestOf is what runs of one forest have in common: the DNS names of its domains.
func ForestOf(domains []control.DomainSize) string {
	names := make([]string, len(domains))
	for i, d := range domains {
		names[i] = strings.ToLower(d.DNS)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func newFindingRows(run string, findings []control.Finding) ([]findingRow, error) {
	rows := make([]findingRow, len(findings))
	seen := map[string]int{}
	for i, f := range findings {
		body, err := json.Marshal(f)
		if err != nil {
			return nil, err
		}
		key := f.Digest()
		seen[key]++
		if n := seen[key]; n > 1 {
			key += "-" + strconv.Itoa(n)
		}
		rows[i] = findingRow{
			Run: run, Finding: key, Control: f.Control, Severity: string(f.Severity), Outcome: string(f.Outcome), Kind: f.Subject.Kind, Body: string(body),
		}
		if f.Exception != nil {
			rows[i].Accepted = 1
		}
	}
	return rows, nil
}

func (r *runRow) run() (Run, error) {
	out := Run{
		ID: r.ID, Kept: fromMicros(r.Kept), Started: fromMicros(r.Started), Finished: fromMicros(r.Finished),
		Forest: r.Forest, Tool: r.Tool, Source: r.Source,
	}
	err := errors.Join(json.Unmarshal([]byte(r.SummaryJSON), &out.Summary), json.Unmarshal([]byte(r.CoverageJSON), &out.Coverage))
	if err != nil {
		return out, fmt.Errorf("run %s: %w: %w", r.ID, ErrCorrupt, err)
	}
	return out, nil
}

func fromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }

// Runs returns the newest runs of a forest, of all if forest is empty, newest first;
// all if limit is 0.
func (tx *Tx) Runs(ctx context.Context, forest string, limit int) ([]Run, error) {
	var rows []runRow
	q := tx.tx.NewSelect().Model(&rows).OrderExpr("?TableAlias.finished DESC, ?TableAlias.id").Limit(int64(limit))
	if forest != "" {
		q.Where("?TableAlias.forest = ?", forest)
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("reading runs: %w", tx.store.explain(err))
	}
	out := make([]Run, len(rows))
	for i := range rows {
		var err error
		if out[i], err = rows[i].run(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// RunFindings returns the findings of a run, [ErrNotFound] if there is no such run.
func (tx *Tx) RunFindings(ctx context.Context, run string) ([]control.Finding, error) {
	var id string
	err := tx.tx.NewRaw("SELECT id FROM runs WHERE id = ?", run).Scan(ctx, &id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("run %s: %w", run, ErrNotFound)
	}
	var rows []findingRow
	if err == nil {
		err = tx.tx.NewSelect().Model(&rows).Where("?TableAlias.run = ?", run).OrderExpr("?TableAlias.control, ?TableAlias.finding").Scan(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("reading run %s: %w", run, tx.store.explain(err))
	}
	out := make([]control.Finding, len(rows))
	for i, r := range rows {
		if err := json.Unmarshal([]byte(r.Body), &out[i]); err != nil {
			return nil, fmt.Errorf("run %s, finding %s: %w: %w", run, r.Finding, ErrCorrupt, err)
		}
	}
	return out, nil
}
