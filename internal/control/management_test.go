package control

import (
	"fmt"
	"strings"
	"testing"
)

// managed is what a case changes of the forest with management accounts.
func managed(change string) string { return "extends: managed.yaml\n" + change }

// Every control of appendix I passes in the forest whose management accounts are
// as they should be, but for what a directory cannot tell.
func TestManagementAccountsPass(t *testing.T) {
	a := assess(t, builtinCatalogue(t), Input{Snapshot: changed(t, managed("")), Options: testOptions()})
	for _, c := range a.Controls {
		if !strings.HasPrefix(c.ID, "I-") || undecidable[c.ID] {
			continue
		}
		if c.Pass == 0 || c.Fail+c.Unknown != 0 {
			t.Errorf("%s: %d passes, %d failures, %d unknown: %+v", c.ID, c.Pass, c.Fail, c.Unknown, find(a, c.ID))
		}
	}
}

// undecidable are the controls of appendix I that no fixture can pass: fixtures
// have no SACLs.
var undecidable = map[string]bool{"I-16-audited": true}

// TestManagementAccountsFail breaks one rule of appendix I at a time.
func TestManagementAccountsFail(t *testing.T) {
	c := builtinCatalogue(t)
	for _, tt := range []struct {
		control, subject string
		outcome          Outcome
		change           string
	}{
		{"I-03-idle-disabled", "mgmt1", Fail, "changes: [{object: mgmt1, drop-flags: [disabled]}]"},
		{"I-04-sensitive", "mgmt1", Fail, "changes: [{object: mgmt1, drop-flags: [sensitive]}]"},
		{"I-05-aes", "mgmt1", Fail, "changes: [{object: mgmt1, set: {msDS-SupportedEncryptionTypes: ['28']}}]"},
		{"I-06-cannot-change-password", "mgmt1", Fail, "changes: [{object: mgmt1, drop-permissions-of: [SELF]}]"},
		{"I-07-denied-rodc", "mgmt1", Fail, "changes: [{object: Denied RODC Password Replication Group, drop-members: [mgmt1]}]"},
		{"I-08-unprivileged", "mgmt1", Fail, "changes: [{object: Backup Operators, add-members: [mgmt1]}]"},
		{"I-09-protected-dacl", "mgmt1", Fail, "changes: [{object: mgmt1, protected-dacl: false}]"},
		{"I-10-exact-dacl", "mgmt1", Fail, "changes: [{object: mgmt1, permissions: ['allow \"Host Admins\" write displayName']}]"},
		{"I-11-not-own-manager", "mgmt1", Fail, "changes: [{object: Enablers, add-members: [mgmt1]}]"},
		{"I-12-deletion", "mgmt1", Fail, "changes: [{object: mgmt1, drop-permissions-of: [Everyone]}]"},
		{"I-13-dial-in", "mgmt1", Fail, "changes: [{object: mgmt1, set: {msNPAllowDialin: []}}]"},
		{"I-13-dial-in", "mgmt2", Fail, "changes: [{object: mgmt2, set: {msNPAllowDialin: ['TRUE']}}]"},
		{"I-14-remote-control", "mgmt1", Unknown, "changes: [{object: mgmt1, set: {userParameters: [CtxShadow]}}]"},
		{"I-14-remote-control", "mgmt1", Fail, "changes: [{object: mgmt1, set: {userParameters: []}}]"},
		{"I-14-remote-control", "mgmt1", Fail, fmt.Sprintf("changes: [{object: mgmt1, set: {userParameters: [%q]}}]", terminalOf(2))},
		{"I-15-password-reset", "mgmt1", Fail, "changes: [{object: mgmt1, password-set: 30d}]"},
		{"I-16-audited", "mgmt1", Unknown, "changes: [{object: mgmt1, sddl: 'O:DAG:DAD:P(A;;RPLCLORC;;;AU)'}]"},
		{"I-17-backup-account", "contoso.test", Fail, "changes: [{object: 'CN=AdminSDHolder,CN=System', drop-permissions-of: [mgmt2]}]"},
		{"I-18-managing-group-protected", "Enablers", Fail, "changes: [{object: Enablers, permissions: ['allow \"Host Admins\" manage-members']}]"},
		{"I-19-managing-group-type", "Enablers", Fail, "changes: [{object: Enablers, set: {groupType: ['-2147483644']}}]"},
		{"I-20-managing-group-deletion", "Enablers", Fail, "changes: [{object: Enablers, drop-permissions-of: [Everyone]}]"},
		{"I-21-deny-network-members", "Servers", Fail, "policies: [{name: Deny privileged, rights: {SeDenyNetworkLogonRight: [mgmt2]}}]"},
		{"I-22-deny-batch-members", "Servers", Fail, "policies: [{name: Deny privileged, rights: {SeDenyBatchLogonRight: [Administrator]}}]"},
		{"I-23-deny-service-members", "Servers", Fail, "policies: [{name: Deny privileged, rights: {SeDenyServiceLogonRight: [Administrator]}}]"},
		{"I-24-deny-rdp-members", "Servers", Fail, "policies: [{name: Deny privileged, rights: {SeDenyRemoteInteractiveLogonRight: []}}]"},
		{"I-25-deny-batch-dc", "Domain Controllers", Fail, "policies: [{name: Domain controllers, rights: {SeDenyBatchLogonRight: [Administrator]}}]"},
		{"I-26-deny-service-dc", "Domain Controllers", Fail, "policies: [{name: Domain controllers, rights: {SeDenyServiceLogonRight: [Administrator]}}]"},
		{"I-27-deny-rdp-dc", "Domain Controllers", Fail, "policies: [{name: Domain controllers, rights: {SeDenyRemoteInteractiveLogonRight: [Administrator]}}]"},
	} {
		t.Run(tt.control+"/"+tt.subject, func(t *testing.T) {
			only := &Catalogue{entries: []*Entry{c.Entry(tt.control)}}
			a := assess(t, only, Input{Snapshot: changed(t, managed(tt.change)), Options: testOptions()})
			for _, f := range a.Findings {
				if f.Subject.Name == tt.subject && f.Outcome == tt.outcome {
					checkFinding(t, &f)
					return
				}
			}
			t.Errorf("no %s for %s; findings: %+v", tt.outcome, tt.subject, a.Findings)
		})
	}
}
