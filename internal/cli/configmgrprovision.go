package cli

import (
	"cmp"
	"errors"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/internal/forest"
)

const provisionExample = `  leastwise configmgr provision network-access --name svc-cmnaa2 --ou 'OU=Service Accounts,DC=contoso,DC=com' --document site.yaml
  leastwise configmgr provision ts-domain-joining --name svc-cmjoin --ou 'OU=Service Accounts,DC=contoso,DC=com' \
      --join-ou OU=Workstations,DC=contoso,DC=com --document site.yaml --output powershell --out make.ps1
  leastwise configmgr provision ts-domain-joining --name svc-cmjoin --ou 'OU=Service Accounts,DC=contoso,DC=com' --document site.yaml --undo --output ldif`

func (c *command) slotProvision() *cobra.Command {
	var (
		o    output
		in   siteInput
		req  configmgr.ProvisionRequest
		undo bool
	)
	cmd := &cobra.Command{
		Use: "provision SLOT --name ACCOUNT --ou DN", Short: "Plan the least-privileged account of a slot",
		Long: `Prints what makes the account of a slot with no more than it needs: account and flags, groups,
logon rights and denials, entries of the directory, shares, database; each with its inverse
(--undo prints that). Nothing is carried out, and no password is made: the script asks
for one, LDIF leaves the account disabled. What the plan lacks is listed with the flag that gives it.`,
		Example: provisionExample, Args: args(cobra.ExactArgs(1)), ValidArgsFunction: c.completeSlots,
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			if req.Account == "" || req.OU == "" {
				return usagef("add --name ACCOUNT and --ou DN", "the new account needs a name and a place")
			}
			known, err := c.site(cmd, &in, false)
			if err != nil {
				return err
			}
			if !undo {
				if err := checkNew(known.Snapshot, req); err != nil {
					return err
				}
			}
			p, err := provision(known, names[0], req)
			if err != nil {
				return err
			}
			return c.write(cmd.Context(), &o, func(w io.Writer) error { return writeProvision(w, p, o.form, undo) })
		},
	}
	in.add(cmd)
	addSite(cmd, &req.Slot.Site, &in, c)
	f := cmd.Flags()
	f.StringVar(&req.Account, "name", "", "sAMAccountName of the `ACCOUNT` (required)")
	f.StringVar(&req.OU, "ou", "", "`DN` of the organizational unit for it (required)")
	f.StringVar(&req.NetBIOS, "netbios", "", "NetBIOS `NAME` of its domain (default: as the snapshot says)")
	f.StringVar(&req.DenyGroup, "deny-group", "", "`DN` of a group that policies deny logons")
	f.StringArrayVar(&req.Locations, "location", nil, "`DN` that is discovered, or of a domain that is published to (may be repeated)")
	f.StringArrayVar(&req.JoinOUs, "join-ou", nil, "`DN` where computers are joined (may be repeated)")
	f.StringArrayVar(&req.Hosts, "host", nil, "DNS `NAME` of a computer of the slot (may be repeated; default: those that the document knows)")
	f.StringArrayVar(&req.Shares, "share", nil, "`PATH` such as \\\\host\\share\\folder (may be repeated)")
	f.StringVar(&req.Server, "sql-server", "", "`HOST` or HOST\\INSTANCE of the database")
	f.StringVar(&req.Database, "sql-database", "", "`NAME` of the database")
	f.BoolVar(&undo, "undo", false, "print the inverse")
	o.add(cmd, "table", "ldif", "powershell", "json")
	return cmd
}

// provision plans the account of a slot at the site that is named, or the only one.
func provision(known *app.Site, slot string, req configmgr.ProvisionRequest) (*configmgr.Provision, error) {
	e, err := findSlot(known.Catalogue, slot)
	if err != nil {
		return nil, err
	}
	if req.Slot.Site, err = oneSite(known, req.Slot.Site); err != nil {
		return nil, err
	}
	req.Slot.Entry = e.ID
	if s := known.Snapshot; s != nil {
		if d, ok := domainOfDN(s, req.OU); ok {
			req.Domain, req.NetBIOS = cmp.Or(req.Domain, d.DNS), cmp.Or(req.NetBIOS, d.NetBIOS)
		}
	}
	notes, err := checkPlaces(known.Snapshot, req)
	if err != nil {
		return nil, err
	}
	p, err := known.Catalogue.Provision(known.Document, req)
	if err == nil {
		p.Notes = append(p.Notes, notes...)
	}
	if errors.Is(err, configmgr.ErrSlot) || errors.Is(err, configmgr.ErrParameter) || errors.Is(err, configmgr.ErrNotProvisioned) {
		return nil, usagef("see: leastwise configmgr explain "+e.ID, "%v", err)
	}
	return p, err
}

// checkPlaces refuses containers that the snapshot would hold if they were there, and
// notes those of which it cannot tell.
func checkPlaces(s *forest.Snapshot, req configmgr.ProvisionRequest) (notes []string, err error) {
	for _, x := range []struct {
		flag string
		dns  []string
	}{{"--ou", []string{req.OU}}, {"--join-ou", req.JoinOUs}, {"--location", req.Locations}} {
		for _, dn := range x.dns {
			switch {
			case dn == "":
			case s == nil:
				notes = append(notes, "Whether "+dn+" is there was not looked at: no snapshot was given.")
			case s.Lookup(dn) != forest.None:
			case !listed(s, dn):
				notes = append(notes, "Whether "+dn+" is there is not known: the snapshot does not hold all of its domain.")
			default:
				return nil, usagef("name a container that is there, or scan the domain again", "%s: the snapshot has no %s", x.flag, quoted(dn))
			}
		}
	}
	return notes, nil
}

// listed says whether the snapshot holds the domain of a name, and all of its containers.
func listed(s *forest.Snapshot, dn string) bool {
	d, ok := domainOfDN(s, dn)
	return ok && d.Head != forest.None && !slices.ContainsFunc(s.Coverage(), func(c forest.Coverage) bool {
		return !c.Complete() && (c.Area == forest.AreaContainer || c.Area == forest.AreaPartition)
	})
}

// oneSite returns the site that is named, or the only one that is known.
func oneSite(known *app.Site, code string) (string, error) {
	if code != "" {
		return code, checkSite(known, code)
	}
	var codes []string
	for _, s := range known.Document.Sites {
		codes = append(codes, s.Code)
	}
	switch len(codes) {
	case 0:
		return "", usagef("name the site in a document", "no site is known")
	case 1:
		return codes[0], nil
	}
	return "", usagef("add --site-code "+alternatives(codes), "there are %d sites", len(codes))
}

func writeProvision(w io.Writer, p *configmgr.Provision, form string, undo bool) error {
	switch form {
	case "ldif":
		return p.WriteLDIF(w, undo)
	case "powershell":
		return p.WritePowerShell(w, undo)
	case "json":
		return writeJSON(w, struct {
			Version int `json:"version"`
			*configmgr.Provision
		}{1, p})
	}
	return p.WriteText(w, undo)
}

// checkNew refuses the name of an account that exists: the plan would make it, and its
// inverse disables and deletes it.
func checkNew(s *forest.Snapshot, req configmgr.ProvisionRequest) error {
	if s == nil {
		return nil
	}
	d, ok := domainOfDN(s, req.OU)
	if !ok {
		return nil
	}
	for _, id := range s.BySAMAccountName(req.Account) {
		if in, ok := domainOfDN(s, s.DN(id)); ok && in.DNS == d.DNS {
			return usagef("name an account that is not there yet; --undo shows how to take a plan back", "%s exists: %s", quoted(req.Account), s.DN(id))
		}
	}
	return nil
}
