//go:build linux

// The lab runs on Linux only.

package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rs/zerolog"

	"github.com/leastwise/leastwise/internal/cli"
	"github.com/leastwise/leastwise/lab/labtest"
)

// A world is what the scripts of the lab share.
type world struct {
	t       *testing.T
	lab     *labtest.Lab
	program string     // the path of cmd/leastwise as it is built
	mu      sync.Mutex // guards used
	used    map[string]bool
}

// environKey is the key of the environment that scripts begin with, a []string.
type environKey struct{}

// TestDirectory runs the scripts that need a domain controller, on one of their
// own: some change the directory, and the last group stops it.
func TestDirectory(t *testing.T) {
	t.Parallel()
	w := &world{t: t, lab: labtest.Start(t, labtest.Options{Single: true, Fresh: true}), used: map[string]bool{}}
	w.program = filepath.Join(t.TempDir(), "leastwise")
	if err := build(w.program, "../../cmd/leastwise"); err != nil {
		t.Fatal(err)
	}
	t.Run("race", w.testRace)
	t.Run("configmgr collect", w.testSiteCollect)
	for _, group := range []string{"read", "deny", "change", "stop"} {
		t.Run(group, func(t *testing.T) { w.run(t, group) })
	}
}

// run runs the scripts of a folder side by side.
func (w *world) run(t *testing.T, folder string) {
	cmds := commands()
	cmds["proxy"], cmds["during"], cmds["lab"] = w.cmdProxy, w.cmdDuring, w.cmdLab
	cmds["members"] = w.cmdMembers
	cmds["outcomes"], cmds["names"], cmds["same"], cmds["tripwire"] = cmdOutcomes, w.cmdNames, cmdSame, w.cmdTripwire
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "directory", folder), Setup: w.setup, Cmds: cmds, Condition: condition, RequireUniqueNames: true,
	})
}

// testRace scans in this process, where the race detector sees it.
func (w *world) testRace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f.lws")
	var out, errs bytes.Buffer
	code := cli.Run(t.Context(), []string{
		"collect", "--domain", w.lab.Domain, "--dns", w.lab.DNS, "--user", w.lab.Reader.Name, "--password-file", w.lab.Reader.PasswordFile, "--out", file,
	}, cli.Environment{Version: "test", In: strings.NewReader(""), Out: &out, Err: &errs, Now: time.Now})
	if code != 0 || out.Len() > 0 || !strings.Contains(errs.String(), file+": ") {
		t.Errorf("exit code %d, output %q, errors %q", code, out.String(), errs.String())
	}
}

// setup leaves a configuration file that reads the lab as an ordinary user.
func (w *world) setup(e *testscript.Env) error {
	if err := setup(e); err != nil {
		return err
	}
	l := w.lab
	e.Values[secretsKey{}] = []string{l.AdminPassword(), l.ReaderPassword()}
	for k, v := range map[string]string{
		"DC": l.DCs()[0].Address, "DCNAME": l.DCs()[0].FQDN, "DNS": l.DNS, "CA": l.CAFile, "NET": l.Net, "KRB5_CONFIG": l.Krb5Conf,
		"READER": l.Reader.Name, "READER_PW": l.Reader.PasswordFile, "ADMIN_PW": l.Admin.PasswordFile,
		"SMBCONF": l.DCs()[0].SmbConf, "PROGRAM": w.program,
	} {
		e.Setenv(k, v)
	}
	if dcs := l.DCs(); len(dcs) > 1 {
		e.Setenv("DC2", dcs[1].Address)
	}
	e.Values[environKey{}] = append([]string(nil), e.Vars...)
	conf := fmt.Sprintf("domain: %s\ndns: %s\nuser: %s\npassword-file: %s\n", l.Domain, l.DNS, l.Reader.Name, l.Reader.PasswordFile)
	return os.WriteFile(filepath.Join(e.WorkDir, "leastwise.yaml"), []byte(conf), 0o600)
}

// address returns a loopback address of the lab's block that nothing uses.
func (w *world) address(ts *testscript.TestScript) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for n := 101; n < 255; n++ {
		a := fmt.Sprintf("%s.%d", w.lab.Net, n)
		if !w.used[a] {
			w.used[a] = true
			return a
		}
	}
	ts.Fatalf("no address is left")
	return ""
}

// cmdProxy puts a proxy with standard ports in front of a domain controller, the
// first one unless named, and its address into PROXY:
// proxy [HOST] PORT… [-- TOXIC JSON]. The toxic hits what the domain controller
// sends on port 389.
func (w *world) cmdProxy(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: proxy PORT… [-- TOXIC ATTRIBUTES]")
	}
	toxic := ""
	for i, a := range args {
		if a == "--" && len(args) == i+3 {
			toxic = fmt.Sprintf(`{"type": %q, "attributes": %s}`, args[i+1], args[i+2])
			args = args[:i]
			break
		}
	}
	behind := w.lab.DCs()[0]
	if len(args) > 0 {
		if h, err := w.lab.Host(args[0]); err == nil {
			behind, args = h, args[1:]
		}
	}
	addr := w.address(ts)
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	for _, port := range args {
		p := toxiproxy.NewProxy(server, port, net.JoinHostPort(addr, port), net.JoinHostPort(behind.Address, port))
		ts.Check(p.Start())
		ts.Defer(p.Stop)
		if port == "389" && toxic != "" {
			_, err := p.Toxics.AddToxicJson(strings.NewReader(toxic))
			ts.Check(err)
		}
	}
	ts.Setenv("PROXY", addr)
}

// cmdDuring does something to a running program as soon as its standard error
// matches, and checks how it ends: during ACTION PATTERN CODE PROGRAM ARG…
// Actions: interrupt (SIGINT), terminate (SIGTERM), stop-dc. Outputs are left in
// the files stdout-of-it and err.
func (w *world) cmdDuring(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 {
		ts.Fatalf("usage: during ACTION PATTERN CODE PROGRAM ARG…")
	}
	action, pattern, code := args[0], regexp.MustCompile(args[1]), args[2]
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[3], args[4:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env, _ = ts.Value(environKey{}).([]string)
	var out bytes.Buffer
	errs := &matcher{pattern: pattern, seen: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &out, errs
	ts.Check(cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var err error
	select {
	case <-errs.seen:
		w.act(ts, action, cmd.Process)
		err = <-ended
	case err = <-ended:
		ts.Fatalf("ended before standard error matched %s: %v\n%s", pattern, err, errs.String())
	}
	got := exitCode(ts, err)
	for name, text := range map[string]string{"stdout-of-it": out.String(), "err": errs.String()} {
		guard(ts, name, text)
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
	ts.Logf("%s", errs.String())
	if fmt.Sprint(got) != code {
		ts.Fatalf("exit code %d, want %s", got, code)
	}
}

// act does it; the arguments of the process, which everybody on the machine can
// read, must hold no password.
func (w *world) act(ts *testscript.TestScript, action string, p *os.Process) {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.Pid))
	ts.Check(err)
	guard(ts, "the list of processes", string(line))
	switch action {
	case "interrupt":
		ts.Check(p.Signal(os.Interrupt))
	case "terminate":
		ts.Check(p.Signal(syscall.SIGTERM))
	case "stop-dc":
		w.lab.StopDC(1)
	default:
		ts.Fatalf("there is no action %q", action)
	}
}

// A matcher keeps what is written and tells when it matches.
type matcher struct {
	pattern *regexp.Regexp
	seen    chan struct{} // closed on the first match
	mu      sync.Mutex    // guards what follows
	text    bytes.Buffer
	matched bool
}

func (m *matcher) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.text.Write(p)
	if !m.matched && m.pattern.Match(m.text.Bytes()) {
		m.matched = true
		close(m.seen)
	}
	return len(p), nil
}

func (m *matcher) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.text.String()
}

// cmdLab prepares the directory:
//
//	lab samba-tool ARG…        runs samba-tool as Administrator
//	lab run PROGRAM ARG…       runs a program whose names resolve in the lab
//	lab ldapsearch FILE ARG…   writes what an ordinary user's ldapsearch prints
//	lab sysvol PATH FILE       puts a file into SYSVOL on every domain controller's disk
//	lab folder PATH ARG…       runs smbcacls as Administrator on a folder of the policies
//	lab share OPTION ACCOUNT   changes who may use the share SYSVOL (sharesec -a, -r)
//	lab converge all           waits until all domain controllers hold the same
func (w *world) cmdLab(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: lab VERB ARG…")
	}
	ctx := context.Background()
	switch verb, args := args[0], args[1:]; verb {
	case "samba-tool":
		out, err := w.lab.Lab.SambaTool(ctx, args...)
		ts.Check(err)
		ts.Logf("%s", out)
	case "run":
		out, err := w.lab.Command(ctx, args[0], args[1:]...).CombinedOutput()
		ts.Logf("%s", out)
		ts.Check(err)
	case "ldapsearch":
		out, err := w.lab.Lab.LdapSearch(ctx, w.lab.DCs()[0], w.lab.Reader, args[1:]...)
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), out, 0o600))
	case "sysvol":
		for _, host := range w.lab.DCs() {
			name := filepath.Join(host.Dir, "state", "sysvol", w.lab.Domain, "Policies", filepath.FromSlash(args[0]))
			ts.Check(os.MkdirAll(filepath.Dir(name), 0o755))
			ts.Check(os.WriteFile(name, []byte(ts.ReadFile(args[1])), 0o644))
		}
	case "folder":
		argv := append([]string{
			"-s", w.lab.ClientConf, "//" + w.lab.DCs()[0].FQDN + "/sysvol", w.lab.Domain + `\Policies\` + args[0],
		}, args[1:]...)
		w.asAdmin(ts, "smbcacls", argv...)
	case "share":
		out, err := w.lab.Lab.SambaTool(ctx, "user", "show", args[1], "--attributes=objectSid")
		ts.Check(err)
		_, sid, _ := strings.Cut(string(out), "objectSid: ")
		w.asAdmin(ts, "sharesec", "-s", w.lab.DCs()[0].SmbConf, "sysvol", args[0], strings.TrimSpace(sid)+":DENIED/0/FULL")
	case "converge":
		ts.Check(w.lab.Lab.Converge(ctx))
	default:
		ts.Fatalf("there is no verb %q", verb)
	}
}

// cmdMembers compares the members of a group with names: members GROUP NAME…
func (w *world) cmdMembers(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: members GROUP NAME…")
	}
	out, err := w.lab.Lab.SambaTool(context.Background(), "group", "listmembers", args[0])
	ts.Check(err)
	got := strings.Fields(string(out))
	slices.Sort(got)
	if want := slices.Sorted(slices.Values(args[1:])); !slices.Equal(got, want) {
		ts.Fatalf("members of %s: %q, want %q", args[0], got, want)
	}
}

// asAdmin runs a tool of Samba's in the lab as its Administrator.
func (w *world) asAdmin(ts *testscript.TestScript, name string, args ...string) {
	out, err := w.lab.AsAdmin(w.lab.Command(context.Background(), name, args...)).CombinedOutput()
	ts.Logf("%s", out)
	ts.Check(err)
}

// cmdOutcomes checks how often controls passed, failed and stayed unknown in an
// assessment in JSON: outcomes FILE CONTROL=PASS/FAIL/UNKNOWN…
func cmdOutcomes(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: outcomes FILE CONTROL=PASS/FAIL/UNKNOWN…")
	}
	var a struct {
		Controls []struct {
			ID                  string
			Pass, Fail, Unknown int
		}
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &a))
	got := map[string]string{}
	for _, c := range a.Controls {
		got[c.ID] = fmt.Sprintf("%d/%d/%d", c.Pass, c.Fail, c.Unknown)
	}
	wrong := 0
	for _, arg := range args[1:] {
		id, want, _ := strings.Cut(arg, "=")
		if got[id] != want {
			wrong++
			ts.Logf("%s: pass/fail/unknown %q, want %s", id, got[id], want)
		}
	}
	if wrong > 0 {
		ts.Fatalf("%d controls of %s are not as expected", wrong, args[0])
	}
}
