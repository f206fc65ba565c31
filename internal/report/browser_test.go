package report_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/leastwise/leastwise/internal/control"
	"github.com/leastwise/leastwise/internal/report"
)

// need returns the path of a program, or skips the test loudly. With
// LEASTWISE_REQUIRE_BROWSER=1 a missing program is a failure.
func need(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing(t, "none of these programs is installed: "+strings.Join(names, ", "))
	return ""
}

func missing(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("LEASTWISE_REQUIRE_BROWSER") == "1" {
		t.Fatal("the browser tests are required, but " + why)
	}
	t.Skip("THE BROWSER TESTS DID NOT RUN: " + why)
}

// browserModules makes sure that the pinned node modules are installed.
func browserModules(t *testing.T, ctx context.Context) {
	t.Helper()
	want, err := os.ReadFile("browser/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	stamp := "browser/node_modules/.leastwise-lock"
	if have, err := os.ReadFile(stamp); err == nil && bytes.Equal(have, want) {
		return
	}
	cmd := exec.CommandContext(ctx, need(t, "npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = "browser"
	if out, err := cmd.CombinedOutput(); err != nil {
		missing(t, "npm ci did not install the pinned modules: "+err.Error()+"\n"+string(out))
	}
	if err := os.WriteFile(stamp, want, 0o600); err != nil {
		t.Fatal(err)
	}
}

// drive opens the page in Chromium, does all that page.mjs does and reports each check.
func drive(t *testing.T, a *control.Assessment) (dir string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	chromium, node := need(t, "chromium", "chromium-browser", "google-chrome"), need(t, "node")
	browserModules(t, ctx)
	dir = t.TempDir()
	var page bytes.Buffer
	if err := report.HTML(&page, a); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "report.html")
	if err := os.WriteFile(file, page.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, node, "browser/page.mjs", file, dir, chromium)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("driving the page: %v\n%s", err, stderr.String())
	}
	var results []struct {
		Check, Detail string
		OK            bool
	}
	if err := json.Unmarshal(out, &results); err != nil {
		t.Fatalf("reading the results: %v\n%s", err, out)
	}
	if len(results) < 30 {
		t.Errorf("only %d checks ran", len(results))
	}
	for _, r := range results {
		if !r.OK {
			t.Errorf("%s: %s", r.Check, r.Detail)
		}
	}
	return dir
}

// TestBrowser opens the sample report in Chromium: no console message, no
// request, axe clean in light, dark and narrow, keyboard only, without script,
// and printed with everything unfolded.
func TestBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	pdftotext := need(t, "pdftotext")
	a := sample()
	dir := drive(t, a)
	for _, pdf := range []string{"report.pdf", "noscript.pdf"} {
		out, err := exec.Command(pdftotext, "-layout", filepath.Join(dir, pdf), "-").Output()
		if err != nil {
			t.Fatalf("reading %s: %v", pdf, err)
		}
		checkPrinted(t, pdf, string(out), a)
	}
}

// checkPrinted looks for what must be on paper. Spaces are ignored, because
// paper wraps where it likes.
func checkPrinted(t *testing.T, pdf, text string, a *control.Assessment) {
	t.Helper()
	squeeze := func(s string) string {
		return strings.Map(func(r rune) rune {
			if unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) {
				return -1
			}
			return r
		}, s)
	}
	printed := squeeze(text)
	has := func(what, s string) {
		if !strings.Contains(printed, squeeze(s)) {
			t.Errorf("%s lacks %s %q", pdf, what, s)
		}
	}
	for _, f := range a.Findings {
		has("the control", f.Control)
		for _, e := range f.Evidence {
			if e.Changed != nil {
				has("the last change", e.Changed.Time.Format("2006-01-02 15:04 UTC"))
			}
			if e.ACE != nil {
				has("the trustee", e.ACE.Trustee)
			}
		}
		if f.Outcome == control.Fail && len(f.Subject.Name) < 30 && !strings.ContainsAny(f.Subject.Name, "<\u202E\n") {
			has("the subject", f.Subject.Name)
		}
	}
	has("a member", "Tier0 Operators → Infrastructure → Domain Admins")
	has("an exception's reason", "Scanner appliance")
	has("the page number", "Page 1 of")
	has("the gap", "STATUS_ACCESS_DENIED")
	for _, way := range append(a.Paths.Certain, a.Paths.Possible...) {
		for _, st := range way.Steps {
			if len(st.From.DN) < 100 && !strings.ContainsAny(st.From.DN, "<\u202E\u0301") {
				has("a step", st.From.DN+" "+st.Text)
			}
		}
	}
	has("what must hold", "if the user logs on")
	has("a removal", "Remove entry 9")
	has("what was not read", a.Paths.Unread[99])
}
