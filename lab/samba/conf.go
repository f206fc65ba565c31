package samba

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

//go:embed scripts/host.py
var hostScript string

//go:embed scripts/tool.py
var toolScript string

//go:embed scripts/init.sh
var initScript string

//go:embed scripts/enter.sh
var enterScript string

//go:embed conf/dc.conf
var dcConf string

//go:embed conf/member.conf
var memberConf string

//go:embed conf/client.conf
var clientConf string

//go:embed conf/krb5.conf
var krb5Conf string

// confData is what the configuration templates see.
type confData struct {
	*Lab
	Host Host
}

// BaseName returns the host's NetBIOS name.
func (c confData) BaseName() string { return strings.ToUpper(c.Host.Name) }

// render fills in one of the embedded templates.
func render(text string, data any) (string, error) {
	t, err := template.New("conf").Option("missingkey=error").Parse(text)
	if err != nil {
		return "", fmt.Errorf("reading a configuration template: %w", err)
	}
	var b strings.Builder
	if err := t.Execute(&b, data); err != nil {
		return "", fmt.Errorf("filling in a configuration template: %w", err)
	}
	return b.String(), nil
}

// smbConf returns the configuration of h.
func (l *Lab) smbConf(h Host) (string, error) {
	text := dcConf
	if h.Role == MemberServer {
		text = memberConf
	}
	return render(text, confData{Lab: l, Host: h})
}

// writeShared writes the files that all hosts of the lab and its tools share:
// what they see as /etc/resolv.conf, hosts and nsswitch.conf, the Kerberos
// configuration, and the scripts.
func (l *Lab) writeShared() error {
	var resolv, hosts strings.Builder
	hosts.WriteString("127.0.0.1\tlocalhost\n")
	fmt.Fprintf(&resolv, "search %s\noptions timeout:2 attempts:2\n", l.Domain)
	for _, h := range l.Hosts {
		fmt.Fprintf(&hosts, "%s\t%s %s\n", h.Address, h.FQDN, h.Name)
		if h.Role == DomainController {
			fmt.Fprintf(&resolv, "nameserver %s\n", h.Address)
		}
	}
	krb, err := render(krb5Conf, l)
	if err != nil {
		return err
	}
	client, err := render(clientConf, l)
	if err != nil {
		return err
	}
	files := []struct {
		name, text string
		mode       os.FileMode
	}{
		{"etc/resolv.conf", resolv.String(), 0o644},
		{"etc/hosts", hosts.String(), 0o644},
		{"etc/nsswitch.conf", "passwd: files winbind\ngroup: files winbind\nshadow: files\nhosts: files dns\nservices: files\n", 0o644},
		{"krb5.conf", krb, 0o644},
		{"client/smb.conf", client, 0o644},
		{"host.py", hostScript, 0o644},
		{"tool.py", toolScript, 0o644},
		{"init.sh", initScript, 0o755},
		{"enter.sh", enterScript, 0o755},
	}
	for _, f := range files {
		if err := writeFile(l.path(f.name), f.text, f.mode); err != nil {
			return err
		}
	}
	return nil
}

// writeFile writes a file of the lab and the folders above it.
func writeFile(name, text string, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := os.Chmod(name, mode); err != nil { // whatever the umask says
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}
