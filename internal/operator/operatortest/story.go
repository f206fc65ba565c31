package operatortest

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/operator"
)

// Story takes one operator through all that a store keeps, on two nodes that share it:
// what one of them has done holds on the other. code makes the code of an authenticator
// app from its secret.
func Story(t *testing.T, s operator.Store, code func(secret string, at time.Time) string) {
	t.Helper()
	dir, now := NewDirectory(), Origin
	nodes := twoNodes(t, s, dir)
	anna := dir.Add("anna")
	visit := func() operator.Visit {
		return operator.Visit{From: netip.MustParseAddr("192.0.2.1"), Request: "r", Now: now}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	want := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	who := func(node int, secret operator.Secret) operator.Caller {
		t.Helper()
		c, err := nodes[node].Identify(t.Context(), visit(), secret)
		must(err)
		return c
	}
	_, err := nodes[0].Init(t.Context(), operator.Local("root", "r", now), "anna")
	must(err)
	_, err = nodes[1].Init(t.Context(), operator.Local("root", "r", now), "anna")
	want("a second administrator", err, operator.ErrInitialized)

	ticket := Ticket(anna, 1)
	in, err := nodes[0].SignInKerberos(t.Context(), visit(), ticket, nil)
	must(err)
	_, err = nodes[1].SignInKerberos(t.Context(), visit(), ticket, nil)
	want("the ticket on the other node", err, operator.ErrSignIn)

	app, err := nodes[1].BeginTOTP(t.Context(), who(1, in.Secret), "phone", operator.Secret{})
	must(err)
	_, err = nodes[0].ConfirmTOTP(t.Context(), who(0, in.Secret), app.Factor.ID, code(app.Secret.Reveal(), now))
	must(err)
	now = now.Add(time.Minute)
	digits := code(app.Secret.Reveal(), now)
	up, err := nodes[0].StepUpTOTP(t.Context(), who(0, in.Secret), digits)
	must(err)
	_, err = nodes[1].Identify(t.Context(), visit(), in.Secret)
	want("the secret before the step-up", err, operator.ErrSignedOut)
	_, err = nodes[1].StepUpTOTP(t.Context(), who(1, up.Secret), digits)
	want("the code on the other node", err, operator.ErrFactor)
	_, err = nodes[1].Authorize(t.Context(), who(1, up.Secret), operator.Administer, operator.Server())
	must(err)

	_, token, err := nodes[0].IssueToken(t.Context(), who(0, up.Secret), operator.TokenOrder{Label: "x", Scope: []operator.Action{operator.GrantRead}})
	must(err)
	for i := range 30 {
		_, err = nodes[i%2].SignInPassword(t.Context(), visit(), "anna", operator.NewSecret("wrong"))
	}
	want("wrong passwords on both nodes", err, operator.ErrRetry)
	n, err := nodes[1].EndAll(t.Context(), who(1, up.Secret), anna.GUID, "done")
	must(err)
	if n != 2 {
		t.Errorf("%d ended, want the session and the token", n)
	}
	for _, secret := range []operator.Secret{up.Secret, token} {
		_, err = nodes[0].Identify(t.Context(), visit(), secret)
		want("after the end", err, operator.ErrSignedOut)
	}
	must(nodes[0].Sweep(t.Context(), now.Add(48*time.Hour)))
}

// twoNodes makes two services on one store, with the same keys.
func twoNodes(t *testing.T, s operator.Store, dir *Directory) (nodes [2]*operator.Service) {
	t.Helper()
	p, err := operator.ParsePolicies("default.cedar", []byte(operator.DefaultPolicies()))
	if err != nil {
		t.Fatal(err)
	}
	text, err := operator.GenerateKeys()
	if err != nil {
		t.Fatal(err)
	}
	keys, err := operator.ReadKeys(text)
	if err != nil {
		t.Fatal(err)
	}
	o := operator.Options{Store: s, Membership: dir, Authenticator: dir, Policies: p, Keys: keys}
	for i := range nodes {
		if nodes[i], err = operator.New(o); err != nil {
			t.Fatal(err)
		}
	}
	return nodes
}
