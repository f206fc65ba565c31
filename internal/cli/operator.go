package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/api"
	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/report"
)

func (c *command) operatorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "operator", Short: "First administrator, second factors, sessions and API tokens",
		Long: `operator init runs on the server's machine and makes the first administrator, once; operator
invite helps there whoever has lost his second factor. The other commands speak to the server (--url) about your own account.`,
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(c.operatorInitCommand(), c.operatorInviteCommand(), c.operatorKeysCommand(), c.operatorEnrolCommand(), c.operatorWhoCommand(), c.operatorSessionsCommand(), c.operatorTokenCommand())
	return cmd
}

func (c *command) operatorInitCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "init ACCOUNT", Short: "Make the first administrator, on the server's machine",
		Long: `Makes ACCOUNT the first administrator: it may administer operators and read the audit log,
but not approve grants. It works once, and is in the audit log. Further administrators are a
group that --operator-policies names. Run it beside the server, with its configuration.`,
		Example: `  leastwise operator init 'CONTOSO\anna'`, Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, names []string) error {
			cfg, err := c.config(cmd)
			if err != nil {
				return err
			}
			name, err := app.FirstAdministrator(cmd.Context(), cfg, c.caller(), names[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.env.Out, "%s is the first administrator\n", report.Visible(name))
			return err
		},
	}
	addSettings(cmd, "database", "serve", "directory")
	return cmd
}

func (c *command) operatorInviteCommand() *cobra.Command {
	var reason string
	var lost bool
	cmd := &cobra.Command{
		Use: "invite ACCOUNT", Short: "Make an enrolment code for an account, on the server's machine",
		Long: `Prints a code, this once, with which the owner of ACCOUNT enrols his second factor (operator
enrol --enrolment-code-file). With --lost it first removes the second factors that the account
has, and ends its sessions and API tokens. Make sure that it is the owner who asks. It is in
the audit log. Run it beside the server, with its configuration.`,
		Example: `  leastwise operator invite 'CONTOSO\anna' --lost --reason 'phone lost, called back'`, Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, names []string) error {
			cfg, err := c.config(cmd)
			if err != nil {
				return err
			}
			code, err := app.InviteOperator(cmd.Context(), cfg, c.caller(), names[0], reason, lost)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.env.Out, "%s\n", code.Code.Reveal())
			return err
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the audit log (required)")
	cmd.Flags().BoolVar(&lost, "lost", false, "the second factors of the account are lost: remove them")
	addSettings(cmd, "database", "serve", "directory")
	return cmd
}

func (c *command) operatorKeysCommand() *cobra.Command {
	var (
		rotate, lost bool
		reason       string
	)
	cmd := &cobra.Command{
		Use: "keys --rotate | --lost", Short: "Add a key that seals second factors, or replace lost ones, on the server's machine",
		Long: `--rotate adds a key to --operator-keys, which seals from the server's next start on; the others
go on opening what they have sealed. --lost makes a new file where the old one is lost for good: the
authenticator apps of all accounts are removed, their sessions and API tokens end, and whoever has no
other second factor needs an enrolment code (operator invite); stop every server on the database
before. Both are in the audit log. Run it on the server's machine as the server's account, with its
configuration, and start the server again.`,
		Example: "  leastwise operator keys --rotate\n  leastwise operator keys --lost --reason 'disk failed, no copy'", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if rotate == lost || lost && reason == "" {
				return usagef("", "give --rotate, or --lost with --reason")
			}
			cfg, err := c.config(cmd)
			if err != nil {
				return err
			}
			if rotate {
				return app.RotateKeys(cmd.Context(), cfg, c.caller())
			}
			n, err := app.ReplaceLostKeys(cmd.Context(), cfg, c.caller(), reason)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.env.Out, "%d authenticator apps removed\n", n)
			return err
		},
	}
	cmd.Flags().BoolVar(&rotate, "rotate", false, "add a key")
	cmd.Flags().BoolVar(&lost, "lost", false, "the file is lost for good: make another")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the audit log (with --lost)")
	addSettings(cmd, "database", "serve")
	return cmd
}

// An enrolment is the server's answer.
type enrolment struct {
	Factor operator.Factor `json:"factor"`
	Secret string          `json:"secret"`
	URL    string          `json:"url"`
}

func (c *command) operatorEnrolCommand() *cobra.Command {
	var (
		o      output
		label  string
		invite string
	)
	cmd := &cobra.Command{
		Use: "enrol", Short: "Enrol an authenticator app as second factor",
		Long: `Security keys and passkeys (WebAuthn) need a browser: a program that speaks for it could claim
any origin. This command enrols an app.

Prints the secret to type into an authenticator app (or to show it as a QR code), this once,
and then asks for a code of it. With --output json it prints secret and ID, and waits for the
code in --code-file - (standard input).`,
		Example: "  leastwise operator enrol --label phone", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			return c.session(cmd, func(ctx context.Context, s *app.Session) error {
				in := map[string]string{"label": label}
				if invite != "" {
					code, err := app.NewPassword(invite, c.caller())
					if err != nil {
						return err
					}
					in["code"] = code
				}
				var e enrolment
				if err := s.Do(ctx, api.Call{Method: http.MethodPost, Path: "/v1/factors/totp", In: in, Out: &e}); err != nil {
					return err
				}
				err := c.result(ctx, &o, e, func(w io.Writer) {
					fmt.Fprintf(w, "secret\t%s\nurl\t%s\n", e.Secret, e.URL)
				})
				if err != nil {
					return err
				}
				code, err := s.Code(ctx)
				if err != nil {
					return err
				}
				return s.Do(ctx, api.Call{Method: http.MethodPost, Path: "/v1/factors/totp/" + url.PathEscape(e.Factor.ID) + "/confirm", In: api.CodeAnswer{Code: code}})
			})
		},
	}
	cmd.Flags().StringVar(&label, "label", "authenticator app", "what you call it")
	cmd.Flags().StringVar(&invite, "enrolment-code-file", "", "`FILE` with the enrolment code, where an administrator gave you one; - reads standard input")
	return withClient(cmd, &o)
}

func (c *command) operatorWhoCommand() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use: "whoami", Short: "Who you are to the server, and what you may do there", Example: "  leastwise operator whoami", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			return c.session(cmd, func(ctx context.Context, s *app.Session) error {
				var v api.Session
				if err := s.Do(ctx, api.Call{Method: http.MethodGet, Path: "/v1/session", Out: &v}); err != nil {
					return err
				}
				return c.result(ctx, &o, v, func(w io.Writer) {
					fmt.Fprintf(w, "name\t%s\naccount\t%s\nsigned in with\t%s\n", report.Visible(v.Name), v.Account, v.Method)
					fmt.Fprintf(w, "second factors\t%s\nmay\t%s\n", strings.Join(v.Factors, ", "), strings.Join(v.Permission, ", "))
				})
			})
		},
	}
	return withClient(cmd, &o)
}

func (c *command) operatorSessionsCommand() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use: "sessions", Short: "Your sessions, or end them", Example: "  leastwise operator sessions\n  leastwise operator sessions end --all", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			return c.session(cmd, func(ctx context.Context, s *app.Session) error {
				var v api.Sessions
				if err := s.Do(ctx, api.Call{Method: http.MethodGet, Path: "/v1/sessions", Out: &v}); err != nil {
					return err
				}
				return c.result(ctx, &o, v, func(w io.Writer) {
					fmt.Fprintln(w, "ID\tSINCE\tUSED\tENDS\tWITH\tFROM")
					for _, x := range v.Items {
						fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", x.ID, when(x.Since), when(x.Used), when(x.Ends), x.Method, x.From)
					}
				})
			})
		},
	}
	cmd.AddCommand(c.sessionsEndCommand())
	return withClient(cmd, &o)
}

func (c *command) sessionsEndCommand() *cobra.Command {
	var (
		o               output
		all             bool
		account, reason string
	)
	cmd := &cobra.Command{
		Use: "end [ID]", Short: "End a session, or all sessions and API tokens of an account",
		Long: `Ends the session ID and what came out of it: its API tokens and the second factors that wait for
their confirmation. With --all it ends all sessions and API tokens of your account, this one among them;
with --account those of another, for which you must be allowed to administer operators.`,
		Example: "  leastwise operator sessions end 0a1b2c3d4e5f\n  leastwise operator sessions end --all --reason 'laptop stolen'", Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, ids []string) error {
			switch {
			case all == (len(ids) == 1):
				return usagef("leastwise operator sessions shows the IDs", "name one session, or give --all")
			case account != "" && !all:
				return usagef("", "--account needs --all")
			case len(ids) == 1 && checkID(ids[0]) != nil:
				return usagef("leastwise operator sessions shows them", "%s is no ID of a session", quoted(ids[0]))
			}
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			return c.session(cmd, func(ctx context.Context, s *app.Session) error {
				if !all {
					return s.Do(ctx, api.Call{Method: http.MethodPost, Path: "/v1/sessions/" + url.PathEscape(ids[0]) + "/end", In: api.Note{Reason: reason}})
				}
				return c.endEverything(ctx, s, &o, account, reason)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "end all sessions and API tokens of the account")
	cmd.Flags().StringVar(&account, "account", "", "objectGUID of another `ACCOUNT`; default: your own")
	cmd.Flags().StringVar(&reason, "reason", "ended by hand", "why, for the audit log")
	return withClient(cmd, &o)
}

// endEverything ends all sessions and tokens of an account, the caller's own if none is
// named.
func (c *command) endEverything(ctx context.Context, s *app.Session, o *output, account, reason string) error {
	if account == "" {
		var me api.Session
		if err := s.Do(ctx, api.Call{Method: http.MethodGet, Path: "/v1/session", Out: &me}); err != nil {
			return err
		}
		account = me.Account
		s.Stay() // it ends here
	}
	var v struct {
		Ended int `json:"ended"`
	}
	if err := s.Do(ctx, api.Call{Method: http.MethodPost, Path: "/v1/accounts/" + url.PathEscape(account) + "/end", In: api.Note{Reason: reason}, Out: &v}); err != nil {
		return err
	}
	return c.result(ctx, o, v, func(w io.Writer) { fmt.Fprintf(w, "ended\t%d\n", v.Ended) })
}

func (c *command) operatorTokenCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "API tokens: issue, list, revoke", Args: cobra.NoArgs}
	cmd.AddCommand(c.tokenIssueCommand(), c.tokenListCommand(), c.tokenRevokeCommand())
	return cmd
}

func (c *command) tokenIssueCommand() *cobra.Command {
	var (
		o                   output
		label, life, target string
		scope               []string
	)
	cmd := &cobra.Command{
		Use: "issue --label TEXT --scope ACTION", Short: "Issue an API token, which is shown this once",
		Long: `Prints an API token, this once. It needs a fresh second factor. A token for your own account
ends with the session that it was issued in, if that is signed out or ended; this command leaves
its session to end by itself, so that the token lives as long as --for says.`,
		Example: "  leastwise operator token issue --label 'nightly job' --scope grant.request,grant.read --for 8h", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			if label == "" || len(scope) == 0 {
				return usagef("", "a token needs --label and --scope")
			}
			return c.session(cmd, func(ctx context.Context, s *app.Session) error {
				in := map[string]any{"label": label, "scope": scope}
				for name, text := range map[string]string{"for": life, "account": target} {
					if text != "" {
						in[name] = text
					}
				}
				var v struct {
					Token  operator.Token `json:"token"`
					Secret string         `json:"secret"`
				}
				if err := s.Do(ctx, api.Call{Method: http.MethodPost, Path: "/v1/tokens", In: in, Out: &v}); err != nil {
					return err
				}
				s.Stay()
				return c.result(ctx, &o, v, func(w io.Writer) { fmt.Fprintln(w, v.Secret) })
			})
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&label, "label", "", "`TEXT`: what it is for")
	fl.StringSliceVar(&scope, "scope", nil, "`ACTIONS` that it may be used for: grant.read, grant.request, grant.end, assess.read, audit.read")
	fl.StringVar(&life, "for", "", "how long, a `DURATION` such as 8h; default: the longest")
	fl.StringVar(&target, "account", "", "objectGUID of a workload's `ACCOUNT` that it is bound to; default: your own")
	return withClient(cmd, &o)
}

func (c *command) tokenListCommand() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use: "list", Short: "Your API tokens", Example: "  leastwise operator token list", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.checkOutput(cmd, &o); err != nil {
				return err
			}
			return c.session(cmd, func(ctx context.Context, s *app.Session) error {
				var v struct {
					Items []operator.Token `json:"items"`
				}
				if err := s.Do(ctx, api.Call{Method: http.MethodGet, Path: "/v1/tokens", Out: &v}); err != nil {
					return err
				}
				return c.result(ctx, &o, v, func(w io.Writer) {
					fmt.Fprintln(w, "ID\tLABEL\tSCOPE\tENDS\tBY")
					for _, t := range v.Items {
						fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", t.ID, report.Visible(t.Label), fmt.Sprint(t.Scope), when(t.Ends), report.Visible(t.By))
					}
				})
			})
		},
	}
	return withClient(cmd, &o)
}

func (c *command) tokenRevokeCommand() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use: "revoke ID", Short: "End an API token", Example: "  leastwise operator token revoke 0a1b2c", Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, ids []string) error {
			if checkID(ids[0]) != nil {
				return usagef("leastwise operator token list shows them", "%s is no ID of a token", quoted(ids[0]))
			}
			return c.session(cmd, func(ctx context.Context, s *app.Session) error {
				return s.Do(ctx, api.Call{Method: http.MethodPost, Path: "/v1/tokens/" + ids[0] + "/revoke", In: api.Note{Reason: "revoked by hand"}})
			})
		},
	}
	return withClient(cmd, &o)
}

// problemExit returns the exit code of an answer of the server, 0 if err is none.
func problemExit(err error) int {
	var p *api.Problem
	if !errors.As(err, &p) {
		return 0
	}
	switch p.Code() {
	case api.CodeInvalid, api.CodeTooLarge, api.CodeMediaType, api.CodeMethod:
		return exitUsage
	case api.CodeNotFound, api.CodeDirectory, api.CodeStore, api.CodeInternal, api.CodeUnknown, api.CodeUnavailable, api.CodeKeyUnfinished, api.CodeTooSlow:
		return exitRead
	}
	return exitRefused
}

// problemHint says what to do about an answer of the server.
func problemHint(err error) string {
	var p *api.Problem
	if !errors.As(err, &p) {
		return ""
	}
	switch p.Code() {
	case api.CodeUnauthorized:
		return "check --user, --ccache or --token-file; the server's audit log says why"
	case api.CodeStepUp:
		return "enrol a second factor first: leastwise operator enrol"
	case api.CodeTooMany:
		return fmt.Sprintf("try again in %d seconds", max(1, p.Retry))
	case api.CodeUnknown:
		return "look at the state first: leastwise grant list"
	case api.CodeInternal, api.CodeDirectory, api.CodeStore:
		if p.Request != "" {
			return "the server's log tells more about request " + p.Request
		}
	}
	return ""
}
