package report_test

import (
	"bytes"
	"testing"

	"github.com/leastwise/leastwise/internal/report"
)

func TestScratch(t *testing.T) {
	var b bytes.Buffer
	if err := report.Text(&b, sample(), report.Screen{Width: 120, Findings: 12, Evidence: false}); err != nil {
		t.Fatal(err)
	}
	t.Log(b.String())
	b.Reset()
	report.SARIF(&b, sample())
	t.Log(b.Len())
	b.Reset()
	report.CSV(&b, sample())
	t.Log(b.String()[:3000])
}
