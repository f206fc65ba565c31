//go:build linux

package app_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ldap "github.com/go-ldap/ldap/v3"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/internal/store/storetest"
	"github.com/leastwise/leastwise/lab/labtest"
	"github.com/leastwise/leastwise/lab/need"
)

// A mailbox is a stand-in for an SMTP server on loopback that notes recipients.
type mailbox struct {
	net.Listener
	mu sync.Mutex
	to []string
}

func newMailbox(t *testing.T) *mailbox {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mailbox{Listener: l}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			m.serve(c)
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return m
}

func (m *mailbox) serve(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReader(c)
	fmt.Fprint(c, "220 stand-in\r\n")
	for data := false; ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		switch {
		case data && line != ".":
			continue
		case strings.HasPrefix(line, "RCPT TO:"):
			m.mu.Lock()
			m.to = append(m.to, strings.Trim(strings.TrimPrefix(line, "RCPT TO:"), "<> "))
			m.mu.Unlock()
		case line == "DATA":
			data = true
			fmt.Fprint(c, "354 go on\r\n")
			continue
		case line == "QUIT":
			fmt.Fprint(c, "221 bye\r\n")
			return
		}
		data = false
		fmt.Fprint(c, "250 ok\r\n")
	}
}

func (m *mailbox) recipients() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(slices.Values(m.to))
}

// A notice of a grant in the database reaches those whom grant and policies name, under
// the addresses that the directory has for them now: nested members, no disabled accounts.
func TestNoticesReachPeople(t *testing.T) {
	need.Long(t)
	lab := labtest.Start(t, labtest.Options{Single: true})
	admin, err := lab.Dial(t.Context(), lab.DCs()[0], lab.Admin)
	if err != nil {
		t.Fatal(err)
	}
	tag := strings.ToLower(rand.Text()[:6])
	ou := "OU=notify-" + tag + "," + lab.BaseDN
	t.Cleanup(func() {
		if err := admin.Del(ldap.NewDelRequest(ou, []ldap.Control{ldap.NewControlString("1.2.840.113556.1.4.805", true, "")})); err != nil {
			t.Error(err)
		}
		admin.Close()
	})
	add := func(dn, class string, attrs map[string][]string) {
		t.Helper()
		r := ldap.NewAddRequest(dn, nil)
		r.Attribute("objectClass", []string{class})
		for k, v := range attrs {
			r.Attribute(k, v)
		}
		if err := admin.Add(r); err != nil {
			t.Fatalf("adding %s: %v", dn, err)
		}
	}
	add(ou, "organizationalUnit", nil)
	dns := map[string]string{}
	for name, flags := range map[string]string{"anna": "544", "bert": "544", "carl": "544", "gone": "546"} {
		dns[name] = "CN=" + name + "," + ou
		add(dns[name], "user", map[string][]string{"sAMAccountName": {name + "-" + tag}, "mail": {name + "@contoso.test"}, "userAccountControl": {flags}})
	}
	inner, outer := "CN=inner,"+ou, "CN=outer,"+ou
	add(inner, "group", map[string][]string{"sAMAccountName": {"inner-" + tag}, "member": {dns["bert"], dns["gone"]}})
	add(outer, "group", map[string][]string{"sAMAccountName": {"outer-" + tag}, "member": {inner, dns["carl"]}})
	r, err := admin.Search(ldap.NewSearchRequest(dns["anna"], ldap.ScopeBaseObject, 0, 0, 0, false, "(objectClass=*)", []string{"objectGUID"}, nil))
	if err != nil {
		t.Fatal(err)
	}
	anna, err := secdesc.GUIDFromBytes(r.Entries[0].GetRawAttributeValue("objectGUID"))
	if err != nil {
		t.Fatal(err)
	}

	db := storetest.SQLite(t).Open(t)
	g := grant.Grant{ID: "g-1", Generation: 1, State: grant.Requested, RequestedAt: time.Now().UTC()}
	g.Requester.Account, g.Holder.Account = anna, anna
	g.Terms.Approval.From = []grant.Ref{grant.Ref(lab.NetBIOS + `\outer-` + tag), `ELSEWHERE\boss`}
	err = db.Grants().Update(t.Context(), func(ctx context.Context, tx grant.Tx) error {
		if err := tx.Put(ctx, g, 0); err != nil {
			return err
		}
		return tx.Notify(ctx, grant.Notice{Time: time.Now(), Grant: g.ID, Event: grant.Request, State: grant.Requested, To: []grant.Audience{grant.ToApprovers, grant.ToRequester, grant.ToSecurity}, Text: "please"})
	})
	if err != nil {
		t.Fatal(err)
	}
	box := newMailbox(t)
	file := filepath.Join(t.TempDir(), "notify.yaml")
	text := fmt.Sprintf("notify: 1\nmail:\n  - {name: mail, server: 127.0.0.1, port: %d, tls: none, from: lw@contoso.test, per-minute: 6000, to: {approvers: [directory], requester: [directory], security: [soc@contoso.test]}}\n", box.Addr().(*net.TCPAddr).Port)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	pw, err := lab.Reader.Password()
	if err != nil {
		t.Fatal(err)
	}
	n, end, err := app.NewNotifier(app.NotifySettings{
		File: file, Store: db, Now: time.Now, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Policies: func() *grant.Policies { return &grant.Policies{} },
		Directory: dc.Config{Domain: lab.Domain, DNS: lab.DNS, CAFile: lab.CAFile, Timeout: 20 * time.Second, Credentials: dc.Password(lab.Reader.Name, pw)},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { n.Run(ctx); close(done) }()
	want := []string{"anna@contoso.test", "bert@contoso.test", "carl@contoso.test", "soc@contoso.test"}
	for deadline := time.Now().Add(30 * time.Second); len(box.recipients()) < len(want) && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond)
	cancel()
	<-done
	if err := end(); err != nil {
		t.Error(err)
	}
	if got := box.recipients(); !slices.Equal(got, want) {
		t.Errorf("told %q, want %q: %+v", got, want, n.Status())
	}
	if dead, waiting, err := db.Deliveries().Undelivered(t.Context(), 10); len(dead)+waiting > 0 || err != nil {
		t.Errorf("left: %+v, %d, %v", dead, waiting, err)
	}
}
