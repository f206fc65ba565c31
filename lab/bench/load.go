package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	ldap "github.com/go-ldap/ldap/v3"

	"github.com/leastwise/leastwise/internal/api"
	"github.com/leastwise/leastwise/lab/samba"
)

// latency compares a grant that nobody needs to approve, from the request to the answer
// that it is active, with the bare write of such a membership over a connection that is
// open, in turn, by one client.
func (h *host) latency(ctx context.Context, c *api.Client) error {
	h.b.say("%d grants beside as many bare writes", pairs)
	pw := h.dir + "/pw"
	conn, err := h.lab.Dial(ctx, h.lab.DCs()[0], samba.Account{Name: h.name("svc"), PasswordFile: pw})
	if err != nil {
		return fmt.Errorf("signing in as the server's account: %w", err)
	}
	defer conn.Close()
	var bare, ours []time.Duration
	for i := range pairs + 5 {
		b, err := h.bare(conn)
		if err != nil {
			return fmt.Errorf("writing a membership: %w", err)
		}
		o, err := grantOnce(ctx, c)
		if err != nil {
			return err
		}
		if i >= 5 { // the first ones open connections
			bare, ours = append(bare, b), append(ours, o)
		}
	}
	p := func(d []time.Duration, q float64) float64 { return float64(quantile(d, q).Microseconds()) / 1000 }
	h.b.table.add(row{what: "membership, bare write, half of them within", value: fmt.Sprintf("%.1f ms (90 of 100: %.1f)", p(bare, .5), p(bare, .9))})
	h.b.table.add(row{what: "grant, request to active, half of them within", value: fmt.Sprintf("%.1f ms (90 of 100: %.1f)", p(ours, .5), p(ours, .9))})
	h.b.table.under("grant / bare write", "%.2f", p(ours, .5)/p(bare, .5), 1.5)
	return nil
}

// bare adds a membership as its server does, and takes it away again uncounted.
func (h *host) bare(conn *ldap.Conn) (time.Duration, error) {
	add := ldap.NewModifyRequest("CN=bare,"+h.ou, nil)
	add.Add("member", []string{"CN=u1," + h.ou})
	began := time.Now()
	if err := conn.Modify(add); err != nil {
		return 0, err
	}
	took := time.Since(began)
	del := ldap.NewModifyRequest("CN=bare,"+h.ou, nil)
	del.Delete("member", []string{"CN=u1," + h.ou})
	return took, conn.Modify(del)
}

// grantOnce requests a grant, and gives it back uncounted.
func grantOnce(ctx context.Context, c *api.Client) (time.Duration, error) {
	var g api.Grant
	began := time.Now()
	if err := c.Do(ctx, api.Call{Method: http.MethodPost, Path: "/v1/grants", In: api.GrantRequest{Policy: "power0", Reason: "measured"}, Out: &g}); err != nil {
		return 0, fmt.Errorf("requesting a grant: %w", err)
	}
	took := time.Since(began)
	if g.State != "active" {
		return 0, fmt.Errorf("the grant is %s when its request is answered: %s", g.State, g.Fault)
	}
	return took, giveBack(ctx, c, g.ID)
}

func giveBack(ctx context.Context, c *api.Client, id string) error {
	err := c.Do(ctx, api.Call{Method: http.MethodPost, Path: "/v1/grants/" + id + "/give-back", In: api.Note{Reason: "measured"}})
	if err != nil {
		err = fmt.Errorf("giving a grant back: %w", err)
	}
	return err
}

func quantile(d []time.Duration, q float64) time.Duration {
	s := slices.Clone(d)
	slices.Sort(s)
	return s[min(len(s)-1, int(q*float64(len(s))))]
}

// A tally is what clients came to.
type tally struct {
	mu       sync.Mutex
	calls    []time.Duration
	grants   int
	errs     int
	first    error
	deadline time.Time
}

func (t *tally) call(ctx context.Context, c *api.Client, call api.Call) bool {
	began := time.Now()
	err := c.Do(ctx, call)
	took := time.Since(began)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls = append(t.calls, took)
	if err != nil {
		t.errs++
		if t.first == nil {
			t.first = fmt.Errorf("%s %s: %w", call.Method, call.Path, err)
		}
	}
	return err == nil
}

// work does what a person does, again and again: look, request, look, give back.
func (t *tally) work(ctx context.Context, c *api.Client, policy string, think time.Duration) {
	get := func(path string, out any) bool {
		return t.call(ctx, c, api.Call{Method: http.MethodGet, Path: path, Out: out})
	}
	own := url.Values{"mine": {"true"}, "limit": {"5"}}
	for time.Now().Before(t.deadline) && ctx.Err() == nil {
		var g api.Grant
		get("/v1/policies", nil)
		if t.call(ctx, c, api.Call{Method: http.MethodPost, Path: "/v1/grants", In: api.GrantRequest{Policy: policy, Reason: "load"}, Out: &g}) {
			get("/v1/grants/"+g.ID, nil)
			t.call(ctx, c, api.Call{Method: http.MethodGet, Path: "/v1/grants", Query: own})
			for try := 0; g.State != "active" && try < 60; try++ { // it waits for the directory
				time.Sleep(lookEvery)
				get("/v1/grants/"+g.ID, &g)
			}
			if t.call(ctx, c, api.Call{Method: http.MethodPost, Path: "/v1/grants/" + g.ID + "/give-back", In: api.Note{Reason: "load"}}) {
				t.mu.Lock()
				t.grants++
				t.mu.Unlock()
			}
		}
		time.Sleep(think)
	}
}

// look does what most people do most of the time: see who they are, what there is, and
// what they have.
func (t *tally) look(ctx context.Context, c *api.Client, think time.Duration) {
	own := url.Values{"mine": {"true"}, "limit": {"5"}}
	for time.Now().Before(t.deadline) && ctx.Err() == nil {
		t.call(ctx, c, api.Call{Method: http.MethodGet, Path: "/v1/session"})
		t.call(ctx, c, api.Call{Method: http.MethodGet, Path: "/v1/policies"})
		t.call(ctx, c, api.Call{Method: http.MethodGet, Path: "/v1/grants", Query: own})
		time.Sleep(think)
	}
}

// load lets clients work for a time: one in ten requests grants, the others look.
func (h *host) load(ctx context.Context, clients []*api.Client, d, think time.Duration) *tally {
	t := &tally{deadline: time.Now().Add(d)}
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() {
			if i%10 == 0 {
				t.work(ctx, c, fmt.Sprintf("power%d", i/10%groups), think)
			} else {
				t.look(ctx, c, think)
			}
		})
	}
	wg.Wait()
	return t
}

// crowd measures many clients at once: none may see an error.
func (h *host) crowd(ctx context.Context, clients []*api.Client) error {
	h.b.say("%d clients at once for %s", len(clients), crowdTime)
	t := h.load(ctx, clients, crowdTime, 0)
	label := fmt.Sprintf("%d clients for %s: ", len(clients), crowdTime)
	h.b.table.under(label+"errors", "%.0f", float64(t.errs), 0)
	h.b.table.add(row{what: label + "requests, grants", value: fmt.Sprintf("%d, %d", len(t.calls), t.grants)})
	h.b.table.add(row{what: label + "a request takes, half, 99 of 100", value: fmt.Sprintf("%s, %s", quantile(t.calls, .5).Round(time.Millisecond), quantile(t.calls, .99).Round(time.Millisecond))})
	if t.first != nil {
		h.b.say("the first error: %v", t.first)
	}
	return nil
}

// soak lets clients work for long, and looks at the server's memory. It is stable if the
// last quarter of the time needs no more than the second one, but for a tenth.
func (h *host) soak(ctx context.Context, clients []*api.Client) error {
	h.b.say("%d clients for %s", len(clients), h.b.soak)
	done := make(chan *tally)
	go func() { done <- h.load(ctx, clients, h.b.soak, soakThink) }()
	every := max(time.Second, h.b.soak/120)
	tick := time.NewTicker(every)
	defer tick.Stop()
	var rss []float64
	for {
		select {
		case <-tick.C:
			m, err := resident(h.cmd.Process.Pid)
			if err != nil {
				return err
			}
			rss = append(rss, m)
			if len(rss)%20 == 0 {
				h.b.say("%.0f MB resident", m)
			}
		case t := <-done:
			n := len(rss)
			if n < 8 {
				return fmt.Errorf("a soak of %s is too short to say something", h.b.soak)
			}
			early, late := mean(rss[n/4:n/2]), mean(rss[3*n/4:])
			label := fmt.Sprintf("%d clients for %s: ", len(clients), h.b.soak)
			h.b.table.under(label+"errors", "%.0f", float64(t.errs), 0)
			h.b.table.add(row{what: label + "requests, grants", value: fmt.Sprintf("%d, %d", len(t.calls), t.grants)})
			h.b.table.add(row{what: label + "memory in each quarter", value: fmt.Sprintf("%.0f, %.0f, %.0f, %.0f MB", mean(rss[:n/4]), early, mean(rss[n/2:3*n/4]), late)})
			h.b.table.under(label+"memory at the end, of that of the second quarter", "%.2f", late/early, 1.1)
			if t.first != nil {
				h.b.say("the first error: %v", t.first)
			}
			return nil
		}
	}
}

func mean(v []float64) (m float64) {
	for _, x := range v {
		m += x
	}
	return m / float64(max(1, len(v)))
}

// resident is the memory of a process, in MB.
func resident(pid int) (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(data) {
		if rest, ok := strings.CutPrefix(string(line), "VmRSS:"); ok {
			kb, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			return kb / 1024, err
		}
	}
	return 0, fmt.Errorf("process %d has no memory", pid)
}
