package ias

import (
	"sync"
	"time"
)

// limiter counts requests in fixed windows of a minute.
type limiter struct {
	perMinute int
	now       func() time.Time

	mu     sync.Mutex
	window time.Time
	used   int
}

func (l *limiter) take() bool {
	window := l.now().Truncate(time.Minute)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !window.Equal(l.window) {
		l.window, l.used = window, 0
	}
	if l.used >= l.perMinute {
		return false
	}
	l.used++
	return true
}
