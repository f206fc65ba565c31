package control

import (
	"strings"
	"testing"
	"testing/fstest"

	_ "embed"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/forest/fixture"
)

//go:embed testdata/sound.yaml
var soundForest string

//go:embed testdata/managed.yaml
var managedForest string

// changed builds the sound forest, or the one that the change says it extends,
// with one change.
func changed(t testing.TB, change string) *forest.Snapshot {
	t.Helper()
	if !strings.HasPrefix(change, "extends:") {
		change = "extends: sound.yaml\n" + change
	}
	f, err := fixture.ParseFS(fstest.MapFS{
		"sound.yaml":   {Data: []byte(soundForest)},
		"managed.yaml": {Data: []byte(managedForest)},
		"case.yaml":    {Data: []byte("fixture: 1\n" + change)},
	}, "case.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Snapshot(testNow)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// testOptions are the options of all cases.
func testOptions() Options {
	return Options{
		ExemptOUs: []string{"OU=Jump,DC=contoso,DC=test"}, AdminGroups: []string{"Host Operators"},
		VIPGroups: []string{"Executives"},
	}
}

func TestSoundForest(t *testing.T) {
	a := assess(t, builtinCatalogue(t), Input{Snapshot: changed(t, ""), Options: testOptions()})
	for _, f := range a.Findings {
		if f.Outcome == Fail && !soundFails[f.Control] {
			t.Errorf("%s %s [%s]: %s", f.Outcome, f.Control, f.Subject.Name, f.Detail)
		}
		if f.Outcome == Unknown && len(f.Missing) == 0 {
			t.Errorf("%s [%s] is unknown and does not say what is missing", f.Control, f.Subject.Name)
		}
	}
}

// soundFails are controls that even the sound forest fails, because of the
// captured domain it is built on.
var soundFails = map[string]bool{
	"H-07-laps":        true, // the captured schema has no LAPS
	"L-02-well-formed": true, // the default policies of the captured domain have no GptTmpl.inf
}

// find returns the findings of a control.
func find(a *Assessment, id string) []Finding {
	var out []Finding
	for _, f := range a.Findings {
		if f.Control == id {
			out = append(out, f)
		}
	}
	return out
}

func TestCases(t *testing.T) {
	c := builtinCatalogue(t)
	before := assess(t, c, Input{Snapshot: changed(t, ""), Options: testOptions()})
	for _, tt := range cases {
		t.Run(tt.control+"/"+tt.subject, func(t *testing.T) {
			if c.Entry(tt.control) == nil {
				t.Fatalf("no control %s", tt.control)
			}
			for _, f := range find(before, tt.control) {
				if f.Outcome == tt.outcome && strings.EqualFold(f.Subject.Name, tt.subject) {
					t.Fatalf("the sound forest has the finding already: %s", f.Detail)
				}
			}
			only := &Catalogue{entries: []*Entry{c.Entry(tt.control)}}
			a := assess(t, only, Input{Snapshot: changed(t, tt.change), Options: testOptions()})
			for _, f := range find(a, tt.control) {
				if strings.EqualFold(f.Subject.Name, tt.subject) && f.Outcome == tt.outcome {
					checkFinding(t, &f)
					return
				}
			}
			t.Errorf("no %s for %s; findings: %+v", tt.outcome, tt.subject, find(a, tt.control))
		})
	}
}

// checkFinding demands what every finding must have.
func checkFinding(t *testing.T, f *Finding) {
	t.Helper()
	if f.Detail == "" || f.Fix.Text == "" || f.Verify == "" || f.Rationale == "" || f.Reason == "" || f.Section == "" {
		t.Errorf("%s lacks a text: %+v", f.Control, f)
	}
	if f.Outcome == Fail && len(f.Evidence) == 0 {
		t.Errorf("%s [%s] failed without evidence", f.Control, f.Subject.Name)
	}
	if f.Outcome == Unknown && len(f.Missing) == 0 {
		t.Errorf("%s [%s] is unknown and does not say what is missing", f.Control, f.Subject.Name)
	}
	for _, text := range append(f.Fix.Changes, f.Detail) {
		if strings.Contains(text, "<no value>") || strings.Contains(text, "{{") || strings.Contains(text, "executing \"") {
			t.Errorf("%s has a text that was not filled in: %q", f.Control, text)
		}
	}
}

// cases are one change of the sound forest each, and the finding it must give.
var cases = []struct {
	control, subject string
	outcome          Outcome
	change           string
}{
	{"EC-01-no-way-to-tier-0", "ordinary", Fail, "changes: [{object: Domain Admins, sdprop: false, permissions: ['allow ordinary write member']}]"},
	{"EC-01-no-way-to-tier-0", "ordinary", Fail, "changes: [{object: Administrator, sdprop: false, owner: ordinary}]"},
	{"EC-02-no-identity-to-tier-0", "contoso.test", Fail, "changes: [{object: Domain Admins, sdprop: false, permissions: ['allow S-1-5-21-1-2-3-9999 write member']}]"},
	{"D-01-sensitive", "Administrator", Fail, "changes: [{object: Administrator, drop-flags: [sensitive]}]"},
	{"D-02-smartcard", "Administrator", Fail, "changes: [{object: Administrator, drop-flags: [smartcard-required]}]"},
	{"D-03-default-memberships", "Administrator", Fail, "changes: [{object: Domain Admins, drop-members: [Administrator]}]"},
	{"D-13-unused", "Administrator", Fail, "changes: [{object: Administrator, last-logon: 3d}]"},
	{"E-01-empty", "Enterprise Admins", Fail, "changes: [{object: Enterprise Admins, add-members: [ordinary]}]"},
	{"E-02-no-groups", "Enterprise Admins", Fail, "changes: [{object: Enterprise Admins, add-members: [Host Admins]}]"},
	{"E-03-nested-in-administrators", "contoso.test", Fail, "changes: [{object: Administrators, drop-members: [Enterprise Admins]}]"},
	{"F-01-empty", "Domain Admins", Fail, "changes: [{object: Domain Admins, add-members: [Host Admins]}]"},
	{"F-02-no-groups", "Domain Admins", Fail, "changes: [{object: Domain Admins, add-members: [Host Admins]}]"},
	{"F-03-nested-in-administrators", "contoso.test", Fail, "changes: [{object: Administrators, drop-members: [Domain Admins]}]"},
	{"G-01-empty", "Administrators", Fail, "changes: [{object: Administrators, add-members: [ordinary]}]"},
	{"G-02-no-groups", "Administrators", Fail, "changes: [{object: Administrators, add-members: [Host Admins]}]"},
	{"C-01-account-operators-empty", "Account Operators", Fail, "changes: [{object: Account Operators, add-members: [ordinary]}]"},
	{"C-02-server-operators-empty", "Server Operators", Fail, "changes: [{object: Server Operators, add-members: [ordinary]}]"},
	{"C-03-print-operators-empty", "Print Operators", Fail, "changes: [{object: Print Operators, add-members: [ordinary]}]"},
	{"C-04-backup-operators-empty", "Backup Operators", Fail, "changes: [{object: Backup Operators, add-members: [ordinary]}]"},
	{"C-05-replicator-empty", "Replicator", Fail, "changes: [{object: Replicator, add-members: [ordinary]}]"},
	{"C-06-schema-admins-empty", "Schema Admins", Fail, "changes: [{object: Schema Admins, add-members: [ordinary]}]"},
	{"C-09-domain-controllers-only", "Domain Controllers", Fail, "changes: [{object: Domain Controllers, add-members: [ordinary]}]"},
	{"C-10-rodc-only", "Read-only Domain Controllers", Fail, "changes: [{object: Read-only Domain Controllers, add-members: [ordinary]}]"},
	{"C-11-no-excluded-groups", "contoso.test", Fail, `settings: {ds-heuristics: "0000000001000001"}`},
	{"C-13-admincount-orphan", "ordinary", Fail, "changes: [{object: ordinary, set: {adminCount: [\"1\"]}}]"},
	{"C-14-protected-descriptor", "Domain Admins", Fail, "changes: [{object: Domain Admins, sdprop: false, permissions: ['allow ordinary write-all']}]"},
	{"C-15-adminsdholder-owner", "AdminSDHolder", Fail, "changes: [{object: 'CN=AdminSDHolder,CN=System,DC=contoso,DC=test', owner: ordinary}]"},
	{"C-17-protected-owner", "Domain Admins", Fail, "changes: [{object: Domain Admins, sdprop: false, owner: ordinary}]"},
	{"I-01-adminsdholder-entries", "AdminSDHolder", Fail, "changes: [{object: 'CN=AdminSDHolder,CN=System,DC=contoso,DC=test', permissions: ['allow ordinary full-control']}]"},
	{"I-02-orphan-entries", "AdminSDHolder", Fail, "changes: [{object: 'CN=AdminSDHolder,CN=System,DC=contoso,DC=test', permissions: ['(A;;RP;;;S-1-5-21-1-2-3-9999)']}]"},
	{"P-01-privileged-population", "contoso.test", Fail, "bulk: [{users: 8, in: [Staff], name: 'Many {n}', account: 'many{n}', member-of: [Domain Admins], password-set: [1d, 2d], last-logon: [1d, 2d]}]"},
	{"P-02-no-foreign-principals", "Administrators", Fail, "changes: [{object: Administrators, add-members: [S-1-5-21-1-2-3-1104]}]"},
	{"P-03-no-machine-identities", "SRV1$", Fail, "changes: [{object: Backup Operators, add-members: [SRV1]}]"},
	{"P-04-no-disabled-members", "ordinary", Fail, "changes: [{object: ordinary, add-flags: [disabled], }, {object: Domain Admins, add-members: [ordinary]}]"},
	{"P-05-primary-group", "ordinary", Fail, "changes: [{object: Domain Admins, add-members: [ordinary]}, {object: ordinary, primary-group: Domain Admins}]"},
	{"T-01-stale", "ordinary", Fail, "changes: [{object: ordinary, last-logon: 200d}]"},
	{"T-02-never-used", "old", Fail, "users: [{name: old, in: Staff, attributes: {whenCreated: ['20240101000000.0Z']}}]"},
	{"T-03-stale-computer", "WS1$", Fail, "changes: [{object: WS1, last-logon: 200d}]"},
	{"T-04-reenabled", "ordinary", Fail, "changes: [{object: ordinary, last-logon: 200d}]"},
	{"T-05-old-password", "ordinary", Fail, "changes: [{object: ordinary, password-set: 500d}]"},
	{"T-06-old-privileged-password", "ordinary", Fail, "changes: [{object: ordinary, password-set: 500d}, {object: Domain Admins, add-members: [ordinary]}]"},
	{"T-07-never-expires", "ordinary", Fail, "changes: [{object: ordinary, add-flags: [password-never-expires]}]"},
	{"T-08-no-preauth", "ordinary", Fail, "changes: [{object: ordinary, add-flags: [no-preauth]}]"},
	{"T-09-reversible", "ordinary", Fail, "changes: [{object: ordinary, add-flags: [reversible]}]"},
	{"T-10-reversible-policy", "contoso.test", Fail, "settings: {reversible-encryption: true}"},
	{"T-11-password-not-required", "ordinary", Fail, "changes: [{object: ordinary, add-flags: [password-not-required]}]"},
	{"T-12-des", "ordinary", Fail, "changes: [{object: ordinary, add-flags: [des-only]}]"},
	{"T-13-krbtgt-age", "krbtgt", Fail, "changes: [{object: krbtgt, password-set: 400d}]"},
	{"T-14-guest-disabled", "Guest", Fail, "changes: [{object: Guest, drop-flags: [disabled]}]"},
	{"T-15-machine-quota", "contoso.test", Fail, "settings: {machine-account-quota: 10}"},
	{"T-16-pre2000-anonymous", "Pre-Windows 2000 Compatible Access", Fail, "changes: [{object: Pre-Windows 2000 Compatible Access, add-members: [Everyone]}]"},
	{"T-17-pre2000-authenticated", "Pre-Windows 2000 Compatible Access", Fail, "changes: [{object: Pre-Windows 2000 Compatible Access, add-members: [Authenticated Users]}]"},
	{"A-01-smartcard", "ordinary", Fail, "changes: [{object: Domain Admins, add-members: [ordinary]}]"},
	{"A-02-sensitive", "ordinary", Fail, "changes: [{object: Domain Admins, add-members: [ordinary]}]"},
	{"A-03-protected-users", "ordinary", Fail, "changes: [{object: Domain Admins, add-members: [ordinary]}]"},
	{"A-04-silo", "ordinary", Fail, "changes: [{object: Domain Admins, add-members: [ordinary]}]"},
	{"A-05-aes", "ordinary", Fail, "changes: [{object: Domain Admins, add-members: [ordinary]}]"},
	{"A-06-vip-smartcard", "vip", Fail, "changes: [{object: vip, drop-flags: [smartcard-required]}]"},
	{"A-09-duplicate-upn", "ordinary", Fail, "changes: [{object: ordinary, set: {userPrincipalName: [vip@contoso.test]}}]"},
	{"A-10-shadowed-name", "ordinary", Fail, "changes: [{object: ordinary, set: {userPrincipalName: [vip@contoso.test]}}]"},
	{"A-11-upn-missing", "vip", Fail, "changes: [{object: vip, set: {userPrincipalName: []}}]"},
	{"A-12-weak-mapping", "ordinary", Fail, "changes: [{object: ordinary, set: {altSecurityIdentities: ['X509:<S>CN=a']}}]"},
	{"A-15-separate-account", "ordinary", Fail, "changes: [{object: ordinary, set: {mail: [a@contoso.test]}}, {object: Domain Admins, add-members: [ordinary]}]"},
	{"K-01-privileged-spn", "svc", Fail, "users: [{name: svc, in: Staff, spns: [HTTP/x], member-of: [Domain Admins]}]"},
	{"K-02-service-aes", "svc", Fail, "users: [{name: svc, in: Staff, spns: [HTTP/x]}]"},
	{"K-03-unconstrained", "SRV1$", Fail, "changes: [{object: SRV1, add-flags: [trusted-for-delegation]}]"},
	{"K-04-constrained-to-dc", "svc", Fail, "users: [{name: svc, in: Staff, delegates-to: [LDAP/DC1.contoso.test]}]"},
	{"K-05-transition-to-privileged", "svc", Fail, "users: [{name: svc, in: Staff, flags: [protocol-transition], delegates-to: [HTTP/adm]}, {name: adm, in: Staff, spns: [HTTP/adm], member-of: [Domain Admins]}]"},
	{"K-06-rbcd-privileged", "DC9$", Fail, "computers: [{name: DC9, in: Domain Controllers, role: dc, acted-for-by: [ordinary]}]"},
	{"K-07-sidhistory-privileged", "mig", Fail, "users: [{name: mig, in: Staff, sid-history: [S-1-5-21-1-2-3-512]}]"},
	{"K-08-sidhistory-on-privileged", "mig", Fail, "users: [{name: mig, in: Staff, sid-history: [S-1-5-21-1-2-3-4444], member-of: [Domain Admins]}]"},
	{"D-04-deny-network-members", "Servers", Fail, "policies: [{name: Deny privileged, rights: {SeDenyNetworkLogonRight: [Domain Admins]}}]"},
	{"E-04-deny-network", "Workstations", Fail, "policies: [{name: Deny privileged, rights: {SeDenyNetworkLogonRight: [Domain Admins]}}]"},
	{"F-08-deny-rdp", "Servers", Fail, "links: [{on: Servers, policies: []}]"},
	{"G-03-deny-network", "Servers", Fail, "links: [{on: Servers, policies: []}]"},
	{"H-01-deny-network", "Servers", Fail, "links: [{on: Servers, policies: []}]"},
	{"F-07-deny-local", "Servers", Unknown, "wmi-filters: [{name: W, query: SELECT * FROM X}]\npolicies: [{name: Deny privileged, wmi-filter: W}]"},
	{"D-08-deny-network-dc", "Domain Controllers", Fail, "policies: [{name: Domain controllers, rights: {SeDenyNetworkLogonRight: []}}]"},
	{"G-06-no-lockout-local", "Servers", Fail, "policies: [{name: Deny privileged, rights: {SeDenyInteractiveLogonRight: [Administrators]}}]"},
	{"G-07-no-lockout-rdp", "Servers", Fail, "policies: [{name: Deny privileged, rights: {SeDenyRemoteInteractiveLogonRight: [Everyone]}}]"},
	{"G-08-grant-network-dc", "Domain Controllers", Fail, "policies: [{name: Domain controllers, rights: {SeNetworkLogonRight: [Authenticated Users]}}]"},
	{"G-11-not-denied-on-dc", "Domain Controllers", Fail, "policies: [{name: Domain controllers, rights: {SeDenyNetworkLogonRight: [Administrators]}}]"},
	{"E-09-not-denied-on-dc", "Domain Controllers", Fail, "policies: [{name: Domain controllers, rights: {SeDenyInteractiveLogonRight: [Enterprise Admins]}}]"},
	{"F-09-not-denied-on-dc", "Domain Controllers", Fail, "policies: [{name: Domain controllers, rights: {SeDenyInteractiveLogonRight: [Domain Admins]}}]"},
	{"F-10-kept-in-local-administrators", "Servers", Fail, "policies: [{name: Deny privileged, restricted: {Administrators: {members: [Host Admins]}}}]"},
	{"H-06-not-enabled", "Servers", Fail, "policies: [{name: Deny privileged, system-access: {EnableAdminAccount: '1'}}]"},
	{"H-09-no-broad-local-administrators", "Servers", Fail, "policies: [{name: Deny privileged, restricted: {Administrators: {members: [Domain Admins, Domain Users]}}}]"},
	{"H-10-no-user-local-administrators", "Servers", Fail, "policies: [{name: Deny privileged, restricted: {Administrators: {members: [Domain Admins, ordinary]}}}]"},
	{"H-12-no-password-in-policy", "Deny privileged", Fail, "policies: [{name: Deny privileged, files: {Machine/Preferences/Groups/Groups.xml: {text: \"<Groups><User><Properties cpassword='x'/></User></Groups>\"}}}]"},
	{"H-13-deny-at-domain", "Deny privileged", Fail, "links: [{on: domain, policies: [Default Domain Policy, Deny privileged]}]"},
	{"H-14-deny-on-jump-servers", "Jump", Fail, "links: [{on: Jump, policies: [Deny privileged]}]"},
	{"L-01-version", "Deny privileged", Fail, "policies: [{name: Deny privileged, version: 9, gpt-ini-version: 8}]"},
	{"L-03-deny-applied", "Lost", Fail, "policies: [{name: Lost, rights: {SeDenyNetworkLogonRight: [Domain Admins]}}]"},
	{"L-04-empty-deny", "Lost", Fail, "policies: [{name: Lost, rights: {SeDenyNetworkLogonRight: []}}]"},
	{"L-05-wmi", "Deny privileged", Fail, "wmi-filters: [{name: W, query: SELECT * FROM X}]\npolicies: [{name: Deny privileged, wmi-filter: W}]"},
	{"A-07-ama-universal", "Cards", Fail, "groups: [{name: Cards, in: Admins}]\nobjects: [{name: Card, in: 'CN=OID,CN=Public Key Services,CN=Services,CN=Configuration', classes: [top, msPKI-Enterprise-Oid], attributes: {msDS-OIDToGroupLink: [Cards]}}]"},
	{"A-08-ama-empty", "Cards", Fail, "groups: [{name: Cards, in: Admins, scope: universal, members: [ordinary]}]\nobjects: [{name: Card, in: 'CN=OID,CN=Public Key Services,CN=Services,CN=Configuration', classes: [top, msPKI-Enterprise-Oid], attributes: {msDS-OIDToGroupLink: [Cards]}}]"},
	{"C-16-adminsdholder-inheritance", "AdminSDHolder", Fail, "changes: [{object: 'CN=AdminSDHolder,CN=System,DC=contoso,DC=test', protected-dacl: false}]"},
	{"U-01-account-management", "Domain Controllers", Fail, "policies: [{name: Domain controllers, files: {'Machine/Microsoft/Windows NT/Audit/audit.csv': {text: \"Machine Name,Policy Target,Subcategory,Subcategory GUID,Inclusion Setting,Exclusion Setting,Setting Value\\n,System,X,{0cce9235-69ae-11d9-bed3-505054503030},Failure,,2\\n\"}}}]"},
	{"U-02-directory-changes", "Domain Controllers", Fail, "policies: [{name: Domain controllers, files: {'Machine/Microsoft/Windows NT/Audit/audit.csv': {text: \"Machine Name,Policy Target,Subcategory,Subcategory GUID,Inclusion Setting,Exclusion Setting,Setting Value\\n,System,X,{0cce923c-69ae-11d9-bed3-505054503030},Failure,,2\\n\"}}}]"},
	{"U-03-policy-change", "Domain Controllers", Fail, "policies: [{name: Domain controllers, files: {'Machine/Microsoft/Windows NT/Audit/audit.csv': {text: \"Machine Name,Policy Target,Subcategory,Subcategory GUID,Inclusion Setting,Exclusion Setting,Setting Value\\n,System,X,{0cce922f-69ae-11d9-bed3-505054503030},Failure,,2\\n\"}}}]"},
	{"L-02-well-formed", "Deny privileged", Fail, "policies: [{name: Deny privileged, files: {'Machine/Microsoft/Windows NT/SecEdit/GptTmpl.inf': {text: \"[Privilege Rights\\n\"}}}]"},
	{"D-05-deny-batch-members", "Workstations", Fail, "policies: [{name: Deny privileged, rights: {SeDenyBatchLogonRight: [Enterprise Admins, Domain Admins, Administrators, S-1-5-114]}}]"},
	{"D-06-deny-service-members", "Workstations", Fail, "policies: [{name: Deny privileged, rights: {SeDenyServiceLogonRight: [Enterprise Admins, Domain Admins, Administrators, S-1-5-114]}}]"},
	{"D-07-deny-rdp-members", "Workstations", Fail, "policies: [{name: Deny privileged, rights: {SeDenyRemoteInteractiveLogonRight: [Enterprise Admins, Domain Admins, Administrators, S-1-5-114]}}]"},
	{"E-05-deny-batch", "Workstations", Fail, "policies: [{name: Deny privileged, rights: {SeDenyBatchLogonRight: [Administrator, Domain Admins, Administrators, S-1-5-114]}}]"},
	{"E-06-deny-service", "Workstations", Fail, "policies: [{name: Deny privileged, rights: {SeDenyServiceLogonRight: [Administrator, Domain Admins, Administrators, S-1-5-114]}}]"},
	{"E-07-deny-local", "Workstations", Fail, "policies: [{name: Deny privileged, rights: {SeDenyInteractiveLogonRight: [Administrator, Domain Admins, Administrators, S-1-5-114]}}]"},
	{"E-08-deny-rdp", "Workstations", Fail, "policies: [{name: Deny privileged, rights: {SeDenyRemoteInteractiveLogonRight: [Administrator, Domain Admins, Administrators, S-1-5-114]}}]"},
	{"F-04-deny-network", "Workstations", Fail, "policies: [{name: Deny privileged, rights: {SeDenyNetworkLogonRight: [Administrator, Enterprise Admins, Administrators, S-1-5-114]}}]"},
	{"F-05-deny-batch", "Workstations", Fail, "policies: [{name: Deny privileged, rights: {SeDenyBatchLogonRight: [Administrator, Enterprise Admins, Administrators, S-1-5-114]}}]"},
	{"F-06-deny-service", "Workstations", Fail, "policies: [{name: Deny privileged, rights: {SeDenyServiceLogonRight: [Administrator, Enterprise Admins, Administrators, S-1-5-114]}}]"},
	{"F-07-deny-local", "Workstations", Fail, "policies: [{name: Deny privileged, rights: {SeDenyInteractiveLogonRight: [Administrator, Enterprise Admins, Administrators, S-1-5-114]}}]"},
	{"G-04-deny-batch", "Workstations", Fail, "policies: [{name: Deny privileged, rights: {SeDenyBatchLogonRight: [Administrator, Enterprise Admins, Domain Admins, S-1-5-114]}}]"},
	{"G-05-deny-service", "Workstations", Fail, "policies: [{name: Deny privileged, rights: {SeDenyServiceLogonRight: [Administrator, Enterprise Admins, Domain Admins, S-1-5-114]}}]"},
	{"H-02-deny-batch", "Workstations", Fail, "policies: [{name: Deny privileged, rights: {SeDenyBatchLogonRight: [Administrator, Enterprise Admins, Domain Admins, Administrators]}}]"},
	{"H-03-deny-service", "Workstations", Fail, "policies: [{name: Deny privileged, rights: {SeDenyServiceLogonRight: [Administrator, Enterprise Admins, Domain Admins, Administrators]}}]"},
	{"H-04-deny-rdp", "Workstations", Fail, "policies: [{name: Deny privileged, rights: {SeDenyRemoteInteractiveLogonRight: [Administrator, Enterprise Admins, Domain Admins, Administrators]}}]"},
	{"D-09-deny-batch-dc", "Domain Controllers", Fail, "policies: [{name: Domain controllers, rights: {SeDenyBatchLogonRight: [Domain Admins]}}]"},
	{"D-10-deny-service-dc", "Domain Controllers", Fail, "policies: [{name: Domain controllers, rights: {SeDenyServiceLogonRight: [Domain Admins]}}]"},
	{"D-11-deny-rdp-dc", "Domain Controllers", Fail, "policies: [{name: Domain controllers, rights: {SeDenyRemoteInteractiveLogonRight: [Domain Admins]}}]"},
	{"G-09-grant-local-dc", "Domain Controllers", Fail, "policies: [{name: Domain controllers, rights: {SeInteractiveLogonRight: [Domain Admins]}}]"},
	{"G-10-grant-rdp-dc", "Domain Controllers", Fail, "policies: [{name: Domain controllers, rights: {SeRemoteInteractiveLogonRight: [Domain Admins]}}]"},
}
