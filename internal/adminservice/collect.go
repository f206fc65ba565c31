package adminservice

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/internal/dc"
)

// Collector is the name of this reader in the catalogue and in readings.
const Collector = "adminservice"

// A Result is what was read of a site.
type Result struct {
	Site     Site                // whose provider answered
	Document *configmgr.Document // its readings say what is not complete
	Notices  []configmgr.Notice  // what a person should know of single rows
}

// Gaps returns the readings that are not complete.
func (r *Result) Gaps() []configmgr.Reading {
	var out []configmgr.Reading
	for _, v := range r.Document.Readings {
		if v.Missing != "" {
			out = append(out, v)
		}
	}
	return out
}

// An outcome is how the reading of one class ended.
type outcome struct {
	ask configmgr.Ask
	err error
}

// Collect reads everything that package configmgr asks of a site. It fails only if the
// probe does or ctx ends; a class that cannot be read is a reading that says why.
func Collect(ctx context.Context, c *Client) (*Result, error) {
	site, err := c.Identify(ctx)
	if err != nil {
		return nil, err
	}
	b := configmgr.NewBuilder(configmgr.Provenance{Source: configmgr.Collected, Collector: Collector, Site: strings.ToUpper(site.Code), At: c.opt.Now().UTC()})
	var (
		outcomes []outcome
		sites    = siteTable{own: strings.ToUpper(site.Code), sites: map[string]*siteRow{}}
		fatal    error
	)
	for _, ask := range configmgr.Asks() {
		if ask.Synthetic() {
			continue
		}
		if fatal != nil {
			outcomes = append(outcomes, outcome{ask, fatal})
			continue
		}
		rows, err := c.read(ctx, ask)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		sites.learn(ask, rows)
		err = errors.Join(err, c.add(b, ask, rows))
		c.opt.Progress(Progress{Class: ask.Class, Rows: len(rows), Done: true, Err: err})
		outcomes = append(outcomes, outcome{ask, err})
		if hopeless(err) {
			fatal = err
		}
	}
	for _, o := range outcomes {
		if err := finish(b, o, sites.of(o.ask)); err != nil {
			return nil, err
		}
	}
	notices := b.Notices()
	return &Result{Site: site, Document: b.Document(), Notices: notices}, nil
}

// read reads one class with its lazy columns.
func (c *Client) read(ctx context.Context, ask configmgr.Ask) ([]configmgr.Row, error) {
	rows, err := c.class(ctx, ask)
	if ask.Optional && errors.Is(err, ErrNoClass) {
		return nil, nil // the site does not have the feature
	}
	if err != nil {
		return nil, err
	}
	if err := c.fill(ctx, ask, rows); err != nil {
		return rows, err
	}
	return rows, c.doubt(ask, rows)
}

// add hands rows to b. A row that is refused does not keep the others out.
func (c *Client) add(b *configmgr.Builder, ask configmgr.Ask, rows []configmgr.Row) error {
	var (
		first error
		bad   int
	)
	for _, row := range rows {
		if err := b.Add(ask.Class, row); err != nil {
			bad++
			if first == nil {
				first = err
			}
		}
	}
	if bad == 0 {
		return nil
	}
	return &Error{Kind: ErrRow, Host: c.host, Class: ask.Class, Detail: fmt.Sprintf("%d of %d rows", bad, len(rows)), Err: first}
}

// hopeless reports whether what went wrong will go wrong for every other class: the
// account, the certificate, the name. A service that is slow or breaks off may do
// better the next time.
func hopeless(err error) bool {
	if errors.Is(err, ErrUnauthorized) {
		return true
	}
	var e *Error
	if !errors.As(err, &e) || e.Kind != ErrTransport {
		return false
	}
	k := dc.KindOf(e)
	return k != 0 && k != dc.ErrConnectionLost && k != dc.ErrTimeout
}

// finish says how far a class was read, for each scope.
func finish(b *configmgr.Builder, o outcome, scopes []scope) error {
	for _, s := range scopes {
		why := s.missing
		if o.err != nil {
			why = missing(o.err)
		}
		if err := b.Done(o.ask.Class, s.site, "", why); err != nil {
			return err
		}
	}
	return nil
}

// A scope is a site, or "" for the hierarchy, and why it is not complete.
type scope struct{ site, missing string }

// A siteRow is what decides whether a provider speaks for a site.
type siteRow struct {
	central bool
	parent  string
	rows    map[configmgr.Class]bool // classes of facts of which rows came
}

// A siteTable tells for which sites a provider speaks: its own, those below it, and
// those of which it sent rows; the provider of the central site speaks for all.
type siteTable struct {
	own   string
	sites map[string]*siteRow
}

func (t *siteTable) site(code string) *siteRow {
	if t.sites[code] == nil {
		t.sites[code] = &siteRow{rows: map[configmgr.Class]bool{}}
	}
	return t.sites[code]
}

// learn takes what rows say of sites.
func (t *siteTable) learn(ask configmgr.Ask, rows []configmgr.Row) {
	for _, row := range rows {
		if to := column(row, "DesSiteCode"); siteCode(to) {
			t.site(to)
		}
		code := column(row, "SiteCode")
		if !siteCode(code) {
			continue
		}
		s := t.site(code)
		s.rows[ask.Facts] = true
		if ask.Facts != configmgr.ClassSites {
			continue
		}
		for _, name := range []string{"ReportingSiteCode", "ParentSiteCode"} {
			if p := column(row, name); siteCode(p) {
				s.parent = p
				t.site(p)
			}
		}
		s.central = s.central || column(row, "Type") == "4" || column(row, "SiteType") == "4"
	}
}

// column returns a value of a row as upper-case text.
func column(row configmgr.Row, name string) string {
	for k, v := range row {
		if strings.EqualFold(k, name) && v != nil {
			return strings.ToUpper(strings.TrimSpace(fmt.Sprint(v)))
		}
	}
	return ""
}

// of returns the scopes of a class: every site that is known, for facts that are a
// site's own. There may be sites that nobody has named, so that no reading of these
// facts covers the whole hierarchy.
func (t *siteTable) of(ask configmgr.Ask) []scope {
	switch ask.Facts {
	case configmgr.ClassAccounts, configmgr.ClassSiteRoles, configmgr.ClassComponents:
	default:
		return []scope{{}} // data of the whole hierarchy, which every site has
	}
	t.site(t.own)
	var out []scope
	for code, s := range t.sites {
		one := scope{site: code}
		if !t.speaksFor(code) && !s.rows[ask.Facts] {
			one.missing = fmt.Sprintf("the provider of site %s sent no rows of site %s: ask a provider of that site", t.own, code)
		}
		out = append(out, one)
	}
	return out
}

// speaksFor reports whether the provider's own site is code, its parent's parent, or
// the central site.
func (t *siteTable) speaksFor(code string) bool {
	if own := t.sites[t.own]; own != nil && own.central {
		return true
	}
	for range 4 { // a hierarchy has three tiers
		if code == t.own {
			return true
		}
		s := t.sites[code]
		if s == nil || s.parent == "" {
			return false
		}
		code = s.parent
	}
	return false
}
