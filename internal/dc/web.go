package dc

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
)

// A Fingerprint is the SHA-256 of a certificate in DER form.
type Fingerprint [sha256.Size]byte

// ParseFingerprint reads 64 hexadecimal digits, with or without colons or spaces
// between them.
func ParseFingerprint(s string) (Fingerprint, error) {
	var f Fingerprint
	b, err := hex.DecodeString(strings.NewReplacer(":", "", " ", "").Replace(s))
	if err != nil || len(b) != len(f) {
		return f, &Error{Kind: ErrConfig, Op: "reading a fingerprint", Detail: fmt.Sprintf("%q is not the SHA-256 of a certificate: 64 hexadecimal digits", s)}
	}
	copy(f[:], b)
	return f, nil
}

// String returns 64 hexadecimal digits.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// A WebServer is an HTTPS server that takes Kerberos.
type WebServer struct {
	Host string       // DNS name, which its certificate and service principal name bear
	Port uint16       // 0: 443
	Pin  *Fingerprint // of the only certificate that is accepted; nil: verified by authorities
}

// address returns host:port as it stands in URLs; the default port is left out.
func (s WebServer) address() string {
	if s.Port == 0 || s.Port == 443 {
		return s.Host
	}
	return net.JoinHostPort(s.Host, strconv.Itoa(int(s.Port)))
}

// A Web sends HTTP requests to one HTTPS server, each with a Kerberos ticket of its
// own (RFC 4559), tied to the TLS connection (RFC 5929 4). It is an
// [http.RoundTripper] that refuses every other server and scheme, so that no
// redirect carries a ticket elsewhere. NTLM and Basic are not offered.
//
// Nothing is sent before the certificate was verified. If the server answers with a
// proof of its identity, that is checked as well, and a wrong one is an error.
// It is safe for concurrent use.
type Web struct {
	cfg     Config
	server  WebServer
	domains []string // to which the server may belong, the likeliest first
	auth    *kerberos
	http    *http.Transport

	mu     sync.Mutex // guards what follows
	leaf   []byte     // certificate that tickets are tied to; nil before the first connection
	spare  net.Conn   // made to learn it and not used yet
	proved int        // answers that proved the server's identity
}

// errOtherLeaf says that a new connection showed another certificate than the one
// that the request's ticket is tied to.
var errOtherLeaf = errors.New("the server shows another certificate than before")

// NewWeb returns a Web for the server. Of cfg it uses what is about finding the KDC,
// Credentials, CAFile, Timeout, Dial and Now; Domain is the domain of the account, and
// of the server unless only that of its name knows it. By default both belong to the
// domain of the server's name. Nothing is sent yet.
func NewWeb(cfg Config, server WebServer) (*Web, error) {
	const doing = "connecting to a web server"
	server.Host = strings.TrimSuffix(strings.ToLower(server.Host), ".")
	_, domain, dotted := strings.Cut(server.Host, ".")
	if _, err := netip.ParseAddr(server.Host); err == nil || !dotted || strings.ContainsAny(server.Host, "/:@?#%\\ ") {
		return nil, &Error{
			Kind: ErrConfig, Op: doing, Server: server.Host, Detail: "Kerberos needs the full DNS name of the server",
			Advice: "give the name that its certificate and its service principal name bear, such as cm1.contoso.com",
		}
	}
	if cfg.Bind == Simple {
		return nil, &Error{Kind: ErrConfig, Op: doing, Server: server.Host, Detail: "only Kerberos authenticates to it", Advice: "leave out --bind simple"}
	}
	if cfg.Domain == "" {
		cfg.Domain = domain
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	cfg.Credentials = cfg.Credentials.in(cfg.Domain)
	w := &Web{cfg: cfg, server: server, auth: newKerberos(cfg), domains: []string{cfg.Domain}}
	if domain != cfg.Domain {
		w.domains = append(w.domains, domain)
	}
	w.http = &http.Transport{
		DialTLSContext: w.dialTLS, DisableCompression: true, MaxResponseHeaderBytes: 1 << 20,
		MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute,
	}
	return w, nil
}

// URL returns the address of path on the server.
func (w *Web) URL(path string) string { return "https://" + w.server.address() + path }

// Principal returns user@REALM once the first ticket was got.
func (w *Web) Principal() string { return w.auth.principal() }

// Proofs returns how many answers proved the server's identity by Kerberos; TLS
// proved it for all.
func (w *Web) Proofs() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.proved
}

// Close closes idle connections.
func (w *Web) Close() {
	w.mu.Lock()
	spare := w.spare
	w.spare = nil
	w.mu.Unlock()
	if spare != nil {
		_ = spare.Close()
	}
	w.http.CloseIdleConnections()
}

// RoundTrip sends a request with a new ticket. A refusal that the server explains
// in Kerberos' terms is an [*Error]; other refusals are answers with their status.
func (w *Web) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" || !strings.EqualFold(req.URL.Host, w.server.address()) {
		return nil, &Error{
			Kind: ErrConfig, Op: "sending a request", Server: w.server.Host,
			Detail: fmt.Sprintf("%s://%s is not the server that was named", req.URL.Scheme, req.URL.Host), Advice: "name the server itself: tickets are not sent elsewhere",
		}
	}
	if req.Body != nil && req.Body != http.NoBody {
		_ = req.Body.Close()
		return nil, &Error{Kind: ErrConfig, Op: "sending a request", Server: w.server.Host, Detail: "requests with a body are not sent"}
	}
	for try := 0; ; try++ {
		resp, err := w.send(req)
		if !errors.Is(err, errOtherLeaf) || try == 2 {
			return resp, err
		}
	}
}

// send makes one attempt.
func (w *Web) send(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	state, err := w.connection(ctx)
	if err != nil {
		return nil, err
	}
	g, header, err := w.authorize(ctx, state)
	if err != nil {
		return nil, err
	}
	out := req.Clone(ctx)
	out.Header.Set("Authorization", header)
	resp, err := w.http.RoundTrip(out)
	if err != nil {
		if errors.Is(err, errOtherLeaf) {
			return nil, err
		}
		return nil, ioError(ctx, "asking "+req.URL.Path, w.server.Host, err)
	}
	if err := w.checkAnswer(g, resp); err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// connection makes a connection if the server's certificate is not known yet, and
// returns what tickets are tied to.
func (w *Web) connection(ctx context.Context) (*tls.ConnectionState, error) {
	w.mu.Lock()
	leaf := w.leaf
	w.mu.Unlock()
	if leaf == nil {
		c, err := w.handshake(ctx)
		if err != nil {
			return nil, err
		}
		leaf = c.ConnectionState().PeerCertificates[0].Raw
		w.mu.Lock()
		w.leaf = leaf
		old := w.spare
		w.spare = c
		w.mu.Unlock()
		if old != nil {
			_ = old.Close()
		}
	}
	cert, err := x509.ParseCertificate(leaf)
	if err != nil {
		return nil, &Error{Kind: ErrProtocol, Op: "reading the certificate", Server: w.server.Host, Err: err}
	}
	return &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}, nil
}

// dialTLS gives the transport a connection to the server.
func (w *Web) dialTLS(ctx context.Context, _, _ string) (net.Conn, error) {
	w.mu.Lock()
	spare, leaf := w.spare, w.leaf
	w.spare = nil
	w.mu.Unlock()
	if spare != nil {
		return spare, nil
	}
	c, err := w.handshake(ctx)
	if err != nil {
		return nil, err
	}
	if now := c.ConnectionState().PeerCertificates[0].Raw; leaf != nil && string(now) != string(leaf) {
		w.mu.Lock()
		w.leaf = now
		w.mu.Unlock()
		_ = c.Close()
		return nil, errOtherLeaf
	}
	return c, nil
}

// handshake connects to the first address of the server that answers, and verifies
// its certificate.
func (w *Web) handshake(ctx context.Context) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.Timeout)
	defer cancel()
	addrs, err := w.cfg.lookupHost(ctx, w.server.Host)
	if err != nil {
		return nil, err
	}
	port := w.server.Port
	if port == 0 {
		port = 443
	}
	var nc net.Conn
	for _, a := range addrs {
		if nc, err = w.cfg.Dial(ctx, "tcp", netip.AddrPortFrom(a, port).String()); err == nil {
			break
		}
	}
	if err != nil {
		err := dialError(ctx, "connecting to port "+strconv.Itoa(int(port)), Server{Name: w.server.Host}, err)
		var e *Error
		if errors.As(err, &e) && e.Kind == ErrUnreachable {
			e.Advice = "check the name of the server, that it is running, and that no firewall blocks the port"
		}
		return nil, err
	}
	conf, err := w.tlsConfig()
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	c := tls.Client(nc, conf)
	if err := c.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return nil, w.untrusted(tlsError(ctx, Server{Name: w.server.Host}, err), err)
	}
	return c, nil
}

// tlsConfig returns the settings of TLS: verification by authorities, or by the
// pinned certificate and nothing else.
func (w *Web) tlsConfig() (*tls.Config, error) {
	conf, err := w.cfg.tlsConfig(w.server.Host)
	if err != nil || w.server.Pin == nil {
		return conf, err
	}
	conf.InsecureSkipVerify = true //nolint:gosec // replaced by a stricter check: this one certificate
	conf.VerifyConnection = func(s tls.ConnectionState) error {
		leaf := s.PeerCertificates[0]
		got := Fingerprint(sha256.Sum256(leaf.Raw))
		if subtle.ConstantTimeCompare(got[:], w.server.Pin[:]) != 1 {
			return &Error{
				Kind: ErrUntrusted, Op: "starting TLS", Server: w.server.Host,
				Detail: fmt.Sprintf("the server shows the certificate %s, not the pinned %s", got, *w.server.Pin),
				Advice: "if the certificate was renewed, read its SHA-256 on the server itself and pin that; if not, somebody stands between",
			}
		}
		if now := w.cfg.Now(); now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
			return &Error{Kind: ErrCertExpired, Op: "starting TLS", Server: w.server.Host, Detail: "the pinned certificate", Advice: "renew the certificate on the server and pin the new one, and check the clock of this machine"}
		}
		return nil
	}
	return conf, nil
}

// untrusted adds to a certificate that nobody vouches for what it is, so that an
// administrator can compare it on the server.
func (w *Web) untrusted(err, cause error) error {
	var e *Error
	if errors.As(cause, &e) { // of the pin
		return e
	}
	if !errors.As(err, &e) {
		return err
	}
	switch e.Kind {
	case ErrUntrusted:
		e.Advice = "give the root certificate of its authority with --ca"
		var v *tls.CertificateVerificationError
		if errors.As(cause, &v) && len(v.UnverifiedCertificates) > 0 {
			e.Advice += fmt.Sprintf(", or read the certificate's SHA-256 on the server itself and, if it is %s, pin it with --pin", Fingerprint(sha256.Sum256(v.UnverifiedCertificates[0].Raw)))
		}
	case ErrWrongHost:
		e.Advice = "use the name that the certificate bears, or pin the certificate with --pin"
	case ErrCertExpired:
		e.Advice = "renew the server's certificate, and check the clock of this machine"
	case ErrTLS:
		e.Advice = "check that the server speaks TLS 1.2 or later on this port"
	}
	return e
}

// authorize returns a security context and the header that carries its token.
func (w *Web) authorize(ctx context.Context, state *tls.ConnectionState) (*gssContext, string, error) {
	var near netip.Addr
	if w.cfg.Server != "" {
		servers, err := w.cfg.namedServer(ctx)
		if err != nil {
			return nil, "", err
		}
		near = servers[0].Addr
	}
	var (
		t   ticket
		err error
		spn = "HTTP/" + w.server.Host
	)
	for _, domain := range w.domains {
		if t, err = w.auth.service(ctx, domain, near, spn); KindOf(err) != ErrUnknownService {
			break
		}
		near = netip.Addr{} // is a domain controller of the first
	}
	if err != nil {
		return nil, "", w.unknownService(err, spn)
	}
	g, token, err := w.auth.newGSS(t, gssInteg, channelBindings(state))
	if err != nil {
		return nil, "", &Error{Kind: ErrConfig, Op: "making a Kerberos token", Server: w.server.Host, Err: err}
	}
	return g, "Negotiate " + base64.StdEncoding.EncodeToString(negotiationInit(token)), nil
}

func (w *Web) unknownService(err error, spn string) error {
	var e *Error
	if errors.As(err, &e) && e.Kind == ErrUnknownService {
		e.Advice = fmt.Sprintf("check that %s is the full DNS name of a computer of %s, and that its account bears %s or HOST/%s: setspn -Q %s", w.server.Host, strings.Join(w.domains, " or "), spn, w.server.Host, spn)
	}
	return err
}

// checkAnswer checks the token of the server's answer, if it has one.
func (w *Web) checkAnswer(g *gssContext, resp *http.Response) error {
	const doing = "authenticating with Kerberos"
	for _, h := range resp.Header.Values("WWW-Authenticate") {
		scheme, text, ok := strings.Cut(strings.TrimSpace(h), " ")
		if !ok || !strings.EqualFold(scheme, "Negotiate") {
			continue
		}
		token, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
		if err != nil {
			return &Error{Kind: ErrProtocol, Op: doing, Server: w.server.Host, Detail: "the token of the answer is not base64"}
		}
		proved, err := g.finish(token)
		if err == nil && proved {
			w.mu.Lock()
			w.proved++
			w.mu.Unlock()
		}
		if err == nil || resp.StatusCode == http.StatusUnauthorized && KindOf(err) == 0 && !isKDCError(err) {
			return nil // a plain refusal, which the caller explains
		}
		return w.tokenError(doing, err)
	}
	return nil
}

func isKDCError(err error) bool {
	var ke *kdcError
	return errors.As(err, &ke)
}

// tokenError explains why a server's token was not accepted, or why it did not
// accept ours.
func (w *Web) tokenError(doing string, err error) error {
	var ke *kdcError
	if errors.As(err, &ke) && ke.code == errorcode.KRB_AP_ERR_MODIFIED {
		return &Error{
			Kind: ErrServer, Op: doing, Server: w.server.Host, Err: ke, Detail: "it cannot open the ticket",
			Advice: fmt.Sprintf("HTTP/%s is probably registered for another account than the one that the service runs as: setspn -Q HTTP/%s", w.server.Host, w.server.Host),
		}
	}
	err = w.auth.explain(doing, w.server.Host, err)
	if KindOf(err) != 0 {
		return err
	}
	return &Error{Kind: ErrTampered, Op: doing, Server: w.server.Host, Detail: "the server did not prove its identity", Err: err}
}
