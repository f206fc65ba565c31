package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/control"
)

func (c *command) controlsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "controls", Short: "The catalogue of controls",
		Args: args(cobra.NoArgs), RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.controlsList(), c.controlsShow(), c.controlsTest())
	return cmd
}

// entryView is the JSON form of a control.
type entryView struct {
	ID        string   `json:"id"`
	Title     string   `json:"title"`
	Section   string   `json:"section"`
	Severity  string   `json:"severity"`
	Reason    string   `json:"severity_reason"`
	Rationale string   `json:"rationale"`
	Select    string   `json:"select"`
	When      string   `json:"when,omitempty"`
	Pass      string   `json:"pass"`
	Fix       string   `json:"fix"`
	Verify    string   `json:"verify"`
	Tags      []string `json:"tags"`
}

func viewEntry(e *control.Entry) entryView {
	return entryView{e.ID, e.Title, e.Section, string(e.Severity), e.Reason, e.Rationale, e.Select, e.When, e.Pass, e.Fix, e.Verify, e.Tags}
}

func (c *command) controlsList() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "list", Short: "List the controls", Args: args(cobra.NoArgs),
		Example: "  leastwise controls list\n  leastwise controls list --catalogue own.yaml --output json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			set, err := c.controlSet(cmd)
			if err != nil {
				return err
			}
			return c.listControls(set.Catalogue.Entries(), output)
		},
	}
	addSettings(cmd, "assess")
	cmd.Flags().StringVar(&output, "output", "table", "table or json")
	complete(cmd, "output", "table", "json")
	return cmd
}

func (c *command) controlSet(cmd *cobra.Command) (*app.ControlSet, error) {
	cfg, err := c.config(cmd)
	if err != nil {
		return nil, err
	}
	set, err := app.Controls(cfg)
	if err != nil {
		return nil, &usageError{err, ""}
	}
	return set, nil
}

func (c *command) listControls(entries []*control.Entry, output string) error {
	switch output {
	case "json":
		views := make([]entryView, len(entries))
		for i, e := range entries {
			views[i] = viewEntry(e)
		}
		return writeJSON(c.env.Out, views)
	case "table":
		w := tabwriter.NewWriter(c.env.Out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tSEVERITY\tSECTION\tTITLE")
		for _, e := range entries {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", e.ID, e.Severity, e.Section, e.Title)
		}
		return w.Flush()
	}
	return usagef("use table or json", "controls list cannot write %q", output)
}

func (c *command) controlsShow() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show one control: condition, reasons, fix", Args: args(cobra.ExactArgs(1)),
		Example: "  leastwise controls show D-01-sensitive",
		RunE: func(cmd *cobra.Command, ids []string) error {
			set, err := c.controlSet(cmd)
			if err != nil {
				return err
			}
			e := set.Catalogue.Entry(ids[0])
			if e == nil {
				return usagef("see: leastwise controls list", "there is no control %q", ids[0])
			}
			if output == "json" {
				return writeJSON(c.env.Out, viewEntry(e))
			}
			return c.showControl(e)
		},
		ValidArgsFunction: func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			set, err := c.controlSet(cmd)
			if err != nil {
				return nil, cobra.ShellCompDirectiveError
			}
			var ids []string
			for _, e := range set.Catalogue.Entries() {
				ids = append(ids, e.ID+"\t"+e.Title)
			}
			return ids, cobra.ShellCompDirectiveNoFileComp
		},
	}
	addSettings(cmd, "assess")
	cmd.Flags().StringVar(&output, "output", "table", "table or json")
	complete(cmd, "output", "table", "json")
	return cmd
}

func (c *command) showControl(e *control.Entry) error {
	v := viewEntry(e)
	w := tabwriter.NewWriter(c.env.Out, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"id", v.ID},
		{"title", v.Title},
		{"section", v.Section},
		{"severity", v.Severity + ": " + v.Reason},
		{"rationale", v.Rationale},
		{"subjects", v.Select},
		{"when", v.When},
		{"pass", v.Pass},
		{"fix", v.Fix},
		{"verify", v.Verify},
		{"tags", strings.Join(v.Tags, ", ")},
	} {
		if row[1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", row[0], strings.Join(strings.Fields(row[1]), " "))
		}
	}
	return w.Flush()
}

func (c *command) controlsTest() *cobra.Command {
	var snapshot string
	cmd := &cobra.Command{
		Use: "test FILE…", Short: "Check catalogue files, and try them on a snapshot", Args: args(cobra.MinimumNArgs(1)),
		Example: "  leastwise controls test own.yaml\n  leastwise controls test own.yaml --snapshot contoso.lws",
		RunE: func(cmd *cobra.Command, files []string) error {
			cfg, err := c.config(cmd)
			if err != nil {
				return err
			}
			if err := cfg.Set("catalogue", strings.Join(append(cfg.List("catalogue"), files...), ";"), "arguments"); err != nil {
				return err
			}
			set, err := app.Controls(cfg)
			if err != nil {
				return &usageError{err, ""}
			}
			if snapshot == "" {
				fmt.Fprintf(c.env.Out, "ok: %d controls, those of %s among them\n", len(set.Catalogue.Entries()), strings.Join(files, ", "))
				return nil
			}
			return c.tryControls(cmd, set, snapshot)
		},
	}
	addSettings(cmd, "assess")
	cmd.Flags().StringVar(&snapshot, "snapshot", "", "snapshot, LDIF or fixture file to evaluate on")
	return cmd
}

// tryControls prints how each control came out.
func (c *command) tryControls(cmd *cobra.Command, set *app.ControlSet, file string) error {
	s, err := app.Load(cmd.Context(), file, c.tool(), c.env.Now().UTC())
	if err != nil {
		return err
	}
	a, err := set.Assess(s, c.env.Now().UTC(), c.tool())
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.env.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tPASS\tFAIL\tUNKNOWN\tEXCEPTED")
	for _, r := range a.Controls {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\n", r.ID, r.Pass, r.Fail, r.Unknown, r.Excepted)
	}
	return w.Flush()
}
