//go:build linux

package adminservice

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/lab/labtest"
	"github.com/leastwise/leastwise/lab/need"
	"github.com/leastwise/leastwise/lab/standin"
)

// ownLab is the directory whose KDC gives the tickets.
var ownLab = labtest.Package{Options: labtest.Options{Single: true}}

func TestMain(m *testing.M) {
	code := m.Run()
	if err := ownLab.Down(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// The stand-in takes tickets of the lab's KDC only; the site behind it is the small
// one. The account is an ordinary user of the domain.
func TestLabCollect(t *testing.T) {
	need.Long(t)
	l := ownLab.Start(t)
	s := standin.NewAdminService(t, l, "cm1")
	s.SmallSite(secret)
	pin := dc.Fingerprint(s.Fingerprint)
	for name, server := range map[string]dc.WebServer{
		"verified": {Host: s.Host, Port: s.Port}, "pinned": {Host: s.Host, Port: s.Port, Pin: &pin},
	} {
		cfg := dc.Config{DNS: l.DNS, Credentials: dc.Password(l.Reader.Name, l.ReaderPassword()), Timeout: 20 * time.Second}
		if server.Pin == nil {
			cfg.CAFile = s.CAFile
		}
		w, err := dc.NewWeb(cfg, server)
		if err != nil {
			t.Fatal(err)
		}
		r := collect(t, client(t, w, Options{PageSize: 2}))
		w.Close()
		if gaps := r.Gaps(); len(gaps) != 1 || !strings.Contains(names(r.Document, "network-access"), `CONTOSO\cm-naa@P01`) {
			t.Errorf("%s: gaps %+v, %q", name, gaps, names(r.Document, "network-access"))
		}
		requests := s.Requests()
		if w.Proofs() != len(requests) {
			t.Errorf("%s: %d requests, %d proofs of identity", name, len(requests), w.Proofs())
		}
		for _, q := range requests {
			if !strings.EqualFold(q.Principal, l.Reader.Name+"@"+l.Realm) {
				t.Errorf("%s: %s was asked for as %q", name, q.Class, q.Principal)
			}
		}
	}
	refused(t, l, s)
}

// refused shows what is said when the certificate or the account is not right.
func refused(t *testing.T, l *labtest.Lab, s *standin.AdminService) {
	t.Helper()
	for name, c := range map[string]struct {
		cfg  dc.Config
		kind dc.Kind
	}{
		"unknown certificate": {dc.Config{DNS: l.DNS, Credentials: dc.Password(l.Reader.Name, l.ReaderPassword())}, dc.ErrUntrusted},
		"wrong password":      {dc.Config{DNS: l.DNS, CAFile: s.CAFile, Credentials: dc.Password(l.Reader.Name, secret)}, dc.ErrWrongPassword},
	} {
		w, err := dc.NewWeb(c.cfg, dc.WebServer{Host: s.Host, Port: s.Port})
		if err != nil {
			t.Fatal(err)
		}
		_, err = Collect(t.Context(), client(t, w, Options{}))
		w.Close()
		if !errors.Is(err, ErrTransport) || dc.KindOf(err) != c.kind || Hint(err) == "" || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v (hint %q)", name, err, Hint(err))
		}
	}
	if why := s.Requests(); len(why) != 0 {
		t.Errorf("asked: %+v", why)
	}
	// An account that may read all but one class.
	s.Fail("SMS_Admin", standin.Fault{Status: 403})
	w, err := dc.NewWeb(dc.Config{DNS: l.DNS, CAFile: s.CAFile, Credentials: dc.Password(l.Reader.Name, l.ReaderPassword())}, dc.WebServer{Host: s.Host, Port: s.Port})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r := collect(t, client(t, w, Options{}))
	if why, ok := r.Document.Read(configmgr.ClassAdmins, "", ""); ok || !strings.Contains(why, "403") {
		t.Errorf("administrative users: %v %s", ok, why)
	}
}
