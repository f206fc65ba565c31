package report

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"github.com/leastwise/leastwise/internal/control"
)

// Key names a finding across runs in 16 hex digits: a digest of
// control.Finding.Key, so control and subject, but not the outcome. It is the
// fingerprint in SARIF and the anchor in HTML.
func Key(f control.Finding) string {
	sum := sha256.Sum256([]byte(f.Key()))
	return hex.EncodeToString(sum[:8])
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
