package operator

import "slices"

// An Action is something that policies permit. The words are those of the audit log.
type Action string

// The actions.
const (
	AssessRead   Action = "assess.read"
	GrantRead    Action = "grant.read"
	GrantRequest Action = "grant.request"
	GrantUrgent  Action = "grant.emergency"
	GrantApprove Action = "grant.approve"
	GrantObserve Action = "grant.observe"
	GrantEnd     Action = "grant.end"
	GrantRevoke  Action = "grant.revoke"
	GrantReview  Action = "grant.review"
	AuditRead    Action = "audit.read"
	TokenIssue   Action = "token.issue"
	OperatorRead Action = "operator.read"
	Administer   Action = "operator.administer"
)

// ResourceKind says what an action is done to.
type ResourceKind string

// The kinds of resources, named as in policies.
const (
	OnServer      ResourceKind = "Server"      // leastwise as a whole; its ID is "leastwise"
	OnGrant       ResourceKind = "Grant"       // one grant; its parent is its GrantPolicy
	OnGrantPolicy ResourceKind = "GrantPolicy" // a policy of grants, by name
	OnAccount     ResourceKind = "Account"     // an account, by objectGUID
)

// A Rule is what holds for an action whatever the policies say.
type Rule struct {
	Action Action
	On     []ResourceKind
	About  string // what it is, for people
	// StepUp: a second factor within the last minutes ([Times.StepUp]) is needed.
	StepUp bool
	// Tokens: API tokens may do it, if it is in their scope. Otherwise it is done in
	// person.
	Tokens bool
	// Live: the directory is asked each time. Otherwise its answer may be as old as
	// [Times.Cache].
	Live bool
}

// Rules lists all actions, in the order of the documentation.
func Rules() []Rule {
	server, grants := []ResourceKind{OnServer}, []ResourceKind{OnGrant}
	request, accounts := []ResourceKind{OnGrantPolicy}, []ResourceKind{OnAccount, OnServer}
	return []Rule{
		{Action: AssessRead, On: server, Tokens: true, About: "read snapshots, findings and who holds which power"},
		{Action: GrantRead, On: []ResourceKind{OnGrant, OnGrantPolicy, OnServer}, Tokens: true, About: "read grants and what may be requested"},
		{Action: GrantRequest, On: request, Tokens: true, About: "request a grant"},
		{Action: GrantUrgent, On: request, Live: true, About: "request a grant by the emergency path"},
		{Action: GrantApprove, On: grants, StepUp: true, Live: true, About: "approve or deny a grant or its extension, or take an approval back"},
		{Action: GrantObserve, On: grants, Live: true, About: "observe a grant, or leave it"},
		{Action: GrantEnd, On: grants, Tokens: true, About: "activate, extend, give back or cancel one's own grant"},
		{Action: GrantRevoke, On: grants, Live: true, About: "end somebody else's grant"},
		{Action: GrantReview, On: grants, StepUp: true, Live: true, About: "review an emergency grant afterwards"},
		{Action: AuditRead, On: server, Tokens: true, About: "read and verify the audit log"},
		{Action: TokenIssue, On: []ResourceKind{OnAccount}, StepUp: true, Live: true, About: "issue an API token to an account: the caller's own or a workload's"},
		{Action: OperatorRead, On: accounts, Live: true, About: "see other accounts' sessions, tokens and second factors"},
		{Action: Administer, On: accounts, StepUp: true, Live: true, About: "end others' sessions and tokens, remove second factors, load policies"},
	}
}

// RuleOf returns the rule of an action; ok is false if there is no such action.
func RuleOf(a Action) (r Rule, ok bool) {
	rules := Rules()
	i := slices.IndexFunc(rules, func(r Rule) bool { return r.Action == a })
	if i < 0 {
		return Rule{}, false
	}
	return rules[i], true
}
