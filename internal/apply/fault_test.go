//go:build linux

package apply

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/plan"
	"github.com/leastwise/leastwise/lab/labtest"
	"github.com/leastwise/leastwise/lab/samba"
)

// A fault is what a proxy does to the next request.
type fault string

const (
	none      fault = ""
	cutBefore fault = "cut before the effect"      // the request does not reach the server
	cutAfter  fault = "cut after the effect"       // the server's answer does not reach the client
	swallow   fault = "answer late, then cut"      // the client's patience ends first
	cutTwice  fault = "cut after the effect twice" // the first repetition, too
	cutOften  fault = "cut before, always"         // no request reaches the server
)

// A proxy stands between the Writer and port 389 of a domain controller.
type proxy struct {
	t  *testing.T
	ln net.Listener
	to string
	wg sync.WaitGroup

	mu    sync.Mutex
	armed []fault // for the next requests; the last of cutOften stays
	conns []net.Conn
	cuts  int
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, ln: ln, to: to}
	p.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p
}

// dial sends what is for LDAP through the proxy.
func (p *proxy) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if strings.HasSuffix(addr, ":389") && network == "tcp" {
		addr = p.ln.Addr().String()
	}
	return (&net.Dialer{}).DialContext(ctx, network, addr)
}

func (p *proxy) arm(f ...fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = f
}

// take returns the fault of the next request.
func (p *proxy) take() fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.armed) == 0 {
		return none
	}
	f := p.armed[0]
	if f != cutOften {
		p.armed = p.armed[1:]
	}
	p.cuts++
	return f
}

// serve passes requests on; each write of the client is one, because a client writes a
// sealed message at once and waits for the answer.
func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	p.conns = append(p.conns, client, server)
	p.mu.Unlock()
	var blind sync.Mutex
	cut := false
	p.wg.Go(func() { // answers
		b := make([]byte, 1<<16)
		for {
			n, err := server.Read(b)
			blind.Lock()
			if cut {
				_ = client.Close()
				blind.Unlock()
				return
			}
			if n > 0 {
				_, _ = client.Write(b[:n])
			}
			blind.Unlock()
			if err != nil {
				_ = client.Close()
				return
			}
		}
	})
	b := make([]byte, 1<<16)
	for {
		n, err := client.Read(b)
		if n > 0 {
			f := p.take()
			switch f {
			case cutBefore, cutOften:
				return
			case cutAfter, cutTwice, swallow:
				blind.Lock()
				cut = true
				blind.Unlock()
			}
			if f == swallow {
				_, _ = server.Write(b[:n])
				_, _ = io.Copy(io.Discard, client) // until the client gives up
				return
			}
			if _, err := server.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// Answers are lost before and after the effect: the run settles what became of each
// write by reading, or says that it does not know and settles it when called again.
func TestLostAnswers(t *testing.T) {
	y := newYard(t, labtest.Start(t, labtest.Options{}))
	g, anna, bert := y.group("g"), y.user("anna"), y.user("bert")
	y.modify(g.DN, "member", bert.DN)
	changes := []plan.Change{
		{Kind: plan.AddMember, Object: g, Member: &anna},
		{Kind: plan.RemoveMember, Object: g, Member: &bert},
		{Kind: plan.DisableAccount, Object: bert},
		{Kind: plan.SetExpiry, Object: bert, Expires: ptrExpiry(2031)},
		{Kind: plan.ResetPassword, Object: anna},
		{Kind: plan.GrantEntry, Object: g, Entry: entry(t, writeMember, anna.SID)},
	}
	state := func() string {
		return fmt.Sprint(y.members(g), y.number(bert, "userAccountControl"), y.number(bert, "accountExpires"), y.hasEntry(g, changes[5].Entry))
	}
	before := state()
	px := newProxy(t, y.lab.DCs()[0].Address+":389")
	cfg := y.config(y.lab.Admin)
	cfg.Dial, cfg.Timeout = px.dial, 3*time.Second
	d := y.open(cfg)
	for _, f := range []fault{cutBefore, cutAfter, cutTwice, swallow, cutOften} {
		for _, c := range changes {
			if f == swallow && c.Kind != plan.AddMember {
				continue // it takes the client's patience
			}
			t.Run(string(f)+"/"+string(c.Kind), func(t *testing.T) {
				p := y.plan(c)
				j := &memory{}
				writes := 0
				r := &Run{Directory: d, Journal: j, Now: time.Now, Password: newPassword}
				r.Progress = func(s Step) {
					if s.Name != StepWrite || s.Undo {
						return
					}
					writes++
					switch {
					case f == cutOften, writes == 1, writes == 2 && f == cutTwice:
						px.arm(f)
						switch c.Kind {
						case plan.GrantEntry, plan.ResetPassword, plan.DisableAccount, plan.SetExpiry: // they read first
							px.arm(none, f)
						}
					}
				}
				rep, err := r.Apply(t.Context(), p, p.Digest())
				px.arm()
				lost := slices.ContainsFunc(j.entries, func(e Entry) bool { return e.Result == Uncertain })
				if f == cutOften {
					if !errors.Is(err, ErrStopped) || rep.Changes[0].Result != Uncertain || writes != 1 {
						t.Fatalf("%v %+v, %d writes", err, rep, writes)
					}
					if got := state(); got != before {
						t.Fatalf("nothing reached the server, but %s", got)
					}
					r.Progress = nil
					if rep, err = r.Apply(t.Context(), p, p.Digest()); err != nil {
						t.Fatal(err)
					}
				}
				if err != nil || rep.Changes[0].Result != Done || !rep.Changes[0].Verified || !lost {
					t.Fatalf("%v %+v, an answer was lost: %t", err, rep, lost)
				}
				if again := c.Kind == plan.ResetPassword || f == cutBefore; f != cutOften && f != cutTwice && again != (writes == 2) {
					t.Errorf("%d writes", writes)
				}
				if c.Kind != plan.ResetPassword && state() == before {
					t.Error("it says done, and is not")
				}
				if _, err := r.Undo(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := state(); got != before {
					t.Errorf("undone: %s, want %s", got, before)
				}
			})
		}
	}
	if px.cuts < 20 {
		t.Errorf("%d faults only", px.cuts)
	}
	t.Logf("%d requests or answers were lost", px.cuts)
}

// A domain controller stops in the middle of a plan and is started again.
func TestStopped(t *testing.T) {
	y := newYard(t, labtest.Start(t, labtest.Options{Fresh: true}))
	g := y.group("g")
	var changes []plan.Change
	for i := range 4 {
		u := y.user(fmt.Sprintf("u%d", i))
		changes = append(changes, plan.Change{Kind: plan.AddMember, Object: g, Member: &u})
	}
	y.lab.Converge()
	p := y.plan(changes...)
	cfg := y.config(y.lab.Admin)
	cfg.Server, cfg.Timeout = "", 5*time.Second // both may be written to
	d := y.open(cfg)
	n := slices.IndexFunc(y.lab.DCs(), func(h samba.Host) bool { return h.FQDN == d.w.ServerFor(g.GUID).Name }) + 1
	j := &memory{}
	r := &Run{Directory: d, Journal: j, Now: time.Now}
	r.Progress = func(s Step) {
		if s.Change == 3 && s.Name == StepWrite {
			y.lab.StopDC(n)
		}
	}
	rep, err := r.Apply(t.Context(), p, p.Digest())
	if !errors.Is(err, ErrStopped) || rep.Count(Done) != 2 || rep.Changes[3].Result != "" {
		t.Fatalf("%v %+v", err, rep)
	}
	if got := rep.Changes[2].Result; got != Failed && got != Uncertain {
		t.Errorf("the change during which it stopped is %s", got)
	}
	r.Progress = nil
	if rep, err = r.Apply(t.Context(), p, p.Digest()); !errors.Is(err, ErrStopped) || rep.Changes[0].Result != Done || !rep.Changes[0].Earlier {
		t.Errorf("while it is away: %v %+v", err, rep)
	}
	if s := d.w.ServerFor(g.GUID); s.Name != y.lab.DCs()[n-1].FQDN {
		t.Errorf("the group moved to %s", s)
	}
	y.lab.StartDC(n)
	if rep = apply(t, r, p); rep.Count(Done) != 4 {
		t.Errorf("%+v", rep)
	}
	for _, e := range j.entries {
		if e.Server != "" && e.Server != y.lab.DCs()[n-1].FQDN {
			t.Errorf("entry %d was made on %s", e.Number, e.Server)
		}
	}
	if list := awaitReplicas(t, d, p.Changes[3]); len(list) != 1 || list[0].State != dc.ReplicaArrived {
		t.Errorf("%+v", list)
	}
	y.reconnect()
	if got := y.members(g); len(got) != 4 {
		t.Errorf("members %q", got)
	}
}

// An entry that is not durable is not carried out; what is done and cannot be noted is
// found at the next call.
func TestJournalFails(t *testing.T) {
	y := newYard(t, labtest.Start(t, labtest.Options{}))
	g, anna := y.group("g"), y.user("anna")
	p := y.plan(plan.Change{Kind: plan.AddMember, Object: g, Member: &anna})
	for failAt, in := range map[int]int{1: 0, 2: 0, 3: 1} { // begun, intent, outcome
		r, j := y.run()
		j.failAt = failAt
		if _, err := r.Apply(t.Context(), p, p.Digest()); !errors.Is(err, errFull) {
			t.Errorf("%d: %v", failAt, err)
		}
		if got := y.members(g); len(got) != in {
			t.Errorf("entry %d failed: members %q", failAt, got)
		}
		j.failAt = 0
		if rep := apply(t, r, p); rep.Changes[0].Result != Done {
			t.Errorf("%d: %+v", failAt, rep)
		}
		if _, err := r.Undo(t.Context()); err != nil || len(y.members(g)) != 0 {
			t.Errorf("%d: %v, members %q", failAt, err, y.members(g))
		}
	}
}

// A run that is interrupted finishes and notes the write in flight, and goes on later.
func TestInterrupted(t *testing.T) {
	y := newYard(t, labtest.Start(t, labtest.Options{}))
	g, anna, bert := y.group("g"), y.user("anna"), y.user("bert")
	p := y.plan(
		plan.Change{Kind: plan.AddMember, Object: g, Member: &anna},
		plan.Change{Kind: plan.AddMember, Object: g, Member: &bert},
	)
	r, _ := y.run()
	ctx, cancel := context.WithCancel(t.Context())
	r.Progress = func(s Step) {
		if s.Name == StepWrite {
			cancel()
		}
	}
	rep, err := r.Apply(ctx, p, p.Digest())
	if !errors.Is(err, context.Canceled) || !errors.Is(err, ErrStopped) || rep.Changes[0].Result != Done || rep.Changes[1].Result != "" || len(y.members(g)) != 1 {
		t.Fatalf("%v %+v", err, rep)
	}
	r.Progress = nil
	if rep := apply(t, r, p); rep.Count(Done) != 2 || !rep.Changes[0].Earlier {
		t.Errorf("%+v", rep)
	}
}
