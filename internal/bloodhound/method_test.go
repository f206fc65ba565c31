package bloodhound

import (
	"fmt"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
)

// collectedBy makes a small collection of the methods given.
func collectedBy(t *testing.T, methods int, member, links string) *forest.Snapshot {
	t.Helper()
	file := func(kind, object string) []byte {
		return fmt.Appendf(nil, `{"data":[%s],"meta":{"methods":%d,"type":%q,"count":1,"version":6}}`, object, methods, kind)
	}
	return snapshotOf(t, map[string][]byte{
		"domains.json":   file("domains", strings.Replace(oneDomain, `"Aces":[]`, `"Aces":[],"Trusts":[]`+links, 1)),
		"groups.json":    file("groups", `{"ObjectIdentifier":"S-1-5-21-1-2-3-1104","Properties":{"distinguishedname":"CN=G,DC=A,DC=TEST"}`+member+`}`),
		"computers.json": file("computers", `{"ObjectIdentifier":"S-1-5-21-1-2-3-1105","Properties":{"distinguishedname":"CN=C,DC=A,DC=TEST"},"AllowedToAct":[],"DumpSMSAPassword":[]}`),
	})
}

// An empty list is none only if the collector was asked for the list.
func TestMethodsNotUsed(t *testing.T) {
	const all, empty, noLinks = 1<<18 - 1, `,"Members":[]`, `,"Links":[]`
	const oneMember = `,"Members":[{"ObjectIdentifier":"S-1-5-21-1-2-3-1105"}]`
	for name, c := range map[string]struct {
		methods       int
		member, links string
		want          [3]forest.State // of member, gPLink and the delegation of the computer
		gaps          string
	}{
		"all":         {all, empty, noLinks, [3]forest.State{forest.Absent, forest.Absent, forest.Absent}, ""},
		"not said":    {0, empty, noLinks, [3]forest.State{forest.Absent, forest.Absent, forest.Absent}, ""},
		"no groups":   {all &^ methodGroup, empty, noLinks, [3]forest.State{forest.Unreadable, forest.Absent, forest.Absent}, "method Group 1"},
		"but members": {all &^ methodGroup, oneMember, noLinks, [3]forest.State{forest.Known, forest.Absent, forest.Absent}, ""},
		"ACL only":    {1 << 6, empty, noLinks, [3]forest.State{forest.Unreadable, forest.Unreadable, forest.Unreadable}, "method Container 1, method Group 1, method ObjectProps 1, method Trusts 1"},
		"no lists":    {all, "", "", [3]forest.State{forest.Unreadable, forest.Unreadable, forest.Absent}, ""},
		"null":        {all, `,"Members":null`, `,"Links":null`, [3]forest.State{forest.Unreadable, forest.Unreadable, forest.Absent}, ""},
	} {
		s := collectedBy(t, c.methods, c.member, c.links)
		_, member := s.Links(find(t, s, "CN=G,DC=A,DC=TEST"), forest.Member)
		_, link := s.Str(find(t, s, "DC=A,DC=TEST"), forest.GPLink)
		_, acts := s.Desc(find(t, s, "CN=C,DC=A,DC=TEST"), forest.MsDSAllowedToActOnBehalfOfOtherIdentity)
		if got := [3]forest.State{member, link, acts}; got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		var gaps []string
		for _, g := range s.Coverage() {
			if strings.HasPrefix(g.Subject, "method ") {
				gaps = append(gaps, fmt.Sprintf("%s %d", g.Subject, g.Count))
			}
		}
		if got := strings.Join(gaps, ", "); got != c.gaps {
			t.Errorf("%s: gaps %q, want %q", name, got, c.gaps)
		}
	}
}

// Numbers that are no times and no flags are not made into some.
func TestNumbersOutOfRange(t *testing.T) {
	for _, n := range []string{"253402300800", "9223372036854775807", "1e18", "1e400"} {
		s := snapshotOf(t, map[string][]byte{
			"domains.json": []byte(`{"meta":{"type":"domains","count":1,"version":6},"data":[` + oneDomain + `]}`),
			"users.json": []byte(strings.ReplaceAll(`{"meta":{"type":"users","count":1,"version":6},"data":[{"ObjectIdentifier":"S-1-5-21-1-2-3-1103","Properties":
				{"distinguishedname":"CN=U,DC=A,DC=TEST","whencreated":@,"pwdlastset":@,"lastlogontimestamp":@,"useraccountcontrol":@}}]}`, "@", n)),
		})
		id := find(t, s, "CN=U,DC=A,DC=TEST")
		for _, a := range []forest.Attr{forest.WhenCreated, forest.PwdLastSet, forest.LastLogonTimestamp, forest.UserAccountControl} {
			if v, st := s.Int(id, a); st != forest.Unreadable {
				t.Errorf("%s as %s: %d (%v)", n, a, v, st)
			}
		}
	}
}

// Names of rights that nobody knows are counted, and only so many are listed.
func TestUnknownRightsAreBounded(t *testing.T) {
	var aces []string
	for i := range 3 * maxWords {
		aces = append(aces, fmt.Sprintf(`{"PrincipalSID":"S-1-5-21-1-2-3-512","RightName":"R%d"},{"PrincipalSID":"nobody %d","RightName":"Owns"}`, i, i))
	}
	s := snapshotOf(t, map[string][]byte{"domains.json": []byte(`{"meta":{"type":"domains","count":1,"version":6},"data":[` +
		strings.Replace(oneDomain, `"Aces":[]`, `"Aces":[`+strings.Join(aces, ",")+`]`, 1) + `]}`)})
	listed, total := 0, 0
	for _, c := range s.Coverage() {
		if strings.HasPrefix(c.Subject, "right ") {
			listed, total = listed+1, total+c.Count
		}
		if c.Subject == "right "+rightOfNoSID && c.Count != 3*maxWords {
			t.Errorf("%d rights of no SID", c.Count)
		}
	}
	if listed > maxWords+2 || total != 6*maxWords {
		t.Errorf("%d listed with %d rights", listed, total)
	}
}

// An archive whose files share their packed bytes is bounded as a whole.
func TestPlausible(t *testing.T) {
	for packed, want := range map[int64]int64{0: freeBytes, 1 << 20: freeBytes + 400<<20, 1 << 40: maxUnpacked, 1<<63 - 1: maxUnpacked} {
		if got := plausible(packed); got != want {
			t.Errorf("%d packed bytes: %d, want %d", packed, got, want)
		}
	}
}
