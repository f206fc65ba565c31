// Package delegation says which rights leastwise needs in a directory, which changes
// give them, and what an account holds beyond them.
//
// It follows the guide's appendix I: a group may enable, disable and reset management
// accounts, which are disabled while nobody uses them; a management account may write
// the members of the groups in its scope and do nothing else; leastwise's own account is
// an ordinary one in the group. Where a group in scope is protected, the entry is needed
// on AdminSDHolder, too, which the directory copies to every protected object.
//
// The package is pure: it judges descriptors and snapshots, and proposes typed changes
// of package plan. It never proposes to take anything away or to change an entry of
// somebody else; what is too much it reports.
package delegation
