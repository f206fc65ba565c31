package adminservice

import (
	"fmt"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/lab/standin"
)

type (
	row   = standin.Row
	table = standin.Table
)

// secret is what nothing may remember: it stands wherever a site has secrets.
const secret = "Pl4nted-Secret"

// open starts a stand-in with the small site and a client for it that does not wait.
func open(t *testing.T, opt Options) (*standin.AdminService, *Client) {
	t.Helper()
	s := standin.NewOpen(t)
	s.SmallSite(secret)
	return s, client(t, s, opt)
}

func client(t *testing.T, web Transport, opt Options) *Client {
	t.Helper()
	c, err := New(web, opt)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// names returns who fills a slot.
func names(d *configmgr.Document, entry string) string {
	var out []string
	for _, a := range d.Assignments {
		if a.Entry == entry {
			out = append(out, fmt.Sprintf("%s@%s", a.Name, a.Site))
		}
	}
	return strings.Join(out, " ")
}
