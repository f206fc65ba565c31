package cli

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/configmgr"
)

const exportScriptExample = `  leastwise configmgr export-script > Export-Site.ps1
  leastwise configmgr export-script --out Export-Site.ps1`

func (c *command) exportScript() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use: "export-script", Short: "Print the PowerShell that collects what is needed of a site",
		Long: `Prints a script for an administrator of the site: it reads, with the console's own module, the
columns that leastwise needs and never one that may hold a secret, and writes one file for
"leastwise configmgr import". Read it before you run it; it changes nothing.`,
		Example: exportScriptExample, Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			return c.write(cmd.Context(), &o, func(w io.Writer) error {
				_, err := io.WriteString(w, configmgr.ExportScript())
				return err
			})
		},
	}
	o.add(cmd, "powershell")
	return cmd
}
