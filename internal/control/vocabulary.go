package control

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"

	"github.com/leastwise/leastwise/internal/forest"
)

// A vocabulary is the names that an argument of a function may have. What a control
// asks for by a name that means nothing would never be found, and the control would
// pass: such names are refused when the catalogue is read.
type vocabulary struct {
	what  string
	names func() []string
	exact bool // case counts
	head  bool // only what precedes the first colon counts
}

// An argument names one of a function, from 0 without the receiver.
type argument struct {
	function string
	index    int
}

var (
	attributeNames = vocabulary{what: "attribute of snapshots", names: func() []string {
		var out []string
		for _, a := range forest.Attrs() {
			out = append(out, a.String())
		}
		return out
	}}
	accountFlagNames = vocabulary{what: "flag of userAccountControl", names: func() []string { return slices.Sorted(maps.Keys(accountFlags)) }, exact: true}
	principalNames   = vocabulary{what: "principal", exact: true, names: func() []string {
		return slices.Concat(slices.Sorted(maps.Keys(domainRIDs)), slices.Sorted(maps.Keys(builtinRIDs)), slices.Sorted(maps.Keys(identities)))
	}}
	maskNames      = vocabulary{what: "right such as WP or CR:User-Change-Password", exact: true, head: true, names: func() []string { return slices.Sorted(maps.Keys(rightsByName)) }}
	userRightNames = vocabulary{what: "user right", names: func() []string { return userRights }}
	optionNames    = vocabulary{what: "option", exact: true, names: func() []string { return slices.Sorted(maps.Keys(Options{}.variables())) }}
)

// vocabularies says which arguments are names. Arguments that are not here may be
// any text, or names that the schema of each forest decides about.
var vocabularies = map[argument]vocabulary{
	{"has", 0}: attributeNames, {"int", 0}: attributeNames, {"bool", 0}: attributeNames, {"bits", 0}: attributeNames,
	{"text", 0}: attributeNames, {"texts", 0}: attributeNames, {"links", 0}: attributeNames,
	{"days", 0}: attributeNames, {"changedDays", 0}: attributeNames,
	{"flag", 0}:        accountFlagNames,
	{"isPrincipal", 0}: principalNames, {"isPrincipalOf", 1}: principalNames, {"principal", 0}: principalNames,
	{"hasDirect", 0}: principalNames, {"directIn", 0}: principalNames, {"memberOf", 0}: principalNames,
	{"ownerIs", 0}: principalNames, {"trusteeIs", 0}: principalNames, {"trusteeIn", 0}: principalNames,
	{"audits", 0}: principalNames, {"audits", 1}: maskNames, {"denies", 0}: maskNames, {"only", 0}: maskNames,
	{"right", 0}: userRightNames, {"definesRight", 0}: userRightNames, {"emptiesRight", 0}: userRightNames,
}

// userRights are the account rights and privileges of Windows ([MS-LSAD] 3.1.1.2).
var userRights = []string{
	"SeInteractiveLogonRight", "SeNetworkLogonRight", "SeBatchLogonRight", "SeServiceLogonRight", "SeRemoteInteractiveLogonRight",
	"SeDenyInteractiveLogonRight", "SeDenyNetworkLogonRight", "SeDenyBatchLogonRight", "SeDenyServiceLogonRight", "SeDenyRemoteInteractiveLogonRight",
	"SeAssignPrimaryTokenPrivilege", "SeAuditPrivilege", "SeBackupPrivilege", "SeChangeNotifyPrivilege", "SeCreateGlobalPrivilege",
	"SeCreatePagefilePrivilege", "SeCreatePermanentPrivilege", "SeCreateSymbolicLinkPrivilege", "SeCreateTokenPrivilege", "SeDebugPrivilege",
	"SeDelegateSessionUserImpersonatePrivilege", "SeEnableDelegationPrivilege", "SeImpersonatePrivilege", "SeIncreaseBasePriorityPrivilege",
	"SeIncreaseQuotaPrivilege", "SeIncreaseWorkingSetPrivilege", "SeLoadDriverPrivilege", "SeLockMemoryPrivilege", "SeMachineAccountPrivilege",
	"SeManageVolumePrivilege", "SeProfileSingleProcessPrivilege", "SeRelabelPrivilege", "SeRemoteShutdownPrivilege", "SeRestorePrivilege",
	"SeSecurityPrivilege", "SeShutdownPrivilege", "SeSyncAgentPrivilege", "SeSystemEnvironmentPrivilege", "SeSystemProfilePrivilege",
	"SeSystemtimePrivilege", "SeTakeOwnershipPrivilege", "SeTcbPrivilege", "SeTimeZonePrivilege", "SeTrustedCredManAccessPrivilege",
	"SeUndockPrivilege", "SeUnsolicitedInputPrivilege",
}

// fault says that the vocabulary lacks a name and which ones come near; "" if not.
func (v vocabulary) fault(name string) string {
	word := name
	if v.head {
		word, _, _ = strings.Cut(name, ":")
	}
	names := v.names()
	if slices.ContainsFunc(names, func(n string) bool { return n == word || !v.exact && strings.EqualFold(n, word) }) {
		return ""
	}
	return fmt.Sprintf("%q is no %s; the nearest names are %s", name, v.what, strings.Join(nearest(word, names), ", "))
}

// nearest returns the three names that take the fewest changes to become word.
func nearest(word string, names []string) []string {
	word = strings.ToLower(word)
	out := slices.Clone(names)
	slices.SortStableFunc(out, func(a, b string) int {
		return cmp.Compare(distance(word, strings.ToLower(a)), distance(word, strings.ToLower(b)))
	})
	return out[:min(3, len(out))]
}

// distance counts the bytes to insert, remove or replace to turn a into b.
func distance(a, b string) int {
	const most = 64 // a longer name is no slip of the pen
	a, b = a[:min(most, len(a))], b[:min(most, len(b))]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// A speller looks for misspelt names in a checked expression.
type speller struct {
	tree    *ast.AST
	methods map[string]method
	lists   map[string][]ast.Expr // variables of macros over lists of literals
	faults  []string
}

// misspelt returns the faults of an expression in the order of the text.
func misspelt(checked *cel.Ast, methods map[string]method) []string {
	s := &speller{tree: checked.NativeRep(), methods: methods, lists: map[string][]ast.Expr{}}
	s.visit(s.tree.Expr())
	return s.faults
}

func (s *speller) visit(e ast.Expr) {
	switch e.Kind() {
	case ast.CallKind:
		s.call(e)
	case ast.ListKind:
		for _, x := range e.AsList().Elements() {
			s.visit(x)
		}
	case ast.SelectKind:
		if x := e.AsSelect(); x.Operand().Kind() == ast.IdentKind && x.Operand().AsIdent() == "options" {
			s.check(optionNames, e, x.FieldName())
		} else {
			s.visit(x.Operand())
		}
	case ast.ComprehensionKind:
		c := e.AsComprehension()
		s.visit(c.IterRange())
		outer, shadows := s.lists[c.IterVar()]
		delete(s.lists, c.IterVar())
		if c.IterRange().Kind() == ast.ListKind {
			s.lists[c.IterVar()] = c.IterRange().AsList().Elements()
		}
		for _, x := range []ast.Expr{c.AccuInit(), c.LoopCondition(), c.LoopStep(), c.Result()} {
			s.visit(x)
		}
		delete(s.lists, c.IterVar())
		if shadows {
			s.lists[c.IterVar()] = outer
		}
	}
}

func (s *speller) call(e ast.Expr) {
	c := e.AsCall()
	if c.IsMemberFunction() {
		s.visit(c.Target())
	}
	info := s.tree.ReferenceMap()[e.ID()]
	for i, arg := range c.Args() {
		s.visit(arg)
		if info == nil || len(info.OverloadIDs) == 0 {
			continue
		}
		if m, own := s.methods[info.OverloadIDs[0]]; own {
			if v, ok := vocabularies[argument{m.name, i}]; ok {
				s.names(v, arg)
			}
		}
	}
}

// names checks a literal, a list of literals, or a variable that goes through one.
func (s *speller) names(v vocabulary, arg ast.Expr) {
	switch arg.Kind() {
	case ast.LiteralKind:
		if text, ok := arg.AsLiteral().(types.String); ok {
			s.check(v, arg, string(text))
		}
	case ast.ListKind:
		for _, x := range arg.AsList().Elements() {
			s.names(v, x)
		}
	case ast.IdentKind:
		for _, x := range s.lists[arg.AsIdent()] {
			if x.Kind() == ast.LiteralKind {
				s.names(v, x)
			}
		}
	}
}

func (s *speller) check(v vocabulary, at ast.Expr, name string) {
	if fault := v.fault(name); fault != "" {
		place := s.tree.SourceInfo().GetStartLocation(at.ID())
		text := fmt.Sprintf("line %d, column %d: %s", place.Line(), place.Column()+1, fault)
		if !slices.Contains(s.faults, text) {
			s.faults = append(s.faults, text)
		}
	}
}
