package audit

import (
	"net/netip"
	"sync"
	"time"
)

// Bounds of what a Flood lets through.
const (
	floodFree      = 30   // records a minute for one address
	floodBeyond    = 1    // records a second for one address beyond that
	floodAll       = 50   // records a second over all addresses
	floodAddresses = 4096 // addresses remembered
)

// Flood says which denials of unknown peers are worth a record: anybody who reaches a listener can make them, and they must
// not fill the disk that the records of everybody else need. What is left out is counted.
type Flood struct {
	mu         sync.Mutex
	now        func() time.Time
	peers      map[netip.Addr]*peer
	second     time.Time // of the records over all addresses
	all        int
	suppressed int
}

type peer struct {
	minute time.Time
	count  int
	second time.Time // of the last record beyond the free ones
}

// NewFlood returns a Flood on the clock now.
func NewFlood(now func() time.Time) *Flood {
	return &Flood{now: now, peers: map[netip.Addr]*peer{}}
}

// Worth reports whether a denial of addr is to be recorded, and how many were left out before it. It counts the denial.
func (f *Flood) Worth(addr netip.Addr) (worth bool, suppressed int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if now.Sub(f.second) >= time.Second || now.Before(f.second) {
		f.second, f.all = now, 0
	}
	if f.all >= floodAll || !f.peer(addr, now).worth(now) {
		f.suppressed++
		return false, 0
	}
	f.all++
	suppressed, f.suppressed = f.suppressed, 0
	return true, suppressed
}

func (f *Flood) peer(addr netip.Addr, now time.Time) *peer {
	addr = addr.Unmap()
	p := f.peers[addr]
	if p == nil {
		for any := range f.peers { // any will do: looking for the oldest would let a flood cost us time
			if len(f.peers) < floodAddresses {
				break
			}
			delete(f.peers, any)
		}
		p = &peer{minute: now}
		f.peers[addr] = p
	}
	return p
}

func (p *peer) worth(now time.Time) bool {
	if now.Sub(p.minute) >= time.Minute || now.Before(p.minute) {
		p.minute, p.count = now, 0
	}
	if p.count++; p.count <= floodFree {
		return true
	}
	if now.Sub(p.second) < time.Second/floodBeyond && !now.Before(p.second) {
		return false
	}
	p.second = now
	return true
}
