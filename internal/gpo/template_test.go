package gpo_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/gpo"
)

// windowsTemplate is what the security editor of Windows writes, with its habits:
// sections out of order, quoted text, ACL sections, no spaces in [Registry Values].
const windowsTemplate = "[Unicode]\r\nUnicode=yes\r\n[System Access]\r\nMinimumPasswordAge = 1\r\nNewAdministratorName = \"Boss, local\"\r\n" +
	"[Event Audit]\r\nAuditSystemEvents = 3\r\n[Registry Values]\r\nMACHINE\\System\\CurrentControlSet\\Control\\Lsa\\NoLMHash=4,1\r\n" +
	"MACHINE\\Software\\Microsoft\\Windows\\CurrentVersion\\Policies\\System\\LegalNoticeText=7,Keep out\",\" please\r\n" +
	"[Version]\r\nsignature=\"$CHICAGO$\"\r\nRevision=1\r\n[Privilege Rights]\r\nSeDenyNetworkLogonRight = *S-1-5-21-1-2-3-512,Administrator\r\n" +
	"SeDenyBatchLogonRight =\r\n; a remark\r\n[Group Membership]\r\n*S-1-5-32-544__Memberof =\r\n*S-1-5-32-544__Members = *S-1-5-21-1-2-3-512\r\n" +
	"[Service General Setting]\r\n\"Spooler\",4,\"D:AR(A;;CCDCLCSWRPWPDTLOCRSDRCWDWO;;;BA)\"\r\n[File Security]\r\n\"%SystemRoot%\\a=b\",2,\"D:PAR(A;;FA;;;BA)\"\r\n"

func TestTemplate(t *testing.T) {
	tpl, err := gpo.ParseTemplate(utf16le(windowsTemplate))
	if err != nil {
		t.Fatal(err)
	}
	if tpl.Encoding != gpo.UTF16LE || len(tpl.Problems) > 0 {
		t.Errorf("encoding %v, problems %q", tpl.Encoding, tpl.Problems)
	}
	want := []gpo.Item{
		{"privilege rights", "SeDenyNetworkLogonRight", "*S-1-5-21-1-2-3-512,Administrator", 15},
		{"privilege rights", "SeDenyBatchLogonRight", "", 16},
	}
	if got := tpl.Items("Privilege Rights"); !slices.Equal(got, want) {
		t.Errorf("rights: %+v", got)
	}
	if x, ok := tpl.Get("SYSTEM ACCESS", "newadministratorname"); !ok || x.Value != `"Boss, local"` || x.Line != 5 {
		t.Errorf("NewAdministratorName: %+v", x)
	}
	if got := tpl.Raw("File Security"); len(got) != 1 || got[0].Line != 24 || !strings.HasPrefix(got[0].Value, `"%SystemRoot%\a=b",2`) {
		t.Errorf("file security: %+v", got)
	}
	if got := tpl.Raw("Service General Setting"); len(got) != 1 || got[0].Line != 22 {
		t.Errorf("services: %+v", got)
	}
}

func TestTemplateEncodings(t *testing.T) {
	text := "[Privilege Rights]\r\nSeDenyNetworkLogonRight = Bürő,*S-1-1-0\r\n"
	be := []byte{0xFE, 0xFF}
	be = append(be, utf16le(text)[2:]...)
	for i := 2; i < len(be); i += 2 {
		be[i], be[i+1] = be[i+1], be[i]
	}
	ansi := []byte("[Privilege Rights]\r\nSeDenyNetworkLogonRight = B\xFCro,*S-1-1-0\r\n")
	for name, c := range map[string]struct {
		raw   []byte
		enc   gpo.Encoding
		value string
	}{
		"utf-16le": {utf16le(text), gpo.UTF16LE, "Bürő,*S-1-1-0"},
		"utf-16be": {be, gpo.UTF16BE, "Bürő,*S-1-1-0"},
		"utf-8":    {[]byte(text), gpo.UTF8, "Bürő,*S-1-1-0"},
		"bom":      {append([]byte("\xEF\xBB\xBF"), text...), gpo.UTF8BOM, "Bürő,*S-1-1-0"},
		"ansi":     {ansi, gpo.ANSI, "Büro,*S-1-1-0"},
	} {
		tpl, err := gpo.ParseTemplate(c.raw)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		x, _ := tpl.Get("privilege rights", "sedenynetworklogonright")
		if tpl.Encoding != c.enc || x.Value != c.value || x.Line != 2 {
			t.Errorf("%s: %v %+v", name, tpl.Encoding, x)
		}
		if flagged := len(tpl.Problems) > 0; flagged != (c.enc == gpo.ANSI) {
			t.Errorf("%s: problems %q", name, tpl.Problems)
		}
		back, err := tpl.Bytes()
		if err != nil || !bytes.Equal(back, c.raw) {
			t.Errorf("%s: round trip %q, %v", name, back, err)
		}
	}
}

func TestTemplateErrors(t *testing.T) {
	for name, c := range map[string]struct{ raw, want string }{
		"open header": {"[Unicode]\nUnicode=yes\n[Privilege Rights\n", "line 3: section header"},
		"odd UTF-16":  {"\xFF\xFE[\x00U", "odd number of bytes"},
		"surrogate":   {"\xFF\xFE\x00\xD8a\x00", "offset 2: half of a UTF-16 surrogate"},
		"not UTF-8":   {"\xEF\xBB\xBF[a]\xFF", "offset 6: not UTF-8"},
	} {
		_, err := gpo.ParseTemplate([]byte(c.raw))
		if !errors.Is(err, gpo.ErrSyntax) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestTemplateProblems(t *testing.T) {
	tpl, err := gpo.ParseTemplate([]byte("stray = 1\n[Privilege Rights]\nSeX = a\nnonsense\nseX = b\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"line 1 stands before", "line 4 is neither", "line 5 repeats seX of line 3"} {
		if !slices.ContainsFunc(tpl.Problems, func(p string) bool { return strings.Contains(p, want) }) {
			t.Errorf("no %q among %q", want, tpl.Problems)
		}
	}
	if got := tpl.Items("privilege rights"); len(got) != 1 || got[0].Value != "b" || got[0].Line != 5 {
		t.Errorf("items %+v", got)
	}
}

func TestTemplateSet(t *testing.T) {
	tpl, err := gpo.ParseTemplate(utf16le(windowsTemplate))
	if err != nil {
		t.Fatal(err)
	}
	tpl.Set("Privilege Rights", "SeDenyBatchLogonRight", "*S-1-5-32-546")
	tpl.Set("Privilege Rights", "SeDenyServiceLogonRight", "")
	tpl.Set("System Access", "EnableAdminAccount", "0")
	tpl.Set("Profile Description", "Description", "x")
	tpl.Unset("event audit", "auditsystemevents")
	raw, err := tpl.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer(
		"SeDenyBatchLogonRight =\r\n; a remark\r\n", "SeDenyBatchLogonRight = *S-1-5-32-546\r\n; a remark\r\nSeDenyServiceLogonRight =\r\n",
		"AuditSystemEvents = 3\r\n", "",
		"NewAdministratorName = \"Boss, local\"\r\n", "NewAdministratorName = \"Boss, local\"\r\nEnableAdminAccount = 0\r\n",
	).Replace(windowsTemplate) + "[Profile Description]\r\nDescription = x\r\n"
	if !bytes.Equal(raw, utf16le(want)) {
		t.Errorf("got\n%s", raw)
	}
	again, err := gpo.ParseTemplate(raw)
	if err != nil {
		t.Fatal(err)
	}
	if x, _ := again.Get("privilege rights", "SeDenyBatchLogonRight"); x.Value != "*S-1-5-32-546" {
		t.Errorf("read back %+v", x)
	}
}

func TestNewTemplate(t *testing.T) {
	tpl := gpo.NewTemplate()
	tpl.Set("Privilege Rights", "SeDenyNetworkLogonRight", "*S-1-1-0")
	raw, err := tpl.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	want := "[Unicode]\r\nUnicode = yes\r\n[Version]\r\nsignature=\"$CHICAGO$\"\r\nRevision=1\r\n[Privilege Rights]\r\nSeDenyNetworkLogonRight = *S-1-1-0\r\n"
	if !bytes.Equal(raw, utf16le(want)) {
		t.Errorf("got %q", raw)
	}
}

func TestSplitList(t *testing.T) {
	for in, want := range map[string][]string{
		"":                      nil,
		" , ,":                  nil,
		"a":                     {"a"},
		"*S-1-1-0 , b,,c ":      {"*S-1-1-0", "b", "c"},
		`"Boss, local",x`:       {"Boss, local", "x"},
		`CONTOSO\Domain Admins`: {`CONTOSO\Domain Admins`},
	} {
		if got := gpo.SplitList(in); !slices.Equal(got, want) {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestGPTINI(t *testing.T) {
	for in, want := range map[string]gpo.Version{
		"[General]\r\nVersion=65543\r\n":                         65543,
		"[general]\nversion = 7\ndisplayName=New Group Policy":   7,
		"[General]\r\nVersion=-2147418105\r\n":                   0x80010007,
		"\xEF\xBB\xBF[General]\r\nVersion=1\r\n":                 1,
		"[General]\r\nVersion=1\r\n[Other]\r\nVersion=5\r\n\x1a": 1,
	} {
		if got, err := gpo.ParseGPTINI([]byte(in)); err != nil || got != want {
			t.Errorf("%q: %d, %v", in, got, err)
		}
	}
	if v := gpo.Version(0x20007); v.Computer() != 7 || v.User() != 2 {
		t.Errorf("halves %d %d", v.Computer(), v.User())
	}
	for in, want := range map[string]string{
		"":                              "no Version in [General]",
		"[Other]\nVersion=1":            "no Version in [General]",
		"[General]\nVersion=seven":      `line 2: version "seven"`,
		"[General]\nVersion=4294967296": `line 2: version`,
	} {
		if _, err := gpo.ParseGPTINI([]byte(in)); !errors.Is(err, gpo.ErrSyntax) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func FuzzTemplate(f *testing.F) {
	f.Add(utf16le(windowsTemplate))
	f.Add([]byte("[a]\nb=c\r\"q=\"=d\n;x\n[File Security]\nz"))
	f.Add([]byte("[Privilege Rights]\r\nSeX = B\xFCro\x81"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		tpl, err := gpo.ParseTemplate(raw)
		if err != nil {
			if !errors.Is(err, gpo.ErrSyntax) {
				t.Errorf("error %v is not ErrSyntax", err)
			}
			return
		}
		if back, err := tpl.Bytes(); err != nil || !bytes.Equal(back, raw) {
			t.Errorf("round trip of %q gives %q, %v", raw, back, err)
		}
		tpl.Set("Privilege Rights", "SeFuzz", "*S-1-1-0")
		if x, ok := tpl.Get("privilege rights", "sefuzz"); !ok || x.Value != "*S-1-1-0" {
			t.Errorf("a value that was set is not there")
		}
		back, err := tpl.Bytes()
		if err != nil {
			return
		}
		again, err := gpo.ParseTemplate(back)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if x, ok := again.Get("privilege rights", "sefuzz"); !ok || x.Value != "*S-1-1-0" {
			t.Errorf("a value that was set is not read back: %q", back)
		}
		_, _ = gpo.ParseGPTINI(raw)
	})
}
