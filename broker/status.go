package broker

import (
	"time"

	"sfbroker/broker/diagnosis"
	"sfbroker/oauthclient"
)

// State is a connection's state in one word.
type State string

// The states.
const (
	Untried State = "untried" // no token was obtained or refused yet
	OK      State = "ok"
	Broken  State = "broken"
)

// Status is what "sfbroker status" says of one connection.
type Status struct {
	Connection, WorkloadIdentity, CompanyID, TechnicalUser string
	State                                                  State
	// Finding says what is broken, Since when it was first seen; both are zero when nothing is.
	Finding *diagnosis.Finding
	Since   time.Time
	// Callers is how many callers were hit since then.
	Callers int
	// Expiry is the end of the AT2 held, zero when none is.
	Expiry time.Time
	// Exchanges counts the exchanges since the start.
	Exchanges int64
	// Sessions is how many login sessions are held.
	Sessions int
	// Lockout is the count of failed logons of the client ID.
	Lockout oauthclient.GuardState
}

// CanDeliver reports whether a request could be served now.
func (s Status) CanDeliver() bool { return s.State == OK }

// Tried reports whether the connection was tried once, with whatever result.
func (s Status) Tried() bool { return s.State != Untried }

// Status returns the connection's state.
func (c *Connection) Status() Status {
	token := c.keeper.State()
	s := Status{
		Connection: c.cfg.Name, WorkloadIdentity: c.cfg.WorkloadIdentity, CompanyID: c.cfg.CompanyID, TechnicalUser: c.cfg.TechnicalUser,
		State: OK, Exchanges: token.Exchanges, Sessions: c.upstream.Sessions(), Lockout: c.Lockout(),
	}
	if token.HasToken {
		s.Expiry = token.Expiry
	}
	switch {
	case token.HasToken:
		c.health.tokenObtained()
	case token.LastError != nil:
		c.health.broken(c.Diagnose(token.LastError), "")
	case !token.RefusedUntil.IsZero():
		f := find(diagnosis.TokenRefused)
		f.RetryAfter = c.until(token.RefusedUntil)
		c.health.broken(f, "")
	}
	switch h := c.health.state(); {
	case h.finding != nil && token.Attempted:
		s.State, s.Finding, s.Since, s.Callers = Broken, h.finding, h.since, h.callers
	case !token.HasToken:
		s.State = Untried
	}
	return s
}
