package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uptrace/bun"

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
	Body     string
}

// KeepRun stores an assessment: its summary, the populations (counts, not members)
// and every finding. An assessment of the same snapshot with the same options has
// the same ID and is kept once; kept tells whether this call stored it.
func (tx *Tx) KeepRun(ctx context.Context, a *control.Assessment, now time.Time) (kept bool, err error) {
	row, err := newRunRow(a, now)
	if err != nil {
		return false, fmt.Errorf("keeping run %s: %w", a.Run.ID, err)
	}
	res, err := tx.tx.NewInsert().Model(row).On("CONFLICT (id) DO NOTHING").Exec(ctx)
	if err != nil {
		return false, fmt.Errorf("keeping run %s: %w", row.ID, tx.store.explain(err))
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return false, err
	}
	var populations []populationRow
	for _, p := range a.Population {
		unknown, err := json.Marshal(p.Unknown)
		if err != nil {
			return false, err
		}
		populations = append(populations, populationRow{
			Run: row.ID, SID: p.SID, Name: p.Group, Domain: p.Domain, Direct: p.Direct, Effective: p.Effective,
			Standing: p.Standing, Temporary: p.Temporary, Unknown: string(unknown),
		})
	}
	findings, err := newFindingRows(row.ID, a.Findings)
	if err != nil {
		return false, err
	}
	if err := insertAll(ctx, tx, populations); err != nil {
		return false, fmt.Errorf("keeping populations of run %s: %w", row.ID, err)
	}
	if err := insertAll(ctx, tx, findings); err != nil {
		return false, fmt.Errorf("keeping findings of run %s: %w", row.ID, err)
	}
	return true, nil
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
	s := a.Summary
	return &runRow{
		ID: a.Run.ID, Kept: micros(now), Started: micros(a.Run.Started), Finished: micros(a.Run.Finished), Forest: forestName(a.Run.Domains),
		Tool: a.Run.Tool, Source: a.Run.Source, Pass: s.Pass, Fail: s.Fail, Unknown: s.Unknown, Excepted: s.Excepted,
		SummaryJSON: string(summary), CoverageJSON: string(coverage),
	}, nil
}

// forestName is what runs of one forest have in common.
func forestName(domains []control.DomainSize) string {
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
		key := findingKey(f)
		if n := seen[key]; n > 0 {
			key += "-" + strconv.Itoa(n+1)
		}
		seen[findingKey(f)]++
		rows[i] = findingRow{
			Run: run, Finding: key, Control: f.Control, Severity: string(f.Severity), Outcome: string(f.Outcome), Body: string(body),
		}
		if f.Exception != nil {
			rows[i].Accepted = 1
		}
	}
	return rows, nil
}

// findingKey is the same for one control and subject in every run. The subject is
// its SID, which a renaming leaves as it is, or else its DN or name.
func findingKey(f control.Finding) string {
	s := f.Subject
	who := s.SID
	if who == "" {
		who = strings.ToLower(s.DN + "\x00" + s.Name)
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{f.Control, s.Kind, strings.ToLower(s.Domain), s.Scope, who}, "\x00")))
	return hex.EncodeToString(sum[:16])
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

// A TrendPoint is one run in a series of them.
type TrendPoint struct {
	Run         string            `json:"run"`
	Finished    time.Time         `json:"finished"`
	Pass        int               `json:"pass"`
	Fail        int               `json:"fail"`
	Unknown     int               `json:"unknown"`
	Excepted    int               `json:"excepted"`
	Appeared    int               `json:"appeared"` // failures that the run before did not have
	Gone        int               `json:"gone"`     // failures of the run before that are none now
	Lost        int               `json:"lost"`     // of Gone: those that this run could not decide
	Populations []PopulationPoint `json:"populations"`
}

// A PopulationPoint counts the members of one privileged group at a run.
type PopulationPoint struct {
	SID       string   `json:"sid"`
	Name      string   `json:"name"`
	Domain    string   `json:"domain"`
	Direct    int      `json:"direct"`
	Effective int      `json:"effective"`
	Standing  int      `json:"standing"`
	Temporary int      `json:"temporary"`
	Unknown   []string `json:"unknown,omitempty"` // why the counts may be too small
}

// Trend returns the runs of a forest that finished since a time, oldest first, each
// compared with the one before it, also where that is older than since. In the first
// run of all nothing has appeared.
func (tx *Tx) Trend(ctx context.Context, forest string, since time.Time) ([]TrendPoint, error) {
	var rows []runRow
	err := tx.tx.NewSelect().Model(&rows).Where("?TableAlias.forest = ?", forest).OrderExpr("?TableAlias.finished, ?TableAlias.id").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading runs: %w", tx.store.explain(err))
	}
	points := []TrendPoint{}
	for i, r := range rows {
		if r.Finished < micros(since) {
			continue
		}
		p := TrendPoint{Run: r.ID, Finished: fromMicros(r.Finished), Pass: r.Pass, Fail: r.Fail, Unknown: r.Unknown, Excepted: r.Excepted}
		if i > 0 {
			if err := tx.compare(ctx, rows[i-1].ID, &p); err != nil {
				return nil, fmt.Errorf("comparing runs %s and %s: %w", rows[i-1].ID, r.ID, tx.store.explain(err))
			}
		}
		if p.Populations, err = tx.populations(ctx, r.ID); err != nil {
			return nil, fmt.Errorf("reading populations of run %s: %w", r.ID, tx.store.explain(err))
		}
		points = append(points, p)
	}
	return points, nil
}

// failsOnlyIn counts failures of a run that are not failures of another. Placeholders
// appear in the order of their values.
const failsOnlyIn = `SELECT COUNT(*) FROM run_findings AS f WHERE f.run = ? AND f.outcome = 'fail' AND f.accepted = 0
	AND NOT EXISTS (SELECT 1 FROM run_findings AS o WHERE o.run = ? AND o.finding = f.finding AND o.outcome = 'fail' AND o.accepted = 0)`

func (tx *Tx) compare(ctx context.Context, before string, p *TrendPoint) error {
	if err := tx.tx.NewRaw(failsOnlyIn, p.Run, before).Scan(ctx, &p.Appeared); err != nil {
		return err
	}
	if err := tx.tx.NewRaw(failsOnlyIn, before, p.Run).Scan(ctx, &p.Gone); err != nil {
		return err
	}
	return tx.tx.NewRaw(failsOnlyIn+" AND EXISTS (SELECT 1 FROM run_findings AS u WHERE u.run = ? AND u.finding = f.finding AND u.outcome = 'unknown')",
		before, p.Run, p.Run).Scan(ctx, &p.Lost)
}

func (tx *Tx) populations(ctx context.Context, run string) ([]PopulationPoint, error) {
	var rows []populationRow
	if err := tx.tx.NewSelect().Model(&rows).Where("?TableAlias.run = ?", run).OrderExpr("?TableAlias.domain, ?TableAlias.name, ?TableAlias.sid").Scan(ctx); err != nil {
		return nil, err
	}
	out := make([]PopulationPoint, len(rows))
	for i, r := range rows {
		out[i] = PopulationPoint{SID: r.SID, Name: r.Name, Domain: r.Domain, Direct: r.Direct, Effective: r.Effective, Standing: r.Standing, Temporary: r.Temporary}
		if err := json.Unmarshal([]byte(r.Unknown), &out[i].Unknown); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
	return out, nil
}
