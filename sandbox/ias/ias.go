// Package ias is a stand-in for SAP Cloud Identity Services, Identity
// Authentication: client credentials with trust by issuer, dependencies between
// applications, the lock of a client ID after five failed logons, and the
// signed technical-access token. It is written from the published facts; where
// they leave a choice, the package takes the harsher reading.
package ias

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sfbroker/sandbox/signing"
)

const (
	// DefaultTokenLifetime is IAS's default for access tokens.
	DefaultTokenLifetime = 60 * time.Minute
	// DefaultRequestsPerMinute is the limit of /oauth2/* for a tenant.
	DefaultRequestsPerMinute = 1000
	// MaxRules is how many trust-by-issuer rules an application can have.
	MaxRules = 20
)

// Profile is how refusals are worded; the real bodies are not published.
type Profile string

const (
	// ProfileMicrosoft words refusals as Microsoft's guide quotes them.
	ProfileMicrosoft Profile = "microsoft"
	// ProfileTerse answers every refusal with 401 invalid_client and nothing else.
	ProfileTerse Profile = "terse"
)

// Config is what a Server needs.
type Config struct {
	// BaseURL is the tenant's origin and the issuer of its tokens. Required.
	BaseURL string
	// HTTPClient reads the key sets of trusted issuers. Required.
	HTTPClient *http.Client
	// Profile words the refusals; empty means ProfileMicrosoft.
	Profile Profile
	// TokenLifetime is how long access tokens stay valid; 0 means DefaultTokenLifetime.
	TokenLifetime time.Duration
	// RequestsPerMinute limits /oauth2/*; 0 means DefaultRequestsPerMinute.
	RequestsPerMinute int
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Key signs; nil makes a random one.
	Key *signing.Key
}

// Rule is one trust-by-issuer rule.
type Rule struct {
	// Issuer is compared exactly with `iss`.
	Issuer string
	// JWKSURI is where the issuer publishes its keys.
	JWKSURI string
	// Subject is compared exactly with `sub`. Required.
	Subject string
	// Audience must be among `aud`; empty means that it is not looked at.
	Audience string
}

// Dependency is what an application may ask a provider application for.
type Dependency struct {
	// Provider is the client ID of the provider application: `aud` of the token.
	Provider string
	// APIs are the API permission groups granted: `ias_apis` of the token.
	APIs []string
}

// Application is an OAuth client.
type Application struct {
	ClientID     string
	Rules        []Rule
	Dependencies map[string]Dependency // by dependency name
}

// Disturbance is a way in which the token endpoint answers 200 and nonsense.
type Disturbance string

const (
	// Undisturbed answers as it should.
	Undisturbed Disturbance = ""
	// AnswerHTML answers with an HTML page.
	AnswerHTML Disturbance = "html"
	// AnswerEndless answers with JSON that never ends.
	AnswerEndless Disturbance = "endless"
)

// Server is the stand-in, an http.Handler. It is safe for concurrent use.
type Server struct {
	base     string
	tenantID string
	profile  Profile
	lifetime time.Duration
	now      func() time.Time
	key      *signing.Key
	keySets  *keySets
	limit    *limiter
	mux      *http.ServeMux

	mu           sync.Mutex
	applications map[string]*Application
	logons       map[string]*logons
	issued       map[string]*issuedToken // by jti
	disturbance  Disturbance
	maxFailed    int

	tokenRequests, tokensIssued, failedLogons, keyFetches, throttled atomic.Int64
}

// New makes a server without applications.
func New(cfg Config) (*Server, error) {
	s := &Server{
		base:         cfg.BaseURL,
		tenantID:     signing.NewGUID(),
		profile:      cfg.Profile,
		lifetime:     cfg.TokenLifetime,
		now:          cfg.Now,
		key:          cfg.Key,
		mux:          http.NewServeMux(),
		applications: map[string]*Application{},
		logons:       map[string]*logons{},
		issued:       map[string]*issuedToken{},
	}
	if s.now == nil {
		s.now = time.Now
	}
	switch s.profile {
	case "":
		s.profile = ProfileMicrosoft
	case ProfileMicrosoft, ProfileTerse:
	default:
		return nil, fmt.Errorf("unknown error profile %q: want %q or %q", s.profile, ProfileMicrosoft, ProfileTerse)
	}
	if s.lifetime <= 0 {
		s.lifetime = DefaultTokenLifetime
	}
	if s.key == nil {
		var err error
		if s.key, err = signing.NewKey("ias.sandbox", s.now()); err != nil {
			return nil, err
		}
	}
	perMinute := cfg.RequestsPerMinute
	if perMinute <= 0 {
		perMinute = DefaultRequestsPerMinute
	}
	s.limit = &limiter{perMinute: perMinute, now: s.now}
	s.keySets = newKeySets(cfg.HTTPClient, s.now)
	s.mux.HandleFunc("GET /.well-known/openid-configuration", s.discovery)
	s.mux.HandleFunc("GET /oauth2/certs", s.limited(s.publishedKeys))
	s.mux.HandleFunc("/oauth2/token", s.limited(s.token))
	return s, nil
}

// Issuer is `iss` of the tokens.
func (s *Server) Issuer() string { return s.base }

// TokenURL is the token endpoint.
func (s *Server) TokenURL() string { return s.base + "/oauth2/token" }

// AddApplication registers an OAuth client, or replaces it. Its key sets are
// read at the next logon.
func (s *Server) AddApplication(app Application) error {
	if len(app.Rules) > MaxRules {
		return fmt.Errorf("application %q: %d trust rules, at most %d", app.ClientID, len(app.Rules), MaxRules)
	}
	for _, rule := range app.Rules {
		if rule.Issuer == "" || rule.JWKSURI == "" || rule.Subject == "" {
			return fmt.Errorf("application %q: a trust rule needs issuer, JWKS URI and subject", app.ClientID)
		}
	}
	app.Rules = slices.Clone(app.Rules)
	app.Dependencies = maps.Clone(app.Dependencies)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applications[app.ClientID] = &app
	for _, rule := range app.Rules {
		s.keySets.forget(rule.JWKSURI)
	}
	return nil
}

// SetRules replaces the trust rules of an application. Saving makes IAS read
// the key sets again.
func (s *Server) SetRules(clientID string, rules ...Rule) error {
	s.mu.Lock()
	app := s.applications[clientID]
	s.mu.Unlock()
	if app == nil {
		return fmt.Errorf("setting trust rules: no application %q", clientID)
	}
	return s.AddApplication(Application{ClientID: clientID, Rules: rules, Dependencies: app.Dependencies})
}

// RefreshKeys forgets all key sets, as when the refresh interval ends.
func (s *Server) RefreshKeys() { s.keySets.forgetAll() }

// Disturb sets how the token endpoint misbehaves.
func (s *Server) Disturb(d Disturbance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disturbance = d
}

// Stats counts what was asked.
type Stats struct {
	TokenRequests int64 `json:"token_requests"`
	TokensIssued  int64 `json:"tokens_issued"`
	// FailedLogons counts all of them since the start.
	FailedLogons int64 `json:"failed_logons"`
	// MaxFailedLogons is the most that any client ID ever had in a row: 5 locks it.
	MaxFailedLogons int `json:"max_failed_logons"`
	// Throttled counts requests answered with 429.
	Throttled int64 `json:"throttled"`
	// IssuerKeyFetches counts reads of trusted issuers' key sets, also those that went wrong.
	IssuerKeyFetches int64 `json:"issuer_key_fetches"`
	// KeyFetches counts reads of this tenant's own key set.
	KeyFetches int64 `json:"key_fetches"`
	// Clients holds the state of each client ID that ever failed.
	Clients map[string]ClientState `json:"clients,omitempty"`
}

// Stats returns the counts since the start.
func (s *Server) Stats() Stats {
	stats := Stats{
		TokenRequests:    s.tokenRequests.Load(),
		TokensIssued:     s.tokensIssued.Load(),
		FailedLogons:     s.failedLogons.Load(),
		Throttled:        s.throttled.Load(),
		IssuerKeyFetches: s.keySets.fetches.Load(),
		KeyFetches:       s.keyFetches.Load(),
		Clients:          map[string]ClientState{},
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	stats.MaxFailedLogons = s.maxFailed
	for id, l := range s.logons {
		stats.Clients[id] = l.state(s.now())
	}
	return stats
}

// ServeHTTP answers as the tenant.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

func (s *Server) discovery(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                s.Issuer(),
		"token_endpoint":                        s.TokenURL(),
		"jwks_uri":                              s.base + "/oauth2/certs",
		"introspection_endpoint":                s.base + "/oauth2/introspect",
		"revocation_endpoint":                   s.base + "/oauth2/revoke",
		"grant_types_supported":                 []string{grantClientCredentials},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"token_endpoint_auth_methods_supported": []string{"tls_client_auth", "client_secret_basic", "client_secret_post", "private_key_jwt"},
		"subject_types_supported":               []string{"public"},
	})
}

func (s *Server) publishedKeys(w http.ResponseWriter, _ *http.Request) {
	s.keyFetches.Add(1)
	jwk := s.key.JWK()
	jwk.Thumbprint = ""
	writeJSON(w, http.StatusOK, signing.JWKSet{Keys: []signing.JWK{jwk}})
}

// limited applies the limit of /oauth2/*. No Retry-After: none is documented.
func (s *Server) limited(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.limit.take() {
			s.throttled.Add(1)
			http.Error(w, "Too Many Requests", http.StatusTooManyRequests)
			return
		}
		next(w, r)
	}
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client is gone: nobody to tell
}
