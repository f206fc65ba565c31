package cli

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/windows/svc"
)

// serviceName is what the service is called; a service of one process may have any.
const serviceName = "leastwise"

// asService runs the server, as a service of Windows if the service manager started it.
func asService(ctx context.Context, run func(context.Context) error) error {
	is, err := svc.IsWindowsService()
	if err != nil {
		return fmt.Errorf("asking whether this is a service: %w", err)
	}
	if !is {
		return run(ctx)
	}
	s := &service{ctx: ctx, run: run}
	if err := svc.Run(serviceName, s); err != nil {
		return fmt.Errorf("running as a service: %w", err)
	}
	return s.err
}

// A service answers the service manager while the server runs.
type service struct {
	ctx context.Context //nolint:containedctx // lives for one Run
	run func(context.Context) error
	err error
}

// Execute implements [svc.Handler].
func (s *service) Execute(_ []string, requests <-chan svc.ChangeRequest, state chan<- svc.Status) (bool, uint32) {
	const accepts = svc.AcceptStop | svc.AcceptShutdown
	state <- svc.Status{State: svc.StartPending}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.run(ctx) }()
	state <- svc.Status{State: svc.Running, Accepts: accepts}
	for {
		select {
		case s.err = <-done:
			if s.err != nil {
				return true, 1
			}
			return false, 0
		case r := <-requests:
			switch r.Cmd {
			case svc.Interrogate:
				state <- r.CurrentStatus
			case svc.Stop, svc.Shutdown:
				state <- svc.Status{State: svc.StopPending, WaitHint: 60_000}
				cancel()
			}
		}
	}
}

// hangUp: Windows has no such signal; the service is restarted to read policies again.
func hangUp() []os.Signal { return nil }
