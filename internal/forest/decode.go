package forest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
)

func (in *reading) decodeInfo(raw []byte) error {
	i := &in.info
	if err := json.Unmarshal(raw, i); err != nil {
		return err
	}
	if i.Objects < 0 || i.Objects > maxObjects || i.Descriptors < 0 || i.Descriptors > maxObjects {
		return fmt.Errorf("%d objects, %d descriptors", i.Objects, i.Descriptors)
	}
	unix := func(v int64) time.Time {
		if v == 0 {
			return time.Time{}
		}
		return time.Unix(v, 0).UTC()
	}
	in.s.info = Info{
		Source: i.Source, Tool: i.Tool, Started: unix(i.Started), Finished: unix(i.Finished),
		Domain: i.Domain, Servers: i.Servers, Reader: i.Reader,
	}
	return nil
}

// objects returns the number of objects if that many bytes are left.
func (in *reading) objects(d *decoder) int {
	n := in.info.Objects
	if n > len(d.b)-d.at {
		d.fail("%d objects do not fit", n)
		return 0
	}
	return n
}

func (in *reading) decodeTree(d *decoder) error {
	n := in.objects(d)
	up := make([]ID, n)
	for i := range up {
		up[i] = None
		if v := d.uint(); v > uint64(i) {
			d.fail("object %d has no such container", i)
			break
		} else if v > 0 {
			up[i] = ID(uint64(i) - v)
		}
	}
	rel := d.texts(nil, true)
	if d.err == nil && len(rel.off) != n+1 {
		d.fail("%d names for %d objects", len(rel.off)-1, n)
	}
	if err := d.end(); err != nil {
		return err
	}
	in.s.up, in.s.rel = up, rel
	return checkTree(up, &rel)
}

// checkTree checks that names are well-formed, in order, without repetition and
// that each object hangs below the nearest one that contains it.
func checkTree(up []ID, rel *texts) error {
	type open struct {
		id  ID
		end int // length of its key, which last begins with
	}
	var stack []open   // the last object and what contains it
	var last, k []byte // key of the last object, and what this one adds to that of its container
	for i := range up {
		left := 0 // length of the key of the outermost object whose subtree ends here
		for len(stack) > 0 && stack[len(stack)-1].id != up[i] {
			left = stack[len(stack)-1].end
			stack = stack[:len(stack)-1]
		}
		base := 0
		if len(stack) > 0 {
			base = stack[len(stack)-1].end
		} else if up[i] != None {
			return fmt.Errorf("object %d is outside its container", i)
		}
		var err error
		if k, err = appendDNKey(k[:0], rel.at(uint32(i))); err != nil {
			return fmt.Errorf("object %d: %w", i, err)
		}
		if len(k) == 0 || i > 0 && slices.Compare(last[base:], k) >= 0 {
			return fmt.Errorf("object %d: name is out of order", i)
		}
		if left > 0 && bytes.HasPrefix(k, last[base:left]) {
			return fmt.Errorf("object %d: is not below its container", i)
		}
		last = append(last[:base], k...)
		if len(stack) == maxDepth {
			return fmt.Errorf("object %d: deeper than %d", i, maxDepth)
		}
		stack = append(stack, open{ID(i), len(last)})
	}
	return nil
}

// maxDepth bounds the number of containers above an object.
const maxDepth = maxComponents

func (in *reading) decodeClasses(d *decoder) error {
	lists := d.count("classes")
	if lists == 0 || lists > maxClassLists+1 {
		d.fail("%d lists of classes", lists)
	}
	classes := make([][]string, 0, min(lists, maxClassLists+1))
	for range lists {
		if d.err != nil {
			break
		}
		var c []string
		for range d.count("classes") {
			c = append(c, d.str())
		}
		classes = append(classes, c)
	}
	class := make([]uint16, in.objects(d))
	for i := range class {
		class[i] = uint16(d.below(lists, "class"))
	}
	in.s.classes, in.s.class = classes, class
	return d.end()
}

func (in *reading) decodeIdentity(d *decoder) error {
	var domains []secdesc.SID
	for range d.count("domains") {
		sid, err := secdesc.SIDFromBytes(d.bytes(d.count("bytes")))
		if err != nil {
			d.fail("%v", err)
			break
		}
		domains = append(domains, sid)
	}
	n := in.objects(d)
	sids := make([]secdesc.SID, n)
	var pool secdesc.SIDPool
	for i := range sids {
		var err error
		switch v := d.below(len(domains)+2, "domain"); v {
		case 0:
		case 1:
			sids[i], err = secdesc.SIDFromBytes(d.bytes(d.count("bytes")))
		default:
			rid := d.uint()
			if sids[i] = pool.Child(domains[v-2], uint32(rid)); rid > math.MaxUint32 || sids[i].IsZero() {
				err = secdesc.ErrSID
			}
		}
		if err != nil {
			d.fail("object %d: %v", i, err)
		}
		if d.err != nil {
			return d.err
		}
	}
	raw := d.bytes(n * 16)
	if d.err != nil {
		return d.err
	}
	guids := make([]secdesc.GUID, n)
	for i := range guids {
		guids[i] = secdesc.GUID(raw[16*i:])
	}
	in.s.sid, in.s.guid = sids, guids
	return d.end()
}

func (in *reading) decodeDescriptors(d *decoder) error {
	return in.decodeDescriptorText(string(d.b[d.at:]))
}

// decodeDescriptorText cuts the descriptors out of text, which they keep alive.
func (in *reading) decodeDescriptorText(text string) error {
	n := in.info.Descriptors
	if n > len(text) {
		return fmt.Errorf("%d descriptors do not fit", n)
	}
	d := &decoder{b: []byte(text[:min(len(text), n*binary.MaxVarintLen32)])}
	descs := make([]lazyDescriptor, n)
	sizes := make([]uint32, n)
	sum := 0
	for i := range sizes {
		size := d.below(math.MaxUint32, "size")
		if sum += size; d.err == nil && sum > len(text) {
			d.fail("%d bytes are missing", sum-len(text))
		}
		if d.err != nil {
			return d.err
		}
		sizes[i] = uint32(size)
	}
	if sum > len(text)-d.at {
		d.fail("%d bytes are missing", sum-(len(text)-d.at))
		return d.err
	}
	all := text[d.at : d.at+sum]
	d = &decoder{b: []byte(text[d.at+sum:])}
	for i, size := range sizes {
		descs[i].raw, all = all[:size], all[size:]
	}
	desc := make([]uint32, in.objects(d))
	for i := range desc {
		desc[i] = uint32(d.below(n+1, "descriptor")) - 1 // 0 wraps to noDesc
	}
	in.s.descs, in.s.desc = descs, desc
	return d.end()
}

func (in *reading) decodeCollected(d *decoder) error {
	for range d.count("names") {
		name := d.str()
		if a, ok := AttrByName(name); ok {
			in.s.collected[a] = true
		}
	}
	return d.end()
}

func (in *reading) decodeProblems(d *decoder) error {
	for range d.count("problems") {
		id := ID(d.below(in.info.Objects, "object"))
		a, ok := AttrByName(d.str())
		why := d.str()
		if d.err != nil {
			break
		}
		if ok {
			in.s.problems[problemKey{id, a}] = why
		}
	}
	return d.end()
}

func (in *reading) decodeFiles(d *decoder) error {
	for range d.count("files") {
		f := File{Domain: d.str(), Path: d.str()}
		f.State = State(d.below(int(Known)+1, "state"))
		f.Reason, f.Data, f.SD = d.str(), d.optional(), d.optional()
		if d.err != nil {
			break
		}
		in.s.files = append(in.s.files, f)
	}
	return d.end()
}

func (d *decoder) optional() []byte {
	n := d.uint()
	if n == 0 {
		return nil
	}
	if n-1 > uint64(len(d.b)-d.at) {
		d.fail("%d bytes are missing", n-1)
		return nil
	}
	return append([]byte{}, d.bytes(int(n-1))...)
}

func (in *reading) decodeCoverage(d *decoder) error {
	return json.Unmarshal(d.b, &in.s.coverage)
}

func (in *reading) decodeMeta(d *decoder) error {
	m := &in.s.meta
	n := d.count("servers")
	for range n {
		if d.err != nil {
			break
		}
		var x dsa
		copy(x.guid[:], d.bytes(len(x.guid)))
		x.server = d.str()
		m.dsas = append(m.dsas, x)
	}
	var names []Attr // 0 for attributes that this version does not hold
	for range d.count("names") {
		a, _ := AttrByName(d.str())
		names = append(names, a)
	}
	entry := func() (e metaEntry) {
		e.id = ID(d.below(in.info.Objects, "object"))
		if i := d.below(len(names), "attribute"); d.err == nil {
			e.attr = names[i]
		}
		e.version = uint32(d.below(math.MaxUint32+1, "version"))
		e.time = d.int()
		e.dsa = uint16(d.below(min(n, 1<<16), "server"))
		return e
	}
	for range d.count("entries") {
		if e := entry(); d.err == nil && e.attr != noAttr {
			m.attrs = append(m.attrs, e)
		}
	}
	for range d.count("links") {
		l := metaLink{metaEntry: entry()}
		l.to = ID(d.below(in.info.Objects, "object"))
		l.deleted, l.created = d.int(), d.int()
		if d.err == nil && l.attr != noAttr {
			m.links = append(m.links, l)
		}
	}
	if err := d.end(); err != nil {
		return err
	}
	m.finish()
	return nil
}

// decodeColumn reads a column into c, using the memory that c has already.
func (in *reading) decodeColumn(c *column, a Attr, d *decoder) error {
	c.ids = d.ids(c.ids, in.info.Objects)
	c.first = d.firsts(len(c.ids))
	if d.err != nil {
		return d.err
	}
	values := total(c.first, len(c.ids))
	if a.isText() {
		c.text = d.texts(c.text.off, !c.passing)
		if d.err == nil && len(c.text.off) != values+1 {
			d.fail("%d values for %d", len(c.text.off)-1, values)
		}
	} else {
		c.ints = d.numbers(c.ints, values)
	}
	if err := d.end(); err != nil {
		return err
	}
	if len(c.ids) == 0 {
		return errors.New("no values")
	}
	if a.Syntax() == Descriptor {
		for _, v := range c.ints {
			if v < 0 || v >= int64(in.info.Descriptors) {
				return fmt.Errorf("descriptor %d of %d", v, in.info.Descriptors)
			}
		}
	}
	if !c.passing {
		c.rank = makeRanking(c.ids)
	}
	return nil
}

func (in *reading) decodeLinks(a Attr, d *decoder) error {
	l := &linkTable{ids: d.ids(nil, in.info.Objects)}
	l.first = make([]uint32, 1, len(l.ids)+1)
	l.to = make([]ID, 0, d.targets(len(l.ids)))
	for range l.ids {
		n := len(l.to)
		l.to = d.moreIDs(l.to, in.info.Objects)
		if d.err == nil && len(l.to) == n {
			d.fail("object without targets")
		}
		if d.err != nil {
			return d.err
		}
		l.first = append(l.first, uint32(len(l.to)))
	}
	for range d.count("names") {
		o := outsideLink{from: ID(d.below(in.info.Objects, "object")), dn: d.str(), expires: d.int()}
		if _, err := dnKey(o.dn); err != nil || o.dn == "" {
			d.fail("malformed name")
		}
		if d.err != nil {
			break
		}
		l.outside = append(l.outside, o)
	}
	for range d.count("ends") {
		x := linkExpiry{idPair{ID(d.below(in.info.Objects, "object")), ID(d.below(in.info.Objects, "object"))}, d.int()}
		if d.err != nil {
			break
		}
		l.expiry = append(l.expiry, x)
	}
	if err := d.end(); err != nil {
		return err
	}
	if !slices.IsSortedFunc(l.expiry, func(a, b linkExpiry) int { return comparePairs(a.idPair, b.idPair) }) {
		return errors.New("ends out of order")
	}
	if !slices.IsSortedFunc(l.outside, func(a, b outsideLink) int { return int(int64(a.from) - int64(b.from)) }) {
		return errors.New("names out of order")
	}
	l.turn()
	l.findAny()
	in.s.links[a] = l
	return nil
}
