package oauthclient

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the metrics of keepers and guards. A nil *Metrics records nothing.
// The label connection is the keeper's Name, so its cardinality is that of the
// configuration.
type Metrics struct {
	exchanges    *prometheus.CounterVec
	duration     *prometheus.HistogramVec
	expiry       *prometheus.GaugeVec
	failedLogons *prometheus.GaugeVec
	locked       *prometheus.GaugeVec
	refusals     *prometheus.CounterVec
}

// NewMetrics registers the metrics with reg; a nil reg registers them nowhere.
// It panics, as prometheus does, if they are registered there already.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	byConnection := []string{"connection"}
	m := &Metrics{
		exchanges: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sfbroker_token_exchanges_total",
			Help: "Requests to the token endpoint, by outcome: success, token_refused or the kind of the error.",
		}, []string{"connection", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "sfbroker_token_exchange_duration_seconds",
			Help:    "Time from asking the token endpoint to its answer.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15},
		}, byConnection),
		expiry: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sfbroker_token_expiry_timestamp_seconds",
			Help: "When the access token held expires, in Unix time; 0 when none is held.",
		}, byConnection),
		failedLogons: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sfbroker_ias_failed_logons",
			Help: "Failed logons of the connection's client ID since the last success or unlock, as of the last attempt.",
		}, byConnection),
		locked: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sfbroker_ias_locked",
			Help: "1 while the lockout guard or IAS itself lets no logon of the connection's client ID through, as of the last attempt.",
		}, byConnection),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sfbroker_lockout_guard_refusals_total",
			Help: "Logons that the lockout guard did not let through, by reason.",
		}, []string{"reason"}),
	}
	if reg != nil {
		reg.MustRegister(m.exchanges, m.duration, m.expiry, m.failedLogons, m.locked, m.refusals)
	}
	return m
}

func (m *Metrics) exchanged(connection, outcome string, took time.Duration) {
	if m == nil {
		return
	}
	m.exchanges.WithLabelValues(connection, outcome).Inc()
	m.duration.WithLabelValues(connection).Observe(took.Seconds())
}

func (m *Metrics) tokenExpires(connection string, at time.Time) {
	if m == nil {
		return
	}
	seconds := 0.0
	if !at.IsZero() {
		seconds = float64(at.UnixMilli()) / 1000
	}
	m.expiry.WithLabelValues(connection).Set(seconds)
}

func (m *Metrics) lockout(connection string, failedLogons int, locked bool) {
	if m == nil {
		return
	}
	m.failedLogons.WithLabelValues(connection).Set(float64(failedLogons))
	v := 0.0
	if locked {
		v = 1
	}
	m.locked.WithLabelValues(connection).Set(v)
}

func (m *Metrics) guardRefused(reason GuardReason) {
	if m != nil {
		m.refusals.WithLabelValues(string(reason)).Inc()
	}
}
