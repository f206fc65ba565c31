package forest

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"runtime"
	"slices"
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
	buf := bytes.NewBuffer(make([]byte, 0, sizeOf(r)))
	n, err := buf.ReadFrom(io.LimitReader(r, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading snapshot: %w", err)
	}
	if n > MaxFile {
		return nil, &FormatError{ErrCorrupt, "", MaxFile, "larger than any snapshot"}
	}
	return decode(buf.Bytes())
}

// sizeOf returns how much memory reading r takes, if r knows: files and readers of
// memory do. It is a guess: nothing depends on it.
func sizeOf(r io.Reader) int {
	size := int64(0)
	switch v := r.(type) {
	case interface{ Stat() (fs.FileInfo, error) }:
		if info, err := v.Stat(); err == nil && info.Mode().IsRegular() {
			size = info.Size()
		}
	case interface{ Len() int }:
		size = int64(v.Len())
	}
	return int(min(max(size, 0), MaxFile)) + bytes.MinRead
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
	frames, foot, err := split(file)
	if err != nil {
		return nil, err
	}
	sum := make(chan error, 1)
	go func() { sum <- foot.check(file) }() // takes as long as reading does
	s, err := decodeFrames(frames)
	if bad := <-sum; bad != nil {
		return nil, bad
	}
	return s, err
}

func decodeFrames(frames []frame) (*Snapshot, error) {
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

// split checks the framing and the checksum of every section and cuts the file into
// sections. The checksum of the file is still to be checked: footer.check.
func split(file []byte) ([]frame, footer, error) {
	c := cursor{file: file, at: len(magic) + 4}
	var out []frame
	seen := map[string]bool{}
	raw, stored := int64(0), int64(0)
	for {
		at := c.at
		mark, err := c.take(1, "")
		if err != nil {
			return nil, footer{}, err
		}
		if mark[0] == markFooter {
			foot, err := c.footer(at, len(out))
			return out, foot, err
		}
		if mark[0] != markSection {
			return nil, footer{}, &FormatError{ErrCorrupt, "", int64(at), "neither a section nor the end"}
		}
		f, err := c.section(at)
		if err != nil {
			return nil, footer{}, err
		}
		raw += int64(f.rawLen)
		stored += int64(len(f.body))
		switch {
		case seen[f.name]:
			return nil, footer{}, f.bad("occurs twice")
		case len(out) == maxSections:
			return nil, footer{}, f.bad("more than %d sections", maxSections)
		case raw > budgetBase+budgetRatio*stored:
			return nil, footer{}, f.bad("expands to %d bytes, more than any snapshot does", f.rawLen)
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

// A footer says what a file must add up to.
type footer struct {
	at  int // where it begins
	sum [sha256.Size]byte
}

// check compares the checksum of the file.
func (f footer) check(file []byte) error {
	if sha256.Sum256(file[:f.at+13]) != f.sum {
		return &FormatError{ErrCorrupt, "", int64(f.at), "checksum of the file does not match"}
	}
	return nil
}

func (c *cursor) footer(at, sections int) (footer, error) {
	foot, err := c.take(12+sha256.Size, "")
	if err != nil {
		return footer{}, err
	}
	bad := func(why string) error { return &FormatError{ErrCorrupt, "", int64(at), why} }
	switch {
	case c.at != len(c.file):
		return footer{}, bad("something follows the end")
	case binary.LittleEndian.Uint32(foot) != uint32(sections) || binary.LittleEndian.Uint64(foot[4:]) != uint64(at):
		return footer{}, bad("sections are missing")
	}
	return footer{at, [sha256.Size]byte(foot[12:])}, nil
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

// A worker expands and decodes sections, one after the other, in memory that it
// uses again and again.
type worker struct {
	zip    *zstd.Decoder
	buf    []byte
	parked column // the column looked at last, if it was only checked
}

func newWorker() (*worker, error) {
	// All at once and never beyond the memory it is given.
	zip, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(64<<20),
		zstd.WithDecoderLowmem(true), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, err
	}
	return &worker{zip: zip}, nil
}

// raw returns the content of a section. It is valid until the next call. Up to what
// a whole file may expand to in proportion, address space is set aside at once; it
// becomes memory only as content really comes out.
func (w *worker) raw(f *frame) ([]byte, error) {
	if f.codec == codecStored {
		return f.body, nil
	}
	if f.rawLen > budgetBase+budgetRatio*len(f.body) {
		return w.grown(f)
	}
	if cap(w.buf) < f.rawLen+1 {
		w.buf = make([]byte, 0, f.rawLen+1) // one more, so that too much is noticed
	}
	out, err := w.zip.DecodeAll(f.body, w.buf[:0:f.rawLen+1])
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded), err == nil && len(out) != f.rawLen:
		return nil, f.bad("expands to other than %d bytes", f.rawLen)
	case err != nil:
		return nil, f.bad("%v", err)
	}
	return out, nil
}

// text is raw for content of which most is kept.
func (w *worker) text(f *frame) (string, error) {
	if f.codec == codecStored {
		return string(f.body), nil
	}
	if err := w.zip.Reset(bytes.NewReader(f.body)); err != nil {
		return "", f.bad("%v", err)
	}
	var out strings.Builder
	if f.rawLen <= budgetBase+budgetRatio*len(f.body) {
		out.Grow(f.rawLen)
	}
	n, err := io.Copy(&out, io.LimitReader(w.zip, int64(f.rawLen)+1))
	if err != nil {
		return "", f.bad("%v", err)
	}
	if n != int64(f.rawLen) {
		return "", f.bad("expands to other than %d bytes", f.rawLen)
	}
	return out.String(), nil
}

// grown is raw for content that takes far more memory than that: it grows with what
// really comes out, not with what the header promises.
func (w *worker) grown(f *frame) ([]byte, error) {
	if err := w.zip.Reset(bytes.NewReader(f.body)); err != nil {
		return nil, f.bad("%v", err)
	}
	out := bytes.NewBuffer(w.buf[:0])
	n, err := out.ReadFrom(io.LimitReader(w.zip, int64(f.rawLen)+1))
	if err != nil {
		return nil, f.bad("%v", err)
	}
	if n != int64(f.rawLen) {
		return nil, f.bad("expands to other than %d bytes", f.rawLen)
	}
	w.buf = out.Bytes()
	return w.buf, nil
}

// first reads what the other sections need.
func (in *reading) first() error {
	w, err := newWorker()
	if err != nil {
		return err
	}
	defer w.zip.Close()
	need := []string{secInfo, secTree, secClasses, secIdentity, secDescriptors, secCollected, secProblems, secCoverage}
	for _, name := range need {
		if in.find(name) == nil {
			return &FormatError{ErrCorrupt, name, 0, "section is missing"}
		}
	}
	f := in.find(secInfo)
	raw, err := w.raw(f)
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
	for _, i := range in.largestFirst() {
		work <- i
	}
	close(work)
	var wg sync.WaitGroup
	defer wg.Wait()
	for range min(runtime.GOMAXPROCS(0), 8) {
		w, err := newWorker()
		if err != nil {
			return nil, err
		}
		wg.Go(func() {
			defer w.zip.Close()
			for i := range work {
				errs[i] = in.one(&in.frames[i], w)
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

// largestFirst lists the sections in the order in which the least time passes until
// the last one is done.
func (in *reading) largestFirst() []int {
	out := make([]int, len(in.frames))
	for i := range out {
		out[i] = i
	}
	slices.SortStableFunc(out, func(a, b int) int { return cmp.Compare(in.frames[b].rawLen, in.frames[a].rawLen) })
	return out
}

func (in *reading) one(f *frame, w *worker) error {
	if !f.known {
		in.skip(f.name, "this version of leastwise does not know it")
		return nil
	}
	if f.name == secInfo {
		return nil
	}
	if f.name == secDescriptors {
		return in.descriptorSection(f, w)
	}
	raw, err := w.raw(f)
	if err != nil {
		return err
	}
	d := &decoder{b: raw}
	if a, isLink, ok := attrSection(f.name); ok && !isLink && in.parks(a, f) {
		err = in.park(a, f, d, w)
	} else {
		err = in.section(f.name, d)
	}
	return f.blame(err)
}

// descriptorSection reads the largest section of most files, of which nearly all is
// kept as it comes out.
func (in *reading) descriptorSection(f *frame, w *worker) error {
	text, err := w.text(f)
	if err != nil {
		return err
	}
	return f.blame(in.decodeDescriptorText(text))
}

// blame says in which section an error was found.
func (f *frame) blame(err error) error {
	var format *FormatError
	if err == nil || errors.As(err, &format) {
		return err
	}
	return f.bad("%v", err)
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
	if !in.sameSyntax(a, name, d) {
		return nil
	}
	if isLink {
		return in.decodeLinks(a, d)
	}
	c := &column{}
	in.s.cols[a] = c
	return in.decodeColumn(c, a, d)
}

// sameSyntax reports whether a section holds values as this version has them; if
// not it is passed over.
func (in *reading) sameSyntax(a Attr, name string, d *decoder) bool {
	if got := Syntax(d.uint()); d.err == nil && got != a.Syntax() {
		in.skip(name, "its values have another syntax here")
		return false
	}
	return true
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
