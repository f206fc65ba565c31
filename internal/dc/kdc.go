package dc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/messages"
)

// maxKDCReply bounds one answer of a KDC; tickets with large authorization data
// stay below 64 KiB.
const maxKDCReply = 1 << 20

// guard runs code of gokrb5 on bytes from outside. That library indexes some of
// them unchecked; a panic there is a malformed message, not a fault of ours.
func guard(op string, fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &Error{Kind: ErrProtocol, Op: op, Detail: fmt.Sprint(p)}
		}
	}()
	return fn()
}

// A kdcError is a KRB-ERROR (RFC 4120 5.9.1).
type kdcError struct {
	code   int32
	text   string
	edata  []byte
	server time.Time
}

func (e *kdcError) Error() string {
	s := errorcode.Lookup(e.code)
	if e.text != "" {
		s += ": " + e.text
	}
	return s
}

// exchange sends one request to the first KDC of the realm that answers.
func (k *kerberos) exchange(ctx context.Context, realm string, near netip.Addr, req []byte) ([]byte, error) {
	op := "asking the KDC of " + realm
	addrs, err := k.kdcs(ctx, realm, near)
	if err != nil {
		return nil, &Error{Kind: ErrKDCUnreachable, Op: op, Err: err}
	}
	var errs []error
	for _, a := range addrs {
		b, err := k.ask(ctx, a, req)
		if err == nil {
			return b, kdcRefusal(b)
		}
		if ctx.Err() != nil {
			return nil, ioError(ctx, op, a, err)
		}
		errs = append(errs, err)
	}
	return nil, &Error{Kind: ErrKDCUnreachable, Op: op, Server: strings.Join(addrs, ", "), Err: errors.Join(errs...)}
}

// kdcRefusal returns the KRB-ERROR that b is, nil if it is something else.
func kdcRefusal(b []byte) error {
	if len(b) == 0 || b[0] != 0x7e { // [APPLICATION 30]
		return nil
	}
	return parseKRBError(b)
}

func parseKRBError(b []byte) error {
	var ke messages.KRBError
	if err := guard("reading the KDC's error", func() error { return ke.Unmarshal(b) }); err != nil {
		return err
	}
	return &kdcError{code: ke.ErrorCode, text: strings.TrimRight(ke.EText, "\x00"), edata: ke.EData, server: ke.STime}
}

// kdcs returns host:port of the KDCs of a realm. A domain controller is always
// a KDC of its domain, so the one in use comes first.
func (k *kerberos) kdcs(ctx context.Context, realm string, near netip.Addr) ([]string, error) {
	var addrs []string
	if near.IsValid() {
		addrs = append(addrs, netip.AddrPortFrom(near, 88).String())
		if k.cfg.Server != "" {
			return addrs, nil
		}
	}
	hosts, err := k.cfg.locate(ctx, "_kerberos._tcp", "dc._msdcs."+strings.ToLower(realm))
	if err == nil && len(hosts) == 0 {
		hosts, err = k.cfg.locate(ctx, "_kerberos._tcp", strings.ToLower(realm))
	}
	if err != nil && len(addrs) == 0 {
		return nil, err
	}
	for _, h := range hosts {
		ips, err := k.cfg.lookupHost(ctx, h)
		if err != nil || near.IsValid() && ips[0] == near {
			continue
		}
		addrs = append(addrs, netip.AddrPortFrom(ips[0], 88).String())
	}
	if len(addrs) == 0 {
		return nil, &Error{Kind: ErrDNS, Op: "finding a KDC of " + realm, Server: k.cfg.dnsName(), Detail: "there is no record _kerberos._tcp." + strings.ToLower(realm)}
	}
	return addrs, nil
}

// ask performs one exchange over TCP (RFC 4120 7.2.2).
func (k *kerberos) ask(ctx context.Context, addr string, req []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, min(k.cfg.Timeout, 10*time.Second))
	defer cancel()
	nc, err := k.cfg.Dial(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	defer func() { _ = nc.Close() }()
	defer context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })()
	return frameExchange(nc, req)
}

func frameExchange(nc net.Conn, req []byte) ([]byte, error) {
	if _, err := nc.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(req))), req...)); err != nil {
		return nil, err
	}
	var head [4]byte
	if _, err := io.ReadFull(nc, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > maxKDCReply {
		return nil, fmt.Errorf("answer of %d bytes", n)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(nc, b)
	return b, err
}

// ntStatus returns the NT status code that a domain controller puts into the
// data of a refusal: KERB-ERROR-DATA ([MS-KILE] 2.2.2) or a PA-DATA of type 3
// around the same KERB-EXT-ERROR ([MS-KILE] 2.2.1). 0 if there is none.
func ntStatus(edata []byte) uint32 {
	d := berDecoder(edata)
	seq, err := d.expect(0x30)
	if err != nil {
		return 0
	}
	if s := statusItem(seq); s != 0 {
		return s
	}
	for d = seq; len(d) > 0; {
		item, err := d.expect(0x30)
		if err != nil {
			return 0
		}
		if s := statusItem(item); s != 0 {
			return s
		}
	}
	return 0
}

// statusItem reads [1] INTEGER 3, [2] OCTET STRING.
func statusItem(b []byte) uint32 {
	d := berDecoder(b)
	c, err := d.expect(0xa1)
	if err != nil {
		return 0
	}
	in := berDecoder(c)
	if kind, err := in.integer(0x02); err != nil || kind != 3 {
		return 0
	}
	if c, err = d.expect(0xa2); err != nil {
		return 0
	}
	in = c
	v, err := in.expect(0x04)
	if err != nil || len(v) != 12 {
		return 0
	}
	return binary.LittleEndian.Uint32(v)
}

// explain turns a KRB-ERROR into an error with a hint.
func (k *kerberos) explain(op, server string, err error) error {
	var ke *kdcError
	if !errors.As(err, &ke) {
		return err
	}
	e := &Error{Kind: ErrServer, Op: op, Server: server, Err: ke}
	switch ke.code {
	case errorcode.KDC_ERR_NAME_EXP:
		e.Kind = ErrAccountExpired
	case errorcode.KDC_ERR_C_PRINCIPAL_UNKNOWN, errorcode.KDC_ERR_WRONG_REALM:
		e.Kind = ErrUnknownUser
	case errorcode.KDC_ERR_S_PRINCIPAL_UNKNOWN:
		e.Kind = ErrUnknownService
	case errorcode.KDC_ERR_ETYPE_NOSUPP:
		e.Kind = ErrNoStrongKey
	case errorcode.KDC_ERR_POLICY:
		e.Kind = ErrLogonRestricted
	case errorcode.KDC_ERR_CLIENT_REVOKED:
		e.Kind = revokedKind(ntStatus(ke.edata))
	case errorcode.KDC_ERR_KEY_EXPIRED:
		e.Kind = ErrPasswordExpired
	case errorcode.KDC_ERR_PREAUTH_FAILED, errorcode.KRB_AP_ERR_BAD_INTEGRITY:
		e.Kind = ErrWrongPassword
	case errorcode.KRB_AP_ERR_TKT_EXPIRED:
		e.Kind = ErrTicketExpired
	case errorcode.KRB_AP_ERR_SKEW:
		e.Kind = ErrClockSkew
		if !ke.server.IsZero() {
			e.Detail = fmt.Sprintf("the domain controller's clock is %s off", ke.server.Sub(k.cfg.Now()).Round(time.Second))
		}
	}
	return e
}

// revokedKind tells apart what Kerberos calls "revoked" ([MS-ERREF] 2.3.1).
func revokedKind(status uint32) Kind {
	switch status {
	case 0xc0000234:
		return ErrLockedOut
	case 0xc0000072:
		return ErrDisabled
	case 0xc0000193:
		return ErrAccountExpired
	case 0xc000006f, 0xc0000070, 0xc000006e:
		return ErrLogonRestricted
	}
	return ErrRevoked
}
