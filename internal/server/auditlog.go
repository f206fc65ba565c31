package server

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/leastwise/leastwise/internal/api"
	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/internal/store"
)

const (
	tagAudit   = "audit"
	pathExport = "/v1/audit/export"
)

type (
	auditIn struct {
		Since   time.Time `query:"since"`
		Before  time.Time `query:"before"`
		Action  string    `query:"action" maxLength:"64" doc:"the action, or all that begin with it and a dot"`
		Actor   string    `query:"actor" maxLength:"1024"`
		Object  string    `query:"object" maxLength:"36" doc:"objectGUID of target or subject"`
		Record  string    `query:"record" maxLength:"128"`
		Request string    `query:"request" maxLength:"128"`
		Phase   string    `query:"phase" enum:"intent,outcome,refusal,fact"`
		Open    bool      `query:"open" doc:"only intents without an outcome"`
		Cursor  string    `query:"cursor" maxLength:"256"`
		Limit   int       `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	}
	entryIn struct {
		Index int64 `path:"index" minimum:"0"`
	}
	proofOut      struct{ Body *audit.Proof }
	reportOut     struct{ Body *audit.Report }
	checkpointOut struct{ Body api.Checkpoint }
	verifyIn      struct {
		Body struct {
			Checkpoints []string `json:"checkpoints,omitempty" maxItems:"20" doc:"signed checkpoints that the caller kept; absent: only those of the log"`
		} `required:"false"`
	}
	consistencyIn struct {
		Body struct {
			Checkpoint string `json:"checkpoint" maxLength:"16384" doc:"an earlier signed checkpoint"`
		}
	}
)

func (s *Server) registerAudit() {
	read := func(r route) route {
		r.tag, r.may = tagAudit, operator.AuditRead
		return r
	}
	add(s, read(route{id: "list-audit-entries", method: http.MethodGet, path: "/v1/audit/entries", summary: "Entries of the audit log, newest first"}), s.listEntries)
	add(s, read(route{
		id: "prove-audit-entry", method: http.MethodGet, path: "/v1/audit/entries/{index}/proof", summary: "Proof that an entry is in the log of the newest checkpoint",
		codes: []api.Code{api.CodeUnavailable},
	}), s.proveEntry)
	add(s, read(route{
		id: "prove-audit-consistency", method: http.MethodPost, path: "/v1/audit/consistency", summary: "Proof that the log still begins with what an earlier checkpoint says",
		codes: []api.Code{api.CodeUnavailable, api.CodeConflict},
	}), s.proveConsistency)
	add(s, read(route{
		id: "verify-audit", method: http.MethodPost, path: "/v1/audit/verify", summary: "Verify the whole log, on the server",
		text: "Whoever does not trust the server exports the log and verifies it elsewhere: leastwise audit verify.",
	}), s.verifyLog)
	add(s, read(route{id: "latest-checkpoint", method: http.MethodGet, path: "/v1/audit/checkpoint", summary: "The newest signed checkpoint"}), s.latestCheckpoint)
	add(s, read(route{
		id: "sign-checkpoint", method: http.MethodPost, path: "/v1/audit/checkpoint", summary: "Sign the log as it is now",
		codes: []api.Code{api.CodeUnavailable, api.CodeConflict},
	}), s.signCheckpoint)
	add(s, read(route{id: "export-audit", method: http.MethodGet, path: pathExport, summary: "The whole log, for others to verify with leastwise audit verify"}), s.exportLog)
	s.huma.OpenAPI().Paths[pathExport].Get.Responses["200"] = &huma.Response{
		Description: "Lines of JSON, see FORMATS.md", Content: map[string]*huma.MediaType{"application/jsonl": {Schema: &huma.Schema{Type: huma.TypeString}}},
	}
}

func (s *Server) listEntries(ctx context.Context, _ *caller, in *auditIn) (*entriesOut, error) {
	cur, err := api.ParseCursor("audit", in.Cursor)
	if err != nil {
		return nil, invalidField("query.cursor", "not a cursor of this list")
	}
	f := store.AuditFilter{
		Since: in.Since, Before: in.Before, Action: in.Action, Actor: in.Actor, Record: in.Record, Request: in.Request,
		Open: in.Open, Limit: in.Limit + 1,
	}
	if cur.After != "" {
		if f.Below, err = strconv.ParseInt(cur.After, 10, 64); err != nil || f.Below < 1 {
			return nil, invalidField("query.cursor", "not a cursor of this list")
		}
	}
	if in.Object != "" {
		if f.Object, err = secdesc.ParseGUID(in.Object); err != nil {
			return nil, invalidField("query.object", "not an objectGUID")
		}
	}
	for p := audit.Intent; in.Phase != "" && p <= audit.Fact; p++ {
		if p.String() == in.Phase {
			f.Phase = p
		}
	}
	out := &entriesOut{api.AuditEntries{Items: []api.AuditEntry{}}}
	err = s.cfg.Store.View(ctx, func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.AuditEntries(ctx, f)
		if err != nil {
			return err
		}
		for i := len(list) - 1; i >= 0 && len(out.Body.Items) < in.Limit; i-- {
			out.Body.Items = append(out.Body.Items, api.NewAuditEntry(list[i]))
		}
		if len(list) > in.Limit {
			out.Body.Next = api.Cursor{List: "audit", After: strconv.FormatInt(list[1].Index, 10)}.String()
		}
		return nil
	})
	return out, err
}

// noSigner says that this server has no key.
func (s *Server) noSigner() error {
	if s.cfg.Signer != nil {
		return nil
	}
	return api.NewProblem(api.CodeUnavailable, "this server has no key to sign checkpoints with")
}

// fromLatest makes a proof against the newest checkpoint.
func (s *Server) fromLatest(ctx context.Context, prove func(ctx context.Context, tx *store.Tx, latest string) (*audit.Proof, error)) (*proofOut, error) {
	if err := s.noSigner(); err != nil {
		return nil, err
	}
	out := &proofOut{}
	err := s.cfg.Store.View(ctx, func(ctx context.Context, tx *store.Tx) error {
		latest, err := tx.LatestCheckpoint(ctx)
		if err == nil && latest == "" {
			err = api.NewProblem(api.CodeNotFound, "the log has no checkpoint yet")
		}
		if err == nil {
			out.Body, err = prove(ctx, tx, latest)
		}
		return err
	})
	return out, err
}

func (s *Server) proveEntry(ctx context.Context, _ *caller, in *entryIn) (*proofOut, error) {
	return s.fromLatest(ctx, func(ctx context.Context, tx *store.Tx, latest string) (*audit.Proof, error) {
		c, err := audit.OpenCheckpoint(latest, s.cfg.Signer.Keys()...)
		if err != nil {
			return nil, fmt.Errorf("reading the newest checkpoint: %w", err)
		}
		if in.Index >= c.Size {
			return nil, api.NewProblem(api.CodeNotFound, "the newest checkpoint is older than this entry, or there is none")
		}
		r, err := tx.AuditRecord(ctx, in.Index)
		if err != nil {
			return nil, err
		}
		return audit.ProveEntry(ctx, tx, s.cfg.Signer.Keys(), latest, in.Index, r.Body)
	})
}

func (s *Server) proveConsistency(ctx context.Context, _ *caller, in *consistencyIn) (*proofOut, error) {
	if err := s.noSigner(); err != nil {
		return nil, err
	}
	if _, err := audit.OpenCheckpoint(in.Body.Checkpoint, s.cfg.Signer.Keys()...); err != nil {
		return nil, invalidField("body.checkpoint", "not a checkpoint that a key of this server's log has signed")
	}
	return s.fromLatest(ctx, func(ctx context.Context, tx *store.Tx, latest string) (*audit.Proof, error) {
		p, err := audit.ProveConsistency(ctx, tx, s.cfg.Signer.Keys(), in.Body.Checkpoint, latest)
		if err != nil {
			return nil, api.NewProblem(api.CodeConflict, "the log does not begin with what that checkpoint says: keep the checkpoint, and verify the log")
		}
		return p, nil
	})
}

// wholeLog lets a caller read the whole log, one at a time.
func (s *Server) wholeLog(ctx context.Context, c *caller) (leave func(), err error) {
	leave, ok := s.logs.enter(ctx, c.Account.String())
	if !ok {
		p := api.NewProblem(api.CodeTooMany, "the whole log is being read already")
		p.Retry = 10
		return nil, p
	}
	return leave, nil
}

func (s *Server) verifyLog(ctx context.Context, c *caller, in *verifyIn) (*reportOut, error) {
	var keys []audit.Key
	if s.cfg.Signer != nil {
		keys = s.cfg.Signer.Keys()
	}
	for i, text := range in.Body.Checkpoints {
		if len(text) > audit.MaxCheckpoint {
			return nil, invalidField("body.checkpoints["+strconv.Itoa(i)+"]", "too long for a checkpoint")
		}
	}
	leave, err := s.wholeLog(ctx, c)
	if err != nil {
		return nil, err
	}
	defer leave()
	out := &reportOut{}
	err = s.cfg.Store.View(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		out.Body, err = tx.VerifyAudit(ctx, in.Body.Checkpoints, keys...)
		return err
	})
	return out, err
}

func (s *Server) latestCheckpoint(ctx context.Context, _ *caller, _ *struct{}) (*checkpointOut, error) {
	out := &checkpointOut{}
	if s.cfg.Signer != nil {
		out.Body.Key = s.cfg.Signer.Key().String()
	}
	err := s.cfg.Store.View(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		out.Body.Signed, err = tx.LatestCheckpoint(ctx)
		return err
	})
	return out, err
}

func (s *Server) signCheckpoint(ctx context.Context, _ *caller, _ *struct{}) (*checkpointOut, error) {
	if err := s.noSigner(); err != nil {
		return nil, err
	}
	signed, err := s.Sign(ctx)
	if err != nil {
		return nil, err
	}
	return &checkpointOut{api.Checkpoint{Key: s.cfg.Signer.Key().String(), Signed: signed}}, nil
}

// Sign signs the log as it is now, and hands the checkpoint to the witness. It refuses to
// sign one that no longer holds what was signed before, as the log or the witness has it
// ([audit.ErrForked]). Without a key it does nothing.
func (s *Server) Sign(ctx context.Context) (signed string, err error) {
	if s.cfg.Signer == nil {
		return "", nil
	}
	seen := ""
	if s.cfg.Seen != nil {
		if seen, err = s.cfg.Seen(); err != nil {
			return "", fmt.Errorf("signing the audit log: %w", err)
		}
	}
	err = s.cfg.Store.Update(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		if err := audit.Holds(ctx, tx, seen, s.cfg.Signer.Keys()...); err != nil {
			return fmt.Errorf("the newest checkpoint of the witness: %w", err)
		}
		signed, err = audit.MakeCheckpoint(ctx, tx, s.cfg.Signer, s.cfg.Now().UTC())
		return err
	})
	if err != nil {
		return "", fmt.Errorf("signing the audit log: %w", err)
	}
	if s.cfg.Witness != nil {
		if err := s.cfg.Witness(signed); err != nil {
			return signed, fmt.Errorf("giving a checkpoint to the witness: %w", err)
		}
	}
	return signed, nil
}

// How long the client has to take the log, in all and for each part of it.
const (
	exportTimeout = 10 * time.Minute
	partTimeout   = 30 * time.Second
	partSize      = 64 << 10
)

// exportLog sends the log in parts, each read by itself, so that no connection to the
// database waits for a client that reads slowly.
func (s *Server) exportLog(ctx context.Context, c *caller, _ *struct{}) (*huma.StreamResponse, error) {
	leave, err := s.wholeLog(ctx, c)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer leave()
		r, w := humago.Unwrap(hc)
		w.Header().Set("Content-Type", "application/jsonl")
		w.Header().Set("Content-Disposition", `attachment; filename="leastwise-audit.jsonl"`)
		key := ""
		if s.cfg.Signer != nil {
			key = s.cfg.Signer.Key().String()
		}
		ctx, cancel := context.WithTimeout(r.Context(), exportTimeout)
		defer cancel()
		out := bufio.NewWriterSize(&partWriter{w, http.NewResponseController(w)}, partSize)
		err := audit.WriteExport(ctx, out, &logParts{store: s.cfg.Store}, key)
		if err == nil {
			err = out.Flush()
		}
		if err != nil { // the head is written: cut the connection, so that nobody takes it for whole
			s.cfg.Log.WarnContext(ctx, "exporting the audit log", "request", requestID(ctx), "error", err.Error())
			panic(http.ErrAbortHandler)
		}
	}}, nil
}

// A partWriter gives each write its own time.
type partWriter struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func (p *partWriter) Write(b []byte) (int, error) {
	_ = p.rc.SetWriteDeadline(time.Now().Add(partTimeout)) // a test's recorder knows none
	n, err := p.w.Write(b)
	_ = p.rc.SetWriteDeadline(time.Time{})
	return n, err
}

// logParts is the log as it was when its head was read, each part read in a transaction
// of its own. Entries are never changed, so that the parts fit.
type logParts struct {
	store       *store.Store
	head        int64
	checkpoints []string
}

// AuditHead implements [audit.Source]. It comes first.
func (l *logParts) AuditHead(ctx context.Context) (int64, error) {
	err := l.store.View(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		if l.head, err = tx.AuditHead(ctx); err == nil {
			l.checkpoints, err = tx.AuditCheckpoints(ctx)
		}
		return err
	})
	return l.head, err
}

// AuditCheckpoints implements [audit.Source].
func (l *logParts) AuditCheckpoints(context.Context) ([]string, error) { return l.checkpoints, nil }

// AuditRecords implements [audit.Source].
func (l *logParts) AuditRecords(ctx context.Context, from int64, limit int) (rows []audit.Stored, err error) {
	err = l.store.View(ctx, func(ctx context.Context, tx *store.Tx) error {
		rows, err = tx.AuditRecords(ctx, from, limit)
		return err
	})
	// What came later is not of this export.
	return slices.DeleteFunc(rows, func(r audit.Stored) bool { return r.Index >= l.head }), err
}
