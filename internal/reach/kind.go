package reach

import "fmt"

// A Kind says by what one principal gains power over an object: a right on it, a
// link, or its place in the directory.
type Kind uint8

// Kinds. Rights come first, strongest first: of several that lead to the same, the
// first is named.
const (
	NoKind Kind = iota

	// Rights on the object itself.
	FullControl
	NullDACL
	WriteDAC
	Owner
	WriteOwner
	ResetPassword
	EnableAccount
	AddMember
	AddSelf
	WriteKeyCredential
	WriteAllowedToAct
	WriteGMSAReaders
	WriteAltSecurityIdentities
	WriteUserPrincipalName
	WriteServicePrincipalName
	WriteAccountControl
	WriteLogonScript
	WriteProfilePath
	ReadLAPS
	WritePolicy
	WritePolicyFiles
	WriteLinks
	CreateDMSA
	WriteDMSA
	ReplicateSecrets
	ReplicateLAPS
	MigrateSIDHistory
	InstallReplica
	CreateComputer
	EnableDelegation
	WriteCACertificate
	WriteTemplate

	// Links and structure.
	Membership
	PrimaryMembership
	WellKnownIdentity
	SIDHistory
	Contains
	ProtectedBy
	PolicyApplies
	LinkReaches
	ReadsGMSAPassword
	HostsServiceAccount
	ActsFor
	Delegates
	DelegatesAny
	RevealsSecrets
	ManagesRODC
	LocalAdministrator
	UserRight
	Succeeds
	DomainOf
	TrustedDomain
	Enrolls
	RunsDomain
	CreatesComputers
	IssuesCertificates
	EnrollsAsGroup
	WritesIdentity
	WeaklyMapped
	WriteRevealed
	Includes

	numKinds
)

// A KindInfo describes a kind.
type KindInfo struct {
	Name   string // stable, for machines: "reset-password"
	Text   string // what the one can do to the other: "may reset the password of"
	Needs  string // what is needed to use it; "" if nothing more
	Yields string // what it gives
	Remove string // how to take it away
}

const (
	removeACE    = "remove the entry"
	yieldsObject = "full control of the object"
	yieldsLogon  = "the account's identity"
)

var kinds = [numKinds]KindInfo{
	FullControl:   {"full-control", "has full control of", "", yieldsObject, removeACE},
	NullDACL:      {"null-dacl", "has full control, as everyone has, of", "", yieldsObject, "set a DACL"},
	WriteDAC:      {"write-dac", "may change the permissions of", "", yieldsObject, removeACE},
	Owner:         {"owner", "owns", "", yieldsObject, "set the owner to Domain Admins"},
	WriteOwner:    {"write-owner", "may take ownership of", "", yieldsObject, removeACE},
	ResetPassword: {"reset-password", "may reset the password of", "the account is enabled and may log on with a password", yieldsLogon, removeACE},
	EnableAccount: {
		"enable-account", "may enable for logon with a password, and reset the password of", "", yieldsLogon, "remove one of the entries",
	},
	AddMember: {"add-member", "may add members to", "", "membership", removeACE},
	AddSelf:   {"add-self", "may add itself to", "", "membership of oneself", removeACE},
	WriteKeyCredential: {
		"write-key-credential", "may add key credentials to", "a domain controller with a certificate for PKINIT", yieldsLogon, removeACE,
	},
	WriteAllowedToAct: {
		"write-allowed-to-act", "may write msDS-AllowedToActOnBehalfOfOtherIdentity of",
		"an account with a service principal name", "the host, as any user that may be delegated", removeACE,
	},
	WriteGMSAReaders: {"write-gmsa-readers", "may choose who reads the password of", "", yieldsLogon, removeACE},
	WriteAltSecurityIdentities: {
		"write-alt-security-identities", "may map certificates to", "a certificate of a trusted issuer", yieldsLogon, removeACE,
	},
	WriteUserPrincipalName: {
		"write-upn", "may change the user principal name of", "certificates mapped by name (weak mapping)", "another account's identity", removeACE,
	},
	WriteServicePrincipalName: {
		"write-spn", "may write service principal names of", "a password that can be guessed", yieldsLogon, removeACE,
	},
	WriteAccountControl: {
		"write-account-control", "may write userAccountControl of", "a password that can be guessed", yieldsLogon, removeACE,
	},
	InstallReplica: {
		"install-replica", "may add domain controllers to", "a computer that it can make one (DCShadow, rogue domain controller)",
		"every account of the domain", removeACE,
	},
	WriteCACertificate: {"write-ca-certificate", "may write the certificates in", "", yieldsObject, removeACE},
	EnableDelegation: {
		"enable-delegation", "may enable an account of its own for delegation in", "SeEnableDelegationPrivilege on domain controllers",
		"its domain controllers, as any user that may be delegated", "take the user right away, or remove the entry",
	},
	CreateComputer:   {"create-computer", "may create computers for", "", "a computer of one's own", removeACE},
	WriteLogonScript: {"write-logon-script", "may choose the logon script of", "the user logs on", yieldsLogon, removeACE},
	WriteProfilePath: {"write-profile-path", "may choose the profile of", "the user logs on", yieldsLogon, removeACE},
	ReadLAPS:         {"read-laps", "may read the local administrator's password of", "", "the host", removeACE},
	WritePolicy:      {"write-policy", "may change the policy", "", "what the policy reaches", removeACE},
	WritePolicyFiles: {"write-policy-files", "may change files of the policy", "", "what the policy reaches", "remove the entry from the file"},
	WriteLinks:       {"write-links", "may link policies to", "a policy of one's own", "computers and users below", removeACE},
	CreateDMSA: {
		"create-dmsa", "may create delegated managed service accounts in", "a domain controller of Windows Server 2025 without the update of August 2025",
		"any account of the domain", removeACE,
	},
	WriteDMSA: {
		"write-dmsa", "may make a successor of", "a domain controller of Windows Server 2025",
		"the account that it succeeds", removeACE,
	},
	ReplicateSecrets: {"replicate-secrets", "may replicate all secrets of", "", "every account of the domain", removeACE},
	ReplicateLAPS:    {"replicate-laps", "may replicate", "", "the local administrators' passwords of its computers", removeACE},
	MigrateSIDHistory: {
		"migrate-sid-history", "may write SID history in", "a trust and auditing as DsAddSidHistory demands", "", removeACE,
	},
	WriteTemplate: {"write-template", "may change the certificate template", "a certification authority that publishes it", "certificates in any name", removeACE},

	Membership:          {"member", "is a member of", "", "membership", "remove the member"},
	PrimaryMembership:   {"primary-group", "has as primary group", "", "membership", "choose another primary group"},
	WellKnownIdentity:   {"identity", "always holds", "", "", ""},
	SIDHistory:          {"sid-history", "has in its SID history", "", "the other's identity", "clear the SID history"},
	Contains:            {"contains", "contains", "the object inherits permissions", yieldsObject, "protect the object's DACL or move it"},
	ProtectedBy:         {"adminsdholder", "is the template of the permissions of", "an hour at most", yieldsObject, ""},
	PolicyApplies:       {"policy-applies", "applies to", "", "the host or user session", "remove the link or filter the policy"},
	LinkReaches:         {"link-reaches", "reaches", "", "the host or user session", "block inheritance or move the object"},
	ReadsGMSAPassword:   {"reads-gmsa-password", "may read the password of", "", yieldsLogon, "remove it from msDS-GroupMSAMembership"},
	HostsServiceAccount: {"hosts-service-account", "runs the service account", "", yieldsLogon, "remove it from msDS-HostServiceAccount"},
	ActsFor:             {"acts-for", "may act as others on", "", "the host, as any user that may be delegated", "remove the entry from msDS-AllowedToActOnBehalfOfOtherIdentity"},
	Delegates:           {"delegates", "may delegate to", "", "the host, as any user that may be delegated", "remove the service from msDS-AllowedToDelegateTo"},
	DelegatesAny: {
		"delegates-any", "receives tickets of whoever connects, so may become", "the other connects to it",
		yieldsLogon, "clear TRUSTED_FOR_DELEGATION",
	},
	RevealsSecrets:     {"reveals-secrets", "may hold the secrets of", "", yieldsLogon, "remove it from msDS-RevealOnDemandGroup"},
	ManagesRODC:        {"manages-rodc", "administers the read-only domain controller", "", "the host", "clear managedBy"},
	LocalAdministrator: {"local-administrator", "is a local administrator of", "", "the host", "change the policy"},
	UserRight:          {"user-right", "has a user right that gives control of", "", "the host", "change the policy"},
	Succeeds:           {"succeeds", "succeeds", "", "the account's identity", "clear msDS-ManagedAccountPrecededByLink"},
	DomainOf:           {"domain", "is the domain of", "", yieldsObject, ""},
	TrustedDomain:      {"trust", "is trusted by", "", "", "remove the trust or filter SIDs"},
	RunsDomain:         {"runs-domain", "holds the database of", "", yieldsObject, ""},
	Includes:           {"includes", "includes", "", "", ""},
	CreatesComputers: {
		"creates-computers", "may join computers, which become members of", "", "membership of a new account",
		"set ms-DS-MachineAccountQuota to 0 and take SeMachineAccountPrivilege away",
	},
	IssuesCertificates: {
		"issues-certificates", "decides which certificates count in", "", "a certificate in any name", "",
	},
	EnrollsAsGroup: {
		"enrolls-as-group", "may get a certificate that counts as membership of", "", "membership", "clear msDS-OIDToGroupLink, or restrict enrollment",
	},
	WritesIdentity: {
		"writes-identity", "may get a certificate in the name that it can give to", "", "another account's identity", removeACE,
	},
	WeaklyMapped:  {"weak-mapping", "is mapped to certificates by name or address:", "", yieldsLogon, "map certificates by issuer and serial number"},
	WriteRevealed: {"write-revealed", "may choose whose secrets go to the read-only domain controller", "", "secrets of the domain's accounts", removeACE},
	Enrolls:       {"enrolls", "may get a certificate in another's name from", "", "any account", removeACE},
}

// Info describes k.
func (k Kind) Info() KindInfo {
	if k >= numKinds {
		return KindInfo{}
	}
	return kinds[k]
}

// String returns the name of k.
func (k Kind) String() string {
	if n := k.Info().Name; n != "" {
		return n
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Kinds lists all kinds.
func Kinds() []Kind {
	var out []Kind
	for k := NoKind + 1; k < numKinds; k++ {
		out = append(out, k)
	}
	return out
}
