//go:build linux

package standin

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"

	"github.com/leastwise/leastwise/lab/labtest"
)

// NewAdminService starts a stand-in named host (without domain) for one test. It
// creates a computer account and DNS record of that name in the lab, and removes them
// with the test; so labs may be shared, names not.
func NewAdminService(t testing.TB, l *labtest.Lab, host string) *AdminService {
	t.Helper()
	addr := l.Net + ".20"
	l.SambaTool("computer", "create", host, "--ip-address="+addr, "--service-principal-name=HOST/"+host+"."+l.Domain)
	t.Cleanup(func() {
		if _, err := l.Lab.SambaTool(context.Background(), "computer", "delete", host); err != nil {
			t.Error(err)
		}
	})
	l.SambaTool("user", "setpassword", host+"$", "--newpassword="+rand.Text())
	l.SambaTool("user", "enable", host+"$")
	table := filepath.Join(t.TempDir(), "keytab")
	cmd := l.Command(t.Context(), "samba-tool", "domain", "exportkeytab", table, "--principal="+host+"$", "-s", l.DCs()[0].SmbConf)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("exporting the keytab of %s: %v\n%s", host, err, out)
	}
	keys, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	s := &AdminService{Host: host + "." + l.Domain, tables: map[string]Table{}, faults: map[string]*Fault{}}
	if s.acceptor, err = newAcceptor(keys, host+"$"); err != nil {
		t.Fatal(err)
	}
	s.start(t, addr)
	return s
}
