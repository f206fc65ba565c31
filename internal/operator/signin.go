package operator

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/leastwise/leastwise/internal/audit"
)

// Limits of what is typed, in bytes.
const (
	maxTyped  = 256
	maxSecret = 1024
	maxToken  = 64 << 10
)

// maxSessions is how many sessions an account has at most; one more ends the one that
// was not used for longest.
const maxSessions = 50

// SignInKerberos begins a session with a token of SPNEGO or Kerberos. endpoint is the
// hash of the server's certificate as RFC 5929 4 says; see [Authenticator]. A right
// ticket is taken whatever was tried before from its address.
func (s *Service) SignInKerberos(ctx context.Context, v Visit, token, endpoint []byte) (SignIn, error) {
	if err := v.check(); err != nil {
		return SignIn{}, err
	}
	if s.auth == nil || len(token) == 0 || len(token) > maxToken {
		return SignIn{}, invalid("no sign-in by Kerberos, or a token of the wrong size")
	}
	who := audit.Actor{Method: audit.Kerberos}
	t, err := s.auth.Kerberos(ctx, token, endpoint)
	switch {
	case errors.Is(err, ErrSignIn):
		return SignIn{}, s.refuse(ctx, &v, who, err.Error(), ErrSignIn)
	case err != nil:
		return SignIn{}, unavailable("verifying a Kerberos ticket", err)
	}
	who.Name, who.SID = t.Name, t.SID
	a, err := s.members.Account(ctx, AccountRef{SID: t.SID})
	if err != nil {
		return SignIn{}, unavailable("asking for the account of a ticket", err)
	}
	if !a.usable() {
		return SignIn{}, s.refuse(ctx, &v, who, a.state(), ErrSignIn)
	}
	once := Record{Kind: onces, ID: hex.EncodeToString(t.Once[:]), Until: t.Until}
	in, err := s.signIn(ctx, &v, a, audit.Kerberos, func(ctx context.Context, tx Tx) error {
		if _, err := tx.Record(ctx, onces, once.ID); err == nil {
			return errRepeated
		}
		return put(ctx, tx, once, struct{}{})
	})
	if errors.Is(err, errRepeated) {
		return SignIn{}, s.refuse(ctx, &v, who, "the authenticator was used before", ErrSignIn)
	}
	in.Reply = t.Reply
	return in, err
}

// errRepeated: something that is good once came a second time.
var errRepeated = errors.New("used before")

// SignInPassword begins a session with the directory's password. name is what a person
// types, see [AccountRef]. Tries are limited for each account and address, and for each
// address ([RetryError]); an account that a wrong password could lock out is not tried.
func (s *Service) SignInPassword(ctx context.Context, v Visit, name string, password Secret) (SignIn, error) {
	if err := v.check(); err != nil {
		return SignIn{}, err
	}
	if n := len(password.text); s.auth == nil || name == "" || len(name) > maxTyped || n == 0 || n > maxSecret {
		return SignIn{}, invalid("no sign-in by password, or name or password are empty or too long")
	}
	if !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) { // directories differ in what they make of it
		return SignIn{}, invalid("the name holds what no name holds")
	}
	address := addressLimit().of(network(v.From))
	err := s.store.View(ctx, func(ctx context.Context, tx Tx) error { return check(ctx, tx, v.Now, address) })
	if err != nil {
		return SignIn{}, s.waits(&v, err)
	}
	a, err := s.members.Account(ctx, AccountRef{Name: name})
	if err != nil {
		return SignIn{}, unavailable("asking for an account", err)
	}
	who := audit.Actor{Method: audit.Password} // an unknown name is not logged: people type passwords there
	meters := []meter{address}
	if a.Exists {
		who.Name, who.SID = a.Name, a.SID
		meters = append(meters, passwordLimit().of(a.GUID.String(), network(v.From)))
	}
	err = s.store.Update(ctx, func(ctx context.Context, tx Tx) error { return charge(ctx, tx, v.Now, meters...) })
	if err != nil {
		return SignIn{}, s.waits(&v, err)
	}
	if !a.usable() {
		return SignIn{}, s.refuse(ctx, &v, who, a.state(), ErrSignIn)
	}
	err = s.auth.Password(ctx, a, password)
	if errors.Is(err, ErrSignIn) {
		return SignIn{}, s.refuse(ctx, &v, who, err.Error(), ErrSignIn)
	}
	if err != nil {
		return SignIn{}, s.untried(ctx, &v, who, meters, err)
	}
	return s.signIn(ctx, &v, a, audit.Password, func(ctx context.Context, tx Tx) error {
		if err := settle(ctx, tx, meters[1:]...); err != nil {
			return err
		}
		return refund(ctx, tx, v.Now, address)
	})
}

// waits counts what was refused because of a limit.
func (s *Service) waits(v *Visit, err error) error {
	if errors.Is(err, ErrRetry) {
		s.silence(v)
		return err
	}
	return fmt.Errorf("counting tries: %w", err)
}

// untried takes back a try that told nothing about the password.
func (s *Service) untried(ctx context.Context, v *Visit, who audit.Actor, meters []meter, why error) error {
	ctx = context.WithoutCancel(ctx)
	err := s.store.Update(ctx, func(ctx context.Context, tx Tx) error { return refund(ctx, tx, v.Now, meters...) })
	if errors.Is(why, ErrRetry) { // the account is close to its lockout
		return errors.Join(s.refuse(ctx, v, who, why.Error(), why), err)
	}
	return errors.Join(unavailable("verifying a password", why), err)
}

// SignInCertificate begins a session with the certificate that the client proved to have
// in the TLS handshake; chain is what it sent, its own first. The chain is verified
// here, see [Certificates].
func (s *Service) SignInCertificate(ctx context.Context, v Visit, chain []*x509.Certificate) (SignIn, error) {
	if err := v.check(); err != nil {
		return SignIn{}, err
	}
	if s.certs == nil || len(chain) == 0 {
		return SignIn{}, invalid("no sign-in by certificate, or no certificate")
	}
	leaf := chain[0]
	who := audit.Actor{Name: leaf.Subject.String(), Method: audit.Certificate}
	refuse := func(reason string) (SignIn, error) {
		return SignIn{}, s.refuse(ctx, &v, who, fmt.Sprintf("certificate %s of %s: %s", leaf.SerialNumber, leaf.Issuer, reason), ErrSignIn)
	}
	claim, err := s.certs.claim(chain, v.Now)
	if errors.Is(err, errLists) {
		return SignIn{}, fmt.Errorf("verifying a certificate: %w", err)
	}
	if err != nil {
		return refuse(err.Error())
	}
	a, err := s.members.Account(ctx, claim.ref)
	if err != nil {
		return SignIn{}, unavailable("asking for the account of a certificate", err)
	}
	if !a.usable() {
		return refuse(a.state())
	}
	who.Name, who.SID = a.Name, a.SID
	// The names in a certificate prove nothing. But one that names another account than
	// it belongs to was made to deceive, or an account was renamed into another's name.
	for _, upn := range claim.upns {
		other, err := s.members.Account(ctx, AccountRef{Name: upn})
		if err != nil {
			return SignIn{}, unavailable("asking for the account that a certificate names", err)
		}
		if other.Exists && other.GUID != a.GUID {
			return refuse(fmt.Sprintf("it belongs to %s, but names %s", a.Name, other.Name))
		}
	}
	return s.signIn(ctx, &v, a, audit.Certificate, func(context.Context, Tx) error { return nil })
}

// signIn begins a session after its first factor was verified. before runs in the same
// transaction.
func (s *Service) signIn(ctx context.Context, v *Visit, a Account, m audit.Method, before func(context.Context, Tx) error) (in SignIn, err error) {
	fresh := Session{
		Account: a.GUID, SID: a.SID, Name: a.Name, Method: m, Since: v.Now, Used: v.Now, Ends: v.Now.Add(s.times.Longest), From: v.From.String(),
	}
	err = s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		if err := before(ctx, tx); err != nil {
			return err
		}
		if in.Secret, in.Session, err = s.begin(ctx, tx, fresh); err != nil {
			return err
		}
		c := in.Session.caller(*v)
		if err := s.makeRoom(ctx, tx, &c); err != nil {
			return err
		}
		if err := s.endOld(ctx, tx, &c); err != nil {
			return err
		}
		kinds, err := factorKinds(ctx, tx, a.GUID)
		if err != nil {
			return err
		}
		in.Factors = kinds
		e := c.entry(audit.Fact, "session.begin", "")
		e.Record, e.Until = recordName("session", in.Session.ID), in.Session.Ends
		_, err = audit.Append(ctx, tx, e)
		return err
	})
	if err != nil {
		if errors.Is(err, errRepeated) {
			return SignIn{}, err
		}
		return SignIn{}, fmt.Errorf("beginning a session: %w", err)
	}
	s.forget(a.GUID)
	return in, nil
}

// endOld ends the session whose secret the request carried, whoever it was of: a secret
// that somebody planted is worth nothing after the sign-in.
func (s *Service) endOld(ctx context.Context, tx Tx, c *Caller) error {
	id, ok := splitSecret(c.Old, sessionPrefix)
	if !ok {
		return nil
	}
	old, _, err := load[storedSession](ctx, tx, sessions, id)
	if errors.Is(err, ErrNotFound) || err == nil && !c.Old.matches(old.Hash) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.end(ctx, tx, c, old.Account, id, "another sign-in took its place")
}

// makeRoom ends the session that was not used for longest where there are too many.
func (s *Service) makeRoom(ctx context.Context, tx Tx, c *Caller) error {
	list, _, err := all[storedSession](ctx, tx, sessions, c.Account)
	if err != nil || len(list) <= maxSessions {
		return err
	}
	slices.SortFunc(list, func(a, b storedSession) int {
		if x := a.Used.Compare(b.Used); x != 0 {
			return x
		}
		return strings.Compare(a.ID, b.ID)
	})
	for _, v := range list[:len(list)-maxSessions] {
		if err := s.end(ctx, tx, c, v.Account, v.ID, fmt.Sprintf("more than %d sessions", maxSessions)); err != nil {
			return err
		}
	}
	return nil
}
