package trust_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"

	"sfbroker/trust"
)

const (
	subject  = "6f1c2f0e-96a9-4e24-9a3d-0c2b8f3f5a11"
	audience = "d3590ed6-52b3-4102-aeff-aad2292ab01c"
)

// Keys are made once: an RSA key costs tens of milliseconds.
var (
	rsaKey    = sync.OnceValue(func() *rsa.PrivateKey { return newRSA(2048) })
	rsaOther  = sync.OnceValue(func() *rsa.PrivateKey { return newRSA(2048) })
	rsaWeak   = sync.OnceValue(func() *rsa.PrivateKey { return newRSA(1024) })
	ecKey     = sync.OnceValue(func() *ecdsa.PrivateKey { return newEC(elliptic.P256()) })
	ec384     = sync.OnceValue(func() *ecdsa.PrivateKey { return newEC(elliptic.P384()) })
	edKey     = sync.OnceValue(newEd)
	testEpoch = time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
)

func newRSA(bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return key
}

func newEC(curve elliptic.Curve) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

func newEd() ed25519.PrivateKey {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// jwkOf writes a public key by hand, without the library that reads it.
func jwkOf(keyID string, key crypto.PublicKey) map[string]any {
	m := map[string]any{"use": "sig"}
	if keyID != "" {
		m["kid"] = keyID
	}
	switch k := key.(type) {
	case *rsa.PublicKey:
		m["kty"], m["n"], m["e"] = "RSA", b64(k.N.Bytes()), b64(big.NewInt(int64(k.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil {
			panic(err)
		}
		half := (len(point) - 1) / 2
		m["kty"], m["crv"], m["x"], m["y"] = "EC", k.Curve.Params().Name, b64(point[1:1+half]), b64(point[1+half:])
	case ed25519.PublicKey:
		m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", b64(k)
	}
	return m
}

func keySet(keys ...map[string]any) string {
	document, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err)
	}
	return string(document)
}

// clock is an injected clock.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: testEpoch} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// issuer is a real HTTP server that publishes keys, counts requests and fails
// the test on any it does not know.
type issuer struct {
	URL    string
	mu     sync.Mutex
	body   string
	serve  http.HandlerFunc // replaces the answer of /keys
	fetch  int
	expect []string
}

func newIssuer(t *testing.T, body string) *issuer {
	t.Helper()
	i := &issuer{body: body, expect: []string{"/keys"}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		known := r.Method == http.MethodGet && slices.Contains(i.expect, r.URL.Path)
		i.fetch++
		serve, body := i.serve, i.body
		i.mu.Unlock()
		if !known {
			t.Errorf("unexpected request %s %s", r.Method, r.URL)
			http.NotFound(w, r)
			return
		}
		if serve != nil {
			serve(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, body)
	}))
	t.Cleanup(server.Close)
	i.URL = server.URL
	return i
}

func (i *issuer) Publish(body string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.body, i.serve = body, nil
}

func (i *issuer) Serve(h http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.serve = h
}

func (i *issuer) Fetches() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetch
}

func (i *issuer) rule() trust.Rule {
	return trust.Rule{Name: "main", Issuer: i.URL, JWKSURI: i.URL + "/keys", Subject: subject, Audience: audience}
}

// world is a compiled rule set with its clock and metrics.
type world struct {
	*trust.Rules
	clock    *clock
	registry *prometheus.Registry
}

func compile(t testing.TB, rules ...trust.Rule) *world {
	t.Helper()
	w := &world{clock: newClock(), registry: prometheus.NewRegistry()}
	compiled, err := trust.Compile(trust.Config{
		Rules: rules, AllowInsecureLoopback: true, Now: w.clock.Now, Metrics: trust.NewMetrics(w.registry),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(compiled.Close)
	w.Rules = compiled
	return w
}

// count sums a counter over its labels, or takes the one with a label value.
func (w *world) count(t testing.TB, name, label string) int {
	t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			if label == "" || metric.GetLabel()[0].GetValue() == label {
				sum += metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
			}
		}
	}
	return int(sum)
}

func (w *world) signatureChecks(t testing.TB) int {
	return w.count(t, "sfbroker_trust_signature_checks_total", "")
}

func (w *world) verify(assertion string) (trust.Identity, error) {
	return w.Verify(context.Background(), assertion)
}

// goodClaims are what the rule of an issuer wants.
func goodClaims(issuer string) map[string]any {
	now := testEpoch.Unix()
	return map[string]any{
		"iss": issuer, "sub": subject, "aud": audience, "oid": subject, "azp": "0b1e4ff0-6b1f-4b39-9d4e-5b1f0b0c9d00",
		"iat": now - 10, "nbf": now - 10, "exp": now + 3890, "ver": "2.0",
	}
}

// with returns claims with one changed; nil takes it away.
func with(claims map[string]any, name string, value any) map[string]any {
	if value == nil {
		delete(claims, name)
	} else {
		claims[name] = value
	}
	return claims
}

// mint signs with golang-jwt.
func mint(method jwt.SigningMethod, key any, keyID string, claims map[string]any) string {
	token := jwt.NewWithClaims(method, jwt.MapClaims(claims))
	if keyID != "" {
		token.Header["kid"] = keyID
	}
	signed, err := token.SignedString(key)
	if err != nil {
		panic(err)
	}
	return signed
}

// raw signs a header and a payload exactly as written, with RS256.
func raw(header, payload string) string {
	signed := b64([]byte(header)) + "." + b64([]byte(payload))
	return signed + "." + b64(signRS256(signed))
}

func signRS256(signed string) []byte {
	digest := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(nil, rsaKey(), crypto.SHA256, digest[:])
	if err != nil {
		panic(err)
	}
	return signature
}

const goodHeader = `{"alg":"RS256","typ":"JWT","kid":"k1"}`

func payload(claims map[string]any) string {
	text, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func reasonOf(t testing.TB, err error) trust.Reason {
	t.Helper()
	var refusal *trust.Refusal
	if err == nil {
		return ""
	}
	if !errors.As(err, &refusal) {
		t.Fatalf("error is %T, not a *Refusal: %v", err, err)
	}
	return refusal.Reason
}

func wantReason(t testing.TB, err error, want trust.Reason) *trust.Refusal {
	t.Helper()
	if got := reasonOf(t, err); got != want {
		t.Fatalf("reason %q, want %q (%v)", got, want, err)
	}
	var refusal *trust.Refusal
	errors.As(err, &refusal)
	return refusal
}

func mustVerify(t testing.TB, w *world, assertion string) trust.Identity {
	t.Helper()
	id, err := w.verify(assertion)
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
	return id
}

func hinted(refusal *trust.Refusal, words string) bool {
	return strings.Contains(strings.Join(refusal.Hints, "\n"), words)
}
