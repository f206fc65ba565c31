package report

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/leastwise/leastwise/internal/control"
)

// Key names a finding across runs: the control and the subject, by security
// identifier where that is unique in the forest, so that a renamed or moved
// subject keeps its key, else by DN (built-in groups have the same identifier
// in every domain), and scope. The outcome is not part of it. It is 16 hex digits
// and is the fingerprint in SARIF and the anchor in HTML.
func Key(f control.Finding) string {
	subject := f.Subject.SID
	if !strings.HasPrefix(subject, "S-1-5-21-") {
		subject = strings.ToLower(f.Subject.DN)
		if subject == "" {
			subject = f.Subject.Name
		}
	}
	h := sha256.New()
	for _, part := range []string{f.Control, f.Subject.Kind, subject, f.Subject.Scope} {
		h.Write([]byte(strconv.Quote(part)))
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// severities are all severities, worst first.
func severities() []control.Severity {
	return []control.Severity{control.Critical, control.High, control.Medium, control.Low}
}

// plural returns "1 thing" or "5 things".
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return thousands(n) + " " + many
}

// thousands writes n with a comma between groups of three digits.
func thousands(n int) string {
	s := strconv.Itoa(n)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}
