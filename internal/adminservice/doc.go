// Package adminservice reads a site of Configuration Manager through the administration
// service of its SMS Provider (REST over HTTPS, OData) and makes a document of it.
//
// It asks for the classes and columns that package configmgr lists and for nothing
// else. Columns that hold secrets are never selected; where a class refuses selection
// and sends every column, the others are stepped over while the answer is decoded and
// never become values. Answers are wiped after decoding, and no error, notice or log
// repeats what the service sent, but for a few phrases that can hold no value.
//
// A class that cannot be read becomes a reading that says why and what to do, and the
// others are read; pages that do not fit together, answers that are cut short and rows
// that lack what they must have count as not read. Nothing is written to the site.
//
// It refuses redirects, NTLM, servers without verified certificate, and requests for
// what is never collected. No live site was available when this was written: it follows
// the published description of the service and what public programs rely on, and its
// tests ask a stand-in (lab/standin).
package adminservice
