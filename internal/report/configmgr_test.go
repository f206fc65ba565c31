package report_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/leastwise/leastwise/docs/schema"
	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/internal/configmgr/judge"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/forest/fixture"
	"github.com/leastwise/leastwise/internal/report"
)

// A siteKit is the demonstration company with its site.
type siteKit struct {
	cat  *configmgr.Catalogue
	snap *forest.Snapshot
	doc  *configmgr.Document
	now  time.Time
}

// demoSite reads the example.
func demoSite(t *testing.T) siteKit {
	t.Helper()
	k := siteKit{now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	f, err := fixture.ParseFS(os.DirFS("../../examples"), "contoso-configmgr.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if k.snap, err = f.Snapshot(k.now); err != nil {
		t.Fatal(err)
	}
	if k.cat, err = configmgr.Load(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("../../examples/configmgr/site.yaml")
	if err != nil {
		t.Fatal(err)
	}
	said, err := configmgr.ReadDeclared("site.yaml", data, k.cat, configmgr.Provenance{Source: configmgr.Declared, Collector: "attestation", File: "site.yaml", At: k.now})
	if err != nil {
		t.Fatal(err)
	}
	seen := configmgr.Seen(k.snap, configmgr.Provenance{Source: configmgr.Directory, Collector: "ldap", At: k.now})
	k.doc = configmgr.ResolveNames(configmgr.Merge(said, seen), k.snap, k.cat)
	return k
}

func (k siteKit) slots() *report.Slots {
	drift := []report.SlotDrift{{Entry: "network-access", Site: "P01", Kind: "not-confirmed", Name: `CONTOSO\svc-cmnaa`, Text: "declared, not imported"}}
	return report.NewSlots(k.cat, k.doc, drift, k.now)
}

func (k siteKit) assess(t *testing.T) *report.ConfigMgr {
	t.Helper()
	a, err := judge.Judge(judge.Input{Snapshot: k.snap, Document: k.doc, Catalogue: k.cat, Now: k.now})
	if err != nil {
		t.Fatal(err)
	}
	return report.NewConfigMgr(k.snap, k.cat, k.slots(), a)
}

func (k siteKit) whoIs(name string) *report.WhoIs {
	q := report.WhoIsQuestion{Name: name, Catalogue: k.cat, Document: k.doc, Snapshot: k.snap, Object: forest.None}
	if ids := k.snap.BySAMAccountName(name); len(ids) == 1 {
		sid := k.snap.SID(ids[0])
		q.Object, q.SID = ids[0], &sid
	}
	return report.NewWhoIs(q)
}

func shown(t *testing.T, write func(io.Writer, report.Screen) error, s report.Screen) string {
	t.Helper()
	return written(t, func(w io.Writer) error { return write(w, s) })
}

// The example reads as it should, in text.
func TestConfigMgrText(t *testing.T) {
	k := demoSite(t)
	golden(t, "slots.txt", shown(t, k.slots().Text, report.Screen{}))
	golden(t, "slots.ansi", shown(t, k.slots().Text, report.Screen{Width: 120, Color: true}))
	golden(t, "slots.json", written(t, k.slots().JSON))
	golden(t, "whois.txt", shown(t, k.whoIs("svc-cmnaa").Text, report.Screen{}))
	golden(t, "slot-entry.txt", shown(t, report.NewSlotEntry(k.cat, k.cat.Entry("network-access")).Text, report.Screen{}))
}

// That nothing names an account says that it can be disabled only where everything was
// read that could name it: slots, lists of the hierarchy, hosts and databases.
func TestWhoIsNamesWhatWasNotRead(t *testing.T) {
	k := demoSite(t)
	doc := *k.doc
	doc.Readings, k.doc = nil, &doc
	classes := []configmgr.Class{
		configmgr.ClassSites, configmgr.ClassAssignments, configmgr.ClassAdmins, configmgr.ClassPackages, configmgr.ClassSequences, configmgr.ClassAccounts,
		configmgr.ClassGroups, configmgr.ClassUserRights, configmgr.ClassShares, configmgr.ClassFolders, configmgr.ClassWMI, configmgr.ClassDatabase,
	}
	for _, c := range classes {
		doc.Readings = append(doc.Readings, configmgr.Reading{Source: configmgr.Collected, Class: c})
	}
	all := k.whoIs("svc-print")
	if all.Answer != report.WhoIsUnused || !strings.Contains(all.Words, "were not looked for") {
		t.Errorf("all was read: %s, %q, not known %q", all.Answer, all.Words, all.Unknown)
	}
	for i, want := range map[int]string{
		2: "administrative users were not read", 3: "access lists were not read", 4: "steps of task sequences", 5: "the stored accounts were not read of P01",
		6: "local groups, which were not read, of ", 7: "user rights", 8: "shares", 9: "folders", 10: "WMI and DCOM", 11: "rights in databases, which were not read: ",
	} {
		without := doc
		without.Readings = slices.Delete(slices.Clone(doc.Readings), i, i+1)
		k.doc = &without
		if got := k.whoIs("svc-print"); got.Answer != report.WhoIsUnknown || !strings.Contains(strings.Join(got.Unknown, "\n"), want) {
			t.Errorf("%s was not read: %s, not known %q", classes[i], got.Answer, got.Unknown)
		}
	}
}

// A group cannot be disabled, and that is not called unknown.
func TestWhoIsGroup(t *testing.T) {
	k := demoSite(t)
	if got := shown(t, k.whoIs("Domain Admins").Text, report.Screen{}); !strings.Contains(got, ", group, ") || strings.Contains(got, "whether enabled") {
		t.Errorf("a group:\n%s", got)
	}
}

// An assessment says what failed, for whom, by which evidence and with which remedy, and
// what is missing for the rest.
func TestConfigMgrAssessText(t *testing.T) {
	k := demoSite(t)
	got := shown(t, k.assess(t).Text, report.Screen{Evidence: true})
	for _, want := range []string{
		"Configuration Manager: assessment of Contoso",
		`critical  CMX-01 `,
		`No ConfigMgr account in a privileged directory group: CONTOSO\svc-cmpush as client-push-installation at P01`,
		"Remedy: Remove; grant the narrow right",
		"[reference lines 341, 587; Misconfiguration Manager; PREVENT-10]",
		"What is missing to decide the unknown controls",
		"Accounts in more than one slot",
		`CONTOSO\svc-cmnaa  network-access (P01), ts-domain-joining (P01)`,
		"Sources differ in 1 point",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the text lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "directory alone") {
		t.Error("a document was given, and yet only the directory is said to have been read")
	}
}

// JSON follows the published schema, and the schema knows every field.
func TestConfigMgrSchema(t *testing.T) {
	k := demoSite(t)
	rotate, err := k.cat.Rotate(k.doc, configmgr.Slot{Entry: "network-access", Site: "P01"})
	if err != nil {
		t.Fatal(err)
	}
	plan, err := k.cat.Provision(k.doc, configmgr.ProvisionRequest{
		Slot: configmgr.Slot{Entry: "ts-domain-joining", Site: "P01"}, Account: "svc-join", OU: "OU=Service Accounts,DC=contoso,DC=test",
		NetBIOS: "CONTOSO", JoinOUs: []string{"OU=Workstations,DC=contoso,DC=test"},
	})
	if err != nil {
		t.Fatal(err)
	}
	whole := k.assess(t)
	for name, write := range map[string]func(io.Writer) error{
		"slots": k.slots().JSON, "assess": whole.JSON, "who-is": k.whoIs("svc-cmnaa").JSON,
		"explain": report.NewSlotEntry(k.cat, k.cat.Entry("sms-admins")).JSON,
		"rotate":  encoded(map[string]any{"version": 1, "procedures": []any{rotate}}),
		"provision": encoded(struct {
			Version int `json:"version"`
			*configmgr.Provision
		}{1, plan}),
	} {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(written(t, write)))
		if err != nil {
			t.Fatal(err)
		}
		sch := outputSchema(t, name)
		if err := sch.Validate(v); err != nil {
			t.Errorf("the output of %s does not follow the schema: %v", name, err)
		}
		delete(v.(map[string]any), "version")
		if sch.Validate(v) == nil {
			t.Errorf("the schema of %s accepts an answer without a version", name)
		}
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(written(t, func(w io.Writer) error { return report.JSONWith(w, sample(), whole) })))
	if err != nil {
		t.Fatal(err)
	}
	if err := compile(t).Validate(v); err != nil {
		t.Errorf("assess with configmgr does not follow the schema: %v", err)
	}
}

func encoded(v any) func(io.Writer) error {
	return func(w io.Writer) error { return json.NewEncoder(w).Encode(v) }
}

// outputSchema compiles the form of one command so that it takes no field that it does
// not name.
func outputSchema(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(schema.ConfigMgrOutput()))
	if err != nil {
		t.Fatal(err)
	}
	for _, def := range doc.(map[string]any)["$defs"].(map[string]any) {
		if d := def.(map[string]any); d["properties"] != nil {
			d["additionalProperties"] = false
		}
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(schemaBase+"configmgr-output.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	sch, err := c.Compile(schemaBase + "configmgr-output.schema.json#/$defs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return sch
}

// The page carries all it needs, runs no script and shows nothing as markup that came
// from a name.
func TestConfigMgrPage(t *testing.T) {
	k := demoSite(t)
	k.doc.Hierarchy = `<script>alert("x")</script>`
	c := k.assess(t)
	got := written(t, c.HTML)
	for _, want := range []string{
		"default-src &#39;none&#39;", "Differences between sources", "Oldest secrets", "Accounts in Tier 0", `<td class="fail" title="P01: fail, filled by 1 principal">`,
		`<td class="unknown" title="P01: not judged, not known who fills it">`, `<th scope="row"><a href="#cm-network-access"><bdi>Network Access Account</bdi></a></th>`, "&lt;script&gt;",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if regexp.MustCompile(`<script|<link [^>]*href="http|src=`).MatchString(got) {
		t.Error("the page has a script or asks for something")
	}
	ids := map[string]bool{}
	for _, m := range regexp.MustCompile(` id="([^"]+)"`).FindAllStringSubmatch(got, -1) {
		if ids[m[1]] {
			t.Errorf("the id %s is there twice", m[1])
		}
		ids[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`href="#([^"]+)"`).FindAllStringSubmatch(got, -1) {
		if !ids[m[1]] {
			t.Errorf("a link leads to %s, which is not there", m[1])
		}
	}
	var whole bytes.Buffer
	if err := report.HTMLWith(&whole, sample(), report.Beside{ConfigMgr: c}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(whole.String(), `<a href="#configmgr">`) || !strings.Contains(whole.String(), `id="cm-slots"`) {
		t.Error("the whole report has no section about Configuration Manager")
	}
}

// Forty sites: one column each, every slot a row, and a page that a browser opens.
func TestConfigMgrFortySites(t *testing.T) {
	k := demoSite(t)
	one := k.doc
	many := &configmgr.Document{Version: 1, Hierarchy: "Large", Readings: one.Readings, Admins: one.Admins}
	for i := range 40 {
		s := one.Sites[0]
		s.Code, s.Name = fmt.Sprintf("S%02d", i), fmt.Sprintf("Site %d", i)
		many.Sites = append(many.Sites, s)
		for _, a := range one.Assignments {
			a.Site = s.Code
			many.Assignments = append(many.Assignments, a)
		}
	}
	k.doc = many
	got := written(t, k.assess(t).HTML)
	if n := strings.Count(got, `<th scope="col"><abbr title="S`); n != 40 {
		t.Errorf("%d columns, want 40", n)
	}
	if n, want := strings.Count(got, "</span></td>"), 40*len(k.cat.Entries); n < want {
		t.Errorf("%d cells, want %d", n, want)
	}
	if len(got) > 4<<20 {
		t.Errorf("the page has %d bytes", len(got))
	}
}

// Unknown never looks like empty: a slot that nobody read is unknown, one that was read
// is empty, and an account that nothing names is not therefore unused.
// What a document says of the directory does not reach the terminal as it is.
func TestSightingsAreShownVisibly(t *testing.T) {
	k := demoSite(t)
	k.doc.Sightings = append(k.doc.Sightings, configmgr.Sighting{Kind: "\x1b[31mkind", Is: "\x1b[31mis", Name: "x", Domain: "contoso.test"})
	if got := shown(t, k.slots().Text, report.Screen{}); strings.Contains(got, "\x1b") {
		t.Errorf("an escape came through:\n%q", got)
	}
}

func TestConfigMgrUnknown(t *testing.T) {
	k := demoSite(t)
	states := map[string]report.SlotState{}
	for _, r := range k.slots().Slots {
		states[r.Entry] = r.Sites[0].State
	}
	for entry, want := range map[string]report.SlotState{
		"network-access": report.SlotFilled, "exchange-server-connection": report.SlotEmpty, "capture-os-image": report.SlotUnknown,
		"mebx": report.SlotAbsent, "sms-admins": report.SlotUnknown,
	} {
		if states[entry] != want {
			t.Errorf("%s is %s, want %s", entry, states[entry], want)
		}
	}
	for name, want := range map[string]report.WhoIsAnswer{"svc-cmnaa": report.WhoIsUsed, "cm-anna": report.WhoIsUsed, "svc-print": report.WhoIsUnknown} {
		if w := k.whoIs(name); w.Answer != want {
			t.Errorf("%s is %s (%s), want %s", name, w.Answer, w.Words, want)
		}
	}
	w := k.whoIs("cm-anna")
	if len(w.Rights) != 1 || w.Rights[0].Via == "" {
		t.Errorf("the group's security role is not found: %+v", w.Rights)
	}
}
