package dc

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

func TestCertificatesAreVerified(t *testing.T) {
	for name, c := range map[string]struct {
		host  string
		until time.Duration
		noCA  bool
		kind  Kind
	}{
		"good":              {"dc1.x.test", time.Hour, false, 0},
		"unknown authority": {"dc1.x.test", time.Hour, true, ErrUntrusted},
		"other name":        {"dc9.x.test", time.Hour, false, ErrWrongHost},
		"over":              {"dc1.x.test", -time.Hour, false, ErrCertExpired},
	} {
		for _, transport := range []Transport{LDAPS, StartTLS} {
			w := newWorld(t)
			d := w.addDC("dc1", "10.0.0.1", 1)
			conf := w.certificate(c.host, time.Now().Add(c.until))
			w.setPort("10.0.0.1:636", func(nc net.Conn) { d.serve(tlsServer(nc, conf)) })
			w.setPort("10.0.0.1:389", func(nc net.Conn) {
				if answerStartTLS(nc, 0, nil) {
					d.serve(tlsServer(nc, conf))
				}
			})
			cfg := w.config()
			cfg.Transport = transport
			if c.noCA {
				cfg.CAFile = ""
			}
			r, err := Open(t.Context(), cfg)
			if err == nil {
				_ = r.Close()
			}
			if KindOf(err) != c.kind || err != nil && Hint(err) == "" {
				t.Errorf("%s over %s: %v, want %v", name, transport, err, c.kind)
			}
		}
	}
}

// answerStartTLS reads a StartTLS request and answers it; extra follows in clear.
func answerStartTLS(nc net.Conn, code int64, extra []byte) bool {
	b := make([]byte, 512)
	n, err := nc.Read(b)
	if err != nil {
		return false
	}
	m, err := parseMessage(b[:n])
	if err != nil || m.op != opExtendedRequest {
		return false
	}
	reply := encodeMessage(m.id, tlv(opExtendedResponse, berInt(0x0a, code), berString(0x04, ""), berString(0x04, "no TLS here")), nil)
	_, err = nc.Write(append(reply, extra...))
	return err == nil && code == 0
}

// Bytes that a man in the middle slips in behind the answer to StartTLS must not
// be taken for protected ones; a refused StartTLS must not fall back to clear.
func TestStartTLSRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		code  int64
		extra []byte
		kind  Kind
	}{
		"injection": {0, []byte("injected"), ErrTampered},
		"refused":   {resultUnavailable, nil, ErrUnavailable},
	} {
		w := newWorld(t)
		w.addDC("dc1", "10.0.0.1", 1)
		var after int64
		w.setPort("10.0.0.1:389", func(nc net.Conn) {
			answerStartTLS(nc, c.code, c.extra)
			after, _ = io.Copy(io.Discard, nc)
		})
		cfg := w.config()
		cfg.Transport = StartTLS
		_, err := Open(t.Context(), cfg)
		w.close()
		if KindOf(err) != c.kind || after != 0 {
			t.Errorf("%s: %v, want %v; %d bytes sent afterwards", name, err, c.kind, after)
		}
	}
}

// What Windows says about a refused simple bind.
func TestBindRefusals(t *testing.T) {
	for code, kind := range map[string]Kind{
		"525": ErrUnknownUser, "52e": ErrWrongPassword, "530": ErrLogonRestricted, "531": ErrLogonRestricted, "532": ErrPasswordExpired,
		"533": ErrDisabled, "701": ErrAccountExpired, "773": ErrPasswordExpired, "775": ErrLockedOut, "999": ErrWrongPassword,
	} {
		w := newWorld(t)
		d := w.addDC("dc1", "10.0.0.1", 1)
		w.addDC("dc2", "10.0.0.2", 1)
		d.bindCode, d.bindText = resultInvalidCredentials, "80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data "+code+", v4563"
		_, err := Open(t.Context(), w.config())
		if KindOf(err) != kind || Hint(err) == "" {
			t.Errorf("%s: %v, want %v (and no second attempt elsewhere)", code, err, kind)
		}
	}
}

func TestDiscovery(t *testing.T) {
	w := newWorld(t)
	for i, name := range []string{"far", "near", "nowhere"} {
		w.addDC(name, fmt.Sprintf("10.0.0.%d", i+1), 1)
	}
	delete(w.hosts, "nowhere.x.test")
	w.srv["_ldap._tcp.Berlin._sites.dc._msdcs.x.test"] = []string{"near.x.test"}
	names := func(change func(*Config)) string {
		cfg := w.config()
		change(&cfg)
		servers, err := Discover(t.Context(), cfg)
		if err != nil {
			return KindOf(err).Error()
		}
		var s []string
		for _, x := range servers {
			s = append(s, x.String())
		}
		return strings.Join(s, ", ")
	}
	for want, change := range map[string]func(*Config){
		"far.x.test 10.0.0.1, near.x.test 10.0.0.2": func(*Config) {},
		"near.x.test 10.0.0.2, far.x.test 10.0.0.1": func(c *Config) { c.Site = "Berlin" },
		"near.x.test 10.0.0.2":                      func(c *Config) { c.Server = "NEAR.x.test." },
		"10.0.0.9":                                  func(c *Config) { c.Server = "10.0.0.9" },
		ErrDNS.Error():                              func(c *Config) { c.Domain = "y.test" },
		ErrConfig.Error():                           func(c *Config) { c.Domain = "" },
	} {
		if got := names(change); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// Controllers that do not answer are passed over; the rootDSE of the one that
// does is understood.
func TestOpenPassesOverTheDead(t *testing.T) {
	w := newWorld(t)
	w.addDC("dc1", "10.0.0.1", 1)
	w.addDC("dc2", "10.0.0.2", 1)
	w.setPort("10.0.0.1:636", nil)
	r := w.open(nil)
	root := r.Root()
	if r.Server().Name != "dc2.x.test" || root.Domain() != "x.test" || root.Site != "Berlin" || root.DomainLevel != -1 || root.Skew.Round(5*time.Second) != 90*time.Second {
		t.Errorf("%v, %+v", r.Server(), root)
	}
	w.setPort("10.0.0.2:636", nil)
	if _, err := Open(t.Context(), w.config()); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "dc1.x.test") || !strings.Contains(err.Error(), "dc2.x.test") {
		t.Errorf("%v", err)
	}
	w.srv["_ldap._tcp.dc._msdcs.other.test"] = []string{"dc1.x.test"}
	d := w.addDC("dc1", "10.0.0.1", 1)
	_ = d
	cfg := w.config()
	cfg.Domain = "other.test"
	if _, err := Open(t.Context(), cfg); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "serves the domain x.test") {
		t.Errorf("domain controller of another domain: %v", err)
	}
}

func TestCredentialsNeverShowTheirSecret(t *testing.T) {
	c := Password("alice@x.test", "hunter2")
	j, err := json.Marshal(map[string]any{"c": c, "config": struct{ C Credentials }{c}})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+"\n", c)
		fmt.Fprintf(&out, verb+"\n", &c)
		fmt.Fprintf(&out, verb+"\n", struct{ C Credentials }{c})
	}
	out.Write(j)
	for _, s := range []string{"hunter2", fmt.Sprintf("%x", "hunter2"), "104 117"} {
		if strings.Contains(out.String(), s) {
			t.Errorf("%q shows in %s", s, out.String())
		}
	}
	if !strings.Contains(out.String(), "alice@x.test") {
		t.Error("the principal does not show")
	}
}

// fakeKDC answers every request with one KRB-ERROR.
func fakeKDC(code int32, edata []byte) func(net.Conn) {
	return func(nc net.Conn) {
		var head [4]byte
		if _, err := io.ReadFull(nc, head[:]); err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, nc, int64(binary.BigEndian.Uint32(head[:]))); err != nil {
			return
		}
		e := messages.NewKRBError(types.NewPrincipalName(2, "krbtgt/X.TEST"), "X.TEST", code, "")
		e.STime = time.Now().Add(17 * time.Minute).UTC()
		e.EData = edata
		b, err := e.Marshal()
		if err != nil {
			return
		}
		_, _ = nc.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	}
}

// What a KDC says, told apart. Samba's answers to the common cases are tested
// against Samba; clock skew, lockout and restrictions are made here.
func TestKDCRefusals(t *testing.T) {
	status := func(code uint32) []byte {
		v := append(binary.LittleEndian.AppendUint32(nil, code), make([]byte, 8)...)
		return tlv(0x30, tlv(0xa1, berInt(0x02, 3)), tlv(0xa2, tlv(0x04, v)))
	}
	for name, c := range map[string]struct {
		kdc    func(net.Conn)
		kind   Kind
		detail string
	}{
		"skew":         {fakeKDC(errorcode.KRB_AP_ERR_SKEW, nil), ErrClockSkew, "clock is 1"},
		"wrong key":    {fakeKDC(errorcode.KDC_ERR_PREAUTH_FAILED, nil), ErrWrongPassword, ""},
		"unknown":      {fakeKDC(errorcode.KDC_ERR_C_PRINCIPAL_UNKNOWN, nil), ErrUnknownUser, ""},
		"locked out":   {fakeKDC(errorcode.KDC_ERR_CLIENT_REVOKED, status(0xc0000234)), ErrLockedOut, ""},
		"disabled":     {fakeKDC(errorcode.KDC_ERR_CLIENT_REVOKED, status(0xc0000072)), ErrDisabled, ""},
		"hours":        {fakeKDC(errorcode.KDC_ERR_CLIENT_REVOKED, status(0xc000006f)), ErrLogonRestricted, ""},
		"revoked":      {fakeKDC(errorcode.KDC_ERR_CLIENT_REVOKED, nil), ErrRevoked, ""},
		"key expired":  {fakeKDC(errorcode.KDC_ERR_KEY_EXPIRED, nil), ErrPasswordExpired, ""},
		"no AES":       {fakeKDC(errorcode.KDC_ERR_ETYPE_NOSUPP, nil), ErrNoStrongKey, ""},
		"RC4 offered":  {fakeKDC(errorcode.KDC_ERR_PREAUTH_REQUIRED, etypeInfo(23)), ErrNoStrongKey, ""},
		"nobody there": {nil, ErrKDCUnreachable, ""},
		"closes":       {func(net.Conn) {}, ErrKDCUnreachable, ""},
		"nonsense":     {func(nc net.Conn) { _, _ = nc.Read(make([]byte, 2048)); _, _ = nc.Write([]byte("\x00\x00\x00\x04what")) }, ErrProtocol, ""},
	} {
		w := newWorld(t)
		w.addDC("dc1", "10.0.0.1", 1)
		if c.kdc != nil {
			w.setPort("10.0.0.1:88", c.kdc)
		}
		cfg := w.config()
		cfg.Transport, cfg.Bind = Sealed, Kerberos
		_, err := Open(t.Context(), cfg)
		if KindOf(err) != c.kind || !strings.Contains(err.Error(), c.detail) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %v", name, err, c.kind)
		}
	}
}

// etypeInfo is METHOD-DATA with an ETYPE-INFO2 of one encryption type.
func etypeInfo(et int64) []byte {
	info := tlv(0x30, tlv(0x30, tlv(0xa0, berInt(0x02, et))))
	return tlv(0x30, tlv(0x30, tlv(0xa1, berInt(0x02, 19)), tlv(0xa2, tlv(0x04, info))))
}

func TestCredentialFiles(t *testing.T) {
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, []byte("\x05\x04\x00\x0c\xff\xff\xff\xff junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]Credentials{
		"no cache":         CCache(filepath.Join(dir, "none")),
		"junk cache":       CCache(junk),
		"cache in keyring": CCache("KEYRING:persistent:0"),
		"no keytab":        Keytab("", filepath.Join(dir, "none")),
		"junk keytab":      Keytab("", junk),
		"no password":      Password("u", ""),
	} {
		w := newWorld(t)
		w.addDC("dc1", "10.0.0.1", 1)
		cfg := w.config()
		cfg.Transport, cfg.Bind, cfg.Credentials = Sealed, Kerberos, c
		if _, err := Open(t.Context(), cfg); !errors.Is(err, ErrNoCredentials) || Hint(err) == "" {
			t.Errorf("%s: %v, want %v", name, err, ErrNoCredentials)
		}
	}
}

// Damaged keytabs are told apart in words that somebody can act on.
func TestDamagedKeytab(t *testing.T) {
	t.Parallel()
	const (
		// one entry: realm R, component u, name type 1, time 0, version 1, key of type 18
		entry  = "\x00\x01" + "\x00\x01R" + "\x00\x01u" + "\x00\x00\x00\x01" + "\x00\x00\x00\x00" + "\x01" + "\x00\x12" + "\x00\x04abcd"
		sound  = "\x05\x02" + "\x00\x00\x00\x19" + entry
		broken = "\x05\x02" + "\x00\x00\x00\x19" + "\x00\x01" + "\x00\x01\xff" + "\x00\x01\x00" + "\x00\x00\x00\x01" + "\x00\x00\x00\x00" + "\x01" + "\x00\x12" + "\x00\x04abcd"
	)
	for _, tt := range []struct{ name, data, want string }{
		{"sound", sound, ""},
		{"empty", "", "the file is empty"},
		{"text", "Hello", "it is no keytab"},
		{"other version", "\x05\x04junk", "it is no keytab"},
		{"no entry", "\x05\x02", "holds no key"},
		{"cut short", sound[:20], "damaged or cut short"},
		{"cut in a length", sound[:5], "damaged or cut short"},
		{"length beyond the end", "\x05\x02\x7f\xff\xff\xffab", "damaged or cut short"},
		{"junk entry", "\x05\x02\x00\x00\x00\x04junk", "damaged or cut short"},
		{"no text", broken, "no text"},
	} {
		_, err := parseKeytab([]byte(tt.data))
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: %v does not say %q", tt.name, err, tt.want)
		}
	}
}

// Every kind has a text, and an error is of its kind, its cause and, with a
// position, a truncation.
func TestKindsAreDescribed(t *testing.T) {
	for k := ErrConfig; k <= ErrServer; k++ {
		if strings.HasPrefix(k.Error(), "kind of failure") {
			t.Errorf("kind %d has no text", k)
		}
	}
	e := &Error{Kind: ErrBusy, Op: "searching", Server: "dc1", At: &Position{Partition: "DC=x", Entries: 2, LastDN: "CN=y"}, Err: context.Canceled}
	want := `searching (dc1): server is busy; cut short in "DC=x" after 2 entries, the last of them "CN=y": context canceled`
	if d := cmp.Diff(want, e.Error()); d != "" {
		t.Error(d)
	}
	for _, target := range []error{ErrBusy, ErrTruncated, context.Canceled} {
		if !errors.Is(e, target) {
			t.Errorf("it is not %v", target)
		}
	}
	if errors.Is(e, ErrTimeout) {
		t.Error("it is a timeout")
	}
}

func TestSysvolPath(t *testing.T) {
	for in, want := range map[string]string{
		`\\x.test\SysVol\x.test\Policies\{1}`:  "x.test/Policies/{1}",
		`\\x.test\sysvol\x.test\Policies\{1}\`: "x.test/Policies/{1}",
		`\\x.test\other\x`:                     "",
		`\\x.test\sysvol\..\..\etc`:            "",
		`\\x.test\sysvol`:                      "",
		`C:\Windows`:                           "",
		`//x.test/SYSVOL/x.test/a`:             "x.test/a",
		`\\x.test\SYSVOL\x.test\\Policies`:     "",
	} {
		got, err := SysvolPath(in)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%s: %q, %v, want %q", in, got, err, want)
		}
	}
}

func TestPrincipals(t *testing.T) {
	for in, want := range map[string][]string{
		"alice": {"alice", "X.TEST"}, "alice@y.test": {"alice", "Y.TEST"}, `X\alice`: {"alice", "X.TEST"}, "a@b@y.test": {"a@b", "Y.TEST"},
	} {
		user, realm := splitPrincipal(in, "x.test")
		if !slices.Equal([]string{user, realm}, want) {
			t.Errorf("%s: %s, %s, want %v", in, user, realm, want)
		}
	}
}
