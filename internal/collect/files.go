package collect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/forest"
)

// Files reads a SYSVOL share; *dc.Sysvol is one. A scan that begins again on
// another domain controller walks again.
type Files interface {
	Walk(ctx context.Context, root string, opt dc.WalkOption, fn func(dc.File) error) error
}

// wanted are the names of the files that engines read, in lower case.
var wanted = map[string]bool{
	"gpt.ini": true, "gpttmpl.inf": true, "registry.pol": true, "groups.xml": true, "audit.csv": true,
	"scripts.ini": true, "psscripts.ini": true, "scheduledtasks.xml": true, "services.xml": true,
}

// wantFile reports whether engines read the file.
func wantFile(name string, _ int64) bool { return wanted[strings.ToLower(path.Base(name))] }

// errReparse is why a file or folder that stands for another one is not read.
var errReparse = errors.New("it is a reparse point, which is not followed")

// A fileCount counts what a walk met.
type fileCount struct {
	read, bad int
	bare      int   // files and folders whose descriptor could not be read
	why       error // of the first of them
}

// files reads SYSVOL. Not being able to is coverage, not failure: the directory
// alone is worth a report.
func (sc *scan) files(ctx context.Context) error {
	root := sc.src.Domain() + "/Policies"
	if sc.opt.Files == nil {
		sc.coverFiles(forest.Coverage{Subject: root, State: "not collected", Reason: "SYSVOL was not asked for"})
		return nil
	}
	var n fileCount
	err := sc.opt.Files.Walk(ctx, root, dc.WalkOption{Want: wantFile, Descriptors: true}, func(f dc.File) error {
		sc.file(f, &n)
		return nil
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("reading SYSVOL of %s: %w", sc.src.Domain(), err)
	case err != nil: // what the walk did not reach is then unreadable, not absent
		sc.coverFiles(forest.Coverage{Subject: root, State: "unreadable", Reason: err.Error()})
	case n.bad > 0:
		sc.coverFiles(forest.Coverage{Subject: root, State: "partial", Count: n.bad, Reason: "some files could not be read"})
	default:
		sc.coverFiles(forest.Coverage{Subject: root, State: "complete", Count: n.read})
	}
	if n.bare > 0 {
		sc.coverFiles(forest.Coverage{
			Area: forest.AreaDescriptor, Subject: root, State: "partial", Count: n.bare,
			Reason: "the permissions of these files could not be read; the first: " + n.why.Error(),
		})
	}
	sc.progress(Progress{Phase: "SYSVOL", Count: n.read, Done: err == nil})
	return nil
}

// file takes what the walk met, and counts it.
func (sc *scan) file(f dc.File, n *fileCount) {
	n.read++
	if f.Link && f.Err == nil {
		f.Err = errReparse
	}
	if f.Err != nil {
		n.bad++
		sc.coverFiles(forest.Coverage{Subject: f.Path, State: "unreadable", Reason: f.Err.Error()})
	}
	if f.DescriptorErr != nil {
		if n.bare++; n.bare == 1 {
			n.why = fmt.Errorf("%s: %w", f.Path, f.DescriptorErr)
		}
	}
	sc.addFile(f)
	sc.progress(Progress{Phase: "SYSVOL", Count: n.read})
}

// addFile hands a file to the builder. Folders are kept only if they could not be
// listed: what lies below them is then unreadable, too.
func (sc *scan) addFile(f dc.File) {
	if f.Dir && f.Err == nil || f.Err == nil && f.Data == nil {
		return
	}
	_, below, _ := strings.Cut(f.Path, "/")
	out := forest.File{Domain: sc.src.Domain(), Path: below, Data: f.Data, State: forest.Known, SD: f.Descriptor}
	if f.Err != nil {
		out.Data, out.State, out.Reason = nil, forest.Unreadable, f.Err.Error()
	}
	sc.mu.Lock()
	defer sc.mu.Unlock()
	sc.b.AddFile(out)
}

func (sc *scan) coverFiles(c forest.Coverage) {
	c.Area = cmp.Or(c.Area, forest.AreaFile)
	sc.mu.Lock()
	defer sc.mu.Unlock()
	sc.b.Cover(c)
}
