package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/apply"
	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/plan"
	"github.com/leastwise/leastwise/internal/report"
)

const applyExample = `  leastwise apply plan.json --digest sha256:6d4f… --domain contoso.com --user alice@contoso.com
  leastwise apply plan.json --digest sha256:6d4f… --replicas 30s
  leastwise apply reset.json --digest sha256:77aa… --new-password-file new.txt`

const undoExample = `  leastwise undo plan.json.journal --user alice@contoso.com
  leastwise undo plan.json.journal --output json`

// A carrying is what leastwise apply and undo are asked for.
type carrying struct {
	o        output
	journal  string
	digest   string
	password string // file
	replicas time.Duration
}

func (a *carrying) add(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&a.replicas, "replicas", 0, "how long to watch the changes arrive on the other domain controllers; 0: not at all")
	addSettings(cmd, "directory")
	a.o.add(cmd, "table", "json")
}

func (c *command) applyCommand() *cobra.Command {
	var a carrying
	cmd := &cobra.Command{
		Use: "apply PLAN --digest D", Short: "Carry a plan out, by the digest that was shown",
		Long: `Carries the changes of a plan out, in order, and stops at the first that is not done.
The digest is the last line of: leastwise plan --show PLAN. Each change is read, checked,
noted in the journal, written to one domain controller, and read back there.

Called again with the same journal, it goes on: after a crash, an interruption, or when
what stood in the way is gone. A change whose answer was lost is settled by reading. The
account needs the rights to these changes and no others. leastwise undo takes them back.

Exit code 4 if a precondition or the directory refused a change, 3 if the directory was
not reached or a write stayed uncertain.`,
		Example: applyExample, Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, files []string) error {
			if err := c.checkOutput(cmd, &a.o); err != nil {
				return err
			}
			if a.digest == "" {
				return usagef("leastwise plan --show "+files[0]+" shows the plan and its digest", "add --digest: a plan is carried out by the digest of what was shown")
			}
			p, err := app.ReadPlan(files[0])
			if err != nil {
				return err
			}
			if p.Digest() != a.digest {
				return fmt.Errorf("%w: %s has another digest", apply.ErrDigest, files[0])
			}
			if a.journal == "" {
				a.journal = files[0] + ".journal"
			}
			e := app.Errand{Plan: p, Digest: a.digest, Journal: a.journal}
			if e.NewPassword, err = c.newPassword(p, a.password); err != nil {
				return err
			}
			return c.carry(cmd, &a, e)
		},
	}
	cmd.Flags().StringVar(&a.digest, "digest", "", "`DIGEST` of the plan that was shown")
	cmd.Flags().StringVar(&a.journal, "journal", "", "`FILE` that notes what is done (default: PLAN.journal)")
	cmd.Flags().StringVar(&a.password, "new-password-file", "", "`FILE` whose first line is the password that the plan sets")
	a.add(cmd)
	return cmd
}

func (c *command) undoCommand() *cobra.Command {
	var a carrying
	cmd := &cobra.Command{
		Use: "undo JOURNAL", Short: "Take back what leastwise apply did",
		Long: `Takes back the changes that the journal says were done, last first. What was so before
the plan stays, and so does a password, which nobody knows any more. A change that
somebody else has overwritten since is refused. Can be called again, as apply can.`,
		Example: undoExample, Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, files []string) error {
			if err := c.checkOutput(cmd, &a.o); err != nil {
				return err
			}
			return c.carry(cmd, &a, app.Errand{Undo: true, Journal: files[0]})
		},
	}
	a.add(cmd)
	return cmd
}

// newPassword reads the password that a plan sets, once and before anything is done.
func (c *command) newPassword(p *plan.Plan, file string) (func() (string, error), error) {
	var resets []string
	for _, change := range p.Changes {
		if change.Kind == plan.ResetPassword {
			resets = append(resets, change.Object.Name())
		}
	}
	switch {
	case len(resets) == 0 && file == "":
		return nil, nil
	case len(resets) == 0:
		return nil, usagef("leave --new-password-file out", "the plan resets no password")
	case len(resets) > 1:
		return nil, usagef("make a plan for each", "the plan resets the passwords of %d accounts, and they must not share one", len(resets))
	case file == "":
		return nil, usagef("add --new-password-file FILE", "the plan resets the password of %s, but no value is given", resets[0])
	}
	text, err := app.NewPassword(file, c.caller())
	return func() (string, error) { return text, nil }, err
}

// carry carries an errand out, with progress, and shows what was done.
func (c *command) carry(cmd *cobra.Command, a *carrying, e app.Errand) error {
	cfg, err := c.config(cmd)
	if err != nil {
		return err
	}
	e.Replicas = a.replicas
	e.Progress = func(s apply.Step) {
		if s.Name == apply.StepNoted {
			c.note("%d/%d %s: %s%s", s.Change, s.Of, s.Result, s.Text, because(s.Why))
		}
	}
	rep, arrived, err := app.Carry(cmd.Context(), cfg, c.caller(), e)
	if rep == nil {
		return err
	}
	// What was done is told, also when the run was interrupted.
	werr := c.write(context.WithoutCancel(cmd.Context()), &a.o, func(w io.Writer) error {
		if a.o.form == "json" {
			return carriedJSON(w, rep, arrived, err)
		}
		return carriedText(w, rep, arrived, err)
	})
	return errors.Join(err, werr)
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + report.Visible(why)
}

// carriedText is the result for people.
func carriedText(w io.Writer, rep *apply.Report, arrived []app.Arrival, stop error) error {
	var b strings.Builder
	for _, v := range rep.Changes {
		result := string(v.Result)
		switch {
		case result == "" && rep.Undo:
			result = "nothing to undo"
			if stop != nil {
				result = "not undone"
			}
		case result == "":
			result = "not begun"
		case v.Earlier:
			result += " earlier"
		}
		fmt.Fprintf(&b, "%3d  %-16s %s%s\n", v.Number, result, v.Change.Text(), because(v.Why))
		for _, list := range arrived {
			if list.Change != v.Number {
				continue
			}
			for _, r := range list.Replicas {
				fmt.Fprintf(&b, "     %s on %s (by %s)%s\n", r.State, r.Server, r.Evidence, because(errText(r.Err)))
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return oneLine(err.Error())
}

// The JSON of apply and undo.
type (
	carriedReport struct {
		Version  int             `json:"version"`
		Digest   string          `json:"digest"`
		Undo     bool            `json:"undo"`
		Complete bool            `json:"complete"`
		Changes  []carriedChange `json:"changes"`
	}
	carriedChange struct {
		Number   int              `json:"number"`
		Kind     plan.Kind        `json:"kind"`
		Text     string           `json:"text"`
		Result   string           `json:"result"` // empty: not come to
		Earlier  bool             `json:"earlier"`
		Server   string           `json:"server,omitempty"`
		Verified bool             `json:"verified"`
		Why      string           `json:"why,omitempty"`
		Replicas []carriedReplica `json:"replicas,omitempty"`
	}
	carriedReplica struct {
		Server   string `json:"server"`
		State    string `json:"state"`
		Evidence string `json:"evidence"`
		Why      string `json:"why,omitempty"`
	}
)

func carriedJSON(w io.Writer, rep *apply.Report, arrived []app.Arrival, stop error) error {
	out := carriedReport{Version: 1, Digest: rep.Digest, Undo: rep.Undo, Complete: stop == nil}
	for _, v := range rep.Changes {
		change := carriedChange{
			Number: v.Number, Kind: v.Change.Kind, Text: v.Change.Text(), Result: string(v.Result), Earlier: v.Earlier,
			Server: v.Server, Verified: v.Verified, Why: v.Why,
		}
		for _, list := range arrived {
			if list.Change != v.Number {
				continue
			}
			for _, r := range list.Replicas {
				change.Replicas = append(change.Replicas, carriedReplica{r.Server.Name, r.State.String(), r.Evidence, errText(r.Err)})
			}
		}
		out.Changes = append(out.Changes, change)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(out)
}

// carryExit is the exit code of a run that stopped: 4 if it was refused, 3 otherwise;
// 0 if err is of something else.
func carryExit(err error) int {
	var stop *apply.StopError
	switch {
	case errors.Is(err, apply.ErrDigest), errors.Is(err, apply.ErrJournal):
		return exitRefused
	case errors.As(err, &stop):
		switch dc.KindOf(stop.Err) {
		case dc.ErrAccessDenied, dc.ErrUnwilling, dc.ErrConstraint:
			return exitRefused
		}
		if stop.Result == apply.Refused {
			return exitRefused
		}
		return exitRead
	case errors.Is(err, plan.ErrPlan):
		return exitUsage
	}
	return 0
}
