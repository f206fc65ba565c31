package operator_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/operator"
)

// The table of actions and the example in docs/FORMATS.md are those of the code.
func TestDocs(t *testing.T) {
	raw, err := os.ReadFile("../../docs/FORMATS.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for _, r := range operator.Rules() {
		var kinds []string
		for _, k := range r.On {
			kinds = append(kinds, string(k))
		}
		word := func(yes bool, a, b string) string {
			if yes {
				return a
			}
			return b
		}
		row := fmt.Sprintf("| `%s` | %s | %s |%s| %s | %s |", r.Action, strings.Join(kinds, ", "), r.About,
			word(r.StepUp, " needed ", " "), word(r.Tokens, "may", "never"), word(r.Live, "each time", "within 30 s"))
		if !strings.Contains(text, row) {
			t.Errorf("docs/FORMATS.md lacks\n%s", row)
		}
	}
	_, rest, ok := strings.Cut(text, "```cedar\n")
	example, _, _ := strings.Cut(rest, "```")
	p, err := operator.ParsePolicies("FORMATS.md", []byte(example))
	if !ok || err != nil || len(p.List()) != 2 {
		t.Errorf("the example: %v", err)
	}
	for _, k := range operator.Kinds() {
		if !strings.Contains(text, "`"+string(k)+"`") {
			t.Errorf("docs/FORMATS.md lacks the kind %s", k)
		}
	}
	schema := operator.Schema()
	for _, c := range []string{"method", "token", "secondFactor", "steppedUp", "factor", "from", "now", "since", "owner", "concerned"} {
		if !strings.Contains(schema, "  "+c+":") || !strings.Contains(text, "`"+c+"`") {
			t.Errorf("docs/FORMATS.md or the schema lack context.%s", c)
		}
	}
}
