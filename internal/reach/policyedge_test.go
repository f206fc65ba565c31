package reach_test

import "testing"

const policyForest = `
ous:
  - {name: Servers}
  - {name: Inner, in: Servers, block-inheritance: true}
  - {name: Staff}
users:
  - {name: eve, in: Staff}
  - {name: ann, in: Staff}
computers:
  - {name: SRV1, in: Servers, role: server}
  - {name: SRV2, in: Servers/Inner, role: server}
  - {name: WS1, in: Staff}
groups:
  - {name: Operators, in: Staff, members: [eve]}
`

// Who controls a policy controls the computers and users that it is linked to,
// whatever its security filter, but not where inheritance is blocked.
func TestPolicyControl(t *testing.T) {
	for name, c := range map[string]struct {
		yaml string
		ask  []question
	}{
		"object": {`
policies: [{name: P, permissions: [allow eve write-permissions]}]
links: [{on: Servers, policies: [P]}]`, []question{
			{"eve", "SRV1", "certain", "write-dac policy-applies"},
			{"eve", "SRV2", "none", ""},
			{"eve", "WS1", "none", ""},
		}},
		"enforced": {`
policies: [{name: P, permissions: [allow eve write-all]}]
links: [{on: Servers, policies: [{policy: P, enforced: true}]}]`, []question{
			{"eve", "SRV2", "certain", "write-policy policy-applies"},
		}},
		"disabled link": {`
policies: [{name: P, permissions: [allow eve full-control]}]
links: [{on: Servers, policies: [{policy: P, disabled: true}]}]`, []question{
			{"eve", "SRV1", "none", ""},
		}},
		"filtered away": {`
policies: [{name: P, apply: [Operators], permissions: [allow eve full-control]}]
links: [{on: Servers, policies: [P]}]`, []question{
			{"eve", "SRV1", "certain", "full-control policy-applies"},
		}},
		"users": {`
policies: [{name: P, permissions: [allow eve write gPCUserExtensionNames]}]
links: [{on: Staff, policies: [P]}]`, []question{
			{"eve", "ann", "certain", "write-policy policy-applies"},
			{"eve", "SRV1", "none", ""},
		}},
		"by property": {`
policies: [{name: P, permissions: [allow eve write gPCFileSysPath]}]
links: [{on: Servers, policies: [P]}]`, []question{
			{"eve", "SRV1", "certain", "write-policy policy-applies"},
		}},
		"harmless property": {`
policies: [{name: P, permissions: [allow eve write description]}]
links: [{on: Servers, policies: [P]}]`, []question{
			{"eve", "SRV1", "none", ""},
		}},
		"domain controllers": {`
policies: [{name: P, permissions: [allow eve write-owner]}]
links: [{on: Domain Controllers, policies: [Default Domain Controllers Policy, P]}]`, []question{
			{"eve", "tier0", "certain", "write-owner policy-applies runs-domain"},
		}},
		"site": {`
policies: [{name: P, permissions: [allow eve full-control]}]
links: [{on: site Default-First-Site-Name, policies: [P]}]`, []question{
			{"eve", "SRV1", "certain", "full-control policy-applies"},
		}},
	} {
		t.Run(name, func(t *testing.T) { ask(t, policyForest+c.yaml, c.ask...) })
	}
}

// Who may write gPLink decides about the accounts below, nested and with blocked
// inheritance too (an enforced link passes).
func TestLinkControl(t *testing.T) {
	ask(t, policyForest+`
permissions:
  - {on: Servers, lines: [allow eve write gPLink]}
  - {on: Staff, lines: [allow ann write gPOptions]}`,
		question{"eve", "SRV1", "certain", "write-links link-reaches"},
		question{"eve", "SRV2", "certain", "write-links link-reaches"},
		question{"eve", "WS1", "none", ""},
		question{"ann", "WS1", "none", ""})
	ask(t, policyForest+`
permissions: [{on: Servers, lines: [allow eve write-all]}, {on: Staff, lines: ["(OA;;WP;77b5b886-944a-11d1-aebd-0000f80367c1;;{eve})"]}]`,
		question{"eve", "SRV1", "certain", "write-links link-reaches"},
		question{"eve", "WS1", "none", ""}, // a property set without gPLink
		question{"eve", "ann", "none", ""})
	ask(t, policyForest+`
permissions: [{on: domain, lines: [allow eve link-policies]}]`,
		question{"eve", "tier0", "certain", ""})
}

// Policy makes local administrators, and gives rights that amount to it; on a
// domain controller that is the domain.
func TestHostPower(t *testing.T) {
	ask(t, policyForest+`
policies:
  - name: P
    restricted: {Administrators: {members: [Operators]}}
  - name: Q
    rights:
      SeBackupPrivilege: [Operators]
      SeInteractiveLogonRight: [Operators]
  - name: R
    rights:
      SeDebugPrivilege: [ann]
links:
  - {on: Servers, policies: [P]}
  - {on: Domain Controllers, policies: [Default Domain Controllers Policy, Q]}
  - {on: Servers/Inner, policies: [R]}`,
		question{"eve", "SRV1", "certain", "member local-administrator"},
		question{"ann", "SRV1", "none", ""},
		question{"ann", "SRV2", "possible", "user-right"})
}

// Whoever may join computers gains what Domain Computers have.
func TestNewComputers(t *testing.T) {
	const forest = `fixture: 1
domain: contoso.test
settings: {machine-account-quota: 10}
policies: [{name: D, rights: {SeMachineAccountPrivilege: [%]}}]
links: [{on: Domain Controllers, policies: [D]}]
ous: [{name: Staff}]
users: [{name: eve, in: Staff}, {name: admin2, in: Staff, permissions: [allow "Domain Computers" full-control]}]`
	ask(t, replace(forest, "%", "Authenticated Users"), question{"eve", "admin2", "certain", "identity creates-computers full-control"})
	ask(t, replace(forest, "%", "Domain Admins"), question{"eve", "admin2", "none", ""})
	ask(t, replace(replace(forest, "%", "Authenticated Users"), "quota: 10", "quota: 0"), question{"eve", "admin2", "none", ""})
	undefined := replace(forest, "{SeMachineAccountPrivilege: [%]}", "{SeShutdownPrivilege: [eve]}")
	ask(t, undefined, question{"eve", "admin2", "possible", "identity creates-computers full-control"})
}

// Which policies reach an account does not depend on what was looked at before it:
// not even where an account below, which takes none from further out, comes first.
func TestPolicyAboveBlockedContainer(t *testing.T) {
	ask(t, `
ous:
  - {name: Servers}
  - {name: Inner, in: Servers, block-inheritance: true}
  - {name: Staff}
users:
  - {name: ann, in: Servers/Inner}
  - {name: ben, in: Servers}
  - {name: eve, in: Staff}
groups:
  - {name: Near, in: Staff, members: [ben]}
  - {name: Operators, in: Staff, members: [ann, Near]}
policies: [{name: P, permissions: [allow eve write-permissions]}]
links: [{on: Servers, policies: [P]}]`,
		question{"eve", "Operators", "certain", "write-dac policy-applies member member"})
}
