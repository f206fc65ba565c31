// Package report renders what leastwise found: an assessment as text for a
// terminal, JSON, CSV, SARIF 2.1.0 and one self-contained HTML page; resultant
// user rights and the differences between two runs or snapshots as text and JSON.
//
// Equal input gives equal bytes. The package reads no clock, environment or
// terminal: width, colour and limits come with the call. It decides nothing and
// hides nothing: an outcome that is unknown is drawn apart from pass and fail,
// what could not be read stands before the results that depend on it, and a
// list that is cut says how long it is and where the rest can be found.
//
// Names come from a directory that others can write to. Every renderer shows
// control, formatting and bidirectional characters as <U+202E> instead of
// passing them on; only JSON and SARIF carry names as they are, in JSON's own escapes.
//
// A renderer fails only when its writer does, or when HTML's template does.
package report
