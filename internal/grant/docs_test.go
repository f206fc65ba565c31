package grant

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what is generated")

const mark = "<!-- generated -->\n"

// The reference and the drawing are what the table says.
func TestDocs(t *testing.T) {
	reference, err := os.ReadFile("../../docs/GRANTS.md")
	if err != nil {
		t.Fatal(err)
	}
	head, _, ok := strings.Cut(string(reference), mark)
	if !ok {
		t.Fatal("docs/GRANTS.md has no mark for what is generated")
	}
	for name, want := range map[string]string{"../../docs/GRANTS.md": head + mark + tableText(), "../../docs/grants-states.svg": drawing()} {
		if *update {
			if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, []byte(want)) {
			t.Errorf("%s is not what the table says (%v): run go test ./internal/grant -run TestDocs -update", name, err)
		}
	}
}

// tableText lists the transitions, joining those that differ in the state only.
func tableText() string {
	var b strings.Builder
	b.WriteString("\n| from | event | to | if | guards | effects |\n|---|---|---|---|---|---|\n")
	for _, t := range Transitions() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", t.From, t.Event, t.To, t.When, strings.Join(t.Guards, "; "), strings.Join(t.Effects, "; "))
	}
	b.WriteString("\nWhatever is not in the table is refused: the caller is told what to do instead, and the refusal is in the log.\n")
	return b.String()
}

// places of the states in the drawing.
func places() map[State][2]int {
	return map[State][2]int{
		None: {80, 60}, Requested: {280, 60}, Scheduled: {280, 190}, Approved: {480, 60}, Activating: {680, 60}, Active: {880, 60},
		Ending: {880, 320}, UnderReview: {680, 450}, Ended: {880, 450}, Denied: {80, 320}, Cancelled: {240, 320}, Expired: {400, 320}, Failed: {600, 320},
	}
}

// drawing is the state diagram: one arrow for each pair of states, with its events.
func drawing() string {
	type pair struct{ from, to State }
	events := map[pair][]string{}
	var order []pair
	for _, t := range Transitions() {
		p := pair{t.From, t.To}
		if t.From == t.To {
			continue
		}
		if events[p] == nil {
			order = append(order, p)
		}
		if !slices.Contains(events[p], string(t.Event)) {
			events[p] = append(events[p], string(t.Event))
		}
	}
	var b strings.Builder
	b.WriteString(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 980 510" font-family="sans-serif" font-size="13" role="img" aria-label="States of a grant">
<style>rect{fill:#fff;stroke:#333}path{fill:none;stroke:#777}text{text-anchor:middle;fill:#111}@media(prefers-color-scheme:dark){rect{fill:#222;stroke:#ccc}path{stroke:#999}text{fill:#eee}}</style>
<defs><marker id="a" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0 8 4 0 8z" style="fill:#777"/></marker></defs>
`)
	at := places()
	for _, p := range order {
		x1, y1, x2, y2 := arrow(at[p.from], at[p.to])
		fmt.Fprintf(&b, "<path d=\"M%d %d L%d %d\" marker-end=\"url(#a)\"><title>%s to %s: %s</title></path>\n", x1, y1, x2, y2, p.from, p.to, strings.Join(events[p], ", "))
	}
	for _, s := range States() {
		x, y := at[s][0], at[s][1]
		fmt.Fprintf(&b, "<rect x=\"%d\" y=\"%d\" width=\"110\" height=\"34\" rx=\"8\"/><text x=\"%d\" y=\"%d\">%s</text>\n", x-55, y-17, x, y+5, s)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// arrow cuts the line between two centres at the borders of their boxes.
func arrow(a, b [2]int) (x1, y1, x2, y2 int) {
	dx, dy := b[0]-a[0], b[1]-a[1]
	cut := func() (int, int) {
		w, h := 58, 20
		if abs(dx)*h > abs(dy)*w {
			return w * dx / abs(dx), w * dy / abs(dx)
		}
		return h * dx / abs(dy), h * dy / abs(dy)
	}
	ox, oy := cut()
	return a[0] + ox, a[1] + oy, b[0] - ox, b[1] - oy
}

func abs(n int) int { return max(n, -n) }
