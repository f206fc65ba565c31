package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/configmgr"
)

const configMgrHelp = `Configuration Manager knows 8 Windows groups and 34 accounts. Each is a slot that a principal
fills, or nobody. These commands tell who fills which slot of which site, judge each against
the rules for its slot, and say how to change it.

Who fills a slot comes from documents: a file that people keep (init writes a template), what
the console's cmdlets export (export-script, import), the AdminService (collect) and what
people state (attest). Active Directory alone names sites, site servers and management points,
but not who fills a slot.`

func (c *command) configMgrCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "configmgr", Short: "Groups and accounts of Configuration Manager: who fills them, and how well", Long: configMgrHelp,
		Args: args(cobra.NoArgs), RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, make := range c.configMgrCommands() {
		cmd.AddCommand(make())
	}
	return cmd
}

// configMgrCommands lists the commands below configmgr.
func (c *command) configMgrCommands() []func() *cobra.Command {
	return []func() *cobra.Command{
		c.slotsCommand, c.slotAssess, c.slotExplain, c.whoIsCommand, c.slotRotate, c.slotProvision,
		c.slotInit, c.siteCollect, c.exportScript, c.slotImport, c.attestCommand,
	}
}

// completeSlots offers the IDs of slots to the shell.
func (c *command) completeSlots(_ *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	cat, err := app.Slots()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	if len(given) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var ids []string
	for _, e := range cat.Entries {
		ids = append(ids, e.ID+"\t"+e.Name)
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// findSlot finds a slot by its ID or its name, in any case, or by a part of the ID that
// only one slot has.
func findSlot(cat *configmgr.Catalogue, name string) (*configmgr.Entry, error) {
	want := strings.ToLower(strings.TrimSpace(name))
	var found []*configmgr.Entry
	for _, e := range cat.Entries {
		switch {
		case e.ID == want, strings.EqualFold(e.Name, want):
			return e, nil
		case want != "" && strings.Contains(e.ID, want):
			found = append(found, e)
		}
	}
	switch len(found) {
	case 0:
		return nil, usagef("name one of: "+slotIDs(cat), "there is no slot %s", quoted(name))
	case 1:
		return found[0], nil
	}
	ids := make([]string, len(found))
	for i, e := range found {
		ids[i] = e.ID
	}
	return nil, usagef("name one of them", "%d slots have %s in their names: %s", len(ids), quoted(name), strings.Join(ids, ", "))
}

func slotIDs(cat *configmgr.Catalogue) string {
	ids := make([]string, len(cat.Entries))
	for i, e := range cat.Entries {
		ids[i] = e.ID
	}
	slices.Sort(ids)
	return strings.Join(ids, ", ")
}
