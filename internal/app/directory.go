package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/collect"
	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/forest"
)

// PasswordVariable is the environment variable that may hold the password of the
// account that reads.
const PasswordVariable = EnvPrefix + "PASSWORD"

// maxPassword bounds what is read from a password file, in bytes.
const maxPassword = 4096

// A Caller is what a scan takes from who runs it: the clock, and where a password
// may come from beside the configuration.
type Caller struct {
	Environ string                                                    // value of PasswordVariable; empty if unset
	Stdin   io.Reader                                                 // for --password-file -
	Prompt  func(ctx context.Context, account string) (string, error) // nil if nobody can be asked
	Now     func() time.Time                                          // required
	Warn    func(text string)                                         // says what the user should mend; nil: nobody listens
}

// DirectoryConfig turns the configuration into that of package dc.
func DirectoryConfig(ctx context.Context, c *Config, by Caller) (dc.Config, error) {
	out := dc.Config{
		Domain: c.Text("domain"), Server: c.Text("server"), DNS: c.Text("dns"), Site: c.Text("site"),
		CAFile: c.Text("ca"), Timeout: c.Duration("timeout"), PageSize: c.Int("page-size"), NoFailover: c.Bool("no-failover"), Now: by.Now,
	}
	var err error
	if out.Transport, err = dc.ParseTransport(c.Text("transport")); err != nil {
		return out, err
	}
	if c.Text("bind") == "simple" {
		out.Bind = dc.Simple
		if out.Transport == dc.Sealed {
			return out, &dc.Error{Kind: dc.ErrPlaintext, Op: "binding", Detail: "a simple bind on port 389 without TLS would show the password to the network", Advice: "add --transport ldaps or --transport starttls"}
		}
	}
	out.Credentials, err = credentials(ctx, c, by)
	return out, err
}

// credentials chooses the one way of authentication that is configured.
func credentials(ctx context.Context, c *Config, by Caller) (dc.Credentials, error) {
	user, keytab, ccache := c.Text("user"), c.Text("keytab"), c.Text("ccache")
	switch {
	case keytab != "" && ccache != "":
		return dc.Credentials{}, fmt.Errorf("%w: keytab and ccache exclude each other", ErrConfig)
	case ccache != "" && user != "":
		return dc.Credentials{}, fmt.Errorf("%w: user (%s) and ccache exclude each other: the cache says who signs in; leave one out, or set it to nothing", ErrConfig, user)
	case c.Text("password-file") != "" && (keytab != "" || ccache != ""):
		return dc.Credentials{}, fmt.Errorf("%w: password-file is of no use beside keytab or ccache: leave it out", ErrConfig)
	case c.Text("password-file") != "" && user == "":
		return dc.Credentials{}, fmt.Errorf("%w: password-file needs user: whose password is it?", ErrConfig)
	case keytab != "":
		if fi, err := os.Stat(keytab); err == nil { // else reading it says what is wrong
			by.warnExposed("keytab", keytab, fi)
		}
		return dc.Keytab(user, keytab), nil
	case user == "":
		return dc.CCache(ccache), nil
	}
	password, err := password(ctx, c, by, user)
	return dc.Password(user, password), err
}

// password reads the password of user: from its file, the environment, or a prompt.
func password(ctx context.Context, c *Config, by Caller, user string) (string, error) {
	switch file := c.Text("password-file"); {
	case file == "-":
		return readPassword(by.Stdin, "standard input")
	case file != "":
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("reading the password from %s: %w", file, cause(err))
		}
		defer f.Close()
		if fi, err := f.Stat(); err == nil {
			by.warnExposed("password file", file, fi)
		}
		return readPassword(f, file)
	case by.Environ != "":
		return by.Environ, nil
	case by.Prompt != nil:
		return by.Prompt(ctx, user)
	}
	return "", fmt.Errorf("%w: no password for %s: give --password-file, %s, --keytab or --ccache", ErrConfig, user, PasswordVariable)
}

// warnExposed warns of a secret in a file that others than its owner may read.
// Windows has no such bits; its permissions are not looked at.
func (by Caller) warnExposed(what, name string, fi fs.FileInfo) {
	mode := fi.Mode()
	if by.Warn == nil || runtime.GOOS == "windows" || !mode.IsRegular() || mode.Perm()&0o077 == 0 {
		return
	}
	by.Warn(fmt.Sprintf("the %s %s is open to others than its owner (mode %04o): chmod 600 %s", what, name, mode.Perm(), name))
}

// readPassword takes the first line.
func readPassword(r io.Reader, name string) (string, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxPassword+1))
	if err != nil {
		return "", fmt.Errorf("reading the password from %s: %w", name, cause(err))
	}
	if len(b) > maxPassword {
		return "", fmt.Errorf("%w: %s is too long to be a password file", ErrConfig, name)
	}
	line, _, _ := strings.Cut(strings.TrimPrefix(string(b), "\ufeff"), "\n") // some editors write a byte order mark
	line = strings.TrimSuffix(line, "\r")
	if line == "" {
		return "", fmt.Errorf("%w: the first line of %s is empty, but should be the password", ErrConfig, name)
	}
	return line, nil
}

// A Watch is told how a scan goes. Its fields may be nil.
type Watch struct {
	Progress  func(collect.Progress) // often
	Restarted func(dc.Restart)       // the scan begins again on another domain controller
}

// Collect scans the configured domain.
func Collect(ctx context.Context, c *Config, by Caller, tool string, watch Watch) (*forest.Snapshot, error) {
	cfg, err := DirectoryConfig(ctx, c, by)
	if err != nil {
		return nil, err
	}
	return collectFrom(ctx, cfg, collect.Options{Tool: tool, SACL: c.Bool("sacl"), Now: by.Now, Progress: watch.Progress, Restarted: watch.Restarted})
}

// collectFrom scans a domain. Account and Files of the options are set here.
func collectFrom(ctx context.Context, cfg dc.Config, opt collect.Options) (*forest.Snapshot, error) {
	r, err := dc.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	account := cfg.Credentials.Principal()
	if account == "" { // a ticket cache: the server knows
		who, err := r.WhoAmI(ctx)
		if err != nil {
			return nil, fmt.Errorf("asking who is signed in: %w", err)
		}
		account = who.Principal
	}
	opt.Account, opt.Files = account, sysvol{r}
	s, err := collect.Scan(ctx, r, opt)
	if err != nil && ctx.Err() != nil {
		return nil, errors.Join(context.Cause(ctx), err)
	}
	return s, err
}

// A sysvol is the SYSVOL share of the domain controller that its reader uses. Each
// walk connects anew, so that a scan which begins again on another domain
// controller takes the files from there as well.
type sysvol struct{ r *dc.Reader }

func (v sysvol) Walk(ctx context.Context, root string, opt dc.WalkOption, fn func(dc.File) error) error {
	vol, err := v.r.Sysvol(ctx, dc.Limits{})
	if err != nil {
		return err
	}
	defer vol.Close()
	return vol.Walk(ctx, root, opt, fn)
}
