package samba

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A process is the outermost process of a host (unshare), which holds the
// host's namespaces. The start time tells it from a later process that got the
// same number.
type process struct {
	PID int `json:"pid"`
	// Started is the start time in clock ticks since boot (/proc/PID/stat, 22).
	Started uint64 `json:"started"`
	// Namespace is the host's process namespace ("pid:[4026532281]").
	Namespace string `json:"namespace"`
}

// start starts h. It returns when the host's first process runs, not when it
// serves. If leash is not nil the host ends when the other end of it closes.
func (l *Lab) start(h Host, leash *os.File) error {
	if p, err := l.process(h); err != nil {
		return err
	} else if p != nil {
		return nil
	}
	for _, d := range []string{"run", "log", "cache", "state", "lock", "data"} {
		if err := os.MkdirAll(filepath.Join(h.Dir, d), 0o755); err != nil {
			return fmt.Errorf("starting %s: %w", h.Name, err)
		}
	}
	if err := clearRun(h); err != nil {
		return err
	}
	out, err := os.OpenFile(filepath.Join(h.Dir, "log", "init.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("starting %s: %w", h.Name, err)
	}
	defer out.Close()
	cmd := exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc",
		"--", l.path("init.sh"), l.Dir, h.Dir, string(h.Role))
	cmd.Dir = "/"
	cmd.Env = l.environ()
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if leash != nil {
		cmd.Env = append(cmd.Env, "LAB_LEASH=1")
		cmd.ExtraFiles = []*os.File{leash}
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", h.Name, err)
	}
	p, err := describe(cmd.Process.Pid)
	if err == nil {
		err = l.saveProcess(h, p)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("starting %s: %w", h.Name, err), cmd.Process.Kill(), cmd.Wait())
	}
	// A host that outlives this program has init as its parent; one that does
	// not must not stay a zombie. Nothing waits for this goroutine by design: it
	// ends with the host or with the program.
	go func() { _ = cmd.Wait() }()
	return nil
}

// StartHost starts h, if it does not run, and waits until it serves. If leash is
// not nil the host ends when every writing end of that pipe is closed.
func (l *Lab) StartHost(ctx context.Context, h Host, leash *os.File) error {
	if err := l.start(h, leash); err != nil {
		return err
	}
	return l.waitHost(ctx, h)
}

// StopHost ends h, gently or at once as a failing machine would, and waits until
// nothing of it is left.
func (l *Lab) StopHost(ctx context.Context, h Host, gently bool) error {
	return l.stop(ctx, h, gently)
}

// clearRun removes the sockets and process numbers of an earlier run of h: the
// numbers start again at 1 in each namespace, and Samba would take them for
// living processes.
func clearRun(h Host) error {
	for _, d := range []string{"run", "msg.lock", "msg.sock", "private/msg.sock", "lock/msg.lock", "names.tdb", "lock/names.tdb"} {
		p := filepath.Join(h.Dir, d)
		if err := os.RemoveAll(p); err != nil {
			return fmt.Errorf("clearing the last run of %s: %w", h.Name, err)
		}
	}
	if err := os.MkdirAll(filepath.Join(h.Dir, "run"), 0o755); err != nil {
		return fmt.Errorf("clearing the last run of %s: %w", h.Name, err)
	}
	return nil
}

// describe reads what identifies a process that was just started with unshare.
// The namespace of its children appears a moment after the start.
func describe(pid int) (*process, error) {
	own, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return nil, fmt.Errorf("reading the process namespace: %w", err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid_for_children", pid))
		if err == nil && ns != own {
			started, err := startTime(pid)
			return &process{PID: pid, Started: started, Namespace: ns}, err
		}
		if time.Now().After(deadline) {
			why := fmt.Errorf("process %d made no process namespace of its own (does this machine allow unshare?)", pid)
			return nil, errors.Join(why, err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// startTime returns when a process was started, in ticks since boot.
func startTime(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field is the program's name in parentheses and may hold anything.
	text := string(b)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 || fields[0] == "Z" { // a zombie has ended
		return 0, fs.ErrNotExist
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

func (l *Lab) processFile(h Host) string { return filepath.Join(h.Dir, "process.json") }

func (l *Lab) saveProcess(h Host, p *process) error {
	b, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("describing the process of %s: %w", h.Name, err)
	}
	return writeFile(l.processFile(h), string(b)+"\n", 0o644)
}

// process returns the running process of h, nil if it does not run.
func (l *Lab) process(h Host) (*process, error) {
	b, err := os.ReadFile(l.processFile(h))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the process of %s: %w", h.Name, err)
	}
	p := new(process)
	if err := json.Unmarshal(b, p); err != nil {
		return nil, fmt.Errorf("reading %s: %w", l.processFile(h), err)
	}
	if !p.alive() {
		return nil, nil
	}
	return p, nil
}

// alive tells whether p runs: not if it is gone, nor if its number belongs to
// somebody else now.
func (p *process) alive() bool {
	started, err := startTime(p.PID)
	return err == nil && started == p.Started
}

// members returns the processes inside p's process namespace.
func (p *process) members() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue // not a process
		}
		ns, err := os.Readlink(filepath.Join("/proc", e.Name(), "ns", "pid"))
		if err == nil && ns == p.Namespace {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// stop ends h and waits until nothing of it is left. With grace it first asks
// the host to end by itself, for at most 5 s. A host that does not run is done.
func (l *Lab) stop(ctx context.Context, h Host, grace bool) error {
	p, err := l.process(h)
	if err != nil || p == nil {
		return err
	}
	if grace {
		// The namespace's first process is the child of p; asking all members is
		// asking it and its children.
		pids, err := p.members()
		if err != nil {
			return err
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGTERM) // it may have ended meanwhile
		}
		if gone, err := l.waitGone(ctx, h, p, 5*time.Second); gone || err != nil {
			return err
		}
	}
	// unshare was started with --kill-child: its end is the end of the
	// namespace's first process, and that is the end of the whole namespace.
	if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stopping %s: %w", h.Name, err)
	}
	gone, err := l.waitGone(ctx, h, p, 10*time.Second)
	if err == nil && !gone {
		err = fmt.Errorf("stopping %s: process %d or a member of its namespace %s does not end", h.Name, p.PID, p.Namespace)
	}
	return err
}

// waitGone waits until neither p nor a member of its namespace is left.
func (l *Lab) waitGone(parent context.Context, h Host, p *process, limit time.Duration) (bool, error) {
	ctx, cancel := context.WithTimeout(parent, limit)
	defer cancel()
	for {
		left, err := p.members()
		if err != nil {
			return false, err
		}
		if len(left) == 0 && !p.alive() {
			if err := os.Remove(l.processFile(h)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return true, fmt.Errorf("stopping %s: %w", h.Name, err)
			}
			return true, nil
		}
		select {
		case <-ctx.Done():
			return false, parent.Err() // nil if only the limit has passed
		case <-time.After(10 * time.Millisecond):
		}
	}
}
