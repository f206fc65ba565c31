package control

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/leastwise/leastwise/internal/forest"
)

// A book holds the outcomes of all controls on one snapshot without the texts of
// findings, which it makes of single subjects when it is asked.
type book struct {
	w     *world
	ev    *evaluation // for later questions, of one goroutine
	pages []page      // by entry
	lists map[string]map[forest.ID]bool
}

// A page is what one control gave.
type page struct {
	tally   Tally
	objects map[forest.ID]verdict // all that did not pass
	sets    map[*hostSet]*Finding // that did not pass; nil of those that did
	whole   Outcome               // of the forest as a whole
	rest    map[string]*Finding   // of the forest and of what was not listed, by key
}

// A verdict is an outcome other than a pass. Two are equal if nothing of them that
// counts as growth differs.
type verdict struct {
	outcome Outcome
	lesser  bool
	mark    uint64 // of the offenders
}

// book evaluates the catalogue.
func (c *Catalogue) book(in Input, watch Watch, phase string) (*book, error) {
	if in.Snapshot == nil || in.Snapshot.Len() == 0 {
		return nil, fmt.Errorf("%w: the snapshot has no objects", ErrInput)
	}
	if err := watch.stopped(); err != nil {
		return nil, err
	}
	w := newWorld(in)
	if err := w.checkOptions(); err != nil {
		return nil, err
	}
	jobs := c.jobs(w)
	parts, errs := make([]page, len(jobs)), make([]error, len(jobs))
	var mu sync.Mutex // guards done
	done := 0
	parallel(w.workers, len(jobs), func() func(int) {
		ev := &evaluation{w: w}
		return func(i int) {
			if errs[i] = watch.stopped(); errs[i] == nil {
				parts[i], errs[i] = ev.page(c.entries[jobs[i].entry], jobs[i].ids)
			}
			mu.Lock()
			defer mu.Unlock()
			if done++; watch.Progress != nil {
				watch.Progress(phase, done, len(jobs))
			}
		}
	})
	if err := watch.stopped(); err != nil {
		return nil, err
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	b := &book{w: w, ev: &evaluation{w: w}, pages: make([]page, len(c.entries)), lists: map[string]map[forest.ID]bool{}}
	for i, j := range jobs {
		b.pages[j.entry].add(parts[i])
	}
	for i, e := range c.entries {
		b.unlisted(e, &b.pages[i])
	}
	return b, nil
}

// page decides one control for some of its subjects.
func (ev *evaluation) page(e *Entry, ids []forest.ID) (page, error) {
	switch sel := selectors[e.Select]; {
	case sel.whole:
		r, err := ev.job(e, nil)
		p := page{tally: r.tally, whole: r.tally.outcome(), rest: map[string]*Finding{}}
		for _, f := range r.findings {
			p.rest[f.Key()] = f
		}
		return p, err
	case sel.hosts:
		p := page{sets: map[*hostSet]*Finding{}}
		for _, h := range ev.w.hostSets() {
			if !slices.Contains(sel.role, h.role) {
				continue
			}
			var r result
			if err := ev.onHosts(e, h, &r); err != nil {
				return p, err
			}
			p.tally.addAll(r.tally)
			switch {
			case len(r.findings) > 0:
				p.sets[h] = r.findings[0]
			case r.tally.outcome() == Pass:
				p.sets[h] = nil
			}
		}
		return p, nil
	}
	p := page{objects: map[forest.ID]verdict{}}
	for _, id := range ids {
		out, _, err := ev.judgeObject(e, id)
		if err != nil {
			return p, e.errorf("%s: %v", ev.w.s.DN(id), err)
		}
		if !p.tally.count(out) || out == Pass {
			continue
		}
		v := verdict{outcome: out}
		if v.lesser, err = ev.isLesser(e, out); err != nil {
			return p, e.errorf("%s: %v", ev.w.s.DN(id), err)
		}
		if out == Fail {
			v.mark = ev.offenderMark()
		}
		p.objects[id] = v
	}
	return p, nil
}

// offenderMark sums up who or what failed.
func (ev *evaluation) offenderMark() uint64 {
	var items []item
	for _, o := range ev.offenders {
		items = append(items, ev.w.item(o))
	}
	h := fnv.New64a()
	for _, k := range keysOf(items) {
		_, _ = io.WriteString(h, k+"\x00") // a hash takes everything
	}
	return h.Sum64()
}

// add takes what the control gave for further subjects.
func (p *page) add(more page) {
	p.tally.addAll(more.tally)
	if p.objects == nil {
		p.objects = more.objects
	} else {
		maps.Copy(p.objects, more.objects)
	}
	if more.sets != nil {
		p.sets = more.sets
	}
	if more.rest != nil {
		p.rest, p.whole = more.rest, more.whole
	}
}

// unlisted adds the outcomes of what could not be listed.
func (b *book) unlisted(e *Entry, p *page) {
	r := result{tally: p.tally}
	whole := selectors[e.Select].whole
	if !whole {
		b.ev.unlistedOutcomes(e, &r)
	}
	if !b.w.holdsDomain() {
		b.ev.domainless(e, &r)
		if whole && r.tally != p.tally {
			p.rest, p.whole = nil, Unknown
		}
	}
	p.tally = r.tally
	for _, f := range r.findings {
		if p.rest == nil {
			p.rest = map[string]*Finding{}
		}
		p.rest[f.Key()] = f
	}
}

// onHosts returns the outcome for a host set, which may be nil, and the finding if there
// is one.
func (p *page) onHosts(h *hostSet) (Outcome, *Finding) {
	f, ok := p.sets[h]
	switch {
	case !ok:
		return NotConcerned, nil
	case f == nil:
		return Pass, nil
	}
	return f.Outcome, f
}

// ask decides for an object that did not fail: it may pass, or be none of the subjects.
func (b *book) ask(e *Entry, id forest.ID) (Outcome, error) {
	if !b.selects(e, id) {
		return NotConcerned, nil
	}
	out, _, err := b.ev.judgeObject(e, id)
	if err != nil {
		return "", e.errorf("%s: %v", b.w.s.DN(id), err)
	}
	if out == "" {
		return NotConcerned, nil
	}
	return out, nil
}

// selects reports whether an object is among the subjects of a control.
func (b *book) selects(e *Entry, id forest.ID) bool {
	list, known := b.lists[e.Select]
	if !known {
		sel, ok := selectors[e.Select]
		ids := b.w.everyDomain
		if ok {
			ids = func(string) []forest.ID { return sel.objects(b.w) }
		}
		list = map[forest.ID]bool{}
		for _, id := range ids(e.Select) {
			list[id] = true
		}
		b.lists[e.Select] = list
	}
	return list[id]
}

// finding decides for an object once more and puts the outcome into words.
func (b *book) finding(e *Entry, id forest.ID) (*Finding, error) {
	var r result
	if err := b.ev.onObjects(e, []forest.ID{id}, &r); err != nil || len(r.findings) == 0 {
		return nil, err
	}
	return r.findings[0], nil
}

// objectsOf returns the keys of both in order.
func objectsOf(a, b map[forest.ID]verdict) []forest.ID {
	return sorted(slices.Collect(maps.Keys(a)), slices.Collect(maps.Keys(b)))
}

// mergedKeys yields the keys of both, in order.
func mergedKeys(a, b map[string]*Finding) iter.Seq[string] {
	keys := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(keys)
	return slices.Values(slices.Compact(keys))
}
