package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/api"
	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/report"
)

const grantExample = `  leastwise grant policies --url https://leastwise.contoso.com:8443
  leastwise grant request domain-admins --for 30m --reason 'replace dc3' --ticket CHG123456
  leastwise grant list --state requested
  leastwise grant show 7k3m…  --power
  leastwise grant approve 7k3m…
  leastwise grant end 7k3m… --reason 'done'`

func (c *command) grantCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "grant", Short: "Request, approve, observe and end privileged memberships for a time",
		Long: `Speaks to a server of leastwise (--url). It signs in with Kerberos, a password (--sign-in
password) or an API token (--sign-in token --token-file FILE), and signs out at the end.
What needs a fresh second factor asks for the code of the authenticator app.

Exit codes: 0 done, 2 usage, 3 not reached or not found, 4 refused.`,
		Example: grantExample, Args: cobra.NoArgs,
	}
	cmd.AddCommand(c.grantPoliciesCommand(), c.grantRequestCommand(), c.grantListCommand(), c.grantShowCommand(), c.grantWatchCommand())
	for _, d := range []grantDo{
		{name: "approve", short: "Consent to a request, or to an extension that is asked for", step: true},
		{name: "deny", short: "Refuse a request, or an extension", step: true},
		{name: "withdraw", short: "Take an approval back", step: true},
		{name: "observe", short: "Join as observer"},
		{name: "leave", short: "Leave as observer"},
		{name: "activate", short: "Start the clock, where the policy leaves that to the holder"},
		{name: "cancel", short: "Take a request back"},
		{name: "revoke", short: "End somebody else's grant"},
	} {
		cmd.AddCommand(c.grantDoCommand(d))
	}
	cmd.AddCommand(c.grantExtendCommand(), c.grantEndCommand(), c.grantReviewCommand())
	return cmd
}

// session calls f with a client that is signed in, and signs it out.
func (c *command) session(cmd *cobra.Command, f func(ctx context.Context, s *app.Session) error) error {
	cfg, err := c.config(cmd)
	if err != nil {
		return err
	}
	s, err := app.SignIn(cmd.Context(), cfg, c.caller())
	if err != nil {
		return err
	}
	defer s.Close(context.WithoutCancel(cmd.Context()))
	return f(cmd.Context(), s)
}

// withClient gives cmd the settings of a client and the forms of a result.
func withClient(cmd *cobra.Command, o *output) *cobra.Command {
	addSettings(cmd, "client", "directory")
	o.add(cmd, "table", "json")
	return cmd
}

func (c *command) grantPoliciesCommand() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use: "policies", Short: "What you may request", Example: "  leastwise grant policies --output json", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			return c.session(cmd, func(ctx context.Context, s *app.Session) error {
				var v api.Policies
				if err := s.Do(ctx, api.Call{Method: http.MethodGet, Path: "/v1/policies", Out: &v}); err != nil {
					return err
				}
				return c.result(ctx, &o, v, func(w io.Writer) { policyTable(w, v.Items) })
			})
		},
	}
	return withClient(cmd, &o)
}

// result writes an answer as JSON or as a table.
func (c *command) result(ctx context.Context, o *output, v any, table func(io.Writer)) error {
	return c.write(ctx, o, func(w io.Writer) error {
		if o.form == "json" {
			return writeJSON(w, v)
		}
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		table(t)
		return t.Flush()
	})
}

func policyTable(w io.Writer, list []api.PolicyView) {
	fmt.Fprintln(w, "POLICY\tGROUP\tLONGEST\tAPPROVALS\tOBSERVER\tTITLE")
	for _, p := range list {
		observer := "no"
		if p.ObserverNeeded {
			observer = "yes"
		}
		title := p.Title
		if p.MayRequest != "yes" {
			title += " (not known whether you may request it: " + p.Why + ")"
		} else if !p.OpenNow {
			title += " (closed now)"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", p.Name, report.Visible(p.Group), p.Longest, p.ApprovalsNeeded, observer, report.Visible(title))
	}
}

func (c *command) grantRequestCommand() *cobra.Command {
	var (
		o     output
		r     api.GrantRequest
		start string
		key   string
	)
	cmd := &cobra.Command{
		Use: "request POLICY", Short: "Request a membership for a time",
		Long: `Requests the membership that POLICY is about, for your own account or another one of
yours. With --key the same request made twice makes one grant: for scripts.`,
		Example: "  leastwise grant request domain-admins --for 30m --reason 'replace dc3' --ticket CHG123456", Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			var err error
			if r.Start, err = parseTime("start", start); err != nil {
				return err
			}
			r.Policy = names[0]
			return c.session(cmd, func(ctx context.Context, s *app.Session) error {
				call := api.Call{Method: http.MethodPost, Path: "/v1/grants", In: r}
				if key != "" {
					call.Header = http.Header{"Idempotency-Key": {key}}
				}
				return c.grantCall(ctx, s, &o, call)
			})
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&r.For, "for", "", "`DURATION` such as 90m; default: the policy's usual")
	fl.StringVar(&r.Reason, "reason", "", "why, in your `WORDS`")
	fl.StringVar(&r.Ticket, "ticket", "", "`NUMBER` of the ticket")
	fl.StringVar(&r.Account, "account", "", "another `ACCOUNT` of yours that is to have the membership")
	fl.StringVar(&start, "start", "", "not before this `TIME`: 2026-11-22T20:00:00Z")
	fl.StringVar(&r.Schedule, "schedule", "", "`NAME` of a schedule that approves it beforehand")
	fl.BoolVar(&r.Emergency, "emergency", false, "at once, without approval; everybody is told, and it is reviewed afterwards")
	fl.StringVar(&key, "key", "", "idempotency `KEY` of your choice")
	return withClient(cmd, &o)
}

// grantCall carries a call out whose answer is a grant, and shows that.
func (c *command) grantCall(ctx context.Context, s *app.Session, o *output, call api.Call) error {
	var g api.Grant
	call.Out = &g
	if err := s.Do(ctx, call); err != nil {
		return err
	}
	return c.result(ctx, o, g, func(w io.Writer) { grantText(w, &g) })
}

// A grantDo is a command on a grant that takes nothing but a reason.
type grantDo struct {
	name, short string
	step        bool
}

func grantPath(id, what string) string {
	p := "/v1/grants/" + url.PathEscape(id)
	if what != "" {
		p += "/" + what
	}
	return p
}

// checkID refuses an argument that is no ID, before it becomes part of a path.
func checkID(id string) error {
	if id == "" || len(id) > 64 || strings.ContainsFunc(id, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", r)
	}) {
		return usagef("leastwise grant list shows them", "%s is no ID of a grant", quoted(id))
	}
	return nil
}

func (c *command) grantDoCommand(d grantDo) *cobra.Command {
	var (
		o      output
		reason string
	)
	cmd := &cobra.Command{
		Use: d.name + " ID", Short: d.short, Example: "  leastwise grant " + d.name + " 7k3mzz4q", Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, ids []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			if err := checkID(ids[0]); err != nil {
				return err
			}
			return c.session(cmd, func(ctx context.Context, s *app.Session) error {
				return c.grantCall(ctx, s, &o, api.Call{Method: http.MethodPost, Path: grantPath(ids[0], d.name), In: api.Note{Reason: reason}})
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, in your `WORDS`; it goes into the audit log")
	return withClient(cmd, &o)
}

func (c *command) grantExtendCommand() *cobra.Command {
	var (
		o output
		r api.ExtensionRequest
	)
	cmd := &cobra.Command{
		Use: "extend ID --for DURATION", Short: "Ask for more time", Example: "  leastwise grant extend 7k3mzz4q --for 30m", Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, ids []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			if err := checkID(ids[0]); err != nil {
				return err
			}
			if r.For == "" {
				return usagef("add --for 30m, for example", "it is not said how much longer")
			}
			return c.session(cmd, func(ctx context.Context, s *app.Session) error {
				return c.grantCall(ctx, s, &o, api.Call{Method: http.MethodPost, Path: grantPath(ids[0], "extend"), In: r})
			})
		},
	}
	cmd.Flags().StringVar(&r.For, "for", "", "how much longer, a `DURATION` such as 30m")
	cmd.Flags().StringVar(&r.Reason, "reason", "", "why, in your `WORDS`")
	return withClient(cmd, &o)
}

func (c *command) grantEndCommand() *cobra.Command {
	var (
		o      output
		reason string
	)
	cmd := &cobra.Command{
		Use: "end ID", Short: "Give a grant of your own back before its end, or take the request back",
		Example: "  leastwise grant end 7k3mzz4q --reason 'use completed'", Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, ids []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			if err := checkID(ids[0]); err != nil {
				return err
			}
			return c.session(cmd, func(ctx context.Context, s *app.Session) error {
				var g api.Grant
				if err := s.Do(ctx, api.Call{Method: http.MethodGet, Path: grantPath(ids[0], ""), Out: &g}); err != nil {
					return err
				}
				what := "cancel"
				if g.State == "active" || g.State == "activating" {
					what = "give-back"
				}
				return c.grantCall(ctx, s, &o, api.Call{Method: http.MethodPost, Path: grantPath(ids[0], what), In: api.Note{Reason: reason}})
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, in your `WORDS`")
	return withClient(cmd, &o)
}

func (c *command) grantReviewCommand() *cobra.Command {
	var (
		o       output
		v       api.Verdict
		verdict string
	)
	cmd := &cobra.Command{
		Use: "review ID --verdict accept|reject", Short: "Review an emergency that has ended",
		Example: "  leastwise grant review 7k3mzz4q --verdict accept --reason 'outage of dc3'", Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, ids []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			if err := checkID(ids[0]); err != nil {
				return err
			}
			if verdict != "accept" && verdict != "reject" {
				return usagef("use --verdict accept or --verdict reject", "there is no verdict")
			}
			v.Accept = verdict == "accept"
			return c.session(cmd, func(ctx context.Context, s *app.Session) error {
				return c.grantCall(ctx, s, &o, api.Call{Method: http.MethodPost, Path: grantPath(ids[0], "review"), In: v})
			})
		},
	}
	cmd.Flags().StringVar(&verdict, "verdict", "", "`accept` or reject")
	complete(cmd, "verdict", "accept", "reject")
	cmd.Flags().StringVar(&v.Reason, "reason", "", "why, in your `WORDS`")
	return withClient(cmd, &o)
}

func (c *command) grantListCommand() *cobra.Command {
	var (
		o      output
		states []string
		policy string
		mine   bool
		limit  int
	)
	cmd := &cobra.Command{
		Use: "list", Short: "Grants that you may see, newest first", Example: "  leastwise grant list --mine\n  leastwise grant list --state requested,active --output json", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			if limit < 1 {
				return usagef("", "--limit must be at least 1")
			}
			q := url.Values{"limit": {fmt.Sprint(min(limit, 200))}}
			if len(states) > 0 {
				q.Set("state", strings.Join(states, ","))
			}
			if policy != "" {
				q.Set("policy", policy)
			}
			if mine {
				q.Set("mine", "true")
			}
			return c.session(cmd, func(ctx context.Context, s *app.Session) error {
				all, err := grantPages(ctx, s, q, limit)
				if err != nil {
					return err
				}
				return c.result(ctx, &o, all, func(w io.Writer) { grantTable(w, all.Items) })
			})
		},
	}
	fl := cmd.Flags()
	fl.StringSliceVar(&states, "state", nil, "only grants in these `STATES`")
	fl.StringVar(&policy, "policy", "", "only grants of this `POLICY`")
	fl.BoolVar(&mine, "mine", false, "only grants that you requested or hold")
	fl.IntVar(&limit, "limit", 50, "at most this `NUMBER`")
	return withClient(cmd, &o)
}

// grantPages reads pages until there are enough grants, or no more.
func grantPages(ctx context.Context, s *app.Session, q url.Values, limit int) (api.Grants, error) {
	all := api.Grants{Items: []api.Grant{}}
	for {
		var page api.Grants
		if err := s.Do(ctx, api.Call{Method: http.MethodGet, Path: "/v1/grants", Query: q, Out: &page}); err != nil {
			return all, err
		}
		all.Items, all.Next = append(all.Items, page.Items...), page.Next
		if page.Next == "" || len(all.Items) >= limit {
			all.Items = all.Items[:min(limit, len(all.Items))]
			return all, nil
		}
		q.Set("cursor", page.Next)
	}
}

func grantTable(w io.Writer, list []api.Grant) {
	fmt.Fprintln(w, "ID\tSTATE\tPOLICY\tACCOUNT\tGROUP\tENDS")
	for _, g := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", g.ID, g.State, g.Policy, report.Visible(g.Holder.Name), report.Visible(g.Group.Name), when(g.Ends))
	}
}

func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(stamp)
}

// grantText writes a grant line by line, without what does not apply.
func grantText(w io.Writer, g *api.Grant) {
	line := func(name, text string) {
		if text != "" && text != "-" {
			fmt.Fprintf(w, "%s\t%s\n", name, report.Visible(text))
		}
	}
	line("id", g.ID)
	line("state", g.State)
	line("policy", g.Policy+": "+g.Title)
	line("group", g.Group.Name)
	line("account", g.Holder.Name)
	line("requested by", g.Requester.Name+" at "+when(g.RequestedAt))
	line("reason", g.Reason)
	line("ticket", g.Ticket)
	line("duration", g.Duration)
	line("start", when(g.Start))
	if g.State == "requested" {
		line("approvals", fmt.Sprintf("%d of %d, until %s", len(g.Approvals), g.ApprovalsNeeded, when(g.ApproveBy)))
	}
	for _, a := range g.Approvals {
		line("approved by", a.By.Name+" at "+when(a.Time))
	}
	for _, o := range g.Observers {
		text := o.By.Name + " since " + when(o.Joined)
		if !o.Left.IsZero() {
			text = o.By.Name + " from " + when(o.Joined) + " to " + when(o.Left)
		}
		line("observed by", text)
	}
	line("active since", when(g.Activated))
	line("basis", g.Basis)
	line("ends", when(g.Ends))
	line("ended", when(g.EndedAt))
	line("why", g.EndWhy)
	line("fault", g.Fault)
	if g.Access != nil {
		line("access", g.Access.Text)
	}
}

func (c *command) grantShowCommand() *cobra.Command {
	var (
		o                   output
		power, changes, log bool
	)
	cmd := &cobra.Command{
		Use: "show ID", Short: "One grant, what its power is, what changed meanwhile, and what the log says",
		Example: "  leastwise grant show 7k3mzz4q\n  leastwise grant show 7k3mzz4q --power --output json", Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, ids []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			if err := checkID(ids[0]); err != nil {
				return err
			}
			return c.session(cmd, func(ctx context.Context, s *app.Session) error {
				v := shownGrant{Grant: new(api.Grant)}
				parts := []struct {
					want bool
					path string
					out  any
				}{{true, "", v.Grant}, {power, "power", &v.Power}, {changes, "changes", &v.Changes}, {log, "log", &v.Log}}
				for _, p := range parts {
					if !p.want {
						continue
					}
					if err := s.Do(ctx, api.Call{Method: http.MethodGet, Path: grantPath(ids[0], p.path), Out: p.out}); err != nil {
						return err
					}
				}
				return c.result(ctx, &o, v, v.text)
			})
		},
	}
	cmd.Flags().BoolVar(&power, "power", false, "what the group can do, and how long tickets may outlive the grant (for those who decide, observe or review)")
	cmd.Flags().BoolVar(&changes, "changes", false, "what changed in the directory while it was active (for the same)")
	cmd.Flags().BoolVar(&log, "log", false, "what the audit log says of it")
	return withClient(cmd, &o)
}

// A shownGrant is what grant show shows.
type shownGrant struct {
	Grant   *api.Grant        `json:"grant"`
	Power   *api.Power        `json:"power,omitempty"`
	Changes *api.Changes      `json:"changes,omitempty"`
	Log     *api.AuditEntries `json:"log,omitempty"`
}

func (v shownGrant) text(w io.Writer) {
	grantText(w, v.Grant)
	if p := v.Power; p != nil {
		powerText(w, p)
	}
	if ch := v.Changes; ch != nil {
		fmt.Fprintf(w, "\nchanged between %s and %s (%s)\n", when(ch.Since), when(ch.Until), report.Visible(ch.Server))
		for _, x := range ch.Items {
			fmt.Fprintf(w, "%s\t%s\t%s\n", when(x.Time), x.Attribute, report.Visible(x.Object))
		}
		if ch.More {
			fmt.Fprintln(w, "and more")
		}
		fmt.Fprintln(w, report.Visible(ch.Note))
	}
	if l := v.Log; l != nil {
		fmt.Fprintln(w, "\naudit log")
		for _, e := range l.Items {
			fmt.Fprintf(w, "%d\t%s\t%s %s\t%s\t%s\n", e.Index, when(e.Time), e.Phase, e.Action, report.Visible(e.Actor), report.Visible(e.Reason))
		}
	}
}

func (c *command) grantWatchCommand() *cobra.Command {
	var (
		o    output
		last string
		one  string
	)
	cmd := &cobra.Command{
		Use: "watch", Short: "Follow what happens to the grants that you may see, until interrupted",
		Example: "  leastwise grant watch --output json", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			return c.session(cmd, func(ctx context.Context, s *app.Session) error {
				return s.Follow(ctx, last, one, func(e api.Event) error {
					if o.form == "json" {
						return writeJSON(c.env.Out, e)
					}
					_, err := fmt.Fprintf(c.env.Out, "%d  %s  %s %s  %s  %s in %s  by %s\n", e.Index, when(e.Time), e.Action, e.Result, e.Grant,
						report.Visible(e.Account), report.Visible(e.Group), report.Visible(e.Actor))
					return err
				})
			})
		},
	}
	cmd.Flags().StringVar(&last, "since", "", "begin after the event with this `ID`")
	cmd.Flags().StringVar(&one, "grant", "", "only this `GRANT`")
	return withClient(cmd, &o)
}

// powerText writes what the power of a grant is.
func powerText(w io.Writer, p *api.Power) {
	fmt.Fprintf(w, "\n%s\n", report.Visible(p.Tickets))
	var e report.Extent
	switch {
	case !p.Known:
		fmt.Fprintln(w, report.Visible(p.Missing))
	case json.Unmarshal(p.Extent, &e) != nil:
		fmt.Fprintln(w, "the server says what the group can do in a form that this version cannot read: use --output json")
	default:
		fmt.Fprintf(w, "by the snapshot of %s (%s old):\n", when(p.Snapshot), p.Age)
		_ = e.Text(w, report.Screen{}) // standard output keeps its first error
	}
}
