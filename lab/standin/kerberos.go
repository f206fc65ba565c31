package standin

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/jcmturner/gofork/encoding/asn1"
	"github.com/jcmturner/gokrb5/v8/asn1tools"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana/asnAppTag"
	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/iana/msgtype"
	"github.com/jcmturner/gokrb5/v8/iana/nametype"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/spnego"
	"github.com/jcmturner/gokrb5/v8/types"
)

// An acceptor checks the Kerberos tokens of requests, as http.sys does.
type acceptor struct {
	keys    *keytab.Keytab
	account types.PrincipalName // whose keys open the tickets
	skew    time.Duration

	mu   sync.Mutex
	seen map[string]bool // authenticators, so that none is taken twice
}

func newAcceptor(keys []byte, account string) (*acceptor, error) {
	a := &acceptor{keys: keytab.New(), account: types.NewPrincipalName(nametype.KRB_NT_PRINCIPAL, account), skew: 5 * time.Minute, seen: map[string]bool{}}
	if err := a.keys.Unmarshal(keys); err != nil {
		return nil, fmt.Errorf("reading the keytab of %s: %w", account, err)
	}
	return a, nil
}

// A refusal is a KRB-ERROR that goes back to the client.
type refusal struct{ code int32 }

func (r refusal) Error() string { return errorcode.Lookup(r.code) }

// accept checks the Authorization header of a request to a server with the given
// certificate, and returns who asks and the header for the answer.
func (a *acceptor) accept(r *http.Request, certificate []byte) (principal, answer string, err error) {
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Negotiate") {
		return "", "Negotiate", errors.New("no token")
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "", "Negotiate", err
	}
	req, err := firstToken(b)
	if err != nil {
		return "", "Negotiate", err
	}
	if err := a.verify(req, certificate); err != nil {
		var refused refusal
		if !errors.As(err, &refused) {
			return "", "Negotiate", err
		}
		token, err2 := krbError(req, refused.code)
		return "", negotiate(token, 2), errors.Join(err, err2)
	}
	token, err := apReply(req)
	if err != nil {
		return "", "Negotiate", err
	}
	return req.Authenticator.CName.PrincipalNameString() + "@" + req.Authenticator.CRealm, negotiate(token, 0), nil
}

// firstToken takes the AP-REQ out of a NegTokenInit.
func firstToken(b []byte) (*messages.APReq, error) {
	var outer spnego.SPNEGOToken
	if err := outer.Unmarshal(b); err != nil {
		return nil, err
	}
	if !outer.Init || len(outer.NegTokenInit.MechTypes) == 0 {
		return nil, errors.New("no NegTokenInit")
	}
	var inner spnego.KRB5Token
	if err := inner.Unmarshal(outer.NegTokenInit.MechTokenBytes); err != nil {
		return nil, err
	}
	if !inner.IsAPReq() {
		return nil, errors.New("no AP-REQ")
	}
	return &inner.APReq, nil
}

// verify checks ticket, authenticator, time, repetition and channel bindings.
func (a *acceptor) verify(req *messages.APReq, certificate []byte) error {
	ok, err := req.Verify(a.keys, a.skew, types.HostAddress{}, &a.account)
	var ke messages.KRBError
	switch {
	case errors.As(err, &ke):
		return refusal{ke.ErrorCode}
	case err != nil:
		return errors.Join(refusal{errorcode.KRB_AP_ERR_MODIFIED}, err)
	case !ok:
		return refusal{errorcode.KRB_AP_ERR_TKT_EXPIRED}
	}
	auth := req.Authenticator
	id := fmt.Sprint(auth.CName.PrincipalNameString(), auth.CTime.UnixNano(), auth.Cusec, auth.SeqNumber)
	a.mu.Lock()
	repeated := a.seen[id]
	a.seen[id] = true
	a.mu.Unlock()
	if repeated {
		return refusal{errorcode.KRB_AP_ERR_REPEAT}
	}
	return checkBindings(auth.Cksum.Checksum, certificate)
}

// checkBindings demands that the token is tied to this TLS connection, as servers do
// that are set to extended protection (RFC 5929 4, RFC 4121 4.1.1.2).
func checkBindings(sum, certificate []byte) error {
	hash := sha256.Sum256(certificate)
	data := append([]byte("tls-server-end-point:"), hash[:]...)
	b := binary.LittleEndian.AppendUint32(make([]byte, 16), uint32(len(data)))
	want := md5.Sum(append(b, data...))
	if len(sum) < 24 || subtle.ConstantTimeCompare(sum[4:20], want[:]) != 1 {
		return errors.New("the token is not tied to this connection")
	}
	return nil
}

// apReply returns the proof that the server could open the ticket.
func apReply(req *messages.APReq) ([]byte, error) {
	auth := req.Authenticator
	part, err := asn1.Marshal(messages.EncAPRepPart{CTime: auth.CTime, Cusec: auth.Cusec, Subkey: auth.SubKey, SequenceNumber: 7})
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
	return gssToken(2, asn1tools.AddASNAppTag(b, asnAppTag.APREP)), nil
}

func krbError(req *messages.APReq, code int32) ([]byte, error) {
	e := messages.NewKRBError(req.Ticket.SName, req.Ticket.Realm, code, "")
	b, err := e.Marshal()
	return gssToken(3, b), err
}

// gssToken frames a message (RFC 4121 4.1).
func gssToken(kind byte, body []byte) []byte {
	return element(0x60, []byte{0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02}, []byte{kind, 0}, body)
}

// negotiate returns the header with a NegTokenResp (RFC 4178 4.2.2).
func negotiate(token []byte, state byte) string {
	mechanism := element(0xa1, []byte{0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02})
	seq := element(0x30, element(0xa0, element(0x0a, []byte{state})), mechanism, element(0xa2, element(0x04, token)))
	return "Negotiate " + base64.StdEncoding.EncodeToString(element(0xa1, seq))
}

// element returns one DER element.
func element(tag byte, parts ...[]byte) []byte {
	content := bytes.Join(parts, nil)
	return append(append([]byte{tag}, asn1tools.MarshalLengthBytes(len(content))...), content...)
}
