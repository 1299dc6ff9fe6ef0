package sandbox_test

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sfbroker/sandbox"
)

// TestFaults switches each fault on and off: the first company stops where it
// should, the second one works unless both share what broke, and afterwards
// both work again.
func TestFaults(t *testing.T) {
	for _, row := range []struct {
		fault  string
		hop    string
		status int
		code   string // IAS: error; OData: part of the body
		shared bool
	}{
		{sandbox.FaultWrongSubject, "ias", 401, "invalid_client_assertion", false},
		{sandbox.FaultWrongAudience, "ias", 401, "invalid_client_assertion", false},
		{sandbox.FaultWithdrawnKey, "ias", 401, "unauthorized_client", true},
		{sandbox.FaultLockedClient, "ias", 401, "invalid_client", false},
		{sandbox.FaultIASDown, "ias", 0, "", true},
		{sandbox.FaultIASHTML, "ias", 200, "<html>", true},
		{sandbox.FaultIASEndless, "ias", 200, "AAAAAAAA", true},
		{sandbox.FaultEntraDown, "entra", 0, "", true},
		{sandbox.FaultTokenRefused, "odata", 403, "[LGN0022]", false},
		{sandbox.FaultUnmappedClient, "odata", 403, "", false},
		{sandbox.FaultNoPermission, "odata", 403, "", false},
		{sandbox.FaultODataDown, "odata", 503, "", false},
	} {
		for _, profile := range []string{"microsoft", "terse"} {
			if profile == "terse" && row.status != http.StatusUnauthorized {
				continue // the profile words refusals of IAS
			}
			t.Run(row.fault+"/"+profile, func(t *testing.T) {
				s, j := start(t, sandbox.Config{ErrorProfile: profile, TLS: row.shared})
				first, second := s.Info.First(), *s.Info.Second
				j.works(first)
				if err := s.SetFault(row.fault, true); err != nil {
					t.Fatal(err)
				}
				if got := s.ActiveFaults(); !slices.Equal(got, []string{row.fault}) {
					t.Errorf("active: %v", got)
				}
				hop, r := j.walk(first)
				if hop != row.hop || r.status != row.status {
					t.Fatalf("stopped at %s with %d %.200s, %v; want %s with %d", hop, r.status, r.body, r.err, row.hop, row.status)
				}
				checkRefusal(t, r, row.code, row.hop == "ias" && row.status == 401, profile == "terse")
				if !row.shared {
					j.works(second)
				}
				if err := s.SetFault(row.fault, false); err != nil {
					t.Fatal(err)
				}
				if got := s.ActiveFaults(); len(got) != 0 {
					t.Errorf("still active: %v", got)
				}
				j.works(first)
				j.works(second)
			})
		}
	}
}

func checkRefusal(t *testing.T, r reply, code string, oauth, terse bool) {
	t.Helper()
	switch {
	case r.status == 0:
		if !errors.Is(r.err, syscall.ECONNREFUSED) {
			t.Errorf("got %v, want a refused connection", r.err)
		}
	case oauth && terse:
		if strings.TrimSpace(r.body) != `{"error":"invalid_client"}` {
			t.Errorf("terse: %s", r.body)
		}
	case oauth:
		if got := r.field(t, "error"); got != code {
			t.Errorf("error %q, want %q", got, code)
		}
	case !strings.Contains(r.body, code):
		t.Errorf("body %.200s", r.body)
	}
}

func TestEveryFaultIsKnownAndTested(t *testing.T) {
	want := []string{
		"entra-down", "ias-down", "ias-endless", "ias-html", "locked-client", "no-permission", "odata-down",
		"revoke-tokens", "token-refused", "unmapped-client", "withdrawn-key", "wrong-audience", "wrong-subject",
	}
	if got := sandbox.KnownFaults(); !slices.Equal(got, want) {
		t.Errorf("known: %v", got)
	}
}

func TestFaultsFromTheStart(t *testing.T) {
	s, j := start(t, sandbox.Config{Faults: []string{sandbox.FaultWrongSubject, sandbox.FaultODataDown}})
	if hop, _ := j.walk(s.Info.First()); hop != "ias" {
		t.Errorf("stopped at %s", hop)
	}
	if err := s.SetFault(sandbox.FaultWrongSubject, false); err != nil {
		t.Fatal(err)
	}
	if hop, r := j.walk(s.Info.First()); hop != "odata" || r.status != http.StatusServiceUnavailable {
		t.Errorf("stopped at %s with %d", hop, r.status)
	}
	if err := s.SetFault("no-such", true); !errors.Is(err, sandbox.ErrUnknownFault) {
		t.Errorf("unknown fault: %v", err)
	}
}

func TestRevokedTokens(t *testing.T) {
	s, j := start(t, sandbox.Config{})
	at1 := j.askEntra().field(t, "access_token")
	old := j.askIAS(at1, s.Info.First()).field(t, "access_token")
	second := j.askIAS(at1, *s.Info.Second).field(t, "access_token")
	if err := s.SetFault(sandbox.FaultRevokeTokens, true); err != nil {
		t.Fatal(err)
	}
	if r := j.read(old, s.Info.First()); r.status != http.StatusForbidden || !strings.Contains(r.body, "LGN0022") {
		t.Errorf("issued before: %d %s", r.status, r.body)
	}
	if r := j.read(second, *s.Info.Second); r.status != http.StatusOK {
		t.Errorf("of the second company: %d", r.status)
	}
	if len(s.ActiveFaults()) != 0 {
		t.Error("a revocation is not a state")
	}
	j.works(s.Info.First())
}

func TestWrongRulesLockAfterFiveFailures(t *testing.T) {
	s, j := start(t, sandbox.Config{Faults: []string{sandbox.FaultWrongAudience}})
	at1 := j.askEntra().field(t, "access_token")
	for range 5 {
		j.askIAS(at1, s.Info.First())
	}
	if r := j.askIAS(at1, s.Info.First()); r.header.Get("X-message-code") != "PASSWORD_LOCKED" {
		t.Errorf("after five: %d %s", r.status, r.body)
	}
	if got := s.Stats().IAS.MaxFailedLogons; got != 5 {
		t.Errorf("max failed logons %d", got)
	}
	if err := s.SetFault(sandbox.FaultWrongAudience, false); err != nil {
		t.Fatal(err)
	}
	if r := j.askIAS(at1, s.Info.First()); r.status != http.StatusUnauthorized {
		t.Errorf("a mended rule unlocks nothing: %d", r.status)
	}
	s.UnlockClient(s.Info.IASClientID)
	if r := j.askIAS(at1, s.Info.First()); r.status != http.StatusOK {
		t.Errorf("unlocked: %d", r.status)
	}
}

func TestCertificateOfTheWorkload(t *testing.T) {
	s, j := start(t, sandbox.Config{})
	certPEM, keyPEM, err := s.ClientCertificate()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	token := jwt.NewWithClaims(jwt.SigningMethodPS256, jwt.MapClaims{
		"iss": s.Info.WorkloadClientID, "sub": s.Info.WorkloadClientID, "aud": s.Info.EntraTokenURL,
		"jti": "1", "exp": time.Now().Add(5 * time.Minute).Unix(),
	})
	sum := sha256.Sum256(pair.Certificate[0])
	token.Header["x5t#S256"] = base64.RawURLEncoding.EncodeToString(sum[:])
	assertion, err := token.SignedString(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	r := j.form(s.Info.EntraTokenURL, url.Values{
		"grant_type": {"client_credentials"}, "client_id": {s.Info.WorkloadClientID}, "scope": {s.Info.Scope},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion},
	})
	if r.status != http.StatusOK {
		t.Fatalf("got %d %s", r.status, r.body)
	}
}

func TestControlServer(t *testing.T) {
	s, j := start(t, sandbox.Config{})
	bearer := "Bearer " + s.Info.ControlToken
	for _, row := range []struct {
		name, method, path, authorization, body string
		status                                  int
	}{
		{"info", "GET", "/info", bearer, "", 200},
		{"scheme in lower case", "GET", "/info", "bearer " + s.Info.ControlToken, "", 200},
		{"no token", "GET", "/info", "", "", 401},
		{"wrong token", "GET", "/info", bearer + "x", "", 401},
		{"token with another scheme", "GET", "/info", "Basic " + s.Info.ControlToken, "", 401},
		{"unknown path without token", "GET", "/nothing", "", "", 401},
		{"unknown path", "GET", "/nothing", bearer, "", 404},
		{"wrong method", "DELETE", "/stats", bearer, "", 405},
		{"stats", "GET", "/stats", bearer, "", 200},
		{"faults", "GET", "/faults", bearer, "", 200},
		{"fault on", "PUT", "/faults/ias-html", bearer, "", 200},
		{"fault off", "DELETE", "/faults/ias-html", bearer, "", 200},
		{"unknown fault", "PUT", "/faults/no-such", bearer, "", 404},
		{"fault by POST", "POST", "/faults/ias-html", bearer, "", 405},
		{"clock", "PUT", "/clock", bearer, `{"offset":"50m"}`, 200},
		{"clock without unit", "PUT", "/clock", bearer, `{"offset":"50"}`, 400},
		{"clock as number", "PUT", "/clock", bearer, `{"offset":50}`, 400},
		{"clock with more", "PUT", "/clock", bearer, `{"offset":"50m","x":1}`, 400},
		{"clock without offset", "PUT", "/clock", bearer, `{}`, 400},
		{"two documents", "PUT", "/clock", bearer, `{"offset":"50m"}{}`, 400},
		{"no JSON", "PUT", "/clock", bearer, `offset`, 400},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := j.do(row.method, s.Info.ControlURL+row.path, row.body, "Authorization", row.authorization)
			if r.status != row.status {
				t.Fatalf("got %d %s, want %d", r.status, r.body, row.status)
			}
			var document map[string]any
			if err := json.Unmarshal([]byte(r.body), &document); err != nil {
				t.Fatalf("not JSON: %v", err)
			}
			if (document["error"] != nil) != (row.status >= 400) {
				t.Errorf("body %s", r.body)
			}
			for _, secret := range []string{s.Info.WorkloadClientSecret, s.Info.ControlToken} {
				if strings.Contains(r.body, secret) {
					t.Error("a secret is in the answer")
				}
			}
		})
	}
	if s.ClockOffset() != 50*time.Minute {
		t.Errorf("offset %s", s.ClockOffset())
	}
	if r := j.do(http.MethodPut, s.Info.ControlURL+"/faults/wrong-subject", "", "Authorization", bearer); r.status != http.StatusOK {
		t.Fatalf("got %d", r.status)
	}
	if hop, _ := j.walk(s.Info.First()); hop != "ias" {
		t.Errorf("stopped at %s", hop)
	}
}
