package ias

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// ErrRevoked means that a token was revoked after it was issued.
var ErrRevoked = errors.New("token was revoked")

// errNotJSON is the cause when ias_apis is neither an array nor a string.
var errNotJSON = errors.New("claim ias_apis is neither an array nor a string")

// issuedToken is remembered until it expires, so that it can be revoked.
type issuedToken struct {
	audience string
	expiry   time.Time
	revoked  bool
}

// pruneEvery keeps the memory of issued tokens from growing for ever.
const pruneEvery = 1024

func (s *Server) remember(id, audience string, expiry time.Time) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.issued)%pruneEvery == pruneEvery-1 {
		maps.DeleteFunc(s.issued, func(_ string, t *issuedToken) bool { return t.expiry.Before(now) })
	}
	s.issued[id] = &issuedToken{audience: audience, expiry: expiry}
}

// Revoke makes Verify refuse all tokens issued so far for an audience and
// returns how many those are.
func (s *Server) Revoke(audience string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	count := 0
	for _, t := range s.issued {
		if t.audience == audience && !t.revoked {
			t.revoked = true
			count++
		}
	}
	return count
}

// Claims is what a verified access token says.
type Claims struct {
	ClientID string
	Audience []string
	APIs     []string
	ID       string
	IssuedAt time.Time
	Expiry   time.Time
}

// accessClaims are the claims of an access token as they travel.
type accessClaims struct {
	jwt.RegisteredClaims
	AuthorizedParty string    `json:"azp"`
	APIs            stringSet `json:"ias_apis"`
}

// stringSet reads an array of strings or a single one.
type stringSet []string

// UnmarshalJSON accepts both spellings.
func (s *stringSet) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*s = stringSet{one}
		return nil
	}
	var many []string
	if json.Unmarshal(data, &many) != nil {
		return errNotJSON
	}
	*s = many
	return nil
}

// Verify is what a service that trusts this tenant does with an access token:
// signature, issuer, expiry, revocation. The audience is left to the service.
// The claims of a token that was revoked come with ErrRevoked; an expired one is
// a jwt.ErrTokenExpired.
func (s *Server) Verify(raw string) (Claims, error) {
	var claims accessClaims
	_, err := jwt.NewParser(
		jwt.WithValidMethods([]string{"RS256"}),
		jwt.WithExpirationRequired(),
		jwt.WithIssuer(s.Issuer()),
		jwt.WithTimeFunc(s.now),
	).ParseWithClaims(raw, &claims, func(*jwt.Token) (any, error) { return s.key.Public(), nil })
	if err != nil {
		return Claims{}, fmt.Errorf("verifying an access token: %w", err)
	}
	s.mu.Lock()
	t := s.issued[claims.ID]
	revoked := t != nil && t.revoked
	s.mu.Unlock()
	verified := Claims{
		ClientID: claims.AuthorizedParty,
		Audience: claims.Audience,
		APIs:     claims.APIs,
		ID:       claims.ID,
		Expiry:   claims.ExpiresAt.Time,
	}
	if claims.IssuedAt != nil {
		verified.IssuedAt = claims.IssuedAt.Time
	}
	if revoked {
		return verified, ErrRevoked
	}
	return verified, nil
}
