package report

import (
	"fmt"
	"html/template"
	"sort"
	"strings"

	"github.com/leastwise/leastwise/internal/control"
	"github.com/leastwise/leastwise/internal/forest"
)

// An htmlView is what the template of the HTML report is filled in with.
type htmlView struct {
	CSP string
	CSS template.CSS
	JS  template.JS

	A         *control.Assessment
	Forest    string
	Headline  string   // the state in one sentence
	Sentences []string // the state in a few more
	First     []*findingGroup
	Outcomes  barView
	Severity  []severityBar
	Power     powerCount
	Gaps      []forest.Coverage
	Read      []forest.Coverage
	Groups    []popView
	Empty     []popView // of Groups: those without a card
	Control   controlView
	Maps      []heatMap
	Sections  []sectionView
	Blocks    []findingBlock
	Shown     int // findings in Blocks
	Filters   filterView
	ConfigMgr *configMgrView // nil if nothing was asked about it
	History   *historyView   // nil if no run was kept
}

// A filterView lists the values that findings can be filtered by.
type filterView struct{ Severities, Sections, Domains []string }

// A powerCount counts the accounts in the groups that hold full power.
type powerCount struct {
	Accounts, Standing, Temporary, Users int
	StandingUsers                        int  // of Standing: users of this forest
	StandingForeign                      int  // of Standing: foreign security principals
	BuiltIn, Disabled                    int  // of Accounts
	AtLeast                              bool // some membership could not be read
}

// A severityBar is the number of failures of one severity.
type severityBar struct {
	Severity control.Severity
	Count    int
	Width    string // per cent of the longest bar
}

// A sectionView is the outcome of one section of the guide.
type sectionView struct {
	Name string
	control.Tally
	Rate    string
	Decided barView
}

func newHTMLView(a *control.Assessment) *htmlView {
	v := &htmlView{A: a, Forest: forestName(a)}
	for _, c := range a.Run.Coverage {
		if c.Complete() {
			v.Read = append(v.Read, c)
		} else {
			v.Gaps = append(v.Gaps, c)
		}
	}
	v.Power = countPower(a)
	v.Headline = headline(v.Power)
	v.Sentences = sentences(a)
	s := a.Summary
	v.Outcomes = newBar(seg{"pass", s.Pass}, seg{"fail", s.Fail}, seg{"excepted", s.Excepted}, seg{"unknown", s.Unknown})
	v.Severity = severityBars(a)
	v.Groups = populations(a)
	for _, g := range v.Groups {
		if !g.Card {
			v.Empty = append(v.Empty, g)
		}
	}
	v.Control = newControlView(a)
	v.Maps = heatMaps(a)
	for _, name := range sectionNames(a) {
		t := s.BySection[name]
		v.Sections = append(v.Sections, sectionView{name, t, passRate(t), newBar(seg{"pass", t.Pass}, seg{"fail", t.Fail})})
	}
	v.Blocks, v.Shown = findingBlocks(a)
	v.First = firstSteps(v.Blocks)
	v.Filters = filters(a)
	linkHostSets(v)
	return v
}

// fullPower reports whether a group is Enterprise Admins, Domain Admins or
// Administrators, which the guide treats as one level of power.
func fullPower(p control.Population) bool { return fullPowerSID(p.SID) }

func fullPowerSID(sid string) bool {
	return strings.HasSuffix(sid, "-519") || strings.HasSuffix(sid, "-512") || sid == "S-1-5-32-544"
}

// countPower counts distinct accounts over the groups with full power. An account
// is standing if it is so in any of them.
func countPower(a *control.Assessment) powerCount {
	var n powerCount
	standing, kind := map[string]bool{}, map[string]string{}
	builtIn, disabled := map[string]bool{}, map[string]bool{}
	for _, p := range a.Population {
		if !fullPower(p) {
			continue
		}
		n.AtLeast = n.AtLeast || len(p.Unknown) > 0
		for _, m := range p.Members {
			id := m.SID
			if id == "" {
				id = strings.ToLower(m.DN)
			}
			standing[id], kind[id] = standing[id] || !m.Temporary, m.Kind
			if strings.HasPrefix(m.SID, "S-1-5-21-") && strings.HasSuffix(m.SID, "-500") {
				builtIn[id] = true
			}
			if !m.Enabled && !m.Unsure {
				disabled[id] = true
			}
		}
	}
	n.Accounts, n.BuiltIn, n.Disabled = len(standing), len(builtIn), len(disabled)
	for id, is := range standing {
		switch {
		case !is:
			n.Temporary++
			continue
		case kind[id] == "user":
			n.StandingUsers++
		case kind[id] == "foreign":
			n.StandingForeign++
		}
		n.Standing++
	}
	for _, d := range a.Run.Domains {
		n.Users += d.Users
	}
	return n
}

// Others counts what stands in the groups and is neither user nor foreign
// security principal: computers and service accounts.
func (n powerCount) Others() int { return n.Standing - n.StandingUsers - n.StandingForeign }

// headline says how many accounts hold full power, and which of them the guide
// wants there.
func headline(n powerCount) string {
	var among []string
	switch {
	case n.BuiltIn == 1:
		among = append(among, "the built-in Administrator, who belongs there,")
	case n.BuiltIn > 1:
		among = append(among, thousands(n.BuiltIn)+" built-in Administrators, who belong there,")
	}
	if n.Disabled > 0 {
		among = append(among, plural(n.Disabled, "disabled account", "disabled accounts"))
	}
	text := countText(n)
	if len(among) > 0 {
		text += " That includes " + strings.TrimSuffix(strings.Join(among, " and "), ",") + "."
	}
	return text
}

func countText(n powerCount) string {
	least := ""
	if n.AtLeast {
		least = "At least "
	}
	switch {
	case n.Accounts == 0 && n.AtLeast:
		return "The membership of the most powerful groups could not be read completely."
	case n.Accounts == 0:
		return "No account holds full power over this forest through its administrative groups."
	case n.Accounts == 1 && n.Standing == 1:
		return least + "1 account permanently holds full power over this forest."
	case n.Standing == n.Accounts:
		return fmt.Sprintf("%s%s accounts hold full power over this forest, all of them permanently.", least, thousands(n.Accounts))
	case n.Standing == 0:
		return fmt.Sprintf("%s%s full power over this forest, none of them permanently.", least, plural(n.Accounts, "account holds", "accounts hold"))
	}
	return fmt.Sprintf("%s%s accounts hold full power over this forest, %s of them permanently.", least, thousands(n.Accounts), thousands(n.Standing))
}

// sentences say what the numbers mean, for readers who stop after them.
func sentences(a *control.Assessment) []string {
	s := a.Summary
	total := s.Pass + s.Fail + s.Unknown + s.Excepted
	out := []string{"Enterprise Admins, Domain Admins and Administrators are one level of power: whoever is in one can take the others. The guide keeps them empty day to day, but for the built-in Administrator of each domain, and fills them for minutes when they are needed."}
	if n := a.Paths.CertainTotal; n > 0 {
		out = append(out, fmt.Sprintf("Membership is not all: %s can take that power by other rights, see Effective control.", plural(n, "account, group or identity outside the protected groups", "accounts, groups and identities outside the protected groups")))
	}
	checks := fmt.Sprintf("Of %s, %s passed and %s failed", plural(total, "check", "checks"), thousands(s.Pass), thousands(s.Fail))
	if s.Excepted > 0 {
		checks += fmt.Sprintf("; %s accepted by an exception with an end", plural(s.Excepted, "more failure is", "more failures are"))
	}
	out = append(out, checks+".")
	if n := s.BySeverity[control.Critical]; n > 0 {
		out = append(out, plural(n, "failure is critical: a direct way", "failures are critical: each a direct way")+" to power over the forest.")
	}
	if s.Unknown > 0 {
		out = append(out, plural(s.Unknown, "check", "checks")+" could not be decided, because something was missing that only another reading can supply. They are neither passed nor failed.")
	}
	return out
}

func severityBars(a *control.Assessment) []severityBar {
	most := 1
	for _, n := range a.Summary.BySeverity {
		most = max(most, n)
	}
	var out []severityBar
	for _, s := range severities() {
		n := a.Summary.BySeverity[s]
		out = append(out, severityBar{s, n, share(n, most)})
	}
	return out
}

func filters(a *control.Assessment) filterView {
	sections, domains := map[string]bool{}, map[string]bool{}
	for _, f := range a.Findings {
		sections[f.Section] = true
		domains[f.Subject.Domain] = true
	}
	v := filterView{Sections: keys(sections), Domains: keys(domains)}
	sort.Slice(v.Sections, func(i, j int) bool { return sectionOrder(v.Sections[i]) < sectionOrder(v.Sections[j]) })
	for _, s := range severities() {
		v.Severities = append(v.Severities, string(s))
	}
	return v
}

func keys(m map[string]bool) []string {
	var out []string
	for k := range m {
		if k != "" {
			out = append(out, k)
		}
	}
	sort.Strings(out)
	return out
}
