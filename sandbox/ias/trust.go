package ias

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/golang-jwt/jwt/v5"
)

// checkAssertion decides whether an assertion is what one of the application's
// trust rules expects. It returns nil or the refusal, which is a failed logon.
func (s *Server) checkAssertion(ctx context.Context, app *Application, assertion string) *refusal {
	var unverified jwt.RegisteredClaims
	if _, _, err := jwt.NewParser().ParseUnverified(assertion, &unverified); err != nil {
		return refuseAssertion("Client assertion cannot be parsed")
	}
	rules := slices.DeleteFunc(slices.Clone(app.Rules), func(r Rule) bool { return r.Issuer != unverified.Issuer })
	if len(rules) == 0 {
		return refuseAssertion("Issuer of the client assertion is not trusted")
	}
	var last *refusal
	for _, rule := range rules {
		if last = s.checkRule(ctx, rule, assertion); last == nil {
			return nil
		}
	}
	return last
}

func (s *Server) checkRule(ctx context.Context, rule Rule, assertion string) *refusal {
	var claims jwt.RegisteredClaims
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{"RS256"}),
		jwt.WithExpirationRequired(),
		jwt.WithIssuer(rule.Issuer),
		jwt.WithTimeFunc(s.now),
	)
	_, err := parser.ParseWithClaims(assertion, &claims, func(t *jwt.Token) (any, error) {
		keyID, _ := t.Header["kid"].(string)
		return s.keySets.key(ctx, rule.JWKSURI, keyID)
	})
	switch {
	case errors.Is(err, errKeysUnreachable):
		return refuseSignature("JSON Web Key Set of the issuer cannot be read")
	case errors.Is(err, jwt.ErrTokenSignatureInvalid), errors.Is(err, jwt.ErrTokenUnverifiable):
		return refuseSignature("Signature of the client assertion is not valid")
	case err != nil:
		return refuseAssertion("Client assertion is not valid")
	case claims.Subject != rule.Subject:
		return refuseAssertion("Subject of the client assertion does not match")
	case rule.Audience != "" && !slices.Contains(claims.Audience, rule.Audience):
		return refuseAssertion("Audience of the client assertion does not match")
	}
	return nil
}

// refusal is an error answer of the token endpoint.
type refusal struct {
	status      int
	code        string
	description string
	messageCode string // header X-message-code
}

func refuseAssertion(why string) *refusal {
	return &refusal{status: http.StatusUnauthorized, code: "invalid_client_assertion", description: why}
}

func refuseSignature(why string) *refusal {
	return &refusal{status: http.StatusUnauthorized, code: "unauthorized_client", description: why}
}

func refuseParameter(why string) *refusal {
	return &refusal{status: http.StatusBadRequest, code: "invalid_request", description: "Missing or wrong parameter: " + why}
}

func refuseClient(why string) *refusal {
	return &refusal{status: http.StatusUnauthorized, code: "invalid_client", description: why}
}

func refuseLocked() *refusal {
	return &refusal{status: http.StatusUnauthorized, code: "invalid_client", description: "Client is locked", messageCode: "PASSWORD_LOCKED"}
}

func refuseResource() *refusal {
	return &refusal{status: http.StatusBadRequest, code: "invalid_target", description: "The requested resource is invalid or unknown"}
}

func refuseGrant() *refusal {
	return &refusal{status: http.StatusBadRequest, code: "unsupported_grant_type", description: "Grant type is not supported"}
}

// refuse words a refusal in the profile of the server.
func (s *Server) refuse(w http.ResponseWriter, r *refusal) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
	if s.profile == ProfileTerse {
		writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
		return
	}
	if r.messageCode != "" {
		w.Header().Set("X-message-code", r.messageCode)
	}
	writeJSON(w, r.status, map[string]string{"error": r.code, "error_description": r.description})
}
