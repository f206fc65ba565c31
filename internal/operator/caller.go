package operator

import (
	"net/netip"
	"slices"
	"time"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A Visit is one request from outside, before anybody knows who makes it.
type Visit struct {
	From    netip.Addr // where it comes from; required
	Request string     // its identifier, for the log
	Now     time.Time
	// Clock tells the time while the request goes on, for decisions that are made about it
	// later; nil: it takes no time.
	Clock func() time.Time
	// Old is the secret that the request carries already, if any. A sign-in ends the
	// session that it belongs to.
	Old Secret
}

// check refuses a visit that would leave limits or the log without their facts.
func (v *Visit) check() error {
	if !v.From.IsValid() || v.Now.IsZero() {
		return invalid("a visit has an address and a time")
	}
	v.From = v.From.Unmap().WithZone("")
	return nil
}

// A Caller is who makes a request: what [Service.Identify] returns. It is good for that
// request, not longer.
type Caller struct {
	Account secdesc.GUID
	SID     secdesc.SID
	Name    string // DOMAIN\name when he signed in, for people

	Method   audit.Method // how he proved who he is; [audit.Token] for API tokens
	Since    time.Time    // when he did
	Factor   audit.Method // the second factor of this session, empty if none
	FactorAt time.Time
	StepUp   time.Time // until when that factor counts as fresh; zero: it does not

	Session string   // identifier of session or token, not its secret
	Token   bool     // by an API token
	Scope   []Action // what the token may be used for
	// Issuer is the account that issued the token, zero in person. What somebody does by
	// a token that he issued for another account, he does himself: whoever keeps requests
	// and decisions apart asks for both accounts.
	Issuer secdesc.GUID

	Visit
}

// Actor returns the caller as the audit log names him.
func (c *Caller) Actor() audit.Actor {
	a := audit.Actor{Name: c.Name, SID: c.SID, Method: c.Method, Factor: c.Factor, Session: c.Session}
	if c.From.IsValid() {
		a.From = c.From.String()
	}
	return a
}

// check refuses a caller that Identify did not make.
func (c *Caller) check() error {
	if c.Account.IsZero() || c.Method == "" || c.Session == "" {
		return invalid("the caller is nobody")
	}
	return c.Visit.check()
}

// SteppedUp reports whether the caller's second factor is fresh. One that was shown in the
// future is not: the clock was set back.
func (c *Caller) SteppedUp() bool {
	return c.Factor != "" && c.Now.Before(c.StepUp) && !c.FactorAt.After(c.Now.Add(stepSkew))
}

// inScope reports whether a token may be used for an action.
func (c *Caller) inScope(a Action) bool { return !c.Token || slices.Contains(c.Scope, a) }

// Local returns the caller for commands that run on the server's own machine: whoever
// may start leastwise there with its database and keys. It may make the first
// administrator and recover accounts, and nothing else. name is what the machine calls
// the user.
func Local(name, request string, now time.Time) Caller {
	return Caller{Name: name, Method: audit.Local, Since: now, Visit: Visit{From: netip.IPv6Loopback(), Request: request, Now: now}}
}

func (c *Caller) local() bool { return c.Method == audit.Local && c.Session == "" }
