package configmgr

import (
	"regexp"
	"strings"
	"testing"
)

func TestScriptAsksForExactlyTheColumns(t *testing.T) {
	script := ExportScript()
	calls := regexp.MustCompile(`(?m)^Read-Class '(\w+)' @\(([^)]*)\)(.*)\r$`).FindAllStringSubmatch(script, -1)
	byClass := map[string][]string{}
	for _, c := range calls {
		byClass[c[1]] = c
	}
	for _, a := range Asks() {
		call, ok := byClass[a.Class]
		if ok == a.Synthetic() {
			t.Errorf("%s: asked for %v, synthetic %v", a.Class, ok, a.Synthetic())
		}
		if !ok {
			continue
		}
		if want := "'" + strings.Join(queried(a), "', '") + "'"; call[2] != want {
			t.Errorf("%s: asks for %s, want %s", a.Class, call[2], want)
		}
		if (a.Filter != "") != strings.Contains(call[3], "-Filter") || a.Whole != strings.Contains(call[3], "-Whole") {
			t.Errorf("%s: %s", a.Class, call[3])
		}
	}
	code := regexp.MustCompile(`(?s:<#.*?#>)|(?m:#[^\n]*$)`).ReplaceAllString(script, "")
	for _, n := range NeverCollected() {
		if n.Column == "PXEPassword" || n.Column == "Reserved2" || n.Column == "Value" || len(n.Column) < 5 || n.Column == "Props" || n.Column == "PropLists" || n.Column == "Sequence" {
			continue // the first by its presence, the second as a list of names, the others are columns of other classes too
		}
		if strings.Contains(code, "'"+n.Column+"'") {
			t.Errorf("the script names %s: %s", n.Column, n.Why)
		}
	}
	if strings.Contains(byClass[sciReserved][2], "Reserved2") || !strings.Contains(code, "'PXEPassword' = @()") {
		t.Error("ciphertexts are asked for, or more of the PXE password than its presence")
	}
}

// No PowerShell is there to parse it, so at least its brackets are counted.
func TestScriptIsBalanced(t *testing.T) {
	script := regexp.MustCompile(`(?s:<#.*?#>)|(?m:^\s*#[^\n]*$)|'[^'\r\n]*'|"[^"\r\n]*"`).ReplaceAllString(ExportScript(), "")
	var open []rune
	pair := map[rune]rune{')': '(', ']': '[', '}': '{'}
	for _, r := range script {
		switch r {
		case '(', '[', '{':
			open = append(open, r)
		case ')', ']', '}':
			if len(open) == 0 || open[len(open)-1] != pair[r] {
				t.Fatalf("%q closes nothing", r)
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) != 0 || strings.Contains(ExportScript(), "{{") || strings.Contains(ExportScript(), "<no value>") {
		t.Errorf("left open: %q", string(open))
	}
}

// What the script writes of a small site, in the form of ConvertTo-Json -Compress.
const bundleText = `{"leastwise":1,"exported":"2026-11-20T08:00:00Z","site":"PS1","classes":{` +
	`"SMS_Site":[{"SiteCode":"PS1","SiteName":"One","Type":2,"ReportingSiteCode":"","ServerName":"ps1-pss.contoso.test","Version":"5.00.9128.1007","BuildNumber":9128}],` +
	`"SMS_SCI_SiteDefinition":[{"SiteCode":"PS1","SiteName":"One","SiteType":2,"ParentSiteCode":"","SiteServerName":"ps1-pss.contoso.test","SiteServerDomain":"contoso.test","SQLServerName":"ps1-db","SQLDatabaseName":"CM_PS1","Props":[{"PropertyName":"SQLServerFQDN","Value1":"ps1-db.contoso.test"},{"PropertyName":"IsEnhancedHTTPEnabled","Value":1}]}],` +
	`"SMS_SCI_Reserved":[{"UserName":"CONTOSO\\svc-push","AccountUsage":["SMS_CLIENT_CONFIG_MANAGER"],"SiteCode":"PS1"}],` +
	`"SMS_SCI_SysResUse":` + roleRowsPlain + `,` +
	`"SMS_SCI_ClientComp":[{"ItemName":"Software Distribution","ClientComponentName":"Software Distribution","SiteCode":"PS1","PropLists":[]}],` +
	`"SMS_SCI_Component":[],"SMS_SCI_SCProperty":[{"ItemType":"SMS_DISCOVERY_DATA_MANAGER","SiteCode":"PS1","PropertyName":"SETTINGS","Value":1,"Value1":"INACTIVE"}],"SMS_SCI_SCPropertyList":[],` +
	`"SMS_Admin":[{"LogonName":"CONTOSO\\CM Admins","AdminSid":"S-1-5-21-100-200-300-1200","AccountType":1,"IsGroup":true,"Roles":["SMS0001R"],"Permissions":[{"RoleID":"SMS0001R","CategoryID":"SMS00ALL","CategoryTypeID":29}]}]` +
	`},"missing":{"SMS_Role":"Access denied"}}`

const roleRowsPlain = `[{"NetworkOSPath":"\\\\ps1-pss.contoso.test","RoleName":"SMS Site Server","SiteCode":"PS1","Props":[]},{"NetworkOSPath":"\\\\ps1-pss.contoso.test","RoleName":"SMS Site System","SiteCode":"PS1","Props":[{"PropertyName":"UseMachineAccount","Value":1}]}]`

func TestBundlesOfTheScriptAreImported(t *testing.T) {
	d, _ := importOne(t, "", bundleText)
	if got := slots(d); got != `client-push-installation PS1 CONTOSO\svc-push` {
		t.Errorf("assignments: %s", got)
	}
	s := d.Sites[0]
	if s.Build != 9128 || s.Database != `ps1-db.contoso.test\CM_PS1` || s.Settings["https_or_ehttp"] != true || s.Settings["push.automatic"] != false || s.Domain != "contoso.test" {
		t.Errorf("site %+v", s)
	}
	for _, entry := range []string{entryNetworkAccess, entryPush, entryMulticast, entrySiteSystem, entryMail} {
		if why, ok := d.Filled(entry, "PS1"); !ok {
			t.Errorf("%s: %s", entry, why)
		}
	}
	if why, ok := d.Read(ClassRoles, "", ""); ok || !strings.Contains(why, "Access denied") {
		t.Errorf("security roles could not be read: %v %q", ok, why)
	}
	if _, ok := d.Filled(entryJoin, "PS1"); ok {
		t.Error("the bundle has no steps, and yet the joining accounts are known")
	}
	if a := d.Admins[0]; len(a.Roles) != 1 || a.Roles[0] != "SMS0001R" {
		t.Errorf("%+v", a)
	}
}
