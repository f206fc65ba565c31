package operator_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/operator/operatortest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

func TestTokenOrders(t *testing.T) {
	w := newWorld(t)
	in := w.steppedUp(w.dir.Add("job"))
	good := operator.TokenOrder{Label: "nightly", Scope: []operator.Action{operator.GrantRequest, operator.GrantRead}, For: time.Hour}
	for name, change := range map[string]func(o *operator.TokenOrder){
		"no scope":       func(o *operator.TokenOrder) { o.Scope = nil },
		"in person":      func(o *operator.TokenOrder) { o.Scope = []operator.Action{operator.GrantApprove} },
		"administration": func(o *operator.TokenOrder) { o.Scope = []operator.Action{operator.Administer} },
		"unknown":        func(o *operator.TokenOrder) { o.Scope = []operator.Action{"grant.everything"} },
		"twice":          func(o *operator.TokenOrder) { o.Scope = []operator.Action{operator.GrantRead, operator.GrantRead} },
		"no label":       func(o *operator.TokenOrder) { o.Label = "" },
		"too long":       func(o *operator.TokenOrder) { o.For = 12*time.Hour + time.Second },
		"too short":      func(o *operator.TokenOrder) { o.For = time.Second },
		"negative":       func(o *operator.TokenOrder) { o.For = -time.Hour },
	} {
		o := good
		change(&o)
		wants(t, name, third(w.IssueToken(t.Context(), w.caller(in.Secret), o)), operator.ErrInvalid)
	}
	o := good
	o.Account = w.dir.Add("other").GUID
	wants(t, "for another account", third(w.IssueToken(t.Context(), w.caller(in.Secret), o)), operator.ErrForbidden)

	tok, secret, err := w.IssueToken(t.Context(), w.caller(in.Secret), good)
	if err != nil || tok.Name != `CONTOSO\job` || !tok.Ends.Equal(w.now.Add(time.Hour)) {
		t.Fatalf("%+v, %v", tok, err)
	}
	w.holdsNone(secret.Reveal())
	c := w.caller(secret)
	if !c.Token || c.Method != audit.Token || c.Account != in.Session.Account || c.SteppedUp() {
		t.Errorf("%+v", c)
	}
	if c.Issuer != in.Session.Account || tok.Issuer != c.Issuer {
		t.Errorf("issued by %s, and said to be by %s", in.Session.Account, c.Issuer)
	}
	wants(t, "a token that makes tokens", third(w.IssueToken(t.Context(), c, good)), operator.ErrForbidden)
	wants(t, "out of its scope", second(w.Authorize(t.Context(), c, operator.GrantEnd, grantOf(true, false))), operator.ErrForbidden)
	if got := w.lastRefusal("grant.end"); !strings.Contains(got, "not for this") {
		t.Error(got)
	}
	w.pass(time.Hour)
	wants(t, "after its end", second(w.Identify(t.Context(), w.visit(), secret)), operator.ErrSignedOut)
}

func third[A, B any](_ A, _ B, err error) error { return err }

// Tokens are listed and revoked, by their account, by themselves and by administrators.
func TestTokensAreRevocable(t *testing.T) {
	w := newWorld(t)
	admin := w.administrator("root")
	job := w.dir.Add("job")
	in, bob := w.steppedUp(job), w.signIn(w.dir.Add("bob"))
	order := operator.TokenOrder{Label: "nightly", Scope: []operator.Action{operator.GrantRead}}
	var ids []string
	var secrets []operator.Secret
	for range 3 {
		tok, s, err := w.IssueToken(t.Context(), w.caller(in.Secret), order)
		if err != nil {
			t.Fatal(err)
		}
		ids, secrets = append(ids, tok.ID), append(secrets, s)
	}
	list, err := w.Tokens(t.Context(), w.caller(in.Secret), job.GUID)
	if err != nil || len(list) != 3 || list[0].Label != "nightly" {
		t.Fatalf("%+v, %v", list, err)
	}
	wants(t, "bob sees them", second(w.Tokens(t.Context(), w.caller(bob.Secret), job.GUID)), operator.ErrForbidden)
	wants(t, "bob revokes", w.RevokeToken(t.Context(), w.caller(bob.Secret), ids[0], "x"), operator.ErrForbidden)
	wants(t, "one revokes another", w.RevokeToken(t.Context(), w.caller(secrets[0]), ids[1], "x"), operator.ErrForbidden)
	for i, by := range []operator.Secret{in.Secret, secrets[1], admin.Secret} {
		if err := w.RevokeToken(t.Context(), w.caller(by), ids[i], "done"); err != nil {
			t.Errorf("%d: %v", i, err)
		}
		wants(t, "revoked", second(w.Identify(t.Context(), w.visit(), secrets[i])), operator.ErrSignedOut)
	}
	if got := w.entries(audit.Fact, "token.revoke"); len(got) != 3 {
		t.Error(got)
	}
}

// The token of an account that is disabled meanwhile opens nothing, and is gone; so is
// the account's session. An account that is locked out by somebody keeps both.
func TestTokenOfDisabledAccount(t *testing.T) {
	w := newWorld(t)
	job := w.dir.Add("job")
	in := w.steppedUp(job)
	_, secret, err := w.IssueToken(t.Context(), w.caller(in.Secret), operator.TokenOrder{Label: "nightly", Scope: []operator.Action{operator.GrantRequest}})
	if err != nil {
		t.Fatal(err)
	}
	use := func() error {
		return second(w.Authorize(t.Context(), w.caller(secret), operator.GrantRequest, operator.Resource{Kind: operator.OnGrantPolicy, ID: "quick"}))
	}
	if err := use(); err != nil {
		t.Fatal(err)
	}
	w.dir.Change(job.GUID, func(a *operator.Account, _ *string) { a.Disabled = true })
	w.pass(31 * time.Second)
	wants(t, "disabled", use(), operator.ErrForbidden)
	for _, s := range []operator.Secret{secret, in.Secret} {
		wants(t, "after that", second(w.Identify(t.Context(), w.visit(), s)), operator.ErrSignedOut)
	}
	if got := w.entries(audit.Fact, "token.revoke"); len(got) != 1 || got[0] != "leastwise: the account is disabled or has expired" {
		t.Error(got)
	}
	wants(t, "signing in", second(w.SignInKerberos(t.Context(), w.visit(), operatortest.Ticket(job, 99), nil)), operator.ErrSignIn)
	wants(t, "another node's token for nobody", second(w.Authorize(t.Context(), operator.Caller{
		Account: secdesc.MustGUID("00000000-0000-4000-9000-0000000000ff"), Method: audit.Token, Session: "00", Token: true,
		Scope: []operator.Action{operator.GrantRequest}, Visit: w.visit(),
	}, operator.GrantRequest, operator.Resource{Kind: operator.OnGrantPolicy, ID: "quick"})), operator.ErrForbidden)
}

// A token needs a fresh second factor; it ends with the session that it came from, if that
// is signed out and the token is for the same account, or if that is ended by hand; not
// if the session ends by itself.
func TestTokenAndItsSession(t *testing.T) {
	for name, c := range map[string]struct {
		end        func(w *world, in operator.SignIn) error
		own, other bool // which token goes on
	}{
		"signed out": {func(w *world, in operator.SignIn) error { return w.SignOut(w.t.Context(), w.caller(in.Secret)) }, false, true},
		"stepped up again, and signed out": {func(w *world, in operator.SignIn) error {
			w.pass(time.Minute)
			in, err := w.StepUpTOTP(w.t.Context(), w.caller(in.Secret), w.code(w.otp))
			if err != nil {
				return err
			}
			return w.SignOut(w.t.Context(), w.caller(in.Secret))
		}, false, true},
		"ended from elsewhere": {func(w *world, in operator.SignIn) error {
			return w.EndSession(w.t.Context(), w.caller(w.signIn(w.must("root")).Secret), in.Session.ID, "stolen")
		}, false, false},
		"left alone": {func(w *world, _ operator.SignIn) error { w.pass(time.Hour); return w.Sweep(w.t.Context(), w.now) }, true, true},
		"another session is signed out": {func(w *world, _ operator.SignIn) error {
			return w.SignOut(w.t.Context(), w.caller(w.signIn(w.must("root")).Secret))
		}, true, true},
	} {
		w := newWorld(t)
		in := w.administrator("root")
		job := w.dir.Add("job")
		w.dir.Change(job.GUID, func(a *operator.Account, _ *string) { a.Kind = operator.Workload })
		order := operator.TokenOrder{Label: "x", Scope: []operator.Action{operator.GrantRead}}
		wants(t, "without a second factor", third(w.IssueToken(t.Context(), w.caller(w.signIn(w.must("root")).Secret), order)), operator.ErrStepUp)
		_, own, err := w.IssueToken(t.Context(), w.caller(in.Secret), order)
		if err != nil {
			t.Fatal(err)
		}
		order.Account = job.GUID
		_, other, err := w.IssueToken(t.Context(), w.caller(in.Secret), order)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.end(w, in); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, x := range []struct {
			secret operator.Secret
			want   bool
		}{{own, c.own}, {other, c.other}} {
			if _, err := w.Identify(t.Context(), w.visit(), x.secret); (err == nil) != x.want {
				t.Errorf("%s: %v, want it to go on: %v", name, err, x.want)
			}
		}
	}
}

// What an account issued to others ends with everything else of it: when its owner ends
// all, when it is recovered, and when it is seen to be disabled.
func TestTokensForOthersEndWithTheirIssuer(t *testing.T) {
	for name, end := range map[string]func(w *world, issuer operator.SignIn, other operator.SignIn) error{
		"all is ended": func(w *world, issuer, _ operator.SignIn) error {
			return second(w.EndAll(w.t.Context(), w.caller(issuer.Secret), issuer.Session.Account, "stolen"))
		},
		"recovered": func(w *world, issuer, _ operator.SignIn) error {
			return second(w.Recover(w.t.Context(), operator.Local("root", "req-9", w.now), issuer.Session.Account, "lost"))
		},
		"disabled": func(w *world, issuer, _ operator.SignIn) error {
			w.dir.Change(issuer.Session.Account, func(a *operator.Account, _ *string) { a.Disabled = true })
			w.pass(31 * time.Second)
			return nil
		},
	} {
		w := newWorld(t)
		in := w.administrator("root")
		job := w.dir.Add("job")
		w.dir.Change(job.GUID, func(a *operator.Account, _ *string) { a.Kind = operator.Workload })
		order := operator.TokenOrder{Account: job.GUID, Label: "x", Scope: []operator.Action{operator.GrantRequest}}
		_, secret, err := w.IssueToken(t.Context(), w.caller(in.Secret), order)
		if err != nil {
			t.Fatal(err)
		}
		own := w.signIn(job)
		use := func() error {
			c, err := w.Identify(t.Context(), w.visit(), secret)
			if err != nil {
				return err
			}
			return second(w.Authorize(t.Context(), c, operator.GrantRequest, operator.Resource{Kind: operator.OnGrantPolicy, ID: "quick"}))
		}
		if err := use(); err != nil {
			t.Fatal(err)
		}
		if err := end(w, in, own); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := use(); !errors.Is(err, operator.ErrSignedOut) && !errors.Is(err, operator.ErrForbidden) {
			t.Errorf("%s: the token goes on: %v", name, err)
		}
		wants(t, name+": after that", second(w.Identify(t.Context(), w.visit(), secret)), operator.ErrSignedOut)
		w.caller(own.Secret) // the other account is not concerned
		if got := w.entries(audit.Fact, "token.revoke"); len(got) != 1 {
			t.Errorf("%s: %q", name, got)
		}
	}
}
