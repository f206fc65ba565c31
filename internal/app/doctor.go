package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/collect"
	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A CheckState says how a check of the doctor went.
type CheckState string

// States of checks.
const (
	CheckOK   CheckState = "ok"
	CheckWarn CheckState = "warning" // works, or works in part
	CheckFail CheckState = "failed"  // a scan cannot work
)

// A Check is one thing that the doctor looked at.
type Check struct {
	Area   string     `json:"area"` // configuration, discovery, network, clock, tls, logon, account, reading, rights, server
	Name   string     `json:"name"`
	State  CheckState `json:"state"`
	Detail string     `json:"detail"`
	// Objects are the first of those that Detail is about; Total is how many
	// there are.
	Objects []string `json:"objects,omitempty"`
	Total   int      `json:"total,omitempty"`
	// What the objects are: empty: objects that cannot be read; rights: rights that are
	// too much, each in a line.
	What string `json:"what,omitempty"`
	Hint string `json:"hint,omitempty"`
}

// maxSkew is the difference of clocks that Kerberos allows.
const maxSkew = 5 * time.Minute

// An Examination is what the doctor is asked for.
type Examination struct {
	Tool   string  // name and version of the program
	Duties *Duties // of a server that runs as the account; nil: it only scans
}

// A doctor collects checks.
type doctor struct {
	checks []Check
	report func(Check)
}

// Diagnose checks step by step whether a scan with this configuration would work
// and what the account would see, and hands each check to report as it is made.
// It returns all of them. With duties it also compares the account's rights with what a
// server with these duties needs.
func Diagnose(ctx context.Context, c *Config, by Caller, o Examination, report func(Check)) []Check {
	d := &doctor{report: report}
	cfg, err := DirectoryConfig(ctx, c, by)
	if err != nil {
		d.add("configuration", "settings", err, "")
		return d.checks
	}
	d.add("configuration", "settings", nil, fmt.Sprintf("%s over %s, %s", cfg.Credentials, cfg.Transport, c.Text("bind")))
	servers, err := dc.Discover(ctx, cfg)
	d.add("discovery", "domain controllers", err, serverNames(servers))
	if err != nil {
		return d.checks
	}
	for _, s := range servers {
		d.server(ctx, cfg, s)
	}
	for _, p := range dc.ProbeAuth(ctx, cfg) {
		d.logon(cfg, p)
	}
	d.reading(ctx, cfg, o)
	d.keeping(ctx, c, by.Now())
	return d.checks
}

func serverNames(servers []dc.Server) string {
	names := make([]string, len(servers))
	for i, s := range servers {
		names[i] = s.String()
	}
	return strings.Join(names, ", ")
}

// add records a check that failed if err is set, and is in order otherwise.
func (d *doctor) add(area, name string, err error, detail string) {
	c := Check{Area: area, Name: name, State: CheckOK, Detail: detail}
	if err != nil {
		c.State, c.Detail, c.Hint = CheckFail, err.Error(), dc.Hint(err)
	}
	d.put(c)
}

// warn records a check that failed without stopping a scan.
func (d *doctor) warn(area, name, detail, hint string) {
	d.put(Check{Area: area, Name: name, State: CheckWarn, Detail: detail, Hint: hint})
}

func (d *doctor) put(c Check) {
	d.checks = append(d.checks, c)
	if d.report != nil {
		d.report(c)
	}
}

// server checks ports, clock and TLS of one domain controller.
func (d *doctor) server(ctx context.Context, cfg dc.Config, s dc.Server) {
	p, err := dc.ProbeServer(ctx, cfg, s)
	if err != nil {
		d.add("network", s.String(), err, "")
		return
	}
	for _, port := range p.Ports {
		name := fmt.Sprintf("%s port %d (%s)", s, port.Port, port.Service)
		if port.Err != nil {
			d.warn("network", name, port.Err.Error(), dc.Hint(port.Err))
			continue
		}
		d.add("network", name, nil, fmt.Sprintf("answers in %s", port.Latency.Round(time.Microsecond*100)))
	}
	d.clock(s, p)
	for _, t := range p.TLS {
		name := fmt.Sprintf("%s port %d", s, t.Port)
		if t.Err != nil {
			d.warn("tls", name, t.Err.Error(), dc.Hint(t.Err))
			continue
		}
		d.add("tls", name, nil, fmt.Sprintf("%s, certificate valid until %s", t.Version, t.Expires().UTC().Format(time.DateOnly)))
	}
}

func (d *doctor) clock(s dc.Server, p dc.ServerProbe) {
	skew := p.Root.Skew.Round(time.Second)
	switch {
	case p.RootErr != nil:
		d.warn("clock", s.String(), p.RootErr.Error(), dc.Hint(p.RootErr))
	case skew.Abs() >= maxSkew:
		d.warn("clock", s.String(), fmt.Sprintf("differs by %s: Kerberos allows five minutes", skew), "synchronise the clocks")
	default:
		d.add("clock", s.String(), nil, fmt.Sprintf("differs by %s", skew))
	}
}

// logon reports one way of authenticating. Only the configured one must work.
func (d *doctor) logon(cfg dc.Config, p dc.AuthProbe) {
	name := fmt.Sprintf("%s, %s", p.Transport, map[dc.Bind]string{dc.Kerberos: "Kerberos", dc.Simple: "simple bind"}[p.Bind])
	switch {
	case p.Skipped:
		d.warn("logon", name, "not tried: the directory refused the credentials already", "")
	case p.Err != nil && p.Transport == cfg.Transport:
		d.add("logon", name, p.Err, "")
	case p.Err != nil:
		d.warn("logon", name, p.Err.Error(), dc.Hint(p.Err))
	case p.Sealed:
		d.add("logon", name, nil, "works, sealed by Kerberos")
	default:
		d.add("logon", name, nil, "works, inside "+p.TLS)
	}
}

// reading scans, to say what the account can and cannot read and whether it holds
// more than reading needs.
func (d *doctor) reading(ctx context.Context, cfg dc.Config, o Examination) {
	r, err := dc.Open(ctx, cfg)
	if err != nil {
		d.add("reading", "connection", err, "")
		return
	}
	defer r.Close()
	opt := collect.Options{Tool: o.Tool, Account: cfg.Credentials.Principal(), SACL: true, Files: sysvol{r}, Now: cfg.Now}
	s, err := collect.Scan(ctx, r, opt)
	if err != nil {
		d.add("reading", "scan", err, "")
		return
	}
	who := d.account(ctx, r, s)
	for _, c := range coverageChecks(s, who) {
		d.put(c)
	}
	if o.Duties != nil {
		d.rights(ctx, r, s, *o.Duties)
	}
}

// account says who reads, and warns if that account has power it does not need. It
// returns the account's name, empty if the directory did not tell it.
func (d *doctor) account(ctx context.Context, r *dc.Reader, s *forest.Snapshot) string {
	who, err := r.WhoAmI(ctx)
	if err != nil {
		d.warn("account", "identity", err.Error(), dc.Hint(err))
		return ""
	}
	d.put(membershipCheck(s, who))
	return who.Principal
}

// membershipCheck judges the groups in the token of the account that reads.
func membershipCheck(s *forest.Snapshot, who dc.Account) Check {
	c := Check{Area: "account", Name: who.Principal, State: CheckWarn}
	held, malformed := heldPower(s, who.TokenGroups)
	switch {
	case len(held) > 0:
		c.Detail = "is a member of " + strings.Join(held, ", ") + ": reading needs no such power"
		c.Hint = "scan with an ordinary domain user"
	case len(who.TokenGroups) == 0 || malformed > 0:
		c.Detail = "the domain controller did not tell all groups of the account, so it may hold more power than reading needs"
		c.Hint = "look at the memberships of the account; reading needs an ordinary domain user"
	default:
		c.State, c.Detail = CheckOK, "holds no privileged membership, and needs none"
	}
	return c
}

// heldPower names the privileged groups among the SIDs of a token, and counts
// those that are no SIDs. A group that the account may not see goes by its SID.
func heldPower(s *forest.Snapshot, token [][]byte) (held []string, malformed int) {
	for _, raw := range token {
		sid, err := secdesc.SIDFromBytes(raw)
		if err != nil {
			malformed++
			continue
		}
		if !reach.IsPrivileged(s, sid) && !ofAnotherRoot(s, sid) {
			continue
		}
		if id := s.BySID(sid); id != forest.None {
			held = append(held, s.Name(id))
		} else {
			held = append(held, sid.String())
		}
	}
	return held, malformed
}

// ofAnotherRoot reports whether sid is Schema Admins, Enterprise Admins or
// Enterprise Key Admins of a domain that was not scanned: the root of this forest,
// as far as the snapshot can tell.
func ofAnotherRoot(s *forest.Snapshot, sid secdesc.SID) bool {
	rid, ok := sid.RID()
	if !ok || !sid.IsDomainRelative() || rid != 518 && rid != 519 && rid != 527 {
		return false
	}
	return !slices.ContainsFunc(s.Domains(), func(d forest.Domain) bool { return d.SID == sid.Domain() })
}
