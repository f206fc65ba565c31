package reach_test

import (
	"testing"

	"github.com/leastwise/leastwise/internal/reach"
)

const rogueForest = `fixture: 1
domain: contoso.test
settings: {machine-account-quota: %Q}
policies: [{name: D, rights: {SeMachineAccountPrivilege: [%J]}}]
links: [{on: Domain Controllers, policies: [D]}]
ous: [{name: Staff}, {name: Hosts%O}, {name: Other}]
users: [{name: eve, in: Staff}, {name: ann, in: Staff}]
groups: [{name: Placers, in: Staff, members: [eve]}]
computers: [{name: PC1, in: Hosts%C}, {name: DC2, in: Domain Controllers, role: dc%D}]
permissions: [{on: domain, lines: [%P]}]
`

// rogue fills in the marks.
func rogue(marks map[string]string) string {
	text := rogueForest
	for mark, v := range map[string]string{"%Q": "0", "%J": "Domain Admins", "%O": "", "%C": "", "%D": "", "%P": "allow Placers right DS-Install-Replica"} {
		if m, ok := marks[mark]; ok {
			v = m
		}
		text = replace(text, mark, v)
	}
	return text
}

// DS-Install-Replica leads to the domain with a computer that can become a domain
// controller: one whose userAccountControl the same token may write, one that the
// attacker controls, or a new one.
func TestRogueController(t *testing.T) {
	const way = "member install-replica"
	for name, c := range map[string]struct {
		marks map[string]string
		want  string
		kinds string
	}{
		"no computer":               {nil, "none", ""},
		"userAccountControl":        {map[string]string{"%C": ", permissions: [allow eve write userAccountControl]"}, "possible", way},
		"by property set":           {map[string]string{"%C": `, permissions: ["(OA;;WP;4c164200-20c0-11d0-a768-00aa006e0529;;{eve})"]`}, "possible", way},
		"of another token":          {map[string]string{"%C": ", permissions: [allow ann write userAccountControl]"}, "none", ""},
		"of a controller":           {map[string]string{"%D": ", permissions: [allow eve write userAccountControl]"}, "none", ""},
		"another property":          {map[string]string{"%C": ", permissions: [allow eve write description]"}, "none", ""},
		"control":                   {map[string]string{"%C": ", permissions: [allow eve write-permissions]"}, "possible", "install-replica"},
		"its container":             {map[string]string{"%O": ", permissions: [allow eve write-owner]"}, "possible", "install-replica"},
		"creating":                  {map[string]string{"%O": ", permissions: [allow eve create computer]"}, "possible", "install-replica"},
		"creating users":            {map[string]string{"%O": ", permissions: [allow eve create user]"}, "none", ""},
		"quota":                     {map[string]string{"%Q": "10", "%J": "Authenticated Users"}, "possible", way},
		"quota, right of another":   {map[string]string{"%Q": "10", "%J": "ann"}, "none", ""},
		"quota 0":                   {map[string]string{"%J": "Authenticated Users"}, "none", ""},
		"right denied":              {map[string]string{"%Q": "10", "%J": "Authenticated Users", "%P": "deny eve right DS-Install-Replica, allow Placers right DS-Install-Replica"}, "none", ""},
		"another right on the head": {map[string]string{"%Q": "10", "%J": "Authenticated Users", "%P": "allow Placers right DS-Replication-Synchronize"}, "none", ""},
		"computers of another":      {map[string]string{"%P": "allow Placers right DS-Install-Replica, allow ann create computer"}, "none", ""},
	} {
		t.Run(name, func(t *testing.T) { ask(t, rogue(c.marks), question{"eve", fixtureBase, c.want, c.kinds}) })
	}
}

// However wide a search becomes, it follows every facet of an object.
func TestFacetsOfWideSearch(t *testing.T) {
	if !reach.FacetsNotedOnce(1000) {
		t.Error("a facet is forgotten, or noted twice")
	}
}
