package dc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// A Transport is how LDAP travels. Each of them encrypts.
type Transport uint8

const (
	// Sealed is port 389 with Kerberos encryption of every message (RFC 4752).
	Sealed Transport = iota
	// LDAPS is port 636: TLS from the first byte.
	LDAPS
	// StartTLS is port 389 upgraded to TLS before anything else is sent.
	StartTLS
)

// String returns the name used in configuration.
func (t Transport) String() string {
	switch t {
	case Sealed:
		return "sealed"
	case LDAPS:
		return "ldaps"
	case StartTLS:
		return "starttls"
	}
	return fmt.Sprintf("transport %d", uint8(t))
}

// ParseTransport is the inverse of String.
func ParseTransport(s string) (Transport, error) {
	for _, t := range []Transport{Sealed, LDAPS, StartTLS} {
		if strings.EqualFold(s, t.String()) {
			return t, nil
		}
	}
	return 0, &Error{Kind: ErrConfig, Op: "reading transport", Detail: fmt.Sprintf("%q is none of sealed, ldaps, starttls", s)}
}

// A Bind is how the account proves who it is.
type Bind uint8

const (
	// Kerberos is SASL GSSAPI with mutual authentication.
	Kerberos Bind = iota
	// Simple sends user name and password; allowed only inside verified TLS.
	Simple
)

// Config says which domain controller to read, and how. Domain or Server must
// be set; everything else has a default.
type Config struct {
	Domain      string        // DNS name of the domain; learned from Server if empty
	Server      string        // DNS name or address of a domain controller; skips discovery
	DNS         string        // host[:port] of the DNS server to ask; empty: the system's resolver
	Site        string        // Active Directory site whose controllers come first
	Transport   Transport     //
	Bind        Bind          //
	Credentials Credentials   //
	CAFile      string        // PEM file with further root certificates
	Timeout     time.Duration // for connecting and for each answer of the server; default 30 s
	PageSize    int           // entries per page; default 1000
	NoFailover  bool          // never continue with another domain controller

	// Dial makes TCP and UDP connections; nil means net.Dialer. Addresses are
	// always numeric.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

const (
	defaultTimeout  = 30 * time.Second
	defaultPageSize = 1000
)

// withDefaults returns c with every default filled in, or says what is wrong.
func (c Config) withDefaults() (Config, error) {
	c.Domain = strings.TrimSuffix(strings.ToLower(c.Domain), ".")
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	if c.PageSize <= 0 {
		c.PageSize = defaultPageSize
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Domain == "" && c.Server == "" {
		return c, &Error{Kind: ErrConfig, Op: "connecting", Detail: "neither a domain nor a server is named", Advice: "name the domain with --domain"}
	}
	return c, c.checkBind()
}

// checkBind refuses combinations that would be unsafe or cannot work, before
// anything is sent.
func (c Config) checkBind() error {
	if c.Bind != Simple {
		return nil
	}
	if c.Transport == Sealed {
		return &Error{Kind: ErrPlaintext, Op: "binding", Server: c.Server, Detail: "a simple bind on port 389 without TLS would show the password to the network"}
	}
	if c.Credentials.kind != credPassword {
		return &Error{Kind: ErrConfig, Op: "binding", Server: c.Server, Detail: "a simple bind needs a user name and a password"}
	}
	// RFC 4513 5.1.2: a bind with a name and no password counts as anonymous.
	if c.Credentials.principal == "" || c.Credentials.secret == "" {
		return &Error{Kind: ErrConfig, Op: "binding", Server: c.Server, Detail: "user name or password is empty"}
	}
	return nil
}

// tlsConfig returns the TLS settings for a server of the given name.
func (c Config) tlsConfig(name string) (*tls.Config, error) {
	t := &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12, Time: c.Now}
	if c.CAFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, &Error{Kind: ErrConfig, Op: "reading root certificates", Err: err}
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, &Error{Kind: ErrConfig, Op: "reading root certificates", Detail: c.CAFile + " holds no certificate in PEM form"}
	}
	t.RootCAs = pool
	return t, nil
}
