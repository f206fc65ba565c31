// Package gpo computes what Group Policy does to a computer: which policies are
// in its scope of management ([MS-GPOL] 3.2.5.1), and the resultant user rights,
// local groups, audit settings and registry values ([MS-GPSB], [MS-GPREG],
// [MS-GPAC], [MS-GPPREF] 2.2.1.11). It also reads and writes the files in which
// policies keep them.
//
// Everything is computed on a forest.Snapshot, once per distinct scope and not
// per computer: two computers share a scope if their containers and the outcomes
// of all security filters agree. Settings are replaced wholesale by the policy
// that is applied last, never merged; an empty list means nobody.
//
// Only the computer half of a policy can assign user rights, so loopback
// processing and the user half play no part here.
//
// The package refuses to guess. A policy that may or may not apply (WMI filter,
// unknown site, unreadable descriptor) and a file that could not be read leave a
// setting undecided, unless every possibility gives the same value; the setting
// then lists the possible outcomes and why. What the local policy of a host
// says, and what a host does beyond policy, is never claimed.
//
// All functions are pure; an Engine may be used by several goroutines at once.
package gpo
