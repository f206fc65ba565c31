// Package configmgr holds what leastwise knows about Configuration Manager: the
// catalogue of the groups and accounts that it uses, the documents that say which
// principal fills which slot on which site, and what was learned about its hosts,
// databases and settings.
//
// It reads no directory and no network. Catalogue and documents are values; several
// documents of one hierarchy are merged, and where they differ that is kept as drift.
// What no source has read is not there: every class of facts says by whom, when and
// how completely it was read, and what was not read is unknown, never empty.
//
// Secrets have no place in a document. Readers take the columns that they know and
// drop the rest; NeverCollected names what must not even be asked for.
package configmgr
