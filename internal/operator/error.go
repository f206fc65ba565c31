package operator

import (
	"errors"
	"fmt"
	"time"

	"github.com/leastwise/leastwise/internal/audit"
)

// Errors that callers may test for. Their texts may be shown to whoever asked; they say
// nothing that helps to guess.
var (
	// ErrSignIn: the proof of identity was not accepted. It never says why: the audit
	// log does.
	ErrSignIn = errors.New("sign-in was refused")
	// ErrSignedOut: there is no such session or token, or it has ended.
	ErrSignedOut = errors.New("not signed in, or no longer")
	// ErrForbidden: the caller may not do this; see [Refusal].
	ErrForbidden = errors.New("not permitted")
	// ErrStepUp: the caller may do this after a fresh second factor.
	ErrStepUp = errors.New("a fresh second factor is needed")
	// ErrFactor: the second factor was not accepted.
	ErrFactor = errors.New("the second factor was not accepted")
	// ErrNoFactor: the account has no second factor of that kind; enrol one first.
	ErrNoFactor = errors.New("no second factor of this kind is enrolled")
	// ErrRetry: too many tries; see [RetryError].
	ErrRetry = errors.New("too many tries")
	// ErrInvalid: the question itself is wrong; the text says what.
	ErrInvalid = errors.New("invalid request")
	// ErrNotFound: there is no such session, token, factor or account.
	ErrNotFound = errors.New("not found")
	// ErrInitialized: there was an administrator before.
	ErrInitialized = errors.New("the first administrator was made already")
	// ErrUnavailable: the directory could not be asked, so nothing was decided.
	ErrUnavailable = errors.New("the directory cannot be asked")
	// ErrConflict: a record was changed by somebody else meanwhile. Stores return it.
	ErrConflict = errors.New("changed by somebody else meanwhile")
)

// A RetryError is [ErrRetry] with the time after which to try again.
type RetryError struct{ After time.Duration }

// Error implements error.
func (e *RetryError) Error() string {
	return fmt.Sprintf("%v; try again in %s", ErrRetry, e.After.Round(time.Second))
}

// Is reports whether target is [ErrRetry].
func (e *RetryError) Is(target error) bool { return target == ErrRetry }

// A Refusal is [ErrForbidden], or [ErrStepUp], with the decision that it follows from.
type Refusal struct {
	Decision Decision
	StepUp   bool // a fresh second factor would change the answer
}

// Error implements error. It names the action and no policies: those are in the
// decision, for the log and for administrators.
func (e *Refusal) Error() string {
	if e.StepUp {
		return fmt.Sprintf("%s: %v", e.Decision.Action, ErrStepUp)
	}
	return fmt.Sprintf("%s: %v", e.Decision.Action, ErrForbidden)
}

// Is reports whether target is what the refusal stands for.
func (e *Refusal) Is(target error) bool {
	return e.StepUp && target == ErrStepUp || !e.StepUp && target == ErrForbidden
}

// unavailable wraps what kept the directory from being asked.
func unavailable(what string, err error) error {
	return fmt.Errorf("%s: %w: %w", what, ErrUnavailable, err)
}

// mistaken is [ErrInvalid] with a sentence for whoever asked.
type mistaken struct{ text string }

// Error implements error.
func (e *mistaken) Error() string { return ErrInvalid.Error() + ": " + e.text }

// Is reports whether target is [ErrInvalid].
func (e *mistaken) Is(target error) bool { return target == ErrInvalid }

// invalid is an error about the question.
func invalid(format string, args ...any) error {
	return &mistaken{fmt.Sprintf(format, args...)}
}

// Said returns what whoever asked may be told of an error that is [ErrInvalid]: the
// sentence that this package made for him, or nothing.
func Said(err error) string {
	var m *mistaken
	if !errors.As(err, &m) {
		return ""
	}
	return m.text
}

// systemActor is leastwise itself.
func systemActor() audit.Actor { return audit.Actor{Name: "leastwise", Method: audit.System} }
