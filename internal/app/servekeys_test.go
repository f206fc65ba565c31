package app

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/operator/operatortest"
	"github.com/leastwise/leastwise/internal/store"
)

// Keys are made at the first start, and never in place of lost ones: where something was
// sealed the server says what is missing. A file that others can read is refused.
func TestOperatorKeysAreNotReplaced(t *testing.T) {
	records, file := operatortest.NewMemory(), filepath.Join(t.TempDir(), "operator.keys")
	if _, err := operatorKeys(t.Context(), file, records); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := operatorKeys(t.Context(), file, records); err != nil {
		t.Fatal(err)
	}
	if now, err := os.ReadFile(file); err != nil || !bytes.Equal(before, now) {
		t.Errorf("the keys changed at the second start: %v", err)
	}
	if runtime.GOOS != "windows" {
		for _, mode := range []os.FileMode{0o640, 0o604, 0o602} {
			if err := os.Chmod(file, mode); err != nil {
				t.Fatal(err)
			}
			if _, err := operatorKeys(t.Context(), file, records); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "open to others") {
				t.Errorf("mode %o: %v", mode, err)
			}
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	err = records.Update(t.Context(), func(ctx context.Context, tx operator.Tx) error {
		return tx.Put(ctx, operator.Record{Kind: "factor", ID: "a", Account: operatortest.GUID(1), Body: []byte(`{"id":"a","confirmed":true,"sealed":"AAAA"}`)})
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := operatorKeys(t.Context(), file, records); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "restore it") {
		t.Errorf("lost keys: %v", err)
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("keys were made in place of lost ones: %v", err)
	}
}

// Keys are rotated, and lost ones replaced, by hand.
func TestReplaceKeysByHand(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "operator.keys")
	cfg := NewConfig()
	for name, value := range map[string]string{"database": filepath.Join(dir, "lw.db"), "audit-key": filepath.Join(dir, "audit.key"), "operator-keys": file} {
		if err := cfg.Set(name, value, "test"); err != nil {
			t.Fatal(err)
		}
	}
	by := Caller{Now: time.Now}
	s := &serving{cfg: cfg, now: time.Now}
	if err := s.openStore(t.Context()); err != nil {
		t.Fatal(err)
	}
	records := s.store.Operators()
	err := records.Update(t.Context(), func(ctx context.Context, tx operator.Tx) error {
		return tx.Put(ctx, operator.Record{Kind: "factor", ID: "a", Account: operatortest.GUID(1), Body: []byte(`{"id":"a","account":"` + operatortest.GUID(1).String() + `","confirmed":true,"sealed":"AAAA"}`)})
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ReplaceLostKeys(t.Context(), cfg, by, "disk failed"); !errors.Is(err, store.ErrInUse) {
		t.Errorf("while the server runs: %v", err)
	}
	if err := s.closers[0](); err != nil {
		t.Fatal(err)
	}
	if n, err := ReplaceLostKeys(t.Context(), cfg, by, "disk failed"); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	if _, err := ReplaceLostKeys(t.Context(), cfg, by, "again"); !errors.Is(err, ErrConfig) {
		t.Errorf("keys that are there: %v", err)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+".new", []byte("half of"), 0o600); err != nil { // by a run that was ended
		t.Fatal(err)
	}
	if err := RotateKeys(t.Context(), cfg, by); err != nil {
		t.Fatal(err)
	}
	keysInLog(t, cfg, "is made anew, 1 authenticator apps removed: disk failed", "a key was added")
	after, err := readPrivate(file)
	if err != nil || len(after) <= len(before) {
		t.Errorf("%d bytes, had %d, %v", len(after), len(before), err)
	}
	if _, err := operator.ReadKeys(after); err != nil {
		t.Error(err)
	}
}

// keysInLog demands entries about the keys that seal second factors, oldest first.
func keysInLog(t *testing.T, cfg *Config, parts ...string) {
	t.Helper()
	db, err := OpenStore(t.Context(), cfg, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.AuditEntries(ctx, store.AuditFilter{Action: "operator.keys", Limit: 10})
		if err != nil || len(list) != len(parts) {
			t.Fatalf("%d entries, want %d: %v", len(list), len(parts), err)
		}
		for i, part := range parts {
			if !strings.Contains(list[i].Reason, part) {
				t.Errorf("%q, want %q", list[i].Reason, part)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The key of the audit log is made once: where it is lost the server does not start with
// another, and where others can read it not at all.
func TestAuditKeyIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "audit.key")
	cfg := NewConfig()
	for name, value := range map[string]string{"database": filepath.Join(dir, "lw.db"), "audit-key": file} {
		if err := cfg.Set(name, value, "test"); err != nil {
			t.Fatal(err)
		}
	}
	open := func() error {
		s := &serving{cfg: cfg, now: time.Now}
		err := s.openStore(t.Context())
		for _, f := range s.closers {
			err = errors.Join(err, f())
		}
		return err
	}
	for range 2 {
		if err := open(); err != nil {
			t.Fatal(err)
		}
	}
	if runtime.GOOS != "windows" {
		if err := os.Chmod(file, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := open(); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "open to others") {
			t.Errorf("a key that others can read: %v", err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := open(); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "restore it") {
		t.Errorf("a lost key: %v", err)
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a key was made in place of a lost one: %v", err)
	}
}

// crlKit makes lists of one authority.
type crlKit struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCRLKit(t *testing.T) *crlKit {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "people"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCRLSign | x509.KeyUsageCertSign, SubjectKeyId: []byte{1},
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(raw); err != nil {
		t.Fatal(err)
	}
	return &crlKit{t, c, key}
}

func (k *crlKit) list(number int64, extra ...pkix.Extension) []byte {
	k.t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour), ExtraExtensions: extra}
	raw, err := x509.CreateRevocationList(rand.Reader, l, k.cert, k.key)
	if err != nil {
		k.t.Fatal(err)
	}
	return raw
}

// Lists are read again when their file changes; what cannot be used leaves those that were
// read before in use, and is said once.
func TestRevocationsAreReadAgain(t *testing.T) {
	k := newCRLKit(t)
	file := filepath.Join(t.TempDir(), "people.crl")
	write := func(data []byte) {
		t.Helper()
		next := file + ".next"
		if err := errors.Join(os.WriteFile(next, data, 0o600), os.Rename(next, file)); err != nil {
			t.Fatal(err)
		}
	}
	inPEM := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}) }
	delta := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}

	for what, data := range map[string][]byte{"nothing": {}, "rubbish": []byte("rubbish"), "a delta list": k.list(1, delta), "a certificate": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: k.cert.Raw})} {
		write(data)
		if _, err := openRevocations([]string{file}, slog.New(slog.DiscardHandler)); !errors.Is(err, ErrConfig) {
			t.Errorf("%s at the start: %v", what, err)
		}
	}
	var log bytes.Buffer
	write(k.list(1))
	r, err := openRevocations([]string{file}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	numbers := func() (out []int64) {
		t.Helper()
		list, err := r.lists()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range list {
			out = append(out, l.Number.Int64())
		}
		return out
	}
	for _, c := range []struct {
		what   string
		change func()
		want   int
		newest int64
		warned int
	}{
		{"as at the start", func() {}, 1, 1, 0},
		{"a new one", func() { write(k.list(2)) }, 1, 2, 0},
		{"two in PEM form", func() { write(append(inPEM(k.list(3)), inPEM(k.list(4))...)) }, 2, 4, 0},
		{"rubbish", func() { write([]byte("rubbish")) }, 2, 4, 1},
		{"rubbish, seen again", func() {}, 2, 4, 1},
		{"a delta list", func() { write(k.list(9, delta)) }, 2, 4, 2},
		{"none", func() { _ = os.Remove(file) }, 2, 4, 3},
		{"none, seen again", func() {}, 2, 4, 3},
		{"a new one again", func() { write(k.list(5)) }, 1, 5, 3},
	} {
		c.change()
		got := numbers()
		if len(got) != c.want || got[len(got)-1] != c.newest || strings.Count(log.String(), "stay in use") != c.warned {
			t.Errorf("%s: lists %v\n%s", c.what, got, &log)
		}
	}
}
