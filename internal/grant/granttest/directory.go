package granttest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A Fault is what befalls a write.
type Fault uint8

// The faults.
const (
	NoFault   Fault = iota
	Refuse          // the controller refuses for good
	Busy            // it refuses for now
	CutBefore       // the connection breaks before the write arrives
	CutAfter        // it breaks before the answer arrives
	Delay           // the answer does not come, and the write takes effect later
	Double          // the write arrives twice
)

// External is the author of links that no grant made.
const External grant.ID = "somebody else"

// A Link of the simulated directory.
type Link struct {
	By      grant.ID // whose write made it
	Stamp   int
	Since   time.Time // by the controller's clock
	Expires time.Time
}

// late is a write on its way.
type late struct {
	at  time.Duration
	add bool
	w   grant.Write
}

// Directory is a simulated [grant.Directory] for one goroutine.
type Directory struct {
	Now     time.Duration // simulated time since the origin
	Offset  time.Duration // of the controller's clock
	Away    bool          // nothing answers
	Sick    bool          // the time answers, nothing else does
	Blind   bool          // links carry no stamps
	Next    Fault         // for the next write; reset by it
	LateBy  time.Duration // of Delay
	OnWrite func()        // called before a write is sent: the place for a pause, or a crash

	Objects map[secdesc.GUID]grant.Object
	Made    map[grant.Key]Link
	Groups  map[grant.Ref][]secdesc.GUID
	Life    grant.Tickets
	Removed []Removal // every removal that had an effect
	Writes  int

	stamp int
	late  []late
}

// A Removal is a link that a grant's write removed.
type Removal struct {
	At   time.Duration
	Key  grant.Key
	Link Link
	By   grant.ID
	Late bool // the write arrived late: its node knew nothing of what was made meanwhile
}

// Origin is the wall clock's time at the begin of every simulation.
var Origin = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// NewDirectory returns an empty directory.
func NewDirectory() *Directory {
	return &Directory{
		Objects: map[secdesc.GUID]grant.Object{}, Made: map[grant.Key]Link{}, Groups: map[grant.Ref][]secdesc.GUID{},
		Life: grant.Tickets{Ticket: 10 * time.Hour, Renewal: 7 * 24 * time.Hour, Service: 10 * time.Hour, Known: true},
	}
}

// Clock is the controller's time.
func (d *Directory) Clock() time.Time { return Origin.Add(d.Now + d.Offset) }

// Instant is the time by the clocks of a node whose wall clock is off by offset.
func (d *Directory) Instant(offset time.Duration) grant.Instant {
	return grant.Instant{Wall: Origin.Add(d.Now + offset), Mono: d.Now}
}

// NewObject adds an account or group and returns its GUID.
func (d *Directory) NewObject(name string, group bool) secdesc.GUID {
	n := len(d.Objects) + 1
	g := secdesc.MustGUID(fmt.Sprintf("00000000-0000-4000-8000-%012x", n))
	d.Objects[g] = grant.Object{
		GUID: g, SID: secdesc.MustSID(fmt.Sprintf("S-1-5-21-1-2-3-%d", 1000+n)), Name: `CONTOSO\` + name,
		DN: "CN=" + name + ",CN=Users,DC=contoso,DC=com", Exists: true, Group: group, Domain: "contoso.com",
	}
	ref := grant.Ref(`CONTOSO\` + name)
	d.Groups[ref] = append(d.Groups[ref], g)
	return g
}

// Pass lets time pass and delayed writes arrive.
func (d *Directory) Pass(by time.Duration) {
	d.Now += by
	slices.SortStableFunc(d.late, func(a, b late) int { return int(a.at - b.at) })
	for len(d.late) > 0 && d.late[0].at <= d.Now {
		l := d.late[0]
		d.late = d.late[1:]
		n := len(d.Removed)
		d.effect(l.add, l.w)
		for i := range d.Removed[n:] {
			d.Removed[n+i].Late = true
		}
	}
}

// Pending reports whether writes are on their way.
func (d *Directory) Pending() bool { return len(d.late) > 0 }

// Put makes a link as somebody else would.
func (d *Directory) Put(k grant.Key, expires time.Time) {
	if _, ok := d.Made[k]; !ok && d.there(k) {
		d.stamp++
		d.Made[k] = Link{By: External, Stamp: d.stamp, Since: d.Clock(), Expires: expires}
	}
}

// Drop removes a link as somebody else would.
func (d *Directory) Drop(k grant.Key) { delete(d.Made, k) }

// there reports whether group and account exist.
func (d *Directory) there(k grant.Key) bool {
	return d.Objects[k.Group].Exists && d.Objects[k.Member].Exists
}

func (d *Directory) unreachable() error {
	if d.Away || d.Sick {
		return grant.ErrUnreachable
	}
	return nil
}

// Time implements [grant.Directory].
func (d *Directory) Time(context.Context) (time.Time, error) {
	if d.Away {
		return time.Time{}, grant.ErrUnreachable
	}
	return d.Clock(), nil
}

// Find implements [grant.Directory].
func (d *Directory) Find(_ context.Context, ref grant.Ref) (grant.Object, error) {
	if err := d.unreachable(); err != nil {
		return grant.Object{}, err
	}
	for _, g := range d.Groups[ref] {
		if o := d.Objects[g]; o.Name == string(ref) {
			return o, nil
		}
	}
	return grant.Object{}, nil
}

// Object implements [grant.Directory].
func (d *Directory) Object(_ context.Context, guid secdesc.GUID) (grant.Object, error) {
	return d.Objects[guid], d.unreachable()
}

// Within implements [grant.Directory]. Groups lists who is in what, nested or not.
func (d *Directory) Within(_ context.Context, account secdesc.GUID, refs []grant.Ref) (bool, error) {
	for _, r := range refs {
		if slices.Contains(d.Groups[r], account) {
			return true, d.unreachable()
		}
	}
	return false, d.unreachable()
}

// Links implements [grant.Directory].
func (d *Directory) Links(_ context.Context, group secdesc.GUID, members []secdesc.GUID) (grant.Links, error) {
	out := grant.Links{At: d.Clock(), Group: d.Objects[group], Links: map[secdesc.GUID]grant.Link{}, Members: map[secdesc.GUID]grant.Object{}}
	for _, m := range members {
		out.Members[m] = d.Objects[m]
		if k := (grant.Key{Group: group, Member: m}); d.there(k) {
			out.Links[m] = d.link(k)
		}
	}
	return out, d.unreachable()
}

// Home implements [grant.Directory].
func (d *Directory) Home(secdesc.GUID) string { return "dc1" }

// Memberships implements [grant.Directory].
func (d *Directory) Memberships(ctx context.Context, keys []grant.Key) (map[secdesc.GUID]grant.Links, error) {
	return Memberships(ctx, d, keys)
}

// Memberships asks for each group by itself.
func Memberships(ctx context.Context, d interface {
	Links(ctx context.Context, group secdesc.GUID, members []secdesc.GUID) (grant.Links, error)
}, keys []grant.Key,
) (map[secdesc.GUID]grant.Links, error) {
	members := map[secdesc.GUID][]secdesc.GUID{}
	for _, k := range keys {
		members[k.Group] = append(members[k.Group], k.Member)
	}
	out := map[secdesc.GUID]grant.Links{}
	for g, list := range members {
		links, err := d.Links(ctx, g, list)
		if err != nil {
			return nil, err
		}
		out[g] = links
	}
	return out, nil
}

func (d *Directory) link(k grant.Key) grant.Link {
	l, ok := d.Made[k]
	if !ok {
		return grant.Link{}
	}
	out := grant.Link{Present: true, Expires: l.Expires}
	if !d.Blind {
		out.Stamp, out.Since = fmt.Sprint(l.Stamp), l.Since
	}
	return out
}

// Tickets implements [grant.Directory].
func (d *Directory) Tickets(context.Context, secdesc.GUID) (grant.Tickets, error) {
	return d.Life, d.unreachable()
}

// Add implements [grant.Writer].
func (d *Directory) Add(_ context.Context, w grant.Write) grant.Result { return d.write(true, w) }

// Remove implements [grant.Writer]: one request each, so that each may meet a fault.
func (d *Directory) Remove(_ context.Context, list []grant.Write) []grant.Result {
	out := make([]grant.Result, len(list))
	for i, w := range list {
		out[i] = d.write(false, w)
	}
	return out
}

func (d *Directory) write(add bool, w grant.Write) grant.Result {
	if d.OnWrite != nil {
		d.OnWrite()
	}
	d.Writes++
	fault := d.Next
	d.Next = NoFault
	switch {
	case d.Now > w.NotAfter.Mono:
		return grant.Result{Outcome: grant.OutcomeLater, Detail: "too late to send"}
	case d.Away:
		return grant.Result{Outcome: grant.OutcomeLater, Detail: "no connection"}
	case d.Sick, fault == Busy:
		return grant.Result{Outcome: grant.OutcomeLater, At: d.Clock(), Detail: "busy"}
	case fault == Refuse:
		return grant.Result{Outcome: grant.OutcomeRefused, At: d.Clock(), Detail: "insufficient access rights"}
	case fault == CutBefore:
		return grant.Result{Detail: "connection lost"}
	case fault == Delay:
		d.late = append(d.late, late{d.Now + d.LateBy, add, w})
		return grant.Result{Detail: "no answer"}
	}
	out := d.effect(add, w)
	switch fault {
	case CutAfter:
		return grant.Result{Detail: "connection lost"}
	case Double:
		d.effect(add, w)
	}
	return out
}

// effect is what a write does when it arrives.
func (d *Directory) effect(add bool, w grant.Write) grant.Result {
	r := grant.Result{At: d.Clock(), Server: "dc1"}
	l, there := d.Made[w.Key]
	switch {
	case !d.there(w.Key):
		r.Outcome = grant.OutcomeGone
	case add == there:
		r.Outcome = grant.OutcomeAlready
	case add:
		d.stamp++
		d.Made[w.Key] = Link{By: w.Grant, Stamp: d.stamp, Since: d.Clock()}
		r.Outcome, r.Link = grant.OutcomeDone, d.link(w.Key)
	default:
		delete(d.Made, w.Key)
		d.Removed = append(d.Removed, Removal{At: d.Now, Key: w.Key, Link: l, By: w.Grant})
		r.Outcome = grant.OutcomeDone
	}
	return r
}
