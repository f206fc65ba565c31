package secdesc

import "strings"

// sidAlias is a two-letter name of a SID in SDDL ([MS-DTYP] 2.5.1.1). Either sid
// is set, or rid is relative to a domain: the forest root if root is true.
type sidAlias struct {
	code string
	sid  string
	rid  uint32
	root bool
}

// sidAliases is never changed.
var sidAliases = [...]sidAlias{
	{code: "WD", sid: "S-1-1-0"},
	{code: "CO", sid: "S-1-3-0"},
	{code: "CG", sid: "S-1-3-1"},
	{code: "OW", sid: "S-1-3-4"},
	{code: "NU", sid: "S-1-5-2"},
	{code: "IU", sid: "S-1-5-4"},
	{code: "SU", sid: "S-1-5-6"},
	{code: "AN", sid: "S-1-5-7"},
	{code: "ED", sid: "S-1-5-9"},
	{code: "PS", sid: "S-1-5-10"},
	{code: "AU", sid: "S-1-5-11"},
	{code: "RC", sid: "S-1-5-12"},
	{code: "SY", sid: "S-1-5-18"},
	{code: "LS", sid: "S-1-5-19"},
	{code: "NS", sid: "S-1-5-20"},
	{code: "WR", sid: "S-1-5-33"},
	{code: "BA", sid: "S-1-5-32-544"},
	{code: "BU", sid: "S-1-5-32-545"},
	{code: "BG", sid: "S-1-5-32-546"},
	{code: "PU", sid: "S-1-5-32-547"},
	{code: "AO", sid: "S-1-5-32-548"},
	{code: "SO", sid: "S-1-5-32-549"},
	{code: "PO", sid: "S-1-5-32-550"},
	{code: "BO", sid: "S-1-5-32-551"},
	{code: "RE", sid: "S-1-5-32-552"},
	{code: "RU", sid: "S-1-5-32-554"},
	{code: "RD", sid: "S-1-5-32-555"},
	{code: "NO", sid: "S-1-5-32-556"},
	{code: "MU", sid: "S-1-5-32-558"},
	{code: "LU", sid: "S-1-5-32-559"},
	{code: "IS", sid: "S-1-5-32-568"},
	{code: "CY", sid: "S-1-5-32-569"},
	{code: "ER", sid: "S-1-5-32-573"},
	{code: "CD", sid: "S-1-5-32-574"},
	{code: "RA", sid: "S-1-5-32-575"},
	{code: "ES", sid: "S-1-5-32-576"},
	{code: "MS", sid: "S-1-5-32-577"},
	{code: "HA", sid: "S-1-5-32-578"},
	{code: "AA", sid: "S-1-5-32-579"},
	{code: "RM", sid: "S-1-5-32-580"},
	{code: "UD", sid: "S-1-5-84-0-0-0-0-0"},
	{code: "AC", sid: "S-1-15-2-1"},
	{code: "LW", sid: "S-1-16-4096"},
	{code: "ME", sid: "S-1-16-8192"},
	{code: "MP", sid: "S-1-16-8448"},
	{code: "HI", sid: "S-1-16-12288"},
	{code: "SI", sid: "S-1-16-16384"},
	{code: "AS", sid: "S-1-18-1"},
	{code: "SS", sid: "S-1-18-2"},
	{code: "RO", rid: RIDEnterpriseReadOnlyDomainControllers, root: true},
	{code: "LA", rid: RIDAdministrator},
	{code: "LG", rid: RIDGuest},
	{code: "DA", rid: RIDDomainAdmins},
	{code: "DU", rid: RIDDomainUsers},
	{code: "DG", rid: RIDDomainGuests},
	{code: "DC", rid: RIDDomainComputers},
	{code: "DD", rid: RIDDomainControllers},
	{code: "CA", rid: RIDCertPublishers},
	{code: "SA", rid: RIDSchemaAdmins, root: true},
	{code: "EA", rid: RIDEnterpriseAdmins, root: true},
	{code: "PA", rid: RIDGroupPolicyCreatorOwners},
	{code: "CN", rid: RIDCloneableDomainControllers},
	{code: "AP", rid: RIDProtectedUsers},
	{code: "KA", rid: RIDKeyAdmins},
	{code: "EK", rid: RIDEnterpriseKeyAdmins, root: true},
	{code: "RS", rid: RIDRASAndIASServers},
}

// Indexes of sidAliases; never changed.
var (
	aliasBySID = func() map[SID]string {
		m := map[SID]string{}
		for _, a := range sidAliases {
			if a.sid != "" {
				m[MustSID(a.sid)] = a.code
			}
		}
		return m
	}()
	aliasByRID = func() map[uint32]string {
		m := map[uint32]string{}
		for _, a := range sidAliases {
			if a.sid == "" {
				m[a.rid] = a.code
			}
		}
		return m
	}()
	aliasByCode = func() map[string]sidAlias {
		m := map[string]sidAlias{}
		for _, a := range sidAliases {
			m[a.code] = a
		}
		return m
	}()
)

// SDDL returns the form of s in SDDL: a two-letter alias if there is one, of the
// given domain where it is relative to a domain, otherwise S-1-….
func (s SID) SDDL(domain SID) string {
	if code, ok := aliasBySID[s]; ok {
		return code
	}
	if n := len(s.wire); !domain.IsZero() && n == len(domain.wire)+4 && s.wire[1] == domain.wire[1]+1 &&
		s.wire[2:n-4] == domain.wire[2:] {
		rid, _ := s.RID()
		if code, ok := aliasByRID[rid]; ok {
			return code
		}
	}
	return s.String()
}

// letterCode is a code of SDDL with the bits that it stands for.
type letterCode struct {
	code string
	bits uint32
}

// Tables of codes ([MS-DTYP] 2.5.1.1); never changed. Those that are written are
// in the order in which they are written.
var (
	aceTypeCodes = [...]letterCode{
		{"A", uint32(Allow)},
		{"D", uint32(Deny)},
		{"AU", uint32(Audit)},
		{"AL", uint32(Alarm)},
		{"OA", uint32(AllowObject)},
		{"OD", uint32(DenyObject)},
		{"OU", uint32(AuditObject)},
		{"OL", uint32(AlarmObject)},
		{"XA", uint32(AllowCallback)},
		{"XD", uint32(DenyCallback)},
		{"ZA", uint32(AllowCallbackObject)},
		{"XU", uint32(AuditCallback)},
		{"ML", uint32(MandatoryLabel)},
		{"RA", uint32(ResourceAttribute)},
		{"SP", uint32(ScopedPolicyID)},
		{"TL", uint32(ProcessTrustLabel)},
		{"FL", uint32(AccessFilter)},
	}
	aceFlagCodes = []letterCode{
		{"OI", uint32(ObjectInherit)},
		{"CI", uint32(ContainerInherit)},
		{"NP", uint32(NoPropagateInherit)},
		{"IO", uint32(InheritOnly)},
		{"ID", uint32(Inherited)},
		{"SA", uint32(SuccessfulAccess)},
		{"FA", uint32(FailedAccess)},
		{"CR", uint32(critical)},
	}
	// rightsCodes has the order of Samba, not that of Windows (CC DC LC SW …):
	// text is compared with Samba's, and Windows reads any order.
	rightsCodes = []letterCode{
		{"RP", uint32(ReadProperty)},
		{"WP", uint32(WriteProperty)},
		{"CR", uint32(ControlAccess)},
		{"CC", uint32(CreateChild)},
		{"DC", uint32(DeleteChild)},
		{"LC", uint32(ListContents)},
		{"LO", uint32(ListObject)},
		{"RC", uint32(ReadControl)},
		{"WO", uint32(WriteOwner)},
		{"WD", uint32(WriteDAC)},
		{"SD", uint32(Delete)},
		{"DT", uint32(DeleteTree)},
		{"SW", uint32(SelfWrite)},
		{"GA", uint32(GenericAll)},
		{"GR", uint32(GenericRead)},
		{"GW", uint32(GenericWrite)},
		{"GX", uint32(GenericExecute)},
	}
	// compoundRightsCodes are read but not written, as Samba does.
	compoundRightsCodes = []letterCode{
		{"FA", 0x1F01FF},
		{"FR", 0x120089},
		{"FW", 0x120116},
		{"FX", 0x1200A0},
		{"KA", 0xF003F},
		{"KR", 0x20019},
		{"KW", 0x20006},
		{"KX", 0x20019},
	}
	// labelCodes are the rights of mandatory labels ([MS-DTYP] 2.4.4.13).
	labelCodes = []letterCode{
		{"NW", 1},
		{"NR", 2},
		{"NX", 4},
	}
)

// critical is CRITICAL_ACE_FLAG, of scoped policy entries.
const critical ACEFlags = 0x20

// cutCode finds the code that s begins with, whatever its case.
func cutCode(s string, tables ...[]letterCode) (bits uint32, n int, ok bool) {
	for _, table := range tables {
		for _, c := range table {
			if len(s) >= len(c.code) && strings.EqualFold(s[:len(c.code)], c.code) {
				return c.bits, len(c.code), true
			}
		}
	}
	return 0, 0, false
}
