package adminservice

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/lab/standin"
)

// What goes wrong with one class is said in its reading, with what to do, and the
// other classes are read all the same.
func TestFaults(t *testing.T) {
	for name, c := range map[string]struct {
		fault     standin.Fault
		says      string
		do        string
		requests  int // how often the class is asked for; 0: once
		giveUp    bool
		readAfter bool // the class is read completely in the end
	}{
		"401": {fault: standin.Fault{Status: 401}, says: "(401)", do: "clock", giveUp: true},
		"401 with NTLM only": {
			fault: standin.Fault{Status: 401, Header: http.Header{"Www-Authenticate": {"NTLM", "Bearer realm=x"}}}, says: "does not take Kerberos, only ntlm, bearer", do: "2509", giveUp: true,
		},
		"403":                 {fault: standin.Fault{Status: 403}, says: "(403)", do: "Read-only Analyst"},
		"404":                 {fault: standin.Fault{Status: 404, Body: `{"error":{"message":"Not found"}}`}, says: "does not have this class", do: "release"},
		"404 of WMI":          {fault: standin.Fault{Status: 404, Body: `{"error":{"code":"404","message":"Access denied WMI QUERY: select * from x"}}`}, says: "refused access to WMI", do: "SMS Admins"},
		"500 of WMI":          {fault: standin.Fault{Status: 500, Body: "0x80041003"}, says: "0x80041003", do: "WMI Control"},
		"500":                 {fault: standin.Fault{Status: 500, Body: "Quota violation"}, says: "quota violation", do: "SMSProv.log"},
		"HTML":                {fault: standin.Fault{Status: 200, Body: "<!DOCTYPE html><html>Sign in</html>", ContentType: "text/html"}, says: "a page for people (HTML)", do: "proxy"},
		"nothing":             {fault: standin.Fault{Status: 200}, says: "it is nothing", do: "proxy"},
		"truncated":           {fault: standin.Fault{Cut: 150}, says: "cut short", do: "try again"},
		"hung up":             {fault: standin.Fault{Cut: 150, Hangup: true}, says: "the connection ended after 150 bytes", do: "try again", requests: 5},
		"hung up once":        {fault: standin.Fault{Cut: 150, Hangup: true, Times: 1}, readAfter: true},
		"malformed":           {fault: standin.Fault{Status: 200, Body: `{"value":[{"UserName":nope}]}`}, says: "byte 22", do: "report"},
		"no list":             {fault: standin.Fault{Status: 200, Body: `{"value":null}`}, says: `no list "value"`, do: "report"},
		"too deep":            {fault: standin.Fault{Status: 200, Body: `{"value":[{"x":` + strings.Repeat("[", 99)}, says: "nested deeper", do: "report"},
		"redirect":            {fault: standin.Fault{Status: 302, Header: http.Header{"Location": {"https://evil.example/AdminService?x=1"}}}, says: "evil.example", do: "tickets are not sent elsewhere"},
		"busy":                {fault: standin.Fault{Status: 503}, says: "(503)", do: "later", requests: 5},
		"throttled, then not": {fault: standin.Fault{Status: 429, Times: 2}, requests: 4, readAfter: true},
		"second page fails":   {fault: standin.Fault{Status: 500, From: 2}, says: "(500)", do: "SMSProv.log", requests: 2},
		"second page cut":     {fault: standin.Fault{Cut: 40, From: 2}, says: "cut short", do: "try again", requests: 2},
		"no key of a row":     {fault: standin.Fault{Status: 200, Body: `{"value":[{"AccountUsage":["x"],"SiteCode":"P01"}]}`, Times: 1}, says: "1 of 3 rows", do: "report", requests: 3},
	} {
		t.Run(name, func(t *testing.T) {
			var waits []time.Duration
			s, cl := open(t, Options{PageSize: 2, Wait: func(_ context.Context, d time.Duration) error { waits = append(waits, d); return nil }})
			const class = "SMS_SCI_Reserved"
			s.Fail(class, c.fault)
			r := collect(t, cl)
			why, ok := r.Document.Read(configmgr.ClassAccounts, "P01", "")
			if ok != c.readAfter || !strings.Contains(why, c.says) || !strings.Contains(why, c.do) {
				t.Errorf("accounts: complete %v, %q", ok, why)
			}
			if len(waits) > 0 && (waits[0] < time.Second || !slices.IsSorted(waits)) {
				t.Errorf("waited %v", waits)
			}
			asked := 0
			for _, q := range s.Requests() {
				if q.Class == class {
					asked++
				}
			}
			if !c.readAfter && asked != max(c.requests, 1) {
				t.Errorf("asked %d times", asked)
			}
			if _, ok := r.Document.Read(configmgr.ClassAdmins, "", ""); ok == c.giveUp {
				t.Errorf("administrative users: read %v", ok)
			}
			if _, ok := r.Document.Filled("ad-system-discovery", "P01"); ok != c.readAfter {
				t.Errorf("that nobody fills a slot is known: %v", ok)
			}
		})
	}
}

// What goes wrong with the probe ends the reading, and says what to do.
func TestProbe(t *testing.T) {
	for name, c := range map[string]struct {
		fault standin.Fault
		kind  Kind
		do    string
	}{
		"401":        {standin.Fault{Status: 401}, ErrUnauthorized, "setspn"},
		"403":        {standin.Fault{Status: 403}, ErrForbidden, "role"},
		"404":        {standin.Fault{Status: 404}, ErrNoService, "SMS Provider role"},
		"404 of WMI": {standin.Fault{Status: 404, Body: "Access denied WMI QUERY"}, ErrWMIDenied, "SMS Admins"},
		"HTML":       {standin.Fault{Status: 200, Body: "<html>"}, ErrNotJSON, "web site"},
		"no site":    {standin.Fault{Status: 200, Body: `{"value":[]}`}, ErrMalformed, ""},
		"odd site":   {standin.Fault{Status: 200, Body: `{"value":[{"ThisSiteCode":"../x"}]}`}, ErrMalformed, ""},
	} {
		s, cl := open(t, Options{})
		s.Fail(identification, c.fault)
		_, err := Collect(t.Context(), cl)
		if !errors.Is(err, c.kind) || !strings.Contains(Hint(err), c.do) || len(s.Requests()) != 1 {
			t.Errorf("%s: %v (hint %q)", name, err, Hint(err))
		}
	}
}

// rows makes n different rows.
func rows(n int) []row {
	out := make([]row, n)
	for i := range out {
		out[i] = row{"UserName": fmt.Sprintf(`CONTOSO\u%04d`, i), "AccountUsage": []string{}, "SiteCode": "P01"}
	}
	return out
}

// However a service cuts its pages, all rows come once, or the reading says that they
// did not.
func TestPaging(t *testing.T) {
	same := append(rows(7), rows(3)...)
	for name, c := range map[string]struct {
		table table
		size  int
		want  int
		kind  Kind
	}{
		"one page":                     {table{Rows: rows(3)}, 500, 3, 0},
		"no rows":                      {table{}, 500, 0, 0},
		"full last page":               {table{Rows: rows(20)}, 5, 20, 0},
		"short pages":                  {table{Rows: rows(23), Page: 4}, 10, 23, 0},
		"1300 rows":                    {table{Rows: rows(1300)}, 500, 1300, 0},
		"same rows on several pages":   {table{Rows: same}, 5, 7, 0},
		"all in one, skip ignored":     {table{Rows: rows(3), NoSkip: true}, 5, 3, 0},
		"full page, skip ignored":      {table{Rows: rows(12), NoSkip: true}, 5, 0, ErrPaging},
		"exactly full, skip ignored":   {table{Rows: rows(5), NoSkip: true}, 5, 0, ErrPaging},
		"order changes between pages":  {table{Rows: rows(12), Shuffle: true}, 5, 12, ErrPaging},
		"more rows than are ever read": {table{Rows: rows(2100)}, 500, 0, ErrLimit},
	} {
		s, cl := open(t, Options{PageSize: c.size, MaxRows: 2000})
		s.Set("SMS_SCI_Reserved", c.table)
		ask := configmgr.Ask{Class: "SMS_SCI_Reserved", Columns: []string{"UserName", "AccountUsage", "SiteCode"}}
		got, err := cl.class(t.Context(), ask)
		switch {
		case err != nil && !errors.Is(err, c.kind):
			t.Errorf("%s: %v", name, err)
		case err == nil && (len(got) != c.want || c.kind == ErrLimit || c.table.NoSkip && c.kind != 0):
			t.Errorf("%s: %d rows, want %d", name, len(got), c.want)
		}
	}
}

// Where a service refuses to select columns, every column is asked for, unless one of
// them holds secrets.
func TestSelectRefused(t *testing.T) {
	s, cl := open(t, Options{})
	lazy := func(class string, rows ...row) { s.Set(class, table{Lazy: true, Rows: rows}) }
	lazy("SMS_ADForest", row{"ForestFQDN": "contoso.test", "Account": `CONTOSO\f`, "Password": secret})
	lazy("SMS_SCI_Reserved", row{"UserName": "x", "Reserved2": secret})
	r := collect(t, cl)
	if _, ok := r.Document.Read(configmgr.ClassForests, "", ""); !ok || names(r.Document, "ad-forest") != `CONTOSO\f@` {
		t.Errorf("forests: %v", r.Document.Readings)
	}
	if why, ok := r.Document.Read(configmgr.ClassAccounts, "P01", ""); ok || !strings.Contains(why, "one of them holds secrets") {
		t.Errorf("accounts: %v %s", ok, why)
	}
	for _, q := range s.Requests() {
		if q.Class == "SMS_SCI_Reserved" && len(q.Select) == 0 {
			t.Error("all columns of the stored accounts were asked for")
		}
	}
}

// A lazy column that does not come even for a single row is a gap.
func TestLazyColumnsMissing(t *testing.T) {
	s, cl := open(t, Options{})
	s.Set("SMS_Role", table{Lazy: true, Key: "RoleID", Rows: []row{{"RoleID": "SMS0001R", "RoleName": "x", "Operations": []row{}}, {"RoleID": "SMS0002R", "RoleName": "y"}, {"RoleID": "'; drop", "RoleName": "z"}}})
	r := collect(t, cl)
	if why, ok := r.Document.Read(configmgr.ClassRoles, "", ""); ok || !strings.Contains(why, "Operations did not come for 2 of 3 rows") {
		t.Errorf("%v %s", ok, why)
	}
	s.Set("SMS_SCI_SysResUse", table{Lazy: true, LazyColumns: []string{"Props"}, Rows: []row{{"NetworkOSPath": `\\CM1`, "RoleName": "SMS Site System", "SiteCode": "P01", "Props": []row{}}}})
	r = collect(t, cl)
	if why, ok := r.Document.Read(configmgr.ClassSiteRoles, "P01", ""); ok || !strings.Contains(why, "not one of 1 rows has the column Props") {
		t.Errorf("%v %s", ok, why)
	}
}

// A slow class has its own time; a caller who gives up ends everything.
func TestTime(t *testing.T) {
	s, cl := open(t, Options{ClassTimeout: 150 * time.Millisecond})
	s.Fail("SMS_SCI_Reserved", standin.Fault{Delay: 300 * time.Millisecond, Times: 1}) // slow, but may be
	s.Fail("SMS_Admin", standin.Fault{Delay: 10 * time.Second})
	r := collect(t, cl)
	if why, ok := r.Document.Read(configmgr.ClassAccounts, "P01", ""); !ok {
		t.Errorf("accounts: %s", why)
	}
	if why, ok := r.Document.Read(configmgr.ClassAdmins, "", ""); ok || !strings.Contains(why, "time for this class is over") || !strings.Contains(why, "--class-timeout") {
		t.Errorf("administrative users: %v %s", ok, why)
	}
	if _, ok := r.Document.Read(configmgr.ClassRoles, "", ""); !ok {
		t.Error("what comes after a slow class was not read")
	}

	s, cl = open(t, Options{})
	s.Fail("SMS_Site", standin.Fault{Delay: 10 * time.Second})
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone home")
	time.AfterFunc(50*time.Millisecond, func() { cancel(gone) })
	if r, err := Collect(ctx, cl); r != nil || !errors.Is(err, gone) {
		t.Errorf("%v, %v", r, err)
	}
}

// A brokenTransport fails as package dc would.
type brokenTransport struct {
	*standin.AdminService
	class string
	err   error
}

func (b brokenTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.Contains(r.URL.Path, b.class) {
		return nil, b.err
	}
	return b.AdminService.RoundTrip(r)
}

// A ticket or certificate that is not good any more ends the reading for the classes
// that are left, without asking on; a lost connection is tried again.
func TestTransportFails(t *testing.T) {
	s := standin.NewOpen(t)
	s.SmallSite(secret)
	r := collect(t, client(t, brokenTransport{s, "SMS_ADForest", &dc.Error{Kind: dc.ErrTicketExpired, Op: "reading credential cache x"}}, Options{}))
	for _, facts := range []configmgr.Class{configmgr.ClassForests, configmgr.ClassAdmins, configmgr.ClassClient} {
		if why, ok := r.Document.Read(facts, "", ""); ok || !strings.Contains(why, "ticket has expired") || !strings.Contains(why, "kinit") {
			t.Errorf("%s: %v %s", facts, ok, why)
		}
	}
	if slices.ContainsFunc(s.Requests(), func(q standin.Request) bool { return q.Class == "SMS_Admin" }) {
		t.Error("asked on")
	}
	tries := 0
	lost := client(t, brokenTransport{s, "SMS_Site", &dc.Error{Kind: dc.ErrConnectionLost, Op: "asking"}}, Options{Wait: func(context.Context, time.Duration) error { tries++; return nil }})
	r = collect(t, lost)
	if why, ok := r.Document.Read(configmgr.ClassSites, "", ""); ok || tries != 4 || !strings.Contains(why, "connection was lost") {
		t.Errorf("%v %s, after %d tries", ok, why, tries)
	}
	if _, ok := r.Document.Read(configmgr.ClassAdmins, "", ""); !ok {
		t.Error("a lost connection ended everything")
	}
	if _, err := New(plainTransport{s}, Options{}); err == nil {
		t.Error("a client without TLS")
	}
}

type plainTransport struct{ *standin.AdminService }

func (p plainTransport) URL(path string) string { return "http://cm1.contoso.test" + path }

// The provider of a primary site speaks for it and what is below it; for another
// primary site of which it sends nothing it does not, the central one does for all.
func TestScopes(t *testing.T) {
	sites := []row{
		{"SiteCode": "CAS", "Type": 4},
		{"SiteCode": "P01", "Type": 2, "ReportingSiteCode": "CAS"},
		{"SiteCode": "P02", "Type": 2, "ReportingSiteCode": "CAS"},
		{"SiteCode": "S01", "Type": 1, "ReportingSiteCode": "P01"},
	}
	for own, want := range map[string]map[string]bool{
		"P01": {"P01": true, "S01": true, "P02": false, "CAS": false},
		"CAS": {"P01": true, "S01": true, "P02": true, "CAS": true},
	} {
		s, cl := open(t, Options{})
		s.Set("SMS_Site", table{Rows: sites})
		s.Set("SMS_SCI_SiteDefinition", table{})
		s.Set(identification, table{Rows: []row{{"ThisSiteCode": own}}})
		d := collect(t, cl).Document
		for code, ok := range want {
			if why, got := d.Read(configmgr.ClassAccounts, code, ""); got != ok || !ok && !strings.Contains(why, "ask a provider of that site") {
				t.Errorf("provider of %s, accounts of %s: %v %s", own, code, got, why)
			}
		}
		if _, ok := d.Read(configmgr.ClassAccounts, "P03", ""); ok {
			t.Errorf("provider of %s: accounts of a site that nobody named are known", own)
		}
	}
	s, cl := open(t, Options{}) // its route leads to a site that is not listed
	s.Set("SMS_Site", table{Rows: []row{{"SiteCode": "P01", "Type": 2}}})
	if why, ok := collect(t, cl).Document.Read(configmgr.ClassAccounts, "S01", ""); ok || !strings.Contains(why, "ask a provider of that site") {
		t.Errorf("accounts of the end of a route: %v %s", ok, why)
	}
}
