package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/api"
	"github.com/leastwise/leastwise/internal/dc"
)

// A Session is a client that has signed in to a server.
type Session struct {
	*api.Client
	cfg   *Config
	by    Caller
	token bool
	stay  bool
	close []func()
}

// SignIn signs in to the configured server, as configured.
func SignIn(ctx context.Context, cfg *Config, by Caller) (_ *Session, err error) {
	base := cfg.Text("url")
	if base == "" {
		return nil, fmt.Errorf("%w: the server is not named: give --url https://HOST:PORT, or url in leastwise.yaml", ErrConfig)
	}
	tr, err := transport(cfg)
	if err != nil {
		return nil, err
	}
	c, err := api.NewClient(base, tr)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	s := &Session{Client: c, cfg: cfg, by: by, close: []func(){tr.CloseIdleConnections}}
	if c.Plain() && !loopbackHost(c.Host()) {
		return nil, fmt.Errorf("%w: %s is called without TLS, which shows everything to the network: use https", ErrConfig, c.Host())
	}
	switch cfg.Text("sign-in") {
	case "token":
		err = s.useToken()
	case "password":
		err = s.signInPassword(ctx)
	default:
		err = s.signInKerberos(ctx)
	}
	if err != nil {
		s.Close(ctx)
		return nil, err
	}
	return s, nil
}

func loopbackHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// transport verifies the server by the system's authorities and those of --ca. Names of
// the domain are looked up at its DNS server where one is configured.
func transport(cfg *Config) (*http.Transport, error) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if file := cfg.Text("ca"); file != "" {
		data, err := ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading the authorities in %s: %w", file, err)
		}
		if !roots.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("%w: %s holds no certificate", ErrConfig, file)
		}
	}
	d := &net.Dialer{Timeout: cfg.Duration("timeout")}
	if server := cfg.Text("dns"); server != "" {
		if _, _, err := net.SplitHostPort(server); err != nil {
			server = net.JoinHostPort(server, "53")
		}
		d.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, server)
		}}
	}
	return &http.Transport{
		DialContext: d.DialContext, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: cfg.Duration("timeout"), IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 1 << 20,
	}, nil
}

func (s *Session) useToken() error {
	file := s.cfg.Text("token-file")
	if file == "" {
		return fmt.Errorf("%w: --sign-in token needs --token-file", ErrConfig)
	}
	token, err := NewPassword(file, s.by)
	if err == nil {
		s.token = true
		s.UseToken(token)
	}
	return err
}

func (s *Session) signInPassword(ctx context.Context) error {
	user := s.cfg.Text("user")
	if user == "" {
		return fmt.Errorf("%w: --sign-in password needs --user", ErrConfig)
	}
	secret, err := password(ctx, s.cfg, s.by, user)
	if err != nil {
		return err
	}
	return s.Client.Do(ctx, api.Call{Method: http.MethodPost, Path: "/v1/session/password", In: api.PasswordSignIn{Name: user, Password: secret}})
}

// signInKerberos gets a ticket for the server, tied to the TLS connection.
func (s *Session) signInKerberos(ctx context.Context) error {
	if s.Plain() {
		return fmt.Errorf("%w: Kerberos tickets are tied to TLS: use https, or --sign-in password", ErrConfig)
	}
	cfg, err := DirectoryConfig(ctx, s.cfg, s.by)
	if err != nil {
		return err
	}
	u := url.URL{Host: s.Host()}
	server := dc.WebServer{Host: u.Hostname()}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return fmt.Errorf("%w: %s is no port", ErrConfig, p)
		}
		server.Port = uint16(n)
	}
	web, err := dc.NewWeb(cfg, server)
	if err != nil {
		return err
	}
	s.close = append(s.close, web.Close)
	return s.Client.Do(ctx, api.Call{Method: http.MethodPost, Path: "/v1/session/kerberos", Via: web})
}

// Stay makes Close leave the session to its end, half an hour after its last request: an
// API token that was issued in it for the same account would end with a sign-out. Nobody
// keeps its secret.
func (s *Session) Stay() { s.stay = true }

// Close signs out; a token stays what it is.
func (s *Session) Close(ctx context.Context) {
	if s.SignedIn() && !s.token && !s.stay {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		// If the server does not hear of it, the session ends by itself.
		_ = s.Client.Do(ctx, api.Call{Method: http.MethodPost, Path: "/v1/session/end"})
	}
	for _, f := range s.close {
		f()
	}
}

// Do carries a call out. If the server wants the second factor to be fresh, it is shown,
// once.
func (s *Session) Do(ctx context.Context, call api.Call) error {
	err := s.Client.Do(ctx, call)
	var p *api.Problem
	if !errors.As(err, &p) || p.Code() != api.CodeStepUp || s.token {
		return err
	}
	code, cerr := s.Code(ctx)
	if cerr != nil {
		return errors.Join(err, cerr)
	}
	if err := s.Client.Do(ctx, api.Call{Method: http.MethodPost, Path: "/v1/session/step-up/totp", In: api.CodeAnswer{Code: code}}); err != nil {
		return err
	}
	return s.Client.Do(ctx, call)
}

// Code returns the present code of the authenticator app.
func (s *Session) Code(ctx context.Context) (string, error) {
	if file := s.cfg.Text("code-file"); file != "" {
		code, err := NewPassword(file, s.by)
		return strings.TrimSpace(code), err
	}
	if s.by.Prompt == nil {
		return "", fmt.Errorf("%w: nobody can be asked for the code of the authenticator app: give --code-file", ErrConfig)
	}
	return s.by.Prompt(ctx, "the authenticator app (its code)")
}
