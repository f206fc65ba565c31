package cli

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/report"
)

const diffExample = `  leastwise diff monday.lws friday.lws
  leastwise diff monday.lws friday.lws --output json | jq '.findings.added[].title'

  # in a pipeline: exit code 1 if a finding of severity high or worse is new,
  # or has grown: one more domain administrator
  leastwise diff monday.lws friday.lws --fail-on high`

func (c *command) diffCommand() *cobra.Command {
	var (
		o     output
		level string
	)
	cmd := &cobra.Command{
		Use: "diff A B", Short: "What changed between two snapshots, and what it changed in findings",
		Long: `Compares two snapshots (or LDIF or fixture files) of one forest: objects that came,
went, moved or changed, and the findings that are new, fixed or changed. What could
not be read in one of the two is stated and never taken for a change.

A finding has grown if it is a failure that was unknown or accepted before, is more
severe, or is about another account, entry or computer than before.`,
		Example: diffExample, Args: args(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, files []string) error {
			if err := checkSeverity(cmd, level); err != nil {
				return err
			}
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			return c.diff(cmd, [2]string(files), &o, level)
		},
	}
	addSettings(cmd, "controls", "assess")
	o.add(cmd, "table", "json")
	addFailOn(cmd, &level, "a new or grown finding is")
	return cmd
}

func (c *command) diff(cmd *cobra.Command, files [2]string, o *output, level string) error {
	set, err := c.controlSet(cmd)
	if err != nil {
		return err
	}
	d, err := app.Diff(cmd.Context(), set, files, c.tool(), c.env.Now().UTC())
	if err != nil {
		return err
	}
	err = c.write(cmd.Context(), o, func(w io.Writer) error {
		if o.form == "json" {
			return writeJSON(w, d)
		}
		if err := report.ChangesText(w, d.Directory, c.screen(o)); err != nil {
			return err
		}
		return d.Findings.Text(w, c.screen(o))
	})
	if err != nil {
		return err
	}
	return failOn(append(d.New, d.Grown...), level, "new or grown ")
}
