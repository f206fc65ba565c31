package operator_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/operator/operatortest"
)

// A world is a service on a directory and a store that the test can look into, with a
// clock that the test moves.
type world struct {
	*operator.Service
	t     *testing.T
	dir   *operatortest.Directory
	store *operatortest.Memory
	now   time.Time
	from  netip.Addr
	n     int
	admin operator.SignIn
	otp   string // secret of the app that was enrolled last
}

func keys(t testing.TB) *operator.Keys {
	t.Helper()
	text, err := operator.GenerateKeys()
	if err != nil {
		t.Fatal(err)
	}
	k, err := operator.ReadKeys(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func policies(t testing.TB, text string) *operator.Policies {
	t.Helper()
	p, err := operator.ParsePolicies("test.cedar", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newWorld(t *testing.T, change ...func(*operator.Options)) *world {
	t.Helper()
	w := &world{t: t, dir: operatortest.NewDirectory(), store: operatortest.NewMemory(), now: operatortest.Origin, from: netip.MustParseAddr("192.0.2.1")}
	o := operator.Options{
		Store: w.store, Membership: w.dir, Authenticator: w.dir, Policies: policies(t, operator.DefaultPolicies()), Keys: keys(t),
		RelyingParty: operator.RelyingParty{ID: "leastwise.contoso.test", Origins: []string{"https://leastwise.contoso.test"}},
	}
	for _, f := range change {
		f(&o)
	}
	s, err := operator.New(o)
	if err != nil {
		t.Fatal(err)
	}
	w.Service = s
	return w
}

func (w *world) visit() operator.Visit {
	return operator.Visit{From: w.from, Request: "req-1", Now: w.now}
}

func (w *world) pass(d time.Duration) { w.now = w.now.Add(d) }

// signIn signs an account in by Kerberos.
func (w *world) signIn(a operator.Account) operator.SignIn {
	w.t.Helper()
	w.n++
	in, err := w.SignInKerberos(w.t.Context(), w.visit(), operatortest.Ticket(a, w.n), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return in
}

// caller identifies who has a secret, now.
func (w *world) caller(s operator.Secret) operator.Caller {
	w.t.Helper()
	c, err := w.Identify(w.t.Context(), w.visit(), s)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// app enrols an authenticator app for the account of a session and returns its secret.
func (w *world) app(in operator.SignIn) string {
	w.t.Helper()
	e, err := w.BeginTOTP(w.t.Context(), w.caller(in.Secret), "phone", operator.Secret{})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.ConfirmTOTP(w.t.Context(), w.caller(in.Secret), e.Factor.ID, w.code(e.Secret.Reveal())); err != nil {
		w.t.Fatal(err)
	}
	w.pass(30 * time.Second)
	w.otp = e.Secret.Reveal()
	return w.otp
}

func (w *world) code(secret string) string {
	w.t.Helper()
	code, err := totp.GenerateCode(secret, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	return code
}

// steppedUp signs an account in and steps it up with a new app.
func (w *world) steppedUp(a operator.Account) operator.SignIn {
	w.t.Helper()
	in := w.signIn(a)
	secret := w.app(in)
	in, err := w.StepUpTOTP(w.t.Context(), w.caller(in.Secret), w.code(secret))
	if err != nil {
		w.t.Fatal(err)
	}
	return in
}

// administrator makes the first administrator, signed in and stepped up.
func (w *world) administrator(name string) operator.SignIn {
	w.t.Helper()
	a := w.dir.Add(name)
	if _, err := w.Init(w.t.Context(), operator.Local("root", "req-0", w.now), name); err != nil {
		w.t.Fatal(err)
	}
	return w.steppedUp(a)
}

// entries returns the log's entries of a phase and action, as "actor: reason".
func (w *world) entries(phase audit.Phase, action string) (out []string) {
	for _, e := range w.store.Log().Entries {
		if e.Phase == phase && e.Action == action {
			out = append(out, e.Actor.Name+": "+e.Reason)
		}
	}
	return out
}

// lastRefusal returns the newest refusal with an action, empty if there is none.
func (w *world) lastRefusal(action string) string {
	list := w.entries(audit.Refusal, action)
	if len(list) == 0 {
		return ""
	}
	return list[len(list)-1]
}

// wants fails unless err is the one that is wanted.
func wants(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func grantOf(owner, concerned bool) operator.Resource {
	return operator.Resource{Kind: operator.OnGrant, ID: "g-1", Policy: "quick", Owner: owner, Concerned: concerned}
}

// failing makes the log refuse every entry.
type failing struct{ *operatortest.Memory }

type failingTx struct{ operator.Tx }

var errDisk = errors.New("disk full")

func (failingTx) LockAudit(context.Context) (int64, error) { return 0, errDisk }

func (f failing) Update(ctx context.Context, fn func(context.Context, operator.Tx) error) error {
	return f.Memory.Update(ctx, func(ctx context.Context, tx operator.Tx) error { return fn(ctx, failingTx{tx}) })
}

// mustHold fails if the store or the log hold any of the secrets.
func (w *world) holdsNone(secrets ...string) {
	w.t.Helper()
	dump := w.store.Dump()
	for _, s := range secrets {
		if s != "" && strings.Contains(dump, s) {
			w.t.Errorf("the store holds the secret %s", s)
		}
	}
}

func TestMemoryConforms(t *testing.T) {
	operatortest.Conform(t, func(*testing.T) operator.Store { return operatortest.NewMemory() })
}

// Whatever prints a secret prints something else.
func TestSecretIsHidden(t *testing.T) {
	s := operator.NewSecret("hunter2")
	in := operator.SignIn{Secret: s}
	for _, text := range []string{
		fmt.Sprint(s), fmt.Sprintf("%+v %#v %s %q %x", s, s, s, s, s), fmt.Sprintf("%v %+v %#v", in, in, in), fmt.Sprintf("%+v", &in),
	} {
		if strings.Contains(text, "hunter2") || strings.Contains(text, "68756e74657232") {
			t.Error(text)
		}
	}
	if b, err := s.MarshalText(); err != nil || string(b) == "hunter2" || s.Reveal() != "hunter2" {
		t.Error(string(b), err)
	}
}
