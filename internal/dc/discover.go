package dc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// resolver returns the resolver that the configuration names.
func (c Config) resolver() *net.Resolver {
	if c.DNS == "" {
		return net.DefaultResolver
	}
	addr := c.DNS
	if _, _, err := net.SplitHostPort(addr); err != nil {
		addr = net.JoinHostPort(strings.Trim(addr, "[]"), "53")
	}
	dial := c.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	return &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dial(ctx, network, addr)
		},
	}
}

func (c Config) dnsName() string {
	if c.DNS == "" {
		return "the system's resolver"
	}
	return c.DNS
}

// lookupSRV returns the targets of a service record, best first. A name that
// does not exist is an empty answer, not an error.
func (c Config) lookupSRV(ctx context.Context, name string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	_, srv, err := c.resolver().LookupSRV(ctx, "", "", name+".")
	var de *net.DNSError
	if errors.As(err, &de) && de.IsNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, c.dnsError(ctx, "looking up "+name, err)
	}
	var hosts []string
	for _, s := range srv {
		hosts = append(hosts, strings.ToLower(strings.TrimSuffix(s.Target, ".")))
	}
	return hosts, nil
}

// lookupHost returns the addresses of a host, IPv4 first.
func (c Config) lookupHost(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	name := host
	if strings.Contains(host, ".") {
		name += "." // absolute: the system's search list has no say
	}
	addrs, err := c.resolver().LookupNetIP(ctx, "ip", name)
	if err != nil {
		err = c.dnsError(ctx, "looking up "+host, err)
		var known *Error
		if errors.As(err, &known) && known.Kind == ErrDNS && strings.EqualFold(host, c.Server) {
			known.Advice = "check the name, give the address of the domain controller with --server, or name the DNS server of the domain with --dns"
		}
		return nil, err
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	slices.SortStableFunc(addrs, func(a, b netip.Addr) int { return a.BitLen() - b.BitLen() })
	return addrs, nil
}

func (c Config) dnsError(ctx context.Context, op string, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ioError(ctx, op, c.dnsName(), err)
	}
	// The resolver names the system's server even when it has asked ours.
	var de *net.DNSError
	if errors.As(err, &de) {
		own := *de
		own.Server = c.DNS
		err = &own
	}
	return &Error{Kind: ErrDNS, Op: op, Server: c.dnsName(), Err: err}
}

// Discover returns the domain controllers of the configured domain, best first:
// those of the configured site, then the others in the order of DNS weights. A
// configured server is the only answer. Hosts whose name has no address are
// left out unless none remains.
func Discover(ctx context.Context, cfg Config) ([]Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return cfg.discover(ctx)
}

func (c Config) discover(ctx context.Context) ([]Server, error) {
	if c.Server != "" {
		return c.namedServer(ctx)
	}
	hosts, err := c.locate(ctx, "_ldap._tcp", "dc._msdcs."+c.Domain)
	if err != nil {
		return nil, err
	}
	if len(hosts) == 0 {
		return nil, &Error{
			Kind: ErrDNS, Op: "finding domain controllers of " + c.Domain, Server: c.dnsName(),
			Detail: fmt.Sprintf("there is no record _ldap._tcp.dc._msdcs.%s", c.Domain),
		}
	}
	var (
		servers []Server
		first   error
	)
	for _, h := range hosts {
		addrs, err := c.lookupHost(ctx, h)
		if err != nil {
			first = cmpError(first, err)
			continue
		}
		servers = append(servers, Server{Name: h, Addr: addrs[0]})
	}
	if len(servers) == 0 {
		return nil, first
	}
	return servers, nil
}

// locate asks for a service in the configured site first, then in general.
func (c Config) locate(ctx context.Context, service, zone string) ([]string, error) {
	var hosts []string
	if c.Site != "" {
		near, err := c.lookupSRV(ctx, service+"."+c.Site+"._sites."+zone)
		if err != nil {
			return nil, err
		}
		hosts = near
	}
	all, err := c.lookupSRV(ctx, service+"."+zone)
	if err != nil && len(hosts) == 0 {
		return nil, err
	}
	for _, h := range all {
		if !slices.Contains(hosts, h) {
			hosts = append(hosts, h)
		}
	}
	return hosts, nil
}

// namedServer resolves the configured server. An address keeps an empty name;
// the rootDSE will tell it.
func (c Config) namedServer(ctx context.Context) ([]Server, error) {
	host := strings.ToLower(strings.TrimSuffix(c.Server, "."))
	addrs, err := c.lookupHost(ctx, host)
	if err != nil {
		return nil, err
	}
	s := Server{Name: host, Addr: addrs[0]}
	if _, err := netip.ParseAddr(host); err == nil {
		s.Name = ""
	}
	return []Server{s}, nil
}

func cmpError(first, err error) error {
	if first != nil {
		return first
	}
	return err
}
