package dc

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/iana/nametype"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

// A forge makes tickets for a service, as a KDC would that is no domain controller: they
// have no authorization data.
type forge struct {
	t    testing.TB
	keys *keytab.Keytab
	path string
}

const (
	forgeRealm   = "CONTOSO.TEST"
	forgeService = "HTTP/leastwise.contoso.test"
)

func newForge(t testing.TB) *forge {
	t.Helper()
	f := &forge{t: t, keys: keytab.New(), path: filepath.Join(t.TempDir(), "keytab")}
	for _, et := range []int32{18, 23} {
		if err := f.keys.AddEntry(forgeService, forgeRealm, "service password", time.Now(), 1, et); err != nil {
			t.Fatal(err)
		}
	}
	b, err := f.keys.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

// token returns a client's first token, with a ticket of an encryption type that ends at
// a time, made at a time by the client's clock.
func (f *forge) token(et int32, end, made time.Time, endpoint []byte) []byte {
	f.t.Helper()
	service := types.NewPrincipalName(nametype.KRB_NT_SRV_INST, forgeService)
	client := types.NewPrincipalName(nametype.KRB_NT_PRINCIPAL, "anna")
	now := time.Now().UTC()
	tkt, key, err := messages.NewTicket(client, forgeRealm, service, forgeRealm, types.NewKrbFlags(), f.keys, et, 1, now, now.Add(-time.Hour), end, end)
	if err != nil {
		f.t.Fatal(err)
	}
	k := &kerberos{cfg: Config{Now: func() time.Time { return made }}}
	k.setIdentity(client, forgeRealm)
	var bound []byte
	if endpoint != nil {
		bound = bindings(endpoint)
	}
	_, b, err := k.newGSS(ticket{tkt: tkt, key: key}, gssInteg, bound)
	if err != nil {
		f.t.Fatal(err)
	}
	return negotiationInit(b)
}

// What a token is refused for, in the order in which it is looked at. One that has all
// but a domain controller's word is refused for that.
func TestAcceptRefuses(t *testing.T) {
	f := newForge(t)
	now := time.Now().UTC()
	later := now.Add(time.Hour)
	here, there := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	a, err := NewAcceptor(f.path, false)
	if err != nil {
		t.Fatal(err)
	}
	strict, err := NewAcceptor(f.path, true)
	if err != nil {
		t.Fatal(err)
	}
	good := f.token(18, later, now, nil)
	inner, wrapped, err := mechanismToken(good)
	if err != nil || !wrapped {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		a        *Acceptor
		token    []byte
		endpoint []byte
		want     string
	}{
		"no authorization data":       {a, good, here, "no authorization data"},
		"bare Kerberos":               {a, inner, here, "no authorization data"},
		"tied to this connection":     {strict, f.token(18, later, now, here), here, "no authorization data"},
		"tied to another connection":  {a, f.token(18, later, now, there), here, "somebody stands between"},
		"tied, but there is no TLS":   {a, f.token(18, later, now, here), nil, "somebody stands between"},
		"not tied, but it must be":    {strict, good, here, "not tied to the TLS connection"},
		"RC4":                         {a, f.token(23, later, now, nil), here, "encryption type 23, not AES"},
		"ended":                       {a, f.token(18, now.Add(-10*time.Minute), now, nil), here, "expired"},
		"the client's clock is late":  {a, f.token(18, later, now.Add(-6*time.Minute), nil), here, "clock skew"},
		"the client's clock is early": {a, f.token(18, later, now.Add(6*time.Minute), nil), here, "clock skew"},
		"nothing":                     {a, nil, here, "no token of SPNEGO or Kerberos"},
		"NTLM":                        {a, []byte("NTLMSSP\x00\x01\x00\x00\x00"), here, "no token of SPNEGO or Kerberos"},
		"cut":                         {a, good[:len(good)-1], here, "no token of SPNEGO or Kerberos"},
		"more behind it":              {a, append(bytes.Clone(good), 0), here, "no token of SPNEGO or Kerberos"},
		"another key":                 {a, newForgeLike(t, "another password").token(18, later, now, nil), here, "integrity"},
	} {
		acc, err := c.a.Accept(c.token, c.endpoint)
		if !errors.Is(err, ErrTicket) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want … %s …", what, err, c.want)
		}
		if !acc.SID.IsZero() || acc.Reply != nil || acc.Once != [sha256.Size]byte{} {
			t.Errorf("%s: %+v", what, acc)
		}
	}
}

func newForgeLike(t testing.TB, password string) *forge {
	t.Helper()
	f := &forge{t: t, keys: keytab.New()}
	if err := f.keys.AddEntry(forgeService, forgeRealm, password, time.Now(), 1, 18); err != nil {
		t.Fatal(err)
	}
	return f
}

// A negotiation whose first mechanism is another one is refused, also if Kerberos follows:
// the token is for the first.
func TestNegotiationBeginsWithKerberos(t *testing.T) {
	token := tlv(0x60, oidKRB5[:], []byte{1, 0})
	ntlm := []byte{0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x02, 0x0a}
	build := func(mechanisms ...[]byte) []byte {
		list := tlv(0xa0, tlv(0x30, mechanisms...))
		return tlv(0x60, oidSPNEGO[:], tlv(0xa0, tlv(0x30, list, tlv(0xa2, tlv(0x04, token)))))
	}
	for what, c := range map[string]struct {
		b  []byte
		ok bool
	}{
		"Kerberos":            {build(oidKRB5[:]), true},
		"as Windows calls it": {build(oidKRB5Old[:], oidKRB5[:], ntlm), true},
		"NTLM first":          {build(ntlm, oidKRB5[:]), false},
		"none":                {build(), false},
	} {
		got, _, err := mechanismToken(c.b)
		if (err == nil) != c.ok || c.ok && !bytes.Equal(got, token) {
			t.Errorf("%s: %x, %v", what, got, err)
		}
	}
}

func FuzzAccept(f *testing.F) {
	g := newForge(f)
	a, err := NewAcceptor(g.path, false)
	if err != nil {
		f.Fatal(err)
	}
	now := time.Now().UTC()
	good := g.token(18, now.Add(time.Hour), now, nil)
	f.Add(good)
	inner, _, err := mechanismToken(good)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(inner)
	f.Fuzz(func(t *testing.T, b []byte) {
		if acc, err := a.Accept(b, nil); err == nil || !errors.Is(err, ErrTicket) {
			t.Errorf("%+v, %v", acc, err)
		}
	})
}

func TestAcceptorKeytab(t *testing.T) {
	weak := keytab.New()
	if err := weak.AddEntry(forgeService, forgeRealm, "x", time.Now(), 1, 23); err != nil {
		t.Fatal(err)
	}
	raw, err := weak.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, c := range map[string]struct {
		content []byte
		want    Kind
	}{"weak": {raw, ErrNoStrongKey}, "empty": {nil, ErrNoCredentials}, "text": {[]byte("secret"), ErrNoCredentials}} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, c.content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := NewAcceptor(path, false); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewAcceptor(filepath.Join(dir, "none"), false); !errors.Is(err, ErrNoCredentials) {
		t.Error(err)
	}
}

func TestLockoutNear(t *testing.T) {
	for _, c := range []struct {
		l    Lockout
		near bool
	}{
		{Lockout{Threshold: 0, Bad: 1000}, false},
		{Lockout{Threshold: -1, Bad: 0}, true},
		{Lockout{Threshold: 5, Bad: 0}, false},
		{Lockout{Threshold: 5, Bad: 2}, false},
		{Lockout{Threshold: 5, Bad: 3}, true},
		{Lockout{Threshold: 5, Bad: -1}, true},
		{Lockout{Threshold: 0, Bad: -1}, false},
		{Lockout{Threshold: 3, Bad: 0}, false},
		{Lockout{Threshold: 3, Bad: 1}, true},
		{Lockout{Threshold: 2, Bad: 0}, true},
		{Lockout{Threshold: 1, Bad: 0}, true},
	} {
		if c.l.Near() != c.near {
			t.Errorf("%+v: %v", c.l, !c.near)
		}
	}
}
