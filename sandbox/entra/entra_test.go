package entra_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"sfbroker/sandbox/entra"
	"sfbroker/sandbox/signing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	clientID = "11111111-1111-1111-1111-111111111111"
	objectID = "22222222-2222-2222-2222-222222222222"
	resource = "33333333-3333-3333-3333-333333333333"
	secret   = "correct horse battery staple"
)

var start = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

// fixture is a server behind a real listener, with a clock that the test moves.
type fixture struct {
	*entra.Server
	client *http.Client
	base   string
	offset atomic.Int64
}

func (f *fixture) now() time.Time { return start.Add(time.Duration(f.offset.Load())) }

func newFixture(t *testing.T, lifetime time.Duration) *fixture {
	t.Helper()
	f := &fixture{}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.ServeHTTP(w, r) }))
	t.Cleanup(front.Close)
	f.client, f.base = front.Client(), front.URL
	server, err := entra.New(entra.Config{BaseURL: front.URL, TokenLifetime: lifetime, Now: f.now})
	if err != nil {
		t.Fatal(err)
	}
	f.Server = server
	server.AddClient(entra.Client{ID: clientID, ObjectID: objectID, Secret: secret})
	server.AddResource(resource)
	return f
}

func (f *fixture) do(t *testing.T, req *http.Request) (int, http.Header, []byte) {
	t.Helper()
	resp, err := f.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, body
}

func (f *fixture) get(t *testing.T, address string, into any) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	status, _, body := f.do(t, req)
	if err := json.Unmarshal(body, into); err != nil {
		t.Fatalf("GET %s: %v", address, err)
	}
	return status
}

type answer struct {
	AccessToken   string `json:"access_token"`
	TokenType     string `json:"token_type"`
	ExpiresIn     int64  `json:"expires_in"`
	Error         string `json:"error"`
	Description   string `json:"error_description"`
	Codes         []int  `json:"error_codes"`
	Timestamp     string `json:"timestamp"`
	TraceID       string `json:"trace_id"`
	CorrelationID string `json:"correlation_id"`
	ErrorURI      string `json:"error_uri"`
}

func (f *fixture) post(t *testing.T, form url.Values) (int, answer) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.TokenURL(), strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return f.ask(t, req)
}

func (f *fixture) ask(t *testing.T, req *http.Request) (int, answer) {
	t.Helper()
	status, _, body := f.do(t, req)
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		t.Fatalf("answer is not JSON: %v", err)
	}
	return status, a
}

func secretForm() url.Values {
	return url.Values{
		"grant_type":    {"client_credentials"},
		"client_id":     {clientID},
		"client_secret": {secret},
		"scope":         {"api://" + resource + "/.default"},
	}
}

func TestSecretRequests(t *testing.T) {
	f := newFixture(t, 0)
	set := func(name, value string) func(url.Values) { return func(v url.Values) { v.Set(name, value) } }
	for _, row := range []struct {
		name   string
		change func(url.Values)
		status int
		oauth  string
		code   int
	}{
		{"as it should be", func(url.Values) {}, 200, "", 0},
		{"scope by bare GUID", set("scope", resource+"/.default"), 200, "", 0},
		{"scope without .default", set("scope", "api://"+resource), 400, "invalid_scope", 70011},
		{"scope of two values", set("scope", "api://"+resource+"/.default openid"), 400, "invalid_scope", 70011},
		{"scope of an unknown resource", set("scope", "api://"+objectID+"/.default"), 400, "invalid_resource", 50001},
		{"no scope", func(v url.Values) { v.Del("scope") }, 400, "invalid_request", 900144},
		{"wrong secret", set("client_secret", secret+"x"), 401, "invalid_client", 7000215},
		{"no credential", func(v url.Values) { v.Del("client_secret") }, 401, "invalid_client", 7000216},
		{"unknown client", set("client_id", objectID), 400, "unauthorized_client", 700016},
		{"no client", func(v url.Values) { v.Del("client_id") }, 400, "invalid_request", 900144},
		{"other grant", set("grant_type", "password"), 400, "unsupported_grant_type", 70003},
		{"no grant", func(v url.Values) { v.Del("grant_type") }, 400, "invalid_request", 900144},
		{"secret and assertion", set("client_assertion", "x"), 400, "invalid_request", 9002313},
		{"repeated parameter", func(v url.Values) { v.Add("scope", v.Get("scope")) }, 400, "invalid_request", 9002313},
	} {
		t.Run(row.name, func(t *testing.T) {
			form := secretForm()
			row.change(form)
			status, a := f.post(t, form)
			if status != row.status || a.Error != row.oauth {
				t.Fatalf("got %d %q, want %d %q", status, a.Error, row.status, row.oauth)
			}
			if row.status == 200 {
				if a.AccessToken == "" || a.TokenType != "Bearer" {
					t.Fatalf("no token in the answer")
				}
				return
			}
			checkErrorShape(t, a, row.code)
		})
	}
}

func checkErrorShape(t *testing.T, a answer, code int) {
	t.Helper()
	if len(a.Codes) != 1 || a.Codes[0] != code {
		t.Fatalf("got error_codes %v, want [%d]", a.Codes, code)
	}
	if !strings.HasPrefix(a.Description, "AADSTS"+big.NewInt(int64(code)).String()+": ") {
		t.Errorf("error_description %q does not begin with its code", a.Description)
	}
	if strings.Contains(a.Description, secret) {
		t.Error("the secret is in the answer")
	}
	for name, value := range map[string]string{
		"timestamp": a.Timestamp, "trace_id": a.TraceID, "correlation_id": a.CorrelationID, "error_uri": a.ErrorURI,
	} {
		if value == "" {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestRequestsThatAreNoFormPost(t *testing.T) {
	f := newFixture(t, 0)
	form := secretForm().Encode()
	for _, row := range []struct {
		name, method, address, media string
		status, code                 int
	}{
		{"form POST", "POST", f.TokenURL(), "application/x-www-form-urlencoded; charset=utf-8", 200, 0},
		{"JSON POST", "POST", f.TokenURL(), "application/json", 400, 9002313},
		{"PUT", "PUT", f.TokenURL(), "application/x-www-form-urlencoded", 405, 900561},
		{"secret in the query", "POST", f.TokenURL() + "?client_secret=x", "application/x-www-form-urlencoded", 400, 9002313},
		{"other tenant", "POST", f.base + "/" + objectID + "/oauth2/v2.0/token", "application/x-www-form-urlencoded", 400, 90002},
	} {
		t.Run(row.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), row.method, row.address, strings.NewReader(form))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", row.media)
			status, a := f.ask(t, req)
			if status != row.status {
				t.Fatalf("got %d, want %d", status, row.status)
			}
			if row.code != 0 {
				checkErrorShape(t, a, row.code)
			}
		})
	}
}

// verify reads the published keys as a relying party would.
func (f *fixture) verify(t *testing.T, token string) (map[string]any, map[string]any, bool) {
	t.Helper()
	var set signing.JWKSet
	if status := f.get(t, f.JWKSURI(), &set); status != http.StatusOK {
		t.Fatalf("keys: status %d", status)
	}
	claims := jwt.MapClaims{}
	parsed, err := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithTimeFunc(f.now)).
		ParseWithClaims(token, claims, func(tok *jwt.Token) (any, error) {
			for _, k := range set.Keys {
				if k.KeyID != tok.Header["kid"] {
					continue
				}
				if k.Issuer != f.Issuer() || k.Use != "sig" || k.Thumbprint == "" {
					t.Errorf("key is not published as Entra does: %+v", k)
				}
				n, _ := base64.RawURLEncoding.DecodeString(k.Modulus)
				e, _ := base64.RawURLEncoding.DecodeString(k.Exponent)
				return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}, nil
			}
			return nil, jwt.ErrTokenUnverifiable
		})
	if err != nil {
		return nil, nil, false
	}
	return parsed.Header, claims, true
}

func TestTokenHasTheV2Shape(t *testing.T) {
	f := newFixture(t, 0)
	lifetimes := map[int64]bool{}
	for range 8 {
		_, a := f.post(t, secretForm())
		header, claims, ok := f.verify(t, a.AccessToken)
		if !ok {
			t.Fatal("token does not verify with the published keys")
		}
		if header["typ"] != "JWT" || header["alg"] != "RS256" || header["kid"] != f.KeyID() {
			t.Errorf("header %v", header)
		}
		for name, want := range map[string]any{
			"aud": resource, "iss": f.Issuer(), "sub": objectID, "oid": objectID, "azp": clientID,
			"azpacr": "1", "tid": f.TenantID(), "ver": "2.0",
		} {
			if claims[name] != want {
				t.Errorf("%s: got %v, want %v", name, claims[name], want)
			}
		}
		for _, name := range []string{"uti", "rh", "aio", "nbf", "iat"} {
			if claims[name] == nil {
				t.Errorf("%s is missing", name)
			}
		}
		if claims["jti"] != nil || claims["roles"] != nil {
			t.Error("app-only v2 tokens carry neither jti nor roles")
		}
		exp, _ := claims["exp"].(float64)
		life := time.Unix(int64(exp), 0).Sub(start)
		if life < time.Hour || life > 90*time.Minute {
			t.Errorf("lifetime %s, want 60 to 90 minutes", life)
		}
		if a.ExpiresIn != int64(life/time.Second)-1 {
			t.Errorf("expires_in %d for a life of %s", a.ExpiresIn, life)
		}
		lifetimes[a.ExpiresIn] = true
	}
	if len(lifetimes) < 2 {
		t.Error("lifetimes are not random")
	}
}

func TestConfiguredLifetime(t *testing.T) {
	f := newFixture(t, 10*time.Second)
	_, a := f.post(t, secretForm())
	_, claims, ok := f.verify(t, a.AccessToken)
	if exp, _ := claims["exp"].(float64); !ok || int64(exp) != start.Add(10*time.Second).Unix() {
		t.Fatalf("exp %v, want start + 10 s", claims["exp"])
	}
	handed, err := f.Assertion(clientID, resource)
	if err != nil {
		t.Fatal(err)
	}
	if _, claims, ok := f.verify(t, handed); !ok || claims["sub"] != objectID {
		t.Error("Assertion does not return what the endpoint issues")
	}
	if _, err := f.Assertion(objectID, resource); err == nil {
		t.Error("Assertion for an unknown client succeeded")
	}
}

func TestDiscovery(t *testing.T) {
	f := newFixture(t, 0)
	var d struct {
		Issuer        string `json:"issuer"`
		JWKSURI       string `json:"jwks_uri"`
		TokenEndpoint string `json:"token_endpoint"`
	}
	if status := f.get(t, f.Issuer()+"/.well-known/openid-configuration", &d); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	if d.Issuer != f.Issuer() || d.JWKSURI != f.JWKSURI() || d.TokenEndpoint != f.TokenURL() {
		t.Errorf("document %+v", d)
	}
	if want := f.base + "/" + f.TenantID() + "/v2.0"; f.Issuer() != want {
		t.Errorf("issuer %q, want %q", f.Issuer(), want)
	}
	var a answer
	if status := f.get(t, f.base+"/"+objectID+"/v2.0/.well-known/openid-configuration", &a); status != http.StatusBadRequest {
		t.Errorf("other tenant: status %d", status)
	}
	if got := f.Stats(); got.DiscoveryFetches != 1 || got.KeyFetches != 0 {
		t.Errorf("stats %+v", got)
	}
}

func TestRotation(t *testing.T) {
	f := newFixture(t, 0)
	token := func() string {
		_, a := f.post(t, secretForm())
		return a.AccessToken
	}
	verifies := func(token string) bool {
		_, _, ok := f.verify(t, token)
		return ok
	}
	oldID, old := f.KeyID(), token()

	announced, err := f.Announce()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := f.Announce(); err != nil || again != announced {
		t.Errorf("a second announcement made another key: %v", err)
	}
	if f.KeyID() != oldID {
		t.Error("an announced key signs already")
	}
	rotated, err := f.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	if rotated != announced || f.KeyID() != rotated {
		t.Error("the announced key does not sign after the rotation")
	}
	fresh := token()
	if !verifies(old) || !verifies(fresh) {
		t.Error("old and new tokens must both verify before the withdrawal")
	}
	if !f.Withdraw(oldID) || f.Withdraw(oldID) {
		t.Error("Withdraw must say whether the key was published")
	}
	if verifies(old) || !verifies(fresh) {
		t.Error("after the withdrawal only the new token verifies")
	}
	f.Withdraw(rotated)
	if verifies(token()) {
		t.Error("a token of a withdrawn signing key verifies")
	}
	f.Restore()
	if !verifies(token()) {
		t.Error("a restored key does not verify")
	}
}

// holder is a client certificate with its key, made once for all tests.
type holder struct {
	key         *rsa.PrivateKey
	certificate *x509.Certificate
}

var newHolders = sync.OnceValues(func() (made [2]holder, err error) {
	for n := range made {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return made, err
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "workload"},
			NotBefore: start, NotAfter: start.Add(time.Hour),
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			return made, err
		}
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return made, err
		}
		made[n] = holder{key, certificate}
	}
	return made, nil
})

func (h holder) sign(t *testing.T, method jwt.SigningMethod, header map[string]any, claims jwt.MapClaims, key crypto.PrivateKey) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	sum := sha256.Sum256(h.certificate.Raw)
	token.Header["x5t#S256"] = base64.RawURLEncoding.EncodeToString(sum[:])
	for name, value := range header {
		token.Header[name] = value
	}
	signed, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func TestCertificateRequests(t *testing.T) {
	f := newFixture(t, 0)
	holders, err := newHolders()
	if err != nil {
		t.Fatal(err)
	}
	known, stranger := holders[0], holders[1]
	if err := f.AddCertificate(clientID, known.certificate); err != nil {
		t.Fatal(err)
	}
	if err := f.AddCertificate(objectID, known.certificate); err == nil {
		t.Error("a certificate was registered for nobody")
	}
	sum := sha256.Sum256(known.certificate.Raw)
	claims := func(change jwt.MapClaims) jwt.MapClaims {
		c := jwt.MapClaims{
			"iss": clientID, "sub": clientID, "aud": f.TokenURL(), "jti": signing.NewGUID(),
			"iat": start.Unix(), "nbf": start.Unix(), "exp": start.Add(10 * time.Minute).Unix(),
		}
		for name, value := range change {
			if value == nil {
				delete(c, name)
				continue
			}
			c[name] = value
		}
		return c
	}
	ps, rs := jwt.SigningMethodPS256, jwt.SigningMethodRS256
	for _, row := range []struct {
		name      string
		assertion string
		code      int
	}{
		{"PS256", known.sign(t, ps, nil, claims(nil), known.key), 0},
		{"RS256", known.sign(t, rs, nil, claims(nil), known.key), 0},
		{"thumbprint in plain base64", known.sign(t, ps, map[string]any{"x5t#S256": base64.StdEncoding.EncodeToString(sum[:])}, claims(nil), known.key), 0},
		{"PS512", known.sign(t, jwt.SigningMethodPS512, nil, claims(nil), known.key), 700027},
		{"unknown certificate", stranger.sign(t, ps, nil, claims(nil), stranger.key), 700027},
		{"known thumbprint, other key", known.sign(t, ps, nil, claims(nil), stranger.key), 700027},
		{"no thumbprint", known.sign(t, ps, map[string]any{"x5t#S256": ""}, claims(nil), known.key), 700027},
		{"expired", known.sign(t, ps, nil, claims(jwt.MapClaims{"exp": start.Add(-time.Second).Unix()}), known.key), 700024},
		{"not yet valid", known.sign(t, ps, nil, claims(jwt.MapClaims{"nbf": start.Add(time.Minute).Unix()}), known.key), 700024},
		{"valid for days", known.sign(t, ps, nil, claims(jwt.MapClaims{"exp": start.Add(48 * time.Hour).Unix()}), known.key), 700024},
		{"no exp", known.sign(t, ps, nil, claims(jwt.MapClaims{"exp": nil}), known.key), 50027},
		{"no jti", known.sign(t, ps, nil, claims(jwt.MapClaims{"jti": nil}), known.key), 50027},
		{"other issuer", known.sign(t, ps, nil, claims(jwt.MapClaims{"iss": objectID}), known.key), 700021},
		{"other subject", known.sign(t, ps, nil, claims(jwt.MapClaims{"sub": objectID}), known.key), 700021},
		{"issuer as audience", known.sign(t, ps, nil, claims(jwt.MapClaims{"aud": f.Issuer()}), known.key), 700023},
		{"two audiences", known.sign(t, ps, nil, claims(jwt.MapClaims{"aud": []string{f.TokenURL(), "x"}}), known.key), 700023},
		{"not a JWT", "abc", 50027},
	} {
		t.Run(row.name, func(t *testing.T) {
			status, a := f.post(t, assertionForm(row.assertion))
			if row.code == 0 {
				if status != http.StatusOK {
					t.Fatalf("got %d %v", status, a.Codes)
				}
				if _, claims, ok := f.verify(t, a.AccessToken); !ok || claims["azpacr"] != "2" {
					t.Errorf("azpacr %v, want 2 for a certificate", claims["azpacr"])
				}
				return
			}
			if status != http.StatusUnauthorized || a.Error != "invalid_client" {
				t.Errorf("got %d %q", status, a.Error)
			}
			checkErrorShape(t, a, row.code)
		})
	}
	t.Run("replayed", func(t *testing.T) {
		form := assertionForm(known.sign(t, ps, nil, claims(nil), known.key))
		if status, _ := f.post(t, form); status != http.StatusOK {
			t.Fatalf("first use: %d", status)
		}
		_, a := f.post(t, form)
		checkErrorShape(t, a, 50013)
	})
	t.Run("other assertion type", func(t *testing.T) {
		form := assertionForm(known.sign(t, ps, nil, claims(nil), known.key))
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer")
		_, a := f.post(t, form)
		checkErrorShape(t, a, 9002313)
	})
}

func assertionForm(assertion string) url.Values {
	form := secretForm()
	form.Del("client_secret")
	form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	form.Set("client_assertion", assertion)
	return form
}

func TestStatsCountRequestsAndTokens(t *testing.T) {
	f := newFixture(t, 0)
	bad := secretForm()
	bad.Set("client_secret", "wrong")
	f.post(t, secretForm())
	f.post(t, bad)
	if got := f.Stats(); got.TokenRequests != 2 || got.TokensIssued != 1 {
		t.Errorf("stats %+v, want 2 requests and 1 token", got)
	}
}
