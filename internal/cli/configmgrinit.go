package cli

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
)

const slotInitExample = `  leastwise configmgr init --snapshot contoso.lws > site.yaml
  leastwise configmgr init --domain contoso.test --out site.yaml`

func (c *command) slotInit() *cobra.Command {
	var snapshot string
	var o output
	cmd := &cobra.Command{
		Use: "init", Short: "Write a first document of who fills the slots, to be completed by a person",
		Long: `Prints a commented YAML file: the sites and management points that Active Directory shows, who
else it shows with full control of the System Management container, and every account of
Configuration Manager with what it is for, to be filled in. The schema of the file is
docs/schema/configmgr.schema.json.`,
		Example: slotInitExample, Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			s, err := c.input(cmd, snapshot)
			if err != nil {
				return err
			}
			text, err := app.InitSlots(s)
			if err != nil {
				return err
			}
			return c.write(cmd.Context(), &o, func(w io.Writer) error {
				_, err := io.WriteString(w, text)
				return err
			})
		},
	}
	addSettings(cmd, "directory")
	addSnapshot(cmd, &snapshot)
	o.add(cmd, "yaml")
	return cmd
}
