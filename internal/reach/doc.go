// Package reach answers who holds which membership, and who can gain what.
//
// An Index holds effective memberships: through nested groups, primary groups,
// foreign security principals and the well-known identities that Windows adds to
// every token, with the chain of links that proves each. It follows what a domain
// controller does when it builds a token ([MS-ADTS] 3.1.1.4.5.19, [MS-PAC]):
// groups that are not security-enabled do not count and nothing is inherited
// through them, a domain-local group counts in its own domain only, and cycles
// end. What the snapshot could not tell is stated by Index.Gaps and never taken
// for "no member".
//
// A Graph holds effective control: who can gain an account's identity, a group's
// membership or full control of any other object, by which rights, links and
// policies. Work is done once for each distinct descriptor, not for each object.
// Denials, the order of entries, object types and owners are decided as a domain
// controller does ([MS-DTYP] 2.5.3.2, [MS-ADTS] 5.1.3), over the whole token of
// the account that acts. What depends on something that no snapshot tells is kept
// apart from what is certain; docs/paths.md lists every kind of step.
//
// The package is pure; an Index and a Graph are safe for concurrent use.
package reach
