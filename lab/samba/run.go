package samba

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// environ is the environment of everything that runs in the lab: nothing of
// the caller's but the search path, so that no setting of the machine's user
// changes what a tool does.
func (l *Lab) environ() []string {
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/", "LANG=C.UTF-8", "LC_ALL=C.UTF-8", "TZ=UTC",
		"KRB5_CONFIG=" + l.Krb5Conf,
		"LDAPTLS_CACERT=" + l.CAFile,
		"LDAPTLS_REQCERT=demand",
	}
}

// Command returns a command that runs inside the lab: names resolve to the
// lab's hosts, KRB5_CONFIG and the trusted authority are the lab's. It needs
// root, as the lab does. Add further variables to Env.
func (l *Lab) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	argv := append([]string{"--mount", "--", l.path("enter.sh"), l.Dir, name}, args...)
	cmd := exec.CommandContext(ctx, "unshare", argv...)
	cmd.Env = l.environ()
	cmd.WaitDelay = 2 * time.Second
	return cmd
}

// run runs cmd and returns what it wrote to its standard output. The error of a
// command that did not succeed carries what it wrote to standard error.
func run(cmd *exec.Cmd) ([]byte, error) {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		said := strings.TrimSpace(errs.String() + "\n" + out.String())
		if len(said) > 4000 {
			said = "…" + said[len(said)-4000:]
		}
		return out.Bytes(), fmt.Errorf("running %s: %w\n%s", commandName(cmd), err, said)
	}
	return out.Bytes(), nil
}

// commandName returns the name of the tool behind unshare and enter.sh.
func commandName(cmd *exec.Cmd) string {
	if len(cmd.Args) > 5 {
		return filepath.Base(cmd.Args[5])
	}
	return filepath.Base(cmd.Args[0])
}

// AsAdmin adds the Administrator's credentials to a command of Samba's
// (samba-tool, net, rpcclient, smbclient), through the environment.
func (l *Lab) AsAdmin(cmd *exec.Cmd) *exec.Cmd { return l.As(cmd, l.Admin) }

// As adds the credentials of an account to a command of Samba's, through the
// environment: the name and the file that holds the password.
func (l *Lab) As(cmd *exec.Cmd, a Account) *exec.Cmd {
	cmd.Env = append(cmd.Env, "USER="+a.Name, "LOGNAME="+a.Name, "PASSWD_FILE="+a.PasswordFile)
	return cmd
}

// SambaTool runs samba-tool against the first domain controller as its
// Administrator and returns its standard output.
func (l *Lab) SambaTool(ctx context.Context, args ...string) ([]byte, error) {
	dc := l.DCs()[0]
	argv := append(append([]string{}, args...), "-s", l.ClientConf)
	if !hasFlag(args, "-H", "--URL") && takesURL(args) {
		argv = append(argv, "-H", "ldaps://"+dc.FQDN)
	}
	return run(l.AsAdmin(l.Command(ctx, "samba-tool", argv...)))
}

// takesURL tells whether a samba-tool command knows -H.
func takesURL(args []string) bool {
	if len(args) == 0 {
		return false
	}
	switch args[0] {
	case "user", "group", "computer", "contact", "ou", "dsacl", "gpo", "delegation", "spn", "sites", "fsmo":
		return true
	}
	return len(args) > 1 && args[0] == "domain" && (args[1] == "passwordsettings" || args[1] == "level")
}

func hasFlag(args []string, names ...string) bool {
	for _, a := range args {
		for _, n := range names {
			if a == n || strings.HasPrefix(a, n+"=") {
				return true
			}
		}
	}
	return false
}

// Python runs a Python program in the lab, with Samba's modules at hand. The
// program is a file of its own for the time of the run, so that standard input
// is free for its data.
func (l *Lab) Python(ctx context.Context, program string, stdin []byte, args ...string) ([]byte, error) {
	f, err := os.CreateTemp(l.Dir, "program-*.py")
	if err != nil {
		return nil, fmt.Errorf("writing a program for the lab: %w", err)
	}
	defer os.Remove(f.Name())
	if _, err := f.WriteString(program); err != nil {
		f.Close()
		return nil, fmt.Errorf("writing a program for the lab: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("writing a program for the lab: %w", err)
	}
	cmd := l.AsAdmin(l.Command(ctx, "/usr/bin/python3", append([]string{f.Name()}, args...)...))
	cmd.Env = append(cmd.Env, "LAB_FILE="+l.path(labFile))
	cmd.Stdin = bytes.NewReader(stdin)
	return run(cmd)
}
