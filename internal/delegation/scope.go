package delegation

import (
	"errors"
	"fmt"
	"slices"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/plan"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A Scope says what leastwise is to do in one domain, and by whom. Objects that are not
// there yet are created in Container under the names.
type Scope struct {
	Domain     forest.Domain
	Service    Principal // leastwise's own account
	Management Principal // group whose members enable, reset and disable the management accounts
	Managers   []Principal
	Groups     []Group
	Container  forest.ID // where new objects go; forest.None: nothing may be created
}

// A Principal is an account or group of the scope.
type Principal struct {
	Name string    // sAMAccountName
	ID   forest.ID // forest.None: it is not there yet
}

// A Group is one whose members are written.
type Group struct {
	ID      forest.ID
	Manager int // index in Scope.Managers; -1: leastwise's own account writes
}

// A Problem is something that bootstrapping does not mend.
type Problem struct {
	Object string // distinguished name or account name
	Text   string
}

// A Setup is what is left to do in a domain, and what is the matter.
type Setup struct {
	// Changes are those that can be made now. Others need the security identifiers of
	// objects that these create: Later says which, and the next Setup has them.
	Changes []plan.Change
	Later   []string
	// Problems are what somebody has to look at: rights that others have on leastwise's
	// objects, or what could not be read. They are never mended here.
	Problems []Problem
	// Power says in words whose members a management account can write once all is done.
	Power []string
}

// Flags of userAccountControl ([MS-ADTS] 2.2.16).
const (
	flagNormal       = 0x200
	flagNotDelegated = 0x100000
)

// aes is msDS-SupportedEncryptionTypes with AES-128 and AES-256 ([MS-KILE] 2.2.7).
const aes = 0x18

// ridDeniedReplication is the group Denied RODC Password Replication Group
// ([MS-SAMR] 2.2.1.14): its members' passwords never reach a read-only controller.
const ridDeniedReplication = 572

// A planner collects a Setup.
type planner struct {
	s       *forest.Snapshot
	scope   Scope
	out     *Setup
	members *reach.Index // made when it is needed
}

// Plan compares a snapshot with what the scope needs, and returns what is left to do.
// When nothing is, Changes and Later are empty. It proposes entries and objects, never
// that one is taken away.
func Plan(s *forest.Snapshot, scope Scope) (*Setup, error) {
	p := &planner{s: s, scope: scope, out: &Setup{}}
	if err := p.check(); err != nil {
		return nil, err
	}
	if err := errors.Join(p.managementGroup(), p.service()); err != nil {
		return nil, err
	}
	for i := range scope.Managers {
		if err := p.manager(i); err != nil {
			return nil, err
		}
	}
	for _, g := range scope.Groups {
		p.group(g)
	}
	p.out.Changes = plan.Arrange(p.out.Changes)
	return p.out, nil
}

// check refuses scopes that cannot be or must not be.
func (p *planner) check() error {
	for _, g := range p.scope.Groups {
		name := p.s.DN(g.ID)
		switch {
		case !p.s.IsA(g.ID, "group"):
			return fmt.Errorf("%s is no group", name)
		case p.s.GUID(g.ID).IsZero():
			return fmt.Errorf("%s has no GUID in this snapshot", name)
		case g.Manager < 0 && p.protected(g.ID):
			return fmt.Errorf("%s is protected by AdminSDHolder, and leastwise's own account must not hold a right over protected groups: name a management account for it", name)
		}
	}
	missing := p.scope.Service.ID == forest.None || p.scope.Management.ID == forest.None
	for _, m := range p.scope.Managers {
		missing = missing || m.ID == forest.None
	}
	if missing && p.scope.Container == forest.None {
		return fmt.Errorf("objects are to be created, and no container is named for them")
	}
	if missing && p.s.GUID(p.scope.Container).IsZero() {
		return fmt.Errorf("%s has no GUID in this snapshot", p.s.DN(p.scope.Container))
	}
	return nil
}

// protected reports whether the directory keeps a group's permissions like those of
// AdminSDHolder ([MS-ADTS] 3.1.1.6.1.2).
func (p *planner) protected(id forest.ID) bool {
	if n, st := p.s.Int(id, forest.AdminCount); st == forest.Known && n == 1 {
		return true
	}
	rid, ok := p.s.SID(id).RID()
	return reach.IsPrivileged(p.s, p.s.SID(id)) && ok && rid != secdesc.RIDGroupPolicyCreatorOwners
}

func (p *planner) target(id forest.ID) plan.Target {
	return plan.Target{GUID: p.s.GUID(id), DN: p.s.DN(id), SID: p.s.SID(id)}
}

func (p *planner) change(c plan.Change) { p.out.Changes = append(p.out.Changes, c) }

func (p *planner) later(format string, args ...any) {
	p.out.Later = append(p.out.Later, fmt.Sprintf(format, args...))
}

func (p *planner) problem(object, format string, args ...any) {
	v := Problem{object, fmt.Sprintf(format, args...)}
	if !slices.Contains(p.out.Problems, v) {
		p.out.Problems = append(p.out.Problems, v)
	}
}

func (p *planner) create(n *plan.NewObject) {
	p.change(plan.Change{Kind: plan.CreateObject, Object: p.target(p.scope.Container), New: n})
}
