package reach

import (
	"fmt"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A fileGrants is what the descriptor of a file of SYSVOL gives.
type fileGrants struct {
	file   string
	d      *secdesc.Descriptor
	grants *grants
}

// Rights on files and folders that change what a policy says ([MS-DTYP] 2.4.3).
const (
	fileWriteData   secdesc.Mask = 0x2
	fileAppendData  secdesc.Mask = 0x4
	fileDeleteChild secdesc.Mask = 0x40
	fileAll         secdesc.Mask = 0x1F01FF
	fileWrite       secdesc.Mask = 0x120116
)

var fileRules = []rule{
	{kind: WriteDAC, mask: secdesc.WriteDAC, gives: filing},
	{kind: WriteOwner, mask: secdesc.WriteOwner, gives: filing},
	{kind: WritePolicyFiles, mask: fileWriteData, gives: filing},
	{kind: WritePolicyFiles, mask: fileAppendData, gives: filing},
	{kind: WritePolicyFiles, mask: fileDeleteChild, gives: filing},
}

// readFiles notes the files of policies with the grants of their descriptors.
func (g *Graph) readFiles() {
	byFolder := map[string]forest.ID{}
	for _, id := range g.s.With(forest.GPCFileSysPath) {
		path, _ := g.s.Str(id, forest.GPCFileSysPath)
		if i := strings.LastIndexByte(path, '\\'); i >= 0 && g.x.domain[id] >= 0 {
			d := g.s.Domains()[g.x.domain[id]]
			byFolder[strings.ToLower(d.DNS+"/Policies/"+path[i+1:])] = id
		}
	}
	compiled := map[string]*fileGrants{}
	seen := map[string]bool{}
	for _, f := range g.s.Files() {
		id, ok := byFolder[strings.ToLower(folderOf(f))]
		key := fmt.Sprint(id, " ", string(f.SD))
		if !ok || f.SD == nil || seen[key] {
			continue
		}
		seen[key] = true
		have, ok := compiled[string(f.SD)]
		if !ok {
			d, err := secdesc.Parse(f.SD)
			if err != nil { // who may write it is not known
				g.files[id] = append(g.files[id], fileGrants{file: f.Path, grants: &grants{unread: true}})
				continue
			}
			mapFileRights(d)
			have = &fileGrants{file: f.Path, d: d, grants: compile(d, subject{aspect: fileAspect, owned: filing}, fileRules, g.isTrustedOwner)}
			compiled[string(f.SD)] = have
		}
		g.files[id] = append(g.files[id], fileGrants{file: f.Path, d: have.d, grants: have.grants})
	}
}

// folderOf returns domain/Policies/{GUID} of a file.
func folderOf(f forest.File) string {
	parts := strings.SplitN(f.Path, "/", 3)
	if len(parts) < 2 {
		return ""
	}
	return f.Domain + "/" + parts[0] + "/" + parts[1]
}

// mapFileRights spells out the generic rights of files, which differ from those of
// directory objects ([MS-DTYP] 2.4.3).
func mapFileRights(d *secdesc.Descriptor) {
	if d.DACL == nil {
		return
	}
	for i := range d.DACL.ACEs {
		a := &d.DACL.ACEs[i]
		if a.Mask&secdesc.GenericAll != 0 {
			a.Mask = a.Mask&^secdesc.GenericAll | fileAll
		}
		if a.Mask&secdesc.GenericWrite != 0 {
			a.Mask = a.Mask&^secdesc.GenericWrite | fileWrite
		}
	}
}

// fileRights visits those who can write files of a policy.
func (q *search) fileRights(policy forest.ID, to node) {
	g := q.sol.g
	dom := g.x.domain[policy]
	for _, f := range g.files[policy] {
		if f.grants.unread {
			q.unread = append(q.unread, policy)
		}
		for k := range f.grants.list {
			one := &f.grants.list[k]
			if len(one.deny) > 0 {
				of := leg{id: policy, dom: dom, grants: f.grants.list[k : k+1], where: f.file, in: f.d}
				q.later = append(q.later, &joint{to: to, kind: one.kind, legs: []leg{of}})
				continue
			}
			text := g.entryText(f.file, f.d, one.ace, dom)
			g.holders(one.who, dom, func(v node) {
				q.follow(edge{from: v, to: to, kind: one.kind, cond: one.cond, via: forest.None, text: text})
			})
		}
	}
}
