package reach_test

import (
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// policies notes which computers whoever holds a SID gains by what policy sets on
// them: package gpo says what that is, and is tested by itself.
func (r *reference) policies() {
	e := gpo.New(r.s, reach.New(r.s))
	for i := range e.Scopes() {
		result := e.Result(gpo.ScopeID(i))
		for _, sid := range r.hostAdministrators(result) {
			n := r.number(sid)
			r.hosts[n] = append(r.hosts[n], e.Computers(gpo.ScopeID(i))...)
		}
	}
}

// hostAdministrators lists those whom policy makes administrators of hosts, or
// gives a right that amounts to it.
func (r *reference) hostAdministrators(result *gpo.Result) []secdesc.SID {
	var out []secdesc.SID
	if g, ok := result.Group(secdesc.Administrators); ok {
		for _, m := range g.Members {
			if !m.SID.IsZero() && (m.In == gpo.Yes || m.In == gpo.Unknown && r.possible) {
				out = append(out, m.SID)
			}
		}
	}
	for _, right := range strings.Fields("Tcb CreateToken Debug AssignPrimaryToken LoadDriver Restore TakeOwnership ManageVolume Backup Impersonate") {
		set := result.Right("Se" + right + "Privilege")
		for _, o := range set.Outcomes {
			for _, p := range o.Principals {
				ofHost := !result.DC && p.SID.Domain() == secdesc.Builtin || slices.Contains([]string{"S-1-5-6", "S-1-5-18", "S-1-5-19", "S-1-5-20"}, p.SID.String()) || strings.HasPrefix(p.SID.String(), "S-1-5-80-")
				if o.Defined && !p.SID.IsZero() && !ofHost && (r.possible || len(set.Outcomes) == 1 && mayLogOn(result, p.SID)) {
					out = append(out, p.SID)
				}
			}
		}
	}
	return out
}

// mayLogOn reports whether policy lets who holds sid log on in one way for sure.
func mayLogOn(result *gpo.Result, sid secdesc.SID) bool {
	for _, way := range strings.Fields("Interactive RemoteInteractive Network Batch Service") {
		allow, deny := result.Right("Se"+way+"LogonRight"), result.Right("SeDeny"+way+"LogonRight")
		if allow.State == gpo.Defined && (deny.State == gpo.NotDefined || deny.State == gpo.Defined && len(deny.Principals) == 0) &&
			slices.ContainsFunc(allow.Principals, func(p gpo.Principal) bool {
				return slices.Contains([]secdesc.SID{sid, secdesc.Everyone, secdesc.AuthenticatedUsers}, p.SID)
			}) {
			return true
		}
	}
	return false
}

// host gives the attacker the computers that whoever holds a SID administers.
func (h *attacker) host(n int32, domain int) {
	for _, c := range h.r.hosts[n] {
		if h.r.domain[c] == domain && h.r.logons[c] {
			h.gain(c)
		}
	}
}
