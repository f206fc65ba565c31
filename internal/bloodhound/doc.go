// Package bloodhound exchanges data with BloodHound: it reads the collections of
// SharpHound and of other collectors that write its format (JSON with meta version
// 5 and 6, alone or in a zip archive) into snapshots, and writes the control graph
// of a snapshot as BloodHound OpenGraph.
//
// A collection does not hold descriptors but rights in words, one for each entry
// that its collector found remarkable. The descriptors of the snapshot are put
// together from those words; what deny entries, unremarkable entries, other
// attributes, policy files and the schema would say is not known, and the snapshot's
// coverage says so. Sessions and the local groups of hosts are not taken over.
//
// Files that are cut short, of other versions or kinds, in conflict with each other,
// or beyond the limits are refused with the file and the offset. The package opens
// no files and reads no clock.
package bloodhound
