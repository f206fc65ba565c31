package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// ErrAnswer reports an answer that no server of leastwise gives.
var ErrAnswer = errors.New("not an answer of leastwise")

// maxAnswer bounds an answer that is not a stream, in bytes.
const maxAnswer = 64 << 20

// A Client calls a server. It is safe for concurrent use once it is signed in.
type Client struct {
	base   *url.URL
	http   *http.Client
	secret string // of a session, or an API token
}

// NewClient returns a client for the server at a URL such as https://host:8443. rt
// carries the requests; redirects are not followed.
func NewClient(base string, rt http.RoundTripper) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("%.80q is not the address of a server, such as https://leastwise.contoso.com:8443", base)
	}
	u.Path = ""
	return &Client{base: u, http: &http.Client{
		Transport: rt, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Host is the host and port of the server.
func (c *Client) Host() string { return c.base.Host }

// Plain reports whether the server is called without TLS.
func (c *Client) Plain() bool { return c.base.Scheme == "http" }

// UseToken makes the client send an API token.
func (c *Client) UseToken(token string) { c.secret = token }

// SignedIn reports whether the client has a session or a token.
func (c *Client) SignedIn() bool { return c.secret != "" }

// A Call is one request.
type Call struct {
	Method, Path string
	Query        url.Values
	Header       http.Header
	In           any // body, nil: none
	Out          any // where the answer goes, nil: it is dropped
	// Via carries this request instead of the client's own transport, such as one
	// that authenticates with Kerberos; nil: the client's.
	Via http.RoundTripper
}

// Do carries a call out. An answer that is an error is a [*Problem]. A session that the
// answer begins, or renews, is the client's from then on.
func (c *Client) Do(ctx context.Context, call Call) error {
	resp, err := c.send(ctx, call)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for _, k := range resp.Cookies() {
		if k.Name == CookieName || k.Name == PlainCookieName {
			c.secret = k.Value
			if k.MaxAge < 0 {
				c.secret = ""
			}
		}
	}
	if w, ok := call.Out.(io.Writer); ok {
		_, err = io.Copy(w, resp.Body)
		return err
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("reading the answer of %s: %w", c.base.Host, err)
	}
	if len(data) > maxAnswer {
		return fmt.Errorf("%w: %s %s: too long", ErrAnswer, call.Method, call.Path)
	}
	if call.Out == nil || resp.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.Unmarshal(data, call.Out); err != nil {
		return fmt.Errorf("%w: %s %s: %w", ErrAnswer, call.Method, call.Path, err)
	}
	return nil
}

// send returns an answer that is no error; its body has to be closed.
func (c *Client) send(ctx context.Context, call Call) (*http.Response, error) {
	u := *c.base
	u.Path, u.RawQuery = call.Path, call.Query.Encode()
	var body io.Reader
	if call.In != nil {
		data, err := json.Marshal(call.In)
		if err != nil {
			return nil, fmt.Errorf("writing a request: %w", err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, call.Method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	for k, v := range call.Header {
		req.Header[k] = v
	}
	req.Header.Set("Accept", "application/json")
	if call.In != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.secret != "" && req.Header.Get("Authorization") == "" {
		req.Header.Set("Authorization", "Bearer "+c.secret)
	}
	h := c.http
	if call.Via != nil {
		req.Header.Del("Authorization")
		h = &http.Client{Transport: call.Via, CheckRedirect: c.http.CheckRedirect}
	}
	resp, err := h.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // the URL says nothing that the caller does not know
		}
		return nil, fmt.Errorf("asking %s: %w", c.base.Host, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		defer resp.Body.Close()
		return nil, readProblem(resp)
	}
	return resp, nil
}

// readProblem reads an answer that is an error.
func readProblem(resp *http.Response) error {
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	var p Problem
	if err != nil || json.Unmarshal(data, &p) != nil || !strings.HasPrefix(p.Type, ProblemPrefix) {
		return fmt.Errorf("%w: status %d", ErrAnswer, resp.StatusCode)
	}
	p.Status = resp.StatusCode
	return &p
}

// Follow calls f with each event until ctx ends, f returns an error, or the server ends
// the stream, which is io.EOF. last is the ID after which to begin; empty: now.
func (c *Client) Follow(ctx context.Context, last, grant string, f func(Event) error) error {
	call := Call{Method: http.MethodGet, Path: "/v1/events", Query: url.Values{}, Header: http.Header{}}
	if last != "" {
		call.Header.Set("Last-Event-ID", last)
	}
	if grant != "" {
		call.Query.Set("grant", grant)
	}
	resp, err := c.send(ctx, call)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	sc := bufio.NewScanner(resp.Body)
	sc.Buffer(nil, 1<<20)
	name := ""
	for sc.Scan() {
		key, value, _ := strings.Cut(sc.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch key {
		case "":
			name = ""
		case "event":
			name = value
		case "data":
			if name != "grant" {
				continue
			}
			var e Event
			if err := json.Unmarshal([]byte(value), &e); err != nil {
				return fmt.Errorf("%w: an event: %w", ErrAnswer, err)
			}
			if err := f(e); err != nil {
				return err
			}
		}
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("following events of %s: %w", c.base.Host, err)
	}
	return io.EOF
}
