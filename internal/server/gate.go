package server

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Limits of how much is done at once.
const (
	doorPlaces = 256 // looking for a session, which waits for nothing but the database
	doorShare  = 64  // of one address (of IPv6: one /64)
	signPlaces = 192 // sign-ins, which wait for their bodies and for the directory
	signShare  = 48  // of one address
	pagePlaces = 64  // pages for anybody, which slow readers hold up
	pageShare  = 16  // of one address
	deskPlaces = 512 // requests of callers who are known; streams count for themselves
	deskShare  = 192 // of one account
	logPlaces  = 2   // reading the whole audit log, which keeps a connection to the database busy
	logShare   = 1   // of one account
	maxQueue   = 2048
	patience   = 5 * time.Second // so long a request waits for a place
)

// A gate bounds how many are inside at once, in all and of each kind, so that nobody who
// fills his own share keeps others out. Whoever waits is let in in the order of arrival,
// but for those whose share is full. It is safe for concurrent use.
type gate struct {
	places, share int
	wait          time.Duration // 0: nobody waits

	mu     sync.Mutex
	inside int
	each   map[string]int
	queue  []*waiting
}

// waiting is somebody before a gate.
type waiting struct {
	who  string
	open chan struct{} // closed when he is inside
}

func newGate(places, share int, wait time.Duration) *gate {
	return &gate{places: places, share: share, wait: wait, each: map[string]int{}}
}

// enter waits for a place. ok is false if there is none in time; otherwise leave has to be
// called, once.
func (g *gate) enter(ctx context.Context, who string) (leave func(), ok bool) {
	g.mu.Lock()
	if g.fits(who) {
		g.take(who)
		g.mu.Unlock()
		return func() { g.leave(who) }, true
	}
	if g.wait == 0 || len(g.queue) >= maxQueue {
		g.mu.Unlock()
		return nil, false
	}
	w := &waiting{who, make(chan struct{})}
	g.queue = append(g.queue, w)
	g.mu.Unlock()
	t := time.NewTimer(g.wait)
	defer t.Stop()
	select {
	case <-w.open:
		return func() { g.leave(who) }, true
	case <-ctx.Done():
	case <-t.C:
	}
	return g.giveUp(w)
}

// giveUp takes somebody out of the queue, unless he was let in meanwhile.
func (g *gate) giveUp(w *waiting) (leave func(), ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.queue, w)
	if i < 0 {
		return func() { g.leave(w.who) }, true
	}
	g.queue = slices.Delete(g.queue, i, i+1)
	return nil, false
}

func (g *gate) fits(who string) bool { return g.inside < g.places && g.each[who] < g.share }

func (g *gate) take(who string) {
	g.inside++
	g.each[who]++
}

func (g *gate) leave(who string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.each[who]--; g.each[who] == 0 {
		delete(g.each, who)
	}
	// One place is free: the first who fits gets it.
	i := slices.IndexFunc(g.queue, func(w *waiting) bool { return g.fits(w.who) })
	if i < 0 {
		return
	}
	w := g.queue[i]
	g.queue = slices.Delete(g.queue, i, i+1)
	g.take(w.who)
	close(w.open)
}

// neighbourhood is what an address counts as: IPv6 hosts choose the lower half themselves.
func neighbourhood(a netip.Addr) string {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}
