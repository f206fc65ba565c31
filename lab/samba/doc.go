// Package samba runs a real Active Directory forest on loopback addresses, for
// demonstrations and tests: one or two Samba domain controllers that replicate,
// a member server, and a certificate authority of its own.
//
// Every host of a lab lives in its own mount and process namespace, so that it
// finds the lab's resolver, hosts and name service configuration under /etc
// while the machine's own stay untouched, and so that ending the first process
// of the namespace ends exactly that host and nothing else. There are no
// network namespaces: each host has a loopback address of its own and uses the
// standard ports there.
//
// Everything a lab consists of lies in one folder, described by its lab.json.
// The package refuses to work without root, without Samba, on addresses that
// are in use, and in a folder it did not create. It never reads or writes the
// machine's Kerberos, resolver or user configuration, and no host of a lab is
// told of an address outside 127.0.0.0/8.
//
// Samba is not Windows; what differs is listed in docs/LAB.md.
package samba
