package audit

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// ErrEncoding reports bytes that are not the encoding of an entry; the text says
// in which line.
var ErrEncoding = errors.New("not an encoded audit entry")

// ErrVersion reports an entry of a version that this program does not know. Its
// hash can be verified all the same.
var ErrVersion = errors.New("audit entry of a newer version")

// MaxEncoded is the most bytes that an encoded entry may have. Every valid entry
// fits: escaping makes at most six bytes of one.
const MaxEncoded = 64 << 10

const (
	magic      = "leastwise-audit-entry "
	version1   = magic + "1\n"
	timeLayout = "2006-01-02T15:04:05.000000Z"
)

// A field is one line of the encoding: how to write it, empty text for "not
// there", and how to read it.
type field struct {
	key   string
	write func(*Entry) string
	read  func(*Entry, string) error
}

// fields are the lines of version 1 in their order.
func fields() []field {
	return []field{
		{"index", func(e *Entry) string { return strconv.FormatInt(e.Index, 10) }, func(e *Entry, s string) error { return readInt(&e.Index, s) }},
		{"time", func(e *Entry) string { return e.Time.Format(timeLayout) }, func(e *Entry, s string) error { return readTime(&e.Time, s) }},
		{"late", writeLate, readLate},
		{"phase", func(e *Entry) string { return e.Phase.String() }, func(e *Entry, s string) error { return readName(&e.Phase, phaseNames[:], s) }},
		{"action", func(e *Entry) string { return e.Action }, readWord(func(e *Entry) *string { return &e.Action })},
		text("actor", func(e *Entry) *string { return &e.Actor.Name }),
		{"actor-sid", writeSID, readSID},
		{"method", func(e *Entry) string { return string(e.Actor.Method) }, readWord(func(e *Entry) *string { return (*string)(&e.Actor.Method) })},
		{"factor", func(e *Entry) string { return string(e.Actor.Factor) }, readWord(func(e *Entry) *string { return (*string)(&e.Actor.Factor) })},
		{"session", func(e *Entry) string { return e.Actor.Session }, readWord(func(e *Entry) *string { return &e.Actor.Session })},
		{"from", func(e *Entry) string { return e.Actor.From }, readWord(func(e *Entry) *string { return &e.Actor.From })},
		{"request", func(e *Entry) string { return e.Request }, readWord(func(e *Entry) *string { return &e.Request })},
		{"answers", func(e *Entry) string { return nonzero(e.Answers) }, func(e *Entry, s string) error { return readInt(&e.Answers, s) }},
		{"result", func(e *Entry) string { return e.Result.String() }, func(e *Entry, s string) error { return readName(&e.Result, resultNames[:], s) }},
		guid("target", func(e *Entry) *secdesc.GUID { return &e.Target }),
		text("target-name", func(e *Entry) *string { return &e.TargetName }),
		guid("subject", func(e *Entry) *secdesc.GUID { return &e.Subject }),
		text("subject-name", func(e *Entry) *string { return &e.SubjectName }),
		{"record", func(e *Entry) string { return e.Record }, readWord(func(e *Entry) *string { return &e.Record })},
		{"generation", func(e *Entry) string { return nonzero(e.Generation) }, readGeneration},
		{"until", func(e *Entry) string { return writeTime(e.Until) }, func(e *Entry, s string) error { return readTime(&e.Until, s) }},
		{"server", func(e *Entry) string { return e.Server }, readWord(func(e *Entry) *string { return &e.Server })},
		{"digest", writeDigest, readDigest},
		text("reason", func(e *Entry) *string { return &e.Reason }),
	}
}

// Encode returns the canonical bytes of an entry, version 1, which are what the
// log hashes: lines of "key value" in a fixed order, without those that say
// nothing; free text in double quotes, escaped to ASCII. docs/FORMATS.md has the
// table. The entry must be as [Append] makes it: times in UTC with microseconds,
// texts within their limits; anything else is an [ErrEntry].
func Encode(e Entry) ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(version1)
	for _, f := range fields() {
		if v := f.write(&e); v != "" {
			fmt.Fprintf(&b, "%s %s\n", f.key, v)
		}
	}
	return b.Bytes(), nil
}

// Decode parses an encoded entry. It accepts exactly what [Encode] writes: other
// bytes that would mean the same entry are refused.
func Decode(b []byte) (Entry, error) {
	if len(b) > MaxEncoded {
		return Entry{}, fmt.Errorf("%w: %d bytes are more than %d", ErrEncoding, len(b), MaxEncoded)
	}
	rest, ok := strings.CutPrefix(string(b), version1)
	if !ok {
		return Entry{}, versionError(b)
	}
	var e Entry
	all := fields()
	for n := 2; rest != ""; n++ {
		line, after, ended := strings.Cut(rest, "\n")
		rest = after
		key, value, _ := strings.Cut(line, " ")
		for len(all) > 0 && all[0].key != key {
			all = all[1:]
		}
		if !ended || value == "" || len(all) == 0 {
			return Entry{}, fmt.Errorf("%w: line %d: cut short, unknown, repeated or out of order", ErrEncoding, n)
		}
		if err := all[0].read(&e, value); err != nil {
			return Entry{}, fmt.Errorf("%w: line %d: %s: %w", ErrEncoding, n, key, err)
		}
		all = all[1:]
	}
	again, err := Encode(e)
	if err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrEncoding, err)
	}
	if !bytes.Equal(again, b) {
		return Entry{}, fmt.Errorf("%w: not in its canonical form", ErrEncoding)
	}
	return e, nil
}

// versionError tells a newer version from what is no entry.
func versionError(b []byte) error {
	line, _, ok := bytes.Cut(b, []byte("\n"))
	v, found := bytes.CutPrefix(line, []byte(magic))
	if n, err := strconv.ParseUint(string(v), 10, 31); ok && found && err == nil && n > 1 && v[0] != '0' && v[0] != '+' {
		return fmt.Errorf("%w: version %d", ErrVersion, n)
	}
	return fmt.Errorf("%w: line 1: it does not begin with %q", ErrEncoding, strings.TrimSpace(version1))
}

// text is a field of free text.
func text(key string, at func(*Entry) *string) field {
	return field{
		key,
		func(e *Entry) string {
			if *at(e) == "" {
				return ""
			}
			return strconv.QuoteToASCII(*at(e))
		},
		func(e *Entry, s string) (err error) {
			if s[0] != '"' {
				return errors.New("not in double quotes")
			}
			*at(e), err = strconv.Unquote(s)
			return err
		},
	}
}

// guid is a field that holds an objectGUID.
func guid(key string, at func(*Entry) *secdesc.GUID) field {
	return field{
		key,
		func(e *Entry) string {
			if at(e).IsZero() {
				return ""
			}
			return at(e).String()
		},
		func(e *Entry, s string) (err error) {
			*at(e), err = secdesc.ParseGUID(s)
			return err
		},
	}
}

// readWord takes text as it is; check looks at its alphabet.
func readWord(at func(*Entry) *string) func(*Entry, string) error {
	return func(e *Entry, s string) error {
		*at(e) = s
		return nil
	}
}

func nonzero[T int64 | uint64](n T) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func readInt(to *int64, s string) (err error) {
	*to, err = strconv.ParseInt(s, 10, 64)
	return err
}

func readGeneration(e *Entry, s string) (err error) {
	e.Generation, err = strconv.ParseUint(s, 10, 64)
	return err
}

// readName finds a name in the table of a type's names.
func readName[T ~uint8](to *T, names []string, s string) error {
	for i, name := range names {
		if name == s {
			*to = T(i)
			return nil
		}
	}
	return fmt.Errorf("there is no %q", clip(s, MaxToken))
}

func writeTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(timeLayout)
}

func readTime(to *time.Time, s string) (err error) {
	*to, err = time.Parse(timeLayout, s)
	return err
}

func writeLate(e *Entry) string {
	if e.Late {
		return "yes"
	}
	return ""
}

func readLate(e *Entry, s string) error {
	if s != "yes" {
		return errors.New(`not "yes"`)
	}
	e.Late = true
	return nil
}

func writeSID(e *Entry) string {
	if e.Actor.SID.IsZero() {
		return ""
	}
	return e.Actor.SID.String()
}

func readSID(e *Entry, s string) (err error) {
	e.Actor.SID, err = secdesc.ParseSID(s)
	return err
}

func writeDigest(e *Entry) string {
	if e.Digest == [32]byte{} {
		return ""
	}
	return hex.EncodeToString(e.Digest[:])
}

func readDigest(e *Entry, s string) error {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != len(e.Digest) {
		return errors.New("not 64 hexadecimal digits")
	}
	e.Digest = [32]byte(raw)
	return nil
}
