package dc

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// The servers in this file are fakes, for what Samba does not do: it enforces
// neither MaxPageSize nor MaxValRange, sends no subordinate referrals of other
// servers, and cannot be told to answer with limits, to stop at a given entry,
// or to lie. Everything else is tested against Samba itself.

// A fakeWorld is a network of its own: names and ports of fakes.
type fakeWorld struct {
	t      *testing.T
	ca     *x509.Certificate
	caKey  *ecdsa.PrivateKey
	caFile string

	mu    sync.Mutex
	ports map[string]func(net.Conn) // "10.0.0.1:636" → server
	srv   map[string][]string       // SRV name → targets in order of priority
	hosts map[string]string         // name → address
	wg    sync.WaitGroup
	conns []net.Conn
	asked []string // names looked up
}

func newWorld(t *testing.T) *fakeWorld {
	t.Helper()
	w := &fakeWorld{t: t, ports: map[string]func(net.Conn){}, srv: map[string][]string{}, hosts: map[string]string{}}
	w.ca, w.caKey = makeCA(t)
	w.caFile = filepath.Join(t.TempDir(), "ca.pem")
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.ca.Raw})
	if err := os.WriteFile(w.caFile, b, 0o600); err != nil {
		t.Fatal(err)
	}
	w.ports["dns:53"] = w.serveDNS
	t.Cleanup(w.close)
	return w
}

// close ends every fake and waits for it.
func (w *fakeWorld) close() {
	w.mu.Lock()
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.mu.Unlock()
	w.wg.Wait()
}

func (w *fakeWorld) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	serve := w.ports[addr]
	if serve == nil {
		return nil, fmt.Errorf("dial %s: connection refused", addr)
	}
	a, b, err := socketPair(ctx)
	if err != nil {
		return nil, err
	}
	w.conns = append(w.conns, a, b)
	w.wg.Go(func() {
		defer func() { _ = b.Close() }()
		serve(b)
	})
	return a, nil
}

// socketPair returns both ends of a TCP connection. net.Pipe will not do: it has
// no buffer, and the alert of a TLS client would wait for a server that writes.
func socketPair(ctx context.Context) (client, server net.Conn, err error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = ln.Close() }()
	if client, err = (&net.Dialer{}).DialContext(ctx, "tcp", ln.Addr().String()); err != nil {
		return nil, nil, err
	}
	server, err = ln.Accept()
	return client, server, err
}

func (w *fakeWorld) setPort(addr string, serve func(net.Conn)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ports[addr] = serve
}

// config reads the fake domain with a simple bind over LDAPS.
func (w *fakeWorld) config() Config {
	return Config{
		Domain: "x.test", DNS: "dns:53", Transport: LDAPS, Bind: Simple, CAFile: w.caFile,
		Credentials: Password("u@x.test", "p"), Dial: w.dial, Timeout: 5 * time.Second,
	}
}

func (w *fakeWorld) open(change func(*Config)) *Reader {
	w.t.Helper()
	cfg := w.config()
	if change != nil {
		change(&cfg)
	}
	r, err := Open(context.Background(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = r.Close() })
	return r
}

func makeCA(t *testing.T) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "fake authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c, key
}

// certificate issues one for a host; until is its end.
func (w *fakeWorld) certificate(host string, until time.Time) *tls.Config {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, w.ca, &key.PublicKey, w.caKey)
	if err != nil {
		w.t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
}

// serveDNS answers SRV and A questions over the stream form of DNS.
func (w *fakeWorld) serveDNS(c net.Conn) {
	for {
		var head [2]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return
		}
		q := make([]byte, binary.BigEndian.Uint16(head[:]))
		if _, err := io.ReadFull(c, q); err != nil {
			return
		}
		a := w.answerDNS(q)
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...)); err != nil {
			return
		}
	}
}

func (w *fakeWorld) answerDNS(q []byte) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(q)
	if err != nil {
		return nil
	}
	question, err := p.Question()
	if err != nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	name := strings.TrimSuffix(question.Name.String(), ".")
	w.asked = append(w.asked, name)
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: h.ID, Response: true, RecursionAvailable: true, RCode: dnsmessage.RCodeNameError}, Questions: []dnsmessage.Question{question}}
	rh := dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET, TTL: 1}
	for i, target := range w.srv[name] {
		m.RCode = dnsmessage.RCodeSuccess
		if question.Type == dnsmessage.TypeSRV {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: rh, Body: &dnsmessage.SRVResource{Priority: uint16(i), Port: 389, Target: dnsmessage.MustNewName(target + ".")}})
		}
	}
	if ip := net.ParseIP(w.hosts[name]).To4(); ip != nil {
		m.RCode = dnsmessage.RCodeSuccess
		if question.Type == dnsmessage.TypeA {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: rh, Body: &dnsmessage.AResource{A: [4]byte(ip)}})
		}
	}
	b, err := m.Pack()
	if err != nil {
		return nil
	}
	return b
}

// A fakeDC is an LDAP server with one flat partition, DC=x,DC=test.
type fakeDC struct {
	w       *fakeWorld
	name    string
	entries []Entry
	// maxPage and maxRange are the limits that Windows has in its query policy.
	maxPage, maxRange int
	controls          []string // of its rootDSE
	bindCode          int64
	bindText          string

	capabilities []string
	// modify answers a ModifyRequest; lookup may answer a base search itself.
	modify func(s *fakeSession, m message) bool
	lookup func(s *fakeSession, q fakeSearch) bool

	// misbehave may answer a search page itself; it returns true if it did.
	misbehave func(s *fakeSession, q fakeSearch) bool

	mu   sync.Mutex
	seen []fakeSearch
}

type fakeSearch struct {
	id        int64
	base      string
	scope     int64
	filter    []byte // its content
	filterTag byte
	attrs     []string
	controls  message
	size      int
	cookie    string
	offset    int // of the first entry asked for
}

// addDC makes a domain controller with n users and registers it.
func (w *fakeWorld) addDC(name, addr string, n int) *fakeDC {
	d := &fakeDC{w: w, name: name, maxPage: 1000, maxRange: 1500}
	for i := range n {
		d.entries = append(d.entries, Entry{DN: fmt.Sprintf("CN=%s-%d,DC=x,DC=test", name, i), Attributes: []Attribute{{Name: "cn", Values: [][]byte{[]byte(strconv.Itoa(i))}}}})
	}
	host := name + ".x.test"
	w.hosts[host] = addr
	w.srv["_ldap._tcp.dc._msdcs.x.test"] = append(w.srv["_ldap._tcp.dc._msdcs.x.test"], host)
	conf := w.certificate(host, time.Now().Add(time.Hour))
	w.setPort(addr+":636", func(c net.Conn) { d.serve(tls.Server(c, conf)) })
	w.setPort(addr+":389", func(c net.Conn) { d.serve(c) })
	return d
}

// onModify sets how ModifyRequests are answered, also while the fake serves.
func (d *fakeDC) onModify(answer func(s *fakeSession, m message) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.modify = answer
}

// searches returns the searches of DC=x,DC=test seen so far.
func (d *fakeDC) searches() []fakeSearch {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.seen)
}

// A fakeSession is one connection to a fakeDC.
type fakeSession struct {
	d  *fakeDC
	nc net.Conn
}

func (s *fakeSession) send(id int64, op, controls []byte) bool {
	_, err := s.nc.Write(encodeMessage(id, op, controls))
	return err == nil
}

func (s *fakeSession) done(id, code int64, text string, controls []byte) bool {
	return s.send(id, tlv(opSearchDone, berInt(0x0a, code), berString(0x04, ""), berString(0x04, text)), controls)
}

func (d *fakeDC) serve(nc net.Conn) {
	s := &fakeSession{d: d, nc: nc}
	br := bufio.NewReader(nc)
	for {
		b, err := readFrame(br)
		if err != nil {
			return
		}
		m, err := parseMessage(b)
		if err != nil {
			return
		}
		ok := false
		switch m.op {
		case opBindRequest:
			ok = s.send(m.id, tlv(opBindResponse, berInt(0x0a, d.bindCode), berString(0x04, ""), berString(0x04, d.bindText)), nil)
		case opSearchRequest:
			ok = s.search(parseSearch(m))
		case opModifyRequest:
			d.mu.Lock()
			modify := d.modify
			d.mu.Unlock()
			ok = modify(s, m)
		}
		if !ok {
			return
		}
	}
}

func parseSearch(m message) fakeSearch {
	q := fakeSearch{id: m.id, controls: m}
	d := berDecoder(m.body)
	base, _ := d.expect(0x04)
	q.base = string(base)
	q.scope, _ = d.integer(0x0a)
	for range 4 {
		_, _, _ = d.next()
	}
	q.filterTag, q.filter, _ = d.next()
	list, _ := d.expect(0x30)
	for d = list; len(d) > 0; {
		a, _ := d.expect(0x04)
		q.attrs = append(q.attrs, string(a))
	}
	if v, ok, _ := m.control(oidPaging); ok {
		d = v
		seq, _ := d.expect(0x30)
		d = seq
		n, _ := d.integer(0x02)
		c, _ := d.expect(0x04)
		q.size, q.cookie = int(n), string(c)
		q.offset, _ = strconv.Atoi(q.cookie)
	}
	return q
}

func (s *fakeSession) search(q fakeSearch) bool {
	d := s.d
	switch {
	case q.base == "":
		return s.send(q.id, encodeEntry(d.rootDSE()), nil) && s.done(q.id, 0, "", nil)
	case d.lookup != nil && d.lookup(s, q):
		return true
	case q.scope == int64(ScopeBase):
		return s.one(q)
	}
	d.mu.Lock()
	d.seen = append(d.seen, q)
	d.mu.Unlock()
	if d.misbehave != nil && d.misbehave(s, q) {
		return true
	}
	end := min(q.offset+min(q.size, d.maxPage), len(d.entries))
	return s.entries(q, end) && s.end(q, end)
}

// entries sends the page up to end.
func (s *fakeSession) entries(q fakeSearch, end int) bool {
	for _, e := range s.d.entries[q.offset:end] {
		if !s.send(q.id, encodeEntry(s.d.firstRange(e)), nil) {
			return false
		}
	}
	return true
}

// end closes the page; the cookie is the offset of the next entry.
func (s *fakeSession) end(q fakeSearch, end int) bool {
	cookie := ""
	if end < len(s.d.entries) {
		cookie = strconv.Itoa(end)
	}
	return s.done(q.id, 0, "", encodePaging(0, []byte(cookie)))
}

// firstRange splits attributes with too many values as Windows does: the plain
// attribute is empty beside the first range.
func (d *fakeDC) firstRange(e Entry) Entry {
	var attrs []Attribute
	for _, a := range e.Attributes {
		if len(a.Values) > d.maxRange {
			attrs = append(attrs, Attribute{Name: a.Name}, Attribute{Name: fmt.Sprintf("%s;range=0-%d", a.Name, d.maxRange-1), Values: a.Values[:d.maxRange]})
			continue
		}
		attrs = append(attrs, a)
	}
	return Entry{DN: e.DN, Attributes: attrs}
}

// one answers a base search for one range of one attribute.
func (s *fakeSession) one(q fakeSearch) bool {
	for _, e := range s.d.entries {
		if e.DN != q.base {
			continue
		}
		out := Entry{DN: e.DN}
		for _, name := range q.attrs {
			base, first, _, ok := rangeOption(name)
			values := e.Values(base)
			if !ok || first >= len(values) {
				continue
			}
			end, label := first+s.d.maxRange, strconv.Itoa(first+s.d.maxRange-1)
			if end >= len(values) {
				end, label = len(values), "*"
			}
			out.Attributes = append(out.Attributes, Attribute{Name: fmt.Sprintf("%s;range=%d-%s", base, first, label), Values: values[first:end]})
		}
		return s.send(q.id, encodeEntry(out), nil) && s.done(q.id, 0, "", nil)
	}
	return s.done(q.id, resultNoSuchObject, "0000208D: NameErr", nil)
}

func (d *fakeDC) rootDSE() Entry {
	vals := func(s ...string) (v [][]byte) {
		for _, x := range s {
			v = append(v, []byte(x))
		}
		return v
	}
	return Entry{Attributes: []Attribute{
		{Name: "dnsHostName", Values: vals(d.name + ".x.test")},
		{Name: "defaultNamingContext", Values: vals("DC=x,DC=test")},
		{Name: "namingContexts", Values: vals("DC=x,DC=test")},
		{Name: "currentTime", Values: vals(time.Now().UTC().Add(90 * time.Second).Format("20060102150405.0Z"))},
		{Name: "supportedControl", Values: vals(d.controls...)},
		{Name: "supportedCapabilities", Values: vals(d.capabilities...)},
		{Name: "configurationNamingContext", Values: vals("CN=Configuration,DC=x,DC=test")},
		{Name: "serverName", Values: vals("CN=DC1,CN=Servers,CN=Berlin,CN=Sites,CN=Configuration,DC=x,DC=test")},
	}}
}

// collect runs a search over the whole fake domain and returns the names.
func collect(ctx context.Context, r *Reader, q Request) ([]string, Result, error) {
	var dns []string
	q.Base, q.Scope = "DC=x,DC=test", ScopeSubtree
	if restart := q.Restart; restart != nil {
		q.Restart = func(again Restart) error { dns = nil; return restart(again) }
	}
	res, err := r.Search(ctx, q, func(e Entry) error { dns = append(dns, e.DN); return nil })
	return dns, res, err
}
