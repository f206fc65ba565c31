package configmgr

import (
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// DocumentVersion is the version of the form of documents.
const DocumentVersion = 1

// A Document is what one source, or several that were merged, says about a hierarchy.
// Its form is JSON (docs/schema/configmgr.schema.json); declared files are YAML of the
// same form. A document is a value: it is not changed after it was read or merged.
type Document struct {
	Version     int          `json:"version"` // DocumentVersion
	Hierarchy   string       `json:"hierarchy,omitempty"`
	Readings    []Reading    `json:"readings,omitempty"`
	Sites       []Site       `json:"sites,omitempty"`
	Assignments []Assignment `json:"assignments,omitempty"`
	Sightings   []Sighting   `json:"sightings,omitempty"`
	Admins      []Admin      `json:"admins,omitempty"`
	Roles       []Role       `json:"roles,omitempty"`
	Hosts       []Host       `json:"hosts,omitempty"`
	Databases   []Database   `json:"databases,omitempty"`
	Packages    []Package    `json:"packages,omitempty"`
	Sequences   []Sequence   `json:"taskSequences,omitempty"`
	Variables   []Variable   `json:"variables,omitempty"`
	// Client settings by the name of their set, then by key: RemoteTools.PermittedViewers, …
	Client       map[string]map[string]any `json:"clientSettings,omitempty"`
	Principals   []Principal               `json:"principals,omitempty"`
	Attestations []Attestation             `json:"attestations,omitempty"`
	Exceptions   []Exception               `json:"exceptions,omitempty"`
	Parameters   *Parameters               `json:"parameters,omitempty"`
}

// A Reading says that a source read a class of facts, and how completely. Facts of a
// class that has no reading for their scope are unknown.
type Reading struct {
	Source    Source    `json:"source"`
	Collector string    `json:"collector"`       // of the catalogue: adminservice, cmdlet, host-sam, …
	Class     Class     `json:"class"`           // what was read
	Scope     string    `json:"scope,omitempty"` // site code, host (DNS name), database; "" is the hierarchy and so every site
	Part      string    `json:"part,omitempty"`  // role or component, if no other of the class was read; "" is the whole class
	At        time.Time `json:"at"`
	File      string    `json:"file,omitempty"`    // name of the file that it came from
	Missing   string    `json:"missing,omitempty"` // why it is not complete; "" if it is
}

// A Source is how a fact came to be known.
type Source string

// The sources of assignments and facts.
const (
	Declared  Source = "declared"  // a file that people keep
	Imported  Source = "imported"  // what a cmdlet wrote
	Collected Source = "collected" // the AdminService
	Directory Source = "directory" // seen in Active Directory
	Attested  Source = "attested"  // a person said so
)

// A Class is a kind of facts that is read as a whole.
type Class string

// The classes of facts, with their scope.
const (
	ClassAccounts    Class = "accounts"        // hierarchy or site: stored accounts with their usage (SMS_SCI_Reserved)
	ClassSiteRoles   Class = "site-roles"      // site: which host has which role, with the account of each (SMS_SCI_SysResUse)
	ClassSites       Class = "sites"           // hierarchy: sites, versions, servers (SMS_SCI_SiteDefinition)
	ClassComponents  Class = "components"      // site: component settings: push, discovery, mail, software distribution
	ClassForests     Class = "forests"         // hierarchy: forest accounts and publishing (SMS_ADForest)
	ClassMigration   Class = "migration"       // hierarchy: source sites (SMS_MigrationSiteMapping)
	ClassRoutes      Class = "routes"          // hierarchy: file replication (SMS_SCI_Address)
	ClassAdmins      Class = "admins"          // hierarchy: administrative users (SMS_Admin)
	ClassRoles       Class = "roles"           // hierarchy: security roles (SMS_Role)
	ClassPackages    Class = "packages"        // hierarchy: packages and their access lists
	ClassSequences   Class = "task-sequences"  // hierarchy: task sequences and the accounts that their steps name
	ClassVariables   Class = "variables"       // hierarchy: names of collection, device and sequence variables
	ClassClient      Class = "client-settings" // hierarchy: remote tools
	ClassExchange    Class = "exchange"        // hierarchy: Exchange cmdlets and mailbox rights
	ClassGroups      Class = "local-groups"    // host
	ClassUserRights  Class = "user-rights"     // host: as LSA holds them
	ClassShares      Class = "shares"          // host: shares with share and file permissions
	ClassFolders     Class = "folders"         // host
	ClassWMI         Class = "wmi"             // host: descriptors of namespaces, DCOM limits
	ClassRegistry    Class = "registry"        // host: SMB signing and the like
	ClassLogons      Class = "logons"          // hierarchy: from where accounts logged on, lock-outs
	ClassDatabase    Class = "database"        // database
	ClassFirmware    Class = "firmware"        // hierarchy: AMT
	ClassAssignments Class = "assignments"     // site: which principal fills which slot, as a whole
)

// A Site of the hierarchy.
type Site struct {
	Code     string         `json:"code"`
	Name     string         `json:"name,omitempty"`
	Kind     SiteKind       `json:"kind,omitempty"`
	Parent   string         `json:"parent,omitempty"`  // site code
	Release  string         `json:"release,omitempty"` // 2012, 2012-SP1, 2012-SP2, 2012-R2, 2012-R2-SP1 or current-branch
	Build    int            `json:"build,omitempty"`   // 9141 of 5.00.9141.1000; 0 if not known
	Server   string         `json:"server,omitempty"`  // DNS name of the site server
	Passive  string         `json:"passive,omitempty"` // of the one in passive mode
	Domain   string         `json:"domain,omitempty"`  // DNS name of the site server's domain
	Database string         `json:"database,omitempty"`
	Systems  []SiteSystem   `json:"systems,omitempty"`
	Settings map[string]any `json:"settings,omitempty"` // see the table of settings in docs/FORMATS.md; text, number, boolean or list of texts
	Forests  []SiteForest   `json:"forests,omitempty"`
}

// A SiteKind is the place of a site in its hierarchy.
type SiteKind string

// The kinds of sites.
const (
	CentralSite   SiteKind = "central"
	PrimarySite   SiteKind = "primary"
	SecondarySite SiteKind = "secondary"
)

// A SiteSystem is a host with its roles, as SMS_SCI_SysResUse names them.
type SiteSystem struct {
	Host  string   `json:"host"` // DNS name
	Roles []string `json:"roles"`
}

// A SiteForest is a forest that the hierarchy discovers or publishes to.
type SiteForest struct {
	Name       string `json:"name"` // DNS name
	Publishing bool   `json:"publishing,omitempty"`
	Discovery  bool   `json:"discovery,omitempty"`
}

// An Assignment says that a principal fills a slot of the catalogue. One without an
// entry is of a stored account that fills no slot, or one for a purpose that is not
// known, which Usage then tells.
type Assignment struct {
	Entry     string       `json:"entry,omitempty"` // id of the catalogue
	Site      string       `json:"site,omitempty"`
	Host      string       `json:"host,omitempty"`     // site system, if the slot is one of a role
	Location  string       `json:"location,omitempty"` // forest, domain, package, sequence or discovery scope
	Name      string       `json:"name"`               // as it is configured
	SID       *secdesc.SID `json:"sid,omitempty"`      // nil until it is resolved
	Kind      string       `json:"kind,omitempty"`     // user, computer, group, gmsa, local, firmware; "" until it is known
	Usage     []string     `json:"usage,omitempty"`    // AccountUsage as it stands
	Stored    bool         `json:"stored,omitempty"`   // it is in the site's list of accounts (SMS_SCI_Reserved)
	Unsolved  string       `json:"unsolved,omitempty"` // why there is no SID, once it was looked for
	Source    Source       `json:"source"`
	FirstSeen time.Time    `json:"firstSeen,omitzero"`
	LastSeen  time.Time    `json:"lastSeen,omitzero"`
	Removed   time.Time    `json:"removed,omitzero"` // zero while it is in force
}

// A Sighting is a trace of Configuration Manager in the directory that is no
// assignment by itself.
type Sighting struct {
	Kind   string       `json:"kind"`           // publisher, site, management-point, pxe, remote-control
	Name   string       `json:"name,omitempty"` // of the account or host, DOMAIN\user or DNS name
	SID    *secdesc.SID `json:"sid,omitempty"`
	Is     string       `json:"is,omitempty"`    // kind of the account: computer, user, group, …
	Domain string       `json:"domain"`          // DNS name of the domain where it was seen
	Count  int          `json:"count,omitempty"` // of hosts, if they are not listed
	Detail string       `json:"detail,omitempty"`
}

// An Admin is an administrative user of the hierarchy.
type Admin struct {
	Name   string       `json:"name"`
	SID    *secdesc.SID `json:"sid,omitempty"`
	Group  bool         `json:"group,omitempty"`
	Roles  []string     `json:"roles,omitempty"` // ids, such as SMS0001R
	Scopes []string     `json:"scopes,omitempty"`
}

// A Role is a security role with what it permits.
type Role struct {
	ID          string              `json:"id"`
	Name        string              `json:"name,omitempty"`
	Permissions map[string][]string `json:"permissions,omitempty"` // by class, such as SMS_Collection
}

// A Host is what is known of a computer that has a part in a site.
type Host struct {
	Name       string              `json:"name"`           // DNS name
	Site       string              `json:"site,omitempty"` // of a client: the site that it belongs to
	Groups     map[string][]Member `json:"groups,omitempty"`
	UserRights map[string][]Member `json:"userRights,omitempty"` // by constant, such as SeInteractiveLogonRight
	Shares     []ACL               `json:"shares,omitempty"`     // Path is the share's name
	Folders    []ACL               `json:"folders,omitempty"`
	WMI        []ACL               `json:"wmi,omitempty"` // Path is the namespace
	Activation []Member            `json:"remoteActivation,omitempty"`
	Registry   map[string]any      `json:"registry,omitempty"` // smbSigningRequired, ldapChannelBinding, extendedProtection
	Targeted   bool                `json:"pushTarget,omitempty"`
}

// A Member is a principal in a list, by name and SID, either of which may be missing.
type Member struct {
	Name string       `json:"name,omitempty"`
	SID  *secdesc.SID `json:"sid,omitempty"`
}

// An ACL is who may do what with something of a host: rights are read, write,
// change, full-control, list, read-execute.
type ACL struct {
	Path    string   `json:"path"`
	Entries []Access `json:"entries"`
}

// An Access is what one entry gives to somebody.
type Access struct {
	Member
	Rights []string `json:"rights"`
	Deny   bool     `json:"deny,omitempty"`
}

// A Database is what is known of a site database.
type Database struct {
	Name        string              `json:"name"` // host, instance and database as the site names it
	Site        string              `json:"site,omitempty"`
	Host        string              `json:"host,omitempty"`
	ServerRoles map[string][]Member `json:"serverRoles,omitempty"`
	Roles       map[string][]Member `json:"roles,omitempty"`
	Rights      []Access            `json:"rights,omitempty"`     // SELECT, EXECUTE, CONNECT on the database as a whole
	Selectable  map[string][]Member `json:"selectable,omitempty"` // who may SELECT, by table or view
}

// A Package with its access list.
type Package struct {
	ID      string   `json:"id"`
	Name    string   `json:"name,omitempty"`
	Tags    []string `json:"tags,omitempty"` // sensitive, workgroup
	Entries []Access `json:"entries,omitempty"`
}

// A Sequence is a task sequence with the accounts that its steps name.
type Sequence struct {
	ID       string    `json:"id"`
	Name     string    `json:"name,omitempty"`
	Modified time.Time `json:"modified,omitzero"`
	Accounts []Step    `json:"accounts,omitempty"`
	Targets  []string  `json:"targets,omitempty"` // hosts that it is deployed to
}

// A Step of a task sequence that runs with an account.
type Step struct {
	Entry  string `json:"entry"` // id of the catalogue
	Name   string `json:"name"`
	Share  string `json:"share,omitempty"`
	Writes bool   `json:"writes,omitempty"`
}

// A Variable is the name of a collection, device or task sequence variable; values
// are never read.
type Variable struct {
	Of   string `json:"of"` // collection, device or task sequence
	Name string `json:"name"`
}

// A Principal is what other systems know of a principal.
type Principal struct {
	Member
	MailboxRights   []string  `json:"mailboxRights,omitempty"`
	ExchangeCmdlets []string  `json:"exchangeCmdlets,omitempty"`
	LogonSources    []string  `json:"logonSources,omitempty"` // hosts
	Lockouts        *int      `json:"lockouts,omitempty"`     // within 7 days
	SourceRights    []string  `json:"sourceRights,omitempty"` // on the source site of a migration
	SourceRoles     []string  `json:"sourceRoles,omitempty"`
	ExposedAt       time.Time `json:"exposedAt,omitzero"`
}

// An Attestation is what a person states about something that no collector sees.
type Attestation struct {
	Topic   string    `json:"topic"`
	Site    string    `json:"site,omitempty"`
	Value   bool      `json:"value"`
	Owner   string    `json:"owner"`
	Reason  string    `json:"reason,omitempty"`
	Made    time.Time `json:"made"`
	Expires time.Time `json:"expires"`
}

// An Exception accepts a deviation of one principal for a time.
type Exception struct {
	Topic   string    `json:"topic"` // password-age, cross-boundary, …
	Name    string    `json:"name"`  // the principal, as configured or by SID
	Owner   string    `json:"owner"`
	Reason  string    `json:"reason"`
	Expires time.Time `json:"expires"`
}

// Parameters are thresholds and lists that conditions refer to. The zero value of a
// field stands for the catalogue's default.
type Parameters struct {
	MaxFullAdmins            int      `json:"maxFullAdmins,omitempty" yaml:"maxFullAdmins"`
	MaxPushAccounts          int      `json:"maxPushAccounts,omitempty" yaml:"maxPushAccounts"`
	MaxNetworkAccessAccounts int      `json:"maxNetworkAccessAccounts,omitempty" yaml:"maxNetworkAccessAccounts"`
	MaxPasswordAgeDays       int      `json:"maxPasswordAgeDays,omitempty" yaml:"maxPasswordAgeDays"`
	JoinOUs                  []string `json:"joinOUs,omitempty" yaml:"joinOUs"` // distinguished names
	JoinACEKinds             []string `json:"joinACEKinds,omitempty" yaml:"joinACEKinds"`
	ProxyGroups              []string `json:"proxyGroups,omitempty" yaml:"proxyGroups"`
	DeclaredProviderUsers    []string `json:"declaredProviderUsers,omitempty" yaml:"declaredProviderUsers"`
	ExchangeConnectorCmdlets []string `json:"exchangeConnectorCmdlets,omitempty" yaml:"exchangeConnectorCmdlets"`
}
