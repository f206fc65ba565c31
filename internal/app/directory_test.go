package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/dc"
)

func config(t *testing.T, pairs ...string) *Config {
	t.Helper()
	c := NewConfig()
	for i := 0; i < len(pairs); i += 2 {
		if err := c.Set(pairs[i], pairs[i+1], "test"); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// One way to authenticate is chosen, and no form of printing shows the password.
func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	pw := filepath.Join(dir, "pw")
	if err := os.WriteFile(pw, []byte("from-file\r\nsecond line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	prompt := func(_ context.Context, account string) (string, error) { return "prompted-" + account, nil }
	all := Caller{Environ: "from-environ", Stdin: strings.NewReader("from-stdin\n"), Prompt: prompt, Now: time.Now}
	for name, c := range map[string]struct {
		config *Config
		by     Caller
		want   dc.Credentials
	}{
		"nothing":              {config(t), all, dc.CCache("")},
		"ccache":               {config(t, "ccache", "cc"), all, dc.CCache("cc")},
		"keytab":               {config(t, "keytab", "kt"), all, dc.Keytab("", "kt")},
		"keytab of a user":     {config(t, "keytab", "kt", "user", "a"), all, dc.Keytab("a", "kt")},
		"file before all else": {config(t, "user", "a", "password-file", pw), all, dc.Password("a", "from-file")},
		"byte order mark":      {config(t, "user", "a", "password-file", "-"), Caller{Stdin: strings.NewReader("\ufefffrom-stdin\n")}, dc.Password("a", "from-stdin")},
		"standard input":       {config(t, "user", "a", "password-file", "-"), all, dc.Password("a", "from-stdin")},
		"environment":          {config(t, "user", "a"), all, dc.Password("a", "from-environ")},
		"prompt":               {config(t, "user", "a"), Caller{Prompt: prompt}, dc.Password("a", "prompted-a")},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := DirectoryConfig(t.Context(), c.config, c.by)
			if err != nil {
				t.Fatal(err)
			}
			if got.Credentials != c.want {
				t.Errorf("credentials %v, want %v", got.Credentials, c.want)
			}
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
				if s := fmt.Sprintf(verb, got.Credentials); strings.Contains(s, "from-") || strings.Contains(s, "prompted") {
					t.Errorf("%s shows the password: %s", verb, s)
				}
			}
		})
	}
}

func TestCredentialsErrors(t *testing.T) {
	dir := t.TempDir()
	long, empty := filepath.Join(dir, "long"), filepath.Join(dir, "empty")
	for name, data := range map[string]string{long: strings.Repeat("x", maxPassword+1), empty: "\npa55word\n"} {
		if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	canceled := errors.New("interrupted")
	for name, c := range map[string]struct {
		config *Config
		by     Caller
		is     error
	}{
		"two ways":           {config(t, "keytab", "a", "ccache", "b"), Caller{}, ErrConfig},
		"cache and user":     {config(t, "ccache", "cc", "user", "a"), Caller{}, ErrConfig},
		"cache and password": {config(t, "ccache", "cc", "password-file", long), Caller{}, ErrConfig},
		"password of nobody": {config(t, "password-file", long), Caller{}, ErrConfig},
		"nobody to ask":      {config(t, "user", "a"), Caller{}, ErrConfig},
		"too long":           {config(t, "user", "a", "password-file", long), Caller{}, ErrConfig},
		"empty":              {config(t, "user", "a", "password-file", empty), Caller{}, ErrConfig},
		"empty input":        {config(t, "user", "a", "password-file", "-"), Caller{Stdin: strings.NewReader("")}, ErrConfig},
		"no file":            {config(t, "user", "a", "password-file", filepath.Join(dir, "none")), Caller{}, os.ErrNotExist},
		"prompt interrupted": {config(t, "user", "a"), Caller{Prompt: func(context.Context, string) (string, error) { return "", canceled }}, canceled},
		"clear text":         {config(t, "user", "a", "bind", "simple"), Caller{Environ: "pa55word"}, dc.ErrPlaintext},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := DirectoryConfig(t.Context(), c.config, c.by)
			if !errors.Is(err, c.is) {
				t.Fatalf("error %v, want %v", err, c.is)
			}
			if strings.Contains(err.Error(), "pa55word") || strings.Contains(err.Error(), "xxx") {
				t.Errorf("error shows the password: %v", err)
			}
		})
	}
}
