// Package standin holds stand-ins for servers that the lab cannot run, for tests
// only: nothing of it is part of the program.
//
// AdminService stands in for the administration service of Configuration Manager
// (REST over HTTPS). No live site was available when it was written. It follows the
// published description of the service and what public programs that use it rely on:
// the form of its addresses and answers, paging with $top and $skip, the refusal of
// $select for classes with lazy columns, the texts of its refusals. What it does for
// real is Kerberos: it takes SPNEGO tokens for an account of the lab's directory,
// checks them with that account's keytab, refuses repetitions, and proves its own
// identity.
package standin
