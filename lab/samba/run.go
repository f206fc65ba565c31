package samba

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	if i := slices.Index(cmd.Args, "--"); i >= 0 && len(cmd.Args) > i+3 && cmd.Args[0] == "unshare" {
		return filepath.Base(cmd.Args[i+3])
	} else if i >= 0 && len(cmd.Args) > i+1 {
		return filepath.Base(cmd.Args[i+1])
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
// Administrator and returns its standard output. Commands that need a target
// (-H) get it; those that name their server as an argument (drs, dns) do not.
func (l *Lab) SambaTool(ctx context.Context, args ...string) ([]byte, error) {
	argv := append([]string{l.path("tool.py")}, args...)
	argv = append(argv, "-s", l.ClientConf)
	if takesURL(args) && !hasFlag(args, "-H", "--URL") {
		argv = append(argv, "-H", "ldap://"+l.DCs()[0].FQDN)
	}
	return run(l.AsAdmin(l.Command(ctx, "/usr/bin/python3", argv...)))
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

// LdapSearch runs ldapsearch against h over verified TLS with a simple bind as a
// and returns LDIF without folded lines or comments.
func (l *Lab) LdapSearch(ctx context.Context, h Host, a Account, args ...string) ([]byte, error) {
	pw, err := a.Password()
	if err != nil {
		return nil, err
	}
	// ldapsearch -y takes the file as it is, newline and all: hand it a pipe.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("handing ldapsearch a password: %w", err)
	}
	defer r.Close()
	if _, err := w.WriteString(pw); err != nil { // fits the pipe's buffer
		w.Close()
		return nil, fmt.Errorf("handing ldapsearch a password: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("handing ldapsearch a password: %w", err)
	}
	argv := append([]string{
		"-LLL", "-x", "-o", "ldif-wrap=no", "-H", "ldaps://" + h.FQDN,
		"-D", a.Name + "@" + l.Domain, "-y", "/dev/fd/3", "-b", l.BaseDN,
	}, args...)
	cmd := l.Command(ctx, "ldapsearch", argv...)
	cmd.ExtraFiles = []*os.File{r}
	return run(cmd)
}
