package cli

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/configmgr"
)

const rotateExample = `  leastwise configmgr rotate --dry-run network-access --document site.yaml
  leastwise configmgr rotate --dry-run client-push-installation --site-code P01 --account 'CONTOSO\svc-cmpush' --document site.yaml --output json`

func (c *command) slotRotate() *cobra.Command {
	var (
		o             output
		in            siteInput
		site, account string
		dry           bool
	)
	cmd := &cobra.Command{
		Use: "rotate --dry-run SLOT", Short: "How the secret of a slot is changed at this site, step by step",
		Long: `Shows the procedure for a slot with the hosts, packages, task sequences and locations of the
site, what each step waits for and how that is seen, other slots of the same account, and what
is not known. Nothing is changed: without --dry-run the command refuses.`,
		Example: rotateExample, Args: args(cobra.ExactArgs(1)), ValidArgsFunction: c.completeSlots,
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			if !dry {
				return usagef("add --dry-run", "leastwise shows how to rotate and does not do it")
			}
			known, err := c.site(cmd, &in, false)
			if err != nil {
				return err
			}
			plans, err := procedures(known, names[0], site, account)
			if err != nil {
				return err
			}
			return c.write(cmd.Context(), &o, func(w io.Writer) error { return writeProcedures(w, plans, o.form) })
		},
	}
	in.add(cmd)
	cmd.Flags().BoolVar(&dry, "dry-run", false, "show the procedure (required)")
	addSite(cmd, &site, &in, c)
	cmd.Flags().StringVar(&account, "account", "", "`NAME` of one account of the slot, as configured or by SID")
	o.add(cmd, "table", "json")
	return cmd
}

// slotSites lists the sites that a question about a slot is asked of: the one that is
// named, or all where somebody fills it; all if that is so at none.
func slotSites(known *app.Site, e *configmgr.Entry, site string) ([]string, error) {
	if site != "" {
		return []string{site}, checkSite(known, site)
	}
	var filled, all []string
	for _, s := range known.Document.Sites {
		all = append(all, s.Code)
		for _, a := range known.Document.Assignments {
			if a.Entry == e.ID && a.Removed.IsZero() && (a.Site == "" || a.Site == s.Code) {
				filled = append(filled, s.Code)
				break
			}
		}
	}
	if len(all) == 0 {
		return nil, usagef("name the site in a document", "no site is known")
	}
	if len(filled) > 0 {
		return filled, nil
	}
	return all, nil
}

// procedures plans the rotation of a slot.
func procedures(known *app.Site, slot, site, account string) ([]*configmgr.Procedure, error) {
	e, err := findSlot(known.Catalogue, slot)
	if err != nil {
		return nil, err
	}
	sites, err := slotSites(known, e, site)
	if err != nil {
		return nil, err
	}
	var out []*configmgr.Procedure
	for _, s := range sites {
		p, err := known.Catalogue.Rotate(known.Document, configmgr.Slot{Entry: e.ID, Site: s, Name: account})
		if err != nil {
			return nil, usagef("see: leastwise configmgr slots", "%v", err)
		}
		out = append(out, p)
	}
	return out, nil
}

func writeProcedures(w io.Writer, plans []*configmgr.Procedure, form string) error {
	if form == "json" {
		return writeJSON(w, struct {
			Version    int                    `json:"version"`
			Procedures []*configmgr.Procedure `json:"procedures"`
		}{1, plans})
	}
	for i, p := range plans {
		if i > 0 {
			if _, err := io.WriteString(w, "\n"); err != nil {
				return err
			}
		}
		if err := p.WriteText(w); err != nil {
			return err
		}
	}
	return nil
}
