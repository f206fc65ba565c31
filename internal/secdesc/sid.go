package secdesc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrSID reports text or bytes that are not a security identifier.
var ErrSID = errors.New("not a security identifier")

// maxSubAuthorities is the largest number of sub-authorities ([MS-DTYP] 2.4.2.2).
const maxSubAuthorities = 15

// A SID is a security identifier ([MS-DTYP] 2.4.2). It is comparable and usable
// as a map key; the zero value stands for "no SID".
type SID struct {
	wire string // [MS-DTYP] 2.4.2.2, or empty
}

// ParseSID parses the string form S-1-… ([MS-DTYP] 2.4.2.1). The identifier
// authority may be decimal, or hexadecimal with 0x as Windows writes those of
// 2^32 and more.
func ParseSID(s string) (SID, error) {
	parts := strings.Split(s, "-")
	if len(parts) < 3 || len(parts) > 3+maxSubAuthorities || !strings.EqualFold(parts[0], "S") || parts[1] != "1" {
		return SID{}, fmt.Errorf("%w: %q", ErrSID, s)
	}
	base := 10
	auth := parts[2]
	if h, ok := strings.CutPrefix(strings.ToLower(auth), "0x"); ok {
		auth, base = h, 16
	}
	authority, err := strconv.ParseUint(auth, base, 48)
	if err != nil {
		return SID{}, fmt.Errorf("%w: %q: authority", ErrSID, s)
	}
	b := make([]byte, 8, 8+4*(len(parts)-3))
	binary.BigEndian.PutUint64(b, authority)
	b[0], b[1] = 1, byte(len(parts)-3)
	for _, p := range parts[3:] {
		v, err := strconv.ParseUint(p, 10, 32)
		if err != nil {
			return SID{}, fmt.Errorf("%w: %q: sub-authority %q", ErrSID, s, p)
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(v))
	}
	return SID{string(b)}, nil
}

// MustSID is ParseSID for constants; it panics on text that is not a SID.
func MustSID(s string) SID {
	sid, err := ParseSID(s)
	if err != nil {
		panic(err)
	}
	return sid
}

// SIDFromBytes parses the wire form. The slice must hold exactly one SID.
func SIDFromBytes(b []byte) (SID, error) {
	sid, n, err := readSID(b)
	if err == nil && n != len(b) {
		return SID{}, fmt.Errorf("%w: %d bytes too many", ErrSID, len(b)-n)
	}
	return sid, err
}

// readSID parses the SID at the start of b and returns its length in bytes.
func readSID(b []byte) (SID, int, error) {
	if len(b) < 8 {
		return SID{}, 0, fmt.Errorf("%w: %d bytes", ErrSID, len(b))
	}
	if b[0] != 1 || b[1] > maxSubAuthorities {
		return SID{}, 0, fmt.Errorf("%w: revision %d with %d sub-authorities", ErrSID, b[0], b[1])
	}
	n := 8 + 4*int(b[1])
	if len(b) < n {
		return SID{}, 0, fmt.Errorf("%w: cut short at %d of %d bytes", ErrSID, len(b), n)
	}
	return SID{string(b[:n])}, n, nil
}

// IsZero reports whether s is "no SID".
func (s SID) IsZero() bool { return s.wire == "" }

// Bytes returns the wire form, or nil for "no SID".
func (s SID) Bytes() []byte {
	if s.wire == "" {
		return nil
	}
	return []byte(s.wire)
}

// String returns the S-1-… form, or "" for "no SID".
func (s SID) String() string {
	if s.wire == "" {
		return ""
	}
	a := s.authority()
	b := make([]byte, 0, 48)
	b = append(b, "S-1-"...)
	if a >= 1<<32 {
		b = fmt.Appendf(b, "0x%012X", a)
	} else {
		b = strconv.AppendUint(b, a, 10)
	}
	for i := range s.count() {
		b = append(b, '-')
		b = strconv.AppendUint(b, uint64(s.sub(i)), 10)
	}
	return string(b)
}

// MarshalText implements encoding.TextMarshaler with the form of [SID.String].
func (s SID) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; empty text is "no SID".
func (s *SID) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*s = SID{}
		return nil
	}
	*s, err = ParseSID(string(b))
	return err
}

// RID returns the last sub-authority; ok is false if there is none.
func (s SID) RID() (rid uint32, ok bool) {
	n := s.count()
	if n == 0 {
		return 0, false
	}
	return s.sub(n - 1), true
}

// Domain returns s without its last sub-authority: for the SID of an account,
// the SID of its domain. It is "no SID" if there is nothing to remove.
func (s SID) Domain() SID {
	n := s.count()
	if n == 0 {
		return SID{}
	}
	b := []byte(s.wire[:len(s.wire)-4])
	b[1]--
	return SID{string(b)}
}

// Child returns s with rid appended: for a domain, the SID of its account rid.
// It is "no SID" if s cannot take another sub-authority.
func (s SID) Child(rid uint32) SID {
	if s.wire == "" || s.count() == maxSubAuthorities {
		return SID{}
	}
	b := binary.LittleEndian.AppendUint32([]byte(s.wire), rid)
	b[1]++
	return SID{string(b)}
}

// Tail returns the lowest byte of the last sub-authority: equal SIDs have the same.
// It is 0 for "no SID".
func (s SID) Tail() byte {
	if s.count() == 0 {
		return 0
	}
	return s.wire[len(s.wire)-4]
}

// IsIn reports whether domain is the [SID.Domain] of s.
func (s SID) IsIn(domain SID) bool {
	n := len(domain.wire)
	return n > 0 && len(s.wire) == n+4 && s.wire[1] == domain.wire[1]+1 && s.wire[0] == domain.wire[0] && s.wire[2:n] == domain.wire[2:]
}

// A SIDPool makes SIDs that share memory: many of one domain cost little more than
// their bytes. The zero value is ready. It is not safe for concurrent use; the SIDs
// are.
type SIDPool struct{ chunk strings.Builder }

const sidPoolChunk = 64 << 10

// Child is [SID.Child].
func (p *SIDPool) Child(s SID, rid uint32) SID {
	if s.wire == "" || s.count() == maxSubAuthorities {
		return SID{}
	}
	n := len(s.wire) + 4
	if p.chunk.Cap()-p.chunk.Len() < n {
		p.chunk = strings.Builder{}
		p.chunk.Grow(sidPoolChunk)
	}
	from := p.chunk.Len()
	p.chunk.WriteByte(s.wire[0])
	p.chunk.WriteByte(s.wire[1] + 1)
	p.chunk.WriteString(s.wire[2:])
	var tail [4]byte
	binary.LittleEndian.PutUint32(tail[:], rid)
	p.chunk.Write(tail[:])
	return SID{p.chunk.String()[from:]}
}

// IsDomainRelative reports whether s has the form S-1-5-21-x-y-z[-…] of a domain
// or of something in it.
func (s SID) IsDomainRelative() bool {
	return s.count() >= 4 && s.authority() == 5 && s.sub(0) == 21
}

// Compare orders SIDs by authority, then sub-authority by sub-authority.
func (s SID) Compare(t SID) int {
	if s.wire == "" || t.wire == "" {
		return len(s.wire) - len(t.wire)
	}
	if c := strings.Compare(s.wire[2:8], t.wire[2:8]); c != 0 {
		return c
	}
	for i := range min(s.count(), t.count()) {
		if a, b := s.sub(i), t.sub(i); a != b {
			if a < b {
				return -1
			}
			return 1
		}
	}
	return s.count() - t.count()
}

func (s SID) count() int {
	if s.wire == "" {
		return 0
	}
	return int(s.wire[1])
}

func (s SID) authority() uint64 {
	var b [8]byte
	copy(b[2:], s.wire[2:8])
	return binary.BigEndian.Uint64(b[:])
}

func (s SID) sub(i int) uint32 {
	o := 8 + 4*i
	return uint32(s.wire[o]) | uint32(s.wire[o+1])<<8 | uint32(s.wire[o+2])<<16 | uint32(s.wire[o+3])<<24
}
