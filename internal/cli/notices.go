package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/report"
)

const noticesExample = `  leastwise notices
  leastwise notices --output json
  leastwise notices --retry 5f0c6f5a1d3e4b7a9c8d7e6f5a4b3c2d`

func (c *command) noticesCommand() *cobra.Command {
	var o output
	var retry string
	cmd := &cobra.Command{
		Use: "notices", Short: "List the notifications that could not be delivered, or let one try again",
		Long: `Lists the notifications that were put aside after the last try, with why, and says how many
are waiting. --retry lets one try again at once. Both work while the server runs.`,
		Example: noticesExample, Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.storeConfig(cmd, &o)
			if err != nil {
				return err
			}
			if retry != "" {
				if err := app.RetryNotice(cmd.Context(), cfg, retry, c.env.Now().UTC()); errors.Is(err, app.ErrNoNotice) {
					return usagef("see: leastwise notices", "%s is none that was put aside", quoted(retry))
				} else if err != nil {
					return err
				}
			}
			left, err := app.Notices(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			return c.write(cmd.Context(), &o, func(w io.Writer) error {
				if o.form == "json" {
					return writeJSON(w, left)
				}
				return noticesText(w, left)
			})
		},
	}
	cmd.Flags().StringVar(&retry, "retry", "", "`ID` of the notification that is to be tried again")
	addSettings(cmd, "database")
	o.add(cmd, "table", "json")
	return cmd
}

func noticesText(w io.Writer, left app.LeftNotices) error {
	var b strings.Builder
	for _, d := range left.Dead {
		to := d.Target
		if d.Recipient != "" {
			to += " " + d.Recipient
		}
		fmt.Fprintf(&b, "%s  %s  to %s, grant %s\n    %s\n    after %d tries: %s\n",
			d.ID, d.Created.UTC().Format(time.RFC3339), report.Visible(to), report.Visible(d.Grant), report.Visible(d.Text), d.Attempts, report.Visible(d.Fault))
	}
	fmt.Fprintf(&b, "%d put aside, %d waiting\n", len(left.Dead), left.Waiting)
	_, err := io.WriteString(w, b.String())
	return err
}
