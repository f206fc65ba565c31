package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/heap"
	"github.com/leastwise/leastwise/internal/reach"
)

// sizes are the forests of which effective control is measured, with the limits of
// wall time in seconds and of memory in megabytes (0: none).
var sizes = []struct {
	objects      int
	wall, memory float64
}{{100_000, 0.4, 0}, {1_000_000, 4, 900}}

// memoryLimit is how much memory the runtime of the measured process may hold, in
// bytes, if it can.
const memoryLimit = 800 << 20

// questions is how often each question is put to a loaded forest.
const questions = 1000

// control measures effective control over generated forests: from the start of a
// process that reads the file to who reaches Tier 0, then single questions.
func (b *bench) control(ctx context.Context) error {
	var small float64 // seconds of processor time per object of the smallest
	for i, size := range sizes {
		b.say("effective control in a forest of %d objects", size.objects)
		name := filepath.Join(b.out, fmt.Sprintf("control-%d.lws", size.objects))
		if err := b.generated(ctx, name, size.objects); err != nil {
			return err
		}
		label := fmt.Sprintf("effective control, %d objects: ", size.objects)
		if err := b.floors(ctx, name, label); err != nil {
			return err
		}
		alone, err := b.phases(ctx, name, 0)
		if err != nil {
			return err
		}
		both, err := b.phases(ctx, name, 0, "--chokes")
		if err != nil {
			return err
		}
		one, err := b.phases(ctx, name, 1, "--chokes")
		if err != nil {
			return err
		}
		b.table.add(row{what: label + "who reaches Tier 0", value: fmt.Sprintf("%.2f s (%.2f s of processor time)", alone.wall().Seconds(), alone.cpu().Seconds())})
		b.table.under(label+"who reaches Tier 0, with choke points", "%.2f s", both.wall().Seconds(), size.wall)
		b.table.add(row{what: label + "on one processor", value: fmt.Sprintf("%.2f s", one.wall().Seconds())})
		b.table.add(row{what: label + "processor time", value: fmt.Sprintf("%.2f s", both.cpu().Seconds())})
		if size.memory > 0 {
			b.table.under(label+"peak memory", "%.0f MB", mb(both.peak()), size.memory)
		} else {
			b.table.add(row{what: label + "peak memory", value: fmt.Sprintf("%.0f MB", mb(both.peak()))})
		}
		each := both.cpu().Seconds() / float64(size.objects)
		if i == 0 {
			small = each
		} else {
			b.table.under(label+"processor time per object, of that of the smallest", "%.2f", each/small, 1)
		}
		if err := b.questions(ctx, name, label); err != nil {
			return err
		}
		if err := b.whatIf(ctx, name, label); err != nil {
			return err
		}
		if i == len(sizes)-1 {
			if err := b.imports(ctx, name, label); err != nil {
				return err
			}
		}
	}
	return nil
}

// generated makes the forest of a size, unless it is there and this program has not
// changed since.
func (b *bench) generated(ctx context.Context, name string, objects int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	program, err := os.Stat(self)
	if err != nil {
		return err
	}
	if have, err := os.Stat(name); err == nil && have.Size() > 0 && have.ModTime().After(program.ModTime()) {
		return nil
	}
	_, err = once(exec.CommandContext(ctx, self, "generate-control", strconv.Itoa(objects), name))
	return err
}

// phases runs the measured process several times, on so many processors (0: all).
func (b *bench) phases(ctx context.Context, name string, processors int, flags ...string) (series, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return b.repeat(func() *exec.Cmd {
		cmd := exec.CommandContext(ctx, self, append(append([]string{"control"}, flags...), name)...)
		if processors > 0 {
			cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(processors))
		}
		return cmd
	})
}

// questions measures single questions to a loaded forest.
func (b *bench) questions(ctx context.Context, name, label string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, self, "control", "--questions", name).Output()
	if err != nil {
		return fmt.Errorf("asking %s: %w", name, err)
	}
	var got answers
	if err := json.Unmarshal(out, &got); err != nil {
		return fmt.Errorf("asking %s: %w", name, err)
	}
	b.table.under(label+"who can control one object, 99 of 100", "%.1f ms", got.WhoCan, 10)
	b.table.add(row{what: label + "who can control one object, the slowest", value: fmt.Sprintf("%.1f ms", got.Slowest)})
	b.table.under(label+"explain one principal's way, 99 of 100", "%.1f ms", got.Explain, 10)
	return nil
}

// answers are the times within which 99 of 100 questions are answered, in
// milliseconds. The slowest is one of those from which the graph learns what those
// after it need not look for.
type answers struct {
	WhoCan  float64 `json:"who_can"`
	Slowest float64 `json:"slowest"`
	Explain float64 `json:"explain"`
}

// asked is one invocation of the measured process.
type asked struct {
	questions, chokes bool
	profile, heap     string
}

// controlOf reads a snapshot file and answers who reaches Tier 0. It is what is
// measured from outside; by itself it prints how long each part took.
func controlOf(args []string) error {
	var a asked
	fs := flag.NewFlagSet("bench control", flag.ContinueOnError)
	fs.BoolVar(&a.questions, "questions", false, "put single questions and print the times as JSON")
	fs.BoolVar(&a.chokes, "chokes", false, "find choke points, too")
	fs.StringVar(&a.profile, "profile", "", "file for a profile of the processor time")
	fs.StringVar(&a.heap, "heap", "", "file for a profile of the memory in use at the end")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() != 1 {
		return errors.New("control takes one snapshot file")
	}
	// Nearly everything lives to the end, so letting the heap double between
	// collections would only double the memory.
	debug.SetGCPercent(50)
	debug.SetMemoryLimit(memoryLimit) // what was freed is given back before that
	return profiled(a.profile, func() error { return a.run(fs.Arg(0)) })
}

// profiled runs f and writes a profile of the processor time, unless name is empty.
func profiled(name string, f func() error) error {
	if name == "" {
		return f()
	}
	p, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(p); err != nil {
		return errors.Join(err, p.Close())
	}
	err = f()
	pprof.StopCPUProfile()
	return errors.Join(err, p.Close())
}

// laps returns a function that prints how long the part took that has just ended.
func laps() func(what string) {
	began, spent := time.Now(), processor()
	return func(what string) {
		now, cpu := time.Now(), processor()
		fmt.Fprintf(os.Stderr, "%-10s %8.3f s  processor %8.3f s\n", what, now.Sub(began).Seconds(), (cpu - spent).Seconds())
		began, spent = now, cpu
	}
}

func (a *asked) run(name string) error {
	lap := laps()
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if fi, err := f.Stat(); err == nil {
		heap.Expect(fi.Size()) // as every command that reads a snapshot does
	}
	s, err := forest.Read(f)
	if err != nil {
		return err
	}
	lap("load")
	g := reach.Of(s)
	lap("graph")
	goals := g.Resolve(reach.TierZero())
	r := g.WhoCan(goals)
	n := len(r.Certain())
	lap("search")
	fmt.Fprintf(os.Stderr, "%d of %d objects are or reach Tier 0\n", n, s.Len())
	if a.chokes {
		list := r.Chokes(20)
		lap("chokes")
		fmt.Fprintf(os.Stderr, "%d choke points\n", len(list))
	}
	if a.questions {
		return json.NewEncoder(os.Stdout).Encode(ask(s, g, r))
	}
	if a.heap == "" {
		return nil
	}
	h, err := os.Create(a.heap)
	if err != nil {
		return err
	}
	runtime.GC()
	err = errors.Join(pprof.Lookup("heap").WriteTo(h, 0), h.Close())
	runtime.KeepAlive(r)
	return err
}

// ask puts questions about random objects and principals.
func ask(s *forest.Snapshot, g *reach.Graph, r *reach.Reach) answers {
	random := rand.New(rand.NewPCG(1, 1))
	certain := r.Certain()
	var who, explain []float64
	for range questions {
		target := forest.ID(random.IntN(s.Len()))
		began := time.Now()
		g.WhoCan([]forest.ID{target}).Certain()
		who = append(who, milliseconds(began))
		from := certain[random.IntN(len(certain))]
		began = time.Now()
		r.Path(from)
		explain = append(explain, milliseconds(began))
	}
	return answers{nearlyAll(who), slices.Max(who), nearlyAll(explain)}
}

func milliseconds(since time.Time) float64 { return float64(time.Since(since)) / 1e6 }

// nearlyAll returns the time within which 99 of 100 ended.
func nearlyAll(times []float64) float64 {
	slices.Sort(times)
	return times[len(times)*99/100]
}

// processor is the processor time of this process so far.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
