package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/report"
)

const collectExample = `  # With the Kerberos ticket of kinit
  leastwise collect --domain contoso.com --out contoso.lws

  # With a password, through a given domain controller and DNS server
  leastwise collect --domain contoso.com --server dc1.contoso.com --dns 10.0.0.1 \
      --user alice@contoso.com --password-file alice.pw --out contoso.lws

  # With a keytab, over LDAPS with the company's own root certificate
  leastwise collect --domain contoso.com --transport ldaps --ca root.pem \
      --user svc-leastwise --keytab svc.keytab --out contoso.lws`

func (c *command) collectCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "collect --domain D --out F.lws", Short: "Scan a domain into a snapshot file",
		Long: `Reads the schema, configuration and domain partitions and the policy files of
SYSVOL into one file, from which everything else works offline. Nothing is written
to the directory. A scan that is cut short fails and leaves no file; what the
account may not read is stated in the snapshot's coverage.`,
		Example: collectExample, Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkSnapshotOut(out); err != nil {
				return err
			}
			if err := c.checkInputs(cmd, out); err != nil {
				return err
			}
			cfg, err := c.config(cmd)
			if err != nil {
				return err
			}
			if err := app.CheckWritable(out); err != nil {
				return err
			}
			s, err := c.scan(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			if err := app.SaveSnapshot(cmd.Context(), out, s); err != nil {
				return err
			}
			c.note("%s: %d objects, %d distinct descriptors, %d policy files", out, s.Len(), s.NumDescriptors(), filesRead(s))
			return nil
		},
	}
	addSettings(cmd, "directory")
	cmd.Flags().StringVar(&out, "out", "", "snapshot `FILE` to write (required)")
	return cmd
}

// scan reads the configured domain, with progress.
func (c *command) scan(ctx context.Context, cfg *app.Config) (*forest.Snapshot, error) {
	if cfg.Text("domain") == "" && cfg.Text("server") == "" {
		return nil, usagef("add --domain NAME, or name a snapshot file", "neither a domain nor a server is named")
	}
	p := c.newProgress(ctx)
	defer p.close()
	s, err := app.Collect(ctx, cfg, c.caller(), c.tool(), app.Watch{Progress: p.show, Restarted: p.restarted})
	if err != nil {
		return nil, err
	}
	p.close()
	c.noteGaps(s)
	return s, nil
}

// filesRead counts the policy files that s holds; what could not be read is listed
// beside them.
func filesRead(s *forest.Snapshot) int {
	n := 0
	for _, f := range s.Files() {
		if f.State == forest.Known {
			n++
		}
	}
	return n
}

// noteGaps says on standard error what was not read, and why.
func (c *command) noteGaps(s *forest.Snapshot) {
	for _, v := range s.Coverage() {
		if !v.Complete() {
			c.note("not read: %s %s (%s): %s", v.Area, v.Subject, v.State, v.Reason)
		}
	}
}

// note writes a line to standard error unless --quiet.
func (c *command) note(format string, args ...any) {
	if !c.quiet {
		fmt.Fprintln(c.env.Err, report.Visible(fmt.Sprintf(format, args...)))
	}
}

func (c *command) tool() string { return "leastwise " + c.env.Version }

// snapshot returns the forest that a command is about: a file, or a live scan.
func (c *command) snapshot(ctx context.Context, cfg *app.Config, file string) (*forest.Snapshot, error) {
	if file == "" {
		return c.scan(ctx, cfg)
	}
	if v := cfg.Value("domain"); strings.HasPrefix(v.Source, "flag ") {
		return nil, usagef("leave one of the two out", "--domain asks for a scan of %s, and %s is a file to read instead", v.Text, file)
	}
	return app.Load(ctx, file, c.tool(), c.env.Now().UTC())
}

// input returns the snapshot that a question is asked of: that of file, or of a
// scan if there is none.
func (c *command) input(cmd *cobra.Command, file string) (*forest.Snapshot, error) {
	cfg, err := c.config(cmd)
	if err != nil {
		return nil, err
	}
	return c.snapshot(cmd.Context(), cfg, file)
}

// checkSnapshotOut refuses a command line that names no file for a snapshot.
func checkSnapshotOut(out string) error {
	switch out {
	case "":
		return usagef("add --out FILE.lws", "no file to write the snapshot to")
	case "-":
		return usagef("add --out FILE.lws", "a snapshot is a file, not text for standard output")
	}
	return nil
}
