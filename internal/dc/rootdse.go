package dc

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A RootDSE is what a domain controller says about itself before anyone has
// authenticated ([MS-ADTS] 3.1.1.3.2).
type RootDSE struct {
	DNSHostName     string
	ServerName      string // DN of the server object
	DSServiceName   string // DN of its NTDS settings
	Site            string // name of its site, from ServerName
	NamingContexts  []string
	DefaultNC       string
	RootDomainNC    string
	ConfigurationNC string
	SchemaNC        string
	DomainLevel     int // functional levels, msDS-Behavior-Version; -1 if not told
	ForestLevel     int
	ControllerLevel int
	HighestUSN      int64
	CurrentTime     time.Time     // of the domain controller; zero if not told
	Skew            time.Duration // CurrentTime minus the local clock, to about a second
	Controls        []string      // object identifiers, sorted
	Capabilities    []string
	SASLMechanisms  []string
	Synchronized    bool
	GlobalCatalog   bool
	RequestedAt     time.Time
	LDAPServiceName string
}

// Supports reports whether the domain controller announces a control.
func (r RootDSE) Supports(oid string) bool {
	_, ok := slices.BinarySearch(r.Controls, oid)
	return ok
}

// Domain returns the DNS name of the domain of the default naming context.
func (r RootDSE) Domain() string { return DomainOfDN(r.DefaultNC) }

// Forest returns the DNS name of the forest's root domain.
func (r RootDSE) Forest() string { return DomainOfDN(r.RootDomainNC) }

// DomainOfDN returns the DNS name made of the DC= components at the end of a
// distinguished name; other components are skipped.
func DomainOfDN(dn string) string {
	var labels []string
	for _, part := range strings.Split(dn, ",") {
		k, v, ok := strings.Cut(strings.TrimSpace(part), "=")
		if ok && strings.EqualFold(k, "DC") {
			labels = append(labels, strings.ToLower(v))
		}
	}
	return strings.Join(labels, ".")
}

// rootDSE reads the rootDSE over an open connection.
func (c *conn) rootDSE(ctx context.Context, now func() time.Time) (RootDSE, error) {
	before := now()
	entries, r, err := c.lookup(ctx, Request{Attributes: []string{"*", "+"}}, nil)
	if err != nil {
		return RootDSE{}, err
	}
	if r.code != resultSuccess {
		return RootDSE{}, resultError("reading rootDSE", c.server.String(), r)
	}
	if len(entries) != 1 {
		return RootDSE{}, c.protocolError("reading rootDSE", fmt.Errorf("%d entries", len(entries)))
	}
	root := parseRootDSE(entries[0])
	if root.DefaultNC == "" {
		return root, &Error{Kind: ErrProtocol, Op: "reading rootDSE", Server: c.server.String(), Detail: "it has no defaultNamingContext: this is not a domain controller"}
	}
	root.RequestedAt = before
	if !root.CurrentTime.IsZero() {
		// The server's time has whole seconds; the middle of the exchange and
		// half a second are the best guesses.
		middle := before.Add(now().Sub(before) / 2)
		root.Skew = root.CurrentTime.Add(500 * time.Millisecond).Sub(middle).Round(time.Second)
	}
	return root, nil
}

func parseRootDSE(e Entry) RootDSE {
	list := func(name string) []string {
		var s []string
		for _, v := range e.Values(name) {
			s = append(s, string(v))
		}
		return s
	}
	level := func(name string) int {
		n, err := strconv.Atoi(e.Value(name))
		if err != nil {
			return -1
		}
		return n
	}
	r := RootDSE{
		DNSHostName:     strings.ToLower(e.Value("dnsHostName")),
		ServerName:      e.Value("serverName"),
		DSServiceName:   e.Value("dsServiceName"),
		NamingContexts:  list("namingContexts"),
		DefaultNC:       e.Value("defaultNamingContext"),
		RootDomainNC:    e.Value("rootDomainNamingContext"),
		ConfigurationNC: e.Value("configurationNamingContext"),
		SchemaNC:        e.Value("schemaNamingContext"),
		DomainLevel:     level("domainFunctionality"),
		ForestLevel:     level("forestFunctionality"),
		ControllerLevel: level("domainControllerFunctionality"),
		Controls:        list("supportedControl"),
		Capabilities:    list("supportedCapabilities"),
		SASLMechanisms:  list("supportedSASLMechanisms"),
		Synchronized:    e.Value("isSynchronized") == "TRUE",
		GlobalCatalog:   e.Value("isGlobalCatalogReady") == "TRUE",
		LDAPServiceName: e.Value("ldapServiceName"),
	}
	r.HighestUSN, _ = strconv.ParseInt(e.Value("highestCommittedUSN"), 10, 64)
	r.CurrentTime, _ = time.Parse("20060102150405.0Z", e.Value("currentTime"))
	slices.Sort(r.Controls)
	r.Controls = slices.Compact(r.Controls)
	// CN=DC1,CN=Servers,CN=SITE,CN=Sites,CN=Configuration,…
	if parts := strings.Split(r.ServerName, ","); len(parts) > 3 {
		r.Site = strings.TrimPrefix(parts[2], "CN=")
	}
	return r
}
