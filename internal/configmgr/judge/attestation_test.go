package judge

import (
	"slices"
	"testing"

	"github.com/leastwise/leastwise/internal/configmgr"
)

// Of the statements on a topic the one for the site counts before one for all, and the
// latest before earlier ones, in whatever order documents name them.
func TestAttestationOrder(t *testing.T) {
	said := func(site string, day int, value bool) configmgr.Attestation {
		made := testNow.AddDate(0, 0, -day)
		return configmgr.Attestation{Topic: "gmsa-tested", Site: site, Value: value, Owner: "x", Made: made, Expires: testNow.AddDate(1, 0, 0)}
	}
	for name, list := range map[string][]configmgr.Attestation{
		"later of the site": {said("P01", 1, false), said("p01", 9, true)},
		"later of all":      {said("", 1, false), said("", 9, true)},
		"site before all":   {said("P01", 9, false), said("", 1, true), said("P02", 0, true)},
	} {
		for range 2 {
			ev := &evaluation{w: &world{doc: &configmgr.Document{Attestations: list}, now: testNow}, site: &configmgr.Site{Code: "P01"}}
			if a := ev.attestation("gmsa-tested"); a == nil || a.Value {
				t.Errorf("%s: %+v counts", name, a)
			}
			slices.Reverse(list)
		}
	}
}
