package configmgr

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// referenceLines is the number of lines of the reference of 2015, the last of which
// has no line end.
const referenceLines = 593

// A checker validates what the decoder cannot: names and references.
type checker struct{ cat *Catalogue }

var (
	entryID      = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	controlID    = regexp.MustCompile(`^CM[GAX](-[A-Z0-9]{3})?-[0-9]{2}$`)
	techniqueID  = regexp.MustCompile(`^[A-Z]+-[0-9]+$`)
	otherRef     = regexp.MustCompile(`^(memdocs:[a-z0-9/._-]+|memdocs#[0-9]+|guide:[0-9]+(-[0-9]+)?|tool:[A-Za-z]+)$`)
	entryKinds   = []EntryKind{WindowsGroup, WindowsAccount, AccountList, FirmwareAccount}
	originKinds  = []OriginKind{FromReference, FromCurrentDocs, FromHardening, FromGuide, FromInterface, FromModel, FromDerivation, FromInference}
	statuses     = []CurrentStatus{CurrentListed, CurrentChanged, CurrentMerged, CurrentRemoved, CurrentUnsupported, CurrentRetired, CurrentAdded}
	rules        = []SeparationRule{MustDiffer, MustMatch, MustAlsoBe, MayShare, OnePer, Requires, Supersedes, SupersededBy, Related}
	scopes       = []Scope{PerAssignment, PerGroup, PerSite, PerHierarchy, PerDomain, PerStored, PerIdentity}
	severities   = []string{"critical", "high", "medium", "low", "info"}
	tiers        = []string{"T0", "T1", "T2", "T3", "M", "-"}
	confidences  = []string{"verified", "documented", "partly", "inferred", "unverified", "unknown"}
	releaseNames = []string{"2012", "2012-SP1", "2012-SP2", "2012-R2", "2012-R2-SP1", "current-branch"}
	strategies   = []Strategy{RotateReplace, RotateReset, RotateList, RotateSelf, RotateNothing}
	accountTypes = []string{"amt-firmware", "computer", "domain-principal-with-dp-access", "domain-security-group", "domain-user", "global-account", "group", "local", "local-user", "mobile-device", "site-server-computer", "sql-host-local-user", "user"}
	eachThings   = []Each{"", EachHost, EachPackage, EachSequence, EachLocation}
	onePerThings = []string{"task-sequence"}
)

// targets lists the kinds of things on which rights are needed.
var targets = []Target{
	OnFolder, OnShare, InLocalGroup, InDomainGroup, AsUserRight, OnContainer, InForest, InDomain, OnDatabase,
	OnNamespace, OnActivation, OnRole, OnClass, OnObjects, AsSetting, InExchange, AtProxy, AtMailServer, InWSUS,
	OnFirmware, OnFirmwareList, AsFirmwareState, OnClient, OnNetwork,
}

// forbiddenRights lists what an account may be forbidden.
var forbiddenRights = []string{
	"interactive-logon", "logon-locally", "domain-join", "domain-admin", "local-administrator", "sql-host-administrator",
	"database-write", "ad-write", "high-rights", "any-other-right", "more-than-command-needs", "roaming-profile",
	"run-programs", "pass-through", "password-change-in-place", "password-expiry", "manual-change", "file-permission",
	"direct-membership-edit", "used-by-secondary-site", "windows-account",
}

// check validates collectors and techniques.
func (f *commonFile) check(src *source) error {
	for _, name := range slices.Sorted(maps.Keys(f.Collectors)) {
		if c := f.Collectors[name]; !slices.Contains(tiers, c.Tier) || c.Needs == "" {
			return src.errorf("$.collectors."+name, "collector %s: tier %q is not one of %q, or needs is missing", name, c.Tier, tiers)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(f.Techniques)) {
		t := f.Techniques[id]
		if !techniqueID.MatchString(id) || t.Summary == "" || t.Kind != "attack" && t.Kind != "defence" {
			return src.errorf("$.techniques."+id, "technique %q needs a name like CRED-1, a summary and the kind attack or defence", id)
		}
	}
	return nil
}

// register records controls under their IDs.
func (k *checker) register(src *source, controls []*Control, e *Entry) error {
	for i, ctl := range controls {
		at := fmt.Sprintf("$.controls[%d]", i)
		if ctl == nil {
			return src.errorf(at, "control is empty")
		}
		if !controlID.MatchString(ctl.ID) {
			return src.errorf(at+".id", "id %q has not the form CMG-XXX-00, CMA-XXX-00 or CMX-00", ctl.ID)
		}
		if k.cat.controls[ctl.ID] != nil {
			return src.errorf(at+".id", "id %s is already used", ctl.ID)
		}
		ctl.Entry = e
		k.cat.controls[ctl.ID] = ctl
	}
	return nil
}

// controls validates the controls of one file.
func (k *checker) controls(src *source, controls []*Control) error {
	for i, ctl := range controls {
		at := fmt.Sprintf("$.controls[%d]", i)
		for _, f := range []struct{ name, value string }{
			{"title", ctl.Title},
			{"condition", ctl.Condition},
			{"remediation", ctl.Remediation},
		} {
			if f.value == "" {
				return src.errorf(at, "control %s: %s is missing", ctl.ID, f.name)
			}
		}
		if !slices.Contains(severities, ctl.Severity) {
			return src.errorf(at+".severity", "control %s: severity %q is not one of %q", ctl.ID, ctl.Severity, severities)
		}
		if !slices.Contains(scopes, ctl.Scope) {
			return src.errorf(at+".scope", "control %s: scope %q is not one of %q", ctl.ID, ctl.Scope, scopes)
		}
		if len(ctl.Evidence) == 0 {
			return src.errorf(at, "control %s names no evidence", ctl.ID)
		}
		for j, n := range ctl.Evidence {
			if _, ok := k.cat.Collectors[n.Collector]; !ok {
				return src.errorf(fmt.Sprintf("%s.evidence[%d].collector", at, j), "control %s: there is no collector %q", ctl.ID, n.Collector)
			}
		}
		if err := k.origin(src, at, ctl.Origin); err != nil {
			return err
		}
	}
	return nil
}

// origin validates where a fact comes from.
func (k *checker) origin(src *source, at string, o Origin) error {
	if len(o.Kinds) == 0 {
		return src.errorf(at, "origin is missing")
	}
	for _, kind := range o.Kinds {
		if !slices.Contains(originKinds, kind) {
			return src.errorf(at+".origin", "origin %q is not one of %q", kind, originKinds)
		}
	}
	if slices.Contains(o.Kinds, FromReference) && len(o.Lines) == 0 {
		return src.errorf(at+".origin", "origin reference without lines")
	}
	for _, n := range o.Lines {
		if n < 1 || n > referenceLines {
			return src.errorf(at+".lines", "line %d is not in the reference, which has %d lines", n, referenceLines)
		}
	}
	for _, r := range o.Refs {
		if techniqueID.MatchString(r) {
			if _, ok := k.cat.Techniques[r]; !ok {
				return src.errorf(at+".refs", "there is no technique %q", r)
			}
		} else if !otherRef.MatchString(r) {
			return src.errorf(at+".refs", "reference %q has no known form", r)
		}
	}
	return nil
}

// lines validates what is said about the lines of the reference.
func (k *checker) lines(src *source) error {
	seen := map[int]bool{}
	for i, n := range k.cat.Headings {
		if n < 1 || n > referenceLines || seen[n] {
			return src.errorf(fmt.Sprintf("$.headings[%d]", i), "heading %d is listed twice or not in the reference", n)
		}
		seen[n] = true
	}
	for i, l := range k.cat.Lines {
		at := fmt.Sprintf("$.lines[%d]", i)
		switch {
		case l.Line < 1 || l.Line > referenceLines || seen[l.Line]:
			return src.errorf(at, "line %d is listed twice or not in the reference", l.Line)
		case l.Says == "":
			return src.errorf(at, "line %d: says is missing", l.Line)
		case (len(l.Controls) == 0) != (l.Why != ""):
			return src.errorf(at, "line %d needs either controls or the reason why there are none", l.Line)
		}
		seen[l.Line] = true
		for j, id := range l.Controls {
			if k.cat.controls[id] == nil {
				return src.errorf(fmt.Sprintf("%s.controls[%d]", at, j), "line %d: there is no control %q", l.Line, id)
			}
		}
		for j, f := range l.Fields {
			if err := k.field(f); err != nil {
				return src.errorf(fmt.Sprintf("%s.fields[%d]", at, j), "line %d: %v", l.Line, err)
			}
		}
	}
	return nil
}

// field looks for a field of an entry that is not empty, such as network-access#rotation
// or sms-admins#lifecycle.members.
func (k *checker) field(name string) error {
	id, field, _ := strings.Cut(name, "#")
	e := k.cat.entries[id]
	if e == nil {
		return fmt.Errorf("there is no entry %q", id)
	}
	v := reflect.ValueOf(e).Elem()
	for part := range strings.SplitSeq(field, ".") {
		v = fieldByTag(v, part)
		if !v.IsValid() || v.IsZero() {
			return fmt.Errorf("entry %s has nothing under %q", id, field)
		}
	}
	return nil
}

// fieldByTag finds the field of a structure that a YAML key names.
func fieldByTag(v reflect.Value, key string) reflect.Value {
	if v.Kind() != reflect.Struct {
		return reflect.Value{}
	}
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("yaml") == key {
			return v.Field(i)
		}
	}
	return reflect.Value{}
}
