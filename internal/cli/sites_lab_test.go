//go:build linux

package cli_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/leastwise/leastwise/lab/labtest"
	"github.com/leastwise/leastwise/lab/need"
	"github.com/leastwise/leastwise/lab/standin"
)

// TestSitesInLab loads the directory of each fixture site into a domain controller, scans
// it, collects from the stand-in with Kerberos, and wants the outcomes that TestSites
// wants: a real directory tells no more and no less than the fixture says.
func TestSitesInLab(t *testing.T) {
	need.Long(t)
	t.Parallel()
	first := labtest.Start(t, labtest.Options{Single: true, Fresh: true})
	first.Keep()
	for i, s := range fixtureSites() {
		t.Run(s.name, func(t *testing.T) {
			l := first
			if i > 0 {
				l = first.Rewind(t)
			}
			if err := l.SeedFile(t.Context(), s.fixture(), siteNow, func(string) {}); err != nil {
				t.Fatal(err)
			}
			r := &siteRun{t: t, site: s, dir: t.TempDir()}
			snapshot := filepath.Join(r.dir, "directory.lws")
			account := []string{"--dns", l.DNS, "--user", l.Reader.Name, "--password-file", l.Reader.PasswordFile}
			r.runAt(time.Now, append([]string{"collect", "--domain", l.Domain, "--out", snapshot}, account...)...)
			web := standin.NewAdminService(t, l, "cmsite")
			s.serve(t, web)
			provider := []string{"--provider", fmt.Sprintf("%s:%d", web.Host, web.Port), "--pin", fmt.Sprintf("%X", web.Fingerprint)}
			r.runAt(time.Now, append(append([]string{"configmgr", "collect", "--out", filepath.Join(r.dir, "collected.json")}, provider...), account...)...)
			r.check(snapshot)
		})
	}
}
