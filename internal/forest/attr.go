package forest

import "strings"

// An Attr is an attribute that snapshots hold: an index into the table below.
type Attr uint16

// A Syntax says how the values of an attribute are stored.
type Syntax uint8

// Syntaxes.
const (
	Text       Syntax = iota + 1 // Unicode or IA5 string
	Integer                      // integer, large integer, FILETIME ticks (100 ns since 1601): int64
	Time                         // generalized time: stored as seconds since 1970
	Boolean                      // stored as 0 or 1
	Octets                       // bytes as received
	Link                         // distinguished name of another object, kept both ways
	Descriptor                   // security descriptor, interned
)

// NumAttrs is the number of attributes in the table.
const NumAttrs = int(numAttrs)

// Attributes with their lDAPDisplayName and syntax. The order is not part of the
// file format: files name their columns.
const (
	noAttr Attr = iota

	// Every object. The object's SID, GUID, class and descriptor are not
	// attributes here: Snapshot.SID, GUID, Class, Descriptor.
	AdminCount
	Description
	DisplayName
	InstanceType
	IsCriticalSystemObject
	IsDeleted
	ManagedBy
	SystemFlags
	WhenChanged
	WhenCreated

	// Accounts.
	AccountExpires
	AltSecurityIdentities
	LastLogonTimestamp
	LockoutTime
	Mail
	MsDSAllowedToActOnBehalfOfOtherIdentity
	MsDSAllowedToDelegateTo
	MsDSAssignedAuthNPolicy
	MsDSAssignedAuthNPolicySilo
	MsDSKeyCredentialLink
	MsDSSupportedEncryptionTypes
	MsNPAllowDialin
	PrimaryGroupID
	ProfilePath
	PwdLastSet
	SAMAccountName
	SAMAccountType
	ScriptPath
	ServicePrincipalName
	SIDHistory
	UserAccountControl
	UserParameters
	UserPrincipalName
	UserWorkstations

	// Computers and managed service accounts.
	DNSHostName
	MsDSDelegatedMSAState
	MsDSGroupMSAMembership
	MsDSHostServiceAccount
	MsDSKrbTgtLink
	MsDSManagedAccountPrecededByLink
	MsDSNeverRevealGroup
	MsDSRevealOnDemandGroup
	MsLAPSPasswordExpirationTime
	MsMcsAdmPwdExpirationTime
	OperatingSystem
	OperatingSystemVersion

	// What Configuration Manager publishes, and who answers network boots.
	MsSMSMPName
	MsSMSSiteCode
	MsSMSSourceForest
	MsSMSVersion
	NetbootServer

	// Groups.
	GroupType
	Member

	// Containers, domains and group policy.
	GPCFileSysPath
	GPCFunctionalityVersion
	GPCMachineExtensionNames
	GPCUserExtensionNames
	GPCWQLFilter
	GPLink
	GPOptions
	Flags
	VersionNumber
	FSMORoleOwner
	LockoutDuration
	LockoutObservationWindow
	LockoutThreshold
	MaxPwdAge
	MinPwdAge
	MinPwdLength
	PwdHistoryLength
	PwdProperties
	MsDSBehaviorVersion
	MsDSMachineAccountQuota
	NTMixedDomain
	WellKnownObjects
	MsWMIName
	MsWMIParm2

	// Password settings objects, authentication policies and silos, issuance policies.
	MsDSPSOAppliesTo
	MsDSPasswordSettingsPrecedence
	MsDSMinimumPasswordLength
	MsDSMaximumPasswordAge
	MsDSPasswordReversibleEncryptionEnabled
	MsDSAuthNPolicySiloEnforced
	MsDSAuthNPolicySiloMembers
	MsDSAuthNPolicyEnforced
	MsDSUserAuthNPolicy
	MsDSUserTGTLifetime
	MsDSUserAllowedToAuthenticateFrom
	MsDSOIDToGroupLink
	MsPKICertTemplateOID

	// Configuration: cross-references, sites, servers, directory service, trusts.
	DNSRoot
	NCName
	NETBIOSName
	TrustParent
	DSHeuristics
	TombstoneLifetime
	MsDSEnabledFeature
	Options
	ServerReference
	SiteObject
	HasMasterNCs
	FlatName
	SecurityIdentifier
	TrustAttributes
	TrustDirection
	TrustPartner
	TrustType

	// Certificate services.
	CACertificate
	CertificateTemplates
	MsPKICertificateApplicationPolicy
	MsPKICertificateNameFlag
	MsPKICertificatePolicy
	MsPKIEnrollmentFlag
	MsPKIRAApplicationPolicies
	MsPKIRASignature
	MsPKITemplateSchemaVersion
	PKIExtendedKeyUsage

	// Schema and extended rights.
	AppliesTo
	AttributeSecurityGUID
	AttributeSyntax
	AuxiliaryClass
	DefaultSecurityDescriptor
	IsDefunct
	LDAPDisplayName
	LinkID
	MayContain
	MustContain
	ObjectClassCategory
	ObjectVersion
	OMSyntax
	PossSuperiors
	RightsGUID
	SchemaIDGUID
	SearchFlags
	SubClassOf
	SystemAuxiliaryClass
	SystemMayContain
	SystemMustContain
	SystemOnly
	SystemPossSuperiors
	ValidAccesses

	numAttrs
)

// attrs is indexed by Attr.
var attrs = [numAttrs]struct {
	name   string
	syntax Syntax
}{
	AdminCount:                              {"adminCount", Integer},
	Description:                             {"description", Text},
	DisplayName:                             {"displayName", Text},
	InstanceType:                            {"instanceType", Integer},
	IsCriticalSystemObject:                  {"isCriticalSystemObject", Boolean},
	IsDeleted:                               {"isDeleted", Boolean},
	ManagedBy:                               {"managedBy", Link},
	SystemFlags:                             {"systemFlags", Integer},
	WhenChanged:                             {"whenChanged", Time},
	WhenCreated:                             {"whenCreated", Time},
	AccountExpires:                          {"accountExpires", Integer},
	AltSecurityIdentities:                   {"altSecurityIdentities", Text},
	LastLogonTimestamp:                      {"lastLogonTimestamp", Integer},
	LockoutTime:                             {"lockoutTime", Integer},
	Mail:                                    {"mail", Text},
	MsDSAllowedToActOnBehalfOfOtherIdentity: {"msDS-AllowedToActOnBehalfOfOtherIdentity", Descriptor},
	MsDSAllowedToDelegateTo:                 {"msDS-AllowedToDelegateTo", Text},
	MsDSAssignedAuthNPolicy:                 {"msDS-AssignedAuthNPolicy", Link},
	MsDSAssignedAuthNPolicySilo:             {"msDS-AssignedAuthNPolicySilo", Link},
	MsDSKeyCredentialLink:                   {"msDS-KeyCredentialLink", Octets},
	MsDSSupportedEncryptionTypes:            {"msDS-SupportedEncryptionTypes", Integer},
	MsNPAllowDialin:                         {"msNPAllowDialin", Boolean},
	PrimaryGroupID:                          {"primaryGroupID", Integer},
	ProfilePath:                             {"profilePath", Text},
	PwdLastSet:                              {"pwdLastSet", Integer},
	SAMAccountName:                          {"sAMAccountName", Text},
	SAMAccountType:                          {"sAMAccountType", Integer},
	ScriptPath:                              {"scriptPath", Text},
	ServicePrincipalName:                    {"servicePrincipalName", Text},
	SIDHistory:                              {"sIDHistory", Octets},
	UserAccountControl:                      {"userAccountControl", Integer},
	UserParameters:                          {"userParameters", Octets},
	UserPrincipalName:                       {"userPrincipalName", Text},
	UserWorkstations:                        {"userWorkstations", Text},
	DNSHostName:                             {"dNSHostName", Text},
	MsDSDelegatedMSAState:                   {"msDS-DelegatedMSAState", Integer},
	MsDSGroupMSAMembership:                  {"msDS-GroupMSAMembership", Descriptor},
	MsDSHostServiceAccount:                  {"msDS-HostServiceAccount", Link},
	MsDSKrbTgtLink:                          {"msDS-KrbTgtLink", Link},
	MsDSManagedAccountPrecededByLink:        {"msDS-ManagedAccountPrecededByLink", Link},
	MsDSNeverRevealGroup:                    {"msDS-NeverRevealGroup", Link},
	MsDSRevealOnDemandGroup:                 {"msDS-RevealOnDemandGroup", Link},
	MsLAPSPasswordExpirationTime:            {"msLAPS-PasswordExpirationTime", Integer},
	MsMcsAdmPwdExpirationTime:               {"ms-Mcs-AdmPwdExpirationTime", Integer},
	OperatingSystem:                         {"operatingSystem", Text},
	OperatingSystemVersion:                  {"operatingSystemVersion", Text},
	MsSMSMPName:                             {"mSSMSMPName", Text},
	MsSMSSiteCode:                           {"mSSMSSiteCode", Text},
	MsSMSSourceForest:                       {"mSSMSSourceForest", Text},
	MsSMSVersion:                            {"mSSMSVersion", Text},
	NetbootServer:                           {"netbootServer", Link},
	GroupType:                               {"groupType", Integer},
	Member:                                  {"member", Link},
	GPCFileSysPath:                          {"gPCFileSysPath", Text},
	GPCFunctionalityVersion:                 {"gPCFunctionalityVersion", Integer},
	GPCMachineExtensionNames:                {"gPCMachineExtensionNames", Text},
	GPCUserExtensionNames:                   {"gPCUserExtensionNames", Text},
	GPCWQLFilter:                            {"gPCWQLFilter", Text},
	GPLink:                                  {"gPLink", Text},
	GPOptions:                               {"gPOptions", Integer},
	Flags:                                   {"flags", Integer},
	VersionNumber:                           {"versionNumber", Integer},
	FSMORoleOwner:                           {"fSMORoleOwner", Link},
	LockoutDuration:                         {"lockoutDuration", Integer},
	LockoutObservationWindow:                {"lockoutObservationWindow", Integer},
	LockoutThreshold:                        {"lockoutThreshold", Integer},
	MaxPwdAge:                               {"maxPwdAge", Integer},
	MinPwdAge:                               {"minPwdAge", Integer},
	MinPwdLength:                            {"minPwdLength", Integer},
	PwdHistoryLength:                        {"pwdHistoryLength", Integer},
	PwdProperties:                           {"pwdProperties", Integer},
	MsDSBehaviorVersion:                     {"msDS-Behavior-Version", Integer},
	MsDSMachineAccountQuota:                 {"ms-DS-MachineAccountQuota", Integer},
	NTMixedDomain:                           {"nTMixedDomain", Integer},
	WellKnownObjects:                        {"wellKnownObjects", Text},
	MsWMIName:                               {"msWMI-Name", Text},
	MsWMIParm2:                              {"msWMI-Parm2", Text},
	MsDSPSOAppliesTo:                        {"msDS-PSOAppliesTo", Link},
	MsDSPasswordSettingsPrecedence:          {"msDS-PasswordSettingsPrecedence", Integer},
	MsDSMinimumPasswordLength:               {"msDS-MinimumPasswordLength", Integer},
	MsDSMaximumPasswordAge:                  {"msDS-MaximumPasswordAge", Integer},
	MsDSPasswordReversibleEncryptionEnabled: {"msDS-PasswordReversibleEncryptionEnabled", Boolean},
	MsDSAuthNPolicySiloEnforced:             {"msDS-AuthNPolicySiloEnforced", Boolean},
	MsDSAuthNPolicySiloMembers:              {"msDS-AuthNPolicySiloMembers", Link},
	MsDSAuthNPolicyEnforced:                 {"msDS-AuthNPolicyEnforced", Boolean},
	MsDSUserAuthNPolicy:                     {"msDS-UserAuthNPolicy", Link},
	MsDSUserTGTLifetime:                     {"msDS-UserTGTLifetime", Integer},
	MsDSUserAllowedToAuthenticateFrom:       {"msDS-UserAllowedToAuthenticateFrom", Octets},
	MsDSOIDToGroupLink:                      {"msDS-OIDToGroupLink", Link},
	MsPKICertTemplateOID:                    {"msPKI-Cert-Template-OID", Text},
	DNSRoot:                                 {"dnsRoot", Text},
	NCName:                                  {"nCName", Link},
	NETBIOSName:                             {"nETBIOSName", Text},
	TrustParent:                             {"trustParent", Link},
	DSHeuristics:                            {"dSHeuristics", Text},
	TombstoneLifetime:                       {"tombstoneLifetime", Integer},
	MsDSEnabledFeature:                      {"msDS-EnabledFeature", Link},
	Options:                                 {"options", Integer},
	ServerReference:                         {"serverReference", Link},
	SiteObject:                              {"siteObject", Link},
	HasMasterNCs:                            {"hasMasterNCs", Link},
	FlatName:                                {"flatName", Text},
	SecurityIdentifier:                      {"securityIdentifier", Octets},
	TrustAttributes:                         {"trustAttributes", Integer},
	TrustDirection:                          {"trustDirection", Integer},
	TrustPartner:                            {"trustPartner", Text},
	TrustType:                               {"trustType", Integer},
	CACertificate:                           {"cACertificate", Octets},
	CertificateTemplates:                    {"certificateTemplates", Text},
	MsPKICertificateApplicationPolicy:       {"msPKI-Certificate-Application-Policy", Text},
	MsPKICertificateNameFlag:                {"msPKI-Certificate-Name-Flag", Integer},
	MsPKICertificatePolicy:                  {"msPKI-Certificate-Policy", Text},
	MsPKIEnrollmentFlag:                     {"msPKI-Enrollment-Flag", Integer},
	MsPKIRAApplicationPolicies:              {"msPKI-RA-Application-Policies", Text},
	MsPKIRASignature:                        {"msPKI-RA-Signature", Integer},
	MsPKITemplateSchemaVersion:              {"msPKI-Template-Schema-Version", Integer},
	PKIExtendedKeyUsage:                     {"pKIExtendedKeyUsage", Text},
	AppliesTo:                               {"appliesTo", Text},
	AttributeSecurityGUID:                   {"attributeSecurityGUID", Octets},
	AttributeSyntax:                         {"attributeSyntax", Text},
	AuxiliaryClass:                          {"auxiliaryClass", Text},
	DefaultSecurityDescriptor:               {"defaultSecurityDescriptor", Text},
	IsDefunct:                               {"isDefunct", Boolean},
	LDAPDisplayName:                         {"lDAPDisplayName", Text},
	LinkID:                                  {"linkID", Integer},
	MayContain:                              {"mayContain", Text},
	MustContain:                             {"mustContain", Text},
	ObjectClassCategory:                     {"objectClassCategory", Integer},
	ObjectVersion:                           {"objectVersion", Integer},
	OMSyntax:                                {"oMSyntax", Integer},
	PossSuperiors:                           {"possSuperiors", Text},
	RightsGUID:                              {"rightsGuid", Text},
	SchemaIDGUID:                            {"schemaIDGUID", Octets},
	SearchFlags:                             {"searchFlags", Integer},
	SubClassOf:                              {"subClassOf", Text},
	SystemAuxiliaryClass:                    {"systemAuxiliaryClass", Text},
	SystemMayContain:                        {"systemMayContain", Text},
	SystemMustContain:                       {"systemMustContain", Text},
	SystemOnly:                              {"systemOnly", Boolean},
	SystemPossSuperiors:                     {"systemPossSuperiors", Text},
	ValidAccesses:                           {"validAccesses", Integer},
}

// String returns the lDAPDisplayName.
func (a Attr) String() string {
	if a >= numAttrs {
		return ""
	}
	return attrs[a].name
}

// Syntax returns how values of a are stored.
func (a Attr) Syntax() Syntax { return attrs[a].syntax }

// isText reports whether values are stored as bytes.
func (a Attr) isText() bool { s := a.Syntax(); return s == Text || s == Octets }

// attrByName maps lower-case lDAPDisplayNames to attributes.
var attrByName = func() map[string]Attr {
	m := make(map[string]Attr, numAttrs)
	for a := noAttr + 1; a < numAttrs; a++ {
		m[strings.ToLower(attrs[a].name)] = a
	}
	return m
}()

// AttrByName finds an attribute by lDAPDisplayName, ignoring case; ok is false if
// snapshots do not hold it.
func AttrByName(name string) (a Attr, ok bool) {
	a, ok = attrByName[strings.ToLower(name)]
	return a, ok
}

// Attrs lists the attributes that snapshots hold, in table order.
func Attrs() []Attr {
	out := make([]Attr, 0, numAttrs-1)
	for a := noAttr + 1; a < numAttrs; a++ {
		out = append(out, a)
	}
	return out
}
