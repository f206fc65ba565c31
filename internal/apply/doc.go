// Package apply carries plans out. It is the only package that writes to directories:
// nobody else may use [dc.Writer], which a test of the module's architecture holds.
//
// A change is carried out in numbered steps: read the facts, ask package plan whether
// the change fits them, note the intent with those facts in a journal, write, read
// back, note the outcome. A process that is killed at any of them leaves a journal by
// which the next call finishes the plan or undoes it: what was intended and has no
// outcome is read from the domain controller it was sent to, and written again if it is
// not there; every write leaves the same state however often it is made.
//
// It refuses a plan whose digest is not the one that was shown, a journal of another
// plan, and a change whose preconditions are not true at the moment of writing; it stops
// at the first change that is refused, fails, or stays uncertain. An uncertain write is
// never counted as done or as not done.
//
// It fails if the journal cannot be written: an intent that is not durable is not
// carried out. Undo writes no other values than those that were there before.
package apply
