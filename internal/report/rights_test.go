package report_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/forest/fixture"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/report"
)

// rightsForest has a right that is set twice, one that is set to nobody, and one
// that depends on a WMI filter.
const rightsForest = `
fixture: 1
domain: contoso.test
netbios: CONTOSO
ous:
  - name: Servers
  - {name: Web, in: Servers}
groups:
  - {name: Web Admins, in: Servers}
computers:
  - {name: WEB1, in: Servers/Web, role: server}
wmi-filters:
  - {name: Laptops, query: "SELECT * FROM Win32_Battery"}
policies:
  - name: Deny administrators
    rights:
      SeDenyNetworkLogonRight: [Domain Admins, Enterprise Admins, plain Administrator]
      SeDenyBatchLogonRight: []
      SeBackupPrivilege: [Web Admins]
    restricted:
      Administrators: {members: [Domain Admins, Web Admins]}
  - name: Old baseline
    rights:
      SeDenyNetworkLogonRight: [Guests, plain CONTOSO\nobody]
  - name: Laptops only
    wmi-filter: Laptops
    rights:
      SeDenyServiceLogonRight: [Domain Admins]
  - name: Not for servers
    apply: [Web Admins]
    rights:
      SeDenyInteractiveLogonRight: [Domain Admins]
links:
  - {on: Servers, policies: [Deny administrators, Not for servers]}
  - {on: Servers/Web, policies: [Old baseline, Laptops only]}
`

func webRights(t *testing.T) *report.Rights {
	t.Helper()
	f, err := fixture.Parse([]byte(rightsForest))
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Snapshot(day(0))
	if err != nil {
		t.Fatal(err)
	}
	web := forest.None
	for _, id := range s.BySAMAccountName("WEB1$") {
		web = id
	}
	e := gpo.New(s, reach.New(s))
	scope, ok := e.ScopeOf(web)
	if !ok {
		t.Fatal("WEB1 has no scope")
	}
	return report.NewRights(s, web, e.Result(scope))
}

func right(t *testing.T, r *report.Rights, name string) report.RightsSetting {
	t.Helper()
	for _, st := range r.Rights {
		if st.Name == name {
			return st
		}
	}
	t.Fatalf("no right %s", name)
	return report.RightsSetting{}
}

func TestRights(t *testing.T) {
	r := webRights(t)
	st := right(t, r, "SeDenyNetworkLogonRight")
	if st.State != "defined" || !strings.HasPrefix(st.Winner.Policy, "Old baseline {") || st.Winner.Line == 0 || !strings.HasSuffix(st.Winner.File, "GptTmpl.inf") {
		t.Errorf("winner: %+v", st.Winner)
	}
	if len(st.Losers) != 1 || !strings.HasPrefix(st.Losers[0].Policy, "Deny administrators {") || st.Losers[0].Principals[0].Name != `CONTOSO\Domain Admins` {
		t.Errorf("losers: %+v", st.Losers)
	}
	if nobody := right(t, r, "SeDenyBatchLogonRight"); nobody.State != "defined" || len(nobody.Principals) != 0 {
		t.Errorf("a right set to nobody: %+v", nobody)
	}
	if maybe := right(t, r, "SeDenyServiceLogonRight"); maybe.State != "undecided" || len(maybe.Outcomes) != 2 || len(maybe.Reasons) == 0 || maybe.Winner != nil {
		t.Errorf("a right behind a WMI filter: %+v", maybe)
	}
	if none := right(t, r, "SeDenyInteractiveLogonRight"); none.State != "not defined" || len(r.Rejected) == 0 {
		t.Errorf("a right that only a filtered policy sets: %+v; rejected: %+v", none, r.Rejected)
	}
	if r.Undecided != 1 {
		t.Errorf("%d undecided", r.Undecided)
	}
	right(t, r, "SeBackupPrivilege")
	if r.Rights[0].Name != "SeDenyNetworkLogonRight" {
		t.Error("the guide's rights are not first")
	}
}

func TestRightsOutput(t *testing.T) {
	r := webRights(t)
	var text, wide, out bytes.Buffer
	if err := r.Text(&text, report.Screen{}); err != nil {
		t.Fatal(err)
	}
	golden(t, "rights.txt", text.String())
	if err := r.Text(&wide, report.Screen{Width: 120, Color: true, Evidence: true}); err != nil {
		t.Fatal(err)
	}
	golden(t, "rights.ansi", wide.String())
	if err := r.JSON(&out); err != nil {
		t.Fatal(err)
	}
	golden(t, "rights.json", out.String())
	var back report.Rights
	if err := json.Unmarshal(out.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if back.Computer.Name != "WEB1" || len(back.Rights) != len(r.Rights) {
		t.Errorf("read back: %+v", back.Computer)
	}
	if err := r.JSON(&broken{}); err == nil {
		t.Error("a writer that fails is not reported")
	}
}

// Names of rights stand in policy files, which anybody may write who can write one
// policy: a terminal shows them and does not obey them.
func TestRightsTextObeysNothing(t *testing.T) {
	r := webRights(t)
	r.Rights[0].Name = "Se\x1b[2J"
	var text bytes.Buffer
	if err := r.Text(&text, report.Screen{Width: 120}); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsRune(text.String(), '\x1b') || !strings.Contains(text.String(), "Se<U+001B>[2J") {
		t.Errorf("the name of a right reaches the terminal as it is:\n%q", text.String())
	}
}
