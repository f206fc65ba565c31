// Package plan says what is to be changed in a directory: typed changes of single
// facts, each with what must be true right before, its inverse, and its text for
// people. A plan is shown first, and carried out only by the digest of what was shown.
//
// Changes name objects by objectGUID; distinguished name and SID stand beside it for
// people, and a SID that is not the object's own makes the change refuse. A password
// is never part of a plan.
//
// The package is pure: it reads and writes no directory. Package apply does, and asks
// this one what the facts that it reads mean (see [Change.Judge]).
//
// It refuses plans whose changes contradict each other, files in any form but the one
// that it writes, and the inverse of what cannot be taken back. All errors are [ErrPlan]
// but those of [Change.Inverse], which are [ErrIrreversible].
package plan
