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

// recovery looks after a broken connection until it is closed.
type recovery struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
}

func startRecovery(c *Connection) *recovery {
	ctx, cancel := context.WithCancel(context.Background())
	r := &recovery{cancel: cancel}
	r.done.Go(func() {
		tick := time.NewTicker(time.Second) // short, so that an injected clock is noticed
		defer tick.Stop()
		last := c.cfg.Now()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			now := c.cfg.Now()
			if h := c.health.state(); h.finding == nil || h.finding.Origin != diagnosis.FromSuccessFactors {
				last = now
				continue
			}
			if now.Sub(last) < recoveryPace {
				continue
			}
			last = now
			c.look(ctx)
		}
	})
	return r
}

// look reads one row. Probe records what comes of it.
func (c *Connection) look(ctx context.Context) {
	if _, ok := c.keeper.Current(); !ok {
		return // the keeper is at work on it
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if _, f := c.Probe(ctx, c.cfg.Probes[0]); f == nil || !concernsConnection(f.Code) {
		c.health.ok()
		c.cfg.Logger.Info("connection works again")
	}
}

func (r *recovery) close() {
	r.cancel()
	r.done.Wait()
}
