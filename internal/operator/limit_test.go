package operator_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/operator"
)

func (w *world) try(from, name, password string) error {
	v := w.visit()
	v.From = netip.MustParseAddr(from)
	_, err := w.SignInPassword(w.t.Context(), v, name, operator.NewSecret(password))
	return err
}

// A stranger who tries passwords of Anna's account locks himself out, and not her.
func TestLockOutByStranger(t *testing.T) {
	w := newWorld(t)
	w.dir.Add("anna")
	tried := 0
	for range 200 {
		err := w.try("198.51.100.7", "anna", fmt.Sprint("guess ", tried))
		if errors.Is(err, operator.ErrSignIn) {
			tried++
		}
		w.pass(time.Second)
	}
	if tried > 13 {
		t.Errorf("%d passwords were tried in 200 s", tried)
	}
	wants(t, "the right password from there", w.try("198.51.100.7", "anna", "anna-password"), operator.ErrRetry)
	if err := w.try("192.0.2.1", "anna", "anna-password"); err != nil {
		t.Errorf("Anna, from her own place: %v", err)
	}
	w.dir.Add("bob")
	if err := w.try("198.51.100.7", "bob", "bob-password"); err != nil {
		t.Errorf("Bob, from the stranger's place: %v", err)
	}
	var retry *operator.RetryError
	if err := w.try("198.51.100.7", "anna", "x"); !errors.As(err, &retry) || retry.After <= 0 || retry.After > 15*time.Minute {
		t.Errorf("%v", err)
	}
	w.pass(15 * time.Minute)
	if err := w.try("198.51.100.7", "anna", "anna-password"); err != nil {
		t.Errorf("after the wait: %v", err)
	}
	if err := w.Sweep(t.Context(), w.now); err != nil {
		t.Fatal(err)
	}
	all := strings.Join(w.entries(audit.Refusal, "session.begin"), "\n")
	if !strings.Contains(all, "more sign-ins from 198.51.100.7 were refused") {
		t.Error(all)
	}
}

// Many tries at once are no more than many in turn.
func TestTriesAtOnce(t *testing.T) {
	w := newWorld(t)
	w.dir.Add("anna")
	var tried atomic.Int64
	var group sync.WaitGroup
	for i := range 100 {
		group.Go(func() {
			if err := w.try("198.51.100.7", "anna", fmt.Sprint(i)); errors.Is(err, operator.ErrSignIn) {
				tried.Add(1)
			}
		})
	}
	group.Wait()
	if n := tried.Load(); n < 1 || n > 5 {
		t.Errorf("%d of 100 were tried", n)
	}
}

// An address that tries many accounts is slowed down; one network of IPv6 counts as one
// address; the memory that this takes is bounded by what was tried.
func TestManyAccountsFromOneAddress(t *testing.T) {
	w := newWorld(t)
	for i := range 60 {
		w.dir.Add(fmt.Sprint("user", i))
	}
	tried := 0
	for i := range 200 {
		if err := w.try(fmt.Sprintf("2001:db8::%x", i+1), fmt.Sprint("user", i%60), "Winter2026"); errors.Is(err, operator.ErrSignIn) {
			tried++
		}
	}
	if tried < 40 || tried > 51 {
		t.Errorf("%d of 200 were tried", tried)
	}
	if n := w.store.Count("attempt"); n > 52+1 {
		t.Errorf("%d rows", n)
	}
	for i := range 200 {
		wants(t, "an unknown name", w.try("2001:db8::1", fmt.Sprint("none", i), "x"), operator.ErrRetry)
	}
	if n := w.store.Count("attempt"); n > 52+1 {
		t.Errorf("%d rows after unknown names", n)
	}
	if err := w.try("2001:db8:0:1::1", "user1", "user1-password"); err != nil {
		t.Errorf("from another network: %v", err)
	}
	if err := w.Sweep(t.Context(), w.now.Add(25*time.Hour)); err != nil || w.store.Count("attempt") != 0 {
		t.Errorf("%d rows after a day, %v", w.store.Count("attempt"), err)
	}
}

// Strangers cannot fill the log, and what is not logged one by one is counted.
func TestRefusalsDoNotFillTheLog(t *testing.T) {
	w := newWorld(t)
	const n = 1000
	for i := range n {
		_, err := w.SignInKerberos(t.Context(), w.visit(), fmt.Append(nil, "rubbish ", i), nil)
		wants(t, "rubbish", err, operator.ErrSignIn)
	}
	if got := len(w.store.Log().Entries); got > 120 {
		t.Errorf("%d entries", got)
	}
	// Who has a ticket signs in all the same.
	w.signIn(w.dir.Add("anna"))
	logged := len(w.entries(audit.Refusal, "session.begin"))
	if err := w.Sweep(t.Context(), w.now); err != nil {
		t.Fatal(err)
	}
	if got, want := w.lastRefusal("session.begin"), fmt.Sprintf("leastwise: %d more sign-ins from 192.0.2.1 ", n-logged); !strings.HasPrefix(got, want) {
		t.Errorf("%s\nwant %s…", got, want)
	}
}

// What is typed as a name may be a password: only names of accounts are logged.
func TestTypedNamesAreNotLogged(t *testing.T) {
	w := newWorld(t)
	w.dir.Add("anna")
	wants(t, "a password as name", w.try("192.0.2.1", "Hunter2-is-secret", "x"), operator.ErrSignIn)
	wants(t, "a name", w.try("192.0.2.1", "anna", "Hunter3-is-secret"), operator.ErrSignIn)
	w.holdsNone("Hunter2", "Hunter3")
	if got := w.entries(audit.Refusal, "session.begin"); len(got) != 2 || !strings.HasPrefix(got[0], "nobody: ") || !strings.HasPrefix(got[1], `CONTOSO\anna: `) {
		t.Error(got)
	}
}

// An account that one more wrong password could lock is not tried, and that costs nothing.
func TestNearLockout(t *testing.T) {
	w := newWorld(t)
	w.dir.Add("anna")
	w.dir.Near(true)
	for range 20 {
		wants(t, "near", w.try("192.0.2.1", "anna", "anna-password"), operator.ErrRetry)
	}
	w.dir.Near(false)
	if err := w.try("192.0.2.1", "anna", "anna-password"); err != nil {
		t.Error(err)
	}
}

// When the directory cannot be asked, nobody pays for the try.
func TestUntriedIsNotCounted(t *testing.T) {
	w := newWorld(t)
	w.dir.Add("anna")
	for range 20 {
		w.dir.Fail(errors.New("away"))
		wants(t, "away", w.try("192.0.2.1", "anna", "anna-password"), operator.ErrUnavailable)
		w.dir.Fail(nil)
	}
	if err := w.try("192.0.2.1", "anna", "anna-password"); err != nil {
		t.Error(err)
	}
	if n := w.store.Count("attempt"); n != 0 {
		t.Errorf("%d rows", n)
	}
}

// Tries that were counted while the clock was ahead make nobody wait when it is right again.
func TestTriesOfTheFuture(t *testing.T) {
	w := newWorld(t)
	w.dir.Add("anna")
	w.pass(24 * time.Hour)
	for range 8 {
		if err := second(w.SignInPassword(t.Context(), w.visit(), "anna", operator.NewSecret("wrong"))); !errors.Is(err, operator.ErrSignIn) && !errors.Is(err, operator.ErrRetry) {
			t.Fatal(err)
		}
	}
	wants(t, "still ahead", second(w.SignInPassword(t.Context(), w.visit(), "anna", operator.NewSecret("anna-password"))), operator.ErrRetry)
	w.pass(-24 * time.Hour)
	if err := second(w.SignInPassword(t.Context(), w.visit(), "anna", operator.NewSecret("anna-password"))); err != nil {
		t.Errorf("the clock is right again: %v", err)
	}
}

// Who is signed in cannot fill the log with second factors that he begins to enrol.
func TestEnrolmentsDoNotFillTheLog(t *testing.T) {
	w := newWorld(t)
	in := w.signIn(w.dir.Add("anna"))
	begun := 0
	for range 60 {
		c := w.caller(in.Secret)
		e, err := w.BeginTOTP(t.Context(), c, "phone", operator.Secret{})
		if err != nil {
			wants(t, "one more", err, operator.ErrRetry)
			continue
		}
		begun++
		if err := w.RemoveFactor(t.Context(), c, e.Factor.ID, "again"); err != nil {
			t.Fatal(err)
		}
	}
	if begun < 20 || begun > 21 {
		t.Errorf("%d enrolments were begun at once", begun)
	}
	if _, err := w.BeginWebAuthn(t.Context(), w.caller(in.Secret), "key", operator.Secret{}); !errors.Is(err, operator.ErrRetry) {
		t.Errorf("a security key: %v", err)
	}
	w.pass(2 * time.Minute)
	w.caller(in.Secret)
	if _, err := w.BeginTOTP(t.Context(), w.caller(in.Secret), "phone", operator.Secret{}); err != nil {
		t.Errorf("later: %v", err)
	}
}
