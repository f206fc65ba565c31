package cli

import (
	"testing"

	"github.com/leastwise/leastwise/internal/reach"
)

// A certain way is not lost behind many shorter ones that are only possible.
func TestSeveral(t *testing.T) {
	sure, maybe := reach.Path{{}, {}, {}}, reach.Path{{If: "a password can be guessed"}}
	for name, c := range map[string]struct {
		best  reach.Path
		found []reach.Path
		want  []bool // certain
	}{
		"only possible ones found": {sure, []reach.Path{maybe, maybe}, []bool{false, true}},
		"room is left":             {sure, []reach.Path{maybe}, []bool{false, true}},
		"it was found":             {sure, []reach.Path{maybe, sure}, []bool{false, true}},
		"none is certain":          {maybe, []reach.Path{maybe, maybe}, []bool{false, false}},
		"none was found":           {maybe, nil, []bool{false}},
	} {
		got := several(c.best, c.found, 2)
		if len(got) != len(c.want) {
			t.Errorf("%s: %d ways, want %d", name, len(got), len(c.want))
			continue
		}
		for i, p := range got {
			if p.Certain() != c.want[i] {
				t.Errorf("%s: way %d is certain: %v", name, i, p.Certain())
			}
		}
	}
}
