package plan

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/leastwise/leastwise/docs/schema"
	"github.com/leastwise/leastwise/internal/secdesc"
)

var (
	groupGUID  = secdesc.MustGUID("11111111-2222-3333-4444-555555555555")
	memberGUID = secdesc.MustGUID("66666666-7777-8888-9999-aaaaaaaaaaaa")
	made       = time.Date(2026, 11, 22, 3, 4, 5, 0, time.UTC)
)

func group() Target {
	return Target{GUID: groupGUID, DN: "CN=Domain Admins,DC=contoso,DC=test", SID: secdesc.MustSID("S-1-5-21-1-2-3-512")}
}

func member() *Target {
	return &Target{GUID: memberGUID, DN: `CN=O'Neil\, "A" <x>&ü,DC=contoso,DC=test`, SID: secdesc.MustSID("S-1-5-21-1-2-3-1104")}
}

func ace(t testing.TB, sddl string) *Entry {
	t.Helper()
	var e Entry
	if err := e.UnmarshalText([]byte(sddl)); err != nil {
		t.Fatal(err)
	}
	return &e
}

func all(t testing.TB) *Plan {
	t.Helper()
	flags, set := uint32(512), int64(134397874741152270)
	never := Expiry{}
	until := At(time.Date(2031, 1, 2, 3, 4, 5, 0, time.UTC))
	permits := &Permits{}
	if err := permits.UnmarshalText([]byte("D:P(D;;SDDT;;;WD)(A;;RPWPCRCCDCLCLORCWOWDSDDTSW;;;S-1-5-21-1-2-3-512)")); err != nil {
		t.Fatal(err)
	}
	manager := &NewObject{Class: ClassUser, Name: "Manager, 1", Account: "manager-1", Description: "für <leastwise>", Flags: 0x100202, Encryption: 24, NoDialIn: true, Permissions: permits}
	container := Target{GUID: secdesc.MustGUID("0bd41b25-6cf8-4f3b-9b57-0c3f5a4f3a11"), DN: "OU=Admin,DC=contoso,DC=test"}
	p, err := New("Contoso.Test", "all kinds", made, []Change{
		{Kind: CreateObject, Object: container, New: &NewObject{Class: ClassGroup, Name: "Managers", Account: "managers", GroupType: GlobalSecurityGroup}},
		{Kind: GrantEntry, Object: group(), Entry: ace(t, "(OA;;RPWP;bf9679c0-0de6-11d0-a285-00aa003049e2;;S-1-5-21-1-2-3-1104)")},
		{Kind: SetExpiry, Object: *member(), Expires: &until, Require: Require{Expires: &never, WhenChanged: "20261122021755.0Z"}},
		{Kind: ResetPassword, Object: *member(), Require: Require{PasswordSet: &set}},
		{Kind: EnableAccount, Object: *member(), Require: Require{FlagsSet: 0x100002, FlagsClear: 0x400000}},
		{Kind: AddMember, Object: group(), Member: member(), Seconds: 3600},
		{Kind: RemoveMember, Object: group(), Member: &Target{DN: "CN=S-1-5-21-9-9-9-500", SID: secdesc.MustSID("S-1-5-21-9-9-9-500")}},
		{Kind: DisableAccount, Object: *member(), Require: Require{Flags: &flags}},
		{Kind: RevokeEntry, Object: group(), Entry: ace(t, "(D;;WD;;;S-1-1-0)"), Require: Require{}},
		{Kind: DeleteObject, Object: container, New: manager, Require: Require{Made: groupGUID}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The canonical form is what it was: digests that people have noted must not change.
func TestDigest(t *testing.T) {
	p, err := New("contoso.test", "", made, []Change{{Kind: RemoveMember, Object: group(), Member: member()}})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"schema":"leastwise-plan/1","domain":"contoso.test","made":"2026-11-22T03:04:05Z","changes":[{"kind":"remove-member",` +
		`"object":{"guid":"11111111-2222-3333-4444-555555555555","dn":"CN=Domain Admins,DC=contoso,DC=test","sid":"S-1-5-21-1-2-3-512"},` +
		`"member":{"guid":"66666666-7777-8888-9999-aaaaaaaaaaaa","dn":"CN=O'Neil\\, \"A\" <x>&ü,DC=contoso,DC=test","sid":"S-1-5-21-1-2-3-1104"}}]}`
	if got := string(p.Canonical()); got != want {
		t.Errorf("canonical form:\n%s\nwant\n%s", got, want)
	}
	if got := p.Digest(); got != "sha256:15b42279d846b47df5555fb63f63176b661aabad0f2c768b8b00ebcfc6dea5b4" {
		t.Errorf("digest %s", got)
	}
}

func TestRoundTrip(t *testing.T) {
	p := all(t)
	for _, form := range [][]byte{p.JSON(), p.Canonical(), bytes.ReplaceAll(p.JSON(), []byte("\n"), []byte("\r\n\t"))} {
		q, err := Parse(form)
		if err != nil {
			t.Fatal(err)
		}
		if q.Digest() != p.Digest() {
			t.Errorf("digest %s, want %s", q.Digest(), p.Digest())
		}
		if d := cmp.Diff(p.Canonical(), q.Canonical()); d != "" {
			t.Error(d)
		}
	}
}

// What is written holds to the published schema, and the schema knows every field.
func TestSchema(t *testing.T) {
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(schema.Plan()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("plan.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("plan.json")
	if err != nil {
		t.Fatal(err)
	}
	p := all(t)
	p.Changes[6].Require.USNChanged, p.Changes[6].Require.Server = 7, "dc1.contoso.test"
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(p.JSON()))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(v); err != nil {
		t.Error(err)
	}
	for _, kind := range Kinds() {
		if !strings.Contains(schema.Plan(), `"`+string(kind)+`"`) {
			t.Errorf("the schema lacks %s", kind)
		}
	}
}

// The example of the documentation is a plan.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/FORMATS.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, ok := strings.Cut(string(text), "```json plan\n")
	example, _, end := strings.Cut(example, "```")
	if !ok || !end {
		t.Fatal("there is no example")
	}
	p, err := Parse([]byte(example))
	if err != nil {
		t.Fatal(err)
	}
	if string(p.JSON()) != example {
		t.Errorf("leastwise plan would write\n%s", p.JSON())
	}
}

// No file can be understood in two ways, and every field counts in the digest.
func TestParseRefuses(t *testing.T) {
	p := all(t)
	good := string(p.Canonical())
	cases := []struct{ name, from, to, why string }{
		{"unknown field", `"title":`, `"colour":"red","title":`, "unknown field"},
		{"repeated field", `"domain":"contoso.test",`, `"domain":"evil.test","domain":"contoso.test",`, "not in the form"},
		{"other case", `"domain"`, `"Domain"`, "not in the form"},
		{"other order", `"schema":"leastwise-plan/1","domain":"contoso.test"`, `"domain":"contoso.test","schema":"leastwise-plan/1"`, "not in the form"},
		{"escape", `all kinds`, `\u0061ll kinds`, "not in the form"},
		{"fraction", `03:04:05Z"`, `03:04:05.5Z"`, "whole seconds"},
		{"other schema", `plan/1`, `plan/2`, "schema"},
		{"two values", good, good + good, "after the plan"},
		{"no JSON", `"changes":[`, "\n\"changes\":(", "line 2"},
		{"kind", `grant-entry`, `grant-all`, "no change of kind"},
		{"entry", `RPWP`, `QQ`, "entry"},
		{"generic entry", `(D;;WD;;;WD)`, `(D;;GA;;;WD)`, "generic"},
		{"null member", `"member":{"guid"`, `"member":null,"member":{"guid"`, "not in the form"},
		{"time to live", `3600`, `-1`, "time to live"},
	}
	for _, c := range cases {
		text := strings.Replace(good, c.from, c.to, 1)
		if text == good {
			t.Errorf("%s: %s is not in the plan", c.name, c.from)
			continue
		}
		if _, err := Parse([]byte(text)); !errors.Is(err, ErrPlan) || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	seen := map[string]string{p.Digest(): "the plan"}
	for i, change := range []func(*Plan){
		func(p *Plan) { p.Title = "b" },
		func(p *Plan) { p.Made = made.Add(time.Second) },
		func(p *Plan) { p.Domain = "other.test" },
		func(p *Plan) { p.Changes[0].Object.DN = "CN=x" },
		func(p *Plan) { p.Changes[0].Object.GUID = memberGUID },
		func(p *Plan) { p.Changes[4].Seconds++ },
		func(p *Plan) { p.Changes[3].Require.FlagsSet = 2 },
		func(p *Plan) { p.Changes = p.Changes[:7] },
		func(p *Plan) { p.Changes[0], p.Changes[7] = p.Changes[7], p.Changes[0] },
	} {
		q := all(t)
		change(q)
		name := fmt.Sprintf("change %d", i)
		if other, ok := seen[q.Digest()]; ok {
			t.Errorf("%s has the digest of %s", name, other)
		}
		seen[q.Digest()] = name
	}
}

func TestValidate(t *testing.T) {
	add, remove := Change{Kind: AddMember, Object: group(), Member: member()}, Change{Kind: RemoveMember, Object: group(), Member: member()}
	reset := Change{Kind: ResetPassword, Object: *member()}
	guarded := remove
	guarded.Require.WhenChanged = "20261122021755.0Z"
	cases := []struct {
		name    string
		changes []Change
		why     string
	}{
		{"nothing", nil, "changes nothing"},
		{"twice", []Change{add, add}, "it is so after an earlier change"},
		{"there and back", []Change{add, remove}, ""},
		{"there and back and there", []Change{add, remove, add}, ""},
		{"reset twice", []Change{reset, reset}, "an earlier change does so"},
		{"unchanged though changed", []Change{add, guarded}, "change 1 changes it"},
		{"unchanged", []Change{guarded, add}, ""},
		{"of itself", []Change{{Kind: AddMember, Object: group(), Member: &Target{GUID: groupGUID}}}, "no member of itself"},
		{"no GUID", []Change{{Kind: AddMember, Object: Target{DN: "CN=x"}, Member: member()}}, "no GUID"},
		{"no member", []Change{{Kind: AddMember, Object: group()}}, "other parts"},
		{"too much", []Change{{Kind: EnableAccount, Object: group(), Member: member()}}, "too many"},
		{"set and clear", []Change{{Kind: EnableAccount, Object: group(), Require: Require{FlagsSet: 3, FlagsClear: 1}}}, "both set and clear"},
		{"usn of nowhere", []Change{{Kind: EnableAccount, Object: group(), Require: Require{USNChanged: 3}}}, "belong together"},
		{"inherited", []Change{{Kind: GrantEntry, Object: group(), Entry: ace(t, "(A;CIID;WD;;;S-1-1-0)")}}, "inherited"},
		{"audit", []Change{{Kind: GrantEntry, Object: group(), Entry: ace(t, "(AU;SA;WD;;;S-1-1-0)")}}, "allow or deny"},
	}
	for _, c := range cases {
		_, err := New("contoso.test", "", made, c.changes)
		if c.why == "" && err != nil || c.why != "" && (!errors.Is(err, ErrPlan) || !strings.Contains(err.Error(), c.why)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestArrange(t *testing.T) {
	p := all(t)
	backwards := make([]Change, 0, len(p.Changes))
	for i := range p.Changes {
		backwards = append(backwards, p.Changes[len(p.Changes)-1-i])
	}
	for i, c := range Arrange(backwards) {
		if c.Kind != Kinds()[i] {
			t.Errorf("%d: %s, want %s", i, c.Kind, Kinds()[i])
		}
	}
}

// A change and its inverse cancel: what fits one direction is there already in the
// other, for every kind and for what was there before.
func TestJudgeAndInverse(t *testing.T) {
	u := func(v uint32) *uint32 { return &v }
	n := func(v int64) *int64 { return &v }
	until := At(time.Date(2031, 1, 2, 3, 4, 5, 0, time.UTC))
	sid, msid := group().SID, member().SID
	cases := []struct {
		c             Change
		before, after Facts
	}{
		{Change{Kind: AddMember, Object: group(), Member: member()}, Facts{SID: sid, MemberSID: msid, Membership: Absent}, Facts{SID: sid, MemberSID: msid, Membership: Present}},
		{Change{Kind: RemoveMember, Object: group(), Member: member()}, Facts{SID: sid, MemberSID: msid, Membership: Present}, Facts{SID: sid, Membership: Absent}},
		{Change{Kind: EnableAccount, Object: group()}, Facts{SID: sid, Flags: u(0x10202)}, Facts{SID: sid, Flags: u(0x10200)}},
		{Change{Kind: DisableAccount, Object: group()}, Facts{SID: sid, Flags: u(512)}, Facts{SID: sid, Flags: u(514)}},
		{Change{Kind: SetExpiry, Object: group(), Expires: &until}, Facts{SID: sid, Expires: n(0)}, Facts{SID: sid, Expires: n(until.FileTime())}},
		{Change{Kind: SetExpiry, Object: group(), Expires: &Expiry{}}, Facts{SID: sid, Expires: n(until.FileTime())}, Facts{SID: sid, Expires: n(neverExpires)}},
		{Change{Kind: GrantEntry, Object: group(), Entry: ace(t, "(A;;WD;;;S-1-1-0)")}, Facts{SID: sid, Entry: Absent}, Facts{SID: sid, Entry: Present}},
		{Change{Kind: RevokeEntry, Object: group(), Entry: ace(t, "(A;;WD;;;S-1-1-0)")}, Facts{SID: sid, Entry: Present}, Facts{SID: sid, Entry: Absent}},
	}
	judge := func(c Change, f Facts, want Verdict) {
		t.Helper()
		if got, why := c.Judge(f); got != want || (why != "") != (want == Refused) {
			t.Errorf("%s: %+v: verdict %d, want %d: %s", c.Text(), f, got, want, why)
		}
	}
	for _, v := range cases {
		back, err := v.c.Inverse(v.before)
		if err != nil {
			t.Errorf("%s: %v", v.c.Text(), err)
			continue
		}
		if back.Kind != SetExpiry || v.c.Expires.FileTime() == neverExpires { // adding again needs the member's SID
			v.after.MemberSID = msid
		}
		judge(v.c, v.before, Fits)
		judge(v.c, v.after, Already)
		judge(back, v.after, Fits)
		judge(back, v.before, Already)
		judge(v.c, Facts{SID: sid, MemberSID: msid}, Refused) // not read
		stranger := v.before
		stranger.SID = msid.Child(7)
		judge(v.c, stranger, Refused)
		gone := Facts{Deleted: true}
		if v.c.toggles() && !v.c.gives() {
			judge(v.c, gone, Already)
		} else {
			judge(v.c, gone, Refused)
		}
	}
	if _, err := (Change{Kind: ResetPassword, Object: group()}).Inverse(Facts{}); !errors.Is(err, ErrIrreversible) {
		t.Error(err)
	}
	timeBound := Facts{Membership: Present, TimeBound: true}
	if _, err := cases[1].c.Inverse(timeBound); !errors.Is(err, ErrIrreversible) {
		t.Errorf("a time-bound membership would become permanent: %v", err)
	}
	if _, err := cases[4].c.Inverse(Facts{Expires: n(17)}); !errors.Is(err, ErrIrreversible) {
		t.Errorf("an expiry that is no whole second: %v", err)
	}
}

func TestTextAndLDIF(t *testing.T) {
	p := all(t)
	p.Changes[5].Member.DN = "CN=\x1b[31mevil\u202e,DC=x"
	p.Title = "line\nbreak"
	var text, ldif strings.Builder
	if err := errors.Join(p.Text(&text), p.LDIF(&ldif)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"line\u000abreak"`, `"CN=\u001b[31mevil\u202e,DC=x"`, "if pwdLastSet is 134397874741152270", "cannot be undone", "if userAccountControl has the bits 0x100002", "digest " + p.Digest()} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("text lacks %q:\n%s", want, text.String())
		}
	}
	for _, want := range []string{
		"dn: <GUID=11111111-2222-3333-4444-555555555555>\nchangetype: modify\nadd: member\nmember:: PFRUTD0zNjAwLDxHVUlEPTY2NjY2NjY2LTc3NzctODg4OC05OTk5LWFhYWFhYWFhYWFhYT4+\n-\n",
		"delete: userAccountControl\nuserAccountControl: 512\n-\nadd: userAccountControl\nuserAccountControl: 514\n-\n",
		"# unicodePwd of <GUID=66666666-7777-8888-9999-aaaaaaaaaaaa>; the value is given when",
	} {
		if !strings.Contains(ldif.String(), want) {
			t.Errorf("LDIF lacks %q:\n%s", want, ldif.String())
		}
	}
	if strings.ContainsAny(text.String()+ldif.String(), "\x1b\u202e\r") {
		t.Error("a terminal would act on it")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(all(f).JSON())
	f.Add([]byte(`{"schema":"leastwise-plan/1"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b)
		if err != nil {
			if !errors.Is(err, ErrPlan) {
				t.Errorf("%v is no ErrPlan", err)
			}
			return
		}
		q, err := Parse(p.JSON())
		if err != nil || q.Digest() != p.Digest() {
			t.Errorf("%v: %s and %s", err, p.Digest(), q.Digest())
		}
		var text strings.Builder
		if err := errors.Join(p.Text(&text), p.LDIF(&text)); err != nil {
			t.Error(err)
		}
	})
}
