package control

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
)

// dcSets returns how many domain controllers each of their host sets has.
func dcSets(t *testing.T, change string) []int {
	t.Helper()
	var out []int
	for _, h := range newWorld(Input{Snapshot: changed(t, change), Now: testNow}).hostSets() {
		if h.role == roleDC {
			out = append(out, len(h.computers))
		}
	}
	slices.Sort(out)
	return out
}

// Domain controllers of several sites are one subject if the same policies apply
// to them; a policy of one site, and a site that is not known, can tell them apart.
func TestHostSetsOfSeveralSites(t *testing.T) {
	const (
		sites = "sites: [{name: Berlin}]\n"
		// The site of DC-KNOWN is the first one, that of DC-UNKNOWN is not known.
		controllers = "computers: [{name: DC-KNOWN, role: dc, lab: true}, {name: DC-UNKNOWN, role: dc}]\n"
		policy      = "policies: [{name: Local, rights: {SeDenyBatchLogonRight: [Domain Guests]}}]\nlinks: [{on: site Berlin, policies: [Local]}]\n"
	)
	together := dcSets(t, controllers)
	if len(together) != 1 {
		t.Fatalf("in one site the domain controllers make %d sets, want 1", len(together))
	}
	if got := dcSets(t, sites+controllers); !slices.Equal(got, together) {
		t.Errorf("with a second site that links nothing: sets of %v, want %v", got, together)
	}
	if got := dcSets(t, sites+controllers+policy); len(got) != 2 {
		t.Errorf("with a policy on the second site: sets of %v, want two sets", got)
	}
}

// A stored password is found in whatever encoding its file has.
func TestPasswordLinesInUTF16(t *testing.T) {
	const text = "<?xml version=\"1.0\" encoding=\"utf-16\"?>\r\n<Groups>\r\n<Properties cpassword=\"x\"/>\r\n</Groups>"
	for name, order := range map[string]binary.AppendByteOrder{"\xFF\xFE": binary.LittleEndian, "\xFE\xFF": binary.BigEndian} {
		data := []byte(name)
		for _, r := range text {
			data = order.AppendUint16(data, uint16(r))
		}
		if got := passwordLines(data); !slices.Equal(got, []int{3}) {
			t.Errorf("%v: lines %v, want 3", order, got)
		}
		if got := passwordLines(data[:len(data)-1]); len(got) == 0 {
			t.Errorf("%v, cut short: nothing found", order)
		}
	}
}

// Links that cannot be told apart are unknown links: no policy is unlinked for that.
func TestMalformedLinksAreGaps(t *testing.T) {
	s := changed(t, "changes: [{object: 'OU=Servers', set: {gPLink: ['[LDAP://broken']}}]")
	if gaps := newWorld(Input{Snapshot: s, Now: testNow}).linkGaps(); len(gaps) != 1 || !strings.Contains(gaps[0], "OU=Servers") {
		t.Errorf("gaps are %q, want one that names the container", gaps)
	}
}

// A name that means nothing to the snapshot may be the principal, if what would tell
// was not read.
func TestCoversNameThatWasNotRead(t *testing.T) {
	s := changed(t, `
ous: [{name: Named}]
computers: [{name: NAMED1, role: server, in: Named}]
policies: [{name: By name, rights: {SeDenyNetworkLogonRight: ['plain CONTOSO\Domain Admins', 'plain CONTOSO\nobody', 'plain FABRIKAM\Domain Admins']}}]
links: [{on: Named, policies: [By name]}]
`)
	outcome := func(x blank, principal string) Outcome {
		t.Helper()
		a := assess(t, builtinCatalogue(t), Input{Snapshot: x.of(t, s)})
		for _, r := range a.Matrix {
			if r.Hosts.DN == "OU=Named,DC=contoso,DC=test" && strings.HasSuffix(r.Principal, principal) {
				return r.Cells["SeDenyNetworkLogonRight"]
			}
		}
		t.Fatalf("no row of %s", principal)
		return ""
	}
	hide := func(hidden forest.Attr) blank {
		return blank{attr: func(_ forest.ID, a forest.Attr) bool { return a == hidden }}
	}
	if got := outcome(blank{}, "Domain Admins"); got != Pass {
		t.Errorf("all read: Domain Admins %s, want pass", got)
	}
	if got := outcome(blank{}, "Enterprise Admins"); got != Fail {
		t.Errorf("all read: Enterprise Admins %s, want fail", got)
	}
	if got := outcome(hide(forest.SAMAccountName), "Domain Admins"); got != Unknown {
		t.Errorf("without names: Domain Admins %s, want unknown", got)
	}
}
