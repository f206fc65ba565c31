package report_test

import (
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/control"
	"github.com/leastwise/leastwise/internal/forest"
)

// hostile are names that a directory accepts and a report must survive.
var hostile = map[string]string{
	"script":  `<script>alert("x")</script><img src=x onerror=alert(1)>`,
	"rtl":     "helpdesk\u202Exe.nimda",
	"newline": "svc\nbackup\r\n",
	"formula": `=HYPERLINK("http://evil.test","click")`,
	"long":    longName(),
	"hebrew":  "דוד לוי",
	"zalgo":   "a\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301",
	"zero":    "Domain\u200B Admins",
}

func longName() string {
	b := make([]byte, 0, 4000)
	for len(b) < 4000 {
		b = append(b, "CN=VeryLongNameWithoutAnyBreak"...)
	}
	return string(b)
}

const (
	root   = "DC=contoso,DC=test"
	domSID = "S-1-5-21-1004336348-1177238915-682003330"
)

func day(n int) time.Time { return time.Date(2026, 11, 21, 8, 30, 0, 0, time.UTC).AddDate(0, 0, n) }

// sample is a believable assessment of a mid-size company's domain.
func sample() *control.Assessment {
	a := &control.Assessment{
		Version: control.FormatVersion,
		Run: control.Run{
			ID: "9c41d07be2aa", Started: day(0), Finished: day(0).Add(3400 * time.Millisecond),
			Tool: "leastwise 0.1.0", Source: "scan", Reader: `CONTOSO\leastwise-reader`,
			Servers:  []string{"dc1.contoso.test", "dc2.contoso.test"},
			Domains:  []control.DomainSize{{DNS: "contoso.test", DN: root, SID: domSID, Users: 2041, Computers: 412, Groups: 203}},
			Coverage: sampleCoverage(),
		},
		Population: samplePopulation(),
		Paths:      samplePaths(),
		Matrix:     sampleMatrix(),
		Exceptions: sampleExceptions(),
	}
	for i := range a.Population {
		a.Population[i].Control = control.GroupControl{Certain: 25 - i, Outside: 4 + i, Possible: 3 * i % 4, Unread: i % 2}
	}
	a.Findings = sampleFindings(a)
	tally(a)
	return a
}

func sampleCoverage() []forest.Coverage {
	return []forest.Coverage{
		{Area: forest.AreaPartition, Subject: root, State: "complete", Count: 3127},
		{Area: forest.AreaPartition, Subject: "CN=Configuration," + root, State: "complete", Count: 1692},
		{Area: forest.AreaPartition, Subject: "CN=Schema,CN=Configuration," + root, State: "complete", Count: 1762},
		{Area: forest.AreaContainer, Subject: "OU=Board,OU=People," + root, State: "unreadable", Reason: "the container is listed but its children are hidden from the reader: access to list contents is denied; grant the reader List Contents on it", Count: 1},
		{Area: forest.AreaDescriptor, Subject: root, State: "complete", Count: 3127},
		{Area: forest.AreaSACL, Subject: root, State: "not collected", Reason: "audit lists need the right Manage auditing and security log on a domain controller, which the reader rightly lacks"},
		{Area: forest.AreaAttribute, Subject: "ms-Mcs-AdmPwdExpirationTime", State: "complete", Count: 388},
		{Area: forest.AreaFile, Subject: `contoso.test\Policies\{6AC1786C-016F-11D2-945F-00C04FB984F9}\MACHINE\Microsoft\Windows NT\SecEdit\GptTmpl.inf`, State: "complete", Count: 1},
		{Area: forest.AreaFile, Subject: `contoso.test\Policies\{0B4F1C6E-77D2-4D0E-8F11-1B0B6F6A2C55}\MACHINE\Microsoft\Windows NT\SecEdit\GptTmpl.inf`, State: "unreadable", Reason: "STATUS_ACCESS_DENIED: Authenticated Users cannot read the policy folder; rights on 31 kiosk computers cannot be decided", Count: 1},
		{Area: forest.AreaHost, Subject: "local groups and local policy of hosts", State: "not collected", Reason: "hosts were not asked; leastwise collect reads the directory and SYSVOL only"},
	}
}

func member(n int, chain ...string) control.Member {
	name := fmt.Sprintf("%s.%s", []string{"anna", "bruno", "carla", "dirk", "elena", "farid", "greta", "hugo", "ines", "jonas"}[n%10],
		[]string{"alder", "brandt", "costa", "dietz", "ekholm", "fuchs", "grau"}[n%7])
	return control.Member{
		Name: name, DN: "CN=" + name + ",OU=People," + root, SID: fmt.Sprintf("%s-%d", domSID, 1100+n), Kind: "user",
		Enabled: n%6 != 5, Chain: append([]string{name}, chain...),
	}
}

func samplePopulation() []control.Population {
	group := func(name string, rid string, direct int, members ...control.Member) control.Population {
		sid := domSID + "-" + rid
		if len(rid) > 5 {
			sid = rid
		}
		p := control.Population{Group: name, DN: "CN=" + name + ",CN=Users," + root, SID: sid, Domain: "contoso.test", Direct: direct, Effective: len(members)}
		for _, m := range members {
			if m.Temporary {
				p.Temporary++
			} else {
				p.Standing++
			}
		}
		sort.SliceStable(members, func(i, j int) bool { return members[i].Name < members[j].Name })
		p.Members = members
		return p
	}
	admin := control.Member{Name: "Administrator", DN: "CN=Administrator,CN=Users," + root, SID: domSID + "-500", Kind: "user", Enabled: true, Chain: []string{"Administrator", "Enterprise Admins"}}
	ea := []control.Member{admin, member(1, "Enterprise Admins"), member(2, "Forest Operators", "Enterprise Admins")}
	var da []control.Member
	for n := range 9 {
		da = append(da, member(n, "Domain Admins"))
	}
	for n := 9; n < 23; n++ {
		da = append(da, member(n, "Tier0 Operators", "Infrastructure", "Domain Admins"))
	}
	da[3].Temporary, da[12].Temporary = true, true
	for _, name := range []string{"script", "rtl", "newline", "long", "hebrew", "zalgo", "zero"} {
		m := member(60, "Domain Admins")
		m.Name, m.Chain, m.SID = hostile[name], []string{hostile[name], "Domain Admins"}, m.SID+fmt.Sprint(len(name))+name
		m.DN = "CN=" + hostile[name] + ",OU=People," + root
		da = append(da, m)
	}
	var ba []control.Member
	for _, m := range da {
		m.Chain = append(append([]string{}, m.Chain...), "Administrators")
		ba = append(ba, m)
	}
	svc := control.Member{Name: "svc-backup$", DN: "CN=svc-backup,CN=Managed Service Accounts," + root, SID: domSID + "-3301", Kind: "gmsa", Enabled: true, Chain: []string{"svc-backup$", "Administrators"}}
	ba = append(ba, svc)
	var big []control.Member
	for n := range 5000 {
		m := member(n, "All Staff", "Print Operators")
		m.Name, m.SID = fmt.Sprintf("staff%04d", n), fmt.Sprintf("%s-%d", domSID, 10000+n)
		m.Chain[0], m.DN = m.Name, "CN="+m.Name+",OU=People,"+root
		big = append(big, m)
	}
	out := []control.Population{
		group("Enterprise Admins", "519", 3, ea...), group("Domain Admins", "512", 17, da...), group("Administrators", "S-1-5-32-544", 4, ba...),
		group("Schema Admins", "518", 0), group("Account Operators", "S-1-5-32-548", 2, member(31, "Account Operators"), member(32, "Account Operators")),
		group("Backup Operators", "S-1-5-32-551", 1, svc), group("Server Operators", "S-1-5-32-549", 0), group("Print Operators", "S-1-5-32-550", 1, big...),
	}
	out[4].Unknown = []string{"OU=Board,OU=People," + root + " could not be listed: members in it are not counted"}
	return out
}

var denyRights = []string{"SeDenyNetworkLogonRight", "SeDenyBatchLogonRight", "SeDenyServiceLogonRight", "SeDenyInteractiveLogonRight", "SeDenyRemoteInteractiveLogonRight"}

func hostSets() []control.MatrixRow {
	set := func(name, dn, role, scope string) control.MatrixRow {
		return control.MatrixRow{Hosts: control.Subject{Name: name, DN: dn, Kind: "hosts", Domain: "contoso.test", Scope: scope, Hosts: []string{"CN=H1," + dn, "CN=H2," + dn}}, Role: role}
	}
	return []control.MatrixRow{
		set("Domain Controllers", "OU=Domain Controllers,"+root, "domain-controller", ""),
		set("Servers", "OU=Servers,"+root, "server", ""), set("Servers/SQL", "OU=SQL,OU=Servers,"+root, "server", ""), set("Servers/Web", "OU=Web,OU=Servers,"+root, "server", ""),
		set("Servers/Legacy", "OU=Legacy,OU=Servers,"+root, "server", "blocked inheritance"), set("Servers/ConfigMgr", "OU=ConfigMgr,OU=Servers,"+root, "server", ""),
		set("Jump servers", "OU=Jump,OU=Servers,"+root, "exempt", ""),
		set("Workstations", "OU=Workstations,"+root, "workstation", ""), set("Workstations/Finance", "OU=Finance,OU=Workstations,"+root, "workstation", ""),
		set("Workstations/Kiosk", "OU=Kiosk,OU=Workstations,"+root, "workstation", ""), set("Workstations/Labs", "OU=Labs,OU=Workstations,"+root, "workstation", "filter: Lab PCs"),
		set("Computers", "CN=Computers,"+root, "workstation", ""),
	}
}

func sampleMatrix() []control.MatrixRow {
	principals := []string{`CONTOSO\Administrator`, `CONTOSO\Enterprise Admins`, `CONTOSO\Domain Admins`, `BUILTIN\Administrators`, "Local Administrator", `CONTOSO\mgmt-da-1`}
	var rows []control.MatrixRow
	for h, set := range hostSets() {
		for p, principal := range principals {
			row := set
			row.Principal, row.Cells = principal, map[string]control.Outcome{}
			for r, right := range denyRights {
				if o := matrixCell(h, p, r, set.Role); o != "" {
					row.Cells[right] = o
				}
			}
			rows = append(rows, row)
		}
	}
	return rows
}

func matrixCell(h, p, r int, role string) control.Outcome {
	switch {
	case role == "exempt", role == "domain-controller" && p != 0 && p != 5, r == 3 && (p == 0 || p == 4 || p == 5):
		return ""
	case h == 9:
		return control.Unknown
	case h == 4 || h == 11 || (h+p*r)%7 == 3 || p == 3 && r > 2 && h == 2:
		return control.Fail
	}
	return control.Pass
}

func sampleExceptions() []control.ExceptionUse {
	return []control.ExceptionUse{
		{Exception: control.Exception{Control: "LW-F-001", Subject: "CN=dirk.dietz,OU=People," + root, Owner: "CISO", Reason: "Migration of the certificate authority until the end of the year", Expires: day(40)}, State: "used", Matches: 1},
		{Exception: control.Exception{Control: "LW-A-005", Subject: "OU=Service Accounts," + root + "/*", Owner: "Infrastructure", Reason: "Scanner appliance cannot do AES; replacement ordered", Expires: day(-3)}, State: "expired", Matches: 2},
		{Exception: control.Exception{Control: "LW-E-002", Subject: "CN=old.admin,OU=People," + root, Owner: "Service Desk", Reason: "Leaver, account to be deleted", Expires: day(90)}, State: "unused"},
	}
}

// kindOf is a control that the sample fails, and on how many subjects.
type kindOf struct {
	id, title, section string
	severity           control.Severity
	fails, unknown     int
	pass               int
	kind               string
}

var sampleControls = []kindOf{
	{"LW-F-001", "Domain Admins has no members day to day", "app. F", control.Critical, 8, 0, 0, "user"},
	{"LW-E-001", "Enterprise Admins has no members day to day", "app. E", control.Critical, 2, 0, 0, "user"},
	{"LW-I-003", "Only management accounts have entries on AdminSDHolder", "app. I", control.Critical, 3, 0, 11, "container"},
	{"LW-G-001", "Administrators has only its default members", "app. G", control.Critical, 3, 0, 2, "group"},
	{"LW-F-010", "Domain Admins is denied network logon on servers and workstations", "app. F", control.High, 6, 1, 5, "hosts"},
	{"LW-F-011", "Domain Admins is denied local logon on servers and workstations", "app. F", control.High, 5, 1, 6, "hosts"},
	{"LW-E-010", "Enterprise Admins is denied network logon on servers and workstations", "app. E", control.High, 4, 1, 7, "hosts"},
	{"LW-D-001", "The built-in Administrator is sensitive and cannot be delegated", "app. D", control.High, 1, 0, 0, "user"},
	{"LW-D-002", "The built-in Administrator needs a smart card to log on", "app. D", control.High, 1, 0, 0, "user"},
	{"LW-G-010", "Administrators is not denied local logon", "app. G", control.High, 1, 1, 10, "hosts"},
	{"LW-A-001", "No stale account is enabled", "stale accounts", control.Medium, 14, 1, 1902, "user"},
	{"LW-A-005", "Privileged accounts do not have a service principal name", "stale accounts", control.High, 2, 0, 25, "user"},
	{"LW-A-007", "Only domain controllers are trusted for unconstrained delegation", "stale accounts", control.Critical, 2, 0, 408, "computer"},
	{"LW-R-001", "Administrative accounts need a smart card to log on", "authentication", control.Medium, 12, 0, 16, "user"},
	{"LW-R-002", "Administrative accounts are in Protected Users", "authentication", control.Medium, 9, 0, 19, "user"},
	{"LW-H-001", "The local Administrator is denied network logon", "app. H", control.Medium, 4, 1, 7, "hosts"},
	{"LW-D-009", "Changes to the built-in Administrator are audited", "app. D", control.Medium, 0, 1, 0, "user"},
	{"LW-E-009", "Changes to Enterprise Admins are audited", "app. E", control.Medium, 0, 1, 0, "group"},
	{"LW-I-001", "Management accounts are disabled when idle", "app. I", control.High, 1, 0, 1, "user"},
	{"LW-C-001", "Protected groups have default nesting", "app. C", control.Low, 2, 0, 13, "group"},
}

func sampleFindings(a *control.Assessment) []control.Finding {
	var out []control.Finding
	for _, k := range sampleControls {
		c := control.ControlResult{ID: k.id, Title: k.title, Section: k.section, Severity: k.severity, Tally: control.Tally{Pass: k.pass, Fail: k.fails, Unknown: k.unknown}}
		for n := range k.fails + k.unknown {
			f := sampleFinding(k, n)
			if k.id == "LW-F-001" && n == 3 {
				x := a.Exceptions[0].Exception
				f.Exception = &x
				c.Fail--
				c.Excepted++
			}
			out = append(out, f)
		}
		a.Controls = append(a.Controls, c)
	}
	out[0].Subject.Name, out[0].Subject.DN = hostile["script"], "CN="+hostile["script"]+",OU=People,"+root
	out[1].Subject.Name, out[1].Detail = hostile["rtl"], hostile["rtl"]+" is a direct member of Domain Admins."
	out[2].Subject.Name, out[2].Fix.Changes = hostile["long"], []string{"remove member " + hostile["long"]}
	out[4].Subject.Name, out[4].Detail = hostile["formula"], hostile["formula"]
	out[5].Subject.Name = hostile["newline"]
	rank := map[control.Severity]int{control.Critical: 0, control.High: 1, control.Medium: 2, control.Low: 3}
	sort.SliceStable(out, func(i, j int) bool { return rank[out[i].Severity] < rank[out[j].Severity] })
	return out
}

func sampleFinding(k kindOf, n int) control.Finding {
	m := member(n + len(k.id))
	f := control.Finding{
		Control: k.id, Title: k.title, Section: k.section, Severity: k.severity, Outcome: control.Fail,
		Reason:    "whoever holds this can take over every computer of the domain",
		Rationale: "Permanent membership means that one stolen session is enough. The guide keeps these groups empty and fills them for the minutes in which they are needed.",
		Subject:   control.Subject{Name: m.Name, DN: m.DN, SID: fmt.Sprintf("%s-%d", domSID, 2000+n), Kind: k.kind, Domain: "contoso.test"},
		Detail:    fmt.Sprintf("%s: %s does not hold for this %s.", m.Name, k.title, k.kind),
		Fix:       control.Fix{Text: "Remove the account from the group and grant the role for a limited time instead.", Changes: []string{"delete member " + m.DN + " from CN=Domain Admins,CN=Users," + root}},
		Verify:    "leastwise assess shows the control as passed; the group's member attribute no longer lists the account.",
	}
	switch k.kind {
	case "hosts":
		set := hostSets()[n*5%12]
		f.Subject = set.Hosts
		f.Subject.SID = ""
		f.Detail = fmt.Sprintf("On the computers in %s the right does not contain the principal: a later policy replaces the list.", set.Hosts.Name)
		f.Evidence = []control.Evidence{
			{Kind: "policy", Text: "The winning policy sets the right to Guests only", Policy: "Workstation baseline 2019 {3E0E6B9D-9B57-4E2B-9D7A-0B7B7D1F5E11}", File: `contoso.test\Policies\{3E0E6B9D-9B57-4E2B-9D7A-0B7B7D1F5E11}\MACHINE\Microsoft\Windows NT\SecEdit\GptTmpl.inf`, Line: 14 + n, Value: "SeDenyNetworkLogonRight = *S-1-5-32-546", Changed: &control.Changed{Time: day(-200 - n), Version: 7, Server: "DC1"}},
			{Kind: "policy", Text: "This policy sets it rightly but loses: it is linked higher up", Policy: "Deny logon to administrators {81D2A8E0-4A53-4A4C-8F32-6D3B1A5E7C90}", File: `contoso.test\Policies\{81D2A8E0-4A53-4A4C-8F32-6D3B1A5E7C90}\MACHINE\Microsoft\Windows NT\SecEdit\GptTmpl.inf`, Line: 9},
		}
	case "container":
		f.Subject.Name, f.Subject.DN = fmt.Sprintf("AdminSDHolder #%d", n), "CN=AdminSDHolder,CN=System,"+root
		f.Evidence = []control.Evidence{{Kind: "ace", Text: "helpdesk-l2 may write the member list of every protected group", DN: f.Subject.DN, ACE: &control.ACERef{SDDL: "(OA;CI;RPWP;bf9679c0-0de6-11d0-a285-00aa003049e2;;" + domSID + "-2210)", Index: 12 + n, List: "dacl", Inherited: "CN=System," + root, Trustee: `CONTOSO\helpdesk-l2`}, Changed: &control.Changed{Time: day(-1460), Version: 3, Server: "DC-OLD2"}}}
	default:
		f.Evidence = []control.Evidence{
			{Kind: "member", Text: m.Name + " is a member through nested groups", DN: m.DN, Attr: "member", Value: m.DN, Chain: []string{m.Name, "Tier0 Operators", "Infrastructure", "Domain Admins"}, Changed: &control.Changed{Time: day(-90 - n), Version: 1, Server: "DC2"}},
			{Kind: "attribute", Text: "the account can log on", DN: m.DN, Attr: "userAccountControl", Value: "0x10200 NORMAL_ACCOUNT DONT_EXPIRE_PASSWORD"},
		}
	}
	if n >= k.fails {
		f.Outcome, f.Evidence = control.Unknown, nil
		f.Missing = []string{"the policy folder {0B4F1C6E-77D2-4D0E-8F11-1B0B6F6A2C55} is unreadable for the reader: grant Authenticated Users read on it"}
		f.Detail = "The outcome could not be decided."
	}
	return f
}

// tally fills in the summary from controls, as the engine does.
func tally(a *control.Assessment) {
	s := control.Summary{BySeverity: map[control.Severity]int{}, BySection: map[string]control.Tally{}}
	for _, c := range a.Controls {
		s.Pass, s.Fail, s.Unknown, s.Excepted = s.Pass+c.Pass, s.Fail+c.Fail, s.Unknown+c.Unknown, s.Excepted+c.Excepted
		s.BySeverity[c.Severity] += c.Fail
		t := s.BySection[c.Section]
		s.BySection[c.Section] = control.Tally{Pass: t.Pass + c.Pass, Fail: t.Fail + c.Fail, Unknown: t.Unknown + c.Unknown}
	}
	a.Summary = s
}

// samplePaths are ways of every form: shared, alike, long, possible, with something to
// be gained first; with names that a directory accepts and a picture must survive.
func samplePaths() control.ControlPaths {
	at := func(name, class, rdn string) control.Place {
		return control.Place{Name: `CONTOSO\` + name, DN: "CN=" + rdn + "," + root, SID: domSID + "-" + fmt.Sprint(2000+len(rdn)), Class: class}
	}
	step := func(from control.Place, kind, text string, to control.Place, cond string) control.WayStep {
		entry := 4
		return control.WayStep{
			From: from, Kind: kind, Text: text, To: to, If: cond, Remove: "remove the entry", Yields: "full control of the object",
			Evidence: []control.StepEvidence{{Object: to.DN, Entry: &entry, SDDL: "(A;CIID;CCDC;;;" + from.SID + ")", InheritedFrom: "OU=Staff," + root}},
		}
	}
	da, desk := at("Domain Admins", "group", "Domain Admins"), at("Help Desk", "group", "Help Desk")
	legacy := at(hostile["rtl"], "user", "Legacy")
	p := control.ControlPaths{Target: "Tier 0", Goals: []control.Place{da}, CertainTotal: 740, PossibleTotal: 3, UnreadTotal: 130}
	deskWay := []control.WayStep{step(desk, "full-control", "has full control of", legacy, ""), step(legacy, "add-member", "may add members to", da, "")}
	p.Certain = append(p.Certain, control.Way{Principal: legacy, Steps: deskWay[1:]}, control.Way{Principal: desk, Steps: deskWay})
	for i := range 9 {
		u := at(fmt.Sprintf("agent%02d", i), "user", fmt.Sprintf("Agent %s", strings.Repeat("x", i)))
		p.Certain = append(p.Certain, control.Way{Principal: u, Steps: append([]control.WayStep{step(u, "member", "is a member of", desk, "")}, deskWay...)})
	}
	var long []control.WayStep
	from := at(hostile["hebrew"], "user", hostile["hebrew"])
	for i := range 14 {
		to := at(fmt.Sprintf("Chain %d", i), "group", fmt.Sprintf("Chain %d", i))
		if i == 13 {
			to = da
		}
		long = append(long, step(from, "write-allowed-to-act", "may write msDS-AllowedToActOnBehalfOfOtherIdentity of", to, ""))
		from = to
	}
	long[0].First = [][]control.WayStep{{step(desk, "member", "is a member of", legacy, "")}}
	p.Certain = append(p.Certain, control.Way{Principal: long[0].From, Steps: long})
	for i, name := range []string{"script", "zalgo", "long"} {
		u := at(hostile[name], "user", hostile[name])
		p.Possible = append(p.Possible, control.Way{Principal: u, Steps: []control.WayStep{
			step(u, "write-logon-script", "may choose the logon script of", at(fmt.Sprintf("adm%d", i), "user", fmt.Sprintf("Adm %d", i)), "the user logs on"),
			step(at(fmt.Sprintf("adm%d", i), "user", fmt.Sprintf("Adm %d", i)), "member", "is a member of", da, ""),
		}})
	}
	entry := 9
	cut := control.Removal{
		Kind: "add-member", Object: control.Place{Name: `CONTOSO\AdminSDHolder`, DN: "CN=AdminSDHolder,CN=System," + root, Class: "container"}, Entry: &entry,
		SDDL: "(A;;CCDC;;;" + legacy.SID + ")", Text: "remove entry 9 from the DACL of AdminSDHolder", Lost: legacy.Name + " may add members to all that AdminSDHolder protects",
	}
	member := control.Removal{Kind: "member", Object: desk, Member: &p.Certain[2].Principal, Text: "remove agent00 from the members of Help Desk", Lost: "agent00: all that Help Desk gives"}
	p.Cut = control.SmallestCut{Removals: []control.Removal{cut, member}, Stay: 12}
	p.Chokes = []control.ChokePoint{{Removal: cut, Principals: 720, Sample: []control.Place{legacy, desk}}, {Removal: member, Principals: 1, Sample: []control.Place{p.Certain[2].Principal}}}
	for i := range 100 {
		p.Unread = append(p.Unread, fmt.Sprintf("permissions of CN=Hidden %d,%s", i, root))
	}
	return p
}
