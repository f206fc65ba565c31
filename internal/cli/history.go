package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
)

const historyExample = `  # Keep a run each day; then see how it goes
  leastwise assess --domain contoso.com --keep --quiet --out today.txt
  leastwise history
  leastwise history --since 2026-01-01 --output json

  # What the last run found against those before it: new, gone, still there
  leastwise history last`

// historyFlags are the flags of history as text.
type historyFlags struct {
	output
	query app.HistoryQuery
	since string
}

func (c *command) historyCommand() *cobra.Command {
	var f historyFlags
	cmd := &cobra.Command{
		Use: "history [RUN]", Short: "Show how findings and privileged groups went, over the runs that were kept",
		Long: `Shows the runs that assess --keep and scheduled scans have stored, each compared with those
before it, and how the privileged groups went. With a run (its ID, the beginning of one, or
last) it lists the failures that are new, gone, still there, or undecided in it.

A run that read less than those before it is no improvement: failures that it could not see
stay open, as undecided, until a run has seen that they are gone.`,
		Example: historyExample, Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, runs []string) (err error) {
			if f.query.Since, err = parseTime("since", f.since); err != nil {
				return err
			}
			if len(runs) > 0 && f.since != "" {
				return usagef("leave one of the two out", "--since is for the list of runs, and a run is named: %s", runs[0])
			}
			return historyError(c.history(cmd, &f, runs))
		},
	}
	addSettings(cmd, "database")
	f.add(cmd, "table", "json")
	cmd.Flags().StringVar(&f.query.Forest, "forest", "", "`NAME` of a domain of the forest, where runs of several were kept")
	cmd.Flags().StringVar(&f.since, "since", "", "runs that ended from this `TIME` on: 2026-11-22 or 2026-11-22T12:00:00Z")
	cmd.AddCommand(c.historyForgetCommand())
	return cmd
}

func (c *command) history(cmd *cobra.Command, f *historyFlags, runs []string) error {
	cfg, err := c.storeConfig(cmd, &f.output)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	if len(runs) > 0 {
		change, err := app.ChangeOf(ctx, cfg, f.query, runs[0])
		if err != nil {
			return err
		}
		return c.write(ctx, &f.output, func(w io.Writer) error {
			if f.form == "json" {
				return change.JSON(w)
			}
			return change.Text(w, c.screen(&f.output))
		})
	}
	h, err := app.HistoryOf(ctx, cfg, f.query)
	if err != nil {
		return err
	}
	return c.write(ctx, &f.output, func(w io.Writer) error {
		if f.form == "json" {
			return h.JSON(w)
		}
		return h.Text(w, c.screen(&f.output))
	})
}

// historyError makes a question without an answer one of usage.
func historyError(err error) error {
	if errors.Is(err, app.ErrHistory) {
		return &usageError{err, "leastwise history lists the runs"}
	}
	return err
}

func (c *command) historyForgetCommand() *cobra.Command {
	var o output
	var forest, before string
	cmd := &cobra.Command{
		Use: "forget", Short: "Delete the runs that ended before a time",
		Long: `Deletes runs with their populations and findings. The audit log keeps the hash of each and says
that it was deleted, when and by whom.`,
		Example: "  leastwise history forget --before 2024-01-01", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if before == "" {
				return usagef("add --before TIME", "no time is named before which runs are to be deleted")
			}
			at, err := parseTime("before", before)
			if err != nil {
				return err
			}
			cfg, err := c.storeConfig(cmd, &o)
			if err != nil {
				return err
			}
			ids, err := app.ForgetRuns(cmd.Context(), cfg, forest, at, c.env.Now().UTC())
			if err != nil {
				return historyError(err)
			}
			return c.write(cmd.Context(), &o, func(w io.Writer) error {
				if o.form == "json" {
					return writeJSON(w, struct {
						Forgotten []string `json:"forgotten"`
					}{append([]string{}, ids...)})
				}
				_, err := fmt.Fprintf(w, "%d runs were deleted\n", len(ids))
				return err
			})
		},
	}
	addSettings(cmd, "database")
	o.add(cmd, "table", "json")
	cmd.Flags().StringVar(&forest, "forest", "", "`NAME` of a domain of the forest; default: all")
	cmd.Flags().StringVar(&before, "before", "", "`TIME` before which the runs ended: 2026-11-22 or 2026-11-22T12:00:00Z")
	return cmd
}
