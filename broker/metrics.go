package broker

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sfbroker/broker/diagnosis"
)

// Metrics counts what the proxy does. A nil *Metrics counts nothing. Labels are bounded: names of the configuration, HTTP
// status codes, and codes of the catalogue.
type Metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	bytes    *prometheus.CounterVec
	links    *prometheus.CounterVec
	denials  *prometheus.CounterVec
	logins   *prometheus.CounterVec
	aborts   *prometheus.CounterVec
	inFlight prometheus.Gauge
	panics   prometheus.Counter
}

// NewMetrics registers the proxy's metrics with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sfbroker_requests_total", Help: "Requests by caller, connection, HTTP status and origin of an error (empty for none)."}, []string{"caller", "connection", "status", "origin"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "sfbroker_request_duration_seconds", Help: "Time from a request's arrival to the end of its answer.", Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}}, []string{"connection"}),
		bytes:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sfbroker_response_bytes_total", Help: "Bytes of answers passed on, after inflating and rewriting."}, []string{"connection"}),
		links:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sfbroker_links_rewritten_total", Help: "Links in answers turned to lead back through the proxy."}, []string{"connection"}),
		denials:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sfbroker_denials_total", Help: "Requests refused by the broker itself, by code."}, []string{"code"}),
		logins:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sfbroker_caller_login_failures_total", Help: "Requests whose caller was not recognised, by reason."}, []string{"reason"}),
		aborts:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sfbroker_aborted_responses_total", Help: "Answers that were cut off towards the caller, since upstream broke off or the caller went away."}, []string{"connection"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "sfbroker_requests_in_flight", Help: "Requests being served."}),
	}
	m.panics = prometheus.NewCounter(prometheus.CounterOpts{Name: "sfbroker_panics_total", Help: "Requests that met a defect of the broker; the log has the stack."})
	reg.MustRegister(m.panics, m.requests, m.duration, m.bytes, m.links, m.denials, m.logins, m.aborts, m.inFlight)
	return m
}

func (m *Metrics) began() {
	if m != nil {
		m.inFlight.Inc()
	}
}

func (m *Metrics) ended(x *exchange) {
	if m == nil {
		return
	}
	m.inFlight.Dec()
	var caller, connection string
	if x.caller != nil {
		caller, connection = x.caller.Name, x.caller.Connection
	}
	m.requests.WithLabelValues(caller, connection, strconv.Itoa(x.status), string(x.origin)).Inc()
	m.duration.WithLabelValues(connection).Observe(time.Since(x.start).Seconds())
	m.bytes.WithLabelValues(connection).Add(float64(x.bytes))
}

func (m *Metrics) denied(code diagnosis.Code) {
	if m != nil {
		m.denials.WithLabelValues(string(code)).Inc()
	}
}

func (m *Metrics) loginFailed(reason string) {
	if m != nil {
		m.logins.WithLabelValues(reason).Inc()
	}
}

func (m *Metrics) panicked() {
	if m != nil {
		m.panics.Inc()
	}
}

func (m *Metrics) rewrote(connection string, n int) {
	if m != nil {
		m.links.WithLabelValues(connection).Add(float64(n))
	}
}

func (m *Metrics) aborted(connection string) {
	if m != nil {
		m.aborts.WithLabelValues(connection).Inc()
	}
}

// Collector reports the state of each connection at the time of a scrape.
type Collector struct {
	broker   *Broker
	up       *prometheus.Desc
	sessions *prometheus.Desc
	hit      *prometheus.Desc
}

// NewCollector returns a collector over b's connections.
func NewCollector(b *Broker) *Collector {
	labels := []string{"connection"}
	return &Collector{
		broker:   b,
		up:       prometheus.NewDesc("sfbroker_connection_up", "1 when the connection can deliver, 0 when it is broken or was not tried yet.", labels, nil),
		sessions: prometheus.NewDesc("sfbroker_login_sessions", "SuccessFactors login sessions held.", labels, nil),
		hit:      prometheus.NewDesc("sfbroker_connection_callers_hit", "Callers that met the present failure of the connection.", labels, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.up
	ch <- c.sessions
	ch <- c.hit
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	for _, conn := range c.broker.Connections() {
		s := conn.Status()
		up := 0.0
		if s.CanDeliver() {
			up = 1
		}
		ch <- prometheus.MustNewConstMetric(c.up, prometheus.GaugeValue, up, s.Connection)
		ch <- prometheus.MustNewConstMetric(c.sessions, prometheus.GaugeValue, float64(s.Sessions), s.Connection)
		ch <- prometheus.MustNewConstMetric(c.hit, prometheus.GaugeValue, float64(s.Callers), s.Connection)
	}
}
