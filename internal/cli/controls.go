package cli

import (
	"fmt"
	"io"
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
	var o output
	cmd := &cobra.Command{
		Use: "list", Short: "List the controls", Args: args(cobra.NoArgs),
		Example: "  leastwise controls list\n  leastwise controls list --catalogue own.yaml --output json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			cat, err := c.catalogue(cmd)
			if err != nil {
				return err
			}
			return c.write(cmd.Context(), &o, func(w io.Writer) error { return listControls(w, cat.Entries(), o.form) })
		},
	}
	addSettings(cmd, "controls")
	o.add(cmd, "table", "json")
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

// catalogue reads the controls alone, without what they are applied with.
func (c *command) catalogue(cmd *cobra.Command) (*control.Catalogue, error) {
	cfg, err := c.config(cmd)
	if err != nil {
		return nil, err
	}
	cat, err := app.Catalogue(cfg)
	if err != nil {
		return nil, &usageError{err, ""}
	}
	return cat, nil
}

func listControls(out io.Writer, entries []*control.Entry, form string) error {
	if form == "json" {
		views := make([]entryView, len(entries))
		for i, e := range entries {
			views[i] = viewEntry(e)
		}
		return writeJSON(out, views)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSEVERITY\tSECTION\tTITLE")
	for _, e := range entries {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", e.ID, e.Severity, e.Section, e.Title)
	}
	return w.Flush()
}

func (c *command) controlsShow() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show one control: condition, reasons, fix", Args: args(cobra.ExactArgs(1)),
		Example: "  leastwise controls show D-01-sensitive",
		RunE: func(cmd *cobra.Command, ids []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			cat, err := c.catalogue(cmd)
			if err != nil {
				return err
			}
			e, err := findControl(cat, ids[0])
			if err != nil {
				return err
			}
			return c.write(cmd.Context(), &o, func(w io.Writer) error { return showControl(w, e, o.form) })
		},
		ValidArgsFunction: c.completeControls,
	}
	addSettings(cmd, "controls")
	o.add(cmd, "table", "json")
	return cmd
}

// completeControls offers the IDs of controls to the shell.
func (c *command) completeControls(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	cat, err := c.catalogue(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	if len(given) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var ids []string
	for _, e := range cat.Entries() {
		ids = append(ids, e.ID+"\t"+e.Title)
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// findControl finds a control by its ID in any case, or by the part of the ID
// before its words (I-14 for I-14-name) if only one control has that.
func findControl(cat *control.Catalogue, id string) (*control.Entry, error) {
	var found []*control.Entry
	for _, e := range cat.Entries() {
		switch {
		case strings.EqualFold(e.ID, id):
			return e, nil
		case len(e.ID) > len(id) && e.ID[len(id)] == '-' && strings.EqualFold(e.ID[:len(id)], id):
			found = append(found, e)
		}
	}
	switch len(found) {
	case 0:
		return nil, usagef("see: leastwise controls list", "there is no control %q", id)
	case 1:
		return found[0], nil
	}
	ids := make([]string, len(found))
	for i, e := range found {
		ids[i] = e.ID
	}
	return nil, usagef("name one of them", "%d controls begin with %s-: %s", len(ids), id, strings.Join(ids, ", "))
}

// showControl writes one control as a list of its fields or as JSON.
func showControl(out io.Writer, e *control.Entry, form string) error {
	v := viewEntry(e)
	if form == "json" {
		return writeJSON(out, v)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
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
	addSettings(cmd, "controls", "assess")
	cmd.Flags().StringVar(&snapshot, "snapshot", "", "`FILE` to evaluate on: snapshot, LDIF or fixture")
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
