package control

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// ErrExceptions reports a list of exceptions that cannot be used.
var ErrExceptions = errors.New("exceptions are not valid")

// States of ExceptionUse.
const (
	ExceptionUsed    = "used"
	ExceptionExpired = "expired" // what it covered are findings again
	ExceptionUnused  = "unused"  // it covers nothing; ExceptionUse.Why says why
)

// exceptionText is an exception as a file writes it. expires is a day (2006-01-02,
// which counts to its end in UTC) or a moment (RFC 3339), which counts as well.
type exceptionText struct {
	Control string `yaml:"control"`
	Subject string `yaml:"subject"`
	Owner   string `yaml:"owner"`
	Reason  string `yaml:"reason"`
	Expires string `yaml:"expires"`
}

// ParseExceptions reads an exceptions file: a list under the key "exceptions". All
// fields are mandatory. The name is for errors.
func ParseExceptions(name string, data []byte) ([]Exception, error) {
	if err := CheckYAML(name, data); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrExceptions, err)
	}
	var f struct {
		Exceptions []exceptionText `yaml:"exceptions"`
	}
	if err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: %s", ErrExceptions, yamlFault(name, err))
	}
	out := make([]Exception, 0, len(f.Exceptions))
	for i, t := range f.Exceptions {
		at, err := parseExpiry(t.Expires)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: exception %d: expires %q is neither a day (2006-01-02) nor a moment (2006-01-02T15:04:05Z)", ErrExceptions, name, i+1, t.Expires)
		}
		out = append(out, Exception{t.Control, t.Subject, t.Owner, t.Reason, at})
	}
	if err := checkExceptions(out); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return out, nil
}

func parseExpiry(s string) (time.Time, error) {
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t.Add(24*time.Hour - time.Second), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	return t.UTC(), err
}

// expired reports whether the last second of the exception is over.
func (x Exception) expired(now time.Time) bool {
	return now.Truncate(time.Second).After(x.Expires)
}

func checkExceptions(list []Exception) error {
	for i, x := range list {
		for _, f := range []struct{ name, value string }{
			{"control", x.Control},
			{"subject", x.Subject},
			{"owner", x.Owner},
			{"reason", x.Reason},
		} {
			if strings.TrimSpace(f.value) == "" {
				return fmt.Errorf("%w: exception %d: %s is missing", ErrExceptions, i+1, f.name)
			}
		}
		if x.Expires.IsZero() {
			return fmt.Errorf("%w: exception %d: expires is missing", ErrExceptions, i+1)
		}
	}
	return nil
}

// applyExceptions marks the failures that a valid exception covers and says what
// became of every exception. Unknowns are not excepted: nothing is accepted
// unseen.
//
// An exception for a control that the catalogue does not have is no error: lists
// are shared by runs with different catalogue files. It covers nothing and says so.
func (a *Assessment) applyExceptions(w *world, list []Exception, now time.Time) {
	if now.IsZero() {
		now = w.now
	}
	a.Exceptions = []ExceptionUse{}
	for _, x := range list {
		use := ExceptionUse{Exception: x, State: ExceptionUnused}
		expired := x.expired(now)
		for i := range a.Findings {
			f := &a.Findings[i]
			if f.Outcome != Fail || !x.covers(w.s, f) {
				continue
			}
			use.Matches++
			if !expired && f.Exception == nil {
				f.Exception = &x
				a.except(f.Control)
			}
		}
		switch {
		case expired:
			use.State = ExceptionExpired
		case use.Matches > 0:
			use.State = ExceptionUsed
		default:
			use.Why = a.whyUnused(x)
		}
		a.Exceptions = append(a.Exceptions, use)
	}
}

// whyUnused says why an exception covers nothing.
func (a *Assessment) whyUnused(x Exception) string {
	i := slices.IndexFunc(a.Controls, func(c ControlResult) bool { return c.ID == x.Control })
	switch {
	case i < 0:
		return fmt.Sprintf("there is no control %q (leastwise controls list shows all)", x.Control)
	case a.Controls[i].Fail+a.Controls[i].Excepted == 0:
		return "the control does not fail for anything"
	default:
		return "the control does not fail for this subject"
	}
}

// except moves one failure of a control from Fail to Excepted.
func (a *Assessment) except(id string) {
	i := slices.IndexFunc(a.Controls, func(c ControlResult) bool { return c.ID == id })
	a.Controls[i].Fail--
	a.Controls[i].Excepted++
}

// covers reports whether an exception is about a finding. Its subject is a
// distinguished name in any spelling, a SID, a name (DOMAIN\name, name or
// name@domain), or *,CONTAINER for everything in and below a container.
func (x Exception) covers(s *forest.Snapshot, f *Finding) bool {
	if x.Control != f.Control {
		return false
	}
	if container, ok := strings.CutPrefix(x.Subject, "*,"); ok {
		c, id := s.Lookup(container), f.object(s)
		for c != forest.None && id != forest.None && id != c {
			id = s.Ancestor(id)
		}
		return c != forest.None && id == c
	}
	if strings.EqualFold(x.Subject, f.Subject.DN) || x.Subject == f.Subject.SID && x.Subject != "" || strings.EqualFold(x.Subject, f.Subject.Name) {
		return true
	}
	if f.Subject.Scope != "" && strings.EqualFold(x.Subject, f.Subject.DN+" ["+f.Subject.Scope+"]") {
		return true
	}
	if name, domain, ok := strings.Cut(x.Subject, "@"); ok && strings.EqualFold(name, f.Subject.Name) && strings.EqualFold(domain, f.Subject.Domain) {
		return true
	}
	if domain, name, ok := strings.Cut(x.Subject, `\`); ok && strings.EqualFold(name, f.Subject.Name) {
		for _, d := range s.Domains() {
			if strings.EqualFold(d.DNS, f.Subject.Domain) && (strings.EqualFold(d.NetBIOS, domain) || strings.EqualFold(d.DNS, domain)) {
				return true
			}
		}
	}
	id := s.Lookup(x.Subject)
	return id != forest.None && id == f.object(s)
}

// object finds the subject of a finding. What a view moved has a name that Lookup does
// not know yet.
func (f *Finding) object(s *forest.Snapshot) forest.ID {
	if id := s.Lookup(f.Subject.DN); id != forest.None {
		return id
	}
	sid, err := secdesc.ParseSID(f.Subject.SID)
	if err != nil || sid.Domain() == builtinDomain {
		return forest.None
	}
	return s.BySID(sid)
}
