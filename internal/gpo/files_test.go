package gpo_test

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/secdesc"
)

var polEntries = []gpo.RegistryEntry{
	{Key: `Software\Policies\Microsoft\Windows\LAPS`, Value: "BackupDirectory", Type: 4, Data: []byte{2, 0, 0, 0}},
	{Key: `Software\Policies\Größe`, Value: "Text;with]signs", Type: 1, Data: regData(1, "a;b]")},
	{Key: `Software\Policies\X`, Value: "**del.Old", Type: 1, Data: regData(1, " ")},
	{Key: `Software\Policies\X`, Value: "", Type: 7, Data: []byte("a\x00\x00\x00b\x00\x00\x00\x00\x00")},
	{Key: `Software\Policies\X`, Value: "Big", Type: 11, Data: []byte{1, 0, 0, 0, 1, 0, 0, 0}},
	{Key: `Software\Policies\X`, Value: "Blob", Type: 3, Data: []byte{0xDE, 0xAD}},
	{Key: `Software\Policies\X`, Value: "Nothing", Type: 0, Data: nil},
}

func TestRegistryPol(t *testing.T) {
	raw := gpo.FormatRegistryPol(polEntries)
	got, err := gpo.ParseRegistryPol(raw)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(polEntries) || got[0].Offset != 8 {
		t.Fatalf("got %+v", got)
	}
	texts := []string{"2", "a;b]", " ", "a,b", "4294967297", "dead", ""}
	for i, e := range got {
		if e.Key != polEntries[i].Key || e.Value != polEntries[i].Value || !bytes.Equal(e.Data, polEntries[i].Data) || e.Text() != texts[i] {
			t.Errorf("entry %d: %+v text %q", i, e, e.Text())
		}
	}
	if !bytes.Equal(gpo.FormatRegistryPol(got), raw) {
		t.Error("round trip")
	}
	for n := range len(raw) { // every cut is an error or ends between two entries
		if _, err := gpo.ParseRegistryPol(raw[:n]); err == nil && n != 8 && !bytes.HasSuffix(raw[:n], []byte{']', 0}) {
			t.Errorf("cut at %d of %d is accepted", n, len(raw))
		}
	}
}

func TestRegistryPolErrors(t *testing.T) {
	good := gpo.FormatRegistryPol(polEntries[:1])
	change := func(i int, b byte) []byte {
		out := bytes.Clone(good)
		out[i] = b
		return out
	}
	for name, c := range map[string]struct {
		raw  []byte
		want string
	}{
		"empty":   {nil, "offset 0: no PReg header"},
		"version": {change(4, 2), "offset 0: no PReg header"},
		"bracket": {change(8, '{'), "offset 8: expected '['"},
		"end":     {change(len(good)-2, '}'), "expected ']'"},
		"size":    {change(len(good)-11, 0xFF), "cut short"},
	} {
		_, err := gpo.ParseRegistryPol(c.raw)
		if !errors.Is(err, gpo.ErrSyntax) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func FuzzRegistryPol(f *testing.F) {
	f.Add(gpo.FormatRegistryPol(polEntries))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := gpo.ParseRegistryPol(raw)
		if err != nil {
			if !errors.Is(err, gpo.ErrSyntax) {
				t.Errorf("error %v is not ErrSyntax", err)
			}
			return
		}
		if back := gpo.FormatRegistryPol(got); !bytes.Equal(back, raw) {
			t.Errorf("round trip of %x gives %x", raw, back)
		}
	})
}

// groupsXML is in the form that the Windows editor writes.
const groupsXML = `<?xml version="1.0" encoding="utf-8"?>
<Groups clsid="{3125E937-EB16-4b4c-9934-544FC6D24D26}"><User clsid="{DF5F1855-51E5-4d24-8B1A-D9BDE98BA1D1}" name="Administrator (built-in)" image="2" changed="2012-03-01 10:00:00" uid="{EF57DA28-5F69-4530-A59E-AAB58578219D}">
	<Properties action="U" newName="Boss" fullName="" description="" cpassword="secret-text" changeLogon="0" noChange="0" neverExpires="0" acctDisabled="1" subAuthority="RID_ADMIN" userName="Administrator (built-in)"/></User>
	<Group clsid="{6D4A79E4-529C-4481-ABD0-F5BD7EA93BA7}" name="Administrators (built-in)" image="2" changed="2012-03-01 10:00:00" uid="{1}" bypassErrors="1">
		<Properties action="R" newName="" description="" deleteAllUsers="1" deleteAllGroups="0" removeAccounts="0" groupSid="S-1-5-32-544" groupName="Administrators (built-in)">
			<Members>
				<Member name="CONTOSO\Ops" action="ADD" sid="S-1-5-21-1-2-3-1100"/>
				<Member name="%ComputerName%\old" action="REMOVE" sid=""/>
			</Members>
		</Properties>
		<Filters><FilterRunOnce hidden="1" not="0" bool="AND" id="{2}"/><FilterGroup bool="AND" not="0" name="CONTOSO\Laptops" sid="S-1-5-21-1-2-3-1200" userContext="0"/></Filters>
	</Group>
</Groups>
`

func TestGroupsXML(t *testing.T) {
	x, err := gpo.ParseGroupsXML([]byte("\xEF\xBB\xBF" + groupsXML))
	if err != nil {
		t.Fatal(err)
	}
	want := gpo.LocalAccounts{
		Users: []gpo.UserItem{{Name: "Administrator (built-in)", NewName: "Boss", SubAuth: "RID_ADMIN", Disabled: gpo.Yes, HasPassword: true, Line: 2}},
		Groups: []gpo.GroupItem{{
			Action: gpo.Replace, SID: secdesc.MustSID("S-1-5-32-544"), Name: "Administrators (built-in)", DeleteAllUsers: true,
			RunOnce: true, Filter: `FilterGroup CONTOSO\Laptops`, Line: 4,
			Members: []gpo.GroupMember{
				{Name: `CONTOSO\Ops`, SID: secdesc.MustSID("S-1-5-21-1-2-3-1100"), Line: 7},
				{Name: `%ComputerName%\old`, Remove: true, Line: 8},
			},
		}},
	}
	if !reflect.DeepEqual(*x, want) {
		t.Errorf("got  %+v\nwant %+v", *x, want)
	}
	if y, err := gpo.ParseGroupsXML(utf16le(strings.Replace(groupsXML, "utf-8", "utf-16", 1))); err != nil || !reflect.DeepEqual(y, x) {
		t.Errorf("UTF-16: %+v, %v", y, err)
	}
}

func TestGroupsXMLErrors(t *testing.T) {
	for name, c := range map[string]struct{ raw, want string }{
		"empty":   {"", "no Groups element"},
		"root":    {"<Drives/>", `document element "Drives"`},
		"cut":     {groupsXML[:len(groupsXML)/2], "line"},
		"action":  {`<Groups><Group><Properties action="X"/></Group></Groups>`, `line 1: action "X"`},
		"member":  {"<Groups>\n<Group><Properties>\n<Members><Member action=\"KEEP\"/></Members></Properties></Group></Groups>", `line 3: member action "KEEP"`},
		"sid":     {`<Groups><Group><Properties groupSid="S-1"/></Group></Groups>`, "not a security identifier"},
		"nesting": {"<Groups>" + strings.Repeat("<a>", 100), "nested deeper"},
		"charset": {`<?xml version="1.0" encoding="x-none"?><Groups/>`, "encoding"},
	} {
		_, err := gpo.ParseGroupsXML([]byte(c.raw))
		if !errors.Is(err, gpo.ErrSyntax) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if strings.Contains(strings.Join(func() []string {
		_, err := gpo.ParseGroupsXML([]byte(strings.Replace(groupsXML, "<Members>", "<Members", 1)))
		return []string{err.Error()}
	}(), ""), "secret-text") {
		t.Error("the error repeats the password")
	}
}

func FuzzGroupsXML(f *testing.F) {
	f.Add([]byte(groupsXML))
	f.Add(utf16le(groupsXML))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, err := gpo.ParseGroupsXML(raw); err != nil && !errors.Is(err, gpo.ErrSyntax) {
			t.Errorf("error %v is not ErrSyntax", err)
		}
	})
}

const auditCSV = "Machine Name,Policy Target,Subcategory,Subcategory GUID,Inclusion Setting,Exclusion Setting,Setting Value\r\n" +
	",System,Audit Security Group Management,{0cce9237-69ae-11d9-bed3-505054503030},Success and Failure,,3\r\n" +
	",System,\"Audit, odd\",{0cce9235-69ae-11d9-bed3-505054503030},Success,,1\r\n" +
	"DC1,S-1-5-21-1-2-3-1104,IPsec Driver,{0cce9213-69ae-11d9-bed3-505054503030},,Failure,8\r\n" +
	",,Option:CrashOnAuditFail,,Disabled,,0\r\n"

func TestAuditCSV(t *testing.T) {
	got, err := gpo.ParseAuditCSV([]byte(auditCSV))
	if err != nil {
		t.Fatal(err)
	}
	want := []gpo.AuditEntry{
		{"System", "Audit Security Group Management", secdesc.MustGUID("0cce9237-69ae-11d9-bed3-505054503030"), "3", 2},
		{"System", "Audit, odd", secdesc.MustGUID("0cce9235-69ae-11d9-bed3-505054503030"), "1", 3},
		{"S-1-5-21-1-2-3-1104", "IPsec Driver", secdesc.MustGUID("0cce9213-69ae-11d9-bed3-505054503030"), "8", 4},
		{"", "Option:CrashOnAuditFail", secdesc.GUID{}, "0", 5},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	for raw, want := range map[string]string{
		auditCSV + ",System,x\r\n":                              "line 6: 3 fields",
		",System,x,{nonsense},a,,1":                             "line 1: not a GUID",
		",System,x,{0cce9213-69ae-11d9-bed3-505054503030},a,,x": "line 1: setting value",
	} {
		if _, err := gpo.ParseAuditCSV([]byte(raw)); !errors.Is(err, gpo.ErrSyntax) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

func FuzzAuditCSV(f *testing.F) {
	f.Add([]byte(auditCSV))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, err := gpo.ParseAuditCSV(raw); err != nil && !errors.Is(err, gpo.ErrSyntax) {
			t.Errorf("error %v is not ErrSyntax", err)
		}
	})
}

func TestLinks(t *testing.T) {
	text := "[LDAP://cn={7BE35F55-E3DF-4D1C-8C3A-38F81F451D86},cn=policies,cn=system,DC=contoso,DC=test;2][LDAP://CN={A},CN=Policies,CN=System,DC=contoso,DC=test;1]"
	got, err := gpo.ParseLinks(text)
	want := []gpo.LinkEntry{
		{"cn={7BE35F55-E3DF-4D1C-8C3A-38F81F451D86},cn=policies,cn=system,DC=contoso,DC=test", gpo.LinkFlagEnforced},
		{"CN={A},CN=Policies,CN=System,DC=contoso,DC=test", gpo.LinkFlagDisabled},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if gpo.FormatLinks(got) != text {
		t.Error("round trip")
	}
	if got, err := gpo.ParseLinks("[LDAP://dc1.contoso.test/CN={A},DC=x;0] "); err != nil || got[0].DN != "CN={A},DC=x" {
		t.Errorf("with a server: %+v, %v", got, err)
	}
	for _, blank := range []string{"", " ", "\x00"} {
		if got, err := gpo.ParseLinks(blank); err != nil || got != nil {
			t.Errorf("%q: %v, %v", blank, got, err)
		}
	}
	for raw, want := range map[string]string{
		"x":                          "offset 0: no [entry]",
		"[LDAP://CN=a;0][LDAP://b;0": "offset 15: no [entry]",
		"[LDAP://CN=a]":              "no options",
		"[LDAP://CN=a;x]":            `options "x"`,
		"[CN=a;0]":                   "does not begin with LDAP://",
		"[LDAP://;0]":                "no distinguished name",
	} {
		if _, err := gpo.ParseLinks(raw); !errors.Is(err, gpo.ErrSyntax) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

func TestExtensions(t *testing.T) {
	text := extGroups + extRegistry + extSecurity
	x, err := gpo.ParseExtensions(text)
	if err != nil || x.String() != text || len(x) != 3 || len(x[0].Tools) != 1 {
		t.Fatalf("%+v, %v", x, err)
	}
	security := secdesc.MustGUID("827d319e-6eac-11d2-a4ea-00c04f79f83a")
	if !x.Runs(security) {
		t.Error("security does not run")
	}
	if y, _ := gpo.ParseExtensions(extAudit + extSecurity); y.Runs(security) {
		t.Error("security runs behind an entry out of order")
	}
	for raw, want := range map[string]string{
		"x":                                 "offset 0: no [entry]",
		"[]":                                "offset 0: not a list of GUIDs",
		"[" + strings.Repeat("x", 38) + "]": "offset 1:",
	} {
		if _, err := gpo.ParseExtensions(raw); !errors.Is(err, gpo.ErrSyntax) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

func TestWQLFilter(t *testing.T) {
	for raw, want := range map[string]gpo.WQLFilter{
		"":  {},
		" ": {},
		"[contoso.test;{5A1E0B1C-0001-4000-8000-000000000001};0]":       {"contoso.test", "{5A1E0B1C-0001-4000-8000-000000000001}"},
		`["contoso.test";"{5A1E0B1C-0001-4000-8000-000000000001}";"0"]`: {"contoso.test", "{5A1E0B1C-0001-4000-8000-000000000001}"},
	} {
		if got, err := gpo.ParseWQLFilter(raw); err != nil || got != want {
			t.Errorf("%q: %+v, %v", raw, got, err)
		}
	}
	if _, err := gpo.ParseWQLFilter("[x]"); !errors.Is(err, gpo.ErrSyntax) {
		t.Errorf("malformed: %v", err)
	}
}

func FuzzAttributes(f *testing.F) {
	f.Add("[LDAP://CN={A},CN=Policies,CN=System,DC=contoso,DC=test;2]")
	f.Add(extGroups + extSecurity)
	f.Add("[contoso.test;{5A1E0B1C};0]")
	f.Fuzz(func(t *testing.T, s string) {
		if l, err := gpo.ParseLinks(s); err == nil {
			again, err := gpo.ParseLinks(gpo.FormatLinks(l))
			if err != nil || !reflect.DeepEqual(again, l) {
				t.Errorf("links %q: %+v, then %+v, %v", s, l, again, err)
			}
		}
		if x, err := gpo.ParseExtensions(s); err == nil {
			again, err := gpo.ParseExtensions(x.String())
			if err != nil || !reflect.DeepEqual(again, x) {
				t.Errorf("extensions %q: %+v, then %+v, %v", s, x, again, err)
			}
		}
		_, _ = gpo.ParseWQLFilter(s)
	})
}
