package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"sfbroker/broker/upstream"
	"sfbroker/oauthclient"
	"sfbroker/trust"
	"sfbroker/workload"
)

// ConnectionConfig is one way into one company. All fields are required but where said otherwise.
type ConnectionConfig struct {
	// Name and Revision identify the connection and the settings it was compiled from.
	Name, Revision string
	// WorkloadIdentity is the name of the source and rule below, for status.
	WorkloadIdentity string
	// Source gives AT1 and Rules check it; both may be shared by connections.
	Source workload.Source
	Rules  *trust.Rules
	// Application is the IAS application and its token endpoint; Dependency is its dependency's name, for status.
	Application oauthclient.Application
	Dependency  oauthclient.Dependency
	// TokenClient talks to the token endpoint.
	TokenClient *http.Client
	// Guard counts failed logons; it is shared by all connections.
	Guard *oauthclient.Guard
	// API is the origin of the API server, APITransport the way to it.
	API          *url.URL
	APITransport http.RoundTripper
	// CompanyID, TechnicalUser and ApplicationType are SuccessFactors' side. The technical user is what the application
	// map is configured to: SuccessFactors offers no way to prove it.
	CompanyID, TechnicalUser, ApplicationType string
	// Probes are the entity sets that the policies of this connection's callers name; "test connection" reads one row of each.
	Probes []string
	// MaxInFlight bounds the requests that this connection serves at a time; beyond it the answer is 503. 0 means 512, half
	// of what the broker serves, so that a connection that answers slowly leaves room for the others.
	MaxInFlight int
	// Now, Logger and TokenMetrics are passed on. TokenMetrics may be nil.
	Now          func() time.Time
	Logger       *slog.Logger
	TokenMetrics *oauthclient.Metrics
}

// Connection is one way into one company at work: its keeper of AT2, its login sessions and its health.
type Connection struct {
	cfg      ConnectionConfig
	keeper   *oauthclient.Keeper
	upstream *upstream.Client
	health   *health
	identity atomic.Pointer[trust.Identity]
	testing  chan struct{}
	recovery *recovery
	verdict  *verdict
	slots    chan struct{}
}

// NewConnection starts a connection: its keeper begins to obtain AT2 at once, in the background.
func NewConnection(cfg ConnectionConfig) (*Connection, error) {
	if len(cfg.Probes) == 0 {
		return nil, fmt.Errorf("connection %q: no entity set to test it with", cfg.Name)
	}
	up, err := upstream.New(upstream.Config{API: cfg.API, Transport: cfg.APITransport, Now: cfg.Now})
	if err != nil {
		return nil, fmt.Errorf("connection %q: %w", cfg.Name, err)
	}
	c := &Connection{cfg: cfg, upstream: up, testing: make(chan struct{}, 1)}
	c.health = newHealth(cfg.Now)
	if cfg.MaxInFlight == 0 {
		cfg.MaxInFlight = 512
	}
	c.slots = make(chan struct{}, cfg.MaxInFlight)
	c.verdict = &verdict{mu: make(chan struct{}, 1)}
	c.verdict.mu <- struct{}{}
	c.keeper = oauthclient.NewKeeper(oauthclient.KeeperConfig{
		Name: cfg.Name, Revision: cfg.Revision, Application: cfg.Application, Assert: c.assert, HTTPClient: cfg.TokenClient,
		Guard: cfg.Guard, Now: cfg.Now, Logger: cfg.Logger, Metrics: cfg.TokenMetrics,
		OnReplace: func(oauthclient.Token) { up.DropSessions() },
	})
	c.recovery = startRecovery(c)
	return c, nil
}

// Name returns the connection's name.
func (c *Connection) Name() string { return c.cfg.Name }

// Config returns what the connection was made from.
func (c *Connection) Config() ConnectionConfig { return c.cfg }

// Probes lists the entity sets that "test connection" reads.
func (c *Connection) Probes() []string { return slices.Clone(c.cfg.Probes) }

// Close stops the keeper and forgets the sessions.
func (c *Connection) Close() {
	c.recovery.close()
	c.keeper.Close()
	c.upstream.DropSessions()
	c.upstream.CloseIdle()
}

// Acquire obtains AT1 from the source. It is not verified yet. The error is a *workload.Error.
func (c *Connection) Acquire(ctx context.Context) (oauthclient.Secret, error) {
	raw, err := c.cfg.Source.Assertion(ctx)
	if err != nil {
		return oauthclient.Secret{}, fmt.Errorf("acquiring AT1 of %q: %w", c.cfg.WorkloadIdentity, err)
	}
	return raw, nil
}

// Verify checks AT1 against the connection's rules. The error is a *trust.Refusal.
func (c *Connection) Verify(ctx context.Context, raw oauthclient.Secret) (trust.Identity, error) {
	identity, err := c.cfg.Rules.Verify(ctx, raw.Reveal())
	if err != nil {
		return trust.Identity{}, fmt.Errorf("checking AT1 of %q: %w", c.cfg.WorkloadIdentity, err)
	}
	c.identity.Store(&identity)
	return identity, nil
}

// Identity returns the identity that was verified last, nil before the first.
func (c *Connection) Identity() *trust.Identity { return c.identity.Load() }

// assert is the keeper's way to AT1: trust is checked before IAS is asked, so most mistakes never cost a logon there.
func (c *Connection) assert(ctx context.Context) (oauthclient.Assertion, error) {
	raw, err := c.Acquire(ctx)
	if err != nil {
		return oauthclient.Assertion{}, err
	}
	id, err := c.Verify(ctx, raw)
	if err != nil {
		return oauthclient.Assertion{}, err
	}
	return oauthclient.Assertion{Raw: raw, Issuer: id.Issuer, Subject: id.Subject, Audience: id.Audience, KeyID: id.KeyID, Expiry: id.Expiry}, nil
}

// Token returns a usable AT2, see Keeper.Token.
func (c *Connection) Token(ctx context.Context) (oauthclient.Token, error) {
	return c.keeper.Token(ctx)
}

// ForceToken makes a fresh exchange, at most one a minute, see Keeper.Force.
func (c *Connection) ForceToken(ctx context.Context) (oauthclient.Token, error) {
	return c.keeper.Force(ctx)
}

// TokenState returns the keeper's state.
func (c *Connection) TokenState() oauthclient.KeeperState { return c.keeper.State() }

// Lockout returns the state of the lockout guard for the connection's client ID.
func (c *Connection) Lockout() oauthclient.GuardState {
	return c.cfg.Guard.State(c.cfg.Application.TokenURL, c.cfg.Application.ClientID)
}

// Unlock forgets the failed logons of the connection's client ID, at an operator's word. A lock at IAS itself stays.
func (c *Connection) Unlock() error {
	return c.cfg.Guard.Unlock(c.cfg.Application.TokenURL, c.cfg.Application.ClientID)
}

// Exclusive waits until no other test of this connection runs and returns the way to end this one.
func (c *Connection) Exclusive(ctx context.Context) (release func(), err error) {
	select {
	case c.testing <- struct{}{}:
		return func() { <-c.testing }, nil
	case <-ctx.Done():
		return nil, errors.Join(errors.New("another test of this connection is running"), ctx.Err())
	}
}
