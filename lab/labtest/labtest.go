// Package labtest gives tests a real Active Directory.
//
// Start uses a running lab that the environment names, or builds one of its own
// at addresses that no other test uses and takes it down with the test. Where no
// lab can run (no root, no Samba) the test is skipped and says so, unless
// LEASTWISE_REQUIRE_LAB=1, which makes that a failure: the project's own checks
// set it, so that a skipped test never looks like a passed one there.
//
// Tests that use a shared lab create what they need in an organizational unit of
// their own name and remove it; tests that stop domain controllers or need a
// directory with nothing else in it ask for a Fresh one.
package labtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leastwise/leastwise/lab/need"
	"github.com/leastwise/leastwise/lab/samba"
)

const (
	// EnvLab names the folders of running labs that tests may share, separated
	// by colons. Start takes the first that fits.
	EnvLab = "LEASTWISE_LAB"

	// Tests build their own labs in 127.0.firstBlock to 127.0.lastBlock.
	firstBlock, lastBlock = 150, 199
)

// Options say what lab a test needs. The zero value is any lab with both domain
// controllers and the member server.
type Options struct {
	// Single is for tests that need one domain controller only. A lab of its own
	// then stands in a third of the time; a shared one may have more hosts.
	Single bool
	// Fresh asks for a lab that no other test sees.
	Fresh bool
	// Seed is the path of a fixture file that the lab must hold, and nothing else
	// besides what every lab has. A shared lab fits if it was seeded from a file
	// with the same content.
	Seed string
}

// A Lab is a running lab, for one test. Its methods end the test when they
// cannot do what they promise.
type Lab struct {
	*samba.Lab
	t     testing.TB
	leash *os.File // nil for a shared lab
}

// Start returns a lab that fits o.
func Start(t testing.TB, o Options) *Lab {
	t.Helper()
	if l := shared(t, o); l != nil {
		return l
	}
	if err := samba.Available(); err != nil {
		need.Missing(t, err)
	}
	return own(t, o)
}

// shared returns the lab of the environment that fits o, nil if none does.
func shared(t testing.TB, o Options) *Lab {
	t.Helper()
	if o.Fresh {
		return nil
	}
	for _, dir := range filepath.SplitList(os.Getenv(EnvLab)) {
		l, err := samba.Open(dir)
		if err != nil {
			t.Fatalf("%s names %s: %v", EnvLab, dir, err)
		}
		if fits(t, l, o) {
			return &Lab{Lab: l, t: t}
		}
	}
	return nil
}

func fits(t testing.TB, l *samba.Lab, o Options) bool {
	t.Helper()
	if !o.Single && len(l.DCs()) < 2 {
		return false
	}
	sum := ""
	if o.Seed != "" {
		var err error
		if sum, err = samba.FixtureSum(o.Seed); err != nil {
			t.Fatal(err)
		}
	}
	return l.Fixture == sum && (sum != "") == (l.Seeded != "")
}

// own builds a lab for t alone.
func own(t testing.TB, o Options) *Lab {
	t.Helper()
	l, err := build(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.down(); err != nil {
			t.Error(err)
		}
	})
	return &Lab{Lab: l.lab, t: t, leash: l.leash}
}

// A Package is a lab that the tests of one package share, and no other package.
// It is built when the first test asks for it. The zero value is ready; Down
// belongs into TestMain.
type Package struct {
	Options Options // Fresh is understood

	mu    sync.Mutex // guards what follows
	built *building
	err   error
}

// Start returns the package's lab, for one test. Where no lab can run the test is
// skipped, or fails, as Start of this package says.
func (p *Package) Start(t testing.TB) *Lab {
	t.Helper()
	if err := samba.Available(); err != nil {
		need.Missing(t, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.built == nil && p.err == nil {
		p.built, p.err = build(p.Options)
	}
	if p.err != nil {
		t.Fatal(p.err)
	}
	return &Lab{Lab: p.built.lab, t: t, leash: p.built.leash}
}

// Down takes the lab down, if a test asked for it.
func (p *Package) Down() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.built == nil {
		return nil
	}
	return p.built.down()
}

// A building is a lab of this process.
type building struct {
	lab         *samba.Lab
	leash, hold *os.File // two ends of a pipe: the lab ends with hold
	unlock      func()
}

// build builds the lab that o asks for at addresses that no other test uses.
func build(o Options) (*building, error) {
	block, unlock, err := reserve()
	if err != nil {
		return nil, err
	}
	b := &building{unlock: unlock}
	dir := filepath.Join(samba.DefaultRoot, "test-"+block)
	if old, err := samba.Open(dir); err == nil { // its owner was killed
		if err := old.Down(context.Background()); err != nil {
			return nil, errors.Join(fmt.Errorf("removing an abandoned lab: %w", err), b.down())
		}
	}
	if b.leash, b.hold, err = os.Pipe(); err != nil {
		return nil, errors.Join(fmt.Errorf("making the lab's leash: %w", err), b.down())
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if b.lab, err = samba.Up(ctx, samba.Options{Dir: dir, Net: block, Single: o.Single, Leash: b.leash}); err != nil {
		return nil, errors.Join(err, b.down())
	}
	if o.Seed != "" {
		if err := b.lab.SeedFile(ctx, o.Seed, time.Now(), func(string) {}); err != nil {
			return nil, errors.Join(fmt.Errorf("seeding the lab: %w", err), b.down())
		}
	}
	return b, nil
}

// down takes the lab down and gives its addresses back.
func (b *building) down() error {
	defer b.unlock()
	var err error
	if b.lab != nil {
		err = b.lab.Down(context.Background())
	}
	for _, f := range []*os.File{b.leash, b.hold} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	if err != nil {
		return fmt.Errorf("taking the lab down: %w", err)
	}
	return nil
}

// reserve finds an address block that no other test uses, on this machine. The
// reservation is an abstract socket and ends with the process at the latest.
func reserve() (block string, unlock func(), err error) {
	for n := firstBlock; n <= lastBlock; n++ {
		block := fmt.Sprintf("127.0.%d", n)
		ln, err := net.Listen("unix", "@leastwise-labtest-"+block)
		if err != nil {
			continue // another test has it
		}
		if inUse(block) {
			_ = ln.Close()
			continue
		}
		return block, func() { _ = ln.Close() }, nil
	}
	return "", nil, fmt.Errorf("all address blocks for labs of tests are taken (127.0.%d to 127.0.%d)", firstBlock, lastBlock)
}

// inUse reports whether somebody serves in block: a lab that was made by hand.
func inUse(block string) bool {
	ln, err := net.Listen("tcp4", block+".1:389")
	if err != nil {
		return true
	}
	_ = ln.Close()
	return false
}

// AdminPassword returns the password of the domain's Administrator.
func (l *Lab) AdminPassword() string { return l.password(l.Admin) }

// ReaderPassword returns the password of the ordinary user.
func (l *Lab) ReaderPassword() string { return l.password(l.Reader) }

func (l *Lab) password(a samba.Account) string {
	l.t.Helper()
	pw, err := a.Password()
	if err != nil {
		l.t.Fatal(err)
	}
	return pw
}

// SambaTool runs samba-tool as Administrator and returns what it printed.
func (l *Lab) SambaTool(args ...string) string {
	l.t.Helper()
	out, err := l.Lab.SambaTool(l.t.Context(), args...)
	if err != nil {
		l.t.Fatalf("samba-tool %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

// Python runs a Python program with Samba's modules and returns what it printed.
// LAB_FILE names the lab's description, USER and PASSWD_FILE its Administrator.
func (l *Lab) Python(program string, stdin []byte, args ...string) []byte {
	l.t.Helper()
	out, err := l.Lab.Python(l.t.Context(), program, stdin, args...)
	if err != nil {
		l.t.Fatal(err)
	}
	return out
}

// LdapSearch runs ldapsearch against domain controller dc (1 or 2) over verified
// TLS, bound as a, and returns LDIF without folded lines or comments.
func (l *Lab) LdapSearch(dc int, a samba.Account, args ...string) string {
	l.t.Helper()
	out, err := l.Lab.LdapSearch(l.t.Context(), l.dc(dc), a, args...)
	if err != nil {
		l.t.Fatal(err)
	}
	return string(out)
}

// StopDC stops domain controller n (1 or 2) at once, as if its power failed. The
// lab must be the test's own. It is started again by StartDC or not at all.
func (l *Lab) StopDC(n int) {
	l.t.Helper()
	if l.leash == nil {
		l.t.Fatal("stopping a domain controller of a shared lab: ask for a Fresh one")
	}
	if err := l.StopHost(l.t.Context(), l.dc(n), false); err != nil {
		l.t.Fatal(err)
	}
}

// StartDC starts domain controller n again and waits until it serves.
func (l *Lab) StartDC(n int) {
	l.t.Helper()
	if err := l.StartHost(l.t.Context(), l.dc(n), l.leash); err != nil {
		l.t.Fatal(err)
	}
}

// Converge waits until both domain controllers hold the same.
func (l *Lab) Converge() {
	l.t.Helper()
	if err := l.Lab.Converge(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
}

func (l *Lab) dc(n int) samba.Host {
	l.t.Helper()
	dcs := l.DCs()
	if n < 1 || n > len(dcs) {
		l.t.Fatalf("the lab has %d domain controllers, not number %d", len(dcs), n)
	}
	return dcs[n-1]
}

// Keep remembers the lab as it is now, for Rewind. The lab must be the test's own.
func (l *Lab) Keep() {
	l.t.Helper()
	if l.leash == nil {
		l.t.Fatal("stopping the hosts of a shared lab: ask for a Fresh one")
	}
	if err := l.Lab.Keep(l.t.Context(), l.leash); err != nil {
		l.t.Fatal(err)
	}
}

// Rewind takes the lab back to what Keep remembered, for t, which may be a subtest. What
// was loaded since is gone, so that the lab takes another fixture.
func (l *Lab) Rewind(t testing.TB) *Lab {
	t.Helper()
	if l.leash == nil {
		t.Fatal("taking a shared lab back: ask for a Fresh one")
	}
	if err := l.Lab.Rewind(t.Context(), l.leash); err != nil {
		t.Fatal(err)
	}
	return &Lab{Lab: l.Lab, t: t, leash: l.leash}
}
