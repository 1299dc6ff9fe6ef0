package workload

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Certificate authenticates an application to Entra: the certificate that is
// registered there and the RSA key that belongs to it. It prints and marshals
// as "[redacted]".
type Certificate struct {
	chain []*x509.Certificate
	key   *rsa.PrivateKey
}

// ParseCertificate reads PEM: the certificate, issuing certificates after it
// if any, and the private key (PKCS #8 or PKCS #1). The key must be RSA of at
// least 2048 bits and belong to the first certificate. Errors show no part of
// the key.
func ParseCertificate(certPEM, keyPEM []byte) (Certificate, error) {
	chain, err := parseChain(certPEM)
	if err != nil {
		return Certificate{}, err
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return Certificate{}, err
	}
	if public, ok := chain[0].PublicKey.(*rsa.PublicKey); !ok || !public.Equal(&key.PublicKey) {
		return Certificate{}, errors.New("the private key does not belong to the first certificate")
	}
	if key.N.BitLen() < 2048 {
		return Certificate{}, fmt.Errorf("the key has %d bits, at least 2048 are needed", key.N.BitLen())
	}
	return Certificate{chain: chain, key: key}, nil
}

func parseChain(certPEM []byte) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for block, rest := pem.Decode(certPEM); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue // one file may hold key and certificate
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parsing certificate %d: %w", len(chain)+1, err)
		}
		chain = append(chain, certificate)
	}
	if len(chain) == 0 {
		return nil, errors.New("no PEM block of type CERTIFICATE")
	}
	return chain, nil
}

func parseKey(keyPEM []byte) (*rsa.PrivateKey, error) {
	for block, rest := pem.Decode(keyPEM); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "PRIVATE KEY":
			parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, errors.New("the private key is not PKCS #8")
			}
			key, ok := parsed.(*rsa.PrivateKey)
			if !ok {
				return nil, errors.New("the private key is not RSA, which Entra needs for PS256")
			}
			return key, nil
		case "RSA PRIVATE KEY":
			if block.Headers["DEK-Info"] != "" {
				return nil, errors.New("the private key is encrypted: decrypt it, and protect the file instead")
			}
			key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
			if err != nil {
				return nil, errors.New("the private key is not PKCS #1")
			}
			return key, nil
		case "ENCRYPTED PRIVATE KEY":
			return nil, errors.New("the private key is encrypted: decrypt it, and protect the file instead")
		case "EC PRIVATE KEY":
			return nil, errors.New("the private key is not RSA, which Entra needs for PS256")
		}
	}
	if bytes.Contains(keyPEM, []byte("-----BEGIN")) {
		return nil, errors.New("no PEM block with a private key")
	}
	return nil, errors.New("the private key is not PEM")
}

// Thumbprint is the certificate's x5t#S256 (RFC 7515 section 4.1.8): SHA-256
// of its DER in base64url. It is public.
func (c Certificate) Thumbprint() string {
	if len(c.chain) == 0 {
		return ""
	}
	sum := sha256.Sum256(c.chain[0].Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// NotAfter is when the certificate expires; zero for the zero Certificate.
func (c Certificate) NotAfter() time.Time {
	if len(c.chain) == 0 {
		return time.Time{}
	}
	return c.chain[0].NotAfter
}

const redacted = "[redacted]"

// String returns "[redacted]".
func (c Certificate) String() string { return redacted }

// GoString returns "[redacted]".
func (c Certificate) GoString() string { return redacted }

// Format writes "[redacted]" whatever the verb.
func (c Certificate) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue returns "[redacted]".
func (c Certificate) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]".
func (c Certificate) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns "[redacted]" as a JSON string.
func (c Certificate) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
