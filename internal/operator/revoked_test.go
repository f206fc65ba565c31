package operator_test

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/operator"
)

// listWith makes a list of an authority with further extensions.
func (a *authority) listWith(t *testing.T, change func(*x509.RevocationList)) *x509.RevocationList {
	t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), NextUpdate: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)}
	change(l)
	raw, err := x509.CreateRevocationList(rand.Reader, l, a.cert, a.key)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseRevocationList(raw)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// tlv is one element in DER, of less than 128 bytes.
func tlv(tag byte, content ...[]byte) []byte {
	var all []byte
	for _, c := range content {
		all = append(all, c...)
	}
	return append([]byte{tag, byte(len(all))}, all...)
}

// issuingPoint is the extension IssuingDistributionPoint.
func issuingPoint(content ...[]byte) func(*x509.RevocationList) {
	return func(l *x509.RevocationList) {
		l.ExtraExtensions = append(l.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: tlv(0x30, content...)})
	}
}

func pointOf(url string) []byte { return tlv(0xa0, tlv(0xa0, tlv(0x86, []byte(url)))) }

// A list says that a certificate is not revoked only if it is complete for it and current:
// a delta list, one for some reasons, one of several parts that is about others does not.
func TestListsThatAreNotComplete(t *testing.T) {
	ca := newAuthority(t, "people")
	certs := &operator.Certificates{Roots: []*x509.Certificate{ca.cert}, SID: true, RequireRevoked: true}
	w := newWorld(t, func(o *operator.Options) { o.Certificates = certs })
	anna := w.dir.Add("anna")
	ext, err := operator.MarshalSIDExtension(anna.SID)
	if err != nil {
		t.Fatal(err)
	}
	c := ca.template(50)
	c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 25, 2}, Value: ext}}
	c.CRLDistributionPoints = []string{"http://pki.contoso.test/people2.crl"}
	cert := ca.client(c)
	all := func(*x509.RevocationList) {}
	revoking := func(l *x509.RevocationList) {
		l.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: big.NewInt(50), RevocationTime: w.now}}
	}
	extension := func(critical bool, id ...int) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) {
			l.ExtraExtensions = append(l.ExtraExtensions, pkix.Extension{Id: id, Critical: critical, Value: []byte{2, 1, 1}})
		}
	}
	old := func(l *x509.RevocationList) { l.NextUpdate = w.now.Add(-time.Minute) }
	for what, x := range map[string]struct {
		lists []func(*x509.RevocationList)
		check error  // of CheckList for the first
		why   string // it is refused; empty: it is taken
	}{
		"complete":                   {[]func(*x509.RevocationList){all}, nil, ""},
		"a delta list":               {[]func(*x509.RevocationList){extension(true, 2, 5, 29, 27)}, operator.ErrList, "delta list"},
		"complete, and a delta list": {[]func(*x509.RevocationList){all, extension(true, 2, 5, 29, 27)}, nil, ""},
		"unknown, critical":          {[]func(*x509.RevocationList){extension(true, 1, 2, 3)}, operator.ErrList, "critical extension 1.2.3"},
		"unknown":                    {[]func(*x509.RevocationList){extension(false, 1, 2, 3)}, nil, ""},
		"only some reasons":          {[]func(*x509.RevocationList){issuingPoint(tlv(0x83, []byte{1, 6}))}, operator.ErrList, "some reasons"},
		"of several issuers":         {[]func(*x509.RevocationList){issuingPoint(tlv(0x84, []byte{255}))}, operator.ErrList, "several issuers"},
		"of attribute certificates":  {[]func(*x509.RevocationList){issuingPoint(tlv(0x85, []byte{255}))}, operator.ErrList, "attribute certificates"},
		"of authorities":             {[]func(*x509.RevocationList){issuingPoint(tlv(0x82, []byte{255}))}, nil, "not about certificate 50"},
		"of users":                   {[]func(*x509.RevocationList){issuingPoint(tlv(0x81, []byte{255}))}, nil, ""},
		"malformed":                  {[]func(*x509.RevocationList){issuingPoint([]byte{0xa0, 5})}, operator.ErrList, "malformed"},
		"another part":               {[]func(*x509.RevocationList){issuingPoint(pointOf("http://pki.contoso.test/people1.crl"))}, nil, "not about certificate 50"},
		"its part":                   {[]func(*x509.RevocationList){issuingPoint(pointOf("http://pki.contoso.test/people2.crl"))}, nil, ""},
		"an old list and a new one":  {[]func(*x509.RevocationList){old, all}, nil, ""},
		"an old list":                {[]func(*x509.RevocationList){old}, nil, "ended"},
		"revoked in an old list":     {[]func(*x509.RevocationList){all, func(l *x509.RevocationList) { old(l); revoking(l) }}, nil, "was revoked"},
		"revoked in another part":    {[]func(*x509.RevocationList){all, func(l *x509.RevocationList) { issuingPoint(pointOf("http://x"))(l); revoking(l) }}, nil, "was revoked"},
		"of tomorrow":                {[]func(*x509.RevocationList){func(l *x509.RevocationList) { l.ThisUpdate = w.now.Add(time.Hour) }}, nil, "begins"},
		"none":                       {nil, nil, "there is no list"},
	} {
		var lists []*x509.RevocationList
		for _, change := range x.lists {
			lists = append(lists, ca.listWith(t, change))
		}
		if len(lists) > 0 {
			if err := operator.CheckList(lists[0]); !errors.Is(err, x.check) {
				t.Errorf("%s: %v, want %v", what, err, x.check)
			}
		}
		certs.Revoked = func() ([]*x509.RevocationList, error) { return lists, nil }
		_, err := w.signInBy(cert)
		if x.why == "" && err != nil || x.why != "" && (!errors.Is(err, operator.ErrSignIn) || !strings.Contains(w.lastRefusal("session.begin"), x.why)) {
			t.Errorf("%s: %v; %s", what, err, w.lastRefusal("session.begin"))
		}
	}
	away := errors.New("away")
	certs.Revoked = func() ([]*x509.RevocationList, error) { return nil, away }
	if _, err := w.signInBy(cert); !errors.Is(err, away) || errors.Is(err, operator.ErrSignIn) {
		t.Errorf("lists that cannot be read: %v", err)
	}
}

// Whatever stands in the extension, it is read or refused.
func FuzzCheckList(f *testing.F) {
	for _, seed := range [][]byte{pointOf("http://x"), tlv(0x81, []byte{255}), tlv(0x83, []byte{1, 6}), {}, {0xa0, 0x80}} {
		f.Add(tlv(0x30, seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l := &x509.RevocationList{NextUpdate: time.Unix(1, 0), Extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Value: b}}}
		if err := operator.CheckList(l); err != nil && !errors.Is(err, operator.ErrList) {
			t.Error(err)
		}
	})
}
