package broker

import (
	"context"
	"sync"
	"time"

	"sfbroker/broker/diagnosis"
)

// recoveryPace is how often a connection that is broken on SuccessFactors' side is looked at again. Without it a broker that
// a load balancer took out for its readiness would never see the request that proves it well.
const recoveryPace = 30 * time.Second

// suspicionPace is how often callers' failures make the broker look for itself.
const suspicionPace = 5 * time.Second

// recovery looks after a connection until it is closed: by itself while it is broken, and when a caller met a failure that
// may be the connection's.
type recovery struct {
	life    context.Context //nolint:containedctx // the connection's: what the broker asks for itself ends with it
	cancel  context.CancelFunc
	done    sync.WaitGroup
	suspect chan struct{}
}

// look asks for a look, soon. It never blocks.
func (r *recovery) look() {
	select {
	case r.suspect <- struct{}{}:
	default:
	}
}

func startRecovery(c *Connection) *recovery {
	ctx, cancel := context.WithCancel(context.Background())
	r := &recovery{life: ctx, cancel: cancel, suspect: make(chan struct{}, 1)}
	r.done.Go(func() {
		tick := time.NewTicker(time.Second) // short, so that an injected clock is noticed
		defer tick.Stop()
		last, suspected := time.Time{}, false
		for {
			select {
			case <-ctx.Done():
				return
			case <-r.suspect:
				suspected = true
			case <-tick.C:
			}
			now := c.cfg.Now()
			h := c.health.state()
			broken := h.finding != nil && h.finding.Origin == diagnosis.FromSuccessFactors
			due := broken && now.Sub(maxTime(last, h.since)) >= recoveryPace || suspected && now.Sub(last) >= suspicionPace
			if due {
				last, suspected = now, false
				c.look(ctx)
			}
		}
	})
	return r
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// look reads one row. Probe records what comes of it.
func (c *Connection) look(ctx context.Context) {
	if _, ok := c.keeper.Current(); !ok {
		return // the keeper is at work on it
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	was, sent := c.health.state().finding != nil, c.cfg.Now()
	_, f := c.Probe(ctx, c.cfg.Probes[0])
	if f != nil && f.Code == diagnosis.PermissionMissing {
		c.health.ok(sent) // SuccessFactors let us in
	}
	if was && c.health.state().finding == nil {
		c.cfg.Logger.Info("connection works again")
	}
}

func (r *recovery) close() {
	r.cancel()
	r.done.Wait()
}
