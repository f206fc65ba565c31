package cli

import (
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/report"
)

const whoCanExample = `  leastwise who-can tier0 --snapshot contoso.lws
  leastwise who-can 'CONTOSO\Domain Admins' --snapshot contoso.lws --paths
  leastwise who-can SRV-042 --domain contoso.com --output json

  # who holds one right, by the descriptor of the object alone
  leastwise who-can 'CONTOSO\Domain Admins' --right 'write member' --snapshot contoso.lws
  leastwise who-can anna --right 'Reset Password' --snapshot contoso.lws
  leastwise who-can OU=Servers,DC=contoso,DC=com --right 'create computer' --snapshot contoso.lws
  leastwise who-can DC=contoso,DC=com --right WRITE_DAC --snapshot contoso.lws --output json`

func (c *command) whoCanCommand() *cobra.Command {
	var (
		o     output
		file  string
		paths bool
		right string
		zones string
	)
	cmd := &cobra.Command{
		Use: "who-can TARGET", Short: "Who can gain an object, a group or Tier 0, and how",
		Long: `Lists every account and group that can gain TARGET: the identity of an account, membership of
a group, full control of any other object; by any chain of rights, memberships, links and
policies. TARGET is an object (name, SID, GUID or distinguished name), "tier0", or
a zone of the file given by --zones; with --right, an object.

What holds for certain stands apart from what depends on something that the snapshot does
not tell, such as a password that may be guessed or a setting in a registry.

With --right it lists the accounts that hold one right on TARGET by its descriptor, with the
entry that decides and where that is inherited from: what an access check of the directory
answers. RIGHT is WRITE_DAC, WRITE_OWNER, DELETE, delete-tree or read-permissions; "write",
"read", "create" or "delete-child" with an attribute, property set or class of the schema
("write member", "create user"); or an extended right or validated write by its name or GUID
("Reset Password", "Self-Membership").`,
		Example: whoCanExample, Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			if cmd.Flags().Changed("right") && paths {
				return usagef("leave one of the two out", "--right is about one entry of a descriptor, and --paths about ways")
			}
			if cmd.Flags().Changed("right") && zones != "" {
				return usagef("leave one of the two out", "--right is about one object, and --zones about sets of objects")
			}
			if cmd.Flags().Changed("right") {
				return c.holders(cmd, file, &o, names[0], right)
			}
			return c.power(cmd, file, &o, func(s *forest.Snapshot) (*report.Power, error) {
				goals, err := c.findGoals(s, names[0], zones)
				if err != nil {
					return nil, err
				}
				g := app.Power(s)
				p := report.NewPower(s, names[0], g.WhoCan(goals(g)))
				p.Paths = paths
				return p, nil
			})
		},
	}
	cmd.Flags().BoolVar(&paths, "paths", false, "write every step with its evidence")
	addZones(cmd, &zones)
	cmd.Flags().StringVar(&right, "right", "", "list who holds this `RIGHT` on TARGET, such as 'write member'")
	_ = cmd.RegisterFlagCompletionFunc("right", c.completeRight(&file)) // fails only for unknown flags
	addSettings(cmd, "directory")
	addSnapshot(cmd, &file)
	o.add(cmd, "table", "json")
	return cmd
}

const explainExample = `  leastwise explain anna tier0 --snapshot contoso.lws
  leastwise explain 'CONTOSO\Help Desk' 'CONTOSO\Domain Admins' --snapshot contoso.lws --all --max 5`

func (c *command) explainCommand() *cobra.Command {
	var (
		o     output
		file  string
		all   bool
		most  int
		zones string
	)
	cmd := &cobra.Command{
		Use: "explain FROM TO", Short: "The steps by which one principal can gain an object",
		Long: `Shows a shortest way by which FROM can gain TO, step by step, with the entry, membership, link
or policy that makes each step and how to remove it. TO may be "tier0" or a zone
of the file given by --zones. With --all it shows up to --max ways, shortest first, none more
than a few steps longer than the shortest.`,
		Example: explainExample, Args: args(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			if most < 1 || most > maxWays {
				return usagef("", "--max must be between 1 and %d", maxWays)
			}
			if cmd.Flags().Changed("max") && !all {
				return usagef("add --all, or leave it out", "--max is about several ways")
			}
			return c.power(cmd, file, &o, func(s *forest.Snapshot) (*report.Power, error) {
				return c.explain(s, question{names[0], names[1], zones, all, most})
			})
		},
	}
	addZones(cmd, &zones)
	cmd.Flags().BoolVar(&all, "all", false, "show several ways")
	cmd.Flags().IntVar(&most, "max", 10, "with --all: how many ways at most")
	addSettings(cmd, "directory")
	addSnapshot(cmd, &file)
	o.add(cmd, "table", "json")
	return cmd
}

// maxWays bounds how many ways explain lists.
const maxWays = 1000

// A question is what explain answers.
type question struct {
	from, to, zones string
	all             bool
	most            int
}

func (c *command) explain(s *forest.Snapshot, q question) (*report.Power, error) {
	from, err := findObject(s, q.from)
	sid, isIdentity := findIdentity(q.from)
	if err != nil && !isIdentity {
		return nil, err
	}
	goalsOf, badGoal := c.findGoals(s, q.to, q.zones)
	if badGoal != nil {
		return nil, badGoal
	}
	g := app.Power(s)
	goals := goalsOf(g)
	r := g.WhoCan(goals)
	if err != nil { // who-can lists principals without an object, too
		best := r.PathOf(sid)
		ways := c.ways(best, q, func() []reach.Path { return g.PathsOf(sid, goals, q.most) })
		if len(ways) == 0 {
			return nil, err
		}
		return report.NewPathsOf(s, q.to, sid, goals, ways, r.Unread()), nil
	}
	ways := c.ways(r.Path(from), q, func() []reach.Path { return g.Paths(from, goals, q.most) })
	return report.NewPaths(s, q.to, from, goals, ways, r.Unread()), nil
}

// ways lists the best way, or with --all several.
func (c *command) ways(best reach.Path, q question, all func() []reach.Path) []reach.Path {
	if best == nil {
		return nil
	}
	if !q.all {
		return []reach.Path{best}
	}
	out := several(best, all(), q.most)
	if len(out) == q.most && len(best) > 0 { // nobody needs a second way to what he is
		c.note("shown: %d; there may be more ways: --max N lists more", len(out))
	}
	return out
}

// several returns up to most ways, found shortest first, with best among them: a
// certain way may be much longer than those that are only possible.
func several(best reach.Path, found []reach.Path, most int) []reach.Path {
	if len(found) > 0 && (!best.Certain() || slices.ContainsFunc(found, reach.Path.Certain)) {
		return found
	}
	return append(found[:min(len(found), most-1)], best)
}

// power answers a question about effective control and writes the answer.
func (c *command) power(cmd *cobra.Command, file string, o *output, ask func(*forest.Snapshot) (*report.Power, error)) error {
	s, err := c.input(cmd, file)
	if err != nil {
		return err
	}
	p, err := ask(s)
	if err != nil {
		return err
	}
	return c.write(cmd.Context(), o, func(w io.Writer) error {
		if o.form == "json" {
			return p.JSON(w)
		}
		return p.Text(w, c.screen(o))
	})
}

const reachExample = `  leastwise reach svc-backup --snapshot contoso.lws
  leastwise reach 'CONTOSO\Help Desk' --domain contoso.com --output json

  # everybody, those whose power is broad and deep first
  leastwise reach --all --snapshot contoso.lws --top 100
  leastwise reach --all --zones zones.yaml --snapshot contoso.lws --output json`

func (c *command) reachCommand() *cobra.Command {
	var (
		o    output
		file string
		all  bool
		rank ranking
	)
	cmd := &cobra.Command{
		Use: "reach PRINCIPAL | --all", Short: "What one account or group can gain, or all of them",
		Long: `Counts what PRINCIPAL can take over: in one step by right and class of object, and by any
number of steps, how much of it is in Tier 0, and a way there if there is one.

With --all it ranks every account and group: how broad its power is (objects and hosts held in
one step, by its own token) and how deep (the highest zone that it can reach). Whose power is
both comes first.`,
		Example: reachExample, Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			if all == (len(names) == 1) {
				return usagef("name one principal, or use --all", "reach takes a PRINCIPAL or --all")
			}
			if err := rank.check(cmd, all); err != nil {
				return err
			}
			s, err := c.input(cmd, file)
			if err != nil {
				return err
			}
			if all {
				return c.rank(cmd, s, &o, rank)
			}
			id, err := findObject(s, names[0])
			if _, identity := findIdentity(names[0]); err != nil && identity {
				return usagef("leastwise explain "+quoted(names[0])+" tier0 answers for a principal without an object", "%s has no object in this forest, and reach counts for objects only", quoted(names[0]))
			}
			if err != nil {
				return err
			}
			e := report.NewExtent(s, app.Power(s), id)
			return c.write(cmd.Context(), &o, func(w io.Writer) error {
				if o.form == "json" {
					return e.JSON(w)
				}
				return e.Text(w, c.screen(&o))
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "rank every account and group")
	cmd.Flags().IntVar(&rank.top, "top", 50, "with --all: how many to list at most")
	cmd.Flags().IntVar(&rank.broad, "broad", 0, "with --all: from `N` objects in one step on power is broad (0: a hundredth of the accounts, at least 10)")
	addZones(cmd, &rank.zones)
	addSettings(cmd, "directory")
	addSnapshot(cmd, &file)
	o.add(cmd, "table", "json")
	return cmd
}
