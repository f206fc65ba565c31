package report

import (
	"fmt"
	"io"
	"strings"

	"charm.land/lipgloss/v2"
	"charm.land/lipgloss/v2/table"
	"github.com/charmbracelet/x/ansi"
)

// A Screen says what text is written for. The zero value suits a file or a
// pipe: no colour, no lines, nothing wrapped, one record a line.
type Screen struct {
	Width    int  // columns of the terminal; 0 if there is none
	Color    bool // escape sequences are understood and wanted (NO_COLOR unset)
	Findings int  // how many findings to list; 0 lists all
	Evidence bool // also write evidence, fix and verification of each finding
}

// A page collects text in the style of its screen.
type page struct {
	screen Screen
	b      strings.Builder
}

// flush writes the page; what names it in an error.
func (p *page) flush(w io.Writer, what string) error {
	if _, err := io.WriteString(w, p.b.String()); err != nil {
		return fmt.Errorf("writing %s as text: %w", what, err)
	}
	return nil
}

// The colours are those of the terminal's own palette, so that they fit its theme.
const (
	red    = "1"
	green  = "2"
	yellow = "3"
	blue   = "4"
	gray   = "8"
)

// ink colours s if the screen has colour.
func (p *page) ink(color, s string) string {
	if !p.screen.Color || color == "" {
		return s
	}
	return lipgloss.NewStyle().Foreground(lipgloss.Color(color)).Render(s)
}

// strong sets s in bold if the screen has colour.
func (p *page) strong(s string) string {
	if !p.screen.Color {
		return s
	}
	return lipgloss.NewStyle().Bold(true).Render(s)
}

func (p *page) line(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if p.screen.Width > 0 {
		text = ansi.Wrap(text, p.screen.Width, "")
	}
	p.b.WriteString(text)
	p.b.WriteByte('\n')
}

// heading starts a part of the page.
func (p *page) heading(s string) {
	p.b.WriteByte('\n')
	p.line("%s", p.strong(s))
}

// maxCell is how many characters of a cell are written in a table on a terminal.
const maxCell = 240

// fit wraps cells so that the table with its lines is at most width wide. Only
// the widest columns give way, and none to less than its heading.
func fit(head []string, rows [][]string, width int) {
	widths := make([]int, len(head))
	for i, h := range head {
		widths[i] = lipgloss.Width(h)
	}
	least := append([]int{}, widths...)
	total := 1
	for i := range widths {
		for _, r := range rows {
			widths[i] = max(widths[i], lipgloss.Width(r[i]))
		}
		total += widths[i] + 3
	}
	for total > width {
		widest := -1
		for i, w := range widths {
			if w > least[i] && (widest < 0 || w > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
		total--
	}
	for _, r := range rows {
		for i := range r {
			r[i] = ansi.Hardwrap(ansi.Wrap(r[i], widths[i], `,\/`), widths[i], false)
		}
	}
}

// A cellInk is a table cell with its colour.
type cellInk struct{ text, color string }

// grid writes a table. Without a width it is plain columns without lines; with
// one, columns wrap so that the table fits.
func (p *page) grid(head []string, rows [][]cellInk) {
	texts := make([][]string, len(rows))
	for i, row := range rows {
		for _, c := range row {
			texts[i] = append(texts[i], p.cell(c.text))
		}
	}
	if p.screen.Width > 0 {
		fit(head, texts, p.screen.Width)
	}
	style := func(row, col int) lipgloss.Style {
		st := lipgloss.NewStyle().Padding(0, 1)
		if p.screen.Width == 0 {
			st = lipgloss.NewStyle().PaddingRight(2)
		}
		switch {
		case !p.screen.Color:
		case row == table.HeaderRow:
			st = st.Bold(true)
		case row < len(rows) && col < len(rows[row]) && rows[row][col].color != "":
			st = st.Foreground(lipgloss.Color(rows[row][col].color))
		}
		return st
	}
	t := table.New().Headers(head...).Rows(texts...).StyleFunc(style)
	if p.screen.Width == 0 {
		t = t.Border(lipgloss.Border{}).BorderTop(false).BorderBottom(false).BorderLeft(false).
			BorderRight(false).BorderColumn(false).BorderHeader(false)
	} else {
		t = t.Border(lipgloss.RoundedBorder())
		if p.screen.Color {
			t = t.BorderStyle(lipgloss.NewStyle().Foreground(lipgloss.Color(gray)))
		}
	}
	for _, l := range strings.Split(t.String(), "\n") {
		p.b.WriteString(strings.TrimRight(l, " "))
		p.b.WriteByte('\n')
	}
}

// cell shortens what would fill a terminal; whoever reads a pipe gets all.
func (p *page) cell(text string) string {
	if p.screen.Width > 0 {
		return clip(text, maxCell)
	}
	return text
}

// plain makes cells without colour.
func plain(texts ...string) []cellInk {
	out := make([]cellInk, len(texts))
	for i, t := range texts {
		out[i].text = t
	}
	return out
}
