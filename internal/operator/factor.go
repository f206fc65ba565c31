package operator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A Factor is a second factor of an account.
type Factor struct {
	ID      string       `json:"id"`
	Account secdesc.GUID `json:"account"`
	Kind    audit.Method `json:"kind"` // [audit.TOTP] or [audit.WebAuthn]
	Label   string       `json:"label"`
	Made    time.Time    `json:"made"`
	Used    time.Time    `json:"used,omitzero"`
	// Confirmed: a code or an assertion has proved that its owner has it. Until then it
	// counts for nothing.
	Confirmed bool `json:"confirmed"`
}

// storedFactor is a factor as it is kept.
type storedFactor struct {
	Factor
	Sealed []byte `json:"sealed,omitempty"` // TOTP: the shared secret
	Step   int64  `json:"step,omitempty"`   // TOTP: the newest time step that was used
	// Credential is WebAuthn's: public key, counter, flags.
	Credential *webauthn.Credential `json:"credential,omitempty"`
	Basis      *basis               `json:"basis,omitempty"` // until it is confirmed
}

// A basis is what allowed an enrolment to begin. It is kept with the enrolment and must
// hold when that is confirmed: who only had the first factor, and began before the owner
// had a second one, must not finish after him.
type basis struct {
	Session string `json:"session"`          // Session.Root of the session in which it was begun
	Factor  string `json:"factor,omitempty"` // the second factor that was fresh
	Code    []byte `json:"code,omitempty"`   // the hash of the enrolment code that was needed
}

// maxFactors is how many second factors an account has at most.
const maxFactors = 10

// pending is how long an enrolment may wait for its confirmation.
const pending = 15 * time.Minute

// place names what a factor's secret is sealed for.
func (f *Factor) place() string {
	return fmt.Sprintf("leastwise operator factor %s %s %s", f.Kind, f.Account, f.ID)
}

// factorsOf returns the confirmed factors of an account, of one kind if it is given.
func factorsOf(ctx context.Context, tx Tx, account secdesc.GUID, kind audit.Method) ([]storedFactor, []Record, error) {
	list, records, err := all[storedFactor](ctx, tx, factors, account)
	if err != nil {
		return nil, nil, err
	}
	var out []storedFactor
	var rows []Record
	for i, f := range list {
		if f.Confirmed && (kind == "" || f.Kind == kind) {
			out, rows = append(out, f), append(rows, records[i])
		}
	}
	return out, rows, nil
}

// factorKinds returns the kinds of factors that an account has.
func factorKinds(ctx context.Context, tx Tx, account secdesc.GUID) ([]audit.Method, error) {
	list, _, err := factorsOf(ctx, tx, account, "")
	var kinds []audit.Method
	for _, f := range list {
		kinds = append(kinds, f.Kind)
	}
	slices.Sort(kinds)
	return slices.Compact(kinds), err
}

// Factors returns the second factors of an account: the caller's own, or another's if he
// may see them.
func (s *Service) Factors(ctx context.Context, c Caller, account secdesc.GUID) ([]Factor, error) {
	if err := s.mayRead(ctx, c, account); err != nil {
		return nil, err
	}
	var out []Factor
	err := s.store.View(ctx, func(ctx context.Context, tx Tx) error {
		list, _, err := all[storedFactor](ctx, tx, factors, account)
		out = nil
		for _, f := range list {
			out = append(out, f.Factor)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing second factors: %w", err)
	}
	return out, nil
}

// mayEnrol checks that a caller may add a second factor to his account: in person, with
// a fresh first factor and, if he has a second factor already, with that, fresh too.
// The first one of an account that was recovered, or of every account where that is
// demanded, needs a code.
func (s *Service) mayEnrol(ctx context.Context, tx Tx, c *Caller, code Secret) (*basis, error) {
	b, err := s.ground(ctx, tx, c, "")
	if err == nil && b.Code != nil && !code.matches(b.Code) {
		err = fmt.Errorf("%w: the enrolment code is wrong or missing", ErrForbidden)
	}
	if err == nil {
		err = charge(ctx, tx, c.Now, enrolLimit().of(c.Account.String()))
	}
	return b, err
}

// mayConfirm checks again what mayEnrol has checked, and that nothing has changed since:
// neither the account's second factors nor the code that it needs. id is the
// enrolment's.
func (s *Service) mayConfirm(ctx context.Context, tx Tx, c *Caller, began *basis, id string) error {
	b, err := s.ground(ctx, tx, c, id)
	if err != nil {
		return err
	}
	same := began != nil && bytes.Equal(began.Code, b.Code) && (began.Factor == "") == (b.Factor == "")
	if same && began.Factor != "" && began.Factor != b.Factor { // another of his; the first must still be one
		f, _, err := load[storedFactor](ctx, tx, factors, began.Factor)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		same = err == nil && f.Confirmed && f.Account == c.Account
	}
	if !same {
		return fmt.Errorf("%w: the account's second factors or its enrolment code have changed since this began: begin again", ErrForbidden)
	}
	return nil
}

// ground finds out on what basis a caller may add a second factor now. own is an
// enrolment that does not count as another.
func (s *Service) ground(ctx context.Context, tx Tx, c *Caller, own string) (*basis, error) {
	if c.Token || c.local() {
		return nil, fmt.Errorf("%w: second factors are enrolled in person", ErrForbidden)
	}
	session, err := ownSession(ctx, tx, c)
	if err != nil {
		return nil, err
	}
	list, _, err := all[storedFactor](ctx, tx, factors, c.Account)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(f storedFactor) bool { return f.ID == own })
	if len(list) >= maxFactors {
		return nil, invalid("the account has %d second factors already; remove some", len(list))
	}
	b := &basis{Session: session.Root}
	if slices.ContainsFunc(list, func(f storedFactor) bool { return f.Confirmed }) {
		present := session.caller(c.Visit)
		if !present.SteppedUp() || session.FactorID == "" {
			return nil, ErrStepUp
		}
		b.Factor = session.FactorID
		return b, nil
	}
	if c.Now.Sub(session.Since) > s.times.Fresh {
		return nil, fmt.Errorf("%w: sign in again first; the last time is more than %s ago", ErrForbidden, s.times.Fresh)
	}
	b.Code, err = s.needsCode(ctx, tx, c)
	return b, err
}

// ownSession reads the caller's session, ErrSignedOut if it has ended since he was
// identified.
func ownSession(ctx context.Context, tx Tx, c *Caller) (Session, error) {
	st, _, err := load[storedSession](ctx, tx, sessions, c.Session)
	if errors.Is(err, ErrNotFound) || err == nil && st.Account != c.Account {
		return Session{}, ErrSignedOut
	}
	return st.Session, err
}

// storedCode is an enrolment code.
type storedCode struct {
	Hash []byte    `json:"hash"`
	Ends time.Time `json:"ends"`
}

// needsCode returns the hash of the code that the first second factor of the caller's
// account needs, nil if it needs none. The code stays until an enrolment is confirmed.
func (s *Service) needsCode(ctx context.Context, tx Tx, c *Caller) ([]byte, error) {
	st, _, err := load[storedCode](ctx, tx, codes, c.Account.String())
	switch {
	case errors.Is(err, ErrNotFound) && !s.invite:
		return nil, nil
	case errors.Is(err, ErrNotFound):
		return nil, fmt.Errorf("%w: the first second factor needs an enrolment code from an administrator", ErrForbidden)
	case err != nil:
		return nil, err
	case !c.Now.Before(st.Ends):
		return nil, fmt.Errorf("%w: the enrolment code has ended; ask an administrator for a new one", ErrForbidden)
	}
	return st.Hash, nil
}

// abandon drops the enrolments of an account that wait for their confirmation, if their
// basis is chosen, and among them its challenges.
func (s *Service) abandon(ctx context.Context, tx Tx, c *Caller, account secdesc.GUID, reason string, chosen func(*basis) bool) error {
	list, records, err := all[storedFactor](ctx, tx, factors, account)
	if err != nil {
		return err
	}
	for i, f := range list {
		if f.Confirmed || f.Basis != nil && !chosen(f.Basis) {
			continue
		}
		if err := tx.Drop(ctx, factors, records[i].ID); err != nil {
			return err
		}
		if err := s.note(ctx, tx, c, "factor.remove", &f.Factor, "never confirmed; "+reason); err != nil {
			return err
		}
	}
	open, rows, err := all[storedCeremony](ctx, tx, ceremonies, account)
	if err != nil {
		return err
	}
	for i, v := range open {
		if v.Basis == nil || !chosen(v.Basis) {
			continue
		}
		if err := tx.Drop(ctx, ceremonies, rows[i].ID); err != nil {
			return err
		}
	}
	return nil
}

// enrol stores a new factor that waits for its confirmation.
func (s *Service) enrol(ctx context.Context, c *Caller, code Secret, f storedFactor) error {
	if f.Label == "" || len(f.Label) > maxTyped {
		return invalid("a second factor has a label of 1 to %d bytes", maxTyped)
	}
	if _, err := s.usable(ctx, c.Account); err != nil {
		return s.refused(ctx, c, "factor.enrol", err)
	}
	err := s.store.Update(ctx, func(ctx context.Context, tx Tx) (err error) {
		if f.Basis, err = s.mayEnrol(ctx, tx, c, code); err != nil {
			return err
		}
		r := Record{Kind: factors, ID: f.ID, Account: f.Account, Until: c.Now.Add(pending)}
		if err := put(ctx, tx, r, f); err != nil {
			return err
		}
		return s.note(ctx, tx, c, "factor.enrol", &f.Factor, "waits for its confirmation")
	})
	return s.refused(ctx, c, "factor.enrol", err)
}

// confirm makes a factor count, in a transaction that has proved its possession, if the
// basis on which it was begun still holds.
func (s *Service) confirm(ctx context.Context, tx Tx, c *Caller, f storedFactor, r Record) error {
	if err := s.mayConfirm(ctx, tx, c, f.Basis, f.ID); err != nil {
		return err
	}
	f.Confirmed, f.Used, f.Basis, r.Until = true, c.Now, nil, time.Time{}
	if err := put(ctx, tx, r, f); err != nil {
		return err
	}
	if err := tx.Drop(ctx, codes, c.Account.String()); err != nil {
		return err
	}
	return s.note(ctx, tx, c, "factor.confirm", &f.Factor, "")
}

// note logs something about a factor.
func (s *Service) note(ctx context.Context, tx Tx, c *Caller, action string, f *Factor, reason string) error {
	text := fmt.Sprintf("%s %q", f.Kind, f.Label)
	if reason != "" {
		text += "; " + reason
	}
	e := c.entry(audit.Fact, action, text)
	e.Target, e.Record = f.Account, recordName("factor", f.ID)
	_, err := audit.Append(ctx, tx, e)
	return err
}

// refused logs what a caller was refused, if err is a refusal, and returns err.
func (s *Service) refused(ctx context.Context, c *Caller, action string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s: %w", action, err)
	for _, refusal := range []error{ErrForbidden, ErrStepUp, ErrFactor, ErrNoFactor, ErrRetry} {
		if errors.Is(err, refusal) {
			if err2 := s.refusal(ctx, c, c.entry(audit.Refusal, action, err.Error())); err2 != nil {
				return fmt.Errorf("%w; logging that: %w", err, err2)
			}
			break
		}
	}
	return err
}

// RemoveFactor removes a second factor of the caller, who has stepped up, or anybody's if
// he may administer. Where it was fresh it no longer is, and enrolments that it allowed
// are dropped: it may be removed because it was stolen.
func (s *Service) RemoveFactor(ctx context.Context, c Caller, id, reason string) error {
	var f storedFactor
	err := s.store.View(ctx, func(ctx context.Context, tx Tx) (err error) {
		f, _, err = load[storedFactor](ctx, tx, factors, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("removing a second factor: %w", err)
	}
	if f.Account == c.Account && !c.Token {
		if err := s.alive(ctx, &c); err != nil {
			return err
		}
		if f.Confirmed && !c.SteppedUp() {
			return s.refused(ctx, &c, "factor.remove", ErrStepUp)
		}
	} else if _, err := s.Authorize(ctx, c, Administer, OfAccount(f.Account)); err != nil {
		return err
	}
	return s.update(ctx, "removing a second factor", func(ctx context.Context, tx Tx) error {
		if _, err := tx.Record(ctx, factors, id); err != nil {
			return err
		}
		if err := tx.Drop(ctx, factors, id); err != nil {
			return err
		}
		if err := s.note(ctx, tx, &c, "factor.remove", &f.Factor, reason); err != nil {
			return err
		}
		if err := s.abandon(ctx, tx, &c, f.Account, "the second factor that allowed it was removed", func(b *basis) bool { return b.Factor == id }); err != nil {
			return err
		}
		return stale(ctx, tx, f.Account, id)
	})
}

// stale ends the step-ups that a second factor of an account has made.
func stale(ctx context.Context, tx Tx, account secdesc.GUID, id string) error {
	list, records, err := all[storedSession](ctx, tx, sessions, account)
	if err != nil {
		return err
	}
	for i, v := range list {
		if v.FactorID != id {
			continue
		}
		v.Factor, v.FactorID, v.FactorAt, v.StepUp = "", "", time.Time{}, time.Time{}
		if err := put(ctx, tx, records[i], v); err != nil {
			return err
		}
	}
	return nil
}

// Invite makes an enrolment code for an account that has no second factor, which its
// owner needs to enrol the first one. It replaces an earlier code and drops what waits
// for its confirmation. c may administer, or is [Local].
func (s *Service) Invite(ctx context.Context, c Caller, account secdesc.GUID, reason string) (Secret, error) {
	return s.code(ctx, c, account, "factor.invite", reason, func(ctx context.Context, tx Tx) error {
		list, _, err := factorsOf(ctx, tx, account, "")
		if err == nil && len(list) > 0 {
			err = invalid("the account has a second factor; recover it if that is lost")
		}
		if err != nil {
			return err
		}
		return s.abandon(ctx, tx, &c, account, "the account was invited", func(*basis) bool { return true })
	})
}

// Recover helps an account whose second factors are lost: it removes them, ends the
// account's sessions and tokens, and makes an enrolment code without which no new one is
// enrolled. c may administer and is somebody else, or is [Local].
func (s *Service) Recover(ctx context.Context, c Caller, account secdesc.GUID, reason string) (Secret, error) {
	if account == c.Account && !account.IsZero() {
		return Secret{}, s.refused(ctx, &c, "factor.recover", fmt.Errorf("%w: nobody recovers his own account", ErrForbidden))
	}
	return s.code(ctx, c, account, "factor.recover", reason, func(ctx context.Context, tx Tx) error {
		list, records, err := all[storedFactor](ctx, tx, factors, account)
		if err != nil {
			return err
		}
		for i, r := range records {
			if err := tx.Drop(ctx, factors, r.ID); err != nil {
				return err
			}
			if err := s.note(ctx, tx, &c, "factor.remove", &list[i].Factor, reason); err != nil {
				return err
			}
		}
		return s.endEverything(ctx, tx, &c, account, reason)
	})
}

// endEverything ends what an account has signed in, issued and begun, and forgets where it
// is known from: its second factors are gone.
func (s *Service) endEverything(ctx context.Context, tx Tx, c *Caller, account secdesc.GUID, reason string) error {
	ended, err := s.endAll(ctx, tx, account, c.entry(audit.Fact, "session.end", reason))
	if err == nil && len(ended) > 0 {
		_, err = audit.Append(ctx, tx, ended...)
	}
	if err != nil {
		return err
	}
	if err := s.abandon(ctx, tx, c, account, reason, func(*basis) bool { return true }); err != nil {
		return err
	}
	return strange(ctx, tx, account)
}

// code stores a new enrolment code together with what before does.
func (s *Service) code(ctx context.Context, c Caller, account secdesc.GUID, action, reason string, before func(context.Context, Tx) error) (Secret, error) {
	if reason == "" {
		return Secret{}, invalid("a reason is needed")
	}
	if _, err := s.Authorize(ctx, c, Administer, OfAccount(account)); err != nil {
		return Secret{}, err
	}
	a, err := s.usable(ctx, account)
	if err != nil {
		return Secret{}, s.refused(ctx, &c, action, err)
	}
	id, err := newID(s.random)
	if err != nil {
		return Secret{}, err
	}
	secret, hash, err := newSecret(s.random, codePrefix, id)
	if err != nil {
		return Secret{}, err
	}
	err = s.update(ctx, action, func(ctx context.Context, tx Tx) error {
		if err := before(ctx, tx); err != nil {
			return err
		}
		if err := tx.Drop(ctx, codes, account.String()); err != nil {
			return err
		}
		st := storedCode{hash, c.Now.Add(s.times.Code)}
		// The record has no end: a recovered account stays one until it has a factor.
		if err := put(ctx, tx, Record{Kind: codes, ID: account.String(), Account: account}, st); err != nil {
			return err
		}
		e := c.entry(audit.Fact, action, reason)
		e.Target, e.TargetName, e.Until = a.GUID, a.Name, st.Ends
		_, err := audit.Append(ctx, tx, e)
		return err
	})
	s.forget(account)
	return secret, err
}
