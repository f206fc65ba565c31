package operator

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A Resource is what an action is done to.
type Resource struct {
	Kind ResourceKind
	ID   string // see the kinds; of a grant its grant.ID
	// Policy is the name of the policy that a Grant is of.
	Policy string
	// Owner: the caller requested the grant, or holds it. Concerned: the policy of the
	// grant names him to approve, observe, revoke or review, by live membership.
	Owner, Concerned bool
}

// Server is leastwise as a whole.
func Server() Resource { return Resource{Kind: OnServer, ID: "leastwise"} }

// OfAccount is an account as a resource.
func OfAccount(guid secdesc.GUID) Resource { return Resource{Kind: OnAccount, ID: guid.String()} }

// A Decision says whether a caller may do something, and what decided.
type Decision struct {
	Action   Action
	Resource Resource
	Allowed  bool
	// Policies are those that decided: permits of what is allowed, forbids of what is
	// not; none if nothing permitted it.
	Policies []PolicyRef
	// Why says in words why not: for the log and for administrators.
	Why string
	// Failed are policies that could not be evaluated; they count as if they forbade.
	Failed []string
	// Groups are those of the policies that the caller is in, as of Asked.
	Groups []string
	Asked  time.Time // when the directory was asked
}

// Authorize decides whether a caller may do something now, and logs it if not. It
// returns a [*Refusal], or [ErrUnavailable] if that cannot be found out.
//
// The directory is asked each time where the rule of the action is Live; otherwise its
// answer may be up to [Times.Cache] old. An account that is found disabled or gone loses
// its sessions and tokens, and the tokens that it issued.
func (s *Service) Authorize(ctx context.Context, c Caller, a Action, r Resource) (Decision, error) {
	v, err := s.decide(ctx, &c, a, r)
	if err != nil {
		return v.Decision, fmt.Errorf("deciding on %s: %w", a, err)
	}
	if v.Allowed {
		return v.Decision, nil
	}
	refusal := &Refusal{Decision: v.Decision, StepUp: v.stepUp}
	if err := s.logRefusal(ctx, &c, &v); err != nil {
		return v.Decision, fmt.Errorf("%w; logging that: %w", refusal, err)
	}
	return v.Decision, refusal
}

// A verdict is a decision and what follows from it.
type verdict struct {
	Decision
	stepUp bool         // a fresh second factor would change it
	gone   secdesc.GUID // an account that may not be used at all: the caller's, or the one that issued his token
}

// May is Authorize for what is only to be shown: it asks the same and logs nothing.
func (s *Service) May(ctx context.Context, c Caller, a Action, r Resource) (Decision, error) {
	v, err := s.decide(ctx, &c, a, r)
	return v.Decision, err
}

// decide finds out whether a caller may do something, and if not, whether he might after
// a fresh second factor.
func (s *Service) decide(ctx context.Context, c *Caller, a Action, r Resource) (verdict, error) {
	v := verdict{Decision: Decision{Action: a, Resource: r}}
	rule, ok := RuleOf(a)
	if !ok || !slices.Contains(rule.On, r.Kind) || r.ID == "" {
		return v, invalid("nobody can do %q to a %q", a, r.Kind)
	}
	if c.local() {
		v.Allowed, v.Why = a == Administer, "on the server's machine only administration is done"
		return v, nil
	}
	if err := c.check(); err != nil {
		return v, err
	}
	switch {
	case c.Token && !rule.Tokens:
		v.Why = "it is done in person, not by an API token"
		return v, nil
	case !c.inScope(a):
		v.Why = "the API token is not for this"
		return v, nil
	}
	if rule.Live {
		if err := s.alive(ctx, c); err != nil {
			return v, err
		}
	}
	q := question{c: c, rule: rule, policies: s.Policies()}
	if err := s.facts(ctx, &q, r); err != nil {
		return v, err
	}
	v.Groups, v.Asked = q.standing.In, q.standing.at
	if account := &q.standing.Account; !account.usable() {
		v.Why, v.gone = account.state(), c.Account
		return v, nil
	}
	if c.Token && c.Issuer != c.Account {
		issuer, err := s.standing(ctx, &Caller{Account: c.Issuer, Name: "whoever issued the token of " + c.Name, Visit: c.Visit}, q.policies, rule.Live)
		if err != nil {
			return v, err
		}
		if !issuer.Account.usable() {
			v.Why, v.gone = "of whoever issued the token: "+issuer.Account.state(), c.Issuer
			return v, nil
		}
	}
	q.ask(&v.Decision, c.SteppedUp())
	if !v.Allowed && !c.SteppedUp() && !c.Token {
		would := Decision{Action: a, Resource: r}
		q.ask(&would, true)
		v.stepUp = would.Allowed
	}
	return v, nil
}

// facts finds out what the policies ask of the caller and of the resource.
func (s *Service) facts(ctx context.Context, q *question, r Resource) (err error) {
	if q.standing, err = s.standing(ctx, q.c, q.policies, q.rule.Live); err != nil {
		return err
	}
	if q.admin, err = s.isAdministrator(ctx, q.c.Account); err != nil {
		return err
	}
	if r.Kind != OnAccount {
		return nil
	}
	guid, err := secdesc.ParseGUID(r.ID)
	if err != nil {
		return invalid("an account is named by its objectGUID")
	}
	if q.target, err = s.members.Standing(ctx, guid, q.policies.groups); err != nil {
		return unavailable("asking for the account "+r.ID, err)
	}
	return nil
}

// A question is what the policies are asked.
type question struct {
	c        *Caller
	policies *Policies
	standing asked
	target   Standing // of the account that is the resource
	admin    bool
	rule     Rule
}

// ask fills in a decision, as if the second factor were fresh or not.
func (q *question) ask(d *Decision, steppedUp bool) {
	for _, absent := range [][]string{q.standing.Absent, q.target.Absent} {
		if i := slices.IndexFunc(absent, func(g string) bool { return q.policies.guards[g] }); i >= 0 {
			d.Why = fmt.Sprintf("a policy refuses something to the group %q, which the directory does not have", absent[i])
			return
		}
	}
	if q.rule.StepUp && !steppedUp {
		d.Why = "it needs a fresh second factor"
		return
	}
	entities, principal := q.entities(&d.Resource)
	decision, diag := cedar.Authorize(q.policies.set, entities, cedar.Request{
		Principal: principal, Action: cedar.NewEntityUID("Action", cedar.String(d.Action)),
		Resource: cedar.NewEntityUID(cedar.EntityType(d.Resource.Kind), cedar.String(d.Resource.ID)),
		Context:  q.context(&d.Resource, steppedUp),
	})
	for _, r := range diag.Reasons {
		d.Policies = append(d.Policies, PolicyRef{string(r.PolicyID), r.Position.Filename, r.Position.Line})
	}
	for _, e := range diag.Errors {
		d.Failed = append(d.Failed, fmt.Sprintf("%s (%s:%d): %s", e.PolicyID, e.Position.Filename, e.Position.Line, e.Message))
	}
	switch {
	case len(d.Failed) > 0:
		d.Why = "a policy could not be evaluated: " + d.Failed[0]
	case decision == cedar.Allow:
		d.Allowed = true
	case len(d.Policies) > 0:
		d.Why = "forbidden by policy " + d.Policies[0].String()
	default:
		d.Why = "no policy permits it"
	}
}

// entities are the facts that policies ask of principal and resource.
func (q *question) entities(r *Resource) (cedar.EntityMap, cedar.EntityUID) {
	principal := accountUID(q.c.Account)
	m := cedar.EntityMap{}
	uid := cedar.NewEntityUID(cedar.EntityType(r.Kind), cedar.String(r.ID))
	switch {
	case r.Kind == OnGrant && r.Policy != "":
		parent := cedar.NewEntityUID(cedar.EntityType(OnGrantPolicy), cedar.String(r.Policy))
		m[uid], m[parent] = cedar.Entity{UID: uid, Parents: cedar.NewEntityUIDSet(parent)}, cedar.Entity{UID: parent}
	case r.Kind == OnAccount:
		m[uid] = accountEntity(uid, &q.target, false)
	default:
		m[uid] = cedar.Entity{UID: uid}
	}
	m[principal] = accountEntity(principal, &q.standing.Standing, q.admin)
	return m, principal
}

func accountUID(guid secdesc.GUID) cedar.EntityUID {
	return cedar.NewEntityUID(cedar.EntityType(OnAccount), cedar.String(guid.String()))
}

func accountEntity(uid cedar.EntityUID, s *Standing, admin bool) cedar.Entity {
	var parents []cedar.EntityUID
	for _, g := range s.In {
		parents = append(parents, cedar.NewEntityUID("Group", cedar.String(g)))
	}
	if admin {
		parents = append(parents, cedar.NewEntityUID("Role", administratorRole))
	}
	return cedar.Entity{
		UID: uid, Parents: cedar.NewEntityUIDSet(parents...),
		Attributes: cedar.NewRecord(cedar.RecordMap{
			"name": cedar.String(s.Account.Name), "sid": cedar.String(s.Account.SID.String()), "kind": cedar.String(s.Account.Kind),
		}),
	}
}

func (q *question) context(r *Resource, steppedUp bool) cedar.Record {
	c := q.c
	return cedar.NewRecord(cedar.RecordMap{
		"method": cedar.String(c.Method), "token": cedar.Boolean(c.Token), "factor": cedar.String(c.Factor),
		"secondFactor": cedar.Boolean(c.Factor != "" || steppedUp), "steppedUp": cedar.Boolean(steppedUp),
		"from": cedar.IPAddr(netip.PrefixFrom(q.c.From, q.c.From.BitLen())), "now": cedar.NewDatetime(c.Now), "since": cedar.NewDatetime(c.Since),
		"owner": cedar.Boolean(r.Owner), "concerned": cedar.Boolean(r.Concerned),
	})
}

// logRefusal writes the entry of what was not allowed. Sessions and tokens of an account
// that may not be used end with it.
func (s *Service) logRefusal(ctx context.Context, c *Caller, v *verdict) error {
	e := c.entry(audit.Refusal, string(v.Action), v.Why)
	if v.stepUp {
		e.Reason += "; after a fresh second factor it would be permitted"
	}
	if v.Resource.Kind == OnAccount {
		e.Target, _ = secdesc.ParseGUID(v.Resource.ID) // facts has read it
	} else {
		e.Record = recordName(strings.ToLower(string(v.Resource.Kind)), v.Resource.ID)
	}
	if v.gone.IsZero() {
		return s.refusal(ctx, c, e)
	}
	return s.store.Update(context.WithoutCancel(ctx), func(ctx context.Context, tx Tx) error {
		ended, err := s.endAll(ctx, tx, v.gone, systemEntry(c, v.Why))
		if err != nil {
			return err
		}
		_, err = audit.Append(ctx, tx, append([]audit.Entry{e}, ended...)...)
		return err
	})
}

// recordName is how the log names what is not an object of the directory.
func recordName(kind, id string) string {
	clean := strings.Map(func(r rune) rune {
		if r < 128 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._:/@-", r)) {
			return r
		}
		return '.'
	}, id)
	return (kind + "/" + clean)[:min(len(kind)+1+len(clean), audit.MaxID)]
}
