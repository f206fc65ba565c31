package dc

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana/chksumtype"
	"github.com/jcmturner/gokrb5/v8/iana/flags"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

// Flags of a GSS-API context (RFC 4121 4.1.1.1).
const (
	gssMutual   = 2
	gssReplay   = 4
	gssSequence = 8
	gssConf     = 16
	gssInteg    = 32
)

// oidKRB5 is the Kerberos mechanism, 1.2.840.113554.1.2.2, as DER.
var oidKRB5 = [...]byte{0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02}

// A gssContext is the initiator's side of a Kerberos security context
// (RFC 4121). Wrapping and unwrapping may happen in two goroutines; each of them
// in one at a time.
type gssContext struct {
	ticketKey types.EncryptionKey
	auth      types.Authenticator

	key            types.EncryptionKey // of the context, set by accept
	acceptorSubkey bool
	sendSeq        uint64
	recvSeq        uint64
	sealer         *aesCipher
	opener         *aesCipher
}

// newGSS returns a context and its first token, an AP-REQ (RFC 4121 4.1).
// Mutual authentication is always asked for.
func (k *kerberos) newGSS(t ticket, gssFlags uint32, bindings []byte) (*gssContext, []byte, error) {
	cname, crealm := k.identity()
	auth, err := newAuthenticator(crealm, cname, k.cfg.Now())
	if err != nil {
		return nil, nil, err
	}
	et, err := crypto.GetEtype(t.key.KeyType)
	if err != nil {
		return nil, nil, err
	}
	if err := auth.GenerateSeqNumberAndSubKey(t.key.KeyType, et.GetKeyByteSize()); err != nil {
		return nil, nil, err
	}
	sum := make([]byte, 24)
	binary.LittleEndian.PutUint32(sum, 16)
	copy(sum[4:20], bindings)
	binary.LittleEndian.PutUint32(sum[20:], gssFlags|gssMutual)
	auth.Cksum = types.Checksum{CksumType: chksumtype.GSSAPI, Checksum: sum}
	req, err := messages.NewAPReq(t.tkt, t.key, auth)
	if err != nil {
		return nil, nil, err
	}
	types.SetFlag(&req.APOptions, flags.APOptionMutualRequired)
	b, err := req.Marshal()
	if err != nil {
		return nil, nil, err
	}
	g := &gssContext{ticketKey: t.key, auth: auth, sendSeq: uint64(auth.SeqNumber)}
	return g, tlv(0x60, oidKRB5[:], []byte{1, 0}, b), nil
}

// accept checks the server's token: only who holds the key of the ticket can
// repeat the time of the authenticator (RFC 4120 3.2.4).
func (g *gssContext) accept(token []byte) error {
	kind, body, err := parseGSSToken(token)
	if err != nil {
		return err
	}
	switch kind {
	case 0x0200:
	case 0x0300:
		return parseKRBError(body)
	default:
		return fmt.Errorf("security token of type %#04x", kind)
	}
	var part messages.EncAPRepPart
	err = guard("reading AP-REP", func() error {
		var rep messages.APRep
		if err := rep.Unmarshal(body); err != nil {
			return err
		}
		b, err := crypto.DecryptEncPart(rep.EncPart, g.ticketKey, keyusage.AP_REP_ENCPART)
		if err != nil {
			return err
		}
		return part.Unmarshal(b)
	})
	if err != nil {
		return err
	}
	if part.CTime.Unix() != g.auth.CTime.Unix() || part.Cusec != g.auth.Cusec {
		return errors.New("the server's proof of identity is for another request")
	}
	g.key = g.auth.SubKey
	if len(part.Subkey.KeyValue) > 0 {
		g.key, g.acceptorSubkey = part.Subkey, true
	}
	if !strong(g.key.KeyType) {
		return &Error{Kind: ErrNoStrongKey, Op: "agreeing on a key", Detail: fmt.Sprintf("the server chose encryption type %d", g.key.KeyType)}
	}
	g.recvSeq = uint64(uint32(part.SequenceNumber)) //nolint:gosec // some servers encode it as a negative number
	if g.sealer, err = newCipher(g.key, keyusage.GSSAPI_INITIATOR_SEAL); err != nil {
		return err
	}
	g.opener, err = newCipher(g.key, keyusage.GSSAPI_ACCEPTOR_SEAL)
	return err
}

// parseGSSToken takes off the framing of RFC 2743 3.1 and returns the token
// identifier of RFC 4121 4.1 with what follows it.
func parseGSSToken(b []byte) (kind uint16, body []byte, err error) {
	d := berDecoder(b)
	c, err := d.expect(0x60)
	if err != nil {
		return 0, nil, fmt.Errorf("security token: %w", err)
	}
	rest, ok := bytes.CutPrefix(c, oidKRB5[:])
	if !ok || len(rest) < 2 {
		return 0, nil, errors.New("security token is not Kerberos")
	}
	return binary.BigEndian.Uint16(rest), rest[2:], nil
}

// Wrap tokens, RFC 4121 4.2.6.2.
const (
	wrapHeader       = 16
	wrapFromAcceptor = 1
	wrapSealed       = 2
	wrapSubkey       = 4
)

func (g *gssContext) header(sealed bool, ec uint16) [wrapHeader]byte {
	h := [wrapHeader]byte{0: 0x05, 1: 0x04, 3: 0xff}
	if sealed {
		h[2] |= wrapSealed
	}
	if g.acceptorSubkey {
		h[2] |= wrapSubkey
	}
	binary.BigEndian.PutUint16(h[4:], ec)
	binary.BigEndian.PutUint64(h[8:], g.sendSeq)
	return h
}

// seal returns an encrypted wrap token.
func (g *gssContext) seal(payload []byte) ([]byte, error) {
	h := g.header(true, 0)
	plain := make([]byte, 0, len(payload)+wrapHeader)
	plain = append(append(plain, payload...), h[:]...)
	b, err := g.sealer.seal(plain)
	if err != nil {
		return nil, err
	}
	g.sendSeq++
	return append(h[:], b...), nil
}

// sign returns a wrap token with integrity only, for the end of the SASL
// negotiation.
func (g *gssContext) sign(payload []byte) ([]byte, error) {
	h := g.header(false, 0)
	sum, err := g.checksum(append(bytes.Clone(payload), h[:]...), keyusage.GSSAPI_INITIATOR_SEAL)
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint16(h[4:], uint16(len(sum)))
	g.sendSeq++
	return append(append(h[:], payload...), sum...), nil
}

func (g *gssContext) checksum(data []byte, usage uint32) ([]byte, error) {
	et, err := crypto.GetEtype(g.key.KeyType)
	if err != nil {
		return nil, err
	}
	return et.GetChecksumHash(g.key.KeyValue, data, usage)
}

// mic returns a token that signs data without containing it (RFC 4121 4.2.6.1).
func (g *gssContext) mic(data []byte) ([]byte, error) {
	h := [wrapHeader]byte{0x04, 0x04, 0, 0xff, 0xff, 0xff, 0xff, 0xff}
	if g.acceptorSubkey {
		h[2] = wrapSubkey
	}
	binary.BigEndian.PutUint64(h[8:], g.sendSeq)
	sum, err := g.checksum(append(bytes.Clone(data), h[:]...), keyusage.GSSAPI_INITIATOR_SIGN)
	if err != nil {
		return nil, err
	}
	g.sendSeq++
	return append(h[:], sum...), nil
}

// unwrap checks a wrap token of the server and returns its payload. Tokens must
// arrive in sequence: the transport is a stream, so a gap, a repetition or a
// change of order means that someone meddled. token may be overwritten.
func (g *gssContext) unwrap(token []byte, sealed bool) ([]byte, error) {
	if len(token) < wrapHeader {
		return nil, fmt.Errorf("token of %d bytes", len(token))
	}
	h := [wrapHeader]byte(token[:wrapHeader])
	want := byte(wrapFromAcceptor)
	if sealed {
		want |= wrapSealed
	}
	if g.acceptorSubkey {
		want |= wrapSubkey
	}
	switch {
	case h[0] != 0x05 || h[1] != 0x04 || h[3] != 0xff:
		return nil, errors.New("not a wrap token")
	case h[2] != want:
		return nil, fmt.Errorf("token with flags %#02x instead of %#02x", h[2], want)
	}
	ec := int(binary.BigEndian.Uint16(h[4:]))
	body := token[wrapHeader:]
	rotateLeft(body, int(binary.BigEndian.Uint16(h[6:])))
	var err error
	if sealed {
		body, err = g.openSealed(body, h, ec)
	} else {
		body, err = g.openSigned(body, h, ec)
	}
	if err != nil {
		return nil, err
	}
	// The number is looked at only now that it is known to be genuine.
	if seq := binary.BigEndian.Uint64(h[8:]); seq != g.recvSeq {
		return nil, fmt.Errorf("token number %d instead of %d: repeated, lost or out of order", seq, g.recvSeq)
	}
	g.recvSeq++
	return body, nil
}

// openSealed decrypts payload | filler | header; the inner header must equal the
// outer one but for the rotation.
func (g *gssContext) openSealed(body []byte, h [wrapHeader]byte, ec int) ([]byte, error) {
	plain, err := g.opener.open(body)
	if err != nil {
		return nil, err
	}
	n := len(plain) - wrapHeader - ec
	if n < 0 {
		return nil, errors.New("decrypted token is too short")
	}
	h[6], h[7] = 0, 0
	inner := [wrapHeader]byte(plain[n+ec:])
	inner[6], inner[7] = 0, 0 // Windows copies the header with its rotation
	if !hmac.Equal(inner[:], h[:]) {
		return nil, errIntegrity
	}
	return plain[:n], nil
}

// openSigned checks payload | checksum.
func (g *gssContext) openSigned(body []byte, h [wrapHeader]byte, ec int) ([]byte, error) {
	if ec > len(body) {
		return nil, errors.New("signed token is too short")
	}
	payload, sum := body[:len(body)-ec], body[len(body)-ec:]
	h[4], h[5], h[6], h[7] = 0, 0, 0, 0
	good, err := g.checksum(append(bytes.Clone(payload), h[:]...), keyusage.GSSAPI_ACCEPTOR_SEAL)
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(good, sum) {
		return nil, errIntegrity
	}
	return payload, nil
}

// rotateLeft undoes a right rotation by n (RFC 4121 4.2.5).
func rotateLeft(b []byte, n int) {
	if len(b) == 0 {
		return
	}
	if n %= len(b); n == 0 {
		return
	}
	head := bytes.Clone(b[:n])
	copy(b, b[n:])
	copy(b[len(b)-n:], head)
}

// channelBindings returns the hash that ties a Kerberos exchange to the TLS
// connection that it runs in. Domain controllers may be set to require it.
func channelBindings(state *tls.ConnectionState) []byte {
	if state == nil || len(state.PeerCertificates) == 0 {
		return nil
	}
	return bindings(EndPoint(state.PeerCertificates[0]))
}

// EndPoint returns the hash of a server's certificate that ties what is said in a TLS
// connection to that server (tls-server-end-point, RFC 5929 4.1).
func EndPoint(cert *x509.Certificate) []byte {
	switch cert.SignatureAlgorithm {
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS:
		s := sha512.Sum384(cert.Raw)
		return s[:]
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS:
		s := sha512.Sum512(cert.Raw)
		return s[:]
	default:
		s := sha256.Sum256(cert.Raw)
		return s[:]
	}
}

// bindings returns the hash of channel bindings (RFC 4121 4.1.1.2) with an end point and
// no addresses.
func bindings(endpoint []byte) []byte {
	data := append([]byte("tls-server-end-point:"), endpoint...)
	b := make([]byte, 16, 20+len(data)) // no addresses
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	h := md5.Sum(append(b, data...)) //nolint:gosec // the protocol demands MD5
	return h[:]
}
