package control

import (
	"slices"

	"github.com/leastwise/leastwise/internal/forest"
)

// A selector lists the subjects of a control. Exactly one function is set.
type selector struct {
	doc        string
	hosts      bool // subjects are host sets
	whole      bool // the only subject is the forest
	objects    func(w *world) []forest.ID
	privileged bool                       // findings say through which group the subject is privileged
	role       []string                   // hosts: of these roles
	from       source                     // where objects are found
	groups     func(w *world) []forest.ID // fromGroups: whose effective members they are
	attr       forest.Attr                // objects are found by this attribute, or 0
}

// selectors are the kinds of subjects beside the names of principals, which
// select that principal in each domain.
var selectors = map[string]selector{
	"forest":             {doc: "the forest as a whole", whole: true},
	"domain":             {from: fromDomains, doc: "each domain that was read", objects: (*world).domainHeads},
	"user":               {doc: "user accounts of people and services", objects: ofKinds("user")},
	"computer":           {doc: "computer accounts", objects: ofKinds("computer")},
	"account":            {doc: "accounts of any kind", objects: ofKinds("user", "computer", "gmsa", "msa", "dmsa")},
	"principal":          {doc: "accounts of any kind and groups", objects: ofKinds("user", "computer", "gmsa", "msa", "dmsa", "group")},
	"group":              {doc: "groups", objects: ofKinds("group")},
	"gpo":                {from: fromPolicies, doc: "group policy objects", objects: (*world).policyObjects},
	"protected-group":    {from: fromGroups, groups: protectedGroups, doc: "groups that AdminSDHolder protects (guide, app. C)", objects: func(w *world) []forest.ID { return w.privilege().groups }},
	"protected-object":   {from: fromGroups, groups: protectedGroups, doc: "accounts and groups that AdminSDHolder protects", objects: func(w *world) []forest.ID { return w.privilege().protected }},
	"privileged-account": {from: fromGroups, groups: protectedGroups, privileged: true, doc: "effective members of protected groups", objects: func(w *world) []forest.ID { return w.privilege().accounts }},
	"privileged-principal": {from: fromGroups, groups: protectedGroups, doc: "protected groups, their effective members, and groups nested in them", objects: func(w *world) []forest.ID {
		return sorted(w.privilege().protected, w.privilege().accounts)
	}},
	"admin-account":      {from: fromGroups, groups: adminGroups, privileged: true, doc: "privileged accounts and members of the configured administrative groups", objects: func(w *world) []forest.ID { return w.privilege().admins }},
	"vip-account":        {from: fromGroups, groups: vipGroups, doc: "members of the configured VIP groups", objects: func(w *world) []forest.ID { return w.privilege().vips }},
	"watched-account":    {from: fromGroups, groups: func(w *world) []forest.ID { return sorted(adminGroups(w), vipGroups(w)) }, privileged: true, doc: "administrative and VIP accounts", objects: func(w *world) []forest.ID { return sorted(w.privilege().admins, w.privilege().vips) }},
	"adminsdholder":      {from: fromSystem, doc: "AdminSDHolder of each domain", objects: (*world).adminSDHolders},
	"admincount":         {attr: forest.AdminCount, doc: "accounts and groups with adminCount 1", objects: (*world).admincounts},
	"management-account": {from: fromManagement, doc: "management accounts (guide, app. I)", objects: func(w *world) []forest.ID { return w.management().accounts }},
	"management-group":   {from: fromManagers, doc: "groups that may enable management accounts", objects: func(w *world) []forest.ID { return w.management().groups }},
	"issuance-group":     {from: fromForest, attr: forest.MsDSOIDToGroupLink, doc: "groups linked to an issuance policy", objects: (*world).issuanceGroups},
	"service-user":       {attr: forest.ServicePrincipalName, doc: "user accounts with service principal names", objects: withAttr(forest.ServicePrincipalName, "user")},
	"delegating-account": {attr: forest.MsDSAllowedToDelegateTo, doc: "accounts with msDS-AllowedToDelegateTo", objects: withAttr(forest.MsDSAllowedToDelegateTo)},
	"rbcd-target":        {attr: forest.MsDSAllowedToActOnBehalfOfOtherIdentity, doc: "accounts with msDS-AllowedToActOnBehalfOfOtherIdentity", objects: withAttr(forest.MsDSAllowedToActOnBehalfOfOtherIdentity)},
	"sidhistory":         {attr: forest.SIDHistory, doc: "accounts and groups with sIDHistory", objects: withAttr(forest.SIDHistory)},
	"altsecid":           {attr: forest.AltSecurityIdentities, doc: "accounts with altSecurityIdentities", objects: withAttr(forest.AltSecurityIdentities)},
	"member-hosts":       {doc: "servers and workstations, jump servers left out", hosts: true, role: []string{roleServer, roleWorkstation}},
	"dc-hosts":           {doc: "domain controllers", hosts: true, role: []string{roleDC}},
	"exempt-hosts":       {doc: "jump servers", hosts: true, role: []string{roleExempt}},
	"joined-hosts":       {doc: "servers, workstations and jump servers", hosts: true, role: []string{roleServer, roleWorkstation, roleExempt}},
	"all-hosts":          {doc: "all computers", hosts: true, role: []string{roleServer, roleWorkstation, roleDC, roleExempt}},
}

func sorted(lists ...[]forest.ID) []forest.ID {
	out := slices.Concat(lists...)
	slices.Sort(out)
	return slices.Compact(out)
}

func ofKinds(kinds ...string) func(*world) []forest.ID {
	return func(w *world) []forest.ID {
		var out []forest.ID
		for id, k := range w.kindOf {
			if slices.Contains(kinds, k) && !w.trustAccount(forest.ID(id)) {
				out = append(out, forest.ID(id))
			}
		}
		return out
	}
}

// trustAccount reports whether an account stands for a trust, not for somebody.
func (w *world) trustAccount(id forest.ID) bool {
	if w.kindOf[id] != "user" {
		return false
	}
	uac, _ := w.s.Int(id, forest.UserAccountControl)
	return uac&0x800 != 0
}

// withAttr lists the objects that have an attribute, and those of which it could
// not be read: for these the control is unknown.
func withAttr(a forest.Attr, kinds ...string) func(*world) []forest.ID {
	return func(w *world) []forest.ID {
		var out []forest.ID
		for _, id := range sorted(w.s.With(a), w.s.Flawed(a)) {
			if len(kinds) == 0 || slices.Contains(kinds, w.kind(id)) {
				out = append(out, id)
			}
		}
		return out
	}
}

func protectedGroups(w *world) []forest.ID { return w.privilege().groups }

func adminGroups(w *world) []forest.ID {
	return sorted(w.privilege().groups, w.groupsNamed(w.options.AdminGroups))
}

func vipGroups(w *world) []forest.ID { return w.groupsNamed(w.options.VIPGroups) }

func (w *world) domainHeads() []forest.ID {
	var out []forest.ID
	for _, d := range w.domains {
		if d.Head != forest.None {
			out = append(out, d.Head)
		}
	}
	return out
}

func (w *world) policyObjects() []forest.ID {
	var out []forest.ID
	for _, p := range w.policies() {
		if p.policy.ID != forest.None {
			out = append(out, p.policy.ID)
		}
	}
	return sorted(out)
}

func (w *world) adminSDHolders() []forest.ID {
	var out []forest.ID
	for d := range w.domains {
		if id := w.adminSDHolder(d); id != forest.None {
			out = append(out, id)
		}
	}
	return out
}

func (w *world) admincounts() []forest.ID {
	var out []forest.ID
	for _, id := range sorted(w.s.With(forest.AdminCount), w.s.Flawed(forest.AdminCount)) {
		if v, st := w.s.Int(id, forest.AdminCount); (v == 1 || st == forest.Unreadable) && !w.s.SID(id).IsZero() {
			out = append(out, id)
		}
	}
	return out
}

func (w *world) issuanceGroups() []forest.ID {
	var out []forest.ID
	for _, oid := range w.s.With(forest.MsDSOIDToGroupLink) {
		groups, _ := w.s.Links(oid, forest.MsDSOIDToGroupLink)
		out = append(out, groups...) // what hides one is said by issuanceGaps
	}
	return sorted(out)
}

// everyDomain lists the principal called name in each domain.
func (w *world) everyDomain(name string) []forest.ID {
	var out []forest.ID
	for d := range w.domains {
		if id := w.principalID(d, name); id != forest.None && (!forestWide[name] || d == w.root) {
			out = append(out, id)
		}
	}
	return sorted(out)
}

// principals lists what an entry of hosts is asked for one by one.
func (w *world) principals(name string) []forest.ID {
	switch name {
	case "management-accounts":
		return w.management().accounts
	case "local-administrator":
		return []forest.ID{forest.None}
	case "administrators":
		if all := w.everyDomain(name); len(all) > 0 {
			return all[:1] // one identifier in all domains and on all hosts
		}
		return nil
	}
	return w.everyDomain(name)
}
