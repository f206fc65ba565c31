package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/leastwise/leastwise/internal/control"
)

// A wayPicture shows how principals come to Tier 0: boxes in columns, by the number
// of steps that are left, with the goals on the right. Everything in it leads to one
// next box, so that the picture is a set of trees in which no lines cross.
type wayPicture struct {
	Columns       int
	Width, Height int
	Goals         box // band behind the column of the goals
	Boxes         []wayBox
	Lines         []wayLine
	Shown, Hidden int // principals: drawn by name or in a box of several, and not drawn
	Title, Words  string
}

// A box is a rectangle in user units.
type box struct{ X, Y, W, H int }

// A wayBox is an object, several principals with the same next step, or steps that
// are left out.
type wayBox struct {
	box
	Class string // goal, who (a principal to be looked at), mid, more (steps left out)
	Maybe bool   // everything from here is only possible
	Name  string
	Sub   string
	Title string // all of what Name and Sub cut
	Inner box    // for the text, which it clips
}

// A wayLine is a step.
type wayLine struct {
	D            string // path
	Maybe        bool
	Above, Below []wayLabel
	Cut          int // number in the smallest set of changes that it is part of; 0 if none
	CX, CY       int
}

type wayLabel struct {
	X, Y int
	Text string
}

// Limits and measures of the picture, in user units, which are pixels on a screen.
const (
	maxRows     = 24 // boxes at the left ends
	maxWaySteps = 4  // of longer ways, the first and the last two are drawn
	manyAlike   = 4  // principals with the same next step that become one box
	boxWidth    = 160
	boxHeight   = 40
	gapWidth    = 128
	rowHeight   = 62
	pictureEdge = 14
	bandHead    = 26
	nameColumns = 18
	subColumns  = 23
	stepColumns = 16
)

// A wayNode is a box before it has a place.
type wayNode struct {
	place    control.Place
	alike    []control.Place // for a box of several
	skipped  int             // for steps left out
	goal     bool
	who      bool
	maybe    bool
	step     *control.WayStep // to next; nil for goals
	next     *wayNode
	from     []*wayNode
	column   int // steps to the goal
	row      float64
	y        int
	position int // order of insertion
}

// newWayPicture draws the ways; nil if there are none.
func newWayPicture(p *control.ControlPaths) *wayPicture {
	if len(p.Certain)+len(p.Possible) == 0 {
		return nil
	}
	t := newWayTree(p)
	t.merge()
	t.prune(maxRows)
	shown := t.place()
	pic := &wayPicture{Shown: shown, Hidden: max(0, p.CertainTotal+p.PossibleTotal-shown)}
	t.draw(pic, &p.Cut)
	pic.Title = "Ways to " + visible(p.Target)
	pic.Words = fmt.Sprintf("%s on the left, each with the steps by which it can gain %s on the right. The list below says the same in words.",
		plural(shown, "account, group or identity", "accounts, groups and identities"), visible(p.Target))
	return pic
}

// A wayTree holds the boxes in order of insertion.
type wayTree struct {
	byKey map[string]*wayNode
	nodes []*wayNode
	short bool // there are more ways than are listed
}

// newWayTree takes the steps of all ways, certain ones first. Where ways meet, the
// first one says how it goes on.
func newWayTree(p *control.ControlPaths) *wayTree {
	t := &wayTree{byKey: map[string]*wayNode{}, short: p.CertainTotal+p.PossibleTotal > len(p.Certain)+len(p.Possible)}
	for i := range p.Certain {
		t.add(&p.Certain[i], false)
	}
	for i := range p.Possible {
		t.add(&p.Possible[i], true)
	}
	for _, list := range [][]control.Way{p.Certain, p.Possible} {
		for i := range list {
			if n := t.byKey[placeKey(list[i].Principal)]; n != nil {
				n.who = true
			}
		}
	}
	return t
}

func placeKey(p control.Place) string { return strings.ToLower(p.Label()) + "\x00" + p.SID }

func (t *wayTree) node(key string, p control.Place) *wayNode {
	n := t.byKey[key]
	if n == nil {
		n = &wayNode{place: p, position: len(t.nodes)}
		t.byKey[key] = n
		t.nodes = append(t.nodes, n)
	}
	return n
}

// add puts in one way, up to the first box that already leads on. Long ways lose
// their middle.
func (t *wayTree) add(way *control.Way, maybe bool) {
	steps := way.Steps
	if len(steps) == 0 {
		return
	}
	last := len(steps) - 1
	for i := 0; i < len(steps); i++ {
		st := &steps[i]
		from := t.node(placeKey(st.From), st.From)
		if i == 0 && from.place.Class == "" {
			from.place = way.Principal // which says what an identity is
		}
		if from.goal || from.next != nil {
			return
		}
		from.maybe = maybe
		to := t.node(placeKey(st.To), st.To)
		if len(steps) > maxWaySteps && i == 0 {
			skip := t.node("…"+placeKey(st.From), control.Place{})
			skip.skipped, skip.maybe = len(steps)-maxWaySteps+1, maybe
			i = last - (maxWaySteps - 2)
			to = t.node(placeKey(steps[i].To), steps[i].To)
			from.lead(skip, st)
			skip.lead(to, &control.WayStep{})
		} else {
			from.lead(to, st)
		}
		if i == last {
			to.goal = true
		}
	}
}

func (n *wayNode) lead(to *wayNode, st *control.WayStep) {
	n.next, n.step = to, st
	to.from = append(to.from, n)
}

// merge makes one box of principals that lead to the same by the same step and to
// which nothing leads.
func (t *wayTree) merge() {
	for _, to := range t.nodes {
		groups := map[string][]*wayNode{}
		var order []string
		for _, n := range to.from {
			if len(n.from) > 0 || n.skipped > 0 {
				continue
			}
			key := n.step.Kind + "\x00" + n.step.If + "\x00" + n.place.Class
			if groups[key] == nil {
				order = append(order, key)
			}
			groups[key] = append(groups[key], n)
		}
		for _, key := range order {
			group := groups[key]
			if len(group) < manyAlike {
				continue
			}
			for _, n := range group {
				group[0].alike = append(group[0].alike, n.place)
			}
			for _, n := range group[1:] {
				n.next = nil
				to.from = slices.DeleteFunc(to.from, func(f *wayNode) bool { return f == n })
			}
		}
	}
}

// prune keeps the most important left ends, certain ones and large ones first, with
// all that they lead to.
func (t *wayTree) prune(most int) {
	var ends []*wayNode
	for _, n := range t.nodes {
		if n.next != nil && len(n.from) == 0 {
			ends = append(ends, n)
		}
	}
	slices.SortStableFunc(ends, func(a, b *wayNode) int {
		return cmp.Or(compareBool(a.maybe, b.maybe), cmp.Compare(len(b.alike), len(a.alike)), cmp.Compare(a.position, b.position))
	})
	kept := map[*wayNode]bool{}
	for _, n := range ends[:min(len(ends), most)] {
		for ; n != nil; n = n.next {
			kept[n] = true
		}
	}
	t.nodes = slices.DeleteFunc(t.nodes, func(n *wayNode) bool { return !kept[n] })
	for _, n := range t.nodes {
		n.from = slices.DeleteFunc(n.from, func(f *wayNode) bool { return !kept[f] })
	}
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// place gives every box its column and row and returns how many principals are shown.
func (t *wayTree) place() (shown int) {
	rows := 0
	var lay func(n *wayNode, column int)
	lay = func(n *wayNode, column int) {
		n.column = column
		if n.who {
			shown += max(1, len(n.alike))
		}
		if len(n.from) == 0 {
			n.row = float64(rows)
			rows++
			return
		}
		for _, f := range n.from {
			lay(f, column+1)
		}
		n.row = (n.from[0].row + n.from[len(n.from)-1].row) / 2
	}
	for _, n := range t.nodes {
		if n.next == nil {
			lay(n, 0)
		}
	}
	return shown
}

// draw turns places into rectangles and lines.
func (t *wayTree) draw(pic *wayPicture, cut *control.SmallestCut) {
	columns, rows := 0, 0.0
	for _, n := range t.nodes {
		columns, rows = max(columns, n.column), max(rows, n.row)
	}
	pic.Columns = columns + 1
	pic.Width = 2*pictureEdge + (columns+1)*boxWidth + columns*gapWidth
	pic.Height = 2*pictureEdge + bandHead + int(rows*rowHeight) + boxHeight
	x := func(n *wayNode) int { return pictureEdge + (columns-n.column)*(boxWidth+gapWidth) }
	for _, n := range t.nodes {
		n.y = pictureEdge + bandHead + int(n.row*rowHeight)
		b := n.box(x(n))
		if len(n.alike) > 0 && t.short {
			b.Name = fitText("≥ "+b.Name, nameColumns)
		}
		pic.Boxes = append(pic.Boxes, b)
	}
	right := pic.Width - pictureEdge - boxWidth
	pic.Goals = box{right - 8, 4, boxWidth + 16, pic.Height - 8}
	for _, n := range t.nodes {
		if n.next != nil {
			pic.Lines = append(pic.Lines, n.line(x(n)+boxWidth, x(n.next), cut))
		}
	}
}

func (n *wayNode) box(x int) wayBox {
	b := wayBox{box: box{x, n.y, boxWidth, boxHeight}, Class: "mid", Maybe: n.maybe, Inner: box{x + 12, n.y, boxWidth - 18, boxHeight}}
	domain, name, found := strings.Cut(n.place.Name, `\`)
	if !found {
		domain, name = "", n.place.Name
	}
	if strings.HasPrefix(name, "S-1-") {
		name = "S-1-…" + name[strings.LastIndexByte(name, '-'):]
	}
	sub := className(n.place.Class)
	if domain != "" {
		sub = strings.TrimPrefix(sub+" of "+visible(domain), " of ")
	}
	switch {
	case n.skipped > 0:
		b.Class, name, sub = "more", fmt.Sprintf("… %d more steps …", n.skipped), "see the list below"
	case n.goal && n.next == nil:
		b.Class = "goal"
	case n.who:
		b.Class = "who"
	}
	b.Title = visible(n.place.Label())
	if n.skipped > 0 {
		b.Title = name
	}
	if len(n.alike) > 0 {
		var names []string
		for _, p := range n.alike {
			_, short, found := strings.Cut(p.Name, `\`)
			if !found {
				short = p.Name
			}
			names = append(names, visible(short))
		}
		name, sub = fmt.Sprintf("%d × %s", len(n.alike), cmp.Or(n.place.Class, "principal")), strings.Join(names, ", ")
		b.Title = strings.Join(names[:min(len(names), 40)], ", ")
	}
	b.Title = clip(b.Title, maxText)
	b.Name, b.Sub = fitText(visible(name), nameColumns), fitText(sub, subColumns)
	return b
}

// className is a class in the words of administrators, where these are shorter.
func className(class string) string {
	switch class {
	case "domainDNS":
		return "domain"
	case "organizationalUnit":
		return "OU"
	case "groupPolicyContainer":
		return "policy"
	case "identity":
		return "identity, no account"
	}
	return visible(class)
}

// fitText cuts s to so many columns.
func fitText(s string, columns int) string { return ansi.Truncate(s, columns, "…") }

// line leads from the right edge of n to the left edge of the next box: level, then
// up or down close to it. What the step is stands above the level part, on what it
// depends below.
func (n *wayNode) line(x1, x2 int, cut *control.SmallestCut) wayLine {
	const turn = 8 // radius
	y1, y2 := n.y+boxHeight/2, n.next.y+boxHeight/2
	l := wayLine{Maybe: n.maybe && n.step.If != "", Cut: cutNumber(n.step, cut)}
	trunk := x2 - 24
	d := "M" + strconv.Itoa(x1) + " " + strconv.Itoa(y1)
	switch dy := y2 - y1; {
	case dy == 0:
	case dy > -2*turn && dy < 2*turn:
		d += fmt.Sprintf("H%dL%d %d", trunk-turn, trunk+turn, y2)
	case dy < 0:
		d += fmt.Sprintf("H%dq%d 0 %d %dV%dq0 %d %d %d", trunk-turn, turn, turn, -turn, y2+turn, -turn, turn, -turn)
	default:
		d += fmt.Sprintf("H%dq%d 0 %d %dV%dq0 %d %d %d", trunk-turn, turn, turn, turn, y2-turn, turn, turn, turn)
	}
	l.D = d + fmt.Sprintf("H%d", x2-2)
	text, base := shortStep(n.step.Text), y1-5
	if len(n.step.First) > 0 {
		text = "after more: " + text
	}
	if l.Cut > 0 {
		base = y1 - 12 // clear of the number
	}
	above := wrapText(text, stepColumns, 2)
	for i, s := range above {
		l.Above = append(l.Above, wayLabel{x1 + 6, base - 12*(len(above)-1-i), s})
	}
	if n.step.If != "" {
		for i, s := range wrapText("if "+n.step.If, stepColumns, 2) {
			l.Below = append(l.Below, wayLabel{x1 + 6, y1 + 13 + 12*i, s})
		}
	}
	l.CX, l.CY = trunk-turn-12, y1
	return l
}

// shortStep leaves out the word with which a step's text leads to its object.
func shortStep(text string) string {
	for _, end := range []string{" of", " to", " in", " on", ":"} {
		if short, ok := strings.CutSuffix(text, end); ok {
			return short
		}
	}
	return text
}

// wrapText breaks s into at most so many lines of so many columns.
func wrapText(s string, columns, most int) []string {
	if s == "" {
		return nil
	}
	lines := strings.Split(ansi.Wrap(visible(s), columns, ""), "\n")
	if len(lines) > most {
		lines = append(lines[:most-1:most-1], fitText(strings.Join(lines[most-1:], " "), columns))
	}
	return lines
}

// cutNumber returns which removal of the smallest set, from 1, takes a step away; 0
// if none does.
func cutNumber(st *control.WayStep, cut *control.SmallestCut) int {
	for i := range cut.Removals {
		if removes(&cut.Removals[i], st) {
			return i + 1
		}
	}
	return 0
}

// removes reports whether a removal closes a step: the same membership, owner or
// attribute, or the entry where it is set, of which the step's own may be a copy.
func removes(r *control.Removal, st *control.WayStep) bool {
	switch {
	case r.Member != nil:
		return st.Kind == r.Kind && st.From.DN == r.Member.DN && st.To.DN == r.Object.DN
	case r.Entry == nil && r.Detail == "":
		return st.Kind == r.Kind && st.To.DN == r.Object.DN
	}
	for _, e := range st.Evidence {
		switch {
		case r.Entry == nil:
			if e.Detail == r.Detail && (e.Object == "" || r.Object.DN == "" || e.Object == r.Object.DN) {
				return true
			}
		case e.Entry == nil || !sameEntry(e.SDDL, r.SDDL):
		case e.Object == r.Object.DN && *e.Entry == *r.Entry, e.InheritedFrom == r.Object.DN:
			return true
		case e.InheritedFrom == "" && strings.HasPrefix(r.Object.DN, "CN=AdminSDHolder,CN=System,"):
			return true
		}
	}
	return false
}

// sameEntry reports whether two entries are equal but for the flags of inheritance.
func sameEntry(a, b string) bool {
	x, y := strings.SplitN(a, ";", 3), strings.SplitN(b, ";", 3)
	return len(x) == 3 && len(y) == 3 && x[0] == y[0] && x[2] == y[2]
}
