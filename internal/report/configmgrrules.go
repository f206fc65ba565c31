package report

import "github.com/leastwise/leastwise/internal/configmgr"

// slotRuleView is an outcome of a rule between two slots.
type slotRuleView struct{ Verdict, Rule, Slots, Reason string }

// slotPair names the two slots of a finding.
func slotPair(f configmgr.SeparationFinding) string {
	return slotPlace(f.A) + " and " + slotPlace(f.B)
}

func slotPlace(s configmgr.Slot) string {
	if s.Site == "" {
		return s.Entry
	}
	return s.Entry + " at " + s.Site
}

// separations lists rules between slots that do not hold, or whose outcome is not known.
func (p *page) separations(all []configmgr.SeparationFinding) {
	if len(all) == 0 {
		return
	}
	inks := map[configmgr.SeparationVerdict]string{configmgr.Violated: red, configmgr.Undecided: yellow}
	var rows [][]cellInk
	for _, f := range all {
		rows = append(rows, append([]cellInk{{string(f.Verdict), inks[f.Verdict]}}, plain(string(f.Rule), visible(slotPair(f)), visible(f.Reason))...))
	}
	p.heading("Rules between slots")
	p.grid([]string{"Outcome", "Rule", "Slots", "Why"}, rows)
}
