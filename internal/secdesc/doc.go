// Package secdesc reads, writes and explains Windows security descriptors: their
// bytes ([MS-DTYP] 2.4.6), their text form SDDL ([MS-DTYP] 2.5.1) and their
// inheritance ([MS-DTYP] 2.5.3.4).
//
// A descriptor that was parsed is written back with the same bytes: access
// control entries of unknown type keep their body, and the order of the parts is
// remembered. The package never guesses: bytes that do not form a descriptor are
// an error that names the offset.
//
// Everything here is a pure value: no clock, no network, no files. All functions
// may be called from several goroutines at once.
package secdesc
