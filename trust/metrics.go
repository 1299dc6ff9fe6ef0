package trust

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts verdicts, signature checks and key set refreshes. Labels are
// reasons, outcomes and configured issuers, never values of an assertion.
// A nil Metrics counts nothing.
type Metrics struct {
	verdicts   *prometheus.CounterVec
	signatures prometheus.Counter
	fetches    *prometheus.CounterVec
	keys       *prometheus.GaugeVec
	confirmed  *prometheus.GaugeVec
}

// NewMetrics makes and registers the metrics. It panics, as
// prometheus.MustRegister does, when they are registered already: make one
// Metrics and share it.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	m := &Metrics{
		verdicts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sfbroker_trust_verdicts_total",
			Help: "Assertions checked against trust rules, by reason of refusal, or verified.",
		}, []string{"reason"}),
		signatures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sfbroker_trust_signature_checks_total",
			Help: "Signatures of assertions checked.",
		}),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sfbroker_jwks_fetches_total",
			Help: "Refreshes of issuers' key sets, by outcome.",
		}, []string{"outcome"}),
		keys: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sfbroker_jwks_keys",
			Help: "Usable keys in the key set of a configured issuer.",
		}, []string{"issuer"}),
		confirmed: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sfbroker_jwks_refreshed_timestamp_seconds",
			Help: "When the key set of a configured issuer was last refreshed.",
		}, []string{"issuer"}),
	}
	registerer.MustRegister(m.verdicts, m.signatures, m.fetches, m.keys, m.confirmed)
	return m
}

func (m *Metrics) verdict(reason Reason) {
	if m != nil {
		m.verdicts.WithLabelValues(string(reason)).Inc()
	}
}

func (m *Metrics) signatureCheck() {
	if m != nil {
		m.signatures.Inc()
	}
}

func (m *Metrics) fetched(outcome Outcome) {
	if m != nil {
		m.fetches.WithLabelValues(string(outcome)).Inc()
	}
}

func (m *Metrics) loaded(issuer string, keys int, at time.Time) {
	if m != nil {
		m.keys.WithLabelValues(issuer).Set(float64(keys))
		m.confirmed.WithLabelValues(issuer).Set(float64(at.Unix()))
	}
}
