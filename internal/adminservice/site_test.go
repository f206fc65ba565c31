package adminservice

import (
	"fmt"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/lab/standin"
)

type (
	row   = standin.Row
	table = standin.Table
)

// secret is what nothing may remember. It stands in every column that is not wanted,
// and in every one that holds a secret.
const secret = "Pl4nted-Secret"

// prop is an embedded property with a secret where values are not read.
func prop(name string, value any, value1, value2 string) row {
	return row{"PropertyName": name, "Value": value, "Value1": value1, "Value2": value2, "Password": secret}
}

// site fills a stand-in with a small primary site, with secrets wherever a site has
// them.
func site(s *standin.AdminService) {
	cipher := secret + strings.Repeat("0C0100000B00", 8)
	planted := prop("GlobalAccount:0", 1, cipher, cipher)
	s.Set("SMS_Identification", table{Rows: []row{{"ThisSiteCode": "P01", "ThisSiteName": "Contoso", "SiteKey": secret}}})
	s.Set("SMS_Site", table{Rows: []row{{"SiteCode": "P01", "SiteName": "Contoso", "Type": 2, "ReportingSiteCode": "", "ServerName": "CM1.contoso.test", "Version": "5.00.9128.1000", "BuildNumber": 9128, "InstallDir": secret}}})
	s.Set("SMS_SCI_SiteDefinition", table{Rows: []row{{
		"SiteCode": "P01", "SiteName": "Contoso", "SiteType": 2, "ParentSiteCode": "", "SiteServerName": "CM1.contoso.test", "SiteServerDomain": "CONTOSO.TEST",
		"SQLServerName": "CM1", "SQLDatabaseName": "CM_P01", "ServiceAccountPassword": secret, "ServiceExchangeKey": secret,
		"Props": []row{prop("SQLServerFQDN", 0, "cm1.contoso.test", secret), planted},
	}}})
	s.Set("SMS_SCI_Reserved", table{Rows: []row{
		{"UserName": `CONTOSO\cm-naa`, "AccountUsage": []string{"Software Distribution"}, "SiteCode": "P01", "Reserved2": cipher, "Props": []row{planted}, "PropLists": []row{{"Values": []string{cipher}}}},
		{"UserName": `CONTOSO\cm-push`, "AccountUsage": []string{"SMS_CLIENT_CONFIG_MANAGER"}, "SiteCode": "P01", "Reserved2": cipher},
		{"UserName": `CONTOSO\cm-old`, "AccountUsage": []string{}, "SiteCode": "P01", "Reserved2": cipher},
	}})
	s.Set("SMS_SCI_SysResUse", table{Lazy: true, Rows: []row{
		{"NetworkOSPath": `\\CM1.contoso.test`, "RoleName": "SMS Site System", "SiteCode": "P01", "NALPath": secret, "Props": []row{prop("UseMachineAccount", 0, "", ""), prop("UserName", 0, "", `CONTOSO\cm-inst`), prop("ProxyPassword", 0, secret, secret), planted}},
		{"NetworkOSPath": `\\DP1.contoso.test`, "RoleName": "SMS Distribution Point", "SiteCode": "P01", "Props": []row{prop("IsPXE", 1, "", ""), prop("PXEPassword", 0, secret, cipher), planted}},
	}})
	s.Set("SMS_SCI_ClientComp", table{Lazy: true, Rows: []row{
		{"ItemName": "Software Distribution", "ClientComponentName": "Software Distribution", "SiteCode": "P01", "Props": []row{planted}, "PropLists": []row{{"PropertyListName": "Network Access User Names", "Values": []string{`CONTOSO\cm-naa`}}, {"PropertyListName": "Other", "Values": []string{secret}}}},
		{"ItemName": "Another", "ClientComponentName": secret, "SiteCode": "P01"},
	}})
	s.Set("SMS_SCI_Component", table{Lazy: true, Rows: []row{
		{"ComponentName": "SMS_CLIENT_CONFIG_MANAGER", "ItemName": "SMS_CLIENT_CONFIG_MANAGER|CM1", "SiteCode": "P01", "Flag": 6, "Props": []row{planted, prop("ServicePassword", 0, secret, secret)}, "PropLists": []row{{"PropertyListName": "Reserved2", "Values": []string{`CONTOSO\cm-push`}}}},
		{"ComponentName": "SMS_NOTIFICATION_MANAGER", "ItemName": "x", "SiteCode": "P01", "Flag": 6, "Props": []row{prop("EnableSmtpSetting", 0, "", ""), prop("Password", 0, secret, secret)}},
	}})
	s.Set("SMS_SCI_SCProperty", table{Rows: []row{
		{"ItemType": "SMS_DISCOVERY_DATA_MANAGER", "SiteCode": "P01", "PropertyName": "SETTINGS", "Value": 0, "Value1": "INACTIVE", "Value2": secret},
		{"ItemType": "SMS_DISCOVERY_DATA_MANAGER", "SiteCode": "P01", "PropertyName": "ENABLEKERBEROSCHECK", "Value": 2, "Value1": "", "Value2": secret},
		{"ItemType": "SMS_DMP_CONNECTOR", "SiteCode": "P01", "PropertyName": "Secret", "Value": 0, "Value1": secret, "Value2": secret},
	}})
	s.Set("SMS_SCI_SCPropertyList", table{Rows: []row{
		{"ItemType": "SMS_CLIENT_CONFIG_MANAGER", "SiteCode": "P01", "PropertyListName": "Reserved2", "Values": []string{`CONTOSO\cm-push`}},
		{"ItemType": "OTHER", "SiteCode": "P01", "PropertyListName": "Keys", "Values": []string{secret}},
	}})
	s.Set("SMS_SCI_Address", table{Lazy: true, Rows: []row{{"SiteCode": "P01", "DesSiteCode": "S01", "DestinationType": 2, "Props": []row{prop("LAN Login", 0, "", `CONTOSO\cm-route`), prop("LAN Password", 0, cipher, cipher)}}}})
	s.Set("SMS_ADForest", table{Rows: []row{{"ForestFQDN": "contoso.test", "Account": `CONTOSO\cm-forest`, "EnableDiscovery": true, "PublishingPath": "", "PublishingStatus": 1, "Password": secret}}})
	s.Set("SMS_Admin", table{Lazy: true, Rows: []row{{"AdminID": 1, "LogonName": `CONTOSO\cm-admins`, "AdminSid": "S-1-5-21-1-2-3-1105", "AccountType": 1, "IsGroup": true, "Roles": []string{"SMS0001R"}, "RoleNames": []string{"Full Administrator"}, "CategoryNames": []string{"All"}, "ExtendedData": secret}}})
	s.Set("SMS_Role", table{Lazy: true, Key: "RoleID", LazyColumns: []string{"Operations"}, Rows: []row{
		{"RoleID": "SMS0001R", "RoleName": "Full Administrator", "IsBuiltIn": true, "Operations": []row{{"ObjectTypeID": 6, "GrantedOperations": 7, "Token": secret}}},
		{"RoleID": "P0100001", "RoleName": "Auditor", "IsBuiltIn": false, "Operations": []row{{"ObjectTypeID": 6, "GrantedOperations": 1}}},
	}})
	s.Set("SMS_Package", table{Rows: []row{{"PackageID": "P0100002", "Name": "Tools", "PkgSourcePath": secret}}})
	s.Set("SMS_PackageAccessByUsers", table{Rows: []row{{"PackageID": "P0100002", "UserName": `CONTOSO\cm-pkg`, "Access": 1, "Reserved": secret}}})
	s.Set("SMS_TaskSequencePackage", table{Rows: []row{{"PackageID": "P0100003", "Name": "Install", "LastRefreshTime": "2026-03-01T10:00:00Z", "Sequence": `<sequence><variable name="OSDJoinPassword">` + secret + `</variable></sequence>`, "ServicePassword": secret}}})
	s.Set("SMS_ClientSettings", table{Lazy: true, Key: "SettingsID", LazyColumns: []string{"AgentConfigurations"}, Rows: []row{{
		"SettingsID": 16777217, "Name": "Remote", "Priority": 1,
		"AgentConfigurations": []row{{"AgentID": 5, "PermittedViewers": []string{`CONTOSO\helpdesk`}, "PermissionRequired": 1, "AccessPassword": secret, "Blob": secret}},
	}}})
}

// open starts a stand-in with the small site and a client for it that does not wait.
func open(t *testing.T, opt Options) (*standin.AdminService, *Client) {
	t.Helper()
	s := standin.NewOpen(t)
	site(s)
	return s, client(t, s, opt)
}

func client(t *testing.T, web Transport, opt Options) *Client {
	t.Helper()
	c, err := New(web, opt)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// names returns who fills a slot.
func names(d *configmgr.Document, entry string) string {
	var out []string
	for _, a := range d.Assignments {
		if a.Entry == entry {
			out = append(out, fmt.Sprintf("%s@%s", a.Name, a.Site))
		}
	}
	return strings.Join(out, " ")
}
