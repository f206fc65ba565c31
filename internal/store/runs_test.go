package store_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/control"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/store/storetest"
)

// keeping is who keeps runs.
func keeping() audit.Entry {
	return audit.Entry{Time: noon, Actor: audit.Actor{Name: "root", Method: audit.Local}}
}

// aRun is an assessment with an ID.
func aRun(id string, finished time.Time, findings ...control.Finding) *control.Assessment {
	a := &control.Assessment{
		Run: control.Run{
			ID: id, Started: finished.Add(-time.Minute), Finished: finished, Tool: "test", Source: "scan",
			Domains: []control.DomainSize{{DNS: "emea.contoso.com"}, {DNS: "CONTOSO.com"}},
		},
		Population: []control.Population{{Group: "Domain Admins", SID: "S-1-5-21-1-2-3-512", Domain: "contoso.com", Direct: 3, Effective: 5 + len(findings), Standing: 4, Temporary: 1}},
		Findings:   findings,
	}
	for _, f := range findings {
		switch {
		case f.Exception != nil:
			a.Summary.Excepted++
		case f.Outcome == control.Fail:
			a.Summary.Fail++
		default:
			a.Summary.Unknown++
		}
	}
	return a
}

func failing(id, sid string) control.Finding {
	return control.Finding{
		Control: id, Title: "Title of " + id, Severity: "high", Outcome: control.Fail, Detail: "it's \x00 bad",
		Subject: control.Subject{Name: "Ann", DN: "CN=Ann,DC=contoso,DC=com", SID: sid, Kind: "user", Domain: "contoso.com"},
	}
}

// The trend counts what came and what went, tells what could not be decided from
// what was mended, and follows a renamed account.
func TestTrendOfRuns(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s *store.Store) {
		day := 24 * time.Hour
		renamed := failing("a", "S-1-5-21-1")
		renamed.Subject.DN, renamed.Subject.Name = "CN=Ann Married,DC=contoso,DC=com", "Ann Married"
		unknown := failing("b", "S-1-5-21-1")
		unknown.Outcome = control.Unknown
		accepted := failing("c", "S-1-5-21-1")
		accepted.Exception = &control.Exception{Owner: "Bob"}
		other := aRun("other-forest", noon)
		other.Run.Domains = nil
		runs := []*control.Assessment{
			aRun("one", noon, failing("a", "S-1-5-21-1"), failing("b", "S-1-5-21-1"), failing("c", "S-1-5-21-1"), failing("c", "S-1-5-21-1")),
			other,
			aRun("two", noon.Add(day), renamed, unknown, accepted, failing("d", "")),
			aRun("three", noon.Add(2*day), failing("d", "")),
		}
		update(t, s, func(ctx context.Context, tx *store.Tx) error {
			for i, a := range slices.Concat(runs, runs) {
				kept, err := tx.KeepRun(ctx, a, keeping())
				if err != nil || kept != (i < len(runs)) {
					t.Errorf("%s: kept %v, %v", a.Run.ID, kept, err)
				}
			}
			return nil
		})
		view(t, s, func(ctx context.Context, tx *store.Tx) error {
			trend, err := tx.Trend(ctx, "contoso.com emea.contoso.com", time.Time{})
			if err != nil {
				return err
			}
			var got []string
			for _, p := range trend {
				got = append(got, fmt.Sprintf("%s fail %d unknown %d excepted %d, %d appeared, %d gone, %d accepted, %d undecided; %d in %s",
					p.Run, p.Fail, p.Unknown, p.Excepted, p.Appeared, p.Gone, p.Accepted, p.Undecided, p.Populations[0].Effective, p.Populations[0].Name))
			}
			want := []string{
				"one fail 4 unknown 0 excepted 0, 0 appeared, 0 gone, 0 accepted, 0 undecided; 9 in Domain Admins",
				"two fail 2 unknown 1 excepted 1, 1 appeared, 1 gone, 1 accepted, 1 undecided; 9 in Domain Admins",
				"three fail 1 unknown 0 excepted 0, 0 appeared, 2 gone, 0 accepted, 0 undecided; 6 in Domain Admins",
			}
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			late, err := tx.Trend(ctx, "contoso.com emea.contoso.com", noon.Add(2*day))
			if err != nil || len(late) != 1 || late[0].Gone != 2 {
				t.Errorf("since the third: %+v, %v", late, err)
			}
			all, err := tx.Runs(ctx, "", 2)
			if err != nil || len(all) != 2 || all[0].ID != "three" || all[1].Summary.Fail != 2 {
				t.Errorf("%+v, %v", all, err)
			}
			findings, err := tx.RunFindings(ctx, "two")
			if err != nil || len(findings) != 4 || findings[0].Detail != "it's \x00 bad" {
				t.Errorf("%+v, %v", findings, err)
			}
			if _, err := tx.RunFindings(ctx, "four"); !errors.Is(err, store.ErrNotFound) {
				t.Error(err)
			}
			return nil
		})
	})
}

// What became of each failure comes with the finding as the last run says that had it.
func TestStepsOfARun(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s *store.Store) {
		keep(t, s, aRun("one", noon, failing("a", "S-1-5-21-1"), failing("b", "S-1-5-21-1")))
		keep(t, s, aRun("two", noon.Add(time.Hour), failing("b", "S-1-5-21-1"), failing("c", "S-1-5-21-1")))
		view(t, s, func(ctx context.Context, tx *store.Tx) error {
			point, steps, err := tx.RunSteps(ctx, "two")
			var got []string
			for _, s := range steps {
				got = append(got, fmt.Sprintf("%s %s %s-%s %s", s.Finding.Title, s.Fate, s.First, s.Seen, s.Key))
			}
			fa, fb, fc := failing("a", "S-1-5-21-1"), failing("b", "S-1-5-21-1"), failing("c", "S-1-5-21-1")
			want := []string{
				"Title of a gone one-one " + fa.Digest(), "Title of b still there one-two " + fb.Digest(), "Title of c new two-two " + fc.Digest(),
			}
			if diff := gocmp.Diff(want, got); diff != "" || point.Run != "two" || point.Gone != 1 {
				t.Errorf("%+v\n%s", point, diff)
			}
			if _, _, err := tx.RunSteps(ctx, "three"); !errors.Is(err, store.ErrNotFound) {
				t.Error(err)
			}
			forests, err2 := tx.Forests(ctx)
			if len(forests) != 1 || forests[0] != "contoso.com emea.contoso.com" {
				t.Errorf("%q", forests)
			}
			return errors.Join(err, err2)
		})
	})
}

func keep(t *testing.T, s *store.Store, a *control.Assessment) {
	t.Helper()
	update(t, s, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.KeepRun(ctx, a, keeping())
		return err
	})
}

// Runs that were changed, deleted or put in behind the log's back are found out; those
// that somebody had deleted are missed by nobody.
func TestTamperingWithRunsIsFound(t *testing.T) {
	cases := []struct{ name, sqlite, postgres, want string }{
		{name: "nothing", sqlite: "UPDATE audit_head SET size = size"},
		{"the summary", "UPDATE runs SET fail = 0 WHERE id = 'one'", "", "state-changed 2: run one, its populations or its findings are not what was kept"},
		{"what was evaluated", "UPDATE runs SET controls = '[\"x\"]' WHERE id = 'one'", "", "state-changed 2: run one, its populations or its findings are not what was kept"},
		{"a finding", "UPDATE run_findings SET outcome = 'unknown' WHERE run = 'two' AND control = 'b'", "", "state-changed 3: run two, its populations or its findings are not what was kept"},
		{"a finding less", "DELETE FROM run_findings WHERE run = 'two' AND control = 'b'", "", "state-changed 3: run two, its populations or its findings are not what was kept"},
		{"a population", "UPDATE run_populations SET standing = 0 WHERE run = 'two'", "", "state-changed 3: run two, its populations or its findings are not what was kept"},
		{"a run less", "DELETE FROM run_findings WHERE run = 'one'; DELETE FROM run_populations WHERE run = 'one'; DELETE FROM runs WHERE id = 'one'", "", "state-changed 2: run/one was kept, and is not there"},
		{"another run", "UPDATE runs SET id = 'new' WHERE id = 'empty'", "", "state-changed -1: run new is there, and no entry says that it was kept, state-changed 4: run/empty was kept, and is not there"},
	}
	storetest.Each(t, func(t *testing.T, d storetest.DB) {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				again, query := storetest.SQLite, c.sqlite
				if !d.IsSQLite() {
					again, query = storetest.Postgres, cmp.Or(c.postgres, c.sqlite)
				}
				d := again(t)
				s := d.Open(t)
				empty := aRun("empty", noon)
				empty.Population = nil
				keep(t, s, aRun("old", noon.Add(-time.Hour), failing("a", "")))
				keep(t, s, aRun("one", noon, failing("a", ""), failing("b", "")))
				keep(t, s, aRun("two", noon.Add(time.Hour), failing("a", ""), failing("b", "")))
				keep(t, s, empty)
				update(t, s, func(ctx context.Context, tx *store.Tx) error {
					gone, err := tx.ForgetRuns(ctx, "", noon, keeping())
					if !slices.Equal(gone, []string{"old"}) {
						t.Errorf("forgot %q", gone)
					}
					return err
				})
				for q := range strings.SplitSeq(query, "; ") {
					d.Exec(t, q)
				}
				view(t, s, func(ctx context.Context, tx *store.Tx) error {
					r, err := tx.VerifyAudit(ctx, nil)
					if err != nil {
						return err
					}
					var got []string
					for _, p := range r.Problems {
						got = append(got, fmt.Sprintf("%s %d: %s", p.Kind, p.First, p.Text))
					}
					if strings.Join(got, ", ") != c.want {
						t.Errorf("got %q, want %q", strings.Join(got, ", "), c.want)
					}
					return nil
				})
			})
		}
	})
}

// A schedule is one node's at a time: what is of an older generation is stale.
func TestScheduleIsFenced(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s *store.Store) {
		update(t, s, func(ctx context.Context, tx *store.Tx) error {
			none, err := tx.Schedule(ctx, "scan")
			if err != nil || !none.Done.IsZero() || none.Running(noon) || none.Generation != 0 {
				t.Errorf("%+v, %v", none, err)
			}
			at := noon.UTC().Truncate(time.Microsecond)
			first := store.Schedule{Name: "scan", Generation: 1, Lease: at.Add(time.Minute), Node: "a", Began: at}
			if err := tx.PutSchedule(ctx, first, 0); err != nil {
				return err
			}
			second := first
			second.Generation, second.Node, second.Fault, second.Failures = 2, "b", "it's away", 3
			if err := tx.PutSchedule(ctx, second, 1); err != nil {
				return err
			}
			if err := tx.PutSchedule(ctx, first, 1); !errors.Is(err, store.ErrStale) {
				t.Errorf("of an older generation: %v", err)
			}
			got, err := tx.Schedule(ctx, "scan")
			if diff := gocmp.Diff(second, got); diff != "" || !got.Running(at) || got.Running(at.Add(time.Minute)) {
				t.Error(diff)
			}
			return err
		})
	})
}
