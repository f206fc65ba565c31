package cli

import (
	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/configmgr"
)

const slotImportExample = `  leastwise configmgr import Get-CMAccount.json Get-CMSiteRole.json --site-code P01 --out p01.json
  leastwise configmgr import export-P01.json declared.yaml --out p01.json
  leastwise configmgr import new.json --previous p01.json --out p01-new.json`

func (c *command) slotImport() *cobra.Command {
	var site, out, previous string
	cmd := &cobra.Command{
		Use: "import FILE… --out DOC.json", Short: "Make a document of cmdlet exports and declared files",
		Long: `Reads what cmdlets of Configuration Manager wrote through ConvertTo-Json or Export-Csv (UTF-8 or
UTF-16, any separator), the file of export-script, declared YAML and documents, and writes one
document of all. Columns that may hold secrets are not read. What a file does not hold, or was
cut short, is stated in the document and told here. A file that is wrong is refused with its
row and column, and nothing is written.`,
		Example: slotImportExample, Args: args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, files []string) error {
			if out == "" || out == "-" {
				return usagef("add --out FILE.json", "no file to write the document to")
			}
			if site != "" {
				code, ok := configmgr.SiteCode(site)
				if !ok {
					return usagef("a site code is three letters or digits, such as P01", "--site-code: %s is no site code", quoted(site))
				}
				site = code
			}
			if err := c.checkInputs(cmd, out); err != nil {
				return err
			}
			if err := app.CheckWritable(out); err != nil {
				return err
			}
			d, notices, err := app.ImportSlots(cmd.Context(), files, site, c.env.Now().UTC())
			if err != nil {
				return err
			}
			if previous != "" {
				if d, err = app.UpdateSlots(cmd.Context(), previous, d, c.env.Now().UTC()); err != nil {
					return err
				}
			}
			for _, n := range notices {
				c.note("note: %s", n)
			}
			if err := app.WriteConfigMgr(cmd.Context(), out, d); err != nil {
				return err
			}
			c.note("%s: sites: %d; assignments: %d; administrative users: %d; readings: %d", out, len(d.Sites), len(d.Assignments), len(d.Admins), len(d.Readings))
			return nil
		},
	}
	cmd.Flags().StringVar(&site, "site-code", "", "`CODE` of the site, for exports whose rows do not tell it")
	cmd.Flags().StringVar(&previous, "previous", "", "`FILE` of an earlier import: what it has and the new files no longer have is marked as removed")
	cmd.Flags().StringVar(&out, "out", "", "`FILE` to write, in JSON (required)")
	return cmd
}
