package cli

import (
	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
)

const importExample = `  # ldapsearch on a domain controller, assessed elsewhere
  ldapsearch -o ldif-wrap=no -E pr=1000/noprompt -E '!1.2.840.113556.1.4.801=::MAMCAQc=' \
      -b DC=contoso,DC=com '(objectClass=*)' '*' nTSecurityDescriptor > domain.ldif
  leastwise import domain.ldif --out contoso.lws

  # several exports of one forest make one snapshot
  leastwise import domain.ldif configuration.ldif schema.ldif --out contoso.lws

  # a collection of SharpHound, as archive or unpacked
  leastwise import 20260301_BloodHound.zip --out contoso.lws
  leastwise import *_users.json *_groups.json *_computers.json *_domains.json --out contoso.lws`

func (c *command) importCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "import FILE… --out F.lws", Short: "Make a snapshot of LDIF, SharpHound collections or fixtures",
		Long: `Reads LDIF as ldapsearch and ldifde write it (wrapped, base64, UTF-8 or UTF-16), collections
of SharpHound and its like for BloodHound (zip or JSON, version 5 and 6) or a fixture, and
writes a snapshot. What such files cannot carry (policy files, attributes that were not
exported, the entries that deny of a collection) is stated as coverage and never taken for
absent.`,
		Example: importExample, Args: args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, files []string) error {
			if err := checkSnapshotOut(out); err != nil {
				return err
			}
			if err := c.checkInputs(cmd, out); err != nil {
				return err
			}
			if err := app.CheckWritable(out); err != nil {
				return err
			}
			s, err := app.Import(cmd.Context(), files, c.tool(), c.env.Now().UTC())
			if err != nil {
				return err
			}
			if err := app.SaveSnapshot(cmd.Context(), out, s); err != nil {
				return err
			}
			c.note("%s: %d objects, %d distinct descriptors, %d policy files", out, s.Len(), s.NumDescriptors(), filesRead(s))
			c.noteGaps(s)
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "snapshot `FILE` to write (required)")
	return cmd
}
