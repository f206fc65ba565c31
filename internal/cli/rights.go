package cli

import (
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/report"
)

const rightsExample = `  leastwise rights SRV-042 --snapshot contoso.lws
  leastwise rights srv-042.contoso.com --domain contoso.com --output json`

func (c *command) rightsCommand() *cobra.Command {
	var f assessFlags
	cmd := &cobra.Command{
		Use: "rights COMPUTER", Short: "Resultant user rights and local groups of a computer",
		Long: `Shows which user rights and local group members group policy gives a computer, which
policy won, what the others would have set and why they lost, and what could not be
decided (WMI filters, unreadable policies). COMPUTER is a name (with or without $), a
DNS name or a distinguished name.`,
		Example: rightsExample, Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, names []string) error {
			if f.output != "table" && f.output != "json" {
				return usagef("use table or json", "rights cannot write %q", f.output)
			}
			return c.rights(cmd, names[0], f)
		},
	}
	addSettings(cmd, "directory")
	cmd.Flags().StringVar(&f.snapshot, "snapshot", "", "snapshot, LDIF or fixture file instead of a live domain")
	cmd.Flags().StringVar(&f.output, "output", "table", "table or json")
	cmd.Flags().StringVar(&f.out, "out", "", "file to write instead of standard output")
	complete(cmd, "output", "table", "json")
	return cmd
}

func (c *command) rights(cmd *cobra.Command, name string, f assessFlags) error {
	cfg, err := c.config(cmd)
	if err != nil {
		return err
	}
	if err := checkOut(f.out); err != nil {
		return err
	}
	s, err := c.snapshot(cmd.Context(), cfg, f.snapshot)
	if err != nil {
		return err
	}
	computer, err := findComputer(s, name)
	if err != nil {
		return err
	}
	res, err := app.Resultant(s, computer)
	if err != nil {
		return err
	}
	r := report.NewRights(s, computer, res)
	return c.write(cmd.Context(), f.out, func(w io.Writer) error {
		if f.output == "json" {
			return r.JSON(w)
		}
		return r.Text(w, c.screen(f.out))
	})
}

// screen describes what text is written to: a terminal, or a file or pipe.
func (c *command) screen(out string) report.Screen {
	if out != "" {
		return report.Screen{}
	}
	return report.Screen{Width: c.env.OutTerminal, Color: c.env.color(c.env.OutTerminal)}
}

// findComputer resolves what a person types for a computer.
func findComputer(s *forest.Snapshot, name string) (forest.ID, error) {
	if id := s.Lookup(name); id != forest.None {
		if s.IsA(id, "computer") {
			return id, nil
		}
		return forest.None, usagef("name a computer", "%s is a %s, not a computer", name, s.Class(id))
	}
	var found []forest.ID
	for _, sam := range []string{name, name + "$"} {
		for _, id := range s.BySAMAccountName(sam) {
			if s.IsA(id, "computer") {
				found = append(found, id)
			}
		}
	}
	for _, id := range s.With(forest.DNSHostName) {
		if host, _ := s.Str(id, forest.DNSHostName); strings.EqualFold(host, name) && s.IsA(id, "computer") {
			found = append(found, id)
		}
	}
	slices.Sort(found)
	switch found = slices.Compact(found); len(found) {
	case 0:
		return forest.None, usagef("name it as in Active Directory: SRV-042, srv-042.contoso.com or its distinguished name", "there is no computer %q in this forest", name)
	case 1:
		return found[0], nil
	}
	return forest.None, usagef("use the distinguished name", "%d computers are named %q: %s and %s", len(found), name, s.DN(found[0]), s.DN(found[1]))
}
