// Command bench measures leastwise as docs/BENCHMARKS.md describes and prints one
// table: a scan of a live domain against ldapsearch, the assessment of what was
// scanned, and synthetic forests of growing size. It starts a lab of its own,
// measures the built program from outside, and takes the medians of several runs.
// Exit codes: 0 every limit is kept, 1 one is not, 2 usage, 3 could not measure.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/forest/forestgen"
	"github.com/leastwise/leastwise/lab/samba"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// A bench is one invocation.
type bench struct {
	program string // leastwise, as built
	out     string // folder for what is measured with
	dir     string // of the lab
	net     string
	runs    int
	objects int // of the live domain
	keep    bool
	only    string // "live", "synthetic", "control", "server" or "soak"; all if empty
	soak    time.Duration
	began   time.Time
	table   table
}

func run(ctx context.Context, args []string) int {
	if len(args) == 3 && args[0] == "generate" {
		return code(generate(args[1], args[2]))
	}
	if len(args) == 3 && args[0] == "generate-control" {
		return code(generateControl(args[1], args[2]))
	}
	if len(args) == 3 && args[0] == "ldif" {
		return code(asLDIF(args[1], args[2]))
	}
	if len(args) > 1 && args[0] == "whatif" {
		return code(whatIfOf(args[1:]))
	}
	if len(args) > 1 && args[0] == "import" {
		return code(importOf(args[1:]))
	}
	if len(args) == 2 && args[0] == "floor" {
		return code(floorOf(args[1]))
	}
	if len(args) > 1 && args[0] == "control" {
		return code(controlOf(args[1:]))
	}
	if len(args) > 1 && args[0] == "measure" {
		return code(measure(ctx, args[1:]))
	}
	b := bench{began: time.Now()}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.StringVar(&b.program, "leastwise", "bin/leastwise", "the program to measure")
	fs.StringVar(&b.out, "out", "build/bench", "folder for the files that are measured with")
	fs.StringVar(&b.net, "net", "127.0.70", "addresses of the lab")
	fs.StringVar(&b.dir, "dir", "", "the lab's folder (default "+samba.DefaultRoot+"/bench)")
	fs.IntVar(&b.runs, "runs", 5, "how often to run what is measured")
	fs.IntVar(&b.objects, "objects", 20_000, "objects of the live domain")
	fs.BoolVar(&b.keep, "keep", false, "leave the lab running, for another try")
	fs.StringVar(&b.only, "only", "", "live, synthetic, control, server or soak: measure only that")
	fs.DurationVar(&b.soak, "soak", 0, "load the server for so long, too, and look at its memory")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	if err := b.check(fs.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 2
	}
	if err := b.measure(ctx); err != nil {
		return code(err)
	}
	fmt.Println()
	fmt.Print(b.table.String())
	if b.table.missed() {
		return 1
	}
	return 0
}

// check refuses what cannot be measured.
func (b *bench) check(more []string) error {
	switch {
	case len(more) > 0:
		return fmt.Errorf("%q is no flag", more[0])
	case b.runs < 1:
		return fmt.Errorf("--runs %d: at least 1", b.runs)
	case b.only == "soak" && b.soak == 0:
		return errors.New("--only soak: add --soak 1h")
	case b.objects < 100:
		return fmt.Errorf("--objects %d: at least 100", b.objects)
	case !slices.Contains([]string{"", "live", "synthetic", "control", "server", "soak"}, b.only):
		return fmt.Errorf("--only %q: live, synthetic, control, server or soak", b.only)
	}
	return nil
}

func code(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "bench:", err)
	return 3
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "== %4.0fs %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}

func (b *bench) measure(ctx context.Context) error {
	if b.dir == "" {
		b.dir = filepath.Join(samba.DefaultRoot, "bench")
	}
	if err := os.MkdirAll(b.out, 0o755); err != nil {
		return err
	}
	for _, p := range []*string{&b.out, &b.dir, &b.program} {
		abs, err := filepath.Abs(*p)
		if err != nil {
			return err
		}
		*p = abs
	}
	b.table.head = b.machine()
	if b.only == "" || b.only == "synthetic" {
		if err := b.synthetic(ctx); err != nil {
			return err
		}
	}
	if b.only == "" || b.only == "control" {
		if err := b.control(ctx); err != nil {
			return err
		}
	}
	if b.only == "synthetic" || b.only == "control" {
		return nil
	}
	switch err := samba.Available(); {
	case errors.Is(err, samba.ErrUnavailable):
		b.table.add(row{what: "live scan and server", value: "not measured: " + err.Error(), bad: true})
		return nil
	case err != nil:
		return err
	}
	if b.only == "" || b.only == "live" {
		if err := b.live(ctx); err != nil {
			return err
		}
	}
	if b.only == "live" {
		return nil
	}
	return b.server(ctx)
}

// machine says what the numbers were taken on.
func (b *bench) machine() string {
	load, _ := os.ReadFile("/proc/loadavg")
	model := "unknown processor"
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(v)
			break
		}
	}
	return fmt.Sprintf("%s, %d processors, load before %s, %s, medians of %d runs",
		model, runtime.NumCPU(), strings.Join(strings.Fields(string(load))[:1], ""), runtime.Version(), b.runs)
}

// generate writes the synthetic forest of a size.
func generate(objects, name string) error {
	return generated(objects, name, func(n int) *forest.Snapshot { return forestgen.Generate(1, n) })
}

// generateControl is generate with what effective control is measured with.
func generateControl(objects, name string) error {
	return generated(objects, name, func(n int) *forest.Snapshot {
		s, _ := forestgen.Control(1, n)
		return s
	})
}

func generated(objects, name string, from func(n int) *forest.Snapshot) error {
	n, err := strconv.Atoi(objects)
	if err != nil {
		return err
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := from(n).Write(f); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}
