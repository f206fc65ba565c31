package samba

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Errors that callers may test for.
var (
	// ErrUnavailable reports that this machine cannot run a lab at all: no root,
	// or no Samba. The wrapping error says which.
	ErrUnavailable = errors.New("a lab cannot run here")
	// ErrNoLab reports that a folder holds no lab.
	ErrNoLab = errors.New("no lab in this folder")
)

const (
	// DefaultNet is the address block of a lab when none is named.
	DefaultNet = "127.0.10"
	// DefaultRoot is the folder that holds the labs whose folder is not named.
	DefaultRoot = "/var/lib/leastwise-lab"

	domainName  = "contoso.test"
	realmName   = "CONTOSO.TEST"
	netbiosName = "CONTOSO"
	adminName   = "Administrator"
	readerName  = "leastwise-reader"

	labFile    = "lab.json"
	labVersion = 1
	// maxDir bounds the length in bytes of a lab's folder: Samba makes Unix
	// sockets below it, and their paths must stay under 108 bytes.
	maxDir = 70
)

// A Role says what a host of a lab is.
type Role string

// The roles of hosts.
const (
	DomainController Role = "dc"
	MemberServer     Role = "member"
)

// A Host is one computer of the lab.
type Host struct {
	Name    string `json:"name"`    // dc1, dc2, srv1
	FQDN    string `json:"fqdn"`    // dc1.contoso.test
	Role    Role   `json:"role"`    //
	Address string `json:"address"` // 127.0.10.1
	Dir     string `json:"dir"`     // the host's folder
	// SmbConf is the host's configuration file, for Samba's own tools (-s).
	SmbConf string `json:"smb_conf"`
	// AuditLog holds JSON lines: who changed what, and who authenticated.
	// Empty for member servers.
	AuditLog string `json:"audit_log,omitempty"`
}

// An Account names an account and the file (mode 0600) that holds its password
// without a trailing newline.
type Account struct {
	Name         string `json:"name"` // sAMAccountName
	PasswordFile string `json:"password_file"`
}

// Password reads the account's password.
func (a Account) Password() (string, error) {
	b, err := os.ReadFile(a.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("reading the password of %s: %w", a.Name, err)
	}
	return strings.TrimRight(string(b), "\n"), nil
}

// A Lab describes a forest: what its lab.json says. It is a value; several
// processes may hold the same lab.
type Lab struct {
	Version  int    `json:"version"`
	Dir      string `json:"dir"`     // the folder that holds everything
	Net      string `json:"net"`     // 127.0.10
	Domain   string `json:"domain"`  // contoso.test
	Realm    string `json:"realm"`   // CONTOSO.TEST
	NetBIOS  string `json:"netbios"` // CONTOSO
	BaseDN   string `json:"base_dn"` // DC=contoso,DC=test
	DNS      string `json:"dns"`     // address of a DNS server, port 53
	CAFile   string `json:"ca_file"` // PEM certificate of the lab's authority
	Krb5Conf string `json:"krb5_conf"`
	// ClientConf configures Samba's client tools (-s).
	ClientConf string `json:"client_conf"`
	Hosts      []Host `json:"hosts"`
	// Admin is the built-in Administrator of the domain.
	Admin Account `json:"admin"`
	// Reader is an ordinary domain user without any privilege.
	Reader Account `json:"reader"`
	// Ready says that the lab was built to the end.
	Ready bool `json:"ready"`
	// Seeded is the time (RFC 3339) from which the ages of the loaded fixture count,
	// empty if none was loaded; Fixture is the checksum of its file.
	Seeded  string `json:"seeded,omitempty"`
	Fixture string `json:"fixture,omitempty"`
	// SeedBegan is when loading a fixture began. Without Seeded the fixture went in
	// only in part, or is going in just now.
	SeedBegan string `json:"seed_began,omitempty"`
}

// toolsConf configures programs that open the host's database: smb.conf without
// the audit log, which they would print. scripts/host.py writes it.
func (h Host) toolsConf() string { return filepath.Join(h.Dir, "etc", "tools.conf") }

// Open reads the lab in dir. It reports ErrNoLab if there is none. The lab need
// not be running.
func Open(dir string) (*Lab, error) {
	b, err := os.ReadFile(filepath.Join(dir, labFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNoLab)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the lab's description: %w", err)
	}
	l := new(Lab)
	if err := json.Unmarshal(b, l); err != nil {
		return nil, fmt.Errorf("reading %s: %w", filepath.Join(dir, labFile), err)
	}
	if l.Version != labVersion {
		return nil, fmt.Errorf("%s has version %d, this program knows %d: take the lab down with the program that made it",
			filepath.Join(dir, labFile), l.Version, labVersion)
	}
	if err := l.check(dir); err != nil {
		return nil, fmt.Errorf("%s describes no lab of this folder: %w", filepath.Join(dir, labFile), err)
	}
	return l, nil
}

// check refuses the description of another folder's lab, such as a copy: Down would
// end the processes and remove the folder that it names.
func (l *Lab) check(dir string) error {
	here, err := os.Stat(dir)
	if err != nil {
		return err
	}
	there, err := os.Stat(l.Dir)
	if err != nil {
		return err
	}
	if !os.SameFile(here, there) {
		return fmt.Errorf("its folder is %s", l.Dir)
	}
	if len(l.DCs()) == 0 {
		return errors.New("it has no domain controller")
	}
	for _, h := range l.Hosts {
		if h.Dir != l.path(h.Name) || filepath.Dir(h.Dir) != l.Dir {
			return fmt.Errorf("the folder of its host %q is %s", h.Name, h.Dir)
		}
	}
	return nil
}

// DCs returns the domain controllers, the first one first.
func (l *Lab) DCs() []Host { return l.hosts(DomainController) }

// Members returns the member servers.
func (l *Lab) Members() []Host { return l.hosts(MemberServer) }

func (l *Lab) hosts(r Role) []Host {
	var hs []Host
	for _, h := range l.Hosts {
		if h.Role == r {
			hs = append(hs, h)
		}
	}
	return hs
}

// Host returns the host of that name.
func (l *Lab) Host(name string) (Host, error) {
	for _, h := range l.Hosts {
		if h.Name == name {
			return h, nil
		}
	}
	return Host{}, fmt.Errorf("the lab in %s has no host %q", l.Dir, name)
}

func (l *Lab) path(elem ...string) string {
	return filepath.Join(append([]string{l.Dir}, elem...)...)
}

// save writes lab.json; a reader sees the old one or the new one, never a part.
func (l *Lab) save() error {
	b, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return fmt.Errorf("describing the lab: %w", err)
	}
	tmp := l.path(labFile + ".tmp")
	if err := os.WriteFile(tmp, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing the lab's description: %w", err)
	}
	if err := os.Rename(tmp, l.path(labFile)); err != nil {
		return fmt.Errorf("writing the lab's description: %w", err)
	}
	return nil
}

// newLab describes the lab that Up is to build.
func newLab(dir, block string, single bool) *Lab {
	l := &Lab{
		Version: labVersion, Dir: dir, Net: block,
		Domain: domainName, Realm: realmName, NetBIOS: netbiosName, BaseDN: "DC=contoso,DC=test",
		DNS: block + ".1",
	}
	l.CAFile = l.path("ca.pem")
	l.Krb5Conf = l.path("krb5.conf")
	l.ClientConf = l.path("client", "smb.conf")
	l.Admin = Account{Name: adminName, PasswordFile: l.path("secrets", "administrator")}
	l.Reader = Account{Name: readerName, PasswordFile: l.path("secrets", readerName)}
	l.addHost("dc1", DomainController)
	if !single {
		l.addHost("dc2", DomainController)
		l.addHost("srv1", MemberServer)
	}
	return l
}

func (l *Lab) addHost(name string, role Role) {
	h := Host{
		Name: name, FQDN: name + "." + l.Domain, Role: role,
		Address: fmt.Sprintf("%s.%d", l.Net, len(l.Hosts)+1),
		Dir:     l.path(name),
		SmbConf: l.path(name, "etc", "smb.conf"),
	}
	if role == DomainController {
		h.AuditLog = l.path(name, "log", "audit.json")
	}
	l.Hosts = append(l.Hosts, h)
}

// checkNet refuses an address block that is not three octets of loopback.
func checkNet(block string) error {
	a, err := netip.ParseAddr(block + ".1")
	if err != nil || !a.Is4() || !a.IsLoopback() || block == "127.0.0" {
		return fmt.Errorf("address block %q is not three octets of 127.0.0.0/8 such as %s (127.0.0 itself belongs to the machine)", block, DefaultNet)
	}
	return nil
}

// hiddenFromHosts reports whether dir lies where scripts/enter.sh lays an empty
// folder.
func hiddenFromHosts(dir string) bool {
	return slices.ContainsFunc([]string{"/run", "/var/run", "/var/lib/samba", "/var/cache/samba", "/var/log/samba"}, func(own string) bool {
		return dir == own || strings.HasPrefix(dir, own+"/")
	})
}

// checkDir refuses a folder in which a lab cannot work.
func checkDir(dir string) error {
	switch {
	case !filepath.IsAbs(dir):
		return fmt.Errorf("the lab's folder %q must be an absolute path", dir)
	case len(dir) > maxDir:
		return fmt.Errorf("the lab's folder %s is %d bytes long; at most %d, because Samba makes Unix sockets below it", dir, len(dir), maxDir)
	case hiddenFromHosts(dir):
		return fmt.Errorf("the lab's folder %s would be hidden from the lab's hosts, which see an own /run and own folders of Samba below /var", dir)
	case strings.ContainsAny(dir, " \t\n\"'\\%$;#"):
		return fmt.Errorf("the lab's folder %q has characters that Samba's configuration file gives a meaning", dir)
	}
	for p := filepath.Dir(dir); ; p = filepath.Dir(p) {
		fi, err := os.Stat(p)
		if err == nil && fi.Mode().Perm()&0o001 == 0 {
			return fmt.Errorf("the lab's folder %s lies below %s, which ordinary accounts cannot enter (mode %v): the file server could not serve SYSVOL from it", dir, p, fi.Mode().Perm())
		}
		if p == "/" {
			return nil
		}
	}
}
