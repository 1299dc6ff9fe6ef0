// Package sandbox runs stand-ins for Microsoft Entra, SAP Cloud Identity
// Services and SAP SuccessFactors: real HTTP servers on loopback, wired to each
// other as a customer's three administrators would wire the real ones, with
// switches for what can go wrong. It serves the demo, the tests and anyone's CI,
// and shares no code with what is tested against it.
//
// Keys, secrets and identifiers are random for each start; the people of the
// company come from the seed.
package sandbox

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"sfbroker/sandbox/entra"
	"sfbroker/sandbox/ias"
	"sfbroker/sandbox/signing"
)

const (
	// DefaultWorkers is the size of the company when Config.Workers is 0.
	DefaultWorkers = 1000
	// secondWorkers bounds the second company, which only has to be there.
	secondWorkers = 100

	apiGroup        = "sf_technical_access"
	applicationType = "Entra-Provisioning"
	iasCallTimeout  = 10 * time.Second
)

// Ports fixes the ports of the listeners; 0 means any free one.
type Ports struct {
	Entra, IAS, SuccessFactors, Control, SecondSuccessFactors int
}

// Config says how to run a sandbox. The zero value is usable.
type Config struct {
	// Host is the loopback address or name to listen at; empty means 127.0.0.1.
	// Anything that is not loopback is refused.
	Host  string
	Ports Ports
	// TLS serves HTTPS with a CA made at start.
	TLS bool
	// Workers is the size of the first company; 0 means DefaultWorkers.
	Workers int
	// Seed decides who works there.
	Seed int64
	// Now is the base clock; nil means time.Now.
	Now func() time.Time
	// TokenLifetime is how long AT2 lives; 0 means 60 minutes.
	TokenLifetime time.Duration
	// AssertionLifetime is how long AT1 lives; 0 means a random 60 to 90 minutes.
	AssertionLifetime time.Duration
	// ErrorProfile words the refusals of IAS: microsoft (default) or terse.
	ErrorProfile string
	// Latency delays each OData answer.
	Latency time.Duration
	// EscapeLinks writes the slashes of a link's path as \/, as some hosts do.
	EscapeLinks bool
	// Faults are on from the start.
	Faults []string
	// Logger hears about failures of the sandbox itself; nil means nobody.
	Logger *slog.Logger
}

// Sandbox is a running sandbox. It is safe for concurrent use.
type Sandbox struct {
	// Info is what its users must know; it does not change.
	Info Info

	clock     *clock
	logger    *slog.Logger
	entra     *entra.Server
	ias       *ias.Server
	transport *http.Transport
	companies [2]*company
	endpoints struct {
		entra, ias, control *endpoint
	}
	stopWatching func() bool
	closeOnce    sync.Once
	certificate  func() (*clientCertificate, error)

	mu     sync.Mutex
	closed bool
	active map[string]bool
}

// Start runs a sandbox until Close or until ctx ends. When it returns, every
// stand-in answers.
func Start(ctx context.Context, cfg Config) (*Sandbox, error) {
	if cfg.Host == "" {
		cfg.Host = "127.0.0.1"
	}
	if !isLoopback(cfg.Host) {
		return nil, fmt.Errorf("%w: %q", ErrNotLoopback, cfg.Host)
	}
	if cfg.Workers <= 0 {
		cfg.Workers = DefaultWorkers
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Sandbox{
		clock:        newClock(cfg.Now),
		logger:       cfg.Logger,
		active:       map[string]bool{},
		companies:    [2]*company{{}, {}},
		transport:    &http.Transport{},
		stopWatching: func() bool { return true },
	}
	s.certificate = sync.OnceValues(s.makeCertificate)
	if err := s.start(cfg); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	for _, fault := range cfg.Faults {
		if err := s.SetFault(fault, true); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	s.stopWatching = context.AfterFunc(ctx, s.shut)
	return s, nil
}

// ErrNotLoopback means that Config.Host would be reachable from outside.
var ErrNotLoopback = errors.New("the sandbox listens on loopback only")

func (s *Sandbox) start(cfg Config) error {
	var ca *authority
	if cfg.TLS {
		var err error
		if ca, err = newAuthority(cfg.Host); err != nil {
			return err
		}
		s.Info.CAPEM = ca.pem
	}
	s.transport = &http.Transport{
		TLSClientConfig:       ca.clientConfig(),
		TLSHandshakeTimeout:   iasCallTimeout,
		ResponseHeaderTimeout: iasCallTimeout,
		DisableKeepAlives:     true,
	}
	if err := s.bind(cfg, ca.serverConfig()); err != nil {
		return err
	}
	if err := s.startEntra(cfg); err != nil {
		return err
	}
	if err := s.startIAS(cfg); err != nil {
		return err
	}
	if err := s.startCompanies(cfg); err != nil {
		return err
	}
	s.startControl()
	return nil
}

// bind takes all ports first: the stand-ins must know each other's addresses.
func (s *Sandbox) bind(cfg Config, config *tls.Config) error {
	for _, e := range []struct {
		name  string
		port  int
		place **endpoint
	}{
		{"Entra", cfg.Ports.Entra, &s.endpoints.entra},
		{"IAS", cfg.Ports.IAS, &s.endpoints.ias},
		{"SuccessFactors", cfg.Ports.SuccessFactors, &s.companies[0].endpoint},
		{"the second SuccessFactors", cfg.Ports.SecondSuccessFactors, &s.companies[1].endpoint},
		{"the control server", cfg.Ports.Control, &s.endpoints.control},
	} {
		bound, err := bind(e.name, cfg.Host, e.port, config, s.logger)
		if err != nil {
			return err
		}
		*e.place = bound
	}
	return nil
}

func (s *Sandbox) startEntra(cfg Config) error {
	server, err := entra.New(entra.Config{
		BaseURL:       s.endpoints.entra.url(),
		TokenLifetime: cfg.AssertionLifetime,
		Now:           s.clock.Now,
	})
	if err != nil {
		return err
	}
	s.entra = server
	workload := entra.Client{ID: signing.NewGUID(), ObjectID: signing.NewGUID(), Secret: signing.NewOpaque(30)}
	resource := signing.NewGUID()
	server.AddClient(workload)
	server.AddResource(resource)

	s.Info.EntraURL = s.endpoints.entra.url()
	s.Info.Issuer = server.Issuer()
	s.Info.JWKSURI = server.JWKSURI()
	s.Info.EntraTokenURL = server.TokenURL()
	s.Info.TenantID = server.TenantID()
	s.Info.WorkloadClientID = workload.ID
	s.Info.WorkloadClientSecret = workload.Secret
	s.Info.Scope = "api://" + resource + "/.default"
	s.Info.Subject = workload.ObjectID
	s.Info.Audience = resource
	s.endpoints.entra.serve(server)
	return nil
}

func (s *Sandbox) startIAS(cfg Config) error {
	server, err := ias.New(ias.Config{
		BaseURL: s.endpoints.ias.url(),
		HTTPClient: &http.Client{
			Transport:     s.transport,
			Timeout:       iasCallTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		Profile:       ias.Profile(cfg.ErrorProfile),
		TokenLifetime: cfg.TokenLifetime,
		Now:           s.clock.Now,
	})
	if err != nil {
		return err
	}
	s.ias = server
	s.Info.IASURL = s.endpoints.ias.url()
	s.Info.IASTokenURL = server.TokenURL()
	s.endpoints.ias.serve(server)
	return nil
}

// trustRule is the rule that the IAS administrator should have written.
func (s *Sandbox) trustRule() ias.Rule {
	return ias.Rule{
		Issuer:   s.Info.Issuer,
		JWKSURI:  s.Info.JWKSURI,
		Subject:  s.Info.Subject,
		Audience: s.Info.Audience,
	}
}

// Assertion returns a fresh AT1 of the workload, for sources that are handed one.
func (s *Sandbox) Assertion() (string, error) {
	return s.entra.Assertion(s.Info.WorkloadClientID, s.Info.Audience)
}

func (s *Sandbox) makeCertificate() (*clientCertificate, error) {
	made, err := newClientCertificate("sfbroker sandbox workload")
	if err != nil {
		return nil, err
	}
	return made, s.entra.AddCertificate(s.Info.WorkloadClientID, made.certificate)
}

// ClientCertificate returns the certificate that the workload may authenticate
// with at Entra, and its key, as PEM. It is made and registered at the first call.
func (s *Sandbox) ClientCertificate() (certPEM, keyPEM []byte, err error) {
	made, err := s.certificate()
	if err != nil {
		return nil, nil, err
	}
	return []byte(made.certPEM), []byte(made.keyPEM), nil
}

// Now is what the stand-ins think the time is.
func (s *Sandbox) Now() time.Time { return s.clock.Now() }

// SetClockOffset moves the clocks of all stand-ins to the base clock plus offset.
func (s *Sandbox) SetClockOffset(offset time.Duration) { s.clock.offset.Store(int64(offset)) }

// AddClockOffset moves them further.
func (s *Sandbox) AddClockOffset(d time.Duration) { s.clock.offset.Add(int64(d)) }

// ClockOffset is how far they are from the base clock.
func (s *Sandbox) ClockOffset() time.Duration { return time.Duration(s.clock.offset.Load()) }

// AnnounceKey publishes the key that Entra will sign with after RotateKey.
func (s *Sandbox) AnnounceKey() (keyID string, err error) { return s.entra.Announce() }

// RotateKey makes Entra sign with a new key; the old one stays published until
// WithdrawKey.
func (s *Sandbox) RotateKey() (keyID string, err error) { return s.entra.Rotate() }

// WithdrawKey takes a key out of Entra's published set and says whether it was there.
func (s *Sandbox) WithdrawKey(keyID string) bool { return s.entra.Withdraw(keyID) }

// KeyID is the ID of the key that Entra signs with.
func (s *Sandbox) KeyID() string { return s.entra.KeyID() }

// RefreshIssuerKeys makes IAS read trusted issuers' keys again at the next
// logon, as its refresh interval would after 24 hours.
func (s *Sandbox) RefreshIssuerKeys() { s.ias.RefreshKeys() }

// UnlockClient does what an IAS administrator does to a locked client ID.
func (s *Sandbox) UnlockClient(clientID string) { s.ias.Unlock(clientID) }

// Close stops all stand-ins: listeners closed, connections cut, handlers waited
// for. Further calls do nothing. The error is always nil.
func (s *Sandbox) Close() error {
	s.stopWatching()
	s.shut()
	return nil
}

func (s *Sandbox) shut() {
	s.closeOnce.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		for _, e := range []*endpoint{
			s.endpoints.control, s.companies[0].endpoint, s.companies[1].endpoint,
			s.endpoints.ias, s.endpoints.entra,
		} {
			if e != nil {
				e.close()
			}
		}
		s.transport.CloseIdleConnections()
	})
}
