// Package operator decides who may use leastwise, and for what.
//
// An operator is an account of the directory, named by its objectGUID whatever it is
// called today. He proves who he is by Kerberos, by the directory's password or by a
// client certificate ([Service.SignInKerberos] and its neighbours) and is given a
// [Session]; workloads use API tokens that are bound to an account, short-lived and
// limited to some actions. What matters most asks for a second factor that is a few
// minutes old (step-up). What each account may do is Cedar policy over the groups of
// the directory ([Policies]), asked of the directory and not of a ticket
// ([Service.Authorize]); what no policy permits is refused.
//
// What holds:
//
//   - Secrets of sessions and tokens are random, shown once, and kept only as SHA-256.
//     A new one is made at each sign-in and each step-up; the old one is dead in the
//     same transaction. Secrets of TOTP are sealed with a key from outside the database.
//   - Each sign-in, refusal, enrolment and revocation is in the audit log, written in
//     the same transaction as what it describes. What cannot be logged does not happen.
//   - A password or a code is paid for before it is tried, so that many tries at once
//     are no more than many in turn. Limits are kept per account and address; nobody
//     can lock an account for others ([Times], docs/THREATS.md).
//   - A code, a ticket's authenticator and a challenge are good once, on all nodes.
//   - An account that is disabled or gone may do nothing, and its sessions and tokens
//     end when that is seen; see [Service.Authorize] for how soon.
//
// The package owns no connection, starts no goroutine and knows no clock: it keeps its
// state in a [Store], asks a [Membership] and an [Authenticator], and is told the time
// with every call. It fails closed: when the directory or the store cannot be asked,
// the answer is [ErrUnavailable], never a permission.
package operator
