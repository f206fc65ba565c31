package grant

import (
	"errors"
	"fmt"
)

// A saying is an error with a sentence for whoever asked. What else is known, such as
// what a domain controller said, stays beside it: for the logs.
type saying struct {
	kind error  // one of the errors of this package
	text string // for the caller: nothing in it comes from below this package
	why  string // for the logs
}

// say makes an error of a kind whose sentence the caller is told.
func say(kind error, format string, args ...any) *saying {
	return &saying{kind: kind, text: fmt.Sprintf(format, args...)}
}

// because adds what only the logs are told.
func (e *saying) because(why string) *saying {
	e.why = why
	return e
}

// Error is for the logs.
func (e *saying) Error() string {
	text := e.kind.Error() + ": " + e.text
	if e.why != "" {
		text += ": " + e.why
	}
	return text
}

// Unwrap returns the kind.
func (e *saying) Unwrap() error { return e.kind }

// Said returns what whoever asked may be told of an error: the sentence that this package
// made for him, or nothing. Any other text of an error, such as what the directory or the
// database said, is for the logs.
func Said(err error) string {
	var s *saying
	if !errors.As(err, &s) {
		return ""
	}
	return s.text
}
