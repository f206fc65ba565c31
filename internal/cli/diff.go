package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/report"
)

const diffExample = `  leastwise diff monday.lws friday.lws
  leastwise diff monday.lws friday.lws --output json | jq '.findings.added[].title'

  # in a pipeline: exit code 1 if a finding of severity high or worse is new
  leastwise diff monday.lws friday.lws --fail-on high`

func (c *command) diffCommand() *cobra.Command {
	var f assessFlags
	cmd := &cobra.Command{
		Use: "diff A B", Short: "What changed between two snapshots, and what it changed in findings",
		Long: `Compares two snapshots (or LDIF or fixture files) of one forest: objects that came,
went, moved or changed, and the findings that are new, fixed or changed. What could
not be read in one of the two is stated and never taken for a change.`,
		Example: diffExample, Args: args(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, files []string) error {
			if f.output != "table" && f.output != "json" {
				return usagef("use table or json", "diff cannot write %q", f.output)
			}
			if err := checkSeverity(f.failOn); err != nil {
				return err
			}
			return c.diff(cmd, files[0], files[1], f)
		},
	}
	addSettings(cmd, "assess")
	cmd.Flags().StringVar(&f.output, "output", "table", "table or json")
	cmd.Flags().StringVar(&f.out, "out", "", "file to write instead of standard output")
	cmd.Flags().StringVar(&f.failOn, "fail-on", "", "exit with code 1 if a finding of this severity or worse is new")
	complete(cmd, "output", "table", "json")
	complete(cmd, "fail-on", severities...)
	return cmd
}

func (c *command) diff(cmd *cobra.Command, a, b string, f assessFlags) error {
	set, err := c.controlSet(cmd)
	if err != nil {
		return err
	}
	d, err := app.Diff(cmd.Context(), set, a, b, c.tool(), c.env.Now().UTC())
	if err != nil {
		return err
	}
	err = c.write(cmd.Context(), f.out, func(w io.Writer) error {
		if f.output == "json" {
			return writeJSON(w, d)
		}
		if err := report.ChangesText(w, d.Directory, c.screen(f.out)); err != nil {
			return err
		}
		return d.Findings.Text(w, c.screen(f.out))
	})
	if err != nil {
		return err
	}
	n := 0
	for _, v := range d.New {
		if atLeast(v, f.failOn) {
			n++
		}
	}
	if n > 0 {
		return &findingsError{fmt.Sprintf("%d new findings of severity %s or worse", n, f.failOn)}
	}
	return nil
}
