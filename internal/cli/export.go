package cli

import (
	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/bloodhound"
)

const exportExample = `  # everything by which somebody can gain Tier 0, for BloodHound's file ingest
  leastwise export --snapshot contoso.lws --out tier0.json
  leastwise export --snapshot contoso.lws --target 'CONTOSO\Domain Admins' --format opengraph > da.json`

func (c *command) exportCommand() *cobra.Command {
	var (
		o    = output{forms: []string{"opengraph"}}
		file string
		goal aim
	)
	cmd := &cobra.Command{
		Use: "export", Short: "Write the control graph for BloodHound (OpenGraph)",
		Long: `Writes every step by which something can gain the target as BloodHound OpenGraph: nodes under
BloodHound's own identifiers, so that they meet the objects of a collection of the same domain,
and edges whose kinds begin with LW_, with the entry that makes each (docs/FORMATS.md). What
depends on a condition says so in "condition", and what must be gained besides in "also_gain".`,
		Example: exportExample, Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			s, err := c.input(cmd, file)
			if err != nil {
				return err
			}
			goals, err := c.findGoals(s, goal.target, goal.zones)
			if err != nil {
				return err
			}
			g := app.Power(s)
			graph := bloodhound.NewOpenGraph(s, g, goals(g))
			if err := c.write(cmd.Context(), &o, graph.Write); err != nil {
				return err
			}
			c.note("%d nodes, %d edges", len(graph.Nodes), len(graph.Edges))
			c.noteGaps(s)
			return nil
		},
	}
	cmd.Flags().StringVar(&o.form, "format", "opengraph", "form of the `GRAPH`: opengraph")
	complete(cmd, "format", o.forms...)
	cmd.Flags().StringVar(&o.file, "out", "", "`FILE` to write instead of standard output")
	cmd.Flags().StringVar(&goal.target, "target", "tier0", "what is to be gained: an `OBJECT`, tier0 or a zone of --zones")
	addZones(cmd, &goal.zones)
	addSettings(cmd, "directory")
	addSnapshot(cmd, &file)
	return cmd
}
