// Package forest holds the snapshot: everything that was read of a forest, in one
// immutable value that all engines share.
//
// A Snapshot is columnar: objects are numbered, an attribute is a column, and
// strings, identifiers and security descriptors are stored once however many
// objects carry them. It is made by a Builder (from a live scan, LDIF or a
// fixture) or read from a file, and never changes afterwards; all its methods may
// be called from several goroutines at once.
//
// Unknown is a value here: asking for an attribute answers Known, Absent or
// Unreadable, and Snapshot.Why says why. Nothing in this package touches the
// network, the clock or the file system.
package forest
