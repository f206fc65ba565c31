package configmgr

import (
	"fmt"
	"regexp"
	"slices"
)

// entry validates one entry with its controls.
func (k *checker) entry(src *source, e *Entry) error {
	for _, check := range []func(*source, *Entry) error{
		k.names, k.span, k.lifecycle, k.facts, k.rights, k.separations, k.rotation, k.references,
	} {
		if err := check(src, e); err != nil {
			return err
		}
	}
	return k.controls(src, e.Controls)
}

func (k *checker) names(src *source, e *Entry) error {
	switch {
	case !entryID.MatchString(e.ID):
		return src.errorf("$.id", "id %q is not in lower case with hyphens", e.ID)
	case e.Name == "":
		return src.errorf("$", "name is missing")
	case !slices.Contains(entryKinds, e.Kind):
		return src.errorf("$.kind", "kind %q is not one of %q", e.Kind, entryKinds)
	case !slices.Contains(statuses, e.Current):
		return src.errorf("$.current", "current %q is not one of %q", e.Current, statuses)
	case (e.Current == CurrentMerged) != (e.MergedInto != ""):
		return src.errorf("$.current", "merged_into belongs to entries that are merged, and only to them")
	case e.MergedInto != "" && k.cat.entries[e.MergedInto] == nil:
		return src.errorf("$.merged_into", "there is no entry %q", e.MergedInto)
	}
	for i, r := range e.Releases {
		if !slices.Contains(releaseNames, r) {
			return src.errorf(fmt.Sprintf("$.releases[%d]", i), "release %q is not one of %q", r, releaseNames)
		}
	}
	return nil
}

// span demands lines of entries that the reference has, and none of the others; spans
// must not overlap.
func (k *checker) span(src *source, e *Entry) error {
	first, last := e.Span[0], e.Span[1]
	if e.Current == CurrentAdded {
		if first != 0 || last != 0 {
			return src.errorf("$.span", "an added entry has no lines in the reference")
		}
		return nil
	}
	if first < 1 || last < first || last > referenceLines {
		return src.errorf("$.span", "span [%d, %d] is not within the %d lines of the reference", first, last, referenceLines)
	}
	for _, o := range k.cat.Entries {
		if o != e && o.InReference() && first <= o.Span[1] && o.Span[0] <= last {
			return src.errorf("$.span", "span [%d, %d] overlaps that of %s", first, last, o.ID)
		}
	}
	return nil
}

func (k *checker) lifecycle(src *source, e *Entry) error {
	if e.Kind != WindowsGroup {
		if e.Pattern != "" || e.Location.Text != "" || e.Lifecycle.ManagedBy != "" {
			return src.errorf("$.kind", "pattern, location and lifecycle belong to groups")
		}
		return nil
	}
	if _, err := regexp.Compile(e.Pattern); err != nil || e.Pattern == "" {
		return src.errorf("$.pattern", "pattern %q is not a regular expression", e.Pattern)
	}
	for _, f := range []struct {
		at   string
		fact Fact
	}{
		{"$.location", e.Location},
		{"$.lifecycle.created_by", e.Lifecycle.CreatedBy},
		{"$.lifecycle.members", e.Lifecycle.Members},
	} {
		if err := k.fact(src, f.at, f.fact); err != nil {
			return err
		}
	}
	return nil
}

func (k *checker) fact(src *source, at string, f Fact) error {
	if f.Text == "" {
		return src.errorf(at, "text is missing")
	}
	return k.origin(src, at, f.Origin)
}

func (k *checker) facts(src *source, e *Entry) error {
	if err := k.fact(src, "$.purpose", e.Purpose); err != nil {
		return err
	}
	if e.Default.Identity != "" {
		if err := k.origin(src, "$.default", e.Default.Origin); err != nil {
			return err
		}
	}
	for _, l := range []struct {
		name  string
		facts []Fact
	}{{"explicit_when", e.Explicit}, {"optional_when", e.Optional}, {"cleanup", e.Cleanup}} {
		for i, f := range l.facts {
			if err := k.fact(src, fmt.Sprintf("$.%s[%d]", l.name, i), f); err != nil {
				return err
			}
		}
	}
	if err := k.types(src, "allowed", e.Allowed); err != nil {
		return err
	}
	if err := k.types(src, "disallowed", e.Disallowed); err != nil {
		return err
	}
	return k.secrets(src, e)
}

func (k *checker) types(src *source, name string, list []AccountType) error {
	for i, t := range list {
		at := fmt.Sprintf("$.%s[%d]", name, i)
		if !slices.Contains(accountTypes, t.Type) {
			return src.errorf(at, "type %q is not one of %q", t.Type, accountTypes)
		}
		if err := k.origin(src, at, t.Origin); err != nil {
			return err
		}
	}
	return nil
}

func (k *checker) secrets(src *source, e *Entry) error {
	for i, s := range e.Secrets {
		at := fmt.Sprintf("$.secrets[%d]", i)
		if s.Where == "" {
			return src.errorf(at, "where is missing")
		}
		if !slices.Contains(confidences, s.Confidence) {
			return src.errorf(at+".confidence", "confidence %q is not one of %q", s.Confidence, confidences)
		}
		if err := k.origin(src, at, s.Origin); err != nil {
			return err
		}
	}
	return nil
}

func (k *checker) rights(src *source, e *Entry) error {
	for _, l := range []struct {
		name   string
		rights []Right
	}{{"required", e.Required}, {"related", e.Related}} {
		for i, r := range l.rights {
			at := fmt.Sprintf("$.%s[%d]", l.name, i)
			if !slices.Contains(targets, r.Target) {
				return src.errorf(at+".target", "target %q is not one of %q", r.Target, targets)
			}
			if len(r.Permissions) == 0 {
				return src.errorf(at, "permissions are missing")
			}
			if err := k.origin(src, at, r.Origin); err != nil {
				return err
			}
		}
	}
	for i, f := range e.Forbidden {
		at := fmt.Sprintf("$.forbidden[%d]", i)
		if !slices.Contains(forbiddenRights, f.Right) {
			return src.errorf(at+".right", "right %q is not one of %q", f.Right, forbiddenRights)
		}
		if err := k.fact(src, at, Fact{f.Text, f.Origin}); err != nil {
			return err
		}
	}
	return nil
}

func (k *checker) separations(src *source, e *Entry) error {
	for i, s := range e.Separation {
		at := fmt.Sprintf("$.separation[%d]", i)
		switch {
		case !slices.Contains(rules, s.Rule):
			return src.errorf(at+".rule", "rule %q is not one of %q", s.Rule, rules)
		case s.Rule == OnePer && !slices.Contains(onePerThings, s.Other):
			return src.errorf(at+".other", "one-per %q is not one of %q", s.Other, onePerThings)
		case s.Rule != OnePer && k.cat.entries[s.Other] == nil:
			return src.errorf(at+".other", "there is no entry %q", s.Other)
		case s.Other == e.ID:
			return src.errorf(at+".other", "an entry cannot stand in relation to itself")
		}
		if err := k.origin(src, at, s.Origin); err != nil {
			return err
		}
	}
	return nil
}

func (k *checker) rotation(src *source, e *Entry) error {
	r := e.Rotation
	if !slices.Contains(strategies, r.Strategy) {
		return src.errorf("$.rotation.strategy", "strategy %q is not one of %q", r.Strategy, strategies)
	}
	if r.Strategy == RotateNothing {
		return nil
	}
	if len(r.Steps) == 0 {
		return src.errorf("$.rotation", "strategy %s without steps", r.Strategy)
	}
	for i, s := range r.Steps {
		at := fmt.Sprintf("$.rotation.steps[%d]", i)
		if s.Do == "" {
			return src.errorf(at, "do is missing")
		}
		if !slices.Contains(eachThings, s.Each) {
			return src.errorf(at+".each", "each %q is not one of %q", s.Each, eachThings[1:])
		}
		if (s.Gate == "") != (s.See == "") {
			return src.errorf(at, "a gate needs see (how it is observed), and see needs a gate")
		}
	}
	return k.origin(src, "$.rotation", r.Origin)
}

// references validates the names of cross-cutting controls and techniques.
func (k *checker) references(src *source, e *Entry) error {
	for i, id := range e.CrossControls {
		at := fmt.Sprintf("$.cross[%d]", i)
		if c := k.cat.controls[id]; c == nil || c.Entry != nil {
			return src.errorf(at, "there is no cross-cutting control %q", id)
		}
		if slices.Index(e.CrossControls, id) != i {
			return src.errorf(at, "control %s is named twice", id)
		}
	}
	for i, id := range e.Techniques {
		if _, ok := k.cat.Techniques[id]; !ok {
			return src.errorf(fmt.Sprintf("$.techniques[%d]", i), "there is no technique %q", id)
		}
	}
	for i, d := range e.Discovery {
		if d.How == "" || !slices.Contains(confidences, d.Confidence) {
			return src.errorf(fmt.Sprintf("$.discovery[%d]", i), "discovery needs how, and a confidence of %q", confidences)
		}
	}
	return nil
}
