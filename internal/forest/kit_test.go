package forest

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// when is the time at which test snapshots were read.
var when = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newTestBuilder() *Builder {
	return NewBuilder(Info{Source: "fixture", Tool: "test", Started: when, Finished: when.Add(time.Minute), Domain: "contoso.test"})
}

// entry makes an entry from "name", "value" pairs.
func entry(dn string, pairs ...string) Entry {
	e := Entry{DN: dn}
	for i := 0; i+1 < len(pairs); i += 2 {
		name, val := pairs[i], []byte(pairs[i+1])
		if n := len(e.Attrs); n > 0 && e.Attrs[n-1].Name == name {
			e.Attrs[n-1].Vals = append(e.Attrs[n-1].Vals, val)
			continue
		}
		e.Attrs = append(e.Attrs, Values{name, [][]byte{val}})
	}
	return e
}

func mustAdd(t testing.TB, b *Builder, entries ...Entry) {
	t.Helper()
	for _, e := range entries {
		if err := b.Add(e); err != nil {
			t.Fatal(err)
		}
	}
}

func mustBuild(t testing.TB, b *Builder) *Snapshot {
	t.Helper()
	s, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// build makes a snapshot of entries in the given order.
func build(t testing.TB, entries ...Entry) *Snapshot {
	t.Helper()
	b := newTestBuilder()
	mustAdd(t, b, entries...)
	return mustBuild(t, b)
}

func sidBytes(text string) string { return string(secdesc.MustSID(text).Bytes()) }

func guidBytes(text string) string {
	g := secdesc.MustGUID(text)
	return string(g[:])
}

func mustFind(t testing.TB, s *Snapshot, dn string) ID {
	t.Helper()
	id := s.Lookup(dn)
	if id == None {
		t.Fatalf("no object %q", dn)
	}
	return id
}

func dumpOf(t testing.TB, s *Snapshot) string {
	t.Helper()
	var b strings.Builder
	if err := s.Dump(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// fileOf returns s in the file format.
func fileOf(t testing.TB, s *Snapshot) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// descriptor returns a self-relative descriptor with the given owner and one
// entry that allows mask to trustee.
func descriptor(owner, trustee string, mask uint32) string {
	o, tr := sidBytes(owner), sidBytes(trustee)
	ace := append([]byte{0, 0}, binary.LittleEndian.AppendUint16(nil, uint16(8+len(tr)))...)
	ace = binary.LittleEndian.AppendUint32(ace, mask)
	ace = append(ace, tr...)
	b := []byte{1, 0, 0x04, 0x80}
	b = binary.LittleEndian.AppendUint32(b, 20)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(20+len(o)))
	b = append(b, o...)
	b = append(b, 4, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(8+len(ace)))
	b = append(b, 1, 0, 0, 0)
	return string(append(b, ace...))
}

const (
	domSID = "S-1-5-21-1-2-3"
	root   = "DC=contoso,DC=test"
	config = "CN=Configuration," + root
)

// sample is a small forest with one of everything that a snapshot can hold.
func sample(t testing.TB) *Builder {
	t.Helper()
	b := newTestBuilder()
	b.Collected(SAMAccountName, Member, AdminCount, Description, UserAccountControl, ServicePrincipalName, PwdLastSet)
	mustAdd(
		t, b,
		entry(root, "objectClass", "top", "objectClass", "domain", "objectClass", "domainDNS", "objectSid", sidBytes(domSID),
			"instanceType", "5", "nTSecurityDescriptor", descriptor("S-1-5-32-544", "S-1-5-18", 0xF01FF), "gPLink", "[LDAP://cn={X};0]",
			"objectGUID", guidBytes("11111111-1111-1111-1111-111111111111")),
		entry("OU=Staff,"+root, "objectClass", "top", "objectClass", "organizationalUnit", "nTSecurityDescriptor", descriptor("S-1-5-32-544", "S-1-5-18", 0xF01FF)),
		entry(`CN=Müller\, Jörg,OU=Staff,`+root, "objectClass", "top", "objectClass", "person", "objectClass", "user",
			"sAMAccountName", "jmueller", "objectSid", sidBytes(domSID+"-1104"), "servicePrincipalName", "http/b", "servicePrincipalName", "HTTP/a",
			"userAccountControl", "512", "pwdLastSet", "133500000000000000", "whenCreated", "20240102030405.0Z", "isCriticalSystemObject", "TRUE",
			"objectGUID", guidBytes("22222222-2222-2222-2222-222222222222"),
			"msDS-AllowedToActOnBehalfOfOtherIdentity", descriptor("S-1-5-18", domSID+"-1104", 0x100)),
	)
	b.Changed(UserAccountControl, Change{Version: 3, Time: when.Add(-time.Hour), DSA: secdesc.MustGUID("33333333-3333-3333-3333-333333333333"), Server: "DC1"})
	b.MarkUnreadable(Description, "no right to read it")
	mustAdd(
		t, b, entry("CN=Admins,OU=Staff,"+root, "objectClass", "top", "objectClass", "group", "sAMAccountName", "Admins",
			"objectSid", sidBytes(domSID+"-1105"), "groupType", "-2147483646",
			"member", `cn=MÜLLER\2C Jörg,ou=staff,`+strings.ToLower(root), "member", "CN=Gone,"+root, "member", "<TTL=60>,CN=Temp,OU=Staff,"+root,
			"member", "<TTL=90>,CN=Elsewhere,DC=other,DC=test"),
	)
	if err := b.LinkChanged(Member, "CN=Temp,OU=Staff,"+root, Change{Version: 1, Time: when, Created: when.Add(-time.Minute)}); err != nil {
		t.Fatal(err)
	}
	mustAdd(t, b, entry("CN=Temp,OU=Staff,"+root, "objectClass", "top", "objectClass", "user", "adminCount", "x"))
	b.AddFile(File{Domain: "contoso.test", Path: "Policies/{X}/GPT.INI", Data: []byte("[General]\r\nVersion=1\r\n"), State: Known, SD: []byte(descriptor("S-1-5-18", "S-1-5-18", 1))})
	b.AddFile(File{Domain: "contoso.test", Path: "Policies/{X}/empty", Data: []byte{}, State: Known})
	b.AddFile(File{Domain: "contoso.test", Path: "Policies/{Y}", State: Unreadable, Reason: "access denied"})
	b.Cover(Coverage{Area: AreaFile, Subject: "contoso.test", State: "partial", Reason: "one folder", Count: 1})
	b.Cover(Coverage{Area: AreaPartition, Subject: root, State: "complete", Count: 5})
	return b
}
