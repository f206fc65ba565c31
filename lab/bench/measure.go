package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/leastwise/leastwise/internal/forest"
)

// A sample is one run of a program.
type sample struct {
	wall, cpu time.Duration
	peak      int64 // resident set in bytes
}

// once runs cmd to its end, as the child of a small process: the kernel counts
// memory of the parent into the peak of a child that it starts.
func once(cmd *exec.Cmd) (sample, error) {
	self, err := os.Executable()
	if err != nil {
		return sample{}, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return sample{}, err
	}
	defer r.Close()
	var said bytes.Buffer
	line := strings.Join(cmd.Args, " ")
	cmd.Args = append([]string{self, "measure", cmd.Path}, cmd.Args[1:]...)
	cmd.Path, cmd.Stderr, cmd.ExtraFiles = self, &said, []*os.File{w}
	err = cmd.Run()
	w.Close()
	if err != nil {
		return sample{}, fmt.Errorf("running %.200s: %w\n%s", line, err, said.String())
	}
	var s sample
	_, err = fmt.Fscan(r, (*int64)(&s.wall), (*int64)(&s.cpu), &s.peak)
	return s, err
}

// measure runs a command and reports wall time and processor time (nanoseconds) and
// peak memory (bytes) on file descriptor 3.
func measure(ctx context.Context, args []string) error {
	report := os.NewFile(3, "report")
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return err
	}
	wall := time.Since(began)
	var peak int64
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		peak = u.Maxrss * 1024
	}
	_, err := fmt.Fprintln(report, int64(wall), int64(cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()), peak)
	return err
}

// A series holds the samples of one measurement.
type series []sample

func (s series) wall() time.Duration {
	return median(s, func(x sample) time.Duration { return x.wall })
}

func (s series) cpu() time.Duration { return median(s, func(x sample) time.Duration { return x.cpu }) }
func (s series) peak() int64        { return median(s, func(x sample) int64 { return x.peak }) }

func median[T ~int64 | ~float64](s series, of func(sample) T) T {
	v := make([]T, len(s))
	for i, x := range s {
		v[i] = of(x)
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// repeat runs a command several times.
func (b *bench) repeat(cmd func() *exec.Cmd) (series, error) {
	var out series
	for range b.runs {
		s, err := once(cmd())
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// assess measures the assessment of a snapshot file, start of the program to the
// written JSON. It returns how many objects the snapshot has.
func (b *bench) assess(ctx context.Context, name string) (series, int, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	s, err := forest.Read(f)
	if err != nil {
		return nil, 0, err
	}
	out, err := b.repeat(func() *exec.Cmd {
		return exec.CommandContext(ctx, b.program, "assess", name, "--quiet", "--output", "json", "--out", filepath.Join(b.out, "assessment.json"))
	})
	return out, s.Len(), err
}

// load measures reading a snapshot file, in this process.
func (b *bench) load(name string) (time.Duration, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	var out series
	for range b.runs {
		began := time.Now()
		if _, err := forest.Read(bytes.NewReader(data)); err != nil {
			return 0, err
		}
		out = append(out, sample{wall: time.Since(began)})
	}
	return out.wall(), nil
}

// A row is one line of the table. limit is empty for what is only reported.
type row struct {
	what, value, limit string
	bad                bool
}

type table struct {
	head string
	rows []row
}

func (t *table) add(r row) { t.rows = append(t.rows, r) }

// under adds a number that must not exceed limit.
func (t *table) under(what, format string, value, limit float64) {
	t.add(row{what, fmt.Sprintf(format, value), fmt.Sprintf("≤ "+format, limit), value > limit})
}

func (t *table) missed() bool {
	return slices.ContainsFunc(t.rows, func(r row) bool { return r.bad })
}

func (t *table) String() string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	for _, r := range t.rows {
		verdict := ""
		switch {
		case r.bad:
			verdict = "NOT"
		case r.limit != "":
			verdict = "ok"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.what, r.value, r.limit, verdict)
	}
	_ = w.Flush() // a strings.Builder takes everything
	return t.head + "\n\n" + out.String()
}

func mb(bytes int64) float64 { return float64(bytes) / 1e6 }
