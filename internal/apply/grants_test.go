//go:build linux

package apply

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ldap "github.com/go-ldap/ldap/v3"

	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/plan"
	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/lab/labtest"
)

// clock is the test's: monotonic time since it was made.
func clock() func() grant.Instant {
	origin := time.Now()
	return func() grant.Instant { return grant.Instant{Wall: time.Now(), Mono: time.Since(origin)} }
}

// grants is the directory of grants as an account of the lab.
func (y *yard) grants(cfg dc.Config) *Grants {
	y.t.Helper()
	d := NewGrants(GrantOptions{Directory: cfg, Clock: clock(), Person: func() string { return "employeeID" }})
	y.t.Cleanup(func() {
		if err := d.Close(); err != nil {
			y.t.Error(err)
		}
	})
	return d
}

func (y *yard) adminGrants() *Grants { return y.grants(y.config(y.lab.Admin)) }

func (y *yard) sam(o plan.Target) string {
	return y.read(o.DN).GetAttributeValue("sAMAccountName")
}

func (y *yard) join(group plan.Target, member plan.Target) {
	y.t.Helper()
	r := ldap.NewModifyRequest(group.DN, nil)
	r.Add("member", []string{member.DN})
	if err := y.conn.Modify(r); err != nil {
		y.t.Fatal(err)
	}
}

func (y *yard) del(o plan.Target) {
	y.t.Helper()
	if err := y.conn.Del(ldap.NewDelRequest(o.DN, nil)); err != nil {
		y.t.Fatal(err)
	}
}

func write(d *Grants, group, member plan.Target) grant.Write {
	now := d.opt.Clock()
	return grant.Write{
		Grant: "g", Generation: 2, Key: grant.Key{Group: group.GUID, Member: member.GUID},
		NotAfter: grant.Instant{Wall: now.Wall.Add(10 * time.Second), Mono: now.Mono + 10*time.Second},
	}
}

// Names of every form are found; nothing is found by what only looks like a name, and a
// name of another domain is an error, never "there is none".
func TestGrantsFind(t *testing.T) {
	y := newYard(t, labtest.Start(t, labtest.Options{Single: true}))
	d := y.adminGrants()
	u, g := y.user("Ännä (x)"), y.group("Power")
	y.modify(u.DN, "userPrincipalName", "anna."+y.sam(u)+"@elsewhere.example")
	y.modify(u.DN, "employeeID", "4711")
	for _, ref := range []string{
		`CONTOSO\` + y.sam(u), `contoso\` + y.sam(u), u.SID.String(), u.DN, y.sam(u) + "@contoso.test", "anna." + y.sam(u) + "@elsewhere.example",
	} {
		o, err := d.Find(t.Context(), grant.Ref(ref))
		if err != nil || o.GUID != u.GUID || o.SID != u.SID || !o.Exists || o.Group || o.Disabled || o.Name != `CONTOSO\`+y.sam(u) || o.Person != "4711" || o.DN != u.DN || o.Domain != "contoso.test" {
			t.Errorf("%s: %+v, %v", ref, o, err)
		}
	}
	if o, err := d.Find(t.Context(), grant.Ref(`CONTOSO\`+y.sam(g))); err != nil || !o.Group || o.GUID != g.GUID {
		t.Errorf("the group: %+v, %v", o, err)
	}
	for _, ref := range []string{`CONTOSO\nobody-of-that-name`, `CONTOSO\*`, `CONTOSO\x)(objectClass=*`, "*@contoso.test", "S-1-5-21-1-2-3-4", "CN=*," + y.ou} {
		if o, err := d.Find(t.Context(), grant.Ref(ref)); err != nil || o.Exists {
			t.Errorf("%s: %+v, %v", ref, o, err)
		}
	}
	for _, ref := range []string{`FABRIKAM\anna`, "CN=anna,DC=fabrikam,DC=example", "role:helpdesk"} {
		if o, err := d.Find(t.Context(), grant.Ref(ref)); !errors.Is(err, errName) || o.Exists {
			t.Errorf("%s: %+v, %v", ref, o, err)
		}
	}
}

func TestGrantsObject(t *testing.T) {
	y := newYard(t, labtest.Start(t, labtest.Options{Single: true}))
	d := y.adminGrants()
	u := y.user("victim")
	y.modify(u.DN, "userAccountControl", "514")
	if o, err := d.Object(t.Context(), u.GUID); err != nil || !o.Exists || !o.Disabled {
		t.Errorf("disabled: %+v, %v", o, err)
	}
	y.del(u)
	if o, err := d.Object(t.Context(), u.GUID); err != nil || o.Exists || o.Missing != "" {
		t.Errorf("deleted: %+v, %v", o, err)
	}
	never := secdesc.MustGUID("01234567-89ab-4def-8123-456789abcdef")
	if o, err := d.Object(t.Context(), never); err != nil || o.Exists || o.Missing == "" {
		t.Errorf("never there: %+v, %v", o, err)
	}
}

// Membership is asked of the directory now: nested, primary, just added and just removed.
func TestGrantsWithin(t *testing.T) {
	y := newYard(t, labtest.Start(t, labtest.Options{Single: true}))
	d := y.adminGrants()
	u, inner, outer, other := y.user("anna"), y.group("inner"), y.group("outer"), y.group("other")
	name := func(o plan.Target) grant.Ref { return grant.Ref(`CONTOSO\` + y.sam(o)) }
	within := func(want bool, refs ...grant.Ref) {
		t.Helper()
		if in, err := d.Within(t.Context(), u.GUID, refs); err != nil || in != want {
			t.Errorf("%v: %t, %v", refs, in, err)
		}
	}
	within(false, name(outer))
	y.join(outer, inner)
	y.join(inner, u)
	within(true, name(outer))
	within(true, name(other), name(inner))
	within(true, name(u))
	within(true, grant.Ref(u.SID.String()))
	within(true, `CONTOSO\Domain Users`) // the primary group, which member does not list
	within(true, authenticated)
	within(false, name(other), `CONTOSO\no-such-group`)
	y.modify(inner.DN, "member")
	within(false, name(outer))
	if in, err := d.Within(t.Context(), u.GUID, []grant.Ref{`FABRIKAM\admins`}); in || !errors.Is(err, errName) {
		t.Errorf("a group of another domain: %t, %v", in, err)
	}
	if in, err := d.Within(t.Context(), u.GUID, []grant.Ref{`FABRIKAM\admins`, name(other)}); in || !errors.Is(err, errName) {
		t.Errorf("a group of another domain beside one that does not have him: %t, %v", in, err)
	}
	within(true, `FABRIKAM\admins`, name(u)) // he is among those that can be asked
	y.del(u)
	within(false, authenticated, name(inner))
}

// Few are asked for one by one, many at once; both say the same, also of accounts and
// groups that are gone.
func TestGrantsLinks(t *testing.T) {
	y := newYard(t, labtest.Start(t, labtest.Options{Single: true}))
	d := y.adminGrants()
	g := y.group("power")
	var all []secdesc.GUID
	var users []plan.Target
	for i := range 6 {
		u := y.user(fmt.Sprintf("u%d", i))
		if i%2 == 0 {
			y.join(g, u)
		}
		users, all = append(users, u), append(all, u.GUID)
	}
	y.del(users[4])
	for _, part := range [][]secdesc.GUID{all[:1], all[1:3], all, all[3:]} {
		l, err := d.Links(t.Context(), g.GUID, part)
		if err != nil || !l.Group.Exists || !l.Group.Group || time.Since(l.At).Abs() > 3*time.Second {
			t.Fatalf("%+v, %v", l, err)
		}
		for i, u := range users {
			if !contained(part, u.GUID) {
				continue
			}
			if o, known := l.Members[u.GUID]; !known || o.Exists != (i != 4) {
				t.Errorf("of %d: account %d is %+v, %t", len(part), i, o, known)
			}
			if want := i%2 == 0 && i != 4; l.Links[u.GUID].Present != want || !l.Links[u.GUID].Expires.IsZero() {
				t.Errorf("of %d: link %d is %+v, want %t", len(part), i, l.Links[u.GUID], want)
			}
		}
	}
	empty := y.group("empty")
	if l, err := d.Links(t.Context(), empty.GUID, all[:4]); err != nil || len(l.Links) != 0 {
		t.Errorf("an empty group: %+v, %v", l, err)
	}
	y.del(empty)
	if l, err := d.Links(t.Context(), empty.GUID, all[:1]); err != nil || l.Group.Exists {
		t.Errorf("a deleted group: %+v, %v", l, err)
	}
}

func contained(list []secdesc.GUID, g secdesc.GUID) bool {
	for _, x := range list {
		if x == g {
			return true
		}
	}
	return false
}

// An account that may not read who is a member is told so, not "nobody".
func TestGrantsUnreadableMembersAreNotAbsent(t *testing.T) {
	y := newYard(t, labtest.Start(t, labtest.Options{Single: true}))
	g, u := y.group("hidden"), y.user("anna")
	y.join(g, u)
	reader := y.target("CN=leastwise-reader,CN=Users," + y.lab.BaseDN)
	r, _ := y.run()
	deny := plan.Change{Kind: plan.GrantEntry, Object: g, Entry: entry(t, "(OD;;RP;bf9679c0-0de6-11d0-a285-00aa003049e2;;%s)", reader.SID)}
	apply(t, r, y.plan(deny))
	d := y.grants(y.config(y.lab.Reader))
	for _, n := range []int{1, 5} {
		members := []secdesc.GUID{u.GUID}
		for i := 1; i < n; i++ {
			members = append(members, y.user(fmt.Sprintf("x%d", i)).GUID)
		}
		if l, err := d.Links(t.Context(), g.GUID, members); dc.KindOf(err) != dc.ErrAccessDenied || !errors.Is(err, grant.ErrUnreachable) {
			t.Errorf("%d asked for: %+v, %v", n, l, err)
		}
	}
}

func TestGrantsWrite(t *testing.T) {
	y := newYard(t, labtest.Start(t, labtest.Options{Single: true}))
	d := y.adminGrants()
	g, u := y.group("power"), y.user("anna")
	r := d.Add(t.Context(), write(d, g, u))
	if r.Outcome != grant.OutcomeDone || !r.Link.Present || r.At.IsZero() || r.Server != "dc1.contoso.test" || len(y.members(g)) != 1 {
		t.Fatalf("%+v", r)
	}
	if r := d.Add(t.Context(), write(d, g, u)); r.Outcome != grant.OutcomeAlready {
		t.Errorf("again: %+v", r)
	}
	if r := d.Remove(t.Context(), []grant.Write{write(d, g, u)})[0]; r.Outcome != grant.OutcomeDone || len(y.members(g)) != 0 {
		t.Errorf("%+v", r)
	}
	if r := d.Remove(t.Context(), []grant.Write{write(d, g, u)})[0]; r.Outcome != grant.OutcomeAlready {
		t.Errorf("again: %+v", r)
	}
	late := write(d, g, u)
	late.NotAfter = d.opt.Clock()
	if r := d.Add(t.Context(), late); r.Outcome != grant.OutcomeLater || len(y.members(g)) != 0 {
		t.Errorf("too late: %+v", r)
	}
	poor := y.grants(y.config(y.lab.Reader))
	if r := poor.Add(t.Context(), write(poor, g, u)); r.Outcome != grant.OutcomeRefused || r.Detail == "" {
		t.Errorf("without the right: %+v", r)
	}
	y.del(g)
	if r := d.Add(t.Context(), write(d, g, u)); r.Outcome != grant.OutcomeGone {
		t.Errorf("to a deleted group: %+v", r)
	}
}

// Looking at several groups together says what looking at each says.
func TestGrantsMemberships(t *testing.T) {
	y := newYard(t, labtest.Start(t, labtest.Options{Single: true}))
	d := y.adminGrants()
	u, other, deleted := y.user("anna"), y.user("other"), y.user("deleted")
	full, empty, without, many, gone := y.group("full"), y.group("empty"), y.group("without"), y.group("many"), y.group("gone")
	y.join(full, u)
	y.join(without, other)
	y.join(many, u)
	y.join(many, other)
	y.del(deleted)
	y.del(gone)
	var keys []grant.Key
	for _, g := range []plan.Target{full, empty, without, many, gone} {
		keys = append(keys, grant.Key{Group: g.GUID, Member: u.GUID})
	}
	keys = append(keys, grant.Key{Group: many.GUID, Member: other.GUID}, grant.Key{Group: full.GUID, Member: deleted.GUID})
	for range 2 { // what the domain controller tells of links is known the second time
		all, err := d.Memberships(t.Context(), keys)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			one, err := d.Links(t.Context(), k.Group, []secdesc.GUID{k.Member})
			if err != nil {
				t.Fatal(err)
			}
			got := all[k.Group]
			if got.Group != one.Group || got.Links[k.Member] != one.Links[k.Member] || got.Members[k.Member] != one.Members[k.Member] || got.At.IsZero() {
				t.Errorf("%s:\n%+v\n%+v", k, got, one)
			}
		}
	}
	all, err := d.Memberships(t.Context(), keys)
	if err != nil || !all[full.GUID].Links[u.GUID].Present || all[without.GUID].Links[u.GUID].Present || !all[many.GUID].Links[other.GUID].Present {
		t.Errorf("%+v, %v", all, err)
	}
	poor := y.grants(y.config(y.lab.Reader))
	deny := plan.Change{Kind: plan.GrantEntry, Object: empty, Entry: entry(t, "(OD;;RP;bf9679c0-0de6-11d0-a285-00aa003049e2;;%s)", y.target("CN=leastwise-reader,CN=Users,"+y.lab.BaseDN).SID)}
	r, _ := y.run()
	apply(t, r, y.plan(deny))
	if all, err := poor.Memberships(t.Context(), keys); dc.KindOf(err) != dc.ErrAccessDenied || all != nil {
		t.Errorf("one that may not be read: %+v, %v", all, err)
	}
}

// Many removals go in one request; one that the domain controller refuses keeps none of the
// others from being carried out, and it is told of each what became of it.
func TestGrantsRemoveMany(t *testing.T) {
	y := newYard(t, labtest.Start(t, labtest.Options{Single: true}))
	d := y.adminGrants()
	g := y.group("power")
	stays := y.user("stays")
	y.join(g, stays)
	var list []grant.Write
	var users []plan.Target
	for i := range 9 {
		u := y.user(fmt.Sprintf("m%d", i))
		users = append(users, u)
		if i != 4 { // it is no member
			y.join(g, u)
		}
		list = append(list, write(d, g, u))
	}
	y.del(users[7])
	never := write(d, g, stays)
	never.Key.Member = secdesc.MustGUID("01234567-89ab-4def-8123-456789abcdef")
	list = append(list, never)
	for i, r := range d.Remove(t.Context(), list) {
		done := r.Outcome == grant.OutcomeDone
		if gone := i == 4 || i == 7 || i == 9; done == gone || gone && r.Outcome == grant.OutcomeUnknown {
			t.Errorf("%d: %+v", i, r)
		}
	}
	if m := y.members(g); len(m) != 1 {
		t.Errorf("left: %v", m)
	}
	list = append(list[:0], write(d, g, stays), write(d, g, users[0]))
	poor := y.grants(y.config(y.lab.Reader))
	for i, r := range poor.Remove(t.Context(), list) {
		if r.Outcome == grant.OutcomeDone || r.Outcome == grant.OutcomeUnknown || len(y.members(g)) != 1 {
			t.Errorf("without the right, %d: %+v", i, r)
		}
	}
	list[1] = list[0]
	if out := d.Remove(t.Context(), list); out[0].Outcome != grant.OutcomeDone || out[1].Outcome != grant.OutcomeLater || len(y.members(g)) != 0 {
		t.Errorf("twice the same: %+v", out)
	}
}

// A write whose answer is lost is unknown, whether or not it was done, and is not sent
// again.
func TestGrantsUnknownAfterALostAnswer(t *testing.T) {
	y := newYard(t, labtest.Start(t, labtest.Options{Single: true}))
	p := newProxy(t, y.lab.DCs()[0].Address+":389")
	cfg := y.config(y.lab.Admin)
	cfg.Dial = p.dial
	d := y.grants(cfg)
	g, u := y.group("power"), y.user("anna")
	if _, err := d.Time(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.arm(cutBefore)
	if r := d.Add(t.Context(), write(d, g, u)); r.Outcome != grant.OutcomeUnknown || len(y.members(g)) != 0 {
		t.Errorf("cut before: %+v, %v", r, y.members(g))
	}
	if _, err := d.Time(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.arm(cutAfter)
	if r := d.Add(t.Context(), write(d, g, u)); r.Outcome != grant.OutcomeUnknown {
		t.Errorf("cut after: %+v", r)
	}
	for end := time.Now().Add(5 * time.Second); len(y.members(g)) == 0 && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	if l, err := d.Links(t.Context(), g.GUID, []secdesc.GUID{u.GUID}); err != nil || !l.Links[u.GUID].Present {
		t.Errorf("%+v, %v", l, err)
	}
}

// A domain controller that is away fails questions at once, and its return is told.
func TestGrantsGate(t *testing.T) {
	y := newYard(t, labtest.Start(t, labtest.Options{Single: true}))
	var away atomic.Bool
	var dials atomic.Int64
	cfg := y.config(y.lab.Admin)
	cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if network == "tcp" {
			dials.Add(1)
		}
		if away.Load() {
			return nil, errors.New("no route")
		}
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	away.Store(true)
	d := y.grants(cfg)
	g, u := y.group("power"), y.user("anna")
	returned := func() {
		t.Helper()
		select {
		case <-d.Returned():
		case <-time.After(10 * time.Second):
			t.Fatal("nobody tells that the domain controller is back")
		}
	}
	ask := func() error { _, err := d.Time(t.Context()); return err }
	if err := ask(); !errors.Is(err, grant.ErrUnreachable) {
		t.Fatal(err)
	}
	n := dials.Load()
	for range 50 {
		if err := ask(); !errors.Is(err, grant.ErrUnreachable) {
			t.Fatal(err)
		}
	}
	if r := d.Add(t.Context(), write(d, g, u)); r.Outcome != grant.OutcomeLater {
		t.Errorf("%+v", r)
	}
	if dials.Load() > n+4 {
		t.Errorf("%d connections were tried while it is known to be away", dials.Load()-n)
	}
	away.Store(false)
	returned()
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	// Away while it is in use: the connections that stand are closed, too.
	away.Store(true)
	_ = d.dir.Close()
	d.mu.Lock()
	d.dir = nil
	d.mu.Unlock()
	if err := ask(); !errors.Is(err, grant.ErrUnreachable) {
		t.Fatal(err)
	}
	away.Store(false)
	returned()
	if r := d.Add(t.Context(), write(d, g, u)); r.Outcome != grant.OutcomeDone {
		t.Errorf("%+v", r)
	}
}

// A password that is wrong is not tried again and again.
func TestGrantsDoNotLockThemselvesOut(t *testing.T) {
	y := newYard(t, labtest.Start(t, labtest.Options{Single: true}))
	u := y.user("leastwise")
	var kdc atomic.Int64
	cfg := y.configFor(y.sam(u), "wrong-Passw0rd")
	cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if strings.HasSuffix(addr, ":88") {
			kdc.Add(1)
		}
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	d := y.grants(cfg)
	for range 20 {
		if _, err := d.Time(t.Context()); !errors.Is(err, grant.ErrUnreachable) || !barred(err) {
			t.Fatal(err)
		}
	}
	if n := kdc.Load(); n == 0 || n > 3 { // asking for a ticket takes a connection or two
		t.Errorf("the KDC was asked %d times", n)
	}
}
