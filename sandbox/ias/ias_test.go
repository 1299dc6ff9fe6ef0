package ias_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"sfbroker/sandbox/ias"
	"sfbroker/sandbox/signing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	clientID   = "consumer-client"
	otherID    = "other-client"
	providerID = "provider-client"
	subject    = "workload-subject"
	audience   = "workload-audience"
	dependency = "SF-EC-TA"
	byName     = "urn:sap:identity:application:provider:name:"
	byClient   = "urn:sap:identity:application:provider:clientid:"
)

var start = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

var newKeys = sync.OnceValues(func() (keys [3]*signing.Key, err error) {
	for n := range keys {
		if keys[n], err = signing.NewKey("test", start); err != nil {
			return keys, err
		}
	}
	return keys, nil
})

// fixture is an IAS tenant and an issuer that it trusts, both behind real listeners.
type fixture struct {
	*ias.Server
	client *http.Client
	issuer string
	key    *signing.Key // of the issuer
	spare  *signing.Key // of nobody, until published

	offset    atomic.Int64
	published atomic.Pointer[signing.JWKSet]
	fetches   atomic.Int64
	broken    atomic.Bool
}

func (f *fixture) now() time.Time { return start.Add(time.Duration(f.offset.Load())) }

func (f *fixture) publish(keys ...*signing.Key) {
	set := &signing.JWKSet{}
	for _, k := range keys {
		set.Keys = append(set.Keys, k.JWK())
	}
	f.published.Store(set)
}

func newFixture(t *testing.T, change func(*ias.Config)) *fixture {
	t.Helper()
	keys, err := newKeys()
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{key: keys[0], spare: keys[1]}
	f.publish(f.key)
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		f.fetches.Add(1)
		if f.broken.Load() {
			http.Error(w, "no", http.StatusServiceUnavailable)
			return
		}
		_ = json.NewEncoder(w).Encode(f.published.Load())
	}))
	t.Cleanup(issuer.Close)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.ServeHTTP(w, r) }))
	t.Cleanup(front.Close)
	f.client, f.issuer = front.Client(), issuer.URL
	cfg := ias.Config{BaseURL: front.URL, HTTPClient: issuer.Client(), Now: f.now, Key: keys[2]}
	if change != nil {
		change(&cfg)
	}
	if f.Server, err = ias.New(cfg); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{clientID, otherID} {
		if err := f.AddApplication(ias.Application{
			ClientID: id,
			Rules:    []ias.Rule{f.rule()},
			Dependencies: map[string]ias.Dependency{
				dependency: {Provider: providerID, APIs: []string{"sf_technical_access"}},
				"Other":    {Provider: providerID, APIs: []string{"another_api"}},
			},
		}); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func (f *fixture) rule() ias.Rule {
	return ias.Rule{Issuer: f.issuer, JWKSURI: f.issuer + "/keys", Subject: subject, Audience: audience}
}

func (f *fixture) assertion(t *testing.T, key *signing.Key, change map[string]any) string {
	t.Helper()
	claims := map[string]any{
		"iss": f.issuer, "sub": subject, "aud": audience,
		"iat": f.now().Unix(), "nbf": f.now().Unix(), "exp": f.now().Add(time.Hour).Unix(),
	}
	for name, value := range change {
		if value == nil {
			delete(claims, name)
			continue
		}
		claims[name] = value
	}
	signed, err := key.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func (f *fixture) form(t *testing.T) url.Values {
	t.Helper()
	return url.Values{
		"grant_type":            {"client_credentials"},
		"client_id":             {clientID},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {f.assertion(t, f.key, nil)},
		"resource":              {byName + dependency},
		"token_format":          {"jwt"},
	}
}

type answer struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"`
	Error       string `json:"error"`
	Description string `json:"error_description"`

	messageCode string
	retryAfter  string
	body        string
}

func (f *fixture) send(t *testing.T, method, query, media string, form url.Values) (int, answer) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, f.TokenURL()+query, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", media)
	resp, err := f.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{messageCode: resp.Header.Get("X-message-code"), retryAfter: resp.Header.Get("Retry-After"), body: string(body)}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(body, &a); err != nil {
			t.Fatal(err)
		}
	}
	return resp.StatusCode, a
}

func (f *fixture) post(t *testing.T, form url.Values) (int, answer) {
	t.Helper()
	return f.send(t, http.MethodPost, "", "application/x-www-form-urlencoded", form)
}

// fail posts an assertion with another subject.
func (f *fixture) fail(t *testing.T) (int, answer) {
	t.Helper()
	form := f.form(t)
	form.Set("client_assertion", f.assertion(t, f.key, map[string]any{"sub": "somebody else"}))
	return f.post(t, form)
}

func TestTokenRequests(t *testing.T) {
	f := newFixture(t, nil)
	terse := newFixture(t, func(c *ias.Config) { c.Profile = ias.ProfileTerse })
	set := func(name, value string) func(*testing.T, *fixture, url.Values) {
		return func(_ *testing.T, _ *fixture, v url.Values) { v.Set(name, value) }
	}
	del := func(name string) func(*testing.T, *fixture, url.Values) {
		return func(_ *testing.T, _ *fixture, v url.Values) { v.Del(name) }
	}
	claim := func(name string, value any) func(*testing.T, *fixture, url.Values) {
		return func(t *testing.T, f *fixture, v url.Values) {
			v.Set("client_assertion", f.assertion(t, f.key, map[string]any{name: value}))
		}
	}
	for _, row := range []struct {
		name   string
		change func(*testing.T, *fixture, url.Values)
		status int
		code   string
		failed int // failed logons of the client afterwards
	}{
		{"as it should be", func(*testing.T, *fixture, url.Values) {}, 200, "", 0},
		{"audience among several", claim("aud", []string{"x", audience}), 200, "", 0},
		{"default token format", del("token_format"), 200, "", 0},
		{"opaque token format", set("token_format", "opaque"), 200, "", 0},
		{"resource by provider client ID", set("resource", byClient+providerID), 200, "", 0},
		{"no resource", del("resource"), 200, "", 0},

		{"unknown token format", set("token_format", "saml"), 400, "invalid_request", 0},
		{"unknown dependency", set("resource", byName+"Nobody"), 400, "invalid_target", 0},
		{"dependency in other case", set("resource", byName+strings.ToLower(dependency)), 400, "invalid_target", 0},
		{"unknown provider", set("resource", byClient+"nobody"), 400, "invalid_target", 0},
		{"resource that is no URN of these", set("resource", "https://example.com"), 400, "invalid_target", 0},
		{"two resources", func(_ *testing.T, _ *fixture, v url.Values) { v.Add("resource", byName+"Other") }, 400, "invalid_target", 0},
		{"unknown client", set("client_id", "nobody"), 401, "invalid_client", 0},
		{"no client ID", del("client_id"), 400, "invalid_request", 0},
		{"repeated client ID", func(_ *testing.T, _ *fixture, v url.Values) { v.Add("client_id", clientID) }, 400, "invalid_request", 0},
		{"other grant", set("grant_type", "password"), 400, "unsupported_grant_type", 0},
		{"no grant", del("grant_type"), 400, "invalid_request", 0},

		{"no assertion", del("client_assertion"), 401, "invalid_client", 1},
		{"secret", set("client_secret", "guess"), 401, "invalid_client", 1},
		{"other assertion type", set("client_assertion_type", "urn:x"), 401, "invalid_client_assertion", 1},
		{"not a JWT", set("client_assertion", "abc"), 401, "invalid_client_assertion", 1},
		{"other issuer", claim("iss", "https://example.com"), 401, "invalid_client_assertion", 1},
		{"other subject", claim("sub", "somebody else"), 401, "invalid_client_assertion", 1},
		{"subject in other case", claim("sub", strings.ToUpper(subject)), 401, "invalid_client_assertion", 1},
		{"other audience", claim("aud", "api://"+audience), 401, "invalid_client_assertion", 1},
		{"expired", claim("exp", start.Add(-time.Second).Unix()), 401, "invalid_client_assertion", 1},
		{"no exp", claim("exp", nil), 401, "invalid_client_assertion", 1},
		{"not yet valid", claim("nbf", start.Add(time.Hour).Unix()), 401, "invalid_client_assertion", 1},
		{"key that is not published", func(t *testing.T, f *fixture, v url.Values) {
			v.Set("client_assertion", f.assertion(t, f.spare, nil))
		}, 401, "unauthorized_client", 1},
		{"changed signature", func(_ *testing.T, _ *fixture, v url.Values) {
			a := v.Get("client_assertion")
			v.Set("client_assertion", a[:len(a)-8]+"AAAAAAAA")
		}, 401, "unauthorized_client", 1},
		{"symmetric algorithm", func(t *testing.T, f *fixture, v url.Values) {
			token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"iss": f.issuer, "sub": subject, "aud": audience, "exp": start.Add(time.Hour).Unix()}).SignedString([]byte("k"))
			if err != nil {
				t.Fatal(err)
			}
			v.Set("client_assertion", token)
		}, 401, "unauthorized_client", 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			form := f.form(t)
			row.change(t, f, form)
			status, a := f.post(t, form)
			if status != row.status || a.Error != row.code {
				t.Fatalf("got %d %q, want %d %q", status, a.Error, row.status, row.code)
			}
			if status == http.StatusOK && (a.AccessToken == "" || a.TokenType != "Bearer" || a.ExpiresIn != 3600) {
				t.Errorf("answer without token: %d s, %q", a.ExpiresIn, a.TokenType)
			}
			if status != http.StatusOK && a.Description == "" {
				t.Error("the microsoft profile describes its refusals")
			}
			if got := f.Client(clientID).FailedLogons; got != row.failed {
				t.Errorf("%d failed logons, want %d", got, row.failed)
			}
			f.Unlock(clientID)
		})
		t.Run(row.name+", terse", func(t *testing.T) {
			form := terse.form(t)
			row.change(t, terse, form)
			status, a := terse.post(t, form)
			if row.status == http.StatusOK {
				if status != http.StatusOK {
					t.Errorf("got %d", status)
				}
				return
			}
			if status != http.StatusUnauthorized || strings.TrimSpace(a.body) != `{"error":"invalid_client"}` {
				t.Errorf("got %d %s, want a bare 401 invalid_client", status, a.body)
			}
			terse.Unlock(clientID)
		})
	}
	if a := func() answer { v := f.form(t); v.Set("client_id", "nobody"); _, a := f.post(t, v); return a }(); a.Description != "Client not found" {
		t.Errorf("description %q", a.Description)
	}
}

func TestRequestsThatAreNoFormPost(t *testing.T) {
	f := newFixture(t, nil)
	const media = "application/x-www-form-urlencoded"
	for _, row := range []struct {
		name, method, query, media string
		status                     int
	}{
		{"form POST", "POST", "", media, 200},
		{"GET", "GET", "", media, 405},
		{"PUT", "PUT", "", media, 405},
		{"JSON", "POST", "", "application/json", 400},
		{"parameters in the query", "POST", "?resource=x", media, 400},
	} {
		t.Run(row.name, func(t *testing.T) {
			if status, _ := f.send(t, row.method, row.query, row.media, f.form(t)); status != row.status {
				t.Errorf("got %d, want %d", status, row.status)
			}
		})
	}
	if got := f.Client(clientID).FailedLogons; got != 0 {
		t.Errorf("%d failed logons", got)
	}
}

func TestTokenClaims(t *testing.T) {
	f := newFixture(t, func(c *ias.Config) { c.TokenLifetime = 10 * time.Minute })
	read := func(form url.Values) (map[string]any, map[string]any) {
		_, a := f.post(t, form)
		if a.ExpiresIn != 600 {
			t.Errorf("expires_in %d", a.ExpiresIn)
		}
		claims := jwt.MapClaims{}
		token, _, err := jwt.NewParser().ParseUnverified(a.AccessToken, claims)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Verify(a.AccessToken); err != nil {
			t.Errorf("own token does not verify: %v", err)
		}
		return token.Header, claims
	}
	header, claims := read(f.form(t))
	if header["alg"] != "RS256" || header["kid"] == "" {
		t.Errorf("header %v", header)
	}
	for name, want := range map[string]any{
		"iss": f.Issuer(), "ias_iss": f.Issuer(), "sub": clientID, "azp": clientID, "aud": providerID,
		"sap_id_type": "app", "iat": float64(start.Unix()), "exp": float64(start.Add(10 * time.Minute).Unix()),
	} {
		if claims[name] != want {
			t.Errorf("%s: got %v, want %v", name, claims[name], want)
		}
	}
	if got := fmt.Sprint(claims["ias_apis"]); got != "[sf_technical_access]" {
		t.Errorf("ias_apis %s", got)
	}
	if claims["jti"] == nil || claims["app_tid"] == nil {
		t.Error("jti or app_tid is missing")
	}
	both := f.form(t)
	both.Set("resource", byClient+providerID)
	if _, claims := read(both); fmt.Sprint(claims["ias_apis"]) != "[another_api sf_technical_access]" {
		t.Errorf("one token for all dependencies: %v", claims["ias_apis"])
	}
	own := f.form(t)
	own.Del("resource")
	if _, claims := read(own); claims["ias_apis"] != nil || claims["aud"] != clientID {
		t.Errorf("a token for nobody grants %v at %v", claims["ias_apis"], claims["aud"])
	}
}

func TestFiveFailedLogonsLock(t *testing.T) {
	for _, profile := range []ias.Profile{ias.ProfileMicrosoft, ias.ProfileTerse} {
		t.Run(string(profile), func(t *testing.T) {
			f := newFixture(t, func(c *ias.Config) { c.Profile = profile })
			for range 4 {
				f.fail(t)
			}
			if state := f.Client(clientID); state.Locked || state.FailedLogons != 4 {
				t.Fatalf("after four: %+v", state)
			}
			f.fail(t)
			state := f.Client(clientID)
			if !state.Locked || !state.LockedUntil.Equal(start.Add(time.Hour)) {
				t.Fatalf("after five: %+v", state)
			}
			status, a := f.post(t, f.form(t))
			if status != http.StatusUnauthorized || a.Error != "invalid_client" {
				t.Errorf("locked: got %d %q", status, a.Error)
			}
			microsoft := profile == ias.ProfileMicrosoft
			if (a.Description == "Client is locked") != microsoft || (a.messageCode == "PASSWORD_LOCKED") != microsoft {
				t.Errorf("locked: description %q, message code %q", a.Description, a.messageCode)
			}
			f.fail(t)
			if stats := f.Stats(); stats.FailedLogons != 5 || stats.MaxFailedLogons != 5 {
				t.Errorf("logons at a locked client are not looked at: %+v", stats)
			}
			other := f.form(t)
			other.Set("client_id", otherID)
			if status, _ := f.post(t, other); status != http.StatusOK {
				t.Errorf("another client: got %d", status)
			}
			f.offset.Store(int64(time.Hour - time.Second))
			if status, _ := f.post(t, f.form(t)); status != http.StatusUnauthorized {
				t.Errorf("a second before the end: got %d", status)
			}
			f.offset.Store(int64(time.Hour))
			if status, _ := f.post(t, f.form(t)); status != http.StatusOK {
				t.Errorf("after an hour: got %d", status)
			}
		})
	}
}

func TestSuccessStartsTheCountAgain(t *testing.T) {
	f := newFixture(t, nil)
	for range 4 {
		f.fail(t)
	}
	f.offset.Store(int64(24 * time.Hour))
	if got := f.Client(clientID).FailedLogons; got != 4 {
		t.Errorf("time alone made the count %d", got)
	}
	if status, _ := f.post(t, f.form(t)); status != http.StatusOK {
		t.Fatalf("got %d", status)
	}
	if got := f.Client(clientID).FailedLogons; got != 0 {
		t.Errorf("after a success: %d", got)
	}
	for range 4 {
		f.fail(t)
	}
	if f.Client(clientID).Locked {
		t.Error("locked after four in a row")
	}
	if got := f.Stats(); got.MaxFailedLogons != 4 || got.FailedLogons != 8 || got.TokensIssued != 1 {
		t.Errorf("stats %+v", got)
	}
}

func TestAuthenticatedRequestForUnknownResourceIsASuccessfulLogon(t *testing.T) {
	f := newFixture(t, nil)
	f.fail(t)
	form := f.form(t)
	form.Set("resource", byName+"Nobody")
	f.post(t, form)
	if got := f.Client(clientID).FailedLogons; got != 0 {
		t.Errorf("%d failed logons", got)
	}
}

func TestUnlock(t *testing.T) {
	f := newFixture(t, nil)
	f.Lock(clientID)
	if status, _ := f.post(t, f.form(t)); status != http.StatusUnauthorized {
		t.Fatalf("locked: got %d", status)
	}
	f.Unlock(clientID)
	if status, _ := f.post(t, f.form(t)); status != http.StatusOK {
		t.Errorf("unlocked: got %d", status)
	}
}

func TestIssuerKeysAreCachedForADay(t *testing.T) {
	f := newFixture(t, nil)
	ask := func(key *signing.Key) (int, string) {
		form := f.form(t)
		form.Set("client_assertion", f.assertion(t, key, nil))
		status, a := f.post(t, form)
		return status, a.Error
	}
	ask(f.key)
	ask(f.key)
	if got := f.fetches.Load(); got != 1 {
		t.Fatalf("%d fetches, want 1", got)
	}
	f.publish(f.key, f.spare)
	if status, code := ask(f.spare); status != http.StatusUnauthorized || code != "unauthorized_client" {
		t.Errorf("a key published since then: got %d %q", status, code)
	}
	f.offset.Store(int64(24*time.Hour + time.Second))
	if status, _ := ask(f.spare); status != http.StatusOK {
		t.Errorf("after the refresh interval: got %d", status)
	}
	f.publish(f.spare)
	if status, _ := ask(f.key); status != http.StatusOK {
		t.Errorf("a withdrawn key dies only at the refresh: got %d", status)
	}
	f.RefreshKeys()
	if status, code := ask(f.key); status != http.StatusUnauthorized || code != "unauthorized_client" {
		t.Errorf("a withdrawn key after the refresh: got %d %q", status, code)
	}
	f.publish(f.key)
	if err := f.SetRules(clientID, f.rule()); err != nil {
		t.Fatal(err)
	}
	if status, _ := ask(f.key); status != http.StatusOK {
		t.Errorf("saving a rule reads the keys again: got %d", status)
	}
	if got, want := f.Stats().IssuerKeyFetches, f.fetches.Load(); got != want || got != 4 {
		t.Errorf("%d fetches counted, %d made, want 4", got, want)
	}
}

func TestUnreachableKeys(t *testing.T) {
	f := newFixture(t, nil)
	f.broken.Store(true)
	status, a := f.post(t, f.form(t))
	if status != http.StatusUnauthorized || a.Error != "unauthorized_client" {
		t.Errorf("got %d %q", status, a.Error)
	}
	f.broken.Store(false)
	if status, _ := f.post(t, f.form(t)); status != http.StatusOK {
		t.Errorf("reachable again: got %d", status)
	}
	f.broken.Store(true)
	f.offset.Store(int64(25 * time.Hour))
	if status, _ := f.post(t, f.form(t)); status != http.StatusOK {
		t.Errorf("an old set serves while no new one can be read: got %d", status)
	}
}

func TestRules(t *testing.T) {
	f := newFixture(t, nil)
	second := f.rule()
	second.Subject = "somebody else"
	anyAudience := f.rule()
	anyAudience.Audience = ""
	for _, row := range []struct {
		name   string
		rules  []ias.Rule
		claims map[string]any
		status int
	}{
		{"one of two subjects", []ias.Rule{f.rule(), second}, map[string]any{"sub": "somebody else"}, 200},
		{"neither subject", []ias.Rule{f.rule(), second}, map[string]any{"sub": "a third"}, 401},
		{"audience left open", []ias.Rule{anyAudience}, map[string]any{"aud": "whatever"}, 200},
		{"no rule", nil, nil, 401},
	} {
		t.Run(row.name, func(t *testing.T) {
			defer f.Unlock(clientID)
			if err := f.SetRules(clientID, row.rules...); err != nil {
				t.Fatal(err)
			}
			form := f.form(t)
			form.Set("client_assertion", f.assertion(t, f.key, row.claims))
			if status, _ := f.post(t, form); status != row.status {
				t.Errorf("got %d, want %d", status, row.status)
			}
		})
	}
	noSubject := f.rule()
	noSubject.Subject = ""
	if err := f.SetRules(clientID, noSubject); err == nil {
		t.Error("a rule without subject was taken")
	}
	if err := f.SetRules(clientID, slices.Repeat([]ias.Rule{f.rule()}, 20)...); err != nil {
		t.Errorf("twenty rules: %v", err)
	}
	if err := f.SetRules(clientID, slices.Repeat([]ias.Rule{f.rule()}, 21)...); err == nil {
		t.Error("twenty-one rules were taken")
	}
	if err := f.SetRules("nobody", f.rule()); err == nil {
		t.Error("rules were set for nobody")
	}
}

func TestThousandRequestsAMinute(t *testing.T) {
	f := newFixture(t, func(c *ias.Config) { c.RequestsPerMinute = 2 })
	for n, want := range []int{200, 200, 429} {
		status, a := f.post(t, f.form(t))
		if status != want {
			t.Errorf("request %d: got %d, want %d", n+1, status, want)
		}
		if a.retryAfter != "" {
			t.Error("no Retry-After is documented")
		}
	}
	f.offset.Store(int64(time.Minute))
	if status, _ := f.post(t, f.form(t)); status != http.StatusOK {
		t.Errorf("a minute later: got %d", status)
	}
	if stats := f.Stats(); stats.Throttled != 1 || stats.FailedLogons != 0 {
		t.Errorf("stats %+v", stats)
	}
}

func TestVerify(t *testing.T) {
	f := newFixture(t, nil)
	issue := func(change func(url.Values)) string {
		form := f.form(t)
		if change != nil {
			change(form)
		}
		_, a := f.post(t, form)
		return a.AccessToken
	}
	token := issue(nil)
	claims, err := f.Verify(token)
	if err != nil {
		t.Fatal(err)
	}
	if claims.ClientID != clientID || !slices.Equal(claims.Audience, []string{providerID}) ||
		!slices.Equal(claims.APIs, []string{"sf_technical_access"}) || claims.ID == "" ||
		!claims.IssuedAt.Equal(start) || !claims.Expiry.Equal(start.Add(time.Hour)) {
		t.Errorf("claims %+v", claims)
	}
	if _, err := f.Verify(issue(func(v url.Values) { v.Set("token_format", "opaque") })); err == nil {
		t.Error("an opaque token verifies")
	}
	if _, err := f.Verify(f.assertion(t, f.key, map[string]any{"iss": f.Issuer()})); !errors.Is(err, jwt.ErrTokenSignatureInvalid) {
		t.Errorf("a foreign token: %v", err)
	}
	if got := f.Revoke(providerID); got != 1 {
		t.Errorf("%d tokens revoked, want 1", got)
	}
	if revoked, err := f.Verify(token); !errors.Is(err, ias.ErrRevoked) || revoked.ID != claims.ID {
		t.Errorf("revoked: %+v, %v", revoked, err)
	}
	fresh := issue(nil)
	if _, err := f.Verify(fresh); err != nil {
		t.Errorf("issued after the revocation: %v", err)
	}
	f.offset.Store(int64(time.Hour))
	if _, err := f.Verify(fresh); !errors.Is(err, jwt.ErrTokenExpired) {
		t.Errorf("expired: %v", err)
	}
}

func TestDisturbances(t *testing.T) {
	f := newFixture(t, nil)
	f.Disturb(ias.AnswerHTML)
	if status, a := f.post(t, f.form(t)); status != http.StatusOK || !strings.Contains(a.body, "<html>") {
		t.Errorf("HTML: got %d", status)
	}
	f.Disturb(ias.AnswerEndless)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.TokenURL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := f.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.CopyN(io.Discard, bufio.NewReader(resp.Body), 4<<20); err != nil {
		t.Errorf("endless answer ended after %d bytes: %v", n, err)
	}
	_ = resp.Body.Close()
	f.Disturb(ias.Undisturbed)
	if status, _ := f.post(t, f.form(t)); status != http.StatusOK {
		t.Errorf("undisturbed: got %d", status)
	}
}

func TestDiscoveryAndKeys(t *testing.T) {
	f := newFixture(t, nil)
	var document struct {
		Issuer        string `json:"issuer"`
		TokenEndpoint string `json:"token_endpoint"`
		JWKSURI       string `json:"jwks_uri"`
	}
	get := func(address string, into any) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := f.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if err := json.NewDecoder(resp.Body).Decode(into); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("GET %s: %d, %v", address, resp.StatusCode, err)
		}
	}
	get(f.Issuer()+"/.well-known/openid-configuration", &document)
	if document.Issuer != f.Issuer() || document.TokenEndpoint != f.TokenURL() {
		t.Errorf("document %+v", document)
	}
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	get(document.JWKSURI, &set)
	if len(set.Keys) != 1 {
		t.Fatalf("%d keys", len(set.Keys))
	}
	for _, member := range []string{"kty", "n", "e", "use", "kid", "x5c", "x5t#S256"} {
		if set.Keys[0][member] == nil {
			t.Errorf("key without %s", member)
		}
	}
	if set.Keys[0]["alg"] != nil {
		t.Error("IAS publishes no alg")
	}
}

func TestUnknownProfileIsRefused(t *testing.T) {
	if _, err := ias.New(ias.Config{BaseURL: "http://127.0.0.1", HTTPClient: &http.Client{}, Profile: "polite"}); err == nil {
		t.Error("an unknown profile was taken")
	}
}

func TestConcurrentFailuresLockOnce(t *testing.T) {
	f := newFixture(t, nil)
	form := f.form(t)
	form.Set("client_assertion", f.assertion(t, f.key, map[string]any{"sub": "somebody else"}))
	var group sync.WaitGroup
	for range 12 {
		group.Go(func() { f.post(t, form) })
	}
	group.Wait()
	if !f.Client(clientID).Locked {
		t.Error("not locked")
	}
	if f.Stats().MaxFailedLogons < 5 {
		t.Errorf("stats %+v", f.Stats())
	}
}
