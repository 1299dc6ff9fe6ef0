package workload_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
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

	"sfbroker/oauthclient"
	"sfbroker/workload"
)

const (
	clientID     = "0b1e4ff0-6b1f-4b39-9d4e-5b1f0b0c9d00"
	scope        = "api://d3590ed6-52b3-4102-aeff-aad2292ab01c/.default"
	secretValue  = "hQ8~Zs3cretValueThatMustNotShow.x1"
	tenantPath   = "/8a1c4f2e-3b5d-4f6a-9c7e-1d2b3a4c5e6f/oauth2/v2.0/token"
	assertionTyp = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
)

var (
	epoch  = time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	rsaKey = sync.OnceValue(func() *rsa.PrivateKey { return newRSA(2048) })
)

func newRSA(bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return key
}

// entra is a token endpoint that checks the shape of each request, hands the
// form to the test and answers what it is told.
type entra struct {
	url      string
	requests atomic.Int64
	forms    chan url.Values
	status   int
	body     string
	header   http.Header
}

func newEntra(t *testing.T, status int, body string) *entra {
	t.Helper()
	e := &entra{forms: make(chan url.Values, 100), status: status, body: body, header: http.Header{"Content-Type": {"application/json; charset=utf-8"}}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.requests.Add(1)
		text, err := io.ReadAll(r.Body)
		form, err2 := url.ParseQuery(string(text))
		switch {
		case err != nil || err2 != nil:
			t.Errorf("reading the form: %v %v", err, err2)
		case r.Method != http.MethodPost || r.URL.String() != tenantPath:
			t.Errorf("unexpected request %s %s", r.Method, r.URL)
		case r.Header.Get("Content-Type") != "application/x-www-form-urlencoded":
			t.Errorf("content type %q", r.Header.Get("Content-Type"))
		case r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "":
			t.Error("credentials outside the form")
		case r.Header.Get("Accept") != "application/json":
			t.Errorf("accept %q", r.Header.Get("Accept"))
		}
		e.forms <- form
		for name, values := range e.header {
			w.Header()[name] = values
		}
		w.WriteHeader(e.status)
		fmt.Fprint(w, e.body)
	}))
	t.Cleanup(server.Close)
	e.url = server.URL + tenantPath
	return e
}

const tokenBody = `{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"` + jwtText + `"}`

func (e *entra) config(t *testing.T) workload.EntraConfig {
	t.Helper()
	client := oauthclient.NewHTTPClient(nil)
	t.Cleanup(client.CloseIdleConnections)
	return workload.EntraConfig{
		TokenURL: e.url, ClientID: clientID, Scope: scope, HTTPClient: client,
		Now: func() time.Time { return epoch },
	}
}

func withSecret(config workload.EntraConfig) workload.EntraConfig {
	config.ClientSecret = func() (oauthclient.Secret, error) { return oauthclient.NewSecret(secretValue), nil }
	return config
}

func source(t *testing.T, config workload.EntraConfig) *workload.Entra {
	t.Helper()
	s, err := workload.NewEntra(config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func wantForm(t *testing.T, form url.Values, want map[string]string) {
	t.Helper()
	if len(form) != len(want) {
		t.Errorf("form has %d members, want %d", len(form), len(want))
	}
	for name, value := range want {
		if len(form[name]) != 1 || value != "*" && form.Get(name) != value {
			t.Errorf("form member %s is %q, want %q", name, form[name], value)
		}
	}
}

func TestEntraWithSecret(t *testing.T) {
	e := newEntra(t, 200, tokenBody)
	s := source(t, withSecret(e.config(t)))
	got, err := s.Assertion(context.Background())
	if err != nil || got.Reveal() != jwtText || s.Kind() != "entra" {
		t.Fatalf("got %v, %v", got, err)
	}
	wantForm(t, <-e.forms, map[string]string{
		"grant_type": "client_credentials", "client_id": clientID, "scope": scope, "client_secret": secretValue,
	})
	if _, err := s.Assertion(context.Background()); err != nil || e.requests.Load() != 2 {
		t.Errorf("%d requests for two calls: nothing is cached here (%v)", e.requests.Load(), err)
	}
}

func TestEntraWithCertificate(t *testing.T) {
	e := newEntra(t, 200, tokenBody)
	certPEM, keyPEM, der := newCertificate(t, rsaKey())
	certificate, err := workload.ParseCertificate(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	config := e.config(t)
	var loads atomic.Int64
	config.Certificate = func() (workload.Certificate, error) { loads.Add(1); return certificate, nil }
	s := source(t, config)
	seen := map[string]bool{}
	for range 2 {
		got, err := s.Assertion(context.Background())
		if err != nil || got.Reveal() != jwtText {
			t.Fatalf("got %v, %v", got, err)
		}
		form := <-e.forms
		wantForm(t, form, map[string]string{
			"grant_type": "client_credentials", "client_id": clientID, "scope": scope,
			"client_assertion_type": assertionTyp, "client_assertion": "*",
		})
		seen[checkClientAssertion(t, form.Get("client_assertion"), e.url, der)] = true
	}
	if len(seen) != 2 {
		t.Error("a jti was used twice")
	}
	if loads.Load() != 2 {
		t.Errorf("the certificate was loaded %d times for two uses", loads.Load())
	}
}

func checkClientAssertion(t *testing.T, assertion, tokenURL string, der []byte) (jti string) {
	t.Helper()
	sum := sha256.Sum256(der)
	var claims jwt.MapClaims
	token, err := jwt.NewParser(jwt.WithValidMethods([]string{"PS256"}), jwt.WithoutClaimsValidation(), jwt.WithJSONNumber()).
		ParseWithClaims(assertion, &claims, func(*jwt.Token) (any, error) { return &rsaKey().PublicKey, nil })
	if err != nil {
		t.Fatal(err)
	}
	wantHeader := map[string]any{"alg": "PS256", "typ": "JWT", "x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])}
	if len(token.Header) != len(wantHeader) {
		t.Errorf("header %v", token.Header)
	}
	for name, want := range wantHeader {
		if token.Header[name] != want {
			t.Errorf("header member %s is %v, want %v", name, token.Header[name], want)
		}
	}
	jti, _ = claims["jti"].(string)
	want := map[string]any{
		"aud": tokenURL, "iss": clientID, "sub": clientID, "jti": jti,
		"nbf": json.Number(fmt.Sprint(epoch.Unix())), "iat": json.Number(fmt.Sprint(epoch.Unix())), "exp": json.Number(fmt.Sprint(epoch.Unix() + 300)),
	}
	if len(claims) != len(want) || len(jti) < 20 {
		t.Errorf("claims %v", claims)
	}
	for name, value := range want {
		if claims[name] != value {
			t.Errorf("claim %s is %v, want %v", name, claims[name], value)
		}
	}
	return jti
}

func TestEntraRefusals(t *testing.T) {
	refusal := func(code, rest string) string {
		return fmt.Sprintf(`{"error":"invalid_client","error_description":"AADSTS%s: %s Trace ID: 1 Correlation ID: 2 Timestamp: 2026-11-20 09:00:00Z","error_codes":[%s]}`, code, rest, code)
	}
	rows := []struct {
		name    string
		status  int
		body    string
		cause   workload.Cause
		code    string
		hint    string
		fixedBy workload.Owner
	}{
		{"bad scope", 400, refusal("70011", "scope is not valid."), workload.CauseRefused, "AADSTS70011", ".default", workload.OwnerOperator},
		{"no such resource", 400, refusal("500011", "resource principal not found."), workload.CauseRefused, "AADSTS500011", "service principal", workload.OwnerEntraAdmin},
		{"no such client", 400, refusal("700016", "Application not found."), workload.CauseRefused, "AADSTS700016", "client ID", workload.OwnerEntraAdmin},
		{"wrong secret, echoed", 401, refusal("7000215", "Invalid client secret "+secretValue+"."), workload.CauseRefused, "AADSTS7000215", "not its ID", workload.OwnerEntraAdmin},
		{"expired secret", 401, refusal("7000222", "expired."), workload.CauseRefused, "AADSTS7000222", "expired", workload.OwnerEntraAdmin},
		{"unknown certificate", 401, refusal("700027", "not registered."), workload.CauseRefused, "AADSTS700027", "upload", workload.OwnerEntraAdmin},
		{"clock", 401, refusal("700024", "not within its valid time range."), workload.CauseRefused, "AADSTS700024", "clock", workload.OwnerOperator},
		{"issuer of the credential", 401, refusal("700211", "no match."), workload.CauseRefused, "AADSTS700211", "issuer", workload.OwnerEntraAdmin},
		{"subject case is not the subject", 401, refusal("7002138", "no match."), workload.CauseRefused, "AADSTS7002138", "letter case", workload.OwnerEntraAdmin},
		{"a code of no table", 400, refusal("999999", "something."), workload.CauseRefused, "AADSTS999999", "look the code up", workload.OwnerEntraAdmin},
		{"no code", 400, `{"error":"invalid_client"}`, workload.CauseRefused, "", "no code of its own", workload.OwnerEntraAdmin},
		{"throttled", 429, `{"error":"temporarily_unavailable"}`, workload.CauseUnavailable, "", "", workload.OwnerOperator},
		{"unavailable", 503, "secret-body", workload.CauseUnavailable, "", "at the moment", workload.OwnerOperator},
		{"200 with HTML", 200, "<html>secret-body</html>", workload.CauseGarbled, "", "proxy or portal", workload.OwnerOperator},
		{"200 without a token", 200, `{"token_type":"Bearer"}`, workload.CauseGarbled, "", "", workload.OwnerOperator},
		{"redirect", 302, "", workload.CauseGarbled, "", "", workload.OwnerOperator},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			e := newEntra(t, row.status, row.body)
			if row.status == 302 {
				e.header.Set("Location", "/elsewhere")
			}
			got, err := source(t, withSecret(e.config(t))).Assertion(context.Background())
			failure := wantCause(t, err, row.cause)
			if failure.Code != row.code || !strings.Contains(failure.Hint, row.hint) || failure.FixedBy != row.fixedBy || !got.IsZero() {
				t.Errorf("got %+v", *failure)
			}
			var endpoint *oauthclient.Error
			if !errors.As(err, &endpoint) || endpoint.Status != row.status {
				t.Errorf("the endpoint's error is lost: %v", err)
			}
			text := fmt.Sprintf("%v %+v", err, *failure)
			if strings.Contains(text, secretValue) || strings.Contains(text, "secret-body") {
				t.Errorf("a secret shows: %s", text)
			}
			if e.requests.Load() != 1 {
				t.Errorf("%d requests", e.requests.Load())
			}
		})
	}
}

func TestEntraUnreachableIsNotRefused(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	address := server.URL + tenantPath
	server.Close()
	e := &entra{url: address}
	_, err := source(t, withSecret(e.config(t))).Assertion(context.Background())
	if failure := wantCause(t, err, workload.CauseUnavailable); !strings.Contains(failure.Hint, "network") {
		t.Errorf("hint %q", failure.Hint)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = source(t, withSecret(e.config(t))).Assertion(ctx)
	wantCause(t, err, workload.CauseUnavailable)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cause is lost: %v", err)
	}
}

func TestEntraWithoutCredentialAsksNobody(t *testing.T) {
	broken := errors.New("file is gone")
	e := newEntra(t, 200, tokenBody)
	rows := map[string]func(*workload.EntraConfig){
		"secret fails": func(c *workload.EntraConfig) {
			c.ClientSecret = func() (oauthclient.Secret, error) { return oauthclient.Secret{}, broken }
		},
		"secret empty": func(c *workload.EntraConfig) {
			c.ClientSecret = func() (oauthclient.Secret, error) { return oauthclient.Secret{}, nil }
		},
		"certificate fails": func(c *workload.EntraConfig) {
			c.Certificate = func() (workload.Certificate, error) { return workload.Certificate{}, broken }
		},
		"certificate empty": func(c *workload.EntraConfig) {
			c.Certificate = func() (workload.Certificate, error) { return workload.Certificate{}, nil }
		},
	}
	for name, edit := range rows {
		config := e.config(t)
		edit(&config)
		_, err := source(t, config).Assertion(context.Background())
		wantCause(t, err, workload.CauseMissing)
		if strings.HasSuffix(name, "fails") && !errors.Is(err, broken) {
			t.Errorf("%s: cause is lost: %v", name, err)
		}
	}
	if e.requests.Load() != 0 {
		t.Errorf("%d requests without a credential", e.requests.Load())
	}
}

func TestNewEntraRefuses(t *testing.T) {
	good := func() workload.EntraConfig {
		return withSecret(workload.EntraConfig{TokenURL: "https://login.example/t/oauth2/v2.0/token", ClientID: clientID, Scope: scope})
	}
	rows := []struct {
		name string
		edit func(*workload.EntraConfig)
		ok   bool
	}{
		{"control", func(*workload.EntraConfig) {}, true},
		{"plain http toward loopback", func(c *workload.EntraConfig) { c.TokenURL = "http://127.0.0.1:1/token" }, true},
		{"plain http", func(c *workload.EntraConfig) { c.TokenURL = "http://login.example/token" }, false},
		{"no URL", func(c *workload.EntraConfig) { c.TokenURL = "" }, false},
		{"user in the URL", func(c *workload.EntraConfig) { c.TokenURL = "https://u:p@login.example/token" }, false},
		{"no client", func(c *workload.EntraConfig) { c.ClientID = "" }, false},
		{"scope without .default", func(c *workload.EntraConfig) { c.Scope = "api://x/read" }, false},
		{"two scopes", func(c *workload.EntraConfig) { c.Scope = "a/.default b/.default" }, false},
		{"no credential", func(c *workload.EntraConfig) { c.ClientSecret = nil }, false},
		{"two credentials", func(c *workload.EntraConfig) {
			c.Certificate = func() (workload.Certificate, error) { return workload.Certificate{}, nil }
		}, false},
	}
	for _, row := range rows {
		config := good()
		row.edit(&config)
		if s, err := workload.NewEntra(config); (err == nil) != row.ok || (s != nil) != row.ok {
			t.Errorf("%s: error %v", row.name, err)
		}
	}
}

func TestEntraConcurrently(t *testing.T) {
	e := newEntra(t, 200, tokenBody)
	certPEM, keyPEM, _ := newCertificate(t, rsaKey())
	config := e.config(t)
	config.Certificate = func() (workload.Certificate, error) { return workload.ParseCertificate(certPEM, keyPEM) }
	s := source(t, config)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got, err := s.Assertion(context.Background()); err != nil || got.Reveal() != jwtText {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
	wg.Wait()
	if e.requests.Load() != 8 {
		t.Errorf("%d requests for 8 calls", e.requests.Load())
	}
}

func newCertificate(t *testing.T, key *rsa.PrivateKey) (certPEM, keyPEM, der []byte) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sfbroker test"}, NotBefore: epoch, NotAfter: epoch.AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return encode("CERTIFICATE", der), encode("PRIVATE KEY", pkcs8(t, key)), der
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func pkcs8(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestParseCertificate(t *testing.T) {
	certPEM, keyPEM, der := newCertificate(t, rsaKey())
	other := newRSA(2048)
	weak := newRSA(1024)
	weakCert, weakKey, _ := newCertificate(t, weak)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rows := []struct {
		name      string
		cert, key []byte
		problem   string // empty: accepted
	}{
		{"PKCS 8", certPEM, keyPEM, ""},
		{"PKCS 1", certPEM, encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey())), ""},
		{"both in one file", append(append([]byte{}, keyPEM...), certPEM...), append(append([]byte{}, certPEM...), keyPEM...), ""},
		{"a chain", append(append([]byte{}, certPEM...), weakCert...), keyPEM, ""},
		{"key of another certificate", certPEM, encode("PRIVATE KEY", pkcs8(t, other)), "does not belong"},
		{"issuing certificate first", append(append([]byte{}, weakCert...), certPEM...), keyPEM, "does not belong"},
		{"1024 bits", weakCert, weakKey, "at least 2048"},
		{"EC key", certPEM, encode("PRIVATE KEY", pkcs8(t, ec)), "not RSA"},
		{"encrypted key", certPEM, encode("ENCRYPTED PRIVATE KEY", []byte("x")), "encrypted"},
		{"no key", certPEM, certPEM, "no PEM block with a private key"},
		{"key no PEM", certPEM, []byte("x"), "not PEM"},
		{"no certificate", keyPEM, keyPEM, "type CERTIFICATE"},
		{"broken certificate", encode("CERTIFICATE", []byte("x")), keyPEM, "parsing certificate 1"},
		{"broken key", certPEM, encode("PRIVATE KEY", []byte("x")), "not PKCS #8"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			certificate, err := workload.ParseCertificate(row.cert, row.key)
			if row.problem != "" {
				if err == nil || !strings.Contains(err.Error(), row.problem) {
					t.Errorf("error %v, want %q", err, row.problem)
				}
				return
			}
			sum := sha256.Sum256(der)
			if err != nil || certificate.Thumbprint() != base64.RawURLEncoding.EncodeToString(sum[:]) || !certificate.NotAfter().Equal(epoch.AddDate(1, 0, 0)) {
				t.Errorf("error %v, thumbprint %s", err, certificate.Thumbprint())
			}
		})
	}
}

func TestCertificateRedactsItself(t *testing.T) {
	certPEM, keyPEM, _ := newCertificate(t, rsaKey())
	certificate, err := workload.ParseCertificate(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "certificate", certificate)
	marshalled, err := json.Marshal(map[string]any{"certificate": certificate})
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("%v %+v %#v %s %d %x", certificate, certificate, certificate, certificate, certificate, &certificate) + log.String() + string(marshalled)
	for _, part := range []string{rsaKey().D.String(), rsaKey().D.Text(16), rsaKey().Primes[0].String()} {
		if strings.Contains(text, part[:20]) {
			t.Fatal("the private key shows")
		}
	}
	if strings.Count(text, "[redacted]") != 8 {
		t.Errorf("shows %s", text)
	}
}
