package store_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/store/storetest"
	"github.com/leastwise/leastwise/lab/need"
)

func mustNotOpen(t *testing.T, o store.Options, want error) {
	t.Helper()
	s, err := store.Open(t.Context(), o)
	if err == nil {
		s.Close()
	}
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

func TestNothingIsCreatedOrMigratedUnasked(t *testing.T) {
	storetest.Each(t, func(t *testing.T, d storetest.DB) {
		mustNotOpen(t, store.Options{Database: d.Name}, store.ErrMissing)
		mustNotOpen(t, store.Options{Database: d.Name, ReadOnly: true}, store.ErrMissing)
		d.Open(t)
		d.OpenWith(t, store.Options{ReadOnly: true})
		d.Exec(t, "DELETE FROM leastwise_schema WHERE version_id > 1")
		mustNotOpen(t, store.Options{Database: d.Name}, store.ErrOlder)
		d.Exec(t, "INSERT INTO leastwise_schema (version_id, is_applied) VALUES (4711, true)")
		mustNotOpen(t, store.Options{Database: d.Name, Migrate: true}, store.ErrNewer)
	})
}

// Any number of stores may use a file, in this process or in others, but one owns it.
func TestSecondOwnerOfAFileIsRefused(t *testing.T) {
	d := storetest.SQLite(t)
	owner, err := store.Open(t.Context(), store.Options{Database: d.Name, Migrate: true, Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	mustNotOpen(t, store.Options{Database: d.Name, Exclusive: true}, store.ErrInUse)
	guest := d.OpenWith(t, store.Options{})
	add(t, guest, anEntry("guest"))
	add(t, owner, anEntry("owner"))
	if r := verify(t, guest, nil); !r.Sound() || r.Entries != 3 {
		t.Errorf("%+v", r)
	}
	if err := owner.Close(); err != nil {
		t.Fatal(err)
	}
	d.OpenWith(t, store.Options{Exclusive: true})
}

// A second process that wants to own the file is refused as well; when the first
// is killed the file is free at once (see also the crash test, whose writer owns it).
func TestOwnerInAnotherProcessIsNoticed(t *testing.T) {
	d := storetest.SQLite(t)
	s := d.OpenWith(t, store.Options{Migrate: true, Exclusive: true})
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), crashEnv+"="+d.Name)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), store.ErrInUse.Error()) {
		t.Errorf("%v: %s", err, out)
	}
	add(t, s, anEntry("still mine"))
}

func TestSomethingElseIsNotTakenForADatabase(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("this is no database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	d := storetest.SQLite(t)
	d.Exec(t, "CREATE TABLE somebody_elses (a TEXT)")
	for _, name := range []string{text, dir, d.Name} {
		mustNotOpen(t, store.Options{Database: name, Migrate: true}, store.ErrForeign)
	}
	mustNotOpen(t, store.Options{Migrate: true}, store.ErrMissing)
	if b, err := os.ReadFile(text); err != nil || !strings.HasPrefix(string(b), "this is no database") {
		t.Error("the file was changed")
	}
}

func TestDatabaseIsReadableByItsOwnerOnly(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no permission bits")
	}
	d := storetest.SQLite(t)
	add(t, d.Open(t), anEntry("x"))
	files, err := filepath.Glob(filepath.Join(filepath.Dir(d.Name), "*"))
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		fi, err := os.Stat(f)
		if err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, fi.Mode(), err)
		}
	}
}

func TestPasswordInTheURLIsRefusedAndNotShown(t *testing.T) {
	const secret = "Wr0ng-Passw0rd"
	for _, url := range []string{
		"postgres://leastwise:" + secret + "@127.0.0.1:1/db", "postgres://127.0.0.1:1/db?password=" + secret,
		"postgres://leastwise:" + secret + "@127.0.0.1:port/db", "postgres://127.0.0.1:1/db?sslmode=" + secret,
	} {
		_, err := store.Open(t.Context(), store.Options{Database: url})
		if !errors.Is(err, store.ErrSettings) {
			t.Errorf("%v", err)
		}
		if err != nil && !strings.Contains(url, "sslmode") && strings.Contains(err.Error(), secret) {
			t.Errorf("the password is shown: %v", err)
		}
	}
	_, err := store.Open(t.Context(), store.Options{Database: "postgres://leastwise@127.0.0.1:1/db", Password: secret, Wait: time.Second})
	if !errors.Is(err, store.ErrUnreachable) || strings.Contains(err.Error(), secret) {
		t.Errorf("%v", err)
	}
}

// What another program has locked is waited for and then reported as locked.
func TestLockedDatabaseIsReportedAsLocked(t *testing.T) {
	storetest.Each(t, func(t *testing.T, d storetest.DB) {
		first := d.Open(t)
		second := d.OpenWith(t, store.Options{Wait: 100 * time.Millisecond})
		update(t, first, func(ctx context.Context, tx *store.Tx) error {
			if _, err := tx.LockAudit(ctx); err != nil {
				return err
			}
			err := second.Update(ctx, func(context.Context, *store.Tx) error {
				t.Error("two transactions write at once")
				return nil
			})
			if !errors.Is(err, store.ErrBusy) {
				t.Errorf("%v", err)
			}
			return nil
		})
		if err := second.Update(t.Context(), func(context.Context, *store.Tx) error { return nil }); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

func TestReadOnlyDatabaseIsReportedAsThat(t *testing.T) {
	storetest.Each(t, func(t *testing.T, d storetest.DB) {
		add(t, d.Open(t), anEntry("x"))
		s := d.OpenWith(t, store.Options{ReadOnly: true})
		if r := verify(t, s, nil); !r.Sound() || r.Entries != 2 {
			t.Errorf("%+v", r)
		}
		if err := s.Update(t.Context(), nil); !errors.Is(err, store.ErrReadOnly) {
			t.Errorf("%v", err)
		}
	})
}

// A page of the file that was overwritten is reported as damage, not as an empty
// answer.
func TestDamagedFileIsReportedAsDamaged(t *testing.T) {
	d := storetest.SQLite(t)
	s, err := store.Open(t.Context(), store.Options{Database: d.Name, Migrate: true})
	if err != nil {
		t.Fatal(err)
	}
	for range 300 {
		add(t, s, anEntry(strings.Repeat("x", 500)))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(d.Name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	junk := []byte(strings.Repeat("\xA5junk", 4096/5))
	for at := fi.Size() / 2; at < fi.Size(); at += 4096 {
		if _, err := f.WriteAt(junk, at&^4095); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s = d.OpenWith(t, store.Options{})
	err = s.View(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		_, err := audit.Verify(ctx, tx, nil)
		return err
	})
	if !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("%v", err)
	}
}

// On a full disk a transaction fails as a whole and says why; when there is room
// again the store goes on.
func TestFullDiskLosesNothingAndSaysSo(t *testing.T) {
	dir := smallDisk(t)
	s := storetest.SQLiteAt(dir).Open(t)
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 512<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	kept := 0
	var err error
	for kept < 10_000 {
		err = s.Update(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			_, err := audit.Append(ctx, tx, anEntry(strings.Repeat("x", 4000)))
			return err
		})
		if err != nil {
			break
		}
		kept++
	}
	if !errors.Is(err, store.ErrFull) || kept == 0 {
		t.Fatalf("after %d transactions: %v", kept, err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	add(t, s, anEntry("room again"))
	if r := verify(t, s, nil); !r.Sound() || r.Entries != int64(kept)+2 {
		t.Errorf("%d entries, want %d; %+v", r.Entries, kept+2, r.Problems)
	}
}

// smallDisk mounts a file system of two megabytes.
func smallDisk(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 || runtime.GOOS != "linux" {
		need.Missing(t, errors.New("a small file system can be mounted by root on Linux only"))
	}
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=2m", "leastwise-test", dir).CombinedOutput(); err != nil {
		need.Missing(t, errors.New("mounting a small file system: "+string(out)))
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}

// Writers that lost PostgreSQL in mid-transaction are told so, and go on when it is
// back; nothing of the transaction was kept.
func TestLostConnectionIsReportedAndNothingKept(t *testing.T) {
	d := storetest.Postgres(t)
	s := d.Open(t)
	add(t, s, anEntry("before"))
	err := s.Update(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		if _, err := audit.Append(ctx, tx, anEntry("lost")); err != nil {
			return err
		}
		d.Exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		_, err := tx.Claim(ctx, store.FenceKey{Kind: "account", Object: secdesc.GUID{1}}, "grants")
		return err
	})
	if !errors.Is(err, store.ErrUnreachable) {
		t.Errorf("%v", err)
	}
	err = s.Update(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		_, err := audit.Append(ctx, tx, anEntry("lost"))
		d.Exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		return err
	})
	if !errors.Is(err, store.ErrCommitUnknown) { // the answer to COMMIT did not come
		t.Errorf("%v", err)
	}
	add(t, s, anEntry("after"))
	if r := verify(t, s, nil); !r.Sound() || r.Entries != 3 {
		t.Errorf("%+v", r)
	}
}
