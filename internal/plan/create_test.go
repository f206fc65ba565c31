package plan

import (
	"errors"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/secdesc"
)

func newAccount() *NewObject {
	return &NewObject{Class: ClassUser, Name: "Manager 1", Account: "manager-1", Flags: 0x100202}
}

// What would be created otherwise than it is shown, or with power from the start, is
// refused.
func TestNewObjectRefused(t *testing.T) {
	owned := &Permits{}
	if err := owned.UnmarshalText([]byte("O:S-1-5-18D:(A;;GA;;;SY)")); err != nil {
		t.Fatal(err)
	}
	for why, change := range map[string]func(*NewObject){
		"only group and user":     func(n *NewObject) { n.Class = "computer" },
		"the name":                func(n *NewObject) { n.Name = " x" },
		"the name \"":             func(n *NewObject) { n.Name = "a\u202eb" },
		"the account name":        func(n *NewObject) { n.Account = strings.Repeat("x", 21) },
		"the account name \"a*":   func(n *NewObject) { n.Account = "a*" },
		"the account name \"x.\"": func(n *NewObject) { n.Account = "x." },
		"created disabled":        func(n *NewObject) { n.Flags = 0x200 },
		"too many":                func(n *NewObject) { n.GroupType = GlobalSecurityGroup },
		"not a DACL alone":        func(n *NewObject) { n.Permissions = owned },
		"the description":         func(n *NewObject) { n.Description = "a\nb" },
	} {
		n := newAccount()
		change(n)
		_, err := New("contoso.test", "", made, []Change{{Kind: CreateObject, Object: group(), New: n}})
		if !errors.Is(err, ErrPlan) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", why, err)
		}
	}
	twice := []Change{{Kind: CreateObject, Object: group(), New: newAccount()}, {Kind: CreateObject, Object: group(), New: newAccount()}}
	if _, err := New("contoso.test", "", made, twice); err == nil {
		t.Error("one object is created twice")
	}
}

// Undoing deletes what was created, and nothing that became of it since or took its name.
func TestJudgeCreated(t *testing.T) {
	on, off := uint32(0x100200), uint32(0x100202)
	guid := secdesc.MustGUID("0bd41b25-6cf8-4f3b-9b57-0c3f5a4f3a11")
	there := func(change func(*Child)) Facts {
		c := &Child{GUID: guid, DN: "CN=Manager 1", Class: ClassUser, Account: "Manager-1", Flags: &off}
		change(c)
		return Facts{ChildThere: Present, Child: c}
	}
	same := there(func(*Child) {})
	create := Change{Kind: CreateObject, Object: Target{GUID: groupGUID}, New: newAccount()}
	back, err := create.Inverse(Facts{ChildThere: Absent})
	if err != nil {
		t.Fatal(err)
	}
	known := back
	known.Require.Made = guid
	other := back
	other.Require.Made = groupGUID
	for i, v := range []struct {
		c    Change
		f    Facts
		want Verdict
		why  string
	}{
		{create, Facts{ChildThere: Absent}, Fits, ""},
		{create, same, Already, ""},
		{create, Facts{}, Refused, "could not be read"},
		{create, Facts{Deleted: true}, Refused, "deleted"},
		{create, there(func(c *Child) { c.Class = "group" }), Refused, "another object"},
		{create, there(func(c *Child) { c.Account = "else" }), Refused, "another object"},
		{back, same, Fits, ""},
		{back, Facts{ChildThere: Absent}, Already, ""},
		{back, Facts{Deleted: true}, Already, ""},
		{back, there(func(c *Child) { c.Flags = &on }), Refused, "not disabled"},
		{back, there(func(c *Child) { c.Flags = nil }), Refused, "could not be read"},
		{back, there(func(c *Child) { c.Members = true }), Refused, "has members"},
		{known, same, Fits, ""},
		{other, same, Refused, "another object than the one"},
	} {
		got, why := v.c.Judge(v.f)
		if got != v.want || v.why != "" && !strings.Contains(why, v.why) || v.why == "" && why != "" {
			t.Errorf("%d: %s: verdict %d, want %d: %q", i, v.c.Text(), got, v.want, why)
		}
	}
	if _, err := back.Inverse(same); !errors.Is(err, ErrIrreversible) {
		t.Errorf("a deletion is taken back: %v", err)
	}
}

func TestCreatedInText(t *testing.T) {
	var text, ldif strings.Builder
	p := all(t)
	if err := errors.Join(p.Text(&text), p.LDIF(&ldif)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`create group "CN=Managers,OU=Admin,DC=contoso,DC=test"`, `delete account "CN=Manager\, 1,OU=Admin,DC=contoso,DC=test"`,
		"userAccountControl 0x100202, disabled and without a password", "permissions D:P(D;;SDDT;;;WD)",
		"if its GUID is 11111111-2222-3333-4444-555555555555", "msNPAllowDialin FALSE",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("text lacks %q:\n%s", want, text.String())
		}
	}
	for _, want := range []string{
		"dn: CN=Managers,OU=Admin,DC=contoso,DC=test\nchangetype: add\nobjectClass: group\nsAMAccountName: managers\ngroupType: -2147483646\n",
		"dn: CN=Manager\\, 1,OU=Admin,DC=contoso,DC=test\nchangetype: delete\n",
	} {
		if !strings.Contains(ldif.String(), want) {
			t.Errorf("LDIF lacks %q:\n%s", want, ldif.String())
		}
	}
}
