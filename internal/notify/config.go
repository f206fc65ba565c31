package notify

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/leastwise/leastwise/internal/control"
	"github.com/leastwise/leastwise/internal/grant"
)

// ConfigVersion is the version of the form of the file.
const ConfigVersion = 1

// A Config is a file that says who is told how (docs/FORMATS.md).
type Config struct {
	Version  int             `yaml:"notify"`
	Mail     []MailConfig    `yaml:"mail"`
	Webhooks []WebhookConfig `yaml:"webhooks"`
	Syslog   []SyslogConfig  `yaml:"syslog"`
}

// A TargetConfig is what all targets have.
type TargetConfig struct {
	Name string `yaml:"name"`
	Loud bool   `yaml:"loud-only"`
	Rate int    `yaml:"per-minute"` // 60 if absent
	CA   string `yaml:"ca"`         // PEM file with the only roots that are trusted; absent: the system's
}

// A MailConfig is a server that takes mail.
type MailConfig struct {
	TargetConfig `yaml:",inline"`
	Server       string              `yaml:"server"`
	Port         int                 `yaml:"port"`
	TLS          string              `yaml:"tls"`
	From         string              `yaml:"from"`
	User         string              `yaml:"user"`
	PasswordFile string              `yaml:"password-file"`
	To           map[string][]string `yaml:"to"` // audience: addresses, or "directory"
}

// A WebhookConfig is a receiver of webhooks.
type WebhookConfig struct {
	TargetConfig `yaml:",inline"`
	URL          string   `yaml:"url"`
	KeyFile      string   `yaml:"key-file"`
	To           []string `yaml:"to"` // audiences, or "all"
}

// A SyslogConfig is a syslog server.
type SyslogConfig struct {
	TargetConfig `yaml:",inline"`
	Address      string   `yaml:"address"`
	Transport    string   `yaml:"transport"`
	To           []string `yaml:"to"` // audiences, or "all"
}

// InDirectory stands for the addresses of the people of an audience, as the mail
// attributes of their accounts say.
const InDirectory = "directory"

func audiences() []grant.Audience {
	return []grant.Audience{grant.ToRequester, grant.ToApprovers, grant.ToObservers, grant.ToSecurity, grant.ToReviewers}
}

// ParseConfig reads the file. The name is for errors, which are [ErrConfig].
func ParseConfig(name string, data []byte) (c *Config, err error) {
	if err := control.CheckYAML(name, data); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	defer func() {
		// The YAML library panics on a few malformed documents.
		if r := recover(); r != nil {
			c, err = nil, fmt.Errorf("%w: %s: not YAML: %v", ErrConfig, name, r)
		}
	}()
	c = &Config{}
	d := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict())
	if err := d.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: %s", ErrConfig, yamlFault(name, err))
	}
	if err := d.Decode(&Config{}); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: %s: holds more than one document", ErrConfig, name)
	}
	if c.Version != ConfigVersion {
		return nil, fmt.Errorf("%w: %s: notify should be %d", ErrConfig, name, ConfigVersion)
	}
	return c, nil
}

// yamlFault says on which line a file is wrong, in one line.
func yamlFault(name string, err error) string {
	var e yaml.Error
	if errors.As(err, &e) && e.GetToken() != nil {
		return fmt.Sprintf("%s:%d: %s", name, e.GetToken().Position.Line, e.GetMessage())
	}
	return fmt.Sprintf("%s: %s", name, strings.ReplaceAll(err.Error(), "\n", " "))
}

// A Surroundings is what a configuration needs to become routes: how files are read
// (secrets first of all), and the clock.
type Surroundings struct {
	ReadFile func(name string) ([]byte, error)
	Now      func() time.Time
}

var targetName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)

// Routes makes the targets. asks reports whether one of them wants addresses of the
// directory.
func (c *Config) Routes(in Surroundings) (routes []Route, asks bool, err error) {
	var names []string
	add := func(t TargetConfig, make func(*tls.Config) (Route, error)) {
		if err != nil {
			return
		}
		switch {
		case !targetName.MatchString(t.Name):
			err = fmt.Errorf("%w: the name %q of a target is not made of lower-case letters, digits and hyphens", ErrConfig, t.Name)
		case slices.Contains(names, t.Name):
			err = fmt.Errorf("%w: two targets have the name %s", ErrConfig, t.Name)
		case t.Rate < 0 || t.Rate > 60_000:
			err = fmt.Errorf("%w: %s: per-minute is not between 1 and 60000", ErrConfig, t.Name)
		}
		names = append(names, t.Name)
		var trust *tls.Config
		if err == nil {
			trust, err = t.trust(in)
		}
		if err != nil {
			return
		}
		var r Route
		if r, err = make(trust); err == nil {
			r.Loud, r.Rate = t.Loud, t.Rate
			asks = asks || len(r.Directory) > 0
			routes = append(routes, r)
		}
	}
	for _, v := range c.Mail {
		add(v.TargetConfig, func(t *tls.Config) (Route, error) { return v.route(in, t) })
	}
	for _, v := range c.Webhooks {
		add(v.TargetConfig, func(t *tls.Config) (Route, error) { return v.route(in, t) })
	}
	for _, v := range c.Syslog {
		add(v.TargetConfig, v.route)
	}
	return routes, asks, err
}

func (t TargetConfig) trust(in Surroundings) (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CA == "" {
		return out, nil
	}
	pem, err := in.ReadFile(t.CA)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: reading the root certificates %s: %w", ErrConfig, t.Name, t.CA, err)
	}
	out.RootCAs = x509.NewCertPool()
	if !out.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%w: %s: %s holds no certificate in PEM form", ErrConfig, t.Name, t.CA)
	}
	return out, nil
}

func (m MailConfig) route(in Surroundings, t *tls.Config) (Route, error) {
	set := MailSettings{Name: m.Name, Host: m.Server, Port: m.Port, From: m.From, Encrypt: m.TLS, User: m.User, TLS: t}
	if m.PasswordFile != "" {
		b, err := in.ReadFile(m.PasswordFile)
		if err != nil {
			return Route{}, fmt.Errorf("%w: %s: reading the password: %w", ErrConfig, m.Name, err)
		}
		line, _, _ := bytes.Cut(b, []byte("\n"))
		set.Password = strings.TrimSuffix(string(line), "\r")
	}
	target, err := NewMail(set)
	if err != nil {
		return Route{}, err
	}
	r := Route{Target: target, To: map[grant.Audience][]string{}, Personal: true}
	for name, list := range m.To {
		a, err := audience(m.Name, name)
		if err != nil {
			return Route{}, err
		}
		for _, v := range list {
			if v == InDirectory {
				r.Directory = append(r.Directory, a)
				continue
			}
			address, err := parseAddress(v)
			if err != nil {
				return Route{}, fmt.Errorf("%w: %s: to %s: %w", ErrConfig, m.Name, name, err)
			}
			r.To[a] = append(r.To[a], address)
		}
	}
	return r, nobody(m.Name, len(r.To)+len(r.Directory))
}

func nobody(name string, to int) error {
	if to == 0 {
		return fmt.Errorf("%w: %s: to names no audience", ErrConfig, name)
	}
	return nil
}

func audience(target, name string) (grant.Audience, error) {
	if a := grant.Audience(name); slices.Contains(audiences(), a) {
		return a, nil
	}
	return "", fmt.Errorf("%w: %s: there is no audience %q, but requester, approvers, observers, security, reviewers", ErrConfig, target, name)
}

// whole are the audiences of a target that has no addresses.
func whole(target string, names []string) (map[grant.Audience][]string, error) {
	out := map[grant.Audience][]string{}
	for _, n := range names {
		if n == "all" {
			for _, a := range audiences() {
				out[a] = nil
			}
			continue
		}
		a, err := audience(target, n)
		if err != nil {
			return nil, err
		}
		out[a] = nil
	}
	return out, nobody(target, len(out))
}

func (w WebhookConfig) route(in Surroundings, t *tls.Config) (Route, error) {
	if w.KeyFile == "" {
		return Route{}, fmt.Errorf("%w: %s: no key-file", ErrConfig, w.Name)
	}
	key, err := in.ReadFile(w.KeyFile)
	if err != nil {
		return Route{}, fmt.Errorf("%w: %s: reading the key: %w", ErrConfig, w.Name, err)
	}
	to, err := whole(w.Name, w.To)
	if err != nil {
		return Route{}, err
	}
	target, err := NewWebhook(WebhookSettings{Name: w.Name, URL: w.URL, Key: bytes.TrimRight(key, "\r\n"), TLS: t, Now: in.Now})
	return Route{Target: target, To: to}, err
}

func (s SyslogConfig) route(t *tls.Config) (Route, error) {
	to, err := whole(s.Name, s.To)
	if err != nil {
		return Route{}, err
	}
	way := s.Transport
	if way == "" {
		way = SyslogTLS
	}
	target, err := NewSyslog(SyslogSettings{Name: s.Name, Address: s.Address, Way: way, TLS: t})
	return Route{Target: target, To: to}, err
}
