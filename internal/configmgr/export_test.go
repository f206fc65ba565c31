package configmgr

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"
)

// wide returns text in UTF-16.
func wide(text string, bigEndian, mark bool) []byte {
	if mark {
		text = "\ufeff" + text
	}
	var out []byte
	for _, u := range utf16.Encode([]rune(text)) {
		if bigEndian {
			out = append(out, byte(u>>8), byte(u))
		} else {
			out = append(out, byte(u), byte(u>>8))
		}
	}
	return out
}

var imported = Provenance{Source: Imported, Collector: "cmdlet", At: readAt}

func importOne(t *testing.T, cmdlet, text string) (*Document, []Notice) {
	t.Helper()
	d, notices, err := Import([]Export{{Name: "x.json", Data: []byte(text), Cmdlet: cmdlet}}, imported)
	if err != nil {
		t.Fatal(err)
	}
	return d, notices
}

// What Get-CMAccount | ConvertTo-Json writes of a site, with all the columns that an
// IResultObject has.
const accountJSON = `[
    {
        "AccountUsage":  [
                             "Software Distribution",
                             "SMS_AD_SYSTEM_DISCOVERY_AGENT"
                         ],
        "Availability":  0,
        "FileType":  2,
        "Flag":  0,
        "ItemName":  "CONTOSO\\svc-naa|0",
        "ItemType":  "User",
        "PropLists":  [

                      ],
        "Props":  "",
        "Reserved2":  "PLANTED0C010000",
        "ServerName":  "ps1-pss.contoso.com",
        "SiteCode":  "PS1",
        "UserName":  "CONTOSO\\svc-naa",
        "ObjectClass":  "SMS_SCI_Reserved",
        "SmsProviderObjectPath":  "SMS_SCI_Reserved.FileType=2,ItemName=\"CONTOSO\\\\svc-naa|0\",ItemType=\"User\",SiteCode=\"PS1\"",
        "PropertyList":  { "Reserved2": "PLANTED0C010000" }
    },
    { "AccountUsage": {"value": [], "Count": 0}, "SiteCode": "PS1", "UserName": "CONTOSO\\svc-idle", "Reserved2": "PLANTED", "ObjectClass": "SMS_SCI_Reserved" }
]`

func TestAccountsAreImportedFromJSON(t *testing.T) {
	want := "PS1 CONTOSO\\svc-idle\nad-system-discovery PS1 CONTOSO\\svc-naa\nnetwork-access PS1 CONTOSO\\svc-naa"
	for name, data := range map[string][]byte{
		"plain": []byte(accountJSON), "mark": []byte("\ufeff" + accountJSON), "le": wide(accountJSON, false, true), "be": wide(accountJSON, true, true),
		"le without mark": wide(accountJSON, false, false), "be without mark": wide(accountJSON, true, false),
		"answer": []byte(`{"@odata.context":"https://ps1/AdminService/wmi/$metadata#SMS_SCI_Reserved","value":` + accountJSON + `}`),
	} {
		d, _, err := Import([]Export{{Name: name, Data: data}}, imported)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := slots(d); got != want {
			t.Errorf("%s: assignments:\n%s\nwant:\n%s", name, got, want)
		}
		if _, ok := d.Filled(entryPush, "PS1"); !ok {
			t.Errorf("%s: all accounts were listed, and yet it is unknown whether there is a push account", name)
		}
		var text strings.Builder
		if err := d.Write(&text); err != nil || strings.Contains(text.String(), "PLANTED") {
			t.Errorf("%s: %v, or a secret survives", name, err)
		}
	}
}

func TestOneObjectIsARowToo(t *testing.T) {
	d, _ := importOne(t, "", `{"UserName":"CONTOSO\\a","AccountUsage":"Software Distribution","SiteCode":"PS1"}`)
	if got := slots(d); got != `network-access PS1 CONTOSO\a` {
		t.Errorf("assignments: %s", got)
	}
}

func TestCSVOfEveryCulture(t *testing.T) {
	for name, text := range map[string]string{
		"comma":     "\"ForestFQDN\",\"Account\",\"EnableDiscovery\",\"PublishingStatus\"\r\n\"contoso.com\",\"CONTOSO\\svc-forest\",\"True\",\"1\"\r\n",
		"semicolon": "#TYPE IResultObject#SMS_ADForest\r\nForestFQDN;Account;EnableDiscovery;PublishingStatus\r\ncontoso.com;CONTOSO\\svc-forest;True;1\r\n",
		"tab":       "sep=\t\nForestFQDN\tAccount\tEnableDiscovery\tPublishingStatus\ncontoso.com\tCONTOSO\\svc-forest\tTrue\t1",
	} {
		for _, data := range [][]byte{[]byte(text), wide(text, false, true), wide(text, true, true)} {
			d, _, err := Import([]Export{{Name: name, Data: data}}, imported)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if got := slots(d); got != `ad-forest contoso.com CONTOSO\svc-forest` {
				t.Errorf("%s: %s", name, got)
			}
		}
	}
}

func TestCutValuesAreMissingNotEmpty(t *testing.T) {
	d, notices := importOne(t, "Get-CMAccount", "UserName,AccountUsage,SiteCode\nCONTOSO\\a,System.String[],PS1\nCONTOSO\\b,System.String[],PS1\n")
	if why, ok := d.Filled(entryNetworkAccess, "PS1"); ok || !strings.Contains(why, "cut short") {
		t.Errorf("the usage was cut, and yet it is known that nobody is the network access account: %v %q", ok, why)
	}
	if len(notices) != 1 || notices[0].Times != 2 || !strings.Contains(notices[0].Text, "-Depth 5") {
		t.Errorf("notices: %v", notices)
	}
	if len(d.Assignments) != 2 {
		t.Errorf("the accounts themselves are lost: %v", d.Assignments)
	}
	d, _ = importOne(t, "Get-CMManagementPoint", `[{"NetworkOSPath":"\\\\mp","RoleName":"SMS Management Point","SiteCode":"PS1","Props":["Microsoft.ConfigurationManagement.ManagementProvider.WqlQueryEngine.WqlResultObject"]}]`)
	if _, ok := d.Filled(entryManagementPoint, "PS1"); ok {
		t.Error("the properties were cut, and yet the account of the management point is known")
	}
}

func TestEmbeddedObjectsInEveryForm(t *testing.T) {
	mof := `\ninstance of SMS_EmbeddedProperty\n{\n\tPropertyName = \"UserName\";\n\tValue = 0;\n\tValue1 = \"\";\n\tValue2 = \"CONTOSO\\\\svc-mp\";\n};\n`
	for name, props := range map[string]string{
		"objects": `"Props":[{"PropertyName":"UserName","Value":0,"Value1":"","Value2":"CONTOSO\\svc-mp"}]`,
		"map":     `"Props":"System.Object[]","EmbeddedProperties":{"UserName":{"PropertyName":"UserName","Value":0,"Value1":"CONTOSO\\svc-mp","Value2":""}}`,
		"mof":     `"Props":["` + mof + `"]`,
	} {
		d, notices := importOne(t, "", `[{"NetworkOSPath":"\\\\mp.contoso.com","RoleName":"SMS Management Point","SiteCode":"PS1",`+props+`}]`)
		if got := slots(d); got != `management-point-connection PS1 mp.contoso.com CONTOSO\svc-mp` {
			t.Errorf("%s: %s %v", name, got, notices)
		}
		if _, ok := d.Filled(entryManagementPoint, "PS1"); !ok {
			t.Errorf("%s: the account of the management point is not known", name)
		}
		if _, ok := d.Filled(entryReporting, "PS1"); ok {
			t.Errorf("%s: only management points were listed, and yet reporting points are known", name)
		}
	}
}

func TestWhatOtherCmdletsWrite(t *testing.T) {
	for _, x := range []struct{ cmdlet, text, want string }{
		{"Get-CMClientPushInstallation", `{"ComponentName":"SMS_DISCOVERY_DATA_MANAGER","SiteCode":"PS1","Props":[{"PropertyName":"SETTINGS","Value1":"ACTIVE"}],"PropLists":[{"PropertyListName":"Reserved2","Values":["CONTOSO\\push"]}]}`, `client-push-installation PS1 CONTOSO\push`},
		{"Get-CMSoftwareDistributionComponent", `{"ClientComponentName":"Software Distribution","ItemName":"Software Distribution","SiteCode":"PS1","PropLists":[{"PropertyListName":"Network Access User Names","Values":["CONTOSO\\naa1","CONTOSO\\naa2"]}]}`, "network-access PS1 CONTOSO\\naa1\nnetwork-access PS1 CONTOSO\\naa2"},
		{"", `[{"SiteMappingID":1,"Account":"OLD\\mig","AccountForSql":"OLD\\migsql","SourceSiteFQDN":"old.fabrikam.com","DestinationSiteCode":"PS1","IsDeleted":false}]`, "source-site PS1 old.fabrikam.com OLD\\mig\nsource-site-database PS1 old.fabrikam.com OLD\\migsql"},
		{"", `[{"SiteCode":"PS1","DesSiteCode":"SEC","DestinationType":0,"Props":[{"PropertyName":"LAN Login","Value2":"CONTOSO\\repl"}]}]`, `sms-sitetositeconnection SEC PS1 CONTOSO\repl`},
		{"", `[{"PackageID":"PS100003","UserName":"[\"Display=CONTOSO\\pkg\"]MSWINNT:[\"x\"]\\\\CONTOSO\\pkg","Access":101},{"PackageID":"PS100003","UserName":"Users","Access":101}]`, `package-access PS100003 CONTOSO\pkg`},
		{"", `[{"PackageID":"PS100004","TaskSequenceName":"Build","StepClass":"SMS_TaskSequence_RunCommandLineAction","UserName":"CONTOSO\\run"}]`, `ts-run-as PS100004 CONTOSO\run`},
		{"Get-CMClientSetting", `{"PermittedViewers":["CONTOSO\\Help Desk"],"PermissionRequired":1,"AccessLevel":2,"FirewallExceptionProfiles":"Domain"}`, `remote-tools-permitted-viewers CONTOSO\Help Desk`},
	} {
		d, _ := importOne(t, x.cmdlet, x.text)
		if got := slots(d); got != x.want {
			t.Errorf("%s %.60s:\n%s\nwant:\n%s", x.cmdlet, x.text, got, x.want)
		}
	}
	d, _ := importOne(t, "", `[{"LogonName":"CONTOSO\\Domain Admins","AdminSid":"S-1-5-21-1-2-3-512","IsGroup":true,"RoleNames":["Full Administrator"],"CategoryNames":["All"],"CollectionNames":["All Systems"]}]`)
	if a := d.Admins[0]; a.SID.String() != "S-1-5-21-1-2-3-512" || !a.Group || a.Roles[0] != "SMS0001R" || len(a.Scopes) != 2 {
		t.Errorf("administrative user %+v", a)
	}
	d, _ = importOne(t, "", `[{"PackageID":"PS100004","Name":"Build","LastRefreshTime":"\/Date(1763539200000)\/"},{"PackageID":"PS100005","Name":"B","LastRefreshTime":"2025-11-19T08:00:00Z"},{"PackageID":"PS100006","Name":"C","LastRefreshTime":{"value":"/Date(1763539200000)/","DisplayHint":2,"DateTime":"Mittwoch"}},{"PackageID":"PS100007","Name":"D","LastRefreshTime":"20251119090000.000000+060"}]`)
	for _, s := range d.Sequences {
		if s.Modified.Format("2006-01-02 15:04") != "2025-11-19 08:00" {
			t.Errorf("%s: %s", s.ID, s.Modified)
		}
	}
	d, _ = importOne(t, "", `[{"SiteCode":"PS1","SiteName":"One","Type":2,"ReportingSiteCode":"CAS","ServerName":"PS1-PSS.contoso.com","Version":"5.00.9106.1000","BuildNumber":9106,"InstallDir":"C:\\"}]`)
	if s := d.Sites[0]; s.Kind != PrimarySite || s.Parent != "CAS" || s.Build != 9106 || s.Release != "current-branch" || s.Server != "ps1-pss.contoso.com" {
		t.Errorf("site %+v", s)
	}
}

func TestMalformedExportsSayWhere(t *testing.T) {
	for _, x := range []struct{ name, cmdlet, text, want string }{
		{"truncated", "", accountJSON[:len(accountJSON)-20], "f: row 2: line 24, column"},
		{"truncated between rows", "", `[{"UserName":"a","AccountUsage":[],"SiteCode":"PS1"},`, "f: row 2: line 1, column 54: cut short"},
		{"html", "", "<!DOCTYPE html><html><head><title>401 - Unauthorized</title></head><body>PLANTED</body></html>", "f: is a web page, probably of an error, and not what a cmdlet wrote (its title says 401)"},
		{"clixml", "", `<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">`, "Export-Clixml"},
		{"empty", "", " \r\n", "is empty"},
		{"empty of text", "", "\xef\xbb\xbf", "the cmdlet returned nothing, which means that there is none, or whoever ran it may not read them. If there is none, write [] into it and name it after the cmdlet"},
		{"no rows", "", "[]", "holds no rows: the cmdlet returned nothing, which means that there is none, or whoever ran it may not read them. If there is none, name the file after the cmdlet"},
		{"null", "", "null", "holds no rows: the cmdlet returned nothing"},
		{"zeros", "", strings.Repeat("\x00", 4096), "byte 0: a zero character: not a text"},
		{"zeros in UTF-16", "", string(wide("UserName", false, true)) + "\x00\x00", "byte 18: a zero character"},
		{"latin 1", "", "UserName,AccountUsage\nCONTOSO\\m\xfcller,x\n", "line 2, column 10: neither UTF-8 nor UTF-16"},
		{"half of UTF-16", "", string(wide("UserName", false, true)[:9]), "cut short"},
		{"renamed", "", `[{"Name":"CONTOSO\\a","AccountUsage":[],"Site":"PS1"}]`, "row 1: the columns (AccountUsage, Name, Site) are not those of a cmdlet that is read; for SMS_SCI_Reserved it lacks UserName"},
		{"renamed and told", "Get-CMAccount", `[{"Name":"CONTOSO\\a","AccountUsage":[]}]`, "f: row 1, column UserName: the column is missing: SMS_SCI_Reserved needs it"},
		{"empty value", "Get-CMAccount", "UserName,AccountUsage\na,\n,x\n", "f: row 2 (line 3), column UserName: missing or empty"},
		{"short row", "", "UserName,AccountUsage\na,b\nc\n", "row 2 (line 3): has 1 values for 2 columns"},
		{"open quote", "", "UserName,AccountUsage\n\"a,b\n", "row 1 (line 2): a quotation mark is not closed"},
		{"twice", "", "UserName,username\na,b\n", "column username: is there twice"},
		{"text row", "", `["a"]`, "row 1: should be an object, is a text"},
		{"two values", "", `{"UserName":"a","AccountUsage":[]} {}`, "something follows"},
		{"other cmdlet", "Get-CMAdministrativeUser", accountJSON, "the row says that it is of SMS_SCI_Reserved"},
		{"unknown cmdlet", "Get-CMDevice", "[]", `"Get-CMDevice" is no cmdlet or class that is read`},
		{"deep", "", strings.Repeat("[", 100), "nested deeper than 64"},
		{"bad SID", "", `[{"LogonName":"a","RoleNames":["Full Administrator"],"AdminSid":"PLANTED"}]`, "row 1, column AdminSid: is no SID"},
	} {
		_, _, err := Import([]Export{{Name: "f", Data: []byte(x.text), Cmdlet: x.cmdlet}}, imported)
		if !errors.Is(err, ErrImport) || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want …%s…", x.name, err, x.want)
			continue
		}
		if strings.Contains(err.Error(), "PLANTED") {
			t.Errorf("%s: the error repeats a value: %v", x.name, err)
		}
	}
}

// An empty list under the name of a cmdlet counts, with a notice of what else it may
// mean; every site has roles, and so that none were listed says something else.
func TestEmptyListUnderNameOfCmdlet(t *testing.T) {
	for _, text := range []string{"[]", "null"} {
		d, notices, err := Import([]Export{{Name: "Get-CMMigrationSource.json", Data: []byte(text)}}, imported)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := d.Read(ClassMigration, "", ""); !ok || len(notices) != 1 || !strings.Contains(notices[0].String(), "whoever ran it may not read them") {
			t.Errorf("%s: readings %v, notices %v", text, d.Readings, notices)
		}
		_, _, err = Import([]Export{{Name: "Get-CMSiteRole.json", Data: []byte(text)}}, imported)
		if err == nil || !strings.Contains(err.Error(), "every site has some for Get-CMSiteRole: whoever ran it may not read them") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// endless yields bytes of one value and counts them.
type endless struct {
	value byte
	read  int
}

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = e.value
	}
	e.read += len(p)
	return len(p), nil
}

func TestReadExportRefusesEarly(t *testing.T) {
	zeros := &endless{}
	if _, err := ReadExport("zeros.json", zeros); !errors.Is(err, ErrImport) || !strings.Contains(err.Error(), "zeros.json: byte 0: a zero character") {
		t.Errorf("zeros: %v", err)
	}
	if zeros.read > 1<<20 {
		t.Errorf("%d bytes were read of a file that begins with zeros", zeros.read)
	}
	if got, err := ReadExport("a.json", strings.NewReader("[]")); err != nil || string(got) != "[]" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestManyRowsAndRepeatedRows(t *testing.T) {
	var text strings.Builder
	text.WriteString("UserName;AccountUsage;SiteCode\r\n")
	for i := range 50_000 {
		fmt.Fprintf(&text, "CONTOSO\\svc-%05d;Software Distribution;PS1\r\n", i/2)
	}
	d, notices, err := Import([]Export{{Name: "many.csv", Data: []byte(text.String())}}, imported)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Assignments) != 25_000 {
		t.Errorf("%d assignments of 50,000 rows that are each there twice", len(d.Assignments))
	}
	if len(notices) != 1 || notices[0].Times != 25_000 || !strings.Contains(notices[0].String(), "more than once") {
		t.Errorf("notices: %v", notices)
	}
}

func FuzzImport(f *testing.F) {
	f.Add([]byte(accountJSON), "")
	f.Add([]byte(roleRows), "")
	f.Add([]byte("#TYPE x\n\"UserName\";\"AccountUsage\"\n\"a\";\"b\"\n"), "Get-CMAccount")
	f.Add(wide("UserName,AccountUsage\na,b\n", false, true), "SMS_SCI_Reserved")
	f.Add([]byte(`{"leastwise":1,"exported":"2026-01-01T00:00:00Z","classes":{"SMS_Admin":[{"LogonName":"a"}]},"missing":{"SMS_Role":"x"}}`), "")
	f.Fuzz(func(t *testing.T, data []byte, cmdlet string) {
		d, _, err := Import([]Export{{Name: "f", Data: data, Cmdlet: cmdlet}}, imported)
		if err != nil {
			if !errors.Is(err, ErrImport) {
				t.Fatalf("error without its kind: %v", err)
			}
			return
		}
		var text strings.Builder
		if err := d.Write(&text); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadDocument([]byte(text.String())); err != nil {
			t.Fatalf("what was imported cannot be read: %v", err)
		}
	})
}

// A file without rows is of the cmdlet after which it is named, unless that finds
// something on every site.
func TestImportNothing(t *testing.T) {
	d, _, err := Import([]Export{{Name: "out/Get-CMMigrationSource.json", Data: []byte("[]")}}, imported)
	if err != nil {
		t.Fatal(err)
	}
	if why, ok := d.Read(ClassMigration, "", ""); !ok || len(d.Assignments) > 0 {
		t.Errorf("migration sources: %v %s", ok, why)
	}
	for _, name := range []string{"Get-CMSiteRole.json", "Get-CMSite.json", "migration.json"} {
		if _, _, err := Import([]Export{{Name: name, Data: []byte("[]")}}, imported); !errors.Is(err, ErrImport) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
