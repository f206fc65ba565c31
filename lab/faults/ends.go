package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"time"

	ldap "github.com/go-ldap/ldap/v3"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/apply"
	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/store"
)

// Limits of the measurement of many ends.
const (
	endsRate    = 0.9                    // of the rate of a bare loop of removals
	endsRequest = 250 * time.Millisecond // 99 of 100 requests meanwhile
)

// A flood is many grants that end in the same second, without anything that fails.
type flood struct {
	w      *world
	n      int // grants
	users  []object
	groups []object // of the grants, then as many others for the bare loop as it needs
	loop   []object // groups whose members the bare loop removes, half before and half after
	policy *grant.Policies
	ends   time.Time
	run    *app.Grants
	clock  func() grant.Instant
}

// flood measures it on one database.
func (o *options) flood(ctx context.Context, w *world, name string, out io.Writer) (ok bool, err error) {
	f := &flood{w: w, n: o.ends, clock: app.Clock()}
	if err := f.build(ctx, max(1, min(o.endGroups, o.ends))); err != nil {
		return false, fmt.Errorf("building what is to end: %w", err)
	}
	s, end, err := f.database(ctx, name)
	if err != nil {
		return false, err
	}
	defer end()
	if err := f.prepare(ctx, s); err != nil {
		return false, fmt.Errorf("storing grants: %w", err)
	}
	before, err := f.bare(ctx, f.loop[:len(f.loop)/2])
	if err != nil {
		return false, err
	}
	f.start(s)
	defer func() {
		stop, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		err = errors.Join(err, f.run.Close(stop))
	}()
	fmt.Fprintf(out, "%s: %d grants of %d accounts in %d groups end at %s\n", name, f.n, len(f.users), len(f.groups), f.ends.Format("15:04:05"))
	if swept := f.until(ctx, time.Until(f.ends)-time.Second, func(s app.GrantStatus) bool { return s.Sweeps > 0 }); !swept {
		fmt.Fprintf(out, "%s: the comparison at the start was still going on\n", name)
	}
	sleep(ctx, time.Until(f.ends)-2*time.Second)
	if o.profile != "" {
		p, err := os.Create(o.profile)
		if err != nil {
			return false, err
		}
		defer p.Close()
		if err := pprof.StartCPUProfile(p); err != nil {
			return false, err
		}
		defer pprof.StopCPUProfile()
	}
	asks, stop := context.WithCancel(ctx)
	var meanwhile requests
	meanwhile.begin(asks, f)
	sleep(ctx, time.Until(f.ends))
	all := f.until(ctx, 20*time.Minute, func(s app.GrantStatus) bool { return s.Ended >= int64(f.n) })
	took := time.Since(f.ends)
	stop()
	meanwhile.all.Wait()
	after, err := f.bare(ctx, f.loop[len(f.loop)/2:])
	if err != nil {
		return false, err
	}
	left, late, err := f.result(ctx, s)
	if err != nil {
		return false, err
	}
	rate, bare := float64(f.n)/took.Seconds(), (before+after)/2
	fmt.Fprintf(out, "%s: all removed in %s: %.0f/s; a bare loop %.0f/s (%.0f/s before, %.0f/s after): ratio %.2f (limit %.1f); left %d; load %s\n",
		name, took.Round(10*time.Millisecond), rate, bare, before, after, rate/bare, endsRate, left, machine())
	fmt.Fprintf(out, "%s: lateness of an end p50 %s, p99 %s, longest %s\n", name, at(late, 50), at(late, 99), at(late, 100))
	slow := meanwhile.print(out, name)
	return all && left == 0 && rate >= endsRate*bare && slow <= endsRequest, nil
}

// build makes accounts, groups and policies.
func (f *flood) build(ctx context.Context, groups int) error {
	users := (f.n + groups - 1) / groups
	f.n = users * groups
	loops := max(2, (groups/5+1)/2*2)
	f.w.made++
	tag := fmt.Sprintf("%s-%d", f.w.tag, f.w.made)
	err := f.w.with(ctx, func(c *ldap.Conn) (err error) {
		for i := range users {
			if f.users, err = f.w.make(c, f.users, "user", fmt.Sprintf("%s-e%d", tag, i), "userAccountControl", "544"); err != nil {
				return err
			}
		}
		for i := range groups + loops {
			if f.groups, err = f.w.make(c, f.groups, "group", fmt.Sprintf("%s-eg%d", tag, i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, g := range f.groups {
		if err := f.w.fill(ctx, g, append([]object{f.w.idle}, f.users...)...); err != nil {
			return err
		}
	}
	f.groups, f.loop = f.groups[:groups], f.groups[groups:]
	var b strings.Builder
	b.WriteString("grants: 1\npolicies:\n")
	for i, g := range f.groups {
		fmt.Fprintf(&b, "  - {name: g%d, title: Group %d, group: %s, requesters: [S-1-5-11], duration: {longest: 4h, usual: 1h}}\n", i, i, g.sid)
	}
	fmt.Fprintf(&b, "  - {name: ask, title: Somebody approves, group: %s, requesters: [S-1-5-11], duration: {longest: 4h, usual: 1h}, approval: {needed: 1, from: [%s]}}\n", f.groups[0].sid, f.users[0].sid)
	f.policy, err = grant.ParsePolicies("ends", []byte(b.String()))
	return err
}

// database opens an empty database: SQLite in a file, or PostgreSQL in memory.
func (f *flood) database(ctx context.Context, name string) (s *store.Store, end func(), err error) {
	file := filepath.Join(f.w.dir, "ends.db")
	end = func() {}
	if name == "postgres" {
		d, err := newDisk(filepath.Join(f.w.dir, "ends"), 1200)
		if err != nil {
			return nil, nil, err
		}
		pg, err := newServer(d)
		if err != nil {
			return nil, nil, errors.Join(err, d.close())
		}
		end = func() { pg.stop(); _ = d.close() }
		if file, err = pg.create(); err != nil {
			end()
			return nil, nil, err
		}
	}
	if s, err = store.Open(ctx, store.Options{Database: file, Migrate: true, Wait: 10 * time.Second}); err != nil {
		end()
		return nil, nil, err
	}
	below := end
	return s, func() { _ = s.Close(); below() }, nil
}

// prepare stores grants that are active, as they would be if their memberships had been
// written.
func (f *flood) prepare(ctx context.Context, s *store.Store) error {
	began := time.Now().UTC().Truncate(time.Second)
	f.ends = began.Add(40*time.Second + time.Duration(f.n)*12*time.Millisecond)
	for i, g := range f.groups {
		err := s.Grants().Update(ctx, func(ctx context.Context, tx grant.Tx) error {
			for j, u := range f.users {
				x := grant.Grant{
					ID: grant.ID(fmt.Sprintf("e%d-%d", i, j)), Generation: 1, State: grant.Active, Policy: f.policy.Policies[i].Name, Terms: f.policy.Policies[i],
					Key: grant.Key{Group: g.guid, Member: u.guid}, Group: grant.Object{GUID: g.guid, SID: g.sid, Name: g.dn, DN: g.dn, Exists: true, Group: true},
					Holder: u.party(), Requester: u.party(), Account: grant.Object{GUID: u.guid, SID: u.sid, DN: u.dn, Exists: true}, Reason: "measurement",
					Duration: f.ends.Sub(began), RequestedAt: began, Basis: grant.Added, Tries: 1, Activated: began, Ends: f.ends, WallEnds: f.ends, WakeDC: f.ends,
				}
				err := errors.Join(
					tx.Put(ctx, x, 0), tx.PutHolding(ctx, grant.Holding{Key: x.Key, Ours: true, Basis: grant.Added, Last: x.ID}),
					tx.Record(ctx, grant.Entry{Time: began, Kind: grant.Decision, Action: grant.Request, Grant: x.ID, Generation: 1, Group: g.guid, Target: u.guid, From: grant.None, To: grant.Active, Detail: "made for a measurement"}))
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// start runs the grants as a server does.
func (f *flood) start(s *store.Store) {
	host := f.w.lab.DCs()[0]
	secret, _ := f.w.lab.Admin.Password()
	d := apply.NewGrants(apply.GrantOptions{Clock: f.clock, Directory: dc.Config{
		Domain: f.w.lab.Domain, DNS: f.w.lab.DNS, Server: host.FQDN, CAFile: f.w.lab.CAFile, Transport: dc.LDAPS, Bind: dc.Simple,
		Credentials: dc.Password(f.w.lab.Admin.Name+"@"+f.w.lab.Domain, secret),
	}})
	f.run = app.RunGrants(app.GrantSettings{Store: s.Grants(), Directory: d, Policies: f.policy, Returned: d.Returned(), Clock: f.clock, Closers: []io.Closer{d}})
}

// until waits until the runner is so far.
func (f *flood) until(ctx context.Context, longest time.Duration, so func(app.GrantStatus) bool) bool {
	for end := time.Now().Add(longest); time.Now().Before(end) && ctx.Err() == nil; {
		if so(f.run.Status()) {
			return true
		}
		sleep(ctx, 20*time.Millisecond)
	}
	return so(f.run.Status())
}

// bare removes the members of some groups one by one over one connection, each by GUID, and
// returns how many in a second.
func (f *flood) bare(ctx context.Context, groups []object) (rate float64, err error) {
	began, n := time.Now(), 0
	err = f.w.with(ctx, func(c *ldap.Conn) error {
		for _, g := range groups {
			for _, u := range f.users {
				r := ldap.NewModifyRequest(fmt.Sprintf("<GUID=%x>", g.guid[:]), nil)
				r.Delete("member", []string{fmt.Sprintf("<GUID=%x>", u.guid[:])})
				if err := c.Modify(r); err != nil {
					return fmt.Errorf("removing a member in a bare loop: %w", err)
				}
				n++
			}
		}
		return nil
	})
	return float64(n) / time.Since(began).Seconds(), err
}

// result looks at directory and store when all is over.
func (f *flood) result(ctx context.Context, s *store.Store) (left int, late []time.Duration, err error) {
	members, err := f.w.members(ctx)
	if err != nil {
		return 0, nil, err
	}
	for _, g := range f.groups {
		left += len(members[lower(g)]) - 1
	}
	p := grant.Page{States: []grant.State{grant.Ended}, Limit: 1000}
	for {
		list, err := s.Grants().List(ctx, p)
		if err != nil {
			return 0, nil, err
		}
		for i := range list {
			late, p.After = append(late, list[i].EndedAt.Sub(list[i].Ends)), list[i].ID
		}
		if len(list) < p.Limit {
			slices.Sort(late)
			return left, late, nil
		}
	}
}

// at returns a percentile of ordered durations.
func at(list []time.Duration, percent int) time.Duration {
	if len(list) == 0 {
		return 0
	}
	return list[min(len(list)-1, len(list)*percent/100)].Round(time.Millisecond)
}

// requests are what people ask meanwhile.
type requests struct {
	all sync.WaitGroup

	mu     sync.Mutex // guards what follows
	took   map[string][]time.Duration
	failed map[string]int
	why    error
}

// begin asks again and again: for one grant, for a list, and for a new grant that somebody
// has to approve.
func (q *requests) begin(ctx context.Context, f *flood) {
	q.took, q.failed = map[string][]time.Duration{}, map[string]int{}
	kinds := map[string]func(context.Context, int) error{
		"one grant": func(ctx context.Context, i int) error {
			_, err := f.run.Grant(ctx, grant.ID(fmt.Sprintf("e0-%d", i%len(f.users))))
			return err
		},
		"a list": func(ctx context.Context, i int) error {
			_, err := f.run.List(ctx, grant.Page{Party: f.users[i%len(f.users)].guid, Limit: 20})
			return err
		},
		"a request": func(ctx context.Context, i int) error {
			by := grant.Caller{Actor: grant.Actor{Party: f.users[i%len(f.users)].party(), Method: "kerberos"}}
			_, err := f.run.Request(ctx, by, grant.Order{ID: grant.ID(fmt.Sprintf("q%d", i)), Policy: "ask", Reason: "measurement", For: time.Hour})
			return err
		},
	}
	for name, do := range kinds {
		q.all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				began := time.Now()
				err := do(context.WithoutCancel(ctx), i)
				q.note(name, time.Since(began), err)
				sleep(ctx, 50*time.Millisecond)
			}
		})
	}
}

func (q *requests) note(name string, d time.Duration, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.took[name] = append(q.took[name], d)
	if err != nil {
		q.failed[name]++
		q.why = err
	}
}

// print prints how long answers took and returns the slowest of the 99 of 100.
func (q *requests) print(out io.Writer, name string) (worst time.Duration) {
	for _, kind := range []string{"one grant", "a list", "a request"} {
		list := q.took[kind]
		slices.Sort(list)
		fmt.Fprintf(out, "%s: meanwhile %s: %d times, %d failed, p50 %s, p99 %s, longest %s\n", name, kind, len(list), q.failed[kind], at(list, 50), at(list, 99), at(list, 100))
		worst = max(worst, at(list, 99))
		if q.failed[kind] > 0 {
			worst = max(worst, time.Hour)
			fmt.Fprintf(out, "%s: %v\n", name, q.why)
		}
	}
	return worst
}
