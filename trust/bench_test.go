package trust_test

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"os"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"sfbroker/trust"
)

func BenchmarkVerify(b *testing.B) {
	path := b.TempDir() + "/keys.json"
	if err := os.WriteFile(path, []byte(keySet(jwkOf("k1", &rsaKey().PublicKey))), 0o600); err != nil {
		b.Fatal(err)
	}
	w := compile(b, trust.Rule{Name: "r", Issuer: fuzzIssuer, KeysFile: path, Subject: subject, Audience: audience})
	assertion := mint(jwt.SigningMethodRS256, rsaKey(), "k1", goodClaims(fuzzIssuer))
	mustVerify(b, w, assertion)
	b.Run("verify", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := w.Verify(context.Background(), assertion); err != nil {
				b.Fatal(err)
			}
		}
	})
	signed := assertion[:strings.LastIndexByte(assertion, '.')]
	signature := signRS256(signed)
	b.Run("bare-rsa", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			digest := sha256.Sum256([]byte(signed))
			if err := rsa.VerifyPKCS1v15(&rsaKey().PublicKey, crypto.SHA256, digest[:], signature); err != nil {
				b.Fatal(err)
			}
		}
	})
}
