//go:build linux

// The lab runs on Linux only.

package cli_test

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	ldap "github.com/go-ldap/ldap/v3"
	"github.com/pquerna/otp/totp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/leastwise/leastwise/lab/labtest"
	"github.com/leastwise/leastwise/lab/need"
)

// A hall is what the scripts about grants share: an organizational unit of the lab with
// people, a group that is worth something, and the account that the server runs as, which
// may write the members of that group and nothing else.
type hall struct {
	t        *testing.T
	lab      *labtest.Lab
	admin    *ldap.Conn
	ou, tag  string
	dir      string
	password string
}

// TestGrantScripts runs the scripts of a person at the command line against a server of
// their own, which works on a real directory.
func TestGrantScripts(t *testing.T) {
	t.Parallel()
	need.Long(t)
	h := newHall(t)
	cmds := commands()
	cmds["serving"], cmds["totp"], cmds["field"] = cmdServing, cmdTOTP, cmdField
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "directory", "grant"), Setup: h.setup, Cmds: cmds, Condition: condition, RequireUniqueNames: true,
	})
}

func newHall(t *testing.T) *hall {
	t.Helper()
	lab := labtest.Start(t, labtest.Options{Single: true})
	h := &hall{t: t, lab: lab, tag: strings.ToLower(rand.Text()[:6]), dir: t.TempDir(), password: "Lw1-" + rand.Text()}
	h.ou = "OU=hall-" + h.tag + "," + lab.BaseDN
	var err error
	if h.admin, err = lab.Dial(t.Context(), lab.DCs()[0], lab.Admin); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.admin.Del(ldap.NewDelRequest(h.ou, []ldap.Control{ldap.NewControlString("1.2.840.113556.1.4.805", true, "")})); err != nil {
			t.Error(err)
		}
		h.admin.Close()
	})
	h.add(h.ou, "organizationalUnit")
	for _, u := range []string{"anna", "boris", "olga", "svc"} {
		h.add("CN="+u+","+h.ou, "user", "sAMAccountName", u+"-"+h.tag, "userAccountControl", "512", "unicodePwd", unicodePwd(h.password))
	}
	h.add("CN=staff,"+h.ou, "group", "sAMAccountName", "staff-"+h.tag, "member", "CN=anna,"+h.ou, "member", "CN=olga,"+h.ou)
	h.add("CN=approvers,"+h.ou, "group", "sAMAccountName", "approvers-"+h.tag, "member", "CN=boris,"+h.ou)
	h.add("CN=power,"+h.ou, "group", "sAMAccountName", "power-"+h.tag)
	h.letWrite("CN=power,"+h.ou, "svc-"+h.tag)
	if err := os.WriteFile(filepath.Join(h.dir, "pw"), []byte(h.password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *hall) add(dn, class string, attrs ...string) {
	h.t.Helper()
	r := ldap.NewAddRequest(dn, nil)
	r.Attribute("objectClass", []string{class})
	values := map[string][]string{}
	for i := 0; i+1 < len(attrs); i += 2 {
		values[attrs[i]] = append(values[attrs[i]], attrs[i+1])
	}
	for name, v := range values {
		r.Attribute(name, v)
	}
	if err := h.admin.Add(r); err != nil {
		h.t.Fatalf("adding %s: %v", dn, err)
	}
}

// letWrite delegates the members of a group.
func (h *hall) letWrite(group, account string) {
	h.t.Helper()
	h.lab.Python(`
import json, os, sys
from samba.samdb import SamDB
from samba.param import LoadParm
from samba.credentials import Credentials
from samba.sd_utils import SDUtils
lab = json.load(open(os.environ['LAB_FILE']))
lp = LoadParm(lab['client_conf'])
c = Credentials()
c.guess(lp)
c.set_username(os.environ['USER'])
c.set_password(open(os.environ['PASSWD_FILE']).read().strip())
db = SamDB('ldap://' + lab['hosts'][0]['fqdn'], credentials=c, lp=lp)
from samba.ndr import ndr_unpack
from samba.dcerpc import security
found = db.search(expression='(sAMAccountName=%s)' % sys.argv[2], attrs=['objectSid'])
sid = ndr_unpack(security.dom_sid, found[0]['objectSid'][0])
SDUtils(db).dacl_add_ace(sys.argv[1], '(OA;;RPWP;bf9679c0-0de6-11d0-a285-00aa003049e2;;%s)' % sid)
`, nil, group, account)
}

// setup leaves the files of a server and of its clients.
func (h *hall) setup(e *testscript.Env) error {
	if err := setup(e); err != nil {
		return err
	}
	l := h.lab
	address, err := freeAddress(l.Net)
	if err != nil {
		return err
	}
	e.Values[secretsKey{}] = []string{h.password, l.AdminPassword()}
	name := func(n string) string { return l.NetBIOS + `\` + n + "-" + h.tag }
	for k, v := range map[string]string{
		"KRB5_CONFIG": l.Krb5Conf, "URL": "https://" + address, "ANNA": "anna-" + h.tag, "BORIS": "boris-" + h.tag, "OLGA": "olga-" + h.tag, "TAG": h.tag,
		"NETBIOS": l.NetBIOS, "BORISNAME": name("boris"),
	} {
		e.Setenv(k, v)
	}
	host, _, _ := net.SplitHostPort(address)
	common := fmt.Sprintf("domain: %s\ndns: %s\npassword-file: %s\n", l.Domain, l.DNS, filepath.Join(h.dir, "pw"))
	files := map[string]string{
		"server.yaml": common + fmt.Sprintf("ca: %s\nserver: %s\nuser: svc-%s\nlisten: %s\nnames: [%s]\nlog-level: warn\ngrant-policies: grants.yaml\ndatabase: lw.db\n",
			l.CAFile, l.DCs()[0].FQDN, h.tag, address, host),
		"client.yaml": common + "ca: tls/ca.pem\nsign-in: password\nurl: https://" + address + "\n",
		"grants.yaml": fmt.Sprintf(`grants: 1
policies:
  - name: quick
    title: Power without asking
    group: '%[1]s'
    requesters: ['%[2]s']
    duration: {longest: 1h, usual: 10m}
    reason: {needed: true, shortest: 5}
  - name: guarded
    title: Power after asking
    group: '%[1]s'
    requesters: ['%[2]s']
    duration: {longest: 1h, usual: 10m}
    approval: {needed: 1, from: ['%[3]s'], within: 1h}
    observer: {needed: true, from: ['%[2]s'], leaves: ends}
`, name("power"), name("staff"), name("approvers")),
	}
	for file, text := range files {
		if err := os.WriteFile(filepath.Join(e.WorkDir, file), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return syscall.Mkfifo(filepath.Join(e.WorkDir, "code"), 0o600)
}

// freeAddress finds an address and port of the lab's block that nobody listens on.
func freeAddress(block string) (string, error) {
	l, err := net.Listen("tcp", block+".77:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// cmdServing waits until the server at a URL is ready: serving URL CA
func cmdServing(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: serving URL CA")
	}
	last := os.ErrDeadlineExceeded
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(50 * time.Millisecond) {
		pem, err := os.ReadFile(ts.MkAbs(args[1]))
		if err != nil {
			last = err
			continue
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
		resp, err := (&http.Client{Transport: tr}).Get(args[0] + "/readyz")
		if err == nil {
			resp.Body.Close()
			last = fmt.Errorf("status %d", resp.StatusCode)
		} else {
			last = err
		}
		tr.CloseIdleConnections()
		if err == nil && resp.StatusCode == http.StatusOK {
			return
		}
	}
	ts.Fatalf("the server does not become ready: %v", last)
}

// cmdTOTP writes the code of an enrolment that is STEPS time steps from now, once that is
// there: totp ENROLMENT STEPS FILE. Three steps are taken: the one before, now, the next.
func cmdTOTP(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: totp ENROLMENT STEPS FILE")
	}
	var e struct {
		Secret string `json:"secret"`
	}
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(20 * time.Millisecond) {
		if data, err := os.ReadFile(ts.MkAbs(args[0])); err == nil && json.Unmarshal(data, &e) == nil && e.Secret != "" {
			break
		}
	}
	steps, err := strconv.Atoi(args[1])
	ts.Check(err)
	code, err := totp.GenerateCode(e.Secret, time.Now().Add(time.Duration(steps)*30*time.Second))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(code+"\n"), 0o600))
}

// cmdField puts a field of the JSON of the last standard output into the environment:
// field NAME VARIABLE
func cmdField(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: field NAME VARIABLE")
	}
	var v map[string]any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
	ts.Setenv(args[1], fmt.Sprint(v[args[0]]))
}
