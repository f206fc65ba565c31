package forest

import (
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// A Change is the replication metadata of an attribute or of one link value: its
// last originating change ([MS-ADTS] 3.1.1.3.3.15, msDS-ReplAttributeMetaData).
type Change struct {
	Version uint32
	Time    time.Time    // UTC, seconds
	DSA     secdesc.GUID // invocation ID of the DC on which it was made
	Server  string       // name of that DC if known
	Deleted time.Time    // link values only: when the value was removed; zero if present
	Created time.Time    // link values only
}

// metaTable holds replication metadata for the attributes that findings cite.
type metaTable struct {
	attrs map[problemKey]Change
	links map[linkKey]Change
}

type linkKey struct {
	from ID
	attr Attr
	to   ID
}

// LastChange returns the replication metadata of attribute a of id.
func (s *Snapshot) LastChange(id ID, a Attr) (Change, bool) {
	c, ok := s.meta.attrs[problemKey{id, a}]
	return c, ok
}

// LastLinkChange returns the replication metadata of the link from→to.
func (s *Snapshot) LastLinkChange(from ID, a Attr, to ID) (Change, bool) {
	c, ok := s.meta.links[linkKey{from, a, to}]
	return c, ok
}
