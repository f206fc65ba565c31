package app

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/report"
	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/internal/server"
)

// reopenAfter is how long people are told that the directory is away before it is
// tried again.
const reopenAfter = 2 * time.Second

// people is [Operators] that opens when it is first needed, so that the server starts
// without its directory.
type people struct {
	set       OperatorSettings
	now       func() time.Time
	unchecked atomic.Bool // the rights of leastwise's own account have not been compared

	mu     sync.Mutex
	open   *Operators
	failed time.Time
	why    error
}

var (
	_ operator.Membership    = (*people)(nil)
	_ operator.Authenticator = (*people)(nil)
)

// get returns the connection, and makes it if there is none.
func (p *people) get(ctx context.Context) (*Operators, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open != nil {
		return p.open, nil
	}
	if age := p.now().Sub(p.failed); p.why != nil && age >= 0 && age < reopenAfter {
		return nil, p.why
	}
	o, err := OpenOperators(ctx, p.set)
	if err != nil {
		p.failed, p.why = p.now(), fmt.Errorf("connecting to the directory: %w", err)
		return nil, p.why
	}
	p.open, p.why = o, nil
	return o, nil
}

// Close ends the connections.
func (p *people) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		return nil
	}
	return p.open.Close()
}

// Account implements [operator.Membership].
func (p *people) Account(ctx context.Context, ref operator.AccountRef) (operator.Account, error) {
	o, err := p.get(ctx)
	if err != nil {
		return operator.Account{}, err
	}
	return o.Account(ctx, ref)
}

// Standing implements [operator.Membership].
func (p *people) Standing(ctx context.Context, account secdesc.GUID, groups []string) (operator.Standing, error) {
	o, err := p.get(ctx)
	if err != nil {
		return operator.Standing{}, err
	}
	return o.Standing(ctx, account, groups)
}

// Kerberos implements [operator.Authenticator].
func (p *people) Kerberos(ctx context.Context, token, endpoint []byte) (operator.Ticket, error) {
	o, err := p.get(ctx)
	if err != nil {
		return operator.Ticket{}, err
	}
	return o.Kerberos(ctx, token, endpoint)
}

// Password implements [operator.Authenticator].
func (p *people) Password(ctx context.Context, a operator.Account, password operator.Secret) error {
	o, err := p.get(ctx)
	if err != nil {
		return err
	}
	return o.Password(ctx, a, password)
}

// powers answers what membership of a group brings, from a snapshot file that may be
// replaced while the server runs.
type powers struct {
	file, tool string
	now        func() time.Time

	mu    sync.Mutex
	stamp time.Time
	graph *reach.Graph
	taken time.Time
}

func (p *powers) of(ctx context.Context, group secdesc.SID) (server.Power, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.load(ctx); err != nil {
		return server.Power{}, err
	}
	s := p.graph.Snapshot()
	id := s.BySID(group)
	if id == forest.None {
		return server.Power{Taken: p.taken}, nil
	}
	data, err := json.Marshal(report.NewExtent(s, p.graph, id))
	return server.Power{Taken: p.taken, Known: err == nil, Extent: data}, err
}

// load reads the file if it has changed.
func (p *powers) load(ctx context.Context) error {
	fi, err := os.Stat(p.file)
	if err != nil {
		return fmt.Errorf("reading the snapshot: %w", cause(err))
	}
	if p.graph != nil && fi.ModTime().Equal(p.stamp) {
		return nil
	}
	s, err := Load(ctx, p.file, p.tool, p.now())
	if err != nil {
		return err
	}
	p.graph, p.stamp, p.taken = Power(s), fi.ModTime(), s.Info().Finished
	return nil
}

// nextPEM returns the first block, and what follows it.
func nextPEM(data []byte) (*pem.Block, []byte) { return pem.Decode(data) }
