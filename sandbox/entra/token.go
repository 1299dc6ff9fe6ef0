package entra

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"math/big"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sfbroker/sandbox/signing"
)

const (
	formLimit = 64 << 10
	// backdating: a captured token has exp-iat of 3900 s and expires_in 3599.
	backdating      = 5 * time.Minute
	shortestRandom  = 60 * time.Minute
	randomSpan      = 30 * time.Minute
	assertionType   = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	byCertificate   = "2" // azpacr
	bySecret        = "1"
	defaultScopeEnd = "/.default"
)

// token answers client credentials requests (RFC 6749 section 4.4, with a
// secret in the form or an RFC 7523 assertion).
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	s.tokenRequests.Add(1)
	if refused := s.checkTenant(r); refused != nil {
		s.refuse(w, refused)
		return
	}
	form, refused := readForm(w, r)
	if refused != nil {
		s.refuse(w, refused)
		return
	}
	c, method, refused := s.authenticate(form)
	if refused != nil {
		s.refuse(w, refused)
		return
	}
	audience, refused := s.audience(form.Get("scope"))
	if refused != nil {
		s.refuse(w, refused)
		return
	}
	s.issue(w, c, audience, method)
}

func readForm(w http.ResponseWriter, r *http.Request) (url.Values, *refusal) {
	if r.Method != http.MethodPost {
		return nil, refuseMethod(r.Method)
	}
	if r.URL.RawQuery != "" {
		return nil, refuseMalformed("parameters belong into the body")
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/x-www-form-urlencoded" {
		return nil, refuseMalformed("the body must be application/x-www-form-urlencoded")
	}
	r.Body = http.MaxBytesReader(w, r.Body, formLimit)
	if err := r.ParseForm(); err != nil {
		return nil, refuseMalformed("the form cannot be read")
	}
	for _, values := range r.PostForm {
		if len(values) > 1 {
			return nil, refuseMalformed("a parameter is repeated")
		}
	}
	for _, name := range []string{"grant_type", "client_id", "scope"} {
		if r.PostForm.Get(name) == "" {
			return nil, refuseMissing(name)
		}
	}
	if r.PostForm.Get("grant_type") != "client_credentials" {
		return nil, refuseGrant()
	}
	return r.PostForm, nil
}

func (s *Server) authenticate(form url.Values) (c *client, method string, refused *refusal) {
	clientID, secret := form.Get("client_id"), form.Get("client_secret")
	assertion, kind := form.Get("client_assertion"), form.Get("client_assertion_type")
	s.mu.Lock()
	defer s.mu.Unlock()
	c = s.clients[clientID]
	switch {
	case c == nil:
		return nil, "", refuseClient(clientID, s.tenant)
	case secret != "" && assertion != "":
		return nil, "", refuseMalformed("more than one client credential")
	case assertion != "" && kind != assertionType:
		return nil, "", refuseMalformed("client_assertion_type is not supported")
	case assertion != "":
		return c, byCertificate, s.checkAssertion(c, assertion)
	case secret != "":
		return c, bySecret, c.checkSecret(secret)
	}
	return nil, "", refuseNoCredential()
}

func (c *client) checkSecret(secret string) *refusal {
	hash := sha256.Sum256([]byte(secret))
	if c.Secret == "" || subtle.ConstantTimeCompare(hash[:], c.secretHash[:]) != 1 {
		return refuseSecret(c.ID)
	}
	return nil
}

// audience resolves `<resource>/.default`; v2 tokens always carry the bare GUID.
func (s *Server) audience(scope string) (string, *refusal) {
	resource, ok := strings.CutSuffix(scope, defaultScopeEnd)
	if !ok || resource == "" || strings.ContainsAny(scope, " \t\r\n") {
		return "", refuseScope(scope)
	}
	id := strings.TrimPrefix(resource, "api://")
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.resources[id] {
		return "", refuseResource(resource, s.tenant)
	}
	return id, nil
}

// Assertion issues a token as the token endpoint would to a client with a
// secret, for sources that are handed one, such as a file.
func (s *Server) Assertion(clientID, resource string) (string, error) {
	s.mu.Lock()
	c := s.clients[clientID]
	s.mu.Unlock()
	if c == nil {
		return "", fmt.Errorf("issuing an assertion: no client %q", clientID)
	}
	token, _, err := s.mint(c, resource, bySecret)
	return token, err
}

func (s *Server) issue(w http.ResponseWriter, c *client, audience, method string) {
	token, lifetime, err := s.mint(c, audience, method)
	if err != nil {
		s.refuse(w, refuseInternal())
		return
	}
	expiresIn := max(int64(lifetime/time.Second)-1, 1)
	w.Header().Set("Cache-Control", "no-store, no-cache")
	writeJSON(w, http.StatusOK, map[string]any{
		"token_type":     "Bearer",
		"expires_in":     expiresIn,
		"ext_expires_in": expiresIn,
		"access_token":   token,
	})
}

// mint signs a token in the v2 shape: bare GUID as audience, no `jti`.
func (s *Server) mint(c *client, audience, method string) (string, time.Duration, error) {
	now := s.now()
	lifetime := s.lifetime
	if lifetime <= 0 {
		lifetime = randomLifetime()
	}
	issuedAt := now.Add(-backdating).Unix()
	s.mu.Lock()
	key := s.keys.signer
	s.mu.Unlock()
	token, err := key.Sign(map[string]any{
		"aud":    audience,
		"iss":    s.Issuer(),
		"iat":    issuedAt,
		"nbf":    issuedAt,
		"exp":    now.Add(lifetime).Unix(),
		"aio":    signing.NewOpaque(42),
		"azp":    c.ID,
		"azpacr": method,
		"oid":    c.ObjectID,
		"rh":     "1." + signing.NewOpaque(45) + ".",
		"sub":    c.ObjectID,
		"tid":    s.tenant,
		"uti":    signing.NewOpaque(16),
		"ver":    "2.0",
	})
	if err == nil {
		s.tokensIssued.Add(1)
	}
	return token, lifetime, err
}

func randomLifetime() time.Duration {
	seconds, err := rand.Int(rand.Reader, big.NewInt(int64(randomSpan/time.Second)))
	if err != nil {
		return shortestRandom
	}
	return shortestRandom + time.Duration(seconds.Int64())*time.Second
}
