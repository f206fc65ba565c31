package app

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/store"
)

// A log whose key is lost goes on being signed with another, held to what the lost one has
// signed, as soon as the public part of that is configured; before, no other is made.
func TestLogGoesOnAfterALostKey(t *testing.T) {
	cfg := aLog(t)
	old, err := openSigner(cfg)
	if err != nil {
		t.Fatal(err)
	}
	first, err := Checkpoint(t.Context(), cfg, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(cfg.Text("audit-key")); err != nil {
		t.Fatal(err)
	}
	if _, err := InitLog(t.Context(), cfg, "contoso.com", time.Now()); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "audit-earlier-keys") {
		t.Fatalf("a key was made that cannot sign: %v", err)
	}
	if _, err := os.Stat(cfg.Text("audit-key")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	set(t, cfg, "audit-earlier-keys", old.Key().String())
	key, err := InitLog(t.Context(), cfg, "other.name", time.Now())
	if err != nil || key.String() == old.Key().String() {
		t.Fatal(key, err)
	}
	second, err := Checkpoint(t.Context(), cfg, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if c, err := audit.OpenCheckpoint(second, key); err != nil || c.Size < 3 {
		t.Errorf("%+v, %v", c, err)
	}
	if kinds := problems(t, cfg); len(kinds) > 0 {
		t.Errorf("%q", kinds)
	}
	p, err := ProveLog(t.Context(), cfg, 0, first)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Check(key, old.Key()); err != nil || p.Key != key.String() {
		t.Errorf("%s, %v", p.Key, err)
	}
	if _, err := p.Check(key); !errors.Is(err, audit.ErrSignature) {
		t.Errorf("a proof about a checkpoint of an unknown key: %v", err)
	}
	d := &doctor{}
	d.keeping(t.Context(), cfg, time.Now())
	if c := d.checks[len(d.checks)-1]; c.State != CheckOK {
		t.Errorf("%+v", c)
	}
}

// Which key signs is in the log whoever put it there, once, and by a start of the server
// as well; a log that was signed counts as one that had a key, whatever its entries say.
func TestSignerIsInTheLog(t *testing.T) {
	dir := t.TempDir()
	cfg := NewConfig()
	set(t, cfg, "database", filepath.Join(dir, "lw.db"))
	set(t, cfg, "audit-key", filepath.Join(dir, "audit.key"))
	if _, err := newSigner(cfg.Text("audit-key"), "contoso.com"); err != nil { // and then came the crash
		t.Fatal(err)
	}
	said := func() (n int) {
		t.Helper()
		s := &serving{cfg: cfg, now: time.Now}
		if err := s.openStore(t.Context()); err != nil {
			t.Fatal(err)
		}
		err := s.store.View(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			list, err := tx.AuditEntries(ctx, store.AuditFilter{Action: initAction})
			n = len(list)
			if err == nil && n > 0 && !strings.HasSuffix(list[n-1].Reason, s.signer.Key().String()) {
				t.Errorf("the newest names another: %q", list[n-1].Reason)
			}
			return err
		})
		if err := errors.Join(err, s.closers[0]()); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if a, b := said(), said(); a != 1 || b != 1 {
		t.Errorf("%d entries, and %d after the second start", a, b)
	}
	old, err := openSigner(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Checkpoint(t.Context(), cfg, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(cfg.Text("audit-key")); err != nil {
		t.Fatal(err)
	}
	set(t, cfg, "audit-earlier-keys", old.Key().String())
	if _, err := newSigner(cfg.Text("audit-key"), "contoso.com"); err != nil { // made elsewhere
		t.Fatal(err)
	}
	if n := said(); n != 2 {
		t.Errorf("%d entries after another key was put there", n)
	}
}
