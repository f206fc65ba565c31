package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/leastwise/leastwise/internal/api"
	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/store"
)

const pathEvents = "/v1/events"

// Limits of streams.
const (
	maxStreams      = 200                    // on this node
	maxStreamsEach  = 5                      // of one account
	pollEvents      = 500 * time.Millisecond // other nodes write to the same log
	pingEvery       = 15 * time.Second
	eventWrite      = 10 * time.Second // a client that does not read for so long is dropped
	eventBatch      = 200
	eventsBack      = 10_000 // entries that a stream looks back for at most
	recheckIdentity = 10 * time.Second
)

// A pace is how often streams do what they do.
type pace struct{ poll, ping, write time.Duration }

// A hub lets streams look at the log when it has grown. The first stream makes it look,
// and with the last one it stops, so that a server without streams reads nothing.
type hub struct {
	s    *Server
	mu   sync.Mutex
	each map[string]int // streams by account
	all  int
}

func newHub(s *Server) *hub { return &hub{s: s, each: map[string]int{}} }

// enter counts a stream in; leave has to be called if it returns true.
func (h *hub) enter(account string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all >= maxStreams || h.each[account] >= maxStreamsEach {
		return false
	}
	h.all++
	h.each[account]++
	h.s.metrics.streams.Set(float64(h.all))
	return true
}

func (h *hub) leave(account string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all--
	if h.each[account]--; h.each[account] == 0 {
		delete(h.each, account)
	}
	h.s.metrics.streams.Set(float64(h.all))
}

type eventsIn struct {
	LastEventID string `header:"Last-Event-ID" maxLength:"20" doc:"the last event that the client has seen: those after it follow"`
	Grant       string `query:"grant" maxLength:"64" doc:"only events of this grant"`
}

func (s *Server) registerEvents() {
	add(s, route{
		id: "follow-events", method: http.MethodGet, path: pathEvents, tag: tagGrants, summary: "Follow what happens to the grants that the caller may see",
		text: "Server-sent events, one for each entry of the audit log about a grant that the caller may see; the ID of an event is the entry's index. " +
			"A client that was away sends Last-Event-ID; if that is further back than can be followed, an event named reset tells it to read the lists anew. A stream ends with its session.",
		may: operator.GrantRead,
	}, s.followEvents)
	item := s.huma.OpenAPI().Paths[pathEvents]
	schema := s.huma.OpenAPI().Components.Schemas.Schema(reflectEvent, true, "Event")
	item.Get.Responses["200"] = &huma.Response{
		Description: "Events named grant, whose data is this, and reset, which has none",
		Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: schema}},
	}
}

// A stream is one client that follows events.
type stream struct {
	s      *Server
	c      *caller
	grant  string
	next   int64 // index of the entry to look at
	known  concernedBy
	asked  time.Time // when concernedBy and the session were last asked for
	w      http.ResponseWriter
	rc     *http.ResponseController
	pinged time.Time
}

func (s *Server) followEvents(ctx context.Context, c *caller, in *eventsIn) (*huma.StreamResponse, error) {
	last := int64(-1)
	if in.LastEventID != "" {
		n, err := strconv.ParseInt(in.LastEventID, 10, 64)
		if err != nil || n < 0 {
			return nil, invalidField("header.Last-Event-ID", "not the ID of an event")
		}
		last = n
	}
	if in.Grant != "" && !grant.ID(in.Grant).Valid() {
		return nil, invalidField("query.grant", "not the ID of a grant")
	}
	head, err := s.head(ctx)
	if err != nil {
		return nil, err
	}
	account := c.Account.String()
	if !s.events.enter(account) {
		p := api.NewProblem(api.CodeTooMany, "too many streams of events")
		p.Retry = 30
		return nil, p
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer s.events.leave(account)
		r, w := humago.Unwrap(hc)
		st := &stream{s: s, c: c, grant: in.Grant, next: head, w: w, rc: http.NewResponseController(w)}
		_ = st.rc.SetReadDeadline(time.Time{})
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("X-Accel-Buffering", "no")
		w.WriteHeader(http.StatusOK)
		reset := last >= head || last >= 0 && head-last > eventsBack
		if last >= 0 && !reset {
			st.next = last + 1
		}
		err := st.run(r.Context(), reset)
		if err != nil && r.Context().Err() == nil {
			s.cfg.Log.InfoContext(r.Context(), "stream of events ended", "request", requestID(r.Context()), "why", string(s.problem(r.Context(), err).Code()))
		}
	}}, nil
}

// head is the number of entries in the log.
func (s *Server) head(ctx context.Context) (n int64, err error) {
	err = s.cfg.Store.View(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		n, err = tx.AuditHead(ctx)
		return err
	})
	return n, err
}

// errStreamOver ends a stream whose session has ended.
var errStreamOver = errors.New("the session has ended")

func (st *stream) run(ctx context.Context, reset bool) error {
	// The ID says where a client goes on that is cut off before its first event.
	first := "retry: 3000\n" + st.id()
	if reset {
		first += "event: reset\ndata: {}\n"
	}
	if err := st.write(first + "\n"); err != nil {
		return err
	}
	t := time.NewTicker(st.s.pace.poll)
	defer t.Stop()
	for {
		more, err := st.look(ctx)
		if err != nil {
			return err
		}
		if more {
			continue
		}
		if now := st.s.cfg.Now(); now.Sub(st.pinged) >= st.s.pace.ping {
			if err := st.write(": here\n" + st.id() + "\n"); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-st.s.closing:
			return nil
		case <-t.C:
		}
	}
}

// id is the line that says up to where the client has seen the log, also the entries that
// were not for him.
func (st *stream) id() string { return fmt.Sprintf("id: %d\n", max(0, st.next-1)) }

// look sends what has come; more tells that there may be more.
func (st *stream) look(ctx context.Context) (more bool, err error) {
	if err := st.still(ctx); err != nil {
		return false, err
	}
	var entries []audit.Entry
	from := st.next
	err = st.s.cfg.Store.View(ctx, func(ctx context.Context, tx *store.Tx) error {
		rows, err := tx.AuditRecords(ctx, from, eventBatch)
		if err != nil {
			return err
		}
		entries = entries[:0]
		for _, r := range rows {
			from = r.Index + 1
			e, err := audit.Decode(r.Body)
			if err != nil {
				continue // of a newer version, or damaged: verify says which
			}
			entries = append(entries, e)
		}
		more = len(rows) == eventBatch
		return nil
	})
	if err != nil {
		return false, err
	}
	for i := range entries {
		if err := st.send(ctx, &entries[i]); err != nil {
			return false, err
		}
	}
	st.next = from
	return more, nil
}

// still makes sure, every few seconds, that the caller is still signed in.
func (st *stream) still(ctx context.Context) error {
	now := st.s.cfg.Now()
	if age := now.Sub(st.asked); age >= 0 && age < recheckIdentity {
		return nil
	}
	c, err := st.s.cfg.Operators.Identify(ctx, st.s.visit(ctx), st.c.secret)
	if err != nil {
		return errors.Join(errStreamOver, err)
	}
	st.c = &caller{Caller: c, secret: st.c.secret}
	st.asked, st.known = now, concernedBy{}
	return nil
}

// send sends one entry, if it is about a grant that the caller may see.
func (st *stream) send(ctx context.Context, e *audit.Entry) error {
	id, ok := strings.CutPrefix(e.Record, "grant/")
	if !ok || st.grant != "" && st.grant != id || !strings.HasPrefix(e.Action, "grant.") {
		return nil
	}
	g, err := st.s.cfg.Grants.Grant(ctx, grant.ID(id))
	switch {
	case errors.Is(err, grant.ErrNotFound):
		return nil // a request that was refused
	case err != nil:
		return err
	}
	if sees, err := st.s.sees(ctx, st.c, &g, st.known); err != nil || !sees {
		return err
	}
	data, err := json.Marshal(api.Event{
		Index: e.Index, Time: e.Time.UTC(), Action: e.Action, Phase: e.Phase.String(), Result: e.Result.String(), Actor: e.Actor.Name,
		Grant: id, Generation: e.Generation, State: string(g.State), Group: e.TargetName, Account: e.SubjectName, Text: e.Reason,
	})
	if err != nil {
		return err
	}
	return st.write(fmt.Sprintf("id: %d\nevent: grant\ndata: %s\n\n", e.Index, data))
}

// write sends text. The deadline is for this write: one that is left in place would end an
// HTTP/2 stream when it passes, however quiet that is.
func (st *stream) write(text string) error {
	st.pinged = st.s.cfg.Now()
	// A test's recorder knows no deadlines.
	_ = st.rc.SetWriteDeadline(time.Now().Add(st.s.pace.write))
	_, err := st.w.Write([]byte(text))
	if err == nil {
		err = st.rc.Flush()
	}
	_ = st.rc.SetWriteDeadline(time.Time{})
	return err
}
