package trust_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"sfbroker/trust"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestVerifyTellsTheIdentity(t *testing.T) {
	i := newIssuer(t, keySet(jwkOf("k1", &rsaKey().PublicKey)))
	w := compile(t, i.rule())
	assertion := mint(jwt.SigningMethodRS256, rsaKey(), "k1", goodClaims(i.URL))
	id := mustVerify(t, w, assertion)
	if id.Issuer != i.URL || id.Subject != subject || id.Audience != audience || id.KeyID != "k1" || id.Rule != "main" {
		t.Errorf("identity %+v", id)
	}
	if !id.Expiry.Equal(testEpoch.Add(3890*time.Second)) || !id.IssuedAt.Equal(testEpoch.Add(-10*time.Second)) {
		t.Errorf("times %s %s", id.IssuedAt, id.Expiry)
	}
	if id.Claims["ver"] != "2.0" || id.Claims["exp"] != json.Number(fmt.Sprint(testEpoch.Unix()+3890)) {
		t.Errorf("claims %v", id.Claims)
	}
	oracles(t, i.URL, assertion)
}

// oracles: what we accept, two libraries accept too.
func oracles(t *testing.T, issuer, assertion string) {
	t.Helper()
	now := func() time.Time { return testEpoch }
	keys := &oidc.StaticKeySet{PublicKeys: nil}
	keys.PublicKeys = append(keys.PublicKeys, &rsaKey().PublicKey, &ecKey().PublicKey, &ec384().PublicKey, edKey().Public())
	config := &oidc.Config{ClientID: audience, Now: now, SupportedSigningAlgs: trust.Algorithms()}
	token, err := oidc.NewVerifier(issuer, keys, config).Verify(context.Background(), assertion)
	if err != nil {
		t.Errorf("go-oidc refuses what we accept: %v", err)
	} else if token.Subject != subject {
		t.Errorf("go-oidc reads subject %q", token.Subject)
	}
	parsed, err := jwt.Parse(assertion, func(token *jwt.Token) (any, error) {
		switch token.Method.Alg() {
		case "ES256":
			return &ecKey().PublicKey, nil
		case "ES384":
			return &ec384().PublicKey, nil
		case "EdDSA":
			return edKey().Public(), nil
		}
		return &rsaKey().PublicKey, nil
	}, jwt.WithTimeFunc(now), jwt.WithIssuer(issuer), jwt.WithAudience(audience), jwt.WithSubject(subject))
	if err != nil || !parsed.Valid {
		t.Errorf("golang-jwt refuses what we accept: %v", err)
	}
}

func TestVerifyCosts(t *testing.T) {
	i := newIssuer(t, keySet(jwkOf("k1", &rsaKey().PublicKey)))
	w := compile(t, i.rule())
	assertion := mint(jwt.SigningMethodRS256, rsaKey(), "k1", goodClaims(i.URL))
	if i.Fetches() != 0 {
		t.Fatal("compiling fetched")
	}
	foreign := mint(jwt.SigningMethodRS256, rsaKey(), "k1", goodClaims("https://elsewhere.example"))
	_, err := w.verify(foreign)
	wantReason(t, err, trust.ReasonIssuerUnknown)
	if i.Fetches() != 0 || w.signatureChecks(t) != 0 {
		t.Errorf("unknown issuer cost %d fetches and %d checks", i.Fetches(), w.signatureChecks(t))
	}
	mustVerify(t, w, assertion)
	fetches, checks := i.Fetches(), w.signatureChecks(t)
	if fetches != 1 || checks != 1 {
		t.Errorf("cold assertion cost %d fetches and %d checks", fetches, checks)
	}
	mustVerify(t, w, assertion)
	if i.Fetches() != fetches || w.signatureChecks(t) != checks+1 {
		t.Errorf("warm assertion cost %d fetches and %d checks", i.Fetches()-fetches, w.signatureChecks(t)-checks)
	}
	broken := assertion[:len(assertion)-8] + "AAAAAAAA"
	_, err = w.verify(broken)
	wantReason(t, err, trust.ReasonSignature)
	if i.Fetches() != fetches {
		t.Error("a bad signature with a known kid fetched")
	}
	if w.count(t, "sfbroker_trust_verdicts_total", "verified") != 2 || w.count(t, "sfbroker_trust_verdicts_total", "signature_invalid") != 1 {
		t.Error("verdicts are not counted")
	}
}

func TestVerifyAlgorithms(t *testing.T) {
	set := keySet(jwkOf("rsa", &rsaKey().PublicKey), jwkOf("p256", &ecKey().PublicKey), jwkOf("p384", &ec384().PublicKey), jwkOf("ed", edKey().Public()))
	rows := []struct {
		method jwt.SigningMethod
		key    any
		keyID  string
	}{
		{jwt.SigningMethodRS256, rsaKey(), "rsa"},
		{jwt.SigningMethodPS256, rsaKey(), "rsa"},
		{jwt.SigningMethodES256, ecKey(), "p256"},
		{jwt.SigningMethodES384, ec384(), "p384"},
		{jwt.SigningMethodEdDSA, edKey(), "ed"},
	}
	for _, row := range rows {
		t.Run(row.method.Alg(), func(t *testing.T) {
			i := newIssuer(t, set)
			rule := i.rule()
			rule.Algorithms = trust.Algorithms()
			assertion := mint(row.method, row.key, row.keyID, goodClaims(i.URL))
			w := compile(t, rule)
			mustVerify(t, w, assertion)
			oracles(t, i.URL, assertion)

			rule.Algorithms = slices.DeleteFunc(trust.Algorithms(), func(a string) bool { return a == row.method.Alg() })
			_, err := compile(t, rule).verify(assertion)
			wantReason(t, err, trust.ReasonAlgorithm)

			for _, other := range rows {
				if other.keyID == row.keyID {
					continue
				}
				_, err := w.verify(mint(row.method, row.key, other.keyID, goodClaims(i.URL)))
				wantReason(t, err, trust.ReasonKeyAlgorithm)
			}
			parts := strings.Split(assertion, ".")
			_, err = w.verify(parts[0] + "." + parts[1] + "." + parts[2][:len(parts[2])-4])
			if reason := reasonOf(t, err); reason != trust.ReasonSignatureLength && reason != trust.ReasonEncoding {
				t.Errorf("short signature: %s", reason)
			}
		})
	}
}

func TestPSSSaltIsAsLongAsTheHash(t *testing.T) {
	i := newIssuer(t, keySet(jwkOf("k1", &rsaKey().PublicKey)))
	rule := i.rule()
	rule.Algorithms = []string{"PS256"}
	w := compile(t, rule)
	method := *jwt.SigningMethodPS256
	options := *method.Options
	options.SaltLength = 20
	method.Options = &options
	_, err := w.verify(mint(&method, rsaKey(), "k1", goodClaims(i.URL)))
	wantReason(t, err, trust.ReasonSignature)
	mustVerify(t, w, mint(jwt.SigningMethodPS256, rsaKey(), "k1", goodClaims(i.URL)))
}

// shapeRow is one text that differs from a good one in one thing.
type shapeRow struct {
	name string
	text string
	want trust.Reason
}

func shapeRows(issuer string) []shapeRow {
	good := raw(goodHeader, payload(goodClaims(issuer)))
	body := payload(goodClaims(issuer))
	open := strings.TrimSuffix(body, "}")
	parts := strings.Split(good, ".")
	header := func(h string) string { return raw(h, body) }
	claims := func(p string) string { return raw(goodHeader, p) }
	nested := func(depth int) string {
		return open + `,"x":` + strings.Repeat("[", depth-1) + strings.Repeat("]", depth-1) + "}"
	}
	upper := strings.NewReplacer(`"iss"`, `"ISS"`, `"aud"`, `"AUD"`, `"sub"`, `"SUB"`, `"exp"`, `"EXP"`).Replace(body)
	return []shapeRow{
		{"control", good, ""},
		{"empty", "", trust.ReasonShape},
		{"two segments", parts[0] + "." + parts[1], trust.ReasonShape},
		{"empty signature", parts[0] + "." + parts[1] + ".", trust.ReasonShape},
		{"four segments", good + ".x", trust.ReasonShape},
		{"five segments are a JWE", good + ".x.y", trust.ReasonEncrypted},
		{"flattened JSON serialization", `{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`, trust.ReasonShape},
		{"leading space", " " + good, trust.ReasonAlphabet},
		{"trailing newline", good + "\n", trust.ReasonAlphabet},
		{"newline inside the signature", good[:len(good)-9] + "\n" + good[len(good)-9:], trust.ReasonAlphabet},
		{"padding", good + "==", trust.ReasonAlphabet},
		{"base64 alphabet", parts[0] + "." + parts[1] + ".+/" + parts[2][2:], trust.ReasonAlphabet},
		{"non-canonical trailing bits", malleate(good), trust.ReasonEncoding},
		{"impossible base64 length", good + "AAA", trust.ReasonEncoding},
		{"too long by one", good + strings.Repeat("A", 16<<10-len(good)+1), trust.ReasonTooLong},
		{"header too long", header(`{"alg":"RS256","kid":"k1","x":"` + strings.Repeat("x", 6300) + `"}`), trust.ReasonHeaderTooLong},
		{"header just fits", header(`{"alg":"RS256","kid":"k1","x":"` + strings.Repeat("x", 6000) + `"}`), ""},

		{"header no object", header(`["alg"]`), trust.ReasonNotObject},
		{"payload no object", claims(`"text"`), trust.ReasonNotObject},
		{"payload no JSON", claims(`{iss:1}`), trust.ReasonJSON},
		{"payload empty object with comma", claims(`{,}`), trust.ReasonJSON},
		{"trailing comma", claims(open + `,}`), trust.ReasonJSON},
		{"leading zero", claims(open + `,"x":01}`), trust.ReasonJSON},
		{"bare control character", claims(open + ",\"x\":\"\t\"}"), trust.ReasonJSON},
		{"byte order mark", claims("\ufeff" + body), trust.ReasonJSON},
		{"payload trailing garbage", claims(body + "x"), trust.ReasonTrailingData},
		{"payload twice", claims(body + body), trust.ReasonTrailingData},
		{"white space around is JSON", claims(" \n" + body + "\t "), ""},
		{"depth 16", claims(nested(16)), ""},
		{"depth 17", claims(nested(17)), trust.ReasonTooDeep},
		{"depth 5000", claims(nested(5000)), trust.ReasonTooDeep},
		{"invalid UTF-8", claims(open + ",\"x\":\"\xff\"}"), trust.ReasonUTF8},
		{"lone high surrogate", claims(open + `,"x":"\ud800"}`), trust.ReasonUTF8},
		{"lone low surrogate", claims(open + `,"x":"\udc00x"}`), trust.ReasonUTF8},
		{"two high surrogates", claims(open + `,"x":"\ud800\ud800"}`), trust.ReasonUTF8},
		{"surrogate pair", claims(open + `,"x":"\ud83d\ude00"}`), ""},
		{"duplicate sub", claims(open + `,"sub":"` + subject + `"}`), trust.ReasonDuplicateName},
		{"duplicate iss", claims(`{"iss":"x",` + body[1:]), trust.ReasonDuplicateName},
		{"duplicate by escape", claims(open + `,"s\u0075b":"x"}`), trust.ReasonDuplicateName},
		{"duplicate deep inside", claims(open + `,"x":[{"a":1,"a":2}]}`), trust.ReasonDuplicateName},
		{"unregistered names in two cases", claims(open + `,"Role":1,"role":2}`), trust.ReasonDuplicateName},
		{"unregistered names in two other cases", claims(open + `,"Role":1,"ROLE":2}`), trust.ReasonDuplicateName},
		{"SUB beside sub", claims(open + `,"SUB":"x"}`), trust.ReasonMisspeltName},
		{"only ISS AUD SUB EXP", claims(upper), trust.ReasonMisspeltName},
		{"long s folds to s", claims(open + `,"ſub":"x"}`), trust.ReasonMisspeltName},
		{"Kid in the header", header(`{"alg":"RS256","Kid":"k1"}`), trust.ReasonMisspeltName},
		{"other names may have capitals", claims(open + `,"xms_FTD":"x","groupId":1}`), ""},

		{"crit unknown", header(`{"alg":"RS256","kid":"k1","crit":["x"],"x":"1"}`), trust.ReasonCritical},
		{"crit empty", header(`{"alg":"RS256","kid":"k1","crit":[]}`), trust.ReasonCritical},
		{"crit null", header(`{"alg":"RS256","kid":"k1","crit":null}`), trust.ReasonCritical},
		{"b64 false", header(`{"alg":"RS256","kid":"k1","b64":false}`), trust.ReasonUnencoded},
		{"b64 true", header(`{"alg":"RS256","kid":"k1","b64":true}`), trust.ReasonUnencoded},
		{"zip", header(`{"alg":"RS256","kid":"k1","zip":"DEF"}`), trust.ReasonCompressed},
		{"enc", header(`{"alg":"RS256","kid":"k1","enc":"A128GCM"}`), trust.ReasonEncryption},
		{"p2c", header(`{"alg":"RS256","kid":"k1","p2c":1}`), trust.ReasonPassword},
		{"cty", header(`{"alg":"RS256","kid":"k1","cty":"JWT"}`), trust.ReasonContentType},
		{"header number", header(`{"alg":"RS256","kid":"k1","x":1}`), trust.ReasonHeaderMember},
		{"typ number", header(`{"alg":"RS256","kid":"k1","typ":1}`), trust.ReasonHeaderMember},
		{"alg array", header(`{"alg":["RS256"],"kid":"k1"}`), trust.ReasonHeaderMember},
		{"jku, x5u, jwk and x5c are not used", header(`{"alg":"RS256","kid":"k1","jku":"http://127.0.0.1:1/","x5u":"http://127.0.0.1:1/","jwk":{"kty":"oct"},"x5c":["x"]}`), ""},

		{"alg absent", header(`{"kid":"k1"}`), trust.ReasonAlgorithmMissing},
		{"alg none", header(`{"alg":"none","kid":"k1"}`), trust.ReasonAlgorithm},
		{"alg nOnE", header(`{"alg":"nOnE","kid":"k1"}`), trust.ReasonAlgorithm},
		{"alg HS256", header(`{"alg":"HS256","kid":"k1"}`), trust.ReasonAlgorithm},
		{"alg rs256", header(`{"alg":"rs256","kid":"k1"}`), trust.ReasonAlgorithm},
		{"alg RS512", header(`{"alg":"RS512","kid":"k1"}`), trust.ReasonAlgorithm},
		{"alg PS256 not in the rule", header(`{"alg":"PS256","kid":"k1"}`), trust.ReasonAlgorithm},
		{"duplicate alg", header(`{"alg":"none","alg":"RS256","kid":"k1"}`), trust.ReasonDuplicateName},
		{"duplicate kid", header(`{"alg":"RS256","kid":"k0","kid":"k1"}`), trust.ReasonDuplicateName},

		{"typ absent", header(`{"alg":"RS256","kid":"k1"}`), ""},
		{"typ application/jwt", header(`{"alg":"RS256","kid":"k1","typ":"application/jwt"}`), ""},
		{"typ empty", header(`{"alg":"RS256","kid":"k1","typ":""}`), trust.ReasonType},
		{"typ at+jwt", header(`{"alg":"RS256","kid":"k1","typ":"at+jwt"}`), trust.ReasonType},
		{"typ application/at+JWT", header(`{"alg":"RS256","kid":"k1","typ":"application/at+JWT"}`), trust.ReasonType},
		{"typ secevent+jwt", header(`{"alg":"RS256","kid":"k1","typ":"secevent+jwt"}`), trust.ReasonType},
		{"typ dpop+jwt", header(`{"alg":"RS256","kid":"k1","typ":"dpop+jwt"}`), trust.ReasonType},

		{"kid absent with one key", header(`{"alg":"RS256"}`), ""},
		{"kid empty", header(`{"alg":"RS256","kid":""}`), trust.ReasonKeyIDInvalid},
		{"kid number", header(`{"alg":"RS256","kid":1}`), trust.ReasonKeyIDInvalid},
		{"kid with a line break", header(`{"alg":"RS256","kid":"k1\n"}`), trust.ReasonKeyIDInvalid},
		{"kid of 257", header(`{"alg":"RS256","kid":"` + strings.Repeat("k", 257) + `"}`), trust.ReasonKeyIDInvalid},
		{"kid of 256", header(`{"alg":"RS256","kid":"` + strings.Repeat("k", 256) + `"}`), trust.ReasonKeyUnknown},
	}
}

// malleate flips a bit of the last character that does not reach the bytes.
func malleate(assertion string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := len(assertion) - 1
	return assertion[:last] + string(alphabet[strings.IndexByte(alphabet, assertion[last])^1])
}

func TestVerifyShapeAndHeader(t *testing.T) {
	i := newIssuer(t, keySet(jwkOf("k1", &rsaKey().PublicKey)))
	w := compile(t, i.rule())
	for _, row := range shapeRows(i.URL) {
		t.Run(row.name, func(t *testing.T) {
			_, err := w.verify(row.text)
			if got := reasonOf(t, err); got != row.want {
				t.Errorf("reason %q, want %q (%v)", got, row.want, err)
			}
			if row.want != "" && !slices.Contains(trust.Reasons(), row.want) {
				t.Errorf("%q is not among Reasons()", row.want)
			}
		})
	}
}

func TestVerifyClaims(t *testing.T) {
	i := newIssuer(t, keySet(jwkOf("k1", &rsaKey().PublicKey)))
	w := compile(t, i.rule())
	now := testEpoch.Unix()
	rows := []struct {
		name  string
		claim string
		value any // nil takes the claim away
		want  trust.Reason
	}{
		{"iss absent", "iss", nil, trust.ReasonIssuerMissing},
		{"iss number", "iss", 1, trust.ReasonIssuerMissing},
		{"iss empty", "iss", "", trust.ReasonIssuerMissing},
		{"iss array", "iss", []string{i.URL}, trust.ReasonIssuerMissing},
		{"iss with slash", "iss", i.URL + "/", trust.ReasonIssuerUnknown},
		{"iss upper case", "iss", strings.ToUpper(i.URL), trust.ReasonIssuerUnknown},
		{"iss with space", "iss", i.URL + " ", trust.ReasonIssuerUnknown},
		{"sub absent", "sub", nil, trust.ReasonSubjectMissing},
		{"sub null", "sub", json.RawMessage("null"), trust.ReasonSubjectMissing},
		{"sub number", "sub", 7, trust.ReasonSubjectMissing},
		{"sub empty", "sub", "", trust.ReasonSubjectMissing},
		{"sub other", "sub", "someone", trust.ReasonSubjectMismatch},
		{"sub upper case", "sub", strings.ToUpper(subject), trust.ReasonSubjectMismatch},
		{"sub prefix", "sub", subject[:35], trust.ReasonSubjectMismatch},
		{"aud absent", "aud", nil, trust.ReasonAudienceMissing},
		{"aud empty", "aud", "", trust.ReasonAudienceMissing},
		{"aud null", "aud", json.RawMessage("null"), trust.ReasonAudienceMissing},
		{"aud empty array", "aud", []string{}, trust.ReasonAudienceMissing},
		{"aud number", "aud", 1, trust.ReasonAudienceForm},
		{"aud array with number", "aud", []any{audience, 1}, trust.ReasonAudienceForm},
		{"aud object", "aud", map[string]any{}, trust.ReasonAudienceForm},
		{"aud two values", "aud", []string{audience, "other"}, trust.ReasonAudienceMany},
		{"aud twice the same", "aud", []string{audience, audience}, trust.ReasonAudienceMany},
		{"aud array of one", "aud", []string{audience}, ""},
		{"aud other", "aud", "other", trust.ReasonAudienceMismatch},
		{"aud api URI", "aud", "api://" + audience, trust.ReasonAudienceMismatch},
		{"exp absent", "exp", nil, trust.ReasonExpiryMissing},
		{"exp null", "exp", json.RawMessage("null"), trust.ReasonExpiryInvalid},
		{"exp string", "exp", fmt.Sprint(now + 100), trust.ReasonExpiryInvalid},
		{"exp negative", "exp", -1, trust.ReasonExpiryInvalid},
		{"exp 99999999999999", "exp", 99999999999999, trust.ReasonExpiryInvalid},
		{"exp after the year 9999", "exp", json.RawMessage("253402300800"), trust.ReasonExpiryInvalid},
		{"exp 1e400", "exp", json.RawMessage("1e400"), trust.ReasonExpiryInvalid},
		{"exp 1e-400", "exp", json.RawMessage("1e-400"), trust.ReasonExpired},
		{"exp end of year 9999", "exp", json.RawMessage("253402300799"), trust.ReasonLifetimeTooLong},
		{"exp fraction", "exp", json.RawMessage(fmt.Sprintf("%d.5", now+100)), ""},
		{"exp with exponent", "exp", json.RawMessage(fmt.Sprintf("%de0", now+100)), ""},
		{"exp past within skew", "exp", now - 5, ""},
		{"exp at the edge of skew", "exp", now - 60, trust.ReasonExpired},
		{"exp long past", "exp", now - 3600, trust.ReasonExpired},
		{"nbf ahead within skew", "nbf", now + 60, ""},
		{"nbf ahead beyond skew", "nbf", now + 61, trust.ReasonNotYetValid},
		{"nbf string", "nbf", "0", trust.ReasonNotBeforeInvalid},
		{"nbf absent", "nbf", nil, ""},
		{"iat ahead within skew", "iat", now + 60, ""},
		{"iat a day ahead", "iat", now + 86400, trust.ReasonIssuedInFuture},
		{"iat string", "iat", "0", trust.ReasonIssuedAtInvalid},
		{"iat absent", "iat", nil, ""},
		{"life of a day", "iat", now + 3890 - 86400, ""},
		{"life of a day and a second", "iat", now + 3890 - 86401, trust.ReasonLifetimeTooLong},
		{"life without iat counts from nbf", "exp", now + 86400, trust.ReasonLifetimeTooLong},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			_, err := w.verify(raw(goodHeader, payload(with(goodClaims(i.URL), row.claim, row.value))))
			if got := reasonOf(t, err); got != row.want {
				t.Errorf("reason %q, want %q (%v)", got, row.want, err)
			}
		})
	}
	t.Run("iat after exp", func(t *testing.T) {
		claims := with(with(goodClaims(i.URL), "exp", now-30), "iat", now+30)
		_, err := w.verify(raw(goodHeader, payload(claims)))
		wantReason(t, err, trust.ReasonTimesContradict)
	})
	t.Run("life without iat and nbf counts from now", func(t *testing.T) {
		claims := with(with(with(goodClaims(i.URL), "iat", nil), "nbf", nil), "exp", now+86401)
		_, err := w.verify(raw(goodHeader, payload(claims)))
		wantReason(t, err, trust.ReasonLifetimeTooLong)
		mustVerify(t, w, raw(goodHeader, payload(with(claims, "exp", now+86400))))
	})
}

func TestRuleTypesAndLimits(t *testing.T) {
	i := newIssuer(t, keySet(jwkOf("k1", &rsaKey().PublicKey)))
	rule := i.rule()
	rule.Types = []string{"application/AT+jwt"}
	rule.MaxLifetime, rule.Skew = time.Hour, 300*time.Second
	w := compile(t, rule)
	now := testEpoch.Unix()
	short := with(goodClaims(i.URL), "exp", now+3500)
	mustVerify(t, w, raw(`{"alg":"RS256","kid":"k1","typ":"at+jwt"}`, payload(short)))
	_, err := w.verify(raw(`{"alg":"RS256","kid":"k1","typ":"logout+jwt"}`, payload(short)))
	wantReason(t, err, trust.ReasonType)
	_, err = w.verify(raw(goodHeader, payload(goodClaims(i.URL))))
	wantReason(t, err, trust.ReasonLifetimeTooLong)
	short = with(with(short, "iat", now-900), "nbf", nil)
	mustVerify(t, w, raw(goodHeader, payload(with(short, "exp", now-299))))
	_, err = w.verify(raw(goodHeader, payload(with(short, "exp", now-300))))
	wantReason(t, err, trust.ReasonExpired)
}

func TestExactlyOneRuleMatches(t *testing.T) {
	i := newIssuer(t, keySet(jwkOf("k1", &rsaKey().PublicKey)))
	first, second := i.rule(), i.rule()
	second.Name, second.Subject, second.Audience = "second", "other-subject", "other-audience"
	w := compile(t, first, second)
	if id := mustVerify(t, w, raw(goodHeader, payload(goodClaims(i.URL)))); id.Rule != "main" {
		t.Errorf("rule %q", id.Rule)
	}
	claims := with(with(goodClaims(i.URL), "sub", "other-subject"), "aud", "other-audience")
	if id := mustVerify(t, w, raw(goodHeader, payload(claims))); id.Rule != "second" {
		t.Errorf("rule %q", id.Rule)
	}
	_, err := w.verify(raw(goodHeader, payload(with(claims, "aud", audience))))
	refusal := wantReason(t, err, trust.ReasonSubjectMismatch)
	if refusal.Rule != "main" || refusal.Expected != subject {
		t.Errorf("subject of one rule with audience of another: %+v", refusal)
	}
	if i.Fetches() != 1 {
		t.Errorf("two rules of one issuer cost %d fetches", i.Fetches())
	}
}

func TestNearMisses(t *testing.T) {
	const tenant = "8a1c4f2e-3b5d-4f6a-9c7e-1d2b3a4c5e6f"
	const v1, v2 = "https://sts.windows.net/" + tenant + "/", "https://login.microsoftonline.com/" + tenant + "/v2.0"
	rows := []struct {
		name, claim, expected, received, hint string
		want                                  trust.Reason
	}{
		{"issuer slash", "iss", "https://a.example", "https://a.example/", "trailing slash", trust.ReasonIssuerUnknown},
		{"issuer lacks slash", "iss", "https://a.example/", "https://a.example", "lacks the trailing slash", trust.ReasonIssuerUnknown},
		{"issuer case", "iss", "https://a.example", "https://A.example", "letter case", trust.ReasonIssuerUnknown},
		{"issuer white space", "iss", "https://a.example", "https://a.example ", "white space", trust.ReasonIssuerUnknown},
		{"issuer v1 for v2", "iss", v2, v1, "v1 issuer", trust.ReasonIssuerUnknown},
		{"issuer v2 for v1", "iss", v1, v2, "v2 issuer", trust.ReasonIssuerUnknown},
		{"issuer of another tenant", "iss", v2, strings.Replace(v2, "8a1c", "9b2d", 1), "another Entra tenant", trust.ReasonIssuerUnknown},
		{"audience GUID for URI", "aud", "api://" + tenant, tenant, "bare application ID", trust.ReasonAudienceMismatch},
		{"audience URI for GUID", "aud", tenant, "api://" + tenant, "application ID URI", trust.ReasonAudienceMismatch},
		{"audience URI with host", "aud", "api://" + tenant, "api://" + tenant + "/host", "same application", trust.ReasonAudienceMismatch},
		{"audience slash", "aud", "api://x", "api://x/", "trailing slash", trust.ReasonAudienceMismatch},
		{"subject case", "sub", tenant, strings.ToUpper(tenant), "letter case", trust.ReasonSubjectMismatch},
		{"subject is the client ID", "sub", "0b1e4ff0-6b1f-4b39-9d4e-5b1f0b0c9d00", tenant, "service principal", trust.ReasonSubjectMismatch},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			rule := trust.Rule{Name: "r", Issuer: "https://a.example", Subject: subject, Audience: audience}
			switch row.claim {
			case "iss":
				rule.Issuer = row.expected
			case "aud":
				rule.Audience = row.expected
			case "sub":
				rule.Subject = row.expected
			}
			_, err := compile(t, rule).verify(raw(goodHeader, payload(with(goodClaims("https://a.example"), row.claim, row.received))))
			refusal := wantReason(t, err, row.want)
			if !hinted(refusal, row.hint) || refusal.Rule != "r" {
				t.Errorf("rule %q, hints %q, want one with %q", refusal.Rule, refusal.Hints, row.hint)
			}
			if refusal.Expected != row.expected || refusal.Received != row.received {
				t.Errorf("expected %q, received %q", refusal.Expected, refusal.Received)
			}
		})
	}
}

func TestRefusalIsSafeToPrint(t *testing.T) {
	i := newIssuer(t, keySet(jwkOf("k1", &rsaKey().PublicKey)))
	w := compile(t, i.rule())
	claims := with(goodClaims(i.URL), "sub", "evil\n\x1b[31m\u202e"+strings.Repeat("x", 500))
	_, err := w.verify(raw(goodHeader, payload(claims)))
	refusal := wantReason(t, err, trust.ReasonSubjectMismatch)
	if strings.ContainsAny(refusal.Received, "\n\x1b\u202e") || len(refusal.Received) > 250 {
		t.Errorf("received %q", refusal.Received)
	}
	if strings.Contains(err.Error(), "evil") {
		t.Errorf("the error text shows what was received: %v", err)
	}
}
