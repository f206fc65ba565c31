package standin

import "strings"

// SmallSite gives the stand-in the rows of a small primary site. The secret stands
// wherever a site has secrets, and in many columns that nobody needs.
func (s *AdminService) SmallSite(secret string) {
	prop := func(name string, value any, value1, value2 string) Row {
		return Row{"PropertyName": name, "Value": value, "Value1": value1, "Value2": value2, "Password": secret}
	}
	cipher := secret + strings.Repeat("0C0100000B00", 8)
	planted := prop("GlobalAccount:0", 1, cipher, cipher)
	s.Set("SMS_Identification", Table{Rows: []Row{{"ThisSiteCode": "P01", "ThisSiteName": "Contoso", "SiteKey": secret}}})
	s.Set("SMS_Site", Table{Rows: []Row{{"SiteCode": "P01", "SiteName": "Contoso", "Type": 2, "ReportingSiteCode": "", "ServerName": "CM1.contoso.test", "Version": "5.00.9128.1000", "BuildNumber": 9128, "InstallDir": secret}, {"SiteCode": "S01", "SiteName": "Branch", "Type": 1, "ReportingSiteCode": "P01", "ServerName": "BR1.contoso.test", "Version": "5.00.9128.1000", "BuildNumber": 9128}}})
	s.Set("SMS_SCI_SiteDefinition", Table{Rows: []Row{{
		"SiteCode": "P01", "SiteName": "Contoso", "SiteType": 2, "ParentSiteCode": "", "SiteServerName": "CM1.contoso.test", "SiteServerDomain": "CONTOSO.TEST",
		"SQLServerName": "CM1", "SQLDatabaseName": "CM_P01", "ServiceAccountPassword": secret, "ServiceExchangeKey": secret,
		"Props": []Row{prop("SQLServerFQDN", 0, "cm1.contoso.test", secret), planted},
	}}})
	s.Set("SMS_SCI_Reserved", Table{Rows: []Row{
		{"UserName": `CONTOSO\cm-naa`, "AccountUsage": []string{"Software Distribution"}, "SiteCode": "P01", "Reserved2": cipher, "Props": []Row{planted}, "PropLists": []Row{{"Values": []string{cipher}}}},
		{"UserName": `CONTOSO\cm-push`, "AccountUsage": []string{"SMS_CLIENT_CONFIG_MANAGER"}, "SiteCode": "P01", "Reserved2": cipher},
		{"UserName": `CONTOSO\cm-old`, "AccountUsage": []string{}, "SiteCode": "P01", "Reserved2": cipher},
	}})
	s.Set("SMS_SCI_SysResUse", Table{Lazy: true, Rows: []Row{
		{"NetworkOSPath": `\\CM1.contoso.test`, "RoleName": "SMS Site System", "SiteCode": "P01", "NALPath": secret, "Props": []Row{prop("UseMachineAccount", 0, "", ""), prop("UserName", 0, "", `CONTOSO\cm-inst`), prop("ProxyPassword", 0, secret, secret), planted}},
		{"NetworkOSPath": `\\DP1.contoso.test`, "RoleName": "SMS Distribution Point", "SiteCode": "P01", "Props": []Row{prop("IsPXE", 1, "", ""), prop("PXEPassword", 0, secret, cipher), planted}},
	}})
	s.Set("SMS_SCI_ClientComp", Table{Lazy: true, Rows: []Row{
		{"ItemName": "Software Distribution", "ClientComponentName": "Software Distribution", "SiteCode": "P01", "Props": []Row{planted}, "PropLists": []Row{{"PropertyListName": "Network Access User Names", "Values": []string{`CONTOSO\cm-naa`}}, {"PropertyListName": "Other", "Values": []string{secret}}}},
		{"ItemName": "Another", "ClientComponentName": secret, "SiteCode": "P01"},
	}})
	s.Set("SMS_SCI_Component", Table{Lazy: true, Rows: []Row{
		{"ComponentName": "SMS_CLIENT_CONFIG_MANAGER", "ItemName": "SMS_CLIENT_CONFIG_MANAGER|CM1", "SiteCode": "P01", "Flag": 6, "Props": []Row{planted, prop("ServicePassword", 0, secret, secret)}, "PropLists": []Row{{"PropertyListName": "Reserved2", "Values": []string{`CONTOSO\cm-push`}}}},
		{"ComponentName": "SMS_NOTIFICATION_MANAGER", "ItemName": "x", "SiteCode": "P01", "Flag": 6, "Props": []Row{prop("EnableSmtpSetting", 0, "", ""), prop("Password", 0, secret, secret)}},
	}})
	s.Set("SMS_SCI_SCProperty", Table{Rows: []Row{
		{"ItemType": "SMS_DISCOVERY_DATA_MANAGER", "SiteCode": "P01", "PropertyName": "SETTINGS", "Value": 0, "Value1": "INACTIVE", "Value2": secret},
		{"ItemType": "SMS_DISCOVERY_DATA_MANAGER", "SiteCode": "P01", "PropertyName": "ENABLEKERBEROSCHECK", "Value": 2, "Value1": "", "Value2": secret},
		{"ItemType": "SMS_DMP_CONNECTOR", "SiteCode": "P01", "PropertyName": "Secret", "Value": 0, "Value1": secret, "Value2": secret},
	}})
	s.Set("SMS_SCI_SCPropertyList", Table{Rows: []Row{
		{"ItemType": "SMS_CLIENT_CONFIG_MANAGER", "SiteCode": "P01", "PropertyListName": "Reserved2", "Values": []string{`CONTOSO\cm-push`}},
		{"ItemType": "OTHER", "SiteCode": "P01", "PropertyListName": "Keys", "Values": []string{secret}},
	}})
	s.Set("SMS_SCI_Address", Table{Lazy: true, Rows: []Row{{"SiteCode": "P01", "DesSiteCode": "S01", "DestinationType": 2, "Props": []Row{prop("LAN Login", 0, "", `CONTOSO\cm-route`), prop("LAN Password", 0, cipher, cipher)}}}})
	s.Set("SMS_ADForest", Table{Rows: []Row{{"ForestFQDN": "contoso.test", "Account": `CONTOSO\cm-forest`, "EnableDiscovery": true, "PublishingPath": "", "PublishingStatus": 1, "Password": secret}}})
	s.Set("SMS_Admin", Table{Lazy: true, Rows: []Row{{"AdminID": 1, "LogonName": `CONTOSO\cm-admins`, "AdminSid": "S-1-5-21-1-2-3-1105", "AccountType": 1, "IsGroup": true, "Roles": []string{"SMS0001R"}, "RoleNames": []string{"Full Administrator"}, "CategoryNames": []string{"All"}, "ExtendedData": secret}}})
	s.Set("SMS_Role", Table{Lazy: true, Key: "RoleID", LazyColumns: []string{"Operations"}, Rows: []Row{
		{"RoleID": "SMS0001R", "RoleName": "Full Administrator", "IsBuiltIn": true, "Operations": []Row{{"ObjectTypeID": 6, "GrantedOperations": 7, "Token": secret}}},
		{"RoleID": "P0100001", "RoleName": "Auditor", "IsBuiltIn": false, "Operations": []Row{{"ObjectTypeID": 6, "GrantedOperations": 1}}},
	}})
	s.Set("SMS_Package", Table{Rows: []Row{{"PackageID": "P0100002", "Name": "Tools", "PkgSourcePath": secret}}})
	s.Set("SMS_PackageAccessByUsers", Table{Rows: []Row{{"PackageID": "P0100002", "UserName": `CONTOSO\cm-pkg`, "Access": 1, "Reserved": secret}}})
	s.Set("SMS_TaskSequencePackage", Table{Rows: []Row{{"PackageID": "P0100003", "Name": "Install", "LastRefreshTime": "2026-03-01T10:00:00Z", "Sequence": `<sequence><variable name="OSDJoinPassword">` + secret + `</variable></sequence>`, "ServicePassword": secret}}})
	s.Set("SMS_ClientSettings", Table{Lazy: true, Key: "SettingsID", LazyColumns: []string{"AgentConfigurations"}, Rows: []Row{{
		"SettingsID": 16777217, "Name": "Remote", "Priority": 1,
		"AgentConfigurations": []Row{{"AgentID": 5, "PermittedViewers": []string{`CONTOSO\helpdesk`}, "PermissionRequired": 1, "AccessPassword": secret, "Blob": secret}},
	}}})
}
