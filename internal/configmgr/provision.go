package configmgr

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrNotProvisioned reports a slot for which no account is made, or a name that must not
// be used for it.
var ErrNotProvisioned = errors.New("no account is planned for this slot")

// A ProvisionRequest says which account is wanted, and where. What a slot does not need
// may be empty; what it needs and is empty makes the plan incomplete, not wrong.
type ProvisionRequest struct {
	Slot      Slot     `json:"slot"`
	Account   string   `json:"account"`             // sAMAccountName
	OU        string   `json:"ou"`                  // DN of the organizational unit
	Domain    string   `json:"domain"`              // DNS name of its domain
	NetBIOS   string   `json:"netbios"`             // of the domain
	DenyGroup string   `json:"denyGroup,omitempty"` // DN of the group that policies deny logons
	Locations []string `json:"locations,omitempty"` // DNs: what is discovered; domains that are published to
	JoinOUs   []string `json:"joinOUs,omitempty"`   // DNs: where computers are joined
	Hosts     []string `json:"hosts,omitempty"`     // DNS names of the computers of the slot
	Shares    []string `json:"shares,omitempty"`    // \\host\share\folder
	Server    string   `json:"server,omitempty"`    // host or host\instance of the database
	Database  string   `json:"database,omitempty"`
}

// A Provision is a plan that makes the least-privileged account of a slot. It is not
// carried out here, and it holds no password.
type Provision struct {
	ProvisionRequest
	Title      string        `json:"title"` // name of the entry
	DN         string        `json:"dn"`
	Exists     bool          `json:"exists,omitempty"`     // the account fills another slot already
	Actions    []Action      `json:"actions"`              // in order; the inverse is in reverse order
	Notes      []string      `json:"notes,omitempty"`      // what to weigh
	Incomplete []string      `json:"incomplete,omitempty"` // what is missing, and which parameter gives it
	Forbidden  []string      `json:"forbidden,omitempty"`  // what the account must never get
	Separation []Restriction `json:"separation,omitempty"` // which other slots it must not fill
}

// A Restriction is a rule of separation that the account falls under.
type Restriction struct {
	Rule  SeparationRule `json:"rule"`
	Other string         `json:"other"`
	Text  string         `json:"text,omitempty"`
}

// An Action is one change of a plan with its inverse. Forms that a change does not have
// are empty.
type Action struct {
	Kind     ActionKind    `json:"kind"`
	Do       string        `json:"do"`
	Undo     string        `json:"undo"`
	Settings []string      `json:"settings,omitempty"` // lines of [Privilege Rights] in a policy
	ACE      *DirectoryACE `json:"ace,omitempty"`
	SQL      []string      `json:"sql,omitempty"`
	UndoSQL  []string      `json:"undoSql,omitempty"`

	script, undoScript []string // PowerShell, one statement each
	ldif, undoLDIF     string   // one record each
}

// An ActionKind is a kind of change.
type ActionKind string

// The kinds of changes.
const (
	MakeAccount    ActionKind = "account"
	JoinGroup      ActionKind = "domain-group"
	JoinLocalGroup ActionKind = "local-group"
	SetPolicy      ActionKind = "policy"
	GrantDirectory ActionKind = "directory"
	GrantShare     ActionKind = "share"
	GrantDatabase  ActionKind = "database"
	ByHand         ActionKind = "by-hand" // in a console or by another administrator
)

// Flags of new accounts ([MS-ADTS] 2.2.16): a disabled, normal account that cannot be
// delegated, and the encryption types AES128 and AES256 ([MS-KILE] 2.2.7).
const (
	newAccountControl    = 0x200 | 0x2 | 0x100000
	neverExpires         = 0x10000
	newAccountEncryption = 0x18
)

// Provision plans the account of a slot. Errors are ErrSlot, ErrParameter or
// ErrNotProvisioned.
func (c *Catalogue) Provision(doc *Document, req ProvisionRequest) (*Provision, error) {
	e := c.Entry(req.Slot.Entry)
	if e == nil {
		return nil, fmt.Errorf("%w: the catalogue has no entry %q", ErrSlot, req.Slot.Entry)
	}
	site := doc.site(req.Slot.Site)
	if site == nil {
		return nil, fmt.Errorf("%w: the documents have no site %q", ErrSlot, req.Slot.Site)
	}
	req.Slot.Site = site.Code
	if req.Domain == "" {
		req.Domain = site.Domain
	}
	if len(req.Hosts) == 0 {
		req.Hosts = slotHosts(e, site)
	}
	if err := provisionable(e, site); err != nil {
		return nil, err
	}
	if err := req.check(); err != nil {
		return nil, err
	}
	p := &Provision{ProvisionRequest: req, Title: e.Name, DN: "CN=" + escapeRDN(req.Account) + "," + req.OU}
	if err := p.share(c, doc, e); err != nil {
		return nil, err
	}
	pl := &planning{entry: e, site: site, plan: p}
	pl.account()
	pl.denials()
	for _, r := range e.Required {
		pl.right(r)
	}
	pl.rest()
	return p, nil
}

// provisionable refuses slots that no new account belongs into.
func provisionable(e *Entry, site *Site) error {
	no := func(why string) error {
		return fmt.Errorf("%w: %s: %s", ErrNotProvisioned, e.ID, why)
	}
	switch {
	case e.Kind == WindowsGroup:
		return no("the site makes and fills this group")
	case e.Kind == FirmwareAccount:
		return no("the account lives in firmware, there is none in Windows")
	case e.Kind == AccountList:
		return no("the slot lists principals; put a group there that is governed and small")
	case e.ID == "site-installation":
		return no("setup is run by an administrator, whose rights are taken back afterwards")
	}
	if site.Release == "current-branch" {
		switch e.Current {
		case CurrentRemoved:
			return no("the current branch does not have it any more")
		case CurrentMerged:
			return no("the current branch has " + e.MergedInto + " instead")
		case CurrentUnsupported, CurrentRetired:
			return no("its role is not supported any more")
		}
	}
	if e.Current == CurrentAdded && site.Release != "current-branch" && site.Release != "" {
		return no("releases of the 2012 family do not have it")
	}
	return nil
}

// slotHosts are the computers that hold the role of a slot.
func slotHosts(e *Entry, site *Site) []string {
	var out []string
	for _, t := range tellers(e.ID) {
		if t.class != ClassSiteRoles || t.part == roleSiteSystem {
			continue
		}
		for _, s := range site.Systems {
			if slices.Contains(s.Roles, t.part) {
				out = append(out, s.Host)
			}
		}
	}
	return sorted(out)
}

// check refuses parameters that could mean something else than a name in one of the
// forms that a plan is printed in.
func (r *ProvisionRequest) check() error {
	checks := []error{
		checkPattern("account", r.Account, accountPattern, "a sAMAccountName of 2 to 20 letters, digits, dots, hyphens and underscores"),
		checkDN("OU", r.OU),
		checkPattern("domain", r.Domain, hostPattern, "a DNS name"),
		checkPattern("NetBIOS name", r.NetBIOS, netbiosPattern, "a NetBIOS name"),
	}
	if r.DenyGroup != "" {
		checks = append(checks, checkDN("deny group", r.DenyGroup))
	}
	for _, dn := range r.Locations {
		checks = append(checks, checkDN("location", dn))
	}
	for _, dn := range r.JoinOUs {
		checks = append(checks, checkDN("join OU", dn))
	}
	for _, h := range r.Hosts {
		checks = append(checks, checkPattern("host", h, hostPattern, "a DNS name"))
	}
	for _, s := range r.Shares {
		checks = append(checks, checkUNC("share", s))
	}
	if r.Server != "" {
		host, _, _ := strings.Cut(r.Server, `\`)
		checks = append(checks, checkPattern("server", r.Server, instancePattern, `host or host\instance`), checkPattern("server", host, hostPattern, `host or host\instance`))
	}
	if r.Database != "" {
		checks = append(checks, checkPattern("database", r.Database, databasePattern, "a name of letters, digits, hyphens and underscores"))
	}
	for _, err := range checks {
		if err != nil {
			return err
		}
	}
	if want := domainDN(r.Domain); !strings.HasSuffix(strings.ToLower(strings.ReplaceAll(r.OU, ", ", ",")), strings.ToLower(want)) {
		return parameter("OU", r.OU, "is not in "+want)
	}
	return nil
}

func domainDN(dns string) string {
	return "DC=" + strings.Join(strings.Split(dns, "."), ",DC=")
}

// account names the account as Windows does.
func (r *ProvisionRequest) qualified() string { return r.NetBIOS + `\` + r.Account }

// share looks whether the name fills slots already, and refuses those that it must not
// share: any but those that the catalogue permits.
func (p *Provision) share(c *Catalogue, doc *Document, e *Entry) error {
	want := Assignment{Entry: e.ID, Site: p.Slot.Site, Name: p.qualified()}
	fqdn := Assignment{Entry: e.ID, Site: p.Slot.Site, Name: p.Domain + `\` + p.Account}
	for _, a := range doc.Assignments {
		if a.Entry == "" || !a.Removed.IsZero() {
			continue
		}
		how := max(sameness(Assignment{Name: a.Name}, want), sameness(Assignment{Name: a.Name}, fqdn))
		if strings.EqualFold(a.Name, p.Account+"@"+p.Domain) {
			how = isSame
		}
		if how != isSame {
			continue
		}
		p.Exists = true
		if a.Entry == e.ID {
			p.Notes = append(p.Notes, fmt.Sprintf("%s fills this slot already at site %s.", a.Name, a.Site))
			continue
		}
		if c.mayShare(e.ID, a.Entry) {
			p.Notes = append(p.Notes, fmt.Sprintf("%s fills %s at site %s too. The reference permits it; one account for each purpose keeps the loss of one small.", a.Name, a.Entry, a.Site))
			continue
		}
		return fmt.Errorf("%w: %s fills %s at site %s, and one account must not serve %s as well", ErrNotProvisioned, a.Name, a.Entry, a.Site, e.ID)
	}
	for _, s := range e.Separation {
		if s.Rule == MustDiffer || s.Rule == OnePer || s.Rule == MustAlsoBe {
			p.Separation = append(p.Separation, Restriction{s.Rule, s.Other, s.Text})
		}
	}
	for _, f := range e.Forbidden {
		p.Forbidden = append(p.Forbidden, f.Text)
	}
	return nil
}

// mayShare tells whether one of two entries permits sharing with the other.
func (c *Catalogue) mayShare(a, b string) bool {
	permits := func(from, to string) bool {
		e := c.Entry(from)
		return e != nil && slices.ContainsFunc(e.Separation, func(s Separation) bool { return s.Rule == MayShare && s.Other == to })
	}
	return permits(a, b) || permits(b, a)
}
