package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/grant"
)

// Grants is the store of grants. It is safe for concurrent use.
type Grants struct{ s *Store }

var _ grant.Store = Grants{}

// Grants returns the part of the store that keeps grants.
func (s *Store) Grants() Grants { return Grants{s} }

// grantRow is a row of grants.
type grantRow struct {
	bun.BaseModel `bun:"table:grants,alias:g"`

	ID         string `bun:",pk"`
	Generation int64
	State      string
	Policy     string
	Requester  string
	Holder     string
	GroupGUID  string `bun:"group_guid"`
	Requested  int64
	Wake       int64
	WakeDC     int64 `bun:"wake_dc"`
	Intent     int64
	Body       []byte
}

// never is the time of what does not wait.
const never = math.MaxInt64

func microsOrNever(t time.Time) int64 {
	if t.IsZero() {
		return never
	}
	return micros(t)
}

func newGrantRow(g *grant.Grant) (grantRow, error) {
	body, err := json.Marshal(g)
	return grantRow{
		ID: string(g.ID), Generation: g.Generation, State: string(g.State), Policy: g.Policy, Requester: guidText(g.Requester.Account),
		Holder: guidText(g.Key.Member), GroupGUID: guidText(g.Key.Group), Requested: micros(g.RequestedAt),
		Wake: microsOrNever(g.Wake), WakeDC: microsOrNever(g.WakeDC), Body: body,
	}, err
}

// readGrants makes grants of rows.
func readGrants(rows []grantRow) ([]grant.Grant, error) {
	out := make([]grant.Grant, len(rows))
	for i, r := range rows {
		if err := json.Unmarshal(r.Body, &out[i]); err != nil {
			return nil, fmt.Errorf("%w: grant %s: %w", ErrCorrupt, r.ID, err)
		}
		if g := &out[i]; string(g.ID) != r.ID || g.Generation != r.Generation || string(g.State) != r.State {
			return nil, fmt.Errorf("%w: grant %s is not what its row says", ErrCorrupt, r.ID)
		}
	}
	return out, nil
}

// GrantTx is a transaction over grants. Entries of the audit log are kept until the
// function that has it returns, and then written together.
type GrantTx struct {
	tx      *Tx
	entries []grant.Entry
}

var _ grant.Tx = (*GrantTx)(nil)

// Update implements [grant.Store].
func (s Grants) Update(ctx context.Context, f func(context.Context, grant.Tx) error) error {
	return s.s.Update(ctx, func(ctx context.Context, tx *Tx) error { return tx.Grants(ctx, f) })
}

// Grants runs f on the grants within the transaction, for what belongs together with
// other things.
func (tx *Tx) Grants(ctx context.Context, f func(context.Context, grant.Tx) error) error {
	g := &GrantTx{tx: tx}
	if err := f(ctx, g); err != nil {
		return err
	}
	if err := g.flush(ctx); err != nil {
		return fmt.Errorf("%w: %w", grant.ErrLog, err)
	}
	return nil
}

// Read implements [grant.Store].
func (s Grants) Read(ctx context.Context, id grant.ID) (g grant.Grant, err error) {
	err = s.s.View(ctx, func(ctx context.Context, tx *Tx) error {
		g, err = (&GrantTx{tx: tx}).Grant(ctx, id)
		return err
	})
	return g, err
}

// ReadAll implements [grant.Store].
func (s Grants) ReadAll(ctx context.Context, ids []grant.ID) ([]grant.Grant, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return s.selectGrants(ctx, func(q *bun.SelectQuery) { q.Where("?TableAlias.id IN (?)", bun.List(ids)) })
}

// selectGrants reads rows that a query restricts.
func (s Grants) selectGrants(ctx context.Context, restrict func(*bun.SelectQuery)) (out []grant.Grant, err error) {
	err = s.s.View(ctx, func(ctx context.Context, tx *Tx) error {
		out, err = tx.selectGrants(ctx, restrict)
		return err
	})
	return out, err
}

func (tx *Tx) selectGrants(ctx context.Context, restrict func(*bun.SelectQuery)) ([]grant.Grant, error) {
	var rows []grantRow
	q := tx.tx.NewSelect().Model(&rows)
	restrict(q)
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("reading grants: %w", tx.store.explain(err))
	}
	return readGrants(rows)
}

// inStates restricts a query to states.
func inStates(q *bun.SelectQuery, states []grant.State) {
	if len(states) > 0 {
		q.Where("?TableAlias.state IN (?)", bun.List(states))
	}
}

// Due implements [grant.Store].
func (s Grants) Due(ctx context.Context, d grant.Due) ([]grant.Grant, error) {
	wall := micros(d.Wall)
	out, err := s.selectGrants(ctx, func(q *bun.SelectQuery) {
		inStates(q, d.States)
		q.Where("?TableAlias.wake <= ?", wall).OrderExpr("?TableAlias.wake, ?TableAlias.id").Limit(int64(d.Limit))
	})
	if err != nil || d.DC.IsZero() || len(out) >= d.Limit {
		return out, err
	}
	byDC, err := s.selectGrants(ctx, func(q *bun.SelectQuery) {
		inStates(q, d.States)
		q.Where("?TableAlias.wake_dc <= ?", micros(d.DC)).Where("?TableAlias.wake > ?", wall).
			OrderExpr("?TableAlias.wake_dc, ?TableAlias.id").Limit(int64(d.Limit - len(out)))
	})
	return append(out, byDC...), err
}

// List implements [grant.Store].
func (s Grants) List(ctx context.Context, p grant.Page) ([]grant.Grant, error) {
	return s.selectGrants(ctx, func(q *bun.SelectQuery) {
		inStates(q, p.States)
		if !p.Party.IsZero() {
			q.Where("(?TableAlias.requester = ? OR ?TableAlias.holder = ?)", guidText(p.Party), guidText(p.Party))
		}
		if p.Policy != "" {
			q.Where("?TableAlias.policy = ?", p.Policy)
		}
		if p.After != "" {
			q.Where("(?TableAlias.requested < (SELECT a.requested FROM grants AS a WHERE a.id = ?) OR "+
				"(?TableAlias.requested = (SELECT a.requested FROM grants AS a WHERE a.id = ?) AND ?TableAlias.id < ?))", p.After, p.After, p.After)
		}
		q.OrderExpr("?TableAlias.requested DESC, ?TableAlias.id DESC").Limit(int64(p.Limit))
	})
}

// Grant implements [grant.Tx].
func (t *GrantTx) Grant(ctx context.Context, id grant.ID) (grant.Grant, error) {
	list, err := t.tx.selectGrants(ctx, func(q *bun.SelectQuery) { q.Where("?TableAlias.id = ?", string(id)) })
	if err != nil {
		return grant.Grant{}, err
	}
	if len(list) == 0 {
		return grant.Grant{}, grant.ErrNotFound
	}
	return list[0], nil
}

// Put implements [grant.Tx].
func (t *GrantTx) Put(ctx context.Context, g grant.Grant, was int64) error {
	row, err := newGrantRow(&g)
	if err != nil {
		return fmt.Errorf("storing grant %s: %w", g.ID, err)
	}
	if was == 0 {
		return t.insert(ctx, &row)
	}
	// The intent column belongs to flush.
	res, err := t.tx.tx.NewUpdate().Model(&row).ExcludeColumn("id", "intent").Where("id = ?", row.ID).Where("generation = ?", was).Exec(ctx)
	return t.replaced(res, err, "grant "+row.ID)
}

// replaced reports a conflict if a statement changed nothing.
func (t *GrantTx) replaced(res sql.Result, err error, what string) error {
	if err != nil {
		return fmt.Errorf("storing %s: %w", what, t.tx.store.explain(err))
	}
	n, err := res.RowsAffected()
	if err == nil && n != 1 {
		err = grant.ErrConflict
	}
	return err
}

func (t *GrantTx) insert(ctx context.Context, row *grantRow) error {
	n, err := t.tx.tx.NewSelect().Model((*grantRow)(nil)).Where("?TableAlias.id = ?", row.ID).Count(ctx)
	if err == nil && n > 0 {
		return grant.ErrExists
	}
	if err == nil {
		_, err = t.tx.tx.NewInsert().Model(row).Exec(ctx)
	}
	if err != nil {
		return fmt.Errorf("storing grant %s: %w", row.ID, t.tx.store.explain(err))
	}
	return nil
}

// holding returns the states in which a grant has a membership, or writes it.
func holding() []grant.State { return []grant.State{grant.Activating, grant.Active, grant.Ending} }

// Holders implements [grant.Tx].
func (t *GrantTx) Holders(ctx context.Context, k grant.Key) ([]grant.Grant, error) {
	return t.tx.selectGrants(ctx, func(q *bun.SelectQuery) {
		q.Where("?TableAlias.group_guid = ?", guidText(k.Group)).Where("?TableAlias.holder = ?", guidText(k.Member))
		inStates(q, holding())
		q.OrderExpr("?TableAlias.requested, ?TableAlias.id")
	})
}

// Record implements [grant.Tx].
func (t *GrantTx) Record(_ context.Context, e grant.Entry) error {
	t.entries = append(t.entries, e)
	return nil
}

// flush writes the entries to the audit log. An outcome answers the intent of the same
// grant; one without an intent is a fact.
func (t *GrantTx) flush(ctx context.Context) error {
	if len(t.entries) == 0 {
		return nil
	}
	intents := map[grant.ID]int64{}
	entries := make([]audit.Entry, len(t.entries))
	for i, e := range t.entries {
		entries[i] = auditEntry(&e)
		if entries[i].Phase != audit.Outcome {
			continue
		}
		answers, known := intents[e.Grant]
		if !known {
			var err error
			if answers, err = t.intent(ctx, e.Grant); err != nil {
				return err
			}
		}
		intents[e.Grant] = 0
		if entries[i].Answers = answers; answers == 0 {
			entries[i].Phase, entries[i].Result = audit.Fact, 0
		}
	}
	first, err := audit.Append(ctx, t.tx, entries...)
	if err != nil {
		return err
	}
	for i, e := range t.entries {
		if e.Kind == grant.Intent {
			intents[e.Grant] = first + int64(i)
		}
	}
	for id, index := range intents {
		if _, err := t.tx.tx.NewUpdate().Model((*grantRow)(nil)).Set("intent = ?", index).Where("id = ?", string(id)).Exec(ctx); err != nil {
			return t.tx.store.explain(err)
		}
	}
	return nil
}

// intent returns the index of the intent of a grant's present write, 0 for none.
func (t *GrantTx) intent(ctx context.Context, id grant.ID) (index int64, err error) {
	err = t.tx.tx.NewSelect().Model((*grantRow)(nil)).Column("intent").Where("?TableAlias.id = ?", string(id)).Scan(ctx, &index)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return index, t.tx.store.explain(err)
}

// auditEntry translates an entry.
func auditEntry(e *grant.Entry) audit.Entry {
	out := audit.Entry{
		Time: e.Time, Late: e.Late, Phase: audit.Fact, Action: "grant." + string(e.Action), Request: e.Actor.Request,
		Actor: audit.Actor{
			Name: e.Actor.Name, SID: e.Actor.SID, Method: audit.Method(e.Actor.Method), Factor: audit.Method(e.Actor.Factor), Session: e.Actor.Session, From: e.Actor.From,
		},
		Target: e.Group, TargetName: e.GroupName, Subject: e.Target, SubjectName: e.TargetName,
		Generation: uint64(max(0, e.Generation)), Until: e.Until, Reason: entryText(e),
	}
	if e.Grant != "" {
		out.Record = "grant/" + string(e.Grant)
	}
	if out.Actor.Method == "" {
		out.Actor.Name, out.Actor.Method = "leastwise", audit.System
	}
	switch e.Kind {
	case grant.Intent:
		out.Phase = audit.Intent
	case grant.Refusal, grant.Stale:
		out.Phase = audit.Refusal
	case grant.Outcomes:
		out.Phase, out.Result = audit.Outcome, outcomes(e.Action)
	}
	return out
}

// outcomes translates the event of an outcome.
func outcomes(ev grant.Event) audit.Result {
	switch ev {
	case grant.Activated, grant.HasEnded:
		return audit.Done
	case grant.MaybeActive, grant.MaybeEnded, grant.Remove:
		return audit.Unknown
	}
	return audit.NotDone
}

// entryText is what the log says in words.
func entryText(e *grant.Entry) string {
	var parts []string
	if e.From != e.To && e.To != "" {
		parts = append(parts, string(e.From)+" -> "+string(e.To))
	}
	for _, s := range []string{e.Detail, e.Reason} {
		if s = strings.TrimSpace(s); s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, "; ")
}
