package control

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// bomb is a few lines that stand for a thousand million entries.
func bomb(key string) string {
	var b strings.Builder
	b.WriteString("a: &a [" + strings.Repeat("x,", 9) + "x]\n")
	for c := 'b'; c < 'k'; c++ {
		fmt.Fprintf(&b, "%c: &%c [%s*%c]\n", c, c, strings.Repeat(fmt.Sprintf("*%c,", c-1), 9), c-1)
	}
	return b.String() + key + ": *j\n"
}

// What people write as YAML is refused before it can take the memory, with the line.
func TestYAMLBombs(t *testing.T) {
	snapshot, err := os.ReadFile("../../examples/contoso.lws")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"bomb":     {bomb("zones"), "f.yaml:1: anchors, aliases and merge keys"},
		"merge":    {"zones:\n- <<: {name: a}\n", "f.yaml:2: anchors, aliases and merge keys"},
		"brackets": {"zones:\n " + strings.Repeat("[", 100_000), "f.yaml:2: nested more than 64 deep"},
		"braces":   {"zones: " + strings.Repeat("{a: ", 100_000), "f.yaml:1: nested more than 64 deep"},
		"entries":  {"zones:\n" + strings.Repeat("- ", 100_000), "f.yaml:2: nested more than 64 deep"},
		"keys":     {"zones:\n" + strings.Repeat("? ", 100_000), "f.yaml:2: nested more than 64 deep"},
		"indent":   {"zones:\n" + strings.Repeat(" ", 300) + "- a", "f.yaml:2: indented more than 256 deep"},
		"large":    {strings.Repeat("#", maxSourceBytes+1), "f.yaml: larger than 4194304 bytes"},
		"snapshot": {string(snapshot), "f.yaml: it is a snapshot, where YAML is expected"},
		"bytes":    {"zones:\x00", "f.yaml: it is no text in UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			_, zones := ParseZones("f.yaml", []byte(c.text))
			_, exceptions := ParseExceptions("f.yaml", []byte(c.text))
			_, catalogue := parseSource(Source{Name: "f.yaml", Data: []byte(c.text)})
			for _, err := range []error{zones, exceptions, catalogue} {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, want %q", err, c.want)
				}
			}
		})
	}
	for _, text := range []string{"", "a: '&b'\n", "a: \"*b\"\n", "a: b & c\n", strings.Repeat("- [a, {b: c}]\n", 1000), "a: |\n  [[[[ &x\n"} {
		if err := CheckYAML("f.yaml", []byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}
