package server

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"sync"
)

// endpoints remember which certificate each connection was made with: the server may have
// another one by the time of a request. The zero value is ready for use.
type endpoints struct{ conns sync.Map } // of *endpoint by the connection beneath TLS

// An endpoint is the server's end of one connection. It is written in the handshake,
// which comes before everything that reads it.
type endpoint struct{ hash []byte }

// beneath is what a TLS connection runs over.
func beneath(c net.Conn) net.Conn {
	if t, ok := c.(*tls.Conn); ok {
		return t.NetConn()
	}
	return c
}

// begin is for [http.Server.ConnContext].
func (e *endpoints) begin(ctx context.Context, c net.Conn) context.Context {
	here := &endpoint{}
	e.conns.Store(beneath(c), here)
	return context.WithValue(ctx, keyEndpoint, here)
}

// end is for [http.Server.ConnState].
func (e *endpoints) end(c net.Conn, state http.ConnState) {
	if state == http.StateClosed || state == http.StateHijacked {
		e.conns.Delete(beneath(c))
	}
}

// noting makes handshakes note their certificate. Sessions of TLS are not resumed, since
// that shows no certificate.
func (e *endpoints) noting(c *tls.Config) *tls.Config {
	get := c.GetCertificate
	c.SessionTicketsDisabled = true
	c.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := get(hello)
		if err != nil {
			return nil, err
		}
		if here, ok := e.conns.Load(hello.Conn); ok {
			here.(*endpoint).hash = endpointHash(cert.Certificate[0]) //nolint:forcetypeassert // nothing else is stored
		}
		return cert, nil
	}
	return c
}

// endpointOf is what Kerberos tokens may be tied to: the hash of the certificate that the
// connection was made with (tls-server-end-point, RFC 5929 4.1); nil without TLS.
func endpointOf(ctx context.Context) []byte {
	if here, ok := ctx.Value(keyEndpoint).(*endpoint); ok {
		return here.hash
	}
	return nil
}

func endpointHash(der []byte) []byte {
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil
	}
	switch leaf.SignatureAlgorithm {
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS:
		h := sha512.Sum384(der)
		return h[:]
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS:
		h := sha512.Sum512(der)
		return h[:]
	}
	h := sha256.Sum256(der)
	return h[:]
}
