package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/store"
)

const backupExample = `  leastwise backup leastwise-monday.lwb
  leastwise backup --database postgres://leastwise@db.contoso.com/leastwise nightly.lwb`

func (c *command) backupCommand() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use: "backup FILE", Short: "Write everything in the database to a file, while the server runs",
		Long: `Writes the whole database, SQLite or PostgreSQL, as it is at one moment, to a file that
restore reads into either of them. The server goes on meanwhile. The file appears only
when it is complete. It holds who was given which power and when; the key that signs the
audit log is not in it and is to be kept elsewhere.`,
		Example: backupExample, Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, files []string) error {
			cfg, err := c.storeConfig(cmd, &o)
			if err != nil {
				return err
			}
			info, err := app.Backup(cmd.Context(), cfg, files[0], c.env.Now().UTC())
			if err != nil {
				return err
			}
			return c.write(cmd.Context(), &o, func(w io.Writer) error {
				if o.form == "json" {
					return writeJSON(w, info)
				}
				_, err := fmt.Fprintf(w, "%s: %d rows, %d of them entries of the audit log, as of %s\nSHA-256 of the content: %s\n",
					files[0], info.Rows, info.Entries, info.Taken.Format(stamp), info.SHA256)
				return err
			})
		},
	}
	addSettings(cmd, "database")
	o.add(cmd, "table", "json")
	return cmd
}

const restoreExample = `  leastwise restore leastwise-monday.lwb --database restored.db

  # from SQLite to PostgreSQL
  leastwise backup move.lwb --database leastwise.db
  leastwise restore move.lwb --database postgres://leastwise@db.contoso.com/leastwise`

func (c *command) restoreCommand() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use: "restore FILE", Short: "Read a backup into an empty database",
		Long: `Reads a backup into the configured database, which is created and must hold nothing yet,
and verifies the audit log that came with it (exit code 1 if something is wrong with it).
Whatever was in flight when the backup was taken is stale afterwards. The audit log says
that it was restored; what the original logged after the backup is not in it, so that a
checkpoint kept from then does not fit: that is a loss, and verification says so.`,
		Example: restoreExample, Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, files []string) error {
			cfg, err := c.storeConfig(cmd, &o)
			if err != nil {
				return err
			}
			info, r, err := app.Restore(cmd.Context(), cfg, files[0], c.env.Now().UTC())
			if err != nil {
				return err
			}
			err = c.write(cmd.Context(), &o, func(w io.Writer) error {
				if o.form == "json" {
					return writeJSON(w, struct {
						store.BackupInfo
						Log *audit.Report `json:"log"`
					}{info, r})
				}
				fmt.Fprintf(w, "restored %d rows, as of %s\n", info.Rows, info.Taken.Format(stamp))
				return writeReport(w, r)
			})
			if err != nil {
				return err
			}
			return tampered(r)
		},
	}
	addSettings(cmd, "database", "key")
	o.add(cmd, "table", "json")
	return cmd
}

// storeConfig checks the output and returns the settings.
func (c *command) storeConfig(cmd *cobra.Command, o *output) (*app.Config, error) {
	if err := c.checkOutput(cmd, o); err != nil {
		return nil, err
	}
	return c.config(cmd)
}
