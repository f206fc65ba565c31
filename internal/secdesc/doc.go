// Package secdesc reads, writes and explains Windows security descriptors: their
// bytes ([MS-DTYP] 2.4.6), their text form SDDL ([MS-DTYP] 2.5.1) with conditions
// and claims, the descriptors that new objects inherit ([MS-DTYP] 2.5.3.4,
// [MS-ADTS] 6.1.3), and the access that they give ([MS-DTYP] 2.5.3.2,
// [MS-ADTS] 5.1.3.3).
//
// A descriptor that was parsed is written back with the same bytes: access
// control entries of unknown type keep their body, and the order of the parts,
// gaps, slack and trailing bytes are remembered. The package never guesses: bytes
// or text that do not form a descriptor are a [*ParseError] that names the
// offset. Data behind an entry's SID that is not a readable condition or claim
// stays what it is and is shown in hexadecimal.
//
// What it does not do: it evaluates no conditions (an answer that hangs on one is
// [Undecided]), knows no privileges, and resolves no names but the well-known
// ones. It maps generic rights as a directory does, not as a file system.
//
// Everything here is a pure value: no clock, no network, no files. All functions
// may be called from several goroutines at once.
package secdesc
