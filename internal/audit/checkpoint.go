package audit

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Errors of checkpoints and keys.
var (
	ErrCheckpoint = errors.New("not a checkpoint")
	ErrSignature  = errors.New("checkpoint is not signed by a known key")
	ErrKey        = errors.New("not an audit key")
	ErrForked     = errors.New("the log no longer holds what was signed before")
)

// MaxCheckpoint is the most bytes that a signed checkpoint may have.
const MaxCheckpoint = 64 << 10

// A Checkpoint says what the first Size entries of a log were at a time.
type Checkpoint struct {
	Origin string // name of the log, which is that of its key
	Size   int64
	Root   tlog.Hash
	Time   time.Time // when it was signed
}

// timeKey begins the line of the time, an extension line of the format.
const timeKey = "time "

// Text returns what is signed: the format of C2SP tlog-checkpoint, with the time
// as its one extension line.
func (c Checkpoint) Text() string {
	return fmt.Sprintf("%s\n%d\n%s\n%s%s\n", c.Origin, c.Size, c.Root, timeKey, micro(c.Time).Format(timeLayout))
}

// ParseCheckpoint parses what [Checkpoint.Text] writes, and nothing else.
func ParseCheckpoint(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(text) > MaxCheckpoint || len(lines) != 5 {
		return Checkpoint{}, fmt.Errorf("%w: not four lines of text", ErrCheckpoint)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 {
		return Checkpoint{}, fmt.Errorf("%w: line 2: not a number of entries", ErrCheckpoint)
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return Checkpoint{}, fmt.Errorf("%w: line 3: not a hash", ErrCheckpoint)
	}
	at, ok := strings.CutPrefix(lines[3], timeKey)
	t, err := time.Parse(timeLayout, at)
	if !ok || err != nil {
		return Checkpoint{}, fmt.Errorf("%w: line 4: not a time", ErrCheckpoint)
	}
	c := Checkpoint{Origin: lines[0], Size: size, Root: tlog.Hash(root), Time: t}
	if c.Text() != text || !isID(c.Origin, MaxID) || c.Origin == "" {
		return Checkpoint{}, fmt.Errorf("%w: not in its canonical form", ErrCheckpoint)
	}
	return c, nil
}

// A Key verifies the checkpoints of a log. Its text is NAME+HASH+BASE64, see
// [note.NewVerifier], and no secret.
type Key struct {
	text     string
	verifier note.Verifier
}

// ParseKey parses the text of a key.
func ParseKey(text string) (Key, error) {
	text = strings.TrimSpace(text)
	v, err := note.NewVerifier(text)
	if err != nil {
		return Key{}, fmt.Errorf("%w: expected NAME+HASH+BASE64", ErrKey)
	}
	return Key{text, v}, nil
}

// String returns the text of the key.
func (k Key) String() string { return k.text }

// Name returns the name of the log.
func (k Key) Name() string { return k.verifier.Name() }

// A Signer signs the checkpoints of a log. It prints as its public key.
type Signer struct {
	signer  note.Signer
	key     Key
	earlier []Key
}

// Key returns the key that verifies what s signs.
func (s *Signer) Key() Key { return s.key }

// Keys returns the keys that the log is verified with: that of s, and the earlier ones.
func (s *Signer) Keys() []Key { return append([]Key{s.key}, s.earlier...) }

// WithEarlier returns a signer that signs as s does and takes what these keys have signed
// for signed, too: keys that were lost or replaced. It trusts them with all that they have
// signed, so whoever could still sign with one of them can forge older checkpoints.
func (s *Signer) WithEarlier(keys ...Key) *Signer {
	return &Signer{s.signer, s.key, append([]Key(nil), keys...)}
}

// String returns the text of the public key.
func (s *Signer) String() string { return s.key.String() }

// GoString keeps the secret out of %#v.
func (s *Signer) GoString() string { return "audit.Signer(" + s.key.String() + ")" }

// keySeparator stands between the two lines of a secret key's text.
const keySeparator = "\n"

// GenerateKey makes a new Ed25519 key for a log with a name (letters, digits and
// ._:/@%[]-) and returns the text for its file: the secret key's line, which must
// not leave the machine, and the public key's.
func GenerateKey(random io.Reader, name string) (secret string, _ Key, err error) {
	if name == "" || !isID(name, MaxID) {
		return "", Key{}, fmt.Errorf("%w: name %q holds more than letters, digits and ._:/@%%[]-", ErrKey, clip(name, MaxID))
	}
	skey, vkey, err := note.GenerateKey(random, name)
	if err != nil {
		return "", Key{}, fmt.Errorf("generating an audit key: %w", err)
	}
	key, err := ParseKey(vkey)
	return skey + keySeparator + vkey + keySeparator, key, err
}

// NewSigner parses the text of a secret key's file. Errors do not show it.
func NewSigner(secret string) (*Signer, error) {
	skey, rest, _ := strings.Cut(strings.TrimSpace(secret), keySeparator)
	s, err := note.NewSigner(strings.TrimSpace(skey))
	if err != nil {
		return nil, fmt.Errorf("%w: its first line is not a secret key", ErrKey)
	}
	key, err := ParseKey(rest)
	if err != nil || key.Name() != s.Name() || key.verifier.KeyHash() != s.KeyHash() {
		return nil, fmt.Errorf("%w: its second line is not the public key of the first", ErrKey)
	}
	return &Signer{s, key, nil}, nil
}

// Sign returns c as a signed note, with the signer's name as origin.
func (s *Signer) Sign(c Checkpoint) (string, error) {
	c.Origin = s.key.Name()
	msg, err := note.Sign(&note.Note{Text: c.Text()}, s.signer)
	if err != nil {
		return "", fmt.Errorf("signing a checkpoint: %w", err)
	}
	return string(msg), nil
}

// OpenCheckpoint verifies a signed checkpoint with one of the keys and returns it.
// Signatures of others, witnesses for example, may stand beside; they are not
// looked at.
func OpenCheckpoint(msg string, keys ...Key) (Checkpoint, error) {
	if len(msg) > MaxCheckpoint {
		return Checkpoint{}, fmt.Errorf("%w: %d bytes are too many", ErrCheckpoint, len(msg))
	}
	known := make([]note.Verifier, len(keys))
	for i, k := range keys {
		known[i] = k.verifier
	}
	n, err := note.Open([]byte(msg), note.VerifierList(known...))
	var unverified *note.UnverifiedNoteError
	switch {
	case errors.As(err, &unverified):
		return Checkpoint{}, fmt.Errorf("%w: it is signed by %s", ErrSignature, signers(unverified.Note))
	case err != nil:
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	c, err := ParseCheckpoint(n.Text)
	if err != nil {
		return Checkpoint{}, err
	}
	if !signedAs(n, c.Origin) {
		return Checkpoint{}, fmt.Errorf("%w: its origin %s is not the name of the key", ErrSignature, c.Origin)
	}
	return c, nil
}

// signedAs reports whether one of the verified signatures is of that name.
func signedAs(n *note.Note, name string) bool {
	for _, s := range n.Sigs {
		if s.Name == name {
			return true
		}
	}
	return false
}

// signers names who signed a note that nobody knows.
func signers(n *note.Note) string {
	var names []string
	for _, s := range append(n.Sigs, n.UnverifiedSigs...) {
		names = append(names, fmt.Sprintf("%s+%08x", clip(s.Name, MaxID), s.Hash))
	}
	return strings.Join(names, ", ")
}

// unsigned reads a checkpoint without looking at its signatures.
func unsigned(msg string) (Checkpoint, error) {
	_, err := note.Open([]byte(msg), note.VerifierList())
	var unverified *note.UnverifiedNoteError
	if !errors.As(err, &unverified) {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	return ParseCheckpoint(unverified.Note.Text)
}

// A CheckpointTx is the part of a transaction that signing needs.
type CheckpointTx interface {
	Hashes
	LockAudit(ctx context.Context) (int64, error)
	// LatestCheckpoint returns the signed checkpoint with the greatest size, empty
	// if there is none.
	LatestCheckpoint(ctx context.Context) (string, error)
	// SaveCheckpoint stores a signed checkpoint.
	SaveCheckpoint(ctx context.Context, c Checkpoint, signed string) error
}

// MakeCheckpoint signs the log as it is, stores the checkpoint and returns it, or
// the latest one if nothing was appended since. It refuses to sign a log that no
// longer holds what the latest checkpoint says ([ErrForked]), or one whose latest
// checkpoint another key has signed ([ErrSignature]) unless that key is among the
// signer's earlier ones ([Signer.WithEarlier]).
func MakeCheckpoint(ctx context.Context, tx CheckpointTx, s *Signer, now time.Time) (string, error) {
	size, err := tx.LockAudit(ctx)
	if err != nil {
		return "", fmt.Errorf("locking the audit log: %w", err)
	}
	latest, err := tx.LatestCheckpoint(ctx)
	if err != nil {
		return "", fmt.Errorf("reading the latest checkpoint: %w", err)
	}
	if latest != "" {
		was, err := OpenCheckpoint(latest, s.Keys()...)
		if err != nil {
			return "", fmt.Errorf("the latest checkpoint: %w", err)
		}
		if err := holds(ctx, tx, was, size); err != nil {
			return "", err
		}
		if was.Size == size {
			return latest, nil
		}
	}
	root, err := Root(ctx, tx, size)
	if err != nil {
		return "", err
	}
	c := Checkpoint{Origin: s.key.Name(), Size: size, Root: root, Time: micro(now)}
	msg, err := s.Sign(c)
	if err != nil {
		return "", err
	}
	return msg, tx.SaveCheckpoint(ctx, c, msg)
}

// Holds returns nil if the log still begins with what a signed checkpoint says that
// somebody kept, [ErrForked] if it does not, and [ErrSignature] if none of the keys has
// signed it. An empty text is no checkpoint, and says nothing.
func Holds(ctx context.Context, tx CheckpointTx, signed string, keys ...Key) error {
	if signed == "" {
		return nil
	}
	was, err := OpenCheckpoint(signed, keys...)
	if err != nil {
		return err
	}
	size, err := tx.LockAudit(ctx)
	if err != nil {
		return fmt.Errorf("locking the audit log: %w", err)
	}
	return holds(ctx, tx, was, size)
}

// holds compares an earlier checkpoint with the stored hashes of a log.
func holds(ctx context.Context, h Hashes, was Checkpoint, size int64) error {
	if was.Size > size {
		return fmt.Errorf("%w: it has %d entries, %d were signed", ErrForked, size, was.Size)
	}
	root, err := Root(ctx, h, was.Size)
	if err != nil {
		return err
	}
	if root != was.Root {
		return fmt.Errorf("%w: the hash over its first %d entries is another; verify it", ErrForked, was.Size)
	}
	return nil
}
