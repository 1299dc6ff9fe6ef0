package caller

import (
	"net/netip"
	"sync"
	"time"
)

// maxAddresses bounds the limiter's memory.
const maxAddresses = 4096

// limiter counts failed logins per address in windows of a minute. IPv6 addresses count by their /64, which is what one
// host usually has.
type limiter struct {
	mu      sync.Mutex
	limit   int
	now     func() time.Time
	windows map[netip.Addr]*window
}

type window struct {
	start time.Time
	count int
	told  time.Time // when a failure over the limit was last worth a record
	quiet int       // failures since then
}

// over says how an address stands after a failure.
type over struct {
	wait       time.Duration // how long it is over its limit, 0 while it is not
	silent     bool          // like the one before it, less than a second ago
	suppressed int           // silent ones before this one
}

func newLimiter(limit int, now func() time.Time) *limiter {
	return &limiter{limit: limit, now: now, windows: map[netip.Addr]*window{}}
}

// record counts one failure of addr. Beyond the limit one failure a second is worth a record: a flood must not fill the
// audit log's disk.
func (l *limiter) record(addr netip.Addr) over {
	addr = addr.Unmap()
	if addr.Is6() {
		if p, err := addr.WithZone("").Prefix(64); err == nil {
			addr = p.Addr()
		}
	}
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.windows[addr]
	if w == nil || now.Sub(w.start) >= time.Minute || now.Before(w.start) {
		if w == nil && len(l.windows) >= maxAddresses {
			l.evict()
		}
		w = &window{start: now}
		l.windows[addr] = w
	}
	w.count++
	if w.count <= l.limit {
		return over{}
	}
	o := over{wait: time.Minute - now.Sub(w.start)}
	if now.Sub(w.told) < time.Second {
		w.quiet++
		o.silent = true
		return o
	}
	o.suppressed, w.quiet, w.told = w.quiet, 0, now
	return o
}

// evict makes room for one window: any will do, and looking for the oldest would let a flood of addresses cost us time.
func (l *limiter) evict() {
	for addr := range l.windows {
		delete(l.windows, addr)
		return
	}
}
