package operator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// An administrator is an account that [Service.Init] made one.
type administrator struct {
	Name string    `json:"name"`
	SID  string    `json:"sid"`
	Made time.Time `json:"made"`
	By   string    `json:"by"`
}

// Init makes the first administrator: the account that name says. c is [Local]. It works
// once; the attempt to do it again is refused with [ErrInitialized] and logged. Further
// administrators are groups that a policy names.
func (s *Service) Init(ctx context.Context, c Caller, name string) (Account, error) {
	if !c.local() {
		return Account{}, invalid("the first administrator is made on the server's machine")
	}
	a, err := s.members.Account(ctx, AccountRef{Name: name})
	if err != nil {
		return Account{}, unavailable("asking for the account "+name, err)
	}
	if !a.usable() {
		return Account{}, fmt.Errorf("making %s the first administrator: %w: %s", name, ErrNotFound, a.state())
	}
	entry := func(phase audit.Phase, reason string) audit.Entry {
		e := c.entry(phase, "operator.init", reason)
		e.Target, e.TargetName = a.GUID, a.Name
		return e
	}
	err = s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		have, err := tx.Records(ctx, Search{Kind: administrators, Limit: 1})
		if err != nil {
			return err
		}
		if len(have) > 0 {
			return ErrInitialized
		}
		v := administrator{Name: a.Name, SID: a.SID.String(), Made: c.Now, By: c.Name}
		if err := put(ctx, tx, Record{Kind: administrators, ID: a.GUID.String(), Account: a.GUID}, v); err != nil {
			return err
		}
		_, err = audit.Append(ctx, tx, entry(audit.Fact, ""))
		return err
	})
	if errors.Is(err, ErrInitialized) {
		if err := s.append(ctx, entry(audit.Refusal, err.Error())); err != nil {
			return Account{}, fmt.Errorf("%w; logging that: %w", ErrInitialized, err)
		}
	}
	if err != nil {
		return Account{}, fmt.Errorf("making %s the first administrator: %w", a.Name, err)
	}
	return a, nil
}

// Initialized reports whether there was a first administrator.
func (s *Service) Initialized(ctx context.Context) (yes bool, err error) {
	err = s.store.View(ctx, func(ctx context.Context, tx Tx) error {
		have, err := tx.Records(ctx, Search{Kind: administrators, Limit: 1})
		yes = len(have) > 0
		return err
	})
	if err != nil {
		return false, fmt.Errorf("looking for the first administrator: %w", err)
	}
	return yes, nil
}

func (s *Service) isAdministrator(ctx context.Context, account secdesc.GUID) (yes bool, err error) {
	err = s.store.View(ctx, func(ctx context.Context, tx Tx) error {
		_, err := tx.Record(ctx, administrators, account.String())
		yes = err == nil
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		return err
	})
	if err != nil {
		return false, fmt.Errorf("looking for the first administrator: %w", err)
	}
	return yes, nil
}
