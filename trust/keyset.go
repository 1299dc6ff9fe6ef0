package trust

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Times of a key set.
const (
	refreshInterval = time.Hour        // background refresh, give or take a tenth
	firstRetry      = time.Minute      // after a failed refresh, doubling
	lastRetry       = 15 * time.Minute // the longest pause after failures
	staleCeiling    = 48 * time.Hour   // a set not confirmed for so long is not used
	demandInterval  = 30 * time.Second // between fetches for unknown key IDs
	fetchDeadline   = 10 * time.Second // for one refresh, discovery included
	tick            = time.Second      // how often the clock is looked at
	clockTolerance  = time.Second      // a clock further back than that was set back
)

// KeySetState is how one issuer's key set stands.
type KeySetState struct {
	Issuer string
	// JWKSURI is the configured or discovered address, or the file's path.
	JWKSURI string
	// Keys counts the usable keys; zero when none was loaded.
	Keys int
	// FetchedAt is when the set in use was last confirmed; zero when never.
	FetchedAt time.Time
	// LastError is what the last refresh ended with; nil after success.
	LastError error
}

// snapshot is a key set as it was published once. It is replaced whole.
type snapshot struct {
	keySetDocument
	fetchedAt time.Time
	file      os.FileInfo // the file it came from; nil for fetched sets
}

func (s *snapshot) stale(now time.Time) bool { return now.Sub(s.fetchedAt) > staleCeiling }

// find returns the key that a key ID names; no key ID names the only key.
func (s *snapshot) find(keyID string) (*publicKey, *Refusal) {
	if keyID == "" {
		return s.only()
	}
	if key := s.keys[keyID]; key != nil {
		return key, nil
	}
	if why, published := s.unsuitable[keyID]; published {
		return nil, mismatch(ReasonKeyUnsuitable, "a usable key "+keyID, why)
	}
	return nil, mismatch(ReasonKeyUnknown, fmt.Sprintf("one of %d published keys", s.count), keyID,
		"the key was withdrawn, or the assertion comes from another issuer than it says")
}

func (s *snapshot) only() (*publicKey, *Refusal) {
	if s.count != 1 {
		return nil, mismatch(ReasonKeyIDMissing, fmt.Sprintf("a kid, as the issuer has %d keys", s.count), "none")
	}
	return s.single, nil
}

// keySet is the state of one issuer's keys. A known key is a pointer load and
// a map lookup away and waits for nobody.
type keySet struct {
	issuer, jwksURI, path string

	fetch   *fetcher
	now     func() time.Time
	logger  *slog.Logger
	metrics *Metrics
	jobs    *background

	current atomic.Pointer[snapshot]
	due     atomic.Int64 // next background refresh, Unix nanoseconds; 0 before the first use
	planned atomic.Int64 // when due was set, Unix nanoseconds

	mu         sync.Mutex
	inFlight   *flight
	discovered string
	demandedAt time.Time // last fetch for an unknown key; zero when none counts
	lastErr    error
	failures   int
	watching   bool
	retryFile  os.FileInfo // the file version that failed to parse
}

// flight is one refresh that any number of callers wait for.
type flight struct {
	done chan struct{}
	err  error // read after done
}

func newKeySet(source Rule, r *Rules, fetch *fetcher) *keySet {
	return &keySet{
		issuer: source.Issuer, jwksURI: source.JWKSURI, path: source.KeysFile,
		fetch: fetch, now: r.now, logger: r.logger, metrics: r.metrics, jobs: r.jobs,
	}
}

func (s *keySet) state() KeySetState {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := KeySetState{Issuer: s.issuer, JWKSURI: s.jwksURI, LastError: s.lastErr}
	switch {
	case s.path != "":
		state.JWKSURI = s.path
	case state.JWKSURI == "":
		state.JWKSURI = s.discovered
	}
	if set := s.current.Load(); set != nil {
		state.Keys, state.FetchedAt = set.count, set.fetchedAt
	}
	return state
}

// key returns the key that keyID names. It fetches only when the set at hand
// does not have it, and then within the limits of demand.
func (s *keySet) key(ctx context.Context, keyID string) (*publicKey, *Refusal) {
	now := s.now()
	if s.path != "" {
		s.readFile(now)
		return s.fromSnapshot(now, keyID)
	}
	s.refreshIfDue(now)
	key, refusal := s.fromSnapshot(now, keyID)
	if refusal == nil || !worthFetching(refusal.Reason) {
		return key, refusal
	}
	f := s.demand(now, keyID)
	if f == nil {
		return nil, refusal
	}
	select {
	case <-f.done:
		return s.fromSnapshot(s.now(), keyID)
	case <-ctx.Done():
		return nil, refuse(ReasonKeysUnreachable, fmt.Errorf("waiting for the keys of %q: %w", s.issuer, context.Cause(ctx)))
	}
}

// worthFetching: a published but weak key, or an assertion without kid among
// several keys, is no better after a fetch.
func worthFetching(reason Reason) bool {
	return reason == ReasonKeyUnknown || reason == ReasonKeysUnreachable || reason == ReasonKeysStale
}

func (s *keySet) fromSnapshot(now time.Time, keyID string) (*publicKey, *Refusal) {
	set := s.current.Load()
	if set == nil {
		return nil, s.withCause(ReasonKeysUnreachable)
	}
	if set.stale(now) {
		return nil, s.withCause(ReasonKeysStale)
	}
	key, refusal := set.find(keyID)
	if refusal != nil && refusal.Reason == ReasonKeyUnknown {
		// The last refresh failed, so whether the issuer has the key is not known.
		if err := s.lastError(); err != nil {
			refusal.Reason, refusal.Err = ReasonKeysUnreachable, err
		}
	}
	return key, refusal
}

func (s *keySet) withCause(reason Reason) *Refusal { return refuse(reason, s.lastError()) }

func (s *keySet) lastError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lastErr
}

// demand returns the refresh to wait for when a key is unknown: the one in
// flight, or a new one, or nil when the last one was less than 30 s ago. A
// fetch that brought the key it was made for does not count: bad key IDs must
// not spend what a rotation needs.
func (s *keySet) demand(now time.Time, keyID string) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inFlight != nil {
		return s.inFlight
	}
	// A clock set back must not lock the issuer out: then elapsed is negative.
	if elapsed := now.Sub(s.demandedAt); elapsed >= 0 && elapsed < demandInterval {
		return nil
	}
	s.demandedAt = now
	return s.launch(keyID)
}

// refreshIfDue starts a background refresh and waits for nothing.
func (s *keySet) refreshIfDue(now time.Time) {
	if !s.isDue(now) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clampLocked(now)
	if s.inFlight == nil && s.isDue(now) {
		s.launch("")
	}
}

// isDue takes a clock that was set back for a reason to refresh: how much of the
// pause has passed is not known any more.
func (s *keySet) isDue(now time.Time) bool {
	due := s.due.Load()
	return due != 0 && (now.UnixNano() >= due || setBack(now, time.Unix(0, s.planned.Load())))
}

// plan sets the next background refresh; the caller holds mu.
func (s *keySet) plan(now time.Time, pause time.Duration) {
	s.planned.Store(now.UnixNano())
	s.due.Store(now.Add(jitter(pause)).UnixNano())
}

// clampLocked lets a set that was confirmed in the future, by a clock set back,
// grow stale from now on.
func (s *keySet) clampLocked(now time.Time) {
	if set := s.current.Load(); set != nil && setBack(now, set.fetchedAt) {
		clamped := *set
		clamped.fetchedAt = now
		s.current.Store(&clamped)
		s.metrics.loaded(s.issuer, set.count, now)
	}
}

func setBack(now, before time.Time) bool { return now.Before(before.Add(-clockTolerance)) }

// launch starts a refresh; the caller holds mu.
func (s *keySet) launch(keyID string) *flight {
	f := &flight{done: make(chan struct{})}
	s.inFlight = f
	if !s.watching {
		s.watching = s.jobs.start(s.watch)
	}
	if !s.jobs.start(func(ctx context.Context) { s.fly(ctx, f, keyID) }) {
		s.inFlight, s.lastErr = nil, s.fault(OutcomeClosed, "closed", nil)
		f.err = s.lastErr
		close(f.done)
	}
	return f
}

// watch looks at the clock, so that refreshes happen while nobody asks and
// follow an injected clock too.
func (s *keySet) watch(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.refreshIfDue(s.now())
		}
	}
}

func (s *keySet) fly(ctx context.Context, f *flight, keyID string) {
	ctx, cancel := context.WithTimeout(ctx, fetchDeadline)
	defer cancel()
	set, err := s.load(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if err != nil {
		s.failed(now, err)
	} else {
		set.fetchedAt = now
		s.replace(set)
		s.failures = 0
		s.plan(now, refreshInterval)
		if _, refusal := set.find(keyID); refusal == nil && keyID != "" {
			s.demandedAt = time.Time{}
		}
	}
	f.err = err
	s.inFlight = nil
	close(f.done)
}

func (s *keySet) failed(now time.Time, err error) {
	pause := min(firstRetry<<min(s.failures, 10), lastRetry)
	s.failures++
	s.lastErr = err
	// The address may have moved: discover it again.
	s.discovered = ""
	s.plan(now, pause)
	s.metrics.fetched(outcomeOf(err))
	s.logger.Warn("key set not refreshed", "issuer", s.issuer, "error", err)
}

// replace puts a good set in place of the old one; the caller holds mu.
func (s *keySet) replace(set *snapshot) {
	s.current.Store(set)
	s.lastErr = nil
	s.metrics.fetched(OutcomeOK)
	s.metrics.loaded(s.issuer, set.count, set.fetchedAt)
	if set.private > 0 {
		s.logger.Error("issuer publishes private or symmetric keys, they are not used", "issuer", s.issuer, "keys", set.private)
	}
}

// jitter spreads refreshes by a tenth either way.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64())) //nolint:gosec // G404: spreads load, keeps no secret
}

// load discovers the address if need be, fetches the set and parses it.
func (s *keySet) load(ctx context.Context) (*snapshot, error) {
	jwksURI, err := s.address(ctx)
	if err != nil {
		return nil, s.named(err)
	}
	body, err := s.fetch.get(ctx, jwksURI)
	if err != nil {
		return nil, s.named(err)
	}
	return s.parse(body)
}

func (s *keySet) address(ctx context.Context) (string, error) {
	if s.jwksURI != "" {
		return s.jwksURI, nil
	}
	s.mu.Lock()
	known := s.discovered
	s.mu.Unlock()
	if known != "" {
		return known, nil
	}
	found, err := s.fetch.discover(ctx, s.issuer)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.discovered = found
	return found, nil
}

func (s *keySet) parse(body []byte) (*snapshot, error) {
	document, err := parseKeySet(string(body), s.issuer)
	if err != nil {
		return nil, s.named(err)
	}
	return &snapshot{keySetDocument: *document}, nil
}

func (s *keySet) fault(outcome Outcome, detail string, err error) error {
	return &KeySetError{Issuer: s.issuer, Outcome: outcome, Detail: detail, Err: err}
}

// named puts the issuer into an error of the rooms below, which do not know it.
func (s *keySet) named(err error) error {
	if fault := (*KeySetError)(nil); errors.As(err, &fault) {
		fault.Issuer = s.issuer
		return fault
	}
	return s.fault(OutcomeUnreachable, "no answer", err)
}
