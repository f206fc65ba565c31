package report

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/leastwise/leastwise/internal/control"
)

// A controlView is the part of the HTML report about effective control.
type controlView struct {
	P         *control.ControlPaths
	Sentences []string
	Groups    []groupPower
	Picture   *wayPicture
	Ways      []wayView
	Hidden    int // ways that are not listed
	Chokes    []chokeView
	Lesser    []chokeView // those that cut off one only, if others cut off more
	Cut       []removalView
	CutHidden int
	Unread    []string
	Further   []string // of what was not read: those after the first few
}

// A groupPower sets those who can become members of a group beside its members.
type groupPower struct {
	control.Population
	Peers int // can become members, and hold Tier 0 in another way already
	Bar   barView
}

// A wayView is one principal's way.
type wayView struct {
	control.Way
	ID    string
	Maybe []string // conditions; none if the way is certain
	First string   // its first step
	Steps []stepView
}

// A stepView is a step with what must be gained first.
type stepView struct {
	Step   control.WayStep
	Facts  []string // entries and attributes
	First  [][]stepView
	Remove string
}

// A chokeView is a choke point with its rank.
type chokeView struct {
	control.ChokePoint
	Do    removalView
	Rank  int
	Names []string
	More  int    // of Principals: not in Names
	Width string // per cent of the longest bar
}

// Limits of the part about effective control.
const (
	maxWaysListed = 60
	maxChokeNames = 4
	fewUnread     = 12
	fewChokes     = 5 // are shown even if each cuts off one only
	maxCutListed  = 60
)

func newControlView(a *control.Assessment) controlView {
	p := &a.Paths
	v := controlView{P: p, Sentences: controlSentences(a), Picture: newWayPicture(p)}
	few := min(len(p.Unread), fewUnread)
	v.Unread, v.Further = p.Unread[:few], p.Unread[few:]
	for _, g := range a.Population {
		v.Groups = append(v.Groups, newGroupPower(g))
	}
	for _, list := range [][]control.Way{p.Certain, p.Possible} {
		for _, way := range list {
			if len(v.Ways) < maxWaysListed && len(way.Steps) > 0 {
				v.Ways = append(v.Ways, newWayView(way, len(v.Ways)+1))
			}
		}
	}
	v.Hidden = max(0, p.CertainTotal+p.PossibleTotal-len(v.Ways))
	most := 1
	for _, c := range p.Chokes {
		most = max(most, c.Principals)
	}
	for i, c := range p.Chokes {
		if i >= fewChokes && c.Principals == 1 {
			v.Lesser = append(v.Lesser, newChokeView(c, i+1, most))
			continue
		}
		v.Chokes = append(v.Chokes, newChokeView(c, i+1, most))
	}
	for _, r := range p.Cut.Removals[:min(len(p.Cut.Removals), maxCutListed)] {
		v.Cut = append(v.Cut, newRemovalView(r))
	}
	v.CutHidden = len(p.Cut.Removals) - len(v.Cut)
	return v
}

func newGroupPower(g control.Population) groupPower {
	v := groupPower{Population: g, Peers: max(0, g.Control.Certain-g.Control.Outside)}
	v.Bar = newBar(seg{"direct", g.Effective}, seg{"peer", v.Peers}, seg{"gain", g.Control.Outside}, seg{"maybe", g.Control.Possible})
	v.Bar.Label = fmt.Sprintf("%s: %s, %s of other protected groups, %s outside them, %s under conditions",
		visible(g.Group), plural(g.Effective, "member", "members"), thousands(v.Peers), thousands(g.Control.Outside), thousands(g.Control.Possible))
	return v
}

func newWayView(way control.Way, number int) wayView {
	first := way.Steps[0]
	return wayView{
		Way: way, ID: "way-" + strconv.Itoa(number), Maybe: conditions(way.Steps),
		First: first.Text + " " + first.To.Name, Steps: stepViews(way.Steps),
	}
}

func stepViews(steps []control.WayStep) []stepView {
	var out []stepView
	for _, st := range steps {
		v := stepView{Step: st, Remove: st.Remove}
		for _, e := range st.Evidence {
			if text := evidenceWords(e); text != "" {
				v.Facts = append(v.Facts, text)
			}
		}
		for _, f := range st.First {
			v.First = append(v.First, stepViews(f))
		}
		out = append(out, v)
	}
	return out
}

func newChokeView(c control.ChokePoint, rank, most int) chokeView {
	v := chokeView{ChokePoint: c, Do: newRemovalView(c.Removal), Rank: rank, Width: share(c.Principals, most)}
	for _, p := range c.Sample[:min(len(c.Sample), maxChokeNames)] {
		v.Names = append(v.Names, p.Name)
	}
	v.More = c.Principals - len(v.Names)
	return v
}

// A removalView is something to take away, in short, with what exactly it is.
type removalView struct {
	Do    string
	Exact []string // entry, distinguished names, attribute
	Lost  string
}

func newRemovalView(r control.Removal) removalView {
	v := removalView{Do: r.Text, Lost: r.Lost}
	switch {
	case r.Entry != nil:
		v.Do = fmt.Sprintf("Remove entry %d from the DACL of %s", *r.Entry, r.Object.Name)
		v.Exact = []string{r.SDDL, r.Object.Label()}
	case r.Member != nil && r.Kind == "member":
		v.Do = "Remove " + r.Member.Name + " from the members of " + r.Object.Name
		v.Exact = []string{r.Member.Label(), r.Object.Label()}
	case r.Member != nil:
		v.Exact = []string{r.Member.Label()}
	case r.Detail == "":
		v.Do = strings.ReplaceAll(r.Text, r.Object.Label(), r.Object.Name)
		v.Exact = []string{r.Object.Label()}
	default:
		v.Do = strings.TrimSuffix(r.Text, " ("+r.Detail+")")
		v.Exact = []string{r.Object.Label(), r.Detail}
	}
	if v.Do != "" {
		v.Do = strings.ToUpper(v.Do[:1]) + v.Do[1:]
	}
	return v
}

// controlSentences say who can gain Tier 0 beyond its members.
func controlSentences(a *control.Assessment) []string {
	p := &a.Paths
	if len(p.Goals) == 0 {
		return []string{nothingOf(p.Target)}
	}
	var out []string
	switch {
	case p.CertainTotal == 0 && p.UnreadTotal > 0:
		out = append(out, "In what was read, nobody outside the protected groups surely can gain Tier 0.")
	case p.CertainTotal == 0:
		out = append(out, "Nobody outside the protected groups surely can gain Tier 0.")
	default:
		out = append(out, fmt.Sprintf("Besides the members of the protected groups, %s can gain Tier 0 by rights, links and policies that are in force.",
			plural(p.CertainTotal, "account, group or identity", "accounts, groups and identities")))
	}
	if p.PossibleTotal > 0 {
		out = append(out, plural(p.PossibleTotal, "further one can", "further ones can")+" do so if something holds that the directory does not tell: possible is not certain, and stands apart.")
	}
	if n := len(p.Cut.Removals); n > 0 {
		out = append(out, plural(n, "change closes", "changes close")+" every certain way of the accounts and groups among them.")
	}
	if p.UnreadTotal > 0 {
		out = append(out, plural(p.UnreadTotal, "thing was", "things were")+" not read on which further ways may rest.")
	}
	return out
}

// controlOverview writes a short block about effective control for a terminal.
func (p *page) controlOverview(a *control.Assessment) {
	paths := &a.Paths
	p.heading("Effective control: who can gain " + visible(paths.Target) + " without being a member")
	p.line("%s", strings.Join(controlSentences(a), " "))
	var rows [][]cellInk
	add := func(list []control.Way) {
		for _, way := range list {
			if len(rows) < maxOverview && len(way.Steps) > 0 {
				first := way.Steps[0]
				rows = append(rows, []cellInk{
					{visible(way.Principal.Name), ""},
					{strconv.Itoa(len(way.Steps)), ""},
					{first.Text + " " + visible(first.To.Name), ""},
					{strings.Join(conditions(way.Steps), "; "), yellow},
				})
			}
		}
	}
	add(paths.Certain)
	add(paths.Possible)
	if len(rows) > 0 {
		p.grid([]string{"Principal", "Steps", "First step", "If"}, rows)
	}
	if total := paths.CertainTotal + paths.PossibleTotal; total > len(rows) {
		p.line("%d of %d listed; leastwise who-can tier0 lists all.", len(rows), total)
	}
	rows = nil
	for _, c := range paths.Chokes[:min(len(paths.Chokes), maxOverview/2)] {
		rows = append(rows, plain(strconv.Itoa(c.Principals), visible(c.Text), visible(c.Lost)))
	}
	if len(rows) > 0 {
		p.line("Choke points: what cuts off most accounts and groups, members included, if it is taken away")
		p.grid([]string{"Cuts off", "Take away", "Lost with it"}, rows)
	}
	for _, u := range paths.Unread[:min(len(paths.Unread), maxOverview/2)] {
		p.line("%s %s", p.ink(yellow, "not read:"), visible(u))
	}
	if more := paths.UnreadTotal - min(len(paths.Unread), maxOverview/2); more > 0 {
		p.line("… and %d more that were not read; the JSON output has them (control_paths).", more)
	}
}

// maxOverview is how many principals the text output lists.
const maxOverview = 10
