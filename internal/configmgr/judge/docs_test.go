package judge

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/configmgr/language.md")

const languageFile = "../../../docs/configmgr/language.md"

func TestLanguagePageIsCurrent(t *testing.T) {
	want := LanguagePage(builtin(t).Catalogue())
	if *update {
		if err := os.WriteFile(languageFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(languageFile)
	if err != nil || string(got) != want {
		t.Errorf("%s is not current: run go test ./internal/configmgr/judge -run TestLanguagePageIsCurrent -update (%v)", languageFile, err)
	}
}

// TestLanguageIsDocumented demands of every function, field and variable what authors
// need, and that the catalogue uses no function that is not there, nor the language has
// functions that no control uses.
func TestLanguageIsDocumented(t *testing.T) {
	var conditions strings.Builder
	for _, c := range builtin(t).Catalogue().Controls() {
		conditions.WriteString(c.When + " " + c.Condition + "\n")
	}
	for _, f := range functions() {
		if f.doc == "" || f.needs == "" {
			t.Errorf("%s is not documented", f.overload())
		}
		if !strings.Contains(conditions.String(), f.name+"(") {
			t.Errorf("no control calls %s", f.name)
		}
	}
	for name, r := range recordTypes() {
		for _, f := range r.fields {
			if f.doc == "" {
				t.Errorf("%s.%s is not documented", name, f.name)
			}
		}
	}
	for _, v := range variables() {
		if v.doc == "" {
			t.Errorf("%s is not documented", v.name)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	env, err := newEnv()
	if err != nil {
		t.Fatal(err)
	}
	for condition, want := range map[string]string{
		"size(assigned('network-access')) == 0": "size does not see that a list may be incomplete",
		"a.sid in assigned('network-access')":   "in does not see that a list may be incomplete",
		"purposes(a.sid) == ['network-access']": "== does not see",
		"a.colour == 'red'":                     "undefined field 'colour'",
		"tier0(a.name)":                         "no matching overload",
		"setting(site, 'x')":                    "not a boolean",
		"attested('x'":                          "missing ')'",
		"fortune(a.sid)":                        "undeclared reference",
		"assigned('network-access').every(x, !tier0(x)) && days_since(a.name)>1": "no matching overload",
	} {
		if _, err := compile(env, condition); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", condition, err, want)
		}
	}
}
