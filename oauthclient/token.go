package oauthclient

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	technicalAccess  = "sf_technical_access"
	maxTokenLifetime = 12 * time.Hour // IAS allows 1 to 720 minutes
	clockSkew        = 5 * time.Minute
)

// Token is AT2 after CheckToken.
type Token struct {
	// AccessToken goes out as the Bearer of the API request.
	AccessToken Secret
	// IssuedAt is the token's iat, or the time of receipt when it has none. Expiry
	// is the earlier of its exp and the time of receipt plus expires_in.
	IssuedAt, Expiry time.Time
	// Issuer, Subject and AuthorizedParty are iss, sub and azp.
	Issuer, Subject, AuthorizedParty string
	// Audience is aud, APIs is ias_apis.
	Audience, APIs []string
	// Warnings are oddities that do not make the token useless, one sentence each.
	Warnings []string
}

// TokenCheck names a check of CheckToken.
type TokenCheck string

// The checks, in their order.
const (
	// CheckFormat: the token is a JWT, not opaque.
	CheckFormat TokenCheck = "format"
	// CheckClaims: the payload is one JSON object with claims of the right types.
	CheckClaims TokenCheck = "claims"
	// CheckAPIs: ias_apis contains sf_technical_access.
	CheckAPIs TokenCheck = "ias_apis"
	// CheckClientID: azp or sub is the client ID.
	CheckClientID TokenCheck = "client_id"
	// CheckExpiry: exp is there and in the future.
	CheckExpiry TokenCheck = "exp"
	// CheckLifetime: the token does not live longer than IAS can make it.
	CheckLifetime TokenCheck = "lifetime"
)

// TokenError is a token that the endpoint issued and that cannot be used. The
// logon itself succeeded.
type TokenError struct {
	// Check is the check that failed.
	Check TokenCheck
	// Expected and Received are safe to show to an operator.
	Expected, Received string
}

// Error implements error.
func (e *TokenError) Error() string {
	return fmt.Sprintf("access token refused, check %s: expected %s, received %s", e.Check, e.Expected, e.Received)
}

// CheckToken parses AT2 strictly and checks that SuccessFactors can use it. Its
// signature is not checked: the token came over TLS from the token endpoint
// itself, and SuccessFactors verifies it. now is this machine's time. A failure
// is a *TokenError.
func CheckToken(r Response, app Application, now time.Time) (Token, error) {
	c, err := parseAccessToken(r.AccessToken.Reveal())
	if err != nil {
		return Token{}, err
	}
	t := Token{
		AccessToken: r.AccessToken, Issuer: c.Issuer, Subject: c.Subject, AuthorizedParty: c.AuthorizedParty,
		Audience: c.Audience, APIs: c.APIs, IssuedAt: r.ReceivedAt,
	}
	if !slices.Contains(t.APIs, technicalAccess) {
		return Token{}, &TokenError{CheckAPIs, "ias_apis to contain " + technicalAccess, quoteAll(t.APIs)}
	}
	if err := t.checkClient(app.ClientID); err != nil {
		return Token{}, err
	}
	if err := t.checkTimes(c, r, now); err != nil {
		return Token{}, err
	}
	t.warnIssuer(app)
	return t, nil
}

// accessClaims are the claims of AT2 that are looked at (facts of IAS: aud and
// ias_apis come as a string or as an array).
type accessClaims struct {
	Issuer          string       `json:"iss"`
	Subject         string       `json:"sub"`
	AuthorizedParty string       `json:"azp"`
	Audience        stringOrList `json:"aud"`
	APIs            stringOrList `json:"ias_apis"`
	IssuedAt        *json.Number `json:"iat"`
	Expiry          *json.Number `json:"exp"`
}

type stringOrList []string

// UnmarshalJSON takes a string, an array of strings or null.
func (l *stringOrList) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		var s string
		if err := json.Unmarshal(data, &s); err != nil {
			return err
		}
		*l = stringOrList{s}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(l))
}

func parseAccessToken(raw string) (accessClaims, error) {
	segments := strings.Split(raw, ".")
	if len(segments) != 3 {
		return accessClaims{}, &TokenError{
			CheckFormat, "a signed JWT of three segments (token_format=jwt)",
			fmt.Sprintf("an opaque token of %d characters; set the token format of the application to JWT in IAS", len(raw)),
		}
	}
	malformed := func(received string) (accessClaims, error) {
		return accessClaims{}, &TokenError{CheckClaims, "one JSON object with well-formed claims", received}
	}
	for i, name := range []string{"header", "payload", "signature"} {
		if _, err := base64.RawURLEncoding.Strict().DecodeString(segments[i]); err != nil || segments[i] == "" {
			return malformed("a " + name + " that is not base64url")
		}
	}
	payload, _ := base64.RawURLEncoding.Strict().DecodeString(segments[1])
	fields, err := uniqueMembers(payload)
	if err != nil {
		return malformed("a payload that is " + err.Error())
	}
	c, err := claimsOf(fields)
	if err != nil {
		return malformed(err.Error())
	}
	return c, nil
}

// uniqueMembers decodes one JSON object, exact spelling, no member twice.
func uniqueMembers(data []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	fields := map[string]json.RawMessage{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, errors.New("not valid JSON")
		}
		key, _ := name.(string)
		if _, twice := fields[key]; twice {
			return nil, errors.New("ambiguous: a claim occurs twice")
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, errors.New("not valid JSON")
		}
		fields[key] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, errors.New("not valid JSON")
	}
	if d.More() {
		return nil, errors.New("followed by more data")
	}
	return fields, nil
}

func claimsOf(fields map[string]json.RawMessage) (accessClaims, error) {
	var c accessClaims
	for name, into := range map[string]any{
		"iss": &c.Issuer, "sub": &c.Subject, "azp": &c.AuthorizedParty, "aud": &c.Audience,
		"ias_apis": &c.APIs, "iat": &c.IssuedAt, "exp": &c.Expiry,
	} {
		raw, ok := fields[name]
		if !ok {
			continue
		}
		// json.Number would take a quoted number.
		if _, number := into.(**json.Number); number && len(raw) > 0 && raw[0] == '"' {
			return accessClaims{}, fmt.Errorf("a claim %s of the wrong type", name)
		}
		if err := json.Unmarshal(raw, into); err != nil {
			return accessClaims{}, fmt.Errorf("a claim %s of the wrong type", name)
		}
	}
	return c, nil
}

// checkClient compares without case, since IAS takes a client ID in any, but
// says when the spelling differs.
func (t *Token) checkClient(clientID string) error {
	switch {
	case t.AuthorizedParty == clientID, t.Subject == clientID:
		return nil
	case strings.EqualFold(t.AuthorizedParty, clientID), strings.EqualFold(t.Subject, clientID):
		t.warn("the client ID in the token differs in upper and lower case from the configured one")
		return nil
	}
	return &TokenError{
		CheckClientID, fmt.Sprintf("azp or sub to be %q", clientID),
		fmt.Sprintf("azp %q, sub %q", shown(t.AuthorizedParty), shown(t.Subject)),
	}
}

func (t *Token) checkTimes(c accessClaims, r Response, now time.Time) error {
	if c.Expiry == nil {
		return &TokenError{CheckExpiry, "a claim exp", "none"}
	}
	exp, err := numericDate(*c.Expiry)
	if err != nil {
		return &TokenError{CheckExpiry, "exp to be a NumericDate", "a number out of range"}
	}
	t.Expiry = exp
	if received := r.ReceivedAt.Round(0).Add(r.ExpiresIn); r.ExpiresIn > 0 && received.Before(exp) {
		t.Expiry = received
	}
	if !now.Before(t.Expiry) {
		return &TokenError{
			CheckExpiry, "a time after " + shownTime(now) + ", which is this machine's clock",
			shownTime(t.Expiry),
		}
	}
	life := t.Expiry.Sub(r.ReceivedAt)
	if c.IssuedAt != nil {
		iat, err := numericDate(*c.IssuedAt)
		if err != nil {
			return &TokenError{CheckClaims, "iat to be a NumericDate", "a number out of range"}
		}
		t.IssuedAt = iat
		life = max(life, exp.Sub(iat))
		if ahead := iat.Sub(r.ReceivedAt); ahead.Abs() > clockSkew {
			t.warn(fmt.Sprintf("the clocks of IAS and of this machine differ by %s", ahead.Abs().Round(time.Second)))
		}
	}
	if life > maxTokenLifetime+clockSkew {
		return &TokenError{CheckLifetime, "at most " + maxTokenLifetime.String(), life.Round(time.Second).String()}
	}
	return nil
}

// numericDate reads RFC 7519's NumericDate, fractions allowed, up to year 9999.
func numericDate(n json.Number) (time.Time, error) {
	seconds, err := n.Float64()
	if err != nil || !(seconds >= 0 && seconds < 253402300800) {
		return time.Time{}, errors.New("out of range")
	}
	whole := int64(seconds)
	return time.Unix(whole, int64((seconds-float64(whole))*1e9)), nil
}

func (t *Token) warnIssuer(app Application) {
	accepted := app.Issuers
	if len(accepted) == 0 {
		if u, err := url.Parse(app.TokenURL); err == nil {
			accepted = []string{"https://" + u.Host, u.Host}
			if u.Scheme == "http" {
				accepted = append(accepted, "http://"+u.Host)
			}
		}
	}
	if !slices.Contains(accepted, t.Issuer) {
		t.warn(fmt.Sprintf("the token's issuer is %q, expected was %s", shown(t.Issuer), quoteAll(accepted)))
	}
}

func (t *Token) warn(s string) { t.Warnings = append(t.Warnings, s) }

func shown(s string) string { return scrub(s, 100, nil) }

func shownTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func quoteAll(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	const enough = 10
	quoted := make([]string, 0, min(len(list), enough))
	for _, s := range list[:min(len(list), enough)] {
		quoted = append(quoted, fmt.Sprintf("%q", shown(s)))
	}
	if len(list) > enough {
		quoted = append(quoted, "...")
	}
	return strings.Join(quoted, ", ")
}
