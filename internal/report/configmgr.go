package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/internal/configmgr/judge"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// ConfigMgr is the assessment of a Configuration Manager hierarchy, in a form for
// reading and for JSON. Make one with NewConfigMgr.
type ConfigMgr struct {
	Version          int  `json:"version"`           // 1; grows when a field changes its meaning or goes away
	DirectoryOnly    bool `json:"directory_only"`    // no document was given: nobody said who fills the slots
	SystemManagement bool `json:"system_management"` // the snapshot holds a System Management container
	*judge.Assessment
	Readings []configmgr.Reading `json:"readings"`
	Slots    []SlotRow           `json:"slots"`
	Stored   []SlotHolder        `json:"stored"`
	Drift    []SlotDrift         `json:"drift"`
	Accounts []SlotAccount       `json:"accounts"` // that fill slots, oldest secret first
	Gaps     []SlotGap           `json:"gaps"`     // what is missing, most wanted first
	// Rules between slots that are broken, or that cannot be decided, and slots that
	// share an account as a rule permits.
	Separations []configmgr.SeparationFinding `json:"separations"`

	counts []SlotsSite // sites with counts of slots
}

// SlotAccount is a principal with all the slots that it fills.
type SlotAccount struct {
	Name        string       `json:"name"`
	SID         *secdesc.SID `json:"sid,omitempty"`
	Slots       []SlotPlace  `json:"slots"`
	PasswordSet time.Time    `json:"password_set,omitzero"` // zero: not known, or none
	Disabled    bool         `json:"disabled,omitempty"`
	Tier0       bool         `json:"tier0,omitempty"` // control CMX-01 fails for it
}

// SlotPlace is a slot of a site that somebody fills.
type SlotPlace struct {
	Entry string `json:"entry"`
	Site  string `json:"site,omitempty"`
}

// SlotGap is evidence that is missing, with the controls that it would decide.
type SlotGap struct {
	Collector string   `json:"collector"`
	Tier      string   `json:"tier"`
	Needs     string   `json:"needs"` // rights that the collector needs
	Controls  []string `json:"controls"`
	Texts     []string `json:"texts"`
}

// tier0Control is the control about accounts in privileged groups.
const tier0Control = "CMX-01"

// NewConfigMgr puts an assessment and the slots that it is about into words.
func NewConfigMgr(snap *forest.Snapshot, c *configmgr.Catalogue, slots *Slots, a *judge.Assessment) *ConfigMgr {
	out := &ConfigMgr{
		Version: 1, Assessment: a, Readings: slots.Readings, Slots: slots.Slots, Stored: slots.Stored, Drift: slots.Drift,
		Accounts: []SlotAccount{}, Separations: []configmgr.SeparationFinding{}, counts: slots.Sites,
	}
	out.DirectoryOnly = !slices.ContainsFunc(slots.Readings, func(r configmgr.Reading) bool { return r.Source != configmgr.Directory })
	out.verdicts()
	out.accounts(snap)
	out.gaps(c)
	return out
}

// rank orders verdicts, worst first.
func rank(v judge.Verdict) int {
	return slices.Index([]judge.Verdict{judge.Fail, judge.Unknown, judge.Pass, judge.NotApplicable}, v)
}

// verdicts gives each cell the worst verdict of the controls of its slot, those that
// cross the entries included.
func (c *ConfigMgr) verdicts() {
	worst := map[[2]string]judge.Verdict{}
	take := func(entry, site string, v judge.Verdict) {
		k := [2]string{entry, strings.ToUpper(site)}
		if old, ok := worst[k]; entry != "" && (!ok || rank(v) < rank(old)) {
			worst[k] = v
		}
	}
	for _, s := range c.Sites {
		for _, o := range s.Outcomes {
			take(o.Entry, s.Code, o.Verdict)
			for _, i := range o.Instances {
				take(i.Subject.Entry, s.Code, i.Verdict)
			}
		}
	}
	for _, row := range c.Slots {
		for i := range row.Sites {
			row.Sites[i].Verdict = string(worst[[2]string{row.Entry, strings.ToUpper(row.Sites[i].Site)}])
		}
	}
}

// accounts lists who fills slots, with the age of the secret.
func (c *ConfigMgr) accounts(snap *forest.Snapshot) {
	at := map[string]int{}
	for _, row := range c.Slots {
		for _, cell := range row.Sites {
			for _, h := range cell.Holders {
				key := strings.ToLower(h.Name)
				if h.SID != nil {
					key = h.SID.String()
				}
				i, ok := at[key]
				if !ok {
					i = len(c.Accounts)
					at[key] = i
					c.Accounts = append(c.Accounts, slotAccount(snap, h))
				}
				place := SlotPlace{row.Entry, cell.Site}
				if !slices.Contains(c.Accounts[i].Slots, place) {
					c.Accounts[i].Slots = append(c.Accounts[i].Slots, place)
				}
			}
		}
	}
	for _, s := range c.Sites {
		for _, o := range s.Outcomes {
			if o.ID != tier0Control {
				continue
			}
			for _, inst := range o.Instances {
				if i, ok := at[sidText(inst.Subject.SID)]; ok && inst.Verdict == judge.Fail {
					c.Accounts[i].Tier0 = true
				}
			}
		}
	}
	slices.SortStableFunc(c.Accounts, func(a, b SlotAccount) int {
		if a.PasswordSet.IsZero() != b.PasswordSet.IsZero() {
			return pickInt(b.PasswordSet.IsZero(), -1, 1)
		}
		return cmp.Or(a.PasswordSet.Compare(b.PasswordSet), cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)))
	})
}

func pickInt(first bool, a, b int) int {
	if first {
		return a
	}
	return b
}

func slotAccount(snap *forest.Snapshot, h SlotHolder) SlotAccount {
	out := SlotAccount{Name: h.Name, SID: h.SID, Slots: []SlotPlace{}}
	if snap == nil || h.SID == nil {
		return out
	}
	id := snap.BySID(*h.SID)
	if id == forest.None || snap.IsA(id, "group") {
		return out
	}
	if t, state := snap.Time(id, forest.PwdLastSet); state == forest.Known {
		out.PasswordSet = t
	}
	const accountDisabled = 0x2 // ADS_UF_ACCOUNTDISABLE
	if uac, state := snap.Int(id, forest.UserAccountControl); state == forest.Known {
		out.Disabled = uac&accountDisabled != 0
	}
	return out
}

// gaps collects what unknown outcomes lack, by collector.
func (c *ConfigMgr) gaps(cat *configmgr.Catalogue) {
	c.Gaps = []SlotGap{}
	at := map[string]int{}
	for _, s := range c.Sites {
		for _, o := range s.Outcomes {
			for _, inst := range o.Instances {
				for _, m := range inst.Missing {
					i, ok := at[m.Collector]
					if !ok {
						i = len(c.Gaps)
						at[m.Collector] = i
						c.Gaps = append(c.Gaps, SlotGap{Collector: m.Collector, Tier: m.Tier, Needs: cat.Collectors[m.Collector].Needs, Controls: []string{}, Texts: []string{}})
					}
					g := &c.Gaps[i]
					if !slices.Contains(g.Controls, o.ID) {
						g.Controls = append(g.Controls, o.ID)
					}
					if !slices.Contains(g.Texts, m.Text) {
						g.Texts = append(g.Texts, m.Text)
					}
				}
			}
		}
	}
	for i := range c.Gaps {
		slices.Sort(c.Gaps[i].Texts)
		slices.Sort(c.Gaps[i].Controls)
	}
	slices.SortFunc(c.Gaps, func(a, b SlotGap) int {
		return cmp.Or(len(b.Controls)-len(a.Controls), cmp.Compare(a.Tier, b.Tier), cmp.Compare(a.Collector, b.Collector))
	})
}

// JSON writes the assessment as indented JSON.
func (c *ConfigMgr) JSON(w io.Writer) error {
	if err := writeJSON(w, c); err != nil {
		return fmt.Errorf("writing the assessment of Configuration Manager as JSON: %w", err)
	}
	return nil
}

// A SlotFailure is a failed instance of a control at a site.
type SlotFailure struct {
	Site     string
	Outcome  judge.Outcome
	Instance judge.Instance
}

// Failures lists what failed, worst first, then by site, control and subject.
func (c *ConfigMgr) Failures() []SlotFailure {
	var out []SlotFailure
	for _, s := range c.Sites {
		for o, i := range s.Failures {
			out = append(out, SlotFailure{s.Code, o, i})
		}
	}
	slices.SortStableFunc(out, func(a, b SlotFailure) int {
		return cmp.Or(
			slices.Index(slotSeverities(), a.Outcome.Severity)-slices.Index(slotSeverities(), b.Outcome.Severity),
			cmp.Compare(a.Site, b.Site), cmp.Compare(a.Outcome.ID, b.Outcome.ID), cmp.Compare(a.Instance.Subject.Name, b.Instance.Subject.Name))
	})
	return out
}

// FailedAtLeast counts the controls, once for each site, that failed with at least the
// severity level; nothing is at least no level.
func (c *ConfigMgr) FailedAtLeast(level string) int {
	n, limit := 0, slices.Index(slotSeverities(), level)
	for _, s := range c.Sites {
		for _, o := range s.Outcomes {
			if o.Verdict == judge.Fail && slices.Index(slotSeverities(), o.Severity) <= limit {
				n++
			}
		}
	}
	return n
}

// slotSeverities lists the severities of the catalogue, worst first.
func slotSeverities() []string { return []string{"critical", "high", "medium", "low", "info"} }

// subjectOf is what an instance is about, in words.
func subjectOf(s judge.Subject) string {
	text := s.Name
	if s.Default {
		text += " (nobody is configured)"
	}
	if s.Entry != "" {
		text += " as " + s.Entry
	}
	if s.Host != "" && !strings.EqualFold(s.Host, s.Name) {
		text += " on " + s.Host
	}
	if s.Location != "" {
		text += " for " + s.Location
	}
	return strings.TrimSpace(text)
}
