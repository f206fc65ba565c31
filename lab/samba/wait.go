package samba

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
	"golang.org/x/sync/errgroup"
)

// waitLimit bounds how long a host may take to serve.
const waitLimit = 40 * time.Second

// wait waits until every host serves and the domain controllers agree.
func (l *Lab) wait(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	for _, h := range l.Hosts {
		g.Go(func() error { return l.waitHost(gctx, h) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return l.Converge(ctx)
}

// waitHost waits until h answers what its role promises.
func (l *Lab) waitHost(ctx context.Context, h Host) error {
	return poll(ctx, waitLimit, 100*time.Millisecond, func(ctx context.Context) error {
		if p, err := l.process(h); err != nil {
			return err
		} else if p == nil {
			return permanent{fmt.Errorf("%s ended by itself: see %s", h.Name, filepath.Join(h.Dir, "log"))}
		}
		for _, s := range l.checkHost(ctx, h) {
			if s.Err != nil {
				return fmt.Errorf("%s of %s: %w", s.Name, h.Name, s.Err)
			}
		}
		return nil
	})
}

// A permanent error ends polling.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// poll calls try until it succeeds, at most for limit.
func poll(parent context.Context, limit, every time.Duration, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(parent, limit)
	defer cancel()
	var last error
	for {
		err := try(ctx)
		if p := (permanent{}); err == nil || errors.As(err, &p) {
			return err
		}
		if last == nil || ctx.Err() == nil { // an attempt that was cut off tells nothing
			last = err
		}
		select {
		case <-ctx.Done():
			if err := context.Cause(parent); err != nil {
				return fmt.Errorf("waiting was given up: %w; the last try: %w", err, last)
			}
			return fmt.Errorf("waited %v: %w", limit, last)
		case <-time.After(every):
		}
	}
}

// A Check is one thing that a host was asked.
type Check struct {
	Name string // LDAPS, DNS, Kerberos, SYSVOL, SAMR
	Err  error  // nil: answered as it should
}

// checkHost asks h for what its role promises, cheapest first; it stops at the
// first thing that fails.
func (l *Lab) checkHost(ctx context.Context, h Host) []Check {
	type probe struct {
		name string
		try  func(context.Context, Host) error
	}
	probes := []probe{{"LDAPS", l.checkLDAP}, {"DNS", l.checkDNS}, {"Kerberos", l.checkKerberos}, {"SYSVOL", l.checkSysvol}}
	if h.Role == MemberServer {
		probes = []probe{{"SMB", l.checkSMB}, {"SAMR", l.checkSAMR}}
	}
	var done []Check
	for _, p := range probes {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := p.try(ctx, h)
		cancel()
		done = append(done, Check{p.name, err})
		if err != nil {
			break
		}
	}
	return done
}

func (l *Lab) checkLDAP(ctx context.Context, h Host) error {
	c, err := l.Dial(ctx, h, l.Reader)
	if err != nil {
		return err
	}
	defer c.Close()
	res, err := c.Search(ldap.NewSearchRequest("", ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 5, false,
		"(objectClass=*)", []string{"isSynchronized"}, nil))
	if err != nil {
		return err
	}
	if got := res.Entries[0].GetAttributeValue("isSynchronized"); got != "TRUE" {
		return fmt.Errorf("isSynchronized is %q", got)
	}
	return nil
}

// Dial opens a connection to h over verified TLS and binds as a. The caller
// closes it.
func (l *Lab) Dial(ctx context.Context, h Host, a Account) (*ldap.Conn, error) {
	pem, err := os.ReadFile(l.CAFile)
	if err != nil {
		return nil, fmt.Errorf("reading the lab's authority: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", l.CAFile)
	}
	password, err := a.Password()
	if err != nil {
		return nil, err
	}
	d := &tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: h.FQDN, MinVersion: tls.VersionTLS12}}
	nc, err := d.DialContext(ctx, "tcp4", net.JoinHostPort(h.Address, "636"))
	if err != nil {
		return nil, err
	}
	c := ldap.NewConn(nc, true)
	c.SetTimeout(30 * time.Second)
	c.Start()
	if err := c.Bind(a.Name+"@"+l.Domain, password); err != nil {
		c.Close()
		return nil, fmt.Errorf("binding as %s: %w", a.Name, err)
	}
	return c, nil
}

func (l *Lab) checkDNS(ctx context.Context, h Host) error {
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(h.Address, "53"))
	}}
	_, srvs, err := r.LookupSRV(ctx, "ldap", "tcp", "dc._msdcs."+l.Domain)
	if err != nil {
		return err
	}
	for _, s := range srvs {
		if strings.TrimSuffix(s.Target, ".") == h.FQDN {
			return nil
		}
	}
	return fmt.Errorf("%s is not among the domain controllers in DNS", h.FQDN)
}

func (l *Lab) checkKerberos(ctx context.Context, h Host) error {
	pw, err := l.Reader.Password()
	if err != nil {
		return err
	}
	// A configuration that knows this domain controller only.
	only := *l
	only.Hosts = []Host{h}
	text, err := render(krb5Conf, &only)
	if err != nil {
		return err
	}
	conf := l.path("ccache", h.Name+".krb5.conf")
	if err := writeFile(conf, text, 0o600); err != nil {
		return err
	}
	cmd := l.Command(ctx, "kinit", "-c", "FILE:"+l.path("ccache", "check-"+h.Name), l.Reader.Name+"@"+l.Realm)
	cmd.Env = append(cmd.Env, "KRB5_CONFIG="+conf)
	cmd.Stdin = strings.NewReader(pw + "\n")
	_, err = run(cmd)
	return err
}

func (l *Lab) checkSysvol(ctx context.Context, h Host) error {
	cmd := l.As(l.Command(ctx, "smbclient", "//"+h.FQDN+"/sysvol", "-s", l.ClientConf, "-c", `ls "`+l.Domain+`\Policies\*"`), l.Reader)
	out, err := run(cmd)
	if err == nil && !bytes.Contains(out, []byte("{31B2F340-")) {
		err = errors.New("the default domain policy is not in SYSVOL")
	}
	return err
}

func (l *Lab) checkSMB(ctx context.Context, h Host) error {
	c, err := new(net.Dialer).DialContext(ctx, "tcp4", net.JoinHostPort(h.Address, "445"))
	if err != nil {
		return err
	}
	return c.Close()
}

// checkSAMR asks a member server for its local administrators, which must
// contain Domain Admins (relative identifier 512).
func (l *Lab) checkSAMR(ctx context.Context, h Host) error {
	cmd := l.AsAdmin(l.Command(ctx, "rpcclient", h.FQDN, "-s", l.ClientConf, "-c", "queryaliasmem builtin 544"))
	out, err := run(cmd)
	if err == nil && !bytes.Contains(out, []byte("-512]")) {
		err = fmt.Errorf("the domain's administrators are not among its local administrators: %s", bytes.TrimSpace(out))
	}
	return err
}

// Converge waits until every domain controller has received what every other
// one held when Converge was called.
func (l *Lab) Converge(ctx context.Context) error {
	if len(l.DCs()) < 2 {
		return nil
	}
	conns := map[string]*ldap.Conn{}
	for _, h := range l.DCs() {
		c, err := l.Dial(ctx, h, l.Admin)
		if err != nil {
			return fmt.Errorf("comparing the domain controllers: %w", err)
		}
		defer c.Close()
		conns[h.Name] = c
	}
	for _, from := range l.DCs() {
		for _, to := range l.DCs() {
			if from.Name == to.Name {
				continue
			}
			if err := l.waitReplicated(ctx, conns[from.Name], conns[to.Name]); err != nil {
				return fmt.Errorf("replication from %s to %s: %w", from.Name, to.Name, err)
			}
		}
	}
	return nil
}

// waitReplicated waits until to's up-to-dateness vector says that it holds, in
// every partition, all that from holds now.
func (l *Lab) waitReplicated(ctx context.Context, from, to *ldap.Conn) error {
	id, err := invocationID(from)
	if err != nil {
		return err
	}
	contexts, err := namingContexts(from)
	if err != nil {
		return err
	}
	for _, nc := range contexts {
		err := poll(ctx, waitLimit, 100*time.Millisecond, func(context.Context) error {
			seen, err := upToDate(to, nc, id)
			if err != nil {
				return err
			}
			missing, err := changedSince(from, nc, seen)
			if err == nil && missing {
				err = fmt.Errorf("%s has changes after %d", nc, seen)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func readBase(c *ldap.Conn, dn string, attrs ...string) (*ldap.Entry, error) {
	res, err := c.Search(ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 10, false, "(objectClass=*)", attrs, nil))
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", dn, err)
	}
	return res.Entries[0], nil
}

func namingContexts(c *ldap.Conn) ([]string, error) {
	e, err := readBase(c, "", "namingContexts")
	if err != nil {
		return nil, err
	}
	return e.GetAttributeValues("namingContexts"), nil
}

// invocationID returns the identity of the database behind c.
func invocationID(c *ldap.Conn) ([]byte, error) {
	e, err := readBase(c, "", "dsServiceName")
	if err != nil {
		return nil, err
	}
	e, err = readBase(c, e.GetAttributeValue("dsServiceName"), "invocationId")
	if err != nil {
		return nil, err
	}
	return e.GetRawAttributeValue("invocationId"), nil
}

// upToDate returns up to which update sequence number of database id the domain
// controller behind c holds the partition nc; 0 if it knows nothing of it. The
// vector is UPTODATE_VECTOR_V2_EXT, [MS-DRSR] 5.209.
func upToDate(c *ldap.Conn, nc string, id []byte) (uint64, error) {
	e, err := readBase(c, nc, "replUpToDateVector")
	if err != nil {
		return 0, err
	}
	b := e.GetRawAttributeValue("replUpToDateVector")
	if len(b) == 0 {
		return 0, nil
	}
	const header, cursor = 16, 32
	if len(b) < header || binary.LittleEndian.Uint32(b) != 2 {
		return 0, permanent{fmt.Errorf("replUpToDateVector of %s has an unknown form", nc)}
	}
	n := int(binary.LittleEndian.Uint32(b[8:]))
	for i := range n {
		at := header + i*cursor
		if at+cursor > len(b) {
			return 0, permanent{fmt.Errorf("replUpToDateVector of %s ends early", nc)}
		}
		if bytes.Equal(b[at:at+16], id) {
			return binary.LittleEndian.Uint64(b[at+16:]), nil
		}
	}
	return 0, nil
}

// changedSince tells whether the partition nc has a change with a higher update
// sequence number on the domain controller behind c.
func changedSince(c *ldap.Conn, nc string, usn uint64) (bool, error) {
	req := ldap.NewSearchRequest(nc, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 1, 10, false,
		"(uSNChanged>="+strconv.FormatUint(usn+1, 10)+")", []string{"1.1"},
		[]ldap.Control{ldap.NewControlMicrosoftShowDeleted()})
	res, err := c.Search(req)
	if ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("searching %s for changes: %w", nc, err)
	}
	return len(res.Entries) > 0, nil
}

// tail returns the last lines of every host's logs as an error, for reports of
// a lab that could not be built and whose folder is about to go.
func (l *Lab) tail() error {
	var errs []error
	for _, h := range l.Hosts {
		for _, f := range []string{"init.log", "samba.log"} {
			b, err := os.ReadFile(filepath.Join(h.Dir, "log", f))
			if err != nil || len(b) == 0 {
				continue // the host was not reached yet
			}
			if len(b) > 1500 {
				b = b[len(b)-1500:]
			}
			errs = append(errs, fmt.Errorf("%s, end of %s:\n%s", h.Name, f, bytes.TrimSpace(b)))
		}
	}
	return errors.Join(errs...)
}
