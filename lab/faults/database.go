package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// A disk is a small file system of its own that can be full.
type disk struct{ dir string }

// newDisk mounts one.
func newDisk(dir string, megabytes int) (disk, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return disk{}, err
	}
	_ = syscall.Unmount(dir, syscall.MNT_DETACH) // what an earlier program left
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=755", megabytes))
	if err != nil {
		return disk{}, fmt.Errorf("mounting a file system at %s: %w", dir, err)
	}
	return disk{dir}, nil
}

func (d disk) filler() string { return filepath.Join(d.dir, "filler") }

// fill leaves no byte free; empty gives the space back.
func (d disk) fill() error {
	f, err := os.Create(d.filler())
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, 1<<20)
	for {
		if _, err := f.Write(b); err != nil {
			if errors.Is(err, syscall.ENOSPC) && len(b) > 1 {
				b = b[:len(b)/16]
				continue
			}
			return nil
		}
	}
}

func (d disk) empty() error { return os.Remove(d.filler()) }

func (d disk) close() error { return syscall.Unmount(d.dir, syscall.MNT_DETACH) }

// A server is PostgreSQL on a disk of its own.
type server struct {
	bin  string
	d    disk
	who  *syscall.Credential
	proc *exec.Cmd
	log  bytes.Buffer
	made int
}

// newServer makes and starts one.
func newServer(d disk) (*server, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return nil, errors.New("PostgreSQL is not installed: scripts/setup does it")
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2, os.Chown(d.dir, uid, gid)); err != nil {
		return nil, err
	}
	s := &server{bin: filepath.Dir(found[len(found)-1]), d: d, who: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	init := s.command("initdb", "-D", s.data(), "-A", "trust", "-U", "leastwise", "-E", "UTF8", "--locale=C", "--no-sync")
	if out, err := init.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return s, s.start()
}

func (s *server) data() string { return filepath.Join(s.d.dir, "data") }

func (s *server) command(name string, args ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(s.bin, name), args...)
	c.Dir, c.Env = s.d.dir, []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: s.who, Pdeathsig: syscall.SIGQUIT}
	return c
}

func (s *server) start() error {
	s.proc = s.command("postgres", "-D", s.data(), "-k", s.d.dir, "-c", "listen_addresses=", "-c", "max_connections=100", "-c", "min_wal_size=32MB", "-c", "max_wal_size=64MB")
	s.log.Reset()
	s.proc.Stdout, s.proc.Stderr = io.Discard, &s.log
	if err := s.proc.Start(); err != nil {
		return err
	}
	for range 300 {
		if s.ping() == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("PostgreSQL does not start: %s", s.log.String())
}

func (s *server) ping() error {
	db, err := sql.Open("pgx", s.url("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return db.PingContext(ctx)
}

// stop stops it at once, as if its machine failed.
func (s *server) stop() {
	_ = s.proc.Process.Signal(syscall.SIGQUIT)
	_ = s.proc.Wait()
}

// ensure starts it if it does not answer: after a full disk it may have given up.
func (s *server) ensure() error {
	for range 20 {
		if s.ping() == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.stop()
	return s.start()
}

func (s *server) url(database string) string {
	q := url.Values{"host": {s.d.dir}, "user": {"leastwise"}, "sslmode": {"disable"}}
	return "postgres:///" + database + "?" + q.Encode()
}

// create makes a database and drops the one before.
func (s *server) create() (string, error) {
	db, err := sql.Open("pgx", s.url("postgres"))
	if err != nil {
		return "", err
	}
	defer func() { _ = db.Close() }()
	s.made++
	_, err = db.Exec("DROP DATABASE IF EXISTS r" + strconv.Itoa(s.made-1) + " WITH (FORCE)")
	if err == nil {
		_, err = db.Exec("CREATE DATABASE r" + strconv.Itoa(s.made))
	}
	return s.url("r" + strconv.Itoa(s.made)), err
}
