package samba

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckNet(t *testing.T) {
	for _, tt := range []struct {
		block string
		ok    bool
	}{
		{"127.0.10", true},
		{"127.255.255", true},
		{"127.0.0", false},
		{"10.0.0", false},
		{"127.0", false},
		{"127.0.10.1", false},
		{"127.0.256", false},
		{"", false},
		{"127.0.10 ", false},
	} {
		if err := checkNet(tt.block); (err == nil) != tt.ok {
			t.Errorf("checkNet(%q) = %v, want ok %v", tt.block, err, tt.ok)
		}
	}
}

func TestCheckDir(t *testing.T) {
	closed := filepath.Join(t.TempDir(), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ dir, want string }{
		{"/var/lib/leastwise-lab/127.0.10", ""},
		{"lab", "absolute"},
		{"/run/lab", "hidden"},
		{"/var/lib/samba/lab", "hidden"},
		{"/var/cache/samba/lab", "hidden"},
		{"/var/log/samba", "hidden"},
		{"/srv/a lab", "meaning"},
		{"/srv/%U", "meaning"},
		{"/" + strings.Repeat("x", 80), "at most"},
		{filepath.Join(closed, "x"), "cannot enter"},
	} {
		err := checkDir(tt.dir)
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("checkDir(%q) = %v", tt.dir, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) && len(closed) < maxDir:
			t.Errorf("checkDir(%q) = %v, want an error with %q", tt.dir, err, tt.want)
		}
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir); !errors.Is(err, ErrNoLab) {
		t.Errorf("Open of an empty folder = %v, want ErrNoLab", err)
	}
	l := newLab(dir, "127.0.10", false)
	if err := l.save(); err != nil {
		t.Fatal(err)
	}
	got, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if h, err := got.Host("srv1"); err != nil || h.Address != "127.0.10.3" || h.Role != MemberServer {
		t.Errorf("Host(srv1) = %+v, %v", h, err)
	}
	if n := len(got.DCs()); n != 2 {
		t.Errorf("%d domain controllers, want 2", n)
	}
	if err := os.WriteFile(filepath.Join(dir, labFile), []byte(`{"version": 99}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "version 99") {
		t.Errorf("Open of a later version = %v", err)
	}
}

// A description that was copied, or made up, must not make Down remove the folder
// that it names.
func TestOpenForeign(t *testing.T) {
	here, there := t.TempDir(), t.TempDir()
	for want, change := range map[string]func(*Lab){
		"its folder is " + there:     func(l *Lab) { l.Dir = there },
		"no such file":               func(l *Lab) { l.Dir = filepath.Join(there, "gone") },
		"no domain controller":       func(l *Lab) { l.Hosts = nil },
		`folder of its host "dc1"`:   func(l *Lab) { l.Hosts[0].Dir = there },
		`folder of its host "../up"`: func(l *Lab) { l.Hosts[0].Name, l.Hosts[0].Dir = "../up", filepath.Join(filepath.Dir(here), "up") },
	} {
		l := newLab(here, "127.0.10", true)
		change(l)
		b, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(here, labFile), b, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(here); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open = %v, want an error with %q", err, want)
		}
	}
}

// No configuration of a host names an address outside loopback, a forwarder, or a
// folder of the machine's own Samba.
func TestConfigurationStaysOnLoopback(t *testing.T) {
	l := newLab("/srv/lab", "127.0.10", false)
	for _, h := range l.Hosts {
		conf, err := l.smbConf(h)
		if err != nil {
			t.Fatal(err)
		}
		for _, must := range []string{"bind interfaces only = yes", "interfaces = " + h.Address + "/8", "disable netbios = yes"} {
			if !strings.Contains(conf, must) {
				t.Errorf("%s: no %q", h.Name, must)
			}
		}
		for line := range strings.Lines(conf) {
			key, value, ok := strings.Cut(strings.TrimSpace(line), " =")
			if !ok || strings.HasPrefix(key, "#") {
				continue
			}
			value = strings.TrimSpace(value)
			if key == "dns forwarder" && value != "" {
				t.Errorf("%s forwards DNS to %s", h.Name, value)
			}
			if strings.Contains(value, "/var/lib/samba") || strings.Contains(value, "/var/log/samba") {
				t.Errorf("%s: %s uses the machine's %s", h.Name, key, value)
			}
		}
	}
}
