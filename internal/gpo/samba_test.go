package gpo_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/lab/need"
)

// readBySamba is an independent reader: the parsers of python3-samba.
const readBySamba = `
import json, sys
from samba.gp_parse.gp_inf import GptTmplInfParser
from samba.gp_parse.gp_pol import GPPolParser
from samba.gp_parse.gp_csv import GPAuditCsvParser
inf = GptTmplInfParser(); inf.parse(open(sys.argv[1], 'rb').read())
pol = GPPolParser(); pol.parse(open(sys.argv[2], 'rb').read())
csv = GPAuditCsvParser(); csv.parse(open(sys.argv[3], 'rb').read())
data = lambda e: '' if e.data is None else e.data if isinstance(e.data, (int, str)) else bytes(e.data).hex()
json.dump({
  'rights': {k: v for k, v in inf.sections['Privilege Rights'].param_list},
  'groups': {'__'.join(k): v for k, v in inf.sections['Group Membership'].param_list},
  'access': dict(inf.sections['System Access'].param_list),
  'pol': [[e.keyname, e.valuename, str(e.type), str(data(e))] for e in pol.pol_file.entries],
  'audit': [[l['Policy Target'], l['Subcategory GUID'], l['Setting Value']] for l in csv.lines],
}, sys.stdout)
`

// TestReadBySamba writes policy files and has Samba's own parsers read them.
func TestReadBySamba(t *testing.T) {
	python := need.Python(t, "samba.gp_parse.gp_inf")
	tpl := gpo.NewTemplate()
	tpl.Set("System Access", "EnableAdminAccount", "0")
	tpl.Set("Privilege Rights", "SeDenyNetworkLogonRight", `*S-1-5-21-1-2-3-512,Administrator,CONTOSO\Größe`)
	tpl.Set("Privilege Rights", "SeDenyBatchLogonRight", "")
	tpl.Set("Group Membership", "*S-1-5-32-544__Members", "*S-1-5-21-1-2-3-512,*S-1-5-21-1-2-3-1100")
	tpl.Set("Privilege Rights", "SeDenyServiceLogonRight", "*S-1-1-0")
	tpl.Set("Privilege Rights", "SeDenyServiceLogonRight", "*S-1-5-32-546")
	tpl.Set("Privilege Rights", "SeGone", "*S-1-1-0")
	tpl.Unset("Privilege Rights", "SeGone")
	inf, err := tpl.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	paths := []string{filepath.Join(dir, "GptTmpl.inf"), filepath.Join(dir, "Registry.pol"), filepath.Join(dir, "audit.csv"), filepath.Join(dir, "read.py")}
	for i, data := range [][]byte{inf, gpo.FormatRegistryPol(polEntries), []byte(auditCSV), []byte(readBySamba)} {
		if err := os.WriteFile(paths[i], data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var said strings.Builder
	cmd := exec.Command(python, paths[3], paths[0], paths[1], paths[2])
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	var got struct {
		Rights, Groups map[string][]string
		Access         map[string]string
		Pol, Audit     [][]string
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{
		"SeDenyNetworkLogonRight": {"*S-1-5-21-1-2-3-512", "Administrator", `CONTOSO\Größe`},
		"SeDenyBatchLogonRight":   {""},
		"SeDenyServiceLogonRight": {"*S-1-5-32-546"},
	}
	if !reflect.DeepEqual(got.Rights, want) {
		t.Errorf("rights %q", got.Rights)
	}
	if g := got.Groups["*S-1-5-32-544__Members"]; len(got.Groups) != 1 || !reflect.DeepEqual(g, []string{"*S-1-5-21-1-2-3-512", "*S-1-5-21-1-2-3-1100"}) {
		t.Errorf("groups %q", got.Groups)
	}
	if !reflect.DeepEqual(got.Access, map[string]string{"EnableAdminAccount": "0"}) {
		t.Errorf("access %q", got.Access)
	}
	checkPol(t, got.Pol)
	entries, err := gpo.ParseAuditCSV([]byte(auditCSV))
	if err != nil || len(entries) != len(got.Audit) {
		t.Fatalf("audit: %d entries, Samba reads %d, %v", len(entries), len(got.Audit), err)
	}
	for i, e := range entries {
		id := ""
		if !e.GUID.IsZero() {
			id = "{" + e.GUID.String() + "}"
		}
		if w := []string{e.Target, id, e.Value}; !reflect.DeepEqual(w, got.Audit[i]) {
			t.Errorf("audit %d: %q, Samba reads %q", i, w, got.Audit[i])
		}
	}
}

func checkPol(t *testing.T, got [][]string) {
	t.Helper()
	if len(got) != len(polEntries) {
		t.Fatalf("Samba reads %d registry entries of %d", len(got), len(polEntries))
	}
	for i, e := range polEntries {
		if got[i][0] != e.Key || got[i][1] != e.Value {
			t.Errorf("entry %d: Samba reads %q", i, got[i])
		}
		if e.Type == 1 || e.Type == 4 || e.Type == 11 {
			if got[i][3] != e.Text() {
				t.Errorf("entry %d: %q, Samba reads %q", i, e.Text(), got[i][3])
			}
		}
	}
}
