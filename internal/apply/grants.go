package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/plan"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Timing of what grants ask of a directory.
const (
	readTime  = 5 * time.Second  // bounds one question
	replyTime = 10 * time.Second // bounds the answer to a write, from when it may last be sent
	// signInTime bounds signing in for the first time, which asks many questions.
	signInTime = 15 * time.Second
	namesKept  = 5 * time.Second // what a name in a policy stands for

	// How old, by the directory, the password of a management account must be that was found
	// enabled, until whoever enabled it counts as dead: a use for a grant takes about a
	// second. Ends do not wait for longer. A use that lives after all fails to sign in, and
	// is tried again, or has signed in already, and is not disturbed.
	addPatience    = 30 * time.Second
	removePatience = 5 * time.Second
)

// GrantOptions say how a [Grants] reaches its domain.
type GrantOptions struct {
	Directory dc.Config
	// Clock is the one whose readings Write.NotAfter has: the same as the grant service's.
	Clock func() grant.Instant
	// Person names the attribute whose value the accounts of one person share; nil, or an
	// empty name: there is none.
	Person func() string
}

// Grants is the directory of grants: one domain, as [grant.Directory] wants it. Each group
// is written and read through one domain controller (see [dc.Writer.ServerFor]); everything
// else is read from any that answers. Nothing is sent twice: a write whose answer is lost
// is grant.OutcomeUnknown at once.
//
// A domain controller that does not answer is left alone until it does: questions fail at
// once, a probe asks for its time twice a second, and Returned tells when it is back. An
// account that may not sign in is tried rarely, so that leastwise never locks itself out.
//
// Memberships across domains are not found: a name of another domain, and an account that
// is not of this one, are errors, never "no".
type Grants struct {
	opt      GrantOptions
	returned chan struct{}
	probes   sync.WaitGroup
	stop     context.CancelFunc
	ended    context.Context //nolint:containedctx // ends with Close

	opening sync.Mutex // one sign-in at a time while there is no writer

	mu    sync.Mutex // guards what follows
	dir   *Directory
	home  home
	gates map[string]*gate
	last  string // server that told the time last
	names map[grant.Ref]named

	tickets kept
}

var _ grant.Directory = (*Grants)(nil)

// A home is what is known of the domain.
type home struct {
	netbios string
	domain  string // DNS name
	base    string // distinguished name
}

// A named is what a name in a policy stood for a moment ago.
type named struct {
	object grant.Object
	at     time.Duration // by the monotonic clock
}

// NewGrants returns the directory of grants. It does not connect: the domain need not be
// there yet. Clock is required; nil is a wiring bug, and NewGrants panics.
func NewGrants(o GrantOptions) *Grants {
	if o.Clock == nil {
		panic("apply.NewGrants: a clock is required")
	}
	if o.Person == nil {
		o.Person = func() string { return "" }
	}
	d := &Grants{opt: o, returned: make(chan struct{}, 1), gates: map[string]*gate{}, names: map[grant.Ref]named{}}
	d.ended, d.stop = context.WithCancel(context.Background())
	return d
}

// Close ends probes and connections.
func (d *Grants) Close() error {
	d.stop()
	d.probes.Wait()
	if w, _ := d.have(); w != nil {
		return w.Close()
	}
	return nil
}

// Returned tells, without saying which, that a domain controller answers again.
func (d *Grants) Returned() <-chan struct{} { return d.returned }

// connected returns the directory, and signs in if that was not done yet.
func (d *Grants) connected(ctx context.Context) (*Directory, home, error) {
	if w, h := d.have(); w != nil {
		return w, h, nil
	}
	d.opening.Lock()
	defer d.opening.Unlock()
	if w, h := d.have(); w != nil {
		return w, h, nil
	}
	if err := d.pass(anyServer); err != nil {
		return nil, home{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, signInTime)
	defer cancel()
	w, h, err := d.signIn(ctx)
	if err != nil {
		d.failed(anyServer, err)
		return nil, home{}, unreachable(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dir, d.home = w, h
	return w, h, nil
}

func (d *Grants) have() (*Directory, home) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dir, d.home
}

// signIn finds the domain controllers and learns what the domain is called.
func (d *Grants) signIn(ctx context.Context) (*Directory, home, error) {
	dir, err := Open(ctx, d.opt.Directory)
	if err != nil {
		return nil, home{}, err
	}
	var first error
	for _, s := range dir.w.Servers() {
		h, err := readHome(ctx, dir.w, dc.Via{Server: serverName(s)})
		if err == nil {
			return dir, h, nil
		}
		first = cmp.Or(first, err)
	}
	return nil, home{}, errors.Join(cmp.Or(first, errNoServer), dir.Close())
}

// errNoServer reports a domain without a domain controller that can be written to.
var errNoServer = errors.New("no domain controller of the domain can be written to")

func readHome(ctx context.Context, w *dc.Writer, v dc.Via) (home, error) {
	root, err := w.Root(ctx, v)
	if err != nil {
		return home{}, err
	}
	h := home{domain: root.Domain(), base: root.DefaultNC}
	list, _, err := w.Find(ctx, v, dc.Request{
		Base: "CN=Partitions," + root.ConfigurationNC, Scope: dc.ScopeOne, Attributes: []string{"nETBIOSName"},
		Filter: "(&(objectClass=crossRef)(nCName=" + dc.EscapeFilter(root.DefaultNC) + "))",
	})
	if err != nil {
		return home{}, err
	}
	if len(list) != 1 || list[0].Value("nETBIOSName") == "" {
		return home{}, fmt.Errorf("the NetBIOS name of %s is not among the partitions, or may not be read", h.domain)
	}
	h.netbios = list[0].Value("nETBIOSName")
	return h, nil
}

// unreachable marks an error as one of a directory that could not be asked.
func unreachable(err error) error {
	if err == nil || errors.Is(err, grant.ErrUnreachable) {
		return err
	}
	return fmt.Errorf("%w: %w", grant.ErrUnreachable, err)
}

// asking is one question to one domain controller.
type asking struct {
	dir  *Directory // where it is written; else nil
	w    *dc.Writer
	h    home
	via  dc.Via
	name string // of the server, for its gate
	// within is how long the answers may take together; 0: readTime.
	within time.Duration
}

// about asks the domain controller that an object is written through.
func (d *Grants) about(ctx context.Context, object secdesc.GUID, f func(context.Context, asking) error, within time.Duration) error {
	dir, h, err := d.connected(ctx)
	if err != nil {
		return err
	}
	return d.ask(ctx, asking{within: within, w: dir.w, h: h, via: dc.Via{Object: object}, name: serverName(dir.w.ServerFor(object))}, f)
}

// ask asks, unless the server's gate is shut, and tells the gate what came of it.
func (d *Grants) ask(ctx context.Context, a asking, f func(context.Context, asking) error) error {
	if err := d.pass(a.name); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(a.within, readTime))
	defer cancel()
	err := f(ctx, a)
	d.note(a.name, err)
	return unreachable(err)
}

// anywhere asks one domain controller after the other until one answers, the one that
// told the time last before the others.
func (d *Grants) anywhere(ctx context.Context, f func(context.Context, asking) error) error {
	dir, h, err := d.connected(ctx)
	if err != nil {
		return err
	}
	err = unreachable(errNoServer)
	for i, s := range d.inTurn(dir.w) {
		a := asking{w: dir.w, h: h, via: dc.Via{Server: s}, name: s}
		failed := d.ask(ctx, a, f)
		if failed == nil || !elsewhere(failed) || ctx.Err() != nil {
			return failed
		}
		if i == 0 {
			err = failed
		}
	}
	return err
}

// inTurn returns the names of the domain controllers in the order of asking.
func (d *Grants) inTurn(w *dc.Writer) []string {
	var out []string
	for _, s := range w.Servers() {
		out = append(out, serverName(s))
	}
	d.mu.Lock()
	last := d.last
	d.mu.Unlock()
	if i := slices.Index(out, last); i > 0 {
		out = append([]string{last}, slices.Delete(out, i, i+1)...)
	}
	return out
}

// Time implements [grant.Directory]: the time of the domain controller that told it last,
// as long as that one answers.
func (d *Grants) Time(ctx context.Context) (t time.Time, err error) {
	err = d.anywhere(ctx, func(ctx context.Context, a asking) error {
		t, _, err = a.w.Time(ctx, a.via)
		if err == nil {
			d.mu.Lock()
			d.last = a.name
			d.mu.Unlock()
		}
		return err
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the directory's time: %w", err)
	}
	return t, nil
}

// Object implements [grant.Directory].
func (d *Grants) Object(ctx context.Context, guid secdesc.GUID) (o grant.Object, err error) {
	err = d.anywhere(ctx, func(ctx context.Context, a asking) error {
		list, err := d.objects(ctx, a, guid)
		o = list[guid]
		return err
	})
	if err != nil {
		return grant.Object{}, fmt.Errorf("reading object %s: %w", guid, err)
	}
	return o, nil
}

// Links implements [grant.Directory].
func (d *Grants) Links(ctx context.Context, group secdesc.GUID, members []secdesc.GUID) (grant.Links, error) {
	out, err := d.look(ctx, []dc.Members{{Group: group, Members: members}})
	return out[group], err
}

// Home implements [grant.Directory].
func (d *Grants) Home(group secdesc.GUID) string {
	dir, _ := d.have()
	if dir == nil {
		return "" // not known yet: nothing can be asked, either
	}
	return serverName(dir.w.ServerFor(group))
}

// Memberships implements [grant.Directory].
func (d *Grants) Memberships(ctx context.Context, keys []grant.Key) (map[secdesc.GUID]grant.Links, error) {
	var list []dc.Members
	at := map[secdesc.GUID]int{}
	for _, k := range keys {
		i, known := at[k.Group]
		if !known {
			i = len(list)
			at[k.Group], list = i, append(list, dc.Members{Group: k.Group})
		}
		list[i].Members = append(list[i].Members, k.Member)
	}
	if len(list) == 0 {
		return nil, nil //nolint:nilnil // nothing was asked
	}
	return d.look(ctx, list)
}

// groupsTogether are looked at within the time of one question.
const groupsTogether = 8

// look reads who of some accounts is a member of some groups, which are read through the
// domain controller of the first.
func (d *Grants) look(ctx context.Context, list []dc.Members) (map[secdesc.GUID]grant.Links, error) {
	out := make(map[secdesc.GUID]grant.Links, len(list))
	var all []secdesc.GUID
	for _, m := range list {
		all = append(append(all, m.Group), m.Members...)
	}
	err := d.about(ctx, list[0].Group, func(ctx context.Context, a asking) error {
		at, _, err := a.w.Time(ctx, a.via)
		if err != nil {
			return err
		}
		objects := make(map[secdesc.GUID]grant.Object, len(all))
		for some := range slices.Chunk(all, 128) {
			found, err := d.objects(ctx, a, some...)
			if err != nil {
				return err
			}
			maps.Copy(objects, found)
		}
		var ask []dc.Members
		for _, m := range list {
			one := grant.Links{At: at, Group: objects[m.Group], Links: map[secdesc.GUID]grant.Link{}, Members: map[secdesc.GUID]grant.Object{}}
			for _, g := range m.Members {
				one.Members[g] = objects[g]
			}
			out[m.Group] = one
			if some := perhaps(m.Members, objects); one.Group.Exists && len(some) > 0 {
				ask = append(ask, dc.Members{Group: m.Group, Members: some})
			}
		}
		return d.links(ctx, a, out, ask)
	}, readTime*time.Duration(1+len(list)/groupsTogether))
	switch {
	case err == nil:
		return out, nil
	case len(list) == 1:
		return nil, fmt.Errorf("reading who is a member of the group %s: %w", list[0].Group, err)
	}
	return nil, fmt.Errorf("reading who is a member of the group %s and %d others: %w", list[0].Group, len(list)-1, err)
}

// perhaps returns those accounts that exist, or may: an account that only cannot be seen may
// be a member all the same.
func perhaps(members []secdesc.GUID, objects map[secdesc.GUID]grant.Object) (out []secdesc.GUID) {
	for _, g := range members {
		if o := objects[g]; o.Exists || o.Missing != "" {
			out = append(out, g)
		}
	}
	return out
}

// links reads the links of accounts. A member that cannot be seen is left out of the
// accounts, so that it does not count as deleted.
func (d *Grants) links(ctx context.Context, a asking, out map[secdesc.GUID]grant.Links, ask []dc.Members) error {
	found, _, err := a.w.LinksOf(ctx, ask)
	for group, links := range found {
		one := out[group]
		for g, l := range links {
			one.Links[g] = linkOf(l, one.At)
			if !one.Members[g].Exists {
				delete(one.Members, g)
			}
		}
	}
	return err
}

func linkOf(l dc.Link, at time.Time) grant.Link {
	out := grant.Link{Present: true, Stamp: l.Stamp, Since: l.Created}
	if l.Expires > 0 {
		out.Expires = at.Add(l.Expires)
	}
	return out
}

// Add implements [grant.Writer].
func (d *Grants) Add(ctx context.Context, w grant.Write) grant.Result {
	a, notAfter, err := d.writing(ctx, w)
	if err != nil {
		return later(err)
	}
	ctx, cancel := context.WithDeadline(ctx, notAfter.Add(replyTime))
	defer cancel()
	m := dc.MemberWrite{Group: w.Key.Group, Member: dc.Member{GUID: w.Key.Member}, Add: true, NotAfter: notAfter, Unread: true}
	if w.For > 0 {
		on, err := a.w.TimeBoundLinks(ctx, w.Key.Group)
		if err != nil {
			d.note(a.name, err)
			return later(err)
		}
		if on {
			m.TTL = w.For
		}
	}
	r := d.as(ctx, a, w, addPatience, func(ctx context.Context, as *dc.Writer) []dc.Write {
		return []dc.Write{as.WriteMember(ctx, m)}
	})[0]
	if r.Outcome == grant.OutcomeDone {
		d.afterwards(ctx, a, w, &r)
	}
	return r
}

// Remove implements [grant.Writer]: all in one request, and in several only if the domain
// controller refuses that (see [dc.Writer.RemoveTogether]). Its word counts: who asks again,
// asks for a membership that is there.
func (d *Grants) Remove(ctx context.Context, list []grant.Write) []grant.Result {
	if len(list) == 0 {
		return nil
	}
	a, notAfter, err := d.writing(ctx, list[0])
	if err != nil {
		return same(later(err), len(list))
	}
	ctx, cancel := context.WithDeadline(ctx, notAfter.Add(replyTime))
	defer cancel()
	members := make([]dc.Member, len(list))
	for i, w := range list {
		members[i].GUID = w.Key.Member
	}
	out := d.as(ctx, a, list[0], removePatience, func(ctx context.Context, as *dc.Writer) []dc.Write {
		return as.RemoveTogether(ctx, list[0].Key.Group, members, notAfter)
	})
	if len(out) < len(list) { // nothing was sent
		out = same(out[0], len(list))
	}
	return out
}

func same(r grant.Result, n int) []grant.Result {
	out := make([]grant.Result, n)
	for i := range out {
		out[i] = r
	}
	return out
}

// later is the result of a write that was not sent.
func later(err error) grant.Result {
	return grant.Result{Outcome: grant.OutcomeLater, Detail: err.Error()}
}

// errLate reports a write whose moment has passed.
var errLate = errors.New("too late to send")

// writing prepares a write: where it goes, unless that is known not to answer, and until
// when it may be sent, by this process's clock. It is never sent a second time.
func (d *Grants) writing(ctx context.Context, w grant.Write) (a asking, notAfter time.Time, err error) {
	left := w.NotAfter.Mono - d.opt.Clock().Mono
	if left <= 0 {
		return a, notAfter, errLate
	}
	notAfter = time.Now().Add(left)
	dir, h, err := d.connected(ctx)
	if err != nil {
		return a, notAfter, err
	}
	a = asking{dir: dir, w: dir.w, h: h, via: dc.Via{Object: w.Key.Group}, name: serverName(dir.w.ServerFor(w.Key.Group))}
	return a, notAfter, d.pass(a.name)
}

// as makes writes as the server's own account or, if w says so, as a management account,
// which is enabled for them. If they could not be made at all there is one result. What
// cannot be undone about the account afterwards is in the results' details, and Reclaim's
// to mend.
func (d *Grants) as(ctx context.Context, a asking, w grant.Write, patience time.Duration, do func(context.Context, *dc.Writer) []dc.Write) []grant.Result {
	if w.Through == "" {
		out := do(ctx, a.w)
		for _, x := range out {
			d.note(a.name, x.Err)
		}
		return resultsOf(out)
	}
	account, err := d.Find(ctx, w.Through)
	if err != nil {
		return []grant.Result{later(err)}
	}
	if !account.Exists || account.Group {
		return []grant.Result{later(fmt.Errorf("the management account %s does not exist", w.Through))}
	}
	var out []grant.Result
	_, err = a.dir.Through(ctx, Use{
		Account: targetOf(account), Object: w.Key.Group, Patience: patience,
		Do: func(ctx context.Context, lent *Directory) error {
			out = resultsOf(do(ctx, lent.w))
			return nil
		},
	})
	if out == nil {
		return []grant.Result{later(cmp.Or(err, errLate))}
	}
	if err != nil {
		for i := range out {
			out[i].Detail = strings.TrimPrefix(out[i].Detail+"; "+err.Error(), "; ")
		}
	}
	return out
}

func targetOf(o grant.Object) plan.Target { return plan.Target{GUID: o.GUID, DN: o.DN, SID: o.SID} }

// Reclaim disables those of some management accounts that a process which died has left
// enabled. Whoever runs grants calls it at start and with each comparison.
func (d *Grants) Reclaim(ctx context.Context, accounts []grant.Ref) error {
	var errs []error
	for _, ref := range accounts {
		dir, _, err := d.connected(ctx)
		if err != nil {
			return err
		}
		o, err := d.Find(ctx, ref)
		if err == nil && o.Exists {
			_, err = dir.Reclaim(ctx, targetOf(o))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// afterwards adds to the result of an addition that was done what the domain controller
// holds now. Not being able to read it changes nothing about what was done.
func (d *Grants) afterwards(ctx context.Context, a asking, w grant.Write, r *grant.Result) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	var err error
	if r.At, _, err = a.w.Time(ctx, a.via); err != nil {
		r.At = time.Time{}
		return
	}
	r.Link = grant.Link{Present: true}
	links, _, err := a.w.Links(ctx, w.Key.Group, []secdesc.GUID{w.Key.Member})
	l, there := links[w.Key.Member]
	switch {
	case err != nil:
		r.Detail = "not read back: " + err.Error()
	case !there:
		r.Detail = "reading back does not show it: it was removed again at once"
	default:
		r.Link = linkOf(l, r.At)
	}
}

func resultsOf(list []dc.Write) []grant.Result {
	out := make([]grant.Result, len(list))
	for i, w := range list {
		out[i] = resultOf(w)
	}
	return out
}

// resultOf translates what became of a write.
func resultOf(out dc.Write) grant.Result {
	r := grant.Result{Server: serverName(out.Server)}
	if out.Err != nil {
		r.Detail = out.Err.Error()
	}
	switch out.Outcome {
	case dc.Done:
		r.Outcome = grant.OutcomeDone
		if out.Unread != nil {
			r.Detail = out.Unread.Error()
		}
	case dc.Already:
		r.Outcome = grant.OutcomeAlready
	case dc.Uncertain:
		r.Outcome = grant.OutcomeUnknown
	case dc.NotDone:
		r.Outcome = refusal(out.Err)
	}
	return r
}

// refusal tells a refusal for good from one for now. What is not clearly for good is for
// now: trying again costs little, giving up a grant by mistake more.
func refusal(err error) grant.Outcome {
	switch dc.KindOf(err) {
	case dc.ErrNoSuchObject:
		return grant.OutcomeGone
	case dc.ErrAccessDenied, dc.ErrUnwilling, dc.ErrConstraint, dc.ErrUnsupported, dc.ErrServer:
		return grant.OutcomeRefused
	}
	return grant.OutcomeLater
}

// elsewhere reports whether another domain controller may answer what this one did not.
func elsewhere(err error) bool {
	switch dc.KindOf(err) {
	case dc.ErrAccessDenied, dc.ErrNoSuchObject, dc.ErrConfig, dc.ErrSizeLimit:
		return false
	}
	return !errors.Is(err, errName)
}

// sameName compares names as the directory does.
func sameName(a, b string) bool { return a != "" && strings.EqualFold(a, b) }
