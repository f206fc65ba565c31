package forest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite golden files that may change")

func TestFileRoundTrip(t *testing.T) {
	s := mustBuild(t, sample(t))
	file := fileOf(t, s)
	got, err := Read(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	if want, have := dumpOf(t, s), dumpOf(t, got); want != have {
		t.Errorf("dump before:\n%s\nafter:\n%s", want, have)
	}
	if !Equal(s, got) {
		t.Error("not Equal after the round trip")
	}
	if !bytes.Equal(file, fileOf(t, got)) {
		t.Error("bytes differ after the round trip")
	}
	if f := got.File("contoso.test", "policies/{x}/EMPTY"); f.State != Known || f.Data == nil {
		t.Errorf("empty file came back as %+v", f)
	}
}

// Files of version 1 stay readable for ever: this one is never rewritten.
func TestReadsVersion1(t *testing.T) {
	file, err := os.ReadFile("testdata/v1.lws")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Read(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	golden, err := os.ReadFile("testdata/v1.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got := dumpOf(t, s); got != string(golden) {
		t.Errorf("dump of v1.lws:\n%s\nwant:\n%s", got, golden)
	}
}

func TestFileOfEmptySnapshot(t *testing.T) {
	s := mustBuild(t, NewBuilder(Info{}))
	got, err := Read(bytes.NewReader(fileOf(t, s)))
	if err != nil {
		t.Fatal(err)
	}
	if got.Len() != 0 || !got.Info().Started.IsZero() || got.Lookup(root) != None {
		t.Errorf("%+v", got.Info())
	}
}

func TestEqualFilesFromAnyOrder(t *testing.T) {
	entries := sampleEntries()
	want := fileOf(t, build(t, entries...))
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		r.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
		if !bytes.Equal(want, fileOf(t, build(t, entries...))) {
			t.Fatalf("seed %d: other bytes", seed)
		}
	}
}

func sampleEntries() []Entry {
	e := []Entry{entry(root, "objectClass", "domainDNS")}
	for _, n := range []string{"a", "b", "c", "d"} {
		e = append(e, entry("CN="+n+","+root, "objectClass", "top", "objectClass", "c"+n, "nTSecurityDescriptor", "sd"+n,
			"description", n+"2", "description", n+"1", "member", "CN=a,"+root, "member", "CN=x,"+root,
			"msDS-GroupMSAMembership", "other"+n))
	}
	return e
}

func TestTruncationAnywhere(t *testing.T) {
	file := fileOf(t, mustBuild(t, sample(t)))
	for n := range len(file) {
		_, err := Read(bytes.NewReader(file[:n]))
		switch {
		case n == 0 && errors.Is(err, ErrNotSnapshot):
		case !errors.Is(err, ErrTruncated) && n >= len(magic):
			t.Fatalf("cut at %d of %d: %v", n, len(file), err)
		case err == nil:
			t.Fatalf("cut at %d of %d: no error", n, len(file))
		}
	}
}

func TestEveryBitCounts(t *testing.T) {
	file := fileOf(t, mustBuild(t, sample(t)))
	for i := range file {
		for _, bit := range []byte{1, 0x80} {
			broken := slices.Clone(file)
			broken[i] ^= bit
			if _, err := Read(bytes.NewReader(broken)); err == nil {
				t.Fatalf("byte %d changed without an error", i)
			}
		}
	}
}

func TestCorruptSectionIsNamed(t *testing.T) {
	file := fileOf(t, mustBuild(t, sample(t)))
	at := bytes.Index(file, []byte(secTree))
	file[at+30]++
	_, err := Read(bytes.NewReader(file))
	var f *FormatError
	if !errors.As(err, &f) || f.Section != secTree || f.Offset != int64(at-4) || !errors.Is(err, ErrCorrupt) {
		t.Errorf("%v", err)
	}
}

func TestRefusesOthers(t *testing.T) {
	for _, in := range []string{"", "dn: DC=x\n", "\x89LWS\n\n\x1a\n", "PK\x03\x04"} {
		if _, err := Read(strings.NewReader(in)); !errors.Is(err, ErrNotSnapshot) {
			t.Errorf("%q: %v", in, err)
		}
	}
	file := fileOf(t, mustBuild(t, sample(t)))
	if _, err := Read(bytes.NewReader(append(file, 0))); !errors.Is(err, ErrCorrupt) {
		t.Errorf("with a byte behind the end: %v", err)
	}
}

func TestRefusesNewerMajor(t *testing.T) {
	file := fileOf(t, mustBuild(t, sample(t)))
	binary.LittleEndian.PutUint16(file[len(magic):], 3)
	_, err := Read(bytes.NewReader(file))
	want := "snapshot is of a newer format: snapshot has format 3; this leastwise reads up to 1; update leastwise"
	if !errors.Is(err, ErrNewer) || err.Error() != want {
		t.Errorf("%v", err)
	}
}

// forge writes a file with the sections of s and more, with minor version 9.
func forge(t *testing.T, s *Snapshot, change func(section) []section) []byte {
	t.Helper()
	out := binary.LittleEndian.AppendUint16([]byte(magic), FormatMajor)
	out = binary.LittleEndian.AppendUint16(out, 9)
	count := uint32(0)
	put := func(sec section) {
		flags := byte(0)
		if sec.required {
			flags = flagRequired
		}
		head := append([]byte{markSection, flags, codecStored, byte(len(sec.name))}, sec.name...)
		head = binary.LittleEndian.AppendUint64(head, uint64(len(sec.raw)))
		head = binary.LittleEndian.AppendUint64(head, uint64(len(sec.raw)))
		crc := crc32.Checksum(append(slices.Clone(head), sec.raw...), castagnoli)
		out = append(binary.LittleEndian.AppendUint32(append(out, head...), crc), sec.raw...)
		count++
	}
	s.sections(func(sec section) {
		for _, x := range change(sec) {
			put(x)
		}
	})
	at := len(out)
	out = binary.LittleEndian.AppendUint32(append(out, markFooter), count)
	out = binary.LittleEndian.AppendUint64(out, uint64(at))
	sum := sha256.Sum256(out)
	return append(out, sum[:]...)
}

func TestNewerMinor(t *testing.T) {
	s := mustBuild(t, sample(t))
	file := forge(t, s, func(sec section) []section {
		if sec.name == secColumn+"adminCount" || sec.name == secColumn+"sAMAccountName" {
			sec.raw[0] = 99 // another syntax
		}
		if sec.name != secTree {
			return []section{sec}
		}
		return []section{sec, {name: "weather", raw: []byte("sunny")}, {name: secColumn + "futureAttribute", raw: []byte{1}}}
	})
	got, err := Read(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	notes := map[string]bool{}
	for _, c := range got.Coverage() {
		if c.State == "not read" {
			notes[string(c.Area)+" "+c.Subject] = true
		}
	}
	for _, want := range []string{"snapshot weather", "attribute futureAttribute", "attribute sAMAccountName"} {
		if !notes[want] {
			t.Errorf("coverage lacks %q: %v", want, notes)
		}
	}
	id := mustFind(t, got, "CN=Admins,OU=Staff,"+root)
	if v, st := got.Str(id, SAMAccountName); st != Unreadable {
		t.Errorf("attribute that was passed over is %q, %v", v, st)
	}
	file = forge(t, s, func(sec section) []section {
		return []section{sec, {name: sec.name + "!", required: true}}
	})
	if _, err := Read(bytes.NewReader(file)); !errors.Is(err, ErrNewer) {
		t.Errorf("unknown required section: %v", err)
	}
}

// Well-framed files with hostile content.
func TestHostileSections(t *testing.T) {
	s := mustBuild(t, sample(t))
	huge := binary.AppendUvarint(nil, 1<<40)
	for _, name := range []string{
		secTree, secClasses, secIdentity, secDescriptors, secCollected, secProblems, secFiles, secCoverage, secMetadata,
		secColumn + "sAMAccountName", secColumn + "userAccountControl", secLinks + "member", secColumn + "msDS-AllowedToActOnBehalfOfOtherIdentity",
	} {
		for _, mode := range []string{"empty", "huge", "cut", "longer"} {
			file := forge(t, s, func(sec section) []section {
				if sec.name == name {
					switch keep := min(1, len(sec.raw)); mode {
					case "empty":
						sec.raw = nil
					case "huge":
						sec.raw = append(slices.Clone(sec.raw[:keep]), huge...)
					case "cut":
						sec.raw = sec.raw[:len(sec.raw)-1]
					default:
						sec.raw = append(slices.Clone(sec.raw), 0)
					}
				}
				return []section{sec}
			})
			_, err := Read(bytes.NewReader(file))
			var f *FormatError
			if !errors.As(err, &f) || f.Section != name {
				t.Errorf("%s %s: %v", name, mode, err)
			}
		}
	}
}

func TestHostileTree(t *testing.T) {
	for name, change := range map[string]func(*Snapshot){
		"order":      func(s *Snapshot) { s.rel = textsOf(root, "CN=b", "CN=a") },
		"duplicate":  func(s *Snapshot) { s.rel = textsOf(root, "CN=a", "cn=A") },
		"malformed":  func(s *Snapshot) { s.rel = textsOf(root, "CN=a", "b") },
		"empty name": func(s *Snapshot) { s.rel = textsOf(root, "", "CN=b") },
		"hidden":     func(s *Snapshot) { s.up[2] = None; s.rel = textsOf(root, "CN=a", "CN=b,"+root) },
		"not above":  func(s *Snapshot) { s.rel = textsOf(root, "CN=a", "CN=x,CN=a") },
	} {
		s := build(t, entry(root), entry("CN=a,"+root), entry("CN=b,"+root))
		change(s)
		_, err := Read(bytes.NewReader(fileOf(t, s)))
		var f *FormatError
		if !errors.As(err, &f) || f.Section != secTree {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func textsOf(list ...string) texts {
	t := texts{off: []uint32{0}, blob: strings.Join(list, "")}
	n := 0
	for _, s := range list {
		n += len(s)
		t.off = append(t.off, uint32(n))
	}
	return t
}

func TestBombIsRefused(t *testing.T) {
	s := mustBuild(t, sample(t))
	s.files = append(s.files, File{Domain: "z", Path: "zeros", State: Known, Data: make([]byte, budgetBase+budgetRatio*4096)})
	file := fileOf(t, s) // the writer stays within the budget
	if len(file) < budgetBase {
		t.Fatalf("writer packed %d bytes into %d", len(s.files[len(s.files)-1].Data), len(file))
	}
	if _, err := Read(bytes.NewReader(file)); err != nil {
		t.Fatal(err)
	}
}

func TestWriteFails(t *testing.T) {
	s := mustBuild(t, sample(t))
	for _, n := range []int{0, 1, 100, 2000} {
		if err := s.Write(&fullDisk{n}); !errors.Is(err, errFull) {
			t.Errorf("disk with %d bytes: %v", n, err)
		}
	}
}

var errFull = errors.New("no space left on device")

type fullDisk struct{ left int }

func (d *fullDisk) Write(b []byte) (int, error) {
	if d.left -= len(b); d.left < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func TestGolden(t *testing.T) {
	if !*update {
		t.Skip("only with -update, and only before version 1 is published")
	}
	s := mustBuild(t, sample(t))
	if err := os.WriteFile("testdata/v1.lws", fileOf(t, s), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("testdata/v1.txt", []byte(dumpOf(t, s)), 0o644); err != nil {
		t.Fatal(err)
	}
}

func FuzzRead(f *testing.F) {
	b, err := sample(f).Build()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(fileOf(f, b), false)
	f.Add([]byte(magic+"\x01\x00\x00\x00S"), false)
	b.sections(func(sec section) { f.Add(append([]byte{byte(len(sec.name))}, sec.name+string(sec.raw)...), true) })
	f.Fuzz(func(t *testing.T, in []byte, content bool) {
		if content { // past the checksums: the content of one section
			fuzzSection(b, in)
			return
		}
		s, err := Read(bytes.NewReader(in))
		if err != nil {
			return
		}
		again, err := Read(bytes.NewReader(fileOf(t, s)))
		if err != nil || !Equal(s, again) {
			t.Fatalf("does not round-trip: %v", err)
		}
	})
}

// fuzzSection decodes one section and uses every accessor on the result.
func fuzzSection(s *Snapshot, in []byte) {
	if len(in) == 0 || int(in[0]) >= len(in) {
		return
	}
	name, raw := string(in[1:1+in[0]]), in[1+in[0]:]
	r := &reading{s: &Snapshot{problems: map[problemKey]string{}}, info: infoJSON{Objects: s.Len(), Descriptors: len(s.descs)}}
	broken := false
	s.sections(func(sec section) {
		if sec.name == name {
			sec.raw = raw
		}
		if sec.name != secInfo {
			broken = broken || r.section(sec.name, &decoder{b: sec.raw}) != nil
		}
	})
	if !broken {
		r.s.finish()
		_ = r.s.Dump(&bytes.Buffer{})
		for id := range ID(r.s.Len()) {
			r.s.Lookup(r.s.DN(id))
			r.s.DomainOf(id)
		}
	}
}

func TestInfoTimesAreUTCSeconds(t *testing.T) {
	b := NewBuilder(Info{Started: time.Date(2026, 1, 1, 1, 0, 0, 7, time.FixedZone("x", 3600))})
	s := mustBuild(t, b)
	got, err := Read(bytes.NewReader(fileOf(t, s)))
	if err != nil || !got.Info().Started.Equal(s.Info().Started) || s.Info().Started.Nanosecond() != 0 {
		t.Errorf("%v %v, %v", got.Info().Started, s.Info().Started, err)
	}
}
