package cli

import (
	"fmt"
	"sync"

	"github.com/leastwise/leastwise/internal/collect"
)

// A progress shows how far a scan is: lines that are rewritten on a terminal, one
// line per finished phase elsewhere.
type progress struct {
	c      *command
	mu     sync.Mutex
	phases []string
	last   map[string]collect.Progress
	drawn  int // lines on the terminal that will be rewritten
	closed bool
}

func (c *command) newProgress() *progress {
	return &progress{c: c, last: map[string]collect.Progress{}}
}

// show takes one report; it may be called from several goroutines.
func (p *progress) show(now collect.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.c.quiet || p.closed {
		return
	}
	if _, known := p.last[now.Phase]; !known {
		p.phases = append(p.phases, now.Phase)
	}
	p.last[now.Phase] = now
	if p.c.env.ErrTerminal > 0 {
		p.draw()
	} else if now.Done {
		fmt.Fprintln(p.c.env.Err, line(now))
	}
}

func line(v collect.Progress) string {
	state := "…"
	if v.Done {
		state = "done"
	}
	return fmt.Sprintf("%8d  %s %s", v.Count, v.Phase, state)
}

// draw rewrites the lines of all phases.
func (p *progress) draw() {
	if p.drawn > 0 {
		fmt.Fprintf(p.c.env.Err, "\x1b[%dA", p.drawn)
	}
	for _, name := range p.phases {
		text := []rune(line(p.last[name]))
		if len(text) >= p.c.env.ErrTerminal {
			text = text[:p.c.env.ErrTerminal-1]
		}
		fmt.Fprintf(p.c.env.Err, "\x1b[2K%s\n", string(text))
	}
	p.drawn = len(p.phases)
}

// close stops drawing; what was drawn stays.
func (p *progress) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
}
