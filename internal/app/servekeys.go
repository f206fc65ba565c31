package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/store"
)

// operatorKeys reads the keys that seal second factors. They are made where there are
// none and nothing was sealed yet: in place of lost ones they would make every second
// factor useless, and nobody would know why.
func operatorKeys(ctx context.Context, file string, s operator.Store) (*operator.Keys, error) {
	text, err := readPrivate(file)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = newOperatorKeys(ctx, file, s)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the keys %s: %w", file, err)
	}
	keys, err := operator.ReadKeys(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrConfig, file, err)
	}
	return keys, nil
}

func newOperatorKeys(ctx context.Context, file string, s operator.Store) ([]byte, error) {
	sealed, err := operator.Sealed(ctx, s)
	if err != nil {
		return nil, err
	}
	if sealed {
		return nil, fmt.Errorf("%w: it is missing, and the database holds second factors that were sealed with it: restore it from where you keep it, since a backup of the database does not have it; if it is lost for good, leastwise operator keys --lost", ErrConfig)
	}
	text, err := operator.GenerateKeys()
	if err == nil {
		err = writeSecret(file, text)
	}
	return text, err
}

// RotateKeys adds a key to the configured file, which seals from the next start of the
// server on; the others go on opening what they have sealed. It is in the audit log first.
func RotateKeys(ctx context.Context, cfg *Config, by Caller) error {
	file := cfg.Text("operator-keys")
	old, err := readPrivate(file)
	if err != nil {
		return fmt.Errorf("reading the keys %s: %w", file, err)
	}
	text, err := operator.RotateKeys(old)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrConfig, file, err)
	}
	next := file + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a run that was ended
		return err
	}
	if err := writeSecret(next, text); err != nil {
		return err
	}
	if err := noteKeys(ctx, cfg, by, "a key was added to "+file); err != nil {
		return errors.Join(err, os.Remove(next))
	}
	return writeError(file, os.Rename(next, file))
}

// noteKeys writes an entry about the keys that seal second factors.
func noteKeys(ctx context.Context, cfg *Config, by Caller, what string) (err error) {
	db, err := OpenStore(ctx, cfg, store.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return appendKeys(ctx, db, by, what)
}

func appendKeys(ctx context.Context, db *store.Store, by Caller, what string) error {
	e := localEntry("operator.keys", by.Now().UTC())
	e.Reason = what
	return db.Update(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := audit.Append(ctx, tx, e)
		return err
	})
}

// ReplaceLostKeys makes keys in place of those that are lost for good, and forgets what
// they had sealed: the authenticator apps of all accounts. It returns how many there were.
// It refuses while the file is there.
func ReplaceLostKeys(ctx context.Context, cfg *Config, by Caller, reason string) (n int, err error) {
	file := cfg.Text("operator-keys")
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("%w: %s is not lost, but there: move it away if it is of no use", ErrConfig, file)
	}
	policies, _, err := readOperatorPolicies(cfg)
	if err != nil {
		return 0, err
	}
	text, err := operator.GenerateKeys()
	if err != nil {
		return 0, err
	}
	keys, err := operator.ReadKeys(text)
	if err != nil {
		return 0, err
	}
	// A server that runs on would seal with the lost keys, which it still has in memory.
	db, err := OpenStore(ctx, cfg, store.Options{Exclusive: true})
	if err != nil {
		return 0, fmt.Errorf("replacing the keys %s: every server on this database must be stopped: %w", file, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	ops, err := operator.New(operator.Options{Store: db.Operators(), Membership: &people{now: by.Now}, Policies: policies, Keys: keys})
	if err != nil {
		return 0, err
	}
	local := localEntry("operator.keys", by.Now())
	if n, err = ops.ForgetSealed(ctx, operator.Local(local.Actor.Name, "operator-keys", by.Now().UTC()), reason); err != nil {
		return 0, err
	}
	if err := appendKeys(ctx, db, by, fmt.Sprintf("%s is made anew, %d authenticator apps removed: %s", file, n, reason)); err != nil {
		return n, err
	}
	return n, writeSecret(file, text)
}

// firstSigner makes the key that signs the audit log. Where one was made before it is lost,
// and a new one in its place would go unnoticed until somebody verifies.
func (s *serving) firstSigner(ctx context.Context) (*audit.Signer, error) {
	file := s.cfg.Text("audit-key")
	had, err := s.hadSigner(ctx)
	if err != nil {
		return nil, err
	}
	if had {
		return nil, fmt.Errorf("%w: the audit key %s is missing, and the log was signed with it: restore it; if it is lost for good, name its public key in audit-earlier-keys, and leastwise audit init makes another, which everybody who verifies the log has to be told", ErrConfig, file)
	}
	name := "leastwise"
	if d := s.cfg.Text("domain"); d != "" {
		name = strings.ToLower(d)
	}
	if _, err := InitLog(ctx, s.cfg, name, s.now().UTC()); err != nil {
		return nil, err
	}
	return openSigner(s.cfg)
}

// hadSigner reports whether the log of the database was signed, or a key made for it.
func (s *serving) hadSigner(ctx context.Context) (yes bool, err error) {
	db, err := OpenStore(ctx, s.cfg, store.Options{Migrate: true})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	err = db.View(ctx, func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.AuditEntries(ctx, store.AuditFilter{Action: initAction, Limit: 1})
		if err != nil {
			return err
		}
		latest, err := tx.LatestCheckpoint(ctx)
		yes = len(list) > 0 || latest != ""
		return err
	})
	return yes, err
}

// readPrivate reads a file that only its owner may be able to read.
func readPrivate(file string) ([]byte, error) {
	if err := checkPrivate(file); err != nil {
		return nil, err
	}
	return ReadFile(file)
}

// checkPrivate refuses a file of secrets that others than its owner can read or write.
// Windows has no modes; there the folder's permissions decide.
func checkPrivate(file string) error {
	fi, err := os.Stat(file)
	if err != nil {
		return cause(err)
	}
	if mode := fi.Mode().Perm(); runtime.GOOS != "windows" && mode&0o077 != 0 {
		return fmt.Errorf("%w: %s is open to others than its owner (mode %04o): chmod 600 %s, and take it for known if others can sign in here", ErrConfig, file, mode, file)
	}
	return nil
}

// writeSecret writes a new file that only its owner can read.
func writeSecret(file string, data []byte) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return writeError(file, err)
	}
	_, err = f.Write(data)
	return writeError(file, errors.Join(err, f.Sync(), f.Close()))
}
