package app

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/collect"
	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/notify"
	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/internal/server"
	"github.com/leastwise/leastwise/internal/store"
)

// Timing of the server.
const (
	graceTime    = 20 * time.Second // requests that run at the end have so long
	closeTime    = 30 * time.Second // and then the work on grants
	statusEvery  = time.Second
	tidyEvery    = time.Minute // also how soon a clock that was set back is noticed
	replyKept    = 24 * time.Hour
	staleAfter   = time.Minute // no round of work for so long: not ready
	identityWait = 30 * time.Second
)

// ServeOptions are what the program around the server gives it.
type ServeOptions struct {
	Version string
	Log     *slog.Logger
	// Started is called when requests are answered, with the address; may be nil.
	Started func(address string)
	// Reload asks for the policy files to be read again; may be nil.
	Reload <-chan struct{}
}

// A serving is the server with everything that it stands on.
type serving struct {
	cfg      *Config
	o        ServeOptions
	now      func() time.Time
	store    *store.Store
	signer   *audit.Signer
	dir      dc.Config
	grants   *Grants
	people   *people
	ops      *operator.Service
	rules    []byte // text of the policies of operators
	web      *server.Server
	notifier *notify.Service // nil: nobody is told
	mirror   *mirror
	signed   atomic.Int64 // when the audit log was signed last, in nanoseconds of Unix time; 0: not yet
	scans    *scans       // nil: none are scheduled
	certs    *server.Certificates
	closers  []func() error
}

// Serve runs the server until ctx ends, and then lets what was begun come to its end.
// Database, keys and authority are made at the first start. The directory need not be
// there: what needs it says so until it is.
func Serve(ctx context.Context, cfg *Config, by Caller, o ServeOptions) (err error) {
	s := &serving{cfg: cfg, o: o, now: by.Now}
	defer func() {
		for i := len(s.closers) - 1; i >= 0; i-- {
			err = errors.Join(err, s.closers[i]())
		}
	}()
	if err := server.CheckListen(cfg.Text("listen"), cfg.Bool("plain-http")); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	policies, text, err := readGrantPolicies(cfg)
	if err != nil {
		return err
	}
	if s.dir, err = DirectoryConfig(ctx, cfg, by); err != nil {
		return err
	}
	if err := s.openStore(ctx); err != nil {
		return err
	}
	if err := s.openOperators(ctx); err != nil {
		return err
	}
	if err := errors.Join(s.inForce(ctx, operatorPolicies, s.rules), s.inForce(ctx, grantPolicies, text)); err != nil {
		return err
	}
	if err := s.checkIdentity(ctx, policies); err != nil {
		return err
	}
	if !cfg.Bool("plain-http") {
		if s.certs, err = openCertificates(cfg, s.now); err != nil {
			return err
		}
	}
	s.runGrants(policies)
	if err := s.openNotifier(); err != nil {
		return err
	}
	if err := s.openKeeping(); err != nil {
		return err
	}
	s.makeServer()
	return s.run(ctx)
}

// openStore opens the database as its owner, and the audit log's key. Both are made
// where they are missing, the key only for a log that never had one.
func (s *serving) openStore(ctx context.Context) error {
	signer, err := openSigner(s.cfg)
	if errors.Is(err, fs.ErrNotExist) {
		signer, err = s.firstSigner(ctx)
	}
	if err != nil {
		return err
	}
	s.signer = signer
	if s.store, err = OpenStore(ctx, s.cfg, store.Options{Migrate: true, Exclusive: true}); err != nil {
		return err
	}
	s.closers = append(s.closers, s.store.Close)
	err = s.store.Update(ctx, func(ctx context.Context, tx *store.Tx) error { return noteSigner(ctx, tx, signer, s.now().UTC()) })
	if err != nil {
		return err
	}
	return s.note(ctx, "server.start", "leastwise "+s.o.Version)
}

// note writes an entry about the server itself.
func (s *serving) note(ctx context.Context, action, reason string) error {
	e := localEntry(action, s.now().UTC())
	e.Reason = reason
	return s.store.Update(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := audit.Append(ctx, tx, e)
		return err
	})
}

// readGrantPolicies reads the policies of grants, and their text.
func readGrantPolicies(cfg *Config) (*grant.Policies, []byte, error) {
	name := cfg.Text("grant-policies")
	data, err := ReadFile(name)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: reading the policies of grants %s: %w", ErrConfig, name, err)
	}
	p, err := grant.ParsePolicies(filepath.Base(name), data)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return p, data, nil
}

// readOperatorPolicies reads the policies of operators, and their text.
func readOperatorPolicies(cfg *Config) (*operator.Policies, []byte, error) {
	name, data := cfg.Text("operator-policies"), []byte(operator.DefaultPolicies())
	if name != "" {
		var err error
		if data, err = ReadFile(name); err != nil {
			return nil, nil, fmt.Errorf("%w: reading the policies of operators %s: %w", ErrConfig, name, err)
		}
	}
	p, err := operator.ParsePolicies(filepath.Base(name), data)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return p, data, nil
}

func (s *serving) openOperators(ctx context.Context) error {
	policies, text, err := readOperatorPolicies(s.cfg)
	if err != nil {
		return err
	}
	s.rules = text
	keys, err := operatorKeys(ctx, s.cfg.Text("operator-keys"), s.store.Operators())
	if err != nil {
		return err
	}
	certs, err := clientCertificates(s.cfg, s.o.Log)
	if err != nil {
		return err
	}
	s.people = &people{set: OperatorSettings{
		Directory: s.dir, Keytab: s.cfg.Text("service-keytab"), Bound: !s.cfg.Bool("loose-tickets") && !s.cfg.Bool("plain-http"),
	}, now: s.now}
	s.closers = append(s.closers, s.people.Close)
	o := operator.Options{Store: s.store.Operators(), Membership: s.people, Authenticator: s.people, Policies: policies, Keys: keys, Certificates: certs}
	o.Invite = s.cfg.Bool("enrolment-codes")
	if name := calledBy(s.cfg)[0]; !s.cfg.Bool("plain-http") && net.ParseIP(name) == nil {
		_, port, _ := net.SplitHostPort(s.cfg.Text("listen"))
		o.RelyingParty = operator.RelyingParty{ID: name, Origins: []string{"https://" + name, "https://" + net.JoinHostPort(name, port)}}
	}
	if s.ops, err = operator.New(o); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	err = s.ops.CheckKeys(ctx)
	if errors.Is(err, operator.ErrKeys) {
		err = fmt.Errorf("%w: %s: %w", ErrConfig, s.cfg.Text("operator-keys"), err)
	}
	return err
}

// clientRoots reads the authorities of client certificates, nil for none.
func clientRoots(file string) ([]*x509.Certificate, error) {
	if file == "" {
		return nil, nil
	}
	data, err := ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w: reading the authorities of clients %s: %w", ErrConfig, file, err)
	}
	roots, err := readCertificates(data)
	if err != nil || len(roots) == 0 {
		return nil, fmt.Errorf("%w: %s holds no certificate, or something else: %w", ErrConfig, file, err)
	}
	return roots, nil
}

// calledBy are the names that clients call the server by, the machine's own first
// where none is given.
func calledBy(cfg *Config) []string {
	names := cfg.List("names")
	if len(names) > 0 {
		return names
	}
	if host, err := os.Hostname(); err == nil && host != "" && host != "localhost" {
		names = append(names, strings.ToLower(host))
	}
	return append(names, "localhost", "127.0.0.1")
}

func openCertificates(cfg *Config, now func() time.Time) (*server.Certificates, error) {
	cert, key := cfg.Text("certificate"), cfg.Text("certificate-key")
	var c *server.Certificates
	var err error
	switch {
	case (cert == "") != (key == ""):
		return nil, fmt.Errorf("%w: certificate and certificate-key belong together", ErrConfig)
	case cert != "":
		c, err = server.OpenFiles(cert, key, now)
	default:
		c, err = server.OpenAuthority(cfg.Text("tls-folder"), calledBy(cfg), now)
	}
	if errors.Is(err, server.ErrCertificate) {
		err = fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return c, err
}

// checkIdentity refuses to start under an account that holds power. Where the directory
// cannot be asked, the server starts, since ends must not wait for it, and asks later.
func (s *serving) checkIdentity(ctx context.Context, p *grant.Policies) error {
	ctx, cancel := context.WithTimeout(ctx, identityWait)
	defer cancel()
	id, err := CompareIdentity(ctx, s.dir, DutiesOf(p))
	if err != nil {
		s.o.Log.Error("the rights of leastwise's own account could not be compared with its duties; asked again later", "error", err.Error())
		s.people.unchecked.Store(true)
		return nil
	}
	return s.judgeIdentity(ctx, id)
}

func (s *serving) judgeIdentity(ctx context.Context, id *Identity) error {
	for _, m := range id.Missing {
		s.o.Log.Warn("a right is missing", "right", m.String())
	}
	for _, r := range id.Surplus {
		s.o.Log.Warn("a right is not needed", "right", r.String())
	}
	for _, u := range id.Unread {
		s.o.Log.Warn("a right could not be compared", "why", u)
	}
	refusal := id.Refusal()
	if refusal == nil {
		return nil
	}
	if !s.cfg.Bool("allow-privileged-identity") {
		return errors.Join(refusal, s.note(ctx, "server.refuse", refusal.Error()))
	}
	s.o.Log.Error("STARTED DESPITE PRIVILEGES", "why", refusal.Error())
	return s.note(ctx, "server.override", "started despite privileges: "+refusal.Error())
}

// openNotifier prepares telling people of grants.
func (s *serving) openNotifier() error {
	file := s.cfg.Text("notify")
	if file == "" {
		return nil
	}
	set := NotifySettings{File: file, Store: s.store, Directory: s.dir, Policies: s.grants.Policies, Now: s.now, Log: s.o.Log}
	n, end, err := NewNotifier(set)
	if err != nil {
		return err
	}
	s.notifier = n
	s.closers = append(s.closers, end)
	return nil
}

// openKeeping prepares the witnesses of the audit log, and scheduled scans.
func (s *serving) openKeeping() error {
	w, err := openWitnesses(s.cfg, s.now)
	if err != nil {
		return err
	}
	s.mirror = newMirror(w, s.now, s.o.Log)
	s.scans, err = newScans(s.cfg, s.store, s.o, s.now)
	if s.scans != nil {
		opt := collect.Options{Tool: s.scans.tool, SACL: s.cfg.Bool("sacl"), Now: s.now}
		s.scans.scan = func(ctx context.Context) (*forest.Snapshot, error) { return collectFrom(ctx, s.dir, opt) }
	}
	return err
}

// runGrants begins to work on grants.
func (s *serving) runGrants(p *grant.Policies) {
	s.grants = runGrants(s.dir, s.store, p, s.o.Log)
	s.closers = append(s.closers, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), closeTime)
		defer cancel()
		err := s.grants.Close(ctx)
		s.grants.service.Settle(ctx, s.grants.set.Clock())
		return errors.Join(err, s.note(ctx, "server.stop", ""))
	})
}

func (s *serving) makeServer() {
	c := server.Config{
		Version: s.o.Version, Store: s.store, Grants: s.grants, Directory: s.grants.Directory(), Operators: s.ops, Now: s.now, Log: s.o.Log,
		Certificates: s.certs, Signer: s.signer, Ready: s.ready, Changes: s.people.changes,
	}
	c.Witness, c.Seen = s.mirror.take, s.mirror.w.seen
	if file := s.cfg.Text("power-snapshot"); file != "" {
		p := &powers{file: file, tool: s.o.Version, now: s.now}
		c.Power = func(ctx context.Context, group secdesc.SID) (server.Power, error) { return p.of(ctx, group) }
	}
	s.web = server.New(c)
}

// ready says why the work on grants does not go on.
func (s *serving) ready() error {
	st := s.grants.Status()
	switch {
	case st.Store != "":
		return fmt.Errorf("the store: %s", st.Store)
	case st.Away:
		return fmt.Errorf("the directory: %s", st.Why)
	case s.now().Sub(st.Ticked) > staleAfter:
		return fmt.Errorf("no round of work since %s", st.Ticked.UTC().Format(time.RFC3339))
	}
	return nil
}

// run answers requests until ctx ends.
func (s *serving) run(ctx context.Context) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.cfg.Text("listen"))
	if err != nil {
		return fmt.Errorf("listening on %s: %w", s.cfg.Text("listen"), err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.web.Serve(ctx, l, graceTime) })
	g.Go(func() error { s.keepUp(ctx); return nil })
	g.Go(func() error { return s.laterIdentity(ctx) })
	if s.notifier != nil {
		g.Go(func() error { s.notifier.Run(ctx); return nil })
	}
	g.Go(func() error { s.mirror.run(ctx); return nil })
	g.Go(func() error { s.watchUpkeep(ctx); return nil })
	if s.scans != nil {
		g.Go(func() error { s.scans.run(ctx); return nil })
	}
	address := l.Addr().String()
	s.o.Log.Info("serving", "address", address, "tls", s.certs != nil, "version", s.o.Version, "database", s.store.String(), "policies", len(s.grants.Policies().Policies))
	if s.o.Started != nil {
		s.o.Started(address)
	}
	err = g.Wait()
	s.o.Log.Info("ending")
	return err
}

// keepUp does what is due from time to time: metrics, checkpoints, forgetting what is
// no longer needed, reading policies again.
func (s *serving) keepUp(ctx context.Context) {
	status, tidy, sign := time.NewTicker(statusEvery), time.NewTicker(tidyEvery), time.NewTicker(s.cfg.Duration("checkpoint-every"))
	defer status.Stop()
	defer tidy.Stop()
	defer sign.Stop()
	s.tidy(ctx)
	var was GrantStatus
	var fault string
	s.sign(ctx) // at once: a log that is not what the witness saw is noticed
	for {
		select {
		case <-ctx.Done():
			s.tidy(context.WithoutCancel(ctx))
			s.sign(context.WithoutCancel(ctx))
			return
		case <-status.C:
			now := s.grants.Status()
			if now.Rounds != was.Rounds {
				s.web.Observe(server.Round{Failed: now.Store != "", Away: now.Away, Ended: int(now.Ended - was.Ended), Late: now.Late})
			}
			was = now
			fault = s.certificateFault(fault)
		case <-sign.C:
			s.sign(ctx)
		case <-tidy.C:
			s.tidy(ctx)
		case <-s.o.Reload:
			s.reload(ctx)
		}
	}
}

// sign signs the audit log as it is.
func (s *serving) sign(ctx context.Context) {
	switch _, err := s.web.Sign(ctx); {
	case err == nil:
		s.signed.Store(s.now().UnixNano())
	case errors.Is(err, audit.ErrForked):
		s.o.Log.Error("THE AUDIT LOG IS NOT WHAT WAS SIGNED BEFORE: an older database was put in its place, or it was written anew", "error", err.Error())
	default:
		s.o.Log.Error("signing the audit log", "error", err.Error())
	}
}

func (s *serving) tidy(ctx context.Context) {
	if _, err := s.store.TrimReplies(ctx, s.now().Add(-replyKept)); err != nil {
		s.o.Log.Warn("forgetting old results", "error", err.Error())
	}
	if err := s.ops.Sweep(ctx, s.now()); err != nil {
		s.o.Log.Warn("forgetting old sessions", "error", err.Error())
	}
}

// laterIdentity compares the account's rights as soon as the directory can be asked, if
// it could not at the start.
func (s *serving) laterIdentity(ctx context.Context) error {
	if !s.people.unchecked.Load() {
		return nil
	}
	t := time.NewTicker(identityWait)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		id, err := CompareIdentity(ctx, s.dir, DutiesOf(s.grants.Policies()))
		if err == nil {
			s.people.unchecked.Store(false)
			return s.judgeIdentity(ctx, id)
		}
	}
}

// FirstAdministrator makes the first administrator of the configured database: an
// account of the configured domain. It works once.
func FirstAdministrator(ctx context.Context, cfg *Config, by Caller, account string) (name string, err error) {
	s := &serving{cfg: cfg, now: by.Now, o: ServeOptions{Log: slog.New(slog.DiscardHandler)}}
	defer func() {
		for i := len(s.closers) - 1; i >= 0; i-- {
			err = errors.Join(err, s.closers[i]())
		}
	}()
	if s.dir, err = DirectoryConfig(ctx, cfg, by); err != nil {
		return "", err
	}
	if s.store, err = OpenStore(ctx, cfg, store.Options{}); err != nil {
		return "", err
	}
	s.closers = append(s.closers, s.store.Close)
	if err = s.openOperators(ctx); err != nil {
		return "", err
	}
	local := localEntry("operator.init", s.now())
	a, err := s.ops.Init(ctx, operator.Local(local.Actor.Name, "operator-init", s.now().UTC()), account)
	return a.Name, err
}

// readCertificates reads all certificates of a PEM file.
func readCertificates(data []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for block, rest := nextPEM(data); block != nil; block, rest = nextPEM(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, errors.New("it is empty")
	}
	return out, nil
}
