package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/store"
)

// A shape is what a run does.
type shape int

// The shapes of runs.
const (
	plain    shape = iota // one grant, to its end
	standing              // the membership was there before, and stays
	overlap               // two grants of one membership
	giveBack              // the holder gives it back
	taken                 // another administrator removes the membership meanwhile
	again                 // given back, and asked for anew at once
	shapes
)

// A run is one group in one round.
type run struct {
	shape  shape
	group  object
	holder object
	policy string
	ids    []grant.ID

	back     chan struct{} // closed when the first grant was given back, or cannot be
	accepted []bool        // by ids
	exposed  time.Time     // since when the membership is there without a grant that wants it; zero: it is not
}

// A round is runs that share a database, nodes and what befalls them.
type round struct {
	w      *world
	rng    *rand.Rand // of the schedule alone
	pg     *server    // nil: SQLite
	disk   disk       // of the database
	set    nodeSettings
	width  int      // how many nodes
	proxy  []*proxy // one of each node for each domain controller
	runs   []*run
	phases time.Duration // length of a phase of disturbances
	f      *figures
	shared bool

	mu       sync.Mutex // guards what follows
	nodes    []*process // by number; nil or dead: none
	dcOff    time.Duration
	wallOff  []time.Duration
	seq      int64         // of the orders to set clocks
	slowest  time.Duration // look at directory and store, in the present calm
	calm     time.Time     // since when nothing is disturbed; zero: something is
	problems []string
}

// fail notes that something does not hold.
func (r *round) fail(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
}

// play plays the round and returns what did not hold.
func (r *round) play(ctx context.Context) ([]string, error) {
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	watch, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { r.watch(watch) })
	err := r.story(ctx)
	stop()
	watching.Wait()
	for _, n := range r.nodes {
		if n != nil && n.alive() {
			n.kill()
		}
	}
	if err == nil {
		err = r.judge(ctx)
	}
	return r.problems, err
}

// prepare gives groups their members and starts the nodes.
func (r *round) prepare(ctx context.Context) error {
	for i, g := range r.w.groups {
		x := &run{back: make(chan struct{}), shape: shape(r.rng.IntN(int(shapes))), group: g, holder: r.w.users[r.rng.IntN(len(r.w.users))], policy: fmt.Sprintf("g%d", i)}
		x.ids = []grant.ID{grant.ID(fmt.Sprintf("r%d-a", i))}
		if x.shape == overlap || x.shape == again {
			x.ids = append(x.ids, grant.ID(fmt.Sprintf("r%d-b", i)))
		}
		x.accepted = make([]bool, len(x.ids))
		r.runs = append(r.runs, x)
		r.f.shapes[x.shape]++
		members := []object{r.w.idle}
		if x.shape == standing {
			members = append(members, x.holder)
		}
		if err := r.w.fill(ctx, g, members...); err != nil {
			return fmt.Errorf("filling %s: %w", g.dn, err)
		}
	}
	r.nodes, r.wallOff = make([]*process, r.width), make([]time.Duration, r.width)
	for i := range r.nodes {
		if err := r.spawn(i, startSteps()); err != nil {
			return err
		}
	}
	return nil
}

// spawn starts a node that dies at one of some steps; none: it is not to die.
func (r *round) spawn(i int, steps []string) error {
	set := r.set
	hosts := r.w.lab.DCs()
	set.Proxies = make(map[string]string, len(hosts))
	for k, h := range hosts {
		set.Proxies[h.Address+":636"] = r.proxy[i*len(hosts)+k].ln.Addr().String()
	}
	r.mu.Lock()
	set.DC, set.Wall = r.dcOff, r.wallOff[i]
	seq := r.seq
	if len(steps) > 0 {
		set.Kill, set.KillAt = r.f.aim(steps, r.rng)
	}
	r.mu.Unlock()
	p, err := spawn(set)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.nodes[i] = p
	missed := r.seq != seq
	r.mu.Unlock()
	if missed { // clocks were set while it started
		r.tell()
	}
	if len(set.Kill) > 0 {
		r.f.deaths.Go(func() {
			<-p.dead
			r.f.died(p.diedAt(), p.killed())
		})
	}
	return nil
}

// story is what happens in a round.
func (r *round) story(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 6*time.Minute)
	defer cancel()
	var asking sync.WaitGroup
	asks, stop := context.WithCancel(ctx)
	defer stop()
	for _, x := range r.runs {
		after := time.Duration(r.rng.Int64N(int64(r.phases * 6 / 10)))
		asking.Go(func() { r.request(asks, x, after) })
	}
	if err := r.disturbed(ctx, startSteps()); err != nil {
		return err
	}
	sleep(ctx, 3*time.Second)
	if r.rng.IntN(4) == 0 && !r.shared {
		sleep(ctx, time.Minute) // ends come by themselves
	}
	var acts sync.WaitGroup
	for _, x := range r.runs {
		after := time.Duration(r.rng.Int64N(int64(r.phases / 2)))
		acts.Go(func() { r.act(ctx, x, after) })
	}
	sleep(ctx, r.phases/4)
	r.mu.Lock()
	r.calm = time.Time{} // the nodes are replaced by some that die
	r.mu.Unlock()
	for i := range r.nodes {
		if n := r.node(i); n != nil {
			n.kill()
		}
		if err := r.spawn(i, endSteps()); err != nil {
			return err
		}
	}
	r.jump(62 * time.Second)
	if err := r.disturbed(ctx, endSteps()); err != nil {
		return err
	}
	acts.Wait()
	err := r.finish(ctx)
	stop()
	asking.Wait()
	return err
}

// jump moves the domain controller's clock, as the nodes see it.
func (r *round) jump(by time.Duration) {
	r.mu.Lock()
	r.dcOff += by
	r.mu.Unlock()
	r.f.jumps++
	r.tell()
}

// tell tells all nodes their clocks.
func (r *round) tell() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seq++
	for i, n := range r.nodes {
		if n != nil && n.alive() {
			o := order{Op: "clock", Seq: r.seq, DC: r.dcOff, Wall: r.wallOff[i]}
			go func() { _, _ = n.ask(o, 5*time.Second) }()
		}
	}
}

// request asks for the grants of a run until they are taken, whatever dies meanwhile.
func (r *round) request(ctx context.Context, x *run, after time.Duration) {
	sleep(ctx, after)
	for i, id := range x.ids {
		o := order{Op: "request", Grant: id, Policy: x.policy, By: x.holder.party(), For: time.Duration(i+1) * time.Minute}
		if x.shape == again && i > 0 {
			select {
			case <-x.back:
			case <-ctx.Done():
			}
		}
		for ctx.Err() == nil {
			rep, err := r.ask(o)
			if err == nil && rep.Err == "" {
				r.mu.Lock()
				x.accepted[i] = true
				r.mu.Unlock()
				break
			}
			if err == nil && rep.Final {
				r.fail("%s was refused for good: %s", id, rep.Err)
				return
			}
			sleep(ctx, 300*time.Millisecond)
		}
	}
}

// ask asks any node that lives.
func (r *round) ask(o order) (reply, error) {
	r.mu.Lock()
	var alive []*process
	for _, n := range r.nodes {
		if n != nil && n.alive() {
			alive = append(alive, n)
		}
	}
	r.mu.Unlock()
	if len(alive) == 0 {
		return reply{}, errDead
	}
	return alive[rand.IntN(len(alive))].ask(o, 10*time.Second)
}

// act does what a run's shape asks for while its grant is active.
func (r *round) act(ctx context.Context, x *run, after time.Duration) {
	sleep(ctx, after)
	switch x.shape {
	case giveBack, again:
		defer close(x.back)
		for range 5 {
			rep, err := r.ask(order{Op: "do", Grant: x.ids[0], By: x.holder.party(), Event: grant.GiveBack})
			if err == nil && (rep.Err == "" || rep.Final) {
				return
			}
			sleep(ctx, 300*time.Millisecond)
		}
	case taken:
		_ = r.w.drop(ctx, x.group, x.holder) // it may not be there
	case plain, standing, overlap, shapes: // they end by themselves
	}
}

// disturbed is a phase of disturbances.
func (r *round) disturbed(ctx context.Context, steps []string) error {
	r.mu.Lock()
	r.calm = time.Time{}
	r.mu.Unlock()
	for _, p := range r.proxy {
		p.set(func() { p.rate = 0.15 + 0.35*r.rng.Float64() })
	}
	var events sync.WaitGroup
	errs := make(chan error, 8)
	for _, e := range r.draw() {
		events.Go(func() {
			sleep(ctx, e.after)
			if err := e.do(); err != nil {
				errs <- fmt.Errorf("%s: %w", e.name, err)
			}
		})
		r.f.event(e.name)
	}
	for end := time.Now().Add(r.phases); time.Now().Before(end) && ctx.Err() == nil; {
		r.revive(steps)
		sleep(ctx, 200*time.Millisecond)
	}
	events.Wait()
	select {
	case err := <-errs:
		return err
	default:
	}
	return r.quiet(ctx)
}

// revive starts nodes that died.
func (r *round) revive(steps []string) {
	for i := range r.nodes {
		r.mu.Lock()
		dead := r.nodes[i] == nil || !r.nodes[i].alive()
		wait := r.rng.IntN(3) > 0
		r.mu.Unlock()
		if dead && !wait {
			if err := r.spawn(i, steps); err != nil {
				r.fail("starting a node: %v", err)
			}
		}
	}
}

// quiet ends all disturbances.
func (r *round) quiet(ctx context.Context) error {
	for _, p := range r.proxy {
		p.set(func() { p.rate, p.hang, p.refuse = 0, false, false })
	}
	sleep(ctx, 700*time.Millisecond)
	if r.pg != nil {
		if err := r.pg.ensure(); err != nil {
			return err
		}
	}
	for i := range r.nodes { // those that are to die at a step are replaced
		if r.nodes[i] != nil && r.nodes[i].alive() {
			r.nodes[i].kill()
		}
		r.mu.Lock()
		r.wallOff[i] = 0
		r.mu.Unlock()
		if err := r.spawn(i, nil); err != nil {
			return err
		}
	}
	began := time.Now()
	sleep(ctx, r.proxy[0].longest) // what is late arrives: it was sent in the phase
	r.working(ctx, began)
	r.mu.Lock()
	r.calm = time.Now()
	r.mu.Unlock()
	return nil
}

// startLimit is how long a node may take from its start until it works; longer is a violation.
const startLimit = time.Minute

// working waits until all nodes work: while none does, they are as absent as a domain
// controller that is switched off. How long that took is among the figures.
func (r *round) working(ctx context.Context, began time.Time) {
	for i := range r.nodes {
		for ctx.Err() == nil {
			if n := r.node(i); n != nil {
				if rep, err := n.ask(order{Op: "status"}, 2*time.Second); err == nil && rep.Works {
					break
				}
			}
			if time.Since(began) > startLimit {
				r.fail("node %d does not work %s after its start (load %s): %s", i, startLimit, machine(), r.statuses())
				return
			}
			sleep(ctx, 100*time.Millisecond)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.f.start = max(r.f.start, time.Since(began))
}

// An event is a disturbance of a phase.
type event struct {
	name  string
	after time.Duration
	do    func() error
}

// draw chooses the disturbances of a phase.
func (r *round) draw() []event {
	var out []event
	at := func() time.Duration { return time.Duration(r.rng.Int64N(int64(r.phases * 8 / 10))) }
	some := func() time.Duration { return 500*time.Millisecond + time.Duration(r.rng.Int64N(int64(3*time.Second))) }
	p, i := r.proxy[r.rng.IntN(len(r.proxy))], r.rng.IntN(r.width)
	for range 3 {
		d := some()
		kinds := []event{
			{"domain controller refuses connections", at(), func() error {
				p.set(func() { p.refuse = true })
				time.Sleep(d)
				p.set(func() { p.refuse = false })
				return nil
			}},
			{"domain controller hangs", at(), func() error {
				p.set(func() { p.hang = true })
				time.Sleep(d)
				p.set(func() { p.hang = false })
				return nil
			}},
			{"node stands still", at(), func() error {
				if n := r.node(i); n != nil {
					n.stand(d)
				}
				return nil
			}},
			{"node is killed", at(), func() error {
				if n := r.node(i); n != nil {
					n.kill()
				}
				return nil
			}},
			{"a node's clock jumps", at(), func() error {
				r.mu.Lock()
				r.wallOff[i] = time.Duration(rand.IntN(7200)-3600) * time.Second
				r.mu.Unlock()
				r.tell()
				return nil
			}},
			{"the disk is full", at(), func() error { return errors.Join(r.disk.fill(), wait(d), r.disk.empty()) }},
		}
		if r.pg != nil {
			kinds = append(kinds, event{"PostgreSQL is restarted", at(), func() error { r.pg.stop(); time.Sleep(d / 2); return r.pg.start() }})
		}
		e := kinds[r.rng.IntN(len(kinds))]
		if !slices.ContainsFunc(out, func(o event) bool { return o.name == e.name }) && !(e.name == "PostgreSQL is restarted" && has(out, "the disk is full")) && !(e.name == "the disk is full" && has(out, "PostgreSQL is restarted")) {
			out = append(out, e)
		}
	}
	if r.rng.IntN(6) == 0 && !r.shared {
		d := some()
		out = append(out, event{"the domain controller loses power", at() / 2, func() error { return r.w.powerCut(context.Background(), d) }})
	}
	return out
}

func has(list []event, name string) bool {
	return slices.ContainsFunc(list, func(e event) bool { return e.name == name })
}

func wait(d time.Duration) error {
	time.Sleep(d)
	return nil
}

func (r *round) node(i int) *process {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := r.nodes[i]; n != nil && n.alive() {
		return n
	}
	return nil
}

// finish lets time pass, in calm, until every grant is over.
func (r *round) finish(ctx context.Context) error {
	for second := 1; second < 120; second++ {
		sleep(ctx, time.Second)
		list, err := r.grants(ctx)
		if err != nil {
			return err
		}
		open := slices.ContainsFunc(list, func(g grant.Grant) bool { return !g.State.Finished() })
		if !open && r.allAccepted() {
			return nil
		}
		if second%7 == 0 {
			r.jump(62 * time.Second)
		}
	}
	return nil // judge says what is open
}

func (r *round) allAccepted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.runs {
		if slices.Contains(x.accepted, false) {
			return false
		}
	}
	return true
}

// grants reads what is stored, beside the nodes.
func (r *round) grants(ctx context.Context) ([]grant.Grant, error) {
	s, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }()
	return s.Grants().List(ctx, grant.Page{Limit: 1000})
}

func (r *round) open(ctx context.Context) (*store.Store, error) {
	return store.Open(ctx, store.Options{Database: r.set.Database, ReadOnly: true, Wait: 5 * time.Second})
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func lower(o object) string { return strings.ToLower(o.dn) }
