package api

import (
	"encoding/base64"
	"errors"
	"strings"
)

// ErrCursor reports a cursor that this server did not give, or gave for another list.
var ErrCursor = errors.New("not a cursor of this list")

// maxCursor bounds a cursor, in bytes.
const maxCursor = 256

// A Cursor says where a list goes on: the kind of list, and the last thing that was
// shown. It is no secret and grants nothing; what a list shows is decided anew for
// every page.
type Cursor struct{ List, After string }

// String returns the text that stands in requests.
func (c Cursor) String() string {
	if c.After == "" {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString([]byte(c.List + "\n" + c.After))
}

// ParseCursor reads the cursor of a list; an empty text is its start.
func ParseCursor(list, text string) (Cursor, error) {
	c := Cursor{List: list}
	if text == "" {
		return c, nil
	}
	if len(text) > maxCursor {
		return c, ErrCursor
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return c, ErrCursor
	}
	of, after, ok := strings.Cut(string(b), "\n")
	if !ok || of != list || after == "" || strings.ContainsFunc(after, func(r rune) bool { return r < ' ' || r > '~' }) {
		return c, ErrCursor
	}
	c.After = after
	return c, nil
}
