package standin

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Row is an instance of a class: column to value.
type Row map[string]any

// A Table is what the stand-in answers for one class.
type Table struct {
	Rows []Row
	// Lazy refuses $select with status 500.
	Lazy bool
	// Key names the column by which a single row is asked for: Class('key').
	Key string
	// LazyColumns are left out (null) unless a single row is asked for.
	LazyColumns []string
	// Page is the most rows that one answer has, whatever is asked for; 0: no limit.
	Page int
	// NoFilter makes every answer hold all rows, whatever is asked for.
	NoFilter bool
	// NoSkip makes every answer begin at the first row.
	NoSkip bool
	// Shuffle changes the order of the rows from page to page.
	Shuffle bool
}

// A Fault is what happens instead of an answer.
type Fault struct {
	Status      int           // 0: the answer of the table
	Header      http.Header   //
	Body        string        //
	ContentType string        // "" is application/json
	Delay       time.Duration // before the answer
	Cut         int           // send only so many bytes of the answer, if positive
	Hangup      bool          // close the connection behind the part that Cut leaves
	From        int           // only for requests with $skip of at least this
	Times       int           // after so many requests the fault is over; 0: never
	Unselected  bool          // the answer has every column, whatever is selected
}

// A Request is what the stand-in was asked.
type Request struct {
	Class, Key string
	Select     []string
	Filter     string
	Top, Skip  int
	Principal  string // who asked; empty if the request was refused
}

// An AdminService stands in for the administration service of a site.
type AdminService struct {
	Host        string // DNS name, known to the lab's directory and DNS
	Port        uint16
	CAFile      string // PEM file with its certificate, which is its own authority
	Fingerprint [sha256.Size]byte

	server   *httptest.Server
	acceptor *acceptor
	leaf     []byte

	mu       sync.Mutex // guards what follows
	tables   map[string]Table
	faults   map[string]*Fault
	requests []Request
}

// NewOpen starts a stand-in for one test that asks nobody who they are, for what is
// not about authentication. It needs no lab.
func NewOpen(t testing.TB) *AdminService {
	t.Helper()
	s := &AdminService{Host: "localhost", tables: map[string]Table{}, faults: map[string]*Fault{}}
	s.start(t, "127.0.0.1")
	return s
}

// RoundTrip sends a request to an open stand-in.
func (s *AdminService) RoundTrip(r *http.Request) (*http.Response, error) {
	return s.server.Client().Transport.RoundTrip(r)
}

// URL returns the address of path.
func (s *AdminService) URL(path string) string {
	return "https://" + net.JoinHostPort(s.Host, strconv.Itoa(int(s.Port))) + path
}

func (s *AdminService) start(t testing.TB, addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", addr+":0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	s.Port = uint16(port)
	s.server = &httptest.Server{Listener: ln, Config: &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}}
	s.server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{s.certificate(t)}}
	s.server.StartTLS()
	t.Cleanup(s.server.Close)
}

// certificate makes the certificate that a site makes for itself.
func (s *AdminService) certificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: s.Host}, DNSNames: []string{s.Host}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	s.leaf, s.Fingerprint = der, sha256.Sum256(der)
	s.CAFile = filepath.Join(t.TempDir(), "site.pem")
	if err := os.WriteFile(s.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Set gives a class its rows; a class without is unknown (404).
func (s *AdminService) Set(class string, t Table) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tables[strings.ToLower(class)] = t
}

// Fail makes requests for a class fail, "" for every class.
func (s *AdminService) Fail(class string, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[strings.ToLower(class)] = &f
}

// Heal ends all faults.
func (s *AdminService) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.faults)
}

// Requests returns what was asked since the last call.
func (s *AdminService) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.requests
	s.requests = nil
	return out
}

// ServeHTTP answers one request.
func (s *AdminService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req, ok := parseRequest(r)
	var (
		answer string
		err    error
	)
	if s.acceptor != nil {
		req.Principal, answer, err = s.acceptor.accept(r, s.leaf)
	}
	s.mu.Lock()
	s.requests = append(s.requests, req)
	table, known := s.tables[strings.ToLower(req.Class)]
	fault := s.fault(req)
	s.mu.Unlock()
	if fault != nil && fault.Delay > 0 {
		select {
		case <-time.After(fault.Delay):
		case <-r.Context().Done():
			return
		}
	}
	if answer != "" {
		w.Header().Set("WWW-Authenticate", answer)
	}
	w.Header().Set("Server", "Microsoft-HTTPAPI/2.0")
	switch {
	case fault != nil && fault.Status != 0:
		for k, v := range fault.Header {
			w.Header()[k] = v
		}
		reply(w, fault.Status, cmp.Or(fault.ContentType, "application/json"), fault.Body, fault.Cut)
	case err != nil:
		reply(w, http.StatusUnauthorized, "text/html", "<html><body>Unauthorized</body></html>", 0)
	case !ok || !known:
		reply(w, http.StatusNotFound, "application/json", odataError("The request resource is not found."), 0)
	case table.Lazy && len(req.Select) > 0:
		reply(w, http.StatusInternalServerError, "application/json", odataError("An error has occurred: lazy properties cannot be selected."), 0)
	default:
		cut := 0
		if fault != nil {
			cut = fault.Cut
			if fault.Hangup {
				w.Header().Set("Content-Length", "1000000")
			}
			if fault.Unselected {
				req.Select = nil
			}
		}
		reply(w, http.StatusOK, "application/json; odata.metadata=minimal", s.answer(table, req), cut)
	}
}

// fault returns the fault that applies to a request. The caller holds mu.
func (s *AdminService) fault(req Request) *Fault {
	for _, class := range []string{strings.ToLower(req.Class), ""} {
		f := s.faults[class]
		if f == nil || req.Skip < f.From {
			continue
		}
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				delete(s.faults, class)
			}
		}
		one := *f
		return &one
	}
	return nil
}

func reply(w http.ResponseWriter, status int, kind, body string, cut int) {
	w.Header().Set("Content-Type", kind)
	if cut > 0 && cut < len(body) {
		body = body[:cut]
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func odataError(text string) string {
	b, _ := json.Marshal(map[string]any{"error": map[string]string{"code": "", "message": text}})
	return string(b)
}

// parseRequest reads /AdminService/wmi/Class, or Class('key'), with its options.
func parseRequest(r *http.Request) (Request, bool) {
	class, ok := strings.CutPrefix(r.URL.Path, "/AdminService/wmi/")
	q := Request{Class: class}
	if c, rest, found := strings.Cut(class, "("); found {
		q.Class, q.Key = c, strings.Trim(strings.TrimSuffix(rest, ")"), "'")
	}
	options, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return q, false
	}
	if v := options.Get("$select"); v != "" {
		q.Select = strings.Split(v, ",")
	}
	q.Filter = options.Get("$filter")
	q.Top, _ = strconv.Atoi(options.Get("$top"))
	q.Skip, _ = strconv.Atoi(options.Get("$skip"))
	return q, ok && r.Method == http.MethodGet
}

// filter returns the rows for which a filter holds: comparisons "Column eq 'text'"
// joined by "and" and "or", in parentheses or not.
func filter(rows []Row, text string) []Row {
	if text == "" {
		return rows
	}
	var out []Row
	for _, r := range rows {
		if f := (condition{text, r}); f.or() {
			out = append(out, r)
		}
	}
	return out
}

// A condition is what is left of a filter, and the row that it is asked of.
type condition struct {
	text string
	row  Row
}

func (c *condition) word(w string) bool {
	rest, ok := strings.CutPrefix(strings.TrimLeft(c.text, " "), w)
	if ok {
		c.text = rest
	}
	return ok
}

func (c *condition) or() bool {
	ok := c.and()
	for c.word("or ") {
		ok = c.and() || ok
	}
	return ok
}

func (c *condition) and() bool {
	ok := c.term()
	for c.word("and ") {
		ok = c.term() && ok
	}
	return ok
}

func (c *condition) term() bool {
	if c.word("(") {
		ok := c.or()
		return c.word(")") && ok
	}
	column, rest, _ := strings.Cut(strings.TrimLeft(c.text, " "), " eq '")
	value, rest, _ := strings.Cut(rest, "'")
	c.text = rest
	return fmt.Sprint(c.row[column]) == value
}

func rotate(rows []Row, n int) []Row {
	if len(rows) == 0 {
		return rows
	}
	n %= len(rows)
	return append(slices.Clone(rows[n:]), rows[:n]...)
}

// answer returns the page that was asked for.
func (s *AdminService) answer(t Table, q Request) string {
	rows := t.Rows
	if q.Key != "" {
		rows = nil
		for _, r := range t.Rows {
			if strings.EqualFold(fmt.Sprint(r[t.Key]), q.Key) {
				rows = append(rows, r)
			}
		}
	}
	if !t.NoFilter {
		rows = filter(rows, q.Filter)
	}
	if t.Shuffle {
		rows = rotate(rows, q.Skip/2)
	}
	if t.Page > 0 && (q.Top == 0 || q.Top > t.Page) {
		q.Top = t.Page
	}
	if t.NoSkip {
		q.Skip = 0
	}
	rows = rows[min(q.Skip, len(rows)):]
	if q.Top > 0 {
		rows = rows[:min(q.Top, len(rows))]
	}
	page := []Row{}
	for _, r := range rows {
		one := maps.Clone(r)
		if q.Key == "" {
			for _, c := range t.LazyColumns {
				one[c] = nil
			}
		}
		if len(q.Select) > 0 {
			maps.DeleteFunc(one, func(c string, _ any) bool { return !slices.Contains(q.Select, c) })
		} else {
			one["__LAZYPROPERTIES"] = t.LazyColumns
		}
		page = append(page, one)
	}
	b, _ := json.Marshal(map[string]any{"@odata.context": "https://" + s.Host + "/AdminService/wmi/$metadata#" + q.Class, "value": page})
	return string(b)
}
