package grant

import (
	"context"
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// An Answer to a question about the directory. The zero value is Unknown.
type Answer uint8

// The answers.
const (
	Unknown Answer = iota
	Yes
	No
)

// answer makes an Answer of what a lookup returned.
func answer(yes bool, err error) Answer {
	switch {
	case err != nil:
		return Unknown
	case yes:
		return Yes
	}
	return No
}

// An Object is what the directory says of an account or group.
type Object struct {
	GUID     secdesc.GUID `json:"guid"`
	SID      secdesc.SID  `json:"sid"`
	Name     string       `json:"name"`              // DOMAIN\account
	DN       string       `json:"dn"`                // as the directory writes it
	Person   string       `json:"person,omitempty"`  // value of the attribute that accounts of one person share
	Exists   bool         `json:"exists"`            // false: deleted, or never there
	Disabled bool         `json:"disabled"`          // accounts only
	Group    bool         `json:"is_group"`          // it is a security group
	Domain   string       `json:"domain,omitempty"`  // DNS name
	Missing  string       `json:"missing,omitempty"` // why something of this is not known
}

// A Link is one account's direct membership of a group, on the domain controller that
// would be written to.
type Link struct {
	Present bool
	Expires time.Time // zero: without an end ([MS-ADTS] 3.1.1.2.2.4, time-to-live values)
	// Stamp tells this link from an earlier or later one between the same two objects:
	// version and origin from msDS-ReplValueMetaData. Empty: not known.
	Stamp string
	Since time.Time // when the link was made, by the controller that made it; zero: not known
}

// Links is a domain controller's answer about members of one group.
type Links struct {
	At    time.Time // the controller's own time (currentTime of the rootDSE)
	Group Object    // Exists is false if the group is gone
	Links map[secdesc.GUID]Link
	// Members holds the accounts, so that deleted, renamed, moved and disabled ones
	// are noticed by the same read.
	Members map[secdesc.GUID]Object
}

// A Write adds an account to a group or removes it, both named by GUID.
type Write struct {
	Grant      ID
	Generation int64
	Key        Key
	// For is how long the membership may last at most, where the forest has expiring
	// links; zero: write a link without an end.
	For time.Duration
	// Through is the management account that is enabled for this write and disabled
	// afterwards; empty: the server's own account.
	Through Ref
	// NotAfter is the moment after which the write must not be sent any more.
	NotAfter Instant
}

// An Outcome says what became of a write.
type Outcome uint8

// The outcomes. The zero value is the one that promises nothing.
const (
	OutcomeUnknown Outcome = iota // sent, or perhaps sent; no answer
	OutcomeDone                   // the directory said so
	OutcomeAlready                // nothing to do: the member was there, or was not
	OutcomeGone                   // group or account does not exist
	OutcomeRefused                // the directory refused; trying again would not help
	OutcomeLater                  // refused for now (busy, unavailable), or not sent at all
)

// String returns the name of an outcome.
func (o Outcome) String() string {
	return [...]string{"unknown", "done", "already", "gone", "refused", "later"}[o]
}

// A Result is an outcome and what is known beside it.
type Result struct {
	Outcome Outcome
	At      time.Time // the controller's time, zero if not known
	Link    Link      // after an addition that was done, as far as known
	Server  string    // the domain controller
	Detail  string    // for people: the server's message, without secrets
}

// Directory is what this package needs of a forest. Errors mean that the directory
// could not be asked; what does not exist is an answer. Implementations are used by
// several goroutines at once, and keep to one domain controller per group.
type Directory interface {
	// Time returns the time of a domain controller that would be written to.
	Time(ctx context.Context) (time.Time, error)
	// Find returns the object that a policy names. Object.Exists is false if there
	// is none.
	Find(ctx context.Context, ref Ref) (Object, error)
	// Object returns the object with a GUID.
	Object(ctx context.Context, guid secdesc.GUID) (Object, error)
	// Within reports whether an account is one of those named, or in one of the groups
	// named, directly or not, now: live, not from a ticket.
	Within(ctx context.Context, account secdesc.GUID, refs []Ref) (bool, error)
	// Links returns direct memberships of one group.
	Links(ctx context.Context, group secdesc.GUID, members []secdesc.GUID) (Links, error)
	// Home names the domain controller through which a group is read and written.
	Home(group secdesc.GUID) string
	// Memberships is Links for several groups, all of one home, by group.
	Memberships(ctx context.Context, keys []Key) (map[secdesc.GUID]Links, error)
	// Tickets returns the ticket lifetimes that hold for an account.
	Tickets(ctx context.Context, account secdesc.GUID) (Tickets, error)
	// Writer makes the two kinds of writes.
	Writer
}

// Writer makes the two kinds of writes. An implementation that sends a write a second time, not
// knowing what became of the first, answers OutcomeUnknown if the second finds nothing
// to do: OutcomeAlready promises that the write changed nothing.
type Writer interface {
	Add(ctx context.Context, w Write) Result
	// Remove makes removals from one group, through one management account or none, and
	// returns what became of each, in their order. Several may go in one request as
	// long as none that the directory refuses keeps another from being carried out.
	Remove(ctx context.Context, list []Write) []Result
}
