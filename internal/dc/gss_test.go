package dc

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/types"
)

func testKey(t testing.TB, et int32) types.EncryptionKey {
	t.Helper()
	e, err := crypto.GetEtype(et)
	if err != nil {
		t.Fatal(err)
	}
	key := types.EncryptionKey{KeyType: et, KeyValue: make([]byte, e.GetKeyByteSize())}
	if _, err := rand.Read(key.KeyValue); err != nil {
		t.Fatal(err)
	}
	return key
}

// The fast cipher must equal gokrb5's in both directions, for every length of
// the last block.
func TestCipherAgainstGokrb5(t *testing.T) {
	for _, et := range strongTypes {
		key := testKey(t, et)
		c, err := newCipher(key, keyusage.GSSAPI_ACCEPTOR_SEAL)
		if err != nil {
			t.Fatal(err)
		}
		e, _ := crypto.GetEtype(et)
		for n := range 70 {
			plain := make([]byte, n)
			_, _ = rand.Read(plain)
			sealed, err := c.seal(plain)
			if err != nil {
				t.Fatal(err)
			}
			if len(sealed) != n+sealOverhead {
				t.Errorf("type %d, %d bytes: sealed %d, overhead %d", et, n, len(sealed), sealOverhead)
			}
			got, err := e.DecryptMessage(key.KeyValue, sealed, keyusage.GSSAPI_ACCEPTOR_SEAL)
			if err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("type %d, %d bytes: gokrb5 opens % x, %v", et, n, got, err)
			}
			_, theirs, err := e.EncryptMessage(key.KeyValue, plain, keyusage.GSSAPI_ACCEPTOR_SEAL)
			if err != nil {
				t.Fatal(err)
			}
			if got, err = c.open(theirs); err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("type %d, %d bytes: we open % x, %v", et, n, got, err)
			}
		}
	}
}

// The vectors of RFC 3962 appendix B: AES-128 CBC with ciphertext stealing under
// the key "chicken teriyaki".
func TestCTSVectors(t *testing.T) {
	input := "I would like the General Gau's Chicken, please, and wonton soup."
	want := map[int]string{
		17: "c6353568f2bf8cb4d8a580362da7ff7f97",
		31: "fc00783e0efdb2c1d445d4c8eff7ed2297687268d6ecccc0c07b25e25ecfe5",
		32: "39312523a78662d5be7fcbcc98ebf5a897687268d6ecccc0c07b25e25ecfe584",
		47: "97687268d6ecccc0c07b25e25ecfe584b3fffd940c16a18c1b5549d2f838029e39312523a78662d5be7fcbcc98ebf5",
		48: "97687268d6ecccc0c07b25e25ecfe5849dad8bbb96c4cdc03bc103e1a194bbd839312523a78662d5be7fcbcc98ebf5a8",
		64: "97687268d6ecccc0c07b25e25ecfe58439312523a78662d5be7fcbcc98ebf5a84807efe836ee89a526730dbc2f7bc8409dad8bbb96c4cdc03bc103e1a194bbd8",
	}
	c := rawAES(t, []byte("chicken teriyaki"))
	for n, w := range want {
		b := append(make([]byte, 0, n+block), input[:n]...)
		c.encryptCTS(b)
		if got := hex.EncodeToString(b); got != w {
			t.Errorf("%d bytes: %s, want %s", n, got, w)
		}
		c.decryptCTS(b)
		if string(b) != input[:n] {
			t.Errorf("%d bytes do not come back: %q", n, b)
		}
	}
}

// pair returns the initiator's context and a function that makes the acceptor's
// tokens.
func pair(t testing.TB, et int32) (*gssContext, func(payload []byte, o tokenOptions) []byte) {
	t.Helper()
	key := testKey(t, et)
	g := &gssContext{key: key, acceptorSubkey: true, recvSeq: 41, sendSeq: 7}
	var err error
	if g.sealer, err = newCipher(key, keyusage.GSSAPI_INITIATOR_SEAL); err != nil {
		t.Fatal(err)
	}
	if g.opener, err = newCipher(key, keyusage.GSSAPI_ACCEPTOR_SEAL); err != nil {
		t.Fatal(err)
	}
	acceptor, err := newCipher(key, keyusage.GSSAPI_ACCEPTOR_SEAL)
	if err != nil {
		t.Fatal(err)
	}
	return g, func(payload []byte, o tokenOptions) []byte { return acceptorToken(t, acceptor, payload, o) }
}

type tokenOptions struct {
	seq    uint64
	rrc    uint16
	filler uint16
	flags  byte
	inner  func(h []byte) // changes the encrypted copy of the header
}

func acceptorToken(t testing.TB, c *aesCipher, payload []byte, o tokenOptions) []byte {
	t.Helper()
	h := make([]byte, wrapHeader)
	h[0], h[1], h[2], h[3] = 5, 4, o.flags, 0xff
	binary.BigEndian.PutUint16(h[4:], o.filler)
	binary.BigEndian.PutUint64(h[8:], o.seq)
	inner := bytes.Clone(h)
	if o.inner != nil {
		o.inner(inner)
	}
	plain := append(append(bytes.Clone(payload), make([]byte, o.filler)...), inner...)
	body, err := c.seal(plain)
	if err != nil {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint16(h[6:], o.rrc)
	if n := int(o.rrc) % len(body); n > 0 { // right rotation
		body = append(bytes.Clone(body[len(body)-n:]), body[:len(body)-n]...)
	}
	return append(h, body...)
}

const sealedByAcceptor = wrapFromAcceptor | wrapSealed | wrapSubkey

func TestUnwrapAccepts(t *testing.T) {
	for _, et := range strongTypes {
		g, token := pair(t, et)
		for i, o := range []tokenOptions{
			{},
			{rrc: 28},              // Windows
			{rrc: 16, filler: 16},  // another habit of Windows
			{rrc: 65535},           // more than the body
			{rrc: 12, filler: 300}, // filler longer than the payload
			{inner: func(h []byte) { h[7] = 28 }, rrc: 28},
		} {
			o.flags, o.seq = sealedByAcceptor, uint64(41+i)
			got, err := g.unwrap(token([]byte("payload"), o), true)
			if err != nil || string(got) != "payload" {
				t.Errorf("type %d, case %d: %q, %v", et, i, got, err)
			}
		}
	}
}

func TestUnwrapRefuses(t *testing.T) {
	good := tokenOptions{flags: sealedByAcceptor, seq: 41}
	with := func(change func(*tokenOptions)) tokenOptions { o := good; change(&o); return o }
	for name, o := range map[string]tokenOptions{
		"replayed number":      with(func(o *tokenOptions) { o.seq = 40 }),
		"skipped number":       with(func(o *tokenOptions) { o.seq = 42 }),
		"reflected":            with(func(o *tokenOptions) { o.flags = wrapSealed | wrapSubkey }),
		"not sealed":           with(func(o *tokenOptions) { o.flags = wrapFromAcceptor | wrapSubkey }),
		"other key":            with(func(o *tokenOptions) { o.flags = wrapFromAcceptor | wrapSealed }),
		"inner number differs": with(func(o *tokenOptions) { o.inner = func(h []byte) { h[15]++ } }),
		"inner flags differ":   with(func(o *tokenOptions) { o.inner = func(h []byte) { h[2] ^= wrapSealed } }),
		"inner filler differs": with(func(o *tokenOptions) { o.inner = func(h []byte) { h[5]++ } }),
	} {
		g, token := pair(t, etypeID.AES256_CTS_HMAC_SHA1_96)
		if got, err := g.unwrap(token([]byte("payload"), o), true); err == nil {
			t.Errorf("%s: accepted as %q", name, got)
		}
	}
	// Every single changed bit must be noticed.
	g, token := pair(t, etypeID.AES128_CTS_HMAC_SHA1_96)
	whole := token([]byte("payload"), good)
	for i := range len(whole) * 8 {
		b := bytes.Clone(whole)
		b[i/8] ^= 1 << (i % 8)
		if got, err := g.unwrap(b, true); err == nil {
			t.Errorf("bit %d changed: accepted as %q", i, got)
		}
	}
	for n := range whole {
		if got, err := g.unwrap(bytes.Clone(whole[:n]), true); err == nil {
			t.Errorf("%d of %d bytes: accepted as %q", n, len(whole), got)
		}
	}
	if _, err := g.unwrap(whole, true); err != nil {
		t.Errorf("the genuine token after all those: %v", err)
	}
}

// sealedPair returns a sealed connection and the raw other end of it.
func sealedPair(t *testing.T) (s *sealedConn, raw net.Conn, token func([]byte, tokenOptions) []byte) {
	t.Helper()
	a, b := net.Pipe()
	t.Cleanup(func() { _ = a.Close(); _ = b.Close() })
	g, token := pair(t, etypeID.AES256_CTS_HMAC_SHA1_96)
	return &sealedConn{Conn: a, in: bufio.NewReader(a), g: g, server: "dc1"}, b, token
}

func frame(token []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(token))), token...)
}

// Frames that are repeated, dropped, exchanged or too large end the connection
// with ErrTampered; what was read before stays good.
func TestSealedConnRefusesMeddling(t *testing.T) {
	mk := func(token func([]byte, tokenOptions) []byte, seq uint64) []byte {
		return frame(token([]byte{byte('0' + seq - 41)}, tokenOptions{flags: sealedByAcceptor, seq: seq}))
	}
	for name, c := range map[string]struct {
		order []uint64
		good  string
	}{
		"repeated":  {[]uint64{41, 41}, "0"},
		"dropped":   {[]uint64{41, 43}, "0"},
		"exchanged": {[]uint64{41, 43, 42}, "0"},
		"in order":  {[]uint64{41, 42, 43}, "012"},
	} {
		s, raw, token := sealedPair(t)
		go func() {
			defer func() { _ = raw.Close() }()
			for _, seq := range c.order {
				if _, err := raw.Write(mk(token, seq)); err != nil {
					return
				}
			}
		}()
		got, err := io.ReadAll(s)
		if string(got) != c.good {
			t.Errorf("%s: read %q, want %q", name, got, c.good)
		}
		if tampered := errors.Is(err, ErrTampered); tampered != (name != "in order") {
			t.Errorf("%s: %v", name, err)
		}
	}
	s, raw, _ := sealedPair(t)
	go func() { _, _ = raw.Write([]byte{0x7f, 0, 0, 0}) }()
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, ErrTampered) {
		t.Errorf("frame of 2 GiB: %v, want %v", err, ErrTampered)
	}
}

// What we write is encrypted, numbered, and cut to the server's limit.
func TestSealedConnWrites(t *testing.T) {
	s, raw, _ := sealedPair(t)
	s.limit = 200
	key, seq := s.g.key, s.g.sendSeq
	msg := bytes.Repeat([]byte("secret DN, "), 50)
	go func() { _, _ = s.Write(msg); _ = s.Conn.Close() }()
	all, err := io.ReadAll(raw)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(all, []byte("secret")) {
		t.Error("plain text is on the wire")
	}
	e, _ := crypto.GetEtype(key.KeyType)
	var back []byte
	for len(all) > 0 {
		n := binary.BigEndian.Uint32(all)
		if n > 200 {
			t.Errorf("frame of %d bytes", n)
		}
		tok := all[4 : 4+n]
		all = all[4+n:]
		if got := binary.BigEndian.Uint64(tok[8:]); got != seq {
			t.Errorf("token number %d, want %d", got, seq)
		}
		seq++
		plain, err := e.DecryptMessage(key.KeyValue, tok[wrapHeader:], keyusage.GSSAPI_INITIATOR_SEAL)
		if err != nil {
			t.Fatal(err)
		}
		back = append(back, plain[:len(plain)-wrapHeader]...)
	}
	if !bytes.Equal(back, msg) {
		t.Error("the message does not come back")
	}
}

// A simple bind without verified TLS sends nothing, even when asked directly.
func TestSimpleBindNeedsTLS(t *testing.T) {
	a, b := net.Pipe()
	defer func() { _ = a.Close() }()
	sent := make(chan int)
	go func() { n, _ := io.Copy(io.Discard, b); sent <- int(n) }()
	c := &conn{nc: a, raw: a, br: bufio.NewReader(a)}
	if err := c.simpleBind(context.Background(), Password("u", "p")); !errors.Is(err, ErrPlaintext) {
		t.Errorf("%v, want %v", err, ErrPlaintext)
	}
	_ = a.Close()
	if n := <-sent; n != 0 {
		t.Errorf("%d bytes were sent", n)
	}
}

func FuzzUnwrap(f *testing.F) {
	g, token := pair(f, etypeID.AES128_CTS_HMAC_SHA1_96)
	f.Add(token([]byte("payload"), tokenOptions{flags: sealedByAcceptor, seq: 41}), true)
	f.Add(token([]byte("x"), tokenOptions{flags: sealedByAcceptor, seq: 41, rrc: 28, filler: 16}), true)
	f.Add([]byte{5, 4, wrapFromAcceptor | wrapSubkey, 0xff, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 41, 1, 2, 3}, false)
	f.Fuzz(func(t *testing.T, b []byte, sealed bool) {
		g := *g // a genuine token may advance the number
		other := testKey(t, g.key.KeyType)
		g.key = other
		g.opener, _ = newCipher(other, keyusage.GSSAPI_ACCEPTOR_SEAL)
		if got, err := g.unwrap(bytes.Clone(b), sealed); err == nil {
			t.Fatalf("accepted as %q under an unknown key", got)
		}
	})
}

func FuzzGSSToken(f *testing.F) {
	f.Add(tlv(0x60, oidKRB5[:], []byte{2, 0}, []byte{0x6f, 0}))
	f.Add(tlv(0x60, oidKRB5[:], []byte{3, 0}, []byte{0x7e, 0}))
	key := testKey(f, etypeID.AES256_CTS_HMAC_SHA1_96)
	f.Fuzz(func(t *testing.T, b []byte) {
		g := &gssContext{ticketKey: key}
		if err := g.accept(b); err == nil {
			t.Fatal("accepted without knowing the key")
		}
	})
}
