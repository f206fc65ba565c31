package dc

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// A Server is one domain controller.
type Server struct {
	Name string     // DNS name, lower case, without trailing dot
	Addr netip.Addr // where it was reached
}

// String returns name and address.
func (s Server) String() string {
	switch {
	case s.Name == "":
		return s.Addr.String()
	case !s.Addr.IsValid():
		return s.Name
	}
	return s.Name + " " + s.Addr.String()
}

const readBuffer = 64 << 10

// A conn is one LDAP connection. It serves one request at a time and starts no
// goroutine; a request that ends early leaves it unusable (broken).
type conn struct {
	nc      net.Conn // with the security layers
	raw     net.Conn // without them
	br      *bufio.Reader
	server  Server
	timeout time.Duration
	lastID  int64
	age     int // of the lane when it was made
	broken  bool
	tls     *tls.ConnectionState
	sealed  bool
}

// dialConn connects and, for LDAPS and StartTLS, finishes the TLS handshake.
func dialConn(ctx context.Context, cfg Config, s Server) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	port := uint16(389)
	if cfg.Transport == LDAPS {
		port = 636
	}
	addr := netip.AddrPortFrom(s.Addr, port).String()
	nc, err := cfg.Dial(ctx, "tcp", addr)
	if err != nil {
		return nil, dialError(ctx, "connecting to port "+strconv.Itoa(int(port)), s, err)
	}
	c := &conn{nc: nc, raw: nc, br: bufio.NewReaderSize(nc, readBuffer), server: s, timeout: cfg.Timeout}
	switch cfg.Transport {
	case LDAPS:
		err = c.startTLS(ctx, cfg)
	case StartTLS:
		if err = c.requestTLS(ctx); err == nil {
			err = c.startTLS(ctx, cfg)
		}
	}
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	return c, nil
}

func dialError(ctx context.Context, op string, s Server, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return &Error{Kind: ErrCanceled, Op: op, Server: s.String(), Err: context.Cause(ctx)}
	}
	return &Error{Kind: ErrUnreachable, Op: op, Server: s.String(), Err: err}
}

// requestTLS sends the StartTLS request (RFC 4511 4.14). Whatever the server
// sends behind its answer in clear is refused.
func (c *conn) requestTLS(ctx context.Context) error {
	m, err := c.roundTrip(ctx, "starting TLS", tlv(opExtendedRequest, berString(0x80, oidStartTLS)), nil)
	if err != nil {
		return err
	}
	if m.op != opExtendedResponse {
		return c.protocolError("starting TLS", fmt.Errorf("answer has tag %#02x", m.op))
	}
	r, err := parseResult(m.body)
	if err != nil {
		return c.protocolError("starting TLS", err)
	}
	if r.code != resultSuccess {
		return resultError("starting TLS", c.server.String(), r)
	}
	if c.br.Buffered() > 0 {
		return &Error{Kind: ErrTampered, Op: "starting TLS", Server: c.server.String(), Detail: "unencrypted bytes follow the server's answer"}
	}
	return nil
}

// startTLS performs the handshake and verifies the server's name.
func (c *conn) startTLS(ctx context.Context, cfg Config) error {
	conf, err := cfg.tlsConfig(c.server.tlsName())
	if err != nil {
		return err
	}
	t := tls.Client(c.nc, conf)
	if err := t.HandshakeContext(ctx); err != nil {
		return tlsError(ctx, c.server, err)
	}
	state := t.ConnectionState()
	c.tls = &state
	c.replace(t)
	return nil
}

// replace puts a security layer in place.
func (c *conn) replace(nc net.Conn) {
	c.nc = nc
	c.br.Reset(nc)
}

// tlsName is the name that the certificate must bear.
func (s Server) tlsName() string {
	if s.Name != "" {
		return s.Name
	}
	return s.Addr.String()
}

func tlsError(ctx context.Context, s Server, err error) error {
	e := &Error{Kind: ErrTLS, Op: "starting TLS", Server: s.String(), Err: err}
	var (
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &host):
		e.Kind = ErrWrongHost
	case errors.As(err, &unknown):
		e.Kind = ErrUntrusted
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		e.Kind = ErrCertExpired
	case ctx.Err() != nil:
		return ioError(ctx, e.Op, e.Server, err)
	}
	return e
}

// watch makes every wait on the connection end when ctx does. The returned
// function must be called when the request is over.
func (c *conn) watch(ctx context.Context) (stop func()) {
	nc := c.nc
	end := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	return func() { end() }
}

// arm gives the server its time for the next answer. The context is looked at
// after the deadline is set, so that a cancellation in between is not lost.
func (c *conn) arm(ctx context.Context) error {
	if err := c.nc.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		return err
	}
	return ctx.Err()
}

// send writes one request and returns its message ID.
func (c *conn) send(ctx context.Context, op []byte, controls []byte) (int64, error) {
	c.lastID++
	if err := c.arm(ctx); err != nil {
		c.broken = true
		return 0, err
	}
	if _, err := c.nc.Write(encodeMessage(c.lastID, op, controls)); err != nil {
		c.broken = true
		return 0, err
	}
	return c.lastID, nil
}

// receive reads the next message of the request id. An unsolicited notice of
// disconnection (RFC 4511 4.4.1) and answers to anything else are errors.
func (c *conn) receive(ctx context.Context, id int64) (message, error) {
	if c.br.Buffered() == 0 {
		if err := c.arm(ctx); err != nil {
			c.broken = true
			return message{}, err
		}
	}
	frame, err := readFrame(c.br)
	if err != nil {
		c.broken = true
		return message{}, err
	}
	m, err := parseMessage(frame)
	if err != nil {
		return message{}, c.protocolError("reading answer", err)
	}
	switch m.id {
	case id:
		return m, nil
	case 0:
		c.broken = true
		r, err := parseResult(m.body)
		if err != nil {
			return message{}, c.protocolError("reading notice", err)
		}
		return message{}, &Error{
			Kind: ErrConnectionLost, Op: "reading answer", Server: c.server.String(),
			Detail: fmt.Sprintf("the server disconnects: %s (result %d)", r.text, r.code),
		}
	}
	return message{}, c.protocolError("reading answer", fmt.Errorf("message ID %d instead of %d", m.id, id))
}

func (c *conn) protocolError(op string, err error) error {
	c.broken = true
	return &Error{Kind: ErrProtocol, Op: op, Server: c.server.String(), Err: err}
}

// roundTrip sends a request that has one answer.
func (c *conn) roundTrip(ctx context.Context, doing string, op []byte, controls []byte) (message, error) {
	defer c.watch(ctx)()
	id, err := c.send(ctx, op, controls)
	if err != nil {
		return message{}, ioError(ctx, doing, c.server.String(), err)
	}
	m, err := c.receive(ctx, id)
	if err != nil {
		return message{}, ioError(ctx, doing, c.server.String(), err)
	}
	return m, nil
}

// close says goodbye and closes the connection. It closes the bare one: a TLS
// farewell could wait for a server that reads no more.
func (c *conn) close() {
	if !c.broken {
		c.broken = true
		c.lastID++
		_ = c.nc.SetDeadline(time.Now().Add(time.Second))
		_, _ = c.nc.Write(encodeMessage(c.lastID, []byte{opUnbindRequest, 0}, nil))
	}
	_ = c.raw.Close()
}

// stale reports whether an idle connection was closed by the server.
func (c *conn) stale() bool {
	if c.broken || c.br.Buffered() > 0 {
		return true
	}
	_ = c.nc.SetReadDeadline(time.Unix(1, 0))
	_, err := c.br.Peek(1)
	var ne net.Error
	return !errors.As(err, &ne) || !ne.Timeout()
}

// simpleBind sends user name and password (RFC 4513 5.1.3). It is the last line
// of defence: without TLS it sends nothing.
func (c *conn) simpleBind(ctx context.Context, cred Credentials) error {
	const doing = "binding with user name and password"
	if c.tls == nil || len(c.tls.VerifiedChains) == 0 {
		return &Error{Kind: ErrPlaintext, Op: doing, Server: c.server.String()}
	}
	req := tlv(opBindRequest, berInt(0x02, 3), berString(0x04, cred.principal), berString(0x80, cred.secret))
	m, err := c.roundTrip(ctx, doing, req, nil)
	clear(req)
	if err != nil {
		return err
	}
	r, err := c.bindResult(doing, m)
	if err != nil {
		return err
	}
	if r.code != resultSuccess {
		return bindError(doing, c.server.String(), r)
	}
	return nil
}

func (c *conn) bindResult(doing string, m message) (result, error) {
	if m.op != opBindResponse {
		return result{}, c.protocolError(doing, fmt.Errorf("answer has tag %#02x", m.op))
	}
	r, err := parseResult(m.body)
	if err != nil {
		return result{}, c.protocolError(doing, err)
	}
	return r, nil
}

// lookup reads one object; it is for rootDSE and ranges, not for scans.
func (c *conn) lookup(ctx context.Context, q Request, controls []byte) ([]Entry, result, error) {
	doing := "reading " + strconv.Quote(q.Base)
	if q.Base == "" {
		doing = "reading the rootDSE"
	}
	filter, err := encodeFilter(q.filter())
	if err != nil {
		return nil, result{}, err
	}
	defer c.watch(ctx)()
	id, err := c.send(ctx, encodeSearch(q, filter), controls)
	if err != nil {
		return nil, result{}, ioError(ctx, doing, c.server.String(), err)
	}
	var entries []Entry
	for {
		m, err := c.receive(ctx, id)
		if err != nil {
			return nil, result{}, ioError(ctx, doing, c.server.String(), err)
		}
		switch m.op {
		case opSearchEntry:
			e, err := parseEntry(m.body, names{})
			if err != nil {
				return nil, result{}, c.protocolError(doing, err)
			}
			entries = append(entries, e)
		case opSearchReference:
		case opSearchDone:
			r, err := parseResult(m.body)
			if err != nil {
				return nil, result{}, c.protocolError(doing, err)
			}
			return entries, r, nil
		default:
			return nil, result{}, c.protocolError(doing, fmt.Errorf("answer has tag %#02x", m.op))
		}
	}
}

// subErrors are the reasons that Windows gives inside the text of a failed
// bind, "… data 52e, …" ([MS-ERREF] 2.2, hexadecimal Win32 codes). Samba sends
// NT status codes instead.
var subErrors = [...]struct {
	text string
	kind Kind
}{
	{"data 525,", ErrUnknownUser},
	{"NT_STATUS_NO_SUCH_USER", ErrUnknownUser},
	{"data 52e,", ErrWrongPassword},
	{"NT_STATUS_WRONG_PASSWORD", ErrWrongPassword},
	{"NT_STATUS_LOGON_FAILURE", ErrWrongPassword},
	{"data 530,", ErrLogonRestricted},
	{"NT_STATUS_INVALID_LOGON_HOURS", ErrLogonRestricted},
	{"data 531,", ErrLogonRestricted},
	{"NT_STATUS_INVALID_WORKSTATION", ErrLogonRestricted},
	{"data 569,", ErrLogonRestricted},
	{"NT_STATUS_ACCOUNT_RESTRICTION", ErrLogonRestricted},
	{"data 532,", ErrPasswordExpired},
	{"NT_STATUS_PASSWORD_EXPIRED", ErrPasswordExpired},
	{"data 533,", ErrDisabled},
	{"NT_STATUS_ACCOUNT_DISABLED", ErrDisabled},
	{"data 701,", ErrAccountExpired},
	{"NT_STATUS_ACCOUNT_EXPIRED", ErrAccountExpired},
	{"data 773,", ErrPasswordExpired},
	{"NT_STATUS_PASSWORD_MUST_CHANGE", ErrPasswordExpired},
	{"data 775,", ErrLockedOut},
	{"NT_STATUS_ACCOUNT_LOCKED_OUT", ErrLockedOut},
}

// bindError explains a refused bind.
func bindError(op, server string, r result) error {
	e := resultError(op, server, r)
	if r.code != resultInvalidCredentials {
		return e
	}
	for _, s := range subErrors {
		if bytes.Contains([]byte(r.text), []byte(s.text)) {
			e.Kind = s.kind
			return e
		}
	}
	e.Kind = ErrWrongPassword
	return e
}

// resultError turns a result code into an error.
func resultError(op, server string, r result) *Error {
	e := &Error{Op: op, Server: server, Detail: r.text, Kind: ErrServer}
	switch r.code {
	case resultTimeLimit:
		e.Kind = ErrTimeLimit
	case resultSizeLimit:
		e.Kind = ErrSizeLimit
	case resultAdminLimit:
		e.Kind = ErrAdminLimit
	case resultStrongAuthRequired, resultConfidentiality:
		e.Kind = ErrStrongAuthRequired
	case resultReferral:
		e.Kind = ErrReferral
		e.Detail = fmt.Sprintf("%v", r.referrals)
	case resultCriticalExtension:
		e.Kind = ErrUnsupported
	case resultNoSuchObject:
		e.Kind = ErrNoSuchObject
	case resultInvalidCredentials:
		e.Kind = ErrWrongPassword
	case resultAccessDenied:
		e.Kind = ErrAccessDenied
	case resultBusy:
		e.Kind = ErrBusy
	case resultUnavailable:
		e.Kind = ErrUnavailable
	default:
		e.Detail = fmt.Sprintf("result code %d: %s", r.code, r.text)
	}
	return e
}
