package cli

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/collect"
)

// On a terminal every phase is a line that stays; phases that begin after the run
// was interrupted are passed over.
func TestProgress(t *testing.T) {
	var errs bytes.Buffer
	c := &command{env: Environment{Err: &errs, ErrTerminal: 80, Environ: []string{"TERM=xterm"}}}
	ctx, stop := context.WithCancel(t.Context())
	p := c.newProgress(ctx)
	p.show(collect.Progress{Phase: "schema", Count: 7})
	p.show(collect.Progress{Phase: "schema", Count: 12, Done: true})
	p.show(collect.Progress{Phase: "domain", Count: 3})
	p.close()
	p.close()
	for _, want := range []string{"12  schema done", "3  domain …"} {
		if !strings.Contains(errs.String(), want) {
			t.Errorf("%q does not show %q", errs.String(), want)
		}
	}
	p = c.newProgress(ctx)
	p.show(collect.Progress{Phase: "schema", Count: 1})
	stop()
	p.screen.Wait()
	p.show(collect.Progress{Phase: "domain", Count: 1})
	p.close()
}
