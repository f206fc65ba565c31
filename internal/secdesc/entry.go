package secdesc

import "encoding/binary"

// AppendEntry appends to out a self-relative descriptor that has the owner, the
// group and one entry of the DACL of raw, and returns it with the flags of the
// entry. Of two descriptors the results are equal if owner, group and entry are:
// so they can be compared without parsing either ([MS-DTYP] 2.4.6, 2.4.5, 2.4.4.1).
// ok is false if raw has no such entry; raw is checked no further than that takes.
func AppendEntry(out []byte, raw string, index int) (with []byte, flags ACEFlags, ok bool) {
	entry, ok := entryOf(raw, index)
	if !ok {
		return out, 0, false
	}
	owner, owned := sidAt(raw, 4)
	group, grouped := sidAt(raw, 8)
	if !owned || !grouped {
		return out, 0, false
	}
	begin := len(out)
	out = append(out, make([]byte, headerSize)...)
	h := out[begin : begin+headerSize]
	h[0] = 1
	binary.LittleEndian.PutUint16(h[2:], uint16(SelfRelative|DACLPresent))
	at := uint32(headerSize)
	for i, part := range []string{owner, group} {
		if part != "" {
			binary.LittleEndian.PutUint32(h[4+4*i:], at)
			at += uint32(len(part))
		}
	}
	binary.LittleEndian.PutUint32(h[16:], at)
	out = append(append(out, owner...), group...)
	size := uint16(aclHeaderSize + len(entry))
	out = append(out, 4, 0, byte(size), byte(size>>8), 1, 0, 0, 0)
	return append(out, entry...), ACEFlags(entry[1]), true
}

// entryOf returns the bytes of an entry of the DACL.
func entryOf(raw string, index int) (string, bool) {
	at, ok := offsetAt(raw, 16)
	if !ok || at == 0 || at+aclHeaderSize > len(raw) || index < 0 {
		return "", false
	}
	count := int(raw[at+4]) | int(raw[at+5])<<8
	if index >= count {
		return "", false
	}
	for at += aclHeaderSize; at+aceHeaderSize <= len(raw); index-- {
		size := int(raw[at+2]) | int(raw[at+3])<<8
		if size < aceHeaderSize || at+size > len(raw) || size > 0xffff-aclHeaderSize {
			return "", false
		}
		if index == 0 {
			return raw[at : at+size], true
		}
		at += size
	}
	return "", false
}

// sidAt returns the SID that the offset at a place of the header leads to; "" if
// there is none.
func sidAt(raw string, place int) (string, bool) {
	at, ok := offsetAt(raw, place)
	if !ok || at == 0 {
		return "", ok
	}
	if at+8 > len(raw) || at+8+4*int(raw[at+1]) > len(raw) {
		return "", false
	}
	return raw[at : at+8+4*int(raw[at+1])], true
}

func offsetAt(raw string, place int) (int, bool) {
	if len(raw) < headerSize {
		return 0, false
	}
	at := int(raw[place]) | int(raw[place+1])<<8 | int(raw[place+2])<<16 | int(raw[place+3])<<24
	return at, at == 0 || at >= headerSize && at < len(raw)
}
