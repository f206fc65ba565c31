// Package dc reads domain controllers, and writes to them through a type of its own:
// it finds them, authenticates to them, streams what they hold over LDAP and, for
// policy files, over SMB, and changes single values of single objects.
//
// What it promises:
//
//   - Everything it reads is authenticated and encrypted: Kerberos with sign and
//     seal on port 389 (RFC 4752, RFC 4121), or TLS with a verified certificate.
//     There is no option that skips verification, and a simple bind is only ever
//     sent inside verified TLS.
//   - A search that did not reach its end is an error of kind [ErrTruncated]
//     which says where it stopped. A short answer never looks like a small
//     directory, and the answers of two domain controllers are never mixed.
//   - Secrets stay inside [Credentials], which prints as its principal only.
//   - A write is addressed by objectGUID, goes through one domain controller per
//     object, and is read back there. What became of it is an [Outcome]: a lost answer
//     is [Uncertain], which is neither success nor failure.
//
// What it refuses: to write by a [Reader] (only a [Writer] has methods that change
// anything), to create or delete objects, to follow referrals (they are reported), to read a credential from
// anywhere but where the caller pointed, to use RC4 or DES.
//
// LDAP framing and decoding are this package's own, lean and fuzzed, because a
// scan is dominated by them and because a lost connection must never end a
// search quietly; go-ldap compiles filters. Kerberos messages and ciphers are
// gokrb5's; the exchanges with the KDC are ours, so that deadlines count and the
// reason of a refusal survives.
//
// It can fail in the ways listed as [Kind]; every failure that reaches the
// caller is an [*Error] with a hint for the administrator.
package dc
