package control

import (
	"slices"
	"testing"
)

// TestGrown tells growth of a failure from its other changes.
func TestGrown(t *testing.T) {
	t.Parallel()
	fails := func(change func(*Finding)) Finding {
		f := Finding{
			Control: "F-01-empty", Outcome: Fail, Severity: High,
			Subject: Subject{Hosts: []string{"CN=A"}}, offenders: []string{"S-1-5-21-1-2-3-1104"},
		}
		change(&f)
		return f
	}
	same := func(*Finding) {}
	unknown := func(f *Finding) { f.Outcome, f.offenders = Unknown, nil }
	excepted := func(f *Finding) { f.Exception = &Exception{Owner: "somebody"} }
	second := func(f *Finding) { f.offenders = append(slices.Clone(f.offenders), "S-1-5-21-1-2-3-1105") }
	another := func(f *Finding) { f.offenders = []string{"S-1-5-21-1-2-3-1106"} }
	none := func(f *Finding) { f.offenders = nil }
	hosts := func(f *Finding) { f.Subject.Hosts = []string{"CN=A", "CN=B"} }
	critical := func(f *Finding) { f.Severity = Critical }
	texts := func(f *Finding) { f.Fix.Changes = []string{"remove it (through another group)"} }
	for _, c := range []struct {
		name     string
		old, new func(*Finding)
		want     bool
	}{
		{"a second offender", same, second, true},
		{"one offender fewer", second, same, false},
		{"another offender instead", same, another, true},
		{"no offender named any more", same, none, false},
		{"another computer", same, hosts, true},
		{"a computer fewer", hosts, same, false},
		{"more severe", same, critical, true},
		{"less severe", critical, same, false},
		{"unknown before", unknown, same, true},
		{"unknown now", same, unknown, false},
		{"accepted before", excepted, same, true},
		{"accepted now", same, excepted, false},
		{"accepted, with a second offender", same, func(f *Finding) { second(f); excepted(f) }, false},
		{"another way into the group", same, texts, false},
	} {
		change := FindingChange{fails(c.old), fails(c.new)}
		if got := change.Grown(); got != c.want {
			t.Errorf("%s: grown %t, want %t", c.name, got, c.want)
		}
		if got := len(Delta{Changed: []FindingChange{change}}.Grown()); (got == 1) != c.want {
			t.Errorf("%s: the delta lists %d", c.name, got)
		}
	}
}

// TestDiffPopulation compares assessments of forests that differ in the members of
// Domain Admins: a finding without changes to make grows as well.
func TestDiffPopulation(t *testing.T) {
	t.Parallel()
	c := builtinCatalogue(t)
	of := func(members string) *Assessment {
		return assess(t, c, Input{Options: Options{MaxPrivileged: 1}, Snapshot: snapshotOf(t, `fixture: 1
domain: contoso.test
netbios: CONTOSO
users:
`+members)})
	}
	one := of("  - {name: Dora, account: dora, member-of: [Domain Admins]}\n  - {name: Emil, account: emil}\n")
	two := of("  - {name: Dora, account: dora, member-of: [Domain Admins]}\n  - {name: Emil, account: emil, member-of: [Domain Admins]}\n")
	grown := func(old, new *Assessment) []string {
		var ids []string
		for _, f := range Diff(old, new).Grown() {
			ids = append(ids, f.Control)
		}
		return ids
	}
	if got, want := grown(one, two), []string{"F-01-empty", "P-01-privileged-population"}; !slices.Equal(got, want) {
		t.Errorf("grown with a second administrator: %q, want %q", got, want)
	}
	if got := grown(two, one); len(got) > 0 {
		t.Errorf("grown with one administrator fewer: %q", got)
	}
	if d := Diff(two, two); len(d.New)+len(d.Fixed)+len(d.Changed) > 0 {
		t.Errorf("an assessment differs from itself: %+v", d)
	}
}
