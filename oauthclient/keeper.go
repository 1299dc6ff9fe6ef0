package oauthclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	forceInterval  = 5 * time.Minute
	testInterval   = time.Minute
	maxMargin      = 30 * time.Second
	firstBackoff   = 250 * time.Millisecond
	maxBackoff     = 30 * time.Second
	maxUnanswered  = 2 * time.Minute  // ceiling after logons whose answer was lost
	afterCounted   = 30 * time.Second // least pause after one that the guard counted
	assertTimeout  = 30 * time.Second
	closeGrace     = 2 * time.Second
	longestLook    = time.Second
	shortestLook   = 10 * time.Millisecond
	clockTolerance = time.Second
)

// ErrKeeperClosed is what a keeper answers after Close.
var ErrKeeperClosed = errors.New("the token keeper is closed")

// RefusedError says that SuccessFactors refused a token that had just been
// obtained because it had refused the one before. No exchange is forced until
// RetryAt.
type RefusedError struct {
	// RetryAt is when the keeper obtains a token again by itself.
	RetryAt time.Time
}

// Error implements error.
func (e *RefusedError) Error() string {
	return "a fresh access token was refused upstream; no new one is obtained before " + shownTime(e.RetryAt)
}

// KeeperConfig configures a Keeper.
type KeeperConfig struct {
	// Name is the connection's name, for logs and metric labels.
	Name string
	// Application must be set whole but for Issuers.
	Application Application
	// Assert acquires an assertion and checks it against the trust rule. It is
	// called once per exchange, never twice at a time. It must be set and must honour
	// its context.
	Assert func(ctx context.Context) (Assertion, error)
	// HTTPClient must be set; see NewHTTPClient.
	HTTPClient *http.Client
	// Guard is shared by all keepers of a process. nil means one of its own, in memory.
	Guard *Guard
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// A nil Logger logs nothing; Metrics may be nil.
	Logger  *slog.Logger
	Metrics *Metrics
	// ForceInterval is the least time between two exchanges forced by refused
	// tokens. 0 means 5 minutes.
	ForceInterval time.Duration
	// Revision is a hash of the connection's own compiled settings; part of Key.
	Revision string
	// OnReplace, if set, is called with a token that stopped serving other than by
	// renewal: it was refused, or it expired with no successor. What hangs on it
	// (login sessions) must go. It must not call the keeper.
	OnReplace func(old Token)
}

// Key names the token that this configuration asks for: two configurations with
// equal keys can share a keeper across a reload.
func (c KeeperConfig) Key() string {
	return hashFields(c.Application.TokenURL, c.Application.ClientID, c.Application.Resource, "jwt", c.Revision)
}

// Keeper holds one token and renews it in the background before anyone has to
// wait: at a random point between 70 and 85 % of its usable life, which ends 30
// seconds (or a tenth of the life, if less) before the token does. At most one
// exchange is in flight. A keeper is safe for concurrent use.
type Keeper struct {
	cfg    KeeperConfig
	launch func(*flight)

	current   atomic.Pointer[heldToken]
	lookAt    atomic.Int64 // unix nanoseconds at which a use wakes the loop
	exchanges atomic.Int64
	wake      chan struct{}
	stop      chan struct{}
	abandon   context.CancelFunc
	running   sync.WaitGroup

	mu           sync.Mutex
	closed       bool
	attempted    bool
	flight       *flight
	failures     int // in a row, for the backoff
	lastErr      error
	lastErrAt    time.Time
	nextAttempt  time.Time
	forcedAt     time.Time // last exchange forced by a refused token
	refusedUntil time.Time // set while the fresh token was refused as well
	testedAt     time.Time // last Force
	lastLook     time.Time
	log          causeLog
}

// heldToken is immutable. Times are wall clock: a machine that slept must notice.
type heldToken struct {
	token    Token
	renewAt  time.Time
	from, to int64 // usable in [from, to), unix nanoseconds
}

func (h *heldToken) usable(now int64) bool { return h != nil && now < h.to && now >= h.from }

// flight is one exchange that any number of callers wait for.
type flight struct {
	done chan struct{}
	held *heldToken // valid after done
	err  error      // valid after done
}

// KeeperState is what a keeper knows, for status.
type KeeperState struct {
	// HasToken: a usable token is held; Expiry is its end.
	HasToken bool
	Expiry   time.Time
	// LastError is the failure of the last attempt, nil after a success.
	LastError   error
	LastErrorAt time.Time
	// NextAttempt is when the next exchange is planned.
	NextAttempt time.Time
	// Exchanges counts requests to the token endpoint.
	Exchanges int64
	// RefusedUntil is set while a fresh token was refused as well.
	RefusedUntil time.Time
	// Attempted: at least one attempt has ended, well or not.
	Attempted bool
}

// NewKeeper starts a keeper, which begins its first exchange at once. Close it.
func NewKeeper(cfg KeeperConfig) *Keeper {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.ForceInterval <= 0 {
		cfg.ForceInterval = forceInterval
	}
	if cfg.Guard == nil {
		cfg.Guard, _ = OpenGuard(GuardConfig{Now: cfg.Now, Metrics: cfg.Metrics, Logger: cfg.Logger}) // in memory: cannot fail
	}
	// Two lifetimes: Close ends the acquiring of assertions at once, but gives a
	// logon that is on its way a moment to be counted right.
	stopped, cancelStopped := context.WithCancel(context.Background())
	abandoned, abandon := context.WithCancel(context.Background())
	k := &Keeper{
		cfg: cfg, wake: make(chan struct{}, 1), stop: make(chan struct{}), abandon: abandon,
		log: causeLog{logger: cfg.Logger.With("connection", cfg.Name, "client_id", cfg.Application.ClientID)},
	}
	k.launch = func(f *flight) { k.running.Go(func() { k.fly(stopped, abandoned, f) }) }
	k.lookAt.Store(math.MaxInt64)
	k.lastLook = k.now()
	k.mu.Lock()
	k.startLocked(k.lastLook)
	k.mu.Unlock()
	k.running.Go(func() {
		defer cancelStopped()
		k.run()
	})
	return k
}

func (k *Keeper) now() time.Time { return k.cfg.Now().Round(0) }

// Token returns the token. It waits only when there is no usable one, and no
// longer than ctx. While there is none and the last attempt failed a moment ago,
// it returns that failure at once. The error unwraps to *Error, *GuardError,
// *TokenError, *RefusedError, to what Assert returned or to ctx's error.
func (k *Keeper) Token(ctx context.Context) (Token, error) {
	h, now := k.current.Load(), k.cfg.Now().UnixNano()
	if h.usable(now) {
		if due := k.lookAt.Load(); now >= due && k.lookAt.CompareAndSwap(due, math.MaxInt64) {
			k.nudge()
		}
		return h.token, nil
	}
	k.mu.Lock()
	return k.obtainLocked(ctx)
}

// Current returns the usable token, if there is one, without side effects.
func (k *Keeper) Current() (Token, bool) {
	h := k.current.Load()
	if !h.usable(k.cfg.Now().UnixNano()) {
		return Token{}, false
	}
	return h.token, true
}

// Refused reports that upstream refused a token. That token is dropped if it is
// still the current one, and one forced exchange per ForceInterval replaces it;
// callers that report the same token share it. It returns the token to try
// again with. When the interval is spent the error is a *RefusedError.
func (k *Keeper) Refused(ctx context.Context, refused Token) (Token, error) {
	k.mu.Lock()
	h, now := k.current.Load(), k.now()
	if k.closed || h == nil || !h.token.AccessToken.Equal(refused.AccessToken) || !h.usable(now.UnixNano()) {
		return k.obtainLocked(ctx) // dropped or replaced already
	}
	k.current.Store(nil)
	k.cfg.Metrics.tokenExpires(k.cfg.Name, time.Time{})
	retryAt := k.forcedAt.Add(k.cfg.ForceInterval)
	spent := !k.forcedAt.IsZero() && now.Before(retryAt)
	var f *flight
	var err error
	switch {
	case k.flight != nil:
		f = k.flight
		if !spent {
			k.forcedAt = now
		}
	case spent:
		k.refusedUntil = retryAt
		err = &RefusedError{RetryAt: retryAt}
		k.failedLocked(err, now)
	case k.throttledLocked(now):
		err = k.lastErr
	default:
		k.forcedAt = now
		f = k.startLocked(now)
	}
	k.mu.Unlock()
	k.dropped(h)
	if err != nil {
		return Token{}, err
	}
	return k.join(ctx, f)
}

// Force does a fresh exchange, for an operator's test: at most one a minute, in
// between it answers as Token does. The old token serves until the new one is
// there, and if the exchange fails.
func (k *Keeper) Force(ctx context.Context) (Token, error) {
	k.mu.Lock()
	now := k.now()
	switch {
	case k.closed, k.flight == nil && !k.testedAt.IsZero() && now.Before(k.testedAt.Add(testInterval)):
		return k.obtainLocked(ctx)
	case k.flight == nil && k.throttledLocked(now):
		defer k.mu.Unlock()
		return Token{}, k.lastErr
	}
	f := k.flight
	if f == nil {
		k.testedAt = now
		f = k.startLocked(now)
	}
	k.mu.Unlock()
	return k.join(ctx, f)
}

// State returns what the keeper knows.
func (k *Keeper) State() KeeperState {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	s := KeeperState{
		LastError: k.lastErr, LastErrorAt: k.lastErrAt, NextAttempt: k.nextAttempt,
		Exchanges: k.exchanges.Load(), Attempted: k.attempted,
	}
	if h := k.current.Load(); h.usable(now.UnixNano()) {
		s.HasToken, s.Expiry = true, h.token.Expiry
		if h.renewAt.After(s.NextAttempt) {
			s.NextAttempt = h.renewAt
		}
	}
	if k.refusedUntil.After(now) {
		s.RefusedUntil, s.NextAttempt = k.refusedUntil, k.refusedUntil
	}
	return s
}

// Close ends the keeper and waits for its goroutines. A logon in flight gets two
// seconds to end. Callers that wait get ErrKeeperClosed or the flight's result.
func (k *Keeper) Close() {
	k.mu.Lock()
	if !k.closed {
		k.closed = true
		close(k.stop)
	}
	k.mu.Unlock()
	grace := time.AfterFunc(closeGrace, k.abandon)
	k.running.Wait()
	grace.Stop()
	k.abandon()
	k.current.Store(nil)
}

// obtainLocked unlocks. It returns the usable token, joins the flight, starts
// one, or says why not now.
func (k *Keeper) obtainLocked(ctx context.Context) (Token, error) {
	now := k.now()
	h, f := k.current.Load(), k.flight
	var err error
	switch {
	case k.closed:
		err = ErrKeeperClosed
	case h.usable(now.UnixNano()):
		defer k.mu.Unlock()
		return h.token, nil
	case f != nil:
	case now.Before(k.refusedUntil):
		err = &RefusedError{RetryAt: k.refusedUntil}
	case k.lastErr != nil && now.Before(k.nextAttempt):
		err = k.lastErr
	default:
		f = k.startLocked(now)
	}
	k.mu.Unlock()
	if err != nil {
		return Token{}, err
	}
	return k.join(ctx, f)
}

func (k *Keeper) join(ctx context.Context, f *flight) (Token, error) {
	select {
	case <-f.done:
	default:
		select {
		case <-f.done:
		case <-ctx.Done():
			return Token{}, fmt.Errorf("waiting for a token of connection %q: %w", k.cfg.Name, context.Cause(ctx))
		}
	}
	if f.err != nil {
		return Token{}, f.err
	}
	// The waiter may have slept through the token's life.
	if now := k.now(); !f.held.usable(now.UnixNano()) {
		return Token{}, &TokenError{CheckExpiry, "a time after " + shownTime(now), shownTime(f.held.token.Expiry)}
	}
	return f.held.token, nil
}

func (k *Keeper) startLocked(now time.Time) *flight {
	if !k.refusedUntil.IsZero() {
		// What follows a refusal is the one exchange of the next interval.
		k.refusedUntil, k.forcedAt = time.Time{}, now
	}
	k.flight = &flight{done: make(chan struct{})}
	k.lookAt.Store(math.MaxInt64)
	k.launch(k.flight)
	return k.flight
}

func (k *Keeper) throttledLocked(now time.Time) bool {
	var e *Error
	return now.Before(k.nextAttempt) && errors.As(k.lastErr, &e) && e.Kind == KindThrottled
}

// failedLocked plans the next attempt: a jittered, doubling pause, or what the
// server asked for. A refusal by the guard is asked about again at the same
// pace, since an operator may unlock; nothing reaches IAS by that.
func (k *Keeper) failedLocked(err error, now time.Time) {
	k.failures++
	k.lastErr, k.lastErrAt = err, now
	pause := k.backoffLocked(err, now)
	pause = pause/2 + rand.N(pause/2) //nolint:gosec // jitter
	var e *Error
	if errors.As(err, &e) && e.RetryAfter > pause {
		pause = e.RetryAfter
	}
	k.nextAttempt = now.Add(pause)
	k.log.failure(err, now)
}

// backoffLocked is the pause before jitter. IAS may have judged, and counted, a
// logon whose answer was lost, so those are repeated more slowly: there are few
// tries, and with a token in hand there is a reason to hurry before it ends.
func (k *Keeper) backoffLocked(err error, now time.Time) time.Duration {
	doubled := firstBackoff << min(k.failures-1, 10)
	var busy *GuardError
	var e *Error
	switch {
	case errors.As(err, &busy) && busy.Reason == GuardBusy:
		return firstBackoff
	case !errors.As(err, &e) || !e.unanswered() || k.current.Load().usable(now.UnixNano()):
		return min(doubled, maxBackoff, k.hurryLocked(e, now))
	case e.counted:
		doubled = max(doubled, afterCounted)
	}
	return min(doubled, maxUnanswered)
}

// hurryLocked bounds the pause while a token is held: as its end comes nearer an outage that ends in time must not be
// missed by a long pause. What IAS judged, or may have, is no outage.
func (k *Keeper) hurryLocked(e *Error, now time.Time) time.Duration {
	h := k.current.Load()
	if e == nil || e.Kind != KindUnavailable || e.unanswered() || !h.usable(now.UnixNano()) {
		return maxBackoff
	}
	return max(time.Duration(h.to-now.UnixNano())/4, firstBackoff)
}

// dropped tells whoever hangs on a token that it is gone.
func (k *Keeper) dropped(h *heldToken) {
	if k.cfg.OnReplace != nil {
		k.cfg.OnReplace(h.token)
	}
}

func (k *Keeper) nudge() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// run looks after the token until Close. It looks at least once a second of real
// time, because the clock may be moved and machines sleep.
func (k *Keeper) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-k.stop:
			return
		case <-k.wake:
		case <-timer.C:
		}
		timer.Reset(k.look())
	}
}

// look starts an exchange if one is due and returns how long to wait until the
// next look.
func (k *Keeper) look() time.Duration {
	k.mu.Lock()
	now := k.now()
	if back := k.lastLook.Sub(now); back > clockTolerance {
		k.shiftLocked(back)
	}
	k.lastLook = now
	h := k.current.Load()
	usable := h.usable(now.UnixNano())
	var expired *heldToken
	if h != nil && !usable && k.current.CompareAndSwap(h, nil) {
		expired = h
		k.cfg.Metrics.tokenExpires(k.cfg.Name, time.Time{})
	}
	pause := longestLook
	if due := k.dueLocked(h, usable); k.flight == nil && !k.closed {
		if now.Before(due) {
			k.lookAt.Store(due.UnixNano())
			pause = due.Sub(now)
		} else {
			k.startLocked(now)
		}
	}
	if usable {
		pause = min(pause, time.Duration(h.to-h.from)/20)
	}
	k.mu.Unlock()
	if expired != nil {
		k.dropped(expired)
	}
	return min(max(pause, shortestLook), longestLook)
}

// dueLocked is when the next exchange may start.
func (k *Keeper) dueLocked(h *heldToken, usable bool) time.Time {
	due := k.nextAttempt
	if k.refusedUntil.After(due) {
		due = k.refusedUntil
	}
	if usable && h.renewAt.After(due) {
		due = h.renewAt
	}
	return due
}

// shiftLocked moves everything that waits for a time by as much as the clock was
// set back, so that no token outlives its time and no pause becomes endless.
func (k *Keeper) shiftLocked(back time.Duration) {
	if h := k.current.Load(); h != nil {
		s := *h
		s.renewAt = h.renewAt.Add(-back)
		s.from, s.to = h.from-int64(back), h.to-int64(back)
		k.current.Store(&s)
	}
	for _, t := range []*time.Time{&k.nextAttempt, &k.refusedUntil, &k.forcedAt, &k.testedAt} {
		if !t.IsZero() {
			*t = t.Add(-back)
		}
	}
}
