package reach_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

var (
	contoso = secdesc.MustSID("S-1-5-21-1-2-3")
	start   = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

// A world is a small forest under construction.
type world struct {
	t testing.TB
	b *forest.Builder
}

func newWorld(t testing.TB) *world {
	w := &world{t, forest.NewBuilder(forest.Info{Started: start})}
	w.b.Collected(forest.Member, forest.PrimaryGroupID, forest.GroupType)
	w.domain("DC=a", contoso)
	return w
}

func (w *world) add(dn, classes string, sid secdesc.SID, attrs ...string) {
	w.t.Helper()
	e := forest.Entry{DN: dn}
	var cl [][]byte
	for _, c := range strings.Fields(classes) {
		cl = append(cl, []byte(c))
	}
	e.Attrs = append(e.Attrs, forest.Values{Name: "objectClass", Vals: cl})
	if !sid.IsZero() {
		e.Attrs = append(e.Attrs, forest.Values{Name: "objectSid", Vals: [][]byte{sid.Bytes()}})
	}
	for _, a := range attrs {
		name, val, _ := strings.Cut(a, "=")
		e.Attrs = append(e.Attrs, forest.Values{Name: name, Vals: [][]byte{[]byte(val)}})
	}
	if err := w.b.Add(e); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) domain(dn string, sid secdesc.SID) {
	w.add(dn, "top domain domainDNS", sid, "instanceType=5")
}

func (w *world) user(name string, rid uint32, attrs ...string) {
	w.add("CN="+name+",DC=a", "top person organizationalPerson user", contoso.Child(rid), attrs...)
}

func (w *world) group(name string, rid uint32, kind int32, members ...string) {
	w.groupAt("CN="+name+",DC=a", contoso.Child(rid), kind, members...)
}

func (w *world) groupAt(dn string, sid secdesc.SID, kind int32, members ...string) {
	attrs := []string{fmt.Sprintf("groupType=%d", kind)}
	for _, m := range members {
		if !strings.Contains(m, "DC=") {
			m = "CN=" + m + ",DC=a"
		}
		attrs = append(attrs, "member="+m)
	}
	w.add(dn, "top group", sid, attrs...)
}

func (w *world) build() (*forest.Snapshot, *reach.Index) {
	w.t.Helper()
	s, err := w.b.Build()
	if err != nil {
		w.t.Fatal(err)
	}
	return s, reach.New(s)
}

const (
	globalGroup    = -2147483646
	localGroup     = -2147483644
	universalGroup = -2147483640
	distribution   = 2
)

func names(s *forest.Snapshot, ids []forest.ID) []string {
	var out []string
	for _, id := range ids {
		out = append(out, s.Name(id))
	}
	slices.Sort(out)
	return out
}

func TestMembership(t *testing.T) {
	w := newWorld(t)
	w.group("Domain Users", 513, globalGroup)
	w.group("Guests", 514, globalGroup)
	w.user("alice", 1000, "primaryGroupID=513")
	w.user("bob", 1001, "primaryGroupID=513")
	w.user("carol", 1002, "primaryGroupID=1102")
	w.user("guest", 501, "primaryGroupID=514")
	w.group("inner", 1100, globalGroup, "alice")
	w.group("outer", 1101, universalGroup, "inner", "CN=gone,DC=a")
	w.group("primary", 1102, globalGroup)
	w.group("news", 1103, distribution, "bob")
	w.group("behind news", 1104, globalGroup, "news", "carol")
	w.group("ring1", 1105, globalGroup, "ring2", "bob")
	w.group("ring2", 1106, globalGroup, "ring1")
	w.group("timed", 1107, globalGroup, "<TTL=60>,CN=bob,DC=a", "alice")
	w.groupAt("CN=Users,CN=Builtin,DC=a", secdesc.MustSID("S-1-5-32-545"), localGroup, "CN=S-1-5-11,CN=F,DC=a", "Domain Users")
	w.add("CN=S-1-5-11,CN=F,DC=a", "top foreignSecurityPrincipal", secdesc.MustSID("S-1-5-11"))
	w.domain("DC=b", secdesc.MustSID("S-1-5-21-9-9-9"))
	w.groupAt("CN=far local,DC=b", secdesc.MustSID("S-1-5-21-9-9-9-1100"), localGroup, "alice")
	w.groupAt("CN=far universal,DC=b", secdesc.MustSID("S-1-5-21-9-9-9-1101"), universalGroup, "alice")
	s, x := w.build()
	id := func(name string) forest.ID {
		for _, dn := range []string{"CN=" + name + ",DC=a", "CN=" + name + ",DC=b", "CN=" + name + ",CN=Builtin,DC=a"} {
			if id := s.Lookup(dn); id != forest.None {
				return id
			}
		}
		t.Fatalf("no %s", name)
		return forest.None
	}

	for _, c := range []struct{ group, members, standing string }{
		{"inner", "alice", "alice"},
		{"outer", "alice", "alice"},
		{"primary", "carol", "carol"},
		{"news", "", ""},
		{"behind news", "carol", "carol"},
		{"ring1", "bob", "bob"},
		{"ring2", "bob", "bob"},
		{"timed", "alice bob", "alice"},
		{"Users", "S-1-5-11 alice bob", "S-1-5-11 alice bob"},
		{"far local", "alice", "alice"},
	} {
		if got := strings.Join(names(s, x.Members(id(c.group))), " "); got != c.members {
			t.Errorf("members of %s: %q, want %q", c.group, got, c.members)
		}
		if got := strings.Join(names(s, x.Standing(id(c.group))), " "); got != c.standing {
			t.Errorf("standing members of %s: %q, want %q", c.group, got, c.standing)
		}
	}

	tokens := map[string]string{
		"alice": "Domain Users far universal inner outer timed Users",
		"bob":   "Domain Users ring1 ring2 timed Users",
		"carol": "behind news primary",
		"guest": "Guests",
		"ring1": "ring1 ring2",
	}
	for name, want := range tokens {
		var got []string
		for _, sid := range x.TokenGroups(id(name)) {
			got = append(got, s.Name(s.BySID(sid)))
		}
		slices.SortFunc(got, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
		if strings.Join(got, " ") != want {
			t.Errorf("token groups of %s: %q, want %q", name, strings.Join(got, " "), want)
		}
	}

	users := s.SID(id("Users"))
	if !x.Holds(id("carol"), users) {
		t.Error("carol does not hold BUILTIN\\Users through Authenticated Users")
	}
	if x.Holds(id("guest"), users) {
		t.Error("Guest holds BUILTIN\\Users, but is not authenticated")
	}
	chain := x.Chain(id("carol"), id("Users"))
	if len(chain) != 2 || chain[0].How != reach.ByIdentity || chain[1].How != reach.ByMember {
		t.Errorf("chain carol → Users: %+v", chain)
	}
	if c := x.Chain(id("bob"), id("timed")); len(c) != 1 || !c[0].Expires.Equal(start.Add(time.Minute)) {
		t.Errorf("chain bob → timed: %+v", c)
	}
	if c := x.Chain(id("bob"), id("outer")); c != nil {
		t.Errorf("chain bob → outer: %+v, want none", c)
	}
	gaps := x.Gaps(id("outer"))
	if len(gaps) != 1 || gaps[0].DN != "CN=gone,DC=a" {
		t.Errorf("gaps of outer: %+v", gaps)
	}
	if g := x.Gaps(id("inner")); g != nil {
		t.Errorf("gaps of inner: %+v", g)
	}
}

// Random nestings with cycles, distribution groups and primary groups against a
// fixpoint over the definition.
func TestMembershipProperty(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld(t)
		const groups, users = 12, 8
		kinds := make([]int32, groups)
		direct := make([][]int, groups) // members: 0…users-1 users, then groups
		primary := make([]int, users)
		for u := range users {
			primary[u] = rapid.IntRange(0, groups-1).Draw(r, "primary")
			w.user(fmt.Sprint("u", u), uint32(2000+u), fmt.Sprint("primaryGroupID=", 3000+primary[u]))
		}
		for g := range groups {
			kinds[g] = rapid.SampledFrom([]int32{globalGroup, localGroup, universalGroup, distribution}).Draw(r, "kind")
			direct[g] = rapid.SliceOfNDistinct(rapid.IntRange(0, users+groups-1), 0, 5, rapid.ID).Draw(r, "members")
			var members []string
			for _, m := range direct[g] {
				if m < users {
					members = append(members, fmt.Sprint("u", m))
				} else {
					members = append(members, fmt.Sprint("g", m-users))
				}
			}
			w.group(fmt.Sprint("g", g), uint32(3000+g), kinds[g], members...)
		}
		s, x := w.build()

		var holds [users + groups][groups]bool // fixpoint
		for changed := true; changed; {
			changed = false
			for g := range groups {
				if kinds[g] == distribution {
					continue
				}
				for m := range users + groups {
					is := slices.Contains(direct[g], m) || m < users && primary[m] == g
					for via := range groups {
						is = is || holds[m][via] && slices.Contains(direct[g], users+via)
					}
					if is && !holds[m][g] {
						holds[m][g], changed = true, true
					}
				}
			}
		}
		at := func(m int) forest.ID {
			if m < users {
				return s.Lookup(fmt.Sprint("CN=u", m, ",DC=a"))
			}
			return s.Lookup(fmt.Sprint("CN=g", m-users, ",DC=a"))
		}
		for m := range users + groups {
			var want []secdesc.SID
			for g := range groups {
				if holds[m][g] {
					want = append(want, contoso.Child(uint32(3000+g)))
				}
				if chain := x.Chain(at(m), at(users+g)); m != users+g && (chain != nil) != holds[m][g] {
					r.Fatalf("chain %d → group %d: %v, want %v", m, g, chain, holds[m][g])
				}
				if got := x.Holds(at(m), contoso.Child(uint32(3000+g))); got != holds[m][g] && m != users+g {
					r.Fatalf("%d holds group %d: %v", m, g, got)
				}
				if m < users {
					if _, got := slices.BinarySearch(x.Members(at(users+g)), at(m)); got != holds[m][g] {
						r.Fatalf("group %d has user %d: %v, want %v", g, m, got, holds[m][g])
					}
				} else if m != users+g && kinds[m-users] != distribution {
					if _, got := slices.BinarySearch(x.Nested(at(users+g)), at(m)); got != holds[m][g] {
						r.Fatalf("in group %d group %d is nested: %v, want %v", g, m, got, holds[m][g])
					}
				}
			}
			if d := cmp.Diff(fmt.Sprint(want), fmt.Sprint(x.TokenGroups(at(m)))); d != "" {
				r.Fatalf("token groups of %d (-want +got):\n%s", m, d)
			}
		}
	})
}
