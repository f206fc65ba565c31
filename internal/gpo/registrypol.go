package gpo

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
)

func parseUint32(s string) (uint32, error) {
	v, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		return 0, err
	}
	if v < -1<<31 || v > 1<<32-1 {
		return 0, strconv.ErrRange
	}
	return uint32(v), nil // Windows writes versions of 2^31 and more as negative numbers
}

// A RegistryEntry is one instruction of Registry.pol ([MS-GPREG] 2.2.1).
type RegistryEntry struct {
	Key    string
	Value  string // name of the value, with its **prefix if it is a command
	Type   uint32 // REG_SZ 1, REG_EXPAND_SZ 2, REG_BINARY 3, REG_DWORD 4, REG_MULTI_SZ 7, REG_QWORD 11
	Data   []byte
	Offset int // of the entry in the file
}

// Limits of Registry.pol.
const maxRegistryEntries = 100_000

const polHeader = "PReg\x01\x00\x00\x00"

// ParseRegistryPol reads a Registry.pol file. Errors name the offset in bytes.
func ParseRegistryPol(raw []byte) ([]RegistryEntry, error) {
	if len(raw) > maxFile {
		return nil, fmt.Errorf("reading Registry.pol: %w: %d bytes, more than %d", ErrSyntax, len(raw), maxFile)
	}
	if len(raw) < len(polHeader) || string(raw[:len(polHeader)]) != polHeader {
		return nil, fmt.Errorf("reading Registry.pol: %w: offset 0: no PReg header of version 1", ErrSyntax)
	}
	p := polReader{raw: raw, pos: len(polHeader)}
	var out []RegistryEntry
	for p.pos < len(raw) {
		if len(out) == maxRegistryEntries {
			return nil, fmt.Errorf("reading Registry.pol: %w: more than %d entries", ErrSyntax, maxRegistryEntries)
		}
		e, err := p.entry()
		if err != nil {
			return nil, fmt.Errorf("reading Registry.pol: %w: offset %d: %w", ErrSyntax, p.pos, err)
		}
		out = append(out, e)
	}
	return out, nil
}

type polReader struct {
	raw []byte
	pos int
}

func (p *polReader) entry() (e RegistryEntry, err error) {
	e.Offset = p.pos
	if err = p.expect('['); err != nil {
		return e, err
	}
	if e.Key, err = p.text(); err != nil {
		return e, fmt.Errorf("key: %w", err)
	}
	if err = p.expect(';'); err != nil {
		return e, err
	}
	if e.Value, err = p.text(); err != nil {
		return e, fmt.Errorf("value: %w", err)
	}
	if err = p.expect(';'); err != nil {
		return e, err
	}
	if e.Type, err = p.uint32(); err != nil {
		return e, fmt.Errorf("type: %w", err)
	}
	if err = p.expect(';'); err != nil {
		return e, err
	}
	size, err := p.uint32()
	if err != nil {
		return e, fmt.Errorf("size: %w", err)
	}
	if err = p.expect(';'); err != nil {
		return e, err
	}
	if uint64(size) > uint64(len(p.raw)-p.pos) {
		return e, fmt.Errorf("data of %d bytes, but %d are left: cut short", size, len(p.raw)-p.pos)
	}
	e.Data = append([]byte(nil), p.raw[p.pos:p.pos+int(size)]...)
	p.pos += int(size)
	return e, p.expect(']')
}

func (p *polReader) unit() (uint16, error) {
	if p.pos+2 > len(p.raw) {
		return 0, fmt.Errorf("cut short")
	}
	u := binary.LittleEndian.Uint16(p.raw[p.pos:])
	p.pos += 2
	return u, nil
}

func (p *polReader) expect(c uint16) error {
	u, err := p.unit()
	if err != nil {
		return err
	}
	if u != c {
		p.pos -= 2
		return fmt.Errorf("expected %q, found %#04x", rune(c), u)
	}
	return nil
}

func (p *polReader) uint32() (uint32, error) {
	if p.pos+4 > len(p.raw) {
		return 0, fmt.Errorf("cut short")
	}
	v := binary.LittleEndian.Uint32(p.raw[p.pos:])
	p.pos += 4
	return v, nil
}

// text reads a UTF-16 string that ends with a NUL.
func (p *polReader) text() (string, error) {
	var units []uint16
	start := p.pos
	for {
		u, err := p.unit()
		if err != nil {
			return "", err
		}
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	s := string(utf16.Decode(units))
	if back := utf16.Encode([]rune(s)); len(back) != len(units) || strings.ContainsRune(s, '\uFFFD') {
		p.pos = start
		return "", fmt.Errorf("text is not UTF-16")
	}
	return s, nil
}

// FormatRegistryPol writes a Registry.pol file.
func FormatRegistryPol(entries []RegistryEntry) []byte {
	out := []byte(polHeader)
	le := binary.LittleEndian
	text := func(s string) {
		for _, u := range utf16.Encode([]rune(s)) {
			out = le.AppendUint16(out, u)
		}
		out = le.AppendUint16(out, 0)
	}
	for _, e := range entries {
		out = le.AppendUint16(out, '[')
		text(e.Key)
		out = le.AppendUint16(out, ';')
		text(e.Value)
		out = le.AppendUint16(out, ';')
		out = le.AppendUint32(out, e.Type)
		out = le.AppendUint16(out, ';')
		out = le.AppendUint32(out, uint32(len(e.Data)))
		out = le.AppendUint16(out, ';')
		out = append(out, e.Data...)
		out = le.AppendUint16(out, ']')
	}
	return out
}

// Text returns the data in words: numbers in decimal, texts as they are, several
// texts separated by commas, other types in hexadecimal.
func (e RegistryEntry) Text() string {
	switch {
	case e.Type == 4 && len(e.Data) == 4:
		return strconv.FormatUint(uint64(binary.LittleEndian.Uint32(e.Data)), 10)
	case e.Type == 5 && len(e.Data) == 4:
		return strconv.FormatUint(uint64(binary.BigEndian.Uint32(e.Data)), 10)
	case e.Type == 11 && len(e.Data) == 8:
		return strconv.FormatUint(binary.LittleEndian.Uint64(e.Data), 10)
	case (e.Type == 1 || e.Type == 2 || e.Type == 7) && len(e.Data)%2 == 0:
		units := make([]uint16, 0, len(e.Data)/2)
		for i := 0; i < len(e.Data); i += 2 {
			units = append(units, binary.LittleEndian.Uint16(e.Data[i:]))
		}
		s := strings.TrimRight(string(utf16.Decode(units)), "\x00")
		if e.Type == 7 {
			return strings.ReplaceAll(s, "\x00", ",")
		}
		return s
	}
	return fmt.Sprintf("%x", e.Data)
}

// Commands that stand in place of a value name ([MS-GPREG] 3.2.5.1.2 and the
// Registry Policy File Format).
const (
	polDel          = "**del."
	polDelVals      = "**delvals."
	polDeleteValues = "**deletevalues"
	polDeleteKeys   = "**deletekeys"
	polSoft         = "**soft."
)
