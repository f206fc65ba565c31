package app

import (
	"context"
	"fmt"

	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// questionsAtOnce is how many questions are asked at once on behalf of people. The
// connections to a domain controller are few, and the time that an answer may take is
// short: a crowd that waited there would look like a domain controller that does not
// answer, and the work on ends would wait behind it.
const questionsAtOnce = 3

// addsAtOnce is the same for additions, which a domain controller makes one after the
// other. Removals wait for nothing.
const addsAtOnce = 3

// queued is a directory of which people's questions, and additions, wait for their turn
// before their time begins to count.
type queued struct {
	grant.Directory
	turns, adds chan struct{}
}

func newQueued(d grant.Directory) *queued {
	return &queued{Directory: d, turns: make(chan struct{}, questionsAtOnce), adds: make(chan struct{}, addsAtOnce)}
}

// Add implements [grant.Directory]. What waits for longer than the write was announced for
// is not sent.
func (q *queued) Add(ctx context.Context, w grant.Write) grant.Result {
	select {
	case q.adds <- struct{}{}:
	case <-ctx.Done():
		return grant.Result{Outcome: grant.OutcomeLater, Detail: "not sent: other additions took too long"}
	}
	defer func() { <-q.adds }()
	return q.Directory.Add(ctx, w)
}

// turn waits; done has to be called if err is nil.
func (q *queued) turn(ctx context.Context) (done func(), err error) {
	select {
	case q.turns <- struct{}{}:
		return func() { <-q.turns }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting to ask the directory: %w: %w", grant.ErrUnreachable, context.Cause(ctx))
	}
}

// Find implements [grant.Directory].
func (q *queued) Find(ctx context.Context, ref grant.Ref) (grant.Object, error) {
	done, err := q.turn(ctx)
	if err != nil {
		return grant.Object{}, err
	}
	defer done()
	return q.Directory.Find(ctx, ref)
}

// Object implements [grant.Directory].
func (q *queued) Object(ctx context.Context, guid secdesc.GUID) (grant.Object, error) {
	done, err := q.turn(ctx)
	if err != nil {
		return grant.Object{}, err
	}
	defer done()
	return q.Directory.Object(ctx, guid)
}

// Within implements [grant.Directory].
func (q *queued) Within(ctx context.Context, account secdesc.GUID, refs []grant.Ref) (bool, error) {
	done, err := q.turn(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	return q.Directory.Within(ctx, account, refs)
}
