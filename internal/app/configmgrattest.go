package app

import (
	"regexp"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/configmgr"
)

// attested finds the topics that conditions ask for.
var attested = regexp.MustCompile(`attested\('([a-z0-9-]+)'\)`)

// Topics lists the topics of statements that conditions of the catalogue ask for; none
// if the catalogue cannot be read.
func Topics() []string {
	cat, err := configmgr.Load()
	if err != nil {
		return nil
	}
	var out []string
	for _, c := range cat.Controls() {
		for _, m := range attested.FindAllStringSubmatch(c.When+" "+c.Condition, -1) {
			if !slices.Contains(out, m[1]) {
				out = append(out, m[1])
			}
		}
	}
	slices.Sort(out)
	return out
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
