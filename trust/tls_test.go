package trust_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"sfbroker/trust"
)

func TestKeysOverTLS(t *testing.T) {
	rows := []struct {
		name    string
		version uint16
		trusted bool
		want    trust.Reason
	}{
		{"TLS 1.3", tls.VersionTLS13, true, ""},
		{"TLS 1.2", tls.VersionTLS12, true, ""},
		{"TLS 1.1, though the client would take it", tls.VersionTLS11, true, trust.ReasonKeysUnreachable},
		{"unknown authority", tls.VersionTLS13, false, trust.ReasonKeysUnreachable},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprint(w, keySet(jwkOf("k1", &rsaKey().PublicKey)))
			}))
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: row.version} //nolint:gosec // the old peer is the point
			server.StartTLS()
			t.Cleanup(server.Close)
			var client *http.Client
			if row.trusted {
				client = server.Client()
				client.Transport.(*http.Transport).TLSClientConfig.MinVersion = tls.VersionTLS10
			}
			rules, err := trust.Compile(trust.Config{
				Rules:      []trust.Rule{{Name: "r", Issuer: server.URL, JWKSURI: server.URL, Subject: subject, Audience: audience}},
				HTTPClient: client, Now: newClock().Now,
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(rules.Close)
			_, err = rules.Verify(context.Background(), mint(jwt.SigningMethodRS256, rsaKey(), "k1", goodClaims(server.URL)))
			if got := reasonOf(t, err); got != row.want {
				t.Errorf("reason %q, want %q (%v)", got, row.want, err)
			}
		})
	}
}
