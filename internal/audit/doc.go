// Package audit is the log of what leastwise was asked to do, did and refused: a
// transparency log (RFC 6962) that a third party can verify.
//
// An [Entry] is written in the same transaction as the state that it describes,
// through the small interface [Tx] which the storage implements: either both are
// kept or neither. An act on something outside the database has an [Intent] before
// it and an [Outcome] after it; what was not allowed leaves a [Refusal]. The hashes
// over the entries form a Merkle tree; a [Checkpoint] is its size and root, signed
// with an Ed25519 key that is not in the database. Whoever keeps one checkpoint can
// later tell whether an entry up to it was changed, deleted, moved or cut off, see
// [Verify], and can be given a proof about a single entry.
//
// Entries have typed fields of limited length and no place for a secret: no field
// takes a value that was written to a directory. Free text (reasons, names) is
// escaped to plain ASCII in the encoding, so that a log cannot command a terminal.
//
// The package refuses entries that do not fit their fields; it has no clock, opens
// nothing and keeps nothing. Entries appended after the newest checkpoint are
// protected by the hashes alone: whoever can write to the database can replace
// those, and only those, unnoticed.
package audit
