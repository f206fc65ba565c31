package reach_test

import "testing"

const delegationForest = `fixture: 1
domain: contoso.test
settings: {machine-account-quota: 0}
policies: [{name: D, rights: {%R}}]
links: [{on: Domain Controllers, policies: [%L]}]
ous: [{name: Staff}, {name: Hosts%O}]
users:
  - {name: eve, in: Staff}
  - {name: ann, in: Staff}
  - {name: svc, in: Staff, spns: [HTTP/svc.contoso.test]%S}
  - {name: plain, in: Staff%U}
groups: [{name: Enablers, in: Staff, members: [eve]}]
computers: [{name: PC1, in: Hosts%C}]
`

// Delegation to domain controllers takes an account of one's own, the right to write
// the attribute, and the user right on domain controllers, by one token.
func TestDelegationRight(t *testing.T) {
	const (
		right  = "SeEnableDelegationPrivilege: [Enablers]"
		reset  = `"(OA;;CR;00299570-246d-11d0-a768-00aa006e0529;;{eve})"`
		to     = `"(OA;;WP;800d94d7-b7a1-42a1-b14d-7cae1423d07f;;{eve})"`
		flags  = "allow eve write userAccountControl"
		way    = "enable-delegation"
		others = `"(OA;;WP;800d94d7-b7a1-42a1-b14d-7cae1423d07f;;{ann})"`
	)
	for name, c := range map[string]struct {
		marks map[string]string
		want  string
		kinds string
	}{
		"attribute, account, right":    {map[string]string{"%S": ", permissions: [" + reset + ", " + to + "]"}, "possible", way},
		"protocol transition":          {map[string]string{"%S": ", flags: [protocol-transition], permissions: [" + reset + ", " + to + "]"}, "certain", way},
		"both attributes":              {map[string]string{"%S": ", permissions: [" + reset + ", " + to + ", " + flags + "]"}, "certain", way},
		"no service principal name":    {map[string]string{"%U": ", permissions: [" + reset + ", " + to + ", " + flags + "]"}, "possible", way},
		"TRUSTED_FOR_DELEGATION":       {map[string]string{"%S": ", permissions: [" + reset + ", " + flags + "]"}, "possible", way},
		"another attribute":            {map[string]string{"%S": ", permissions: [" + reset + ", allow eve write description]"}, "none", ""},
		"attribute without account":    {map[string]string{"%S": ", permissions: [" + to + "]"}, "none", ""},
		"attribute of another token":   {map[string]string{"%S": ", permissions: [" + reset + ", " + others + "]"}, "none", ""},
		"control":                      {map[string]string{"%C": ", permissions: [allow eve write-permissions]"}, "certain", way},
		"control without right":        {map[string]string{"%C": ", permissions: [allow eve full-control]", "%R": "SeShutdownPrivilege: [Enablers]"}, "none", ""},
		"right of another":             {map[string]string{"%C": ", permissions: [allow eve full-control]", "%R": "SeEnableDelegationPrivilege: [ann]"}, "none", ""},
		"right of Administrators":      {map[string]string{"%C": ", permissions: [allow eve full-control]", "%R": "SeEnableDelegationPrivilege: [Administrators]"}, "none", ""},
		"policy not linked":            {map[string]string{"%C": ", permissions: [allow eve full-control]", "%L": ""}, "none", ""},
		"container":                    {map[string]string{"%O": ", permissions: [allow eve full-control]"}, "certain", way},
		"creating computers":           {map[string]string{"%O": ", permissions: [allow eve create computer]"}, "certain", way},
		"nothing but the right":        {nil, "none", ""},
		"TRUSTED, right of another":    {map[string]string{"%S": ", permissions: [" + reset + ", " + flags + "]", "%R": "SeEnableDelegationPrivilege: [ann]"}, "none", ""},
		"one policy of two, of others": {map[string]string{"%C": ", permissions: [allow eve full-control]", "%R": "SeEnableDelegationPrivilege: []"}, "none", ""},
	} {
		text := delegationForest
		for mark, v := range map[string]string{"%R": right, "%L": "D", "%O": "", "%S": "", "%U": "", "%C": ""} {
			if m, ok := c.marks[mark]; ok {
				v = m
			}
			text = replace(text, mark, v)
		}
		t.Run(name, func(t *testing.T) { ask(t, text, question{"eve", fixtureBase, c.want, c.kinds}) })
	}
}
