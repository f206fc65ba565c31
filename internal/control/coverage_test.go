package control

import "testing"

// TestGuideIsCovered lists every rule of the guide's appendices C–I and says
// which control decides it, or why none does.
func TestGuideIsCovered(t *testing.T) {
	c := builtinCatalogue(t)
	matrix := map[string]map[string]string{ // select/principals → right → cell
		"member-hosts": {}, "dc-hosts": {},
	}
	for _, e := range c.Entries() {
		if cells := matrix[e.Select]; cells != nil && e.Principals != "" && e.Right != "" {
			cells[e.Principals+" "+e.Right] = e.ID
		}
	}
	r1, r2, r3 := "SeDenyNetworkLogonRight", "SeDenyBatchLogonRight", "SeDenyServiceLogonRight"
	r4, r5 := "SeDenyInteractiveLogonRight", "SeDenyRemoteInteractiveLogonRight"
	for _, row := range []struct {
		hosts, principal string
		rights           []string
	}{
		{"member-hosts", "builtin-administrator", []string{r1, r2, r3, r5}},
		{"dc-hosts", "builtin-administrator", []string{r1, r2, r3, r5}},
		{"member-hosts", "enterprise-admins", []string{r1, r2, r3, r4, r5}},
		{"member-hosts", "domain-admins", []string{r1, r2, r3, r4, r5}},
		{"member-hosts", "administrators", []string{r1, r2, r3}},
		{"dc-hosts", "administrators", []string{"SeNetworkLogonRight", "SeInteractiveLogonRight", "SeRemoteInteractiveLogonRight"}},
		{"member-hosts", "local-administrator", []string{r1, r2, r3, r5}},
		{"member-hosts", "management-accounts", []string{r1, r2, r3, r5}},
		{"dc-hosts", "management-accounts", []string{r2, r3, r5}}, // R1: the account reaches the directory over the network, that is its task
	} {
		for _, r := range row.rights {
			if matrix[row.hosts][row.principal+" "+r] == "" {
				t.Errorf("no control for %s: %s %s", row.hosts, row.principal, r)
			}
		}
	}
	for rule, control := range guideRules {
		if c.Entry(control) == nil {
			t.Errorf("%s: no control %s", rule, control)
		}
	}
}

// guideRules are the rules beside the matrix.
var guideRules = map[string]string{
	"C: Account Operators":            "C-01-account-operators-empty",
	"C: Server Operators":             "C-02-server-operators-empty",
	"C: Print Operators":              "C-03-print-operators-empty",
	"C: Backup Operators":             "C-04-backup-operators-empty",
	"C: Replicator":                   "C-05-replicator-empty",
	"C: Schema Admins":                "C-06-schema-admins-empty",
	"C: Key Admins":                   "C-07-key-admins-empty",
	"C: Enterprise Key Admins":        "C-08-enterprise-key-admins-empty",
	"C: Domain Controllers":           "C-09-domain-controllers-only",
	"C: Read-only Domain Controllers": "C-10-rodc-only",
	"C: krbtgt":                       "T-13-krbtgt-age",
	"C: excluded groups":              "C-11-no-excluded-groups",
	"C: interval":                     "C-12-protect-frequency",
	"C: adminCount":                   "C-13-admincount-orphan",
	"D: sensitive":                    "D-01-sensitive",
	"D: smart card":                   "D-02-smartcard",
	"D: memberships":                  "D-03-default-memberships",
	"D: audit":                        "D-12-audited",
	"D: use":                          "D-13-unused",
	"D: custody":                      "D-14-custody",
	"E: empty":                        "E-01-empty",
	"E: nesting kept":                 "E-03-nested-in-administrators",
	"E: audit":                        "E-10-audited",
	"F: empty":                        "F-01-empty",
	"F: nesting kept":                 "F-03-nested-in-administrators",
	"F: local Administrators kept":    "F-10-kept-in-local-administrators",
	"F: audit":                        "F-11-audited",
	"G: empty":                        "G-01-empty",
	"G: no lockout, local":            "G-06-no-lockout-local",
	"G: no lockout, RDP":              "G-07-no-lockout-rdp",
	"G: audit":                        "G-12-audited",
	"H: disabled":                     "H-06-not-enabled",
	"H: renamed":                      "H-05-renamed",
	"H: not the domain":               "H-13-deny-at-domain",
	"H: jump servers":                 "H-14-deny-on-jump-servers",
	"H: passwords":                    "H-07-laps",
	"H: no services":                  "H-08-service-use",
	"I: (a)(b) AdminSDHolder entries": "I-01-adminsdholder-entries",
	"I: (c) orphans":                  "I-02-orphan-entries",
	"I: (d) disabled":                 "I-03-idle-disabled",
	"I: (e) not its own manager":      "I-11-not-own-manager",
	"I: (f) drift":                    "C-14-protected-descriptor",
	"I: sensitive":                    "I-04-sensitive",
	"I: AES":                          "I-05-aes",
	"I: cannot change password":       "I-06-cannot-change-password",
	"I: denied RODC":                  "I-07-denied-rodc",
	"I: unprivileged":                 "I-08-unprivileged",
	"I: protected DACL":               "I-09-protected-dacl",
	"I: exact entries":                "I-10-exact-dacl",
	"I: deletion":                     "I-12-deletion",
	"I: dial-in":                      "I-13-dial-in",
	"I: remote control":               "I-14-remote-control",
	"I: new password":                 "I-15-password-reset",
	"I: audit":                        "I-16-audited",
	"I: backup account":               "I-17-backup-account",
	"I: group secured":                "I-18-managing-group-protected",
	"I: group type":                   "I-19-managing-group-type",
}
