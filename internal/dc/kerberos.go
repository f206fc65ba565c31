package dc

import "context"

type kerberos struct{ cfg Config }

func newKerberos(cfg Config) *kerberos { return &kerberos{cfg: cfg} }

func (k *kerberos) bind(ctx context.Context, c *conn, domain string) error {
	return &Error{Kind: ErrConfig, Op: "binding with Kerberos", Server: c.server.String(), Detail: "not available yet"}
}
