package cli

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/configmgr"
)

const attestExample = `  leastwise configmgr attest gmsa-tested yes --owner 'Clara Voss' --expires 2027-06-30 --reason 'tested in the lab, ticket 4711' --document attested.json
  leastwise configmgr attest distinct-local-secrets no --site-code P01 --owner 'Clara Voss' --expires 2027-01-31 --document attested.json`

func (c *command) attestCommand() *cobra.Command {
	var (
		a             configmgr.Attestation
		expires, file string
	)
	cmd := &cobra.Command{
		Use: "attest TOPIC yes|no", Short: "Record what a person states, with owner and end",
		Long: `Some controls ask for what no collector sees. attest writes a statement on a topic into a
document, which is made if it is not there: who states it, why, and until when it holds. A later
statement on the same topic and site replaces the earlier one. Topics that controls ask for:
  ` + strings.Join(app.Topics(), "\n  "),
		Example: attestExample, Args: args(cobra.ExactArgs(2)),
		ValidArgsFunction: func(_ *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
			switch len(given) {
			case 0:
				return app.Topics(), cobra.ShellCompDirectiveNoFileComp
			case 1:
				return []string{"yes", "no"}, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, words []string) error {
			if err := c.settleAttestation(&a, words, expires); err != nil {
				return err
			}
			return c.attest(cmd, a, file)
		},
	}
	cmd.Flags().StringVar(&a.Site, "site-code", "", "`CODE` of the site that it is about (default: all)")
	cmd.Flags().StringVar(&a.Owner, "owner", "", "`NAME` of the person who states it (required)")
	cmd.Flags().StringVar(&a.Reason, "reason", "", "`TEXT` that says why it is so")
	cmd.Flags().StringVar(&expires, "expires", "", "last `DATE` on which it holds: 2027-06-30 (required)")
	cmd.Flags().StringVar(&file, "document", "", "JSON `FILE` to add it to (required)")
	return cmd
}

// settleAttestation checks the words of the command line.
func (c *command) settleAttestation(a *configmgr.Attestation, words []string, expires string) error {
	a.Topic, a.Made = strings.TrimSpace(words[0]), c.env.Now().UTC().Truncate(time.Second)
	switch words[1] {
	case "yes":
		a.Value = true
	case "no":
		a.Value = false
	default:
		return usagef("say yes or no", "a statement is yes or no, not %s", quoted(words[1]))
	}
	if a.Site != "" {
		code, ok := configmgr.SiteCode(a.Site)
		if !ok {
			return usagef("a site code is three letters or digits, such as P01", "--site-code: %s is no site code", quoted(a.Site))
		}
		a.Site = code
	}
	if a.Topic == "" || strings.TrimSpace(a.Owner) == "" {
		return usagef("add --owner NAME", "a statement needs a topic and an owner")
	}
	day, err := time.Parse(time.DateOnly, expires)
	if err != nil {
		return usagef("add --expires 2027-06-30", "a statement needs its last day as YYYY-MM-DD, not %s", quoted(expires))
	}
	a.Expires = day.Add(24*time.Hour - time.Second)
	if !a.Expires.After(a.Made) {
		return usagef("name a day to come", "%s is over: the statement would never hold", expires)
	}
	return nil
}

// attest adds a statement to a document.
func (c *command) attest(cmd *cobra.Command, a configmgr.Attestation, file string) error {
	if file == "" {
		return usagef("add --document FILE.json", "no document to write the statement to")
	}
	if ext := strings.ToLower(filepath.Ext(file)); ext == ".yaml" || ext == ".yml" {
		return usagef("write it there below attestations:, or name a JSON file", "%s is a file that people keep: attest would lose its comments", file)
	}
	if err := app.CheckWritable(file); err != nil {
		return err
	}
	cat, err := app.Slots()
	if err != nil {
		return err
	}
	d, err := app.ReadSlotDocument(cmd.Context(), cat, file, c.env.Now().UTC())
	if errors.Is(err, fs.ErrNotExist) {
		d, err = &configmgr.Document{Version: configmgr.DocumentVersion}, nil
	}
	if err != nil {
		return err
	}
	d = app.Attest(d, a)
	if err := app.WriteFile(cmd.Context(), file, func(w io.Writer) error { return d.Write(w) }); err != nil {
		return err
	}
	if !slices.Contains(app.Topics(), a.Topic) {
		c.note("note: no control asks for a statement on %s; controls ask for: %s", quoted(a.Topic), strings.Join(app.Topics(), ", "))
	}
	c.note("%s: %s states that %s is %s, until %s", file, a.Owner, a.Topic, map[bool]string{true: "so", false: "not so"}[a.Value], a.Expires.Format(time.DateOnly))
	return nil
}
