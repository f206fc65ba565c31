//go:build linux

package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/plan"
	"github.com/leastwise/leastwise/lab/labtest"
)

// childVariable makes this test's program a child that is killed; it holds an order.
const childVariable = "LEASTWISE_APPLY_CHILD"

// An order tells a child what to do.
type order struct {
	Domain   string
	DNS      string
	Server   string
	CA       string
	User     string
	Password string // file
	Plan     string // file
	Journal  string // file
	Undo     bool
	KillAt   int  // number of the step at which it kills itself; 0: never
	InFlight bool // at a write: kill when the request has been sent
}

// child carries an order out and is killed by itself, with -9, at a step.
func child() {
	if err := serve(os.Getenv(childVariable)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func serve(text string) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	pw, err := os.ReadFile(o.Password)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(o.Plan)
	if err != nil {
		return err
	}
	p, err := plan.Parse(b)
	if err != nil {
		return err
	}
	j, err := OpenFile(o.Journal)
	if err != nil {
		return err
	}
	var fuse killer
	d, err := Open(context.Background(), dc.Config{
		Domain: o.Domain, DNS: o.DNS, Server: o.Server, CAFile: o.CA, Timeout: 20 * time.Second,
		Credentials: dc.Password(o.User, string(trimNewline(pw))), Dial: fuse.dial,
	})
	if err != nil {
		return err
	}
	r := &Run{Directory: d, Journal: j, Now: time.Now, Password: newPassword, Progress: func(s Step) {
		if s.Number != o.KillAt {
			return
		}
		if o.InFlight && s.Name == StepWrite {
			fuse.lit = true // the name is not printed: nothing must come before the write
			return
		}
		fmt.Print(s.Name)
		kill()
	}}
	if o.Undo {
		_, err = r.Undo(context.Background())
	} else {
		_, err = r.Apply(context.Background(), p, p.Digest())
	}
	return err
}

func trimNewline(b []byte) []byte {
	for len(b) > 0 && (b[len(b)-1] == '\n' || b[len(b)-1] == '\r') {
		b = b[:len(b)-1]
	}
	return b
}

// kill ends this process as a failing machine would.
func kill() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// A killer ends the process right after a request has left it.
type killer struct{ lit bool }

type killedConn struct {
	net.Conn
	k *killer
}

func (k *killer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil || network != "tcp" { // a resolver asks a datagram socket what it is
		return c, err
	}
	return &killedConn{c, k}, nil
}

func (c *killedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if c.k.lit {
		kill()
	}
	return n, err
}

// A process is killed at every step of applying and of undoing, and once more with the
// request on its way; the next one converges, whether it finishes or undoes.
func TestKilledAtEveryStep(t *testing.T) {
	y := newYard(t, labtest.Start(t, labtest.Options{}))
	g, anna, bert := y.group("g"), y.user("anna"), y.user("bert")
	y.modify(g.DN, "member", bert.DN)
	p := y.plan(
		plan.Change{Kind: plan.ResetPassword, Object: anna},
		plan.Change{Kind: plan.AddMember, Object: g, Member: &anna},
		plan.Change{Kind: plan.RemoveMember, Object: g, Member: &bert},
		plan.Change{Kind: plan.DisableAccount, Object: bert},
		plan.Change{Kind: plan.GrantEntry, Object: g, Entry: entry(t, writeMember, anna.SID)},
		plan.Change{Kind: plan.CreateObject, Object: y.container(), New: &plan.NewObject{Class: plan.ClassUser, Name: "new", Account: "new-" + y.ou[9:15], Flags: 0x202}},
	)
	state := func() string {
		return fmt.Sprint(y.members(g), y.number(bert, "userAccountControl"), y.hasEntry(g, p.Changes[4].Entry), y.exists("CN=new,"+y.ou))
	}
	before := state()
	w := &killing{y: y, p: p, dir: t.TempDir()}
	if err := os.WriteFile(filepath.Join(w.dir, "plan.json"), p.JSON(), 0o600); err != nil {
		t.Fatal(err)
	}
	killed, after := 0, ""
	for step := 1; ; step++ {
		w.begin()
		if !w.run(false, step, false) {
			after = state()
			w.undo()
			break // there are no more steps
		}
		killed++
		w.finish() // what was begun is finished …
		if got := state(); after != "" && got != after {
			t.Fatalf("killed at step %d, finished: %s, want %s", step, got, after)
		} else {
			after = got
		}
		w.undo()
		if got := state(); got != before {
			t.Fatalf("killed at step %d, finished and undone: %s, want %s", step, got, before)
		}
		w.begin() // … or undone at once, and that killed, too
		for _, inFlight := range []bool{false, true} {
			if inFlight && w.at != StepWrite {
				continue
			}
			w.run(false, step, inFlight)
			if w.begun() {
				w.run(true, step, inFlight)
				w.undo()
			}
			if got := state(); got != before {
				t.Fatalf("killed at step %d (in flight: %t) and undone: %s, want %s", step, inFlight, got, before)
			}
			w.begin()
		}
	}
	if killed < 4*len(p.Changes)+2 || after == before {
		t.Errorf("killed at %d steps only, or nothing changes: %s", killed, after)
	}
	t.Logf("killed at %d steps; %d processes were killed", killed, w.kills)
}

// A killing runs children.
type killing struct {
	y     *yard
	p     *plan.Plan
	dir   string
	n     int
	kills int
	at    StepName // where the last child was killed, unless its request was on the way
}

func (w *killing) journal() string { return filepath.Join(w.dir, fmt.Sprintf("journal-%d", w.n)) }

// begin takes a new journal.
func (w *killing) begin() { w.n++ }

// begun reports whether the journal holds a plan.
func (w *killing) begun() bool {
	fi, err := os.Stat(w.journal())
	return err == nil && fi.Size() > 0
}

// run runs a child and reports whether it was killed.
func (w *killing) run(undo bool, killAt int, inFlight bool) bool {
	t := w.y.t
	t.Helper()
	l := w.y.lab
	o := order{
		Domain: l.Domain, DNS: l.DNS, Server: l.DCs()[0].FQDN, CA: l.CAFile, User: l.Admin.Name, Password: l.Admin.PasswordFile,
		Plan: filepath.Join(w.dir, "plan.json"), Journal: w.journal(), Undo: undo, KillAt: killAt, InFlight: inFlight,
	}
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if s, ok := exit.Sys().(syscall.WaitStatus); ok && s.Signal() == syscall.SIGKILL {
			w.kills++
			w.at = StepName(out)
			return true
		}
	}
	if err != nil {
		t.Fatalf("step %s: %v\n%s", strconv.Itoa(killAt), err, out)
	}
	return false
}

// finish applies what the journal has begun, in this process.
func (w *killing) finish() {
	w.y.t.Helper()
	w.here(func(r *Run) error {
		_, err := r.Apply(w.y.t.Context(), w.p, w.p.Digest())
		return err
	})
}

// undo takes back what the journal says, in this process.
func (w *killing) undo() {
	w.y.t.Helper()
	w.here(func(r *Run) error {
		_, err := r.Undo(w.y.t.Context())
		return err
	})
}

func (w *killing) here(do func(*Run) error) {
	t := w.y.t
	t.Helper()
	j, err := OpenFile(w.journal())
	if err != nil {
		t.Fatal(err)
	}
	d, err := Open(t.Context(), w.y.config(w.y.lab.Admin))
	if err != nil {
		t.Fatal(err)
	}
	if err := do(&Run{Directory: d, Journal: j, Now: time.Now, Password: newPassword}); err != nil {
		t.Errorf("journal %d: %v", w.n, err)
	}
	if err := errors.Join(d.Close(), j.Close()); err != nil {
		t.Error(err)
	}
}
