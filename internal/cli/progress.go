package cli

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/leastwise/leastwise/internal/collect"
	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/report"
)

// A progress shows how far a scan is: a line for each phase that is rewritten on a
// terminal, a line for each finished phase elsewhere.
type progress struct {
	c      *command
	screen *mpb.Progress // nil: no terminal that can rewrite lines
	mu     sync.Mutex    // guards what follows
	phases map[string]*phase
	closed bool
}

// A phase is a line on the terminal.
type phase struct {
	bar *mpb.Bar
	mu  sync.Mutex // guards now, which the terminal's goroutine reads
	now collect.Progress
}

func (c *command) newProgress(ctx context.Context) *progress {
	p := &progress{c: c, phases: map[string]*phase{}}
	if !c.quiet && c.env.ErrTerminal > 0 && c.env.getenv("TERM") != "dumb" {
		p.screen = mpb.NewWithContext(ctx, mpb.WithOutput(c.env.Err), mpb.WithAutoRefresh())
	}
	return p
}

// show takes one report; it may be called from several goroutines.
func (p *progress) show(now collect.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.c.quiet || p.closed:
	case p.screen != nil:
		p.draw(now)
	case now.Done:
		fmt.Fprintln(p.c.env.Err, line(now))
	}
}

// restarted says that everything is read again, from another domain controller.
func (p *progress) restarted(r dc.Restart) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.c.quiet || p.closed {
		return
	}
	var w io.Writer = p.c.env.Err
	if p.screen != nil { // lines that stay above those that are rewritten
		w = p.screen
		for _, v := range p.phases {
			v.bar.Abort(true)
		}
		clear(p.phases)
	}
	text := fmt.Sprintf("beginning again on %s, keeping nothing of %s: %v", r.To, r.From, r.Cause)
	fmt.Fprintln(w, report.Visible(oneLine(text)))
}

// draw hands a report to its line on the terminal.
func (p *progress) draw(now collect.Progress) {
	v := p.phases[now.Phase]
	if v == nil {
		v = &phase{now: now}
		text := decor.Any(func(decor.Statistics) string { return line(v.report()) })
		bar, err := p.screen.Add(0, nil, mpb.PrependDecorators(text))
		if err != nil { // interrupted: the terminal takes no more lines
			return
		}
		v.bar = bar
		p.phases[now.Phase] = v
	}
	v.mu.Lock()
	v.now = now
	v.mu.Unlock()
	if now.Done {
		v.bar.SetTotal(int64(now.Count), true)
	}
}

func (v *phase) report() collect.Progress {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.now
}

func line(v collect.Progress) string {
	state := "…"
	if v.Done {
		state = "done"
	}
	return fmt.Sprintf("%8d  %s %s", v.Count, report.Visible(v.Phase), state)
}

// close stops drawing and waits for the terminal; what was drawn stays. It may be
// called again.
func (p *progress) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	if p.screen == nil {
		return
	}
	for _, v := range p.phases {
		v.bar.Abort(false)
	}
	p.screen.Wait()
}
