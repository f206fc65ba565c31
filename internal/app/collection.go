package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/leastwise/leastwise/internal/bloodhound"
	"github.com/leastwise/leastwise/internal/forest"
)

// isCollection reports whether head, the beginning of a file, can be that of a
// SharpHound collection.
func isCollection(head []byte) bool { return bloodhound.IsZip(head) || bloodhound.LooksLikeJSON(head) }

// addCollection adds a file of a SharpHound collection; r has read its beginning.
func addCollection(c *bloodhound.Collection, f *os.File, r *bufio.Reader, name string) error {
	name = filepath.Base(name)
	head, err := r.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) { // a shorter file is JSON, and the reader says what it lacks
		return err
	}
	if !bloodhound.IsZip(head) {
		return c.AddJSON(name, r)
	}
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() {
		return fmt.Errorf("%w: an archive is read from a file only", ErrInput)
	}
	return c.AddZip(name, f, fi.Size())
}

// loadCollection reads a collection that is one file.
func loadCollection(f *os.File, r *bufio.Reader, name, tool string, now time.Time) (*forest.Snapshot, error) {
	c := bloodhound.NewCollection()
	if err := addCollection(c, f, r, name); err != nil {
		return nil, err
	}
	return c.Snapshot(collectionInfo(tool, now))
}

func collectionInfo(tool string, now time.Time) forest.Info {
	return forest.Info{Tool: tool, Started: now, Finished: now}
}

// importCollection reads a collection that consists of several files.
func importCollection(ctx context.Context, names []string, tool string, now time.Time) (*forest.Snapshot, error) {
	c := bloodhound.NewCollection()
	for _, name := range names {
		err := withInput(ctx, name, func(f *os.File, r *bufio.Reader) error {
			if head, _ := r.Peek(64); !isCollection(head) {
				return fmt.Errorf("%w: it stands beside files of a SharpHound collection and is none", ErrInput)
			}
			return addCollection(c, f, r, name)
		})
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
	}
	return c.Snapshot(collectionInfo(tool, now))
}

// beginsCollection reports whether a file looks like one of a SharpHound collection.
func beginsCollection(name string) bool {
	f, err := openInput(name)
	if err != nil {
		return false // whoever reads it says so
	}
	defer f.Close()
	head := make([]byte, 64)
	n, err := io.ReadFull(f, head)
	return (err == nil || n > 0) && isCollection(head[:n])
}

// withInput opens a file for use, which ends early when ctx does.
func withInput(ctx context.Context, name string, use func(*os.File, *bufio.Reader) error) error {
	f, err := openInput(name)
	if err != nil {
		return err
	}
	defer f.Close()
	stop := context.AfterFunc(ctx, func() { f.Close() })
	defer stop()
	if err := use(f, bufio.NewReaderSize(f, 1<<20)); ctx.Err() != nil {
		return context.Cause(ctx)
	} else if err != nil {
		return err
	}
	return nil
}
