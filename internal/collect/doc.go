// Package collect reads a domain through a domain controller into a snapshot.
//
// It reads the schema, configuration and domain partitions, the security
// descriptors of their objects, replication metadata, and the policy files of
// SYSVOL, and it keeps book of what it could not read: a partition, container,
// attribute, descriptor or file that was refused becomes a coverage statement and
// an Unreadable fact, never a missing one. A search that was cut short is an error
// (dc.ErrTruncated) and yields no snapshot at all. SYSVOL is a gap instead, also
// when it is lost in the middle: files that were read count, the others are
// Unreadable.
//
// It never writes to the directory, and it asks for no secret: attributes that
// hold passwords or keys are not on its list.
package collect
