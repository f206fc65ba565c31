package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A process is a node.
type process struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	dead chan struct{}
	ours atomic.Bool // this program killed it

	mu      sync.Mutex
	step    string // at which it died
	n       int
	waiting map[int]chan reply
}

var errDead = errors.New("the node died")

// spawn starts a node and returns when it works, or has died.
func spawn(set nodeSettings) (*process, error) {
	text, err := json.Marshal(set)
	if err != nil {
		return nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(exe), dead: make(chan struct{}), waiting: map[int]chan reply{}}
	p.cmd.Env = append(os.Environ(), nodeVariable+"="+string(text))
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	ready := make(chan reply, 1)
	p.waiting[0] = ready
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.read(out)
	select {
	case <-ready:
	case <-p.dead:
	case <-time.After(60 * time.Second):
		p.kill()
		return nil, errors.New("a node does not start")
	}
	return p, nil
}

func (p *process) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var r reply
		if json.Unmarshal(lines.Bytes(), &r) != nil {
			continue
		}
		p.mu.Lock()
		if r.Died != "" {
			p.step = r.Died
		}
		if c := p.waiting[r.N]; c != nil {
			c <- r
			delete(p.waiting, r.N)
		}
		p.mu.Unlock()
	}
	_ = p.cmd.Wait()
	close(p.dead)
}

func (p *process) alive() bool {
	select {
	case <-p.dead:
		return false
	default:
		return true
	}
}

// ask sends an order and waits for its answer.
func (p *process) ask(o order, wait time.Duration) (reply, error) {
	c := make(chan reply, 1)
	p.mu.Lock()
	p.n++
	o.N = p.n
	p.waiting[o.N] = c
	b, err := json.Marshal(o)
	if err == nil {
		_, err = p.in.Write(append(b, '\n'))
	}
	p.mu.Unlock()
	if err != nil {
		return reply{}, errDead
	}
	select {
	case r := <-c:
		return r, nil
	case <-p.dead:
		return reply{}, errDead
	case <-time.After(wait):
		return reply{}, errors.New("no answer")
	}
}

// diedAt returns the step at which a dead node died; empty: at none.
func (p *process) diedAt() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.step
}

// killed reports whether a dead node was killed, by itself or another.
func (p *process) killed() bool {
	s, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && s.Signaled() && s.Signal() == syscall.SIGKILL
}

func (p *process) kill() {
	p.ours.Store(true)
	_ = p.cmd.Process.Kill()
	<-p.dead
}

// stand stops the process for a while, as a machine that swaps or is moved.
func (p *process) stand(d time.Duration) {
	_ = p.cmd.Process.Signal(syscall.SIGSTOP)
	time.Sleep(d)
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
}
