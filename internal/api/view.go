package api

import (
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Power is what membership of a grant's group brings.
type Power struct {
	Group    Object          `json:"group"`
	Known    bool            `json:"known" doc:"what the group can do is known, by the snapshot"`
	Missing  string          `json:"missing,omitempty" doc:"why it is not"`
	Snapshot time.Time       `json:"snapshot,omitzero" doc:"when the snapshot was taken"`
	Age      string          `json:"age,omitempty" doc:"how old that is"`
	Extent   json.RawMessage `json:"extent,omitempty" doc:"what it can gain, in the form of: leastwise reach --output json"`
	Tickets  string          `json:"tickets" doc:"how long tickets may outlive the membership"`
}

// A Change is an attribute of an object that changed.
type Change struct {
	Time      time.Time `json:"time" doc:"by the domain controller that it was made on"`
	Object    string    `json:"object" doc:"distinguished name"`
	GUID      string    `json:"guid" format:"uuid"`
	Attribute string    `json:"attribute"`
	Version   int64     `json:"version" doc:"how often the attribute was written"`
}

// Changes are what changed in the directory while a grant was active.
type Changes struct {
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
	Server string    `json:"server" doc:"domain controller that was asked"`
	Items  []Change  `json:"items"`
	More   bool      `json:"more" doc:"there were more than are listed"`
	Note   string    `json:"note"`
}

// An AuditEntry is an entry of the audit log.
type AuditEntry struct {
	Index       int64     `json:"index"`
	Time        time.Time `json:"time"`
	Late        bool      `json:"late,omitempty" doc:"recorded after the event"`
	Phase       string    `json:"phase,omitempty" doc:"intent, outcome, refusal or fact"`
	Action      string    `json:"action,omitempty"`
	Actor       string    `json:"actor,omitempty"`
	ActorSID    string    `json:"actor_sid,omitempty"`
	Method      string    `json:"method,omitempty"`
	Factor      string    `json:"factor,omitempty"`
	Session     string    `json:"session,omitempty"`
	From        string    `json:"from,omitempty"`
	Request     string    `json:"request,omitempty"`
	Answers     int64     `json:"answers,omitempty"`
	Result      string    `json:"result,omitempty"`
	Target      string    `json:"target,omitempty"`
	TargetName  string    `json:"target_name,omitempty"`
	Subject     string    `json:"subject,omitempty"`
	SubjectName string    `json:"subject_name,omitempty"`
	Record      string    `json:"record,omitempty"`
	Generation  uint64    `json:"generation,omitempty"`
	Until       time.Time `json:"until,omitzero"`
	Server      string    `json:"server,omitempty"`
	Digest      string    `json:"digest,omitempty"`
	Reason      string    `json:"reason,omitempty"`
	Newer       bool      `json:"newer_version,omitempty" doc:"only index and time could be read"`
}

// NewAuditEntry puts an entry into the form of the wire, which is that of
// leastwise audit show --output json.
func NewAuditEntry(e audit.Entry) AuditEntry {
	out := AuditEntry{
		Index: e.Index, Time: e.Time.UTC(), Late: e.Late, Action: e.Action, Actor: e.Actor.Name, Method: string(e.Actor.Method), Factor: string(e.Actor.Factor),
		Session: e.Actor.Session, From: e.Actor.From, Request: e.Request, Answers: e.Answers, Result: e.Result.String(),
		Target: guid(e.Target), TargetName: e.TargetName, Subject: guid(e.Subject), SubjectName: e.SubjectName, Record: e.Record,
		Generation: e.Generation, Until: utc(e.Until), Server: e.Server, Reason: e.Reason, Newer: e.Phase == 0,
	}
	if e.Phase != 0 {
		out.Phase = e.Phase.String()
	}
	if !e.Actor.SID.IsZero() {
		out.ActorSID = e.Actor.SID.String()
	}
	if e.Digest != [32]byte{} {
		out.Digest = hex.EncodeToString(e.Digest[:])
	}
	return out
}

func guid(g secdesc.GUID) string {
	if g.IsZero() {
		return ""
	}
	return g.String()
}

// AuditEntries is a page of the audit log.
type AuditEntries struct {
	Items []AuditEntry `json:"items"`
	Next  string       `json:"next,omitempty" doc:"cursor of the next page; absent on the last"`
}

// An Event tells that something happened to a grant.
type Event struct {
	Index      int64     `json:"index" doc:"of the entry in the audit log; also the ID of the event"`
	Time       time.Time `json:"time"`
	Action     string    `json:"action" doc:"such as grant.approve"`
	Phase      string    `json:"phase"`
	Result     string    `json:"result,omitempty"`
	Actor      string    `json:"actor"`
	Grant      string    `json:"grant"`
	Generation uint64    `json:"generation,omitempty"`
	State      string    `json:"state" doc:"the state of the grant now, which may be later than the event"`
	Group      string    `json:"group,omitempty"`
	Account    string    `json:"account,omitempty"`
	Text       string    `json:"text,omitempty"`
}

// A Checkpoint is what the log was, signed.
type Checkpoint struct {
	Key    string `json:"key" doc:"public key that verifies it"`
	Signed string `json:"signed,omitempty" doc:"the signed note; absent if nothing was signed yet"`
}

// Health is the answer of health and readiness checks.
type Health struct {
	Status string            `json:"status" enum:"ok,not-ready"`
	Checks map[string]string `json:"checks,omitempty" doc:"ok, or away"`
}
