package operator

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
)

// A Secret is text that must not be printed. Whatever prints or encodes it writes
// "(secret)".
type Secret struct{ text string }

// NewSecret wraps a text that came from outside.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal returns the text.
func (s Secret) Reveal() string { return s.text }

// IsZero reports whether there is no text.
func (s Secret) IsZero() bool { return s.text == "" }

const hidden = "(secret)"

// String hides the text.
func (s Secret) String() string { return hidden }

// GoString hides the text.
func (s Secret) GoString() string { return hidden }

// Format hides the text for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText hides the text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// What secrets of this package look like: prefix, identifier, underscore, 32 random
// bytes. The identifier finds the record and may be seen by anybody; the whole text is
// what is hashed.
const (
	sessionPrefix = "lws_"
	tokenPrefix   = "lwt_"
	codePrefix    = "lwc_"

	idBytes     = 12
	secretBytes = 32
)

// newID returns a random identifier.
func newID(random io.Reader) (string, error) {
	b := make([]byte, idBytes)
	if _, err := io.ReadFull(random, b); err != nil {
		return "", fmt.Errorf("reading randomness: %w", err)
	}
	return hex.EncodeToString(b), nil
}

// newSecret returns a secret for the record with an identifier, and its hash.
func newSecret(random io.Reader, prefix, id string) (Secret, []byte, error) {
	b := make([]byte, secretBytes)
	if _, err := io.ReadFull(random, b); err != nil {
		return Secret{}, nil, fmt.Errorf("reading randomness: %w", err)
	}
	s := Secret{prefix + id + "_" + base64.RawURLEncoding.EncodeToString(b)}
	return s, s.hash(), nil
}

func (s Secret) hash() []byte {
	h := sha256.Sum256([]byte(s.text))
	return h[:]
}

// matches compares with a stored hash in constant time.
func (s Secret) matches(hash []byte) bool { return subtle.ConstantTimeCompare(s.hash(), hash) == 1 }

// splitSecret returns the identifier within a secret that has the prefix.
func splitSecret(s Secret, prefix string) (id string, ok bool) {
	rest, ok := strings.CutPrefix(s.text, prefix)
	if !ok {
		return "", false
	}
	id, random, ok := strings.Cut(rest, "_")
	if _, err := hex.DecodeString(id); err != nil || len(id) != 2*idBytes {
		return "", false
	}
	return id, ok && len(random) == base64.RawURLEncoding.EncodedLen(secretBytes)
}
