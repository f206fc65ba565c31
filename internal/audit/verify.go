package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// A Source reads a log, from a database or from an export.
type Source interface {
	// AuditHead returns the number of entries that the log says it has.
	AuditHead(ctx context.Context) (int64, error)
	// AuditCheckpoints returns the signed checkpoints that the log has.
	AuditCheckpoints(ctx context.Context) ([]string, error)
	// AuditRecords returns up to limit stored records from index from on,
	// ascending; fewer only at the end.
	AuditRecords(ctx context.Context, from int64, limit int) ([]Stored, error)
}

// Stored is a record as a source has it.
type Stored struct {
	Record        // Hashes is nil in an export, which has none
	Differ string // how what the source keeps beside the body differs from it; empty if it agrees
}

// A Kind is a way in which a log is not what was written.
type Kind string

// Kinds of problems.
const (
	Changed     Kind = "entry-changed"     // the entry is not the one that was hashed
	HashChanged Kind = "hash-changed"      // a stored hash is not that of what is below it
	Deleted     Kind = "entry-deleted"     // there is no entry of that number
	Moved       Kind = "entry-moved"       // the entry says that it belongs elsewhere
	Unreadable  Kind = "entry-unreadable"  // it is no entry, or no canonical one
	Differs     Kind = "columns-changed"   // what is kept to search by is not what the entry says
	Truncated   Kind = "log-truncated"     // entries at the end are gone
	Extended    Kind = "log-extended"      // more entries are there than the log says it has
	Rewritten   Kind = "log-rewritten"     // the entries are not those that were signed
	Unsigned    Kind = "checkpoint-forged" // a checkpoint is not signed by a known key, or is none
	State       Kind = "state-changed"     // what is stored is not what an entry says about it
)

// A Problem is one thing that was tampered with or damaged, and where.
type Problem struct {
	Kind  Kind   `json:"kind"`
	First int64  `json:"first"` // first entry that it concerns
	Last  int64  `json:"last"`  // last entry that it concerns
	Text  string `json:"text"`
}

// MaxProblems is how many problems a report lists; it counts all.
const MaxProblems = 1000

// A Report is what verification found. The log is sound if Count is 0; what was
// not signed by a known key is sound as far as Covered says.
type Report struct {
	Entries     int64     `json:"entries"`
	Root        string    `json:"root,omitempty"` // over the entries as they are; empty if some are missing
	Problems    []Problem `json:"problems"`
	Count       int       `json:"problem_count"`
	Checkpoints int       `json:"checkpoints"`         // signed by a known key, and true
	Covered     int64     `json:"covered"`             // entries that such a checkpoint is about
	KeyKnown    bool      `json:"key_known"`           // whether there was a key to verify checkpoints with
	Newer       int64     `json:"newer"`               // entries of a newer version, hashed but not read
	Open        []int64   `json:"open"`                // intents without an outcome: their effect is not known from the log
	Backwards   int64     `json:"time_went_backwards"` // entries that are earlier than the one before
}

// Sound reports whether nothing was found.
func (r *Report) Sound() bool { return r.Count == 0 }

// Contradict adds that something which is stored beside the log is not what an entry says
// about it; index is that of the entry, -1 if there is none.
func (r *Report) Contradict(index int64, format string, args ...any) {
	r.add(State, index, index, format, args...)
}

func (r *Report) add(kind Kind, first, last int64, format string, args ...any) {
	r.Count++
	if len(r.Problems) < MaxProblems {
		r.Problems = append(r.Problems, Problem{kind, first, last, fmt.Sprintf(format, args...)})
	}
}

const (
	batch  = 500        // records read at a time
	maxGap = 10_000_000 // numbers that may be missing in one place before verification gives up
)

// Verify reads a whole log and compares everything with everything: each entry
// with its number, its columns and its hash, each hash with those below it, the
// root at each checkpoint with what was signed, the log's end with its own count
// and with the checkpoints. Checkpoints are those of the log and those that somebody
// kept elsewhere; they count if one of the keys has signed them. It returns an error
// only if the log cannot be read.
func Verify(ctx context.Context, src Source, kept []string, keys ...Key) (*Report, error) {
	head, err := src.AuditHead(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading how many audit entries there are: %w", err)
	}
	stored, err := src.AuditCheckpoints(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the checkpoints: %w", err)
	}
	v := &verifier{report: &Report{Problems: []Problem{}, Open: []int64{}, KeyKnown: len(keys) > 0}, intents: map[int64]string{}}
	v.openCheckpoints(stored, kept, keys)
	v.compareRoots() // those about no entry
	for next := int64(0); ; {
		rows, err := src.AuditRecords(ctx, next, batch)
		if err != nil {
			return nil, fmt.Errorf("reading audit entries from %d on: %w", next, err)
		}
		for _, r := range rows {
			if !v.record(r) {
				return v.report, nil
			}
		}
		if len(rows) < batch {
			break
		}
		next = rows[len(rows)-1].Index + 1
	}
	v.end(head)
	return v.report, nil
}

// A node is the root of a complete subtree: its hash as it is stored, and as it
// follows from the entries; nil is not known.
type node struct {
	stored, computed *tlog.Hash
	doubt            *doubt
}

// A doubt is a node whose stored hash is not the computed one, until the node above
// tells which of the two is right.
type doubt struct {
	first, last int64
	level       int
}

type verifier struct {
	report      *Report
	checkpoints []Checkpoint // still to be compared, ascending
	good        int64        // size of the last checkpoint that was true
	size        int64        // entries seen, missing ones included
	pending     []node       // by level; those of the ones in size's binary form are complete
	intents     map[int64]string
	last        int64 // microseconds of the latest entry
}

// openCheckpoints sorts out what the keys have signed. Without a key, unsigned
// checkpoints count for what they say, but not as covering anything.
func (v *verifier) openCheckpoints(stored, kept []string, keys []Key) {
	for i, msg := range slices.Concat(stored, kept) {
		where := fmt.Sprintf("checkpoint %d of the log", i+1)
		if i >= len(stored) {
			where = fmt.Sprintf("kept checkpoint %d", i-len(stored)+1)
		}
		var c Checkpoint
		var err error
		if len(keys) > 0 {
			c, err = OpenCheckpoint(msg, keys...)
		} else {
			c, err = unsigned(msg)
		}
		if err != nil {
			v.report.add(Unsigned, c.Size, c.Size, "%s: %v", where, err)
			continue
		}
		v.checkpoints = append(v.checkpoints, c)
	}
	slices.SortStableFunc(v.checkpoints, func(a, b Checkpoint) int { return cmp.Compare(a.Size, b.Size) })
}

// record takes the next record; false ends the verification.
func (v *verifier) record(r Stored) bool {
	if r.Index < v.size {
		v.report.add(Moved, r.Index, r.Index, "entry %d stands after entry %d", r.Index, v.size-1)
		return true
	}
	if gap := r.Index - v.size; gap > 0 {
		v.report.add(Deleted, v.size, r.Index-1, "entries %d to %d are not there", v.size, r.Index-1)
		if gap > maxGap {
			v.report.Entries = v.size
			return false
		}
		for v.size < r.Index {
			v.grow(node{}, nil)
		}
	}
	v.content(r)
	computed := tlog.RecordHash(r.Body)
	leaf := node{computed: &computed}
	if r.Hashes == nil {
		v.grow(leaf, nil)
		return true
	}
	if want := levels(r.Index); len(r.Hashes) != want {
		v.report.add(HashChanged, r.Index, r.Index, "entry %d has %d hashes instead of %d", r.Index, len(r.Hashes), want)
		v.grow(leaf, nil)
		return true
	}
	leaf.stored = &r.Hashes[0]
	if *leaf.stored != computed {
		leaf.doubt = &doubt{r.Index, r.Index, 0}
	}
	v.grow(leaf, r.Hashes[1:])
	return true
}

// levels is how many hashes a record has.
func levels(index int64) int {
	n := 1
	for ; index&1 == 1; index >>= 1 {
		n++
	}
	return n
}

// content looks at what an entry says.
func (v *verifier) content(r Stored) {
	e, err := Decode(r.Body)
	switch {
	case errors.Is(err, ErrVersion):
		v.report.Newer++
		return
	case err != nil:
		v.report.add(Unreadable, r.Index, r.Index, "entry %d: %v", r.Index, err)
		return
	case e.Index != r.Index:
		v.report.add(Moved, r.Index, r.Index, "entry %d says that it is entry %d", r.Index, e.Index)
		return
	}
	if r.Differ != "" {
		v.report.add(Differs, r.Index, r.Index, "entry %d: %s", r.Index, r.Differ)
	}
	if at := e.Time.UnixMicro(); at < v.last {
		v.report.Backwards++
	} else {
		v.last = at
	}
	switch e.Phase {
	case Intent:
		v.intents[r.Index] = e.Action
	case Outcome:
		delete(v.intents, e.Answers)
	case Refusal, Fact:
	}
}

// grow adds a leaf and completes the subtrees above it, whose stored hashes are
// above, lowest first, or not known.
func (v *verifier) grow(cur node, above []tlog.Hash) {
	index := v.size
	level := 0
	for ; index>>level&1 == 1; level++ {
		left := v.pending[level]
		v.pending[level] = node{}
		var parent node
		if len(above) > level {
			parent.stored = &above[level]
		}
		if left.computed != nil && cur.computed != nil {
			h := tlog.NodeHash(*left.computed, *cur.computed)
			parent.computed = &h
		}
		first := index + 1 - int64(1)<<(level+1)
		v.judge(left, cur, &parent, doubt{first, index, level + 1})
		cur = parent
	}
	if level == len(v.pending) {
		v.pending = append(v.pending, node{})
	}
	v.pending[level] = cur
	v.size++
	v.compareRoots()
}

// judge compares a node with the two below it. The stored hashes of the two, if
// they fit the stored hash above, are what was once written; so a child in doubt has
// been changed below. If the computed ones fit, its hash has been.
func (v *verifier) judge(left, right node, parent *node, at doubt) {
	var doubts []*doubt
	for _, n := range []node{left, right} {
		if n.doubt != nil {
			doubts = append(doubts, n.doubt)
		}
	}
	if parent.stored == nil || left.stored == nil || right.stored == nil {
		v.settle(doubts, "")
		return
	}
	switch {
	case tlog.NodeHash(*left.stored, *right.stored) == *parent.stored:
		v.settle(doubts, Changed)
	case fits(left, right, *parent.stored):
		v.settle(doubts, HashChanged)
	default:
		v.settle(doubts, "")
		parent.doubt = &at
	}
}

// fits reports whether the stored hash above is that of the children with at least
// one computed hash in place of a stored one.
func fits(left, right node, above tlog.Hash) bool {
	for _, l := range []*tlog.Hash{left.stored, left.computed} {
		for _, r := range []*tlog.Hash{right.stored, right.computed} {
			if l != nil && r != nil && tlog.NodeHash(*l, *r) == above {
				return true
			}
		}
	}
	return false
}

// settle reports doubts as what they turned out to be. Where nothing tells, a leaf
// in doubt is a changed entry, and what is above it a changed hash.
func (v *verifier) settle(doubts []*doubt, kind Kind) {
	for _, d := range doubts {
		switch {
		case d.level == 0 && kind != HashChanged:
			v.report.add(Changed, d.first, d.last, "entry %d is not the one that was hashed", d.first)
		case d.level == 0:
			v.report.add(HashChanged, d.first, d.last, "the stored hash of entry %d was changed; the entry was not", d.first)
		default:
			v.report.add(HashChanged, d.first, d.last, "the stored hash of level %d over entries %d to %d is not that of the hashes below it: it was changed, or one of them with its entry", d.level, d.first, d.last)
		}
	}
}

// roots returns the root over what was seen, from the entries and from the stored
// hashes; nil where something is missing.
func (v *verifier) roots() (computed, stored *tlog.Hash) {
	pick := func(of func(node) *tlog.Hash) *tlog.Hash {
		var root *tlog.Hash
		for level := range v.pending {
			if v.size>>level&1 == 0 {
				continue
			}
			h := of(v.pending[level])
			if h == nil {
				return nil
			}
			if root != nil {
				sum := tlog.NodeHash(*h, *root)
				h = &sum
			}
			root = h
		}
		return root
	}
	return pick(func(n node) *tlog.Hash { return n.computed }), pick(func(n node) *tlog.Hash { return n.stored })
}

// compareRoots compares what was seen with the checkpoints of that size.
func (v *verifier) compareRoots() {
	for len(v.checkpoints) > 0 && v.checkpoints[0].Size == v.size {
		c := v.checkpoints[0]
		v.checkpoints = v.checkpoints[1:]
		computed, stored := v.roots()
		if v.size == 0 {
			empty, _ := tlog.TreeHash(0, nil) // of nothing: no error
			computed, stored = &empty, &empty
		}
		switch {
		case computed != nil && *computed == c.Root:
			v.good = c.Size
			if v.report.KeyKnown {
				v.report.Checkpoints++
				v.report.Covered = c.Size
			}
		case stored != nil && *stored == c.Root:
			// The hashes are those that were signed, so that the entries reported
			// as changed are all that was changed.
		case stored == nil && v.found(c.Size, Deleted, HashChanged, Moved), stored != nil && v.found(c.Size, HashChanged):
			// No root can be compared, or it is another for a reason that is known.
		default:
			v.report.add(Rewritten, v.good, c.Size-1, "the entries from %d to %d are not those that were signed on %s: some were rewritten together with their hashes",
				v.good, c.Size-1, c.Time.Format(timeLayout))
		}
	}
}

// found reports whether problems of these kinds were found since the last true
// checkpoint, before entry size.
func (v *verifier) found(size int64, kinds ...Kind) bool {
	return slices.ContainsFunc(v.report.Problems, func(p Problem) bool {
		return slices.Contains(kinds, p.Kind) && p.Last >= v.good && p.First < size
	})
}

// end compares the log's end with its count and with the checkpoints that are left.
func (v *verifier) end(head int64) {
	for level := range v.pending {
		if d := v.pending[level].doubt; d != nil && v.size>>level&1 == 1 {
			v.settle([]*doubt{d}, "")
		}
	}
	v.report.Entries = v.size
	if computed, _ := v.roots(); computed != nil {
		v.report.Root = computed.String()
	}
	switch {
	case head > v.size:
		v.report.add(Truncated, v.size, head-1, "the log says that it has %d entries, and %d are there", head, v.size)
	case head < v.size:
		v.report.add(Extended, head, v.size-1, "the log says that it has %d entries, and %d are there", head, v.size)
	}
	for _, c := range v.checkpoints {
		v.report.add(Truncated, v.size, c.Size-1, "%d entries were signed on %s, and %d are there", c.Size, c.Time.Format(timeLayout), v.size)
	}
	for index := range v.intents {
		v.report.Open = append(v.report.Open, index)
	}
	slices.Sort(v.report.Open)
}
