package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
)

const doctorExample = `  leastwise doctor --domain contoso.com --user alice@contoso.com
  leastwise doctor --domain contoso.com --output json | jq '.[] | select(.state != "ok")'`

func (c *command) doctorCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "doctor --domain D", Short: "Check reachability, clock, TLS, logon, and what the account can read",
		Long: `Goes through everything that a scan needs, one check a line, and says what to do
about what does not work. It scans the domain once to say which partitions,
attributes, permissions and files the account cannot read, and warns if the account
holds power that reading does not need. Exit code 3 if a scan could not work.`,
		Example: doctorExample, Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return usagef("use table or json", "doctor cannot write %q", output)
			}
			return c.doctor(cmd, output)
		},
	}
	addSettings(cmd, "directory")
	cmd.Flags().StringVar(&output, "output", "table", "table or json")
	complete(cmd, "output", "table", "json")
	return cmd
}

func (c *command) doctor(cmd *cobra.Command, output string) error {
	cfg, err := c.config(cmd)
	if err != nil {
		return err
	}
	if cfg.Text("domain") == "" && cfg.Text("server") == "" {
		return usagef("add --domain NAME", "neither a domain nor a server is named")
	}
	show := func(app.Check) {}
	if output == "table" {
		show = c.showCheck
	}
	checks := app.Diagnose(cmd.Context(), cfg, c.caller(), c.tool(), show)
	if err := cmd.Context().Err(); err != nil {
		return err
	}
	if output == "json" {
		if err := writeJSON(c.env.Out, checks); err != nil {
			return err
		}
	}
	failed := 0
	for _, v := range checks {
		if v.State == app.CheckFail {
			failed++
		}
	}
	switch failed {
	case 0:
		return nil
	case 1:
		return errors.New("1 check failed: a scan would not work")
	}
	return fmt.Errorf("%d checks failed: a scan would not work", failed)
}

// caller hands on the clock and the ways to a password.
func (c *command) caller() app.Caller {
	return app.Caller{Environ: c.env.getenv(app.PasswordVariable), Stdin: c.env.In, Prompt: c.env.PromptPassword, Now: c.env.Now}
}

// showCheck writes one line, and the hint below it.
func (c *command) showCheck(v app.Check) {
	fmt.Fprintf(c.env.Out, "%-8s %-13s %s: %s\n", v.State, v.Area, v.Name, oneLine(v.Detail))
	if v.Hint != "" {
		fmt.Fprintf(c.env.Out, "%-22s hint: %s\n", "", v.Hint)
	}
}
