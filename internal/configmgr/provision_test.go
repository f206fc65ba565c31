package configmgr

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// provisionRequest asks for the account of an entry with every parameter.
func provisionRequest(entry string) ProvisionRequest {
	return ProvisionRequest{
		Slot: Slot{Entry: entry, Site: "PS1"}, Account: "svc-cm-new", OU: "OU=Services,DC=example,DC=test", Domain: "example.test", NetBIOS: "EXAMPLE",
		DenyGroup: "CN=Deny Logon,OU=Groups,DC=example,DC=test", Locations: []string{"DC=example,DC=test"},
		JoinOUs: []string{"OU=Staging,DC=example,DC=test"}, Hosts: []string{"sup.example.test"}, Shares: []string{`\\files.example.test\images`},
		Server: `sql.example.test\CM`, Database: "CM_PS1",
	}
}

// provisionSite is a site of a release without accounts.
func provisionSite(release string) *Document {
	return &Document{Sites: []Site{{Code: "PS1", Release: release, Domain: "example.test"}}}
}

func mustProvision(t testing.TB, doc *Document, req ProvisionRequest) *Provision {
	t.Helper()
	p, err := mustLoad(t).Provision(doc, req)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// forms are the text, LDIF and PowerShell of a plan, and those of its inverse.
func forms(t testing.TB, p *Provision) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, undo := range []bool{false, true} {
		var text, ldif, ps strings.Builder
		for _, err := range []error{p.WriteText(&text, undo), p.WriteLDIF(&ldif, undo), p.WritePowerShell(&ps, undo)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		suffix := map[bool]string{false: "", true: " undo"}[undo]
		out["text"+suffix], out["ldif"+suffix], out["powershell"+suffix] = text.String(), ldif.String(), ps.String()
	}
	return out
}

// TestSecretAlphabet holds the alphabet that is judged against what the scripts make.
func TestSecretAlphabet(t *testing.T) {
	script := forms(t, mustProvision(t, provisionSite("2012-R2"), provisionRequest("network-access")))["powershell undo"]
	_, made, ok := strings.Cut(script, "[Convert]::ToBase64String($bytes) + '")
	suffix, _, closed := strings.Cut(made, "'")
	if !ok || !closed {
		t.Fatalf("no secret is made in\n%s", script)
	}
	all := make([]byte, 0, 256)
	for i := range 256 {
		all = append(all, byte(i))
	}
	for _, c := range base64.StdEncoding.EncodeToString(append(all, all...)) + suffix {
		if !strings.ContainsRune(SecretAlphabet, c) {
			t.Errorf("%q is not part of the alphabet", c)
		}
	}
	for _, c := range SecretAlphabet {
		if c == '%' || c < '!' || c > '~' {
			t.Errorf("%q cannot be part of a secret that is entered in the console", c)
		}
	}
}

// TestProvisionEvery plans each slot of a 2012 R2 site: an account, or the reason why not.
func TestProvisionEvery(t *testing.T) {
	c := mustLoad(t)
	refused := 0
	for _, e := range c.Entries {
		p, err := c.Provision(provisionSite("2012-R2"), provisionRequest(e.ID))
		if err != nil {
			if !errors.Is(err, ErrNotProvisioned) {
				t.Errorf("%s: %v", e.ID, err)
			}
			refused++
			continue
		}
		if e.Kind != WindowsAccount {
			t.Errorf("%s of kind %s has a plan", e.ID, e.Kind)
		}
		if p.Actions[0].Kind != MakeAccount || p.Actions[len(p.Actions)-1].Kind != ByHand || len(p.Incomplete) != 0 {
			t.Errorf("%s: actions %+v, incomplete %q", e.ID, p.Actions, p.Incomplete)
		}
		f := forms(t, p)
		for name, want := range map[string]string{
			"text": e.Name, "ldif": "userAccountControl: 1049090\n", "powershell": "-AccountNotDelegated $true", "powershell undo": "Disable-ADAccount", "ldif undo": "changetype: delete",
		} {
			if e.ID == "amt-provisioning-removal" && name == "ldif" {
				want = "userAccountControl: 1114626\n"
			}
			if !strings.Contains(f[name], want) {
				t.Errorf("%s: %s lacks %q:\n%s", e.ID, name, want, f[name])
			}
		}
		for _, a := range p.Actions {
			if a.Do == "" || a.Undo == "" || len(a.SQL) > 0 != (len(a.UndoSQL) > 0) || (a.ldif == "") != (a.undoLDIF == "") || (len(a.script) == 0) != (len(a.undoScript) == 0) {
				t.Errorf("%s: action without inverse: %+v", e.ID, a)
			}
			if a.ACE != nil {
				checkACE(t, a.ACE)
			}
		}
		if _, err := json.Marshal(p); err != nil {
			t.Error(err)
		}
	}
	if want := 8 + 3 + 3 + 2; refused != want { // groups, firmware, lists, and the two added ones
		t.Errorf("%d slots refused, want %d", refused, want)
	}
}

func checkACE(t *testing.T, a *DirectoryACE) {
	t.Helper()
	sid := mustSID(t, "S-1-5-21-1-2-3-1101")
	ace, err := secdesc.ParseACE(strings.ReplaceAll(a.SDDL, "{SID}", sid.String()), secdesc.SID{}, secdesc.SID{})
	if err != nil || ace.SID != *sid || ace.Mask == 0 {
		t.Errorf("SDDL %s: %v", a.SDDL, err)
	}
}

// TestProvisionRights says for each slot what its account gets, and that it gets no more.
func TestProvisionRights(t *testing.T) {
	for entry, want := range map[string][]string{
		"ad-group-discovery":               {"account", "policy", "domain-group", "directory (A;CI;RPLCLORC;;;{SID})", "by-hand"},
		"ad-forest":                        {"account", "policy", "domain-group", "directory (A;CI;RPWPCRCCDCLCLORCWOWDSDDTSW;;;{SID})", "by-hand"},
		"network-access":                   {"account", "policy", "domain-group", "policy", "share", "by-hand"},
		"capture-os-image":                 {"account", "policy", "domain-group", "share", "by-hand"},
		"client-push-installation":         {"account", "policy", "domain-group", "policy", "by-hand"},
		"management-point-connection":      {"account", "policy", "domain-group", "database", "by-hand"},
		"reporting-services-point":         {"account", "policy", "policy", "by-hand"},
		"source-site-database":             {"account", "policy", "domain-group", "database", "by-hand"},
		"software-update-point-connection": {"account", "policy", "domain-group", "local-group", "local-group", "by-hand"},
		"ts-run-as":                        {"account", "policy", "policy", "by-hand"},
		"ts-domain-joining": {
			"account", "policy", "domain-group", "directory (OA;CI;CC;bf967a86-0de6-11d0-a285-00aa003049e2;;{SID})",
			"directory (OA;CIIO;CR;00299570-246d-11d0-a768-00aa006e0529;bf967a86-0de6-11d0-a285-00aa003049e2;{SID})",
			"directory (OA;CIIO;RPWP;4c164200-20c0-11d0-a768-00aa006e0529;bf967a86-0de6-11d0-a285-00aa003049e2;{SID})",
			"directory (OA;CIIO;SW;72e39547-7b18-11d1-adef-00c04fd8d5cd;bf967a86-0de6-11d0-a285-00aa003049e2;{SID})",
			"directory (OA;CIIO;SW;f3a64788-5306-11d1-a9c5-0000f80367c1;bf967a86-0de6-11d0-a285-00aa003049e2;{SID})", "by-hand",
		},
	} {
		p := mustProvision(t, provisionSite("current-branch"), provisionRequest(entry))
		var got []string
		for _, a := range p.Actions {
			s := string(a.Kind)
			if a.ACE != nil {
				s += " " + a.ACE.SDDL
			}
			got = append(got, s)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", entry, got, want)
		}
	}
}

// TestProvisionLogons: accounts that log on interactively are not denied that.
func TestProvisionLogons(t *testing.T) {
	for entry, denied := range map[string]bool{"network-access": true, "ts-run-as": false, "reporting-services-point": false} {
		p := mustProvision(t, provisionSite("current-branch"), provisionRequest(entry))
		all := ""
		for _, a := range p.Actions {
			all += strings.Join(a.Settings, "\n") + "\n"
		}
		if strings.Contains(all, "SeDenyInteractiveLogonRight") != denied || strings.Contains(forms(t, p)["powershell"], "Add-ADGroupMember") != denied {
			t.Errorf("%s: denied %t, settings\n%s", entry, !denied, all)
		}
		if !strings.Contains(all, "SeDenyServiceLogonRight += EXAMPLE\\svc-cm-new") {
			t.Errorf("%s: settings\n%s", entry, all)
		}
	}
}

// TestProvisionRefused: retired slots, and names that other slots have.
func TestProvisionRefused(t *testing.T) {
	c := mustLoad(t)
	for entry, why := range map[string]string{
		"sms-admins": "the site makes and fills this group", "mebx": "lives in firmware", "package-access": "lists principals",
		"ai-sync-point-proxy": "has site-system-proxy-server instead", "health-state-reference-querying": "does not have it any more",
		"enrollment-point-connection": "not supported any more", "site-installation": "setup is run by an administrator",
	} {
		if _, err := c.Provision(provisionSite("current-branch"), provisionRequest(entry)); !errors.Is(err, ErrNotProvisioned) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", entry, err)
		}
	}
	if _, err := c.Provision(provisionSite("current-branch"), provisionRequest("site-system-proxy-server")); err != nil {
		t.Error(err)
	}
	doc := provisionSite("current-branch")
	for _, name := range []string{`EXAMPLE\svc-cm-new`, `example.test\SVC-CM-NEW`, `svc-cm-new@example.test`} {
		doc.Assignments = []Assignment{{Entry: "network-access", Site: "PS1", Name: name}}
		for _, entry := range []string{"capture-os-image", "ad-forest"} {
			if _, err := c.Provision(doc, provisionRequest(entry)); !errors.Is(err, ErrNotProvisioned) || !strings.Contains(err.Error(), "must not serve "+entry) {
				t.Errorf("%s of %s: %v", entry, name, err)
			}
		}
	}
	doc.Assignments = []Assignment{{Entry: "capture-os-image", Site: "PS1", Name: `EXAMPLE\svc-cm-new`}}
	p := mustProvision(t, doc, provisionRequest("ts-domain-joining"))
	if !p.Exists || slices.ContainsFunc(p.Actions, func(a Action) bool { return a.Kind == MakeAccount }) || !strings.Contains(strings.Join(p.Notes, " "), "The reference permits it") {
		t.Errorf("shared: exists %t, notes %q", p.Exists, p.Notes)
	}
	doc.Assignments[0].Name = `OTHER\svc-cm-new`
	if p := mustProvision(t, doc, provisionRequest("ad-forest")); p.Exists {
		t.Error("an account of another domain was taken for this one")
	}
}

// TestProvisionIncomplete: what is not given is named, and nothing is made up for it.
func TestProvisionIncomplete(t *testing.T) {
	for entry, want := range map[string]string{
		"ad-forest": "DNs of the locations", "ts-domain-joining": "organizational units", "capture-os-image": "the shares", "management-point-connection": "server and name of the database", "site-system-installation": "the hosts",
	} {
		req := provisionRequest(entry)
		req.Locations, req.JoinOUs, req.Hosts, req.Shares, req.Server, req.DenyGroup = nil, nil, nil, nil, "", ""
		p := mustProvision(t, provisionSite("current-branch"), req)
		got := strings.Join(p.Incomplete, "|")
		if !strings.Contains(got, want) || !strings.Contains(got, "the group that policies deny") {
			t.Errorf("%s: incomplete %q", entry, got)
		}
		for _, a := range p.Actions {
			if a.Kind == GrantDirectory || a.Kind == GrantShare || a.Kind == GrantDatabase || a.Kind == JoinLocalGroup {
				t.Errorf("%s: action %+v", entry, a)
			}
		}
		if !strings.Contains(forms(t, p)["text"], "Incomplete:") {
			t.Errorf("%s: the text does not say that it is incomplete", entry)
		}
	}
}

// hostile are values that would be more than a name if they were not quoted or refused.
var hostile = []string{
	`x'; Remove-Item C:\ -Recurse #`, "x\u2019; calc #", "x\u2018$(calc)\u201b", "x`n$(calc)", "x\r\nchangetype: delete", "x\ndn: CN=Evil", "x\x00y", `x"; calc; "`,
	"-x", "x%y", "x;y", "x|calc", "x&calc", "{calc}", "@(calc)", "\u202ex", "x\u2028y", " x", "x ", ":x", "<file:///etc/passwd", "#x", "x]; DROP DATABASE CM; --", strings.Repeat("x", 2000), "\xff", "",
}

// TestProvisionHostileNames: names, hosts, databases and the like take no such value at
// all; where DNs and paths may hold one, it stays a literal.
func TestProvisionHostileNames(t *testing.T) {
	c := mustLoad(t)
	set := map[string]func(*ProvisionRequest, string){
		"account":         func(r *ProvisionRequest, v string) { r.Account = v },
		"netbios":         func(r *ProvisionRequest, v string) { r.NetBIOS = v },
		"domain":          func(r *ProvisionRequest, v string) { r.Domain = v + ".test" },
		"host":            func(r *ProvisionRequest, v string) { r.Hosts = []string{v} },
		"server":          func(r *ProvisionRequest, v string) { r.Server = v + ` ` },
		"server instance": func(r *ProvisionRequest, v string) { r.Server = `sql\` + v + "'" },
		"database":        func(r *ProvisionRequest, v string) { r.Database = v + "]" },
	}
	for field, apply := range set {
		for _, v := range hostile {
			req := provisionRequest("management-point-connection")
			apply(&req, v)
			_, err := c.Provision(provisionSite("current-branch"), req)
			if (v == "-x" || v == "x%y") && field == "server instance" { // refused for the quote that was added
				continue
			}
			if !errors.Is(err, ErrParameter) {
				t.Errorf("%s %q: %v", field, v, err)
			} else if strings.ContainsAny(err.Error(), "\n\r\x00\u202e") {
				t.Errorf("%s: error carries control characters: %q", field, err)
			}
		}
	}
	accepted := 0
	plain := forms(t, mustProvision(t, provisionSite("current-branch"), hostileRequest("x")))
	for _, v := range hostile {
		p, err := c.Provision(provisionSite("current-branch"), hostileRequest(v))
		if err != nil {
			if !errors.Is(err, ErrParameter) {
				t.Errorf("%q: %v", v, err)
			}
			continue
		}
		accepted++
		got := forms(t, p)
		for _, name := range []string{"powershell", "powershell undo"} {
			if a, b := skeleton(t, got[name]), skeleton(t, plain[name]); a != b {
				t.Errorf("%q changes the %s:\n%s\nwant\n%s", v, name, a, b)
			}
		}
		for _, name := range []string{"ldif", "ldif undo"} {
			if a, b := ldifKeys(t, got[name]), ldifKeys(t, plain[name]); !slices.Equal(a, b) {
				t.Errorf("%q changes the %s: %q, want %q", v, name, a, b)
			}
		}
		if a, b := strings.Count(got["text"], "\n"), strings.Count(plain["text"], "\n"); a != b {
			t.Errorf("%q changes the text from %d to %d lines", v, b, a)
		}
	}
	if accepted < 8 {
		t.Errorf("only %d hostile values reached the forms: the test shows too little", accepted)
	}
}

// hostileRequest has a value in each parameter that takes free text.
func hostileRequest(v string) ProvisionRequest {
	req := provisionRequest("ts-domain-joining")
	req.OU = "OU=" + v + ",DC=example,DC=test"
	req.DenyGroup = "CN=" + v + ",DC=example,DC=test"
	req.JoinOUs = []string{"OU=" + v + ",DC=example,DC=test"}
	return req
}

// skeleton is a script without comments and with every verbatim string cut out. Outside
// of strings the script may hold only what its own template holds.
func skeleton(t *testing.T, script string) string {
	t.Helper()
	var out strings.Builder
	runes := []rune(script)
	quote := func(r rune) bool { return r == '\'' || r >= '\u2018' && r <= '\u201b' }
	for i := 0; i < len(runes); i++ {
		switch {
		case runes[i] == '#' && (i == 0 || runes[i-1] == '\n'):
			for i < len(runes) && runes[i] != '\n' {
				i++
			}
		case quote(runes[i]):
			for i++; i < len(runes); i++ {
				if quote(runes[i]) {
					if i+1 < len(runes) && quote(runes[i+1]) {
						i++
						continue
					}
					break
				}
			}
			out.WriteString("''")
		default:
			out.WriteRune(runes[i])
		}
	}
	return out.String()
}

// ldifKeys are the attributes and change types of LDIF in order; values in base 64 must
// decode.
func ldifKeys(t *testing.T, ldif string) []string {
	t.Helper()
	form := regexp.MustCompile(`^([A-Za-z-]+)(::?) (.*)$`)
	var out []string
	for _, line := range strings.Split(ldif, "\n") {
		if line == "" || line == "-" || strings.HasPrefix(line, "#") {
			continue
		}
		m := form.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("line %q is no LDIF", line)
			continue
		}
		if m[2] == "::" {
			if _, err := base64.StdEncoding.DecodeString(m[3]); err != nil {
				t.Errorf("line %q: %v", line, err)
			}
		}
		out = append(out, m[1])
	}
	return out
}

func FuzzProvision(f *testing.F) {
	c, err := Load()
	if err != nil {
		f.Fatal(err)
	}
	for _, v := range hostile {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		p, err := c.Provision(provisionSite("current-branch"), hostileRequest(v))
		if err != nil {
			return
		}
		plain, err := c.Provision(provisionSite("current-branch"), hostileRequest("x"))
		if err != nil {
			t.Fatal(err)
		}
		got, want := forms(t, p), forms(t, plain)
		for _, name := range []string{"powershell", "powershell undo"} {
			if skeleton(t, got[name]) != skeleton(t, want[name]) {
				t.Errorf("%q changes the %s:\n%s", v, name, got[name])
			}
		}
		for _, name := range []string{"ldif", "ldif undo"} {
			if !slices.Equal(ldifKeys(t, got[name]), ldifKeys(t, want[name])) {
				t.Errorf("%q changes the %s:\n%s", v, name, got[name])
			}
		}
	})
}
