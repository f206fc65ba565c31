package grant

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // zones are the same on every machine, Windows included
)

// A Window is a weekly span of wall-clock time in a time zone. It is half open: its
// last minute is the one before To. To at or before From lies on the next day.
type Window struct {
	Days []string `yaml:"days" json:"days,omitempty"` // mon … sun, or ranges such as mon-fri; empty: every day. The day of From
	From string   `yaml:"from" json:"from"`           // 08:00
	To   string   `yaml:"to" json:"to"`               // 18:00; 24:00 for the end of the day
	Zone string   `yaml:"zone" json:"zone"`           // IANA, such as Europe/Berlin
}

// horizon is how far ahead the end or begin of windows is looked for. Windows repeat
// every week; a clock change can add to that.
const horizon = 8 * 24 * time.Hour

var (
	clockForm = regexp.MustCompile(`^([01]\d|2[0-4]):([0-5]\d)$`)
	dayNames  = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
)

func parseClock(s string) (minutes int, err error) {
	m := clockForm.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("%q is no time of day such as 08:00", s)
	}
	h, _ := strconv.Atoi(m[1]) // the form holds digits only
	n, _ := strconv.Atoi(m[2])
	if h*60+n > 24*60 {
		return 0, fmt.Errorf("%q is later than 24:00", s)
	}
	return h*60 + n, nil
}

func parseDays(list []string) (days [7]bool, err error) {
	if len(list) == 0 {
		return [7]bool{true, true, true, true, true, true, true}, nil
	}
	for _, s := range list {
		first, last, isRange := strings.Cut(strings.ToLower(s), "-")
		if !isRange {
			last = first
		}
		a, b := slices.Index(dayNames, first), slices.Index(dayNames, last)
		if a < 0 || b < 0 {
			return days, fmt.Errorf("%q is no day such as mon, or mon-fri", s)
		}
		for d := a; ; d = (d + 1) % 7 {
			days[d] = true
			if d == b {
				break
			}
		}
	}
	return days, nil
}

// check returns what is wrong with a window and below which key.
func (w Window) check() (path string, err error) {
	if _, err := parseDays(w.Days); err != nil {
		return ".days", err
	}
	if _, err := parseClock(w.From); err != nil {
		return ".from", err
	}
	if _, err := parseClock(w.To); err != nil {
		return ".to", err
	}
	if w.From == "24:00" || w.From == w.To {
		return ".from", fmt.Errorf("%s to %s is no span; a whole day is 00:00 to 24:00", w.From, w.To)
	}
	if w.Zone == "" || w.Zone == "Local" {
		return ".zone", fmt.Errorf("a time zone such as Europe/Berlin or UTC is missing")
	}
	if _, err := time.LoadLocation(w.Zone); err != nil {
		return ".zone", fmt.Errorf("%q is no time zone of the IANA database", w.Zone)
	}
	return "", nil
}

// span is a Window made ready.
type span struct {
	days     [7]bool
	from, to int
	zone     *time.Location
}

func (w Window) span() (span, error) {
	days, err := parseDays(w.Days)
	if err != nil {
		return span{}, err
	}
	from, err := parseClock(w.From)
	if err != nil {
		return span{}, err
	}
	to, err := parseClock(w.To)
	if err != nil {
		return span{}, err
	}
	zone, err := time.LoadLocation(w.Zone)
	return span{days, from, to, zone}, err
}

// holds reports whether a moment lies inside, by what a clock on the wall of that zone
// shows. So an hour that a clock change repeats counts both times, and one that it
// leaves out not at all.
func (s span) holds(t time.Time) bool {
	l := t.In(s.zone)
	day, m := int(l.Weekday()), l.Hour()*60+l.Minute()
	if s.from < s.to {
		return s.days[day] && m >= s.from && m < s.to
	}
	return s.days[day] && m >= s.from || s.days[(day+6)%7] && m < s.to
}

// windows are made ready once per question.
type windows []span

func readWindows(list []Window) (windows, error) {
	var out windows
	for _, w := range list {
		s, err := w.span()
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// open reports whether any window holds t.
func (ws windows) open(t time.Time) bool {
	return slices.ContainsFunc(ws, func(s span) bool { return s.holds(t) })
}

// next returns the first minute after t at which open changes to want; ok is false if
// that does not happen within the horizon. All offsets of zones in use are whole minutes.
func (ws windows) next(t time.Time, want bool) (at time.Time, ok bool) {
	for m := t.Truncate(time.Minute).Add(time.Minute); m.Sub(t) <= horizon; m = m.Add(time.Minute) {
		if ws.open(m) == want {
			return m, true
		}
	}
	return time.Time{}, false
}

// WindowAt reports whether the policy's windows allow a grant to be active at t. If so,
// until is when they end (zero: never); otherwise it is when they open (zero: not
// within a week).
func (p *Policy) WindowAt(t time.Time) (open bool, until time.Time, err error) {
	return windowAt(p.Windows, t)
}

func windowAt(list []Window, t time.Time) (open bool, until time.Time, err error) {
	if len(list) == 0 {
		return true, time.Time{}, nil
	}
	ws, err := readWindows(list)
	if err != nil {
		return false, time.Time{}, fmt.Errorf("reading time windows: %w", err)
	}
	open = ws.open(t)
	until, _ = ws.next(t, !open)
	return open, until, nil
}
