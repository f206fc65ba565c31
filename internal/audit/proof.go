package audit

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// ErrProof reports a proof that does not prove what it should.
var ErrProof = errors.New("the proof does not hold")

// A Proof shows, without the rest of the log, either that one entry is in the log
// that a checkpoint is about (Entry is set), or that one checkpoint's log is the
// beginning of another's (Earlier is set).
type Proof struct {
	Version    int      `json:"leastwise-audit-proof"` // 1
	Key        string   `json:"key"`                   // that the checkpoints are said to be signed with
	Checkpoint string   `json:"checkpoint"`
	Index      int64    `json:"index"`
	Entry      string   `json:"entry,omitempty"`
	Earlier    string   `json:"earlier,omitempty"`
	Hashes     []string `json:"hashes"` // base64
}

// proofVersion is what this program writes and reads.
const proofVersion = 1

// maxProof is more hashes than a proof about 2^62 entries has.
const maxProof = 128

// ProveEntry proves that body is entry index of the log of a checkpoint that one of the
// keys has signed. The proof names that key.
func ProveEntry(ctx context.Context, h Hashes, keys []Key, checkpoint string, index int64, body []byte) (*Proof, error) {
	c, key, err := openWith(checkpoint, keys)
	if err != nil {
		return nil, err
	}
	if index < 0 || index >= c.Size {
		return nil, fmt.Errorf("proving entry %d: the checkpoint covers %d entries", index, c.Size)
	}
	p, err := tlog.ProveRecord(c.Size, index, &growing{ctx: ctx, tx: h, added: map[int64]tlog.Hash{}})
	if err != nil {
		return nil, fmt.Errorf("proving entry %d: %w", index, err)
	}
	proof := &Proof{Version: proofVersion, Key: key.String(), Checkpoint: checkpoint, Index: index, Entry: string(body), Hashes: hashTexts(p)}
	if _, err := proof.Check(keys...); err != nil { // the database may have been changed
		return nil, err
	}
	return proof, nil
}

// ProveConsistency proves that the log of the earlier of two signed checkpoints is
// the beginning of the later's, which may be signed by another of the keys. The proof
// names that of the later.
func ProveConsistency(ctx context.Context, h Hashes, keys []Key, earlier, later string) (*Proof, error) {
	a, err := OpenCheckpoint(earlier, keys...)
	if err != nil {
		return nil, err
	}
	b, key, err := openWith(later, keys)
	if err != nil {
		return nil, err
	}
	if a.Size < 1 || a.Size > b.Size {
		return nil, fmt.Errorf("proving consistency: %d entries are not before %d", a.Size, b.Size)
	}
	p, err := tlog.ProveTree(b.Size, a.Size, &growing{ctx: ctx, tx: h, added: map[int64]tlog.Hash{}})
	if err != nil {
		return nil, fmt.Errorf("proving consistency: %w", err)
	}
	proof := &Proof{Version: proofVersion, Key: key.String(), Checkpoint: later, Earlier: earlier, Hashes: hashTexts(p)}
	if _, err := proof.Check(keys...); err != nil {
		return nil, err
	}
	return proof, nil
}

// openWith opens a checkpoint, and says which of the keys has signed it.
func openWith(msg string, keys []Key) (c Checkpoint, signed Key, err error) {
	if c, err = OpenCheckpoint(msg, keys...); err != nil {
		return c, signed, err
	}
	for _, k := range keys {
		if _, err := OpenCheckpoint(msg, k); err == nil {
			signed = k
			break
		}
	}
	return c, signed, nil
}

// Check verifies the proof with keys that the caller trusts, and returns the
// checkpoint that it refers to.
func (p *Proof) Check(keys ...Key) (Checkpoint, error) {
	if p.Version != proofVersion || (p.Entry == "") == (p.Earlier == "") || len(p.Hashes) > maxProof {
		return Checkpoint{}, fmt.Errorf("%w: not a proof of version %d about either an entry or two checkpoints", ErrProof, proofVersion)
	}
	hashes := make([]tlog.Hash, len(p.Hashes))
	for i, text := range p.Hashes {
		raw, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil || len(raw) != tlog.HashSize {
			return Checkpoint{}, fmt.Errorf("%w: hash %d is none", ErrProof, i)
		}
		hashes[i] = tlog.Hash(raw)
	}
	c, err := OpenCheckpoint(p.Checkpoint, keys...)
	if err != nil {
		return Checkpoint{}, err
	}
	if p.Earlier != "" {
		return c, p.checkEarlier(c, hashes, keys)
	}
	if p.Index < 0 || p.Index >= c.Size {
		return c, fmt.Errorf("%w: the checkpoint covers %d entries, not entry %d", ErrProof, c.Size, p.Index)
	}
	if tlog.CheckRecord(hashes, c.Size, c.Root, p.Index, tlog.RecordHash([]byte(p.Entry))) != nil {
		return c, fmt.Errorf("%w: this is not entry %d of the log with that checkpoint", ErrProof, p.Index)
	}
	return c, nil
}

// checkEarlier compares hashes, not names: a log whose key was lost may go on under
// another name, and the hashes alone say whether it is the same log.
func (p *Proof) checkEarlier(c Checkpoint, hashes tlog.TreeProof, keys []Key) error {
	a, err := OpenCheckpoint(p.Earlier, keys...)
	if err != nil {
		return err
	}
	if a.Size < 1 || a.Size > c.Size || tlog.CheckTree(hashes, c.Size, c.Root, a.Size, a.Root) != nil {
		return fmt.Errorf("%w: the log of %d entries is not the beginning of that of %d", ErrProof, a.Size, c.Size)
	}
	return nil
}

func hashTexts(hashes []tlog.Hash) []string {
	out := make([]string, len(hashes))
	for i, h := range hashes {
		out[i] = h.String()
	}
	return out
}
