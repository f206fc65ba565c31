package collect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/forest"
)

// A Source is what a scan needs of a domain controller; *dc.Reader is one.
type Source interface {
	Root() dc.RootDSE
	Server() dc.Server
	Domain() string
	Search(context.Context, dc.Request, func(dc.Entry) error) (dc.Result, error)
}

// Options say how to scan.
type Options struct {
	Tool     string           // name and version of the program, for the snapshot
	Account  string           // who reads, for the snapshot; no secret
	SACL     bool             // read audit entries too, where the account may
	Files    Files            // SYSVOL of the server in use; nil: not collected, and coverage says so
	Now      func() time.Time // clock; required
	Progress func(Progress)   // called often, from one goroutine at a time; may be nil
	// Restarted is told before the scan begins again, from nothing, on another
	// domain controller; may be nil.
	Restarted func(dc.Restart)
}

// Progress tells how far a scan is.
type Progress struct {
	Phase string // partition DN, or "SYSVOL"
	Count int    // objects or files read in this phase
	Done  bool   // the phase is complete
}

// A serverChange ends an attempt because another domain controller took over: the
// answers of two never mix, so everything is read again from the new one.
type serverChange struct{ dc.Restart }

func (e *serverChange) Error() string {
	return fmt.Sprintf("another domain controller took over: %s after %s: %v", e.To, e.From, e.Cause)
}

// Unwrap returns why the first one could not go on.
func (e *serverChange) Unwrap() error { return e.Cause }

// errUnasked is the cause of a change that the search was not asked about.
var errUnasked = errors.New("the reader had changed to it for another search")

// maxAttempts bounds how often a scan begins again on another domain controller.
const maxAttempts = 3

// Scan reads the domain of src. It returns a snapshot only if everything that the
// account may see was read to its end; what it may not see is in the coverage.
func Scan(ctx context.Context, src Source, opt Options) (*forest.Snapshot, error) {
	for attempt := 1; ; attempt++ {
		s, err := scanOnce(ctx, src, opt)
		var change *serverChange
		if err == nil || !errors.As(err, &change) || attempt == maxAttempts {
			return s, err
		}
		if opt.Restarted != nil {
			opt.Restarted(change.Restart)
		}
	}
}

// A scan is one attempt on one domain controller.
type scan struct {
	src    Source
	opt    Options
	root   dc.RootDSE
	server dc.Server
	sacl   bool
	schema *schemaView
	token  *readerToken

	mu    sync.Mutex // guards what follows: partitions are read side by side
	b     *forest.Builder
	read  []string // partitions that were read
	refs  []string // LDAP URLs of partitions that the server referred to
	other []string // domains of the forest beside this one
	// change is the first failure that made the reader change to another server.
	change *serverChange
	gaps   gapCount
}

func scanOnce(ctx context.Context, src Source, opt Options) (*forest.Snapshot, error) {
	sc := &scan{src: src, opt: opt, root: src.Root(), server: src.Server(), gaps: newGapCount()}
	sc.b = forest.NewBuilder(forest.Info{
		Source: "scan", Tool: opt.Tool, Started: opt.Now().UTC().Truncate(time.Second), Domain: src.Domain(),
	})
	sc.b.Collected(forest.Attrs()...)
	if err := sc.prepare(ctx); err != nil {
		return nil, err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return sc.partition(gctx, sc.root.ConfigurationNC) })
	g.Go(func() error { return sc.partition(gctx, sc.root.DefaultNC) })
	g.Go(func() error { return sc.files(gctx) })
	if err := g.Wait(); err != nil {
		return nil, sc.explain(err)
	}
	sc.cover()
	sc.b.SetFinished(opt.Now().UTC().Truncate(time.Second), sc.servers(), opt.Account)
	s, err := sc.b.Build()
	if err != nil {
		return nil, fmt.Errorf("building the snapshot of %s: %w", src.Domain(), err)
	}
	return s, nil
}

// prepare reads what the rest depends on: who reads, whether audit entries are
// granted, and the schema.
func (sc *scan) prepare(ctx context.Context) error {
	var err error
	if sc.token, err = sc.readToken(ctx); err != nil {
		return err
	}
	if sc.opt.SACL {
		if sc.sacl, err = sc.saclGranted(ctx); err != nil {
			return err
		}
	}
	sc.schema = newSchemaView()
	return sc.partition(ctx, sc.root.SchemaNC)
}

// saclGranted reads the domain's root object with its SACL. Without the privilege
// a domain controller leaves the descriptor out ([MS-ADTS] 3.1.1.3.4.1.11).
func (sc *scan) saclGranted(ctx context.Context) (bool, error) {
	granted := false
	_, err := sc.src.Search(ctx, dc.Request{
		Base: sc.root.DefaultNC, Scope: dc.ScopeBase, Attributes: []string{"nTSecurityDescriptor"},
		SDFlags: dc.SDOwner | dc.SDGroup | dc.SDDACL | dc.SDSACL, Restart: sc.changed,
	}, func(e dc.Entry) error {
		granted = hasSACL(e)
		return nil
	})
	return granted, err
}

// changed ends the attempt when a search would begin again elsewhere.
func (sc *scan) changed(r dc.Restart) error {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if sc.change == nil {
		sc.change = &serverChange{r}
	}
	return &serverChange{r}
}

// explain returns the failure that made the reader change, where err is only that
// another search began after the change.
func (sc *scan) explain(err error) error {
	if errors.Is(err, errUnasked) && sc.change != nil {
		return sc.change
	}
	return err
}

// partition reads one naming context to its end.
func (sc *scan) partition(ctx context.Context, nc string) error {
	q := dc.Request{
		Base: nc, Scope: dc.ScopeSubtree, Attributes: objectAttributes(),
		SDFlags: dc.SDOwner | dc.SDGroup | dc.SDDACL, LinkTTL: true, Restart: sc.changed,
	}
	if sc.sacl {
		q.SDFlags |= dc.SDSACL
	}
	if nc == sc.root.SchemaNC {
		q.Attributes = schemaAttributes()
	}
	n := 0
	res, err := sc.src.Search(ctx, q, func(e dc.Entry) error {
		n++
		if n%500 == 0 {
			sc.progress(Progress{Phase: nc, Count: n})
		}
		return sc.add(nc, e)
	})
	if err != nil {
		return fmt.Errorf("reading partition %s: %w", nc, err)
	}
	if res.Server.Name != sc.server.Name {
		return fmt.Errorf("reading partition %s: %w", nc, &serverChange{dc.Restart{From: sc.server, To: res.Server, Cause: errUnasked}})
	}
	sc.progress(Progress{Phase: nc, Count: n, Done: true})
	sc.mu.Lock()
	defer sc.mu.Unlock()
	sc.read = append(sc.read, nc)
	sc.refs = append(sc.refs, res.Referrals...)
	sc.b.Cover(forest.Coverage{Area: forest.AreaPartition, Subject: nc, State: "complete", Count: n})
	return nil
}

func (sc *scan) progress(p Progress) {
	if sc.opt.Progress == nil {
		return
	}
	sc.mu.Lock()
	defer sc.mu.Unlock()
	sc.opt.Progress(p)
}

// servers names the domain controller of each partition that was read.
func (sc *scan) servers() []string {
	out := make([]string, 0, len(sc.read))
	for _, nc := range sc.read {
		out = append(out, nc+" = "+sc.server.Name)
	}
	slices.Sort(out)
	return out
}

// add hands one object to the builder, with its gaps and its metadata.
func (sc *scan) add(nc string, e dc.Entry) error {
	in := forest.Entry{DN: e.DN, Attrs: make([]forest.Values, 0, len(e.Attributes))}
	var metadata []byte
	for _, a := range e.Attributes {
		if strings.EqualFold(a.Name, "replPropertyMetaData") && len(a.Values) > 0 {
			metadata = a.Values[0]
			continue
		}
		in.Attrs = append(in.Attrs, forest.Values{Name: a.Name, Vals: a.Values})
	}
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if nc == sc.root.SchemaNC {
		sc.schema.learn(e)
	}
	if err := sc.b.Add(in); err != nil {
		return fmt.Errorf("object of partition %s: %w", nc, err)
	}
	sc.noteDomain(e)
	sc.markGaps(nc, e)
	sc.addMetadata(e, metadata)
	return nil
}

// noteDomain remembers the other domains of the forest by their cross-references.
func (sc *scan) noteDomain(e dc.Entry) {
	dn := e.Value("nCName")
	if e.Value("nETBIOSName") != "" && dn != "" && !strings.EqualFold(dn, sc.root.DefaultNC) {
		sc.other = append(sc.other, dn)
	}
}
