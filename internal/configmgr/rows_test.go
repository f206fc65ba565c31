package configmgr

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

var readAt = time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)

func rowsOf(t *testing.T, text string) []Row {
	t.Helper()
	var rows []Row
	if err := json.Unmarshal([]byte(text), &rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

// built adds rows of classes, each completely, and returns the document.
func built(t *testing.T, classes map[string]string) (*Document, []Notice) {
	t.Helper()
	b := NewBuilder(Provenance{Source: Collected, Collector: "adminservice", At: readAt})
	for _, a := range Asks() {
		text, ok := classes[a.Class]
		if !ok {
			continue
		}
		if err := b.Add(a.Class, rowsOf(t, text)...); err != nil {
			t.Fatal(err)
		}
		if err := b.Done(a.Class, "", "", ""); err != nil {
			t.Fatal(err)
		}
	}
	return b.Document(), b.Notices()
}

// slots returns the assignments as "entry site host location name", one a line.
func slots(d *Document) string {
	var lines []string
	for _, a := range d.Assignments {
		lines = append(lines, strings.Join(strings.Fields(strings.Join([]string{a.Entry, a.Site, a.Host, a.Location, a.Name}, " ")), " "))
	}
	return strings.Join(lines, "\n")
}

const roleRows = `[
 {"NetworkOSPath":"\\\\PS1-PSS.contoso.com","RoleName":"SMS Site Server","SiteCode":"PS1","Props":[]},
 {"NetworkOSPath":"\\\\ps1-mp.contoso.com","RoleName":"SMS Site System","SiteCode":"PS1","Props":[
   {"PropertyName":"UseMachineAccount","Value":0,"Value1":"","Value2":""},
   {"PropertyName":"UserName","Value":0,"Value1":"","Value2":"CONTOSO\\svc-cm-install"},
   {"PropertyName":"UseProxy","Value":1,"Value1":"","Value2":""},
   {"PropertyName":"ProxyUserName","Value":0,"Value1":"","Value2":"CONTOSO\\svc-cm-proxy"}]},
 {"NetworkOSPath":"\\\\ps1-mp.contoso.com","RoleName":"SMS Management Point","SiteCode":"PS1","Props":[
   {"PropertyName":"UserName","Value":0,"Value1":"CONTOSO\\svc-cm-mp","Value2":""}]},
 {"NetworkOSPath":"\\\\ps1-mp.contoso.com","RoleName":"SMS Software Update Point","SiteCode":"PS1","Props":[
   {"PropertyName":"WSUSAccessAccount","Value":0,"Value1":"","Value2":"CONTOSO\\svc-cm-wsus"}]},
 {"NetworkOSPath":"\\\\ps1-rp.contoso.com","RoleName":"SMS SRS Reporting Point","SiteCode":"PS1","Props":[
   {"PropertyName":"Username","Value":0,"Value1":"","Value2":"CONTOSO\\svc-cm-rs"}]},
 {"NetworkOSPath":"\\\\ps1-dp.contoso.com","RoleName":"SMS Distribution Point","SiteCode":"PS1","Props":[
   {"PropertyName":"IsPXE","Value":1,"Value1":"","Value2":""},
   {"PropertyName":"PXEPassword","Value":0,"Value1":"PLANTED-pxe","Value2":""},
   {"PropertyName":"IsAnonymousEnabled","Value":0,"Value1":"","Value2":""}]},
 {"NetworkOSPath":"\\\\ps1-dp.contoso.com","RoleName":"SMS Site System","SiteCode":"PS1","Props":[
   {"PropertyName":"UseMachineAccount","Value":1,"Value1":"","Value2":""},
   {"PropertyName":"UserName","Value":0,"Value1":"","Value2":"CONTOSO\\old-install"}]}
]`

func TestRolesNameTheirAccounts(t *testing.T) {
	d, _ := built(t, map[string]string{sciSysResUse: roleRows})
	want := strings.Join([]string{
		`management-point-connection PS1 ps1-mp.contoso.com CONTOSO\svc-cm-mp`,
		`reporting-services-point PS1 ps1-rp.contoso.com CONTOSO\svc-cm-rs`,
		`site-system-installation PS1 ps1-mp.contoso.com CONTOSO\svc-cm-install`,
		`software-update-point-connection PS1 ps1-mp.contoso.com CONTOSO\svc-cm-wsus`,
		`software-update-point-proxy PS1 ps1-mp.contoso.com CONTOSO\svc-cm-proxy`,
	}, "\n")
	if got := slots(d); got != want {
		t.Errorf("assignments:\n%s\nwant:\n%s", got, want)
	}
	if got := d.Sites[0].Settings["pxe.password_hosts"].([]string); len(got) != 1 || got[0] != "ps1-dp.contoso.com" {
		t.Errorf("distribution points with a PXE password: %v", got)
	}
	if why, ok := d.Filled(entryMulticast, "PS1"); !ok {
		t.Errorf("no multicast account is known to be configured, and yet unknown: %s", why)
	}
	if _, ok := d.Filled(entryNetworkAccess, "PS1"); ok {
		t.Error("network access accounts are known although nobody read them")
	}
}

func TestStoredAccountsKeepTheirLabels(t *testing.T) {
	d, notices := built(t, map[string]string{sciReserved: `[
	 {"UserName":"CONTOSO\\svc-naa","AccountUsage":["Software Distribution"],"SiteCode":"PS1"},
	 {"UserName":"CONTOSO\\svc-both","AccountUsage":["SMS_CLIENT_CONFIG_MANAGER","SMS_AD_USER_DISCOVERY_AGENT"],"SiteCode":"PS1"},
	 {"UserName":"CONTOSO\\svc-idle","AccountUsage":[],"SiteCode":"PS1"},
	 {"UserName":"CONTOSO\\svc-odd","AccountUsage":["SMS_FROBNICATOR"],"SiteCode":"PS1"}]`})
	want := strings.Join([]string{
		`PS1 CONTOSO\svc-idle`, `PS1 CONTOSO\svc-odd`, `ad-user-discovery PS1 CONTOSO\svc-both`,
		`client-push-installation PS1 CONTOSO\svc-both`, `network-access PS1 CONTOSO\svc-naa`,
	}, "\n")
	if got := slots(d); got != want {
		t.Errorf("assignments:\n%s\nwant:\n%s", got, want)
	}
	if len(notices) != 1 || !strings.Contains(notices[0].String(), `"SMS_FROBNICATOR" is not known`) {
		t.Errorf("notices: %v", notices)
	}
	for _, a := range d.Assignments {
		if !a.Stored || a.Source != Collected || !a.FirstSeen.Equal(readAt) {
			t.Errorf("%+v: not marked as stored, collected and seen", a)
		}
	}
}

func TestNothingSecretSurvives(t *testing.T) {
	planted := map[string]string{
		sciReserved:     `[{"UserName":"C\\a","AccountUsage":[],"SiteCode":"PS1","Reserved2":"PLANTED-1","Props":[{"PropertyName":"Password","Value2":"PLANTED-2"}],"PropLists":[{"PropertyListName":"x","Values":["PLANTED-3"]}]},{"UserName":"0C0100000A00000088A63103E2B3C2A8F1E05A7D9B6C4D3E2F1A","AccountUsage":[],"SiteCode":"PS1"}]`,
		sciSysResUse:    roleRows,
		sciSite:         `[{"SiteCode":"PS1","SQLAccountPassword":"PLANTED-4","ServiceAccountPassword":"PLANTED-5","Props":[{"PropertyName":"GlobalAccount:1","Value1":"PLANTED-6","Value2":"PLANTED-7"}]}]`,
		sciProperty:     `[{"ItemType":"SMS_DISCOVERY_DATA_MANAGER","SiteCode":"PS1","PropertyName":"GlobalAccount:2","Value":1,"Value1":"PLANTED-8"},{"ItemType":"X","SiteCode":"PS1","PropertyName":"SETTINGS","Value":1,"Value1":"PLANTED-9"}]`,
		sciPropertyList: `[{"ItemType":"X","SiteCode":"PS1","PropertyListName":"Passwords","Values":["PLANTED-10"]}]`,
		smsVariable:     `[{"CollectionID":"PS100001","Name":"LocalAdmin","Value":"PLANTED-11"}]`,
		smsStep:         `[{"PackageID":"PS100002","StepClass":"SMS_TaskSequence_JoinDomainWorkgroupAction","DomainUsername":"C\\join","DomainPassword":"PLANTED-12"}]`,
		smsSequence:     `[{"PackageID":"PS100002","Name":"x","Sequence":"PLANTED-13","LastRefreshTime":"PLANTED-14"}]`,
		smsAdmin:        `[{"LogonName":"C\\adm","Roles":["SMS0001R"],"Comment":"PLANTED-15"}]`,
	}
	d, notices := built(t, planted)
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	all := string(text)
	for _, n := range notices {
		all += n.String()
	}
	if i := strings.Index(all, "PLANTED"); i >= 0 {
		t.Errorf("a secret survives: …%s", all[max(0, i-80):min(len(all), i+20)])
	}
	if strings.Contains(all, "0C0100000A") {
		t.Error("a ciphertext in the column of names survives")
	}
	if len(d.Variables) != 1 || len(d.Sequences) != 1 {
		t.Errorf("the rows around the secrets are lost: %d variables, %d sequences", len(d.Variables), len(d.Sequences))
	}
}

func TestNeverCollectedIsNotAskedFor(t *testing.T) {
	for _, a := range Asks() {
		for _, c := range a.Columns {
			if (c == "Props" || c == "PropLists") && a.Whole || c == "Props" && a.Class == sciSite {
				continue // reduced property by property
			}
			if IsSecret(a.Class, c) {
				t.Errorf("%s asks for %s", a.Class, c)
			}
		}
	}
	if !IsSecret("SMS_SCI_Reserved", "reserved2") || !IsSecret("Anything", "GlobalAccount:7") || !IsSecret("X", "UserPassword") {
		t.Error("a secret column is not known as one")
	}
}

func TestRowErrorsNameRowAndColumnAndNoValue(t *testing.T) {
	b := NewBuilder(Provenance{Source: Collected, At: readAt})
	err := b.Add(sciReserved, Row{"UserName": "a"}, Row{"UserName": "", "Reserved2": "PLANTED"})
	var re *RowError
	if !errors.As(err, &re) || re.Row != 2 || re.Column != "UserName" || re.Class != sciReserved {
		t.Fatalf("error %v", err)
	}
	if strings.Contains(err.Error(), "PLANTED") {
		t.Errorf("the error holds a value: %v", err)
	}
	if err := b.Add("SMS_R_System", Row{}); !errors.Is(err, ErrClass) {
		t.Errorf("a class that is not read: %v", err)
	}
}

func TestPushSettingsAndComponents(t *testing.T) {
	d, _ := built(t, map[string]string{
		sciProperty: `[
		 {"ItemType":"SMS_DISCOVERY_DATA_MANAGER","SiteCode":"PS1","PropertyName":"SETTINGS","Value":1,"Value1":"Active"},
		 {"ItemType":"SMS_DISCOVERY_DATA_MANAGER","SiteCode":"PS1","PropertyName":"ENABLEKERBEROSCHECK","Value":3,"Value1":""},
		 {"ItemType":"SMS_DISCOVERY_DATA_MANAGER","SiteCode":"PS1","PropertyName":"FILTERS","Value":0,"Value1":""}]`,
		sciPropertyList: `[{"ItemType":"SMS_CLIENT_CONFIG_MANAGER","SiteCode":"PS1","PropertyListName":"Reserved2","Values":["CONTOSO\\push1","CONTOSO\\push2"]}]`,
		sciClientComp:   `[{"ItemName":"Software Distribution","SiteCode":"PS1","PropLists":[{"PropertyListName":"Network Access User Names","Values":["CONTOSO\\naa"]}]}]`,
		sciComponent: `[{"ComponentName":"SMS_NOTIFICATION_MANAGER","SiteCode":"PS1","Props":[
		 {"PropertyName":"EnableSmtpSetting","Value":1},{"PropertyName":"AuthenticationMethod","Value":2},{"PropertyName":"UserName","Value1":"CONTOSO\\mail"}]}]`,
	})
	s := d.Sites[0].Settings
	if s["push.automatic"] != true || s["push.kerberos_check"] != int64(3) || s["push.filters"] != int64(0) || s["smtp.auth"] != int64(2) {
		t.Errorf("settings: %v", s)
	}
	want := "client-push-installation PS1 CONTOSO\\push1\nclient-push-installation PS1 CONTOSO\\push2\nnetwork-access PS1 CONTOSO\\naa\nsmtp-server-connection PS1 CONTOSO\\mail"
	if got := slots(d); got != want {
		t.Errorf("assignments:\n%s", got)
	}
	if why, ok := d.Read(ClassComponents, "PS1", ""); !ok {
		t.Errorf("components were read: %s", why)
	}
}

// A row that names a site by what is no code would count for every site.
func TestRowsNameTheirSite(t *testing.T) {
	for class, row := range map[string]Row{
		sciReserved:  {"UserName": `CONTOSO\a`, "AccountUsage": []any{"Software Distribution"}, "SiteCode": "P0-1"},
		sciAddress:   {"SiteCode": "PS1", "DesSiteCode": "SECOND", "DestinationType": 0.0},
		smsMigration: {"SourceSiteFQDN": "old.contoso.com", "DestinationSiteCode": "P0-1", "Account": `CONTOSO\a`},
		smsSite:      {"SiteCode": "PS1X"},
	} {
		b := NewBuilder(Provenance{Source: Imported, At: readAt})
		var re *RowError
		if err := b.Add(class, row); !errors.As(err, &re) || re.Why != "is no site code" {
			t.Errorf("%s: error %v", class, err)
		}
	}
	b := NewBuilder(Provenance{Source: Imported, At: readAt})
	if err := b.Add(sciAddress, Row{"SiteCode": "PS1", "DesSiteCode": "DP1.CONTOSO.COM", "DestinationType": 1.0}); err != nil {
		t.Errorf("a route to a distribution point: %v", err)
	}
	if err := b.Add(sciReserved, Row{"UserName": `CONTOSO\a`, "AccountUsage": []any{}}); err != nil {
		t.Fatal(err)
	}
	if n := b.Notices(); len(n) != 1 || !strings.Contains(n[0].Text, "counts for every site") {
		t.Errorf("notices of a row without site: %v", n)
	}
}

// Who bears a name that cannot be kept is not known, so that the slot is not empty.
func TestRefusedNameLeavesTheSlotUnknown(t *testing.T) {
	for class, c := range map[string]struct {
		row   Row
		entry string
	}{
		sciReserved: {Row{"UserName": "CONTOSO\\a\x1b[31m", "AccountUsage": []any{"Software Distribution"}, "SiteCode": "PS1"}, entryNetworkAccess},
		smsForest:   {Row{"ForestFQDN": "contoso.com", "Account": "CONTOSO\\a\x00"}, entryForest},
	} {
		b := NewBuilder(Provenance{Source: Imported, At: readAt})
		if err := b.Add(class, c.row); err != nil {
			t.Fatal(err)
		}
		if err := b.Done(class, "", "", ""); err != nil {
			t.Fatal(err)
		}
		if why, ok := b.Document().Filled(c.entry, "PS1"); ok || !strings.Contains(why, "no account name was dropped") {
			t.Errorf("%s: %v, %q", class, ok, why)
		}
	}
}

// A site that only an assignment names is judged like the others.
func TestMergeNamesSitesOfAssignments(t *testing.T) {
	d := Merge(&Document{Sites: []Site{{Code: "PS1"}}, Assignments: []Assignment{
		{Entry: entryNetworkAccess, Site: "PS2", Name: `CONTOSO\a`, Source: Imported},
		{Entry: entryNetworkAccess, Site: "OLD", Name: `CONTOSO\b`, Source: Imported, Removed: readAt},
		{Entry: entryForest, Name: `CONTOSO\c`, Source: Imported},
	}})
	if len(d.Sites) != 2 || d.Sites[0].Code != "PS1" || d.Sites[1].Code != "PS2" {
		t.Errorf("sites: %+v", d.Sites)
	}
}

func TestReadingsTellWhatIsMissing(t *testing.T) {
	b := NewBuilder(Provenance{Source: Collected, Collector: "adminservice", At: readAt})
	_ = b.Done(sciClientComp, "", "", "")
	_ = b.Done(sciReserved, "", "", "403: the account may not read it")
	_ = b.Done(smsSequence, "", "", "")
	d := b.Document()
	if why, ok := d.Read(ClassComponents, "PS1", ""); ok || !strings.Contains(why, "SMS_SCI_Component: not read") {
		t.Errorf("components: %v %q", ok, why)
	}
	if why, ok := d.Filled(entryPush, "PS1"); ok || !strings.Contains(why, "403") {
		t.Errorf("push accounts: %v %q", ok, why)
	}
	if _, ok := d.Filled(entryJoin, "PS1"); ok {
		t.Error("the list of task sequences does not tell the accounts of their steps")
	}
	if _, ok := d.Read(ClassSequences, "", PartSequences); !ok {
		t.Error("the list of task sequences was read")
	}
}

func TestOperationsOfRolesHaveNames(t *testing.T) {
	d, _ := built(t, map[string]string{smsRole: `[{"RoleID":"SMS0003R","RoleName":"Remote Tools Operator","Operations":[{"ObjectTypeID":1,"GrantedOperations":2081},{"ObjectTypeID":31,"GrantedOperations":1073741825}]}]`})
	got := d.Roles[0].Permissions
	if want := "[Read RemoteControl ViewCollectedFile]"; fmt.Sprint(got["SMS_Collection"]) != want {
		t.Errorf("on collections: %v, want %s", got["SMS_Collection"], want)
	}
	if want := "[Read bit 30]"; fmt.Sprint(got["type 31"]) != want {
		t.Errorf("a bit without a name: %v, want %s", got["type 31"], want)
	}
}
