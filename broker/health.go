package broker

import (
	"sync"
	"time"

	"sfbroker/broker/diagnosis"
)

// health remembers what is broken on the SuccessFactors side of a connection and since when. The token's side is the
// keeper's to know.
type health struct {
	mu      sync.Mutex
	now     func() time.Time
	finding *diagnosis.Finding
	since   time.Time
	hit     map[string]struct{}
	proved  time.Time // last success
	probed  time.Time // last time a 403 was looked into
}

func newHealth(now func() time.Time) *health {
	return &health{now: now, hit: map[string]struct{}{}}
}

// ok records that a request which was sent at that time ended whole: what was broken before it is not any more. A late
// answer ends no newer failure.
func (h *health) ok(sent time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.proved = h.now()
	if h.finding != nil && h.since.After(sent) {
		return
	}
	h.finding, h.since = nil, time.Time{}
	clear(h.hit)
}

// tokenObtained ends a failure on the way to a token: no request has to come first to prove it, and none would come while
// readiness says no.
func (h *health) tokenObtained() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.finding == nil {
		return
	}
	if h.finding.Origin != diagnosis.FromSuccessFactors {
		h.finding, h.since = nil, time.Time{}
		clear(h.hit)
	}
}

// suspect notes that caller met a failure which may be its own request's. It counts only if the connection turns out broken.
func (h *health) suspect(caller string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.hit) < 1000 {
		h.hit[caller] = struct{}{}
	}
}

// broken records a failure that concerns the whole connection. caller may be empty.
func (h *health) broken(f diagnosis.Finding, caller string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.finding == nil {
		h.since = h.now()
	}
	h.finding = &f
	if caller != "" && len(h.hit) < 1000 {
		h.hit[caller] = struct{}{}
	}
}

// mayProbe says whether a 403 may be looked into now: once a minute.
func (h *health) mayProbe() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.probed.IsZero() && h.now().Sub(h.probed) < time.Minute {
		return false
	}
	h.probed = h.now()
	return true
}

type healthState struct {
	finding *diagnosis.Finding
	since   time.Time
	callers int
	proved  time.Time
}

func (h *health) state() healthState {
	h.mu.Lock()
	defer h.mu.Unlock()
	return healthState{finding: h.finding, since: h.since, callers: len(h.hit), proved: h.proved}
}
