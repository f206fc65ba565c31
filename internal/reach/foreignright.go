package reach

import "strings"

// foreignRights says what to ask for instead of the words that other tools (BloodHound,
// PowerView, the security dialog) have for rights, which no right of a forest is named
// after. Keys are in lower case, without spaces, hyphens and underscores.
var foreignRights = map[string]string{
	"genericall": everyRight, "fullcontrol": everyRight, "owns": ownsHint, "owner": ownsHint, "ownership": ownsHint,
	"genericwrite":                     `it stands for every write; say which: "write member", "write servicePrincipalName"`,
	"writeproperty":                    `say of which attribute: "write member"`,
	"readproperty":                     `say of which attribute: "read ms-Mcs-AdmPwd"`,
	"createchild":                      `say of which class: "create user"`,
	"deletechild":                      `say of which class: "delete-child user"`,
	"allextendedrights":                `it stands for every extended right; say which: "Reset Password", "DS-Replication-Get-Changes-All"`,
	"extendedright":                    `say which: "Reset Password", "DS-Replication-Get-Changes-All"`,
	"forcechangepassword":              `it is "Reset Password" (User-Force-Change-Password)`,
	"dcsync":                           replicationHint,
	"replicate":                        replicationHint,
	"getchanges":                       `it is "DS-Replication-Get-Changes"`,
	"getchangesall":                    `it is "DS-Replication-Get-Changes-All"`,
	"getchangesinfilteredset":          `it is "DS-Replication-Get-Changes-In-Filtered-Set"`,
	"synclapspassword":                 `it takes two rights on the domain: "DS-Replication-Get-Changes" and "DS-Replication-Get-Changes-In-Filtered-Set"`,
	"addmember":                        `it is "write member"`,
	"addmembers":                       `it is "write member"`,
	"addself":                          `it is "Self-Membership"`,
	"readlapspassword":                 `it is "read ms-Mcs-AdmPwd", with Windows LAPS "read msLAPS-Password" and "read msLAPS-EncryptedPassword"`,
	"readgmsapassword":                 "no entry of the DACL gives it but msDS-GroupMSAMembership of the account; ask who can gain the account, without a right",
	"addallowedtoact":                  `it is "write msDS-AllowedToActOnBehalfOfOtherIdentity"`,
	"allowedtoact":                     `no entry of the DACL gives it; ask who can gain the account, without a right; for who may grant it: "write msDS-AllowedToActOnBehalfOfOtherIdentity"`,
	"allowedtodelegate":                `no entry of the DACL gives it; ask who can gain the account, without a right; for who may grant it: "write msDS-AllowedToDelegateTo"`,
	"addkeycredentiallink":             `it is "write msDS-KeyCredentialLink"`,
	"writespn":                         `it is "write servicePrincipalName"`,
	"writegplink":                      `it is "write gPLink"`,
	"writeaccountrestrictions":         `it is "write User-Account-Restrictions"`,
	"enroll":                           `it is "Certificate-Enrollment"`,
	"autoenroll":                       `it is "Certificate-AutoEnrollment"`,
	"writepkienrollmentflag":           `it is "write msPKI-Enrollment-Flag"`,
	"writepkinameflag":                 `it is "write msPKI-Certificate-Name-Flag"`,
	"writealternatesecurityidentities": `it is "write altSecurityIdentities"`,
}

const (
	everyRight      = `it stands for every right; ask for WRITE_DAC, which gives the others, or without a right who can gain the object`
	ownsHint        = `the owner stands among those who hold WRITE_DAC; who may become it holds WRITE_OWNER`
	replicationHint = `it takes two rights on the domain: "DS-Replication-Get-Changes" and "DS-Replication-Get-Changes-All"; ask for each, or without a right who can gain the domain`
)

// foreignRight returns what to ask for instead of another tool's word for a right.
func foreignRight(text string) (hint string, ok bool) {
	hint, ok = foreignRights[strings.NewReplacer(" ", "", "-", "", "_", "").Replace(strings.ToLower(text))]
	return hint, ok
}
