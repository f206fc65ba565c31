package app

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/internal/configmgr/judge"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/report"
)

// ErrNoSite reports a question about slots that nothing tells of: no document was
// given, and the snapshot shows no site.
var ErrNoSite = errors.New("no site of Configuration Manager is known")

// Slots reads the built-in catalogue of the groups and accounts of Configuration
// Manager.
func Slots() (*configmgr.Catalogue, error) {
	cat, err := configmgr.Load()
	if err != nil {
		return nil, fmt.Errorf("reading the built-in catalogue of slots: %w", err)
	}
	return cat, nil
}

// Site is what is known of a hierarchy of Configuration Manager: what documents and the
// directory say, merged, with what they disagree about.
type Site struct {
	Catalogue *configmgr.Catalogue
	Snapshot  *forest.Snapshot // nil if none was given
	Document  *configmgr.Document
	Drift     []report.SlotDrift
	Files     []string // the documents
}

// ReadSite reads documents and merges them with what the directory shows. Either may be
// missing, not both. Names are resolved in the snapshot, if there is one.
func ReadSite(ctx context.Context, cat *configmgr.Catalogue, files []string, s *forest.Snapshot, now time.Time) (*Site, error) {
	var docs []*configmgr.Document
	for _, name := range files {
		d, err := ReadSlotDocument(ctx, cat, name, now)
		if err != nil {
			return nil, err
		}
		docs = append(docs, d)
	}
	if s != nil {
		// Differences are told by SID, so that one account in two spellings is none.
		for i, d := range docs {
			docs[i] = configmgr.ResolveNames(d, s, cat)
		}
		docs = append(docs, configmgr.Seen(s, configmgr.Provenance{Source: configmgr.Directory, Collector: "ldap", At: s.Info().Finished}))
	}
	doc := configmgr.Merge(docs...)
	if s != nil {
		// Once more: a name without domain may get its domain from a site that another
		// document describes.
		doc = configmgr.ResolveNames(doc, s, cat)
	}
	return &Site{Catalogue: cat, Snapshot: s, Document: doc, Drift: slotDrift(configmgr.Drift(docs...)), Files: files}, nil
}

func slotDrift(list []configmgr.Difference) []report.SlotDrift {
	out := make([]report.SlotDrift, 0, len(list))
	for _, d := range list {
		out = append(out, report.SlotDrift{Entry: d.Entry, Site: d.Site, Kind: string(d.Kind), Name: d.Name, Text: d.Text})
	}
	return out
}

// InitSlots returns a declared file to fill in, with what s shows of Configuration
// Manager.
func InitSlots(s *forest.Snapshot) (string, error) {
	cat, err := Slots()
	if err != nil {
		return "", err
	}
	return configmgr.Init(s, cat, configmgr.Provenance{Source: configmgr.Directory, Collector: "ldap", At: s.Info().Finished}), nil
}

// ReadSlotDocument reads one document: JSON, or YAML that people keep.
func ReadSlotDocument(ctx context.Context, cat *configmgr.Catalogue, name string, now time.Time) (*configmgr.Document, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, context.Cause(ctx))
	}
	data, err := ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	var d *configmgr.Document
	if isDeclared(name) {
		d, err = configmgr.ReadDeclared(filepath.Base(name), data, cat, configmgr.Provenance{Source: configmgr.Declared, Collector: "attestation", File: filepath.Base(name), At: now})
	} else {
		d, err = configmgr.ReadDocument(data)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return d, nil
}

// Judge decides every control of the catalogue at every site.
func (s *Site) Judge(now time.Time) (*judge.Assessment, error) {
	alphabet := configmgr.SecretAlphabet
	a, err := judge.Judge(judge.Input{
		Snapshot: s.Snapshot, Document: s.Document, Catalogue: s.Catalogue, Now: now, Alphabet: &alphabet,
	})
	if err != nil {
		return nil, fmt.Errorf("judging the slots: %w", err)
	}
	return a, nil
}

// Assess judges the slots and puts the outcomes into words.
func (s *Site) Assess(now time.Time) (*report.ConfigMgr, error) {
	a := &judge.Assessment{Hierarchy: s.Document.Hierarchy, Made: now, Sites: []judge.Site{}}
	if len(s.Document.Sites) > 0 {
		var err error
		if a, err = s.Judge(now); err != nil {
			return nil, err
		}
	}
	out := report.NewConfigMgr(s.Snapshot, s.Catalogue, s.Report(now), a)
	out.SystemManagement = SystemManagement(s.Snapshot)
	out.Separations = append(out.Separations, s.Catalogue.Separations(s.Document)...)
	return out, nil
}

// AssessSite judges the slots that documents and s tell of. It returns nil if no document
// is given and s holds no System Management container: then there is nothing to say.
func AssessSite(ctx context.Context, cat *configmgr.Catalogue, files []string, s *forest.Snapshot, now time.Time) (*report.ConfigMgr, error) {
	if len(files) == 0 && !SystemManagement(s) {
		return nil, nil
	}
	site, err := ReadSite(ctx, cat, files, s, now)
	if err != nil {
		return nil, err
	}
	return site.Assess(now)
}

// CheckSites returns ErrNoSite if nothing was judged because no site is known.
func (s *Site) CheckSites(r *report.ConfigMgr) error {
	if len(r.Sites) > 0 {
		return nil
	}
	if why, ok := s.Document.Read(configmgr.ClassSites, "", ""); !ok && s.Snapshot != nil {
		return fmt.Errorf("%w: no document names one, and the directory shows none (%s)", ErrNoSite, why)
	}
	return fmt.Errorf("%w: no document names one", ErrNoSite)
}

// SystemManagement reports whether a domain of s holds the container that sites publish
// to.
func SystemManagement(s *forest.Snapshot) bool {
	for _, d := range s.Domains() {
		if s.Lookup("CN=System Management,CN=System,"+d.DN) != forest.None {
			return true
		}
	}
	return false
}

// Report puts who fills the slots into words.
func (s *Site) Report(now time.Time) *report.Slots {
	return report.NewSlots(s.Catalogue, s.Document, s.Drift, now)
}
