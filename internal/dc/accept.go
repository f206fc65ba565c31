package dc

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/jcmturner/gofork/encoding/asn1"
	"github.com/jcmturner/gokrb5/v8/asn1tools"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana/asnAppTag"
	"github.com/jcmturner/gokrb5/v8/iana/flags"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/iana/msgtype"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/pac"
	"github.com/jcmturner/gokrb5/v8/types"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// oidKRB5Old is what Windows calls Kerberos first in a negotiation, 1.2.840.48018.1.2.2
// ([MS-SPNG] 3.1.5.2), as DER.
var oidKRB5Old = [...]byte{0x06, 0x09, 0x2a, 0x86, 0x48, 0x82, 0xf7, 0x12, 0x01, 0x02, 0x02}

// acceptSkew is how much a client's clock may differ.
const acceptSkew = 5 * time.Minute

// An Acceptor verifies the Kerberos tokens of clients with the keys of a service account.
// It remembers nothing: whoever uses it keeps [Accepted.Once] from being taken twice. It
// is safe for concurrent use. The time of tickets is compared with the machine's clock.
type Acceptor struct {
	keys    *keytab.Keytab
	account types.PrincipalName // whose keys open tickets that name a service
	realm   string
	binding bool
}

// NewAcceptor reads the keytab of the service account; its first principal is the
// account, whose service principal names clients ask tickets for. binding demands that
// tokens are tied to their TLS connection, which some browsers do not do.
func NewAcceptor(path string, binding bool) (*Acceptor, error) {
	op := "reading keytab " + path
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, &Error{Kind: ErrNoCredentials, Op: op, Err: err}
	}
	kt, err := parseKeytab(b)
	if err != nil {
		return nil, &Error{Kind: ErrNoCredentials, Op: op, Err: err, Advice: "make the keytab anew (ktpass on Windows, ktutil elsewhere) and copy it as a binary file"}
	}
	a := &Acceptor{keys: kt, binding: binding, realm: kt.Entries[0].Principal.Realm}
	a.account = types.PrincipalName{NameType: kt.Entries[0].Principal.NameType, NameString: kt.Entries[0].Principal.Components}
	for _, et := range strongTypes {
		if _, _, err := kt.GetEncryptionKey(a.account, a.realm, 0, et); err == nil {
			return a, nil
		}
	}
	return nil, &Error{Kind: ErrNoStrongKey, Op: op, Detail: "it holds no AES key of " + a.account.PrincipalNameString()}
}

// Accepted is what a client's token proved.
type Accepted struct {
	Client string      // name@REALM; names prove nothing, the SID does
	SID    secdesc.SID // of the client, from the ticket's signed authorization data
	Bound  bool        // the token is tied to the TLS connection
	Reply  []byte      // token for the client that proves the service's identity
	// Once tells this authenticator from all others until Until.
	Once  [sha256.Size]byte
	Until time.Time
}

// Accept verifies a token: SPNEGO (RFC 4178, RFC 4559) whose first mechanism is Kerberos,
// or bare Kerberos (RFC 4121 4.1). endpoint is the server's [EndPoint]. Errors of kind
// [ErrTicket] are the client's fault.
//
// A ticket that a service got on somebody's behalf (S4U2Proxy) is refused: what acts for
// a person is not that person.
func (a *Acceptor) Accept(token, endpoint []byte) (acc Accepted, err error) {
	const op = "verifying a client's ticket"
	err = guard(op, func() error {
		raw, wrapped, err := mechanismToken(token)
		if err != nil {
			return err
		}
		kind, body, err := parseGSSToken(raw)
		if err != nil {
			return err
		}
		if kind != 0x0100 {
			return fmt.Errorf("security token of type %#04x is no AP-REQ", kind)
		}
		var req messages.APReq
		if err := req.Unmarshal(body); err != nil {
			return err
		}
		if acc, err = a.verify(&req, endpoint); err != nil {
			return err
		}
		acc.Reply, err = acceptReply(&req, wrapped)
		return err
	})
	if err != nil {
		return Accepted{}, &Error{Kind: ErrTicket, Op: op, Err: err}
	}
	return acc, nil
}

// mechanismToken takes the token of Kerberos out of a negotiation.
func mechanismToken(b []byte) (token []byte, wrapped bool, err error) {
	d := berDecoder(b)
	c, err := d.expect(0x60)
	if err != nil || len(d) > 0 {
		return nil, false, errors.New("it is no token of SPNEGO or Kerberos")
	}
	if len(c) < len(oidSPNEGO) || string(c[:len(oidSPNEGO)]) != string(oidSPNEGO[:]) {
		return b, false, nil
	}
	d = c[len(oidSPNEGO):]
	if c, err = d.expect(0xa0); err != nil || len(d) > 0 {
		return nil, true, errors.New("negotiation: it is no NegTokenInit")
	}
	d = c
	if c, err = d.expect(0x30); err != nil || len(d) > 0 {
		return nil, true, errors.New("negotiation: it is no NegTokenInit")
	}
	first := false
	for d = c; len(d) > 0; {
		tag, content, err := d.next()
		if err != nil {
			return nil, true, fmt.Errorf("negotiation: %w", err)
		}
		switch tag {
		case 0xa0:
			first, err = kerberosFirst(content)
		case 0xa2:
			in := berDecoder(content)
			token, err = in.expect(0x04)
		}
		if err != nil {
			return nil, true, fmt.Errorf("negotiation: %w", err)
		}
	}
	if !first || len(token) == 0 {
		return nil, true, errors.New("negotiation: the client does not begin with Kerberos")
	}
	return token, true, nil
}

// kerberosFirst reports whether the first of a list of mechanisms is Kerberos.
func kerberosFirst(b []byte) (bool, error) {
	d := berDecoder(b)
	c, err := d.expect(0x30)
	if err != nil {
		return false, err
	}
	in := berDecoder(c)
	oid, err := in.expect(0x06)
	if err != nil {
		return false, err
	}
	return string(oid) == string(oidKRB5[2:]) || string(oid) == string(oidKRB5Old[2:]), nil
}

// verify checks ticket, authenticator, channel bindings and authorization data.
func (a *Acceptor) verify(req *messages.APReq, endpoint []byte) (acc Accepted, err error) {
	if !strong(req.Ticket.EncPart.EType) {
		return acc, fmt.Errorf("the ticket has encryption type %d, not AES", req.Ticket.EncPart.EType)
	}
	if req.Ticket.Realm != a.realm {
		return acc, fmt.Errorf("the ticket is of realm %q, not %q", req.Ticket.Realm, a.realm)
	}
	acc.Once = sha256.Sum256(req.EncryptedAuthenticator.Cipher)
	ok, err := req.Verify(a.keys, acceptSkew, types.HostAddress{}, &a.account)
	if err == nil && !ok {
		err = errors.New("the ticket is not valid now")
	}
	if err != nil {
		return acc, err
	}
	auth := &req.Authenticator
	if auth.CRealm != req.Ticket.DecryptedEncPart.CRealm {
		return acc, errors.New("the authenticator is of another realm than the ticket")
	}
	acc.Until = auth.CTime.Add(2 * acceptSkew)
	acc.Client = auth.CName.PrincipalNameString() + "@" + auth.CRealm
	if acc.Bound, err = bound(auth.Cksum, endpoint); err != nil {
		return acc, err
	}
	if a.binding && !acc.Bound {
		return acc, errors.New("the token is not tied to the TLS connection, which this server demands")
	}
	acc.SID, err = a.clientSID(req)
	return acc, err
}

// bound compares the channel bindings of an authenticator with those of the connection
// (RFC 4121 4.1.1). A client that knows none sends zeros.
func bound(sum types.Checksum, endpoint []byte) (bool, error) {
	const gssapi = 0x8003
	if sum.CksumType != gssapi || len(sum.Checksum) < 24 {
		return false, errors.New("the authenticator has no checksum of GSS-API")
	}
	got := sum.Checksum[4:20]
	if subtle.ConstantTimeCompare(got, make([]byte, 16)) == 1 {
		return false, nil
	}
	if len(endpoint) == 0 || subtle.ConstantTimeCompare(got, bindings(endpoint)) != 1 {
		return false, errors.New("the token is tied to another TLS connection: somebody stands between client and server")
	}
	return true, nil
}

// clientSID returns who a ticket is about: from the PAC that the domain controller signed
// for the service ([MS-PAC] 2.5, 2.8).
func (a *Acceptor) clientSID(req *messages.APReq) (sid secdesc.SID, err error) {
	is, p, err := req.Ticket.GetPACType(a.keys, &a.account, log.New(io.Discard, "", 0))
	switch {
	case err != nil:
		return sid, fmt.Errorf("authorization data: %w", err)
	case !is || p.KerbValidationInfo == nil || p.ClientInfo == nil:
		return sid, errors.New("the ticket has no authorization data of a domain controller")
	case hasDelegation(&p):
		return sid, errors.New("the ticket was got by a service on the client's behalf")
	case !p.ClientInfo.ClientID.Time().Equal(req.Ticket.DecryptedEncPart.AuthTime):
		return sid, errors.New("the authorization data are of another ticket")
	case p.KerbValidationInfo.UserID == 0:
		return sid, errors.New("the client is of no domain of Active Directory")
	}
	text := fmt.Sprintf("%s-%d", p.KerbValidationInfo.LogonDomainID.String(), p.KerbValidationInfo.UserID)
	if sid, err = secdesc.ParseSID(text); err != nil {
		return sid, fmt.Errorf("authorization data: %w", err)
	}
	return sid, nil
}

// hasDelegation reports whether a service acts for the client: a PAC then names the
// services in S4U_DELEGATION_INFO ([MS-PAC] 2.9).
func hasDelegation(p *pac.PACType) bool {
	const s4uDelegationInfo = 11
	for _, b := range p.Buffers {
		if b.ULType == s4uDelegationInfo {
			return true
		}
	}
	return false
}

// acceptReply is the proof that the service could open the ticket (RFC 4120 3.2.4), in a
// NegTokenResp if the client negotiated; nothing if the client does not want it.
func acceptReply(req *messages.APReq, wrapped bool) ([]byte, error) {
	var token []byte
	if types.IsFlagSet(&req.APOptions, flags.APOptionMutualRequired) {
		auth := &req.Authenticator
		part, err := asn1.Marshal(messages.EncAPRepPart{CTime: auth.CTime, Cusec: auth.Cusec, SequenceNumber: auth.SeqNumber})
		if err != nil {
			return nil, err
		}
		enc, err := crypto.GetEncryptedData(asn1tools.AddASNAppTag(part, asnAppTag.EncAPRepPart), req.Ticket.DecryptedEncPart.Key, keyusage.AP_REP_ENCPART, 0)
		if err != nil {
			return nil, err
		}
		b, err := asn1.Marshal(messages.APRep{PVNO: 5, MsgType: msgtype.KRB_AP_REP, EncPart: enc})
		if err != nil {
			return nil, err
		}
		token = tlv(0x60, oidKRB5[:], []byte{2, 0}, asn1tools.AddASNAppTag(b, asnAppTag.APREP))
	}
	if !wrapped {
		return token, nil
	}
	parts := [][]byte{tlv(0xa0, tlv(0x0a, []byte{negotiationCompleted})), tlv(0xa1, oidKRB5[:])}
	if token != nil {
		parts = append(parts, tlv(0xa2, tlv(0x04, token)))
	}
	return tlv(0xa1, tlv(0x30, parts...)), nil
}
