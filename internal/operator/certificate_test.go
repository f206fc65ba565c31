package operator_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/operator/operatortest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// sidVector is the extension for S-1-5-21-3419697060-3810377854-678604692-1105, written
// down byte by byte after [MS-WCCE] 2.2.2.7.7.4.
const sidVector = "303f" + "a03d" + "060a2b060104018237190201" + "a02f" + "042d" +
	"532d312d352d32312d333431393639373036302d333831303337373835342d3637383630343639322d31313035"

func TestSIDExtension(t *testing.T) {
	raw, err := hex.DecodeString(sidVector)
	if err != nil {
		t.Fatal(err)
	}
	want := secdesc.MustSID("S-1-5-21-3419697060-3810377854-678604692-1105")
	sid, err := operator.ParseSIDExtension(raw)
	if err != nil || sid != want {
		t.Fatalf("%s, %v", sid, err)
	}
	again, err := operator.MarshalSIDExtension(want)
	if err != nil || !bytes.Equal(again, raw) {
		t.Errorf("%x, %v", again, err)
	}
	for what, bad := range map[string]string{
		"nothing":       "",
		"cut":           sidVector[:len(sidVector)-2],
		"more behind":   sidVector + "00",
		"no sequence":   "31" + sidVector[2:],
		"another type":  strings.Replace(sidVector, "3719020", "3719030", 1),
		"another tag":   strings.Replace(sidVector, "a02f", "a12f", 1),
		"text":          strings.Replace(sidVector, "042d", "0c2d", 1),
		"small letters": strings.Replace(sidVector, "532d31", "732d31", 1),
		"leading zero":  strings.Replace(sidVector, "2d31313035", "2d30313035", 1),
		"no SID":        strings.Replace(sidVector, "532d312d35", "532d312d2d", 1),
		"long length":   strings.Replace(strings.Replace(strings.Replace(sidVector, "303f", "3040", 1), "a03d", "a03e", 1), "a02f", "a0812f", 1),
		"two names":     "307e" + strings.Repeat(sidVector[4:], 2),
	} {
		b, err := hex.DecodeString(bad)
		if err != nil {
			t.Fatal(what, err)
		}
		sid, err := operator.ParseSIDExtension(b)
		if err == nil {
			t.Errorf("%s: %s", what, sid)
		}
		wants(t, what, err, operator.ErrExtension)
	}
}

func FuzzSIDExtension(f *testing.F) {
	raw, err := hex.DecodeString(sidVector)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte{0x30, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		sid, err := operator.ParseSIDExtension(b)
		if err != nil {
			return
		}
		if again, err := operator.MarshalSIDExtension(sid); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x became %x, %v", b, again, err)
		}
	})
}

func FuzzUPNs(f *testing.F) {
	f.Add(sanOf("root@contoso.test"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = operator.UPNs(&x509.Certificate{Extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: b}}})
	})
}

// An authority issues certificates for tests.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t: t, key: key}
	a.cert = a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, NotBefore: operatortest.Origin.Add(-time.Hour), NotAfter: operatortest.Origin.Add(1000 * time.Hour),
	}, key)
	return a
}

func (a *authority) sign(c *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	parent := a.cert
	if parent == nil {
		parent = c
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	out, err := x509.ParseCertificate(raw)
	if err != nil {
		a.t.Fatal(err)
	}
	return out
}

// sanOf is the value of a subject alternative name with principal names.
func sanOf(upns ...string) []byte {
	var names []byte
	for _, u := range upns {
		text, _ := asn1.MarshalWithParams(u, "utf8")
		value, _ := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: text})
		oid, _ := asn1.Marshal(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3})
		name, _ := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: append(oid, value...)})
		names = append(names, name...)
	}
	out, _ := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: names})
	return out
}

// issue makes a client certificate with the SID (if not zero) and principal names.
func (a *authority) issue(serial int64, sid secdesc.SID, upns ...string) *x509.Certificate {
	a.t.Helper()
	c := a.template(serial)
	if !sid.IsZero() {
		ext, err := operator.MarshalSIDExtension(sid)
		if err != nil {
			a.t.Fatal(err)
		}
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 25, 2}, Value: ext})
	}
	if len(upns) > 0 {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: sanOf(upns...)})
	}
	return a.client(c)
}

func (a *authority) template(serial int64) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "a person"}, NotBefore: operatortest.Origin.Add(-time.Hour),
		NotAfter: operatortest.Origin.Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
}

func (a *authority) client(c *x509.Certificate) *x509.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.sign(c, key)
}

func (w *world) signInBy(chain ...*x509.Certificate) (operator.SignIn, error) {
	return w.SignInCertificate(w.t.Context(), w.visit(), chain)
}

// A certificate belongs to whom its SID says; a forged name in it is refused and logged.
func TestForgedCertificateUPN(t *testing.T) {
	ca := newAuthority(t, "people")
	w := newWorld(t, func(o *operator.Options) {
		o.Certificates = &operator.Certificates{Roots: []*x509.Certificate{ca.cert}, SID: true}
	})
	mallory, root := w.dir.Add("mallory"), w.dir.Add("root")
	none := secdesc.SID{}
	for _, c := range []struct {
		what string
		cert *x509.Certificate
		who  string // empty: refused
		why  string // in the log
	}{
		{"a SID and one's own name", ca.issue(10, mallory.SID, "mallory@contoso.test"), `CONTOSO\mallory`, ""},
		{"a SID alone", ca.issue(11, mallory.SID), `CONTOSO\mallory`, ""},
		{"a SID and a name of nobody", ca.issue(12, mallory.SID, "mallory.before.marriage@contoso.test"), `CONTOSO\mallory`, ""},
		{"another's name alone", ca.issue(13, none, "root@contoso.test"), "", "a name proves nothing"},
		{"one's own name alone", ca.issue(14, none, "mallory@contoso.test"), "", "a name proves nothing"},
		{"a SID and another's name", ca.issue(15, mallory.SID, "root@contoso.test"), "", `it belongs to CONTOSO\mallory, but names CONTOSO\root`},
		{"a SID and two names", ca.issue(16, mallory.SID, "mallory@contoso.test", "ROOT@contoso.test"), "", `names CONTOSO\root`},
		{"another's SID of another authority", newAuthority(t, "people").issue(17, root.SID), "", "not trusted"},
		{"nothing", ca.issue(18, none), "", "no SID and no mapping"},
		{"a SID of nobody", ca.issue(19, secdesc.MustSID("S-1-5-21-9-9-9-500")), "", "does not exist"},
	} {
		in, err := w.signInBy(c.cert)
		if c.who != "" {
			if err != nil || in.Session.Name != c.who {
				t.Errorf("%s: %s, %v", c.what, in.Session.Name, err)
			}
			continue
		}
		wants(t, c.what, err, operator.ErrSignIn)
		if got := w.lastRefusal("session.begin"); !strings.Contains(got, c.why) {
			t.Errorf("%s: %s", c.what, got)
		}
	}
	// An account takes another's name after its certificate was issued.
	cert := ca.issue(20, root.SID, "root@contoso.test")
	w.dir.Change(root.GUID, func(a *operator.Account, upn *string) { a.Name, *upn = `CONTOSO\chief`, "chief@contoso.test" })
	w.dir.Change(mallory.GUID, func(_ *operator.Account, upn *string) { *upn = "root@contoso.test" })
	_, err := w.signInBy(cert)
	wants(t, "a name that went to another account", err, operator.ErrSignIn)
	w.dir.Change(mallory.GUID, func(a *operator.Account, _ *string) { a.Disabled = true })
	_, err = w.signInBy(ca.issue(21, mallory.SID))
	wants(t, "a disabled account", err, operator.ErrSignIn)
}

// What else makes a certificate worthless.
func TestCertificateRefused(t *testing.T) {
	ca := newAuthority(t, "people")
	w := newWorld(t, func(o *operator.Options) {
		o.Certificates = &operator.Certificates{Roots: []*x509.Certificate{ca.cert}, SID: true}
	})
	anna := w.dir.Add("anna")
	ext, err := operator.MarshalSIDExtension(anna.SID)
	if err != nil {
		t.Fatal(err)
	}
	sid := pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 25, 2}, Value: ext}
	for what, change := range map[string]func(c *x509.Certificate){
		"expired":        func(c *x509.Certificate) { c.NotAfter = operatortest.Origin.Add(-time.Second) },
		"not yet":        func(c *x509.Certificate) { c.NotBefore = operatortest.Origin.Add(time.Second) },
		"of a server":    func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} },
		"an authority's": func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true },
		"a bad SID":      func(c *x509.Certificate) { c.ExtraExtensions[0].Value = ext[:10] },
		"a bad name": func(c *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: sanOf("\x00"[:0])})
		},
		"unknown critical": func(c *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}})
		},
	} {
		c := ca.template(30)
		c.ExtraExtensions = []pkix.Extension{sid}
		change(c)
		_, err := w.signInBy(ca.client(c))
		wants(t, what, err, operator.ErrSignIn)
	}
	c := ca.template(31)
	c.ExtraExtensions = []pkix.Extension{sid}
	if _, err := w.signInBy(ca.client(c)); err != nil {
		t.Errorf("unchanged: %v", err)
	}
}

// Mappings name a certificate by issuer and serial number or by its key, an account by
// objectGUID or SID; revoked certificates are refused, and a list must be current.
func TestCertificateMappings(t *testing.T) {
	ca := newAuthority(t, "people")
	none := secdesc.SID{}
	byName, byKey, other := ca.issue(40, none, "root@contoso.test"), ca.issue(41, none), ca.issue(42, none)
	dir := operatortest.NewDirectory()
	anna, bob := dir.Add("anna"), dir.Add("bob")
	certs := &operator.Certificates{Roots: []*x509.Certificate{ca.cert}, Mappings: []operator.Mapping{
		{Account: operator.AccountRef{GUID: anna.GUID}, Issuer: "CN=people", Serial: big.NewInt(40)},
		{Account: operator.AccountRef{SID: bob.SID}, Key: sha256.Sum256(byKey.RawSubjectPublicKeyInfo)},
	}}
	if err := certs.Check(); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(o *operator.Options) { o.Certificates, o.Membership, o.Authenticator = certs, dir, dir })
	for who, cert := range map[string]*x509.Certificate{`CONTOSO\anna`: byName, `CONTOSO\bob`: byKey} {
		if in, err := w.signInBy(cert); err != nil || in.Session.Name != who {
			t.Errorf("%s: %s, %v", who, in.Session.Name, err)
		}
	}
	_, err := w.signInBy(other)
	wants(t, "no mapping", err, operator.ErrSignIn)
	_, err = w.signInBy(ca.issue(43, anna.SID))
	wants(t, "a SID where only mappings count", err, operator.ErrSignIn)

	list := func(from *authority, next time.Duration, serials ...int64) *x509.RevocationList {
		l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: w.now.Add(-time.Hour), NextUpdate: w.now.Add(next)}
		for _, s := range serials {
			l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(s), RevocationTime: w.now})
		}
		raw, err := x509.CreateRevocationList(rand.Reader, l, from.cert, from.key)
		if err != nil {
			t.Fatal(err)
		}
		out, err := x509.ParseRevocationList(raw)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for _, c := range []struct {
		what  string
		lists []*x509.RevocationList
		need  bool
		ok    bool
	}{
		{"no list", nil, false, true},
		{"no list, but one is demanded", nil, true, false},
		{"not in the list", []*x509.RevocationList{list(ca, time.Hour, 41)}, true, true},
		{"in the list", []*x509.RevocationList{list(ca, time.Hour, 41, 40)}, false, false},
		{"an old list", []*x509.RevocationList{list(ca, -time.Minute, 41)}, false, false},
		{"a list that somebody else signed", []*x509.RevocationList{list(newAuthority(t, "people"), time.Hour)}, true, false},
	} {
		certs.Revoked, certs.RequireRevoked = func() ([]*x509.RevocationList, error) { return c.lists, nil }, c.need
		if _, err := w.signInBy(byName); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	for i, m := range []operator.Mapping{
		{},
		{Account: operator.AccountRef{GUID: anna.GUID}},
		{Account: operator.AccountRef{Name: "anna"}, Issuer: "CN=x", Serial: big.NewInt(1)},
		{Account: operator.AccountRef{GUID: anna.GUID, SID: anna.SID}, Issuer: "CN=x", Serial: big.NewInt(1)},
		{Account: operator.AccountRef{GUID: anna.GUID}, Issuer: "CN=x"},
		{Account: operator.AccountRef{GUID: anna.GUID}, Issuer: "CN=x", Serial: big.NewInt(1), Key: [32]byte{1}},
	} {
		if err := (&operator.Certificates{Roots: certs.Roots, Mappings: []operator.Mapping{m}}).Check(); err == nil {
			t.Errorf("mapping %d is taken", i)
		}
	}
	if err := (&operator.Certificates{SID: true}).Check(); err == nil {
		t.Error("no authority is taken")
	}
}
