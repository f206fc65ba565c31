package operator

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"

	"github.com/leastwise/leastwise/internal/audit"
)

// TOTP as all authenticator apps know it (RFC 6238): SHA-1, six digits, thirty seconds.
const (
	totpPeriod = 30
	totpDigits = otp.DigitsSix
	totpWindow = 1 // time steps before and after the present one
	totpSecret = 20
)

// An Enrolment of TOTP is shown once.
type Enrolment struct {
	Factor Factor
	Secret Secret // base32, to be typed
	URL    Secret // otpauth://…, to be shown as a QR code
}

// BeginTOTP enrols an authenticator app, which counts once [Service.ConfirmTOTP] has seen
// a code of it. It needs a fresh first factor, the present second factor if there is one,
// and an enrolment code where that is demanded.
func (s *Service) BeginTOTP(ctx context.Context, c Caller, label string, code Secret) (Enrolment, error) {
	if err := c.check(); err != nil {
		return Enrolment{}, err
	}
	id, err := newID(s.random)
	if err != nil {
		return Enrolment{}, err
	}
	key, err := totp.Generate(totp.GenerateOpts{
		Issuer: s.issuer, AccountName: c.Name, Period: totpPeriod, SecretSize: totpSecret, Digits: totpDigits, Algorithm: otp.AlgorithmSHA1, Rand: s.random,
	})
	if err != nil {
		return Enrolment{}, fmt.Errorf("making a secret of TOTP: %w", err)
	}
	f := storedFactor{Factor: Factor{ID: id, Account: c.Account, Kind: audit.TOTP, Label: label, Made: c.Now}}
	if f.Sealed, err = s.keys.seal([]byte(key.Secret()), f.place()); err != nil {
		return Enrolment{}, err
	}
	if err := s.enrol(ctx, &c, code, f); err != nil {
		return Enrolment{}, err
	}
	return Enrolment{f.Factor, Secret{key.Secret()}, Secret{key.URL()}}, nil
}

// ConfirmTOTP makes an enrolled app count, by a code of it. Wrong codes are limited like
// those of a step-up.
func (s *Service) ConfirmTOTP(ctx context.Context, c Caller, id, code string) (Factor, error) {
	var out Factor
	if err := c.check(); err != nil {
		return out, err
	}
	if _, err := s.usable(ctx, c.Account); err != nil {
		return out, s.refused(ctx, &c, "factor.confirm", err)
	}
	err := s.tryCode(ctx, &c, false, func(ctx context.Context, tx Tx) error {
		f, r, err := load[storedFactor](ctx, tx, factors, id)
		if err == nil && (f.Account != c.Account || f.Kind != audit.TOTP || f.Confirmed || !c.Now.Before(r.Until)) {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
		if err := s.checkTOTP(&f, code, c.Now); err != nil {
			return err
		}
		out = f.Factor
		out.Confirmed, out.Used = true, c.Now
		return s.confirm(ctx, tx, &c, f, r)
	})
	return out, s.refused(ctx, &c, "factor.confirm", err)
}

// StepUpTOTP makes the caller's second factor fresh by a code of one of his apps. The
// session goes on under a new secret; the old one is dead.
func (s *Service) StepUpTOTP(ctx context.Context, c Caller, code string) (SignIn, error) {
	if err := s.mayStepUp(ctx, &c); err != nil {
		return SignIn{}, s.refused(ctx, &c, "factor.accept", err)
	}
	var in SignIn
	err := s.tryCode(ctx, &c, true, func(ctx context.Context, tx Tx) error {
		list, records, err := factorsOf(ctx, tx, c.Account, audit.TOTP)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return ErrNoFactor
		}
		for i, f := range list {
			err := s.checkTOTP(&f, code, c.Now)
			if errors.Is(err, ErrFactor) {
				continue
			}
			if err != nil {
				return err
			}
			f.Used = c.Now
			if err := put(ctx, tx, records[i], f); err != nil {
				return err
			}
			in, err = s.stepUp(ctx, tx, &c, &f.Factor)
			return err
		}
		return ErrFactor
	})
	return in, s.refused(ctx, &c, "factor.accept", err)
}

// checkTOTP compares a code in constant time with those of the time steps around now, and
// takes the step: that one and those before it are used up.
func (s *Service) checkTOTP(f *storedFactor, code string, now time.Time) error {
	secret, err := s.keys.open(f.Sealed, f.place())
	if err != nil {
		return err
	}
	present := now.Unix() / totpPeriod
	found := int64(0)
	for step := present - totpWindow; step <= present+totpWindow; step++ {
		want, err := hotp.GenerateCodeCustom(string(secret), uint64(step), hotp.ValidateOpts{Digits: totpDigits, Algorithm: otp.AlgorithmSHA1})
		if err != nil {
			return fmt.Errorf("%w: the secret of a second factor is damaged", ErrKeys)
		}
		if subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 && step > f.Step {
			found = step
		}
	}
	if found == 0 {
		return ErrFactor
	}
	f.Step = found
	return nil
}

// A payment is what a try of a code was charged to.
type payment struct {
	here  []meter // the session, and the account from this network
	whole []meter // the account from all networks that it is not known from; none from another
}

// pay charges a try before it is made. A step-up is charged to the account, too, unless
// it comes from a network that the account is known from.
func (s *Service) pay(ctx context.Context, c *Caller, stepUp bool) (p payment, err error) {
	p.here = []meter{factorLimit().of(c.Account.String(), c.Session), factorFromLimit().of(c.Account.String(), network(c.From))}
	err = s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		p.whole = nil
		if stepUp {
			known, err := familiar(ctx, tx, c)
			if err != nil {
				return err
			}
			if !known {
				p.whole = []meter{factorOfLimit().of(c.Account.String())}
			}
		}
		return charge(ctx, tx, c.Now, slices.Concat(p.here, p.whole)...)
	})
	return p, err
}

// tryCode runs f, which returns ErrFactor for a wrong code, in a transaction that pays for
// the try first and forgets it if the code was right.
func (s *Service) tryCode(ctx context.Context, c *Caller, stepUp bool, f func(context.Context, Tx) error) error {
	if err := c.check(); err != nil {
		return err
	}
	paid, err := s.pay(ctx, c, stepUp)
	if err != nil {
		return err
	}
	err = s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		if err := f(ctx, tx); err != nil {
			return err
		}
		if err := refund(ctx, tx, c.Now, paid.whole...); err != nil { // what was tried elsewhere stays counted
			return err
		}
		return settle(ctx, tx, paid.here...)
	})
	if err != nil && !errors.Is(err, ErrFactor) {
		err2 := s.store.Update(context.WithoutCancel(ctx), func(ctx context.Context, tx Tx) error {
			return refund(ctx, tx, c.Now, slices.Concat(paid.here, paid.whole)...)
		})
		return errors.Join(err, err2)
	}
	return err
}

// mayStepUp checks that the caller is there in person and his account may be used.
func (s *Service) mayStepUp(ctx context.Context, c *Caller) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.Token {
		return fmt.Errorf("%w: an API token has no second factor", ErrForbidden)
	}
	_, err := s.usable(ctx, c.Account)
	return err
}

// stepUp gives a session a fresh second factor and a new secret.
func (s *Service) stepUp(ctx context.Context, tx Tx, c *Caller, f *Factor) (SignIn, error) {
	old, _, err := load[storedSession](ctx, tx, sessions, c.Session)
	if errors.Is(err, ErrNotFound) || err == nil && (old.Account != c.Account || s.over(&old, c.Now)) {
		return SignIn{}, ErrSignedOut
	}
	if err != nil {
		return SignIn{}, err
	}
	if err := tx.Drop(ctx, sessions, c.Session); err != nil {
		return SignIn{}, err
	}
	if err := tx.Drop(ctx, ceremonies, c.Session); err != nil {
		return SignIn{}, err
	}
	v := old.Session
	v.Factor, v.FactorID, v.FactorAt, v.StepUp, v.Used = f.Kind, f.ID, c.Now, c.Now.Add(s.times.StepUp), c.Now
	if v.StepUp.After(v.Ends) {
		v.StepUp = v.Ends
	}
	var in SignIn
	if in.Secret, in.Session, err = s.begin(ctx, tx, v); err != nil {
		return SignIn{}, err
	}
	if in.Factors, err = factorKinds(ctx, tx, c.Account); err != nil {
		return SignIn{}, err
	}
	if err := remember(ctx, tx, c); err != nil {
		return SignIn{}, err
	}
	after := in.Session.caller(c.Visit)
	e := after.entry(audit.Fact, "factor.accept", fmt.Sprintf("%s %q; session %s goes on as %s", f.Kind, f.Label, c.Session, in.Session.ID))
	e.Record, e.Until = recordName("session", in.Session.ID), v.StepUp
	_, err = audit.Append(ctx, tx, e)
	return in, err
}
