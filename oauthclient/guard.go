package oauthclient

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
)

const (
	// failedLogonBudget: IAS locks a client ID at the 5th failed logon. Three are
	// spent here, the 4th is the probe, the 5th is the operator's.
	failedLogonBudget = 3
	probeInterval     = 60 * time.Minute // as long as IAS's lock lasts
	holderTimeout     = 2 * time.Minute
)

// GuardConfig configures a Guard.
type GuardConfig struct {
	// Dir is the state directory. The guard keeps its files in Dir/lockout (0700);
	// processes that use the same Dir share the count. Empty keeps the count in
	// memory, where it ends with the Guard.
	Dir string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// HolderTimeout is the age at which an unsettled try counts as a failed logon.
	// It must exceed the 15 seconds of a round trip. 0 means 2 minutes.
	HolderTimeout time.Duration
	// Metrics may be nil. A nil Logger logs nothing.
	Metrics *Metrics
	Logger  *slog.Logger
}

// Guard keeps this installation from locking a client ID in IAS, which happens
// at 5 failed logons and lasts 60 minutes. Failed logons are counted per token
// endpoint and client ID, across processes and restarts.
//
// A try is reserved before IAS is asked and settled after. Failures and asks in
// flight together never exceed 3. While the last result is not a success there
// is one ask at a time. A reservation whose holder died counts as a failure. So
// does one whose request went out and that got no answer, as long as the client
// is not proven: proven is a client whose last logon that IAS judged succeeded,
// and Unlock takes that back. Neither an outage nor a dead holder does. At
// 3 failures one automatic probe follows 60 minutes after the last one; if it
// fails too, only Unlock allows another. A success and Unlock set the count to
// zero. An assertion that IAS refused, or one alike, is not let through for 60
// minutes or until Unlock. A count that cannot be read or written lets nothing
// through.
type Guard struct {
	cfg   GuardConfig
	store guardStore
	self  holder

	lastID atomic.Uint64
}

// guardStore changes one key's state under a lock that excludes all others who
// hold the same key. change's return says whether to write.
type guardStore interface {
	update(k guardKey, change func(*guardRecord) bool) error
	// reset replaces the state whatever it holds, readable or not.
	reset(k guardKey, change func(*guardRecord) bool) error
	// where names the state of k for a hint.
	where(k guardKey) string
	// peek returns a copy of the state as it was a moment ago, without waiting for
	// others who hold it. The error is errStateHeld when it was never seen.
	peek(k guardKey) (*guardRecord, error)
}

// GuardReason says why the guard let no logon through.
type GuardReason string

// The reasons.
const (
	// GuardLocked: the budget is spent. RetryAt is the probe's time, or zero when
	// only an operator's Unlock helps.
	GuardLocked GuardReason = "locked"
	// GuardBusy: another ask is in flight and only one is allowed; try again soon.
	GuardBusy GuardReason = "busy"
	// GuardAssertionRefused: IAS refused this assertion or one alike.
	GuardAssertionRefused GuardReason = "assertion_refused"
	// GuardUnsafeState: the count cannot be read or written.
	GuardUnsafeState GuardReason = "unsafe_state"
)

// GuardError is a logon that the guard did not let through: IAS was not asked.
type GuardError struct {
	// Reason is the cause.
	Reason GuardReason
	// FailedLogons is the count, Since the time of the last failure.
	FailedLogons int
	Since        time.Time
	// RetryAt is when the guard would let a try through by itself; zero when unknown or never.
	RetryAt time.Time
	// Hint is what an operator can do, or "".
	Hint string
	// Err is the cause: what the disk said, or the refusal that IAS gave, if known.
	Err error
}

// Error implements error.
func (e *GuardError) Error() string {
	var b strings.Builder
	switch e.Reason {
	case GuardBusy:
		b.WriteString("lockout guard: another logon of this client ID is in flight")
	case GuardAssertionRefused:
		b.WriteString("lockout guard: an assertion like this one was refused and is not presented again")
	case GuardUnsafeState:
		b.WriteString("lockout guard: the count of failed logons is not available, so IAS is not asked")
	default:
		fmt.Fprintf(&b, "lockout guard: %d failed logons, IAS is not asked again", e.FailedLogons)
		if e.RetryAt.IsZero() {
			b.WriteString(" until an operator unlocks")
		}
	}
	if !e.RetryAt.IsZero() {
		b.WriteString(" before " + shownTime(e.RetryAt))
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *GuardError) Unwrap() error { return e.Err }

// GuardState is what the guard knows of a client ID.
type GuardState struct {
	// FailedLogons since the last success or unlock; InFlight asks.
	FailedLogons, InFlight int
	// LastFailure is zero when FailedLogons is.
	LastFailure time.Time
	// ProbeAt is when the automatic probe is allowed; set only at 3 failures.
	ProbeAt time.Time
	// NeedsOperator: the probe failed as well, or the state is unsafe.
	NeedsOperator bool
	// Err is a *GuardError with GuardUnsafeState when the count is not available,
	// be it only because another process holds it and this one has never seen it.
	Err error
}

// Outcome is how a try ended.
type Outcome int

// The outcomes.
const (
	// OutcomeNotCounted: IAS did not judge the client (429, 5xx, no connection, ...).
	OutcomeNotCounted Outcome = iota
	// OutcomeSuccess: IAS issued a token.
	OutcomeSuccess
	// OutcomeFailedLogon: IAS refused the client; see Error.FailedLogon.
	OutcomeFailedLogon
	// OutcomeUnknown: the request went out and nobody waited for the answer. It
	// counts as a failure, but says nothing about the assertion.
	OutcomeUnknown
	// OutcomeUnanswered: the request went out and no status came back. It is an
	// OutcomeUnknown until the last logon that IAS judged is a success, and an
	// OutcomeNotCounted after that.
	OutcomeUnanswered
)

// OpenGuard makes the directory if needed and checks that it can be used. An
// unreadable count of one client ID is no error here, but when it is asked for.
func OpenGuard(cfg GuardConfig) (*Guard, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.HolderTimeout <= 0 {
		cfg.HolderTimeout = holderTimeout
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	g := &Guard{cfg: cfg, self: thisProcess(), store: &memoryStore{records: map[guardKey]*guardRecord{}}}
	if cfg.Dir != "" {
		files, err := openFileStore(cfg.Dir)
		if err != nil {
			return nil, fmt.Errorf("opening the lockout guard's directory: %w", err)
		}
		g.store = files
	}
	return g, nil
}

// Reserve takes one try out of the budget. The error is a *GuardError. A Try
// must be settled; one that is not counts as a failed logon.
func (g *Guard) Reserve(tokenURL, clientID string, a AssertionLike) (*Try, error) {
	k := keyOf(tokenURL, clientID)
	id := fmt.Sprintf("%d-%d-%p", g.self.PID, g.lastID.Add(1), g)
	t := &Try{guard: g, key: k, id: id, like: a.hash()}
	var refusal *GuardError
	err := g.store.update(k, func(r *guardRecord) bool {
		now := g.now()
		changed := r.tidy(now, g.cfg.HolderTimeout, g.self)
		if refusal = r.refuse(t.like, now); refusal != nil {
			return changed
		}
		r.Reservations = append(r.Reservations, reservation{ID: id, Holder: g.self, At: now})
		t.everFailed = r.EverFailed
		return true
	})
	if err != nil {
		refusal = g.unsafe(k, err)
	}
	if refusal != nil {
		if refusal.Reason != GuardBusy { // is asked again many times a second
			g.cfg.Metrics.guardRefused(refusal.Reason)
		}
		return nil, refusal
	}
	return t, nil
}

// blocked returns the *GuardError that any assertion would meet, without taking a try.
func (g *Guard) blocked(tokenURL, clientID string) error {
	s := g.State(tokenURL, clientID)
	switch {
	case errors.Is(s.Err, errStateHeld):
		return nil // Reserve waits longer, and has the last word
	case s.Err != nil:
		return s.Err
	case s.FailedLogons >= failedLogonBudget && (s.NeedsOperator || g.now().Before(s.ProbeAt)):
		g.cfg.Metrics.guardRefused(GuardLocked)
		return lockedError(s.FailedLogons, s.LastFailure, s.ProbeAt)
	}
	return nil
}

// State returns what is known of a client ID. It changes nothing and takes at
// most about a tenth of a second: what other processes did is seen within two
// seconds, or later while one of them holds the state.
func (g *Guard) State(tokenURL, clientID string) GuardState {
	k := keyOf(tokenURL, clientID)
	r, err := g.store.peek(k)
	if err != nil {
		return GuardState{NeedsOperator: !errors.Is(err, errStateHeld), Err: g.unsafe(k, err)}
	}
	r.tidy(g.now(), g.cfg.HolderTimeout, g.self)
	return GuardState{
		FailedLogons: r.FailedLogons, InFlight: len(r.Reservations), LastFailure: r.LastFailure,
		ProbeAt: r.probeAt(), NeedsOperator: r.FailedLogons > failedLogonBudget,
	}
}

// Unlock is the operator's word that the cause is fixed and IAS has unlocked the
// client ID: the count goes to zero and refused assertions are forgotten. State
// that could not be read is set aside (suffix .corrupt) and begun anew.
func (g *Guard) Unlock(tokenURL, clientID string) error {
	k := keyOf(tokenURL, clientID)
	err := g.store.reset(k, func(r *guardRecord) bool {
		r.tidy(g.now(), g.cfg.HolderTimeout, g.self)
		r.FailedLogons, r.LastFailure, r.LastResult, r.Refused = 0, time.Time{}, resultNone, nil
		r.Proven = false
		return true
	})
	if err != nil {
		return g.unsafe(k, err)
	}
	g.cfg.Logger.Info("lockout guard unlocked by operator", "client_id", k.ClientID, "token_endpoint", k.Endpoint)
	return nil
}

func (g *Guard) now() time.Time { return g.cfg.Now().Round(0).UTC() }

func (g *Guard) unsafe(k guardKey, err error) *GuardError {
	return &GuardError{
		Reason: GuardUnsafeState, Err: err,
		Hint: fmt.Sprintf("see in IAS whether client ID %s is locked, repair or remove %s, or unlock the connection, which starts its count anew",
			k.ClientID, g.store.where(k)),
	}
}

// Try is one reserved logon.
type Try struct {
	guard      *Guard
	key        guardKey
	id         string
	like       string
	everFailed int64 // the record's when the try was taken
	settled    atomic.Bool
	counted    atomic.Bool // settled as a failed logon
}

// Settle says how the try ended. Only the first call counts. If it cannot be
// recorded, the error is a *GuardError and the try will count as a failed logon.
func (t *Try) Settle(o Outcome) error {
	if !t.settled.CompareAndSwap(false, true) {
		return nil
	}
	var failures int
	var counted bool
	err := t.guard.store.update(t.key, func(r *guardRecord) bool {
		now := t.guard.now()
		r.tidy(now, t.guard.cfg.HolderTimeout, t.guard.self)
		counted = r.settle(t, o, now)
		failures = r.FailedLogons
		return true
	})
	if err != nil {
		return t.guard.unsafe(t.key, fmt.Errorf("recording the outcome of a logon: %w", err))
	}
	t.counted.Store(counted)
	if counted {
		t.guard.cfg.Logger.Warn("failed logon counted", "client_id", t.key.ClientID,
			"token_endpoint", t.key.Endpoint, "failed_logons", failures, "budget", failedLogonBudget, "answered", o == OutcomeFailedLogon)
	}
	return nil
}

// guardKey names a budget. It cannot be had twice by spelling its parts
// differently: the endpoint is host and port alone, as IAS counts per tenant.
type guardKey struct {
	Endpoint, ClientID string
}

func keyOf(tokenURL, clientID string) guardKey {
	return guardKey{Endpoint: endpointOf(tokenURL), ClientID: strings.ToLower(strings.ToUpper(withoutSpace(clientID)))}
}

func endpointOf(tokenURL string) string {
	u, err := url.Parse(withoutSpace(tokenURL))
	if err != nil || u.Host == "" {
		return strings.ToLower(withoutSpace(tokenURL))
	}
	host := strings.TrimRight(strings.ToLower(u.Hostname()), ".")
	port := u.Port()
	if port == "" || port == "443" && u.Scheme == "https" || port == "80" && u.Scheme == "http" {
		return host
	}
	return host + ":" + strings.TrimLeft(port, "0")
}

func withoutSpace(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}

func (k guardKey) hash() string { return hashFields(k.Endpoint, k.ClientID) }

// memoryStore is the state of a guard without a directory.
type memoryStore struct {
	mu      sync.Mutex
	records map[guardKey]*guardRecord
}

func (s *memoryStore) update(k guardKey, change func(*guardRecord) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.records[k].clone()
	if change(r) {
		s.records[k] = r
	}
	return nil
}

func (s *memoryStore) reset(k guardKey, change func(*guardRecord) bool) error {
	return s.update(k, change)
}

func (s *memoryStore) peek(k guardKey) (*guardRecord, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records[k].clone(), nil
}

func (s *memoryStore) where(guardKey) string { return "the count in memory" }

// outcomeOf says how a round trip ended for the guard. canceled: our own process
// gave up waiting.
func outcomeOf(err error, canceled bool) Outcome {
	if err == nil {
		return OutcomeSuccess
	}
	var e *Error
	switch {
	case !errors.As(err, &e):
		return OutcomeNotCounted
	case e.FailedLogon:
		return OutcomeFailedLogon
	case e.unanswered() && canceled:
		return OutcomeUnknown
	case e.unanswered():
		return OutcomeUnanswered
	}
	return OutcomeNotCounted
}
