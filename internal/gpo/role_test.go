package gpo_test

import (
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/gpo"
)

// Whether the token of a computer holds Enterprise Domain Controllers is unknown if
// it is unknown whether it is a domain controller.
func TestFilterOfUnknownRole(t *testing.T) {
	const (
		dn = "CN=PC,CN=Computers," + gappedBase
		sd = "(A;;RP;;;AU)(OA;;CR;edacfd8f-ffb3-11d1-b41d-00a0c968f939;;ED)"
	)
	for _, tt := range []struct {
		name, unread, primary string
		want                  gpo.State
		dc                    bool
	}{
		{"member", "", "515", gpo.NotDefined, false},
		{"neither read", "userAccountControl primaryGroupID", "", gpo.Undecided, false},
		{"member by its primary group", "userAccountControl", "515", gpo.NotDefined, false},
		{"domain controller by its primary group", "userAccountControl", "516", gpo.Defined, true},
		{"read-only domain controller by its primary group", "userAccountControl", "521", gpo.NotDefined, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newGappedForest(t, sd)
			attrs := map[string][]string{"sAMAccountName": {"PC$"}}
			if tt.primary != "" {
				attrs["primaryGroupID"] = []string{tt.primary}
			}
			if tt.unread == "" {
				attrs["userAccountControl"] = []string{"4096"}
			}
			g.add(caseObject{
				dn: dn, class: []string{"top", "person", "organizationalPerson", "user", "computer"}, sid: g.w.domainSID.Child(2000),
				attrs: attrs, unread: strings.Fields(tt.unread),
			})
			r := g.result(dn)
			if s := r.Right("SeDenyNetworkLogonRight"); s.State != tt.want || r.DC != tt.dc {
				t.Errorf("the right is %v, domain controller %v; want %v, %v", s.State, r.DC, tt.want, tt.dc)
			}
		})
	}
}
