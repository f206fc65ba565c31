package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are the server's own. Their labels are routes, codes and states: never names
// of people or objects, and nothing of what a request holds.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight prometheus.Gauge
	streams  prometheus.Gauge
	signIns  *prometheus.CounterVec
	grants   *prometheus.GaugeVec
	late     prometheus.Gauge
	ticks    *prometheus.CounterVec
	upkeep   *upkeep
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "leastwise_http_requests_total", Help: "Requests by route, method and status."}, []string{"route", "method", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "leastwise_http_request_seconds", Help: "How long requests took.", Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60},
		}, []string{"route"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "leastwise_http_requests_in_flight", Help: "Requests that are being answered, streams included."}),
		streams:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "leastwise_event_streams", Help: "Clients that follow events."}),
		signIns:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "leastwise_sign_ins_total", Help: "Attempts to sign in by method and result."}, []string{"method", "result"}),
		grants:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "leastwise_grants", Help: "Grants that are not over, by state; at most 1000 are counted in each."}, []string{"state"}),
		late:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "leastwise_grant_end_lateness_seconds", Help: "The longest time between an end and its removal in the last round of work that had any."}),
		ticks:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "leastwise_worker_rounds_total", Help: "Rounds of work on grants by result."}, []string{"result"}),
		upkeep:   newUpkeep(),
	}
	m.registry.MustRegister(m.requests, m.seconds, m.inFlight, m.streams, m.signIns, m.late, m.ticks, m.upkeep,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) request(route, method string, status int, took time.Duration) {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete:
	default:
		method = "other"
	}
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError, MaxRequestsInFlight: 4})
}

// A Round is what one round of the work on grants came to.
type Round struct {
	Failed, Away bool
	Ended        int
	Late         time.Duration
}

// Observe counts a round of the work on grants.
func (s *Server) Observe(r Round) {
	result := "ok"
	switch {
	case r.Failed:
		result = "failed"
	case r.Away:
		result = "directory-away"
	}
	s.metrics.ticks.WithLabelValues(result).Inc()
	if r.Ended > 0 {
		s.metrics.late.Set(r.Late.Seconds())
	}
}
