package dc

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// The subset of BER that LDAP uses: definite lengths, one-byte tags
// (RFC 4511 5.1). Decoding never copies: results alias the input.

// maxMessage bounds one LDAP message. The largest that Windows sends is one
// entry, whose values it returns in ranges; 64 MiB is far above that.
const maxMessage = 64 << 20

var (
	errBERShort  = errors.New("element ends early")
	errBERLength = errors.New("length is indefinite or too large")
	errBERTag    = errors.New("unexpected tag")
)

// appendTLV appends one element.
func appendTLV(b []byte, tag byte, content ...[]byte) []byte {
	n := 0
	for _, c := range content {
		n += len(c)
	}
	b = append(b, tag)
	switch {
	case n < 0x80:
		b = append(b, byte(n))
	case n < 1<<8:
		b = append(b, 0x81, byte(n))
	case n < 1<<16:
		b = append(b, 0x82, byte(n>>8), byte(n))
	case n < 1<<24:
		b = append(b, 0x83, byte(n>>16), byte(n>>8), byte(n))
	default:
		b = append(b, 0x84, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	for _, c := range content {
		b = append(b, c...)
	}
	return b
}

func tlv(tag byte, content ...[]byte) []byte { return appendTLV(nil, tag, content...) }

func berString(tag byte, s string) []byte { return tlv(tag, []byte(s)) }

func berBool(v bool) []byte {
	if v {
		return []byte{0x01, 0x01, 0xff}
	}
	return []byte{0x01, 0x01, 0x00}
}

// berInt encodes v in the fewest bytes, as INTEGER (0x02) or ENUMERATED (0x0a).
func berInt(tag byte, v int64) []byte {
	var c [8]byte
	for i := range c {
		c[i] = byte(v >> (56 - 8*i))
	}
	i := 0
	for i < 7 && (c[i] == 0 && c[i+1] < 0x80 || c[i] == 0xff && c[i+1] >= 0x80) {
		i++
	}
	return tlv(tag, c[i:])
}

// A berDecoder takes elements from the front of its bytes.
type berDecoder []byte

// next takes one element.
func (d *berDecoder) next() (tag byte, content []byte, err error) {
	b := *d
	if len(b) < 2 {
		return 0, nil, errBERShort
	}
	tag = b[0]
	if tag&0x1f == 0x1f {
		return 0, nil, errBERTag
	}
	n, head := int(b[1]), 2
	if n >= 0x80 {
		k := n & 0x7f
		if k == 0 || k > 4 {
			return 0, nil, errBERLength
		}
		if len(b) < 2+k {
			return 0, nil, errBERShort
		}
		n = 0
		for _, c := range b[2 : 2+k] {
			n = n<<8 | int(c)
		}
		head = 2 + k
	}
	if n > maxMessage {
		return 0, nil, errBERLength
	}
	if len(b)-head < n {
		return 0, nil, errBERShort
	}
	*d = b[head+n:]
	return tag, b[head : head+n : head+n], nil
}

// expect takes one element that must have the given tag.
func (d *berDecoder) expect(want byte) ([]byte, error) {
	tag, c, err := d.next()
	if err != nil {
		return nil, err
	}
	if tag != want {
		return nil, fmt.Errorf("%w: %#02x instead of %#02x", errBERTag, tag, want)
	}
	return c, nil
}

// integer takes an INTEGER or ENUMERATED that fits 32 bits.
func (d *berDecoder) integer(tag byte) (int64, error) {
	c, err := d.expect(tag)
	if err != nil {
		return 0, err
	}
	if len(c) == 0 || len(c) > 5 {
		return 0, errBERLength
	}
	v := int64(int8(c[0]))
	for _, x := range c[1:] {
		v = v<<8 | int64(x)
	}
	return v, nil
}

// readFrame reads one LDAP message: a SEQUENCE, header included. It returns
// io.EOF only if the stream ends between two messages.
func readFrame(r *bufio.Reader) ([]byte, error) {
	head, err := r.Peek(2)
	if err != nil {
		if len(head) > 0 && errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	if head[0] != 0x30 {
		return nil, &Error{Kind: ErrProtocol, Op: "reading message", Detail: fmt.Sprintf("it begins with %#02x", head[0])}
	}
	size, k := int(head[1]), 0
	if size >= 0x80 {
		k = size & 0x7f
		if k == 0 || k > 4 {
			return nil, &Error{Kind: ErrProtocol, Op: "reading message", Err: errBERLength}
		}
		if head, err = r.Peek(2 + k); err != nil {
			return nil, unexpectedEOF(err)
		}
		size = 0
		for _, c := range head[2:] {
			size = size<<8 | int(c)
		}
	}
	if size > maxMessage {
		return nil, &Error{Kind: ErrLimit, Op: "reading message", Detail: fmt.Sprintf("message of %d bytes exceeds %d", size, maxMessage)}
	}
	frame := make([]byte, 2+k+size)
	if _, err := io.ReadFull(r, frame); err != nil {
		return nil, unexpectedEOF(err)
	}
	return frame, nil
}

func unexpectedEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
