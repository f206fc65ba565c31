package notify

import (
	"errors"
	"fmt"
	"net/mail"
	"strings"
	"text/template"
	"time"
	"unicode"
	"unicode/utf8"
)

// printable makes one line of text: what is not printable, or would change the direction
// of what is shown, becomes a space, and what is too long is cut.
func printable(s string, limit int) string {
	out := strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
	if utf8.RuneCountInString(out) > limit {
		out = string([]rune(out)[:limit-1]) + "…"
	}
	return strings.TrimSpace(out)
}

// errAddress does not show the address: it may hold what a header must not.
var errAddress = errors.New("not a mail address such as anna@contoso.com")

// parseAddress reads one bare address.
func parseAddress(s string) (string, error) {
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != s || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || !unicode.IsPrint(r) }) {
		return "", errAddress
	}
	return s, nil
}

const (
	maxSubject = 160
	maxText    = 4000
)

// subject is the subject of a mail.
func subject(m Message) string {
	loud := ""
	if m.Loud {
		loud = "URGENT: "
	}
	return printable(loud+"leastwise: "+m.Text, maxSubject)
}

// body is the text of a mail.
const body = `{{.Text}}

Grant    {{.Grant}}
Event    {{.Event}}
State    {{.State}}
Time     {{.Time}}
{{- if .Loud}}

This message is urgent: somebody has to look at it.
{{- end}}

To see or decide it:  leastwise grant show {{.Grant}}
Message {{.ID}}. It may arrive more than once, with the same identifier.
`

// words writes the text of a mail.
func words(m Message) (string, error) {
	t, err := template.New("mail").Parse(body)
	if err != nil {
		return "", fmt.Errorf("the text of mails: %w", err)
	}
	var b strings.Builder
	err = t.Execute(&b, map[string]any{
		"Text": printable(m.Text, maxText), "Grant": printable(string(m.Grant), 100), "Event": printable(string(m.Event), 100),
		"State": printable(string(m.State), 100), "Time": m.Time.UTC().Format(time.RFC3339), "Loud": m.Loud, "ID": m.ID,
	})
	return b.String(), err
}
