// Package entra is a stand-in for Microsoft Entra's v2 token service: issuer,
// discovery, published keys with rotation, and client credentials with a secret
// or a certificate. It is written from the published facts and refuses what the
// real one refuses, in its words.
package entra

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sfbroker/sandbox/signing"
)

// Config is what a Server needs.
type Config struct {
	// BaseURL is the origin the server is reached at, without a trailing slash. Required.
	BaseURL string
	// TenantID is the directory; a random GUID when empty.
	TenantID string
	// TokenLifetime is how long an issued token stays valid; 0 means a random
	// 60 to 90 minutes for each, as the real one has it.
	TokenLifetime time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Key signs; nil makes a random one.
	Key *signing.Key
}

// Client is an application that may ask for tokens.
type Client struct {
	// ID is the application (client) ID.
	ID string
	// ObjectID is the object ID of its service principal: `sub` and `oid` of its tokens.
	ObjectID string
	// Secret is its client secret; empty when it has none.
	Secret string
}

// Server is the stand-in, an http.Handler. It is safe for concurrent use.
type Server struct {
	base     string
	tenant   string
	lifetime time.Duration
	now      func() time.Time
	mux      *http.ServeMux

	mu        sync.Mutex
	clients   map[string]*client
	resources map[string]bool
	replayed  map[string]time.Time // client ID and jti, until the assertion expires
	keys      keyRing

	tokenRequests, tokensIssued, keyFetches, discoveries atomic.Int64
}

type client struct {
	Client
	secretHash   [sha256.Size]byte
	certificates map[[sha256.Size]byte]*x509.Certificate
}

// New makes a server without clients and resources.
func New(cfg Config) (*Server, error) {
	s := &Server{
		base:      cfg.BaseURL,
		tenant:    cfg.TenantID,
		lifetime:  cfg.TokenLifetime,
		now:       cfg.Now,
		mux:       http.NewServeMux(),
		clients:   map[string]*client{},
		resources: map[string]bool{},
		replayed:  map[string]time.Time{},
	}
	if s.tenant == "" {
		s.tenant = signing.NewGUID()
	}
	if s.now == nil {
		s.now = time.Now
	}
	key := cfg.Key
	if key == nil {
		var err error
		if key, err = signing.NewKey("accounts.accesscontrol.sandbox", s.now()); err != nil {
			return nil, err
		}
	}
	s.keys = newKeyRing(key)
	s.mux.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", s.discovery)
	s.mux.HandleFunc("GET /{tenant}/discovery/v2.0/keys", s.publishedKeys)
	s.mux.HandleFunc("/{tenant}/oauth2/v2.0/token", s.token)
	return s, nil
}

// TenantID is the directory's GUID.
func (s *Server) TenantID() string { return s.tenant }

// Issuer is `iss` of every token.
func (s *Server) Issuer() string { return s.base + "/" + s.tenant + "/v2.0" }

// JWKSURI is where the keys are published.
func (s *Server) JWKSURI() string { return s.base + "/" + s.tenant + "/discovery/v2.0/keys" }

// TokenURL is the token endpoint.
func (s *Server) TokenURL() string { return s.base + "/" + s.tenant + "/oauth2/v2.0/token" }

// AddClient registers an application, or replaces it with all its certificates.
func (s *Server) AddClient(c Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[c.ID] = &client{
		Client:       c,
		secretHash:   sha256.Sum256([]byte(c.Secret)),
		certificates: map[[sha256.Size]byte]*x509.Certificate{},
	}
}

// AddResource registers an application that tokens may be asked for, by its
// client ID, with v2 access tokens.
func (s *Server) AddResource(clientID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resources[clientID] = true
}

// AddCertificate lets the client authenticate with a certificate.
func (s *Server) AddCertificate(clientID string, certificate *x509.Certificate) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.clients[clientID]
	if c == nil {
		return fmt.Errorf("registering a certificate: no client %q", clientID)
	}
	c.certificates[sha256.Sum256(certificate.Raw)] = certificate
	return nil
}

// Stats counts what was asked.
type Stats struct {
	TokenRequests    int64 `json:"token_requests"`
	TokensIssued     int64 `json:"tokens_issued"`
	KeyFetches       int64 `json:"key_fetches"`
	DiscoveryFetches int64 `json:"discovery_fetches"`
}

// Stats returns the counts since the start.
func (s *Server) Stats() Stats {
	return Stats{
		TokenRequests:    s.tokenRequests.Load(),
		TokensIssued:     s.tokensIssued.Load(),
		KeyFetches:       s.keyFetches.Load(),
		DiscoveryFetches: s.discoveries.Load(),
	}
}

// ServeHTTP answers as the token service.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

func (s *Server) discovery(w http.ResponseWriter, r *http.Request) {
	if refused := s.checkTenant(r); refused != nil {
		s.refuse(w, refused)
		return
	}
	s.discoveries.Add(1)
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                s.Issuer(),
		"token_endpoint":                        s.TokenURL(),
		"jwks_uri":                              s.JWKSURI(),
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt"},
		"grant_types_supported":                 []string{"client_credentials"},
		"response_types_supported":              []string{"code", "id_token"},
		"subject_types_supported":               []string{"pairwise"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
	})
}

func (s *Server) publishedKeys(w http.ResponseWriter, r *http.Request) {
	if refused := s.checkTenant(r); refused != nil {
		s.refuse(w, refused)
		return
	}
	s.keyFetches.Add(1)
	s.mu.Lock()
	set := s.keys.published(s.Issuer())
	s.mu.Unlock()
	writeJSON(w, http.StatusOK, set)
}

func (s *Server) checkTenant(r *http.Request) *refusal {
	if tenant := r.PathValue("tenant"); !strings.EqualFold(tenant, s.tenant) {
		return refuseTenant(tenant)
	}
	return nil
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client is gone: nobody to tell
}
