package secdesc

import (
	"slices"
	"strings"
)

// Well-known SIDs that engines need by name ([MS-DTYP] 2.4.2.4). They are values
// and never change.
var (
	Null                        = MustSID("S-1-0-0")
	Everyone                    = MustSID("S-1-1-0")
	CreatorOwner                = MustSID("S-1-3-0")
	CreatorGroup                = MustSID("S-1-3-1")
	OwnerRights                 = MustSID("S-1-3-4")
	Network                     = MustSID("S-1-5-2")
	Batch                       = MustSID("S-1-5-3")
	Interactive                 = MustSID("S-1-5-4")
	Service                     = MustSID("S-1-5-6")
	Anonymous                   = MustSID("S-1-5-7")
	EnterpriseDomainControllers = MustSID("S-1-5-9")
	Self                        = MustSID("S-1-5-10")
	AuthenticatedUsers          = MustSID("S-1-5-11")
	Restricted                  = MustSID("S-1-5-12")
	RemoteInteractiveLogon      = MustSID("S-1-5-14")
	ThisOrganization            = MustSID("S-1-5-15")
	System                      = MustSID("S-1-5-18")
	LocalService                = MustSID("S-1-5-19")
	NetworkService              = MustSID("S-1-5-20")
	OtherOrganization           = MustSID("S-1-5-1000")
	LocalAccount                = MustSID("S-1-5-113")
	LocalAccountAdministrator   = MustSID("S-1-5-114")

	Builtin                        = MustSID("S-1-5-32")
	Administrators                 = MustSID("S-1-5-32-544")
	Users                          = MustSID("S-1-5-32-545")
	Guests                         = MustSID("S-1-5-32-546")
	PowerUsers                     = MustSID("S-1-5-32-547")
	AccountOperators               = MustSID("S-1-5-32-548")
	ServerOperators                = MustSID("S-1-5-32-549")
	PrintOperators                 = MustSID("S-1-5-32-550")
	BackupOperators                = MustSID("S-1-5-32-551")
	Replicator                     = MustSID("S-1-5-32-552")
	PreWindows2000CompatibleAccess = MustSID("S-1-5-32-554")
	RemoteDesktopUsers             = MustSID("S-1-5-32-555")
	NetworkConfigurationOperators  = MustSID("S-1-5-32-556")
	IncomingForestTrustBuilders    = MustSID("S-1-5-32-557")
	DistributedCOMUsers            = MustSID("S-1-5-32-562")
	CryptographicOperators         = MustSID("S-1-5-32-569")
	HyperVAdministrators           = MustSID("S-1-5-32-578")
	RemoteManagementUsers          = MustSID("S-1-5-32-580")
)

// Relative identifiers of accounts and groups that every domain has
// ([MS-DTYP] 2.4.2.4); use them with [SID.Child] of the domain's SID.
const (
	RIDEnterpriseReadOnlyDomainControllers uint32 = 498
	RIDAdministrator                       uint32 = 500
	RIDGuest                               uint32 = 501
	RIDKrbtgt                              uint32 = 502
	RIDDefaultAccount                      uint32 = 503
	RIDDomainAdmins                        uint32 = 512
	RIDDomainUsers                         uint32 = 513
	RIDDomainGuests                        uint32 = 514
	RIDDomainComputers                     uint32 = 515
	RIDDomainControllers                   uint32 = 516
	RIDCertPublishers                      uint32 = 517
	RIDSchemaAdmins                        uint32 = 518 // forest root only
	RIDEnterpriseAdmins                    uint32 = 519 // forest root only
	RIDGroupPolicyCreatorOwners            uint32 = 520
	RIDReadOnlyDomainControllers           uint32 = 521
	RIDCloneableDomainControllers          uint32 = 522
	RIDProtectedUsers                      uint32 = 525
	RIDKeyAdmins                           uint32 = 526
	RIDEnterpriseKeyAdmins                 uint32 = 527 // forest root only
	RIDRASAndIASServers                    uint32 = 553
	RIDAllowedRODCPasswordReplication      uint32 = 571
	RIDDeniedRODCPasswordReplication       uint32 = 572
)

// WellKnownName returns the English name of a SID that means the same in every
// forest, or of an account or group that every domain has; ok is false for all
// others. Names of the former have their authority in front ("BUILTIN\Users");
// those of a domain have none ("Domain Admins"), because the domain is not known
// here.
func WellKnownName(s SID) (name string, ok bool) {
	if name, ok = wellKnownNames[s]; ok {
		return name, true
	}
	if s.IsDomainRelative() && s.count() == 5 {
		rid, _ := s.RID()
		name, ok = domainNames[rid]
		return name, ok
	}
	if s.count() == 3 && s.authority() == 5 && s.sub(0) == 5 {
		return `NT AUTHORITY\LogonSessionId`, true
	}
	return "", false
}

// WellKnownSIDByName is the inverse of [WellKnownName] for SIDs that mean the
// same in every forest. Case does not count, and the authority may be left out
// where the rest is unique.
func WellKnownSIDByName(name string) (s SID, ok bool) {
	short := !strings.Contains(name, `\`)
	var found []SID
	for sid, n := range wellKnownNames {
		if strings.EqualFold(n, name) {
			return sid, true
		}
		if _, tail, has := strings.Cut(n, `\`); short && has && strings.EqualFold(tail, name) {
			found = append(found, sid)
		}
	}
	if len(found) != 1 {
		return SID{}, false
	}
	return found[0], true
}

// DomainRIDByName is the inverse of [WellKnownName] for accounts and groups that
// every domain has. Case does not count.
func DomainRIDByName(name string) (rid uint32, ok bool) {
	for r, n := range domainNames {
		if strings.EqualFold(n, name) {
			return r, true
		}
	}
	return 0, false
}

// WellKnownSIDs returns every SID that means the same in every forest and has a
// name here, in order.
func WellKnownSIDs() []SID {
	out := make([]SID, 0, len(wellKnownNames))
	for s := range wellKnownNames {
		out = append(out, s)
	}
	slices.SortFunc(out, SID.Compare)
	return out
}

// wellKnownNames is never changed.
var wellKnownNames = func() map[SID]string {
	m := make(map[SID]string, len(wellKnownTable))
	for _, e := range wellKnownTable {
		m[MustSID(e.sid)] = e.name
	}
	return m
}()

// wellKnownTable follows [MS-DTYP] 2.4.2.4 and is never changed.
var wellKnownTable = [...]struct{ sid, name string }{
	{"S-1-0-0", "Null SID"},
	{"S-1-1-0", "Everyone"},
	{"S-1-2-0", "Local"},
	{"S-1-2-1", "Console Logon"},
	{"S-1-3-0", "Creator Owner"},
	{"S-1-3-1", "Creator Group"},
	{"S-1-3-2", "Creator Owner Server"},
	{"S-1-3-3", "Creator Group Server"},
	{"S-1-3-4", "Owner Rights"},
	{"S-1-5-1", `NT AUTHORITY\Dialup`},
	{"S-1-5-2", `NT AUTHORITY\Network`},
	{"S-1-5-3", `NT AUTHORITY\Batch`},
	{"S-1-5-4", `NT AUTHORITY\Interactive`},
	{"S-1-5-6", `NT AUTHORITY\Service`},
	{"S-1-5-7", `NT AUTHORITY\Anonymous Logon`},
	{"S-1-5-8", `NT AUTHORITY\Proxy`},
	{"S-1-5-9", `NT AUTHORITY\Enterprise Domain Controllers`},
	{"S-1-5-10", `NT AUTHORITY\Self`},
	{"S-1-5-11", `NT AUTHORITY\Authenticated Users`},
	{"S-1-5-12", `NT AUTHORITY\Restricted`},
	{"S-1-5-13", `NT AUTHORITY\Terminal Server User`},
	{"S-1-5-14", `NT AUTHORITY\Remote Interactive Logon`},
	{"S-1-5-15", `NT AUTHORITY\This Organization`},
	{"S-1-5-17", `NT AUTHORITY\IUSR`},
	{"S-1-5-18", `NT AUTHORITY\System`},
	{"S-1-5-19", `NT AUTHORITY\Local Service`},
	{"S-1-5-20", `NT AUTHORITY\Network Service`},
	{"S-1-5-33", `NT AUTHORITY\Write Restricted`},
	{"S-1-5-113", `NT AUTHORITY\Local account`},
	{"S-1-5-114", `NT AUTHORITY\Local account and member of Administrators group`},
	{"S-1-5-1000", `NT AUTHORITY\Other Organization`},
	{"S-1-5-21-0-0-0-496", `NT AUTHORITY\Compounded Authentication`},
	{"S-1-5-21-0-0-0-497", `NT AUTHORITY\Claims Valid`},
	{"S-1-5-64-10", `NT AUTHORITY\NTLM Authentication`},
	{"S-1-5-64-14", `NT AUTHORITY\SChannel Authentication`},
	{"S-1-5-64-21", `NT AUTHORITY\Digest Authentication`},
	{"S-1-5-65-1", `NT AUTHORITY\This Organization Certificate`},
	{"S-1-5-80", "NT SERVICE"},
	{"S-1-5-80-0", `NT SERVICE\All Services`},
	{"S-1-5-83-0", `NT VIRTUAL MACHINE\Virtual Machines`},
	{"S-1-5-84-0-0-0-0-0", "User Mode Drivers"},
	{"S-1-5-90-0", `Window Manager\Window Manager Group`},
	{"S-1-5-32", "BUILTIN"},
	{"S-1-5-32-544", `BUILTIN\Administrators`},
	{"S-1-5-32-545", `BUILTIN\Users`},
	{"S-1-5-32-546", `BUILTIN\Guests`},
	{"S-1-5-32-547", `BUILTIN\Power Users`},
	{"S-1-5-32-548", `BUILTIN\Account Operators`},
	{"S-1-5-32-549", `BUILTIN\Server Operators`},
	{"S-1-5-32-550", `BUILTIN\Print Operators`},
	{"S-1-5-32-551", `BUILTIN\Backup Operators`},
	{"S-1-5-32-552", `BUILTIN\Replicator`},
	{"S-1-5-32-554", `BUILTIN\Pre-Windows 2000 Compatible Access`},
	{"S-1-5-32-555", `BUILTIN\Remote Desktop Users`},
	{"S-1-5-32-556", `BUILTIN\Network Configuration Operators`},
	{"S-1-5-32-557", `BUILTIN\Incoming Forest Trust Builders`},
	{"S-1-5-32-558", `BUILTIN\Performance Monitor Users`},
	{"S-1-5-32-559", `BUILTIN\Performance Log Users`},
	{"S-1-5-32-560", `BUILTIN\Windows Authorization Access Group`},
	{"S-1-5-32-561", `BUILTIN\Terminal Server License Servers`},
	{"S-1-5-32-562", `BUILTIN\Distributed COM Users`},
	{"S-1-5-32-568", `BUILTIN\IIS_IUSRS`},
	{"S-1-5-32-569", `BUILTIN\Cryptographic Operators`},
	{"S-1-5-32-573", `BUILTIN\Event Log Readers`},
	{"S-1-5-32-574", `BUILTIN\Certificate Service DCOM Access`},
	{"S-1-5-32-575", `BUILTIN\RDS Remote Access Servers`},
	{"S-1-5-32-576", `BUILTIN\RDS Endpoint Servers`},
	{"S-1-5-32-577", `BUILTIN\RDS Management Servers`},
	{"S-1-5-32-578", `BUILTIN\Hyper-V Administrators`},
	{"S-1-5-32-579", `BUILTIN\Access Control Assistance Operators`},
	{"S-1-5-32-580", `BUILTIN\Remote Management Users`},
	{"S-1-5-32-581", `BUILTIN\Default Account`},
	{"S-1-5-32-582", `BUILTIN\Storage Replica Administrators`},
	{"S-1-5-32-583", `BUILTIN\Device Owners`},
	{"S-1-5-32-584", `BUILTIN\User Mode Hardware Operators`},
	{"S-1-5-32-585", `BUILTIN\OpenSSH Users`},
	{"S-1-15-2-1", `APPLICATION PACKAGE AUTHORITY\All Application Packages`},
	{"S-1-16-0", `Mandatory Label\Untrusted Mandatory Level`},
	{"S-1-16-4096", `Mandatory Label\Low Mandatory Level`},
	{"S-1-16-8192", `Mandatory Label\Medium Mandatory Level`},
	{"S-1-16-8448", `Mandatory Label\Medium Plus Mandatory Level`},
	{"S-1-16-12288", `Mandatory Label\High Mandatory Level`},
	{"S-1-16-16384", `Mandatory Label\System Mandatory Level`},
	{"S-1-16-20480", `Mandatory Label\Protected Process Mandatory Level`},
	{"S-1-16-28672", `Mandatory Label\Secure Process Mandatory Level`},
	{"S-1-18-1", "Authentication authority asserted identity"},
	{"S-1-18-2", "Service asserted identity"},
	{"S-1-18-3", "Fresh public key identity"},
	{"S-1-18-4", "Key trust identity"},
	{"S-1-18-5", "Key property multi-factor authentication"},
	{"S-1-18-6", "Key property attestation"},
}

// domainNames is never changed.
var domainNames = map[uint32]string{
	RIDEnterpriseReadOnlyDomainControllers: "Enterprise Read-only Domain Controllers",
	RIDAdministrator:                       "Administrator",
	RIDGuest:                               "Guest",
	RIDKrbtgt:                              "krbtgt",
	RIDDefaultAccount:                      "DefaultAccount",
	504:                                    "WDAGUtilityAccount",
	RIDDomainAdmins:                        "Domain Admins",
	RIDDomainUsers:                         "Domain Users",
	RIDDomainGuests:                        "Domain Guests",
	RIDDomainComputers:                     "Domain Computers",
	RIDDomainControllers:                   "Domain Controllers",
	RIDCertPublishers:                      "Cert Publishers",
	RIDSchemaAdmins:                        "Schema Admins",
	RIDEnterpriseAdmins:                    "Enterprise Admins",
	RIDGroupPolicyCreatorOwners:            "Group Policy Creator Owners",
	RIDReadOnlyDomainControllers:           "Read-only Domain Controllers",
	RIDCloneableDomainControllers:          "Cloneable Domain Controllers",
	RIDProtectedUsers:                      "Protected Users",
	RIDKeyAdmins:                           "Key Admins",
	RIDEnterpriseKeyAdmins:                 "Enterprise Key Admins",
	RIDRASAndIASServers:                    "RAS and IAS Servers",
	RIDAllowedRODCPasswordReplication:      "Allowed RODC Password Replication Group",
	RIDDeniedRODCPasswordReplication:       "Denied RODC Password Replication Group",
}
