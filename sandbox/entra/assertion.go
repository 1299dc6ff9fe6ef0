package entra

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"maps"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// assertionAge is the longest validity that certificate assertions have: the
// documentation asks for 5 to 10 minutes, so a day is certainly a mistake.
const assertionAge = 24 * time.Hour

var errCertificateUnknown = errors.New("certificate is not registered")

// checkAssertion verifies a client assertion signed with a registered
// certificate (RFC 7523 section 3). The caller holds s.mu.
func (s *Server) checkAssertion(c *client, assertion string) *refusal {
	var claims jwt.RegisteredClaims
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{"PS256", "RS256"}),
		jwt.WithExpirationRequired(),
		jwt.WithTimeFunc(s.now),
	)
	_, err := parser.ParseWithClaims(assertion, &claims, c.certificateKey)
	if err != nil {
		return refuseParsed(err)
	}
	now := s.now()
	switch {
	case claims.Issuer != c.ID || claims.Subject != c.ID:
		return refuseAssertion(700021, "Client assertion application identifier doesn't match 'client_id' parameter.")
	case len(claims.Audience) != 1 || claims.Audience[0] != s.TokenURL():
		return refuseAssertion(700023, "Client assertion audience claim does not match Realm issuer. Expected the token endpoint.")
	case claims.ExpiresAt.Sub(now) > assertionAge:
		return refuseAssertion(700024, "Client assertion is not within its valid time range.")
	case claims.ID == "":
		return refuseAssertion(50027, "JWT token is invalid or malformed: no 'jti'.")
	}
	return s.remember(c.ID+"\x00"+claims.ID, claims.ExpiresAt.Time, now)
}

// remember refuses an assertion that was presented before. The caller holds s.mu.
func (s *Server) remember(id string, until, now time.Time) *refusal {
	maps.DeleteFunc(s.replayed, func(_ string, expiry time.Time) bool { return expiry.Before(now) })
	if _, seen := s.replayed[id]; seen {
		return refuseAssertion(50013, "Assertion failed: it was used before.")
	}
	s.replayed[id] = until
	return nil
}

// certificateKey finds the registered certificate by its SHA-256 thumbprint,
// base64url or, as one widespread library writes it, plain base64.
func (c *client) certificateKey(token *jwt.Token) (any, error) {
	text, _ := token.Header["x5t#S256"].(string)
	text = strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(text), "=")
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) != sha256.Size {
		return nil, errCertificateUnknown
	}
	certificate, ok := c.certificates[[sha256.Size]byte(raw)]
	if !ok {
		return nil, errCertificateUnknown
	}
	return certificate.PublicKey, nil
}

func refuseParsed(err error) *refusal {
	switch {
	case errors.Is(err, jwt.ErrTokenExpired), errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return refuseAssertion(700024, "Client assertion is not within its valid time range.")
	case errors.Is(err, errCertificateUnknown):
		return refuseAssertion(700027, "The certificate with identifier used to sign the client assertion is not registered on application.")
	case errors.Is(err, jwt.ErrTokenSignatureInvalid), errors.Is(err, jwt.ErrTokenUnverifiable):
		return refuseAssertion(700027, "Client assertion failed signature validation.")
	}
	return refuseAssertion(50027, "JWT token is invalid or malformed.")
}
