package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Headers of a webhook. The signature is "v1=" and, in hexadecimal, HMAC-SHA256 with the
// key over timestamp, ".", id, ".", body: the bytes of the two headers and of the body as
// they are sent.
const (
	HeaderID        = "Leastwise-Id"
	HeaderTimestamp = "Leastwise-Timestamp" // seconds since 1970, when it was sent
	HeaderSignature = "Leastwise-Signature"
)

// Limits of webhooks.
const (
	minKey    = 32 // bytes
	maxAnswer = 4096
)

// ErrSignature reports a webhook that is not the sender's, or too old.
var ErrSignature = errors.New("the signature of the webhook is not good")

// A Webhook posts messages as JSON (docs/schema/webhook.schema.json), signed.
type Webhook struct {
	name   string
	url    *url.URL
	key    []byte
	client *http.Client
	now    func() time.Time
}

// WebhookSettings say where to. Name, URL, Key and Now are required.
type WebhookSettings struct {
	Name string
	URL  string // https, or http to loopback
	Key  []byte // at least 32 bytes
	TLS  *tls.Config
	Now  func() time.Time
}

// NewWebhook returns a target.
func NewWebhook(set WebhookSettings) (*Webhook, error) {
	u, err := url.Parse(set.URL)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		return nil, fmt.Errorf("%w: webhook %s: its URL is none such as https://host/path, without user and password", ErrConfig, set.Name)
	case u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())):
		return nil, fmt.Errorf("%w: webhook %s: only https is possible, and http to loopback", ErrConfig, set.Name)
	case len(set.Key) < minKey:
		return nil, fmt.Errorf("%w: webhook %s: its key has %d bytes, and should have %d", ErrConfig, set.Name, len(set.Key), minKey)
	}
	t := &http.Transport{TLSClientConfig: set.TLS, Proxy: http.ProxyFromEnvironment, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 1 << 16, ForceAttemptHTTP2: true}
	c := &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &Webhook{name: set.Name, url: u, key: set.Key, client: c, now: set.Now}, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Name returns the name of the target.
func (w *Webhook) Name() string { return w.name }

// Send posts the message; any answer but 2xx is a failure.
func (w *Webhook) Send(ctx context.Context, _ string, m Message) error { return w.Post(ctx, m.ID, m) }

// Post posts a value as JSON, under an identifier that is the same however often it is
// sent; any answer but 2xx is a failure.
func (w *Webhook) Post(ctx context.Context, id string, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("writing the message: %w", err)
	}
	stamp := strconv.FormatInt(w.now().Unix(), 10)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url.String(), bytes.NewReader(b.Bytes()))
	if err != nil {
		return w.fault(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "leastwise")
	req.Header.Set(HeaderID, id)
	req.Header.Set(HeaderTimestamp, stamp)
	req.Header.Set(HeaderSignature, "v1="+Sign(w.key, stamp, id, b.Bytes()))
	resp, err := w.client.Do(req)
	if err != nil {
		return w.fault(err)
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer) // so that the connection can be used again; what it says does not count
	if resp.StatusCode/100 == 2 {
		return nil
	}
	err = fmt.Errorf("posting to %s: it answers %d", w.url.Host, resp.StatusCode)
	if after, aerr := strconv.Atoi(resp.Header.Get("Retry-After")); aerr == nil && after > 0 {
		return wait{err, time.Duration(min(after, 86400)) * time.Second}
	}
	return err
}

// fault takes the URL, whose path may be a secret, out of an error.
func (w *Webhook) fault(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Errorf("posting to %s: %w", w.url.Host, err)
}

// Sign is the signature of a webhook in hexadecimal.
func Sign(key []byte, timestamp, id string, body []byte) string {
	h := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(h, "%s.%s.", timestamp, id) // a hash never fails
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil))
}

// Verify is for receivers: it reports whether a webhook was signed with the key, at most
// tolerance before or after now. A receiver that wants each message once keeps the
// identifiers that it has seen.
func Verify(key []byte, h http.Header, body []byte, now time.Time, tolerance time.Duration) error {
	stamp, id := h.Get(HeaderTimestamp), h.Get(HeaderID)
	given, ok := strings.CutPrefix(h.Get(HeaderSignature), "v1=")
	if !ok || !hmac.Equal([]byte(given), []byte(Sign(key, stamp, id, body))) {
		return ErrSignature
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > tolerance {
		return fmt.Errorf("%w: it was sent at another time", ErrSignature)
	}
	return nil
}
