// Command faults runs grants against a real domain controller while everything around them
// fails, and checks what must hold whatever crashes.
//
// Each round has a database of its own (an SQLite file, or a database of a PostgreSQL
// server that the program starts), one or two node processes that run grants, and many
// runs at once: each run is one group with its members and one or two grants. Between the
// nodes and the domain controller stands a proxy that understands LDAP: it refuses
// connections, delays, cuts before and after the effect, delivers late or twice, and
// answers busy, unwilling or without rights. The nodes kill themselves with SIGKILL at a
// numbered step (before or after a commit, before or after a write), are stopped and
// continued, and have clocks that jump; the domain controller is stopped and started; the
// database is restarted; its disk is full.
//
// Disturbances come in phases, drawn from the seed. In calm phases the program looks at
// the directory itself, beside the nodes: no membership may be there more than five
// seconds without a grant that wants it. In the end of a round every grant is over, every
// group has the members that it should, the log verifies and leads each grant from its
// request to its state. What fails is printed with the seed of its round.
//
// It needs root, a lab (see package samba) with one domain controller, and PostgreSQL.
package main
