package cli

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/control"
	"github.com/leastwise/leastwise/internal/report"
)

const assessExample = `  # A live domain, as an ordinary user; the report opens in any browser
  leastwise assess --domain contoso.com --user alice@contoso.com --output html --out report.html

  # A snapshot or an LDIF file, without access to the domain
  leastwise assess contoso.lws
  leastwise assess export.ldif --output json | jq .summary

  # In a pipeline: exit code 1 if anything of severity high or worse fails
  leastwise assess contoso.lws --fail-on high --output sarif --out leastwise.sarif

  # With the groups and accounts of Configuration Manager
  leastwise assess contoso.lws --configmgr site.yaml --configmgr collected.json --output html --out report.html

  # Keep the run, to see how it goes: leastwise history
  leastwise assess --domain contoso.com --keep --output html --out report.html

  # Jump servers may let administrators log on
  leastwise assess contoso.lws --exempt "OU=Jump Servers,DC=contoso,DC=com"`

// severities, least first, as --fail-on takes them.
var severities = []string{"low", "medium", "high", "critical"}

type assessFlags struct {
	output
	snapshot, failOn string
	evidence, keep   bool
	documents        []string // of Configuration Manager
}

func (c *command) assessCommand() *cobra.Command {
	var f assessFlags
	cmd := &cobra.Command{
		Use: "assess [F.lws | --domain D]", Short: "Compare a forest with the least-privilege guide",
		Long: `Evaluates every control of the catalogue on a live domain or on a file (snapshot,
LDIF or fixture) and reports what fails, with evidence and fix, what could not be
decided and why, and what was not readable. Slots of Configuration Manager are judged with
it if documents say who fills them, or if a site has published to the directory: then only
what the directory shows, and the report says so. CSV and SARIF are without them. A file that holds no head of a domain
gives a report of what is missing, and exit code 3.`,
		Example: assessExample, Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, files []string) error {
			if err := f.settle(files); err != nil {
				return err
			}
			if err := checkSeverity(cmd, f.failOn); err != nil {
				return err
			}
			for _, name := range []string{"database", "database-password-file"} {
				if cmd.Flags().Changed(name) && !f.keep {
					return usagef("add --keep", "--%s is of use with --keep only", name)
				}
			}
			return c.assess(cmd, &f)
		},
	}
	addSettings(cmd, "directory", "controls", "assess", "database")
	addSnapshot(cmd, &f.snapshot)
	f.add(cmd, "table", "json", "csv", "html", "sarif")
	addFailOn(cmd, &f.failOn, "a failure is")
	cmd.Flags().StringArrayVar(&f.documents, "configmgr", nil, "`FILE` that says who fills the slots of Configuration Manager, JSON or YAML (may be repeated; they are merged)")
	cmd.Flags().BoolVar(&f.keep, "keep", false, "keep the run in the database: counts of the privileged groups and all findings; html then shows the history")
	cmd.Flags().BoolVar(&f.evidence, "evidence", false, "table: also list evidence, fix and verification of each finding")
	return cmd
}

// settle checks the flags and takes the positional file.
func (f *assessFlags) settle(files []string) error {
	if len(files) > 0 {
		if f.snapshot != "" {
			return usagef("name the file once", "two files to assess: %s and %s", f.snapshot, files[0])
		}
		f.snapshot = files[0]
	}
	return nil
}

func (c *command) assess(cmd *cobra.Command, f *assessFlags) error {
	ctx := cmd.Context()
	if err := c.checkOutput(cmd, &f.output); err != nil {
		return err
	}
	cfg, err := c.config(cmd)
	if err != nil {
		return err
	}
	set, err := app.Controls(cfg)
	if err != nil {
		return &usageError{err, ""}
	}
	cat, err := app.Slots()
	if err != nil {
		return err
	}
	if err := c.readable(ctx, cat, f.documents); err != nil {
		return err
	}
	if f.keep {
		if err := app.CanKeep(ctx, cfg); err != nil {
			return err
		}
	}
	defer collectLess()()
	s, err := c.snapshot(ctx, cfg, f.snapshot)
	if err != nil {
		return err
	}
	a, err := set.Assess(s, c.env.Now().UTC(), c.tool())
	if err != nil {
		return err
	}
	site, err := app.AssessSite(ctx, cat, f.documents, s, c.env.Now().UTC())
	if err != nil {
		return err
	}
	if site != nil && (f.form == "csv" || f.form == "sarif") {
		c.note("%s holds nothing of Configuration Manager: see leastwise configmgr assess", f.form)
	}
	beside := report.Beside{ConfigMgr: site}
	if f.keep && app.CheckDomain(s) == nil {
		if beside.History, err = c.keep(ctx, cfg, a); err != nil {
			return err
		}
	}
	err = c.write(ctx, &f.output, func(w io.Writer) error { return c.render(w, a, beside, f) })
	if err != nil {
		return err
	}
	if err := app.CheckDomain(s); err != nil {
		return err
	}
	if err := failOn(a.Findings, f.failOn, ""); err != nil || site == nil {
		return err
	}
	return failOnSlots(site, f.failOn)
}

// keep stores the run and says on standard error what it found against those before it.
func (c *command) keep(ctx context.Context, cfg *app.Config, a *control.Assessment) (*report.History, error) {
	kept, h, err := app.Keep(ctx, cfg, a, c.env.Now().UTC())
	if err != nil {
		return nil, err
	}
	if !kept {
		c.note("run %s was kept before", a.Run.ID)
		return h, nil
	}
	for _, p := range h.Runs {
		if p.Run == a.Run.ID {
			c.note("kept run %s: %d failures, %d of them new, %d gone, %d undecided", p.Run, p.Fail, p.Appeared, p.Gone, p.Undecided)
		}
	}
	return h, nil
}

// collectLess lets the heap grow to three times what is in use between garbage
// collections, unless GOGC says something else: nearly all that an assessment makes
// is in use until its end. The function that it returns undoes it.
func collectLess() (undo func()) {
	const usual, ours = 100, 200
	before := debug.SetGCPercent(ours)
	if before != usual {
		debug.SetGCPercent(before)
	}
	return func() { debug.SetGCPercent(before) }
}

// render writes an assessment in the form that was asked for.
func (c *command) render(w io.Writer, a *control.Assessment, beside report.Beside, f *assessFlags) error {
	switch f.form {
	case "json":
		return report.JSONWith(w, a, beside.ConfigMgr)
	case "csv":
		return report.CSV(w, a)
	case "sarif":
		return report.SARIF(w, a)
	case "html":
		return report.HTMLWith(w, a, beside)
	}
	screen := c.screen(&f.output)
	screen.Evidence = f.evidence
	return report.TextWith(w, a, beside.ConfigMgr, screen)
}

// checkSeverity refuses a --fail-on that is no severity; an empty one, too, which
// would be a gate that never closes.
func checkSeverity(cmd *cobra.Command, level string) error {
	if cmd.Flags().Changed("fail-on") && !slices.Contains(severities, level) {
		return usagef("use one of "+strings.Join(severities, ", "), "--fail-on: there is no severity %q", level)
	}
	return nil
}

// atLeast reports whether f failed with at least the severity level; nothing is
// at least no level.
func atLeast(f control.Finding, level string) bool {
	return level != "" && f.Outcome == control.Fail && f.Exception == nil &&
		slices.Index(severities, string(f.Severity)) >= slices.Index(severities, level)
}

// failOn returns a findingsError if a failure is at least as severe as level; kind
// is a word with a space that says which findings these are, or empty.
func failOn(findings []control.Finding, level, kind string) error {
	n := 0
	for _, f := range findings {
		if atLeast(f, level) {
			n++
		}
	}
	switch n {
	case 0:
		return nil
	case 1:
		return &findingsError{fmt.Sprintf("1 %sfinding of severity %s or worse", kind, level)}
	}
	return &findingsError{fmt.Sprintf("%d %sfindings of severity %s or worse", n, kind, level)}
}
