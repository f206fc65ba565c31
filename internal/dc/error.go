package dc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
)

// A Kind says what sort of failure an [Error] is. Kinds are errors themselves,
// so that errors.Is(err, dc.ErrTruncated) works.
type Kind uint8

// The kinds of failure. Those up to ErrProtocol are about reaching and
// authenticating to a domain controller, the others about reading from it and
// writing to it.
const (
	ErrConfig             Kind = iota + 1 // the configuration contradicts itself or misses something
	ErrDNS                                // a name could not be resolved
	ErrUnreachable                        // no TCP connection to a domain controller
	ErrUntrusted                          // the server's certificate is not signed by a known authority
	ErrWrongHost                          // the server's certificate is for another name
	ErrCertExpired                        // the server's certificate is not valid now
	ErrTLS                                // the TLS handshake ended for another reason
	ErrKDCUnreachable                     // no KDC of the realm answered
	ErrClockSkew                          // the clocks differ by more than Kerberos allows
	ErrTicketExpired                      // the ticket in the credential cache is over
	ErrNoCredentials                      // there is no credential cache, keytab or matching key
	ErrWrongPassword                      // password or key is wrong
	ErrUnknownUser                        // the directory does not know the principal
	ErrLockedOut                          // the account is locked out
	ErrDisabled                           // the account is disabled
	ErrRevoked                            // the account is locked out, disabled or expired: the server did not say which
	ErrPasswordExpired                    // the password must be changed first
	ErrAccountExpired                     // the account has expired
	ErrLogonRestricted                    // logon hours, workstation or policy forbid this logon
	ErrNoStrongKey                        // the account or service has no AES key
	ErrUnknownService                     // the KDC does not know the service principal name
	ErrNotSealed                          // the server does not offer encryption of the connection
	ErrPlaintext                          // the request would send a secret in clear; nothing was sent
	ErrStrongAuthRequired                 // the server demands signing, sealing or TLS
	ErrTampered                           // a message was altered, replayed or reordered
	ErrProtocol                           // the server answered something that is not LDAP, Kerberos or SMB
	ErrTruncated                          // a search ended before its end; see Error.At
	ErrConnectionLost                     // the connection ended during a request
	ErrTimeout                            // the deadline of a request passed
	ErrCanceled                           // the caller gave up
	ErrSizeLimit                          // the server's size limit was hit
	ErrTimeLimit                          // the server's time limit was hit
	ErrAdminLimit                         // another limit of the server was hit
	ErrBusy                               // the server is too busy
	ErrUnavailable                        // the server is shutting down or not ready
	ErrNoSuchObject                       // the base of the search does not exist or may not be seen
	ErrAccessDenied                       // the account may not read this
	ErrReferral                           // the server does not hold what was asked and named another
	ErrUnsupported                        // the server does not support a control that was demanded
	ErrLimit                              // a limit of this package was hit (file size, count, depth, message size)
	ErrServer                             // another refusal by the server
	ErrUnwilling                          // the server will not do this write; Error.Detail says why
	ErrConstraint                         // the value breaks a rule: password policy, scope of a group, syntax
	ErrExists                             // the value to be added is there already
	ErrNoSuchValue                        // the value to be taken away is not there, or no longer the one that was read
	ErrReadOnly                           // the domain controller is read-only or refers writes elsewhere
	ErrUncertain                          // the request was sent and no answer came: it may have been carried out
	ErrTicket                             // a client's Kerberos token was not accepted; Error.Detail says why
	ErrLockoutNear                        // a wrong password could lock the account, so it was not tried
)

var kindText = [...]string{
	ErrConfig:             "configuration is incomplete or contradictory",
	ErrDNS:                "name resolution gave no answer",
	ErrUnreachable:        "server is not reachable",
	ErrUntrusted:          "certificate is signed by an unknown authority",
	ErrWrongHost:          "certificate is for another host name",
	ErrCertExpired:        "certificate is not valid at this time",
	ErrTLS:                "TLS handshake ended early",
	ErrKDCUnreachable:     "no KDC of the realm answers",
	ErrClockSkew:          "clock differs too much from the domain controller's",
	ErrTicketExpired:      "Kerberos ticket has expired",
	ErrNoCredentials:      "no usable credentials",
	ErrWrongPassword:      "password or key is wrong",
	ErrUnknownUser:        "user is unknown to the directory",
	ErrLockedOut:          "account is locked out",
	ErrDisabled:           "account is disabled",
	ErrRevoked:            "account is locked out, disabled or expired",
	ErrPasswordExpired:    "password has expired",
	ErrAccountExpired:     "account has expired",
	ErrLogonRestricted:    "logon is restricted for this account",
	ErrNoStrongKey:        "no AES key is available",
	ErrUnknownService:     "service principal name is unknown",
	ErrNotSealed:          "server does not offer an encrypted connection",
	ErrPlaintext:          "refused to send a secret in clear",
	ErrStrongAuthRequired: "server requires signing, sealing or TLS",
	ErrTampered:           "message was altered, replayed or reordered",
	ErrProtocol:           "answer is malformed",
	ErrTruncated:          "search was cut short",
	ErrConnectionLost:     "connection was lost",
	ErrTimeout:            "deadline has passed",
	ErrCanceled:           "canceled",
	ErrSizeLimit:          "size limit of the server exceeded",
	ErrTimeLimit:          "time limit of the server exceeded",
	ErrAdminLimit:         "administrative limit of the server exceeded",
	ErrBusy:               "server is busy",
	ErrUnavailable:        "server is unavailable",
	ErrNoSuchObject:       "no such object, or not visible to this account",
	ErrAccessDenied:       "access denied",
	ErrReferral:           "server refers to another one",
	ErrUnsupported:        "server does not support a required control",
	ErrLimit:              "limit exceeded",
	ErrServer:             "server refused the request",
	ErrUnwilling:          "server is unwilling to do this",
	ErrConstraint:         "value breaks a rule of the directory",
	ErrExists:             "value exists already",
	ErrNoSuchValue:        "value is not there",
	ErrReadOnly:           "domain controller is read-only",
	ErrUncertain:          "request was sent but not answered: it may have been carried out",
	ErrTicket:             "Kerberos token of a client was not accepted",
	ErrLockoutNear:        "password was not tried, because a wrong one could lock the account",
}

// Error returns what the kind means, in a few words.
func (k Kind) Error() string {
	if int(k) < len(kindText) && kindText[k] != "" {
		return kindText[k]
	}
	return fmt.Sprintf("kind of failure %d", uint8(k))
}

// hints are the default advice per kind; an [Error] may carry a better one.
var hints = [...]string{
	ErrDNS:                "name the DNS server of the domain with --dns, or a domain controller with --server",
	ErrUnreachable:        "check that the domain controller is running and that no firewall blocks the port",
	ErrUntrusted:          "give the root certificate of the domain's authority with --ca",
	ErrWrongHost:          "connect by the name in the certificate: use the domain controller's DNS name with --server",
	ErrCertExpired:        "renew the domain controller's certificate, and check the clock of this machine",
	ErrKDCUnreachable:     "check port 88 (TCP) of the domain controllers and the DNS records _kerberos._tcp",
	ErrClockSkew:          "synchronise the clock of this machine with the domain (five minutes are allowed)",
	ErrTicketExpired:      "get a new ticket with kinit, or use a keytab",
	ErrNoCredentials:      "run kinit, or name a credential cache, a keytab or a password file",
	ErrWrongPassword:      "check the password or make the keytab anew; repeated attempts may lock the account",
	ErrUnknownUser:        "check the user name and the domain (user@DOMAIN)",
	ErrLockedOut:          "unlock the account, and look for what keeps locking it",
	ErrDisabled:           "enable the account or use another one",
	ErrRevoked:            "look at the account: it is locked out, disabled or expired",
	ErrPasswordExpired:    "change the password of the account first",
	ErrAccountExpired:     "extend the account or use another one",
	ErrLogonRestricted:    "check logon hours, workstations and logon policies of the account",
	ErrNoStrongKey:        "set msDS-SupportedEncryptionTypes to AES (24) and change the password, so that AES keys exist",
	ErrUnknownService:     "check that the name given is the DNS name of a domain controller",
	ErrNotSealed:          "use LDAPS or StartTLS",
	ErrPlaintext:          "use LDAPS or StartTLS, or authenticate with Kerberos",
	ErrStrongAuthRequired: "use Kerberos with sealing, LDAPS or StartTLS",
	ErrTampered:           "something between here and the domain controller changes traffic: find it before going on",
	ErrTruncated:          "run the scan again; nothing of the partial answer was kept",
	ErrConnectionLost:     "check the domain controller and the network, and run the scan again",
	ErrTimeout:            "try again, ask another domain controller with --server, or raise the time limit",
	ErrBusy:               "try again later or ask another domain controller with --server",
	ErrUnavailable:        "try again later or ask another domain controller with --server",
	ErrUnwilling:          "the domain controller's text says what it objects to; the write was not done",
	ErrConstraint:         "look at the password policy, or at what kinds of member the group may have",
	ErrReadOnly:           "name a writable domain controller with --server",
	ErrUncertain:          "read the object on the same domain controller before writing again",
	ErrLockoutNear:        "wait for the lockout observation window to pass, or sign in with Kerberos or a certificate",
}

// A Position says how far a search had come.
type Position struct {
	Partition string // base of the search
	Entries   int    // entries that had been handed over
	LastDN    string // distinguished name of the last of them, empty if none
}

// String returns the position in words.
func (p Position) String() string {
	if p.Entries == 0 {
		return fmt.Sprintf("%q before the first entry", p.Partition)
	}
	return fmt.Sprintf("%q after %d entries, the last of them %q", p.Partition, p.Entries, p.LastDN)
}

// An Error is a failure to reach or to read a domain controller. It contains no
// secret.
type Error struct {
	Kind   Kind
	Op     string    // what was being done, as a gerund: "binding", "searching DC=…"
	Server string    // host name or address, empty if none was involved yet
	Detail string    // what the server said, if anything
	Advice string    // replaces the default hint of the kind
	At     *Position // how far a search had come, if it was cut short
	Err    error     // cause, may be nil
}

// Error returns one line without the hint.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Server != "" {
		fmt.Fprintf(&b, " (%s)", e.Server)
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	b.WriteString(e.Kind.Error())
	if e.At != nil {
		fmt.Fprintf(&b, "; cut short in %s", e.At)
	}
	if e.Detail != "" {
		fmt.Fprintf(&b, ": %s", e.Detail)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

// Hint returns what an administrator can do about it, empty if there is nothing
// useful to say.
func (e *Error) Hint() string {
	if e.Advice != "" {
		return e.Advice
	}
	if int(e.Kind) < len(hints) {
		return hints[e.Kind]
	}
	return ""
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is the kind of e. Every error with a position is
// also [ErrTruncated], whatever cut the search short.
func (e *Error) Is(target error) bool {
	k, ok := target.(Kind)
	return ok && (k == e.Kind || k == ErrTruncated && e.At != nil)
}

// Hint returns the hint of the first [Error] in the chain of err, if any.
func Hint(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Hint()
	}
	return ""
}

// KindOf returns the kind of the first [Error] in the chain of err, 0 if none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return 0
}

// ioError classifies a failure of reading from or writing to a connection.
// The context wins: a deadline that we set ourselves is reported as such.
func ioError(ctx context.Context, op, server string, err error) error {
	var known *Error
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(ctx.Err(), context.DeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return &Error{Kind: ErrTimeout, Op: op, Server: server}
	case ctx.Err() != nil, errors.Is(err, context.Canceled):
		return &Error{Kind: ErrCanceled, Op: op, Server: server, Err: context.Cause(ctx)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &Error{Kind: ErrTimeout, Op: op, Server: server}
	}
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		return &Error{Kind: ErrTimeout, Op: op, Server: server, Err: err}
	}
	return &Error{Kind: ErrConnectionLost, Op: op, Server: server, Err: err}
}
