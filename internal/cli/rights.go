package cli

import (
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/report"
	"github.com/leastwise/leastwise/internal/secdesc"
)

const rightsExample = `  leastwise rights SRV-042 --snapshot contoso.lws
  leastwise rights srv-042.contoso.com --domain contoso.com --output json`

func (c *command) rightsCommand() *cobra.Command {
	var (
		o    output
		file string
	)
	cmd := &cobra.Command{
		Use: "rights COMPUTER", Short: "Resultant user rights and local groups of a computer",
		Long: `Shows which user rights and local group members group policy gives a computer, which
policy won, what the others would have set and why they lost, and what could not be
decided (WMI filters, unreadable policies). COMPUTER is a name (with or without its
domain, with or without $), a DNS name, a SID or a distinguished name.`,
		Example: rightsExample, Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			return c.rights(cmd, names[0], file, &o)
		},
	}
	addSettings(cmd, "directory")
	addSnapshot(cmd, &file)
	o.add(cmd, "table", "json")
	return cmd
}

func (c *command) rights(cmd *cobra.Command, name, file string, o *output) error {
	s, err := c.input(cmd, file)
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
	return c.write(cmd.Context(), o, func(w io.Writer) error {
		if o.form == "json" {
			return r.JSON(w)
		}
		return r.Text(w, c.screen(o))
	})
}

// findComputer resolves what a person types for a computer: its distinguished
// name, its SID, DOMAIN\NAME, NAME (both with or without $), or its DNS name.
func findComputer(s *forest.Snapshot, name string) (forest.ID, error) {
	id := s.Lookup(name)
	if sid, err := secdesc.ParseSID(name); err == nil {
		id = s.BySID(sid)
	}
	if id != forest.None {
		if s.IsA(id, "computer") {
			return id, nil
		}
		return forest.None, usagef("name a computer", "%s is a %s, not a computer", name, s.Class(id))
	}
	found := computersNamed(s, name)
	switch len(found) {
	case 0:
		return forest.None, usagef(`name it as in Active Directory: SRV-042, CONTOSO\SRV-042, srv-042.contoso.com, its SID or its distinguished name`,
			"there is no computer %s in this forest", quoted(name))
	case 1:
		return found[0], nil
	}
	return forest.None, usagef("use the distinguished name", "%d computers are named %s: %s and %s", len(found), quoted(name), s.DN(found[0]), s.DN(found[1]))
}

// quoted puts a name between quotes, with backslashes as they were typed.
func quoted(name string) string { return strings.ReplaceAll(strconv.Quote(name), `\\`, `\`) }

// computersNamed lists the computers with an account name or a DNS name.
func computersNamed(s *forest.Snapshot, name string) []forest.ID {
	account, domain := name, ""
	if before, after, ok := strings.Cut(name, `\`); ok {
		domain, account = before, after
	}
	var found []forest.ID
	for _, sam := range []string{account, account + "$"} {
		for _, id := range s.BySAMAccountName(sam) {
			if s.IsA(id, "computer") && (domain == "" || isOfDomain(s, id, domain)) {
				found = append(found, id)
			}
		}
	}
	for _, id := range s.With(forest.DNSHostName) {
		if host, _ := s.Str(id, forest.DNSHostName); strings.EqualFold(host, strings.TrimSuffix(name, ".")) && s.IsA(id, "computer") {
			found = append(found, id)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// isOfDomain reports whether id belongs to the domain of a NetBIOS or DNS name.
func isOfDomain(s *forest.Snapshot, id forest.ID, name string) bool {
	d, ok := s.DomainOf(id)
	return ok && (strings.EqualFold(d.NetBIOS, name) || strings.EqualFold(d.DNS, name))
}
