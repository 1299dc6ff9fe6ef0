package trust_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sfbroker/trust"
)

const fuzzIssuer = "https://issuer.example"

// FuzzVerify signs whatever header and payload it is given, so that the
// signature proves nothing: verified implies that a rule named the issuer, the
// subject and the audience, and that encoding/json reads the same claims.
func FuzzVerify(f *testing.F) {
	key := edKey()
	path := filepath.Join(f.TempDir(), "keys.json")
	if err := os.WriteFile(path, []byte(keySet(jwkOf("k1", key.Public()))), 0o600); err != nil {
		f.Fatal(err)
	}
	w := compile(f, trust.Rule{
		Name: "r", Issuer: fuzzIssuer, KeysFile: path, Subject: subject, Audience: audience,
		Algorithms: []string{"EdDSA"},
	})
	good := payload(goodClaims(fuzzIssuer))
	header := strings.Replace(goodHeader, "RS256", "EdDSA", 1)
	f.Add(header, good)
	for _, row := range shapeRows(fuzzIssuer) {
		parts := strings.Split(row.text, ".")
		if len(parts) == 3 {
			h, p := decode(parts[0]), decode(parts[1])
			f.Add(strings.Replace(h, "RS256", "EdDSA", 1), p)
		}
	}
	f.Fuzz(func(t *testing.T, header, claims string) {
		signed := b64([]byte(header)) + "." + b64([]byte(claims))
		assertion := signed + "." + b64(ed25519.Sign(key, []byte(signed)))
		id, err := w.Verify(context.Background(), assertion)
		if err != nil {
			if reasonOf(t, err) == "" {
				t.Fatalf("a refusal without reason: %v", err)
			}
			return
		}
		agrees(t, id, claims)
	})
}

func decode(segment string) string {
	var decoded []byte
	if err := json.Unmarshal([]byte(`"`+strings.NewReplacer("-", "+", "_", "/").Replace(segment)+strings.Repeat("=", (4-len(segment)%4)%4)+`"`), &decoded); err != nil {
		return ""
	}
	return string(decoded)
}

// agrees reads the claims with encoding/json, once folding names into a struct
// and once into a map.
func agrees(t *testing.T, id trust.Identity, claims string) {
	t.Helper()
	if id.Issuer != fuzzIssuer || id.Subject != subject || id.Audience != audience || id.Rule != "r" {
		t.Fatalf("identity outside the rule: %+v", id)
	}
	var folded struct {
		Iss, Sub string
		Exp      json.Number
	}
	if err := json.Unmarshal([]byte(claims), &folded); err != nil {
		t.Fatalf("verified, but encoding/json cannot read it: %v", err)
	}
	if folded.Iss != id.Issuer || folded.Sub != id.Subject || folded.Exp != id.Claims["exp"] {
		t.Fatalf("encoding/json reads %+v, we read %+v", folded, id)
	}
	decoder := json.NewDecoder(strings.NewReader(claims))
	decoder.UseNumber()
	var exact map[string]any
	if err := decoder.Decode(&exact); err != nil {
		t.Fatal(err)
	}
	theirs, _ := json.Marshal(exact)
	ours, _ := json.Marshal(id.Claims)
	if !bytes.Equal(theirs, ours) {
		t.Fatalf("encoding/json reads %s, we read %s", theirs, ours)
	}
}
