package sandbox

import (
	"sync/atomic"
	"time"
)

// clock is what all stand-ins read: a base clock and an offset that can be set.
type clock struct {
	base   func() time.Time
	offset atomic.Int64
}

func newClock(base func() time.Time) *clock {
	if base == nil {
		base = time.Now
	}
	return &clock{base: base}
}

func (c *clock) Now() time.Time {
	return c.base().Add(time.Duration(c.offset.Load()))
}
