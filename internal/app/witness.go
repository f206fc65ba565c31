package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/notify"
	"github.com/leastwise/leastwise/internal/store"
)

// Witnesses are where checkpoints of the audit log go that whoever runs the database
// should not be able to change: a file that is appended to, and a webhook.
type witnesses struct {
	file string          // empty: none
	hook *notify.Webhook // nil: none
}

// openWitnesses reads the configuration.
func openWitnesses(cfg *Config, now func() time.Time) (*witnesses, error) {
	w := &witnesses{file: cfg.Text("witness")}
	url, keyFile := cfg.Text("witness-url"), cfg.Text("witness-key-file")
	switch {
	case url == "" && keyFile == "":
		return w, nil
	case url == "" || keyFile == "":
		return nil, fmt.Errorf("%w: witness-url and witness-key-file belong together", ErrConfig)
	}
	key, err := ReadFile(keyFile)
	if err != nil {
		return nil, fmt.Errorf("%w: reading the key of the witness %s: %w", ErrConfig, keyFile, err)
	}
	w.hook, err = notify.NewWebhook(notify.WebhookSettings{Name: "witness", URL: url, Key: bytes.TrimRight(key, "\r\n"), Now: now})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return w, nil
}

// seen returns the newest checkpoint that the file has, empty if it has none yet.
func (w *witnesses) seen() (string, error) {
	if w.file == "" {
		return "", nil
	}
	list, _, err := readWitness(w.file)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(list) == 0 {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return list[len(list)-1], nil
}

// readWitness reads a witness file. torn counts lines that a crash has cut off.
func readWitness(file string) (list []string, torn int, err error) {
	data, err := ReadFile(file)
	if err == nil {
		list, torn, err = audit.ReadWitness(data)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("reading the witness %s: %w", file, err)
	}
	return list, torn, nil
}

// sign signs the log as it is. It refuses to sign one that does not begin with what the
// witness has: an older database was put in the place of the present one, or the log was
// written anew.
func sign(ctx context.Context, s *store.Store, signer *audit.Signer, w *witnesses, now time.Time) (signed string, err error) {
	seen, err := w.seen()
	if err != nil {
		return "", err
	}
	err = s.Update(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		if err := audit.Holds(ctx, tx, seen, signer.Keys()...); err != nil {
			return fmt.Errorf("the newest checkpoint of the witness %s: %w", w.file, err)
		}
		if err := noteSigner(ctx, tx, signer, now); err != nil {
			return err
		}
		signed, err = audit.MakeCheckpoint(ctx, tx, signer, now)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("signing the audit log: %w", err)
	}
	return signed, nil
}

// appendWitness appends a checkpoint to a file unless it is its last line.
func appendWitness(file, signed string) error {
	line, err := audit.CheckpointLine(signed)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return writeError(file, err)
	}
	tail, err := lastBytes(f, len(line))
	switch {
	case err != nil:
		return writeError(file, errors.Join(err, f.Close()))
	case bytes.Equal(tail, line):
		return writeError(file, f.Close())
	case len(tail) > 0 && tail[len(tail)-1] != '\n': // cut off by a crash
		line = append([]byte{'\n'}, line...)
	}
	_, err = f.Write(line)
	return writeError(file, errors.Join(err, f.Sync(), f.Close()))
}

// lastBytes returns the last n bytes of a file, or all of it.
func lastBytes(f *os.File, n int) ([]byte, error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	tail := make([]byte, min(int64(n), fi.Size()))
	_, err = f.ReadAt(tail, fi.Size()-int64(len(tail)))
	return tail, err
}

// A witnessNote is what the webhook is sent.
type witnessNote struct {
	ID         string    `json:"id"` // of the checkpoint: the same however often it is sent
	Time       time.Time `json:"time"`
	Checkpoint string    `json:"checkpoint"`
}

// post sends a checkpoint to the webhook.
func (w *witnesses) post(ctx context.Context, signed string, now time.Time) error {
	sum := sha256.Sum256([]byte(signed))
	n := witnessNote{ID: hex.EncodeToString(sum[:16]), Time: now.UTC(), Checkpoint: signed}
	if err := w.hook.Post(ctx, n.ID, n); err != nil {
		return fmt.Errorf("telling the witness: %w", err)
	}
	return nil
}

// give hands a checkpoint to the file and to the webhook, and says what failed.
func (w *witnesses) give(ctx context.Context, signed string, now time.Time) error {
	var errs []error
	if w.file != "" {
		errs = append(errs, appendWitness(w.file, signed))
	}
	if w.hook != nil {
		errs = append(errs, w.post(ctx, signed, now))
	}
	return errors.Join(errs...)
}

// Timing of the webhook of a server.
const (
	witnessWait = 30 * time.Second // bounds one try
	witnessMost = 200              // checkpoints that wait for it at most; the oldest are dropped
)

// A mirror gives the checkpoints of a server to its witnesses: to the file at once, to
// the webhook in their order, as often as it takes.
type mirror struct {
	w    *witnesses
	now  func() time.Time
	log  *slog.Logger
	wake chan struct{}

	mu     sync.Mutex
	queue  []string // for the webhook
	last   string   // that was queued last
	status map[string]WitnessStatus
}

// WitnessStatus is how a witness is doing.
type WitnessStatus struct {
	Given, Failed int64
	Waiting       int
	Fault         string // of the last try, empty if it went well
}

func newMirror(w *witnesses, now func() time.Time, log *slog.Logger) *mirror {
	m := &mirror{w: w, now: now, log: log, wake: make(chan struct{}, 1), status: map[string]WitnessStatus{}}
	if w.file != "" {
		m.status["file"] = WitnessStatus{}
	}
	if w.hook != nil {
		m.status["webhook"] = WitnessStatus{}
	}
	return m
}

// Status says how the witnesses are doing, by "file" and "webhook".
func (m *mirror) Status() map[string]WitnessStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]WitnessStatus{}
	for k, v := range m.status {
		if k == "webhook" {
			v.Waiting = len(m.queue)
		}
		out[k] = v
	}
	return out
}

func (m *mirror) note(which string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.status[which]
	s.Fault = ""
	if err != nil {
		s.Failed++
		s.Fault = err.Error()
	} else {
		s.Given++
	}
	m.status[which] = s
}

// take is given every checkpoint that the server signs, the newest again if nothing was
// logged since.
func (m *mirror) take(signed string) error {
	if m.w.hook != nil {
		m.enqueue(signed)
	}
	if m.w.file == "" {
		return nil
	}
	err := appendWitness(m.w.file, signed)
	m.note("file", err)
	return err
}

func (m *mirror) enqueue(signed string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if signed == m.last {
		return
	}
	m.last = signed
	m.queue = append(m.queue, signed)
	if n := len(m.queue) - witnessMost; n > 0 {
		m.queue = append([]string(nil), m.queue[n:]...)
	}
	signal(m.wake)
}

func (m *mirror) first() (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.queue) == 0 {
		return "", false
	}
	return m.queue[0], true
}

// sent takes a checkpoint out of the queue, unless it was dropped meanwhile.
func (m *mirror) sent(signed string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.queue) > 0 && m.queue[0] == signed {
		m.queue = m.queue[1:]
	}
}

// run sends to the webhook until ctx ends.
func (m *mirror) run(ctx context.Context) {
	failures := 0
	for {
		signed, some := m.first()
		if !some {
			select {
			case <-ctx.Done():
				return
			case <-m.wake:
			}
			continue
		}
		trying, cancel := context.WithTimeout(ctx, witnessWait)
		err := m.w.post(trying, signed, m.now())
		cancel()
		if ctx.Err() != nil {
			return
		}
		m.note("webhook", err)
		if err == nil {
			m.sent(signed)
			failures = 0
			continue
		}
		failures++
		m.log.Error("a checkpoint of the audit log did not reach its witness", "attempts", failures, "error", err.Error())
		if !pauseFor(ctx, notify.Pause(failures, err)) {
			return
		}
	}
}

// pauseFor waits, and reports whether ctx still lives.
func pauseFor(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
