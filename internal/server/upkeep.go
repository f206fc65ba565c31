package server

import (
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// An Upkeep is how what the server does beside grants is doing, for its metrics. What is
// nil is not configured.
type Upkeep struct {
	Scan      *ScanState
	Notices   *NoticeState
	Witnesses map[string]WitnessState // by file or webhook
	Signed    time.Time               // when this node signed the audit log last, or found it signed; zero: not yet
}

// A ScanState is how scheduled scans are doing, on all nodes; overruns on this one.
type ScanState struct {
	Running   bool
	Tried     time.Time // end of the last try; zero: none yet
	Succeeded time.Time // of the last that went well
	Failures  int       // since then
	Overruns  int64
}

// A NoticeState is how telling people is doing: what waits and what was put aside on all
// nodes, the targets on this one.
type NoticeState struct {
	Waiting, Dead int
	Targets       map[string]TargetState
}

// A TargetState counts messages of one target.
type TargetState struct{ Sent, Failed int64 }

// A WitnessState counts checkpoints.
type WitnessState struct {
	Given, Failed int64
	Waiting       int
}

// ObserveUpkeep notes the present state.
func (s *Server) ObserveUpkeep(u Upkeep) { s.metrics.upkeep.state.Store(&u) }

// upkeep makes metrics of the present [Upkeep].
type upkeep struct {
	state atomic.Pointer[Upkeep]
	descs map[string]*prometheus.Desc
}

func newUpkeep() *upkeep {
	u := &upkeep{descs: map[string]*prometheus.Desc{}}
	for _, d := range []struct{ name, help, label string }{
		{"scan_running", "Whether a scheduled scan is under way, on any node.", ""},
		{"scan_last_try_timestamp_seconds", "When the last scheduled scan ended, however it ended.", ""},
		{"scan_last_success_timestamp_seconds", "When the last scheduled scan ended that was kept.", ""},
		{"scan_failures", "Scheduled scans that failed since the last that was kept.", ""},
		{"scan_overruns_total", "Turns that passed because a scheduled scan took longer, on this node.", ""},
		{"notifications_sent_total", "Messages that were delivered, on this node.", "target"},
		{"notification_failures_total", "Tries to deliver a message that failed, on this node.", "target"},
		{"notifications_waiting", "Messages that are to be tried, on all nodes.", ""},
		{"notifications_put_aside", "Messages that were put aside after the last try: see leastwise notices.", ""},
		{"audit_signed_timestamp_seconds", "When this node last signed the audit log, or found nothing to sign.", ""},
		{"witness_checkpoints_total", "Checkpoints of the audit log that a witness was given, on this node.", "witness"},
		{"witness_failures_total", "Tries to give a checkpoint to a witness that failed, on this node.", "witness"},
		{"witness_waiting", "Checkpoints that wait for a witness, on this node.", "witness"},
	} {
		var labels []string
		if d.label != "" {
			labels = []string{d.label}
		}
		u.descs[d.name] = prometheus.NewDesc("leastwise_"+d.name, d.help, labels, nil)
	}
	return u
}

// Describe implements prometheus.Collector.
func (u *upkeep) Describe(out chan<- *prometheus.Desc) {
	for _, name := range slices.Sorted(maps.Keys(u.descs)) {
		out <- u.descs[name]
	}
}

// Collect implements prometheus.Collector.
func (u *upkeep) Collect(out chan<- prometheus.Metric) {
	state := u.state.Load()
	if state == nil {
		return
	}
	gauge := func(name string, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(u.descs[name], prometheus.GaugeValue, v, labels...)
	}
	count := func(name string, v int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(u.descs[name], prometheus.CounterValue, float64(v), labels...)
	}
	if s := state.Scan; s != nil {
		running := 0.0
		if s.Running {
			running = 1
		}
		gauge("scan_running", running)
		gauge("scan_failures", float64(s.Failures))
		count("scan_overruns_total", s.Overruns)
		if !s.Tried.IsZero() {
			gauge("scan_last_try_timestamp_seconds", float64(s.Tried.Unix()))
		}
		if !s.Succeeded.IsZero() {
			gauge("scan_last_success_timestamp_seconds", float64(s.Succeeded.Unix()))
		}
	}
	if n := state.Notices; n != nil {
		gauge("notifications_waiting", float64(n.Waiting))
		gauge("notifications_put_aside", float64(n.Dead))
		for target, t := range n.Targets {
			count("notifications_sent_total", t.Sent, target)
			count("notification_failures_total", t.Failed, target)
		}
	}
	if !state.Signed.IsZero() {
		gauge("audit_signed_timestamp_seconds", float64(state.Signed.Unix()))
	}
	for name, w := range state.Witnesses {
		count("witness_checkpoints_total", w.Given, name)
		count("witness_failures_total", w.Failed, name)
		gauge("witness_waiting", float64(w.Waiting), name)
	}
}
