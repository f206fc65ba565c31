package dc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPagesArriveWhole(t *testing.T) {
	w := newWorld(t)
	d := w.addDC("dc1", "10.0.0.1", 2345)
	r := w.open(nil)
	for _, c := range []struct{ size, pages int }{{1, 2345}, {7, 335}, {1000, 3}, {5000, 3}} { // the server caps at 1000
		dns, res, err := collect(t.Context(), r, Request{PageSize: c.size})
		if err != nil {
			t.Fatalf("pages of %d: %v", c.size, err)
		}
		if len(dns) != 2345 || dns[2344] != d.entries[2344].DN || res.Entries != 2345 || res.Pages != c.pages {
			t.Errorf("pages of %d: %d names, %+v, want %d pages", c.size, len(dns), res, c.pages)
		}
		if res.Server.Name != "dc1.x.test" || res.Server.Addr.String() != "10.0.0.1" {
			t.Errorf("answered by %v", res.Server)
		}
	}
}

func manyValues(n int) (v [][]byte) {
	for i := range n {
		v = append(v, fmt.Appendf(nil, "CN=m%d", i))
	}
	return v
}

func TestRangedValuesAreCompleted(t *testing.T) {
	w := newWorld(t)
	d := w.addDC("dc1", "10.0.0.1", 3)
	for i, n := range []int{5000, 1500, 3000} {
		d.entries[i].Attributes = append(d.entries[i].Attributes, Attribute{Name: "member", Values: manyValues(n)})
	}
	r := w.open(nil)
	i := 0
	_, err := r.Search(t.Context(), Request{Base: "DC=x,DC=test", Scope: ScopeSubtree}, func(e Entry) error {
		if diff := cmp.Diff(d.entries[i], e); diff != "" {
			t.Errorf("entry %d: %s", i, diff)
		}
		i++
		return nil
	})
	if err != nil || i != 3 {
		t.Errorf("%d entries, %v", i, err)
	}
}

// A range that does not continue where the last one ended, or an attribute that
// has shrunk in between, must not yield a short list.
func TestRangesThatDoNotFit(t *testing.T) {
	for name, shrink := range map[string]int{"gone": 0, "shorter": 1000, "vanished object": -1} {
		w := newWorld(t)
		d := w.addDC("dc1", "10.0.0.1", 1)
		d.entries[0].Attributes = append(d.entries[0].Attributes, Attribute{Name: "member", Values: manyValues(2000)})
		d.misbehave = func(s *fakeSession, q fakeSearch) bool {
			s.entries(q, 1)
			if shrink < 0 {
				d.entries[0].DN = "CN=elsewhere"
			} else {
				d.entries[0].Attributes[1].Values = d.entries[0].Attributes[1].Values[:shrink]
			}
			s.done(q.id, 0, "", encodePaging(0, nil))
			return true
		}
		r := w.open(nil)
		dns, _, err := collect(t.Context(), r, Request{})
		if !errors.Is(err, ErrTruncated) || len(dns) != 0 {
			t.Errorf("%s: %d entries, %v, want %v", name, len(dns), err, ErrTruncated)
		}
	}
}

// Success without the paging control, with an unreadable one, or a closed
// connection: all of them must be truncations that say where.
func TestTruncation(t *testing.T) {
	cases := map[string]struct {
		end  func(s *fakeSession, q fakeSearch, end int)
		kind Kind
	}{
		"no paging control": {func(s *fakeSession, q fakeSearch, _ int) { s.done(q.id, 0, "", nil) }, ErrTruncated},
		"another control": {func(s *fakeSession, q fakeSearch, _ int) {
			s.done(q.id, 0, "", encodeControl(oidSDFlags, false, nil))
		}, ErrTruncated},
		"broken control": {func(s *fakeSession, q fakeSearch, _ int) {
			s.done(q.id, 0, "", encodeControl(oidPaging, false, []byte("x")))
		}, ErrProtocol},
		"closed":          {func(s *fakeSession, _ fakeSearch, _ int) { _ = s.nc.Close() }, ErrConnectionLost},
		"wrong message":   {func(s *fakeSession, q fakeSearch, _ int) { s.done(q.id+7, 0, "", encodePaging(0, nil)) }, ErrProtocol},
		"other operation": {func(s *fakeSession, q fakeSearch, _ int) { s.send(q.id, tlv(opExtendedResponse), nil) }, ErrProtocol},
		"malformed entry": {func(s *fakeSession, q fakeSearch, _ int) { s.send(q.id, tlv(opSearchEntry, []byte("x")), nil) }, ErrProtocol},
		"half an entry": {func(s *fakeSession, q fakeSearch, end int) {
			b := encodeMessage(q.id, encodeEntry(s.d.entries[end]), nil)
			_, _ = s.nc.Write(b[:len(b)/2])
			_ = s.nc.Close()
		}, ErrConnectionLost},
		"notice of disconnection": {func(s *fakeSession, _ fakeSearch, _ int) {
			s.send(0, tlv(opExtendedResponse, berInt(0x0a, 52), berString(0x04, ""), berString(0x04, "shutting down")), nil)
		}, ErrConnectionLost},
		"size limit":    {limit(resultSizeLimit), ErrSizeLimit},
		"time limit":    {limit(resultTimeLimit), ErrTimeLimit},
		"admin limit":   {limit(resultAdminLimit), ErrAdminLimit},
		"busy":          {limit(resultBusy), ErrBusy},
		"unavailable":   {limit(resultUnavailable), ErrUnavailable},
		"access denied": {limit(resultAccessDenied), ErrAccessDenied},
		"unwilling":     {limit(resultUnwilling), ErrServer},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			d := w.addDC("dc1", "10.0.0.1", 30)
			d.misbehave = func(s *fakeSession, q fakeSearch) bool {
				if q.offset != 20 {
					return false
				}
				s.entries(q, 25)
				c.end(s, q, 25)
				return true
			}
			dns, res, err := collect(t.Context(), w.open(nil), Request{PageSize: 10})
			if !errors.Is(err, ErrTruncated) || KindOf(err) != c.kind {
				t.Fatalf("%v, want %v", err, c.kind)
			}
			var e *Error
			errors.As(err, &e)
			want := &Position{Partition: "DC=x,DC=test", Entries: 25, LastDN: "CN=dc1-24,DC=x,DC=test"}
			if diff := cmp.Diff(want, e.At); diff != "" || len(dns) != 25 || res.Entries != 25 {
				t.Errorf("%d entries, %s", len(dns), diff)
			}
			for _, part := range []string{"dc1.x.test", "after 25 entries", "CN=dc1-24"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the message lacks %q: %v", part, err)
				}
			}
		})
	}
}

func limit(code int64) func(*fakeSession, fakeSearch, int) {
	return func(s *fakeSession, q fakeSearch, _ int) { s.done(q.id, code, "said so", nil) }
}

// A refusal before anything was read is not a truncation: nothing is missing
// that could be mistaken for the whole.
func TestRefusals(t *testing.T) {
	for code, kind := range map[int64]Kind{
		resultNoSuchObject: ErrNoSuchObject, resultAccessDenied: ErrAccessDenied, resultCriticalExtension: ErrUnsupported,
		resultReferral: ErrReferral, resultStrongAuthRequired: ErrStrongAuthRequired, resultUnwilling: ErrServer,
	} {
		w := newWorld(t)
		w.addDC("dc1", "10.0.0.1", 3).misbehave = func(s *fakeSession, q fakeSearch) bool {
			return s.send(q.id, tlv(opSearchDone, berInt(0x0a, code), berString(0x04, ""), berString(0x04, ""), tlv(0xa3, berString(0x04, "ldap://other/DC=y"))), nil)
		}
		_, _, err := collect(t.Context(), w.open(nil), Request{})
		if KindOf(err) != kind || errors.Is(err, ErrTruncated) {
			t.Errorf("code %d: %v, want %v", code, err, kind)
		}
		if kind == ErrReferral && !strings.Contains(err.Error(), "ldap://other/DC=y") {
			t.Errorf("the referral is not named: %v", err)
		}
	}
}

func TestReferralsAreReportedNotFollowed(t *testing.T) {
	w := newWorld(t)
	w.addDC("dc1", "10.0.0.1", 3).misbehave = func(s *fakeSession, q fakeSearch) bool {
		s.send(q.id, tlv(opSearchReference, berString(0x04, "ldap://child.x.test/DC=child"), berString(0x04, "ldap://b/")), nil)
		return false
	}
	dns, res, err := collect(t.Context(), w.open(nil), Request{})
	if err != nil || len(dns) != 3 {
		t.Fatalf("%d entries, %v", len(dns), err)
	}
	if diff := cmp.Diff([]string{"ldap://child.x.test/DC=child", "ldap://b/"}, res.Referrals); diff != "" {
		t.Error(diff)
	}
	for _, name := range w.asked {
		if strings.Contains(name, "child") {
			t.Errorf("looked up %s", name)
		}
	}
}

// The caller's end of patience ends a search that the server holds up, at once
// and with the position.
func TestCancelAndDeadline(t *testing.T) {
	hang := make(chan struct{})
	w := newWorld(t)
	t.Cleanup(func() { close(hang) })
	w.addDC("dc1", "10.0.0.1", 30).misbehave = func(s *fakeSession, q fakeSearch) bool {
		s.entries(q, 5)
		<-hang
		return true
	}
	for name, c := range map[string]struct {
		run  func(r *Reader) error
		kind Kind
		is   error
	}{
		"canceled": {func(r *Reader) error {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(50*time.Millisecond, cancel)
			_, _, err := collect(ctx, r, Request{})
			return err
		}, ErrCanceled, context.Canceled},
		"deadline of the context": {func(r *Reader) error {
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			defer cancel()
			_, _, err := collect(ctx, r, Request{})
			return err
		}, ErrTimeout, ErrTimeout},
		"deadline of the request": {func(r *Reader) error {
			_, _, err := collect(context.Background(), r, Request{Timeout: 50 * time.Millisecond})
			return err
		}, ErrTimeout, ErrTimeout},
		"deadline of an answer": {func(r *Reader) error {
			r.cfg.Timeout = 50 * time.Millisecond
			r.idle[0].timeout = r.cfg.Timeout
			_, _, err := collect(context.Background(), r, Request{})
			return err
		}, ErrTimeout, ErrTimeout},
	} {
		r := w.open(nil)
		begin := time.Now()
		err := c.run(r)
		if KindOf(err) != c.kind || !errors.Is(err, c.is) || !errors.Is(err, ErrTruncated) {
			t.Errorf("%s: %v, want %v", name, err, c.kind)
		}
		if d := time.Since(begin); d > 2*time.Second {
			t.Errorf("%s: took %s", name, d)
		}
	}
}

// A search that has begun continues on another domain controller only from the
// start, and only if the caller agreed.
func TestFailover(t *testing.T) {
	world := func(t *testing.T) (*fakeWorld, *atomic.Bool) {
		w := newWorld(t)
		var dead atomic.Bool
		d1 := w.addDC("dc1", "10.0.0.1", 300)
		d1.misbehave = func(s *fakeSession, q fakeSearch) bool {
			if q.offset < 200 {
				return false
			}
			s.entries(q, 250)
			dead.Store(true)
			w.setPort("10.0.0.1:636", nil)
			_ = s.nc.Close()
			return true
		}
		return w, &dead
	}
	t.Run("restart", func(t *testing.T) {
		w, _ := world(t)
		w.addDC("dc2", "10.0.0.2", 280)
		r := w.open(nil)
		var seen Restart
		dns, res, err := collect(t.Context(), r, Request{PageSize: 100, Restart: func(again Restart) error { seen = again; return nil }})
		if err != nil {
			t.Fatal(err)
		}
		if len(dns) != 280 || res.Entries != 280 || res.Server.Name != "dc2.x.test" || len(res.Restarts) != 1 {
			t.Errorf("%d entries, %+v", len(dns), res)
		}
		for _, dn := range dns {
			if !strings.HasPrefix(dn, "CN=dc2-") {
				t.Fatalf("the answers are mixed: %s", dn)
			}
		}
		if seen.From.Name != "dc1.x.test" || seen.To.Name != "dc2.x.test" || seen.At.Entries != 250 || !errors.Is(seen.Cause, ErrConnectionLost) {
			t.Errorf("%+v", seen)
		}
		if got := r.Server().Name; got != "dc2.x.test" {
			t.Errorf("the next search would go to %s", got)
		}
	})
	t.Run("not agreed", func(t *testing.T) {
		w, _ := world(t)
		w.addDC("dc2", "10.0.0.2", 280)
		dns, res, err := collect(t.Context(), w.open(nil), Request{PageSize: 100})
		if !errors.Is(err, ErrTruncated) || KindOf(err) != ErrConnectionLost || len(dns) != 250 || len(res.Restarts) != 0 {
			t.Errorf("%d entries, %v", len(dns), err)
		}
	})
	t.Run("refused by the caller", func(t *testing.T) {
		w, _ := world(t)
		w.addDC("dc2", "10.0.0.2", 280)
		stop := errors.New("no")
		_, _, err := collect(t.Context(), w.open(nil), Request{PageSize: 100, Restart: func(Restart) error { return stop }})
		if !errors.Is(err, stop) {
			t.Errorf("%v, want %v", err, stop)
		}
	})
	t.Run("nobody else", func(t *testing.T) {
		w, _ := world(t)
		_, _, err := collect(t.Context(), w.open(nil), Request{PageSize: 100, Restart: func(Restart) error { t.Error("restarted"); return nil }})
		if !errors.Is(err, ErrTruncated) || !strings.Contains(err.Error(), "no other domain controller can take over") || !strings.Contains(err.Error(), "after 250 entries") {
			t.Errorf("%v", err)
		}
	})
	t.Run("caller's own error", func(t *testing.T) {
		w, _ := world(t)
		w.addDC("dc2", "10.0.0.2", 280)
		r := w.open(nil)
		stop := &Error{Kind: ErrConnectionLost, Op: "the caller's own"}
		_, err := r.Search(t.Context(), Request{Base: "DC=x,DC=test", Scope: ScopeSubtree, PageSize: 100, Restart: func(Restart) error { t.Error("restarted"); return nil }},
			func(Entry) error { return stop })
		if err != error(stop) {
			t.Errorf("%v, want the caller's error itself", err)
		}
		// The abandoned answers must not leak into the next search.
		dns, _, err := collect(t.Context(), r, Request{PageSize: 50, SizeLimit: 0, Restart: func(Restart) error { return nil }})
		if err != nil || len(dns) != 280 {
			t.Errorf("next search: %d entries, %v", len(dns), err)
		}
	})
}

// A connection that the server closed while it was idle is replaced.
func TestIdleConnectionIsReplaced(t *testing.T) {
	w := newWorld(t)
	w.addDC("dc1", "10.0.0.1", 3)
	r := w.open(nil)
	w.mu.Lock()
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.mu.Unlock()
	dns, _, err := collect(t.Context(), r, Request{})
	if err != nil || len(dns) != 3 {
		t.Errorf("%d entries, %v", len(dns), err)
	}
}

func TestControls(t *testing.T) {
	for _, known := range []bool{false, true} {
		w := newWorld(t)
		d := w.addDC("dc1", "10.0.0.1", 1)
		if known {
			d.controls = []string{oidLinkTTL, oidPaging}
		}
		_, res, err := collect(t.Context(), w.open(nil), Request{LinkTTL: true, SDFlags: SDOwner | SDDACL, ShowDeleted: true, ShowRecycled: true, ExtendedDN: true})
		if err != nil {
			t.Fatal(err)
		}
		q := d.searches()[0]
		want := map[string]string{
			oidSDFlags: "\x30\x03\x02\x01\x05", oidShowDeleted: "", oidShowRecycled: "", oidExtendedDN: "\x30\x03\x02\x01\x01",
		}
		for oid, value := range want {
			got, ok, err := q.controls.control(oid)
			if !ok || err != nil || string(got) != value {
				t.Errorf("control %s: %q, %v, %v", oid, got, ok, err)
			}
		}
		if _, sent, _ := q.controls.control(oidLinkTTL); sent != known || res.LinkTTL != known {
			t.Errorf("known %v: link TTL sent %v, reported %v", known, sent, res.LinkTTL)
		}
		_, _, err = collect(t.Context(), w.open(nil), Request{})
		if err != nil {
			t.Fatal(err)
		}
		if _, sent, _ := d.searches()[1].controls.control(oidSDFlags); sent {
			t.Error("a control was sent that nobody asked for")
		}
	}
}

// Searches of one Reader may run at the same time.
func TestConcurrentSearches(t *testing.T) {
	w := newWorld(t)
	w.addDC("dc1", "10.0.0.1", 500)
	r := w.open(nil)
	errs := make(chan error)
	for range 8 {
		go func() {
			dns, _, err := collect(context.Background(), r, Request{PageSize: 50})
			if err == nil && len(dns) != 500 {
				err = fmt.Errorf("%d entries", len(dns))
			}
			errs <- err
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestBadFilter(t *testing.T) {
	w := newWorld(t)
	w.addDC("dc1", "10.0.0.1", 1)
	if _, _, err := collect(t.Context(), w.open(nil), Request{Filter: "(cn=*"}); !errors.Is(err, ErrConfig) {
		t.Errorf("%v, want %v", err, ErrConfig)
	}
}
