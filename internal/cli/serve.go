package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leastwise/leastwise/internal/app"
)

const serveExample = `  leastwise serve --domain contoso.com --keytab /etc/leastwise/svc.keytab --user svc-leastwise \
    --listen 0.0.0.0:8443 --names leastwise.contoso.com --service-keytab /etc/leastwise/http.keytab

  # everything in leastwise.yaml
  leastwise serve --config /etc/leastwise/leastwise.yaml`

func (c *command) serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "serve", Short: "Run the server: grants, audit log, API",
		Long: `Answers the API over HTTPS and sees grants through until they end. At the first start it
makes the database, the key of the audit log, the keys of second factors and, unless
--certificate is given, an authority of its own, whose ca.pem the clients need (--ca).

It ends cleanly on SIGTERM or interrupt, and reads the policies of grants again on SIGHUP. It
refuses to start if its own account holds power in the directory. GET /healthz tells that it
lives, /readyz that it can do its work, /metrics how it is doing, /openapi.json what it answers.`,
		Example: serveExample, Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.config(cmd)
			if err != nil {
				return err
			}
			if cfg.Text("domain") == "" {
				return usagef("add --domain NAME", "the server needs its domain")
			}
			reload := make(chan struct{}, 1)
			stop := onHangUp(reload)
			defer stop()
			return asService(cmd.Context(), func(ctx context.Context) error {
				return app.Serve(ctx, cfg, c.caller(), app.ServeOptions{
					Version: c.env.Version, Log: c.logger(cfg.Text("log-level")), Reload: reload,
					Started: func(address string) { c.started(ctx, address) },
				})
			})
		},
	}
	addSettings(cmd, "serve", "database", "key", "witness", "mirror", "scan", "directory", "controls", "assess")
	return cmd
}

// logger writes lines of JSON to standard error.
func (c *command) logger(level string) *slog.Logger {
	var l slog.Level
	_ = l.UnmarshalText([]byte(level)) // one of the setting's values
	return slog.New(slog.NewJSONHandler(c.env.Err, &slog.HandlerOptions{Level: l}))
}

// started tells the service manager, if one asked for it, that requests are answered.
func (c *command) started(ctx context.Context, address string) {
	c.note("serving on %s", address)
	if err := notify(ctx, c.env.getenv("NOTIFY_SOCKET"), "READY=1\nSTATUS=serving on "+address); err != nil {
		fmt.Fprintln(c.env.Err, "leastwise: warning: telling systemd:", err)
	}
}

// notify sends a state to systemd (sd_notify(3)); no socket, no message.
func notify(ctx context.Context, socket, state string) error {
	if socket == "" {
		return nil
	}
	if strings.HasPrefix(socket, "@") { // of the abstract namespace
		socket = "\x00" + socket[1:]
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unixgram", socket)
	if err != nil {
		return err
	}
	_, err = io.WriteString(conn, state)
	return errors.Join(err, conn.Close())
}

// onHangUp passes SIGHUP on.
func onHangUp(to chan<- struct{}) (stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, hangUp()...)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-c:
				select {
				case to <- struct{}{}:
				default:
				}
			}
		}
	}()
	return func() {
		signal.Stop(c)
		close(done)
	}
}
