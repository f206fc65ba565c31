package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Ways of syslog.
const (
	SyslogTLS = "tls" // RFC 5425
	SyslogTCP = "tcp" // RFC 6587, octet counting
	SyslogUDP = "udp" // RFC 5426: a message may be lost unnoticed
)

// maxDatagram is the longest message that every receiver of UDP takes (RFC 5426 3.2).
const maxDatagram = 2048

// facilitySecurity is "security/authorization messages", 10 (RFC 5424 6.2.1).
const facilitySecurity = 10

// enterprise is the number in the name of structured data: the one that RFC 5424 has in
// its examples, as leastwise has no number of its own.
const enterprise = "leastwise@32473"

// A Syslog writes messages in the form of RFC 5424. TCP tells nothing of what the
// receiver took: a message that was sent right before a connection broke may be lost.
type Syslog struct {
	name, address, way string
	tls                *tls.Config
	host               string

	mu   sync.Mutex
	conn net.Conn
}

// SyslogSettings say where to. Name, Address and Way are required; TLS for SyslogTLS.
type SyslogSettings struct {
	Name, Address, Way string
	TLS                *tls.Config
	Host               string // this host; empty: as the system says
}

// NewSyslog returns a target.
func NewSyslog(set SyslogSettings) (*Syslog, error) {
	host, _, err := net.SplitHostPort(set.Address)
	switch {
	case err != nil || host == "":
		return nil, fmt.Errorf("%w: syslog %s: its address %q is not host:port", ErrConfig, set.Name, set.Address)
	case set.Way != SyslogTLS && set.Way != SyslogTCP && set.Way != SyslogUDP:
		return nil, fmt.Errorf("%w: syslog %s: the way %q is none of tls, tcp, udp", ErrConfig, set.Name, set.Way)
	case set.Way == SyslogTLS && set.TLS == nil:
		return nil, fmt.Errorf("%w: syslog %s: no TLS settings", ErrConfig, set.Name)
	}
	if set.Host == "" {
		set.Host, _ = os.Hostname() // then it goes without one
	}
	s := &Syslog{name: set.Name, address: set.Address, way: set.Way, host: set.Host}
	if set.Way == SyslogTLS {
		s.tls = set.TLS.Clone()
		s.tls.MinVersion = max(s.tls.MinVersion, tls.VersionTLS12)
		if s.tls.ServerName == "" {
			s.tls.ServerName = host
		}
	}
	return s, nil
}

// Name returns the name of the target.
func (s *Syslog) Name() string { return s.name }

// Close ends the connection.
func (s *Syslog) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close()
	s.conn = nil
	return err
}

// Send writes one message.
func (s *Syslog) Send(ctx context.Context, _ string, m Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := s.conn == nil
	if !fresh && s.gone() { // the receiver closed it: what is written now would be lost
		_ = s.conn.Close()
		s.conn, fresh = nil, true
	}
	if fresh {
		c, err := s.dial(ctx)
		if err != nil {
			return fmt.Errorf("connecting to the syslog server %s: %w", s.address, err)
		}
		s.conn = c
	}
	line := s.line(m)
	if s.way == SyslogUDP {
		line = line[:min(len(line), maxDatagram)]
	} else {
		line = strconv.Itoa(len(line)) + " " + line
	}
	deadline, _ := ctx.Deadline() // zero: none
	err := errors.Join(s.conn.SetDeadline(deadline), write(s.conn, line))
	if err != nil {
		_ = s.conn.Close()
		s.conn = nil
		return fmt.Errorf("writing to the syslog server %s: %w", s.address, err)
	}
	return nil
}

func write(c net.Conn, line string) error {
	_, err := c.Write([]byte(line))
	return err
}

// gone reports whether the receiver has closed the connection; it never sends anything.
func (s *Syslog) gone() bool {
	if s.way == SyslogUDP {
		return false
	}
	if err := s.conn.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		return true
	}
	_, err := s.conn.Read(make([]byte, 1))
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

func (s *Syslog) dial(ctx context.Context) (net.Conn, error) {
	network := "tcp"
	if s.way == SyslogUDP {
		network = "udp"
	}
	if s.way == SyslogTLS {
		return (&tls.Dialer{Config: s.tls}).DialContext(ctx, network, s.address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, s.address)
}

// Severities (RFC 5424 6.2.1).
const (
	severityAlert  = 1
	severityNotice = 5
)

// line is the message in the form of RFC 5424 6, without its frame.
func (s *Syslog) line(m Message) string {
	severity := severityNotice
	if m.Loud {
		severity = severityAlert
	}
	data := fmt.Sprintf(`[%s id="%s" grant="%s" event="%s" state="%s"]`, enterprise,
		parameter(m.ID), parameter(string(m.Grant)), parameter(string(m.Event)), parameter(string(m.State)))
	return fmt.Sprintf("<%d>1 %s %s leastwise %d %s %s \ufeff%s", facilitySecurity*8+severity, m.Time.UTC().Format("2006-01-02T15:04:05.000000Z"),
		field(s.host, 255), os.Getpid(), field(string(m.Event), 32), data, printable(m.Text, maxText))
}

// field is a field of the header: printable ASCII without spaces (RFC 5424 6, PRINTUSASCII).
func field(v string, limit int) string {
	out := strings.Map(func(r rune) rune {
		if r < 33 || r > 126 {
			return '_'
		}
		return r
	}, v)
	if out == "" {
		return "-"
	}
	return out[:min(len(out), limit)]
}

// parameter escapes a value of structured data (RFC 5424 6.3.3).
func parameter(v string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, `]`, `\]`).Replace(printable(v, 200))
}
