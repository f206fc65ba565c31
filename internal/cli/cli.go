// Package cli is the command line: it understands arguments, calls package app,
// and writes results to standard output, progress and errors to standard error.
//
// Exit codes: 0 done; 1 findings at or above --fail-on; 2 wrong usage; 3 what was
// asked could not be reached, read or written; 4 refused by policy.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/leastwise/leastwise/internal/adminservice"
	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/apply"
	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/bloodhound"
	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/report"
	"github.com/leastwise/leastwise/internal/store"
)

// Exit codes.
const (
	exitOK       = 0
	exitFindings = 1
	exitUsage    = 2
	exitRead     = 3
	exitRefused  = 4
)

// An Environment is what the command line has of the world around it.
type Environment struct {
	Version        string
	In             io.Reader
	Out, Err       io.Writer
	Environ        []string
	Now            func() time.Time
	OutTerminal    int // columns; 0 if Out is not a terminal
	ErrTerminal    int
	PromptPassword func(ctx context.Context, account string) (string, error) // nil if nobody can be asked
}

// System returns the process's own environment.
func System(version string) Environment {
	e := Environment{
		Version: version, In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Environ: os.Environ(), Now: time.Now,
		OutTerminal: columns(os.Stdout), ErrTerminal: columns(os.Stderr),
	}
	if term.IsTerminal(int(os.Stdin.Fd())) && e.ErrTerminal > 0 {
		e.PromptPassword = promptPassword
	}
	return e
}

func columns(f *os.File) int {
	if !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	w, _, err := term.GetSize(int(f.Fd()))
	if err != nil || w <= 0 {
		return 80
	}
	return w
}

// promptPassword asks on the terminal until there is an answer or ctx ends; the
// terminal then shows again what is typed.
func promptPassword(ctx context.Context, account string) (string, error) {
	fd := int(os.Stdin.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	fmt.Fprintf(os.Stderr, "Password of %s: ", account)
	defer fmt.Fprintln(os.Stderr)
	type answer struct {
		text []byte
		err  error
	}
	got := make(chan answer, 1)
	go func() { // left behind if ctx ends first: the program ends then
		b, err := term.ReadPassword(fd)
		got <- answer{b, err}
	}()
	select {
	case <-ctx.Done():
		return "", errors.Join(context.Cause(ctx), term.Restore(fd, before))
	case a := <-got:
		if a.err != nil {
			return "", fmt.Errorf("reading the password: %w", a.err)
		}
		return string(a.text), nil
	}
}

// getenv returns a variable of the environment.
func (e Environment) getenv(key string) string {
	for _, kv := range e.Environ {
		if k, v, _ := strings.Cut(kv, "="); k == key {
			return v
		}
	}
	return ""
}

func (e Environment) color(columns int) bool {
	return columns > 0 && e.getenv("NO_COLOR") == "" && e.getenv("TERM") != "dumb"
}

// Run carries out one command line and returns its exit code.
func Run(ctx context.Context, args []string, env Environment) int {
	out := &sink{w: env.Out}
	env.Out = out
	c := &command{env: env}
	root := c.root()
	root.SetArgs(args)
	root.SetIn(env.In)
	root.SetOut(env.Out)
	root.SetErr(env.Err)
	err := root.ExecuteContext(ctx)
	if out.err != nil && ctx.Err() == nil {
		err = out.err
	}
	if err == nil {
		return exitOK
	}
	var f *findingsError
	if errors.As(err, &f) {
		fmt.Fprintln(env.Err, "leastwise:", err)
		return exitFindings
	}
	c.printError(ctx, err)
	return exitCode(err)
}

// printError writes one line of error, then hints.
func (c *command) printError(ctx context.Context, err error) {
	if ctx.Err() != nil && !errors.Is(err, apply.ErrStopped) {
		fmt.Fprintln(c.env.Err, "leastwise: interrupted; nothing was written")
		return
	}
	fmt.Fprintf(c.env.Err, "leastwise: %s\n", report.Visible(oneLine(err.Error())))
	if hint := hintOf(err); hint != "" {
		fmt.Fprintf(c.env.Err, "  hint: %s\n", hint)
	}
}

// hintOf returns what to do about an error, empty if there is nothing to say.
func hintOf(err error) string {
	var (
		u *usageError
		w *app.WriteError
	)
	switch {
	case errors.As(err, &u):
		return u.hint
	case errors.As(err, &w):
		return "name another place with --out, or make room there; a file that was there before is unchanged"
	case errors.Is(err, apply.ErrStopped) && dc.Hint(err) == "":
		return "what was done is in the journal: call it again to go on, or leastwise undo with the journal to take it back"
	case errors.Is(err, apply.ErrDigest):
		return "leastwise plan --show shows the plan as it is now; nothing was written"
	case errors.Is(err, configmgr.ErrDocument):
		return "correct the file there; docs/FORMATS.md describes it; leastwise configmgr import makes a document of what cmdlets wrote; nothing of it was used"
	case errors.Is(err, configmgr.ErrImport):
		return "export it again, best with the script of: leastwise configmgr export-script; nothing was written"
	case errors.Is(err, app.ErrNoSite):
		return "name the site in a document: leastwise configmgr init writes a first one"
	case errors.Is(err, app.ErrNoDomain):
		return "export the domain from its root (DC=…) with scope subtree and objectSid, or scan it with collect"
	case errors.Is(err, app.ErrUnrelated):
		return "compare two snapshots of one domain"
	case errors.Is(err, forest.ErrCorrupt), errors.Is(err, forest.ErrTruncated), errors.Is(err, bloodhound.ErrDamaged):
		return "copy the file again, or scan again; nothing of it was used"
	case errors.Is(err, forest.ErrNewer):
		return "use the version of leastwise that wrote the file, or a later one"
	case errors.Is(err, forest.ErrLDIF):
		return "correct the file at that line, or export it again; nothing of it was used"
	case errors.Is(err, bloodhound.ErrCollection):
		return `a SharpHound collection is its zip archive, or JSON files such as {"meta":{"type":"users","version":6,"count":1},"data":[…]}; nothing of it was used`
	case errors.Is(err, app.ErrInput):
		return "give a snapshot (.lws), LDIF of ldapsearch or ldifde, a SharpHound collection (.zip, .json) or a fixture (.yaml)"
	}
	if hint := storeHint(err); hint != "" {
		return hint
	}
	if hint := problemHint(err); hint != "" {
		return hint
	}
	if errors.Is(err, app.ErrPrivileged) {
		return "take the account out of these groups; leastwise bootstrap makes one with exactly the rights that are needed"
	}
	return adminservice.Hint(err)
}

// storeHint returns what to do about an error of the database or the audit log.
func storeHint(err error) string {
	switch {
	case errors.Is(err, store.ErrMissing):
		return "name it with --database, or create it: leastwise audit init"
	case errors.Is(err, store.ErrOccupied):
		return "restore into a database that does not exist yet; nothing was changed"
	case errors.Is(err, store.ErrInUse):
		return "stop the other leastwise first; reading and backup work beside it"
	case errors.Is(err, store.ErrOlder):
		return "start the server once with this version, which brings it up to date; take a backup before"
	case errors.Is(err, store.ErrNewer):
		return "use the version of leastwise that wrote it, or a later one"
	case errors.Is(err, store.ErrBackup), errors.Is(err, audit.ErrExport):
		return "copy the file again, or make it again; nothing of it was used"
	case errors.Is(err, store.ErrFull):
		return "make room where the database is; nothing of the transaction was kept"
	case errors.Is(err, store.ErrCorrupt):
		return "keep a copy of the file as it is, and restore a backup"
	case errors.Is(err, audit.ErrForked):
		return "find out where: leastwise audit verify; keep the key and every checkpoint"
	}
	return ""
}

// oneLine keeps joined errors on one line.
func oneLine(s string) string { return strings.ReplaceAll(s, "\n", "; ") }

// exitCode maps an error to the exit code; everything that is not about usage or
// policy is a failure to read or write.
func exitCode(err error) int {
	var u *usageError
	if code := carryExit(err); code != 0 {
		return code
	}
	if code := problemExit(err); code != 0 {
		return code
	}
	switch {
	case errors.As(err, &u), errors.Is(err, app.ErrConfig), errors.Is(err, app.ErrUnrelated), errors.Is(err, grant.ErrPolicies), dc.KindOf(err) == dc.ErrConfig:
		return exitUsage
	case errors.Is(err, store.ErrSettings):
		return exitUsage
	case dc.KindOf(err) == dc.ErrPlaintext, errors.Is(err, store.ErrInUse), errors.Is(err, store.ErrOccupied), errors.Is(err, audit.ErrForked), errors.Is(err, app.ErrPrivileged):
		return exitRefused
	}
	return exitRead
}

// A usageError reports a wrong command line.
type usageError struct {
	err  error
	hint string
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(hint, format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...), hint}
}

// A findingsError makes the exit code tell that --fail-on was reached.
type findingsError struct{ text string }

func (e *findingsError) Error() string { return e.text }

// A command is one run of the program.
type command struct {
	env        Environment
	configFile string
	quiet      bool
}

const longHelp = `leastwise measures an Active Directory forest against the principle of least
privilege: who holds the power, through which memberships and policies, and what
to take away. It only reads, and an ordinary domain user is enough; apply and undo alone
change the directory, by plans that were shown.`

const rootExample = `  # Assess a live domain and write a report to open in a browser
  leastwise assess --domain contoso.com --user alice@contoso.com --output html --out report.html

  # The same in two steps: scan now, assess anywhere without credentials
  leastwise collect --domain contoso.com --out contoso.lws
  leastwise assess contoso.lws`

func (c *command) root() *cobra.Command {
	root := &cobra.Command{
		Use: "leastwise", Short: "Brings Active Directory to least privilege and keeps it there",
		Long: longHelp, Example: rootExample, Version: c.versionText(),
		SilenceErrors: true, SilenceUsage: true, Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("see: leastwise --help", "there is no command %q", args[0])
			}
			return cmd.Help()
		},
	}
	root.PersistentFlags().StringVar(&c.configFile, "config", "", "configuration `FILE` (default: leastwise.yaml in the working directory, if there is one)")
	root.PersistentFlags().BoolVarP(&c.quiet, "quiet", "q", false, "no progress on standard error")
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetHelpCommand(c.helpCommand(root))
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{err, "see: " + cmd.CommandPath() + " --help"}
	})
	for _, make := range []func() *cobra.Command{
		c.collectCommand, c.assessCommand, c.whoCanCommand, c.explainCommand, c.reachCommand, c.zonesCommand, c.whatIfCommand, c.planCommand, c.applyCommand, c.undoCommand, c.bootstrapCommand, c.rightsCommand, c.importCommand, c.exportCommand, c.diffCommand,
		c.controlsCommand, c.configMgrCommand, c.serveCommand, c.grantCommand, c.operatorCommand, c.auditCommand, c.historyCommand, c.backupCommand, c.restoreCommand, c.noticesCommand, c.configCommand, c.doctorCommand, c.versionCommand,
	} {
		root.AddCommand(make())
	}
	root.AddCommand(c.completionCommand(root))
	return root
}

// helpCommand replaces cobra's, which takes an unknown command for none.
func (c *command) helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Help about a command",
		Example: "  leastwise help assess",
		RunE: func(_ *cobra.Command, names []string) error {
			cmd, rest, err := root.Find(names)
			if err != nil || len(rest) > 0 {
				return usagef("see: leastwise --help", "there is no command %q", strings.Join(names, " "))
			}
			return cmd.Help()
		},
	}
}
