package app

import (
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Power that the account holds is told apart from none and from what the domain
// controller did not tell, also where the account may not see the group.
func TestMembershipCheck(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	domain := secdesc.MustSID("S-1-5-21-1-2-3")
	b := forest.NewBuilder(forest.Info{Source: "test", Started: at, Finished: at})
	for dn, e := range map[string]struct {
		class string
		sid   secdesc.SID
	}{
		"DC=contoso,DC=test":                           {"domainDNS", domain},
		"CN=Domain Admins,CN=Users,DC=contoso,DC=test": {"group", secdesc.MustSID("S-1-5-21-1-2-3-512")},
	} {
		err := b.Add(forest.Entry{DN: dn, Attrs: []forest.Values{
			{Name: "objectClass", Vals: [][]byte{[]byte(e.class)}}, {Name: "objectSid", Vals: [][]byte{e.sid.Bytes()}},
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		token []string
		state CheckState
		says  string
	}{
		"ordinary":                 {[]string{"S-1-5-21-1-2-3-513", "S-1-5-11", "S-1-1-0"}, CheckOK, "holds no privileged membership"},
		"privileged":               {[]string{"S-1-5-21-1-2-3-513", "S-1-5-21-1-2-3-512"}, CheckWarn, "is a member of Domain Admins: "},
		"a group that is not seen": {[]string{"S-1-5-32-551"}, CheckWarn, "is a member of S-1-5-32-551: "},
		"of the root, not scanned": {[]string{"S-1-5-21-7-8-9-519"}, CheckWarn, "is a member of S-1-5-21-7-8-9-519: "},
		"of another forest":        {[]string{"S-1-5-21-7-8-9-513"}, CheckOK, "holds no privileged membership"},
		"not told":                 {nil, CheckWarn, "did not tell all groups"},
		"told in part":             {[]string{"S-1-5-11", ""}, CheckWarn, "did not tell all groups"},
	} {
		t.Run(name, func(t *testing.T) {
			who := dc.Account{Principal: "reader"}
			for _, text := range c.token {
				var raw []byte
				if text != "" {
					raw = secdesc.MustSID(text).Bytes()
				}
				who.TokenGroups = append(who.TokenGroups, raw)
			}
			got := membershipCheck(s, who)
			if got.State != c.state || !strings.Contains(got.Detail, c.says) || got.Name != "reader" || got.Area != "account" {
				t.Errorf("%+v, want %s: %s", got, c.state, c.says)
			}
			if (got.Hint == "") != (got.State == CheckOK) {
				t.Errorf("state %s with hint %q", got.State, got.Hint)
			}
		})
	}
}
