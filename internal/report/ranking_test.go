package report

import (
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/control"
)

// A zone that is reached for certain does not hide a higher one that is possible.
func TestRankingZones(t *testing.T) {
	one := 1
	for want, r := range map[string]Ranked{
		"Tier 1 ":                 {Zone: "Tier 1", Level: &one, IsDeep: true},
		"in Tier 1 ":              {Zone: "Tier 1", Level: &one, InZone: true},
		"perhaps Tier 0 ":         {PossibleIn: "Tier 0"},
		"Tier 1, perhaps Tier 0 ": {Zone: "Tier 1", Level: &one, PossibleIn: "Tier 0", IsDeep: true},
	} {
		r.Principal, r.Held = control.Place{Name: "anna"}, []RankedRight{{Text: "owns", Class: "user", Count: 1}}
		ranking := Ranking{Total: 1, Principals: []Ranked{r}}
		var b strings.Builder
		if err := ranking.Text(&b, Screen{}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), " "+want) || strings.Count(b.String(), "Tier") != strings.Count(want, "Tier") {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
