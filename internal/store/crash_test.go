package store_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/store/storetest"
)

// crashEnv names the database that a copy of this program writes to.
const crashEnv = "LEASTWISE_STORE_TEST_CRASH"

// crashKey is what the writer claims again and again.
func crashKey() store.FenceKey { return store.FenceKey{Kind: "account", Object: secdesc.GUID{7}} }

// writeUntilKilled claims a fence and logs its generation, each time in one
// transaction, and prints the generation after the commit.
func writeUntilKilled() {
	ctx := context.Background()
	s, err := store.Open(ctx, store.Options{Database: os.Getenv(crashEnv), Migrate: true, Exclusive: true})
	for err == nil {
		var g uint64
		err = s.Update(ctx, func(ctx context.Context, tx *store.Tx) error {
			if g, err = tx.Claim(ctx, crashKey(), "grants"); err != nil {
				return err
			}
			e := anEntry("mid-write")
			e.Action, e.Generation = "test.claim", g
			_, err = audit.Append(ctx, tx, e)
			return err
		})
		fmt.Println(g)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// A server that is killed with signal 9 in the middle of writing leaves no state
// without its entry and no entry without its state, loses nothing that it reported
// as committed, and its log verifies and goes on.
func TestKilledWriterLeavesStateAndLogTogether(t *testing.T) {
	const kills = 8
	storetest.Each(t, func(t *testing.T, d storetest.DB) {
		s := d.Open(t)
		for n := range kills {
			reported := runAndKill(t, d, time.Duration(30+37*n)*time.Millisecond)
			var f store.Fence
			var entries []audit.Entry
			view(t, s, func(ctx context.Context, tx *store.Tx) (err error) {
				if f, err = tx.Fence(ctx, crashKey()); err != nil {
					return err
				}
				entries, err = tx.AuditEntries(ctx, store.AuditFilter{Action: "test.claim"})
				return err
			})
			if f.Generation < reported {
				t.Errorf("generation %d was reported as committed, and %d is stored", reported, f.Generation)
			}
			if uint64(len(entries)) != f.Generation || entries[len(entries)-1].Generation != f.Generation {
				t.Errorf("generation %d, and %d entries", f.Generation, len(entries))
			}
			if r := verify(t, s, nil); !r.Sound() {
				t.Errorf("%+v", r.Problems)
			}
		}
	})
}

// runAndKill lets the writer run until it has reported a commit and some more time,
// kills it and returns the last generation that it reported.
func runAndKill(t *testing.T, d storetest.DB, more time.Duration) (last uint64) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), crashEnv+"="+d.Name)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var timer *time.Timer
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if timer == nil {
			timer = time.AfterFunc(more, func() { _ = cmd.Process.Kill() })
		}
		if n, err := strconv.ParseUint(lines.Text(), 10, 64); err == nil {
			last = n
		}
	}
	_ = cmd.Wait() // killed
	if last == 0 {
		t.Fatal("the writer reported nothing")
	}
	return last
}
