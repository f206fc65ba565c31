package report

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"regexp"
	"strings"

	"github.com/leastwise/leastwise/internal/control"
)

//go:embed html/report.html html/report.css html/report.js
var htmlFiles embed.FS

// Limits of the HTML report. What goes beyond is counted in the page, which then
// names the JSON output as the place where all of it is.
const (
	maxName     = 160  // characters of a name
	maxText     = 1200 // characters of a value, a DN or a sentence
	maxMembers  = 150  // members listed of one group
	maxEvidence = 25   // pieces of evidence listed of one finding
	maxItems    = 40   // hosts, changes and missing facts listed of one finding
	maxHostSets = 120  // rows of one heat map
	maxFindings = 2000 // findings with their evidence
)

// HTML writes the assessment as one page that needs nothing else: no request
// leaves it, its policy (CSP) admits only the style and script that it carries,
// and all of it can be read and printed without script.
func HTML(w io.Writer, a *control.Assessment) error { return HTMLWith(w, a, Beside{}) }

// Beside is what a report may show beside the assessment; what is nil is left out.
type Beside struct {
	ConfigMgr *ConfigMgr
	History   *History // of runs of the forest; one without runs is left out, too
}

// HTMLWith is HTML with sections about what is beside it.
func HTMLWith(w io.Writer, a *control.Assessment, beside Beside) error {
	css, js, err := htmlAssets(a)
	if err != nil {
		return fmt.Errorf("reading the parts of the HTML report: %w", err)
	}
	t, err := template.New("report.html").Funcs(htmlFuncs()).ParseFS(htmlFiles, "html/report.html")
	if err != nil {
		return fmt.Errorf("reading the template of the HTML report: %w", err)
	}
	for _, part := range []string{configMgrHTML, historyHTML} {
		if t, err = t.Parse(part); err != nil {
			return fmt.Errorf("reading the templates of the HTML report: %w", err)
		}
	}
	v := newHTMLView(a)
	if c := beside.ConfigMgr; c != nil {
		v.ConfigMgr = newConfigMgrView(c)
	}
	if h := beside.History; h != nil && len(h.Runs) > 0 {
		v.History = newHistoryView(h)
	}
	v.CSS, v.JS = template.CSS(css), template.JS(js)
	v.CSP = fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; img-src data:; base-uri 'none'; form-action 'none'", hash(css), hash(js))
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, "report.html", v); err != nil {
		return fmt.Errorf("filling in the HTML report: %w", err)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("writing assessment as HTML: %w", err)
	}
	return nil
}

// htmlAssets returns the style, with the running header of printed pages, and
// the script.
func htmlAssets(a *control.Assessment) (css, js string, err error) {
	c, err := htmlFiles.ReadFile("html/report.css")
	if err != nil {
		return "", "", err
	}
	j, err := htmlFiles.ReadFile("html/report.js")
	if err != nil {
		return "", "", err
	}
	header := "Least-privilege assessment"
	if name := forestName(a); dnsName.MatchString(name) {
		header += " of " + name
	}
	page := fmt.Sprintf("@page { @top-left { content: %q; } @top-right { content: %q; } }\n", header, a.Run.Started.UTC().Format("2006-01-02"))
	return string(c) + page, string(j), nil
}

// hash is the source expression of an inline style or script in a CSP.
func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

func htmlFuncs() template.FuncMap {
	return template.FuncMap{
		"name":  func(s string) template.HTML { return markup(s, maxName) },
		"text":  func(s string) template.HTML { return markup(s, maxText) },
		"show":  func(s string) string { return clip(visible(s), maxName) },
		"num":   thousands,
		"stamp": stamp,
		"last":  lastDay,
		"chain": func(c []string) template.HTML {
			parts := make([]string, len(c))
			for i := range c {
				parts[i] = string(markup(c[i], maxName))
			}
			return template.HTML(strings.Join(parts, ` <span class="arrow">→</span> `))
		},
		"facts":    evidenceFacts,
		"severity": severityName,
		"plural":   plural,
		"inc":      func(i int) int { return i + 1 },
	}
}

// breaks lets names and paths wrap after their separators.
var breaks = strings.NewReplacer(`\`, `\<wbr>`, `/`, `/<wbr>`, `,`, `,<wbr>`)

// spelled is how visible spells out a character, after escaping.
var spelled = regexp.MustCompile(`&lt;(U\+[0-9A-F]{4,6}|0x[0-9A-F]{2})&gt;`)

// dnsName is what may stand in the style sheet as the name of the forest.
var dnsName = regexp.MustCompile(`^[A-Za-z0-9.-]{1,100}$`)

// markup escapes s, cut to n characters, for use as HTML text. It isolates the
// direction of its writing and marks the characters that visible spells out.
func markup(s string, n int) template.HTML {
	if s == "" {
		return ""
	}
	shown := clip(visible(s), n)
	escaped := breaks.Replace(template.HTMLEscapeString(shown))
	if !isPlain(s) {
		escaped = spelled.ReplaceAllString(escaped, `<span class="ctl">$1</span>`)
	}
	return template.HTML("<bdi>" + escaped + "</bdi>")
}

// severityName is the severity as a heading.
func severityName(s control.Severity) string {
	if s == "" {
		return "Unranked"
	}
	return strings.ToUpper(string(s[:1])) + string(s[1:])
}
