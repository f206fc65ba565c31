package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/store/storetest"
)

// A key is claimed once by each account, keeps the result of its request, and is
// forgotten after its time.
func TestReplies(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
		r := store.Reply{Account: secdesc.GUID{1}, Key: "k-1", Request: [32]byte{7}, At: at}
		begin := func(r store.Reply, want bool) store.Reply {
			t.Helper()
			kept, fresh, err := s.BeginReply(ctx, r)
			if err != nil || fresh != want {
				t.Fatalf("fresh %v, want %v: %v", fresh, want, err)
			}
			return kept
		}
		begin(r, true)
		if kept := begin(r, false); kept.Status != 0 || kept.Request != r.Request || !kept.At.Equal(at) {
			t.Errorf("unfinished: %+v", kept)
		}
		other := r
		other.Account = secdesc.GUID{2}
		begin(other, true)
		r.Status, r.Type, r.Body = 200, "application/json", []byte("{}")
		if err := s.EndReply(ctx, r); err != nil {
			t.Fatal(err)
		}
		if kept := begin(r, false); kept.Status != 200 || kept.Type != r.Type || string(kept.Body) != "{}" {
			t.Errorf("finished: %+v", kept)
		}
		if kept := begin(other, false); kept.Status != 0 {
			t.Errorf("another account's: %+v", kept)
		}
		if err := s.DropReply(ctx, other); err != nil {
			t.Fatal(err)
		}
		begin(other, true)
		if n, err := s.TrimReplies(ctx, at.Add(time.Second)); err != nil || n != 2 {
			t.Errorf("trimmed %d: %v", n, err)
		}
		begin(r, true)
	})
}
