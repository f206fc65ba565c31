package delegation

import (
	"fmt"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/plan"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// full is what administrators hold on leastwise's own objects.
const full = "RPWPCRCCDCLCLORCWOWDSDDTSW"

// trusted are those who hold everything on leastwise's own objects: the administrators
// of domain and forest, and the system.
func (p *planner) trusted() []secdesc.SID {
	out := []secdesc.SID{secdesc.System, secdesc.Administrators, p.scope.Domain.SID.Child(secdesc.RIDDomainAdmins)}
	for _, d := range p.s.Domains() {
		if d.Root && !d.SID.IsZero() {
			out = append(out, d.SID.Child(secdesc.RIDEnterpriseAdmins))
		}
	}
	return out
}

// born is the DACL that leastwise's own objects are created with: not inherited, so that
// no delegation above reaches them, and readable by everybody who signs in (guide, app. I).
// denied and granted are further entries in SDDL.
func (p *planner) born(denied, granted string) (*plan.Permits, error) {
	var b strings.Builder
	b.WriteString("D:P" + denied)
	for _, sid := range p.trusted() {
		fmt.Fprintf(&b, "(A;;%s;;;%s)", full, sid)
	}
	b.WriteString(granted)
	for _, sid := range []secdesc.SID{secdesc.Self, secdesc.AuthenticatedUsers, secdesc.EnterpriseDomainControllers} {
		fmt.Fprintf(&b, "(A;;RPLCLORC;;;%s)", sid)
	}
	out := &plan.Permits{}
	return out, out.UnmarshalText([]byte(b.String()))
}

// undeletable keeps everybody from deleting an object until the entry is taken away.
var undeletable = secdesc.ACE{Type: secdesc.Deny, Mask: secdesc.Delete | secdesc.DeleteTree, SID: secdesc.Everyone}

func (p *planner) managementGroup() error {
	m := p.scope.Management
	if m.ID == forest.None {
		permits, err := p.born("", "")
		p.create(&plan.NewObject{
			Class: plan.ClassGroup, Name: m.Name, Account: m.Name, GroupType: plan.GlobalSecurityGroup, Permissions: permits,
			Description: "Its members enable, reset and disable management accounts. As powerful as Domain Admins: guard it so.",
		})
		return err
	}
	if !p.s.IsA(m.ID, "group") {
		return fmt.Errorf("%s is no group", p.s.DN(m.ID))
	}
	p.entry(m.ID, undeletable)
	p.others(m.ID, secdesc.SID{})
	members, st := p.s.Links(m.ID, forest.Member)
	if st == forest.Unreadable {
		p.problem(p.s.DN(m.ID), "its members could not be read: %s", p.s.Why(m.ID, forest.Member))
	}
	for _, id := range members {
		if id != p.scope.Service.ID {
			p.problem(p.s.DN(m.ID), "%s is a member, and may enable the management accounts and reset their passwords", p.s.DN(id))
		}
	}
	return nil
}

func (p *planner) service() error {
	v := p.scope.Service
	if v.ID == forest.None {
		// Not even by inheritance may anybody but the administrators reset its password:
		// whoever can is as powerful as the management accounts.
		permits, err := p.born("", fmt.Sprintf("(OA;;CR;%s;;%s)", rightChange, secdesc.Self))
		p.create(&plan.NewObject{
			Class: plan.ClassUser, Name: v.Name, Account: v.Name, Flags: flagNormal | flagNotDelegated | plan.AccountDisabled, Encryption: aes, Permissions: permits,
			Description: "Account of the leastwise server. An ordinary user: it must never be in a privileged group.",
		})
		p.later("the password of %s, its membership of %s, and enabling it", v.Name, p.scope.Management.Name)
		return err
	}
	p.ordinary(v.ID)
	p.entry(v.ID, undeletable)
	p.others(v.ID, secdesc.SID{})
	p.firstPassword(v.ID)
	if p.scope.Management.ID != forest.None {
		p.member(p.scope.Management.ID, v.ID)
	}
	return nil
}

// firstPassword lets an account begin that was created without a password.
func (p *planner) firstPassword(id forest.ID) {
	flags, st := p.s.Int(id, forest.UserAccountControl)
	set, _ := p.s.Int(id, forest.PwdLastSet)
	now := uint32(flags)
	switch {
	case st != forest.Known:
		p.problem(p.s.DN(id), "its userAccountControl could not be read: %s", p.s.Why(id, forest.UserAccountControl))
	case now&plan.AccountDisabled == 0:
	case set == 0 && p.s.Collected(forest.PwdLastSet):
		p.change(plan.Change{Kind: plan.ResetPassword, Object: p.target(id)})
		p.change(plan.Change{Kind: plan.EnableAccount, Object: p.target(id), Require: plan.Require{Flags: &now}})
	default:
		p.problem(p.s.DN(id), "it is disabled, so leastwise cannot sign in")
	}
}

// ordinary reports privileged memberships of an account that must have none.
func (p *planner) ordinary(id forest.ID) {
	for _, sid := range p.index().Token(id) {
		if reach.IsPrivileged(p.s, sid) {
			p.problem(p.s.DN(id), "it is a member of %s, and must not be", p.name(sid))
		}
	}
	if n, _ := p.s.Int(id, forest.AdminCount); n == 1 {
		p.problem(p.s.DN(id), "its adminCount is 1: it is or was in a protected group")
	}
}

func (p *planner) index() *reach.Index {
	if p.members == nil {
		p.members = reach.New(p.s)
	}
	return p.members
}

func (p *planner) name(sid secdesc.SID) string {
	if id := p.s.BySID(sid); id != forest.None {
		return p.s.DN(id)
	}
	if name, ok := secdesc.WellKnownName(sid); ok {
		return name
	}
	return sid.String()
}

func (p *planner) manager(i int) error {
	m, g := p.scope.Managers[i], p.scope.Management
	if g.ID == forest.None {
		if m.ID == forest.None {
			p.later("the management account %s, whose permissions name the group %s", m.Name, g.Name)
		} else {
			p.later("the rights of the group %s on %s", g.Name, p.s.DN(m.ID))
		}
		return nil
	}
	group := p.s.SID(g.ID)
	rights := []secdesc.ACE{
		{Type: secdesc.Allow, Mask: secdesc.ReadProperty | secdesc.ListContents | secdesc.ListObject | secdesc.ReadControl, SID: group},
		ResetPassword.Entry(group).ACE, WriteFlags.Entry(group).ACE,
	}
	if m.ID == forest.None {
		var granted, denied strings.Builder
		for _, a := range rights {
			granted.WriteString(a.SDDL(secdesc.SID{}))
		}
		for _, sid := range []secdesc.SID{secdesc.Everyone, secdesc.Self} { // nobody changes its password by telling the old one
			fmt.Fprintf(&denied, "(OD;;CR;%s;;%s)", rightChange, sid)
		}
		permits, err := p.born(denied.String(), granted.String())
		p.create(&plan.NewObject{
			Class: plan.ClassUser, Name: m.Name, Account: m.Name, Flags: flagNormal | flagNotDelegated | plan.AccountDisabled, Encryption: aes, NoDialIn: true, Permissions: permits,
			Description: "Management account of leastwise: disabled, but for the moment in which it writes the members of a group.",
		})
		p.later("what %s may write", m.Name)
		return err
	}
	for _, a := range rights {
		p.entry(m.ID, a)
	}
	p.entry(m.ID, undeletable)
	p.others(m.ID, group, ResetPassword, WriteFlags)
	p.ordinary(m.ID)
	p.managerFlags(m.ID)
	if p.index().Holds(m.ID, group) {
		p.problem(p.s.DN(m.ID), "it is a member of %s, and could enable itself", p.s.DN(g.ID))
	}
	if denied := p.s.BySID(p.scope.Domain.SID.Child(ridDeniedReplication)); denied != forest.None {
		p.member(denied, m.ID)
	}
	return nil
}

func (p *planner) managerFlags(id forest.ID) {
	flags, st := p.s.Int(id, forest.UserAccountControl)
	switch {
	case st != forest.Known:
		p.problem(p.s.DN(id), "its userAccountControl could not be read: %s", p.s.Why(id, forest.UserAccountControl))
		return
	case flags&int64(plan.AccountDisabled) == 0:
		p.problem(p.s.DN(id), "it is enabled, and should be only for the moment of a use")
	}
	if flags&flagNotDelegated == 0 {
		p.problem(p.s.DN(id), "it lacks the flag \"account is sensitive and cannot be delegated\"")
	}
}

// group lets the account that is responsible for it write its members.
func (p *planner) group(g Group) {
	who := p.scope.Service
	if g.Manager >= 0 {
		who = p.scope.Managers[g.Manager]
	}
	if who.ID == forest.None {
		p.later("the right of %s to write the members of %s", who.Name, p.s.DN(g.ID))
		return
	}
	entry := WriteMembers.Entry(p.s.SID(who.ID)).ACE
	p.entry(g.ID, entry)
	p.beyond(g.ID, who.ID)
	power := p.s.DN(who.ID) + " can write the members of " + p.s.DN(g.ID)
	if p.protected(g.ID) {
		holder := p.s.Lookup("CN=AdminSDHolder,CN=System," + p.scope.Domain.DN)
		if holder == forest.None {
			p.problem("CN=AdminSDHolder,CN=System,"+p.scope.Domain.DN, "it is not in this snapshot, so the right to write members is lost within the hour")
			return
		}
		p.entry(holder, entry)
		p.beyond(holder, who.ID)
		power = p.s.DN(who.ID) + " can write the members of every group that AdminSDHolder protects, now or within the hour: " + strings.Join(p.protectedGroups(), ", ")
	}
	if !slices.Contains(p.out.Power, power) {
		p.out.Power = append(p.out.Power, power)
	}
}

func (p *planner) protectedGroups() (names []string) {
	for _, id := range p.s.With(forest.AdminCount) {
		if d, ok := p.s.DomainOf(id); ok && d.DN == p.scope.Domain.DN && p.s.IsA(id, "group") && p.protected(id) {
			names = append(names, p.s.Name(id))
		}
	}
	slices.Sort(names)
	return names
}

// beyond reports what an account may do on an object besides writing its members.
func (p *planner) beyond(object, account forest.ID) {
	d, st := p.s.Descriptor(object)
	if st != forest.Known {
		return // entry has said so
	}
	token := p.index().Token(account)
	for _, x := range Surplus(d, func(sid secdesc.SID) bool { return slices.Contains(token, sid) }, WriteMembers) {
		if !Broad(x.ACE.SID) {
			p.problem(p.s.DN(object), "%s %s%s", p.s.DN(account), x.Text(), byEntry(x))
		}
	}
}

func byEntry(x Extra) string {
	if x.Index < 0 {
		return ""
	}
	return fmt.Sprintf(", by entry %d %s", x.Index, x.ACE.SDDL(secdesc.SID{}))
}

// entry proposes an entry that an object lacks.
func (p *planner) entry(id forest.ID, ace secdesc.ACE) {
	d, st := p.s.Descriptor(id)
	switch {
	case st != forest.Known:
		p.problem(p.s.DN(id), "its permissions could not be read")
		return
	case d.DACL != nil && slices.ContainsFunc(d.DACL.ACEs, func(a secdesc.ACE) bool { return a.Equal(ace) }):
		return
	case p.s.GUID(id).IsZero():
		p.problem(p.s.DN(id), "it has no GUID in this snapshot")
		return
	}
	c := plan.Change{Kind: plan.GrantEntry, Object: p.target(id), Entry: &plan.Entry{ACE: ace}}
	if !slices.ContainsFunc(p.out.Changes, func(o plan.Change) bool { return o.Subject() == c.Subject() }) {
		p.change(c)
	}
}

// member proposes a membership that is missing.
func (p *planner) member(group, account forest.ID) {
	members, st := p.s.Links(group, forest.Member)
	if st == forest.Unreadable {
		p.problem(p.s.DN(group), "its members could not be read: %s", p.s.Why(group, forest.Member))
		return
	}
	if slices.Contains(members, account) {
		return
	}
	who := p.target(account)
	p.change(plan.Change{Kind: plan.AddMember, Object: p.target(group), Member: &who})
}

// others reports who beside the administrators may change one of leastwise's own
// objects, and what the group that manages it may do beyond the rights in needed.
func (p *planner) others(id forest.ID, group secdesc.SID, needed ...Right) {
	d, st := p.s.Descriptor(id)
	if st != forest.Known {
		p.problem(p.s.DN(id), "its permissions could not be read")
		return
	}
	asked := p.trusted()
	list := []secdesc.SID{d.Owner}
	if d.DACL != nil {
		for _, a := range d.DACL.ACEs {
			list = append(list, a.SID)
		}
	}
	for _, sid := range list {
		if sid.IsZero() || sid == secdesc.Self || slices.Contains(asked, sid) {
			continue
		}
		asked = append(asked, sid)
		rights := needed
		if sid != group {
			rights = nil
		}
		for _, x := range Surplus(d, func(t secdesc.SID) bool { return t == sid }, rights...) {
			p.problem(p.s.DN(id), "%s %s%s", p.name(sid), x.Text(), byEntry(x))
		}
	}
	if d.DACL == nil {
		p.problem(p.s.DN(id), "everybody may do everything, because it has no DACL")
	}
}
