package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/secdesc"
	"github.com/leastwise/leastwise/internal/store"
)

// An EnrolmentCode is what the owner of an account needs to enrol a second factor.
type EnrolmentCode struct {
	Account string
	Code    operator.Secret
}

// InviteOperator makes an enrolment code on the server's machine, beside the server, for
// an account without a second factor; with lost set, for one whose second factors are
// lost, which are removed.
func InviteOperator(ctx context.Context, cfg *Config, by Caller, account, reason string, lost bool) (out EnrolmentCode, err error) {
	s := &serving{cfg: cfg, now: by.Now, o: ServeOptions{Log: slog.New(slog.DiscardHandler)}}
	defer func() {
		for i := len(s.closers) - 1; i >= 0; i-- {
			err = errors.Join(err, s.closers[i]())
		}
	}()
	if s.dir, err = DirectoryConfig(ctx, cfg, by); err != nil {
		return out, err
	}
	if s.store, err = OpenStore(ctx, cfg, store.Options{}); err != nil {
		return out, err
	}
	s.closers = append(s.closers, s.store.Close)
	if err = s.openOperators(ctx); err != nil {
		return out, err
	}
	a, err := s.people.Account(ctx, operator.AccountRef{Name: account})
	if err != nil {
		return out, err
	}
	if !a.Exists {
		return out, fmt.Errorf("%w: the directory has no account %s, or two", ErrConfig, account)
	}
	issue, action := s.ops.Invite, "factor.invite"
	if lost {
		issue, action = s.ops.Recover, "factor.recover"
	}
	local := localEntry(action, s.now())
	out.Account = a.Name
	out.Code, err = issue(ctx, operator.Local(local.Actor.Name, "operator-invite", s.now().UTC()), a.GUID, reason)
	return out, err
}

// clientCertificates reads which client certificates are taken, nil for none.
func clientCertificates(cfg *Config, log *slog.Logger) (*operator.Certificates, error) {
	roots, err := clientRoots(cfg.Text("client-ca"))
	if err != nil || roots == nil {
		return nil, err
	}
	c := &operator.Certificates{Roots: roots, SID: true}
	if files := cfg.List("client-crl"); len(files) > 0 {
		r, err := openRevocations(files, log)
		if err != nil {
			return nil, err
		}
		c.Revoked, c.RequireRevoked = r.lists, true
	}
	if file := cfg.Text("client-mappings"); file != "" {
		data, err := ReadFile(file)
		if err == nil {
			c.Mappings, err = parseMappings(data)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: reading mappings of certificates %s: %w", ErrConfig, file, err)
		}
	}
	return c, nil
}

// mappingsVersion is the version of the form of files of mappings.
const mappingsVersion = 1

// parseMappings reads which certificate belongs to which account. docs/FORMATS.md has the
// form.
func parseMappings(data []byte) ([]operator.Mapping, error) {
	var file struct {
		Version  int `yaml:"client-certificates"`
		Mappings []struct {
			Account string `yaml:"account"`
			Issuer  string `yaml:"issuer"`
			Serial  string `yaml:"serial"`
			Key     string `yaml:"key"`
		} `yaml:"mappings"`
	}
	if err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict(), yaml.DisallowUnknownField()).Decode(&file); err != nil {
		return nil, err
	}
	if file.Version != mappingsVersion {
		return nil, fmt.Errorf("client-certificates is %d, want %d", file.Version, mappingsVersion)
	}
	var out []operator.Mapping
	for i, m := range file.Mappings {
		v := operator.Mapping{Issuer: m.Issuer}
		sid, err := secdesc.ParseSID(m.Account)
		if v.Account.SID = sid; err != nil {
			if v.Account.GUID, err = secdesc.ParseGUID(m.Account); err != nil {
				return nil, fmt.Errorf("mapping %d: the account %q is no SID and no objectGUID", i+1, m.Account)
			}
		}
		if m.Serial != "" {
			raw, err := hex.DecodeString(strings.ReplaceAll(m.Serial, ":", ""))
			if err != nil {
				return nil, fmt.Errorf("mapping %d: the serial number %q is not hexadecimal digits in pairs", i+1, m.Serial)
			}
			v.Serial = new(big.Int).SetBytes(raw)
		}
		if m.Key != "" {
			raw, err := hex.DecodeString(strings.ReplaceAll(m.Key, ":", ""))
			if err != nil || len(raw) != sha256.Size {
				return nil, fmt.Errorf("mapping %d: the key is not the 64 hexadecimal digits of a SHA-256", i+1)
			}
			v.Key = [sha256.Size]byte(raw)
		}
		out = append(out, v)
	}
	return out, nil
}
