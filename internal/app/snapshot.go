package app

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/forest/fixture"
	"github.com/leastwise/leastwise/internal/heap"
)

// ErrInput reports a file whose content is none of the forms that can be read.
var ErrInput = errors.New("neither a snapshot, LDIF, a SharpHound collection nor a fixture")

// Load reads a forest from a file: a snapshot, LDIF (ldapsearch, ldifde), a
// SharpHound collection (zip, or JSON that holds all) or a fixture. Which of them it is, is decided by its content. now is the reference
// time of a fixture.
func Load(ctx context.Context, name, tool string, now time.Time) (*forest.Snapshot, error) {
	f, err := openInput(name)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	defer f.Close()
	stop := context.AfterFunc(ctx, func() { f.Close() })
	defer stop()
	r := bufio.NewReaderSize(f, 1<<20)
	s, err := load(f, r, name, tool, now)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("reading %s: %w", name, context.Cause(ctx))
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return s, nil
}

// errUTF16 reports a text file in the form that PowerShell 5 writes by default.
var errUTF16 = errors.New("it is UTF-16: save it as UTF-8")

// maxText is how many bytes a file may have that a person wrote.
const maxText = 64 << 20

// ReadFile reads a file of UTF-8 text that a person wrote, without the byte order
// mark that some editors put before it. Errors leave out the name and the system
// call, because the caller says what was being read.
func ReadFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, cause(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if len(data) > maxText {
		return nil, fmt.Errorf("it is larger than %d bytes", maxText)
	}
	if bytes.HasPrefix(data, []byte{0xFF, 0xFE}) || bytes.HasPrefix(data, []byte{0xFE, 0xFF}) {
		return nil, errUTF16
	}
	return bytes.TrimPrefix(data, []byte("\ufeff")), cause(err)
}

// cause takes the name of the file and of the system call out of err.
func cause(err error) error {
	var (
		p *fs.PathError
		l *os.LinkError
	)
	switch {
	case errors.As(err, &p):
		return p.Err
	case errors.As(err, &l):
		return l.Err
	}
	return err
}

// openInput opens a file for reading; see cause for its errors.
func openInput(name string) (*os.File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, cause(err)
	}
	if fi, err := f.Stat(); err == nil && fi.IsDir() {
		f.Close()
		return nil, fmt.Errorf("%w: it is a folder", ErrInput)
	}
	return f, nil
}

// size returns how many bytes a regular file has, 0 for anything else.
func size(f *os.File) int64 {
	if fi, err := f.Stat(); err == nil && fi.Mode().IsRegular() {
		return fi.Size()
	}
	return 0
}

// load reads a file of any form.
func load(f *os.File, r *bufio.Reader, name, tool string, now time.Time) (*forest.Snapshot, error) {
	head, err := r.Peek(64)
	if err != nil && len(head) == 0 {
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%w: the file is empty", ErrInput)
		}
		return nil, err
	}
	switch {
	case forest.IsSnapshot(head) && size(f) > forest.MaxFile:
		return nil, fmt.Errorf("%w: %d bytes are more than any snapshot has", ErrInput, size(f))
	case forest.IsSnapshot(head):
		heap.Expect(size(f))
		return forest.Read(r)
	case isFixture(name):
		f, err := fixture.ParseFS(os.DirFS(filepath.Dir(name)), filepath.Base(name))
		if err != nil {
			return nil, err
		}
		return f.Snapshot(now)
	case isCollection(head):
		return loadCollection(f, r, name, tool, now)
	case isText(head):
		b := newImport(tool, now)
		if err := forest.ReadLDIF(r, b); err != nil {
			return nil, err
		}
		return b.Build()
	}
	return nil, ErrInput
}

func isFixture(name string) bool {
	ext := strings.ToLower(filepath.Ext(name))
	return ext == ".yaml" || ext == ".yml"
}

// isText reports whether head looks like UTF-8 or UTF-16 text.
func isText(head []byte) bool {
	if bytes.HasPrefix(head, []byte{0xFF, 0xFE}) || bytes.HasPrefix(head, []byte{0xFE, 0xFF}) {
		return true
	}
	return !bytes.ContainsFunc(head, func(r rune) bool {
		return r < ' ' && r != '\t' && r != '\r' && r != '\n'
	})
}

// Import reads one forest from several files: LDIF exports of its partitions are
// put together, and so are the files of a SharpHound collection; a snapshot or
// fixture stands alone.
func Import(ctx context.Context, names []string, tool string, now time.Time) (*forest.Snapshot, error) {
	if len(names) == 1 {
		return Load(ctx, names[0], tool, now)
	}
	if slices.ContainsFunc(names, beginsCollection) {
		return importCollection(ctx, names, tool, now)
	}
	b := newImport(tool, now)
	for _, name := range names {
		if err := importLDIF(ctx, b, name); err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
	}
	return b.Build()
}

func newImport(tool string, now time.Time) *forest.Builder {
	return forest.NewBuilder(forest.Info{Source: "ldif", Tool: tool, Started: now, Finished: now})
}

func importLDIF(ctx context.Context, b *forest.Builder, name string) error {
	return withInput(ctx, name, func(_ *os.File, r *bufio.Reader) error {
		if head, _ := r.Peek(64); len(head) == 0 || forest.IsSnapshot(head) || !isText(head) {
			return fmt.Errorf("%w: several files can only be LDIF or parts of a SharpHound collection", ErrInput)
		}
		return forest.ReadLDIF(r, b)
	})
}

// SaveSnapshot writes a snapshot file; see WriteFile.
func SaveSnapshot(ctx context.Context, name string, s *forest.Snapshot) error {
	return WriteFile(ctx, name, s.Write)
}
