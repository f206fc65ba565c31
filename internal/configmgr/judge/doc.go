// Package judge decides the controls of the Configuration Manager catalogue: what a
// document says of sites, slots, hosts and databases, and what a snapshot says of the
// directory, is held against the condition of every control.
//
// For every site each control has exactly one outcome: pass, fail, unknown with the
// evidence that is missing and who could collect it, or not applicable with the
// reason. Nothing is skipped: a slot that nobody fills leaves its controls without
// object only if it was read completely; otherwise they are unknown.
//
// Conditions are CEL. The functions they call are methods of the facts below, each
// with its documentation; docs/configmgr/language.md is made from them. What a
// function cannot answer is an unknown value that the logic of CEL carries through,
// and the evidence of an outcome is what its own evaluation looked at.
//
// The package is pure: no clock, network or file. It fails only for a catalogue with
// a condition that does not compile, and for an input without snapshot or document.
package judge
