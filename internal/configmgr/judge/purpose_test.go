package judge

import (
	"testing"

	"github.com/leastwise/leastwise/internal/configmgr"
)

// The proxy accounts of 2012 are one slot in the current branch, so that an account which
// a site system uses for its proxy has one purpose there and several before.
func TestMergedSlotsAreOnePurpose(t *testing.T) {
	update := &configmgr.Entry{ID: "software-update-point-proxy", MergedInto: "site-system-proxy-server"}
	w := &world{doc: &configmgr.Document{Sites: []configmgr.Site{{Code: "P01", Release: "current-branch"}, {Code: "R12", Release: "2012-R2"}, {Code: "X01"}}}}
	for site, want := range map[string]string{"P01": update.MergedInto, "p01": update.MergedInto, "R12": update.ID, "X01": update.ID, "": update.ID} {
		if got := w.purpose(update, site); got != want {
			t.Errorf("at %q: %s, want %s", site, got, want)
		}
	}
	if got := w.purpose(&configmgr.Entry{ID: "network-access"}, "P01"); got != "network-access" {
		t.Errorf("a slot of its own: %s", got)
	}
}
