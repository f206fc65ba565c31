package app

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A strict directory answers within a second, and counts how many ask at once. It stands in
// for a domain controller's few connections.
type strict struct {
	grant.Directory
	now, most atomic.Int32
}

func (d *strict) Object(ctx context.Context, _ secdesc.GUID) (grant.Object, error) {
	d.most.Store(max(d.most.Load(), d.now.Add(1)))
	defer d.now.Add(-1)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	select {
	case <-time.After(time.Second):
		return grant.Object{Exists: true}, nil
	case <-ctx.Done():
		return grant.Object{}, grant.ErrUnreachable
	}
}

// A crowd waits for its turn and is answered, though the answers together take many times
// what one may; whoever goes away meanwhile is told so.
func TestQuestionsWaitForTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &strict{}
		q := newQueued(d)
		errs := make(chan error)
		for range 60 {
			go func() {
				_, err := q.Object(t.Context(), secdesc.GUID{})
				errs <- err
			}()
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := q.Object(ctx, secdesc.GUID{}); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, grant.ErrUnreachable) {
			t.Errorf("after he went away: %v", err)
		}
		for range 60 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if most := d.most.Load(); most != questionsAtOnce {
			t.Errorf("%d asked at once", most)
		}
	})
}
