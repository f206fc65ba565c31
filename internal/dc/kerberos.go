package dc

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/credentials"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/iana/flags"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/iana/nametype"
	"github.com/jcmturner/gokrb5/v8/iana/patype"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

// strongTypes are the encryption types in use, best first: those that Windows
// and Samba share ([MS-KILE] 3.1.5.2), without RC4 and DES.
var strongTypes = [...]int32{
	etypeID.AES256_CTS_HMAC_SHA1_96,
	etypeID.AES128_CTS_HMAC_SHA1_96,
}

// A ticket is a Kerberos ticket with its session key.
type ticket struct {
	tkt messages.Ticket
	key types.EncryptionKey
	end time.Time
}

// kerberos gets tickets for one principal. It is safe for concurrent use; two
// callers may ask for the same ticket at once, which does no harm.
type kerberos struct {
	cfg  Config
	conf *config.Config // encryption types and lifetimes; made here, read from no file

	mu       sync.Mutex
	cname    types.PrincipalName
	crealm   string
	tgts     map[string]ticket // by realm of the KDC that takes them
	services map[string]ticket
}

func newKerberos(cfg Config) *kerberos {
	conf := config.New()
	conf.LibDefaults.NoAddresses = true
	conf.LibDefaults.DefaultTktEnctypeIDs = strongTypes[:]
	conf.LibDefaults.DefaultTGSEnctypeIDs = strongTypes[:]
	conf.LibDefaults.PermittedEnctypeIDs = strongTypes[:]
	return &kerberos{cfg: cfg, conf: conf, tgts: map[string]ticket{}, services: map[string]ticket{}}
}

// principal returns user@REALM once it is known.
func (k *kerberos) principal() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.crealm == "" {
		return ""
	}
	return k.cname.PrincipalNameString() + "@" + k.crealm
}

// identity returns client name and realm.
func (k *kerberos) identity() (types.PrincipalName, string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.cname, k.crealm
}

func (k *kerberos) setIdentity(cname types.PrincipalName, crealm string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cname, k.crealm = cname, crealm
}

func (k *kerberos) cached(m map[string]ticket, name string) (ticket, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t, ok := m[name]
	return t, ok && k.cfg.Now().Add(time.Minute).Before(t.end)
}

func (k *kerberos) keep(m map[string]ticket, name string, t ticket) {
	k.mu.Lock()
	defer k.mu.Unlock()
	m[name] = t
}

// service returns a ticket for the first of the names that the KDC of the
// domain knows. near is a domain controller of that domain.
func (k *kerberos) service(ctx context.Context, domain string, near netip.Addr, spns ...string) (ticket, error) {
	realm := strings.ToUpper(domain)
	for _, spn := range spns {
		if t, ok := k.cached(k.services, spn); ok {
			return t, nil
		}
	}
	tgt, err := k.realmTGT(ctx, realm, near)
	if err != nil {
		return ticket{}, err
	}
	for _, spn := range spns {
		t, err := k.grant(ctx, tgt, realm, near, types.NewPrincipalName(nametype.KRB_NT_SRV_INST, spn))
		var ke *kdcError
		if errors.As(err, &ke) && ke.code == errorcode.KDC_ERR_S_PRINCIPAL_UNKNOWN && spn != spns[len(spns)-1] {
			continue
		}
		if err != nil {
			return ticket{}, k.explain("getting a ticket for "+spn, near.String(), err)
		}
		k.keep(k.services, spn, t)
		return t, nil
	}
	return ticket{}, &Error{Kind: ErrUnknownService, Op: "getting a ticket", Server: near.String(), Detail: "no service name is given"}
}

// realmTGT returns a ticket that the KDC of realm accepts: the principal's own
// if it is its realm, else one got along the trust path.
func (k *kerberos) realmTGT(ctx context.Context, realm string, near netip.Addr) (ticket, error) {
	if t, ok := k.cached(k.tgts, realm); ok {
		return t, nil
	}
	tgt, err := k.login(ctx, realm, near)
	if err != nil {
		return ticket{}, err
	}
	_, at := k.identity()
	k.keep(k.tgts, at, tgt)
	for hop := 0; at != realm; hop++ {
		if hop == 8 {
			return ticket{}, &Error{Kind: ErrProtocol, Op: "following the trust path to " + realm, Detail: "more than eight hops"}
		}
		sname := types.PrincipalName{NameType: nametype.KRB_NT_SRV_INST, NameString: []string{"krbtgt", realm}}
		next, err := k.grant(ctx, tgt, at, netip.Addr{}, sname)
		if err != nil {
			return ticket{}, k.explain(fmt.Sprintf("asking %s for a ticket to %s", at, realm), "", err)
		}
		names := next.tkt.SName.NameString
		if len(names) != 2 || names[0] != "krbtgt" || names[1] == at {
			return ticket{}, &Error{Kind: ErrProtocol, Op: "following the trust path to " + realm, Detail: "the KDC of " + at + " gave a ticket for " + next.tkt.SName.PrincipalNameString()}
		}
		tgt, at = next, names[1]
		k.keep(k.tgts, at, tgt)
	}
	return tgt, nil
}

// login returns the principal's ticket-granting ticket in its own realm, and
// sets the identity. near is used only if realm is that realm.
func (k *kerberos) login(ctx context.Context, realm string, near netip.Addr) (ticket, error) {
	cred := k.cfg.Credentials
	switch cred.kind {
	case credCCache:
		return k.fromCache(ccachePath(cred.path))
	case credKeytab:
		return k.fromKeytab(ctx, realm, near)
	}
	user, crealm := splitPrincipal(cred.principal, realm)
	if user == "" || cred.secret == "" {
		return ticket{}, &Error{Kind: ErrNoCredentials, Op: "logging on", Detail: "user name or password is empty"}
	}
	k.setIdentity(types.NewPrincipalName(nametype.KRB_NT_PRINCIPAL, user), crealm)
	return k.initial(ctx, realm, near, func(et int32, salt types.PADataSequence) (types.EncryptionKey, error) {
		cname, crealm := k.identity()
		key, _, err := crypto.GetKeyFromPassword(cred.secret, cname, crealm, et, salt)
		return key, err
	})
}

// fromCache reads the ticket-granting ticket of a credential cache file.
func (k *kerberos) fromCache(path string) (ticket, error) {
	op := "reading credential cache " + path
	if kind, _, ok := strings.Cut(path, ":"); ok && slices.Contains([]string{"KEYRING", "KCM", "DIR", "API", "MEMORY", "MSLSA"}, kind) {
		return ticket{}, &Error{Kind: ErrNoCredentials, Op: op, Detail: "caches of type " + kind + " cannot be read", Advice: "use a file: kinit -c FILE:/path, or a keytab"}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return ticket{}, &Error{Kind: ErrNoCredentials, Op: op, Err: err}
	}
	var cc credentials.CCache
	if err := guard(op, func() error { return cc.Unmarshal(b) }); err != nil {
		return ticket{}, &Error{Kind: ErrNoCredentials, Op: op, Err: err}
	}
	k.setIdentity(cc.DefaultPrincipal.PrincipalName, cc.DefaultPrincipal.Realm)
	var latest ticket
	for _, c := range cc.Credentials {
		names := c.Server.PrincipalName.NameString
		if len(names) != 2 || names[0] != "krbtgt" || names[1] != cc.DefaultPrincipal.Realm || !c.EndTime.After(latest.end) {
			continue
		}
		t := ticket{key: c.Key, end: c.EndTime}
		if err := guard(op, func() error { return t.tkt.Unmarshal(c.Ticket) }); err != nil {
			return ticket{}, &Error{Kind: ErrNoCredentials, Op: op, Err: err}
		}
		latest = t
	}
	switch {
	case latest.end.IsZero():
		return ticket{}, &Error{Kind: ErrNoCredentials, Op: op, Detail: "it holds no ticket-granting ticket of " + k.principal()}
	case !k.cfg.Now().Before(latest.end):
		return ticket{}, &Error{Kind: ErrTicketExpired, Op: op, Detail: fmt.Sprintf("the ticket of %s ended %s", k.principal(), latest.end.UTC().Format(time.RFC3339))}
	case !strong(latest.key.KeyType):
		return ticket{}, &Error{Kind: ErrNoStrongKey, Op: op, Detail: fmt.Sprintf("the ticket of %s has encryption type %d", k.principal(), latest.key.KeyType)}
	}
	return latest, nil
}

func strong(et int32) bool { return slices.Contains(strongTypes[:], et) }

// fromKeytab logs on with the strongest key of the principal in the keytab.
func (k *kerberos) fromKeytab(ctx context.Context, realm string, near netip.Addr) (ticket, error) {
	cred := k.cfg.Credentials
	op := "reading keytab " + cred.path
	b, err := os.ReadFile(cred.path)
	if err != nil {
		return ticket{}, &Error{Kind: ErrNoCredentials, Op: op, Err: err}
	}
	kt, err := parseKeytab(b)
	if err != nil {
		return ticket{}, &Error{Kind: ErrNoCredentials, Op: op, Err: err, Advice: "make the keytab anew (ktpass on Windows, ktutil elsewhere) and copy it as a binary file"}
	}
	first := kt.Entries[0].Principal
	user, crealm := strings.Join(first.Components, "/"), first.Realm
	if cred.principal != "" {
		user, crealm = splitPrincipal(cred.principal, realm)
	}
	cname := types.NewPrincipalName(nametype.KRB_NT_PRINCIPAL, user)
	var keys []types.EncryptionKey
	for _, et := range strongTypes {
		if key, _, err := kt.GetEncryptionKey(cname, crealm, 0, et); err == nil {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return ticket{}, &Error{Kind: ErrNoStrongKey, Op: op, Detail: fmt.Sprintf("it holds no AES key of %s@%s", user, crealm)}
	}
	k.setIdentity(cname, crealm)
	return k.initial(ctx, realm, near, func(et int32, _ types.PADataSequence) (types.EncryptionKey, error) {
		for _, key := range keys {
			if key.KeyType == et {
				return key, nil
			}
		}
		return types.EncryptionKey{}, fmt.Errorf("the keytab holds no key of encryption type %d", et)
	})
}

// parseKeytab reads a keytab. What the library says about bytes that are none
// tells nobody what to do, so that is said here.
func parseKeytab(b []byte) (*keytab.Keytab, error) {
	switch {
	case len(b) == 0:
		return nil, errors.New("the file is empty")
	case len(b) < 2 || b[0] != 5 || b[1] != 1 && b[1] != 2:
		return nil, errors.New("it is no keytab: a keytab begins with the bytes 05 01 or 05 02")
	}
	if len(b) == 2 { // the library takes that for damage
		return nil, errors.New("the keytab holds no key")
	}
	kt := keytab.New()
	if err := guard("", func() error { return kt.Unmarshal(b) }); err != nil {
		return nil, errors.New("the keytab is damaged or cut short")
	}
	if len(kt.Entries) == 0 {
		return nil, errors.New("the keytab holds no key")
	}
	for _, e := range kt.Entries {
		name := strings.Join(e.Principal.Components, "/") + "@" + e.Principal.Realm
		if !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) || e.Principal.Realm == "" {
			return nil, errors.New("the keytab is damaged: the name of a principal in it is no text")
		}
	}
	return kt, nil
}

// A keyFunc returns the principal's long-term key of an encryption type. The
// pre-authentication data carry salt and parameters for passwords.
type keyFunc func(et int32, salt types.PADataSequence) (types.EncryptionKey, error)

// initial performs the AS exchange (RFC 4120 3.1): a request without proof, the
// KDC's demand for it, and the request with an encrypted timestamp.
func (k *kerberos) initial(ctx context.Context, realm string, near netip.Addr, keyOf keyFunc) (ticket, error) {
	cname, crealm := k.identity()
	if crealm != realm {
		near = netip.Addr{}
	}
	op := fmt.Sprintf("logging on as %s@%s", cname.PrincipalNameString(), crealm)
	req, err := messages.NewASReqForTGT(crealm, k.conf, cname)
	if err != nil {
		return ticket{}, &Error{Kind: ErrConfig, Op: op, Err: err}
	}
	reply, err := k.sendAS(ctx, near, req)
	var ke *kdcError
	var proof types.EncryptionKey
	if errors.As(err, &ke) && ke.code == errorcode.KDC_ERR_PREAUTH_REQUIRED {
		if proof, err = preauthKey(ke.edata, keyOf); err != nil {
			return ticket{}, &Error{Kind: ErrNoStrongKey, Op: op, Err: err}
		}
		if err := addTimestamp(&req, proof, k.cfg.Now()); err != nil {
			return ticket{}, &Error{Kind: ErrConfig, Op: op, Err: err}
		}
		reply, err = k.sendAS(ctx, near, req)
	}
	if err != nil {
		return ticket{}, k.explain(op, addrText(near), err)
	}
	return k.openAS(op, req, reply, proof, keyOf)
}

// addrText is the address for an error, empty if it is not known.
func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func (k *kerberos) sendAS(ctx context.Context, near netip.Addr, req messages.ASReq) ([]byte, error) {
	b, err := req.Marshal()
	if err != nil {
		return nil, err
	}
	return k.exchange(ctx, req.ReqBody.Realm, near, b)
}

// preauthKey chooses the first strong encryption type that the KDC offers.
func preauthKey(edata []byte, keyOf keyFunc) (types.EncryptionKey, error) {
	var pas types.PADataSequence
	if err := guard("reading pre-authentication data", func() error { return pas.Unmarshal(edata) }); err != nil {
		return types.EncryptionKey{}, err
	}
	return keyFromPA(pas, 0, keyOf)
}

// keyFromPA derives the key for encryption type et, or for the first strong one
// that the KDC offers if et is 0.
func keyFromPA(pas types.PADataSequence, et int32, keyOf keyFunc) (key types.EncryptionKey, err error) {
	for _, pa := range pas {
		if pa.PADataType != patype.PA_ETYPE_INFO2 {
			continue
		}
		var info types.ETypeInfo2
		if err := guard("reading encryption types", func() error { return info.Unmarshal(pa.PADataValue) }); err != nil {
			return key, err
		}
		for _, entry := range info {
			if et != 0 && entry.EType != et || !strong(entry.EType) {
				continue
			}
			one, err := entryPA(entry)
			if err != nil {
				return key, err
			}
			if key, err = keyOf(entry.EType, one); err == nil {
				return key, nil
			}
		}
	}
	if et != 0 {
		return keyOf(et, nil)
	}
	return key, errors.Join(errors.New("the KDC offers no AES key for the account"), err)
}

// entryPA is pre-authentication data with exactly one entry: gokrb5 looks at the
// first one only.
func entryPA(entry types.ETypeInfo2Entry) (types.PADataSequence, error) {
	// ETYPE-INFO2-ENTRY: [0] Int32, [1] KerberosString optional, [2] OCTET STRING optional.
	parts := [][]byte{tlv(0xa0, berInt(0x02, int64(entry.EType)))}
	if entry.Salt != "" {
		parts = append(parts, tlv(0xa1, berString(0x1b, entry.Salt)))
	}
	if len(entry.S2KParams) > 0 {
		parts = append(parts, tlv(0xa2, tlv(0x04, entry.S2KParams)))
	}
	return types.PADataSequence{{PADataType: patype.PA_ETYPE_INFO2, PADataValue: tlv(0x30, tlv(0x30, parts...))}}, nil
}

// addTimestamp adds PA-ENC-TIMESTAMP (RFC 4120 5.2.7.2).
func addTimestamp(req *messages.ASReq, key types.EncryptionKey, now time.Time) error {
	// PA-ENC-TS-ENC: [0] KerberosTime, [1] microseconds. gokrb5 takes the
	// machine's clock.
	stamp := tlv(0x30, tlv(0xa0, berString(0x18, now.UTC().Format("20060102150405Z"))), tlv(0xa1, berInt(0x02, int64(now.Nanosecond()/1000))))
	enc, err := crypto.GetEncryptedData(stamp, key, keyusage.AS_REQ_PA_ENC_TIMESTAMP, 0)
	if err != nil {
		return err
	}
	b, err := enc.Marshal()
	if err != nil {
		return err
	}
	req.PAData = types.PADataSequence{{PADataType: patype.PA_ENC_TIMESTAMP, PADataValue: b}}
	return nil
}

// openAS decrypts and checks the answer of the AS exchange (RFC 4120 3.1.5).
func (k *kerberos) openAS(op string, req messages.ASReq, reply []byte, key types.EncryptionKey, keyOf keyFunc) (ticket, error) {
	var rep messages.ASRep
	err := guard(op, func() error {
		if err := rep.Unmarshal(reply); err != nil {
			return err
		}
		if key.KeyType != rep.EncPart.EType {
			var err error
			if key, err = keyFromPA(rep.PAData, rep.EncPart.EType, keyOf); err != nil {
				return err
			}
		}
		b, err := crypto.DecryptEncPart(rep.EncPart, key, keyusage.AS_REP_ENCPART)
		if err != nil {
			return &Error{Kind: ErrWrongPassword, Op: op, Err: err}
		}
		return rep.DecryptedEncPart.Unmarshal(b)
	})
	if err != nil {
		var e *Error
		if errors.As(err, &e) {
			return ticket{}, err
		}
		return ticket{}, &Error{Kind: ErrProtocol, Op: op, Err: err}
	}
	return checkReply(op, req.ReqBody, rep.KDCRepFields)
}

// grant performs one TGS exchange with the KDC of realm (RFC 4120 3.3). A
// request for another realm's krbtgt may be answered with one on the way.
func (k *kerberos) grant(ctx context.Context, tgt ticket, realm string, near netip.Addr, sname types.PrincipalName) (ticket, error) {
	op := "getting a ticket for " + sname.PrincipalNameString()
	cname, crealm := k.identity()
	req, err := messages.NewTGSReq(cname, realm, k.conf, tgt.tkt, tgt.key, sname, false)
	if err != nil {
		return ticket{}, &Error{Kind: ErrConfig, Op: op, Err: err}
	}
	if sname.NameString[0] == "krbtgt" {
		types.SetFlag(&req.ReqBody.KDCOptions, flags.Canonicalize)
	}
	// gokrb5 names the realm of the ticket instead of the client's, which is
	// wrong from the second hop of a trust path on: make the proof anew.
	if err := addProof(&req, tgt, crealm, k.cfg.Now()); err != nil {
		return ticket{}, &Error{Kind: ErrConfig, Op: op, Err: err}
	}
	b, err := req.Marshal()
	if err != nil {
		return ticket{}, &Error{Kind: ErrConfig, Op: op, Err: err}
	}
	reply, err := k.exchange(ctx, realm, near, b)
	if err != nil {
		return ticket{}, err
	}
	var rep messages.TGSRep
	err = guard(op, func() error {
		if err := rep.Unmarshal(reply); err != nil {
			return err
		}
		return rep.DecryptEncPart(tgt.key)
	})
	if err != nil {
		return ticket{}, &Error{Kind: ErrProtocol, Op: op, Err: err}
	}
	return checkReply(op, req.ReqBody, rep.KDCRepFields)
}

// addProof replaces the authenticator of a TGS request.
func addProof(req *messages.TGSReq, tgt ticket, crealm string, now time.Time) error {
	body, err := req.ReqBody.Marshal()
	if err != nil {
		return err
	}
	et, err := crypto.GetEtype(tgt.key.KeyType)
	if err != nil {
		return err
	}
	sum, err := et.GetChecksumHash(tgt.key.KeyValue, body, keyusage.TGS_REQ_PA_TGS_REQ_AP_REQ_AUTHENTICATOR_CHKSUM)
	if err != nil {
		return err
	}
	auth, err := newAuthenticator(crealm, req.ReqBody.CName, now)
	if err != nil {
		return err
	}
	auth.Cksum = types.Checksum{CksumType: et.GetHashID(), Checksum: sum}
	ap, err := messages.NewAPReq(tgt.tkt, tgt.key, auth)
	if err != nil {
		return err
	}
	b, err := ap.Marshal()
	if err != nil {
		return err
	}
	req.PAData = types.PADataSequence{{PADataType: patype.PA_TGS_REQ, PADataValue: b}}
	return nil
}

// newAuthenticator returns an authenticator of the time now by our clock
// (RFC 4120 5.5.1); gokrb5 takes the machine's.
func newAuthenticator(crealm string, cname types.PrincipalName, now time.Time) (types.Authenticator, error) {
	a, err := types.NewAuthenticator(crealm, cname)
	a.CTime, a.Cusec = now.UTC().Truncate(time.Second), now.Nanosecond()/1000
	return a, err
}

// checkReply makes sure that an answer belongs to the request and that its
// ticket is for the service that was asked for, or for a realm on the way.
func checkReply(op string, q messages.KDCReqBody, rep messages.KDCRepFields) (ticket, error) {
	d := rep.DecryptedEncPart
	bad := ""
	switch {
	case d.Nonce != q.Nonce:
		bad = "the nonce is another request's"
	case !rep.CName.Equal(q.CName):
		bad = "it is for " + rep.CName.PrincipalNameString()
	case !sameName(d.SName, q.SName) && !(isKrbtgt(q.SName) && isKrbtgt(d.SName)):
		bad = "its ticket is for " + d.SName.PrincipalNameString()
	case !sameName(d.SName, rep.Ticket.SName):
		bad = "it names two services"
	case !strong(d.Key.KeyType):
		return ticket{}, &Error{Kind: ErrNoStrongKey, Op: op, Detail: fmt.Sprintf("the session key has encryption type %d", d.Key.KeyType)}
	}
	if bad != "" {
		return ticket{}, &Error{Kind: ErrTampered, Op: op, Detail: "the KDC's answer does not fit: " + bad}
	}
	return ticket{tkt: rep.Ticket, key: d.Key, end: d.EndTime}, nil
}

func isKrbtgt(n types.PrincipalName) bool {
	return len(n.NameString) == 2 && n.NameString[0] == "krbtgt"
}

func sameName(a, b types.PrincipalName) bool {
	return slices.EqualFunc(a.NameString, b.NameString, strings.EqualFold)
}
