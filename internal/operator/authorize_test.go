package operator_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/operator"
)

// Every action for every kind of caller: what rules and default policies say, written
// down by hand.
func TestEveryActionForEveryCaller(t *testing.T) {
	w := newWorld(t)
	admin := w.administrator("root")
	anna := w.dir.Add("anna")
	machine := w.dir.Add("web1$")
	w.dir.Change(machine.GUID, func(a *operator.Account, _ *string) { a.Kind = operator.Computer })
	up, person := w.steppedUp(anna), w.signIn(anna)
	_, token, err := w.IssueToken(t.Context(), w.caller(up.Secret), operator.TokenOrder{Label: "all", Scope: []operator.Action{
		operator.AssessRead, operator.GrantRead, operator.GrantRequest, operator.GrantEnd, operator.AuditRead,
	}})
	if err != nil {
		t.Fatal(err)
	}
	_, narrow, err := w.IssueToken(t.Context(), w.caller(up.Secret), operator.TokenOrder{Label: "one", Scope: []operator.Action{operator.AuditRead}})
	if err != nil {
		t.Fatal(err)
	}
	callers := []operator.Secret{person.Secret, up.Secret, token, narrow, admin.Secret}
	// y: allowed; n: not; u: after a step-up.
	for _, c := range []struct {
		action   operator.Action
		resource operator.Resource
		want     string // by caller: person, stepped up, token, narrow token, administrator
	}{
		{operator.AssessRead, operator.Server(), "nnnny"},
		{operator.GrantRead, operator.Server(), "yyyny"},
		{operator.GrantRead, grantOf(false, false), "nnnny"},
		{operator.GrantRead, grantOf(true, false), "yyyny"},
		{operator.GrantRead, grantOf(false, true), "yyyny"},
		{operator.GrantRequest, operator.Resource{Kind: operator.OnGrantPolicy, ID: "quick"}, "yyyny"},
		{operator.GrantUrgent, operator.Resource{Kind: operator.OnGrantPolicy, ID: "quick"}, "yynny"},
		{operator.GrantApprove, grantOf(false, true), "uynny"},
		{operator.GrantApprove, grantOf(false, false), "nnnnn"},
		{operator.GrantObserve, grantOf(false, true), "yynny"},
		{operator.GrantObserve, grantOf(false, false), "nnnnn"},
		{operator.GrantEnd, grantOf(true, false), "yyyny"},
		{operator.GrantEnd, grantOf(false, true), "nnnnn"},
		{operator.GrantRevoke, grantOf(false, true), "yynny"},
		{operator.GrantRevoke, grantOf(true, false), "nnnny"},
		{operator.GrantReview, grantOf(false, true), "uynny"},
		{operator.GrantReview, grantOf(true, false), "nnnnn"},
		{operator.AuditRead, operator.Server(), "nnnny"},
		{operator.TokenIssue, operator.OfAccount(anna.GUID), "uynnn"},
		{operator.TokenIssue, operator.OfAccount(machine.GUID), "nnnny"},
		{operator.TokenIssue, operator.OfAccount(admin.Session.Account), "nnnny"},
		{operator.OperatorRead, operator.Server(), "nnnny"},
		{operator.OperatorRead, operator.OfAccount(anna.GUID), "nnnny"},
		{operator.Administer, operator.Server(), "nnnny"},
		{operator.Administer, operator.OfAccount(anna.GUID), "nnnny"},
	} {
		for i, want := range c.want {
			before := len(w.store.Log().Entries)
			d, err := w.Authorize(t.Context(), w.caller(callers[i]), c.action, c.resource)
			got := 'n'
			switch {
			case err == nil && d.Allowed && len(d.Policies) > 0:
				got = 'y'
			case errors.Is(err, operator.ErrStepUp) && !errors.Is(err, operator.ErrForbidden) && !d.Allowed:
				got = 'u'
			case !errors.Is(err, operator.ErrForbidden) || d.Allowed || d.Why == "":
				t.Errorf("%s: %+v, %v", c.action, d, err)
			}
			if got != want {
				t.Errorf("%s on %+v by caller %d: %c, want %c (%s)", c.action, c.resource, i, got, want, d.Why)
			}
			if logged := len(w.store.Log().Entries) - before; logged != map[bool]int{true: 0, false: 1}[got == 'y'] {
				t.Errorf("%s by caller %d: %d entries", c.action, i, logged)
			}
		}
	}
	for _, r := range operator.Rules() {
		if r.StepUp && (r.Tokens || !r.Live) {
			t.Errorf("%s needs a step-up, but not the person or the directory", r.Action)
		}
	}
}

// The administrator's step-up ends: what needs it is refused again.
func TestStepUpEnds(t *testing.T) {
	w := newWorld(t)
	in := w.administrator("root")
	if _, err := w.Authorize(t.Context(), w.caller(in.Secret), operator.Administer, operator.Server()); err != nil {
		t.Fatal(err)
	}
	w.pass(5 * time.Minute)
	_, err := w.Authorize(t.Context(), w.caller(in.Secret), operator.Administer, operator.Server())
	wants(t, "five minutes later", err, operator.ErrStepUp)
	if got := w.lastRefusal("operator.administer"); !strings.Contains(got, "fresh second factor") {
		t.Error(got)
	}
}

const groupPolicies = `
@id("auditors") permit (principal in Group::"CONTOSO\\auditors", action in [Action::"audit.read", Action::"assess.read"], resource);
@id("approvers") permit (principal in Group::"CONTOSO\\approvers", action == Action::"grant.approve", resource in GrantPolicy::"quick");
@id("from-inside") forbid (principal, action, resource) unless { context.from.isInRange(ip("192.0.2.0/24")) };
@id("never") forbid (principal in Group::"CONTOSO\\banned", action, resource);
`

// Groups are asked of the directory, nested ones too, each time where it counts and at
// most 30 seconds late elsewhere.
func TestLiveMembership(t *testing.T) {
	w := newWorld(t, func(o *operator.Options) { o.Policies = policies(t, groupPolicies) })
	w.dir.Group("auditors", "inner")
	w.dir.Group("inner", "anna")
	w.dir.Group("approvers", "inner")
	w.dir.Group("banned")
	in := w.steppedUp(w.dir.Add("anna"))
	ask := func(a operator.Action, r operator.Resource) (operator.Decision, error) {
		return w.Authorize(t.Context(), w.caller(in.Secret), a, r)
	}
	d, err := ask(operator.AuditRead, operator.Server())
	if err != nil || len(d.Policies) != 1 || d.Policies[0] != (operator.PolicyRef{ID: "auditors", File: "test.cedar", Line: 2}) || !slices.Equal(d.Groups, []string{`CONTOSO\approvers`, `CONTOSO\auditors`}) {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := ask(operator.GrantApprove, grantOf(false, false)); err != nil {
		t.Error(err)
	}
	other := grantOf(false, true)
	other.Policy = "guarded"
	_, err = ask(operator.GrantApprove, other)
	wants(t, "a grant of another policy", err, operator.ErrForbidden)

	w.dir.Group("inner")
	_, err = ask(operator.GrantApprove, grantOf(false, false))
	wants(t, "approving at once after leaving", err, operator.ErrForbidden)
	w.dir.Group("inner", "anna")
	if _, err := ask(operator.GrantApprove, grantOf(false, false)); err != nil {
		t.Error(err)
	}
	w.dir.Group("inner")
	asked := w.dir.Asked()
	w.pass(30 * time.Second)
	if _, err := ask(operator.AuditRead, operator.Server()); err != nil || w.dir.Asked() != asked {
		t.Errorf("within the age of the cache: %v, asked %d times", err, w.dir.Asked()-asked)
	}
	w.pass(time.Second)
	_, err = ask(operator.AuditRead, operator.Server())
	wants(t, "31 seconds later", err, operator.ErrForbidden)
}

// A group that forbids and is not there forbids everybody: it may have been renamed.
func TestForbiddingGroupIsAbsent(t *testing.T) {
	w := newWorld(t, func(o *operator.Options) { o.Policies = policies(t, groupPolicies) })
	w.dir.Group("auditors", "anna")
	in := w.signIn(w.dir.Add("anna"))
	_, err := w.Authorize(t.Context(), w.caller(in.Secret), operator.AuditRead, operator.Server())
	wants(t, "banned is absent", err, operator.ErrForbidden)
	if got := w.lastRefusal("audit.read"); !strings.Contains(got, `"CONTOSO\\banned", which the directory does not have`) {
		t.Error(got)
	}
	w.dir.Group("banned")
	w.pass(time.Minute)
	if _, err := w.Authorize(t.Context(), w.caller(in.Secret), operator.AuditRead, operator.Server()); err != nil {
		t.Error(err) // approvers is absent, too, but only permits
	}
	w.dir.Group("banned", "anna")
	w.pass(time.Minute)
	d, err := w.Authorize(t.Context(), w.caller(in.Secret), operator.AuditRead, operator.Server())
	if !errors.Is(err, operator.ErrForbidden) || len(d.Policies) != 1 || d.Policies[0].ID != "never" {
		t.Errorf("%+v, %v", d, err)
	}
}

// A permit that holds unless somebody is in a group, or says it in another way, permits
// nobody while the directory does not have the group.
func TestPermitUnlessGroupIsAbsent(t *testing.T) {
	const scope = "permit (principal, action == Action::\"audit.read\", resource) "
	for cond, open := range map[string]bool{
		`unless { principal in Group::"CONTOSO\\suspended" };`:                                                                      false,
		`unless { context.token || principal in [Group::"CONTOSO\\suspended"] };`:                                                   false,
		`when { !(principal in Group::"CONTOSO\\suspended") };`:                                                                     false,
		`when { (principal in Group::"CONTOSO\\suspended") == false };`:                                                             false,
		`when { if principal in Group::"CONTOSO\\suspended" then false else true };`:                                                false,
		`when { principal in (if principal in Group::"CONTOSO\\suspended" then Group::"S-1-1-0" else Group::"CONTOSO\\all") };`:     false,
		`when { principal in Group::"CONTOSO\\all" && !(context.token && principal in Group::"CONTOSO\\suspended") };`:              false,
		`when { principal in Group::"CONTOSO\\all" || principal in Group::"CONTOSO\\suspended" };`:                                  true,
		`when { principal in [Group::"CONTOSO\\suspended", Group::"CONTOSO\\all"] };`:                                               true,
		`when { principal is Account in Group::"CONTOSO\\suspended" || principal.kind == "user" } when { context.token == false };`: true,
	} {
		w := newWorld(t, func(o *operator.Options) { o.Policies = policies(t, `@id("a") `+scope+cond) })
		w.dir.Group("all", "anna")
		w.dir.Group("suspended")
		in := w.signIn(w.dir.Add("anna"))
		ask := func() error {
			w.pass(time.Minute)
			return second(w.Authorize(t.Context(), w.caller(in.Secret), operator.AuditRead, operator.Server()))
		}
		if err := ask(); err != nil && !strings.Contains(cond, "S-1-1-0") { // a group that nobody has made, either
			t.Errorf("%s: while the group is there: %v", cond, err)
		}
		w.dir.Ungroup("suspended")
		if err := ask(); open != (err == nil) || !open && !errors.Is(err, operator.ErrForbidden) {
			t.Errorf("%s: while the group is not there: %v", cond, err)
		}
	}
}

// The same for a group of the account that something is done to.
func TestTargetsGroupIsAbsent(t *testing.T) {
	w := newWorld(t, func(o *operator.Options) {
		o.Policies = policies(t, `@id("all") permit (principal, action == Action::"operator.read", resource) unless { resource in Group::"CONTOSO\\tier0" };`)
	})
	w.dir.Group("tier0", "root")
	root, anna := w.dir.Add("root"), w.dir.Add("anna")
	in := w.signIn(anna)
	read := func(a operator.Account) error {
		return second(w.Authorize(t.Context(), w.caller(in.Secret), operator.OperatorRead, operator.OfAccount(a.GUID)))
	}
	if err := read(anna); err != nil {
		t.Error(err)
	}
	wants(t, "of tier 0", read(root), operator.ErrForbidden)
	w.dir.Ungroup("tier0")
	wants(t, "nobody knows who is of tier 0", read(anna), operator.ErrForbidden)
}

// Where a request comes from is the caller's of this request, not of the sign-in.
func TestPolicyOnAddress(t *testing.T) {
	w := newWorld(t, func(o *operator.Options) { o.Policies = policies(t, groupPolicies) })
	w.dir.Group("auditors", "anna")
	w.dir.Group("banned")
	in := w.signIn(w.dir.Add("anna"))
	v := w.visit()
	for from, ok := range map[string]bool{"192.0.2.77": true, "198.51.100.1": false, "::ffff:192.0.2.9": true, "2001:db8::1": false, "fe80::1%eth0": false} {
		v.From = mustAddr(from)
		c, err := w.Identify(t.Context(), v, in.Secret)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = w.Authorize(t.Context(), c, operator.AuditRead, operator.Server()); (err == nil) != ok {
			t.Errorf("from %s: %v", from, err)
		}
	}
}

// A policy that cannot be evaluated counts as if it forbade.
func TestPolicyThatFails(t *testing.T) {
	w := newWorld(t, func(o *operator.Options) {
		o.Policies = policies(t, `@id("all") permit (principal, action == Action::"audit.read", resource);
@id("overflow") forbid (principal, action, resource) when { context.now.offset(duration("9223372036854775807ms")) < context.since };`)
	})
	in := w.signIn(w.dir.Add("anna"))
	d, err := w.Authorize(t.Context(), w.caller(in.Secret), operator.AuditRead, operator.Server())
	if !errors.Is(err, operator.ErrForbidden) || len(d.Failed) != 1 || !strings.Contains(d.Failed[0], "overflow (test.cedar:2)") {
		t.Errorf("%+v, %v", d, err)
	}
}

// May answers without leaving an entry.
func TestMayLogsNothing(t *testing.T) {
	w := newWorld(t)
	in := w.signIn(w.dir.Add("anna"))
	before := len(w.store.Log().Entries)
	d, err := w.May(t.Context(), w.caller(in.Secret), operator.AuditRead, operator.Server())
	if err != nil || d.Allowed || d.Why == "" || len(w.store.Log().Entries) != before {
		t.Errorf("%+v, %v", d, err)
	}
	for _, c := range []struct {
		action   operator.Action
		resource operator.Resource
	}{{"audit.write", operator.Server()}, {operator.AuditRead, grantOf(true, true)}, {operator.GrantApprove, operator.Resource{Kind: operator.OnGrant}}, {operator.Administer, operator.Resource{Kind: operator.OnAccount, ID: "anna"}}} {
		_, err := w.May(t.Context(), w.caller(w.administrator2().Secret), c.action, c.resource)
		wants(t, string(c.action), err, operator.ErrInvalid)
	}
}

// administrator2 is an administrator, once per world.
func (w *world) administrator2() operator.SignIn {
	if yes, err := w.Initialized(w.t.Context()); err != nil || !yes {
		w.admin = w.administrator("root")
	}
	return w.admin
}

// The first administrator is made once, on the server's machine, by name of an account in
// use; the second try is refused and logged.
func TestInitOnce(t *testing.T) {
	w := newWorld(t)
	anna, bob := w.dir.Add("anna"), w.dir.Add("bob")
	local := operator.Local("root", "req-0", w.now)
	if yes, err := w.Initialized(t.Context()); err != nil || yes {
		t.Fatal(yes, err)
	}
	_, err := w.Init(t.Context(), local, "nobody")
	wants(t, "an unknown account", err, operator.ErrNotFound)
	in := w.signIn(bob)
	_, err = w.Init(t.Context(), w.caller(in.Secret), "bob")
	wants(t, "over the network", err, operator.ErrInvalid)
	if a, err := w.Init(t.Context(), local, "anna"); err != nil || a.GUID != anna.GUID {
		t.Fatal(a, err)
	}
	for _, name := range []string{"bob", "anna"} {
		_, err = w.Init(t.Context(), local, name)
		wants(t, "a second time", err, operator.ErrInitialized)
	}
	if got := w.entries(audit.Refusal, "operator.init"); len(got) != 2 {
		t.Error(got)
	}
	if got := w.entries(audit.Fact, "operator.init"); len(got) != 1 || got[0] != "root: " {
		t.Error(got)
	}
	_, err = w.Authorize(t.Context(), w.caller(in.Secret), operator.OperatorRead, operator.Server())
	wants(t, "bob", err, operator.ErrForbidden)
	// Whoever sits at the machine administers, and does nothing else.
	for a, want := range map[operator.Action]error{operator.Administer: nil, operator.AuditRead: operator.ErrForbidden} {
		if _, err := w.Authorize(t.Context(), local, a, operator.Server()); !errors.Is(err, want) {
			t.Errorf("%s, local: %v", a, err)
		}
	}
}
