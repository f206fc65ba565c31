package operator

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrList reports a list of revoked certificates that cannot say that a certificate is
// not revoked; the text says why.
var ErrList = errors.New("list of revoked certificates")

// errLists: the lists could not be had, so nothing was decided.
var errLists = errors.New("the lists of revoked certificates cannot be read")

func oidDeltaIndicator() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 5, 29, 27} }

func oidIssuingPoint() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 5, 29, 28} }

// A scope says which certificates of its issuer a list is about: the extension
// IssuingDistributionPoint (RFC 5280 5.2.5). The zero value is all.
type scope struct {
	points    []string // URLs, of which a certificate must name one; none: of all
	users     bool     // only certificates that are no authorities'
	cas       bool     // only authorities'
	attribute bool     // only attribute certificates
	reasons   bool     // only some reasons
	indirect  bool     // of other issuers, too
}

// CheckList reports with [ErrList] what keeps a list from saying which certificates of
// its issuer are revoked: a delta list, which has only what changed; one for some
// reasons, for attribute certificates or of several issuers; one with a critical
// extension that is not known here. A list that is one of several parts is taken: it
// counts for the certificates that name its distribution point.
func CheckList(list *x509.RevocationList) error {
	_, err := scopeOf(list)
	return err
}

func scopeOf(list *x509.RevocationList) (s scope, err error) {
	bad := func(what string) (scope, error) {
		return scope{}, fmt.Errorf("%w of %s: %s", ErrList, list.Issuer, what)
	}
	if list.NextUpdate.IsZero() {
		return bad("it does not say until when it counts")
	}
	for _, e := range list.Extensions {
		switch {
		case e.Id.Equal(oidDeltaIndicator()):
			return bad("it is a delta list, which has only what changed: give the complete one")
		case e.Id.Equal(oidIssuingPoint()):
			if s, err = parseScope(e.Value); err != nil {
				return bad(err.Error())
			}
		case e.Critical:
			return bad("it has a critical extension " + e.Id.String() + " that is not known here")
		}
	}
	switch {
	case s.attribute:
		return bad("it is about attribute certificates")
	case s.reasons:
		return bad("it is about some reasons of revocation only: give the complete one")
	case s.indirect:
		return bad("it is about certificates of several issuers")
	case s.users && s.cas:
		return bad("it is about no certificate at all")
	}
	return s, nil
}

// parseScope reads the value of the extension IssuingDistributionPoint.
func parseScope(b []byte) (scope, error) {
	malformed := func(what string) (scope, error) {
		return scope{}, fmt.Errorf("its distribution point is malformed: %s", what)
	}
	var v struct {
		Point     asn1.RawValue  `asn1:"optional,tag:0"`
		Users     bool           `asn1:"optional,tag:1"`
		CAs       bool           `asn1:"optional,tag:2"`
		Reasons   asn1.BitString `asn1:"optional,tag:3"`
		Indirect  bool           `asn1:"optional,tag:4"`
		Attribute bool           `asn1:"optional,tag:5"`
	}
	if rest, err := asn1.Unmarshal(b, &v); err != nil || len(rest) > 0 {
		return malformed("not what RFC 5280 5.2.5 says")
	}
	s := scope{users: v.Users, cas: v.CAs, attribute: v.Attribute, reasons: v.Reasons.BitLength > 0, indirect: v.Indirect}
	if len(v.Point.FullBytes) == 0 {
		return s, nil
	}
	var name asn1.RawValue
	rest, err := asn1.Unmarshal(v.Point.Bytes, &name)
	if err != nil || len(rest) > 0 || name.Class != asn1.ClassContextSpecific || name.Tag != 0 || !name.IsCompound {
		return malformed("it is not named in full")
	}
	for at := name.Bytes; len(at) > 0; {
		var n asn1.RawValue
		if at, err = asn1.Unmarshal(at, &n); err != nil || len(s.points) >= maxNames {
			return malformed("one of its names, or there are too many")
		}
		if n.Class == asn1.ClassContextSpecific && n.Tag == 6 { // uniformResourceIdentifier
			s.points = append(s.points, string(n.Bytes))
		}
	}
	if len(s.points) == 0 {
		return malformed("none of its names is a URL")
	}
	return s, nil
}

// covers reports whether a list with this scope says whether a certificate is revoked.
func (s *scope) covers(cert *x509.Certificate) bool {
	switch {
	case s.users && cert.IsCA, s.cas && !cert.IsCA:
		return false
	case len(s.points) == 0:
		return true
	}
	return slices.ContainsFunc(cert.CRLDistributionPoints, func(p string) bool { return slices.Contains(s.points, p) })
}

// revoked looks for each certificate of a chain but the root in the lists. Whatever a list
// says is revoked is; that something is not, only one says that is current and covers it.
func (c *Certificates) revoked(lists []*x509.RevocationList, chain []*x509.Certificate, now time.Time) error {
	for i, cert := range chain[:len(chain)-1] {
		issuer := chain[i+1]
		known, of := false, false
		var why error
		for _, list := range lists {
			if !bytes.Equal(list.RawIssuer, issuer.RawSubject) || list.CheckSignatureFrom(issuer) != nil {
				continue
			}
			of = true
			if slices.ContainsFunc(list.RevokedCertificateEntries, func(e x509.RevocationListEntry) bool { return e.SerialNumber.Cmp(cert.SerialNumber) == 0 }) {
				return fmt.Errorf("certificate %s of %s was revoked", cert.SerialNumber, issuer.Subject)
			}
			if err := counts(list, cert, issuer.Subject, now); err != nil {
				why = err
				continue
			}
			known = true
		}
		switch {
		case known:
		case of:
			return why
		case c.RequireRevoked:
			return fmt.Errorf("there is no list of revoked certificates of %s", issuer.Subject)
		}
	}
	return nil
}

// counts reports why a list does not say that a certificate is not revoked, nil if it
// does.
func counts(list *x509.RevocationList, cert *x509.Certificate, issuer pkix.Name, now time.Time) error {
	s, err := scopeOf(list)
	switch {
	case err != nil:
		return err
	case now.After(list.NextUpdate):
		return fmt.Errorf("the list of revoked certificates of %s ended %s", issuer, list.NextUpdate.UTC().Format(time.RFC3339))
	case list.ThisUpdate.After(now.Add(maxSkew)):
		return fmt.Errorf("the list of revoked certificates of %s begins %s", issuer, list.ThisUpdate.UTC().Format(time.RFC3339))
	case !s.covers(cert):
		return fmt.Errorf("the list of revoked certificates of %s is a part that is not about certificate %s", issuer, cert.SerialNumber)
	}
	return nil
}
