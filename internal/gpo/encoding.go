package gpo

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// An Encoding is how the text of a policy file is stored.
type Encoding uint8

// Encodings of policy files. Windows writes UTF16LE; older and foreign tools
// write the others. ANSI is a guess: bytes that are not UTF-8 are read as
// Windows-1252, whatever code page they were written in.
const (
	UTF16LE Encoding = iota + 1 // with byte order mark
	UTF16BE                     // with byte order mark
	UTF8BOM
	UTF8
	ANSI
)

// String returns the usual name of the encoding.
func (e Encoding) String() string {
	return [...]string{"", "UTF-16LE", "UTF-16BE", "UTF-8 with byte order mark", "UTF-8", "ANSI (read as Windows-1252)"}[e]
}

// maxFile is the largest policy file that is parsed, in bytes.
const maxFile = 16 << 20

// Text returns what a policy file says, whatever Encoding it is in, without its byte
// order mark.
func Text(raw []byte) (string, error) {
	text, _, err := decodeText(raw)
	return text, err
}

// decodeText returns the text of a policy file, without its byte order mark.
func decodeText(raw []byte) (string, Encoding, error) {
	if len(raw) > maxFile {
		return "", 0, fmt.Errorf("%w: %d bytes, more than %d", ErrSyntax, len(raw), maxFile)
	}
	switch {
	case len(raw) >= 2 && raw[0] == 0xFF && raw[1] == 0xFE:
		s, err := decodeUTF16(raw[2:], binary.LittleEndian)
		return s, UTF16LE, err
	case len(raw) >= 2 && raw[0] == 0xFE && raw[1] == 0xFF:
		s, err := decodeUTF16(raw[2:], binary.BigEndian)
		return s, UTF16BE, err
	case len(raw) >= 3 && string(raw[:3]) == "\xEF\xBB\xBF":
		if i := invalidUTF8(raw[3:]); i >= 0 {
			return "", 0, fmt.Errorf("%w: offset %d: not UTF-8 although the file says so", ErrSyntax, i+3)
		}
		return string(raw[3:]), UTF8BOM, nil
	case utf8.Valid(raw):
		return string(raw), UTF8, nil
	}
	var b strings.Builder
	for _, c := range raw {
		r := charmap.Windows1252.DecodeByte(c)
		if r == utf8.RuneError {
			r = rune(c) // one of five bytes without a character: kept as a control
		}
		b.WriteRune(r)
	}
	return b.String(), ANSI, nil
}

func invalidUTF8(b []byte) int {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

func decodeUTF16(b []byte, order binary.ByteOrder) (string, error) {
	if len(b)%2 != 0 {
		return "", fmt.Errorf("%w: UTF-16 text of an odd number of bytes (%d): cut short", ErrSyntax, len(b)+2)
	}
	var out strings.Builder
	out.Grow(len(b) / 2)
	for i := 0; i < len(b); i += 2 {
		u := rune(order.Uint16(b[i:]))
		if utf16.IsSurrogate(u) {
			if i+3 >= len(b) {
				return "", fmt.Errorf("%w: offset %d: half of a UTF-16 surrogate pair", ErrSyntax, i+2)
			}
			u = utf16.DecodeRune(u, rune(order.Uint16(b[i+2:])))
			if u == utf8.RuneError {
				return "", fmt.Errorf("%w: offset %d: half of a UTF-16 surrogate pair", ErrSyntax, i+2)
			}
			i += 2
		}
		out.WriteRune(u)
	}
	return out.String(), nil
}

// encodeText is the inverse of decodeText.
func encodeText(s string, e Encoding) ([]byte, error) {
	switch e {
	case UTF16LE:
		return encodeUTF16([]byte{0xFF, 0xFE}, s, binary.LittleEndian), nil
	case UTF16BE:
		return encodeUTF16([]byte{0xFE, 0xFF}, s, binary.BigEndian), nil
	case UTF8BOM:
		return append([]byte("\xEF\xBB\xBF"), s...), nil
	case UTF8:
		return []byte(s), nil
	}
	out := make([]byte, 0, len(s))
	for _, r := range s {
		c, ok := charmap.Windows1252.EncodeRune(r)
		switch {
		case ok:
			out = append(out, c)
		case r >= 0x80 && r < 0xA0:
			out = append(out, byte(r))
		default:
			return nil, fmt.Errorf("writing text as Windows-1252: it has no character %q", r)
		}
	}
	return out, nil
}

func encodeUTF16(head []byte, s string, order binary.AppendByteOrder) []byte {
	out := append(make([]byte, 0, len(head)+2*len(s)), head...)
	for _, r := range s {
		if a, b := utf16.EncodeRune(r); a != utf8.RuneError {
			out = order.AppendUint16(order.AppendUint16(out, uint16(a)), uint16(b))
		} else {
			out = order.AppendUint16(out, uint16(r))
		}
	}
	return out
}
