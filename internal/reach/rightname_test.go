package reach_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/forest/fixture"
	"github.com/leastwise/leastwise/internal/reach"
)

func namesForest(t testing.TB) *forest.Snapshot {
	t.Helper()
	data, err := os.ReadFile("../../examples/small.yaml")
	if err != nil {
		t.Fatal(err)
	}
	f, err := fixture.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Snapshot(time.Unix(1.7e9, 0))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Rights are found by every name that an administrator has for them.
func TestRightNames(t *testing.T) {
	n := reach.NewRightNames(namesForest(t))
	for text, want := range map[string]string{
		"WRITE_DAC": "write-dacl", "Write DACL": "write-dacl", "wd": "write-dacl", "WRITE_OWNER": "write-owner", "take ownership": "write-owner",
		"DELETE": "delete", "delete_tree": "delete-tree", "Read Permissions": "read-permissions",
		"write member": "write bf9679c0-0de6-11d0-a285-00aa003049e2", "write:member": "write bf9679c0-0de6-11d0-a285-00aa003049e2",
		"WRITE {bf9679c0-0de6-11d0-a285-00aa003049e2}": "write bf9679c0-0de6-11d0-a285-00aa003049e2",
		"create user":                          "create bf967aba-0de6-11d0-a285-00aa003049e2",
		"write-member":                         "write bf9679c0-0de6-11d0-a285-00aa003049e2",
		"delete_child_computer":                "delete-child bf967a86-0de6-11d0-a285-00aa003049e2",
		"reset-password":                       "use 00299570-246d-11d0-a768-00aa006e0529",
		"self membership":                      "validated bf9679c0-0de6-11d0-a285-00aa003049e2",
		"delete child computer":                "delete-child bf967a86-0de6-11d0-a285-00aa003049e2",
		"delete-child:computer":                "delete-child bf967a86-0de6-11d0-a285-00aa003049e2",
		"Reset Password":                       "use 00299570-246d-11d0-a768-00aa006e0529",
		"User-Force-Change-Password":           "use 00299570-246d-11d0-a768-00aa006e0529",
		"user force change password":           "use 00299570-246d-11d0-a768-00aa006e0529",
		"00299570-246d-11d0-a768-00aa006e0529": "use 00299570-246d-11d0-a768-00aa006e0529",
		"use:User-Force-Change-Password":       "use 00299570-246d-11d0-a768-00aa006e0529",
		"Replicating Directory Changes All":    "use 1131f6ad-9c07-11d1-f79f-00c04fc2dcd2",
		"Self-Membership":                      "validated bf9679c0-0de6-11d0-a285-00aa003049e2",
		"write Public-Information":             "write e48d0154-bcf8-11d1-8702-00c04fb96050",
		"Personal-Information":                 "write 77b5b886-944a-11d1-aebd-0000f80367c1",
	} {
		act, err := n.Find(text)
		got := act.Verb.String()
		if !act.Type.IsZero() {
			got += " " + act.Type.String()
		}
		if err != nil || got != want {
			t.Errorf("%q is %q (%v), want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"write membr":              "similar: member",
		"Reset Pasword":            "similar: Reset Password",
		"WRITE_DCA":                "similar: writedac, write-dac",
		"member":                   `say "write member"`,
		"computer":                 `say "create computer"`,
		"create usr":               "similar: user",
		"":                         "there is none of that name",
		"create member":            "no class",
		"use member":               "no extended right",
		"GenericAll":               "it stands for every right; ask for WRITE_DAC",
		"full-control":             "it stands for every right; ask for WRITE_DAC",
		"GenericWrite":             `"write member"`,
		"DCSync":                   `"DS-Replication-Get-Changes" and "DS-Replication-Get-Changes-All"`,
		"ForceChangePassword":      `it is "Reset Password"`,
		"Read LAPS Password":       `it is "read ms-Mcs-AdmPwd"`,
		strings.Repeat("x", 9_999): "there is none of that name",
	} {
		if act, err := n.Find(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v %v, want an error with %q", text, act, err, want)
		}
	}
}

// Whatever is typed, there is a right or an error.
func FuzzRightNames(f *testing.F) {
	n := reach.NewRightNames(namesForest(f))
	for _, s := range []string{"write member", "Reset Password", "create:user", "delete child x", "write ", ":", "use {", "\xff write"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		act, err := n.Find(text)
		if (err == nil) == (act.Verb == 0) {
			t.Errorf("%q: %v, %v", text, act, err)
		}
	})
}

// What the hints about other tools' words tell people to ask for exists, unless it is
// of a schema that not every forest has.
func TestForeignRights(t *testing.T) {
	n := reach.NewRightNames(namesForest(t))
	newer := regexp.MustCompile("LAPS|AdmPwd|KeyCredentialLink")
	quoted := regexp.MustCompile(`"([^"]+)"`)
	for word, hint := range reach.ForeignRights {
		for _, m := range quoted.FindAllStringSubmatch(hint, -1) {
			if _, err := n.Find(m[1]); err != nil && !newer.MatchString(m[1]) {
				t.Errorf("the hint for %s: %v", word, err)
			}
		}
	}
}
