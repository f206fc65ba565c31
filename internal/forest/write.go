package forest

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A section is a named part of a file.
type section struct {
	name     string
	required bool
	raw      []byte
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Write writes s in the file format. Equal snapshots give equal bytes. After an
// error nothing that was written is a snapshot: Read refuses it as cut short.
func (s *Snapshot) Write(w io.Writer) error {
	if err := s.write(w); err != nil {
		return fmt.Errorf("writing snapshot: %w", err)
	}
	return nil
}

func (s *Snapshot) write(w io.Writer) error {
	if s.isView {
		return ErrView
	}
	zip, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault))
	if err != nil {
		return err
	}
	defer zip.Close()
	out := &fileWriter{w: bufio.NewWriterSize(w, 1<<18), zip: zip}
	out.begin()
	s.sections(func(sec section) { out.section(sec) })
	return out.finish()
}

// fileWriter writes framing; the first error sticks.
type fileWriter struct {
	w      *bufio.Writer
	zip    *zstd.Encoder
	hash   interface{ Sum([]byte) []byte }
	hasher io.Writer
	n      int64
	count  uint32
	raw    int64
	stored int64
	packed []byte
	err    error
}

func (f *fileWriter) put(b []byte) {
	if f.err != nil {
		return
	}
	f.hasher.Write(b) //nolint:errcheck // a hash takes everything (package hash)
	_, f.err = f.w.Write(b)
	f.n += int64(len(b))
}

func (f *fileWriter) begin() {
	h := sha256.New()
	f.hash, f.hasher = h, h
	b := binary.LittleEndian.AppendUint16([]byte(magic), FormatMajor)
	f.put(binary.LittleEndian.AppendUint16(b, FormatMinor))
}

func (f *fileWriter) section(sec section) {
	body, codec := sec.raw, byte(codecStored)
	f.packed = f.zip.EncodeAll(sec.raw, f.packed[:0])
	raw, stored := int64(len(sec.raw)), int64(len(f.packed))
	if stored < raw && f.raw+raw <= budgetBase+budgetRatio*(f.stored+stored) {
		body, codec = f.packed, codecZstd
	}
	flags := byte(0)
	if sec.required {
		flags = flagRequired
	}
	head := []byte{markSection, flags, codec, byte(len(sec.name))}
	head = append(head, sec.name...)
	head = binary.LittleEndian.AppendUint64(head, uint64(len(sec.raw)))
	head = binary.LittleEndian.AppendUint64(head, uint64(len(body)))
	crc := crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, body)
	f.put(binary.LittleEndian.AppendUint32(head, crc))
	f.put(body)
	f.raw += raw
	f.stored += int64(len(body))
	f.count++
}

// finish writes the footer: without it a file is cut short.
func (f *fileWriter) finish() error {
	foot := binary.LittleEndian.AppendUint32([]byte{markFooter}, f.count)
	foot = binary.LittleEndian.AppendUint64(foot, uint64(f.n))
	f.put(foot)
	if f.err != nil {
		return f.err
	}
	if _, err := f.w.Write(f.hash.Sum(nil)); err != nil {
		return err
	}
	return f.w.Flush()
}

// sections calls yield for each section, in the order of the file.
func (s *Snapshot) sections(yield func(section)) {
	yield(section{secInfo, true, s.encodeInfo()})
	yield(section{secTree, true, s.encodeTree()})
	yield(section{secClasses, true, s.encodeClasses()})
	yield(section{secIdentity, true, s.encodeIdentity()})
	yield(section{secDescriptors, true, s.encodeDescriptors()})
	yield(section{secCollected, true, s.encodeCollected()})
	yield(section{secProblems, true, s.encodeProblems()})
	if len(s.unasked) > 0 {
		yield(section{secUnasked, true, s.encodeUnasked()})
	}
	yield(section{secFiles, false, s.encodeFiles()})
	yield(section{secCoverage, true, encodeJSON(s.coverage)})
	yield(section{secMetadata, false, s.encodeMeta()})
	for _, a := range byName() {
		if c := s.col(a); c != nil {
			yield(section{secColumn + a.String(), false, c.encode(a)})
		}
		if l := s.links[a]; l != nil {
			yield(section{secLinks + a.String(), false, l.encode()})
		}
	}
}

// byName lists the attributes in an order that does not depend on their numbers.
func byName() []Attr {
	out := Attrs()
	slices.SortFunc(out, func(a, b Attr) int { return strings.Compare(a.String(), b.String()) })
	return out
}

// encodeJSON is for small sections; none of the types can fail.
func encodeJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("forest: " + err.Error())
	}
	return b
}

// infoJSON is the info section. Counts let sections be read independently.
type infoJSON struct {
	Source      string   `json:"source"`
	Tool        string   `json:"tool"`
	Started     int64    `json:"started"` // seconds since 1970
	Finished    int64    `json:"finished"`
	Domain      string   `json:"domain"`
	Servers     []string `json:"servers"`
	Reader      string   `json:"reader"`
	Objects     int      `json:"objects"`
	Descriptors int      `json:"descriptors"`
}

func (s *Snapshot) encodeInfo() []byte {
	unix := func(t time.Time) int64 {
		if t.IsZero() {
			return 0
		}
		return t.Unix()
	}
	return encodeJSON(infoJSON{
		Source: s.info.Source, Tool: s.info.Tool, Started: unix(s.info.Started), Finished: unix(s.info.Finished),
		Domain: s.info.Domain, Servers: s.info.Servers, Reader: s.info.Reader,
		Objects: s.Len(), Descriptors: len(s.descs),
	})
}

// encodeTree: for each object, 0 or its distance to the object that contains it;
// then the names.
func (s *Snapshot) encodeTree() []byte {
	e := &encoder{}
	for i, up := range s.up {
		if up == None {
			e.uint(0)
		} else {
			e.uint(uint64(ID(i) - up))
		}
	}
	e.texts(&s.rel)
	return e.b
}

func (s *Snapshot) encodeClasses() []byte {
	e := &encoder{}
	e.uint(uint64(len(s.classes)))
	for _, c := range s.classes {
		e.uint(uint64(len(c)))
		for _, name := range c {
			e.str(name)
		}
	}
	for _, c := range s.class {
		e.uint(uint64(c))
	}
	return e.b
}

// encodeIdentity: the distinct SIDs of domains; for each object, 0 (no SID), 1
// and the SID, or 2 + the number of its domain and the RID; GUIDs at the end.
func (s *Snapshot) encodeIdentity() []byte {
	var domains []secdesc.SID
	number := map[secdesc.SID]int{}
	body := &encoder{}
	for _, sid := range s.sid {
		d := sid.Domain()
		switch rid, _ := sid.RID(); {
		case sid.IsZero():
			body.uint(0)
		case d.IsZero() || !d.IsDomainRelative():
			body.uint(1)
			body.str(string(sid.Bytes()))
		default:
			n, ok := number[d]
			if !ok {
				n = len(domains)
				number[d] = n
				domains = append(domains, d)
			}
			body.uint(uint64(n) + 2)
			body.uint(uint64(rid))
		}
	}
	e := &encoder{}
	e.uint(uint64(len(domains)))
	for _, d := range domains {
		e.str(string(d.Bytes()))
	}
	e.b = append(e.b, body.b...)
	for i := range s.guid {
		e.b = append(e.b, s.guid[i][:]...)
	}
	return e.b
}

// encodeDescriptors: the distinct descriptors; for each object 0 or 1 + its number.
func (s *Snapshot) encodeDescriptors() []byte {
	e := &encoder{}
	for i := range s.descs {
		e.uint(uint64(len(s.descs[i].raw)))
	}
	for i := range s.descs {
		e.b = append(e.b, s.descs[i].raw...)
	}
	for _, d := range s.desc {
		e.uint(uint64(d + 1)) // noDesc wraps to 0
	}
	return e.b
}

func (s *Snapshot) encodeCollected() []byte {
	e := &encoder{}
	var names []string
	for _, a := range byName() {
		if s.collected[a] {
			names = append(names, a.String())
		}
	}
	e.uint(uint64(len(names)))
	for _, n := range names {
		e.str(n)
	}
	return e.b
}

func (s *Snapshot) encodeProblems() []byte {
	keys := make([]problemKey, 0, len(s.problems))
	for k := range s.problems {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b problemKey) int {
		if a.id != b.id {
			return int(int64(a.id) - int64(b.id))
		}
		return strings.Compare(a.attr.String(), b.attr.String())
	})
	e := &encoder{}
	e.uint(uint64(len(keys)))
	for _, k := range keys {
		e.uint(uint64(k.id))
		e.str(k.attr.String())
		e.str(s.problems[k])
	}
	return e.b
}

func (s *Snapshot) encodeFiles() []byte {
	e := &encoder{}
	e.uint(uint64(len(s.files)))
	for _, f := range s.files {
		e.str(f.Domain)
		e.str(f.Path)
		e.uint(uint64(f.State))
		e.str(f.Reason)
		e.optional(f.Data)
		e.optional(f.SD)
	}
	return e.b
}

// optional writes bytes that may be nil, which is not the same as empty.
func (e *encoder) optional(b []byte) {
	if b == nil {
		e.uint(0)
		return
	}
	e.uint(uint64(len(b)) + 1)
	e.b = append(e.b, b...)
}

// encodeMeta: originating servers, names of attributes, entries, links.
func (s *Snapshot) encodeMeta() []byte {
	e := &encoder{}
	e.uint(uint64(len(s.meta.dsas)))
	for _, d := range s.meta.dsas {
		e.b = append(e.b, d.guid[:]...)
		e.str(d.server)
	}
	number := map[Attr]int{}
	var names []Attr
	note := func(a Attr) {
		if _, ok := number[a]; !ok {
			number[a] = 0
			names = append(names, a)
		}
	}
	for _, m := range s.meta.attrs {
		note(m.attr)
	}
	for _, m := range s.meta.links {
		note(m.attr)
	}
	slices.SortFunc(names, func(a, b Attr) int { return strings.Compare(a.String(), b.String()) })
	e.uint(uint64(len(names)))
	for i, a := range names {
		number[a] = i
		e.str(a.String())
	}
	entry := func(m metaEntry) {
		e.uint(uint64(m.id))
		e.uint(uint64(number[m.attr]))
		e.uint(uint64(m.version))
		e.int(m.time)
		e.uint(uint64(m.dsa))
	}
	attrs, links := slices.Clone(s.meta.attrs), slices.Clone(s.meta.links)
	before := func(a, b metaEntry) int {
		if a.id != b.id {
			return int(int64(a.id) - int64(b.id))
		}
		return number[a.attr] - number[b.attr]
	}
	slices.SortStableFunc(attrs, before)
	slices.SortStableFunc(links, func(a, b metaLink) int { return before(a.metaEntry, b.metaEntry) })
	e.uint(uint64(len(attrs)))
	for _, m := range attrs {
		entry(m)
	}
	e.uint(uint64(len(links)))
	for _, m := range links {
		entry(m.metaEntry)
		e.uint(uint64(m.to))
		e.int(m.deleted)
		e.int(m.created)
	}
	return e.b
}

func (c *column) encode(a Attr) []byte {
	e := &encoder{}
	e.uint(uint64(a.Syntax()))
	e.ids(c.ids)
	e.firsts(c.first)
	if a.isText() {
		e.texts(&c.text)
		return e.b
	}
	for _, v := range c.ints {
		e.int(v)
	}
	return e.b
}

func (l *linkTable) encode() []byte {
	e := &encoder{}
	e.uint(uint64(Link))
	e.ids(l.ids)
	for i := range l.ids {
		e.ids(l.to[l.first[i]:l.first[i+1]])
	}
	e.uint(uint64(len(l.outside)))
	for _, o := range l.outside {
		e.uint(uint64(o.from))
		e.str(o.dn)
		e.int(o.expires)
	}
	e.uint(uint64(len(l.expiry)))
	for _, x := range l.expiry {
		e.uint(uint64(x.from))
		e.uint(uint64(x.to))
		e.int(x.at)
	}
	return e.b
}
