package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/control"
	"github.com/leastwise/leastwise/internal/forest"
)

func (c *command) versionCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version", Args: args(cobra.NoArgs),
		Example: "  leastwise version\n  leastwise version --output json",
		RunE: func(*cobra.Command, []string) error {
			switch output {
			case "json":
				return writeJSON(c.env.Out, map[string]any{
					"version": c.env.Version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH,
					"snapshot_format": snapshotFormat(), "assessment_format": control.FormatVersion,
				})
			case "table":
				_, err := fmt.Fprintln(c.env.Out, c.versionText())
				return err
			}
			return usagef("use table or json", "version cannot write %q", output)
		},
	}
	cmd.Flags().StringVar(&output, "output", "table", "`FORM` of the result: table or json")
	complete(cmd, "output", "table", "json")
	return cmd
}

// versionText names the program, what it was built with, and its file formats.
func (c *command) versionText() string {
	return fmt.Sprintf("leastwise %s (%s, %s/%s; snapshot format %s, assessment format %d)",
		c.env.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH, snapshotFormat(), control.FormatVersion)
}

// snapshotFormat returns the version of the snapshot files that this program writes.
func snapshotFormat() string { return fmt.Sprintf("%d.%d", forest.FormatMajor, forest.FormatMinor) }
