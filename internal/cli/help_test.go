package cli

import (
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Every command says what it does and shows an example that begins with the
// program's name; commands that only hold others are excused from the example.
func TestHelp(t *testing.T) {
	c := &command{env: Environment{Out: io.Discard, Err: io.Discard}}
	n := 0
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		n++
		if cmd.Short == "" {
			t.Errorf("%s: no short help", cmd.CommandPath())
		}
		if !cmd.HasSubCommands() && !strings.Contains(cmd.Example, "leastwise "+strings.TrimPrefix(cmd.CommandPath(), "leastwise ")) {
			t.Errorf("%s: no example that calls it: %q", cmd.CommandPath(), cmd.Example)
		}
		if needed, _ := placeholders(cmd.Use); len(needed) > 0 && strings.HasSuffix(exampleOf(cmd), "--help") {
			t.Errorf("%s: no example on one line, to show whoever leaves %v out", cmd.CommandPath(), needed)
		}
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit(c.root())
	if n < 13 {
		t.Errorf("%d commands, of which the test knows of 13", n)
	}
}
