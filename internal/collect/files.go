package collect

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/forest"
)

// Files reads a SYSVOL share; *dc.Sysvol is one.
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

// files reads SYSVOL. Not being able to is coverage, not failure: the directory
// alone is worth a report.
func (sc *scan) files(ctx context.Context) error {
	domain := sc.src.Domain()
	if sc.opt.Files == nil {
		sc.coverFiles(forest.Coverage{Subject: domain, State: "not collected", Reason: sc.opt.NoFiles})
		return nil
	}
	n, bad := 0, 0
	root := domain + "/Policies"
	err := sc.opt.Files.Walk(ctx, root, dc.WalkOption{Want: wantFile, Descriptors: true}, func(f dc.File) error {
		n++
		if f.Err != nil {
			bad++
			sc.coverFiles(forest.Coverage{Subject: f.Path, State: "unreadable", Reason: f.Err.Error()})
		}
		sc.addFile(domain, f)
		sc.progress(Progress{Phase: "SYSVOL", Count: n})
		return nil
	})
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("reading SYSVOL of %s: %w", domain, err)
	case err != nil:
		sc.coverFiles(forest.Coverage{Subject: domain, State: "unreadable", Reason: err.Error()})
	case bad > 0:
		sc.coverFiles(forest.Coverage{Subject: domain, State: "partial", Count: bad, Reason: "some files could not be read"})
	default:
		sc.coverFiles(forest.Coverage{Subject: domain, State: "complete", Count: n})
	}
	sc.progress(Progress{Phase: "SYSVOL", Count: n, Done: true})
	return nil
}

// addFile hands a file to the builder. Folders are kept only if they could not be
// listed: what lies below them is then unreadable, too.
func (sc *scan) addFile(domain string, f dc.File) {
	if f.Dir && f.Err == nil || f.Err == nil && f.Data == nil {
		return
	}
	_, below, _ := strings.Cut(f.Path, "/")
	out := forest.File{Domain: domain, Path: below, Data: f.Data, State: forest.Known, SD: f.Descriptor}
	if f.Err != nil {
		out.Data, out.State, out.Reason = nil, forest.Unreadable, f.Err.Error()
	}
	sc.mu.Lock()
	defer sc.mu.Unlock()
	sc.b.AddFile(out)
}

func (sc *scan) coverFiles(c forest.Coverage) {
	c.Area = forest.AreaFile
	sc.mu.Lock()
	defer sc.mu.Unlock()
	sc.b.Cover(c)
}
