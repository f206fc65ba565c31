//go:build linux

package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/lab/labtest"
)

// TestFailover runs the script in which one domain controller takes over from
// another, and then dies itself.
func TestFailover(t *testing.T) {
	t.Parallel()
	w := &world{t: t, lab: labtest.Start(t, labtest.Options{Fresh: true}), used: map[string]bool{}}
	w.run(t, "failover")
}

// cmdSame checks that two snapshots hold the same objects, files and coverage:
// same A.lws B.lws
func cmdSame(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: same A.lws B.lws")
	}
	var s [2]*forest.Snapshot
	for i, name := range args {
		f, err := os.Open(ts.MkAbs(name))
		ts.Check(err)
		defer f.Close()
		s[i], err = forest.Read(f)
		ts.Check(err)
	}
	if s[0].Len() < 1000 || len(s[0].Files()) == 0 {
		ts.Fatalf("%s holds %d objects and %d files: that is no domain", args[0], s[0].Len(), len(s[0].Files()))
	}
	if c := forest.Diff(s[0], s[1]); !c.Empty() {
		text, err := json.MarshalIndent(c, "", " ")
		ts.Check(err)
		ts.Fatalf("%s and %s differ:\n%s", args[0], args[1], text)
	}
}

// cmdTripwire puts itself before port 389 of a domain controller, at the address of
// PROXY, and kills the domain controller once it has passed on a number of bytes of
// its answers on one connection: tripwire HOST BYTES
func (w *world) cmdTripwire(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: tripwire HOST BYTES")
	}
	host, err := w.lab.Host(args[0])
	ts.Check(err)
	limit, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ln, err := net.Listen("tcp4", net.JoinHostPort(ts.Getenv("PROXY"), "389"))
	ts.Check(err)
	var running sync.WaitGroup
	killed := errors.New("the program did not read so much")
	var once sync.Once
	kill := func() { once.Do(func() { killed = w.lab.StopHost(context.Background(), host, false) }) }
	running.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() { pass(client, net.JoinHostPort(host.Address, "389"), limit, kill) })
		}
	})
	ts.Defer(func() {
		_ = ln.Close()
		running.Wait()
		if killed != nil {
			w.t.Errorf("killing %s: %v", host.Name, killed)
		}
	})
}

// pass connects client with a server, calls trip when limit bytes of the server's
// answers have been passed on, and then closes both.
func pass(client net.Conn, server string, limit int64, trip func()) {
	defer client.Close()
	behind, err := net.Dial("tcp4", server)
	if err != nil {
		return
	}
	var there sync.WaitGroup
	there.Go(func() {
		_, _ = io.Copy(behind, client)
		_ = behind.Close()
	})
	if n, _ := io.CopyN(client, behind, limit); n == limit {
		trip()
	}
	_ = client.Close()
	there.Wait()
}

// cmdNames starts a DNS server that knows the domain controllers in the order of
// preference, at addresses that may be those of proxies, and puts its own address
// into NAMES: names dc1=ADDRESS dc2=ADDRESS
func (w *world) cmdNames(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: names HOST=ADDRESS…")
	}
	z := zone{domain: w.lab.Domain}
	for _, arg := range args {
		host, text, _ := strings.Cut(arg, "=")
		addr, err := netip.ParseAddr(text)
		ts.Check(err)
		z.hosts, z.addrs = append(z.hosts, host+"."+z.domain+"."), append(z.addrs, addr.As4())
	}
	at := w.address(ts)
	conn, err := net.ListenPacket("udp4", net.JoinHostPort(at, "53"))
	ts.Check(err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		z.serve(conn)
	}()
	ts.Defer(func() {
		_ = conn.Close()
		<-ended
	})
	ts.Setenv("NAMES", at)
}

// A zone is what the DNS server of a script knows.
type zone struct {
	domain string
	hosts  []string // absolute names, the preferred one first
	addrs  [][4]byte
}

// serve answers until conn is closed.
func (z *zone) serve(conn net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		z.answer(&m)
		if b, err := m.Pack(); err == nil {
			_, _ = conn.WriteTo(b, from)
		}
	}
}

// answer turns a question into its answer. Every service has every host.
func (z *zone) answer(m *dnsmessage.Message) {
	q := m.Questions[0]
	name := strings.ToLower(q.Name.String())
	m.Header.Response, m.Header.Authoritative = true, true
	m.Answers, m.Additionals = nil, nil
	head := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
	known := false
	for i, h := range z.hosts {
		switch {
		case name == h:
			known = true
			if q.Type == dnsmessage.TypeA {
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AResource{A: z.addrs[i]}})
			}
		case strings.HasSuffix(name, "._tcp.dc._msdcs."+z.domain+".") && q.Type == dnsmessage.TypeSRV:
			known = true
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.SRVResource{
				Priority: uint16(i), Port: 389, Target: dnsmessage.MustNewName(h),
			}})
		}
	}
	if !known {
		m.Header.RCode = dnsmessage.RCodeNameError
	}
}
