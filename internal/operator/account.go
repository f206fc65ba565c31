package operator

import (
	"context"
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// AccountKind says what an account is for.
type AccountKind string

// The kinds of accounts.
const (
	User     AccountKind = "user"
	Computer AccountKind = "computer"
	Workload AccountKind = "service" // group or standalone managed service account
)

// An Account is what the directory says of an account now.
type Account struct {
	GUID secdesc.GUID
	SID  secdesc.SID
	Name string // DOMAIN\name
	DN   string
	Kind AccountKind
	// Exists is false if there is none, or it was deleted.
	Exists bool
	// Disabled: the account is disabled or has expired. An account that is locked out
	// is not: a stranger could have done that.
	Disabled bool
}

// usable reports whether somebody may act as this account.
func (a *Account) usable() bool { return a.Exists && !a.Disabled }

// state says in words why an account is not usable.
func (a *Account) state() string {
	switch {
	case !a.Exists:
		return "the account does not exist"
	case a.Disabled:
		return "the account is disabled or has expired"
	}
	return "the account is in use"
}

// An AccountRef names an account in one of three ways; one field is set.
type AccountRef struct {
	GUID secdesc.GUID
	SID  secdesc.SID
	// Name is what a person typed: DOMAIN\name, name@domain (userPrincipalName, given or
	// implied) or the bare name. A name that two accounts claim finds none.
	Name string
}

// A Standing is an account and those of the groups asked for that it is in.
type Standing struct {
	Account Account
	In      []string // of the groups asked for, in the words of the question
	Absent  []string // groups that the directory does not have
}

// Membership asks the directory. An error means that it could not be asked; what does
// not exist is an answer. Implementations are used by several goroutines at once and
// answer from the directory, not from a cache.
type Membership interface {
	// Account returns an account; Exists is false if there is none.
	Account(ctx context.Context, ref AccountRef) (Account, error)
	// Standing reports in which of the named groups an account is, directly or not.
	// Groups are named by SID, objectGUID or DOMAIN\name.
	Standing(ctx context.Context, account secdesc.GUID, groups []string) (Standing, error)
}

// A Ticket is what a Kerberos token of a client proved.
type Ticket struct {
	SID   secdesc.SID // of the account, from the ticket's signed authorization data
	Name  string      // client@REALM, for the log only
	Reply []byte      // token for the client, which proves the server's identity; may be empty
	// Once identifies the authenticator; it must not be taken again before Until.
	Once  [32]byte
	Until time.Time
}

// Authenticator verifies first factors against the directory. Errors that are
// [ErrSignIn] say that the proof is wrong, [ErrRetry] that it was not tried to spare the
// account a lockout; all others that it could not be verified.
type Authenticator interface {
	// Kerberos verifies a token of SPNEGO (RFC 4559) or Kerberos (RFC 4121). endpoint
	// is the hash of the server's certificate (tls-server-end-point, RFC 5929 4); a
	// token that is tied to another connection is refused.
	Kerberos(ctx context.Context, token, endpoint []byte) (Ticket, error)
	// Password verifies the password of an account. It tries at most once, and not at
	// all if a wrong one could lock the account.
	Password(ctx context.Context, account Account, password Secret) error
}
