package gpo

import (
	"fmt"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
)

// content is what the files of a policy say for computers.
type content struct {
	items  map[string]item // by settingKey
	reg    []regItem       // in file order
	groups []GroupItem
	users  []UserItem

	unread  [numFiles]string // why a file could not be read or parsed; empty if it was
	ignored [numFiles]string // why clients do not process a file that is there
}

// policyFile is one of the files of a policy.
type policyFile uint8

const (
	templateFile policyFile = iota
	polFile
	groupsFile
	auditFile
	numFiles
)

// policyFiles says where the files are and which extension processes them.
var policyFiles = [numFiles]struct {
	path string
	what string
}{
	templateFile: {"Machine/Microsoft/Windows NT/SecEdit/GptTmpl.inf", "security"},
	polFile:      {"Machine/Registry.pol", "registry"},
	groupsFile:   {"Machine/Preferences/Groups/Groups.xml", "local users and groups"},
	auditFile:    {"Machine/Microsoft/Windows NT/Audit/audit.csv", "advanced audit"},
}

func (f policyFile) runs(x Extensions) bool {
	switch f {
	case templateFile:
		return x.Runs(cseSecurity)
	case polFile:
		return x.Runs(cseRegistry)
	case groupsFile:
		return x.Runs(cseGroups)
	default:
		return x.Runs(cseAudit)
	}
}

// item is one setting of a policy file.
type item struct {
	sec   section
	name  string
	value string
	file  policyFile
	line  int
}

// regItem is one registry instruction, of Registry.pol or of [Registry Values].
type regItem struct {
	key, value string // lower case
	data       string
	file       policyFile
	line       int
}

// load reads the files of p from the snapshot.
func (p *Policy) load(s *forest.Snapshot) {
	c := &content{items: map[string]item{}}
	p.data = c
	ini := s.File(p.Domain, p.Folder+"/GPT.INI")
	for f := range numFiles {
		file := s.File(p.Domain, p.Folder+"/"+policyFiles[f].path)
		switch {
		case file.State == forest.Absent && ini.State == forest.Absent && f.runs(p.ext):
			c.unread[f] = fmt.Sprintf("neither GPT.INI nor %s of policy %s exists: clients stop with an error and keep what they had", policyFiles[f].path, p)
			continue
		case file.State == forest.Absent:
			if f == templateFile && f.runs(p.ext) && !p.unseen() {
				p.problem("lists the security extension but has no GptTmpl.inf: clients set nothing from it")
			}
			continue
		case file.State != forest.Known:
			if f.runs(p.ext) {
				c.unread[f] = fmt.Sprintf("%s of policy %s could not be read: %s", policyFiles[f].path, p, file.Reason)
			}
			continue
		case !f.runs(p.ext):
			c.ignored[f] = fmt.Sprintf("the policy does not list the %s extension, so clients do not process %s", policyFiles[f].what, policyFiles[f].path)
			p.problem(c.ignored[f])
		}
		if err := c.parse(p, f, file.Data); err != nil {
			p.problem(err.Error())
			if c.ignored[f] == "" { // else it does not matter what it says
				c.unread[f] = fmt.Sprintf("%s of policy %s: %v", policyFiles[f].path, p, err)
			}
		}
	}
}

// unseen reports whether parts of the policy's object were not read.
func (p *Policy) unseen() bool {
	return slices.ContainsFunc(p.Problems, func(x Problem) bool { return x.Kind == Unseen })
}

func (p *Policy) problem(text string) { p.problemOf(Damaged, text) }

func (p *Policy) problemOf(k ProblemKind, text string) {
	p.Problems = append(p.Problems, Problem{k, text})
}

func (c *content) parse(p *Policy, f policyFile, raw []byte) error {
	switch f {
	case templateFile:
		return c.parseTemplate(p, raw)
	case polFile:
		entries, err := ParseRegistryPol(raw)
		for _, e := range entries {
			c.reg = append(c.reg, regItem{key: cleanKey(e.Key), value: strings.ToLower(e.Value), data: e.Text(), file: f})
		}
		return err
	case groupsFile:
		x, err := ParseGroupsXML(raw)
		if err != nil {
			return err
		}
		c.groups, c.users = x.Groups, x.Users
		for _, u := range x.Users {
			if u.HasPassword {
				p.problemOf(StoredSecret, fmt.Sprintf("Groups.xml line %d stores a password for %q that every domain user can decrypt", u.Line, u.Name))
			}
		}
	case auditFile:
		entries, err := ParseAuditCSV(raw)
		for _, e := range entries {
			if strings.EqualFold(e.Target, "system") && !e.GUID.IsZero() {
				c.add(item{sec: advancedAuditSection, name: e.GUID.String(), value: e.Value, file: f, line: e.Line})
			}
		}
		return err
	}
	return nil
}

func (c *content) add(x item) { c.items[settingKey(x.sec, x.name)] = x }

func (c *content) parseTemplate(p *Policy, raw []byte) error {
	t, err := ParseTemplate(raw)
	if err != nil {
		return err
	}
	for _, pr := range t.Problems {
		p.problem("GptTmpl.inf: " + pr)
	}
	for name, sec := range map[string]section{secPrivileges: rightsSection, secSystem: systemSection, secAudit: auditSection} {
		for _, x := range t.Items(name) {
			c.add(item{sec: sec, name: x.Key, value: x.Value, line: x.Line})
		}
	}
	for _, x := range t.Items(secGroups) {
		sec, group, ok := groupKey(x.Key)
		if !ok {
			p.problem(fmt.Sprintf("GptTmpl.inf line %d: %q is neither __Members nor __Memberof of a group", x.Line, clip(x.Key)))
			continue
		}
		c.add(item{sec: sec, name: group, value: x.Value, line: x.Line})
	}
	for _, x := range t.Items(secRegistry) {
		i := strings.LastIndexByte(x.Key, '\\')
		if i < 0 {
			p.problem(fmt.Sprintf("GptTmpl.inf line %d: %q is not a registry value", x.Line, clip(x.Key)))
			continue
		}
		_, data, _ := strings.Cut(x.Value, ",")
		c.reg = append(c.reg, regItem{
			key: cleanKey(x.Key[:i]), value: strings.ToLower(x.Key[i+1:]),
			data: strings.Trim(strings.TrimSpace(data), `"`), file: templateFile, line: x.Line,
		})
	}
	return nil
}

// cleanKey brings a registry key to the form under which spellings are equal.
func cleanKey(k string) string {
	k = strings.Trim(strings.ToLower(k), `\`)
	for _, hive := range []string{`machine\`, `hklm\`, `hkey_local_machine\`} {
		if rest, ok := strings.CutPrefix(k, hive); ok {
			return rest
		}
	}
	return k
}

// groupKey takes a key of the section Group Membership apart: the group, and
// whether its members or its memberships are set ([MS-GPSB] 2.2.5).
func groupKey(key string) (sec section, group string, ok bool) {
	for suffix, sec := range map[string]section{"__Members": membersSection, "__Memberof": memberOfSection} {
		if i := len(key) - len(suffix); i > 0 && strings.EqualFold(key[i:], suffix) {
			return sec, key[:i], true
		}
	}
	return 0, "", false
}
