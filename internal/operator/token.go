package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A Token is what a program signs in with: bound to an account of the directory (a
// service's, a computer's), for a few hours, for some actions. It is worth what its
// account may do at that moment, and never what is done in person ([Rule.Tokens]).
type Token struct {
	ID      string       `json:"id"`
	Account secdesc.GUID `json:"account"`
	SID     secdesc.SID  `json:"sid"`
	Name    string       `json:"name"`
	Label   string       `json:"label"` // what it is for, in the words of who issued it
	Scope   []Action     `json:"scope"`
	By      string       `json:"by"`     // who issued it
	Issuer  secdesc.GUID `json:"issuer"` // and his account; see [Caller.Issuer]
	Issued  time.Time    `json:"issued"`
	Ends    time.Time    `json:"ends"`
	Used    time.Time    `json:"used,omitzero"` // last request, to the minute
}

type storedToken struct {
	Token
	Hash    []byte `json:"hash"`
	Session string `json:"session"` // Session.Root of the session in which it was issued
}

// A TokenOrder asks for a token.
type TokenOrder struct {
	Account secdesc.GUID // zero: the caller's own
	Label   string
	Scope   []Action
	For     time.Duration // zero: [Times.Token], which is also the most
}

// maxTokens is how many tokens an account has at most.
const maxTokens = 50

func (o *TokenOrder) check(t Times) error {
	if len(o.Scope) == 0 {
		return invalid("a token is for one action at least")
	}
	for i, a := range o.Scope {
		r, ok := RuleOf(a)
		if !ok || !r.Tokens {
			return invalid("%q is no action for an API token", a)
		}
		if slices.Contains(o.Scope[:i], a) {
			return invalid("%q is named twice", a)
		}
	}
	if o.Label == "" || len(o.Label) > maxTyped {
		return invalid("a token has a label of 1 to %d bytes", maxTyped)
	}
	if o.For == 0 {
		o.For = t.Token
	}
	if o.For < time.Minute || o.For > t.Token {
		return invalid("a token lasts from a minute to %s", t.Token)
	}
	return nil
}

// IssueToken makes a token. A caller needs the permission [TokenIssue] on the account, and
// a fresh second factor: a stolen session alone makes nothing that lives longer than it.
// A token for the caller's own account ends with his session where that is signed out.
func (s *Service) IssueToken(ctx context.Context, c Caller, o TokenOrder) (Token, Secret, error) {
	if o.Account.IsZero() {
		o.Account = c.Account
	}
	if err := o.check(s.times); err != nil {
		return Token{}, Secret{}, err
	}
	if _, err := s.Authorize(ctx, c, TokenIssue, OfAccount(o.Account)); err != nil {
		return Token{}, Secret{}, err
	}
	a, err := s.usable(ctx, o.Account)
	if err != nil {
		return Token{}, Secret{}, s.refused(ctx, &c, string(TokenIssue), err)
	}
	id, err := newID(s.random)
	if err != nil {
		return Token{}, Secret{}, err
	}
	secret, hash, err := newSecret(s.random, tokenPrefix, id)
	if err != nil {
		return Token{}, Secret{}, err
	}
	t := Token{
		ID: id, Account: a.GUID, SID: a.SID, Name: a.Name, Label: o.Label, Scope: slices.Clone(o.Scope), By: c.Name, Issuer: c.Account,
		Issued: c.Now, Ends: c.Now.Add(o.For).Truncate(time.Microsecond),
	}
	err = s.update(ctx, "issuing a token", func(ctx context.Context, tx Tx) error {
		from, err := ownSession(ctx, tx, &c)
		if err != nil {
			return err
		}
		have, _, err := all[storedToken](ctx, tx, tokens, a.GUID)
		if err != nil {
			return err
		}
		have = slices.DeleteFunc(have, func(v storedToken) bool { return !c.Now.Before(v.Ends) })
		if len(have) >= maxTokens {
			return invalid("the account has %d tokens already; revoke some", len(have))
		}
		if err := put(ctx, tx, Record{Kind: tokens, ID: id, Account: a.GUID, Until: t.Ends}, storedToken{t, hash, from.Root}); err != nil {
			return err
		}
		e := c.entry(audit.Fact, "token.issue", fmt.Sprintf("%s; for %q", o.Label, t.Scope))
		e.Target, e.TargetName, e.Record, e.Until = a.GUID, a.Name, recordName("token", id), t.Ends
		_, err = audit.Append(ctx, tx, e)
		return err
	})
	if err != nil {
		return Token{}, Secret{}, err
	}
	return t, secret, nil
}

func (s *Service) identifyToken(ctx context.Context, v Visit, id string, secret Secret) (Caller, error) {
	var st storedToken
	err := s.store.View(ctx, func(ctx context.Context, tx Tx) (err error) {
		st, _, err = load[storedToken](ctx, tx, tokens, id)
		return err
	})
	switch {
	case errors.Is(err, ErrNotFound):
		return Caller{}, ErrSignedOut
	case err != nil:
		return Caller{}, fmt.Errorf("reading a token: %w", err)
	case !secret.matches(st.Hash) || !v.Now.Before(st.Ends) || v.Now.Before(st.Issued.Add(-maxSkew)):
		return Caller{}, ErrSignedOut
	case st.Issuer.IsZero(): // nobody knows for whom it would act
		return Caller{}, ErrSignedOut
	}
	if v.Now.Sub(st.Used) >= touchEvery {
		if err := s.touchToken(ctx, v, id); err != nil {
			return Caller{}, err
		}
	}
	return Caller{
		Account: st.Account, SID: st.SID, Name: st.Name, Method: audit.Token, Since: st.Issued, Session: st.ID, Token: true,
		Scope: st.Scope, Issuer: st.Issuer, Visit: v,
	}, nil
}

func (s *Service) touchToken(ctx context.Context, v Visit, id string) error {
	err := s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		st, r, err := load[storedToken](ctx, tx, tokens, id)
		if errors.Is(err, ErrNotFound) {
			return ErrSignedOut
		}
		if err != nil || !v.Now.After(st.Used) {
			return err
		}
		st.Used = v.Now
		return put(ctx, tx, r, st)
	})
	if err != nil && !errors.Is(err, ErrSignedOut) {
		err = fmt.Errorf("noting the use of a token: %w", err)
	}
	return err
}

// Tokens returns the tokens of an account that have not ended: the caller's own, or
// another's if he may see them.
func (s *Service) Tokens(ctx context.Context, c Caller, account secdesc.GUID) ([]Token, error) {
	if err := s.mayRead(ctx, c, account); err != nil {
		return nil, err
	}
	var out []Token
	err := s.store.View(ctx, func(ctx context.Context, tx Tx) error {
		list, _, err := all[storedToken](ctx, tx, tokens, account)
		out = nil
		for _, v := range list {
			if c.Now.Before(v.Ends) {
				out = append(out, v.Token)
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing tokens: %w", err)
	}
	return out, nil
}

// RevokeToken ends a token: of the caller's own account, or another's if he may
// administer. A token may revoke itself.
func (s *Service) RevokeToken(ctx context.Context, c Caller, id, reason string) error {
	var r Record
	err := s.store.View(ctx, func(ctx context.Context, tx Tx) (err error) {
		r, err = tx.Record(ctx, tokens, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("revoking a token: %w", err)
	}
	if itself := c.Token && c.Session == id; !itself {
		if err := s.mayEnd(ctx, c, r.Account); err != nil {
			return err
		}
	}
	return s.update(ctx, "revoking a token", func(ctx context.Context, tx Tx) error {
		if _, err := tx.Record(ctx, tokens, id); err != nil {
			return err
		}
		return s.dropToken(ctx, tx, &c, r, reason)
	})
}

// dropToken removes a token with its entry.
func (s *Service) dropToken(ctx context.Context, tx Tx, c *Caller, r Record, reason string) error {
	if err := tx.Drop(ctx, tokens, r.ID); err != nil {
		return err
	}
	e := c.entry(audit.Fact, "token.revoke", reason)
	e.Target, e.Record = r.Account, recordName("token", r.ID)
	_, err := audit.Append(ctx, tx, e)
	return err
}
