package configmgr

import (
	"slices"
	"strings"
)

// An Ask is what is wanted of one class of the SMS Provider: the whole request, so
// that whoever reads a site asks for no more than this.
type Ask struct {
	Class   string
	Columns []string // of the rows; no other column is kept
	Filter  string   // OData filter without which the class would yield secrets or far too much; "" is none
	Whole   bool     // the class has lazy columns and refuses $select: rows come whole and are reduced at once
	Slow    bool     // may take many seconds
	Facts   Class    // the class of facts that the rows belong to
	// Optional classes are absent on sites without the feature: not found is then an
	// answer ("none") and no gap.
	Optional bool
}

// Asks returns what is wanted of a site, in the order in which it is best read.
func Asks() []Ask { return asks() }

// Columns returns the columns that are read of a class, nil and false for a class
// that leastwise does not read.
func Columns(class string) (columns []string, ok bool) {
	a, ok := askFor(class)
	return a.Columns, ok
}

// askTable finds what is wanted of a class by its name in lower case. It is not changed.
var askTable = func() map[string]Ask {
	m := map[string]Ask{}
	for _, a := range asks() {
		m[strings.ToLower(a.Class)] = a
	}
	return m
}()

func askFor(class string) (Ask, bool) {
	a, ok := askTable[strings.ToLower(class)]
	return a, ok
}

// The classes of the SMS Provider that are read.
const (
	smsSite         = "SMS_Site"
	sciSite         = "SMS_SCI_SiteDefinition"
	sciReserved     = "SMS_SCI_Reserved"
	sciSysResUse    = "SMS_SCI_SysResUse"
	sciClientComp   = "SMS_SCI_ClientComp"
	sciComponent    = "SMS_SCI_Component"
	sciProperty     = "SMS_SCI_SCProperty"
	sciPropertyList = "SMS_SCI_SCPropertyList"
	sciAddress      = "SMS_SCI_Address"
	smsForest       = "SMS_ADForest"
	smsMigration    = "SMS_MigrationSiteMapping"
	smsAdmin        = "SMS_Admin"
	smsRole         = "SMS_Role"
	smsPackage      = "SMS_Package"
	smsAccess       = "SMS_PackageAccessByUsers"
	smsSequence     = "SMS_TaskSequencePackage"
	smsStep         = "SMS_TaskSequence_Step" // any class of steps, flattened by the export script
	smsVariable     = "SMS_CollectionVariable"
	smsClient       = "SMS_ClientSettings"
)

// asks is the table of classes. Rows of SMS_SCI_SCProperty hold stored values of every
// component, so that the class is never read without its filter.
func asks() []Ask {
	return []Ask{
		{Class: smsSite, Facts: ClassSites, Columns: []string{"SiteCode", "SiteName", "Type", "ReportingSiteCode", "ServerName", "Version", "BuildNumber"}},
		{Class: sciSite, Facts: ClassSites, Columns: []string{"SiteCode", "SiteName", "SiteType", "ParentSiteCode", "SiteServerName", "SiteServerDomain", "SQLServerName", "SQLDatabaseName", "Props"}},
		{Class: sciReserved, Facts: ClassAccounts, Slow: true, Columns: []string{"UserName", "AccountUsage", "SiteCode"}},
		{Class: sciSysResUse, Facts: ClassSiteRoles, Whole: true, Columns: []string{"NetworkOSPath", "RoleName", "SiteCode", "Props"}},
		{Class: sciClientComp, Facts: ClassComponents, Whole: true, Filter: "ItemName eq 'Software Distribution'", Columns: []string{"ItemName", "ClientComponentName", "SiteCode", "PropLists"}},
		{Class: sciComponent, Facts: ClassComponents, Whole: true, Columns: []string{"ItemName", "ComponentName", "SiteCode", "Flag", "Props", "PropLists"}},
		{
			Class: sciProperty, Facts: ClassComponents,
			Filter:  "ItemType eq 'SMS_DISCOVERY_DATA_MANAGER' and (PropertyName eq 'SETTINGS' or PropertyName eq 'ENABLEKERBEROSCHECK' or PropertyName eq 'FILTERS')",
			Columns: []string{"ItemType", "SiteCode", "PropertyName", "Value", "Value1"},
		},
		{
			Class: sciPropertyList, Facts: ClassComponents,
			Filter:  "PropertyListName eq 'Reserved2' or PropertyListName eq 'Network Access User Names'",
			Columns: []string{"ItemType", "SiteCode", "PropertyListName", "Values"},
		},
		{Class: sciAddress, Facts: ClassRoutes, Whole: true, Columns: []string{"SiteCode", "DesSiteCode", "DestinationType", "Props"}},
		{Class: smsForest, Facts: ClassForests, Columns: []string{"ForestFQDN", "Account", "EnableDiscovery", "PublishingPath", "PublishingStatus"}},
		{Class: smsMigration, Facts: ClassMigration, Optional: true, Columns: []string{"Account", "AccountForSql", "SourceSiteCode", "SourceSiteFQDN", "DestinationSiteCode", "IsDeleted", "IsDecommissioned"}},
		{Class: smsAdmin, Facts: ClassAdmins, Whole: true, Columns: []string{"LogonName", "AdminSid", "AccountType", "IsGroup", "Roles", "RoleNames", "CategoryNames", "CollectionNames", "Permissions"}},
		{Class: smsRole, Facts: ClassRoles, Whole: true, Columns: []string{"RoleID", "RoleName", "IsBuiltIn", "Operations"}},
		{Class: smsPackage, Facts: ClassPackages, Optional: true, Columns: []string{"PackageID", "Name"}},
		{Class: smsAccess, Facts: ClassPackages, Columns: []string{"PackageID", "UserName", "Access"}},
		{Class: smsSequence, Facts: ClassSequences, Columns: []string{"PackageID", "Name", "LastRefreshTime"}},
		{
			Class: smsStep, Facts: ClassSequences, Optional: true,
			Columns: []string{"PackageID", "TaskSequenceName", "StepClass", "UserName", "DomainUsername", "CaptureUsername", "CaptureDestination", "NetworkPath"},
		},
		{Class: smsVariable, Facts: ClassVariables, Optional: true, Columns: []string{"CollectionID", "Name"}},
		{
			Class: smsClient, Facts: ClassClient, Whole: true,
			Columns: []string{"SettingsID", "Name", "Priority", "AgentConfigurations", "PermittedViewers", "PermissionRequired", "AccessLevel", "AllowLocalAdminToDoRemoteControl", "EnableRemoteTools", "FirewallExceptionProfiles"},
		},
	}
}

// Synthetic reports whether rows of the class are made by the export script only and
// no such class can be asked of the provider.
func (a Ask) Synthetic() bool { return a.Class == smsStep || a.Class == smsVariable }

// A Never is something that must not be asked for, kept, logged or printed.
type Never struct {
	Class  string // "" is any class
	Column string // or property; a * at its end stands for the rest of the name
	Why    string
}

// NeverCollected lists what must not even be asked for. Reduce drops all of it, by
// these names and by the look of names and values, since it keeps only what is listed.
func NeverCollected() []Never {
	return []Never{
		{sciReserved, "Reserved2", "the encrypted password of the account"},
		{sciReserved, "Props", "carries the encrypted password again"},
		{sciReserved, "PropLists", "carries the encrypted password again"},
		{sciSysResUse, "PXEPassword", "the value; that there is one is kept"},
		{"", "GlobalAccount*", "encrypted accounts of the hierarchy"},
		{sciSite, "ServiceAccountPassword", "old releases: an encrypted password"},
		{sciSite, "SQLAccountPassword", "old releases: an encrypted password"},
		{sciSite, "ServiceExchangeKey", "key material"},
		{sciSite, "ServicePublicKey", "key material"},
		{sciSite, "SQLPublicKey", "key material"},
		{sciSite, "AddressPublicKey", "key material"},
		{"SMS_AAD_Application_Ex", "SecretKey", "the secret of an Entra application"},
		{"SMS_CollectionVariable", "Value", "values of variables often are passwords"},
		{"SMS_MachineVariable", "Value", "values of variables often are passwords"},
		{"SMS_TaskSequencePackage", "Sequence", "holds passwords of steps and values of variables"},
		{"CCM_NetworkAccessAccount", "*", "encrypted name and password of the network access account"},
		{"SC_UserAccount", "Password", "the encrypted password of the account"},
		{"SMS_TaskSequence_CaptureSystemImageAction", "CapturePassword", "a password"},
		{"SMS_TaskSequence_JoinDomainWorkgroupAction", "DomainPassword", "a password"},
		{"SMS_TaskSequence_ApplyNetworkSettingsAction", "DomainPassword", "a password"},
		{"SMS_TaskSequence_ConnectNetworkFolderAction", "UserPassword", "a password"},
		{"SMS_TaskSequence_RunCommandLineAction", "UserPassword", "a password"},
		{"SMS_TaskSequence_RunPowerShellScriptAction", "UserPassword", "a password"},
	}
}

// IsSecret reports whether a column of a class holds a secret: one of NeverCollected,
// or any whose name says so.
func IsSecret(class, column string) bool {
	for _, n := range NeverCollected() {
		if n.Class != "" && !strings.EqualFold(n.Class, class) {
			continue
		}
		stem, open := strings.CutSuffix(n.Column, "*")
		if strings.EqualFold(n.Column, column) || open && len(column) >= len(stem) && strings.EqualFold(column[:len(stem)], stem) {
			return true
		}
	}
	return secretName(column)
}

func secretName(name string) bool {
	low := strings.ToLower(name)
	return slices.ContainsFunc([]string{"password", "passwd", "secret", "cipher", "privatekey", "publickey", "exchangekey"},
		func(word string) bool { return strings.Contains(low, word) })
}

// keptProperty is one value of an embedded property that is read.
type keptProperty struct {
	name  string
	slots []string // Value, Value1, Value2
}

// keptProperties lists the embedded properties that are read of a row, by class and,
// for site systems, by role.
func keptProperties(class, role string) []keptProperty {
	switch class {
	case sciSite:
		return []keptProperty{{"SQLServerFQDN", []string{"Value1"}}, {"IsEnhancedHTTPEnabled", []string{"Value"}}, {"IISSSLState", []string{"Value"}}, {"Full Version", []string{"Value1"}}}
	case sciComponent:
		return []keptProperty{
			{"SETTINGS", []string{"Value", "Value1"}},
			{"ENABLEKERBEROSCHECK", []string{"Value"}},
			{"FILTERS", []string{"Value"}},
			{"EnableSmtpSetting", []string{"Value"}},
			{"AuthenticationMethod", []string{"Value"}},
			{"UserName", []string{"Value1"}},
		}
	case sciAddress:
		return []keptProperty{{"LAN Login", []string{"Value2", "Value1"}}}
	case sciSysResUse:
		return roleProperties(role)
	}
	return nil
}

// roleProperties lists the properties that are read of a role. Sources disagree where
// the account of a management point stands, so both values are read.
func roleProperties(role string) []keptProperty {
	switch role {
	case roleSiteSystem:
		return []keptProperty{
			{"UseMachineAccount", []string{"Value"}},
			{"UserName", []string{"Value2", "Value1"}},
			{"UseProxy", []string{"Value"}},
			{"ProxyUserName", []string{"Value2", "Value1"}},
		}
	case roleManagementPoint:
		return []keptProperty{{"UserName", []string{"Value2", "Value1"}}, {"SslState", []string{"Value"}}}
	case roleSoftwareUpdate:
		return []keptProperty{{"WSUSAccessAccount", []string{"Value2", "Value1"}}, {"UseProxy", []string{"Value"}}, {"ProxyUserName", []string{"Value2", "Value1"}}}
	case roleReporting:
		return []keptProperty{{"Username", []string{"Value2", "Value1"}}}
	case roleMulticast:
		return []keptProperty{{"AuthType", []string{"Value"}}, {"UserName", []string{"Value1", "Value2"}}}
	case roleEnrollment, roleCertificate:
		return []keptProperty{{"UserName", []string{"Value1", "Value2"}}}
	case roleDistribution:
		return []keptProperty{{"IsPXE", []string{"Value"}}, {propPXEPassword, nil}}
	case roleSQL:
		return []keptProperty{{"SQL Server Service Logon Account", []string{"Value2", "Value1"}}}
	}
	return nil
}

// propPXEPassword is the one property of which only the presence is kept.
const propPXEPassword = "PXEPassword"

// keptLists names the embedded lists that are read. The list Reserved2 of the push
// component is a list of account names; the column of that name is a ciphertext.
func keptLists(class string) []string {
	switch class {
	case sciClientComp:
		return []string{listAccess}
	case sciComponent:
		return []string{listPush}
	}
	return nil
}

const (
	listAccess = "Network Access User Names"
	listPush   = "Reserved2"
)
