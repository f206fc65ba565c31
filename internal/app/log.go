package app

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"time"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/store"
)

// OpenStore opens the configured database; o says for what, its Database and
// Password are set here.
func OpenStore(ctx context.Context, cfg *Config, o store.Options) (*store.Store, error) {
	o, err := storeOptions(cfg, o)
	if err != nil {
		return nil, err
	}
	return store.Open(ctx, o)
}

func storeOptions(cfg *Config, o store.Options) (store.Options, error) {
	o.Database = cfg.Text("database")
	if name := cfg.Text("database-password-file"); name != "" {
		data, err := ReadFile(name)
		if err != nil {
			return o, fmt.Errorf("reading %s: %w", name, err)
		}
		o.Password = string(bytes.TrimRight(data, "\r\n"))
	}
	return o, nil
}

// localEntry begins an entry about what somebody does on the server's machine: the
// account of the operating system is all that is known of them.
func localEntry(action string, now time.Time) audit.Entry {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return audit.Entry{Time: now, Phase: audit.Fact, Action: action, Actor: audit.Actor{Name: name, Method: audit.Local}}
}

// InitLog creates the configured database and the key that signs checkpoints of its
// audit log, which gets a name, and returns the public key. A key that exists is
// never replaced: then only the database is created.
//
// In the place of a key that is lost it makes another only if the earlier one is
// configured (audit-earlier-keys): without it the log would never be signed again.
func InitLog(ctx context.Context, cfg *Config, name string, now time.Time) (key audit.Key, err error) {
	s, err := OpenStore(ctx, cfg, store.Options{Migrate: true})
	if err != nil {
		return key, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	signer, err := openSigner(cfg)
	if errors.Is(err, fs.ErrNotExist) {
		signer, err = nextSigner(ctx, cfg, s, name)
	}
	if err != nil {
		return key, err
	}
	err = s.Update(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := audit.Append(ctx, tx, signerEntry(signer, now))
		return err
	})
	return signer.Key(), err
}

const initAction = "audit.init"

// signerEntry says which key signs the log from now on.
func signerEntry(s *audit.Signer, now time.Time) audit.Entry {
	e := localEntry(initAction, now)
	e.Reason = "checkpoints are signed with " + s.Key().String()
	return e
}

// noteSigner says in the log which key signs it, unless the newest entry about that does:
// the key was changed by hand, or whoever made it was stopped before the entry. A key that
// does not know who has signed the log up to now is left to [audit.MakeCheckpoint].
func noteSigner(ctx context.Context, tx *store.Tx, s *audit.Signer, now time.Time) error {
	list, err := tx.AuditEntries(ctx, store.AuditFilter{Action: initAction, Limit: 1})
	if err != nil {
		return err
	}
	e := signerEntry(s, now)
	if len(list) > 0 && list[0].Reason == e.Reason {
		return nil
	}
	switch latest, err := tx.LatestCheckpoint(ctx); {
	case err != nil:
		return err
	case latest != "":
		if _, err := audit.OpenCheckpoint(latest, s.Keys()...); err != nil {
			return nil //nolint:nilerr // whoever signs next says so
		}
	}
	_, err = audit.Append(ctx, tx, e)
	return err
}

// nextSigner makes the key of a log, which may have been signed with an earlier one.
func nextSigner(ctx context.Context, cfg *Config, s *store.Store, name string) (*audit.Signer, error) {
	earlier, err := AuditKeys(cfg.List("audit-earlier-keys"))
	if err != nil {
		return nil, err
	}
	var latest string
	err = s.View(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		latest, err = tx.LatestCheckpoint(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	if latest != "" {
		if _, err := audit.OpenCheckpoint(latest, earlier...); err != nil {
			return nil, fmt.Errorf("%w: no key was made, since the log is signed with one that is not configured: %w: name its public key in audit-earlier-keys; leastwise audit show --action audit.init shows it, and whoever verifies the log has it, too: compare them", ErrConfig, err)
		}
	}
	signer, err := newSigner(cfg.Text("audit-key"), name)
	if err != nil {
		return nil, err
	}
	return signer.WithEarlier(earlier...), nil
}

// newSigner makes a key file, which only its owner can read.
func newSigner(file, name string) (*audit.Signer, error) {
	secret, _, err := audit.GenerateKey(rand.Reader, name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if err := writeSecret(file, []byte(secret)); err != nil {
		return nil, err
	}
	return audit.NewSigner(secret)
}

// readSigner reads the key file, which only its owner may be able to read.
func readSigner(file string) (*audit.Signer, error) {
	data, err := readPrivate(file)
	if err != nil {
		return nil, fmt.Errorf("reading the audit key %s: %w", file, err)
	}
	s, err := audit.NewSigner(string(data))
	if err != nil {
		return nil, fmt.Errorf("reading the audit key %s: %w", file, err)
	}
	return s, nil
}

// openSigner reads the configured key, and the public ones that signed before it.
func openSigner(cfg *Config) (*audit.Signer, error) {
	s, err := readSigner(cfg.Text("audit-key"))
	if err != nil {
		return nil, err
	}
	earlier, err := AuditKeys(cfg.List("audit-earlier-keys"))
	if err != nil {
		return nil, err
	}
	return s.WithEarlier(earlier...), nil
}

// Checkpoint signs the audit log as it is and gives the checkpoint to the witnesses that
// are configured. It refuses to sign a log that does not begin with what the witness file
// has ([audit.ErrForked]).
func Checkpoint(ctx context.Context, cfg *Config, now time.Time) (signed string, err error) {
	signer, err := openSigner(cfg)
	if err != nil {
		return "", err
	}
	w, err := openWitnesses(cfg, func() time.Time { return now })
	if err != nil {
		return "", err
	}
	s, err := OpenStore(ctx, cfg, store.Options{})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if signed, err = sign(ctx, s, signer, w, now); err != nil {
		return "", err
	}
	return signed, w.give(ctx, signed, now)
}

// AuditKeys returns keys that are given as text or as names of files, of which a
// secret key's file stands for its public key.
func AuditKeys(given []string) ([]audit.Key, error) {
	var keys []audit.Key
	for _, g := range given {
		text := g
		if data, err := ReadFile(g); err == nil {
			text = string(data)
			if s, err := audit.NewSigner(text); err == nil {
				keys = append(keys, s.Key())
				continue
			}
		}
		k, err := audit.ParseKey(text)
		if err != nil {
			return nil, fmt.Errorf("%w: %.60q is neither a public key nor a file with one: %w", ErrConfig, g, err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// KeptCheckpoints reads checkpoints from files.
func KeptCheckpoints(files []string) ([]string, error) {
	var out []string
	for _, name := range files {
		data, err := ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		some, err := audit.ReadCheckpoints(data)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		out = append(out, some...)
	}
	return out, nil
}

// Witnessed reads the checkpoints of a witness file; torn counts lines that a crash has
// cut off.
func Witnessed(file string) (list []string, torn int, err error) { return readWitness(file) }

// VerifyLog verifies the audit log of the configured database, and what is stored beside
// it that its entries hold the hash of. Without keys the public part of the configured one
// counts, if its file is there, and with it the earlier ones.
func VerifyLog(ctx context.Context, cfg *Config, kept []string, keys []audit.Key) (r *audit.Report, err error) {
	if len(keys) == 0 {
		switch signer, err := openSigner(cfg); {
		case err == nil:
			keys = signer.Keys()
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
	s, err := OpenStore(ctx, cfg, store.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	err = s.View(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		r, err = tx.VerifyAudit(ctx, kept, keys...)
		return err
	})
	return r, err
}

// VerifyExport verifies an exported log. It uses nothing but the file and the keys.
func VerifyExport(ctx context.Context, file string, kept []string, keys []audit.Key) (r *audit.Report, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, cause(err))
	}
	defer f.Close()
	x, err := audit.OpenExport(f)
	if err == nil {
		r, err = audit.Verify(ctx, x, kept, keys...)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	return r, nil
}

// VerifyProof checks a file that is a proof, and returns it with the checkpoint that
// it refers to; is tells whether the file is one.
func VerifyProof(file string, keys []audit.Key) (p *audit.Proof, c audit.Checkpoint, is bool, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, c, false, fmt.Errorf("reading %s: %w", file, cause(err))
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, audit.MaxLine+1))
	if err != nil {
		return nil, c, false, fmt.Errorf("reading %s: %w", file, cause(err))
	}
	if p, err = audit.ParseProof(data); err != nil {
		return nil, c, false, nil
	}
	c, err = p.Check(keys...)
	return p, c, true, err
}

// ShowLog returns entries of the audit log.
func ShowLog(ctx context.Context, cfg *Config, f store.AuditFilter) (entries []audit.Entry, err error) {
	s, err := OpenStore(ctx, cfg, store.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	err = s.View(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		entries, err = tx.AuditEntries(ctx, f)
		return err
	})
	return entries, err
}

// ExportLog writes the audit log for others to verify. The public key in it is that
// of the configured key file, if that is there.
func ExportLog(ctx context.Context, cfg *Config, w io.Writer) (err error) {
	key := ""
	if signer, err := readSigner(cfg.Text("audit-key")); err == nil {
		key = signer.Key().String()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s, err := OpenStore(ctx, cfg, store.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.View(ctx, func(ctx context.Context, tx *store.Tx) error { return audit.WriteExport(ctx, w, tx, key) })
}

// ProveLog returns a proof from the log: that an entry is in it, or, if earlier is a
// signed checkpoint, that its log is the beginning of this one.
func ProveLog(ctx context.Context, cfg *Config, entry int64, earlier string) (p *audit.Proof, err error) {
	signer, err := openSigner(cfg)
	if err != nil {
		return nil, err
	}
	s, err := OpenStore(ctx, cfg, store.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	err = s.View(ctx, func(ctx context.Context, tx *store.Tx) error {
		latest, err := tx.LatestCheckpoint(ctx)
		if err != nil {
			return err
		}
		if latest == "" {
			return fmt.Errorf("proving from the audit log: it has no checkpoint yet: %w", store.ErrNotFound)
		}
		if earlier != "" {
			p, err = audit.ProveConsistency(ctx, tx, signer.Keys(), earlier, latest)
			return err
		}
		r, err := tx.AuditRecord(ctx, entry)
		if err != nil {
			return err
		}
		p, err = audit.ProveEntry(ctx, tx, signer.Keys(), latest, entry, r.Body)
		return err
	})
	return p, err
}

// Backup writes the configured database to a file, which appears only when it is
// complete, and says so in the audit log. A file of that name that was there before is
// replaced, unless it is the database.
func Backup(ctx context.Context, cfg *Config, file string, now time.Time) (info store.BackupInfo, err error) {
	s, err := OpenStore(ctx, cfg, store.Options{})
	if err != nil {
		return info, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if from, err := os.Stat(cfg.Text("database")); err == nil {
		if to, err := os.Stat(file); err == nil && os.SameFile(from, to) {
			return info, fmt.Errorf("%w: %s is the database itself", ErrConfig, file)
		}
	}
	err = WriteFile(ctx, file, func(w io.Writer) error {
		info, err = s.Backup(ctx, w, now)
		return err
	})
	if err != nil {
		return info, err
	}
	e := localEntry("store.backup", now)
	e.Reason = "SHA-256 of the content: " + info.SHA256
	err = s.Update(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := audit.Append(ctx, tx, e)
		return err
	})
	if err != nil {
		return info, fmt.Errorf("%s is complete, but the audit log does not say that it was made: %w", file, err)
	}
	return info, nil
}

// Restore reads a backup into the configured database, which must hold nothing yet,
// and verifies the audit log that came with it.
func Restore(ctx context.Context, cfg *Config, file string, now time.Time) (info store.BackupInfo, r *audit.Report, err error) {
	o, err := storeOptions(cfg, store.Options{})
	if err != nil {
		return info, nil, err
	}
	f, err := os.Open(file)
	if err != nil {
		return info, nil, fmt.Errorf("reading %s: %w", file, cause(err))
	}
	defer f.Close()
	if info, err = store.Restore(ctx, o, f, localEntry("store.restore", now)); err != nil {
		return info, nil, err
	}
	r, err = VerifyLog(ctx, cfg, nil, nil)
	return info, r, err
}
