package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/control"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/report"
)

// addZones gives cmd the flag that names a file of zones.
func addZones(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "zones", "", "`FILE` of zones instead of the default (see leastwise zones)")
}

// readZones reads a file of zones, or the default.
func readZones(file string) ([]control.Zone, error) {
	if file == "" {
		return control.ParseZones("default", control.DefaultZones)
	}
	data, err := app.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the zones in %s: %w", file, err)
	}
	zones, err := control.ParseZones(filepath.Base(file), data)
	if err != nil {
		return nil, &usageError{err, "leastwise zones default prints a file to begin with"}
	}
	return zones, nil
}

// findGoals resolves a target: a zone, or an object. A zone goes before an object of
// the same name.
func (c *command) findGoals(s *forest.Snapshot, name, zonesFile string) (func(*reach.Graph) []forest.ID, error) {
	zones, err := readZones(zonesFile)
	if err != nil {
		return nil, err
	}
	wanted := strings.TrimPrefix(strings.ToLower(strings.TrimSpace(name)), "zone:")
	for i := range zones {
		if z := &zones[i]; z.Name == wanted || strings.EqualFold(z.Title, wanted) {
			return func(g *reach.Graph) []forest.ID {
				ids, unknown := z.Resolve(g, reach.New(s), s)
				c.noteUnknown(z, unknown, zonesFile)
				return ids
			}, nil
		}
	}
	id, err := findObject(s, name)
	if err != nil && (zonesFile == "" || len(objectsNamed(s, name)) > 1) {
		return nil, err
	}
	if err != nil {
		var names []string
		for _, z := range zones {
			names = append(names, z.Name)
		}
		return nil, usagef(nameHint+"; zones: "+strings.Join(names, ", "), "there is no object and no zone %s in this forest", quoted(name))
	}
	return func(*reach.Graph) []forest.ID { return []forest.ID{id} }, nil
}

// noteUnknown says which entries of a zone of a file name nothing in the forest, and
// so do not count; whoever mistyped a name would take the answer for that about it.
// Not every forest has what the default zones list.
func (c *command) noteUnknown(z *control.Zone, unknown []string, file string) {
	const most = 10
	if file == "" || len(unknown) == 0 {
		return
	}
	for _, name := range unknown[:min(len(unknown), most)] {
		c.note("zone %s: %s names nothing in this forest and does not count", z.Name, quoted(name))
	}
	if more := len(unknown) - most; more > 0 {
		c.note("zone %s: so do %d further entries; see leastwise zones list", z.Name, more)
	}
}

func (c *command) zonesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "zones", Short: "Zones: what must not be reached, such as Tier 0",
		Long: `A zone is a set of objects that is worth the same protection, and has a level: 0 is the
highest. Without --zones there is one, Tier 0. A file may hold others: print the default with
"leastwise zones default", edit it, and give it to who-can, explain, reach --all, whatif and
export by --zones.`,
		Args: args(cobra.NoArgs), RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.zonesDefault(), c.zonesList(), c.zonesShow())
	return cmd
}

func (c *command) zonesDefault() *cobra.Command {
	return &cobra.Command{
		Use: "default", Short: "Print the default zones as a file to begin with", Args: args(cobra.NoArgs),
		Example: "  leastwise zones default > zones.yaml",
		RunE: func(*cobra.Command, []string) error {
			_, err := c.env.Out.Write(control.DefaultZones)
			return err
		},
	}
}

// zoneView is the JSON form of a zone in a forest.
type zoneView struct {
	Name    string          `json:"name"`
	Title   string          `json:"title"`
	Level   int             `json:"level"`
	Count   int             `json:"count"`
	Unknown []string        `json:"unknown"` // entries that name nothing in this forest
	Objects []control.Place `json:"objects,omitempty"`
}

// viewZones resolves zones in the forest of s.
func viewZones(s *forest.Snapshot, zones []control.Zone, objects bool) []zoneView {
	x := reach.New(s)
	g := reach.NewGraph(x, nil)
	n := control.WayNames{Snapshot: s}
	var out []zoneView
	for i := range zones {
		ids, unknown := zones[i].Resolve(g, x, s)
		v := zoneView{Name: zones[i].Name, Title: zones[i].Title, Level: zones[i].Level, Count: len(ids), Unknown: append([]string{}, unknown...)}
		for _, id := range ids {
			if objects {
				v.Objects = append(v.Objects, n.Object(id))
			}
		}
		out = append(out, v)
	}
	return out
}

func (c *command) zonesList() *cobra.Command {
	var (
		o           output
		file, zones string
	)
	cmd := &cobra.Command{
		Use: "list", Short: "List the zones, and how many objects of a forest each holds", Args: args(cobra.NoArgs),
		Example: "  leastwise zones list --snapshot contoso.lws\n  leastwise zones list --zones own.yaml --snapshot contoso.lws --output json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.showZones(cmd, &o, zonesAsked{file: file, zones: zones})
		},
	}
	addZones(cmd, &zones)
	addSettings(cmd, "directory")
	addSnapshot(cmd, &file)
	o.add(cmd, "table", "json")
	return cmd
}

func (c *command) zonesShow() *cobra.Command {
	var (
		o           output
		file, zones string
	)
	cmd := &cobra.Command{
		Use: "show ZONE", Short: "List the objects of a forest that a zone holds", Args: args(cobra.ExactArgs(1)),
		Example: "  leastwise zones show tier0 --snapshot contoso.lws",
		RunE: func(cmd *cobra.Command, names []string) error {
			return c.showZones(cmd, &o, zonesAsked{file: file, zones: zones, name: names[0]})
		},
	}
	addZones(cmd, &zones)
	addSettings(cmd, "directory")
	addSnapshot(cmd, &file)
	o.add(cmd, "table", "json")
	return cmd
}

// zonesAsked is which zones are to be shown: one with its objects if name is set.
type zonesAsked struct{ file, zones, name string }

func (c *command) showZones(cmd *cobra.Command, o *output, ask zonesAsked) error {
	if err := c.checkOutput(cmd, o); err != nil {
		return err
	}
	zones, err := readZones(ask.zones)
	if err != nil {
		return err
	}
	if ask.name != "" {
		all := zones
		zones = slices.DeleteFunc(slices.Clone(zones), func(z control.Zone) bool { return !strings.EqualFold(z.Name, ask.name) })
		if len(zones) == 0 {
			var names []string
			for _, z := range all {
				names = append(names, z.Name)
			}
			return usagef("there are "+strings.Join(names, ", "), "there is no zone %s", quoted(ask.name))
		}
	}
	s, err := c.input(cmd, ask.file)
	if err != nil {
		return err
	}
	views := viewZones(s, zones, ask.name != "")
	c.noteGaps(s) // members that were not read are in no zone
	return c.write(cmd.Context(), o, func(w io.Writer) error {
		if o.form == "json" {
			enc := json.NewEncoder(w)
			enc.SetIndent("", "  ")
			return enc.Encode(map[string]any{"version": 1, "zones": views, "missing": report.Missing(s)})
		}
		return writeZones(w, views)
	})
}

func writeZones(w io.Writer, views []zoneView) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, v := range views {
		fmt.Fprintf(t, "%s\tlevel %d\t%d objects\t%s\n", v.Name, v.Level, v.Count, report.Visible(v.Title))
		for _, o := range v.Objects {
			fmt.Fprintf(t, "  %s\t%s\t%s\n", report.Visible(o.Name), o.Class, report.Visible(o.DN))
		}
		for _, u := range v.Unknown {
			fmt.Fprintf(t, "  not in this forest\t%s\n", report.Visible(u))
		}
	}
	return t.Flush()
}
