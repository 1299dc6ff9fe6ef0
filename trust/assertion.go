package trust

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// assertion is a strictly parsed and still unverified JWT in JWS compact
// serialization (RFC 7515 section 7.1).
type assertion struct {
	signed    string // header "." payload, as received
	signature []byte

	algorithm string
	typ       string
	hasType   bool
	keyID     string
	ignored   []string // header members that offer keys; never used

	claims map[string]any

	issuer, subject, audience string
}

// parseUnverified applies every check that needs no rule.
func parseUnverified(text string) (*assertion, *Refusal) {
	header, payload, signature, refusal := segments(text)
	if refusal != nil {
		return nil, refusal
	}
	a := &assertion{signed: text[:len(header)+1+len(payload)]}
	if a.signature, refusal = decodeSegment(signature, "signature"); refusal != nil {
		return nil, refusal
	}
	members, refusal := decodeObject(header, "header", registeredHeader)
	if refusal != nil {
		return nil, refusal
	}
	if refusal := a.readHeader(members); refusal != nil {
		return nil, refusal
	}
	if a.claims, refusal = decodeObject(payload, "payload", registeredClaims); refusal != nil {
		return nil, refusal
	}
	return a, nil
}

func segments(text string) (header, payload, signature string, refusal *Refusal) {
	if len(text) > maxAssertionLength {
		return "", "", "", mismatch(ReasonTooLong, fmt.Sprintf("at most %d bytes", maxAssertionLength), fmt.Sprintf("%d bytes", len(text)))
	}
	parts := strings.SplitN(text, ".", 6)
	if len(parts) == 5 {
		return "", "", "", mismatch(ReasonEncrypted, "3 segments (JWS)", "5 segments (JWE)")
	}
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
		return "", "", "", shapeRefusal(text, len(parts))
	}
	if len(parts[0]) > maxHeaderLength {
		return "", "", "", mismatch(ReasonHeaderTooLong, fmt.Sprintf("at most %d bytes", maxHeaderLength), fmt.Sprintf("%d bytes", len(parts[0])))
	}
	return parts[0], parts[1], parts[2], nil
}

func shapeRefusal(text string, count int) *Refusal {
	r := mismatch(ReasonShape, "3 non-empty segments", fmt.Sprintf("%d segments", count))
	switch trimmed := strings.TrimSpace(text); {
	case trimmed == "":
		r.Received = "nothing"
		r.Hints = []string{"the source gave an empty assertion"}
	case strings.HasPrefix(trimmed, "{"):
		r.Received = "JSON"
		r.Hints = []string{"this is a JSON document, perhaps the answer of a token endpoint: the assertion is the value of its access_token"}
	}
	return r
}

func decodeSegment(segment, name string) ([]byte, *Refusal) {
	for i := range len(segment) {
		if !isBase64URL(segment[i]) {
			refusal := refuse(ReasonAlphabet, fmt.Errorf("%s: byte %d is outside the base64url alphabet", name, i))
			refusal.Hints = alphabetHints(segment[i])
			return nil, refusal
		}
	}
	// Strict refuses non-zero trailing bits, so the one text per value is left.
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(segment)
	if err != nil {
		return nil, refuse(ReasonEncoding, fmt.Errorf("%s: base64url is not canonical", name))
	}
	return decoded, nil
}

func isBase64URL(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || isDigit(c) || c == '-' || c == '_'
}

func alphabetHints(c byte) []string {
	switch c {
	case ' ', '\t', '\r', '\n':
		return []string{"white space inside or around the assertion"}
	case '=', '+', '/':
		return []string{"this is base64, a JWT uses base64url without padding"}
	}
	return nil
}

func decodeObject(segment, name string, registered map[string]bool) (map[string]any, *Refusal) {
	decoded, refusal := decodeSegment(segment, name)
	if refusal != nil {
		return nil, refusal
	}
	object, refusal := readObject(string(decoded), registered)
	if refusal != nil {
		if refusal.Err == nil {
			refusal.Err = errors.New(name)
		} else {
			refusal.Err = fmt.Errorf("%s: %w", name, refusal.Err)
		}
		return nil, refusal
	}
	return object, nil
}

func (a *assertion) readHeader(members map[string]any) *Refusal {
	for _, forbidden := range forbiddenMembers {
		if _, present := members[forbidden.name]; present {
			return mismatch(forbidden.reason, "no "+forbidden.name, forbidden.name+" present")
		}
	}
	for name, value := range members {
		if name == "jku" || name == "x5u" || name == "jwk" || name == "x5c" {
			a.ignored = append(a.ignored, name)
			continue
		}
		if _, ok := value.(string); !ok && name != "kid" {
			return mismatch(ReasonHeaderMember, "strings", safe(name)+": "+show(value, true))
		}
	}
	algorithm, present := members["alg"].(string)
	if !present {
		return mismatch(ReasonAlgorithmMissing, "alg", "absent")
	}
	if !supportedAlgorithm(algorithm) {
		return mismatch(ReasonAlgorithm, strings.Join(Algorithms(), " "), algorithm)
	}
	a.algorithm = algorithm
	a.typ, a.hasType = members["typ"].(string)
	return a.readKeyID(members)
}

func (a *assertion) readKeyID(members map[string]any) *Refusal {
	value, present := members["kid"]
	if !present {
		return nil
	}
	keyID, ok := value.(string)
	if !ok || !validKeyID(keyID) {
		return mismatch(ReasonKeyIDInvalid, fmt.Sprintf("a string of 1 to %d printable bytes", maxKeyIDLength), show(value, true))
	}
	a.keyID = keyID
	return nil
}

func validKeyID(keyID string) bool {
	return keyID != "" && len(keyID) <= maxKeyIDLength && !strings.ContainsFunc(keyID, unprintable)
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// forbiddenMembers change what a JWS means, or belong to a JWE.
var forbiddenMembers = [...]struct {
	name   string
	reason Reason
}{
	{"crit", ReasonCritical},
	{"b64", ReasonUnencoded},
	{"zip", ReasonCompressed},
	{"enc", ReasonEncryption},
	{"p2c", ReasonPassword},
	{"cty", ReasonContentType},
}

var registeredHeader = nameSet("alg", "typ", "cty", "kid", "crit", "b64", "zip", "enc", "p2c", "p2s",
	"jku", "jwk", "x5u", "x5c", "x5t", "epk", "apu", "apv", "iv", "tag")

var registeredClaims = nameSet("iss", "sub", "aud", "exp", "nbf", "iat", "jti")

func nameSet(names ...string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}
