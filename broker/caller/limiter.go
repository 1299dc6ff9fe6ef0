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
}

func newLimiter(limit int, now func() time.Time) *limiter {
	return &limiter{limit: limit, now: now, windows: map[netip.Addr]*window{}}
}

// record counts one failure of addr and returns how long the address is over its limit, 0 while it is not.
func (l *limiter) record(addr netip.Addr) time.Duration {
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
		return 0
	}
	return time.Minute - now.Sub(w.start)
}

// evict makes room for one window: any will do, and looking for the oldest would let a flood of addresses cost us time.
func (l *limiter) evict() {
	for addr := range l.windows {
		delete(l.windows, addr)
		return
	}
}
