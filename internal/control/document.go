package control

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"

	"github.com/leastwise/leastwise/internal/forest"
)

// Limits of what people write as YAML; see [CheckYAML].
const (
	maxSourceBytes = 4 << 20
	maxYAMLDepth   = 64 // nested flow collections, or block collections of one line
	maxYAMLIndent  = 4 * maxYAMLDepth
)

// CheckYAML refuses what the decoder of YAML must not see: files that are too large
// or no text, collections that nest so deeply that reading them takes the memory, and
// anchors, aliases and merge keys, a few lines of which can stand for any number of
// entries. Errors begin with the name and the line.
func CheckYAML(name string, data []byte) (err error) {
	switch {
	case len(data) > 8 && forest.IsSnapshot(data):
		return fmt.Errorf("%s: it is a snapshot, where YAML is expected", name)
	case len(data) > maxSourceBytes:
		return fmt.Errorf("%s: larger than %d bytes", name, maxSourceBytes)
	case !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0:
		return fmt.Errorf("%s: it is no text in UTF-8, where YAML is expected", name)
	}
	if line := indentedBeyond(data, maxYAMLIndent); line > 0 {
		return fmt.Errorf("%s:%d: indented more than %d deep", name, line, maxYAMLIndent)
	}
	defer func() {
		// The YAML library panics on a few malformed documents; that is a fault of
		// the document to whoever wrote it.
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: not YAML: %v", name, r)
		}
	}()
	n := nesting{}
	for _, t := range lexer.Tokenize(string(data)) {
		if what := n.add(t); what != "" {
			return fmt.Errorf("%s:%d: %s", name, t.Position.Line, what)
		}
	}
	return nil
}

// indentedBeyond returns the first line that is indented by more than most, or 0.
func indentedBeyond(data []byte, most int) int {
	line := 0
	for text := range bytes.Lines(data) {
		line++
		if rest := bytes.TrimLeft(text, " \t"); len(text)-len(rest) > most && len(bytes.TrimSpace(rest)) > 0 {
			return line
		}
	}
	return 0
}

// nesting follows the tokens of a file.
type nesting struct {
	flow   int // collections in brackets that are open
	line   int // the line of the last token
	blocks int // block collections that began on it
}

// add returns what is wrong with a token.
func (n *nesting) add(t *token.Token) string {
	if t.Position.Line != n.line {
		n.line, n.blocks = t.Position.Line, 0
	}
	switch t.Type {
	case token.AnchorType, token.AliasType, token.MergeKeyType:
		return "anchors, aliases and merge keys are not part of the format: write the entries out, and texts that begin with & or * in quotes"
	case token.SequenceStartType, token.MappingStartType:
		n.flow++
	case token.SequenceEndType, token.MappingEndType:
		n.flow = max(n.flow-1, 0)
	case token.SequenceEntryType, token.MappingKeyType, token.TagType:
		n.blocks++
	}
	if n.flow > maxYAMLDepth || n.blocks > maxYAMLDepth {
		return fmt.Sprintf("nested more than %d deep", maxYAMLDepth)
	}
	return ""
}
