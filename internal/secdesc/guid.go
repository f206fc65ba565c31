package secdesc

import (
	"encoding/hex"
	"errors"
	"fmt"
)

// ErrGUID reports text or bytes that are not a GUID.
var ErrGUID = errors.New("not a GUID")

// A GUID is kept in wire order ([MS-DTYP] 2.3.4.2): the first three groups of its
// text are little-endian. The zero value stands for "no GUID".
type GUID [16]byte

// guidOrder maps a position in the text's bytes to a position on the wire.
var guidOrder = [16]int{3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15}

// ParseGUID parses xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx, with or without braces.
func ParseGUID(s string) (GUID, error) {
	t := s
	if len(t) == 38 && t[0] == '{' && t[37] == '}' {
		t = t[1:37]
	}
	var g GUID
	if len(t) != 36 || t[8] != '-' || t[13] != '-' || t[18] != '-' || t[23] != '-' {
		return g, fmt.Errorf("%w: %q", ErrGUID, s)
	}
	raw, err := hex.DecodeString(t[:8] + t[9:13] + t[14:18] + t[19:23] + t[24:])
	if err != nil {
		return g, fmt.Errorf("%w: %q", ErrGUID, s)
	}
	for i, o := range guidOrder {
		g[o] = raw[i]
	}
	return g, nil
}

// MustGUID is ParseGUID for constants; it panics on text that is not a GUID.
func MustGUID(s string) GUID {
	g, err := ParseGUID(s)
	if err != nil {
		panic(err)
	}
	return g
}

// GUIDFromBytes takes the 16 bytes of the wire form.
func GUIDFromBytes(b []byte) (GUID, error) {
	if len(b) != 16 {
		return GUID{}, fmt.Errorf("%w: %d bytes", ErrGUID, len(b))
	}
	return GUID(b), nil
}

// IsZero reports whether g is "no GUID".
func (g GUID) IsZero() bool { return g == GUID{} }

// String returns the lower-case text form without braces.
func (g GUID) String() string {
	var raw [16]byte
	for i, o := range guidOrder {
		raw[i] = g[o]
	}
	h := hex.EncodeToString(raw[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// MarshalText implements encoding.TextMarshaler: the form of [GUID.String], or
// empty text for "no GUID".
func (g GUID) MarshalText() ([]byte, error) {
	if g.IsZero() {
		return nil, nil
	}
	return []byte(g.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler; empty text is "no GUID".
func (g *GUID) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*g = GUID{}
		return nil
	}
	*g, err = ParseGUID(string(b))
	return err
}
