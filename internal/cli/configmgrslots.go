package cli

import (
	"context"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/report"
)

// A siteInput is what commands about slots read: documents, and a snapshot or a live
// domain.
type siteInput struct {
	documents []string
	snapshot  string
}

// add gives cmd the flags.
func (in *siteInput) add(cmd *cobra.Command) {
	addDocuments(cmd, &in.documents)
	addSettings(cmd, "directory")
	addSnapshot(cmd, &in.snapshot)
}

// addDocuments gives cmd the flag that names documents.
func addDocuments(cmd *cobra.Command, files *[]string) {
	cmd.Flags().StringArrayVar(files, "document", nil, "`FILE` that says who fills the slots, JSON or YAML (may be repeated; they are merged)")
}

// asksDirectory reports whether a snapshot or a domain was named.
func (c *command) asksDirectory(cmd *cobra.Command, in *siteInput) (bool, error) {
	if in.snapshot != "" {
		return true, nil
	}
	cfg, err := c.config(cmd)
	if err != nil {
		return false, err
	}
	return cfg.Text("domain") != "", nil
}

// site reads the documents and, if one is named or needed, the directory.
func (c *command) site(cmd *cobra.Command, in *siteInput, directory bool) (*app.Site, error) {
	ctx := cmd.Context()
	cat, err := app.Slots()
	if err != nil {
		return nil, err
	}
	if err := c.readable(ctx, cat, in.documents); err != nil {
		return nil, err
	}
	asked, err := c.asksDirectory(cmd, in)
	if err != nil {
		return nil, err
	}
	var s *forest.Snapshot
	switch {
	case asked || directory:
		if s, err = c.input(cmd, in.snapshot); err != nil {
			return nil, err
		}
	case len(in.documents) == 0:
		return nil, usagef("add --document FILE, --snapshot FILE or both; leastwise configmgr init writes a first document", "nothing tells who fills the slots")
	}
	return app.ReadSite(ctx, cat, in.documents, s, c.env.Now().UTC())
}

// readable refuses, before a scan, documents that cannot be read.
func (c *command) readable(ctx context.Context, cat *configmgr.Catalogue, files []string) error {
	for _, name := range files {
		if _, err := app.ReadSlotDocument(ctx, cat, name, c.env.Now().UTC()); err != nil {
			return err
		}
	}
	return nil
}

const slotsExample = `  leastwise configmgr slots --document site.yaml
  leastwise configmgr slots --document site.yaml --document collected.json --snapshot contoso.lws
  leastwise configmgr slots --document site.yaml --site-code P01 --all
  leastwise configmgr slots --document site.yaml --output json`

func (c *command) slotsCommand() *cobra.Command {
	var (
		o    output
		in   siteInput
		all  bool
		site string
	)
	cmd := &cobra.Command{
		Use: "slots", Short: "Who fills which slot of which site, by which source",
		Long: `Lists the principals of every slot at every site with the sources that name them, and what
sources contradict each other about. "Empty" means that a source read the slot completely and
nobody is configured; what no source has read is unknown.`,
		Example: slotsExample, Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			known, err := c.site(cmd, &in, false)
			if err != nil {
				return err
			}
			r := known.Report(c.env.Now().UTC())
			r.All = all
			if site != "" {
				if err := checkSite(known, site); err != nil {
					return err
				}
				r = r.Of(site)
			}
			return c.write(cmd.Context(), &o, func(w io.Writer) error {
				if o.form == "json" {
					return r.JSON(w)
				}
				return r.Text(w, c.screen(&o))
			})
		},
	}
	in.add(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "table: list also slots that are empty or unknown at every site")
	addSite(cmd, &site, &in, c)
	o.add(cmd, "table", "json")
	return cmd
}

// addSite gives cmd the flag that picks a site, and completes it from the documents.
func addSite(cmd *cobra.Command, site *string, in *siteInput, c *command) {
	cmd.Flags().StringVar(site, "site-code", "", "`CODE` of the site, if there are several")
	_ = cmd.RegisterFlagCompletionFunc("site-code", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		known, err := c.completionSite(cmd, in)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var out []string
		for _, s := range known.Report(c.env.Now()).Sites {
			out = append(out, s.Code+"\t"+s.Name)
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}) // fails only for unknown flags
}

// completionSite reads what completion offers: the documents and a snapshot file, never
// a live domain.
func (c *command) completionSite(cmd *cobra.Command, in *siteInput) (*app.Site, error) {
	cat, err := app.Slots()
	if err != nil {
		return nil, err
	}
	var s *forest.Snapshot
	if in.snapshot != "" {
		if s, err = app.Load(cmd.Context(), in.snapshot, c.tool(), c.env.Now().UTC()); err != nil {
			return nil, err
		}
	}
	return app.ReadSite(cmd.Context(), cat, in.documents, s, c.env.Now().UTC())
}

// checkSite refuses a site that is not known.
func checkSite(known *app.Site, code string) error {
	var codes []string
	for _, s := range known.Report(time.Time{}).Sites {
		codes = append(codes, s.Code)
	}
	if slices.ContainsFunc(codes, func(s string) bool { return strings.EqualFold(s, code) }) {
		return nil
	}
	if len(codes) == 0 {
		return usagef("name the site in a document", "no site is known, so not %s", quoted(code))
	}
	return usagef("use "+alternatives(codes), "there is no site %s", quoted(code))
}

const slotAssessExample = `  leastwise configmgr assess --snapshot contoso.lws --document site.yaml
  leastwise configmgr assess --snapshot contoso.lws --document site.yaml --document collected.json --evidence
  leastwise configmgr assess --domain contoso.com --document site.yaml --fail-on high --output json`

func (c *command) slotAssess() *cobra.Command {
	var (
		o        output
		in       siteInput
		failOn   string
		evidence bool
	)
	cmd := &cobra.Command{
		Use: "assess", Short: "Judge the slots of every site against the rules for them",
		Long: `Decides every control of the catalogue at every site: pass, fail, unknown with the collector
that would supply what is missing and the rights it needs, or not applicable. Without
documents only what the directory shows is judged, and the result says so.`,
		Example: slotAssessExample, Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			if err := checkSeverity(cmd, failOn); err != nil {
				return err
			}
			known, err := c.site(cmd, &in, true)
			if err != nil {
				return err
			}
			r, err := known.Assess(c.env.Now().UTC())
			if err != nil {
				return err
			}
			err = c.write(cmd.Context(), &o, func(w io.Writer) error { return c.renderConfigMgr(w, r, &o, evidence) })
			if err != nil {
				return err
			}
			if err := known.CheckSites(r); err != nil {
				return err
			}
			return failOnSlots(r, failOn)
		},
	}
	in.add(cmd)
	o.add(cmd, "table", "json", "html")
	addFailOn(cmd, &failOn, "a control that fails is")
	cmd.Flags().BoolVar(&evidence, "evidence", false, "table: also list evidence and remedy of each failure, and all that is missing")
	return cmd
}

func (c *command) renderConfigMgr(w io.Writer, r *report.ConfigMgr, o *output, evidence bool) error {
	switch o.form {
	case "json":
		return r.JSON(w)
	case "html":
		return r.HTML(w)
	}
	screen := c.screen(o)
	screen.Evidence = evidence
	return r.Text(w, screen)
}

// failOnSlots returns a findingsError if a control failed that is at least as severe as
// level.
func failOnSlots(r *report.ConfigMgr, level string) error {
	n := r.FailedAtLeast(level)
	switch n {
	case 0:
		return nil
	case 1:
		return &findingsError{"1 failed control of Configuration Manager of severity " + level + " or worse"}
	}
	return &findingsError{strconv.Itoa(n) + " failed controls of Configuration Manager of severity " + level + " or worse"}
}
