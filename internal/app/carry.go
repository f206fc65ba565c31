package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/leastwise/leastwise/internal/apply"
	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/plan"
)

// ReadPlan reads a plan file.
func ReadPlan(name string) (*plan.Plan, error) {
	b, err := ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading the plan %s: %w", name, err)
	}
	p, err := plan.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("reading the plan %s: %w", name, err)
	}
	return p, nil
}

// An Errand is a plan that is carried out, or taken back.
type Errand struct {
	Journal     string                 // file; made if it is not there, unless Undo
	Plan        *plan.Plan             // nil with Undo: the journal holds it
	Digest      string                 // that was shown
	Undo        bool                   //
	NewPassword func() (string, error) // of the account whose password the plan resets; nil: none is given
	Progress    func(apply.Step)       // may be nil
	// Replicas is how long to watch the changes arrive on the other domain
	// controllers; 0: not at all.
	Replicas time.Duration
}

// An Arrival is what the other domain controllers hold of a change.
type Arrival struct {
	Change   int // number in the plan
	Replicas []dc.Replica
}

// Carry carries a plan out or takes it back. The report is set, too, if there is an
// error after the first change.
func Carry(ctx context.Context, c *Config, by Caller, e Errand) (*apply.Report, []Arrival, error) {
	if e.Undo {
		if _, err := os.Stat(e.Journal); errors.Is(err, fs.ErrNotExist) {
			return nil, nil, fmt.Errorf("reading the journal %s: %w", e.Journal, cause(err))
		}
	}
	cfg, err := DirectoryConfig(ctx, c, by)
	if err != nil {
		return nil, nil, err
	}
	j, err := apply.OpenFile(e.Journal)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = j.Close() }()
	if cfg.Domain == "" {
		cfg.Domain = domainOf(ctx, e.Plan, j)
	}
	d, err := apply.Open(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = d.Close() }()
	run := &apply.Run{Directory: d, Journal: j, Now: by.Now, Progress: e.Progress}
	if e.NewPassword != nil {
		run.Password = func(context.Context, int, plan.Target) ([]byte, error) {
			p, err := e.NewPassword()
			return []byte(p), err
		}
	}
	var rep *apply.Report
	if e.Undo {
		rep, err = run.Undo(ctx)
	} else {
		rep, err = run.Apply(ctx, e.Plan, e.Digest)
	}
	if rep == nil || e.Replicas == 0 {
		return rep, nil, err
	}
	return rep, arrivals(ctx, d, rep, e.Replicas), err
}

// domainOf is the domain of a plan, which the journal holds if it is to be undone.
func domainOf(ctx context.Context, p *plan.Plan, j apply.Journal) string {
	if p != nil {
		return p.Domain
	}
	if entries, err := j.Entries(ctx); err == nil && len(entries) > 0 && entries[0].Plan != nil {
		return entries[0].Plan.Domain
	}
	return "" // the run says what is wrong with the journal
}

// arrivals asks the other domain controllers until every change is there, or for as
// long as was said.
func arrivals(ctx context.Context, d *apply.Directory, rep *apply.Report, limit time.Duration) []Arrival {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var out []Arrival
	for _, c := range rep.Changes {
		if c.Result != apply.Done {
			continue
		}
		change := c.Change
		if rep.Undo {
			if back, err := change.Inverse(plan.Facts{Expires: new(int64)}); err == nil {
				change = back
			}
		}
		out = append(out, Arrival{c.Number, watchReplicas(ctx, d, change)})
	}
	return out
}

// poll is how often the other domain controllers are asked.
const poll = 500 * time.Millisecond

func watchReplicas(ctx context.Context, d *apply.Directory, c plan.Change) []dc.Replica {
	// What the last asking finds out counts, also when the time is over.
	asking := context.WithoutCancel(ctx)
	for {
		list := d.Replicas(asking, c)
		if !slices.ContainsFunc(list, func(r dc.Replica) bool { return r.State == dc.ReplicaPending }) {
			return list
		}
		select {
		case <-ctx.Done():
			return list
		case <-time.After(poll):
		}
	}
}

// NewPassword reads the first line of a file, - for standard input: a password that is
// to be set.
func NewPassword(file string, by Caller) (string, error) {
	if file == "-" {
		return readPassword(by.Stdin, "standard input")
	}
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("reading the new password from %s: %w", file, cause(err))
	}
	defer f.Close()
	if fi, err := f.Stat(); err == nil {
		by.warnExposed("password file", file, fi)
	}
	return readPassword(f, file)
}
