package store_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/store/storetest"
)

// restored is the entry about a restore.
func restored() audit.Entry {
	e := anEntry("")
	e.Action, e.Actor = "store.restore", audit.Actor{Name: "root", Method: audit.Local}
	return e
}

func backup(t *testing.T, s *store.Store) ([]byte, store.BackupInfo) {
	t.Helper()
	var b bytes.Buffer
	info, err := s.Backup(t.Context(), &b, noon)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), info
}

func unzip(t testing.TB, b []byte) string {
	t.Helper()
	z, err := zstd.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func zip(t testing.TB, text string) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return z.EncodeAll([]byte(text), nil)
}

// filled has something in every table, hard cases among it.
func filled(t *testing.T, d storetest.DB, signer *audit.Signer) *store.Store {
	t.Helper()
	s := d.Open(t)
	for i := range 30 {
		add(t, s, anEntry(fmt.Sprintf("it's %d; \"ünï\" \u202e\x1b", i)))
	}
	checkpoint(t, s, signer)
	add(t, s, anEntry("after the checkpoint"))
	update(t, s, func(ctx context.Context, tx *store.Tx) error {
		_, err1 := tx.Claim(ctx, store.FenceKey{Kind: "account", Object: secdesc.GUID{1}}, "grants")
		_, err2 := tx.KeepRun(ctx, aRun("1", noon, failing("a", "S-1-5-21-1"), failing("b", "")), keeping())
		return errors.Join(err1, err2)
	})
	return s
}

// A backup of either database restores on either, and what is restored is the
// same: the log verifies with the checkpoints that were kept, the runs are there,
// and nothing that was planned before is carried out after.
func TestBackupRestoresOnEitherDatabase(t *testing.T) {
	storetest.Each(t, func(t *testing.T, from storetest.DB) {
		signer := aSigner(t, 1)
		original := filled(t, from, signer)
		b, info := backup(t, original)
		if info.Entries != 33 || info.Rows == 0 || !info.Taken.Equal(noon.Truncate(time.Microsecond)) {
			t.Errorf("%+v", info)
		}
		storetest.Each(t, func(t *testing.T, to storetest.DB) {
			got, err := store.Restore(t.Context(), store.Options{Database: to.Name}, bytes.NewReader(b), restored())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(info, got); diff != "" {
				t.Error(diff)
			}
			s := to.OpenWith(t, store.Options{})
			r := verify(t, s, nil, signer.Key())
			if !r.Sound() || r.Entries != 34 || r.Covered != 31 {
				t.Errorf("%+v", r)
			}
			view(t, s, func(ctx context.Context, tx *store.Tx) error {
				runs, err1 := tx.Runs(ctx, "", 0)
				entries, err2 := tx.AuditEntries(ctx, store.AuditFilter{Action: "store.restore"})
				if len(runs) != 1 || len(entries) != 1 || fmt.Sprintf("%x", entries[0].Digest) != info.SHA256 {
					t.Errorf("%v, %v", runs, entries)
				}
				err := tx.CheckFence(ctx, store.FenceKey{Kind: "account", Object: secdesc.GUID{1}}, "grants", 1)
				if !errors.Is(err, store.ErrStale) {
					t.Errorf("an action of the original: %v", err)
				}
				return errors.Join(err1, err2)
			})
			checkpoint(t, s, signer) // the log goes on where it was
			again, _ := backup(t, s)
			if a, b := withoutEntries(unzip(t, b)), withoutEntries(unzip(t, again)); a != b {
				t.Errorf("what is not the log differs:\n%s", cmp.Diff(a, b))
			}
			_, err = store.Restore(t.Context(), store.Options{Database: to.Name}, bytes.NewReader(b), restored())
			if !errors.Is(err, store.ErrOccupied) {
				t.Errorf("restored over a database: %v", err)
			}
		})
	})
}

// withoutEntries returns the lines of a backup about runs.
func withoutEntries(text string) string {
	_, runs, _ := strings.Cut(text, `{"table":"runs"`)
	runs, _, _ = strings.Cut(runs, `{"rows"`)
	return runs
}

// A backup taken while others write is one moment: its log verifies.
func TestBackupWhileWritingIsOneMoment(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s *store.Store) {
		stop, started := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				err := s.Update(t.Context(), func(ctx context.Context, tx *store.Tx) error {
					g, err := tx.Claim(ctx, crashKey(), "grants")
					e := anEntry("x")
					e.Generation = g
					_, err2 := audit.Append(ctx, tx, e)
					return errors.Join(err, err2)
				})
				if err != nil {
					t.Error(err)
					return
				}
				if i == 5 {
					close(started)
				}
			}
		})
		<-started
		for range 3 {
			b, info := backup(t, s)
			to := storetest.SQLite(t)
			if _, err := store.Restore(t.Context(), store.Options{Database: to.Name}, bytes.NewReader(b), restored()); err != nil {
				t.Error(err)
				break
			}
			copied := to.OpenWith(t, store.Options{})
			if r := verify(t, copied, nil); !r.Sound() || r.Entries != info.Entries+1 {
				t.Errorf("%+v", r)
			}
			view(t, copied, func(ctx context.Context, tx *store.Tx) error {
				f, err := tx.Fence(ctx, crashKey())
				if f.Generation&(1<<32-1) != uint64(info.Entries-1) {
					t.Errorf("generation %d, %d entries", f.Generation, info.Entries)
				}
				return err
			})
		}
		close(stop)
		wg.Wait()
	})
}

// Nothing of a damaged backup is kept, and the error says where it is damaged.
func TestDamagedBackupLeavesTheDatabaseEmpty(t *testing.T) {
	signer := aSigner(t, 1)
	b, _ := backup(t, filled(t, storetest.SQLite(t), signer))
	text := unzip(t, b)
	lines := strings.SplitAfter(text, "\n")
	change := func(from, to string) []byte {
		if !strings.Contains(text, from) {
			t.Fatalf("no %q to change", from)
		}
		return zip(t, strings.Replace(text, from, to, 1))
	}
	flipped := slices.Clone(b)
	flipped[len(b)/2] ^= 0x10
	cases := map[string]struct {
		file []byte
		want error
	}{
		"empty":            {nil, store.ErrBackup},
		"text":             {[]byte("hello"), store.ErrBackup},
		"cut short":        {b[:len(b)*2/3], store.ErrBackup},
		"no end":           {zip(t, strings.Join(lines[:len(lines)-2], "")), store.ErrBackup},
		"a row less":       {zip(t, strings.Join(slices.Delete(slices.Clone(lines), 5, 6), "")), store.ErrBackup},
		"a row more":       {zip(t, text+"[1]\n"), store.ErrBackup},
		"a bit":            {flipped, store.ErrBackup},
		"a letter":         {change(`"grant.request"`, `"grant.Request"`), store.ErrBackup},
		"other table":      {change(`{"table":"fences"`, `{"table":"sqlite_master"`), store.ErrBackup},
		"other column":     {change(`"manager"`, `"manager) VALUES (1); --"`), store.ErrBackup},
		"column twice":     {change(`"manager"`, `"kind"`), store.ErrBackup},
		"null":             {change(`"grants",1]`, `"grants",null]`), store.ErrBackup},
		"too few values":   {change(`"grants",1]`, `"grants"]`), store.ErrBackup},
		"a number too big": {change(`"grants",1]`, `"grants",9223372036854775808]`), store.ErrBackup},
		"newer format":     {change(`{"leastwise-backup":1`, `{"leastwise-backup":2`), store.ErrNewer},
		"newer schema":     {change(`"schema":`, `"schema":99`), store.ErrNewer},
	}
	storetest.Each(t, func(t *testing.T, d storetest.DB) {
		for name, c := range cases {
			_, err := store.Restore(t.Context(), store.Options{Database: d.Name}, bytes.NewReader(c.file), restored())
			if !errors.Is(err, c.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := store.Restore(t.Context(), store.Options{Database: d.Name}, bytes.NewReader(b), restored()); err != nil {
			t.Errorf("the sound backup afterwards: %v", err)
		}
	})
}

// A backup of an older schema is restored and brought up to date.
func TestBackupOfAnOlderSchemaRestores(t *testing.T) {
	b, _ := backup(t, filled(t, storetest.SQLite(t), aSigner(t, 1)))
	text := unzip(t, b)
	head, rest, _ := strings.Cut(text, "\n")
	var h map[string]any
	if err := json.Unmarshal([]byte(head), &h); err != nil {
		t.Fatal(err)
	}
	h["schema"] = 1 // which had no runs
	raw, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	before, _, _ := strings.Cut(rest, `{"table":"runs"`)
	storetest.Each(t, func(t *testing.T, d storetest.DB) {
		if _, err := store.Restore(t.Context(), store.Options{Database: d.Name}, bytes.NewReader(zip(t, store.Ending(string(raw)+"\n"+before, int64(strings.Count(before, "\n["))))), restored()); err != nil {
			t.Fatal(err)
		}
		s := d.OpenWith(t, store.Options{})
		if r := verify(t, s, nil); !r.Sound() || r.Entries != 34 {
			t.Errorf("%+v", r)
		}
		update(t, s, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.KeepRun(ctx, aRun("1", noon), keeping())
			return err
		})
	})
}
