package apply

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// A File is a journal in a file: one entry a line, JSON, each on disk before Append
// returns. Only one process may hold it.
type File struct {
	f       *os.File
	entries []Entry
	broken  error // of an Append: nothing may follow half a line
}

// maxLine bounds one line of a journal file, in bytes: the first holds the plan.
const maxLine = 2 * 64 << 20

// OpenFile opens a journal file, or makes an empty one, readable by its owner only. A
// last line that was cut off by a crash was never relied on, and is removed.
func OpenFile(name string) (*File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the journal: %w", err)
	}
	j := &File{f: f}
	if err = lockFile(f); err != nil {
		err = fmt.Errorf("%w: another run holds %s: %w", ErrJournal, name, err)
	}
	if err == nil {
		err = j.load()
	}
	if err == nil {
		err = syncFolder(filepath.Dir(name))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return j, nil
}

// load reads the entries and cuts off half a line.
func (j *File) load() error {
	r := bufio.NewReader(io.LimitReader(j.f, 1<<40))
	whole := int64(0)
	for {
		line, err := readLine(r)
		if err != nil {
			return fmt.Errorf("%w: entry %d: %w", ErrJournal, len(j.entries)+1, err)
		}
		if len(line) == 0 || line[len(line)-1] != '\n' {
			break
		}
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		var e Entry
		if err := d.Decode(&e); err != nil {
			return fmt.Errorf("%w: entry %d: %w", ErrJournal, len(j.entries)+1, err)
		}
		j.entries = append(j.entries, e)
		whole += int64(len(line))
	}
	if err := j.f.Truncate(whole); err != nil {
		return fmt.Errorf("repairing the journal: %w", err)
	}
	if _, err := j.f.Seek(whole, io.SeekStart); err != nil {
		return fmt.Errorf("reading the journal: %w", err)
	}
	return nil
}

// readLine reads to the end of the line or of the file.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxLine:
			return nil, fmt.Errorf("the line has more than %d bytes", maxLine)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == nil, errors.Is(err, io.EOF):
			return line, nil
		}
		return nil, err
	}
}

// syncFolder makes the name of a new file durable.
func syncFolder(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("opening the journal's folder: %w", err)
	}
	defer d.Close()
	_ = d.Sync() // not every system can
	return nil
}

// Append implements [Journal].
func (j *File) Append(_ context.Context, e Entry) error {
	if j.broken != nil {
		return j.broken
	}
	e.Number = len(j.entries) + 1
	line, err := json.Marshal(e)
	if err == nil {
		_, err = j.f.Write(append(line, '\n'))
	}
	if err == nil {
		err = j.f.Sync()
	}
	if err != nil {
		j.broken = fmt.Errorf("writing the journal: %w", err)
		return j.broken
	}
	j.entries = append(j.entries, e)
	return nil
}

// Entries implements [Journal].
func (j *File) Entries(context.Context) ([]Entry, error) { return j.entries, nil }

// Close gives the file back.
func (j *File) Close() error { return j.f.Close() }
