package apply

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/plan"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Errors about management accounts that callers may test for.
var (
	// ErrInUse: somebody else uses the management account just now; try again later.
	ErrInUse = errors.New("the management account is in use")
	// ErrLeftEnabled: the management account could not be disabled again. Reclaim must
	// be called until it says otherwise.
	ErrLeftEnabled = errors.New("the management account may still be enabled")
)

// A UseStep is a step in the use of a management account.
type UseStep string

// Steps in the order in which they are taken (guide, app. I). Before UseEnable and after
// UseDisable the account is disabled; from UseReset on nobody but this process knows its
// password, and that only in memory.
const (
	UseRead     UseStep = "read"     // its state is read
	UseReset    UseStep = "reset"    // its password is set to a random one
	UseEnable   UseStep = "enable"   // it is enabled
	UseSignIn   UseStep = "sign-in"  // it signs in
	UseWork     UseStep = "work"     // what it is there for is done
	UseDisable  UseStep = "disable"  // it is disabled
	UseScramble UseStep = "scramble" // its password is set to one that nobody knows
	UseEnd      UseStep = "end"      // that was all
)

// A Use is one use of a management account.
type Use struct {
	Account plan.Target
	// Object is what is to be written: the account is enabled on the domain controller
	// through which that is written, and signs in there, because a new password has
	// not reached the others yet.
	Object secdesc.GUID
	// Do works with a Directory of one domain controller, signed in as the management account.
	// The Directory ends with it.
	Do func(context.Context, *Directory) error
	// Patience is how old, by the directory's clock, the password of an account that is
	// found enabled must be for the account to be taken over from whoever enabled it; 0:
	// older than any use may last.
	Patience time.Duration
	// Step is told of each step before it is taken; nil: nobody listens.
	Step func(UseStep)
}

// longestUse is how long a management account may be enabled for one use. Whoever finds
// it enabled with an older password may disable it.
const longestUse = 3 * time.Minute

// endTime bounds the two writes that end a use.
const endTime = 30 * time.Second

// Through enables a management account for the time of one use, by the rights to reset
// its password and to write its userAccountControl and no others, and disables it
// whatever happens. One use of an account at a time; others wait.
//
// The error is that of preparing or of Do, with [ErrLeftEnabled] if the account could not be
// disabled afterwards; done tells that Do returned without an error. If this process
// dies in between, the account stays disabled, or enabled with a password that nobody
// knows until Reclaim disables it.
func (d *Directory) Through(ctx context.Context, u Use) (done bool, err error) {
	end, err := d.borrow(ctx, u.Account.GUID)
	if err != nil {
		return false, err
	}
	defer end()
	ctx, cancel := context.WithTimeout(ctx, longestUse-2*endTime)
	defer cancel()
	server := d.w.ServerFor(u.Object)
	if err := d.w.Pin(u.Account.GUID, serverName(server)); err != nil {
		return false, err
	}
	u.step(UseRead)
	name, err := d.idle(ctx, u)
	if err != nil {
		return false, fmt.Errorf("using the management account %s: %w", u.Account.Name(), err)
	}
	password := randomPassword()
	u.step(UseReset)
	if err := wrote(d.w.ResetPassword(ctx, u.Account.GUID, []byte(password))); err != nil {
		return false, fmt.Errorf("resetting the password of the management account %s: %w", u.Account.Name(), err)
	}
	defer func() { err = errors.Join(err, d.giveBack(ctx, u)) }()
	u.step(UseEnable)
	if err := d.setEnabled(ctx, u.Account, true); err != nil {
		return false, fmt.Errorf("enabling the management account %s: %w", u.Account.Name(), err)
	}
	u.step(UseSignIn)
	cfg := d.cfg
	cfg.Domain, cfg.Server, cfg.NoFailover = d.Domain(), serverName(server), true
	cfg.Credentials = dc.Password(name+"@"+d.Domain(), password)
	lent, err := Open(ctx, cfg)
	if err != nil {
		return false, fmt.Errorf("signing in as the management account %s: %w", u.Account.Name(), err)
	}
	defer func() { _ = lent.Close() }()
	u.step(UseWork)
	if err := u.Do(ctx, lent); err != nil {
		return false, err
	}
	return true, nil
}

func (u Use) step(s UseStep) {
	if u.Step != nil {
		u.Step(s)
	}
}

func serverName(s dc.Server) string {
	if s.Name != "" {
		return s.Name
	}
	return s.Addr.String()
}

// randomPassword has 256 random bits, and the kinds of characters that policies ask for.
func randomPassword() string { return "lw-1" + rand.Text() + rand.Text() }

// borrow waits until nobody else in this process uses an account.
func (d *Directory) borrow(ctx context.Context, account secdesc.GUID) (end func(), err error) {
	for {
		d.mu.Lock()
		other, busy := d.lent[account]
		if !busy {
			mine := make(chan struct{})
			if d.lent == nil {
				d.lent = map[secdesc.GUID]chan struct{}{}
			}
			d.lent[account] = mine
			d.mu.Unlock()
			return func() {
				d.mu.Lock()
				delete(d.lent, account)
				d.mu.Unlock()
				close(mine)
			}, nil
		}
		d.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrInUse, context.Cause(ctx))
		}
	}
}

// state reads an account; the object must be the one that was shown.
func (d *Directory) state(ctx context.Context, account plan.Target) (name string, f plan.Facts, err error) {
	f, err = d.facts(ctx, plan.Change{Kind: plan.DisableAccount, Object: account})
	if err != nil {
		return "", f, err
	}
	c := plan.Change{Kind: plan.ResetPassword, Object: account}
	if verdict, why := c.Judge(f); verdict == plan.Refused {
		return "", f, errors.New(why)
	}
	if f.Flags == nil {
		return "", f, errors.New("its userAccountControl may not be read")
	}
	e, _, err := d.w.Read(ctx, account.GUID, dc.Request{Attributes: []string{"sAMAccountName"}})
	return e.Value("sAMAccountName"), f, err
}

// idle reads the name of an account that nobody uses. One that was left enabled by a use
// that did not end is taken over.
func (d *Directory) idle(ctx context.Context, u Use) (string, error) {
	name, f, err := d.state(ctx, u.Account)
	switch {
	case err != nil:
		return "", err
	case name == "":
		return "", errors.New("its sAMAccountName may not be read")
	case !enabled(f):
		return name, nil
	}
	over, err := d.abandoned(ctx, u.Account, f, cmp.Or(u.Patience, d.longest))
	switch {
	case err != nil:
		return "", err
	case !over:
		return "", ErrInUse
	}
	return name, d.setEnabled(ctx, u.Account, false) // it must not be open with an old password
}

func enabled(f plan.Facts) bool { return *f.Flags&plan.AccountDisabled == 0 }

// abandoned reports whether an enabled account's password is older than a use may last. The
// domain controller that tells when it was set tells what time it is: this machine's clock
// may be another.
func (d *Directory) abandoned(ctx context.Context, account plan.Target, f plan.Facts, longest time.Duration) (bool, error) {
	if f.PasswordSet == nil || *f.PasswordSet <= 0 {
		return true, nil
	}
	now, _, err := d.w.Time(ctx, dc.Via{Object: account.GUID})
	if err != nil {
		return false, err
	}
	return plan.At(now).FileTime()-*f.PasswordSet > int64(cmp.Or(longest, longestUse)/100), nil // in units of 100 ns
}

// setEnabled enables or disables an account, as it is flagged now.
func (d *Directory) setEnabled(ctx context.Context, account plan.Target, on bool) error {
	_, f, err := d.state(ctx, account)
	if err != nil {
		return err
	}
	if enabled(f) == on {
		return nil
	}
	flags := int64(*f.Flags)
	return wrote(d.w.ReplaceInt(ctx, account.GUID, "userAccountControl", flags, flags^int64(plan.AccountDisabled)))
}

// wrote is the error of a write that was not done, or perhaps not.
func wrote(w dc.Write) error {
	if w.Outcome == dc.Done || w.Outcome == dc.Already {
		return nil
	}
	return w.Err
}

// giveBack ends a use: the account is disabled, and then nobody knows its password.
// Neither waits for the caller. A write whose answer was lost is made again.
func (d *Directory) giveBack(ctx context.Context, u Use) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancel()
	u.step(UseDisable)
	err := d.insist(ctx, func() error { return d.setEnabled(ctx, u.Account, false) })
	if err != nil {
		err = fmt.Errorf("%w: %s: %w", ErrLeftEnabled, u.Account.Name(), err)
	}
	u.step(UseScramble)
	if serr := d.scramble(ctx, u.Account); serr != nil {
		// The password in force is random and was never stored: it dies with this process.
		err = errors.Join(err, fmt.Errorf("resetting the password of the management account %s after its use: %w", u.Account.Name(), serr))
	}
	u.step(UseEnd)
	return err
}

// insist tries three times.
func (d *Directory) insist(ctx context.Context, do func() error) (err error) {
	for range attempts {
		if err = do(); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// scramble sets a password that nobody knows.
func (d *Directory) scramble(ctx context.Context, account plan.Target) error {
	return d.insist(ctx, func() error {
		return wrote(d.w.ResetPassword(ctx, account.GUID, []byte(randomPassword())))
	})
}

// A Reclaimed says what Reclaim found.
type Reclaimed uint8

// What Reclaim finds.
const (
	FoundIdle      Reclaimed = iota // disabled, as it should be
	FoundInUse                      // enabled, and in use just now
	FoundAbandoned                  // enabled with nobody using it; it is disabled now
)

// Reclaim disables a management account that a use left enabled, and sets a password
// that nobody knows. It is for the start of a server, and for its sweep: whoever uses
// management accounts calls it for each of them. An account that is in use, by this
// process or, as its password tells, by another, is left alone.
func (d *Directory) Reclaim(ctx context.Context, account plan.Target) (Reclaimed, error) {
	d.mu.Lock()
	_, busy := d.lent[account.GUID]
	d.mu.Unlock()
	if busy {
		return FoundInUse, nil
	}
	end, err := d.borrow(ctx, account.GUID)
	if err != nil {
		return FoundInUse, err
	}
	defer end()
	_, f, err := d.state(ctx, account)
	over := false
	if err == nil && enabled(f) {
		over, err = d.abandoned(ctx, account, f, d.longest)
	}
	switch {
	case err != nil:
		return FoundIdle, fmt.Errorf("looking at the management account %s: %w", account.Name(), err)
	case !enabled(f):
		return FoundIdle, nil
	case !over:
		return FoundInUse, nil
	}
	if err := d.giveBack(ctx, Use{Account: account}); err != nil {
		return FoundAbandoned, err
	}
	return FoundAbandoned, nil
}
