package cli

import (
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/adminservice"
	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/collect"
)

const siteCollectExample = `  # With the Kerberos ticket of kinit; the certificate is signed by the company's authority
  leastwise configmgr collect --provider cm1.contoso.com --ca root.pem --out p01.json

  # The certificate that the site made for itself, by its SHA-256
  leastwise configmgr collect --provider cm1.contoso.com --pin 9F86D081884C7D65…B0F00A08 --out p01.json

  # With a keytab, through a given DNS server, and with more time for slow classes
  leastwise configmgr collect --provider cm1.contoso.com --domain contoso.com --dns 10.0.0.1 \
      --user svc-leastwise --keytab svc.keytab --class-timeout 10m --out p01.json`

const siteCollectHelp = `Asks the administration service (HTTPS) of an SMS Provider who fills which slot of its site,
and writes a document for the other commands. It signs in with Kerberos, never with NTLM, and
takes no certificate that is neither verified nor pinned. Nothing is written to the site.

It asks for listed columns of listed classes only. Passwords, in whatever form, are not asked
for; where a class sends them unasked, they are not kept. The account needs a security role
that may read sites, site roles, packages, task sequences and client settings; refusals leave
status messages in the site (11618). The steps of task sequences come with their passwords, so
that the accounts they name are not read: export-script reads those.

What could not be read is listed, and is unknown in the document, not empty. This command was
made without a live site at hand; it is tested with a stand-in.`

func (c *command) siteCollect() *cobra.Command {
	var (
		p   app.Provider
		out string
	)
	cmd := &cobra.Command{
		Use: "collect --provider HOST --out FILE", Short: "Read who fills which slot from the AdminService of a site", Long: siteCollectHelp,
		Example: siteCollectExample, Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case p.Address == "":
				return usagef("add --provider HOST, the full DNS name of a server with the SMS Provider role", "no provider is named")
			case out == "" || out == "-":
				return usagef("add --out FILE.json", "no file to write the document to")
			}
			if err := c.checkInputs(cmd, out); err != nil {
				return err
			}
			return c.collectSite(cmd, p, out)
		},
	}
	for _, s := range app.Settings() {
		if slices.Contains(app.ProviderSettings(), s.Name) {
			addSetting(cmd, s)
		}
	}
	cmd.Flags().StringVar(&p.Address, "provider", "", "`HOST`[:PORT] of the SMS Provider, by its full DNS name (required)")
	cmd.Flags().StringVar(&p.Pin, "pin", "", "`SHA-256` of the provider's certificate, which then is the only one that is accepted")
	cmd.Flags().DurationVar(&p.ClassTimeout, "class-timeout", 2*time.Minute, "time for one class of facts with all its pages; five times as long for slow ones")
	cmd.Flags().StringVar(&out, "out", "", "`FILE` to write, in JSON (required)")
	return cmd
}

func (c *command) collectSite(cmd *cobra.Command, p app.Provider, out string) error {
	if p.ClassTimeout <= 0 {
		return usagef("use a time such as 5m", "--class-timeout must be longer than nothing")
	}
	cfg, err := c.config(cmd)
	if err != nil {
		return err
	}
	if err := app.CheckWritable(out); err != nil {
		return err
	}
	show := c.newProgress(cmd.Context())
	defer show.close()
	p.Progress = func(v adminservice.Progress) {
		show.show(collect.Progress{Phase: v.Class, Count: v.Rows, Done: v.Done && v.Err == nil})
	}
	r, err := app.CollectConfigMgr(cmd.Context(), cfg, c.caller(), p)
	if err != nil {
		return err
	}
	show.close()
	for _, n := range r.Notices {
		c.note("note: %s", n)
	}
	gaps := r.Gaps()
	for _, g := range gaps {
		of := ""
		if g.Scope != "" {
			of = " of site " + g.Scope
		}
		c.note("not read: %s%s: %s", g.Class, of, g.Missing)
	}
	if err := app.WriteConfigMgr(cmd.Context(), out, r.Document); err != nil {
		return err
	}
	c.note("%s: site %s; assignments: %d; administrative users: %d; readings that are not complete: %d of %d",
		out, r.Site.Code, len(r.Document.Assignments), len(r.Document.Admins), len(gaps), len(r.Document.Readings))
	return nil
}
