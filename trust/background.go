package trust

import (
	"context"
	"sync"
)

// background owns the goroutines of a rule set, so that Close can end them
// and wait.
type background struct {
	mu      sync.Mutex
	closed  bool
	next    int
	cancels map[int]context.CancelFunc
	wg      sync.WaitGroup
}

func newBackground() *background {
	return &background{cancels: make(map[int]context.CancelFunc)}
}

// start runs job in a goroutine with a context that ends at close. It reports
// false, and runs nothing, once closed.
func (b *background) start(job func(ctx context.Context)) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	ctx, cancel := context.WithCancel(context.Background())
	id := b.next
	b.next++
	b.cancels[id] = cancel
	b.wg.Go(func() {
		defer b.forget(id)
		job(ctx)
	})
	return true
}

func (b *background) forget(id int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cancels[id]()
	delete(b.cancels, id)
}

func (b *background) close() {
	b.mu.Lock()
	b.closed = true
	for _, cancel := range b.cancels {
		cancel()
	}
	b.mu.Unlock()
	b.wg.Wait()
}
