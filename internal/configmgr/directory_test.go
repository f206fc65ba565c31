package configmgr

import (
	"strings"
	"testing"
)

const publishedSite = `
fixture: 1
domain: contoso.test
netbios: CONTOSO
sid: S-1-5-21-100-200-300
users:
  - {name: svc-forest, account: svc-forest}
  - {name: kiosk, account: kiosk}
groups:
  - {name: CM Servers, members: [PS1-PSV$]}
computers:
  - {name: PS1-PSS, role: server, spns: [CmRcService/ps1-pss.contoso.test]}
  - {name: PS1-PSV, role: server}
  - {name: WS1, role: workstation, spns: [CmRcService/WS1]}
containers:
  - name: System Management
    in: CN=System
    permissions:
      - (A;CI;GA;;;{PS1-PSS$})
      - (A;;GA;;;{svc-forest})
      - (A;CI;GA;;;{CM Servers})
      - (A;;RP;;;{kiosk})
objects:
  - name: SMS-Site-PS1
    in: CN=System Management,CN=System
    classes: [top, mSSMSSite]
    attributes: {mSSMSSiteCode: [PS1], mSSMSSourceForest: [contoso.test]}
  - name: SMS-MP-PS1-PS1-MP.CONTOSO.TEST
    in: CN=System Management,CN=System
    classes: [top, mSSMSManagementPoint]
    attributes: {mSSMSSiteCode: [PS1], dNSHostName: [PS1-MP.contoso.test], mSSMSMPName: [PS1-MP], mSSMSVersion: ["9128"]}
  - name: PS1-PSS-Remote-Installation-Services
    in: CN=PS1-PSS,CN=Computers
    classes: [top, leaf, connectionPoint, serviceAdministrationPoint, intellimirrorSCP]
    attributes: {netbootServer: [PS1-PSS$]}
`

func TestDirectoryShowsSitesAndPublishers(t *testing.T) {
	s := snapshotOf(t, publishedSite)
	d := Seen(s, Provenance{Source: Directory, Collector: "ldap", At: readAt})
	if len(d.Sites) != 1 {
		t.Fatalf("sites: %+v", d.Sites)
	}
	site := d.Sites[0]
	if site.Code != "PS1" || site.Build != 9128 || site.Release != "current-branch" || len(site.Systems) != 1 || site.Systems[0].Host != "ps1-mp.contoso.test" {
		t.Errorf("site %+v", site)
	}
	var seen []string
	for _, x := range d.Sightings {
		seen = append(seen, strings.Join([]string{x.Kind, x.Name, x.Is, x.Detail}, "|"))
	}
	got := strings.Join(seen, "\n")
	for _, want := range []string{
		`management-point|ps1-mp.contoso.test||of site PS1`,
		`publisher|ps1-pss.contoso.test|computer|the container and everything below it`,
		`publisher|CONTOSO\svc-forest|user|the container only, not what is below it`,
		`publisher|CONTOSO\CM Servers|group|the container and everything below it`,
		`publisher|ps1-psv.contoso.test|computer|through CONTOSO\CM Servers: the container and everything below it`,
		`pxe|ps1-pss.contoso.test|computer|`,
		`site|PS1||of forest contoso.test`,
		`remote-control|||`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("not seen: %s\nseen:\n%s", want, got)
		}
	}
	if strings.Contains(got, "kiosk") || strings.Contains(got, "Domain Admins") {
		t.Errorf("somebody who may not publish, or may everything anyway:\n%s", got)
	}
	if why, ok := d.Read(ClassSites, "", ""); ok || !strings.Contains(why, "shows only what sites publish") {
		t.Errorf("the directory shows not all sites: %v %q", ok, why)
	}
	if len(d.Assignments) != 0 {
		t.Errorf("the directory names nobody's slot: %v", d.Assignments)
	}
}

func TestInitIsADeclaredFile(t *testing.T) {
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	p := Provenance{Source: Directory, Collector: "ldap", At: readAt}
	for name, text := range map[string]string{
		"published": Init(snapshotOf(t, publishedSite), c, p),
		"nothing":   Init(snapshotOf(t, "fixture: 1\ndomain: a.test\nnetbios: A\nsid: S-1-5-21-1-2-3\n"), c, p),
	} {
		d, err := ReadDeclared(name, []byte(text), c, Provenance{Collector: "attestation", At: readAt})
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
			continue
		}
		if want := map[string]int{"published": 1, "nothing": 0}[name]; len(d.Sites) != want {
			t.Errorf("%s: %d sites", name, len(d.Sites))
		}
		for _, e := range c.Entries {
			if e.Kind != WindowsGroup && !strings.Contains(text, "{entry: "+e.ID+",") {
				t.Errorf("%s: lacks %s", name, e.ID)
			}
		}
		if name != "published" {
			continue
		}
		// What a person gets by following the template must be read.
		filled := strings.Replace(text, "assignments: []", "assignments:", 1)
		filled = strings.ReplaceAll(filled, "# - {entry", "- {entry")
		if d, err = ReadDeclared(name, []byte(filled), c, Provenance{At: readAt}); err != nil || len(d.Assignments) < 30 {
			t.Errorf("filled in: %v", err)
		}
	}
}
