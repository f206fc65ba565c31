package operator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// ErrKeys reports keys that cannot be used, or something that they do not open.
var ErrKeys = errors.New("keys of the server")

// maxKeys is the size of a file of keys at most.
const maxKeys = 1 << 20

// Keys seal what the database must not show: envelope encryption, a key of its own for
// each secret, sealed with a key that is kept outside the database. What is sealed is
// bound to where it belongs, so that it cannot be moved to another account.
type Keys struct{ aead tink.AEAD }

// GenerateKeys returns new keys as text (a Tink keyset in JSON, AES-256-GCM). Whoever
// has the text and the database can make the codes of all accounts.
func GenerateKeys() ([]byte, error) {
	m := keyset.NewManager()
	return addKey(m)
}

// RotateKeys returns the keys with a new one, which seals from now on; the others go on
// opening what they have sealed.
func RotateKeys(text []byte) ([]byte, error) {
	h, err := readKeyset(text)
	if err != nil {
		return nil, err
	}
	return addKey(keyset.NewManagerFromHandle(h))
}

func addKey(m *keyset.Manager) ([]byte, error) {
	id, err := m.Add(aead.AES256GCMKeyTemplate())
	if err == nil {
		err = m.SetPrimary(id)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: making one: %w", ErrKeys, err)
	}
	h, err := m.Handle()
	if err != nil {
		return nil, fmt.Errorf("%w: making one: %w", ErrKeys, err)
	}
	var b bytes.Buffer
	if err := insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&b)); err != nil {
		return nil, fmt.Errorf("%w: writing them: %w", ErrKeys, err)
	}
	return append(b.Bytes(), '\n'), nil
}

func readKeyset(text []byte) (*keyset.Handle, error) {
	if len(text) > maxKeys {
		return nil, fmt.Errorf("%w: %d bytes are more than %d", ErrKeys, len(text), maxKeys)
	}
	h, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(text)))
	if err != nil { // what the library says could repeat the text
		return nil, fmt.Errorf("%w: not a keyset in JSON", ErrKeys)
	}
	return h, nil
}

// ReadKeys reads keys that [GenerateKeys] made.
func ReadKeys(text []byte) (*Keys, error) {
	h, err := readKeyset(text)
	if err != nil {
		return nil, err
	}
	kek, err := aead.New(h)
	if err != nil {
		return nil, fmt.Errorf("%w: not keys for sealing", ErrKeys)
	}
	return &Keys{aead.NewKMSEnvelopeAEAD2(aead.AES256GCMKeyTemplate(), kek)}, nil
}

// seal encrypts a secret of the record that place names.
func (k *Keys) seal(secret []byte, place string) ([]byte, error) {
	b, err := k.aead.Encrypt(secret, []byte(place))
	if err != nil {
		return nil, fmt.Errorf("%w: sealing for %s: %w", ErrKeys, place, err)
	}
	return b, nil
}

// open is the inverse of seal.
func (k *Keys) open(sealed []byte, place string) ([]byte, error) {
	b, err := k.aead.Decrypt(sealed, []byte(place))
	if err != nil {
		return nil, fmt.Errorf("%w: they do not open what was sealed for %s", ErrKeys, place)
	}
	return b, nil
}

// Sealed reports whether a store holds anything that keys have sealed. If it does and the
// keys are missing they are lost, and new ones must not take their place unseen.
func Sealed(ctx context.Context, store Store) (yes bool, err error) {
	err = store.View(ctx, func(ctx context.Context, tx Tx) error {
		list, _, err := all[storedFactor](ctx, tx, factors, secdesc.GUID{})
		yes = slices.ContainsFunc(list, func(f storedFactor) bool { return f.Sealed != nil })
		return err
	})
	if err != nil {
		return false, fmt.Errorf("looking for sealed second factors: %w", err)
	}
	return yes, nil
}

// CheckKeys reports [ErrKeys] if the store holds what keys have sealed, and those of the
// service open nothing of it: they are others.
func (s *Service) CheckKeys(ctx context.Context) error {
	sealed, opened := 0, 0
	err := s.store.View(ctx, func(ctx context.Context, tx Tx) error {
		list, _, err := all[storedFactor](ctx, tx, factors, secdesc.GUID{})
		sealed, opened = 0, 0
		for _, f := range list {
			if f.Sealed == nil {
				continue
			}
			sealed++
			if _, err := s.keys.open(f.Sealed, f.place()); err == nil {
				opened++
			}
		}
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("reading sealed second factors: %w", err)
	case sealed > 0 && opened == 0:
		return fmt.Errorf("%w: they open none of the %d second factors that were sealed: they are other keys", ErrKeys, sealed)
	}
	return nil
}

// ForgetSealed removes everything that lost keys have sealed, on the server's own machine:
// the authenticator apps of all accounts. Their sessions and tokens end, and an account
// that has no other second factor needs an enrolment code for the next one, as after
// [Service.Recover]. It returns how many apps there were.
func (s *Service) ForgetSealed(ctx context.Context, c Caller, reason string) (n int, err error) {
	if !c.local() || reason == "" {
		return 0, invalid("what was sealed is forgotten on the server's machine, and for a reason")
	}
	err = s.update(ctx, "forgetting what was sealed", func(ctx context.Context, tx Tx) error {
		list, _, err := all[storedFactor](ctx, tx, factors, secdesc.GUID{})
		n = 0
		done := map[secdesc.GUID]bool{}
		for _, f := range list {
			if f.Sealed != nil {
				n++
			}
			if f.Sealed != nil && !done[f.Account] && err == nil {
				done[f.Account] = true
				err = s.forgetSealed(ctx, tx, &c, f.Account, reason)
			}
		}
		return err
	})
	return n, err
}

// forgetSealed does it for one account.
func (s *Service) forgetSealed(ctx context.Context, tx Tx, c *Caller, account secdesc.GUID, reason string) error {
	list, records, err := all[storedFactor](ctx, tx, factors, account)
	if err != nil {
		return err
	}
	left := false
	for i, f := range list {
		if f.Sealed == nil {
			left = left || f.Confirmed
			continue
		}
		if err := tx.Drop(ctx, factors, records[i].ID); err != nil {
			return err
		}
		if err := s.note(ctx, tx, c, "factor.remove", &list[i].Factor, reason); err != nil {
			return err
		}
	}
	if err := s.endEverything(ctx, tx, c, account, reason); err != nil || left {
		return err
	}
	hash := make([]byte, secretBytes) // of no code: an administrator makes one
	if _, err := io.ReadFull(s.random, hash); err != nil {
		return fmt.Errorf("reading randomness: %w", err)
	}
	if err := tx.Drop(ctx, codes, account.String()); err != nil {
		return err
	}
	return put(ctx, tx, Record{Kind: codes, ID: account.String(), Account: account}, storedCode{hash, c.Now})
}
