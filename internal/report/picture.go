package report

import (
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/leastwise/leastwise/internal/control"
)

// A seg is a part of a bar: the class that colours it and its number.
type seg struct {
	Class string
	Count int
}

// A barView is a horizontal bar of segments that fill its width.
type barView struct {
	Label string // for readers who do not see it
	Parts []barPart
}

type barPart struct {
	seg
	X, W string // per cent of the width
}

// newBar lays segments side by side. Every segment that is not empty is at least
// one per cent wide, so that a few failures among many passes can be seen.
func newBar(segs ...seg) barView {
	const least = 1.0
	total, small, rest := 0, 0.0, 0
	for _, s := range segs {
		total += s.Count
	}
	var b barView
	var words []string
	for _, s := range segs {
		if s.Count == 0 {
			continue
		}
		words = append(words, fmt.Sprintf("%s %s", thousands(s.Count), s.Class))
		if 100*float64(s.Count)/float64(total) < least {
			small += least
		} else {
			rest += s.Count
		}
	}
	x := 0.0
	for _, s := range segs {
		if s.Count == 0 {
			continue
		}
		w := least
		if 100*float64(s.Count)/float64(total) >= least {
			w = (100 - small) * float64(s.Count) / float64(rest)
		}
		b.Parts = append(b.Parts, barPart{s, perCent(x), perCent(w)})
		x += w
	}
	b.Label = strings.Join(words, ", ")
	if b.Label == "" {
		b.Label = "nothing to show"
	}
	return b
}

func perCent(f float64) string { return strconv.FormatFloat(f, 'f', 2, 64) + "%" }

// share is part of whole as a width, at least one per cent unless part is 0.
func share(part, whole int) string {
	if part == 0 {
		return "0%"
	}
	return perCent(max(1, 100*float64(part)/float64(whole)))
}

// A popView is the picture of a privileged group: one square per account.
type popView struct {
	control.Population
	ID       string
	Full     bool // one of the three groups with full power
	Card     bool // has a picture; small groups that are surely empty do not
	Nested   int  // standing members that come through other groups
	Straight int  // standing members that are in the group itself
	Disabled int
	Squares  []square
	Height   int
	Per      int // accounts per square
	Label    string
	Listed   []control.Member
}

type square struct {
	Class string
	X, Y  int
}

// The squares are laid out in rows of perRow, pitch apart (user units).
const (
	perRow     = 20
	pitch      = 12
	maxSquares = 160
)

// populations orders the groups, those with full power first, and draws them.
func populations(a *control.Assessment) []popView {
	var out []popView
	for i, p := range a.Population {
		v := popView{Population: p, ID: "g-" + strconv.Itoa(i+1), Full: fullPower(p), Listed: p.Members[:min(len(p.Members), maxMembers)]}
		for _, m := range p.Members {
			if !m.Enabled && !m.Unsure {
				v.Disabled++
			}
			switch {
			case m.Temporary:
			case len(m.Chain) > 2:
				v.Nested++
			default:
				v.Straight++
			}
		}
		v.Card = v.Full || v.Effective > 0 || len(v.Unknown) > 0
		v.draw()
		out = append(out, v)
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Full && !out[j].Full })
	return out
}

// draw lays out the squares: direct, nested, then temporary members.
func (v *popView) draw() {
	v.Per = max(1, (v.Effective+maxSquares-1)/maxSquares)
	n := 0
	for _, s := range []seg{{"direct", v.Straight}, {"nested", v.Nested}, {"temporary", v.Temporary}} {
		for range (s.Count + v.Per - 1) / v.Per {
			v.Squares = append(v.Squares, square{s.Class, n % perRow * pitch, n / perRow * pitch})
			n++
		}
	}
	v.Height = max(1, (n+perRow-1)/perRow) * pitch
	v.Label = fmt.Sprintf("%s: %s, %s direct, %s nested, %s temporary", visible(v.Group), plural(v.Effective, "account", "accounts"),
		thousands(v.Straight), thousands(v.Nested), thousands(v.Temporary))
}

// A heatMap is the deny matrix of one role of computers: host sets down,
// principals and rights across.
type heatMap struct {
	Role, Title string
	Principals  []heatColumn
	Rows        []heatRow
	Hidden      int // host sets beyond what the page lists
	Tally       control.Tally
}

type heatColumn struct {
	Name   string
	Rights []right
}

// A right is a user right with the names that people use for it.
type right struct{ ID, Short, Words string }

type heatRow struct {
	Hosts control.Subject
	Link  string // anchor of a finding about these hosts
	Cells []heatCell
	fails int
}

type heatCell struct {
	Outcome control.Outcome // "" if not demanded
	First   bool            // first right of its principal
}

// userRights are the rights that the guide speaks of, in the order of its tables.
func userRights() []right {
	return []right{
		{"SeDenyNetworkLogonRight", "N", "deny access over the network"},
		{"SeDenyBatchLogonRight", "B", "deny log on as a batch job"},
		{"SeDenyServiceLogonRight", "S", "deny log on as a service"},
		{"SeDenyInteractiveLogonRight", "L", "deny log on locally"},
		{"SeDenyRemoteInteractiveLogonRight", "R", "deny log on through Remote Desktop"},
		{"SeNetworkLogonRight", "n+", "may access over the network"},
		{"SeInteractiveLogonRight", "l+", "may log on locally"},
		{"SeRemoteInteractiveLogonRight", "r+", "may log on through Remote Desktop"},
	}
}

// heatMaps makes a map for each role of computers that the matrix has.
func heatMaps(a *control.Assessment) []heatMap {
	titles := map[string]string{"workstation": "Workstations", "server": "Member servers", "domain-controller": "Domain controllers", "exempt": "Exempt computers (jump servers)"}
	byRole := map[string][]control.MatrixRow{}
	roles := []string{"domain-controller", "server", "workstation", "exempt"}
	for _, r := range a.Matrix {
		if titles[r.Role] == "" {
			titles[r.Role] = visible(r.Role)
			roles = append(roles, r.Role)
		}
		byRole[r.Role] = append(byRole[r.Role], r)
	}
	var out []heatMap
	for _, role := range roles {
		if rows := byRole[role]; len(rows) > 0 {
			out = append(out, newHeatMap(role, titles[role], rows))
		}
	}
	return out
}

func newHeatMap(role, title string, rows []control.MatrixRow) heatMap {
	m := heatMap{Role: role, Title: title, Principals: heatColumns(rows)}
	index := map[string]int{}
	cells := map[string]map[string]control.Outcome{}
	for _, r := range rows {
		key := r.Hosts.DN + "\x00" + r.Hosts.Scope
		if _, ok := index[key]; !ok {
			index[key] = len(m.Rows)
			m.Rows = append(m.Rows, heatRow{Hosts: r.Hosts})
		}
		cells[key+"\x00"+r.Principal] = r.Cells
	}
	for i := range m.Rows {
		row := &m.Rows[i]
		key := row.Hosts.DN + "\x00" + row.Hosts.Scope
		for _, p := range m.Principals {
			for n, right := range p.Rights {
				o := cells[key+"\x00"+p.Name][right.ID]
				row.Cells = append(row.Cells, heatCell{o, n == 0})
				switch o {
				case control.Pass:
					m.Tally.Pass++
				case control.Fail:
					m.Tally.Fail++
					row.fails++
				case control.Unknown:
					m.Tally.Unknown++
				}
			}
		}
	}
	if len(m.Rows) > maxHostSets {
		sort.SliceStable(m.Rows, func(i, j int) bool { return m.Rows[i].fails > m.Rows[j].fails })
		m.Hidden = len(m.Rows) - maxHostSets
		m.Rows = m.Rows[:maxHostSets]
	}
	return m
}

// heatColumns lists the principals in order of appearance, each with the rights
// that are demanded of it somewhere.
func heatColumns(rows []control.MatrixRow) []heatColumn {
	var out []heatColumn
	demanded := map[string]map[string]bool{}
	for _, r := range rows {
		if demanded[r.Principal] == nil {
			demanded[r.Principal] = map[string]bool{}
			out = append(out, heatColumn{Name: r.Principal})
		}
		for id := range r.Cells {
			demanded[r.Principal][id] = true
		}
	}
	kept := out[:0]
	for _, c := range out {
		left := demanded[c.Name]
		for _, known := range userRights() {
			if left[known.ID] {
				c.Rights = append(c.Rights, known)
				delete(left, known.ID)
			}
		}
		for _, id := range keys(left) {
			c.Rights = append(c.Rights, right{id, id, id})
		}
		if len(c.Rights) > 0 {
			kept = append(kept, c)
		}
	}
	return kept
}

// linkHostSets points each row of the heat maps at the first finding about it.
func linkHostSets(v *htmlView) {
	first := map[string]string{}
	for _, b := range v.Blocks {
		for _, g := range b.Groups {
			for _, f := range g.Items {
				key := f.F.Subject.DN + "\x00" + f.F.Subject.Scope
				if f.F.Subject.Kind == "hosts" && first[key] == "" {
					first[key] = f.ID
				}
			}
		}
	}
	for i := range v.Maps {
		for j := range v.Maps[i].Rows {
			r := &v.Maps[i].Rows[j]
			r.Link = first[r.Hosts.DN+"\x00"+r.Hosts.Scope]
		}
	}
}
