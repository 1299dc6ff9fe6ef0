package oauthclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"
)

const (
	// busyPatience is how long a logon waits for another of the same client ID: a
	// little longer than one takes.
	busyPatience = 20 * time.Second
	busyPoll     = 50 * time.Millisecond
	logInterval  = 5 * time.Minute
)

// fly does one exchange and publishes its result.
func (k *Keeper) fly(stopped, abandoned context.Context, f *flight) {
	f.held, f.err = k.exchange(stopped, abandoned)
	k.showLockout(f.err)
	now := k.now()
	k.mu.Lock()
	k.flight, k.attempted = nil, true
	switch {
	case k.closed:
		if f.err == nil {
			f.err = ErrKeeperClosed
		}
	case f.err != nil:
		f.err = k.explainLocked(f.err)
		k.failedLocked(f.err, now)
	default:
		k.failures, k.lastErr, k.lastErrAt, k.nextAttempt = 0, nil, time.Time{}, time.Time{}
		k.current.Store(f.held)
		k.cfg.Metrics.tokenExpires(k.cfg.Name, f.held.token.Expiry)
		k.log.success(f.held.token, now)
	}
	k.mu.Unlock()
	close(f.done)
	k.nudge()
}

// explainLocked adds to a refusal by the guard what IAS had said, since that is
// the cause.
func (k *Keeper) explainLocked(err error) error {
	var refusal *GuardError
	var before *Error
	if errors.As(err, &refusal) && refusal.Err == nil && errors.As(k.lastErr, &before) && before.FailedLogon {
		explained := *refusal
		explained.Err = before
		return &explained
	}
	return err
}

// exchange acquires an assertion, takes a try out of the guard's budget, asks,
// settles and checks what came. Acquiring ends with stopped, asking with abandoned.
func (k *Keeper) exchange(stopped, abandoned context.Context) (*heldToken, error) {
	app, guard := k.cfg.Application, k.cfg.Guard
	if err := guard.blocked(app.TokenURL, app.ClientID); err != nil {
		return nil, err
	}
	a, err := k.assert(stopped)
	if err != nil {
		return nil, fmt.Errorf("acquiring an assertion: %w", err)
	}
	try, err := k.reserve(stopped, a.Like())
	if err != nil {
		return nil, err
	}
	k.exchanges.Add(1)
	began, sent := time.Now(), k.now()
	resp, err := Exchange(abandoned, k.cfg.HTTPClient, app, a, k.cfg.Now)
	took := time.Since(began)
	if settleErr := try.Settle(outcomeOf(err, abandoned.Err() != nil)); settleErr != nil {
		k.log.logger.Error("logon not recorded", "error", settleErr)
	}
	var failure *Error
	if errors.As(err, &failure) && failure.unanswered() {
		failure.counted = try.counted.Load()
	}
	if err != nil {
		k.cfg.Metrics.exchanged(k.cfg.Name, outcomeLabel(err), took)
		return nil, fmt.Errorf("exchanging the assertion: %w", err)
	}
	token, err := CheckToken(resp, app, k.now())
	if err != nil {
		k.cfg.Metrics.exchanged(k.cfg.Name, "token_refused", took)
		return nil, err
	}
	k.cfg.Metrics.exchanged(k.cfg.Name, "success", took)
	return hold(token, resp, sent), nil
}

func (k *Keeper) assert(stopped context.Context) (Assertion, error) {
	ctx, cancel := context.WithTimeout(stopped, assertTimeout)
	defer cancel()
	a, err := k.cfg.Assert(ctx)
	if err == nil && a.Raw.IsZero() {
		return Assertion{}, errors.New("the source gave an empty assertion")
	}
	return a, err
}

// reserve waits a while for others that are asking for the same client ID.
func (k *Keeper) reserve(stopped context.Context, like AssertionLike) (*Try, error) {
	ctx, cancel := context.WithTimeout(stopped, busyPatience)
	defer cancel()
	tick := time.NewTicker(busyPoll)
	defer tick.Stop()
	for {
		try, err := k.cfg.Guard.Reserve(k.cfg.Application.TokenURL, k.cfg.Application.ClientID, like)
		var refusal *GuardError
		if err == nil || !errors.As(err, &refusal) || refusal.Reason != GuardBusy {
			return try, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-tick.C:
		}
	}
}

func (k *Keeper) showLockout(err error) {
	if k.cfg.Metrics == nil {
		return
	}
	s := k.cfg.Guard.State(k.cfg.Application.TokenURL, k.cfg.Application.ClientID)
	var e *Error
	byIAS := errors.As(err, &e) && e.Kind == KindLocked
	k.cfg.Metrics.lockout(k.cfg.Name, s.FailedLogons, byIAS || s.NeedsOperator || s.FailedLogons >= failedLogonBudget)
}

// hold computes, once, how long a token may serve and when to renew it. For the
// end of its life expires_in runs from when the request was sent, since nobody
// knows when in between IAS began to count.
func hold(t Token, r Response, sent time.Time) *heldToken {
	end := t.Expiry
	if counted := sent.Add(r.ExpiresIn); r.ExpiresIn > 0 && counted.Before(end) {
		end = counted
	}
	life := max(end.Sub(sent), 0)
	usable := life - min(maxMargin, life/10)
	point := 0.70 + 0.15*rand.Float64() //nolint:gosec // jitter
	return &heldToken{
		token:   t,
		renewAt: sent.Add(time.Duration(point * float64(usable))),
		// A clock set back to before the request must not revive the token.
		from: sent.Add(-clockTolerance).UnixNano(),
		to:   sent.Add(usable).UnixNano(),
	}
}

// outcomeLabel is the metric label of a failed round trip; its values are the kinds.
func outcomeLabel(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return string(e.Kind)
	}
	return "other"
}

// causeLog logs a failure when its cause changes, and at most every five minutes
// while it does not.
type causeLog struct {
	logger   *slog.Logger
	cause    string
	at       time.Time
	warnings int
}

func (l *causeLog) failure(err error, now time.Time) {
	cause := causeOf(err)
	if cause == l.cause && now.Sub(l.at).Abs() < logInterval {
		return
	}
	l.cause, l.at = cause, now
	l.logger.Warn("no new access token", "cause", cause, "error", err)
}

func (l *causeLog) success(t Token, now time.Time) {
	if l.cause != "" {
		l.logger.Info("access token obtained again", "expiry", t.Expiry)
	}
	if len(t.Warnings) > 0 && len(t.Warnings) != l.warnings {
		l.logger.Warn("access token is odd", "warnings", t.Warnings)
	}
	l.cause, l.at, l.warnings = "", now, len(t.Warnings)
	l.logger.Debug("access token obtained", "expiry", t.Expiry, "issuer", t.Issuer)
}

// causeOf names the class of a failure, by which log lines are suppressed.
func causeOf(err error) string {
	var (
		refused *RefusedError
		guard   *GuardError
		token   *TokenError
		request *Error
	)
	switch {
	case errors.As(err, &refused):
		return "refused_upstream"
	case errors.As(err, &guard):
		return "guard_" + string(guard.Reason)
	case errors.As(err, &token):
		return "token_" + string(token.Check)
	case errors.As(err, &request):
		return string(request.Kind)
	}
	return "assertion"
}
