package adminservice

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/internal/dc"
)

// A Transport sends requests to one provider; [dc.Web] is one.
type Transport interface {
	http.RoundTripper
	URL(path string) string // of the provider
}

// Options are the limits of a client. The zero value has useful ones.
type Options struct {
	PageSize     int           // rows per request; default 500
	MaxRows      int           // rows of one class; default 200,000
	ClassTimeout time.Duration // for one class with all its pages; default 2 min, for slow classes five times as long
	Attempts     int           // for requests that the service puts off; default 5

	// Wait waits between attempts; nil waits for real.
	Wait func(ctx context.Context, d time.Duration) error
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Progress is told how far the reading is; nil: nobody listens.
	Progress func(Progress)
}

// Progress says how far the reading of a class is.
type Progress struct {
	Class string
	Rows  int
	Done  bool
	Err   error // why a class that is done is not complete
}

func (o Options) withDefaults() Options {
	o.PageSize = cmp.Or(o.PageSize, 500)
	o.MaxRows = cmp.Or(o.MaxRows, 200_000)
	o.ClassTimeout = cmp.Or(o.ClassTimeout, 2*time.Minute)
	o.Attempts = cmp.Or(o.Attempts, 5)
	if o.Wait == nil {
		o.Wait = wait
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	return o
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// A Client reads from one provider. It is used by one goroutine.
type Client struct {
	web  Transport
	host string
	opt  Options
}

// New returns a client that asks through web.
func New(web Transport, opt Options) (*Client, error) {
	u, err := url.Parse(web.URL("/"))
	if err != nil || u.Scheme != "https" {
		return nil, errors.New("the administration service is asked over HTTPS only")
	}
	return &Client{web: web, host: u.Host, opt: opt.withDefaults()}, nil
}

// base is where classes of WMI are asked for.
const base = "/AdminService/wmi/"

// A query is one request for rows of a class.
type query struct {
	class   string
	columns []string
	all     bool   // the class refuses $select: every column comes, columns are kept
	filter  string // OData
	key     string // as it stands in parentheses; "" for all rows
	top     int
	skip    int
}

// path returns the address of the query below the host. It refuses to name what is
// never collected.
func (q query) path() (string, error) {
	for _, c := range q.columns {
		if configmgr.IsSecret(q.class, c) {
			return "", &Error{Kind: ErrRefused, Class: q.class, Detail: "column " + c}
		}
	}
	p := base + q.class
	if q.key != "" {
		p += "(" + url.PathEscape(q.key) + ")"
	}
	var opts []string
	add := func(name, value string) {
		opts = append(opts, name+"="+strings.ReplaceAll(url.QueryEscape(value), "+", "%20"))
	}
	if !q.all {
		add("$select", strings.Join(q.columns, ","))
	}
	if q.filter != "" {
		add("$filter", q.filter)
	}
	if q.top > 0 {
		add("$top", strconv.Itoa(q.top))
		add("$skip", strconv.Itoa(q.skip))
	}
	if len(opts) > 0 {
		p += "?" + strings.ReplaceAll(strings.Join(opts, "&"), "%2C", ",")
	}
	return p, nil
}

// keep reports whether a column of the answer is wanted.
func (q query) keep(column string) bool {
	return slices.ContainsFunc(q.columns, func(c string) bool { return strings.EqualFold(c, column) }) && !configmgr.IsSecret(q.class, column)
}

// ask sends one query, again if the service puts it off, and decodes the answer.
func (c *Client) ask(ctx context.Context, q query) (page, error) {
	path, err := q.path()
	if err != nil {
		return page{}, err
	}
	for try := 1; ; try++ {
		p, pause, err := c.once(ctx, q, path)
		if pause <= 0 || try >= c.opt.Attempts {
			return p, err
		}
		// 1 s, 2 s, 4 s, …: the service has asked for a pause, or is in trouble.
		pause = max(pause, time.Second<<(try-1))
		if werr := c.opt.Wait(ctx, min(pause, time.Minute)); werr != nil {
			return page{}, c.contextError(ctx, q.class)
		}
	}
}

// once makes one attempt. A pause says that another one makes sense, after it.
func (c *Client) once(ctx context.Context, q query, path string) (p page, pause time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.web.URL(path), http.NoBody)
	if err != nil {
		return page{}, 0, &Error{Kind: ErrRefused, Host: c.host, Class: q.class, Err: err}
	}
	req.Header.Set("Accept", "application/json")
	resp, err := c.web.RoundTrip(req)
	if err != nil {
		if ctx.Err() != nil {
			return page{}, 0, c.contextError(ctx, q.class)
		}
		if dc.KindOf(err) == dc.ErrConnectionLost {
			pause = time.Millisecond
		}
		return page{}, pause, &Error{Kind: ErrTransport, Host: c.host, Class: q.class, Err: err}
	}
	defer resp.Body.Close()
	body, rerr := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	defer clear(body)
	switch {
	case ctx.Err() != nil:
		return page{}, 0, c.contextError(ctx, q.class)
	case resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusServiceUnavailable,
		resp.StatusCode == http.StatusBadGateway, resp.StatusCode == http.StatusGatewayTimeout:
		return page{}, retryAfter(resp.Header, c.opt.Now()), &Error{Kind: ErrBusy, Host: c.host, Class: q.class, Status: resp.StatusCode}
	case resp.StatusCode != http.StatusOK:
		return page{}, 0, c.refusal(q, resp, body)
	case rerr != nil:
		return page{}, time.Millisecond, &Error{Kind: ErrTruncated, Host: c.host, Class: q.class, Detail: fmt.Sprintf("the connection ended after %d bytes", len(body))}
	case len(body) > maxBody:
		return page{}, 0, &Error{Kind: ErrLimit, Host: c.host, Class: q.class, Detail: fmt.Sprintf("an answer of more than %d MiB", maxBody>>20), Advice: "ask for fewer rows at a time"}
	}
	p, err = c.decode(q, resp.Header, body)
	return p, 0, err
}

// contextError tells a time limit of the class from a caller who gave up.
func (c *Client) contextError(ctx context.Context, class string) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &Error{Kind: ErrTimeout, Host: c.host, Class: class}
	}
	return context.Cause(ctx)
}

// retryAfter returns the pause that the service asks for, at least a millisecond.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if n, err := strconv.Atoi(v); err == nil && n > 0 && n < 3600 {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil && t.After(now) {
		return t.Sub(now)
	}
	return time.Millisecond
}

// decode reads the rows of an answer and reduces them at once, so that embedded values
// that are not wanted do not outlive it.
func (c *Client) decode(q query, h http.Header, body []byte) (page, error) {
	kind, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	text := bytes.TrimLeft(bytes.TrimPrefix(body, []byte("\ufeff")), " \t\r\n")
	if len(text) == 0 || text[0] != '{' {
		what := "something else"
		switch {
		case len(text) == 0:
			what = "nothing"
		case text[0] == '<' || kind == "text/html":
			what = "a page for people (HTML)"
		}
		return page{}, &Error{Kind: ErrNotJSON, Host: c.host, Class: q.class, Detail: "it is " + what}
	}
	p, err := decodePage(text, q.keep, q.key != "")
	var de *DecodeError
	switch {
	case errors.As(err, &de) && de.Short:
		return page{}, &Error{Kind: ErrTruncated, Host: c.host, Class: q.class, Detail: fmt.Sprintf("after %d bytes", len(text))}
	case err != nil:
		return page{}, &Error{Kind: ErrMalformed, Host: c.host, Class: q.class, Err: err}
	}
	for i, row := range p.rows {
		if _, ok := configmgr.Columns(q.class); ok {
			p.rows[i] = reduce(q.class, row)
		}
		p.ids[i] = fingerprint(p.ids[i])
	}
	return p, nil
}

// reduce leaves of a row what is wanted. A column that is null is left out: a lazy one
// that did not come is no empty list.
func reduce(class string, row configmgr.Row) configmgr.Row {
	out := configmgr.Reduce(class, row)
	for name, v := range row {
		if v != nil {
			continue
		}
		for kept := range out {
			if strings.EqualFold(kept, name) {
				delete(out, kept)
			}
		}
	}
	return out
}

// refusal explains an answer with another status than 200.
func (c *Client) refusal(q query, resp *http.Response, body []byte) error {
	e := &Error{Kind: ErrServer, Host: c.host, Class: q.class, Status: resp.StatusCode, Detail: harmless(body)}
	denied := strings.Contains(e.Detail, "access denied") || strings.Contains(e.Detail, "0x80041003") || strings.Contains(e.Detail, "0x80070005")
	switch s := resp.StatusCode; {
	case s == http.StatusUnauthorized:
		e.Kind, e.Detail = ErrUnauthorized, offers(resp.Header)
	case s == http.StatusForbidden:
		e.Kind = ErrForbidden
	case denied:
		e.Kind = ErrWMIDenied
	case s == http.StatusNotFound && q.class == identification:
		e.Kind = ErrNoService
	case s == http.StatusNotFound, strings.Contains(e.Detail, "invalid class"):
		e.Kind = ErrNoClass
	case s >= 300 && s < 400:
		e.Kind = ErrRedirect
		if u, err := url.Parse(resp.Header.Get("Location")); err == nil && u.Host != "" {
			e.Detail = "to " + u.Hostname()
		}
	case !q.all && (s == http.StatusInternalServerError || s == http.StatusBadRequest):
		e.Kind = ErrSelect
	}
	return e
}

// offers says which ways of authenticating a server names when it refuses.
func offers(h http.Header) string {
	var schemes []string
	for _, v := range h.Values("WWW-Authenticate") {
		s, _, _ := strings.Cut(strings.TrimSpace(v), " ")
		if s = strings.ToLower(s); slices.Contains([]string{"negotiate", "ntlm", "basic", "bearer", "digest", "kerberos"}, s) && !slices.Contains(schemes, s) {
			schemes = append(schemes, s)
		}
	}
	if len(schemes) == 0 {
		return "it names no way of authenticating"
	}
	if !slices.Contains(schemes, "negotiate") {
		return "it does not take Kerberos, only " + strings.Join(schemes, ", ")
	}
	return ""
}
