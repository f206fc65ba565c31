package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/report"
)

const doctorExample = `  leastwise doctor --domain contoso.com --user alice@contoso.com
  leastwise doctor --domain contoso.com --keytab leastwise.keytab --policies grants.yaml
  leastwise doctor --domain contoso.com --output json | jq '.[] | select(.state != "ok")'`

func (c *command) doctorCommand() *cobra.Command {
	var o output
	var policies string
	cmd := &cobra.Command{
		Use: "doctor --domain D", Short: "Check reachability, clock, TLS, logon, and what the account can read",
		Long: `Goes through everything that a scan needs, one check a line, and says what to do
about what does not work. It scans the domain once to say which partitions,
attributes, permissions and files the account cannot read, and warns if the account
holds power that reading does not need. Exit code 3 if a scan could not work.

With --policies it compares the rights of the account with those that a server needs for
these policies: what is missing, with what cannot be done; what is too much, with the entry
that gives it; and whether a server would refuse to start as this account.

Where the database of a server is, it says how scheduled scans, notifications and the witness
of the audit log are doing.`,
		Example: doctorExample, Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			return c.doctor(cmd, &o, policies)
		},
	}
	cmd.Flags().StringVar(&policies, "policies", "", "`FILE` with the policies of grants that a server runs with as this account")
	addSettings(cmd, "directory", "database", "key", "witness", "scan")
	o.add(cmd, "table", "json")
	return cmd
}

func (c *command) doctor(cmd *cobra.Command, o *output, policies string) error {
	cfg, err := c.config(cmd)
	if err != nil {
		return err
	}
	if cfg.Text("domain") == "" && cfg.Text("server") == "" {
		return usagef("add --domain NAME", "neither a domain nor a server is named")
	}
	ask := app.Examination{Tool: c.tool()}
	if policies != "" {
		p, err := app.ReadPolicies(policies)
		if err != nil {
			return err
		}
		duties := app.DutiesOf(p)
		ask.Duties = &duties
	}
	show := func(app.Check) {}
	if live := o.form == "table" && !o.toFile(); live { // each as soon as it is known
		show = func(v app.Check) { _ = showCheck(c.env.Out, v) } // the sink keeps the error
	}
	checks := app.Diagnose(cmd.Context(), cfg, c.caller(), ask, show)
	if err := cmd.Context().Err(); err != nil {
		return err
	}
	if o.form == "json" || o.toFile() {
		err := c.write(cmd.Context(), o, func(w io.Writer) error { return writeChecks(w, checks, o.form) })
		if err != nil {
			return err
		}
	}
	failed, ofServer := 0, false
	for _, v := range checks {
		if v.State == app.CheckFail {
			failed++
			ofServer = ofServer || v.Area == "server"
		}
	}
	switch {
	case failed == 0:
		return nil
	case ask.Duties != nil || ofServer:
		return fmt.Errorf("%d of %d checks failed", failed, len(checks))
	case failed == 1:
		return errors.New("1 check failed: a scan would not work")
	}
	return fmt.Errorf("%d checks failed: a scan would not work", failed)
}

// writeChecks writes all checks as a table or as JSON.
func writeChecks(w io.Writer, checks []app.Check, form string) error {
	if form == "json" {
		return writeJSON(w, checks)
	}
	for _, v := range checks {
		if err := showCheck(w, v); err != nil {
			return err
		}
	}
	return nil
}

// caller hands on the clock and the ways to a password.
func (c *command) caller() app.Caller {
	return app.Caller{
		Environ: c.env.getenv(app.PasswordVariable), Stdin: c.env.In, Prompt: c.env.PromptPassword, Now: c.env.Now,
		Warn: func(text string) { fmt.Fprintln(c.env.Err, "leastwise: warning:", report.Visible(text)) },
	}
}

// showCheck writes one line; below it the objects that it is about, and the hint.
func showCheck(w io.Writer, v app.Check) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%-8s %-13s %s: %s\n", v.State, v.Area, report.Visible(v.Name), report.Visible(oneLine(v.Detail)))
	const indent = "                      "
	if v.Total > 0 {
		what := "not readable"
		if v.What != "" {
			what = v.What
		}
		fmt.Fprintf(&b, "%s %d %s:\n", indent, v.Total, what)
	}
	for _, o := range v.Objects {
		fmt.Fprintf(&b, "%s   %s\n", indent, report.Visible(o))
	}
	if more := v.Total - len(v.Objects); more > 0 {
		fmt.Fprintf(&b, "%s   and %d more\n", indent, more)
	}
	if v.Hint != "" {
		fmt.Fprintf(&b, "%s hint: %s\n", indent, report.Visible(v.Hint))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
