package granttest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Conform checks that a store does what [grant.Store] asks. open returns an empty one.
func Conform(t *testing.T, open func(*testing.T) grant.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, grant.Store)
	}{
		{"RoundTrip", conformRoundTrip},
		{"Conflicts", conformConflicts},
		{"Rollback", conformRollback},
		{"Due", conformDue},
		{"List", conformList},
		{"Holders", conformHolders},
		{"Holdings", conformHoldings},
		{"Concurrent", conformConcurrent},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

// sample returns a grant with something in most fields.
func sample(n int) grant.Grant {
	at := Origin.Add(time.Duration(n) * time.Minute)
	who := grant.Party{Account: guid(100 + n), SID: secdesc.MustSID("S-1-5-21-1-2-3-1104"), Name: `CONTOSO\änne`}
	return grant.Grant{
		ID: grant.ID(fmt.Sprintf("g-%d", n)), Generation: 1, State: grant.Requested, Policy: "quick", Terms: Policies().Policies[1],
		Key: grant.Key{Group: guid(1), Member: who.Account}, Group: grant.Object{GUID: guid(1), Name: `CONTOSO\Server Admins`, Exists: true, Group: true},
		Holder: who, Requester: who, Reason: "line 1\nline 2", Ticket: "CHG1", Duration: time.Hour, RequestedAt: at, ApproveBy: at.Add(time.Hour),
		Approvals:  []grant.Approval{{By: who, Time: at, Note: "yes"}},
		Observers:  []grant.Observer{{By: who, Joined: at}},
		Extensions: []grant.Extension{{By: who, Time: at, For: time.Minute, Given: true, Approvals: []grant.Approval{{By: who, Time: at}}}},
		Wake:       at,
		Owed:       []grant.Entry{{Time: at, Kind: grant.Decision, Action: grant.Request, Grant: "g"}},
	}
}

func guid(n int) secdesc.GUID {
	return secdesc.MustGUID(fmt.Sprintf("00000000-0000-4000-9000-%012x", n))
}

func put(t *testing.T, s grant.Store, was int64, list ...grant.Grant) {
	t.Helper()
	err := s.Update(t.Context(), func(ctx context.Context, tx grant.Tx) error {
		for _, g := range list {
			if err := tx.Put(ctx, g, was); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func conformRoundTrip(t *testing.T, s grant.Store) {
	g := sample(1)
	put(t, s, 0, g)
	want, err := copied(g)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Read(t.Context(), g.ID)
	if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("got  %+v (%v)\nwant %+v", got, err, want)
	}
	if _, err := s.Read(t.Context(), "no-such"); !errors.Is(err, grant.ErrNotFound) {
		t.Errorf("reading what is not there: %v", err)
	}
	err = s.Update(t.Context(), func(ctx context.Context, tx grant.Tx) error {
		g.Generation, g.State = 2, grant.Denied
		if err := tx.Put(ctx, g, 1); err != nil {
			return err
		}
		if inside, err := tx.Grant(ctx, g.ID); err != nil || inside.State != grant.Denied {
			t.Errorf("a transaction does not see what it wrote: %s, %v", inside.State, err)
		}
		if err := tx.Record(ctx, grant.Entry{Time: Origin, Kind: grant.Decision, Action: grant.Deny, Grant: g.ID, From: grant.Requested, To: grant.Denied}); err != nil {
			return err
		}
		return tx.Notify(ctx, grant.Notice{Time: Origin, Grant: g.ID, Event: grant.Deny, To: []grant.Audience{grant.ToRequester}, Text: "denied"})
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, err = s.Read(t.Context(), g.ID); err != nil || got.State != grant.Denied || got.Generation != 2 {
		t.Errorf("got %s %d, %v", got.State, got.Generation, err)
	}
}

func conformConflicts(t *testing.T, s grant.Store) {
	g := sample(1)
	put(t, s, 0, g)
	for _, c := range []struct {
		id   grant.ID
		was  int64
		want error
	}{
		{"g-1", 0, grant.ErrExists},
		{"g-1", 7, grant.ErrConflict},
		{"g-2", 1, grant.ErrConflict},
	} {
		err := s.Update(t.Context(), func(ctx context.Context, tx grant.Tx) error {
			g := g
			g.ID = c.id
			return tx.Put(ctx, g, c.was)
		})
		if !errors.Is(err, c.want) {
			t.Errorf("put %s in place of %d: %v, want %v", c.id, c.was, err, c.want)
		}
	}
	h := grant.Holding{Key: g.Key, Ours: true}
	for i, want := range []error{nil, grant.ErrConflict} {
		err := s.Update(t.Context(), func(ctx context.Context, tx grant.Tx) error { return tx.PutHolding(ctx, h) })
		if !errors.Is(err, want) {
			t.Errorf("put %d of a holding of revision 0: %v, want %v", i+1, err, want)
		}
	}
}

func conformRollback(t *testing.T, s grant.Store) {
	stop := errors.New("stop")
	g := sample(1)
	err := s.Update(t.Context(), func(ctx context.Context, tx grant.Tx) error {
		for _, err := range []error{
			tx.Put(ctx, g, 0), tx.PutHolding(ctx, grant.Holding{Key: g.Key, Ours: true}),
			tx.Notify(ctx, grant.Notice{Time: Origin, Grant: g.ID}), tx.Record(ctx, grant.Entry{Time: Origin, Kind: grant.Decision, Action: grant.Request}),
		} {
			if err != nil {
				return err
			}
		}
		return stop
	})
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
	if _, err := s.Read(t.Context(), g.ID); !errors.Is(err, grant.ErrNotFound) {
		t.Errorf("what was rolled back is there: %v", err)
	}
	if list, err := s.Holdings(t.Context(), Origin, true); err != nil || len(list) != 0 {
		t.Errorf("holdings: %v, %v", list, err)
	}
}

func ids(list []grant.Grant) (out []grant.ID) {
	for _, g := range list {
		out = append(out, g.ID)
	}
	return out
}

func same(t *testing.T, what string, list []grant.Grant, err error, want ...grant.ID) {
	t.Helper()
	if err != nil || !slices.Equal(ids(list), want) {
		t.Errorf("%s: %v (%v), want %v", what, ids(list), err, want)
	}
}

func conformDue(t *testing.T, s grant.Store) {
	var list []grant.Grant
	for n := range 6 {
		g := sample(n)
		g.Wake = time.Time{}
		list = append(list, g)
	}
	list[0].Wake = Origin.Add(2 * time.Second)
	list[1].Wake = Origin.Add(time.Second)
	list[2].Wake = Origin.Add(3 * time.Second)
	list[3].State, list[3].WakeDC = grant.Active, Origin.Add(time.Second)
	list[4].State, list[4].WakeDC = grant.Ending, time.Unix(0, 0).UTC()
	put(t, s, 0, list...)
	for _, c := range []struct {
		name string
		due  grant.Due
		want []grant.ID
	}{
		{"nothing", grant.Due{Wall: Origin, Limit: 10}, nil},
		{"wall", grant.Due{Wall: Origin.Add(2 * time.Second), Limit: 10}, []grant.ID{"g-1", "g-0"}},
		{"both", grant.Due{Wall: Origin.Add(2 * time.Second), DC: Origin.Add(time.Second), Limit: 10}, []grant.ID{"g-1", "g-0", "g-4", "g-3"}},
		{"controller, not yet", grant.Due{Wall: Origin, DC: Origin, Limit: 10}, []grant.ID{"g-4"}},
		{"limit", grant.Due{Wall: Origin.Add(2 * time.Second), DC: Origin.Add(time.Second), Limit: 3}, []grant.ID{"g-1", "g-0", "g-4"}},
		{"states", grant.Due{Wall: Origin.Add(time.Hour), DC: Origin.Add(time.Hour), States: []grant.State{grant.Ending, grant.Denied}, Limit: 10}, []grant.ID{"g-4"}},
	} {
		got, err := s.Due(t.Context(), c.due)
		same(t, c.name, got, err, c.want...)
	}
}

func conformList(t *testing.T, s grant.Store) {
	var list []grant.Grant
	for n := range 5 {
		list = append(list, sample(n))
	}
	list[2].RequestedAt = list[3].RequestedAt // the ID decides
	list[4].State, list[1].Policy = grant.Ended, "guarded"
	list[0].Requester.Account = guid(7)
	put(t, s, 0, list...)
	for _, c := range []struct {
		name string
		page grant.Page
		want []grant.ID
	}{
		{"all", grant.Page{Limit: 10}, []grant.ID{"g-4", "g-3", "g-2", "g-1", "g-0"}},
		{"page 1", grant.Page{Limit: 2}, []grant.ID{"g-4", "g-3"}},
		{"page 2", grant.Page{Limit: 2, After: "g-3"}, []grant.ID{"g-2", "g-1"}},
		{"states", grant.Page{Limit: 10, States: []grant.State{grant.Ended}}, []grant.ID{"g-4"}},
		{"policy", grant.Page{Limit: 10, Policy: "guarded"}, []grant.ID{"g-1"}},
		{"requester", grant.Page{Limit: 10, Party: guid(7)}, []grant.ID{"g-0"}},
		{"holder", grant.Page{Limit: 10, Party: guid(100)}, []grant.ID{"g-0"}},
	} {
		got, err := s.List(t.Context(), c.page)
		same(t, c.name, got, err, c.want...)
	}
}

func conformHolders(t *testing.T, s grant.Store) {
	var list []grant.Grant
	for n, state := range []grant.State{grant.Approved, grant.Activating, grant.Active, grant.Ending, grant.Ended, grant.Active} {
		g := sample(n)
		g.State, g.Key = state, grant.Key{Group: guid(1), Member: guid(2)}
		if n == 5 {
			g.Key.Group = guid(3)
		}
		list = append(list, g)
	}
	put(t, s, 0, list...)
	err := s.Update(t.Context(), func(ctx context.Context, tx grant.Tx) error {
		got, err := tx.Holders(ctx, grant.Key{Group: guid(1), Member: guid(2)})
		same(t, "holders", got, err, "g-1", "g-2", "g-3")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func conformHoldings(t *testing.T, s grant.Store) {
	key := func(n int) grant.Key { return grant.Key{Group: guid(1), Member: guid(n)} }
	err := s.Update(t.Context(), func(ctx context.Context, tx grant.Tx) error {
		for _, h := range []grant.Holding{
			{Key: key(1), Ours: true, Stamp: "7", Basis: grant.Added, Last: "g-1"},
			{Key: key(2), Watch: Origin.Add(time.Minute), Busy: Origin},
			{Key: key(3), Gone: true},
			{Key: key(4), Last: "g-2"},
		} {
			if err := tx.PutHolding(ctx, h); err != nil {
				return err
			}
		}
		h, err := tx.Holding(ctx, key(1))
		if err != nil || !h.Ours || h.Stamp != "7" || h.Revision != 1 {
			t.Errorf("inside: %+v, %v", h, err)
		}
		h.Stamp = "8"
		if err := tx.PutHolding(ctx, h); err != nil {
			return err
		}
		h, err = tx.Holding(ctx, key(9))
		if err != nil || h != (grant.Holding{Key: key(9)}) {
			t.Errorf("one that is not there: %+v, %v", h, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	some, err := s.HoldingsOf(t.Context(), []grant.Key{key(1), key(4), key(9)})
	slices.SortFunc(some, func(a, b grant.Holding) int { return cmp.Compare(a.Key.String(), b.Key.String()) })
	if err != nil || len(some) != 2 || some[0].Key != key(1) || some[0].Revision != 2 || some[0].Stamp != "8" || some[1].Key != key(4) || some[1].Revision != 1 {
		t.Errorf("some: %+v, %v", some, err)
	}
	for _, c := range []struct {
		at   time.Duration
		all  bool
		want []grant.Key
	}{
		{0, false, []grant.Key{key(2)}},
		{time.Minute, false, []grant.Key{key(2)}},
		{2 * time.Minute, false, nil},
		{0, true, []grant.Key{key(1), key(2), key(3)}},
		{2 * time.Minute, true, []grant.Key{key(1), key(3)}},
	} {
		var got []grant.Key
		list, err := s.Holdings(t.Context(), Origin.Add(c.at), c.all)
		for _, h := range list {
			got = append(got, h.Key)
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("holdings at %s, all %v: %v (%v), want %v", c.at, c.all, got, err, c.want)
		}
	}
}

// conformConcurrent: of those who change the same grant at once, each sees what the
// others did, or is told so; no change is lost.
func conformConcurrent(t *testing.T, s grant.Store) {
	put(t, s, 0, sample(1))
	const workers, each = 4, 10
	done := make(chan error, workers)
	for range workers {
		go func() {
			var err error
			for i := 0; i < each && err == nil; {
				err = s.Update(t.Context(), func(ctx context.Context, tx grant.Tx) error {
					g, err := tx.Grant(ctx, "g-1")
					if err != nil {
						return err
					}
					was := g.Generation
					g.Generation++
					return tx.Put(ctx, g, was)
				})
				if errors.Is(err, grant.ErrConflict) {
					err = nil
					continue
				}
				i++
			}
			done <- err
		}()
	}
	for range workers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if g, err := s.Read(t.Context(), "g-1"); err != nil || g.Generation != 1+workers*each {
		t.Errorf("generation %d (%v), want %d", g.Generation, err, 1+workers*each)
	}
}
