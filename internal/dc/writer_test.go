package dc

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// What Samba does is tested with package apply, against Samba. The fakes here answer
// what it cannot be made to: chosen result codes, half answers, links with a time to
// live, read-only domain controllers.

var (
	fakeGroup  = secdesc.MustGUID("11111111-2222-3333-4444-555555555555")
	fakeMember = Member{GUID: secdesc.MustGUID("66666666-7777-8888-9999-aaaaaaaaaaaa"), SID: secdesc.MustSID("S-1-5-21-1-2-3-1104")}
)

func (w *fakeWorld) openWriter(change func(*Config)) *Writer {
	w.t.Helper()
	cfg := w.config()
	if change != nil {
		change(&cfg)
	}
	out, err := OpenWriter(context.Background(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = out.Close() })
	return out
}

// modified answers a ModifyRequest.
func (s *fakeSession) modified(id, code int64, text string) bool {
	return s.send(id, tlv(opModifyResponse, berInt(0x0a, code), berString(0x04, ""), berString(0x04, text)), nil)
}

// holds makes the fake answer reads of the group: it exists, and has the member or not.
func (d *fakeDC) holds(in *atomic.Bool) {
	d.lookup = func(s *fakeSession, q fakeSearch) bool {
		if !strings.HasPrefix(q.base, "<GUID=") {
			return false
		}
		if bytes.Contains(q.filter, []byte("member")) && in.Load() == (q.filterTag == 0xa2) { // 0xa2: not
			return s.done(q.id, 0, "", nil)
		}
		return s.send(q.id, encodeEntry(Entry{DN: "CN=g,DC=x,DC=test"}), nil) && s.done(q.id, 0, "", nil)
	}
}

// A write by GUID, byte by byte, permanent and with a time to live.
func TestWriteBytes(t *testing.T) {
	w := newWorld(t)
	d := w.addDC("dc1", "10.0.0.1", 0)
	d.controls = []string{oidLinkTTL}
	var in, enabled atomic.Bool
	d.holds(&in)
	d.misbehave = func(s *fakeSession, q fakeSearch) bool { return false }
	group := d.lookup
	d.lookup = func(s *fakeSession, q fakeSearch) bool {
		if !strings.HasPrefix(q.base, "CN=Optional Features,CN=Directory Service,CN=Windows NT,CN=Services,CN=Configuration,") {
			return group(s, q)
		}
		if !bytes.Contains(q.filter, pamFeature[:]) {
			t.Errorf("asks for another feature: %q", q.filter)
		}
		e := Entry{DN: "CN=Privileged Access Management Feature"}
		if enabled.Load() {
			e.Attributes = []Attribute{{Name: "msDS-EnabledFeatureBL", Values: [][]byte{[]byte("CN=Partitions")}}}
		}
		return s.send(q.id, encodeEntry(e), nil) && s.done(q.id, 0, "", nil)
	}
	var got atomic.Value
	got.Store([]byte{})
	d.modify = func(s *fakeSession, m message) bool {
		got.Store(bytes.Clone(m.body))
		in.Store(!in.Load())
		return s.modified(m.id, 0, "")
	}
	wr := w.openWriter(nil)
	const dn = "<GUID=11111111222233334444555555555555>"
	check := func(out Write, op byte, value string) {
		t.Helper()
		if out.Outcome != Done || !out.Verified || out.Err != nil {
			t.Errorf("%+v", out)
		}
		want := append(berString(0x04, dn), tlv(0x30, tlv(0x30, []byte{0x0a, 1, op}, tlv(0x30, berString(0x04, "member"), tlv(0x31, berString(0x04, value)))))...)
		if !bytes.Equal(got.Load().([]byte), want) {
			t.Errorf("sent %q\nwant %q", got.Load(), want)
		}
	}
	member := "<GUID=" + hex.EncodeToString(fakeMember.GUID[:]) + ">"
	check(wr.AddMember(t.Context(), fakeGroup, fakeMember, 0), 0, member)
	check(wr.RemoveMember(t.Context(), fakeGroup, fakeMember), 1, member)
	stranger := Member{SID: fakeMember.SID}
	check(wr.AddMember(t.Context(), fakeGroup, stranger, 0), 0, "<SID=S-1-5-21-1-2-3-1104>")
	check(wr.RemoveMember(t.Context(), fakeGroup, stranger), 1, "<SID=S-1-5-21-1-2-3-1104>")
	got.Store([]byte{})
	if out := wr.AddMember(t.Context(), fakeGroup, fakeMember, time.Hour); out.Outcome != NotDone || KindOf(out.Err) != ErrUnsupported || len(got.Load().([]byte)) > 0 {
		t.Errorf("without the feature: %+v, sent %q", out, got.Load())
	}
	enabled.Store(true)
	check(wr.AddMember(t.Context(), fakeGroup, fakeMember, time.Hour-time.Millisecond), 0, "<TTL=3600,<SID=S-1-5-21-1-2-3-1104>>")
	if s := (Member{GUID: fakeGroup}).ttlValue(time.Nanosecond); s != "<TTL=1,"+dn+">" {
		t.Error(s)
	}
}

// Every refusal is told apart, and what is so already is recognised by code and by
// reading.
func TestWriteOutcomes(t *testing.T) {
	w := newWorld(t)
	d := w.addDC("dc1", "10.0.0.1", 0)
	var in atomic.Bool
	d.holds(&in)
	answer := func(code int64, text string) {
		d.onModify(func(s *fakeSession, m message) bool { return s.modified(m.id, code, text) })
	}
	wr := w.openWriter(nil)
	cases := []struct {
		name   string
		code   int64
		text   string
		remove bool
		in     bool // what reading shows
		want   Outcome
		kind   Kind
	}{
		{"done", 0, "", false, true, Done, 0},
		{"done but not to be read", 0, "", false, false, Done, 0},
		{"a member already", 68, "00000562: UpdErr: DSID-031A1236, problem 6005 (ENTRY_EXISTS), data 0", false, true, Already, 0},
		{"value exists", 20, "", false, true, Already, 0},
		{"exists, but reading does not show it", 68, "", false, false, NotDone, ErrExists},
		{"gone, Windows", 53, "00000561: SvcErr: DSID-031A1236, problem 5003 (WILL_NOT_PERFORM), data 0", true, false, Already, 0},
		{"gone, Samba", 53, "Attribute member already deleted for target GUID c8e69882-d3a4-41cc-bdd9-7ec2417b5620", true, false, Already, 0},
		{"no such attribute", 16, "", true, false, Already, 0},
		{"gone, but reading shows it", 16, "", true, true, NotDone, ErrNoSuchValue},
		{"unwilling", 53, "0000202B: too many members", false, false, NotDone, ErrUnwilling},
		{"unwilling, and so already", 53, "0000202B: primary group", false, true, Already, 0},
		{"busy", 51, "", false, true, NotDone, ErrBusy},
		{"unavailable", 52, "", false, true, NotDone, ErrUnavailable},
		{"rights", 50, "00002098: SecErr", false, false, NotDone, ErrAccessDenied},
		{"no such object", 32, "", false, false, NotDone, ErrNoSuchObject},
		{"constraint", 19, "0000052D: password policy", false, false, NotDone, ErrConstraint},
		{"syntax", 21, "", false, false, NotDone, ErrConstraint},
		{"referral", 10, "", false, false, NotDone, ErrReadOnly},
		{"other", 80, "", false, false, NotDone, ErrServer},
	}
	for _, c := range cases {
		answer(c.code, c.text)
		in.Store(c.in)
		var out Write
		if c.remove {
			out = wr.RemoveMember(t.Context(), fakeGroup, fakeMember)
		} else {
			out = wr.AddMember(t.Context(), fakeGroup, fakeMember, 0)
		}
		if out.Outcome != c.want || KindOf(out.Err) != c.kind {
			t.Errorf("%s: %s, %v, want %s, %v", c.name, out.Outcome, out.Err, c.want, c.kind)
		}
		if out.Verified != (c.in != c.remove && c.want != NotDone) {
			t.Errorf("%s: verified %t", c.name, out.Verified)
		}
		if out.Server.Name != "dc1.x.test" {
			t.Errorf("%s: server %s", c.name, out.Server)
		}
	}
	// A password that is refused is not there already, whatever reading shows.
	answer(53, "0000052D")
	if out := wr.ResetPassword(t.Context(), fakeGroup, []byte("x")); out.Outcome != NotDone || KindOf(out.Err) != ErrUnwilling {
		t.Errorf("%+v", out)
	}
	if out := wr.ResetPassword(t.Context(), fakeGroup, []byte("\xff")); KindOf(out.Err) != ErrConstraint || strings.Contains(out.Err.Error(), "\xff") {
		t.Errorf("%+v", out)
	}
}

// Whatever happens after the request has left is uncertain, and nothing that happens
// before is.
func TestWriteUncertain(t *testing.T) {
	w := newWorld(t)
	d := w.addDC("dc1", "10.0.0.1", 0)
	var in atomic.Bool
	d.holds(&in)
	cases := map[string]struct {
		answer func(s *fakeSession, m message) bool
		kind   Kind // of the cause
	}{
		"cut":            {func(*fakeSession, message) bool { return false }, ErrConnectionLost},
		"another answer": {func(s *fakeSession, m message) bool { return s.done(m.id, 0, "", nil) }, ErrProtocol},
		"another id":     {func(s *fakeSession, m message) bool { return s.modified(m.id+1, 0, "") }, ErrProtocol},
		"half an answer": {func(s *fakeSession, m message) bool {
			_, err := s.nc.Write([]byte{0x30, 0x20, 0x02})
			return err != nil
		}, ErrConnectionLost},
		"disconnection": {func(s *fakeSession, m message) bool {
			return s.send(0, tlv(opExtendedResponse, berInt(0x0a, 52), berString(0x04, ""), berString(0x04, "bye")), nil)
		}, ErrConnectionLost},
		"no result": {func(s *fakeSession, m message) bool { return s.send(m.id, tlv(opModifyResponse), nil) }, ErrProtocol},
		"no answer": {func(s *fakeSession, m message) bool { return true }, ErrTimeout},
	}
	wr := w.openWriter(func(c *Config) { c.Timeout = 500 * time.Millisecond })
	for name, c := range cases {
		d.onModify(c.answer)
		out := wr.AddMember(t.Context(), fakeGroup, fakeMember, 0)
		var cause Kind
		if e := new(Error); errors.As(out.Err, &e) {
			cause = KindOf(e.Err)
		}
		if out.Outcome != Uncertain || KindOf(out.Err) != ErrUncertain || cause != c.kind {
			t.Errorf("%s: %s: %v", name, out.Outcome, out.Err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	d.onModify(func(*fakeSession, message) bool { cancel(); return true })
	if out := wr.AddMember(ctx, fakeGroup, fakeMember, 0); out.Outcome != Uncertain || !errors.Is(out.Err, context.Canceled) {
		t.Errorf("cancelled after: %+v", out)
	}
	d.onModify(func(*fakeSession, message) bool { t.Error("a cancelled request was sent"); return false })
	if out := wr.AddMember(ctx, fakeGroup, fakeMember, 0); out.Outcome != NotDone || KindOf(out.Err) != ErrCanceled {
		t.Errorf("cancelled before: %+v", out)
	}
	w.setPort("10.0.0.1:636", nil)
	if out := wr.AddMember(t.Context(), fakeGroup, fakeMember, 0); out.Outcome != NotDone || KindOf(out.Err) != ErrUnreachable {
		t.Errorf("unreachable: %+v", out)
	}
}

// An object has one domain controller, the same in every process; read-only ones have
// none.
func TestServerFor(t *testing.T) {
	w := newWorld(t)
	var in atomic.Bool
	for i, name := range []string{"dc1", "dc2", "rodc"} {
		d := w.addDC(name, "10.0.0."+string(rune('1'+i)), 0)
		d.holds(&in)
		if name == "rodc" {
			d.capabilities = []string{oidPartialSecrets}
		}
		d.modify = func(s *fakeSession, m message) bool {
			if name == "rodc" {
				t.Error("the read-only domain controller is written to")
			}
			return s.modified(m.id, 0, "")
		}
	}
	a := w.openWriter(nil)
	count := map[string]int{}
	object := func(i int) (g secdesc.GUID) {
		binary.BigEndian.PutUint32(g[:], uint32(i)+1)
		return g
	}
	for i := range 60 {
		out := a.AddMember(t.Context(), object(i), fakeMember, 0)
		if out.Outcome != Done {
			t.Fatalf("%+v", out)
		}
		count[out.Server.Name]++
	}
	if count["dc1.x.test"] < 15 || count["dc2.x.test"] < 15 || len(count) != 2 {
		t.Errorf("%v", count)
	}
	w.srv["_ldap._tcp.dc._msdcs.x.test"] = []string{"rodc.x.test", "dc2.x.test", "dc1.x.test"}
	b := w.openWriter(nil)
	for i := range 60 {
		_, from, err := b.Read(t.Context(), object(i), Request{})
		if err != nil || from.Name != a.ServerFor(object(i)).Name {
			t.Errorf("object %d: %s and %s: %v", i, from, a.ServerFor(object(i)), err)
		}
	}
	if err := errors.Join(b.Pin(object(1), "DC2.x.test"), b.Pin(object(2), "10.0.0.1")); err != nil {
		t.Fatal(err)
	}
	if b.ServerFor(object(1)).Name != "dc2.x.test" || b.ServerFor(object(2)).Name != "dc1.x.test" {
		t.Error("pinned in vain")
	}
	if err := b.Pin(object(1), "dc9.x.test"); KindOf(err) != ErrConfig {
		t.Error(err)
	}
	if n := len(b.Servers()); n != 2 {
		t.Errorf("%d writable servers", n)
	}
}

// Writes to one value of one object follow each other; others go beside each other, on
// no more connections than allowed.
func TestWriteConcurrent(t *testing.T) {
	w := newWorld(t)
	d := w.addDC("dc1", "10.0.0.1", 0)
	var in atomic.Bool
	d.holds(&in)
	var now, most, same, mostSame atomic.Int32
	raise := func(to *atomic.Int32, n int32) {
		for old := to.Load(); n > old && !to.CompareAndSwap(old, n); old = to.Load() {
		}
	}
	d.modify = func(s *fakeSession, m message) bool {
		raise(&most, now.Add(1))
		defer now.Add(-1)
		if bytes.Contains(m.body, []byte(fakeMember.dn())) {
			raise(&mostSame, same.Add(1))
			defer same.Add(-1)
		}
		time.Sleep(time.Millisecond) // lets others in, if they may
		return s.modified(m.id, 0, "")
	}
	wr := w.openWriter(nil)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			m := fakeMember
			if i%2 == 0 {
				m.GUID[0] = byte(i)
			}
			if out := wr.AddMember(t.Context(), fakeGroup, m, 0); out.Outcome != Done {
				t.Errorf("%+v", out)
			}
		})
	}
	wg.Wait()
	if mostSame.Load() != 1 || most.Load() < 2 || most.Load() > maxWriterConns {
		t.Errorf("%d at once to one value, %d in all", mostSame.Load(), most.Load())
	}
}

func TestQuotedUTF16(t *testing.T) {
	got, err := quotedUTF16([]byte("aü€😀"))
	if want := "22006100fc00ac203dd800de2200"; err != nil || hex.EncodeToString(got) != want {
		t.Errorf("%x, want %s: %v", got, want, err)
	}
	for _, bad := range []string{"", "a\xff"} {
		if _, err := quotedUTF16([]byte(bad)); !errors.Is(err, errPassword) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// Metadata of links as Windows writes it, which Samba does not.
func TestValueMetadata(t *testing.T) {
	text := "<DS_REPL_VALUE_META_DATA>\n\t<pszAttributeName>member</pszAttributeName>\n\t<pszObjectDn>CN=anna,DC=x,DC=test</pszObjectDn>\n\t<cbData>0</cbData>\n\t<pbData></pbData>\n" +
		"\t<ftimeDeleted>1601-01-01T00:00:00Z</ftimeDeleted>\n\t<ftimeCreated>2026-11-22T03:00:00Z</ftimeCreated>\n\t<dwVersion>3</dwVersion>\n\t<ftimeLastOriginatingChange>2026-11-22T03:00:00Z</ftimeLastOriginatingChange>\n" +
		"\t<uuidLastOriginatingDsaInvocationID>72ab02d5-9f5c-4d46-8ac6-8f8f0d7a2c11</uuidLastOriginatingDsaInvocationID>\n\t<usnOriginatingChange>12345</usnOriginatingChange>\n\t<usnLocalChange>12345</usnLocalChange>\n\t<pszLastOriginatingDsaDN>CN=NTDS Settings</pszLastOriginatingDsaDN>\n</DS_REPL_VALUE_META_DATA>\n\x00"
	m, err := parseValueMeta([]byte(text))
	want := stamp{3, secdesc.MustGUID("72ab02d5-9f5c-4d46-8ac6-8f8f0d7a2c11"), 12345}
	if err != nil || m.stamp != want || m.Attribute != "member" || m.Object != "CN=anna,DC=x,DC=test" {
		t.Errorf("%+v: %v", m, err)
	}
	older, newer := want, want
	older.Version--
	newer.Version++
	if !want.covers(want) || !newer.covers(want) || older.covers(want) {
		t.Error("versions are compared wrongly")
	}
}

func FuzzMetadata(f *testing.F) {
	f.Add([]byte("<DS_REPL_VALUE_META_DATA><dwVersion>3</dwVersion></DS_REPL_VALUE_META_DATA>\x00"))
	f.Add(append([]byte{1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 8, 0, 9, 0}, make([]byte, 44)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := parseValueMeta(b); err != nil && err.Error() == "" {
			t.Error("an error without a text")
		}
		if _, found, err := parseStamp(b, 0x90008); found && (err != nil || (len(b)-16)%48 != 0) {
			t.Errorf("found in %d bytes: %v", len(b), err)
		}
	})
}
