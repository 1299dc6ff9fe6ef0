// Package signing holds what the Entra and IAS stand-ins have in common: RSA
// signing keys, published as JSON Web Keys with a self-signed certificate, and
// random identifiers.
package signing

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // x5t is SHA-1 by RFC 7517 section 4.8; nothing is trusted because of it
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	keyBits      = 2048
	certificates = 5 * 365 * 24 * time.Hour
)

// Key is an RSA key that signs tokens, together with its self-signed
// certificate. It never shows its private half.
type Key struct {
	id          string
	private     *rsa.PrivateKey
	certificate []byte
}

// NewKey makes a random 2048 bit key. Its ID is the SHA-1 thumbprint of the
// certificate, as Entra has it.
func NewKey(commonName string, now time.Time) (*Key, error) {
	private, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, fmt.Errorf("making a signing key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: commonName},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(certificates),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return nil, fmt.Errorf("making the certificate of a signing key: %w", err)
	}
	thumbprint := sha1.Sum(der) //nolint:gosec // see the import
	return &Key{id: base64.RawURLEncoding.EncodeToString(thumbprint[:]), private: private, certificate: der}, nil
}

// ID is the key ID (`kid`).
func (k *Key) ID() string { return k.id }

// Public is the public half.
func (k *Key) Public() *rsa.PublicKey { return &k.private.PublicKey }

// Sign returns a compact JWS of the claims: RS256, typ JWT, kid of the key.
func (k *Key) Sign(claims map[string]any) (string, error) {
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims(claims))
	token.Header["kid"] = k.id
	signed, err := token.SignedString(k.private)
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return signed, nil
}

// JWK is a published key (RFC 7517). Issuer is Entra's extension; empty members
// are left out.
type JWK struct {
	Type           string   `json:"kty"`
	Use            string   `json:"use"`
	KeyID          string   `json:"kid"`
	Thumbprint     string   `json:"x5t,omitempty"`
	ThumbprintS256 string   `json:"x5t#S256,omitempty"`
	Modulus        string   `json:"n"`
	Exponent       string   `json:"e"`
	Chain          []string `json:"x5c,omitempty"`
	Issuer         string   `json:"issuer,omitempty"`
}

// JWKSet is a published key set.
type JWKSet struct {
	Keys []JWK `json:"keys"`
}

// JWK returns the public half for publication, both thumbprints set, without
// issuer and without `alg`, which neither peer publishes.
func (k *Key) JWK() JWK {
	s256 := sha256.Sum256(k.certificate)
	return JWK{
		Type:           "RSA",
		Use:            "sig",
		KeyID:          k.id,
		Thumbprint:     k.id,
		ThumbprintS256: base64.RawURLEncoding.EncodeToString(s256[:]),
		Modulus:        base64.RawURLEncoding.EncodeToString(k.private.N.Bytes()),
		Exponent:       base64.RawURLEncoding.EncodeToString(big.NewInt(int64(k.private.E)).Bytes()),
		Chain:          []string{base64.StdEncoding.EncodeToString(k.certificate)},
	}
}

// NewGUID returns a random GUID in lower case (RFC 9562 version 4).
func NewGUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// NewOpaque returns n random bytes as base64url: secrets and opaque claims.
func NewOpaque(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}
