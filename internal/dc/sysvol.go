package dc

import (
	"bytes"
	"context"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	smb2 "github.com/cloudsoda/go-smb2"
)

// Limits bound what is read from SYSVOL. Zero fields mean the defaults.
type Limits struct {
	FileSize int64 // bytes of one file; default 4 MiB, above what policy editors write
	Files    int   // files and folders of one walk; default 200,000
	Depth    int   // folders below the start; default 16
}

func (l Limits) withDefaults() Limits {
	if l.FileSize <= 0 {
		l.FileSize = 4 << 20
	}
	if l.Files <= 0 {
		l.Files = 200_000
	}
	if l.Depth <= 0 {
		l.Depth = 16
	}
	return l
}

// A Sysvol is the SYSVOL share of one domain controller, over SMB with Kerberos
// and required signing. Its methods only read. It is safe for concurrent use.
type Sysvol struct {
	server  Server
	timeout time.Duration
	limits  Limits
	nc      net.Conn
	session *smb2.Session
	share   *smb2.Share
	once    sync.Once
}

// A File is one file or folder of SYSVOL. What could not be read has its reason
// in Err or DescriptorErr; an empty file has non-nil, empty Data.
type File struct {
	Path          string // within the share, with slashes: domain/Policies/{GUID}/GPT.INI
	Dir           bool
	Link          bool // a reparse point; never followed
	Size          int64
	Modified      time.Time
	Data          []byte // nil for folders and for files that were not wanted
	Err           error  // why the content or the listing is missing
	Descriptor    []byte // self-relative, owner, group and DACL
	DescriptorErr error  // why the descriptor is missing
}

// Sysvol connects to the SYSVOL share of the domain controller in use. SMB
// always authenticates with Kerberos; after a simple bind the same password is
// used to log on. The context bounds the connecting only.
func (r *Reader) Sysvol(ctx context.Context, limits Limits) (*Sysvol, error) {
	const doing = "connecting to SYSVOL"
	auth, err := r.kerberosForSMB()
	if err != nil {
		return nil, err
	}
	server := r.Server()
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	domain := r.Domain()
	t, err := auth.service(ctx, domain, server.Addr, "cifs/"+server.Name+"/"+domain, "cifs/"+server.Name)
	if err != nil {
		return nil, err
	}
	nc, err := r.cfg.Dial(ctx, "tcp", netip.AddrPortFrom(server.Addr, 445).String())
	if err != nil {
		return nil, dialError(ctx, doing, server, err)
	}
	s := &Sysvol{server: server, timeout: r.cfg.Timeout, limits: limits.withDefaults(), nc: nc}
	if err := s.open(ctx, &smbInitiator{k: auth, t: t}); err != nil {
		_ = nc.Close()
		return nil, auth.explain(doing, server.String(), s.fault(ctx, doing, err))
	}
	return s, nil
}

// kerberosForSMB returns the Reader's Kerberos, or one for the password of a
// simple bind.
func (r *Reader) kerberosForSMB() (*kerberos, error) {
	if r.auth != nil {
		return r.auth, nil
	}
	if p := r.cfg.Credentials.principal; strings.ContainsAny(p, "=,") {
		return nil, &Error{
			Kind: ErrNoCredentials, Op: "connecting to SYSVOL", Server: r.Server().String(),
			Detail: "the bind used a distinguished name, which is no Kerberos principal", Advice: "give the user as user@DOMAIN, so that SYSVOL can be read with Kerberos",
		}
	}
	return newKerberos(r.cfg), nil
}

// open negotiates, authenticates and connects to the share. go-smb2 listens to
// the context only in places; closing the connection reaches it everywhere.
func (s *Sysvol) open(ctx context.Context, in smb2.Initiator) error {
	defer context.AfterFunc(ctx, func() { _ = s.nc.Close() })()
	d := smb2.Dialer{Negotiator: smb2.Negotiator{RequireMessageSigning: true}, Initiator: in}
	return guard("connecting to SYSVOL", func() error {
		session, err := d.DialConn(ctx, s.nc, s.server.Name)
		if err != nil {
			return err
		}
		s.session = session
		s.share, err = session.WithContext(ctx).Mount("SYSVOL")
		return err
	})
}

// Server returns the domain controller whose SYSVOL this is.
func (s *Sysvol) Server() Server { return s.server }

// Close ends the session.
func (s *Sysvol) Close() error {
	s.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if s.share != nil {
			_ = s.share.WithContext(ctx).Umount()
		}
		if s.session != nil {
			_ = s.session.WithContext(ctx).Logoff()
		}
		_ = s.nc.Close()
	})
	return nil
}

// fault classifies an error of go-smb2.
func (s *Sysvol) fault(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	var known *Error
	var ke *kdcError
	if errors.As(err, &known) || errors.As(err, &ke) {
		return err
	}
	e := &Error{Kind: ErrServer, Op: op, Server: s.server.String(), Err: err}
	var (
		transport *smb2.TransportError
		response  *smb2.ResponseError
		invalid   *smb2.InvalidResponseError
	)
	switch {
	case ctx.Err() != nil:
		return ioError(ctx, op, e.Server, err)
	case errors.Is(err, fs.ErrNotExist):
		e.Kind = ErrNoSuchObject
	case errors.Is(err, fs.ErrPermission):
		e.Kind = ErrAccessDenied
	case errors.As(err, &transport), errors.Is(err, net.ErrClosed), errors.Is(err, io.EOF):
		e.Kind = ErrConnectionLost
	case errors.As(err, &invalid):
		e.Kind = ErrProtocol
	case errors.As(err, &response):
		e.Kind = statusKind(response.Code)
	}
	return e
}

// statusKind classifies an NT status code ([MS-ERREF] 2.3.1).
func statusKind(code uint32) Kind {
	switch code {
	case 0xc0000022:
		return ErrAccessDenied
	case 0xc0000034, 0xc000003a, 0xc00000cc, 0xc000000f:
		return ErrNoSuchObject
	case 0xc000006d:
		return ErrWrongPassword
	case 0xc000015b:
		return ErrLogonRestricted
	}
	return ErrServer
}

// SysvolPath turns the file system path of a group policy object
// (\\domain\SysVol\domain\Policies\{GUID}) into a path for [Sysvol]. It refuses
// paths to other shares and those that climb.
func SysvolPath(unc string) (string, error) {
	bad := func(why string) (string, error) {
		return "", &Error{Kind: ErrConfig, Op: fmt.Sprintf("reading policy path %q", unc), Detail: why}
	}
	p, ok := strings.CutPrefix(strings.ReplaceAll(unc, `\`, "/"), "//")
	if !ok {
		return bad("it is not a UNC path")
	}
	parts := strings.SplitN(p, "/", 3)
	if len(parts) < 3 || !strings.EqualFold(parts[1], "SYSVOL") {
		return bad("it is not on the SYSVOL share")
	}
	rest := strings.TrimSuffix(parts[2], "/")
	if !fs.ValidPath(rest) {
		return bad("it is not a plain path")
	}
	return rest, nil
}

// ReadFile returns the content of a file.
func (s *Sysvol) ReadFile(ctx context.Context, name string) (data []byte, err error) {
	op := "reading SYSVOL file " + name
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err = s.do(ctx, op, func(share *smb2.Share) error {
		f, err := share.Open(winPath(name))
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		var b bytes.Buffer
		n, err := io.Copy(&b, io.LimitReader(readOnly{f}, s.limits.FileSize+1))
		if err != nil {
			return err
		}
		if n > s.limits.FileSize {
			return s.tooLarge(op, n)
		}
		data = b.Bytes()
		if data == nil {
			data = []byte{}
		}
		return nil
	})
	return data, err
}

// readOnly hides the server-side copy that go-smb2 attempts in WriteTo.
type readOnly struct{ io.Reader }

func (s *Sysvol) tooLarge(op string, n int64) error {
	return &Error{Kind: ErrLimit, Op: op, Server: s.server.String(), Detail: fmt.Sprintf("it has %d bytes or more, %d are allowed", n, s.limits.FileSize)}
}

// Descriptor returns owner, group and DACL of a file or folder.
func (s *Sysvol) Descriptor(ctx context.Context, name string) (b []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err = s.do(ctx, "reading the security descriptor of "+name, func(share *smb2.Share) error {
		b, err = share.SecurityInfoRaw(winPath(name), smb2.OwnerSecurityInformation|smb2.GroupSecurityInformation|smb2.DACLSecurityInformation)
		return err
	})
	return b, err
}

// do runs one operation with the context in force.
func (s *Sysvol) do(ctx context.Context, op string, fn func(*smb2.Share) error) error {
	return s.fault(ctx, op, guard(op, func() error { return fn(s.share.WithContext(ctx)) }))
}

func winPath(name string) string {
	if name == "." {
		return ""
	}
	return strings.ReplaceAll(name, "/", `\`)
}

// A WalkOption says what a walk reads beside names.
type WalkOption struct {
	// Want chooses the files whose content is read; nil means all of them.
	Want func(name string, size int64) bool
	// Descriptors asks for the security descriptor of each file and folder.
	Descriptors bool
}

// Walk calls fn for root and everything below it, a folder before its content,
// names in order. What cannot be read has its reason in the File and does not
// end the walk. A lost connection, the context, or more files than the limit
// do: the error is then [ErrTruncated] and says after which file.
func (s *Sysvol) Walk(ctx context.Context, root string, opt WalkOption, fn func(File) error) error {
	if !fs.ValidPath(root) {
		return &Error{Kind: ErrConfig, Op: "reading SYSVOL", Detail: fmt.Sprintf("%q is not a path", root)}
	}
	w := &walk{s: s, opt: opt, fn: fn, at: Position{Partition: `\\` + s.server.Name + `\SYSVOL\` + winPath(root)}}
	return w.visit(ctx, File{Path: root, Dir: true}, 0)
}

type walk struct {
	s   *Sysvol
	opt WalkOption
	fn  func(File) error
	at  Position
}

// fatal reports whether an error ends the walk rather than one file.
func fatal(err error) bool {
	switch KindOf(err) {
	case ErrConnectionLost, ErrTimeout, ErrCanceled:
		return true
	}
	return false
}

// cut adds the position to an error that ends the walk.
func (w *walk) cut(err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	c, at := *e, w.at
	c.At = &at
	return &c
}

// visit reads one file or folder, hands it over and goes into it.
func (w *walk) visit(ctx context.Context, f File, depth int) error {
	if w.at.Entries >= w.s.limits.Files {
		return w.cut(&Error{Kind: ErrLimit, Op: "reading SYSVOL", Server: w.s.server.String(), Detail: fmt.Sprintf("more than %d files", w.s.limits.Files)})
	}
	var below []File
	switch {
	case f.Link:
	case f.Dir && depth > w.s.limits.Depth:
		f.Err = &Error{Kind: ErrLimit, Op: "listing " + f.Path, Server: w.s.server.String(), Detail: fmt.Sprintf("deeper than %d folders", w.s.limits.Depth)}
	case f.Dir:
		below, f.Err = w.s.list(ctx, f.Path)
	case w.opt.Want == nil || w.opt.Want(f.Path, f.Size):
		f.Data, f.Err = w.content(ctx, f)
	}
	if w.opt.Descriptors && !fatal(f.Err) {
		f.Descriptor, f.DescriptorErr = w.s.Descriptor(ctx, f.Path)
	}
	for _, err := range []error{f.Err, f.DescriptorErr} {
		if fatal(err) {
			return w.cut(err)
		}
	}
	if err := w.fn(f); err != nil {
		return err
	}
	w.at.Entries++
	w.at.LastDN = f.Path
	for _, b := range below {
		if err := w.visit(ctx, b, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) content(ctx context.Context, f File) ([]byte, error) {
	if f.Size > w.s.limits.FileSize {
		return nil, w.s.tooLarge("reading SYSVOL file "+f.Path, f.Size)
	}
	return w.s.ReadFile(ctx, f.Path)
}

// list returns what is in a folder, in the order of names.
func (s *Sysvol) list(ctx context.Context, dir string) (files []File, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err = s.do(ctx, "listing SYSVOL folder "+dir, func(share *smb2.Share) error {
		infos, err := share.ReadDir(winPath(dir))
		if err != nil {
			return err
		}
		for _, i := range infos {
			if !fs.ValidPath(i.Name()) || strings.Contains(i.Name(), "/") {
				return &Error{Kind: ErrProtocol, Op: "listing SYSVOL folder " + dir, Server: s.server.String(), Detail: fmt.Sprintf("name %q", i.Name())}
			}
			files = append(files, File{
				Path: path.Join(dir, i.Name()), Dir: i.IsDir(), Link: i.Mode()&fs.ModeSymlink != 0,
				Size: i.Size(), Modified: i.ModTime().UTC(),
			})
		}
		return nil
	})
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return files, err
}

// smbInitiator authenticates an SMB session with a service ticket.
type smbInitiator struct {
	k *kerberos
	t ticket
	g *gssContext
}

// OID returns the Kerberos mechanism.
func (i *smbInitiator) OID() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 2, 840, 113554, 1, 2, 2}
}

// InitSecContext returns the first token.
func (i *smbInitiator) InitSecContext() ([]byte, error) {
	g, token, err := i.k.newGSS(i.t, gssConf|gssInteg, nil)
	i.g = g
	return token, err
}

// AcceptSecContext checks the server's proof.
func (i *smbInitiator) AcceptSecContext(token []byte) ([]byte, error) {
	if err := i.g.accept(token); err != nil {
		return nil, err
	}
	return []byte{}, nil
}

// Sum signs the list of mechanisms (RFC 4178 5).
func (i *smbInitiator) Sum(b []byte) []byte {
	m, err := i.g.mic(b)
	if err != nil {
		return nil // the server then refuses the session
	}
	return m
}

// SessionKey returns the first 16 bytes of the context's key ([MS-SMB2] 3.2.5.3).
func (i *smbInitiator) SessionKey() []byte {
	key := make([]byte, 16)
	copy(key, i.g.key.KeyValue)
	return key
}
