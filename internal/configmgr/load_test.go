package configmgr

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
)

// loaded reads the built-in catalogue once for all tests; nothing changes it.
var loaded = sync.OnceValues(Load)

// mustLoad is the built-in catalogue.
func mustLoad(t testing.TB) *Catalogue {
	t.Helper()
	c, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCatalogue counts what the reference has: 8 groups, 34 accounts, 196 controls.
func TestCatalogue(t *testing.T) {
	c := mustLoad(t)
	kinds := map[EntryKind]int{}
	var added []string
	own := 0
	for _, e := range c.Entries {
		own += len(e.Controls)
		if !e.InReference() {
			added = append(added, e.ID)
			continue
		}
		kinds[e.Kind]++
	}
	if kinds[WindowsGroup] != 8 || kinds[WindowsAccount]+kinds[AccountList]+kinds[FirmwareAccount] != 34 {
		t.Errorf("entries of the reference by kind: %v", kinds)
	}
	if got := strings.Join(added, " "); got != "site-installation site-system-proxy-server" {
		t.Errorf("added entries: %s", got)
	}
	if own != 168 || len(c.Cross) != 28 || len(c.Controls()) != 196 {
		t.Errorf("%d own and %d cross-cutting controls, %d in all", own, len(c.Cross), len(c.Controls()))
	}
	for i := 1; i < len(c.Entries); i++ {
		a, b := c.Entries[i-1], c.Entries[i]
		if b.InReference() && a.Span[1] >= b.Span[0] {
			t.Errorf("%s stands before %s", a.ID, b.ID)
		}
	}
	for _, e := range c.Entries {
		if c.Entry(e.ID) != e {
			t.Errorf("entry %s is not found", e.ID)
		}
	}
	for _, ctl := range c.Controls() {
		if c.Control(ctl.ID) != ctl {
			t.Errorf("control %s is not found", ctl.ID)
		}
	}
	if c.Entry("no-such") != nil || c.Control("CMX-99") != nil {
		t.Error("something that does not exist was found")
	}
}

// TestComplete proves that each entry of the reference says what its kind is to say.
func TestComplete(t *testing.T) {
	for _, e := range mustLoad(t).Entries {
		if !e.InReference() {
			continue
		}
		for what, missing := range map[string]bool{
			"controls":         len(e.Controls) == 0,
			"discovery":        len(e.Discovery) == 0,
			"releases":         len(e.Releases) == 0,
			"a location":       e.Kind == WindowsGroup && e.Location.Text == "",
			"members":          e.Kind == WindowsGroup && e.Lifecycle.Members.Text == "",
			"clean-up":         e.Kind == WindowsGroup && len(e.Cleanup) == 0,
			"a default":        e.Kind != WindowsGroup && e.Default.Identity == "",
			"types":            e.Kind != WindowsGroup && len(e.Allowed) == 0,
			"multiplicity":     e.Kind != WindowsGroup && e.Multiplicity.Per == "",
			"a place of rest":  e.Kind != WindowsGroup && len(e.Secrets) == 0,
			"a rotation":       e.Kind != WindowsGroup && (e.Rotation.Strategy == RotateNothing || len(e.Rotation.Steps) == 0),
			"a gate":           e.Kind != WindowsGroup && !slices.ContainsFunc(e.Rotation.Steps, func(s RotationStep) bool { return s.Gate != "" }),
			"cross-cutting":    e.Kind == WindowsAccount && !slices.Contains(e.CrossControls, "CMX-01"),
			"a required right": len(e.Required) == 0 && e.ID != "configmgr-dviewaccess",
		} {
			if missing {
				t.Errorf("entry %s lacks %s", e.ID, what)
			}
		}
	}
}

// TestConcerned proves that controls that are asked about accounts have some.
func TestConcerned(t *testing.T) {
	c := mustLoad(t)
	for _, ctl := range c.Controls() {
		perPrincipal := ctl.Scope == PerAssignment || ctl.Scope == PerGroup || ctl.Scope == PerStored || ctl.Scope == PerIdentity
		if perPrincipal && len(c.Concerned(ctl)) == 0 {
			t.Errorf("control %s of scope %s concerns no entry", ctl.ID, ctl.Scope)
		}
		if ctl.Entry == nil && ctl.Concerns == "" {
			t.Errorf("cross-cutting control %s does not say what it concerns", ctl.ID)
		}
		if ctl.Scope == PerGroup && ctl.Entry != nil && ctl.Entry.Kind != WindowsGroup {
			t.Errorf("control %s is asked about groups, %s is none", ctl.ID, ctl.Entry.ID)
		}
	}
	if got := c.Concerned(c.Control("CMA-NAA-01")); len(got) != 1 || got[0].ID != "network-access" {
		t.Errorf("CMA-NAA-01 concerns %v", got)
	}
}

// TestStrict changes one file each and expects an error with file and line.
func TestStrict(t *testing.T) {
	const naa = "entries/network-access.yaml"
	for _, tc := range []struct{ name, file, old, new, want string }{
		{"unknown key", naa, "kind: windows-account", "kynd: windows-account", naa + `:3: unknown field "kynd"`},
		{"duplicate key", naa, "kind: windows-account", "kind: windows-account\nkind: list-of-accounts", naa + ":4: "},
		{"not YAML", naa, "kind: windows-account", "kind: [", naa + ":55: "},
		{"wrong type", naa, "span: [431, 457]", "span: many", naa + ":4: "},
		{"file name", naa, "id: network-access\n", "id: network\n", naa + `:1: id is "network"`},
		{"kind", naa, "kind: windows-account", "kind: user", naa + `:3: kind "user" is not one of`},
		{"status", naa, "current: current", "current: gone", `: current "gone" is not one of`},
		{"release", naa, "releases: ['2012',", "releases: ['2011',", `: release "2011" is not one of`},
		{"span order", naa, "span: [431, 457]", "span: [457, 431]", naa + ":4: span [457, 431] is not within"},
		{"span overlap", naa, "span: [431, 457]", "span: [431, 460]", "overlaps that of"},
		{"separation", naa, "other: ts-run-as", "other: ts-run", `: there is no entry "ts-run"`},
		{"rule", naa, "rule: must-differ", "rule: differs", `: rule "differs" is not one of`},
		{"self", naa, "other: ts-run-as", "other: network-access", ": an entry cannot stand in relation to itself"},
		{"one per", "entries/ts-run-as.yaml", "other: task-sequence", "other: sequence", `: one-per "sequence" is not one of`},
		{"merged", "entries/ai-sync-point-proxy.yaml", "merged_into: site-system-proxy-server", "merged_into: proxy", `: there is no entry "proxy"`},
		{"not merged", "entries/ai-sync-point-proxy.yaml", "merged_into: site-system-proxy-server\n", "", ": merged_into belongs to entries that are merged"},
		{"cross", naa, "cross: [CMX-01", "cross: [CMX-91", `: there is no cross-cutting control "CMX-91"`},
		{"cross is own", naa, "cross: [CMX-01", "cross: [CMA-NAA-01", `: there is no cross-cutting control "CMA-NAA-01"`},
		{"technique", naa, "techniques: [CRED-1,", "techniques: [CRED-99,", `: there is no technique "CRED-99"`},
		{"ref", naa, "refs: [PREVENT-10]", "refs: [PREVENT-99]", `: there is no technique "PREVENT-99"`},
		{"ref form", naa, "refs: [PREVENT-10]", "refs: ['see the web']", `has no known form`},
		{"origin", naa, "origin: [reference]", "origin: [hearsay]", `: origin "hearsay" is not one of`},
		{"no origin", naa, "  origin: [reference]\n  lines: [433]\nreleases", "  lines: [433]\nreleases", ": origin is missing"},
		{"origin without lines", naa, "  origin: [reference]\n  lines: [433]\nreleases", "  origin: [reference]\nreleases", ": origin reference without lines"},
		{"line", naa, "lines: [433]", "lines: [594]", ": line 594 is not in the reference"},
		{"target", naa, "target: user-right", "target: right", `: target "right" is not one of`},
		{"type", naa, "type: domain-user", "type: person", `: type "person" is not one of`},
		{"forbidden", naa, "right: domain-join", "right: joining", `: right "joining" is not one of`},
		{"strategy", naa, "strategy: create-new-then-replace", "strategy: hope", `: strategy "hope" is not one of`},
		{"gate without see", naa, "      see: Network Access User Names of SMS_SCI_ClientComp Software Distribution.\n", "", ": a gate needs see"},
		{"each", naa, "each: host", "each: day", `: each "day" is not one of`},
		{"severity", naa, "severity: high", "severity: grave", `: control CMA-NAA-01: severity "grave" is not one of`},
		{"scope", naa, "scope: site", "scope: world", `: control CMA-NAA-01: scope "world" is not one of`},
		{"collector", naa, "collector: adminservice", "collector: gossip", `: control CMA-NAA-01: there is no collector "gossip"`},
		{"control id", naa, "id: CMA-NAA-02", "id: NAA-2", `: id "NAA-2" has not the form`},
		{"duplicate control", naa, "id: CMA-NAA-02", "id: CMA-NAA-01", ": id CMA-NAA-01 is already used"},
		{"duplicate across files", naa, "id: CMA-NAA-02", "id: CMA-TSR-01", ": id CMA-TSR-01 is already used"},
		{"duplicate with cross", "cross.yaml", "id: CMX-01", "id: CMA-TSR-01", ": id CMA-TSR-01 is already used"},
		{"no condition", naa, "condition: empty(assigned('network-access'))", "condition: ''", ": control CMA-NAA-01: condition is missing"},
		{"pattern", "entries/sms-admins.yaml", "pattern: ^SMS Admins$", "pattern: '['", "is not a regular expression"},
		{"line unknown control", "lines.yaml", "controls: [CMG-CFA-02]", "controls: [CMG-CFA-92]", `: line 43: there is no control "CMG-CFA-92"`},
		{"line unknown field", "lines.yaml", "configmgr-collectedfilesaccess#required", "configmgr-collectedfilesaccess#rights", `has nothing under "rights"`},
		{"line unknown entry", "lines.yaml", "configmgr-collectedfilesaccess#required", "collectedfiles#required", `there is no entry "collectedfiles"`},
		{"line twice", "lines.yaml", "- line: 43\n", "- line: 39\n", ": line 39 is listed twice"},
		{"line without consequence", "lines.yaml", "    controls: [CMG-CFA-02]\n", "", ": line 43 needs either controls or the reason"},
		{"tier", "common.yaml", "tier: T0", "tier: T9", `: collector ldap: tier "T9" is not one of`},
		{"technique kind", "common.yaml", "kind: attack", "kind: trick", `: technique "CRED-1" needs`},
		{"heading twice", "lines.yaml", "[1, 5,", "[1, 1,", ": heading 1 is listed twice"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fsys := builtinFiles(t)
			if tc.file != "lines.yaml" {
				keepFew(fsys)
			}
			text := string(fsys[tc.file].Data)
			if !strings.Contains(text, tc.old) {
				t.Fatalf("%s does not contain %q", tc.file, tc.old)
			}
			fsys[tc.file] = &fstest.MapFile{Data: []byte(strings.Replace(text, tc.old, tc.new, 1))}
			_, err := load(fsys)
			if !errors.Is(err, ErrCatalogue) || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), ".yaml:") {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// keepFew drops the entries that no case of TestStrict needs, and the lines that name
// them: reading all of them for each case takes long.
func keepFew(fsys fstest.MapFS) {
	few := []string{
		"network-access", "capture-os-image", "ts-domain-joining", "ts-network-folder-connection", "ts-run-as", "client-push-installation",
		"ai-sync-point-proxy", "site-system-proxy-server", "sms-admins", "package-access",
	}
	for name := range fsys {
		if id, ok := strings.CutPrefix(name, "entries/"); ok && !slices.Contains(few, strings.TrimSuffix(id, ".yaml")) {
			delete(fsys, name)
		}
	}
	fsys["lines.yaml"] = &fstest.MapFile{Data: []byte("headings: [1]\n")}
}

// TestStrictFew proves that the cases of TestStrict begin with a catalogue that is valid.
func TestStrictFew(t *testing.T) {
	fsys := builtinFiles(t)
	keepFew(fsys)
	if c, err := load(fsys); err != nil || len(c.Entries) != 10 {
		t.Fatalf("%v, %+v", err, c)
	}
}

// TestLimits proves that files that are too large, doubled or missing are refused.
func TestLimits(t *testing.T) {
	fsys := builtinFiles(t)
	fsys["cross.yaml"] = &fstest.MapFile{Data: []byte("# " + strings.Repeat("x", maxFileBytes))}
	if _, err := load(fsys); err == nil || !strings.Contains(err.Error(), "cross.yaml: larger than 1048576 bytes") {
		t.Errorf("too large: %v", err)
	}
	fsys = builtinFiles(t)
	fsys["cross.yaml"] = &fstest.MapFile{Data: append(fsys["cross.yaml"].Data, "\n---\ncontrols: []\n"...)}
	if _, err := load(fsys); err == nil || !strings.Contains(err.Error(), "cross.yaml: holds more than one document") {
		t.Errorf("two documents: %v", err)
	}
	delete(fsys, "cross.yaml")
	if _, err := load(fsys); !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, ErrCatalogue) {
		t.Errorf("missing: %v", err)
	}
}

// builtinFiles copies the files of the catalogue.
func builtinFiles(t *testing.T) fstest.MapFS {
	t.Helper()
	sub, err := fs.Sub(builtin, "catalogue")
	if err != nil {
		t.Fatal(err)
	}
	out := fstest.MapFS{}
	err = fs.WalkDir(sub, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(sub, path)
		out[path] = &fstest.MapFile{Data: data}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func BenchmarkLoad(b *testing.B) {
	for range b.N {
		if _, err := Load(); err != nil {
			b.Fatal(err)
		}
	}
}
