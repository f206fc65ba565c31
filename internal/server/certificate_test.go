package server

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var day = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// The authority is made once, its key is nobody else's to read, leaves renew
// themselves, and what is given to clients goes on to verify them.
func TestOwnAuthority(t *testing.T) {
	dir, now := filepath.Join(t.TempDir(), "tls"), day
	clock := func() time.Time { return now }
	names := []string{"leastwise.contoso.test", "127.62.0.10"}
	c, err := OpenAuthority(dir, names, clock)
	if err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(filepath.Join(dir, authorityKeyFile))
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Fatalf("key: %v %v", fi, err)
	}
	kept, err := os.ReadFile(filepath.Join(dir, AuthorityFile))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(kept)
	check := func() *x509.Certificate {
		t.Helper()
		leaf, err := c.Get(nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			if _, err := leaf.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: n, CurrentTime: now}); err != nil {
				t.Fatal(err)
			}
		}
		return leaf.Leaf
	}
	first := check()
	now = now.Add(leafLife - leafRenew - time.Hour)
	if !check().Equal(first) {
		t.Error("renewed too early")
	}
	now = now.Add(2 * time.Hour)
	if check().Equal(first) {
		t.Error("not renewed")
	}
	again, err := OpenAuthority(dir, names, clock)
	if err != nil || !again.ca.Equal(c.ca) {
		t.Fatalf("second start: %v", err)
	}
	c = again
	check()
	if _, err := OpenAuthority(dir, []string{"other.contoso.test"}, clock); !errors.Is(err, ErrCertificate) || !strings.Contains(err.Error(), "other.contoso.test") {
		t.Errorf("another name: %v", err)
	}
	if _, err := OpenAuthority(dir, []string{"127.62.0.11"}, clock); !errors.Is(err, ErrCertificate) {
		t.Errorf("another address: %v", err)
	}
}

func TestAuthorityRefuses(t *testing.T) {
	clock := func() time.Time { return day }
	tests := map[string]func(dir string) error{
		"open key":       func(d string) error { return os.Chmod(filepath.Join(d, authorityKeyFile), 0o644) },
		"no key":         func(d string) error { return os.Remove(filepath.Join(d, authorityKeyFile)) },
		"no certificate": func(d string) error { return os.Remove(filepath.Join(d, AuthorityFile)) },
		"damaged":        func(d string) error { return os.WriteFile(filepath.Join(d, AuthorityFile), []byte("x"), 0o600) },
	}
	for name, spoil := range tests {
		dir := t.TempDir()
		if _, err := OpenAuthority(dir, []string{"a.test"}, clock); err != nil {
			t.Fatal(err)
		}
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenAuthority(dir, []string{"a.test"}, clock); !errors.Is(err, ErrCertificate) {
			t.Errorf("%s: %v", name, err)
		}
	}
	dir := t.TempDir()
	if _, err := OpenAuthority(dir, []string{"a.test"}, clock); err != nil {
		t.Fatal(err)
	}
	late := func() time.Time { return day.Add(authorityLife - time.Hour) }
	if _, err := OpenAuthority(dir, []string{"a.test"}, late); !errors.Is(err, ErrCertificate) {
		t.Errorf("ended authority: %v", err)
	}
}
