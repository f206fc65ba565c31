package server

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// Whoever fills his share keeps nobody else out, waits for his own places, and gives up
// in time.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(3, 2, time.Second)
		var leave []func()
		for range 2 {
			l, ok := g.enter(t.Context(), "greedy")
			if !ok {
				t.Fatal("there is place")
			}
			leave = append(leave, l)
		}
		began := time.Now()
		if _, ok := g.enter(t.Context(), "greedy"); ok || time.Since(began) != time.Second {
			t.Errorf("a third place: %v after %s", ok, time.Since(began))
		}
		other, ok := g.enter(t.Context(), "other")
		if !ok {
			t.Error("the greedy one keeps another out")
		}
		got := make(chan string, 2)
		for _, who := range []string{"greedy", "third"} {
			go func() {
				if l, ok := g.enter(t.Context(), who); ok {
					got <- who
					l()
				}
			}()
			synctest.Wait()
		}
		other() // the greedy one waits for longer, but his share is full
		if who := <-got; who != "third" {
			t.Errorf("%s was let in", who)
		}
		leave[0]()
		if who := <-got; who != "greedy" {
			t.Errorf("%s was let in", who)
		}
		leave[1]()
		synctest.Wait()
		if g.inside != 0 || len(g.each) != 0 || len(g.queue) != 0 {
			t.Errorf("%d inside, %v, %d wait", g.inside, g.each, len(g.queue))
		}
	})
}

func TestNeighbourhood(t *testing.T) {
	for a, want := range map[string]string{"192.0.2.1": "192.0.2.1", "2001:db8::1": "2001:db8::/64", "2001:db8::ffff:1": "2001:db8::/64"} {
		if got := neighbourhood(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s: %s", a, got)
		}
	}
}
