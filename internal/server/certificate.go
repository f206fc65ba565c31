package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// ErrCertificate reports a certificate or authority that the server cannot use.
var ErrCertificate = errors.New("certificate of the server")

// Lifetimes of what the server's own authority issues.
const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 90 * 24 * time.Hour
	leafRenew     = leafLife / 3 // what is left when the next one is made
	backdate      = 5 * time.Minute
	lookAgain     = time.Minute // how often given files are looked at
)

// Names of the authority's files in its folder.
const (
	AuthorityFile    = "ca.pem"
	authorityKeyFile = "ca.key"
)

// A Certificates gives each TLS handshake the server's present certificate. It is
// safe for concurrent use.
type Certificates struct {
	now func() time.Time

	// The server's own authority; nil if the certificate was given.
	ca    *x509.Certificate
	caKey *ecdsa.PrivateKey
	names []string

	cert, key string // files of a given certificate

	mu     sync.Mutex
	leaf   *tls.Certificate
	fault  error // why the last try to renew it, or to read it again, did not succeed
	looked time.Time
	stamp  [2]time.Time // of the files
}

// OpenAuthority opens the authority in a folder, which it makes at the first start
// together with a key that only its owner can read, and returns certificates for the
// names (DNS names and addresses). The authority may issue for those names only: it is
// refused if a later start asks for others, rather than replaced. Leaves are made when
// needed, live 90 days, are renewed a month before, and their keys are never written.
func OpenAuthority(dir string, names []string, now func() time.Time) (*Certificates, error) {
	if len(names) == 0 {
		return nil, fmt.Errorf("%w: it needs a name to be issued for", ErrCertificate)
	}
	c := &Certificates{now: now, names: names}
	err := c.readAuthority(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = c.makeAuthority(dir)
	}
	if err != nil {
		return nil, err
	}
	if left := c.ca.NotAfter.Sub(now()); left < leafLife {
		return nil, fmt.Errorf("%w: the authority in %s ends at %s: move ca.pem and ca.key away, start again, and give the new ca.pem to the clients", ErrCertificate, dir, c.ca.NotAfter.UTC().Format(time.DateOnly))
	}
	_, err = c.Get(nil)
	return c, err
}

// OpenFiles uses a given certificate: a PEM file with the certificate and its chain,
// and one with its key. Both are read again when they change.
func OpenFiles(cert, key string, now func() time.Time) (*Certificates, error) {
	c := &Certificates{now: now, cert: cert, key: key}
	if fi, err := os.Stat(key); err == nil && runtime.GOOS != "windows" && fi.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%w: the key %s is open to others than its owner (mode %04o): chmod 600 %s", ErrCertificate, key, fi.Mode().Perm(), key)
	}
	_, err := c.Get(nil)
	return c, err
}

// Get returns the present certificate; it is for [tls.Config.GetCertificate].
func (c *Certificates) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	if c.ca == nil {
		err = c.reload()
	} else if c.leaf == nil || c.leaf.Leaf.NotAfter.Sub(c.now()) < leafRenew {
		var fresh *tls.Certificate
		if fresh, err = c.issue(); err == nil {
			c.leaf = fresh
		}
	}
	c.fault = err
	if c.leaf == nil {
		return nil, err
	}
	return c.leaf, nil // an old one is better than none, see Fault
}

// Fault says why the present certificate could not be renewed, or read again; nil if it
// could, or did not need to be.
func (c *Certificates) Fault() error {
	if _, err := c.Get(nil); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fault == nil && c.now().After(c.leaf.Leaf.NotAfter) {
		return fmt.Errorf("%w: it ended at %s", ErrCertificate, c.leaf.Leaf.NotAfter.UTC().Format(time.DateTime))
	}
	return c.fault
}

// Expires returns when the present certificate ends.
func (c *Certificates) Expires() time.Time {
	leaf, err := c.Get(nil)
	if err != nil {
		return time.Time{}
	}
	return leaf.Leaf.NotAfter
}

// Leaf returns the present certificate in DER form.
func (c *Certificates) Leaf() []byte {
	leaf, err := c.Get(nil)
	if err != nil {
		return nil
	}
	return leaf.Certificate[0]
}

// reload reads the given files if they have changed.
func (c *Certificates) reload() error {
	now := c.now()
	if c.leaf != nil && now.Sub(c.looked) < lookAgain && !now.Before(c.looked) {
		return c.fault
	}
	c.looked = now
	var stamp [2]time.Time
	for i, name := range []string{c.cert, c.key} {
		fi, err := os.Stat(name)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCertificate, err)
		}
		stamp[i] = fi.ModTime()
	}
	if c.leaf != nil && stamp == c.stamp {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("%w: %s and %s: %w", ErrCertificate, c.cert, c.key, err)
	}
	if c.leaf == nil && now.After(pair.Leaf.NotAfter) {
		return fmt.Errorf("%w: %s ended at %s", ErrCertificate, c.cert, pair.Leaf.NotAfter.UTC().Format(time.DateTime))
	}
	c.leaf, c.stamp = &pair, stamp
	return nil
}

func (c *Certificates) readAuthority(dir string) error {
	certFile, keyFile := filepath.Join(dir, AuthorityFile), filepath.Join(dir, authorityKeyFile)
	key, err := os.ReadFile(keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		if _, there := os.Stat(certFile); there == nil {
			return fmt.Errorf("%w: %s is there without %s: restore the key, or move the certificate away", ErrCertificate, certFile, keyFile)
		}
	}
	if err != nil {
		return fmt.Errorf("reading the server's authority: %w", err)
	}
	if fi, err := os.Stat(keyFile); err == nil && runtime.GOOS != "windows" && fi.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%w: the key %s is open to others than its owner (mode %04o): whoever read it can stand in for the server", ErrCertificate, keyFile, fi.Mode().Perm())
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s is there without %s: restore the certificate", ErrCertificate, keyFile, certFile)
	}
	if err != nil {
		return fmt.Errorf("%w: the authority in %s: %w", ErrCertificate, dir, err)
	}
	clear(key)
	k, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return fmt.Errorf("%w: %s is no authority of leastwise", ErrCertificate, certFile)
	}
	c.ca, c.caKey = pair.Leaf, k
	return nil
}

// makeAuthority makes key and certificate, the key first, and never replaces a file.
func (c *Certificates) makeAuthority(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the folder of the server's authority: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making the authority's key: %w", err)
	}
	dns, ips := split(c.names)
	now := c.now()
	t := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "leastwise authority of " + c.names[0]},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, PermittedDNSDomainsCritical: true, PermittedDNSDomains: dns,
	}
	if len(dns) == 0 {
		t.ExcludedDNSDomains = []string{""} // every name
	}
	for _, ip := range ips {
		bits := 8 * len(ip)
		t.PermittedIPRanges = append(t.PermittedIPRanges, &net.IPNet{IP: ip, Mask: net.CIDRMask(bits, bits)})
	}
	if len(ips) == 0 {
		t.ExcludedIPRanges = []*net.IPNet{{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}, {IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	if err := writeNew(filepath.Join(dir, authorityKeyFile), 0o600, &pem.Block{Type: "PRIVATE KEY", Bytes: secret}); err != nil {
		return err
	}
	if err := writeNew(filepath.Join(dir, AuthorityFile), 0o644, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
		return err
	}
	return c.readAuthority(dir)
}

func writeNew(name string, mode os.FileMode, b *pem.Block) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("writing the server's authority: %w", err)
	}
	if err := errors.Join(pem.Encode(f, b), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing the server's authority %s: %w", name, err)
	}
	return nil
}

// issue makes a leaf.
func (c *Certificates) issue() (*tls.Certificate, error) {
	dns, ips := split(c.names)
	for _, n := range dns {
		if !slices.ContainsFunc(c.ca.PermittedDNSDomains, func(d string) bool { return strings.EqualFold(n, d) }) {
			return nil, fmt.Errorf("%w: the server's authority may not issue for %s, which it was not made for: move ca.pem and ca.key away to have a new one made", ErrCertificate, n)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	now := c.now()
	t := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: c.names[0]}, DNSNames: dns, IPAddresses: ips,
		NotBefore: now.Add(-backdate), NotAfter: now.Add(leafLife), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, c.ca, key.Public(), c.caKey)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(c.ca)
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now}); err != nil {
		return nil, fmt.Errorf("%w: the server's authority was made for other names: move ca.pem and ca.key away to have a new one made: %w", ErrCertificate, err)
	}
	return &tls.Certificate{Certificate: [][]byte{der, c.ca.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

func split(names []string) (dns []string, ips []net.IP) {
	for _, n := range names {
		ip := net.ParseIP(n)
		switch {
		case ip == nil:
			dns = append(dns, strings.ToLower(strings.TrimSuffix(n, ".")))
		case ip.To4() != nil:
			ips = append(ips, ip.To4())
		default:
			ips = append(ips, ip)
		}
	}
	return dns, ips
}

func serial() *big.Int {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b)
}

// TLS returns the settings of TLS: version 1.2 at least, client certificates asked
// for but not required. Who a client certificate stands for, and whether it is any
// good, is decided by package operator when somebody signs in with it.
func (c *Certificates) TLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.Get, ClientAuth: tls.RequestClientCert}
}
