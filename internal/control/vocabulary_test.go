package control

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"cel.dev/cel-go/cel"
)

func TestMisspeltNames(t *testing.T) {
	for pass, want := range map[string]string{
		`subject.has("adminCout")`:                                                     `line 1, column 13: "adminCout" is no attribute of snapshots; the nearest names are adminCount,`,
		`subject.flag("not_delegated")`:                                                `nearest names are NOT_DELEGATED,`,
		`!subject.memberOf("domain-admin")`:                                            `"domain-admin" is no principal; the nearest names are domain-admins,`,
		`subject.domain().principal("administrator").isGroup()`:                        `nearest names are administrators,`,
		`subject.ownerIs(["system", "domainadmins"])`:                                  `line 1, column 28: "domainadmins" is no principal; the nearest names are domain-admins,`,
		`["domain-admins", "keyadmins"].exists(g, subject.memberOf(g))`:                `line 1, column 19: "keyadmins" is no principal; the nearest names are key-admins,`,
		`subject.dacl().every(a, a.only(["RP", "WPP:member"]) || a.trusteeIs("slef"))`: `"slef" is no principal; the nearest names are self,`,
		`subject.audits("everyone", "Write")`:                                          `"Write" is no right such as WP`,
		`subject.days("pwdLastSet") > options.staleDay`:                                `"staleDay" is no option; the nearest names are staleDays,`,
	} {
		_, err := New(own(pass))
		if !errors.Is(err, ErrCatalogue) || !strings.Contains(err.Error(), "own.yaml:3: control") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", pass, err)
		}
	}
	for _, pass := range []string{
		`subject.has("ADMINCOUNT") && subject.flag("NOT_DELEGATED") && forest.hasSchema(["anything"])`,
		`["cn=x", "y"].exists(g, subject.dn() == g) && subject.is("exoticClass")`,
		`subject.dacl().every(a, a.only(["WP:extensionAttribute99"]))`,
		`["users"].exists(g, ["domain-users"].all(g, subject.memberOf(g)) && subject.memberOf(g))`,
	} {
		if _, err := New(own(pass)); err != nil {
			t.Error(err)
		}
	}
	lines := strings.Replace(validEntry, "PASS", "|-\n      subject.enabled()\n        && subject.flag(\"NOT_DELEGATE\")", 1)
	if _, err := New(Source{"own.yaml", []byte(lines)}); err == nil || !strings.Contains(err.Error(), `pass: line 2, column 19: "NOT_DELEGATE" is no flag of userAccountControl; the nearest names are NOT_DELEGATED,`) {
		t.Errorf("second line: %v", err)
	}
	bad := strings.Replace(strings.Replace(validEntry, "PASS", "true", 1), "    fix: f", "    right: SeDenyLogonRight\n    fix: f", 1)
	if _, err := New(Source{"own.yaml", []byte(bad)}); err == nil || !strings.Contains(err.Error(), `right: "SeDenyLogonRight" is no user right; the nearest names are SeBatchLogonRight, SeDenyBatchLogonRight,`) {
		t.Errorf("right: %v", err)
	}
}

// freeTexts are arguments that are no names, or names of the schema of each forest.
var freeTexts = []argument{
	{"is", 0}, {"setting", 0}, {"auditsSuccess", 0}, {"auditsSuccess", 1}, {"evidence", 0}, {"hasSchema", 0},
}

// TestVocabulariesComplete: nobody adds a function that takes texts without saying
// what they may be.
func TestVocabulariesComplete(t *testing.T) {
	used := map[argument]bool{}
	for _, m := range methods() {
		for i, typ := range m.args {
			if typ.IsExactType(cel.StringType) || typ.IsExactType(strList) {
				a := argument{m.name, i}
				used[a] = true
				if _, ok := vocabularies[a]; !ok && !slices.Contains(freeTexts, a) {
					t.Errorf("argument %d of %s has no vocabulary", i, m.name)
				}
			}
		}
	}
	for a := range vocabularies {
		if !used[a] {
			t.Errorf("no function %s has names as argument %d", a.function, a.index)
		}
	}
}
