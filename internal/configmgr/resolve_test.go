package configmgr

import (
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/forest/fixture"
	"github.com/leastwise/leastwise/internal/secdesc"
)

func snapshotOf(t testing.TB, text string) *forest.Snapshot {
	t.Helper()
	f, err := fixture.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Snapshot(readAt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const twoDomains = `
fixture: 1
domain: contoso.test
netbios: CONTOSO
sid: S-1-5-21-100-200-300
users:
  - {name: svc-push, account: svc-push, upn: svc-push@contoso.test}
  - {name: svc-naa, account: svc-naa, upn: naa@mail.example}
  - {name: twin, account: twin}
  - {name: cm install, account: cminstall}
groups:
  - {name: CM Viewers}
computers:
  - {name: PS1-PSS, role: server}
gmsas:
  - {name: gmsa-rs}
objects:
  - name: fabrikam.test
    classes: [top, leaf, trustedDomain]
    in: CN=System
    attributes: {trustPartner: [fabrikam.test], flatName: [FABRIKAM], trustDirection: ["2"], trustType: ["2"], trustAttributes: ["8"]}
domains:
  - domain: child.contoso.test
    netbios: CHILD
    sid: S-1-5-21-100-200-400
    parent: contoso.test
    users:
      - {name: twin, account: twin}
      - {name: svc-child, account: svc-child}
`

func TestNamesAreResolved(t *testing.T) {
	s := snapshotOf(t, twoDomains)
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	sam := func(name string) string {
		ids := s.BySAMAccountName(name)
		if len(ids) != 1 {
			t.Fatalf("%s: %d", name, len(ids))
		}
		return s.SID(ids[0]).String()
	}
	for _, x := range []struct{ name, entry, site, sid, kind, why string }{
		{`CONTOSO\svc-push`, entryPush, "", sam("svc-push"), KindUser, ""},
		{`contoso.test\SVC-PUSH`, entryPush, "", sam("svc-push"), KindUser, ""},
		{`svc-push@contoso.test`, entryPush, "", sam("svc-push"), KindUser, ""},
		{`cminstall@contoso.test`, entryPush, "", sam("cminstall"), KindUser, ""},
		{`naa@mail.example`, entryNetworkAccess, "", sam("svc-naa"), KindUser, ""},
		{`svc-naa`, entryNetworkAccess, "", sam("svc-naa"), KindUser, ""},
		{sam("svc-naa"), entryNetworkAccess, "", sam("svc-naa"), KindUser, ""},
		{`CONTOSO\gmsa-rs$`, entryReporting, "", sam("gmsa-rs$"), KindManaged, ""},
		{`CONTOSO\PS1-PSS$`, entrySiteSystem, "", sam("PS1-PSS$"), KindComputer, ""},
		{`CONTOSO\CM Viewers`, entryViewers, "", sam("CM Viewers"), KindGroup, ""},
		{`NT AUTHORITY\SYSTEM`, entryReporting, "", "S-1-5-18", KindGroup, ""},
		{`twin`, entryPush, "", "", "", "ambiguous: 2 accounts"},
		{`twin`, entryPush, "CH1", s.SID(childTwin(t, s)).String(), KindUser, ""},
		{`CHILD\twin`, entryPush, "", s.SID(childTwin(t, s)).String(), KindUser, ""},
		{`CONTOSO\gone`, entryPush, "", "", "", "there is no gone in contoso.test: deleted, renamed or misspelt"},
		{`S-1-5-21-100-200-300-9999`, entryPush, "", "S-1-5-21-100-200-300-9999", "", "deleted: contoso.test"},
		{`S-1-5-21-7-8-9-1000`, entryPush, "", "S-1-5-21-7-8-9-1000", "", "of a domain that the snapshot does not hold"},
		{`FABRIKAM\svc`, entryForest, "", "", KindForeign, "of the trusted domain fabrikam.test"},
		{`NOWHERE\svc`, entryForest, "", "", "", "neither a domain of the snapshot"},
		{`.\cmlocal`, entryMulticast, "", "", KindLocal, "a local account"},
		{`PS1-PSS\cmlocal`, entryMulticast, "", "", KindLocal, "a local account of PS1-PSS"},
		{`CH1-MP\cmlocal`, entryMulticast, "", "", KindLocal, "a local account of CH1-MP"},
		{`svc-push`, "mebx", "", "", KindFirmware, "management firmware"},
	} {
		d := &Document{
			Version:     1,
			Sites:       []Site{{Code: "CH1", Domain: "child.contoso.test", Systems: []SiteSystem{{Host: "ch1-mp.child.contoso.test"}}}},
			Assignments: []Assignment{{Entry: x.entry, Site: x.site, Name: x.name, Source: Imported}},
		}
		a := ResolveNames(d, s, c).Assignments[0]
		sid := ""
		if a.SID != nil {
			sid = a.SID.String()
		}
		if sid != x.sid || a.Kind != x.kind || !strings.Contains(a.Unsolved, x.why) || (x.why == "") != (a.Unsolved == "") {
			t.Errorf("%s: sid %q, kind %q, why %q; want %q, %q, %q", x.name, sid, a.Kind, a.Unsolved, x.sid, x.kind, x.why)
		}
		if a.Name != x.name {
			t.Errorf("the spelling %q became %q", x.name, a.Name)
		}
		if d.Assignments[0].SID != nil {
			t.Error("the document given was changed")
		}
	}
}

func childTwin(t *testing.T, s *forest.Snapshot) forest.ID {
	t.Helper()
	for _, id := range s.BySAMAccountName("twin") {
		if d, _ := s.DomainOf(id); d.NetBIOS == "CHILD" {
			return id
		}
	}
	t.Fatal("no twin in the child domain")
	return forest.None
}

func TestSIDThatContradictsTheNameIsToldNotChanged(t *testing.T) {
	s := snapshotOf(t, twoDomains)
	given := secdesc.MustSID("S-1-5-21-100-200-300-500")
	d := &Document{Version: 1, Assignments: []Assignment{{Entry: entryPush, Name: `CONTOSO\svc-push`, SID: &given, Source: Declared}}}
	a := ResolveNames(d, s, nil).Assignments[0]
	if *a.SID != given || !strings.Contains(a.Unsolved, "the SID given is S-1-5-21-100-200-300-500") {
		t.Errorf("%+v", a)
	}
}
