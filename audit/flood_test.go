package audit_test

import (
	"net/netip"
	"testing"
	"time"

	"sfbroker/audit"
)

// TestFloodIsCountedNotRecorded: a peer's first denials are all worth a record, then one a second, which counts the others;
// another peer is not affected, until all of them together are a flood.
func TestFloodIsCountedNotRecorded(t *testing.T) {
	now := fixed()
	f := audit.NewFlood(func() time.Time { return now })
	one, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	recorded := 0
	for range 1000 {
		if worth, _ := f.Worth(one); worth {
			recorded++
		}
	}
	if recorded < 10 || recorded > 50 {
		t.Errorf("%d of 1000 recorded", recorded)
	}
	worth, suppressed := f.Worth(other)
	if !worth || suppressed != 1000-recorded {
		t.Errorf("another peer: %v, %d suppressed; want true, %d", worth, suppressed, 1000-recorded)
	}
	if worth, _ := f.Worth(netip.MustParseAddr("::ffff:192.0.2.1")); worth {
		t.Error("the same address in its IPv6 spelling is another one")
	}
	now = now.Add(time.Second)
	if worth, suppressed := f.Worth(one); !worth || suppressed != 1 {
		t.Errorf("a second later: %v, %d suppressed", worth, suppressed)
	}
	if worth, _ := f.Worth(one); worth {
		t.Error("two in that second")
	}
	now = now.Add(time.Minute)
	if worth, _ := f.Worth(one); !worth {
		t.Error("a minute later")
	}
	recorded = 0
	now = now.Add(time.Second)
	for i := range 20_000 {
		if worth, _ := f.Worth(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})); worth {
			recorded++
		}
	}
	if recorded == 0 || recorded > 100 {
		t.Errorf("%d records in a second of 20,000 addresses", recorded)
	}
}
