package forest

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
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
	p := &ldifParser{b: b, lines: lineReader{r: bufio.NewReaderSize(src, 1<<16)}}
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
	parts       []ldifPart
	before      [numAttrs]bool // collected before the part that is being read
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
	lines   lineReader
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
	entry   Entry
	index   map[string]int // lower-case name → position in entry.Attrs
	ranges  map[string][]valueRange
}

func (p *ldifParser) run() error {
	for {
		more, err := p.record()
		if err != nil {
			return err
		}
		if !more {
			break
		}
	}
	if !p.header {
		p.b.ldif.unproven += p.count
	}
	if p.header && !p.done {
		p.at = p.lines.n
		return fmt.Errorf("%w: the search's result is missing at the end", ErrTruncated)
	}
	if p.more {
		p.at = p.lines.n
		return fmt.Errorf("%w: the last page announces another one", ErrTruncated)
	}
	return nil
}

// record reads up to the next empty line.
func (p *ldifParser) record() (more bool, err error) {
	var lines []ldifLine
	size := 0
	for {
		l, err := p.lines.logical()
		p.at = l.n
		if errors.Is(err, io.EOF) {
			return false, p.final(lines)
		}
		if err != nil {
			return false, err
		}
		switch {
		case len(l.text) == 0:
			err := p.take(lines)
			p.gap++
			return true, err
		case l.text[0] == '#':
			if err := p.comment(string(l.text)); err != nil {
				return false, err
			}
		default:
			if size += len(l.text); size > maxLDIFEntry {
				return false, fmt.Errorf("%w: entry of more than %d bytes", ErrLDIF, maxLDIFEntry)
			}
			if len(lines) > maxLDIFValues {
				return false, fmt.Errorf("%w: entry of more than %d values", ErrLDIF, maxLDIFValues)
			}
			lines = append(lines, l)
		}
	}
}

// final takes the lines of a record that ends with the file.
func (p *ldifParser) final(lines []ldifLine) error {
	if len(lines) > 0 && p.lines.open {
		p.at = p.lines.n
		return fmt.Errorf("%w: the file ends within a line; export it again (if an editor took the last line break away, put it back)", ErrTruncated)
	}
	p.ldifde = false
	if err := p.take(lines); err != nil {
		return err
	}
	if p.ldifde {
		p.at = p.lines.n
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
		if name, val, err := p.value(lines[0]); err == nil && strings.EqualFold(name, "version") {
			if string(val) != "1" {
				p.at = lines[0].n
				return fmt.Errorf("%w: version %s", ErrLDIF, clip(string(val)))
			}
			lines = lines[1:]
		}
	}
	if len(lines) == 0 {
		return nil
	}
	lines = p.unspill(lines)
	p.title, p.head = false, false
	end := p.lines.n
	p.entry, p.index, p.ranges = Entry{}, map[string]int{}, nil
	for i, l := range lines {
		p.at = l.n
		name, val, err := p.value(l)
		if err != nil {
			return err
		}
		if i == 0 && !strings.EqualFold(name, "dn") {
			return p.other(lines)
		}
		if i == 0 {
			p.entry.DN = string(val)
			continue
		}
		if err := p.attribute(name, val); err != nil {
			return err
		}
	}
	p.at = lines[0].n
	if err := p.add(); err != nil {
		return err
	}
	p.at = end
	return nil
}

// unspill drops what a comment of ldapsearch spilled over before the dn: the name
// of an object as it is, up to as many lines as the name has line breaks. Any other
// lines before a dn stay, and are refused.
func (p *ldifParser) unspill(lines []ldifLine) []ldifLine {
	if !p.title {
		return lines
	}
	i := slices.IndexFunc(lines, func(l ldifLine) bool {
		_, is := cutPrefixFold(string(l.text[:min(len(l.text), 3)]), "dn:")
		return is
	})
	if i <= 0 {
		return lines
	}
	_, dn, err := p.value(lines[i])
	if err != nil {
		return lines
	}
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
		name, val, err := p.value(l)
		if err != nil {
			return err
		}
		switch strings.ToLower(name) {
		case "ref":
			p.reference(string(val))
		case "result":
			if err := p.result(string(val)); err != nil {
				return err
			}
		case "pagedresults":
			p.paged(string(val))
		case "search", "control", "matcheddn", "text", "version":
		default:
			return fmt.Errorf("%w: a record begins with %s, not with dn", ErrLDIF, clip(name))
		}
	}
	return nil
}

// value cuts a line at its colon.
func (p *ldifParser) value(l ldifLine) (name string, val []byte, err error) {
	i := bytes.IndexByte(l.text, ':')
	if i <= 0 {
		return "", nil, fmt.Errorf("%w: %s has no attribute name", ErrLDIF, clip(string(l.text)))
	}
	name, rest := string(l.text[:i]), l.text[i+1:]
	switch {
	case len(rest) > 0 && rest[0] == '<':
		return "", nil, fmt.Errorf("%w: value of %s is a URL; only values in the file are read", ErrLDIF, clip(name))
	case len(rest) > 0 && rest[0] == ':':
		text := bytes.Trim(rest[1:], " ")
		val = make([]byte, base64.StdEncoding.DecodedLen(len(text)))
		n, err := base64.StdEncoding.Decode(val, text)
		if err != nil {
			return "", nil, fmt.Errorf("%w: value of %s is not base64", ErrLDIF, clip(name))
		}
		return name, val[:n], nil
	}
	if !utf8.Valid(rest) { // Latin-1 and the like: names would come out as other names
		return "", nil, fmt.Errorf("%w: value of %s is not UTF-8; convert the file, or export it again", ErrLDIF, clip(name))
	}
	return name, bytes.TrimLeft(rest, " "), nil
}

// attribute takes one value of the current entry.
func (p *ldifParser) attribute(name string, val []byte) error {
	base, options, _ := strings.Cut(name, ";")
	lower := strings.ToLower(base)
	switch lower {
	case "changetype":
		if !strings.EqualFold(string(val), "add") {
			return fmt.Errorf("%w: %s is changed by changetype %s; only objects (changetype add) are read", ErrLDIF, clip(p.entry.DN), clip(string(val)))
		}
		p.ldifde = true
		return nil
	case "control":
		return nil // of an add record; says nothing about the object
	case "dn":
		return fmt.Errorf("%w: a second dn without an empty line before it", ErrLDIF)
	}
	for options != "" {
		var option string
		option, options, _ = strings.Cut(options, ";")
		if span, ok := cutPrefixFold(option, "range="); ok {
			return p.ranged(lower, span, val)
		}
		if !strings.EqualFold(option, "binary") {
			return fmt.Errorf("%w: attribute option %s", ErrLDIF, clip(option))
		}
	}
	p.put(lower, val)
	return nil
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
		return s[len(prefix):], true
	}
	return s, false
}

func (p *ldifParser) put(name string, val []byte) {
	i, ok := p.index[name]
	if !ok {
		i = len(p.entry.Attrs)
		p.index[name] = i
		p.entry.Attrs = append(p.entry.Attrs, Values{Name: name})
	}
	p.entry.Attrs[i].Vals = append(p.entry.Attrs[i].Vals, val)
}

// A valueRange is a part of the values of an attribute ([MS-ADTS] 3.1.1.3.1.3.3).
type valueRange struct {
	low, high int // high is -1 for the last part
	vals      [][]byte
}

func (p *ldifParser) ranged(name, span string, val []byte) error {
	lowText, highText, ok := strings.Cut(span, "-")
	low, err := strconv.Atoi(lowText)
	high := -1
	if err == nil && highText != "*" {
		high, err = strconv.Atoi(highText)
	}
	if !ok || err != nil || low < 0 || high != -1 && high < low {
		return fmt.Errorf("%w: range %s of %s", ErrLDIF, clip(span), name)
	}
	if p.ranges == nil {
		p.ranges = map[string][]valueRange{}
	}
	list := p.ranges[name]
	i := slices.IndexFunc(list, func(r valueRange) bool { return r.low == low && r.high == high })
	if i < 0 {
		i = len(list)
		list = append(list, valueRange{low: low, high: high})
	}
	list[i].vals = append(list[i].vals, val)
	p.ranges[name] = list
	return nil
}

// join puts ranges together that hold all values.
func (p *ldifParser) join() error {
	for name, list := range p.ranges {
		slices.SortFunc(list, func(a, b valueRange) int { return a.low - b.low })
		next := 0
		for _, r := range list {
			if r.low != next || next < 0 {
				return fmt.Errorf("%w: values of %s of %s from %d on are missing (ranged output)", ErrTruncated, name, clip(p.entry.DN), next)
			}
			if r.high >= 0 && len(r.vals) != r.high-r.low+1 {
				return fmt.Errorf("%w: %s of %s has %d values in range %d-%d", ErrTruncated, name, clip(p.entry.DN), len(r.vals), r.low, r.high)
			}
			if next = r.high + 1; r.high < 0 {
				next = -1
			}
			for _, v := range r.vals {
				p.put(name, v)
			}
		}
		if next >= 0 {
			return fmt.Errorf("%w: values of %s of %s from %d on are missing (ranged output); ask for all ranges", ErrTruncated, name, clip(p.entry.DN), next)
		}
	}
	return nil
}

func (p *ldifParser) add() error {
	if err := p.join(); err != nil {
		return err
	}
	if p.entry.DN == "" && len(p.entry.Attrs) > 0 {
		return nil // the root DSE is not an object
	}
	if err := p.b.Add(p.entry); err != nil {
		return err
	}
	p.count++
	p.done = false
	p.b.ldif.entries++
	if _, ok := p.index["ntsecuritydescriptor"]; ok {
		p.b.ldif.descriptors++
	}
	return nil
}
