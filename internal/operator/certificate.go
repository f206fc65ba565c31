package operator

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// ErrExtension reports bytes that are not the extension or name that they should be; the
// text says what is wrong.
var ErrExtension = errors.New("malformed certificate")

// Certificates says which client certificates are taken, and whose they are. A
// certificate belongs to an account by the SID that the authority put into it ([MS-WCCE]
// 2.2.2.7.7.4) or by an explicit mapping; never by the names in it.
type Certificates struct {
	// Roots are the authorities that are trusted to say who somebody is, and nothing
	// else is: whoever can have them issue a certificate with any SID is anybody.
	Roots         []*x509.Certificate
	Intermediates []*x509.Certificate
	// SID takes the SID extension. Where it is false only mappings count.
	SID      bool
	Mappings []Mapping
	// Revoked returns the newest lists of the authorities; nil: there are none. It is
	// called for each sign-in, by several goroutines at once. Where it fails nobody signs
	// in. A list counts for the certificates that it is complete for, see [CheckList],
	// and must be current. RequireRevoked refuses certificates that no list counts for.
	Revoked        func() ([]*x509.RevocationList, error)
	RequireRevoked bool
}

// A Mapping says that a certificate belongs to an account: by issuer and serial number,
// or by its public key.
type Mapping struct {
	Account AccountRef // by GUID or SID
	Issuer  string     // as crypto/x509/pkix writes the name (RFC 2253)
	Serial  *big.Int
	Key     [sha256.Size]byte // SHA-256 of the SubjectPublicKeyInfo; zero: issuer and serial
}

// Check reports what is wrong with the configuration.
func (c *Certificates) Check() error {
	if len(c.Roots) == 0 {
		return errors.New("certificates of clients: no authority is named")
	}
	for i, m := range c.Mappings {
		byName := m.Issuer != "" && m.Serial != nil
		byKey := m.Key != [sha256.Size]byte{}
		if byName == byKey || (m.Account.GUID.IsZero() == m.Account.SID.IsZero()) || m.Account.Name != "" {
			return fmt.Errorf("certificates of clients: mapping %d: it names an account by objectGUID or SID, and a certificate either by issuer and serial number or by its key", i+1)
		}
	}
	return nil
}

// A claim is what a certificate says about whose it is.
type claim struct {
	ref  AccountRef
	upns []string
}

// claim verifies a chain and finds whose it is. Errors are for the log.
func (c *Certificates) claim(chain []*x509.Certificate, now time.Time) (claim, error) {
	leaf := *chain[0]
	upns, err := UPNs(&leaf)
	if err != nil {
		return claim{}, err
	}
	// The names were read above, so that a critical extension with other names than
	// the library knows is no reason to refuse.
	leaf.UnhandledCriticalExtensions = slices.DeleteFunc(slices.Clone(leaf.UnhandledCriticalExtensions), oidSubjectAltName().Equal)
	if err := c.verify(&leaf, chain[1:], now); err != nil {
		return claim{}, err
	}
	var refs []AccountRef
	for _, m := range c.Mappings {
		if m.fits(&leaf) {
			refs = append(refs, m.Account)
		}
	}
	if c.SID {
		sid, ok, err := SIDOf(&leaf)
		if err != nil {
			return claim{}, err
		}
		if ok {
			refs = append(refs, AccountRef{SID: sid})
		}
	}
	switch {
	case len(refs) == 0 && len(upns) > 0:
		return claim{}, fmt.Errorf("it names %q, but a name proves nothing: it has no SID and no mapping", upns[0])
	case len(refs) == 0:
		return claim{}, errors.New("it has no SID and no mapping")
	}
	for _, r := range refs[1:] {
		if r != refs[0] {
			return claim{}, errors.New("its SID and its mappings, or two mappings, may be about different accounts: name the account in the mapping by its SID")
		}
	}
	return claim{refs[0], upns}, nil
}

func (m *Mapping) fits(leaf *x509.Certificate) bool {
	if m.Key != [sha256.Size]byte{} {
		return sha256.Sum256(leaf.RawSubjectPublicKeyInfo) == m.Key
	}
	return m.Issuer == leaf.Issuer.String() && m.Serial.Cmp(leaf.SerialNumber) == 0
}

// verify checks a chain up to a root: signatures, times, use, revocation.
func (c *Certificates) verify(leaf *x509.Certificate, sent []*x509.Certificate, now time.Time) error {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, r := range c.Roots {
		roots.AddCert(r)
	}
	for _, i := range slices.Concat(c.Intermediates, sent) {
		between.AddCert(i)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return fmt.Errorf("it is not trusted: %w", err)
	}
	if leaf.IsCA {
		return errors.New("it is an authority's")
	}
	var lists []*x509.RevocationList
	if c.Revoked != nil {
		if lists, err = c.Revoked(); err != nil {
			return fmt.Errorf("%w: %w", errLists, err)
		}
	}
	var errs []error
	for _, chain := range chains {
		err := c.revoked(lists, chain, now)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// The identifiers.
func oidSIDExtension() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 25, 2}
}

func oidObjectSID() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 25, 2, 1}
}

func oidUPN() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3} }

func oidSubjectAltName() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 5, 29, 17} }

// otherName is a name of a kind of its own (RFC 5280 4.2.1.6).
type otherName struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue // [0] EXPLICIT
}

// SIDOf returns the SID that an authority put into a certificate; ok is false if there
// is none.
func SIDOf(c *x509.Certificate) (sid secdesc.SID, ok bool, err error) {
	for _, e := range c.Extensions {
		if !e.Id.Equal(oidSIDExtension()) {
			continue
		}
		if ok {
			return secdesc.SID{}, false, fmt.Errorf("%w: two SID extensions", ErrExtension)
		}
		if sid, err = ParseSIDExtension(e.Value); err != nil {
			return secdesc.SID{}, false, err
		}
		ok = true
	}
	return sid, ok, nil
}

// ParseSIDExtension reads the value of the extension szOID_NTDS_CA_SECURITY_EXT ([MS-WCCE]
// 2.2.2.7.7.4): a sequence with one other name, whose type is szOID_NTDS_OBJECTSID and
// whose value is an octet string with the SID as text. It accepts exactly what
// [MarshalSIDExtension] writes.
func ParseSIDExtension(b []byte) (secdesc.SID, error) {
	names, err := otherNames(b)
	if err != nil {
		return secdesc.SID{}, fmt.Errorf("%w: SID extension: %w", ErrExtension, err)
	}
	if len(names) != 1 || !names[0].Type.Equal(oidObjectSID()) {
		return secdesc.SID{}, fmt.Errorf("%w: SID extension: not one name of type objectSID", ErrExtension)
	}
	var text []byte
	rest, err := asn1.Unmarshal(names[0].Value.Bytes, &text)
	if err != nil || len(rest) > 0 {
		return secdesc.SID{}, fmt.Errorf("%w: SID extension: the value is no octet string", ErrExtension)
	}
	sid, err := secdesc.ParseSID(string(text))
	if err != nil {
		return secdesc.SID{}, fmt.Errorf("%w: SID extension: %w", ErrExtension, err)
	}
	again, err := MarshalSIDExtension(sid)
	if err != nil || !bytes.Equal(again, b) {
		return secdesc.SID{}, fmt.Errorf("%w: SID extension: not in its canonical form", ErrExtension)
	}
	return sid, nil
}

// MarshalSIDExtension is the inverse of [ParseSIDExtension].
func MarshalSIDExtension(sid secdesc.SID) ([]byte, error) {
	value, err := asn1.Marshal([]byte(sid.String()))
	if err != nil {
		return nil, err
	}
	name, err := asn1.MarshalWithParams(otherName{oidObjectSID(), asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: value}}, "tag:0")
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: name})
}

// UPNs returns the user principal names in a certificate (szOID_NT_PRINCIPAL_NAME). They
// are claims of whoever asked for the certificate and prove nothing.
func UPNs(c *x509.Certificate) ([]string, error) {
	var out []string
	for _, e := range c.Extensions {
		if !e.Id.Equal(oidSubjectAltName()) {
			continue
		}
		names, err := otherNames(e.Value)
		if err != nil {
			return nil, fmt.Errorf("%w: subject alternative names: %w", ErrExtension, err)
		}
		for _, n := range names {
			if !n.Type.Equal(oidUPN()) {
				continue
			}
			var v asn1.RawValue
			rest, err := asn1.Unmarshal(n.Value.Bytes, &v)
			if err != nil || len(rest) > 0 || v.Class != asn1.ClassUniversal || v.Tag != asn1.TagUTF8String || !utf8.Valid(v.Bytes) || len(v.Bytes) > maxTyped || len(v.Bytes) == 0 {
				return nil, fmt.Errorf("%w: the principal name in it is no text of up to %d bytes", ErrExtension, maxTyped)
			}
			out = append(out, string(v.Bytes))
		}
	}
	return out, nil
}

// maxNames bounds the names in a certificate.
const maxNames = 100

// otherNames returns the other names among general names (RFC 5280 4.2.1.6).
func otherNames(b []byte) ([]otherName, error) {
	var seq asn1.RawValue
	rest, err := asn1.Unmarshal(b, &seq)
	if err != nil || len(rest) > 0 || seq.Class != asn1.ClassUniversal || seq.Tag != asn1.TagSequence || !seq.IsCompound {
		return nil, errors.New("not a sequence of names")
	}
	var out []otherName
	for n, at := 0, seq.Bytes; len(at) > 0; n++ {
		var v asn1.RawValue
		if at, err = asn1.Unmarshal(at, &v); err != nil || n >= maxNames {
			return nil, fmt.Errorf("name %d is malformed, or there are more than %d", n+1, maxNames)
		}
		if v.Class != asn1.ClassContextSpecific || v.Tag != 0 {
			continue
		}
		var o otherName
		rest, err := asn1.UnmarshalWithParams(v.FullBytes, &o, "tag:0")
		if x := o.Value; err != nil || len(rest) > 0 || x.Class != asn1.ClassContextSpecific || x.Tag != 0 || !x.IsCompound {
			return nil, fmt.Errorf("name %d is malformed", n+1)
		}
		out = append(out, o)
	}
	return out, nil
}
