package app

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/forest"
)

// gapForest is a domain of which much could not be read: the descriptors and a
// description of seven users, two containers, and audit entries.
func gapForest(t *testing.T) *forest.Snapshot {
	t.Helper()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	b := forest.NewBuilder(forest.Info{Source: "test", Tool: "test", Started: at, Finished: at})
	b.Collected(forest.SAMAccountName)
	domain := forest.Entry{DN: "DC=contoso,DC=test", Attrs: []forest.Values{
		{Name: "objectClass", Vals: [][]byte{[]byte("domainDNS")}},
		{Name: "nTSecurityDescriptor", Vals: [][]byte{{1, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}},
	}}
	if err := b.Add(domain); err != nil {
		t.Fatal(err)
	}
	for i := range 7 {
		e := forest.Entry{DN: fmt.Sprintf("CN=u%d,DC=contoso,DC=test", i), Attrs: []forest.Values{
			{Name: "objectClass", Vals: [][]byte{[]byte("user")}},
		}}
		if err := b.Add(e); err != nil {
			t.Fatal(err)
		}
		b.MarkUnreadable(forest.SAMAccountName, "the account may not read it")
	}
	for _, c := range []forest.Coverage{
		{Area: forest.AreaPartition, Subject: "DC=contoso,DC=test", State: "complete", Count: 8},
		{Area: forest.AreaDescriptor, Subject: "nTSecurityDescriptor", State: "partial", Reason: "no Read permissions", Count: 7},
		{Area: forest.AreaDescriptor, Subject: "contoso.test/Policies", State: "partial", Reason: "denied", Count: 3},
		{Area: forest.AreaFile, Subject: "contoso.test/Policies", State: "unreadable", Reason: "server is not reachable"},
		{Area: forest.AreaFile, Subject: "fabrikam.test/Policies", State: "partial", Reason: "some files could not be read"},
		{Area: forest.AreaAttribute, Subject: "sAMAccountName", State: "partial", Reason: "no Read", Count: 7},
		{Area: forest.AreaContainer, Subject: "OU=A,DC=contoso,DC=test", State: "unreadable", Reason: "no List"},
		{Area: forest.AreaContainer, Subject: "OU=B,DC=contoso,DC=test", State: "unreadable", Reason: "no List"},
		{Area: forest.AreaSACL, Subject: "nTSecurityDescriptor", State: "unreadable", Reason: "no privilege"},
		{Area: forest.AreaMetadata, Subject: "member", State: "not collected", Reason: "not asked for"},
	} {
		b.Cover(c)
	}
	s, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCoverageChecks(t *testing.T) {
	checks := coverageChecks(gapForest(t), "alice")
	find := func(name string) Check {
		t.Helper()
		i := slices.IndexFunc(checks, func(c Check) bool { return c.Name == name })
		if i < 0 {
			t.Fatalf("there is no check %q in %+v", name, checks)
		}
		return checks[i]
	}
	for _, want := range []struct {
		name  string
		state CheckState
		named int
		total int
		hint  string // part of it
	}{
		{"partition DC=contoso,DC=test", CheckOK, 0, 0, ""},
		{"descriptor nTSecurityDescriptor", CheckWarn, maxGapObjects, 7, `grant Read permissions: dsacls "CN=u0,DC=contoso,DC=test" /G "alice:RC", and so for the others`},
		{"descriptor", CheckWarn, 1, 1, "on the files"}, // of files, not of the seven objects
		{"file", CheckWarn, 1, 1, "port 445"},
		{"attribute sAMAccountName", CheckWarn, maxGapObjects, 7, "grant Read on the attribute"},
		{"container", CheckWarn, 2, 2, `grant List contents: dsacls "OU=A,DC=contoso,DC=test" /G "alice:LC"`},
		{"sacl nTSecurityDescriptor", CheckWarn, 0, 0, "Manage auditing and security log"},
		{"metadata member", CheckOK, 0, 0, ""},
	} {
		c := find(want.name)
		if c.State != want.state || len(c.Objects) != want.named || c.Total != want.total || !strings.Contains(c.Hint, want.hint) {
			t.Errorf("%s: %+v, want %+v", want.name, c, want)
		}
		if (c.State == CheckOK) != (c.Hint == "") {
			t.Errorf("%s: state %s with hint %q", c.Name, c.State, c.Hint)
		}
	}
	if i := slices.IndexFunc(checks, func(c Check) bool { return slices.Contains(c.Objects, "fabrikam.test/Policies") }); i < 0 || !strings.Contains(checks[i].Hint, "on the policy") {
		t.Error("a share of which some files could not be read is not told to grant them")
	}
	if i := slices.IndexFunc(coverageChecks(gapForest(t), ""), func(c Check) bool { return strings.Contains(c.Hint, `/G "ACCOUNT:RC"`) }); i < 0 {
		t.Error("an account that is not known has no place holder in the grant")
	}
}

// What every domain hides from ordinary users is not worth a warning or a grant.
func TestHiddenByDefaultIsNoGap(t *testing.T) {
	b := forest.NewBuilder(forest.Info{Source: "ldap", Domain: "contoso.test"})
	empty := []byte{1, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	for dn, class := range map[string]string{"DC=contoso,DC=test": "domainDNS", "CN=Users,DC=contoso,DC=test": "container"} {
		if err := b.Add(forest.Entry{DN: dn, Attrs: []forest.Values{
			{Name: "objectClass", Vals: [][]byte{[]byte(class)}}, {Name: "nTSecurityDescriptor", Vals: [][]byte{empty}},
		}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Add(forest.Entry{DN: "CN=NTDS Quotas,DC=contoso,DC=test"}); err != nil {
		t.Fatal(err)
	}
	b.Cover(forest.Coverage{Area: forest.AreaDescriptor, Subject: "nTSecurityDescriptor", State: "partial", Reason: "no Read permissions", Count: 1})
	s, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	checks := coverageChecks(s, "alice")
	if len(checks) != 1 || checks[0].State != CheckOK || checks[0].Hint != "" || checks[0].Total != 0 {
		t.Errorf("%+v", checks)
	}
}
