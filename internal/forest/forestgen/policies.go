package forestgen

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"

	"github.com/leastwise/leastwise/internal/forest"
)

// policyCount is how many policies the forest has.
func (g *generator) policyCount() int { return max(8, min(200, g.objects/5000)) }

// policyID returns the GUID of policy i in braces; the first two are the default
// policies of the domain and of its controllers.
func policyID(i int) string {
	switch i {
	case 0:
		return "{31B2F340-016D-11D2-945F-00C04FB984F9}"
	case 1:
		return "{6AC1786C-016F-11D2-945F-00C04FB984F9}"
	}
	return fmt.Sprintf("{5E0F0000-0000-4000-8000-%012X}", i)
}

// gpLink links one to three policies, starting with policy i.
func (g *generator) gpLink(i int) string {
	var b strings.Builder
	for k := range 1 + i%3 {
		fmt.Fprintf(&b, "[LDAP://CN=%s,CN=Policies,%s;%d]", policyID((i+k*5)%g.policyCount()), systemDN, []int{0, 0, 0, 1, 2}[(i+k)%5])
	}
	return b.String()
}

func (g *generator) policies() {
	g.add("CN=Policies,"+systemDN, classContainer, nil, g.descriptor(sdKey{kind: kindOther}))
	for i := range g.policyCount() {
		id := policyID(i)
		g.add("CN="+id+",CN=Policies,"+systemDN, []string{"top", "container", "groupPolicyContainer"}, attrs{
			"displayName", fmt.Sprintf("Policy %d", i), "gPCFileSysPath", `\\` + DNS + `\sysvol\` + DNS + `\Policies\` + id,
			"versionNumber", "1", "gPCFunctionalityVersion", "2", "flags", []string{"0", "0", "0", "0", "0", "1"}[i%6],
			"gPCMachineExtensionNames", "[{827D319E-6EAC-11D2-A4EA-00C04F79F83A}{803E14A0-B4FB-11D0-A0D0-00A0C90F574B}]",
		}, g.descriptor(sdKey{kind: kindPolicy}))
		g.file("Policies/"+id+"/GPT.INI", []byte("[General]\r\nVersion=1\r\n"))
		g.file("Policies/"+id+"/Machine/Microsoft/Windows NT/SecEdit/GptTmpl.inf", utf16le(g.template(i)))
	}
}

func (g *generator) file(path string, data []byte) {
	g.b.AddFile(forest.File{Domain: DNS, Path: path, Data: data, State: forest.Known})
}

// template is a security template with rights: some deny the privileged groups
// what they must be denied, some do so in part, some grant.
func (g *generator) template(i int) string {
	sid := func(rid uint32) string { return "*" + g.domain.Child(rid).String() }
	all := []string{sid(512), sid(519), "*S-1-5-32-544", sid(500)}
	var b strings.Builder
	b.WriteString("[Unicode]\r\nUnicode=yes\r\n[Version]\r\nsignature=\"$CHICAGO$\"\r\nRevision=1\r\n[Privilege Rights]\r\n")
	right := func(name string, who ...string) { b.WriteString(name + " = " + strings.Join(who, ",") + "\r\n") }
	switch i % 4 {
	case 0:
		for _, r := range []string{"SeDenyNetworkLogonRight", "SeDenyBatchLogonRight", "SeDenyServiceLogonRight", "SeDenyRemoteInteractiveLogonRight", "SeDenyInteractiveLogonRight"} {
			right(r, all...)
		}
	case 1:
		right("SeDenyNetworkLogonRight", all[:1+i%3]...)
		right("SeInteractiveLogonRight", "*S-1-5-32-544", "*S-1-5-32-551")
	case 2:
		right("SeBackupPrivilege", "*S-1-5-32-544", "*S-1-5-32-551", sid(uint32(1104+i)))
		right("SeDebugPrivilege", "*S-1-5-32-544")
	default:
		right("SeDenyRemoteInteractiveLogonRight")
		b.WriteString("[Group Membership]\r\n*S-1-5-32-544__Members = " + sid(512) + "," + sid(uint32(1104+i)) + "\r\n")
	}
	return b.String()
}

// utf16le returns text as Windows writes templates.
func utf16le(text string) []byte {
	out := []byte{0xFF, 0xFE}
	for _, u := range utf16.Encode([]rune(text)) {
		out = binary.LittleEndian.AppendUint16(out, u)
	}
	return out
}
