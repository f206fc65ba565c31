package samba

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
)

// Options say which lab Up is to build. The zero value is the default lab.
type Options struct {
	// Dir is the lab's folder, absolute. Empty means DefaultRoot/Net.
	Dir string
	// Net is the lab's address block, three octets. Empty means DefaultNet.
	Net string
	// Single builds one domain controller only: faster, and enough for most
	// tests that need a directory. A lab with more hosts serves, too; without
	// Single a lab of one host is refused.
	Single bool
	// Leash, if not nil, is the reading end of a pipe. The lab's hosts end when
	// every writing end is closed, so they cannot outlive their owner.
	Leash *os.File
	// Progress, if not nil, is told what Up does.
	Progress func(step string)
}

// Up builds the lab, or starts what of it is not running, and waits until every
// host serves and the domain controllers have replicated both ways. If the lab
// already runs, it only checks. When Up cannot build a lab it removes what it made.
func Up(ctx context.Context, o Options) (*Lab, error) {
	if err := Available(); err != nil {
		return nil, err
	}
	if o.Net == "" {
		o.Net = DefaultNet
	}
	if o.Dir == "" {
		o.Dir = filepath.Join(DefaultRoot, o.Net)
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	if err := errors.Join(checkNet(o.Net), checkDir(o.Dir)); err != nil {
		return nil, err
	}
	unlock, err := lockNet(o.Net)
	if err != nil {
		return nil, err
	}
	defer unlock()

	l, err := Open(o.Dir)
	switch {
	case err == nil && l.Ready:
		if err := l.suits(o); err != nil {
			return nil, err
		}
		return l, l.resume(ctx, o)
	case err == nil: // an earlier Up was cut off
		if err := l.Down(ctx); err != nil {
			return nil, err
		}
	case !errors.Is(err, ErrNoLab):
		return nil, err
	}
	return create(ctx, o)
}

// suits refuses a lab that is another than the one asked for.
func (l *Lab) suits(o Options) error {
	switch {
	case l.Net != o.Net:
		return fmt.Errorf("the lab in %s lives at %s, not at %s: take it down first", l.Dir, l.Net, o.Net)
	case !o.Single && len(l.DCs()) == 1:
		return fmt.Errorf("the lab in %s was built with --single: it has no second domain controller and no member server, and a lab does not grow; "+
			"give --single again, or take it down (go run ./lab down --dir %s) and build it anew", l.Dir, l.Dir)
	}
	return nil
}

// resume starts the hosts of a finished lab that do not run.
func (l *Lab) resume(ctx context.Context, o Options) error {
	for _, h := range l.Hosts {
		if err := l.start(h, o.Leash); err != nil {
			return err
		}
	}
	return l.wait(ctx)
}

// create builds a lab in a folder that does not exist or is empty.
func create(ctx context.Context, o Options) (*Lab, error) {
	l := newLab(o.Dir, o.Net, o.Single)
	if err := l.checkAddresses(); err != nil {
		return nil, err
	}
	if entries, err := os.ReadDir(o.Dir); err == nil && len(entries) > 0 {
		return nil, fmt.Errorf("%s is not empty and holds no lab: name another folder", o.Dir)
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the lab's folder: %w", err)
	}
	if err := os.Chmod(o.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the lab's folder: %w", err)
	}
	if err := l.build(ctx, o); err != nil {
		return nil, errors.Join(fmt.Errorf("building the lab: %w", err), l.tail(), l.Down(context.WithoutCancel(ctx)))
	}
	return l, nil
}

// build does the work of create.
func (l *Lab) build(ctx context.Context, o Options) error {
	if err := l.save(); err != nil {
		return err
	}
	if err := l.prepare(); err != nil {
		return err
	}
	dc1 := l.DCs()[0]
	o.Progress("provisioning " + dc1.FQDN)
	if err := l.provision(ctx, dc1); err != nil {
		return err
	}
	o.Progress("starting " + dc1.FQDN)
	if err := l.start(dc1, o.Leash); err != nil {
		return err
	}
	if err := l.waitHost(ctx, dc1); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, h := range l.Hosts[1:] {
		g.Go(func() error {
			o.Progress("joining " + h.FQDN)
			if err := l.join(gctx, h); err != nil {
				return err
			}
			o.Progress("starting " + h.FQDN)
			return l.start(h, o.Leash)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	o.Progress("waiting for every host and for replication")
	if err := l.wait(ctx); err != nil {
		return err
	}
	l.Ready = true
	return l.save()
}

// prepare writes everything that exists before the first database: passwords,
// shared files, certificates, folders.
func (l *Lab) prepare() error {
	for _, a := range []Account{l.Admin, l.Reader} {
		if err := writeFile(a.PasswordFile, newPassword()+"\n", 0o600); err != nil {
			return err
		}
	}
	if err := os.Chmod(l.path("secrets"), 0o700); err != nil {
		return fmt.Errorf("protecting the passwords: %w", err)
	}
	for _, d := range []string{"ccache", "client/private", "client/state", "client/cache", "client/lock", "client/run"} {
		if err := os.MkdirAll(l.path(d), 0o700); err != nil {
			return fmt.Errorf("making the folders of the lab's clients: %w", err)
		}
	}
	if err := l.writeShared(); err != nil {
		return err
	}
	ca, err := newAuthority(l.CAFile, time.Now())
	if err != nil {
		return err
	}
	for _, h := range l.Hosts {
		for _, d := range []string{"etc", "log", "run", "private"} {
			if err := os.MkdirAll(filepath.Join(h.Dir, d), 0o755); err != nil {
				return fmt.Errorf("making the folders of %s: %w", h.Name, err)
			}
		}
		if err := os.Chmod(filepath.Join(h.Dir, "private"), 0o700); err != nil {
			return fmt.Errorf("making the folders of %s: %w", h.Name, err)
		}
		if h.Role != DomainController {
			continue
		}
		if err := ca.issue(h, l.Domain); err != nil {
			return err
		}
	}
	return nil
}

// newPassword returns a random password that satisfies the domain's rules for
// complexity whatever was drawn.
func newPassword() string { return "Lw1-" + rand.Text() }

// dcOrder is what scripts/host.py reads.
type dcOrder struct {
	Do             string   `json:"do"`
	Name           string   `json:"name"`
	Address        string   `json:"address"`
	Dir            string   `json:"dir"`
	SmbConf        string   `json:"smb_conf"`
	Domain         string   `json:"domain"`
	Realm          string   `json:"realm"`
	NetBIOS        string   `json:"netbios"`
	FQDN           string   `json:"fqdn"`
	Server         string   `json:"server"`
	IDMap          string   `json:"idmap"`
	Admin          string   `json:"admin"`
	AdminPassword  string   `json:"admin_password"`
	Reader         string   `json:"reader"`
	ReaderPassword string   `json:"reader_password"`
	Members        []member `json:"members"`
}

type member struct {
	FQDN    string `json:"fqdn"`
	Address string `json:"address"`
}

func (l *Lab) order(do string, h Host) (dcOrder, error) {
	conf, err := l.smbConf(h)
	if err != nil {
		return dcOrder{}, err
	}
	admin, err := l.Admin.Password()
	if err != nil {
		return dcOrder{}, err
	}
	reader, err := l.Reader.Password()
	if err != nil {
		return dcOrder{}, err
	}
	dc1 := l.DCs()[0]
	ord := dcOrder{
		Do: do, Name: h.Name, Address: h.Address, Dir: h.Dir, SmbConf: conf, FQDN: h.FQDN,
		Domain: l.Domain, Realm: l.Realm, NetBIOS: l.NetBIOS,
		Server: dc1.FQDN, IDMap: filepath.Join(dc1.Dir, "private", "idmap.ldb"),
		Admin: l.Admin.Name, AdminPassword: admin, Reader: l.Reader.Name, ReaderPassword: reader,
		Members: []member{},
	}
	for _, m := range l.Members() {
		ord.Members = append(ord.Members, member{FQDN: m.FQDN, Address: m.Address})
	}
	return ord, nil
}

func (l *Lab) provision(ctx context.Context, h Host) error { return l.runOrder(ctx, "provision", h) }

// runOrder has scripts/host.py build the database of a domain controller.
func (l *Lab) runOrder(ctx context.Context, do string, h Host) error {
	ord, err := l.order(do, h)
	if err != nil {
		return err
	}
	b, err := json.Marshal(ord)
	if err != nil {
		return fmt.Errorf("ordering to %s %s: %w", do, h.Name, err)
	}
	cmd := l.Command(ctx, "/usr/bin/python3", l.path("host.py"))
	cmd.Stdin = bytes.NewReader(b)
	if _, err := run(cmd); err != nil {
		return fmt.Errorf("%s of %s: %w", do, h.Name, err)
	}
	return nil
}

// join makes h, whose folders exist, a member of the domain.
func (l *Lab) join(ctx context.Context, h Host) error {
	if h.Role == DomainController {
		if err := l.runOrder(ctx, "join", h); err != nil {
			return err
		}
		return l.copySysvol(ctx, l.DCs()[0], h)
	}
	conf, err := l.smbConf(h)
	if err != nil {
		return err
	}
	if err := writeFile(h.SmbConf, conf, 0o644); err != nil {
		return err
	}
	for _, d := range []string{"lock", "state", "cache", "data"} {
		if err := os.MkdirAll(filepath.Join(h.Dir, d), 0o755); err != nil {
			return fmt.Errorf("making the folders of %s: %w", h.Name, err)
		}
	}
	cmd := l.AsAdmin(l.Command(ctx, "net", "ads", "join", "-s", h.SmbConf, "-S", l.DCs()[0].FQDN, "--no-dns-updates"))
	if _, err := run(cmd); err != nil {
		return fmt.Errorf("join of %s: %w", h.Name, err)
	}
	return nil
}

// copySysvol makes the SYSVOL of one domain controller equal to that of
// another, permissions included. Samba has no DFS replication, so this is the
// only way files get from one to the other. Numeric ids agree because idmap.ldb
// was copied at the join.
func (l *Lab) copySysvol(ctx context.Context, from, to Host) error {
	src, dst := filepath.Join(from.Dir, "state", "sysvol"), filepath.Join(to.Dir, "state", "sysvol")
	fresh := dst + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("copying SYSVOL to %s: %w", to.Name, err)
	}
	if _, err := run(exec.CommandContext(ctx, "cp", "--archive", "--no-target-directory", src, fresh)); err != nil {
		return fmt.Errorf("copying SYSVOL to %s: %w", to.Name, err)
	}
	old := dst + ".old"
	if err := os.Rename(dst, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("copying SYSVOL to %s: %w", to.Name, err)
	}
	if err := os.Rename(fresh, dst); err != nil {
		return fmt.Errorf("copying SYSVOL to %s: %w", to.Name, err)
	}
	if err := os.RemoveAll(old); err != nil {
		return fmt.Errorf("copying SYSVOL to %s: %w", to.Name, err)
	}
	return nil
}

// Down ends the lab's hosts, and nothing else, and removes its folder. A folder
// that holds no lab is left alone (ErrNoLab comes from Open).
func (l *Lab) Down(ctx context.Context) error {
	g := new(errgroup.Group)
	for _, h := range l.Hosts {
		g.Go(func() error { return l.stop(ctx, h, false) })
	}
	if err := g.Wait(); err != nil {
		return err // the folder stays, so that another try finds the processes
	}
	if err := os.RemoveAll(l.Dir); err != nil {
		return fmt.Errorf("removing the lab's folder: %w", err)
	}
	if filepath.Dir(l.Dir) == DefaultRoot {
		_ = os.Remove(DefaultRoot) // stays while other labs live in it
	}
	return nil
}

// Available reports why this machine cannot run a lab (ErrUnavailable), nil if
// it can.
func Available() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: it needs root, for ports below 1024 and for namespaces", ErrUnavailable)
	}
	for _, tool := range []string{"samba", "samba-tool", "smbd", "winbindd", "net", "smbclient", "kinit", "ldbadd", "unshare"} {
		if _, err := lookTool(tool); err != nil {
			return fmt.Errorf("%w: %s is not installed (scripts/setup installs what is missing)", ErrUnavailable, tool)
		}
	}
	return nil
}

// lookTool finds a program, also in the folders of administration tools that an
// ordinary search path lacks.
func lookTool(name string) (string, error) {
	for _, d := range []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
		if p, err := exec.LookPath(filepath.Join(d, name)); err == nil {
			return p, nil
		}
	}
	return exec.LookPath(name)
}

// checkAddresses reports an address of the lab that somebody else serves on.
func (l *Lab) checkAddresses() error {
	for _, h := range l.Hosts {
		for _, port := range []string{"53", "88", "389", "445", "636"} {
			ln, err := net.Listen("tcp4", net.JoinHostPort(h.Address, port))
			if err != nil {
				return fmt.Errorf("address %s of the lab is in use (another lab? choose another --net): %w", h.Address, err)
			}
			if err := ln.Close(); err != nil {
				return fmt.Errorf("trying address %s: %w", h.Address, err)
			}
		}
	}
	return nil
}

// lockNet keeps two programs from working on the same addresses at once. The
// lock is an abstract socket: it leaves no file and ends with its holder.
func lockNet(block string) (unlock func(), err error) {
	ln, err := net.Listen("unix", "@leastwise-lab-"+block)
	if err != nil {
		return nil, fmt.Errorf("another program is working on the lab at %s: %w", block, err)
	}
	return func() { _ = ln.Close() }, nil
}
