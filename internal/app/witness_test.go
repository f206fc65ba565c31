package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/notify"
	"github.com/leastwise/leastwise/internal/store"
)

// aLog is the configuration of a database with a log that has a few entries.
func aLog(t *testing.T) *Config {
	t.Helper()
	dir := t.TempDir()
	cfg := NewConfig()
	set(t, cfg, "database", filepath.Join(dir, "lw.db"))
	set(t, cfg, "audit-key", filepath.Join(dir, "audit.key"))
	set(t, cfg, "witness", filepath.Join(dir, "witness.jsonl"))
	if _, err := InitLog(t.Context(), cfg, "contoso.com", time.Now()); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func logged(t *testing.T, cfg *Config, reasons ...string) {
	t.Helper()
	s, err := OpenStore(t.Context(), cfg, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, r := range reasons {
		e := localEntry("test.fact", time.Now())
		e.Reason = r
		err := s.Update(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			_, err := audit.Append(ctx, tx, e)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// copyOf returns the bytes of the database, which nobody has open.
func copyOf(t *testing.T, cfg *Config) []byte {
	t.Helper()
	data, err := os.ReadFile(cfg.Text("database"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func problems(t *testing.T, cfg *Config) (kinds []string) {
	t.Helper()
	seen, _, err := Witnessed(cfg.Text("witness"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := VerifyLog(t.Context(), cfg, seen, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Problems {
		kinds = append(kinds, string(p.Kind))
	}
	return kinds
}

// An older database in the place of the present one, and one that went on from there, are
// found out by the witness, and neither is signed; nothing in the database itself tells.
func TestWitnessFindsRollbackAndFork(t *testing.T) {
	cfg := aLog(t)
	logged(t, cfg, "one")
	if _, err := Checkpoint(t.Context(), cfg, time.Now()); err != nil {
		t.Fatal(err)
	}
	old := copyOf(t, cfg)
	logged(t, cfg, "two", "three")
	if _, err := Checkpoint(t.Context(), cfg, time.Now()); err != nil {
		t.Fatal(err)
	}
	if kinds := problems(t, cfg); len(kinds) > 0 {
		t.Fatalf("before: %q", kinds)
	}
	if err := os.WriteFile(cfg.Text("database"), old, 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := VerifyLog(t.Context(), cfg, nil, nil); err != nil || !r.Sound() {
		t.Errorf("without the witness: %+v, %v", r, err)
	}
	if kinds := problems(t, cfg); len(kinds) != 1 || kinds[0] != string(audit.Truncated) {
		t.Errorf("rolled back: %q", kinds)
	}
	if _, err := Checkpoint(t.Context(), cfg, time.Now()); !errors.Is(err, audit.ErrForked) {
		t.Errorf("signed what was rolled back: %v", err)
	}
	logged(t, cfg, "zwei", "drei", "vier")
	if kinds := problems(t, cfg); len(kinds) != 1 || kinds[0] != string(audit.Rewritten) {
		t.Errorf("forked: %q", kinds)
	}
	if _, err := Checkpoint(t.Context(), cfg, time.Now()); !errors.Is(err, audit.ErrForked) {
		t.Errorf("signed the fork: %v", err)
	}
	if list, _, err := Witnessed(cfg.Text("witness")); err != nil || len(list) != 2 {
		t.Errorf("the witness has %d, %v", len(list), err)
	}
	d := &doctor{}
	d.keeping(t.Context(), cfg, time.Now())
	if c := d.checks[len(d.checks)-1]; c.State != CheckFail || !strings.Contains(c.Detail, "no longer holds") {
		t.Errorf("the doctor says %+v", c)
	}
}

// A crash may cut off the last line of a witness; the next goes below it, and what was
// there before counts.
func TestWitnessWithATornLine(t *testing.T) {
	cfg := aLog(t)
	if _, err := Checkpoint(t.Context(), cfg, time.Now()); err != nil {
		t.Fatal(err)
	}
	file := cfg.Text("witness")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(whole, whole[:len(whole)/2]...), 0o600); err != nil {
		t.Fatal(err)
	}
	logged(t, cfg, "one")
	if _, err := Checkpoint(t.Context(), cfg, time.Now()); err != nil {
		t.Fatal(err)
	}
	list, torn, err := Witnessed(file)
	if err != nil || len(list) != 2 || torn != 1 {
		t.Errorf("%d checkpoints, %d torn, %v", len(list), torn, err)
	}
	now, err := os.ReadFile(file)
	if err != nil || !bytes.HasPrefix(now, whole) {
		t.Errorf("what was there was changed: %v", err)
	}
	if err := os.WriteFile(file, []byte("{\"other\": 1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Witnessed(file); !errors.Is(err, audit.ErrCheckpoint) {
		t.Errorf("another file: %v", err)
	}
	if _, err := Checkpoint(t.Context(), cfg, time.Now()); !errors.Is(err, audit.ErrCheckpoint) {
		t.Errorf("signed beside it: %v", err)
	}
}

// A webhook gets every checkpoint, signed and in order, however often it fails before; the
// same one has the same identifier.
func TestWitnessWebhook(t *testing.T) {
	key := bytes.Repeat([]byte("k"), 32)
	keyFile := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(keyFile, append(key, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	var refuse atomic.Bool
	got := make(chan witnessNote, 10)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = notify.Verify(key, r.Header, body, time.Now(), time.Minute)
		}
		var n witnessNote
		if err == nil {
			err = json.Unmarshal(body, &n)
		}
		if err != nil || n.ID != r.Header.Get(notify.HeaderID) {
			t.Errorf("%s: %v", body, err)
		}
		if refuse.Load() {
			http.Error(w, "no", http.StatusServiceUnavailable)
			return
		}
		got <- n
	}))
	defer hook.Close()
	cfg := aLog(t)
	set(t, cfg, "witness-url", hook.URL+"/secret-path")
	if _, err := Checkpoint(t.Context(), cfg, time.Now()); !errors.Is(err, ErrConfig) {
		t.Errorf("without a key: %v", err)
	}
	set(t, cfg, "witness-key-file", keyFile)
	first, err := Checkpoint(t.Context(), cfg, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	a := <-got
	if a.Checkpoint != first {
		t.Errorf("%+v", a)
	}
	refuse.Store(true)
	logged(t, cfg, "one")
	second, err := Checkpoint(t.Context(), cfg, time.Now())
	if err == nil || second == "" || strings.Contains(err.Error(), "secret-path") {
		t.Errorf("while it refuses: %q, %v", second, err)
	}

	w, err := openWitnesses(cfg, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	m := newMirror(w, time.Now, slog.New(slog.NewTextHandler(&log, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { m.run(ctx); close(done) }()
	refuse.Store(false)
	for _, signed := range []string{first, second, second} {
		if err := m.take(signed); err != nil {
			t.Error(err)
		}
	}
	b, c := <-got, <-got
	if b.ID != a.ID || b.Checkpoint != first || c.Checkpoint != second {
		t.Errorf("%+v, %+v", b, c)
	}
	for range 100 { // the answer is noted right after
		if s := m.Status()["webhook"]; s.Given == 2 && s.Waiting == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	<-done
	if s := m.Status(); s["webhook"].Given != 2 || s["webhook"].Failed != 0 || s["webhook"].Waiting != 0 || s["file"].Given != 3 || len(got) > 0 {
		t.Errorf("%+v, %d more", s, len(got))
	}
}
