package dc

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
)

// Security layers of SASL GSSAPI (RFC 4752 3.3).
const (
	layerNone   = 1
	layerSealed = 4
)

// maxSASLFrame bounds one encrypted frame; it is what we tell the server that
// we accept.
const maxSASLFrame = 0x00ffffff

// bind authenticates with SASL GSSAPI. Without TLS the connection is encrypted
// from then on, or the bind is refused; inside TLS it is tied to the TLS
// connection and no second layer is added.
func (k *kerberos) bind(ctx context.Context, c *conn, domain string) error {
	const doing = "binding with Kerberos"
	host := c.server.Name
	if host == "" {
		return &Error{Kind: ErrConfig, Op: doing, Server: c.server.String(), Detail: "its DNS name is unknown"}
	}
	// The three-part name is held by domain controllers only: a member server
	// cannot stand in for one.
	t, err := k.service(ctx, domain, c.server.Addr, "ldap/"+host+"/"+domain, "ldap/"+host)
	if err != nil {
		return err
	}
	want := uint32(gssReplay | gssSequence | gssConf | gssInteg)
	layer := byte(layerSealed)
	if c.tls != nil {
		want, layer = gssInteg, layerNone
	}
	g, token, err := k.newGSS(t, want, channelBindings(c.tls))
	if err != nil {
		return &Error{Kind: ErrConfig, Op: doing, Server: c.server.String(), Err: err}
	}
	r, err := c.saslStep(ctx, doing, token)
	if err != nil {
		return k.saslError(doing, c, err)
	}
	if err := g.accept(r.sasl); err != nil {
		c.broken = true
		return k.saslError(doing, c, err)
	}
	return k.negotiate(ctx, c, g, layer)
}

// negotiate agrees on the security layer and puts it in place.
func (k *kerberos) negotiate(ctx context.Context, c *conn, g *gssContext, layer byte) error {
	const doing = "agreeing on a security layer"
	r, err := c.saslStep(ctx, doing, []byte{})
	if err != nil {
		return k.saslError(doing, c, err)
	}
	offer, err := g.unwrap(append([]byte(nil), r.sasl...), false)
	if err != nil || len(offer) != 4 {
		c.broken = true
		return &Error{Kind: ErrTampered, Op: doing, Server: c.server.String(), Err: err}
	}
	if offer[0]&layer == 0 {
		c.broken = true
		return &Error{Kind: ErrNotSealed, Op: doing, Server: c.server.String(), Detail: fmt.Sprintf("it offers the layers %#02x", offer[0])}
	}
	answer := []byte{layer, 0, 0, 0}
	if layer == layerSealed {
		binary.BigEndian.PutUint32(answer, uint32(layer)<<24|maxSASLFrame)
	}
	token, err := g.sign(answer)
	if err != nil {
		return &Error{Kind: ErrConfig, Op: doing, Server: c.server.String(), Err: err}
	}
	m, err := c.roundTrip(ctx, doing, saslBind(token), nil)
	if err != nil {
		return err
	}
	if r, err = c.bindResult(doing, m); err != nil {
		return err
	}
	if r.code != resultSuccess {
		return bindError(doing, c.server.String(), r)
	}
	if layer == layerSealed {
		limit := int(binary.BigEndian.Uint32(offer) & 0x00ffffff)
		c.seal(g, limit)
	}
	return nil
}

func saslBind(token []byte) []byte {
	return tlv(opBindRequest, berInt(0x02, 3), berString(0x04, ""), tlv(0xa3, berString(0x04, "GSSAPI"), tlv(0x04, token)))
}

// saslStep sends a token and expects the server to go on.
func (c *conn) saslStep(ctx context.Context, doing string, token []byte) (result, error) {
	m, err := c.roundTrip(ctx, doing, saslBind(token), nil)
	if err != nil {
		return result{}, err
	}
	r, err := c.bindResult(doing, m)
	if err != nil {
		return r, err
	}
	if r.code == resultSaslInProgress {
		return r, nil
	}
	if r.code == resultSuccess {
		return r, c.protocolError(doing, fmt.Errorf("the server ends the negotiation early"))
	}
	// A KRB-ERROR in the credentials says more than the result code.
	if kind, body, err := parseGSSToken(r.sasl); err == nil && kind == 0x0300 {
		return r, parseKRBError(body)
	}
	return r, bindError(doing, c.server.String(), r)
}

// saslError explains a failed step.
func (k *kerberos) saslError(doing string, c *conn, err error) error {
	err = k.explain(doing, c.server.String(), err)
	if KindOf(err) != 0 {
		return err
	}
	return &Error{Kind: ErrTampered, Op: doing, Server: c.server.String(), Detail: "the server did not prove its identity", Err: err}
}

// seal encrypts the connection from the next byte on. Bytes that have arrived
// already belong to the encrypted stream.
func (c *conn) seal(g *gssContext, limit int) {
	s := &sealedConn{Conn: c.nc, in: c.br, g: g, server: c.server.String(), limit: limit}
	c.nc = s
	c.br = bufio.NewReaderSize(s, readBuffer)
	c.sealed = true
}

// A sealedConn is a connection with a SASL security layer: each frame is a
// four-byte length and an encrypted wrap token (RFC 4422 3.7, RFC 4752 3.3).
type sealedConn struct {
	net.Conn
	in     *bufio.Reader
	g      *gssContext
	server string
	limit  int // longest frame that the server accepts, 0: unknown
	buf    []byte
	plain  []byte // decrypted and not yet read
}

// Read returns decrypted bytes. A frame that is not genuine is an error, and no
// byte of it is returned.
func (s *sealedConn) Read(p []byte) (int, error) {
	for len(s.plain) == 0 {
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.plain)
	s.plain = s.plain[n:]
	return n, nil
}

func (s *sealedConn) fill() error {
	var head [4]byte
	if _, err := io.ReadFull(s.in, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxSASLFrame {
		return &Error{Kind: ErrTampered, Op: "reading encrypted frame", Server: s.server, Detail: fmt.Sprintf("frame of %d bytes", n)}
	}
	if uint32(cap(s.buf)) < n {
		s.buf = make([]byte, n)
	}
	b := s.buf[:n]
	if _, err := io.ReadFull(s.in, b); err != nil {
		return unexpectedEOF(err)
	}
	plain, err := s.g.unwrap(b, true)
	if err != nil {
		return &Error{Kind: ErrTampered, Op: "reading encrypted frame", Server: s.server, Err: err}
	}
	s.plain = plain
	return nil
}

// Write encrypts p, in as many frames as the server's limit demands.
func (s *sealedConn) Write(p []byte) (int, error) {
	size := len(p)
	if room := s.limit - wrapHeader*2 - sealOverhead; s.limit > 0 && room > 0 {
		size = min(size, room)
	}
	sent := 0
	for sent < len(p) {
		part := p[sent:min(sent+size, len(p))]
		token, err := s.g.seal(part)
		if err != nil {
			return sent, err
		}
		frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(token)), uint32(len(token)))
		if _, err := s.Conn.Write(append(frame, token...)); err != nil {
			return sent, err
		}
		sent += len(part)
	}
	return sent, nil
}
