package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/leastwise/leastwise/internal/adminservice"
	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/internal/dc"
)

// A Provider is the host of an SMS Provider, and how to ask it.
type Provider struct {
	Address      string                      // DNS name, with :port if that is not 443
	Pin          string                      // SHA-256 of its certificate; "" if authorities vouch for it
	ClassTimeout time.Duration               // for one class; 0 is the default
	Progress     func(adminservice.Progress) // may be nil
}

// ProviderSettings names the settings that reading a provider uses.
func ProviderSettings() []string {
	return []string{"domain", "server", "dns", "user", "password-file", "keytab", "ccache", "ca", "timeout"}
}

// server returns the web server that p is.
func (p Provider) server() (dc.WebServer, error) {
	s := dc.WebServer{Host: p.Address}
	if host, port, err := net.SplitHostPort(p.Address); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return s, fmt.Errorf("%w: provider: %q is no port", ErrConfig, port)
		}
		s.Host, s.Port = host, uint16(n)
	}
	if p.Pin != "" {
		pin, err := dc.ParseFingerprint(p.Pin)
		if err != nil {
			return s, fmt.Errorf("%w: pin: %w", ErrConfig, err)
		}
		s.Pin = &pin
	}
	return s, nil
}

// CollectConfigMgr reads a site through the administration service of its provider. It
// signs in with Kerberos, whatever is configured for LDAP.
func CollectConfigMgr(ctx context.Context, c *Config, by Caller, p Provider) (*adminservice.Result, error) {
	server, err := p.server()
	if err != nil {
		return nil, err
	}
	cfg := dc.Config{
		Domain: c.Text("domain"), Server: c.Text("server"), DNS: c.Text("dns"), Site: c.Text("site"),
		CAFile: c.Text("ca"), Timeout: c.Duration("timeout"), Now: by.Now,
	}
	if cfg.Credentials, err = credentials(ctx, c, by); err != nil {
		return nil, err
	}
	web, err := dc.NewWeb(cfg, server)
	if err != nil {
		return nil, err
	}
	defer web.Close()
	client, err := adminservice.New(web, adminservice.Options{ClassTimeout: p.ClassTimeout, Now: by.Now, Progress: p.Progress})
	if err != nil {
		return nil, err
	}
	r, err := adminservice.Collect(ctx, client)
	if err != nil && ctx.Err() != nil {
		return nil, errors.Join(context.Cause(ctx), err)
	}
	return r, err
}

// WriteConfigMgr writes a document to a file, which appears only when it is complete.
func WriteConfigMgr(ctx context.Context, file string, d *configmgr.Document) error {
	return WriteFile(ctx, file, func(w io.Writer) error { return d.Write(w) })
}
