package oauthclient_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sfbroker/oauthclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	clientID = "7f0a3c1e-1b2d-4f5a-9c3e-000000000001"
	rawAT1   = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIn0.c2lnbmF0dXJlLW9mLWFuLWFzc2VydGlvbg"
)

var start = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: start} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func assertion() oauthclient.Assertion {
	return oauthclient.Assertion{
		Raw: oauthclient.NewSecret(rawAT1), Issuer: "https://issuer.example", Subject: "subject",
		Audience: "audience", KeyID: "k1", Expiry: start.Add(time.Hour),
	}
}

func application(tokenURL string) oauthclient.Application {
	return oauthclient.Application{TokenURL: tokenURL, ClientID: clientID, Resource: oauthclient.Resource("SF-EC-TA")}
}

// client is a client of its own connections, closed at the end of the test.
func client(t testing.TB) *http.Client {
	c := oauthclient.NewHTTPClient(nil)
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func segment(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

func jwtOf(payload string) string {
	return segment(map[string]string{"alg": "RS256"}) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
}

// at2 makes an access token of IAS's shape; overrides replace claims, nil removes.
func at2(issuer string, iat time.Time, life time.Duration, overrides map[string]any) string {
	claims := map[string]any{
		"iss": issuer, "sub": clientID, "azp": clientID, "aud": "provider", "ias_apis": []string{"sf_technical_access"},
		"iat": iat.Unix(), "exp": iat.Add(life).Unix(), "jti": fmt.Sprint(serial.Add(1)),
	}
	maps.Copy(claims, overrides)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	return jwtOf(string(payload))
}

var serial atomic.Int64

// reply answers one token request.
type reply func(w http.ResponseWriter, r *http.Request)

// ias is a token endpoint that fails the test on anything but the exact request.
type ias struct {
	*httptest.Server
	t        testing.TB
	asked    atomic.Int64
	mu       sync.Mutex
	answer   reply
	clientID string
}

func newIAS(t testing.TB, answer reply) *ias {
	s := &ias{t: t, answer: answer, clientID: clientID}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *ias) set(answer reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *ias) tokenURL() string { return s.URL + "/oauth2/token" }

func (s *ias) serve(w http.ResponseWriter, r *http.Request) {
	s.asked.Add(1)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client hung up
	}
	got, err := url.ParseQuery(string(body))
	want := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {s.clientID},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {rawAT1},
		"resource":              {"urn:sap:identity:application:provider:name:SF-EC-TA"},
		"token_format":          {"jwt"},
	}
	if err != nil || got.Encode() != want.Encode() {
		s.t.Errorf("form = %v, %v\nwant   %v", got, err, want)
	}
	if r.Method != http.MethodPost || r.RequestURI != "/oauth2/token" {
		s.t.Errorf("request line %s %s", r.Method, r.RequestURI)
	}
	for name, want := range map[string]string{
		"Authorization": "", "Cookie": "", "Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded",
	} {
		if got := r.Header.Get(name); got != want {
			s.t.Errorf("header %s = %q, want %q", name, got, want)
		}
	}
	s.mu.Lock()
	answer := s.answer
	s.mu.Unlock()
	answer(w, r)
}

// raw answers with a status, a body and headers as "Name: value".
func raw(status int, contentType, body string, headers ...string) reply {
	return func(w http.ResponseWriter, _ *http.Request) {
		if contentType != "" {
			w.Header().Set("Content-Type", contentType)
		}
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func refusal(status int, code, description string, headers ...string) reply {
	return raw(status, "application/json", fmt.Sprintf(`{"error":%q,"error_description":%q}`, code, description), headers...)
}

// issue issues tokens of the given life by the clock.
func issue(now func() time.Time, life time.Duration) reply {
	return func(w http.ResponseWriter, r *http.Request) {
		token := at2("http://"+r.Host, now(), life, nil)
		body := fmt.Sprintf(`{"access_token":%q,"token_type":"Bearer","expires_in":%d}`, token, int64(life/time.Second))
		raw(http.StatusOK, "application/json", body)(w, r)
	}
}

// eventually polls until ok, or fails.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// quoted is s as a JSON string.
func quoted(s string) string {
	data, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(data)
}
