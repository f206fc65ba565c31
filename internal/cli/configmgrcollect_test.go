//go:build linux

package cli_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/cli"
	"github.com/leastwise/leastwise/lab/standin"
)

// testSiteCollect reads the stand-in for a site, through Kerberos of the lab: with
// everything right, with classes that fail, and with what does not get that far. The
// secrets that the stand-in serves are in no file and no line.
func (w *world) testSiteCollect(t *testing.T) {
	const secret = "Pl4nted-Secret"
	s := standin.NewAdminService(t, w.lab, "cmsite")
	s.SmallSite(secret)
	dir := t.TempDir()
	run := func(name string, extra ...string) (code int, doc, said string) {
		file := filepath.Join(dir, name+".json")
		args := append([]string{
			"configmgr", "collect", "--provider", fmt.Sprintf("%s:%d", s.Host, s.Port), "--dns", w.lab.DNS,
			"--user", w.lab.Reader.Name, "--password-file", w.lab.Reader.PasswordFile, "--out", file,
		}, extra...)
		var out, errs bytes.Buffer
		code = cli.Run(t.Context(), args, cli.Environment{Version: "test", In: strings.NewReader(""), Out: &out, Err: &errs, Now: time.Now})
		b, err := os.ReadFile(file)
		if (err == nil) != (code == 0) || out.Len() > 0 {
			t.Errorf("%s: exit code %d, file %v, output %q", name, code, err, out.String())
		}
		for _, text := range []string{string(b), errs.String()} {
			if strings.Contains(text, secret) || strings.Contains(text, "0C0100000B") || strings.Contains(text, w.lab.ReaderPassword()) {
				t.Errorf("%s: a secret came through", name)
			}
		}
		return code, string(b), errs.String()
	}
	if code, doc, said := run("good", "--pin", fmt.Sprintf("%X", s.Fingerprint)); code != 0 || !strings.Contains(doc, `CONTOSO\\cm-naa`) || !strings.Contains(said, "site P01") || !strings.Contains(said, "not complete: 1 of ") {
		t.Errorf("exit code %d: %s", code, said)
	}
	var table, errs bytes.Buffer
	args := []string{"configmgr", "slots", "--document", filepath.Join(dir, "good.json"), "--all"}
	if code := cli.Run(t.Context(), args, cli.Environment{Version: "test", In: strings.NewReader(""), Out: &table, Err: &errs, Now: time.Now}); code != 0 ||
		!strings.Contains(table.String(), `CONTOSO\cm-push`) {
		t.Errorf("slots: exit code %d, %s%s", code, errs.String(), table.String())
	}
	s.Fail("SMS_SCI_Reserved", standin.Fault{Status: http.StatusForbidden, Body: secret})
	if code, doc, said := run("partial", "--ca", s.CAFile); code != 0 || !strings.Contains(doc, `"missing": "SMS_SCI_Reserved: the account may not read this (403)`) || !strings.Contains(said, "not read: accounts") || !strings.Contains(said, "not complete: 3 of ") {
		t.Errorf("exit code %d: %s\n%s", code, said, doc)
	}
	s.Fail("", standin.Fault{Status: http.StatusUnauthorized, Body: secret})
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"refused":     {[]string{"--ca", s.CAFile}, 3, "hint: check, in this order: the clock"},
		"certificate": {nil, 3, fmt.Sprintf("if it is %x, pin it", s.Fingerprint)},
		"wrong pin":   {[]string{"--pin", strings.Repeat("00", 32)}, 3, "not the pinned"},
		"no pin":      {[]string{"--pin", "abc"}, 2, "64 hexadecimal digits"},
		"short name":  {[]string{"--provider", "cmsite"}, 2, "full DNS name"},
		"no port":     {[]string{"--provider", s.Host + ":x"}, 2, "is no port"},
		"no time":     {[]string{"--class-timeout", "0s"}, 2, "--class-timeout"},
	} {
		if code, _, said := run(name, c.args...); code != c.code || !strings.Contains(said, c.says) {
			t.Errorf("%s: exit code %d, %s", name, code, said)
		}
	}
}
