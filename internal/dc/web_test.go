package dc

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestFingerprint(t *testing.T) {
	text := strings.Repeat("0aF1", 16)
	spaced := strings.Repeat("0a:F1 ", 16)
	a, err := ParseFingerprint(text)
	b, err2 := ParseFingerprint(spaced)
	if err != nil || err2 != nil || a != b || a.String() != strings.ToLower(text) {
		t.Errorf("%v %v, %v %v", a, err, b, err2)
	}
	for _, bad := range []string{"", "00", text + "00", strings.Repeat("zz", 32)} {
		if _, err := ParseFingerprint(bad); KindOf(err) != ErrConfig {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// What cannot work, or would be unsafe, is refused before anything is sent.
func TestNewWebRefuses(t *testing.T) {
	for _, host := range []string{"", "cm1", "127.0.0.1", "::1", "cm1.contoso.test:443", "https://cm1.contoso.test", "user@cm1.contoso.test"} {
		if _, err := NewWeb(Config{}, WebServer{Host: host}); KindOf(err) != ErrConfig || Hint(err) == "" {
			t.Errorf("%q: %v", host, err)
		}
	}
	if _, err := NewWeb(Config{Bind: Simple, Transport: LDAPS, Credentials: Password("a", "b")}, WebServer{Host: "cm1.contoso.test"}); KindOf(err) != ErrConfig {
		t.Errorf("simple bind: %v", err)
	}
	w, err := NewWeb(Config{}, WebServer{Host: "CM1.Contoso.test."})
	if err != nil || w.cfg.Domain != "contoso.test" || w.URL("/x") != "https://cm1.contoso.test/x" {
		t.Errorf("%v, %v", w, err)
	}
}

// A server of another domain than the account's: both domains are asked for it, and the
// account stays where it belongs.
func TestWebDomains(t *testing.T) {
	w, err := NewWeb(Config{Domain: "Contoso.test", Credentials: Password(`CONTOSO\alice`, "x")}, WebServer{Host: "cm1.child.contoso.test"})
	if err != nil || !slices.Equal(w.domains, []string{"contoso.test", "child.contoso.test"}) || w.cfg.Credentials.Principal() != "alice@CONTOSO.TEST" {
		t.Errorf("%v as %v, %v", w.domains, w.cfg.Credentials, err)
	}
	w, err = NewWeb(Config{Credentials: Keytab("", "k")}, WebServer{Host: "cm1.contoso.test"})
	if err != nil || !slices.Equal(w.domains, []string{"contoso.test"}) || w.cfg.Credentials.Principal() != "" {
		t.Errorf("%v as %v, %v", w.domains, w.cfg.Credentials, err)
	}
}

func TestNegotiation(t *testing.T) {
	token := tlv(0x60, oidKRB5[:], []byte{2, 0}, []byte("reply"))
	state := func(n int64) []byte { return tlv(0xa0, berInt(0x0a, n)) }
	answer := func(parts ...[]byte) []byte { return tlv(0xa1, tlv(0x30, parts...)) }
	for name, c := range map[string]struct {
		in    []byte
		state int64
		token bool
		bad   bool
	}{
		"completed with token":  {in: answer(state(0), tlv(0xa1, oidKRB5[:]), tlv(0xa2, tlv(0x04, token))), token: true},
		"completed without":     {in: answer(state(0))},
		"bare Kerberos":         {in: token, state: -1, token: true},
		"rejected":              {in: answer(state(2)), state: 2},
		"with MIC":              {in: answer(state(0), tlv(0xa3, tlv(0x04, []byte("mic"))))},
		"empty":                 {bad: true},
		"another thing":         {in: tlv(0x30, state(0)), bad: true},
		"state out of range":    {in: answer(state(7)), bad: true},
		"token of another type": {in: answer(tlv(0xa2, tlv(0x30, token))), bad: true},
		"cut":                   {in: answer(state(0))[:5], bad: true},
	} {
		a, err := parseNegotiation(c.in)
		if (err != nil) != c.bad || !c.bad && (a.state != c.state || (len(a.token) > 0) != c.token) {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	init := berDecoder(negotiationInit(token))
	c, err := init.expect(0x60)
	if err != nil || len(init) != 0 || !strings.HasPrefix(string(c), string(oidSPNEGO[:])) || !strings.HasSuffix(string(c), string(token)) {
		t.Errorf("NegTokenInit % x, %v", c, err)
	}
}

// A server that rejects, or wants to go on with something else, never counts as one
// that accepted.
func TestNegotiationNotAccepted(t *testing.T) {
	for _, n := range []int64{negotiationIncomplete, negotiationRejected, negotiationWantsMIC} {
		proved, err := new(gssContext).finish(tlv(0xa1, tlv(0x30, tlv(0xa0, berInt(0x0a, n)))))
		if err == nil || proved {
			t.Errorf("state %d: %v, %v", n, proved, err)
		}
	}
	if proved, err := new(gssContext).finish(tlv(0xa1, tlv(0x30, tlv(0xa0, berInt(0x0a, 0))))); err != nil || proved {
		t.Errorf("completed without a token: %v, %v", proved, err)
	}
	forged := tlv(0x60, oidKRB5[:], []byte{2, 0}, []byte{0x6f, 0})
	var e *Error
	if _, err := new(gssContext).finish(forged); err == nil || errors.As(err, &e) && e.Kind != ErrProtocol {
		t.Errorf("forged proof: %v", err)
	}
}

func FuzzNegotiation(f *testing.F) {
	f.Add(tlv(0xa1, tlv(0x30, tlv(0xa0, berInt(0x0a, 0)), tlv(0xa1, oidKRB5[:]), tlv(0xa2, tlv(0x04, []byte{0x60, 0})))))
	f.Add([]byte{0x60, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		proved, err := new(gssContext).finish(b)
		if proved {
			t.Errorf("% x proves an identity to somebody without a ticket: %v", b, err)
		}
	})
}
