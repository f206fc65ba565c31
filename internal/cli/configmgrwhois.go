package cli

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/report"
)

const whoIsExample = `  leastwise configmgr who-is 'CONTOSO\svc-cmnaa' --snapshot contoso.lws --document site.yaml
  leastwise configmgr who-is svc-cmpush --document site.yaml --document collected.json --output json`

func (c *command) whoIsCommand() *cobra.Command {
	var (
		o  output
		in siteInput
	)
	cmd := &cobra.Command{
		Use: "who-is ACCOUNT", Short: "Every slot, site and right of an account: can I disable it?",
		Long: `Lists the slots that ACCOUNT fills now and filled before, itself or through groups, what each
slot needs, its security roles, what hosts, databases and packages give it, its groups and the
entries of the directory that name it. What was not read is listed too: an account that nothing
names is not therefore unused.`,
		Example: whoIsExample, Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			if strings.TrimSpace(names[0]) == "" {
				return usagef("name it as documents or Active Directory do: CONTOSO\\svc-cmnaa, svc-cmnaa@contoso.com, a SID", "no account is named")
			}
			known, err := c.site(cmd, &in, false)
			if err != nil {
				return err
			}
			q, err := accountQuestion(known, names[0])
			if err != nil {
				return err
			}
			r := report.NewWhoIs(q)
			return c.write(cmd.Context(), &o, func(w io.Writer) error {
				if o.form == "json" {
					return r.JSON(w)
				}
				return r.Text(w, c.screen(&o))
			})
		},
		ValidArgsFunction: c.completeAccounts(&in),
	}
	in.add(cmd)
	o.add(cmd, "table", "json")
	return cmd
}

// accountQuestion finds the account in the snapshot. One that the directory lacks but a
// document names is no error: it may be an account of a host, or deleted.
func accountQuestion(known *app.Site, name string) (report.WhoIsQuestion, error) {
	q := report.WhoIsQuestion{Name: name, Catalogue: known.Catalogue, Document: known.Document, Snapshot: known.Snapshot, Object: forest.None}
	if sid, ok := findIdentity(name); ok {
		q.SID = &sid
	}
	if known.Snapshot == nil {
		return q, nil
	}
	id, err := findObject(known.Snapshot, name)
	switch {
	case err == nil:
		q.Object = id
		if sid := known.Snapshot.SID(id); !sid.IsZero() {
			q.SID = &sid
		}
	case q.SID == nil && !report.NewWhoIs(q).Named():
		return q, err
	}
	return q, nil
}

// completeAccounts offers the accounts that documents name.
func (c *command) completeAccounts(in *siteInput) cobra.CompletionFunc {
	return func(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(given) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		known, err := c.completionSite(cmd, in)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var out []string
		seen := map[string]bool{}
		for _, a := range known.Document.Assignments {
			if !seen[a.Name] {
				seen[a.Name] = true
				out = append(out, a.Name+"\t"+a.Entry)
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}
