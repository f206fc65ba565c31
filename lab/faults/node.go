package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/apply"
	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/internal/store"
)

// nodeVariable holds the settings of a node process; it marks one.
const nodeVariable = "LEASTWISE_FAULTS_NODE"

// nodeSettings tell a node process what it is.
type nodeSettings struct {
	Database  string
	Policies  string // file
	Domain    string
	DNS       string
	Server    string
	CA        string            // of the proxy
	Proxies   map[string]string // where addresses of domain controllers lead to
	User      string
	Secret    string        // file with the password
	DC, Wall  time.Duration // how far the clocks are off
	Kill      []string      // labels of the steps to die at, whichever comes first
	KillAt    int64         // at the how many-eth of their occurrences
	Exclusive bool
}

// An order tells a node to do something.
type order struct {
	N      int         `json:"n"` // answers carry it
	Op     string      `json:"op"`
	Grant  grant.ID    `json:"grant,omitempty"`
	Policy string      `json:"policy,omitempty"`
	By     grant.Party `json:"by"`
	Event  grant.Event `json:"event,omitempty"`
	DC     time.Duration
	Wall   time.Duration
	Seq    int64 // of clocks: an earlier order that comes later is not obeyed
	For    time.Duration
}

// A reply answers an order.
type reply struct {
	N     int         `json:"n"`
	State grant.State `json:"state,omitempty"`
	Err   string      `json:"err,omitempty"`
	Final bool        `json:"final,omitempty"` // asking again would not help
	Died  string      `json:"died,omitempty"`  // the step at which the node dies now
	// Status is how the node is doing.
	Status string `json:"status,omitempty"`
	Works  bool   `json:"works,omitempty"` // it has compared everything once since it was started
}

// node is the program of a node process.
func node(text string, in io.Reader, out io.Writer) error {
	var set nodeSettings
	if err := json.Unmarshal([]byte(text), &set); err != nil {
		return err
	}
	data, err := os.ReadFile(set.Policies)
	if err != nil {
		return err
	}
	policies, err := grant.ParsePolicies(set.Policies, data)
	if err != nil {
		return err
	}
	secret, err := os.ReadFile(set.Secret)
	if err != nil {
		return err
	}
	var s *store.Store
	for try := 0; ; try++ { // a PostgreSQL that is restarted is back in seconds
		s, err = store.Open(context.Background(), store.Options{Database: set.Database, Migrate: true, Exclusive: set.Exclusive, Wait: 3 * time.Second})
		if err == nil || errors.Is(err, store.ErrInUse) || try == 100 {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	if err != nil {
		return err
	}
	c := &clocks{run: app.Clock()}
	c.dc.Store(int64(set.DC))
	c.wall.Store(int64(set.Wall))
	st := &steps{labels: set.Kill, say: json.NewEncoder(out)}
	st.left.Store(set.KillAt)
	real := apply.NewGrants(apply.GrantOptions{Clock: c.now, Directory: dc.Config{
		Domain: set.Domain, DNS: set.DNS, Server: set.Server, CAFile: set.CA, Transport: dc.LDAPS, Bind: dc.Simple, Timeout: 5 * time.Second,
		Credentials: dc.Password(set.User, strings.TrimSpace(string(secret))),
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, cmp.Or(set.Proxies[addr], addr))
		},
	}})
	run := app.RunGrants(app.GrantSettings{
		Store: steppedStore{s.Grants(), st}, Directory: &shifted{real, c, st}, Policies: policies, Returned: real.Returned(), Clock: c.now,
	})
	serve(run, c, in, out)
	return nil // the parent is gone: so is this process, with everything as it is
}

// serve obeys orders until there are no more.
func serve(run *app.Grants, c *clocks, in io.Reader, out io.Writer) {
	var mu sync.Mutex
	enc := json.NewEncoder(out)
	say := func(r reply) {
		mu.Lock()
		defer mu.Unlock()
		_ = enc.Encode(r)
	}
	say(reply{})
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var o order
		if json.Unmarshal(lines.Bytes(), &o) != nil {
			return
		}
		if o.Op == "clock" { // in turn
			c.set(o)
		}
		go func() { say(obey(run, o)) }()
	}
}

func obey(run *app.Grants, o order) reply {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	by := grant.Caller{Actor: grant.Actor{Party: o.By, Method: "kerberos"}}
	var g grant.Grant
	var err error
	switch o.Op {
	case "request":
		g, err = run.Request(ctx, by, grant.Order{ID: o.Grant, Policy: o.Policy, Reason: "fault harness", For: o.For})
	case "do":
		g, err = run.Do(ctx, by, o.Grant, grant.Command{Event: o.Event, Reason: "fault harness"})
	case "clock":
		run.Wake(false)
	}
	r := reply{N: o.N, State: g.State}
	if o.Op == "status" {
		s := run.Status()
		r.Works = s.Sweeps > 0 && s.Ready()
		r.Status = fmt.Sprintf("%d rounds, the last %s ago; %d comparisons, the last %s ago; away %t %q; store %q",
			s.Rounds, since(s.Ticked), s.Sweeps, since(s.Swept), s.Away, s.Why, s.Store)
	}
	if err != nil {
		r.Err = err.Error()
		r.Final = errors.Is(err, grant.ErrPolicy) || errors.Is(err, grant.ErrIllegal) || errors.Is(err, grant.ErrNotFound)
	}
	return r
}

func since(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return time.Since(t).Round(time.Millisecond).String()
}

// clocks are off by what the parent says.
type clocks struct {
	run      func() grant.Instant
	dc, wall atomic.Int64
	seq      int64 // of the last order; only serve looks at it
}

// set obeys an order, unless a later one was obeyed.
func (c *clocks) set(o order) {
	if o.Seq <= c.seq {
		return
	}
	c.seq = o.Seq
	c.dc.Store(int64(o.DC))
	c.wall.Store(int64(o.Wall))
}

func (c *clocks) now() grant.Instant {
	i := c.run()
	i.Wall = i.Wall.Add(time.Duration(c.wall.Load()))
	return i
}

// shifted is the real directory with the time of a domain controller whose clock was set.
type shifted struct {
	grant.Directory
	c  *clocks
	st *steps
}

func (d *shifted) shift(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(time.Duration(d.c.dc.Load()))
}

func (d *shifted) Time(ctx context.Context) (time.Time, error) {
	t, err := d.Directory.Time(ctx)
	return d.shift(t), err
}

func (d *shifted) Links(ctx context.Context, g secdesc.GUID, m []secdesc.GUID) (grant.Links, error) {
	l, err := d.Directory.Links(ctx, g, m)
	l.At = d.shift(l.At)
	return l, err
}

func (d *shifted) Memberships(ctx context.Context, keys []grant.Key) (map[secdesc.GUID]grant.Links, error) {
	all, err := d.Directory.Memberships(ctx, keys)
	for g, l := range all {
		l.At = d.shift(l.At)
		all[g] = l
	}
	return all, err
}

func (d *shifted) Add(ctx context.Context, w grant.Write) grant.Result {
	d.st.at("before add")
	r := d.Directory.Add(ctx, w)
	d.st.at("after add")
	r.At = d.shift(r.At)
	return r
}

func (d *shifted) Remove(ctx context.Context, list []grant.Write) []grant.Result {
	d.st.at("before remove")
	out := d.Directory.Remove(ctx, list)
	d.st.at("after remove")
	for i := range out {
		out[i].At = d.shift(out[i].At)
	}
	return out
}

// steps kill this process at one of them.
type steps struct {
	labels []string
	left   atomic.Int64
	say    *json.Encoder
}

func (s *steps) at(label string) {
	if slices.Contains(s.labels, label) && s.left.Add(-1) == 0 {
		_ = s.say.Encode(reply{N: -1, Died: label})
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // it comes at once
	}
}

// Steps at which nodes die: before and after each commit of these actions, and before and
// after each write.
func startSteps() []string {
	return stepsOf("add", grant.Request, grant.Activate, grant.Activated, grant.FoundOther, grant.FoundPermanent, grant.MaybeActive, grant.LaterActive)
}

func endSteps() []string {
	return stepsOf("remove", grant.GiveBack, grant.Lost, grant.Expire, grant.Remove, grant.HasEnded, grant.MaybeEnded, grant.NotEnded)
}

func stepsOf(write string, actions ...grant.Event) []string {
	out := []string{"before " + write, "after " + write}
	for _, a := range actions {
		out = append(out, "before commit of "+string(a), "after commit of "+string(a))
	}
	return out
}

// steppedStore is a store whose commits are steps.
type steppedStore struct {
	grant.Store
	st *steps
}

func (s steppedStore) Update(ctx context.Context, f func(context.Context, grant.Tx) error) error {
	var done []grant.Event
	err := s.Store.Update(ctx, func(ctx context.Context, tx grant.Tx) error {
		t := &steppedTx{Tx: tx}
		if err := f(ctx, t); err != nil {
			return err
		}
		done = t.done
		for _, a := range done {
			s.st.at("before commit of " + string(a))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, a := range done {
		s.st.at("after commit of " + string(a))
	}
	return nil
}

type steppedTx struct {
	grant.Tx
	done []grant.Event
}

func (t *steppedTx) Record(ctx context.Context, e grant.Entry) error {
	if e.Kind != grant.Refusal && e.Kind != grant.Stale {
		t.done = append(t.done, e.Action)
	}
	return t.Tx.Record(ctx, e)
}

// fatal ends a process that cannot go on.
func fatal(err error) {
	fmt.Fprintln(os.Stderr, "faults:", err)
	os.Exit(1)
}
