package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A Session is a person signed in.
type Session struct {
	ID      string       `json:"id"`
	Account secdesc.GUID `json:"account"`
	SID     secdesc.SID  `json:"sid"`
	Name    string       `json:"name"`

	Method   audit.Method `json:"method"`
	Since    time.Time    `json:"since"`
	Factor   audit.Method `json:"factor,omitempty"`
	FactorAt time.Time    `json:"factor_at,omitzero"`
	StepUp   time.Time    `json:"step_up,omitzero"`    // until when the factor counts as fresh
	FactorID string       `json:"factor_id,omitempty"` // which factor it was

	// Root is the identifier that the session had when it began: each step-up gives it
	// another. What comes out of a session is known by it.
	Root string    `json:"root"`
	Used time.Time `json:"used"` // last request, to the minute
	Ends time.Time `json:"ends"` // whatever is done
	From string    `json:"from"` // where it was begun
}

// storedSession is a session as it is kept.
type storedSession struct {
	Session
	Hash []byte `json:"hash"` // SHA-256 of the secret
}

// A SignIn is a session with its secret, which is shown this once.
type SignIn struct {
	Session Session
	Secret  Secret
	Reply   []byte // Kerberos: token for the client; may be empty
	// Factors are the kinds of second factors that the account has: [audit.TOTP],
	// [audit.WebAuthn].
	Factors []audit.Method
}

// touchEvery is how exactly the last use of a session is kept.
const touchEvery = time.Minute

func (s *Service) expiry(v *storedSession) time.Time {
	if idle := v.Used.Add(s.times.Idle + touchEvery); idle.Before(v.Ends) {
		return idle
	}
	return v.Ends
}

// over reports whether a session has ended by itself. One that was begun or used in the
// future has: the clock was set back, and would prolong it.
func (s *Service) over(v *storedSession, now time.Time) bool {
	return !now.Before(v.Ends) || !now.Before(v.Used.Add(s.times.Idle)) || v.Since.After(now.Add(maxSkew)) || v.Used.After(now.Add(maxSkew))
}

// How much the clocks of nodes may differ.
const (
	maxSkew  = 5 * time.Minute // for sessions and tokens; what Kerberos bears
	stepSkew = time.Minute     // for a fresh second factor
)

// Identify returns who makes a request with the secret of a session or of an API token.
// [ErrSignedOut] if it is of neither, or no longer.
func (s *Service) Identify(ctx context.Context, v Visit, secret Secret) (Caller, error) {
	if err := v.check(); err != nil {
		return Caller{}, err
	}
	if id, ok := splitSecret(secret, tokenPrefix); ok {
		return s.identifyToken(ctx, v, id, secret)
	}
	id, ok := splitSecret(secret, sessionPrefix)
	if !ok {
		return Caller{}, ErrSignedOut
	}
	var st storedSession
	err := s.store.View(ctx, func(ctx context.Context, tx Tx) (err error) {
		st, _, err = load[storedSession](ctx, tx, sessions, id)
		return err
	})
	switch {
	case errors.Is(err, ErrNotFound):
		return Caller{}, ErrSignedOut
	case err != nil:
		return Caller{}, fmt.Errorf("reading a session: %w", err)
	case !secret.matches(st.Hash) || s.over(&st, v.Now):
		return Caller{}, ErrSignedOut
	}
	if st.ahead(v.Now) {
		if err := s.turnBack(ctx, v.Now); err != nil {
			return Caller{}, err
		}
	}
	if v.Now.Sub(st.Used) >= touchEvery {
		if err := s.touch(ctx, v, secret, id); err != nil {
			return Caller{}, err
		}
	}
	return st.caller(v), nil
}

func (v *Session) caller(visit Visit) Caller {
	return Caller{
		Account: v.Account, SID: v.SID, Name: v.Name, Method: v.Method, Since: v.Since, Factor: v.Factor, FactorAt: v.FactorAt,
		StepUp: v.StepUp, Session: v.ID, Visit: visit,
	}
}

// alive reports ErrSignedOut if the caller's session or token has ended since he was
// identified. What else the session says may have changed as well, and time has passed:
// the caller is what it says now.
func (s *Service) alive(ctx context.Context, c *Caller) error {
	if c.Clock != nil {
		if now := c.Clock(); now.After(c.Now) {
			c.Now = now
		}
	}
	var own Session
	err := s.store.View(ctx, func(ctx context.Context, tx Tx) (err error) {
		if c.Token {
			st, _, err := load[storedToken](ctx, tx, tokens, c.Session)
			if err == nil && (st.Account != c.Account || !c.Now.Before(st.Ends)) {
				err = ErrSignedOut
			}
			return err
		}
		if own, err = ownSession(ctx, tx, c); err == nil && s.over(&storedSession{Session: own}, c.Now) {
			err = ErrSignedOut
		}
		return err
	})
	switch {
	case errors.Is(err, ErrNotFound):
		return ErrSignedOut
	case err != nil:
		return err
	case !c.Token:
		c.Factor, c.FactorAt, c.StepUp = own.Factor, own.FactorAt, own.StepUp
	}
	return nil
}

// touch notes that a session is used. It never brings back one that has ended.
func (s *Service) touch(ctx context.Context, v Visit, secret Secret, id string) error {
	err := s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		st, r, err := load[storedSession](ctx, tx, sessions, id)
		switch {
		case errors.Is(err, ErrNotFound):
			return ErrSignedOut
		case err != nil:
			return err
		case !secret.matches(st.Hash) || s.over(&st, v.Now):
			return ErrSignedOut
		case !v.Now.After(st.Used):
			return nil // somebody else did
		}
		st.Used = v.Now
		r.Until = s.expiry(&st)
		return put(ctx, tx, r, st)
	})
	if err != nil && !errors.Is(err, ErrSignedOut) {
		err = fmt.Errorf("noting the use of a session: %w", err)
	}
	return err
}

// begin stores a new session and returns it with its secret. Without a Root it is the first
// of its kind.
func (s *Service) begin(ctx context.Context, tx Tx, v Session) (Secret, Session, error) {
	id, err := newID(s.random)
	if err != nil {
		return Secret{}, v, err
	}
	secret, hash, err := newSecret(s.random, sessionPrefix, id)
	if err != nil {
		return Secret{}, v, err
	}
	v.ID = id
	if v.Root == "" {
		v.Root = id
	}
	st := storedSession{Session: v, Hash: hash}
	return secret, v, put(ctx, tx, Record{Kind: sessions, ID: id, Account: v.Account, Until: s.expiry(&st)}, st)
}

// SignOut ends the caller's own session and what came out of it: a fresh second factor,
// challenges, enrolments that wait for their confirmation, and API tokens for his own
// account. Whoever stole the session's secret keeps nothing. Tokens that he issued to
// other accounts go on.
func (s *Service) SignOut(ctx context.Context, c Caller) error {
	if c.Token || c.Session == "" {
		return invalid("only a session is signed out; revoke a token instead")
	}
	return s.update(ctx, "signing out", func(ctx context.Context, tx Tx) error {
		st, _, err := load[storedSession](ctx, tx, sessions, c.Session)
		if errors.Is(err, ErrNotFound) || err == nil && st.Account != c.Account {
			return ErrSignedOut
		}
		if err != nil {
			return err
		}
		if err := s.endDerived(ctx, tx, &c, &st.Session, c.Account); err != nil {
			return err
		}
		return s.end(ctx, tx, &c, st.Account, c.Session, "signed out")
	})
}

// end removes one session with its challenge and its entry.
func (s *Service) end(ctx context.Context, tx Tx, c *Caller, account secdesc.GUID, id, reason string) error {
	if err := tx.Drop(ctx, sessions, id); err != nil {
		return err
	}
	if err := tx.Drop(ctx, ceremonies, id); err != nil {
		return err
	}
	e := c.entry(audit.Fact, "session.end", reason)
	e.Target, e.Record = account, recordName("session", id)
	_, err := audit.Append(ctx, tx, e)
	return err
}

// endDerived ends what came out of a session: enrolments that wait, and the API tokens
// that were issued in it to an account, to all accounts if it is zero.
func (s *Service) endDerived(ctx context.Context, tx Tx, c *Caller, v *Session, account secdesc.GUID) error {
	const reason = "the session that it came from was ended"
	err := s.abandon(ctx, tx, c, v.Account, reason, func(b *basis) bool { return b.Session == v.Root })
	if err != nil {
		return err
	}
	list, records, err := all[storedToken](ctx, tx, tokens, account)
	if err != nil {
		return err
	}
	for i, t := range list {
		if t.Session == "" || t.Session != v.Root {
			continue
		}
		if err := s.dropToken(ctx, tx, c, records[i], reason); err != nil {
			return err
		}
	}
	return nil
}

// ahead reports whether a time of the session lies in the future: the clock was set back.
func (v *Session) ahead(now time.Time) bool {
	return v.Used.After(now.Add(maxSkew)) || !v.StepUp.IsZero() && v.FactorAt.After(now.Add(stepSkew))
}

// turnBack ends what a clock that was set back would prolong, for good: it may have gone
// on when the secret is seen again. A session that was used in the future ends; a second
// factor that was shown in the future is no longer fresh.
func (s *Service) turnBack(ctx context.Context, now time.Time) error {
	found := false
	err := s.store.View(ctx, func(ctx context.Context, tx Tx) error {
		list, _, err := all[storedSession](ctx, tx, sessions, secdesc.GUID{})
		found = slices.ContainsFunc(list, func(v storedSession) bool { return v.ahead(now) })
		return err
	})
	if err == nil && found {
		err = s.store.Update(ctx, func(ctx context.Context, tx Tx) error { return s.turnBackAll(ctx, tx, now) })
	}
	if err != nil {
		return fmt.Errorf("looking for sessions of the future: %w", err)
	}
	return nil
}

func (s *Service) turnBackAll(ctx context.Context, tx Tx, now time.Time) error {
	list, records, err := all[storedSession](ctx, tx, sessions, secdesc.GUID{})
	if err != nil {
		return err
	}
	for i, v := range list {
		if !v.ahead(now) {
			continue
		}
		e := audit.Entry{Time: now, Phase: audit.Fact, Action: "factor.expire", Actor: systemActor(), Target: v.Account, TargetName: v.Name, Record: recordName("session", v.ID)}
		e.Reason = fmt.Sprintf("the clock went back: the second factor was shown at %s", v.FactorAt.UTC().Format(time.RFC3339))
		if v.Used.After(now.Add(maxSkew)) {
			e.Action, e.Reason = "session.end", fmt.Sprintf("the clock went back: it was used at %s", v.Used.UTC().Format(time.RFC3339))
			err = tx.Drop(ctx, sessions, v.ID)
		} else {
			v.StepUp = time.Time{}
			err = put(ctx, tx, records[i], v)
		}
		if err != nil {
			return err
		}
		if _, err := audit.Append(ctx, tx, e); err != nil {
			return err
		}
	}
	return nil
}

// update runs f in a transaction and names it in errors that come from outside.
func (s *Service) update(ctx context.Context, what string, f func(context.Context, Tx) error) error {
	if err := s.store.Update(ctx, f); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// Sessions returns the sessions of an account that have not ended: the caller's own, or
// another's if he may see them.
func (s *Service) Sessions(ctx context.Context, c Caller, account secdesc.GUID) ([]Session, error) {
	if err := s.mayRead(ctx, c, account); err != nil {
		return nil, err
	}
	var out []Session
	err := s.store.View(ctx, func(ctx context.Context, tx Tx) error {
		list, _, err := all[storedSession](ctx, tx, sessions, account)
		out = nil
		for _, v := range list {
			if !s.over(&v, c.Now) {
				out = append(out, v.Session)
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing sessions: %w", err)
	}
	return out, nil
}

// mayRead lets a caller see what belongs to an account.
func (s *Service) mayRead(ctx context.Context, c Caller, account secdesc.GUID) error {
	if account == c.Account && !c.Token && !account.IsZero() {
		return nil
	}
	_, err := s.Authorize(ctx, c, OperatorRead, OfAccount(account))
	return err
}

// mayEnd lets a caller end what belongs to an account.
func (s *Service) mayEnd(ctx context.Context, c Caller, account secdesc.GUID) error {
	if account == c.Account && !c.Token && !account.IsZero() {
		return nil
	}
	_, err := s.Authorize(ctx, c, Administer, OfAccount(account))
	return err
}

// EndSession ends one session and what came out of it, with all API tokens that were
// issued in it: the caller's own, or another's if he may administer.
func (s *Service) EndSession(ctx context.Context, c Caller, id, reason string) error {
	var st storedSession
	err := s.store.View(ctx, func(ctx context.Context, tx Tx) (err error) {
		st, _, err = load[storedSession](ctx, tx, sessions, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("ending session: %w", err)
	}
	if err := s.mayEnd(ctx, c, st.Account); err != nil {
		return err
	}
	return s.update(ctx, "ending session", func(ctx context.Context, tx Tx) error {
		if _, err := tx.Record(ctx, sessions, id); err != nil {
			return err
		}
		if err := s.endDerived(ctx, tx, &c, &st.Session, secdesc.GUID{}); err != nil {
			return err
		}
		return s.end(ctx, tx, &c, st.Account, id, reason)
	})
}

// EndAll ends all sessions and tokens of an account, the tokens that it issued to others,
// and its enrolments that wait for their confirmation: the caller's own, or another's if he may administer. It returns
// how many sessions and tokens there were.
func (s *Service) EndAll(ctx context.Context, c Caller, account secdesc.GUID, reason string) (n int, err error) {
	if err := s.mayEnd(ctx, c, account); err != nil {
		return 0, err
	}
	err = s.update(ctx, "ending sessions and tokens", func(ctx context.Context, tx Tx) error {
		like := c.entry(audit.Fact, "session.end", reason)
		entries, err := s.endAll(ctx, tx, account, like)
		if err != nil {
			return err
		}
		if n = len(entries); n == 0 { // that somebody wanted it is worth an entry
			like.Target, like.Reason = account, strings.TrimPrefix(reason+"; there were none", "; ")
			entries = append(entries, like)
		}
		if _, err = audit.Append(ctx, tx, entries...); err != nil {
			return err
		}
		return s.abandon(ctx, tx, &c, account, reason, func(*basis) bool { return true })
	})
	s.forget(account)
	return n, err
}

// endAll removes the sessions and tokens of an account, and the tokens that it issued to
// others, and returns an entry for each, made after like.
func (s *Service) endAll(ctx context.Context, tx Tx, account secdesc.GUID, like audit.Entry) (entries []audit.Entry, err error) {
	drop := func(action string, r Record) error {
		e := like
		e.Action, e.Target, e.Record = action, r.Account, recordName(string(r.Kind), r.ID)
		entries = append(entries, e)
		return tx.Drop(ctx, r.Kind, r.ID)
	}
	_, own, err := all[struct{}](ctx, tx, sessions, account)
	if err != nil {
		return nil, err
	}
	for _, r := range own {
		if err := drop("session.end", r); err != nil {
			return nil, err
		}
	}
	list, issued, err := all[storedToken](ctx, tx, tokens, secdesc.GUID{})
	if err != nil {
		return nil, err
	}
	for i, r := range issued {
		if r.Account != account && list[i].Issuer != account {
			continue
		}
		if err := drop("token.revoke", r); err != nil {
			return nil, err
		}
	}
	return entries, nil
}
