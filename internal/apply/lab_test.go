//go:build linux

package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ldap "github.com/go-ldap/ldap/v3"

	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/plan"
	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/lab/labtest"
)

const writeMember = "(OA;;RPWP;bf9679c0-0de6-11d0-a285-00aa003049e2;;%s)"

// Every kind of change is carried out, seen by another client, and undone.
func TestEveryKind(t *testing.T) {
	y := newYard(t, labtest.Start(t, labtest.Options{}))
	g, anna, bert, carl := y.group("g"), y.user("anna"), y.user("bert"), y.user("carl")
	y.modify(g.DN, "member", bert.DN)
	y.modify(carl.DN, "userAccountControl", "514")
	y.modify(g.DN, "description", "a group")
	granted, revoked := entry(t, writeMember, anna.SID), entry(t, "(A;;WDWO;;;%s)", bert.SID)
	apply(t, first(y.run()), y.plan(plan.Change{Kind: plan.GrantEntry, Object: g, Entry: revoked}))
	until := plan.At(time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC))
	p := y.plan(plan.Arrange([]plan.Change{
		{Kind: plan.RevokeEntry, Object: g, Entry: revoked},
		{Kind: plan.DisableAccount, Object: bert},
		{Kind: plan.RemoveMember, Object: g, Member: &bert},
		{Kind: plan.AddMember, Object: g, Member: &anna},
		{Kind: plan.EnableAccount, Object: carl},
		{Kind: plan.ResetPassword, Object: carl},
		{Kind: plan.SetExpiry, Object: carl, Expires: &until},
		{Kind: plan.GrantEntry, Object: g, Entry: granted},
	})...)
	r, j := y.run()
	rep := apply(t, r, p)
	if rep.Count(Done) != len(p.Changes) {
		t.Fatalf("%+v", rep)
	}
	for _, c := range rep.Changes {
		if !c.Verified || c.Server == "" {
			t.Errorf("%s was not read back: %+v", c.Change.Kind, c)
		}
	}
	check := func(when string, after bool) {
		t.Helper()
		want := map[bool]string{true: anna.DN, false: bert.DN}[after]
		if got := y.members(g); len(got) != 1 || got[0] != want {
			t.Errorf("%s: members %q, want %q", when, got, want)
		}
		if got := y.number(bert, "userAccountControl") == 514; got != after {
			t.Errorf("%s: bert disabled %t", when, got)
		}
		if got := y.number(carl, "userAccountControl") == 512; got != after {
			t.Errorf("%s: carl enabled %t", when, got)
		}
		if got := y.number(carl, "accountExpires") == until.FileTime(); got != after {
			t.Errorf("%s: carl expires then %t", when, got)
		}
		if y.hasEntry(g, granted) != after || y.hasEntry(g, revoked) == after {
			t.Errorf("%s: granted %t, revoked %t", when, y.hasEntry(g, granted), !y.hasEntry(g, revoked))
		}
	}
	check("applied", true)
	if err := canSignIn(y, carl, secondPassword); err != nil {
		t.Errorf("the new password is not in force: %v", err)
	}
	if err := canSignIn(y, carl, userPassword); dc.KindOf(err) != dc.ErrWrongPassword {
		t.Errorf("the old password: %v", err)
	}
	again := apply(t, r, p)
	for _, c := range again.Changes {
		if !c.Earlier {
			t.Errorf("%s was carried out twice", c.Change.Kind)
		}
	}
	lines := len(j.entries)
	undone, err := r.Undo(t.Context())
	if err != nil {
		t.Fatalf("%v\n%+v", err, undone)
	}
	if undone.Count(Done) != len(p.Changes)-1 || undone.Count(Irreversible) != 1 {
		t.Errorf("%+v", undone)
	}
	check("undone", false)
	if _, err := r.Undo(t.Context()); err != nil {
		t.Error(err)
	}
	if len(j.entries) <= lines {
		t.Error("undoing left nothing in the journal")
	}
	for _, e := range j.entries {
		if strings.Contains(e.Why, "second-Passw") {
			t.Error("a password is in the journal")
		}
	}
	if _, err := r.Apply(t.Context(), p, p.Digest()); !errors.Is(err, ErrJournal) {
		t.Errorf("an undone plan is carried out again: %v", err)
	}
}

func first(r *Run, _ *memory) *Run { return r }

// What was so before is left alone, by applying and by undoing.
func TestAlready(t *testing.T) {
	y := newYard(t, labtest.Start(t, labtest.Options{}))
	g, anna, bert := y.group("g"), y.user("anna"), y.user("bert")
	y.modify(g.DN, "member", anna.DN)
	p := y.plan(
		plan.Change{Kind: plan.AddMember, Object: g, Member: &anna},
		plan.Change{Kind: plan.RemoveMember, Object: g, Member: &bert},
		plan.Change{Kind: plan.EnableAccount, Object: anna},
		plan.Change{Kind: plan.SetExpiry, Object: anna, Expires: &plan.Expiry{}},
		plan.Change{Kind: plan.RevokeEntry, Object: g, Entry: entry(t, writeMember, anna.SID)},
	)
	r, _ := y.run()
	usn := y.number(g, "uSNChanged")
	if rep := apply(t, r, p); rep.Count(Already) != len(p.Changes) {
		t.Errorf("%+v", rep)
	}
	if _, err := r.Undo(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := y.members(g); len(got) != 1 || y.number(g, "uSNChanged") != usn {
		t.Errorf("the group was changed: %q", got)
	}
}

// Conditions are checked at the moment of writing, the run stops there, and says so.
func TestPreconditions(t *testing.T) {
	y := newYard(t, labtest.Start(t, labtest.Options{}))
	g, anna, bert := y.group("g"), y.user("anna"), y.user("bert")
	ptr := func(v uint32) *uint32 { return &v }
	num := func(v int64) *int64 { return &v }
	usn, dc1 := y.number(anna, "uSNChanged"), y.lab.DCs()[0].FQDN
	changed := y.read(anna.DN).GetAttributeValue("whenChanged")
	stranger := anna
	stranger.SID = stranger.SID.Domain().Child(4_000_000)
	cases := []struct {
		name string
		c    plan.Change
		why  string // empty: fits
	}{
		{"flags", plan.Change{Kind: plan.DisableAccount, Object: anna, Require: plan.Require{Flags: ptr(66048)}}, "userAccountControl is 512"},
		{"bits that lack", plan.Change{Kind: plan.DisableAccount, Object: anna, Require: plan.Require{FlagsSet: 0x100000}}, "lacks the required bits 0x100000"},
		{"bits too many", plan.Change{Kind: plan.DisableAccount, Object: anna, Require: plan.Require{FlagsClear: 0x200}}, "forbidden bits 0x200"},
		{"expiry", plan.Change{Kind: plan.SetExpiry, Object: anna, Expires: &plan.Expiry{}, Require: plan.Require{Expires: ptrExpiry(2030)}}, ""}, // never already
		{"expiry moved", plan.Change{Kind: plan.SetExpiry, Object: anna, Expires: ptrExpiry(2031), Require: plan.Require{Expires: ptrExpiry(2030)}}, "accountExpires is"},
		{"password", plan.Change{Kind: plan.ResetPassword, Object: anna, Require: plan.Require{PasswordSet: num(1)}}, "set by somebody else"},
		{"whenChanged", plan.Change{Kind: plan.DisableAccount, Object: anna, Require: plan.Require{WhenChanged: "20010101000000.0Z"}}, "changed meanwhile: whenChanged"},
		{"uSNChanged", plan.Change{Kind: plan.DisableAccount, Object: anna, Require: plan.Require{USNChanged: usn - 1, Server: dc1}}, "changed meanwhile: uSNChanged"},
		{"uSNChanged elsewhere", plan.Change{Kind: plan.DisableAccount, Object: anna, Require: plan.Require{USNChanged: usn, Server: "dc9.contoso.test"}}, "written through dc1"},
		{"another object", plan.Change{Kind: plan.DisableAccount, Object: stranger}, "as shown"},
		{"another member", plan.Change{Kind: plan.AddMember, Object: g, Member: &stranger}, "as shown"},
		{"all of them true", plan.Change{Kind: plan.DisableAccount, Object: anna, Require: plan.Require{Flags: ptr(512), FlagsSet: 0x200, FlagsClear: 2, WhenChanged: changed, USNChanged: usn, Server: dc1}}, ""},
	}
	for _, c := range cases {
		r, j := y.run()
		p := y.plan(c.c, plan.Change{Kind: plan.AddMember, Object: g, Member: &bert})
		rep, err := r.Apply(t.Context(), p, p.Digest())
		if c.why == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			if _, err := r.Undo(t.Context()); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if !errors.Is(err, ErrStopped) || rep.Changes[0].Result != Refused || !strings.Contains(rep.Changes[0].Why, c.why) {
			t.Errorf("%s: %v, %+v", c.name, err, rep.Changes[0])
		}
		if rep.Changes[1].Result != "" || len(y.members(g)) != 0 {
			t.Errorf("%s: it went on", c.name)
		}
		if last := j.entries[len(j.entries)-1]; last.Result != Refused || last.Why == "" {
			t.Errorf("%s: the journal ends with %+v", c.name, last)
		}
	}
	if y.number(anna, "userAccountControl") != 512 {
		t.Error("a refused change was carried out")
	}
	r, _ := y.run()
	p := y.plan(plan.Change{Kind: plan.DisableAccount, Object: anna})
	if _, err := r.Apply(t.Context(), p, "sha256:00"); !errors.Is(err, ErrDigest) {
		t.Errorf("a plan goes by another digest: %v", err)
	}
}

func ptrExpiry(year int) *plan.Expiry {
	e := plan.At(time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC))
	return &e
}

// Objects are renamed, moved and deleted between showing and applying.
func TestMeanwhile(t *testing.T) {
	y := newYard(t, labtest.Start(t, labtest.Options{}))
	g, renamed, moved, gone, lost := y.group("g"), y.user("renamed"), y.user("moved"), y.user("gone"), y.group("lost")
	y.add("OU=sub,"+y.ou, "organizationalUnit")
	y.modify(g.DN, "member", gone.DN)
	y.modify(lost.DN, "member", moved.DN)
	p := y.plan(
		plan.Change{Kind: plan.AddMember, Object: g, Member: &renamed},
		plan.Change{Kind: plan.AddMember, Object: g, Member: &moved},
		plan.Change{Kind: plan.RemoveMember, Object: g, Member: &gone},
		plan.Change{Kind: plan.RemoveMember, Object: lost, Member: &moved},
		plan.Change{Kind: plan.AddMember, Object: g, Member: &gone},
	)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(y.conn.ModifyDN(ldap.NewModifyDNRequest(renamed.DN, "CN=other name", true, "")))
	must(y.conn.ModifyDN(ldap.NewModifyDNRequest(moved.DN, "CN=moved", true, "OU=sub,"+y.ou)))
	must(y.conn.ModifyDN(ldap.NewModifyDNRequest(g.DN, "CN=g", true, "OU=sub,"+y.ou)))
	must(y.conn.Del(ldap.NewDelRequest(gone.DN, nil)))
	must(y.conn.Del(ldap.NewDelRequest(lost.DN, nil)))
	r, _ := y.run()
	rep, err := r.Apply(t.Context(), p, p.Digest())
	if !errors.Is(err, ErrStopped) {
		t.Fatalf("%v", err)
	}
	var got []Result
	for _, c := range rep.Changes {
		got = append(got, c.Result)
	}
	if want := []Result{Done, Done, Already, Already, Refused}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v: %+v", got, want, rep)
	}
	g.DN = "CN=g,OU=sub," + y.ou
	if in := y.members(g); len(in) != 2 {
		t.Errorf("members %q", in)
	}
	if _, err := r.Undo(t.Context()); err != nil {
		t.Error(err)
	}
	if in := y.members(g); len(in) != 0 {
		t.Errorf("undone, members %q", in)
	}
}

// A plain account with exactly one entry can do that write and nothing else, tried by
// doing.
func TestDelegation(t *testing.T) {
	y := newYard(t, labtest.Start(t, labtest.Options{}))
	tool, anna, g, other := y.user("tool"), y.user("anna"), y.group("g"), y.group("other")
	reset := "(OA;;CR;00299570-246d-11d0-a768-00aa006e0529;;%s)"
	flags := "(OA;;RPWP;bf967a68-0de6-11d0-a285-00aa003049e2;;%s)"
	until := ptrExpiry(2032)
	tries := []plan.Change{
		{Kind: plan.AddMember, Object: g, Member: &anna},
		{Kind: plan.AddMember, Object: other, Member: &anna},
		{Kind: plan.DisableAccount, Object: anna},
		{Kind: plan.ResetPassword, Object: anna},
		{Kind: plan.SetExpiry, Object: anna, Expires: until},
		{Kind: plan.GrantEntry, Object: g, Entry: entry(t, writeMember, anna.SID)},
		{Kind: plan.GrantEntry, Object: anna, Entry: entry(t, reset, other.SID)},
	}
	cases := []struct {
		name string
		on   plan.Target
		ace  *plan.Entry
		may  int // of tries; -1: none
	}{
		{"nothing", plan.Target{}, nil, -1},
		{"member of g", g, entry(t, writeMember, tool.SID), 0},
		{"userAccountControl of anna", anna, entry(t, flags, tool.SID), 2},
		{"password of anna", anna, entry(t, reset, tool.SID), 3},
		{"permissions of g", g, entry(t, "(A;;WD;;;%s)", tool.SID), 5},
	}
	name := y.read(tool.DN).GetAttributeValue("sAMAccountName")
	for _, c := range cases {
		admin, _ := y.run()
		if c.ace != nil {
			apply(t, admin, y.plan(plan.Change{Kind: plan.GrantEntry, Object: c.on, Entry: c.ace}))
		}
		d := y.open(y.configFor(name, userPassword))
		for i, try := range tries {
			r := &Run{Directory: d, Journal: &memory{}, Now: time.Now, Password: newPassword}
			p := y.plan(try)
			rep, err := r.Apply(t.Context(), p, p.Digest())
			if i == c.may {
				if err != nil || rep.Changes[0].Result != Done || !rep.Changes[0].Verified {
					t.Errorf("%s: %s: %v %+v", c.name, try.Text(), err, rep)
				}
				if _, err := r.Undo(t.Context()); err != nil {
					t.Errorf("%s: undoing %s: %v", c.name, try.Text(), err)
				}
				continue
			}
			if !errors.Is(err, ErrStopped) || rep.Changes[0].Result != Failed || !strings.Contains(rep.Changes[0].Why, "access denied") {
				t.Errorf("%s: may %s: %v %+v", c.name, try.Text(), err, rep)
			}
		}
		if c.ace != nil {
			if _, err := admin.Undo(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A management account (guide, app. I): who enables and resets it needs two entries on
// it, and it needs one on the group. It works while it is enabled, and not after.
func TestManagementAccount(t *testing.T) {
	y := newYard(t, labtest.Start(t, labtest.Options{}))
	operator, tool, anna, g := y.user("operator"), y.user("tool"), y.user("anna"), y.group("g")
	y.modify(tool.DN, "userAccountControl", "1049090") // disabled, not to be delegated
	r, _ := y.run()
	apply(t, r, y.plan(
		plan.Change{Kind: plan.GrantEntry, Object: tool, Entry: entry(t, "(OA;;CR;00299570-246d-11d0-a768-00aa006e0529;;%s)", operator.SID)},
		plan.Change{Kind: plan.GrantEntry, Object: tool, Entry: entry(t, "(OA;;RPWP;bf967a68-0de6-11d0-a285-00aa003049e2;;%s)", operator.SID)},
		plan.Change{Kind: plan.GrantEntry, Object: g, Entry: entry(t, writeMember, tool.SID)},
	))
	login := func(who plan.Target) string { return y.read(who.DN).GetAttributeValue("sAMAccountName") }
	by := y.open(y.configFor(login(operator), userPassword))
	const once = "Lw1-only-Once-Passw0rd"
	guard := plan.Require{FlagsSet: 0x100000, FlagsClear: 0x400000} // NOT_DELEGATED, DONT_REQUIRE_PREAUTH
	use := &Run{Directory: by, Journal: &memory{}, Now: time.Now, Password: func(context.Context, int, plan.Target) ([]byte, error) { return []byte(once), nil }}
	apply(t, use, y.plan(
		plan.Change{Kind: plan.ResetPassword, Object: tool},
		plan.Change{Kind: plan.EnableAccount, Object: tool, Require: guard},
	))
	hand := &Run{Directory: y.open(y.configFor(login(tool), once)), Journal: &memory{}, Now: time.Now}
	apply(t, hand, y.plan(plan.Change{Kind: plan.AddMember, Object: g, Member: &anna}))
	if got := y.members(g); len(got) != 1 || got[0] != anna.DN {
		t.Errorf("members %q", got)
	}
	self := &Run{Directory: hand.Directory, Journal: &memory{}, Now: time.Now, Password: newPassword}
	for _, c := range []plan.Change{
		{Kind: plan.SetExpiry, Object: tool, Expires: ptrExpiry(2031)},
		{Kind: plan.GrantEntry, Object: g, Entry: entry(t, "(A;;WD;;;%s)", tool.SID)},
	} {
		p := y.plan(c)
		if rep, err := self.Apply(t.Context(), p, p.Digest()); dc.KindOf(err) != dc.ErrAccessDenied {
			t.Errorf("%s: %v %+v", c.Text(), err, rep)
		}
		self.Journal = &memory{}
	}
	end := &Run{Directory: by, Journal: &memory{}, Now: time.Now, Password: newPassword}
	apply(t, end, y.plan(
		plan.Change{Kind: plan.ResetPassword, Object: tool},
		plan.Change{Kind: plan.DisableAccount, Object: tool, Require: guard},
	))
	for _, pw := range []string{once, secondPassword} {
		switch err := canSignIn(y, tool, pw); dc.KindOf(err) {
		case dc.ErrRevoked, dc.ErrDisabled, dc.ErrWrongPassword:
		default:
			t.Errorf("it signs in after its use: %v", err)
		}
	}
	if flags := y.number(tool, "userAccountControl"); flags != 1049090 {
		t.Errorf("userAccountControl %d", flags)
	}
}

// Changes of one DACL that are made at once are all there in the end.
func TestEntriesAtOnce(t *testing.T) {
	y := newYard(t, labtest.Start(t, labtest.Options{}))
	g := y.group("g")
	d := y.open(y.config(y.lab.Admin))
	var wg sync.WaitGroup
	var entries []*plan.Entry
	for i := range 12 {
		e := entry(t, "(A;;WD;;;%s)", g.SID.Domain().Child(uint32(500_000+i)))
		entries = append(entries, e)
		p := y.plan(plan.Change{Kind: plan.GrantEntry, Object: g, Entry: e})
		wg.Go(func() {
			r := &Run{Directory: d, Journal: &memory{}, Now: time.Now}
			if rep, err := r.Apply(context.Background(), p, p.Digest()); err != nil || rep.Changes[0].Result != Done {
				t.Errorf("%v %+v", err, rep)
			}
		})
	}
	wg.Wait()
	for _, e := range entries {
		if !y.hasEntry(g, e) {
			t.Errorf("%s is lost", e.SDDL(secdesc.SID{}))
		}
	}
}

// Many memberships end at once; what was not a member is told apart, and nobody else
// leaves.
func TestRemoveMembers(t *testing.T) {
	y := newYard(t, labtest.Start(t, labtest.Options{}))
	g, stays := y.group("g"), y.group("stays")
	list := []string{stays.DN}
	var members []plan.Target
	for i := range 130 { // more than are read back together
		m := y.group(fmt.Sprintf("m%d", i))
		members = append(members, m)
		if i != 7 {
			list = append(list, m.DN)
		}
	}
	y.modify(g.DN, "member", list...)
	d := y.open(y.config(y.lab.Admin))
	for round, want := range []Result{Done, Already} {
		for i, r := range d.RemoveMembers(t.Context(), g, members) {
			expect := want
			if i == 7 {
				expect = Already
			}
			if r.Result != expect || !r.Verified || r.Err != nil {
				t.Errorf("round %d, member %d: %+v", round, i, r)
			}
		}
	}
	if got := y.members(g); len(got) != 1 || got[0] != stays.DN {
		t.Errorf("members %q", got)
	}
	nowhere := plan.Target{GUID: secdesc.MustGUID("00000000-0000-0000-0000-00000000cafe")}
	for _, r := range d.RemoveMembers(t.Context(), nowhere, members[:1]) {
		if r.Result != Failed || dc.KindOf(r.Err) != dc.ErrNoSuchObject {
			t.Errorf("%+v", r)
		}
	}
}

// A change is seen to arrive on the other domain controller.
func TestReplicas(t *testing.T) {
	y := newYard(t, labtest.Start(t, labtest.Options{}))
	g, anna := y.group("g"), y.user("anna")
	y.lab.Converge()
	r, _ := y.run()
	p := y.plan(
		plan.Change{Kind: plan.AddMember, Object: g, Member: &anna},
		plan.Change{Kind: plan.DisableAccount, Object: anna},
		plan.Change{Kind: plan.ResetPassword, Object: anna},
		plan.Change{Kind: plan.GrantEntry, Object: g, Entry: entry(t, writeMember, anna.SID)},
	)
	apply(t, r, p)
	evidence := map[plan.Kind]string{plan.AddMember: "value"} // Samba tells no metadata of links
	for _, c := range p.Changes {
		want := "replPropertyMetaData"
		if e := evidence[c.Kind]; e != "" {
			want = e
		}
		if got := awaitReplicas(t, r.Directory, c); len(got) != 1 || got[0].State != dc.ReplicaArrived || got[0].Evidence != want || !strings.HasPrefix(got[0].Server.Name, "dc2.") {
			t.Errorf("%s: %+v", c.Text(), got)
		}
	}
}

// awaitReplicas asks until nothing is pending.
func awaitReplicas(t *testing.T, d *Directory, c plan.Change) []dc.Replica {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		list := d.Replicas(ctx, c)
		pending := slices.ContainsFunc(list, func(r dc.Replica) bool { return r.State == dc.ReplicaPending })
		if !pending || ctx.Err() != nil {
			return list
		}
		select {
		case <-ctx.Done():
		case <-time.After(300 * time.Millisecond):
		}
	}
}
