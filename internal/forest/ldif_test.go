package forest

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"unicode/utf16"
)

func readLDIF(text string) (*Snapshot, error) {
	b := newTestBuilder()
	if err := ReadLDIF(strings.NewReader(text), b); err != nil {
		return nil, err
	}
	return b.Build()
}

func mustReadLDIF(t testing.TB, text string) *Snapshot {
	t.Helper()
	s, err := readLDIF(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const ldapsearchHead = "# extended LDIF\n#\n# LDAPv3\n# base <DC=contoso,DC=test> with scope subtree\n# filter: (objectClass=*)\n# requesting: sAMAccountName adminCount member \n#\n\n"

func TestLDIFForms(t *testing.T) {
	b64 := base64.StdEncoding.EncodeToString
	for name, text := range map[string]string{
		"plain":                       "dn: CN=a,DC=x\nsAMAccountName: joe\n",
		"no empty line":               "dn: CN=a,DC=x\nsAMAccountName: joe\n",
		"version":                     "version: 1\n\ndn: CN=a,DC=x\nsAMAccountName: joe\n",
		"version and record together": "version: 1\ndn: CN=a,DC=x\nsAMAccountName: joe\n",
		"crlf":                        "dn: CN=a,DC=x\r\nsAMAccountName: joe\r\n\r\n",
		"wrapped":                     "dn: CN=a,D\n C=x\nsAMAccount\n Name: j\n oe\n",
		"wrapped comment":             "# a comment\n  dn: CN=b,DC=x\ndn: CN=a,DC=x\nsAMAccountName: joe\n",
		"base64":                      "dn:: " + b64([]byte("CN=a,DC=x")) + "\nsAMAccountName:: " + b64([]byte("joe")) + "\n",
		"no space":                    "dn:CN=a,DC=x\nsAMAccountName:joe\n",
		"ldifde":                      "dn: CN=a,DC=x\r\nchangetype: add\r\nsAMAccountName: joe\r\n\r\n",
		"comment without line end":    "dn: CN=a,DC=x\nsAMAccountName: joe\n\n# end",
		"binary option":               "dn: CN=a,DC=x\nsAMAccountName;binary: joe\n",
		"case":                        "DN: CN=a,DC=x\nSAMACCOUNTNAME: joe\n",
		"root DSE":                    "dn:\ncurrentTime: 1\n\ndn: CN=a,DC=x\nsAMAccountName: joe\n",
		"bom":                         "\uFEFFdn: CN=a,DC=x\nsAMAccountName: joe\n",
		"utf-16le":                    utf16Text("dn: CN=a,DC=x\r\nsAMAccountName: joe\r\n", binary.LittleEndian),
		"utf-16be":                    utf16Text("dn: CN=a,DC=x\r\nsAMAccountName: joe\r\n", binary.BigEndian),
		"ldapsearch":                  ldapsearchHead + "# a, x\ndn: CN=a,DC=x\nsAMAccountName: joe\n\n# search result\nsearch: 2\nresult: 0 Success\n\n# numResponses: 2\n# numEntries: 1\n",
		"ldapsearch -L":               "version: 1\n\n#\n# LDAPv3\n# requesting: ALL\n#\n\n# a\ndn: CN=a,DC=x\nsAMAccountName: joe\n\n# search result\n# search: 2\n# result: 0 Success\n\n# numEntries: 1\n",
	} {
		s, err := readLDIF(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if v, st := s.Str(s.Lookup("CN=a,DC=x"), SAMAccountName); s.Len() != 1 || v != "joe" || st != Known {
			t.Errorf("%s: %d objects, %q %v", name, s.Len(), v, st)
		}
	}
}

func utf16Text(s string, order binary.AppendByteOrder) string {
	var b []byte
	for _, u := range utf16.Encode([]rune("\uFEFF" + s)) {
		b = order.AppendUint16(b, u)
	}
	return string(b)
}

func TestLDIFUTF16Pairs(t *testing.T) {
	s := mustReadLDIF(t, utf16Text("dn: CN=ü𝄞\u05D0,DC=x\r\nsAMAccountName: j\r\n", binary.LittleEndian))
	if s.Name(0) != "ü𝄞\u05D0" {
		t.Errorf("%q", s.Name(0))
	}
}

func TestLDIFErrors(t *testing.T) {
	entry := "dn: CN=a,DC=x\nsAMAccountName: joe\n"
	for name, c := range map[string]struct {
		text string
		kind error
		says string
	}{
		"no result":         {ldapsearchHead + entry, ErrTruncated, "line 10: cut short: the search's result is missing"},
		"size limit":        {ldapsearchHead + entry + "\nsearch: 2\nresult: 4 Size limit exceeded\n", ErrTruncated, `line 13: cut short: the search ended with result "4 Size limit exceeded"`},
		"size limit, -L":    {"# LDAPv3\n\n" + entry + "\n# result: 4 Size limit exceeded\n", ErrTruncated, "result"},
		"fewer entries":     {ldapsearchHead + entry + "\nsearch: 2\nresult: 0 Success\n\n# numEntries: 2\n", ErrTruncated, "returned 2 entries, the file holds 1"},
		"more after result": {ldapsearchHead + entry + "\nsearch: 2\nresult: 0 Success\n\ndn: CN=b,DC=x\ncn: b\n", ErrTruncated, "result is missing"},
		"within a line":     {"dn: CN=b,DC=x\ncn: b\n\ndn: CN=a,DC=x\nsAMAccountName: jo", ErrTruncated, "line 5: cut short: the file ends within a line"},
		"within the dn":     {"dn: CN=b,DC=x\ncn: b\n\ndn: CN=a,DC=x", ErrTruncated, "line 4"},
		"ldifde, cut":       {"dn: CN=a,DC=x\r\nchangetype: add\r\nsAMAccountName: joe\r\n", ErrTruncated, "line 3: cut short: the last record lacks the empty line"},
		"delete":            {"dn: CN=a,DC=x\nchangetype: delete\n", ErrLDIF, "line 2"},
		"modify":            {"\ndn: CN=a,DC=x\nchangetype: modify\nreplace: x\n", ErrLDIF, "line 3"},
		"url":               {"dn: CN=a,DC=x\ndescription:< file:///etc/passwd\n", ErrLDIF, "line 2: not LDIF of objects: value of \"description\" is a URL"},
		"base64":            {"dn: CN=a,DC=x\ndescription:: !!\n", ErrLDIF, "line 2"},
		"Latin-1":           {"dn: CN=a,DC=x\ndescription: J\xfcrgen\n", ErrLDIF, "line 2: not LDIF of objects: value of \"description\" is not UTF-8"},
		"Latin-1 name":      {"dn: CN=J\xfcrgen,DC=x\n", ErrLDIF, "line 1"},
		"no colon":          {"dn: CN=a,DC=x\ndescription\n", ErrLDIF, "line 2"},
		"no dn":             {"sAMAccountName: joe\n", ErrLDIF, "line 1"},
		"two dn":            {entry + "dn: CN=b,DC=x\n", ErrLDIF, "line 3"},
		"continuation":      {"\n dn: CN=a,DC=x\n", ErrLDIF, "line 2"},
		"version 2":         {"version: 2\n", ErrLDIF, "line 1"},
		"bad name":          {"\n\ndn: joe\ncn: x\n", ErrDN, "line 3"},
		"option":            {"dn: CN=a,DC=x\ncn;lang-de: x\n", ErrLDIF, "lang-de"},
		"half UTF-16":       {utf16Text(entry, binary.LittleEndian)[:41], ErrTruncated, "UTF-16"},
		"range at start":    {"dn: CN=a,DC=x\nmember;range=0-0: CN=b,DC=x\n", ErrTruncated, "from 1 on are missing"},
		"range without 0":   {"dn: CN=a,DC=x\nmember;range=1-*: CN=b,DC=x\n", ErrTruncated, "from 0 on are missing"},
		"range with gap":    {"dn: CN=a,DC=x\nmember;range=0-0: CN=b,DC=x\nmember;range=2-*: CN=c,DC=x\n", ErrTruncated, "from 1 on are missing"},
		"range too short":   {"dn: CN=a,DC=x\nmember;range=0-1: CN=b,DC=x\nmember;range=2-*: CN=c,DC=x\n", ErrTruncated, "1 values in range 0-1"},
		"range malformed":   {"dn: CN=a,DC=x\nmember;range=x: CN=b,DC=x\n", ErrLDIF, "range"},
	} {
		_, err := readLDIF(c.text)
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %v saying %q", name, err, c.kind, c.says)
		}
	}
}

// ldapsearch (OpenLDAP 2.6) writes the name of an object into a comment as it is.
func TestLDIFSpilledComment(t *testing.T) {
	const end = "\nsearch: 2\nresult: 0 Success\n\n# numResponses: 2\n# numEntries: 1\n"
	dn := func(name string) string {
		return "dn:: " + base64.StdEncoding.EncodeToString([]byte("CN="+name+",DC=x")) + "\nsAMAccountName: joe\n"
	}
	for name, text := range map[string]string{
		"one break":              "# Two\nLines, Zurich, Staff, x\n" + dn("Two\\0ALines"),
		"plain dn":               "# Two\nLines, x\ndn: CN=Two\\0aLines,DC=x\nsAMAccountName: joe\n",
		"break before a space":   "# Two\n Lines, x\n" + dn("Two\\0A Lines"),
		"two breaks in a row":    "# Two\n\nLines, x\n" + dn("Two\\0A\\0ALines"),
		"a colon":                "# Two\nsearch: Lines, x\n" + dn("Two\\0Asearch: Lines"),
		"what looks like header": "# Two\n# requesting: *, x\n" + dn("Two\\0A# requesting: *"),
	} {
		s, err := readLDIF(ldapsearchHead + text + end)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if v, _ := s.Str(0, SAMAccountName); s.Len() != 1 || v != "joe" {
			t.Errorf("%s: %d objects, %q", name, s.Len(), v)
		}
		if _, st := s.Str(0, Description); st != Unreadable {
			t.Errorf("%s: description is %v, though nobody asked for it", name, st)
		}
	}
	broken := dn("Two\\0ALines")
	for name, text := range map[string]string{
		"no comment":                 ldapsearchHead + "Lines, x\n" + broken + end,
		"no header":                  "# Two\nLines, x\n" + broken,
		"name without break":         ldapsearchHead + "# Two\nLines, x\n" + dn("Two Lines") + end,
		"more lines than breaks":     ldapsearchHead + "# Two\nLines\nmore, x\n" + broken + end,
		"empty lines and more lines": ldapsearchHead + "# Two\n\nLines, x\n" + broken + end,
		"after the dn":               ldapsearchHead + "# Two\n" + broken + "Lines, x\n" + end,
		"no dn":                      ldapsearchHead + "# Two\nLines, x\n" + end,
		"of another record":          ldapsearchHead + "# Two\ndn: CN=b,DC=x\ncn: b\n\nLines, x\n" + broken + end,
	} {
		if _, err := readLDIF(text); !errors.Is(err, ErrLDIF) {
			t.Errorf("%s: %v, want %v", name, err, ErrLDIF)
		}
	}
}

// Whether a file is whole, and whether a domain is in it, is stated.
func TestLDIFExtentIsStated(t *testing.T) {
	head := "dn: DC=x\nobjectClass: top\nobjectClass: domainDNS\n"
	sid := "objectSid:: " + base64.StdEncoding.EncodeToString([]byte(sidBytes("S-1-5-21-1-2-3"))) + "\n"
	for name, c := range map[string]struct {
		text             string
		unproven, noHead bool
	}{
		"ldifde":           {head + sid + "\n", true, false},
		"ldifde, no SID":   {head + "\n", true, true},
		"ldapsearch":       {ldapsearchHead + head + sid + "\nsearch: 2\nresult: 0 Success\n\n", false, false},
		"ldapsearch, part": {ldapsearchHead + "dn: CN=a,DC=x\nobjectClass: user\n\nsearch: 2\nresult: 0 Success\n\n", false, true},
	} {
		s := mustReadLDIF(t, c.text)
		var unproven, noHead bool
		for _, v := range s.Coverage() {
			unproven = unproven || v.Area == AreaSnapshot && v.State == "partial" && strings.HasPrefix(v.Reason, "1 entries ")
			noHead = noHead || v.Area == AreaPartition && v.Subject == "domain" && v.State == "not collected"
		}
		if unproven != c.unproven || noHead != c.noHead || noHead != (len(s.Domains()) == 0) {
			t.Errorf("%s: not proven whole %t, no head %t, %d domains", name, unproven, noHead, len(s.Domains()))
		}
	}
}

func TestLDIFRangesAreJoined(t *testing.T) {
	s := mustReadLDIF(t, "dn: CN=g,DC=x\nmember;range=2-*: CN=d,DC=x\nmember;range=0-1: CN=b,DC=x\nmember;range=0-1: CN=c,DC=x\n")
	if got := strings.Join(s.LinksOutside(0, Member), " "); got != "CN=b,DC=x CN=c,DC=x CN=d,DC=x" {
		t.Error(got)
	}
}

func TestLDIFCoverage(t *testing.T) {
	s := mustReadLDIF(t, ldapsearchHead+"dn: DC=contoso,DC=test\nsAMAccountName: joe\nnTSecurityDescriptor:: AA==\n\ndn: CN=b,DC=contoso,DC=test\n\n"+
		"# search reference\nref: ldap://ForestDnsZones.contoso.test/DC=ForestDnsZones,DC=contoso,DC=test\n\n"+
		"# refldap://contoso.test/CN=Conf%20iguration,DC=contoso,DC=test??base\n\nsearch: 2\nresult: 0 Success\n\n# numEntries: 2\n")
	id := mustFind(t, s, "CN=b,DC=contoso,DC=test")
	for a, want := range map[Attr]State{SAMAccountName: Absent, AdminCount: Absent, Description: Unreadable, ManagedBy: Unreadable} {
		var st State
		switch a.Syntax() {
		case Link:
			_, st = s.Links(id, a)
		case Integer:
			_, st = s.Int(id, a)
		default:
			_, st = s.Str(id, a)
		}
		if st != want {
			t.Errorf("%s is %v, want %v", a, st, want)
		}
	}
	if why := s.Why(id, Description); !strings.Contains(why, "description") {
		t.Errorf("why: %q", why)
	}
	have := map[string]string{}
	for _, c := range s.Coverage() {
		have[string(c.Area)+" "+c.Subject] = c.State
	}
	for subject, state := range map[string]string{
		"partition DC=ForestDnsZones,DC=contoso,DC=test": "not collected",
		"partition CN=Conf iguration,DC=contoso,DC=test": "not collected",
		"descriptor nTSecurityDescriptor":                "partial",
		"file SYSVOL":                                    "not collected",
		"attribute attributes that no entry has":         "not collected",
	} {
		if have[subject] != state {
			t.Errorf("%s is %q, want %q", subject, have[subject], state)
		}
	}
	if f := s.File("contoso.test", "Policies/x"); f.State != Unreadable {
		t.Errorf("file is %v", f.State)
	}
}

// Export and import give back all that LDIF can carry.
func TestLDIFRoundTrip(t *testing.T) {
	want := withoutExtras(mustBuild(t, sample(t)))
	var text bytes.Buffer
	if err := want.WriteLDIF(&text); err != nil {
		t.Fatal(err)
	}
	for i, l := range strings.Split(text.String(), "\n") {
		if len(l) > 76 && !strings.HasPrefix(l, "#") {
			t.Errorf("line %d has %d characters", i+1, len(l))
		}
	}
	got := withoutExtras(mustReadLDIF(t, text.String()))
	if a, b := dumpOf(t, want), dumpOf(t, got); a != b || !Equal(want, got) {
		t.Errorf("LDIF\n%s\nbefore\n%s\nafter\n%s", text.String(), a, b)
	}
	for cut := strings.Index(text.String(), "\ndn:"); cut < text.Len()-40; cut += 37 {
		if _, err := readLDIF(text.String()[:cut]); err == nil {
			t.Fatalf("cut at %d of %d: no error", cut, text.Len())
		}
	}
}

// withoutExtras drops what LDIF cannot carry.
func withoutExtras(s *Snapshot) *Snapshot {
	s.files, s.coverage, s.meta, s.problems = nil, nil, metaTable{}, map[problemKey]string{}
	s.meta.finish()
	s.finish()
	return s
}

func TestLDIFFromSeveralFiles(t *testing.T) {
	b := newTestBuilder()
	for _, text := range []string{"dn: DC=x\ncn: x\n", "dn: CN=a,DC=x\nmember: DC=x\n"} {
		if err := ReadLDIF(strings.NewReader(text), b); err != nil {
			t.Fatal(err)
		}
	}
	s := mustBuild(t, b)
	n := 0
	for _, c := range s.Coverage() {
		if c.Area == AreaFile {
			n++
		}
	}
	if s.Len() != 2 || len(s.Backlinks(0, Member)) != 1 || n != 1 {
		t.Errorf("%d objects, %d statements about files", s.Len(), n)
	}
}

func TestLDIFLineLimit(t *testing.T) {
	_, err := readLDIF("dn: CN=a,DC=x\ndescription: " + strings.Repeat("x", maxLDIFLine))
	if !errors.Is(err, ErrLDIF) {
		t.Errorf("%v", err)
	}
}

func FuzzReadLDIF(f *testing.F) {
	f.Add([]byte(ldapsearchHead + "dn: DC=x\nmember;range=0-*: CN=a,DC=x\n\nref: ldap://x/DC=y\n\nsearch: 2\nresult: 0 Success\n\n# numEntries: 1\n"))
	f.Add([]byte(utf16Text("version: 1\ndn:: REM9eA==\nchangetype: add\ncn: a\n b\n", binary.LittleEndian)))
	f.Add([]byte(ldapsearchHead + "# Two\n\nLines, x\ndn: CN=Two\\0A\\0ALines,DC=x\ncn: a\n\nsearch: 2\nresult: 0 Success\n\n# numEntries: 1\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		s, err := readLDIF(string(in))
		if err != nil {
			return
		}
		var text bytes.Buffer
		if err := s.WriteLDIF(&text); err != nil {
			t.Fatal(err)
		}
		got, err := readLDIF(text.String())
		if err != nil || got.Len() != s.Len() {
			t.Fatalf("%v\n%s", err, text.String())
		}
	})
}

// ldapsearch repeats its header and result for every page and counts at the end
// only, as seen with OpenLDAP 2.5 and -E pr=1000/noprompt.
func TestLDIFPaged(t *testing.T) {
	page := func(name, cookie string) string {
		return ldapsearchHead + "dn: CN=" + name + ",DC=x\n\n# search result\nsearch: 2\nresult: 0 Success\n" +
			"control: 1.2.840.113556.1.4.319 false MAUCAQAEAA==\npagedresults: estimate=2 cookie=" + cookie + "\n"
	}
	read := func(text string) error {
		return ReadLDIF(strings.NewReader(text), NewBuilder(Info{}))
	}
	if err := read(page("a", "MQA=") + page("b", "") + "\n# numResponses: 4\n# numEntries: 2\n"); err != nil {
		t.Errorf("two pages: %v", err)
	}
	if err := read(page("a", "MQA=") + page("b", "") + "\n# numResponses: 4\n# numEntries: 3\n"); !errors.Is(err, ErrTruncated) {
		t.Errorf("an entry is missing: %v", err)
	}
	if err := read(page("a", "MQA=")); !errors.Is(err, ErrTruncated) {
		t.Errorf("a page is missing: %v", err)
	}
	one := page("a", "MQA=") + page("b", "") + "\n# numEntries: 2\n\n"
	if err := read(one + strings.ReplaceAll(one, "DC=x", "DC=y")); err != nil {
		t.Errorf("two searches in one file: %v", err)
	}
}

// A partition that one file refers to and another holds was read.
func TestLDIFReferralToOtherFile(t *testing.T) {
	b := NewBuilder(Info{})
	domain := ldapsearchHead + "dn: DC=x\ninstanceType: 5\n\n# refldap://x/CN=Configuration,DC=x\n\n# refldap://x/DC=DomainDnsZones,DC=x\n\nsearch: 2\nresult: 0 Success\n\n# numEntries: 1\n"
	for _, text := range []string{domain, ldapsearchHead + "dn: cn=configuration,dc=x\ncn: a\n\nsearch: 2\nresult: 0 Success\n\n# numEntries: 1\n"} {
		if err := ReadLDIF(strings.NewReader(text), b); err != nil {
			t.Fatal(err)
		}
	}
	s, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	var missing []string
	for _, c := range s.Coverage() {
		if c.Area == AreaPartition && c.Subject != "domain" {
			missing = append(missing, c.Subject)
		}
	}
	if len(missing) != 1 || missing[0] != "DC=DomainDnsZones,DC=x" {
		t.Errorf("partitions not collected: %q", missing)
	}
}
