package main

import (
	"context"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/leastwise/leastwise/lab/samba"
)

func main() {
	if text := os.Getenv(nodeVariable); text != "" {
		if err := node(text, os.Stdin, os.Stdout); err != nil {
			fatal(err)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ok, err := command(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fatal(err)
	}
	if !ok {
		os.Exit(1)
	}
}

// options of the program.
type options struct {
	lab, net  string
	databases string
	runs      int
	width     int
	phase     time.Duration
	limit     time.Duration
	seed      uint64
	keep      bool
	shared    bool // the lab is others', too: it is not stopped
	lag       bool // two domain controllers that lag behind each other
	ends      int  // so many grants end in the same second, and nothing fails; 0: the runs
	endGroups int
	profile   string
}

// command plays rounds and reports whether everything held.
func command(ctx context.Context, args []string, out io.Writer) (bool, error) {
	var o options
	f := flag.NewFlagSet("faults", flag.ContinueOnError)
	f.StringVar(&o.lab, "dir", filepath.Join(samba.DefaultRoot, "faults"), "folder of the lab")
	f.StringVar(&o.net, "net", "127.0.71", "its address block")
	f.StringVar(&o.databases, "database", "both", "sqlite, postgres or both")
	f.IntVar(&o.runs, "runs", 2000, "runs on each database")
	f.IntVar(&o.width, "width", 100, "runs of one round")
	f.DurationVar(&o.phase, "phase", 8*time.Second, "length of each of the two phases of disturbances of a round")
	f.DurationVar(&o.limit, "limit", time.Hour, "begin no round after so long; what was really run is printed")
	f.Uint64Var(&o.seed, "seed", 0, "seed of the first round; the next has the next number. 0: from the clock")
	f.BoolVar(&o.lag, "lag", false, "two domain controllers, between which replication is held while a round goes on")
	f.IntVar(&o.ends, "ends", 0, "instead of the runs, measure so many grants that end in the same second")
	f.IntVar(&o.endGroups, "groups", 20, "of so many groups")
	f.StringVar(&o.profile, "profile", "", "write a profile of the processor's time of these ends to this file")
	f.BoolVar(&o.keep, "keep", false, "leave the lab running")
	if err := f.Parse(args); err != nil {
		return false, err
	}
	if o.seed == 0 {
		o.seed = uint64(time.Now().Unix())
	}
	lab, err := samba.Up(ctx, samba.Options{Dir: o.lab, Net: o.net, Single: !o.lag})
	if err != nil {
		return false, err
	}
	if !o.keep {
		defer func() { _ = lab.Down(context.WithoutCancel(ctx)) }()
	}
	dir, err := os.MkdirTemp("", "leastwise-faults")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // PostgreSQL's user passes through
		return false, err
	}
	w := &world{lab: lab, dir: dir, tag: "faults"}
	if o.ends > 0 {
		o.width = 1
	}
	if err := w.build(ctx, min(o.width, o.runs)); err != nil {
		return false, fmt.Errorf("building what the runs need: %w", err)
	}
	if o.lag {
		if err := errors.Join(w.hold(ctx, false), lab.Converge(ctx), w.findHomes(ctx)); err != nil {
			return false, err
		}
	}
	return o.play(ctx, w, out)
}

// play plays the rounds on each database.
func (o *options) play(ctx context.Context, w *world, out io.Writer) (bool, error) {
	ok := true
	for _, name := range []string{"sqlite", "postgres"} {
		if o.databases != "both" && o.databases != name {
			continue
		}
		if o.ends > 0 {
			held, err := o.flood(ctx, w, name, out)
			if err != nil {
				return false, fmt.Errorf("%s: %w", name, err)
			}
			ok = ok && held
			continue
		}
		f, err := o.database(ctx, w, name, out)
		if f != nil {
			f.print(out, name)
			ok = ok && f.violations == 0
		}
		if err != nil {
			return false, fmt.Errorf("%s: %w", name, err)
		}
	}
	return ok, nil
}

// database plays rounds on one database.
func (o *options) database(ctx context.Context, w *world, name string, out io.Writer) (*figures, error) {
	size, nodes := 24, 1
	if name == "postgres" {
		size, nodes = 600, 2
	}
	d, err := newDisk(filepath.Join(w.dir, name), size)
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.close() }()
	var pg *server
	if name == "postgres" {
		if pg, err = newServer(d); err != nil {
			return nil, err
		}
		defer pg.stop()
	}
	f := newFigures()
	for began := time.Now(); f.runs < o.runs && time.Since(began) < o.limit && ctx.Err() == nil; {
		seed := o.seed + uint64(f.rounds)
		r, err := o.round(w, d, pg, nodes, seed)
		if err != nil {
			return f, err
		}
		r.f = f
		problems, err := r.lagging(ctx, r.play)
		for _, p := range r.proxy {
			p.mu.Lock()
			for k, n := range p.counts {
				f.faults[k] += n
			}
			p.mu.Unlock()
			p.close()
		}
		f.rounds++
		f.runs += len(r.runs)
		f.violations += len(problems)
		for _, p := range problems {
			fmt.Fprintf(out, "VIOLATION on %s, seed %d: %s\n", name, seed, p)
		}
		fmt.Fprintf(out, "%s: round %d, seed %d: %d runs, %d violations so far, worst %s\n", name, f.rounds, seed, f.runs, f.violations, f.worst.Round(time.Millisecond))
		if err != nil {
			return f, fmt.Errorf("seed %d: %w", seed, err)
		}
	}
	f.deaths.Wait()
	return f, nil
}

// round makes a round.
func (o *options) round(w *world, d disk, pg *server, nodes int, seed uint64) (*round, error) {
	var names []string
	for _, h := range w.lab.DCs() {
		names = append(names, h.FQDN)
	}
	r := &round{width: nodes, w: w, rng: rand.New(rand.NewPCG(seed, 0)), pg: pg, disk: d, phases: o.phase, shared: o.shared}
	ca := filepath.Join(w.dir, fmt.Sprintf("ca-%d.pem", seed))
	cert, err := newAuthority(ca, names...)
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(w.lab.CAFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("the lab's authority cannot be read")
	}
	for range nodes {
		for _, h := range w.lab.DCs() {
			p, err := newProxy(h.Address+":636", cert, roots, h.FQDN, rand.New(rand.NewPCG(seed, uint64(len(r.proxy)+1))))
			if err != nil {
				return nil, err
			}
			p.longest = min(p.longest, o.phase)
			r.proxy = append(r.proxy, p)
		}
	}
	r.set = nodeSettings{
		Policies: w.policyFile(), Domain: w.lab.Domain, DNS: w.lab.DNS, CA: ca,
		User: w.lab.Admin.Name + "@" + w.lab.Domain, Secret: w.lab.Admin.PasswordFile, Exclusive: pg == nil,
	}
	if len(names) == 1 {
		r.set.Server = names[0]
	}
	if pg != nil {
		if err := pg.ensure(); err != nil {
			return nil, err
		}
		r.set.Database, err = pg.create()
		return r, err
	}
	old, err := filepath.Glob(filepath.Join(d.dir, "*.db*"))
	if err != nil {
		return nil, err
	}
	for _, name := range old {
		_ = os.Remove(name)
	}
	r.set.Database = filepath.Join(d.dir, fmt.Sprintf("%d.db", seed))
	return r, nil
}

// print says what was done.
func (f *figures) print(out io.Writer, name string) {
	fmt.Fprintf(out, "\n%s: %d runs in %d rounds, %d violations\n", name, f.runs, f.rounds, f.violations)
	fmt.Fprintf(out, "  grants that became active %d, ended %d, by inference %d; audit entries %d\n", f.active, f.ended, f.inferred, f.entries)
	fmt.Fprintf(out, "  worst lateness in calm %s (%d looks at the directory, the slowest took %s; %d stalls of the machine)\n", f.worst.Round(time.Millisecond), f.looks, f.reading.Round(time.Millisecond), f.stalls)
	fmt.Fprintf(out, "  longest from the start of nodes to their first whole comparison %s\n", f.start.Round(time.Millisecond))
	fmt.Fprintf(out, "  runs: plain %d, standing %d, overlapping %d, given back %d, taken away %d, asked for again %d\n",
		f.shapes[plain], f.shapes[standing], f.shapes[overlap], f.shapes[giveBack], f.shapes[taken], f.shapes[again])
	fmt.Fprintf(out, "  requests that the proxy disturbed:")
	for k := noFault + 1; k < faults; k++ {
		fmt.Fprintf(out, " %s %d,", k, f.faults[k])
	}
	fmt.Fprintf(out, " clock jumps of the domain controller %d\n", f.jumps)
	for _, e := range slices.Sorted(maps.Keys(f.events)) {
		fmt.Fprintf(out, "  %s: %d\n", e, f.events[e])
	}
	if f.apart > 0 {
		fmt.Fprintf(out, "  groups whose members differed between the domain controllers before replication went on: %d\n", f.apart)
	}
	all := append(startSteps(), endSteps()...)
	total := 0
	for _, n := range f.steps {
		total += n
	}
	fmt.Fprintf(out, "  nodes that died at a numbered step: %d, at %d of %d steps\n", total, len(f.steps), len(all))
	for _, l := range all {
		fmt.Fprintf(out, "    %-40s %d\n", l, f.steps[l])
	}
}
