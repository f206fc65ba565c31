package configmgr

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

func texts(list []Difference) string {
	var out []string
	for _, d := range list {
		out = append(out, string(d.Kind)+": "+d.Text)
	}
	return strings.Join(out, "\n")
}

func TestDriftBetweenFileExportAndDirectory(t *testing.T) {
	s := snapshotOf(t, publishedSite+"")
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	declared, err := ReadDeclared("site.yaml", []byte(`
sites:
- {code: PS1, server: ps1-pss.contoso.test, release: current-branch, settings: {push.automatic: true, push.filters: 2}}
assignments:
- {entry: client-push-installation, site: PS1, name: 'contoso.test\svc-forest'}
- {entry: client-push-installation, site: PS1, name: 'CONTOSO\kiosk'}
- {entry: ad-forest, name: 'CONTOSO\kiosk'}
`), c, Provenance{Collector: "attestation", File: "site.yaml", At: readAt})
	if err != nil {
		t.Fatal(err)
	}
	imported, _ := importOne(t, "", strings.Replace(bundleText, "svc-push", "svc-forest", 1))
	seen := Seen(s, Provenance{Source: Directory, Collector: "ldap", At: readAt})
	docs := []*Document{ResolveNames(declared, s, c), ResolveNames(imported, s, c), seen}
	got := texts(Drift(docs...))
	for _, want := range []string{
		`principal: CONTOSO\kiosk fills client-push-installation of PS1 according to declared; imported, having read the whole slot, does not name it`,
		`setting: push.automatic of PS1 is true (declared site.yaml) and false (imported x.json)`,
		`publisher: CONTOSO\svc-forest has full control of the System Management container of contoso.test`,
		`publisher: ps1-psv.contoso.test has full control`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("not told: %s\ntold:\n%s", want, got)
		}
	}
	for _, never := range []string{"push.filters", `contoso.test\svc-forest fills`, `CONTOSO\svc-forest fills`, "network-access", "publisher: ps1-pss", "CM Servers has", "site: "} {
		if strings.Contains(got, never) {
			t.Errorf("no drift, and yet told: %s\n%s", never, got)
		}
	}
}

func TestOneSourceDoesNotDrift(t *testing.T) {
	d, _ := importOne(t, "", bundleText)
	if got := Drift(d); len(got) != 0 {
		t.Errorf("%s", texts(got))
	}
	if got := Drift(d, d); len(got) != 0 {
		t.Errorf("with itself: %s", texts(got))
	}
}

func TestHistoryTellsWhenAndWhetherSomebodyLooked(t *testing.T) {
	day := func(n int) time.Time { return readAt.AddDate(0, 0, n) }
	accounts := func(n int, names ...string) *Document {
		b := NewBuilder(Provenance{Source: Collected, Collector: "adminservice", At: day(n)})
		for _, name := range names {
			if err := b.Add(sciReserved, Row{"UserName": name, "AccountUsage": []any{"Software Distribution"}, "SiteCode": "PS1"}); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Done(sciReserved, "", "", ""); err != nil {
			t.Fatal(err)
		}
		return b.Document()
	}
	d := Update(accounts(0, `C\old`, `C\kept`), accounts(10, `C\kept`, `C\new`))
	other := NewBuilder(Provenance{Source: Collected, Collector: "adminservice", At: day(20)})
	if err := other.Done(smsAdmin, "", "", ""); err != nil {
		t.Fatal(err)
	}
	d = Update(d, other.Document())
	by := map[string]Assignment{}
	for _, a := range d.Assignments {
		by[a.Name] = a
	}
	if a := by[`C\old`]; !a.FirstSeen.Equal(day(0)) || !a.LastSeen.Equal(day(0)) || !a.Removed.Equal(day(10)) {
		t.Errorf("old: %+v", a)
	}
	if a := by[`C\kept`]; !a.FirstSeen.Equal(day(0)) || !a.LastSeen.Equal(day(10)) || !a.Removed.IsZero() {
		t.Errorf("kept: %+v", a)
	}
	if a := by[`C\new`]; !a.FirstSeen.Equal(day(10)) || !a.Removed.IsZero() {
		t.Errorf("new: %+v", a)
	}
	if _, ok := d.Filled(entryNetworkAccess, "PS1"); !ok {
		t.Error("the reading of day 10 was lost on day 20, when nobody read accounts")
	}
	if _, ok := d.Read(ClassAdmins, "", ""); !ok {
		t.Error("the reading of day 20 is missing")
	}
	if back := Update(d, accounts(30, `C\old`)); !strings.Contains(slots(back), `C\old`) {
		t.Error("an account that came back is lost")
	} else {
		for _, a := range back.Assignments {
			if a.Name == `C\old` && !a.Removed.IsZero() {
				t.Errorf("it came back, and counts as removed: %+v", a)
			}
		}
	}
}

func TestUpdateDropsWhatIsGone(t *testing.T) {
	first, _ := importOne(t, "", bundleText)
	second, _ := importOne(t, "", strings.Replace(bundleText, `CONTOSO\\CM Admins`, `CONTOSO\\Other Admins`, 1))
	d := Update(first, second)
	if len(d.Admins) != 1 || d.Admins[0].Name != `CONTOSO\Other Admins` {
		t.Errorf("administrative users: %+v", d.Admins)
	}
	if len(d.Readings) != len(second.Readings) {
		t.Errorf("%d readings after an update with the same classes, want %d", len(d.Readings), len(second.Readings))
	}
}

// Two sources with many package access lists: comparing them takes no time that grows
// with the square of their number.
func TestDriftOfManyAssignments(t *testing.T) {
	many := func(source Source, from int) *Document {
		b := NewBuilder(Provenance{Source: source, Collector: "cmdlet", At: readAt})
		for i := range 30_000 {
			name := "CONTOSO\\pkg-" + strconv.Itoa(from+i)
			if err := b.Add(smsAccess, Row{"PackageID": "PS1" + strconv.Itoa(i), "UserName": name, "Access": "101"}); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Done(smsAccess, "", "", ""); err != nil {
			t.Fatal(err)
		}
		return b.Document()
	}
	if got := len(Drift(many(Imported, 0), many(Collected, 10))); got != 20 {
		t.Errorf("%d differences, want 20", got)
	}
}
