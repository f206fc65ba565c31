//go:build linux

package reach_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
	"github.com/google/go-cmp/cmp"

	"github.com/leastwise/leastwise/internal/collect"
	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/lab/labtest"
)

// The directory itself computes tokenGroups: for every account and group of the
// lab it must equal ours, on both domain controllers, round after round of random
// nesting with cycles, distribution groups, scopes and primary groups.
func TestTokenGroupsOfDirectory(t *testing.T) {
	lab := labtest.Start(t, labtest.Options{Fresh: true}) // all groups are compared: nobody else may change any
	conn := dial(t, lab, 0)
	n := newNesting(t, lab, conn, 80, 40)
	const rounds = 4
	edges := 0
	for range rounds {
		edges += n.shuffle()
		lab.Converge()
		for i := range lab.DCs() {
			s := scan(t, lab, i)
			compareTokens(t, s, reach.New(s), dial(t, lab, i))
		}
	}
	t.Logf("%d memberships were made in %d rounds", edges, rounds)
	if edges < 1000 {
		t.Errorf("only %d memberships were made: the rounds prove too little", edges)
	}
	compareMembers(t, lab, scan(t, lab, 0))
}

// The same for every user, computer and group of the demonstration company: groups
// nested eight deep, one of 5,000 members, names that need escaping.
func TestTokenGroupsOfContoso(t *testing.T) {
	lab := labtest.Start(t, labtest.Options{Seed: "../../examples/contoso.yaml"})
	for i := range lab.DCs() {
		s := scan(t, lab, i)
		if n := len(s.With(forest.PrimaryGroupID)); n < 2300 {
			t.Fatalf("the lab has only %d accounts", n)
		}
		compareTokens(t, s, reach.New(s), dial(t, lab, i))
		if i == 0 {
			compareMembers(t, lab, s)
		}
	}
}

func dial(t *testing.T, lab *labtest.Lab, i int) *ldap.Conn {
	t.Helper()
	c, err := lab.Dial(t.Context(), lab.DCs()[i], lab.Admin)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// scan reads the lab from domain controller i as an ordinary user.
func scan(t *testing.T, lab *labtest.Lab, i int) *forest.Snapshot {
	t.Helper()
	r, err := dc.Open(t.Context(), dc.Config{
		Domain: lab.Domain, DNS: lab.DNS, Server: lab.DCs()[i].FQDN,
		Credentials: dc.Password(lab.Reader.Name, lab.ReaderPassword()),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s, err := collect.Scan(t.Context(), r, collect.Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A nesting is a population of groups and users whose memberships are shuffled.
type nesting struct {
	t             *testing.T
	conn          *ldap.Conn
	rng           *rand.Rand
	groups, users []string // DNs
}

func newNesting(t *testing.T, lab *labtest.Lab, conn *ldap.Conn, groups, users int) *nesting {
	t.Helper()
	n := &nesting{t: t, conn: conn, rng: rand.New(rand.NewPCG(20261121, 7))}
	ou := "OU=nesting," + lab.BaseDN
	n.add(ou, map[string][]string{"objectClass": {"organizationalUnit"}})
	for i := range groups {
		dn := fmt.Sprintf("CN=nest g%d,%s", i, ou)
		n.add(dn, map[string][]string{
			"objectClass": {"group"}, "sAMAccountName": {fmt.Sprintf("nest-g%d", i)},
			"groupType": {fmt.Sprint(groupKinds[i%len(groupKinds)])},
		})
		n.groups = append(n.groups, dn)
	}
	for i := range users {
		dn := fmt.Sprintf("CN=nest u%d,%s", i, ou)
		n.add(dn, map[string][]string{"objectClass": {"user"}, "sAMAccountName": {fmt.Sprintf("nest-u%d", i)}})
		n.users = append(n.users, dn)
	}
	return n
}

func (n *nesting) add(dn string, attrs map[string][]string) {
	n.t.Helper()
	req := ldap.NewAddRequest(dn, nil)
	for k, v := range attrs {
		req.Attribute(k, v)
	}
	if err := n.conn.Add(req); err != nil {
		n.t.Fatalf("adding %s: %v", dn, err)
	}
}

// shuffle gives every group new random members and returns how many there are.
// Which kinds of groups may hold which is the directory's rule ([MS-ADTS]
// 3.1.1.5.2.4): global ones take global ones, universal ones also universal ones,
// domain-local ones everything.
func (n *nesting) shuffle() int {
	made := 0
	for i, g := range n.groups {
		members := map[string]bool{}
		for range 6 + n.rng.IntN(14) {
			if n.rng.IntN(3) == 0 {
				members[n.users[n.rng.IntN(len(n.users))]] = true
				continue
			}
			j := n.rng.IntN(len(n.groups))
			from, to := n.kind(j), n.kind(i)
			if to == localGroup || from == to || from != localGroup && to == universalGroup {
				members[n.groups[j]] = true
			}
		}
		req := ldap.NewModifyRequest(g, nil)
		req.Replace("member", slices.Collect(maps.Keys(members)))
		if err := n.conn.Modify(req); err != nil {
			n.t.Fatalf("giving members to %s: %v", g, err)
		}
		made += len(members)
	}
	return made
}

// kind returns the type of group i; a distribution group is global.
func (n *nesting) kind(i int) int32 {
	if k := groupKinds[i%len(groupKinds)]; k != distribution {
		return k
	}
	return globalGroup
}

var groupKinds = []int32{globalGroup, localGroup, universalGroup, distribution}

func compareTokens(t *testing.T, s *forest.Snapshot, x *reach.Index, conn *ldap.Conn) {
	t.Helper()
	checked := 0
	for _, id := range s.With(forest.SAMAccountName) {
		if s.SID(id).IsZero() || !s.IsA(id, "user") {
			continue
		}
		want, err := tokenGroups(conn, s.DN(id))
		if err != nil {
			t.Fatalf("tokenGroups of %s: %v", s.DN(id), err)
		}
		if d := cmp.Diff(text(want), text(x.TokenGroups(id))); d != "" {
			t.Errorf("token groups of %s (-directory +ours):\n%s", s.DN(id), d)
		}
		checked++
	}
	if checked < 40 {
		t.Errorf("only %d accounts were compared", checked)
	}
}

// tokenGroups returns the directory's own answer for an object, in order.
func tokenGroups(conn *ldap.Conn, dn string) ([]secdesc.SID, error) {
	res, err := conn.Search(ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false,
		"(objectClass=*)", []string{"tokenGroups"}, nil))
	if err != nil {
		return nil, err
	}
	if len(res.Entries) != 1 {
		return nil, fmt.Errorf("%d entries", len(res.Entries))
	}
	var out []secdesc.SID
	for _, raw := range res.Entries[0].GetRawAttributeValues("tokenGroups") {
		sid, err := secdesc.SIDFromBytes(raw)
		if err != nil {
			return nil, err
		}
		out = append(out, sid)
	}
	slices.SortFunc(out, secdesc.SID.Compare)
	return out, nil
}

func text(sids []secdesc.SID) []string {
	out := make([]string, len(sids))
	for i, s := range sids {
		out[i] = s.String()
	}
	return out
}

// listMembers runs samba-tool group listmembers for each group named on standard
// input; a line with a NUL and the name stands before the members.
const listMembers = `
import json, os, sys
from samba.netcmd.main import cmd_sambatool
lab = json.load(open(os.environ["LAB_FILE"]))
host = lab["hosts"][0]
for name in sys.stdin.read().splitlines():
    print("\0" + name)
    rc = cmd_sambatool()._run("samba-tool", "group", "listmembers", name,
        "-H", host["dir"] + "/private/sam.ldb", "-s", host["smb_conf"])
    if rc:
        print("\1")
`

// compareMembers compares the direct members of every group with samba-tool's.
func compareMembers(t *testing.T, lab *labtest.Lab, s *forest.Snapshot) {
	t.Helper()
	x := reach.New(s)
	byName := map[string]forest.ID{}
	var stdin []string
	for _, id := range s.With(forest.GroupType) {
		name, st := s.Str(id, forest.SAMAccountName)
		if st == forest.Known {
			byName[name] = id
			stdin = append(stdin, name)
		}
	}
	out := lab.Python(listMembers, []byte(strings.Join(stdin, "\n")))
	listed := strings.Split(string(out), "\x00")[1:]
	if len(listed) != len(stdin) {
		t.Fatalf("samba-tool listed %d groups of %d", len(listed), len(stdin))
	}
	for _, l := range listed {
		lines := strings.Split(strings.TrimRight(l, "\n"), "\n")
		want := lines[1:]
		if slices.Contains(want, "\x01") {
			t.Errorf("samba-tool cannot list the members of %s: %q", lines[0], want)
			continue
		}
		slices.Sort(want)
		var got []string
		for _, m := range x.DirectMembers(byName[lines[0]]) {
			name, st := s.Str(m, forest.SAMAccountName)
			if st != forest.Known {
				name = s.Name(m)
			}
			got = append(got, name)
		}
		slices.Sort(got)
		if d := cmp.Diff(strings.Join(want, "\n"), strings.Join(got, "\n")); d != "" {
			t.Errorf("members of %s (-samba-tool +ours):\n%s", lines[0], d)
		}
	}
}
