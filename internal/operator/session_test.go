package operator_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/operator/operatortest"
)

func TestSignInAndOut(t *testing.T) {
	w := newWorld(t)
	anna := w.dir.Add("anna")
	in := w.signIn(anna)
	c := w.caller(in.Secret)
	if c.Account != anna.GUID || c.Method != audit.Kerberos || c.SteppedUp() || c.Token || string(in.Reply) != "reply" {
		t.Errorf("%+v", c)
	}
	if got := w.entries(audit.Fact, "session.begin"); len(got) != 1 || !strings.Contains(got[0], "anna") {
		t.Error(got)
	}
	if err := w.SignOut(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	w.holdsNone(in.Secret.Reveal())
	_, err := w.Identify(t.Context(), w.visit(), in.Secret)
	wants(t, "after signing out", err, operator.ErrSignedOut)
	wants(t, "signing out again", w.SignOut(t.Context(), c), operator.ErrSignedOut)
}

// A cookie that was stolen is worth nothing after the sign-out, not even to a caller who
// was identified a moment before.
func TestStolenCookieAfterSignOut(t *testing.T) {
	w := newWorld(t)
	in := w.steppedUp(w.dir.Add("anna"))
	thief := w.caller(in.Secret)
	if err := w.SignOut(t.Context(), w.caller(in.Secret)); err != nil {
		t.Fatal(err)
	}
	_, err := w.Identify(t.Context(), w.visit(), in.Secret)
	wants(t, "the cookie", err, operator.ErrSignedOut)
	_, err = w.Authorize(t.Context(), thief, operator.GrantApprove, grantOf(false, true))
	wants(t, "the caller", err, operator.ErrSignedOut)
	w.pass(2 * time.Minute) // when the use of a session is noted
	_, err = w.Identify(t.Context(), w.visit(), in.Secret)
	wants(t, "the cookie, later", err, operator.ErrSignedOut)
}

// What does not fit as a secret is nobody's: other prefixes, other random bytes, cuts.
func TestSecretsMustFit(t *testing.T) {
	w := newWorld(t)
	in := w.signIn(w.dir.Add("anna"))
	good := in.Secret.Reveal()
	last := "A"
	if strings.HasSuffix(good, "A") {
		last = "Q"
	}
	for _, bad := range []string{
		"", "lws_", good + "x", good[:len(good)-1], good[:len(good)-1] + last, strings.Replace(good, "lws_", "lwt_", 1), strings.ToUpper(good),
		good[:28] + "_" + strings.Repeat("A", 43), "lws_" + strings.Repeat("0", 24) + good[28:],
	} {
		_, err := w.Identify(t.Context(), w.visit(), operator.NewSecret(bad))
		wants(t, bad, err, operator.ErrSignedOut)
	}
	if _, err := w.Identify(t.Context(), w.visit(), in.Secret); err != nil {
		t.Error(err)
	}
}

// A session ends when it is idle and, whatever is done, when it is old.
func TestSessionEnds(t *testing.T) {
	w := newWorld(t)
	anna := w.dir.Add("anna")
	idle := w.signIn(anna)
	w.pass(30*time.Minute - time.Second)
	w.caller(idle.Secret)
	w.pass(30*time.Minute - time.Second)
	w.caller(idle.Secret)
	w.pass(30 * time.Minute)
	_, err := w.Identify(t.Context(), w.visit(), idle.Secret)
	wants(t, "idle", err, operator.ErrSignedOut)

	old := w.signIn(anna)
	for range 59 {
		w.pass(10 * time.Minute)
		w.caller(old.Secret)
	}
	w.pass(10 * time.Minute)
	_, err = w.Identify(t.Context(), w.visit(), old.Secret)
	wants(t, "old", err, operator.ErrSignedOut)
	if err := w.Sweep(t.Context(), w.now.Add(2*time.Minute)); err != nil || w.store.Count("session") != 0 {
		t.Errorf("%d sessions after the sweep, %v", w.store.Count("session"), err)
	}
}

// Session fixation: a secret that somebody planted before a sign-in or a step-up opens
// nothing after it.
func TestNewSecretAtSignInAndStepUp(t *testing.T) {
	w := newWorld(t)
	anna, mallory := w.dir.Add("anna"), w.dir.Add("mallory")
	planted := w.signIn(mallory)
	v := w.visit()
	v.Old = planted.Secret
	in, err := w.SignInKerberos(t.Context(), v, operatortest.Ticket(anna, 100), nil)
	if err != nil || in.Secret.Reveal() == planted.Secret.Reveal() {
		t.Fatal(err)
	}
	_, err = w.Identify(t.Context(), w.visit(), planted.Secret)
	wants(t, "the planted secret", err, operator.ErrSignedOut)

	code := w.app(in)
	up, err := w.StepUpTOTP(t.Context(), w.caller(in.Secret), w.code(code))
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Identify(t.Context(), w.visit(), in.Secret)
	wants(t, "the secret before the step-up", err, operator.ErrSignedOut)
	c := w.caller(up.Secret)
	if !c.SteppedUp() || c.Factor != audit.TOTP || !up.Session.Ends.Equal(in.Session.Ends) || c.Session == in.Session.ID {
		t.Errorf("%+v", c)
	}
	w.pass(5 * time.Minute)
	if c := w.caller(up.Secret); c.SteppedUp() || c.Factor != audit.TOTP {
		t.Errorf("after five minutes: %+v", c)
	}
}

// Sessions are listed and ended one by one, and all of an account; by others only with
// permission.
func TestSessionsAreRevocable(t *testing.T) {
	w := newWorld(t)
	admin := w.administrator("root")
	anna, bob := w.dir.Add("anna"), w.dir.Add("bob")
	one, two, other := w.signIn(anna), w.signIn(anna), w.signIn(bob)
	list, err := w.Sessions(t.Context(), w.caller(one.Secret), anna.GUID)
	if err != nil || len(list) != 2 {
		t.Fatalf("%v, %v", list, err)
	}
	_, err = w.Sessions(t.Context(), w.caller(other.Secret), anna.GUID)
	wants(t, "another's sessions", err, operator.ErrForbidden)
	wants(t, "ending another's", w.EndSession(t.Context(), w.caller(other.Secret), one.Session.ID, "x"), operator.ErrForbidden)
	if err := w.EndSession(t.Context(), w.caller(two.Secret), one.Session.ID, "lost"); err != nil {
		t.Error(err)
	}
	_, err = w.Identify(t.Context(), w.visit(), one.Secret)
	wants(t, "ended", err, operator.ErrSignedOut)
	w.caller(two.Secret)
	wants(t, "ending what is not there", w.EndSession(t.Context(), w.caller(two.Secret), one.Session.ID, "x"), operator.ErrNotFound)

	if list, err = w.Sessions(t.Context(), w.caller(admin.Secret), anna.GUID); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	n, err := w.EndAll(t.Context(), w.caller(admin.Secret), anna.GUID, "left the company")
	if err != nil || n != 1 {
		t.Errorf("%d ended, %v", n, err)
	}
	_, err = w.Identify(t.Context(), w.visit(), two.Secret)
	wants(t, "ended by an administrator", err, operator.ErrSignedOut)
	w.caller(other.Secret)
	if got := w.entries(audit.Fact, "session.end"); len(got) != 2 || !strings.HasSuffix(got[1], "left the company") {
		t.Error(got)
	}
}

func TestTooManySessions(t *testing.T) {
	w := newWorld(t)
	anna := w.dir.Add("anna")
	first := w.signIn(anna)
	for range 50 {
		w.pass(time.Second)
		w.signIn(anna)
	}
	if n := w.store.Count("session"); n != 50 {
		t.Errorf("%d sessions", n)
	}
	_, err := w.Identify(t.Context(), w.visit(), first.Secret)
	wants(t, "the oldest", err, operator.ErrSignedOut)
}

// A ticket is good once.
func TestReplayedTicket(t *testing.T) {
	w := newWorld(t)
	anna := w.dir.Add("anna")
	token := operatortest.Ticket(anna, 1)
	if _, err := w.SignInKerberos(t.Context(), w.visit(), token, nil); err != nil {
		t.Fatal(err)
	}
	_, err := w.SignInKerberos(t.Context(), w.visit(), token, nil)
	wants(t, "the same ticket", err, operator.ErrSignIn)
	if got := w.lastRefusal("session.begin"); !strings.Contains(got, "used before") {
		t.Error(got)
	}
}

// What cannot be logged does not happen; what the directory cannot say is no.
func TestFailsClosed(t *testing.T) {
	w := newWorld(t)
	anna := w.dir.Add("anna")
	in := w.signIn(anna)
	c := w.caller(in.Secret)
	w.dir.Fail(errors.New("no controller answers"))
	for what, err := range map[string]error{
		"Kerberos": second(w.SignInKerberos(t.Context(), w.visit(), operatortest.Ticket(anna, 7), nil)),
		"password": second(w.SignInPassword(t.Context(), w.visit(), "anna", operator.NewSecret("anna-password"))),
		"decision": second(w.Authorize(t.Context(), c, operator.GrantRequest, operator.Resource{Kind: operator.OnGrantPolicy, ID: "quick"})),
		"app":      second(w.BeginTOTP(t.Context(), c, "phone", operator.Secret{})),
	} {
		wants(t, what, err, operator.ErrUnavailable)
	}
	w.dir.Fail(nil)

	p := policies(t, operator.DefaultPolicies())
	s, err := operator.New(operator.Options{Store: failing{w.store}, Membership: w.dir, Authenticator: w.dir, Policies: p, Keys: keys(t)})
	if err != nil {
		t.Fatal(err)
	}
	before := w.store.Count("session")
	_, err = s.SignInKerberos(t.Context(), w.visit(), operatortest.Ticket(anna, 8), nil)
	wants(t, "a sign-in that cannot be logged", err, errDisk)
	wants(t, "a sign-out", s.SignOut(t.Context(), c), errDisk)
	_, err = s.Authorize(t.Context(), c, operator.AuditRead, operator.Server())
	wants(t, "a refusal", err, errDisk)
	wants(t, "a refusal", err, operator.ErrForbidden)
	if after := w.store.Count("session"); after != before {
		t.Errorf("%d sessions, had %d", after, before)
	}
}

func second[T any](_ T, err error) error { return err }

func TestVisitNeedsItsFacts(t *testing.T) {
	w := newWorld(t)
	_, err := w.SignInKerberos(t.Context(), operator.Visit{Now: w.now}, []byte("x"), nil)
	wants(t, "no address", err, operator.ErrInvalid)
	_, err = w.Authorize(t.Context(), operator.Caller{Visit: w.visit()}, operator.AuditRead, operator.Server())
	wants(t, "nobody", err, operator.ErrInvalid)
	for _, name := range []string{"", strings.Repeat("x", 257), "an\x00na", "an\nna", "\xff"} {
		_, err = w.SignInPassword(t.Context(), w.visit(), name, operator.NewSecret("x"))
		wants(t, name, err, operator.ErrInvalid)
	}
}

// A clock that is set back prolongs nothing: a second factor of the future is not fresh,
// not even when the clock has come there again; a session of the future has ended.
func TestClockSetBack(t *testing.T) {
	for _, how := range []string{"a request comes", "the sweep comes"} {
		for _, back := range []time.Duration{time.Minute + time.Second, 4 * time.Minute, time.Hour} {
			w := newWorld(t)
			in := w.administrator("root")
			if c := w.caller(in.Secret); !c.SteppedUp() {
				t.Fatal("not stepped up")
			}
			w.pass(-back)
			if how == "a request comes" {
				if c, err := w.Identify(t.Context(), w.visit(), in.Secret); err == nil && c.SteppedUp() || (err == nil) != (back < 5*time.Minute) {
					t.Errorf("%s, %s back: stepped up %v, %v", how, back, c.SteppedUp(), err)
				}
			}
			if how == "the sweep comes" || back == time.Hour {
				if err := w.Sweep(t.Context(), w.now); err != nil {
					t.Fatal(err)
				}
			}
			w.pass(back)
			c, err := w.Identify(t.Context(), w.visit(), in.Secret)
			if err == nil && c.SteppedUp() || (err == nil) != (back < 5*time.Minute) {
				t.Errorf("%s, %s back, and there again: stepped up %v, %v", how, back, c.SteppedUp(), err)
			}
			action := "factor.expire"
			if back == time.Hour {
				action = "session.end"
			}
			if got := w.entries(audit.Fact, action); len(got) != 1 || !strings.HasPrefix(got[0], "leastwise: the clock went back") {
				t.Errorf("%s, %s back: %q", how, back, got)
			}
		}
	}
	w := newWorld(t) // nodes differ a little
	in := w.administrator("root")
	w.pass(-30 * time.Second)
	if c := w.caller(in.Secret); !c.SteppedUp() {
		t.Error("half a minute ends a step-up")
	}
}

// That somebody ended what there was none of is in the log, too.
func TestEndAllOfNothing(t *testing.T) {
	w := newWorld(t)
	admin := w.administrator("root")
	anna := w.dir.Add("anna")
	n, err := w.EndAll(t.Context(), w.caller(admin.Secret), anna.GUID, "gone")
	if err != nil || n != 0 {
		t.Error(n, err)
	}
	if got := w.entries(audit.Fact, "session.end"); len(got) != 1 || got[0] != `CONTOSO\root: gone; there were none` {
		t.Errorf("%q", got)
	}
}

// What was decided when a request came is decided again when it matters: the request may
// have been held back until the second factor was no longer fresh, or was removed.
func TestFactorIsJudgedAtTheDecision(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile func(w *world, in operator.SignIn)
		want      error
	}{
		"at once":           {func(*world, operator.SignIn) {}, nil},
		"five minutes pass": {func(w *world, _ operator.SignIn) { w.pass(5 * time.Minute) }, operator.ErrStepUp},
		"the session idles": {func(w *world, _ operator.SignIn) { w.pass(31 * time.Minute) }, operator.ErrSignedOut},
		"the factor is removed": {func(w *world, in operator.SignIn) {
			list, err := w.Factors(t.Context(), w.caller(in.Secret), in.Session.Account)
			if err == nil {
				err = w.RemoveFactor(t.Context(), w.caller(in.Secret), list[0].ID, "stolen")
			}
			if err != nil {
				t.Fatal(err)
			}
		}, operator.ErrStepUp},
		"the clock goes back": {func(w *world, _ operator.SignIn) {
			w.pass(-2 * time.Minute)
			if err := w.Sweep(t.Context(), w.now); err != nil {
				t.Fatal(err)
			}
		}, operator.ErrStepUp},
	} {
		w := newWorld(t)
		in := w.administrator("root")
		held := w.caller(in.Secret)
		held.Clock = func() time.Time { return w.now }
		c.meanwhile(w, in)
		_, err := w.Authorize(t.Context(), held, operator.Administer, operator.Server())
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	w := newWorld(t)
	in := w.administrator("root")
	held := w.caller(in.Secret)
	held.Clock = func() time.Time { return w.now }
	list, err := w.Factors(t.Context(), held, held.Account)
	if err != nil {
		t.Fatal(err)
	}
	w.pass(5 * time.Minute)
	wants(t, "removing a factor", w.RemoveFactor(t.Context(), held, list[0].ID, "x"), operator.ErrStepUp)
}
