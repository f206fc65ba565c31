package app

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/store"
)

// The two files of policies, as the audit log names them.
const (
	grantPolicies    = "policies/grants"
	operatorPolicies = "policies/operators"
)

// maxPart is how much of a policy file one entry of the log holds, in bytes.
const maxPart = audit.MaxReason - 64

// inForce writes which policies are in force to the audit log: by their hash, and with
// their text if the log does not have it as the newest one of that kind. Without this
// entry they are not used.
func (s *serving) inForce(ctx context.Context, record string, text []byte) error {
	digest := sha256.Sum256(text)
	err := s.store.Update(ctx, func(ctx context.Context, tx *store.Tx) error {
		newest, err := tx.AuditEntries(ctx, store.AuditFilter{Record: record, Action: actionPolicies, Limit: 1})
		if err != nil {
			return err
		}
		var entries []audit.Entry
		note := func(reason string) {
			e := localEntry(actionPolicies, s.now().UTC())
			e.Record, e.Digest, e.Reason = record, digest, reason
			entries = append(entries, e)
		}
		if len(newest) == 1 && newest[0].Digest == digest {
			note("in force, as before")
		} else {
			parts := policyParts(text)
			for i, p := range parts {
				note(fmt.Sprintf("in force, part %d of %d:\n%s", i+1, len(parts), p))
			}
		}
		_, err = audit.Append(ctx, tx, entries...)
		return err
	})
	if err != nil {
		return fmt.Errorf("logging which policies are in force: %w", err)
	}
	return nil
}

// actionPolicies is the action of those entries.
const actionPolicies = "server.policies"

// policyParts cuts a text into parts that an entry can hold, between characters. What is
// no UTF-8 was refused when the policies were read.
func policyParts(text []byte) []string {
	rest := strings.ToValidUTF8(string(text), "\uFFFD")
	var out []string
	for len(rest) > maxPart {
		n := maxPart
		for !utf8.RuneStart(rest[n]) {
			n--
		}
		out, rest = append(out, rest[:n]), rest[n:]
	}
	return append(out, rest)
}

// reload reads the policies of grants and of operators again. What cannot be used changes
// nothing: the present ones stay.
func (s *serving) reload(ctx context.Context) {
	if err := s.reloadGrants(ctx); err != nil {
		s.o.Log.Error("the policies of grants stay as they are", "error", err.Error())
	}
	if err := s.reloadOperators(ctx); err != nil {
		s.o.Log.Error("the policies of operators stay as they are", "error", err.Error())
	}
}

func (s *serving) reloadGrants(ctx context.Context) error {
	p, text, err := readGrantPolicies(s.cfg)
	if err != nil {
		return err
	}
	if err := s.inForce(ctx, grantPolicies, text); err != nil {
		return err
	}
	s.grants.Use(p)
	s.o.Log.Info("policies of grants read again", "policies", len(p.Policies))
	return nil
}

func (s *serving) reloadOperators(ctx context.Context) error {
	p, text, err := readOperatorPolicies(s.cfg)
	if err != nil {
		return err
	}
	if err := s.inForce(ctx, operatorPolicies, text); err != nil {
		return err
	}
	local := localEntry("operator.policies", s.now())
	if err := s.ops.Use(ctx, operator.Local(local.Actor.Name, "reload", s.now().UTC()), p); err != nil {
		return err
	}
	s.rules = text
	s.o.Log.Info("policies of operators read again", "policies", len(p.List()))
	return nil
}

// certificateFault says in the log what is the matter with the server's certificate, when
// that changes.
func (s *serving) certificateFault(was string) (now string) {
	if s.certs == nil {
		return ""
	}
	if err := s.certs.Fault(); err != nil {
		now = err.Error()
	}
	switch {
	case now != "" && was == "":
		s.o.Log.Error("the server's certificate could not be renewed; the present one is used on", "error", now)
	case now == "" && was != "":
		s.o.Log.Info("the server's certificate was renewed")
	}
	return now
}
