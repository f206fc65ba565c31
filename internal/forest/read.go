package forest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"runtime"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Read reads a snapshot that Write wrote: of this format, an older one, or a
// newer one of the same major version, whose unknown parts it passes over and
// names in the coverage. Errors are ErrNotSnapshot, ErrNewer, *FormatError
// (ErrCorrupt or ErrTruncated) or those of r. It uses several goroutines and
// waits for them.
func Read(r io.Reader) (*Snapshot, error) {
	var buf bytes.Buffer
	n, err := buf.ReadFrom(io.LimitReader(r, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading snapshot: %w", err)
	}
	if n > MaxFile {
		return nil, &FormatError{ErrCorrupt, "", MaxFile, "larger than any snapshot"}
	}
	return decode(buf.Bytes())
}

// MaxFile is the largest size of a snapshot file, in bytes. A million objects need
// less than a tenth of it.
const MaxFile = 4 << 30

// A frame is a section as it stands in the file.
type frame struct {
	name   string
	at     int64
	codec  byte
	known  bool
	rawLen int
	body   []byte
}

func (f *frame) bad(format string, args ...any) error {
	return &FormatError{ErrCorrupt, f.name, f.at, fmt.Sprintf(format, args...)}
}

func decode(file []byte) (*Snapshot, error) {
	if err := checkHead(file); err != nil {
		return nil, err
	}
	frames, err := split(file)
	if err != nil {
		return nil, err
	}
	in := &reading{s: &Snapshot{problems: map[problemKey]string{}}, frames: frames}
	if err := in.first(); err != nil {
		return nil, err
	}
	return in.rest()
}

func checkHead(file []byte) error {
	if n := min(len(file), len(magic)); string(file[:n]) != magic[:n] || n == 0 {
		return ErrNotSnapshot
	}
	if len(file) < len(magic)+4 {
		return &FormatError{ErrTruncated, "", int64(len(file)), "ends within the header"}
	}
	if major := binary.LittleEndian.Uint16(file[len(magic):]); major > FormatMajor {
		return fmt.Errorf("%w: snapshot has format %d; this leastwise reads up to %d; update leastwise", ErrNewer, major, FormatMajor)
	} else if major == 0 {
		return &FormatError{ErrCorrupt, "", int64(len(magic)), "format version 0"}
	}
	return nil
}

// split checks the framing and every checksum and cuts the file into sections.
func split(file []byte) ([]frame, error) {
	c := cursor{file: file, at: len(magic) + 4}
	var out []frame
	seen := map[string]bool{}
	raw, stored := int64(0), int64(0)
	for {
		at := c.at
		mark, err := c.take(1, "")
		if err != nil {
			return nil, err
		}
		if mark[0] == markFooter {
			return out, c.footer(at, len(out))
		}
		if mark[0] != markSection {
			return nil, &FormatError{ErrCorrupt, "", int64(at), "neither a section nor the end"}
		}
		f, err := c.section(at)
		if err != nil {
			return nil, err
		}
		raw += int64(f.rawLen)
		stored += int64(len(f.body))
		switch {
		case seen[f.name]:
			return nil, f.bad("occurs twice")
		case len(out) == maxSections:
			return nil, f.bad("more than %d sections", maxSections)
		case raw > budgetBase+budgetRatio*stored:
			return nil, f.bad("expands to %d bytes, more than any snapshot does", f.rawLen)
		}
		seen[f.name] = true
		out = append(out, f)
	}
}

type cursor struct {
	file []byte
	at   int
}

func (c *cursor) take(n int, section string) ([]byte, error) {
	if n > len(c.file)-c.at {
		return nil, &FormatError{ErrTruncated, section, int64(len(c.file)), "the file ends here; it was not written or copied completely"}
	}
	c.at += n
	return c.file[c.at-n : c.at], nil
}

func (c *cursor) section(at int) (frame, error) {
	f := frame{at: int64(at)}
	head, err := c.take(3, "")
	if err != nil {
		return f, err
	}
	name, err := c.take(int(head[2]), "")
	if err != nil {
		return f, err
	}
	f.name, f.codec = string(name), head[1]
	sizes, err := c.take(20, f.name)
	if err != nil {
		return f, err
	}
	rawLen, bodyLen := binary.LittleEndian.Uint64(sizes), binary.LittleEndian.Uint64(sizes[8:])
	if len(name) == 0 || len(name) > maxName || rawLen > MaxFile || bodyLen > MaxFile || f.codec > codecZstd {
		return f, f.bad("malformed header")
	}
	f.rawLen = int(rawLen)
	sum := crc32.Checksum(c.file[at:c.at-4], castagnoli)
	if f.body, err = c.take(int(bodyLen), f.name); err != nil {
		return f, err
	}
	if sum = crc32.Update(sum, castagnoli, f.body); sum != binary.LittleEndian.Uint32(sizes[16:]) {
		return f, f.bad("checksum does not match")
	}
	if f.codec == codecStored && f.rawLen != len(f.body) {
		return f, f.bad("stored with the wrong length")
	}
	f.known = isKnown(f.name)
	if !f.known && head[0]&flagRequired != 0 {
		return f, fmt.Errorf("%w: section %s is unknown to this leastwise; update leastwise", ErrNewer, clip(f.name))
	}
	return f, nil
}

func (c *cursor) footer(at, sections int) error {
	foot, err := c.take(12+sha256.Size, "")
	if err != nil {
		return err
	}
	bad := func(why string) error { return &FormatError{ErrCorrupt, "", int64(at), why} }
	switch {
	case c.at != len(c.file):
		return bad("something follows the end")
	case binary.LittleEndian.Uint32(foot) != uint32(sections) || binary.LittleEndian.Uint64(foot[4:]) != uint64(at):
		return bad("sections are missing")
	case sha256.Sum256(c.file[:at+13]) != [sha256.Size]byte(foot[12:]):
		return bad("checksum of the file does not match")
	}
	return nil
}

func isKnown(name string) bool {
	switch name {
	case secInfo, secTree, secClasses, secIdentity, secDescriptors, secCollected, secProblems, secUnasked, secFiles, secCoverage, secMetadata:
		return true
	}
	_, _, ok := attrSection(name)
	return ok
}

// attrSection takes the name of an attribute's section apart; ok is false if this
// version does not hold the attribute, or not in that way.
func attrSection(name string) (a Attr, isLink, ok bool) {
	if rest, found := strings.CutPrefix(name, secColumn); found {
		a, ok = AttrByName(rest)
		return a, false, ok && a.Syntax() != Link
	}
	if rest, found := strings.CutPrefix(name, secLinks); found {
		a, ok = AttrByName(rest)
		return a, true, ok && a.Syntax() == Link
	}
	return 0, false, false
}

// reading is a file being read.
type reading struct {
	s      *Snapshot
	frames []frame
	info   infoJSON
	mu     sync.Mutex
	notes  []Coverage // what was passed over
	lost   []Attr     // known attributes among that
}

// raw returns the content of a section.
func (f *frame) raw(z *zstd.Decoder) ([]byte, error) {
	if f.codec == codecStored {
		return f.body, nil
	}
	if err := z.Reset(bytes.NewReader(f.body)); err != nil {
		return nil, f.bad("%v", err)
	}
	// Grows with what really comes out, not with what the header promises.
	var out bytes.Buffer
	out.Grow(min(f.rawLen, 64*len(f.body)) + bytes.MinRead)
	n, err := out.ReadFrom(io.LimitReader(z, int64(f.rawLen)+1))
	if err != nil {
		return nil, f.bad("%v", err)
	}
	if n != int64(f.rawLen) {
		return nil, f.bad("expands to other than %d bytes", f.rawLen)
	}
	return out.Bytes(), nil
}

func newUnzip() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(64<<20), zstd.WithDecoderLowmem(true))
}

// first reads what the other sections need.
func (in *reading) first() error {
	z, err := newUnzip()
	if err != nil {
		return err
	}
	defer z.Close()
	need := []string{secInfo, secTree, secClasses, secIdentity, secDescriptors, secCollected, secProblems, secCoverage}
	for _, name := range need {
		if in.find(name) == nil {
			return &FormatError{ErrCorrupt, name, 0, "section is missing"}
		}
	}
	f := in.find(secInfo)
	raw, err := f.raw(z)
	if err != nil {
		return err
	}
	if err := in.decodeInfo(raw); err != nil {
		return f.bad("%v", err)
	}
	return nil
}

func (in *reading) find(name string) *frame {
	for i := range in.frames {
		if in.frames[i].name == name {
			return &in.frames[i]
		}
	}
	return nil
}

// rest reads all other sections side by side. Of several errors the one that
// stands first in the file is returned.
func (in *reading) rest() (*Snapshot, error) {
	errs := make([]error, len(in.frames))
	work := make(chan int, len(in.frames))
	for i := range in.frames {
		work <- i
	}
	close(work)
	var wg sync.WaitGroup
	defer wg.Wait()
	for range min(runtime.GOMAXPROCS(0), 8) {
		z, err := newUnzip()
		if err != nil {
			return nil, err
		}
		wg.Go(func() {
			defer z.Close()
			for i := range work {
				errs[i] = in.one(&in.frames[i], z)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	in.s.coverage = append(in.s.coverage, in.notes...)
	for _, a := range in.lost {
		in.s.collected[a] = false
	}
	in.s.finish()
	return in.s, nil
}

func (in *reading) one(f *frame, z *zstd.Decoder) error {
	if !f.known {
		in.skip(f.name, "this version of leastwise does not know it")
		return nil
	}
	if f.name == secInfo {
		return nil
	}
	raw, err := f.raw(z)
	if err != nil {
		return err
	}
	d := &decoder{b: raw}
	if err := in.section(f.name, d); err != nil {
		var format *FormatError
		if errors.As(err, &format) {
			return err
		}
		return f.bad("%v", err)
	}
	return nil
}

func (in *reading) section(name string, d *decoder) error {
	switch name {
	case secTree:
		return in.decodeTree(d)
	case secClasses:
		return in.decodeClasses(d)
	case secIdentity:
		return in.decodeIdentity(d)
	case secDescriptors:
		return in.decodeDescriptors(d)
	case secCollected:
		return in.decodeCollected(d)
	case secProblems:
		return in.decodeProblems(d)
	case secUnasked:
		return in.decodeUnasked(d)
	case secFiles:
		return in.decodeFiles(d)
	case secCoverage:
		return in.decodeCoverage(d)
	case secMetadata:
		return in.decodeMeta(d)
	}
	a, isLink, _ := attrSection(name)
	if got := Syntax(d.uint()); d.err == nil && got != a.Syntax() {
		in.skip(name, "its values have another syntax here")
		return nil
	}
	if isLink {
		return in.decodeLinks(a, d)
	}
	return in.decodeColumn(a, d)
}

// skip notes a part of the file that is not used.
func (in *reading) skip(name, why string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	c := Coverage{Area: AreaSnapshot, Subject: name, State: "not read", Reason: why + "; a newer leastwise reads it"}
	for _, prefix := range []string{secColumn, secLinks} {
		if attr, ok := strings.CutPrefix(name, prefix); ok {
			c.Area, c.Subject = AreaAttribute, attr
			if a, known := AttrByName(attr); known {
				in.lost = append(in.lost, a)
			}
		}
	}
	in.notes = append(in.notes, c)
}
