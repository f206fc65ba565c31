package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrExport reports a file that is not an export of an audit log; the text says in
// which line.
var ErrExport = errors.New("not an export of an audit log")

// exportVersion is what this program writes and reads.
const exportVersion = 1

// MaxLine is the most bytes that a line of an export may have.
const MaxLine = 512 << 10

// exportHead is the first line of an export.
type exportHead struct {
	Version int    `json:"leastwise-audit-export"`
	Key     string `json:"key"` // public key that the log says it is signed with; empty if it has none
	Entries int64  `json:"entries"`
}

// exportCheckpoint is a line after the first.
type exportCheckpoint struct {
	Checkpoint string `json:"checkpoint"`
}

// exportEntry is a line after the checkpoints.
type exportEntry struct {
	Index *int64 `json:"entry"`
	Text  string `json:"text"`
}

// WriteExport writes a log so that others can verify it with this program alone:
// lines of JSON, first what it is, then the checkpoints, then every entry. The key
// is the public one, for information: whoever verifies has it from elsewhere.
func WriteExport(ctx context.Context, w io.Writer, src Source, key string) error {
	head, err := src.AuditHead(ctx)
	if err != nil {
		return fmt.Errorf("reading how many audit entries there are: %w", err)
	}
	checkpoints, err := src.AuditCheckpoints(ctx)
	if err != nil {
		return fmt.Errorf("reading the checkpoints: %w", err)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(exportHead{exportVersion, key, head}); err != nil {
		return err
	}
	for _, c := range checkpoints {
		if err := enc.Encode(exportCheckpoint{c}); err != nil {
			return err
		}
	}
	for next := int64(0); ; {
		rows, err := src.AuditRecords(ctx, next, batch)
		if err != nil {
			return fmt.Errorf("reading audit entries from %d on: %w", next, err)
		}
		for _, r := range rows {
			if err := enc.Encode(exportEntry{&r.Index, string(r.Body)}); err != nil {
				return err
			}
		}
		if len(rows) < batch {
			return nil
		}
		next = rows[len(rows)-1].Index + 1
	}
}

// An Export reads an exported log, once, from its beginning to its end: it is a
// [Source] for [Verify].
type Export struct {
	lines       *bufio.Scanner
	line        int
	head        exportHead
	checkpoints []string
	next        *exportEntry // read, but not returned yet
}

// OpenExport reads the lines before the entries.
func OpenExport(r io.Reader) (*Export, error) {
	x := &Export{lines: bufio.NewScanner(r)}
	x.lines.Buffer(nil, MaxLine)
	raw, err := x.scan()
	if err != nil {
		return nil, err
	}
	if raw == nil {
		return nil, fmt.Errorf("%w: it is empty", ErrExport)
	}
	if err := strict(raw, &x.head); err != nil || x.head.Version < 1 || x.head.Entries < 0 {
		return nil, fmt.Errorf("%w: line 1 does not say so", ErrExport)
	}
	if x.head.Version != exportVersion {
		return nil, fmt.Errorf("%w: line 1: version %d, this program knows %d", ErrExport, x.head.Version, exportVersion)
	}
	for {
		raw, err := x.scan()
		if err != nil || raw == nil {
			return x, err
		}
		var c exportCheckpoint
		if strict(raw, &c) == nil {
			x.checkpoints = append(x.checkpoints, c.Checkpoint)
			continue
		}
		x.next, err = x.entry(raw)
		return x, err
	}
}

// Key returns the public key that the export names. It proves nothing by itself.
func (x *Export) Key() string { return x.head.Key }

// AuditHead implements [Source].
func (x *Export) AuditHead(context.Context) (int64, error) { return x.head.Entries, nil }

// AuditCheckpoints implements [Source].
func (x *Export) AuditCheckpoints(context.Context) ([]string, error) { return x.checkpoints, nil }

// AuditRecords implements [Source] for reading in order: from is not looked at.
func (x *Export) AuditRecords(ctx context.Context, _ int64, limit int) ([]Stored, error) {
	var out []Stored
	for len(out) < limit && x.next != nil {
		out = append(out, Stored{Record: Record{Index: *x.next.Index, Body: []byte(x.next.Text)}})
		x.next = nil
		raw, err := x.scan()
		if err != nil {
			return nil, err
		}
		if raw == nil {
			break
		}
		if x.next, err = x.entry(raw); err != nil {
			return nil, err
		}
	}
	return out, ctx.Err()
}

// scan returns the next line, nil at the end.
func (x *Export) scan() ([]byte, error) {
	if x.lines.Scan() {
		x.line++
		return x.lines.Bytes(), nil
	}
	if err := x.lines.Err(); err != nil {
		return nil, fmt.Errorf("%w: line %d: %w", ErrExport, x.line+1, err)
	}
	return nil, nil
}

func (x *Export) entry(raw []byte) (*exportEntry, error) {
	var e exportEntry
	if err := strict(raw, &e); err != nil || e.Index == nil || *e.Index < 0 {
		return nil, fmt.Errorf("%w: line %d is no entry", ErrExport, x.line)
	}
	return &e, nil
}

// strict decodes one JSON value with known names and nothing behind it.
func strict(raw []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}

// ReadCheckpoints reads checkpoints that somebody kept: one signed note, or lines
// of JSON as exports and witness files have them.
func ReadCheckpoints(data []byte) ([]string, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		if _, err := unsigned(string(data)); err != nil {
			return nil, err
		}
		return []string{string(data)}, nil
	}
	var out []string
	for i, line := range bytes.Split(bytes.TrimSpace(data), []byte("\n")) {
		var c exportCheckpoint
		if err := strict(line, &c); err != nil {
			return nil, fmt.Errorf("%w: line %d", ErrCheckpoint, i+1)
		}
		out = append(out, c.Checkpoint)
	}
	return out, nil
}

// ReadWitness reads a witness file: lines that [CheckpointLine] has written, in their
// order. A line that a crash has cut off, so that it is no JSON, is counted and left out;
// anything else that is no checkpoint is an error.
func ReadWitness(data []byte) (list []string, torn int, err error) {
	for i, line := range bytes.Split(data, []byte("\n")) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if !json.Valid(line) && bytes.HasPrefix(line, []byte("{")) {
			torn++
			continue
		}
		var c exportCheckpoint
		if err := strict(line, &c); err != nil {
			return nil, 0, fmt.Errorf("%w: line %d", ErrCheckpoint, i+1)
		}
		list = append(list, c.Checkpoint)
	}
	return list, torn, nil
}

// CheckpointLine returns the line of a witness file for a signed checkpoint.
func CheckpointLine(signed string) ([]byte, error) {
	raw, err := json.Marshal(exportCheckpoint{signed})
	return append(raw, '\n'), err
}

// ParseProof parses a proof that was written as JSON.
func ParseProof(data []byte) (*Proof, error) {
	var p Proof
	if len(data) > MaxLine {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrProof, MaxLine)
	}
	if err := strict(data, &p); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProof, err)
	}
	return &p, nil
}
