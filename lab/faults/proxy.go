package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"os"
	"sync"
	"time"
)

// A fault is what befalls one request.
type fault int

// The faults.
const (
	noFault   fault = iota
	delay           // it is forwarded some seconds later
	cutBefore       // the connection breaks, and it never arrives
	cutAfter        // it is carried out, and the connection breaks before the answer
	late            // the connection breaks, and it arrives some seconds later
	double          // it arrives twice
	busy            // answered 51, not forwarded
	unwilling       // answered 53, not forwarded
	noRights        // answered 50, not forwarded
	faults
)

func (f fault) String() string {
	return [...]string{"none", "delay", "cut before", "cut after", "late", "twice", "busy", "unwilling", "no rights"}[f]
}

// Tags of LDAP messages (RFC 4511).
const (
	tagModify         = 0x66
	tagModifyResponse = 0x67
	tagSearch         = 0x63
)

// duplicate is added to the message ID of a request that is sent a second time.
const duplicate = 1 << 24

// A proxy stands before port 636 of a domain controller. It ends TLS with a certificate of
// its own authority, so that it can read what passes.
type proxy struct {
	ln     net.Listener
	to     string
	client *tls.Config // towards the domain controller
	server *tls.Config
	wg     sync.WaitGroup

	mu     sync.Mutex
	rng    *mrand.Rand
	rate   float64 // of writes that a fault befalls; searches a twentieth of it
	refuse bool    // connections are refused, and those that stand are cut
	hang   bool    // nothing is forwarded
	conns  map[net.Conn]bool
	counts [faults]int

	longest time.Duration // that a request is late
}

// newAuthority makes a certificate for some hosts, signed by an authority of its own, whose
// certificate is written to file.
func newAuthority(file string, hosts ...string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "faults"}, DNSNames: hosts,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(48 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, os.WriteFile(file, text, 0o644)
}

// newProxy starts a proxy.
func newProxy(to string, cert tls.Certificate, roots *x509.CertPool, host string, rng *mrand.Rand) (*proxy, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{
		ln: ln, to: to, rng: rng, longest: 6 * time.Second, conns: map[net.Conn]bool{},
		client: &tls.Config{RootCAs: roots, ServerName: host, MinVersion: tls.VersionTLS12},
		server: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
	}
	p.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(c) })
		}
	})
	return p, nil
}

func (p *proxy) close() {
	_ = p.ln.Close()
	p.set(func() { p.refuse = true })
	p.wg.Wait()
}

// set changes what the proxy does.
func (p *proxy) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	if p.refuse {
		for c := range p.conns {
			_ = c.Close()
		}
		clear(p.conns)
	}
}

// enter notes a connection; false if it is refused.
func (p *proxy) enter(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse {
		return false
	}
	p.conns[c] = true
	return true
}

func (p *proxy) leave(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	_ = c.Close()
}

// draw chooses what befalls a request.
func (p *proxy) draw(tag byte) (fault, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	rate, kinds := p.rate, int(faults)-1
	if tag == tagSearch {
		rate, kinds = rate/20, int(cutAfter)
	} else if tag != tagModify {
		return noFault, 0
	}
	if p.rng.Float64() >= rate {
		return noFault, 0
	}
	f := fault(1 + p.rng.IntN(kinds))
	p.counts[f]++
	d := time.Duration(p.rng.Int64N(int64(p.longest)))
	if f == delay {
		d /= 2
	}
	return f, d
}

// hanging waits while nothing is to be forwarded.
func (p *proxy) hanging() {
	for {
		p.mu.Lock()
		h := p.hang && !p.refuse
		p.mu.Unlock()
		if !h {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// A pipe is one connection through the proxy.
type pipe struct {
	p              *proxy
	client, server net.Conn

	mu     sync.Mutex
	hidden map[int]bool // message IDs whose answers nobody waits for
	last   int          // message ID whose answer is cut; 0: none
}

func (p *proxy) serve(raw net.Conn) {
	if !p.enter(raw) {
		_ = raw.Close()
		return
	}
	defer p.leave(raw)
	client := tls.Server(raw, p.server)
	if err := client.Handshake(); err != nil {
		return
	}
	server, err := tls.Dial("tcp", p.to, p.client)
	if err != nil {
		return
	}
	if !p.enter(server) {
		_ = server.Close()
		return
	}
	defer p.leave(server)
	x := &pipe{p: p, client: client, server: server, hidden: map[int]bool{}}
	p.wg.Go(x.answers)
	x.requests()
}

// answers passes the server's messages on.
func (x *pipe) answers() {
	defer func() { _ = x.client.Close() }()
	r := bufio.NewReader(x.server)
	for {
		m, err := readMessage(r)
		if err != nil {
			return
		}
		id, _, err := parseMessage(m)
		if err != nil {
			return
		}
		x.mu.Lock()
		hide, cut := x.hidden[id], x.last == id && id != 0
		x.mu.Unlock()
		x.p.hanging()
		if cut {
			return
		}
		if hide {
			continue
		}
		if _, err := x.client.Write(m); err != nil {
			return
		}
	}
}

// requests passes the client's messages on, or does to them what is drawn.
func (x *pipe) requests() {
	r := bufio.NewReader(x.client)
	for {
		m, err := readMessage(r)
		if err != nil {
			return
		}
		id, tag, err := parseMessage(m)
		if err != nil {
			return
		}
		x.p.hanging()
		if !x.forward(m, id, tag) {
			return
		}
	}
}

// forward passes one message on; false ends the connection.
func (x *pipe) forward(m []byte, id int, tag byte) bool {
	f, wait := x.p.draw(tag)
	switch f {
	case delay:
		time.Sleep(wait)
	case cutBefore:
		return false
	case cutAfter:
		x.mu.Lock()
		x.last = id
		x.mu.Unlock()
	case late:
		_ = x.client.Close()
		time.Sleep(wait)
	case double:
		again := withID(m, id+duplicate)
		x.mu.Lock()
		x.hidden[id+duplicate] = true
		x.mu.Unlock()
		m = append(m, again...)
	case busy, unwilling, noRights:
		code := map[fault]byte{busy: 51, unwilling: 53, noRights: 50}[f]
		_, err := x.client.Write(answer(id, code))
		return err == nil
	}
	if _, err := x.server.Write(m); err != nil {
		return false
	}
	if f == late { // let it take effect
		time.Sleep(200 * time.Millisecond)
		return false
	}
	return true
}

var errBER = errors.New("not an LDAP message")

// readMessage reads one LDAP message as it is.
func readMessage(r *bufio.Reader) ([]byte, error) {
	head, err := r.Peek(2)
	if err != nil {
		return nil, err
	}
	n, size := int(head[1]), 2
	if n >= 0x80 {
		more := n & 0x7f
		if more == 0 || more > 4 {
			return nil, errBER
		}
		if head, err = r.Peek(2 + more); err != nil {
			return nil, err
		}
		n, size = 0, 2+more
		for _, b := range head[2:] {
			n = n<<8 | int(b)
		}
	}
	if head[0] != 0x30 || n > 64<<20 {
		return nil, errBER
	}
	m := make([]byte, size+n)
	_, err = io.ReadFull(r, m)
	return m, err
}

// body returns what follows the header of a message.
func body(m []byte) []byte {
	if m[1] < 0x80 {
		return m[2:]
	}
	return m[2+int(m[1]&0x7f):]
}

// parseMessage returns the message ID and the tag of the operation.
func parseMessage(m []byte) (id int, tag byte, err error) {
	b := body(m)
	if len(b) < 4 || b[0] != 0x02 || int(b[1]) > 4 || len(b) < 3+int(b[1]) {
		return 0, 0, errBER
	}
	for _, x := range b[2 : 2+int(b[1])] {
		id = id<<8 | int(x)
	}
	return id, b[2+int(b[1])], nil
}

// withID returns the message with another ID.
func withID(m []byte, id int) []byte {
	b := body(m)
	rest := b[2+int(b[1]):]
	return sequence(append([]byte{0x02, 4, byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)}, rest...))
}

func sequence(b []byte) []byte {
	n := len(b)
	return append([]byte{0x30, 0x84, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, b...)
}

// answer is the answer to a modification.
func answer(id int, code byte) []byte {
	text := fmt.Sprintf("0000%02X: made by the proxy", code)
	op := append([]byte{0x0a, 1, code, 0x04, 0, 0x04, byte(len(text))}, text...)
	op = append([]byte{tagModifyResponse, byte(len(op))}, op...)
	return sequence(append([]byte{0x02, 4, byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)}, op...))
}
