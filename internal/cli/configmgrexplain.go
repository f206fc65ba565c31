package cli

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/report"
)

const slotExplainExample = `  leastwise configmgr explain network-access
  leastwise configmgr explain client-push-installation --conditions
  leastwise configmgr explain sms-admins --output json`

func (c *command) slotExplain() *cobra.Command {
	var (
		o          output
		conditions bool
	)
	cmd := &cobra.Command{
		Use: "explain SLOT", Short: "What a slot is for, needs, must not have, and how it is changed",
		Long: `Shows the entry of the catalogue: purpose, releases, who acts if nobody is configured, rights
that are needed and forbidden, rules beside other slots, where the secret rests, how it is
rotated, and the controls; each with its origin. Lines are those of the reference of 2015.`,
		Example: slotExplainExample, Args: args(cobra.ExactArgs(1)), ValidArgsFunction: c.completeSlots,
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			cat, err := app.Slots()
			if err != nil {
				return err
			}
			e, err := findSlot(cat, names[0])
			if err != nil {
				return err
			}
			r := report.NewSlotEntry(cat, e)
			return c.write(cmd.Context(), &o, func(w io.Writer) error {
				if o.form == "json" {
					return r.JSON(w)
				}
				screen := c.screen(&o)
				screen.Evidence = conditions
				return r.Text(w, screen)
			})
		},
	}
	cmd.Flags().BoolVar(&conditions, "conditions", false, "table: also write condition, evidence and remedy of each control")
	o.add(cmd, "table", "json")
	return cmd
}
