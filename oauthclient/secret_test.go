package oauthclient_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"sfbroker/oauthclient"
)

func TestSecretIsNeverPrinted(t *testing.T) {
	const value = "canary-5f4dcc3b5aa765d61d83"
	secret := oauthclient.NewSecret(value)
	type open struct{ S oauthclient.Secret }
	type hidden struct{ s oauthclient.Secret }
	a := oauthclient.Assertion{Raw: secret}
	values := map[string]any{
		"value": secret, "pointer": &secret, "exported field": open{secret}, "unexported field": hidden{secret},
		"slice": []oauthclient.Secret{secret}, "map": map[string]oauthclient.Secret{"k": secret},
		"assertion": a, "token": oauthclient.Token{AccessToken: secret}, "response": &oauthclient.Response{AccessToken: secret},
	}
	for name, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%5.2v"} {
			check(t, name+" "+verb, fmt.Sprintf(verb, v), value)
		}
		if data, err := json.Marshal(v); err != nil {
			t.Errorf("%s json: %v", name, err)
		} else {
			check(t, name+" json", string(data), value)
		}
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "v", v)
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", "v", v)
		check(t, name+" slog", log.String(), value)
	}
	if text, err := secret.MarshalText(); err != nil || string(text) != "[redacted]" {
		t.Errorf("text = %q, %v", text, err)
	}
	if data, err := xml.Marshal(secret); err != nil || strings.Contains(string(data), value) {
		t.Errorf("xml = %q, %v", data, err)
	}
	if got := fmt.Sprintf("%v|%s|%#v", secret, secret, secret); got != "[redacted]|[redacted]|[redacted]" {
		t.Errorf("printed %q", got)
	}
	check(t, "error", fmt.Errorf("with %v: %w", secret, errors.New("x")).Error(), value)
}

func check(t *testing.T, what, got, secret string) {
	t.Helper()
	hexed := fmt.Sprintf("%x", secret)
	if strings.Contains(got, secret) || strings.Contains(strings.ToLower(got), hexed) {
		t.Errorf("%s shows the secret: %s", what, got)
	}
}

func TestSecretReveals(t *testing.T) {
	s := oauthclient.NewSecret("abc")
	if s.Reveal() != "abc" || s.IsZero() || s.Fingerprint() != "ba7816bf8f01" {
		t.Errorf("%q %v %q", s.Reveal(), s.IsZero(), s.Fingerprint())
	}
	if !s.Equal(oauthclient.NewSecret("abc")) || s.Equal(oauthclient.NewSecret("abd")) {
		t.Error("Equal does not compare the secrets")
	}
	var zero oauthclient.Secret
	if zero.Reveal() != "" || !zero.IsZero() || !oauthclient.NewSecret("").IsZero() {
		t.Error("the zero secret is not empty")
	}
}

func TestParseDependency(t *testing.T) {
	for name, row := range map[string]struct {
		in   string
		ok   bool
		hint string
	}{
		"plain name":                 {in: "SF-EC-TA", ok: true},
		"space in it":                {in: "SF EC TA", hint: "Dependencies"},
		"fifty characters":           {in: strings.Repeat("a", 50), ok: true},
		"fifty-one characters":       {in: strings.Repeat("a", 51)},
		"percent-encoded":            {in: "a%20b", ok: true},
		"percent not encoding":       {in: "a%2", hint: "Dependencies"},
		"empty":                      {in: ""},
		"umlaut":                     {in: "Prüfung", hint: "Dependencies"},
		"slash inside":               {in: "a/b", ok: true},
		"slash first":                {in: "/b", hint: "Dependencies"},
		"emoji instead of name":      {in: "urn:sap:identity:application:provider\U0001F4DBSF-EC-TA", hint: `"SF-EC-TA"`},
		"emoji before the name":      {in: "\U0001F4DBSF-EC-TA", hint: `"SF-EC-TA"`},
		"the whole resource instead": {in: "urn:sap:identity:application:provider:name:SF-EC-TA", hint: `"SF-EC-TA"`},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := oauthclient.ParseDependency(row.in)
			var refused *oauthclient.DependencyError
			if row.ok {
				if err != nil || string(d) != row.in {
					t.Fatalf("= %q, %v", d, err)
				}
				if got := oauthclient.Resource(d); got != "urn:sap:identity:application:provider:name:"+row.in {
					t.Errorf("resource %q", got)
				}
				return
			}
			if !errors.As(err, &refused) || !strings.Contains(refused.Hint, row.hint) || d != "" {
				t.Errorf("= %q, %v, hint %q", d, err, refused.Hint)
			}
		})
	}
}
