package app

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestConfigPrecedence(t *testing.T) {
	c := NewConfig()
	if err := c.ReadYAML("f.yaml", []byte("domain: file\ntimeout: 10s\nexempt: [OU=A, 'OU=B']\nsacl: false\n")); err != nil {
		t.Fatal(err)
	}
	if err := c.ReadEnv([]string{"PATH=/bin", "LEASTWISE_DOMAIN=env", "LEASTWISE_PAGE_SIZE=7", "LEASTWISE_PASSWORD=x", "LEASTWISE_CONFIG=y"}, "LEASTWISE_CONFIG"); err != nil {
		t.Fatal(err)
	}
	if err := c.Set("domain", "flag", "flag --domain"); err != nil {
		t.Fatal(err)
	}
	if got := c.Text("domain"); got != "flag" {
		t.Errorf("domain %q", got)
	}
	if got := c.Duration("timeout"); got != 10*time.Second {
		t.Errorf("timeout %v", got)
	}
	if got := c.Int("page-size"); got != 7 {
		t.Errorf("page-size %d", got)
	}
	if got := c.List("exempt"); !slices.Equal(got, []string{"OU=A", "OU=B"}) {
		t.Errorf("exempt %q", got)
	}
	if c.Bool("sacl") {
		t.Error("sacl is still true")
	}
	for _, v := range c.Values() {
		if strings.Contains(v.Text, "x") && v.Setting.Name == "password-file" {
			t.Errorf("%s has value %q", v.Setting.Name, v.Text)
		}
		want := map[string]string{
			"domain": "flag --domain", "timeout": "f.yaml:2", "exempt": "f.yaml:3", "sacl": "f.yaml:4",
			"page-size": "environment LEASTWISE_PAGE_SIZE", "transport": "default",
		}[v.Setting.Name]
		if want != "" && v.Source != want {
			t.Errorf("%s is from %q, want %q", v.Setting.Name, v.Source, want)
		}
	}
}

// Every way to write a value in YAML means the value.
func TestConfigScalars(t *testing.T) {
	for text, want := range map[string]string{
		"domain: a":             "a",
		"domain: 'a b'":         "a b",
		"'domain': a":           "a",
		"domain:\n":             "",
		"domain: null":          "",
		"domain: ~":             "",
		"domain: |\n  a\n":      "a",
		"domain: >\n  a\n  b\n": "a b",
		"domain: 10.0":          "10.0",
		"domain: 'null'":        "null",
	} {
		c := NewConfig()
		if err := c.ReadYAML("f.yaml", []byte(text)); err != nil || c.Text("domain") != want {
			t.Errorf("%q: %q, %v; want %q", text, c.Text("domain"), err, want)
		}
	}
	c := NewConfig()
	if err := c.ReadYAML("f.yaml", []byte(`exempt: ['OU=a\;b', ' OU=c ', ~]`)); err != nil {
		t.Fatal(err)
	}
	if got := c.List("exempt"); !slices.Equal(got, []string{`OU=a\;b`, "OU=c"}) {
		t.Errorf("exempt %q", got)
	}
}

func TestConfigErrors(t *testing.T) {
	for text, want := range map[string]string{
		"frob: 1":                    "f.yaml:1: there is no setting \"frob\"",
		"domain: a\n\npage-size: 0":  "f.yaml:3: page-size: \"0\" is not a positive whole number",
		"timeout: soon":              "f.yaml:1: timeout: \"soon\" is not a duration",
		"sacl: perhaps":              "f.yaml:1: sacl: \"perhaps\" is neither true nor false",
		"bind: digest":               "f.yaml:1: bind: \"digest\" is none of kerberos, simple",
		"exempt: [{a: b}]":           "f.yaml:1: exempt: neither a value nor a list of values",
		"- domain":                   "f.yaml: not a mapping of settings",
		"domain: a\nexempt: [OU=A\n": "f.yaml:2: not YAML: ",
		"domain: a\ndomain: b\n":     "f.yaml:2: not YAML: ",
		"domain: &x a\n":             "f.yaml:1: anchors, aliases and merge keys",
		"domain: !!str a\n":          "f.yaml:1: domain: anchors, aliases and tags",
		"exempt: [[OU=A]]":           "f.yaml:1: exempt: neither a value nor a list of values",
		"exempt: ['OU=A;B', OU=C]":   "f.yaml:1: exempt: \"OU=A;B\" is not one element of a list",
		`exempt: ['OU=A\', OU=C]`:    "f.yaml:1: exempt: \"OU=A\\\\\" is not one element of a list",
		"stale-days:\n":              "f.yaml:1: stale-days: \"\" is not a positive whole number",
	} {
		err := NewConfig().ReadYAML("f.yaml", []byte(text))
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if err := NewConfig().ReadEnv([]string{"LEASTWISE_FROB=1"}); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "LEASTWISE_FROB") {
		t.Errorf("unknown variable: %v", err)
	}
}

// Every default is a value that its setting takes.
func TestDefaults(t *testing.T) {
	for _, s := range Settings() {
		if s.Default == "" {
			continue
		}
		if err := NewConfig().Set(s.Name, s.Default, "test"); err != nil {
			t.Error(err)
		}
	}
}

func FuzzReadYAML(f *testing.F) {
	for _, s := range []string{
		"domain: a\ntimeout: 10s\nexempt: [a, b]\n", "a: &x 1\nb: *x\n", "? [a]\n: b\n", "domain: |\n  x\n", "<<: {domain: a}\n",
		"--- \ndomain: a\n---\ndomain: b\n", "domain: !!binary aGk=\n", "domain: \x00", "{domain: a}", "domain:\n", "{}: 1", "~: 1",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<12 {
			return
		}
		c := NewConfig()
		if err := c.ReadYAML("f.yaml", data); err != nil {
			if !errors.Is(err, ErrConfig) {
				t.Errorf("%v is no ErrConfig", err)
			}
			return
		}
		for _, v := range c.Values() { // whatever was taken is valid
			if v.Source != "default" {
				if err := check(v.Setting, v.Text); err != nil {
					t.Errorf("%s = %q: %v", v.Setting.Name, v.Text, err)
				}
			}
		}
	})
}
