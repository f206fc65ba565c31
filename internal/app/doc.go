// Package app is the program as a value: its configuration, and what each command
// does once the command line is understood. Commands, tests and, later, the
// server share it.
//
// It owns every file that the program writes: a file appears under its name only
// when it is complete, so that an interrupted or failed run leaves nothing that
// looks whole. It prints nothing; progress is reported to the caller.
package app
