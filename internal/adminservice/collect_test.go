package adminservice

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/lab/standin"
)

func collect(t *testing.T, c *Client) *Result {
	t.Helper()
	r, err := Collect(t.Context(), c)
	if err != nil {
		t.Fatalf("%v\nhint: %s", err, Hint(err))
	}
	return r
}

// The whole site, from requests that select what is wanted and no more.
func TestCollect(t *testing.T) {
	var told []Progress
	s, c := open(t, Options{PageSize: 2, Progress: func(p Progress) { told = append(told, p) }})
	r := collect(t, c)
	d := r.Document
	if r.Site != (Site{"P01", "Contoso"}) || len(d.Sites) != 2 || d.Sites[0].Build != 9128 || d.Sites[0].Server != "cm1.contoso.test" {
		t.Errorf("%+v, sites %+v", r.Site, d.Sites)
	}
	for entry, want := range map[string]string{
		"network-access": `CONTOSO\cm-naa@P01`, "client-push-installation": `CONTOSO\cm-push@P01`, "site-system-installation": `CONTOSO\cm-inst@P01`,
		"ad-forest": `CONTOSO\cm-forest@`, "package-access": `CONTOSO\cm-pkg@`, "remote-tools-permitted-viewers": `CONTOSO\helpdesk@`,
	} {
		if got := names(d, entry); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", entry, got, want)
		}
	}
	if got := fmt.Sprint(d.Sites[0].Settings["pxe.password_hosts"]); got != "[dp1.contoso.test]" {
		t.Errorf("distribution points with a PXE password: %s", got)
	}
	if len(d.Admins) != 1 || len(d.Roles) != 2 || len(d.Roles[0].Permissions) == 0 || len(d.Roles[1].Permissions) == 0 {
		t.Errorf("admins %+v, roles %+v", d.Admins, d.Roles)
	}
	if gaps := r.Gaps(); len(gaps) != 1 || gaps[0].Class != configmgr.ClassClient || !strings.Contains(gaps[0].Missing, "default client settings") {
		t.Errorf("gaps: %+v", gaps)
	}
	for _, facts := range []configmgr.Class{configmgr.ClassAccounts, configmgr.ClassSiteRoles, configmgr.ClassComponents, configmgr.ClassMigration, configmgr.ClassRoles} {
		if why, ok := d.Read(facts, "P01", ""); !ok {
			t.Errorf("%s: %s", facts, why)
		}
	}
	if _, ok := d.Filled("ts-run-as", "P01"); ok {
		t.Error("the accounts of task sequence steps are not read, but count as known")
	}
	if !slices.ContainsFunc(told, func(p Progress) bool { return p.Class == "SMS_SCI_Reserved" && p.Rows == 3 && p.Done && p.Err == nil }) {
		t.Errorf("progress: %+v", told)
	}
	checkRequests(t, s.Requests())
	checkDocument(t, d)
}

// checkDocument makes sure that the other commands can read what was written.
func checkDocument(t *testing.T, d *configmgr.Document) {
	t.Helper()
	var b bytes.Buffer
	if err := d.Write(&b); err != nil {
		t.Fatal(err)
	}
	cat, err := configmgr.Load()
	if err != nil {
		t.Fatal(err)
	}
	again, err := configmgr.ReadDocument(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Check(cat); err != nil {
		t.Error(err)
	}
	if len(again.Assignments) != len(d.Assignments) || len(again.Readings) != len(d.Readings) {
		t.Errorf("%d of %d assignments, %d of %d readings", len(again.Assignments), len(d.Assignments), len(again.Readings), len(d.Readings))
	}
}

// checkRequests makes sure that only listed columns were asked for, by class and order.
func checkRequests(t *testing.T, requests []standin.Request) {
	t.Helper()
	if len(requests) == 0 || requests[0].Class != identification {
		t.Error("the first request is not the probe")
	}
	for _, q := range requests {
		if q.Class == identification {
			continue
		}
		want, ok := configmgr.Columns(q.Class)
		if !ok || len(q.Select) > 0 && !slices.Equal(q.Select, want) {
			t.Errorf("asked %s for %v", q.Class, q.Select)
		}
		i := slices.IndexFunc(configmgr.Asks(), func(a configmgr.Ask) bool { return a.Class == q.Class })
		if a := configmgr.Asks()[i]; a.Synthetic() || a.Whole != (len(q.Select) == 0) || q.Key == "" && a.Filter != q.Filter {
			t.Errorf("asked %+v", q)
		}
		for _, c := range q.Select {
			if configmgr.IsSecret(q.Class, c) {
				t.Errorf("asked %s for %s", q.Class, c)
			}
		}
	}
}

// Secrets stand in every column that a site has beside the wanted ones. None of them
// is in the document, a notice, an error or what is told of the progress, whether all
// goes well or nothing does.
func TestNeverCollected(t *testing.T) {
	faults := map[string]func(*standin.AdminService){
		"all well": func(*standin.AdminService) {},
		"the service ignores what is selected": func(s *standin.AdminService) {
			for _, a := range configmgr.Asks() {
				s.Fail(a.Class, standin.Fault{Unselected: true})
			}
		},
		"refusals that quote rows": func(s *standin.AdminService) {
			for i, a := range configmgr.Asks() {
				status := []int{401, 403, 404, 500, 302, 503}[i%6]
				s.Fail(a.Class, standin.Fault{Status: status, Body: `{"error":{"message":"Reserved2 is ` + secret + `, access denied"}}`, Header: http.Header{"Location": {"/?p=" + secret}, "Www-Authenticate": {secret, "Negotiate " + secret}}})
			}
		},
		"answers that break off in a secret": func(s *standin.AdminService) {
			s.Fail("", standin.Fault{Status: 200, Body: `{"value":[{"UserName":"a","Reserved2":"` + secret})
		},
		"answers that are no JSON": func(s *standin.AdminService) {
			s.Fail("", standin.Fault{Status: 200, Body: secret, ContentType: secret})
		},
		"secrets where names belong": func(s *standin.AdminService) {
			cipher := strings.Repeat("0C0100000B", 9) + secret
			s.Set("SMS_SCI_Reserved", table{Rows: []row{{"UserName": strings.Repeat("0C0100000B", 9), "AccountUsage": []string{}, "SiteCode": "P01", "Reserved2": cipher}}})
			s.Set("SMS_SCI_SCProperty", table{NoFilter: true, Rows: []row{{"ItemType": "SMS_DMP_CONNECTOR", "SiteCode": "P01", "PropertyName": "Key", "Value": 0, "Value1": secret}}})
			s.Set("SMS_SCI_SCPropertyList", table{NoFilter: true, Rows: []row{{"ItemType": "X", "SiteCode": "P01", "PropertyListName": "Keys", "Values": []string{secret}}}})
		},
	}
	for name, change := range faults {
		t.Run(name, func(t *testing.T) {
			var seen strings.Builder
			s, c := open(t, Options{
				Wait:     func(context.Context, time.Duration) error { return nil },
				Progress: func(p Progress) { fmt.Fprintln(&seen, p, p.Err, Hint(p.Err)) },
			})
			if served(t, s) < 10 {
				t.Fatal("the stand-in serves no secrets")
			}
			change(s)
			s.Fail(identification, standin.Fault{Times: 1}) // the probe goes well
			r, err := Collect(t.Context(), c)
			fmt.Fprintf(&seen, "%v %s\n", err, Hint(err))
			if err == nil {
				b, err := json.Marshal(r.Document)
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(&seen, "%s\n%v\n%#v\n", b, r.Notices, r)
				if len(r.Document.Readings) == 0 {
					t.Error("no readings")
				}
			}
			for _, part := range []string{secret, "0C0100000B"} {
				if i := strings.Index(seen.String(), part); i >= 0 {
					t.Errorf("%q came through: …%.200s", part, seen.String()[max(0, i-100):])
				}
			}
		})
	}
}

// served returns how often the secret stands in what the stand-in answers for classes
// that send every column.
func served(t *testing.T, s *standin.AdminService) int {
	t.Helper()
	n := 0
	for _, a := range configmgr.Asks() {
		if !a.Whole {
			continue
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL(base+a.Class), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := s.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.Body.Close() != nil {
			t.Fatal(err)
		}
		n += strings.Count(string(b), secret)
	}
	s.Requests()
	return n
}

// A request that names a column which is never collected is not made.
func TestRefusesSecretColumns(t *testing.T) {
	s, c := open(t, Options{})
	for _, n := range configmgr.NeverCollected() {
		class, col := n.Class, strings.ReplaceAll(n.Column, "*", "X")
		if class == "" {
			class = "SMS_SCI_SysResUse"
		}
		if _, err := c.ask(t.Context(), query{class: class, columns: []string{"Name", col}, top: 1}); !errors.Is(err, ErrRefused) {
			t.Errorf("%s.%s: %v", class, col, err)
		}
	}
	if n := len(s.Requests()); n != 0 {
		t.Errorf("%d requests were made", n)
	}
	for _, a := range configmgr.Asks() {
		if _, err := (query{class: a.Class, columns: a.Columns, all: a.Whole}).path(); err != nil && !a.Synthetic() {
			t.Errorf("%s asks for a secret: %v", a.Class, err)
		}
	}
}
