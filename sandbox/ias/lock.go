package ias

import "time"

const (
	// LockThreshold is how many failed logons in a row lock a client ID.
	LockThreshold = 5
	// LockDuration is how long it stays locked.
	LockDuration = 60 * time.Minute
)

// ClientState is what an administrator sees of a client ID.
type ClientState struct {
	// FailedLogons is how many failed in a row since the last success, unlock or end of a lock.
	FailedLogons int  `json:"failed_logons"`
	Locked       bool `json:"locked"`
	// LockedUntil is zero when it is not locked.
	LockedUntil time.Time `json:"locked_until,omitzero"`
}

type logons struct {
	failed int
	until  time.Time
}

func (l *logons) state(now time.Time) ClientState {
	if l == nil {
		return ClientState{}
	}
	l.expire(now)
	return ClientState{FailedLogons: l.failed, Locked: !l.until.IsZero(), LockedUntil: l.until}
}

// expire ends a lock whose time is over; the count starts again.
func (l *logons) expire(now time.Time) {
	if !l.until.IsZero() && !now.Before(l.until) {
		*l = logons{}
	}
}

// Lock locks a client ID as five failed logons would.
func (s *Server) Lock(clientID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logons[clientID] = &logons{failed: LockThreshold, until: s.now().Add(LockDuration)}
}

// Unlock is what an administrator does to a locked client ID; the count starts again.
func (s *Server) Unlock(clientID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.logons, clientID)
}

// Client returns the state of a client ID.
func (s *Server) Client(clientID string) ClientState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logons[clientID].state(s.now())
}

// logonFailed counts a failed logon. What arrives while the client ID is locked
// is refused without being looked at, so it never gets here.
func (s *Server) logonFailed(clientID string) {
	s.failedLogons.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.logons[clientID]
	if l == nil {
		l = &logons{}
		s.logons[clientID] = l
	}
	now := s.now()
	l.expire(now)
	l.failed++
	s.maxFailed = max(s.maxFailed, l.failed)
	if l.failed >= LockThreshold && l.until.IsZero() {
		l.until = now.Add(LockDuration)
	}
}

// logonSucceeded starts the count again, unless the client ID was locked
// while this logon was under way.
func (s *Server) logonSucceeded(clientID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.logons[clientID]; l != nil && !l.state(s.now()).Locked {
		delete(s.logons, clientID)
	}
}
