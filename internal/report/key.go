package report

import (
	"strconv"

	"github.com/leastwise/leastwise/internal/control"
)

// Key names a finding across runs: see [control.Finding.Digest], so control and subject,
// but not the outcome. It is the fingerprint in SARIF and the anchor in HTML.
func Key(f control.Finding) string { return f.Digest() }

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
