package operator_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-webauthn/webauthn/protocol/webauthncbor"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/operator"
)

// A stick is a security key in software: what a browser and an authenticator make of the
// options (WebAuthn Level 3, 5.1, 6.1, 6.5). It stands in for hardware.
type stick struct {
	key     *ecdsa.PrivateKey
	id      []byte
	counter uint32
	origin  string
	rp      string
}

func newStick(t *testing.T) *stick {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id := make([]byte, 32)
	if _, err := rand.Read(id); err != nil {
		t.Fatal(err)
	}
	return &stick{key: key, id: id, origin: "https://leastwise.contoso.test", rp: "leastwise.contoso.test"}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (s *stick) client(kind, challenge string) []byte {
	b, _ := json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": s.origin, "crossOrigin": false})
	return b
}

// data is authenticator data (6.1): user present, and verified.
func (s *stick) data(flags byte, attested []byte) []byte {
	s.counter++
	h := sha256.Sum256([]byte(s.rp))
	b := append(h[:], flags)
	return append(binary.BigEndian.AppendUint32(b, s.counter), attested...)
}

func (s *stick) create(t *testing.T, options json.RawMessage) []byte {
	t.Helper()
	var o struct {
		PublicKey struct{ Challenge string }
	}
	if err := json.Unmarshal(options, &o); err != nil {
		t.Fatal(err)
	}
	raw, err := s.key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	cose, err := webauthncbor.Marshal(map[int]any{1: 2, 3: -7, -1: 1, -2: raw[1:33], -3: raw[33:]})
	if err != nil {
		t.Fatal(err)
	}
	attested := append(make([]byte, 16), byte(len(s.id)>>8), byte(len(s.id)))
	attested = append(append(attested, s.id...), cose...)
	object, err := webauthncbor.Marshal(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": s.data(0x45, attested)})
	if err != nil {
		t.Fatal(err)
	}
	return s.answer(t, map[string]any{"clientDataJSON": b64(s.client("webauthn.create", o.PublicKey.Challenge)), "attestationObject": b64(object)})
}

func (s *stick) get(t *testing.T, options json.RawMessage) []byte {
	t.Helper()
	var o struct {
		PublicKey struct{ Challenge string }
	}
	if err := json.Unmarshal(options, &o); err != nil {
		t.Fatal(err)
	}
	client, data := s.client("webauthn.get", o.PublicKey.Challenge), s.data(0x05, nil)
	hash := sha256.Sum256(client)
	signed := sha256.Sum256(append(append([]byte{}, data...), hash[:]...))
	sig, err := ecdsa.SignASN1(rand.Reader, s.key, signed[:])
	if err != nil {
		t.Fatal(err)
	}
	return s.answer(t, map[string]any{"clientDataJSON": b64(client), "authenticatorData": b64(data), "signature": b64(sig)})
}

func (s *stick) answer(t *testing.T, response map[string]any) []byte {
	t.Helper()
	b, err := json.Marshal(map[string]any{"id": b64(s.id), "rawId": b64(s.id), "type": "public-key", "response": response, "clientExtensionResults": map[string]any{}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// key enrols a stick for the account of a session.
func (w *world) key(in operator.SignIn) *stick {
	w.t.Helper()
	s := newStick(w.t)
	options, err := w.BeginWebAuthn(w.t.Context(), w.caller(in.Secret), "stick", operator.Secret{})
	if err != nil {
		w.t.Fatal(err)
	}
	if f, err := w.ConfirmWebAuthn(w.t.Context(), w.caller(in.Secret), s.create(w.t, options)); err != nil || f.Kind != audit.WebAuthn || !f.Confirmed {
		w.t.Fatal(f, err)
	}
	return s
}

func (w *world) challenge(in operator.SignIn) json.RawMessage {
	w.t.Helper()
	options, err := w.ChallengeWebAuthn(w.t.Context(), w.caller(in.Secret))
	if err != nil {
		w.t.Fatal(err)
	}
	return options
}

func TestWebAuthn(t *testing.T) {
	w := newWorld(t)
	in := w.signIn(w.dir.Add("anna"))
	s := w.key(in)
	again := w.signIn(w.must("anna"))
	if len(again.Factors) != 1 || again.Factors[0] != audit.WebAuthn {
		t.Errorf("%v", again.Factors)
	}
	answer := s.get(t, w.challenge(in))
	up, err := w.StepUpWebAuthn(t.Context(), w.caller(in.Secret), answer)
	if err != nil {
		t.Fatal(err)
	}
	if c := w.caller(up.Secret); !c.SteppedUp() || c.Factor != audit.WebAuthn {
		t.Errorf("%+v", c)
	}
	wants(t, "the session before", second(w.Identify(t.Context(), w.visit(), in.Secret)), operator.ErrSignedOut)
	wants(t, "the same answer", second(w.StepUpWebAuthn(t.Context(), w.caller(up.Secret), answer)), operator.ErrFactor)
	w.challenge(up)
	wants(t, "the same answer to a new challenge", second(w.StepUpWebAuthn(t.Context(), w.caller(up.Secret), answer)), operator.ErrFactor)
	if got := w.lastRefusal("factor.accept"); !strings.Contains(got, operator.ErrFactor.Error()) {
		t.Error(got)
	}
}

func (w *world) must(name string) operator.Account {
	w.t.Helper()
	a, err := w.dir.Account(w.t.Context(), operator.AccountRef{Name: name})
	if err != nil || !a.Exists {
		w.t.Fatal(name, err)
	}
	return a
}

func TestWebAuthnRefuses(t *testing.T) {
	for name, attempt := range map[string]func(w *world, in operator.SignIn, s *stick) error{
		"another origin": func(w *world, in operator.SignIn, s *stick) error {
			s.origin = "https://leastwise.contoso.test.evil.test"
			return second(w.StepUpWebAuthn(w.t.Context(), w.caller(in.Secret), s.get(w.t, w.challenge(in))))
		},
		"another relying party": func(w *world, in operator.SignIn, s *stick) error {
			s.rp = "evil.test"
			return second(w.StepUpWebAuthn(w.t.Context(), w.caller(in.Secret), s.get(w.t, w.challenge(in))))
		},
		"another key": func(w *world, in operator.SignIn, s *stick) error {
			s.key = newStick(w.t).key
			return second(w.StepUpWebAuthn(w.t.Context(), w.caller(in.Secret), s.get(w.t, w.challenge(in))))
		},
		"another's stick": func(w *world, in operator.SignIn, _ *stick) error {
			other := w.key(w.signIn(w.dir.Add("bob")))
			return second(w.StepUpWebAuthn(w.t.Context(), w.caller(in.Secret), other.get(w.t, w.challenge(in))))
		},
		"another session's challenge": func(w *world, in operator.SignIn, s *stick) error {
			other := w.signIn(w.must("anna"))
			options := w.challenge(other)
			w.challenge(in)
			return second(w.StepUpWebAuthn(w.t.Context(), w.caller(in.Secret), s.get(w.t, options)))
		},
		"no challenge": func(w *world, in operator.SignIn, s *stick) error {
			return second(w.StepUpWebAuthn(w.t.Context(), w.caller(in.Secret), s.get(w.t, json.RawMessage(`{"publicKey":{"challenge":"AAAA"}}`))))
		},
		"a late answer": func(w *world, in operator.SignIn, s *stick) error {
			options := w.challenge(in)
			w.pass(5 * time.Minute)
			return second(w.StepUpWebAuthn(w.t.Context(), w.caller(in.Secret), s.get(w.t, options)))
		},
		"a copy of the stick": func(w *world, in operator.SignIn, s *stick) error {
			in2, err := w.StepUpWebAuthn(w.t.Context(), w.caller(in.Secret), s.get(w.t, w.challenge(in)))
			if err != nil {
				w.t.Fatal(err)
			}
			s.counter = 1
			return second(w.StepUpWebAuthn(w.t.Context(), w.caller(in2.Secret), s.get(w.t, w.challenge(in2))))
		},
		"rubbish": func(w *world, in operator.SignIn, _ *stick) error {
			w.challenge(in)
			return second(w.StepUpWebAuthn(w.t.Context(), w.caller(in.Secret), []byte(`{"id":"x"}`)))
		},
		"the stick of somebody else, enrolled again": func(w *world, _ operator.SignIn, s *stick) error {
			bob := w.signIn(w.dir.Add("bob"))
			options, err := w.BeginWebAuthn(w.t.Context(), w.caller(bob.Secret), "mine", operator.Secret{})
			if err != nil {
				w.t.Fatal(err)
			}
			return second(w.ConfirmWebAuthn(w.t.Context(), w.caller(bob.Secret), s.create(w.t, options)))
		},
		"an enrolment with the challenge of a step-up": func(w *world, in operator.SignIn, _ *stick) error {
			return second(w.ConfirmWebAuthn(w.t.Context(), w.caller(in.Secret), newStick(w.t).create(w.t, w.challenge(in))))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			in := w.signIn(w.dir.Add("anna"))
			s := w.key(in)
			wants(t, name, attempt(w, in, s), operator.ErrFactor)
			if w.store.Count("factor") > 2 {
				t.Error("something was enrolled")
			}
		})
	}
}

// A second stick needs the first one; without configuration there is none.
func TestWebAuthnEnrolment(t *testing.T) {
	w := newWorld(t)
	in := w.signIn(w.dir.Add("anna"))
	s := w.key(in)
	wants(t, "without the first", second(w.BeginWebAuthn(t.Context(), w.caller(in.Secret), "two", operator.Secret{})), operator.ErrStepUp)
	in, err := w.StepUpWebAuthn(t.Context(), w.caller(in.Secret), s.get(t, w.challenge(in)))
	if err != nil {
		t.Fatal(err)
	}
	w.key(in)
	w.app(in)
	bob := w.signIn(w.dir.Add("bob"))
	wants(t, "a step-up without a stick", second(w.ChallengeWebAuthn(t.Context(), w.caller(bob.Secret))), operator.ErrNoFactor)

	none := newWorld(t, func(o *operator.Options) { o.RelyingParty = operator.RelyingParty{} })
	in = none.signIn(none.dir.Add("anna"))
	wants(t, "not offered", second(none.BeginWebAuthn(t.Context(), none.caller(in.Secret), "x", operator.Secret{})), operator.ErrInvalid)
	wants(t, "not offered", second(none.ChallengeWebAuthn(t.Context(), none.caller(in.Secret))), operator.ErrInvalid)
	wants(t, "not offered", second(none.StepUpWebAuthn(t.Context(), none.caller(in.Secret), nil)), operator.ErrInvalid)
	wants(t, "not offered", second(none.ConfirmWebAuthn(t.Context(), none.caller(in.Secret), nil)), operator.ErrInvalid)
}
