package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/delegation"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/plan"
	"github.com/leastwise/leastwise/internal/report"
)

const bootstrapExample = `  leastwise bootstrap --domain contoso.com --user administrator --policies grants.yaml --container 'OU=leastwise,DC=contoso,DC=com'
  leastwise bootstrap contoso.lws --group 'Domain Admins' --container 'OU=leastwise,DC=contoso,DC=com' --output json --out bootstrap.json
  leastwise apply bootstrap.json --digest sha256:6d4f… --user administrator
  leastwise bootstrap --domain contoso.com --policies grants.yaml --verify`

// A bootstrapping is what leastwise bootstrap is asked for.
type bootstrapping struct {
	o          output
	file       string
	policies   string
	groups     []string
	managers   []string
	service    string
	management string
	container  string
	verify     bool
}

func (c *command) bootstrapCommand() *cobra.Command {
	var a bootstrapping
	cmd := &cobra.Command{
		Use: "bootstrap [F.lws | --domain D]", Short: "Plan and verify what leastwise needs in the directory to grant memberships",
		Long: `Compares the directory with what leastwise needs to write the members of groups: an
ordinary account of its own, a group that may enable, reset and disable management
accounts, these accounts, disabled, and for each the entry that lets it write members: on
the group, and on AdminSDHolder if the group is protected (guide, app. I).

What is missing becomes a plan, to be shown and carried out by leastwise apply with an
administrator's account. It never takes anything away and changes no entry of others; what
others may do to leastwise's objects is listed. New objects come first, because permissions name
their security identifiers: apply, and run it again until nothing is left to do.

The groups are those of the policies of grants, and those of --group. A policy's
"through" names the management account that writes; without it leastwise's own account
does, which is refused for protected groups. --verify changes nothing of this, but ends
with exit code 1 if something is left to do or to look at.`,
		Example: bootstrapExample, Args: args(cobra.MaximumNArgs(1)),
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
			return c.bootstrap(cmd, &a)
		},
	}
	f := cmd.Flags()
	f.StringVar(&a.policies, "policies", "", "`FILE` with the policies of grants")
	f.StringArrayVar(&a.groups, "group", nil, "further `GROUP` whose members are written, through every --management-account (may be repeated)")
	f.StringArrayVar(&a.managers, "management-account", nil, "`ACCOUNT` for the groups of --group (may be repeated; default leastwise-mgmt-1)")
	f.StringVar(&a.service, "service-account", "leastwise", "`ACCOUNT` that the server signs in as; a group managed service account must be there already")
	f.StringVar(&a.management, "management-group", "leastwise-managers", "`GROUP` that may enable the management accounts")
	f.StringVar(&a.container, "container", "", "`OU` for what is created")
	f.BoolVar(&a.verify, "verify", false, "exit code 1 if something is left to do or to look at")
	addSettings(cmd, "directory")
	addSnapshot(cmd, &a.file)
	a.o.add(cmd, "table", "json", "ldif")
	return cmd
}

// bootstrap shows what is left to do.
func (c *command) bootstrap(cmd *cobra.Command, a *bootstrapping) error {
	if a.policies == "" && len(a.groups) == 0 {
		return usagef("add --policies FILE or --group GROUP", "no group whose members leastwise is to write")
	}
	var policies *grant.Policies
	if a.policies != "" {
		var err error
		if policies, err = app.ReadPolicies(a.policies); err != nil {
			return err
		}
	}
	s, err := c.input(cmd, a.file)
	if err != nil {
		return err
	}
	scope, err := a.scope(s, policies)
	if err != nil {
		return err
	}
	setup, err := delegation.Plan(s, scope)
	if err != nil {
		return &usageError{err, "see: leastwise bootstrap --help"}
	}
	var p *plan.Plan
	if len(setup.Changes) > 0 {
		title := fmt.Sprintf("what leastwise needs in %s", scope.Domain.DNS)
		if p, err = plan.New(scope.Domain.DNS, title, c.env.Now(), setup.Changes); err != nil {
			return err
		}
	}
	err = c.write(cmd.Context(), &a.o, func(w io.Writer) error {
		switch {
		case a.o.form == "table":
			return bootstrapText(w, setup, p)
		case p == nil:
			return nil
		case a.o.form == "json":
			_, err := w.Write(p.JSON())
			return err
		}
		return p.LDIF(w)
	})
	if err != nil {
		return err
	}
	c.bootstrapNotes(a, setup, p)
	if left := len(setup.Changes) + len(setup.Later); a.verify && left+len(setup.Problems) > 0 {
		return &findingsError{fmt.Sprintf("%d changes are left to do, and %d things to look at", left, len(setup.Problems))}
	}
	return nil
}

// bootstrapNotes tell beside a plan file what the file does not hold.
func (c *command) bootstrapNotes(a *bootstrapping, setup *delegation.Setup, p *plan.Plan) {
	if a.o.form == "table" {
		return
	}
	if p == nil {
		c.note("nothing is left to do")
	} else {
		c.note("digest %s", p.Digest())
	}
	for _, v := range setup.Later {
		c.note("left for the next run: %s", report.Visible(v))
	}
	for _, v := range setup.Problems {
		c.note("look at %s: %s", report.Visible(v.Object), report.Visible(v.Text))
	}
}

func bootstrapText(w io.Writer, setup *delegation.Setup, p *plan.Plan) error {
	var b strings.Builder
	list := func(title string, lines []string) {
		if len(lines) == 0 {
			return
		}
		b.WriteString("\n" + title + "\n")
		for _, v := range lines {
			b.WriteString("  " + report.Visible(v) + "\n")
		}
	}
	list("What this gives:", setup.Power)
	list("Left for the next run, because it needs what this plan creates:", setup.Later)
	var problems []string
	for _, v := range setup.Problems {
		problems = append(problems, v.Object+": "+v.Text)
	}
	list("To look at:", problems)
	if p == nil {
		_, err := io.WriteString(w, "Nothing is left to do.\n"+b.String())
		return err
	}
	if err := p.Text(w); err != nil {
		return err
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// scope finds the objects that the command line and the policies name.
func (a *bootstrapping) scope(s *forest.Snapshot, policies *grant.Policies) (delegation.Scope, error) {
	sc := delegation.Scope{Container: forest.None}
	var err error
	add := func(name string, through []string) error {
		id, err := findObject(s, name)
		if err != nil {
			return err
		}
		d, ok := s.DomainOf(id)
		switch {
		case !ok || d.DNS == "" || d.SID.IsZero():
			return usagef("scan the domain", "%s lies in no domain that was read", s.DN(id))
		case sc.Domain.DN != "" && d.DN != sc.Domain.DN:
			return usagef("bootstrap each domain with policies of its own", "%s is of the domain %s, and an earlier group of %s", s.DN(id), d.DNS, sc.Domain.DNS)
		}
		sc.Domain = d
		if len(through) == 0 {
			sc.Groups = append(sc.Groups, delegation.Group{ID: id, Manager: -1})
		}
		for _, account := range through {
			i, err := a.manager(s, &sc, account)
			if err != nil {
				return err
			}
			sc.Groups = append(sc.Groups, delegation.Group{ID: id, Manager: i})
		}
		return nil
	}
	if policies != nil {
		for _, v := range policies.Policies {
			var through []string
			if v.Through != "" {
				through = []string{string(v.Through)}
			}
			if v.Group == "" {
				continue // a role has no group yet
			}
			if err := add(string(v.Group), through); err != nil {
				return sc, fmt.Errorf("policy %s: %w", v.Name, err)
			}
		}
	}
	if len(a.managers) == 0 {
		a.managers = []string{"leastwise-mgmt-1"}
	}
	for _, name := range a.groups {
		if err := add(name, a.managers); err != nil {
			return sc, err
		}
	}
	if len(sc.Groups) == 0 {
		return sc, usagef("add --group GROUP", "the policies name no group")
	}
	if sc.Service, err = principal(s, sc.Domain, a.service); err != nil {
		return sc, err
	}
	if sc.Management, err = principal(s, sc.Domain, a.management); err != nil {
		return sc, err
	}
	if a.container != "" {
		if sc.Container, err = findObject(s, a.container); err != nil {
			return sc, err
		}
	}
	return sc, nil
}

// manager returns the number of a management account in the scope.
func (a *bootstrapping) manager(s *forest.Snapshot, sc *delegation.Scope, account string) (int, error) {
	p, err := principal(s, sc.Domain, account)
	if err != nil {
		return 0, err
	}
	i := slices.IndexFunc(sc.Managers, func(o delegation.Principal) bool {
		return o.ID == p.ID && strings.EqualFold(o.Name, p.Name)
	})
	if i >= 0 {
		return i, nil
	}
	sc.Managers = append(sc.Managers, p)
	return len(sc.Managers) - 1, nil
}

// principal finds an account or group by name in a domain; one that is not there is to
// be created, so its name must be one that a new object can have.
func principal(s *forest.Snapshot, d forest.Domain, name string) (delegation.Principal, error) {
	id, err := findObject(s, name)
	var unknown *usageError
	switch {
	case err == nil:
		if o, ok := s.DomainOf(id); !ok || o.DN != d.DN {
			return delegation.Principal{}, usagef("name an account of "+d.DNS, "%s is not of the domain %s", s.DN(id), d.DNS)
		}
		account, _ := s.Str(id, forest.SAMAccountName)
		return delegation.Principal{Name: account, ID: id}, nil
	case !errors.As(err, &unknown) || len(objectsNamed(s, name)) > 1:
		return delegation.Principal{}, err
	}
	if domain, account, ok := strings.Cut(name, `\`); ok && strings.EqualFold(domain, d.NetBIOS) {
		name = account
	} else if account, domain, ok := strings.Cut(name, "@"); ok && strings.EqualFold(domain, d.DNS) {
		name = account
	}
	if strings.ContainsAny(name, `\@=,`) {
		return delegation.Principal{}, err
	}
	return delegation.Principal{Name: name, ID: forest.None}, nil
}
