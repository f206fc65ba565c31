//go:build linux

package reach_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// An operation is a kind of write that is really performed as a user. What it wrote
// stays, since in random descriptors nobody has the rights to undo it for sure: and
// users keep the tokens of their first logon.
type operation struct {
	name   string
	on     func(w *woods, id forest.ID) bool    // whether objects are of use for it
	says   func(ask asking, id forest.ID) bool  // what is expected, by what the user may do
	do     func(a *attempt) error               // as the user
	not    func(w *woods, a, id forest.ID) bool // pairs that prove nothing; nil: none
	single bool                                 // it cannot succeed twice on an object
	once   bool                                 // it changes what is granted on the object, or ends it: no more of it, and on leaves only
}

// asking answers whether the user may do something, written for [reach.ParseAction].
type asking func(id forest.ID, action string) bool

// An attempt is one operation of one user on one object.
type attempt struct {
	w         *woods
	user      *ldap.Conn
	actor, id forest.ID
	n         int
}

func (a *attempt) dn() string { return a.w.s.DN(a.id) }

// change modifies one attribute of the object.
func change(c *ldap.Conn, dn string, how func(r *ldap.ModifyRequest), controls ...ldap.Control) error {
	r := ldap.NewModifyRequest(dn, controls)
	how(r)
	return c.Modify(r)
}

// writes performs a write of one value with the write of the attribute as what is
// needed for it.
func writes(name string, classes []string, attr string, value func(a *attempt) string) operation {
	return operation{
		name: name,
		on:   func(w *woods, id forest.ID) bool { return slices.Contains(classes, w.s.Class(id)) },
		says: func(ask asking, id forest.ID) bool { return ask(id, "write:"+attr) },
		do: func(a *attempt) error {
			return change(a.user, a.dn(), func(r *ldap.ModifyRequest) { r.Replace(attr, []string{value(a)}) })
		},
	}
}

// adds is writes for an attribute of many values.
func adds(name string, classes []string, attr string, value func(a *attempt) string) operation {
	op := writes(name, classes, attr, value)
	op.do = func(a *attempt) error {
		return change(a.user, a.dn(), func(r *ldap.ModifyRequest) { r.Add(attr, []string{value(a)}) })
	}
	return op
}

// orValidated extends what is needed by a validated write.
func orValidated(op operation, right string) operation {
	write := op.says
	op.says = func(ask asking, id forest.ID) bool { return write(ask, id) || ask(id, "validated:"+right) }
	return op
}

// creates performs the creation of a child.
func creates(class, rdn string) operation {
	dn := func(a *attempt) string { return fmt.Sprintf("%s=new%d,%s", rdn, a.n, a.dn()) }
	takes := map[string]bool{} // by class of the container
	return operation{
		name: "child created: " + class,
		on: func(w *woods, id forest.ID) bool {
			in := w.s.Class(id)
			yes, known := takes[in]
			if !known {
				yes = slices.ContainsFunc(w.s.Schema().AllowedChildren(in), func(c *forest.ClassDef) bool { return c.Name == class })
				takes[in] = yes
			}
			return yes
		},
		says: func(ask asking, id forest.ID) bool { return ask(id, "create:"+class) },
		do: func(a *attempt) error {
			r := ldap.NewAddRequest(dn(a), nil)
			r.Attribute("objectClass", []string{class})
			if class == "user" || class == "group" {
				r.Attribute("sAMAccountName", []string{fmt.Sprintf("new%d", a.n)})
			}
			return a.user.Add(r)
		},
	}
}

// onlyOnce marks operations that cannot succeed twice on an object.
func onlyOnce(op operation) operation {
	op.single = true
	return op
}

func operations() []operation {
	people, machines := []string{"user", "inetOrgPerson"}, []string{"computer"}
	groups, units := []string{"group"}, []string{"organizationalUnit"}
	text := func(format string) func(a *attempt) string {
		return func(a *attempt) string { return fmt.Sprintf(format, a.n) }
	}
	sam := func(a *attempt) string {
		v, _ := a.w.s.Str(a.id, forest.SAMAccountName)
		return strings.ToLower(strings.TrimSuffix(v, "$"))
	}
	self := orValidated(adds("member added: oneself", groups, "member", func(a *attempt) string { return a.w.s.DN(a.actor) }), "Self-Membership")
	self.not = func(w *woods, actor, id forest.ID) bool {
		members, _ := w.s.Links(id, forest.Member)
		return slices.Contains(members, actor)
	}
	reset := writes("password reset", people, "unicodePwd", func(a *attempt) string { return quotedPassword(fmt.Sprintf("Lw1-%d-changed", a.n)) })
	reset.says = func(ask asking, id forest.ID) bool { return ask(id, "use:User-Force-Change-Password") }
	reset.not = func(w *woods, _, id forest.ID) bool { return strings.Contains(w.s.DN(id), "OU=people,") } // they log on
	allowed := &secdesc.Descriptor{
		Control: secdesc.SelfRelative | secdesc.DACLPresent, Owner: secdesc.Administrators,
		DACL: &secdesc.ACL{Revision: secdesc.ACLRevisionDS, ACEs: []secdesc.ACE{{Type: secdesc.Allow, Mask: secdesc.FullControl, SID: secdesc.AuthenticatedUsers}}},
	}
	return []operation{
		onlyOnce(adds("member added", groups, "member", func(a *attempt) string { return "OU=groves," + a.w.lab.BaseDN })),
		self,
		reset,
		adds("service principal name written", append(machines, people...), "servicePrincipalName", text("http/any%d.example")),
		orValidated(writes("own service principal name written", machines, "servicePrincipalName", func(a *attempt) string { return "HOST/" + sam(a) }), "Validated-SPN"),
		orValidated(writes("own DNS name written", machines, "dNSHostName", func(a *attempt) string { return sam(a) + "." + a.w.lab.Domain }), "Validated-DNS-Host-Name"),
		writes("user principal name written", people, "userPrincipalName", text("any%d@contoso.test")),
		writes("userAccountControl written", people, "userAccountControl", func(*attempt) string { return fmt.Sprint(0x200 | 0x400000) }),
		adds("key credentials written", append(machines, people...), "msDS-KeyCredentialLink", func(a *attempt) string { return fmt.Sprintf("B:8:%08x:%s", a.n, a.dn()) }),
		writes("AllowedToAct written", machines, "msDS-AllowedToActOnBehalfOfOtherIdentity", func(*attempt) string { return string(allowed.Bytes()) }),
		creates("user", "CN"), creates("group", "CN"), creates("contact", "CN"), creates("organizationalUnit", "OU"), creates("container", "CN"),
		writes("gPLink written", units, "gPLink", func(a *attempt) string {
			return "[LDAP://cn={31B2F340-016D-11D2-945F-00C04FB984F9},cn=policies,cn=system," + a.w.lab.BaseDN + ";0]"
		}),
		ownerTaken(), daclWritten(), deleted(),
	}
}

func anything(*woods, forest.ID) bool { return true }

func ownerTaken() operation {
	return operation{
		name: "owner taken", on: anything, once: true,
		says: func(ask asking, id forest.ID) bool { return ask(id, "write-owner") },
		do: func(a *attempt) error {
			d := &secdesc.Descriptor{Control: secdesc.SelfRelative, Owner: a.w.s.SID(a.actor)}
			return change(a.user, a.dn(), func(r *ldap.ModifyRequest) { r.Replace("nTSecurityDescriptor", []string{string(d.Bytes())}) },
				&ldap.ControlMicrosoftSDFlags{Criticality: true, ControlValue: 1})
		},
	}
}

func daclWritten() operation {
	return operation{
		name: "DACL written", on: anything, once: true,
		says: func(ask asking, id forest.ID) bool { return ask(id, "write-dacl") },
		do: func(a *attempt) error {
			d, _ := a.w.s.Descriptor(a.id)
			d = d.Clone()
			d.DACL.ACEs = append(d.DACL.ACEs, secdesc.ACE{Type: secdesc.Allow, Mask: secdesc.FullControl, SID: a.w.s.SID(a.actor)})
			return change(a.user, a.dn(), func(r *ldap.ModifyRequest) { r.Replace("nTSecurityDescriptor", []string{string(d.Bytes())}) },
				&ldap.ControlMicrosoftSDFlags{Criticality: true, ControlValue: 4})
		},
	}
}

// deleted needs the right on the object, or on its container for its class ([MS-ADTS] 3.1.1.5.5.1.1).
func deleted() operation {
	return operation{
		name: "deleted", once: true,
		on: func(w *woods, id forest.ID) bool { return !strings.Contains(w.s.DN(id), "OU=people,") },
		do: func(a *attempt) error { return a.user.Del(ldap.NewDelRequest(a.dn(), nil)) },
	}
}

// perform samples users and objects for each kind of operation, as many of which we
// say that it will succeed as of which we say that it will not.
func (w *woods) perform(t *testing.T) {
	each := 16
	if fullOracle() {
		each = 220
	}
	p := &performance{w: w, t: t, rng: rand.New(rand.NewPCG(17, 62)), conns: map[string]*ldap.Conn{}, actions: map[string]reach.Action{}, accounts: map[string]*reach.Account{}, used: map[forest.ID]bool{}, crowded: map[forest.ID]bool{}}
	defer p.close()
	p.logOn()
	for _, op := range operations() {
		p.sample(op, each)
	}
	t.Logf("%d operations were performed, of which %d succeeded and %d were refused as the specification has it; in %d Samba deviates as it is known to",
		p.done, p.succeeded, p.done-p.succeeded-p.deviating, p.deviating)
}

type performance struct {
	w        *woods
	t        *testing.T
	rng      *rand.Rand
	actions  map[string]reach.Action // by how they are written
	accounts map[string]*reach.Account
	conns    map[string]*ldap.Conn
	// Objects on which the operation has succeeded; whose descriptors are not those of
	// the snapshot any more; that got children.
	written, used, crowded map[forest.ID]bool

	done, succeeded, deviating, attempts int
}

// logOn binds as every user before anything is written: their tokens must be those
// of the snapshot.
func (p *performance) logOn() {
	for _, g := range p.w.groves {
		for _, name := range g.actors {
			account, conn, err := p.w.actor(p.t.Context(), name)
			if err != nil {
				p.t.Fatal(err)
			}
			p.conns[name], p.accounts[name] = conn, account
		}
	}
}

func (p *performance) close() {
	for _, c := range p.conns {
		c.Close()
	}
}

// A cast is a user and an object with what is expected.
type cast struct {
	actor       string
	id          forest.ID
	ours, samba bool
}

// sample performs op on each pairs, half of them expected to succeed.
func (p *performance) sample(op operation, each int) {
	var yes, no []cast
	for _, i := range p.rng.Perm(len(p.w.groves)) {
		g := p.w.groves[i]
		for _, name := range g.actors {
			account := p.accounts[name]
			for _, o := range g.objects {
				id := p.w.s.Lookup(o.dn)
				if !op.on(p.w, id) || op.not != nil && op.not(p.w, account.ID(), id) || op.once && p.w.s.SubtreeEnd(id) != id+1 {
					continue
				}
				c := cast{actor: name, id: id}
				c.ours, c.samba = p.expect(op, account, id)
				if c.ours || c.samba {
					yes = append(yes, c)
				} else {
					no = append(no, c)
				}
			}
		}
	}
	p.rng.Shuffle(len(yes), func(i, j int) { yes[i], yes[j] = yes[j], yes[i] })
	p.rng.Shuffle(len(no), func(i, j int) { no[i], no[j] = no[j], no[i] })
	half := min(each/2, len(yes))
	won := p.run(op, no, each-half) // refusals first: they change nothing
	lost := p.run(op, yes, half)
	p.t.Logf("%s: %d expected to succeed of %d pairs, %d to be refused of %d", op.name, lost, len(yes), won, len(no))
	if fullOracle() && (won+lost < 200 || lost < 40) {
		p.t.Errorf("%s was tried only %d times, %d of them with success expected", op.name, won+lost, lost)
	}
}

// expect says whether op will succeed, by the specification and as Samba deviates.
func (p *performance) expect(op operation, account *reach.Account, id forest.ID) (ours, samba bool) {
	ask := func(deviating bool) asking {
		return func(id forest.ID, action string) bool {
			act, ok := p.actions[action]
			if !ok {
				var err error
				if act, err = reach.ParseAction(p.w.s.Schema(), action); err != nil {
					p.t.Fatal(err)
				}
				p.actions[action] = act
			}
			d, _ := p.w.s.Descriptor(id)
			if deviating {
				d = p.w.asSamba(id)
			}
			return account.MayUnder(id, d, act).Outcome == secdesc.Granted
		}
	}
	says := op.says
	if says == nil {
		says = func(ask asking, id forest.ID) bool {
			return ask(id, "delete") || ask(p.w.s.Parent(id), "delete-child:"+p.w.s.Class(id))
		}
	}
	return says(ask(false), id), says(ask(true), id)
}

// run performs op for the first n of the casts and returns for how many it did.
func (p *performance) run(op operation, casts []cast, n int) int {
	done := 0
	p.written = map[forest.ID]bool{}
	for _, c := range casts {
		if done == n {
			break
		}
		if p.used[c.id] || op.once && p.crowded[c.id] || op.single && p.written[c.id] {
			continue
		}
		done++
		p.try(op, c)
	}
	return done
}

func (p *performance) try(op operation, c cast) {
	p.attempts++
	a := &attempt{w: p.w, user: p.conns[c.actor], actor: p.w.s.BySAMAccountName(c.actor)[0], id: c.id, n: p.attempts}
	err := op.do(a)
	p.done++
	if got := err == nil; got != c.samba {
		p.t.Errorf("%s by %s on %s (%s): %v, expected success %v (by the specification %v)\n\t%s", op.name, c.actor, a.dn(), p.w.s.Class(c.id),
			err, c.samba, c.ours, p.sddl(c.id))
	}
	if err != nil && !refused(err) {
		p.t.Errorf("%s by %s on %s: %v is no refusal", op.name, c.actor, a.dn(), err)
	}
	if c.ours != c.samba {
		p.deviating++
	} else if err == nil {
		p.succeeded++
	}
	if err == nil {
		p.written[c.id] = true
		if op.once || strings.HasPrefix(op.name, "child") {
			p.used[c.id] = op.once || p.used[c.id]
			p.crowded[c.id] = !op.once
		}
	}
}

func (p *performance) sddl(id forest.ID) string {
	d, _ := p.w.s.Descriptor(id)
	return d.SDDL(p.w.s.Domains()[0].SID)
}

// refused reports whether the directory refused for lack of rights; a value that a
// validated write does not admit is a constraint violation ([MS-ADTS] 3.1.1.5.3.1.1).
func refused(err error) bool {
	var e *ldap.Error
	return errors.As(err, &e) && (e.ResultCode == ldap.LDAPResultInsufficientAccessRights || e.ResultCode == ldap.LDAPResultConstraintViolation)
}
