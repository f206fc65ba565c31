package cli

import (
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/collect"
	"github.com/leastwise/leastwise/internal/control"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/report"
	"github.com/leastwise/leastwise/internal/secdesc"
)

const whatIfExample = `  leastwise whatif contoso.lws --remove 'member "Domain Admins" anna'
  leastwise whatif contoso.lws --remove 'entry "OU=Service Accounts,DC=contoso,DC=com" 24' --target 'Domain Admins'
  leastwise whatif contoso.lws --add 'entry anna (A;;WD;;;S-1-5-21-1-2-3-1104)' --add 'member "Help Desk" anna'
  leastwise whatif contoso.lws --set 'link DC=contoso,DC=com "Default Domain Policy" disabled' --set 'owner svc-web "Domain Admins"'
  leastwise whatif contoso.lws --add 'flag anna disabled' --set 'container anna OU=Left,DC=contoso,DC=com'`

// A wantedChange is a change as a person types it.
type wantedChange struct{ verb, text string }

// changeFlag is one of the flags that name changes: all add to one list, which
// keeps the order of the command line.
type changeFlag struct {
	verb string
	list *[]wantedChange
}

func (f *changeFlag) String() string { return "" }
func (f *changeFlag) Type() string   { return "CHANGE" }
func (f *changeFlag) Set(text string) error {
	*f.list = append(*f.list, wantedChange{f.verb, text})
	return nil
}

func (c *command) whatIfCommand() *cobra.Command {
	var (
		o    output
		file string
		goal aim
		list []wantedChange
		skip bool
	)
	cmd := &cobra.Command{
		Use: "whatif [F.lws | --domain D]", Short: "What a change would close, open and lock out",
		Long: `Applies changes, in the order given, to a view of the forest and says who could then gain the
target and who no longer, which rights go away, what nobody could administer any longer, and
which controls would start to fail, pass or be unknown (as assess decides them, with its
settings; twice the time of an assessment, which --no-controls saves).
Nothing is written to the directory or to the file. A change that does not fit is refused.

Changes, in words; names with spaces in quotes:
  --add, --remove 'member GROUP MEMBER'
  --add, --remove 'entry OBJECT SDDL'          one entry, such as (A;;WD;;;SID)
  --remove 'entry OBJECT NUMBER'               the entry's index in the DACL, from 0
  --add, --remove 'link CONTAINER POLICY'      with --add also: enforced
  --add, --remove 'flag ACCOUNT FLAG'          ` + flagWords() + `
  --set 'link CONTAINER POLICY disabled'
  --set 'owner OBJECT PRINCIPAL'
  --set 'container OBJECT CONTAINER'           moves the object`,
		Example: whatIfExample, Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, files []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			if len(files) > 0 && file != "" {
				return usagef("name the file once", "two files: %s and %s", file, files[0])
			}
			if len(files) > 0 {
				file = files[0]
			}
			if len(list) == 0 {
				return usagef("add --remove, --add or --set", "no change to simulate")
			}
			return c.whatIf(cmd, file, &o, imagined{goal, list, !skip})
		},
	}
	for verb, help := range map[string]string{"add": "`CHANGE` that adds something (may be repeated)", "remove": "`CHANGE` that takes something away (may be repeated)", "set": "`CHANGE` of what is there (may be repeated)"} {
		cmd.Flags().Var(&changeFlag{verb, &list}, verb, help)
	}
	cmd.Flags().StringVar(&goal.target, "target", "tier0", "what is to be gained: an `OBJECT`, tier0 or a zone of --zones")
	addZones(cmd, &goal.zones)
	cmd.Flags().BoolVar(&skip, "no-controls", false, "do not evaluate the controls")
	addSettings(cmd, "directory", "controls", "assess")
	addSnapshot(cmd, &file)
	o.add(cmd, "table", "json")
	return cmd
}

func flagWords() string {
	var words []string
	for _, f := range reach.AccountFlags() {
		words = append(words, f.Name)
	}
	return strings.Join(words[:4], ", ") + ",\n" + strings.Repeat(" ", 47) + strings.Join(words[4:], ", ")
}

// An aim is what is to be gained: a target among zones and objects.
type aim struct{ target, zones string }

// imagined is what is asked of changes.
type imagined struct {
	aim
	list     []wantedChange
	controls bool // evaluate them, too
}

func (c *command) whatIf(cmd *cobra.Command, file string, o *output, ask imagined) error {
	ctx := cmd.Context()
	cfg, err := c.config(cmd)
	if err != nil {
		return err
	}
	set, err := app.Controls(cfg)
	if err != nil {
		return &usageError{err, ""}
	}
	defer collectLess()()
	s, err := c.snapshot(ctx, cfg, file)
	if err != nil {
		return err
	}
	goals, err := c.findGoals(s, ask.target, ask.zones)
	if err != nil {
		return err
	}
	var changes []reach.Change
	var words []string
	for _, w := range ask.list {
		change, err := parseChange(s, w)
		if err != nil {
			return err
		}
		changes, words = append(changes, change), append(words, w.verb+" "+w.text)
	}
	g := app.Power(s)
	to := goals(g)
	g.Keep(to)
	after, err := g.With(changes)
	if errors.Is(err, reach.ErrUnread) {
		return err
	}
	if errors.Is(err, reach.ErrUnfit) {
		return usagef("nothing was simulated", "%v", err)
	}
	if err != nil {
		return err
	}
	r := report.NewWhatIf(s, ask.target, words, reach.Compare(g, after, to))
	if ask.controls {
		if r.Controls, err = c.simulate(ctx, set, g, after); err != nil {
			return err
		}
	}
	return c.write(ctx, o, func(w io.Writer) error {
		if o.form == "json" {
			return r.JSON(w)
		}
		return r.Text(w, c.screen(o))
	})
}

// simulate evaluates the controls before and after changes, with progress.
func (c *command) simulate(ctx context.Context, set *app.ControlSet, before, after *reach.Graph) (*control.Simulation, error) {
	p := c.newProgress(ctx)
	defer p.close()
	return set.Simulate(ctx, before, after, c.env.Now().UTC(), func(phase string, done, all int) {
		p.show(collect.Progress{Phase: phase, Count: done, Done: done == all})
	})
}

// changeWords says which kind a verb and a noun make.
var changeWords = map[string]reach.ChangeKind{
	"add member": reach.MemberAdded, "remove member": reach.MemberRemoved,
	"add entry": reach.EntryAdded, "remove entry": reach.EntryRemoved,
	"add link": reach.LinkAdded, "remove link": reach.LinkRemoved, "set link": reach.LinkDisabled,
	"add flag": reach.FlagSet, "remove flag": reach.FlagCleared,
	"set owner": reach.OwnerChanged, "set container": reach.Moved,
}

// parseChange reads a change in words.
func parseChange(s *forest.Snapshot, w wantedChange) (reach.Change, error) {
	const hint = "see: leastwise whatif --help"
	words, err := splitWords(w.text)
	if err != nil {
		return reach.Change{}, err
	}
	if len(words) < 3 {
		return reach.Change{}, usagef(hint, "--%s %s is not a change: it needs a kind and two names", w.verb, quoted(w.text))
	}
	c := reach.Change{Kind: changeWords[w.verb+" "+words[0]], Index: -1}
	if c.Kind == 0 {
		return c, usagef(hint, "--%s knows no %s", w.verb, quoted(words[0]))
	}
	rest := words[3:]
	switch {
	case c.Kind == reach.LinkAdded && len(rest) == 1 && rest[0] == "enforced":
		c.Enforced, rest = true, nil
	case c.Kind == reach.LinkDisabled && len(rest) == 1 && rest[0] == "disabled":
		rest = nil
	case c.Kind == reach.LinkDisabled:
		return c, usagef(hint, "--set link ends with: disabled")
	}
	if len(rest) > 0 {
		return c, usagef("put names with spaces in quotes", "--%s %s has words too many: %s", w.verb, quoted(w.text), strings.Join(rest, " "))
	}
	if c.Object, err = findObject(s, words[1]); err != nil {
		return c, err
	}
	err = setChange(s, &c, words[2])
	return c, err
}

// setChange reads the last word of a change.
func setChange(s *forest.Snapshot, c *reach.Change, word string) (err error) {
	switch c.Kind {
	case reach.EntryAdded, reach.EntryRemoved:
		if n, bad := strconv.Atoi(word); bad == nil && n >= 0 && c.Kind == reach.EntryRemoved {
			c.Index = n
			return nil
		}
		domain, root := domainsFor(s, c.Object)
		if c.Entry, err = secdesc.ParseACE(word, domain, root); err != nil {
			return usagef("write it as in a path: (A;;WD;;;SID)", "the entry %s: %v", quoted(word), err)
		}
	case reach.FlagSet, reach.FlagCleared:
		i := slices.IndexFunc(reach.AccountFlags(), func(f reach.AccountFlag) bool { return f.Name == word })
		if i < 0 {
			return usagef("see: leastwise whatif --help", "there is no flag %s", quoted(word))
		}
		c.Flag = reach.AccountFlags()[i].Bit
	case reach.OwnerChanged:
		id, err := findObject(s, word)
		if err != nil {
			return err
		}
		if c.Owner = s.SID(id); c.Owner.IsZero() {
			return usagef("name an account or a group", "%s has no SID", quoted(word))
		}
	default:
		c.Other, err = findObject(s, word)
	}
	return err
}

// domainsFor returns the SIDs by which the aliases of SDDL are read for an object.
func domainsFor(s *forest.Snapshot, id forest.ID) (domain, root secdesc.SID) {
	if list := s.Domains(); len(list) > 0 {
		domain, root = list[0].SID, list[0].SID
	}
	if d, ok := s.DomainOf(id); ok {
		domain = d.SID
	}
	return domain, root
}

// splitWords cuts a change at spaces that are not in quotes or, as those of
// conditions, in parentheses.
func splitWords(text string) ([]string, error) {
	var out []string
	var b strings.Builder
	quote, depth, open := rune(0), 0, false
	for _, r := range text {
		switch {
		case quote == 0 && depth == 0 && (r == '"' || r == '\''):
			quote, open = r, true
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && depth == 0 && r == ' ':
			if open {
				out = append(out, b.String())
			}
			b.Reset()
			open = false
		default:
			if quote == 0 && (r == '(' && (depth > 0 || !open)) {
				depth++
			} else if quote == 0 && r == ')' && depth > 0 {
				depth--
			}
			b.WriteRune(r)
			open = true
		}
	}
	if quote != 0 || depth != 0 {
		return nil, usagef("close the quotes and parentheses", "%s ends inside of quotes or parentheses", quoted(text))
	}
	if open {
		out = append(out, b.String())
	}
	return out, nil
}
