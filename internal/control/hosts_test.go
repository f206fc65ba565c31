package control

import (
	"slices"
	"testing"
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
