package dc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"time"

	ldap "github.com/go-ldap/ldap/v3"
)

// A PortProbe tells whether one TCP port of a server answers.
type PortProbe struct {
	Port    uint16
	Service string
	Latency time.Duration // of the connection; meaningless if Err is set
	Err     error
}

// A Certificate is what matters about one certificate of a chain.
type Certificate struct {
	Subject, Issuer     string
	DNSNames            []string
	NotBefore, NotAfter time.Time
}

// A TLSProbe tells about the TLS of one port. The chain is filled in even if it
// was not accepted.
type TLSProbe struct {
	Port    uint16
	Version string // "TLS 1.3"
	Cipher  string
	Chain   []Certificate // as sent, the server's own first
	Err     error         // why the handshake or the verification ended early
}

// Expires returns when the first certificate of the chain ends, zero if there
// is none.
func (p TLSProbe) Expires() time.Time {
	var first time.Time
	for _, c := range p.Chain {
		if first.IsZero() || c.NotAfter.Before(first) {
			first = c.NotAfter
		}
	}
	return first
}

// A ServerProbe is what can be learned about a domain controller without
// authenticating.
type ServerProbe struct {
	Server  Server
	Ports   []PortProbe
	TLS     []TLSProbe
	Root    RootDSE // holds the time difference in Skew
	RootErr error
}

// An AuthProbe tells how one way of authenticating went.
type AuthProbe struct {
	Transport Transport
	Bind      Bind
	Sealed    bool   // encrypted by Kerberos
	TLS       string // version, empty if TLS is not used
	Skipped   bool   // not tried, because an earlier refusal of the credentials would repeat
	Err       error
}

// An Account is who the directory takes us for.
type Account struct {
	Principal   string   // user@REALM with Kerberos, the given name otherwise
	DN          string   // empty if the account's object cannot be seen
	SID         []byte   // binary; nil if unknown
	TokenGroups [][]byte // binary SIDs in the token of this connection, as the server evaluated it
}

// probedPorts are the ports that a complete assessment uses.
var probedPorts = [...]struct {
	port    uint16
	service string
}{
	{88, "Kerberos"}, {389, "LDAP"}, {445, "SMB"}, {636, "LDAPS"}, {3268, "global catalog"}, {3269, "global catalog over TLS"},
}

// ProbeServer tries the ports of a server, its TLS and its rootDSE. It sends no
// credentials.
func ProbeServer(ctx context.Context, cfg Config, s Server) (ServerProbe, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return ServerProbe{}, err
	}
	p := ServerProbe{Server: s}
	for _, t := range probedPorts {
		p.Ports = append(p.Ports, cfg.probePort(ctx, s, t.port, t.service))
	}
	plain := cfg
	plain.Transport = Sealed // dials port 389 without TLS; nothing secret is sent
	c, err := dialConn(ctx, plain, s)
	if err != nil {
		p.RootErr = err
	} else {
		p.Root, p.RootErr = c.rootDSE(ctx, cfg.Now)
		c.close()
	}
	if p.Server.Name == "" {
		p.Server.Name = p.Root.DNSHostName
	}
	p.TLS = append(p.TLS, cfg.probeTLS(ctx, p.Server, 636), cfg.probeTLS(ctx, p.Server, 389))
	return p, ctx.Err()
}

func (c Config) probePort(ctx context.Context, s Server, port uint16, service string) PortProbe {
	ctx, cancel := context.WithTimeout(ctx, min(c.Timeout, 5*time.Second))
	defer cancel()
	p := PortProbe{Port: port, Service: service}
	begin := c.Now()
	nc, err := c.Dial(ctx, "tcp", netip.AddrPortFrom(s.Addr, port).String())
	if err != nil {
		p.Err = dialError(ctx, fmt.Sprintf("connecting to port %d", port), s, err)
		return p
	}
	p.Latency = c.Now().Sub(begin)
	_ = nc.Close()
	return p
}

// probeTLS shakes hands on port 636, or on 389 after StartTLS.
func (c Config) probeTLS(ctx context.Context, s Server, port uint16) TLSProbe {
	p := TLSProbe{Port: port}
	c.Transport = LDAPS
	if port == 389 {
		c.Transport = StartTLS
	}
	conn, err := dialConn(ctx, c, s)
	if err != nil {
		p.Err = err
		var bad *tls.CertificateVerificationError
		if errors.As(err, &bad) {
			p.Chain = describeChain(bad.UnverifiedCertificates)
		}
		return p
	}
	defer conn.close()
	p.Version, p.Cipher = tls.VersionName(conn.tls.Version), tls.CipherSuiteName(conn.tls.CipherSuite)
	p.Chain = describeChain(conn.tls.PeerCertificates)
	return p
}

func describeChain(certs []*x509.Certificate) []Certificate {
	chain := make([]Certificate, 0, len(certs))
	for _, c := range certs {
		chain = append(chain, Certificate{Subject: c.Subject.String(), Issuer: c.Issuer.String(), DNSNames: c.DNSNames, NotBefore: c.NotBefore, NotAfter: c.NotAfter})
	}
	return chain
}

// ProbeAuth tries the configured credentials over each transport that the kind
// of bind allows. After the directory has refused the credentials the others
// are skipped: further attempts could lock the account.
func ProbeAuth(ctx context.Context, cfg Config) []AuthProbe {
	var probes []AuthProbe
	refused := false
	for _, t := range []Transport{Sealed, LDAPS, StartTLS} {
		if cfg.Bind == Simple && t == Sealed {
			continue
		}
		p := AuthProbe{Transport: t, Bind: cfg.Bind, Skipped: refused}
		if !refused {
			cfg.Transport = t
			p = probeAuth(ctx, cfg)
			refused = credentialsRefused(p.Err)
		}
		probes = append(probes, p)
	}
	return probes
}

func probeAuth(ctx context.Context, cfg Config) AuthProbe {
	p := AuthProbe{Transport: cfg.Transport, Bind: cfg.Bind}
	r, err := Open(ctx, cfg)
	if err != nil {
		p.Err = err
		return p
	}
	defer func() { _ = r.Close() }()
	p.Sealed, p.TLS = r.Security()
	return p
}

func credentialsRefused(err error) bool {
	switch KindOf(err) {
	case ErrWrongPassword, ErrUnknownUser, ErrLockedOut, ErrDisabled, ErrRevoked, ErrPasswordExpired, ErrAccountExpired, ErrLogonRestricted, ErrNoCredentials, ErrTicketExpired, ErrNoStrongKey:
		return true
	}
	return false
}

// Security tells how the Reader's connections are protected: by Kerberos
// sealing, or by the TLS version returned.
func (r *Reader) Security() (sealed bool, tlsVersion string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.security.sealed, r.security.tls
}

// WhoAmI asks the directory for the account of this Reader and the groups in
// its token.
func (r *Reader) WhoAmI(ctx context.Context) (Account, error) {
	a := Account{Principal: r.cfg.Credentials.Principal()}
	if r.auth != nil {
		a.Principal = r.auth.principal()
	}
	_, err := r.Search(ctx, Request{Attributes: []string{"tokenGroups"}}, func(e Entry) error {
		a.TokenGroups = e.Values("tokenGroups")
		return nil
	})
	if err != nil {
		return a, err
	}
	user, _ := splitPrincipal(a.Principal, "")
	q := Request{
		Base: r.Root().DefaultNC, Scope: ScopeSubtree, Attributes: []string{"objectSid"},
		Filter: fmt.Sprintf("(|(sAMAccountName=%s)(userPrincipalName=%s))", ldap.EscapeFilter(user), ldap.EscapeFilter(a.Principal)),
	}
	_, err = r.Search(ctx, q, func(e Entry) error {
		if sid := e.Values("objectSid"); len(sid) == 1 && a.SID == nil {
			a.DN, a.SID = e.DN, sid[0]
		}
		return nil
	})
	return a, err
}
