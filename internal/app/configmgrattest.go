package app

import (
	"regexp"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/configmgr"
)

// attested finds the topics that conditions ask for.
var attested = regexp.MustCompile(`attested\('([a-z0-9-]+)'\)`)

// rotating finds the slots of which conditions ask whether a rotation is in progress.
var rotating = regexp.MustCompile(`rotation_open\('([a-z0-9-]+)'\)`)

// Topics lists the topics of statements that conditions of the catalogue ask for; none
// if the catalogue cannot be read.
func Topics() []string {
	cat, err := configmgr.Load()
	if err != nil {
		return nil
	}
	var out []string
	for _, c := range cat.Controls() {
		text := c.When + " " + c.Condition
		for _, m := range attested.FindAllStringSubmatch(text, -1) {
			out = append(out, m[1])
		}
		for _, m := range rotating.FindAllStringSubmatch(text, -1) {
			out = append(out, "rotation-open:"+m[1])
		}
		// Functions that look at a topic of their own.
		for function, topic := range map[string]string{
			"naa_exception(": "network-access-needed", "upgrade_window_open(": "upgrade-window",
			"replicated(": "replicated", "last_exposure_event(": "no-exposure",
		} {
			if strings.Contains(text, function) {
				out = append(out, topic)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Attest returns d with a statement, which takes the place of an earlier one on the same
// topic and site.
func Attest(d *configmgr.Document, a configmgr.Attestation) *configmgr.Document {
	out := *d
	out.Attestations = slices.DeleteFunc(slices.Clone(d.Attestations), func(old configmgr.Attestation) bool {
		return old.Topic == a.Topic && strings.EqualFold(old.Site, a.Site)
	})
	out.Attestations = append(out.Attestations, a)
	return &out
}
