// Command lab runs a real Active Directory forest on loopback addresses: see
// package samba beside it, and docs/LAB.md.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"time"

	"github.com/leastwise/leastwise/lab/samba"
)

const usage = `Usage: go run ./lab COMMAND [flags]

  up      build the forest contoso.test, or start what of it does not run
  seed    load a fixture (docs/FORMATS.md): seed FILE [flags]
  status  ask every host; exit code 1 if something does not answer
  down    end the lab's processes and remove its folder

Flags:
  --dir DIR   the lab's folder (default ` + samba.DefaultRoot + `/NET)
  --net NET   its addresses, three octets of loopback (default ` + samba.DefaultNet + `)
  --single    up: one domain controller only
  --json      up, status: print JSON

Several labs run side by side on different --net. The lab needs root and the
packages that scripts/setup installs; it touches nothing of the machine.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Exit codes: 0 done, 1 the lab is not well, 2 wrong usage, 3 could not do it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c := command{stdout: stdout, stderr: stderr}
	commands := map[string]func(context.Context) error{"up": c.up, "seed": c.seed, "status": c.status, "down": c.down}
	if len(args) == 0 || commands[args[0]] == nil {
		fmt.Fprint(stderr, usage)
		return 2
	}
	switch err := c.parse(args[0], args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "lab:", err)
		return 2
	}
	switch err := commands[args[0]](ctx); {
	case errors.Is(err, errUnwell):
		return 1
	case err != nil:
		fmt.Fprintln(stderr, "lab:", err)
		return 3
	}
	return 0
}

// parse takes what follows the name of a command. The file of seed may stand
// before its flags or behind them.
func (c *command) parse(name string, words []string) error {
	fs := flag.NewFlagSet("lab", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // the caller reports errors
	fs.Usage = func() { fmt.Fprint(c.stderr, usage) }
	fs.StringVar(&c.dir, "dir", "", "")
	fs.StringVar(&c.net, "net", "", "")
	fs.BoolVar(&c.single, "single", false, "")
	fs.BoolVar(&c.json, "json", false, "")
	if name == "seed" && len(words) > 0 && !strings.HasPrefix(words[0], "-") {
		c.file, words = words[0], words[1:]
	}
	if err := fs.Parse(words); err != nil {
		return err
	}
	more := fs.Args()
	if name == "seed" && c.file == "" && len(more) > 0 {
		c.file, more = more[0], more[1:]
	}
	switch {
	case len(more) > 0:
		return fmt.Errorf("%s takes no %q", name, more[0])
	case name == "seed" && c.file == "":
		return errors.New("seed: name the fixture to load")
	}
	return c.settle()
}

// errUnwell reports a lab that runs but does not serve; it was printed already.
var errUnwell = errors.New("the lab is not well")

// A command is one invocation.
type command struct {
	dir, net, file string
	single, json   bool
	stdout, stderr io.Writer
}

// settle fills in the defaults. A folder alone is enough to find its lab.
func (c *command) settle() error {
	if c.dir == "" {
		if c.net == "" {
			c.net = samba.DefaultNet
		}
		c.dir = filepath.Join(samba.DefaultRoot, c.net)
	}
	abs, err := filepath.Abs(c.dir)
	if err != nil {
		return fmt.Errorf("finding the lab's folder: %w", err)
	}
	c.dir = abs
	if c.net != "" {
		return nil
	}
	c.net = samba.DefaultNet
	if l, err := samba.Open(c.dir); err == nil {
		c.net = l.Net
	}
	return nil
}

func (c *command) up(ctx context.Context) error {
	began := time.Now()
	l, err := samba.Up(ctx, samba.Options{Dir: c.dir, Net: c.net, Single: c.single, Progress: func(s string) {
		fmt.Fprintf(c.stderr, "%5.1fs %s\n", time.Since(began).Seconds(), s)
	}})
	if err != nil {
		return err
	}
	fmt.Fprintf(c.stderr, "%5.1fs the lab is up\n", time.Since(began).Seconds())
	if c.json {
		return c.printJSON(l)
	}
	return c.printLab(l)
}

// seed loads a fixture into a lab that runs.
func (c *command) seed(ctx context.Context) error {
	began := time.Now()
	l, err := samba.Open(c.dir)
	if err != nil {
		return err
	}
	progress := func(s string) { fmt.Fprintf(c.stderr, "%5.1fs %s\n", time.Since(began).Seconds(), s) }
	if err := l.SeedFile(ctx, c.file, began, progress); err != nil {
		return err
	}
	progress("the lab holds " + c.file)
	return nil
}

func (c *command) printJSON(v any) error {
	enc := json.NewEncoder(c.stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func (c *command) printLab(l *samba.Lab) error {
	fmt.Fprintf(c.stdout, "lab             %s\n", l.Dir)
	for _, h := range l.Hosts {
		fmt.Fprintf(c.stdout, "%-15s %s (%s)\n", h.FQDN, h.Address, h.Role)
	}
	fmt.Fprintf(c.stdout, "DNS server      %s\n", l.DNS)
	fmt.Fprintf(c.stdout, "authority       %s\n", l.CAFile)
	fmt.Fprintf(c.stdout, "krb5.conf       %s\n", l.Krb5Conf)
	fmt.Fprintf(c.stdout, "administrator   %s, password in %s\n", l.Admin.Name, l.Admin.PasswordFile)
	_, err := fmt.Fprintf(c.stdout, "ordinary user   %s, password in %s\n", l.Reader.Name, l.Reader.PasswordFile)
	return err
}

func (c *command) status(ctx context.Context) error {
	l, err := samba.Open(c.dir)
	if err != nil {
		return err
	}
	st, err := l.Status(ctx)
	if err != nil {
		return err
	}
	if c.json {
		err = c.printJSON(st)
	} else {
		err = c.printStatus(st)
	}
	if err == nil && !st.OK {
		return errUnwell
	}
	return err
}

func (c *command) printStatus(st *samba.Status) error {
	if err := c.printLab(st.Lab); err != nil {
		return err
	}
	for _, h := range st.Hosts {
		if !h.Running {
			fmt.Fprintf(c.stdout, "%-15s not running\n", h.Name)
			continue
		}
		names := make([]string, 0, len(h.Checks))
		for n := range h.Checks {
			names = append(names, n)
		}
		sort.Strings(names)
		for _, n := range names {
			fmt.Fprintf(c.stdout, "%-15s %s: %s\n", h.Name, n, h.Checks[n])
		}
	}
	_, err := fmt.Fprintf(c.stdout, "%-15s %s\n", "replication", st.Replicated)
	return err
}

func (c *command) down(ctx context.Context) error {
	l, err := samba.Open(c.dir)
	if errors.Is(err, samba.ErrNoLab) {
		fmt.Fprintf(c.stderr, "no lab in %s: nothing to do\n", c.dir)
		return nil
	}
	if err != nil {
		return err
	}
	return l.Down(ctx)
}
