package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A RelyingParty is the server as browsers know it. The zero value is none.
type RelyingParty struct {
	ID      string   // host name, or a domain above it
	Name    string   // for people
	Origins []string // https://host[:port]
}

func (p RelyingParty) open() (*webauthn.WebAuthn, error) {
	if p.ID == "" && len(p.Origins) == 0 {
		return nil, nil
	}
	if p.Name == "" {
		p.Name = "leastwise"
	}
	return webauthn.New(&webauthn.Config{
		RPID: p.ID, RPDisplayName: p.Name, RPOrigins: p.Origins, AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementDiscouraged, UserVerification: protocol.VerificationPreferred,
		},
	})
}

// ceremonyTime is how long a challenge waits for its answer.
const ceremonyTime = 5 * time.Minute

// maxAnswer is the size of an authenticator's answer at most.
const maxAnswer = 64 << 10

// A storedCeremony is a challenge that waits.
type storedCeremony struct {
	Session string               `json:"session"` // of leastwise; the answer must come in it
	Enrol   bool                 `json:"enrol"`
	Label   string               `json:"label,omitempty"`
	Basis   *basis               `json:"basis,omitempty"` // of an enrolment
	Data    webauthn.SessionData `json:"data"`
}

// webUser is an account as the library sees it.
type webUser struct {
	account secdesc.GUID
	name    string
	have    []webauthn.Credential
}

func (u webUser) WebAuthnID() []byte                         { return u.account[:] }
func (u webUser) WebAuthnName() string                       { return u.name }
func (u webUser) WebAuthnDisplayName() string                { return u.name }
func (u webUser) WebAuthnCredentials() []webauthn.Credential { return u.have }

// user reads the credentials of the caller.
func (s *Service) user(ctx context.Context, tx Tx, c *Caller) (webUser, []storedFactor, []Record, error) {
	list, records, err := factorsOf(ctx, tx, c.Account, audit.WebAuthn)
	u := webUser{account: c.Account, name: c.Name}
	for _, f := range list {
		u.have = append(u.have, *f.Credential)
	}
	return u, list, records, err
}

// errNoWebAuthn: the server was not told its name and origins.
func errNoWebAuthn() error { return invalid("this server does not offer WebAuthn") }

// BeginWebAuthn starts the enrolment of a security key or passkey. It returns the options
// for navigator.credentials.create as JSON. What it needs is as for [Service.BeginTOTP].
func (s *Service) BeginWebAuthn(ctx context.Context, c Caller, label string, code Secret) (json.RawMessage, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if s.web == nil {
		return nil, errNoWebAuthn()
	}
	if label == "" || len(label) > maxTyped {
		return nil, invalid("a second factor has a label of 1 to %d bytes", maxTyped)
	}
	if _, err := s.usable(ctx, c.Account); err != nil {
		return nil, s.refused(ctx, &c, "factor.enrol", err)
	}
	var options *protocol.CredentialCreation
	err := s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		began, err := s.mayEnrol(ctx, tx, &c, code)
		if err != nil {
			return err
		}
		u, _, _, err := s.user(ctx, tx, &c)
		if err != nil {
			return err
		}
		var data *webauthn.SessionData
		exclude := webauthn.Credentials(u.have).CredentialDescriptors()
		if options, data, err = s.web.BeginRegistration(u, webauthn.WithExclusions(exclude)); err != nil {
			return fmt.Errorf("making a challenge: %w", err)
		}
		if err := s.putCeremony(ctx, tx, &c, storedCeremony{Session: c.Session, Enrol: true, Label: label, Basis: began, Data: *data}); err != nil {
			return err
		}
		return s.note(ctx, tx, &c, "factor.enrol", &Factor{ID: c.Session, Account: c.Account, Kind: audit.WebAuthn, Label: label}, "waits for its confirmation")
	})
	if err != nil {
		return nil, s.refused(ctx, &c, "factor.enrol", err)
	}
	return json.Marshal(options)
}

// putCeremony stores the one challenge of a session, in place of an earlier one.
func (s *Service) putCeremony(ctx context.Context, tx Tx, c *Caller, v storedCeremony) error {
	if err := tx.Drop(ctx, ceremonies, c.Session); err != nil {
		return err
	}
	return put(ctx, tx, Record{Kind: ceremonies, ID: c.Session, Account: c.Account, Until: c.Now.Add(ceremonyTime)}, v)
}

// takeCeremony returns the challenge of the caller's session and removes it, whatever
// becomes of the answer.
func (s *Service) takeCeremony(ctx context.Context, c *Caller, enrol bool) (v storedCeremony, err error) {
	err = s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		var r Record
		if v, r, err = load[storedCeremony](ctx, tx, ceremonies, c.Session); err != nil {
			return err
		}
		if r.Account != c.Account || !c.Now.Before(r.Until) || v.Enrol != enrol {
			return ErrNotFound
		}
		return tx.Drop(ctx, ceremonies, c.Session)
	})
	if errors.Is(err, ErrNotFound) {
		return v, fmt.Errorf("%w: there is no challenge that waits for this answer", ErrFactor)
	}
	return v, err
}

// ConfirmWebAuthn finishes an enrolment with the answer of navigator.credentials.create.
func (s *Service) ConfirmWebAuthn(ctx context.Context, c Caller, answer []byte) (Factor, error) {
	f, err := s.confirmWebAuthn(ctx, &c, answer)
	return f, s.refused(ctx, &c, "factor.confirm", err)
}

func (s *Service) confirmWebAuthn(ctx context.Context, c *Caller, answer []byte) (Factor, error) {
	if err := c.check(); err != nil {
		return Factor{}, err
	}
	if s.web == nil || len(answer) > maxAnswer {
		return Factor{}, errNoWebAuthn()
	}
	if _, err := s.usable(ctx, c.Account); err != nil {
		return Factor{}, err
	}
	v, err := s.takeCeremony(ctx, c, true)
	if err != nil {
		return Factor{}, err
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(answer)
	if err != nil {
		return Factor{}, fmt.Errorf("%w: %w", ErrFactor, err)
	}
	credential, err := s.web.CreateCredential(webUser{account: c.Account, name: c.Name}, v.Data, parsed)
	if err != nil {
		return Factor{}, fmt.Errorf("%w: %w", ErrFactor, err)
	}
	id, err := newID(s.random)
	if err != nil {
		return Factor{}, err
	}
	f := storedFactor{Factor: Factor{ID: id, Account: c.Account, Kind: audit.WebAuthn, Label: v.Label, Made: c.Now}, Credential: credential, Basis: v.Basis}
	err = s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		have, _, err := all[storedFactor](ctx, tx, factors, secdesc.GUID{})
		if err != nil {
			return err
		}
		for _, o := range have {
			if o.Credential != nil && string(o.Credential.ID) == string(credential.ID) {
				return fmt.Errorf("%w: this authenticator is enrolled already", ErrFactor)
			}
		}
		return s.confirm(ctx, tx, c, f, Record{Kind: factors, ID: id, Account: c.Account})
	})
	f.Confirmed, f.Used = true, c.Now
	return f.Factor, err
}

// ChallengeWebAuthn starts a step-up. It returns the options for
// navigator.credentials.get as JSON.
func (s *Service) ChallengeWebAuthn(ctx context.Context, c Caller) (json.RawMessage, error) {
	if s.web == nil {
		return nil, errNoWebAuthn()
	}
	if err := s.mayStepUp(ctx, &c); err != nil {
		return nil, s.refused(ctx, &c, "factor.accept", err)
	}
	var options *protocol.CredentialAssertion
	err := s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		u, _, _, err := s.user(ctx, tx, &c)
		if err != nil {
			return err
		}
		if len(u.have) == 0 {
			return ErrNoFactor
		}
		var data *webauthn.SessionData
		if options, data, err = s.web.BeginLogin(u); err != nil {
			return fmt.Errorf("making a challenge: %w", err)
		}
		return s.putCeremony(ctx, tx, &c, storedCeremony{Session: c.Session, Data: *data})
	})
	if err != nil {
		return nil, s.refused(ctx, &c, "factor.accept", err)
	}
	return json.Marshal(options)
}

// StepUpWebAuthn makes the caller's second factor fresh by the answer of
// navigator.credentials.get. The session goes on under a new secret; the old one is dead.
func (s *Service) StepUpWebAuthn(ctx context.Context, c Caller, answer []byte) (SignIn, error) {
	in, err := s.stepUpWebAuthn(ctx, &c, answer)
	return in, s.refused(ctx, &c, "factor.accept", err)
}

func (s *Service) stepUpWebAuthn(ctx context.Context, c *Caller, answer []byte) (in SignIn, err error) {
	if s.web == nil || len(answer) > maxAnswer {
		return in, errNoWebAuthn()
	}
	if err := s.mayStepUp(ctx, c); err != nil {
		return in, err
	}
	v, err := s.takeCeremony(ctx, c, false)
	if err != nil {
		return in, err
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(answer)
	if err != nil {
		return in, fmt.Errorf("%w: %w", ErrFactor, err)
	}
	err = s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		u, list, records, err := s.user(ctx, tx, c)
		if err != nil {
			return err
		}
		credential, err := s.web.ValidateLogin(u, v.Data, parsed)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrFactor, err)
		}
		if credential.Authenticator.CloneWarning {
			return fmt.Errorf("%w: its counter went back, as if it had been copied", ErrFactor)
		}
		for i, f := range list {
			if string(f.Credential.ID) != string(credential.ID) {
				continue
			}
			f.Credential, f.Used = credential, c.Now
			if err := put(ctx, tx, records[i], f); err != nil {
				return err
			}
			in, err = s.stepUp(ctx, tx, c, &f.Factor)
			return err
		}
		return ErrFactor
	})
	return in, err
}
