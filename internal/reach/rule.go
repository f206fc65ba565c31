package reach

import (
	"slices"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A facet is what of an object a right gives. Full control includes all facets.
type facet uint8

const (
	control    facet = iota // full control; of a principal: its identity too
	linking                 // which policies are linked to a container
	creating                // delegated managed service accounts below a container
	owning                  // of an account: its object, beside its identity
	filing                  // the files of a policy
	enrolling               // certificates of a template, or from a certification authority
	revealing               // whose secrets a read-only domain controller may hold
	filtered                // attributes of a domain that read-only controllers lack
	managing                // who administers a read-only domain controller
	naming                  // the user principal name or DNS name of an account
	promoting               // of a domain: a computer that can become its domain controller
	delegating              // of a domain: an account of one's own that can be enabled for delegation
	numFacets
)

// An aspect is how the rights on an object are looked at.
type aspect uint8

const (
	otherAspect aspect = iota
	userAspect
	computerAspect
	serviceAccountAspect // group and delegated managed service accounts
	groupAspect
	containerAspect // anything that policies can be linked to or accounts created in
	domainAspect    // head of a domain naming context
	policyAspect
	templateAspect
	authorityAspect // enrollment services of certification authorities
	storeAspect     // certificates of certification authorities, in their stores
	fileAspect      // files of SYSVOL
	numAspects
)

// A rule says which right on an object of an aspect gives what.
type rule struct {
	kind  Kind
	mask  secdesc.Mask   // all of it is needed
	types []secdesc.GUID // below the object's class in the tree of types; see [secdesc.Request]
	gives facet
	and   *need // a second right that the same token must hold
	cond  cond  // what must hold beside the right
	logon bool  // of use only while the account can log on with a password
	still bool  // of use only while it cannot; a pair of rights by a token as it is
}

// A need is the second half of a rule.
type need struct {
	mask  secdesc.Mask
	types []secdesc.GUID
}

// A cond says under which condition an edge holds that the snapshot cannot decide.
type cond uint8

const (
	certain cond = iota
	ifGuessed
	ifLogsOn
	ifWeakMapping
	ifCertificate
	ifMigration
	ifServer2025
	ifEnabled
	ifCondition
	ifConnects
	ifFilter
	ifDecryptor
	ifOnHost
	ifUnpatched
	ifAgentAllowed
	ifTrustedRoot
	ifNTAuth
	ifAuthenticates
	ifRevealed
	ifSpoofed
	ifQuota
	ifDefault
	ifInSite
	ifTemplate
	ifPublished
	ifUnfiltered
	ifNotRefused
	ifReplica
	numConds
)

var conds = [numConds]string{
	ifGuessed:       "its password can be guessed",
	ifLogsOn:        "the user logs on",
	ifWeakMapping:   "domain controllers map certificates by name (registry, not read)",
	ifCertificate:   "a certificate of an issuer that domain controllers trust can be had",
	ifMigration:     "there is a trust, and auditing, as DsAddSidHistory demands",
	ifServer2025:    "a domain controller of Windows Server 2025 answers that lacks the update of August 2025",
	ifEnabled:       "the account is enabled for logon with a password",
	ifCondition:     "the condition of the entry turns out so",
	ifConnects:      "the other connects to it, or can be made to",
	ifFilter:        "the policy applies (WMI filter, site or unread data decide)",
	ifDecryptor:     "it is the principal that the password was encrypted for",
	ifOnHost:        "it may log on to the host",
	ifUnpatched:     "the certification authority lacks the update for CVE-2024-49019",
	ifAgentAllowed:  "the certification authority does not restrict enrollment agents (registry, not read)",
	ifAuthenticates: "the computer lets it authenticate (selective authentication)",
	ifNTAuth:        "the certificates are among those of NTAuthCertificates",
	ifTrustedRoot:   "the certificate chains to a root that domain controllers trust",
	ifRevealed:      "it controls the read-only domain controller too",
	ifDefault:       "domain controllers have Windows' default for the user right (no policy sets it)",
	ifQuota:         "ms-DS-MachineAccountQuota (not read) is not 0",
	ifInSite:        "the account or computer is in the site (not known)",
	ifTemplate:      "what was not read of the certificate template does not stand against it",
	ifPublished:     "the certification authority publishes the template (not read), and its certificates count for logging on",
	ifUnfiltered:    "the trust (not fully read) lets principals in with SIDs of their choice",
	ifNotRefused:    "msDS-NeverRevealGroup (not read) does not name the account",
	ifReplica:       "a site takes a server object for it, and domain controllers replicate with it",
	ifSpoofed:       "the trust lets the SIDs in its SID history through",
}

// A ruleMaker makes the rules of all aspects from the forest's own schema. Attributes
// and rights that the schema does not have give no rule, or, where the GUID is the
// same in every forest, are taken from well-known constants.
type ruleMaker struct {
	schema *forest.Schema
	rules  [numAspects][]rule
}

// Rights that are the same in every forest ([MS-ADTS] 5.1.3.2.1).
var (
	rightResetPassword      = secdesc.MustGUID("00299570-246d-11d0-a768-00aa006e0529")
	rightGetChanges         = secdesc.MustGUID("1131f6aa-9c07-11d1-f79f-00c04fc2dcd2")
	rightGetChangesAll      = secdesc.MustGUID("1131f6ad-9c07-11d1-f79f-00c04fc2dcd2")
	rightGetChangesFiltered = secdesc.MustGUID("89e95b76-444d-4c62-991a-0facbeda640c")
	rightMigrateHistory     = secdesc.MustGUID("ba33815a-4f93-4c76-87f3-57574bff8109")
	validatedMember         = secdesc.MustGUID("bf9679c0-0de6-11d0-a285-00aa003049e2")
)

func makeRules(schema *forest.Schema) *[numAspects][]rule {
	m := &ruleMaker{schema: schema}
	for a := range numAspects {
		m.right(a, rule{kind: WriteDAC, mask: secdesc.WriteDAC})
		m.right(a, rule{kind: WriteOwner, mask: secdesc.WriteOwner})
	}
	m.accounts()
	m.write(groupAspect, "member", rule{kind: AddMember})
	m.right(groupAspect, rule{kind: AddSelf, mask: secdesc.SelfWrite, types: []secdesc.GUID{validatedMember}})
	m.containers()
	m.right(templateAspect, rule{kind: Enrolls, mask: secdesc.ControlAccess, types: []secdesc.GUID{rightEnroll}, gives: enrolling})
	m.right(authorityAspect, rule{kind: Enrolls, mask: secdesc.ControlAccess, types: []secdesc.GUID{rightEnroll}, gives: enrolling})
	m.write(storeAspect, "cACertificate", rule{kind: WriteCACertificate})
	for _, name := range []string{"gPCFileSysPath", "gPCMachineExtensionNames", "gPCUserExtensionNames"} {
		m.write(policyAspect, name, rule{kind: WritePolicy})
	}
	for _, name := range []string{"msPKI-Certificate-Name-Flag", "msPKI-Enrollment-Flag", "pKIExtendedKeyUsage", "msPKI-Certificate-Application-Policy"} {
		m.write(templateAspect, name, rule{kind: WriteTemplate})
	}
	return &m.rules
}

func (m *ruleMaker) accounts() {
	for _, a := range []aspect{userAspect, computerAspect} {
		m.right(a, rule{kind: ResetPassword, mask: secdesc.ControlAccess, types: []secdesc.GUID{rightResetPassword}, logon: true})
	}
	m.revival()
	for _, a := range []aspect{userAspect, computerAspect, serviceAccountAspect} {
		m.write(a, "msDS-KeyCredentialLink", rule{kind: WriteKeyCredential})
		m.write(a, "altSecurityIdentities", rule{kind: WriteAltSecurityIdentities, cond: ifCertificate})
		m.write(a, "userPrincipalName", rule{kind: WriteUserPrincipalName, gives: naming})
		m.write(a, "dNSHostName", rule{kind: WriteUserPrincipalName, gives: naming})
	}
	for _, a := range []aspect{computerAspect, serviceAccountAspect} {
		m.write(a, "msDS-AllowedToActOnBehalfOfOtherIdentity", rule{kind: WriteAllowedToAct})
	}
	m.write(serviceAccountAspect, "msDS-GroupMSAMembership", rule{kind: WriteGMSAReaders})
	m.succession()
	m.write(userAspect, "servicePrincipalName", rule{kind: WriteServicePrincipalName, cond: ifGuessed})
	m.write(userAspect, "userAccountControl", rule{kind: WriteAccountControl, cond: ifGuessed})
	m.write(userAspect, "scriptPath", rule{kind: WriteLogonScript, cond: ifLogsOn})
	m.write(userAspect, "profilePath", rule{kind: WriteProfilePath, cond: ifLogsOn})
	for _, name := range []string{"ms-Mcs-AdmPwd", "msLAPS-Password"} {
		m.readSecret(computerAspect, name, certain)
	}
	m.readSecret(computerAspect, "msLAPS-EncryptedPassword", ifDecryptor)
	m.write(computerAspect, "msDS-RevealOnDemandGroup", rule{kind: WriteRevealed, gives: revealing})
	m.write(computerAspect, "msDS-NeverRevealGroup", rule{kind: WriteRevealed, gives: revealing})
	m.write(computerAspect, "managedBy", rule{kind: ManagesRODC, gives: managing})
}

// revival adds who can let an account log on with a password of his: one that is
// disabled, or that must use a smart card (guide, app. I).
func (m *ruleMaker) revival() {
	uac := m.schema.Attr("userAccountControl")
	if uac == nil {
		return
	}
	for _, a := range []aspect{userAspect, computerAspect} {
		m.right(a, rule{
			kind: EnableAccount, mask: secdesc.ControlAccess, types: []secdesc.GUID{rightResetPassword}, still: true,
			and: &need{secdesc.WriteProperty, typesOf(uac)},
		})
	}
}

// succession adds who can make a delegated managed service account the successor
// of any account: it takes both attributes.
func (m *ruleMaker) succession() {
	before, state := m.schema.Attr("msDS-ManagedAccountPrecededByLink"), m.schema.Attr("msDS-DelegatedMSAState")
	if before == nil || state == nil {
		return
	}
	m.right(serviceAccountAspect, rule{
		kind: WriteDMSA, mask: secdesc.WriteProperty, types: typesOf(before), gives: creating, cond: ifServer2025,
		and: &need{secdesc.WriteProperty, typesOf(state)},
	})
}

func (m *ruleMaker) containers() {
	for _, a := range []aspect{containerAspect, domainAspect} {
		m.write(a, "gPLink", rule{kind: WriteLinks, gives: linking})
		if c := m.schema.Class("msDS-DelegatedManagedServiceAccount"); c != nil {
			m.right(a, rule{kind: CreateDMSA, mask: secdesc.CreateChild, types: []secdesc.GUID{c.GUID}, gives: creating, cond: ifServer2025})
		}
	}
	m.right(domainAspect, rule{
		kind: ReplicateSecrets, mask: secdesc.ControlAccess, types: []secdesc.GUID{rightGetChanges},
		and: &need{secdesc.ControlAccess, []secdesc.GUID{rightGetChangesAll}},
	})
	m.right(domainAspect, rule{
		kind: ReplicateLAPS, mask: secdesc.ControlAccess, types: []secdesc.GUID{rightGetChanges}, gives: filtered,
		and: &need{secdesc.ControlAccess, []secdesc.GUID{rightGetChangesFiltered}},
	})
	m.right(domainAspect, rule{
		kind: MigrateSIDHistory, mask: secdesc.ControlAccess, types: []secdesc.GUID{rightMigrateHistory}, cond: ifMigration,
	})
}

func (m *ruleMaker) right(a aspect, r rule) { m.rules[a] = append(m.rules[a], r) }

// write adds a rule for writing an attribute, if the forest has it.
func (m *ruleMaker) write(a aspect, attr string, r rule) {
	def := m.schema.Attr(attr)
	if def == nil {
		return
	}
	r.mask, r.types = secdesc.WriteProperty, typesOf(def)
	m.right(a, r)
}

// readSecret adds the rule for reading a confidential attribute: the right to read
// it, and control access to it.
func (m *ruleMaker) readSecret(a aspect, attr string, of cond) {
	def := m.schema.Attr(attr)
	if def == nil {
		return
	}
	r := rule{kind: ReadLAPS, mask: secdesc.ReadProperty, types: typesOf(def), cond: of}
	if def.Confidential() {
		r.and = &need{secdesc.ControlAccess, r.types}
	}
	m.right(a, r)
}

// typesOf returns the path of an attribute in the tree of types, below the class.
func typesOf(def *forest.AttrDef) []secdesc.GUID {
	if def.PropertySet.IsZero() {
		return []secdesc.GUID{def.GUID}
	}
	return []secdesc.GUID{def.PropertySet, def.GUID}
}

// Conditions lists what steps may depend on that snapshots do not tell.
func Conditions() []string { return slices.Clone(conds[1:]) }
