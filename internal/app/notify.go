package app

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/notify"
	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/internal/store"
)

// NotifySettings are what [NewNotifier] needs.
type NotifySettings struct {
	File      string // of who is told how
	Store     *store.Store
	Directory dc.Config
	Policies  func() *grant.Policies // those in force
	Now       func() time.Time
	Log       *slog.Logger
}

// NewNotifier returns what tells people of grants. close ends its connections, after Run.
// Errors are of the file, or of what it names.
func NewNotifier(set NotifySettings) (n *notify.Service, end func() error, err error) {
	data, err := ReadFile(set.File)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: reading %s: %w", ErrConfig, set.File, err)
	}
	c, err := notify.ParseConfig(filepath.Base(set.File), data)
	var routes []notify.Route
	if err == nil {
		routes, _, err = c.Routes(notify.Surroundings{ReadFile: ReadFile, Now: set.Now})
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	book := &addressBook{set: set, kept: map[grant.Ref]keptAddresses{}}
	n = notify.New(notify.Settings{Outbox: set.Store.Deliveries(), Routes: routes, Addresses: book, Now: set.Now, Log: set.Log})
	return n, book.close, nil
}

// addressesKept is how long addresses are taken from memory.
const addressesKept = 5 * time.Minute

// An addressBook finds the mail addresses of the people of a grant: the mail attributes
// of their accounts, those of the members of groups included, but for disabled accounts.
type addressBook struct {
	set NotifySettings

	mu   sync.Mutex
	r    *dc.Reader // nil: not connected
	kept map[grant.Ref]keptAddresses
}

type keptAddresses struct {
	list []string
	at   time.Time
}

func (b *addressBook) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.r == nil {
		return nil
	}
	err := b.r.Close()
	b.r = nil
	return err
}

// Addresses implements [notify.Addresses].
func (b *addressBook) Addresses(ctx context.Context, id grant.ID, to grant.Audience) ([]string, error) {
	g, err := b.set.Store.Grants().Read(ctx, id)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for _, ref := range b.people(&g, to) {
		list, err := b.addresses(ctx, ref)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", ref, err)
		}
		out = append(out, list...)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// people are those of an audience, as references; accounts that the grant itself names
// go by GUID.
func (b *addressBook) people(g *grant.Grant, to grant.Audience) []grant.Ref {
	byGUID := func(guids ...secdesc.GUID) (out []grant.Ref) {
		for _, v := range guids {
			out = append(out, guidRef(v))
		}
		return out
	}
	switch to {
	case grant.ToRequester:
		return byGUID(g.Requester.Account, g.Holder.Account)
	case grant.ToApprovers:
		return g.Terms.Approval.From
	case grant.ToObservers:
		var joined []secdesc.GUID
		for _, o := range g.Observers {
			if o.Left.IsZero() {
				joined = append(joined, o.By.Account)
			}
		}
		if len(joined) > 0 {
			return byGUID(joined...)
		}
		return g.Terms.Observer.From
	case grant.ToReviewers:
		return g.Terms.Emergency.Review
	case grant.ToSecurity:
		return b.set.Policies().Security
	}
	return nil
}

func guidRef(g secdesc.GUID) grant.Ref { return grant.Ref("<GUID=" + hex.EncodeToString(g[:]) + ">") }

// addresses are those of one reference. One that names nothing, or something of another
// domain, has none, and that is logged. b.mu is held.
func (b *addressBook) addresses(ctx context.Context, ref grant.Ref) ([]string, error) {
	now := b.set.Now()
	if k, ok := b.kept[ref]; ok && now.Sub(k.at) < addressesKept {
		return k.list, nil
	}
	if b.r == nil {
		r, err := dc.Open(ctx, b.set.Directory)
		if err != nil {
			return nil, err
		}
		b.r = r
	}
	list, err := b.lookUp(ctx, ref)
	if err != nil {
		var e *dc.Error
		if errors.As(err, &e) { // perhaps the next domain controller does better
			err = errors.Join(err, b.r.Close())
			b.r = nil
			return nil, err
		}
		b.set.Log.Warn("nobody is told in the place of one whom the policies name", "name", string(ref), "why", err.Error())
		list = nil
	}
	b.kept[ref] = keptAddresses{list, now}
	return list, nil
}

var errNobody = errors.New("there is no such account or group")

func (b *addressBook) lookUp(ctx context.Context, ref grant.Ref) ([]string, error) {
	q := &inquiry{r: b.r, id: &Identity{}, root: b.r.Root().DefaultNC}
	o, err := q.object(ctx, ref)
	switch {
	case err != nil:
		return nil, err
	case o == nil:
		return nil, errNobody
	}
	const enabled = "(!(userAccountControl:1.2.840.113556.1.4.803:=2))"
	req := dc.Request{Base: o.dn, Scope: dc.ScopeBase, Filter: "(&(mail=*)" + enabled + ")", Attributes: []string{"mail"}}
	if slices.Contains(o.classes, "group") {
		req.Base, req.Scope = q.root, dc.ScopeSubtree
		req.Filter = "(&(objectCategory=person)(mail=*)" + enabled + "(memberOf:1.2.840.113556.1.4.1941:=" + escapeFilter(o.dn) + "))"
	}
	var out []string
	_, err = b.r.Search(ctx, req, func(e dc.Entry) error {
		out = append(out, e.Value("mail"))
		return nil
	})
	return out, err
}

// ErrNoNotice reports a notification that is not among those that were put aside.
var ErrNoNotice = errors.New("no such notification was put aside")

// LeftNotices are the notifications that were not delivered.
type LeftNotices struct {
	Dead    []DeadNotice `json:"dead"`    // put aside after the last try, the first 1000
	Waiting int          `json:"waiting"` // to be tried
}

// A DeadNotice is one that was put aside.
type DeadNotice struct {
	ID        string    `json:"id"`
	Target    string    `json:"target"`
	Recipient string    `json:"recipient,omitempty"`
	Grant     string    `json:"grant"`
	Text      string    `json:"text"`
	Created   time.Time `json:"created"`
	Attempts  int       `json:"attempts"`
	Fault     string    `json:"fault"` // of the last try
}

const shownNotices = 1000

// Notices reads what was not delivered, while the server runs.
func Notices(ctx context.Context, cfg *Config) (out LeftNotices, err error) {
	s, err := OpenStore(ctx, cfg, store.Options{ReadOnly: true})
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	dead, waiting, err := s.Deliveries().Undelivered(ctx, shownNotices)
	out.Waiting, out.Dead = waiting, make([]DeadNotice, len(dead))
	for i, d := range dead {
		out.Dead[i] = DeadNotice{d.ID, d.Target, d.Recipient, string(d.Message.Grant), d.Message.Text, d.Created, d.Attempts, d.Fault}
	}
	return out, err
}

// RetryNotice lets one try again; [ErrNoNotice] if it was not put aside.
func RetryNotice(ctx context.Context, cfg *Config, id string, now time.Time) (err error) {
	s, err := OpenStore(ctx, cfg, store.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	ok, err := s.Deliveries().Revive(ctx, id, now)
	if err == nil && !ok {
		err = ErrNoNotice
	}
	return err
}
