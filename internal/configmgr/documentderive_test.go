package configmgr

import (
	"reflect"
	"testing"
)

func TestSettingsThatFollowFromOtherFacts(t *testing.T) {
	site := `[{"SiteCode":"PS1","SiteName":"One","Type":2,"ReportingSiteCode":"","ServerName":"a","BuildNumber":9128},{"SiteCode":"SEC","SiteName":"Two","Type":1,"ReportingSiteCode":"PS1","ServerName":"b","BuildNumber":9128}]`
	exports := func(more ...Export) *Document {
		d, _, err := Import(append([]Export{{Name: "site.json", Data: []byte(site)}}, more...), imported)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if d := exports(); len(d.Sites[0].Settings) != 0 {
		t.Errorf("nobody read routes, migrations or client settings, and yet: %v", d.Sites[0].Settings)
	}
	d := exports(
		Export{Name: "r.json", Data: []byte(`[{"SiteCode":"PS1","DesSiteCode":"SEC","DestinationType":0,"Props":[{"PropertyName":"LAN Login","Value2":"CONTOSO\\repl"}]}]`)},
		Export{Name: "m.json", Data: []byte("[]"), Cmdlet: "Get-CMMigrationSource"},
		Export{Name: "c.json", Data: []byte(`[{"Name":"A","PermittedViewers":["CONTOSO\\x"],"PermissionRequired":1,"FirewallExceptionProfiles":"Domain"},{"Name":"B","PermittedViewers":["CONTOSO\\y"],"PermissionRequired":0,"FirewallExceptionProfiles":"Domain"}]`)},
	)
	want := map[string]any{
		"replication.accounts": []string{`CONTOSO\repl`}, "migration.active": false,
		"RemoteTools.PermittedViewers": []string{`CONTOSO\x`, `CONTOSO\y`}, "RemoteTools.Enabled": true,
	}
	if got := d.Sites[1].Settings; !reflect.DeepEqual(got, want) {
		t.Errorf("settings of SEC: %v, want %v", got, want)
	}
	if got := d.Sites[0].Settings["replication.accounts"]; !reflect.DeepEqual(got, []string{}) {
		t.Errorf("nobody replicates to PS1: %v", got)
	}
	d = exports(Export{Name: "m.json", Data: []byte(`[{"Account":"OLD\\m","AccountForSql":"","SourceSiteFQDN":"old.test","DestinationSiteCode":"PS1","IsDeleted":false,"IsDecommissioned":false}]`)})
	if d.Sites[0].Settings["migration.active"] != true || d.Sites[1].Settings["migration.active"] != true {
		t.Errorf("a migration is in progress: %v", d.Sites)
	}
}
