package samba

import (
	"context"
	"fmt"
)

// A HostStatus says how a host is.
type HostStatus struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Running bool   `json:"running"`
	PID     int    `json:"pid,omitempty"`
	// Checks maps what was asked to "ok" or to what went wrong.
	Checks map[string]string `json:"checks,omitempty"`
}

// A Status says how a lab is.
type Status struct {
	Lab   *Lab         `json:"lab"`
	Hosts []HostStatus `json:"hosts"`
	// Replicated is "ok", or what one domain controller has that another lacks,
	// or "not asked" when a host does not serve.
	Replicated string `json:"replicated"`
	// OK says that everything serves and agrees.
	OK bool `json:"ok"`
}

// Status asks every host.
func (l *Lab) Status(ctx context.Context) (*Status, error) {
	st := &Status{Lab: l, OK: l.Ready, Replicated: "not asked"}
	for _, h := range l.Hosts {
		hs, ok, err := l.hostStatus(ctx, h)
		if err != nil {
			return nil, fmt.Errorf("asking %s: %w", h.Name, err)
		}
		st.Hosts = append(st.Hosts, hs)
		st.OK = st.OK && ok
	}
	if !st.OK {
		return st, nil
	}
	st.Replicated = "ok"
	if err := l.Converge(ctx); err != nil {
		st.Replicated, st.OK = err.Error(), false
	}
	return st, nil
}

func (l *Lab) hostStatus(ctx context.Context, h Host) (hs HostStatus, ok bool, err error) {
	hs = HostStatus{Name: h.Name, Address: h.Address}
	p, err := l.process(h)
	if err != nil || p == nil {
		return hs, false, err
	}
	hs.Running, hs.PID, ok = true, p.PID, true
	hs.Checks = map[string]string{}
	for _, c := range l.checkHost(ctx, h) {
		hs.Checks[c.Name] = "ok"
		if c.Err != nil {
			hs.Checks[c.Name], ok = c.Err.Error(), false
		}
	}
	return hs, ok, nil
}
