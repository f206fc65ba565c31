package cli

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/report"
	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/internal/store"
)

// stamp is how times are shown.
const stamp = "2006-01-02 15:04:05Z"

func (c *command) auditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "audit", Short: "Show, verify, export and sign the log of what leastwise did",
		Long: `The audit log holds what was asked for, done and refused, by whom, and how they had
authenticated. Its entries cannot be changed, deleted, moved or cut off unnoticed: signed
checkpoints say what the log was, and whoever keeps one can hold the log to it.`,
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(c.auditInitCommand(), c.auditShowCommand(), c.auditVerifyCommand(), c.auditExportCommand(), c.auditCheckpointCommand())
	return cmd
}

func (c *command) auditInitCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use: "init", Short: "Create the database and the key that signs its audit log",
		Long: `Creates what is missing of the database and the key file, readable by its owner only, and
prints the public key, which others need to verify the log. An existing key is used as it is.`,
		Example: `  leastwise audit init --name contoso.com --database leastwise.db --audit-key audit.key`, Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.config(cmd)
			if err != nil {
				return err
			}
			key, err := app.InitLog(cmd.Context(), cfg, name, c.env.Now().UTC())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.env.Out, key)
			return err
		},
	}
	addSettings(cmd, "database", "key")
	cmd.Flags().StringVar(&name, "name", "leastwise", "`NAME` of the log in its checkpoints, best with your domain")
	return cmd
}

func (c *command) auditCheckpointCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "checkpoint", Short: "Sign the audit log as it is now, and print the checkpoint",
		Long: `Signs the number of entries and the hash over them. Keep what it prints where whoever runs
the database cannot change it: --witness appends it to a file. It refuses to sign a log that
no longer holds what was signed before.`,
		Example: "  leastwise audit checkpoint --witness /mnt/elsewhere/witness.jsonl", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.config(cmd)
			if err != nil {
				return err
			}
			signed, err := app.Checkpoint(cmd.Context(), cfg, c.env.Now().UTC())
			if signed != "" { // also if the witness could not be written
				_, err2 := io.WriteString(c.env.Out, signed)
				err = errors.Join(err, err2)
			}
			return err
		},
	}
	addSettings(cmd, "database", "key", "witness", "mirror")
	return cmd
}

const auditVerifyExample = `  # The database, with its own checkpoints and one that you kept
  leastwise audit verify --checkpoint kept.txt

  # Held to the witness: was it cut off, put back to an older state, or written anew?
  leastwise audit verify --witness /mnt/elsewhere/witness.jsonl

  # An export, on another machine, with nothing but the public key
  leastwise audit verify export.jsonl --key contoso.com+1a2b3c4d+AbCd…`

func (c *command) auditVerifyCommand() *cobra.Command {
	var (
		o           output
		keys, files []string
	)
	cmd := &cobra.Command{
		Use: "verify [FILE]", Short: "Find whatever was changed, deleted, moved or cut off in the audit log",
		Long: `Compares every entry with its hash, the hashes with each other and with every checkpoint,
in the database or in a file that audit export wrote (a whole log or a proof), and says
where something is wrong: exit code 1. Of what is stored beside the log it compares the runs
of assessments with the hash that their entry holds. A witness file, given or configured, says
what the log was when the witness saw it: a log that was cut off, put back to an older state
or written anew since then is found out. Without a key signatures cannot be verified, and it
says that, too.`,
		Example: auditVerifyExample, Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, from []string) error {
			cfg, err := c.storeConfig(cmd, &o)
			if err != nil {
				return err
			}
			known, err := app.AuditKeys(keys)
			if err != nil {
				return err
			}
			kept, err := app.KeptCheckpoints(files)
			if err != nil {
				return err
			}
			seen, err := c.witnessed(cfg, len(from) > 0)
			if err != nil {
				return err
			}
			kept = append(kept, seen...)
			if len(from) > 0 {
				if done, err := c.verifyProof(cmd, &o, from[0], known); done || err != nil {
					return err
				}
			}
			var r *audit.Report
			if len(from) > 0 {
				r, err = app.VerifyExport(cmd.Context(), from[0], kept, known)
			} else {
				r, err = app.VerifyLog(cmd.Context(), cfg, kept, known)
			}
			if err != nil {
				return err
			}
			err = c.write(cmd.Context(), &o, func(w io.Writer) error {
				if o.form == "json" {
					return writeJSON(w, r)
				}
				return writeReport(w, r)
			})
			if err != nil {
				return err
			}
			return tampered(r)
		},
	}
	addSettings(cmd, "database", "key", "witness")
	o.add(cmd, "table", "json")
	cmd.Flags().StringArrayVar(&keys, "key", nil, "public `KEY` of the log, or a file with it (may be repeated); default for a database: that of --audit-key")
	cmd.Flags().StringArrayVar(&files, "checkpoint", nil, "`FILE` with checkpoints that were kept elsewhere (may be repeated)")
	return cmd
}

// witnessed reads the checkpoints of the witness file. For a file that somebody exported
// the configured one does not count: it may be of another log.
func (c *command) witnessed(cfg *app.Config, exported bool) ([]string, error) {
	v := cfg.Value("witness")
	if v.Text == "" || exported && !strings.HasPrefix(v.Source, "flag ") {
		return nil, nil
	}
	list, torn, err := app.Witnessed(v.Text)
	if err == nil && torn > 0 {
		c.note("%d lines of %s were cut off by a crash and are left out", torn, v.Text)
	}
	return list, err
}

// verifyProof verifies a file that is a proof; done is false if it is none.
func (c *command) verifyProof(cmd *cobra.Command, o *output, file string, keys []audit.Key) (done bool, err error) {
	p, at, is, err := app.VerifyProof(file, keys)
	switch {
	case !is:
		return false, err
	case len(keys) == 0:
		return true, usagef("give the public key with --key", "a proof proves nothing without the key of the log")
	case errors.Is(err, audit.ErrProof), errors.Is(err, audit.ErrSignature):
		return true, &findingsError{err.Error()}
	case err != nil:
		return true, err
	}
	return true, c.write(cmd.Context(), o, func(w io.Writer) error {
		if o.form == "json" {
			return writeJSON(w, struct {
				Holds bool  `json:"holds"`
				Size  int64 `json:"entries"`
				*audit.Proof
			}{true, at.Size, p})
		}
		if p.Entry == "" {
			_, err := fmt.Fprintf(w, "The earlier checkpoint's log is the beginning of the log of %d entries that was signed on %s.\n", at.Size, at.Time.Format(stamp))
			return err
		}
		_, err := fmt.Fprintf(w, "Entry %d is in the log of %d entries that was signed on %s:\n\n%s", p.Index, at.Size, at.Time.Format(stamp), visibleLines(p.Entry))
		return err
	})
}

// visibleLines keeps the lines of an entry and makes everything else in it visible.
func visibleLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(report.Visible(strings.TrimSuffix(line, "\n")) + "\n")
	}
	return b.String()
}

// writeReport writes what verification found.
func writeReport(w io.Writer, r *audit.Report) error {
	for _, p := range r.Problems {
		fmt.Fprintf(w, "%s: %s\n", p.Kind, report.Visible(p.Text))
	}
	if more := r.Count - len(r.Problems); more > 0 {
		fmt.Fprintf(w, "… and %d more\n", more)
	}
	state := "nothing is wrong with them"
	if !r.Sound() {
		state = fmt.Sprintf("%d problems", r.Count)
	}
	fmt.Fprintf(w, "%d entries: %s.\n", r.Entries, state)
	switch {
	case !r.KeyKnown:
		fmt.Fprintln(w, "Signatures were not verified: no key was given.")
	case r.Checkpoints == 0:
		fmt.Fprintln(w, "No checkpoint that a known key has signed confirms them.")
	case r.Covered < r.Entries:
		fmt.Fprintf(w, "%d checkpoints are signed and true; the newest covers the first %d entries, what follows has no signature yet.\n", r.Checkpoints, r.Covered)
	default:
		fmt.Fprintf(w, "%d checkpoints are signed and true; the newest covers all entries.\n", r.Checkpoints)
	}
	if n := len(r.Open); n > 0 {
		fmt.Fprintf(w, "%d intents have no outcome (see: leastwise audit show --open).\n", n)
	}
	if r.Backwards > 0 {
		fmt.Fprintf(w, "%d entries are older than the one before: a clock was set back, or they were recorded late.\n", r.Backwards)
	}
	if r.Newer > 0 {
		fmt.Fprintf(w, "%d entries are of a newer version; their hashes were verified, their content was not read.\n", r.Newer)
	}
	return nil // standard output keeps its first error
}

// tampered makes problems an exit code.
func tampered(r *audit.Report) error {
	if r.Sound() {
		return nil
	}
	return &findingsError{"the audit log is not what was written"}
}

const auditExportExample = `  leastwise audit export --out export.jsonl

  # one entry, with the proof that it is in the log
  leastwise audit export --entry 17 --out entry17.json

  # proof that the log of a checkpoint you kept is the beginning of this one
  leastwise audit export --since kept.txt --out consistent.json`

func (c *command) auditExportCommand() *cobra.Command {
	var (
		o     output
		entry int64
		since string
	)
	cmd := &cobra.Command{
		Use: "export", Short: "Write the audit log, or a proof from it, for others to verify",
		Long: `Writes the whole log with its checkpoints, or a proof about one entry or about an earlier
checkpoint, for somebody who has this program and the public key and nothing else: they run
leastwise audit verify FILE --key KEY.`,
		Example: auditExportExample, Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			proof := cmd.Flags().Changed("entry") || since != ""
			if cmd.Flags().Changed("entry") && since != "" || entry < 0 {
				return usagef("leave one of the two out", "--entry is the number of an entry, and not together with --since")
			}
			cfg, err := c.storeConfig(cmd, &o)
			if err != nil {
				return err
			}
			if !proof {
				return c.write(cmd.Context(), &o, func(w io.Writer) error { return app.ExportLog(cmd.Context(), cfg, w) })
			}
			return c.exportProof(cmd, cfg, &o, entry, since)
		},
	}
	addSettings(cmd, "database", "key")
	o.add(cmd, "json")
	cmd.Flags().Int64Var(&entry, "entry", 0, "only the entry with this `NUMBER`, with its proof")
	cmd.Flags().StringVar(&since, "since", "", "`FILE` with an earlier checkpoint: only the proof that the log still begins with it")
	return cmd
}

func (c *command) exportProof(cmd *cobra.Command, cfg *app.Config, o *output, entry int64, since string) error {
	earlier := ""
	if since != "" {
		kept, err := app.KeptCheckpoints([]string{since})
		if err != nil {
			return err
		}
		earlier = kept[len(kept)-1]
	}
	p, err := app.ProveLog(cmd.Context(), cfg, entry, earlier)
	if err != nil {
		return err
	}
	return c.write(cmd.Context(), o, func(w io.Writer) error { return writeJSON(w, p) })
}

const auditShowExample = `  leastwise audit show
  leastwise audit show --since 2026-11-01 --action grant --output json
  leastwise audit show --open`

// auditShowFlags are the flags of audit show as text.
type auditShowFlags struct {
	output
	since, before, object, phase string
	filter                       store.AuditFilter
}

func (c *command) auditShowCommand() *cobra.Command {
	var f auditShowFlags
	cmd := &cobra.Command{
		Use: "show", Short: "Show entries of the audit log, oldest first",
		Long: `Shows the newest entries that fit all of the flags. What a name or a reason holds that a
terminal would obey is spelled out. Show reads the entries as they are; verify tells
whether they are what was written.`,
		Example: auditShowExample, Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.settle(); err != nil {
				return err
			}
			cfg, err := c.storeConfig(cmd, &f.output)
			if err != nil {
				return err
			}
			entries, err := app.ShowLog(cmd.Context(), cfg, f.filter)
			if err != nil {
				return err
			}
			return c.write(cmd.Context(), &f.output, func(w io.Writer) error { return writeEntries(w, entries, f.form) })
		},
	}
	addSettings(cmd, "database")
	f.add(cmd, "table", "json")
	fl := cmd.Flags()
	fl.StringVar(&f.since, "since", "", "from this `TIME` on: 2026-11-22 or 2026-11-22T12:00:00Z")
	fl.StringVar(&f.before, "before", "", "before this `TIME`")
	fl.StringVar(&f.filter.Action, "action", "", "this `ACTION`, or all that begin with it: grant, grant.approve")
	fl.StringVar(&f.filter.Actor, "actor", "", "by the actor with this `NAME`")
	fl.StringVar(&f.object, "object", "", "about the object with this `GUID`, as target or subject")
	fl.StringVar(&f.filter.Record, "record", "", "about this `RECORD` of leastwise's own, as in grant/42")
	fl.StringVar(&f.filter.Request, "request", "", "caused by the request with this `ID`")
	fl.StringVar(&f.phase, "phase", "", "of this `PHASE`: "+alternatives(phases()))
	fl.BoolVar(&f.filter.Open, "open", false, "only intents that have no outcome")
	fl.IntVar(&f.filter.Limit, "limit", 100, "at most this `NUMBER` of entries, the newest; 0 is all")
	complete(cmd, "phase", phases()...)
	return cmd
}

func phases() []string {
	return []string{audit.Intent.String(), audit.Outcome.String(), audit.Refusal.String(), audit.Fact.String()}
}

// settle parses what is text.
func (f *auditShowFlags) settle() (err error) {
	if f.filter.Since, err = parseTime("since", f.since); err != nil {
		return err
	}
	if f.filter.Before, err = parseTime("before", f.before); err != nil {
		return err
	}
	if f.object != "" {
		if f.filter.Object, err = secdesc.ParseGUID(f.object); err != nil {
			return usagef("give its objectGUID, as in 1b2c3d4e-…", "--object: %w", err)
		}
	}
	if f.filter.Limit < 0 {
		return usagef("use 0 for all", "--limit is negative")
	}
	for p := audit.Intent; f.phase != "" && p <= audit.Fact; p++ {
		if p.String() == f.phase {
			f.filter.Phase = p
			return nil
		}
	}
	if f.phase != "" {
		return usagef("use "+alternatives(phases()), "--phase: there is no %q", f.phase)
	}
	return nil
}

func parseTime(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("write 2026-11-22 (midnight UTC) or 2026-11-22T12:00:00Z", "--%s: %q is no time", flag, text)
}

// A shownEntry is an entry as JSON.
type shownEntry struct {
	Index       int64        `json:"index"`
	Time        time.Time    `json:"time"`
	Late        bool         `json:"late,omitempty"`
	Phase       string       `json:"phase,omitempty"`
	Action      string       `json:"action,omitempty"`
	Actor       string       `json:"actor,omitempty"`
	ActorSID    string       `json:"actor_sid,omitempty"`
	Method      audit.Method `json:"method,omitempty"`
	Factor      audit.Method `json:"factor,omitempty"`
	Session     string       `json:"session,omitempty"`
	From        string       `json:"from,omitempty"`
	Request     string       `json:"request,omitempty"`
	Answers     int64        `json:"answers,omitempty"`
	Result      string       `json:"result,omitempty"`
	Target      secdesc.GUID `json:"target,omitzero"`
	TargetName  string       `json:"target_name,omitempty"`
	Subject     secdesc.GUID `json:"subject,omitzero"`
	SubjectName string       `json:"subject_name,omitempty"`
	Record      string       `json:"record,omitempty"`
	Generation  uint64       `json:"generation,omitempty"`
	Until       time.Time    `json:"until,omitzero"`
	Server      string       `json:"server,omitempty"`
	Digest      string       `json:"digest,omitempty"`
	Reason      string       `json:"reason,omitempty"`
	Newer       bool         `json:"newer_version,omitempty"` // only index and time could be read
}

func shown(e audit.Entry) shownEntry {
	s := shownEntry{
		Index: e.Index, Time: e.Time, Late: e.Late, Action: e.Action, Actor: e.Actor.Name, Method: e.Actor.Method, Factor: e.Actor.Factor,
		Session: e.Actor.Session, From: e.Actor.From, Request: e.Request, Answers: e.Answers, Result: e.Result.String(),
		Target: e.Target, TargetName: e.TargetName, Subject: e.Subject, SubjectName: e.SubjectName, Record: e.Record,
		Generation: e.Generation, Until: e.Until, Server: e.Server, Reason: e.Reason, Newer: e.Phase == 0,
	}
	if e.Phase != 0 {
		s.Phase = e.Phase.String()
	}
	if !e.Actor.SID.IsZero() {
		s.ActorSID = e.Actor.SID.String()
	}
	if e.Digest != [32]byte{} {
		s.Digest = hex.EncodeToString(e.Digest[:])
	}
	return s
}

func writeEntries(w io.Writer, entries []audit.Entry, form string) error {
	if form == "json" {
		out := make([]shownEntry, len(entries))
		for i, e := range entries {
			out[i] = shown(e)
		}
		return writeJSON(w, out)
	}
	for _, e := range entries {
		if e.Phase == 0 {
			fmt.Fprintf(w, "%d  %s  (of a newer version: not readable)\n", e.Index, e.Time.Format(stamp))
			continue
		}
		fmt.Fprintf(w, "%d  %s  %s %s", e.Index, e.Time.Format(stamp), e.Phase, e.Action)
		for _, part := range entryParts(e) {
			if part[1] != "" {
				fmt.Fprintf(w, "  %s%s", part[0], report.Visible(part[1]))
			}
		}
		fmt.Fprintln(w)
	}
	return nil // standard output keeps its first error
}

// entryParts are the words of a line about an entry after its action.
func entryParts(e audit.Entry) [][2]string {
	who := e.Actor.Name + " (" + string(e.Actor.Method)
	if e.Actor.Factor != "" {
		who += " and " + string(e.Actor.Factor)
	}
	s := shown(e)
	parts := [][2]string{
		{"by ", who + ")"},
		{"result ", s.Result},
		{"target ", named(e.Target, e.TargetName)},
		{"subject ", named(e.Subject, e.SubjectName)},
		{"record ", e.Record},
		{"server ", e.Server},
		{"request ", e.Request},
		{"reason ", e.Reason},
	}
	if e.Answers != 0 {
		parts = append(parts, [2]string{"answers ", fmt.Sprint(e.Answers)})
	}
	if !e.Until.IsZero() {
		parts = append(parts, [2]string{"until ", e.Until.Format(stamp)})
	}
	if e.Late {
		parts = append(parts, [2]string{"", "recorded late"})
	}
	return parts
}

func named(g secdesc.GUID, name string) string {
	switch {
	case g.IsZero():
		return name
	case name == "":
		return g.String()
	}
	return name + " " + g.String()
}
