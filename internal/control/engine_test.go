package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const validEntry = `section: Own
controls:
  - id: X-01-test
    title: Test
    severity: low
    reason: r
    rationale: r
    select: user
    pass: PASS
    missing: {a: evidence a, b: evidence b}
    fix: f
    verify: v
`

func own(pass string) Source {
	return Source{"own.yaml", []byte(strings.Replace(validEntry, "PASS", "'"+strings.ReplaceAll(pass, "'", "''")+"'", 1))}
}

func TestCatalogueErrors(t *testing.T) {
	for name, tt := range map[string]struct{ data, want string }{
		"unknown key":  {strings.Replace(validEntry, "title:", "titel:", 1), "titel"},
		"no severity":  {strings.Replace(validEntry, "severity: low", "severity: bad", 1), "own.yaml:3"},
		"bad select":   {strings.Replace(validEntry, "select: user", "select: people", 1), `select "people"`},
		"bad CEL":      {strings.Replace(validEntry, "PASS", "subject.flag(", 1), "own.yaml:3"},
		"wrong type":   {strings.Replace(validEntry, "PASS", "subject.rid()", 1), "not bool"},
		"duplicate":    {strings.Replace(strings.Replace(validEntry, "PASS", "true", 1), "X-01-test", "D-01-sensitive", 1), "already used"},
		"placeholder":  {strings.Replace(strings.Replace(validEntry, "PASS", "true", 1), "fix: f", "fix: ${x}", 1), "placeholder"},
		"template":     {strings.Replace(strings.Replace(validEntry, "PASS", "true", 1), "fix: f", `fix: "{{.Nothing}}"`, 1), "Nothing"},
		"no such text": {strings.Replace(validEntry, "PASS", `forest.evidence("c")`, 1), `evidence "c"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(Source{"own.yaml", []byte(tt.data)})
			if !errors.Is(err, ErrCatalogue) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want ErrCatalogue with %q", err, tt.want)
			}
		})
	}
}

func TestThreeValues(t *testing.T) {
	s := changed(t, "")
	for _, tt := range []struct {
		pass string
		want Outcome
		lack string
	}{
		{`forest.evidence("a") && false`, Fail, ""},
		{`false && forest.evidence("a")`, Fail, ""},
		{`forest.evidence("a") && true`, Unknown, "evidence a"},
		{`forest.evidence("a") || true`, Pass, ""},
		{`forest.evidence("a") || false`, Unknown, "evidence a"},
		{`!forest.evidence("b")`, Unknown, "evidence b"},
		{`forest.evidence("a") && forest.evidence("b")`, Unknown, "evidence b"},
		{`[1, 2].all(x, x == 1 && forest.evidence("a"))`, Fail, ""},
		{`[1, 2].every(x, x == 1 || forest.evidence("a"))`, Unknown, "evidence a"},
		{`[1, 2].every(x, x == 1 ? forest.evidence("a") : false)`, Fail, ""},
		{`[1, 2].every(x, x > 0)`, Pass, ""},
	} {
		c, err := New(own(tt.pass))
		if err != nil {
			t.Fatal(err)
		}
		ev := &evaluation{w: newWorld(Input{Snapshot: s, Now: testNow})}
		e := c.Entry("X-01-test")
		out, lacks, err := ev.judge(e, ev.object(s.BySAMAccountName("ordinary")[0]), nil)
		if err != nil || out != tt.want {
			t.Errorf("%s: got %s, %v, want %s", tt.pass, out, err, tt.want)
		}
		if text := strings.Join(e.missingTexts(lacks), "; "); !strings.Contains(text, tt.lack) {
			t.Errorf("%s: missing is %q, want %q", tt.pass, text, tt.lack)
		}
	}
}

func TestEvidenceIsRecorded(t *testing.T) {
	a := assess(t, builtinCatalogue(t), Input{Snapshot: changed(t, "changes: [{object: Domain Admins, add-members: [Host Admins]}]"), Options: testOptions()})
	fs := find(a, "F-01-empty")
	if len(fs) != 1 || len(fs[0].Evidence) != 1 || len(fs[0].Evidence[0].Chain) != 3 {
		t.Fatalf("want one finding with one chain of three names, got %+v", fs)
	}
	if got, want := fs[0].Fix.Changes[0], "remove CN=Host Admin,OU=Admins,DC=contoso,DC=test from Domain Admins (through CONTOSO\\Host Admins)"; got != want {
		t.Errorf("change is %q, want %q", got, want)
	}
}

func TestDeterministic(t *testing.T) {
	var before []byte
	for _, workers := range []int{1, 2, 4} {
		got, err := json.Marshal(assess(t, builtinCatalogue(t), Input{Snapshot: changed(t, ""), Options: testOptions(), Workers: workers}))
		if err != nil {
			t.Fatal(err)
		}
		if before != nil && string(before) != string(got) {
			t.Fatalf("%d workers give another assessment", workers)
		}
		before = got
	}
}

func TestExceptionsAndDiff(t *testing.T) {
	c := builtinCatalogue(t)
	s := changed(t, "changes: [{object: Domain Admins, add-members: [ordinary]}]")
	list, err := ParseExceptions("x.yaml", []byte(`exceptions:
  - {control: F-01-empty, subject: CONTOSO\Domain Admins, owner: ann, reason: moving, expires: 2026-12-31}
  - {control: A-01-smartcard, subject: "*,OU=Staff,DC=contoso,DC=test", owner: ann, reason: moving, expires: 2026-01-01}
  - {control: D-01-sensitive, subject: Administrator, owner: ann, reason: none, expires: 2026-12-31}
`))
	if err != nil {
		t.Fatal(err)
	}
	a := assess(t, c, Input{Snapshot: s, Options: testOptions(), Exceptions: list})
	for i, want := range []string{ExceptionUsed, ExceptionExpired, ExceptionUnused} {
		if got := a.Exceptions[i].State; got != want {
			t.Errorf("exception %d is %s, want %s", i+1, got, want)
		}
	}
	for i, want := range []string{"", "", "the control does not fail for anything"} {
		if got := a.Exceptions[i].Why; got != want {
			t.Errorf("exception %d: why %q, want %q", i+1, got, want)
		}
	}
	if fs := find(a, "F-01-empty"); len(fs) != 1 || fs[0].Exception == nil {
		t.Errorf("F-01-empty is not excepted: %+v", fs)
	}
	if fs := find(a, "A-01-smartcard"); len(fs) != 1 || fs[0].Exception != nil {
		t.Errorf("the expired exception hides A-01-smartcard: %+v", fs)
	}
	sound := assess(t, c, Input{Snapshot: changed(t, ""), Options: testOptions()})
	d := Diff(sound, a)
	if len(d.New) == 0 || len(d.Fixed) != 0 || len(Diff(a, sound).Fixed) != len(d.New) {
		t.Errorf("new %d, fixed %d, back %d", len(d.New), len(d.Fixed), len(Diff(a, sound).Fixed))
	}
	bare := assess(t, c, Input{Snapshot: s, Options: testOptions()})
	if d := Diff(bare, a); len(d.New)+len(d.Fixed) != 0 || len(d.Changed) != 1 {
		t.Errorf("an exception changes %d findings, want 1", len(d.Changed))
	}
}

func TestExceptionErrors(t *testing.T) {
	for _, text := range []string{
		"exceptions: [{control: a, subject: b, owner: c, reason: d}]",
		"exceptions: [{control: a, subject: b, owner: c, expires: 2026-01-01}]",
		"exceptions: [{control: a, subject: b, owner: c, reason: d, expires: tomorrow}]",
		"exceptions: [{controll: a}]",
	} {
		if _, err := ParseExceptions("x.yaml", []byte(text)); !errors.Is(err, ErrExceptions) {
			t.Errorf("%s: got %v", text, err)
		}
	}
	if x, err := ParseExceptions("x.yaml", []byte("exceptions: [{control: a, subject: b, owner: c, reason: d, expires: 2026-01-01}]")); err != nil || !x[0].Expires.Equal(time.Date(2026, 1, 1, 23, 59, 59, 0, time.UTC)) {
		t.Errorf("got %v, %v", x, err)
	}
}

// An exception counts through the whole of its day, or of its second.
func TestExceptionLastMoment(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		expires, now string
		want         bool
	}{
		{"2026-01-01", "2026-01-01T00:00:00Z", false},
		{"2026-01-01", "2026-01-01T23:59:59.9Z", false},
		{"2026-01-01", "2026-01-02T00:00:00Z", true},
		{"2026-01-01T12:00:00Z", "2026-01-01T12:00:00.5Z", false},
		{"2026-01-01T12:00:00Z", "2026-01-01T12:00:01Z", true},
		{"2026-01-01T12:00:00+02:00", "2026-01-01T10:00:01Z", true},
	} {
		at, err := parseExpiry(tt.expires)
		if err != nil {
			t.Fatal(err)
		}
		now, err := time.Parse(time.RFC3339, tt.now)
		if err != nil {
			t.Fatal(err)
		}
		if got := (Exception{Expires: at}).expired(now); got != tt.want {
			t.Errorf("expires %s, at %s: expired %t, want %t", tt.expires, tt.now, got, tt.want)
		}
	}
}

// The matrix demands the principal itself; a group that covers it makes the
// failure less severe and is named.
func TestCoveredByGroupOnly(t *testing.T) {
	const id = "D-07-deny-rdp-members"
	for _, tt := range []struct {
		holders, detail string
		severity        Severity
	}{
		{"[Domain Admins]", `CONTOSO\Administrator itself is not in SeDenyRemoteInteractiveLogonRight: today covered through CONTOSO\Domain Admins, of which it is a member`, Medium},
		{"[Everyone]", "today covered through Everyone", Medium},
		{"[Guests]", `CONTOSO\Administrator may log on through Remote Desktop`, High},
		{"[Administrators]", `today covered through BUILTIN\Administrators (which holds CONTOSO\Domain Admins by default), of which it is a member`, Medium},
	} {
		s := changed(t, "policies: [{name: Deny privileged, rights: {SeDenyRemoteInteractiveLogonRight: "+tt.holders+"}}]")
		c := &Catalogue{entries: []*Entry{builtinCatalogue(t).Entry(id)}}
		a := assess(t, c, Input{Snapshot: s, Options: testOptions()})
		fs := find(a, id)
		if len(fs) != 2 { // servers and workstations
			t.Fatalf("%s: %d findings, want 2", tt.holders, len(fs))
		}
		if f := fs[0]; f.Outcome != Fail || f.Severity != tt.severity || !strings.Contains(f.Detail, tt.detail) {
			t.Errorf("%s: %s %s: %s", tt.holders, f.Outcome, f.Severity, f.Detail)
		}
		covered := slices.ContainsFunc(fs[0].Evidence, func(e Evidence) bool { return strings.Contains(e.Text, "is covered through") })
		if covered != (tt.severity == Medium) {
			t.Errorf("%s: evidence of the cover: %v", tt.holders, covered)
		}
		if a.Summary.BySeverity[tt.severity] != 2 {
			t.Errorf("%s: by severity %v", tt.holders, a.Summary.BySeverity)
		}
	}
}

// An age is in whole days: a password is over the limit a day after the limit.
func TestAgeLimit(t *testing.T) {
	const id = "T-05-old-password"
	c := &Catalogue{entries: []*Entry{builtinCatalogue(t).Entry(id)}}
	limit := DefaultOptions().OldPasswordDays
	for days, want := range map[int]int{limit - 1: 0, limit: 0, limit + 1: 1} {
		s := changed(t, fmt.Sprintf("users: [{name: Edge, account: edge, in: Staff, password-set: %dd, last-logon: 2d}]", days))
		fs := find(assess(t, c, Input{Snapshot: s, Options: testOptions()}), id)
		if len(fs) != want {
			t.Errorf("%d days: %d findings, want %d", days, len(fs), want)
		}
	}
}

// A domain as Samba provisions it has its own baseline, which counts nowhere else.
func TestFreshSambaDomain(t *testing.T) {
	const fresh = "fixture: 1\ndomain: contoso.test\nnetbios: CONTOSO\n"
	c := builtinCatalogue(t)
	a := assess(t, c, Input{Snapshot: snapshotOf(t, fresh)})
	if fs := find(a, "I-01-adminsdholder-entries"); len(fs) != 0 {
		t.Errorf("the defaults of Samba are findings: %s", fs[0].Detail)
	}
	if len(find(a, "C-16-adminsdholder-inheritance")) != 1 {
		t.Error("AdminSDHolder of Samba inherits, which is no finding")
	}
	windows := fresh + "changes: [{object: 'CN=DC1,OU=Domain Controllers,DC=contoso,DC=test', set: {operatingSystem: [Windows Server 2022 Standard]}}]\n"
	if fs := find(assess(t, c, Input{Snapshot: snapshotOf(t, windows)}), "I-01-adminsdholder-entries"); len(fs) != 1 {
		t.Error("the defaults of Samba count in a domain of Windows")
	}
}

func TestBaselineParses(t *testing.T) {
	w := newWorld(Input{Snapshot: snapshotOf(t, "fixture: 1\ndomain: contoso.test\nnetbios: CONTOSO\n")})
	lines := 0
	for line := range strings.Lines(baselineText) {
		if strings.Contains(line, "A;") && line[0] != '#' {
			lines++
		}
	}
	if got := len(w.baseline()); got != lines {
		t.Errorf("%d entries of %d lines", got, lines)
	}
}

// What an option names must be there; a misspelled name is no empty list.
func TestOptionsMustMatch(t *testing.T) {
	s := changed(t, "")
	for want, o := range map[string]Options{
		`exempt: no container "OU=Jmp,DC=contoso,DC=test"`: {ExemptOUs: []string{"OU=Jmp,DC=contoso,DC=test"}},
		`servers: no container "Servers"`:                  {ServerOUs: []string{"Servers"}},
		`workstations: no container`:                       {WorkstationOUs: []string{"OU=X,DC=contoso,DC=test"}},
		`admin-groups: no group "ordinary"`:                {AdminGroups: []string{"ordinary"}},
		`vip-groups: no group "Nobles"`:                    {VIPGroups: []string{"Nobles"}},
		`management-groups: no group "S-1-5-21-1-2-3-4"`:   {ManagementGroups: []string{"S-1-5-21-1-2-3-4"}},
	} {
		_, err := builtinCatalogue(t).Assess(Input{Snapshot: s, Now: testNow, Options: o})
		if !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want ErrOptions with %s", err, want)
		}
	}
}
