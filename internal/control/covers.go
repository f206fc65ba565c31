package control

import (
	"cmp"
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A cover is what puts a principal under an entry of a right that does not name it.
type cover struct {
	group  gpo.Principal
	object forest.ID // the group in the directory, or None
	how    string    // of a group of the hosts themselves: which member of it counts
}

// covers answers whether a right concerns a principal: by name or through a group.
func covers(r right, o object) ref.Val {
	if o.id == forest.None {
		return r.ev.unknown("members", o.why)
	}
	w := r.ev.w
	sid := w.s.SID(o.id)
	var through cover
	unread := ""
	match := func(p gpo.Principal) bool {
		if p.Is(sid) {
			return true
		}
		switch {
		case p.SID.IsZero():
			return false
		case p.SID.Domain() != builtinDomain:
			if !w.holds(o.id, p.SID) {
				return false
			}
			through = cover{group: p, object: p.ID}
			return true
		}
		c, why := r.builtinCover(o.id, p)
		if c == nil {
			unread = cmp.Or(unread, why)
			return false
		}
		through = *c
		return true
	}
	v := r.truth(match)
	if v == types.True && !through.group.SID.IsZero() {
		r.ev.sawCover(o.id, through)
	}
	if v == types.False {
		if why := cmp.Or(w.coverUnread(r.setting), unread); why != "" {
			return r.ev.unknown("members", why)
		}
	}
	return v
}

// builtinCover finds out whether id is in the group S-1-5-32-… that the hosts look
// at: that of their domain on domain controllers, else that of each host itself. Of
// the latter only what policies say and Windows' defaults are known; why says that
// something of them could not be read.
func (r right) builtinCover(id forest.ID, p gpo.Principal) (c *cover, why string) {
	w := r.ev.w
	if r.set.role == roleDC {
		return w.domainCover(id, p, w.domainIndex(r.set.computers[0]))
	}
	group, found := w.gpo.Result(r.set.scope).Group(p.SID)
	if !found {
		return nil, ""
	}
	if len(group.Problems) > 0 {
		why = reasons(group.Problems)
	}
	for _, m := range group.Members {
		switch {
		case m.In == gpo.No || m.SID.IsZero() || m.SID.Domain() == builtinDomain:
		case !m.Is(w.s.SID(id)) && !w.holds(id, m.SID):
			why = cmp.Or(why, w.reach.Unsure(m.SID), w.mayBeHidden(m.SID))
		case m.In == gpo.Unknown:
			why = cmp.Or(why, reasons(m.Reasons))
		default:
			how := " (which holds " + w.trusteeName(m.SID)
			if m.Default {
				how += " by default"
			}
			return &cover{group: p, object: forest.None, how: how + ")"}, ""
		}
	}
	return nil, why
}

// domainCover looks into the group S-1-5-32-… of domain d.
func (w *world) domainCover(id forest.ID, p gpo.Principal, d int) (c *cover, why string) {
	if d < 0 {
		return nil, "the domain of the domain controllers was not read"
	}
	rid, _ := p.SID.RID()
	g, ok := w.builtins[d][rid]
	if !ok {
		if gaps := w.listing().accounts[d]; len(gaps) > 0 {
			return nil, p.SID.String() + " was not found; it may be among " + gaps[0]
		}
		return nil, ""
	}
	everybody := func(m forest.ID) bool {
		sid := w.s.SID(m)
		return sid == identities["everyone"] || sid == identities["authenticated-users"]
	}
	if w.inGroup(id, g) || slices.ContainsFunc(w.reach.Members(g), everybody) {
		return &cover{group: p, object: g}, ""
	}
	if gaps := w.gaps(g); len(gaps) > 0 {
		return nil, gaps[0]
	}
	return nil, ""
}

// coverUnread says why a group in the list of a right may hold a principal that is
// not known to be its member.
func (w *world) coverUnread(s gpo.Setting) string {
	lists := [][]gpo.Principal{s.Principals}
	for _, o := range s.Outcomes {
		lists = append(lists, o.Principals)
	}
	for _, p := range slices.Concat(lists...) {
		if why := w.nameless(p); why != "" {
			return why
		}
		if p.SID.IsZero() || p.SID.Domain() == builtinDomain {
			continue
		}
		if why := cmp.Or(w.reach.Unsure(p.SID), w.mayBeHidden(p.SID)); why != "" {
			return why
		}
	}
	return ""
}

// nameless says why a name in a policy that means nothing to the snapshot may be that
// of a principal of the forest; "" if it cannot be, and of what is no such name.
func (w *world) nameless(p gpo.Principal) string {
	if p.Kind != gpo.UnresolvedName || strings.HasPrefix(p.Raw, "*") || strings.HasPrefix(p.Raw, `.\`) {
		return ""
	}
	why := ""
	if flawed := w.s.Flawed(forest.NETBIOSName); len(flawed) > 0 {
		why = "nETBIOSName of " + w.s.DN(flawed[0]) + ": " + w.s.Why(flawed[0], forest.NETBIOSName)
	}
	domain, _, qualified := strings.Cut(p.Raw, `\`)
	for d, dom := range w.domains {
		if qualified && !strings.EqualFold(domain, dom.NetBIOS) && !strings.EqualFold(domain, dom.DNS) {
			continue
		}
		why = cmp.Or(why, w.namesUnread())
		if gaps := w.listing().accounts[d]; len(gaps) > 0 {
			why = cmp.Or(why, gaps[0])
		}
	}
	if why == "" {
		return ""
	}
	return "whose name " + p.Raw + " is; what would tell was not read: " + why
}

// sawCover records through what a right concerns a principal that it does not name.
func (ev *evaluation) sawCover(id forest.ID, c cover) {
	w := ev.w
	ev.through = w.trusteeName(c.group.SID) + c.how
	e := Evidence{Kind: "member", DN: w.s.DN(id), Value: c.group.SID.String()}
	if c.object != forest.None {
		e.Chain = w.chain(id, c.object)
	}
	e.Text = w.qualified(id) + " is covered through " + ev.through + ", of which it is a member"
	ev.saw(e)
}

// localAdministratorGroups are what the token of the built-in Administrator of a
// host always has: Windows does not let it be taken out of Administrators.
var localAdministratorGroups = []secdesc.SID{
	builtinDomain.Child(544), identities["everyone"], identities["authenticated-users"],
}

// sawLocalCover records which of them the right lists.
func (r right) sawLocalCover() {
	for _, p := range r.setting.Outcomes[0].Principals {
		if slices.Contains(localAdministratorGroups, p.SID) {
			r.ev.through = r.ev.w.trusteeName(p.SID)
			r.ev.saw(Evidence{Kind: "member", Value: p.SID.String(), Text: "the Administrator of each host is covered through " + r.ev.through + ", of which it is a member"})
			return
		}
	}
}
