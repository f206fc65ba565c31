package forest

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// Two exports with different lists of attributes in one snapshot: what one of them
// did not ask for is unreadable on its objects and never absent, in every form and
// after a round trip.
func TestLDIFUnaskedIsNotAbsent(t *testing.T) {
	head := func(attrs string) string {
		return "# extended LDIF\n#\n# LDAPv3\n# requesting: " + attrs + "\n#\n\n"
	}
	const end = "\nsearch: 2\nresult: 0 Success\n\n"
	people := "dn: CN=a,DC=x\nobjectClass: user\nsAMAccountName: a\nadminCount: 1\n\ndn: CN=b,DC=x\nobjectClass: user\nsAMAccountName: b\n"
	groups := "dn: CN=g,DC=x\nobjectClass: group\nsAMAccountName: g\nmember: CN=a,DC=x\n\ndn: CN=h,DC=x\nobjectClass: group\nsAMAccountName: h\n"
	for name, files := range map[string][]string{
		"ldapsearch": {
			head("objectClass sAMAccountName adminCount description") + people + end,
			head("objectClass sAMAccountName member") + groups + end,
		},
		"ldifde":                        {people + "description: x\n", groups},
		"two searches in one file":      {head("objectClass sAMAccountName adminCount description") + people + end + head("objectClass sAMAccountName member") + groups + end},
		"groups first":                  {groups, people + "description: x\n"},
		"a third that asked for it all": {people + "description: x\n", groups, head("*") + "dn: CN=o,DC=x\nobjectClass: user\n" + end},
	} {
		t.Run(name, func(t *testing.T) {
			b := newTestBuilder()
			for _, f := range files {
				if err := ReadLDIF(strings.NewReader(f), b); err != nil {
					t.Fatal(err)
				}
			}
			s, err := b.Build()
			if err != nil {
				t.Fatal(err)
			}
			checkUnasked(t, s, strings.HasPrefix(name, "a third"))
			var file bytes.Buffer
			if err := s.Write(&file); err != nil {
				t.Fatal(err)
			}
			again, err := Read(bytes.NewReader(file.Bytes()))
			if err != nil {
				t.Fatal(err)
			}
			checkUnasked(t, again, strings.HasPrefix(name, "a third"))
		})
	}
}

func checkUnasked(t *testing.T, s *Snapshot, third bool) {
	t.Helper()
	states := func(dn string) (adminCount, member, description State) {
		id := mustFind(t, s, dn)
		_, adminCount = s.Int(id, AdminCount)
		_, member = s.Links(id, Member)
		_, description = s.Str(id, Description)
		return adminCount, member, description
	}
	for dn, want := range map[string][2]State{ // adminCount, member
		"CN=a,DC=x": {Known, Unreadable}, "CN=b,DC=x": {Absent, Unreadable},
		"CN=g,DC=x": {Unreadable, Known}, "CN=h,DC=x": {Unreadable, Absent},
	} {
		ac, m, d := states(dn)
		if ac != want[0] || m != want[1] || (d == Unreadable) != strings.ContainsAny(dn[:4], "gh") {
			t.Errorf("%s: adminCount %v, member %v, description %v; want %v", dn, ac, m, d, want)
		}
	}
	if third {
		if ac, m, d := states("CN=o,DC=x"); ac != Absent || m != Absent || d != Absent {
			t.Errorf("of the object of which all was asked: %v %v %v", ac, m, d)
		}
	}
	g, h := mustFind(t, s, "CN=g,DC=x"), mustFind(t, s, "CN=h,DC=x")
	if why := s.Why(h, AdminCount); why != whyUnasked {
		t.Errorf("why: %q", why)
	}
	if got := s.Flawed(AdminCount); !slices.Equal(got, []ID{g, h}) {
		t.Errorf("flawed: %v", got)
	}
	if !slices.ContainsFunc(s.Coverage(), func(c Coverage) bool {
		return c.Subject == "attributes that only some exports have" && c.State == "partial" && c.Count == 2 && strings.Contains(c.Reason, " adminCount,") && strings.Contains(c.Reason, " description")
	}) {
		t.Error("coverage does not say so")
	}
}

// One list of attributes for all files leaves nothing to say.
func TestLDIFSameListIsWhole(t *testing.T) {
	b := newTestBuilder()
	for _, dn := range []string{"CN=a,DC=x", "CN=b,DC=x"} {
		if err := ReadLDIF(strings.NewReader("dn: "+dn+"\nsAMAccountName: joe\n"), b); err != nil {
			t.Fatal(err)
		}
	}
	s, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	if len(s.unasked) != 0 {
		t.Errorf("sets: %+v", s.unasked)
	}
}

func TestHostileUnasked(t *testing.T) {
	b := newTestBuilder()
	for _, f := range []string{"dn: CN=a,DC=x\nadminCount: 1\n", "dn: CN=b,DC=x\nsAMAccountName: b\n"} {
		if err := ReadLDIF(strings.NewReader(f), b); err != nil {
			t.Fatal(err)
		}
	}
	s, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	good := s.encodeUnasked()
	twice := &encoder{}
	twice.uint(2)
	for range 2 {
		twice.uint(1)
		twice.str("adminCount")
		twice.ids([]ID{0})
	}
	beyond := &encoder{}
	beyond.uint(1)
	beyond.uint(0)
	beyond.ids([]ID{0, ID(s.Len())})
	for name, raw := range map[string][]byte{"cut": good[:len(good)-1], "longer": append(slices.Clone(good), 0), "twice": twice.b, "beyond": beyond.b, "huge": {0xff, 0xff, 0xff, 0x7f}} {
		file := forge(t, s, func(sec section) []section {
			if sec.name == secUnasked {
				sec.raw = raw
			}
			return []section{sec}
		})
		if _, err := Read(bytes.NewReader(file)); err == nil {
			t.Errorf("%s is read", name)
		}
	}
}
