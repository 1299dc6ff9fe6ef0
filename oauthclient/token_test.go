package oauthclient_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"sfbroker/oauthclient"
)

const issuer = "https://acme.accounts.ondemand.com"

func received(token string, expiresIn time.Duration) oauthclient.Response {
	return oauthclient.Response{AccessToken: oauthclient.NewSecret(token), TokenType: "Bearer", ExpiresIn: expiresIn, ReceivedAt: start}
}

func TestCheckToken(t *testing.T) {
	claim := func(name string, v any) string { return at2(issuer, start, time.Hour, map[string]any{name: v}) }
	for name, row := range map[string]struct {
		token string
		check oauthclient.TokenCheck // empty: accepted
	}{
		"as IAS issues it":                     {token: claim("jti", "x")},
		"opaque":                               {"7d1f2a-opaque-token", oauthclient.CheckFormat},
		"five segments":                        {"a.b.c.d.e", oauthclient.CheckFormat},
		"empty signature":                      {strings.TrimSuffix(claim("jti", "x"), "c2ln"), oauthclient.CheckClaims},
		"payload not base64url":                {"e30.+/+/.c2ln", oauthclient.CheckClaims},
		"payload padded":                       {"e30.e30=.c2ln", oauthclient.CheckClaims},
		"payload an array":                     {jwtOf(`["sf_technical_access"]`), oauthclient.CheckClaims},
		"payload with garbage after":           {jwtOf(`{} {}`), oauthclient.CheckClaims},
		"payload cut":                          {jwtOf(`{"azp":"x"`), oauthclient.CheckClaims},
		"claim twice":                          {jwtOf(`{"azp":"a","azp":"b"}`), oauthclient.CheckClaims},
		"ias_apis a string":                    {token: claim("ias_apis", "sf_technical_access")},
		"ias_apis a list with more":            {token: claim("ias_apis", []string{"x", "sf_technical_access"})},
		"ias_apis a string with another":       {claim("ias_apis", "sf_technical_access2"), oauthclient.CheckAPIs},
		"ias_apis without it":                  {claim("ias_apis", []string{"principal-propagation"}), oauthclient.CheckAPIs},
		"ias_apis missing":                     {claim("ias_apis", nil), oauthclient.CheckAPIs},
		"ias_apis a number":                    {claim("ias_apis", 1), oauthclient.CheckClaims},
		"ias_apis by another case of its name": {jwtOf(`{"IAS_APIS":"sf_technical_access"}`), oauthclient.CheckAPIs},
		"azp missing, sub is the client":       {token: claim("azp", nil)},
		"sub another, azp is the client":       {token: claim("sub", "user")},
		"client in capitals":                   {token: at2(issuer, start, time.Hour, map[string]any{"azp": strings.ToUpper(clientID), "sub": nil})},
		"neither azp nor sub":                  {at2(issuer, start, time.Hour, map[string]any{"azp": "x", "sub": "y"}), oauthclient.CheckClientID},
		"azp and sub missing":                  {at2(issuer, start, time.Hour, map[string]any{"azp": nil, "sub": nil}), oauthclient.CheckClientID},
		"sub a number":                         {claim("sub", 1), oauthclient.CheckClaims},
		"aud a list":                           {token: claim("aud", []string{"a", "b"})},
		"exp one second ahead":                 {token: claim("exp", start.Unix()+1)},
		"exp now":                              {claim("exp", start.Unix()), oauthclient.CheckExpiry},
		"exp missing":                          {claim("exp", nil), oauthclient.CheckExpiry},
		"exp a string":                         {claim("exp", "1795340000"), oauthclient.CheckClaims},
		"exp out of range":                     {claim("exp", 1e20), oauthclient.CheckExpiry},
		"exp negative":                         {claim("exp", -1), oauthclient.CheckExpiry},
		"twelve hours":                         {token: at2(issuer, start, 12*time.Hour, nil)},
		"twelve hours and skew":                {token: at2(issuer, start, 12*time.Hour+5*time.Minute, nil)},
		"more than twelve hours and skew":      {at2(issuer, start, 12*time.Hour+5*time.Minute+time.Second, nil), oauthclient.CheckLifetime},
		"iat missing":                          {token: claim("iat", nil)},
		"iat a string":                         {claim("iat", "1"), oauthclient.CheckClaims},
		"iat long past":                        {claim("iat", start.Add(-24*time.Hour).Unix()), oauthclient.CheckLifetime},
		"another issuer only warns":            {token: claim("iss", "https://elsewhere.example")},
	} {
		t.Run(name, func(t *testing.T) {
			token, err := oauthclient.CheckToken(received(row.token, 0), application(issuer+"/oauth2/token"), start)
			if row.check == "" {
				if err != nil || token.AccessToken.Reveal() != row.token || token.Expiry.IsZero() {
					t.Errorf("= %+v, %v", token, err)
				}
				return
			}
			var e *oauthclient.TokenError
			if !errors.As(err, &e) || e.Check != row.check {
				t.Fatalf("= %v, want check %s", err, row.check)
			}
			if strings.Contains(err.Error(), row.token) || e.Expected == "" || e.Received == "" {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestOpaqueTokenGetsTheAdvice(t *testing.T) {
	_, err := oauthclient.CheckToken(received("opaque", time.Hour), application(issuer), start)
	if err == nil || !strings.Contains(err.Error(), "token_format=jwt") {
		t.Errorf("%v", err)
	}
}

func TestTokenFields(t *testing.T) {
	token, err := oauthclient.CheckToken(received(at2(issuer, start.Add(-time.Minute), time.Hour, nil), 0), application(issuer+"/oauth2/token"), start)
	if err != nil {
		t.Fatal(err)
	}
	if token.Issuer != issuer || token.Subject != clientID || token.AuthorizedParty != clientID || len(token.Audience) != 1 ||
		token.APIs[0] != "sf_technical_access" || !token.IssuedAt.Equal(start.Add(-time.Minute)) || len(token.Warnings) != 0 {
		t.Errorf("%+v", token)
	}
}

func TestExpiryIsTheEarlierOfTwo(t *testing.T) {
	for name, row := range map[string]struct{ life, expiresIn, want time.Duration }{
		"exp is earlier":             {30 * time.Minute, time.Hour, 30 * time.Minute},
		"expires_in is earlier":      {time.Hour, 30 * time.Minute, 30 * time.Minute},
		"expires_in missing":         {time.Hour, 0, time.Hour},
		"server's clock hours ahead": {5 * time.Hour, time.Hour, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			token, err := oauthclient.CheckToken(received(at2(issuer, start, row.life, nil), row.expiresIn), application(issuer), start)
			if err != nil || !token.Expiry.Equal(start.Add(row.want)) {
				t.Errorf("= %v, %v", token.Expiry, err)
			}
		})
	}
}

func TestTokenWarnings(t *testing.T) {
	for name, row := range map[string]struct {
		iss     string
		issuers []string
		iat     time.Time
		want    string // empty: none
	}{
		"host with https":             {iss: issuer},
		"host without https":          {iss: "acme.accounts.ondemand.com"},
		"host with http":              {iss: "http://acme.accounts.ondemand.com", want: "issuer"},
		"host with a slash":           {iss: issuer + "/", want: "issuer"},
		"configured":                  {iss: "https://custom.example", issuers: []string{"https://custom.example"}},
		"host, but another is wanted": {iss: issuer, issuers: []string{"https://custom.example"}, want: "issuer"},
		"clocks agree within 5 min":   {iss: issuer, iat: start.Add(-5 * time.Minute)},
		"clocks differ":               {iss: issuer, iat: start.Add(-6 * time.Minute), want: "clocks"},
	} {
		t.Run(name, func(t *testing.T) {
			iat := start
			if !row.iat.IsZero() {
				iat = row.iat
			}
			app := application(issuer + "/oauth2/token")
			app.Issuers = row.issuers
			token, err := oauthclient.CheckToken(received(at2(row.iss, iat, time.Hour, nil), 0), app, start)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(token.Warnings, "; ")
			if (row.want == "") != (got == "") || !strings.Contains(got, row.want) {
				t.Errorf("warnings %q, want %q", got, row.want)
			}
		})
	}
}

func FuzzCheckToken(f *testing.F) {
	f.Add(`{"azp":"`+clientID+`","ias_apis":"sf_technical_access","exp":1795341600}`, int64(3600))
	f.Add(`{"sub":"x","aud":[null],"exp":1e400}`, int64(-1))
	f.Fuzz(func(t *testing.T, payload string, expiresIn int64) {
		r := received(jwtOf(payload), time.Duration(expiresIn))
		token, err := oauthclient.CheckToken(r, application(issuer), start)
		if err != nil {
			return
		}
		if !start.Before(token.Expiry) || token.Expiry.Sub(start) > 12*time.Hour+5*time.Minute {
			t.Errorf("accepted with expiry %v", token.Expiry)
		}
		if !strings.EqualFold(token.Subject, clientID) && !strings.EqualFold(token.AuthorizedParty, clientID) {
			t.Errorf("accepted for %q, %q", token.Subject, token.AuthorizedParty)
		}
	})
}
