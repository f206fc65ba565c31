//go:build linux

package apply

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/lab/labtest"
)

// Each lifetime comes from the first policy that sets it; what is no lifetime, or cannot be
// read, makes all of them unknown.
func TestLifetimes(t *testing.T) {
	files := map[string]string{
		"first":   "[Unicode]\r\nUnicode=yes\r\n[Kerberos Policy]\r\nMaxTicketAge = 4\r\n",
		"second":  "[Kerberos Policy]\r\nMaxTicketAge = 10\r\nMaxRenewAge = 1\r\nMaxServiceAge = 60\r\n",
		"endless": "[Kerberos Policy]\r\nMaxTicketAge = 0\r\n",
		"words":   "[Kerberos Policy]\r\nMaxRenewAge = long\r\n",
	}
	read := func(name string) ([]byte, error) {
		dir, _, _ := strings.Cut(name, "/")
		switch text, ok := files[dir]; {
		case ok:
			return []byte(text), nil
		case dir == "without":
			return nil, &dc.Error{Kind: dc.ErrNoSuchObject, Op: "reading"}
		}
		return nil, errors.New("no answer")
	}
	of := func(names ...string) (list []policy) {
		for _, n := range names {
			list = append(list, policy{n, n})
		}
		return list
	}
	got, err := lifetimes(of("without", "first", "second"), read)
	if err != nil || !got.Known || got.Ticket != 4*time.Hour || got.Renewal != 24*time.Hour || got.Service != time.Hour || !strings.Contains(got.Source, "first, second") {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err = lifetimes(of("without"), read); err != nil || !got.Known || got.Ticket != 10*time.Hour || got.Renewal != 7*24*time.Hour {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"endless", "words", "away"} {
		if got, err := lifetimes(of(bad), read); err == nil || got.Known {
			t.Errorf("%s: %+v", bad, got)
		}
	}
}

// The real directory is asked, by LDAP and SMB; who may not read the policies is told so.
func TestGrantsTickets(t *testing.T) {
	y := newYard(t, labtest.Start(t, labtest.Options{Single: true}))
	u := y.user("anna")
	d := y.grants(y.config(y.lab.Reader))
	for range 2 { // the second time from memory
		got, err := d.Tickets(t.Context(), u.GUID)
		if err != nil || !got.Known || got.Ticket < time.Hour || got.Renewal < got.Ticket || got.Source == "" {
			t.Errorf("%+v, %v", got, err)
		}
	}
	cfg := y.config(y.lab.Reader)
	cfg.CAFile, cfg.Server = "", "127.0.0.99"
	away := y.grants(cfg)
	if got, err := away.Tickets(t.Context(), u.GUID); err != nil || got.Known || got.Why == "" {
		t.Errorf("of a directory that is away: %+v, %v", got, err)
	}
}
