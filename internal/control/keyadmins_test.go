package control

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
)

// withKeyAdmins adds Key Admins and Enterprise Key Admins to the sound forest. The
// captured domain is older than these groups, and fixtures count up their
// identifiers, so they come in as an export would bring them.
func withKeyAdmins(t *testing.T, members string) *forest.Snapshot {
	t.Helper()
	s := changed(t, "")
	var ldif, groups strings.Builder
	if err := s.WriteLDIF(&ldif); err != nil {
		t.Fatal(err)
	}
	domain := s.Domains()[0]
	for rid, name := range map[uint32]string{526: "Key Admins", 527: "Enterprise Key Admins"} {
		sid := domain.SID.Child(rid)
		fmt.Fprintf(&groups, "dn: CN=%s,CN=Users,%s\nobjectClass: top\nobjectClass: group\nsAMAccountName: %s\ngroupType: -2147483640\nobjectSid:: %s\n%s\n",
			name, domain.DN, name, base64.StdEncoding.EncodeToString(sid.Bytes()), members)
	}
	const end, count = "# search result\n", "# numEntries: %d\n"
	text := strings.NewReplacer(end, groups.String()+end, fmt.Sprintf(count, s.Len()), fmt.Sprintf(count, s.Len()+2)).Replace(ldif.String())
	b := forest.NewBuilder(forest.Info{Source: "ldif", Started: testNow, Finished: testNow})
	if err := forest.ReadLDIF(strings.NewReader(text), b); err != nil {
		t.Fatal(err)
	}
	out, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestKeyAdminsEmpty(t *testing.T) {
	c := builtinCatalogue(t)
	for id, group := range map[string]string{"C-07-key-admins-empty": "Key Admins", "C-08-enterprise-key-admins-empty": "Enterprise Key Admins"} {
		only := &Catalogue{entries: []*Entry{c.Entry(id)}}
		for members, want := range map[string]Tally{
			"": {Pass: 1},
			"member: CN=Ordinary,OU=Staff,DC=contoso,DC=test\n": {Fail: 1},
		} {
			a := assess(t, only, Input{Snapshot: withKeyAdmins(t, members), Options: testOptions()})
			if got := a.Controls[0].Tally; got != want {
				t.Errorf("%s with %q: %+v, want %+v: %+v", id, members, got, want, a.Findings)
			}
			for _, f := range find(a, id) {
				checkFinding(t, &f)
				if f.Subject.Name != group || !strings.HasPrefix(f.Detail, "1 account holds "+group) {
					t.Errorf("%s [%s]: %s", id, f.Subject.Name, f.Detail)
				}
			}
		}
	}
}
