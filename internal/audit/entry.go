package audit

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// ErrEntry reports an entry that cannot be logged because a field does not hold
// what it must; the text says which. It is a bug of the caller, or input that the
// caller should have refused.
var ErrEntry = errors.New("not a valid audit entry")

// Limits of the fields, in bytes. Longer names and reasons are cut visibly by
// [Append]; longer identifiers are refused.
const (
	MaxAction = 64   // Action
	MaxToken  = 32   // Method, Factor
	MaxID     = 128  // Request, Record, Session
	MaxServer = 255  // Server, From
	MaxName   = 1024 // names, distinguished names
	MaxReason = 4096 // Reason
)

// A Phase says what an entry is about its action.
type Phase uint8

// Phases. The zero value is no phase and refused.
const (
	Intent  Phase = 1 + iota // the action is about to be tried
	Outcome                  // what became of the intent that Answers names
	Refusal                  // the action was asked for and not allowed
	Fact                     // the action happened; nothing outside had to be changed for it
)

var phaseNames = [...]string{Intent: "intent", Outcome: "outcome", Refusal: "refusal", Fact: "fact"}

// String returns the name that the encoding uses.
func (p Phase) String() string {
	if p == 0 || int(p) >= len(phaseNames) {
		return fmt.Sprintf("phase(%d)", uint8(p))
	}
	return phaseNames[p]
}

// MarshalText implements encoding.TextMarshaler.
func (p Phase) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// A Result says how an intent ended.
type Result uint8

// Results. The zero value is for entries that are not outcomes.
const (
	Done     Result = 1 + iota // it is as intended, and was verified where that is possible
	NotDone                    // it was not changed
	Unknown                    // it may or may not have been changed; somebody has to look
	Needless                   // it was as intended already
)

var resultNames = [...]string{Done: "done", NotDone: "not-done", Unknown: "unknown", Needless: "needless"}

// String returns the name that the encoding uses, empty for none.
func (r Result) String() string {
	switch {
	case r == 0:
		return ""
	case int(r) >= len(resultNames):
		return fmt.Sprintf("result(%d)", uint8(r))
	}
	return resultNames[r]
}

// MarshalText implements encoding.TextMarshaler.
func (r Result) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// A Method says how an actor proved who they are: a word of lower-case letters,
// digits and dashes.
type Method string

// Methods.
const (
	System      Method = "system"      // leastwise itself: a schedule, the end of a grant
	Local       Method = "local"       // whoever may run leastwise on the server's machine
	Kerberos    Method = "kerberos"    // SPNEGO
	Password    Method = "password"    // of the directory, inside TLS
	Certificate Method = "certificate" // TLS client certificate
	Token       Method = "token"       // API token
	TOTP        Method = "totp"        // second factor
	WebAuthn    Method = "webauthn"    // second factor
)

// An Actor is who asked for an action.
type Actor struct {
	Name    string      // as the directory calls them: CONTOSO\alice, or what leastwise calls itself
	SID     secdesc.SID // zero for none
	Method  Method      // how they authenticated; required
	Factor  Method      // second factor, if any
	Session string      // identifier of session or token, never its secret
	From    string      // address that the request came from
}

// An Entry is one record of the log. Time, Phase, Action and Actor are required.
//
// No field may be given a password, key, token or other secret. Reason is what
// people wrote or what an error said.
type Entry struct {
	Index int64     // place in the log, from 0; set by [Append]
	Time  time.Time // of the event; stored in UTC with microseconds
	Late  bool      // recorded after the event, because the log could not be written then
	Phase Phase

	Action  string // what: words joined by dots, as in grant.approve
	Actor   Actor
	Request string // identifier of the request, the same in all entries that it caused
	Answers int64  // Outcome: Index of the intent; 0 for none (entry 0 is never an intent)
	Result  Result // Outcome only

	Target      secdesc.GUID // objectGUID of what is acted on: the group of a membership
	TargetName  string       // its name at that time
	Subject     secdesc.GUID // objectGUID of the second object: the member of a membership
	SubjectName string
	Record      string    // what of leastwise's own: grant/…, policy/…
	Generation  uint64    // of the record or object that the action was fenced with
	Until       time.Time // end of what was given; zero for none
	Server      string    // domain controller that was or is to be written to
	Digest      [32]byte  // SHA-256 of what was decided on: plan, policy, backup; zero for none
	Reason      string
}

// Answer returns the outcome of the intent e, which has the given index, at a time:
// the same action, actor and objects.
func (e Entry) Answer(index int64, at time.Time, r Result, reason string) Entry {
	e.Index, e.Time, e.Phase, e.Answers, e.Result, e.Reason, e.Late = 0, at, Outcome, index, r, reason, false
	return e
}

// normal returns e with time in UTC microseconds and with free text that fits its
// fields: valid UTF-8, cut visibly if it is too long.
func (e Entry) normal() Entry {
	e.Time, e.Until = micro(e.Time), micro(e.Until)
	for _, s := range []*string{&e.Actor.Name, &e.TargetName, &e.SubjectName} {
		*s = clip(*s, MaxName)
	}
	e.Reason = clip(e.Reason, MaxReason)
	return e
}

func micro(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}

// cut is what clip ends a text with that was too long.
const cut = " […]"

func clip(s string, limit int) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD") // PostgreSQL's text has no NUL
	if len(s) <= limit {
		return s
	}
	n := limit - len(cut)
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + cut
}

// check reports the first field of a normal entry that does not hold what it must.
func (e *Entry) check() error {
	for _, step := range []func() error{e.checkTimes, e.checkWords, e.checkTexts, e.checkPhase} {
		if err := step(); err != nil {
			return fmt.Errorf("%w: %w", ErrEntry, err)
		}
	}
	return nil
}

func (e *Entry) checkTimes() error {
	if e.Index < 0 {
		return fmt.Errorf("index is %d", e.Index)
	}
	if y := e.Time.Year(); e.Time.IsZero() || y < 1970 || y > 9999 {
		return errors.New("time is missing or out of range")
	}
	if y := e.Until.Year(); !e.Until.IsZero() && (y < 1970 || y > 9999) {
		return errors.New("until is out of range")
	}
	return nil
}

// checkWords looks at what has a restricted alphabet.
func (e *Entry) checkWords() error {
	if !isAction(e.Action) {
		return fmt.Errorf("action %q is not words joined by dots", clip(e.Action, MaxAction))
	}
	if e.Actor.Method == "" || !isToken(string(e.Actor.Method)) || !isToken(string(e.Actor.Factor)) {
		return fmt.Errorf("method %q, factor %q: not a word, or no method", clip(string(e.Actor.Method), MaxToken), clip(string(e.Actor.Factor), MaxToken))
	}
	for _, f := range []struct {
		name, value string
		limit       int
	}{
		{"request", e.Request, MaxID},
		{"record", e.Record, MaxID},
		{"session", e.Actor.Session, MaxID},
		{"server", e.Server, MaxServer},
		{"from", e.Actor.From, MaxServer},
	} {
		if !isID(f.value, f.limit) {
			return fmt.Errorf("%s %q is longer than %d bytes or holds more than letters, digits and ._:/@%%[]-", f.name, clip(f.value, MaxID), f.limit)
		}
	}
	return nil
}

func (e *Entry) checkTexts() error {
	if e.Actor.Name == "" {
		return errors.New("the actor has no name")
	}
	for _, f := range []struct {
		value string
		limit int
	}{{e.Actor.Name, MaxName}, {e.TargetName, MaxName}, {e.SubjectName, MaxName}, {e.Reason, MaxReason}} {
		if len(f.value) > f.limit || !utf8.ValidString(f.value) || strings.Contains(f.value, "\x00") {
			return errors.New("a name or the reason is too long, not UTF-8 or holds NUL")
		}
	}
	return nil
}

func (e *Entry) checkPhase() error {
	if e.Phase == 0 || int(e.Phase) >= len(phaseNames) || int(e.Result) >= len(resultNames) {
		return errors.New("phase or result is unknown")
	}
	isOutcome := e.Phase == Outcome
	if (e.Result != 0) != isOutcome || (e.Answers != 0) != isOutcome {
		return errors.New("an outcome, and only an outcome, has a result and names the intent that it answers")
	}
	if isOutcome && (e.Answers < 0 || e.Answers >= e.Index) {
		return fmt.Errorf("it answers entry %d, which does not stand before it", e.Answers)
	}
	if e.Index == 0 && e.Phase == Intent {
		return errors.New("entry 0 is an intent")
	}
	return nil
}

// isAction reports whether s is words of a-z, 0-9 and - joined by dots.
func isAction(s string) bool {
	if len(s) > MaxAction {
		return false
	}
	words := strings.Split(s, ".")
	for _, w := range words {
		if w == "" || !isToken(w) {
			return false
		}
	}
	return len(words) >= 2
}

func isToken(s string) bool {
	return len(s) <= MaxToken && only(s, func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-'
	})
}

func isID(s string, limit int) bool {
	return len(s) <= limit && only(s, func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._:/@%[]-", c) >= 0
	})
}

func only(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}
