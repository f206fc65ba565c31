package apply

import (
	"context"
	"fmt"
	"time"

	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/grant"
)

// Timing of gates.
const (
	probeEvery = 500 * time.Millisecond // to a domain controller that does not answer
	probeTime  = 5 * time.Second        // for its answer
	// probesAtOnce is how many of these may be waited for.
	probesAtOnce = 4
	// signInEvery is how often an account is tried that may not sign in: rarer than any
	// lockout policy counts.
	signInEvery = 5 * time.Minute
	// lostInRow is how many connections may be lost one after the other before a domain
	// controller counts as away.
	lostInRow = 3
)

// anyServer is the gate of signing in for the first time, to whichever answers.
const anyServer = ""

// A gate keeps questions from a domain controller that does not answer.
type gate struct {
	lost int // connections in a row
	shut bool
	why  error
}

// pass returns nil if a domain controller may be asked, else why it did not answer.
func (d *Grants) pass(server string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if g := d.gates[server]; g != nil && g.shut {
		return fmt.Errorf("%w: %w", grant.ErrUnreachable, g.why)
	}
	return nil
}

// note tells the gate of a domain controller what came of a question.
func (d *Grants) note(server string, err error) {
	switch dc.KindOf(err) {
	case dc.ErrUnreachable, dc.ErrTimeout, dc.ErrUnavailable, dc.ErrKDCUnreachable, dc.ErrDNS, dc.ErrTLS:
		d.failed(server, err)
	case dc.ErrConnectionLost, dc.ErrUncertain:
		d.mu.Lock()
		g := d.gateOf(server)
		g.lost++
		shut := g.lost >= lostInRow
		d.mu.Unlock()
		if shut {
			d.failed(server, err)
		}
	case dc.ErrCanceled: // ours: it says nothing about the domain controller
	default:
		if barred(err) {
			d.failed(server, err)
			return
		}
		d.mu.Lock()
		d.gateOf(server).lost = 0
		d.mu.Unlock()
	}
}

// barred reports whether signing in was refused: more tries could lock the account.
func barred(err error) bool {
	switch dc.KindOf(err) {
	case dc.ErrWrongPassword, dc.ErrUnknownUser, dc.ErrLockedOut, dc.ErrDisabled, dc.ErrRevoked, dc.ErrPasswordExpired,
		dc.ErrAccountExpired, dc.ErrLogonRestricted, dc.ErrNoStrongKey:
		return true
	}
	return false
}

// gateOf returns a gate; d.mu is held.
func (d *Grants) gateOf(server string) *gate {
	g := d.gates[server]
	if g == nil {
		g = &gate{}
		d.gates[server] = g
	}
	return g
}

// failed shuts a gate and has the domain controller probed until it answers.
func (d *Grants) failed(server string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	g := d.gateOf(server)
	if g.shut || d.ended.Err() != nil {
		return
	}
	g.shut, g.why = true, err
	d.probes.Go(func() { d.probe(server, err) })
}

// probe asks a domain controller for its time until it tells it, and opens its gate. An
// answer that is slow in coming does not keep the next from being asked for: the domain
// controller may be back meanwhile, and the old connection dead.
func (d *Grants) probe(server string, why error) {
	most := probesAtOnce
	if server == anyServer {
		most = 1
	}
	answers, running := make(chan error, most), 0
	timer := time.NewTimer(probeAfter(why))
	defer timer.Stop()
	for why != nil {
		select {
		case <-d.ended.Done():
			return
		case why = <-answers:
			running--
			d.mu.Lock()
			d.gateOf(server).why = why
			d.mu.Unlock()
		case <-timer.C:
			if running < most && (running == 0 || !barred(why)) {
				running++
				d.probes.Go(func() { answers <- d.answers(server) })
			}
			timer.Reset(probeAfter(why))
		}
	}
	d.mu.Lock()
	*d.gateOf(server) = gate{}
	d.mu.Unlock()
	select {
	case d.returned <- struct{}{}:
	default:
	}
}

// probeAfter returns how long to wait until a domain controller is asked again.
func probeAfter(why error) time.Duration {
	if barred(why) {
		return signInEvery
	}
	return probeEvery
}

// answers reports why a domain controller does not answer, nil if it does.
func (d *Grants) answers(server string) error {
	limit := probeTime
	if server == anyServer {
		limit = signInTime
	}
	ctx, cancel := context.WithTimeout(d.ended, limit)
	defer cancel()
	if server != anyServer {
		dir, _ := d.have()
		_, err := dir.w.Renew(ctx, server) // connections that stood may be dead, or all in use by who waits
		return err
	}
	dir, h, err := d.signIn(ctx)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dir, d.home = dir, h
	return nil
}
