package bloodhound

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/leastwise/leastwise/internal/forest"
)

// Errors of reading a collection; those of a file's content come with the offset.
var (
	// ErrCollection reports a file that is not part of a collection of a known form.
	ErrCollection = errors.New("not a SharpHound collection")
	// ErrIncomplete reports a collection without what cannot be done without.
	ErrIncomplete = errors.New("an incomplete SharpHound collection")
	// ErrDamaged reports an archive of which files cannot be unpacked.
	ErrDamaged = errors.New("the archive is damaged")
	// ErrLimit reports a file beyond what any real collection has.
	ErrLimit = errors.New("beyond the limits of a collection")
	// ErrConflict reports files that do not belong together.
	ErrConflict = errors.New("files of different collections")
)

// Limits of a collection, against hostile ones. A group of a million members is
// 100 MB of JSON.
const (
	maxObject  = 512 << 20 // bytes of one object
	maxHeld    = 1 << 30   // bytes of objects that wait for the meta that says what they are
	maxObjects = 20_000_000
)

// kinds are the types of files, and the class of the objects in them.
var kinds = map[string]kind{
	"users": userKind, "groups": groupKind, "computers": computerKind, "domains": domainKind, "ous": ouKind,
	"containers": containerKind, "gpos": policyKind, "certtemplates": templateKind, "enterprisecas": authorityKind,
	"rootcas": rootKind, "ntauthstores": ntAuthKind, "aiacas": issuerKind, "issuancepolicies": issuanceKind,
}

// A Collection is what is read of a forest; see [NewCollection]. It is not safe for
// concurrent use.
type Collection struct {
	version int
	from    string            // the file that gave the version
	seen    map[string]origin // identifier → where it came from
	list    []item
	names   map[string]string // identifier in upper case → distinguished name
	dns     map[string]bool   // distinguished names in upper case
	stats   stats
}

// origin is where an object came from.
type origin struct {
	file string
	hash [32]byte
}

// NewCollection returns an empty collection. Add files to it, then make the
// snapshot.
func NewCollection() *Collection {
	return &Collection{
		seen: map[string]origin{}, names: map[string]string{}, dns: map[string]bool{},
		stats: stats{rights: map[string]int{}, skipped: map[string]int{}, without: map[string]int{}},
	}
}

// LooksLikeJSON reports whether head, the beginning of a file, can be that of a JSON
// file with an object in it, or with an array, which AddJSON refuses.
func LooksLikeJSON(head []byte) bool {
	head = bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\ufeff")), " \t\r\n")
	return len(head) > 0 && (head[0] == '{' || head[0] == '[')
}

// AddJSON adds one file of a collection. name is what errors of other files call
// it; its own errors leave it out, for the caller says what was being read. They are
// ErrCollection, ErrLimit, ErrConflict, [forest.ErrTruncated] for a file that has
// fewer objects than it says, and those of r. After an error the Collection must not
// be used.
func (c *Collection) AddJSON(name string, r io.Reader) error {
	src := &boundedReader{r: r}
	f := &fileReader{c: c, name: name, src: src}
	if err := f.read(); err != nil {
		return fmt.Errorf("offset %d: %w", f.at, err)
	}
	return nil
}

// boundedReader fails when one object is larger than any.
type boundedReader struct {
	r     io.Reader
	since int64 // bytes read since the last object ended
	begun bool
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.since > maxObject {
		return 0, fmt.Errorf("%w: an object of more than %d bytes", ErrLimit, maxObject)
	}
	n, err := b.r.Read(p)
	b.since += int64(n)
	if !b.begun && n > 0 {
		b.begun = true
		if bytes.HasPrefix(p[:n], []byte{0xFF, 0xFE}) || bytes.HasPrefix(p[:n], []byte{0xFE, 0xFF}) {
			return 0, fmt.Errorf("%w: the file is UTF-16: save it as UTF-8", ErrCollection)
		}
		if bytes.HasPrefix(p[:n], []byte("\ufeff")) {
			copy(p, "   ") // white space, so that offsets stay those of the file
		}
	}
	return n, err
}

// fileReader reads one file.
type fileReader struct {
	c    *Collection
	name string
	src  *boundedReader
	dec  *json.Decoder
	at   int64 // offset for errors: where the value begins that is read
	meta *meta
	data int64 // objects read, -1: none yet
	held []held
	wait int64  // bytes in held
	kind string // type as the file's name has it; "" if it has none
}

// held is an object that came before the meta that says what it is, as they do, in
// a file whose name does not say it either.
type held struct {
	at  int64
	raw json.RawMessage
}

func (f *fileReader) read() error {
	f.dec, f.data, f.kind = json.NewDecoder(f.src), -1, kindInName(f.name)
	first := len(f.c.list)
	t, err := f.token()
	if err != nil {
		return err
	}
	if t != json.Delim('{') {
		return fmt.Errorf("%w: the file begins with %v instead of an object", ErrCollection, t)
	}
	for f.dec.More() {
		key, err := f.token()
		if err != nil {
			return err
		}
		switch strings.ToLower(fmt.Sprint(key)) {
		case "meta":
			err = f.readMeta()
		case "data":
			err = f.readData()
		case "graph":
			return fmt.Errorf("%w: it is an OpenGraph file; only SharpHound's own output can be imported", ErrCollection)
		default:
			err = f.skip()
		}
		if err != nil {
			return err
		}
	}
	if err := f.delim('}'); err != nil {
		return err
	}
	if _, err := f.dec.Token(); !errors.Is(err, io.EOF) {
		f.at = f.dec.InputOffset()
		return fmt.Errorf("%w: something follows the end of the object", ErrCollection)
	}
	if err := f.finish(); err != nil {
		return err
	}
	f.c.unread(first, f.meta.Methods)
	return nil
}

// finish checks that the file is whole, and takes what waited for meta.
func (f *fileReader) finish() error {
	switch {
	case f.meta == nil:
		return fmt.Errorf("%w: it has no \"meta\"", ErrCollection)
	case f.data < 0:
		return fmt.Errorf("%w: it has no \"data\"", ErrCollection)
	case f.data < f.meta.Count:
		return fmt.Errorf("%w: the file says that it holds %d %s, and holds %d", forest.ErrTruncated, f.meta.Count, f.meta.Type, f.data)
	}
	for _, h := range f.held {
		f.at = h.at
		if err := f.take(h.raw); err != nil {
			return err
		}
	}
	return nil
}

// token reads a token; the end of the file is an error.
func (f *fileReader) token() (json.Token, error) {
	f.at = f.dec.InputOffset()
	t, err := f.dec.Token()
	return t, f.explain(err)
}

// explain turns errors of the decoder into those of this package.
func (f *fileReader) explain(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		f.at = f.dec.InputOffset()
		return fmt.Errorf("%w: the file ends within its JSON", forest.ErrTruncated)
	case errors.As(err, &syntax):
		return fmt.Errorf("%w: JSON: %w", ErrCollection, err)
	case errors.As(err, &kind):
		f.at += kind.Offset
		return fmt.Errorf("%w: %s is of JSON type %s", ErrCollection, cmp.Or(kind.Field, "what stands there"), kind.Value)
	}
	return err
}

func (f *fileReader) delim(want json.Delim) error {
	t, err := f.token()
	if err != nil {
		return err
	}
	if t != want {
		return fmt.Errorf("%w: %v instead of %v", ErrCollection, t, want)
	}
	return nil
}

// skip passes over one value.
func (f *fileReader) skip() error {
	var raw json.RawMessage
	f.at = f.dec.InputOffset()
	return f.explain(f.dec.Decode(&raw))
}

func (f *fileReader) readMeta() error {
	if f.meta != nil {
		return fmt.Errorf("%w: a second \"meta\"", ErrCollection)
	}
	var m meta
	f.at = f.dec.InputOffset()
	if err := f.explain(f.dec.Decode(&m)); err != nil {
		return err
	}
	m.Type = strings.ToLower(m.Type)
	if _, ok := kinds[m.Type]; !ok {
		return fmt.Errorf("%w: meta type %q; known are %s", ErrCollection, clip(m.Type), strings.Join(kindNames(), ", "))
	}
	if m.Version < 5 || m.Version > 6 {
		return fmt.Errorf("%w: meta version %d; 5 and 6 can be read: collect again with a current SharpHound", ErrCollection, m.Version)
	}
	if f.c.version != 0 && f.c.version != m.Version {
		return fmt.Errorf("%w: meta version %d, and %s has %d: collect both with one version", ErrConflict, m.Version, f.c.from, f.c.version)
	}
	if f.kind != "" && f.kind != m.Type && f.data > 0 {
		return fmt.Errorf("%w: meta type %q in a file that is named after %s: rename it", ErrCollection, m.Type, f.kind)
	}
	f.c.version, f.c.from, f.meta, f.kind = m.Version, f.name, &m, m.Type
	return nil
}

func (f *fileReader) readData() error {
	if f.data >= 0 {
		return fmt.Errorf("%w: a second \"data\"", ErrCollection)
	}
	if err := f.delim('['); err != nil {
		return err
	}
	f.data = 0
	for f.dec.More() {
		var raw json.RawMessage
		f.at = f.dec.InputOffset()
		if err := f.explain(f.dec.Decode(&raw)); err != nil {
			return err
		}
		f.src.since = 0
		f.data++
		if len(f.c.list)+len(f.held) >= maxObjects {
			return fmt.Errorf("%w: more than %d objects", ErrLimit, maxObjects)
		}
		if f.kind == "" {
			if f.wait += int64(len(raw)); f.wait > maxHeld {
				return fmt.Errorf("%w: more than %d bytes of objects before the meta that says what they are: name the file after its type, such as users.json", ErrLimit, maxHeld)
			}
			f.held = append(f.held, held{f.at, raw})
			continue
		}
		if err := f.take(raw); err != nil {
			return err
		}
	}
	return f.delim(']')
}

// take adds one object.
func (f *fileReader) take(raw json.RawMessage) error {
	if !utf8.Valid(raw) {
		return fmt.Errorf("%w: text that is not UTF-8", ErrCollection)
	}
	var o object
	if err := json.Unmarshal(raw, &o); err != nil {
		return f.explain(err)
	}
	return f.c.add(f.name, kinds[f.kind], &o, raw)
}

// clip shortens foreign text for an error.
func clip(s string) string {
	const most = 60
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// kindInName returns the type that a file's name ends with, as collectors name
// their files: 20260301_users.json, users_01.json.
func kindInName(name string) string {
	name = strings.TrimSuffix(strings.ToLower(name), ".json")
	name = strings.TrimRight(name, "0123456789_")
	for k := range kinds {
		if strings.HasSuffix(name, k) {
			return k
		}
	}
	return ""
}
