package storetest

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// theServer is the server of this test program, started when it is first needed
// and ended by Main.
var theServer server //nolint:gochecknoglobals // one for all tests of a program

// Main runs the tests and then ends the server.
func Main(m *testing.M) int {
	defer theServer.stop()
	return m.Run()
}

// A server is a PostgreSQL server in a temporary folder.
type server struct {
	once  sync.Once
	err   error
	dir   string
	proc  *exec.Cmd
	log   bytes.Buffer
	mu    sync.Mutex
	made  int
	admin *sql.DB
}

const startTimeout = 60 * time.Second

// start starts the server unless it runs.
func (s *server) start() (*server, error) {
	s.once.Do(func() {
		if s.err = s.run(); s.err != nil {
			s.stop()
		}
	})
	return s, s.err
}

func (s *server) run() error {
	bin, err := programs()
	if err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp("", "leastwise-pg"); err != nil {
		return err
	}
	who, err := unprivileged()
	if err != nil {
		return err
	}
	if who != nil {
		if err := os.Chown(s.dir, who.uid, who.gid); err != nil {
			return err
		}
	}
	data := filepath.Join(s.dir, "data")
	initdb := exec.CommandContext(context.Background(), filepath.Join(bin, "initdb"), "-D", data, "-A", "trust", "-U", "leastwise", "-E", "UTF8", "--locale=C", "--no-sync")
	s.prepare(initdb, who)
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	s.proc = exec.CommandContext(context.Background(), filepath.Join(bin, "postgres"), "-D", data, "-k", s.dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200")
	s.prepare(s.proc, who)
	s.proc.Stdout, s.proc.Stderr = &s.log, &s.log
	if err := s.proc.Start(); err != nil {
		return err
	}
	return s.wait()
}

// prepare makes a program run as who, in the server's folder, and end with this
// process.
func (s *server) prepare(cmd *exec.Cmd, who *identity) {
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = attributes(who)
}

// wait returns when the server answers.
func (s *server) wait() error {
	db, err := sql.Open("pgx", s.url("postgres"))
	if err != nil {
		return err
	}
	s.admin = db
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if err = db.PingContext(ctx); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL did not start within %v: %w", startTimeout, err)
		case <-tick.C:
		}
	}
}

// stop ends the server and removes its folder.
func (s *server) stop() {
	if s.admin != nil {
		_ = s.admin.Close()
	}
	if s.proc != nil && s.proc.Process != nil {
		_ = s.proc.Process.Signal(os.Interrupt) // "fast" shutdown
		_ = s.proc.Wait()
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

func (s *server) url(database string) string {
	q := url.Values{"host": {s.dir}, "user": {"leastwise"}, "sslmode": {"disable"}}
	return "postgres:///" + database + "?" + q.Encode()
}

func (s *server) create(ctx context.Context) (string, error) {
	s.mu.Lock()
	s.made++
	name := "test" + strconv.Itoa(s.made)
	s.mu.Unlock()
	_, err := s.admin.ExecContext(ctx, "CREATE DATABASE "+name)
	return name, err
}

func (s *server) drop(name string) error {
	_, err := s.admin.ExecContext(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)")
	return err
}

// programs returns the folder of PostgreSQL's newest installed version.
func programs() (string, error) {
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin/initdb", "/usr/local/pgsql/bin/initdb"} {
		if found, err := filepath.Glob(pattern); err == nil && len(found) > 0 {
			return filepath.Dir(found[len(found)-1]), nil
		}
	}
	return "", errors.New("PostgreSQL is not installed: scripts/setup does it")
}

// An identity is a user that a program is run as.
type identity struct{ uid, gid int }

// unprivileged returns the user to run the server as: PostgreSQL refuses root. It
// is nil if this process is not root.
func unprivileged() (*identity, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // nobody else is needed
	}
	var errs []error
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		return &identity{uid, gid}, errors.Join(err1, err2)
	}
	return nil, errors.Join(errs...)
}
