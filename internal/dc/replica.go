package dc

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// TimeBoundLinks reports whether the directory ends memberships by itself: the domain
// controller of the object knows the control, and the forest has enabled the Privileged
// Access Management feature ([MS-ADTS] 3.1.1.9). Enabling it cannot be taken back and is
// nothing that this package does. Samba has neither.
func (w *Writer) TimeBoundLinks(ctx context.Context, object secdesc.GUID) (bool, error) {
	l, c, err := w.acquire(ctx, object)
	if err != nil {
		return false, err
	}
	defer w.put(l, c)
	w.mu.Lock()
	root := l.root
	w.mu.Unlock()
	if !root.Supports(oidLinkTTL) {
		return false, nil
	}
	return c.featureEnabled(ctx, root, pamFeature)
}

// pamFeature is the GUID of the Privileged Access Management feature.
var pamFeature = secdesc.MustGUID("ec43e873-cce8-4640-b4ab-07ffe4ab5bcd")

// featureEnabled reports whether an optional feature is enabled in the forest: the
// crossRefContainer names it in msDS-EnabledFeature.
func (c *conn) featureEnabled(ctx context.Context, root RootDSE, feature secdesc.GUID) (bool, error) {
	q := Request{
		Base:  "CN=Optional Features,CN=Directory Service,CN=Windows NT,CN=Services," + root.ConfigurationNC,
		Scope: ScopeOne, Filter: "(msDS-OptionalFeatureGUID=" + escapeBytes(feature[:]) + ")", Attributes: []string{"msDS-EnabledFeatureBL"},
	}
	entries, r, err := c.lookup(ctx, q, nil)
	switch {
	case err != nil:
		return false, err
	case r.code == resultNoSuchObject:
		return false, nil
	case r.code != resultSuccess:
		return false, resultError("reading the optional features", c.server.String(), r)
	}
	return len(entries) == 1 && len(entries[0].Values("msDS-EnabledFeatureBL")) > 0, nil
}

// escapeBytes writes bytes as the value of a filter (RFC 4515).
func escapeBytes(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		fmt.Fprintf(&s, `\%02x`, c)
	}
	return s.String()
}

// A ReplicaState says whether a change has reached a domain controller.
type ReplicaState uint8

// States of a change on another domain controller.
const (
	ReplicaUnknown ReplicaState = iota // it could not be read
	ReplicaPending                     // not yet there
	ReplicaArrived
)

// String returns the state in a word.
func (s ReplicaState) String() string {
	switch s {
	case ReplicaPending:
		return "pending"
	case ReplicaArrived:
		return "arrived"
	case ReplicaUnknown:
	}
	return "unknown"
}

// A Replica is what another domain controller holds of a change.
type Replica struct {
	Server Server
	State  ReplicaState
	// Evidence is what the state was read from: msDS-ReplValueMetaData,
	// msDS-ReplAttributeMetaData, replPropertyMetaData, or "value" where the domain
	// controller tells no metadata of links (Samba) and only the value could be compared.
	Evidence string
	Err      error // why it is unknown
}

// A stamp is the replication metadata of an attribute or of one value of a link.
type stamp struct {
	Version int64        `xml:"dwVersion"`
	DSA     secdesc.GUID `xml:"uuidLastOriginatingDsaInvocationID"`
	USN     int64        `xml:"usnOriginatingChange"`
}

// covers reports whether a replica with stamp s has what one with stamp t has, or
// something later ([MS-DRSR] 4.1.10.6.6: the greater version wins).
func (s stamp) covers(t stamp) bool { return s == t || s.Version > t.Version }

type valueMeta struct {
	stamp
	Attribute string `xml:"pszAttributeName"`
	Object    string `xml:"pszObjectDn"`
	Created   string `xml:"ftimeCreated"` // when this link was last made
}

// errNoMetadata: the domain controller tells none.
var errNoMetadata = errors.New("the domain controller tells no replication metadata of this")

// ReplicasOfMember reads on every other domain controller whether a change of one
// membership has arrived there. present is what was written.
func (w *Writer) ReplicasOfMember(ctx context.Context, group secdesc.GUID, m Member, present bool) []Replica {
	const evidence = "msDS-ReplValueMetaData"
	return w.replicas(ctx, group, evidence,
		func(ctx context.Context, c *conn) (stamp, error) { return c.memberStamp(ctx, group, m) },
		func(ctx context.Context, c *conn) (bool, error) {
			in, err := c.fits(ctx, group, m.filter())
			return in == present, err
		})
}

// ReplicasOfAttribute reads on every other domain controller whether the last change of
// an attribute has arrived there. Attributes that this package writes are known.
func (w *Writer) ReplicasOfAttribute(ctx context.Context, object secdesc.GUID, attribute string) []Replica {
	return w.replicas(ctx, object, "replPropertyMetaData",
		func(ctx context.Context, c *conn) (stamp, error) { return c.attributeStamp(ctx, object, attribute) }, nil)
}

// replicas compares the metadata on each domain controller with that on the one which
// the object is written through, or the value where there is none.
func (w *Writer) replicas(ctx context.Context, object secdesc.GUID, evidence string, read func(context.Context, *conn) (stamp, error), value func(context.Context, *conn) (bool, error)) []Replica {
	own, c, err := w.acquire(ctx, object)
	var origin stamp
	if err == nil {
		origin, err = read(ctx, c)
		w.put(own, c)
	}
	lanes, derr := w.everyLane(ctx)
	out := make([]Replica, 0, len(lanes))
	for _, l := range lanes {
		server := w.serverOf(l)
		if l == own || server.Addr == w.serverOf(own).Addr {
			continue
		}
		r := Replica{Server: server, Evidence: evidence}
		switch {
		case err == nil:
			r.compare(ctx, w, l, func(ctx context.Context, c *conn) (bool, error) {
				s, err := read(ctx, c)
				if KindOf(err) == ErrNoSuchObject {
					return false, nil // the object itself has not arrived
				}
				return s.covers(origin), err
			})
		case errors.Is(err, errNoMetadata) && value != nil:
			r.Evidence = "value"
			r.compare(ctx, w, l, value)
		default:
			r.Err = err
		}
		out = append(out, r)
	}
	if derr != nil {
		out = append(out, Replica{Err: derr, Evidence: evidence})
	}
	return out
}

func (r *Replica) compare(ctx context.Context, w *Writer, l *lane, arrived func(context.Context, *conn) (bool, error)) {
	c, err := w.take(ctx, l)
	if err != nil {
		r.Err = err
		return
	}
	ok, err := arrived(ctx, c)
	w.put(l, c)
	switch {
	case err != nil:
		r.Err = err
	case ok:
		r.State = ReplicaArrived
	default:
		r.State = ReplicaPending
	}
}

// everyLane returns all domain controllers of the domain, also those that are not
// written to because one was named or a site was chosen.
func (w *Writer) everyLane(ctx context.Context) ([]*lane, error) {
	cfg := w.sign.cfg
	cfg.Server, cfg.Site, cfg.Domain = "", "", w.Domain()
	servers, err := w.servers, error(nil)
	if cfg.Domain != "" && (w.sign.cfg.Server != "" || w.sign.cfg.Site != "") {
		var all []Server
		if all, err = cfg.discover(ctx); err == nil {
			servers = all
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []*lane
	for _, s := range servers {
		i := slices.IndexFunc(out, func(l *lane) bool { return l.server.Addr == s.Addr })
		if i >= 0 {
			continue
		}
		l := w.lanes[serverKey(s)]
		for _, known := range w.lanes {
			if l == nil && known.server.Addr == s.Addr {
				l = known
			}
		}
		if l == nil {
			l = &lane{server: s, slots: make(chan struct{}, maxWriterConns)}
			w.lanes[serverKey(s)] = l
		}
		out = append(out, l)
	}
	return out, err
}

// memberStamp reads the metadata of one membership, present or removed.
func (c *conn) memberStamp(ctx context.Context, group secdesc.GUID, m Member) (stamp, error) {
	e, err := c.readObject(ctx, group, Request{Attributes: []string{"msDS-ReplValueMetaData"}})
	if err != nil {
		return stamp{}, err
	}
	values := e.Values("msDS-ReplValueMetaData")
	if len(values) == 0 {
		return stamp{}, errNoMetadata
	}
	member, err := c.memberDN(ctx, m)
	if err != nil {
		return stamp{}, err
	}
	for _, v := range values {
		meta, err := parseValueMeta(v)
		if err != nil {
			return stamp{}, c.protocolError("reading replication metadata", err)
		}
		if strings.EqualFold(meta.Attribute, "member") && strings.EqualFold(meta.Object, member) {
			return meta.stamp, nil
		}
	}
	return stamp{}, errNoMetadata // a range that does not hold it, or never linked here
}

func (c *conn) memberDN(ctx context.Context, m Member) (string, error) {
	if !m.GUID.IsZero() {
		e, err := c.readObject(ctx, m.GUID, Request{Attributes: []string{"objectGUID"}, ShowDeleted: true})
		return e.DN, err
	}
	q := Request{Base: m.dn(), Attributes: []string{"objectGUID"}}
	entries, r, err := c.lookup(ctx, q, nil)
	switch {
	case err != nil:
		return "", err
	case r.code != resultSuccess || len(entries) != 1:
		return "", &Error{Kind: ErrNoSuchObject, Op: "reading " + m.dn(), Server: c.server.String()}
	}
	return entries[0].DN, nil
}

// parseValueMeta reads one value of msDS-ReplValueMetaData: a fragment of XML that may
// end in a zero byte ([MS-ADTS] 3.1.1.4.5.27, DS_REPL_VALUE_META_DATA).
func parseValueMeta(b []byte) (valueMeta, error) {
	var m valueMeta
	err := xml.Unmarshal(bytes.TrimRight(b, "\x00\n "), &m)
	return m, err
}

// attributeIDs are the numbers of attributes in replPropertyMetaData ([MS-DRSR] 5.16.4),
// for those that this package writes.
var attributeIDs = map[string]uint32{
	"useraccountcontrol":   0x90008,
	"unicodepwd":           0x9005a,
	"pwdlastset":           0x90060,
	"accountexpires":       0x9009f,
	"ntsecuritydescriptor": 0x20119,
}

// attributeStamp reads the metadata of an attribute.
func (c *conn) attributeStamp(ctx context.Context, object secdesc.GUID, attribute string) (stamp, error) {
	id, ok := attributeIDs[strings.ToLower(attribute)]
	if !ok {
		return stamp{}, fmt.Errorf("%w: %s", errNoMetadata, attribute)
	}
	e, err := c.readObject(ctx, object, Request{Attributes: []string{"replPropertyMetaData"}})
	if err != nil {
		return stamp{}, err
	}
	s, found, err := parseStamp([]byte(e.Value("replPropertyMetaData")), id)
	switch {
	case err != nil:
		return stamp{}, c.protocolError("reading replication metadata", err)
	case !found:
		return stamp{}, errNoMetadata
	}
	return s, nil
}

// parseStamp finds an attribute in a PROPERTY_META_DATA_VECTOR ([MS-DRSR] 5.163): a
// header of 16 bytes, then elements of 48, little-endian.
func parseStamp(b []byte, id uint32) (s stamp, found bool, err error) {
	if len(b) == 0 {
		return s, false, nil
	}
	if len(b) < 16 || binary.LittleEndian.Uint32(b) != 1 {
		return s, false, errors.New("replPropertyMetaData: unknown header")
	}
	n := uint64(binary.LittleEndian.Uint32(b[8:]))
	if uint64(len(b)-16) != n*48 {
		return s, false, fmt.Errorf("replPropertyMetaData: %d elements in %d bytes", n, len(b))
	}
	for e := b[16:]; len(e) > 0; e = e[48:] {
		if binary.LittleEndian.Uint32(e) == id {
			copy(s.DSA[:], e[16:32])
			s.Version = int64(binary.LittleEndian.Uint32(e[4:]))
			s.USN = int64(binary.LittleEndian.Uint64(e[32:]))
			return s, true, nil
		}
	}
	return s, false, nil
}
