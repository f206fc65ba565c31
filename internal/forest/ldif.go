package forest

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// ErrLDIF reports text that is not LDIF (RFC 2849), or LDIF that describes
// changes instead of objects.
var ErrLDIF = errors.New("not LDIF of objects")

// Limits of an LDIF file, against hostile ones.
const (
	maxLDIFLine   = 64 << 20  // one logical line: an attribute value
	maxLDIFEntry  = 256 << 20 // one entry
	maxLDIFValues = 5_000_000 // values of one entry
)

// ReadLDIF adds the entries of an LDIF file, as ldapsearch and ldifde write them,
// to b. It takes UTF-8 and UTF-16 with byte order mark, wrapped lines, base64 and
// comments; of changes only changetype add. Several files may be read into one
// Builder.
//
// A file that was cut short is an error (ErrTruncated): a search that ended with
// another result than success, a missing result where ldapsearch's header
// promises one, fewer entries than its trailer counts, a last line without its
// end, a last record of ldifde without the empty line that follows each, or ranged
// values of which some are missing. Other errors are ErrLDIF and ErrDN, with the
// line; those of r come as they are. After an error the Builder must not be used.
//
// ldapsearch writes names into comments as they are, line breaks included: what
// such a comment spills before its dn is skipped if the name has as many breaks.
//
// Files and searches may have asked for different attributes: what the search of
// an object did not ask for is Unreadable on it, whatever other files have.
//
// What LDIF cannot carry goes to coverage: files, attributes that no entry has
// and that ldapsearch's header does not say were asked for (Unreadable, not
// Absent), missing descriptors, partitions to which the server referred, a missing head of
// the domain, and files in which nothing proves that they are whole.
//
// r is read ahead in a goroutine, for which ReadLDIF waits.
func ReadLDIF(r io.Reader, b *Builder) error {
	src, err := decodeText(r)
	if err != nil {
		return fmt.Errorf("reading LDIF: %w", err)
	}
	if b.ldif == nil {
		b.ldif = &ldifTally{refs: map[string]bool{}}
	}
	b.beginPart()
	defer b.endPart()
	return parseLDIF(newLDIFScanner(src, ldifPart0), b)
}

// parseLDIF gives b the entries of a file that is scanned beside.
func parseLDIF(scan *ldifScanner, b *Builder) error {
	var scanning sync.WaitGroup
	scanning.Go(scan.run)
	defer scanning.Wait()
	defer close(scan.stop)
	p := &ldifParser{b: b, scan: scan}
	if err := p.run(); err != nil {
		return fmt.Errorf("reading LDIF: line %d: %w", p.at, err)
	}
	return nil
}

// ldifTally is what the files that were read into a Builder lack.
type ldifTally struct {
	entries     int
	descriptors int
	unproven    int // entries of files without the result of a search
	refs        map[string]bool
}

// coverLDIF states what is not known of a snapshot that comes from LDIF.
func (b *Builder) coverLDIF(o *ordering) {
	t := b.ldif
	if t == nil {
		return
	}
	b.coverExtent()
	b.Cover(Coverage{Area: AreaFile, Subject: "SYSVOL", State: "not collected", Reason: "LDIF holds no files; a scan with collect reads them"})
	if t.descriptors < t.entries {
		c := Coverage{
			Area: AreaDescriptor, Subject: "nTSecurityDescriptor", State: "partial", Count: t.entries - t.descriptors,
			Reason: "entries without descriptor; ask for nTSecurityDescriptor with the SD flags control (ldapsearch -E '!1.2.840.113556.1.4.801=::MAMCAQc=')",
		}
		if t.descriptors == 0 {
			c.State = "not collected"
		}
		b.Cover(c)
	}
	var never []string
	for _, a := range byName() {
		if !b.collected[a] {
			never = append(never, a.String())
		}
	}
	if len(never) > 0 {
		b.Cover(Coverage{
			Area: AreaAttribute, Subject: "attributes that no entry has", State: "not collected", Count: len(never),
			Reason: "LDIF does not say whether they were asked for: " + strings.Join(never, ", "),
		})
	}
	b.Cover(Coverage{
		Area: AreaAttribute, Subject: "hidden attributes", State: "partial",
		Reason: "LDIF does not say what the account that exported it may read: what was hidden from it looks absent; a scan with collect tells the two apart",
	})
	for dn := range t.refs {
		if b.hasEntry(dn, o) {
			continue // exported into another file
		}
		b.Cover(Coverage{Area: AreaPartition, Subject: dn, State: "not collected", Reason: "the server referred to it; export it as well"})
	}
}

// coverExtent states whether the entries are known to be all, and whether a
// domain is among them. Neither makes an attribute unreadable: of the objects that
// are there everything else still holds.
func (b *Builder) coverExtent() {
	if n := b.ldif.unproven; n > 0 {
		b.Cover(Coverage{
			Area: AreaSnapshot, Subject: "LDIF without result of the search", State: "partial",
			Reason: fmt.Sprintf("%d entries come from a file in which nothing proves that it is whole (ldifde writes no result or count): objects may be missing, compare their number; ldapsearch (not -LL) writes a result", n),
		})
	}
	if !b.hasDomainHead() {
		b.Cover(Coverage{
			Area: AreaPartition, Subject: "domain", State: "not collected",
			Reason: "no head of a domain (objectClass domainDNS with objectSid) is among the entries: without it no domain can be assessed; export the domain from its root (DC=…) with scope subtree and objectSid",
		})
	}
}

// hasDomainHead reports whether an entry is what findDomains takes for a domain.
func (b *Builder) hasDomainHead() bool {
	for row, class := range b.class {
		list := b.classes[class]
		if len(list) > 0 && strings.EqualFold(list[len(list)-1], "domainDNS") && !b.sid[row].IsZero() {
			return true
		}
	}
	return false
}

// hasEntry reports whether an entry of that name was added.
func (b *Builder) hasEntry(dn string, o *ordering) bool {
	key, err := dnKey(dn)
	if err != nil {
		return false
	}
	for i, n := range b.names {
		if n.key == key && o.nameID[i] != None {
			return true
		}
	}
	return false
}

// ldifParser reads one file.
type ldifParser struct {
	b       *Builder
	scan    *ldifScanner
	end     int  // physical lines of the file, once it was read
	open    bool // the last of them has no line break
	at      int  // line for errors
	started bool // something other than a comment was read
	header  bool // ldapsearch began: a result must follow
	done    bool // a result came after the last entry
	count   int  // entries since the last trailer
	last    int  // entries of the search before its last result, all its pages together
	more    bool // the last page came with a cookie: another must follow
	head    bool // within the header of a search
	title   bool // a comment of ldapsearch came since the last record
	gap     int  // empty lines since that comment
	ldifde  bool // the last entry has changetype add, as ldifde writes it
	record  []ldifLine

	dn      []byte
	values  []slotValues // those of the entry
	entries uint64
	index   map[string]int // of attributes that are not known: position in values
	ranges  map[string]*rangedValues
}

func (p *ldifParser) run() error {
	for batch := range p.scan.out {
		if err := p.part(batch); err != nil {
			return err
		}
		if batch.err != nil {
			p.at, p.end, p.open = batch.n, batch.n, batch.open
			if !errors.Is(batch.err, io.EOF) {
				return batch.err
			}
		}
		p.scan.free <- batch
	}
	if err := p.final(p.record); err != nil {
		return err
	}
	if !p.header {
		p.b.ldif.unproven += p.count
	}
	p.at = p.end
	switch {
	case p.header && !p.done:
		return fmt.Errorf("%w: the search's result is missing at the end", ErrTruncated)
	case p.more:
		return fmt.Errorf("%w: the last page announces another one", ErrTruncated)
	}
	return nil
}

// part takes the records of a part of the file. Only that of the last part can lack
// the empty line at its end: then it is left in p.record.
func (p *ldifParser) part(b *ldifBatch) error {
	for _, l := range b.lines {
		p.at = l.n
		switch l.kind {
		case emptyLine:
			if err := p.take(p.record); err != nil {
				return err
			}
			p.record = p.record[:0]
			p.gap++
		case commentLine:
			if err := p.comment(string(l.val)); err != nil {
				return err
			}
		default:
			p.record = append(p.record, l)
		}
	}
	return nil
}

// final takes the lines of a record that ends with the file.
func (p *ldifParser) final(lines []ldifLine) error {
	if len(lines) > 0 && p.open {
		p.at = p.end
		return fmt.Errorf("%w: the file ends within a line; export it again (if an editor took the last line break away, put it back)", ErrTruncated)
	}
	p.ldifde = false
	if err := p.take(lines); err != nil {
		return err
	}
	if p.ldifde {
		p.at = p.end
		return fmt.Errorf("%w: the last record lacks the empty line with which ldifde ends each; export it again (if an editor took that line away, put it back)", ErrTruncated)
	}
	return nil
}

// comment takes what ldapsearch says in comments.
func (p *ldifParser) comment(text string) error {
	p.title, p.gap = p.header, 0
	text = strings.TrimSpace(strings.TrimPrefix(text, "#"))
	key, val, _ := strings.Cut(text, ":")
	val = strings.TrimSpace(val)
	switch {
	case text == "extended LDIF" || text == "LDAPv3":
		if p.header && !p.done {
			return nil // of the same header, or a name that looks like one
		}
		p.header, p.done, p.head = true, false, true
		p.b.nextPart()
	case strings.HasPrefix(text, "refldap"):
		p.reference(strings.TrimPrefix(text, "ref"))
	case key == "requesting" && (p.head || !p.header):
		for _, name := range strings.Fields(val) {
			if name == "*" || name == "ALL" {
				p.b.Collected(Attrs()...)
			}
			if a, ok := AttrByName(name); ok {
				p.b.Collected(a)
			}
		}
	case key == "result" && p.header:
		return p.result(val)
	case key == "pagedresults" && p.header:
		p.paged(val)
	case key == "numEntries" && p.header:
		if n, err := strconv.Atoi(val); err == nil && n != p.last {
			return fmt.Errorf("%w: the search returned %d entries, the file holds %d", ErrTruncated, n, p.last)
		}
	}
	return nil
}

// result takes the result of a search: "0 Success".
func (p *ldifParser) result(val string) error {
	code, _, _ := strings.Cut(val, " ")
	if code != "0" {
		return fmt.Errorf("%w: the search ended with result %s", ErrTruncated, clip(val))
	}
	if !p.more {
		p.last = 0
	}
	p.done, p.more, p.last, p.count = true, false, p.last+p.count, 0
	return nil
}

// paged takes what ldapsearch says of the paging control: "estimate=n cookie=x".
func (p *ldifParser) paged(val string) {
	_, cookie, _ := strings.Cut(val, "cookie=")
	p.more = cookie != ""
}

// reference takes an LDAP URL to another partition.
func (p *ldifParser) reference(url string) {
	_, rest, ok := strings.Cut(url, "://")
	if !ok {
		return
	}
	_, dn, _ := strings.Cut(rest, "/")
	dn, _, _ = strings.Cut(dn, "?")
	if dn = unpercent(dn); dn != "" && len(p.b.ldif.refs) < 10_000 {
		p.b.ldif.refs[dn] = true
	}
}

// unpercent resolves %hh; anything else stays.
func unpercent(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && hexDigit(s[i+1]) >= 0 && hexDigit(s[i+2]) >= 0 {
			b.WriteByte(byte(hexDigit(s[i+1])<<4 | hexDigit(s[i+2])))
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// take takes the lines of one record.
func (p *ldifParser) take(lines []ldifLine) error {
	if len(lines) > 0 && !p.started {
		p.started = true
		if l := lines[0]; l.err == nil && l.name.lower == "version" {
			if string(l.val) != "1" {
				p.at = l.n
				return fmt.Errorf("%w: version %s", ErrLDIF, clip(string(l.val)))
			}
			lines = lines[1:]
		}
	}
	if len(lines) == 0 {
		return nil
	}
	lines = p.unspill(lines)
	p.title, p.head = false, false
	p.begin()
	for i, l := range lines {
		p.at = l.n
		switch {
		case l.err != nil:
			return l.err
		case i == 0 && l.name.lower != "dn":
			return p.other(lines)
		case i == 0:
			p.dn = l.val
			continue
		}
		if err := p.attribute(l.name, l.val); err != nil {
			return err
		}
	}
	p.at = lines[0].n
	return p.add()
}

// begin makes room for an entry.
func (p *ldifParser) begin() {
	const many = 1 << 12
	p.entries++
	p.dn, p.index, p.ranges = nil, nil, nil
	if len(p.values) > many {
		p.values = nil
	}
	for i := range p.values {
		if cap(p.values[i].vals) > many {
			p.values[i].vals = nil
		}
	}
	p.values = p.values[:0]
}

// unspill drops what a comment of ldapsearch spilled over before the dn: the name
// of an object as it is, up to as many lines as the name has line breaks. Any other
// lines before a dn stay, and are refused.
func (p *ldifParser) unspill(lines []ldifLine) []ldifLine {
	if !p.title {
		return lines
	}
	i := slices.IndexFunc(lines, func(l ldifLine) bool { return l.name != nil && l.name.lower == "dn" })
	if i <= 0 || lines[i].err != nil {
		return lines
	}
	dn := lines[i].val
	breaks := strings.Count(strings.ToUpper(string(dn)), `\0A`) + strings.Count(string(dn), "\n")
	if p.gap+i > breaks {
		return lines
	}
	return lines[i:]
}

// other takes a record that is not an object: a reference or a result.
func (p *ldifParser) other(lines []ldifLine) error {
	for _, l := range lines {
		p.at = l.n
		if l.err != nil {
			return l.err
		}
		switch l.name.lower {
		case "ref":
			p.reference(string(l.val))
		case "result":
			if err := p.result(string(l.val)); err != nil {
				return err
			}
		case "pagedresults":
			p.paged(string(l.val))
		case "search", "control", "matcheddn", "text", "version":
		default:
			return fmt.Errorf("%w: a record begins with %s, not with dn", ErrLDIF, clip(l.name.lower))
		}
	}
	return nil
}

// attribute takes one value of the current entry.
func (p *ldifParser) attribute(name *ldifName, val []byte) error {
	switch name.attr.lower {
	case "changetype":
		if !strings.EqualFold(string(val), "add") {
			return fmt.Errorf("%w: %s is changed by changetype %s; only objects (changetype add) are read", ErrLDIF, clip(string(p.dn)), clip(string(val)))
		}
		p.ldifde = true
		return nil
	case "control":
		return nil // of an add record; says nothing about the object
	case "dn":
		return fmt.Errorf("%w: a second dn without an empty line before it", ErrLDIF)
	}
	switch {
	case name.ranged:
		return p.ranged(name.attr, name.span, val)
	case name.isOdd:
		return fmt.Errorf("%w: attribute option %s", ErrLDIF, clip(name.odd))
	}
	p.put(name.attr, val)
	return nil
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
		return s[len(prefix):], true
	}
	return s, false
}

func (p *ldifParser) put(a *ldifAttr, val []byte) {
	i := p.place(a)
	p.values[i].vals = append(p.values[i].vals, val)
}

// place returns where the values of an attribute of the entry are.
func (p *ldifParser) place(a *ldifAttr) int {
	if a.known && a.entry == p.entries {
		return a.at
	}
	if !a.known {
		if i, ok := p.index[a.lower]; ok {
			return i
		}
	}
	i := len(p.values)
	if i < cap(p.values) {
		p.values = p.values[:i+1] // with the room for values that an entry before had
		p.values[i].vals = p.values[i].vals[:0]
	} else {
		p.values = append(p.values, slotValues{})
	}
	p.values[i].slot = a.slot
	if a.known {
		a.entry, a.at = p.entries, i
		return i
	}
	if p.index == nil {
		p.index = map[string]int{}
	}
	p.index[a.lower] = i
	return i
}

// A valueRange is a part of the values of an attribute ([MS-ADTS] 3.1.1.3.1.3.3).
type valueRange struct {
	low, high int // high is -1 for the last part
	vals      [][]byte
}

type rangedValues struct {
	attr *ldifAttr
	list []valueRange
}

func (p *ldifParser) ranged(a *ldifAttr, span string, val []byte) error {
	lowText, highText, ok := strings.Cut(span, "-")
	low, err := strconv.Atoi(lowText)
	high := -1
	if err == nil && highText != "*" {
		high, err = strconv.Atoi(highText)
	}
	if !ok || err != nil || low < 0 || high != -1 && high < low {
		return fmt.Errorf("%w: range %s of %s", ErrLDIF, clip(span), a.lower)
	}
	if p.ranges == nil {
		p.ranges = map[string]*rangedValues{}
	}
	of := p.ranges[a.lower]
	if of == nil {
		of = &rangedValues{attr: a}
		p.ranges[a.lower] = of
	}
	i := slices.IndexFunc(of.list, func(r valueRange) bool { return r.low == low && r.high == high })
	if i < 0 {
		i = len(of.list)
		of.list = append(of.list, valueRange{low: low, high: high})
	}
	of.list[i].vals = append(of.list[i].vals, val)
	return nil
}

// join puts ranges together that hold all values.
func (p *ldifParser) join() error {
	for name, of := range p.ranges {
		slices.SortFunc(of.list, func(a, b valueRange) int { return a.low - b.low })
		next := 0
		for _, r := range of.list {
			if r.low != next || next < 0 {
				return fmt.Errorf("%w: values of %s of %s from %d on are missing (ranged output)", ErrTruncated, name, clip(string(p.dn)), next)
			}
			if r.high >= 0 && len(r.vals) != r.high-r.low+1 {
				return fmt.Errorf("%w: %s of %s has %d values in range %d-%d", ErrTruncated, name, clip(string(p.dn)), len(r.vals), r.low, r.high)
			}
			if next = r.high + 1; r.high < 0 {
				next = -1
			}
			for _, v := range r.vals {
				p.put(of.attr, v)
			}
		}
		if next >= 0 {
			return fmt.Errorf("%w: values of %s of %s from %d on are missing (ranged output); ask for all ranges", ErrTruncated, name, clip(string(p.dn)), next)
		}
	}
	return nil
}

func (p *ldifParser) add() error {
	if err := p.join(); err != nil {
		return err
	}
	if len(p.dn) == 0 && len(p.values) > 0 {
		return nil // the root DSE is not an object
	}
	if err := p.b.add(p.dn, p.values); err != nil {
		return err
	}
	p.count++
	p.done = false
	p.b.ldif.entries++
	if slices.ContainsFunc(p.values, func(v slotValues) bool { return v.slot == descriptorSlot }) {
		p.b.ldif.descriptors++
	}
	return nil
}
