package operator_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/operator"
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
	_, token, err := w.IssueToken(t.Context(), w.caller(in.Secret), operator.TokenOrder{Label: "x", Scope: []operator.Action{operator.GrantRead}})
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
	if err := w.Sweep(t.Context(), w.now); err != nil || w.store.Count("factor") != 1 {
		t.Errorf("%d factors after the sweep, %v", w.store.Count("factor"), err)
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
