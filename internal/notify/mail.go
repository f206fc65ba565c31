package notify

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	gomail "github.com/wneessen/go-mail"
)

// Ways of encrypting mail.
const (
	MailStartTLS = "starttls" // the default
	MailTLS      = "tls"      // from the first byte
	MailPlain    = "none"     // to loopback only
)

// A Mail sends messages by SMTP, one to each recipient, so that none sees the others.
type Mail struct {
	name   string
	set    MailSettings
	domain string // of the sender: for message identifiers
}

// MailSettings say how. Name, Host and From are required.
type MailSettings struct {
	Name           string
	Host           string
	Port           int // 0: 587, or 465 with tls
	From           string
	Encrypt        string // MailStartTLS if empty
	User, Password string // empty: the server takes mail without
	TLS            *tls.Config
	Hello          string // name for HELO; empty: this host's
}

// NewMail returns a target.
func NewMail(set MailSettings) (*Mail, error) {
	if set.Encrypt == "" {
		set.Encrypt = MailStartTLS
	}
	from, err := parseAddress(set.From)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: mail %s: from is %w", ErrConfig, set.Name, err)
	case set.Host == "" || strings.ContainsAny(set.Host, ":/ \r\n"):
		return nil, fmt.Errorf("%w: mail %s: server is no name of a host", ErrConfig, set.Name)
	case set.Encrypt != MailStartTLS && set.Encrypt != MailTLS && set.Encrypt != MailPlain:
		return nil, fmt.Errorf("%w: mail %s: tls is %q, and none of starttls, tls, none", ErrConfig, set.Name, set.Encrypt)
	case set.Encrypt == MailPlain && !isLoopback(set.Host):
		return nil, fmt.Errorf("%w: mail %s: without TLS mail goes to loopback only", ErrConfig, set.Name)
	case (set.User == "") != (set.Password == ""):
		return nil, fmt.Errorf("%w: mail %s: user and password-file belong together", ErrConfig, set.Name)
	}
	return &Mail{name: set.Name, set: set, domain: from[strings.LastIndexByte(from, '@')+1:]}, nil
}

// Name returns the name of the target.
func (m *Mail) Name() string { return m.name }

// client makes a connection's settings.
func (m *Mail) client() (*gomail.Client, error) {
	opts := []gomail.Option{gomail.WithTimeout(sendTime)}
	switch m.set.Encrypt {
	case MailStartTLS:
		opts = append(opts, gomail.WithTLSPolicy(gomail.TLSMandatory), gomail.WithPort(587))
	case MailTLS:
		opts = append(opts, gomail.WithSSL(), gomail.WithPort(465))
	case MailPlain:
		opts = append(opts, gomail.WithTLSPolicy(gomail.NoTLS), gomail.WithPort(25))
	}
	if m.set.Port != 0 {
		opts = append(opts, gomail.WithPort(m.set.Port))
	}
	if m.set.TLS != nil {
		c := m.set.TLS.Clone()
		if c.ServerName == "" {
			c.ServerName = m.set.Host
		}
		c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
		opts = append(opts, gomail.WithTLSConfig(c))
	}
	if m.set.Hello != "" {
		opts = append(opts, gomail.WithHELO(m.set.Hello))
	}
	if m.set.User != "" {
		opts = append(opts, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(m.set.User), gomail.WithPassword(m.set.Password))
	}
	return gomail.NewClient(m.set.Host, opts...)
}

// Send sends one mail. It returns when the server has accepted it.
func (m *Mail) Send(ctx context.Context, recipient string, msg Message) error {
	out, err := m.compose(recipient, msg)
	if err != nil {
		return err
	}
	c, err := m.client()
	if err != nil {
		return m.fault(err)
	}
	if err := c.DialAndSendWithContext(ctx, out); err != nil {
		return m.fault(err)
	}
	return nil
}

// fault is an error without the password, should a server repeat what it was sent.
func (m *Mail) fault(err error) error {
	text := err.Error()
	if p := m.set.Password; p != "" {
		plain := base64.StdEncoding.EncodeToString([]byte("\x00" + m.set.User + "\x00" + p)) // RFC 4616
		for _, secret := range []string{plain, base64.StdEncoding.EncodeToString([]byte(p)), p} {
			text = strings.ReplaceAll(text, secret, "[password]")
		}
	}
	text = printable(text, maxFault)
	return fmt.Errorf("sending mail through %s: %w", m.set.Host, errors.New(text))
}

// compose makes the mail. Its subject and body hold one line of text from outside each.
func (m *Mail) compose(recipient string, msg Message) (*gomail.Msg, error) {
	to, err := parseAddress(recipient)
	if err != nil {
		return nil, fmt.Errorf("the recipient: %w", err)
	}
	text, err := words(msg)
	if err != nil {
		return nil, err
	}
	out := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	if err := errors.Join(out.From(m.set.From), out.To(to)); err != nil {
		return nil, m.fault(err)
	}
	out.Subject(subject(msg))
	out.SetDateWithValue(msg.Time)
	out.SetMessageIDWithValue(msg.ID + "@" + m.domain)
	out.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no automatic answers
	out.SetGenHeader("X-Leastwise-Id", msg.ID)
	if msg.Loud {
		out.SetImportance(gomail.ImportanceUrgent)
	}
	out.SetBodyString(gomail.TypeTextPlain, text)
	return out, nil
}
