package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Password implements [operator.Authenticator]: by a bind inside verified TLS, on the
// domain controller whose count of wrong passwords was read before. Passwords of one
// account are tried one after the other, each after the count was read again: the owner
// keeps his last tries. Other nodes are not waited for; the tries that are spared (see
// [dc.Lockout.Near]) cover two of them.
func (o *Operators) Password(ctx context.Context, a operator.Account, password operator.Secret) error {
	done, err := o.turns.take(ctx, a.GUID)
	if err != nil {
		return fmt.Errorf("waiting for another try of the same account: %w", err)
	}
	defer done()
	near, server, err := o.reader.Lockout(ctx, guidBase(a.GUID), o.now())
	if err != nil {
		return fmt.Errorf("reading how near a lockout is: %w", err)
	}
	if near.Threshold != 0 {
		near = near.Worse(o.primary.lockout(ctx, a.GUID, near))
	}
	if !near.Known() {
		return fmt.Errorf("how near %s is to a lockout cannot be read, so no password is tried: %s; let the server's account read it", a.Name, near.Unread)
	}
	if near.Near() {
		return fmt.Errorf("%w: %w", &operator.RetryError{After: max(near.Window, time.Minute)}, &dc.Error{Kind: dc.ErrLockoutNear, Op: "verifying a password", Server: server.String()})
	}
	err = dc.VerifyPassword(ctx, o.cfg, server, a.DN, password.Reveal())
	if dc.Refused(err) {
		return fmt.Errorf("%w: %w", operator.ErrSignIn, err)
	}
	return err
}

// turns let one at a time do something about an account. The zero value is ready.
type turns struct {
	mu   sync.Mutex
	busy map[secdesc.GUID]*turn
}

// A turn is what one has and others wait for.
type turn struct {
	free  chan struct{} // holds a value while nobody has it
	users int           // who has it, or waits
}

// take waits until nobody else has the account's turn, and takes it until done is called.
func (t *turns) take(ctx context.Context, account secdesc.GUID) (done func(), err error) {
	t.mu.Lock()
	x := t.busy[account]
	if x == nil {
		if t.busy == nil {
			t.busy = map[secdesc.GUID]*turn{}
		}
		x = &turn{free: make(chan struct{}, 1)}
		x.free <- struct{}{}
		t.busy[account] = x
	}
	x.users++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if x.users--; x.users == 0 {
			delete(t.busy, account)
		}
	}
	select {
	case <-x.free:
		return func() { x.free <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}

// How the primary domain controller is asked: what it says is worth a short wait, since
// each domain controller locks by its own count, too.
const (
	primaryWait  = 3 * time.Second
	primaryAgain = time.Minute // after it could not be asked
)

// A primary asks the emulator of the primary domain controller, to which the others report
// each wrong password, how near an account is to a lockout: badPwdCount is not replicated.
type primary struct {
	cfg  dc.Config
	near *dc.Reader // on any domain controller
	now  func() time.Time

	mu     sync.Mutex
	reader *dc.Reader
	of     string // the name that reader is connected to
	failed time.Time
}

// lockout returns what the primary counts; otherwise, where it cannot be asked or is the
// one that answered already.
func (p *primary) lockout(ctx context.Context, account secdesc.GUID, otherwise dc.Lockout) dc.Lockout {
	ctx, cancel := context.WithTimeout(ctx, primaryWait)
	defer cancel()
	r, err := p.get(ctx)
	if r == nil || err != nil {
		return otherwise
	}
	l, _, err := r.Lockout(ctx, guidBase(account), p.now())
	if err == nil {
		return l
	}
	if !errors.Is(err, dc.ErrNoSuchObject) { // an account that was made a moment ago is not yet there
		p.fail()
	}
	return otherwise
}

// get returns the connection to the primary, nil if it is the domain controller in use or
// could not be asked a moment ago.
func (p *primary) get(ctx context.Context) (*dc.Reader, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if age := p.now().Sub(p.failed); age >= 0 && age < primaryAgain {
		return nil, nil
	}
	name, err := p.near.Primary(ctx)
	if err == nil && name != "" && name != p.of {
		cfg := p.cfg
		cfg.Server, cfg.NoFailover = name, true
		var r *dc.Reader
		if r, err = dc.Open(ctx, cfg); err == nil {
			if p.reader != nil {
				_ = p.reader.Close()
			}
			p.reader, p.of = r, name
		}
	}
	if err != nil {
		p.failed = p.now()
		return nil, err
	}
	if name == "" {
		return nil, nil
	}
	return p.reader, nil
}

// fail notes that the primary did not answer.
func (p *primary) fail() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed = p.now()
}

func (p *primary) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reader == nil {
		return nil
	}
	return p.reader.Close()
}
