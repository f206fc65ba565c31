package app

import (
	"context"
	"time"

	"github.com/leastwise/leastwise/internal/server"
)

// upkeepEvery is how often the metrics of what is beside grants are read from the store.
const upkeepEvery = 15 * time.Second

// watchUpkeep keeps the metrics of scans, notifications and witnesses until ctx ends.
func (s *serving) watchUpkeep(ctx context.Context) {
	for {
		u, err := s.upkeep(ctx)
		switch {
		case err == nil:
			s.web.ObserveUpkeep(u)
		case ctx.Err() == nil:
			s.o.Log.Warn("the metrics of scans and notifications could not be read", "error", err.Error())
		}
		if !pauseFor(ctx, upkeepEvery) {
			return
		}
	}
}

func (s *serving) upkeep(ctx context.Context) (u server.Upkeep, err error) {
	if s.scans != nil {
		v, err := s.scans.state(ctx)
		if err != nil {
			return u, err
		}
		u.Scan = &server.ScanState{Running: underWay(v, s.now()), Tried: v.Tried, Succeeded: v.Succeeded, Failures: v.Failures, Overruns: s.scans.left()}
	}
	if s.notifier != nil {
		n := &server.NoticeState{Targets: map[string]server.TargetState{}}
		if n.Waiting, n.Dead, err = s.store.Deliveries().Count(ctx); err != nil {
			return u, err
		}
		for name, t := range s.notifier.Status() {
			n.Targets[name] = server.TargetState{Sent: t.Sent, Failed: t.Failed}
		}
		u.Notices = n
	}
	u.Witnesses = map[string]server.WitnessState{}
	for name, w := range s.mirror.Status() {
		u.Witnesses[name] = server.WitnessState{Given: w.Given, Failed: w.Failed, Waiting: w.Waiting}
	}
	if at := s.signed.Load(); at != 0 {
		u.Signed = time.Unix(0, at)
	}
	return u, nil
}

// left is how many turns passed because a scan took longer.
func (s *scans) left() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.overruns
}
