package report

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/leastwise/leastwise/internal/control"
)

// randomWays are ways as a search gives them: each place has one next step. Some are
// only possible.
func randomWays(seed uint64, principals int) *control.ControlPaths {
	r := rand.New(rand.NewPCG(seed, 7))
	p := &control.ControlPaths{Target: "Tier 0", CertainTotal: 0}
	at := func(i int) control.Place {
		return control.Place{Name: fmt.Sprintf(`CONTOSO\p%d`, i), DN: fmt.Sprintf("CN=p%d,DC=test", i), Class: []string{"user", "group"}[i%2]}
	}
	goals := 1 + r.IntN(3)
	for i := range goals {
		p.Goals = append(p.Goals, at(i))
	}
	ways, maybe := make([][]control.WayStep, goals), make([]bool, goals)
	for i := goals; i < goals+principals; i++ {
		next := r.IntN(i)
		if r.IntN(2) == 0 {
			next = max(0, i-1-r.IntN(min(i, 3))) // long ways
		}
		st := control.WayStep{From: at(i), To: at(next), Kind: "member", Text: "is a member of"}
		unsure := maybe[next]
		if r.IntN(9) == 0 {
			st.If, unsure = "the user logs on", true
		}
		ways, maybe = append(ways, append([]control.WayStep{st}, ways[next]...)), append(maybe, unsure)
		if unsure {
			p.Possible = append(p.Possible, control.Way{Principal: at(i), Steps: ways[i]})
		} else {
			p.Certain = append(p.Certain, control.Way{Principal: at(i), Steps: ways[i]})
		}
	}
	p.CertainTotal, p.PossibleTotal = len(p.Certain), len(p.Possible)
	return p
}

func overlap(a, b box) bool {
	return a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H
}

// Boxes never overlap, lie inside the picture and are few; every principal is drawn or
// counted as not drawn; the same ways give the same picture.
func TestWayPicture(t *testing.T) {
	for seed := range uint64(60) {
		p := randomWays(seed, 1+int(seed*seed)%400)
		pic := newWayPicture(p)
		if !reflect.DeepEqual(pic, newWayPicture(p)) {
			t.Fatalf("seed %d: two pictures of the same ways differ", seed)
		}
		if pic.Shown < 1 || pic.Shown+pic.Hidden != p.CertainTotal+p.PossibleTotal {
			t.Errorf("seed %d: %d shown and %d hidden of %d", seed, pic.Shown, pic.Hidden, p.CertainTotal+p.PossibleTotal)
		}
		if pic.Columns > maxWaySteps+1 || pic.Height > 2*pictureEdge+bandHead+maxRows*rowHeight {
			t.Errorf("seed %d: %d columns, %d high", seed, pic.Columns, pic.Height)
		}
		frame := box{0, 0, pic.Width, pic.Height}
		for i, a := range pic.Boxes {
			if a.X < 0 || a.Y < 0 || a.X+a.W > frame.W || a.Y+a.H > frame.H {
				t.Errorf("seed %d: %s is outside", seed, a.Name)
			}
			if (a.Class == "goal") != overlap(a.box, pic.Goals) {
				t.Errorf("seed %d: %s of class %s stands in the wrong column", seed, a.Name, a.Class)
			}
			for _, b := range pic.Boxes[i+1:] {
				if overlap(a.box, b.box) {
					t.Errorf("seed %d: %s and %s overlap", seed, a.Name, b.Name)
				}
			}
			for _, l := range pic.Lines {
				for _, label := range append(l.Above, l.Below...) {
					text := box{label.X, label.Y - 9, 6 * len(label.Text), 11}
					if overlap(a.box, text) {
						t.Errorf("seed %d: %q stands on %s", seed, label.Text, a.Name)
					}
				}
			}
		}
		if goals := len(pic.Boxes) - len(pic.Lines); goals < 1 || goals > len(p.Goals) {
			t.Errorf("seed %d: %d boxes without a next one, of %d goals", seed, goals, len(p.Goals))
		}
	}
	if newWayPicture(&control.ControlPaths{}) != nil {
		t.Error("a picture of nothing")
	}
}

// A removal is marked on the step that it closes, and on no other.
func TestRemovalOfStep(t *testing.T) {
	nine, four := 9, 4
	da := control.Place{Name: `CONTOSO\Domain Admins`, DN: "CN=Domain Admins,DC=test"}
	anna := control.Place{Name: `CONTOSO\anna`, DN: "CN=anna,DC=test", SID: "S-1-5-21-1-2-3-1104"}
	ou := control.Place{Name: "Staff", DN: "OU=Staff,DC=test"}
	holder := control.Place{Name: "AdminSDHolder", DN: "CN=AdminSDHolder,CN=System,DC=test"}
	by := func(e control.StepEvidence) control.WayStep {
		return control.WayStep{From: anna, To: da, Kind: "add-member", Evidence: []control.StepEvidence{e}}
	}
	own := control.StepEvidence{Object: da.DN, Entry: &four, SDDL: "(A;;WP;;;S-1-5-21-1-2-3-1104)"}
	inherited := control.StepEvidence{Object: da.DN, Entry: &nine, SDDL: "(A;CIID;WP;;;S-1-5-21-1-2-3-1104)", InheritedFrom: ou.DN}
	member := control.WayStep{From: anna, To: da, Kind: "member"}
	for _, tt := range []struct {
		name string
		r    control.Removal
		st   control.WayStep
		want bool
	}{
		{"the entry", control.Removal{Kind: "add-member", Object: da, Entry: &four, SDDL: own.SDDL}, by(own), true},
		{"the same entry of another object", control.Removal{Kind: "add-member", Object: ou, Entry: &four, SDDL: own.SDDL}, by(own), false},
		{"where it is inherited from", control.Removal{Kind: "add-member", Object: ou, Entry: &four, SDDL: "(A;CI;WP;;;S-1-5-21-1-2-3-1104)"}, by(inherited), true},
		{"another trustee's", control.Removal{Kind: "add-member", Object: ou, Entry: &four, SDDL: "(A;CI;WP;;;S-1-5-21-1-2-3-1105)"}, by(inherited), false},
		{"of AdminSDHolder", control.Removal{Kind: "add-member", Object: holder, Entry: &nine, SDDL: own.SDDL}, by(own), true},
		{"the membership", control.Removal{Kind: "member", Object: da, Member: &anna}, member, true},
		{"another's membership", control.Removal{Kind: "member", Object: da, Member: &ou}, member, false},
		{"the owner", control.Removal{Kind: "owner", Object: da}, control.WayStep{From: anna, To: da, Kind: "owner"}, true},
		{"the owner, not the member", control.Removal{Kind: "owner", Object: da}, member, false},
		{"an attribute", control.Removal{Kind: "delegates", Object: anna, Detail: "HOST/dc1"}, control.WayStep{From: anna, To: da, Kind: "delegates", Evidence: []control.StepEvidence{{Detail: "HOST/dc1"}}}, true},
	} {
		if got := removes(&tt.r, &tt.st); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
