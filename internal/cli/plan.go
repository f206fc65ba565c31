package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/plan"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/report"
	"github.com/leastwise/leastwise/internal/secdesc"
)

const planExample = `  leastwise plan contoso.lws --remove-member '"Domain Admins" anna' --simulate
  leastwise plan contoso.lws --remove-member '"Domain Admins" anna' --output json --out plan.json
  leastwise plan --domain contoso.com --disable old-admin --expire 'contractor 2026-12-31T18:00:00Z'
  leastwise plan contoso.lws --grant 'CN=AdminSDHolder,CN=System,DC=contoso,DC=com (OA;;RPWP;bf9679c0-0de6-11d0-a285-00aa003049e2;;S-1-5-21-1-2-3-1104)'
  leastwise plan --show plan.json --output ldif`

// planFlags are the flags that name changes.
var planFlags = []struct {
	name string
	kind plan.Kind
	help string
}{
	{"add-member", plan.AddMember, "`'GROUP MEMBER [SECONDS]'`: add a member, with SECONDS by the directory's own clock"},
	{"remove-member", plan.RemoveMember, "`'GROUP MEMBER'`: remove a direct member"},
	{"enable", plan.EnableAccount, "`ACCOUNT` to enable"},
	{"disable", plan.DisableAccount, "`ACCOUNT` to disable"},
	{"reset-password", plan.ResetPassword, "`ACCOUNT` whose password is reset; the value is given to apply"},
	{"expire", plan.SetExpiry, "`'ACCOUNT TIME'`: when the account expires, as in 2026-12-31T18:00:00Z, or never"},
	{"grant", plan.GrantEntry, "`'OBJECT SDDL'`: add one entry to the DACL, such as (A;;WD;;;SID)"},
	{"revoke", plan.RevokeEntry, "`'OBJECT SDDL'`: remove one entry from the DACL"},
}

// A planOrder is what leastwise plan is asked for.
type planOrder struct {
	o        output
	list     []wantedChange
	file     string // snapshot
	show     string // plan
	title    string
	keep     bool
	simulate bool
	goal     aim
}

func (c *command) planCommand() *cobra.Command {
	var a planOrder
	cmd := &cobra.Command{
		Use: "plan [F.lws | --domain D]", Short: "Write down changes of the directory, to be shown before they are made",
		Long: `Makes a plan of changes: what each changes, what must be true right before, and the
digest by which leastwise apply carries it out. Nothing is written to the directory.
Objects are found in the snapshot or the domain, and go into the plan by objectGUID.

What is given comes before what is taken, unless --keep-order. An account that is enabled
or disabled must have the same userAccountControl then as now. Of --output, json is the
plan file, and ldif is for reading; table ends with the digest.`,
		Example: planExample, Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, files []string) error {
			if err := c.checkOutput(cmd, &a.o); err != nil {
				return err
			}
			if len(files) > 0 && a.file != "" {
				return usagef("name the file once", "two files: %s and %s", a.file, files[0])
			}
			if len(files) > 0 {
				a.file = files[0]
			}
			return c.plan(cmd, &a)
		},
	}
	for _, f := range planFlags {
		cmd.Flags().Var(&changeFlag{f.name, &a.list}, f.name, f.help+" (may be repeated)")
	}
	cmd.Flags().StringVar(&a.show, "show", "", "plan `FILE` to show instead of making one")
	cmd.Flags().StringVar(&a.title, "title", "", "`TEXT` that says what the plan is for")
	cmd.Flags().BoolVar(&a.keep, "keep-order", false, "carry the changes out in the order of the command line")
	cmd.Flags().BoolVar(&a.simulate, "simulate", false, "say after the plan who could then gain the target and who no longer (table only)")
	cmd.Flags().StringVar(&a.goal.target, "target", "tier0", "with --simulate, what is to be gained: an `OBJECT`, tier0 or a zone of --zones")
	addZones(cmd, &a.goal.zones)
	addSettings(cmd, "directory")
	addSnapshot(cmd, &a.file)
	a.o.add(cmd, "table", "json", "ldif")
	return cmd
}

// plan makes or reads a plan, and shows it.
func (c *command) plan(cmd *cobra.Command, a *planOrder) error {
	if a.simulate && a.o.form != "table" {
		return usagef("ask twice: a plan file holds no simulation", "--simulate writes text, not %s", a.o.form)
	}
	switch {
	case a.show == "" && len(a.list) == 0:
		return usagef("add --remove-member, --disable or another change, or --show FILE", "no change to plan")
	case a.show != "" && (len(a.list) > 0 || a.keep || a.title != ""):
		return usagef("leave one of the two out", "--show shows a plan as it is, and does not change it")
	}
	var p *plan.Plan
	var err error
	if a.show != "" {
		if p, err = app.ReadPlan(a.show); err != nil {
			return err
		}
	}
	var simulated bytes.Buffer
	if p == nil || a.simulate {
		s, err := c.input(cmd, a.file)
		if err != nil {
			return err
		}
		if p == nil {
			if p, err = c.makePlan(s, a); err != nil {
				return err
			}
		}
		if a.simulate {
			if err := c.simulatePlan(&simulated, s, p, a); err != nil {
				return err
			}
		}
	}
	err = c.write(cmd.Context(), &a.o, func(w io.Writer) error {
		switch a.o.form {
		case "json":
			_, err := w.Write(p.JSON())
			return err
		case "ldif":
			return p.LDIF(w)
		}
		return errors.Join(p.Text(w), copyTo(w, &simulated))
	})
	if err == nil && a.o.form == "json" {
		c.note("digest %s", p.Digest())
	}
	return err
}

func copyTo(w io.Writer, b *bytes.Buffer) error {
	_, err := w.Write(b.Bytes())
	return err
}

// makePlan turns the words of the command line into a plan for one domain.
func (c *command) makePlan(s *forest.Snapshot, a *planOrder) (*plan.Plan, error) {
	var changes []plan.Change
	domain := ""
	for _, w := range a.list {
		change, id, err := plannedChange(s, w)
		if err != nil {
			return nil, err
		}
		d, ok := s.DomainOf(id)
		switch {
		case !ok || d.DNS == "":
			return nil, usagef("a plan changes objects of a domain", "%s lies in no domain that is known by name", s.DN(id))
		case domain != "" && domain != strings.ToLower(d.DNS):
			return nil, usagef("make a plan for each domain", "--%s %s is of the domain %s, and an earlier change of %s", w.verb, quoted(w.text), d.DNS, domain)
		}
		domain = strings.ToLower(d.DNS)
		changes = append(changes, change)
	}
	if !a.keep {
		changes = plan.Arrange(changes)
	}
	p, err := plan.New(domain, a.title, c.env.Now(), changes)
	if err != nil {
		return nil, &usageError{err, "see: leastwise plan --help"}
	}
	return p, nil
}

// plannedChange reads one change in words.
func plannedChange(s *forest.Snapshot, w wantedChange) (plan.Change, forest.ID, error) {
	var c plan.Change
	for _, f := range planFlags {
		if f.name == w.verb {
			c.Kind = f.kind
		}
	}
	words, err := planWords(c.Kind, w)
	if err != nil {
		return c, forest.None, err
	}
	id, err := findObject(s, words[0])
	if err == nil {
		c.Object, err = planTarget(s, id)
	}
	if err != nil {
		return c, id, err
	}
	switch c.Kind {
	case plan.AddMember, plan.RemoveMember:
		err = planMember(s, &c, words)
	case plan.EnableAccount, plan.DisableAccount:
		flags, st := s.Int(id, forest.UserAccountControl)
		if st != forest.Known {
			return c, id, usagef("name an account", "%s has no userAccountControl that was read", c.Object.Name())
		}
		now := uint32(flags)
		c.Require.Flags = &now
	case plan.SetExpiry:
		c.Expires = &plan.Expiry{}
		if err := c.Expires.UnmarshalText([]byte(words[1])); err != nil {
			return c, id, usagef("as in: 2026-12-31T18:00:00Z, or never", "--expire %s: %v", quoted(w.text), err)
		}
	case plan.GrantEntry, plan.RevokeEntry:
		domain, root := domainsFor(s, id)
		ace, aerr := secdesc.ParseACE(words[1], domain, root)
		if aerr != nil {
			return c, id, usagef("write it as in a path: (A;;WD;;;SID)", "the entry %s: %v", quoted(words[1]), aerr)
		}
		c.Entry = &plan.Entry{ACE: ace}
	case plan.ResetPassword, plan.CreateObject, plan.DeleteObject: // the last two have no flag
	}
	return c, id, err
}

// planWords cuts a change into its words: one for accounts, two for the others. An
// account's name may have spaces without quotes.
func planWords(kind plan.Kind, w wantedChange) ([]string, error) {
	switch kind {
	case plan.EnableAccount, plan.DisableAccount, plan.ResetPassword:
		return []string{strings.Trim(w.text, `"'`)}, nil
	case plan.AddMember, plan.RemoveMember, plan.SetExpiry, plan.GrantEntry, plan.RevokeEntry, plan.CreateObject, plan.DeleteObject:
	}
	words, err := splitWords(w.text)
	if err != nil {
		return nil, err
	}
	if len(words) == 2 || len(words) == 3 && kind == plan.AddMember {
		return words, nil
	}
	return nil, usagef("put names with spaces in quotes; see: leastwise plan --help", "--%s %s has %d words, but takes 2", w.verb, quoted(w.text), len(words))
}

func planMember(s *forest.Snapshot, c *plan.Change, words []string) error {
	id, err := findObject(s, words[1])
	if err != nil {
		return err
	}
	member, err := planTarget(s, id)
	if err != nil {
		return err
	}
	c.Member = &member
	if len(words) < 3 {
		return nil
	}
	c.Seconds, err = strconv.ParseInt(words[2], 10, 32)
	if err != nil || c.Seconds < 1 {
		return usagef("as in: 3600", "%s is not a number of seconds", quoted(words[2]))
	}
	return nil
}

func planTarget(s *forest.Snapshot, id forest.ID) (plan.Target, error) {
	t := plan.Target{GUID: s.GUID(id), DN: s.DN(id), SID: s.SID(id)}
	if t.GUID.IsZero() {
		return t, usagef("scan the domain: what changes it goes by objectGUID", "%s has no GUID in this snapshot", t.DN)
	}
	return t, nil
}

// simulatePlan says what the plan would bring about.
func (c *command) simulatePlan(w io.Writer, s *forest.Snapshot, p *plan.Plan, a *planOrder) error {
	goals, err := c.findGoals(s, a.goal.target, a.goal.zones)
	if err != nil {
		return err
	}
	g := app.Power(s)
	to := goals(g)
	g.Keep(to)
	sim, err := p.Simulate(g, s)
	switch {
	case errors.Is(err, reach.ErrUnread):
		return err
	case errors.Is(err, reach.ErrUnfit), errors.Is(err, plan.ErrPlan):
		return usagef("the plan does not fit this snapshot", "%v", err)
	case err != nil:
		return err
	}
	words := make([]string, len(p.Changes))
	for i, change := range p.Changes {
		words[i] = change.Text()
		if why := sim.Left[i+1]; why != "" {
			words[i] += " (not simulated: " + why + ")"
		}
	}
	fmt.Fprintln(w)
	return report.NewWhatIf(s, a.goal.target, words, reach.Compare(g, sim.After, to)).Text(w, c.screen(&a.o))
}
