package configmgr

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
)

func mustSID(t testing.TB, s string) *secdesc.SID {
	t.Helper()
	sid, err := secdesc.ParseSID(s)
	if err != nil {
		t.Fatal(err)
	}
	return &sid
}

// rotationSite is a site with two distribution points, one package that names the network
// access account, and one capture sequence of two.
func rotationSite(t testing.TB) *Document {
	naa := mustSID(t, "S-1-5-21-1-2-3-1101")
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	return &Document{
		Version: DocumentVersion,
		Sites: []Site{{
			Code: "PS1", Release: "current-branch", Server: "cm.example.test",
			Systems: []SiteSystem{
				{Host: "dp2.example.test", Roles: []string{"SMS Distribution Point"}},
				{Host: "dp1.example.test", Roles: []string{"SMS Distribution Point", "SMS Site System"}},
				{Host: "mp.example.test", Roles: []string{"SMS Management Point"}},
			},
		}},
		Readings: []Reading{
			{Class: ClassAccounts, At: at},
			{Class: ClassSiteRoles, Scope: "PS1", At: at},
			{Class: ClassPackages, At: at},
			{Class: ClassSequences, At: at},
		},
		Assignments: []Assignment{
			{Entry: "network-access", Site: "PS1", Name: `EXAMPLE\svc-naa`, SID: naa, Kind: "user"},
			{Entry: "network-access", Site: "PS1", Name: `EXAMPLE\old-naa`, Kind: "user", Removed: at},
			{Entry: "ts-network-folder-connection", Site: "PS1", Name: `example.test\svc-naa`, SID: naa},
			{Entry: "capture-os-image", Site: "PS1", Name: `EXAMPLE\svc-cap`},
			{Entry: "management-point-connection", Site: "PS1", Host: "mp.example.test", Name: `EXAMPLE\MP$`, Kind: "computer"},
			{Entry: "ad-forest", Site: "PS1", Location: "partner.test", Name: `PARTNER\svc-pub`},
		},
		Packages: []Package{
			{ID: "PS100002", Name: "Agent", Entries: []Access{{Member: Member{Name: `EXAMPLE\svc-naa`}, Rights: []string{"read"}}}},
			{ID: "PS100003", Name: "Other", Entries: []Access{{Member: Member{Name: `EXAMPLE\others`}, Rights: []string{"read"}}}},
		},
		Sequences: []Sequence{
			{ID: "PS100010", Name: "Capture", Accounts: []Step{{Entry: "capture-os-image", Name: `example\SVC-CAP`}}},
			{ID: "PS100011", Name: "Deploy", Accounts: []Step{{Entry: "ts-domain-joining", Name: `EXAMPLE\svc-cap`}}},
		},
	}
}

func TestRotateNetworkAccess(t *testing.T) {
	c := mustLoad(t)
	p, err := c.Rotate(rotationSite(t), Slot{Entry: "network-access", Site: "ps1"})
	if err != nil {
		t.Fatal(err)
	}
	if p.Strategy != RotateReplace || p.Site != "PS1" || !slices.Equal(p.Accounts, []string{`EXAMPLE\svc-naa`}) {
		t.Errorf("strategy %s, site %s, accounts %q", p.Strategy, p.Site, p.Accounts)
	}
	if !strings.Contains(p.Never, "Reset the password of the existing account") {
		t.Errorf("never: %q", p.Never)
	}
	items := map[Each][]string{}
	gates := 0
	for _, s := range p.Steps {
		if s.Each != "" {
			items[s.Each] = s.Items
		}
		if s.Gate != "" {
			gates++
		}
		if strings.Contains(strings.ToLower(s.Do), "reset") {
			t.Errorf("a step resets: %s", s.Do)
		}
	}
	if !slices.Equal(items[EachHost], []string{"dp1.example.test", "dp2.example.test"}) {
		t.Errorf("hosts %q", items[EachHost])
	}
	if !slices.Equal(items[EachPackage], []string{"PS100002 Agent"}) {
		t.Errorf("packages %q", items[EachPackage])
	}
	if gates < 6 {
		t.Errorf("%d gates", gates)
	}
	if len(p.Also) != 1 || p.Also[0].Entry != "ts-network-folder-connection" {
		t.Errorf("also %v", p.Also)
	}
	if len(p.Unknown) != 0 || len(p.Before) != 0 {
		t.Errorf("unknown %q, before %q", p.Unknown, p.Before)
	}
}

// TestRotateRelease: before R2 the new account takes the place of the old one.
func TestRotateRelease(t *testing.T) {
	c := mustLoad(t)
	for _, tc := range []struct{ release, before, unknown string }{
		{"2012-SP1", "The slot takes one account", ""},
		{"2012-R2", "", ""},
		{"current-branch", "", ""},
		{"", "", "the release of the site"},
	} {
		doc := rotationSite(t)
		doc.Sites[0].Release = tc.release
		p, err := c.Rotate(doc, Slot{Entry: "network-access", Site: "PS1"})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(p.Before, "|"); (got == "") != (tc.before == "") || !strings.Contains(got, tc.before) {
			t.Errorf("release %q: before %q, want %q", tc.release, got, tc.before)
		}
		if got := strings.Join(p.Unknown, "|"); (got == "") != (tc.unknown == "") || !strings.Contains(got, tc.unknown) {
			t.Errorf("release %q: unknown %q, want %q", tc.release, got, tc.unknown)
		}
	}
	doc := rotationSite(t)
	for i := range 9 {
		doc.Assignments = append(doc.Assignments, Assignment{Entry: "network-access", Site: "PS1", Name: `EXAMPLE\naa` + string(rune('0'+i))})
	}
	p, err := c.Rotate(doc, Slot{Entry: "network-access", Site: "PS1"})
	if err != nil || !strings.Contains(strings.Join(p.Before, "|"), "already has 10 of at most 10") {
		t.Errorf("full slot: %v, before %q", err, p.Before)
	}
}

func TestRotateItems(t *testing.T) {
	c := mustLoad(t)
	for _, tc := range []struct {
		entry string
		each  Each
		want  string
	}{
		{"capture-os-image", EachSequence, "PS100010 Capture"},
		{"ad-forest", EachLocation, "partner.test"},
	} {
		p, err := c.Rotate(rotationSite(t), Slot{Entry: tc.entry, Site: "PS1"})
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(p.Steps, func(s ProcedureStep) bool { return s.Each == tc.each })
		if i < 0 || strings.Join(p.Steps[i].Items, "|") != tc.want {
			t.Errorf("%s: steps %+v, want %s", tc.entry, p.Steps, tc.want)
		}
	}
}

// TestRotateMerged: the account that took the place of three is known by their names.
func TestRotateMerged(t *testing.T) {
	c := mustLoad(t)
	doc := rotationSite(t)
	doc.Assignments = append(doc.Assignments,
		Assignment{Entry: "software-update-point-proxy", Site: "PS1", Host: "sup.example.test", Name: `EXAMPLE\svc-proxy`},
		Assignment{Entry: "exchange-connector-proxy", Site: "PS1", Host: "cm.example.test", Name: `EXAMPLE\svc-proxy`},
		Assignment{Entry: "source-site", Site: "PS1", Name: `EXAMPLE\svc-proxy`})
	p, err := c.Rotate(doc, Slot{Entry: "site-system-proxy-server", Site: "PS1"})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(p.Steps, func(s ProcedureStep) bool { return s.Each == EachHost })
	if !slices.Equal(p.Accounts, []string{`EXAMPLE\svc-proxy`}) || i < 0 || !slices.Equal(p.Steps[i].Items, []string{"cm.example.test", "sup.example.test"}) {
		t.Errorf("accounts %q, steps %+v", p.Accounts, p.Steps)
	}
	if len(p.Also) != 1 || p.Also[0].Entry != "source-site" || len(p.Unknown) != 0 {
		t.Errorf("also %v, unknown %q", p.Also, p.Unknown)
	}
}

// TestRotateUnknown: what was not read is named, and a slot that nobody read is not
// called empty.
func TestRotateUnknown(t *testing.T) {
	c := mustLoad(t)
	doc := rotationSite(t)
	doc.Readings = []Reading{{Class: ClassPackages, Missing: "access denied"}}
	p, err := c.Rotate(doc, Slot{Entry: "network-access", Site: "PS1"})
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(p.Unknown, "\n")
	for _, want := range []string{"all the accounts of the slot", "each host is listed: no source has read site-roles", "each package is listed: access denied"} {
		if !strings.Contains(got, want) {
			t.Errorf("unknown lacks %q:\n%s", want, got)
		}
	}
	p, err = c.Rotate(doc, Slot{Entry: "client-push-installation", Site: "PS1"})
	if err != nil || p.Nothing != "" || len(p.Steps) == 0 {
		t.Errorf("slot that nobody read: %v, nothing %q, %d steps", err, p.Nothing, len(p.Steps))
	}
	doc.Readings = []Reading{{Class: ClassAccounts}}
	p, err = c.Rotate(doc, Slot{Entry: "client-push-installation", Site: "PS1"})
	if err != nil || !strings.Contains(p.Nothing, "site-server-computer-account") || len(p.Steps) != 0 {
		t.Errorf("slot that is empty: %v, nothing %q, %d steps", err, p.Nothing, len(p.Steps))
	}
}

func TestRotateNothing(t *testing.T) {
	c := mustLoad(t)
	for entry, want := range map[string]string{
		"sms-admins":                  "a group has no secret",
		"management-point-connection": "change their passwords themselves",
	} {
		p, err := c.Rotate(rotationSite(t), Slot{Entry: entry, Site: "PS1"})
		if err != nil || !strings.Contains(p.Nothing, want) || len(p.Steps) != 0 {
			t.Errorf("%s: %v, nothing %q", entry, err, p.Nothing)
		}
	}
	for _, slot := range []Slot{{Entry: "no-such", Site: "PS1"}, {Entry: "network-access", Site: "XXX"}, {Entry: "network-access", Site: "PS1", Name: `EXAMPLE\old-naa`}} {
		if _, err := c.Rotate(rotationSite(t), slot); !errors.Is(err, ErrSlot) {
			t.Errorf("%v: %v", slot, err)
		}
	}
}

// TestRotateEvery writes the procedure of each entry as text and JSON.
func TestRotateEvery(t *testing.T) {
	c := mustLoad(t)
	for _, e := range c.Entries {
		p, err := c.Rotate(rotationSite(t), Slot{Entry: e.ID, Site: "PS1"})
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := p.WriteText(&b); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), e.Name) || p.Nothing == "" && !strings.Contains(b.String(), "\n 1. ") {
			t.Errorf("%s: text\n%s", e.ID, b.String())
		}
		data, err := json.Marshal(p)
		if err != nil || !strings.Contains(string(data), `"entry":"`+e.ID+`"`) {
			t.Errorf("%s: JSON %s (%v)", e.ID, data, err)
		}
	}
}

// TestRotateHostileName: names cannot forge lines.
func TestRotateHostileName(t *testing.T) {
	c := mustLoad(t)
	doc := rotationSite(t)
	doc.Assignments[0].Name = "x\n 1. Give everybody the password\x1b[2J\u202e"
	p, err := c.Rotate(doc, Slot{Entry: "network-access", Site: "PS1"})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := p.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "\n 1. Give") || strings.ContainsAny(b.String(), "\x1b\u202e") {
		t.Errorf("text\n%s", b.String())
	}
}
