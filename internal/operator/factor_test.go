package operator_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/operator/operatortest"
)

// A code is good once: not again in its time step, not in another session, not an older
// one after a newer one.
func TestReplayedSecondFactor(t *testing.T) {
	w := newWorld(t)
	anna := w.dir.Add("anna")
	one, two := w.signIn(anna), w.signIn(anna)
	secret := w.app(one)
	earlier := w.code(secret)
	w.pass(30 * time.Second)
	code := w.code(secret)
	up, err := w.StepUpTOTP(t.Context(), w.caller(one.Secret), code)
	if err != nil {
		t.Fatal(err)
	}
	for what, in := range map[string]operator.SignIn{"in the same session": up, "in another session": two} {
		_, err = w.StepUpTOTP(t.Context(), w.caller(in.Secret), code)
		wants(t, "the same code "+what, err, operator.ErrFactor)
		_, err = w.StepUpTOTP(t.Context(), w.caller(in.Secret), earlier)
		wants(t, "an older code "+what, err, operator.ErrFactor)
	}
	w.pass(30 * time.Second)
	if _, err = w.StepUpTOTP(t.Context(), w.caller(two.Secret), w.code(secret)); err != nil {
		t.Error(err)
	}
	if got := w.lastRefusal("factor.accept"); !strings.Contains(got, operator.ErrFactor.Error()) {
		t.Error(got)
	}
	w.holdsNone(secret, code, up.Secret.Reveal())
}

// The code that confirmed an enrolment is used up, too.
func TestConfirmationUsesTheCode(t *testing.T) {
	w := newWorld(t)
	in := w.signIn(w.dir.Add("anna"))
	secret := w.app(in)
	w.pass(-30 * time.Second)
	_, err := w.StepUpTOTP(t.Context(), w.caller(in.Secret), w.code(secret))
	wants(t, "the code of the confirmation", err, operator.ErrFactor)
}

// Codes of the neighbouring time steps count, others do not.
func TestTimeSteps(t *testing.T) {
	for off, ok := range map[int]bool{-60: false, -30: true, 0: true, 30: true, 60: false} {
		w := newWorld(t)
		in := w.signIn(w.dir.Add("anna"))
		secret := w.app(in)
		w.pass(5 * time.Minute)
		w.pass(time.Duration(off) * time.Second)
		code := w.code(secret)
		w.pass(time.Duration(-off) * time.Second)
		if _, err := w.StepUpTOTP(t.Context(), w.caller(in.Secret), code); (err == nil) != ok {
			t.Errorf("%d s off: %v", off, err)
		}
	}
}

// Codes cannot be guessed: tries are few in a session and few from an address, whatever
// the session; the wait is no lockout elsewhere.
func TestGuessedCodes(t *testing.T) {
	w := newWorld(t)
	anna := w.dir.Add("anna")
	in := w.signIn(anna)
	secret := w.app(in)
	tried := 0
	for i := range 60 {
		if i%6 == 0 {
			in = w.signIn(anna) // a new session for each few guesses
		}
		_, err := w.StepUpTOTP(t.Context(), w.caller(in.Secret), "x")
		if errors.Is(err, operator.ErrFactor) {
			tried++
		} else {
			wants(t, "a guess", err, operator.ErrRetry)
		}
	}
	if tried > 10 {
		t.Errorf("%d codes were tried", tried)
	}
	_, err := w.StepUpTOTP(t.Context(), w.caller(in.Secret), w.code(secret))
	wants(t, "the right code during the wait", err, operator.ErrRetry)
	w.from = mustAddr("203.0.113.5")
	in = w.signIn(anna)
	if _, err := w.StepUpTOTP(t.Context(), w.caller(in.Secret), w.code(secret)); err != nil {
		t.Errorf("Anna herself, elsewhere: %v", err)
	}
}

// A second factor is enrolled by its owner in person, with a fresh first factor, and with
// the second one that he has.
func TestEnrolmentNeeds(t *testing.T) {
	w := newWorld(t)
	anna := w.dir.Add("anna")
	in := w.signIn(anna)
	begin := func(s operator.Secret) error {
		return second(w.BeginTOTP(t.Context(), w.caller(s), "phone", operator.Secret{}))
	}
	w.pass(10*time.Minute + time.Second)
	wants(t, "an old first factor", begin(in.Secret), operator.ErrForbidden)
	in = w.signIn(anna)
	_, token, err := w.IssueToken(t.Context(), w.caller(w.steppedUp(w.dir.Add("job")).Secret), operator.TokenOrder{Label: "x", Scope: []operator.Action{operator.GrantRead}})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, "a token", begin(token), operator.ErrForbidden)
	wants(t, "no label", second(w.BeginTOTP(t.Context(), w.caller(in.Secret), "", operator.Secret{})), operator.ErrInvalid)

	// An enrolment that was not confirmed counts for nothing.
	e, err := w.BeginTOTP(t.Context(), w.caller(in.Secret), "phone", operator.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, "an unconfirmed app", second(w.StepUpTOTP(t.Context(), w.caller(in.Secret), w.code(e.Secret.Reveal()))), operator.ErrNoFactor)
	mallory := w.signIn(w.dir.Add("mallory"))
	wants(t, "confirming another's", second(w.ConfirmTOTP(t.Context(), w.caller(mallory.Secret), e.Factor.ID, w.code(e.Secret.Reveal()))), operator.ErrNotFound)
	wants(t, "a wrong code", second(w.ConfirmTOTP(t.Context(), w.caller(in.Secret), e.Factor.ID, "000000x")), operator.ErrFactor)
	if f, err := w.ConfirmTOTP(t.Context(), w.caller(in.Secret), e.Factor.ID, w.code(e.Secret.Reveal())); err != nil || !f.Confirmed {
		t.Fatal(f, err)
	}
	wants(t, "confirming again", second(w.ConfirmTOTP(t.Context(), w.caller(in.Secret), e.Factor.ID, "x")), operator.ErrNotFound)
	if !strings.HasPrefix(e.URL.Reveal(), "otpauth://totp/leastwise:CONTOSO") {
		t.Error(e.URL.Reveal())
	}

	wants(t, "a second one without the first", begin(in.Secret), operator.ErrStepUp)
	w.pass(30 * time.Second)
	up, err := w.StepUpTOTP(t.Context(), w.caller(in.Secret), w.code(e.Secret.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	if err := begin(up.Secret); err != nil {
		t.Error(err)
	}
	for _, action := range []string{"factor.enrol", "factor.confirm"} {
		if len(w.entries(audit.Fact, action)) == 0 || len(w.entries(audit.Refusal, action)) == 0 {
			t.Errorf("%s: %v, refused %v", action, w.entries(audit.Fact, action), w.entries(audit.Refusal, action))
		}
	}
	w.pass(16 * time.Minute)
	if err := w.Sweep(t.Context(), w.now); err != nil || w.store.Count("factor") != 2 {
		t.Errorf("%d factors after the sweep, %v", w.store.Count("factor"), err)
	}
}

// Who only has the first factor begins before the owner has a second one, and is not able
// to finish after him: confirming asks again what beginning has asked.
func TestConfirmationRepeatsTheChecks(t *testing.T) {
	none := operator.Secret{}
	local := func(w *world) operator.Caller { return operator.Local("root", "r", w.now) }
	for name, c := range map[string]struct {
		invite bool
		change func(w *world, anna operator.Account, thief operator.SignIn)
		want   error
	}{
		"nothing happens":                 {false, func(*world, operator.Account, operator.SignIn) {}, nil},
		"the owner enrols meanwhile":      {false, func(w *world, a operator.Account, _ operator.SignIn) { w.app(w.signIn(a)) }, operator.ErrStepUp},
		"the account is invited":          {false, func(w *world, a operator.Account, _ operator.SignIn) { w.invited(a) }, operator.ErrNotFound},
		"the sign-in is too long ago":     {false, func(w *world, _ operator.Account, _ operator.SignIn) { w.pass(10*time.Minute + time.Second) }, operator.ErrForbidden},
		"the code is replaced by another": {true, func(w *world, a operator.Account, _ operator.SignIn) { w.invited(a) }, operator.ErrNotFound},
		"the code has ended":              {true, func(w *world, _ operator.Account, _ operator.SignIn) { w.pass(10*time.Minute - time.Second) }, nil},
		"the account is disabled":         {false, func(w *world, a operator.Account, _ operator.SignIn) { w.disable(a) }, operator.ErrForbidden},
		"the session is signed out": {false, func(w *world, _ operator.Account, in operator.SignIn) {
			_ = w.SignOut(w.t.Context(), w.caller(in.Secret))
		}, operator.ErrNotFound},
		"everything of the account is ended": {false, func(w *world, a operator.Account, _ operator.SignIn) {
			_, _ = w.EndAll(w.t.Context(), local(w), a.GUID, "x")
		}, operator.ErrNotFound},
		"there are too many factors": {false, func(w *world, a operator.Account, _ operator.SignIn) { w.pendings(a, 10) }, operator.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			for _, kind := range []audit.Method{audit.TOTP, audit.WebAuthn} {
				w := newWorld(t, func(o *operator.Options) { o.Invite = c.invite })
				anna := w.dir.Add("anna")
				in, code := w.signIn(anna), none
				if c.invite {
					code = w.invited(anna)
				}
				e, err := w.BeginTOTP(t.Context(), w.caller(in.Secret), "thief's", code)
				if err != nil {
					t.Fatal(err)
				}
				options, err := w.BeginWebAuthn(t.Context(), w.caller(in.Secret), "thief's", code)
				if err != nil {
					t.Fatal(err)
				}
				thief := w.caller(in.Secret)
				c.change(w, anna, in)
				thief.Now = w.now
				want := c.want
				if kind == audit.TOTP {
					err = second(w.ConfirmTOTP(t.Context(), thief, e.Factor.ID, w.code(e.Secret.Reveal())))
				} else {
					err = second(w.ConfirmWebAuthn(t.Context(), thief, newStick(t).create(t, options)))
					if want == operator.ErrNotFound || want != nil && w.now.After(operatortest.Origin.Add(5*time.Minute)) {
						want = operator.ErrFactor // the challenge is gone
					}
				}
				if kind == audit.WebAuthn && c.want == nil && w.now.After(operatortest.Origin.Add(5*time.Minute)) {
					want = operator.ErrFactor
				}
				if !errors.Is(err, want) {
					t.Errorf("%s: %v, want %v", kind, err, want)
				}
			}
		})
	}
}

// invited makes an enrolment code for an account.
func (w *world) invited(a operator.Account) operator.Secret {
	w.t.Helper()
	code, err := w.Invite(w.t.Context(), operator.Local("root", "r", w.now), a.GUID, "called back")
	if err != nil {
		w.t.Fatal(err)
	}
	return code
}

func (w *world) disable(a operator.Account) {
	w.dir.Change(a.GUID, func(a *operator.Account, _ *string) { a.Disabled = true })
}

// pendings begins enrolments until an account has n.
func (w *world) pendings(a operator.Account, n int) {
	w.t.Helper()
	in := w.signIn(a)
	for w.store.Count("factor") < n {
		if _, err := w.BeginTOTP(w.t.Context(), w.caller(in.Secret), "x", operator.Secret{}); err != nil {
			w.t.Fatal(err)
		}
	}
	// One more than there may be: a row of an older version, or of another node.
	err := w.store.Update(w.t.Context(), func(ctx context.Context, tx operator.Tx) error {
		return tx.Put(ctx, operator.Record{Kind: "factor", ID: "one-more", Account: a.GUID, Body: []byte(`{"id":"one-more"}`)})
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// A second factor that was stolen is removed: what it had made fresh no longer is, and
// what was begun with it does not come about.
func TestStolenFactorIsRemoved(t *testing.T) {
	w := newWorld(t)
	anna := w.dir.Add("anna")
	one := w.signIn(anna)
	stolen := w.app(one)
	w.pass(30 * time.Second)
	in, err := w.StepUpTOTP(t.Context(), w.caller(one.Secret), w.code(stolen))
	if err != nil {
		t.Fatal(err)
	}
	stick := w.key(in)
	w.pass(30 * time.Second)
	thief, err := w.StepUpTOTP(t.Context(), w.caller(w.signIn(anna).Secret), w.code(stolen))
	if err != nil {
		t.Fatal(err)
	}
	e, err := w.BeginTOTP(t.Context(), w.caller(thief.Secret), "thief's", operator.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	owner, err := w.StepUpWebAuthn(t.Context(), w.caller(in.Secret), stick.get(t, w.challenge(in)))
	if err != nil {
		t.Fatal(err)
	}
	list, err := w.Factors(t.Context(), w.caller(owner.Secret), anna.GUID)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		if f.Kind == audit.TOTP && f.Confirmed {
			if err := w.RemoveFactor(t.Context(), w.caller(owner.Secret), f.ID, "stolen"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if c := w.caller(thief.Secret); c.SteppedUp() {
		t.Error("the thief's step-up goes on")
	}
	if c := w.caller(owner.Secret); !c.SteppedUp() {
		t.Error("the owner's own step-up ended")
	}
	wants(t, "the thief's enrolment", second(w.ConfirmTOTP(t.Context(), w.caller(thief.Secret), e.Factor.ID, w.code(e.Secret.Reveal()))), operator.ErrNotFound)
}

// Codes are not guessed from many networks either, by somebody who has the first factor;
// and where a second factor of Anna's was right before, he does not make her wait.
func TestGuessedCodesFromManyNetworks(t *testing.T) {
	w := newWorld(t)
	anna := w.dir.Add("anna")
	in := w.signIn(anna)
	secret := w.app(in)
	home := w.from
	if _, err := w.StepUpTOTP(t.Context(), w.caller(in.Secret), w.code(secret)); err != nil {
		t.Fatal(err)
	}
	tried := 0
	for i := range 100 {
		w.from = mustAddr(fmt.Sprintf("198.51.100.%d", i))
		w.pass(time.Second)
		err := second(w.StepUpTOTP(t.Context(), w.caller(w.signIn(anna).Secret), "000000x"))
		if errors.Is(err, operator.ErrFactor) {
			tried++
		} else {
			wants(t, "a guess", err, operator.ErrRetry)
		}
	}
	if tried > 30 {
		t.Errorf("%d codes were tried", tried)
	}
	w.from = home
	if _, err := w.StepUpTOTP(t.Context(), w.caller(w.signIn(anna).Secret), w.code(secret)); err != nil {
		t.Errorf("Anna at home: %v", err)
	}
	w.pass(30 * time.Second)
	w.from = mustAddr("203.0.113.9")
	wants(t, "the thief after Anna's success", second(w.StepUpTOTP(t.Context(), w.caller(w.signIn(anna).Secret), "000000x")), operator.ErrRetry)
	w.pass(31 * 24 * time.Hour)
	w.from = home
	if err := w.Sweep(t.Context(), w.now); err != nil || w.store.Count("place") != 0 {
		t.Errorf("%d networks are known after a month, %v", w.store.Count("place"), err)
	}
}

// Lost keys are noticed, and other ones.
func TestLostKeys(t *testing.T) {
	w := newWorld(t)
	sealed := func() bool {
		t.Helper()
		yes, err := operator.Sealed(t.Context(), w.store)
		if err != nil {
			t.Fatal(err)
		}
		return yes
	}
	in := w.signIn(w.dir.Add("anna"))
	w.key(in)
	if sealed() {
		t.Error("a security key is sealed")
	}
	w.app(w.signIn(w.dir.Add("bob")))
	if !sealed() {
		t.Error("nothing is sealed")
	}
	if err := w.CheckKeys(t.Context()); err != nil {
		t.Error(err)
	}
	other := newWorld(t, func(o *operator.Options) { o.Store = w.store })
	wants(t, "other keys", other.CheckKeys(t.Context()), operator.ErrKeys)
	if err := newWorld(t).CheckKeys(t.Context()); err != nil {
		t.Error(err)
	}
}

// Where the keys are lost for good, what they sealed goes with them, and with it the
// sessions; who only has the first factor does not take the app's place.
func TestForgetSealed(t *testing.T) {
	w := newWorld(t)
	anna, bob := w.dir.Add("anna"), w.dir.Add("bob")
	a, b := w.steppedUp(anna), w.signIn(bob)
	w.key(b)
	stick := w.key(a)
	carl := w.steppedUp(w.dir.Add("carl"))
	wants(t, "over the network", second(w.ForgetSealed(t.Context(), w.caller(a.Secret), "lost")), operator.ErrInvalid)
	wants(t, "without a reason", second(w.ForgetSealed(t.Context(), operator.Local("root", "r", w.now), "")), operator.ErrInvalid)
	n, err := w.ForgetSealed(t.Context(), operator.Local("root", "r", w.now), "disk lost")
	if err != nil || n != 2 {
		t.Fatal(n, err)
	}
	if sealed, err := operator.Sealed(t.Context(), w.store); err != nil || sealed {
		t.Error(sealed, err)
	}
	w.caller(b.Secret)
	for _, in := range []operator.SignIn{a, carl} {
		wants(t, "a session", second(w.Identify(t.Context(), w.visit(), in.Secret)), operator.ErrSignedOut)
	}
	in := w.signIn(anna)
	if in, err = w.StepUpWebAuthn(t.Context(), w.caller(in.Secret), stick.get(t, w.challenge(in))); err != nil {
		t.Errorf("the security key goes on: %v", err)
	}
	w.app(in)
	in = w.signIn(w.must("carl"))
	wants(t, "the first factor alone", second(w.BeginTOTP(t.Context(), w.caller(in.Secret), "phone", operator.Secret{})), operator.ErrForbidden)
	code := w.invited(w.must("carl"))
	if _, err := w.BeginTOTP(t.Context(), w.caller(in.Secret), "phone", code); err != nil {
		t.Error(err)
	}
}

// An administrator helps whoever lost his second factor; nobody helps himself; and who
// only has the first factor cannot be faster than the owner, since there is a code.
func TestRecovery(t *testing.T) {
	w := newWorld(t)
	admin := w.administrator("root")
	anna := w.dir.Add("anna")
	in := w.steppedUp(anna)
	wants(t, "by oneself", second(w.Recover(t.Context(), w.caller(in.Secret), anna.GUID, "lost")), operator.ErrForbidden)
	wants(t, "an administrator by himself", second(w.Recover(t.Context(), w.caller(admin.Secret), admin.Session.Account, "lost")), operator.ErrForbidden)
	bob := w.steppedUp(w.dir.Add("bob"))
	wants(t, "by anybody", second(w.Recover(t.Context(), w.caller(bob.Secret), anna.GUID, "lost")), operator.ErrForbidden)
	wants(t, "without a reason", second(w.Recover(t.Context(), w.caller(admin.Secret), anna.GUID, "")), operator.ErrInvalid)

	code, err := w.Recover(t.Context(), w.caller(admin.Secret), anna.GUID, "phone in the lake, called back")
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Identify(t.Context(), w.visit(), in.Secret)
	wants(t, "the old session", err, operator.ErrSignedOut)
	if got := w.entries(audit.Fact, "factor.recover"); len(got) != 1 || got[0] != `CONTOSO\root: phone in the lake, called back` {
		t.Error(got)
	}
	again := w.signIn(anna)
	if len(again.Factors) != 0 {
		t.Errorf("%v", again.Factors)
	}
	for _, wrong := range []operator.Secret{{}, operator.NewSecret("lwc_x"), again.Secret} {
		wants(t, "without the code", second(w.BeginTOTP(t.Context(), w.caller(again.Secret), "phone", wrong)), operator.ErrForbidden)
	}
	e, err := w.BeginTOTP(t.Context(), w.caller(again.Secret), "new phone", code)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.ConfirmTOTP(t.Context(), w.caller(again.Secret), e.Factor.ID, w.code(e.Secret.Reveal())); err != nil {
		t.Fatal(err)
	}
	w.holdsNone(code.Reveal(), e.Secret.Reveal())

	// An account that was recovered and never enrolled again waits for a code for ever.
	code, err = w.Recover(t.Context(), operator.Local("root", "r", w.now), anna.GUID, "again, at the machine")
	if err != nil {
		t.Fatal(err)
	}
	w.pass(25 * time.Hour)
	if err := w.Sweep(t.Context(), w.now); err != nil {
		t.Fatal(err)
	}
	again = w.signIn(anna)
	err = second(w.BeginTOTP(t.Context(), w.caller(again.Secret), "phone", code))
	wants(t, "a code that has ended", err, operator.ErrForbidden)
	wants(t, "no code", second(w.BeginTOTP(t.Context(), w.caller(again.Secret), "phone", operator.Secret{})), operator.ErrForbidden)
}

// Where it is demanded, the first second factor of every account needs a code.
func TestInvite(t *testing.T) {
	w := newWorld(t, func(o *operator.Options) { o.Invite = true })
	anna := w.dir.Add("anna")
	in := w.signIn(anna)
	wants(t, "uninvited", second(w.BeginTOTP(t.Context(), w.caller(in.Secret), "phone", operator.Secret{})), operator.ErrForbidden)
	code, err := w.Invite(t.Context(), operator.Local("root", "r", w.now), anna.GUID, "starts today")
	if err != nil {
		t.Fatal(err)
	}
	e, err := w.BeginTOTP(t.Context(), w.caller(in.Secret), "phone", code)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.ConfirmTOTP(t.Context(), w.caller(in.Secret), e.Factor.ID, w.code(e.Secret.Reveal())); err != nil {
		t.Fatal(err)
	}
	wants(t, "inviting who has one", second(w.Invite(t.Context(), operator.Local("root", "r", w.now), anna.GUID, "x")), operator.ErrInvalid)
}

// A second factor is removed by its owner after a step-up with it, or by an administrator.
func TestRemoveFactor(t *testing.T) {
	w := newWorld(t)
	anna := w.dir.Add("anna")
	in := w.signIn(anna)
	secret := w.app(in)
	list, err := w.Factors(t.Context(), w.caller(in.Secret), anna.GUID)
	if err != nil || len(list) != 1 || list[0].Kind != audit.TOTP || list[0].Label != "phone" {
		t.Fatalf("%+v, %v", list, err)
	}
	bob := w.steppedUp(w.dir.Add("bob"))
	wants(t, "another's", w.RemoveFactor(t.Context(), w.caller(bob.Secret), list[0].ID, "x"), operator.ErrForbidden)
	wants(t, "seeing another's", second(w.Factors(t.Context(), w.caller(bob.Secret), anna.GUID)), operator.ErrForbidden)
	wants(t, "without it", w.RemoveFactor(t.Context(), w.caller(in.Secret), list[0].ID, "x"), operator.ErrStepUp)
	w.pass(30 * time.Second)
	up, err := w.StepUpTOTP(t.Context(), w.caller(in.Secret), w.code(secret))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.RemoveFactor(t.Context(), w.caller(up.Secret), list[0].ID, "new phone"); err != nil {
		t.Error(err)
	}
	wants(t, "again", w.RemoveFactor(t.Context(), w.caller(up.Secret), list[0].ID, "x"), operator.ErrNotFound)
	wants(t, "its codes", second(w.StepUpTOTP(t.Context(), w.caller(up.Secret), w.code(secret))), operator.ErrNoFactor)
}

// The secret of an app is sealed, for its account only, with keys that can be rotated.
func TestKeys(t *testing.T) {
	w := newWorld(t)
	in := w.signIn(w.dir.Add("anna"))
	secret := w.app(in)
	w.holdsNone(secret)

	other := newWorld(t, func(o *operator.Options) { o.Store = w.store; o.Membership = w.dir })
	other.now, other.dir = w.now, w.dir
	err := second(other.StepUpTOTP(t.Context(), other.caller(in.Secret), w.code(secret)))
	wants(t, "other keys", err, operator.ErrKeys)

	text, err := operator.GenerateKeys()
	if err != nil {
		t.Fatal(err)
	}
	rotated, err := operator.RotateKeys(text)
	if err != nil || len(rotated) <= len(text) {
		t.Fatal(len(rotated), err)
	}
	if _, err := operator.ReadKeys(rotated); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "{}", "hunter2", strings.Repeat("x", 1<<20+1), `{"primaryKeyId":1,"key":[]}`, string(text[:len(text)/2])} {
		_, err := operator.ReadKeys([]byte(bad))
		wants(t, fmt.Sprintf("%.20q", bad), err, operator.ErrKeys)
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Error(err)
		}
	}
}
