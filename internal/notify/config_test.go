package notify_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/notify"
)

func surroundings(files map[string]string) notify.Surroundings {
	return notify.Surroundings{Now: time.Now, ReadFile: func(name string) ([]byte, error) {
		if text, ok := files[name]; ok {
			return []byte(text), nil
		}
		return nil, os.ErrNotExist
	}}
}

// The example of the documentation is understood whole.
func TestDocumentedConfig(t *testing.T) {
	text, err := os.ReadFile("../../examples/grants/notify.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := notify.ParseConfig("notify.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	routes, asks, err := c.Routes(surroundings(map[string]string{
		"/etc/leastwise/smtp.password": "s3cret\r\n", "/etc/leastwise/webhook.key": strings.Repeat("k", 32) + "\n",
	}))
	if err != nil || len(routes) != 3 || !asks {
		t.Fatalf("%d routes, %t, %v", len(routes), asks, err)
	}
	mail, hook, log := routes[0], routes[1], routes[2]
	if !mail.Personal || mail.To[grant.ToSecurity][0] != "soc@contoso.com" || len(mail.Directory) != 4 {
		t.Errorf("%+v", mail)
	}
	if _, ok := hook.To[grant.ToSecurity]; !ok || !hook.Loud || hook.Personal || len(log.To) != 5 {
		t.Errorf("%+v, %+v", hook, log)
	}
}

func TestConfigRefused(t *testing.T) {
	const hook = "notify: 1\nwebhooks:\n  - {name: a, url: 'https://h/', key-file: k, to: [all]}\n"
	for why, text := range map[string]string{
		"x.yaml:3":             "notify: 1\nmail: []\nmial: []\n",
		"notify should be 1":   "notify: 2\n",
		"more than one":        "notify: 1\n---\nnotify: 1\n",
		"two targets":          hook + "syslog:\n  - {name: a, address: 'h:1', to: [all]}\n",
		"no audience \"boss\"": strings.Replace(hook, "all", "boss", 1),
		"names no audience":    strings.Replace(hook, "[all]", "[]", 1),
		"lower-case":           strings.Replace(hook, "name: a", "name: 'a b'", 1),
		"reading the key":      strings.Replace(hook, "key-file: k", "key-file: none", 1),
		"no key-file":          strings.Replace(hook, "key-file: k, ", "", 1),
		"per-minute":           strings.Replace(hook, "to:", "per-minute: -1, to:", 1),
		"root certificates":    strings.Replace(hook, "to:", "ca: none, to:", 1),
		"no certificate":       strings.Replace(hook, "to:", "ca: k, to:", 1),
		"not a mail address":   "notify: 1\nmail:\n  - {name: a, server: h, from: a@b.test, to: {security: ['x y']}}\n",
	} {
		c, err := notify.ParseConfig("x.yaml", []byte(text))
		if err == nil {
			_, _, err = c.Routes(surroundings(map[string]string{"k": strings.Repeat("k", 32)}))
		}
		if !errors.Is(err, notify.ErrConfig) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", why, err)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte("notify: 1\nmail:\n  - {name: a, server: h, from: a@b.test, to: {security: [directory]}}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := notify.ParseConfig("x.yaml", b)
		if err != nil {
			if !errors.Is(err, notify.ErrConfig) {
				t.Errorf("%v", err)
			}
			return
		}
		_, _, _ = c.Routes(surroundings(nil)) // must not panic
	})
}
