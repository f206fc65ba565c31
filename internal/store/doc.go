// Package store keeps leastwise's state in SQLite or PostgreSQL, with one set of
// queries, one history of migrations and the same meaning on both.
//
// All writing goes through [Store.Update]: one transaction at a time on either
// database (SQLite has one writer; on PostgreSQL a lock makes the nodes take
// turns), so a transaction sees everything that was committed before it began and
// never fails because of another. State, journal and audit entries that belong
// together are written in one such transaction; nothing in it may wait for a
// network. [Store.View] reads one consistent moment and never waits for writers.
//
// The package implements the storage that operations define (package audit and
// those that follow) as methods of [Tx]; each has a file here and a migration, the
// next number in migrations/. An operation's interface of a transaction embeds
// [audit.Tx] and has the operation's own methods; where the operation wants to
// begin transactions itself, a small type here turns its func(ctx, its Tx) into a
// call of [Store.Update] or [Store.View]. Times are microseconds of UTC since 1970,
// objectGUIDs their text, and SQL is written for both databases.
//
// It refuses databases of a newer version, foreign files, and a second owner: any
// number of processes may read and write one SQLite file safely, but only one may
// own it to act on its content (see [Options.Exclusive]). Errors that the
// environment causes are told apart: [ErrFull], [ErrBusy], [ErrReadOnly],
// [ErrCorrupt], [ErrUnreachable]. After [ErrCommitUnknown] nobody knows whether
// the transaction was kept; on SQLite that cannot happen.
package store
