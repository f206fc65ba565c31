// Package reach answers who effectively holds which membership: through nested
// groups, primary groups, foreign security principals and the well-known
// identities that Windows adds to every token, with the chain of links that
// proves it.
//
// It follows what a domain controller does when it builds a token ([MS-ADTS]
// 3.1.1.4.5.19, [MS-PAC]): groups that are not security-enabled do not count and
// nothing is inherited through them, a domain-local group counts in its own
// domain only, and cycles end. What the snapshot could not tell is stated by
// Index.Gaps and never taken for "no member".
//
// The package is pure, and an Index is safe for concurrent use.
package reach
