// Package control evaluates a catalogue of controls on a snapshot.
//
// A control is a catalogue entry (YAML) whose condition is CEL and has three
// outcomes: pass, fail, and unknown with the evidence that is missing. Go code
// supplies facts and functions, never a hidden rule. The evaluation that decides
// also yields the evidence of a finding.
//
// The package is pure: it is told the time, and reads only the snapshot. It never
// turns something that could not be read into a pass or a fail.
package control
